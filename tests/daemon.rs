//! The daemon on fake nodes, in tokio's time: what it looks at, what it does about it and what it leaves alone.

#![cfg(debug_assertions)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests: what fails must be loud")]

#[path = "daemon/away.rs"]
mod away;
#[path = "daemon/conditions.rs"]
mod conditions;
#[path = "daemon/guests.rs"]
mod guests;
#[path = "daemon/hands.rs"]
mod hands;
#[path = "daemon/hangs.rs"]
mod hangs;
#[path = "daemon/newest.rs"]
mod newest;
#[path = "daemon/restarts.rs"]
mod restarts;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jvp::daemon::{Ask, Asks, Claims, Daemon, Hold, News, Options, Revision, Shared, Summary, Supply, Tree};
use jvp::diag;
use jvp::host::fake::{FakeConnector, FakeHost, How, State, When};
use jvp::host::{Connector, Hint};
use jvp::name::ObjectRef;
use jvp::observe::Target;
use jvp::plan::{MaxDeletes, Op};
use jvp::resolve::Memo;
use jvp::source::{Given, check, read_set};
use jvp::store::{ConditionStatus, StateDir, Store};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

const FLEET: &str = "6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10";

/// Manifests that a test hands over.
struct Handed(mpsc::UnboundedReceiver<News>);

#[async_trait]
impl Supply for Handed {
    async fn next(&mut self) -> News {
        match self.0.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }
}

/// A daemon at work, and the node that it keeps.
struct Bench {
    folder: tempfile::TempDir,
    node: FakeHost,
    connector: Arc<dyn Connector>,
    uri: String,
    options: Options,
    secrets: Option<std::path::PathBuf>,
    work: Option<Work>,
    commits: u32,
}

struct Work {
    store: Store,
    shared: Shared,
    asks: Asks,
    news: mpsc::UnboundedSender<News>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Summary>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("checkout")).unwrap();
        let connector = Arc::new(FakeConnector::new());
        let node = connector.node("host");
        node.with(|state| state.folders.insert("/srv".into()));
        let uri = "qemu+ssh://host/system".into();
        Self { folder, node, connector, uri, options: Options::default(), secrets: None, work: None, commits: 0 }
    }

    fn with(options: Options) -> Self {
        Self { options, ..Self::new() }
    }

    fn start(&mut self) {
        let path = self.folder.path().join("state");
        let state = StateDir::open(&path).unwrap();
        let (store, _) = Store::open(&state, "jvp daemon", jiff::Timestamp::now(), Duration::from_secs(5)).unwrap();
        let shared = Shared::new(&self.options.source, jiff::Timestamp::now());
        let daemon =
            Daemon::new(self.options.clone(), state, store.clone(), self.connector.clone(), self.secrets.clone(), shared.clone());
        let asks = daemon.asks();
        let (news, handed) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let run = daemon.run(Box::new(Handed(handed)), stopped);
        let task = tokio::spawn(async move { run.await.unwrap() });
        self.work = Some(Work { store, shared, asks, news, stop, task });
    }

    fn work(&self) -> &Work {
        self.work.as_ref().unwrap()
    }

    /// Ends the daemon as a signal does.
    async fn end(&mut self) -> Summary {
        let work = self.work.take().unwrap();
        work.stop.send_replace(true);
        work.task.await.unwrap()
    }

    /// Hands manifests over.
    fn commit(&mut self, manifests: &str) {
        self.commits += 1;
        let tree = tree(&self.folder.path().join("checkout"), &self.uri, manifests, self.commits);
        self.work().news.send(tree).unwrap();
    }

    /// Starts with manifests, and lets them come to be.
    async fn begun(mut self, manifests: &str) -> Self {
        self.start();
        self.commit(manifests);
        self.until(Bench::is_synced).await;
        self
    }

    fn is_synced(&self) -> bool {
        let view = self.work().shared.view();
        view.running.is_empty() && !view.objects.is_empty() && view.objects.values().all(|status| status.is("Synced"))
    }

    /// Lets time pass until something is so: an hour at most.
    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..36_000 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it never came to be so: {:#?}\n{:?}", self.work().shared.view(), self.node.acts());
    }

    async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    fn destroy(&self, name: &str) {
        self.node.with(|state| destroy(state, name));
    }

    fn runs(&self, name: &str) -> bool {
        self.node.with(|state| state.domains.get(name).is_some_and(|domain| domain.power.is_some()))
    }

    /// How often something was done.
    fn times(&self, act: &str) -> usize {
        self.node.acts().iter().filter(|done| *done == act).count()
    }

    fn reads_of_everything(&self) -> usize {
        self.node.calls().iter().filter(|call| call.word == "read" && call.object == "everything").count()
    }

    fn is(&self, object: &str, condition: &str) -> bool {
        let object: ObjectRef = object.parse().unwrap();
        self.work().shared.view().objects.get(&object).is_some_and(|status| status.is(condition))
    }
}

