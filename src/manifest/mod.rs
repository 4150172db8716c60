//! THE LANGUAGE: one file a kind, and how documents are read.
//!
//! A spec type is the one model of its kind (every field optional): manifests are read into it, and `xml/` projects what a node
//! has into it. There are no defaults here (`resolve/` and the field table of `plan/` know them) and nothing of libvirt.

mod accept;
mod cloud_init;
mod devices;
mod document;
mod fleet;
mod foreign;
mod formats;
mod key_pair;
mod kinds;
mod leaf;
mod limits;
mod load;
mod many;
mod meta;
mod network;
mod node;
mod offsets;
pub mod path;
mod scalar;
pub mod schema;
mod secret;
mod span;
mod storage_pool;
mod template;
mod violation;
mod virtual_machine;
mod volume;
mod window;
mod yaml;

pub use cloud_init::{CloudFile, CloudInit, CloudUser, OnChange};
pub use devices::{Console, Disk, DiskBus, DiskDevice, Interface, LinkState, Vnc, VolumeClaim};
pub use document::Document;
pub use fleet::FleetSpec;
pub use foreign::check_mapping;
pub use key_pair::KeyPairSpec;
pub use limits::{DiskLimits, LIMITS, MOST};
pub use load::{Loaded, ReadFiles, load, load_again, load_file};
pub use many::{both, many, threads};
pub use meta::{Lifecycle, Management, Metadata, ReclaimPolicy};
pub use network::{Dhcp, DhcpHost, DhcpRange, DnsHost, NetworkDns, NetworkIp, NetworkMode, NetworkSpec};
pub use node::{Accelerator, NodeDefaults, NodeSpec};
pub use path::{FieldPath, Leaves, leaves};
pub use secret::{SecretSource, SecretValue};
pub use span::{KeptSpans, SpanIndex, escape, unescape};
pub use storage_pool::{PoolTarget, PoolType, StoragePoolSpec};
pub use template::{TemplateFeatures, TemplateFormat, TemplateOs, TemplateSource, TemplateSpec};
pub use virtual_machine::{
    Cpu, CpuTopology, Firmware, FirmwareType, OnTimeout, RestartPolicy, RunStrategy, Shutdown, ShutdownMethod, UpdatePolicy,
    VirtualMachineSpec,
};
pub use volume::{CloneMode, VolumeFormat, VolumeSource, VolumeSpec};
pub use window::{Opens, Window, seconds};
pub use yaml::{MAX_DEPTH, MAX_VALUES};

use crate::name::Kind;

/// The `apiVersion` of this language.
pub const API_VERSION: &str = "jvp.dev/v1alpha1";

/// The spec of one object of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the kind of its name")]
pub enum Spec {
    Fleet(FleetSpec),
    Node(NodeSpec),
    KeyPair(KeyPairSpec),
    StoragePool(StoragePoolSpec),
    Network(NetworkSpec),
    Template(TemplateSpec),
    Volume(VolumeSpec),
    VirtualMachine(Box<VirtualMachineSpec>),
}

impl Spec {
    /// The spec's kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Fleet(_) => Kind::Fleet,
            Self::Node(_) => Kind::Node,
            Self::KeyPair(_) => Kind::KeyPair,
            Self::StoragePool(_) => Kind::StoragePool,
            Self::Network(_) => Kind::Network,
            Self::Template(_) => Kind::Template,
            Self::Volume(_) => Kind::Volume,
            Self::VirtualMachine(_) => Kind::VirtualMachine,
        }
    }

    /// The spec of `kind` that a tree of values is; none where it is none.
    pub fn from_value(kind: Kind, value: &serde_json::Value) -> Option<Self> {
        (kinds::spec_of(kind)?.read)(value).ok()
    }

    /// The spec as a tree of values, without what is unset: what the diff compares.
    ///
    /// Sizes, MACs and addresses stand in it in their canonical form.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or(serde_json::Value::Null)
    }
}

impl serde::Serialize for Spec {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fleet(spec) => spec.serialize(to),
            Self::Node(spec) => spec.serialize(to),
            Self::KeyPair(spec) => spec.serialize(to),
            Self::StoragePool(spec) => spec.serialize(to),
            Self::Network(spec) => spec.serialize(to),
            Self::Template(spec) => spec.serialize(to),
            Self::Volume(spec) => spec.serialize(to),
            Self::VirtualMachine(spec) => spec.serialize(to),
        }
    }
}
