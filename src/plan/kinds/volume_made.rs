//! What a volume is made with, which never changes. It plans nothing.

use super::volume::{is_linked, source_word, word};
use crate::manifest::VolumeSpec;
use crate::name::{Kind, Name, ObjectRef};
use crate::plan::VolumeRecord;
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
