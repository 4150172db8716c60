//! VirtualMachine: a libvirt domain.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cloud_init::CloudInit;
use super::devices::{Console, Disk, Interface};
use super::node::Accelerator;
use super::window::Window;
use crate::name::{ByteSize, LibvirtName, Name};

/// A libvirt domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualMachineSpec {
    /// The Node it stands on. May be missing where the set has one Node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// When it is to run. Default: Always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_strategy: Option<RunStrategy>,
    /// Started together with libvirt. Default at creation: true for Always and RerunOnFailure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autostart: Option<bool>,
    /// Its virtual CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Its memory. With `maxMemory`, what the balloon leaves it; what a hand makes of the balloon of a running guest alone is not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub memory: Option<ByteSize>,
    /// The most memory that it can be given while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<ByteSize>,
    /// What starts its system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Firmware>,
    /// The machine type, such as `q35` or `pc-q35-7.2`. Default at creation: q35.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z0-9][A-Za-z0-9._-]*$"), extend("patternErrorMessage" = "a machine type such as `q35` or `pc-q35-7.2`"))]
    pub machine: Option<String>,
    /// Its disks and CD-ROMs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Disk>,
    /// Its network interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// What cloud-init in the guest is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<CloudInit>,
    /// Its consoles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<Console>,
    /// What runs its instructions. Default: the Node's, else Auto.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<Accelerator>,
    /// A channel for the QEMU guest agent. Default at creation: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest_agent: Option<bool>,
    /// How it is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<Shutdown>,
    /// When a change that needs a restart is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_policy: Option<UpdatePolicy>,
    /// One line that says what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[^\n]+$"), extend("patternErrorMessage" = "one line of text"))]
    pub title: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub description: Option<String>,
    /// A fragment of libvirt's domain XML, merged into the definition, for what the language lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xml: Option<String>,
    /// The name in libvirt, where it differs from the object's. Never changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub libvirt_name: Option<LibvirtName>,
}

/// When a VM is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunStrategy {
    /// Always: it is started whenever it is off.
    Always,
    /// Until its guest shuts itself down; started again after a failure.
    RerunOnFailure,
    /// It is started once, after it was created.
    Once,
    /// As somebody starts and stops it.
    Manual,
    /// Never: it is stopped when it runs.
    Halted,
}

/// Virtual CPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cpu {
    /// How many it runs with. Default at creation: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub count: Option<u32>,
    /// How many it can be given while it runs. Default: `count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub max: Option<u32>,
    /// `host-passthrough`, `host-model`, `maximum` or the name of a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"), extend("patternErrorMessage" = "the name of a CPU model"))]
    pub model: Option<String>,
    /// How they are arranged; the product is `max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<CpuTopology>,
}

/// How virtual CPUs are arranged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CpuTopology {
    /// Sockets.
    #[schemars(range(min = 1, max = 4096))]
    pub sockets: u32,
    /// Cores in each socket.
    #[schemars(range(min = 1, max = 4096))]
    pub cores: u32,
    /// Threads in each core.
    #[schemars(range(min = 1, max = 4096))]
    pub threads: u32,
}

/// What starts the system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Firmware {
    /// BIOS or UEFI. Default at creation: BIOS.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub firmware_type: Option<FirmwareType>,
    /// Only signed systems start. Needs UEFI. Default at creation: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<bool>,
}

/// The kinds of firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FirmwareType {
    /// SeaBIOS.
    BIOS,
    /// OVMF, with variables that survive every update.
    UEFI,
}

/// How a guest is stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shutdown {
    /// Who is asked. Default: Auto.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<ShutdownMethod>,
    /// How long the guest has, such as `120s` or `5m`. Default: 120s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[1-9][0-9]{0,5}(s|m|h)$"), extend("patternErrorMessage" = "a time such as `120s` or `5m`"))]
    pub timeout: Option<String>,
    /// What happens then. Default: Report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<OnTimeout>,
}

/// Who is asked to stop a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ShutdownMethod {
    /// The agent where it is connected, else ACPI.
    Auto,
    /// The QEMU guest agent.
    Agent,
    /// The guest's power button.
    ACPI,
}

/// What happens to a guest that doesn't stop in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnTimeout {
    /// The step fails, the guest runs on.
    Report,
    /// Its power is cut.
    PowerOff,
}

/// When a change that needs a restart is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdatePolicy {
    /// Whether it is restarted for a change that needs that, or the change waits for its next start. Default: Never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartPolicy>,
    /// When it may be restarted: in one of these windows and at no other time. Default: at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
}

/// When a VM is restarted for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartPolicy {
    /// Never: the change waits for the next start.
    Never,
    /// At once, or as soon as a window opens: the guest is asked to stop, and started again.
    Now,
    /// When its guest reboots by itself, it is stopped and started again. Needs the daemon, which sees the reboot.
    OnReboot,
}
