//! Entries of a network's DHCP and DNS, each changed by itself: in what runs and in the definition at once where both are alike, else
//! in each as it needs it.

use std::collections::BTreeSet;

use crate::manifest::{DhcpHost, DhcpRange, DnsHost, Leaves, NetworkSpec, escape};
use crate::observe::NetworkState;
use crate::plan::model::RefusalKind;
use crate::plan::planner::{Draft, Planner};
use crate::plan::{Edit, Expect, Lane, NetworkExpect, Op, Precondition, Section, Side};
use crate::resolve::Wanted;
use crate::xml;
use crate::xml::network::NetworkDoc;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Range(DhcpRange),
    Host(DhcpHost),
    Dns(DnsHost),
}

impl Entry {
    fn section(&self) -> Section {
        match self {
            Self::Range(_) => Section::DhcpRange,
            Self::Host(_) => Section::DhcpHost,
            Self::Dns(_) => Section::DnsHost,
        }
    }

    fn xml(&self) -> String {
        match self {
            Self::Range(range) => xml::network::dhcp_range(range),
            Self::Host(host) => xml::network::dhcp_host(host),
            Self::Dns(host) => xml::network::dns_entry(host),
        }
    }

    /// Whether it says the same; names of DNS are a set.
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dns(a), Self::Dns(b)) => {
                a.ip == b.ip && a.names.iter().collect::<BTreeSet<_>>() == b.names.iter().collect::<BTreeSet<_>>()
            }
            _ => self == other,
        }
    }
}

/// The entry that a leaf's path is within; none for other fields.
pub(super) fn prefix(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["", "ips", _, "dhcp", "hosts" | "ranges", _, ..] => Some(parts.get(..6)?.join("/")),
        ["", "dns", "hosts", _, ..] => Some(parts.get(..4)?.join("/")),
        _ => None,
    }
}

/// The entry at a path in a spec.
fn find(spec: &NetworkSpec, prefix: &str) -> Option<Entry> {
    for ip in &spec.ips {
        let Some(dhcp) = &ip.dhcp else { continue };
        let place = format!("/ips/{}/dhcp", escape(&ip.address.to_string()));
        let host = dhcp.hosts.iter().find(|host| format!("{place}/hosts/{}", escape(&host_key(host))) == prefix);
        let range = dhcp.ranges.iter().find(|range| format!("{place}/ranges/{}-{}", range.start, range.end) == prefix);
        if let Some(found) = host.cloned().map(Entry::Host).or_else(|| range.cloned().map(Entry::Range)) {
            return Some(found);
        }
    }
    let hosts = spec.dns.iter().flat_map(|dns| dns.hosts.iter());
    hosts.into_iter().find(|host| format!("/dns/hosts/{}", host.ip) == prefix).cloned().map(Entry::Dns)
}

fn host_key(host: &DhcpHost) -> String {
    host.mac.map(|mac| mac.to_string()).or_else(|| host.name.clone()).unwrap_or_else(|| host.ip.to_string())
}

/// The entry as it is wanted at a path. A guest's name that was never ours stays.
pub(super) fn wanted(wanted: &Wanted, spec: &NetworkSpec, is: &NetworkSpec, prefix: &str) -> Option<Entry> {
    let mut entry = find(spec, prefix)?;
    if let (Entry::Host(host), Some(Entry::Host(old))) = (&mut entry, find(is, prefix))
        && host.name.is_none()
        && !wanted.now.contains_key(&format!("{prefix}/name"))
    {
        host.name = old.name;
    }
    Some(entry)
}

/// What one of the two documents needs for one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    edit: Edit,
    entry: Entry,
    index: i32,
}

impl Step {
    fn xml(&self) -> String {
        match &self.entry {
            // Its names might be another's too, and libvirt would not know which is meant.
            Entry::Dns(host) if self.edit == Edit::Delete => xml::network::dns_entry(&DnsHost { ip: host.ip, names: Vec::new() }),
            entry => entry.xml(),
        }
    }
}

/// The steps that bring a document's entry to what is wanted. Only a host can be modified; others go and come back.
fn steps(doc: &NetworkDoc, prefix: &str, wanted: Option<&Entry>) -> Vec<Step> {
    let index = index(doc, prefix);
    let step = |edit, entry: &Entry| Step { edit, entry: entry.clone(), index };
    match (wanted, find(&doc.spec, prefix)) {
        (None, None) => Vec::new(),
        (Some(wanted), None) => vec![step(Edit::Add, wanted)],
        (None, Some(found)) => vec![step(Edit::Delete, &found)],
        (Some(wanted), Some(found)) if wanted.same(&found) => Vec::new(),
        (Some(wanted @ Entry::Host(_)), Some(_)) => vec![step(Edit::Modify, wanted)],
        (Some(wanted), Some(found)) => vec![step(Edit::Delete, &found), step(Edit::Add, wanted)],
    }
}

/// The place of the `<ip>` that a path is within.
fn index(doc: &NetworkDoc, prefix: &str) -> i32 {
    let place =
        doc.ips.iter().position(|ip| ip.is_some_and(|ip| prefix.starts_with(&format!("/ips/{}/", escape(&ip.to_string())))));
    place.and_then(|place| i32::try_from(place).ok()).unwrap_or(-1)
}

