//! Planning a Volume.

use std::collections::BTreeSet;

use super::{vm_rebuild, vm_saved};
use crate::manifest::{CloneMode, Spec, VolumeFormat, VolumeSpec};
use crate::name::{ByteSize, Kind, Name, ObjectRef};
use crate::observe::PoolState;
use crate::plan::model::{Change, Data, Effect, FieldChange, RefusalKind, Shown, Verb};
use crate::plan::planner::{Draft, Hold, Planner, Row};
use crate::plan::record::entry_of;
use crate::plan::usage::running_disks;
use crate::plan::{ActionId, Expect, Lane, Op, Precondition, Record, VolumeRecord};
use crate::resolve::Wanted;
use crate::xml;
use crate::xml::volume::{Backing, VolumeDoc, VolumeWanted};

pub(super) fn word(format: VolumeFormat) -> &'static str {
    match format {
        VolumeFormat::Qcow2 => "qcow2",
        VolumeFormat::Raw => "raw",
    }
}

/// Where a volume stands, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plan) struct VolumeAt {
    /// Its path on the node.
    pub(in crate::plan) path: String,
    /// Its format.
    pub(in crate::plan) format: String,
    /// The file beneath it and that one's format.
    pub(in crate::plan) backing: Option<Backing>,
    /// Bytes that a guest sees; 0 where nobody knows yet.
    pub(in crate::plan) capacity: u64,
}

pub(in crate::plan) fn plan(p: &mut Planner<'_>, wanted: &Wanted) {
    let Spec::Volume(spec) = &*wanted.spec else { return };
    let (Some(node), Some(pool_name)) = (wanted.node.as_ref(), spec.pool.as_ref()) else { return };
    if p.refuse_new_node(wanted, node) {
        return;
    }
    let pool_ref = ObjectRef::on(Kind::StoragePool, pool_name.clone(), node);
    let expected = || create_fields(wanted, spec);
    if let Err(hold @ Hold::Blocked(_)) = p.standing_of(&pool_ref) {
        return p.hold(wanted, hold, Verb::Create, expected());
    }
    if refuse_new_pool(p, wanted, pool_name, node) {
        return;
    }
    let Some(pool) = p.open_pool(pool_name, node) else {
        let known = p.entry(&wanted.object).is_some_and(|entry| entry.volume.is_some() && !entry.unfinished);
        if !known {
            super::volume_made::note_unseen_source(p, wanted, spec, node);
        }
        return super::closed_pool::say(p, wanted, &pool_ref, node, known, expected());
    };
    if super::volume_made::refuse_elsewhere(p, wanted, pool, node) {
        return;
    }
    match pool.volumes.as_ref().and_then(|volumes| volumes.get(&wanted.libvirt_name)) {
        Some(found) => existing(p, wanted, spec, pool, found, node),
        None => create(p, wanted, spec, pool, node, expected()),
    }
}

/// Refuses a pool that is still to be made for a volume that is there, and can't be in that one: not when half of the set is done. True
/// where it was refused.
fn refuse_new_pool(p: &mut Planner<'_>, wanted: &Wanted, pool: &Name, node: &Name) -> bool {
    let Some(record) = p.entry(&wanted.object).and_then(|entry| entry.volume.as_ref()) else { return false };
    let new = p.libvirt_name(Kind::StoragePool, pool, node);
    if record.pool == new || p.pool(pool, node).is_some() || p.index.volume_at(node, &record.path).is_none() {
        return false;
    }
    p.refuse_new_value(wanted, "/pool", &record.pool, &new);
    true
}

fn create_fields(wanted: &Wanted, spec: &VolumeSpec) -> Vec<FieldChange> {
    let mut fields: Vec<FieldChange> = wanted
        .now
        .iter()
        .map(|(path, value)| FieldChange {
            path: path.clone(),
            old: None,
            new: Some(Shown::Value(crate::plan::diff::text(value))),
        })
        .collect();
    if spec.format.is_none() {
        fields.push(FieldChange { path: "/format".into(), old: None, new: Some(Shown::Value("qcow2".into())) });
    }
    fields
}

