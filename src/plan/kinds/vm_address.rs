//! A VM's MACs, and the addresses that its networks keep for it (DECISIONS D6).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::network::derived_mac;
use super::network_update::subnets_after;
use super::vm_create::Stop;
use crate::manifest::{DhcpHost, Interface, VirtualMachineSpec};
use crate::name::{Kind, MacAddr, Name, ObjectRef};
use crate::observe::DomainState;
use crate::plan::model::{FieldChange, Shown};
use crate::plan::planner::{Draft, Planner, Standing};
use crate::plan::{ActionId, Edit, Entry, Lane, Op, Precondition, Section, Side, reservations};
use crate::resolve::Wanted;
use crate::xml;

/// The MAC that an interface has or will have.
pub(super) fn mac_of(wanted: &Wanted, interface: &crate::manifest::Interface, domain: Option<&DomainState>) -> MacAddr {
    let found = domain.and_then(|domain| domain.doc.interface(interface.name.as_str())).and_then(|doc| doc.mac);
    interface.mac.or(found).unwrap_or_else(|| derived_mac(wanted.uid, interface.name.as_str(), None))
}

/// Address reservations to be made or taken back.
pub(super) struct Reservations {
    /// What gives addresses back that are to be kept for it.
    pub(super) needs: BTreeSet<ActionId>,
    pub(super) fields: Vec<FieldChange>,
    pub(super) drafts: Vec<Draft>,
    /// What stands once they are done: network object → `mac ip`.
    pub(super) settled: BTreeMap<String, String>,
}

/// What a VM's `interfaces[].ip` make of its networks (DECISIONS D6).
///
/// # Errors
/// A network keeps an address for somebody else, and goes on doing so.
pub(super) fn reserved(
    p: &Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    node: &Name,
    domain: Option<&DomainState>,
) -> Result<Reservations, Stop> {
    let mut all = Reservations { needs: BTreeSet::new(), fields: Vec::new(), drafts: Vec::new(), settled: BTreeMap::new() };
    let was = p
        .entry(&wanted.object)
        .map(|entry| entry.reservations.clone())
        .or_else(|| domain.and_then(|domain| domain.doc.mark.as_ref()).map(|mark| mark.reservations.clone()))
        .unwrap_or_default();
    let own: Vec<_> =
        was.iter().flat_map(|(key, recorded)| recorded_reservations(key, recorded).map(move |of| (key, of))).collect();
    for interface in &spec.interfaces {
        let (Some(network), Some(ip)) = (&interface.network, interface.ip) else { continue };
        let mac = mac_of(wanted, interface, domain);
        let key = format!("{}/{}", ObjectRef::on(Kind::Network, network.clone(), node), interface.name);
        let value = format!("{mac} {ip}");
        all.settled.insert(key, value);
        let state = p.network(network, node);
        // A new name leaves its entries as they are.
        let recorded = || own.iter().any(|(_, (of, _, at))| of == network && *at == ip);
        let is_named = |host: &DhcpHost| recorded() || host.name.as_deref() == Some(wanted.object.name.as_str());
        let is_it = |host: &DhcpHost| host.ip == ip && (host.mac == Some(mac) || (ip.is_ipv6() && is_named(host)));
        if state.is_some_and(|state| state.doc.hosts().any(is_it)) {
            continue;
        }
        has_subnet(p, interface, node, network, ip)?;
        one_by_name(p, spec, interface, node, network, ip)?;
        // libvirt takes no second entry of a MAC.
        let moved = state.into_iter().flat_map(|state| state.doc.hosts()).find(|host| ip.is_ipv4() && host.mac == Some(mac));
        if let Some(at) = moved.map(|host| host.ip).filter(|at| at.is_ipv4() && is_kept(p, node, network, (mac, *at))) {
            let of_it = own.iter().map(|(_, of)| of).filter(|(of, its, _)| of == network && *its == mac);
            let of_it: Vec<IpAddr> = of_it.map(|(.., ip)| *ip).collect();
            match of_it.first() {
                // It goes with what is taken back below.
                Some(_) if of_it.contains(&at) => {}
                Some(_) => all.drafts.push(reserve(p, node, network, (mac, at), None, false)),
                None => all.needs.extend(given_back(p, interface, node, network, (&Holder::Mac(mac), at))?),
            }
        }
        if let Some(holder) = holder(p, node, network, (mac, ip))
            && !own.iter().any(|(_, (of, its, at))| of == network && holder == Holder::Mac(*its) && *at == ip)
        {
            all.needs.extend(given_back(p, interface, node, network, (&holder, ip))?);
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
            state.doc.hosts().any(|host| host.mac != Some(mac) && host.name.as_deref() == Some(wanted.object.name.as_str()))
        });
        // Of an IPv6 address the name is all that a network knows.
        let named = ip.is_ipv6() || !(earlier || taken);
        let host = named.then(|| wanted.object.name.to_string());
        all.drafts.push(reserve(p, node, network, (mac, ip), host, true));
    }
    for (key, (network, mac, ip)) in own {
        let value = format!("{mac} {ip}");
        if all.settled.get(key).is_some_and(|kept| *kept == value) {
            continue;
        }
        all.fields.push(FieldChange {
            path: format!("/interfaces/{}/ip", key.rsplit('/').next().unwrap_or_default()),
            old: Some(Shown::Value(ip.to_string())),
            new: None,
        });
        // An interface with a new name has the address of the old one.
        let of_network = format!("{}/", ObjectRef::on(Kind::Network, network.clone(), node));
        let is_it = |kept: &str| kept == value || (ip.is_ipv6() && kept.ends_with(&format!(" {ip}")));
        let other = all.settled.iter().find(|(key, kept)| key.starts_with(&of_network) && is_it(kept)).map(|(key, _)| key);
        all.fields.extend(other.map(|key| FieldChange {
            path: format!("/interfaces/{}/ip", key.rsplit('/').next().unwrap_or_default()),
            old: None,
            new: Some(Shown::Value(ip.to_string())),
        }));
        if other.is_some() || !is_kept(p, node, &network, (mac, ip)) {
            continue;
        }
        let host = ip.is_ipv6().then(|| name_at(p, wanted, node, &network, ip));
        all.drafts.insert(0, reserve(p, node, &network, (mac, ip), host, false));
    }
    Ok(all)
}

