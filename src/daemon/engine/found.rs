//! What looks found: settled, recorded, and begun where it may be.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::super::cause::Cause;
use super::super::findings;
use super::super::findings::Known;
use super::super::look::{About, Looked};
use super::super::near::{Verdict, judge};
use super::runs::Basis;
use super::{Current, Daemon, note_run};
use crate::apply::{Seen, settle};
use crate::name::{Kind, ObjectRef};
use crate::plan::{Part, Plan, Refusal};
use crate::store::{ObjectStatus, StoreError};

impl Daemon {
    /// Takes what a look found. What is recorded of it, and what is begun, is part of how long it took.
    pub(super) fn looked(&mut self, looked: Looked) -> Result<(), StoreError> {
        let (cause, began, everything) = (looked.cause, looked.began, looked.about == About::Everything);
        let taken = self.take_look(looked);
        self.shared.metrics.looked(cause, everything, began.elapsed());
        taken
    }

    fn take_look(&mut self, looked: Looked) -> Result<(), StoreError> {
        let now = Instant::now();
        let Looked { about, cause, generation, mark, on, found, .. } = looked;
        if about == About::Everything {
            self.full.under_way = false;
        } else {
            self.lates.end(on.as_ref());
        }
        if self.current.as_ref().is_none_or(|current| current.generation != generation) {
            // The manifests changed meanwhile: it is looked again by the new ones.
            match about {
                About::Everything => self.want_full(cause, now),
                About::Object(object) => self.queue.poke(&object, cause, now),
                About::Again(objects) => objects.iter().for_each(|object| self.queue.poke(object, cause, now)),
            }
            return Ok(());
        }
        match (about, found) {
            (About::Everything, Ok((seen, plan))) => {
                let taken = self.looked_at_everything(&seen, &plan, cause, mark, now);
                self.seen = Some(Arc::new(seen.observed));
                taken
            }
            (About::Everything, Err(error)) => {
                tracing::error!(%error, "everything could not be looked at");
                self.sees_nothing(&error, now);
                self.full.ended = Some(now);
                self.full.done = true;
                Ok(())
            }
            (About::Object(object), Ok((seen, plan))) => self.looked_at_object(&object, &seen, &plan, cause, mark, now),
            (About::Object(object), Err(error)) => {
                tracing::error!(%object, %error, "it could not be looked at");
                self.want_full(cause, now);
                Ok(())
            }
            (About::Again(objects), Ok((_, plan))) => {
                let by = Basis { plan: &plan, cause, mark, whole: None };
                for part in plan.parts().into_iter().filter(|part| part.objects.is_subset(&objects)) {
                    self.begin(part, by, now);
                }
                Ok(())
            }
            (About::Again(_), Err(error)) => {
                tracing::error!(%error, "what was told of meanwhile could not be looked at again");
                Ok(())
            }
        }
    }

    pub(super) fn looked_at_object(
        &mut self,
        object: &ObjectRef,
        seen: &Seen,
        plan: &Plan,
        cause: Cause,
        mark: u64,
        now: Instant,
    ) -> Result<(), StoreError> {
        if self.full.mark > mark || self.queue.saw_later(object, mark) {
            // Looks overtake each other. What an older one saw is no longer so.
            return Ok(());
        }
        self.queue.saw(object, mark);
        match judge(plan) {
            Verdict::Nothing => {
                self.queue.idle(object, now);
                self.settle(seen, plan, &|settled| settled == object)?;
                self.failures.remove(object);
                self.record(seen, plan, &[object.clone()].into(), false)
            }
            Verdict::Act(parts) => {
                self.record(seen, plan, &[object.clone()].into(), false)?;
                for part in parts {
                    self.begin(part, Basis { plan, cause, mark, whole: None }, now);
                }
                Ok(())
            }
            Verdict::LookFurther => {
                // What stands refused or waits, and was found so before, is found so again by the next full look.
                let known = self.statuses.get(object).is_some_and(|status| !status.is("Synced"));
                if !(known && plan.actions.is_empty() && cause == Cause::Event) {
                    self.want_full(cause, now);
                }
                self.queue.looked(object, now);
                Ok(())
            }
        }
    }

