//! What a fake node has: plain structs that a test may look into and change as `virsh` would.
//!
//! Documents are kept as the text that libvirt would give back. Nothing here waits, fails by injection, or is shared.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::host::{ErrorKind, Hint, HostError};
use crate::observe::{OffReason, Target};
use crate::plan::Op;

use super::error;

/// All that a fake node has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The host's name.
    pub hostname: String,
    /// The host's UUID, as its capabilities tell it.
    pub uuid: Uuid,
    /// libvirt's version there.
    pub libvirt_version: u64,
    /// Whether KVM works there.
    pub kvm: bool,
    /// Pools by name.
    pub pools: BTreeMap<String, Pool>,
    /// Networks by name.
    pub networks: BTreeMap<String, Network>,
    /// Domains by name.
    pub domains: BTreeMap<String, Domain>,
    /// Files by path: disk images, NVRAM, save images.
    pub files: BTreeMap<String, File>,
    /// Folders that are there.
    pub folders: BTreeSet<String>,
    /// Bridges of the host's own, which no network made.
    pub bridges: BTreeSet<String>,
    /// The id that the last started domain got.
    pub last_id: u32,
    /// How many taps guests got so far; libvirt takes a fresh name for each.
    pub taps: u32,
    /// How many values were made up for a name.
    made_up: BTreeMap<String, u64>,
    /// What it told by itself, until the node's handle gives it to who is subscribed.
    #[serde(skip)]
    pub(super) told: Vec<(Hint, &'static str)>,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// Its UUID.
    pub uuid: Uuid,
    /// Whether it runs.
    pub active: bool,
    /// Whether it is started with libvirt.
    pub autostart: bool,
    /// Whether it outlives being stopped.
    pub persistent: bool,
    /// Its definition, without what libvirt measures.
    pub xml: String,
    /// The folder that it works in while it runs; else that of its next start.
    pub path: String,
    /// Files that libvirt knows of since the last refresh, by name, and whether it saw their inside.
    pub known: BTreeMap<String, bool>,
    /// Whether it was ever started, so that it shows its folder's owner and mode.
    pub seen: bool,
}

/// A file on the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// `raw`, `qcow2`, `iso`: what its first bytes say.
    pub format: String,
    /// Bytes that a guest sees.
    pub capacity: u64,
    /// Its length.
    pub length: u64,
    /// Bytes that it takes.
    pub allocation: u64,
    /// The file under it and its format.
    pub backing: Option<(String, String)>,
    /// SHA-256 of what was uploaded to it, hex.
    pub digest: Option<String>,
    /// The name that a seed or upload gave its content; marks who wrote last.
    pub written: u64,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Its UUID.
    pub uuid: Uuid,
    /// Whether it is started with libvirt.
    pub autostart: bool,
    /// Whether it outlives being stopped.
    pub persistent: bool,
    /// The document of its next start.
    pub inactive: String,
    /// The document that it runs with.
    pub live: Option<String>,
    /// The ports that guests are plugged into.
    #[serde(default)]
    pub ports: BTreeSet<Uuid>,
    /// Who has an address of it.
    pub leases: Vec<Lease>,
}

/// An address that a network gave away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The guest's MAC address.
    pub mac: String,
    /// The address.
    pub ip: String,
    /// The guest's name.
    pub hostname: Option<String>,
}

/// What a running domain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    /// It runs.
    Running,
    /// It is held.
    Paused,
    /// Its guest crashed and QEMU is kept.
    Crashed,
    /// It sleeps.
    Suspended,
}

/// What a guest does when it is asked to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manners {
    /// It shuts itself down.
    #[default]
    Obeys,
    /// It goes on, as one without an OS does.
    Ignores,
}

/// A domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Domain {
    /// Its UUID.
    pub uuid: Uuid,
    /// How it runs; none while it is off.
    pub power: Option<Power>,
    /// Why it is off.
    pub off_reason: OffReason,
    /// Whether it is started with libvirt.
    pub autostart: bool,
    /// Whether it outlives being stopped.
    pub persistent: bool,
    /// The configuration in its managed save image.
    pub managed_save: Option<String>,
    /// The names of its snapshots.
    pub snapshots: BTreeSet<String>,
    /// The document of its next start.
    pub inactive: String,
    /// The document that it runs with.
    pub live: Option<String>,
    /// What its guest does when asked to stop.
    pub manners: Manners,
    /// What its agent tells; none without one.
    pub agent_addresses: Option<Vec<String>>,
    /// Files that its agent can read, by path.
    #[serde(default)]
    pub guest_files: BTreeMap<String, String>,
    /// What its next start says instead of starting.
    pub start_fails: Option<String>,
}

