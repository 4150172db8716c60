//! A node by its libvirt: the only part of the house that links to it.
//!
//! ```text
//! LibvirtHost ── read, act ──> calls (places, deadlines, connections) ──> workers (threads) ──> libvirt
//!      hints <── events (one connection) <────────── libvirt's own thread (runtime) <──────────────┘
//! ```
//!
//! Its calls block and may hang for ever, so each runs on a thread that nobody waits for longer than its deadline. It
//! decides nothing, repeats no effect, and never parses a document.

mod act;
mod agent;
mod calls;
mod connection;
mod console;
mod domains;
mod error;
mod event_loop;
mod events;
mod ffi;
mod guests;
mod networks;
mod plugs;
mod pools;
mod read;
mod runtime;
mod spread;
mod texts;
mod transport;
mod volumes;
mod watch;
mod workers;

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::{Connector, Console, Events, Host, HostError, Progress};
use crate::name::Name;
use crate::observe::{RawNode, Scope};
use crate::plan::Op;
use calls::Calls;
use watch::Watch;

pub use transport::become_transport;

/// Opens nodes by libvirt's URIs.
#[derive(Debug, Clone, Copy, Default)]
pub struct LibvirtConnector;

impl Connector for LibvirtConnector {
    fn host(&self, _node: &Name, uri: &str) -> Arc<dyn Host> {
        Arc::new(LibvirtHost::new(uri))
    }
}

/// A node behind a libvirt URI. It may be used by many at once; at most four calls are on their way to it, or six times as many where
/// it is far away.
pub struct LibvirtHost {
    calls: Arc<Calls>,
    watch: Arc<Watch>,
}

impl LibvirtHost {
    /// The node behind `uri`. Nothing is opened yet. Whether the URI may be used at all was looked at before.
    pub fn new(uri: &str) -> Self {
        let calls = Calls::new(uri);
        Self { watch: Watch::new(Arc::clone(&calls)), calls }
    }
}

impl std::fmt::Debug for LibvirtHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LibvirtHost").finish_non_exhaustive()
    }
}

#[async_trait]
impl Host for LibvirtHost {
    async fn read(&self, scope: &Scope) -> Result<RawNode, HostError> {
        read::read(&self.calls, scope).await
    }

    async fn act(&self, op: &Op, progress: &dyn Progress) -> Result<(), HostError> {
        act::act(&self.calls, op, progress).await
    }

    fn signs(&self) -> u64 {
        self.calls.signs()
    }

    async fn ping(&self) -> Result<(), HostError> {
        read::ping(&self.calls).await
    }

    fn events(&self) -> Events {
        self.watch.subscribe()
    }

    async fn renew_events(&self) -> Result<(), HostError> {
        self.watch.renew().await
    }

    async fn guest_file(&self, domain: Uuid, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        agent::file(&self.calls, domain, path).await
    }

    async fn console(&self, domain: Uuid, force: bool) -> Result<Arc<dyn Console>, HostError> {
        console::open(&self.calls, domain, force).await
    }
}

/// The version of the libvirt library, as major * 1,000,000 + minor * 1,000 + release.
pub fn library_version() -> Option<u32> {
    virt::connect::Connect::version().ok()
}

/// Has the process keep one heap, for whoever runs for weeks. To be called before there are threads.
pub fn one_heap() {
    ffi::one_heap();
}
