//! The escape hatch: a fragment of domain XML in a manifest's `xml:`, read and checked. Errors carry line and column in it.
//!
//! It knows which elements stand alone, which are known by a key, and which only as a whole list. What it says is compared and
//! merged in `merge`; it decides nothing about typed fields but who else speaks of the same leaf.

use std::collections::{BTreeMap, BTreeSet};

use super::{AGENT_CHANNEL, DISK_ALIAS, NIC_ALIAS, SEED_ALIAS};
use crate::xml::tree::{Element, Node};
use crate::xml::{Mark, XmlError};

/// The namespace of `jvp:remove`.
pub const REMOVE_NAMESPACE: &str = "https://jvp.dev/xml/1";

/// A fragment of a domain's document that a manifest wants in it. Debug shows its leaves, without secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Fragment {
    pub(super) root: Element,
    leaves: BTreeMap<String, Leaf>,
}

impl std::fmt::Debug for Fragment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(&self.leaves).finish()
    }
}

/// One thing that a fragment says.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The value of an attribute or text, `""` for an element that is only to be there, `None` for one that is not to be there.
    pub value: Option<String>,
    /// Line and column in the fragment.
    pub at: Option<(u32, u32)>,
    /// Whether its name says that it is a secret.
    pub sensitive: bool,
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = if self.sensitive { Some("(sensitive)") } else { self.value.as_deref() };
        f.debug_struct("Leaf").field("value", &value).field("at", &self.at).finish()
    }
}

/// A leaf of a fragment that a typed field manages, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The leaf's path.
    pub path: String,
    /// The typed field's path.
    pub typed: String,
    /// Line and column in the fragment.
    pub at: Option<(u32, u32)>,
}

impl Fragment {
    /// Every leaf, by its path. Paths begin with `/xml`.
    pub fn leaves(&self) -> &BTreeMap<String, Leaf> {
        &self.leaves
    }

    /// The networks that its interfaces are plugged into, by the names that libvirt has for them.
    pub fn networks(&self) -> impl Iterator<Item = &str> {
        let is_named = |path: &str| path.starts_with("/xml/devices/interface[") && path.ends_with("/source/@network");
        self.leaves.iter().filter(move |(path, _)| is_named(path)).filter_map(|(_, leaf)| leaf.value.as_deref())
    }

    /// The leaves that typed fields manage, too, given the paths that a manifest's other fields author.
    pub fn conflicts(&self, typed: &BTreeSet<String>) -> Vec<Conflict> {
        let conflict = |(path, leaf): (&String, &Leaf)| {
            let pattern = typed_field(path)?;
            let typed = typed.iter().find(|typed| says(typed, pattern, path))?;
            Some(Conflict { path: path.clone(), typed: typed.clone(), at: leaf.at })
        };
        self.leaves.iter().filter_map(conflict).collect()
    }
}

/// How an element is known among its siblings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// By its name: there is one at most.
    Single,
    /// By a key.
    By(String),
    /// Not at all: all elements of its name are one list.
    List,
}

/// Sequences whose members an attribute names: parent, element, attribute.
const NAMED: &[(&str, &str, &str)] = &[
    ("cpu", "feature", "name"),
    ("cpu", "cache", "level"),
    ("clock", "timer", "name"),
    ("os", "boot", "dev"),
    ("firmware", "feature", "name"),
    ("numa", "cell", "id"),
    ("distances", "sibling", "id"),
    ("numatune", "memnode", "cellid"),
    ("cputune", "vcpupin", "vcpu"),
    ("cputune", "iothreadpin", "iothread"),
    ("cputune", "vcpusched", "vcpus"),
    ("cputune", "iothreadsched", "iothreads"),
    ("iothreadids", "iothread", "id"),
    ("vcpus", "vcpu", "id"),
    ("hugepages", "page", "size"),
    ("bios", "entry", "name"),
    ("system", "entry", "name"),
    ("baseBoard", "entry", "name"),
    ("chassis", "entry", "name"),
    ("sysinfo", "entry", "name"),
    ("domain", "seclabel", "model"),
    ("commandline", "env", "name"),
    ("capabilities", "add", "capability"),
    ("capabilities", "del", "capability"),
    ("override", "device", "alias"),
    ("frontend", "property", "name"),
    ("graphics", "channel", "name"),
];

/// Devices of which libvirt has one at most.
const SINGLE_DEVICES: &[&str] = &["emulator", "memballoon", "iommu", "vsock"];

