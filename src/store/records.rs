//! The records of the ledger: under which key each lies, and a sum over all of them that tells whether one is missing.
//!
//! No I/O, and no opinion on when anything is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::StoreError;
use super::kv::{KvError, KvOp};
use super::status::ObjectStatus;
use crate::name::ObjectRef;
use crate::plan::{Entry, Intent, NodeRecord, Owned, Suspension};

/// The newest format of the ledger that is known here.
pub(super) const FORMAT: u64 = 1;

/// The key of [`Meta`].
pub(super) const META: &str = "meta";
const FLEET_ID: &str = "fleet";
const FLEETS: &str = "f/";
const LEASES: &str = "lease/";

/// What is written with each batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// The format.
    pub(super) format: u64,
    /// Raised by each batch.
    pub(super) revision: u64,
    /// The sum of all records, hex.
    pub(super) sum: String,
}

/// All that a ledger holds, by fleet: two fleets may share a state directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Content {
    /// The id made for a set without a Fleet.
    #[serde(default)]
    pub(super) fleet_id: Option<Uuid>,
    /// Each fleet's inventory.
    #[serde(default)]
    pub(super) fleets: BTreeMap<Uuid, Owned>,
    /// What a daemon found of each fleet's objects.
    #[serde(default)]
    pub(super) statuses: BTreeMap<Uuid, BTreeMap<ObjectRef, Arc<ObjectStatus>>>,
}

/// One record to be written or removed.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// The id made for a set without a Fleet.
    FleetId(Uuid),
    /// An inventory entry.
    Entry(Uuid, Arc<Entry>),
    /// Its removal.
    NoEntry(Uuid, ObjectRef),
    /// A Node as first seen.
    Node(Uuid, NodeRecord),
    /// Its removal.
    NoNode(Uuid, crate::name::Name),
    /// An intent.
    Intent(Uuid, Intent),
    /// Its end.
    NoIntent(Uuid, String),
    /// An object that nothing is done to.
    Suspension(Uuid, Suspension),
    /// Its end.
    NoSuspension(Uuid, ObjectRef),
    /// How an object was found.
    Status(Uuid, Arc<ObjectStatus>),
    /// It is no longer looked at.
    NoStatus(Uuid, ObjectRef),
}

impl Write {
    fn key(&self) -> String {
        match self {
            Self::FleetId(_) => FLEET_ID.to_owned(),
            Self::Entry(fleet, entry) => format!("{FLEETS}{fleet}/entry/{}", entry.object),
            Self::NoEntry(fleet, object) => format!("{FLEETS}{fleet}/entry/{object}"),
            Self::Node(fleet, node) => format!("{FLEETS}{fleet}/node/{}", node.name),
            Self::NoNode(fleet, name) => format!("{FLEETS}{fleet}/node/{name}"),
            Self::Intent(fleet, intent) => format!("{FLEETS}{fleet}/intent/{}", intent.id),
            Self::NoIntent(fleet, id) => format!("{FLEETS}{fleet}/intent/{id}"),
            Self::Suspension(fleet, suspension) => format!("{FLEETS}{fleet}/suspended/{}", suspension.object),
            Self::NoSuspension(fleet, object) => format!("{FLEETS}{fleet}/suspended/{object}"),
            Self::Status(fleet, status) => format!("{FLEETS}{fleet}/status/{}", status.object),
            Self::NoStatus(fleet, object) => format!("{FLEETS}{fleet}/status/{object}"),
        }
    }

    fn op(&self) -> Result<KvOp, StoreError> {
        let key = self.key();
        let value = match self {
            Self::FleetId(id) => serde_json::to_vec(id),
            Self::Entry(_, entry) => serde_json::to_vec(entry),
            Self::Node(_, node) => serde_json::to_vec(node),
            Self::Intent(_, intent) => serde_json::to_vec(intent),
            Self::Suspension(_, suspension) => serde_json::to_vec(suspension),
            Self::Status(_, status) => serde_json::to_vec(status),
            Self::NoEntry(..) | Self::NoNode(..) | Self::NoIntent(..) | Self::NoSuspension(..) | Self::NoStatus(..) => {
                return Ok(KvOp::Remove(key));
            }
        };
        match value {
            Ok(value) => Ok(KvOp::Put(key, value)),
            Err(error) => Err(StoreError::Record { key, reason: error.to_string() }),
        }
    }
}

impl Content {
    /// The fleet's inventory.
    pub(super) fn owned(&self, fleet: Uuid) -> Owned {
        self.fleets.get(&fleet).cloned().unwrap_or_default()
    }

    /// As it is after a write.
    pub(super) fn apply(&mut self, write: Write) {
        match write {
            Write::FleetId(id) => self.fleet_id = Some(id),
            Write::Entry(fleet, entry) => {
                self.fleet(fleet).entries.insert(entry.object.clone(), entry);
            }
            Write::NoEntry(fleet, object) => {
                self.fleet(fleet).entries.remove(&object);
            }
            Write::Node(fleet, node) => {
                self.fleet(fleet).nodes.insert(node.name.clone(), node);
            }
            Write::NoNode(fleet, name) => {
                self.fleet(fleet).nodes.remove(&name);
            }
            Write::Intent(fleet, intent) => {
                let intents = &mut self.fleet(fleet).intents;
                match intents.binary_search_by(|other| other.id.cmp(&intent.id)) {
                    Ok(at) => {
                        if let Some(old) = intents.get_mut(at) {
                            *old = intent;
                        }
                    }
                    Err(at) => intents.insert(at, intent),
                }
            }
            Write::NoIntent(fleet, id) => self.fleet(fleet).intents.retain(|intent| intent.id != id),
            Write::Suspension(fleet, suspension) => {
                self.fleet(fleet).suspended.insert(suspension.object.clone(), suspension);
            }
            Write::NoSuspension(fleet, object) => {
                self.fleet(fleet).suspended.remove(&object);
            }
            Write::Status(fleet, status) => {
                self.statuses.entry(fleet).or_default().insert(status.object.clone(), status);
            }
            Write::NoStatus(fleet, object) => {
                if let Some(statuses) = self.statuses.get_mut(&fleet) {
                    statuses.remove(&object);
                }
            }
        }
    }

