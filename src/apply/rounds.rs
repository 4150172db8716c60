//! Rounds: a plan is carried out, and where something had to wait, its node is looked at again and that is planned by the same pure
//! function.
//!
//! What must hold: each node has rounds of its own, so that one that hangs holds up only what is on it; nothing is planned on a node on
//! which a step is under way; a round after the first does only what the plan that was shown had named, nothing destructive, and nothing
//! that failed in this run; what prunes comes after all of them. Nothing here shows or asks anything: whoever drives the rounds does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;

use super::observe::Patience;
use super::progress::Sink;
use super::run::{Halt, Halted};
use super::settle::{settle, unsettled};
use super::step::{Failure, World};
use super::walk::Walk;
use crate::name::{Name, ObjectRef};
use crate::observe::{NodeView, Observed};
use crate::plan::{Action, ActionId, Deferred, Entry, Lane, Op, Owned, Plan, Sources};
use crate::store::StoreError;

/// Rounds on a node after which an apply ends there, whatever is still deferred.
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
    /// Reads these nodes, with so much patience, where there is an end to it.
    async fn observe(&self, nodes: &BTreeSet<Name>, patience: Option<&Patience>) -> Observed;
    /// The same with the inventory and the sources.
    fn seen(&self, observed: Observed) -> Result<Seen, Self::Error>;
    /// Plans, all of it or what these objects need; the same function in every round.
    fn plan(&self, seen: &Seen, objects: Option<&BTreeSet<ObjectRef>>) -> Plan;
    /// Told that the ledger has something that readers may want to see.
    fn recorded(&self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// How the rounds ended, the gravest where they ended differently on several nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// There was nothing left that could be done.
    Done,
    /// They were stopped.
    Stopped,
    /// What had waited was refused when it could be planned; [`Rounds::refused`] says why.
    Refused,
    /// What is to be done for [`Rounds::unannounced`] was not in the plan that was shown.
    Unannounced,
    /// What had waited can't be planned, since its node went out of reach; [`Rounds::lost`] says which.
    Lost,
    /// Something still waits for something else: [`Rounds::waiting`].
    Unfinished,
}

/// What waits on a node.
struct Turn {
    round: u32,
    deferred: Vec<Deferred>,
    /// How much was done for it when it was last planned.
    done: usize,
}

/// A plan on its way.
pub struct Rounds {
    world: Arc<World>,
    id: String,
    seen: Seen,
    plan: Plan,
    /// The objects of which anything is settled here; none: all of them.
    ours: Option<BTreeSet<ObjectRef>>,
    /// What the plans so far were said to be about, with where it is.
    named: BTreeMap<ObjectRef, Option<Name>>,
    /// The nodes on which something waits for another round.
    turns: BTreeMap<Name, Turn>,
    /// Where only looking once more tells what is to be recorded.
    unsettled: BTreeSet<Option<Name>>,
    failures: Vec<(Action, Failure)>,
    done: usize,
    skipped: BTreeSet<(ObjectRef, &'static str)>,
    stopped: bool,
    refused: Vec<Plan>,
    unannounced: Vec<ObjectRef>,
    lost: BTreeMap<Name, String>,
    waiting: Vec<Deferred>,
}

impl Rounds {
    /// Begins with a plan that was shown. `id` tells this run's intents from those of others.
    pub fn new(world: Arc<World>, id: String, seen: Seen, plan: Plan) -> Self {
        let mut rounds = Self {
            world,
            id,
            seen,
            plan: Plan::default(),
            ours: None,
            named: BTreeMap::new(),
            turns: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            failures: Vec::new(),
            done: 0,
            skipped: BTreeSet::new(),
            stopped: false,
            refused: Vec::new(),
            unannounced: Vec::new(),
            lost: BTreeMap::new(),
            waiting: Vec::new(),
        };
        rounds.name(&plan);
        for deferred in &plan.deferred {
            match &deferred.node {
                Some(node) => {
                    let turn = Turn { round: 1, deferred: Vec::new(), done: 0 };
                    rounds.turns.entry(node.clone()).or_insert(turn).deferred.push(deferred.clone());
                }
                None => rounds.waiting.push(deferred.clone()),
            }
        }
        rounds.unsettled = unsettled(&plan);
        rounds.plan = plan;
        rounds
    }

