//! Networks as they are read and acted on.
//!
//! What a change means for the guests on a network is the planner's to weigh, not this file's.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use virt::network::Network;
use virt::sys;

use super::calls::Cx;
use super::error::{INVALID_ARG, named};
use super::ffi;
use super::read::{failed, if_there};
use crate::host::{ErrorKind, HostError};
use crate::observe::RawNetwork;
use crate::plan::{Edit, Replug, Section, Side};

/// A network as the lists show it.
pub(super) struct Listed {
    /// By the connection that listed it.
    pub(super) network: Network,
    name: String,
    pub(super) uuid: Uuid,
    active: bool,
    autostart: bool,
    persistent: bool,
}

/// All networks.
pub(super) fn list(cx: &Cx<'_>) -> Result<Vec<Listed>, HostError> {
    let all = cx.connect().list_all_networks(0).map_err(failed)?;
    cx.alive();
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let active = those(cx, sys::VIR_CONNECT_LIST_NETWORKS_ACTIVE)?;
    let autostart = those(cx, sys::VIR_CONNECT_LIST_NETWORKS_AUTOSTART)?;
    let transient = those(cx, sys::VIR_CONNECT_LIST_NETWORKS_TRANSIENT)?;
    let mut listed = Vec::with_capacity(all.len());
    for network in all {
        let (name, uuid) = (network.name().map_err(failed)?, network.uuid().map_err(failed)?);
        listed.push(Listed {
            name,
            uuid,
            active: active.contains(&uuid),
            autostart: autostart.contains(&uuid),
            persistent: !transient.contains(&uuid),
            network,
        });
    }
    Ok(listed)
}

fn those(cx: &Cx<'_>, filter: sys::virConnectListAllNetworksFlags) -> Result<BTreeSet<Uuid>, HostError> {
    let list = cx.connect().list_all_networks(filter).map_err(failed)?;
    cx.alive();
    list.iter().map(|network| network.uuid().map_err(failed)).collect()
}

/// One network, if it is there.
pub(super) fn find(cx: &Cx<'_>, name: &str) -> Result<Option<Listed>, HostError> {
    let Some(network) = if_there(cx.connect().lookup_network_by_name(name))? else { return Ok(None) };
    let facts = || {
        let persistent = network.is_persistent()?;
        let autostart = persistent && network.autostart()?;
        Ok((network.uuid()?, network.is_active()?, autostart, persistent))
    };
    let facts = if_there(facts())?;
    cx.alive();
    Ok(facts.map(|(uuid, active, autostart, persistent)| Listed {
        name: name.to_owned(),
        uuid,
        active,
        autostart,
        persistent,
        network,
    }))
}

/// All networks, by their UUIDs.
pub(super) fn handles(cx: &Cx<'_>) -> Result<BTreeMap<Uuid, Network>, HostError> {
    let all = cx.connect().list_all_networks(0).map_err(failed)?;
    cx.alive();
    all.into_iter().map(|network| Ok((network.uuid().map_err(failed)?, network))).collect()
}

/// The rest of a listed network, by any connection's handle; none if it is gone.
pub(super) fn describe(listed: &Listed, network: &Network, leases: bool) -> Result<Option<RawNetwork>, HostError> {
    let Listed { name, .. } = listed;
    let document = |flags| if_there(network.xml_desc(flags)).map_err(|error| named(error, "network", name));
    let inactive = match document(sys::VIR_NETWORK_XML_INACTIVE) {
        // The test driver has one document only.
        Err(error) if error.code == INVALID_ARG => document(0),
        other => other,
    };
    let Some(inactive) = inactive? else { return Ok(None) };
    let live = if listed.active { document(0)? } else { None };
    let leases = if leases && listed.active {
        // A network without DHCP, or of a driver without leases, has none.
        match ffi::leases(network).map_err(failed) {
            Err(error) if error.kind == ErrorKind::Unreachable => return Err(error),
            leases => leases.unwrap_or_default(),
        }
    } else {
        Vec::new()
    };
    let ports = if listed.active {
        match ffi::ports(network).map_err(failed) {
            Err(error) if error.kind == ErrorKind::Unreachable => return Err(error),
            ports => ports.ok(),
        }
    } else {
        None
    };
    Ok(Some(RawNetwork {
        name: name.clone(),
        uuid: listed.uuid,
        active: listed.active,
        autostart: listed.autostart,
        persistent: listed.persistent,
        inactive,
        live,
        ports,
        leases,
    }))
}

