//! Conditions: each is set and taken back, with why, since when and by which revision; and what a Node's new address changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use jvp::host::Host;
use jvp::name::Name;
use jvp::plan::Suspension;
use jvp::store::Condition;

use super::*;

impl Bench {
    fn condition(&self, object: &str, name: &str) -> Option<Condition> {
        let view = self.work().shared.view();
        view.objects.get(&object.parse::<ObjectRef>().unwrap())?.condition(name).cloned()
    }

    /// Waits for a condition to stand, and wants its reason and words in its message.
    async fn stands(&self, object: &str, name: &str, reason: &str, words: &str) -> Condition {
        self.until(|bench| bench.is(object, name)).await;
        let found = self.condition(object, name).unwrap();
        assert_eq!(found.reason, reason, "{found:?}");
        assert!(found.message.contains(words), "{found:?}");
        assert!(found.since.parse::<jiff::Timestamp>().is_ok() && found.revision.is_some(), "{found:?}");
        found
    }

    /// Waits for a condition to stand no longer.
    async fn stands_no_more(&self, object: &str, name: &str) {
        self.until(|bench| !bench.is(object, name)).await;
    }

    /// Does something to the ledger as a command by hand does.
    async fn by_hand(&self, change: impl FnOnce(&jvp::store::Ledger)) {
        let (answer, paused) = oneshot::channel();
        assert!(self.work().asks.ask(Ask::Hold(Claims::default(), answer)).await);
        let token = paused.await.unwrap();
        change(&self.work().store.ledger(FLEET.parse().unwrap()));
        drop(token);
        assert!(self.work().asks.ask(Ask::Reconcile(BTreeSet::new())).await);
    }
}

#[tokio::test(start_paused = true)]
async fn what_wants_a_look_at_everything_is_tried_ever_more_seldom_too_where_it_fails() {
    let mut bench = Bench::new().begun(&vm("web", "")).await;
    bench.node.inject_times(When::On("domain-shutdown".into(), "web".into()), How::failed("not now"), 1000);
    bench.commit(&vm("web", "").replace("Always", "Halted"));
    bench.pass(600).await;
    let tried = bench.times("domain-shutdown web");
    assert!((5..=14).contains(&tried), "{tried}");
}

#[tokio::test(start_paused = true)]
async fn an_object_is_synced_or_says_why_not_since_when_and_by_which_revision() {
    let mut bench = Bench::new().begun(&vm("web", "")).await;
    let good = bench.condition("vm/web", "Synced").unwrap();
    assert_eq!((good.reason.as_str(), good.revision.as_deref()), ("AsWanted", Some("r1")));
    bench.node.inject_times(When::On("domain-metadata".into(), "web".into()), How::failed("no room"), 1000);
    bench.commit(&vm("web", ", title: hello"));
    bench.until(|bench| bench.condition("vm/web", "Synced").is_some_and(|synced| synced.reason == "Failed")).await;
    let bad = bench.condition("vm/web", "Synced").unwrap();
    assert!(bad.message.contains("no room") && bad.status == ConditionStatus::False, "{bad:?}");
    // It stays so since then, however often it is tried.
    bench.pass(600).await;
    assert_eq!(bench.condition("vm/web", "Synced").unwrap().since, bad.since);
    assert_eq!(bench.condition("vm/web", "Synced").unwrap().revision.as_deref(), Some("r2"));
    bench.node.heal();
    bench.until(Bench::is_synced).await;
    assert_ne!(bench.condition("vm/web", "Synced").unwrap().since, good.since);
}