/// The effects that bring the entries at these paths to what is wanted: what goes first, then what changes, then what comes.
/// `defined` says that the definition is written anew as a whole, and only what runs is left.
///
/// # Errors
/// It was refused.
pub(super) fn drafts<'d>(
    p: &mut Planner<'_>,
    object: &Wanted,
    spec: &NetworkSpec,
    network: &NetworkState,
    paths: impl Iterator<Item = &'d str>,
    defined: bool,
) -> Result<Vec<Draft>, ()> {
    let prefixes: BTreeSet<String> = paths.filter_map(prefix).collect();
    let mut all: Vec<(Edit, Draft)> = Vec::new();
    for prefix in &prefixes {
        let entry = wanted(object, spec, &network.doc.spec, prefix);
        if let Some(entry) = &entry
            && taken(p, object, network, entry, &prefixes)
        {
            return Err(());
        }
        let definition = if defined { Vec::new() } else { steps(&network.doc, prefix, entry.as_ref()) };
        // What runs without the subnet gets its entries with the restart that brings it.
        let runs = network.live.as_ref().filter(|live| prefix.starts_with("/dns/") || index(live, prefix) >= 0);
        let live = runs.map(|live| steps(live, prefix, entry.as_ref())).unwrap_or_default();
        let sides: Vec<(Side, Vec<Step>)> = if definition == live {
            vec![(Side::Both, definition)]
        } else {
            vec![(Side::Definition, definition), (Side::Live, live)]
        };
        for (side, step) in sides.into_iter().flat_map(|(side, steps)| steps.into_iter().map(move |step| (side, step))) {
            all.push((step.edit, draft(network, prefix, entry.as_ref(), side, &step)));
        }
    }
    let order = |edit: Edit| match edit {
        Edit::Delete => 0,
        Edit::Modify => 1,
        Edit::Add => 2,
    };
    all.sort_by_key(|(edit, _)| order(*edit));
    Ok(all.into_iter().map(|(_, draft)| draft).collect())
}

fn draft(network: &NetworkState, prefix: &str, entry: Option<&Entry>, side: Side, step: &Step) -> Draft {
    let gone = step.edit == Edit::Delete;
    let mut leaves = Leaves::new();
    if let (false, Some(entry)) = (gone, entry) {
        let ip = network.doc.spec.ips.iter().find(|ip| prefix.starts_with(&format!("/ips/{}/", escape(&ip.address.to_string()))));
        leaves = leaves_of(entry, ip.map(|ip| ip.address));
    }
    let gone = if gone { BTreeSet::from([prefix.to_owned()]) } else { BTreeSet::new() };
    let expect = NetworkExpect { uuid: network.uuid, side, leaves, gone };
    let op = Op::NetworkUpdate {
        name: network.name.clone(),
        section: step.entry.section(),
        edit: step.edit,
        xml: step.xml(),
        parent_index: step.index,
        side,
    };
    Draft::new(op, Lane::Object(format!("network/{}", network.name)))
        .when(Precondition::Uuid(network.uuid))
        .expect(Expect::Network(Box::new(expect)))
}

/// The leaves of one entry, on the subnet that it stands in.
fn leaves_of(entry: &Entry, address: Option<ipnet::IpNet>) -> Leaves {
    let mut spec = NetworkSpec::default();
    match (entry, address) {
        (Entry::Dns(host), _) => {
            spec.dns = Some(crate::manifest::NetworkDns { forwarders: Vec::new(), hosts: vec![host.clone()] });
        }
        (Entry::Host(host), Some(address)) => {
            let dhcp = crate::manifest::Dhcp { ranges: Vec::new(), hosts: vec![host.clone()] };
            spec.ips = vec![crate::manifest::NetworkIp { address, dhcp: Some(dhcp) }];
        }
        (Entry::Range(range), Some(address)) => {
            let dhcp = crate::manifest::Dhcp { ranges: vec![range.clone()], hosts: Vec::new() };
            spec.ips = vec![crate::manifest::NetworkIp { address, dhcp: Some(dhcp) }];
        }
        (Entry::Host(_) | Entry::Range(_), None) => {}
    }
    let mut leaves = crate::plan::leaves_of(crate::name::Kind::Network, &spec);
    leaves.retain(|path, _| !path.ends_with("/address"));
    leaves
}

/// Whether another entry, which stays, has the address: libvirt would refuse, or two guests would have it. True where it was refused.
fn taken(p: &mut Planner<'_>, object: &Wanted, network: &NetworkState, entry: &Entry, going: &BTreeSet<String>) -> bool {
    let Entry::Host(host) = entry else { return false };
    let docs = std::iter::once(&network.doc).chain(&network.live);
    let other = docs.flat_map(|doc| doc.spec.ips.iter()).find_map(|ip| {
        let place = format!("/ips/{}/dhcp/hosts", escape(&ip.address.to_string()));
        ip.dhcp.iter().flat_map(|dhcp| dhcp.hosts.iter()).find(|other| {
            let stays = !going.contains(&format!("{place}/{}", escape(&host_key(other))));
            other.ip == host.ip && host_key(other) != host_key(host) && stays
        })
    });
    let Some(other) = other else { return false };
    let message =
        format!("the address {} is kept for {} already, by an entry that is not the manifest's", host.ip, host_key(other));
    let help = format!("choose another address, or take that entry out: virsh net-update {} delete ip-dhcp-host", network.name);
    p.refuse(object, RefusalKind::Guard, message, &[help]);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_belongs_to_its_entry() {
        let of = |path: &str| prefix(path);
        assert_eq!(
            of("/ips/10.0.0.1~124/dhcp/hosts/52:54:00:00:00:01/ip").as_deref(),
            Some("/ips/10.0.0.1~124/dhcp/hosts/52:54:00:00:00:01")
        );
        assert_eq!(of("/dns/hosts/10.0.0.5/names").as_deref(), Some("/dns/hosts/10.0.0.5"));
        assert_eq!((of("/ips/10.0.0.1~124/address"), of("/mtu"), of("/dns/forwarders")), (None, None, None));
    }
}
