//! Planning a VirtualMachine that is there, and deciding whether it is.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::vm_change::Sides;
use super::{
    vm_address, vm_boot, vm_change, vm_conduct, vm_create, vm_expect, vm_fragment, vm_network, vm_power, vm_rebuild, vm_renamed,
    vm_saved,
};
use crate::manifest::{Leaves, RunStrategy, Spec, VirtualMachineSpec};
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::{DomainState, NodeView, OffReason, PowerState};
use crate::plan::diff::{Differences, compare};
use crate::plan::identity::Verdict;
use crate::plan::model::{Effect, FieldChange, RefusalKind, Shown, Verb};
use crate::plan::planner::{Draft, Hold, Planner, Row, Standing};
use crate::plan::record::entry_of;
use crate::plan::{DomainExpect, Entry, Expect, Lane, Op, Precondition};
use crate::resolve::{Wanted, claim};
use crate::xml::domain::{DomainDoc, machine_family};
use crate::xml::{Mark, MarkVolume};

/// Sets a field of something that is copied only where it changes.
macro_rules! set {
    ($whole:ident.$field:ident = $value:expr) => {{
        let value = $value;
        if $whole.$field != value {
            $whole.to_mut().$field = value;
        }
    }};
}

pub(in crate::plan) fn plan(p: &mut Planner<'_>, wanted: &Wanted) {
    let Spec::VirtualMachine(spec) = &*wanted.spec else { return };
    let Some(node) = &wanted.node else { return };
    if elsewhere(p, wanted, node) {
        return;
    }
    let Some(state) = p.node(node) else { return };
    let verdict = p.verdict_domain(wanted, state);
    if p.refuse_foreign(wanted, "domain", &verdict) {
        return;
    }
    match verdict {
        Verdict::Absent => {
            if let Some(unseen) = unseen(p, wanted, node) {
                let message = format!("it may stand on Node/{unseen}, which is out of reach: it is not made a second time");
                return p.refuse(
                    wanted,
                    RefusalKind::Unreachable,
                    message,
                    &[format!("bring Node/{unseen} back, or `jvp node forget {unseen}` if it is gone for good")],
                );
            }
            vm_create::create(p, wanted, spec, node);
        }
        Verdict::Ours { uuid, other_writer } => {
            if let Some(domain) = p.index.domain(node, uuid) {
                update(p, wanted, spec, node, domain, other_writer);
            }
        }
        Verdict::Renamed { name, .. } if p.refuse_new_name(wanted, &name) => {}
        Verdict::Renamed { uuid, name } => {
            if let Some(domain) = p.index.domain(node, uuid) {
                vm_renamed::renamed(p, wanted, spec, node, domain, name);
            }
        }
        Verdict::Undefined { uuid } => {
            let Some(domain) = p.index.domain(node, uuid) else { return };
            let other_writer = p.other_writer(domain.doc.mark.as_ref());
            if p.refuse_writer(wanted, other_writer) {
                return;
            }
            let mut row = Row::new(wanted, Verb::Update, "its definition was removed by hand");
            row.fields = vec![undefined()];
            row.drafts.push(defined_again(wanted, domain).unfinished());
            let autostart = vm_create::autostart(spec);
            if autostart {
                row.drafts.push(autostarts(wanted, domain, true));
            }
            p.settle_as_known(&mut row);
            p.commit(row);
            // What else is to be done, as its stop, is done to what is defined then.
            let defined = DomainState { persistent: true, autostart, ..domain.clone() };
            update(p, wanted, spec, node, &defined, other_writer);
        }
        Verdict::Foreign { .. } | Verdict::Transient => {}
    }
}

/// Has a domain of ours that runs without a definition keep what it runs with. What differs in that is changed as in any other.
pub(in crate::plan) fn defined_again(wanted: &Wanted, domain: &DomainState) -> Draft {
    let (name, uuid) = (domain.name.clone(), domain.uuid);
    let op = Op::DomainRedefine { name, uuid, patch: Box::default(), validate: false };
    Draft::new(op, lane(wanted)).when(Precondition::Domain { uuid, running: true }).expect(Expect::Matches {
        uuid,
        leaves: Leaves::new(),
        disks: BTreeMap::new(),
    })
}

