//! The threads that call libvirt, as its calls block: at most 256, started when there is work, ended when there is none.
//!
//! They belong to no node: who may have how many of them is `calls`'s to say. Nobody ever joins them, as a call of a hung libvirt
//! may never return.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Threads at most, those that were given up not counted.
const MOST: usize = 256;
/// How long a thread waits for more work before it ends.
const IDLE: Duration = Duration::from_secs(20);

/// What a thread does. It answers whether its thread was given up meanwhile.
type Task = Box<dyn FnOnce() -> Thread + Send>;

/// What is to become of a thread after its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thread {
    /// It takes the next task.
    Goes,
    /// It was given up, another one took its place: it ends.
    Replaced,
}

/// All the threads.
pub(super) struct Workers {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    threads: usize,
    idle: usize,
    born: usize,
}

static WORKERS: LazyLock<Workers> = LazyLock::new(|| Workers { state: Mutex::default(), wake: Condvar::new() });

/// The process's threads.
pub(super) fn workers() -> &'static Workers {
    &WORKERS
}

impl Workers {
    /// Gives a task to a thread, now or when one is free.
    pub(super) fn submit(&'static self, task: Task) {
        let mut state = self.lock();
        state.tasks.push_back(task);
        if state.idle < state.tasks.len() {
            self.spawn(&mut state);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// A thread is stuck and no longer counted; another takes its place where there is work.
    pub(super) fn give_up_one(&'static self) {
        let mut state = self.lock();
        state.threads = state.threads.saturating_sub(1);
        if state.idle < state.tasks.len() {
            self.spawn(&mut state);
        }
    }

    fn spawn(&'static self, state: &mut State) {
        if state.threads >= MOST {
            return;
        }
        let name = format!("jvp-virt-{}", state.born);
        match std::thread::Builder::new().name(name).spawn(|| self.work()) {
            Ok(_) => {
                state.threads += 1;
                state.born += 1;
            }
            // The threads that there are do the work, later; with none at all the task's deadline tells.
            Err(error) => tracing::warn!(%error, "no thread for a call of libvirt's"),
        }
    }

    fn work(&'static self) {
        loop {
            let Some(task) = self.next() else { return };
            // A panic (the bindings have some) must not cost the thread; the caller notices that nobody answers.
            if matches!(catch_unwind(AssertUnwindSafe(task)), Ok(Thread::Replaced)) {
                return;
            }
        }
    }

    fn next(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if let Some(task) = state.tasks.pop_front() {
                return Some(task);
            }
            state.idle += 1;
            let (back, timeout) = self.wake.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = back;
            state.idle -= 1;
            if timeout.timed_out() && state.tasks.is_empty() {
                state.threads = state.threads.saturating_sub(1);
                return None;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
