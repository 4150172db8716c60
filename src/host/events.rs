//! Hints that something changed on a node, kept for one who takes them when he can.
//!
//! A hint carries no data, and nothing is read here: it says where to look. Whoever gives hints never waits for whoever takes them:
//! what is pending is a set of distinct hints, bounded, so that ten thousand events of one object are one entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::observe::Target;

/// Distinct objects that may be pending; one more, and the whole node is to be looked at instead.
const MOST: usize = 1024;

/// What a hint of a guest's reboot is called. No look shows one afterwards, so it is never lost among too many.
pub const REBOOTED: &str = "rebooted";

/// Where something may have changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    /// Anywhere: hints begin to come or were lost, there were too many, or something changed that belongs to no one object.
    Node,
    /// This object, by its name at that time: a rename gives the old one and the new.
    Object(Target),
}

/// What is known of a hint. It is for people; what is so now, only a look tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The number of the latest of the hints that became this one. A look is newer than all of them if [`Events::latest`] was that
    /// number or more before it began.
    pub number: u64,
    /// What libvirt called it, such as `stopped` or `device-removed`.
    pub why: BTreeSet<&'static str>,
}

/// All that was pending, each hint once.
pub type Hints = BTreeMap<Hint, Change>;

/// A subscription. What it has not given yet goes with it.
#[derive(Debug)]
pub struct Events {
    mailbox: Arc<Mailbox>,
    hub: Arc<Hub>,
}

impl Events {
    /// One that never gives a hint.
    pub fn never() -> Self {
        Arc::new(Hub::default()).subscribe()
    }

    /// Where others subscribe to the same.
    pub fn ear(&self) -> Ear {
        Ear(Arc::clone(&self.hub))
    }

    /// Waits until something is pending, and takes all of it. Nothing is lost where nobody waits for the answer any more.
    pub async fn next(&mut self) -> Hints {
        loop {
            let hints = self.take();
            if !hints.is_empty() {
                return hints;
            }
            self.mailbox.wake.notified().await;
        }
    }

    /// Takes what is pending now.
    pub fn take(&mut self) -> Hints {
        std::mem::take(&mut self.mailbox.lock().hints)
    }

    /// The number of the last hint so far, taken or not; it never falls. Note it before a look: what the look shows is older than no
    /// hint up to that number.
    pub fn latest(&self) -> u64 {
        self.mailbox.lock().latest
    }

    /// Whether a hint is pending that a look at this object should come after.
    pub fn pending(&self, target: &Target) -> bool {
        let state = self.mailbox.lock();
        state.hints.contains_key(&Hint::Node) || state.hints.contains_key(&Hint::Object(target.clone()))
    }
}

/// Where further subscriptions to the same hints are made, without a word about it.
#[derive(Debug, Clone)]
pub struct Ear(Arc<Hub>);

impl Ear {
    /// A subscription with nothing pending.
    pub fn listen(&self) -> Events {
        self.0.subscribe()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.hub.lock().retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
        self.hub.deserted.notify_one();
    }
}

/// Gives each hint to all who subscribed.
#[derive(Debug, Default)]
pub(super) struct Hub {
    mailboxes: Mutex<Vec<Arc<Mailbox>>>,
    deserted: Notify,
}

impl Hub {
    /// A new subscription, with nothing pending.
    pub(super) fn subscribe(self: &Arc<Self>) -> Events {
        let mailbox = Arc::<Mailbox>::default();
        self.lock().push(Arc::clone(&mailbox));
        Events { mailbox, hub: Arc::clone(self) }
    }

    /// Gives a hint. It waits for nobody, so that any thread may.
    pub(super) fn hint(&self, hint: &Hint, why: &'static str) {
        for mailbox in self.lock().iter() {
            mailbox.put(hint, why);
        }
    }

    /// Whether nobody is subscribed.
    pub(super) fn is_deserted(&self) -> bool {
        self.lock().is_empty()
    }

