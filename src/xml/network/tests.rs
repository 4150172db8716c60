//! What is read of networks, and that what is written reads back.

use super::*;
use crate::xml::tree::Element;

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

/// A network in the form that a patch writes.
fn written(inside: &str) -> String {
    Element::parse(&format!("<network>{inside}</network>")).expect("reads").to_xml()
}

#[test]
fn what_is_taken_out_of_a_manifest_goes_and_nothing_else() {
    let four =
        |inside: &str| format!("<ip address='10.9.0.1' netmask='255.255.255.0'>{inside}</ip><ip address='fd00::1' prefix='64'/>");
    let dhcp = |inside: &str| four(&format!("<dhcp>{inside}</dhcp>"));
    let dns = |inside: &str| format!("<domain name='lab'/><dns>{inside}</dns>");
    const A: &str = "<host mac='52:54:00:00:00:0A' name='a' ip='10.9.0.9'/>";
    const B: &str = "<host name='b' ip='10.9.0.10'/>";
    const C: &str = "<host ip='10.9.0.11'/>";
    const RANGE: &str = "<range start='10.9.0.100' end='10.9.0.200'/>";
    const FORWARDERS: &str = "<forwarder addr='1.1.1.1'/><forwarder domain='x' addr='1.1.1.1'/><forwarder addr='8.8.8.8'/>";
    const HOSTS: &str = "<host ip='fd00:0::5'><hostname>db</hostname></host><host ip='10.9.0.5'/><txt name='t' value='v'/>";
    for (before, path, after) in [
        ("<domain name='lab'/><mtu size='1400'/>".to_owned(), "/domain", "<mtu size='1400'/>".to_owned()),
        ("<domain name='lab'/><mtu size='1400'/>".to_owned(), "/mtu", "<domain name='lab'/>".to_owned()),
        (dns(HOSTS), "/dns", "<domain name='lab'/>".to_owned()),
        (dns(FORWARDERS), "/dns/forwarders/1.1.1.1", dns("<forwarder domain='x' addr='1.1.1.1'/><forwarder addr='8.8.8.8'/>")),
        (dns(FORWARDERS), "/dns/forwarders", dns("<forwarder domain='x' addr='1.1.1.1'/>")),
        (dns("<forwarder addr='1.1.1.1'/>"), "/dns/forwarders/1.1.1.1", "<domain name='lab'/>".to_owned()),
        ("<dns enable='no'><forwarder addr='1.1.1.1'/></dns>".to_owned(), "/dns/forwarders", "<dns enable='no'/>".to_owned()),
        (dns(HOSTS), "/dns/hosts/fd00::5", dns("<host ip='10.9.0.5'/><txt name='t' value='v'/>")),
        (dns(HOSTS), "/dns/hosts", dns("<txt name='t' value='v'/>")),
        (dhcp(RANGE), "/ips", String::new()),
        (dhcp(RANGE), "/ips/10.9.0.1~124", "<ip address='fd00::1' prefix='64'/>".to_owned()),
        (dhcp(RANGE), "/ips/10.9.0.1~124/address", "<ip address='fd00::1' prefix='64'/>".to_owned()),
        // Another net at that address is another address.
        (dhcp(RANGE), "/ips/10.9.0.1~116", dhcp(RANGE)),
        (dhcp(&format!("{RANGE}{A}")), "/ips/10.9.0.1~124/dhcp", four("")),
        (dhcp(&format!("{RANGE}{A}")), "/ips/10.9.0.1~124/dhcp/ranges/10.9.0.100-10.9.0.200", dhcp(A)),
        (dhcp(&format!("{RANGE}{A}")), "/ips/10.9.0.1~124/dhcp/ranges/10.9.0.100-10.9.0.201", dhcp(&format!("{RANGE}{A}"))),
        (dhcp(&format!("{RANGE}{A}")), "/ips/10.9.0.1~124/dhcp/ranges", dhcp(A)),
        (dhcp(RANGE), "/ips/10.9.0.1~124/dhcp/ranges", four("")),
        (dhcp(&format!("{RANGE}{A}{B}")), "/ips/10.9.0.1~124/dhcp/hosts", dhcp(RANGE)),
        (dhcp(&format!("{A}{B}{C}")), "/ips/10.9.0.1~124/dhcp/hosts/52:54:00:00:00:0a", dhcp(&format!("{B}{C}"))),
        (dhcp(&format!("{A}{B}{C}")), "/ips/10.9.0.1~124/dhcp/hosts/b", dhcp(&format!("{A}{C}"))),
        (dhcp(&format!("{A}{B}{C}")), "/ips/10.9.0.1~124/dhcp/hosts/10.9.0.11", dhcp(&format!("{A}{B}"))),
        // What has a better key isn't known by a lesser one, and what isn't a host is none.
        (dhcp(&format!("{A}{B}{C}")), "/ips/10.9.0.1~124/dhcp/hosts/a", dhcp(&format!("{A}{B}{C}"))),
        (dhcp(&format!("{A}{B}{C}")), "/ips/10.9.0.1~124/dhcp/hosts/10.9.0.10", dhcp(&format!("{A}{B}{C}"))),
        (dhcp(&format!("{A}<bootp name='b'/>")), "/ips/10.9.0.1~124/dhcp/hosts/b", dhcp(&format!("{A}<bootp name='b'/>"))),
        // A name can go alone where it isn't the key.
        (
            dhcp(&format!("{A}{B}")),
            "/ips/10.9.0.1~124/dhcp/hosts/52:54:00:00:00:0a/name",
            dhcp(&format!("{}{B}", A.replace(" name='a'", ""))),
        ),
        (dhcp(&format!("{A}{B}")), "/ips/10.9.0.1~124/dhcp/hosts/b/name", dhcp(&format!("{A}{B}"))),
    ] {
        let change = NetworkPatch { drop: [path.to_owned()].into(), ..NetworkPatch::default() };
        let text = patch(&format!("<network>{before}</network>"), &change).expect("patches");
        assert_eq!(text, written(&after), "{path} of {before}");
    }
}

