//! Tests of the checks: what is taken stays silent. What is refused stands in `tests/golden/diag`.

use super::{check_document, check_set};
use crate::diag::render::{Format, render};
use crate::diag::{Code, SourceMap};
use crate::manifest::load;

fn codes(text: &str) -> Vec<Code> {
    let mut sources = SourceMap::default();
    sources.add("t.yaml", text.replace("API", "apiVersion: jvp.dev/v1alpha1"));
    let loaded = load(&sources);
    assert!(loaded.diagnostics.is_empty(), "{}", render(Format::Concise, &loaded.diagnostics, &sources, false));
    let mut found: Vec<_> = loaded.documents.iter().flat_map(|document| check_document(document)).collect();
    found.extend(check_set(&loaded.documents));
    found.into_iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn networks_and_machines_of_two_nodes_may_have_the_same_names_bridges_and_addresses() {
    let one = |node: &str| {
        format!(
            "API\nkind: Network\nmetadata: {{name: lan-{node}}}\nspec:\n  {{mode: NAT, nodes: [{node}], bridge: virbr10, libvirtName: lan,\n   ips: [{{address: 10.10.0.1/24}}]}}\n---\nAPI\nkind: StoragePool\nmetadata: {{name: pool-{node}}}\nspec: {{type: Dir, nodes: [{node}], target: {{path: /srv}}}}\n---\nAPI\nkind: VirtualMachine\nmetadata: {{name: vm-{node}}}\nspec:\n  {{memory: 1Gi, node: {node}, libvirtName: vm, interfaces: [{{name: a, network: lan, ip: 10.10.0.9}}]}}\n"
        )
    };
    assert_eq!(codes(&format!("{}---\n{}", one("a"), one("b"))), []);
    let same = one("a").replace("-a}", "-c}");
    assert_eq!(
        codes(&format!("{}---\n{same}", one("a"))),
        [Code::SameLibvirtName, Code::SameLibvirtName, Code::SameFile, Code::SameBridge, Code::Overlap, Code::SameAddress]
    );
}

#[test]
fn what_stands_on_several_nodes_meets_what_stands_on_one_of_them() {
    let pool = |name: &str, nodes: &str| {
        format!(
            "API\nkind: StoragePool\nmetadata: {{name: {name}}}\nspec: {{type: Dir, nodes: [{nodes}], target: {{path: /srv/{name}}}, libvirtName: same}}\n"
        )
    };
    for (a, b, meet) in [
        ("a, b", "b, c", true),
        ("a, b", "c, d", false),
        ("a, b", "b", true),
        ("b", "a, b", true),
        ("a, b", "c", false),
        ("a", "b", false),
        ("a", "a", true),
        ("", "a, b", true),
    ] {
        let found = codes(&format!("{}---\n{}", pool("one", a), pool("two", b)));
        assert_eq!(found, if meet { vec![Code::SameLibvirtName] } else { Vec::new() }, "[{a}] and [{b}]");
    }
}

#[test]
fn an_address_kept_by_the_network_for_this_very_interface_is_no_clash() {
    let text = |mac: &str| {
        format!(
            "API\nkind: Network\nmetadata: {{name: lan}}\nspec:\n  mode: NAT\n  ips: [{{address: 10.0.0.1/24, dhcp: {{hosts: [{{mac: '52:54:00:00:00:01', ip: 10.0.0.9}}]}}}}]\n---\nAPI\nkind: VirtualMachine\nmetadata: {{name: a}}\nspec: {{memory: 1Gi, interfaces: [{{name: a, network: lan, ip: 10.0.0.9, mac: '{mac}'}}]}}\n"
        )
    };
    assert_eq!(codes(&text("52:54:00:00:00:01")), []);
    assert_eq!(codes(&text("52:54:00:00:00:02")), [Code::SameAddress]);
}

#[test]
fn a_volume_may_be_read_by_many() {
    let text = "API\nkind: VirtualMachine\nmetadata: {name: a}\nspec: {memory: 1Gi, disks: [{name: r, volume: v, readOnly: true}]}\n---\nAPI\nkind: VirtualMachine\nmetadata: {name: b}\nspec: {memory: 1Gi, disks: [{name: r, volume: v, readOnly: true}]}\n";
    assert_eq!(codes(text), []);
    assert_eq!(codes(&text.replacen(", readOnly: true", "", 1)), [Code::InUse]);
}

#[test]
fn an_empty_drive_is_fine() {
    assert_eq!(
        codes("API\nkind: VirtualMachine\nmetadata: {name: a}\nspec: {memory: 1Gi, disks: [{name: cd, device: cdrom}]}\n"),
        []
    );
}

/// The codes of what is said of one object of a kind with this spec.
fn of(kind: &str, spec: &str) -> Vec<Code> {
    codes(&format!("API\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n"))
}

fn vm(fields: &str) -> Vec<Code> {
    of("VirtualMachine", &format!("{{memory: 1Gi, {fields}}}"))
}

#[test]
fn user_data_is_taken_up_to_what_a_seed_holds_and_warned_of_beyond_what_images_read() {
    const KIB: usize = 1024;
    for (bytes, said) in [
        (16 * KIB, None),
        (16 * KIB + 1, Some(Code::UserDataLong)),
        (16 * KIB + 2, Some(Code::UserDataLong)),
        (KIB * KIB, Some(Code::UserDataLong)),
        (KIB * KIB + 1, Some(Code::UserData)),
        (KIB * KIB + 2, Some(Code::UserData)),
    ] {
        let text = "x".repeat(bytes);
        assert_eq!(vm(&format!("cloudInit: {{userData: '{text}'}}")), said.into_iter().collect::<Vec<_>>(), "{bytes}");
    }
}

#[test]
fn a_user_has_a_name_that_every_system_takes() {
    let user = |name: &str| vm(&format!("cloudInit: {{users: [{{name: '{name}'}}]}}"));
    for good in ["a", "_a", "a-b_c9", "machine$", &"u".repeat(32)] {
        assert_eq!(user(good), [], "{good}");
    }
    for bad in ["9a", "-a", "A", "a.b", "aB", &"u".repeat(33)] {
        assert_eq!(user(bad), [Code::InvalidText], "{bad}");
    }
}

#[test]
fn a_key_has_a_kind_and_a_body() {
    let key = |key: &str| of("KeyPair", &format!("{{publicKey: '{key}'}}"));
    for good in ["ssh-ed25519 AAAAC3NzaC1lZDI1 ops", "ssh-rsa AAAAB3NzaC1yc2+/AAAA=="] {
        assert_eq!(key(good), [], "{good}");
    }
    for bad in ["ssh-ed25519", "ssh-ed25519 AAAAC3NzaC1lZDI", "ssh-ed25519 AAAAC3NzaC1lZDI1!", "ssh-dss AAAAC3NzaC1lZDI1"] {
        assert_eq!(key(bad), [Code::InvalidText], "{bad}");
    }
}

#[test]
fn disks_of_one_name_are_said_once_and_those_whose_claims_meet_too() {
    let disks = |a: &str, b: &str| {
        let disk = |name: &str| format!("{{name: {name}, claim: {{pool: p, capacity: 1Gi}}}}");
        vm(&format!("disks: [{}, {}]", disk(a), disk(b)))
    };
    assert_eq!(disks("a-b", "c-d"), []);
    assert_eq!(disks("a-b", "a-b"), [Code::DuplicateItem, Code::SameFile]);
    assert_eq!(disks("a-b", "a_b"), [Code::DuplicateItem, Code::SameFile]);
}

#[test]
fn limits_are_refused_only_where_qemu_could_not_count_them() {
    const MOST: u64 = 1_000_000_000_000_000;
    let limits = |limits: &str| vm(&format!("disks: [{{name: a, claim: {{pool: p, capacity: 1Gi}}, limits: {{{limits}}}}}]"));
    for fine in [
        format!("iops: {MOST}"),
        format!("bytesPerSecond: '{MOST}'"),
        "iops: 5, iopsMax: 5".to_owned(),
        format!("iops: 5, iopsMax: {MOST}, iopsMaxLength: 1"),
        format!("iops: 5, iopsMax: {}, iopsMaxLength: 2", MOST / 2),
        "iops: 5, iopsSize: 4Ki".to_owned(),
        "bytesPerSecond: 9Mi, writeIOPS: 5, iopsSize: 4Ki".to_owned(),
    ] {
        assert_eq!(limits(&fine), [], "{fine}");
    }
    for (wrong, code) in [
        (format!("bytesPerSecond: '{}'", MOST + 1), Code::WrongValue),
        ("iops: 5, iopsMax: 4".to_owned(), Code::Conflict),
        ("iopsMax: 4".to_owned(), Code::Conflict),
        ("iops: 5, iopsMaxLength: 2".to_owned(), Code::Conflict),
        (format!("iops: 5, iopsMax: {}, iopsMaxLength: 2", MOST / 2 + 1), Code::Conflict),
        (format!("iops: 5, iopsMax: {MOST}, iopsMaxLength: 3"), Code::Conflict),
        ("iops: 5, readIOPS: 4".to_owned(), Code::Conflict),
        ("bytesPerSecond: 9Mi, iopsSize: 4Ki".to_owned(), Code::Conflict),
    ] {
        assert_eq!(limits(&wrong), [code], "{wrong}");
    }
}

#[test]
fn a_topology_is_the_product_of_its_parts() {
    let cpu = |cpu: &str| vm(&format!("cpu: {{{cpu}}}"));
    assert_eq!(cpu("count: 12, topology: {sockets: 2, cores: 3, threads: 2}"), []);
    assert_eq!(cpu("count: 3, topology: {sockets: 2, cores: 3, threads: 2}"), [Code::CpuCount]);
    assert_eq!(cpu("count: 2, max: 12, topology: {sockets: 2, cores: 3, threads: 2}"), []);
    assert_eq!(cpu("count: 12, max: 24, topology: {sockets: 2, cores: 3, threads: 2}"), [Code::CpuCount]);
    assert_eq!(cpu("topology: {sockets: 1, cores: 1, threads: 1}"), []);
}

#[test]
fn a_place_in_the_boot_order_that_a_fragment_gives_to_another_device_is_no_disks() {
    let with = |order: u32, device: &str| {
        vm(&format!(
            "disks: [{{name: a, volume: v, bootOrder: {order}}}], xml: \"<domain xmlns:jvp='https://jvp.dev/xml/1'><devices>{device}</devices></domain>\""
        ))
    };
    let nic = "<interface><mac address='52:54:00:00:00:01'/><boot order='1'/></interface>";
    assert_eq!(with(1, nic), [Code::DuplicateItem]);
    assert_eq!(with(2, nic), []);
    assert_eq!(with(1, "<disk><target dev='vda'/><boot order='1'/></disk>"), []);
    assert_eq!(with(1, "<interface><mac address='52:54:00:00:00:01'/><boot order='1' jvp:remove='yes'/></interface>"), []);
}

#[test]
fn a_secrets_file_lies_beneath_its_folder() {
    let file = |file: &str| vm(&format!("console: {{vnc: {{password: {{valueFrom: {{file: {file}}}}}}}}}"));
    assert_eq!(file("secrets/vnc"), []);
    assert_eq!(file("a..b/vnc"), []);
    assert_eq!(file("../vnc"), [Code::InvalidPath]);
    assert_eq!(file("a/../../vnc"), [Code::InvalidPath]);
}

#[test]
fn a_url_names_a_host_and_no_user() {
    let url = |url: &str| {
        of("Template", &format!("{{pool: p, format: qcow2, source: {{url: '{url}'}}, checksum: 'sha256:{}'}}", "a".repeat(64)))
    };
    for good in ["https://host/a.qcow2", "http://host", "https://host:8443/a@b.qcow2", "https://host?x=a@b"] {
        assert_eq!(url(good), [], "{good}");
    }
    for bad in ["https://", "https:///a", "https://a b/c", "https://user@host/a", "http://user:x@host/a", "ftp://host/a"] {
        assert_eq!(url(bad), [Code::WrongValue], "{bad}");
    }
}

#[test]
fn a_network_is_one_that_guests_can_be_in() {
    let ip = |ip: &str| of("Network", &format!("{{mode: NAT, ips: [{{{ip}}}]}}"));
    let address = |address: &str| ip(&format!("address: '{address}'"));
    for good in [
        "10.0.0.1/24",
        "10.0.0.0/31",
        "10.0.0.1/31",
        "10.0.0.1/32",
        "fd00::1/64",
        "fd00::/127",
        "fd00::ffff:ffff:ffff:ffff/64",
        "10.0.0.255/23",
    ] {
        assert_eq!(address(good), [], "{good}");
    }
    for bad in [
        "10.0.0.0/24",
        "10.0.0.255/24",
        "10.0.0.0/30",
        "10.0.0.3/30",
        "0.0.0.0/8",
        "127.0.0.1/8",
        "224.0.0.1/24",
        "255.255.255.255/32",
        "10.0.0.1/0",
        "::/64",
        "::1/128",
        "ff02::1/64",
        "fd00::/64",
        "fd00::/126",
    ] {
        assert_eq!(address(bad), [Code::WrongValue], "{bad}");
    }
    let dhcp = |address: &str, dhcp: &str| ip(&format!("address: '{address}', dhcp: {{{dhcp}}}"));
    assert_eq!(dhcp("fd00::1/64", ""), []);
    assert_eq!(dhcp("fd00::1/96", ""), []);
    assert_eq!(dhcp("fd00::1/63", ""), [Code::Conflict]);
    assert_eq!(dhcp("fd00::1/48", ""), [Code::Conflict]);
    let range = |address: &str, start: &str, end: &str| dhcp(address, &format!("ranges: [{{start: '{start}', end: '{end}'}}]"));
    for (net, start, end) in [
        ("10.0.0.1/24", "10.0.0.9", "10.0.0.9"),
        ("10.0.0.1/24", "10.0.0.2", "10.0.0.254"),
        ("10.0.0.1/15", "10.0.0.2", "10.1.0.1"),
        ("10.0.0.0/31", "10.0.0.0", "10.0.0.1"),
        ("fd00::1/64", "fd00::", "fd00::9"),
    ] {
        assert_eq!(range(net, start, end), [], "{start} to {end} of {net}");
    }
    for (net, start, end, code) in [
        ("10.0.0.1/24", "10.0.0.9", "10.0.0.8", Code::InvalidRange),
        ("10.0.0.1/24", "10.0.0.0", "10.0.0.9", Code::InvalidRange),
        ("10.0.0.1/24", "10.0.0.9", "10.0.0.255", Code::InvalidRange),
        ("10.0.0.1/30", "10.0.0.2", "10.0.0.3", Code::InvalidRange),
        ("10.0.0.1/15", "10.0.0.2", "10.1.0.2", Code::InvalidRange),
        ("10.0.0.1/24", "10.0.0.9", "10.0.1.9", Code::OutsideSubnet),
    ] {
        assert_eq!(range(net, start, end), [code], "{start} to {end} of {net}");
    }
}

#[test]
fn a_bridge_has_a_name_that_linux_takes() {
    let bridge = |name: &str| of("Network", &format!("{{mode: NAT, bridge: '{name}', ips: [{{address: 10.0.0.1/24}}]}}"));
    assert_eq!((bridge("virbr10"), bridge("fifteen-letters")), (vec![], vec![]));
    for bad in ["sixteen-letters-", ".", "..", "a/b", "a:b", "a%d", "ä"] {
        assert_eq!(bridge(bad), [Code::InvalidBridge], "{bad}");
    }
}

#[test]
fn a_claims_file_may_not_be_that_of_a_volume() {
    let text = "API\nkind: Volume\nmetadata: {name: other}\nspec: {pool: p, capacity: 1Gi, libvirtName: a.root.qcow2}\n---\n\
        API\nkind: VirtualMachine\nmetadata: {name: a}\nspec: {memory: 1Gi, disks: [{name: root, claim: {pool: p, capacity: 1Gi}}]}\n";
    assert_eq!(codes(text), [Code::SameFile]);
    assert_eq!(codes(&text.replace("claim: {pool: p", "claim: {pool: q")), []);
}
