//! What a patch leaves behind, field by field: what is taken out goes, what is set is so, and what stands beside it stays.

use std::collections::BTreeSet;

use super::tests::{disk, nic, spec};
use super::*;
use crate::manifest::VirtualMachineSpec;
use crate::xml::tree::Element;

/// A document in the form that a patch writes.
fn written(document: &str) -> String {
    Element::parse(document).expect("reads").to_xml()
}

fn devices(inside: &str) -> String {
    format!("<domain type='kvm'><devices>{inside}</devices></domain>")
}

fn dropped(document: &str, path: &str) -> String {
    patch(document, &DomainPatch::new(VirtualMachineSpec::default(), [path.to_owned()].into())).expect("patches")
}

/// The document after a change of its devices.
fn changed(inside: &str, change: &DomainPatch) -> String {
    patch(&devices(inside), change).expect("patches")
}

#[test]
fn what_is_taken_out_of_a_manifest_goes_and_nothing_else() {
    const AGENT: &str = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>";
    const OTHER: &str = "<channel type='unix'><target type='virtio' name='org.other'/></channel>";
    const SERIAL: &str = "<serial type='pty'><target port='0'/></serial>";
    const DISK: &str = "<disk type='file' device='disk'><target dev='vda' bus='virtio'/><readonly/><boot order='1'/></disk>";
    const CD: &str = "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>";
    const SEED: &str = "<disk type='file' device='disk'><target dev='vdb' bus='virtio'/><alias name='ua-seed'/></disk>";
    const NIC: &str = "<interface type='network'><source network='lan'/><link state='down'/><boot order='2'/><alias name='ua-nic-lan'/></interface>";
    const SPICE: &str = "<graphics type='spice'/>";
    for (before, path, after) in [
        (format!("{AGENT}{OTHER}"), "/guestAgent", OTHER.to_owned()),
        (
            format!(
                "{SERIAL}<console type='pty'><target type='serial' port='0'/></console><console type='pty'/><console type='pty'><target type='virtio'/></console>"
            ),
            "/console/serial",
            "<console type='pty'><target type='virtio'/></console>".to_owned(),
        ),
        (format!("{SPICE}<graphics type='vnc'/>"), "/console/vnc", SPICE.to_owned()),
        (
            format!("{SPICE}<graphics type='vnc' port='-1' passwd='x' passwdValidTo='2030-01-01T00:00:00' keymap='de'/>"),
            "/console/vnc/password/valueFrom/env",
            format!("{SPICE}<graphics type='vnc' port='-1' keymap='de'/>"),
        ),
        (
            "<graphics type='vnc' socket='/s'><listen type='socket' socket='/s'/></graphics>".to_owned(),
            "/console/vnc/socket",
            "<graphics type='vnc' port='-1' autoport='yes'/>".to_owned(),
        ),
        (
            "<graphics type='vnc' port='5901' autoport='no' listen='::1'><listen type='address' address='::1'/></graphics>"
                .to_owned(),
            "/console/vnc/listen",
            "<graphics type='vnc' port='5901' autoport='no'/>".to_owned(),
        ),
        (
            "<graphics type='vnc' socket='/s'><listen type='socket' socket='/s'/></graphics>".to_owned(),
            "/console/vnc/listen",
            "<graphics type='vnc' socket='/s'><listen type='socket' socket='/s'/></graphics>".to_owned(),
        ),
        (format!("{DISK}{CD}"), "/disks/vda/readOnly", format!("{}{CD}", DISK.replace("<readonly/>", ""))),
        (format!("{DISK}{CD}"), "/disks/vda/bootOrder", format!("{}{CD}", DISK.replace("<boot order='1'/>", ""))),
        (format!("{DISK}{CD}"), "/disks/sda/readOnly", format!("{DISK}{CD}")),
        (format!("{DISK}{CD}"), "/disks/vda/name", CD.to_owned()),
        (NIC.to_owned(), "/interfaces/lan/linkState", NIC.replace("<link state='down'/>", "")),
        (NIC.to_owned(), "/interfaces/lan/model", NIC.to_owned()),
        (format!("{DISK}{SEED}"), "/cloudInit", DISK.to_owned()),
        // A seed is nobody's disk, whatever its target.
        (format!("{DISK}{SEED}"), "/disks/vdb", format!("{DISK}{SEED}")),
    ] {
        assert_eq!(dropped(&devices(&before), path), written(&devices(&after)), "{path} of {before}");
    }
    for (before, path, after) in [
        (
            "<vcpu current='2'>4</vcpu><vcpus><vcpu id='0' enabled='yes'/></vcpus><cpu mode='host-model'/>",
            "/cpu/max",
            "<vcpu>2</vcpu><cpu mode='host-model'/>",
        ),
        (
            "<vcpu>4</vcpu><vcpus><vcpu id='0' enabled='yes'/></vcpus>",
            "/cpu/max",
            "<vcpu>4</vcpu><vcpus><vcpu id='0' enabled='yes'/></vcpus>",
        ),
        ("<cpu><model>x</model><topology sockets='1'/></cpu>", "/cpu/topology/sockets", "<cpu><model>x</model></cpu>"),
        ("<title>a</title><description>b</description>", "/title", "<description>b</description>"),
        (
            "<memory>8</memory><currentMemory>4</currentMemory>",
            "/maxMemory",
            "<memory unit='KiB'>4</memory><currentMemory unit='KiB'>4</currentMemory>",
        ),
    ] {
        let of = |inside: &str| format!("<domain>{inside}<devices/></domain>");
        assert_eq!(dropped(&of(before), path), written(&of(after)), "{path} of {before}");
    }
}

