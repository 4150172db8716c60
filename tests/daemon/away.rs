//! What can't be looked at is said to be unknown: since when, and why.

use std::collections::BTreeMap;

use jvp::store::{Condition, ObjectStatus};

use super::*;

impl Bench {
    fn objects(&self) -> BTreeMap<ObjectRef, Arc<ObjectStatus>> {
        self.work().shared.view().objects.clone()
    }

    fn one(&self, object: &str, name: &str) -> Condition {
        self.objects()[&object.parse::<ObjectRef>().unwrap()].condition(name).unwrap().clone()
    }
}

/// A daemon whose VM waits for a restart, so that it has a condition more; and a key pair, which stands on no node.
async fn begun() -> Bench {
    let manifests =
        |memory: &str| network("lan", 1) + &vm("web", "").replace("64Mi", memory) + &object("KeyPair", "ops", "generate: true");
    let mut bench = Bench::new().begun(&manifests("64Mi")).await;
    bench.commit(&manifests("96Mi"));
    bench.until(|bench| bench.is("vm/web", "RestartRequired") && bench.is_synced()).await;
    bench.pass(60).await;
    bench
}

#[tokio::test(start_paused = true)]
async fn what_is_on_a_node_out_of_reach_is_unknown_since_then_and_said_once() {
    let bench = begun().await;
    let before = bench.objects();
    bench.node.set_reachable(false);
    bench.pass(10).await;
    assert_eq!(bench.objects(), before, "what was found last stands for a while");
    bench.pass(30).await;
    let away = bench.objects();
    for (object, name) in
        [("vm/web", "Synced"), ("vm/web", "Ready"), ("vm/web", "RestartRequired"), ("network/lan@host", "Synced")]
    {
        let found = bench.one(object, name);
        assert_eq!((found.status, found.reason.as_str()), (ConditionStatus::Unknown, "NodeUnreachable"), "{found:?}");
        let since = found.message.split("since ").nth(1).and_then(|rest| rest.split_once(": ")).unwrap_or_default();
        assert!(since.0.parse::<jiff::Timestamp>().is_ok() && since.1.contains("look whether libvirt runs"), "{found:?}");
    }
    assert!(bench.is("keypair/ops", "Synced"), "it is on no node");
    bench.pass(3600).await;
    assert_eq!(bench.objects(), away, "however often it is tried");
    assert_eq!(bench.work().store.ledger(FLEET.parse().unwrap()).statuses(), away);
    bench.node.set_reachable(true);
    bench.until(Bench::is_synced).await;
    assert!(["Ready", "RestartRequired"].iter().all(|name| bench.is("vm/web", name)));
    assert_eq!(bench.one("vm/web", "Ready").reason, "Running");
}

#[tokio::test(start_paused = true)]
async fn a_libvirt_that_is_restarted_is_nobodys_trouble() {
    let bench = begun().await;
    let before = bench.objects();
    bench.node.set_reachable(false);
    bench.pass(12).await;
    bench.node.set_reachable(true);
    bench.pass(200).await;
    assert_eq!(bench.objects(), before);
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_otherwise_since_then_is_not_said_to_be_as_wanted() {
    let mut bench = Bench::new().begun(&(network("lan", 1) + &vm("web", ""))).await;
    bench.node.set_reachable(false);
    bench.pass(3).await;
    bench.commit(&(network("lan", 1) + &vm("web", ", title: hello")));
    bench.pass(5).await;
    assert_eq!(bench.one("vm/web", "Synced").status, ConditionStatus::Unknown);
    assert!(bench.is("network/lan@host", "Synced"), "nothing else was wanted of it");
    bench.node.set_reachable(true);
    bench.until(Bench::is_synced).await;
    assert_eq!(bench.times("domain-metadata web"), 1);
}

#[tokio::test(start_paused = true)]
async fn where_no_look_succeeds_nothing_is_known() {
    let mut bench = Bench::new();
    let secrets = bench.folder.path().join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    bench.secrets = Some(secrets.clone());
    let bench = bench.begun(&vm("web", "")).await;
    std::fs::remove_dir(&secrets).unwrap();
    bench.until(|bench| bench.one("vm/web", "Synced").status == ConditionStatus::Unknown).await;
    let found = bench.one("vm/web", "Ready");
    assert_eq!((found.status, found.reason.as_str()), (ConditionStatus::Unknown, "LookFailed"));
    assert!(found.message.contains("since ") && found.message.contains("secrets"), "{found:?}");
    std::fs::create_dir(&secrets).unwrap();
    bench.until(|bench| bench.is_synced() && bench.is("vm/web", "Ready")).await;
}
