//! Domains as they are read: lists that answer one question for all of them, and the documents of each.
//!
//! No call here changes anything. The one look into a document is for the agent's channel, as text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use virt::domain::Domain;
use virt::error::Error;
use virt::sys;

use super::calls::{Ask, Calls, Cx};
use super::error::{named, own};
use super::ffi::{self, State};
use super::read::{failed, if_there};
use super::texts::Which;
use crate::host::{ErrorKind, HostError};
use crate::observe::{OffReason, PowerState, RawDomain};

/// How long an agent may take: libvirt itself waits five seconds for its first sign.
const AGENT: Duration = Duration::from_secs(8);

/// A domain as the lists show it.
#[expect(clippy::struct_excessive_bools, reason = "each is the answer of one list")]
pub(super) struct Listed {
    /// By the connection that listed it.
    pub(super) domain: Domain,
    name: String,
    pub(super) uuid: Uuid,
    state: State,
    autostart: bool,
    persistent: bool,
    managed_save: bool,
    has_snapshots: bool,
}

/// All domains.
pub(super) fn list(cx: &Cx<'_>) -> Result<Vec<Listed>, HostError> {
    let all = cx.connect().list_all_domains(0).map_err(failed)?;
    cx.alive();
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let autostart = those(cx, sys::VIR_CONNECT_LIST_DOMAINS_AUTOSTART)?;
    let transient = those(cx, sys::VIR_CONNECT_LIST_DOMAINS_TRANSIENT)?;
    let saved = those(cx, sys::VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)?;
    let snapshots = those(cx, sys::VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT)?;
    let states: BTreeMap<Uuid, State> = match ffi::domain_states(cx.connect()).map_err(failed) {
        Ok(states) => states.into_iter().collect(),
        // A driver without statistics: each is asked.
        Err(error) if error.kind == ErrorKind::Unsupported => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    cx.alive();
    let mut listed = Vec::with_capacity(all.len());
    for domain in all {
        let (name, uuid) = (domain.name().map_err(failed)?, domain.uuid().map_err(failed)?);
        let state = match states.get(&uuid) {
            Some(state) => *state,
            None => match if_there(ffi::domain_state(&domain))? {
                Some(state) => state,
                None => continue,
            },
        };
        listed.push(Listed {
            name,
            uuid,
            state,
            autostart: autostart.contains(&uuid),
            persistent: !transient.contains(&uuid),
            managed_save: saved.contains(&uuid),
            has_snapshots: snapshots.contains(&uuid),
            domain,
        });
    }
    Ok(listed)
}

fn those(cx: &Cx<'_>, filter: sys::virConnectListAllDomainsFlags) -> Result<BTreeSet<Uuid>, HostError> {
    let list = cx.connect().list_all_domains(filter).map_err(failed)?;
    cx.alive();
    list.iter().map(|domain| domain.uuid().map_err(failed)).collect()
}

/// One domain, if it is there.
pub(super) fn find(cx: &Cx<'_>, name: &str) -> Result<Option<Listed>, HostError> {
    let Some(domain) = if_there(cx.connect().lookup_domain_by_name(name))? else { return Ok(None) };
    let facts = facts(domain);
    cx.alive();
    if_there(facts)
}

fn facts(domain: Domain) -> Result<Listed, Error> {
    let transient = !domain.is_persistent()?;
    Ok(Listed {
        name: domain.name()?,
        uuid: domain.uuid()?,
        state: ffi::domain_state(&domain)?,
        // A transient domain has none of these, and some of the questions are errors.
        autostart: !transient && domain.autostart()?,
        persistent: !transient,
        managed_save: !transient && domain.has_managed_save(0)?,
        has_snapshots: domain.num_snapshots(0).or_else(no_support)? > 0,
        domain,
    })
}

/// A driver without snapshots has none.
fn no_support(error: Error) -> Result<u32, Error> {
    if error.code().to_raw() == sys::VIR_ERR_NO_SUPPORT { Ok(0) } else { Err(error) }
}

/// All domains, by their UUIDs.
pub(super) fn handles(cx: &Cx<'_>) -> Result<BTreeMap<Uuid, Domain>, HostError> {
    let all = cx.connect().list_all_domains(0).map_err(failed)?;
    cx.alive();
    all.into_iter().map(|domain| Ok((domain.uuid().map_err(failed)?, domain))).collect()
}

/// The rest of a listed domain, by any connection's handle; none if it is gone.
pub(super) fn describe(cx: &Cx<'_>, listed: &Listed, domain: &Domain) -> Result<Option<RawDomain>, HostError> {
    let Listed { name, uuid, .. } = listed;
    let (state, off_reason) = power(listed.state);
    let Some(inactive) = document(domain, sys::VIR_DOMAIN_XML_INACTIVE).map_err(|e| named(e, "domain", name))? else {
        return Ok(None);
    };
    // Where it stopped between list and document, this is the persistent document once more, and the next read tells better.
    let live = if matches!(state, PowerState::Off) { None } else { document(domain, 0).map_err(|e| named(e, "domain", name))? };
    let saved = if listed.managed_save { saved(domain).map_err(|e| named(e, "domain", name))? } else { None };
    Ok(Some(RawDomain {
        name: name.clone(),
        uuid: *uuid,
        state,
        off_reason,
        autostart: listed.autostart,
        persistent: listed.persistent,
        managed_save: listed.managed_save,
        saved: saved.map(|saved| cx.texts().kept(*uuid, Which::Saved, &saved)),
        has_snapshots: listed.has_snapshots,
        inactive: cx.texts().kept(*uuid, Which::Inactive, &inactive),
        live: live.map(|live| cx.texts().kept(*uuid, Which::Live, &live)),
        agent_addresses: None,
    }))
}

/// A document with its secrets, or without where they are not for us.
fn document(domain: &Domain, flags: sys::virDomainXMLFlags) -> Result<Option<String>, HostError> {
    match if_there(domain.xml_desc(flags | sys::VIR_DOMAIN_XML_SECURE)) {
        Err(error) if error.kind == ErrorKind::Denied => if_there(domain.xml_desc(flags)),
        other => other,
    }
}

/// The document in a managed save image; none where the image is gone, is broken or is not for us.
fn saved(domain: &Domain) -> Result<Option<String>, HostError> {
    let read = |secure| ffi::saved_document(domain, secure).map_err(failed);
    match read(true).or_else(|error| if error.kind == ErrorKind::Denied { read(false) } else { Err(error) }) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Unknown) => Err(error),
        Err(_) => Ok(None),
    }
}

