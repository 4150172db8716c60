//! Rounds of several nodes: one that hangs, goes away, or once can't be read, at any moment, holds up only what is on it.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use jvp::apply::{End, Halt, Outlook, Patience, Rounds, Seen};
use jvp::host::ErrorKind;
use jvp::host::fake::{FakeHost, Gate, How, When, libvirt_error};
use jvp::name::{Name, ObjectRef};
use jvp::observe::Observed;
use jvp::plan::{Entry, Plan};
use jvp::store::StoreError;
use tokio::sync::watch;

use crate::bench::{Bench, block_on};
use crate::sample::sampled;
use crate::scene::{Begin, Disk, Machine, Scene};
use crate::{difference, end, ends};

/// Two nodes with the same on each. The VM's disk waits for a template, and that one for a pool: three rounds.
pub fn bench() -> Bench {
    let machine = |node| Machine {
        node,
        strategy: "Always",
        uefi: false,
        seed: true,
        disks: vec![Disk::Claim { begin: Begin::Linked(0), pool: 0, raw: false }],
        interfaces: vec![(0, true)],
    };
    let scene =
        Scene { nodes: 2, pools: 1, networks: vec!["Isolated"], templates: vec![false], machines: vec![machine(0), machine(1)] };
    let bench = Bench::new(&scene).unwrap();
    // What is on a node that was never met may be anywhere.
    block_on(bench.meet());
    bench
}

fn node<'b>(bench: &'b Bench, name: &str) -> &'b FakeHost {
    &bench.hosts[&name.parse::<Name>().unwrap()]
}

