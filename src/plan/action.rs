//! Actions: what an executor does, without any choice left to it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use uuid::Uuid;

use super::condition::{Expect, Precondition};
use super::owned::{Entry, SecretRef, reservations};
use crate::manifest::{DiskLimits, OnTimeout, ShutdownMethod};
use crate::name::{Name, ObjectRef};
use crate::observe::Target;
use crate::xml::domain::{Definition, DomainPatch};
use crate::xml::network::NetworkPatch;

/// The place of an action in its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct ActionId(pub usize);

/// One effect: one call of libvirt's, or one deed of the controller's.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// Its place in the plan.
    pub id: ActionId,
    /// The object that it is for.
    pub object: ObjectRef,
    /// Where it is done; none for deeds of the controller's.
    pub node: Option<Name>,
    /// What is done.
    #[schemars(schema_with = "operation")]
    pub op: Op,
    /// What must be verified before it begins.
    pub needs: BTreeSet<ActionId>,
    /// What is serial with it.
    #[schemars(schema_with = "anything")]
    pub lane: Lane,
    /// What must still be so right before the call.
    #[serde(skip)]
    pub precondition: Precondition,
    /// What must be so after it.
    #[serde(skip)]
    pub expect: Expect,
    /// What the ledger records together with its intent, before its effect.
    #[serde(skip)]
    pub begins: Begins,
    /// What the ledger records once it is verified.
    #[serde(skip)]
    pub record: Record,
    /// Tokens in the operation's XML and where their values are read.
    pub secrets: BTreeMap<String, SecretRef>,
}

/// For readers of plans an operation is its word; its operands follow the program.
fn operation(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "What is done: the word in `do`, such as `domain-start`. What else stands here is of no version.",
        "type": "object",
        "properties": {"do": {"type": "string"}},
        "required": ["do"],
    })
}

fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"description": "What is serial with it. Its form is of no version."})
}

