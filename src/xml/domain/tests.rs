//! What is read of domains, and that what is written reads back.

use uuid::Uuid;

use super::*;
use crate::manifest::{Accelerator, LinkState, VirtualMachineSpec};
use crate::xml::Mark;
use crate::xml::golden;
use crate::xml::volume::Backing;

fn mark() -> Mark {
    let mut mark = Mark::new(Uuid::from_u128(1), "vm/web-1".parse().expect("a reference"), Uuid::from_u128(2));
    mark.paths = ["/cpu/count", "/memory"].map(str::to_owned).into();
    mark
}

fn spec(value: serde_json::Value) -> VirtualMachineSpec {
    serde_json::from_value(value).expect("a spec")
}

fn disk(name: &str, target: &str, bus: &str, path: Option<&str>) -> DiskWanted {
    let cdrom = name.starts_with("cd");
    DiskWanted {
        name: name.parse().expect("a name"),
        target: target.to_owned(),
        bus: bus.to_owned(),
        device: if cdrom { "cdrom" } else { "disk" }.to_owned(),
        path: path.map(str::to_owned),
        format: if cdrom { "raw" } else { "qcow2" }.to_owned(),
        backing: Vec::new(),
        read_only: cdrom,
        boot_order: None,
        serial: (!cdrom).then(|| name.to_owned()),
    }
}

fn nic(name: &str, last: u8, source: NicSource) -> NicWanted {
    NicWanted {
        name: name.parse().expect("a name"),
        mac: crate::name::MacAddr::new([0x52, 1, 2, 3, 4, last]),
        source,
        model: "virtio".to_owned(),
        link_state: None,
        boot_order: None,
    }
}

fn wanted<'a>(spec: &'a VirtualMachineSpec, mark: &'a Mark) -> DomainWanted<'a> {
    DomainWanted {
        name: "web-1",
        uuid: Uuid::from_u128(3),
        spec,
        accelerator: Accelerator::TCG,
        arch: "x86_64",
        disks: Vec::new(),
        interfaces: Vec::new(),
        seed: None,
        vnc_password_token: None,
        mark,
        spare_ports: SPARE_PORTS,
    }
}

#[test]
fn a_bios_domain_with_disks_on_every_bus() {
    let spec = spec(serde_json::json!({
        "cpu": {"count": 2, "max": 4, "topology": {"sockets": 1, "cores": 2, "threads": 2}},
        "memory": "1Gi", "maxMemory": "2Gi", "machine": "q35", "title": "Web <1>", "description": "a\nb",
    }));
    let mark = mark();
    let mut w = wanted(&spec, &mark);
    let mut root = disk("root", "vda", "virtio", Some("/p/root.qcow2"));
    root.backing = ["/p/mid.qcow2", "/p/base.img"]
        .map(|path| Backing { path: path.to_owned(), format: if path.ends_with("img") { "raw" } else { "qcow2" }.to_owned() })
        .to_vec();
    root.boot_order = Some(1);
    w.disks = vec![
        root,
        disk("data", "vdb", "virtio", Some("/dev/vg/data")),
        disk("fast", "sda", "scsi", Some("/p/fast.qcow2")),
        disk("slow", "sdb", "sata", Some("/p/slow.qcow2")),
        disk("cd", "sdc", "sata", None),
    ];
    w.interfaces = vec![nic("lan", 1, NicSource::Network("lan".to_owned())), nic("wan", 2, NicSource::Bridge("br0".to_owned()))];
    w.interfaces[1].link_state = Some(LinkState::Down);
    w.seed = Some("/p/web-1.seed-12345678.img".to_owned());
    let text = render(&w);
    golden::check("domain-bios", &text);
    let doc = project(&text).expect("reads");
    assert_eq!(doc.spec.cpu, Some(crate::manifest::Cpu { model: None, ..spec.cpu.clone().expect("a cpu") }));
    assert_eq!((doc.spec.memory, doc.spec.max_memory), (spec.memory, spec.max_memory));
    assert_eq!((&doc.spec.title, &doc.spec.description), (&spec.title, &spec.description));
    assert_eq!(doc.mark.as_ref(), Some(&mark));
    let names: Vec<&str> = doc.spec.disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(names, ["root", "data", "fast", "slow", "cd"], "the seed is none of them");
    assert_eq!(doc.disks[0].chain, ["/p/mid.qcow2", "/p/base.img"]);
    assert_eq!(doc.disks[5].target, "vdc", "last on the bus");
    assert!(
        doc.uses.contains("/p/base.img") && doc.uses.contains("/dev/vg/data") && doc.uses.contains("/p/web-1.seed-12345678.img")
    );
    assert_eq!(doc.spec.interfaces[1].link_state, Some(LinkState::Down));
    assert_eq!(doc.interfaces[1].bridge.as_deref(), Some("br0"));
}

#[test]
fn a_uefi_domain_with_a_screen() {
    let spec = spec(serde_json::json!({
        "cpu": {"count": 1, "model": "host-model"}, "memory": "512Mi", "machine": "q35",
        "firmware": {"type": "UEFI", "secureBoot": true},
        "console": {"serial": true, "vnc": {"listen": "127.0.0.1", "password": {"valueFrom": {"env": "JVP_VAR_X"}}}},
    }));
    let mark = mark();
    let mut w = wanted(&spec, &mark);
    w.accelerator = Accelerator::KVM;
    w.vnc_password_token = Some("@token@".to_owned());
    w.disks = vec![disk("root", "vda", "virtio", Some("/p/root.qcow2"))];
    let text = render(&w);
    golden::check("domain-uefi", &text);
    let doc = project(&text).expect("reads");
    assert_eq!(doc.spec.firmware, spec.firmware);
    assert_eq!(doc.spec.accelerator, Some(Accelerator::KVM));
    assert_eq!(doc.vnc.expect("a screen").password.map(|p| p.reveal().to_owned()).as_deref(), Some("@token@"));
    assert!(!crate::xml::pretty(&text).expect("reads").contains("@token@"));
}

#[test]
fn an_old_machine_without_serial_and_agent() {
    let spec = spec(serde_json::json!({
        "cpu": {"count": 1, "model": "qemu64"}, "memory": "512Mi", "machine": "pc", "guestAgent": false,
        "firmware": {"type": "UEFI", "secureBoot": false},
        "console": {"serial": false, "vnc": {"socket": "/run/v.sock"}},
    }));
    let mark = mark();
    let mut w = wanted(&spec, &mark);
    w.disks = vec![disk("root", "vda", "virtio", Some("/p/root.qcow2"))];
    let text = render(&w);
    golden::check("domain-pc", &text);
    assert!(!text.contains("pcie"));
    let doc = project(&text).expect("reads");
    assert_eq!(doc.spec.console, spec.console);
    assert_eq!(doc.spec.guest_agent, Some(false));
    assert_eq!(doc.spec.firmware, spec.firmware);
}
