//! sled as a [`Kv`]. The only file that knows it.
//!
//! sled opens without an error after damage near the end of its log, less the records that were there (tried with 0.34.7): whether
//! what it gives is whole is judged by the layer above. On Linux its own flush has the kernel write, and leaves out what makes a file
//! that grew last (`sync_file_range`): the waiting for the disk is done here.

use std::cell::Cell;
use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Once};
use std::time::Duration;

use super::file::sync_folder;
use super::kv::{Kv, KvError, KvOp};
use super::watch::Watch;

/// sled's log, and what it is opened with, in its folder.
const LOG: &str = "db";
const CONF: &str = "conf";

/// A sled database in a folder of its own.
pub(super) struct SledKv {
    // None only while it is dropped.
    db: Option<Arc<sled::Db>>,
    log: File,
    watch: Watch,
}

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
        let is_new = !folder.join(LOG).exists();
        let config = sled::Config::new().path(folder).cache_capacity(1 << 20).flush_every_ms(Some(500));
        let db = Arc::new(guarded(|| config.open())?);
        let log = File::open(folder.join(LOG)).map_err(|error| failed(&error))?;
        let watch = watch(&db, config).map_err(|error| failed(&error))?;
        let mut kv = Self { db: Some(db), log, watch };
        if is_new {
            kv.keep_names(folder).map_err(|error| failed(&error))?;
        }
        Ok(kv)
    }

    /// Has the files of a new database last by their names, and what is in those that are written once.
    fn keep_names(&mut self, folder: &Path) -> std::io::Result<()> {
        let conf = folder.join(CONF);
        File::open(&conf)?.sync_all()?;
        self.log.sync_all()?;
        sync_folder(&conf)?;
        sync_folder(folder)
    }

    fn call<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, KvError> {
        match &self.db {
            Some(db) => {
                let _begun = self.watch.begin();
                guarded(|| call(db))
            }
            None => Err(KvError::Failed("it was closed".to_owned())),
        }
    }
}

/// Wakes who waits for a write of sled's that failed. Of the two ways on which sled has a buffer written by a thread of its own, one
/// keeps the error and wakes nobody (`exit_reservation` of 0.34.7), so that a flush would never end. A flush that is begun after it
/// finds the error, and wakes them all.
fn watch(db: &Arc<sled::Db>, config: sled::Config) -> std::io::Result<Watch> {
    let db = Arc::downgrade(db);
    Watch::new(move || {
        if config.global_error().is_err()
            && let Some(db) = db.upgrade()
        {
            let _ = guarded(|| db.flush());
        }
    })
}

impl Drop for SledKv {
    fn drop(&mut self) {
        // sled writes what is left as it goes, and panics where it can't. Whoever wanted it on disk has flushed. What waits for a write
        // that fails is woken as long as the watch is there.
        let _ = self.call(|db| db.flush());
        self.watch.end();
        let db = self.db.take();
        let _ = guarded(|| {
            drop(db);
            Ok(())
        });
    }
}

impl Kv for SledKv {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        self.call(|db| db.get(key)).map(|value| value.map(|bytes| bytes.to_vec()))
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, KvError> {
        self.call(|db| db.scan_prefix(prefix).collect::<Result<Vec<_>, _>>())?
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
        self.call(|db| db.apply_batch(batch))
    }

    fn compare_and_swap(&self, key: &str, old: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool, KvError> {
        self.call(|db| db.compare_and_swap(key, old, new)).map(|swapped| swapped.is_ok())
    }

    fn flush(&self) -> Result<(), KvError> {
        self.call(|db| db.flush())?;
        self.log.sync_data().map_err(|error| failed(&error))
    }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a call of sled's, which panics over some damage, and over some failures of a disk's, instead of returning an error.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, KvError> {
    silence();
    let before = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(before);
    match result {
        Ok(result) => result.map_err(translate),
        Err(_) => Err(KvError::Damaged("its reader gave up".to_owned())),
    }
}

/// Has panics of sled's, on its own threads too, print nothing: they are told as errors.
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let of_sled = panic.location().is_some_and(|location| location.file().contains("/sled-"));
            if !(GUARDED.get() || of_sled) {
                before(panic);
            }
        }));
    });
}

fn translate(error: sled::Error) -> KvError {
    match error {
        sled::Error::Io(error) => match error.kind() {
            ErrorKind::WouldBlock => KvError::Busy,
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => KvError::Damaged(error.to_string()),
            // How sled says that another process holds its lock.
            ErrorKind::Other if error.to_string().contains("could not acquire lock") => KvError::Busy,
            ErrorKind::Other => KvError::Damaged(error.to_string()),
            _ => failed(&error),
        },
        other => KvError::Damaged(other.to_string()),
    }
}

/// What the system said. sled keeps some of it as the text for programmers.
fn failed(error: &std::io::Error) -> KvError {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => KvError::ReadOnly,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => KvError::Full,
        _ => {
            let text = error.to_string();
            let message = text.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"'));
            KvError::Failed(message.map_or_else(|| text.clone(), |(message, _)| message.to_owned()))
        }
    }
}