    pub(super) fn looked_at_everything(
        &mut self,
        seen: &Seen,
        plan: &Plan,
        cause: Cause,
        mark: u64,
        now: Instant,
    ) -> Result<(), StoreError> {
        self.full.ended = Some(now);
        self.full.deferred = !plan.deferred.is_empty();
        self.full.done = true;
        self.full.mark = mark;
        self.nodes(seen, now);
        let Some(current) = &self.current else { return Ok(()) };
        let mut all: BTreeSet<ObjectRef> = current.digests.keys().cloned().collect();
        all.extend(plan.changes.iter().map(|change| change.object.clone()));
        // What was looked at by itself meanwhile is known better than from here.
        let mut busy: BTreeSet<ObjectRef> = all.iter().filter(|object| self.queue.saw_later(object, mark)).cloned().collect();
        let overtaken = busy.clone();
        busy.extend(self.running.values().flat_map(|run| &run.objects).chain(self.hands.objects()).cloned());
        self.queue.answered(all.iter(), mark);
        self.settle(seen, plan, &|object| !busy.contains(object))?;
        let changed: BTreeSet<&ObjectRef> = plan.changes.iter().map(|change| &change.object).collect();
        self.failures.retain(|object, _| changed.contains(object));
        for object in self.queue.calmed(now) {
            self.tell(&object, "calm", "nobody changed it for ten minutes");
        }
        self.record(seen, plan, &all.difference(&busy).cloned().collect(), true)?;
        self.unwanted(plan);
        self.ask_guests(now, true);
        let (prunes, others): (Vec<Part>, Vec<Part>) = plan.parts().into_iter().partition(|part| part.prunes);
        // Nothing goes before all else is done: what fails leaves everything there.
        let waits = !prunes.is_empty() && others.iter().any(|part| self.withheld(part, plan).is_none());
        self.full.deferred |= waits;
        for part in others.into_iter().chain(prunes.into_iter().filter(|_| !waits)) {
            if part.objects.is_disjoint(&overtaken) {
                self.begin(part, Basis { plan, cause, mark, whole: Some(&seen.observed) }, now);
            }
        }
        if self.prunes_from.is_none() && plan.unreachable.is_empty() {
            self.prunes_from = Some(now + self.options.resync);
            if let Err(error) = note_run(&self.state, &self.options.source) {
                tracing::warn!(%error, "the next start takes the source for a new one");
            }
        }
        self.shared.view().looked = Some(jiff::Timestamp::now().to_string());
        Ok(())
    }

    /// What a prune would take and may not is listed.
    pub(super) fn unwanted(&mut self, plan: &Plan) {
        let left = plan.notes.iter().filter(|note| note.condition == "NotInManifests").map(|note| note.object.clone());
        let mut left: Vec<ObjectRef> = left.collect();
        let orphan = |object: &ObjectRef| self.current.as_ref().is_some_and(|current| !current.declares(object));
        let refused: Vec<&Refusal> = plan.refusals.iter().filter(|refusal| orphan(&refusal.object)).collect();
        if !refused.is_empty() {
            let mut listed: BTreeSet<ObjectRef> = left.iter().cloned().collect();
            let more = plan.pruned().chain(refused.iter().map(|refusal| &refusal.object));
            left.extend(more.filter(|object| listed.insert((*object).clone())).cloned());
        }
        if !left.is_empty() && self.shared.view().unwanted != left {
            let names: Vec<String> = left.iter().map(ToString::to_string).collect();
            let why = refused.first().map(|refusal| format!(" ({})", refusal.message)).unwrap_or_default();
            tracing::warn!("in the inventory and no longer in the manifests, left as they are: {}{why}", names.join(", "));
        }
        self.shared.view().unwanted = left;
    }