/// What is done. Names are those in libvirt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
#[expect(missing_docs, reason = "the fields are the operands of the call that the variant names")]
pub enum Op {
    /// Define a pool; its folder is not made.
    PoolDefine {
        name: String,
        xml: String,
    },
    /// Define a pool anew, at another path, out of its document right before the call.
    PoolRetarget {
        name: String,
        path: String,
    },
    /// Make a pool's folder.
    PoolBuild {
        name: String,
    },
    PoolStart {
        name: String,
    },
    PoolAutostart {
        name: String,
        on: bool,
    },
    PoolRefresh {
        name: String,
    },
    PoolStop {
        name: String,
    },
    PoolUndefine {
        name: String,
    },
    NetworkDefine {
        name: String,
        xml: String,
    },
    NetworkStart {
        name: String,
    },
    NetworkAutostart {
        name: String,
        on: bool,
    },
    /// Change one entry of a network's DHCP or DNS; its guests' links stay.
    NetworkUpdate {
        name: String,
        section: Section,
        edit: Edit,
        xml: String,
        /// The place of the `<ip>` that the entry stands in.
        parent_index: i32,
        side: Side,
    },
    /// Define a network anew out of the document that its next start uses right before the call.
    NetworkPatch {
        name: String,
        patch: Box<NetworkPatch>,
        /// Managed leaves as they were found: where one moved since, nothing is done.
        was: BTreeMap<String, Option<serde_json::Value>>,
    },
    /// Plug running guests in again that were cut off when the network was restarted beneath them.
    NetworkReplug {
        name: String,
        /// Also those that hang on its bridge by their own definition.
        direct: bool,
        /// Domains that are suspended: nothing is done to them.
        resting: BTreeSet<Uuid>,
        /// What is done, found out right before it.
        #[serde(skip)]
        nics: Vec<Replug>,
    },
    NetworkStop {
        name: String,
    },
    NetworkUndefine {
        name: String,
    },
    /// Make a volume from its document.
    VolumeCreate {
        pool: String,
        name: String,
        xml: String,
    },
    /// Make a volume as a full copy of another in the same or another pool.
    VolumeClone {
        pool: String,
        name: String,
        xml: String,
        source_pool: String,
        source: String,
    },
    /// Fill a volume.
    VolumeUpload {
        pool: String,
        name: String,
        source: UploadSource,
    },
    /// Set a volume's capacity in bytes; never to less.
    VolumeGrow {
        pool: String,
        name: String,
        capacity: u64,
    },
    VolumeDelete {
        pool: String,
        name: String,
    },
    /// Grow a disk of a running domain, and the volume beneath it with it; never to less.
    DomainBlockResize {
        name: String,
        uuid: Uuid,
        target: String,
        capacity: u64,
        pool: String,
        volume: String,
    },
    /// Define a domain; `validate` where the text is not jvp's alone.
    DomainDefine {
        name: String,
        uuid: Uuid,
        xml: Definition,
        validate: bool,
    },
    DomainStart {
        name: String,
        uuid: Uuid,
    },
    /// Ask the guest to stop, and wait.
    DomainShutdown {
        name: String,
        uuid: Uuid,
        method: ShutdownMethod,
        timeout_seconds: u64,
        on_timeout: OnTimeout,
    },
    /// Cut its power.
    DomainDestroy {
        name: String,
        uuid: Uuid,
    },
    /// Undefine it, with its NVRAM where `nvram`.
    DomainUndefine {
        name: String,
        uuid: Uuid,
        nvram: bool,
        managed_save: bool,
    },
    DomainAutostart {
        name: String,
        uuid: Uuid,
        on: bool,
    },
    /// Set title, description or the mark, in the persistent definition and, where it runs, live. `Some(None)` removes.
    DomainMetadata {
        name: String,
        uuid: Uuid,
        title: Option<Option<String>>,
        description: Option<Option<String>>,
        mark: Option<String>,
        live: bool,
    },
    /// Change a domain's definition by a patch, which is made on its document right before the call; `validate` where the text is
    /// not jvp's alone.
    DomainRedefine {
        name: String,
        uuid: Uuid,
        patch: Box<DomainPatch>,
        validate: bool,
    },
    /// Plug a device in, change it or unplug it. Its element is taken out of the document right before the call, with the patch
    /// in it.
    DomainDevice {
        name: String,
        uuid: Uuid,
        how: Plug,
        /// The device, as a pointer: `/disks/NAME`, `/interfaces/NAME`, `/console/vnc`, `/guestAgent`.
        device: String,
        patch: Box<DomainPatch>,
        live: bool,
        config: bool,
        /// The element; none until right before the call.
        #[serde(skip)]
        xml: Option<String>,
    },
    /// Give a running domain so many of its vCPUs. Going down, a guest may not let go of them: then its definition alone changes.
    DomainVcpus {
        name: String,
        uuid: Uuid,
        count: u32,
        live: bool,
        config: bool,
    },
    /// Have a running domain's balloon leave it so much.
    DomainMemory {
        name: String,
        uuid: Uuid,
        kib: u64,
        live: bool,
        config: bool,
    },
    /// Limit what a disk of a domain may read and write; what is not said has no limit then.
    DomainBlockLimits {
        name: String,
        uuid: Uuid,
        target: String,
        limits: Box<DiskLimits>,
        live: bool,
        config: bool,
    },
    /// Drop a domain's managed save image.
    DomainDiscardSave {
        name: String,
        uuid: Uuid,
    },
    /// Rename a domain that is off.
    DomainRename {
        name: String,
        uuid: Uuid,
        to: String,
    },
    /// Fetch a template's image into the controller's cache and check it.
    Fetch {
        template: Name,
    },
    /// Make an SSH key pair.
    KeyPairGenerate {
        name: Name,
    },
    /// Change the inventory only.
    Inventory,
}

