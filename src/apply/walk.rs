//! The walk over actions, to which more may be added while it goes on. It waits for nobody, and leaves nothing to its own taste.
//!
//! What must hold: an action begins once all that it needs is verified, its lane is free, its node has a place for it and its intent is
//! on disk; what needs something that failed is never begun.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::Instrument;

use super::progress::{Ended, Event, Sink};
use super::run::Outcome;
use super::step::{self, Failure, FailureKind, World};
use crate::name::{Name, ObjectRef};
use crate::plan::{Action, ActionId, Intent, Lane, Plan};

/// Intents that are written at most before their effects can begin: a flush costs as much as a definition does.
const AHEAD: usize = 64;

/// Where an action has its effect: on a node, or on the controller.
type Place = Option<Name>;

fn place(action: &Action) -> Option<&Name> {
    action.node.as_ref().filter(|_| !action.op.is_local())
}

/// How much of a place's is yet to end, and how much is done.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    open: usize,
    done: usize,
}

/// Actions on their way.
pub(super) struct Walk {
    world: Arc<World>,
    run_id: String,
    parallelism: usize,
    sink: Sink,
    actions: Vec<Arc<Action>>,
    waiting: BTreeSet<ActionId>,
    /// By action, how many of those that it needs aren't done.
    unmet: Vec<usize>,
    /// By action, those that need it.
    needed_by: Vec<Vec<ActionId>>,
    /// By place, what waits and needs nothing that isn't done.
    ready: BTreeMap<Place, BTreeSet<ActionId>>,
    /// Of these, those whose intents may be written before their turn.
    early: BTreeSet<ActionId>,
    /// The controller's own deeds that wait or are under way.
    local: BTreeSet<ActionId>,
    running: BTreeMap<ActionId, (Place, Lane)>,
    /// Actions whose intents are on disk and that haven't begun.
    written: BTreeSet<ActionId>,
    /// Actions that come after all others.
    last: BTreeSet<ActionId>,
    /// Whether more is to be added, and so nothing of `last` may begin.
    more: bool,
    /// By place, without `last`.
    tallies: BTreeMap<Place, Tally>,
    tasks: JoinSet<(ActionId, Result<(), Failure>, Duration)>,
    outcome: Outcome,
}

impl Walk {
    /// A walk over nothing yet. `run_id` tells its intents from those of others.
    pub(super) fn new(world: Arc<World>, run_id: String, parallelism: usize, sink: Sink) -> Self {
        Self {
            world,
            run_id,
            parallelism: parallelism.max(1),
            sink,
            actions: Vec::new(),
            waiting: BTreeSet::new(),
            unmet: Vec::new(),
            needed_by: Vec::new(),
            ready: BTreeMap::new(),
            early: BTreeSet::new(),
            local: BTreeSet::new(),
            running: BTreeMap::new(),
            written: BTreeSet::new(),
            last: BTreeSet::new(),
            more: false,
            tallies: BTreeMap::new(),
            tasks: JoinSet::new(),
            outcome: Outcome::default(),
        }
    }

    /// Adds a plan's actions, without those that are `held` and all that needs them. What prunes comes after whatever is added.
    pub(super) fn add(&mut self, plan: &Plan, held: &dyn Fn(&Action) -> bool) {
        let first = self.actions.len();
        let moved = |id: &ActionId| ActionId(first + id.0);
        for action in &plan.actions {
            let action = Action { id: moved(&action.id), needs: action.needs.iter().map(moved).collect(), ..action.clone() };
            self.sink.send(&Event::Planned { action: action.id, object: action.object.clone(), op: action.op.word() });
            self.waiting.insert(action.id);
            let tally = self.tallies.entry(place(&action).cloned()).or_default();
            if plan.pruning.contains(&ActionId(action.id.0 - first)) {
                self.last.insert(action.id);
            } else {
                tally.open += 1;
            }
            if place(&action).is_none() {
                self.local.insert(action.id);
            }
            self.actions.push(Arc::new(action));
        }
        let added: Vec<ActionId> = (first..self.actions.len()).map(ActionId).collect();
        self.unmet.resize(self.actions.len(), 0);
        self.needed_by.resize(self.actions.len(), Vec::new());
        for id in &added {
            let needs: Vec<ActionId> = self.actions.get(id.0).into_iter().flat_map(|action| &action.needs).copied().collect();
            for need in needs {
                self.needs(*id, need);
            }
            self.becomes_ready(*id);
        }
        let later: Vec<ActionId> = self.last.iter().copied().filter(|last| last.0 < first).collect();
        for last in later {
            if let Some(action) = self.actions.get_mut(last.0) {
                Arc::make_mut(action).needs.extend(added.iter().copied());
            }
            self.is_ready_no_more(last);
            for need in &added {
                self.needs(last, *need);
            }
        }
        for id in added {
            if self.actions.get(id.0).is_some_and(|action| held(action)) {
                self.leaves(id);
                self.skip(id);
            }
        }
    }

