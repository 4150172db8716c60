//! Ctrl-C in two steps: the first ends after the steps in flight, the second at once.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::output::Out;
use crate::apply::Halt;

/// Comes back with the first SIGINT or SIGTERM.
pub(super) async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Listens for SIGINT and SIGTERM and tells the run.
pub(super) async fn listen(halt: watch::Sender<Halt>, out: Arc<Out>) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return;
    };
    let mut times = 0;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = out.deserted(), if times == 0 => {}
        }
        times += 1;
        if times == 1 {
            out.say("finishing the steps in flight; once more to leave at once\n");
            let _ = halt.send(Halt::AfterSteps);
        } else {
            let _ = halt.send(Halt::Now);
        }
    }
}
