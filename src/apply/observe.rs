//! Reading every node side by side. A node out of reach leaves the others undisturbed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::host::{ErrorKind, Host, HostError};
use crate::name::Name;
use crate::observe::{NodeState, NodeView, Observed, Scope};

/// What ssh is said to have said, and what to do about it.
const SSH: &[(&str, &str)] = &[
    (
        "ssh doesn't know the host's key",
        "connect to it once by hand with ssh, compare the fingerprint that it shows with the host's own, and accept it",
    ),
    (
        "the host's key has changed",
        "if that machine was set up anew, take its old key out with `ssh-keygen -R HOST` and connect once by hand; \
         if it wasn't, somebody else answers in its place",
    ),
    (
        "ssh was not let in",
        "name a private key with `keyfile=` in the `uri` or in ssh's configuration, and put its public half into authorized_keys \
         there; nobody is asked for a password",
    ),
];

/// What to do about a node that couldn't be read.
fn advice(error: &HostError) -> &'static str {
    match SSH.iter().find(|(words, _)| error.message.starts_with(words)) {
        Some((_, advice)) => advice,
        None if error.kind == ErrorKind::Denied => {
            "be root or in the group libvirt, or use a libvirt of your own: -c qemu:///session"
        }
        None => "look whether libvirt runs there, and whether its `uri` is right",
    }
}

/// How often is looked whether there were signs of life of a node.
const TICK: Duration = Duration::from_millis(100);
/// A node that gave none for so long is asked for one.
const ASKED: Duration = Duration::from_secs(1);
/// One that gave none for so long, though it was asked, is taken for one that hangs where others would wait for it.
const HANGS: Duration = Duration::from_secs(3);
/// The same of one that gave no answer before.
const DOUBTED: Duration = Duration::from_millis(300);
/// A node that gives no answer for so long is named, so that whoever waits knows what for.
const NAMED: Duration = Duration::from_secs(5);

/// Reads all hosts, with so much patience, where there is an end to it.
pub async fn observe(hosts: &BTreeMap<Name, Arc<dyn Host>>, scope: &Scope, patience: Option<&Patience>) -> Observed {
    observe_in_time(hosts, scope, None, patience, &|_, _| None).await.observed
}

/// How long is waited for nodes that don't answer, once others have. One that goes on giving signs of life doesn't hang, however long it
/// is read.
#[derive(Debug, Clone, Default)]
pub struct Patience {
    /// Where also one that doesn't hang is waited for only some time longer than the others: the longest that a node took lately.
    pub slowest: Option<Duration>,
    /// Nodes that gave no answer lately: they are waited for a moment only.
    pub doubted: BTreeSet<Name>,
    /// Nodes that are being read still, for a look before: they are left out.
    pub late: BTreeSet<Name>,
    /// Nodes that are waited for to the end.
    pub needed: BTreeSet<Name>,
    /// Whether others, which are not asked now, answered before.
    pub answered: bool,
}

impl Patience {
    /// Whether it is at its end so long after the beginning, where the others took so long and these are being read still.
    fn ends(&self, after: Duration, slowest: Duration, open: &BTreeMap<Name, Arc<Silence>>) -> bool {
        if open.keys().any(|name| self.needed.contains(name)) {
            return false;
        }
        let moment = |name: &Name| if self.doubted.contains(name) { DOUBTED } else { HANGS };
        let in_time = self.slowest.is_some_and(|lately| {
            let doubted = open.keys().all(|name| self.doubted.contains(name));
            let end = if doubted { slowest + DOUBTED } else { (slowest + HANGS).max(3 * slowest.max(lately)) };
            after >= end
        });
        in_time || open.iter().all(|(name, silence)| silence.lasts() >= moment(name))
    }
}

/// How long a node has given no sign of life while it is read. The time in which nobody here looked isn't counted: this process may have
/// been stopped, or the machine been busy.
#[derive(Debug, Default)]
struct Silence(AtomicU32);

impl Silence {
    fn lasts(&self) -> Duration {
        TICK * self.0.load(Ordering::Relaxed)
    }