/// Has a domain of ours start with libvirt, or not.
fn autostarts(wanted: &Wanted, domain: &DomainState, on: bool) -> Draft {
    let op = Op::DomainAutostart { name: domain.name.clone(), uuid: domain.uuid, on };
    Draft::new(op, lane(wanted)).when(Precondition::Uuid(domain.uuid)).expect(Expect::Autostart(on))
}

/// The field that stands for a definition.
pub(super) fn undefined() -> FieldChange {
    FieldChange { path: "/definition".into(), old: None, new: Some(Shown::Value("what runs".into())) }
}

pub(super) fn lane(wanted: &Wanted) -> Lane {
    Lane::Object(format!("domain/{}", wanted.libvirt_name))
}

/// Another node that has a domain of ours with this uid. One that is this machine once more is said already.
pub(super) fn other_node<'p>(p: &'p Planner<'_>, wanted: &Wanted, node: &Name) -> Option<&'p Name> {
    let here = p.node(node).and_then(|state| state.host.uuid);
    let mut others = p.index.nodes_with(wanted.uid);
    others.find(|name| *name != node && p.node(name).is_some_and(|state| here.is_none() || state.host.uuid != here))
}

/// Whether a domain of ours with this uid stands on another node. Then nothing is done.
fn elsewhere(p: &mut Planner<'_>, wanted: &Wanted, node: &Name) -> bool {
    if let Some(other) = other_node(p, wanted, node).cloned() {
        p.note(&wanted.object, "Elsewhere", format!("it stands on Node/{other}, not on Node/{node}: nothing is done"));
        p.standing.insert(wanted.object.clone(), Standing::Blocked);
        return true;
    }
    p.refuse_new_node(wanted, node)
}

/// A node that may have it and can't be asked.
fn unseen(p: &Planner<'_>, wanted: &Wanted, node: &Name) -> Option<Name> {
    let was = p.entry(&wanted.object).and_then(|entry| entry.node.clone());
    p.observed.nodes.iter().find_map(|(name, view)| {
        let NodeView::Unreachable { .. } = view else { return None };
        let never_seen = !p.owned.nodes.contains_key(name);
        (name != node && (was.as_ref() == Some(name) || never_seen)).then(|| name.clone())
    })
}

/// The object that a VM's disk means: a Volume, its claim, or a Template.
pub(super) fn disk_object(wanted: &Wanted, disk: &crate::manifest::Disk, node: &Name) -> Option<ObjectRef> {
    if let Some(volume) = &disk.volume {
        return Some(ObjectRef::new(Kind::Volume, volume.clone()));
    }
    if disk.claim.is_some() {
        return claim(&wanted.object.name, disk.name.as_str());
    }
    disk.image.as_ref().map(|image| ObjectRef::on(Kind::Template, image.clone(), node))
}

/// The reference of a VM's seed volume.
pub(in crate::plan) fn seed_object(vm: &Name, digest: &str) -> Option<ObjectRef> {
    let short: String = digest.chars().take(8).collect();
    format!("{vm}.seed-{short}").parse().ok().map(|name| ObjectRef::new(Kind::Volume, name))
}

/// The path that a disk should have, where it can be said.
fn wanted_path(p: &Planner<'_>, object: &ObjectRef, node: &Name) -> Option<String> {
    match object.kind {
        Kind::Template => p.entry_planned(object)?.template.as_ref().map(|template| template.path.clone()),
        _ => match p.record_here(object, node) {
            Some(record) => Some(record.path.clone()),
            None => p.volume_at(object, node).map(|(at, ..)| at.path),
        },
    }
}

