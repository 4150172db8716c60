//! A new domain from nothing, with everything spelt out that libvirt would otherwise choose anew at each define, and with what
//! makes later changes possible while the guest runs (spare ports, controllers, a serial bus).

use serde::Serialize;
use uuid::Uuid;

use super::AGENT_CHANNEL;
use super::devices;
use super::doc::{DiskDoc, InterfaceDoc};
use super::machine_family;
use crate::manifest::{Accelerator, Cpu, CpuTopology, DiskLimits, FirmwareType, LinkState, VirtualMachineSpec};
use crate::name::{DeviceName, MacAddr};
use crate::xml::Mark;
use crate::xml::tree::Element;
use crate::xml::volume::Backing;

/// How many PCI Express ports stay free for devices that are plugged in later.
pub const SPARE_PORTS: u32 = 8;

/// A domain to be defined.
#[derive(Debug, Clone)]
pub struct DomainWanted {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// What is wanted of it, with every default that holds at creation filled in.
    pub spec: VirtualMachineSpec,
    /// What runs its instructions, decided.
    pub accelerator: Accelerator,
    /// Its architecture.
    pub arch: String,
    /// Its disks, in the manifest's order.
    pub disks: Vec<DiskWanted>,
    /// Its interfaces, in the manifest's order.
    pub interfaces: Vec<NicWanted>,
    /// The path of the cloud-init seed, a raw image.
    pub seed: Option<String>,
    /// What is written for the VNC password: a token in its place, never the password.
    pub vnc_password_token: Option<String>,
    /// Whose it is.
    pub mark: Mark,
    /// How many PCI Express ports stay free.
    pub spare_ports: u32,
}

/// A disk to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskWanted {
    /// Its name in the manifest.
    pub name: DeviceName,
    /// Its target, such as `vda`.
    pub target: String,
    /// libvirt's word for what it hangs on.
    pub bus: String,
    /// `disk` or `cdrom`.
    pub device: String,
    /// The path of its source; none is an empty tray.
    pub path: Option<String>,
    /// The format that it is opened with.
    pub format: String,
    /// The chain below it, nearest first; empty is not written.
    pub backing: Vec<Backing>,
    /// Whether the guest can't write to it.
    pub read_only: bool,
    /// Its place at a start.
    pub boot_order: Option<u32>,
    /// Its serial number.
    pub serial: Option<String>,
    /// What it may read and write.
    pub limits: DiskLimits,
}

impl DiskWanted {
    /// A disk as it is, to be changed from there; `None` where it has no key in the spec.
    ///
    /// Its chain is not taken over: [`super::patch()`] leaves it where the source stays.
    pub fn from_doc(doc: &DiskDoc) -> Option<Self> {
        Some(Self {
            name: doc.key.clone()?,
            target: doc.target.clone(),
            bus: doc.bus.clone(),
            device: doc.device.clone(),
            path: doc.source.clone(),
            format: doc.format.clone().unwrap_or_else(|| "raw".to_owned()),
            backing: Vec::new(),
            read_only: doc.read_only,
            boot_order: doc.boot_order,
            serial: doc.serial.clone(),
            limits: doc.limits.clone(),
        })
    }
}

/// What an interface is plugged into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NicSource {
    /// A network of libvirt's, by its name there.
    Network(String),
    /// A bridge of the host's.
    Bridge(String),
}

/// An interface to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NicWanted {
    /// Its name in the manifest.
    pub name: DeviceName,
    /// Its MAC address.
    pub mac: MacAddr,
    /// What it is plugged into.
    pub source: NicSource,
    /// The model of the card.
    pub model: String,
    /// Whether its cable is plugged in; unset is not written.
    pub link_state: Option<LinkState>,
    /// Its place at a start.
    pub boot_order: Option<u32>,
}

impl NicWanted {
    /// An interface as it is, to be changed from there; `None` where it has no key, MAC, or a source that jvp can't write.
    pub fn from_doc(doc: &InterfaceDoc) -> Option<Self> {
        let source = match (&doc.network, &doc.bridge) {
            (Some(network), _) => NicSource::Network(network.clone()),
            (None, Some(bridge)) => NicSource::Bridge(bridge.clone()),
            (None, None) => return None,
        };
        Some(Self {
            name: doc.key.clone()?,
            mac: doc.mac?,
            source,
            model: doc.model.clone().unwrap_or_else(|| "rtl8139".to_owned()),
            link_state: (!doc.link_up).then_some(LinkState::Down),
            boot_order: doc.boot_order,
        })
    }
}

