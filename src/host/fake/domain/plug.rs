//! Changing domains while they run: devices, vCPUs, memory, saved states.
//!
//! As with libvirt, a change of both documents is all or nothing, and says nothing of what a guest makes of it.

use uuid::Uuid;

use crate::host::{ErrorKind, HostError};
use crate::plan::Plug;

use super::super::error::{invalid, libvirt, no_file, no_network, unsupported_config, xml};
use super::super::schema::Schema;
use super::super::state::{Domain, Manners, State};
use super::super::tree::Element;
use super::live;

/// How a device is told from others of its kind.
fn key(device: &Element) -> String {
    let of = |child: &str, attr: &str| device.child_attr(child, attr).unwrap_or_default().to_ascii_lowercase();
    match device.name.as_str() {
        "disk" => of("target", "dev"),
        "interface" => of("mac", "address"),
        "channel" => of("target", "name"),
        "graphics" => device.attr("type").unwrap_or_default().to_owned(),
        _ => of("alias", "name"),
    }
}

/// Whether a device's place in the boot order is free in a document.
fn has_place(document: &Element, device: &Element) -> Result<(), HostError> {
    let Some(order) = device.child_attr("boot", "order") else { return Ok(()) };
    if document.at(&["os", "boot"]).is_some() {
        return Err(unsupported_config("per-device boot elements cannot be used together with os/boot elements"));
    }
    let mut devices = document.child("devices").into_iter().flat_map(Element::children);
    if devices.any(|other| other.child_attr("boot", "order") == Some(order)) {
        return Err(unsupported_config(format!("boot order {order} is already used by another device")));
    }
    Ok(())
}

fn same(a: &Element, b: &Element) -> bool {
    a.name == b.name && key(a) == key(b)
}

fn find<'a>(document: &'a mut Element, device: &Element) -> Option<&'a mut Element> {
    document.child_mut("devices")?.children_mut().find(|other| same(other, device))
}

fn missing(device: &Element) -> HostError {
    let what = match device.name.as_str() {
        "disk" => format!("disk {} not found", key(device)),
        "interface" => {
            let mac = key(device);
            format!("no device found at address '(<null>)' matching MAC address '{mac}' and alias '(<null>)'")
        }
        _ => format!("no {} device found", device.name),
    };
    libvirt(ErrorKind::NotFound, 99, format!("device not found: {what}"))
}

fn unsupported(message: impl Into<String>) -> HostError {
    libvirt(ErrorKind::Unsupported, 84, message)
}

impl State {
    pub(super) fn documents(&self, uuid: Uuid, live: bool, config: bool) -> Result<(String, Domain), HostError> {
        let (name, domain) = self.by_uuid(uuid)?;
        if live && domain.power.is_none() {
            return Err(invalid("domain is not running"));
        }
        if config && !domain.persistent {
            return Err(invalid("transient domains do not have any persistent config"));
        }
        Ok((name, domain.clone()))
    }

    pub(super) fn put(&mut self, name: &str, inactive: Option<String>, running: Option<String>) {
        if let Some(domain) = self.domains.get_mut(name) {
            domain.inactive = inactive.unwrap_or_else(|| std::mem::take(&mut domain.inactive));
            domain.live = running.or_else(|| domain.live.take());
        }
    }

