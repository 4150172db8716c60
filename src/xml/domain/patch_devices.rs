//! Changing devices in a domain's document. A device is found by its alias, else by its target or MAC; one that was there before
//! jvp is given no alias.

use super::devices;
use super::render::{DiskWanted, NicWanted};
use super::{DISK_ALIAS, NIC_ALIAS, SEED_ALIAS, limits};
use crate::manifest::{Console, Vnc};
use crate::name::MacAddr;
use crate::xml::tree::{Element, Node};
use crate::xml::volume::Backing;

/// What kind of device is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A disk.
    Disk,
    /// A network interface.
    Nic,
}

/// A device's alias.
pub(super) fn alias(element: &Element) -> Option<&str> {
    element.child("alias")?.get("name")
}

/// Whether a device is that of a name, by the same rule as the reader's.
fn is_named(element: &Element, found: Found, name: &str) -> bool {
    let (kind, prefix) = match found {
        Found::Disk => ("disk", DISK_ALIAS),
        Found::Nic => ("interface", NIC_ALIAS),
    };
    if element.name != kind || alias(element) == Some(SEED_ALIAS) {
        return false;
    }
    let alias = alias(element).and_then(|alias| alias.strip_prefix(prefix).or_else(|| alias.strip_prefix("ua-")));
    if let Some(alias) = alias.filter(|alias| alias.parse::<crate::name::DeviceName>().is_ok()) {
        return alias == name;
    }
    match found {
        Found::Disk => element.child("target").is_some_and(|target| target.get("dev") == Some(name)),
        Found::Nic => {
            let mac = element.child("mac").and_then(|mac| mac.get("address")).and_then(|mac| mac.parse::<MacAddr>().ok());
            mac.is_some_and(|mac| mac.to_string().replace(':', "-") == name)
        }
    }
}

pub(super) fn find<'a>(list: &'a mut Element, found: Found, name: &str) -> Option<&'a mut Element> {
    list.elements_mut().find(|element| is_named(element, found, name))
}

/// Gives a device an alias of its name, where it has none of a user's.
fn keep_name(element: &mut Element, prefix: &str, name: &str) {
    if !alias(element).is_some_and(|alias| alias.starts_with("ua-")) {
        element.ensure("alias").set("name", format!("{prefix}{name}"));
    }
}

/// Adds a disk, or brings the one of that name into the wanted state.
pub(super) fn put_disk(list: &mut Element, wanted: &DiskWanted) {
    if wanted.bus == "scsi" && !list.elements().any(|e| e.name == "controller" && e.get("type") == Some("scsi")) {
        list.push(devices::scsi_controller());
    }
    if !list.elements().any(|element| is_named(element, Found::Disk, wanted.name.as_str())) {
        list.push(devices::disk(wanted));
    }
    let Some(disk) = find(list, Found::Disk, wanted.name.as_str()) else { return };
    let moved = source_path(disk) != wanted.path.as_deref();
    if moved {
        put_source(disk, wanted.path.as_deref());
        disk.nodes.extend(devices::backing_store(&wanted.backing).map(Node::Element));
    }
    // A disk that names a volume by its pool gets its format from there.
    let format = disk.child("driver").and_then(|driver| driver.get("type"));
    if moved || format.is_some_and(|format| format != wanted.format) {
        disk.ensure("driver").set("type", &wanted.format);
    }
    disk.set("device", &wanted.device);
    let moves = disk.child("target").and_then(|target| target.get("bus")) != Some(&wanted.bus);
    if moves {
        // One that was known by its target needs a name that stays.
        keep_name(disk, DISK_ALIAS, wanted.name.as_str());
    }
    let target = disk.ensure("target");
    if moves {
        target.set("bus", &wanted.bus);
        target.set("dev", &wanted.target);
        disk.remove_named("address");
    }
    if wanted.read_only || wanted.device == "cdrom" {
        disk.ensure("readonly");
    } else {
        disk.remove_named("readonly");
    }
    if let Some(order) = wanted.boot_order {
        disk.ensure("boot").set("order", order);
    }
    limits::put(disk, &wanted.limits);
}

fn source_path(disk: &Element) -> Option<&str> {
    let source = disk.child("source")?;
    source.get("file").or_else(|| source.get("dev"))
}

fn put_source(disk: &mut Element, path: Option<&str>) {
    if source_path(disk) == path {
        return;
    }
    disk.remove(|child| child.name == "source" || child.name == "backingStore" || child.name == "mirror");
    disk.set("type", devices::source_kind(path));
    if let Some(path) = path {
        let place = disk.nodes.iter().position(|node| matches!(node, Node::Element(child) if child.name == "target"));
        disk.nodes.insert(place.unwrap_or(0), Node::Element(devices::source(path)));
    }
}

/// Writes what lies beneath a disk, where its document tells that.
pub(super) fn put_chain(list: &mut Element, name: &str, chain: &[Backing]) {
    let Some(disk) = find(list, Found::Disk, name) else { return };
    if disk.remove_named("backingStore") {
        disk.nodes.extend(devices::backing_store(chain).map(Node::Element));
    }
}

/// Adds the seed's disk, or gives it another image.
pub(super) fn put_seed(list: &mut Element, path: &str) {
    if let Some(disk) = list.elements_mut().find(|element| alias(element) == Some(SEED_ALIAS)) {
        return put_source(disk, Some(path));
    }
    let disks = list.elements().filter(|element| element.name == "disk");
    let targets: Vec<String> = disks.filter_map(|disk| disk.child("target")?.get("dev").map(str::to_owned)).collect();
    let taken: Vec<&str> = targets.iter().map(String::as_str).collect();
    list.push(devices::seed(path, &devices::free_target("vd", &taken)));
}