#[test]
fn a_disk_gets_a_controller_where_its_bus_has_none_and_a_format_where_it_has_one() {
    const PCI: &str = "<controller type='pci' index='0' model='pcie-root'/>";
    let scsi = |names: &[&str]| {
        let disks = names.iter().map(|name| disk(name, &format!("sd{name}"), "scsi", Some("/p/d.qcow2"))).collect();
        DomainPatch { disks, ..DomainPatch::default() }
    };
    assert_eq!(changed(PCI, &scsi(&["a"])).matches("model=\"virtio-scsi\"").count(), 1, "another controller is none for it");
    assert_eq!(changed(PCI, &scsi(&["a", "b"])).matches("model=\"virtio-scsi\"").count(), 1);
    let have = "<controller type='scsi' index='0' model='lsilogic'/>";
    assert!(!changed(have, &scsi(&["a"])).contains("virtio-scsi"), "what is there serves");
    assert!(
        !changed("", &DomainPatch { disks: vec![disk("a", "vda", "virtio", None)], ..DomainPatch::default() })
            .contains("virtio-scsi")
    );

    // The format is written where a disk has another, and not where a volume of a pool tells it.
    let at = |format: &str| {
        format!("<disk type='file' device='disk'>{format}<source file='/p/d'/><target dev='vda' bus='virtio'/></disk>")
    };
    let mut wanted = disk("vda", "vda", "virtio", Some("/p/d"));
    wanted.format = "raw".to_owned();
    let change = DomainPatch { disks: vec![wanted], ..DomainPatch::default() };
    assert!(changed(&at("<driver name='qemu' type='qcow2'/>"), &change).contains("<driver name=\"qemu\" type=\"raw\"/>"));
    assert!(changed(&at("<driver name='qemu'/>"), &change).contains("<driver name=\"qemu\"/>"));
}

