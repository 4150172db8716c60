//! Whose is it? The verdicts of DECISIONS B on what is found under a wanted name or UUID.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::Entry;
use crate::name::{ObjectRef, Uid};
use crate::xml::Mark;

/// What is found of one object of libvirt's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its UUID.
    pub uuid: Uuid,
    /// Whether it outlives being stopped.
    pub persistent: bool,
    /// Its mark, where its kind bears one.
    pub mark: Option<&'a Mark>,
}

/// Whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is there.
    Absent,
    /// Ours.
    Ours {
        /// Its UUID.
        uuid: Uuid,
        /// Who wrote it last, where its mark says so and it wasn't us.
        other_writer: Option<Uuid>,
    },
    /// Ours, under another name.
    Renamed {
        /// Its UUID.
        uuid: Uuid,
        /// The name that it has.
        name: String,
    },
    /// Somebody's; never touched.
    Foreign {
        /// The fleet that marked it.
        fleet: Option<Uuid>,
        /// The object that it is, where it is another one of this fleet's.
        object: Option<ObjectRef>,
    },
    /// It vanishes when it stops; never managed.
    Transient,
}

/// Judges what is found under the wanted name and under the UUID that is ours.
pub(super) fn judge(
    uid: Uid,
    fleet: Uid,
    writer: Uuid,
    take_from: &BTreeSet<Uuid>,
    entry: Option<&Entry>,
    by_name: Option<Found<'_>>,
    by_uuid: Option<Found<'_>>,
) -> Verdict {
    let recorded = entry.and_then(|entry| entry.libvirt_uuid);
    let ours = |found: &Found<'_>| match found.mark {
        Some(mark) if mark.fleet == fleet => mark.uid == uid,
        Some(mark) => take_from.contains(&mark.fleet),
        None => found.uuid == uid || recorded == Some(found.uuid),
    };
    let other_writer = |found: &Found<'_>| found.mark.map(|mark| mark.writer).filter(|&other| other != writer && !other.is_nil());
    let foreign = |found: &Found<'_>| Verdict::Foreign {
        fleet: found.mark.map(|mark| mark.fleet).filter(|&other| other != fleet),
        object: found.mark.filter(|mark| mark.fleet == fleet).map(|mark| mark.object.clone()),
    };
    match (by_name, by_uuid) {
        (Some(found), _) if !found.persistent => Verdict::Transient,
        (Some(found), _) if ours(&found) => Verdict::Ours { uuid: found.uuid, other_writer: other_writer(&found) },
        (Some(found), _) => foreign(&found),
        (None, Some(found)) if !found.persistent => Verdict::Transient,
        (None, Some(found)) if ours(&found) => Verdict::Renamed { uuid: found.uuid, name: found.name.to_owned() },
        (None, Some(found)) => foreign(&found),
        (None, None) => Verdict::Absent,
    }
}
