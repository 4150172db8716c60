//! A VM's MACs, and the addresses that its networks keep for it (DECISIONS D6).

use std::collections::BTreeMap;

use super::network::derived_mac;
use super::network_update::subnets_after;
use crate::manifest::VirtualMachineSpec;
use crate::name::{Kind, MacAddr, Name, ObjectRef};
use crate::observe::DomainState;
use crate::plan::model::{FieldChange, Shown};
use crate::plan::planner::{Draft, Planner};
use crate::plan::{Edit, Lane, Op, Precondition, Section, Side, reservations};
use crate::resolve::Wanted;
use crate::xml;

/// The MAC that an interface has or will have.
pub(super) fn mac_of(wanted: &Wanted, interface: &crate::manifest::Interface, domain: Option<&DomainState>) -> MacAddr {
    let found = domain.and_then(|domain| domain.doc.interface(interface.name.as_str())).and_then(|doc| doc.mac);
    interface.mac.or(found).unwrap_or_else(|| derived_mac(wanted.uid, interface.name.as_str(), None))
}

/// Address reservations to be made or taken back.
pub(super) struct Reservations {
    pub(super) fields: Vec<FieldChange>,
    pub(super) drafts: Vec<Draft>,
    /// What stands once they are done: network object → `mac ip`.
    pub(super) settled: BTreeMap<String, String>,
}

/// What a VM's `interfaces[].ip` make of its networks (DECISIONS D6).
pub(super) fn reserved(
    p: &Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    node: &Name,
    domain: Option<&DomainState>,
) -> Reservations {
    let mut all = Reservations { fields: Vec::new(), drafts: Vec::new(), settled: BTreeMap::new() };
    let was = p
        .entry(&wanted.object)
        .map(|entry| entry.reservations.clone())
        .or_else(|| domain.and_then(|domain| domain.doc.mark.as_ref()).map(|mark| mark.reservations.clone()))
        .unwrap_or_default();
    for interface in &spec.interfaces {
        let (Some(network), Some(ip)) = (&interface.network, interface.ip) else { continue };
        let mac = mac_of(wanted, interface, domain);
        let key = format!("{}/{}", ObjectRef::on(Kind::Network, network.clone(), node), interface.name);
        let value = format!("{mac} {ip}");
        all.settled.insert(key, value);
        let state = p.network(network, node);
        let there = state.is_some_and(|state| {
            state.doc.spec.ips.iter().flat_map(|ip| ip.dhcp.iter().flat_map(|dhcp| dhcp.hosts.iter())).any(|host| {
                host.ip == ip
                    && (host.mac == Some(mac) || (ip.is_ipv6() && host.name.as_deref() == Some(wanted.object.name.as_str())))
            })
        });
        if there {
            continue;
        }
        all.fields.push(FieldChange {
            path: format!("/interfaces/{}/ip", interface.name),
            old: None,
            new: Some(Shown::Value(ip.to_string())),
        });
        // A network knows one host of a name: the VM's other interfaces on it have none.
        let of_network = |key: &String| key.starts_with(&format!("{}/", ObjectRef::on(Kind::Network, network.clone(), node)));
        let earlier = all.settled.keys().filter(|key| of_network(key)).count() > 1;
        let taken = state.is_some_and(|state| {
            state
                .doc
                .spec
                .ips
                .iter()
                .flat_map(|ip| ip.dhcp.iter().flat_map(|dhcp| dhcp.hosts.iter()))
                .any(|host| host.mac != Some(mac) && host.name.as_deref() == Some(wanted.object.name.as_str()))
        });
        let host = if earlier || taken { None } else { Some(wanted.object.name.to_string()) };
        all.drafts.push(reserve(p, node, network, (mac, ip), host, true));
    }
    let gone = was.iter().flat_map(|(key, recorded)| recorded_reservations(key, recorded).map(move |of| (key, of)));
    for (key, (network, mac, ip)) in gone {
        if all.settled.get(key).is_some_and(|kept| *kept == format!("{mac} {ip}")) {
            continue;
        }
        all.fields.push(FieldChange {
            path: format!("/interfaces/{}/ip", key.rsplit('/').next().unwrap_or_default()),
            old: Some(Shown::Value(ip.to_string())),
            new: None,
        });
        if !is_kept(p, node, &network, (mac, ip)) {
            continue;
        }
        let host = ip.is_ipv6().then(|| wanted.object.name.to_string());
        all.drafts.insert(0, reserve(p, node, &network, (mac, ip), host, false));
    }
    all
}

/// Whether a network still keeps an address, and will when what this plan does to the network is done.
fn is_kept(p: &Planner<'_>, node: &Name, network: &Name, (mac, ip): (MacAddr, std::net::IpAddr)) -> bool {
    let Some(state) = p.network(network, node) else { return false };
    let there = [Some(&state.doc), state.live.as_ref()].into_iter().flatten().flat_map(|doc| doc.spec.ips.iter()).any(|net| {
        net.dhcp.iter().flat_map(|dhcp| dhcp.hosts.iter()).any(|host| host.ip == ip && (host.mac == Some(mac) || ip.is_ipv6()))
    });
    there && subnets_after(p, node, network).iter().flatten().any(|net| net.contains(&ip))
}

/// Reads what is recorded of an interface's reservations: `Network/lan@a/nic` → `mac ip`.
pub(in crate::plan) fn recorded_reservations<'a>(
    key: &'a str,
    recorded: &'a str,
) -> impl Iterator<Item = (Name, MacAddr, std::net::IpAddr)> + 'a {
    reservations(recorded).filter_map(|one| {
        let (network, _) = key.rsplit_once('/')?;
        let object: ObjectRef = network.parse().ok()?;
        let (mac, ip) = one.split_once(' ')?;
        Some((object.name, mac.parse().ok()?, ip.parse().ok()?))
    })
}

/// One reservation as an effect on its network. An IPv6 host is known by its name, any other by its MAC.
pub(in crate::plan) fn reserve(
    p: &Planner<'_>,
    node: &Name,
    network: &Name,
    (mac, ip): (MacAddr, std::net::IpAddr),
    host: Option<String>,
    add: bool,
) -> Draft {
    let name = p.libvirt_name(Kind::Network, network, node);
    let host = crate::manifest::DhcpHost { name: host, mac: ip.is_ipv4().then_some(mac), ip };
    // The index of the network's address whose subnet holds it.
    let index = subnets_after(p, node, network).iter().position(|net| net.is_some_and(|net| net.contains(&ip))).unwrap_or(0);
    // One that is yet to be made gets the UUID of its identity.
    let made = || p.desired.objects.get(&ObjectRef::on(Kind::Network, network.clone(), node)).map(|wanted| wanted.uid);
    let uuid = p.network(network, node).map(|state| state.uuid).or_else(made);
    let draft = Draft::new(
        Op::NetworkUpdate {
            name: name.clone(),
            section: Section::DhcpHost,
            edit: if add { Edit::Add } else { Edit::Delete },
            side: Side::Both,
            xml: xml::network::dhcp_host(&host),
            parent_index: i32::try_from(index).unwrap_or(-1),
        },
        Lane::Object(format!("network/{name}")),
    );
    match uuid {
        Some(uuid) => draft.when(Precondition::Uuid(uuid)),
        None => draft,
    }
}
