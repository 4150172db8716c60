//! Adoption: what is there, and isn't ours, becomes ours as it is. Nothing changes but the mark.
//!
//! The kinds' planners are shown it as their own, last applied with no field at all, so that nothing is taken out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::identity::{Found, Identities, named};
use super::super::kinds::mark_volume;
use super::super::model::{RefusalKind, Verb};
use super::super::planner::{Draft, Planner, libvirt_name};
use super::super::record::fresh_entry;
use super::super::{Entry, Expect, Lane, Op, Policy, Precondition, Record, Sources, VolumeRecord};
use super::prepare::{First, Prepared};
use crate::manifest::{Management, Spec, VolumeFormat, VolumeSpec};
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::{NodeState, PoolState, PowerState};
use crate::resolve::Wanted;
use crate::xml::volume::VolumeDoc;
use crate::xml::{self, Mark};

pub(super) fn prepare(all: &mut Prepared<'_>, sources: &Sources, policy: &Policy) {
    // Of nearly all nobody asks whether they are there.
    let everybody = !policy.adopt.is_empty() || !policy.consents.take_from.is_empty();
    let concerned = |wanted: &Wanted| {
        let lifecycle = &wanted.lifecycle;
        everybody || lifecycle.adopts() || lifecycle.management() != Management::Full || !lifecycle.ignore_changes.is_empty()
    };
    if !all.desired.objects.values().any(|wanted| concerned(wanted)) {
        return;
    }
    let is_concerned = |object: &&ObjectRef| all.desired.objects.get(*object).is_some_and(|wanted| concerned(wanted));
    let order: Vec<ObjectRef> = all.desired.order.iter().filter(is_concerned).cloned().collect();
    let mut identities: BTreeMap<(Kind, Option<Name>), Identities> = BTreeMap::new();
    for object in order {
        let Some(wanted) = all.desired.objects.get(&object) else { continue };
        if !matches!(object.kind, Kind::StoragePool | Kind::Network | Kind::Volume | Kind::VirtualMachine) {
            continue;
        }
        let watched = wanted.lifecycle.management() == Management::Observe;
        let asked = wanted.lifecycle.adopts() || policy.adopt.contains(&object);
        let Some(state) = all.node(wanted) else { continue };
        if object.kind == Kind::Volume {
            let there = volume(all, wanted, state);
            let known = all.owned.entries.get(&object).is_some_and(|entry| entry.volume.is_some());
            // A creation that broke off is decided by its intent.
            let begun = all.owned.intents.iter().any(|intent| intent.object == object && intent.op.starts_with("volume-"));
            if let Some((pool, found)) = there {
                let is_it = |entry: &Entry| {
                    entry.volume.as_ref().is_some_and(|record| record.owner.is_none() && record.path == found.path)
                };
                // It looks through the whole inventory, so it is asked of what is to be adopted alone.
                if let Some(other) = (asked && !known).then(|| known_as(all, wanted, &is_it)).flatten() {
                    all.refused.insert(object, other);
                    continue;
                }
                if (asked || watched) && !known && !begun {
                    let (record, pool) = (record(wanted, state, pool, found), pool.name.clone());
                    let wanted = wanted.clone();
                    let mut entry = fresh_entry(&wanted, sources, None);
                    entry.volume = record;
                    let what = format!("a file `{}` is in the pool `{pool}`", wanted.libvirt_name);
                    take(all, &wanted, entry, &what, Vec::new(), watched);
                }
                // What it left may be half of it.
                if known || !begun {
                    all.there.insert(object);
                }
            }
            continue;
        }
        let found = named(object.kind, state, &wanted.libvirt_name);
        let recorded = all.owned.entries.get(&object).and_then(|entry| entry.libvirt_uuid);
        let ours = |found: &Found<'_>| match found.mark {
            Some(mark) => mark.fleet == policy.fleet && mark.uid == wanted.uid,
            None => found.uuid == wanted.uid || recorded == Some(found.uuid),
        };
        // By its name first: only one that was renamed by hand is looked for among all.
        let by_name = found.as_ref().is_some_and(|found| found.persistent && ours(found));
        let of_node = (object.kind, wanted.node.clone());
        let fresh = || Identities::of(object.kind, state, policy.fleet);
        if by_name || identities.entry(of_node.clone()).or_insert_with(fresh).has(wanted.uid, recorded) {
            all.there.insert(object);
            continue;
        }
        let Some(found) = found.filter(|found| found.persistent) else { continue };
        let free = match found.mark {
            None => asked || watched,
            // Another object's, which looking doesn't take from it unless it was let go.
            Some(mark) if mark.fleet == policy.fleet => {
                watched && all.owned.entries.get(&mark.object).is_some_and(|entry| entry.released)
            }
            Some(mark) => watched || policy.consents.take_from.contains(&mark.fleet),
        };
        if !free || (object.kind == Kind::VirtualMachine && stands_elsewhere(all, wanted)) {
            continue;
        }
        let is_it = |entry: &Entry| entry.libvirt_uuid == Some(found.uuid);
        if let Some(other) = (found.mark.is_none() && !watched).then(|| known_as(all, wanted, &is_it)).flatten() {
            all.refused.insert(object, other);
            continue;
        }
        let (uuid, name, wanted) = (found.uuid, found.name.to_owned(), wanted.clone());
        marked(all, &wanted, sources, policy, uuid, &name, watched);
        // A pool bears none.
        if let Some(known) = identities.get_mut(&of_node).filter(|_| object.kind != Kind::StoragePool) {
            known.mark(uuid, wanted.uid);
        }
        all.there.insert(object);
    }
}

