//! Volume: a disk image in a pool.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{ByteSize, LibvirtName, Name};

/// A disk image in a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSpec {
    /// The StoragePool it lies in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub pool: Option<Name>,
    /// The size that a guest sees. Default: that of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<ByteSize>,
    /// The format of the file. Default: qcow2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<VolumeFormat>,
    /// What it begins with; none means blank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<VolumeSource>,
    /// How it is made from its source. Default: Linked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clone: Option<CloneMode>,
    /// The file's name in the pool, where it differs from the object's name with `.qcow2` or `.img`. Never changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub libvirt_name: Option<LibvirtName>,
}

/// The format of a volume's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VolumeFormat {
    /// QEMU's copy-on-write format.
    Qcow2,
    /// The bytes of a disk.
    Raw,
}

/// What a volume begins with: one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSource {
    /// A Template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Name>,
    /// A Volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<Name>,
}

/// How a volume is made from its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CloneMode {
    /// Copy-on-write on top of the source.
    Linked,
    /// A copy of its own.
    Full,
}
