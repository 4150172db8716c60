//! Each call of each apply in each history of `tests/golden/plans` goes wrong once: before its effect, or after it without an answer. The
//! same apply once more ends as it would have without that, and what is somebody else's stays as it is.
//!
//! Not tried are applies that are refused, that don't go well by themselves, that are to go wrong by the history's own word, on nodes that
//! are out of reach, and those that call nothing. A run of the tests tries one call of one apply of every other history;
//! `JVP_TEST_CALLS=all` tries all, both ways, `JVP_TEST_CALLS=N` those of a number, `JVP_TEST_HISTORY=NAME` one history alone.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use jvp::name::ObjectRef;
use jvp::plan::{Entry, Mode, Plan, Policy};

use crate::bench::{Bench, Trouble, block_on};
use crate::histories::{Play, Step, histories};
use crate::sample::{below, chosen};
use crate::world::{inventory, theirs};
use crate::{difference, ends};

/// Applies that may end otherwise after a call went wrong, by history and step, and why.
const APART: &[(&str, usize, &str)] = &[
    ("what-a-field-takes-from-the-fragment", 7, "what a fragment brought and what it had found there isn't told apart any more"),
    ("what-a-fragment-had-only-named", 25, "what a fragment brought and what it had found there isn't told apart any more"),
    ("what-a-running-guest-has-room-for", 13, "a disk that could not be plugged in gets the letter that came free meanwhile"),
    ("what-becomes-of-a-password-that-is-adopted", 3, "of a password that only the mark tells nobody knows whose it is"),
    ("what-is-deleted", 35, "what came with a VM that is in no manifest is to be named, once the VM itself is gone"),
    ("how-a-rebuild-waits", 19, "what broke off after a rebuild's definition is a VM that is off, and its strategy leaves it so"),
];

/// What there is after an apply.
struct After {
    ends: BTreeMap<String, BTreeMap<String, String>>,
    inventory: BTreeMap<ObjectRef, Entry>,
    /// What was begun, and nobody knows how it ended.
    open: BTreeSet<(ObjectRef, String)>,
    /// Whether there is nothing left to do.
    is_empty: bool,
}

impl After {
    async fn of(bench: &Bench, policy: &Policy) -> Self {
        let plan = bench.plan_with(policy).await;
        // What a hand's word leaves open, the next apply settles.
        let is_apply = matches!(policy.mode, Mode::Apply);
        let open = bench.ledger().open_intents().into_iter().filter(|_| is_apply);
        let open = open.map(|intent| (intent.object, intent.op)).collect();
        let is_empty = plan.is_empty() && plan.refusals.is_empty();
        Self { ends: ends(bench), inventory: inventory(bench), open, is_empty }
    }

    /// What is another than it is here, in words.
    fn differs(&self, then: &Self) -> String {
        let mut text = difference(&self.ends, &then.ends);
        for object in self.inventory.keys().chain(then.inventory.keys()).collect::<BTreeSet<_>>() {
            let (was, is) = (self.inventory.get(object), then.inventory.get(object));
            if was != is {
                text.push_str(&format!("the inventory has of {object}\n{is:#?}\nand not\n{was:#?}\n"));
            }
        }
        if self.open != then.open {
            text.push_str(&format!("begun and not ended are {:?} and not {:?}\n", then.open, self.open));
        }
        if self.is_empty && !then.is_empty {
            text.push_str("something is left to do\n");
        }
        text
    }
}

/// An apply that goes well.
struct Apply {
    /// Which step of the history it is.
    step: usize,
    calls: u32,
}

/// The plan of a step, and what it is to be made with.
async fn begin(play: &mut Play, step: &Step) -> Option<(Policy, Plan)> {
    play.happens(step);
    let policy = play.given(step.apply.as_ref()?);
    let plan = play.bench.plan_with(&policy).await;
    Some((policy, plan)).filter(|(_, plan)| plan.refusals.is_empty())
}

/// A history whose next step is this one.
async fn played(steps: &[Step], until: usize) -> Play {
    let mut play = Play::new(steps);
    // Some have something of that name themselves.
    if !steps.iter().any(|step| step.defines(">foreign<")) {
        play.bench.put_foreign(false);
    }
    for step in &steps[..until] {
        if let Some((_, plan)) = begin(&mut play, step).await {
            play.carry_out(plan).await;
        }
        play.take_back();
    }
    play
}

/// The applies of a history that are tried, and how many are not.
async fn applies(steps: &[Step]) -> (Vec<Apply>, usize) {
    let (mut applies, mut left_out) = (Vec::new(), 0);
    let mut play = played(steps, 0).await;
    for (at, step) in steps.iter().enumerate() {
        if let Some((_, plan)) = begin(&mut play, step).await {
            let (trouble, away) = (play.fails(), !plan.unreachable.is_empty());
            let before = play.bench.count();
            let rounds = play.carry_out(plan).await;
            let calls = play.bench.count().wrapping_sub(before);
            if trouble || away || calls == 0 || play.bench.went_well(&rounds).is_err() {
                left_out += 1;
            } else {
                applies.push(Apply { step: at, calls });
            }
        } else {
            left_out += usize::from(step.apply.is_some());
        }
        play.take_back();
    }
    (applies, left_out)
}