#[test]
fn an_interface_that_moves_leaves_its_port_behind_and_one_that_stays_keeps_it() {
    let there = |kind: &str, source: &str| {
        format!(
            "<interface type='{kind}'><mac address='52:01:02:03:04:01'/><source {source}/><virtualport type='openvswitch'/><model type='VirtIO'/></interface>"
        )
    };
    let after = |kind: &str, source: &str, wanted: NicSource| {
        let mut wanted = nic("52-01-02-03-04-01", 1, wanted);
        wanted.boot_order = Some(3);
        changed(&there(kind, source), &DomainPatch { interfaces: vec![wanted], ..DomainPatch::default() })
    };
    let network = |name: &str| NicSource::Network(name.to_owned());
    let bridge = |name: &str| NicSource::Bridge(name.to_owned());
    let lan = "network='lan' portgroup='g'";
    for (kind, source, wanted) in [("network", lan, network("lan")), ("bridge", "bridge='br0'", bridge("br0"))] {
        let text = after(kind, source, wanted);
        assert!(text.contains("<virtualport") && text.contains("<boot order=\"3\"/>"), "{text}");
        assert!(text.contains("type=\"VirtIO\""), "a model is the same however it is written: {text}");
        assert_eq!(text.contains("portgroup"), kind == "network");
        assert!(!text.contains("alias"), "what is known by its MAC needs no other name");
    }
    for (kind, source, wanted, new) in [
        ("network", lan, network("wan"), "<source network=\"wan\"/>"),
        ("bridge", "bridge='br0'", bridge("br1"), "<source bridge=\"br1\"/>"),
        ("network", lan, bridge("br0"), "<source bridge=\"br0\"/>"),
        ("bridge", "bridge='br0'", network("lan"), "<source network=\"lan\"/>"),
    ] {
        let text = after(kind, source, wanted);
        assert!(text.contains(new) && !text.contains("virtualport") && text.matches("<source").count() == 1, "{text}");
    }
    let model = there("network", lan).replace("VirtIO", "e1000e");
    let text =
        changed(&model, &DomainPatch { interfaces: vec![nic("52-01-02-03-04-01", 1, network("lan"))], ..DomainPatch::default() });
    assert!(text.contains("<model type=\"virtio\"/>") && !text.contains("e1000e"), "{text}");
}

#[test]
fn a_screen_moves_between_a_socket_and_an_address() {
    let set = |vnc: serde_json::Value| DomainPatch::new(spec(serde_json::json!({ "console": { "vnc": vnc } })), BTreeSet::new());
    let socket = "<graphics type='vnc' socket='/a' keymap='de'><listen type='socket' socket='/a'/></graphics>";
    let address = "<graphics type='vnc' port='5901' autoport='no' listen='::1' keymap='de'><listen type='address' address='::1'/></graphics>";
    assert_eq!(
        changed(socket, &set(serde_json::json!({"listen": "::1"}))),
        written(&devices(
            "<graphics type='vnc' keymap='de' port='-1' autoport='yes' listen='::1'><listen type='address' address='::1'/></graphics>"
        ))
    );
    assert_eq!(
        changed(address, &set(serde_json::json!({"socket": "/b"}))),
        written(&devices("<graphics type='vnc' keymap='de' socket='/b'><listen type='socket' socket='/b'/></graphics>"))
    );
    let text = changed(address, &set(serde_json::json!({"listen": "0.0.0.0"})));
    assert!(text.contains("port=\"5901\"") && text.contains("listen=\"0.0.0.0\""), "the port stays: {text}");
    // A screen of another kind is no VNC screen.
    let text = changed("<graphics type='spice'/><video><model type='qxl'/></video>", &set(serde_json::json!({})));
    assert!(text.contains("type=\"spice\"") && text.contains("type=\"vnc\""), "{text}");
}

#[test]
fn one_device_of_a_document_is_found_by_its_field() {
    let document = devices(
        "<disk type='file' device='disk'><target dev='vda'/></disk><disk type='file' device='disk'><target dev='vdb'/><alias name='ua-seed'/></disk>\
         <interface type='network'><alias name='ua-nic-lan'/></interface><channel><target name='org.other'/></channel>\
         <channel><target name='org.qemu.guest_agent.0'/></channel><graphics type='spice'/><graphics type='vnc'/>",
    );
    for (path, part) in [
        ("/disks/vda", Some("vda")),
        ("/disks/vda/bus", Some("vda")),
        ("/disks/vdb", None),
        ("/interfaces/lan", Some("ua-nic-lan")),
        ("/cloudInit", Some("ua-seed")),
        ("/console/vnc", Some("type=\"vnc\"")),
        ("/guestAgent", Some("org.qemu.guest_agent.0")),
        ("/memory", None),
    ] {
        let found = device(&document, path).expect("reads");
        assert_eq!(
            found.as_deref().map(|text| part.is_some_and(|part| text.contains(part))),
            part.map(|_| true),
            "{path}: {found:?}"
        );
    }
}

