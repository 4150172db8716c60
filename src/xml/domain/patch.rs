//! Changing a domain's document: what is wanted is set, what is to go is dropped, and all else stays: UUID, MACs, addresses,
//! controllers, variables of the firmware, and whatever jvp doesn't know.
//!
//! It takes the inactive document, never a live one, and does not know what a change does to a running guest.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::devices;
use super::fragment::parse_fragment;
use super::merge::merge_dropping;
use super::patch_devices::{self as device, Found};
use super::render::{self, DiskWanted, NicWanted};
use super::{AGENT_CHANNEL, SEED_ALIAS, machine_family, machine_matches};
use crate::manifest::{Accelerator, Cpu, Firmware, FirmwareType, VirtualMachineSpec};
use crate::name::ByteSize;
use crate::xml::tree::Element;
use crate::xml::volume::Backing;
use crate::xml::{Mark, XmlError, pointer, read};

/// What is to change in a domain's document. Drops come first, then what is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DomainPatch {
    /// The fields to be set. What is unset is left alone; its disks and interfaces are not looked at.
    pub set: VirtualMachineSpec,
    /// Pointers to what is to be removed: `/title`, `/maxMemory`, `/cpu/topology`, `/disks/data`, `/disks/root/bootOrder`,
    /// `/interfaces/lan`, `/console/vnc/password`, `/cloudInit` (the seed's disk). Others, such as `/machine`, change nothing.
    pub drop: BTreeSet<String>,
    /// Disks to be added, or brought into this state where there is one of that name.
    pub disks: Vec<DiskWanted>,
    /// Interfaces to be added, or brought into this state where there is one of that name.
    pub interfaces: Vec<NicWanted>,
    /// The path of a seed, in the place of the one that is there.
    pub seed: Option<String>,
    /// What lies beneath disks by now, by their names; the documents of others, and those that tell no chain, are left alone.
    pub chains: BTreeMap<String, Vec<Backing>>,
    /// What is written for the VNC password.
    pub vnc_password_token: Option<String>,
    /// The fragment of the user's, merged after all else.
    pub fragment: Option<FragmentPatch>,
    /// The new mark, where it changes.
    #[serde(serialize_with = "mark_text")]
    pub mark: Option<Mark>,
}

/// What a fragment of the user's is to change in a document.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FragmentPatch {
    /// The fragment; none where there is none any more. It may hold secrets, so it shows as its digest alone.
    #[serde(skip)]
    pub text: Option<String>,
    /// SHA-256 of the text, hex.
    pub digest: Option<String>,
    /// The leaves of an earlier fragment that this one has no more, `…/+` for whole elements.
    pub drop: BTreeSet<String>,
}

impl std::fmt::Debug for FragmentPatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FragmentPatch").field("digest", &self.digest).field("drop", &self.drop).finish_non_exhaustive()
    }
}

#[expect(clippy::ref_option, reason = "as serde hands it over")]
fn mark_text<S: serde::Serializer>(mark: &Option<Mark>, serializer: S) -> Result<S::Ok, S::Error> {
    mark.as_ref().map(Mark::to_xml).serialize(serializer)
}

impl DomainPatch {
    /// A patch of plain fields only.
    pub fn new(set: VirtualMachineSpec, drop: BTreeSet<String>) -> Self {
        Self { set, drop, ..Self::default() }
    }

    /// Whether it changes nothing but, perhaps, the mark.
    pub fn is_empty(&self) -> bool {
        let Self { set, drop, disks, interfaces, seed, chains, vnc_password_token, fragment, mark: _ } = self;
        *set == VirtualMachineSpec::default()
            && drop.is_empty()
            && disks.is_empty()
            && interfaces.is_empty()
            && seed.is_none()
            && chains.is_empty()
            && vnc_password_token.is_none()
            && fragment.is_none()
    }
}

