//! What a host answered, as text and plain facts, before anything was read out of it.
//!
//! Nothing of libvirt's own types stands here, and nothing is interpreted: `observe/` does that with the readers of `xml/`.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::xml::Document;

/// What is to be read of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The host and all that it has: every domain, network, pool, and the volumes of running pools.
    Everything,
    /// The same, for somebody who has time: it costs less, and may take longer.
    AtEase,
    /// The host's own facts only.
    Host,
    /// These objects, each by its name in libvirt; what isn't there is left out of the answer.
    Objects(BTreeSet<Target>),
    /// These objects, and the host's own facts by the same connection: whose objects they are.
    Near(BTreeSet<Target>),
    /// Everything, and what only guests and running networks know: leases and the agents' addresses.
    WithGuests,
    /// These objects, and what only guests and running networks know of them.
    Guests(BTreeSet<Target>),
}

impl Scope {
    /// Whether somebody waits for it.
    pub fn is_urgent(&self) -> bool {
        *self != Self::AtEase
    }

    /// Whether guests and running networks are asked.
    pub fn asks_guests(&self) -> bool {
        matches!(self, Self::WithGuests | Self::Guests(_))
    }
}

/// One object of libvirt's, by its name there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A pool without its volumes.
    Pool(String),
    /// One volume of a running pool.
    Volume {
        /// The pool's name.
        pool: String,
        /// The file's name.
        name: String,
    },
    /// A network.
    Network(String),
    /// A domain.
    Domain(String),
}

/// All that was read of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawNode {
    /// The host itself.
    pub host: RawHost,
    /// Its pools, by name.
    pub pools: Vec<RawPool>,
    /// Its networks, by name.
    pub networks: Vec<RawNetwork>,
    /// Its domains, by name.
    pub domains: Vec<RawDomain>,
}

/// The host itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawHost {
    /// The host's name.
    pub hostname: String,
    /// libvirt's version there, as major * 1,000,000 + minor * 1,000 + release.
    pub libvirt_version: u64,
    /// The capabilities document.
    pub capabilities: String,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPool {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// Whether it runs.
    pub active: bool,
    /// Whether it is started with libvirt.
    pub autostart: bool,
    /// Whether it outlives being stopped.
    pub persistent: bool,
    /// Its document.
    pub xml: String,
    /// Its volumes; `None` where they can't be read (the pool is stopped) or weren't asked for.
    pub volumes: Option<Vec<RawVolume>>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawVolume {
    /// The file's name in its pool.
    pub name: String,
    /// Its document.
    pub xml: String,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawNetwork {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// Whether it runs.
    pub active: bool,
    /// Whether it is started with libvirt.
    pub autostart: bool,
    /// Whether it outlives being stopped.
    pub persistent: bool,
    /// The document that its next start uses.
    pub inactive: String,
    /// The document that it runs with.
    pub live: Option<String>,
    /// The ports that are plugged into it; `None` while it is stopped, and where libvirt can't tell.
    pub ports: Option<BTreeSet<Uuid>>,
    /// Who has an address of it; only where the scope asks guests.
    pub leases: Vec<RawLease>,
}

/// An address that a network's DHCP gave away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawLease {
    /// The guest's MAC address as printed.
    pub mac: String,
    /// The address.
    pub ip: String,
    /// The guest's name, where it told it.
    pub hostname: Option<String>,
}

/// Whether and how a domain runs: libvirt's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerState {
    /// Its CPUs run, or wait for something to do.
    Running,
    /// Held by somebody.
    Paused,
    /// On its way down.
    ShuttingDown,
    /// Off.
    Off,
    /// Its guest crashed, and QEMU is kept.
    Crashed,
    /// Asleep by its guest's own wish.
    Suspended,
}

/// Why a domain is off, as far as libvirt remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum OffReason {
    /// Never started since libvirt was, or forgotten.
    Unknown,
    /// The guest shut itself down.
    GuestShutdown,
    /// Somebody cut its power.
    Destroyed,
    /// QEMU or the guest crashed.
    Crashed,
    /// It was saved to disk.
    Saved,
    /// It failed to start.
    Failed,
    /// It moved to another host.
    Migrated,
}

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawDomain {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// Whether it runs.
    pub state: PowerState,
    /// Why it is off.
    pub off_reason: OffReason,
    /// Whether it is started with libvirt.
    pub autostart: bool,
    /// Whether it outlives being stopped.
    pub persistent: bool,
    /// Whether a managed save image waits for its next start.
    pub managed_save: bool,
    /// The document that its next start brings back from that image, where it can be read.
    pub saved: Option<Document>,
    /// Whether it has snapshots.
    pub has_snapshots: bool,
    /// The document that its next start uses, with secrets.
    pub inactive: Document,
    /// The document that it runs with.
    pub live: Option<Document>,
    /// Addresses that its agent told; only with [`Scope::WithGuests`], `None` where no agent answered.
    pub agent_addresses: Option<Vec<String>>,
}

#[cfg(test)]
impl RawDomain {
    /// A domain of a test's: persistent, and off but where it has a document that it runs with.
    pub(crate) fn of_test(name: &str, uuid: Uuid, inactive: &str, live: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            uuid,
            state: if live.is_some() { PowerState::Running } else { PowerState::Off },
            off_reason: OffReason::Unknown,
            autostart: false,
            persistent: true,
            managed_save: false,
            saved: None,
            has_snapshots: false,
            inactive: inactive.into(),
            live: live.map(Into::into),
            agent_addresses: None,
        }
    }
}
