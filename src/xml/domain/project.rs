//! Reading a domain's document. Whatever stands in it, it reads: what jvp doesn't know is passed over.
//!
//! Values are read in their normal form: sizes in whole KiB rounded up, MACs in lower case, libvirt's defaults where it drops
//! them. The machine stays as it stands; `machine_matches` compares it.

use std::collections::BTreeSet;

use roxmltree::Node;

use super::doc::{DiskDoc, DomainDoc, InterfaceDoc, VncDoc};
use super::{AGENT_CHANNEL, DISK_ALIAS, NIC_ALIAS, SEED_ALIAS, limits};
use crate::manifest::{
    Accelerator, Console, Cpu, CpuTopology, Disk, DiskBus, DiskDevice, Firmware, FirmwareType, Interface, LinkState,
    VirtualMachineSpec, Vnc,
};
use crate::name::{ByteSize, DeviceName, MacAddr};
use crate::xml::{Hidden, Mark, XmlError, read};

/// Reads a domain's document, live or inactive.
pub fn project(text: &str) -> Result<DomainDoc, XmlError> {
    Ok(project_root(read::parse_root(text, "domain")?.root_element()))
}

/// Reads what stands below a `<domain>`.
pub(super) fn project_root(root: Node<'_, '_>) -> DomainDoc {
    let os = read::child(root, "os");
    let kind = os.and_then(|os| read::child(os, "type"));
    let machine = kind.and_then(|node| read::attr(node, "machine")).unwrap_or_default().to_owned();
    let virt_type = read::attr(root, "type").unwrap_or_default().to_owned();
    let devices = read::child(root, "devices");
    let all = |name: &'static str| devices.into_iter().flat_map(move |devices| read::children(devices, name));
    let disks: Vec<DiskDoc> = kept(all("disk").map(disk));
    let interfaces: Vec<InterfaceDoc> = kept(all("interface").map(interface));
    let vnc = all("graphics").find(|node| read::attr(*node, "type") == Some("vnc")).map(vnc);
    let (memory, max_memory) = memory(root);
    let aliases: BTreeSet<String> = devices
        .iter()
        .flat_map(Node::children)
        .filter_map(|device| read::attr_at(device, &["alias"], "name"))
        .filter(|name| name.starts_with("ua-"))
        .map(str::to_owned)
        .collect();
    let nvram = os.and_then(|os| read::child(os, "nvram")).and_then(|node| {
        let text = read::text(node).trim().to_owned();
        if text.is_empty() { read::attr_at(node, &["source"], "file").map(str::to_owned) } else { Some(text) }
    });
    // Of a document that has both, which libvirt refuses, the places of devices are what counts: a patch drops the others.
    let ordered = devices.iter().flat_map(Node::children).any(|device| read::attr_at(device, &["boot"], "order").is_some());
    let channel = all("channel").find(|node| read::attr_at(*node, &["target"], "name") == Some(AGENT_CHANNEL));
    let agent = channel.is_some();
    let agent_connected = channel.is_some_and(|node| read::attr_at(node, &["target"], "state") == Some("connected"));
    let spec = VirtualMachineSpec {
        cpu: Some(cpu(root)),
        memory,
        max_memory,
        firmware: os.map(firmware),
        machine: (!machine.is_empty()).then(|| machine.clone()),
        disks: kept(disks.iter().filter(|disk| !disk.seed).filter_map(spec_disk)),
        interfaces: kept(interfaces.iter().filter_map(spec_interface)),
        console: Some(Console { serial: Some(all("serial").next().is_some()), vnc: vnc.as_ref().map(spec_vnc) }),
        accelerator: match virt_type.as_str() {
            "kvm" => Some(Accelerator::KVM),
            "qemu" => Some(Accelerator::TCG),
            _ => None,
        },
        guest_agent: Some(agent),
        title: read::child(root, "title").map(read::text).filter(|text| !text.is_empty()),
        description: read::child(root, "description").map(read::text).filter(|text| !text.is_empty()),
        ..VirtualMachineSpec::default()
    };
    let mut doc = DomainDoc {
        uuid: read::text_at(root, &["uuid"]).and_then(|text| text.parse().ok()).unwrap_or_default(),
        name: read::text_at(root, &["name"]).unwrap_or_default(),
        agent_connected,
        boots_by_kind: os.is_some_and(|os| read::child(os, "boot").is_some()) && !ordered,
        id: read::parsed(root, "id"),
        virt_type,
        arch: kind.and_then(|node| read::attr(node, "arch")).unwrap_or_default().to_owned(),
        machine,
        emulator: read::text_at(root, &["devices", "emulator"]),
        spec,
        disks,
        interfaces,
        mark: Mark::find(root),
        nvram,
        vnc,
        aliases,
        uses: BTreeSet::new(),
        uses_volumes: BTreeSet::new(),
    };
    uses(root, &mut doc);
    doc
}

/// A list as long as what is in it: of many domains what a list could hold besides is as much as all else.
fn kept<T>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = all.collect();
    all.shrink_to_fit();
    all
}

