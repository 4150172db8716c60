//! Whose is it? The verdicts of DECISIONS B on what is found under a wanted name or UUID.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::Entry;
use crate::name::{Kind, ObjectRef, Uid};
use crate::observe::{DomainState, NetworkState, NodeState, PoolState};
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

impl<'a> From<&'a PoolState> for Found<'a> {
    fn from(pool: &'a PoolState) -> Self {
        Self { name: &pool.name, uuid: pool.uuid, persistent: pool.persistent, mark: None }
    }
}

impl<'a> From<&'a NetworkState> for Found<'a> {
    fn from(network: &'a NetworkState) -> Self {
        Self { name: &network.name, uuid: network.uuid, persistent: network.persistent, mark: network.doc.mark.as_ref() }
    }
}

impl<'a> From<&'a DomainState> for Found<'a> {
    fn from(domain: &'a DomainState) -> Self {
        Self { name: &domain.name, uuid: domain.uuid, persistent: domain.persistent, mark: domain.doc.mark.as_ref() }
    }
}

/// What a node has under a name.
pub(super) fn named<'a>(kind: Kind, state: &'a NodeState, name: &str) -> Option<Found<'a>> {
    match kind {
        Kind::StoragePool => state.pools.get(name).map(Found::from),
        Kind::Network => state.networks.get(name).map(Found::from),
        Kind::VirtualMachine => state.domains.get(name).map(Found::from),
        Kind::Fleet | Kind::Node | Kind::KeyPair | Kind::Template | Kind::Volume => None,
    }
}

/// The identities that a node's lasting objects of a kind have, whatever their names.
#[derive(Debug, Default)]
pub(super) struct Identities {
    /// By this fleet's mark.
    marked: BTreeSet<Uid>,
    /// By UUID, of those without a mark.
    unmarked: BTreeSet<Uuid>,
}

impl Identities {
    pub(super) fn of(kind: Kind, state: &NodeState, fleet: Uid) -> Self {
        match kind {
            Kind::StoragePool => Self::all(state.pools.values().map(Found::from), fleet),
            Kind::Network => Self::all(state.networks.values().map(Found::from), fleet),
            Kind::VirtualMachine => Self::all(state.domains.values().map(Found::from), fleet),
            Kind::Fleet | Kind::Node | Kind::KeyPair | Kind::Template | Kind::Volume => Self::default(),
        }
    }

    fn all<'a>(found: impl Iterator<Item = Found<'a>>, fleet: Uid) -> Self {
        let mut all = Self::default();
        for found in found.filter(|found| found.persistent) {
            match found.mark {
                Some(mark) if mark.fleet == fleet => drop(all.marked.insert(mark.uid)),
                Some(_) => {}
                None => drop(all.unmarked.insert(found.uuid)),
            }
        }
        all
    }

    /// Whether one is the object with this identity, whose UUID is on record.
    pub(super) fn has(&self, uid: Uid, recorded: Option<Uuid>) -> bool {
        let is_recorded = || recorded.is_some_and(|uuid| self.unmarked.contains(&uuid));
        self.marked.contains(&uid) || self.unmarked.contains(&uid) || is_recorded()
    }

    /// One with this UUID is given a mark.
    pub(super) fn mark(&mut self, uuid: Uuid, uid: Uid) {
        self.unmarked.remove(&uuid);
        self.marked.insert(uid);
    }
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
    /// Ours, and it runs, but somebody took its definition away.
    Undefined {
        /// Its UUID.
        uuid: Uuid,
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
        (Some(found), _) if !found.persistent && ours(&found) => Verdict::Undefined { uuid: found.uuid },
        (Some(found), _) if !found.persistent => Verdict::Transient,
        (Some(found), _) if ours(&found) => Verdict::Ours { uuid: found.uuid, other_writer: other_writer(&found) },
        (Some(found), _) => foreign(&found),
        (None, Some(found)) if !found.persistent => Verdict::Transient,
        (None, Some(found)) if ours(&found) => Verdict::Renamed { uuid: found.uuid, name: found.name.to_owned() },
        (None, Some(found)) => foreign(&found),
        (None, None) => Verdict::Absent,
    }
}
