//! What a running domain's next start will change: where its live document, without what is live by nature, differs from the
//! inactive one.
//!
//! It tells paths only, never values. What moves by itself (the balloon, trays, host ports, the clock) is never pending.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use roxmltree::Node;
use serde_json::Value;

use super::doc::{DiskDoc, DomainDoc, InterfaceDoc};
use super::project::project_root;
use crate::manifest::{Leaves, VirtualMachineSpec};
use crate::name::{ByteSize, Kind};
use crate::xml::{XmlError, pointer, read};

/// The paths in which the next start will differ from what runs: leaves of the spec as pointers (`/cpu/count`,
/// `/disks/root/source`), and for what the language lacks whole parts of the document as `xml:/devices/rng`.
pub fn pending(live: &str, inactive: &str) -> Result<BTreeSet<String>, XmlError> {
    project_both(live, inactive).map(|both| both.pending)
}

/// A running domain's two documents, and where they differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Both {
    /// What the document says that it runs with.
    pub live: DomainDoc,
    /// What the document says that its next start uses.
    pub inactive: DomainDoc,
    /// As [`pending`] tells it.
    pub pending: BTreeSet<String>,
}

/// Reads both documents of a running domain at once.
pub fn project_both(live: &str, inactive: &str) -> Result<Both, XmlError> {
    let (live, inactive) = (read::parse_root(live, "domain")?, read::parse_root(inactive, "domain")?);
    let (a, b) = (live.root_element(), inactive.root_element());
    let (live, inactive) = (project_root(a), project_root(b));
    let mut pending = pending_spec(&live, &inactive);
    // libvirt before 10 looks for the firmware's files at the start only.
    let finds = read::attr_at(b, &["os"], "firmware").is_some();
    let (a, b) = (parts(a, finds), parts(b, finds));
    pending.extend(a.keys().chain(b.keys()).filter(|name| a.get(*name) != b.get(*name)).map(|name| format!("xml:{name}")));
    Ok(Both { live, inactive, pending })
}

/// What is compared of a document, in a form in which a start makes no difference.
#[derive(PartialEq)]
struct Settled {
    spec: VirtualMachineSpec,
    disks: Vec<DiskDoc>,
    interfaces: Vec<InterfaceDoc>,
}

fn settled(doc: &DomainDoc, live: &DomainDoc, inactive: &DomainDoc) -> Settled {
    let mut spec = doc.spec.clone();
    (spec.memory, spec.max_memory) = (None, None);
    let model = |doc: &DomainDoc| doc.spec.cpu.as_ref().and_then(|cpu| cpu.model.clone()).unwrap_or_default();
    if model(inactive) == "host-model"
        && !matches!(model(live).as_str(), "host-passthrough" | "maximum")
        && let Some(cpu) = &mut spec.cpu
    {
        // It becomes a concrete one, and no other word for the host's does.
        cpu.model = None;
    }
    let listens = inactive.vnc.as_ref().is_some_and(|vnc| vnc.listen.is_some());
    if !listens && let Some(vnc) = spec.console.as_mut().and_then(|console| console.vnc.as_mut()) {
        vnc.listen = None;
    }
    let disk = |disk: &DiskDoc| DiskDoc {
        // The chain is looked up at the start, and an empty tray, or a volume, has a format only there.
        chain: Vec::new(),
        format: disk.format.clone().filter(|_| disk.source.is_some()),
        ..disk.clone()
    };
    let nic = |nic: &InterfaceDoc| InterfaceDoc {
        // A network of a bridge's own becomes that bridge at a start.
        kind: String::new(),
        bridge: nic.bridge.clone().filter(|_| nic.network.is_none()),
        port: None,
        target: None,
        ..nic.clone()
    };
    Settled { spec, disks: doc.disks.iter().map(disk).collect(), interfaces: doc.interfaces.iter().map(nic).collect() }
}

/// The part of [`pending`] that the language knows.
fn pending_spec(live: &DomainDoc, inactive: &DomainDoc) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let (a, b) = (settled(live, live, inactive), settled(inactive, live, inactive));
    // Equal is the rule.
    if a != b {
        let (a, b) = (leaves(&a), leaves(&b));
        paths.extend(a.keys().chain(b.keys()).filter(|path| a.get(*path) != b.get(*path)).cloned());
    }
    memory(live, inactive, &mut paths);
    paths
}

/// Memory of a running domain is rounded up to MiB, and its balloon moves by itself.
fn memory(live: &DomainDoc, inactive: &DomainDoc, paths: &mut BTreeSet<String>) {
    let max = |doc: &DomainDoc| doc.spec.max_memory.map_or(0, |size| size.round_up(1 << 20).bytes());
    let current = inactive.spec.memory.map_or(0, ByteSize::bytes);
    if max(live) == max(inactive) {
        return;
    }
    let ballooned = inactive.spec.memory != inactive.spec.max_memory;
    if ballooned {
        paths.insert("/maxMemory".to_owned());
    }
    if !ballooned || current > max(live) {
        paths.insert("/memory".to_owned());
    }
}

