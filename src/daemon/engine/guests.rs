//! Asking guests: who is asked, and what becomes of the answers.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::super::cause::Cause;
use super::super::findings;
use super::super::guests::Asked;
use super::super::look::Answer;
use super::{Daemon, Message};
use crate::name::{Name, ObjectRef};
use crate::store::StoreError;

impl Daemon {
    /// Whether a guest may be asked: one node is asked once at a time, so that one that hangs holds up its own guests only.
    pub(super) fn may_ask(&self, object: &ObjectRef) -> bool {
        self.node_of(object).is_some_and(|node| !self.asking.contains(node))
    }

    pub(super) fn node_of(&self, object: &ObjectRef) -> Option<&Name> {
        self.current.as_ref()?.workspace.desired.objects.get(object)?.node.as_ref()
    }

    /// Asks the guests whose turn it is.
    pub(super) fn ask_guests(&mut self, now: Instant, full: bool) {
        let mut guests = std::mem::take(&mut self.guests);
        let asked = guests.take(now, full, |object| self.may_ask(object));
        self.guests = guests;
        let mut by_node: BTreeMap<Name, Vec<Asked>> = BTreeMap::new();
        for asked in asked {
            if let Some(node) = self.node_of(&asked.object) {
                by_node.entry(node.clone()).or_default().push(asked);
            }
        }
        for (node, asked) in by_node {
            let Some(looker) = self.looker(Cause::Awaited) else { return };
            self.asking.insert(node.clone());
            let outbox = self.outbox.clone();
            tokio::spawn(async move {
                let answers = looker.ask(&node, asked).await;
                let _ = outbox.send(Message::Told(node, answers)).await;
            });
        }
    }

    /// Takes what the guests of a node told.
    pub(super) fn told(&mut self, node: &Name, answers: Vec<Answer>) -> Result<(), StoreError> {
        self.asking.remove(node);
        let Some(current) = &self.current else { return Ok(()) };
        let at = self.options.clock.now().to_string();
        let mut changed = Vec::new();
        for Answer { asked, told } in answers {
            if !self.guests.answered(&asked, told) {
                continue;
            }
            let Some(before) = self.statuses.get(&asked.object) else { continue };
            let found = findings::Found { at: &at, revision: Some(&current.revision.id) };
            let status = findings::told(before, self.guests.told(&asked.object), found);
            if **before != status {
                changed.push(status);
            }
        }
        self.keep_statuses(changed, Vec::new())
    }
}
