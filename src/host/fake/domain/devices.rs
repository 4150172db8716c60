//! The devices that libvirt adds to a domain, and what it adds to those that are there.

use crate::host::HostError;

use super::super::error::{unsupported_config, xml};
use super::super::schema::Schema;
use super::super::state::State;
use super::super::tree::{Element, Node};
use super::super::units;

/// Completes the devices, without their addresses.
pub(super) fn complete(
    state: &mut State,
    document: &mut Element,
    name: &str,
    machine: &str,
    watchdog: bool,
) -> Result<(), HostError> {
    let q35 = machine.contains("q35");
    document.edit("devices", |_| {});
    let Some(devices) = document.child_mut("devices") else { return Ok(()) };
    if devices.child("emulator").is_none() {
        devices.push(Element::new("emulator").with_text("/usr/bin/qemu-system-x86_64"));
    }
    for device in devices.children_mut() {
        if device.child_attr("alias", "name").is_some_and(|alias| !alias.starts_with("ua-")) {
            device.remove("alias");
        }
    }
    aliases(devices)?;
    disks(devices)?;
    interfaces(state, devices, name);
    characters(devices);
    graphics(devices);
    controllers(devices, q35);
    for rng in devices.all_mut("rng") {
        rng.default_attr("model", "virtio");
    }
    if devices.child("memballoon").is_none() {
        devices.push(Element::new("memballoon").with("model", "virtio"));
    }
    for balloon in devices.all_mut("memballoon").filter(|balloon| balloon.attr("model") == Some("none")) {
        balloon.nodes.clear();
    }
    if watchdog && q35 && !devices.all("watchdog").any(|dog| dog.attr("model") == Some("itco")) {
        devices.push(Element::new("watchdog").with("model", "itco").with("action", "reset"));
    }
    Ok(())
}

fn aliases(devices: &Element) -> Result<(), HostError> {
    let names: Vec<&str> = devices.children().filter_map(|device| device.child_attr("alias", "name")).collect();
    for (index, name) in names.iter().enumerate() {
        if names.iter().take(index).any(|other| other == name) {
            return Err(unsupported_config(format!("non unique alias detected: {name}")));
        }
    }
    Ok(())
}

fn disks(devices: &mut Element) -> Result<(), HostError> {
    let mut targets: Vec<(String, String)> = Vec::new();
    for disk in devices.all_mut("disk") {
        disk.default_attr("type", "file");
        disk.default_attr("device", "disk");
        let Some(target) = disk.child_attr("target", "dev").map(str::to_owned) else {
            return Err(xml("no target device for disk"));
        };
        let source = disk.child("source").and_then(|source| source.attr("file").or_else(|| source.attr("dev")));
        let source = source.unwrap_or("NULL").to_owned();
        if let Some((_, other)) = targets.iter().find(|(other, _)| *other == target) {
            return Err(xml(format!("target '{target}' duplicated for disk sources '{other}' and '{source}'")));
        }
        let bus = match target.get(..2) {
            Some("vd") => "virtio",
            Some("sd") => "scsi",
            Some("fd") => "fdc",
            _ => "ide",
        };
        targets.push((target, source));
        disk.edit("target", |target| {
            target.default_attr("bus", bus);
            target.unset("tray");
        });
        let cdrom = disk.attr("device") == Some("cdrom");
        let volume = disk.attr("type") == Some("volume");
        if cdrom && disk.child("readonly").is_none() {
            disk.push(Element::new("readonly"));
        }
        disk.edit("driver", |driver| {
            driver.default_attr("name", "qemu");
            if !volume {
                driver.default_attr("type", "raw");
            }
            if driver.attr("cache") == Some("default") {
                driver.unset("cache");
            }
        });
        disk.remove("mirror");
        if let Some(source) = disk.child_mut("source") {
            source.unset("index");
        }
        if disk.child("source").is_some_and(|source| source.attrs.is_empty() && source.nodes.is_empty()) {
            disk.remove("source");
        }
    }
    // By bus, the buses in the order of their first disk; then by target.
    let mut all: Vec<Element> = devices.all("disk").cloned().collect();
    let bus = |disk: &Element| disk.child_attr("target", "bus").unwrap_or_default().to_owned();
    let buses: Vec<String> = all.iter().map(bus).collect();
    let place = |disk: &Element| {
        let target = disk.child_attr("target", "dev").unwrap_or_default().to_owned();
        (buses.iter().position(|other| *other == bus(disk)), target.len(), target)
    };
    all.sort_by_key(place);
    devices.remove("disk");
    devices.nodes.extend(all.into_iter().map(Node::Element));
    Ok(())
}

