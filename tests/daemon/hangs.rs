//! A node that hangs holds up only what is on it, whatever the others are woken by.

use jvp::host::fake::Gate;

use super::*;

/// A VM on a node.
fn on(node: &str, name: &str, more: &str) -> String {
    vm(name, &format!(", node: {node}{more}"))
}

/// Two nodes with a network and a VM each, all as wanted; and so many more VMs on the other one.
async fn two(options: Options, more: usize) -> (Bench, FakeHost, String) {
    let connector = Arc::new(FakeConnector::new());
    let mut bench = Bench::with(options);
    (bench.node, bench.connector) = (connector.node("host"), connector.clone());
    let node = object("Node", "other", "uri: \"qemu+ssh://other/system\"");
    let others: String = (0..more).map(|number| on("other", &format!("more-{number}"), "")).collect();
    let manifests = node + &network("lan", 1) + &on("host", "web", "") + &on("other", "away", "") + &others;
    (bench.begun(&manifests).await, connector.node("other"), manifests)
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_delays_nothing_on_the_others() {
    // No resync comes to mend what is missed, and then one comes soon.
    for resync in [Duration::from_hours(4), Duration::from_mins(1)] {
        let (mut bench, other, manifests) = two(Options { resync, ..Options::default() }, 0).await;
        let gate = Gate::new();
        other.freeze(&gate);
        // What libvirt tells of.
        bench.destroy("web");
        bench.until(|bench| bench.runs("web")).await;
        // A look at everything hangs with it by now: the look at all guests that follows the start of a network.
        bench.node.with(|state| state.network_stop("lan")).unwrap();
        bench.until(|bench| bench.times("network-start lan") == 2).await;
        // What is new in the manifests, and what has to wait for something of it.
        let data =
            pool().replace("type: Dir", "type: Dir, nodes: [host]") + &object("Volume", "data", "pool: main, capacity: 8Mi");
        let second = on("host", "second", ", disks: [{name: root, volume: data}]");
        bench.commit(&(manifests + &data + &second));
        bench.until(|bench| bench.runs("second")).await;
        // What libvirt tells nobody of is found by the clock.
        if resync < Duration::from_hours(1) {
            bench.node.lose_events();
            bench.destroy("web");
            bench.until(|bench| bench.runs("web")).await;
        }
        // What is on the other one is known no better, and is said to be.
        let unknown = |bench: &Bench| {
            let view = bench.work().shared.view();
            view.objects[&"vm/away".parse::<ObjectRef>().unwrap()].condition("Synced").unwrap().status == ConditionStatus::Unknown
        };
        bench.until(unknown).await;
        assert!(bench.is("vm/web", "Synced"));
        gate.open();
        bench.until(Bench::is_synced).await;
        bench.until(|bench| bench.work().shared.view().nodes.values().all(Option::is_none)).await;
        assert_eq!(other.acts().iter().filter(|act| *act == "domain-start away").count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn however_much_is_to_be_done_on_a_node_that_hangs_the_others_have_their_turns() {
    let (mut bench, other, manifests) = two(Options::default(), 40).await;
    // Forty steps hang in their calls, and as many looks as there are places for.
    let gate = Gate::new();
    other.inject(When::Nth(1), How::Freeze(gate.clone()));
    bench.commit(&manifests.replace("node: other", "node: other, title: Another"));
    bench.until(|_| other.acts().iter().any(|act| act.starts_with("domain-metadata"))).await;
    for number in 0..40 {
        other.hint(&Hint::Object(Target::Domain(format!("more-{number}"))), "metadata");
    }
    for times in 2..5 {
        bench.destroy("web");
        bench.until(|bench| bench.times("domain-start web") == times).await;
    }
    bench.commit(&(manifests.replace("node: other", "node: other, title: Another") + &on("host", "second", "")));
    bench.until(|bench| bench.runs("second")).await;
    gate.open();
    bench.until(Bench::is_synced).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_only_slow_is_waited_for_as_long_as_it_takes() {
    let (mut bench, other, manifests) = two(Options::default(), 0).await;
    other.answers_after("everything", Duration::from_secs(9));
    bench.commit(&(manifests.clone() + &on("other", "second", "")));
    bench.until(Bench::is_synced).await;
    bench.pass(600).await;
    // Once it is known how slow it is, no look leaves it out.
    for _ in 0..300 {
        bench.pass(1).await;
        assert!(bench.is_synced() && bench.work().shared.view().nodes.values().all(Option::is_none));
    }
    bench.commit(&(manifests + &on("other", "second", "") + &on("other", "third", "")));
    bench.until(|bench| bench.is_synced() && other.acts().iter().any(|act| act == "domain-start third")).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_slow_and_hangs_is_not_waited_for_as_long_as_a_slow_one() {
    let (mut bench, other, manifests) = two(Options::default(), 0).await;
    other.answers_by("everything", 600, Duration::from_millis(200));
    let second = manifests.clone() + &on("other", "second", "");
    bench.commit(&second);
    bench.until(Bench::is_synced).await;
    // By now it is known how slow it is.
    bench.commit(&(second.clone() + &on("other", "third", "")));
    bench.until(|bench| bench.is_synced() && other.acts().iter().any(|act| act == "domain-start third")).await;
    let gate = Gate::new();
    other.freeze(&gate);
    let began = tokio::time::Instant::now();
    bench.commit(&(second + &on("other", "third", "") + &on("host", "fourth", "")));
    bench.until(|bench| bench.runs("fourth")).await;
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    gate.open();
    bench.until(Bench::is_synced).await;
}

#[tokio::test(start_paused = true)]
async fn once_leaves_out_a_node_that_hangs_and_waits_for_a_slow_one() {
    for hangs in [false, true] {
        let (mut bench, other, manifests) = two(Options::default(), 0).await;
        bench.end().await;
        if hangs {
            other.freeze(&Gate::new());
        } else {
            other.answers_by("everything", 60, Duration::from_secs(1));
        }
        bench.options = Options { once: true, ..Options::default() };
        bench.start();
        bench.commit(&(manifests + &on("host", "second", "") + &on("other", "third", "")));
        let work = bench.work.take().unwrap();
        let summary = tokio::time::timeout(Duration::from_hours(1), work.task).await.expect("it ends").unwrap();
        assert!(bench.runs("second"));
        assert_eq!(summary.unreachable, usize::from(hangs));
        assert_eq!(other.acts().iter().any(|act| act == "domain-start third"), !hangs);
    }
}
