//! Network: a virtual network of libvirt's.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{LibvirtName, MacAddr, Name};

/// A virtual network of libvirt's, on each of its nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// How its guests reach the world. May be missing where it is there and is adopted or observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<NetworkMode>,
    /// The bridge's name, at most 15 bytes. With mode Bridge: a bridge of the host's that must exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// The DNS domain of its guests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The bridge's MTU in bytes, 68 to 65535.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 68, max = 65535))]
    pub mtu: Option<u32>,
    /// The host's addresses on it, with their DHCP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<NetworkIp>,
    /// What its DNS server answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<NetworkDns>,
    /// Started together with libvirt. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autostart: Option<bool>,
    /// Whether it is to be running. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// The Nodes it stands on; none means every Node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Name>,
    /// The name in libvirt, where it differs from the object's. Never changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub libvirt_name: Option<LibvirtName>,
}

/// How a network's guests reach the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkMode {
    /// Through the host's address.
    NAT,
    /// Not at all.
    Isolated,
    /// Routed by the host, behind its firewall.
    Route,
    /// Routed by the host, without any rules of libvirt's.
    Open,
    /// Through a bridge of the host's own.
    Bridge,
}

/// One address of the host's on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkIp {
    /// The host's address and the length of the prefix, such as `10.10.0.1/24`.
    #[schemars(with = "String", extend("format" = "cidr"))]
    pub address: IpNet,
    /// What guests are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<Dhcp>,
}

/// What guests of a network are given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dhcp {
    /// Ranges that addresses are taken from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<DhcpRange>,
    /// Addresses kept for one guest each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<DhcpHost>,
}

/// Addresses from `start` to `end`, both included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DhcpRange {
    /// The first address.
    pub start: IpAddr,
    /// The last address.
    pub end: IpAddr,
}

/// An address kept for one guest. IPv4 needs `mac`, IPv6 needs `name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DhcpHost {
    /// The guest's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The guest's MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The address.
    pub ip: IpAddr,
}

/// What a network's DNS server answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkDns {
    /// Servers asked for names that it doesn't know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwarders: Vec<IpAddr>,
    /// Names that it knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<DnsHost>,
}

/// Names of one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsHost {
    /// The address.
    pub ip: IpAddr,
    /// Its names.
    pub names: Vec<String>,
}