/// libvirt's state and reason as the port's.
pub(super) fn power(State { state, reason }: State) -> (PowerState, OffReason) {
    let power = match state {
        sys::VIR_DOMAIN_PAUSED => PowerState::Paused,
        sys::VIR_DOMAIN_SHUTDOWN => PowerState::ShuttingDown,
        sys::VIR_DOMAIN_SHUTOFF => PowerState::Off,
        sys::VIR_DOMAIN_CRASHED => PowerState::Crashed,
        sys::VIR_DOMAIN_PMSUSPENDED => PowerState::Suspended,
        // Running, blocked, or a state that the driver doesn't tell.
        _ => PowerState::Running,
    };
    let off = match reason {
        _ if power != PowerState::Off => OffReason::Unknown,
        sys::VIR_DOMAIN_SHUTOFF_SHUTDOWN => OffReason::GuestShutdown,
        sys::VIR_DOMAIN_SHUTOFF_DESTROYED => OffReason::Destroyed,
        // The last: libvirtd could not take it over when it started again, and ended it.
        sys::VIR_DOMAIN_SHUTOFF_CRASHED | sys::VIR_DOMAIN_SHUTOFF_DAEMON => OffReason::Crashed,
        sys::VIR_DOMAIN_SHUTOFF_MIGRATED => OffReason::Migrated,
        sys::VIR_DOMAIN_SHUTOFF_SAVED => OffReason::Saved,
        sys::VIR_DOMAIN_SHUTOFF_FAILED => OffReason::Failed,
        // Unknown, or off because a snapshot of it was.
        _ => OffReason::Unknown,
    };
    (power, off)
}

/// Whether a running domain's agent is there, by libvirt's own word in the live document. This is a look for two
/// attributes in one tag, which libvirt always writes the same way.
pub(super) fn agent_connected(live: &str) -> bool {
    live.split("<target ")
        .skip(1)
        .filter_map(|rest| rest.split('>').next())
        .any(|tag| tag.contains("name='org.qemu.guest_agent.0'") && tag.contains("state='connected'"))
}

/// Asks the agents for addresses, several at a time. An agent that doesn't answer leaves none, and holds up nobody else.
pub(super) async fn ask_agents(calls: &Arc<Calls>, domains: &mut [RawDomain]) {
    let mut jobs = tokio::task::JoinSet::new();
    for (index, domain) in domains.iter().enumerate() {
        if domain.state != PowerState::Running || !domain.live.as_ref().is_some_and(|live| agent_connected(&live.text())) {
            continue;
        }
        let (calls, uuid) = (Arc::clone(calls), domain.uuid);
        jobs.spawn(async move {
            let ask = Ask { guest: true, ..Ask::within(AGENT) };
            let addresses = calls.call(ask, move |cx| {
                let domain = cx.connect().lookup_domain_by_uuid(uuid).map_err(failed)?;
                if cx.deserted() {
                    return Err(own(ErrorKind::Transient, "nobody waits for it"));
                }
                ffi::agent_addresses(&domain).map_err(failed)
            });
            (index, addresses.await.ok())
        });
    }
    while let Some(answer) = jobs.join_next().await {
        if let Ok((index, addresses)) = answer
            && let Some(domain) = domains.get_mut(index)
        {
            domain.agent_addresses = addresses;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_counts_as_there_only_in_its_own_tag() {
        let connected = "<channel><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>";
        assert!(agent_connected(connected));
        assert!(!agent_connected(&connected.replace("'connected'", "'disconnected'")));
        let other = "<target type='virtio' name='org.qemu.guest_agent.0'/><target name='x' state='connected'/>";
        assert!(!agent_connected(other));
    }

    #[test]
    fn why_a_domain_is_off_is_told_only_where_it_is_off() {
        let off = |reason| power(State { state: sys::VIR_DOMAIN_SHUTOFF, reason });
        assert_eq!(off(sys::VIR_DOMAIN_SHUTOFF_SHUTDOWN), (PowerState::Off, OffReason::GuestShutdown));
        assert_eq!(off(sys::VIR_DOMAIN_SHUTOFF_DESTROYED), (PowerState::Off, OffReason::Destroyed));
        let running = State { state: sys::VIR_DOMAIN_RUNNING, reason: sys::VIR_DOMAIN_SHUTOFF_CRASHED };
        assert_eq!(power(running), (PowerState::Running, OffReason::Unknown));
    }
}