    /// Notes that an action needs another one.
    fn needs(&mut self, id: ActionId, need: ActionId) {
        if let Some(unmet) = self.unmet.get_mut(id.0) {
            *unmet += 1;
        }
        if let Some(needed_by) = self.needed_by.get_mut(need.0) {
            needed_by.push(id);
        }
    }

    /// Puts an action among those that wait for nothing but a place, where it does.
    fn becomes_ready(&mut self, id: ActionId) {
        let Some(action) = self.actions.get(id.0).filter(|_| self.unmet.get(id.0) == Some(&0) && self.waiting.contains(&id))
        else {
            return;
        };
        self.ready.entry(place(action).cloned()).or_default().insert(id);
        if step::may_be_intended_early(action) {
            self.early.insert(id);
        }
    }

    fn is_ready_no_more(&mut self, id: ActionId) {
        let place = self.actions.get(id.0).map(|action| place(action).cloned());
        if let Some(ready) = place.and_then(|place| self.ready.get_mut(&place)) {
            ready.remove(&id);
        }
        self.early.remove(&id);
    }

    /// An action is done: what waited for it alone may begin.
    fn is_done(&mut self, id: ActionId) {
        self.outcome.done.insert(id);
        for waits in self.needed_by.get_mut(id.0).map(std::mem::take).unwrap_or_default() {
            if let Some(unmet) = self.unmet.get_mut(waits.0) {
                *unmet = unmet.saturating_sub(1);
            }
            self.becomes_ready(waits);
        }
    }

    /// Says whether more is to be added.
    pub(super) fn more(&mut self, more: bool) {
        self.more = more;
    }

    /// Skips what comes after all others, since not all of these could be planned.
    pub(super) fn skip_last(&mut self) {
        for id in self.last.clone() {
            if self.leaves(id) {
                self.skipped(id, id);
            }
        }
    }