/// Waits until a node is as it is after a clean run, for as long as nobody else has anything to do: an hour at most.
async fn is_done(host: &FakeHost, clean: &FakeHost) -> bool {
    for _ in 0..3600 {
        if end(host) == end(clean) {
            return true;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    false
}

#[test]
fn a_node_that_hangs_in_any_call_of_any_round_holds_up_only_what_is_on_it() {
    let clean = bench();
    block_on(clean.apply()).unwrap();
    let calls = node(&clean, "n1").acts().len();
    assert!(clean.full_reads() > 4, "it takes rounds: {}", clean.full_reads());
    for moment in 1..=calls {
        let bench = bench();
        let gate = Gate::new();
        node(&bench, "n1").inject(When::Nth(moment as u64), How::Freeze(gate.clone()));
        block_on(async {
            let apply = bench.apply();
            tokio::pin!(apply);
            tokio::select! {
                biased;
                ended = &mut apply => panic!("call {moment} of {calls}: it ended while a node hung: {ended:?}"),
                done = is_done(node(&bench, "n0"), node(&clean, "n0")) => {
                    assert!(done, "call {moment} of {calls}: {:?} while {:?} hung", node(&bench, "n0").acts(), node(&bench, "n1").acts());
                }
            }
            assert_ne!(end(node(&bench, "n1")), end(node(&clean, "n1")), "call {moment} of {calls}");
            gate.open();
            apply.await.unwrap();
        });
        assert_eq!(ends(&bench), ends(&clean), "call {moment}: {}", difference(&ends(&bench), &ends(&clean)));
        assert_eq!(bench.entries(), clean.entries(), "call {moment}");
        assert!(block_on(bench.plan()).is_empty(), "call {moment}");
    }
}

/// What is on a node, as the inventory has it, but for what the file of a Template is called, which is noted in two ways: by its step, and
/// by a last look.
fn kept(bench: &Bench, on: &str) -> Vec<Entry> {
    let mut there: Vec<Entry> = bench.entries().into_values().collect();
    there.retain(|entry| entry.node.as_ref().is_some_and(|node| node.as_str() == on));
    there.iter_mut().filter(|entry| entry.template.is_some()).for_each(|entry| entry.libvirt_name.clear());
    there
}

/// Whether it was said of a run that something is wrong on the second node, and of the first nothing was.
fn is_said(plan: &Plan, rounds: &Rounds) -> bool {
    let on = |name: &Name| name.as_str() == "n1";
    let failed: Vec<bool> = rounds.failures().iter().map(|(action, _)| action.node.as_ref().is_some_and(on)).collect();
    let away: Vec<bool> = plan.unreachable.iter().map(|node| on(&node.node)).chain(rounds.lost().keys().map(on)).collect();
    assert!(failed.iter().chain(&away).all(|there| *there), "{:?} {:?}", rounds.failures(), rounds.lost());
    !(failed.is_empty() && away.is_empty())
}

/// Has a call of a run meet something on the second of two nodes: the first is as after a clean run, it is said what is wrong where
/// anything is left to do, and the next run does the rest.
fn meets(clean: &Bench, moment: usize, how: &How) {
    let bench = bench();
    let there = node(&bench, "n1");
    there.forget_calls();
    there.inject(When::Call(moment as u64), how.clone());
    block_on(async {
        let (seen, plan) = bench.seen().await;
        let what = || format!("{how:?} at call {moment}, of {:?}", there.calls().get(moment - 1));
        assert!(plan.refusals.is_empty(), "{}: {:#?}", what(), plan.refusals);
        let rounds = bench.rounds_of(seen, plan.clone()).await;
        assert!(there.calls().len() >= moment, "there is no call {moment}");
        assert_eq!(end(node(&bench, "n0")), end(node(clean, "n0")), "{}", what());
        assert_eq!(kept(&bench, "n0"), kept(clean, "n0"), "{}", what());
        assert!(
            is_said(&plan, &rounds) || end(there) == end(node(clean, "n1")),
            "{}: nobody says so: {:?}",
            what(),
            rounds.end()
        );
        bench.heal();
        bench.apply().await.unwrap_or_else(|error| panic!("{}: the next run: {error}", what()));
        assert_eq!(difference(&ends(clean), &ends(&bench)), "", "{}", what());
        assert_eq!(bench.entries(), clean.entries(), "{}", what());
        assert!(bench.ledger().open_intents().is_empty(), "{}: {:?}", what(), bench.ledger().open_intents());
        assert!(bench.plan().await.is_empty(), "{}", what());
    });
}

/// The calls of a clean run on the second node, all or every third, by their numbers: whether each is a read.
fn calls(clean: &Bench, what: &str) -> Vec<(usize, bool)> {
    let there = node(clean, "n1");
    there.forget_calls();
    block_on(clean.apply()).unwrap();
    let calls: Vec<bool> = there.calls().iter().map(|call| call.word == "read").collect();
    assert!(calls.iter().filter(|read| **read).count() > 20 && calls.iter().filter(|read| !**read).count() > 8, "{calls:?}");
    let calls: Vec<_> = calls.into_iter().enumerate().map(|(at, read)| (at + 1, read)).collect();
    sampled(calls, 3, what)
}

#[test]
fn a_node_that_goes_away_at_any_call_of_plan_and_apply_is_said_and_the_others_are_done() {
    let clean = bench();
    for (call, is_read) in calls(&clean, "every third call at which a node goes away") {
        meets(&clean, call, &How::Away);
        if !is_read {
            meets(&clean, call, &How::AwayAfter);
        }
    }
}

#[test]
fn a_read_that_fails_once_is_said_or_made_up_for_and_the_next_run_does_the_rest() {
    let clean = bench();
    for (call, _) in calls(&clean, "every third read that fails").into_iter().filter(|(_, is_read)| *is_read) {
        for kind in [ErrorKind::Unreachable, ErrorKind::Unknown, ErrorKind::Transient, ErrorKind::Failed] {
            meets(&clean, call, &How::Fail(libvirt_error(kind, 1, "it can't be read")));
        }
    }
}

#[test]
fn a_node_that_hangs_when_all_is_done_keeps_nothing_of_the_others_from_being_recorded() {
    let clean = bench();
    block_on(clean.apply()).unwrap();
    let bench = bench();
    block_on(async {
        let (seen, plan) = bench.seen().await;
        let (_halt, halted) = watch::channel(Halt::No);
        let mut rounds = bench.carried_out(&bench, seen, plan, &halted).await;
        let gate = Gate::new();
        node(&bench, "n1").freeze(&gate);
        let finished = tokio::time::timeout(Duration::from_hours(1), rounds.finish(&bench)).await;
        assert!(finished.expect("it comes to its end").unwrap());
        assert_eq!(kept(&bench, "n0"), kept(&clean, "n0"));
        let open = bench.ledger().open_intents();
        assert!(open.iter().all(|intent| intent.node.as_ref().is_some_and(|node| node.as_str() == "n1")), "{open:?}");
        gate.open();
        bench.apply().await.unwrap();
        assert_eq!(ends(&bench), ends(&clean), "{}", difference(&ends(&bench), &ends(&clean)));
        assert_eq!(bench.entries(), clean.entries());
    });
}

/// Has something happen right before a node is looked at again.
struct Meanwhile<'b, F: Fn(&Name)>(&'b Bench, F);

#[async_trait(?Send)]
impl<F: Fn(&Name)> Outlook for Meanwhile<'_, F> {
    type Error = StoreError;

    async fn observe(&self, nodes: &BTreeSet<Name>, patience: Option<&Patience>) -> Observed {
        nodes.iter().for_each(&self.1);
        self.0.observe(nodes, patience).await
    }

    fn seen(&self, observed: Observed) -> Result<Seen, StoreError> {
        Outlook::seen(self.0, observed)
    }

    fn plan(&self, seen: &Seen, objects: Option<&BTreeSet<ObjectRef>>) -> Plan {
        Outlook::plan(self.0, seen, objects)
    }
}

