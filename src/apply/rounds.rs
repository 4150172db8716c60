//! Rounds: a plan is carried out, the nodes are looked at again, and what had to wait is planned by the same pure function.
//!
//! What must hold: a round after the first does only what the plan that was shown had named, nothing destructive, and nothing that
//! failed in this run. Nothing here shows or asks anything: whoever drives the rounds does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::progress::Sink;
use super::run::{Halt, run};
use super::step::{Failure, World};
use crate::host::{Host, NoProgress};
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::{NodeView, Observed};
use crate::plan::{Action, ActionId, Change, Entry, NEW_HOST_UUID, NodeRecord, Note, Op, Owned, Plan, Sources, Verb};
use crate::store::{self, Ledger, StoreError};

/// Rounds after which an apply ends, whatever is still deferred.
pub const ROUNDS: u32 = 4;

/// What a plan was made from, beside the manifests.
#[derive(Debug)]
pub struct Seen {
    /// What the nodes have.
    pub observed: Observed,
    /// The inventory, made whole from the marks.
    pub owned: Owned,
    /// Entries that only the marks told.
    pub rebuilt: Vec<Entry>,
    /// What is known of sources.
    pub sources: Sources,
}

/// Looking, and planning from what was seen.
#[async_trait(?Send)]
pub trait Outlook {
    /// Why it could not be looked.
    type Error: From<StoreError>;
    /// Looks at all nodes, the inventory and the sources.
    async fn look(&self) -> Result<Seen, Self::Error>;
    /// Plans; the same function in every round.
    fn plan(&self, seen: &Seen) -> Plan;
}

/// How the rounds ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// There was nothing left that could be done.
    Done,
    /// They were stopped.
    Stopped,
    /// What had waited was refused when it could be planned; [`Rounds::plan`] says why.
    Refused,
    /// What is to be done for this object was not in the plan that was shown.
    Unannounced(ObjectRef),
    /// Something still waits for something else.
    Unfinished,
}

/// A plan on its way.
pub struct Rounds {
    world: Arc<World>,
    id: String,
    round: u32,
    seen: Seen,
    plan: Plan,
    /// What the rounds so far were said to be about.
    named: BTreeSet<ObjectRef>,
    progressed: bool,
    failures: Vec<(Action, Failure)>,
    done: usize,
    skipped: BTreeSet<(ObjectRef, &'static str)>,
    end: End,
}

impl Rounds {
    /// Begins with a plan that was shown. `id` tells this run's intents from those of others.
    pub fn new(world: Arc<World>, id: String, seen: Seen, plan: Plan) -> Self {
        let mut rounds = Self {
            world,
            id,
            round: 0,
            seen,
            plan,
            named: BTreeSet::new(),
            progressed: false,
            failures: Vec::new(),
            done: 0,
            skipped: BTreeSet::new(),
            end: End::Done,
        };
        rounds.name();
        rounds
    }

    fn name(&mut self) {
        self.named.extend(self.plan.changes.iter().map(|change| change.object.clone()));
        self.named.extend(self.plan.deferred.iter().map(|deferred| deferred.object.clone()));
    }

    /// The plan of this round.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What this round's plan was made from.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// What failed, in all rounds.
    pub fn failures(&self) -> &[(Action, Failure)] {
        &self.failures
    }

    /// How many steps were done.
    pub fn done(&self) -> usize {
        self.done
    }

    /// How many steps were not begun, since they need what failed.
    pub fn skipped(&self) -> usize {
        self.skipped.len()
    }

    /// How they ended.
    pub fn end(&self) -> &End {
        &self.end
    }

    /// Records what is known before anything is done.
    pub fn settle(&self) -> Result<(), StoreError> {
        settle(&self.world.ledger, self.world.clock, &self.seen, &self.plan, &|_| true)
    }