    /// Waits until nobody is. One may wait at a time.
    pub(super) async fn deserted(&self) {
        while !self.is_deserted() {
            self.deserted.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Mailbox>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Mailbox {
    pending: Mutex<Pending>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    hints: Hints,
    latest: u64,
}

impl Pending {
    fn note(&mut self, hint: &Hint, why: &'static str, number: u64) {
        let change = self.hints.entry(hint.clone()).or_default();
        change.number = number;
        change.why.insert(why);
    }
}

impl Mailbox {
    fn put(&self, hint: &Hint, why: &'static str) {
        let mut state = self.lock();
        state.latest += 1;
        let number = state.latest;
        let is_one_more = matches!(hint, Hint::Object(_)) && !state.hints.contains_key(hint) && state.hints.len() >= MOST;
        if is_one_more {
            // At most one a domain stays.
            state.hints.retain(|hint, change| *hint == Hint::Node || change.why.contains(REBOOTED));
            state.note(&Hint::Node, "too-many", number);
        }
        if !is_one_more || why == REBOOTED {
            state.note(hint, why, number);
        }
        drop(state);
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn domain(name: &str) -> Target {
        Target::Domain(name.to_owned())
    }

    fn object(name: &str) -> Hint {
        Hint::Object(domain(name))
    }

    fn hub() -> (Arc<Hub>, Events) {
        let hub = Arc::<Hub>::default();
        let events = hub.subscribe();
        (hub, events)
    }

    #[tokio::test]
    async fn ten_thousand_events_of_an_object_are_one_hint() {
        let (hub, mut events) = hub();
        for _ in 0..10_000 {
            hub.hint(&object("web"), "metadata");
        }
        hub.hint(&object("web"), "stopped");
        let hints = events.next().await;
        assert_eq!(hints, [(object("web"), Change { number: 10_001, why: ["metadata", "stopped"].into() })].into());
        assert!(events.take().is_empty());
    }

    #[test]
    fn too_many_objects_are_the_whole_node() {
        let (hub, mut events) = hub();
        for number in 0..=MOST {
            hub.hint(&object(&number.to_string()), "defined");
        }
        hub.hint(&object("after"), "defined");
        let hints = events.take();
        assert_eq!(hints.len(), 2, "{hints:?}");
        assert_eq!(hints[&Hint::Node].why, ["too-many"].into());
        assert!(hints.contains_key(&object("after")));
        // However many come, no more than so many are kept.
        for number in 0..20_000 {
            hub.hint(&object(&number.to_string()), "defined");
        }
        let hints = events.take();
        assert!(hints.len() <= MOST + 1 && hints.contains_key(&Hint::Node));
    }

    #[test]
    fn a_reboot_is_not_lost_among_too_many() {
        let (hub, mut events) = hub();
        hub.hint(&object("early"), REBOOTED);
        for number in 0..5000 {
            hub.hint(&object(&number.to_string()), "defined");
            if number == 3000 {
                hub.hint(&object("amid"), REBOOTED);
            }
        }
        hub.hint(&object("late"), REBOOTED);
        let hints = events.take();
        for name in ["early", "amid", "late"] {
            assert!(hints[&object(name)].why.contains(REBOOTED), "{name}");
        }
        assert!(hints.contains_key(&Hint::Node) && hints.len() <= MOST + 4, "{}", hints.len());
        // Also where there is no room for anything but reboots.
        for number in 0..2000 {
            hub.hint(&object(&number.to_string()), REBOOTED);
        }
        hub.hint(&object("other"), "defined");
        let hints = events.take();
        assert_eq!(hints.values().filter(|change| change.why.contains(REBOOTED)).count(), 2000);
        assert!(hints.contains_key(&Hint::Node) && !hints.contains_key(&object("other")));
    }

    #[test]
    fn a_look_that_began_before_a_hint_is_told_from_one_that_began_after() {
        let (hub, mut events) = hub();
        hub.hint(&object("web"), "stopped");
        let began = events.latest();
        hub.hint(&object("db"), "stopped");
        assert!(events.pending(&domain("web")) && !events.pending(&domain("other")));
        let hints = events.take();
        assert!(hints[&object("web")].number <= began, "the look came after it");
        assert!(hints[&object("db")].number > began, "the look came before it");
        assert!(!events.pending(&domain("web")));
        hub.hint(&Hint::Node, "closed");
        assert!(events.pending(&domain("other")), "a hint of the node is one of each object");
        assert!(events.latest() > began);
    }

    #[tokio::test]
    async fn who_waits_is_woken_and_a_wait_that_is_broken_off_loses_nothing() {
        let (hub, mut events) = hub();
        assert!(tokio::time::timeout(Duration::from_millis(20), events.next()).await.is_err());
        let giver = std::thread::spawn({
            let hub = Arc::clone(&hub);
            move || {
                std::thread::sleep(Duration::from_millis(30));
                hub.hint(&object("web"), "started");
            }
        });
        assert!(events.next().await.contains_key(&object("web")));
        giver.join().unwrap();
        hub.hint(&object("web"), "stopped");
        drop(events.next());
        assert!(events.next().await.contains_key(&object("web")));
    }

    #[tokio::test]
    async fn each_subscription_has_its_own_and_the_last_one_to_go_is_noticed() {
        let (hub, mut one) = hub();
        let mut two = hub.subscribe();
        hub.hint(&object("web"), "started");
        assert_eq!(one.take(), two.take());
        let waits = tokio::spawn({
            let hub = Arc::clone(&hub);
            async move { hub.deserted().await }
        });
        drop(one);
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        let third = two.ear().listen();
        hub.hint(&object("web"), "stopped");
        assert!(third.pending(&domain("web")) && two.take().len() == 1);
        drop((two, third));
        waits.await.unwrap();
        assert!(hub.is_deserted());
        assert!(Events::never().take().is_empty());
    }
}