/// What there is after an apply, and after the same once more where something is left to do and that goes well.
async fn clean(steps: &[Step], apply: &Apply) -> Option<Vec<After>> {
    let mut play = played(steps, apply.step).await;
    let (policy, plan) = begin(&mut play, &steps[apply.step]).await?;
    play.carry_out(plan).await;
    let bench = &play.bench;
    let mut after = vec![After::of(bench, &policy).await];
    if !after[0].is_empty {
        let again = bench.plan_with(&policy).await;
        let (seen, _) = bench.seen().await;
        if bench.carry_out(seen, again).await.is_ok() {
            after.push(After::of(bench, &policy).await);
        }
    }
    Some(after)
}

/// Has one call of an apply go wrong, and applies once more. Says what is wrong then.
async fn tried(steps: &[Step], apply: &Apply, clean: &[After], call: u32, how: Trouble) -> Result<(), String> {
    let mut play = played(steps, apply.step).await;
    let foreign = theirs(&play.bench);
    let (policy, plan) = begin(&mut play, &steps[apply.step]).await.ok_or("it is refused from the beginning")?;
    let bench = &play.bench;
    bench.trouble(call, how);
    let (seen, _) = bench.seen().await;
    bench.rounds_of(seen, plan).await;
    if !bench.met() {
        return Err("there is no such call".into());
    }
    let what = bench.met_at();
    bench.heal();
    let again = bench.plan_with(&policy).await;
    let (seen, _) = bench.seen().await;
    bench.carry_out(seen, again).await.map_err(|error| format!("{what}: the next apply doesn't go well: {error}"))?;
    let after = After::of(bench, &policy).await;
    let differences: Vec<String> = clean.iter().map(|clean| clean.differs(&after)).collect();
    let mut differs = if differences.contains(&String::new()) { String::new() } else { differences.concat() };
    if theirs(bench) != foreign {
        differs.push_str(&format!("what is somebody else's is {:#?} and not {foreign:#?}\n", theirs(bench)));
    }
    if differs.is_empty() { Ok(()) } else { Err(format!("{what}: it ends otherwise than a clean one:\n{differs}")) }
}

#[test]
fn each_call_of_each_history_goes_wrong_and_one_more_apply_ends_as_a_clean_one() {
    let chosen = chosen("one call of one apply of every other history");
    let mut histories = histories();
    if let Some(number) = chosen.filter(|_| histories.len() > 1) {
        let half = usize::try_from(below(number, "half", 2)).unwrap();
        histories = histories.into_iter().skip(half).step_by(2).collect();
    }
    let (next, counts, wrong) = (AtomicUsize::new(0), Mutex::new([0_usize; 4]), Mutex::new(Vec::new()));
    let work = || {
        while let Some((path, steps)) = histories.get(next.fetch_add(1, Ordering::Relaxed)) {
            let name = path.file_stem().unwrap().to_string_lossy();
            let (mut applies, left_out) = block_on(applies(steps));
            applies.retain(|apply| !APART.iter().any(|(history, step, _)| *history == name && *step == apply.step + 1));
            let drawn = |what: &str, bound: u32| chosen.map(|number| below(number, &format!("{name} {what}"), bound.into()));
            let which = drawn("apply", u32::try_from(applies.len()).unwrap());
            let mut cases = 0;
            for (at, apply) in applies.iter().enumerate().filter(|(at, _)| which.is_none_or(|which| which == *at as u64)) {
                let clean = block_on(clean(steps, apply)).unwrap();
                let (call, way) = (drawn("call", apply.calls), drawn("way", 2));
                let ways = [Trouble::Fails, Trouble::NoAnswer];
                for case in 0..u64::from(apply.calls) * 2 {
                    if call.is_some_and(|call| call != case / 2) || way.is_some_and(|way| way != case % 2) {
                        continue;
                    }
                    let (call, how) = (u32::try_from(case / 2 + 1).unwrap(), ways[usize::from(case % 2 == 1)]);
                    let tried = catch_unwind(AssertUnwindSafe(|| block_on(tried(steps, apply, &clean, call, how))));
                    if let Err(text) = tried.unwrap_or_else(|_| Err("it panics".into())) {
                        let which = format!("{name}, apply {} (step {}), {how:?} at call {call}", at + 1, apply.step + 1);
                        wrong.lock().unwrap().push(format!("── {which} of {}, {text}", apply.calls));
                    }
                    cases += 1;
                }
            }
            let mut counts = counts.lock().unwrap();
            let more = [usize::from(!applies.is_empty()), applies.len(), left_out, cases];
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, std::num::NonZero::get) {
            scope.spawn(work);
        }
    });
    let [with, applies, left_out, cases] = *counts.lock().unwrap();
    eprintln!(
        "{cases} calls went wrong, of {applies} applies in {with} of {} histories; {left_out} applies are not tried",
        histories.len()
    );
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {cases} end otherwise:\n{}", wrong.len(), wrong.join("\n"));
    assert!(histories.len() < 50 || with * 10 >= histories.len() * 9, "{with} of {} histories", histories.len());
}
