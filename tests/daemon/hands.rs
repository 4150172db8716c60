//! Commands by hand beside the daemon's runs: who waits for whom.

use super::*;

impl Bench {
    /// Asks for a hold, as a command does that concerns these objects.
    async fn hand(&self, objects: &[&str]) -> oneshot::Receiver<Hold> {
        let (answer, held) = oneshot::channel();
        assert!(self.work().asks.ask(Ask::Hold(claims(objects), answer)).await);
        held
    }
}

fn claims(objects: &[&str]) -> Claims {
    Claims { own: objects.iter().map(|object| object.parse().unwrap()).collect(), ..Claims::default() }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_while_a_hand_looks_and_plans() {
    let bench = Bench::new().begun(&vm("web", "")).await;
    let held = bench.hand(&[]).await.await.unwrap();
    bench.destroy("web");
    bench.pass(600).await;
    assert!(!bench.runs("web"));
    drop(held);
    bench.until(|bench| bench.runs("web")).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_looked_at_before_a_hand_came_is_looked_at_again_once_it_is_gone() {
    for (read, named) in [("objects", "web"), ("everything", "web")] {
        let mut bench = Bench::new().begun(&(vm("web", "") + &vm("other", ""))).await;
        bench.pass(3).await;
        bench.node.answers_after(read, Duration::from_secs(5));
        match read {
            "objects" => bench.destroy(named),
            // What is new wants a look at everything.
            _ => bench.commit(&(vm("web", "") + &vm("other", "") + &vm("new", ""))),
        }
        bench.pass(2).await;
        let held = bench.hand(&[]).await.await.unwrap();
        let acts = bench.node.acts();
        bench.pass(60).await;
        assert_eq!(bench.node.acts(), acts, "{read}");
        drop(held);
        bench.until(|bench| bench.runs(named) && bench.is_synced()).await;
        if read == "everything" {
            bench.until(|bench| bench.node.acts().iter().any(|act| act == "domain-start new")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hand_waits_for_what_concerns_it_and_holds_up_nothing_else() {
    let mut bench = Bench::new().begun(&(vm("web", "") + &vm("other", ""))).await;
    let gate = bench.node.hang("domain-start", "web");
    bench.destroy("web");
    bench.until(|bench| !bench.work().shared.view().running.is_empty()).await;
    // What doesn't concern that run needn't wait for it.
    let held = bench.hand(&["vm/other"]).await.await.unwrap();
    assert_eq!(held.in_hand(&claims(&["vm/web", "vm/other"])), ["vm/web".parse().unwrap()].into());
    drop(held);
    // What does waits, and meanwhile the daemon goes on with the rest.
    let mut held = bench.hand(&["vm/web"]).await;
    bench.destroy("other");
    bench.until(|bench| bench.times("domain-start other") == 2).await;
    bench.pass(600).await;
    assert!(held.try_recv().is_err());
    // Whoever is next in the queue has their turn although the first one waits.
    drop(bench.hand(&["vm/other"]).await.await.unwrap());
    // Nothing else is begun of what it waits for.
    bench.commit(&(vm("web", ", title: Another") + &vm("other", "")));
    bench.pass(60).await;
    gate.open();
    let held = held.await.unwrap();
    bench.pass(600).await;
    assert_eq!(bench.times("domain-metadata web"), 0);
    drop(held);
    bench.until(|bench| bench.times("domain-metadata web") == 1 && bench.is_synced()).await;
}

#[tokio::test(start_paused = true)]
async fn a_hand_that_knows_what_it_does_holds_up_nothing_else() {
    let bench = Bench::new().begun(&(vm("web", "") + &vm("other", ""))).await;
    let held = bench.hand(&[]).await.await.unwrap();
    bench.destroy("web");
    bench.destroy("other");
    assert!(bench.work().asks.ask(Ask::Narrow(claims(&["vm/web"]))).await);
    bench.until(|bench| bench.runs("other")).await;
    bench.pass(600).await;
    // What the hand has is neither healed nor said to be anything meanwhile.
    assert!(!bench.runs("web") && bench.is("vm/web", "Synced"));
    drop(held);
    bench.until(|bench| bench.runs("web") && bench.is_synced()).await;
}

#[tokio::test(start_paused = true)]
async fn a_hand_that_went_away_while_it_waited_holds_up_nobody() {
    let mut bench = Bench::new().begun(&vm("web", "")).await;
    let gate = bench.node.hang("domain-start", "web");
    bench.destroy("web");
    bench.until(|bench| !bench.work().shared.view().running.is_empty()).await;
    drop(bench.hand(&["vm/web"]).await);
    bench.commit(&vm("web", ", title: Another"));
    gate.open();
    bench.until(|bench| bench.times("domain-metadata web") == 1 && bench.is_synced()).await;
}
