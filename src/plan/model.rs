//! Plan: what would be done, why, and what it disturbs.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::{Action, ActionId};
use crate::name::{Kind, Name, ObjectRef};

/// What would be done. An empty plan has no actions and nothing deferred; notes don't count.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[must_use = "a plan that nobody reads changes nothing"]
pub struct Plan {
    /// What changes, an object a row, in the order of doing.
    pub changes: Vec<Change>,
    /// The effects, each after those that it needs.
    pub actions: Vec<Action>,
    /// What can't be planned before something else is done.
    pub deferred: Vec<Deferred>,
    /// What can't or mustn't be done.
    pub refusals: Vec<Refusal>,
    /// What is no change.
    pub notes: Vec<Note>,
    /// Nodes out of reach, with what was said.
    pub unreachable: Vec<Unreachable>,
    /// Entries of objects that are as wanted, and that the ledger doesn't know so.
    #[serde(skip)]
    pub settled: Vec<super::Entry>,
    /// Those of the actions that prune.
    #[serde(skip)]
    pub pruning: std::collections::BTreeSet<ActionId>,
    /// The objects that were judged, where not all of them were: of any other one a plan says nothing, not even that it is as wanted.
    #[serde(skip)]
    pub judged: Option<BTreeSet<ObjectRef>>,
    /// Hash of all that this was computed from.
    pub fingerprint: String,
}

impl Plan {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.actions.is_empty() && self.deferred.is_empty()
    }

    /// Whether what is to be done for an object was looked for.
    pub fn has_judged(&self, object: &ObjectRef) -> bool {
        self.judged.as_ref().is_none_or(|judged| judged.contains(object))
    }

    /// Whether nothing is done on a node, since it is another machine than it was or than it should be.
    pub fn leaves_alone(&self, node: &Name) -> bool {
        let of = |object: &ObjectRef| object.kind == Kind::Node && object.name == *node;
        self.refusals.iter().any(|refusal| refusal.kind == RefusalKind::Machine && of(&refusal.object))
    }
}

/// What changes for one object.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The object.
    pub object: ObjectRef,
    /// Where.
    pub node: Option<Name>,
    /// In one word.
    pub verb: Verb,
    /// Why; for people, never read by an executor.
    pub reason: String,
    /// What is disturbed.
    pub effect: Effect,
    /// What becomes of data.
    pub data: Data,
    /// The fields, with what they were and will be.
    pub fields: Vec<FieldChange>,
    /// What fields disturb, by path, where it is not the same for all or where it waits.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub effects: BTreeMap<String, Effect>,
    /// Its actions.
    pub actions: Vec<ActionId>,
    /// The object that implies it.
    pub implied_by: Option<ObjectRef>,
}

/// What happens to an object, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each variant is the word itself")]
pub enum Verb {
    Create,
    /// It was there, and becomes jvp's as it is.
    Adopt,
    /// It was jvp's under another name.
    Rename,
    Update,
    Start,
    Stop,
    Restart,
    Delete,
    /// It stays in libvirt, and is no longer kept true.
    Release,
    Fetch,
    Generate,
    Refresh,
}

impl Verb {
    /// The glyph of a plan.
    pub fn glyph(self) -> &'static str {
        match self {
            Self::Create | Self::Fetch | Self::Generate => "+",
            Self::Adopt | Self::Rename | Self::Update | Self::Start | Self::Stop | Self::Release | Self::Refresh => "~",
            Self::Restart => "-/+",
            Self::Delete => "-",
        }
    }

    /// The word, as in "will be …".
    pub fn participle(self) -> &'static str {
        match self {
            Self::Create => "created",
            Self::Adopt => "adopted",
            Self::Rename => "renamed",
            Self::Update => "updated",
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Restart => "restarted",
            Self::Delete => "deleted",
            Self::Release => "released (kept as it is)",
            Self::Fetch => "fetched",
            Self::Generate => "generated",
            Self::Refresh => "looked at again",
        }
    }
}

/// What a change disturbs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// Nothing.
    None,
    /// A running guest sees it at once.
    Live,
    /// It takes effect with the next QEMU process.
    NextStart,
    /// A guest is started.
    Start,
    /// A guest is stopped.
    Stop,
    /// A guest is stopped and started.
    Restart,
    /// These guests lose their network.
    Disconnect(Vec<String>),
    /// It is deleted and made anew.
    Recreate,
}

impl Effect {
    /// As printed in a plan; empty for none.
    pub fn words(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Live => "live".into(),
            Self::NextStart => "next start".into(),
            Self::Start => "start".into(),
            Self::Stop => "stop".into(),
            Self::Restart => "restart".into(),
            Self::Disconnect(guests) => format!("disconnects {}", guests.join(", ")),
            Self::Recreate => "recreate".into(),
        }
    }
}

/// What becomes of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// It is kept.
    Kept,
    /// It is lost.
    Lost,
}

/// One field of a change.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Its path in the spec.
    pub path: String,
    /// What it was; none where there was nothing.
    pub old: Option<Shown>,
    /// What it will be; none where it goes.
    pub new: Option<Shown>,
}

/// A value as a plan shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Shown {
    /// Known.
    Value(String),
    /// Known once that was done.
    After(String),
    /// libvirt will choose it.
    Libvirt,
    /// A secret.
    Sensitive,
}

/// An object whose state can't be read yet.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deferred {
    /// The object.
    pub object: ObjectRef,
    /// Where.
    pub node: Option<Name>,
    /// What it waits for, as a clause: "once StoragePool/default@a runs".
    pub until: String,
    /// What it is expected to come to.
    pub expected: Verb,
    /// What it waits for.
    pub awaits: BTreeSet<ObjectRef>,
    /// The fields that are expected.
    pub fields: Vec<FieldChange>,
}

/// Something that can't or mustn't be done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The object.
    pub object: ObjectRef,
    /// Which of the exit codes it means.
    pub kind: RefusalKind,
    /// What and why, a sentence without the object's name.
    pub message: String,
    /// What to do.
    pub help: Vec<String>,
    /// Where the cause stands in the manifests.
    pub origin: Option<String>,
}

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The manifests ask for what can't be (exit 3).
    Invalid,
    /// A guard (exit 6).
    Guard,
    /// A node that must be asked first is out of reach (exit 4).
    Unreachable,
    /// A node is not the machine that it was, or is another Node's too: nothing is done there (exit 6).
    Machine,
}

impl RefusalKind {
    /// Whether nothing at all is done because of it; else what has nothing to do with that node is.
    pub fn stops_all(self) -> bool {
        matches!(self, Self::Invalid | Self::Guard)
    }
}

/// What is no change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// The object.
    pub object: ObjectRef,
    /// The condition's name, such as `RestartRequired`.
    pub condition: String,
    /// A sentence.
    pub message: String,
}

/// A node out of reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unreachable {
    /// The Node.
    pub node: Name,
    /// What was said.
    pub message: String,
    /// The objects that nothing is known of because of it.
    pub objects: Vec<ObjectRef>,
}
