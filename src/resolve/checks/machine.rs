//! Rules of a VirtualMachine as a whole: CPUs, memory, firmware, consoles and the fragment of XML.

use super::text::path_problem;
use super::{Check, cloud_init, devices};
use crate::diag::Code;
use crate::manifest::{Accelerator, Console, Disk, FirmwareType, RestartPolicy, SecretValue, UpdatePolicy, VirtualMachineSpec};

/// Models that QEMU knows by a name which libvirt takes, and fails on at the start.
const QEMU_MODELS: &[(&str, &str)] = &[("max", "maximum"), ("host", "host-passthrough")];
/// Where libvirt keeps the sockets that it makes by itself.
const LIBVIRT_OWN: &str = "/var/lib/libvirt/qemu/";

pub(super) fn check(check: &mut Check<'_>, spec: &VirtualMachineSpec) {
    cpu(check, spec);
    if let (Some(memory), Some(max)) = (spec.memory, spec.max_memory)
        && memory > max
    {
        let message = format!("`memory` ({memory}) is more than `maxMemory` ({max})");
        check.clash(Code::MemorySize, "/memory", "/maxMemory", message, "");
    }
    firmware(check, spec);
    devices::disks(check, &spec.disks);
    devices::interfaces(check, &spec.interfaces);
    if let Some(told) = &spec.cloud_init {
        cloud_init::check(check, told);
    }
    if let Some(shown) = &spec.console {
        console(check, shown);
    }
    if let Some(fragment) = &spec.xml {
        xml(check, fragment, &spec.disks);
    }
    if let Some(policy) = &spec.update_policy {
        windows(check, policy);
    }
}

/// Windows say when a restart may be; without a wish for one they say nothing.
fn windows(check: &mut Check<'_>, policy: &UpdatePolicy) {
    if policy.windows.is_empty() || matches!(policy.restart, Some(RestartPolicy::Now | RestartPolicy::OnReboot)) {
        return;
    }
    let message = "windows say when it may be restarted, and it is never restarted";
    let help = "write `restart: Now` (in the next window) or `restart: OnReboot` beside them, or take them out";
    match policy.restart {
        Some(_) => check.clash(Code::Conflict, "/updatePolicy/windows", "/updatePolicy/restart", message, help),
        None => check.say(Code::Conflict, "/updatePolicy/windows", message, help),
    }
}

fn cpu(check: &mut Check<'_>, spec: &VirtualMachineSpec) {
    let Some(cpu) = &spec.cpu else { return };
    if let (Some(count), Some(max)) = (cpu.count, cpu.max)
        && count > max
    {
        check.clash(Code::CpuCount, "/cpu/count", "/cpu/max", format!("`count` ({count}) is more than `max` ({max})"), "");
    }
    if let Some(topology) = &cpu.topology {
        let product = u64::from(topology.sockets) * u64::from(topology.cores) * u64::from(topology.threads);
        let (field, wanted) = match (cpu.max, cpu.count) {
            (Some(max), _) => ("max", max),
            (None, Some(count)) => ("count", count),
            (None, None) => ("count", 1),
        };
        if product != u64::from(wanted) {
            let message = format!("the topology has {product} CPUs, and `{field}` is {wanted}");
            check.say(Code::CpuCount, "/cpu/topology", message, &format!("write `{field}: {product}`, or change the topology"));
        }
    }
    if let Some((word, libvirt)) = QEMU_MODELS.iter().find(|(word, _)| cpu.model.as_deref() == Some(*word)) {
        let message = format!("`{word}` is QEMU's name; libvirt's is `{libvirt}`");
        check.say(Code::WrongValue, "/cpu/model", message, &format!("write `model: {libvirt}`"));
    }
    if cpu.model.as_deref() == Some("host-passthrough") && spec.accelerator == Some(Accelerator::TCG) {
        let message = "`host-passthrough` needs KVM, and the accelerator is TCG";
        check.clash(Code::Conflict, "/cpu/model", "/accelerator", message, "write `model: maximum`, or leave it out");
    }
}