    /// What became of it so far.
    pub(super) fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Whether steps are under way.
    pub(super) fn is_under_way(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether nothing on a node is under way or waits, whatever comes last.
    pub(super) fn is_idle(&self, node: &Name) -> bool {
        self.tallies.get(&Some(node.clone())).is_none_or(|tally| tally.open == 0)
    }

    /// How much was done on a node and on the controller.
    pub(super) fn done_for(&self, node: &Name) -> usize {
        [Some(node.clone()), None].iter().filter_map(|place| self.tallies.get(place)).map(|tally| tally.done).sum()
    }

    /// The actions of these numbers.
    pub(super) fn of<'a>(&'a self, ids: impl Iterator<Item = &'a ActionId>) -> impl Iterator<Item = &'a Action> {
        ids.filter_map(|id| self.actions.get(id.0)).map(Arc::as_ref)
    }

    /// The controller's own deeds that are under way or wait.
    pub(super) fn local(&self) -> impl Iterator<Item = &Action> {
        let any = self.tallies.get(&None).is_some_and(|tally| tally.open > 0);
        self.of(self.local.iter().filter(move |_| any))
    }

    /// The objects of which something is under way or waits.
    pub(super) fn busy(&self) -> BTreeSet<ObjectRef> {
        self.of(self.waiting.iter().chain(self.running.keys())).map(|action| action.object.clone()).collect()
    }

    /// Begins what may begin.
    pub(super) fn start(&mut self) {
        loop {
            let start = self.startable();
            if start.iter().any(|action| !self.written.contains(&action.id)) {
                let intents = self.intended(&start);
                if let Err(failure) = self.intend(&intents) {
                    // Without a journal nothing may be done.
                    for action in &start {
                        self.leaves(action.id);
                        self.fail(action.id, failure.clone());
                    }
                    continue;
                }
                self.written.extend(intents.iter().map(|action| action.id));
            }
            for action in start {
                self.waiting.remove(&action.id);
                self.is_ready_no_more(action.id);
                self.written.remove(&action.id);
                self.running.insert(action.id, (place(&action).cloned(), action.lane.clone()));
                self.begin(action);
            }
            return;
        }
    }

    fn begin(&mut self, action: Arc<Action>) {
        self.sink.send(&Event::Started { action: action.id, object: action.object.clone(), op: action.op.word() });
        let (world, sink, run_id) = (self.world.clone(), self.sink.clone(), self.run_id.clone());
        let node = action.node.as_ref().map(tracing::field::display);
        let span = tracing::info_span!("step", op = action.op.word(), object = %action.object, node);
        let step = async move {
            let begun = tokio::time::Instant::now();
            let result = step::perform(&action, &world, &run_id, &sink).await;
            let took = begun.elapsed();
            match &result {
                Ok(()) => tracing::info!(?took, "done"),
                Err(failure) => tracing::info!(?took, %failure, "failed"),
            }
            (action.id, result, took)
        };
        self.tasks.spawn(step.instrument(span));
    }

    /// Waits until a step has ended. Nothing is lost where nobody waits any longer.
    pub(super) async fn ended(&mut self) {
        let Some(joined) = self.tasks.join_next().await else { return };
        let Ok((id, result, elapsed)) = joined else {
            // A step that panicked: its effect is unknown, and which one it was as well.
            for (id, (place, _)) in std::mem::take(&mut self.running) {
                self.local.remove(&id);
                self.closes(place);
                self.fail(id, Failure::new(FailureKind::Unknown, "its step broke off inside jvp"));
            }
            self.tasks.abort_all();
            self.give_up();
            return;
        };
        let Some((place, _)) = self.running.remove(&id) else { return };
        self.local.remove(&id);
        self.closes(place.clone());
        let ended = match &result {
            Ok(()) => Ended::Done,
            Err(failure) => Ended::Failed(failure.to_string()),
        };
        if let Some(action) = self.actions.get(id.0) {
            self.sink.send(&Event::Finished { action: id, object: action.object.clone(), ended, elapsed });
        }
        match result {
            Ok(()) => {
                self.is_done(id);
                self.tallies.entry(place).or_default().done += 1;
            }
            Err(failure) => self.fail(id, failure),
        }
    }

    /// Leaves at once what is under way; the journal tells the next run.
    pub(super) fn abort(&mut self) {
        self.tasks.abort_all();
        let running = std::mem::take(&mut self.running);
        self.local.retain(|id| !running.contains_key(id));
        self.outcome.stopped.extend(running.into_keys());
    }

    /// Begins nothing any more.
    fn give_up(&mut self) {
        self.outcome.stopped.extend(std::mem::take(&mut self.waiting));
        self.ready.clear();
        self.early.clear();
        self.local.retain(|id| self.running.contains_key(id));
    }

    /// Ends the walk; what waits is not begun.
    pub(super) fn finish(&mut self) -> Outcome {
        self.give_up();
        for action in self.of(self.written.iter()) {
            step::never_begun(action, &self.world, &self.run_id);
        }
        std::mem::take(&mut self.outcome)
    }

    fn closes(&mut self, place: Place) {
        let tally = self.tallies.entry(place).or_default();
        tally.open = tally.open.saturating_sub(1);
    }

    /// Takes out an action that waits. False where it doesn't.
    fn leaves(&mut self, id: ActionId) -> bool {
        let waited = self.waiting.remove(&id);
        if waited {
            self.is_ready_no_more(id);
            self.local.remove(&id);
        }
        if waited
            && !self.last.contains(&id)
            && let Some(place) = self.actions.get(id.0).map(|action| place(action).cloned())
        {
            self.closes(place);
        }
        waited
    }

    /// Records a failure and skips all that needs it.
    fn fail(&mut self, id: ActionId, failure: Failure) {
        self.outcome.failed.insert(id, failure);
        self.skip(id);
    }

    /// Skips all that needs an action that isn't done.
    fn skip(&mut self, id: ActionId) {
        let mut broken = BTreeSet::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            for waits in self.needed_by.get(id.0).into_iter().flatten() {
                if self.waiting.contains(waits) && broken.insert(*waits) {
                    open.push(*waits);
                }
            }
        }
        for skipped in broken {
            if self.leaves(skipped) {
                self.skipped(skipped, id);
            }
        }
    }

