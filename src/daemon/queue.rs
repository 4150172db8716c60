//! When which object is looked at, and whether anything may be done to it. Plain values; the time comes in.
//!
//! What must hold: one run an object at a time; whatever a trigger tells of an object while it is busy is looked at afterwards; an
//! object that fails waits by itself, and nobody waits for it; an object that somebody else keeps changing is healed ever more slowly
//! and is said to flap once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::cause::Cause;
use crate::name::ObjectRef;

/// The first pause after a failure; each further one is twice as long.
const BACK_OFF: Duration = Duration::from_secs(5);
/// The longest pause after a failure.
const BACK_OFF_MOST: Duration = Duration::from_mins(3);
/// Looks that find nothing to do, before they are spaced.
const FREE_LOOKS: u32 = 8;
/// The first space between such looks; each further one is twice as long.
const SPACE: Duration = Duration::from_millis(50);
/// The longest space between them.
const SPACE_MOST: Duration = Duration::from_secs(5);
/// So long without a trigger, and looks are free again.
const CALM: Duration = Duration::from_secs(30);
/// So many changes by others within [`FLAP_WINDOW`] make an object flap.
const FLAP_CHANGES: usize = 5;
/// The time that such changes are counted in.
const FLAP_WINDOW: Duration = Duration::from_mins(10);
/// The first pause of an object that flaps; each further change doubles it.
const FLAP_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause of an object that flaps.
const FLAP_PAUSE_MOST: Duration = Duration::from_mins(10);

/// What is known of an object's turns.
#[derive(Debug, Default)]
struct Item {
    /// When it is to be looked at, and why.
    due: Option<(Instant, Cause)>,
    /// The last trigger, as a number that only grows.
    poked: u64,
    /// The last trigger before the newest look at it alone that is over.
    seen: u64,
    /// A run has it.
    busy: bool,
    failures: u32,
    /// Nothing is done to it before.
    held_until: Option<Instant>,
    /// Looks in a row that found nothing to do.
    idle_looks: u32,
    looked: Option<Instant>,
    /// When others changed it and it was healed.
    foreign: VecDeque<Instant>,
    flapping: bool,
}

/// How a run of an object ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// All of it was done.
    Done,
    /// Something failed.
    Failed,
    /// It was stopped or never begun.
    Stopped,
}

/// The objects' turns.
#[derive(Debug, Default)]
pub(super) struct Queue {
    items: BTreeMap<ObjectRef, Item>,
    pokes: u64,
    /// Moves pauses apart; any number will do.
    seed: u64,
}

impl Queue {
    /// A queue whose pauses are moved apart by `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Something may have happened to an object: it is looked at as soon as its turn comes.
    pub(super) fn poke(&mut self, object: &ObjectRef, cause: Cause, now: Instant) {
        self.pokes += 1;
        let item = self.items.entry(object.clone()).or_default();
        item.poked = self.pokes;
        if cause.is_ours() {
            item.failures = 0;
            item.held_until = None;
            item.idle_looks = 0;
        }
        let calm = item.looked.is_none_or(|looked| now.duration_since(looked) >= CALM);
        if calm {
            item.idle_looks = 0;
        }
        let space = item.looked.map_or(now, |looked| looked + space(item.idle_looks)).max(now);
        match &mut item.due {
            Some((at, why)) => {
                *at = (*at).min(space);
                *why = (*why).max(cause);
            }
            None => item.due = Some((space, cause)),
        }
    }

    /// Somebody wants everything to be looked at: nothing is held back any longer.
    pub(super) fn free(&mut self) {
        for item in self.items.values_mut() {
            item.failures = 0;
            item.held_until = None;
            item.idle_looks = 0;
        }
    }

    /// The number of the last trigger of all.
    pub(super) fn mark(&self) -> u64 {
        self.pokes
    }