impl Op {
    /// A short word for journals and logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::PoolDefine { .. } => "pool-define",
            Self::PoolRetarget { .. } => "pool-retarget",
            Self::PoolBuild { .. } => "pool-build",
            Self::PoolStart { .. } => "pool-start",
            Self::PoolAutostart { .. } => "pool-autostart",
            Self::PoolRefresh { .. } => "pool-refresh",
            Self::PoolStop { .. } => "pool-stop",
            Self::PoolUndefine { .. } => "pool-undefine",
            Self::NetworkDefine { .. } => "network-define",
            Self::NetworkStart { .. } => "network-start",
            Self::NetworkAutostart { .. } => "network-autostart",
            Self::NetworkUpdate { section: Section::DhcpHost, .. } => "network-dhcp-host",
            Self::NetworkUpdate { section: Section::DhcpRange, .. } => "network-dhcp-range",
            Self::NetworkUpdate { section: Section::DnsHost, .. } => "network-dns-host",
            Self::NetworkPatch { .. } => "network-patch",
            Self::NetworkReplug { .. } => "network-replug",
            Self::NetworkStop { .. } => "network-stop",
            Self::NetworkUndefine { .. } => "network-undefine",
            Self::VolumeCreate { .. } => "volume-create",
            Self::VolumeClone { .. } => "volume-clone",
            Self::VolumeUpload { .. } => "volume-upload",
            Self::VolumeGrow { .. } => "volume-grow",
            Self::VolumeDelete { .. } => "volume-delete",
            Self::DomainBlockResize { .. } => "domain-block-resize",
            Self::DomainDefine { .. } => "domain-define",
            Self::DomainStart { .. } => "domain-start",
            Self::DomainShutdown { .. } => "domain-shutdown",
            Self::DomainDestroy { .. } => "domain-destroy",
            Self::DomainUndefine { .. } => "domain-undefine",
            Self::DomainAutostart { .. } => "domain-autostart",
            Self::DomainMetadata { .. } => "domain-metadata",
            Self::DomainRedefine { .. } => "domain-redefine",
            Self::DomainDevice { how: Plug::Attach, .. } => "domain-attach",
            Self::DomainDevice { how: Plug::Detach, .. } => "domain-detach",
            Self::DomainDevice { how: Plug::Update, .. } => "domain-update",
            Self::DomainVcpus { .. } => "domain-vcpus",
            Self::DomainMemory { .. } => "domain-memory",
            Self::DomainBlockLimits { .. } => "domain-block-limits",
            Self::DomainDiscardSave { .. } => "domain-discard-save",
            Self::DomainRename { .. } => "domain-rename",
            Self::Fetch { .. } => "fetch",
            Self::KeyPairGenerate { .. } => "keypair-generate",
            Self::Inventory => "inventory",
        }
    }

    /// Whether it writes a domain's mark.
    pub(super) fn writes_mark(&self) -> bool {
        match self {
            Self::DomainMetadata { mark, .. } => mark.is_some(),
            Self::DomainRedefine { patch, .. } => patch.mark.is_some(),
            _ => false,
        }
    }

    /// What is read back after it; none for deeds of the controller's.
    pub fn target(&self) -> Option<Target> {
        match self {
            Self::PoolDefine { name, .. }
            | Self::PoolRetarget { name, .. }
            | Self::PoolBuild { name }
            | Self::PoolStart { name }
            | Self::PoolAutostart { name, .. }
            | Self::PoolRefresh { name }
            | Self::PoolStop { name }
            | Self::PoolUndefine { name } => Some(Target::Pool(name.clone())),
            Self::NetworkDefine { name, .. }
            | Self::NetworkStart { name }
            | Self::NetworkAutostart { name, .. }
            | Self::NetworkUpdate { name, .. }
            | Self::NetworkPatch { name, .. }
            | Self::NetworkReplug { name, .. }
            | Self::NetworkStop { name }
            | Self::NetworkUndefine { name } => Some(Target::Network(name.clone())),
            Self::VolumeCreate { pool, name, .. }
            | Self::VolumeClone { pool, name, .. }
            | Self::VolumeUpload { pool, name, .. }
            | Self::VolumeGrow { pool, name, .. }
            | Self::VolumeDelete { pool, name } => Some(Target::Volume { pool: pool.clone(), name: name.clone() }),
            Self::DomainBlockResize { pool, volume, .. } => Some(Target::Volume { pool: pool.clone(), name: volume.clone() }),
            Self::DomainDefine { name, .. }
            | Self::DomainStart { name, .. }
            | Self::DomainShutdown { name, .. }
            | Self::DomainDestroy { name, .. }
            | Self::DomainUndefine { name, .. }
            | Self::DomainAutostart { name, .. }
            | Self::DomainRedefine { name, .. }
            | Self::DomainDevice { name, .. }
            | Self::DomainVcpus { name, .. }
            | Self::DomainMemory { name, .. }
            | Self::DomainBlockLimits { name, .. }
            | Self::DomainDiscardSave { name, .. }
            | Self::DomainMetadata { name, .. } => Some(Target::Domain(name.clone())),
            Self::DomainRename { to, .. } => Some(Target::Domain(to.clone())),
            Self::Fetch { .. } | Self::KeyPairGenerate { .. } | Self::Inventory => None,
        }
    }
}

/// What is done to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plug {
    /// It is plugged in.
    Attach,
    /// It is given other properties where it is.
    Update,
    /// It is unplugged; the guest may take its time.
    Detach,
}

/// What kind of entry a network's update is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// An address kept for a guest.
    DhcpHost,
    /// A range that addresses are given from.
    DhcpRange,
    /// A name that the network's DNS answers.
    DnsHost,
}

