//! Domains.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jvp::manifest::{Accelerator, DiskBus, DiskDevice, Document, Spec, VirtualMachineSpec};
use jvp::name::{ByteSize, MacAddr};
use jvp::xml::Mark;
use jvp::xml::domain::{
    DiskWanted, DomainDoc, DomainPatch, DomainWanted, NicSource, NicWanted, SPARE_PORTS, beside, device, disown, free_ports,
    machine_matches, next_target, parse_fragment, patch, pending, plug_texts, pluggable_vcpus, project, render,
};
use roxmltree::Node;
use serde_json::Value;
use uuid::Uuid;

use super::super::shape::{self, Except};

use super::stands_in;

pub(super) fn target(text: &str, wanted: &[Arc<Document>]) {
    let vm = wanted.iter().find_map(|document| match &*document.spec {
        Spec::VirtualMachine(spec) => Some((document, spec)),
        _ => None,
    });
    if let Some((document, spec)) = vm {
        is_written(document, spec);
    }
    let Ok(doc) = project(text) else { return };
    let Ok(same) = patch(text, &DomainPatch::default()) else { return };
    shape::same(text, &same, &BARE);
    let again = project(&same);
    assert_eq!(again.as_ref(), Ok(&doc), "{text}\n{same}");
    assert_eq!(patch(&same, &DomainPatch::default()).as_ref(), Ok(&same), "what is written is written alike");
    assert_eq!(pending(text, text).map(|paths| paths.len()), Ok(0), "{text}");
    tells_alike(text, &doc);
    if let Some((document, spec)) = vm {
        is_patched(text, &doc, document, spec);
    }
}

/// `<devices>` is there after each patch, and no order of kinds of devices where there is one of devices.
const BARE: Except<'static> = Except {
    element: &|node, parent| parent == "os" && node.has_tag_name("boot"),
    hollow: &["devices", "os"],
    ..Except::NOTHING
};

/// What is told of a document by other ways than its projection agrees with that.
fn tells_alike(text: &str, doc: &DomainDoc) {
    for disk in doc.disks.iter().filter_map(|disk| disk.key.as_ref()) {
        assert!(matches!(device(text, &format!("/disks/{disk}")), Ok(Some(_))), "the disk {disk} is not found in\n{text}");
    }
    for nic in &doc.interfaces {
        if let Some(key) = &nic.key {
            assert!(
                matches!(device(text, &format!("/interfaces/{key}")), Ok(Some(_))),
                "the interface {key} is not found in\n{text}"
            );
        }
        if let Ok(Some(texts)) = plug_texts(text, nic, "lan", "br<0>", false) {
            for plug in [texts.there, texts.back] {
                assert!(roxmltree::Document::parse(&plug).is_ok(), "{plug}");
            }
        }
    }
    let vnc = device(text, "/console/vnc").ok().flatten().is_some();
    assert_eq!(vnc, doc.vnc.is_some(), "{text}");
    assert_eq!(device(text, "/guestAgent").ok().flatten().is_some(), doc.spec.guest_agent == Some(true), "{text}");
    let (Ok(free), Ok(more)) =
        (free_ports(text, "virtio", &BTreeSet::new()), free_ports(text, "virtio", &["vda".to_owned()].into()))
    else {
        unreachable!("ports of\n{text}")
    };
    assert!(free <= more, "a disk that goes takes a port with it in\n{text}");
    assert!(free_ports(text, "scsi", &BTreeSet::new()).is_ok() && pluggable_vcpus(text).is_ok());
    if let Ok(free) = disown(text) {
        let bare = project(&free).map(|free| DomainDoc { mark: doc.mark.clone(), ..free });
        assert_eq!(bare.as_ref(), Ok(doc), "a mark was more than a mark in\n{text}");
        assert_eq!(Mark::from_document(&free), Ok(None), "{free}");
    }
    if let Ok(beside) = beside(text, &std::collections::BTreeSet::new())
        && let Some(fragment) = beside.fragment
    {
        assert!(parse_fragment(&fragment).is_ok(), "what an export says is no fragment:\n{fragment}\n{text}");
    }
}

fn mark(document: &Document) -> Mark {
    let mut mark = Mark::new(Uuid::from_u128(1), document.object.clone(), Uuid::from_u128(2));
    mark.paths = document.now.keys().cloned().collect();
    mark.created = document.metadata.annotations.values().next().filter(|text| !text.is_empty()).cloned();
    mark
}

