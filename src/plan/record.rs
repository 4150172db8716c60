//! What the ledger will record of an object, and changes of the inventory alone.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::fields::{Class, field, has_class};
use super::model::{FieldChange, Shown, Verb};
use super::planner::{Draft, Planner, Row};
use super::{Entry, Lane, Op, Record, SecretRef, Sources};
use crate::resolve::Wanted;

/// The entry of a wanted object once its steps are done. Its time is filled in by whoever writes the ledger.
/// Most often that is the one it has, and none is made.
pub(super) fn entry_of<'a>(p: &Planner<'a>, wanted: &Wanted, libvirt_uuid: Option<Uuid>) -> Cow<'a, Entry> {
    let Some(old) = p.entry(&wanted.object) else { return Cow::Owned(fresh_entry(wanted, p.sources, libvirt_uuid)) };
    if says_so(old, wanted, p.sources, libvirt_uuid) {
        return Cow::Borrowed(old);
    }
    let fresh = fresh_entry(wanted, p.sources, libvirt_uuid);
    Cow::Owned(Entry {
        libvirt_uuid: libvirt_uuid.or(old.libvirt_uuid),
        created_at: old.created_at.clone(),
        volume: old.volume.clone(),
        template: old.template.clone(),
        seed_digest: old.seed_digest.clone(),
        fragment_digest: old.fragment_digest.clone(),
        fragment: old.fragment.clone(),
        tried_vcpus: old.tried_vcpus,
        reservations: old.reservations.clone(),
        last_off_reason: old.last_off_reason.clone(),
        ..fresh
    })
}

/// Whether an entry is what [`entry_of`] would make of it.
fn says_so(entry: &Entry, wanted: &Wanted, sources: &Sources, uuid: Option<Uuid>) -> bool {
    let Entry {
        object,
        uid,
        node,
        libvirt_uuid,
        libvirt_name,
        last,
        labels,
        reclaim,
        prevent_destroy,
        values,
        released,
        rebuilt,
        unfinished,
        secrets,
        restarting,
        mark_due,
        created_at: _,
        volume: _,
        template: _,
        seed_digest: _,
        fragment_digest: _,
        fragment: _,
        tried_vcpus: _,
        reservations: _,
        last_off_reason: _,
    } = entry;
    (*uid, *reclaim, *prevent_destroy) == (wanted.uid, Some(wanted.reclaim), wanted.prevent_destroy)
        && (uuid.is_none() || *libvirt_uuid == uuid)
        && !(*released || *rebuilt || *unfinished || *restarting || *mark_due)
        && *object == wanted.object
        && *node == wanted.node
        && *libvirt_name == wanted.libvirt_name
        && *labels == wanted.metadata.labels
        && last.iter().eq(wanted.managed())
        && values.iter().eq(values_of(wanted))
        && secrets.iter().eq(secrets_of(wanted, sources))
}

/// The fields that no node has.
fn values_of(wanted: &Wanted) -> impl Iterator<Item = (&String, &Value)> {
    let kind = wanted.object.kind;
    let all = has_class(kind, Class::Inventory).then_some(&*wanted.now).into_iter().flatten();
    all.filter(move |(path, _)| {
        field(kind, path).is_some_and(|row| row.class == Class::Inventory) && !wanted.lifecycle.ignores(path)
    })
}

/// Where the sensitive fields come from.
fn secrets_of<'s>(wanted: &Wanted, sources: &'s Sources) -> impl Iterator<Item = (&'s String, &'s SecretRef)> {
    let all = sources.secrets.range((wanted.object.clone(), String::new())..);
    let mine = all.take_while(|((object, _), _)| *object == wanted.object);
    mine.map(|((_, path), secret)| (path, secret))
}