/// What a volume is made from, as its record says it.
pub(in crate::plan) fn source_word(spec: &VolumeSpec) -> Option<String> {
    let source = spec.source.as_ref()?;
    let template = source.template.as_ref().map(|name| format!("Template/{name}"));
    template.or_else(|| source.volume.as_ref().map(|name| format!("Volume/{name}")))
}

fn existing(p: &mut Planner<'_>, wanted: &Wanted, spec: &VolumeSpec, pool: &PoolState, found: &VolumeDoc, node: &Name) {
    let open = p.owned.intents.iter().find(|intent| {
        intent.object == wanted.object && intent.details.get("path").and_then(|v| v.as_str()) == Some(found.path.as_str())
    });
    let elsewhere = |record: &VolumeRecord| record.path != found.path && record.path != pool.path_of(&found.name);
    // What was begun elsewhere tells nothing of a file here.
    let begun = |entry: &&crate::plan::Entry| entry.unfinished && open.is_none() && entry.volume.as_ref().is_some_and(elsewhere);
    let Some(entry) = p.entry(&wanted.object).filter(|entry| !begun(entry)) else {
        if let Some(intent) = open {
            return resume(p, wanted, spec, pool, found, node, &intent.details.clone(), intent.absent_before);
        }
        return p.refuse(
            wanted,
            RefusalKind::Guard,
            format!("a file `{}` is in the pool `{}` that jvp didn't make", wanted.libvirt_name, pool.name),
            &[
                format!("to take it over as it is: `lifecycle: {{adopt: true}}`, or jvp adopt {}", wanted.object),
                "or choose another name or `spec.libvirtName`, or move that file away by hand".into(),
            ],
        );
    };
    if let Some((vm, rebuild)) = vm_rebuild::of_volume(p, &wanted.object) {
        let (vm, uuid) = (vm.clone(), rebuild.uuid);
        return rebuilt(p, wanted, spec, pool, found, node, (&vm, uuid));
    }
    if let Some(intent) = open
        && entry.volume.is_none()
    {
        return resume(p, wanted, spec, pool, found, node, &intent.details.clone(), intent.absent_before);
    }
    if let Some(intent) = open
        && intent.op == "volume-clone"
    {
        return resume(p, wanted, spec, pool, found, node, &intent.details.clone(), intent.absent_before);
    }
    let record = entry.volume.as_ref();
    let format = spec.format.unwrap_or(VolumeFormat::Qcow2);
    if let Some(record) = record {
        if super::volume_made::refuse_made_otherwise(p, wanted, spec, record) {
            return;
        }
        if record.format != found.format {
            p.note(
                &wanted.object,
                "FormatMismatch",
                format!(
                    "its file reads as {}, but it was made as {}: it is not linked, cloned or resized",
                    found.format, record.format
                ),
            );
        }
    }
    let mut row = Row::new(wanted, Verb::Update, "it differs from the manifest");
    row.fields = p.inventory_changes(wanted);
    if entry.released {
        row.reason = format!("reused, kept since {}, holds data", entry.created_at);
        row.fields.push(FieldChange {
            path: "/lifecycle".into(),
            old: Some(Shown::Value("Released".into())),
            new: Some(Shown::Value("Bound".into())),
        });
    }
    let mut capacity = found.capacity;
    if let Some(size) = spec.capacity {
        let size = xml::volume::rounded_capacity(word(format), size.bytes());
        if size < found.capacity {
            return p.refuse(
                wanted,
                RefusalKind::Guard,
                format!(
                    "it has {} and would be shrunk to {}: data would be lost",
                    ByteSize::from_bytes(found.capacity),
                    ByteSize::from_bytes(size)
                ),
                &[
                    format!("set `spec.capacity: {}`", ByteSize::from_bytes(found.capacity)),
                    "or make a smaller Volume under another name, and copy the data from inside a guest".into(),
                ],
            );
        }
        if size > found.capacity {
            let above = p.built_on(node, &found.path);
            if !above.is_empty() {
                let message = format!("it can't grow: it is the backing file of {}", above.join(", "));
                return p.refuse(wanted, RefusalKind::Guard, message, &["grow these instead".into()]);
            }
            if record.is_some_and(|record| record.format != found.format) {
                return p.refuse(wanted, RefusalKind::Guard, "it is not resized while its format is in doubt", &[]);
            }
            row.fields.push(FieldChange {
                path: "/capacity".into(),
                old: Some(Shown::Value(ByteSize::from_bytes(found.capacity).to_string())),
                new: Some(Shown::Value(ByteSize::from_bytes(size).to_string())),
            });
            capacity = size;
            let Ok((op, precondition, needs)) = growth(p, wanted, pool, found, size, node) else { return };
            row.needs.extend(needs);
            if !p.users(Some(node), &found.path).is_empty() {
                row.effect = Effect::NextStart;
            }
            if let Op::DomainBlockResize { name, .. } = &op {
                row.effect = Effect::Live;
                row.reason = format!("it is too small; {name} runs on it, and sees it grow");
            }
            row.drafts.push(
                Draft::new(op, Lane::PoolShared { pool: pool.name.clone(), volume: found.name.clone() })
                    .when(precondition)
                    .expect(Expect::Volume {
                        format: found.format.clone(),
                        capacity: size,
                        backing: found.backing.as_ref().map(|backing| backing.path.clone()),
                    }),
            );
        }
    }
    if let Some(record) = record.filter(|record| elsewhere(record)) {
        p.note(&wanted.object, "Moved", format!("it was at {}, and is at {} now", record.path, found.path));
    }
    let mut settled = entry_of(p, wanted, None);
    // Also where a run broke off once it had grown, or somebody moved it here.
    let is_behind = |volume: &VolumeRecord| volume.format == found.format && volume.capacity != capacity;
    if settled.volume.as_ref().is_some_and(|volume| is_behind(volume) || elsewhere(volume))
        && let Some(volume) = &mut settled.to_mut().volume
    {
        volume.capacity = if volume.format == found.format { capacity } else { volume.capacity };
        (volume.pool, volume.file, volume.path) = (pool.name.clone(), found.name.clone(), found.path.clone());
    }
    if row.fields.is_empty() {
        p.ready(&wanted.object);
        p.will_be(settled);
        return;
    }
    row.settle(settled);
    p.commit(row);
}

