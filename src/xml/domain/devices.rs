//! Devices, one element each, as a new domain has them and a patch adds them.

use super::render::{DiskWanted, NicSource, NicWanted};
use super::{DISK_ALIAS, NIC_ALIAS, SEED_ALIAS, limits};
use crate::manifest::{DiskBus, LinkState, Vnc};
use crate::xml::tree::Element;
use crate::xml::volume::Backing;

/// What kind of source a path is: block devices are named by their path, too.
pub(super) fn source_kind(path: Option<&str>) -> &'static str {
    if path.is_some_and(|path| path.starts_with("/dev/")) { "block" } else { "file" }
}

/// A `<source>` for a path.
pub(super) fn source(path: &str) -> Element {
    let name = if source_kind(Some(path)) == "block" { "dev" } else { "file" };
    Element::new("source").attr(name, path)
}

/// The chain below a disk, each with its format, closed at its end so that nothing is probed.
pub(super) fn backing_store(chain: &[Backing]) -> Option<Element> {
    let chain = if chain.is_empty() { return None } else { chain };
    Some(chain.iter().rev().fold(Element::new("backingStore"), |below, backing| {
        Element::new("backingStore")
            .attr("type", source_kind(Some(&backing.path)))
            .with(Element::new("format").attr("type", &backing.format))
            .with(source(&backing.path))
            .with(below)
    }))
}

/// A disk or CD-ROM.
pub(super) fn disk(wanted: &DiskWanted) -> Element {
    Element::new("disk")
        .attr("type", source_kind(wanted.path.as_deref()))
        .attr("device", &wanted.device)
        .with(Element::new("driver").attr("name", "qemu").attr("type", &wanted.format))
        .with_opt(wanted.path.as_deref().map(source))
        .with_opt(backing_store(&wanted.backing))
        .with(Element::new("target").attr("dev", &wanted.target).attr("bus", &wanted.bus))
        .with_opt(limits::element(&wanted.limits))
        .with_opt((wanted.read_only || wanted.device == "cdrom").then(|| Element::new("readonly")))
        .with_opt(wanted.serial.as_ref().map(|serial| Element::new("serial").text(serial)))
        .with_opt(boot(wanted.boot_order))
        .with(Element::new("alias").attr("name", format!("{DISK_ALIAS}{}", wanted.name)))
}

/// The cloud-init seed: read-only and virtio, for the cloud kernels of distributions have no driver for SATA.
pub(super) fn seed(path: &str, target: &str) -> Element {
    Element::new("disk")
        .attr("type", source_kind(Some(path)))
        .attr("device", "disk")
        .with(Element::new("driver").attr("name", "qemu").attr("type", "raw"))
        .with(source(path))
        .with(Element::new("target").attr("dev", target).attr("bus", "virtio"))
        .with(Element::new("readonly"))
        .with(Element::new("alias").attr("name", SEED_ALIAS))
}

/// The first free target of a bus; `taken` are the targets of the domain's disks.
pub fn next_target(bus: DiskBus, taken: &[&str]) -> String {
    let prefix = match bus {
        DiskBus::Virtio => "vd",
        DiskBus::Scsi | DiskBus::Sata => "sd",
    };
    let mut number = 0;
    loop {
        let target = format!("{prefix}{}", letters(number));
        if !taken.contains(&target.as_str()) {
            return target;
        }
        number += 1;
    }
}

/// The first target of a bus after the last that is taken, so that the device comes last on it.
pub(super) fn free_target(prefix: &str, taken: &[&str]) -> String {
    let next = taken.iter().filter_map(|target| number(target.strip_prefix(prefix)?)).max().map_or(0, |last| last + 1);
    format!("{prefix}{}", letters(next))
}

/// `a` is 0, `z` 25, `aa` 26.
fn number(letters: &str) -> Option<u32> {
    if letters.is_empty() || letters.len() > 4 {
        return None;
    }
    letters
        .bytes()
        .try_fold(0u32, |sum, byte| byte.is_ascii_lowercase().then(|| sum * 26 + u32::from(byte - b'a') + 1))
        .map(|sum| sum - 1)
}

