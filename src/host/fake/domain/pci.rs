//! Where libvirt puts devices: slots of PCI, units of drives, ports of serial and USB buses.
//!
//! Addresses that a document gives are kept; the others get the first free place, kind by kind in libvirt's own order.

use std::collections::{BTreeMap, BTreeSet};

use crate::host::HostError;

use super::super::error::xml;
use super::super::tree::Element;

/// A place on PCI: bus, slot, function.
type Place = (u32, u32, u32);

/// The kinds of devices that have a place, in the order in which they get it.
const ORDER: &[&str] = &["filesystem", "interface", "sound", "controller", "disk", "memballoon", "rng", "video"];

/// Gives every device that needs one an address.
pub(super) fn assign(document: &mut Element, q35: bool) -> Result<(), HostError> {
    let Some(devices) = document.child_mut("devices") else { return Ok(()) };
    let ports = devices.all("controller").filter(|c| c.attr("type") == Some("pci")).count();
    if q35 && ports > 0 {
        let root = devices.all("controller").find(|c| c.attr("type") == Some("pci") && c.attr("index") == Some("0"));
        if root.is_none_or(|c| c.attr("model") != Some("pcie-root")) {
            return Err(xml("PCI controller index='0' must be model='pcie-root' for this machine type"));
        }
    }
    if !q35 && devices.all("controller").any(|c| c.attr("model").is_some_and(|model| model.starts_with("pcie-"))) {
        return Err(xml("PCI Express controllers cannot be used on this machine type"));
    }
    drives(devices);
    serial_ports(devices);
    usb_ports(devices);
    let mut map = Map::of(devices, q35)?;
    map.fixed(devices);
    map.root_ports(devices);
    let begun = map.ports.len();
    let spare = begun == 0;
    for kind in ORDER {
        for device in devices.all_mut(kind) {
            if device.child("address").is_none() && on_pci(device) {
                let place = map.next();
                device.push(address(place));
            }
        }
    }
    if q35 && spare && !map.ports.is_empty() {
        map.next();
    }
    let added: Vec<u32> = map.ports.iter().copied().skip(begun).collect();
    for index in added {
        devices.push(
            Element::new("controller").with("type", "pci").with("index", &index.to_string()).with("model", "pcie-root-port"),
        );
    }
    map.root_ports(devices);
    multifunction(devices);
    Ok(())
}

/// Which places are taken, and which buses there are.
struct Map {
    q35: bool,
    used: BTreeSet<Place>,
    /// Indexes of the root ports, which are buses of one slot.
    ports: Vec<u32>,
}

impl Map {
    fn of(devices: &Element, q35: bool) -> Result<Self, HostError> {
        let mut used = BTreeSet::new();
        for device in devices.children() {
            let Some(place) = device.child("address").filter(|a| a.attr("type") == Some("pci")).map(read) else { continue };
            if !used.insert(place) {
                let (bus, slot, function) = place;
                return Err(xml(format!("Attempted double use of PCI Address 0000:{bus:02x}:{slot:02x}.{function:x}")));
            }
        }
        let ports = devices
            .all("controller")
            .filter(|c| c.attr("type") == Some("pci") && matches!(c.attr("model"), Some("pcie-root-port" | "pcie-to-pci-bridge")))
            .filter_map(|c| c.attr("index")?.parse().ok())
            .collect();
        Ok(Self { q35, used, ports })
    }

    /// Devices whose place the machine type says.
    fn fixed(&mut self, devices: &mut Element) {
        let q35 = self.q35;
        let mut fixed = Vec::new();
        for controller in devices.all_mut("controller").filter(|c| c.child("address").is_none()) {
            let first = controller.attr("index") == Some("0");
            let place = match (controller.attr("type"), controller.attr("model")) {
                (Some("sata"), _) if q35 && first => (0, 0x1f, 2),
                (Some("usb"), Some("piix3-uhci")) if !q35 => (0, 1, 2),
                (Some("ide"), _) if !q35 && first => (0, 1, 1),
                _ => continue,
            };
            controller.push(address(place));
            fixed.push(place);
        }
        let primary = devices.all_mut("video").next().filter(|video| video.child_attr("model", "type") != Some("none"));
        let place = (0, if q35 { 1 } else { 2 }, 0);
        // Where something stands there already, as a port of a domain that had no screen, libvirt finds it another place: for `vga` behind
        // a bridge that it adds, which is left out here.
        if let Some(video) = primary.filter(|video| video.child("address").is_none() && !self.used.contains(&place)) {
            video.push(address(place));
            fixed.push(place);
        }
        if q35 {
            for sound in devices.all_mut("sound").filter(|s| s.attr("model") == Some("ich9") && s.child("address").is_none()) {
                let place = (0, 0x1b, 0);
                sound.push(address(place));
                fixed.push(place);
            }
        }
        self.used.extend(fixed);
    }