/// The document of a new domain.
pub fn render(wanted: &DomainWanted) -> String {
    let spec = &wanted.spec;
    let kvm = wanted.accelerator == Accelerator::KVM;
    let machine = spec.machine.as_deref().unwrap_or("q35");
    let mut root = Element::new("domain")
        .attr("type", if kvm { "kvm" } else { "qemu" })
        .with(Element::new("name").text(&wanted.name))
        .with(Element::new("uuid").text(wanted.uuid))
        .with_opt(spec.title.as_ref().filter(|text| !text.is_empty()).map(|text| Element::new("title").text(text)))
        .with_opt(spec.description.as_ref().filter(|text| !text.is_empty()).map(|text| Element::new("description").text(text)));
    wanted.mark.put(&mut root);
    memory(&mut root, spec);
    let cpu = spec.cpu.clone().unwrap_or_default();
    let (count, max) = vcpus(&cpu);
    root.push(vcpu(count, max));
    let firmware = spec.firmware.clone().unwrap_or_default();
    let uefi = firmware.firmware_type == Some(FirmwareType::UEFI);
    let secure = uefi && firmware.secure_boot == Some(true);
    let kind = Element::new("type").attr("arch", &wanted.arch).attr("machine", machine).text("hvm");
    let mut os = Element::new("os").with(kind);
    if uefi {
        os.attrs.push(("firmware".into(), "efi".to_owned()));
        os.push(secure_boot(secure));
    }
    root.push(os);
    let x86 = matches!(wanted.arch.as_str(), "x86_64" | "i686");
    root.push(
        Element::new("features")
            .with(Element::new("acpi"))
            .with_opt(x86.then(|| Element::new("apic")))
            .with_opt(secure.then(|| Element::new("smm").attr("state", "on"))),
    );
    root = root
        .with_opt(cpu_element(&cpu))
        .with(Element::new("clock").attr("offset", "utc"))
        .with(Element::new("on_poweroff").text("destroy"))
        .with(Element::new("on_reboot").text("restart"))
        .with(Element::new("on_crash").text("destroy"))
        .with(all_devices(wanted, machine));
    root.to_xml()
}

/// `<memory>` is the most that there can be, `<currentMemory>` what the balloon leaves.
fn memory(root: &mut Element, spec: &VirtualMachineSpec) {
    let Some(max) = spec.max_memory.or(spec.memory) else { return };
    let current = spec.memory.unwrap_or(max);
    root.push(Element::new("memory").attr("unit", "KiB").text(max.kib()));
    root.push(Element::new("currentMemory").attr("unit", "KiB").text(current.kib()));
}

/// How many CPUs a topology has.
pub(super) fn cpus_of(topology: &CpuTopology) -> u32 {
    topology.sockets.saturating_mul(topology.cores).saturating_mul(topology.threads)
}

/// How many vCPUs run, and how many there can be.
fn vcpus(cpu: &Cpu) -> (u32, u32) {
    let product = cpu.topology.as_ref().map(cpus_of);
    let count = cpu.count.or(product).or(cpu.max).unwrap_or(1);
    (count, cpu.max.or(product).unwrap_or(count).max(count))
}

pub(super) fn vcpu(count: u32, max: u32) -> Element {
    Element::new("vcpu").attr("placement", "static").attr_opt("current", (count != max).then_some(count)).text(max)
}

/// The features of the firmware that are asked for, both ways: unasked, libvirt takes what its first descriptor has.
pub(super) fn secure_boot(on: bool) -> Element {
    let feature = |name| Element::new("feature").attr("enabled", if on { "yes" } else { "no" }).attr("name", name);
    Element::new("firmware").with(feature("enrolled-keys")).with(feature("secure-boot"))
}

