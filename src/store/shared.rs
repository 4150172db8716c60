//! The opened store: one process's hold on the state directory's ledger.
//!
//! What must hold: `HEAD` never names a revision that isn't durable, so a store whose revision is below it has lost something.
//! The order of a durable batch is therefore write, flush, `HEAD`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::StoreError;
use super::file::write_whole;
use super::history::{self, History, News};
use super::kv::{Kv, KvError, MemoryKv};
use super::ledger::Ledger;
use super::lock::Lock;
use super::records::{Batch, Content, FORMAT, META, Meta, Sums, Write};
use super::sealed::short_sum;
use super::sled::SledKv;
use super::snapshot::{self, Snapshot};
use super::state::StateDir;

pub(super) const FOLDER: &str = "ledger";
const DATABASE: &str = "db";
const HEAD: &str = "HEAD";
const MARKER: &str = "open";
const PROBE: &str = "probe";

/// How an opened ledger was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// Whole, or new.
    Whole,
    /// Damaged. It was set aside and another begun.
    Damaged {
        /// Where it lies now; none where nothing of it was left.
        aside: Option<PathBuf>,
        /// What was found.
        reason: String,
        /// Whether all of it could be taken from the published copy. If not, the ledger is empty now: what libvirt's own marks
        /// tell is read from them, and adopted pools and volumes are foreign until they are adopted again.
        restored: bool,
    },
}

/// The ledger of a state directory, held until the last handle is dropped.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

pub(super) struct Shared(Mutex<Inner>);

pub(super) struct Inner {
    // Before `disk`: the database is closed while the lock is still held.
    kv: Box<dyn Kv>,
    pub(super) content: Content,
    pub(super) history: History,
    /// Whether what was told last could not be written.
    untold: bool,
    /// What this process does, for the history.
    pub(super) command: String,
    sums: Sums,
    revision: u64,
    published: Option<u64>,
    closed: bool,
    disk: Option<Disk>,
}

struct Disk {
    folder: PathBuf,
    _lock: Lock,
}

impl Store {
    /// Takes the ledger of a state directory, waiting up to `lock_timeout` for another process that has it. `command` is what that
    /// process would be told of this one; `now` names what is set aside.
    pub fn open(state: &StateDir, command: &str, now: Timestamp, lock_timeout: Duration) -> Result<(Self, Opened), StoreError> {
        let lock = Lock::take(state.path(), command, now, lock_timeout)?;
        let folder = state.private(FOLDER)?;
        let marker = folder.join(MARKER);
        std::fs::write(&marker, b"").map_err(StoreError::io("failed to write", &marker))?;
        let database = folder.join(DATABASE);
        has_room(&folder)?;
        let head = read_head(&folder);
        let disk = Disk { folder: folder.clone(), _lock: lock };

        let copy = snapshot::read_copy(&folder);
        let (reason, least) = match (&head, load(&database, *head.as_ref().unwrap_or(&0))?) {
            (Ok(_), Loaded::Whole(whole)) => {
                return Ok((Self { shared: Shared::new(whole, command, Some(disk)) }, Opened::Whole));
            }
            // It is whole by itself, and nothing tells of a later one.
            (Err(_), Loaded::Whole(whole)) if copy.as_ref().is_none_or(|copy| copy.revision <= whole.revision) => {
                write_head(&folder, whole.revision)?;
                return Ok((Self { shared: Shared::new(whole, command, Some(disk)) }, Opened::Whole));
            }
            (Err(reason), Loaded::Whole(_)) => (reason.clone(), copy.as_ref().map(|copy| copy.revision)),
            (Ok(head), Loaded::Damaged(reason)) => (reason, Some(*head)),
            (Err(_), Loaded::Damaged(reason)) => (reason, None),
        };
        may_be_written(&folder)?;
        let aside = set_aside(&database, now)?;
        // Only a copy that is known to be as new as the last durable write may stand in for what was lost.
        let copy = copy.filter(|copy| least.is_some_and(|least| copy.revision >= least));
        let restored = copy.is_some();
        let content = copy.map(|copy| copy.content).unwrap_or_default();
        let writes = content.writes();
        let kv = SledKv::open(&database)?;
        let shared =
            Shared::new(Whole { revision: least.unwrap_or_default(), ..Whole::empty(Box::new(kv)) }, command, Some(disk));
        shared.lock().commit(writes, true)?;
        Ok((Self { shared }, Opened::Damaged { aside, reason, restored }))
    }

    /// A ledger in memory.
    pub fn in_memory() -> Self {
        Self { shared: Shared::new(Whole::empty(Box::new(MemoryKv::default())), "", None) }
    }

