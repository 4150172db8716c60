//! What of a document an export says in a fragment, what it leaves to others, and what it can't say.

use std::collections::BTreeSet;

use super::*;
use crate::xml::tree::Element;

/// What is said beside the language, as a fragment in one line, and what is not said at all.
fn said(document: &str, typed: &[&str]) -> (String, Vec<String>) {
    let typed: BTreeSet<String> = typed.iter().map(|path| (*path).to_owned()).collect();
    let found = beside(document, &typed).expect("reads");
    let fragment = found.fragment.map_or(String::new(), |text| text.lines().map(str::trim).collect::<Vec<_>>().concat());
    if !fragment.is_empty() {
        let parsed = parse_fragment(&fragment).expect("a fragment");
        assert!(holds(document, &parsed) && parsed.conflicts(&typed).is_empty(), "{fragment}");
    }
    (fragment, found.unsaid)
}

fn one_line(text: &str) -> String {
    Element::parse(text).expect("reads").to_xml().lines().map(str::trim).collect::<Vec<_>>().concat()
}

#[test]
fn what_libvirt_adds_and_what_fields_say_is_left_out() {
    // Each device with one that is not left out, so that both are seen.
    let typed = [
        "/console/serial",
        "/console/vnc/listen",
        "/console/vnc",
        "/disks/vda/bus",
        "/interfaces/52-54-00-00-00-01/model",
        "/cpu/count",
        "/memory",
        "/accelerator",
    ];
    for (device, kept) in [
        ("<emulator>/usr/bin/qemu-system-x86_64</emulator>", ""),
        ("<emulator>/opt/qemu</emulator>", "<emulator>/opt/qemu</emulator>"),
        ("<controller type='pci' index='0' model='pcie-root'/>", ""),
        ("<controller type='usb' index='0' model='qemu-xhci'/>", "<controller type='usb' index='0' model='qemu-xhci'/>"),
        ("<controller type='usb' index='0' model='a'/><controller type='usb' index='0' model='b'/>", ""),
        (
            "<controller type='usb' index='0' model='a'/><controller type='usb' index='1' model='b'/>",
            "<controller type='usb' index='0' model='a'/><controller type='usb' index='1' model='b'/>",
        ),
        (
            "<controller type='usb' index='0' model='a'/><controller type='scsi' index='0' model='b'/>",
            "<controller type='usb' index='0' model='a'/><controller type='scsi' index='0' model='b'/>",
        ),
        ("<input type='mouse' bus='ps2'/>", ""),
        (
            "<input type='tablet' bus='usb'><alias name='ua-t'/></input>",
            "<input type='tablet' bus='usb'><alias name='ua-t'/></input>",
        ),
        ("<audio id='1' type='none'/><audio id='2' type='spice'/>", ""),
        ("<watchdog model='itco' action='reset'/>", ""),
        ("<memballoon model='virtio'><address type='pci' bus='1'/></memballoon>", ""),
        ("<memballoon model='none'/>", "<memballoon model='none'/>"),
        (
            "<memballoon model='virtio'><stats period='5'/></memballoon>",
            "<memballoon model='virtio'><stats period='5'/></memballoon>",
        ),
        ("<serial type='pty'><target port='0'/></serial>", ""),
        ("<console type='pty'><target type='serial' port='0'/></console>", ""),
        ("<graphics type='vnc' port='-1'/>", ""),
        ("<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>", ""),
        (
            "<channel type='unix'><target type='virtio' name='org.other' state='connected'/></channel>",
            "<channel type='unix'><target type='virtio' name='org.other'/></channel>",
        ),
        (
            "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='/a'/><target dev='vda' bus='virtio'/><address type='pci'/></disk>",
            "<disk><driver name='qemu' cache='none'/><target dev='vda'/></disk>",
        ),
        (
            "<interface type='network'><mac address='52:54:00:00:00:01'/><source network='lan'/><model type='virtio'/><mtu size='1400'/><alias name='ua-nic-lan'/></interface>",
            "<interface><mac address='52:54:00:00:00:01'/><mtu size='1400'/></interface>",
        ),
    ] {
        let (fragment, unsaid) = said(&format!("<domain type='kvm'><devices>{device}</devices></domain>"), &typed);
        let expected =
            if kept.is_empty() { String::new() } else { one_line(&format!("<domain><devices>{kept}</devices></domain>")) };
        assert_eq!((fragment, unsaid), (expected, Vec::new()), "{device}");
    }
    for (child, kept) in [
        (
            "<name>a</name><uuid>b</uuid><title>c</title><memory>1</memory><currentMemory>1</currentMemory><vcpu cpuset='1'>1</vcpu>",
            "",
        ),
        ("<on_poweroff>destroy</on_poweroff><on_crash>destroy</on_crash><on_reboot>restart</on_reboot>", ""),
        ("<on_poweroff>preserve</on_poweroff>", "<on_poweroff>preserve</on_poweroff>"),
        ("<on_reboot>destroy</on_reboot>", "<on_reboot>destroy</on_reboot>"),
        ("<clock offset='utc'/>", ""),
        ("<clock offset='localtime'/>", "<clock offset='localtime'/>"),
        (
            "<clock offset='utc'><timer name='hpet' present='no'/></clock>",
            "<clock offset='utc'><timer name='hpet' present='no'/></clock>",
        ),
        ("<os><type arch='x86_64'>hvm</type><boot dev='hd'/></os>", "<os><type arch='x86_64'/></os>"),
        ("<os><boot dev='cdrom'/></os>", "<os><boot dev='cdrom'/></os>"),
        (
            "<features><acpi/><hyperv><relaxed state='on'/></hyperv></features>",
            "<features><acpi/><hyperv><relaxed state='on'/></hyperv></features>",
        ),
    ] {
        let (fragment, unsaid) = said(&format!("<domain type='kvm'>{child}<devices/></domain>"), &typed);
        let expected = if kept.is_empty() { String::new() } else { one_line(&format!("<domain>{kept}</domain>")) };
        assert_eq!((fragment, unsaid), (expected, Vec::new()), "{child}");
    }
}

#[test]
fn what_no_fragment_can_say_is_told_in_words() {
    let devices = "<sound model='ich9'/><video><model type='qxl'/></video><hostdev mode='subsystem'/><redirdev/>\
        <graphics type='spice' passwd='canary' port='1'><alias name='ua-s'/></graphics>";
    let (fragment, unsaid) = said(&format!("<domain type='kvm'><devices>{devices}</devices></domain>"), &[]);
    assert_eq!(unsaid, ["graphics spice: passwd (sensitive)", "hostdev subsystem", "redirdev", "sound ich9", "video qxl"]);
    assert!(fragment.contains("port=\"1\"") && !fragment.contains("canary"), "{fragment}");
}

#[test]
fn a_namespace_is_declared_where_something_uses_it() {
    let document = "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' xmlns:other='urn:o'><devices/>\
        <qemu:commandline><qemu:arg value='-x'/></qemu:commandline></domain>";
    let (fragment, _) = said(document, &["/accelerator"]);
    assert!(fragment.contains("xmlns:qemu=") && !fragment.contains("urn:o") && fragment.contains("value=\"-x\""), "{fragment}");
}