#[test]
fn an_item_of_a_list_takes_the_place_of_the_one_with_its_key() {
    let set =
        |spec: serde_json::Value| NetworkPatch { set: serde_json::from_value(spec).expect("a spec"), ..NetworkPatch::default() };
    let ip = |inside: &str| {
        format!("<ip address='10.9.0.1' prefix='24'><dhcp>{inside}</dhcp></ip><ip address='fd00::1' prefix='64'><dhcp/></ip>")
    };
    let four = |dhcp: serde_json::Value| set(serde_json::json!({"ips": [{"address": "10.9.0.1/24", "dhcp": dhcp}]}));
    let host = |host: serde_json::Value| four(serde_json::json!({ "hosts": [host] }));
    const MAC: &str = "<host mac='52:54:00:00:00:0a' name='a' ip='10.9.0.9'/>";
    const NAMED: &str = "<host name='b' ip='10.9.0.10'/>";
    const BARE: &str = "<host ip='10.9.0.11'/>";
    let all = ip(&format!("<range start='10.9.0.100' end='10.9.0.200'/>{MAC}{NAMED}{BARE}"));
    for (change, from, to) in [
        (
            host(serde_json::json!({"mac": "52:54:00:00:00:0a", "name": "a", "ip": "10.9.0.19"})),
            MAC,
            "<host mac='52:54:00:00:00:0a' name='a' ip='10.9.0.19'/>",
        ),
        (host(serde_json::json!({"name": "b", "ip": "10.9.0.20"})), NAMED, "<host name='b' ip='10.9.0.20'/>"),
        (host(serde_json::json!({"ip": "10.9.0.11"})), BARE, BARE),
        (
            host(serde_json::json!({"mac": "52:54:00:00:00:0b", "ip": "10.9.0.11"})),
            BARE,
            "<host ip='10.9.0.11'/><host mac='52:54:00:00:00:0b' ip='10.9.0.11'/>",
        ),
        (four(serde_json::json!({"ranges": [{"start": "10.9.0.100", "end": "10.9.0.200"}]})), BARE, BARE),
        (
            four(serde_json::json!({"ranges": [{"start": "10.9.0.100", "end": "10.9.0.150"}]})),
            "<range start='10.9.0.100'",
            "<range start='10.9.0.100' end='10.9.0.150'/><range start='10.9.0.100'",
        ),
        (
            four(serde_json::json!({"ranges": [{"start": "10.9.0.150", "end": "10.9.0.200"}]})),
            "<range start='10.9.0.100'",
            "<range start='10.9.0.150' end='10.9.0.200'/><range start='10.9.0.100'",
        ),
    ] {
        let text = patch(&format!("<network>{all}</network>"), &change).expect("patches");
        assert_eq!(text, written(&all.replace(from, to)), "{:?}", change.set);
    }
    // Of IPv6, hosts are known by their name.
    let six = set(serde_json::json!({"ips": [{"address": "fd00::1/64", "dhcp": {"hosts": [{"name": "a", "ip": "fd00::9"}]}}]}));
    let six_at = |ip: &str| format!("<ip address='fd00::1' prefix='64'><dhcp><host name='a' ip='{ip}'/></dhcp></ip>");
    assert_eq!(patch(&format!("<network>{}</network>", six_at("fd00::8")), &six).expect("patches"), written(&six_at("fd00::9")));

    // One without a name by its address.
    let six = set(serde_json::json!({"ips": [{"address": "fd00::1/64", "dhcp": {"hosts": [{"ip": "fd00:0::9"}]}}]}));
    let both = "<ip address='fd00::1' prefix='64'><dhcp><host id='1' ip='fd00::8'/><host ip='fd00::9'/></dhcp></ip>";
    assert_eq!(patch(&format!("<network>{both}</network>"), &six).expect("patches"), written(both));

    let dns = |inside: &str| format!("<dns>{inside}</dns>");
    let hosts = "<txt name='t' ip='10.9.0.5'/><host ip='10.9.0.5'><hostname>db</hostname></host><host ip='10.9.0.6'><hostname>x</hostname></host>";
    let change = set(serde_json::json!({"dns": {"hosts": [{"ip": "10.9.0.5", "names": ["new"]}]}}));
    let text = patch(&format!("<network>{}</network>", dns(hosts)), &change).expect("patches");
    assert_eq!(text, written(&dns(&hosts.replace("db", "new"))));
    let forwarders = "<forwarder domain='x' addr='9.9.9.9'/><forwarder domain='y'/><forwarder addr='8.8.8.8'/>";
    let change = set(serde_json::json!({"dns": {"forwarders": ["9.9.9.9", "8.8.8.8"]}}));
    let text = patch(&format!("<network>{}</network>", dns(forwarders)), &change).expect("patches");
    assert_eq!(text, written(&dns(&format!("{forwarders}<forwarder addr='9.9.9.9'/>"))), "one for a domain serves no other");
}

