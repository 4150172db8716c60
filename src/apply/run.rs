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
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::progress::{Ended, Event, Sink};
use super::step::{self, Failure, FailureKind, World};
use crate::name::Name;
use crate::plan::{Action, ActionId, Intent, Lane, Plan};

/// How much is in flight at most, on one node.
pub const DEFAULT_PARALLELISM: usize = 4;

/// Intents that are written at most before their effects can begin: a flush costs as much as a definition does.
const AHEAD: usize = 64;

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

/// Walks a plan, without the actions in `held` and all that needs them. What is told meanwhile stands in a span of the run, and in one of
/// its step.
#[tracing::instrument(
    skip_all,
    fields(id = run_id, cause = world.ledger.context().cause.as_deref(), revision = world.ledger.context().revision.as_deref())
)]
pub async fn run(
    plan: &Plan,
    world: &Arc<World>,
    run_id: &str,
    parallelism: usize,
    held: &BTreeSet<ActionId>,
    halt: &watch::Receiver<Halt>,
    sink: &Sink,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut waiting: BTreeSet<ActionId> = plan.actions.iter().map(|action| action.id).collect();
    for id in held {
        waiting.remove(id);
        skip(plan, &mut waiting, &mut outcome, sink, *id);
    }
    let mut running: BTreeMap<ActionId, (Option<Name>, Lane)> = BTreeMap::new();
    let mut tasks: JoinSet<(ActionId, Result<(), Failure>, Duration)> = JoinSet::new();
    let mut halt = halt.clone();
    let nodes = plan.actions.iter().map(|action| &action.node).collect::<BTreeSet<_>>().len();
    // Actions whose intents are on disk and that haven't begun.
    let mut written: BTreeSet<ActionId> = BTreeSet::new();
    loop {
        if *halt.borrow() == Halt::No {
            let start = startable(plan, &waiting, &running, &outcome.done, nodes, parallelism);
            if start.iter().any(|action| !written.contains(&action.id)) {
                let intents = intended(plan, &start, &waiting, &written, &outcome.done);
                if let Err(failure) = begin(world, &intents, run_id) {
                    // Without a journal nothing may be done.
                    for action in &start {
                        waiting.remove(&action.id);
                        fail(plan, &mut waiting, &mut outcome, sink, action.id, failure.clone());
                    }
                    continue;
                }
                written.extend(intents.iter().map(|action| action.id));
            }
            for action in start {
                waiting.remove(&action.id);
                written.remove(&action.id);
                running.insert(action.id, (action.node.clone(), action.lane.clone()));
                sink.send(&Event::Started { action: action.id, object: action.object.clone(), op: action.op.word() });
                let (action, world, sink, run_id) = (action.clone(), world.clone(), sink.clone(), run_id.to_owned());
                let node = action.node.as_ref().map(tracing::field::display);
                let span = tracing::info_span!("step", op = action.op.word(), object = %action.object, node);
                let step = async move {
                    let id = action.id;
                    let begun = tokio::time::Instant::now();
                    let result = step::perform(&action, &world, &run_id, &sink).await;
                    let took = begun.elapsed();
                    match &result {
                        Ok(()) => tracing::info!(?took, "done"),
                        Err(failure) => tracing::info!(?took, %failure, "failed"),
                    }
                    (id, result, took)
                };
                tasks.spawn(step.instrument(span));
            }
        }
        if running.is_empty() {
            break;
        }
        let joined = tokio::select! {
            joined = tasks.join_next() => joined,
            changed = halt.changed() => {
                if changed.is_err() || *halt.borrow() != Halt::Now {
                    // Whoever could stop us is gone, or wants the steps in flight to end.
                    if changed.is_err() { tasks.join_next().await } else { continue }
                } else {
                    tasks.abort_all();
                    for id in running.keys() {
                        outcome.stopped.insert(*id);
                    }
                    break;
                }
            }
        };
        let Some(joined) = joined else { break };
        let Ok((id, result, elapsed)) = joined else {
            // A step that panicked: its effect is unknown.
            let lost: Vec<ActionId> = running.keys().copied().collect();
            for id in lost {
                running.remove(&id);
                let failure = Failure::new(FailureKind::Unknown, "its step broke off inside jvp");
                fail(plan, &mut waiting, &mut outcome, sink, id, failure);
            }
            break;
        };
        running.remove(&id);
        let object = plan.actions.get(id.0).map(|action| action.object.clone());
        match result {
            Ok(()) => {
                outcome.done.insert(id);
                if let Some(object) = object {
                    sink.send(&Event::Finished { action: id, object, ended: Ended::Done, elapsed });
                }
            }
            Err(failure) => {
                if let Some(object) = object {
                    let ended = Ended::Failed(failure.to_string());
                    sink.send(&Event::Finished { action: id, object, ended, elapsed });
                }
                fail(plan, &mut waiting, &mut outcome, sink, id, failure);
            }
        }
    }
    outcome.stopped.extend(waiting);
    for action in written.iter().filter_map(|id| plan.actions.get(id.0)) {
        step::never_begun(action, world, run_id);
    }
    outcome
}

/// Records a failure and skips all that needs it.
fn fail(plan: &Plan, waiting: &mut BTreeSet<ActionId>, outcome: &mut Outcome, sink: &Sink, id: ActionId, failure: Failure) {
    outcome.failed.insert(id, failure);
    skip(plan, waiting, outcome, sink, id);
}