    /// `virsh attach-device`, `update-device` and `detach-device`.
    pub fn domain_device(&mut self, uuid: Uuid, how: Plug, text: &str, live: bool, config: bool) -> Result<(), HostError> {
        let (name, domain) = self.documents(uuid, live, config)?;
        let device = Element::parse(text).map_err(xml)?;
        let inactive = Element::parse(&domain.inactive).map_err(xml)?;
        let running = domain.live.as_deref().filter(|_| live).map(Element::parse).transpose().map_err(xml)?;
        let kept = match (how, domain.manners) {
            // A guest without an OS never lets go.
            (Plug::Detach, Manners::Ignores) => domain.live.clone(),
            _ => None,
        };
        let (inactive, running) = match how {
            Plug::Attach => self.attach(&name, uuid, &inactive, running, &device, config)?,
            Plug::Update => {
                let running = running.map(|document| self.update(document, &device)).transpose()?;
                let inactive = if config { Some(self.update(inactive, &device)?) } else { None };
                (inactive, running)
            }
            Plug::Detach => {
                let without = |mut document: Element| {
                    let found = find(&mut document, &device).is_some();
                    document.edit("devices", |devices| devices.retain(|other| !same(other, &device)));
                    if found { Ok(document) } else { Err(missing(&device)) }
                };
                if live && device.child_attr("target", "bus") == Some("sata") {
                    let kind = device.attr("device").unwrap_or("disk");
                    return Err(unsupported(format!("disk device type '{kind}' cannot be detached")));
                }
                let mut running = running;
                if let Some(nic) = running.as_mut().and_then(|document| find(document, &device)).filter(|_| kept.is_none()) {
                    let nic = nic.clone();
                    live::unplug_nic(self, &nic);
                }
                // Where the last place in the boot order goes with it, libvirt has the definition boot by kinds of devices again.
                let inactive = if config { Some(self.complete_domain(without(inactive)?, &name, uuid)?) } else { None };
                (inactive, running.map(without).transpose()?)
            }
        };
        let print = |document: Option<Element>| document.map(|document| document.print());
        let stays = kept.is_some();
        let running = kept.filter(|_| running.is_some()).or_else(|| print(running));
        let words: &[&'static str] = match how {
            Plug::Attach => &["device-added"],
            Plug::Detach if !stays => &["device-removed"],
            Plug::Update if device.name == "disk" => &["tray"],
            Plug::Detach | Plug::Update => &[],
        };
        if running.is_some() {
            self.tell_domain(&name, words);
        }
        self.put(&name, print(inactive), running);
        Ok(())
    }

    fn attach(
        &mut self,
        name: &str,
        uuid: Uuid,
        inactive: &Element,
        running: Option<Element>,
        device: &Element,
        config: bool,
    ) -> Result<(Option<Element>, Option<Element>), HostError> {
        for document in [Some(inactive).filter(|_| config), running.as_ref()].into_iter().flatten() {
            has_place(document, device)?;
        }
        let mut with = inactive.clone();
        let mut plain = device.clone();
        if !config {
            // Its place, its target and its alias are those of the document which it comes into.
            plain.remove("boot");
            let alias = device.child_attr("alias", "name");
            let stands_for =
                |other: &Element| same(other, device) || alias.is_some() && other.child_attr("alias", "name") == alias;
            with.edit("devices", |devices| devices.retain(|other| !stands_for(other)));
        }
        with.edit("devices", |devices| devices.push(plain));
        let mut completed = self.complete_domain(with, name, uuid)?;
        let Some(mut running) = running else { return Ok((config.then_some(completed), None)) };
        let bus = device.child_attr("target", "bus").unwrap_or_default();
        if device.name == "disk" && !matches!(bus, "virtio" | "scsi" | "usb") {
            let message = "unable to execute QEMU command 'device_add': Bus 'ide.0' does not support hotplugging";
            return Err(libvirt(ErrorKind::Failed, 1, message));
        }
        if find(&mut running, device).is_some() && device.name != "interface" {
            return Err(libvirt(ErrorKind::Failed, 55, format!("target {} already exists", key(device))));
        }
        let path = device.child("source").and_then(|source| source.attr("file"));
        if let Some(path) = path.filter(|path| !self.files.contains_key(*path)) {
            return Err(no_file(format!("Cannot access storage file '{path}'")));
        }
        self.plugged(device)?;
        if (device.name == "interface" || bus == "virtio") && !port_is_free(&running) {
            return Err(libvirt(ErrorKind::Failed, 1, "No more available PCI slots"));
        }
        let Some(mut new) = find(&mut completed, device).cloned() else { return Err(missing(device)) };
        live::plug(self, &running, &mut new, name);
        if let Some(boot) = device.child("boot").filter(|_| !config) {
            new.push(boot.clone());
        }
        running.edit("devices", |devices| devices.push(new));
        Schema::Domain.settle(&mut running);
        Ok((config.then_some(completed), Some(running)))
    }

