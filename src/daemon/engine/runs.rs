//! Runs: whether a part of a plan may begin now, and what came of it.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::super::act::{Ended, Running};
use super::super::cause::Cause;
use super::super::claims::Claims;
use super::super::near::near;
use super::super::queue::Ending;
use super::super::{act, findings};
use super::{Current, Daemon, Message, PUT_OFF, RUNS};
use crate::name::{Name, ObjectRef};
use crate::observe::Observed;
use crate::plan::{Op, Part, Plan, Verb};
use crate::store::StoreError;

/// What a run is begun by.
#[derive(Clone, Copy)]
pub(super) struct Basis<'a> {
    pub plan: &'a Plan,
    pub cause: Cause,
    /// The last trigger before the look that it was planned from.
    pub mark: u64,
    /// What was seen, where that was everything, and read in as long as that takes.
    pub whole: Option<&'a Observed>,
}

impl Daemon {
    /// Begins a run, where all of it may be done now.
    pub(super) fn begin(&mut self, part: Part, by: Basis<'_>, now: Instant) {
        let Basis { plan, cause, mark, whole } = by;
        let Some(current) = &self.current else { return };
        if let Some(why) = self.withheld(&part, plan) {
            tracing::debug!(objects = ?part.objects, why, "left as it is");
            return;
        }
        let claims = current.ledger.pick(|owned| Claims::of(&part, &current.workspace.desired, owned, &current.index));
        let nodes: BTreeSet<Name> = part.plan.actions.iter().filter_map(|action| action.node.clone()).collect();
        let beside = self.running.values().filter(|run| nodes.is_empty() || !run.nodes.is_disjoint(&nodes)).count();
        let collides = self.running.values().any(|run| run.claims.collide(&claims)) || self.hands.claim(&claims);
        if beside >= RUNS || collides {
            self.blocked.extend(part.objects.iter().cloned());
            return;
        }
        for object in &part.objects {
            match self.queue.may(object, now) {
                Ok(()) => {}
                Err(Some(at)) => {
                    self.queue.later(object, Cause::Retry, at);
                    return;
                }
                Err(None) => {
                    self.blocked.insert(object.clone());
                    return;
                }
            }
        }
        if !self.queue.unmoved(claims.own.iter(), mark) {
            // Something was told meanwhile. It is due again already; but what never rests can't be waited for.
            let most = part.objects.iter().map(|object| {
                let times = self.put_off.entry(object.clone()).or_default();
                *times += 1;
                *times
            });
            if most.max().unwrap_or_default() <= PUT_OFF {
                return;
            }
            // A look at everything takes long: these objects are read once more by themselves.
            if let Some(whole) = whole
                && self.look_again(claims.own.iter().chain(&part.objects).cloned().collect(), whole, cause)
            {
                return;
            }
        }
        let Some(current) = &self.current else { return };
        for object in &part.objects {
            self.put_off.remove(object);
        }
        let foreign: BTreeSet<ObjectRef> = if cause.finds_drift() {
            healed(&part).filter(|object| self.was_synced(object, current)).cloned().collect()
        } else {
            BTreeSet::new()
        };
        for object in &foreign {
            self.shared.metrics.drifted(cause);
            tracing::info!(%object, cause = cause.word(), "others changed it; it is changed back");
        }
        self.runs += 1;
        let number = self.runs;
        let (workspace, ledger) = (current.workspace.clone(), current.ledger_for(cause));
        let (outbox, halt, parallelism) = (self.outbox.clone(), self.halt.subscribe(), self.options.parallelism);
        let run_id = format!("{}-{number}", self.began.as_millisecond());
        let ears = self.listeners.iter().map(|(name, listener)| (name.clone(), listener.ear.clone())).collect();
        let objects = part.objects.clone();
        let stopped = part.plan.actions.iter().filter(|action| stops(&action.op));
        let stops = stopped.map(|action| action.object.clone()).collect();
        let task = act::carry_out(number, run_id, part, workspace, (ledger, ears), parallelism, halt);
        tokio::spawn(async move {
            let ended = task.await;
            let _ = outbox.send(Message::Ended(ended)).await;
        });
        let flaps = self.queue.begin(&objects, &foreign, now);
        self.running.insert(number, Running { claims, objects, nodes, stops, cause });
        for object in flaps {
            self.tell(&object, "flapping", "somebody keeps changing it; it is healed more slowly from now on");
        }
        self.show_running();
    }

    /// Reads some objects once more, among all that was seen just now. False where something of them is yet to be made.
    fn look_again(&mut self, objects: BTreeSet<ObjectRef>, whole: &Observed, cause: Cause) -> bool {
        let Some(looker) = self.looker(cause) else { return false };
        let near = looker.ledger.pick(|owned| near(&objects, &looker.workspace.desired, owned));
        let Some(near) = near else { return false };
        self.lates.begin(None);
        let (outbox, before) = (self.outbox.clone(), whole.clone());
        tokio::spawn(async move {
            let looked = looker.again(objects, near, before, cause).await;
            let _ = outbox.send(Message::Looked(Box::new(looked))).await;
        });
        true
    }

