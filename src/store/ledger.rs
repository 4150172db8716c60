//! One fleet's ledger: its inventory and its journal.
//!
//! Only intents wait for the disk. All that follows an effect is written without waiting: after a kill, an intent without a
//! completion is decided by observing, never by repeating.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::StoreError;
use super::history::{Context, End, Event, EventOutcome, History, News, Past};
use super::records::Write;
use super::shared::Shared;
use super::status::ObjectStatus;
use crate::name::{Name, ObjectRef};
use crate::plan::{Entry, Intent, NodeRecord, Owned, Suspension};

/// The ledger of one fleet.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
    fleet: Uuid,
    context: Context,
}

/// A change of the inventory.
#[derive(Debug, Clone)]
pub enum Change {
    /// The entry begins or is replaced.
    Put(Box<Entry>),
    /// The object leaves the inventory.
    Remove(ObjectRef),
}

/// How an intended effect ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It happened, and reading back showed it.
    Verified,
    /// It did not happen.
    Failed,
    /// It was never begun.
    NotBegun,
    /// Its answer was lost, and a later look showed that nothing is left to be done about it.
    Settled,
    /// Nobody knows: its intent stays open, for the next run to decide.
    Unknown,
}

/// The end of an intent, as the history has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// How it ended.
    pub outcome: Outcome,
    /// When, RFC 3339.
    pub at: String,
    /// Why, where it failed.
    pub why: Option<String>,
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, at: String::new(), why: None }
    }
}

impl Ledger {
    pub(super) fn new(shared: Arc<Shared>, fleet: Uuid) -> Self {
        Self { shared, fleet, context: Context::default() }
    }

    /// The same ledger, whose history says what it was written for.
    #[must_use]
    pub fn within(&self, context: Context) -> Self {
        Self { context, ..self.clone() }
    }

    /// What its history says that things are done for.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Whose it is.
    pub fn fleet(&self) -> Uuid {
        self.fleet
    }

    /// All that the fleet owns.
    pub fn owned(&self) -> Owned {
        self.shared.lock().content.owned(self.fleet)
    }

    /// The inventory.
    pub fn entries(&self) -> BTreeMap<ObjectRef, Arc<Entry>> {
        self.owned().entries
    }

    /// An object of the inventory.
    pub fn entry(&self, object: &ObjectRef) -> Option<Entry> {
        self.read(|owned| owned.entry(object).cloned())
    }

    /// Puts an entry, in place of the object's older one.
    pub fn put_entry(&self, entry: Entry) -> Result<(), StoreError> {
        self.commit(vec![Write::Entry(self.fleet, Arc::new(entry))], false)
    }

    /// Takes an object out of the inventory.
    pub fn remove_entry(&self, object: &ObjectRef) -> Result<(), StoreError> {
        self.commit(vec![Write::NoEntry(self.fleet, object.clone())], false)
    }

    /// A Node as it was at first contact.
    pub fn node(&self, name: &Name) -> Option<NodeRecord> {
        self.read(|owned| owned.nodes.get(name).cloned())
    }

    /// Records a Node. Durable when it returns: which host a name stands for is not to be asked again.
    pub fn put_node(&self, node: NodeRecord) -> Result<(), StoreError> {
        self.commit(vec![Write::Node(self.fleet, node)], true)
    }

    /// Drops a Node and what stands on it from the inventory, with its open intents, and names what was dropped. Touches nothing
    /// on the node. Durable when it returns.
    pub fn forget_node(&self, name: &Name) -> Result<Vec<ObjectRef>, StoreError> {
        let owned = self.owned();
        let stands_there = |node: &Option<Name>, object: &ObjectRef| [node, &object.node].contains(&&Some(name.clone()));
        let dropped: Vec<ObjectRef> =
            owned.entries.values().filter(|entry| stands_there(&entry.node, &entry.object)).map(|e| e.object.clone()).collect();
        let mut writes: Vec<Write> = dropped.iter().map(|object| Write::NoEntry(self.fleet, object.clone())).collect();
        let suspended = owned.suspended.keys().filter(|object| dropped.contains(object));
        writes.extend(suspended.map(|object| Write::NoSuspension(self.fleet, object.clone())));
        let intents = owned.intents.iter().filter(|intent| stands_there(&intent.node, &intent.object));
        writes.extend(intents.map(|intent| Write::NoIntent(self.fleet, intent.id.clone())));
        writes.push(Write::NoNode(self.fleet, name.clone()));
        self.commit(writes, true)?;
        Ok(dropped)
    }