/// What a domain has once. A second one would make a list of them, which takes the place of what is there.
const ONCE: &[&str] = &[
    "blkiotune",
    "clock",
    "cpu",
    "cputune",
    "currentMemory",
    "description",
    "devices",
    "features",
    "iothreadids",
    "iothreads",
    "maxMemory",
    "memory",
    "memoryBacking",
    "memtune",
    "metadata",
    "numatune",
    "on_crash",
    "on_poweroff",
    "on_reboot",
    "os",
    "perf",
    "pm",
    "resource",
    "title",
    "vcpu",
    "vcpus",
];

/// Sequences without any name for their members.
const LISTS: &[(&str, &str)] =
    &[("commandline", "arg"), ("oemStrings", "entry"), ("idmap", "uid"), ("idmap", "gid"), ("os", "initarg"), ("os", "initenv")];

/// How `element` is known below `parent`; an error where it is a device without a key.
pub(super) fn key(parent: &Element, element: &Element) -> Result<Key, XmlError> {
    let (above, name) = (parent.local(), element.local());
    let of = |path: Option<&Element>, attr: &str| path.and_then(|e| e.get(attr)).map(str::to_owned);
    if above == "metadata" {
        let Some(namespace) = &element.namespace else {
            return Err(XmlError::at("libvirt drops metadata without a namespace", element.pos));
        };
        return Ok(Key::By(namespace.clone()));
    }
    if let Some((_, _, attr)) = NAMED.iter().find(|(p, e, _)| *p == above && *e == name) {
        return Ok(element.get(attr).map_or(Key::List, |value| Key::By(value.to_owned())));
    }
    if LISTS.contains(&(above, name)) {
        return Ok(Key::List);
    }
    if above != "devices" {
        // Several of one name without a known key are one list.
        let several = parent.elements().filter(|other| other.name == element.name).count() > 1;
        return Ok(if several { Key::List } else { Key::Single });
    }
    if SINGLE_DEVICES.contains(&name) {
        return Ok(Key::Single);
    }
    let natural = match name {
        "disk" => of(element.child("target"), "dev"),
        "controller" => element.get("type").map(|kind| format!("{kind}:{}", element.get("index").unwrap_or("0"))),
        "channel" => of(element.child("target"), "name"),
        "interface" => of(element.child("mac"), "address")
            .map(|mac| mac.parse::<crate::name::MacAddr>().map_or_else(|_| mac.to_ascii_lowercase(), |mac| mac.to_string())),
        _ => None,
    };
    let alias = || of(element.child("alias"), "name").filter(|alias| alias.starts_with("ua-"));
    natural.or_else(alias).map(Key::By).ok_or_else(|| {
        let by = match name {
            "disk" => "its target's `dev`",
            "controller" => "its `type` and `index`",
            "channel" => "its target's `name`",
            "interface" => "its MAC address",
            _ => "an alias",
        };
        let message = format!("this <{name}> can't be told from others: give it {by}, or <alias name='ua-…'/>");
        XmlError::at(message, element.pos)
    })
}

/// The segment of an element in a path.
pub(super) fn segment(element: &Element, key: &Key) -> String {
    match key {
        Key::Single => element.name.to_string(),
        Key::By(value) => format!("{}[{}]", element.name, value.replace('~', "~0").replace('/', "~1")),
        Key::List => format!("{}[]", element.name),
    }
}

/// Whether an attribute or child belongs to an element's key.
pub(super) fn is_key_attr(parent: &str, element: &str, attr: &str) -> bool {
    NAMED.iter().any(|(p, e, a)| *p == parent && *e == element && *a == attr)
        || (parent == "devices" && element == "controller" && matches!(attr, "type" | "index"))
}

/// Whether a leaf tells what kind of thing a device is, or is the device itself, of which nothing is said but which one it is, or all devices.
/// Without it the device would be another one, none that libvirt knows, or gone.
pub fn is_identity(path: &str) -> bool {
    if path == "/xml/devices" {
        return true;
    }
    let Some(device) = path.strip_prefix("/xml/devices/").filter(|device| !device.ends_with("[]")) else { return false };
    let below = device.split_once('/').map(|(_, leaf)| leaf);
    below.is_none_or(|leaf| matches!(leaf, "@type" | "@model" | "@mode" | "@bus" | "@device" | "model/@type"))
}

/// Whether an element is to be removed.
pub(super) fn is_removal(element: &Element) -> bool {
    element.get("jvp:remove") == Some("true")
}

