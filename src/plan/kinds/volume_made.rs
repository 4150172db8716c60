//! What a volume is made with, and where, which never changes. It plans nothing.

use super::volume::{is_linked, source_word, word};
use crate::manifest::VolumeSpec;
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::PoolState;
use crate::plan::VolumeRecord;
use crate::plan::model::RefusalKind;
use crate::plan::planner::Planner;
use crate::resolve::Wanted;

/// Refuses what was used when it was made and is written otherwise now. True where something was.
pub(super) fn refuse_made_otherwise(p: &mut Planner<'_>, wanted: &Wanted, spec: &VolumeSpec, record: &VolumeRecord) -> bool {
    let mut changed = Vec::new();
    if let Some(format) = spec.format.map(word).filter(|format| record.format != *format) {
        changed.push(("/format", record.format.clone(), format.to_owned()));
    }
    let source = source_word(spec);
    if record.source != source {
        let word = |source: Option<String>| source.unwrap_or_else(|| "none".into());
        changed.push(("/source", word(record.source.clone()), word(source.clone())));
    }
    let mode = |linked: bool| if linked { "Linked" } else { "Full" }.to_owned();
    let (was, now) = (record.backing.is_some(), is_linked(spec));
    if spec.clone.is_some() && source.is_some() && was != now {
        changed.push(("/clone", mode(was), mode(now)));
    }
    for (path, old, new) in &changed {
        p.refuse_new_value(wanted, path, old, new);
    }
    !changed.is_empty()
}

/// Says that a source is nowhere yet. It may lie in a pool that doesn't run; else the next round refuses it, when half of the set is done.
pub(super) fn note_unseen_source(p: &mut Planner<'_>, wanted: &Wanted, spec: &VolumeSpec, node: &Name) {
    let Some(source) = spec.source.as_ref().and_then(|source| source.volume.clone()) else { return };
    let source = ObjectRef::new(Kind::Volume, source);
    if !p.desired.objects.contains_key(&source) && p.volume_at(&source, node).is_none() {
        let message = format!("its source {source} is in no manifest, not in the inventory, and in no pool that runs");
        p.note(&wanted.object, "SourceNotSeen", message);
    }
}

/// Refuses another pool or file for a volume that is there: a second one would be made, and the first forgotten with its data. One that
/// somebody moved by hand is found where it is now. True where it was refused.
pub(super) fn refuse_elsewhere(p: &mut Planner<'_>, wanted: &Wanted, pool: &PoolState, node: &Name) -> bool {
    let Some(entry) = p.entry(&wanted.object) else { return false };
    let (Some(record), unfinished) = (&entry.volume, entry.unfinished) else { return false };
    if record.path == pool.path_of(&wanted.libvirt_name) {
        return false;
    }
    // What is out of sight may be there, and what a guest has open is.
    let of_record = p.node(node).and_then(|state| state.pools.get(&record.pool));
    let unseen = of_record.is_some_and(|pool| pool.seen().is_none());
    let there = unseen || p.index.volume_at(node, &record.path).is_some() || !p.running_users(node, &record.path).is_empty();
    let moved = pool.volumes.as_ref().is_some_and(|volumes| volumes.contains_key(&wanted.libvirt_name));
    if !there && (unfinished || moved) {
        return false;
    }
    if record.file != wanted.libvirt_name {
        p.refuse_new_value(wanted, "/libvirtName", &record.file, &wanted.libvirt_name);
    } else if record.pool != pool.name {
        p.refuse_new_value(wanted, "/pool", &record.pool, &pool.name);
    } else {
        let message = format!("its file {} is not in the pool `{}` any more, whose folder changed", record.path, pool.name);
        p.refuse(wanted, RefusalKind::Guard, message, &["set the pool's `spec.target.path` back, or move the file there".into()]);
    }
    true
}