    /// Writes intents, together with what they begin of entries, all by one flush. Once it returns, and not before, their effects may
    /// begin.
    pub fn begin(&self, intents: Vec<Intent>, begun: Vec<Entry>) -> Result<(), StoreError> {
        if intents.is_empty() {
            return Ok(());
        }
        let mut inner = self.shared.lock();
        let event = |intent| News::Event(Box::new(Event::of(intent, &inner.command, &self.context)));
        let events: Vec<News> = intents.iter().map(event).collect();
        let mut writes: Vec<Write> = intents.into_iter().map(|intent| Write::Intent(self.fleet, intent)).collect();
        writes.extend(begun.into_iter().map(|entry| Write::Entry(self.fleet, Arc::new(entry))));
        inner.commit(writes, true)?;
        inner.tell(self.fleet, &events);
        Ok(())
    }

    /// Ends an intent, together with what it changed in the inventory: both are kept or neither. Does not wait for the disk.
    ///
    /// An [`Outcome::Unknown`] leaves the intent open. A verified effect also decides what an earlier run left open of the same one.
    pub fn complete(&self, id: &str, ending: impl Into<Ending>, changes: Vec<Change>) -> Result<(), StoreError> {
        let ending = ending.into();
        let outcome = ending.outcome;
        let mut writes: Vec<Write> = changes
            .into_iter()
            .map(|change| match change {
                Change::Put(entry) => Write::Entry(self.fleet, Arc::from(entry)),
                Change::Remove(object) => Write::NoEntry(self.fleet, object),
            })
            .collect();
        if outcome == Outcome::Verified {
            writes.extend(self.same_of_earlier_runs(id).into_iter().map(|id| Write::NoIntent(self.fleet, id)));
        }
        if outcome != Outcome::Unknown {
            writes.push(Write::NoIntent(self.fleet, id.to_owned()));
        }
        let mut inner = self.shared.lock();
        if !writes.is_empty() {
            inner.commit(writes, false)?;
        }
        if let Some(end) = ended(id, ending) {
            inner.tell(self.fleet, &[News::End(end)]);
        }
        Ok(())
    }

    /// The history.
    pub fn history(&self) -> Past {
        self.newest(usize::MAX, &|_| true)
    }

    /// The history of these objects, at least so many of the newest events.
    pub fn newest(&self, least: usize, meant: &dyn Fn(&ObjectRef) -> bool) -> Past {
        // The files are read while others may write.
        let folder = match &self.shared.lock().history {
            History::Files { folder, .. } => folder.clone(),
            history @ History::InMemory(_) => return history.of(self.fleet, least, meant),
        };
        History::at(folder).of(self.fleet, least, meant)
    }

    /// Has nothing be done to objects until they are resumed. Durable when it returns.
    pub fn suspend(&self, suspensions: Vec<Suspension>) -> Result<(), StoreError> {
        let words: Vec<News> =
            suspensions.iter().map(|s| self.word("suspend", &s.object, &s.since, &s.by, s.reason.as_deref())).collect();
        self.commit(suspensions.into_iter().map(|s| Write::Suspension(self.fleet, s)).collect(), true)?;
        self.shared.lock().tell(self.fleet, &words);
        Ok(())
    }

    /// Has objects be kept true again. Durable when it returns.
    pub fn resume(&self, objects: &[ObjectRef], at: &str, by: &str, reason: Option<&str>) -> Result<(), StoreError> {
        self.commit(objects.iter().map(|object| Write::NoSuspension(self.fleet, object.clone())).collect(), true)?;
        let words: Vec<News> = objects.iter().map(|object| self.word("resume", object, at, by, reason)).collect();
        self.shared.lock().tell(self.fleet, &words);
        Ok(())
    }

    /// Something that was said and not done, for the history.
    fn word(&self, op: &str, object: &ObjectRef, at: &str, by: &str, reason: Option<&str>) -> News {
        let millis = at.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
        let command = self.shared.lock().command.clone();
        News::Event(Box::new(Event {
            id: format!("{millis}-{op}-{object}"),
            run: millis.to_string(),
            command,
            object: object.clone(),
            op: op.to_owned(),
            node: object.node.clone(),
            at: at.to_owned(),
            ended: Some(at.to_owned()),
            outcome: EventOutcome::Done,
            why: Some(reason.map_or_else(|| format!("by {by}"), |reason| format!("by {by}: {reason}"))),
            cause: self.context.cause.clone(),
            revision: self.context.revision.clone(),
        }))
    }

