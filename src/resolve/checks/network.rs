//! Rules of a Network: its bridge, its subnets and who gets which address.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Check;
use super::text::is_host_name;
use crate::diag::Code;
use crate::manifest::{Dhcp, DhcpRange, NetworkIp, NetworkMode, NetworkSpec};

/// The longest name of a Linux interface, in bytes.
const BRIDGE_MAX: usize = 15;

/// libvirt takes no range with more addresses.
const RANGE_MAX: u128 = 65_535;

pub(super) fn check(check: &mut Check<'_>, spec: &NetworkSpec) {
    check.needed_to_make(&[("mode", spec.mode.is_some())]);
    if let Some(bridge) = &spec.bridge {
        bridge_name(check, bridge);
    }
    if let Some(domain) = spec.domain.as_ref().filter(|domain| !is_host_name(domain)) {
        check.say(Code::InvalidText, "/domain", format!("`{domain}` is no DNS domain"), "such as `lab.local`");
    }
    match spec.mode {
        Some(NetworkMode::Bridge) => host_bridge(check, spec),
        Some(NetworkMode::NAT | NetworkMode::Route | NetworkMode::Open) if spec.ips.is_empty() => {
            let message = "a network that forwards needs an address of the host's";
            check.say(Code::Required, "/ips", message, "write `ips: [{address: 10.10.0.1/24}]`");
        }
        _ => {}
    }
    let places = |list: &str, n: usize| (0..n).map(|i| format!("{list}/{i}")).collect::<Vec<_>>();
    for (ip, pointer) in spec.ips.iter().zip(places("/ips", spec.ips.len())) {
        subnet(check, &pointer, ip);
    }
    overlaps(check, &spec.ips);
    one_dhcp(check, &spec.ips);
    if let Some(dns) = &spec.dns {
        let places = places("/dns/hosts", dns.hosts.len());
        for (host, pointer) in dns.hosts.iter().zip(&places) {
            if host.names.is_empty() {
                check.say(Code::Required, &format!("{pointer}/names"), "the address needs a name", "");
            }
            for (index, name) in host.names.iter().enumerate().filter(|(_, name)| !is_host_name(name)) {
                check.say(Code::InvalidText, &format!("{pointer}/names/{index}"), format!("`{name}` is no host name"), "");
            }
        }
        let keys = dns.hosts.iter().map(|host| host.ip).zip(places);
        check.unique(keys, |ip| format!("the names of {ip} stand here twice"));
    }
}

fn bridge_name(check: &mut Check<'_>, bridge: &str) {
    let bad = |c: char| c == '/' || c == ':' || c == '%' || !c.is_ascii_graphic();
    if bridge.len() > BRIDGE_MAX {
        let message = format!("the bridge's name has {} bytes, and Linux takes {BRIDGE_MAX}", bridge.len());
        check.say(Code::InvalidBridge, "/bridge", message, "shorten it, or leave it out: then it gets a name of its own");
    } else if bridge.is_empty() || bridge == "." || bridge == ".." || bridge.chars().any(bad) {
        check.say(Code::InvalidBridge, "/bridge", "Linux takes no interface of that name", "such as `virbr10`");
    }
}

/// A bridge of the host's own has nothing that libvirt could set up.
fn host_bridge(check: &mut Check<'_>, spec: &NetworkSpec) {
    if spec.bridge.is_none() {
        check.say(Code::Required, "/mode", "mode Bridge needs the name of the host's bridge", "write `bridge: br0`");
    }
    let written = [
        ("ips", !spec.ips.is_empty()),
        ("domain", spec.domain.is_some()),
        ("mtu", spec.mtu.is_some()),
        ("dns", spec.dns.is_some()),
    ];
    for (name, _) in written.into_iter().filter(|(_, there)| *there) {
        let message = format!("a network of mode Bridge has no `{name}`: the bridge is the host's own");
        check.clash(Code::Conflict, &format!("/{name}"), "/mode", message, "");
    }
}

fn subnet(check: &mut Check<'_>, pointer: &str, ip: &NetworkIp) {
    let (net, address) = (ip.address, ip.address.addr());
    let place = format!("{pointer}/address");
    let wide = net.prefix_len() + 1 < net.max_prefix_len();
    let special = match address {
        IpAddr::V4(a) => a.is_unspecified() || a.is_loopback() || a.is_multicast() || a.is_broadcast(),
        IpAddr::V6(a) => a.is_unspecified() || a.is_loopback() || a.is_multicast(),
    };
    if special || net.prefix_len() == 0 {
        check.say(Code::WrongValue, &place, format!("{net} is no subnet that guests can be in"), "");
    } else if wide && address == net.network() {
        let first = net.hosts().next().unwrap_or(address);
        let message = format!("{address} is the subnet itself, not an address of the host's in it");
        check.say(Code::WrongValue, &place, message, &format!("write `{first}/{}`", net.prefix_len()));
    } else if wide && address == net.broadcast() && net.addr().is_ipv4() {
        check.say(Code::WrongValue, &place, format!("{address} is the subnet's broadcast address"), "");
    }
    if let Some(dhcp) = &ip.dhcp {
        check_dhcp(check, &format!("{pointer}/dhcp"), net, dhcp);
    }
}