    fn skipped(&mut self, skipped: ActionId, why: ActionId) {
        self.outcome.skipped.insert(skipped, why);
        if let Some(action) = self.actions.get(skipped.0) {
            self.sink.send(&Event::Skipped { action: skipped, object: action.object.clone() });
        }
    }

    /// The actions that may begin now, in the plan's order.
    fn startable(&self) -> Vec<Arc<Action>> {
        let mut start = Vec::new();
        for (place, ready) in &self.ready {
            let mut busy: Vec<&Lane> = self.running.values().filter(|(other, _)| other == place).map(|(_, lane)| lane).collect();
            for action in self.of(ready.iter().filter(|id| self.has_its_turn(**id))) {
                if busy.len() >= self.parallelism {
                    break;
                }
                if !busy.iter().any(|lane| collide(lane, &action.lane)) {
                    busy.push(&action.lane);
                    start.push(action.id);
                }
            }
        }
        start.sort();
        start.iter().filter_map(|id| self.actions.get(id.0)).cloned().collect()
    }

    /// Whether it doesn't come after what is still to be added.
    fn has_its_turn(&self, id: ActionId) -> bool {
        !(self.more && self.last.contains(&id))
    }

    /// The actions whose intents are written now: all that start, and the next ones that wait for nothing but a place.
    fn intended(&self, start: &[Arc<Action>]) -> Vec<Arc<Action>> {
        let starts = start.iter().filter(|action| !self.written.contains(&action.id));
        let next = self
            .early
            .iter()
            .filter(|id| self.has_its_turn(**id) && !self.written.contains(id) && start.iter().all(|other| other.id != **id))
            .filter_map(|id| self.actions.get(id.0))
            .take(AHEAD);
        starts.chain(next).cloned().collect()
    }