fn letters(mut number: u32) -> String {
    let mut text = String::new();
    loop {
        text.insert(0, char::from(b'a' + u8::try_from(number % 26).unwrap_or_default()));
        if number < 26 {
            return text;
        }
        number = number / 26 - 1;
    }
}

/// `<boot order=…>`.
pub(super) fn boot(order: Option<u32>) -> Option<Element> {
    order.map(|order| Element::new("boot").attr("order", order))
}

/// The kind and `<source>` of an interface.
pub(super) fn nic_source(wanted: &NicSource) -> (&'static str, Element) {
    match wanted {
        NicSource::Network(name) => ("network", Element::new("source").attr("network", name)),
        NicSource::Bridge(name) => ("bridge", Element::new("source").attr("bridge", name)),
    }
}

/// libvirt's word for a link's state.
pub(super) fn link(state: LinkState) -> &'static str {
    match state {
        LinkState::Up => "up",
        LinkState::Down => "down",
    }
}

/// A network interface.
pub(super) fn nic(wanted: &NicWanted) -> Element {
    let (kind, source) = nic_source(&wanted.source);
    Element::new("interface")
        .attr("type", kind)
        .with(Element::new("mac").attr("address", wanted.mac))
        .with(source)
        .with(Element::new("model").attr("type", &wanted.model))
        .with_opt(wanted.link_state.map(|state| Element::new("link").attr("state", link(state))))
        .with_opt(boot(wanted.boot_order))
        .with(Element::new("alias").attr("name", format!("{NIC_ALIAS}{}", wanted.name)))
}

/// A serial port and the console on it.
pub(super) fn serial() -> Vec<Element> {
    vec![
        Element::new("serial").attr("type", "pty").with(Element::new("target").attr("port", 0)),
        Element::new("console").attr("type", "pty").with(Element::new("target").attr("type", "serial").attr("port", 0)),
    ]
}

/// A channel to the guest.
pub(super) fn channel(name: &str) -> Element {
    Element::new("channel").attr("type", "unix").with(Element::new("target").attr("type", "virtio").attr("name", name))
}

/// The controller that scsi disks hang on. Without it a hot-plugged one gets a controller that no guest has a driver for.
pub(super) fn scsi_controller() -> Element {
    Element::new("controller").attr("type", "scsi").attr("index", 0).attr("model", "virtio-scsi")
}

/// A screen: the pointer, VNC and the graphics card that they need.
pub(super) fn screen(wanted: &Vnc, password: Option<&str>) -> Vec<Element> {
    vec![
        Element::new("input").attr("type", "tablet").attr("bus", "usb"),
        graphics(wanted, password),
        Element::new("video")
            .with(Element::new("model").attr("type", "vga").attr("vram", 16384).attr("heads", 1).attr("primary", "yes")),
    ]
}

/// `<graphics type='vnc'>`.
pub(super) fn graphics(wanted: &Vnc, password: Option<&str>) -> Element {
    let element = Element::new("graphics").attr("type", "vnc");
    let element = if let Some(socket) = &wanted.socket {
        element.attr("socket", socket).with(Element::new("listen").attr("type", "socket").attr("socket", socket))
    } else {
        let address = wanted.listen.map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string());
        let listen = Element::new("listen").attr("type", "address").attr("address", &address);
        element.attr("port", -1).attr("autoport", "yes").attr("listen", &address).with(listen)
    };
    element.attr_opt("passwd", password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_go_on_after_z() {
        assert_eq!(free_target("vd", &[]), "vda");
        assert_eq!(free_target("vd", &["vda", "sdc", "vdz"]), "vdaa");
        assert_eq!(free_target("vd", &["vdaz"]), "vdba");
        assert_eq!(next_target(DiskBus::Virtio, &["vda", "vdc"]), "vdb");
        assert_eq!(next_target(DiskBus::Scsi, &["vda"]), "sda");
        assert_eq!(free_target("vd", &["vd"]), "vda");
        assert_eq!(free_target("sd", &["sdaaaa"]), "sdaaab");
    }
}
