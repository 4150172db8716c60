//! The ledger as readers see it: from the published copy where that is current or another process holds the rest.
//!
//! A reader changes nothing, save that it takes stock after a process that was killed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::history::{self, History, Past};
use super::lock::{Holder, Lock};
use super::records::Content;
use super::shared::{FOLDER, Opened, Store, read_head, was_closed};
use super::state::{self, StateDir};
use super::{StoreError, sealed};
use crate::plan::Owned;

const COPY: &str = "ledger.json";

/// The ledger at one revision.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Which one.
    pub revision: u64,
    /// How new that is.
    pub currency: Currency,
    /// How the ledger was found, where it had to be opened.
    pub opened: Opened,
    content: Content,
}

/// How new a snapshot is. Anything but `Current` is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Currency {
    /// The newest there is.
    Current,
    /// What the holder of the ledger published last.
    Held(Holder),
    /// What was published last; the ledger itself can't be opened, for this reason.
    Old(String),
}

impl Snapshot {
    /// Reads the ledger of the state directory at `path`, which need not exist: then there is nothing in it.
    pub fn read(path: &Path, command: &str, now: Timestamp) -> Result<Self, StoreError> {
        let folder = path.join(FOLDER);
        match path.try_exists() {
            Ok(true) => state::check(path)?,
            Ok(false) => return Ok(Self::current(0, Content::default())),
            Err(error) => return Err(StoreError::io("failed to find", path)(error)),
        }
        if let Some(holder) = Lock::holder(path) {
            return Ok(Self::held(&folder, holder));
        }
        let head = read_head(&folder);
        if !folder.exists() {
            return Ok(Self::current(0, Content::default()));
        }
        let copy = match read_copy(&folder) {
            Some(copy) if was_closed(&folder) && head == Ok(copy.revision) => {
                return Ok(Self::current(copy.revision, copy.content));
            }
            copy => copy,
        };
        let opened = StateDir::open(path).and_then(|state| Store::open(&state, command, now, Duration::ZERO));
        match opened {
            Ok((store, opened)) => {
                let snapshot = Self { opened, ..store.snapshot() };
                store.close()?;
                Ok(snapshot)
            }
            Err(StoreError::Held { holder, .. }) => Ok(Self::held(&folder, holder)),
            Err(error) => match copy {
                Some(copy) => {
                    let currency = Currency::Old(error.to_string());
                    Ok(Self { currency, ..Self::current(copy.revision, copy.content) })
                }
                None => Err(error),
            },
        }
    }

    pub(super) fn current(revision: u64, content: Content) -> Self {
        Self { revision, currency: Currency::Current, opened: Opened::Whole, content }
    }

    fn held(folder: &Path, holder: Holder) -> Self {
        // The holder of a ledger that was never closed has published nothing yet.
        let (revision, content) = read_copy(folder).map(|copy| (copy.revision, copy.content)).unwrap_or_default();
        Self { currency: Currency::Held(holder), ..Self::current(revision, content) }
    }

    /// The ledger of which `text` is the published copy; none where the text is not whole.
    pub fn from_copy(text: &str) -> Option<Self> {
        sealed::parse(text).map(|(revision, content)| Self::current(revision, content))
    }

    /// The text of its published copy.
    pub fn to_copy(&self) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        sealed::stream(&mut text, self.revision, &self.content)?;
        Ok(text)
    }

    /// The fleet's inventory.
    pub fn owned(&self, fleet: Uuid) -> Owned {
        self.content.owned(fleet)
    }

    /// How the fleet's objects were found by a daemon.
    pub fn statuses(&self, fleet: Uuid) -> std::collections::BTreeMap<crate::name::ObjectRef, Arc<super::ObjectStatus>> {
        self.content.statuses.get(&fleet).cloned().unwrap_or_default()
    }

    /// The fleet's history in the state directory at `path`, whoever holds the ledger.
    pub fn history(path: &Path, fleet: Uuid) -> Past {
        History::at(path.join(FOLDER).join(history::FOLDER)).of(fleet, usize::MAX, &|_| true)
    }

    /// The fleet, where the ledger knows of one only.
    pub fn only_fleet(&self) -> Option<Uuid> {
        let mut fleets = self.content.fleets.iter().filter(|(_, owned)| !owned.entries.is_empty()).map(|(fleet, _)| *fleet);
        let first = fleets.next();
        if fleets.next().is_some() { None } else { first.or(self.content.fleet_id) }
    }

    /// The id made for a set without a Fleet.
    pub fn fleet_id(&self) -> Option<Uuid> {
        self.content.fleet_id
    }
}

/// A published copy that was found whole.
pub(super) struct Copy {
    pub(super) revision: u64,
    pub(super) content: Content,
}

pub(super) fn write_copy(folder: &Path, revision: u64, content: &Content) -> Result<(), StoreError> {
    sealed::write(&folder.join(COPY), revision, content)
}

/// The copy in the ledger's folder, if it is there and whole.
pub(super) fn read_copy(folder: &Path) -> Option<Copy> {
    sealed::read(&folder.join(COPY)).map(|(revision, content)| Copy { revision, content })
}
