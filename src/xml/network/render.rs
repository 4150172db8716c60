//! The document of a new network. It spells out UUID, MAC and bridge, for libvirt makes new ones at every define without them.

use std::net::IpAddr;

use uuid::Uuid;

use crate::manifest::{Dhcp, DhcpHost, DhcpRange, DnsHost, NetworkDns, NetworkIp, NetworkMode, NetworkSpec};
use crate::name::{MacAddr, Uid};
use crate::xml::Mark;
use crate::xml::tree::Element;

/// A network to be defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkWanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its UUID.
    pub uuid: Uuid,
    /// The bridge's MAC address; not written for a bridge of the host's own.
    pub mac: MacAddr,
    /// The bridge's name.
    pub bridge: String,
    /// What is wanted of it.
    pub spec: &'a NetworkSpec,
    /// Whose it is.
    pub mark: &'a Mark,
}

/// The name of a bridge that nobody named: `jv` and 40 bits of the network's identity in base 32.
pub fn bridge_default(uid: Uid) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bits = uid.as_u128() >> 88;
    let letter = |n: u32| char::from(ALPHABET[usize::try_from((bits >> (35 - 5 * n)) & 31).unwrap_or_default()]);
    let mut name = "jv".to_owned();
    name.extend((0..8).map(letter));
    name
}

/// The document of a new network.
pub fn render(wanted: &NetworkWanted<'_>) -> String {
    let spec = wanted.spec;
    let mode = spec.mode.unwrap_or(NetworkMode::NAT);
    let mut root = Element::new("network")
        .with(Element::new("name").text(wanted.name))
        .with(Element::new("uuid").text(wanted.uuid))
        .with_opt(forward(mode));
    let bridge = Element::new("bridge").attr("name", &wanted.bridge);
    if mode == NetworkMode::Bridge {
        root.push(bridge);
    } else {
        root.push(bridge.attr("stp", "on").attr("delay", 0));
        root = root
            .with_opt(spec.mtu.map(|bytes| Element::new("mtu").attr("size", bytes)))
            .with(Element::new("mac").attr("address", wanted.mac))
            .with_opt(spec.domain.as_ref().map(|name| Element::new("domain").attr("name", name)))
            .with_opt(spec.dns.as_ref().map(dns))
            .with_all(spec.ips.iter().map(ip));
    }
    wanted.mark.put(&mut root);
    root.to_xml()
}

/// The `<host>` of a DHCP reservation, for `virNetworkUpdate`.
pub fn dhcp_host(wanted: &DhcpHost) -> String {
    host(wanted).to_xml()
}

/// The `<range>` of addresses, for `virNetworkUpdate`.
pub fn dhcp_range(wanted: &DhcpRange) -> String {
    range(wanted).to_xml()
}

/// The `<host>` of a DNS answer, for `virNetworkUpdate`.
pub fn dns_entry(wanted: &DnsHost) -> String {
    dns_host(wanted).to_xml()
}

pub(super) fn forward(mode: NetworkMode) -> Option<Element> {
    let mode = match mode {
        NetworkMode::Isolated => return None,
        NetworkMode::NAT => "nat",
        NetworkMode::Route => "route",
        NetworkMode::Open => "open",
        NetworkMode::Bridge => "bridge",
    };
    Some(Element::new("forward").attr("mode", mode))
}

fn family(element: Element, address: IpAddr) -> Element {
    if address.is_ipv6() { element.attr("family", "ipv6") } else { element }
}

pub(super) fn ip(wanted: &NetworkIp) -> Element {
    let address = wanted.address.addr();
    family(Element::new("ip"), address)
        .attr("address", address)
        .attr("prefix", wanted.address.prefix_len())
        .with_opt(wanted.dhcp.as_ref().filter(|dhcp| **dhcp != Dhcp::default()).map(dhcp))
}

fn dhcp(wanted: &Dhcp) -> Element {
    Element::new("dhcp").with_all(wanted.ranges.iter().map(range)).with_all(wanted.hosts.iter().map(host))
}

pub(super) fn range(wanted: &DhcpRange) -> Element {
    Element::new("range").attr("start", wanted.start).attr("end", wanted.end)
}

pub(super) fn host(wanted: &DhcpHost) -> Element {
    // libvirt refuses a MAC for IPv6, where the name tells guests apart.
    let mac = wanted.mac.filter(|_| wanted.ip.is_ipv4());
    Element::new("host").attr_opt("mac", mac).attr_opt("name", wanted.name.as_ref()).attr("ip", wanted.ip)
}

fn dns(wanted: &NetworkDns) -> Element {
    Element::new("dns").with_all(wanted.forwarders.iter().map(forwarder)).with_all(wanted.hosts.iter().map(dns_host))
}

pub(super) fn forwarder(address: &IpAddr) -> Element {
    Element::new("forwarder").attr("addr", address)
}

pub(super) fn dns_host(wanted: &DnsHost) -> Element {
    Element::new("host").attr("ip", wanted.ip).with_all(wanted.names.iter().map(|name| Element::new("hostname").text(name)))
}
