//! The journal for people: what was done to which object, when, by which run, and how it ended. Bounded, and read by nobody who
//! decides anything.
//!
//! An event is written together with its intent, as one whose end isn't known, and again with its end. So what a kill left is there,
//! and says that nobody knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::records::Write;
use super::{StoreError, sealed};
use crate::name::{Name, ObjectRef};
use crate::plan::Intent;

/// So many events of one object are kept.
pub(super) const PER_OBJECT: usize = 1000;
/// So many are kept of a fleet's objects together.
pub(super) const IN_ALL: usize = 32_768;

const FILE: &str = "history.json";

/// One thing that was done, or was to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// That of its intent; later ones are greater.
    pub id: String,
    /// The run that did it.
    pub run: String,
    /// The command of that run.
    pub command: String,
    /// The object.
    pub object: ObjectRef,
    /// The action, a short word such as `volume-create`.
    pub op: String,
    /// Where.
    pub node: Option<Name>,
    /// When it began, RFC 3339.
    pub at: String,
    /// When its end was known.
    #[serde(default)]
    pub ended: Option<String>,
    /// How it ended.
    pub outcome: EventOutcome,
    /// Why it ended so, or what it was for.
    #[serde(default)]
    pub why: Option<String>,
    /// What made somebody look, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The revision of the manifests that it was done by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// What something was done for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// What made somebody look, in one word.
    pub cause: Option<String>,
    /// The revision of the manifests.
    pub revision: Option<String>,
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventOutcome {
    /// It was done, and reading back showed it.
    Done,
    /// It was not done.
    Failed,
    /// It was intended and never begun.
    NotBegun,
    /// Nobody knows: the answer or the run was lost. The next run decided it by looking.
    Unknown,
}

impl EventOutcome {
    /// The words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::NotBegun => "not begun",
            Self::Unknown => "unknown",
        }
    }
}

impl Event {
    /// Puts events into the order in which they began.
    pub fn sort(events: &mut [Self]) {
        events.sort_by(|a, b| (&a.at, &a.id).cmp(&(&b.at, &b.id)));
    }

    /// The event of an intent whose end isn't known yet.
    pub fn of(intent: &Intent, command: &str, context: &Context) -> Self {
        Self {
            id: intent.id.clone(),
            run: intent.run.clone(),
            command: command.to_owned(),
            object: intent.object.clone(),
            op: intent.op.clone(),
            node: intent.node.clone(),
            at: intent.at.clone(),
            ended: None,
            outcome: EventOutcome::Unknown,
            why: None,
            cause: context.cause.clone(),
            revision: context.revision.clone(),
        }
    }
}

/// The events of all fleets.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    fleets: BTreeMap<Uuid, Events>,
}

#[derive(Debug, Clone, Default)]
struct Events {
    by_id: BTreeMap<String, Event>,
    by_object: BTreeMap<ObjectRef, BTreeSet<String>>,
}

impl History {
    /// An event of a fleet.
    pub(super) fn get(&self, fleet: Uuid, id: &str) -> Option<&Event> {
        self.fleets.get(&fleet)?.by_id.get(id)
    }

    /// The events of a fleet, the oldest first.
    pub(super) fn of(&self, fleet: Uuid) -> impl Iterator<Item = &Event> {
        self.fleets.get(&fleet).into_iter().flat_map(|events| events.by_id.values())
    }

    /// As it is after a write.
    pub(super) fn apply(&mut self, write: &Write) {
        match write {
            Write::Event(fleet, event) => {
                let events = self.fleets.entry(*fleet).or_default();
                events.by_object.entry(event.object.clone()).or_default().insert(event.id.clone());
                events.by_id.insert(event.id.clone(), (**event).clone());
            }
            Write::NoEvent(fleet, id) => {
                let Some(events) = self.fleets.get_mut(fleet) else { return };
                let Some(gone) = events.by_id.remove(id) else { return };
                if let Some(ids) = events.by_object.get_mut(&gone.object) {
                    ids.remove(id);
                    if ids.is_empty() {
                        events.by_object.remove(&gone.object);
                    }
                }
            }
            _ => {}
        }
    }

    /// What must go so that the bounds hold after these writes: the oldest.
    pub(super) fn evictions(&self, writes: &[Write]) -> Vec<Write> {
        let mut new: BTreeMap<Uuid, BTreeMap<&ObjectRef, usize>> = BTreeMap::new();
        for write in writes {
            if let Write::Event(fleet, event) = write
                && self.get(*fleet, &event.id).is_none()
            {
                *new.entry(*fleet).or_default().entry(&event.object).or_default() += 1;
            }
        }
        let mut gone = Vec::new();
        for (fleet, objects) in new {
            let Some(events) = self.fleets.get(&fleet) else { continue };
            let mut ids: BTreeSet<&String> = BTreeSet::new();
            for (object, more) in &objects {
                let Some(own) = events.by_object.get(object) else { continue };
                ids.extend(own.iter().take((own.len() + more).saturating_sub(PER_OBJECT)));
            }
            let all = events.by_id.len() - ids.len() + objects.values().sum::<usize>();
            let oldest: Vec<&String> =
                events.by_id.keys().filter(|id| !ids.contains(id)).take(all.saturating_sub(IN_ALL)).collect();
            ids.extend(oldest);
            gone.extend(ids.into_iter().map(|id| Write::NoEvent(fleet, id.clone())));
        }
        gone
    }

    /// Every record of it.
    pub(super) fn writes(&self) -> Vec<Write> {
        let of = |(fleet, events): (&Uuid, &Events)| -> Vec<Write> {
            events.by_id.values().map(|event| Write::Event(*fleet, Box::new(event.clone()))).collect()
        };
        self.fleets.iter().flat_map(of).collect()
    }

    /// Writes the copy that readers use.
    pub(super) fn publish(&self, folder: &Path, revision: u64) -> Result<(), StoreError> {
        let all: BTreeMap<Uuid, Vec<&Event>> =
            self.fleets.iter().map(|(fleet, events)| (*fleet, events.by_id.values().collect())).collect();
        sealed::write(&folder.join(FILE), revision, &all)
    }

    /// The copy in the ledger's folder. One that is gone or not whole is none: it holds nothing that anything depends on.
    pub(super) fn published(folder: &Path) -> Self {
        let all: BTreeMap<Uuid, Vec<Event>> = sealed::read(&folder.join(FILE)).map(|(_, all)| all).unwrap_or_default();
        let mut history = Self::default();
        for (fleet, events) in all {
            for event in events {
                history.apply(&Write::Event(fleet, Box::new(event)));
            }
        }
        history
    }
}