/// The leaves of a VM as one of its documents has it, with references instead of paths where they are what is wanted.
fn observed(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    node: &Name,
    domain: &DomainState,
    doc: &DomainDoc,
) -> Leaves {
    let mut leaves = crate::plan::leaves_of(Kind::VirtualMachine, &doc.spec);
    leaves.insert("/autostart".into(), json!(domain.autostart));
    leaves.remove("/node");
    for disk in &spec.disks {
        let Some(doc) = doc.disk(disk.name.as_str()) else { continue };
        let Some(object) = disk_object(wanted, disk, node) else {
            // What lies in a tray that is to be empty.
            for field in ["image", "volume"] {
                doc.source.iter().for_each(|source| drop(leaves.insert(format!("/disks/{}/{field}", disk.name), json!(source))));
            }
            continue;
        };
        let field = if object.kind == Kind::Template { "image" } else { "volume" };
        let path = format!("/disks/{}/{field}", disk.name);
        // Some domains name a pool and a volume in it instead of a path.
        let named = || doc.source_volume.as_ref().and_then(|(pool, name)| p.node(node)?.volume_path(pool, name));
        let Some(source) = doc.source.clone().or_else(named) else { continue };
        let source = source.as_str();
        let should = wanted_path(p, &object, node);
        if should.as_deref() == Some(source) || (should.is_none() && object.kind == Kind::Template) {
            leaves.insert(path, json!(object.name));
        } else if should.as_deref().is_some_and(|should| doc.chain.iter().any(|below| below == should)) {
            p.note(&wanted.object, "BehindSnapshot", format!("its disk {} is on an overlay of {object}: {source}", disk.name));
            leaves.insert(path, json!(object.name));
        } else {
            leaves.insert(path, json!(source));
        }
    }
    let live = doc.id.is_some();
    for interface in &spec.interfaces {
        let Some(network) = &interface.network else { continue };
        let Some(doc) = doc.interface(interface.name.as_str()) else { continue };
        let should = p.libvirt_name(Kind::Network, network, node);
        let is = doc.network.clone().or_else(|| doc.bridge.clone()).unwrap_or_default();
        // On the bridge itself, on its way to be plugged in again: the network's own plan sees to it.
        let halfway = live
            && doc.network.is_none()
            && p.desired.objects.contains_key(&ObjectRef::on(Kind::Network, network.clone(), node))
            && {
                let bridge = p.network(network, node).and_then(|state| state.live.as_ref()?.bridge.clone());
                doc.bridge.is_some() && doc.bridge == bridge
            };
        let value = if is == should || halfway { json!(network) } else { json!(is) };
        leaves.insert(format!("/interfaces/{}/network", interface.name), value);
    }
    if leaves.keys().any(|path| path.starts_with("/console/vnc/")) && wanted.now.contains_key("/console/vnc") {
        leaves.insert("/console/vnc".into(), wanted.now.get("/console/vnc").cloned().unwrap_or_default());
    }
    leaves
}

/// What a disk's claim means in leaves: its source, which is no leaf of the manifest.
fn with_claims<'w>(wanted: &'w Wanted, spec: &VirtualMachineSpec) -> Cow<'w, Leaves> {
    let mut now = Cow::Borrowed(&*wanted.now);
    for disk in spec.disks.iter().filter(|disk| disk.claim.is_some()) {
        if let Some(object) = claim(&wanted.object.name, disk.name.as_str()) {
            now.to_mut().insert(format!("/disks/{}/volume", disk.name), json!(object.name));
        }
    }
    now
}