/// The entry of an object that the inventory knew nothing of before.
pub(super) fn fresh_entry(wanted: &Wanted, sources: &Sources, libvirt_uuid: Option<Uuid>) -> Entry {
    Entry {
        object: wanted.object.clone(),
        uid: wanted.uid,
        node: wanted.node.clone(),
        libvirt_uuid,
        libvirt_name: wanted.libvirt_name.clone(),
        last: wanted.managed().cloned().collect(),
        labels: wanted.metadata.labels.clone(),
        reclaim: Some(wanted.reclaim),
        prevent_destroy: wanted.prevent_destroy,
        values: values_of(wanted).map(|(path, value)| (path.clone(), value.clone())).collect(),
        released: false,
        rebuilt: false,
        unfinished: false,
        created_at: String::new(),
        volume: None,
        template: None,
        secrets: secrets_of(wanted, sources).map(|(path, secret)| (path.clone(), secret.clone())).collect(),
        seed_digest: None,
        fragment_digest: None,
        fragment: BTreeMap::new(),
        tried_vcpus: None,
        reservations: BTreeMap::new(),
        last_off_reason: None,
        restarting: false,
        mark_due: false,
    }
}

impl Planner<'_> {
    /// Whether an object is there but its creation broke off on the way.
    pub(super) fn unfinished(&self, wanted: &Wanted) -> bool {
        match self.entry(&wanted.object) {
            Some(entry) if !entry.rebuilt => entry.unfinished,
            // Defined, and the end of that was not recorded.
            _ => self
                .owned
                .intents
                .iter()
                .any(|intent| intent.object == wanted.object && intent.absent_before && intent.op.ends_with("-define")),
        }
    }

    /// What changes in the inventory alone: labels, and fields that no node has. Shown, and settled by one action.
    pub(super) fn inventory_changes(&self, wanted: &Wanted) -> Vec<FieldChange> {
        let Some(entry) = self.entry(&wanted.object).filter(|entry| !entry.rebuilt) else { return Vec::new() };
        let mut fields = Vec::new();
        if entry.labels != wanted.metadata.labels {
            fields.extend(map_changes("/metadata/labels", &entry.labels, &wanted.metadata.labels));
        }
        if !entry.values.iter().eq(values_of(wanted)) {
            let text = |(path, value): (&String, &Value)| (path.clone(), super::diff::text(value));
            fields.extend(map_changes("", &entry.values.iter().map(text).collect(), &values_of(wanted).map(text).collect()));
        }
        fields
    }

    /// Says that an object is as wanted; the ledger learns it where it doesn't know, as after a run that broke off.
    pub(super) fn settled(&mut self, wanted: &Wanted, libvirt_uuid: Option<Uuid>) {
        self.ready(&wanted.object);
        let entry = entry_of(self, wanted, libvirt_uuid);
        self.will_be(entry);
    }

    /// Plans an object that only the inventory knows, or that differs in the inventory alone. One that the inventory doesn't
    /// know yet is recorded without an action. `entry` is what is recorded where a better one than the object's own is at hand.
    pub(super) fn inventory(&mut self, wanted: &Wanted, entry: Option<Cow<'_, Entry>>) {
        let fields = self.inventory_changes(wanted);
        let entry = entry.unwrap_or_else(|| entry_of(self, wanted, None));
        if fields.is_empty() {
            self.ready(&wanted.object);
            self.will_be(entry);
            return;
        }
        let mut row = Row::new(wanted, Verb::Update, "the manifest changed");
        row.fields = fields;
        row.drafts.push(
            Draft::new(Op::Inventory, Lane::Local(wanted.object.to_string()))
                .record(Record::Settle(Box::new(entry.into_owned()))),
        );
        self.commit(row);
    }
}

fn map_changes(prefix: &str, was: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<FieldChange> {
    let keys: std::collections::BTreeSet<&String> = was.keys().chain(now.keys()).collect();
    let path = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}/{key}") };
    keys.into_iter()
        .filter(|key| was.get(*key) != now.get(*key))
        .map(|key| FieldChange {
            path: path(key),
            old: was.get(key).cloned().map(Shown::Value),
            new: now.get(key).cloned().map(Shown::Value),
        })
        .collect()
}
