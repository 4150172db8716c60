//! What goes wrong on purpose, and a log of what was asked.
//!
//! A fault says *when* (which acts, or which call at all) and *how*. Nothing here is random: the same calls meet the same faults.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use crate::host::{ErrorKind, HostError};
use crate::plan::Op;

use super::error;
use super::state::{State, object};

/// Which calls a fault meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// The n-th act from now on, counted from one.
    Nth(u64),
    /// The n-th call from now on, reads and acts, counted from one.
    Call(u64),
    /// Acts with this word, such as `domain-start`, on any object.
    Op(String),
    /// Acts with this word on the object of this name.
    On(String, String),
    /// Any act.
    Any,
}

/// What happens.
#[derive(Clone)]
pub enum How {
    /// It fails, and has no effect.
    Fail(HostError),
    /// It takes effect, and nobody says so: [`ErrorKind::Unknown`].
    NoAnswer,
    /// It has no effect, and nobody says so.
    Lost,
    /// Nobody answers, and it takes effect right before the n-th read from then on; 0: when `FakeHost::settle` is called.
    Late(u32),
    /// Somebody else changes something right before it; then it is performed.
    Change(Arc<dyn Fn(&mut State) + Send + Sync>),
    /// It waits until it is let go, and is performed then.
    Hang(Gate),
    /// It is performed, and the answer waits.
    SlowAnswer(Gate),
    /// The whole node hangs from here on, right before it: no call is answered before the node is let go.
    Freeze(Gate),
    /// The node is out of reach from here on, right before it.
    Away,
    /// It takes effect, nobody says so, and the node is out of reach from then on.
    AwayAfter,
}

impl How {
    /// An error that goes away: what libvirt says of a lock.
    pub fn transient() -> Self {
        Self::Fail(error::libvirt(ErrorKind::Transient, 68, "timed out during operation: cannot acquire state change lock"))
    }

    /// An error that doesn't.
    pub fn failed(message: &str) -> Self {
        Self::Fail(error::libvirt(ErrorKind::Failed, 1, message))
    }

    /// Somebody else changes something right before it.
    pub fn change(change: impl Fn(&mut State) + Send + Sync + 'static) -> Self {
        Self::Change(Arc::new(change))
    }
}

impl std::fmt::Debug for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fail(error) => f.debug_tuple("Fail").field(error).finish(),
            Self::NoAnswer => f.write_str("NoAnswer"),
            Self::Lost => f.write_str("Lost"),
            Self::Late(reads) => f.debug_tuple("Late").field(reads).finish(),
            Self::Change(_) => f.write_str("Change"),
            Self::Hang(_) => f.write_str("Hang"),
            Self::SlowAnswer(_) => f.write_str("SlowAnswer"),
            Self::Freeze(_) => f.write_str("Freeze"),
            Self::Away => f.write_str("Away"),
            Self::AwayAfter => f.write_str("AwayAfter"),
        }
    }
}

/// Holds a call until it is opened.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Default for Gate {
    /// An open gate.
    fn default() -> Self {
        let gate = Self::new();
        gate.open();
        gate
    }
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets go whoever waits, and whoever comes.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub(super) async fn wait(&self) {
        let mut receiver = self.0.subscribe();
        // The sender is held by `self`, so this can't fail.
        drop(receiver.wait_for(|open| *open).await);
    }
}

/// A call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The node.
    pub node: String,
    /// The act's word, or `read`.
    pub word: String,
    /// The object's name; for a read how much of the node: `everything`, `host`, `objects`. Empty for deeds on none.
    pub object: String,
    /// How it ended; none while it goes on.
    pub outcome: Option<Result<(), ErrorKind>>,
}

/// A fault and how often it is still to happen.
#[derive(Debug, Clone)]
struct Fault {
    when: When,
    how: How,
    times: u32,
}

/// The faults of a node.
#[derive(Debug, Default)]
pub(super) struct Faults {
    planned: Vec<Fault>,
    late: VecDeque<(u32, Op)>,
    pub(super) unreachable: bool,
    /// What all calls wait for.
    pub(super) frozen: Gate,
}

impl Faults {
    pub(super) fn add(&mut self, when: When, how: How, times: u32) {
        self.planned.push(Fault { when, how, times });
    }

    pub(super) fn clear(&mut self) {
        self.planned.clear();
    }

    /// The fault that an act meets, or a read, which is none.
    pub(super) fn meet(&mut self, op: Option<&Op>) -> Option<How> {
        let (word, name) = (op.map(Op::word), op.map(object));
        let mut met = None;
        for fault in &mut self.planned {
            let hit = match &mut fault.when {
                When::Nth(left) if op.is_some() => {
                    *left = left.saturating_sub(1);
                    *left == 0
                }
                When::Call(left) => {
                    *left = left.saturating_sub(1);
                    *left == 0
                }
                When::Nth(_) => false,
                When::Op(wanted) => word == Some(wanted.as_str()),
                When::On(wanted, object) => word == Some(wanted.as_str()) && name == Some(object.as_str()),
                When::Any => op.is_some(),
            };
            if hit && met.is_none() && fault.times > 0 {
                fault.times -= 1;
                met = Some(fault.how.clone());
            }
        }
        // One that counts is over once its turn has come.
        self.planned.retain(|fault| fault.times > 0 && !matches!(fault.when, When::Nth(0) | When::Call(0)));
        met
    }

    pub(super) fn later(&mut self, reads: u32, op: Op) {
        self.late.push_back((reads, op));
    }

    /// The acts that take effect before this read.
    pub(super) fn due(&mut self) -> Vec<Op> {
        let mut due = Vec::new();
        for (reads, op) in std::mem::take(&mut self.late) {
            match reads {
                0 => self.late.push_back((0, op)),
                1 => due.push(op),
                more => self.late.push_back((more - 1, op)),
            }
        }
        due
    }

    /// All acts that are still to take effect.
    pub(super) fn settle(&mut self) -> Vec<Op> {
        std::mem::take(&mut self.late).into_iter().map(|(_, op)| op).collect()
    }
}