    /// The ledger that a [`Kv`] holds, without a state directory around it.
    pub fn on(kv: Box<dyn Kv>) -> Result<Self, StoreError> {
        match check(kv, 0)? {
            Loaded::Whole(whole) => Ok(Self { shared: Shared::new(whole, "", None) }),
            Loaded::Damaged(reason) => Err(KvError::Damaged(reason).into()),
        }
    }

    /// The ledger of one fleet.
    pub fn ledger(&self, fleet: Uuid) -> Ledger {
        Ledger::new(Arc::clone(&self.shared), fleet)
    }

    /// The id made for a set without a Fleet.
    pub fn fleet_id(&self) -> Result<Option<Uuid>, StoreError> {
        Ok(self.shared.lock().content.fleet_id)
    }

    /// Keeps the id made for a set without a Fleet. Durable when it returns.
    pub fn set_fleet_id(&self, id: Uuid) -> Result<(), StoreError> {
        self.shared.lock().commit(vec![Write::FleetId(id)], true)
    }

    /// All of it, as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.shared.lock();
        Snapshot::current(inner.revision, inner.content.clone())
    }

    /// Publishes the copy that readers use while this process holds the ledger. Cheap where nothing changed; whoever works
    /// for long calls it every few seconds.
    pub fn publish(&self) -> Result<(), StoreError> {
        self.shared.lock().publish()
    }

    /// Makes everything durable and publishes it. Ledgers that are still about are of no use afterwards.
    pub fn close(self) -> Result<(), StoreError> {
        self.shared.lock().close()
    }
}

