//! Looks after calls that may never end by themselves.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How long a call may take before it is looked after.
const PATIENCE: Duration = Duration::from_millis(200);

/// A thread that does something again and again while a call is under way, and sleeps while there is none.
pub(super) struct Watch {
    calls: Arc<Calls>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Calls {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    under_way: usize,
    ended: bool,
    /// Nothing wakes the thread but a call or the end.
    asleep: bool,
}

/// A call that is under way.
pub(super) struct Begun<'a>(&'a Calls);

impl Watch {
    /// Has `help` be called while a call takes long.
    pub(super) fn new(help: impl Fn() + Send + 'static) -> io::Result<Self> {
        let calls = Arc::<Calls>::default();
        let watched = Arc::clone(&calls);
        let thread = Builder::new().name("ledger watch".to_owned()).spawn(move || watched.look_after(help))?;
        Ok(Self { calls, thread: Some(thread) })
    }

    /// A call begins. It ends when what is returned is dropped.
    pub(super) fn begin(&self) -> Begun<'_> {
        let mut state = self.calls.lock();
        state.under_way += 1;
        if state.asleep {
            state.asleep = false;
            self.calls.changed.notify_one();
        }
        drop(state);
        Begun(&self.calls)
    }

    /// Ends the thread. Calls that begin later are not looked after.
    pub(super) fn end(&mut self) {
        self.calls.lock().ended = true;
        self.calls.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_after(&self, help: impl Fn()) {
        let mut state = self.lock();
        while !state.ended {
            if state.under_way == 0 {
                state.asleep = true;
                let asleep = |state: &mut State| state.asleep && !state.ended;
                state = self.changed.wait_while(state, asleep).unwrap_or_else(PoisonError::into_inner);
            }
            let waits = self.changed.wait_timeout_while(state, PATIENCE, |state| !state.ended);
            state = waits.unwrap_or_else(PoisonError::into_inner).0;
            if state.under_way > 0 && !state.ended {
                drop(state);
                help();
                state = self.lock();
            }
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_call_that_takes_long_is_looked_after_until_it_ends() {
        let (sender, helped) = channel();
        let mut watch = Watch::new(move || {
            // After its last turn nobody listens.
            let _ = sender.send(());
        })
        .unwrap();
        for _ in 0..2 {
            let begun = watch.begin();
            helped.recv().unwrap();
            helped.recv().unwrap();
            drop(begun);
        }
        watch.end();
        while helped.try_recv().is_ok() {}
        let begun = watch.begin();
        assert!(helped.recv().is_err(), "nobody is left to help");
        drop(begun);
    }
}