/// The document with the patch in it.
///
/// # Errors
///
/// It can't be read, or asks for other memory than NUMA cells and memory devices come to in the end.
pub fn patch(document: &str, change: &DomainPatch) -> Result<String, XmlError> {
    let mut root = Element::parse_root(document, "domain")?;
    for path in &change.drop {
        let segments = pointer::split(path);
        drop_path(&mut root, &segments.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    let set = &change.set;
    for (name, text) in [("title", &set.title), ("description", &set.description)] {
        if let Some(text) = text {
            root.ensure(name).set_text(text);
        }
    }
    match set.accelerator {
        Some(Accelerator::KVM) => root.set("type", "kvm"),
        Some(Accelerator::TCG) => root.set("type", "qemu"),
        Some(Accelerator::Auto) | None => {}
    }
    let resized = set_memory(&mut root, set.memory, set.max_memory);
    if let Some(cpu) = &set.cpu {
        set_cpu(&mut root, cpu);
    }
    if let Some(machine) = &set.machine {
        let kind = root.ensure("os").ensure("type");
        if !machine_matches(machine, kind.get("machine").unwrap_or_default()) {
            kind.set("machine", machine);
        }
    }
    if let Some(firmware) = &set.firmware {
        set_firmware(&mut root, firmware);
    }
    let list = root.ensure("devices");
    for disk in &change.disks {
        device::put_disk(list, disk);
    }
    for nic in &change.interfaces {
        device::put_nic(list, nic);
    }
    for (name, chain) in &change.chains {
        device::put_chain(list, name, chain);
    }
    if let Some(path) = &change.seed {
        device::put_seed(list, path);
    }
    if let Some(console) = &set.console {
        device::put_console(list, console);
    }
    if let Some(agent) = set.guest_agent {
        put_agent(list, agent);
    }
    if let Some(token) = &change.vnc_password_token
        && let Some(graphics) = device::vnc(list)
    {
        graphics.set("passwd", token);
    }
    // Places of devices and places of kinds of devices exclude one another.
    let ordered = list.elements().any(|element| element.child("boot").is_some_and(|boot| boot.get("order").is_some()));
    if ordered && let Some(os) = root.child_mut("os") {
        os.remove_named("boot");
    }
    if let Some(mark) = &change.mark {
        mark.put(&mut root);
    }
    let text = match &change.fragment {
        None => root.to_xml(),
        Some(fragment) => {
            let parsed = parse_fragment(fragment.text.as_deref().unwrap_or("<domain/>"))?;
            merge_dropping(&root.to_xml(), &parsed, &fragment.drop)?
        }
    };
    if resized {
        agrees_with_cells(&Element::parse_root(&text, "domain")?)?;
    }
    Ok(text)
}

/// The element of one device, as it stands in a document: `/disks/NAME`, `/interfaces/NAME`, `/cloudInit` (the seed's disk),
/// `/console/vnc` or `/guestAgent`.
///
/// # Errors
///
/// The document can't be read.
pub fn device(document: &str, path: &str) -> Result<Option<String>, XmlError> {
    let mut root = Element::parse_root(document, "domain")?;
    let Some(list) = root.child_mut("devices") else { return Ok(None) };
    let segments = pointer::split(path);
    let found = match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["disks", name, ..] => device::find(list, Found::Disk, name),
        ["interfaces", name, ..] => device::find(list, Found::Nic, name),
        ["cloudInit", ..] => list.elements_mut().find(|element| device::alias(element) == Some(SEED_ALIAS)),
        ["console", "vnc", ..] => device::vnc(list),
        ["guestAgent"] => list.elements_mut().find(|element| is_agent(element)),
        _ => None,
    };
    Ok(found.map(|element| element.to_xml()))
}

/// How many more devices of a bus can be plugged into a running domain: it has what they hang on, and free ports where they need
/// one. What libvirt would make up for one (an lsilogic controller for a scsi disk) counts as not there. A port that one of `unplugged`
/// has, disks by their targets and interfaces by their MACs, counts as free.
///
/// # Errors
///
/// The document can't be read.
pub fn free_ports(document: &str, bus: &str, unplugged: &BTreeSet<String>) -> Result<usize, XmlError> {
    let root = Element::parse_root(document, "domain")?;
    let Some(list) = root.child("devices") else { return Ok(0) };
    let is = |element: &&Element, name: &str, value: &str| element.name == "controller" && element.get(name) == Some(value);
    match bus {
        "scsi" if list.elements().any(|element| is(&element, "model", "virtio-scsi")) => Ok(usize::MAX),
        "virtio" => {
            let machine = root.child("os").and_then(|os| os.child("type")).and_then(|kind| kind.get("machine"));
            // A plain PCI bus has thirty slots.
            if machine_family(machine.unwrap_or_default()) != "q35" {
                return Ok(usize::MAX);
            }
            let goes = |element: &&Element| {
                let known_by = match &*element.name {
                    "disk" => element.child("target").and_then(|target| target.get("dev")),
                    "interface" => element.child("mac").and_then(|mac| mac.get("address")),
                    _ => None,
                };
                known_by.is_some_and(|name| unplugged.contains(name))
            };
            let stays = list.elements().filter(|element| !goes(element));
            let taken: BTreeSet<u64> = stays.filter_map(|element| number(element.child("address")?.get("bus")?)).collect();
            let ports = list.elements().filter(|element| is(element, "model", "pcie-root-port"));
            Ok(ports.filter_map(|port| number(port.get("index")?)).filter(|index| !taken.contains(index)).count())
        }
        _ => Ok(0),
    }
}

/// How many vCPUs a guest could be asked to give back: those that were plugged in while it runs.
///
/// # Errors
///
/// The document can't be read.
pub fn pluggable_vcpus(document: &str) -> Result<u32, XmlError> {
    let root = Element::parse_root(document, "domain")?;
    let all = root.child("vcpus").into_iter().flat_map(Element::elements);
    let plugged = all.filter(|vcpu| vcpu.get("enabled") == Some("yes") && vcpu.get("hotpluggable") == Some("yes"));
    Ok(u32::try_from(plugged.count()).unwrap_or(u32::MAX))
}

/// A number as libvirt writes it, decimal or hexadecimal.
fn number(text: &str) -> Option<u64> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
}

