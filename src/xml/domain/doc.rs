//! What a domain's document says, as plain values.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::manifest::{DiskLimits, VirtualMachineSpec};
use crate::name::{DeviceName, MacAddr};
use crate::xml::{Hidden, Mark};

/// What a domain's document says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DomainDoc {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// The number of its QEMU process; in live documents only.
    pub id: Option<u32>,
    /// What runs its instructions: `qemu`, `kvm`, ….
    pub virt_type: String,
    /// Its architecture.
    pub arch: String,
    /// Its machine type as it stands there.
    pub machine: String,
    /// The emulator's path.
    pub emulator: Option<String>,
    /// The part that the language knows. Its disks and interfaces are those of `disks` and `interfaces` that have a name, without
    /// the seed.
    pub spec: VirtualMachineSpec,
    /// Its disks, in the document's order.
    pub disks: Vec<DiskDoc>,
    /// Its interfaces, in the document's order.
    pub interfaces: Vec<InterfaceDoc>,
    /// Whether kinds of devices have places at a start (`<os><boot dev=…>`), which leaves none to devices by themselves.
    pub boots_by_kind: bool,
    /// Whose it is.
    pub mark: Option<Mark>,
    /// The path of its UEFI variables. libvirt before 10 chooses it at the first start, and tells it in live documents only.
    pub nvram: Option<String>,
    /// Its screen by VNC.
    pub vnc: Option<VncDoc>,
    /// Whether the agent in its guest is there; in live documents only.
    pub agent_connected: bool,
    /// Every user alias in it.
    pub aliases: BTreeSet<String>,
    /// Every path of the host's that it uses: disks with their chains, kernels, loaders, variables, folders, host devices.
    pub uses: BTreeSet<String>,
    /// Disks that name a volume by pool and file instead of a path.
    pub uses_volumes: BTreeSet<(String, String)>,
}

impl DomainDoc {
    /// The disk that stands in the spec under this key.
    pub fn disk(&self, key: &str) -> Option<&DiskDoc> {
        self.disks.iter().find(|disk| disk.key.as_ref().is_some_and(|own| own.as_str() == key))
    }

    /// The interface that stands in the spec under this key.
    pub fn interface(&self, key: &str) -> Option<&InterfaceDoc> {
        self.interfaces.iter().find(|nic| nic.key.as_ref().is_some_and(|own| own.as_str() == key))
    }
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskDoc {
    /// Its name in the manifest, by its alias.
    pub name: Option<DeviceName>,
    /// The key under which it stands in the spec: its name, else its target.
    pub key: Option<DeviceName>,
    /// Whether it is the cloud-init seed.
    pub seed: bool,
    /// Its target, such as `vda`.
    pub target: String,
    /// What it hangs on, in libvirt's words.
    pub bus: String,
    /// What the guest sees: `disk`, `cdrom`, ….
    pub device: String,
    /// The path of its source.
    pub source: Option<String>,
    /// What its source is: `file`, `block`, `volume`, `network`, ….
    pub source_kind: String,
    /// The pool and file of a source of kind `volume`.
    pub source_volume: Option<(String, String)>,
    /// The format that it is opened with.
    pub format: Option<String>,
    /// The backing files that the document lists, nearest first.
    pub chain: Vec<String>,
    /// Whether the guest can't write to it.
    pub read_only: bool,
    /// Whether several domains may write to it.
    pub shareable: bool,
    /// Its place at a start.
    pub boot_order: Option<u32>,
    /// Its serial number.
    pub serial: Option<String>,
    /// What it may read and write.
    pub limits: DiskLimits,
    /// The disks that share these limits with it, by a name.
    pub limits_group: Option<String>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InterfaceDoc {
    /// Its name in the manifest, by its alias.
    pub name: Option<DeviceName>,
    /// The key under which it stands in the spec: its name, else its MAC with `-`.
    pub key: Option<DeviceName>,
    /// Its MAC address.
    pub mac: Option<MacAddr>,
    /// libvirt's word for what it is plugged into: `network`, `bridge`, `user`, ….
    pub kind: String,
    /// The network that it is plugged into.
    pub network: Option<String>,
    /// The bridge that it is plugged into; for a network known of a live document only.
    pub bridge: Option<String>,
    /// Its port on the network; in live documents only.
    pub port: Option<Uuid>,
    /// The device on the host.
    pub target: Option<String>,
    /// The model of the card.
    pub model: Option<String>,
    /// Whether its cable is plugged in.
    pub link_up: bool,
    /// Its place at a start.
    pub boot_order: Option<u32>,
}

/// A screen by VNC.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VncDoc {
    /// The address that it listens at.
    pub listen: Option<String>,
    /// Its port; none while libvirt chooses.
    pub port: Option<u16>,
    /// The path of its socket.
    pub socket: Option<String>,
    /// Its password, where the document was read with secrets.
    pub password: Option<Hidden>,
}
