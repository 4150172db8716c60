//! What libvirt makes of a domain's document when it is defined: what it adds, converts and drops.

use uuid::Uuid;

use crate::host::{ErrorKind, HostError};

use super::super::error::{libvirt, unsupported_config, xml};
use super::super::schema::Schema;
use super::super::state::State;
use super::super::tree::Element;
use super::super::units;
use super::{devices, limits, pci};

impl State {
    /// The document that libvirt would keep.
    pub(super) fn complete_domain(&mut self, mut document: Element, name: &str, uuid: Uuid) -> Result<Element, HostError> {
        document.unset("id");
        let kind = document.attr("type").unwrap_or_default().to_owned();
        if kind.is_empty() {
            return Err(xml("missing domain type attribute"));
        }
        if kind == "kvm" && !self.kvm {
            return Err(libvirt(ErrorKind::Failed, 8, "could not find capabilities for arch=x86_64 domaintype=kvm "));
        }
        document.remove("uuid");
        document.push(Element::new("uuid").with_text(&uuid.to_string()));
        metadata(&mut document);
        texts(&mut document)?;
        memory(&mut document)?;
        document.edit("vcpu", |vcpu| {
            vcpu.default_attr("placement", "static");
            if vcpu.text().trim().is_empty() {
                vcpu.set_text("1");
            }
        });
        vcpus(&document)?;
        let machine = os(&mut document)?;
        cpu(&mut document, &kind)?;
        document.edit("clock", |clock| {
            clock.default_attr("offset", "utc");
            if clock.attr("offset") == Some("variable") {
                clock.default_attr("basis", "utc");
            }
        });
        for (event, action) in [("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")] {
            document.edit(event, |element| {
                if element.text().is_empty() {
                    element.set_text(action);
                }
            });
        }
        document.remove("seclabel");
        limits::settle(&mut document)?;
        Schema::Domain.settle(&mut document);
        let watchdog = self.libvirt_version >= 9_001_000;
        devices::complete(self, &mut document, name, &machine, watchdog)?;
        boot(&mut document)?;
        Schema::Domain.settle(&mut document);
        pci::assign(&mut document, machine.contains("q35"))?;
        Schema::Domain.settle(&mut document);
        Ok(document)
    }
}

/// Children without a namespace are dropped, and so is the second of a namespace.
fn metadata(document: &mut Element) {
    let Some(metadata) = document.child_mut("metadata") else { return };
    let mut seen = Vec::new();
    let mut kept = Element::new("metadata");
    for child in metadata.children() {
        let prefix = child.name.split_once(':').map_or("xmlns".to_owned(), |(prefix, _)| format!("xmlns:{prefix}"));
        let Some(uri) = child.attr(&prefix) else { continue };
        if !seen.contains(&uri.to_owned()) {
            seen.push(uri.to_owned());
            kept.push(child.clone());
        }
    }
    *metadata = kept;
}

fn texts(document: &mut Element) -> Result<(), HostError> {
    if document.child_text("title").is_some_and(|title| title.contains('\n')) {
        return Err(xml("Domain title can't contain newlines"));
    }
    document.retain(|child| !(matches!(child.name.as_str(), "title" | "description") && child.text().is_empty()));
    Ok(())
}

fn memory(document: &mut Element) -> Result<(), HostError> {
    let read = |element: &Element| {
        let (text, name) = (element.text(), &element.name);
        units::kib(&text, element.attr("unit"))
            .ok_or_else(|| xml(format!("invalid value '{text}' for element or attribute './{name}[1]'")))
    };
    let memory = document.child("memory").map(read).transpose()?.filter(|kib| *kib > 0);
    let memory = memory.ok_or_else(|| xml("memory size must be specified via <memory> or in the <numa> configuration"))?;
    let current = document.child("currentMemory").map(read).transpose()?.filter(|kib| *kib > 0 && *kib <= memory);
    let max = document.child("maxMemory").map(read).transpose()?;
    for (name, kib) in [("memory", Some(memory)), ("currentMemory", Some(current.unwrap_or(memory))), ("maxMemory", max)] {
        let Some(kib) = kib else { continue };
        document.edit(name, |element| {
            element.set("unit", "KiB");
            element.set_text(&kib.to_string());
        });
    }
    Ok(())
}

