//! Who hangs on a network: its running guests, and those that a restart of it left behind.
//!
//! libvirt does not ask guests when a network stops and does not take them up when it starts. Their own documents go on as if nothing
//! were; the network's ports tell.

use std::collections::BTreeSet;

use super::Replug;
use crate::observe::{DomainState, NetworkState, NodeState};
use crate::xml::domain::{InterfaceDoc, plug_texts};

/// How an interface of a running domain hangs on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hangs {
    /// By a port of its own.
    Plugged,
    /// It was plugged in, and its port is gone.
    Left,
    /// It was on its way to be plugged in again, and is on the bridge.
    Halfway,
    /// By its definition it is on the network's bridge itself.
    Direct,
}

fn hangs(network: &NetworkState, domain: &DomainState, nic: &InterfaceDoc) -> Option<Hangs> {
    if nic.network.as_deref() == Some(network.name.as_str()) {
        let (Some(ports), Some(port)) = (&network.ports, nic.port) else {
            // A network that is stopped has no ports. Where libvirt can't tell them, nobody knows better.
            return Some(if network.active { Hangs::Plugged } else { Hangs::Left });
        };
        return Some(if ports.contains(&port) { Hangs::Plugged } else { Hangs::Left });
    }
    // A bridge of the host's own is not the network's, and outlives it.
    if nic.network.is_some() || network.doc.forward.as_deref() == Some("bridge") {
        return None;
    }
    let bridges = [&network.doc.bridge, &network.live.as_ref().and_then(|live| live.bridge.clone())].map(Clone::clone);
    if nic.bridge.is_none() || !bridges.contains(&nic.bridge) {
        return None;
    }
    let defined = domain.doc.interfaces.iter().find(|defined| defined.mac == nic.mac);
    let by_definition = defined.and_then(|defined| defined.network.as_deref()) == Some(network.name.as_str());
    Some(if by_definition { Hangs::Halfway } else { Hangs::Direct })
}

fn hanging<'a>(
    state: &'a NodeState,
    network: &'a NetworkState,
) -> impl Iterator<Item = (&'a DomainState, &'a InterfaceDoc, Hangs)> {
    state.domains.values().flat_map(move |domain| {
        let nics = domain.live.iter().flat_map(|live| live.interfaces.iter());
        nics.filter_map(move |nic| Some((domain, nic, hangs(network, domain, nic)?)))
    })
}

/// The running domains, jvp's or not, that hang on a network now: those that its stop cuts off.
pub fn running_guests(state: &NodeState, network: &str) -> BTreeSet<String> {
    let Some(network) = state.networks.get(network) else { return BTreeSet::new() };
    hanging(state, network)
        .filter(|(.., how)| *how != Hangs::Left || !network.active)
        .map(|(domain, ..)| domain.name.clone())
        .collect()
}

/// The running domains that hang by their documents on a network that is nowhere.
pub(super) fn orphaned<'a>(state: &'a NodeState, network: &str) -> Vec<&'a DomainState> {
    let hangs = |domain: &&DomainState| {
        let mut nics = domain.live.iter().flat_map(|live| live.interfaces.iter());
        nics.any(|nic| nic.network.as_deref() == Some(network))
    };
    state.domains.values().filter(hangs).collect()
}

/// The interfaces of running domains that hang on a network by their documents and aren't plugged into it, with what plugs them in.
/// `direct` adds those that are on its bridge by their own definition, of which nothing tells whether they still are.
pub fn unplugged(state: &NodeState, network: &str, direct: bool) -> Vec<Replug> {
    let Some(network) = state.networks.get(network) else { return Vec::new() };
    let bridge = network.live.as_ref().unwrap_or(&network.doc).bridge.clone().unwrap_or_default();
    hanging(state, network)
        .filter(|(.., how)| matches!(how, Hangs::Left | Hangs::Halfway) || (direct && *how == Hangs::Direct))
        .filter_map(|(domain, nic, how)| {
            let live = domain.live_xml.as_ref()?.text();
            let texts = plug_texts(&live, nic, &network.name, &bridge, how == Hangs::Direct).ok()??;
            Some(Replug { domain: domain.name.clone(), uuid: domain.uuid, texts })
        })
        .collect()
}
