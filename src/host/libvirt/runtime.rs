//! What libvirt's client needs once a process: an event loop, without which no keep-alive runs, and silence on stderr.
//!
//! No connection is opened here.

use std::sync::OnceLock;
use std::time::Duration;

use virt::error::{Error, clear_error_callback};
use virt::event::{event_register_default_impl, event_run_default_impl};

use super::error::{At, translate};
use crate::host::HostError;

static STARTED: OnceLock<Result<(), HostError>> = OnceLock::new();

/// Starts the event loop, if it doesn't run yet. Must be called before the first connection is opened: libvirt ties a
/// connection to the loop that there is at its opening.
pub(super) fn start() -> Result<(), HostError> {
    STARTED.get_or_init(|| register().map_err(|error| translate(&error, At::Open))).clone()
}

fn register() -> Result<(), Error> {
    clear_error_callback();
    event_register_default_impl()?;
    // Should the thread not start, keep-alive does nothing and deadlines alone guard the calls.
    let thread = std::thread::Builder::new().name("jvp-virt-events".into()).spawn(|| {
        loop {
            if event_run_default_impl().is_err() {
                // Not seen yet; a loop that fails at once must not eat a CPU.
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    });
    if let Err(error) = thread {
        tracing::warn!(%error, "no thread for libvirt's events: keep-alive is off");
    }
    Ok(())
}