/// The name under which a network keeps an IPv6 address that is on record as a VM's: it may have had another name then.
pub(in crate::plan) fn name_at(p: &Planner<'_>, wanted: &Wanted, node: &Name, network: &Name, ip: IpAddr) -> String {
    let mut hosts = p.network(network, node).into_iter().flat_map(|state| state.doc.hosts());
    let named = hosts.find(|host| host.ip == ip).and_then(|host| host.name.clone());
    named.unwrap_or_else(|| wanted.object.name.to_string())
}

/// Looks whether another interface of the VM has an address in the same IPv6 subnet, which knows a host by its name alone.
///
/// # Errors
/// One has.
fn one_by_name(
    p: &Planner<'_>,
    spec: &VirtualMachineSpec,
    interface: &Interface,
    node: &Name,
    network: &Name,
    ip: IpAddr,
) -> Result<(), Stop> {
    let subnets = subnets_after(p, node, network);
    let together = |other: IpAddr| subnets.iter().flatten().any(|net| net.contains(&ip) && net.contains(&other));
    let before = spec.interfaces.iter().take_while(|other| other.name != interface.name);
    let mut others = before.filter(|other| other.network.as_ref() == Some(network));
    match others.find(|other| ip.is_ipv6() && other.ip.is_some_and(together)) {
        None => Ok(()),
        Some(other) => {
            let message = format!(
                "/interfaces/{}/ip: an IPv6 subnet keeps one address for a VM, by its name, and its interface {} has one there",
                interface.name, other.name
            );
            Err(Stop::Refused(message, vec!["take one of the two out, or give it an address of another subnet".into()]))
        }
    }
}

/// Looks whether a network that no manifest describes, which nothing was told of before, has the address in a subnet.
///
/// # Errors
/// It has none, or is somebody else's way to one, as a bridge of the host's.
fn has_subnet(p: &Planner<'_>, interface: &Interface, node: &Name, network: &Name, ip: IpAddr) -> Result<(), Stop> {
    let object = ObjectRef::on(Kind::Network, network.clone(), node);
    let Some(state) = p.network(network, node).filter(|_| !p.desired.objects.contains_key(&object)) else { return Ok(()) };
    if state.doc.parent_index(ip).is_some() {
        return Ok(());
    }
    let message = format!("/interfaces/{}/ip: {object} has no subnet with {ip} in it", interface.name);
    let help = "choose an address of one of its subnets, or leave the address to whoever gives them out there".to_owned();
    Err(Stop::Refused(message, vec![help]))
}

