//! `renamedFrom`: what the inventory has under an old name becomes the object with the new one.
//!
//! Nothing in libvirt is made anew, or even renamed there: UUID, identity, MACs, files and the name in libvirt stay. What came with
//! a VM goes with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::model::{FieldChange, Shown, Verb};
use super::super::planner::{Draft, written_by};
use super::super::{Entry, Expect, Lane, Op, Policy, Precondition, Record};
use super::adopt::network_mark;
use super::prepare::{First, Prepared};
use crate::name::{Kind, ObjectRef};
use crate::observe::PowerState;
use crate::resolve::Wanted;
use crate::xml::Mark;

pub(super) fn prepare(all: &mut Prepared<'_>, policy: &Policy) {
    let renamed: Vec<Arc<Wanted>> =
        all.desired.objects.values().filter(|wanted| wanted.lifecycle.renamed_from.is_some()).cloned().collect();
    // Old references and new ones.
    let mut moved: BTreeMap<ObjectRef, ObjectRef> = BTreeMap::new();
    for wanted in &renamed {
        let Some(old) = old_name(wanted) else { continue };
        let Some(entry) = all.owned.entries.get(&old) else { continue };
        let known = all.owned.entries.get(&wanted.object);
        if all.desired.objects.contains_key(&old) {
            let message = format!("its `lifecycle.renamedFrom` names {old}, which has a manifest of its own");
            all.refused.insert(wanted.object.clone(), (message, "take one of the two out".into()));
            continue;
        }
        if let Some(other) = known.filter(|known| known.uid != entry.uid && !known.released && !is_same_file(known, entry)) {
            let message = format!("its `lifecycle.renamedFrom` names {old}, but {} is there, too", other.object);
            let help = format!("delete one of the two, or take the word out: jvp delete {old}");
            all.refused.insert(wanted.object.clone(), (message, help));
            continue;
        }
        if let Some(other) = other_writer(all, wanted, entry, policy) {
            all.refused.insert(wanted.object.clone(), written_by(other));
            continue;
        }
        moved.insert(old, wanted.object.clone());
    }
    // What comes with a VM keeps its name with it.
    let stays = |object: &ObjectRef| {
        let owner = all.desired.objects.get(object).and_then(|wanted| wanted.implied_by.clone());
        owner.filter(|owner| all.refused.contains_key(owner))
    };
    let left: Vec<(ObjectRef, ObjectRef)> = moved.values().filter_map(|object| Some((object.clone(), stays(object)?))).collect();
    moved.retain(|_, object| !left.iter().any(|(left, _)| left == object));
    for (object, owner) in left {
        let message = format!("it comes with {owner}, which can't have its new name");
        all.refused.insert(object, (message, "see what is said there".into()));
    }
    let mut taken = Vec::new();
    for wanted in &renamed {
        let Some(old) = old_name(wanted).filter(|old| moved.get(old) == Some(&wanted.object)) else { continue };
        // What came with a VM and isn't declared any more: seeds, and claims that were taken out.
        let prefix = format!("{}.", old.name);
        let came_with: Vec<(ObjectRef, ObjectRef)> = all
            .owned
            .entries
            .values()
            .filter(|entry| entry.volume.as_ref().is_some_and(|volume| volume.owner.as_ref() == Some(&old)))
            .filter(|entry| !moved.contains_key(&entry.object))
            .filter_map(|entry| {
                let rest = entry.object.name.as_str().strip_prefix(&prefix)?;
                let name = format!("{}.{rest}", wanted.object.name).parse().ok()?;
                Some((entry.object.clone(), ObjectRef::new(Kind::Volume, name)))
            })
            .collect();
        for (from, to) in &came_with {
            take(all, from, to, &wanted.object);
            moved.insert(from.clone(), to.clone());
        }
        take(all, &old, &wanted.object, &wanted.object);
        taken.push((wanted, old, came_with));
    }
    // Others may mention an old name still, though its own change of name is done.
    let mut known = moved.clone();
    let done = renamed.iter().filter(|wanted| all.owned.entries.contains_key(&wanted.object));
    known.extend(done.filter_map(|wanted| Some((old_name(wanted)?, wanted.object.clone()))));
    known.retain(|old, _| !all.desired.objects.contains_key(old) && !all.owned.entries.contains_key(old));
    if known.is_empty() {
        return;
    }
    mentions(all, &known);
    for (wanted, old, came_with) in taken {
        let Some(entry) = all.owned.entries.get(&wanted.object).cloned() else { continue };
        let mut forgotten = Vec::new();
        for (from, to) in came_with {
            if let Some(entry) = all.owned.entries.get(&to).cloned() {
                forgotten.push(recorded(&wanted.object, Record::kept(Arc::unwrap_or_clone(entry))));
                forgotten.push(recorded(&wanted.object, Record::Remove(from)));
            }
        }
        let mut drafts = mark(all, wanted, &entry, policy, &moved);
        let settle = Record::kept(Arc::unwrap_or_clone(entry));
        match drafts.last_mut() {
            Some(last) => last.record = settle,
            None => drafts.push(recorded(&wanted.object, settle)),
        }
        drafts.extend(forgotten);
        drafts.push(recorded(&wanted.object, Record::Remove(old.clone())));
        let name = |name: &ObjectRef| Some(Shown::Value(name.name.to_string()));
        let fields = vec![FieldChange { path: "/metadata/name".into(), old: name(&old), new: name(&wanted.object) }];
        let reason = format!("it was {old}: nothing of it is made anew");
        all.first.insert(wanted.object.clone(), First { verb: Verb::Rename, reason, fields, drafts });
    }
}

