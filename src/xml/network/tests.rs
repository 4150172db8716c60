//! What is read of networks, and that what is written reads back.

use super::*;

/// `virsh net-dumpxml default` as libvirt ships it, live.
const DEFAULT: &str = "<network connections='2'>
  <name>default</name>
  <uuid>8b7b7f1c-2b39-4b41-8d2b-4a2d4b9f6f10</uuid>
  <forward mode='nat'>
    <nat>
      <port start='1024' end='65535'/>
    </nat>
  </forward>
  <bridge name='virbr0' stp='on' delay='0'/>
  <mac address='52:54:00:6A:0b:4'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.122.2' end='192.168.122.254'/>
    </dhcp>
  </ip>
  <ip family='ipv6' address='fd00:44:0:0::1' prefix='64'/>
</network>";

fn wanted(mode: NetworkMode) -> NetworkSpec {
    let ips = serde_json::json!([
        {"address": "10.9.0.1/24", "dhcp": {
            "ranges": [{"start": "10.9.0.100", "end": "10.9.0.200"}],
            "hosts": [{"name": "printer", "mac": "52:54:00:00:00:09", "ip": "10.9.0.9"}],
        }},
        {"address": "fd00:44::1/64", "dhcp": {"hosts": [{"name": "six", "ip": "fd00:44::6"}]}},
    ]);
    let dns = serde_json::json!({"forwarders": ["1.1.1.1"], "hosts": [{"ip": "10.9.0.5", "names": ["db", "db.lab"]}]});
    let plain = mode != NetworkMode::Bridge;
    NetworkSpec {
        mode: Some(mode),
        bridge: Some("br7".to_owned()),
        domain: plain.then(|| "lab.local".to_owned()),
        mtu: plain.then_some(1400),
        ips: if plain { serde_json::from_value(ips).expect("ips") } else { Vec::new() },
        dns: plain.then(|| serde_json::from_value(dns).expect("dns")),
        ..NetworkSpec::default()
    }
}

fn mark() -> Mark {
    Mark::new(Uuid::from_u128(1), "Network/lan@a".parse().expect("a reference"), Uuid::from_u128(2))
}

fn rendered(mode: NetworkMode) -> String {
    render(&NetworkWanted {
        name: "lan",
        uuid: Uuid::from_u128(3),
        mac: "52:54:00:00:00:01".parse().expect("a MAC"),
        bridge: "br7".to_owned(),
        spec: &wanted(mode),
        mark: &mark(),
    })
}

#[test]
fn the_default_network_reads_in_canonical_form() {
    let doc = project(DEFAULT).expect("reads");
    assert_eq!((doc.connections, doc.spec.mode), (2, Some(NetworkMode::NAT)));
    assert_eq!(doc.mac.map(|mac| mac.to_string()).as_deref(), Some("52:54:00:6a:0b:04"));
    let addresses: Vec<String> = doc.spec.ips.iter().map(|ip| ip.address.to_string()).collect();
    assert_eq!(addresses, ["192.168.122.1/24", "fd00:44::1/64"]);
    assert_eq!(doc.parent_index("fd00:44::9".parse().expect("an address")), Some(1));
}

#[test]
fn every_mode_reads_back_as_written() {
    use NetworkMode::{Bridge, Isolated, NAT, Open, Route};
    for mode in [NAT, Isolated, Route, Open, Bridge] {
        let text = rendered(mode);
        crate::xml::golden::check(&format!("network-{mode:?}").to_lowercase(), &text);
        let doc = project(&text).expect("reads");
        assert_eq!(doc.spec, wanted(mode), "{mode:?}");
        assert_eq!(doc.mark, Some(mark()));
    }
}

