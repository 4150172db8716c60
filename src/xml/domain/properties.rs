//! Whatever spec is written reads back equal, leaf by leaf, from nothing and as a patch of any other.

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::manifest::{Accelerator, DiskBus, DiskDevice, LinkState, VirtualMachineSpec};
use crate::name::MacAddr;
use crate::xml::Mark;

/// A spec with what creation fills in, as a value.
fn specs() -> impl Strategy<Value = VirtualMachineSpec> {
    let cpu =
        (1u32..64, 0u32..64, prop::option::of(prop::sample::select(vec!["host-passthrough", "host-model", "maximum", "qemu64"])))
            .prop_map(|(count, more, model)| json!({"count": count, "max": count + more, "model": model}));
    let topology = (1u32..4, 1u32..8, 1u32..3).prop_map(|(sockets, cores, threads)| {
        json!({"count": 1, "max": sockets * cores * threads, "topology": {"sockets": sockets, "cores": cores, "threads": threads}})
    });
    let firmware = prop::sample::select(vec![
        json!({"type": "BIOS", "secureBoot": false}),
        json!({"type": "UEFI", "secureBoot": false}),
        json!({"type": "UEFI", "secureBoot": true}),
    ]);
    let vnc = prop::option::of(prop::sample::select(vec![
        json!({"listen": "127.0.0.1"}),
        json!({"listen": "::1"}),
        json!({"socket": "/run/a b<&>'\"/v"}),
    ]));
    let limits = prop::option::of(prop::sample::select(vec![
        json!({"iops": 100}),
        json!({"readIOPS": 7, "writeIOPS": 9, "readIOPSMax": 70, "readIOPSMaxLength": 60, "iopsSize": "4Ki"}),
        json!({"bytesPerSecond": "10Mi", "bytesPerSecondMax": "20Mi", "iops": 1}),
        json!({"readBytesPerSecond": "1000001"}),
    ]));
    let kinds = prop::sample::select(vec!["virtio", "scsi", "sata"]);
    let disk = ("[a-z][a-z0-9_-]{0,6}[a-z0-9]", kinds, any::<bool>(), any::<bool>(), limits);
    let disks = prop::collection::btree_map(0u8..9, disk, 0..6).prop_map(|all| {
        let disk = |(n, (name, bus, cdrom, read_only, limits)): (u8, (String, &str, bool, bool, Option<Value>))| {
            let device = if cdrom { "cdrom" } else { "disk" };
            json!({"name": format!("{name}{n}"), "bus": bus, "device": device, "readOnly": read_only || cdrom, "bootOrder": n + 1, "limits": limits})
        };
        all.into_iter().map(disk).collect::<Vec<_>>()
    });
    let nic = ("[a-z][a-z0-9_-]{0,6}[a-z0-9]", any::<bool>(), prop::sample::select(vec!["virtio", "e1000e", "rtl8139"]));
    let nics = prop::collection::btree_map(0u8..9, nic, 0..4).prop_map(|all| {
        let nic = |(n, (name, up, model)): (u8, (String, bool, &str))| {
            let state = if up { "up" } else { "down" };
            json!({"name": format!("{name}{n}"), "mac": MacAddr::new([0x52, 0, 0, 0, 0, n]), "network": "lan", "model": model, "linkState": state})
        };
        all.into_iter().map(nic).collect::<Vec<_>>()
    });
    let text = prop::option::of("[ -~äß€\u{1F600}]{1,30}");
    let memory = (1u64..1 << 40, 0u64..1 << 40);
    let rest =
        (any::<bool>(), any::<bool>(), prop::sample::select(vec!["q35", "pc-q35-7.2", "pc", "pc-i440fx-7.2"]), any::<bool>());
    (prop_oneof![cpu, topology], memory, firmware, vnc, disks, nics, text.clone(), text, rest).prop_map(
        |(cpu, (memory, more), firmware, vnc, disks, nics, title, description, (serial, agent, machine, kvm))| {
            let kib = |bytes: u64| bytes.div_ceil(1024) * 1024;
            let mut spec = json!({
                "cpu": cpu, "memory": kib(memory), "maxMemory": kib(memory + more), "firmware": firmware, "machine": machine,
                "disks": disks, "interfaces": nics, "console": {"serial": serial, "vnc": vnc}, "guestAgent": agent,
                "accelerator": if kvm { "KVM" } else { "TCG" }, "title": title, "description": description,
            });
            prune(&mut spec);
            serde_json::from_value(spec).expect("a spec")
        },
    )
}

fn prune(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, value| !value.is_null());
        fields.values_mut().for_each(prune);
    } else if let Value::Array(items) = value {
        items.iter_mut().for_each(prune);
    }
}