/// Plans the adoption of an object and nothing else.
pub(in crate::plan) fn adopt_alone(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    first: &mut BTreeMap<ObjectRef, First>,
    refused: &BTreeMap<ObjectRef, (String, String)>,
    there: bool,
) {
    if first.contains_key(&wanted.object) || refused.contains_key(&wanted.object) {
        super::begin(p, wanted, first, refused);
    } else if there {
        p.note(&wanted.object, "Ours", "it is ours already, and needs no adoption");
    } else {
        let stopped = match &*wanted.spec {
            Spec::Volume(spec) => {
                let pool = spec.pool.as_ref().zip(wanted.node.as_ref()).and_then(|(pool, node)| p.pool(pool, node));
                pool.filter(|pool| !pool.active).map(|pool| pool.name.clone())
            }
            _ => None,
        };
        let (message, help) = match stopped {
            Some(pool) => {
                (format!("its pool `{pool}` is stopped, and what is in it can't be read"), format!("virsh pool-start {pool}"))
            }
            None => {
                let state = wanted.node.as_ref().and_then(|node| p.node(node));
                let theirs = state.and_then(|state| named(wanted.object.kind, state, &wanted.libvirt_name));
                match theirs.map(|found| (found.persistent, found.mark)) {
                    Some((false, _)) => (
                        "it is transient: it vanishes when it stops, and is never managed".into(),
                        "make it persistent first: virsh define".into(),
                    ),
                    Some((true, Some(mark))) if mark.fleet == p.desired.fleet => (
                        format!("what is there is {} of this fleet", mark.object),
                        format!("if it was renamed: `lifecycle: {{renamedFrom: {}}}`", mark.object.name),
                    ),
                    Some((true, Some(mark))) => (
                        format!("what is there belongs to fleet {}", mark.fleet),
                        format!("to take it over from that fleet: --take-from {}", mark.fleet),
                    ),
                    Some((true, None)) => {
                        ("a VM of ours with this name is known on another node".into(), "look at it: jvp describe".into())
                    }
                    None => (
                        format!("there is nothing called `{}` to be adopted", wanted.libvirt_name),
                        "correct `spec.libvirtName`, or have it made: jvp apply".into(),
                    ),
                }
            }
        };
        p.refuse(wanted, RefusalKind::Guard, message, &[help]);
    }
}