    /// Carries this round's plan out.
    pub async fn run(&mut self, parallelism: usize, halted: &watch::Receiver<Halt>, sink: &Sink) {
        self.round += 1;
        let failed: BTreeSet<&ObjectRef> = self.failures.iter().map(|(action, _)| &action.object).collect();
        let held: BTreeSet<ActionId> =
            self.plan.actions.iter().filter(|action| failed.contains(&action.object)).map(|action| action.id).collect();
        let id = format!("{}-{}", self.id, self.round);
        let outcome = run(&self.plan, &self.world, &id, parallelism, &held, halted, sink).await;
        self.progressed = !outcome.done.is_empty();
        self.done += outcome.done.len();
        let step = |id: &ActionId| self.plan.actions.get(id.0);
        self.skipped.extend(outcome.skipped.keys().filter_map(step).map(|action| (action.object.clone(), action.op.word())));
        self.failures.extend(outcome.failed.into_iter().filter_map(|(id, failure)| Some((step(&id)?.clone(), failure))));
        if !outcome.stopped.is_empty() {
            self.end = End::Stopped;
        }
    }

    /// Looks again and plans what had to wait. False where the rounds are over; [`end`](Self::end) says how.
    pub async fn next<O: Outlook>(&mut self, outlook: &O, halted: &watch::Receiver<Halt>) -> Result<bool, O::Error> {
        if self.end != End::Done || self.plan.deferred.is_empty() || *halted.borrow() != Halt::No {
            return Ok(false);
        }
        if !self.progressed || self.round == ROUNDS {
            if self.failures.is_empty() && self.plan.unreachable.is_empty() {
                self.end = End::Unfinished;
            }
            return Ok(false);
        }
        let seen = outlook.look().await?;
        let next = outlook.plan(&seen);
        self.seen = seen;
        if next.refusals.iter().any(|refusal| refusal.kind.stops_all()) {
            self.plan = next;
            self.end = End::Refused;
            return Ok(false);
        }
        let failed = |action: &Action| self.failures.iter().any(|(failed, _)| failed.object == action.object);
        if let Some(action) = next.actions.iter().find(|action| !failed(action) && !may(action, &next, &self.named)) {
            self.end = End::Unannounced(action.object.clone());
            return Ok(false);
        }
        // What failed in this run isn't tried again in it.
        if !next.is_empty() && next.actions.iter().all(failed) {
            return Ok(false);
        }
        self.plan = next;
        self.name();
        Ok(!self.plan.is_empty())
    }