fn interfaces(state: &mut State, devices: &mut Element, name: &str) {
    for interface in devices.all_mut("interface") {
        let mac = interface.child_attr("mac", "address").map(str::to_ascii_lowercase).filter(|mac| mac != "00:00:00:00:00:00");
        let mac = mac.unwrap_or_else(|| state.make_mac(&format!("domain {name}")));
        interface.edit("mac", |element| element.set("address", &mac));
        interface.edit("model", |model| model.default_attr("type", "rtl8139"));
        let reserved = ["vnet", "macvtap", "macvlan"];
        if interface.child_attr("target", "dev").is_some_and(|dev| reserved.iter().any(|prefix| dev.starts_with(prefix))) {
            interface.remove("target");
        }
        if let Some(source) = interface.child_mut("source") {
            source.unset("portid");
            if source.attr("network").is_some() {
                source.unset("bridge");
            }
        }
    }
}

/// Serial ports, consoles and channels; the first console is the first serial port.
fn characters(devices: &mut Element) {
    let bare = |device: &mut Element| {
        device.default_attr("type", "pty");
        device.unset("tty");
        if device.attr("type") == Some("pty") {
            device.remove("source");
        }
    };
    for (port, serial) in devices.all_mut("serial").enumerate() {
        bare(serial);
        serial.edit("target", |target| {
            target.default_attr("type", "isa-serial");
            target.default_attr("port", &port.to_string());
            let model = target.attr("type").unwrap_or("isa-serial").to_owned();
            if target.child("model").is_none() {
                target.push(Element::new("model").with("name", &model));
            }
        });
    }
    let first_is_serial =
        devices.child("console").is_none_or(|console| console.child_attr("target", "type").is_none_or(|t| t == "serial"));
    match (devices.child("serial").cloned(), devices.child("console").is_some()) {
        (Some(serial), there) if first_is_serial => {
            let mut console = Element::new("console").with("type", serial.attr("type").unwrap_or("pty"));
            console.nodes.extend(serial.children().filter(|child| child.name == "source").cloned().map(Node::Element));
            console.push(Element::new("target").with("type", "serial").with("port", "0"));
            if there {
                if let Some(old) = devices.child_mut("console") {
                    *old = console;
                }
            } else {
                devices.push(console);
            }
        }
        (None, true) if first_is_serial => {
            let target = Element::new("target").with("type", "isa-serial").with("port", "0");
            let serial = Element::new("serial").with("type", "pty");
            devices.push(serial.with_child(target.with_child(Element::new("model").with("name", "isa-serial"))));
        }
        _ => {}
    }
    for (port, console) in devices.all_mut("console").enumerate() {
        bare(console);
        console.edit("target", |target| {
            target.default_attr("type", "serial");
            target.default_attr("port", &port.to_string());
        });
    }
    for channel in devices.all_mut("channel") {
        channel.edit("target", |target| target.unset("state"));
        let own =
            channel.child_attr("source", "path").is_some_and(|path| path.starts_with("/var/lib/libvirt/qemu/channel/target/"));
        if own {
            channel.remove("source");
        }
        if channel.child("source").is_none_or(|source| source.attr("mode").is_some()) {
            channel.default_attr("type", "unix");
        }
    }
}

fn graphics(devices: &mut Element) {
    let any = devices.child("graphics").is_some();
    for element in devices.all_mut("graphics") {
        if element.attr("type") == Some("vnc") && element.attr("socket").is_none() {
            match element.attr("port") {
                Some(port) if port != "-1" && element.attr("autoport") != Some("yes") => element.set("autoport", "no"),
                _ => {
                    element.set("port", "-1");
                    element.set("autoport", "yes");
                }
            }
        }
        if let Some(socket) = element.attr("socket").map(str::to_owned) {
            element.remove("listen");
            element.push(Element::new("listen").with("type", "socket").with("socket", &socket));
        } else {
            let given = element.child_attr("listen", "address").or_else(|| element.attr("listen")).map(str::to_owned);
            if element.child("listen").is_none() {
                let kind = if element.attr("type") == Some("spice") && given.is_none() { "none" } else { "address" };
                element.push(Element::new("listen").with("type", kind));
            }
            if let Some(address) = given.filter(|_| element.child_attr("listen", "type") == Some("address")) {
                element.set("listen", &address);
                element.edit("listen", |listen| listen.set("address", &address));
            }
        }
    }
    if any && devices.child("video").is_none() {
        devices.push(Element::new("video").with_child(Element::new("model").with("type", "cirrus").with("vram", "16384")));
    }
    let mut primary = true;
    for video in devices.all_mut("video") {
        video.edit("model", |model| {
            if matches!(model.attr("type"), Some("vga" | "cirrus" | "vmvga" | "qxl")) {
                let vram = model.attr("vram").and_then(|text| units::kib(text, None)).unwrap_or(16384).next_power_of_two();
                model.set("vram", &vram.to_string());
            }
            if model.attr("type") == Some("qxl") {
                model.default_attr("ram", "65536");
                model.default_attr("vgamem", "16384");
            }
            if model.attr("type") != Some("none") {
                model.default_attr("heads", "1");
                if primary {
                    model.set("primary", "yes");
                } else {
                    model.unset("primary");
                }
            }
        });
        primary = false;
    }
    let spice = devices.all("graphics").any(|element| element.attr("type") == Some("spice"));
    if devices.child("audio").is_none() {
        devices.push(Element::new("audio").with("id", "1").with("type", if spice { "spice" } else { "none" }));
    }
}

