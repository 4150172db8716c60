//! How a daemon is to behave.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::plan::MaxDeletes;

/// What was asked of a daemon.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the manifests come from, as it was said; a new source's first run deletes nothing.
    pub source: String,
    /// How often everything is looked at, whatever libvirt told; moved by up to a tenth.
    pub resync: Duration,
    /// Whether what others changed is changed back; else it is only told.
    pub heal: bool,
    /// Whether what the inventory has and the manifests no longer do is taken down.
    pub prune: bool,
    /// How many objects one prune may take down.
    pub max_deletes: MaxDeletes,
    /// Whether a prune may take down VMs that run.
    pub prune_running: bool,
    /// Nothing is done; what would be done is told.
    pub dry_run: bool,
    /// Steps in flight on one node within a run.
    pub parallelism: usize,
    /// End when nothing is left that can be done.
    pub once: bool,
    /// What the clock on the wall says.
    pub clock: Clock,
}

/// A clock on the wall.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// One that says what a function does.
    pub fn new(says: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(says))
    }

    /// What it says.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            source: ".".into(),
            resync: Duration::from_mins(1),
            heal: true,
            prune: true,
            max_deletes: MaxDeletes::default(),
            prune_running: false,
            dry_run: false,
            parallelism: crate::apply::DEFAULT_PARALLELISM,
            once: false,
            clock: Clock::new(Timestamp::now),
        }
    }
}
