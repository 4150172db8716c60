//! What the person who plans has said: mode, targets and consents.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::name::{ObjectRef, Uid};

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
    /// Words given beforehand.
    pub consents: Consents,
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
    /// Start, stop or restart VMs by hand.
    Power {
        /// The VMs.
        objects: BTreeSet<ObjectRef>,
        /// What is to happen to them.
        what: PowerAct,
    },
}

/// What `jvp vm` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerAct {
    /// Start those that are off.
    Start,
    /// Stop those that run.
    Stop,
    /// Stop, then start.
    Restart,
}

/// Whether a word was given for an object, which may be named without the node that it stands on.
pub(super) fn given(words: &BTreeSet<ObjectRef>, object: &ObjectRef) -> bool {
    words.contains(object) || words.contains(&ObjectRef { node: None, ..object.clone() })
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
    /// Objects that another state directory wrote last may be changed.
    pub take_over: bool,
    /// Objects of this fleet are taken over.
    pub take_from: BTreeSet<Uuid>,
}
