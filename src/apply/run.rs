//! The executor: walks a plan's actions with bounded concurrency, and leaves nothing to its own taste.
//!
//! # Expected flow, for each action
//! 1. What it needs is verified, its lane is free and its node has a place.
//! 2. Its intent is on disk; one flush covers all that start together, and the next ones that wait for nothing but a place.
//! 3. Its precondition is read and holds.
//! 4. The effect is done; what is transient is tried again.
//! 5. What is there is read back and is what was planned.
//! 6. The ledger records it.
//!
//! # Guarantees
//! A failed action fails what needs it and nothing else. An effect that nobody knows the end of is decided by reading, never by
//! repeating. There is no undo: the next plan is the recovery.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;

use super::progress::Sink;
use super::step::{Failure, World};
use super::walk::Walk;
use crate::plan::{ActionId, Plan};

/// How much is in flight at most, on one node.
pub const DEFAULT_PARALLELISM: usize = 4;

/// How a run is to come to its end before the plan is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Halt {
    /// It isn't.
    No,
    /// Finish the steps in flight and stop.
    AfterSteps,
    /// Leave at once; the journal tells the next run.
    Now,
}

/// What became of a plan.
#[derive(Debug, Default)]
#[must_use = "an outcome tells what was not done"]
pub struct Outcome {
    /// Actions that are verified.
    pub done: BTreeSet<ActionId>,
    /// Actions that failed, with why.
    pub failed: BTreeMap<ActionId, Failure>,
    /// Actions that were not begun, since something that they need failed.
    pub skipped: BTreeMap<ActionId, ActionId>,
    /// Actions that were not begun, since the run was stopped.
    pub stopped: BTreeSet<ActionId>,
}

impl Outcome {
    /// Whether everything was done.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty() && self.stopped.is_empty()
    }
}

/// Walks a plan. What is told meanwhile stands in a span of the run, and in one of its step.
#[tracing::instrument(
    skip_all,
    fields(id = run_id, cause = world.ledger.context().cause.as_deref(), revision = world.ledger.context().revision.as_deref())
)]
pub async fn run(
    plan: &Plan,
    world: &Arc<World>,
    run_id: &str,
    parallelism: usize,
    halt: &watch::Receiver<Halt>,
    sink: &Sink,
) -> Outcome {
    let mut walk = Walk::new(world.clone(), run_id.to_owned(), parallelism, sink.clone());
    walk.add(plan, &|_| false);
    let mut halt = Halted::new(halt);
    loop {
        match halt.now() {
            Halt::No => walk.start(),
            Halt::AfterSteps => {}
            Halt::Now => walk.abort(),
        }
        if !walk.is_under_way() {
            return walk.finish();
        }
        tokio::select! {
            () = walk.ended() => {}
            () = halt.changed() => {}
        }
    }
}

/// The word of whoever may stop a run; once nobody can any more, there is none.
pub(super) struct Halted(Option<watch::Receiver<Halt>>, Halt);

impl Halted {
    pub(super) fn new(receiver: &watch::Receiver<Halt>) -> Self {
        Self(Some(receiver.clone()), *receiver.borrow())
    }

    /// The word as it is now.
    pub(super) fn now(&mut self) -> Halt {
        if let Some(receiver) = &mut self.0 {
            self.1 = *receiver.borrow_and_update();
        }
        self.1
    }

    /// Waits until it is another.
    pub(super) async fn changed(&mut self) {
        match &mut self.0 {
            Some(receiver) => {
                if receiver.changed().await.is_err() {
                    self.0 = None;
                }
            }
            None => std::future::pending().await,
        }
    }
}