    /// Whether nothing was told of any of these objects since that trigger.
    pub(super) fn unmoved<'a>(&self, mut objects: impl Iterator<Item = &'a ObjectRef>, since: u64) -> bool {
        objects.all(|object| self.items.get(object).is_none_or(|item| item.poked <= since))
    }

    /// A look at an object alone is over, which began after the trigger `mark`.
    pub(super) fn saw(&mut self, object: &ObjectRef, mark: u64) {
        if let Some(item) = self.items.get_mut(object) {
            item.seen = item.seen.max(mark);
        }
    }

    /// Whether a look at an object is over that began after something was told which a look from `mark` on may have missed.
    pub(super) fn saw_later(&self, object: &ObjectRef, mark: u64) -> bool {
        self.items.get(object).is_some_and(|item| item.seen > mark)
    }

    /// The next object whose turn it is and that may be looked at, with why; it is due no longer.
    pub(super) fn take(&mut self, now: Instant, may: impl Fn(&ObjectRef) -> bool) -> Option<(ObjectRef, Cause)> {
        let is_due = |item: &Item| !item.busy && item.due.is_some_and(|(at, _)| at <= now);
        let (object, item) = self.items.iter_mut().find(|(object, item)| is_due(item) && may(object))?;
        let (_, cause) = item.due.take()?;
        Some((object.clone(), cause))
    }

    /// How many objects wait for their turn.
    pub(super) fn depth(&self) -> usize {
        self.items.values().filter(|item| item.due.is_some()).count()
    }

    /// When the next object that may be looked at is due; none where that depends on the end of a run or a look.
    pub(super) fn next(&self, may: impl Fn(&ObjectRef) -> bool) -> Option<Instant> {
        let idle = self.items.iter().filter(|(_, item)| !item.busy);
        let due = idle.filter_map(|(object, item)| item.due.map(|(at, _)| (object, at)));
        due.filter(|(object, _)| may(object)).map(|(_, at)| at).min()
    }

    /// All that was told of these objects so far is answered by a look that began after the trigger `mark`.
    pub(super) fn answered<'a>(&mut self, objects: impl Iterator<Item = &'a ObjectRef>, mark: u64) {
        for object in objects {
            if let Some(item) = self.items.get_mut(object).filter(|item| item.poked <= mark && !item.busy) {
                item.due = None;
            }
        }
    }

    /// A look at an object alone did nothing about it. What failed before is no better for that.
    pub(super) fn looked(&mut self, object: &ObjectRef, now: Instant) {
        let Some(item) = self.items.get_mut(object) else { return };
        item.idle_looks = item.idle_looks.saturating_add(1);
        item.looked = Some(now);
    }

    /// A look found nothing to do for an object.
    pub(super) fn idle(&mut self, object: &ObjectRef, now: Instant) {
        self.looked(object, now);
        let Some(item) = self.items.get_mut(object) else { return };
        item.failures = 0;
        item.held_until = item.held_until.filter(|_| item.flapping);
    }

    /// Whether something may be done to an object now; if not, when.
    pub(super) fn may(&self, object: &ObjectRef, now: Instant) -> Result<(), Option<Instant>> {
        match self.items.get(object) {
            Some(item) if item.busy => Err(None),
            Some(Item { held_until: Some(until), .. }) if *until > now => Err(Some(*until)),
            _ => Ok(()),
        }
    }

    /// An object is looked at again at a time.
    pub(super) fn later(&mut self, object: &ObjectRef, cause: Cause, at: Instant) {
        let item = self.items.entry(object.clone()).or_default();
        if item.due.is_none_or(|(due, _)| due > at) {
            item.due = Some((at, cause));
        }
    }

    /// A run has these objects. `foreign` are those that somebody else had changed; given back are those of them that flap from now
    /// on.
    pub(super) fn begin(&mut self, objects: &BTreeSet<ObjectRef>, foreign: &BTreeSet<ObjectRef>, now: Instant) -> Vec<ObjectRef> {
        let mut flaps = Vec::new();
        for object in objects {
            let item = self.items.entry(object.clone()).or_default();
            item.busy = true;
            item.idle_looks = 0;
            if !foreign.contains(object) {
                continue;
            }
            item.foreign.retain(|at| now.duration_since(*at) < FLAP_WINDOW);
            item.foreign.push_back(now);
            let over = item.foreign.len().saturating_sub(FLAP_CHANGES);
            if item.foreign.len() >= FLAP_CHANGES {
                item.held_until = Some(now + doubled(FLAP_PAUSE, over, FLAP_PAUSE_MOST));
                if !item.flapping {
                    item.flapping = true;
                    flaps.push(object.clone());
                }
            }
        }
        flaps
    }

    /// A run lets go of an object.
    pub(super) fn end(&mut self, object: &ObjectRef, ending: Ending, now: Instant) {
        let jitter = self.jitter(object);
        let Some(item) = self.items.get_mut(object) else { return };
        item.busy = false;
        item.looked = Some(now);
        match ending {
            Ending::Done => item.failures = 0,
            Ending::Stopped => {}
            Ending::Failed => {
                let pause = doubled(BACK_OFF, item.failures as usize, BACK_OFF_MOST);
                item.failures += 1;
                let until = now + pause.mul_f64(jitter);
                item.held_until = Some(item.held_until.map_or(until, |held| held.max(until)));
                item.due = Some((until, Cause::Retry));
            }
        }
    }

    /// The objects that flap no longer: nobody changed them for so long.
    pub(super) fn calmed(&mut self, now: Instant) -> Vec<ObjectRef> {
        let calm = |item: &Item| item.foreign.back().is_none_or(|at| now.duration_since(*at) >= FLAP_WINDOW);
        let mut calmed = Vec::new();
        for (object, item) in self.items.iter_mut().filter(|(_, item)| item.flapping && calm(item)) {
            item.flapping = false;
            item.foreign.clear();
            calmed.push(object.clone());
        }
        calmed
    }

    /// Whether an object flaps.
    pub(super) fn flaps(&self, object: &ObjectRef) -> bool {
        self.items.get(object).is_some_and(|item| item.flapping)
    }

    /// How often an object failed in a row.
    pub(super) fn failures(&self, object: &ObjectRef) -> u32 {
        self.items.get(object).map_or(0, |item| item.failures)
    }

    /// Forgets objects that are neither wanted nor known any more.
    pub(super) fn keep(&mut self, there: impl Fn(&ObjectRef) -> bool) {
        self.items.retain(|object, item| item.busy || there(object));
    }

    /// Between 0.8 and 1.2, another for each object.
    fn jitter(&self, object: &ObjectRef) -> f64 {
        let mut hash = self.seed ^ 0xcbf2_9ce4_8422_2325;
        for byte in object.to_string().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let hundredths = u32::try_from(hash % 41).unwrap_or_default();
        0.8 + f64::from(hundredths) / 100.0
    }
}

