//! Reading a node: first its lists, few calls for all, then the documents (`spread`).
//!
//! Nothing is changed, not even by a refresh, and no document is looked into. What vanishes between its list and its document is
//! left out, as if it had gone a moment earlier. Everything comes in the order of names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use virt::error::Error;

use super::calls::{Ask, Calls, Cx, On};
use super::connection::Connection;
use super::error::{At, own, translate};
use super::spread::{FEW, describe, spread};
use super::{domains, networks, pools};
use crate::host::{ErrorKind, HostError};
use crate::observe::{RawDomain, RawHost, RawNetwork, RawNode, RawPool, RawVolume, Scope, Target};

/// How long a read may go on without an answer.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// How often a node that seems far away is asked once more for something that costs it nothing.
const DOUBTS: usize = 2;

/// What a list gave, and what is to be read of it yet.
pub(super) enum Item {
    /// A domain.
    Domain(domains::Listed),
    /// A network.
    Network(networks::Listed),
    /// A volume.
    Volume(pools::ListedVolume),
}

/// What was read of an item.
pub(super) enum Piece {
    /// A domain.
    Domain(RawDomain),
    /// A network.
    Network(RawNetwork),
    /// A volume and the name of its pool.
    Volume(String, RawVolume),
}

/// The lists of a node.
#[derive(Default)]
struct Survey {
    host: RawHost,
    pools: Vec<RawPool>,
    items: Vec<Item>,
    pieces: Vec<Piece>,
    connection: Option<Arc<Connection>>,
    /// Whether its lists are to be asked for yet.
    far: bool,
}

/// Reads what `scope` names.
pub(super) async fn read(calls: &Arc<Calls>, scope: &Scope) -> Result<RawNode, HostError> {
    let asked = scope.clone();
    let mut survey = calls.call(Ask::within(LIMIT), move |cx| survey(cx, &asked)).await?;
    if survey.far {
        let lists = |list: fn(&Cx<'_>, &mut Survey) -> Result<(), HostError>| {
            let ask = Ask { on: survey.connection.clone().map_or(On::Any, On::This), ..Ask::within(LIMIT) };
            calls.call(ask, move |cx| {
                let mut survey = Survey::default();
                list(cx, &mut survey).map(|()| survey)
            })
        };
        let (domains, networks, pools) = tokio::try_join!(lists(list_domains), lists(list_networks), lists(list_pools))?;
        for part in [domains, networks, pools] {
            survey.items.extend(part.items);
            survey.pools.extend(part.pools);
        }
    }
    let Survey { host, pools, items, mut pieces, connection, .. } = survey;
    if let Some(connection) = connection.filter(|_| !items.is_empty()) {
        pieces.extend(spread(calls, items, &connection, scope).await?);
    }
    let mut node = assemble(host, pools, pieces);
    if scope.asks_guests() {
        domains::ask_agents(calls, &mut node.domains).await;
    }
    Ok(node)
}

/// Asks for what costs the node nothing, by a connection that is open: whoever waits for one to be opened waits already.
pub(super) async fn ping(calls: &Arc<Calls>) -> Result<(), HostError> {
    let connection = calls.open().ok_or_else(|| own(ErrorKind::Unreachable, "no connection to it is open"))?;
    let ask = Ask { on: On::This(connection), beside: true, ..Ask::within(LIMIT) };
    calls.call(ask, |cx| cx.connect().lib_version().map(drop).map_err(failed)).await
}

fn survey(cx: &Cx<'_>, scope: &Scope) -> Result<Survey, HostError> {
    let mut survey = Survey { connection: Some(cx.connection()), ..Survey::default() };
    match scope {
        Scope::Host => survey.host = host(cx)?,
        Scope::Everything | Scope::AtEase | Scope::WithGuests => {
            cx.texts().sweep();
            survey.host = host(cx)?;
            // From far away they are asked for side by side.
            survey.far = cx.is_far();
            if !survey.far {
                list_domains(cx, &mut survey)?;
                list_networks(cx, &mut survey)?;
                list_pools(cx, &mut survey)?;
            }
        }
        Scope::Near(targets) => {
            survey.host = host(cx)?;
            objects(cx, targets, &mut survey)?;
        }
        Scope::Objects(targets) | Scope::Guests(targets) => objects(cx, targets, &mut survey)?,
    }
    if survey.items.len() <= if cx.is_far() { 1 } else { FEW } {
        let guests = scope.asks_guests();
        for item in std::mem::take(&mut survey.items) {
            survey.pieces.extend(describe(cx, &item, None, guests)?);
        }
    }
    Ok(survey)
}

