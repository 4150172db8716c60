//! What the person who plans has said: mode, targets and consents.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Owned;
use crate::name::{Name, ObjectRef, Uid};
use crate::resolve::Desired;

/// What is asked of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The fleet whose objects are ours.
    pub fleet: Uid,
    /// Who writes (DECISIONS B).
    pub writer: Uuid,
    /// What is to be done.
    pub mode: Mode,
    /// Only these objects and what they need; none means all.
    pub targets: Option<BTreeSet<ObjectRef>>,
    /// The manifests are known not to be the whole set.
    pub partial: bool,
    /// Objects that are taken over as if their manifests said so. Where there are any, nothing else is done.
    #[serde(default)]
    pub adopt: BTreeSet<ObjectRef>,
    /// What the inventory has and the manifests no longer do is taken down.
    #[serde(default)]
    pub prune: bool,
    /// Words given beforehand.
    pub consents: Consents,
    /// What time it is. Where nobody says so, no window is open.
    #[serde(skip)]
    pub now: Option<jiff::Timestamp>,
    /// VMs whose guests rebooted by themselves just now.
    #[serde(skip)]
    pub rebooted: BTreeSet<ObjectRef>,
}

impl Policy {
    /// The nodes that a plan is about; none where that is all of them.
    pub fn nodes(&self, desired: &Desired, owned: &Owned) -> Option<BTreeSet<Name>> {
        let objects = match (&self.mode, &self.targets) {
            (Mode::Apply, None) if self.adopt.is_empty() => return None,
            (Mode::Apply, None) => self.adopt.clone(),
            (Mode::Apply, Some(targets)) => super::closure(desired, targets),
            (Mode::Delete { objects, .. } | Mode::Power { objects, .. }, _) => objects.clone(),
        };
        let wanted = objects.iter().filter_map(|object| desired.object(object)?.node.clone());
        let known = objects.iter().filter_map(|object| owned.entries.get(object)?.node.clone());
        Some(wanted.chain(known).collect())
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Make it so.
    Apply,
    /// Take these down.
    Delete {
        /// What is to go.
        objects: BTreeSet<ObjectRef>,
        /// Volumes and templates lose their data instead of being kept.
        with_data: bool,
    },
    /// Start, stop or restart VMs, networks and pools by hand.
    Power {
        /// Which.
        objects: BTreeSet<ObjectRef>,
        /// What is to happen to them.
        what: PowerAct,
    },
}

/// What `jvp vm`, `jvp network` and `jvp pool` do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerAct {
    /// Start those that are off.
    Start,
    /// Stop those that run.
    Stop,
    /// Stop, then start.
    Restart,
    /// Have libvirt look at a pool again.
    Refresh,
}

/// Whether a word was given for an object, which may be named without the node that it stands on.
pub(super) fn given(words: &BTreeSet<ObjectRef>, object: &ObjectRef) -> bool {
    words.contains(object) || words.contains(&ObjectRef { node: None, ..object.clone() })
}

impl Policy {
    /// Whether a plan may drop saved states before all else.
    pub(super) fn drops_states(&self) -> bool {
        self.mode == Mode::Apply && self.adopt.is_empty() && !self.consents.discard_saved_state.is_empty()
    }
}

/// Words given beforehand, by object. `-y` implies none of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Consents {
    /// Data of these may be lost.
    pub allow_data_loss: BTreeSet<ObjectRef>,
    /// These may be restarted for a change that needs it.
    pub allow_restart: BTreeSet<ObjectRef>,
    /// Guests of these networks may be cut off.
    pub allow_disconnect: BTreeSet<ObjectRef>,
    /// The power of these may be cut.
    pub force_stop: BTreeSet<ObjectRef>,
    /// The managed save images of these may be dropped.
    pub discard_saved_state: BTreeSet<ObjectRef>,
    /// These are taken for unused although what uses them can't be seen.
    pub assume_unused: BTreeSet<ObjectRef>,
    /// Objects that another state directory wrote last may be changed.
    pub take_over: bool,
    /// Objects of this fleet are taken over.
    pub take_from: BTreeSet<Uuid>,
    /// A new object may stand in the place of another one that looks like it.
    pub replace: BTreeSet<ObjectRef>,
    /// How many objects a prune may delete.
    pub max_deletes: MaxDeletes,
    /// A prune may take everything down.
    pub allow_empty_prune: bool,
}

/// How many objects a prune may delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MaxDeletes {
    /// So many.
    Count(usize),
    /// So many of a hundred of the inventory's, but one at least.
    Percent(u8),
}

impl Default for MaxDeletes {
    fn default() -> Self {
        Self::Percent(10)
    }
}

impl MaxDeletes {
    /// The number that it means for an inventory of so many objects.
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (all * usize::from(percent) / 100).max(1),
        }
    }
}

impl std::fmt::Display for MaxDeletes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl std::str::FromStr for MaxDeletes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.strip_suffix('%').and_then(|number| number.parse().ok()).filter(|percent| *percent <= 100);
        percent
            .map(Self::Percent)
            .or_else(|| text.parse().ok().map(Self::Count))
            .ok_or_else(|| format!("`{text}` is neither a number such as 5 nor a share such as 20%"))
    }
}
