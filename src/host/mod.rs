//! The port to a node: read it, act on it.
//!
//! `libvirt/` is the real side, `fake/` the one in memory. Nothing else in the house knows libvirt, and nothing here parses XML:
//! a host returns text and facts.

mod events;
pub mod fake;
pub mod libvirt;

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use crate::name::Name;
use crate::observe::{RawNode, Scope};
use crate::plan::Op;

pub use events::{Change, Ear, Events, Hint, Hints, REBOOTED};

/// A node as jvp reaches it.
#[async_trait]
pub trait Host: Send + Sync {
    /// Reads what `scope` names. Changes nothing, not even by a refresh.
    async fn read(&self, scope: &Scope) -> Result<RawNode, HostError>;

    /// Performs one effect. `bytes` is told of transfers as they go on (done, total).
    ///
    /// An [`ErrorKind::Unknown`] says that nobody knows whether it happened: the next read decides.
    async fn act(&self, op: &Op, progress: &dyn Progress) -> Result<(), HostError>;

    /// How many signs of life there were of the node so far, each an answer to whatever was asked by whomever: where they grow in number
    /// it is slow at most. While a way to it over a network is being opened, which has a deadline of its own and tells of nothing until it
    /// is there, they grow, too.
    fn signs(&self) -> u64;

    /// Asks for something that costs the node nothing, beside all that is under way. One that is at something long answers this.
    async fn ping(&self) -> Result<(), HostError>;

    /// Hints of what changes on the node from now on. They come for as long as the subscription is kept, whatever happens to the node;
    /// the first is of the whole node, as soon as hints come, or it is known that they can't. Needs a tokio runtime.
    ///
    /// A hint may be missing, late, or of nothing: libvirt tells of many changes nothing at all.
    fn events(&self) -> Events {
        Events::never()
    }

    /// Asks for hints anew, as libvirt may have lost who asked and say nothing of it. A look that begins after this has returned, and
    /// the hints that come afterwards, miss nothing between them.
    ///
    /// An error says what there are no hints of at the moment. It is tried again without being asked, and a hint of the whole node
    /// tells when it was done. With a libvirt that hangs this takes as long as a read's deadline.
    async fn renew_events(&self) -> Result<(), HostError> {
        Ok(())
    }

    /// Reads a small file inside of a running domain's guest, by way of its agent; none where there is no such file.
    ///
    /// An [`ErrorKind::Unsupported`] says that the agent doesn't allow it; any other error, that it may do so later.
    async fn guest_file(&self, domain: Uuid, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        let _ = (domain, path);
        Err(HostError { kind: ErrorKind::Unsupported, code: 0, message: "this node's guests have no agents".into() })
    }

    /// Opens the serial console of a running domain. One can be open at a time; `force` takes it from whoever has it.
    async fn console(&self, domain: Uuid, force: bool) -> Result<Arc<dyn Console>, HostError> {
        let _ = (domain, force);
        Err(HostError { kind: ErrorKind::Unsupported, code: 0, message: "this node has no consoles".into() })
    }
}

/// An open console. Its calls block for as long as nothing comes or goes, so each direction has a thread of its own.
pub trait Console: Send + Sync {
    /// Receives what the guest wrote; nothing where the console has ended.
    fn receive(&self, buffer: &mut [u8]) -> Result<usize, HostError>;

    /// Sends what was typed, all of it.
    fn send(&self, bytes: &[u8]) -> Result<(), HostError>;

    /// Ends it; whoever receives sees its end.
    fn close(&self);
}

/// Told how far a transfer is.
pub trait Progress: Send + Sync {
    /// `done` of `total` bytes went over.
    fn bytes(&self, done: u64, total: u64);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn bytes(&self, _done: u64, _total: u64) {}
}

/// Opens hosts by a Node's URI.
pub trait Connector: Send + Sync {
    /// The host of a Node. Opens nothing yet: the first read does.
    fn host(&self, node: &Name, uri: &str) -> Arc<dyn Host>;
}

/// Why a host did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// What that means for the caller.
    pub kind: ErrorKind,
    /// libvirt's error code, 0 where it was not libvirt's.
    pub code: i32,
    /// What was said, a fragment in lower case that names the object where the host knew it.
    pub message: String,
}

/// What an error of a host's means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The node can't be reached, or no longer: nothing more is tried there.
    Unreachable,
    /// No right to it.
    Denied,
    /// What was named isn't there.
    NotFound,
    /// There is one already.
    Exists,
    /// Not in this state (running, stopped, in use).
    InvalidState,
    /// Might do if tried again: a lock, a time-out inside libvirt, a job in the way.
    Transient,
    /// Nobody knows whether it happened: a deadline passed or the connection broke in the middle.
    Unknown,
    /// A guest did not stop in its time; it runs on.
    StopTimeout,
    /// libvirt can't do that at all.
    Unsupported,
    /// Anything else.
    Failed,
}
