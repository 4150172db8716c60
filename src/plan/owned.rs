//! What jvp owns: the inventory as the planner reads it. Records of the ledger, without any way to read or write them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::manifest::ReclaimPolicy;
use crate::name::{Name, ObjectRef, Uid};

/// The inventory of one fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// What is owned, by reference.
    pub entries: BTreeMap<ObjectRef, Arc<Entry>>,
    /// The Nodes that were seen.
    pub nodes: BTreeMap<Name, NodeRecord>,
    /// Intents without a completion.
    pub intents: Vec<Intent>,
    /// What nothing is done to until somebody resumes it.
    #[serde(default)]
    pub suspended: BTreeMap<ObjectRef, Suspension>,
}

impl Owned {
    /// An object, where it is owned.
    pub fn entry(&self, object: &ObjectRef) -> Option<&Entry> {
        self.entries.get(object).map(Arc::as_ref)
    }

    /// An object, to be changed in this copy alone.
    pub fn entry_mut(&mut self, object: &ObjectRef) -> Option<&mut Entry> {
        self.entries.get_mut(object).map(Arc::make_mut)
    }
}

/// Somebody's word that nothing is to be done to an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// The object.
    pub object: ObjectRef,
    /// Since when, RFC 3339.
    pub since: String,
    /// Whose word it is.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

impl Suspension {
    /// What there is to say of it, a clause.
    pub fn words(&self) -> String {
        let reason = self.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let since = match self.since.split_once('.') {
            Some((seconds, _)) => format!("{seconds}Z"),
            None => self.since.clone(),
        };
        format!("nothing is done to it, since {} suspended it at {since}{reason}", self.by)
    }
}

/// One owned object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The object.
    pub object: ObjectRef,
    /// Its identity in the fleet.
    pub uid: Uid,
    /// Where it stands.
    pub node: Option<Name>,
    /// Its UUID in libvirt; none for volumes, templates and what is not libvirt's.
    pub libvirt_uuid: Option<Uuid>,
    /// Its name in libvirt; for volumes and templates the file's name in its pool.
    pub libvirt_name: String,
    /// The field paths of the last verified apply (DECISIONS D2, D4).
    #[serde(default)]
    pub last: BTreeSet<String>,
    /// Labels as last applied.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What a delete does to it, as last applied.
    #[serde(default)]
    pub reclaim: Option<ReclaimPolicy>,
    /// Whether its manifest said that it is never to be deleted, as last applied.
    #[serde(default)]
    pub prevent_destroy: bool,
    /// Fields that no node has (a template's description, tags …), as last applied.
    #[serde(default)]
    pub values: BTreeMap<String, serde_json::Value>,
    /// Deleted from the manifests but kept in libvirt.
    #[serde(default)]
    pub released: bool,
    /// Told by a mark in libvirt and by nothing else: what marks don't hold is not known.
    #[serde(default)]
    pub rebuilt: bool,
    /// It was begun, and not all steps of its creation are done: what only a creation sets may be missing still.
    #[serde(default)]
    pub unfinished: bool,
    /// When it was made or adopted, RFC 3339.
    pub created_at: String,
    /// For volumes (also claims and seeds).
    pub volume: Option<VolumeRecord>,
    /// For templates.
    pub template: Option<TemplateRecord>,
    /// Where each sensitive field came from, by path.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretRef>,
    /// For VMs: the digest of the cloud-init seed it was made with.
    pub seed_digest: Option<String>,
    /// For VMs: the digest of the `xml:` fragment that it was made with.
    #[serde(default)]
    pub fragment_digest: Option<String>,
    /// For VMs: the address reservations that it made, network object → `mac ip`; while one changes both, see [`reservations`].
    #[serde(default)]
    pub reservations: BTreeMap<String, String>,
    /// For VMs: the fragment's leaves, as digests of what was written and of what libvirt made of it.
    #[serde(default)]
    pub fragment: BTreeMap<String, Accepted>,
    /// For VMs: the QEMU process (libvirt's id) that was asked to give back vCPUs, and how many it was to keep.
    #[serde(default)]
    pub tried_vcpus: Option<(u32, u32)>,
    /// For VMs: why it was off when last looked at.
    pub last_off_reason: Option<String>,
    /// A restart of it was begun and is not done: what jvp stopped starts again, whatever its strategy says of one that is off.
    #[serde(default)]
    pub restarting: bool,
    /// A change that its mark is to tell of was begun and is not settled: the mark that is there may be behind it.
    #[serde(default)]
    pub mark_due: bool,
}