/// Whether two entries are of one file, of which a mark alone tells under one of its names: a run broke off between mark and inventory.
fn is_same_file(one: &Entry, other: &Entry) -> bool {
    let place = |entry: &Entry| entry.volume.as_ref().map(|volume| (entry.node.clone(), volume.path.clone()));
    (one.rebuilt || other.rebuilt) && one.volume.is_some() && place(one) == place(other)
}

/// The reference that a renamed object had.
fn old_name(wanted: &Wanted) -> Option<ObjectRef> {
    let may = matches!(wanted.object.kind, Kind::StoragePool | Kind::Network | Kind::Volume | Kind::VirtualMachine);
    let name = wanted.lifecycle.renamed_from.clone().filter(|_| may)?;
    Some(ObjectRef { kind: wanted.object.kind, name, node: wanted.object.node.clone() })
}

fn recorded(object: &ObjectRef, record: Record) -> Draft {
    Draft::new(Op::Inventory, Lane::Local(object.to_string())).record(record)
}

/// Puts the entry of `from` under `to`.
fn take(all: &mut Prepared<'_>, from: &ObjectRef, to: &ObjectRef, owner: &ObjectRef) {
    // One that has a manifest of its own by now came with nobody.
    let by_itself = all.desired.objects.get(to).is_some_and(|wanted| wanted.implied_by.is_none());
    let owned = all.owned.to_mut();
    let Some(old) = owned.entries.remove(from) else { return };
    // A run that broke off may have put it there already; what only a mark tells is less than what the inventory knows.
    let known = owned.entries.remove(to).filter(|known| !known.rebuilt && (known.uid == old.uid || is_same_file(known, &old)));
    let mut entry = Entry { object: to.clone(), ..Arc::unwrap_or_clone(known.unwrap_or(old)) };
    if let Some(volume) = entry.volume.as_mut()
        && volume.owner.is_some()
    {
        volume.owner = (!by_itself).then(|| owner_of(to, owner));
    }
    owned.entries.insert(to.clone(), Arc::new(entry));
    // It rests under its new name, too: whoever resumes it does so by the old one, for nothing is done until then.
    if let Some(suspension) = owned.suspended.get(from).cloned() {
        owned.suspended.insert(to.clone(), suspension);
    }
}

/// The VM that a volume came with: `<vm>.<disk>`.
fn owner_of(volume: &ObjectRef, renamed: &ObjectRef) -> ObjectRef {
    if renamed.kind == Kind::VirtualMachine {
        return renamed.clone();
    }
    let vm = volume.name.as_str().rsplit_once('.').and_then(|(vm, _)| vm.parse().ok());
    vm.map_or_else(|| renamed.clone(), |name| ObjectRef::new(Kind::VirtualMachine, name))
}

/// Whether what is found is what an entry is of.
fn is_it(policy: &Policy, entry: &Entry, uuid: uuid::Uuid, mark: Option<&Mark>) -> bool {
    match mark {
        Some(mark) => mark.fleet == policy.fleet && mark.uid == entry.uid,
        None => entry.libvirt_uuid == Some(uuid) || uuid == entry.uid,
    }
}

