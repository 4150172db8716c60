//! Devices of a VirtualMachine: disks, interfaces, consoles.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::DiskLimits;
use super::secret::SecretValue;
use super::volume::{CloneMode, VolumeFormat, VolumeSource};
use crate::name::{ByteSize, DeviceName, MacAddr, Name};

/// A disk or CD-ROM. One of `volume`, `claim` and `image`; a CD-ROM may have none, and is then empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Disk {
    /// Its name within the VM.
    pub name: DeviceName,
    /// A Volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<Name>,
    /// A Volume `<vm>.<disk>` that comes with the VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<VolumeClaim>,
    /// A Template, used as it is, read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Name>,
    /// What the guest sees. Default at creation: disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DiskDevice>,
    /// What it hangs on. Default at creation: virtio for disks, sata for CD-ROMs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus: Option<DiskBus>,
    /// Its place among the devices that are tried at a start; 1 is first. A disk gives up a place that nobody wrote for it where
    /// another disk is given it. Default at creation: the first disk has 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 999))]
    pub boot_order: Option<u32>,
    /// The guest can't write to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// What it may read and write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<DiskLimits>,
}

/// A Volume that comes with its VM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeClaim {
    /// The StoragePool it lies in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub pool: Option<Name>,
    /// The size that the guest sees. Default: that of the source.
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
}

/// What a guest sees of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DiskDevice {
    /// A disk.
    Disk,
    /// A CD-ROM drive.
    Cdrom,
}

/// What a disk hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DiskBus {
    /// A virtio block device.
    Virtio,
    /// A virtio SCSI controller.
    Scsi,
    /// A SATA controller.
    Sata,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Interface {
    /// Its name within the VM.
    pub name: DeviceName,
    /// The Network that it is plugged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub network: Option<Name>,
    /// Its MAC address. Default at creation: derived from the VM's identity and the interface's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// An address that the network's DHCP keeps for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// The model of the card. Default at creation: virtio.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]*$"), extend("patternErrorMessage" = "a model of a network card such as `virtio` or `e1000e`"))]
    pub model: Option<String>,
    /// Whether its cable is plugged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_state: Option<LinkState>,
}

/// Whether a cable is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// It is.
    Up,
    /// It isn't.
    Down,
}

/// A VM's consoles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Console {
    /// A serial port. Default at creation: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<bool>,
    /// A screen by VNC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vnc: Option<Vnc>,
}

/// A screen by VNC: by TCP at `listen`, or by a Unix `socket`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vnc {
    /// The address of the node's that it listens at. Default at creation: 127.0.0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<IpAddr>,
    /// The password, at most 8 characters count. Another value in its source is seen; one that was set by hand is not, since it is
    /// never read back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretValue>,
    /// An absolute path of a Unix socket on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
}
