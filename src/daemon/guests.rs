//! What guests tell of themselves: which are asked, and when. Plain values; the time comes in.
//!
//! A guest is asked after its VM was started and after its agent came or went, a few times, ever more seldom; whatever is missing then
//! is looked for with full looks. Nobody is asked once all is told, until its VM is started anew or its agent changes.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::apply::{Condition, Status};
use crate::name::ObjectRef;
use crate::observe::DomainState;

/// The pause before a guest is asked for the first time; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// So often a guest is asked by itself.
const TIMES: u32 = 7;
/// The longest pause of a guest that is asked with full looks.
const PAUSE_MOST: Duration = Duration::from_mins(10);

/// What is known of one guest.
#[derive(Debug)]
struct Guest {
    /// The number of its QEMU process.
    process: Option<u32>,
    agent: bool,
    /// What it told last; none before it was asked.
    told: Option<Vec<(Condition, Status)>>,
    /// It ran already when it was first seen: what was told before holds until it is asked.
    known_before: bool,
    /// When it is asked; none where all is told.
    due: Option<Instant>,
    asked: u32,
}

/// A guest that is asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub object: ObjectRef,
    /// The number of its QEMU process.
    process: Option<u32>,
}

/// What a guest is known to tell.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told<'a> {
    /// It doesn't run, or is no guest.
    Nothing,
    /// It was not asked yet in this process of QEMU's.
    NotYet,
    /// It ran before, and was not asked yet by this daemon.
    AsBefore,
    /// This.
    This(&'a [(Condition, Status)]),
}

/// The guests that run.
#[derive(Debug, Default)]
pub(super) struct Guests(BTreeMap<ObjectRef, Guest>);

impl Guests {
    /// A VM was looked at; none where it isn't there. `ran` says that its guest was told of before this daemon began.
    pub(super) fn seen(&mut self, object: &ObjectRef, domain: Option<&DomainState>, ran: bool, now: Instant) {
        let Some((domain, live)) = domain.and_then(|domain| Some((domain, domain.live.as_ref()?))) else {
            self.0.remove(object);
            return;
        };
        let (process, agent) = (live.id, live.agent_connected && domain.is_active());
        match self.0.get_mut(object) {
            Some(guest) if guest.process == process => {
                if guest.agent != agent {
                    (guest.agent, guest.asked, guest.due) = (agent, 0, Some(now));
                }
            }
            known => {
                let known_before = known.is_none() && ran;
                let guest = Guest { process, agent, told: None, known_before, due: Some(now + PAUSE), asked: 0 };
                self.0.insert(object.clone(), guest);
            }
        }
    }

    /// What a guest told.
    pub(super) fn told(&self, object: &ObjectRef) -> Told<'_> {
        match self.0.get(object) {
            None => Told::Nothing,
            Some(Guest { told: Some(told), .. }) => Told::This(told),
            Some(guest) if guest.known_before => Told::AsBefore,
            Some(_) => Told::NotYet,
        }
    }

    /// The guests that are to be asked now, of those that may be; `full` where everything is looked at.
    pub(super) fn take(&mut self, now: Instant, full: bool, may: impl Fn(&ObjectRef) -> bool) -> Vec<Asked> {
        let mut taken = Vec::new();
        for (object, guest) in self.0.iter_mut().filter(|(object, _)| may(object)) {
            if guest.due.is_some_and(|due| due <= now) && (full || guest.asked < TIMES) {
                guest.asked += 1;
                guest.due = Some(now + PAUSE.saturating_mul(1 << guest.asked.min(16)).min(PAUSE_MOST));
                taken.push(Asked { object: object.clone(), process: guest.process });
            }
        }
        taken
    }

    /// What a guest answered. Whether that is news.
    pub(super) fn answered(&mut self, asked: &Asked, told: Vec<(Condition, Status)>) -> bool {
        let Some(guest) = self.0.get_mut(&asked.object).filter(|guest| guest.process == asked.process) else { return false };
        // Where its agent came or went meanwhile, it is asked again.
        if guest.asked > 0 && !told.iter().any(|(_, status)| matches!(status, Status::Waiting(_))) {
            guest.due = None;
        }
        let news = guest.told.as_ref() != Some(&told);
        guest.told = Some(told);
        news
    }

    /// When the next guest is to be asked by itself.
    pub(super) fn next(&self, may: impl Fn(&ObjectRef) -> bool) -> Option<Instant> {
        let waiting = self.0.iter().filter(|(object, guest)| guest.asked < TIMES && may(object));
        waiting.filter_map(|(_, guest)| guest.due).min()
    }

    /// Forgets objects that are no longer there.
    pub(super) fn keep(&mut self, there: impl Fn(&ObjectRef) -> bool) {
        self.0.retain(|object, _| there(object));
    }
}