/// Whether it is made on top of its source.
pub(super) fn is_linked(spec: &VolumeSpec) -> bool {
    spec.source.is_some()
        && spec.clone.unwrap_or(CloneMode::Linked) == CloneMode::Linked
        && spec.format.unwrap_or(VolumeFormat::Qcow2) == VolumeFormat::Qcow2
}

/// How a volume grows, and after what: through the guest that runs on it, jvp's or not, who then sees it at once; else by itself. A guest
/// that is rebuilt is off by then.
///
/// # Errors
/// It was refused.
fn growth(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    pool: &PoolState,
    found: &VolumeDoc,
    capacity: u64,
    node: &Name,
) -> Result<(Op, Precondition, BTreeSet<ActionId>), ()> {
    let mut disks = p.node(node).map(|state| running_disks(state, &found.path)).unwrap_or_default();
    let mut running = p.running_users(node, &found.path);
    let mut needs = BTreeSet::new();
    running.retain(|name| match vm_rebuild::of_domain(p, node, name) {
        Some(vm) => {
            needs.extend(vm_rebuild::stop(p, &vm));
            false
        }
        None => true,
    });
    disks.retain(|(name, ..)| vm_rebuild::of_domain(p, node, name).is_none());
    let (pool, volume, path) = (pool.name.clone(), found.name.clone(), found.path.clone());
    match disks.as_slice() {
        [] if running.is_empty() => {
            Ok((Op::VolumeGrow { pool, name: volume, capacity }, Precondition::VolumeIdle { path }, needs))
        }
        [(name, uuid, target, false)] if running.len() == 1 => Ok((
            Op::DomainBlockResize { name: name.clone(), uuid: *uuid, target: target.clone(), capacity, pool, volume },
            Precondition::Disk { uuid: *uuid, target: target.clone(), path },
            needs,
        )),
        [(name, .., true)] => {
            let message = format!("/capacity: {name} runs on it and can't write to it, and libvirt grows no such disk");
            p.refuse(wanted, RefusalKind::Guard, message, &["stop that guest first, or put the old capacity back".into()]);
            Err(())
        }
        _ => {
            let message = format!("/capacity: {} run on it at once, and only one of them would see it grow", running.join(", "));
            p.refuse(
                wanted,
                RefusalKind::Guard,
                message,
                &["stop all but one of them first, or put the old capacity back".into()],
            );
            Err(())
        }
    }
}