    /// Whether the network of an interface is there and runs.
    fn plugged(&self, device: &Element) -> Result<(), HostError> {
        let Some(network) = device.child("source").and_then(|source| source.attr("network")) else { return Ok(()) };
        match self.networks.get(network) {
            None => Err(no_network(network)),
            Some(network_state) if network_state.live.is_none() => Err(invalid(format!("network '{network}' is not active"))),
            Some(_) => Ok(()),
        }
    }

    /// What a running device can be given: a network and a cable, a medium, a password.
    fn update(&mut self, mut document: Element, device: &Element) -> Result<Element, HostError> {
        let running = document.attr("id").is_some();
        if running {
            self.plugged(device)?;
        }
        let Some(old) = find(&mut document, device) else { return Err(missing(device)) };
        match device.name.as_str() {
            "interface" => {
                if running && old.child_attr("model", "type") != device.child_attr("model", "type") {
                    let model = |nic: &Element| nic.child_attr("model", "type").unwrap_or_default().to_owned();
                    let (from, to) = (model(old), model(device));
                    return Err(unsupported(format!("cannot modify network device model from {from} to {to}")));
                }
                let was = old.clone();
                let (network, bridge) = (device.child_attr("source", "network"), device.child_attr("source", "bridge"));
                // What it hangs on already changes nothing, also where it no longer does.
                let stays = running
                    && was.child_attr("source", "network") == network
                    && (network.is_some() || was.child_attr("source", "bridge") == bridge);
                old.set("type", device.attr("type").unwrap_or("network"));
                for name in ["source", "link"] {
                    old.remove(name);
                    device.child(name).cloned().into_iter().for_each(|child| old.push(child));
                }
                let mut new = old.clone();
                if stays {
                    new.remove("source");
                    was.child("source").cloned().into_iter().for_each(|source| new.push(source));
                } else if running {
                    live::unplug_nic(self, &was);
                    live::plug_nic(self, &mut new);
                }
                *old = new;
            }
            "disk" => {
                if running && old.attr("device") != Some("cdrom") {
                    return Err(libvirt(ErrorKind::Failed, 67, "disk source can be changed only in removable drives"));
                }
                let path = device.child("source").and_then(|source| source.attr("file")).map(str::to_owned);
                if let Some(path) = path.filter(|path| running && !self.files.contains_key(path)) {
                    return Err(no_file(format!("Cannot access storage file '{path}'")));
                }
                let mut new = old.clone();
                for name in ["source", "backingStore", "driver"] {
                    new.remove(name);
                    device.child(name).cloned().into_iter().for_each(|child| new.push(child));
                }
                if running {
                    let alias = new.child("alias").cloned();
                    live::plug_disk(self, &document, &mut new);
                    if let (Some(alias), Some(old)) = (alias, new.child_mut("alias")) {
                        *old = alias;
                    }
                }
                if let Some(old) = find(&mut document, device) {
                    *old = new;
                }
            }
            "graphics" => {
                old.unset("passwd");
                if let Some(password) = device.attr("passwd") {
                    old.set("passwd", password);
                }
            }
            other => return Err(unsupported(format!("live update of device '{other}' is not supported"))),
        }
        Schema::Domain.settle(&mut document);
        Ok(document)
    }

