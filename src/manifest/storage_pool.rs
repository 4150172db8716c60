//! StoragePool: a storage pool of libvirt's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{LibvirtName, Name};

/// A storage pool of libvirt's, on each of its nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoragePoolSpec {
    /// What kind of storage it is. May be missing where it is there and is adopted or observed.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub pool_type: Option<PoolType>,
    /// Where it lies on the node. May be missing where it is there and is adopted or observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<PoolTarget>,
    /// Started together with libvirt. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autostart: Option<bool>,
    /// Whether it is to be running. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// The Nodes it stands on; none means every Node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Name>,
    /// The name in libvirt, where it differs from the object's. Never changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub libvirt_name: Option<LibvirtName>,
}

/// What kind of storage a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PoolType {
    /// A folder of image files.
    Dir,
}

/// Where a pool lies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolTarget {
    /// An absolute path on the node. A missing folder is made where its parent exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub path: Option<String>,
}