    /// Where others work beside it: settles these objects only.
    #[must_use]
    pub fn among(self, ours: Option<BTreeSet<ObjectRef>>) -> Self {
        Self { ours, ..self }
    }

    fn is_ours(&self, object: &ObjectRef) -> bool {
        self.ours.as_ref().is_none_or(|ours| ours.contains(object))
    }

    fn name(&mut self, plan: &Plan) {
        self.named.extend(plan.changes.iter().map(|change| (change.object.clone(), change.node.clone())));
        self.named.extend(plan.deferred.iter().map(|deferred| (deferred.object.clone(), deferred.node.clone())));
    }

    /// What the plans were made from last.
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

    /// The plans of what had waited and was refused when it could be planned.
    pub fn refused(&self) -> &[Plan] {
        &self.refused
    }

    /// What had waited and would need something that was not in the plan that was shown.
    pub fn unannounced(&self) -> &[ObjectRef] {
        &self.unannounced
    }

    /// Nodes on which something waited when they went out of reach, with what was said.
    pub fn lost(&self) -> &BTreeMap<Name, String> {
        &self.lost
    }

    /// What still waits for something else.
    pub fn waiting(&self) -> &[Deferred] {
        &self.waiting
    }

    /// How they ended.
    pub fn end(&self) -> End {
        match self {
            Self { stopped: true, .. } => End::Stopped,
            _ if !self.refused.is_empty() => End::Refused,
            _ if !self.unannounced.is_empty() => End::Unannounced,
            _ if !self.lost.is_empty() => End::Lost,
            // What failed, or is out of reach, is why.
            _ if !self.waiting.is_empty() && self.failures.is_empty() && self.plan.unreachable.is_empty() => End::Unfinished,
            _ => End::Done,
        }
    }

    /// Carries the plan out, and plans and carries out what had to wait.
    #[tracing::instrument(skip_all, fields(id = self.id))]
    pub async fn carry_out<O: Outlook>(
        &mut self,
        outlook: &O,
        parallelism: usize,
        halted: &watch::Receiver<Halt>,
        sink: &Sink,
    ) -> Result<(), O::Error> {
        settle(&self.world.ledger, self.world.clock, &self.seen, &self.plan, &|object, _| self.is_ours(object))?;
        outlook.recorded()?;
        let mut walk = Walk::new(self.world.clone(), self.id.clone(), parallelism, sink.clone());
        walk.add(&self.plan, &|_| false);
        let mut looks = FuturesUnordered::new();
        let mut halted = Halted::new(halted);
        let mut trouble = None;
        loop {
            match halted.now() {
                Halt::No if trouble.is_none() => {
                    for (node, round) in self.due(&walk) {
                        // Nobody else waits for it.
                        looks.push(async move { (outlook.observe(&[node.clone()].into(), None).await, node, round) });
                    }
                    let more = !(self.turns.is_empty() && looks.is_empty());
                    if !more && self.is_cut_short() {
                        walk.skip_last();
                    }
                    walk.more(more);
                    walk.start();
                }
                halt => {
                    self.stopped |= !(self.turns.is_empty() && looks.is_empty());
                    looks.clear();
                    if halt == Halt::Now {
                        walk.abort();
                    }
                }
            }
            if !walk.is_under_way() && looks.is_empty() {
                break;
            }
            tokio::select! {
                () = walk.ended(), if walk.is_under_way() => {}
                Some((observed, node, round)) = looks.next() => {
                    trouble = self.looked(outlook, &mut walk, observed, node, round).err();
                }
                () = halted.changed() => {}
            }
        }
        self.take(walk);
        trouble.map_or(Ok(()), Err)
    }

