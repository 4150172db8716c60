//! What tells that a source has changed. A tick carries no data; what changed is a hint, and whoever gets one reads the tree.
//!
//! For a folder the system's notifications wake a look, and the look decides: nothing is told of a folder that is not at rest, and
//! nothing of one that looks as it did. What is watched follows from the look too, so a folder that comes, goes or is another
//! behind a link is watched as it is now. A pulse finds what no notification tells, such as a folder whose parent was renamed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Options;
use super::settle::{Rest, Writers};
use super::watcher::{Message, Watcher};

/// That a source may have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tick {
    /// What is known to have changed, as paths below the folder; empty where that isn't known.
    pub files: BTreeSet<PathBuf>,
    /// Whether the watch was lost meanwhile, or the folder with it.
    pub lost: bool,
}

impl Tick {
    fn merge(&mut self, other: Self) {
        self.files.extend(other.files);
        self.lost |= other.lost;
    }
}

/// A watch on a source; it ends when it is dropped.
pub struct Watch(Kind);

enum Kind {
    Folder { shared: Arc<Shared>, stop: Sender<Message> },
    Every { next: Instant, interval: Duration },
}

/// Where the watcher leaves its ticks.
#[derive(Default)]
pub(super) struct Shared {
    tick: Mutex<Option<Tick>>,
    ready: Notify,
    polling: Mutex<Option<String>>,
}

impl Shared {
    /// Leaves a tick; one that nobody has taken yet becomes one with it.
    pub(super) fn put(&self, tick: Tick) {
        self.tick.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().merge(tick);
        self.ready.notify_one();
    }

    /// Says why the folder is looked at every so often instead of being watched.
    pub(super) fn polls(&self, why: Option<String>) {
        *self.polling.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

impl Watch {
    /// Watches what a command line names: a folder, or the one that a file lies in. Nothing is read for whoever gets a tick.
    pub async fn on(path: &Path) -> Self {
        let parent = || path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = if path.is_file() { parent() } else { path };
        let Options { quiet, longest, .. } = Options::default();
        Self::folder(folder.to_owned(), Rest { quiet, longest }, Writers::default()).await
    }

    /// Watches a folder.
    pub(super) async fn folder(path: PathBuf, rest: Rest, writers: Writers) -> Self {
        let shared = Arc::new(Shared::default());
        let (stop, messages) = mpsc::channel();
        let (theirs, events) = (Arc::clone(&shared), stop.clone());
        let (armed, ready) = tokio::sync::oneshot::channel();
        // A thread of its own: it waits all its life.
        let started = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            let mut watcher = Watcher::new(path, rest, writers, theirs, events);
            watcher.arm();
            let _ = armed.send(());
            watcher.run(&messages);
        });
        match started {
            Ok(_) => {
                let _ = ready.await;
            }
            Err(error) => {
                tracing::error!(%error, "the folder can't be watched: it is read at each resync alone");
                shared.polls(Some(format!("no thread can be started: {error}")));
            }
        }
        Self(Kind::Folder { shared, stop })
    }

    /// Ticks every `interval`, the first time after one.
    pub(super) fn every(interval: Duration) -> Self {
        Self(Kind::Every { next: Instant::now() + interval, interval })
    }

    /// The next tick. Nothing is lost when this is dropped before it comes.
    pub async fn tick(&mut self) -> Tick {
        match &mut self.0 {
            Kind::Every { next, interval } => {
                tokio::time::sleep_until(*next).await;
                *next = Instant::now() + *interval;
                Tick::default()
            }
            Kind::Folder { shared, .. } => loop {
                if let Some(tick) = shared.tick.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    return tick;
                }
                shared.ready.notified().await;
            },
        }
    }

    /// Why the folder is looked at every two seconds instead of being watched, if it is.
    pub fn polling(&self) -> Option<String> {
        match &self.0 {
            Kind::Folder { shared, .. } => shared.polling.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Kind::Every { .. } => None,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Kind::Folder { stop, .. } = &self.0 {
            // A watcher that has ended needs no word.
            let _ = stop.send(Message::Stop);
        }
    }
}