    /// `virsh setvcpus`.
    pub fn domain_vcpus(&mut self, uuid: Uuid, count: u32, live: bool, config: bool) -> Result<(), HostError> {
        let (name, domain) = self.documents(uuid, live, config)?;
        let set = |text: &str| {
            let mut document = Element::parse(text).map_err(xml)?;
            let max: u32 = document.child_text("vcpu").and_then(|text| text.trim().parse().ok()).unwrap_or(1);
            if count > max {
                let of = if live { "live domain" } else { "domain" };
                let message = format!("requested vcpus is greater than max allowable vcpus for the {of}: {count} > {max}");
                return Err(libvirt(ErrorKind::Failed, 8, message));
            }
            each_vcpu(&mut document, count, max);
            document.edit("vcpu", |vcpu| {
                vcpu.unset("current");
                if count < max {
                    vcpu.set("current", &count.to_string());
                }
            });
            Schema::Domain.settle(&mut document);
            Ok::<_, HostError>(document.print())
        };
        let inactive = config.then(|| set(&domain.inactive)).transpose()?;
        // One without an OS keeps what it has.
        let down = domain.manners == Manners::Ignores && vcpus(domain.live.as_deref()) > count;
        let running = domain.live.as_deref().filter(|_| live && !down).map(set).transpose()?;
        self.put(&name, inactive, running);
        Ok(())
    }

    /// `virsh setmem`; the balloon is there at once.
    pub fn domain_memory(&mut self, uuid: Uuid, kib: u64, live: bool, config: bool) -> Result<(), HostError> {
        let (name, domain) = self.documents(uuid, live, config)?;
        let set = |text: &str| {
            let mut document = Element::parse(text).map_err(xml)?;
            let max: u64 = document.child_text("memory").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            if kib > max {
                return Err(libvirt(ErrorKind::Failed, 8, "cannot set memory higher than max memory"));
            }
            document.edit("currentMemory", |memory| memory.set_text(&kib.to_string()));
            Schema::Domain.settle(&mut document);
            Ok::<_, HostError>(document.print())
        };
        let inactive = config.then(|| set(&domain.inactive)).transpose()?;
        let running = domain.live.as_deref().filter(|_| live).map(set).transpose()?;
        self.put(&name, inactive, running);
        Ok(())
    }

    /// `virsh managedsave-remove`.
    pub fn domain_discard_save(&mut self, uuid: Uuid) -> Result<(), HostError> {
        let (name, _) = self.by_uuid(uuid)?;
        if let Some(domain) = self.domains.get_mut(&name) {
            domain.managed_save = None;
        }
        Ok(())
    }
}

/// Whether a PCI Express root port has nothing behind it.
fn port_is_free(document: &Element) -> bool {
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let Some(devices) = document.child("devices") else { return false };
    if !devices.all("controller").any(|controller| controller.attr("model") == Some("pcie-root")) {
        return true;
    }
    let taken: Vec<u64> = devices.children().filter_map(|device| number(device.child_attr("address", "bus")?)).collect();
    let ports = devices.all("controller").filter(|controller| controller.attr("model") == Some("pcie-root-port"));
    ports.filter_map(|port| port.attr("index")?.parse::<u64>().ok()).any(|index| !taken.contains(&index))
}

/// What libvirt keeps of each vCPU once one was plugged in: those that were there at the start can't be unplugged.
fn each_vcpu(document: &mut Element, count: u32, max: u32) {
    let before = vcpus(Some(&document.print()));
    let known = document.child("vcpus").is_some();
    document.edit("vcpus", |all| {
        if !known {
            for id in 0..max {
                let vcpu = Element::new("vcpu").with("id", &id.to_string()).with("enabled", "no");
                all.push(vcpu.with("hotpluggable", if id < before { "no" } else { "yes" }));
            }
        }
        for (id, vcpu) in (0..max).zip(all.children_mut()) {
            vcpu.set("enabled", if id < count { "yes" } else { "no" });
            vcpu.unset("order");
            if id < count {
                vcpu.set("order", &(id + 1).to_string());
            }
        }
    });
}

fn vcpus(document: Option<&str>) -> u32 {
    let read = |text: &str| {
        let document = Element::parse(text).ok()?;
        let vcpu = document.child("vcpu")?;
        vcpu.attr("current").map(str::to_owned).or_else(|| Some(vcpu.text()))?.trim().parse().ok()
    };
    document.and_then(read).unwrap_or(1)
}
