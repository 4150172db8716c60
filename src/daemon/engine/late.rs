//! Nodes that hang: a look at everything goes on without those that others would wait for, and each node has so many looks and runs of
//! its own, so that one that hangs holds up only what is on it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::super::cause::Cause;
use super::super::look;
use super::{Daemon, LOOKS, Message};
use crate::apply::Patience;
use crate::name::{Name, ObjectRef};

/// What is known of how nodes answer.
#[derive(Default)]
pub(super) struct Lates {
    /// Nodes that are being read still, for a look that went on without them.
    reading: BTreeSet<Name>,
    /// Nodes that answered since the last look.
    answered: BTreeSet<Name>,
    /// The longest that a node took lately.
    slowest: Duration,
    /// How many small looks are under way, by node.
    looks: BTreeMap<Option<Name>, usize>,
}

impl Lates {
    /// Whether a node is being read still.
    pub(super) fn reads(&self, node: &Name) -> bool {
        self.reading.contains(node)
    }

    /// A node is another one now.
    pub(super) fn forget(&mut self, node: &Name) {
        self.reading.remove(node);
    }

    /// Whether one more small look on a node may begin.
    fn may_look(&self, node: Option<&Name>) -> bool {
        self.looks.get(&node.cloned()).is_none_or(|looks| *looks < LOOKS)
    }

    /// How many small looks are under way.
    pub(super) fn looks(&self) -> usize {
        self.looks.values().sum()
    }

    pub(super) fn begin(&mut self, node: Option<Name>) {
        *self.looks.entry(node).or_default() += 1;
    }

    pub(super) fn end(&mut self, node: Option<&Name>) {
        if let Some(looks) = self.looks.get_mut(&node.cloned()) {
            *looks = looks.saturating_sub(1);
        }
    }
}

impl Daemon {
    /// How long a look at everything waits for nodes that don't answer. Where nothing comes after it, one that is only slow is waited for
    /// to the end.
    pub(super) fn patience(&mut self) -> Patience {
        let late = self.lates.reading.clone();
        if self.options.once {
            return Patience { late, ..Patience::default() };
        }
        let answered = std::mem::take(&mut self.lates.answered);
        let doubted = self.aways.names().filter(|name| !answered.contains(*name)).cloned().collect();
        Patience { slowest: Some(self.lates.slowest), doubted, late, ..Patience::default() }
    }

    /// Takes which nodes a look at everything didn't wait for. Each says when it was read after all.
    pub(super) fn take_lates(&mut self, lates: look::Lates) {
        self.lates.slowest = lates.slowest;
        for mut late in lates.all.into_iter().filter(|late| !late.nodes.is_empty()) {
            for node in &late.nodes {
                tracing::warn!(%node, "it gives no answer, and is not waited for");
            }
            self.lates.reading.extend(late.nodes.iter().cloned());
            let outbox = self.outbox.clone();
            tokio::spawn(async move {
                while let Some((node, reached, took)) = late.next().await {
                    late.nodes.remove(&node);
                    if outbox.send(Message::Answered(node, reached, took)).await.is_err() {
                        return;
                    }
                }
                // What broke off says nothing.
                for node in late.nodes {
                    let _ = outbox.send(Message::Answered(node, false, Duration::ZERO)).await;
                }
            });
        }
    }

    /// A node that nobody waited for was read, or can't be.
    pub(super) fn answered(&mut self, node: Name, reached: bool, took: Duration) {
        self.lates.reading.remove(&node);
        if reached {
            self.lates.slowest = self.lates.slowest.max(took);
            self.lates.answered.insert(node);
            self.want_full(Cause::Awaited, Instant::now());
        }
    }

    /// The next object whose turn it is, on a node that may be looked at.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<(ObjectRef, Cause)> {
        let mut queue = std::mem::take(&mut self.queue);
        let next = queue.take(now, |object| self.may_look(object));
        self.queue = queue;
        next
    }

    /// Whether one more small look may begin on the node of an object.
    pub(super) fn may_look(&self, object: &ObjectRef) -> bool {
        self.lates.may_look(self.node_of(object))
    }
}
