//! What is read of domains, and that what is written reads back.

use uuid::Uuid;

use super::*;
use crate::manifest::{Accelerator, LinkState, VirtualMachineSpec};
use crate::xml::golden;
use crate::xml::volume::Backing;
use crate::xml::{Mark, XmlError};

fn mark() -> Mark {
    let mut mark = Mark::new(Uuid::from_u128(1), "vm/web-1".parse().expect("a reference"), Uuid::from_u128(2));
    mark.paths = ["/cpu/count", "/memory"].map(str::to_owned).into();
    mark
}

pub(super) fn spec(value: serde_json::Value) -> VirtualMachineSpec {
    serde_json::from_value(value).expect("a spec")
}

pub(super) fn disk(name: &str, target: &str, bus: &str, path: Option<&str>) -> DiskWanted {
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
        limits: crate::manifest::DiskLimits::default(),
    }
}

pub(super) fn nic(name: &str, last: u8, source: NicSource) -> NicWanted {
    NicWanted {
        name: name.parse().expect("a name"),
        mac: crate::name::MacAddr::new([0x52, 1, 2, 3, 4, last]),
        source,
        model: "virtio".to_owned(),
        link_state: None,
        boot_order: None,
    }
}

fn wanted(spec: &VirtualMachineSpec, mark: &Mark) -> DomainWanted {
    DomainWanted {
        name: "web-1".to_owned(),
        uuid: Uuid::from_u128(3),
        spec: spec.clone(),
        accelerator: Accelerator::TCG,
        arch: "x86_64".to_owned(),
        disks: Vec::new(),
        interfaces: Vec::new(),
        seed: None,
        vnc_password_token: None,
        mark: mark.clone(),
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

fn patched(document: &str, set: &VirtualMachineSpec, drop: &[&str]) -> String {
    let drop = drop.iter().map(|path| (*path).to_owned()).collect();
    patch(document, &DomainPatch::new(set.clone(), drop)).expect("patches")
}

/// As `virsh dumpxml --inactive --security-info` gives it of a domain made by other tools.
pub(super) const FOREIGN: &str = include_str!("../../../tests/golden/xml/foreign-inactive.xml");
/// The same domain while it runs.
pub(super) const FOREIGN_LIVE: &str = include_str!("../../../tests/golden/xml/foreign-live.xml");

#[test]
fn a_domain_of_another_tool_reads_in_normal_form() {
    let doc = project(FOREIGN).expect("reads");
    let cpu = doc.spec.cpu.as_ref().expect("a cpu");
    assert_eq!((cpu.count, cpu.max, cpu.model.as_deref()), (Some(2), Some(4), Some("host-model")));
    assert_eq!(doc.spec.memory.map(crate::name::ByteSize::bytes), Some(976_563 * 1024), "rounded up to KiB");
    assert_eq!(doc.spec.firmware.as_ref().and_then(|firmware| firmware.secure_boot), Some(true));
    assert_eq!(doc.nvram.as_deref(), Some("/var/lib/libvirt/qemu/nvram/old_VARS.fd"));
    let disks: Vec<(&str, Option<&str>)> =
        doc.disks.iter().map(|disk| (disk.key.as_ref().map_or("", |key| key.as_str()), disk.source.as_deref())).collect();
    assert_eq!(disks, [("system", Some("/srv/a.qcow2")), ("vdb", None), ("sda", None), ("fda", Some("/srv/f.img"))]);
    assert_eq!(doc.disks[0].chain, ["/srv/base.qcow2"]);
    let nics: Vec<&str> = doc.interfaces.iter().filter_map(|nic| nic.key.as_ref()).map(crate::name::DeviceName::as_str).collect();
    assert_eq!(nics, ["52-54-00-0a-0b-04", "second"]);
    assert_eq!(doc.interfaces[0].model.as_deref(), Some("virtio"));
    for path in
        ["/srv/a.qcow2", "/srv/base.qcow2", "/boot/vmlinuz", "/srv/share", "/srv/f.img", "/usr/share/OVMF/OVMF_CODE_4M.ms.fd"]
    {
        assert!(doc.uses.contains(path), "{path} in {:?}", doc.uses);
    }
    assert!(doc.uses_volumes.contains(&("pool".to_owned(), "b.img".to_owned())));
    assert_eq!(doc.vnc.as_ref().and_then(|vnc| vnc.password.as_ref()).map(crate::xml::Hidden::reveal), Some("canary"));
    assert!(!format!("{doc:?}").contains("canary"));
}

#[test]
fn an_empty_patch_changes_nothing() {
    let none = VirtualMachineSpec::default();
    let once = patched(FOREIGN, &none, &[]);
    assert_eq!(project(&once), project(FOREIGN));
    assert_eq!(once, patched(&once, &none, &["/machine", "/disks/none/bootOrder"]));
    assert_eq!(
        once.matches('<').count(),
        FOREIGN.matches('<').count() + FOREIGN.matches("></").count() - once.matches("></").count()
    );
}

#[test]
fn a_patch_sets_what_it_names_and_keeps_the_rest() {
    let set = spec(serde_json::json!({
        "title": "New", "memory": "2Gi", "cpu": {"count": 3}, "firmware": {"secureBoot": false}, "guestAgent": true,
        "console": {"vnc": {"listen": "0.0.0.0"}}, "machine": "q35",
    }));
    let drop = ["/interfaces/second", "/disks/system/bootOrder", "/description"].map(str::to_owned).into();
    let mut system = DiskWanted::from_doc(&project(FOREIGN).expect("reads").disks[0]).expect("a disk");
    system.path = Some("/srv/new.qcow2".to_owned());
    system.boot_order = None;
    let mark = mark();
    let change = DomainPatch {
        disks: vec![system, disk("extra", "vdc", "virtio", Some("/srv/extra.qcow2"))],
        interfaces: vec![nic("third", 9, NicSource::Network("lan".to_owned()))],
        seed: Some("/srv/seed.img".into()),
        vnc_password_token: Some("@t@".into()),
        mark: Some(mark.clone()),
        ..DomainPatch::new(set.clone(), drop)
    };
    let text = patch(FOREIGN, &change).expect("patches");
    golden::check("domain-patched", &text);
    let (old, new) = (project(FOREIGN).expect("reads"), project(&text).expect("reads"));
    assert_eq!(new.uuid, old.uuid);
    assert_eq!(new.machine, old.machine, "an alias never rewrites a version");
    assert_eq!((new.spec.title.as_deref(), &new.spec.description), (Some("New"), &None));
    assert_eq!((new.spec.memory, new.spec.max_memory), (set.memory, set.memory));
    let cpu = new.spec.cpu.as_ref().expect("a cpu");
    assert_eq!((cpu.count, cpu.max), (Some(3), Some(4)));
    assert_eq!(new.spec.firmware.as_ref().and_then(|firmware| firmware.secure_boot), Some(false));
    assert_eq!(new.nvram, None, "variables of another firmware don't fit");
    assert_eq!(new.disks[0].source.as_deref(), Some("/srv/new.qcow2"));
    assert!(new.disks[0].chain.is_empty() && new.disks[0].boot_order.is_none());
    let targets: Vec<&str> = new.disks.iter().map(|disk| disk.target.as_str()).collect();
    assert_eq!(targets, ["vda", "vdb", "sda", "fda", "vdc", "vdd"]);
    assert!(new.disks[5].seed);
    let names: Vec<Option<&str>> =
        new.interfaces.iter().map(|nic| nic.name.as_ref().map(crate::name::DeviceName::as_str)).collect();
    assert_eq!(names, [None, Some("third")]);
    assert_eq!(new.vnc.as_ref().and_then(|vnc| vnc.listen.as_deref()), Some("0.0.0.0"));
    assert_eq!(new.mark.as_ref(), Some(&mark));
    assert_eq!(text, patch(&text, &change).expect("patches"), "a second time changes nothing");
    assert!(text.contains("qemu:commandline") && text.contains("urn:other"), "what jvp doesn't know stays");
    let gone =
        patched(&text, &VirtualMachineSpec::default(), &["/cloudInit", "/disks/extra", "/interfaces/third", "/console/vnc"]);
    let gone = project(&gone).expect("reads");
    assert_eq!((gone.disks.len(), gone.interfaces.len(), gone.vnc), (4, 1, None));
}

/// A domain as libvirt 9 gives it back of what `render` wrote.
const EXPANDED: &str = include_str!("../../../tests/golden/xml/libvirt9-bios-inactive.xml");

#[test]
fn a_definition_that_libvirt_filled_in_is_patched_without_moving_a_device() {
    let set = spec(serde_json::json!({
        "memory": "256Mi", "maxMemory": "512Mi", "cpu": {"count": 4, "model": "maximum"}, "description": "new",
        "console": {"vnc": {"listen": "127.0.0.1"}},
    }));
    let drop = ["/disks/slow/name", "/interfaces/wan", "/cpu/topology/sockets", "/title"].map(str::to_owned).into();
    let mut root = DiskWanted::from_doc(&project(EXPANDED).expect("reads").disks[0]).expect("a disk");
    root.read_only = true;
    root.boot_order = Some(3);
    let mut cd = disk("cd", "sdc", "sata", Some("/srv/data.qcow2"));
    cd.boot_order = Some(1);
    let mark = mark();
    let change = DomainPatch {
        disks: vec![root, cd, disk("more", "sdd", "scsi", Some("/srv/slow.qcow2"))],
        interfaces: vec![nic("third", 9, NicSource::Network("lannat".to_owned()))],
        seed: Some("/srv/web-1.seed-12345678.img".into()),
        mark: Some(mark.clone()),
        ..DomainPatch::new(set.clone(), drop)
    };
    let text = patch(EXPANDED, &change).expect("patches");
    golden::check("domain-expanded", &text);
    let addresses = |text: &str| text.matches("<address type=").count();
    assert_eq!(addresses(&text), addresses(&EXPANDED.replace('\'', "\"")) - 2, "two devices left");
    let doc = project(&text).expect("reads");
    let names: Vec<&str> = doc.spec.disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(names, ["root", "data", "fast", "cd", "more"]);
    assert_eq!(doc.disks[0].chain.len(), 2, "the chain of a source that stays");
    assert_eq!(doc.spec.title, None);
}

#[test]
fn memory_follows_its_maximum() {
    let dom = |memory: u64, current: u64| {
        format!("<domain><memory unit='MiB'>{memory}</memory><currentMemory unit='MiB'>{current}</currentMemory></domain>")
    };
    let check = |memory, current, set: serde_json::Value, drop: &[&str], want: (u64, u64)| {
        let doc = project(&patched(&dom(memory, current), &spec(set), drop)).expect("reads");
        let mib = |size: Option<crate::name::ByteSize>| size.map_or(0, |size| size.bytes() >> 20);
        assert_eq!((mib(doc.spec.max_memory), mib(doc.spec.memory)), want);
    };
    check(1024, 1024, serde_json::json!({"memory": "2Gi"}), &[], (2048, 2048));
    check(4096, 1024, serde_json::json!({"memory": "2Gi"}), &[], (4096, 2048));
    check(1024, 1024, serde_json::json!({"memory": "1Gi", "maxMemory": "4Gi"}), &[], (4096, 1024));
    check(4096, 1024, serde_json::json!({}), &["/maxMemory"], (1024, 1024));
    check(4096, 4096, serde_json::json!({"maxMemory": "2Gi"}), &[], (2048, 2048));
    let numa = "<domain><memory>4096</memory><cpu><numa><cell id='0' memory='4096'/></numa></cpu></domain>";
    let set = spec(serde_json::json!({"memory": "1Gi"}));
    assert!(patch(numa, &DomainPatch::new(set, std::collections::BTreeSet::new())).is_err());
}

#[test]
fn memory_and_what_it_is_made_of_change_together() {
    let dom = "<domain><maxMemory slots='4'>1048576</maxMemory><memory>262144</memory><currentMemory>262144</currentMemory>\
               <cpu><numa><cell id='0' memory='131072' unit='KiB'/></numa></cpu><devices>\
               <memory model='dimm'><target><size>131072</size></target><alias name='ua-dimm'/></memory></devices></domain>";
    let change = |memory: &str, fragment: Option<&str>, drop: &[&str]| {
        let fragment = FragmentPatch {
            text: fragment.map(str::to_owned),
            digest: None,
            drop: drop.iter().map(|path| (*path).to_owned()).collect(),
        };
        let set = spec(serde_json::json!({ "memory": memory }));
        patch(dom, &DomainPatch { fragment: Some(fragment), ..DomainPatch::new(set, std::collections::BTreeSet::new()) })
    };
    let dimm = "<domain><devices><memory model='dimm'><target><size unit='MiB'>256</size></target><alias name='ua-dimm'/></memory></devices></domain>";
    let grown = change("384Mi", Some(dimm), &[]).expect("they agree");
    assert!(grown.contains(">393216</memory>") && grown.contains("<size unit=\"MiB\">256</size>"), "{grown}");
    let gone = change("128Mi", None, &["/xml/devices/memory[ua-dimm]/+"]).expect("they agree");
    assert!(gone.contains(">131072</memory>") && !gone.contains("dimm"), "{gone}");
    let error = change("512Mi", Some(dimm), &[]).expect_err("they don't").to_string();
    assert!(error.contains("come to 393216 KiB, and not to 524288"), "{error}");
}

#[test]
fn a_mark_is_taken_off_a_document_and_all_else_stays() {
    let change =
        DomainPatch { mark: Some(mark()), ..DomainPatch::new(spec(serde_json::json!({})), std::collections::BTreeSet::new()) };
    let marked = patch(FOREIGN, &change).expect("patches");
    let without = disown(&marked).expect("reads");
    assert_ne!(project(&marked), project(FOREIGN));
    assert_eq!(project(&without), project(FOREIGN));
    assert!(without.contains("urn:other"), "{without}");
}

#[test]
fn machines_are_compared_by_what_their_alias_means() {
    assert!(machine_matches("q35", "pc-q35-7.2") && machine_matches("pc", "pc-i440fx-7.2") && machine_matches("q35", "q35"));
    assert!(!machine_matches("pc-q35-8.0", "pc-q35-7.2") && !machine_matches("pc", "pc-q35-7.2"));
    assert_eq!(machine_family("pc-q35-7.2"), machine_family("q35"));
    assert_ne!(machine_family("pc"), machine_family("q35"));
}

#[test]
fn a_device_that_is_known_by_its_target_or_mac_keeps_its_name_when_these_change() {
    let text = "<domain type='qemu'><name>a</name><devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/d'/><target dev='vda' bus='virtio'/></disk>\
        <interface type='network'><mac address='52:54:00:00:00:01'/><source network='lan'/><model type='virtio'/></interface></devices></domain>";
    let doc = project(text).expect("reads");
    let mut disk = DiskWanted::from_doc(&doc.disks[0]).expect("a disk");
    "sata".clone_into(&mut disk.bus);
    "sda".clone_into(&mut disk.target);
    let mut nic = NicWanted::from_doc(&doc.interfaces[0]).expect("an interface");
    nic.mac = "52:54:00:00:00:02".parse().expect("a MAC");
    let change = DomainPatch { disks: vec![disk.clone()], interfaces: vec![nic.clone()], ..DomainPatch::default() };
    let again = project(&patch(text, &change).expect("patches")).expect("reads");
    assert_eq!((again.disks.len(), again.interfaces.len()), (1, 1));
    assert_eq!((again.disks[0].key.as_ref(), again.disks[0].bus.as_str()), (Some(&disk.name), "sata"));
    assert_eq!((again.interfaces[0].key.as_ref(), again.interfaces[0].mac), (Some(&nic.name), Some(nic.mac)));
}

#[test]
fn every_file_that_a_domain_uses_is_seen_wherever_it_stands() {
    let text = "<domain><os><kernel>/k</kernel><initrd> /i </initrd><dtb>/d</dtb><shim>/s</shim><loader>/l</loader><cmdline>/no</cmdline>\
        <nvram template='/t'><source file='/n'/></nvram></os><devices>\
        <disk><source file='/f'><slices><slice/></slices></source><backingStore><source dev='/dev/b'/></backingStore><target dev='vda'/></disk>\
        <hostdev><source><block>/dev/c</block><char>/dev/e</char></source><rom file='/rom'/></hostdev>\
        <tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm><memory><source><path>/mem</path></source></memory>\
        <serial type='file'><source path='/log'/></serial><channel type='unix'><source path='/no-socket'/></channel>\
        <disk><source pool='p' volume='v'/><target dev='vdb'/></disk><interface><source network='lan'/></interface></devices></domain>";
    let doc = project(text).expect("reads");
    let uses: Vec<&str> = doc.uses.iter().map(String::as_str).collect();
    assert_eq!(
        uses,
        ["/d", "/dev/b", "/dev/c", "/dev/e", "/dev/tpm0", "/f", "/i", "/k", "/l", "/log", "/mem", "/n", "/rom", "/s", "/t"]
    );
    assert_eq!(doc.uses_volumes, [("p".to_owned(), "v".to_owned())].into());
}

#[test]
fn a_disk_without_a_bus_is_on_that_of_its_target() {
    for (target, bus) in
        [("vda", "virtio"), ("hda", "ide"), ("sda", "scsi"), ("fda", "fdc"), ("xvda", "xen"), ("uba", ""), ("v", "")]
    {
        let doc = project(&format!("<domain><devices><disk><target dev='{target}'/></disk></devices></domain>")).expect("reads");
        assert_eq!(doc.disks[0].bus, bus, "{target}");
    }
}

#[test]
fn what_a_guest_and_a_screen_tell_is_read() {
    let read = |inside: &str| project(&format!("<domain><devices>{inside}</devices></domain>")).expect("reads");
    for (state, connected) in [("connected", true), ("disconnected", false), ("", false)] {
        let text = format!("<channel><target name='org.qemu.guest_agent.0' state='{state}'/></channel>");
        assert_eq!(read(&text).agent_connected, connected);
    }
    assert!(!read("<channel><target name='org.other' state='connected'/></channel>").agent_connected);
    for (graphics, listen, socket) in [
        ("<graphics type='vnc' listen='::1'/>", Some("::1"), None),
        ("<graphics type='vnc' listen='::1'><listen type='address' address='::2'/></graphics>", Some("::2"), None),
        ("<graphics type='vnc' socket='/s'/>", None, Some("/s")),
        ("<graphics type='vnc'><listen type='socket' socket='/s'/></graphics>", None, Some("/s")),
        ("<graphics type='vnc'><listen type='none'/></graphics>", None, None),
        ("<graphics type='spice' listen='::3'/><graphics type='vnc' listen='::1'/>", Some("::1"), None),
    ] {
        let vnc = read(graphics).vnc.expect("a screen");
        assert_eq!((vnc.listen.as_deref(), vnc.socket.as_deref()), (listen, socket), "{graphics}");
    }
    let secure = |os: &str| {
        let doc = project(&format!("<domain>{os}</domain>")).expect("reads");
        doc.spec.firmware.and_then(|firmware| firmware.secure_boot)
    };
    let feature = |name: &str, enabled: &str| {
        format!("<firmware><feature name='enrolled-keys' enabled='yes'/><feature name='{name}' enabled='{enabled}'/></firmware>")
    };
    for (inside, is) in [
        (format!("<os firmware='efi'>{}</os>", feature("secure-boot", "yes")), Some(true)),
        (format!("<os firmware='efi'>{}</os>", feature("secure-boot", "no")), Some(false)),
        (format!("<os firmware='efi'>{}</os>", feature("other", "yes")), None),
        ("<os><loader type='pflash' secure='yes'>/l</loader></os>".to_owned(), Some(true)),
        ("<os><loader type='pflash'>/l</loader></os>".to_owned(), Some(false)),
        ("<os><loader type='rom' secure='yes'>/l</loader></os>".to_owned(), Some(false)),
    ] {
        assert_eq!(secure(&inside), is, "{inside}");
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_place_and_secrets_never() {
    let error = project("<domain>\n  <a></domain>").expect_err("no document");
    assert!(error.to_string().ends_with("(line 2, column 6)"), "{error}");
    let error = project("<network/>").expect_err("no domain");
    assert_eq!(error.to_string(), "expected a <domain> document, found <network> (line 1, column 1)");
    assert_eq!(XmlError::new("a word").to_string(), "a word");
    let document = crate::xml::Document::from("<a>canary</a>".to_owned());
    assert_eq!(format!("{document:?} {:?}", crate::xml::Hidden::new("canary")), "(13 bytes of XML) (sensitive)");
    let fragment =
        FragmentPatch { text: Some("canary".to_owned()), digest: Some("d1".to_owned()), drop: ["/xml/x".to_owned()].into() };
    let text = format!("{fragment:?}");
    assert!(!text.contains("canary") && text.contains("d1") && text.contains("/xml/x"), "{text}");
    assert_eq!(crate::xml::escape("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&apos;");
}

#[test]
fn a_domain_boots_by_kinds_of_devices_only_where_it_says_so_and_no_device_has_a_place() {
    let disk = "<devices><disk><target dev='vda'/><boot order='1'/></disk></devices>";
    for (inside, by_kind) in [
        ("<os><boot dev='hd'/></os>".to_owned(), true),
        ("<os/>".to_owned(), false),
        (String::new(), false),
        (disk.to_owned(), false),
        (format!("<os><boot dev='hd'/></os>{disk}"), false),
    ] {
        let doc = project(&format!("<domain>{inside}</domain>")).expect("reads");
        assert_eq!(doc.boots_by_kind, by_kind, "{inside}");
    }
}

#[test]
fn nothing_is_no_memory_and_no_limit() {
    let text = "<domain><memory>0</memory><devices><disk><target dev='vda'/><iotune><total_iops_sec>0</total_iops_sec></iotune></disk></devices></domain>";
    let doc = project(text).expect("reads");
    assert_eq!(doc.spec.memory, None);
    assert_eq!(doc.disks[0].limits, crate::manifest::DiskLimits::default());
}

#[test]
fn a_document_that_is_yet_to_be_written_is_the_one_that_it_will_be() {
    let spec = spec(serde_json::json!({"memory": "1Gi"}));
    let text = render(&wanted(&spec, &mark()));
    let new = Definition::from(wanted(&spec, &mark()));
    assert_eq!(new, Definition::from(text.clone()));
    assert_ne!(new, Definition::from(format!("{text} ")));
}