    /// Tells something of an object that was found, and not done. Doesn't wait for the disk.
    pub fn tell(&self, object: &ObjectRef, op: &str, at: jiff::Timestamp, why: &str) {
        let mut inner = self.shared.lock();
        let event = Event {
            id: format!("{}-{:03}-{op}-{object}", at.as_millisecond(), at.subsec_microsecond()),
            run: at.as_millisecond().to_string(),
            command: inner.command.clone(),
            object: object.clone(),
            op: op.to_owned(),
            node: object.node.clone(),
            at: at.to_string(),
            ended: Some(at.to_string()),
            outcome: EventOutcome::Done,
            why: Some(why.to_owned()),
            cause: self.context.cause.clone(),
            revision: self.context.revision.clone(),
        };
        inner.tell(self.fleet, &[News::Event(Box::new(event))]);
    }

    /// How objects were found, by a daemon.
    pub fn statuses(&self) -> BTreeMap<ObjectRef, Arc<ObjectStatus>> {
        self.shared.lock().content.statuses.get(&self.fleet).cloned().unwrap_or_default()
    }

    /// Records how objects were found, and forgets others. Doesn't wait for the disk.
    pub fn put_statuses(&self, statuses: Vec<Arc<ObjectStatus>>, gone: Vec<ObjectRef>) -> Result<(), StoreError> {
        let mut writes: Vec<Write> = statuses.into_iter().map(|status| Write::Status(self.fleet, status)).collect();
        writes.extend(gone.into_iter().map(|object| Write::NoStatus(self.fleet, object)));
        if writes.is_empty() { Ok(()) } else { self.commit(writes, false) }
    }

    /// Something of the inventory, without a copy of all of it.
    pub fn pick<T>(&self, pick: impl FnOnce(&Owned) -> T) -> T {
        let inner = self.shared.lock();
        match inner.content.fleets.get(&self.fleet) {
            Some(owned) => pick(owned),
            None => pick(&Owned::default()),
        }
    }

    /// The ids of open intents of earlier runs for the effect of this one.
    fn same_of_earlier_runs(&self, id: &str) -> Vec<String> {
        let same = |owned: &Owned| {
            let this = owned.intents.iter().find(|intent| intent.id == id)?;
            let detail = |intent: &Intent, key: &str| intent.details.get(key).cloned();
            // A pool's folder is all that a move of it can have left undone.
            let ends = |op: &str| op == this.op || (op == "pool-retarget" && this.op == "pool-build");
            let same = owned.intents.iter().filter(|other| {
                other.run != this.run
                    && (&other.object, &other.node) == (&this.object, &this.node)
                    && ends(&other.op)
                    && ["file", "path"].iter().all(|key| detail(other, key) == detail(this, key))
            });
            Some(same.map(|intent| intent.id.clone()).collect())
        };
        self.read(same).unwrap_or_default()
    }

    /// Intents without an end, in the order of their ids.
    pub fn open_intents(&self) -> Vec<Intent> {
        self.read(|owned| (!owned.intents.is_empty()).then(|| owned.intents.clone())).unwrap_or_default()
    }

    fn read<T>(&self, pick: impl FnOnce(&Owned) -> Option<T>) -> Option<T> {
        self.shared.lock().content.fleets.get(&self.fleet).and_then(pick)
    }

    fn commit(&self, writes: Vec<Write>, durable: bool) -> Result<(), StoreError> {
        self.shared.lock().commit(writes, durable)
    }
}

/// An end as the history has it, where it says more than that something was begun.
fn ended(id: &str, ending: Ending) -> Option<End> {
    let outcome = match ending.outcome {
        Outcome::Verified => EventOutcome::Done,
        Outcome::Failed => EventOutcome::Failed,
        Outcome::NotBegun => EventOutcome::NotBegun,
        Outcome::Unknown if ending.why.is_some() || !ending.at.is_empty() => EventOutcome::Unknown,
        Outcome::Unknown | Outcome::Settled => return None,
    };
    Some(End { id: id.to_owned(), ended: Some(ending.at).filter(|at| !at.is_empty()), outcome, why: ending.why })
}
