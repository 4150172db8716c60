//! Reading a node: first its lists, few calls for all, then the documents, spread over the node's threads.
//!
//! Nothing is changed, not even by a refresh, and no document is looked into. What vanishes between its list and its document is
//! left out, as if it had gone a moment earlier. Everything comes in the order of names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use virt::error::Error;

use super::calls::{Ask, Calls, Cx, On};
use super::connection::Connection;
use super::error::{At, own, translate};
use super::{domains, networks, pools};
use crate::host::{ErrorKind, HostError};
use crate::observe::{RawDomain, RawHost, RawNetwork, RawNode, RawPool, RawVolume, Scope, Target};

/// How long a read may go on without an answer.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// So many documents are read right after the lists; more are spread over threads.
const FEW: usize = 32;

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
enum Piece {
    Domain(RawDomain),
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
}

/// Reads what `scope` names.
pub(super) async fn read(calls: &Arc<Calls>, scope: &Scope) -> Result<RawNode, HostError> {
    let asked = scope.clone();
    let survey = calls.call(Ask::within(LIMIT), move |cx| survey(cx, &asked)).await?;
    let Survey { host, pools, items, mut pieces, connection } = survey;
    if let Some(connection) = connection.filter(|_| !items.is_empty()) {
        pieces.extend(spread(calls, items, &connection, scope.asks_guests()).await?);
    }
    let mut node = assemble(host, pools, pieces);
    if scope.asks_guests() {
        domains::ask_agents(calls, &mut node.domains).await;
    }
    Ok(node)
}

fn survey(cx: &Cx<'_>, scope: &Scope) -> Result<Survey, HostError> {
    let mut survey = Survey { connection: Some(cx.connection()), ..Survey::default() };
    match scope {
        Scope::Host => survey.host = host(cx)?,
        Scope::Everything | Scope::WithGuests => {
            survey.host = host(cx)?;
            survey.items.extend(domains::list(cx)?.into_iter().map(Item::Domain));
            survey.items.extend(networks::list(cx)?.into_iter().map(Item::Network));
            let (pools, volumes) = pools::list(cx)?;
            survey.pools = pools;
            survey.items.extend(volumes.into_iter().map(Item::Volume));
        }
        Scope::Near(targets) => {
            survey.host = host(cx)?;
            objects(cx, targets, &mut survey)?;
        }
        Scope::Objects(targets) | Scope::Guests(targets) => objects(cx, targets, &mut survey)?,
    }
    if survey.items.len() <= FEW {
        let guests = scope.asks_guests();
        for item in std::mem::take(&mut survey.items) {
            survey.pieces.extend(describe(cx, &item, guests)?);
        }
    }
    Ok(survey)
}

fn host(cx: &Cx<'_>) -> Result<RawHost, HostError> {
    let connect = cx.connect();
    let hostname = connect.hostname().map_err(failed)?;
    let libvirt_version = connect.lib_version().map_err(failed)?.into();
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

/// Reads many documents with several calls in flight on one connection, which libvirtd serves side by side.
async fn spread(
    calls: &Arc<Calls>,
    items: Vec<Item>,
    connection: &Arc<Connection>,
    guests: bool,
) -> Result<Vec<Piece>, HostError> {
    let share = items.len().div_ceil(calls.readers()).max(FEW);
    let mut items = items.into_iter();
    let mut jobs = tokio::task::JoinSet::new();
    loop {
        let part: Vec<Item> = items.by_ref().take(share).collect();
        if part.is_empty() {
            break;
        }
        let (calls, connection) = (Arc::clone(calls), Arc::clone(connection));
        jobs.spawn(async move {
            let ask = Ask { on: On::This(connection), ..Ask::within(LIMIT) };
            calls
                .call(ask, move |cx| {
                    let mut pieces = Vec::with_capacity(part.len());
                    for item in &part {
                        pieces.extend(describe(cx, item, guests)?);
                    }
                    Ok(pieces)
                })
                .await
        });
    }
    let mut pieces = Vec::new();
    while let Some(part) = jobs.join_next().await {
        pieces.extend(part.map_err(|_| own(ErrorKind::Unreachable, "reading the node was broken off"))??);
    }
    Ok(pieces)
}

fn describe(cx: &Cx<'_>, item: &Item, guests: bool) -> Result<Option<Piece>, HostError> {
    if cx.deserted() {
        return Err(own(ErrorKind::Unreachable, "nobody waits for it"));
    }
    let piece = match item {
        Item::Domain(listed) => domains::describe(listed)?.map(Piece::Domain),
        Item::Network(listed) => networks::describe(listed, guests)?.map(Piece::Network),
        Item::Volume(listed) => pools::describe(listed)?.map(|(pool, volume)| Piece::Volume(pool, volume)),
    };
    cx.alive();
    Ok(piece)
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