/// A disk as the manifest wants it, where the domain has `doc`.
fn disk(wanted: &jvp::manifest::Disk, doc: Option<&DomainDoc>, taken: &mut Vec<String>) -> DiskWanted {
    let cdrom = wanted.device == Some(DiskDevice::Cdrom);
    let bus = wanted.bus.unwrap_or(if cdrom { DiskBus::Sata } else { DiskBus::Virtio });
    let targets: Vec<&str> = taken.iter().map(String::as_str).collect();
    let target = next_target(bus, &targets);
    let new = DiskWanted {
        name: wanted.name.clone(),
        target: target.clone(),
        bus: format!("{bus:?}").to_lowercase(),
        device: if cdrom { "cdrom" } else { "disk" }.to_owned(),
        path: Some(format!("/p/{}", wanted.name)),
        format: "qcow2".to_owned(),
        backing: Vec::new(),
        read_only: wanted.read_only == Some(true),
        boot_order: wanted.boot_order,
        serial: None,
        limits: wanted.limits.clone().unwrap_or_default(),
    };
    let there = doc.and_then(|doc| doc.disk(wanted.name.as_str())).and_then(DiskWanted::from_doc);
    let Some(mut disk) = there else {
        taken.push(target);
        return new;
    };
    if wanted.bus.is_some() && disk.bus != new.bus {
        (disk.bus, disk.target) = (new.bus, target.clone());
        taken.push(target);
    }
    if wanted.device.is_some() {
        disk.device = new.device;
    }
    disk.read_only = wanted.read_only.unwrap_or(disk.read_only);
    disk.boot_order = wanted.boot_order.or(disk.boot_order);
    disk.limits = wanted.limits.clone().unwrap_or(disk.limits);
    disk
}

fn nic(wanted: &jvp::manifest::Interface, doc: Option<&DomainDoc>, number: usize) -> NicWanted {
    let made = MacAddr::new([0x52, 0x54, 0, 0, 0, u8::try_from(number).unwrap_or_default()]);
    let network = wanted.network.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string);
    let there = doc.and_then(|doc| doc.interface(wanted.name.as_str())).and_then(NicWanted::from_doc);
    let mut nic = there.unwrap_or_else(|| NicWanted {
        name: wanted.name.clone(),
        mac: made,
        source: NicSource::Bridge("br0".to_owned()),
        model: "virtio".to_owned(),
        link_state: None,
        boot_order: None,
    });
    nic.source = NicSource::Network(network);
    nic.mac = wanted.mac.unwrap_or(nic.mac);
    nic.model = wanted.model.clone().unwrap_or(nic.model);
    nic.link_state = wanted.link_state.or(nic.link_state);
    nic
}

/// A new domain reads as its manifest wants it.
fn is_written(document: &Document, spec: &VirtualMachineSpec) {
    let mut taken = Vec::new();
    let mark = mark(document);
    let text = render(&DomainWanted {
        name: document.object.name.to_string(),
        uuid: Uuid::from_u128(3),
        spec: spec.clone(),
        accelerator: spec.accelerator.filter(|kind| *kind != Accelerator::Auto).unwrap_or(Accelerator::TCG),
        arch: "x86_64".to_owned(),
        disks: spec.disks.iter().map(|wanted| disk(wanted, None, &mut taken)).collect(),
        interfaces: spec.interfaces.iter().enumerate().map(|(at, wanted)| nic(wanted, None, at)).collect(),
        seed: spec.cloud_init.as_ref().map(|_| "/p/seed".to_owned()),
        vnc_password_token: None,
        mark: mark.clone(),
        spare_ports: SPARE_PORTS,
    });
    let Ok(doc) = project(&text) else { unreachable!("a new domain can't be read:\n{text}") };
    assert_eq!(doc.mark.as_ref(), Some(&mark), "{text}");
    assert_eq!(doc.name, document.object.name.as_str());
    is_as_wanted(spec, &doc, &text);
    tells_alike(&text, &doc);
}

/// A domain that is there becomes what a manifest wants, and nothing else of it changes.
fn is_patched(text: &str, doc: &DomainDoc, document: &Document, spec: &VirtualMachineSpec) {
    let mut taken: Vec<String> = doc.disks.iter().map(|disk| disk.target.clone()).collect();
    let change = DomainPatch {
        set: VirtualMachineSpec { disks: Vec::new(), interfaces: Vec::new(), ..spec.clone() },
        disks: spec.disks.iter().map(|wanted| disk(wanted, Some(doc), &mut taken)).collect(),
        interfaces: spec.interfaces.iter().enumerate().map(|(at, wanted)| nic(wanted, Some(doc), at)).collect(),
        seed: spec.cloud_init.as_ref().map(|_| "/p/seed".to_owned()),
        mark: Some(mark(document)),
        ..DomainPatch::default()
    };
    // NUMA cells may say another size.
    let Ok(patched) = patch(text, &change) else { return };
    let Ok(read) = project(&patched) else { unreachable!("a patched domain can't be read:\n{patched}") };
    is_as_wanted(spec, &read, &patched);
    assert_eq!((&read.mark, read.uuid, &read.name), (&change.mark, doc.uuid, &doc.name), "{patched}");
    assert_eq!(patch(&patched, &change).as_ref(), Ok(&patched), "a second patch changes something");
    let attribute = |parent: &str, element: &str, name: &str| match (parent, element) {
        ("", "domain") => name == "type",
        ("domain", "os") => name == "firmware",
        ("domain", "cpu") => matches!(name, "mode" | "match" | "check" | "migratable"),
        _ => false,
    };
    let element = |node: Node<'_, '_>, parent: &str| is_wanted(node, parent, spec);
    let except = Except { element: &element, attribute: &attribute, hollow: &["os", "cpu", "features", "devices", "metadata"] };
    // The mark is ours, and what else stands in the metadata is somebody else's.
    let unmarked = |text: &str| disown(text).unwrap_or_default();
    shape::same(&unmarked(text), &unmarked(&patched), &except);
}