    /// Chassis, port and place of the root ports: up to eight share a slot.
    fn root_ports(&mut self, devices: &mut Element) {
        let mut at: Option<Place> = None;
        for controller in devices.all_mut("controller").filter(|c| c.attr("type") == Some("pci") && c.attr("index") != Some("0"))
        {
            if controller.attr("model") != Some("pcie-root-port") {
                let bridge = controller.attr("model") == Some("pcie-to-pci-bridge");
                if bridge && controller.child("model").is_none() {
                    controller.push(Element::new("model").with("name", "pcie-pci-bridge"));
                }
                if bridge && controller.child("address").is_none() {
                    let own = controller.attr("index").and_then(|index| index.parse::<u32>().ok());
                    let free = self.ports.iter().copied().find(|bus| Some(*bus) != own && !self.used.contains(&(*bus, 0, 0)));
                    if let Some(bus) = free {
                        self.used.insert((bus, 0, 0));
                        controller.push(address((bus, 0, 0)));
                    }
                }
                continue;
            }
            if controller.child("model").is_none() {
                controller.push(Element::new("model").with("name", "pcie-root-port"));
            }
            let place = if let Some(place) = controller.child("address").map(read) {
                place
            } else {
                let next = at
                    .map(|(_, slot, function)| (0, slot, function + 1))
                    .filter(|place| place.2 < 8 && !self.used.contains(place));
                let place = next.unwrap_or_else(|| self.free_slot());
                self.used.insert(place);
                controller.push(address(place));
                place
            };
            at = Some(place);
            let index = controller.attr("index").unwrap_or("1").to_owned();
            controller.edit("target", |target| {
                target.default_attr("chassis", &index);
                target.default_attr("port", &format!("{:#x}", (place.1 << 3) + place.2));
            });
        }
    }

    /// A slot of the root bus in which nothing is.
    fn free_slot(&self) -> Place {
        let begin = if self.q35 { 1 } else { 2 };
        let slot = (begin..0x1f).find(|slot| !self.used.iter().any(|place| (place.0, place.1) == (0, *slot)));
        (0, slot.unwrap_or(0x1e), 0)
    }

    /// The next free place for a device that may be plugged; on q35 that is a root port, made where none is free.
    fn next(&mut self) -> Place {
        let place = if self.q35 {
            let mut ports = self.ports.clone();
            ports.sort_unstable();
            let free = ports.iter().copied().find(|bus| !self.used.contains(&(*bus, 0, 0)));
            let bus = free.unwrap_or_else(|| {
                let index = self.ports.iter().copied().max().unwrap_or(0) + 1;
                self.ports.push(index);
                index
            });
            (bus, 0, 0)
        } else {
            self.free_slot()
        };
        self.used.insert(place);
        place
    }
}

/// Whether a device without an address goes on PCI.
fn on_pci(device: &Element) -> bool {
    match device.name.as_str() {
        "disk" => device.child_attr("target", "bus") == Some("virtio"),
        "controller" => match device.attr("type") {
            Some("usb") => device.attr("model") != Some("none"),
            Some("scsi" | "virtio-serial" | "sata") => true,
            _ => false,
        },
        "memballoon" | "rng" => device.attr("model").is_some_and(|model| model.starts_with("virtio")),
        "interface" => device.child_attr("model", "type") != Some("usb-net"),
        "video" => device.child_attr("model", "type") != Some("none"),
        "sound" => device.attr("model") != Some("usb"),
        _ => true,
    }
}