/// Finds a network to act on.
fn lookup(cx: &Cx<'_>, name: &str) -> Result<Network, HostError> {
    cx.connect().lookup_network_by_name(name).map_err(failed)
}

/// Defines a network. What runs is left as it is.
pub(super) fn define(cx: &Cx<'_>, xml: &str) -> Result<(), HostError> {
    cx.effect()?;
    cx.connect().define_network_xml(xml).map(drop).map_err(failed)
}

/// Starts a network.
pub(super) fn start(cx: &Cx<'_>, name: &str) -> Result<(), HostError> {
    let network = lookup(cx, name)?;
    cx.effect()?;
    network.create().map_err(failed)
}

/// Has it started with libvirt, or not.
pub(super) fn autostart(cx: &Cx<'_>, name: &str, on: bool) -> Result<(), HostError> {
    let network = lookup(cx, name)?;
    cx.effect()?;
    network.set_autostart(on).map_err(failed)
}

/// Changes one entry of a network: in what runs and in the definition at once, or neither; or in one of them alone.
///
/// Without the flag for the definition a running network would be changed alone, and the next change of both would fail.
pub(super) fn update(
    cx: &Cx<'_>,
    name: &str,
    (section, edit, side): (Section, Edit, Side),
    xml: &str,
    parent_index: i32,
) -> Result<(), HostError> {
    let network = lookup(cx, name)?;
    let (live, config) = (sys::VIR_NETWORK_UPDATE_AFFECT_LIVE, sys::VIR_NETWORK_UPDATE_AFFECT_CONFIG);
    let flags = match side {
        Side::Both if network.is_active().map_err(failed)? => live | config,
        Side::Both | Side::Definition => config,
        Side::Live => live,
    };
    let command = match edit {
        Edit::Add => sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST,
        Edit::Modify => sys::VIR_NETWORK_UPDATE_COMMAND_MODIFY,
        Edit::Delete => sys::VIR_NETWORK_UPDATE_COMMAND_DELETE,
    };
    let section = match section {
        Section::DhcpHost => sys::VIR_NETWORK_SECTION_IP_DHCP_HOST,
        Section::DhcpRange => sys::VIR_NETWORK_SECTION_IP_DHCP_RANGE,
        Section::DnsHost => sys::VIR_NETWORK_SECTION_DNS_HOST,
    };
    cx.effect()?;
    network.update(command, section, parent_index, xml, flags).map_err(failed)
}

/// Plugs interfaces of running domains in again, each by way of what it is moved to first. One that stopped meanwhile needs nothing.
/// A failure leaves none of the others out: the first is told once all were tried.
pub(super) fn replug(cx: &Cx<'_>, nics: &[Replug]) -> Result<(), HostError> {
    let mut wrong = Ok(());
    cx.effect()?;
    for nic in nics {
        let Some(domain) = if_there(cx.connect().lookup_domain_by_uuid(nic.uuid))? else { continue };
        let plugged = [&nic.texts.there, &nic.texts.back]
            .into_iter()
            .try_for_each(|text| domain.update_device_flags(text, sys::VIR_DOMAIN_AFFECT_LIVE).map(drop).map_err(failed));
        if let Err(error) = plugged
            && domain.is_active().unwrap_or(true)
            && wrong.is_ok()
        {
            wrong = Err(named(error, "domain", &nic.domain));
        }
    }
    wrong
}

/// Stops a network.
pub(super) fn stop(cx: &Cx<'_>, name: &str) -> Result<(), HostError> {
    let network = lookup(cx, name)?;
    cx.effect()?;
    network.destroy().map_err(failed)
}

/// Removes a network's definition. One that runs would run on without one.
pub(super) fn undefine(cx: &Cx<'_>, name: &str) -> Result<(), HostError> {
    let network = lookup(cx, name)?;
    cx.effect()?;
    network.undefine().map_err(failed)
}
