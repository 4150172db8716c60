//! Prune: what the inventory has and the manifests no longer do is taken down, by the rules of a delete. Nothing else is ever touched.
//!
//! And a question: what goes and what comes may be one VM under two names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::model::{Change, Refusal, RefusalKind, Verb};
use super::planner::Planner;
use super::{ActionId, Entry, Op};
use crate::manifest::{Spec, VirtualMachineSpec, VolumeFormat};
use crate::name::{Kind, Name, ObjectRef, Uid};
use crate::resolve::Wanted;

/// What of the inventory no manifest declares any more: not what comes with something declared, nor what was let go before.
fn orphans(p: &Planner<'_>) -> BTreeSet<ObjectRef> {
    let declared = |object: &ObjectRef| p.desired.objects.contains_key(object);
    // A seed goes with its VM, and by itself where that one is gone.
    let seed = |entry: &Entry| {
        let owner = super::delete_file::seed_of(entry);
        owner.is_some_and(|vm| declared(vm) || p.owned.entries.contains_key(vm))
    };
    p.owned
        .entries
        .values()
        .filter(|entry| !entry.released && !declared(&entry.object) && !seed(entry))
        .filter(|entry| !matches!(entry.object.kind, Kind::Fleet | Kind::Node))
        .map(|entry| entry.object.clone())
        .collect()
}

/// Ends the plan of an apply: prunes where that was asked for, else tells what a prune would take.
pub(super) fn finish(p: &mut Planner<'_>) {
    if p.policy.partial || p.policy.targets.is_some() || !p.policy.adopt.is_empty() {
        return;
    }
    let mut orphans = orphans(p);
    orphans.retain(|object| !super::suspension::spared(p, object));
    let renamed = ask(p, &orphans);
    if !p.policy.prune {
        for object in &orphans {
            p.note(
                object,
                "NotInManifests",
                "it is in the inventory and no longer in the manifests; it stays as it is: --prune removes it",
            );
        }
        return;
    }
    let orphans: BTreeSet<ObjectRef> = orphans.into_iter().filter(|object| !renamed.contains(object)).collect();
    if orphans.is_empty() {
        return;
    }
    let declared = p.desired.objects.values().any(|wanted| !matches!(wanted.object.kind, Kind::Fleet | Kind::Node));
    if !declared && !p.policy.consents.allow_empty_prune {
        let message =
            format!("the manifests declare nothing any more, and a prune would take down all {} objects", orphans.len());
        for object in &orphans {
            p.note(object, "NotInManifests", "it is in the inventory and no longer in the manifests; it stays as it is");
        }
        return refuse(p, orphans.first(), message, vec!["if that is meant: --allow-empty-prune".into()]);
    }
    let mut taken = orphans.clone();
    let mut known_as: BTreeMap<Uid, Vec<&ObjectRef>> = BTreeMap::new();
    for entry in p.owned.entries.values() {
        known_as.entry(entry.uid).or_default().push(&entry.object);
    }
    for object in &orphans {
        let Some(entry) = p.entry(object) else { continue };
        // What a change of name left behind is known under its new one; where both are to go, under the first.
        let is_known = |other: &ObjectRef| other != object && (!orphans.contains(other) || other < object);
        if known_as.get(&entry.uid).is_some_and(|others| others.iter().any(|other| is_known(other))) {
            super::delete::forget_alone(p, object, "it has another name by now; the inventory forgets this one");
            taken.remove(object);
        } else if entry.rebuilt && super::delete_file::seed_of(entry).is_none() {
            // A seed has no word of its own to be kept by.
            taken.remove(object);
            let message = "only its mark tells of it, and whether it may be deleted is not known any more";
            refuse(p, Some(object), message.into(), vec![format!("delete it by its name: jvp delete {object}")]);
        }
    }
    let mut refusals = Vec::new();
    let (changes, actions, before) = (p.plan.changes.len(), p.plan.actions.len(), last_actions(p));
    super::delete::plan(p, &taken, false);
    p.plan.pruning = p.plan.actions.iter().skip(actions).map(|action| action.id).collect();
    for change in p.plan.changes.iter_mut().skip(changes) {
        change.reason = change.reason.replacen("asked for", "it is no longer in the manifests", 1);
    }
    // What stays would be left without what it names, or has.
    let stays = Stays::of(p);
    for change in p.plan.changes.iter().skip(changes).filter(|change| change.verb == Verb::Delete) {
        let object = change.object.clone();
        if let Some(by) = stays.naming.get(&object) {
            let message = format!("it is no longer in the manifests, and {by}, which is, still names it");
            refusals.push((object, message, vec![format!("give it a manifest again, or take it out of {by}")]));
        } else if let Some(by) = stays.with_what_goes(p, change) {
            let message = format!("it is no longer in the manifests, and {by}, which is, has what this would take away");
            let help = vec![
                format!("if it is to stay: give {by} the name that this one has, {}", object.name),
                format!("if it may go: take {by} out first"),
            ];
            refusals.push((object, message, help));
        }
    }
    for (object, message, help) in refusals {
        refuse(p, Some(&object), message, help);
    }
    // What comes with a VM goes with it, and counts with it.
    let gone = |change: &&Change| change.verb == Verb::Delete && change.implied_by.is_none();
    let deletes = p.plan.changes.iter().skip(changes).filter(gone).count();
    let comes_with = |entry: &Entry| entry.volume.as_ref().is_some_and(|volume| volume.owner.is_some());
    let all = p.owned.entries.values().filter(|entry| !entry.released && !comes_with(entry)).count();
    let most = p.policy.consents.max_deletes.of(all);
    if deletes > most {
        let message = format!(
            "a prune would delete {deletes} of {all} objects, and may delete {most} (--max-deletes {})",
            p.policy.consents.max_deletes
        );
        return refuse(p, taken.first(), message, vec![format!("if that is meant: --max-deletes {deletes}")]);
    }
    // Nothing goes before all else is done: what fails leaves everything there.
    for action in p.plan.actions.iter_mut().skip(actions) {
        action.needs.extend(before.iter().copied());
    }
}

