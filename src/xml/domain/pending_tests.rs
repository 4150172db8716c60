//! What waits for a domain's next start.

use super::tests::{FOREIGN, FOREIGN_LIVE, spec};
use super::*;

#[test]
fn a_running_domain_has_nothing_pending_but_what_was_changed() {
    assert_eq!(pending(FOREIGN_LIVE, FOREIGN).expect("reads"), std::collections::BTreeSet::new());
    let set = spec(serde_json::json!({"memory": "2Gi", "cpu": {"count": 3}}));
    let drop = ["/interfaces/second".to_owned()].into();
    let mut system = DiskWanted::from_doc(&project(FOREIGN).expect("reads").disks[0]).expect("a disk");
    system.path = Some("/srv/new.qcow2".to_owned());
    let change = DomainPatch { disks: vec![system], ..DomainPatch::new(set, drop) };
    let fragment = parse_fragment("<domain><features><pae/></features></domain>").expect("reads");
    let text = merge(&patch(FOREIGN, &change).expect("patches"), &fragment).expect("merges");
    let found = pending(FOREIGN_LIVE, &text).expect("reads");
    let found: Vec<&str> = found.iter().map(String::as_str).filter(|path| !path.starts_with("/interfaces/second/")).collect();
    assert_eq!(found, ["/cpu/count", "/disks/system/source", "/memory", "xml:/features"]);
}

#[test]
fn what_a_start_adds_to_disks_and_interfaces_is_not_pending() {
    let of = |inside: &str| format!("<domain type='kvm'><name>a</name><memory>1</memory><devices>{inside}</devices></domain>");
    let disk = |chain: &str, source: &str| {
        of(&format!(
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>{source}{chain}<target dev='vda' bus='virtio'/></disk>"
        ))
    };
    let nic = |kind: &str, source: &str, tap: &str| {
        of(&format!("<interface type='{kind}'><mac address='52:54:00:00:00:01'/>{source}{tap}<model type='virtio'/></interface>"))
    };
    let source = "<source file='/a'/>";
    let chain = "<backingStore type='file'><format type='raw'/><source file='/b'/><backingStore/></backingStore>";
    let none = std::collections::BTreeSet::<String>::new();
    let differs = |live: &str, inactive: &str| pending(live, inactive).expect("reads");
    assert_eq!(differs(&disk(chain, source), &disk("", source)), none);
    assert!(differs(&disk("", "<source file='/b'/>"), &disk("", source)).contains("/disks/vda/source"));
    let port = "<source network='lan' portid='a5294cef-53dc-48a9-ba76-380b261d371c' bridge='virbr0'/>";
    let lan = "<source network='lan'/>";
    assert_eq!(differs(&nic("network", port, "<target dev='vnet0'/>"), &nic("network", lan, "")), none);
    let by_bridge = "<source network='lan' portid='a5294cef-53dc-48a9-ba76-380b261d371c' bridge='br0'/>";
    assert_eq!(differs(&nic("bridge", by_bridge, "<target dev='vnet0'/>"), &nic("network", lan, "")), none);
    let other = differs(&nic("bridge", "<source bridge='br0'/>", ""), &nic("bridge", "<source bridge='br1'/>", ""));
    assert!(!other.is_empty());
}

#[test]
fn a_start_makes_a_concrete_cpu_of_host_model_only() {
    let with = |text: &str, cpu: &str| {
        let (before, rest) = text.split_once("<cpu ").expect("a cpu");
        let after = rest.split_once("</cpu>").or_else(|| rest.split_once("/>")).expect("its end").1;
        format!("{before}{cpu}{after}")
    };
    let concrete = "<cpu mode='custom' match='exact' check='full'><model fallback='forbid'>qemu64</model></cpu>";
    let (model, most) = ("<cpu mode='host-model' check='partial'/>", "<cpu mode='maximum' check='none'/>");
    for (live, inactive, differs) in
        [(concrete, model, false), (concrete, most, true), (most, most, false), (most, model, true), (most, concrete, true)]
    {
        let found = pending(&with(FOREIGN_LIVE, live), &with(FOREIGN, inactive)).expect("reads");
        assert_eq!(found.contains("/cpu/model"), differs, "{live} {inactive}: {found:?}");
    }
}