/// What happens to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each variant is the word itself")]
pub enum Edit {
    Add,
    Modify,
    Delete,
}

/// Which of a network's two documents is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The definition, and in the same call what runs, where it does.
    Both,
    /// What runs alone.
    Live,
    /// The definition alone.
    Definition,
}

/// One interface of a running domain that is plugged in again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replug {
    /// The domain's name.
    pub domain: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// The device as it is moved first, and as it is to end.
    pub texts: crate::xml::domain::PlugTexts,
}

/// Where the bytes of an upload come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum UploadSource {
    /// A checked image in the controller's cache or beside the manifest.
    Image {
        /// Its path on the controller.
        path: String,
        /// SHA-256, hex.
        digest: String,
        /// Its length in bytes.
        size: u64,
    },
    /// A cloud-init seed.
    Seed {
        /// SHA-256 of its documents, hex.
        digest: String,
        /// Its bytes; never shown.
        #[serde(skip)]
        bytes: SeedBytes,
    },
}

/// The bytes of a seed. They hold what users told cloud-init, so they show as their length only.
#[derive(Clone, PartialEq, Eq)]
pub struct SeedBytes(pub std::sync::Arc<Vec<u8>>);

impl std::fmt::Debug for SeedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

/// What is serial: actions of one lane never run side by side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Lane {
    /// All work on one object of libvirt's: one domain, one network, one volume.
    Object(String),
    /// Stop, refresh and delete of a pool: alone in it.
    PoolExclusive(String),
    /// A job in a pool, beside others.
    PoolShared {
        /// The pool.
        pool: String,
        /// The volume, which has one job at a time.
        volume: String,
    },
    /// A deed of the controller's.
    Local(String),
}

/// What an object's entry says from an intent on, so that a run which breaks off is known for what it had begun. Of an object that the
/// inventory doesn't know yet the intent alone tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Begins {
    /// The entry that the object comes to. What it adds to the fields that are jvp's, to reservations and to secrets is known from now on
    /// (DECISIONS D4).
    pub entry: Option<Box<Entry>>,
    /// Whether it is stopped in order to start again. Where the effect didn't happen it is not, as before.
    pub restarting: Option<bool>,
    /// Whether this step or a later one of the same change writes the object's mark.
    pub mark_due: bool,
    /// Whether it is made, be it anew: it is not finished before the steps of the change are all verified.
    pub unfinished: bool,
}

impl Begins {
    /// What of it an object's entry says once the intent is on disk.
    pub fn begun(&self, known: &Entry) -> Entry {
        let mut begun = known.clone();
        begun.restarting = self.restarting.unwrap_or(known.restarting);
        begun.mark_due |= self.mark_due;
        begun.unfinished |= self.unfinished;
        let Some(entry) = &self.entry else { return begun };
        begun.last.extend(entry.last.iter().cloned());
        for (key, reservation) in &entry.reservations {
            let of = begun.reservations.entry(key.clone()).or_default();
            if !reservations(of).any(|known| known == reservation) {
                *of = if of.is_empty() { reservation.clone() } else { format!("{of}, {reservation}") };
            }
        }
        for (path, new) in &entry.secrets {
            if known.secrets.get(path).is_none_or(|known| known.mac != new.mac) {
                // Until it is done, nobody knows which of the two is there, or whether it is somebody else's.
                begun.secrets.entry(path.clone()).or_insert_with(|| new.clone()).mac.clear();
            }
        }
        begun
    }
}

/// What the ledger records once an action is verified.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Record {
    /// Nothing.
    #[default]
    Nothing,
    /// The object's entry begins or is replaced; `last` grows by the entry's.
    Put(Box<Entry>),
    /// The object's steps are done: `last` becomes the entry's (DECISIONS D4).
    Settle(Box<Entry>),
    /// The object leaves the inventory.
    Remove(ObjectRef),
}

impl Record {
    /// An entry that changes in the inventory alone: what was half made stays that.
    pub(super) fn kept(entry: Entry) -> Self {
        let record = if entry.unfinished { Self::Put } else { Self::Settle };
        record(Box::new(entry))
    }

    /// The object whose entry it is about.
    pub fn object(&self) -> Option<&ObjectRef> {
        match self {
            Self::Nothing => None,
            Self::Put(entry) | Self::Settle(entry) => Some(&entry.object),
            Self::Remove(object) => Some(object),
        }
    }
}
