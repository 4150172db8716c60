//! What libvirt's client needs once a process: an event loop, without which no keep-alive runs, and silence on stderr.
//!
//! No connection is opened here.

use std::sync::OnceLock;

use virt::error::clear_error_callback;

use super::error::own;
use super::event_loop;
use crate::host::{ErrorKind, HostError};

static STARTED: OnceLock<Result<(), HostError>> = OnceLock::new();

/// Starts the event loop, if it doesn't run yet. Must be called before the first connection is opened: libvirt ties a
/// connection to the loop that there is at its opening.
pub(super) fn start() -> Result<(), HostError> {
    let failed = |error| own(ErrorKind::Unreachable, format!("nothing can watch connections to libvirt: {error}"));
    STARTED.get_or_init(|| register().map_err(failed)).clone()
}

fn register() -> std::io::Result<()> {
    clear_error_callback();
    let events = event_loop::register()?;
    // Should the thread not start, keep-alive does nothing and deadlines alone guard the calls.
    let thread = std::thread::Builder::new().name("jvp-virt-events".into()).spawn(|| events.run());
    if let Err(error) = thread {
        tracing::warn!(%error, "no thread for libvirt's events: keep-alive is off");
    }
    Ok(())
}
