//! Commands by hand beside the daemon's runs. While one looks and plans, nothing is begun; once it knows what it does, it is beside the
//! runs as they are beside each other.

use std::collections::BTreeSet;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::cause::Cause;
use super::super::claims::{Claims, Index};
use super::super::queue::Ending;
use super::{Current, Daemon};
use crate::name::ObjectRef;

/// What a hand has of the daemon, until it is dropped: nothing is begun that it might concern.
pub struct Hold {
    running: Vec<Claims>,
    _gone: oneshot::Sender<()>,
}

impl Hold {
    /// What of this was in a run's hands when the hold was given.
    pub fn in_hand(&self, claims: &Claims) -> BTreeSet<ObjectRef> {
        self.running.iter().flat_map(|running| running.shares(claims)).cloned().collect()
    }
}

/// The hands that are there.
#[derive(Default)]
pub(super) struct Hands {
    /// Whose turn it is.
    at_work: Option<AtWork>,
    /// Those that wait for runs, with what concerns them.
    waiting: Vec<(Claims, oneshot::Sender<Hold>)>,
}

struct AtWork {
    gone: oneshot::Receiver<()>,
    /// What it does; none before it knows.
    claims: Option<Claims>,
}

impl Hands {
    /// Whether nothing at all may be begun.
    pub(super) fn hold_all(&self) -> bool {
        self.at_work.as_ref().is_some_and(|hand| hand.claims.is_none())
    }

    /// Whether a run would be in the way of one.
    pub(super) fn claim(&self, run: &Claims) -> bool {
        let work = self.at_work.iter().filter_map(|hand| hand.claims.as_ref());
        work.chain(self.waiting.iter().map(|(claims, _)| claims)).any(|claims| claims.collide(run))
    }

    /// What is changed by hand.
    pub(super) fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        self.at_work.iter().filter_map(|hand| hand.claims.as_ref()).flat_map(|claims| &claims.own)
    }

    pub(super) fn wait(&mut self, claims: Claims, answer: oneshot::Sender<Hold>) {
        self.waiting.push((claims, answer));
    }

    /// Waits until whoever is at work is gone; for ever where nobody is.
    pub(super) async fn gone(&mut self) {
        match &mut self.at_work {
            Some(hand) => {
                let _ = (&mut hand.gone).await;
            }
            None => std::future::pending().await,
        }
    }
}

impl Daemon {
    /// Gives the hold to the first whom no run concerns.
    pub(super) fn give_hold(&mut self) {
        let now = Instant::now();
        let before = self.hands.waiting.len();
        self.hands.waiting.retain(|(_, answer)| !answer.is_closed());
        if self.hands.waiting.len() < before {
            self.try_blocked(now);
        }
        while self.hands.at_work.is_none() {
            let free = |claims: &Claims| !self.running.values().any(|run| run.claims.collide(claims));
            let Some(next) = self.hands.waiting.iter().position(|(claims, _)| free(claims)) else { return };
            let (_, answer) = self.hands.waiting.remove(next);
            let (token, gone) = oneshot::channel();
            let running = self.running.values().map(|run| run.claims.clone()).collect();
            if answer.send(Hold { running, _gone: token }).is_ok() {
                self.hands.at_work = Some(AtWork { gone, claims: None });
                // What looks see that began before a hand came is looked at again.
                if let Some(current) = &mut self.current {
                    current.generation += 1;
                }
            }
        }
    }

    /// Goes on beside a hand that told what it does.
    pub(super) fn narrow(&mut self, claims: Claims) {
        let in_the_way = self.running.values().any(|run| run.claims.collide(&claims));
        if let Some(hand) = self.hands.at_work.as_mut().filter(|hand| hand.claims.is_none() && !in_the_way) {
            self.queue.begin(&claims.own, &BTreeSet::new(), Instant::now());
            hand.claims = Some(claims);
        }
    }

    /// Goes on after a hand.
    pub(super) fn hand_gone(&mut self) {
        let now = Instant::now();
        let Some(hand) = self.hands.at_work.take() else { return };
        for object in hand.claims.iter().flat_map(|claims| &claims.own) {
            self.queue.end(object, Ending::Stopped, now);
            self.queue.poke(object, Cause::Awaited, now);
        }
        self.try_blocked(now);
        // It may have made and renamed anything.
        if let Some(Current { workspace, ledger, index, .. }) = &mut self.current {
            *index = ledger.pick(|owned| Index::of(&workspace.desired, owned));
        }
    }

    /// Has another look at what waited for a run's or a hand's end.
    pub(super) fn try_blocked(&mut self, now: Instant) {
        for object in std::mem::take(&mut self.blocked) {
            self.queue.poke(&object, Cause::Awaited, now);
        }
    }
}