/// The first function of a slot says that there are more, where libvirt chose them.
fn multifunction(devices: &mut Element) {
    let mut functions: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for controller in devices.all("controller").filter(|c| c.attr("model") == Some("pcie-root-port")) {
        let Some((bus, slot, _)) = controller.child("address").map(read) else { continue };
        *functions.entry((bus, slot)).or_default() += 1;
    }
    for controller in devices.all_mut("controller").filter(|c| c.attr("model") == Some("pcie-root-port")) {
        let Some((bus, slot, function)) = controller.child("address").map(read) else { continue };
        if function == 0 && functions.get(&(bus, slot)).is_some_and(|count| *count > 1) {
            controller.edit("address", |address| address.default_attr("multifunction", "on"));
        }
    }
}

fn number(text: &str) -> u32 {
    text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u32::from_str_radix(digits, 16)).unwrap_or(0)
}

fn read(element: &Element) -> Place {
    let of = |name: &str| element.attr(name).map_or(0, number);
    (of("bus"), of("slot"), of("function"))
}

fn address((bus, slot, function): Place) -> Element {
    Element::new("address")
        .with("type", "pci")
        .with("domain", "0x0000")
        .with("bus", &format!("{bus:#04x}"))
        .with("slot", &format!("{slot:#04x}"))
        .with("function", &format!("{function:#x}"))
}

/// Units of disks on SCSI, SATA, IDE and floppy buses, which follow from the target's letters.
fn drives(devices: &mut Element) {
    for disk in devices.all_mut("disk").filter(|disk| disk.child("address").is_none()) {
        let index = disk.child_attr("target", "dev").map_or(0, letters);
        let (controller, bus, unit) = match disk.child_attr("target", "bus") {
            Some("sata") => (index / 6, 0, index % 6),
            // Unit 7 is the controller itself.
            Some("scsi") => (index / 15, 0, index % 15 + u32::from(index % 15 >= 7)),
            Some("ide") => (index / 4, index % 4 / 2, index % 2),
            Some("fdc") => (index / 2, 0, index % 2),
            _ => continue,
        };
        disk.push(
            Element::new("address")
                .with("type", "drive")
                .with("controller", &controller.to_string())
                .with("bus", &bus.to_string())
                .with("target", "0")
                .with("unit", &unit.to_string()),
        );
    }
}

/// The number that a target's letters say: `sda` is 0, `sdaa` is 26.
fn letters(target: &str) -> u32 {
    let letters = target.get(2..).unwrap_or_default();
    let number = letters
        .bytes()
        .filter(u8::is_ascii_lowercase)
        .fold(0u32, |number, byte| number.saturating_mul(26).saturating_add(u32::from(byte - b'a') + 1));
    number.saturating_sub(1)
}

fn serial_ports(devices: &mut Element) {
    let on_virtio = |device: &Element| device.name == "channel" && device.child_attr("target", "type") == Some("virtio");
    let mut used: BTreeSet<u32> =
        devices.children().filter(|d| on_virtio(d)).filter_map(|d| d.child_attr("address", "port")?.parse().ok()).collect();
    // Port 0 is for a console.
    for device in devices.children_mut().filter(|d| on_virtio(d) && d.child("address").is_none()) {
        let port = (1..=511).find(|port| !used.contains(port)).unwrap_or(1);
        used.insert(port);
        device.push(
            Element::new("address")
                .with("type", "virtio-serial")
                .with("controller", "0")
                .with("bus", "0")
                .with("port", &port.to_string()),
        );
    }
}

fn usb_ports(devices: &mut Element) {
    let on_usb = |device: &Element| {
        device.attr("bus") == Some("usb") && device.name == "input" || device.child_attr("target", "bus") == Some("usb")
    };
    let mut used: BTreeSet<String> =
        devices.children().filter(|d| on_usb(d)).filter_map(|d| d.child_attr("address", "port").map(str::to_owned)).collect();
    for device in devices.children_mut().filter(|d| on_usb(d) && d.child("address").is_none()) {
        let port = (1..=127).map(|port: u32| port.to_string()).find(|port| !used.contains(port)).unwrap_or_default();
        device.push(Element::new("address").with("type", "usb").with("bus", "0").with("port", &port));
        used.insert(port);
    }
}