    /// The nodes on which nothing is under way any more and something waits, to be looked at again, with the round that is over. What
    /// nothing was done for in it goes on waiting.
    fn due(&mut self, walk: &Walk) -> Vec<(Name, u32)> {
        let named = &self.named;
        let concerns = |action: &Action, node: &Name| {
            let of = |object: &ObjectRef| object.kind == action.object.kind && object.name == action.object.name;
            // That one without a node is the first of its name.
            let all = named.range(ObjectRef { node: None, ..action.object.clone() }..).take_while(|(object, _)| of(object));
            action.node.is_none() || all.into_iter().any(|(_, on)| on.as_ref() == Some(node))
        };
        // One fetch serves all nodes.
        let rests = |node: &Name| walk.is_idle(node) && !walk.local().any(|action| concerns(action, node));
        let due: Vec<Name> = self.turns.keys().filter(|node| rests(node)).cloned().collect();
        let mut looks = Vec::new();
        for node in due {
            let Some(turn) = self.turns.remove(&node) else { continue };
            if turn.round == ROUNDS || turn.done == walk.done_for(&node) {
                self.waiting.extend(turn.deferred);
            } else {
                looks.push((node, turn.round));
            }
        }
        looks
    }

    /// Whether something that had waited can't be planned.
    fn is_cut_short(&self) -> bool {
        !(self.refused.is_empty() && self.unannounced.is_empty() && self.lost.is_empty())
    }

    /// Plans what had to wait on a node, which was looked at again.
    fn looked<O: Outlook>(
        &mut self,
        outlook: &O,
        walk: &mut Walk,
        observed: Observed,
        node: Name,
        round: u32,
    ) -> Result<(), O::Error> {
        let mut all = std::mem::take(&mut self.seen.observed);
        all.nodes.extend(observed.nodes);
        if let Some(NodeView::Unreachable { message, .. }) = all.nodes.get(&node) {
            self.lost.insert(node, message.clone());
            self.seen.observed = all;
            return Ok(());
        }
        // What the others had when they were looked at stands for what they have: who is there is read, and nothing is planned on them.
        self.seen = outlook.seen(all)?;
        let here = |(object, on): (&ObjectRef, &Option<Name>)| (on.as_ref() == Some(&node)).then(|| object.clone());
        let next = outlook.plan(&self.seen, Some(&self.named.iter().filter_map(here).collect()));
        if next.refusals.iter().any(|refusal| refusal.kind.stops_all()) {
            self.refused.push(next);
            return Ok(());
        }
        // What failed in this run isn't tried again in it, not for another node either.
        let deed = |action: &Action| match &action.lane {
            Lane::Local(deed) => Some(deed.clone()),
            _ => None,
        };
        let lost = walk.of(walk.outcome().failed.keys());
        let (lost, deeds): (BTreeSet<ObjectRef>, Vec<Option<String>>) =
            lost.map(|failed| (failed.object.clone(), deed(failed))).unzip();
        let deeds: BTreeSet<String> = deeds.into_iter().flatten().collect();
        let failed = |action: &Action| lost.contains(&action.object) || deed(action).is_some_and(|deed| deeds.contains(&deed));
        let implied = implied(&next, &self.named);
        let may =
            |action: &Action| is_harmless(action) && (self.named.contains_key(&action.object) || implied.contains(&action.id));
        if let Some(action) = next.actions.iter().find(|action| !failed(action) && !may(action)) {
            self.unannounced.push(action.object.clone());
            return Ok(());
        }
        let deferred: Vec<Deferred> =
            next.deferred.iter().filter(|deferred| deferred.node.as_ref() == Some(&node)).cloned().collect();
        if next.actions.iter().all(failed) {
            self.waiting.extend(deferred);
            return Ok(());
        }
        self.name(&next);
        let busy = walk.busy();
        let among = |object: &ObjectRef, on: Option<&Name>| {
            self.is_ours(object) && on.is_none_or(|on| *on == node) && !busy.contains(object)
        };
        settle(&self.world.ledger, self.world.clock, &self.seen, &next, &among)?;
        outlook.recorded()?;
        self.unsettled.remove(&Some(node.clone()));
        self.unsettled.extend(unsettled(&next));
        walk.add(&next, &|action| failed(action) || busy.contains(&action.object));
        if !deferred.is_empty() {
            let done = walk.done_for(&node);
            self.turns.insert(node, Turn { round: round + 1, deferred, done });
        }
        Ok(())
    }

