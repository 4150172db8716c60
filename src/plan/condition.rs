//! What must still be so right before an effect, and what a read-back must show after it. How that is held against a node is
//! `verify`'s and the executor's.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::action::Side;
use crate::manifest::Leaves;
use crate::name::{ObjectRef, Uid};
use crate::observe::OffReason;

/// What must still be so right before an effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing that a read could tell.
    #[default]
    None,
    /// No object of that name.
    Absent,
    /// The object with this UUID.
    Uuid(Uuid),
    /// The network with this UUID, and no running guest on it but these.
    NetworkGuests {
        /// Its UUID.
        uuid: Uuid,
        /// The names of their domains.
        guests: BTreeSet<String>,
    },
    /// The pool with this UUID, none of whose volumes a domain uses.
    PoolUnused {
        /// Its UUID.
        uuid: Uuid,
    },
    /// The volume with this path, which no running domain uses.
    VolumeIdle {
        /// Its path.
        path: String,
    },
    /// The running domain with this UUID, to whose disk at `target` the volume is directly attached.
    Disk {
        /// The domain's UUID.
        uuid: Uuid,
        /// The disk's target.
        target: String,
        /// The volume's path.
        path: String,
    },
    /// The domain with this UUID, running or not.
    Domain {
        /// Its UUID.
        uuid: Uuid,
        /// Whether it runs.
        running: bool,
    },
    /// The domain with this UUID, in the process that it ran in; or off by now, where it is to be stopped.
    Process {
        /// Its UUID.
        uuid: Uuid,
        /// libvirt's number of the process.
        process: u32,
    },
    /// The domain with this UUID, which runs and isn't paused.
    Awake {
        /// Its UUID.
        uuid: Uuid,
    },
    /// The domain with this UUID, which is off for this reason.
    OffBy {
        /// Its UUID.
        uuid: Uuid,
        /// Why it is off.
        reason: OffReason,
    },
    /// The domain, with these fields as they were.
    Fields(Box<Fields>),
    /// The volume with this path, used by nobody.
    VolumeUnused {
        /// Its path.
        path: String,
    },
    /// The volume with this path, used by nobody but the domain with this UUID, which is off.
    VolumeOf {
        /// Its path.
        path: String,
        /// The domain's UUID.
        uuid: Uuid,
    },
    /// The volume with this path.
    Volume {
        /// Its path.
        path: String,
    },
}

/// Fields of a domain as a plan found them. Who changed one of them since then wanted something else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// The domain's UUID.
    pub uuid: Uuid,
    /// Whether it runs.
    pub running: bool,
    /// The fields that are looked at: pointers, with all below them.
    pub paths: BTreeSet<String>,
    /// The leaves of its definition there.
    pub inactive: Leaves,
    /// The leaves of what runs, where they are changed.
    pub live: Option<Leaves>,
}

/// What a domain's documents must say, leaf by leaf; none is a leaf that must not be there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DomainExpect {
    /// Its UUID.
    pub uuid: Uuid,
    /// Leaves of its definition.
    pub inactive: BTreeMap<String, Option<serde_json::Value>>,
    /// Leaves of what runs.
    pub live: BTreeMap<String, Option<serde_json::Value>>,
}

/// What a read-back must show.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Expect {
    /// Nothing to be read.
    #[default]
    Nothing,
    /// The object is gone.
    Gone,
    /// The pool, network or domain has this UUID and these managed leaves (path → value).
    Matches {
        /// Its UUID.
        uuid: Uuid,
        /// Managed leaves as they must read.
        leaves: Leaves,
        /// Sources of the domain's disks by name.
        disks: BTreeMap<String, String>,
    },
    /// The domain's two documents say this.
    Domain(Box<DomainExpect>),
    /// The network's documents have these leaves and none below those.
    Network(Box<NetworkExpect>),
    /// Every running guest of the network is plugged in.
    Plugged,
    /// The network or domain has this UUID, and its mark says that it is this object.
    Marked {
        /// Its UUID.
        uuid: Uuid,
        /// Its identity in the fleet.
        uid: Uid,
        /// Its name there.
        object: ObjectRef,
    },
    /// It runs, or doesn't.
    Active(bool),
    /// It starts with libvirt, or doesn't.
    Autostart(bool),
    /// The volume has this format, at least this capacity, and this backing file.
    Volume {
        /// Its format.
        format: String,
        /// Bytes that a guest sees.
        capacity: u64,
        /// The path of its backing file.
        backing: Option<String>,
    },
    /// The volume holds exactly so many bytes, and libvirt has looked what they are.
    Uploaded {
        /// Length in bytes.
        size: u64,
        /// Bytes that a guest sees, of a qcow2 image: one that libvirt still takes for raw would be copied as a disk of its file's length.
        capacity: Option<u64>,
    },
}

/// What a network's documents must show.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkExpect {
    /// Its UUID.
    pub uuid: Uuid,
    /// Which of them; where it isn't running, there is the definition only.
    pub side: Side,
    /// Leaves as they must read.
    pub leaves: Leaves,
    /// Paths below which there must be nothing.
    pub gone: BTreeSet<String>,
}