/// Skips all that needs an action that isn't done.
fn skip(plan: &Plan, waiting: &mut BTreeSet<ActionId>, outcome: &mut Outcome, sink: &Sink, id: ActionId) {
    let mut broken = BTreeSet::from([id]);
    for action in &plan.actions {
        if waiting.contains(&action.id) && action.needs.iter().any(|need| broken.contains(need)) {
            broken.insert(action.id);
        }
    }
    broken.remove(&id);
    for skipped in broken {
        if waiting.remove(&skipped) {
            outcome.skipped.insert(skipped, id);
            if let Some(action) = plan.actions.get(skipped.0) {
                sink.send(&Event::Skipped { action: skipped, object: action.object.clone() });
            }
        }
    }
}

/// The actions that may begin now, in the plan's order.
fn startable<'p>(
    plan: &'p Plan,
    waiting: &BTreeSet<ActionId>,
    running: &BTreeMap<ActionId, (Option<Name>, Lane)>,
    done: &BTreeSet<ActionId>,
    nodes: usize,
    parallelism: usize,
) -> Vec<&'p Action> {
    let mut busy: Vec<(Option<Name>, Lane)> = running.values().cloned().collect();
    let mut start = Vec::new();
    let mut full: BTreeSet<Option<Name>> = BTreeSet::new();
    for id in waiting {
        if full.len() == nodes {
            break;
        }
        let Some(action) = plan.actions.get(id.0) else { continue };
        if full.contains(&action.node) || !action.needs.iter().all(|need| done.contains(need)) {
            continue;
        }
        let in_flight = busy.iter().filter(|(node, _)| *node == action.node).count();
        if in_flight >= parallelism.max(1) {
            full.insert(action.node.clone());
            continue;
        }
        if busy.iter().any(|(node, lane)| *node == action.node && collide(lane, &action.lane)) {
            continue;
        }
        busy.push((action.node.clone(), action.lane.clone()));
        start.push(action);
    }
    start
}

/// The actions whose intents are written now: all that start, and the next ones that wait for nothing but a place.
fn intended<'p>(
    plan: &'p Plan,
    start: &[&'p Action],
    waiting: &BTreeSet<ActionId>,
    written: &BTreeSet<ActionId>,
    done: &BTreeSet<ActionId>,
) -> Vec<&'p Action> {
    let starts = start.iter().copied().filter(|action| !written.contains(&action.id));
    let next = waiting
        .iter()
        .filter_map(|id| plan.actions.get(id.0))
        .filter(|action| step::may_be_intended_early(action))
        .filter(|action| !written.contains(&action.id) && start.iter().all(|other| other.id != action.id))
        .filter(|action| action.needs.iter().all(|need| done.contains(need)))
        .take(AHEAD);
    starts.chain(next).collect()
}

/// Whether two lanes may not be busy at the same time.
fn collide(a: &Lane, b: &Lane) -> bool {
    match (a, b) {
        (Lane::Object(a), Lane::Object(b)) | (Lane::Local(a), Lane::Local(b)) => a == b,
        (Lane::PoolExclusive(a), Lane::PoolExclusive(b)) => a == b,
        (Lane::PoolExclusive(a), Lane::PoolShared { pool: b, .. })
        | (Lane::PoolShared { pool: b, .. }, Lane::PoolExclusive(a)) => a == b,
        (Lane::PoolShared { pool: a, volume: x }, Lane::PoolShared { pool: b, volume: y }) => a == b && x == y,
        _ => false,
    }
}

/// Writes the intents of all that starts together, by one flush.
fn begin(world: &World, actions: &[&Action], run_id: &str) -> Result<(), Failure> {
    let intents: Vec<Intent> = actions.iter().map(|action| step::intent(action, world, run_id)).collect();
    let begun = actions.iter().filter_map(|action| step::begun(action, world)).collect();
    world
        .ledger
        .begin(intents, begun)
        .map_err(|error| Failure::new(FailureKind::Journal, format!("the journal can't be written, so nothing is done: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Kind, ObjectRef};
    use crate::plan::{Expect, Op, Precondition, Record};

    fn plan(ops: Vec<Op>) -> Plan {
        let action = |(id, op): (usize, Op)| Action {
            id: ActionId(id),
            object: ObjectRef::new(Kind::VirtualMachine, "vm".parse().unwrap()),
            node: Some("a".parse().unwrap()),
            op,
            needs: BTreeSet::new(),
            lane: Lane::Object(id.to_string()),
            precondition: Precondition::None,
            expect: Expect::Nothing,
            begins: crate::plan::Begins::default(),
            record: Record::Nothing,
            secrets: BTreeMap::new(),
        };
        Plan { actions: ops.into_iter().enumerate().map(action).collect(), ..Plan::default() }
    }

    #[test]
    fn one_flush_covers_the_intents_of_many_definitions_and_those_of_volumes_wait_for_their_turn() {
        let start = |name: usize| Op::NetworkStart { name: name.to_string() };
        let mut ops: Vec<Op> = (0..200).map(start).collect();
        ops.insert(10, Op::VolumeCreate { pool: "p".into(), name: "v".into(), xml: String::new() });
        let plan = plan(ops);
        let (none, waiting) = (BTreeSet::new(), plan.actions.iter().map(|action| action.id).collect());
        let start = startable(&plan, &waiting, &BTreeMap::new(), &none, 1, 4);
        assert_eq!(start.len(), 4);
        let intents = intended(&plan, &start, &waiting, &none, &none);
        assert_eq!(intents.len(), 4 + AHEAD);
        assert!(intents.iter().all(|action| action.id != ActionId(10)));
        let written = intents.iter().map(|action| action.id).collect();
        let next = intended(&plan, &[], &waiting, &written, &none);
        assert!(next.iter().all(|action| !intents.iter().any(|other| other.id == action.id)));
    }
}