    /// Does what there is to do on a host, and looks for signs of life meanwhile; asks for one, where it `may`.
    async fn during<T>(&self, host: &Arc<dyn Host>, may: bool, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let (mut ticks, mut signs) = (ticks(), host.signs());
        let mut ping = None;
        loop {
            let answer = async {
                match &mut ping {
                    Some(ping) => std::pin::Pin::as_mut(ping).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = answer => ping = None,
                _ = ticks.tick() => {
                    let now = host.signs();
                    if std::mem::replace(&mut signs, now) == now {
                        self.0.fetch_add(1, Ordering::Relaxed);
                    } else {
                        self.0.store(0, Ordering::Relaxed);
                    }
                    if may && ping.is_none() && self.lasts() >= ASKED {
                        ping = Some(host.ping());
                    }
                }
            }
        }
    }
}

/// Times to look, never two at once.
fn ticks() -> Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + TICK, TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What was seen in time, and what is to come.
#[derive(Debug)]
pub struct Sight {
    /// What the nodes have; those that are late are out of reach.
    pub observed: Observed,
    /// The longest that a node took to be read.
    pub slowest: Duration,
    /// The nodes that are being read still.
    pub late: Late,
}

/// Answers that nobody waited for.
#[derive(Debug)]
pub struct Late {
    /// Whose they are.
    pub nodes: BTreeSet<Name>,
    answers: mpsc::UnboundedReceiver<(Name, NodeView, Duration)>,
}

impl Late {
    /// The next node that was read after all, or couldn't be, and how long that took; none where there are no more.
    pub async fn next(&mut self) -> Option<(Name, bool, Duration)> {
        let (name, view, took) = self.answers.recv().await?;
        Some((name, matches!(view, NodeView::Reached(_)), took))
    }
}

/// What is done on a node right before it is read, where something is.
pub type Before<'a> = &'a (dyn Fn(&Name, &Arc<dyn Host>) -> Option<BoxFuture<'static, ()>> + Sync);

/// Reads all hosts by one who knows what there was `before`, so that of what is as it was then no document is read a second time; with so
/// much patience, where there is an end to it: whoever hangs holds up none of the others.
pub(super) async fn observe_in_time(
    hosts: &BTreeMap<Name, Arc<dyn Host>>,
    scope: &Scope,
    before: Option<&Arc<Observed>>,
    patience: Option<&Patience>,
    first: Before<'_>,
) -> Sight {
    let began = Instant::now();
    let (answer, mut answers) = mpsc::unbounded_channel();
    let mut open = BTreeMap::new();
    for (name, host) in hosts {
        if patience.is_some_and(|patience| patience.late.contains(name)) {
            continue;
        }
        let silence = Arc::<Silence>::default();
        open.insert(name.clone(), silence.clone());
        let (name, host, scope, before, first) = (name.clone(), host.clone(), scope.clone(), before.cloned(), first(name, host));
        let (answer, may_ask) = (answer.clone(), patience.is_some());
        tokio::spawn(async move {
            let read = async {
                if let Some(first) = first {
                    first.await;
                }
                host.read(&scope).await
            };
            let view = match silence.during(&host, may_ask, read).await {
                Ok(raw) => {
                    NodeView::Reached(Box::new(NodeState::read_again(raw, before.as_ref().and_then(|before| before.node(&name)))))
                }
                Err(error) => {
                    let message = format!("{}; {}", error.message, advice(&error));
                    NodeView::Unreachable { message, denied: error.kind == ErrorKind::Denied }
                }
            };
            let _ = answer.send((name, view, began.elapsed()));
        });
    }
    drop(answer);
    let mut observed = Observed::default();
    // As long as nobody answered, nobody is held up.
    let mut slowest = patience.filter(|patience| patience.answered).map(|_| Duration::ZERO);
    let (mut ticks, mut named) = (ticks(), BTreeSet::new());
    while !open.is_empty() {
        tokio::select! {
            biased;
            answered = answers.recv() => {
                let Some((name, view, took)) = answered else { break };
                if matches!(view, NodeView::Reached(_)) {
                    slowest = Some(took);
                }
                open.remove(&name);
                observed.nodes.insert(name, view);
            }
            _ = ticks.tick() => {
                let ends = |(patience, slowest): (&Patience, _)| patience.ends(began.elapsed(), slowest, &open);
                if patience.zip(slowest).is_some_and(ends) {
                    break;
                }
                for (node, _) in open.iter().filter(|(_, silence)| silence.lasts() >= NAMED) {
                    if named.insert(node.clone()) {
                        tracing::warn!(%node, "it gives no answer yet, and is waited for");
                    }
                }
            }
        }
    }
    // A task that broke off is nowhere: its sender is gone with it.
    let broke = answers.is_closed() && answers.is_empty();
    for name in hosts.keys() {
        let message = || match open.get(name) {
            Some(_) if broke => "reading it broke off inside jvp".to_owned(),
            silence => {
                let doubted = patience.is_some_and(|patience| patience.doubted.contains(name));
                unanswered(silence.filter(|_| !doubted).map(|silence| silence.lasts()))
            }
        };
        let view = || NodeView::Unreachable { message: message(), denied: false };
        observed.nodes.entry(name.clone()).or_insert_with(view);
    }
    let late = Late { nodes: open.into_keys().collect(), answers };
    Sight { observed, slowest: slowest.unwrap_or_default(), late }
}

/// What is told of a node that is not waited for, after so long a silence; none where it gave no answer before.
fn unanswered(silence: Option<Duration>) -> String {
    let what = match silence.map(|silence| silence.as_secs()) {
        Some(0) => return "it is read longer than the others, and was not waited for".into(),
        Some(seconds) => format!("it gave no answer for {seconds} s, and was not waited for"),
        None => "it gives no answer still".into(),
    };
    format!(
        "{what}; its libvirtd may hang: look whether `virsh list` answers on that host, and restart libvirtd there if it doesn't, of \
         which its guests notice nothing"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::{FakeConnector, FakeHost, Gate};

    fn name(name: &str) -> Name {
        name.parse().unwrap()
    }

    /// Nodes of these names.
    struct Nodes(FakeConnector, BTreeMap<Name, Arc<dyn Host>>);

    impl Nodes {
        fn new<const N: usize>(names: [&str; N]) -> Self {
            let connector = FakeConnector::new();
            let hosts = names.map(|node| (name(node), Arc::new(connector.node(node)) as Arc<dyn Host>)).into();
            Self(connector, hosts)
        }

        fn node(&self, node: &str) -> FakeHost {
            self.0.node(node)
        }

        async fn look(&self, patience: &Patience) -> Sight {
            observe_in_time(&self.1, &Scope::Everything, None, Some(patience), &|_, _| None).await
        }

        /// The nodes that are read within an hour.
        async fn reached(&self, patience: &Patience) -> Vec<String> {
            let sight = tokio::time::timeout(Duration::from_hours(1), self.look(patience)).await.expect("it comes to its end");
            self.1.keys().filter(|node| sight.observed.node(node).is_some()).map(ToString::to_string).collect()
        }
    }

    /// As a command about some objects has it.
    fn needs(node: &str) -> Patience {
        Patience { needed: [name(node)].into(), slowest: Some(Duration::ZERO), ..Patience::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_hangs_is_waited_for_by_those_that_need_it_only() {
        let nodes = Nodes::new(["a", "b"]);
        let gate = Gate::new();
        nodes.node("b").freeze(&gate);
        assert_eq!(nodes.reached(&needs("a")).await, ["a"]);
        let needs_it = needs("b");
        let waits = nodes.look(&needs_it);
        tokio::pin!(waits);
        assert!(tokio::time::timeout(Duration::from_hours(1), &mut waits).await.is_err());
        gate.open();
        assert!(waits.await.observed.node(&name("b")).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_hangs_is_given_up_once_the_others_answered_and_it_is_told_how_long_it_was_waited_for() {
        let nodes = Nodes::new(["a", "b", "c"]);
        nodes.node("b").freeze(&Gate::new());
        nodes.node("c").answers_by("everything", 10, Duration::from_secs(1));
        let sight = nodes.look(&Patience::default()).await;
        assert_eq!(sight.late.nodes, [name("b")].into());
        assert!(sight.observed.node(&name("a")).is_some() && sight.observed.node(&name("c")).is_some());
        let Some(NodeView::Unreachable { message, denied: false }) = sight.observed.nodes.get(&name("b")) else {
            panic!("{:?}", sight.observed.nodes.get(&name("b")));
        };
        assert!(
            message.starts_with("it gave no answer for 10 s, and was not waited for; its libvirtd may hang: look "),
            "{message}"
        );
        // Nobody is held up by those that hang all together.
        let alone = Nodes::new(["b"]);
        alone.node("b").freeze(&Gate::new());
        let patience = Patience::default();
        assert!(tokio::time::timeout(Duration::from_hours(1), alone.look(&patience)).await.is_err());
        // But where others answered before.
        assert!(alone.reached(&Patience { answered: true, ..patience }).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_hangs_in_the_middle_of_its_answers_is_given_up_too() {
        let nodes = Nodes::new(["a", "b"]);
        let (gate, patience) = (Gate::new(), Patience::default());
        nodes.node("b").answers_by("everything", 1000, Duration::from_secs(1));
        let hangs = async {
            tokio::time::sleep(Duration::from_secs(500)).await;
            nodes.node("b").freeze(&gate);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            reached = nodes.reached(&patience) => assert_eq!(reached, ["a"]),
            () = hangs => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_slow_and_answers_is_not_given_up() {
        let nodes = Nodes::new(["a", "b"]);
        // However many calls it takes, and however long each: what it is asked beside them it answers.
        for (calls, each) in [(1000, 2), (10, 60), (1, 600)] {
            nodes.node("b").answers_by("everything", calls, Duration::from_secs(each));
            assert_eq!(nodes.reached(&Patience::default()).await, ["a", "b"], "{calls} calls of {each} s");
        }
        // Whoever needs others only doesn't wait for that.
        assert_eq!(nodes.reached(&needs("a")).await, ["a"]);
        assert_eq!(nodes.reached(&needs("b")).await, ["a", "b"]);
        // So it is with what is done there before it is read.
        nodes.node("b").takes(Duration::from_mins(10));
        nodes
            .node("b")
            .with(|state| state.pool_define("<pool type='dir'><name>p</name><target><path>/p</path></target></pool>").unwrap());
        let refresh = |name: &Name, host: &Arc<dyn Host>| {
            let pools = BTreeMap::from([("b", BTreeSet::from(["p".to_owned()]))]);
            let refresh = |pools: &BTreeSet<String>| crate::apply::refresh_pools(name.clone(), host.clone(), pools.clone());
            pools.get(name.as_str()).map(|pools| -> BoxFuture<'static, ()> { Box::pin(refresh(pools)) })
        };
        let patience = Patience::default();
        let sight = observe_in_time(&nodes.1, &Scope::Everything, None, Some(&patience), &refresh).await;
        assert!(sight.late.nodes.is_empty() && nodes.node("b").acts() == ["pool-refresh p"]);
    }
}