pub(super) fn update(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    node: &Name,
    domain: &DomainState,
    other_writer: Option<uuid::Uuid>,
) {
    for (path, object) in wanted.references.iter().map(|r| (r.path.as_str(), &r.object)) {
        if path.starts_with("/disks/") && p.standing_of(object) == Err(Hold::Blocked(object.clone())) {
            return p.block(wanted, object);
        }
    }
    let seen = domain;
    let rebuilt = vm_rebuild::of_vm(p, &wanted.object).is_some();
    let off = rebuilt.then(|| vm_rebuild::stopped(seen));
    let (back, mut restored) = if rebuilt { None } else { vm_saved::restored(p, wanted, spec, seen) }.unzip();
    let domain = off.as_ref().or(back.as_ref()).unwrap_or(seen);
    let mark = domain.doc.mark.as_ref();
    let entry = p.entry(&wanted.object);
    let nothing = BTreeSet::new();
    let last = entry.map(|entry| &entry.last).or_else(|| mark.map(|mark| &mark.paths)).unwrap_or(&nothing);
    let mut now = with_claims(wanted, spec);
    if p.unfinished(wanted) {
        now.to_mut().entry("/autostart".into()).or_insert_with(|| json!(vm_create::autostart(spec)));
    }
    let Ok(fragment) = vm_fragment::fragment(p, wanted, spec) else { return };
    let side = |p: &mut Planner<'_>, doc: &DomainDoc| {
        let is = observed(p, wanted, spec, node, domain, doc);
        let mut found = compare(Kind::VirtualMachine, &now, last, &is);
        found.changed.retain(|(_, difference)| !is_created_later(p, wanted, &difference.path));
        vm_boot::give_way(spec, doc, fragment.as_ref(), &mut found);
        found
    };
    let sides = Sides { inactive: side(p, &domain.doc), live: domain.live.as_ref().map(|live| side(p, live)) };
    if p.refuse_never(wanted, &sides.inactive) || refuse_family(p, wanted, &sides.inactive) {
        return;
    }
    if vm_boot::refuse_taken(p, wanted, spec, domain, (&sides.inactive, fragment.as_ref(), last)) {
        return;
    }
    // What another state directory wrote since, its mark tells.
    let known = entry.filter(|_| other_writer.is_none());
    let plugged = vm_fragment::networks(p, fragment.as_ref(), node);
    let fragment = match vm_fragment::compare(spec, &wanted.now, fragment.as_ref(), domain, known) {
        Ok(fragment) => fragment,
        Err(error) => return p.refuse(wanted, RefusalKind::Guard, format!("its definition can't be read: {error}"), &[]),
    };
    let mut change = match vm_change::change(p, wanted, spec, node, domain, &sides) {
        Ok(change) => change,
        Err(why) => return vm_create::stop(p, wanted, why, sides.inactive.shown()),
    };
    let Ok(conduct) = vm_conduct::conduct(p, wanted, spec, node, domain, entry, &mut change) else { return };
    change.notes.extend(fragment.kept.iter().map(|path| vm_change::kept(path)));
    for (condition, message) in std::mem::take(&mut change.notes) {
        p.note(&wanted.object, condition, message);
    }
    if let Some(patch) = fragment.patch {
        change.patch.fragment = Some(patch);
        if domain.live.is_some() {
            change.effects.extend(fragment.fields.iter().map(|field| (field.path.clone(), Effect::NextStart)));
        }
        change.fields.extend(fragment.fields);
    }

    let reservations = match vm_address::reserved(p, wanted, spec, node, Some(domain)) {
        Ok(reservations) => reservations,
        Err(why) => return vm_create::stop(p, wanted, why, sides.inactive.shown()),
    };
    let mut settled = entry_of(p, wanted, Some(domain.uuid));
    if !fragment.paths.is_subset(&settled.last) {
        settled.to_mut().last.extend(fragment.paths.iter().cloned());
    }
    set!(settled.reservations = reservations.settled);
    set!(settled.seed_digest = conduct.seed_digest);
    set!(settled.fragment_digest = spec.xml.as_deref().map(vm_create::fragment_digest));
    set!(settled.fragment = fragment.settled);
    set!(settled.tried_vcpus = change.tried.or(settled.tried_vcpus));
    // libvirt forgets why a guest is off when it is restarted.
    match (seen.state, seen.off_reason) {
        (PowerState::Off, OffReason::Unknown) => {}
        (PowerState::Off, reason) => set!(settled.last_off_reason = Some(format!("{reason:?}"))),
        _ => set!(settled.last_off_reason = None),
    }

    let mut row = Row::new(wanted, Verb::Update, "it differs from the manifest");
    row.fields = std::mem::take(&mut change.fields);
    row.fields.extend(p.inventory_changes(wanted));
    row.fields.extend(reservations.fields);
    row.effects = std::mem::take(&mut change.effects);
    row.effect = row.effects.values().max().cloned().unwrap_or(Effect::None);
    row.needs = std::mem::take(&mut change.needs);
    // Also a start waits for what is done to its disks.
    for reference in wanted.references.iter().filter(|reference| reference.path.starts_with("/disks/")) {
        row.needs.extend(p.standing_of(&reference.object).unwrap_or_default());
    }
    // What it is to lose grows through it before.
    let loses = domain.live.iter().flat_map(|live| live.disks.iter()).filter_map(|disk| disk.source.as_deref());
    for held in loses.flat_map(|path| p.index.recorded_at(node, path)) {
        row.needs.extend(p.standing_of(&held.object).unwrap_or_default());
    }
    row.needs.extend(reservations.needs);
    row.needs.extend(plugged);
    row.drafts.extend(conduct.before);
    row.drafts.extend(reservations.drafts);
    vm_saved::discard(p, wanted, domain, &mut row);
    if let (Some(restored), Some(back)) = (&mut restored, domain.live.as_deref()) {
        let Ok(needs) = vm_network::to_come_back_on(p, wanted, node, back) else { return };
        restored.start(&mut row, needs);
    }
    let waits = row.effects.values().any(|effect| *effect == Effect::NextStart);
    if sides.inactive.changed.iter().any(|(field, _)| field.path == "/autostart") {
        row.drafts.push(autostarts(wanted, domain, vm_create::autostart(spec)));
    }
    let new_mark = marked(p, wanted, domain, &settled, conduct.seed);
    if mark != Some(&new_mark) {
        p.marks.insert(wanted.object.clone(), new_mark.clone().into_owned());
    }
    // What another state directory wrote since tells of another change.
    let due = entry.is_some_and(|entry| entry.mark_due) && other_writer.is_none();
    if due && row.fields.is_empty() {
        row.reason = "a run broke off before its mark told what was done".into();
    }
    // The mark of an adoption is written before its volumes are made, and can't name these.
    let named = |mark: &Mark, name: &str| mark.volumes.iter().any(|volume| volume.name == name);
    let unnamed = mark.is_some_and(|mark| new_mark.volumes.iter().any(|volume| !named(mark, &volume.name)));
    if unnamed && row.fields.is_empty() {
        row.reason = "its mark is to name the volumes that are made for it".into();
    }
    // Were the inventory lost, what the mark tells of a fragment would be taken for the fragment's.
    let told = |mark: &Mark| mark.paths.iter().any(|path| path.starts_with("/xml/") && !new_mark.paths.contains(path));
    let stale = mark.is_some_and(told) && other_writer.is_none();
    if stale && row.fields.is_empty() {
        row.reason = "its mark is to tell what `xml:` says no more".into();
    }
    define(p, wanted, domain, &sides, change, (new_mark, due || unnamed || stale), &mut row);
    let changed = row.drafts.len();
    vm_power::notes(p, wanted, spec, domain, &now);
    vm_power::follow(p, wanted, spec, domain, &now, waits, &mut row);
    if let Some(restored) = restored {
        restored.tell(&mut row);
    }
    if rebuilt {
        vm_rebuild::stop(p, &wanted.object);
        row.reason = "it is rebuilt, since what cloud-init is told changed (onChange: Rebuild)".into();
        row.effect = Effect::Recreate;
        let starts = row.drafts.iter().any(|draft| matches!(draft.op, Op::DomainStart { .. }));
        if seen.is_active() && !starts && spec.run_strategy != Some(RunStrategy::Halted) {
            row.drafts.extend(vm_power::start_drafts(p, wanted, &domain.name, domain.uuid, false));
        }
    }
    if vm_network::refuse_off(p, wanted, spec, node, &row.drafts) {
        return;
    }
    // A run that broke off left it, or a hand took the saved state that had it.
    let old = vm_conduct::old_seeds(p, wanted, domain, conduct.seed_path.as_deref());
    if row.drafts.is_empty() && !old.is_empty() {
        row.reason = if p.dropped.contains_key(&domain.uuid) {
            "the seed that its saved state had goes with that".into()
        } else {
            "nothing needs the seed that it had any more".into()
        };
    }
    row.drafts.splice(changed..changed, old);
    if row.fields.is_empty() && row.drafts.is_empty() {
        p.ready(&wanted.object);
        p.will_be(settled);
        return;
    }
    if p.refuse_writer(wanted, other_writer) {
        return;
    }
    let marks = row.drafts.iter().any(|draft| draft.op.writes_mark());
    if let Some(first) = row.drafts.first_mut() {
        first.begins.mark_due = marks;
    }
    row.settle(settled);
    p.commit(row);
}