    pub(super) fn settle(&mut self, seen: &Seen, plan: &Plan, among: &dyn Fn(&ObjectRef) -> bool) -> Result<(), StoreError> {
        let Some(Current { workspace, ledger, index, .. }) = &mut self.current else { return Ok(()) };
        if self.options.dry_run {
            return Ok(());
        }
        settle(ledger, jiff::Timestamp::now, seen, plan, &|object, _| among(object))?;
        let recorded = seen.rebuilt.iter().chain(&plan.settled).map(|entry| entry.object.clone()).collect();
        ledger.pick(|owned| index.renew(&recorded, &workspace.desired, owned));
        Ok(())
    }

    /// Records how objects stand.
    pub(super) fn record(
        &mut self,
        seen: &Seen,
        plan: &Plan,
        objects: &BTreeSet<ObjectRef>,
        everything: bool,
    ) -> Result<(), StoreError> {
        let Some(current) = &self.current else { return Ok(()) };
        let at = self.options.clock.now().to_string();
        let said = findings::Said::by(plan, &|object| current.declares(object));
        let found = findings::Found { at: &at, revision: Some(&current.revision.id) };
        let look = findings::Look { said: &said, seen, found };
        let mut changed = Vec::new();
        for object in objects {
            let wanted = current.workspace.desired.object(object);
            let amiss = said.changes(object);
            if wanted.is_none() && !amiss {
                continue;
            }
            let known = Known {
                failure: self.failures.get(object).cloned(),
                flapping: self.queue.flaps(object),
                drifted: amiss && !self.pending.contains(object) && (!self.options.heal || self.queue.flaps(object)),
                digest: current.digests.get(object).cloned(),
            };
            let before = self.statuses.get(object).map(Arc::as_ref);
            if let Some(node) = findings::unread(object, wanted, look).filter(|node| self.aways.know(node)) {
                let other = self.pending.contains(object);
                changed.extend(self.aways.status(object, node, found, before, other).filter(|status| before != Some(status)));
                continue;
            }
            if object.kind == Kind::VirtualMachine
                && let Ok(domain) = findings::domain(object, wanted, seen)
            {
                self.guests.seen(object, domain, before.is_some_and(findings::ran), Instant::now());
            }
            let status = findings::status(object, wanted, look, &known, self.guests.told(object), before);
            if status.is("Synced") {
                self.pending.remove(object);
                self.put_off.remove(object);
            }
            let waits = status.is("RestartRequired");
            self.restarts.found(object, wanted, waits, self.options.clock.now());
            if !waits && !amiss {
                self.restarts.restarted(object);
            }
            if before != Some(&status) {
                changed.push(status);
            }
        }
        let is_gone =
            |object: &ObjectRef| !objects.contains(object) && !current.digests.contains_key(object) && !self.is_busy(object);
        let gone: Vec<ObjectRef> = self.statuses.keys().filter(|object| everything && is_gone(object)).cloned().collect();
        self.keep_statuses(changed, gone)
    }

    /// Keeps how objects stand now, and forgets those that are gone.
    pub(super) fn keep_statuses(&mut self, changed: Vec<ObjectStatus>, gone: Vec<ObjectRef>) -> Result<(), StoreError> {
        let changed: Vec<Arc<ObjectStatus>> = changed.into_iter().map(Arc::new).collect();
        {
            let mut view = self.shared.view();
            for object in &gone {
                self.statuses.remove(object);
                view.objects.remove(object);
            }
            for status in &changed {
                self.statuses.insert(status.object.clone(), Arc::clone(status));
                view.objects.insert(status.object.clone(), Arc::clone(status));
            }
            view.waiting = self.queue.depth();
        }
        match &self.current {
            Some(current) if !self.options.dry_run => current.ledger.put_statuses(changed, gone),
            _ => Ok(()),
        }
    }

    pub(super) fn is_busy(&self, object: &ObjectRef) -> bool {
        self.running.values().flat_map(|run| &run.objects).chain(self.hands.objects()).any(|busy| busy == object)
    }

    pub(super) fn tell(&self, object: &ObjectRef, op: &str, why: &str) {
        tracing::warn!(%object, op, "{why}");
        if let Some(current) = self.current.as_ref().filter(|_| !self.options.dry_run) {
            current.ledger.tell(object, op, jiff::Timestamp::now(), why);
        }
    }
}
