//! What a domain's document says beside the language: as a fragment for `xml:` in a manifest of it.
//!
//! Left out is what libvirt puts there by itself, what typed fields say, what is a secret, and devices that a fragment has no key for.

use std::collections::BTreeSet;

use super::fragment::{Fragment, is_secret, key, parse_fragment, segment, typed_elsewhere};
use super::{AGENT_CHANNEL, NIC_ALIAS};
use crate::xml::tree::{Element, Node};
use crate::xml::{Mark, XmlError};

/// What a document says beside the language.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// As a fragment; none where there is nothing.
    pub fragment: Option<String>,
    /// What no fragment can say, in words: `sound ich9`.
    pub unsaid: Vec<String>,
}

/// Whether a document says all that a fragment says already.
pub fn holds(document: &str, fragment: &Fragment) -> bool {
    super::read(document, fragment).is_ok_and(|leaves| leaves.values().all(|leaf| leaf.found == leaf.wanted))
}

/// What a document says beside the typed fields whose paths are `typed`.
pub fn beside(document: &str, typed: &BTreeSet<String>) -> Result<Beside, XmlError> {
    let root = Element::parse_root(document, "domain")?;
    let mut out = Beside::default();
    let mut fragment = Element::new("domain");
    fragment.attrs.extend(root.attrs.iter().filter(|(name, _)| name.starts_with("xmlns:")).cloned());
    let mut parts: Vec<(bool, Element)> = Vec::new();
    for child in root.elements() {
        if child.name == "devices" {
            parts.extend(child.elements().filter(|device| !implied(child, device, typed)).map(|device| (true, device.clone())));
        } else if !everywhere(child) {
            parts.push((false, child.clone()));
        }
    }
    let devices = root.child("devices").cloned().unwrap_or_default();
    for (is_device, mut part) in parts {
        let words = described(&part);
        let (parent, path) = if is_device { (&devices, "/xml/devices") } else { (&root, "/xml") };
        let Ok(known) = key(parent, &part) else {
            out.unsaid.push(words);
            continue;
        };
        let path = format!("{path}/{}", segment(&part, &known));
        let mut secrets = Vec::new();
        let is_port = is_device && matches!(&*part.name, "serial" | "console");
        let is_left = less(&mut part, &path, typed, &mut secrets);
        out.unsaid.extend(secrets.into_iter().map(|name| format!("{words}: {name} (sensitive)")));
        if !is_left {
            // The field stands for the first of them only.
            out.unsaid.extend(is_port.then_some(words));
            continue;
        }
        let mut with = fragment.clone();
        if is_device {
            with.ensure("devices").push(part);
        } else {
            with.push(part);
        }
        let text = with.to_xml();
        let parsed = parse_fragment(&text).ok();
        let parsed = parsed.filter(|parsed| parsed.conflicts(typed).is_empty() && holds(document, parsed));
        match parsed {
            // Its key or its list tells that, not a name of its own.
            Some(parsed) if parsed.leaves().values().any(|leaf| leaf.sensitive) => {
                out.unsaid.push(format!("{words} (sensitive)"));
            }
            Some(_) => fragment = with,
            None => out.unsaid.push(words),
        }
    }
    if fragment.elements().next().is_some() {
        unused(&mut fragment);
        out.fragment = Some(fragment.to_xml());
    }
    out.unsaid.sort();
    out.unsaid.dedup();
    Ok(out)
}

/// Takes out namespaces that nothing uses: the mark's, and those of metadata.
fn unused(fragment: &mut Element) {
    let text = fragment.elements().map(Element::to_xml).collect::<String>();
    fragment.attrs.retain(|(name, uri)| {
        let used = name.strip_prefix("xmlns:").is_some_and(|prefix| text.contains(&format!("<{prefix}:")));
        used && uri != Mark::NAMESPACE
    });
}

/// What every domain has, or the object says in another place.
fn everywhere(child: &Element) -> bool {
    let text = child.text_content();
    match &*child.name {
        "name" | "uuid" | "title" | "description" | "metadata" | "memory" | "currentMemory" | "vcpu" => true,
        "on_poweroff" | "on_crash" => text == "destroy",
        "on_reboot" => text == "restart",
        "clock" => child.attrs == [("offset".into(), "utc".to_owned())] && child.nodes.is_empty(),
        _ => false,
    }
}