    /// Why a part of a plan is not carried out, by what the daemon was told.
    pub(super) fn withheld(&self, part: &Part, plan: &Plan) -> Option<&'static str> {
        let current = self.current.as_ref()?;
        if self.options.dry_run {
            return Some("nothing is done (--dry-run)");
        }
        let refused = |object: &ObjectRef| plan.refusals.iter().any(|refusal| refusal.object == *object);
        if part.objects.iter().any(refused) && !part.is_light() {
            return Some("something of it is refused");
        }
        let is_new = |object: &ObjectRef| self.statuses.get(object).is_none_or(|status| status.synced.is_none());
        let by_manifest =
            |object: &ObjectRef| self.pending.contains(object) || is_new(object) || !current.digests.contains_key(object);
        if !self.options.heal && !part.objects.iter().any(by_manifest) && healed(part).next().is_some() {
            return Some("what others changed is only told (--heal=false)");
        }
        // A prune that was refused is refused as a whole, though its plan shows all that it would have done.
        if part.prunes && plan.refusals.iter().any(|refusal| !current.declares(&refusal.object)) {
            return Some("the prune was refused");
        }
        let prunes_running = part.prunes && part.plan.actions.iter().any(|action| stops(&action.op));
        if prunes_running && !self.options.prune_running {
            return Some("it runs, and a prune takes no VM that runs without --prune-running");
        }
        None
    }

    /// Whether an object was as wanted, by the very manifest that it has now.
    pub(super) fn was_synced(&self, object: &ObjectRef, current: &Current) -> bool {
        let digest = current.digests.get(object);
        let synced = self.statuses.get(object).and_then(|status| status.synced.as_ref());
        digest.is_some() && digest == synced && !self.failures.contains_key(object)
    }

    pub(super) fn show_running(&self) {
        let all = self.running.values().flat_map(|run| run.objects.iter().cloned()).collect();
        self.shared.view().running = all;
        self.shared.metrics.stands(self.queue.depth(), self.running.len());
    }

    /// Takes what came of a run.
    pub(super) fn ended(&mut self, ended: Ended) -> Result<(), StoreError> {
        let now = Instant::now();
        let Some(run) = self.running.remove(&ended.run) else { return Ok(()) };
        for (op, done) in &ended.steps {
            self.shared.metrics.stepped(op, *done);
        }
        let failed = ended.objects.values().any(|(ending, _)| *ending == Ending::Failed);
        for (object, (ending, why)) in ended.objects {
            self.queue.end(&object, ending, now);
            match ending {
                Ending::Failed => {
                    let why = why.unwrap_or_default();
                    tracing::error!(%object, cause = run.cause.word(), failures = self.queue.failures(&object), "{why}");
                    self.failures.insert(object.clone(), why.clone());
                    self.say_failed(&object, &why)?;
                }
                Ending::Done => {
                    self.failures.remove(&object);
                    // A guest's reboot is good for one restart. What failed may be tried again for as long as it counts.
                    if run.stops.contains(&object) {
                        self.restarts.restarted(&object);
                    }
                    if !ended.deleted.contains(&object) {
                        // What was done is looked at once more, as anybody else's doing is.
                        self.queue.poke(&object, Cause::Awaited, now);
                    }
                }
                Ending::Stopped => self.queue.poke(&object, Cause::Awaited, now),
            }
        }
        self.try_blocked(now);
        if let Some(Current { workspace, ledger, index, .. }) = &mut self.current {
            ledger.pick(|owned| index.renew(&ended.recorded, &workspace.desired, owned));
        }
        // Who hung on a network that was started again, only a look at all guests tells.
        let started = ended.steps.iter().any(|(op, done)| *done && *op == "network-start");
        if (self.full.deferred && !failed) || started {
            self.want_full(Cause::Awaited, now);
        }
        self.show_running();
        Ok(())
    }

    /// Has a failure be seen before the next look.
    pub(super) fn say_failed(&mut self, object: &ObjectRef, why: &str) -> Result<(), StoreError> {
        let Some(mut status) = self.statuses.get(object).map(|status| (**status).clone()) else { return Ok(()) };
        findings::failed(&mut status, why, &self.options.clock.now().to_string());
        self.keep_statuses(vec![status], Vec::new())
    }
}

/// Whether it stops a VM.
fn stops(op: &Op) -> bool {
    matches!(op, Op::DomainShutdown { .. } | Op::DomainDestroy { .. })
}

/// The objects of a part that are changed back. What only waited for a restart is as its manifest says.
fn healed(part: &Part) -> impl Iterator<Item = &ObjectRef> {
    let restarted: BTreeSet<&ObjectRef> =
        part.plan.changes.iter().filter(|change| change.verb == Verb::Restart).map(|change| &change.object).collect();
    part.objects.iter().filter(move |object| !restarted.contains(object))
}