/// A file that an open intent left: ours only if it is what the intent said, nobody uses it and it was absent before.
#[expect(clippy::too_many_arguments, reason = "all of them are what the verdict is made from")]
fn resume(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VolumeSpec,
    pool: &PoolState,
    found: &VolumeDoc,
    node: &Name,
    details: &serde_json::Value,
    absent_before: bool,
) {
    let record: Option<VolumeRecord> = serde_json::from_value(details.clone()).ok();
    let users = p.users(Some(node), &found.path);
    let is_it = record.as_ref().is_some_and(|record| record.path == found.path);
    if !is_it || !absent_before || !users.is_empty() {
        return p.refuse(
            wanted,
            RefusalKind::Guard,
            format!("`{}` may be what an interrupted run left, but it can't be told for sure", found.path),
            &["look at it, and move or remove it by hand".into()],
        );
    }
    // Made again from nothing: a copy or a file that was cut short is not told from a whole one.
    let unused = Precondition::VolumeUnused { path: found.path.clone() };
    let why = "an interrupted run left it unfinished: it is made again";
    again(p, wanted, spec, pool, found, node, (why.into(), unused, BTreeSet::new()));
}

/// One that is made anew with its VM, whose system it holds.
fn rebuilt(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VolumeSpec,
    pool: &PoolState,
    found: &VolumeDoc,
    node: &Name,
    (vm, uuid): (&ObjectRef, uuid::Uuid),
) {
    if p.refuse_unseen(wanted) {
        return;
    }
    let stop = vm_rebuild::stop(p, vm);
    let from = source_word(spec).unwrap_or_default();
    let why = format!("{vm} is rebuilt: it is deleted, and made anew from {from}");
    let ours = Precondition::VolumeOf { path: found.path.clone(), uuid };
    if let Some(change) = again(p, wanted, spec, pool, found, node, (why, ours, stop)) {
        change.effect = Effect::Recreate;
        change.data = Data::Lost;
    }
}

/// Has a file go and be made again, for a reason, on a condition and after some actions.
fn again<'p>(
    p: &'p mut Planner<'_>,
    wanted: &Wanted,
    spec: &VolumeSpec,
    pool: &PoolState,
    found: &VolumeDoc,
    node: &Name,
    (why, when, after): (String, Precondition, BTreeSet<ActionId>),
) -> Option<&'p mut Change> {
    let expected = create_fields(wanted, spec);
    let before = p.plan.changes.len();
    create(p, wanted, spec, pool, node, expected);
    let change = p.plan.changes.get_mut(before)?;
    change.reason = why;
    let first = change.actions.first().copied()?;
    let mut needs = p.plan.actions.get(first.0).map(|action| action.needs.clone()).unwrap_or_default();
    needs.extend(after);
    let delete = p.add(
        &wanted.object,
        Some(node),
        needs,
        Draft::new(
            Op::VolumeDelete { pool: pool.name.clone(), name: found.name.clone() },
            Lane::PoolShared { pool: pool.name.clone(), volume: found.name.clone() },
        )
        .when(when)
        .expect(Expect::Gone),
    );
    if let Some(action) = p.plan.actions.get_mut(first.0) {
        action.needs.insert(delete);
    }
    let change = p.plan.changes.get_mut(before)?;
    change.actions.insert(0, delete);
    Some(change)
}

/// What a source is or will be, and what must be verified before it can be used.
struct Source {
    at: VolumeAt,
    pool: String,
    file: String,
    needs: BTreeSet<ActionId>,
}