    /// Writes the intents of all that starts together, by one flush.
    fn intend(&self, actions: &[Arc<Action>]) -> Result<(), Failure> {
        let intents: Vec<Intent> = actions.iter().map(|action| step::intent(action, &self.world, &self.run_id)).collect();
        let begun = actions.iter().filter_map(|action| step::begun(action, &self.world)).collect();
        self.world.ledger.begin(intents, begun).map_err(|error| {
            Failure::new(FailureKind::Journal, format!("the journal can't be written, so nothing is done: {error}"))
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Progress;
    use crate::name::Kind;
    use crate::plan::{Begins, Expect, Op, Precondition, Record, SecretRef};
    use crate::store::Store;

    struct Nobody;

    #[async_trait::async_trait]
    impl step::Local for Nobody {
        async fn fetch(&self, _: &Name, _: &dyn Progress) -> Result<(), String> {
            Ok(())
        }
        fn image(&self, _: &ObjectRef, path: &str, _: &str, _: u64) -> Result<String, String> {
            Ok(path.into())
        }
        fn generate_key(&self, _: &Name) -> Result<(), String> {
            Ok(())
        }
        fn secret(&self, _: &SecretRef) -> Result<String, String> {
            Err("there are no secrets here".into())
        }
    }

    fn action(id: usize, node: &str, op: Op, needs: &[usize]) -> Action {
        Action {
            id: ActionId(id),
            object: ObjectRef::new(Kind::VirtualMachine, format!("vm{id}").parse().unwrap()),
            node: Some(node.parse().unwrap()),
            op,
            needs: needs.iter().map(|need| ActionId(*need)).collect(),
            lane: Lane::Object(id.to_string()),
            precondition: Precondition::None,
            expect: Expect::Nothing,
            begins: Begins::default(),
            record: Record::Nothing,
            secrets: BTreeMap::new(),
        }
    }

    fn start(name: usize) -> Op {
        Op::NetworkStart { name: name.to_string() }
    }

    fn walk() -> Walk {
        let (hosts, ears) = (BTreeMap::new(), BTreeMap::new());
        let ledger = Store::in_memory().ledger(uuid::Uuid::nil());
        let world = World { hosts, ears, ledger, local: Arc::new(Nobody), clock: || jiff::Timestamp::UNIX_EPOCH };
        Walk::new(Arc::new(world), "run".into(), 4, Sink::none())
    }

    fn ids(actions: &[Arc<Action>]) -> Vec<usize> {
        actions.iter().map(|action| action.id.0).collect()
    }

    #[test]
    fn one_flush_covers_the_intents_of_many_definitions_and_those_of_volumes_wait_for_their_turn() {
        let mut ops: Vec<Op> = (0..200).map(start).collect();
        ops.insert(10, Op::VolumeCreate { pool: "p".into(), name: "v".into(), xml: String::new() });
        let actions = ops.into_iter().enumerate().map(|(id, op)| action(id, "a", op, &[])).collect();
        let mut walk = walk();
        walk.add(&Plan { actions, ..Plan::default() }, &|_| false);
        let start = walk.startable();
        assert_eq!(start.len(), 4);
        let intents = walk.intended(&start);
        assert_eq!(intents.len(), 4 + AHEAD);
        assert!(intents.iter().all(|action| action.id != ActionId(10)));
        walk.written = intents.iter().map(|action| action.id).collect();
        let next = walk.intended(&[]);
        assert!(next.iter().all(|action| !walk.written.contains(&action.id)));
    }

    #[test]
    fn what_prunes_comes_after_whatever_is_added_and_never_where_that_fails() {
        let mut walk = walk();
        let actions = vec![action(0, "a", start(0), &[]), action(1, "b", start(1), &[0]), action(2, "b", start(2), &[1])];
        walk.add(&Plan { actions, pruning: [ActionId(1), ActionId(2)].into(), ..Plan::default() }, &|_| false);
        walk.more(true);
        assert_eq!(ids(&walk.startable()), [0]);
        walk.leaves(ActionId(0));
        walk.outcome.done.insert(ActionId(0));
        assert!(walk.startable().is_empty(), "more is to be added");
        let actions = vec![action(0, "a", start(3), &[]), action(1, "a", start(4), &[0])];
        walk.add(&Plan { actions, ..Plan::default() }, &|_| false);
        walk.more(false);
        assert_eq!(ids(&walk.startable()), [3]);
        walk.leaves(ActionId(3));
        walk.fail(ActionId(3), Failure::new(FailureKind::Failed, "it went wrong"));
        assert_eq!(walk.outcome.skipped.keys().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 4]);
        assert!(walk.startable().is_empty());
    }

    #[test]
    fn a_node_whose_places_are_all_taken_keeps_the_controller_from_nothing() {
        let mut walk = walk();
        let mut actions: Vec<Action> = (0..5).map(|id| action(id, "a", start(id), &[])).collect();
        actions.push(action(5, "a", Op::Fetch { template: "debian".parse().unwrap() }, &[]));
        walk.add(&Plan { actions, ..Plan::default() }, &|_| false);
        assert_eq!(ids(&walk.startable()), [0, 1, 2, 3, 5]);
    }

    #[test]
    fn an_action_may_begin_once_the_last_that_it_needs_is_done() {
        let mut walk = walk();
        let mut actions: Vec<Action> = (0..3).map(|id| action(id, "a", start(id), &[])).collect();
        actions.push(action(3, "a", start(3), &[0, 1]));
        actions.push(action(4, "b", start(4), &[3]));
        walk.add(&Plan { actions, ..Plan::default() }, &|_| false);
        assert_eq!(ids(&walk.startable()), [0, 1, 2]);
        for (done, left) in [(1, vec![0, 2]), (0, vec![2, 3]), (3, vec![2, 4]), (4, vec![2])] {
            walk.leaves(ActionId(done));
            walk.is_done(ActionId(done));
            assert_eq!(ids(&walk.startable()), left, "after {done}");
        }
        walk.leaves(ActionId(2));
        walk.fail(ActionId(2), Failure::new(FailureKind::Failed, "it went wrong"));
        assert!(walk.outcome.skipped.is_empty() && walk.startable().is_empty());
    }
}
