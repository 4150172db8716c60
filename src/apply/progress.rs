//! What a run tells while it goes on. Plain events; whoever shows them is in `cli/`.

use std::sync::Arc;
use std::time::Duration;

use crate::name::ObjectRef;
use crate::plan::ActionId;

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An action is to be done, unless something that it needs fails.
    Planned {
        /// The action.
        action: ActionId,
        /// Its object.
        object: ObjectRef,
        /// What is to be done, a short word such as `domain-start`.
        op: &'static str,
    },
    /// An action began.
    Started {
        /// The action.
        action: ActionId,
        /// Its object.
        object: ObjectRef,
        /// What is done, a short word such as `domain-start`.
        op: &'static str,
    },
    /// A transfer went on.
    Bytes {
        /// The action.
        action: ActionId,
        /// Bytes that went over.
        done: u64,
        /// Bytes in all; 0 where nobody knows.
        total: u64,
    },
    /// An action ended.
    Finished {
        /// The action.
        action: ActionId,
        /// Its object.
        object: ObjectRef,
        /// How.
        ended: Ended,
        /// How long it took.
        elapsed: Duration,
    },
    /// An action was not begun, since something that it needs failed.
    Skipped {
        /// The action.
        action: ActionId,
        /// Its object.
        object: ObjectRef,
    },
}

/// How an action ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It is done and verified.
    Done,
    /// It failed, with why.
    Failed(String),
}

/// Where events go.
#[derive(Clone)]
pub struct Sink(Arc<dyn Fn(&Event) + Send + Sync>);

impl Sink {
    /// A sink that hands every event to `show`.
    pub fn new(show: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(show))
    }

    /// A sink that nobody listens to.
    pub fn none() -> Self {
        Self::new(|_| {})
    }

    /// Tells an event.
    pub fn send(&self, event: &Event) {
        (self.0)(event);
    }
}