    /// Takes what came of the steps.
    fn take(&mut self, mut walk: Walk) {
        let outcome = walk.finish();
        self.done = outcome.done.len();
        self.stopped |= !outcome.stopped.is_empty();
        self.skipped = walk.of(outcome.skipped.keys()).map(|action| (action.object.clone(), action.op.word())).collect();
        let failed = walk.of(outcome.failed.keys()).cloned();
        self.failures = failed.zip(outcome.failed.values().cloned()).collect();
    }

    /// Records what only a last look can tell, where everything went well; true if it did.
    pub async fn finish<O: Outlook>(&mut self, outlook: &O) -> Result<bool, O::Error> {
        if !self.failures.is_empty() || !self.skipped.is_empty() {
            return Ok(false);
        }
        // Only where something was done: a node that hangs holds nobody up that had nothing to do there.
        let open = self.world.ledger.open_intents().into_iter().filter(|intent| self.is_ours(&intent.object));
        let there = self.unsettled.iter().cloned().chain(open.map(|intent| intent.node));
        // Nor for one that was out of reach before.
        let away = |node: &Name| matches!(self.seen.observed.nodes.get(node), Some(NodeView::Unreachable { .. }));
        let there: BTreeSet<Option<Name>> = there.filter(|node| !node.as_ref().is_some_and(away)).collect();
        if !there.is_empty() {
            let nodes: BTreeSet<Name> = there.iter().flatten().cloned().collect();
            let answered =
                self.seen.observed.nodes.iter().any(|(node, view)| !nodes.contains(node) && matches!(view, NodeView::Reached(_)));
            let looked = outlook.observe(&nodes, Some(&Patience { answered, ..Patience::default() })).await;
            for (node, view) in &looked.nodes {
                if let NodeView::Unreachable { message, .. } = view {
                    tracing::warn!(%node, message, "what was done there could not be looked at once more; the next run does");
                }
            }
            let mut all = std::mem::take(&mut self.seen.observed);
            all.nodes.extend(looked.nodes);
            self.seen = outlook.seen(all)?;
            let mut after = outlook.plan(&self.seen, None);
            // What is gone by now was judged before.
            if let (Some(judged), Some(before)) = (&mut after.judged, &self.plan.judged) {
                judged.extend(before.iter().cloned());
            }
            let among = |object: &ObjectRef, on: Option<&Name>| self.is_ours(object) && there.contains(&on.cloned());
            settle(&self.world.ledger, self.world.clock, &self.seen, &after, &among)?;
        }
        Ok(true)
    }
}

/// The actions of a plan for what comes with an object that was named.
fn implied(plan: &Plan, named: &BTreeMap<ObjectRef, Option<Name>>) -> BTreeSet<ActionId> {
    let with = plan.changes.iter().filter(|change| change.implied_by.as_ref().is_some_and(|by| named.contains_key(by)));
    with.flat_map(|change| change.actions.iter().copied()).collect()
}

/// What a round after the first may do: create, start or change live what was named as deferred.
fn is_harmless(action: &Action) -> bool {
    !matches!(
        action.op,
        Op::DomainDestroy { .. }
            | Op::DomainShutdown { .. }
            | Op::DomainUndefine { .. }
            | Op::NetworkStop { .. }
            | Op::NetworkUndefine { .. }
            | Op::PoolStop { .. }
            | Op::PoolUndefine { .. }
    )
}