/// The steps that change a domain's fields: what runs first, for libvirt may refuse that; then the definition, with the mark.
fn define(
    p: &Planner<'_>,
    wanted: &Wanted,
    domain: &DomainState,
    sides: &Sides,
    mut change: vm_change::Change,
    (mark, due): (Cow<'_, Mark>, bool),
    row: &mut Row<'_>,
) {
    let (uuid, name) = (domain.uuid, domain.name.clone());
    row.drafts.append(&mut change.live);
    let stale = domain.doc.mark.as_ref() != Some(&*mark);
    let marks = stale && (due || !row.drafts.is_empty());
    let text = |path: &str| {
        let all = sides.inactive.changed.iter().chain(sides.live.iter().flat_map(|live| &live.changed));
        all.into_iter()
            .find(|(_, difference)| difference.path == path)
            .map(|(_, difference)| difference.new.as_ref().and_then(Value::as_str).map(str::to_owned))
    };
    let (title, description) = (text("/title"), text("/description"));
    let defines = !change.patch.is_empty();
    if title.is_some() || description.is_some() || (marks && !defines) {
        let leaves: BTreeMap<String, Option<Value>> = [("/title", &title), ("/description", &description)]
            .into_iter()
            .filter_map(|(path, value)| Some((path.to_owned(), value.as_ref()?.as_ref().map(|text| json!(text)))))
            .collect();
        let live = domain.live.is_some();
        let paths = leaves.keys().cloned().collect();
        let expect = DomainExpect { uuid, live: if live { leaves.clone() } else { BTreeMap::new() }, inactive: leaves };
        // The mark tells what is done, so it comes with what is done last.
        let mark = (stale && !defines).then(|| mark.to_xml());
        let op = Op::DomainMetadata { name: name.clone(), uuid, title, description, mark, live };
        let fields = Precondition::Fields(Box::new(vm_expect::fields(domain, paths, live)));
        row.drafts.push(Draft::new(op, lane(wanted)).when(fields).expect(Expect::Domain(Box::new(expect))));
    }
    if defines {
        change.patch.mark = Some(mark.into_owned());
        let fields = Precondition::Fields(Box::new(vm_expect::fields(domain, change.touched, false)));
        let expect = DomainExpect { uuid, inactive: change.expect, live: BTreeMap::new() };
        // What is not jvp's alone is held against libvirt's schema, which else drops what it doesn't know.
        let validate = change.patch.fragment.is_some() || wanted.now.contains_key("/xml") || wanted.uid != uuid;
        let op = Op::DomainRedefine { name, uuid, patch: Box::new(change.patch), validate };
        let mut draft = Draft::new(op, lane(wanted)).when(fields).expect(Expect::Domain(Box::new(expect)));
        draft.secrets = vm_conduct::secrets(p, wanted, &draft.op);
        row.drafts.push(draft);
    }
}

/// The mark of a domain once it is changed: most often the one that it has.
fn marked<'d>(
    p: &Planner<'_>,
    wanted: &Wanted,
    domain: &'d DomainState,
    settled: &Entry,
    seed: Option<MarkVolume>,
) -> Cow<'d, Mark> {
    let mut mark = domain.doc.mark.as_ref().map_or_else(|| Cow::Owned(p.mark(wanted)), Cow::Borrowed);
    set!(mark.fleet = p.desired.fleet);
    set!(mark.uid = wanted.uid);
    set!(mark.writer = p.policy.writer);
    if mark.object != wanted.object {
        mark.to_mut().object.clone_from(&wanted.object);
    }
    if mark.paths != settled.last {
        mark.to_mut().paths.clone_from(&settled.last);
    }
    if mark.reservations != settled.reservations {
        mark.to_mut().reservations.clone_from(&settled.reservations);
    }
    if mark.seed != settled.seed_digest {
        mark.to_mut().seed.clone_from(&settled.seed_digest);
    }
    if mark.fragment != settled.fragment_digest {
        mark.to_mut().fragment.clone_from(&settled.fragment_digest);
    }
    // One that is no longer plugged in is told of where it came with the VM; any other is whoever's it is, or gone.
    let stays = |volume: &MarkVolume| {
        let Ok(object) = volume.name.parse::<ObjectRef>() else { return true };
        wanted.references.iter().any(|reference| reference.object == object)
            || p.entry_planned(&object).and_then(|entry| entry.volume.as_ref()?.owner.as_ref()) == Some(&wanted.object)
    };
    if !mark.volumes.iter().all(stays) {
        mark.to_mut().volumes.retain(stays);
    }
    if let Some(seed) = seed {
        let seeds = format!("Volume/{}.seed-", wanted.object.name);
        let volumes = &mut mark.to_mut().volumes;
        volumes.retain(|volume| !volume.name.starts_with(&seeds));
        volumes.push(seed);
    }
    let place = |name: &str| wanted.references.iter().position(|reference| reference.object.to_string() == name);
    for (object, record) in wanted
        .references
        .iter()
        .filter_map(|reference| Some((reference.object.to_string(), p.record_here(&reference.object, wanted.node.as_ref()?)?)))
    {
        let new = vm_create::mark_volume(object, record);
        if mark.volumes.contains(&new) {
            continue;
        }
        let volumes = &mut mark.to_mut().volumes;
        match volumes.iter_mut().find(|volume| volume.name == new.name) {
            // One that was made anew may stand on another file.
            Some(known) => *known = new,
            // Their order says nothing of which was made first: where one broke off, that would tell of it.
            None => {
                volumes.push(new);
                volumes.sort_by_key(|volume| place(&volume.name).unwrap_or(usize::MAX));
            }
        }
    }
    mark
}

/// Refuses another chipset: the devices' addresses mean nothing on it.
fn refuse_family(p: &mut Planner<'_>, wanted: &Wanted, found: &Differences) -> bool {
    let machine = |value: Option<&Value>| value.and_then(Value::as_str).map(|machine| machine_family(machine).to_owned());
    let Some((_, difference)) = found.changed.iter().find(|(_, difference)| difference.path == "/machine") else { return false };
    let (old, new) = (machine(difference.old.as_ref()), machine(difference.new.as_ref()));
    if old == new {
        return false;
    }
    let message =
        format!("/machine: {} → {}: the family never changes once it is made", old.unwrap_or_default(), new.unwrap_or_default());
    p.refuse(wanted, RefusalKind::Guard, message, &["make a new VM under another name with the same disks".into()]);
    true
}

/// A difference that is none: the disk's volume is being made again under the same path.
fn is_created_later(p: &Planner<'_>, wanted: &Wanted, path: &str) -> bool {
    let Some(reference) = wanted.reference(path) else { return false };
    matches!(p.standing.get(reference), Some(Standing::Deferred))
}