#[test]
fn what_a_real_libvirt_runs_has_nothing_pending() {
    for name in ["bios", "uefi", "pc"] {
        let read = |kind: &str| {
            let path = format!("{}/tests/golden/xml/libvirt9-{name}-{kind}.xml", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(path).expect("a dump")
        };
        let (live, inactive) = (read("live"), read("inactive"));
        assert_eq!(pending(&live, &inactive).expect("reads"), std::collections::BTreeSet::new(), "{name}");
        let (live, inactive) = (project(&live).expect("reads"), project(&inactive).expect("reads"));
        assert_eq!(live.spec.disks, inactive.spec.disks);
        assert_eq!(live.spec.firmware, inactive.spec.firmware, "{name}");
        assert_eq!(live.spec.interfaces, inactive.spec.interfaces);
    }
}

#[test]
fn what_waits_for_a_start_is_told_by_its_path() {
    let domain = |inside: &str| format!("<domain type='kvm'>{inside}</domain>");
    let memory = |max: u32, now: u32| format!("<memory unit='MiB'>{max}</memory><currentMemory unit='MiB'>{now}</currentMemory>");
    let device = |inside: &str| format!("<devices>{inside}</devices>");
    let disk = |inside: &str| device(&format!("<disk type='file' device='disk'>{inside}<target dev='vda' bus='virtio'/></disk>"));
    let nic = |inside: &str| device(&format!("<interface type='network'><mac address='52:54:00:00:00:01'/>{inside}</interface>"));
    for (live, inactive, paths) in [
        // A balloon moves by itself; the most that there can be does not.
        (memory(2048, 900), memory(2048, 1024), vec![]),
        (memory(2048, 2048), memory(1024, 1024), vec!["/memory"]),
        (memory(2048, 1024), memory(4096, 1024), vec!["/maxMemory"]),
        (memory(2048, 1024), memory(4096, 2048), vec!["/maxMemory"]),
        (memory(2048, 1024), memory(4096, 3072), vec!["/maxMemory", "/memory"]),
        ("<memory>1049600</memory>".to_owned(), "<memory>1048577</memory>".to_owned(), vec![]),
        // What a start makes of a definition.
        (
            disk(
                "<driver type='qcow2'/><source file='/a' index='1'/><backingStore type='file'><source file='/b'/></backingStore>",
            ),
            disk("<driver type='qcow2'/><source file='/a'/>"),
            vec![],
        ),
        (disk("<driver type='raw'/>"), disk(""), vec![]),
        (
            disk("<driver type='raw'/><source file='/a'/>"),
            disk("<driver type='qcow2'/><source file='/a'/>"),
            vec!["/disks/vda/format"],
        ),
        (disk("<source file='/a'/><serial>x</serial>"), disk("<source file='/a'/><serial>y</serial>"), vec!["/disks/vda/serial"]),
        (
            disk("<source file='/a'/><alias name='ua-seed'/>"),
            disk("<source file='/b'/><alias name='ua-seed'/>"),
            vec!["/disks/(seed)/source"],
        ),
        (
            nic("<source network='lan' portid='6c1ad7cd-9bb5-4f2e-bf43-0c5d5d8a7c11' bridge='virbr0'/><target dev='vnet3'/>"),
            nic("<source network='lan'/>"),
            vec![],
        ),
        (nic("<source network='lan'/>"), nic("<source network='wan'/>"), vec!["/interfaces/52-54-00-00-00-01/network"]),
        (nic("<source bridge='a'/>"), nic("<source bridge='b'/>"), vec!["/interfaces/52-54-00-00-00-01/network"]),
        (nic("<boot order='1'/>"), nic("<boot order='2'/>"), vec!["/interfaces/52-54-00-00-00-01/bootOrder"]),
        // What is live by nature, and beside it what is not.
        (device("<serial type='pty'><source path='/dev/pts/1'/></serial>"), device("<serial type='pty'/>"), vec![]),
        (
            device("<serial type='file'><source path='/a'/></serial>"),
            device("<serial type='file'><source path='/b'/></serial>"),
            vec!["xml:/devices/serial"],
        ),
        (device("<console type='pty' tty='/dev/pts/1'/>"), device("<console type='pty'/>"), vec![]),
        (
            device("<console type='pty'><target tty='a'/></console>"),
            device("<console type='pty'><target tty='b'/></console>"),
            vec!["xml:/devices/console"],
        ),
        (
            device("<graphics type='vnc' port='5901' autoport='yes'/>"),
            device("<graphics type='vnc' port='-1' autoport='yes'/>"),
            vec![],
        ),
        (
            device("<graphics type='vnc' port='5901' autoport='no'/>"),
            device("<graphics type='vnc' port='5902' autoport='no'/>"),
            vec!["xml:/devices/graphics"],
        ),
        ("<clock offset='variable' adjustment='7'/>".to_owned(), "<clock offset='variable' adjustment='0'/>".to_owned(), vec![]),
        ("<clock offset='utc'/>".to_owned(), "<clock offset='localtime'/>".to_owned(), vec!["xml:/clock"]),
        (device("<memballoon model='virtio'><stats period='5'/></memballoon>"), device("<memballoon model='virtio'/>"), vec![]),
        (
            device("<memory><target><size>1</size><current>1</current></target></memory>"),
            device("<memory><target><size>1</size></target></memory>"),
            vec![],
        ),
        (device("<rng><seclabel model='dac'/></rng>"), device("<rng/>"), vec![]),
        (device("<rng><alias name='rng0'/></rng>"), device("<rng/>"), vec![]),
        (device("<rng><alias name='ua-a'/></rng>"), device("<rng><alias name='ua-b'/></rng>"), vec!["xml:/devices/rng"]),
    ] {
        let found = pending(&domain(&live), &domain(&inactive)).expect("reads");
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), paths, "{live} as against {inactive}");
    }
}