/// `<cpu>`; none where nothing is asked.
pub(super) fn cpu_element(cpu: &Cpu) -> Option<Element> {
    let topology = cpu.topology.as_ref().map(topology);
    let element = match cpu.model.as_deref() {
        None if topology.is_none() => return None,
        None => Element::new("cpu"),
        Some(model) => with_model(Element::new("cpu"), model),
    };
    Some(element.with_opt(topology))
}

/// How the vCPUs are arranged.
pub(super) fn topology(wanted: &CpuTopology) -> Element {
    Element::new("topology").attr("sockets", wanted.sockets).attr("cores", wanted.cores).attr("threads", wanted.threads)
}

/// The mode or model of a `<cpu>`.
pub(super) fn with_model(cpu: Element, model: &str) -> Element {
    match model {
        "host-passthrough" | "maximum" => cpu.attr("mode", model).attr("check", "none").attr("migratable", "on"),
        "host-model" => cpu.attr("mode", model).attr("check", "partial"),
        name => {
            cpu.attr("mode", "custom").attr("match", "exact").with(Element::new("model").attr("fallback", "forbid").text(name))
        }
    }
}

fn all_devices(wanted: &DomainWanted, machine: &str) -> Element {
    let spec = &wanted.spec;
    let pcie = machine_family(machine) == "q35" || machine_family(machine).starts_with("virt");
    let vnc = spec.console.as_ref().and_then(|console| console.vnc.as_ref());
    let serial = spec.console.as_ref().and_then(|console| console.serial).unwrap_or(true);
    let agent = spec.guest_agent.unwrap_or(true);
    let on_pci = wanted.disks.iter().filter(|disk| disk.bus == "virtio").count()
        + wanted.interfaces.len()
        + usize::from(wanted.seed.is_some());
    // USB, virtio-scsi, virtio-serial, balloon and random numbers stand on a port each.
    let ports = u32::try_from(on_pci).unwrap_or(u32::MAX).saturating_add(5).saturating_add(wanted.spare_ports);
    let mut root = Element::new("devices")
        .with_all(wanted.disks.iter().map(devices::disk))
        .with_opt(wanted.seed.as_ref().map(|path| devices::seed(path, &devices::free_target("vd", &targets(&wanted.disks)))));
    if pcie {
        let pci =
            |index: u32, model: &str| Element::new("controller").attr("type", "pci").attr("index", index).attr("model", model);
        root.push(Element::new("controller").attr("type", "usb").attr("index", 0).attr("model", "qemu-xhci").attr("ports", 15));
        root.push(pci(0, "pcie-root"));
        root = root.with_all((1..=ports).map(|index| pci(index, "pcie-root-port").with_opt(port_address(index))));
    }
    root.with(devices::scsi_controller())
        .with(Element::new("controller").attr("type", "virtio-serial").attr("index", 0))
        .with_all(wanted.interfaces.iter().map(devices::nic))
        .with_all(serial.then(devices::serial).into_iter().flatten())
        .with_opt(agent.then(|| devices::channel(AGENT_CHANNEL)))
        .with_all(vnc.map(|vnc| devices::screen(vnc, wanted.vnc_password_token.as_deref())).into_iter().flatten())
        .with(Element::new("memballoon").attr("model", "virtio").with(Element::new("stats").attr("period", 10)))
        .with(
            Element::new("rng")
                .attr("model", "virtio")
                .with(Element::new("backend").attr("model", "random").text("/dev/urandom")),
        )
}

/// Where a port stands. Slot 1 stays free: the screen's card must be there, also one that comes later. Past slot 30 libvirt finds
/// a place.
fn port_address(index: u32) -> Option<Element> {
    let (slot, function) = (2 + (index - 1) / 8, (index - 1) % 8);
    let address = Element::new("address")
        .attr("type", "pci")
        .attr("domain", "0x0000")
        .attr("bus", "0x00")
        .attr("slot", format!("0x{slot:02x}"))
        .attr("function", format!("0x{function:x}"))
        .attr_opt("multifunction", (function == 0).then_some("on"));
    (slot <= 30).then_some(address)
}

fn targets(disks: &[DiskWanted]) -> Vec<&str> {
    disks.iter().map(|disk| disk.target.as_str()).collect()
}