/// The balloon's target and the most memory, in whole KiB. A missing or too high target is all of it, as libvirt has it.
fn memory(root: Node<'_, '_>) -> (Option<ByteSize>, Option<ByteSize>) {
    let kib = |name| {
        let bytes = read::size(read::child(root, name)?, "KiB")?;
        (bytes > 0).then(|| ByteSize::from_bytes(bytes).round_up(1024))
    };
    let max = kib("memory");
    let current = kib("currentMemory").filter(|current| max.is_none_or(|max| *current <= max));
    (current.or(max), max)
}

fn cpu(root: Node<'_, '_>) -> Cpu {
    let vcpu = read::child(root, "vcpu");
    let max: Option<u32> = match vcpu {
        Some(node) => read::text(node).trim().parse().ok(),
        None => Some(1),
    };
    let count = vcpu.and_then(|node| read::parsed(node, "current")).or(max);
    let node = read::child(root, "cpu");
    let model = node.and_then(|node| match read::attr(node, "mode") {
        Some(mode) if mode != "custom" => Some(mode.to_owned()),
        _ => read::text_at(node, &["model"]),
    });
    let topology = node.and_then(|node| read::child(node, "topology")).and_then(|node| {
        // Dies and clusters, which the language lacks, count as cores: so the product stays what it is.
        let more = read::parsed::<u32>(node, "dies").unwrap_or(1).saturating_mul(read::parsed(node, "clusters").unwrap_or(1));
        Some(CpuTopology {
            sockets: read::parsed(node, "sockets")?,
            cores: read::parsed::<u32>(node, "cores")?.saturating_mul(more),
            threads: read::parsed(node, "threads")?,
        })
    });
    Cpu { count, max, model, topology }
}

fn firmware(os: Node<'_, '_>) -> Firmware {
    let loader = read::child(os, "loader");
    let flash = loader.is_some_and(|node| read::attr(node, "type") == Some("pflash"));
    let uefi = flash || read::attr(os, "firmware") == Some("efi");
    let feature = read::child(os, "firmware")
        .into_iter()
        .flat_map(|node| read::children(node, "feature"))
        .find(|node| read::attr(*node, "name") == Some("secure-boot"))
        .and_then(|node| read::attr(node, "enabled"))
        .map(|enabled| enabled == "yes");
    let secure = feature.or_else(|| loader.map(|node| read::attr(node, "secure") == Some("yes")));
    Firmware {
        firmware_type: Some(if uefi { FirmwareType::UEFI } else { FirmwareType::BIOS }),
        secure_boot: if uefi { secure } else { Some(false) },
    }
}

/// The name that an alias of jvp's carries, or one of the user's own that could be such a name.
fn device_name(device: Node<'_, '_>, prefix: &str) -> Option<DeviceName> {
    let alias = read::attr_at(device, &["alias"], "name")?;
    alias.strip_prefix(prefix).or_else(|| alias.strip_prefix("ua-"))?.parse().ok()
}

fn source_path(source: Node<'_, '_>) -> Option<String> {
    ["file", "dev", "dir"].iter().find_map(|name| read::attr(source, name)).map(str::to_owned)
}

fn disk(node: Node<'_, '_>) -> DiskDoc {
    let owned = |path: &[&str], name: &str| read::attr_at(node, path, name).map(str::to_owned);
    let alias = read::attr_at(node, &["alias"], "name");
    let seed = alias == Some(SEED_ALIAS);
    let target = owned(&["target"], "dev").unwrap_or_default();
    let name = if seed { None } else { device_name(node, DISK_ALIAS) };
    let key = if seed { None } else { name.clone().or_else(|| target.parse().ok()) };
    let source = read::child(node, "source");
    let device = read::attr(node, "device").unwrap_or("disk").to_owned();
    let mut chain = Vec::new();
    let mut next = read::child(node, "backingStore");
    while let Some(store) = next {
        chain.extend(read::child(store, "source").and_then(source_path));
        next = read::child(store, "backingStore");
    }
    DiskDoc {
        name,
        key,
        seed,
        bus: owned(&["target"], "bus").unwrap_or_else(|| guessed_bus(&target).to_owned()),
        target,
        source: source.and_then(source_path),
        source_kind: read::attr(node, "type").unwrap_or("file").to_owned(),
        source_volume: source
            .and_then(|source| Some((read::attr(source, "pool")?.to_owned(), read::attr(source, "volume")?.to_owned()))),
        format: owned(&["driver"], "type"),
        chain,
        read_only: read::child(node, "readonly").is_some() || device == "cdrom",
        device,
        shareable: read::child(node, "shareable").is_some(),
        boot_order: read::child(node, "boot").and_then(|node| read::parsed(node, "order")),
        serial: read::text_at(node, &["serial"]),
        limits: read::child(node, "iotune").map(limits::project).unwrap_or_default(),
        limits_group: read::text_at(node, &["iotune", "group_name"]),
    }
}