#[test]
fn devices_are_plugged_in_as_long_as_there_is_room() {
    const PORTS: &str = "<controller type='pci' index='0' model='pcie-root'/><controller type='pci' index='1' model='pcie-root-port'/>\
        <controller type='pci' index='2' model='pcie-root-port'/><controller type='pci' index='10' model='pcie-root-port'/>\
        <controller type='usb' index='3'/>";
    let doc = |machine: &str, inside: &str| {
        format!("<domain><os><type machine='{machine}'>hvm</type></os><devices>{inside}</devices></domain>")
    };
    let taken = |bus: &str| format!("{PORTS}<disk><address type='pci' bus='{bus}'/></disk>");
    for (machine, inside, bus, free) in [
        ("pc-q35-9.0", PORTS.to_owned(), "virtio", 3),
        ("q35", taken("0x02"), "virtio", 2),
        ("q35", taken("0x0a"), "virtio", 2),
        ("q35", taken("0x05"), "virtio", 3),
        ("pc-i440fx-9.0", String::new(), "virtio", usize::MAX),
        ("pc", String::new(), "virtio", usize::MAX),
        ("i440fx", String::new(), "virtio", usize::MAX),
        ("q35", "<controller type='scsi' model='virtio-scsi'/>".to_owned(), "scsi", usize::MAX),
        ("q35", "<controller type='scsi' model='lsilogic'/>".to_owned(), "scsi", 0),
        ("q35", "<disk model='virtio-scsi'/>".to_owned(), "scsi", 0),
        ("q35", PORTS.to_owned(), "sata", 0),
    ] {
        assert_eq!(
            free_ports(&doc(machine, &inside), bus, &BTreeSet::new()).expect("reads"),
            free,
            "{bus} on {machine} with {inside}"
        );
    }
    let full = format!(
        "{PORTS}<disk><target dev='vda'/><address type='pci' bus='0x01'/></disk>\
         <interface><mac address='52:00:00:00:00:01'/><address type='pci' bus='0x02'/></interface>\
         <hostdev><address type='pci' bus='0x0a'/></hostdev>"
    );
    for (unplugged, free) in [(vec![], 0), (vec!["vdb"], 0), (vec!["vda"], 1), (vec!["vda", "52:00:00:00:00:01"], 2)] {
        let unplugged = unplugged.into_iter().map(str::to_owned).collect();
        assert_eq!(free_ports(&doc("q35", &full), "virtio", &unplugged).expect("reads"), free, "without {unplugged:?}");
    }
    // A disk on a bus of its own leaves no port, and two on one port leave it together.
    let shared = format!(
        "{PORTS}<disk><target dev='sda'/><address type='drive' bus='0'/></disk>\
         <disk><target dev='vda'/><address type='pci' bus='0x01' function='0x0'/></disk>\
         <disk><target dev='vdb'/><address type='pci' bus='0x01' function='0x1'/></disk>"
    );
    for (unplugged, free) in [(vec!["sda"], 2), (vec!["vda"], 2), (vec!["vda", "vdb"], 3)] {
        let unplugged = unplugged.into_iter().map(str::to_owned).collect();
        assert_eq!(free_ports(&doc("q35", &shared), "virtio", &unplugged).expect("reads"), free, "without {unplugged:?}");
    }
    let cpus = "<domain><vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/><vcpu id='1' enabled='yes' hotpluggable='yes'/>\
        <vcpu id='2' enabled='yes' hotpluggable='yes'/><vcpu id='3' enabled='no' hotpluggable='yes'/></vcpus></domain>";
    assert_eq!(pluggable_vcpus(cpus).expect("reads"), 2);
    for (machine, family) in
        [("pc", "pc"), ("i440fx", "pc"), ("pc-i440fx-9.0", "pc"), ("q35", "q35"), ("pc-q35-9.0", "q35"), ("virt", "virt")]
    {
        assert_eq!(machine_family(machine), family);
    }
}

