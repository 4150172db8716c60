//! Networks: read, written and patched.
//!
//! Names of DNS and addresses are read in their canonical form, so that equal things compare equal however they were written.

mod patch;
mod render;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use uuid::Uuid;

pub use patch::{NetworkPatch, patch};
pub use render::{NetworkWanted, bridge_default, dhcp_host, dhcp_range, dns_entry, render};

use super::{Mark, XmlError, read};
use crate::manifest::{Dhcp, DhcpHost, DhcpRange, DnsHost, NetworkDns, NetworkIp, NetworkMode, NetworkSpec};
use crate::name::{Kind, MacAddr};

/// What a network's document says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkDoc {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// The bridge's MAC address.
    pub mac: Option<MacAddr>,
    /// The bridge's name.
    pub bridge: Option<String>,
    /// libvirt's word for how guests reach the world; none for an isolated network.
    pub forward: Option<String>,
    /// The part that the language knows.
    pub spec: NetworkSpec,
    /// Whose it is.
    pub mark: Option<Mark>,
    /// How many ports are plugged in; known of a live document only.
    pub connections: u64,
    /// The addresses of its `<ip>` elements in their order: the place is `virNetworkUpdate`'s parent index.
    pub ips: Vec<Option<IpNet>>,
}

impl NetworkDoc {
    /// The parent index for `virNetworkUpdate` of the `<ip>` in whose subnet an address lies.
    pub fn parent_index(&self, address: IpAddr) -> Option<i32> {
        let index = self.ips.iter().position(|ip| ip.is_some_and(|ip| ip.contains(&address)))?;
        i32::try_from(index).ok()
    }

    /// The hosts that it keeps addresses for.
    pub fn hosts(&self) -> impl Iterator<Item = &DhcpHost> {
        self.spec.ips.iter().flat_map(|ip| ip.dhcp.iter().flat_map(|dhcp| dhcp.hosts.iter()))
    }
}

/// The leaves of the spec in which a network's next start will differ from what runs.
pub fn pending(live: &NetworkDoc, inactive: &NetworkDoc) -> BTreeSet<String> {
    let leaves = |doc: &NetworkDoc| crate::manifest::leaves(Kind::Network, &doc.spec);
    let (a, b) = (leaves(live), leaves(inactive));
    a.keys().chain(b.keys()).filter(|path| a.get(*path) != b.get(*path)).cloned().collect()
}

/// Reads a network's document, live or inactive.
pub fn project(text: &str) -> Result<NetworkDoc, XmlError> {
    let document = read::parse_root(text, "network")?;
    let root = document.root_element();
    let owned = |value: Option<&str>| value.map(str::to_owned);
    let bridge = owned(read::attr_at(root, &["bridge"], "name"));
    let forward = read::child(root, "forward").map(|node| read::attr(node, "mode").unwrap_or("nat").to_owned());
    let mode = match forward.as_deref() {
        None => Some(NetworkMode::Isolated),
        Some("nat") => Some(NetworkMode::NAT),
        Some("route") => Some(NetworkMode::Route),
        Some("open") => Some(NetworkMode::Open),
        Some("bridge") => Some(NetworkMode::Bridge),
        Some(_) => None,
    };
    let addresses: Vec<Option<IpNet>> = read::children(root, "ip").map(address).collect();
    let ips = read::children(root, "ip")
        .zip(&addresses)
        .filter_map(|(node, address)| Some(NetworkIp { address: (*address)?, dhcp: read::child(node, "dhcp").map(dhcp) }))
        .collect();
    let spec = NetworkSpec {
        mode,
        bridge: bridge.clone(),
        domain: owned(read::attr_at(root, &["domain"], "name")),
        mtu: read::child(root, "mtu").and_then(|node| read::parsed(node, "size")),
        ips,
        dns: read::child(root, "dns").map(dns),
        ..NetworkSpec::default()
    };
    Ok(NetworkDoc {
        uuid: read::text_at(root, &["uuid"]).and_then(|text| text.parse().ok()).unwrap_or_default(),
        name: read::text_at(root, &["name"]).unwrap_or_default(),
        mac: read::child(root, "mac").and_then(|node| read::parsed(node, "address")),
        bridge,
        forward,
        spec,
        mark: Mark::find(root),
        connections: read::parsed(root, "connections").unwrap_or_default(),
        ips: addresses,
    })
}

/// The elements of a document that the language has no words for, by name.
pub fn beside(text: &str) -> Vec<String> {
    const KNOWN: [&str; 10] = ["name", "uuid", "metadata", "forward", "bridge", "mac", "domain", "dns", "ip", "mtu"];
    let Ok(document) = read::parse_root(text, "network") else { return Vec::new() };
    let children = document.root_element().children().filter(roxmltree::Node::is_element);
    let names: BTreeSet<&str> = children.map(|child| child.tag_name().name()).filter(|name| !KNOWN.contains(name)).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// The address of an `<ip>`; netmask and prefix read alike, and neither means what libvirt then takes.
fn address(node: roxmltree::Node<'_, '_>) -> Option<IpNet> {
    let address: IpAddr = read::parsed(node, "address")?;
    let prefix = match (read::parsed::<u8>(node, "prefix"), read::parsed::<IpAddr>(node, "netmask")) {
        (Some(prefix), _) => prefix,
        (None, Some(netmask)) => ipnet::ip_mask_to_prefix(netmask).ok()?,
        (None, None) => match address {
            IpAddr::V6(_) => 64,
            IpAddr::V4(v4) => match v4.octets()[0] {
                0..=127 => 8,
                128..=191 => 16,
                _ => 24,
            },
        },
    };
    IpNet::new(address, prefix).ok()
}

fn dhcp(node: roxmltree::Node<'_, '_>) -> Dhcp {
    let host = |node| {
        Some(DhcpHost {
            name: read::attr(node, "name").map(str::to_owned),
            mac: read::parsed(node, "mac"),
            ip: read::parsed(node, "ip")?,
        })
    };
    Dhcp {
        ranges: read::children(node, "range")
            .filter_map(|node| Some(DhcpRange { start: read::parsed(node, "start")?, end: read::parsed(node, "end")? }))
            .collect(),
        hosts: read::children(node, "host").filter_map(host).collect(),
    }
}

fn dns(node: roxmltree::Node<'_, '_>) -> NetworkDns {
    let host = |node| {
        let names = read::children(node, "hostname").map(|name| read::text(name).trim().to_owned()).collect();
        Some(DnsHost { ip: read::parsed(node, "ip")?, names })
    };
    NetworkDns {
        // A forwarder for one domain is more than the language knows.
        forwarders: read::children(node, "forwarder")
            .filter(|node| read::attr(*node, "domain").is_none())
            .filter_map(|node| read::parsed(node, "addr"))
            .collect(),
        hosts: read::children(node, "host").filter_map(host).collect(),
    }
}

#[cfg(test)]
mod tests;
