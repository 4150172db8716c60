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
