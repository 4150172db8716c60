//! Nothing is done by what was read before the last word of an object.

use super::*;

/// A VM that waits for a restart which nobody asked for, on a node where a look at everything takes a second and something is told of
/// it ten times a second, for as long as the sender is there.
async fn told_without_end() -> (Bench, watch::Sender<()>) {
    let mut bench = Bench::new().begun(&vm("web", "")).await;
    bench.commit(&vm("web", "").replace("64Mi", "96Mi"));
    bench.until(|bench| bench.is("vm/web", "RestartRequired") && bench.is_synced()).await;
    bench.node.answers_after("everything", Duration::from_secs(1));
    let (goes_on, mut ends) = watch::channel(());
    let node = bench.node.clone();
    tokio::spawn(async move {
        while tokio::time::timeout(Duration::from_millis(100), ends.changed()).await.is_err() {
            node.hint(&Hint::Object(Target::Domain("web".into())), "metadata");
        }
    });
    bench.node.forget_calls();
    bench.commit(&vm("web", ", updatePolicy: {restart: Now}").replace("64Mi", "96Mi"));
    (bench, goes_on)
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_without_end_is_done_all_the_same() {
    // Also where something is told of it during each read of it alone.
    for reads_take in [0, 150] {
        let (bench, _goes_on) = told_without_end().await;
        bench.node.answers_after("objects", Duration::from_millis(reads_take));
        bench.until(|bench| bench.times("domain-shutdown web") == 1 && bench.runs("web")).await;
        bench.until(|bench| !bench.is("vm/web", "RestartRequired")).await;
        bench.pass(60).await;
        assert_eq!((bench.times("domain-shutdown web"), bench.times("domain-start web")), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_without_end_is_never_acted_upon_by_an_older_look() {
    // Whichever of the looks it is that somebody's hand falls into.
    for look in 1..=6 {
        let (bench, _goes_on) = told_without_end().await;
        bench.until(|bench| bench.reads_of_everything() >= look || bench.times("domain-shutdown web") > 0).await;
        if bench.times("domain-shutdown web") > 0 {
            assert!(look > 1);
            break;
        }
        bench.node.with(|state| {
            destroy(state, "web");
            state.perform(&Op::DomainStart { name: "web".into(), uuid: state.domains["web"].uuid }).unwrap();
        });
        bench.pass(120).await;
        assert_eq!(bench.times("domain-shutdown web"), 0, "look {look}: {:?}", bench.node.calls());
        assert!(bench.is("vm/web", "Synced"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_while_a_step_looks_at_it_has_it_look_again() {
    let mut bench = Bench::new().begun(&vm("web", "")).await;
    bench.commit(&vm("web", "").replace("64Mi", "96Mi"));
    bench.until(|bench| bench.is("vm/web", "RestartRequired") && bench.is_synced()).await;
    bench.pass(3).await;
    bench.node.forget_calls();
    bench.node.answers_after("objects", Duration::from_secs(1));
    bench.commit(&vm("web", ", updatePolicy: {restart: Now}").replace("64Mi", "96Mi"));
    // The look at it, the one at everything, and then the step's own.
    let step_looks = |bench: &Bench| {
        let calls = bench.node.calls();
        let full = calls.iter().position(|call| call.object == "everything");
        full.is_some_and(|full| calls[full..].iter().any(|call| call.object == "objects"))
    };
    bench.until(step_looks).await;
    bench.node.with(|state| {
        destroy(state, "web");
        state.perform(&Op::DomainStart { name: "web".into(), uuid: state.domains["web"].uuid }).unwrap();
    });
    bench.pass(120).await;
    assert_eq!(bench.times("domain-shutdown web"), 0, "{:?}", bench.node.calls());
    assert!(bench.is("vm/web", "Synced"));
}