fn vcpus(document: &Element) -> Result<(), HostError> {
    let Some(vcpu) = document.child("vcpu") else { return Ok(()) };
    let number = |text: &str| text.trim().parse::<u64>().ok().filter(|count| *count > 0);
    let max = number(&vcpu.text()).ok_or_else(|| xml("maximum vcpus count must be an integer"))?;
    if vcpu.attr("current").and_then(number).is_some_and(|current| current > max) {
        return Err(unsupported_config("maximum vCPU count must not be less than current vCPU count"));
    }
    if let Some(topology) = document.at(&["cpu", "topology"]) {
        let of = |name: &str| topology.attr(name).and_then(number).unwrap_or(1);
        if of("sockets") * of("dies") * of("cores") * of("threads") != max {
            return Err(unsupported_config("CPU topology doesn't match maximum vcpu count"));
        }
    }
    Ok(())
}

/// Fills in `<os>`; the machine type is what an alias means now.
fn os(document: &mut Element) -> Result<String, HostError> {
    let Some(os) = document.child_mut("os") else { return Err(xml("an os <type> must be specified")) };
    let Some(kind) = os.child_mut("type") else { return Err(xml("an os <type> must be specified")) };
    kind.default_attr("arch", "x86_64");
    let machine = match kind.attr("machine").unwrap_or("pc") {
        "q35" => "pc-q35-7.2".to_owned(),
        "pc" => "pc-i440fx-7.2".to_owned(),
        other => other.to_owned(),
    };
    kind.set("machine", &machine);
    if os.attr("firmware") == Some("efi") && document.at(&["features", "acpi"]).is_none() {
        return Err(unsupported_config("UEFI requires ACPI on this architecture"));
    }
    Ok(machine)
}

/// Without a device's own order, the hard disk is booted from.
fn boot(document: &mut Element) -> Result<(), HostError> {
    let orders: Vec<String> = document
        .child("devices")
        .into_iter()
        .flat_map(Element::children)
        .filter_map(|device| device.child_attr("boot", "order").map(str::to_owned))
        .collect();
    let Some(os) = document.child_mut("os") else { return Ok(()) };
    if orders.is_empty() {
        if os.child("boot").is_none() {
            os.push(Element::new("boot").with("dev", "hd"));
        }
        return Ok(());
    }
    if os.child("boot").is_some() {
        return Err(unsupported_config("per-device boot elements cannot be used together with os/boot elements"));
    }
    for (index, order) in orders.iter().enumerate() {
        if orders.iter().take(index).any(|other| other == order) {
            return Err(unsupported_config(format!("boot order {order} used for more than one device")));
        }
    }
    Ok(())
}

fn cpu(document: &mut Element, kind: &str) -> Result<(), HostError> {
    if document.child("cpu").is_none_or(|cpu| cpu.nodes.is_empty() && cpu.attrs.is_empty()) {
        document.remove("cpu");
        document.push(Element::new("cpu"));
    }
    let written = document.child("cpu");
    let is_hosts = written.and_then(|cpu| cpu.attr("mode")).is_some_and(|mode| matches!(mode, "host-passthrough" | "maximum"));
    if !is_hosts && written.is_some_and(|cpu| cpu.attr("migratable").is_some()) {
        return Err(unsupported_config("Attribute migratable is only allowed for 'host-passthrough' / 'maximum' CPU mode"));
    }
    document.edit("cpu", |cpu| {
        let mode = cpu.attr("mode").unwrap_or("custom").to_owned();
        cpu.set("mode", &mode);
        match mode.as_str() {
            "host-passthrough" | "maximum" => {
                cpu.remove("model");
                cpu.default_attr("check", "none");
                cpu.default_attr("migratable", "on");
            }
            "host-model" => {
                cpu.remove("model");
                cpu.default_attr("check", "partial");
            }
            _ => {
                cpu.default_attr("match", "exact");
                if cpu.child("model").is_none() {
                    cpu.default_attr("check", "none");
                    cpu.push(Element::new("model").with("fallback", "forbid").with_text("qemu64"));
                } else {
                    cpu.default_attr("check", if kind == "qemu" { "none" } else { "partial" });
                }
                cpu.edit("model", |model| model.default_attr("fallback", "allow"));
            }
        }
        if let Some(topology) = cpu.child_mut("topology") {
            topology.default_attr("dies", "1");
        }
    });
    Ok(())
}
