//! The documents of what a node's lists gave, read by several calls side by side, each of which takes the next that nobody has taken.
//!
//! From near they share one connection: libvirtd serves them side by side, and more only costs. From far away almost all of a call's
//! time is its way, so there are more of them, on more connections; a handle belongs to its connection, so each of these asks for
//! the lists once more. A connection that can't be had, or is open only when all is read, is done without.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;
use virt::domain::Domain;
use virt::network::Network;
use virt::storage_vol::StorageVol;

use super::calls::{AT_ONCE, Ask, CONNECTIONS, Calls, Cx, On};
use super::connection::Connection;
use super::error::own;
use super::read::{Item, LIMIT, Piece};
use super::{domains, networks, pools};
use crate::host::{ErrorKind, HostError};
use crate::observe::Scope;

/// So many documents are read right after the lists; more are spread over threads.
pub(super) const FEW: usize = 32;
/// One more connection for so many documents: that is what it costs to open it and to ask for the lists.
const WORTH: usize = 64;

/// What is to be read.
struct Work {
    items: Vec<Item>,
    next: AtomicUsize,
    guests: bool,
}

/// What a call has read: of how many items, as some may be gone.
struct Part {
    items: usize,
    pieces: Vec<Piece>,
}

type Parts = mpsc::UnboundedSender<Result<Part, HostError>>;

/// The handles of one connection.
#[derive(Default)]
pub(super) struct Handles {
    domains: BTreeMap<Uuid, Domain>,
    networks: BTreeMap<Uuid, Network>,
    /// By the names of pool and volume.
    volumes: BTreeMap<String, BTreeMap<String, StorageVol>>,
}

/// Reads the documents of `items`, which were listed by `connection`.
pub(super) async fn spread(
    calls: &Arc<Calls>,
    items: Vec<Item>,
    connection: &Arc<Connection>,
    scope: &Scope,
) -> Result<Vec<Piece>, HostError> {
    let (all, guests) = (items.len(), scope.asks_guests());
    let work = Arc::new(Work { items, next: AtomicUsize::new(0), guests });
    let (sender, mut parts) = mpsc::unbounded_channel();
    // Whoever is still at something when all is read is let go of with it.
    let mut jobs = JoinSet::new();
    let each = if calls.is_far() { 1 } else { FEW };
    for _ in 0..calls.readers(scope.is_urgent()).min(all.div_ceil(each)) {
        jobs.spawn(take(Arc::clone(calls), Arc::clone(connection), Arc::clone(&work), None, sender.clone()));
    }
    if calls.is_far() {
        for _ in 0..(CONNECTIONS - 1).min(all / WORTH) {
            jobs.spawn(join(Arc::clone(calls), Arc::clone(connection), Arc::clone(&work), sender.clone()));
        }
    }
    drop(sender);
    let (mut pieces, mut read) = (Vec::with_capacity(all), 0);
    while read < all {
        let part = parts.recv().await.unwrap_or_else(|| Err(own(ErrorKind::Unreachable, "reading the node was broken off")))?;
        read += part.items;
        pieces.extend(part.pieces);
    }
    Ok(pieces)
}

/// Reads by a connection that others share.
async fn take(calls: Arc<Calls>, connection: Arc<Connection>, work: Arc<Work>, handles: Option<Arc<Handles>>, parts: Parts) {
    let ask = Ask { on: On::This(connection), ..Ask::within(LIMIT) };
    let part = calls.call(ask, move |cx| work.take(cx, handles.as_deref())).await;
    // Who has all doesn't wait for it.
    let _ = parts.send(part);
}

/// Reads by a connection of its own, and has others help.
async fn join(calls: Arc<Calls>, first: Arc<Connection>, work: Arc<Work>, parts: Parts) {
    let (sender, opened) = oneshot::channel();
    let (sender, taken) = (Mutex::new(Some(sender)), Arc::new(AtomicBool::new(false)));
    let (shared, takes) = (Arc::clone(&work), Arc::clone(&taken));
    let lead = calls.call(Ask { on: On::Beside(first), ..Ask::within(LIMIT) }, move |cx| {
        let handles = Arc::new(shared.handles(cx)?);
        takes.store(true, Ordering::Relaxed);
        if let Some(sender) = sender.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = sender.send((cx.connection(), Arc::clone(&handles)));
        }
        shared.take(cx, Some(&handles))
    });
    let helped = async {
        let Ok((connection, handles)) = opened.await else { return };
        let mut helpers = JoinSet::new();
        for _ in 1..AT_ONCE {
            helpers.spawn(take(
                Arc::clone(&calls),
                Arc::clone(&connection),
                Arc::clone(&work),
                Some(Arc::clone(&handles)),
                parts.clone(),
            ));
        }
        helpers.join_all().await;
    };
    let led = async {
        let part = lead.await;
        match part {
            Err(error) if !taken.load(Ordering::Relaxed) => tracing::debug!(%error, "a node is read by fewer connections"),
            part => drop(parts.send(part)),
        }
    };
    tokio::join!(led, helped);
}

impl Work {
    /// Reads what nobody else has taken, until nothing is left.
    fn take(&self, cx: &Cx<'_>, handles: Option<&Handles>) -> Result<Part, HostError> {
        let mut part = Part { items: 0, pieces: Vec::new() };
        while let Some(item) = self.items.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            part.items += 1;
            part.pieces.extend(describe(cx, item, handles, self.guests)?);
        }
        Ok(part)
    }

    /// The handles of this connection for what is to be read.
    fn handles(&self, cx: &Cx<'_>) -> Result<Handles, HostError> {
        let mut handles = Handles::default();
        if self.items.iter().any(|item| matches!(item, Item::Domain(_))) {
            handles.domains = domains::handles(cx)?;
        }
        if self.items.iter().any(|item| matches!(item, Item::Network(_))) {
            handles.networks = networks::handles(cx)?;
        }
        for item in &self.items {
            let Item::Volume(listed) = item else { continue };
            if !handles.volumes.contains_key(&listed.pool) {
                handles.volumes.insert(listed.pool.clone(), pools::handles(cx, &listed.pool)?);
            }
        }
        Ok(handles)
    }
}

/// Reads the documents of one item, by its own connection, or by the one of `handles`; none where it is gone.
pub(super) fn describe<'a>(
    cx: &Cx<'_>,
    item: &'a Item,
    handles: Option<&'a Handles>,
    guests: bool,
) -> Result<Option<Piece>, HostError> {
    if cx.deserted() {
        return Err(own(ErrorKind::Unreachable, "nobody waits for it"));
    }
    let piece = match item {
        Item::Domain(listed) => {
            let domain = handles.map_or(Some(&listed.domain), |handles| handles.domains.get(&listed.uuid));
            let Some(domain) = domain else { return Ok(None) };
            domains::describe(cx, listed, domain)?.map(Piece::Domain)
        }
        Item::Network(listed) => {
            let network = handles.map_or(Some(&listed.network), |handles| handles.networks.get(&listed.uuid));
            let Some(network) = network else { return Ok(None) };
            networks::describe(listed, network, guests)?.map(Piece::Network)
        }
        Item::Volume(listed) => {
            let pool = |handles: &'a Handles| handles.volumes.get(&listed.pool)?.get(&listed.name);
            let Some(volume) = handles.map_or(Some(&listed.volume), pool) else { return Ok(None) };
            pools::describe(listed, volume)?.map(|(pool, volume)| Piece::Volume(pool, volume))
        }
    };
    cx.alive();
    Ok(piece)
}