/// A domain's or network's document without jvp's mark. Aliases stay, for they are its devices' names by now.
pub fn disown(document: &str) -> Result<String, XmlError> {
    let mut root = Element::parse(document)?;
    Mark::remove(&mut root);
    Ok(root.to_xml())
}

fn kib(root: &Element, name: &str) -> Option<u64> {
    let element = root.child(name)?;
    Some(read::scaled(element.text_content().trim(), element.get("unit").unwrap_or("KiB"))?.div_ceil(1024))
}

fn put_kib(root: &mut Element, name: &str, kib: u64) {
    let element = root.ensure(name);
    element.set("unit", "KiB");
    element.set_text(kib);
}

/// Whether the memory is what NUMA cells and memory devices come to, where there are cells: libvirt reckons it so, whatever is written.
fn agrees_with_cells(root: &Element) -> Result<(), XmlError> {
    let Some(numa) = root.child("cpu").and_then(|cpu| cpu.child("numa")) else { return Ok(()) };
    let size =
        |text: &str, unit: Option<&str>| read::scaled(text.trim(), unit.unwrap_or("KiB")).map_or(0, |size| size.div_ceil(1024));
    let cells: u64 = numa.elements().map(|cell| size(cell.get("memory").unwrap_or_default(), cell.get("unit"))).sum();
    let devices = root.child("devices").into_iter().flat_map(Element::elements).filter(|device| device.name == "memory");
    let plugged: u64 = devices
        .filter_map(|device| device.child("target")?.child("size"))
        .map(|element| size(&element.text_content(), element.get("unit")))
        .sum();
    let memory = kib(root, "memory").unwrap_or_default();
    if memory == cells + plugged {
        return Ok(());
    }
    Err(XmlError::new(format!(
        "its NUMA cells and memory devices come to {} KiB, and not to {memory}: change them in `xml`, or the memory to that",
        cells + plugged
    )))
}

/// True where there is another maximum then.
fn set_memory(root: &mut Element, memory: Option<ByteSize>, max: Option<ByteSize>) -> bool {
    if memory.is_none() && max.is_none() {
        return false;
    }
    let old_max = kib(root, "memory").unwrap_or_default();
    let old = kib(root, "currentMemory").unwrap_or(old_max);
    let current = memory.map_or(old, ByteSize::kib);
    let new_max = match max {
        Some(max) => max.kib(),
        // Where nobody spoke of a maximum, it goes with the memory.
        None if old == old_max => current,
        None => old_max.max(current),
    };
    put_kib(root, "memory", new_max);
    put_kib(root, "currentMemory", current.min(new_max));
    new_max != old_max
}

fn set_cpu(root: &mut Element, wanted: &Cpu) {
    // A topology is that of all CPUs that there can be.
    let product = wanted.topology.as_ref().map(render::cpus_of);
    if wanted.count.is_some() || wanted.max.is_some() || product.is_some() {
        let (old, old_max) = vcpus(root);
        let count = wanted.count.unwrap_or(if old == old_max { product.unwrap_or(old) } else { old });
        let max = match wanted.max.or(product) {
            Some(max) => max,
            None if old == old_max => count,
            None => old_max.max(count),
        };
        put_vcpu(root, count.min(max), max);
    }
    if let Some(model) = &wanted.model {
        let cpu = root.ensure("cpu");
        for name in ["mode", "match", "check", "migratable"] {
            cpu.unset(name);
        }
        for name in ["model", "vendor"] {
            cpu.remove_named(name);
        }
        *cpu = render::with_model(std::mem::take(cpu), model);
    }
    if let Some(topology) = &wanted.topology {
        let cpu = root.ensure("cpu");
        cpu.remove_named("topology");
        cpu.push(render::topology(topology));
    }
}