/// The bus that libvirt takes for a target that names none.
fn guessed_bus(target: &str) -> &'static str {
    match target.get(..2) {
        Some("vd") => "virtio",
        Some("hd") => "ide",
        Some("sd") => "scsi",
        Some("fd") => "fdc",
        Some("xv") => "xen",
        _ => "",
    }
}

fn spec_disk(doc: &DiskDoc) -> Option<Disk> {
    Some(Disk {
        name: doc.key.clone()?,
        volume: None,
        claim: None,
        image: None,
        device: match doc.device.as_str() {
            "disk" => Some(DiskDevice::Disk),
            "cdrom" => Some(DiskDevice::Cdrom),
            _ => None,
        },
        bus: match doc.bus.as_str() {
            "virtio" => Some(DiskBus::Virtio),
            "scsi" => Some(DiskBus::Scsi),
            "sata" => Some(DiskBus::Sata),
            _ => None,
        },
        boot_order: doc.boot_order,
        read_only: Some(doc.read_only),
        limits: (!doc.limits.is_empty()).then(|| doc.limits.clone()),
    })
}

fn interface(node: Node<'_, '_>) -> InterfaceDoc {
    let owned = |path: &[&str], name: &str| read::attr_at(node, path, name).map(str::to_owned);
    let mac: Option<MacAddr> = read::child(node, "mac").and_then(|node| read::parsed(node, "address"));
    let name = device_name(node, NIC_ALIAS);
    InterfaceDoc {
        key: name.clone().or_else(|| mac?.to_string().replace(':', "-").parse().ok()),
        name,
        mac,
        kind: read::attr(node, "type").unwrap_or_default().to_owned(),
        network: owned(&["source"], "network"),
        bridge: owned(&["source"], "bridge"),
        port: super::plug::port(node),
        target: owned(&["target"], "dev"),
        model: owned(&["model"], "type").map(|model| model.to_ascii_lowercase()),
        link_up: read::attr_at(node, &["link"], "state") != Some("down"),
        boot_order: read::child(node, "boot").and_then(|node| read::parsed(node, "order")),
    }
}

fn spec_interface(doc: &InterfaceDoc) -> Option<Interface> {
    Some(Interface {
        name: doc.key.clone()?,
        network: doc.network.as_ref().and_then(|name| name.parse().ok()),
        mac: doc.mac,
        ip: None,
        model: doc.model.clone(),
        link_state: Some(if doc.link_up { LinkState::Up } else { LinkState::Down }),
    })
}

fn vnc(node: Node<'_, '_>) -> VncDoc {
    let listen = |kind: &str, name: &str| {
        read::children(node, "listen")
            .find(|listen| read::attr(*listen, "type") == Some(kind))
            .and_then(|listen| read::attr(listen, name))
            .or_else(|| read::attr(node, if kind == "address" { "listen" } else { name }))
            .map(str::to_owned)
    };
    VncDoc {
        listen: listen("address", "address"),
        port: read::parsed(node, "port"),
        socket: listen("socket", "socket"),
        password: read::attr(node, "passwd").map(Hidden::new),
    }
}

fn spec_vnc(doc: &VncDoc) -> Vnc {
    Vnc { listen: doc.listen.as_ref().and_then(|text| text.parse().ok()), password: None, socket: doc.socket.clone() }
}

/// Gathers every path of the host's that a domain holds, wherever it stands.
fn uses(root: Node<'_, '_>, doc: &mut DomainDoc) {
    if let Some(os) = read::child(root, "os") {
        for node in os.children().filter(Node::is_element) {
            let text = read::text(node);
            if matches!(node.tag_name().name(), "kernel" | "initrd" | "dtb" | "shim" | "loader" | "nvram") {
                doc.uses.insert(text.trim().to_owned());
            }
            doc.uses.extend(read::attr(node, "template").map(str::to_owned));
            doc.uses.extend(read::child(node, "source").and_then(source_path));
        }
    }
    let Some(devices) = read::child(root, "devices") else { return };
    for device in devices.children().filter(Node::is_element) {
        for node in device.descendants().filter(Node::is_element) {
            match node.tag_name().name() {
                "source" => {
                    doc.uses.extend(source_path(node));
                    doc.uses.extend(read::text_at(node, &["block"]));
                    doc.uses.extend(read::text_at(node, &["char"]));
                    doc.uses.extend(read::text_at(node, &["path"]));
                    // A serial port, channel or TPM that writes to a file.
                    if matches!(read::attr(device, "type"), Some("file" | "dev")) {
                        doc.uses.extend(read::attr(node, "path").map(str::to_owned));
                    }
                    if let (Some(pool), Some(volume)) = (read::attr(node, "pool"), read::attr(node, "volume")) {
                        doc.uses_volumes.insert((pool.to_owned(), volume.to_owned()));
                    }
                }
                "backend" => doc.uses.extend(read::attr_at(node, &["device"], "path").map(str::to_owned)),
                "rom" => doc.uses.extend(read::attr(node, "file").map(str::to_owned)),
                _ => {}
            }
        }
    }
    doc.uses.retain(|path| path.starts_with('/'));
}