#[test]
fn a_node_that_goes_away_between_two_rounds_is_said_and_the_others_go_on() {
    let clean = bench();
    block_on(clean.apply()).unwrap();
    let bench = bench();
    block_on(async {
        let (seen, plan) = bench.seen().await;
        let away = |name: &Name| {
            if name.as_str() == "n1" {
                node(&bench, "n1").set_reachable(false);
            }
        };
        let (_halt, halted) = watch::channel(Halt::No);
        let rounds = bench.carried_out(&Meanwhile(&bench, away), seen, plan, &halted).await;
        assert_eq!((rounds.end(), rounds.failures().len()), (End::Lost, 0));
        assert_eq!(rounds.lost().keys().map(Name::as_str).collect::<Vec<_>>(), ["n1"]);
        assert_eq!(end(node(&bench, "n0")), end(node(&clean, "n0")));
        bench.heal();
        bench.apply().await.unwrap();
        assert_eq!(ends(&bench), ends(&clean), "{}", difference(&ends(&bench), &ends(&clean)));
    });
}

#[test]
fn a_stop_between_two_rounds_is_a_stop() {
    let bench = bench();
    block_on(async {
        let (seen, plan) = bench.seen().await;
        let (halt, halted) = watch::channel(Halt::No);
        let stop = |_: &Name| _ = halt.send_replace(Halt::AfterSteps);
        let rounds = bench.carried_out(&Meanwhile(&bench, stop), seen, plan, &halted).await;
        assert_eq!((rounds.end(), rounds.failures().len()), (End::Stopped, 0));
        assert!(bench.hosts.values().all(|host| host.state().domains.is_empty()));
        bench.apply().await.unwrap();
    });
}

#[test]
fn what_is_out_of_reach_is_the_trouble_of_those_only_who_ask_for_something_there() {
    let bench = bench();
    block_on(async {
        bench.apply().await.unwrap();
        node(&bench, "n1").set_reachable(false);
        let (seen, whole) = bench.seen().await;
        let unreachable = |plan: &Plan| plan.unreachable.iter().map(|node| node.node.to_string()).collect::<Vec<_>>();
        assert_eq!(unreachable(&whole), ["n1"]);
        for on in ["n0", "n1"] {
            let there = |object: &&ObjectRef| bench.entries()[*object].node.as_ref().is_some_and(|node| node.as_str() == on);
            let asked: BTreeSet<ObjectRef> = bench.entries().keys().filter(there).cloned().collect();
            assert!(!asked.is_empty());
            let plan = Outlook::plan(&bench, &seen, Some(&asked));
            assert_eq!(unreachable(&plan), if on == "n1" { vec!["n1"] } else { vec![] });
        }
    });
}
