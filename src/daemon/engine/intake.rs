//! What reaches the engine from outside: manifests, and the hints of nodes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::super::cause::Cause;
use super::super::claims::Index;
use super::super::supply::{News, Revision, Tree};
use super::{Current, Daemon, Listening, Message};
use crate::apply::Workspace;
use crate::host::{Hint, Hints, REBOOTED};
use crate::name::{Kind, Name, ObjectRef};
use crate::resolve::Wanted;
use crate::store::StoreError;

impl Daemon {
    /// Takes a tree over: what changed in it is looked at.
    pub(super) fn take_tree(&mut self, tree: Tree) -> Result<(), StoreError> {
        let now = Instant::now();
        let Tree { set, desired, revision, hold } = tree;
        if let Some(current) = &self.current
            && current.ledger.fleet() != desired.fleet
        {
            let (old, new) = (current.ledger.fleet(), desired.fleet);
            let why = format!("the Fleet's id became {new}, and what is there belongs to {old}; put it back, or start anew");
            return self.handle(Message::News(News::Trouble(why)));
        }
        let ledger = match &self.current {
            Some(current) => current.ledger.clone(),
            None => self.store.ledger(desired.fleet),
        };
        if self.current.is_none() {
            self.statuses = ledger.statuses();
            self.shared.view().objects.clone_from(&self.statuses);
        }
        let hosts = &mut self.hosts;
        let workspace =
            Workspace::new(set, desired, self.state.clone(), self.secrets_dir.clone(), |name, uri| hosts.host(name, uri))?;
        self.hosts.keep(&workspace.desired);
        self.listen(&workspace);
        let first = self.current.is_none();
        let (known, mut digests, index) = match &mut self.current {
            Some(current) => {
                let (digests, index) = (std::mem::take(&mut current.digests), std::mem::take(&mut current.index));
                (Some(&current.workspace.desired), digests, Some(index))
            }
            None => (None, BTreeMap::new(), None),
        };
        let news = differences(known.map_or(&BTreeMap::new(), |known| &known.objects), &workspace.desired.objects);
        let index = ledger.pick(|owned| match index {
            Some(mut index) => {
                index.renew(&news, &workspace.desired, owned);
                index
            }
            None => Index::of(&workspace.desired, owned),
        });
        let mut more = first;
        for object in &news {
            let Some(wanted) = workspace.desired.object(object) else {
                digests.remove(object);
                more = true;
                continue;
            };
            let digest = digest(wanted);
            let before = digests.insert(object.clone(), digest.clone());
            if before.as_ref() == Some(&digest) {
                continue;
            }
            more |= before.is_none();
            let synced = self.statuses.get(object).and_then(|status| status.synced.as_ref());
            if synced != Some(&digest) {
                self.pending.insert(object.clone());
            }
            self.failures.remove(object);
            self.put_off.remove(object);
            if !first {
                self.queue.poke(object, Cause::File, now);
            }
        }
        self.queue.keep(|object| digests.contains_key(object));
        self.pending.retain(|object| digests.contains_key(object));
        self.restarts.keep(|object| digests.contains_key(object));
        self.guests.keep(|object| digests.contains_key(object));
        if more {
            self.want_full(if first { Cause::Start } else { Cause::File }, now);
        }
        let generation = self.current.as_ref().map_or(1, |current| current.generation + 1);
        tracing::info!(revision = %revision.id, objects = digests.len(), "manifests read");
        self.shared.metrics.kept(&self.options.source, &revision);
        {
            let mut view = self.shared.view();
            view.revision = Some(revision.clone());
            view.fleet = Some(ledger.fleet());
            view.trouble = None;
        }
        self.troubled = false;
        self.full.done = false;
        let workspace = Arc::new(workspace);
        let current = Current { workspace, ledger, generation, revision, index, digests, _hold: Arc::from(hold) };
        self.tell_revision(&current);
        if let Some(before) = self.current.replace(current) {
            // To free ten thousand objects takes longer than to look at the one that changed.
            tokio::task::spawn_blocking(move || drop(before));
        }
        Ok(())
    }