impl Entry {
    /// The files that it is on its node.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        let volume = self.volume.as_ref().map(|volume| volume.path.as_str());
        volume.into_iter().chain(self.template.as_ref().map(|template| template.path.as_str()))
    }

    /// The file that its volume is built on.
    pub(super) fn backing(&self) -> Option<&str> {
        self.volume.as_ref()?.backing.as_deref()
    }

    /// Says when it was made, where it doesn't say so itself: as the inventory had it, else `now`.
    pub fn date(&mut self, known: Option<&Self>, now: impl FnOnce() -> String) {
        if self.created_at.is_empty() {
            let before = known.map(|known| known.created_at.clone()).filter(|at| !at.is_empty());
            self.created_at = before.unwrap_or_else(now);
        }
    }
}

/// The reservations of one interface, each as `mac ip`: one, and while it changes the one before and the one after.
pub fn reservations(recorded: &str) -> impl Iterator<Item = &str> {
    recorded.split(", ").filter(|one| !one.is_empty())
}

/// One leaf of a fragment: digests, for its values may be secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Of what was written; empty for an element that the fragment brought.
    pub written: String,
    /// Of what libvirt has for it; empty until it was looked at.
    pub accepted: String,
}

/// What is recorded of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeRecord {
    /// The pool's name in libvirt.
    pub pool: String,
    /// The file's name.
    pub file: String,
    /// The file's path on the node.
    pub path: String,
    /// The format that it was made with; never probed.
    pub format: String,
    /// Bytes that a guest sees.
    pub capacity: u64,
    /// The path of its backing file.
    pub backing: Option<String>,
    /// What it was made from: `Template/x` or `Volume/x`.
    pub source: Option<String>,
    /// The VM that it came with.
    pub owner: Option<ObjectRef>,
}

/// What is recorded of a template on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateRecord {
    /// SHA-256 of the file, hex.
    pub digest_sha256: String,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes that a guest sees.
    pub virtual_size: u64,
    /// Its format.
    pub format: String,
    /// The pool's name in libvirt.
    pub pool: String,
    /// The file's name.
    pub file: String,
    /// The file's path on the node.
    pub path: String,
    /// Whether the upload was verified.
    pub ready: bool,
    /// Whether its digest was pinned at the first fetch, for want of a checksum.
    pub pinned: bool,
    /// The URL or file it came from.
    pub source: String,
}

/// A Node as it was at first contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRecord {
    /// The Node.
    pub name: Name,
    /// The host's UUID.
    pub host_uuid: Uuid,
    /// RFC 3339.
    pub first_seen: String,
}

/// What was about to be done when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// Unique in the ledger.
    pub id: String,
    /// The run that wrote it.
    pub run: String,
    /// The object.
    pub object: ObjectRef,
    /// The action, a short word such as `volume-create`.
    pub op: String,
    /// Where.
    pub node: Option<Name>,
    /// What identifies the effect: for a created volume its [`VolumeRecord`].
    pub details: serde_json::Value,
    /// Whether the object was absent when the intent was written.
    pub absent_before: bool,
    /// RFC 3339.
    pub at: String,
}

/// A secret by where it came from and an HMAC of it; never the secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SecretRef {
    /// `file:PATH` or `env:NAME`.
    pub source: String,
    /// HMAC-SHA256 under the state directory's key, hex.
    pub mac: String,
}