/// How many vCPUs run at a start, and how many there can be.
fn vcpus(root: &Element) -> (u32, u32) {
    let Some(vcpu) = root.child("vcpu") else { return (1, 1) };
    let max = vcpu.text_content().trim().parse().unwrap_or(1);
    (vcpu.get("current").and_then(|count| count.parse().ok()).unwrap_or(max), max)
}

fn put_vcpu(root: &mut Element, count: u32, max: u32) {
    let changed = vcpus(root) != (count, max);
    let vcpu = root.ensure("vcpu");
    vcpu.set_text(max);
    vcpu.unset("current");
    if count != max {
        vcpu.set("current", count);
    }
    // A list of each vCPU's state would contradict the new count.
    if changed {
        root.remove_named("vcpus");
    }
}

/// The old loader, variables and features don't fit another choice: libvirt finds new ones.
fn set_firmware(root: &mut Element, wanted: &Firmware) {
    let uefi = wanted.firmware_type.map_or_else(|| is_uefi(root), |kind| kind == FirmwareType::UEFI);
    let Some(secure) = wanted.secure_boot else {
        if uefi != is_uefi(root) {
            strip_firmware(root, uefi);
        }
        return;
    };
    if uefi == is_uefi(root) && (!uefi || is_secure(root) == Some(secure)) {
        return;
    }
    strip_firmware(root, uefi);
    if uefi {
        root.ensure("os").push(render::secure_boot(secure));
    }
    let features = root.ensure("features");
    features.remove_named("smm");
    if uefi {
        features.ensure("acpi");
    }
    if uefi && secure {
        features.push(Element::new("smm").attr("state", "on"));
    }
}

fn is_uefi(root: &Element) -> bool {
    root.child("os").is_some_and(|os| {
        os.get("firmware") == Some("efi") || os.child("loader").is_some_and(|loader| loader.get("type") == Some("pflash"))
    })
}

fn is_secure(root: &Element) -> Option<bool> {
    let os = root.child("os")?;
    let feature = os
        .child("firmware")
        .and_then(|firmware| firmware.elements().find(|feature| feature.get("name") == Some("secure-boot")))
        .and_then(|feature| feature.get("enabled"))
        .map(|enabled| enabled == "yes");
    feature.or_else(|| os.child("loader").map(|loader| loader.get("secure") == Some("yes")))
}

fn strip_firmware(root: &mut Element, uefi: bool) {
    let os = root.ensure("os");
    for name in ["loader", "nvram", "firmware"] {
        os.remove_named(name);
    }
    os.unset("firmware");
    if uefi {
        os.set("firmware", "efi");
    }
}

fn is_agent(element: &Element) -> bool {
    element.name == "channel" && element.child("target").is_some_and(|target| target.get("name") == Some(AGENT_CHANNEL))
}

fn put_agent(list: &mut Element, wanted: bool) {
    let there = list.elements().any(is_agent);
    if wanted && !there {
        list.push(devices::channel(AGENT_CHANNEL));
    } else if !wanted {
        list.remove(is_agent);
    }
}

fn drop_path(root: &mut Element, path: &[&str]) -> Result<(), XmlError> {
    match path {
        ["title" | "description"] => {
            root.remove_named(path[0]);
        }
        ["maxMemory"] => {
            if let Some(current) = kib(root, "currentMemory")
                && set_memory(root, None, Some(ByteSize::from_bytes(current.saturating_mul(1024))))
            {
                agrees_with_cells(root)?;
            }
        }
        ["cpu", "max"] => {
            let (count, _) = vcpus(root);
            put_vcpu(root, count, count);
        }
        ["cpu", "topology", ..] => {
            if let Some(cpu) = root.child_mut("cpu") {
                cpu.remove_named("topology");
            }
        }
        ["guestAgent"] => put_agent(root.ensure("devices"), false),
        ["cloudInit"] => {
            root.ensure("devices").remove(|element| device::alias(element) == Some(SEED_ALIAS));
        }
        ["console", "serial"] => device::drop_serial(root.ensure("devices")),
        ["console", "vnc", rest @ ..] => device::drop_vnc(root.ensure("devices"), rest),
        ["disks", name, rest @ ..] => device::drop_leaf(root.ensure("devices"), Found::Disk, name, rest),
        ["interfaces", name, rest @ ..] => device::drop_leaf(root.ensure("devices"), Found::Nic, name, rest),
        _ => {}
    }
    Ok(())
}
