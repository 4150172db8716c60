//! What a running domain's next start will change: where its live document, without what is live by nature, differs from the
//! inactive one.
//!
//! It tells paths only, never values. What moves by itself (the balloon, trays, host ports, the clock) is never pending.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::doc::DomainDoc;
use super::fragment::canonical;
use super::project::project;
use crate::xml::tree::{Element, Node};
use crate::xml::{XmlError, pointer};

/// The paths in which the next start will differ from what runs: leaves of the spec as pointers (`/cpu/count`,
/// `/disks/root/source`), and for what the language lacks whole parts of the document as `xml:/devices/rng`.
pub fn pending(live: &str, inactive: &str) -> Result<BTreeSet<String>, XmlError> {
    let mut paths = pending_spec(&project(live)?, &project(inactive)?);
    // Equal documents are the rule and cost nothing more.
    let (mut live, mut inactive) = (Element::parse_root(live, "domain")?, Element::parse_root(inactive, "domain")?);
    if inactive.child("os").is_some_and(|os| os.get("firmware").is_some()) {
        // libvirt before 10 looks for the firmware's files at the start only.
        strip_firmware(&mut live);
        strip_firmware(&mut inactive);
    }
    let (live, inactive) = (parts(live), parts(inactive));
    for name in live.keys().chain(inactive.keys()) {
        if live.get(name) != inactive.get(name) {
            paths.insert(format!("xml:{name}"));
        }
    }
    Ok(paths)
}

/// The part of [`pending`] that the language knows, from documents that are read already.
pub(crate) fn pending_spec(live: &DomainDoc, inactive: &DomainDoc) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let (mut a, mut b) = (leaves(live), leaves(inactive));
    for (path, value) in &mut a {
        settle(path, value, live, inactive);
    }
    for (path, value) in &mut b {
        settle(path, value, live, inactive);
    }
    for path in a.keys().chain(b.keys()) {
        if a.get(path).unwrap_or(&Value::Null) != b.get(path).unwrap_or(&Value::Null) {
            paths.insert(path.clone());
        }
    }
    memory(live, inactive, &mut paths);
    paths
}

/// Values that a start makes of others are made equal.
fn settle(path: &str, value: &mut Value, live: &DomainDoc, inactive: &DomainDoc) {
    let model = |doc: &DomainDoc| doc.spec.cpu.as_ref().and_then(|cpu| cpu.model.clone()).unwrap_or_default();
    let listen = |doc: &DomainDoc| doc.vnc.as_ref().and_then(|vnc| vnc.listen.clone());
    let same = match path {
        // A model of the host's becomes a concrete one.
        "/cpu/model" => {
            matches!(model(inactive).as_str(), "host-model" | "maximum" | "host-passthrough") && !is_host(&model(live))
        }
        "/console/vnc/listen" => listen(inactive).is_none(),
        _ => false,
    };
    if same {
        *value = Value::Null;
    }
}

fn is_host(model: &str) -> bool {
    matches!(model, "host-model" | "maximum" | "host-passthrough")
}

/// Memory of a running domain is rounded up to MiB, and its balloon moves by itself.
fn memory(live: &DomainDoc, inactive: &DomainDoc, paths: &mut BTreeSet<String>) {
    let max = |doc: &DomainDoc| doc.spec.max_memory.map_or(0, |size| size.round_up(1 << 20).bytes());
    let current = inactive.spec.memory.map_or(0, |size| size.bytes());
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

/// The leaves of a document's spec, and of its devices what stands beside the spec.
fn leaves(doc: &DomainDoc) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let value = serde_json::to_value(&doc.spec).unwrap_or_default();
    walk(&value, &mut Vec::new(), &mut all);
    all.retain(|path, _| path != "/memory" && path != "/maxMemory");
    for disk in &doc.disks {
        let name = match &disk.key {
            Some(key) => key.as_str(),
            None if disk.seed => "(seed)",
            None => disk.target.as_str(),
        };
        let mut put = |leaf: &str, value: Value| {
            all.insert(pointer::join(&["disks", name, leaf]), value);
        };
        put("source", Value::from(disk.source.clone().or_else(|| volume_path(disk.source_volume.as_ref()))));
        put("target", Value::from(disk.target.clone()));
        if disk.source.is_some() {
            put("format", Value::from(disk.format.clone()));
        }
    }
    for nic in &doc.interfaces {
        if let Some(key) = &nic.key {
            // A network of a bridge's own becomes that bridge at a start; a network has no bridge in the inactive document.
            let plugged = nic.network.clone().or_else(|| nic.bridge.clone());
            all.insert(pointer::join(&["interfaces", key.as_str(), "network"]), Value::from(plugged));
            let boot = Value::from(nic.boot_order);
            all.insert(pointer::join(&["interfaces", key.as_str(), "bootOrder"]), boot);
        }
    }
    all
}