/// Controllers that are there by themselves, and those that a device needs.
fn controllers(devices: &mut Element, q35: bool) {
    let has = |devices: &Element, kind: &str| devices.all("controller").any(|controller| controller.attr("type") == Some(kind));
    let disk_on = |devices: &Element, bus: &str| devices.all("disk").any(|disk| disk.child_attr("target", "bus") == Some(bus));
    let add = |devices: &mut Element, kind: &str, model: Option<&str>| {
        if !has(devices, kind) {
            let controller = Element::new("controller").with("type", kind).with("index", "0");
            devices.push(model.into_iter().fold(controller, |controller, model| controller.with("model", model)));
        }
    };
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for controller in devices.all_mut("controller") {
        let count = counts.entry(controller.attr("type").unwrap_or_default().to_owned()).or_default();
        controller.default_attr("index", &count.to_string());
        *count += 1;
        match (controller.attr("type"), controller.attr("model")) {
            (Some("usb"), None) => controller.set("model", if q35 { "qemu-xhci" } else { "piix3-uhci" }),
            (Some("scsi"), None) => controller.set("model", "lsilogic"),
            _ => {}
        }
    }
    sort_controllers(devices);
    add(devices, "usb", Some(if q35 { "qemu-xhci" } else { "piix3-uhci" }));
    if q35 || disk_on(devices, "sata") {
        add(devices, "sata", None);
    }
    add(devices, "pci", Some(if q35 { "pcie-root" } else { "pci-root" }));
    if disk_on(devices, "ide") {
        add(devices, "ide", None);
    }
    if disk_on(devices, "fdc") {
        add(devices, "fdc", None);
    }
    if disk_on(devices, "scsi") {
        add(devices, "scsi", Some("lsilogic"));
    }
    let serial = |device: &Element| {
        device.child_attr("target", "type") == Some("virtio") && matches!(device.name.as_str(), "channel" | "console")
    };
    if devices.children().any(serial) {
        add(devices, "virtio-serial", None);
    }
    inputs(devices);
}

/// The same for a whole document.
pub(super) fn sort_controllers_of(document: &mut Element) {
    if let Some(devices) = document.child_mut("devices") {
        sort_controllers(devices);
    }
    Schema::Domain.settle(document);
}

/// By type, in the order of the first of each; then by index.
fn sort_controllers(devices: &mut Element) {
    let mut all: Vec<Element> = devices.all("controller").cloned().collect();
    let kinds: Vec<Option<String>> = all.iter().map(|controller| controller.attr("type").map(str::to_owned)).collect();
    all.sort_by_key(|controller| {
        let index: u32 = controller.attr("index").and_then(|text| text.parse().ok()).unwrap_or(0);
        (kinds.iter().position(|kind| kind.as_deref() == controller.attr("type")), index)
    });
    devices.remove("controller");
    devices.nodes.extend(all.into_iter().map(Node::Element));
}

fn inputs(devices: &mut Element) {
    for input in devices.all_mut("input") {
        let bus = if input.attr("type") == Some("tablet") { "usb" } else { "ps2" };
        input.default_attr("bus", bus);
    }
    for kind in ["mouse", "keyboard"] {
        if !devices.all("input").any(|input| input.attr("type") == Some(kind) && input.attr("bus") == Some("ps2")) {
            devices.push(Element::new("input").with("type", kind).with("bus", "ps2"));
        }
    }
}