fn source(p: &mut Planner<'_>, wanted: &Wanted, spec: &VolumeSpec, node: &Name) -> Result<Option<Source>, Option<Hold>> {
    let Some(source) = &spec.source else { return Ok(None) };
    if let Some(template) = &source.template {
        let object = ObjectRef::on(Kind::Template, template.clone(), node);
        let needs = p.standing_of(&object).map_err(Some)?;
        let record = p.template_record(&object);
        let Some(record) = record else {
            p.refuse_missing(wanted, "/source/template", &object);
            return Err(None);
        };
        let at = VolumeAt {
            path: record.path.clone(),
            format: if record.format == "iso" { "raw".into() } else { record.format.clone() },
            backing: None,
            capacity: record.virtual_size,
        };
        return Ok(Some(Source { at, pool: record.pool, file: record.file, needs }));
    }
    if let Some(volume) = &source.volume {
        let object = ObjectRef::new(Kind::Volume, volume.clone());
        let needs = p.standing_of(&object).map_err(Some)?;
        let Some((at, pool, file)) = p.volume_at(&object, node) else {
            if let Some(hold) = super::closed_pool::awaits(p, wanted, &object, node) {
                return Err(Some(hold));
            }
            p.refuse_missing(wanted, "/source/volume", &object);
            return Err(None);
        };
        if let Some(is) = p.index.volume_at(node, &at.path)
            && is.format != at.format
        {
            let message = format!("its source {object} reads as {}, but it was made as {}", is.format, at.format);
            let help = "a guest may have written that: look at it before anything is made from it".into();
            p.refuse(wanted, RefusalKind::Guard, message, &[help]);
            return Err(None);
        }
        let linked = spec.clone.unwrap_or(CloneMode::Linked) == CloneMode::Linked;
        let writers = p.writers(node, &at.path);
        if !writers.is_empty() {
            let message = format!("its source {object} is written to by {}", writers.join(", "));
            let help = if linked {
                "link from a volume that no VM writes to, or from a Template"
            } else {
                "a copy of a disk in use would be torn: stop these VMs and take them off it first"
            };
            p.refuse(wanted, RefusalKind::Guard, message, &[help.into()]);
            return Err(None);
        }
        return Ok(Some(Source { at, pool, file, needs }));
    }
    Ok(None)
}