/// Whether an element is of what a manifest may speak of.
fn is_wanted(node: Node<'_, '_>, parent: &str, spec: &VirtualMachineSpec) -> bool {
    let name = node.tag_name().name();
    let below = |child: &str, attr: &str| {
        node.children().find(|node| node.has_tag_name(child)).and_then(|node| node.attribute(attr)).unwrap_or_default()
    };
    let alias = below("alias", "name");
    let named = |mut names: Box<dyn Iterator<Item = String> + '_>, other: &str| {
        names.any(|name| alias.ends_with(&format!("-{name}")) || other.to_ascii_lowercase().replace(':', "-") == name)
    };
    match parent {
        "domain" => matches!(name, "title" | "description" | "memory" | "currentMemory" | "vcpu" | "vcpus"),
        "os" => matches!(name, "type" | "loader" | "nvram" | "firmware" | "boot"),
        "cpu" => matches!(name, "model" | "vendor" | "topology"),
        "features" => matches!(name, "smm" | "acpi"),
        "devices" => match name {
            "disk" => {
                alias == "ua-seed" || named(Box::new(spec.disks.iter().map(|disk| disk.name.to_string())), below("target", "dev"))
            }
            "interface" => named(Box::new(spec.interfaces.iter().map(|nic| nic.name.to_string())), below("mac", "address")),
            "controller" => node.attribute("type") == Some("scsi"),
            "serial" | "console" => spec.console.is_some(),
            "graphics" | "video" | "input" => spec.console.as_ref().is_some_and(|console| console.vnc.is_some()),
            "channel" => spec.guest_agent.is_some(),
            _ => false,
        },
        _ => false,
    }
}

/// Whether a document says what a manifest wants.
fn is_as_wanted(spec: &VirtualMachineSpec, doc: &DomainDoc, text: &str) {
    let size = |size: Option<ByteSize>| size.map(|size| size.round_up(1024));
    let mut wanted = VirtualMachineSpec {
        cpu: spec.cpu.clone(),
        memory: size(spec.memory),
        max_memory: size(spec.max_memory),
        firmware: spec.firmware.clone(),
        console: spec.console.clone(),
        accelerator: spec.accelerator.filter(|kind| *kind != Accelerator::Auto),
        guest_agent: spec.guest_agent,
        title: spec.title.clone(),
        description: spec.description.clone(),
        ..VirtualMachineSpec::default()
    };
    // It isn't read back, and comes from somewhere else.
    if let Some(vnc) = wanted.console.as_mut().and_then(|console| console.vnc.as_mut()) {
        vnc.password = None;
    }
    let value = |spec: &VirtualMachineSpec| serde_json::to_value(spec).unwrap_or_default();
    stands_in(&value(&wanted), &value(&doc.spec), "", text);
    if let Some(machine) = &spec.machine {
        assert!(machine_matches(machine, &doc.machine), "{machine} is not {} in\n{text}", doc.machine);
    }
    let named = |list: &[Value]| -> BTreeMap<String, Value> {
        list.iter().rev().filter_map(|item| Some((item.get("name")?.as_str()?.to_owned(), item.clone()))).collect()
    };
    let lists = |spec: &VirtualMachineSpec, name: &str| named(value(spec)[name].as_array().map_or(&[][..], Vec::as_slice));
    for (list, elsewhere) in [("disks", &["volume", "claim", "image"][..]), ("interfaces", &["ip"][..])] {
        let read = lists(&doc.spec, list);
        for (name, mut item) in lists(spec, list) {
            if let Value::Object(fields) = &mut item {
                fields.retain(|field, _| !elsewhere.contains(&field.as_str()));
                if fields.get("limits").is_some_and(|limits| limits.as_object().is_some_and(serde_json::Map::is_empty)) {
                    fields.shift_remove("limits");
                }
                if fields.get("device").is_none()
                    && fields.get("readOnly") == Some(&Value::Bool(false))
                    && item_is_cdrom(&read, &name)
                {
                    continue;
                }
            }
            stands_in(&item, read.get(&name).unwrap_or(&Value::Null), &format!("/{list}/{name}"), text);
        }
    }
}

/// A drive that is there stays read-only, whatever is said of it: the manifest has to say that it is none.
fn item_is_cdrom(read: &BTreeMap<String, Value>, name: &str) -> bool {
    read.get(name).is_some_and(|item| item["device"] == "cdrom")
}