impl State {
    /// An empty node.
    pub fn new(name: &str) -> Self {
        Self {
            hostname: name.to_owned(),
            uuid: Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes()),
            libvirt_version: 9_000_000,
            kvm: false,
            pools: BTreeMap::new(),
            networks: BTreeMap::new(),
            domains: BTreeMap::new(),
            files: BTreeMap::new(),
            folders: ["/", "/var/lib/libvirt", "/var/lib/libvirt/images", "/srv", "/images"].map(str::to_owned).into(),
            bridges: BTreeSet::new(),
            last_id: 0,
            taps: 0,
            made_up: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    /// Tells of a domain, as libvirt does of some changes and of others not.
    pub(super) fn tell_domain(&mut self, name: &str, words: &[&'static str]) {
        self.tell(Target::Domain(name.to_owned()), words);
    }

    /// Tells of a network.
    pub(super) fn tell_network(&mut self, name: &str, word: &'static str) {
        self.tell(Target::Network(name.to_owned()), &[word]);
    }

    /// Tells of a pool.
    pub(super) fn tell_pool(&mut self, name: &str, word: &'static str) {
        self.tell(Target::Pool(name.to_owned()), &[word]);
    }

    fn tell(&mut self, target: Target, words: &[&'static str]) {
        let hint = Hint::Object(target);
        self.told.extend(words.iter().map(|word| (hint.clone(), *word)));
    }

    /// A UUID that nobody gave, the same in each run for the same calls.
    pub(super) fn make_uuid(&mut self, what: &str) -> Uuid {
        let count = self.count(what);
        Uuid::new_v5(&self.uuid, format!("{what}#{count}").as_bytes())
    }

    /// A MAC address that nobody gave.
    pub(super) fn make_mac(&mut self, what: &str) -> String {
        let id = self.make_uuid(&format!("mac {what}"));
        let bytes = id.as_bytes();
        format!("52:54:00:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2])
    }

    fn count(&mut self, what: &str) -> u64 {
        let count = self.made_up.entry(what.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// Performs one effect, as libvirt would.
    pub fn perform(&mut self, op: &Op) -> Result<(), HostError> {
        match op {
            Op::PoolDefine { xml, .. } => self.pool_define(xml).map(drop),
            Op::PoolBuild { name } => self.pool_build(name),
            Op::PoolStart { name } => self.pool_start(name),
            Op::PoolAutostart { name, on } => self.pool_autostart(name, *on),
            Op::PoolRefresh { name } => self.pool_refresh(name),
            Op::PoolStop { name } => self.pool_stop(name),
            Op::PoolUndefine { name } => self.pool_undefine(name),
            Op::NetworkDefine { xml, .. } => self.network_define(xml).map(drop),
            Op::NetworkStart { name } => self.network_start(name),
            Op::NetworkAutostart { name, on } => self.network_autostart(name, *on),
            Op::NetworkUpdate { name, section, edit, xml, parent_index, side } => {
                self.network_update(name, (*section, *edit, *side), xml, *parent_index)
            }
            Op::NetworkReplug { nics, .. } => self.network_replug(nics),
            Op::NetworkStop { name } => self.network_stop(name),
            Op::NetworkUndefine { name } => self.network_undefine(name),
            Op::VolumeCreate { pool, xml, .. } => self.volume_create(pool, xml),
            Op::VolumeClone { pool, xml, source_pool, source, .. } => self.volume_clone(pool, xml, source_pool, source),
            Op::VolumeUpload { pool, name, source } => self.volume_upload(pool, name, source),
            Op::VolumeGrow { pool, name, capacity } => self.volume_grow(pool, name, *capacity),
            Op::VolumeDelete { pool, name } => self.volume_delete(pool, name),
            Op::DomainBlockResize { uuid, target, capacity, .. } => self.domain_block_resize(*uuid, target, *capacity),
            Op::DomainDefine { xml, validate, .. } => self.domain_define(&xml.text(), *validate).map(drop),
            Op::DomainStart { uuid, .. } => self.domain_start(*uuid),
            Op::DomainShutdown { uuid, timeout_seconds, on_timeout, .. } => {
                self.domain_shutdown(*uuid, *timeout_seconds, *on_timeout)
            }
            Op::DomainDestroy { uuid, .. } => self.domain_destroy(*uuid),
            Op::DomainUndefine { uuid, nvram, managed_save, .. } => self.domain_undefine(*uuid, *nvram, *managed_save),
            Op::DomainAutostart { uuid, on, .. } => self.domain_autostart(*uuid, *on),
            Op::DomainMetadata { uuid, title, description, mark, live, .. } => {
                self.domain_metadata(*uuid, title.as_ref(), description.as_ref(), mark.as_deref(), *live)
            }
            Op::DomainRename { uuid, to, .. } => self.domain_rename(*uuid, to),
            Op::DomainDevice { uuid, how, xml, live, config, .. } => {
                self.domain_device(*uuid, *how, xml.as_deref().unwrap_or_default(), *live, *config)
            }
            Op::DomainVcpus { uuid, count, live, config, .. } => self.domain_vcpus(*uuid, *count, *live, *config),
            Op::DomainMemory { uuid, kib, live, config, .. } => self.domain_memory(*uuid, *kib, *live, *config),
            Op::DomainBlockLimits { uuid, target, limits, live, config, .. } => {
                self.domain_block_limits(*uuid, target, limits, *live, *config)
            }
            Op::DomainDiscardSave { uuid, .. } => self.domain_discard_save(*uuid),
            Op::DomainRedefine { .. }
            | Op::NetworkPatch { .. }
            | Op::PoolRetarget { .. }
            | Op::Fetch { .. }
            | Op::KeyPairGenerate { .. }
            | Op::Inventory => {
                let message = format!("{} is no deed of a node's", op.word());
                Err(error::libvirt(ErrorKind::Unsupported, 0, message))
            }
        }
        .map_err(|error| match op.target() {
            Some(Target::Pool(name)) => error::named(error, "pool", &name),
            Some(Target::Network(name)) => error::named(error, "network", &name),
            Some(Target::Domain(name)) => error::named(error, "domain", &name),
            Some(Target::Volume { name, .. }) => error::named(error, "volume", &name),
            None => error,
        })
    }
}

/// The name of the object that an effect is on, as it is before it; empty for deeds on none.
pub(super) fn object(op: &Op) -> &str {
    match op {
        Op::PoolDefine { name, .. }
        | Op::PoolRetarget { name, .. }
        | Op::PoolBuild { name }
        | Op::PoolStart { name }
        | Op::PoolAutostart { name, .. }
        | Op::PoolRefresh { name }
        | Op::PoolStop { name }
        | Op::PoolUndefine { name } => name,
        Op::NetworkDefine { name, .. }
        | Op::NetworkStart { name }
        | Op::NetworkAutostart { name, .. }
        | Op::NetworkUpdate { name, .. }
        | Op::NetworkPatch { name, .. }
        | Op::NetworkReplug { name, .. }
        | Op::NetworkStop { name }
        | Op::NetworkUndefine { name } => name,
        Op::VolumeCreate { name, .. }
        | Op::VolumeClone { name, .. }
        | Op::VolumeUpload { name, .. }
        | Op::VolumeGrow { name, .. }
        | Op::VolumeDelete { name, .. } => name,
        Op::DomainBlockResize { name, .. }
        | Op::DomainDefine { name, .. }
        | Op::DomainStart { name, .. }
        | Op::DomainShutdown { name, .. }
        | Op::DomainDestroy { name, .. }
        | Op::DomainUndefine { name, .. }
        | Op::DomainAutostart { name, .. }
        | Op::DomainMetadata { name, .. }
        | Op::DomainRedefine { name, .. }
        | Op::DomainDevice { name, .. }
        | Op::DomainVcpus { name, .. }
        | Op::DomainMemory { name, .. }
        | Op::DomainBlockLimits { name, .. }
        | Op::DomainDiscardSave { name, .. }
        | Op::DomainRename { name, .. } => name,
        Op::Fetch { .. } | Op::KeyPairGenerate { .. } | Op::Inventory => "",
    }
}