fn disks(spec: &VirtualMachineSpec) -> Vec<DiskWanted> {
    let mut all: Vec<DiskWanted> = Vec::new();
    for disk in &spec.disks {
        let taken: Vec<String> = all.iter().map(|disk| disk.target.clone()).collect();
        let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
        let bus = disk.bus.unwrap_or(DiskBus::Virtio);
        let cdrom = disk.device == Some(DiskDevice::Cdrom);
        all.push(DiskWanted {
            name: disk.name.clone(),
            target: next_target(bus, &taken),
            bus: format!("{bus:?}").to_lowercase(),
            device: if cdrom { "cdrom" } else { "disk" }.to_owned(),
            path: Some(format!("/p/{}", disk.name)),
            format: "raw".to_owned(),
            backing: Vec::new(),
            read_only: disk.read_only == Some(true),
            boot_order: disk.boot_order,
            serial: None,
            limits: disk.limits.clone().unwrap_or_default(),
        });
    }
    all
}

fn nics(spec: &VirtualMachineSpec) -> Vec<NicWanted> {
    let nic = |nic: &crate::manifest::Interface| NicWanted {
        name: nic.name.clone(),
        mac: nic.mac.expect("a MAC"),
        source: NicSource::Network("lan".to_owned()),
        model: nic.model.clone().expect("a model"),
        link_state: nic.link_state.or(Some(LinkState::Up)),
        boot_order: None,
    };
    spec.interfaces.iter().map(nic).collect()
}

fn written(spec: &VirtualMachineSpec) -> String {
    let mark = Mark::new(Uuid::from_u128(1), "vm/a".parse().expect("a reference"), Uuid::from_u128(2));
    render(&DomainWanted {
        name: "a".to_owned(),
        uuid: Uuid::from_u128(3),
        spec: spec.clone(),
        accelerator: spec.accelerator.unwrap_or(Accelerator::TCG),
        arch: "x86_64".to_owned(),
        disks: disks(spec),
        interfaces: nics(spec),
        seed: Some("/p/seed".to_owned()),
        vnc_password_token: None,
        mark,
        spare_ports: SPARE_PORTS,
    })
}

/// What the language sees of it, without what only the machine's alias means.
fn seen(spec: &VirtualMachineSpec) -> VirtualMachineSpec {
    let mut spec = spec.clone();
    spec.disks.sort_by(|a, b| a.name.cmp(&b.name));
    spec.interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    spec
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back_equal(spec in specs()) {
        let text = written(&spec);
        let doc = project(&text).expect("reads");
        prop_assert_eq!(seen(&doc.spec), seen(&spec), "{}", text);
        prop_assert!(doc.disks.iter().any(|disk| disk.seed));
        prop_assert!(pending(&text, &text).expect("reads").is_empty());
    }

    #[test]
    fn a_patch_makes_one_domain_into_another(from in specs(), to in specs()) {
        let text = written(&from);
        let mut drop: std::collections::BTreeSet<String> = ["/title", "/description", "/cpu/topology"].map(str::to_owned).into();
        drop.extend(from.disks.iter().map(|disk| format!("/disks/{}", disk.name)));
        drop.extend(from.interfaces.iter().map(|nic| format!("/interfaces/{}", nic.name)));
        if to.console.as_ref().is_some_and(|console| console.vnc.is_none()) {
            drop.insert("/console/vnc".to_owned());
        } else {
            drop.extend(["/console/vnc/listen", "/console/vnc/socket"].map(str::to_owned));
        }
        let mut to = to;
        // A model once set is kept, and so is the chipset.
        if let (Some(new), Some(old)) = (&mut to.cpu, &from.cpu) {
            new.model = new.model.clone().or_else(|| old.model.clone());
        }
        to.machine.clone_from(&from.machine);
        let (disks, interfaces) = (disks(&to), nics(&to));
        let change = DomainPatch { disks, interfaces, ..DomainPatch::new(to.clone(), drop) };
        let patched = patch(&text, &change).expect("patches");
        let doc = project(&patched).expect("reads");
        prop_assert_eq!(seen(&doc.spec), seen(&to), "{}", patched);
        prop_assert_eq!(patch(&patched, &DomainPatch { drop: std::collections::BTreeSet::new(), ..change }).expect("patches"), patched);
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "(<[a-z]{1,8}( [a-z]{1,4}='[^<&']{0,5}')?/?>|</[a-z]{1,8}>|[a-z ]){0,40}") {
        let _ = project(&text);
        let _ = parse_fragment(&text);
        let _ = crate::xml::network::project(&text);
        let _ = crate::xml::pretty(&text);
    }
}