/// The leaves of a spec, and of its devices what stands beside the spec.
fn leaves(settled: &Settled) -> Leaves {
    let mut all = crate::manifest::leaves(Kind::VirtualMachine, &settled.spec);
    for disk in &settled.disks {
        let name = match &disk.key {
            Some(key) => key.as_str(),
            None if disk.seed => "(seed)",
            None => disk.target.as_str(),
        };
        let volume = disk.source_volume.as_ref().map(|(pool, name)| format!("{pool}/{name}"));
        let source = disk.source.clone().or(volume);
        let target = Some(disk.target.clone());
        for (leaf, value) in
            [("source", source), ("target", target), ("format", disk.format.clone()), ("serial", disk.serial.clone())]
        {
            all.extend(value.map(|value| (pointer::join(&["disks", name, leaf]), Value::from(value))));
        }
    }
    for nic in &settled.interfaces {
        let Some(key) = &nic.key else { continue };
        // The spec has a network only where its name could be an object's.
        let plugged = nic.network.clone().or_else(|| nic.bridge.clone());
        all.extend(plugged.map(|name| (pointer::join(&["interfaces", key.as_str(), "network"]), Value::from(name))));
        all.extend(nic.boot_order.map(|order| (pointer::join(&["interfaces", key.as_str(), "bootOrder"]), Value::from(order))));
    }
    all
}

/// Parts that the spec compares already, or that move by themselves.
const SKIPPED: &[&str] = &[
    "name",
    "uuid",
    "title",
    "description",
    "metadata",
    "memory",
    "currentMemory",
    "vcpu",
    "vcpus",
    "cpu",
    "seclabel",
    "resource",
    "devices",
];

/// A digest of each part of a document by its path, without what is live by nature (PHANTOMS 2).
fn parts(root: Node<'_, '_>, finds_firmware: bool) -> BTreeMap<String, Vec<u64>> {
    let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut put = |prefix: &str, node: Node<'_, '_>, skipped: &[&str]| {
        let name = node.tag_name().name();
        if node.is_element() && !skipped.contains(&name) {
            let mut hasher = DefaultHasher::new();
            digest(node, node, finds_firmware, &mut hasher);
            all.entry(format!("{prefix}{name}")).or_default().push(hasher.finish());
        }
    };
    for node in root.children() {
        put("/", node, SKIPPED);
    }
    for node in read::child(root, "devices").iter().flat_map(Node::children) {
        put("/devices/", node, &["disk", "interface"]);
    }
    all
}

fn digest(part: Node<'_, '_>, node: Node<'_, '_>, finds_firmware: bool, hasher: &mut DefaultHasher) {
    node.tag_name().name().hash(hasher);
    for attribute in node.attributes() {
        if !is_live_attribute(part, node, attribute.name(), finds_firmware) {
            (attribute.name(), attribute.value()).hash(hasher);
        }
    }
    for child in node.children() {
        if child.is_element() {
            if !is_live_child(part, child, finds_firmware) {
                digest(part, child, finds_firmware, hasher);
            }
        } else if child.is_text() {
            let text = child.text().unwrap_or_default().trim();
            if !text.is_empty() {
                text.hash(hasher);
            }
        }
    }
    // Where an element ends is part of what it says.
    0xff_u8.hash(hasher);
}

fn is_live_attribute(part: Node<'_, '_>, node: Node<'_, '_>, name: &str, finds_firmware: bool) -> bool {
    let of_part = part == node;
    match (part.tag_name().name(), node.tag_name().name(), name) {
        (_, "source", "index") | ("channel", "target", "state") | ("memory", "address", "base") => true,
        ("clock", _, "adjustment") | ("serial" | "console" | "parallel", _, "tty") => of_part,
        ("os", _, "firmware") => of_part && finds_firmware,
        // What holds a secret is not told from here.
        ("graphics", _, "websocket" | "listen" | "passwd" | "passwdValidTo" | "connected") => of_part,
        ("graphics", _, "port" | "tlsPort") => of_part && read::attr(part, "autoport") == Some("yes"),
        _ => false,
    }
}

fn is_live_child(part: Node<'_, '_>, child: Node<'_, '_>, finds_firmware: bool) -> bool {
    match (part.tag_name().name(), child.tag_name().name()) {
        (_, "seclabel") | ("memballoon", "stats") | ("memory", "current") => true,
        (_, "alias") => !read::attr(child, "name").is_some_and(|name| name.starts_with("ua-")),
        ("serial" | "console" | "parallel", "source") => read::attr(part, "type") == Some("pty"),
        // A path below libvirt's own folder is chosen at each start.
        ("channel", "source") => read::attr(child, "path").is_none_or(|path| path.contains("/channel/")),
        ("graphics", "listen") => read::attr(child, "type") != Some("socket"),
        ("os", "loader" | "nvram" | "firmware") => finds_firmware,
        _ => false,
    }
}