#[test]
fn a_patch_changes_what_it_names_and_nothing_else() {
    let mut set = NetworkSpec { mode: Some(NetworkMode::Route), ..NetworkSpec::default() };
    set.ips = wanted(NetworkMode::NAT).ips;
    set.ips[0].address = "192.168.122.1/24".parse().expect("a net");
    let drop = ["/ips/192.168.122.1~124/dhcp/ranges/192.168.122.2-192.168.122.254".to_owned()].into();
    let text = patch(DEFAULT, &NetworkPatch { set: set.clone(), drop, mark: Some(mark()) }).expect("patches");
    let doc = project(&text).expect("reads");
    assert_eq!(doc.spec.mode, Some(NetworkMode::Route));
    assert_eq!(doc.spec.ips[0].dhcp, set.ips[0].dhcp);
    assert_eq!(doc.spec.ips[1].dhcp, set.ips[1].dhcp);
    assert!(text.contains("netmask=\"255.255.255.0\"") && text.contains("virbr0") && text.contains("8b7b7f1c"));
    let drop = ["/ips/192.168.122.1~124/dhcp/hosts/52:54:00:00:00:09", "/ips/fd00:44::1~164"].map(str::to_owned).into();
    let text = patch(&text, &NetworkPatch { drop, ..NetworkPatch::default() }).expect("patches");
    let doc = project(&text).expect("reads");
    assert_eq!(doc.spec.ips.len(), 1);
    assert_eq!(doc.spec.ips[0].dhcp.as_ref().map(|dhcp| dhcp.hosts.len()), Some(0));
}

#[test]
fn what_was_only_defined_is_pending_and_what_a_start_adds_is_not() {
    let strip = |text: &str| text.replace(" connections='2'", "").replace("<nat>", "<!--").replace("</nat>", "-->");
    let (live, inactive) = (project(DEFAULT).expect("reads"), project(&strip(DEFAULT)).expect("reads"));
    assert_eq!(pending(&live, &inactive), BTreeSet::new());
    let inactive =
        project(&strip(DEFAULT).replace("192.168.122.254", "192.168.122.99").replace("virbr0", "virbr7")).expect("reads");
    let paths: Vec<String> = pending(&live, &inactive).into_iter().collect();
    assert_eq!(paths.len(), 5, "the bridge, and two ends of two ranges: {paths:?}");
}

#[test]
fn a_set_becomes_what_is_wanted_and_a_mode_takes_along_what_belongs_to_it() {
    let text = rendered(NetworkMode::NAT).replace("<nat>", "").replace("<forwarder", "<forwarder addr='9.9.9.9'/><forwarder");
    let dns = serde_json::from_value(serde_json::json!({"forwarders": ["8.8.8.8"]})).expect("dns");
    let set = NetworkSpec { dns: Some(dns), ..NetworkSpec::default() };
    let text = patch(&text, &NetworkPatch { set, ..NetworkPatch::default() }).expect("patches");
    let doc = project(&text).expect("reads");
    let dns = doc.spec.dns.as_ref().expect("dns");
    assert_eq!((dns.forwarders.as_slice(), dns.hosts.len()), (["8.8.8.8".parse().expect("an address")].as_slice(), 1));
    for mode in [NetworkMode::Open, NetworkMode::Isolated, NetworkMode::Bridge] {
        let set = NetworkSpec { mode: Some(mode), ..NetworkSpec::default() };
        let text = patch(&text, &NetworkPatch { set, ..NetworkPatch::default() }).expect("patches");
        crate::xml::golden::check(&format!("network-to-{mode:?}").to_lowercase(), &text);
        let doc = project(&text).expect("reads");
        assert_eq!((doc.spec.mode, doc.spec.ips.is_empty()), (Some(mode), mode == NetworkMode::Bridge));
    }
    let drop = ["/ips/10.9.0.1~124/address", "/dns/forwarders"].map(str::to_owned).into();
    let doc = project(&patch(&text, &NetworkPatch { drop, ..NetworkPatch::default() }).expect("patches")).expect("reads");
    assert_eq!((doc.spec.ips.len(), doc.spec.dns.expect("hosts").forwarders.len()), (1, 0));
}

#[test]
fn a_network_of_a_kind_that_the_language_lacks_is_read() {
    let doc =
        project("<network><name>m</name><forward mode='private'><interface dev='eth0'/></forward></network>").expect("reads");
    assert_eq!((doc.spec.mode, doc.forward.as_deref()), (None, Some("private")));
}

#[test]
fn a_bridge_that_nobody_named_has_a_short_name_of_its_own() {
    let name = bridge_default(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
    assert_eq!(name, "jvaerukz4j");
    assert_ne!(name, bridge_default(Uuid::from_u128(0)));
}
