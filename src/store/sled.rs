//! sled as a [`Kv`]. The only file that knows it.
//!
//! sled opens without an error after damage near the end of its log, less the records that were there (tried with 0.34.7): whether
//! what it gives is whole is judged by the layer above.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use super::kv::{Kv, KvError, KvOp};

/// A sled database in a folder of its own.
pub(super) struct SledKv(sled::Db);

impl SledKv {
    /// Opens the database in `folder`, or makes it.
    pub(super) fn open(folder: &Path) -> Result<Self, KvError> {
        // A database that was closed a moment ago in this process may still hold its lock: its threads end on their own.
        for _ in 0..20 {
            match Self::open_once(folder) {
                Err(KvError::Busy) => std::thread::sleep(Duration::from_millis(50)),
                other => return other,
            }
        }
        Self::open_once(folder)
    }

    fn open_once(folder: &Path) -> Result<Self, KvError> {
        let config = sled::Config::new().path(folder).cache_capacity(4 << 20).flush_every_ms(Some(500));
        guarded(|| config.open()).map(Self)
    }
}

impl Kv for SledKv {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        guarded(|| self.0.get(key)).map(|value| value.map(|bytes| bytes.to_vec()))
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, KvError> {
        guarded(|| self.0.scan_prefix(prefix).collect::<Result<Vec<_>, _>>())?
            .into_iter()
            .map(|(key, value)| {
                let key = String::from_utf8(key.to_vec()).map_err(|_| KvError::Damaged("a key is not text".to_owned()))?;
                Ok((key, value.to_vec()))
            })
            .collect()
    }

    fn batch(&self, changes: &[KvOp]) -> Result<(), KvError> {
        let mut batch = sled::Batch::default();
        for change in changes {
            match change {
                KvOp::Put(key, value) => batch.insert(key.as_str(), value.as_slice()),
                KvOp::Remove(key) => batch.remove(key.as_str()),
            }
        }
        guarded(|| self.0.apply_batch(batch))
    }

    fn compare_and_swap(&self, key: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool, KvError> {
        guarded(|| self.0.compare_and_swap(key, old, new)).map(|swapped| swapped.is_ok())
    }

    fn flush(&self) -> Result<(), KvError> {
        guarded(|| self.0.flush()).map(|_| ())
    }
}

/// Runs a call of sled's, which panics over some damage instead of returning an error.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, KvError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(translate),
        Err(_) => Err(KvError::Damaged("its reader gave up".to_owned())),
    }
}

fn translate(error: sled::Error) -> KvError {
    match error {
        sled::Error::Io(error) => match error.kind() {
            ErrorKind::WouldBlock => KvError::Busy,
            ErrorKind::ReadOnlyFilesystem => KvError::ReadOnly,
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => KvError::Damaged(error.to_string()),
            // How sled says that another process holds its lock.
            ErrorKind::Other if error.to_string().contains("could not acquire lock") => KvError::Busy,
            ErrorKind::Other => KvError::Damaged(error.to_string()),
            _ => KvError::Failed(error.to_string()),
        },
        other => KvError::Damaged(other.to_string()),
    }
}