fn firmware(check: &mut Check<'_>, spec: &VirtualMachineSpec) {
    let Some(firmware) = &spec.firmware else { return };
    if firmware.secure_boot != Some(true) {
        return;
    }
    if firmware.firmware_type != Some(FirmwareType::UEFI) {
        check.say(
            Code::Conflict,
            "/firmware/secureBoot",
            "`secureBoot` needs UEFI",
            "write `firmware: {type: UEFI, secureBoot: true}`",
        );
    }
    if spec.machine.as_deref().is_some_and(|machine| machine == "pc" || machine.starts_with("pc-i440fx")) {
        check.clash(Code::Conflict, "/firmware/secureBoot", "/machine", "`secureBoot` needs the machine type q35", "");
    }
}

fn console(check: &mut Check<'_>, console: &Console) {
    let Some(vnc) = &console.vnc else { return };
    check.one_of("/console/vnc", &[("listen", vnc.listen.is_some()), ("socket", vnc.socket.is_some())], true);
    if let Some(why) = vnc.socket.as_deref().and_then(path_problem) {
        check.say(Code::InvalidPath, "/console/vnc/socket", why, "");
    } else if vnc.socket.as_deref().is_some_and(|path| path.starts_with(LIBVIRT_OWN)) {
        // Without a word.
        let why = format!("libvirt takes a socket below {LIBVIRT_OWN} for one of its own making, and drops it");
        check.say(Code::InvalidPath, "/console/vnc/socket", why, "choose another folder, such as /run/jvp");
    }
    if let Some(password) = &vnc.password {
        secret(check, "/console/vnc/password", password);
    }
}

fn secret(check: &mut Check<'_>, pointer: &str, secret: &SecretValue) {
    let from = &secret.value_from;
    let pointer = format!("{pointer}/valueFrom");
    check.one_of(&pointer, &[("file", from.file.is_some()), ("env", from.env.is_some())], false);
    if from.file.as_ref().is_some_and(|file| file.split('/').any(|part| part == "..")) {
        check.say(Code::InvalidPath, &format!("{pointer}/file"), "the path has `..` in it", "");
    }
}

/// A place in the boot order is one device's, and libvirt refuses a domain where it is two's. Which of `disks` a disk of the fragment
/// is, if it is one, shows in the domain alone, so only other devices are looked at.
fn boot_orders(check: &mut Check<'_>, root: roxmltree::Node<'_, '_>, disks: &[Disk]) {
    let devices = root.children().filter(|node| node.has_tag_name("devices")).flat_map(|node| node.children());
    for device in devices.filter(|node| node.is_element() && !node.has_tag_name("disk")) {
        // What is taken out of a domain has no place in it.
        let given =
            device.children().find(|node| node.has_tag_name("boot") && !node.attributes().any(|a| a.namespace().is_some()));
        let Some(order) = given.and_then(|boot| boot.attribute("order")?.parse::<u32>().ok()) else { continue };
        if let Some(at) = disks.iter().position(|disk| disk.boot_order == Some(order)) {
            let kind = device.tag_name().name();
            let message =
                format!("the fragment gives the place {order} in the boot order to a device, `<{kind}>`, and a disk has it");
            check.clash(
                Code::DuplicateItem,
                "/xml",
                &format!("/disks/{at}/bootOrder"),
                message,
                "give one of them another place",
            );
        }
    }
}

/// Well-formed, without a DTD, and a domain; what may stand in it is decided where it is merged.
fn xml(check: &mut Check<'_>, text: &str, disks: &[Disk]) {
    match roxmltree::Document::parse(text) {
        Err(roxmltree::Error::DtdDetected) => {
            check.say(Code::InvalidXml, "/xml", "a DTD has no place in the fragment", "");
        }
        Err(error) => check.say(Code::InvalidXml, "/xml", format!("the fragment is not well-formed: {error}"), ""),
        Ok(document) => {
            let root = document.root_element();
            if root.tag_name().name() != "domain" || root.tag_name().namespace().is_some() {
                let message = format!("the fragment's root is `<{}>`, not `<domain>`", root.tag_name().name());
                check.say(Code::InvalidXml, "/xml", message, "put what you wrote into `<domain>…</domain>`");
            }
            boot_orders(check, root, disks);
        }
    }
}
