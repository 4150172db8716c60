//! What can't be looked at: since when and why, and how its objects stand then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::super::findings;
use super::Daemon;
use crate::apply::Seen;
use crate::name::{Name, ObjectRef};
use crate::observe::NodeView;
use crate::store::{ObjectStatus, StoreError};

/// For so long what was found last stands: a libvirtd that is restarted is nobody's trouble.
const GRACE: Duration = Duration::from_secs(20);

/// Something that can't be looked at.
pub(super) struct Away {
    at: Instant,
    /// The message of its objects' conditions. It stays the same however often it is tried, so that nothing is written anew.
    message: String,
    /// Whether its objects say so.
    said: bool,
    /// The objects that are known no better since.
    objects: BTreeSet<ObjectRef>,
}

/// All that can't be looked at.
#[derive(Default)]
pub(super) struct Aways {
    nodes: BTreeMap<Name, Away>,
    /// Everything, where looks fail by themselves.
    everything: Option<Away>,
}

impl Aways {
    /// When the next of them has been away for long enough to be said.
    pub(super) fn next(&self) -> Option<Instant> {
        self.nodes.values().chain(&self.everything).filter(|away| !away.said).map(|away| away.at + GRACE).min()
    }

    /// The nodes of them.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.nodes.keys()
    }

    /// Whether a node is one of them.
    pub(super) fn know(&self, node: &Name) -> bool {
        self.nodes.contains_key(node)
    }

    /// How an object on a node out of reach stands, which a look could tell nothing of; none where what stood before still does: for a
    /// while, unless its manifest is another by now.
    pub(super) fn status(
        &mut self,
        object: &ObjectRef,
        node: &Name,
        found: findings::Found<'_>,
        before: Option<&ObjectStatus>,
        changed: bool,
    ) -> Option<ObjectStatus> {
        let away = self.nodes.get_mut(node)?;
        away.objects.insert(object.clone());
        (away.said || changed || before.is_none())
            .then(|| findings::unknown(object, findings::UNREACHABLE, &away.message, found, before))
    }
}

impl Daemon {
    /// Takes which nodes a look reached.
    pub(super) fn nodes(&mut self, seen: &Seen, now: Instant) {
        self.aways.everything = None;
        let mut nodes = BTreeMap::new();
        for (name, view) in &seen.observed.nodes {
            let trouble = match view {
                NodeView::Reached(_) => None,
                NodeView::Unreachable { message, .. } => Some(message.clone()),
            };
            match &trouble {
                None => drop(self.aways.nodes.remove(name)),
                Some(why) if !self.aways.nodes.contains_key(name) => {
                    let away = self.away(&format!("Node/{name} can't be read"), why, now);
                    self.aways.nodes.insert(name.clone(), away);
                }
                Some(_) => {}
            }
            nodes.insert(name.clone(), trouble);
        }
        self.aways.nodes.retain(|name, _| nodes.contains_key(name));
        self.shared.view().nodes = nodes;
    }

    /// A look at everything failed by itself.
    pub(super) fn sees_nothing(&mut self, why: &str, now: Instant) {
        if self.aways.everything.is_none() {
            let mut away = self.away("nothing can be looked at", why, now);
            away.objects = self.statuses.keys().cloned().collect();
            self.aways.everything = Some(away);
        }
    }

    fn away(&self, what: &str, why: &str, now: Instant) -> Away {
        let message = format!("{what} since {}: {why}", self.options.clock.now());
        // Whoever looks once has no time to wait.
        Away { at: now, message, said: self.options.once, objects: BTreeSet::new() }
    }

    /// Has the objects of whatever has been away for long enough say so.
    pub(super) fn say_away(&mut self, now: Instant) -> Result<(), StoreError> {
        let at = self.options.clock.now().to_string();
        let revision = self.current.as_ref().map(|current| current.revision.id.as_str());
        let found = findings::Found { at: &at, revision };
        let mut changed = Vec::new();
        let nodes = self.aways.nodes.values_mut().map(|away| (findings::UNREACHABLE, away));
        let everything = self.aways.everything.iter_mut().map(|away| ("LookFailed", away));
        for (reason, away) in nodes.chain(everything).filter(|(_, away)| !away.said && away.at + GRACE <= now) {
            away.said = true;
            tracing::error!("{}", away.message);
            let statuses = away.objects.iter().filter_map(|object| self.statuses.get(object));
            changed.extend(statuses.map(|before| findings::unknown(&before.object, reason, &away.message, found, Some(before))));
        }
        if changed.is_empty() { Ok(()) } else { self.keep_statuses(changed, Vec::new()) }
    }
}
