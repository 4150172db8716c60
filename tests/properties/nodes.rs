//! Rounds of several nodes: one that hangs, or goes away, at any moment holds up only what is on it.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use jvp::apply::{End, Halt, Outlook, Seen};
use jvp::host::fake::{FakeHost, Gate, How, When};
use jvp::name::{Name, ObjectRef};
use jvp::observe::Observed;
use jvp::plan::Plan;
use jvp::store::StoreError;
use tokio::sync::watch;

use crate::bench::{Bench, block_on};
use crate::scene::{Begin, Disk, Machine, Scene};
use crate::{difference, end, ends};

/// Two nodes with the same on each. The VM's disk waits for a template, and that one for a pool: three rounds.
fn bench() -> Bench {
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

/// Has something happen right before a node is looked at again.
struct Meanwhile<'b, F: Fn(&Name)>(&'b Bench, F);

#[async_trait(?Send)]
impl<F: Fn(&Name)> Outlook for Meanwhile<'_, F> {
    type Error = StoreError;

    async fn observe(&self, node: Option<&Name>) -> Observed {
        if let Some(node) = node {
            self.1(node);
        }
        self.0.observe(node).await
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