/// Reads a fragment and checks it.
///
/// # Errors
///
/// It is not well-formed, has a DTD or entities, another root than `<domain>`, a device without a key, one element twice, text beside
/// elements, or a leaf that nobody may set.
pub fn parse_fragment(text: &str) -> Result<Fragment, XmlError> {
    let mut root = Element::parse(text).map_err(|error| {
        let unknown = error.message.contains("unknown namespace prefix") && error.message.contains("'jvp'");
        let help = if unknown { format!(": declare xmlns:jvp='{REMOVE_NAMESPACE}' on <domain>") } else { String::new() };
        XmlError::at(error.message + &help, error.at)
    })?;
    if root.name != "domain" {
        return Err(XmlError::at(format!("the fragment's root is <{}>, not <domain>", root.name), root.pos));
    }
    tidy(&mut root)?;
    check_root(&root)?;
    let mut leaves = BTreeMap::new();
    gather(&root, "/xml", None, None, &mut leaves)?;
    Ok(Fragment { root, leaves })
}

/// Checks what is jvp's own in an element: there is one word, under one prefix. libvirt would pass over another one without a word.
fn own_words(element: &Element) -> Result<(), XmlError> {
    let wrong = |message: String| Err(XmlError::at(message, element.pos));
    if let Some(name) = element.name.strip_prefix("jvp:") {
        return wrong(format!("there is no <jvp:{name}>: to take an element out, give it jvp:remove='true'"));
    }
    for (name, value) in &element.attrs {
        match name.split_once(':') {
            Some(("jvp", "remove")) if value != "true" => return wrong("jvp:remove can only be 'true'".to_owned()),
            Some(("jvp", "remove")) => {}
            Some(("jvp", other)) => return wrong(format!("there is no jvp:{other}: what there is is jvp:remove='true'")),
            Some(("xmlns", prefix)) if (prefix == "jvp") != (value == REMOVE_NAMESPACE) => {
                return wrong(format!(
                    "the prefix jvp stands for {REMOVE_NAMESPACE}: declare xmlns:jvp='{REMOVE_NAMESPACE}' on <domain>"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Drops comments and layout, and checks each element by itself.
fn tidy(element: &mut Element) -> Result<(), XmlError> {
    element.nodes.retain(|node| !matches!(node, Node::Comment(_)));
    let has_elements = element.elements().next().is_some();
    if has_elements && !element.text_content().trim().is_empty() {
        return Err(XmlError::at(format!("<{}> has text beside its elements", element.name), element.pos));
    }
    // A leaf's value is its text without what surrounds it.
    let text = element.text_content();
    if text.trim().is_empty() {
        element.nodes.retain(|node| !matches!(node, Node::Text(_)));
    } else if text.trim() != text {
        element.set_text(text.trim());
    }
    own_words(element)?;
    element.elements_mut().try_for_each(tidy)
}

fn check_root(root: &Element) -> Result<(), XmlError> {
    if is_removal(root) {
        return Err(XmlError::at("the domain itself can't be removed here", root.pos));
    }
    let mut seen = BTreeSet::new();
    if let Some(second) = root.elements().find(|child| ONCE.contains(&&*child.name) && !seen.insert(&*child.name)) {
        return Err(XmlError::at(format!("a domain has one <{}>: say all of it in one", second.name), second.pos));
    }
    for child in root.elements() {
        match &*child.name {
            "uuid" | "name" => {
                return Err(XmlError::at(
                    format!("<{}> is the object's identity and can't stand in `xml`", child.name),
                    child.pos,
                ));
            }
            "metadata" => {
                if let Some(mark) = child.elements().find(|e| e.namespace.as_deref() == Some(Mark::NAMESPACE)) {
                    return Err(XmlError::at("the ownership mark can't stand in `xml`", mark.pos));
                }
            }
            _ => {}
        }
    }
    let devices = root.child("devices").into_iter().flat_map(Element::elements);
    for alias in devices.filter_map(|device| device.child("alias")) {
        let name = alias.get("name").unwrap_or_default();
        let plain = name
            .strip_prefix("ua-")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        if !plain {
            return Err(XmlError::at(
                "libvirt keeps only aliases that begin with `ua-`, of letters, digits, `-` and `_`",
                alias.pos,
            ));
        }
        if name == SEED_ALIAS || name.starts_with(DISK_ALIAS) || name.starts_with(NIC_ALIAS) {
            return Err(XmlError::at(format!("the alias `{name}` is one of jvp's own"), alias.pos));
        }
    }
    Ok(())
}

/// The child and its attribute by which a device is known, which are no leaves therefore.
fn key_child(device: &Element) -> Option<(&'static str, &'static str)> {
    let natural = match device.local() {
        "disk" => ("target", "dev"),
        "channel" => ("target", "name"),
        "interface" => ("mac", "address"),
        "controller" => return None,
        name if SINGLE_DEVICES.contains(&name) => return None,
        _ => ("alias", "name"),
    };
    let has = device.child(natural.0).is_some_and(|child| child.get(natural.1).is_some());
    Some(if has { natural } else { ("alias", "name") })
}

/// Gathers the leaves below an element that stands at `path`; `key_attr` is the attribute that is its device's key.
fn gather(
    element: &Element,
    path: &str,
    parent: Option<&str>,
    key_attr: Option<&str>,
    leaves: &mut BTreeMap<String, Leaf>,
) -> Result<(), XmlError> {
    let at = element.pos;
    let before = leaves.len();
    // Also by its key: `env[PASSWORD]`.
    let leaf = |value: Option<String>, name: &str| Leaf { value, at, sensitive: is_secret(name) || is_secret(path) };
    for (name, value) in &element.attrs {
        let declared = name == "xmlns" || name.starts_with("xmlns:") || name.starts_with("jvp:");
        let is_key = key_attr == Some(name) || parent.is_some_and(|parent| is_key_attr(parent, element.local(), name));
        if !declared && !is_key {
            leaves.insert(format!("{path}/@{name}"), leaf(Some(value.clone()), name));
        }
    }
    let text = element.text_content();
    if !text.trim().is_empty() {
        leaves.insert(format!("{path}/#text"), leaf(Some(text.trim().to_owned()), &element.name));
    }
    let known_by = if parent == Some("devices") { key_child(element) } else { None };
    let mut told = BTreeSet::new();
    for child in element.elements() {
        let key = key(element, child)?;
        let child_path = format!("{path}/{}", segment(child, &key));
        if key != Key::List && !told.insert(child_path.clone()) {
            let help = match child.local() {
                "controller" if element.elements().any(|other| other.local() == "controller" && other.get("index").is_none()) => {
                    "each needs an `index` of its own, which is 0 where none is written"
                }
                "controller" => "those of one index are written by hand (virsh edit)",
                _ => "say all of it in one",
            };
            let message = format!("this <{}> and one before it can't be told apart, both are {child_path}: {help}", child.name);
            return Err(XmlError::at(message, child.pos));
        }
        if is_removal(child) {
            if known_by.is_some_and(|(name, _)| *name == *child.name) {
                let message = format!(
                    "this <{0}> is known by its <{1}>, which can't go alone: to take it out, give jvp:remove='true' to the <{0}>",
                    element.name, child.name
                );
                return Err(XmlError::at(message, child.pos));
            }
            if key == Key::List {
                return Err(XmlError::at(format!("one <{}> of a list can't be removed by itself", child.name), child.pos));
            }
            leaves.insert(child_path, Leaf { value: None, at: child.pos, sensitive: false });
        } else if key == Key::List {
            // A list is one leaf: its members in their order.
            let entry =
                leaves.entry(child_path).or_insert_with(|| Leaf { value: Some(String::new()), at: child.pos, sensitive: false });
            entry.sensitive |= is_secret(&child.to_xml());
            entry.value = Some(entry.value.take().unwrap_or_default() + &canonical(child));
        } else {
            let key_attr = known_by.filter(|(name, _)| *name == child.name).map(|(_, attr)| attr);
            gather(child, &child_path, Some(element.local()), key_attr, leaves)?;
        }
    }
    // An element that says nothing but its being there.
    if parent.is_some() && key_attr.is_none() && leaves.len() == before {
        leaves.insert(path.to_owned(), leaf(Some(String::new()), ""));
    }
    Ok(())
}

/// An element in one form, however its attributes were ordered.
pub(super) fn canonical(element: &Element) -> String {
    let mut copy = element.clone();
    sort(&mut copy);
    copy.to_xml()
}

fn sort(element: &mut Element) {
    element.attrs.retain(|(name, _)| name != "xmlns" && !name.starts_with("xmlns:"));
    element.attrs.sort();
    element.nodes.retain(|node| !matches!(node, Node::Comment(_)));
    element.elements_mut().for_each(sort);
}

pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["passwd", "password", "passphrase", "secret"].iter().any(|word| name.contains(word))
}

/// Leaves that typed fields manage: how a leaf's path begins (`*` for any key), and the field.
const TYPED: &[(&str, &str)] = &[
    ("/xml/@type", "/accelerator"),
    ("/xml/title", "/title"),
    ("/xml/description", "/description"),
    ("/xml/memory/", "/memory"),
    ("/xml/currentMemory", "/memory"),
    ("/xml/vcpu/", "/cpu"),
    ("/xml/cpu/@mode", "/cpu/model"),
    ("/xml/cpu/model", "/cpu/model"),
    ("/xml/cpu/topology", "/cpu/topology"),
    ("/xml/os/type/@machine", "/machine"),
    ("/xml/os/@firmware", "/firmware"),
    ("/xml/os/firmware", "/firmware"),
    ("/xml/os/loader", "/firmware"),
    ("/xml/os/nvram", "/firmware"),
    ("/xml/devices/disk[*]/source", "/disks"),
    ("/xml/devices/disk[*]/backingStore", "/disks"),
    ("/xml/devices/disk[*]/driver/@type", "/disks"),
    ("/xml/devices/disk[*]/@type", "/disks"),
    ("/xml/devices/disk[*]/@device", "/disks"),
    ("/xml/devices/disk[*]/alias", "/disks"),
    ("/xml/devices/disk[*]/target/@bus", "/disks"),
    ("/xml/devices/disk[*]/readonly", "/disks"),
    ("/xml/devices/disk[*]/boot", "/disks"),
    ("/xml/devices/disk[*]/iotune/total_", "/disks/*/limits"),
    ("/xml/devices/disk[*]/iotune/read_", "/disks/*/limits"),
    ("/xml/devices/disk[*]/iotune/write_", "/disks/*/limits"),
    ("/xml/devices/disk[*]/iotune/size_", "/disks/*/limits"),
    ("/xml/devices/interface[*]/source", "/interfaces"),
    ("/xml/devices/interface[*]/@type", "/interfaces"),
    ("/xml/devices/interface[*]/alias", "/interfaces"),
    ("/xml/devices/interface[*]/model", "/interfaces"),
    ("/xml/devices/interface[*]/link", "/interfaces"),
    ("/xml/devices/serial", "/console/serial"),
    ("/xml/devices/console", "/console/serial"),
    ("/xml/devices/graphics", "/console/vnc"),
];

/// The typed field that manages a leaf.
fn typed_field(path: &str) -> Option<&'static str> {
    if path.starts_with(&format!("/xml/devices/channel[{AGENT_CHANNEL}]")) {
        return Some("/guestAgent");
    }
    let plain = plain(path);
    TYPED.iter().find(|(start, _)| plain.starts_with(start)).map(|(_, typed)| *typed)
}

/// A path with `[*]` for each key: a key can hold anything, so it is cut out before a comparison.
fn plain(path: &str) -> String {
    let mut plain = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('[') {
        plain.push_str(before);
        plain.push_str("[*]");
        rest = after.split_once(']').map_or("", |(_, tail)| tail);
    }
    plain.push_str(rest);
    plain
}

/// Whether one of the authored paths says what the leaf at `path` says.
pub fn typed_elsewhere(path: &str, typed: &BTreeSet<String>) -> bool {
    let Some(pattern) = typed_field(path) else { return false };
    typed.iter().any(|typed| says(typed, pattern, path))
}

/// Whether one of the authored paths says something in the element at `path`.
pub fn typed_within(path: &str, typed: &BTreeSet<String>) -> bool {
    let within = plain(path) + "/";
    let patterns = TYPED.iter().filter(|(start, _)| start.starts_with(&within)).map(|(_, pattern)| *pattern);
    patterns.into_iter().any(|pattern| typed.iter().any(|typed| says(typed, pattern, path)))
}

/// Whether an authored path is of the field that manages what is at a fragment's path, and of no other device.
fn says(authored: &str, field: &str, path: &str) -> bool {
    covers(field, authored) && !of_another(path, authored)
}

/// Whether an authored path below `/disks` or `/interfaces` is of another device than the leaf's: its name is that one's target, or
/// its MAC, as names of devices without an alias are.
fn of_another(path: &str, authored: &str) -> bool {
    let Some(key) = path.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(key, _)| key) else { return false };
    let mut steps = authored.split('/').skip(1);
    let (list, Some(name)) = (steps.next().unwrap_or_default(), steps.next()) else { return false };
    match list {
        "disks" => {
            let target = ["vd", "sd", "hd", "fd", "xvd"].iter().find_map(|bus| name.strip_prefix(bus));
            target.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase())) && name != key
        }
        "interfaces" => name.replace('-', ":").parse::<crate::name::MacAddr>().is_ok_and(|mac| mac.to_string() != key),
        _ => false,
    }
}

/// Whether an authored path is the field or lies below it; `*` is any key.
fn covers(field: &str, authored: &str) -> bool {
    let mut authored = authored.split('/');
    field.split('/').all(|step| authored.next().is_some_and(|other| step == "*" || step == other))
}