#[test]
fn an_address_without_a_net_is_in_the_net_of_its_class() {
    for (ip, net) in [
        ("address='10.1.2.3'", "10.1.2.3/8"),
        ("address='127.0.0.1'", "127.0.0.1/8"),
        ("address='128.1.2.3'", "128.1.2.3/16"),
        ("address='172.16.0.1'", "172.16.0.1/16"),
        ("address='191.255.0.1'", "191.255.0.1/16"),
        ("address='192.168.0.1'", "192.168.0.1/24"),
        ("family='ipv6' address='fd00::1'", "fd00::1/64"),
    ] {
        let doc = project(&format!("<network><ip {ip}/></network>")).expect("reads");
        assert_eq!(doc.spec.ips[0].address.to_string(), net);
    }
    let doc =
        project("<network><ip address='10.9.0.1' prefix='24'/><ip address='10.8.0.1' prefix='24'/></network>").expect("reads");
    let index = |address: &str| doc.parent_index(address.parse().expect("an address"));
    assert_eq!((index("10.9.0.7"), index("10.8.0.7"), index("10.7.0.7")), (Some(0), Some(1), None));
}

#[test]
fn what_the_language_has_no_words_for_is_told_by_name() {
    let text =
        "<network><name>a</name><forward mode='nat'/><bandwidth/><portgroup name='p'/><portgroup name='q'/><ip/></network>";
    assert_eq!(beside(text), ["bandwidth", "portgroup"]);
    assert_eq!(beside(DEFAULT), [""; 0]);
}

#[test]
fn a_mode_is_written_where_it_is_another_or_none() {
    let to = |forward: &str, mode| {
        let set = NetworkSpec { mode: Some(mode), ..NetworkSpec::default() };
        patch(&format!("<network>{forward}</network>"), &NetworkPatch { set, ..NetworkPatch::default() }).expect("patches")
    };
    let nat = "<forward mode='nat' dev='eth0'><nat><port start='1' end='9'/></nat><interface dev='eth0'/></forward>";
    assert_eq!(to(nat, NetworkMode::NAT), written(nat));
    assert_eq!(to("<forward/>", NetworkMode::NAT), written("<forward mode='nat'/>"));
    assert_eq!(to(nat, NetworkMode::Route), written("<forward mode='route' dev='eth0'><interface dev='eth0'/></forward>"));
    assert_eq!(to(nat, NetworkMode::Open), written("<forward mode='open'/>"));
    assert_eq!(to(nat, NetworkMode::Isolated), written(""));
}

#[test]
fn an_entry_by_itself_is_the_one_of_the_document() {
    let spec = wanted(NetworkMode::NAT);
    let (dhcp, dns) = (spec.ips[0].dhcp.clone().expect("dhcp"), spec.dns.clone().expect("dns"));
    assert_eq!(dhcp_range(&dhcp.ranges[0]), "<range start=\"10.9.0.100\" end=\"10.9.0.200\"/>\n");
    assert_eq!(dhcp_host(&dhcp.hosts[0]), "<host mac=\"52:54:00:00:00:09\" name=\"printer\" ip=\"10.9.0.9\"/>\n");
    let entry = Element::parse("<host ip='10.9.0.5'><hostname>db</hostname><hostname>db.lab</hostname></host>").expect("reads");
    assert_eq!(dns_entry(&dns.hosts[0]), entry.to_xml());
}