#[test]
fn firmware_stays_as_it_is_where_it_is_what_is_wanted() {
    let os = |attr: &str, inside: &str| {
        format!("<domain><os{attr}><type>hvm</type>{inside}</os><features><acpi/></features><devices/></domain>")
    };
    let set = |document: &str, firmware: serde_json::Value| {
        patch(document, &DomainPatch::new(spec(serde_json::json!({ "firmware": firmware })), BTreeSet::new())).expect("patches")
    };
    let flash = |secure: &str| os("", &format!("<loader type='pflash'{secure}>/code.fd</loader><nvram>/vars.fd</nvram>"));
    let efi = |enabled: &str| {
        os(
            " firmware='efi'",
            &format!(
                "<firmware><feature enabled='yes' name='enrolled-keys'/><feature enabled='{enabled}' name='secure-boot'/></firmware><nvram>/vars.fd</nvram>"
            ),
        )
    };
    let rom = os("", "<loader type='rom'>/bios.bin</loader>");
    let uefi = |secure: bool| serde_json::json!({"type": "UEFI", "secureBoot": secure});
    // Its variables stay with it.
    for (document, firmware) in [
        (flash(""), uefi(false)),
        (flash(" secure='yes'"), uefi(true)),
        (efi("yes"), uefi(true)),
        (efi("no"), uefi(false)),
        (efi("yes"), serde_json::json!({"type": "UEFI"})),
        (flash(""), serde_json::json!({"secureBoot": false})),
        (rom.clone(), serde_json::json!({"type": "BIOS"})),
        (rom.clone(), serde_json::json!({"type": "BIOS", "secureBoot": false})),
    ] {
        assert_eq!(set(&document, firmware), written(&document));
    }
    for (document, firmware, secure) in [
        (flash(""), uefi(true), Some(true)),
        (flash(" secure='yes'"), uefi(false), Some(false)),
        (efi("yes"), uefi(false), Some(false)),
        (efi("no"), uefi(true), Some(true)),
        (rom.clone(), uefi(false), Some(false)),
        (efi("yes"), serde_json::json!({"type": "BIOS"}), None),
        (flash(""), serde_json::json!({"type": "BIOS", "secureBoot": false}), None),
    ] {
        let text = set(&document, firmware.clone());
        assert!(!text.contains("/vars.fd") && !text.contains("<loader"), "variables of another firmware don't fit: {text}");
        assert_eq!(text.contains("firmware=\"efi\""), secure.is_some(), "{text}");
        assert_eq!(text.contains("<smm state=\"on\"/>"), secure == Some(true), "{text}");
        let have = project(&text).expect("reads").spec.firmware.expect("firmware");
        assert_eq!(have.secure_boot, Some(secure.unwrap_or(false)), "{firmware} of {document}: {text}");
    }
}

#[test]
fn a_topology_brings_as_many_processors_as_it_has() {
    let topology = |count: Option<u32>, max: Option<u32>| {
        let topology = crate::manifest::CpuTopology { sockets: 1, cores: 2, threads: 2 };
        let cpu = crate::manifest::Cpu { count, max, topology: Some(topology), ..crate::manifest::Cpu::default() };
        DomainPatch::new(VirtualMachineSpec { cpu: Some(cpu), ..VirtualMachineSpec::default() }, BTreeSet::new())
    };
    for (before, count, max, after) in [
        ("<vcpu>1</vcpu>", None, None, "<vcpu>4</vcpu>"),
        ("<vcpu>2</vcpu>", Some(3), None, "<vcpu current='3'>4</vcpu>"),
        ("<vcpu current='2'>3</vcpu>", None, None, "<vcpu current='2'>4</vcpu>"),
        // A maximum of before, of which nobody speaks any more, and one that is written.
        ("<vcpu current='3'>8</vcpu>", Some(4), None, "<vcpu>4</vcpu>"),
        ("<vcpu current='3'>8</vcpu>", Some(2), Some(4), "<vcpu current='2'>4</vcpu>"),
    ] {
        let text = patch(&format!("<domain>{before}<devices/></domain>"), &topology(count, max)).expect("patches");
        let doc = written(&format!("<domain>{after}<devices/></domain>"));
        let vcpu = |text: &str| Element::parse(text).expect("reads").child("vcpu").map(Element::to_xml);
        assert_eq!(vcpu(&text), vcpu(&doc), "{before} {count:?} {max:?}");
    }
}

#[test]
fn limits_that_stay_are_left_as_they_stand_and_so_is_their_group() {
    for iotune in [
        "<iotune><total_iops_sec>5</total_iops_sec><group_name>g</group_name></iotune>",
        "<iotune><group_name>g</group_name></iotune>",
    ] {
        let inside = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/d'/><target dev='vda' bus='virtio'/>{iotune}</disk>"
        );
        let doc = project(&devices(&inside)).expect("reads");
        let same = DiskWanted::from_doc(&doc.disks[0]).expect("a disk");
        let change = DomainPatch { disks: vec![same], ..DomainPatch::default() };
        assert_eq!(changed(&inside, &change), written(&devices(&inside)), "{iotune}");
    }
}