/// Why what is found can't be adopted, and what to do: the inventory has it as another object.
fn known_as(all: &Prepared<'_>, wanted: &Wanted, is_it: &dyn Fn(&Entry) -> bool) -> Option<(String, String)> {
    let of_node = |entry: &&Arc<Entry>| {
        entry.object != wanted.object
            && entry.object.kind == wanted.object.kind
            && entry.node == wanted.node
            && !(entry.released || entry.unfinished)
    };
    let other = all.owned.entries.values().filter(of_node).find(|entry| is_it(entry))?;
    let help = format!("if it was renamed: `lifecycle: {{renamedFrom: {}}}`", other.object.name);
    Some((format!("what is there is {} of this fleet", other.object), help))
}

/// Whether a VM of ours is, or was when last seen, on another node.
fn stands_elsewhere(all: &Prepared<'_>, wanted: &Wanted) -> bool {
    let moved = all.owned.entries.get(&wanted.object).is_some_and(|entry| entry.node != wanted.node);
    moved || all.observed.domains_by_uid(wanted.uid).iter().any(|(node, _)| Some(*node) != wanted.node.as_ref())
}

/// What is found where a Volume is wanted, and its pool.
fn volume<'n>(all: &Prepared<'_>, wanted: &Wanted, state: &'n NodeState) -> Option<(&'n PoolState, &'n VolumeDoc)> {
    let Spec::Volume(spec) = &*wanted.spec else { return None };
    let pool_ref = ObjectRef::on(Kind::StoragePool, spec.pool.clone()?, wanted.node.as_ref()?);
    let pool = state.pools.get(&libvirt_name(&all.desired, &all.owned, &pool_ref))?;
    Some((pool, pool.volumes.as_ref()?.get(&wanted.libvirt_name)?))
}

/// The record of a volume that is found where a Volume is wanted.
fn record(wanted: &Wanted, state: &NodeState, pool: &PoolState, found: &VolumeDoc) -> Option<VolumeRecord> {
    let Spec::Volume(spec) = &*wanted.spec else { return None };
    Some(VolumeRecord {
        pool: pool.name.clone(),
        file: found.name.clone(),
        path: found.path.clone(),
        format: told_format(spec, state, &found.path).unwrap_or_else(|| found.format.clone()),
        capacity: found.capacity,
        backing: found.backing.as_ref().map(|backing| backing.path.clone()),
        source: super::super::kinds::source_word(spec),
        owner: wanted.implied_by.clone(),
    })
}

/// The format of a file as somebody said it: its manifest, else the domains that open it. What it reads as proves nothing.
fn told_format(spec: &VolumeSpec, state: &NodeState, path: &str) -> Option<String> {
    let written = spec.format.map(|format| match format {
        VolumeFormat::Qcow2 => "qcow2".to_owned(),
        VolumeFormat::Raw => "raw".to_owned(),
    });
    written.or_else(|| {
        let mut disks = state.domains.values().flat_map(|domain| domain.doc.disks.iter());
        disks.find(|disk| disk.source.as_deref() == Some(path)).and_then(|disk| disk.format.clone())
    })
}