/// Adds an interface, or brings the one of that name into the wanted state.
pub(super) fn put_nic(list: &mut Element, wanted: &NicWanted) {
    if !list.elements().any(|element| is_named(element, Found::Nic, wanted.name.as_str())) {
        list.push(devices::nic(wanted));
    }
    let Some(nic) = find(list, Found::Nic, wanted.name.as_str()) else { return };
    let (kind, source) = devices::nic_source(&wanted.source);
    let same = |attr: &str| nic.child("source").and_then(|old| old.get(attr)) == source.get(attr);
    if nic.get("type") != Some(kind) || !same("network") || !same("bridge") {
        nic.set("type", kind);
        // What belonged to the old plug (a port group, a port's profile) does not fit the new one.
        nic.remove(|child| child.name == "source" || child.name == "virtualport");
        nic.push(source);
    }
    let address = nic.child("mac").and_then(|mac| mac.get("address")).and_then(|mac| mac.parse::<MacAddr>().ok());
    if address != Some(wanted.mac) {
        keep_name(nic, NIC_ALIAS, wanted.name.as_str());
        nic.ensure("mac").set("address", wanted.mac);
    }
    let model = nic.child("model").and_then(|model| model.get("type"));
    if model.is_none_or(|model| !model.eq_ignore_ascii_case(&wanted.model)) {
        nic.ensure("model").set("type", &wanted.model);
    }
    if let Some(state) = wanted.link_state {
        nic.ensure("link").set("state", devices::link(state));
    }
    if let Some(order) = wanted.boot_order {
        nic.ensure("boot").set("order", order);
    }
}

/// Sets what a spec says of consoles.
pub(super) fn put_console(list: &mut Element, wanted: &Console) {
    match wanted.serial {
        Some(true) if !list.elements().any(|element| element.name == "serial") => {
            list.nodes.extend(devices::serial().into_iter().map(Node::Element));
        }
        Some(false) => drop_serial(list),
        Some(true) | None => {}
    }
    if let Some(wanted) = &wanted.vnc {
        put_vnc(list, wanted);
    }
}

/// The VNC screen.
pub(super) fn vnc(list: &mut Element) -> Option<&mut Element> {
    list.elements_mut().find(|element| is_vnc(element))
}

fn is_vnc(element: &Element) -> bool {
    element.name == "graphics" && element.get("type") == Some("vnc")
}

fn put_vnc(list: &mut Element, wanted: &Vnc) {
    if !list.elements().any(is_vnc) {
        for element in devices::screen(wanted, None) {
            // A pointer and a card may be there from another screen.
            let there = list.elements().any(|have| have.name == element.name && have.get("type") == element.get("type"));
            if !there {
                list.push(element);
            }
        }
    }
    let Some(graphics) = vnc(list) else { return };
    if wanted.socket.is_none() && wanted.listen.is_none() {
        return;
    }
    let new = devices::graphics(wanted, None);
    for name in ["socket", "listen"] {
        graphics.unset(name);
    }
    // A socket has no port; an address that takes a socket's place has one of libvirt's choice.
    if wanted.socket.is_some() {
        graphics.unset("port");
        graphics.unset("autoport");
    } else if graphics.get("port").is_none() {
        graphics.set("port", -1);
        graphics.set("autoport", "yes");
    }
    for (name, value) in new.attrs.iter().filter(|(name, _)| name == "socket" || name == "listen") {
        graphics.set(name.clone(), value);
    }
    graphics.remove_named("listen");
    graphics.nodes.extend(new.nodes);
}

/// Removes the serial port and the console on it.
pub(super) fn drop_serial(list: &mut Element) {
    list.remove(|element| {
        let target = element.child("target").and_then(|target| target.get("type"));
        element.name == "serial" || (element.name == "console" && target.is_none_or(|kind| kind == "serial"))
    });
}

/// Removes the screen, or what one of its fields set.
pub(super) fn drop_vnc(list: &mut Element, path: &[&str]) {
    if path.is_empty() {
        list.remove(is_vnc);
        return;
    }
    let Some(graphics) = vnc(list) else { return };
    match path {
        ["password", ..] => {
            graphics.unset("passwd");
            graphics.unset("passwdValidTo");
        }
        ["socket" | "listen"] => {
            let kind = if path[0] == "socket" { "socket" } else { "address" };
            graphics.unset(path[0]);
            graphics.remove(|child| child.name == "listen" && child.get("type") == Some(kind));
            if graphics.get("socket").is_none() && graphics.get("port").is_none() {
                graphics.set("port", -1);
                graphics.set("autoport", "yes");
            }
        }
        _ => {}
    }
}

/// Removes a device, or what one of its fields set.
pub(super) fn drop_leaf(list: &mut Element, found: Found, name: &str, path: &[&str]) {
    if matches!(path, [] | ["name"]) {
        list.remove(|element| is_named(element, found, name));
        return;
    }
    let Some(element) = find(list, found, name) else { return };
    match path {
        ["bootOrder"] => {
            element.remove_named("boot");
        }
        ["readOnly"] if element.get("device") != Some("cdrom") => {
            element.remove_named("readonly");
        }
        ["linkState"] => {
            element.remove_named("link");
        }
        _ => {}
    }
}