impl Shared {
    fn new(whole: Whole, command: &str, disk: Option<Disk>) -> Arc<Self> {
        let Whole { kv, content, sums, revision } = whole;
        let command = command.to_owned();
        let history =
            disk.as_ref().map_or_else(|| History::InMemory(Vec::new()), |disk| History::at(disk.folder.join(history::FOLDER)));
        let inner = Inner { kv, content, history, untold: false, command, sums, revision, published: None, closed: false, disk };
        Arc::new(Self(Mutex::new(inner)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // `commit` changes memory only after the write below it went well, so a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The last word of a process that didn't close: what fails here is found at the next open.
        let _ = self.lock().close();
    }
}

impl Inner {
    /// Performs the writes as one batch; `durable` waits until it survives a power cut.
    pub(super) fn commit(&mut self, writes: Vec<Write>, durable: bool) -> Result<(), StoreError> {
        if self.closed {
            return Err(StoreError::Closed);
        }
        let revision = self.revision + 1;
        let batch = Batch::new(&writes, revision, &mut self.sums)?;
        if let Err(error) = self.kv.batch(&batch.ops) {
            batch.undo(&mut self.sums);
            return Err(error.into());
        }
        self.revision = revision;
        for write in writes {
            self.content.apply(write);
        }
        if durable { self.make_durable() } else { Ok(()) }
    }

    /// Tells something for the history. Doesn't wait for the disk, and is no reason to do nothing: a history that can't be written is
    /// said once, until it can be.
    pub(super) fn tell(&mut self, fleet: Uuid, news: &[News]) {
        match self.history.tell(fleet, news) {
            Ok(()) => self.untold = false,
            Err(error) => {
                if !std::mem::replace(&mut self.untold, true) {
                    tracing::warn!("the history can't be written, and has a gap from here on: {error}");
                }
            }
        }
    }

    fn make_durable(&self) -> Result<(), StoreError> {
        self.kv.flush()?;
        match &self.disk {
            Some(disk) => write_head(&disk.folder, self.revision),
            None => Ok(()),
        }
    }

    fn publish(&mut self) -> Result<(), StoreError> {
        let Some(disk) = &self.disk else { return Ok(()) };
        if self.published != Some(self.revision) {
            snapshot::write_copy(&disk.folder, self.revision, &self.content)?;
            self.published = Some(self.revision);
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        if self.closed {
            return Ok(());
        }
        self.closed = true;
        self.make_durable()?;
        self.publish()?;
        if let Some(disk) = &self.disk {
            let marker = disk.folder.join(MARKER);
            std::fs::remove_file(&marker).map_err(StoreError::io("failed to remove", &marker))?;
        }
        Ok(())
    }
}

enum Loaded {
    Whole(Whole),
    Damaged(String),
}

/// A store that was found whole.
struct Whole {
    kv: Box<dyn Kv>,
    content: Content,
    sums: Sums,
    revision: u64,
}

impl Whole {
    fn empty(kv: Box<dyn Kv>) -> Self {
        Self { kv, content: Content::default(), sums: Sums::default(), revision: 0 }
    }
}

/// Opens the database and says whether it is whole. An error is one of the world's (no right, no space), not damage.
fn load(database: &Path, head: u64) -> Result<Loaded, StoreError> {
    if head > 0 && !database.exists() {
        return Ok(Loaded::Damaged("its files are gone".to_owned()));
    }
    match SledKv::open(database) {
        Ok(kv) => check(Box::new(kv), head),
        Err(KvError::Damaged(reason)) => Ok(Loaded::Damaged(reason)),
        Err(error) => Err(error.into()),
    }
}

fn check(kv: Box<dyn Kv>, head: u64) -> Result<Loaded, StoreError> {
    let records = match kv.list("") {
        Ok(records) => records,
        Err(KvError::Damaged(reason)) => return Ok(Loaded::Damaged(reason)),
        Err(error) => return Err(error.into()),
    };
    let meta = match records.iter().find(|(key, _)| key == META).map(|(_, value)| serde_json::from_slice::<Meta>(value)) {
        Some(Ok(meta)) => meta,
        Some(Err(error)) => return Ok(Loaded::Damaged(format!("its head can't be read: {error}"))),
        None => Meta { format: FORMAT, revision: 0, sum: Sums::default().hex() },
    };
    if meta.format > FORMAT {
        return Err(StoreError::Format { found: meta.format, known: FORMAT });
    }
    if meta.revision < head {
        return Ok(Loaded::Damaged(format!("it is at revision {}, and {head} was written", meta.revision)));
    }
    let sums = Sums::of(&records);
    if sums.hex() != meta.sum {
        return Ok(Loaded::Damaged("records are missing or altered".to_owned()));
    }
    let content = Content::read(&records)?;
    Ok(Loaded::Whole(Whole { kv, content, sums, revision: meta.revision }))
}

/// What sled takes of a disk at a time, twice.
const ROOM: usize = 1 << 20;

/// Whether there is room where the ledger lies. sled that is opened on a full disk leaves half of what it begins there.
fn has_room(folder: &Path) -> Result<(), StoreError> {
    let found = rustix::fs::statvfs(folder)
        .map_err(std::io::Error::from)
        .map_err(StoreError::io("failed to look at the disk of", folder))?;
    let blocks = if rustix::process::geteuid().is_root() { found.f_bfree } else { found.f_bavail };
    // Some file systems don't tell.
    if found.f_blocks > 0 && blocks.saturating_mul(found.f_frsize) < ROOM as u64 {
        return Err(KvError::Full.into());
    }
    Ok(())
}

/// Whether what sled has to say of its files may be believed: it takes a disk that it can't write to for damage.
fn may_be_written(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join(PROBE);
    let written = write_whole(&path, &vec![0; ROOM], 0o600);
    let removed = std::fs::remove_file(&path);
    written.and(removed).map_err(StoreError::io("failed to write", &path))
}

/// Moves the database away under a name that tells when.
fn set_aside(database: &Path, now: Timestamp) -> Result<Option<PathBuf>, StoreError> {
    if !database.exists() {
        return Ok(None);
    }
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    for number in 0..1000 {
        let suffix = if number == 0 { String::new() } else { format!("-{number}") };
        let aside = database.with_file_name(format!("{DATABASE}.damaged-{time}{suffix}"));
        if !aside.exists() {
            std::fs::rename(database, &aside).map_err(StoreError::io("failed to set aside", database))?;
            return Ok(Some(aside));
        }
    }
    Err(StoreError::io("failed to set aside", database)(std::io::ErrorKind::AlreadyExists.into()))
}

/// The revision that `HEAD` names, 0 where there is none; an error says what is wrong with it.
pub(super) fn read_head(folder: &Path) -> Result<u64, String> {
    match std::fs::read_to_string(folder.join(HEAD)) {
        Ok(text) => {
            let revision =
                text.split(' ').next().and_then(|word| word.parse().ok()).filter(|revision| text == head_text(*revision));
            revision.ok_or_else(|| "its HEAD holds no revision".to_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(format!("its HEAD can't be read: {error}")),
    }
}

fn write_head(folder: &Path, revision: u64) -> Result<(), StoreError> {
    let path = folder.join(HEAD);
    // Its name need not last: an older one is below what is durable, too.
    write_whole(&path, head_text(revision).as_bytes(), 0o600).map_err(StoreError::io("failed to write", &path))
}

/// A revision with its sum.
pub(super) fn head_text(revision: u64) -> String {
    format!("{revision} {}\n", short_sum(&revision.to_string()))
}

/// Whether the last process that had the ledger closed it.
pub(super) fn was_closed(folder: &Path) -> bool {
    !folder.join(MARKER).exists()
}