    fn fleet(&mut self, fleet: Uuid) -> &mut Owned {
        self.fleets.entry(fleet).or_default()
    }

    /// Every record of it.
    pub(super) fn writes(&self) -> Vec<Write> {
        let mut writes: Vec<Write> = self.fleet_id.map(Write::FleetId).into_iter().collect();
        for (fleet, owned) in &self.fleets {
            writes.extend(owned.entries.values().map(|entry| Write::Entry(*fleet, Arc::clone(entry))));
            writes.extend(owned.nodes.values().map(|node| Write::Node(*fleet, node.clone())));
            writes.extend(owned.intents.iter().map(|intent| Write::Intent(*fleet, intent.clone())));
            writes.extend(owned.suspended.values().map(|suspension| Write::Suspension(*fleet, suspension.clone())));
        }
        for (fleet, statuses) in &self.statuses {
            writes.extend(statuses.values().map(|status| Write::Status(*fleet, Arc::clone(status))));
        }
        writes
    }

    /// The content that these records are.
    pub(super) fn read(records: &[(String, Vec<u8>)]) -> Result<Self, StoreError> {
        let mut content = Self::default();
        for (key, value) in records.iter().filter(|(key, _)| counts(key)) {
            let unknown = || StoreError::Record { key: key.clone(), reason: "its key is unknown".to_owned() };
            if key == FLEET_ID {
                content.apply(Write::FleetId(parse(key, value)?));
                continue;
            }
            let (fleet, rest) = key.strip_prefix(FLEETS).and_then(|rest| rest.split_once('/')).ok_or_else(unknown)?;
            let fleet = Uuid::parse_str(fleet).map_err(|_| unknown())?;
            content.apply(match rest.split_once('/') {
                Some(("entry", _)) => Write::Entry(fleet, parse(key, value)?),
                Some(("node", _)) => Write::Node(fleet, parse(key, value)?),
                Some(("intent", _)) => Write::Intent(fleet, parse(key, value)?),
                Some(("suspended", _)) => Write::Suspension(fleet, parse(key, value)?),
                Some(("status", _)) => Write::Status(fleet, parse(key, value)?),
                // What the history was, before it had files of its own.
                Some(("event", _)) => continue,
                _ => return Err(unknown()),
            });
        }
        Ok(content)
    }
}

fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::Record { key: key.to_owned(), reason: error.to_string() })
}

fn counts(key: &str) -> bool {
    key != META && !key.starts_with(LEASES)
}

/// The exclusive or of all records' hashes: any record that is lost, altered or back from the dead changes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sums {
    hashes: BTreeMap<String, [u8; 32]>,
    sum: [u8; 32],
}

impl Sums {
    /// The sums of these records.
    pub(super) fn of(records: &[(String, Vec<u8>)]) -> Self {
        let mut sums = Self::default();
        for (key, value) in records.iter().filter(|(key, _)| counts(key)) {
            sums.set(key, Some(value));
        }
        sums
    }

    /// The sum, hex.
    pub(super) fn hex(&self) -> String {
        hex::encode(self.sum)
    }

    fn set(&mut self, key: &str, value: Option<&[u8]>) -> Option<[u8; 32]> {
        let old = match value {
            Some(value) => {
                let hash: [u8; 32] = Sha256::new().chain_update(key).chain_update([0]).chain_update(value).finalize().into();
                self.toggle(&hash);
                self.hashes.insert(key.to_owned(), hash)
            }
            None => self.hashes.remove(key),
        };
        if let Some(old) = &old {
            self.toggle(old);
        }
        old
    }

    fn toggle(&mut self, hash: &[u8; 32]) {
        self.sum.iter_mut().zip(hash).for_each(|(a, b)| *a ^= b);
    }
}

/// A batch that is ready to be written, with the sums before it, should it fail.
pub(super) struct Batch {
    /// The changes, the meta record last.
    pub(super) ops: Vec<KvOp>,
    undo: Vec<(String, Option<[u8; 32]>)>,
}

impl Batch {
    /// The batch of these writes; `sums` are then those after it.
    pub(super) fn new(writes: &[Write], revision: u64, sums: &mut Sums) -> Result<Self, StoreError> {
        let mut ops = writes.iter().map(Write::op).collect::<Result<Vec<_>, _>>()?;
        let mut undo = Vec::with_capacity(ops.len());
        for op in &ops {
            let (key, value) = match op {
                KvOp::Put(key, value) => (key, Some(value.as_slice())),
                KvOp::Remove(key) => (key, None),
            };
            undo.push((key.clone(), sums.set(key, value)));
        }
        let meta = Meta { format: FORMAT, revision, sum: sums.hex() };
        let value = serde_json::to_vec(&meta).map_err(|error| KvError::Failed(error.to_string()))?;
        ops.push(KvOp::Put(META.to_owned(), value));
        Ok(Self { ops, undo })
    }

    /// Puts the sums back as they were.
    pub(super) fn undo(self, sums: &mut Sums) {
        for (key, old) in self.undo.into_iter().rev() {
            if let Some(new) = sums.hashes.remove(&key) {
                sums.toggle(&new);
            }
            if let Some(old) = old {
                sums.toggle(&old);
                sums.hashes.insert(key, old);
            }
        }
    }
}
