//! The fail point of test builds: ends this process before or after a chosen effect, as a kill would, or has it stand still there.
//!
//! `JVP_FAILPOINT=journal:N:kill` ends it at the N-th point, counted from 1 over the whole run; with `stop` it stands still until it is
//! sent SIGCONT. Release builds have none.

use crate::plan::Action;

/// Passes a point; it may be the last.
#[cfg(debug_assertions)]
pub(super) fn hit(place: &str, action: &Action) {
    use rustix::process::Signal;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static WANTED: OnceLock<Option<(u64, Signal)>> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("JVP_FAILPOINT").ok()?;
        let (count, what) = text.strip_prefix("journal:")?.split_once(':')?;
        let signal = match what {
            "kill" => Signal::KILL,
            "stop" => Signal::STOP,
            _ => return None,
        };
        Some((count.parse().ok()?, signal))
    });
    let Some((wanted, signal)) = wanted else { return };
    let count = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
    tracing::trace!(count, place, op = action.op.word(), "fail point");
    if count == *wanted {
        let _ = rustix::process::kill_process(rustix::process::getpid(), *signal);
    }
}

#[cfg(not(debug_assertions))]
pub(super) fn hit(_place: &str, _action: &Action) {}
