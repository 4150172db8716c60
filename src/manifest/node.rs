//! Node: a host that runs libvirt.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A host that runs libvirt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeSpec {
    /// How libvirt there is reached, such as `qemu:///system` or `qemu+ssh://root@kvm1/system`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub uri: Option<String>,
    /// No new volume or VM is created there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unschedulable: Option<bool>,
    /// What its VMs take where they say nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defaults: Option<NodeDefaults>,
}

/// What a node's VMs take where they say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeDefaults {
    /// The accelerator of its VMs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<Accelerator>,
}

/// What runs a guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Accelerator {
    /// KVM where the host offers it, else TCG; decided when the VM is created.
    Auto,
    /// The host's hardware virtualization.
    KVM,
    /// QEMU's own emulation.
    TCG,
}