fn destroy(state: &mut State, name: &str) {
    let uuid = state.domains.get(name).unwrap().uuid;
    state.perform(&Op::DomainDestroy { name: name.to_owned(), uuid }).unwrap();
}

fn tree(folder: &Path, uri: &str, manifests: &str, number: u32) -> News {
    let head = format!(
        "apiVersion: jvp.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: here}}\nspec: {{id: {FLEET}}}\n---\n\
         apiVersion: jvp.dev/v1alpha1\nkind: Node\nmetadata: {{name: host}}\nspec: {{uri: \"{uri}\"}}\n"
    );
    std::fs::write(folder.join("all.yaml"), head + manifests).unwrap();
    let mut set = read_set(&[folder.to_str().unwrap().to_owned()], &mut std::io::empty());
    let (desired, _) = check(&mut set, &Given { uri: "qemu:///system", allowed: &|_| false }, || None, &mut Memo::default());
    assert!(!diag::has_errors(&set.diagnostics), "{:#?}", set.diagnostics);
    let revision = Revision { id: format!("r{number}"), author: None, subject: None };
    News::Tree(Box::new(Tree { set, desired, revision, hold: Box::new(()) }))
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("---\napiVersion: jvp.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

fn vm(name: &str, more: &str) -> String {
    object(
        "VirtualMachine",
        name,
        &format!("runStrategy: Always, memory: 64Mi, shutdown: {{timeout: 5s, onTimeout: PowerOff}}{more}"),
    )
}

fn network(name: &str, third: u8) -> String {
    object("Network", name, &format!("mode: Isolated, ips: [{{address: 10.9.{third}.1/24}}]"))
}

fn pool() -> String {
    object("StoragePool", "main", "type: Dir, target: {path: /srv/main}")
}

#[tokio::test(start_paused = true)]
async fn what_the_manifests_say_comes_to_be_and_nothing_is_done_afterwards() {
    let manifests = pool()
        + &network("lan", 1)
        + &object("Volume", "data", "pool: main, capacity: 8Mi")
        + &vm("web", ", disks: [{name: root, volume: data}], interfaces: [{name: lan, network: lan}]");
    let mut bench = Bench::new().begun(&manifests).await;
    assert!(bench.runs("web"));
    let acts = bench.node.acts();
    bench.pass(600).await;
    assert_eq!(bench.node.acts(), acts);
    assert!(bench.reads_of_everything() >= 9);
    assert!(["Ready", "Synced"].iter().all(|condition| bench.is("vm/web", condition)));
    assert_eq!(bench.end().await, Summary { out_of_sync: 0, no_tree: false, unreachable: 0 });
    // And nothing is done by the next one.
    bench.start();
    bench.commit(&manifests);
    bench.until(|bench| bench.is_synced() && bench.work().shared.view().looked.is_some()).await;
    bench.pass(600).await;
    assert_eq!(bench.node.acts(), acts);
}

#[tokio::test(start_paused = true)]
async fn what_libvirt_told_nobody_is_found_by_the_clock() {
    let bench = Bench::new().begun(&(network("lan", 1) + &vm("web", ""))).await;
    bench.destroy("web");
    bench.node.with(|state| state.network_stop("lan")).unwrap();
    bench.until(|bench| bench.runs("web")).await;
    assert_eq!((bench.times("domain-start web"), bench.times("network-start lan")), (2, 2));
    bench.until(Bench::is_synced).await;
}

#[tokio::test(start_paused = true)]
async fn what_libvirt_tells_is_healed_at_once_without_reading_the_rest() {
    let others: String = (0..20).map(|number| vm(&format!("other-{number}"), "")).collect();
    let bench = Bench::new().begun(&(others + &network("lan", 1) + &pool() + &vm("web", ""))).await;
    bench.pass(3).await;
    bench.node.forget_calls();
    bench.destroy("web");
    bench.node.with(|state| state.network_stop("lan")).unwrap();
    bench.node.with(|state| state.pool_stop("main")).unwrap();
    bench.pass(2).await;
    for act in ["domain-start web", "network-start lan", "pool-start main"] {
        assert_eq!(bench.times(act), 1, "{:?}", bench.node.calls());
    }
    // Who hung on the network is looked for afterwards; the starts came before that.
    let calls = bench.node.calls();
    let full = calls.iter().position(|call| call.object == "everything").unwrap();
    let starts = calls.iter().rposition(|call| call.word.ends_with("-start")).unwrap();
    assert!(starts < full && bench.reads_of_everything() == 1, "{calls:?}");
    assert!(calls.len() < 40, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn what_runs_without_its_definition_is_defined_as_it_runs_and_goes_when_it_is_to() {
    let all = network("lan", 1) + &vm("web", ", interfaces: [{name: lan, network: lan}]");
    let mut bench = Bench::with(Options { prune_running: true, ..Options::default() }).begun(&(network("one", 2) + &all)).await;
    let undefine = |bench: &Bench| {
        bench.node.with(|state| {
            state.make_transient("web");
            state.network_undefine("lan").unwrap();
        });
    };
    let live = |bench: &Bench| bench.node.state().domains["web"].live.clone();
    let before = live(&bench);
    undefine(&bench);
    bench.until(|bench| bench.node.with(|state| state.domains["web"].autostart && state.networks["lan"].autostart)).await;
    bench.until(Bench::is_synced).await;
    bench.node.with(|state| assert!(state.domains["web"].persistent && state.networks["lan"].persistent));
    assert_eq!((bench.times("domain-start web"), bench.times("network-start lan")), (1, 1));
    assert_eq!(live(&bench), before);
    // Where it is no longer wanted, it goes all the same.
    bench.pass(90).await;
    undefine(&bench);
    bench.commit(&(network("one", 2) + &network("lan", 1)));
    bench.until(|bench| bench.node.with(|state| !state.domains.contains_key("web"))).await;
    bench.until(Bench::is_synced).await;
    undefine(&bench);
    bench.commit(&network("one", 2));
    bench.until(|bench| bench.node.with(|state| !state.networks.contains_key("lan"))).await;
    bench.until(Bench::is_synced).await;
    assert_eq!(bench.end().await.out_of_sync, 0);
}

#[tokio::test(start_paused = true)]
async fn guests_of_a_network_that_somebody_stopped_are_plugged_in_again_at_once() {
    let manifests = network("lan", 1) + &vm("web", ", interfaces: [{name: lan, network: lan}]");
    let bench = Bench::new().begun(&manifests).await;
    bench.pass(3).await;
    bench.node.with(|state| state.network_stop("lan")).unwrap();
    bench.pass(5).await;
    assert_eq!((bench.times("network-start lan"), bench.times("network-replug lan")), (2, 1), "{:?}", bench.node.acts());
    assert_eq!(bench.times("domain-start web"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_events_costs_few_looks_and_the_last_state_wins() {
    let bench = Bench::new().begun(&vm("web", "")).await;
    bench.pass(3).await;
    bench.node.forget_calls();
    for _ in 0..10_000 {
        bench.node.hint(&Hint::Object(Target::Domain("web".into())), "storm");
        tokio::task::yield_now().await;
    }
    bench.destroy("web");
    bench.pass(6).await;
    assert!(bench.runs("web"));
    assert!(bench.node.calls().len() < 100, "{}", bench.node.calls().len());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_wakes_nobody() {
    let bench = Bench::new().begun(&vm("web", "")).await;
    bench.pass(3).await;
    bench.node.forget_calls();
    bench.node.hint(&Hint::Object(Target::Domain("theirs".into())), "stopped");
    bench.pass(5).await;
    assert_eq!(bench.node.calls().len(), 0, "{:?}", bench.node.calls());
}

#[tokio::test(start_paused = true)]
async fn a_saved_manifest_has_its_own_object_read_and_no_other() {
    let others: String = (0..20).map(|number| vm(&format!("other-{number}"), "")).collect();
    let mut bench = Bench::new().begun(&(others.clone() + &vm("web", ""))).await;
    bench.node.forget_calls();
    bench.commit(&(others + &vm("web", ", title: hello")));
    bench.until(|bench| bench.times("domain-metadata web") == 1).await;
    assert_eq!(bench.reads_of_everything(), 0, "{:?}", bench.node.calls());
}

#[tokio::test(start_paused = true)]
async fn a_failure_holds_up_nothing_else_and_is_tried_ever_more_seldom() {
    let mut bench = Bench::new();
    bench.node.inject_times(When::On("domain-start".into(), "bad".into()), How::failed("no such machine"), 1000);
    bench.start();
    bench.commit(&(vm("bad", "") + &vm("good", "")));
    bench.until(|bench| bench.runs("good") && bench.is("vm/good", "Synced")).await;
    bench.pass(600).await;
    let tried = bench.times("domain-start bad");
    assert!((5..=14).contains(&tried), "{tried}");
    {
        let view = bench.work().shared.view();
        let synced = view.objects[&"vm/bad".parse::<ObjectRef>().unwrap()].condition("Synced").unwrap().clone();
        assert_eq!((synced.status, synced.reason.as_str()), (ConditionStatus::False, "Failed"));
        assert!(synced.message.contains("no such machine"), "{}", synced.message);
    }
    // Its manifest changes, and it is tried at once.
    bench.node.heal();
    bench.commit(&(vm("bad", ", title: better") + &vm("good", "")));
    bench.pass(2).await;
    assert!(bench.runs("bad"));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_hangs_holds_up_its_own_object_only() {
    let mut bench = Bench::new();
    let gate = bench.node.hang("domain-start", "slow");
    bench.start();
    bench.commit(&(vm("slow", "") + &vm("quick", "")));
    bench.until(|bench| bench.runs("quick")).await;
    bench.destroy("quick");
    bench.until(|bench| bench.runs("quick")).await;
    assert!(!bench.runs("slow"));
    gate.open();
    bench.until(Bench::is_synced).await;
    assert_eq!(bench.times("domain-start slow"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_run_of_a_source_deletes_nothing_and_later_ones_do() {
    let both = network("lan", 1) + &network("wan", 2);
    let mut bench = Bench::new().begun(&both).await;
    bench.end().await;
    // The same objects, from another source.
    bench.options.source = "/another".into();
    bench.start();
    bench.commit(&network("lan", 1));
    bench.until(|bench| !bench.work().shared.view().unwanted.is_empty()).await;
    assert_eq!(bench.work().shared.view().unwanted, ["network/wan@host".parse::<ObjectRef>().unwrap()]);
    assert_eq!(bench.times("network-undefine wan"), 0);
    bench.until(|bench| bench.times("network-undefine wan") == 1).await;
    bench.until(|bench| bench.work().shared.view().unwanted.is_empty() && bench.is_synced()).await;
    // From now on a commit that takes something out takes it down.
    bench.commit(&(network("lan", 1) + &network("one", 3)));
    bench.until(|bench| bench.times("network-start one") == 1 && bench.is_synced()).await;
    bench.commit(&network("lan", 1));
    bench.until(|bench| bench.times("network-undefine one") == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_deletes_half_of_the_manifests_deletes_nothing() {
    let all: String = (0..20).map(|number| network(&format!("n{number}"), number)).collect();
    let half: String = (0..10).map(|number| network(&format!("n{number}"), number)).collect();
    let mut bench = Bench::new().begun(&all).await;
    bench.pass(120).await;
    bench.commit(&half);
    bench.pass(600).await;
    assert!(!bench.node.acts().iter().any(|act| act.starts_with("network-undefine")));
    // Each of them is told, and none as one that will go.
    assert_eq!(bench.work().shared.view().unwanted.len(), 10);
    for number in 10..20 {
        assert!(bench.is(&format!("network/n{number}@host"), "Blocked"), "n{number}");
    }
    bench.commit("");
    bench.pass(600).await;
    assert!(!bench.node.acts().iter().any(|act| act.starts_with("network-undefine")));
    assert_eq!(bench.work().shared.view().unwanted.len(), 20);
    // Two of twenty are a tenth.
    let most: String = (0..18).map(|number| network(&format!("n{number}"), number)).collect();
    bench.commit(&most);
    bench.until(|bench| bench.node.acts().iter().filter(|act| act.starts_with("network-undefine")).count() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_prune_is_refused_for_is_told_with_all_that_it_holds_back() {
    let kept = network("kept", 2) + "lifecycle: {preventDestroy: true}\n";
    let seen = vm("seen", ", libvirtName: site") + "lifecycle: {management: Observe}\n";
    let named = |names: &[&str]| -> Vec<ObjectRef> { names.iter().map(|name| name.parse().unwrap()).collect() };
    for (first, then, unwanted) in [
        (network("lan", 1) + &kept, network("lan", 1), named(&["network/kept@host"])),
        (network("lan", 1) + &kept + &network("wan", 3), network("lan", 1), named(&["network/wan@host", "network/kept@host"])),
        (network("lan", 1) + &vm("web", ", libvirtName: site"), network("lan", 1) + &seen, named(&["vm/web"])),
    ] {
        let options = Options { prune_running: true, max_deletes: MaxDeletes::Count(5), ..Options::default() };
        let mut bench = Bench::with(options).begun(&first).await;
        bench.pass(120).await;
        bench.commit(&then);
        bench.pass(600).await;
        assert_eq!(bench.work().shared.view().unwanted, unwanted);
        assert!(!bench.node.acts().iter().any(|act| act.contains("undefine")), "{:?}", bench.node.acts());
        bench.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_prune_takes_no_vm_that_runs_without_its_word() {
    for (word, gone) in [(false, false), (true, true)] {
        let options = Options { prune_running: word, max_deletes: MaxDeletes::Count(5), ..Options::default() };
        let mut bench = Bench::with(options).begun(&(vm("old", "") + &vm("web", "") + &network("lan", 1))).await;
        bench.pass(120).await;
        // What else is to be done is done, and what else is to go goes.
        bench.commit(&vm("web", "").replace("Always", "Halted"));
        bench.pass(300).await;
        assert!(!bench.runs("web"), "{:?}", bench.node.acts());
        assert_eq!(bench.times("network-undefine lan"), 1);
        assert_eq!(bench.times("domain-undefine old") == 1, gone);
        assert_eq!(bench.runs("old"), !gone);
        bench.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_healing_drift_is_told_and_manifests_are_still_applied() {
    let mut bench = Bench::with(Options { heal: false, ..Options::default() }).begun(&vm("web", "")).await;
    bench.destroy("web");
    bench.until(|bench| bench.is("vm/web", "Drifted")).await;
    bench.pass(300).await;
    assert!(!bench.runs("web"));
    bench.commit(&vm("web", ", title: hello"));
    bench.until(|bench| bench.runs("web")).await;
    assert!(!bench.is("vm/web", "Drifted"));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_keeps_undoing_flaps_and_is_healed_more_slowly() {
    let bench = Bench::with(Options { resync: Duration::from_secs(5), ..Options::default() }).begun(&vm("web", "")).await;
    for _ in 0..900 {
        if bench.runs("web") {
            bench.destroy("web");
        }
        bench.pass(1).await;
    }
    let healed = bench.times("domain-start web");
    assert!((6..=20).contains(&healed), "{healed}");
    assert!(bench.is("vm/web", "Flapping"));
    let events = bench.folder.path();
    assert!(events.exists());
    // It rests, and is kept true as before.
    bench.pass(1500).await;
    assert!(bench.runs("web"));
    assert!(!bench.is("vm/web", "Flapping"));
}

#[tokio::test(start_paused = true)]
async fn trouble_with_the_source_leaves_the_last_good_manifests_enforced() {
    let bench = Bench::new().begun(&vm("web", "")).await;
    bench.work().news.send(News::Trouble("r2: 1 error in the manifests".into())).unwrap();
    bench.pass(1).await;
    assert_eq!(bench.work().shared.view().trouble.as_deref(), Some("r2: 1 error in the manifests"));
    assert_eq!(bench.work().shared.view().revision.as_ref().unwrap().id, "r1");
    bench.destroy("web");
    bench.until(|bench| bench.runs("web")).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_kept_true_while_the_folder_is_gone() {
    let bench = Bench::new().begun(&(network("lan", 1) + &vm("web", ""))).await;
    std::fs::remove_dir_all(bench.folder.path().join("checkout")).unwrap();
    bench.destroy("web");
    bench.node.with(|state| state.network_stop("lan")).unwrap();
    bench.until(|bench| bench.runs("web") && bench.times("network-start lan") == 2).await;
    bench.until(Bench::is_synced).await;
}

#[tokio::test(start_paused = true)]
async fn that_a_node_hangs_is_said_before_a_look_that_hangs_with_it_ends() {
    let bench = Bench::new().begun(&network("lan", 1)).await;
    // A look has just been; the next one that a hint asks for comes two seconds later.
    let trouble = |bench: &Bench| bench.work().shared.view().nodes.values().flatten().next().cloned();
    let looked = bench.reads_of_everything();
    bench.until(|bench| bench.reads_of_everything() > looked).await;
    bench.node.hint(&Hint::Node, "hung");
    bench.until(|bench| trouble(bench).is_some_and(|why| why.contains("hangs"))).await;
    bench.until(|bench| trouble(bench).is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn another_fleet_is_not_taken_over() {
    let bench = Bench::new().begun(&vm("web", "")).await;
    let News::Tree(mut other) = tree(&bench.folder.path().join("checkout"), &bench.uri, "", 2) else { panic!("a tree") };
    other.desired.fleet = uuid::Uuid::from_u128(5);
    bench.work().news.send(News::Tree(other)).unwrap();
    bench.pass(120).await;
    assert!(bench.work().shared.view().trouble.as_ref().unwrap().contains(FLEET));
    assert!(bench.runs("web"));
}

#[tokio::test(start_paused = true)]
async fn another_machine_under_a_nodes_address_is_left_alone_and_said() {
    let bench = Bench::new().begun(&(vm("web", "") + &pool())).await;
    bench.node.with(|state| {
        state.uuid = uuid::Uuid::from_u128(7);
        state.domains.clear();
        state.pools.clear();
    });
    bench.node.hint(&Hint::Object(Target::Domain("web".into())), "stopped");
    let acts = bench.node.acts().len();
    bench.pass(180).await;
    assert_eq!(bench.node.acts().len(), acts);
    let view = bench.work().shared.view();
    for status in view.objects.values() {
        let synced = status.condition("Synced").unwrap();
        assert_eq!(synced.status, ConditionStatus::Unknown, "{synced:?}");
        assert!(synced.message.contains("jvp node accept host"), "{synced:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_libvirtd_that_makes_up_a_host_uuid_at_each_start_is_known_by_what_is_there() {
    let bench = Bench::new().begun(&(vm("web", "") + &pool() + &network("lan", 9))).await;
    for turn in 1..4 {
        bench.node.with(|state| state.uuid = uuid::Uuid::from_u128(turn));
        bench.destroy("web");
        // Whether it is told or found.
        if turn == 2 {
            bench.node.hint(&Hint::Object(Target::Domain("web".into())), "stopped");
        }
        bench.until(|bench| bench.runs("web") && bench.is_synced()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_does_nothing_and_tells_what_it_would() {
    let mut bench = Bench::with(Options { dry_run: true, ..Options::default() });
    bench.start();
    bench.commit(&vm("web", ""));
    bench.pass(300).await;
    assert_eq!(bench.node.acts(), Vec::<String>::new());
    assert!(!bench.is("vm/web", "Synced"));
    assert_eq!(bench.end().await.out_of_sync, 1);
}

#[tokio::test(start_paused = true)]
async fn once_ends_when_nothing_is_left_that_can_be_done() {
    let mut bench = Bench::with(Options { once: true, ..Options::default() });
    bench.node.inject_times(When::On("domain-start".into(), "bad".into()), How::failed("no such machine"), 1000);
    bench.start();
    bench.commit(&(vm("bad", "") + &vm("good", "")));
    let work = bench.work.take().unwrap();
    let summary = tokio::time::timeout(Duration::from_mins(5), work.task).await.unwrap().unwrap();
    assert_eq!(summary.out_of_sync, 1);
    assert!(bench.runs("good"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_step_in_flight_and_begins_no_other() {
    let mut bench = Bench::new();
    let gate = bench.node.hang("domain-define", "web");
    bench.start();
    bench.commit(&vm("web", ""));
    bench.until(|bench| !bench.work().shared.view().running.is_empty()).await;
    bench.work().stop.send_replace(true);
    bench.pass(2).await;
    assert!(!bench.work().task.is_finished());
    gate.open();
    bench.end().await;
    assert_eq!(bench.node.acts(), ["domain-define web"]);
    // The next one goes on from there.
    bench.start();
    bench.commit(&vm("web", ""));
    bench.until(|bench| bench.runs("web") && bench.is_synced()).await;
    assert_eq!(bench.times("domain-define web"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_out_of_reach_is_said_and_kept_once_it_is_back() {
    let mut bench = Bench::new();
    bench.node.set_reachable(false);
    bench.start();
    bench.commit(&vm("web", ""));
    bench.until(|bench| bench.work().shared.view().nodes.values().any(Option::is_some)).await;
    bench.pass(200).await;
    assert!(!bench.is("vm/web", "Synced"));
    bench.node.heal();
    bench.until(|bench| bench.runs("web") && bench.is_synced()).await;
}