fn check_dhcp(check: &mut Check<'_>, pointer: &str, net: IpNet, dhcp: &Dhcp) {
    if net.addr().is_ipv6() && net.prefix_len() < 64 {
        check.say(Code::Conflict, pointer, "DHCP for IPv6 needs a prefix of 64 or more", "");
    }
    for (index, range) in dhcp.ranges.iter().enumerate() {
        check_range(check, &format!("{pointer}/ranges/{index}"), net, range);
    }
    let places: Vec<String> = (0..dhcp.hosts.len()).map(|i| format!("{pointer}/hosts/{i}")).collect();
    for (host, place) in dhcp.hosts.iter().zip(&places) {
        inside(check, &format!("{place}/ip"), net, host.ip);
        if host.ip == net.addr() {
            check.say(Code::SameAddress, &format!("{place}/ip"), "that is the host's own address", "");
        }
        if host.ip.is_ipv4() && host.mac.is_none() {
            check.say(Code::Required, place, "an IPv4 address is kept for a `mac`", "");
        }
        if host.ip.is_ipv6() && host.name.is_none() {
            check.say(Code::Required, place, "an IPv6 address is kept for a `name`", "");
        }
        if host.ip.is_ipv6() && host.mac.is_some() {
            check.say(Code::Conflict, &format!("{place}/mac"), "DHCP for IPv6 knows no MAC addresses", "give its `name` instead");
        }
        if let Some(name) = host.name.as_ref().filter(|name| !is_host_name(name)) {
            check.say(Code::InvalidText, &format!("{place}/name"), format!("`{name}` is no host name"), "");
        }
    }
    let keep = |place: &str, field: &str| format!("{place}/{field}");
    let hosts = || dhcp.hosts.iter().zip(&places);
    check.unique(hosts().map(|(h, p)| (h.ip, keep(p, "ip"))), |ip| format!("{ip} is kept for two guests"));
    check.unique(hosts().filter_map(|(h, p)| Some((h.mac?, keep(p, "mac")))), |mac| format!("two addresses are kept for {mac}"));
    let names = hosts().filter_map(|(h, p)| Some((h.name.clone()?, keep(p, "name"))));
    check.unique(names, |name| format!("two addresses are kept for `{name}`"));
    let ranges = dhcp.ranges.iter().enumerate().map(|(i, range)| ((range.start, range.end), format!("{pointer}/ranges/{i}")));
    check.unique(ranges, |(start, end)| format!("the range {start} to {end} stands here twice"));
}

fn check_range(check: &mut Check<'_>, pointer: &str, net: IpNet, range: &DhcpRange) {
    let (start, end) = (range.start, range.end);
    if start.is_ipv4() != end.is_ipv4() {
        check.say(Code::InvalidRange, pointer, "the range begins and ends in different families", "");
        return;
    }
    if end < start {
        let message = format!("the range ends at {end}, before its start at {start}");
        check.say(Code::InvalidRange, pointer, message, "exchange `start` and `end`");
        return;
    }
    let both = [inside(check, &format!("{pointer}/start"), net, start), inside(check, &format!("{pointer}/end"), net, end)];
    if both.contains(&false) {
        return;
    }
    if number(end) - number(start) > RANGE_MAX {
        let message = format!("the range has more than {RANGE_MAX} addresses, which libvirt refuses");
        check.say(Code::InvalidRange, pointer, message, "shorten it");
    }
    if start.is_ipv4() && net.prefix_len() < 31 && (start == net.network() || end == net.broadcast()) {
        check.say(Code::InvalidRange, pointer, "the range holds the subnet's own or its broadcast address", "");
    }
}

/// Says so where `ip` isn't in `net`.
fn inside(check: &mut Check<'_>, pointer: &str, net: IpNet, ip: IpAddr) -> bool {
    let fits = net.contains(&ip);
    if !fits {
        check.say(Code::OutsideSubnet, pointer, format!("{ip} is not in the subnet {}", net.trunc()), "");
    }
    fits
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// Whether two subnets have an address in common.
pub(super) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

fn overlaps(check: &mut Check<'_>, ips: &[NetworkIp]) {
    for (later, b) in ips.iter().enumerate() {
        for (earlier, a) in ips.iter().enumerate().take(later) {
            if overlap(&a.address, &b.address) {
                let (here, there) = (format!("/ips/{later}/address"), format!("/ips/{earlier}/address"));
                let message = format!("the subnets {} and {} overlap", b.address.trunc(), a.address.trunc());
                check.clash(Code::Overlap, &here, &there, message, "");
            }
        }
    }
}

/// libvirt runs DHCP on one address of each family.
fn one_dhcp(check: &mut Check<'_>, ips: &[NetworkIp]) {
    for v4 in [true, false] {
        let with: Vec<usize> = ips
            .iter()
            .enumerate()
            .filter(|(_, ip)| ip.dhcp.is_some() && ip.address.addr().is_ipv4() == v4)
            .map(|(index, _)| index)
            .collect();
        if let [first, second, ..] = with.as_slice() {
            let family = if v4 { "IPv4" } else { "IPv6" };
            let message = format!("a network has DHCP on one {family} subnet only");
            check.clash(Code::Conflict, &format!("/ips/{second}/dhcp"), &format!("/ips/{first}/dhcp"), message, "");
        }
    }
}
