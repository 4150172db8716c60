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

#[test]
fn what_fields_say_in_full_leaves_nothing_behind() {
    let typed = ["/disks/vda/bus", "/interfaces/52-54-00-00-00-01/model", "/cpu/model", "/memory"];
    for inside in [
        "<devices><disk type='file' device='disk'><source file='/a'/><target dev='vda' bus='virtio'/></disk></devices>",
        "<devices><interface type='network'><mac address='52:54:00:00:00:01'/><source network='lan'/><model type='virtio'/></interface></devices>",
        "<devices><controller type='usb'/></devices>",
        "<cpu mode='host-model'/>",
    ] {
        assert_eq!(said(&format!("<domain type='kvm'>{inside}</domain>"), &typed), (String::new(), Vec::new()), "{inside}");
    }
}

#[test]
fn what_no_field_says_is_said_whole() {
    let devices = |inside: &str| format!("<devices>{inside}</devices>");
    let same = |inside: &str| (inside.to_owned(), inside.to_owned());
    for (inside, kept) in [
        same(&devices("<serial type='file'><source path='/l'/><alias name='ua-s'/></serial>")),
        same(&devices("<console type='pty'><target type='virtio'/><alias name='ua-c'/></console>")),
        same(&devices("<graphics type='vnc' port='-1'><alias name='ua-v'/></graphics>")),
        // Where a device lies on the host, which is no address of its own.
        same(&devices(
            "<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source><alias name='ua-h'/></hostdev>",
        )),
        // Without the name that jvp would give it.
        (
            devices(
                "<interface type='bridge'><mac address='52:54:00:00:00:01'/><mtu size='1400'/><alias name='ua-nic-lan'/></interface>",
            ),
            devices("<interface type='bridge'><mac address='52:54:00:00:00:01'/><mtu size='1400'/></interface>"),
        ),
        same("<cpu mode='host-model'/>"),
    ] {
        let found = said(&format!("<domain type='kvm'>{inside}</domain>"), &["/memory"]);
        assert_eq!(found, (one_line(&format!("<domain>{kept}</domain>")), Vec::new()), "{inside}");
    }
}

#[test]
fn a_list_that_holds_a_secret_is_told_in_words() {
    let list = "<foo><bar password='x'/><bar password='y'/></foo>";
    let (fragment, unsaid) = said(&format!("<domain type='kvm'>{list}<devices/></domain>"), &["/memory"]);
    assert_eq!((fragment.as_str(), unsaid), ("", vec!["foo".to_owned(), "foo: password (sensitive)".to_owned()]));
}

#[test]
fn a_secret_that_its_key_or_its_list_tells_is_never_said() {
    let qemu = "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'";
    for inside in [
        "<qemu:commandline><qemu:env name='DB_PASSWORD' value='canary'/></qemu:commandline>",
        "<qemu:commandline><qemu:arg value='-object'/><qemu:arg value='secret,id=s0,data=canary'/></qemu:commandline>",
        "<sysinfo type='fwcfg'><entry name='opt/password'>canary</entry></sysinfo>",
        "<sysinfo type='smbios'><oemStrings><entry>password=canary</entry></oemStrings></sysinfo>",
    ] {
        let (fragment, unsaid) = said(&format!("<domain type='kvm' {qemu}>{inside}<devices/></domain>"), &["/memory"]);
        assert!(!fragment.contains("canary") && !unsaid.is_empty(), "{inside}: {fragment} {unsaid:?}");
    }
}

#[test]
fn a_port_that_the_field_does_not_stand_for_is_said_or_told() {
    for devices in [
        "<console type='pty'><target type='virtio'/><alias name='ua-c'/></console>",
        "<serial type='pty'/><serial type='file'><source path='/l'/><alias name='ua-s'/></serial>",
    ] {
        let (fragment, unsaid) = said(&format!("<domain type='kvm'><devices>{devices}</devices></domain>"), &["/console/serial"]);
        assert!(!fragment.is_empty() || !unsaid.is_empty(), "{devices}");
    }
}