/// The other state directory that wrote the mark of what is to have a new name, where nobody said that it may be taken over.
fn other_writer(all: &Prepared<'_>, wanted: &Wanted, entry: &Entry, policy: &Policy) -> Option<uuid::Uuid> {
    let state = all.node(wanted)?;
    let ours = |uuid, mark: Option<&Mark>| is_it(policy, entry, uuid, mark);
    let mark = match wanted.object.kind {
        Kind::VirtualMachine => state.domains.values().find(|it| ours(it.uuid, it.doc.mark.as_ref()))?.doc.mark.as_ref(),
        Kind::Network => state.networks.values().find(|it| ours(it.uuid, it.doc.mark.as_ref()))?.doc.mark.as_ref(),
        _ => None,
    };
    let other = mark.map(|mark| mark.writer).filter(|writer| *writer != policy.writer && !writer.is_nil());
    other.filter(|_| !policy.consents.take_over)
}

/// The effects that put the new name into the mark.
fn mark(
    all: &mut Prepared<'_>,
    wanted: &Wanted,
    entry: &Entry,
    policy: &Policy,
    moved: &BTreeMap<ObjectRef, ObjectRef>,
) -> Vec<Draft> {
    let is_it = |uuid: uuid::Uuid, mark: Option<&Mark>| is_it(policy, entry, uuid, mark);
    let renamed = |mark: Option<&Mark>| {
        let fresh = || Mark {
            uid: entry.uid,
            paths: entry.last.clone(),
            ..Mark::new(policy.fleet, wanted.object.clone(), policy.writer)
        };
        let mut mark = mark.cloned().unwrap_or_else(fresh);
        mark.object = wanted.object.clone();
        mark.writer = policy.writer;
        for volume in &mut mark.volumes {
            if let Some(new) = volume.name.parse::<ObjectRef>().ok().and_then(|old| moved.get(&old)) {
                volume.name = new.to_string();
            }
        }
        mark
    };
    let expect = |uuid| Expect::Marked { uuid, uid: entry.uid, object: wanted.object.clone() };
    let Some(state) = all.node(wanted) else { return Vec::new() };
    match wanted.object.kind {
        Kind::VirtualMachine => {
            let Some(domain) = state.domains.values().find(|d| is_it(d.uuid, d.doc.mark.as_ref())) else { return Vec::new() };
            let (name, uuid, mark) = (domain.name.clone(), domain.uuid, renamed(domain.doc.mark.as_ref()));
            let op = Op::DomainMetadata {
                name: name.clone(),
                uuid,
                title: None,
                description: None,
                mark: Some(mark.to_xml()),
                live: domain.live.is_some(),
            };
            let now = Precondition::Domain { uuid, running: domain.state != PowerState::Off };
            let draft = Draft::new(op, Lane::Object(format!("domain/{name}"))).when(now).expect(expect(uuid));
            if let Some(domain) = all.domain_mut(wanted, &name) {
                Arc::make_mut(&mut domain.doc).mark = Some(mark);
            }
            vec![draft]
        }
        Kind::Network => {
            let Some(network) = state.networks.values().find(|n| is_it(n.uuid, n.doc.mark.as_ref())) else { return Vec::new() };
            let (name, uuid, mark) = (network.name.clone(), network.uuid, renamed(network.doc.mark.as_ref()));
            let draft = network_mark(network, &mark);
            if let Some(network) = all.network_mut(wanted, &name) {
                network.doc.mark = Some(mark);
            }
            vec![draft.expect(expect(uuid))]
        }
        _ => Vec::new(),
    }
}

/// Puts the new names where other entries mention the old ones.
fn mentions(all: &mut Prepared<'_>, moved: &BTreeMap<ObjectRef, ObjectRef>) {
    for entry in all.owned.to_mut().entries.values_mut() {
        let source = entry.volume.as_ref().and_then(|volume| volume.source.as_ref());
        if let Some(new) = source.and_then(|source| moved.get(&source.parse::<ObjectRef>().ok()?))
            && let Some(volume) = &mut Arc::make_mut(entry).volume
        {
            volume.source = Some(new.to_string());
        }
        if entry.reservations.is_empty() {
            continue;
        }
        let renamed = |key: &String| -> Option<String> {
            let (network, nic) = key.rsplit_once('/')?;
            Some(format!("{}/{nic}", moved.get(&network.parse::<ObjectRef>().ok()?)?))
        };
        let entry = Arc::make_mut(entry);
        entry.reservations =
            std::mem::take(&mut entry.reservations).into_iter().map(|(key, of)| (renamed(&key).unwrap_or(key), of)).collect();
    }
}
