//! A run that somebody stops at any moment: the first Ctrl-C has the steps in flight end and no other begin, the second leaves at once.
//! Whatever came of it, one more run ends as a clean one does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jvp::apply::progress::{Ended, Event, Sink};
use jvp::apply::{End, Halt};
use jvp::host::fake::{FakeHost, Gate, How, When};
use tokio::sync::watch;

use crate::bench::{Bench, block_on};
use crate::nodes::bench;
use crate::sample::sampled;
use crate::{difference, ends};

/// A bench whose next run makes everything, or takes it down.
fn set_out(delete: bool) -> Bench {
    let mut bench = bench();
    if delete {
        block_on(bench.apply()).unwrap();
        bench.delete(true);
    }
    for host in bench.hosts.values() {
        host.forget_calls();
    }
    bench
}

/// A bench after a clean run, and by node the calls of that run after its plan: whether each is a read.
fn cleaned(delete: bool) -> (Bench, Vec<Vec<bool>>) {
    let clean = set_out(delete);
    let calls = block_on(calls(&clean));
    (clean, calls)
}

async fn calls(clean: &Bench) -> Vec<Vec<bool>> {
    let (seen, plan) = clean.seen().await;
    let of = |host: &FakeHost| host.calls().iter().map(|call| call.word == "read").collect::<Vec<_>>();
    let planned: Vec<usize> = clean.hosts.values().map(|host| of(host).len()).collect();
    let (_halt, halted) = watch::channel(Halt::No);
    let mut rounds = clean.carried_out(clean, seen, plan, &halted).await;
    let calls = clean.hosts.values().zip(planned).map(|(host, planned)| of(host).split_off(planned)).collect();
    assert!(rounds.finish(clean).await.unwrap());
    calls
}

/// The calls that are tried, all or every sixth: the number of the node among all, of the call on it, and whether that is a read.
fn cases(calls: &[Vec<bool>], what: &str) -> Vec<(usize, usize, bool)> {
    let of = |(place, calls): (usize, &Vec<bool>)| {
        calls.iter().enumerate().map(|(at, read)| (place, at + 1, *read)).collect::<Vec<_>>()
    };
    sampled(calls.iter().enumerate().flat_map(of).collect(), 6, what)
}

async fn converges(bench: &Bench, clean: &Bench, what: &str) {
    bench.apply().await.unwrap_or_else(|error| panic!("{what}: the next run: {error}"));
    assert_eq!(difference(&ends(clean), &ends(bench)), "", "{what}");
    assert_eq!(bench.entries(), clean.entries(), "{what}");
    assert!(bench.ledger().open_intents().is_empty(), "{what}: {:?}", bench.ledger().open_intents());
    assert!(bench.plan().await.is_empty(), "{what}");
}

/// Each step that began and each that ended, in order.
fn listened() -> (Arc<Mutex<Vec<Event>>>, Sink) {
    let events = Arc::<Mutex<Vec<Event>>>::default();
    let heard = Arc::clone(&events);
    (events, Sink::new(move |event| heard.lock().unwrap().push(event.clone())))
}

fn begun(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Started { .. })).count()
}

#[test]
fn a_stop_at_any_call_ends_the_steps_in_flight_and_begins_no_other() {
    for delete in [false, true] {
        let (clean, calls) = cleaned(delete);
        let mut stopped = 0;
        let cases = cases(&calls, "every sixth call at which a run is stopped");
        for (place, call, _) in &cases {
            let what = format!("delete: {delete}, stopped at call {call} of {} on node {place}", calls[*place].len());
            let bench = set_out(delete);
            block_on(async {
                let host = bench.hosts.values().nth(*place).unwrap();
                let (seen, plan) = bench.seen().await;
                let (halt, halted) = watch::channel(Halt::No);
                let halt = Arc::new(halt);
                let (events, sink) = listened();
                let (then, heard) = (Arc::new(Mutex::new(None)), Arc::clone(&events));
                let (when, word) = (Arc::clone(&then), Arc::clone(&halt));
                let stop = move |_: &mut _| {
                    *when.lock().unwrap() = Some(begun(&heard.lock().unwrap()));
                    word.send_replace(Halt::AfterSteps);
                };
                host.inject(When::Call(*call as u64), How::change(stop));
                let rounds = bench.told_of(&bench, seen, plan, &halted, &sink).await;
                let events = events.lock().unwrap().clone();
                assert_eq!(Some(begun(&events)), *then.lock().unwrap(), "{what}: {events:#?}");
                let ended = events.iter().filter(|event| matches!(event, Event::Finished { ended: Ended::Done, .. })).count();
                assert_eq!(begun(&events), ended, "{what}: {events:#?}");
                assert!(bench.ledger().open_intents().is_empty(), "{what}: {:?}", bench.ledger().open_intents());
                assert!(rounds.failures().is_empty() && matches!(rounds.end(), End::Stopped | End::Done), "{what}");
                stopped += u32::from(rounds.end() == End::Stopped);
                converges(&bench, &clean, &what).await;
            });
        }
        eprintln!("delete: {delete}: {stopped} of {} stops were before the end", cases.len());
        assert!(stopped > 4, "{stopped}");
    }
}

#[test]
fn what_is_left_at_once_at_any_call_is_done_by_the_next_run() {
    for delete in [false, true] {
        let (clean, calls) = cleaned(delete);
        let mut left = 0;
        for (place, call, is_read) in &cases(&calls, "every sixth call at which a run is left") {
            // Before its effect, and after it.
            let gate = Gate::new();
            for how in [How::Hang(gate.clone()), How::SlowAnswer(gate.clone())].into_iter().take(if *is_read { 1 } else { 2 }) {
                let what = format!("delete: {delete}, left at call {call} of {} on node {place}, {how:?}", calls[*place].len());
                let bench = set_out(delete);
                block_on(async {
                    let host = bench.hosts.values().nth(*place).unwrap();
                    let (seen, plan) = bench.seen().await;
                    let (halt, halted) = watch::channel(Halt::No);
                    host.inject(When::Call(*call as u64), how);
                    let twice = async {
                        tokio::time::sleep(Duration::from_hours(1)).await;
                        halt.send_replace(Halt::AfterSteps);
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        halt.send_replace(Halt::Now);
                    };
                    let carried = tokio::time::timeout(Duration::from_hours(2), bench.carried_out(&bench, seen, plan, &halted));
                    let (rounds, ()) = tokio::join!(carried, twice);
                    let rounds = rounds.unwrap_or_else(|_| panic!("{what}: it is waited for still"));
                    assert!(rounds.failures().is_empty(), "{what}: {:?}", rounds.failures());
                    assert_eq!(rounds.end(), End::Stopped, "{what}");
                    left += 1;
                    converges(&bench, &clean, &what).await;
                });
            }
        }
        eprintln!("delete: {delete}: left at once {left} times");
        assert!(left > 4, "{left}");
    }
}