fn volume_path(volume: Option<&(String, String)>) -> Option<String> {
    volume.map(|(pool, name)| format!("{pool}/{name}"))
}

fn walk(value: &Value, path: &mut Vec<String>, all: &mut BTreeMap<String, Value>) {
    let pointer = |path: &[String]| pointer::join(&path.iter().map(String::as_str).collect::<Vec<_>>());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                path.push(name.clone());
                walk(value, path, all);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let name = item.get("name").and_then(Value::as_str).map_or_else(|| index.to_string(), str::to_owned);
                path.push(name);
                walk(item, path, all);
                path.pop();
            }
        }
        leaf => {
            // The key of an item says nothing beside its path.
            if !(path.len() == 3 && path.last().is_some_and(|last| last == "name")) {
                all.insert(pointer(path), leaf.clone());
            }
        }
    }
}

/// Parts that the spec compares already, or that move by themselves.
const SKIPPED: &[&str] = &[
    "/name",
    "/uuid",
    "/title",
    "/description",
    "/metadata",
    "/memory",
    "/currentMemory",
    "/vcpu",
    "/vcpus",
    "/cpu",
    "/seclabel",
    "/devices/disk",
    "/devices/interface",
    "/resource",
];

/// The parts of a document by their path, each in one form, without what is live by nature.
fn parts(mut root: Element) -> BTreeMap<String, Vec<String>> {
    strip(&mut root);
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut put = |path: String, element: &Element| {
        if !SKIPPED.contains(&path.as_str()) {
            all.entry(path).or_default().push(canonical(element));
        }
    };
    for element in root.elements() {
        if element.name == "devices" {
            element.elements().for_each(|device| put(format!("/devices/{}", device.name), device));
        } else {
            put(format!("/{}", element.name), element);
        }
    }
    all
}

fn strip_firmware(root: &mut Element) {
    if let Some(os) = root.child_mut("os") {
        os.unset("firmware");
        os.remove(|child| matches!(child.name.as_str(), "loader" | "nvram" | "firmware"));
    }
}

/// Takes out what is live by nature (PHANTOMS 2).
fn strip(root: &mut Element) {
    if let Some(clock) = root.child_mut("clock") {
        clock.unset("adjustment");
    }
    let Some(devices) = root.child_mut("devices") else { return };
    for device in devices.elements_mut() {
        device.remove(|child| {
            let generated = child.name == "alias" && !child.get("name").is_some_and(|name| name.starts_with("ua-"));
            generated || child.name == "seclabel"
        });
        match device.name.as_str() {
            "serial" | "console" | "parallel" if device.get("type") == Some("pty") => {
                device.unset("tty");
                device.remove_named("source");
            }
            "channel" => {
                // A path below libvirt's own folder is chosen at each start.
                device.remove(|child| child.name == "source" && child.get("path").is_none_or(|path| path.contains("/channel/")));
                device.elements_mut().filter(|child| child.name == "target").for_each(|child| child.unset("state"));
            }
            "graphics" => {
                // What holds a secret is not told from here, and what is chosen at a start is nobody's.
                let auto = device.get("autoport") == Some("yes");
                for name in ["websocket", "listen", "passwd", "passwdValidTo", "connected"] {
                    device.unset(name);
                }
                if auto {
                    device.unset("port");
                    device.unset("tlsPort");
                }
                device.remove(|child| child.name == "listen" && child.get("type") != Some("socket"));
            }
            "memballoon" => {
                device.remove_named("stats");
            }
            "memory" => {
                device.elements_mut().filter(|child| child.name == "address").for_each(|child| child.unset("base"));
                device.elements_mut().filter(|child| child.name == "target").for_each(|child| {
                    child.remove_named("current");
                });
            }
            _ => {}
        }
        strip_labels(device);
    }
}

fn strip_labels(element: &mut Element) {
    element.nodes.retain(|node| !matches!(node, Node::Element(child) if child.name == "seclabel"));
    element.elements_mut().for_each(strip_labels);
}