/// A place in libvirt: kind, node, pool and name there.
type Place<'a> = (Kind, Option<&'a Name>, Option<String>, &'a str);

/// What declared objects name, and have or look at; with the first of them that does.
struct Stays<'a> {
    naming: BTreeMap<&'a ObjectRef, &'a ObjectRef>,
    places: BTreeMap<Place<'a>, &'a ObjectRef>,
}

impl<'a> Stays<'a> {
    fn of(p: &Planner<'a>) -> Self {
        let (mut naming, mut places) = (BTreeMap::new(), BTreeMap::new());
        for wanted in p.desired.objects.values() {
            for reference in &wanted.references {
                naming.entry(&reference.object).or_insert(&wanted.object);
            }
            let pool = match &*wanted.spec {
                Spec::Volume(spec) => {
                    let place = spec.pool.as_ref().zip(wanted.node.as_ref());
                    place.map(|(pool, node)| p.libvirt_name(Kind::StoragePool, pool, node))
                }
                _ => None,
            };
            let place = (wanted.object.kind, wanted.node.as_ref(), pool, wanted.libvirt_name.as_str());
            places.entry(place).or_insert(&wanted.object);
        }
        Self { naming, places }
    }

    /// The object that has, or looks at, what the deletion of another one would take away: of its name in libvirt, in the same place.
    fn with_what_goes(&self, p: &Planner<'_>, change: &Change) -> Option<&'a ObjectRef> {
        let takes = |id: &ActionId| match &p.plan.actions.get(id.0)?.op {
            Op::DomainUndefine { name, .. } | Op::NetworkUndefine { name } | Op::PoolUndefine { name } => Some((None, name)),
            Op::VolumeDelete { pool, name } => Some((Some(pool), name)),
            _ => None,
        };
        let (pool, name) = change.actions.iter().find_map(takes)?;
        self.places.get(&(change.object.kind, change.node.as_ref(), pool.cloned(), name.as_str())).copied()
    }
}

fn refuse(p: &mut Planner<'_>, object: Option<&ObjectRef>, message: String, help: Vec<String>) {
    let Some(object) = object.cloned() else { return };
    p.plan.refusals.push(Refusal { object, kind: RefusalKind::Guard, message, help, origin: None });
}

/// The last action of each object so far.
fn last_actions(p: &Planner<'_>) -> BTreeSet<ActionId> {
    p.plan.changes.iter().filter_map(|change| change.actions.last().copied()).collect()
}

/// Asks whether a new VM is one that goes, under another name: where both have a disk or a MAC in common, or claims that are alike,
/// neither is done without a word. The old names that were asked about.
fn ask(p: &mut Planner<'_>, orphans: &BTreeSet<ObjectRef>) -> BTreeSet<ObjectRef> {
    let mut asked = BTreeSet::new();
    let old: Vec<ObjectRef> = orphans.iter().filter(|object| object.kind == Kind::VirtualMachine).cloned().collect();
    if old.is_empty() {
        return asked;
    }
    let changes = p.plan.changes.iter().filter(|change| change.verb == Verb::Create).map(|change| &change.object);
    let deferred = p.plan.deferred.iter().filter(|deferred| deferred.expected == Verb::Create).map(|deferred| &deferred.object);
    let made: BTreeSet<&ObjectRef> =
        changes.chain(deferred).chain(p.plan.refusals.iter().map(|refusal| &refusal.object)).collect();
    let new: Vec<Arc<Wanted>> = p
        .desired
        .objects
        .values()
        .filter(|wanted| {
            wanted.object.kind == Kind::VirtualMachine && p.entry(&wanted.object).is_none() && made.contains(&wanted.object)
        })
        .filter(|wanted| !p.policy.consents.replace.contains(&wanted.object))
        .cloned()
        .collect();
    for wanted in &new {
        let Spec::VirtualMachine(spec) = &*wanted.spec else { continue };
        let Some(like) = old.iter().find(|old| alike(p, wanted, spec, old)) else { continue };
        asked.insert(like.clone());
        let message =
            format!("is it {like} under a new name? It has the same disks or MACs, and that one is no longer in the manifests");
        let help = [
            format!("if it is: `lifecycle: {{renamedFrom: {}}}`", like.name),
            format!("if it is another one: --replace {}", wanted.object),
        ];
        p.refuse(wanted, RefusalKind::Guard, message, &help);
    }
    asked
}

fn alike(p: &Planner<'_>, wanted: &Wanted, spec: &VirtualMachineSpec, old: &ObjectRef) -> bool {
    let Some(entry) = p.entry(old).filter(|entry| entry.node == wanted.node) else { return false };
    let Some(node) = &wanted.node else { return false };
    let domains = p.node(node).into_iter().flat_map(|state| state.domains.values());
    let domain = domains.into_iter().find(|domain| match &domain.doc.mark {
        Some(mark) => mark.uid == entry.uid,
        None => entry.libvirt_uuid == Some(domain.uuid),
    });
    if let Some(domain) = domain {
        let macs: BTreeSet<_> = domain.doc.interfaces.iter().filter_map(|nic| nic.mac).collect();
        if spec.interfaces.iter().filter_map(|nic| nic.mac).any(|mac| macs.contains(&mac)) {
            return true;
        }
        let volumes = spec.disks.iter().filter_map(|disk| disk.volume.as_ref());
        let paths =
            volumes.filter_map(|name| p.volume_at(&ObjectRef::new(Kind::Volume, name.clone()), node)).map(|(at, ..)| at.path);
        let writes = |path: &String| domain.doc.disks.iter().any(|disk| !disk.read_only && disk.source.as_ref() == Some(path));
        if paths.into_iter().any(|path| writes(&path)) {
            return true;
        }
    }
    same_claims(p, spec, old, node)
}

/// Whether a VM claims what another one had claimed, disk by disk.
fn same_claims(p: &Planner<'_>, spec: &VirtualMachineSpec, old: &ObjectRef, node: &Name) -> bool {
    let claims: BTreeMap<String, _> =
        spec.disks.iter().filter_map(|disk| Some((disk.name.as_str().replace('_', "-"), disk.claim.as_ref()?))).collect();
    let prefix = format!("{}.", old.name);
    let seed = format!("{}.seed-", old.name);
    let had: BTreeMap<&str, &super::VolumeRecord> = p
        .owned
        .entries
        .values()
        .filter(|entry| !entry.object.name.as_str().starts_with(&seed))
        .filter_map(|entry| Some((entry.object.name.as_str().strip_prefix(&prefix)?, entry.volume.as_ref()?)))
        .filter(|(_, volume)| volume.owner.as_ref() == Some(old))
        .collect();
    !claims.is_empty()
        && claims.len() == had.len()
        && claims.iter().all(|(disk, claim)| {
            had.get(disk.as_str()).is_some_and(|volume| {
                let source = claim.source.as_ref().and_then(|source| {
                    let template = source.template.as_ref().map(|name| format!("Template/{name}"));
                    template.or_else(|| source.volume.as_ref().map(|name| format!("Volume/{name}")))
                });
                let raw = claim.format == Some(VolumeFormat::Raw);
                source == volume.source
                    && (volume.format == "raw") == raw
                    && claim.pool.as_ref().is_some_and(|pool| p.libvirt_name(Kind::StoragePool, pool, node) == volume.pool)
                    && claim.capacity.is_none_or(|capacity| capacity.bytes().div_ceil(512) == volume.capacity.div_ceil(512))
            })
        })
}
