//! What jvp remembers: the inventory, what was last applied, and the journal of intents.
//!
//! Two layers. A [`Kv`] keeps bytes by key and knows nothing of jvp (sled, memory, later a networked one); the [`Store`] and its
//! [`Ledger`]s on top keep typed records, notice damage, and publish a copy for readers. All of it is a cache plus an inventory:
//! losing it loses no VM.
//!
//! Nothing here reads the clock (times come in as arguments), knows libvirt, or decides what is done: that is the planner's.
//! sled stands in one file only.

mod faulty;
mod file;
mod history;
mod key;
mod kv;
mod ledger;
mod lock;
mod records;
mod sealed;
mod shared;
mod sled;
mod snapshot;
mod state;
mod status;
mod watch;

use std::path::{Path, PathBuf};

pub use faulty::FaultyKv;
pub use history::{Context, Event, EventOutcome, Past};
pub use key::MacKey;
pub use kv::{Kv, KvError, KvOp, Lease, MemoryKv};
pub use ledger::{Change, Ending, Ledger, Outcome};
pub use lock::Holder;
pub use shared::{Opened, Store};
pub use snapshot::{Currency, Snapshot};
pub use state::StateDir;
pub use status::{Condition, ConditionStatus, ObjectStatus};

pub(crate) use file::{random_bytes, write_atomically};

/// Why the state directory or the ledger can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder of the state directory.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What failed, as in `failed to …`.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The state directory belongs to another user.
    #[error(
        "the state directory {} belongs to user id {owner}, not to {own}: run as that user, or choose another with --state-dir",
        path.display()
    )]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who runs.
        own: u32,
    },
    /// Others may write to the state directory.
    #[error(
        "the state directory {} can be written to by others (mode {mode:04o}): `chmod go-w` it once you trust its content",
        path.display()
    )]
    Writable {
        /// The folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Something that is no folder stands where one belongs.
    #[error("{} of the state directory is no folder: move it away", path.display())]
    NoFolder {
        /// The path.
        path: PathBuf,
    },
    /// The key that secrets are told apart with isn't the one that was made.
    #[error(
        "the key {} is damaged: put it back from a backup, or remove it; all secrets are then taken for changed, and set anew",
        path.display()
    )]
    Key {
        /// Its file.
        path: PathBuf,
    },
    /// Another process holds the ledger.
    #[error("the ledger in {} is held by {holder}: wait for it, with --lock-timeout if need be", path.display())]
    Held {
        /// The state directory.
        path: PathBuf,
        /// Who holds it.
        holder: Holder,
    },
    /// Written by a later jvp.
    #[error("the ledger has format {found}, of which {known} is the newest known here: use the jvp that wrote it")]
    Format {
        /// The ledger's.
        found: u64,
        /// The newest known.
        known: u64,
    },
    /// A record that can't be read, in a ledger that is otherwise whole.
    #[error("the ledger's record `{key}` can't be read: {reason}")]
    Record {
        /// Its key.
        key: String,
        /// What the reader said.
        reason: String,
    },
    /// The layer below failed.
    #[error("the ledger failed: {0}")]
    Kv(#[from] KvError),
    /// Used after it was closed; a mistake of the caller's.
    #[error("the ledger was closed already")]
    Closed,
}

impl StoreError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

#[cfg(test)]
mod tests;