    /// Records what only a last look can tell, where everything went well; true if it did.
    pub async fn finish<O: Outlook>(&mut self, outlook: &O) -> Result<bool, O::Error> {
        if !self.failures.is_empty() || !self.skipped.is_empty() {
            return Ok(false);
        }
        if !(leaves_nothing_to_settle(&self.plan) && self.world.ledger.open_intents().is_empty()) {
            self.seen = outlook.look().await?;
            let after = outlook.plan(&self.seen);
            settle(&self.world.ledger, self.world.clock, &self.seen, &after, &|_| true)?;
        }
        Ok(true)
    }
}

/// What a round after the first may do: create, start or change live what was named as deferred.
fn may(action: &Action, plan: &Plan, named: &BTreeSet<ObjectRef>) -> bool {
    let implied = plan
        .changes
        .iter()
        .any(|change| change.actions.contains(&action.id) && change.implied_by.as_ref().is_some_and(|by| named.contains(by)));
    let harmless = !matches!(
        action.op,
        Op::DomainDestroy { .. }
            | Op::DomainShutdown { .. }
            | Op::DomainUndefine { .. }
            | Op::NetworkStop { .. }
            | Op::NetworkUndefine { .. }
            | Op::PoolStop { .. }
            | Op::PoolUndefine { .. }
    );
    harmless && (named.contains(&action.object) || implied)
}

/// Whether a plan that was carried out recorded all that looking once more could: VMs that are new, or that were changed and neither
/// started nor stopped, are read back and settled one by one.
fn leaves_nothing_to_settle(plan: &Plan) -> bool {
    let in_place = |id: &ActionId| {
        let op = plan.actions.get(id.0).map(|action| &action.op);
        op.is_some_and(|op| {
            matches!(
                op,
                Op::DomainRedefine { .. }
                    | Op::DomainMetadata { .. }
                    | Op::DomainDevice { .. }
                    | Op::DomainMemory { .. }
                    | Op::DomainBlockLimits { .. }
            )
        })
    };
    let settled = |change: &Change| {
        change.object.kind == Kind::VirtualMachine
            && (change.verb == Verb::Create || (change.verb == Verb::Update && change.actions.iter().all(in_place)))
    };
    // What libvirt made of a user's own text is known by a look at it only, and what a hand does to it from then on is told by that.
    let theirs = |action: &Action| {
        matches!(action.op, Op::DomainDefine { validate: true, .. } | Op::DomainRedefine { validate: true, .. })
    };
    !plan.is_empty() && plan.deferred.is_empty() && plan.changes.iter().all(settled) && !plan.actions.iter().any(theirs)
}

/// Records the hosts that were met for the first time, and, of the objects that `among` has, those that are as wanted and that the
/// ledger didn't know so.
pub fn settle(
    ledger: &Ledger,
    clock: fn() -> jiff::Timestamp,
    seen: &Seen,
    plan: &Plan,
    among: &dyn Fn(&ObjectRef) -> bool,
) -> Result<(), StoreError> {
    let now = || clock().to_string();
    for (name, view) in &seen.observed.nodes {
        let NodeView::Reached(state) = view else { continue };
        let Some(host_uuid) = state.host.uuid else { continue };
        let met_again = |note: &Note| note.condition == NEW_HOST_UUID && note.object == ObjectRef::new(Kind::Node, name.clone());
        match ledger.node(name) {
            None if plan.leaves_alone(name) => {}
            None => ledger.put_node(NodeRecord { name: name.clone(), host_uuid, first_seen: now() })?,
            Some(known) if known.host_uuid != host_uuid && plan.notes.iter().any(met_again) => {
                ledger.put_node(NodeRecord { host_uuid, ..known })?;
            }
            Some(_) => {}
        }
    }
    let alone = |node: Option<&Name>| node.is_some_and(|node| plan.leaves_alone(node));
    for entry in seen.rebuilt.iter().chain(&plan.settled).filter(|entry| among(&entry.object) && !alone(entry.node.as_ref())) {
        let known = ledger.entry(&entry.object);
        let mut entry = entry.clone();
        entry.date(known.as_ref(), now);
        if known.as_ref() != Some(&entry) {
            ledger.put_entry(entry)?;
        }
    }
    // An intent whose object needs nothing any more was decided by looking.
    for intent in ledger.open_intents().into_iter().filter(|intent| among(&intent.object)) {
        let open = plan.changes.iter().any(|change| change.object == intent.object)
            || plan.deferred.iter().any(|deferred| deferred.object == intent.object)
            || plan.refusals.iter().any(|refusal| refusal.object == intent.object)
            || plan.notes.iter().any(|note| note.object == intent.object && note.condition == "Suspended")
            || plan.unreachable.iter().any(|node| Some(&node.node) == intent.node.as_ref())
            || alone(intent.node.as_ref());
        if !open {
            ledger.complete(&intent.id, store::Outcome::Settled, Vec::new())?;
        }
    }
    Ok(())
}

/// Refreshes each pool that holds a volume which the plan makes, fills, grows or deletes. True where there was one.
pub async fn refresh(hosts: &BTreeMap<Name, Arc<dyn Host>>, plan: &Plan) -> bool {
    let pools: BTreeSet<(&Name, &str)> = plan
        .actions
        .iter()
        .filter_map(|action| match &action.op {
            Op::VolumeCreate { pool, .. }
            | Op::VolumeClone { pool, .. }
            | Op::VolumeUpload { pool, .. }
            | Op::VolumeGrow { pool, .. }
            | Op::VolumeDelete { pool, .. } => Some((action.node.as_ref()?, pool.as_str())),
            _ => None,
        })
        .collect();
    // Side by side, so that a node that hangs holds up no other's.
    let refreshed = pools.iter().filter_map(|(node, pool)| {
        let host = hosts.get(*node)?;
        Some(async move {
            if let Err(error) = host.act(&Op::PoolRefresh { name: (*pool).to_owned() }, &NoProgress).await {
                tracing::warn!(%node, pool, %error, "the pool was not refreshed");
            }
        })
    });
    futures_util::future::join_all(refreshed).await;
    !pools.is_empty()
}