fn list_domains(cx: &Cx<'_>, survey: &mut Survey) -> Result<(), HostError> {
    survey.items.extend(domains::list(cx)?.into_iter().map(Item::Domain));
    Ok(())
}

fn list_networks(cx: &Cx<'_>, survey: &mut Survey) -> Result<(), HostError> {
    survey.items.extend(networks::list(cx)?.into_iter().map(Item::Network));
    Ok(())
}

fn list_pools(cx: &Cx<'_>, survey: &mut Survey) -> Result<(), HostError> {
    let (pools, volumes) = pools::list(cx)?;
    survey.pools = pools;
    survey.items.extend(volumes.into_iter().map(Item::Volume));
    Ok(())
}

fn host(cx: &Cx<'_>) -> Result<RawHost, HostError> {
    let connect = cx.connect();
    let mut times = Vec::with_capacity(1 + DOUBTS);
    let libvirt_version = loop {
        let asked = Instant::now();
        let version = connect.lib_version().map_err(failed)?.into();
        times.push(asked.elapsed());
        cx.alive();
        cx.took(&times);
        if !cx.is_far() || times.len() > DOUBTS {
            break version;
        }
    };
    let hostname = connect.hostname().map_err(failed)?;
    cx.alive();
    let capabilities = connect.capabilities().map_err(failed)?;
    cx.alive();
    Ok(RawHost { hostname, libvirt_version, capabilities })
}

fn objects(cx: &Cx<'_>, targets: &BTreeSet<Target>, survey: &mut Survey) -> Result<(), HostError> {
    let mut wanted: BTreeMap<&str, Option<BTreeSet<&str>>> = BTreeMap::new();
    for target in targets {
        match target {
            Target::Domain(name) => survey.items.extend(domains::find(cx, name)?.map(Item::Domain)),
            Target::Network(name) => survey.items.extend(networks::find(cx, name)?.map(Item::Network)),
            Target::Pool(name) => {
                wanted.entry(name).or_default();
            }
            Target::Volume { pool, name } => {
                wanted.entry(pool).or_default().get_or_insert_default().insert(name);
            }
        }
    }
    for (pool, volumes) in wanted {
        let Some((pool, volumes)) = pools::find(cx, pool, volumes.as_ref())? else { continue };
        survey.pools.push(pool);
        survey.items.extend(volumes.into_iter().map(Item::Volume));
    }
    Ok(())
}

fn assemble(host: RawHost, pools: Vec<RawPool>, pieces: Vec<Piece>) -> RawNode {
    let mut node = RawNode { host, pools, ..RawNode::default() };
    let mut volumes: BTreeMap<String, Vec<RawVolume>> = BTreeMap::new();
    for piece in pieces {
        match piece {
            Piece::Domain(domain) => node.domains.push(domain),
            Piece::Network(network) => node.networks.push(network),
            Piece::Volume(pool, volume) => volumes.entry(pool).or_default().push(volume),
        }
    }
    for pool in &mut node.pools {
        if let Some(list) = &mut pool.volumes {
            list.extend(volumes.remove(&pool.name).unwrap_or_default());
            list.sort_by(|a, b| a.name.cmp(&b.name));
        }
    }
    node.pools.sort_by(|a, b| a.name.cmp(&b.name));
    node.networks.sort_by(|a, b| a.name.cmp(&b.name));
    node.domains.sort_by(|a, b| a.name.cmp(&b.name));
    node
}

/// An error of a call's.
#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(super) fn failed(error: Error) -> HostError {
    translate(&error, At::Call)
}

/// What is there; none where the error says that it isn't, or no longer.
pub(super) fn if_there<T>(result: Result<T, Error>) -> Result<Option<T>, HostError> {
    match result.map_err(failed) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