/// Whom a network keeps an address for.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    Mac(MacAddr),
    /// By a name alone, as all of IPv6; none where it says nobody's.
    Name(Option<String>),
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mac(mac) => mac.fmt(f),
            Self::Name(name) => write!(f, "`{}`", name.as_deref().unwrap_or_default()),
        }
    }
}

/// Whom else a network keeps an address for, and will where nobody takes it back.
fn holder(p: &Planner<'_>, node: &Name, network: &Name, (mac, ip): (MacAddr, IpAddr)) -> Option<Holder> {
    let state = p.network(network, node)?;
    let other = state.doc.hosts().find(|host| host.ip == ip && host.mac != Some(mac))?;
    has_net_after(p, node, network, ip).then(|| other.mac.map_or_else(|| Holder::Name(other.name.clone()), Holder::Mac))
}

/// What gives back an address that a network keeps for another one.
///
/// # Errors
/// Nothing of this plan does before.
fn given_back(
    p: &Planner<'_>,
    interface: &Interface,
    node: &Name,
    network: &Name,
    (whose, ip): (&Holder, IpAddr),
) -> Result<BTreeSet<ActionId>, Stop> {
    let object = ObjectRef::on(Kind::Network, network.clone(), node);
    // An entry of the network's own goes, if it does, with its change, which comes before all that is done for its guests.
    let key = match whose {
        Holder::Mac(mac) => mac.to_string(),
        Holder::Name(name) => name.clone().unwrap_or_else(|| ip.to_string()),
    };
    let own = format!("/dhcp/hosts/{}/ip", crate::manifest::escape(&key));
    if p.entry(&object).is_some_and(|entry| entry.last.iter().any(|path| path.ends_with(&own))) {
        return Ok(BTreeSet::new());
    }
    let keeps = |entry: &&std::sync::Arc<Entry>| {
        let mut kept = entry.reservations.iter().flat_map(|(key, recorded)| recorded_reservations(key, recorded));
        entry.node.as_ref() == Some(node)
            && kept.any(|(of, its, at)| of == *network && (ip.is_ipv6() || *whose == Holder::Mac(its)) && at == ip)
    };
    let refused = |whose: String, help: String| {
        let message = format!("/interfaces/{}/ip: {object} keeps {ip} for {whose}", interface.name);
        Err(Stop::Refused(message, vec![help, "or choose another address".into()]))
    };
    let Some(holder) = p.owned.entries.values().find(keeps).map(|entry| entry.object.clone()) else {
        return refused(
            format!("{whose}, which is nobody's of this set"),
            format!("take that entry out of the network: {whose}"),
        );
    };
    match p.standing.get(&holder) {
        Some(Standing::Ready(ids)) if !ids.is_empty() => Ok(ids.clone()),
        _ if p.desired.objects.contains_key(&holder) => {
            let help = format!("have {holder} give it back in an apply of its own, before this one");
            refused(format!("{holder} until that is changed"), help)
        }
        _ => {
            let help = format!("if that VM may go: jvp delete {holder}, or a prune before this apply");
            refused(format!("{holder}, which is no longer in the manifests"), help)
        }
    }
}

/// Whether a network still keeps an address, and will when what this plan does to the network is done.
pub(in crate::plan) fn is_kept(p: &Planner<'_>, node: &Name, network: &Name, (mac, ip): (MacAddr, IpAddr)) -> bool {
    let Some(state) = p.network(network, node) else { return false };
    let docs = [Some(&state.doc), state.live.as_ref()].into_iter().flatten();
    let there = docs
        .flat_map(crate::xml::network::NetworkDoc::hosts)
        .any(|host| host.ip == ip && (host.mac == Some(mac) || ip.is_ipv6()));
    there && has_net_after(p, node, network, ip)
}

/// Whether an address lies in a subnet that a network will have.
fn has_net_after(p: &Planner<'_>, node: &Name, network: &Name, ip: IpAddr) -> bool {
    subnets_after(p, node, network).iter().flatten().any(|net| net.contains(&ip))
}

/// Reads what is recorded of an interface's reservations: `Network/lan@a/nic` → `mac ip`.
pub(in crate::plan) fn recorded_reservations<'a>(
    key: &'a str,
    recorded: &'a str,
) -> impl Iterator<Item = (Name, MacAddr, IpAddr)> + 'a {
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
    (mac, ip): (MacAddr, IpAddr),
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