/// Takes a pool, network or domain.
fn marked(
    all: &mut Prepared<'_>,
    wanted: &Wanted,
    sources: &Sources,
    policy: &Policy,
    uuid: uuid::Uuid,
    name: &str,
    watched: bool,
) {
    let mut entry = fresh_entry(wanted, sources, Some(uuid));
    name.clone_into(&mut entry.libvirt_name);
    let mut mark = Mark {
        uid: wanted.uid,
        paths: wanted.managed().cloned().collect(),
        ..Mark::new(policy.fleet, wanted.object.clone(), policy.writer)
    };
    let marked = Expect::Marked { uuid, uid: wanted.uid, object: wanted.object.clone() };
    let mut drafts = Vec::new();
    let mut what = format!("a storage pool called `{name}` is there");
    match wanted.object.kind {
        Kind::VirtualMachine => {
            let Some(domain) = all.node(wanted).and_then(|state| state.domains.get(name)) else { return };
            what = origin("a domain", name, domain.doc.mark.as_ref());
            mark.volumes = volumes(all, wanted);
            // It has been started before, or somebody means it to stay off.
            mark.ran = true;
            if let Spec::VirtualMachine(spec) = &*wanted.spec {
                mark.fragment = spec
                    .xml
                    .as_deref()
                    .filter(|text| holds(text, &domain.inactive_xml.text()))
                    .map(super::super::kinds::fragment_digest);
                entry.fragment_digest.clone_from(&mark.fragment);
            }
            let op = Op::DomainMetadata {
                name: name.to_owned(),
                uuid,
                title: None,
                description: None,
                mark: Some(mark.to_xml()),
                live: domain.live.is_some(),
            };
            let now = Precondition::Domain { uuid, running: domain.state != PowerState::Off };
            drafts.push(Draft::new(op, Lane::Object(format!("domain/{name}"))).when(now).expect(marked));
            if let Some(domain) = all.domain_mut(wanted, name) {
                Arc::make_mut(&mut domain.doc).mark = Some(Mark { paths: BTreeSet::new(), ..mark });
            }
        }
        Kind::Network => {
            let Some(network) = all.node(wanted).and_then(|state| state.networks.get(name)) else { return };
            what = origin("a network", name, network.doc.mark.as_ref());
            drafts.push(network_mark(network, &mark).expect(marked));
            if let Some(network) = all.network_mut(wanted, name) {
                network.doc.mark = Some(Mark { paths: BTreeSet::new(), ..mark });
            }
        }
        _ => {}
    }
    take(all, wanted, entry, &what, drafts, watched);
}

/// What is found, in words.
fn origin(what: &str, name: &str, mark: Option<&Mark>) -> String {
    match mark {
        Some(mark) => format!("{what} called `{name}` of fleet {} is there", mark.fleet),
        None => format!("{what} called `{name}` is there"),
    }
}

/// The definition of a network with another mark, all else as it is: libvirt 9 sets a network's metadata in no other way.
pub(super) fn network_mark(network: &crate::observe::NetworkState, mark: &Mark) -> Draft {
    let patch = xml::network::NetworkPatch { mark: Some(mark.clone()), ..xml::network::NetworkPatch::default() };
    let op = Op::NetworkPatch { name: network.name.clone(), patch: Box::new(patch), was: BTreeMap::new() };
    Draft::new(op, Lane::Object(format!("network/{}", network.name))).when(Precondition::Uuid(network.uuid))
}

/// Whether a document has all that a fragment says already.
fn holds(fragment: &str, document: &str) -> bool {
    xml::domain::parse_fragment(fragment).is_ok_and(|fragment| xml::domain::holds(document, &fragment))
}

/// The volumes of ours that a VM's disks name, for its mark, in the order in which it names them.
fn volumes(all: &Prepared<'_>, wanted: &Wanted) -> Vec<xml::MarkVolume> {
    let mut named = BTreeSet::new();
    let volumes = wanted.references.iter().map(|reference| &reference.object).filter(|object| object.kind == Kind::Volume);
    volumes
        .filter(|object| named.insert(*object))
        .filter_map(|object| Some((object, all.owned.entries.get(object)?.volume.as_ref()?)))
        .map(|(object, record)| mark_volume(object.to_string(), record))
        .collect()
}

/// Shows an object as ours, and has the inventory and, by `drafts`, the mark say so unless it is only looked at.
fn take(all: &mut Prepared<'_>, wanted: &Wanted, entry: Entry, what: &str, mut drafts: Vec<Draft>, watched: bool) {
    let entry = Entry { last: BTreeSet::new(), ..entry };
    if !watched {
        let settle = Record::Settle(Box::new(entry.clone()));
        match drafts.last_mut() {
            Some(last) => last.record = settle,
            None => drafts.push(Draft::new(Op::Inventory, Lane::Local(wanted.object.to_string())).record(settle)),
        }
        let reason = format!("{what} that jvp didn't make: it is taken over as it is");
        all.first.insert(wanted.object.clone(), First { verb: Verb::Adopt, reason, fields: Vec::new(), drafts });
    }
    all.owned.to_mut().entries.insert(wanted.object.clone(), Arc::new(entry));
}