fn space(idle_looks: u32) -> Duration {
    match idle_looks.checked_sub(FREE_LOOKS) {
        None => Duration::ZERO,
        Some(over) => doubled(SPACE, over as usize, SPACE_MOST),
    }
}

fn doubled(first: Duration, times: usize, most: Duration) -> Duration {
    let factor = 1_u32.checked_shl(u32::try_from(times).unwrap_or(u32::MAX)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Kind;

    fn vm(name: &str) -> ObjectRef {
        ObjectRef::new(Kind::VirtualMachine, name.parse().unwrap())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn all(queue: &mut Queue, now: Instant) -> Vec<(ObjectRef, Cause)> {
        std::iter::from_fn(|| queue.take(now, |_| true)).collect()
    }

    #[test]
    fn what_is_told_while_an_object_is_busy_is_looked_at_afterwards() {
        let (mut queue, now, a) = (Queue::default(), Instant::now(), vm("a"));
        queue.poke(&a, Cause::Event, now);
        assert_eq!(all(&mut queue, now), [(a.clone(), Cause::Event)]);
        queue.begin(&[a.clone()].into(), &BTreeSet::new(), now);
        queue.poke(&a, Cause::File, now);
        assert!(all(&mut queue, now).is_empty());
        assert_eq!(queue.next(|_| true), None);
        queue.end(&a, Ending::Done, now);
        assert_eq!(all(&mut queue, now), [(a, Cause::File)]);
    }

    #[test]
    fn failures_are_spaced_up_to_three_minutes_and_a_change_of_the_manifest_or_a_word_starts_anew() {
        let (mut queue, mut now, a) = (Queue::default(), Instant::now(), vm("a"));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            queue.begin(&[a.clone()].into(), &BTreeSet::new(), now);
            queue.end(&a, Ending::Failed, now);
            let at = queue.next(|_| true).unwrap();
            assert_eq!(queue.may(&a, now), Err(Some(at)));
            pauses.push(at.duration_since(now));
            now = at;
            assert_eq!(queue.may(&a, now), Ok(()));
            assert_eq!(all(&mut queue, now).len(), 1);
        }
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(pauses[0] >= seconds(4) && pauses[0] <= seconds(6), "{pauses:?}");
        assert!(*pauses.last().unwrap() <= seconds(216) && *pauses.last().unwrap() >= seconds(144), "{pauses:?}");
        let wishes: [fn(&mut Queue, &ObjectRef, Instant); 2] =
            [|queue, a, now| queue.poke(a, Cause::File, now), |queue, _, _| queue.free()];
        for wish in wishes {
            queue.begin(&[a.clone()].into(), &BTreeSet::new(), now);
            queue.end(&a, Ending::Failed, now);
            assert!(queue.may(&a, now).is_err());
            wish(&mut queue, &a, now);
            assert_eq!(queue.may(&a, now), Ok(()));
            assert_eq!(queue.failures(&a), 0);
        }
    }

    #[test]
    fn a_storm_costs_few_looks_and_its_last_word_is_heard() {
        let (mut queue, begin, a) = (Queue::default(), Instant::now(), vm("a"));
        let (mut looks, mut now) = (0, begin);
        for step in 0..10_000_u64 {
            now = begin + Duration::from_millis(step);
            queue.poke(&a, Cause::Event, now);
            if !all(&mut queue, now).is_empty() {
                looks += 1;
                queue.idle(&a, now);
            }
        }
        assert!(looks < 30, "{looks}");
        queue.poke(&a, Cause::Event, now);
        assert_eq!(all(&mut queue, now + SPACE_MOST).len(), 1);
    }

    #[test]
    fn an_object_that_others_keep_changing_flaps_once_and_is_healed_ever_more_slowly() {
        let (mut queue, mut now, a) = (Queue::default(), Instant::now(), vm("a"));
        let (all, mut said, mut healed) = (BTreeSet::from([a.clone()]), 0, 0);
        let end = now + seconds(1800);
        while now < end {
            if queue.may(&a, now).is_ok() {
                said += queue.begin(&all, &all, now).len();
                queue.end(&a, Ending::Done, now);
                healed += 1;
            }
            now += seconds(1);
        }
        assert_eq!(said, 1);
        assert!(queue.flaps(&a));
        assert!(healed < 20, "{healed}");
        assert!(queue.calmed(now).is_empty());
        assert_eq!(queue.calmed(now + FLAP_WINDOW), std::slice::from_ref(&a));
        assert!(!queue.flaps(&a));
    }

    #[test]
    fn a_look_answers_only_what_was_told_before_it_began() {
        let (mut queue, now, a) = (Queue::default(), Instant::now(), vm("a"));
        queue.poke(&a, Cause::Event, now);
        let mark = queue.mark();
        assert!(queue.unmoved([&a].into_iter(), mark));
        queue.poke(&a, Cause::Event, now);
        assert!(!queue.unmoved([&a].into_iter(), mark));
        queue.answered([&a].into_iter(), mark);
        assert_eq!(queue.depth(), 1);
        queue.answered([&a].into_iter(), queue.mark());
        assert_eq!(queue.depth(), 0);
    }
}