fn create(p: &mut Planner<'_>, wanted: &Wanted, spec: &VolumeSpec, pool: &PoolState, node: &Name, fields: Vec<FieldChange>) {
    let format = spec.format.unwrap_or(VolumeFormat::Qcow2);
    let file = wanted.libvirt_name.clone();
    let path = pool.path_of(&file);
    if p.node_closed(node) {
        let message = format!("Node/{node} is unschedulable: nothing new is made there");
        return p.refuse(wanted, RefusalKind::Guard, message, &["set `spec.unschedulable: false` on the Node".into()]);
    }
    let running = p.running_users(node, &path);
    let stops =
        vm_rebuild::of_volume(p, &wanted.object).is_some() && pool.volumes.as_ref().is_some_and(|v| v.contains_key(&file));
    if !running.is_empty() && !stops {
        let message =
            format!("its file is gone, but {} still runs on it: the data is lost when that guest stops", running.join(", "));
        return p.refuse(wanted, RefusalKind::Guard, message, &["save the data from inside the guest first".into()]);
    }
    // A state that is dropped is so before there is anything that it could come back onto.
    let mut dropped = BTreeSet::new();
    for domain in p.saved_on(node, &path) {
        let Some(ids) = p.dropped.get(&domain.uuid) else {
            let (message, help) = vm_saved::without_a_disk(p, domain);
            return p.refuse(wanted, RefusalKind::Guard, message, &[help]);
        };
        dropped.extend(ids.iter().copied());
    }
    // A file that was there and isn't: more often a file system that isn't mounted than a disk that somebody wants anew.
    // Who let one go that was half made may have used it since.
    let lies_there = pool.volumes.as_ref().is_some_and(|volumes| volumes.contains_key(&file));
    let made = |entry: &&crate::plan::Entry| !entry.unfinished || (entry.released && !lies_there);
    let was = p.entry(&wanted.object).filter(made).and_then(|entry| entry.volume.as_ref());
    if was.is_some_and(|record| record.path == path) && !p.policy.consents.allow_data_loss.contains(&wanted.object) {
        let message = format!("its file {path} was there and is gone; a new one would be empty, or as its source is");
        let help = [
            "mount its file system or bring the file back, and `jvp pool refresh` where libvirt hasn't seen it since".to_owned(),
            format!("if its data is lost, have it made anew: --allow-data-loss {}", wanted.object),
        ];
        return p.refuse(wanted, RefusalKind::Guard, message, &help);
    }
    let source = match source(p, wanted, spec, node) {
        Ok(source) => source,
        Err(Some(hold)) => return p.hold(wanted, hold, Verb::Create, fields),
        Err(None) => return,
    };
    let smallest = source.as_ref().map_or(0, |source| source.at.capacity);
    let capacity = match (spec.capacity, &source) {
        (Some(size), _) => xml::volume::rounded_capacity(word(format), size.bytes()),
        (None, Some(source)) => source.at.capacity,
        (None, None) => {
            return p.refuse(
                wanted,
                RefusalKind::Invalid,
                "a blank volume needs `spec.capacity`",
                &["such as `capacity: 10Gi`".into()],
            );
        }
    };
    if capacity < smallest {
        let message = format!(
            "its capacity {} is less than its source's {}",
            ByteSize::from_bytes(capacity),
            ByteSize::from_bytes(smallest)
        );
        return p.refuse(
            wanted,
            RefusalKind::Invalid,
            message,
            &[format!("set `spec.capacity` to {} or more", ByteSize::from_bytes(smallest))],
        );
    }
    let linked = is_linked(spec);
    let backing = source.as_ref().filter(|_| linked).map(|s| Backing { path: s.at.path.clone(), format: s.at.format.clone() });
    let record = VolumeRecord {
        pool: pool.name.clone(),
        file: file.clone(),
        path: path.clone(),
        format: word(format).into(),
        capacity,
        backing: backing.as_ref().map(|backing| backing.path.clone()),
        source: source_word(spec),
        owner: wanted.implied_by.clone(),
    };
    let mut entry = entry_of(p, wanted, None).into_owned();
    let gone = entry.volume.is_some();
    entry.volume = Some(record);
    let reason = if gone { "its file is gone: a new one is made" } else { "there is no such volume" };
    let mut row = Row::new(wanted, Verb::Create, reason);
    row.fields = fields;
    if spec.capacity.is_none() {
        row.fields.push(FieldChange {
            path: "/capacity".into(),
            old: None,
            new: Some(Shown::Value(ByteSize::from_bytes(capacity).to_string())),
        });
    }
    let lane = Lane::PoolShared { pool: pool.name.clone(), volume: file.clone() };
    let expect = Expect::Volume { format: word(format).into(), capacity, backing: backing.as_ref().map(|b| b.path.clone()) };
    let full = source.as_ref().filter(|_| !linked);
    let text = xml::volume::render(&VolumeWanted {
        name: &file,
        format: word(format),
        capacity: Some(full.map_or(capacity, |source| source.at.capacity)),
        backing,
    });
    if let Some(source) = &source {
        row.needs.extend(source.needs.iter().copied());
    }
    row.needs.extend(dropped);
    match full {
        Some(source) => {
            let first = Expect::Volume { format: word(format).into(), capacity: source.at.capacity, backing: None };
            row.drafts.push(
                Draft::new(
                    Op::VolumeClone {
                        pool: pool.name.clone(),
                        name: file.clone(),
                        xml: text,
                        source_pool: source.pool.clone(),
                        source: source.file.clone(),
                    },
                    lane.clone(),
                )
                .when(Precondition::Absent)
                .expect(first)
                .record(Record::Put(Box::new(entry.clone()))),
            );
            if capacity > source.at.capacity {
                row.drafts.push(
                    Draft::new(Op::VolumeGrow { pool: pool.name.clone(), name: file, capacity }, lane)
                        .when(Precondition::Volume { path })
                        .expect(expect),
                );
            }
        }
        None => row.drafts.push(
            Draft::new(Op::VolumeCreate { pool: pool.name.clone(), name: file, xml: text }, lane)
                .when(Precondition::Absent)
                .expect(expect),
        ),
    }
    if let Some(last) = row.drafts.last_mut() {
        last.record = Record::Settle(Box::new(entry));
    }
    p.commit(row);
}
