//! The port to what keeps bytes by key, and the one in memory.
//!
//! No more than what a networked store offers too: get, put, list by prefix, compare-and-swap, an atomic batch, a lease.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvOp {
    /// Set a key's value.
    Put(String, Vec<u8>),
    /// Remove a key; one that is absent stays so.
    Remove(String),
}

/// Keeps bytes by key.
///
/// # Guarantees
///
/// A batch is done whole or not at all, and batches become durable in the order in which they were made. What was written before
/// a [`flush`](Kv::flush) that returned Ok survives a kill and a power cut.
pub trait Kv: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError>;

    /// All keys that begin with `prefix`, in order, with their values.
    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, KvError>;

    /// Performs all `changes` or none.
    fn batch(&self, changes: &[KvOp]) -> Result<(), KvError>;

    /// Sets `key` to `new` (none removes it) if its value is `old`, and says whether it was.
    fn compare_and_swap(&self, key: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool, KvError>;

    /// Waits until everything written so far is durable.
    fn flush(&self) -> Result<(), KvError>;

    /// Sets a key's value.
    fn put(&self, key: &str, value: &[u8]) -> Result<(), KvError> {
        self.batch(&[KvOp::Put(key.to_owned(), value.to_owned())])
    }

    /// Takes or renews the lease `name` for `holder` until `ttl` from `now`. One that ran out is anybody's.
    ///
    /// Where the store is one process's (sled), the kernel's lock on the state directory comes before it.
    fn lease(&self, name: &str, holder: &str, now: Timestamp, ttl: SignedDuration) -> Result<Lease, KvError> {
        let key = format!("lease/{name}");
        let old = self.get(&key)?;
        if let Some(bytes) = &old {
            let held: Lease = serde_json::from_slice(bytes).map_err(|error| KvError::Damaged(error.to_string()))?;
            if held.holder != holder && held.until > now {
                return Err(KvError::Held { by: held.holder });
            }
        }
        let until = now.checked_add(ttl).map_err(|error| KvError::Failed(error.to_string()))?;
        let lease = Lease { holder: holder.to_owned(), until };
        let new = serde_json::to_vec(&lease).map_err(|error| KvError::Failed(error.to_string()))?;
        if self.compare_and_swap(&key, old.as_deref(), Some(&new))? {
            Ok(lease)
        } else {
            Err(KvError::Held { by: "somebody who was faster".to_owned() })
        }
    }
}

/// One that others keep a hold of, too.
impl<T: Kv + ?Sized> Kv for Arc<T> {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        (**self).get(key)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, KvError> {
        (**self).list(prefix)
    }

    fn batch(&self, changes: &[KvOp]) -> Result<(), KvError> {
        (**self).batch(changes)
    }

    fn compare_and_swap(&self, key: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool, KvError> {
        (**self).compare_and_swap(key, old, new)
    }

    fn flush(&self) -> Result<(), KvError> {
        (**self).flush()
    }
}

/// A lease that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who has it.
    pub holder: String,
    /// Until when.
    pub until: Timestamp,
}

/// Why a [`Kv`] did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// Another process has it open.
    #[error("another process has it open")]
    Busy,
    /// A lease is another's.
    #[error("{by} has it")]
    Held {
        /// Whose.
        by: String,
    },
    /// What was read can't be what was written.
    #[error("it is damaged ({0})")]
    Damaged(String),
    /// It can't be written to.
    #[error("it is read-only")]
    ReadOnly,
    /// There is no room for it.
    #[error("no space is left where it lies")]
    Full,
    /// Anything else: no right to it, a disk that went bad.
    #[error("{0}")]
    Failed(String),
}

/// Keeps bytes in memory, for tests and for runs without a state directory.
#[derive(Debug, Default)]
pub struct MemoryKv(Mutex<BTreeMap<String, Vec<u8>>>);

impl MemoryKv {
    fn map(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        // Whoever panicked left the map whole: every change of it is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kv for MemoryKv {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.map().get(key).cloned())
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, KvError> {
        let map = self.map();
        let from_prefix = map.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(from_prefix.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn batch(&self, changes: &[KvOp]) -> Result<(), KvError> {
        let mut map = self.map();
        for change in changes {
            match change {
                KvOp::Put(key, value) => map.insert(key.clone(), value.clone()),
                KvOp::Remove(key) => map.remove(key),
            };
        }
        Ok(())
    }

    fn compare_and_swap(&self, key: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool, KvError> {
        let mut map = self.map();
        if map.get(key).map(Vec::as_slice) != old {
            return Ok(false);
        }
        match new {
            Some(value) => map.insert(key.to_owned(), value.to_owned()),
            None => map.remove(key),
        };
        Ok(true)
    }

    fn flush(&self) -> Result<(), KvError> {
        Ok(())
    }
}