    /// The history tells once of each revision whose it is and where from; all that is done by it names it.
    fn tell_revision(&self, new: &Current) {
        let declared =
            new.workspace.set.documents.iter().map(|document| &document.object).find(|object| object.kind == Kind::Fleet);
        // A set without a Fleet goes by this name.
        let Some(fleet) = declared.cloned().or_else(|| "Fleet/manifests".parse().ok()) else { return };
        if self.options.dry_run || self.current.as_ref().is_some_and(|current| current.revision == new.revision) {
            return;
        }
        let Revision { author, subject, .. } = &new.revision;
        let by = author.iter().chain(subject).fold(String::new(), |text, word| format!("{text}, {word}"));
        let cause = if self.current.is_none() { Cause::Start } else { Cause::File };
        new.ledger_for(cause).tell(
            &fleet,
            "manifests-read",
            jiff::Timestamp::now(),
            &format!("from {}{by}", self.options.source),
        );
    }

    /// Subscribes to the nodes' hints.
    pub(super) fn listen(&mut self, workspace: &Workspace) {
        let lates = &mut self.lates;
        self.listeners.retain(|name, listener| {
            // One whose URI is another now is another host, and what it tells begins with a hint of the node.
            let stays = workspace.hosts.get(name).is_some_and(|now| Arc::ptr_eq(now, &listener.host));
            if !stays {
                listener.task.abort();
                lates.forget(name);
            }
            stays
        });
        for (name, host) in &workspace.hosts {
            if self.listeners.contains_key(name) {
                continue;
            }
            let (node, outbox, mut events) = (name.clone(), self.outbox.clone(), host.events());
            let ear = events.ear();
            let task = tokio::spawn(async move {
                loop {
                    let hints = events.next().await;
                    if outbox.send(Message::Hints(node.clone(), hints)).await.is_err() {
                        return;
                    }
                }
            });
            self.listeners.insert(name.clone(), Listening { host: host.clone(), task, ear });
        }
    }

    pub(super) fn take_hints(&mut self, node: &Name, hints: &Hints) {
        let now = Instant::now();
        let Some(current) = &self.current else { return };
        let mut whole = false;
        let mut ours: Vec<ObjectRef> = Vec::new();
        for (hint, change) in hints {
            match hint {
                Hint::Node => {
                    whole = true;
                    // A look that hangs with it tells of it only once its time is up.
                    if change.why.contains("hung") {
                        let trouble = "libvirt hangs: it answers no pings".to_owned();
                        self.shared.view().nodes.insert(node.clone(), Some(trouble));
                    }
                }
                // What isn't ours is nobody's business here.
                Hint::Object(target) => {
                    let object = current.index.object(node, target).cloned();
                    tracing::debug!(%node, ?target, why = ?change.why, ours = object.is_some(), "told by libvirt");
                    if let Some(object) = object.as_ref().filter(|_| change.why.contains(REBOOTED)) {
                        self.restarts.reboots(object, now);
                    }
                    ours.extend(object);
                }
            }
        }
        self.shared.metrics.hinted(ours.len());
        for object in ours {
            self.queue.poke(&object, Cause::Event, now);
        }
        if whole {
            self.want_full(Cause::Event, now);
        }
    }
}

/// The objects that are another value in one than in the other, or in one of them alone.
fn differences(before: &BTreeMap<ObjectRef, Arc<Wanted>>, after: &BTreeMap<ObjectRef, Arc<Wanted>>) -> BTreeSet<ObjectRef> {
    // What was resolved before is the same value still, which is seen without a look into it.
    let same = |(a, b): (&Arc<Wanted>, &Arc<Wanted>)| Arc::ptr_eq(a, b) || a == b;
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    let mut found = BTreeSet::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let was = if order.is_le() { old.next() } else { None };
        let is = if order.is_ge() { new.next() } else { None };
        if !was.zip(is).is_some_and(|((_, a), (_, b))| same((a, b))) {
            found.extend(was.or(is).map(|(object, _)| object.clone()));
        }
    }
}

/// What the manifests want of an object, as one word that is another where anything of it is.
fn digest(wanted: &Wanted) -> String {
    // As text that no library's way of keeping a map is in.
    let now: BTreeMap<_, _> = wanted.now.iter().collect();
    let words = format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
        wanted.spec, now, wanted.metadata.labels, wanted.metadata.annotations, wanted.lifecycle
    );
    hex::encode(Sha256::digest(words)).chars().take(16).collect()
}