#[tokio::test(start_paused = true)]
async fn what_rests_is_suspended_until_it_is_resumed() {
    let bench = Bench::new().begun(&vm("web", "")).await;
    let object: ObjectRef = "vm/web".parse().unwrap();
    let suspension = Suspension {
        object: object.clone(),
        since: jiff::Timestamp::now().to_string(),
        by: "ada".into(),
        reason: Some("disk rescue".into()),
    };
    bench.by_hand(|ledger| ledger.suspend(vec![suspension]).unwrap()).await;
    bench.stands("vm/web", "Suspended", "AsSaid", "disk rescue").await;
    bench.destroy("web");
    bench.pass(300).await;
    assert!(!bench.runs("web"));
    bench.by_hand(|ledger| ledger.resume(&[object], &jiff::Timestamp::now().to_string(), "ada", None).unwrap()).await;
    bench.until(|bench| bench.runs("web")).await;
    bench.stands_no_more("vm/web", "Suspended").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_and_what_needs_it_are_blocked_until_it_is_no_more() {
    let mut bench = Bench::new();
    bench.node.with(|state| state.network_define("<network><name>lan</name></network>")).unwrap();
    bench.start();
    bench.commit(&(network("lan", 1) + &vm("web", ", interfaces: [{name: lan, network: lan}]")));
    let found = bench.stands("network/lan@host", "Blocked", "Refused", "jvp didn't make").await;
    assert!(found.message.contains("adopt"), "{found:?}");
    bench.stands("vm/web", "Blocked", "AsSaid", "it needs Network/lan@host").await;
    assert!(!bench.is("network/lan@host", "Synced"));
    bench.node.with(|state| state.network_undefine("lan")).unwrap();
    bench.until(|bench| bench.is_synced() && bench.runs("web")).await;
    assert!(["network/lan@host", "vm/web"].iter().all(|object| !bench.is(object, "Blocked")));
}

/// Hosts by their URIs: each another libvirt of the same machine.
struct ByUri(Mutex<BTreeMap<String, FakeHost>>);

impl ByUri {
    fn node(&self, uri: &str) -> FakeHost {
        self.0.lock().unwrap().entry(uri.to_owned()).or_insert_with(|| FakeHost::new("host")).clone()
    }
}

impl Connector for ByUri {
    fn host(&self, _: &Name, uri: &str) -> Arc<dyn Host> {
        Arc::new(self.node(uri))
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_uri_changes_is_listened_to_where_it_is_now() {
    let other = "qemu+ssh://elsewhere/system";
    let hosts = Arc::new(ByUri(Mutex::default()));
    let mut bench = Bench::with(Options { resync: Duration::from_hours(4), ..Options::default() });
    (bench.node, bench.connector) = (hosts.node(&bench.uri), hosts.clone());
    let mut bench = bench.begun(&vm("web", "")).await;
    let before = std::mem::replace(&mut bench.node, hosts.node(other));
    bench.uri = other.into();
    bench.commit(&vm("web", ""));
    // A look is made there at once, though no manifest of an object changed.
    bench.until(|bench| bench.runs("web")).await;
    bench.until(Bench::is_synced).await;
    bench.pass(5).await;
    bench.destroy("web");
    bench.pass(5).await;
    assert!(bench.runs("web"), "{:?}", bench.node.acts());
    // What happens where it was is nobody's business.
    bench.node.forget_calls();
    before.with(|state| destroy(state, "web"));
    bench.pass(60).await;
    assert_eq!(bench.node.calls().len(), 0, "{:?}", bench.node.calls());
}

/// A look at everything that takes long is overtaken by what happens meanwhile: what it saw before is not taken for news.
#[tokio::test(start_paused = true)]
async fn a_look_that_was_overtaken_says_nothing_of_what_was_looked_at_since() {
    for more in [String::new(), network("lan", 1), pool() + &network("lan", 1)] {
        // No resync comes to mend what is wrong.
        let options = Options { resync: Duration::from_hours(4), ..Options::default() };
        let bench = Bench::with(options).begun(&(more + &vm("web", ""))).await;
        bench.destroy("web");
        bench.pass(5).await;
        assert!(bench.runs("web") && bench.is_synced(), "{:#?}", bench.work().shared.view());
    }
}