/// Whether a device is one that libvirt adds by itself, or that a typed field stands for.
fn implied(devices: &Element, device: &Element, typed: &BTreeSet<String>) -> bool {
    let is = |attr: &str, value: &str| device.get(attr) == Some(value);
    let first = |name: &str| devices.elements().find(|other| other.name == name).is_some_and(|other| other == device);
    match &*device.name {
        "emulator" => device.text_content().rsplit('/').next().is_some_and(|name| name.starts_with("qemu-system-")),
        "controller" => {
            let several = devices.elements().filter(|other| {
                other.name == "controller" && other.get("type") == device.get("type") && other.get("index") == device.get("index")
            });
            !matches!(device.get("type"), Some("scsi" | "virtio-serial" | "usb")) || several.count() > 1
        }
        "input" => is("bus", "ps2"),
        "audio" => is("type", "none") || is("type", "spice"),
        "watchdog" => is("model", "itco"),
        "memballoon" => is("model", "virtio") && device.elements().all(|child| child.name == "address"),
        "serial" => typed.contains("/console/serial") && first("serial"),
        "console" => {
            let of_serial = device.child("target").and_then(|target| target.get("type")).is_none_or(|kind| kind == "serial");
            typed.contains("/console/serial") && of_serial && first("console")
        }
        "graphics" => is("type", "vnc") && typed.contains("/console/vnc"),
        "channel" => device.child("target").and_then(|target| target.get("name")) == Some(AGENT_CHANNEL),
        _ => false,
    }
}

/// Takes out of an element what isn't for a fragment. False where nothing is left of it.
fn less(element: &mut Element, path: &str, typed: &BTreeSet<String>, secrets: &mut Vec<String>) -> bool {
    let device = path.starts_with("/xml/devices/") && path.matches('/').count() == 3;
    let key_child = match element.local() {
        "disk" | "channel" => "target",
        "interface" => "mac",
        _ => "",
    };
    let own_alias = |child: &Element| child.name == "alias" && child.get("name").is_none_or(|name| !name.starts_with("ua-"));
    let ours = |child: &Element| child.name == "alias" && child.get("name").is_some_and(|name| name.starts_with(NIC_ALIAS));
    element.remove(|child| (device && child.name == "address") || own_alias(child) || ours(child));
    if element.name == "os" {
        let boots: Vec<&str> =
            element.elements().filter(|child| child.name == "boot").filter_map(|boot| boot.get("dev")).collect();
        if boots == ["hd"] {
            element.remove_named("boot");
        }
    }
    let mut kept = false;
    let parent = element.clone();
    element.attrs.retain(|(name, _)| {
        if is_secret(name) {
            secrets.push(name.to_string());
            return false;
        }
        let key_attr = device && element.name == "controller" && matches!(&**name, "type" | "index");
        let said = typed_elsewhere(&format!("{path}/@{name}"), typed);
        kept |= !key_attr && !said && !name.starts_with("xmlns");
        key_attr || !said
    });
    if !parent.text_content().trim().is_empty() && parent.elements().next().is_none() {
        if is_secret(&parent.name) {
            secrets.push(parent.name.to_string());
            element.nodes.clear();
        } else if typed_elsewhere(&format!("{path}/#text"), typed) || parent.name == "type" {
            element.nodes.clear();
        } else {
            kept = true;
        }
    }
    let had_children = parent.elements().next().is_some();
    element.nodes.retain_mut(|node| {
        let Node::Element(child) = node else { return true };
        let Ok(known) = key(&parent, child) else { return false };
        let below = format!("{path}/{}", segment(child, &known));
        if child.name == key_child {
            // Its key stays, and what else stands there where no field says it.
            let names = if key_child == "mac" {
                "address"
            } else if child.get("dev").is_some() {
                "dev"
            } else {
                "name"
            };
            child.nodes.clear();
            child.attrs.retain(|(name, _)| {
                let is_key = name == names;
                let said = typed_elsewhere(&format!("{below}/@{name}"), typed) || matches!(&**name, "tray" | "state");
                kept |= !is_key && !said;
                is_key || !said
            });
            return true;
        }
        let stays = less(child, &below, typed, secrets);
        kept |= stays;
        stays
    });
    // An element that says nothing but its being there.
    let bare = parent.attrs.is_empty() && !had_children && parent.text_content().trim().is_empty();
    kept || (bare && !typed_elsewhere(path, typed)) || (!device && is_named(&parent, path) && !typed_elsewhere(path, typed))
}

/// Whether an element's only attribute is its key, as that of `<boot dev='cdrom'/>` is.
fn is_named(element: &Element, path: &str) -> bool {
    element.attrs.len() == 1 && element.nodes.is_empty() && path.ends_with(']')
}

/// An element in a few words.
fn described(element: &Element) -> String {
    let of = |names: &[&str]| names.iter().find_map(|name| element.get(name)).map(str::to_owned);
    let model = || element.child("model").and_then(|model| model.get("type")).map(str::to_owned);
    let target =
        || element.child("target").and_then(|target| target.get("dev").or_else(|| target.get("name"))).map(str::to_owned);
    let more = model().or_else(target).or_else(|| of(&["model", "type", "mode", "device"]));
    more.map_or_else(|| element.name.to_string(), |more| format!("{} {more}", element.name))
}
