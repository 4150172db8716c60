//! Reading every node side by side. A node out of reach leaves the others undisturbed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

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

/// A node that gives no answer for so long is named, so that whoever waits knows what for.
const SILENCE: Duration = Duration::from_secs(5);

/// Reads all hosts.
pub async fn observe(hosts: &BTreeMap<Name, Arc<dyn Host>>, scope: &Scope) -> Observed {
    observe_again(hosts, scope, None).await
}

/// Reads all hosts; of what is as it was `before` no document is read a second time.
pub(super) async fn observe_again(
    hosts: &BTreeMap<Name, Arc<dyn Host>>,
    scope: &Scope,
    before: Option<&Arc<Observed>>,
) -> Observed {
    observe_in_time(hosts, scope, before, None, &|_, _| None).await.observed
}

/// How long is waited for nodes that don't answer, once others have.
#[derive(Debug, Clone, Default)]
pub struct Patience {
    /// The longest that a node took lately.
    pub slowest: Duration,
    /// Nodes that gave no answer lately: they are waited for a moment only.
    pub doubted: BTreeSet<Name>,
    /// Nodes that are being read still, for a look before: they are left out.
    pub late: BTreeSet<Name>,
    /// Nodes that are waited for to the end.
    pub needed: BTreeSet<Name>,
}

impl Patience {
    /// How long after the beginning, where the others took so long.
    fn after(&self, slowest: Duration, only_doubted: bool) -> Duration {
        if only_doubted {
            return slowest + Duration::from_millis(300);
        }
        (slowest + Duration::from_secs(3)).max(3 * slowest.max(self.slowest))
    }
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

/// The same with so much patience, where there is an end to it: whoever hangs holds up none of the others.
pub(super) async fn observe_in_time(
    hosts: &BTreeMap<Name, Arc<dyn Host>>,
    scope: &Scope,
    before: Option<&Arc<Observed>>,
    patience: Option<&Patience>,
    first: Before<'_>,
) -> Sight {
    let began = Instant::now();
    let (answer, mut answers) = mpsc::unbounded_channel();
    let mut open = BTreeSet::new();
    for (name, host) in hosts {
        if patience.is_some_and(|patience| patience.late.contains(name)) {
            continue;
        }
        open.insert(name.clone());
        let (name, host, scope, before, first) = (name.clone(), host.clone(), scope.clone(), before.cloned(), first(name, host));
        let answer = answer.clone();
        tokio::spawn(async move {
            if let Some(first) = first {
                first.await;
            }
            let view = match host.read(&scope).await {
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
    let (mut slowest, mut said) = (None, false);
    while !open.is_empty() {
        let end = patience
            .zip(slowest)
            .filter(|(patience, _)| open.is_disjoint(&patience.needed))
            .map(|(patience, slowest)| began + patience.after(slowest, open.is_subset(&patience.doubted)));
        let answered = match end {
            None if !said => match timeout_at(began + SILENCE, answers.recv()).await {
                Ok(answered) => answered,
                Err(_) => {
                    said = true;
                    for node in &open {
                        tracing::warn!(%node, "it gives no answer yet, and is waited for");
                    }
                    continue;
                }
            },
            None => answers.recv().await,
            Some(end) => match timeout_at(end, answers.recv()).await {
                Ok(answered) => answered,
                Err(_) => break,
            },
        };
        let Some((name, view, took)) = answered else { break };
        if matches!(view, NodeView::Reached(_)) {
            slowest = Some(took);
        }
        open.remove(&name);
        observed.nodes.insert(name, view);
    }
    // A task that broke off is nowhere: its sender is gone with it.
    let broke = answers.is_closed() && answers.is_empty();
    for name in hosts.keys() {
        let message = if broke && open.contains(name) {
            "reading it broke off inside jvp"
        } else {
            "it doesn't answer; look whether libvirt hangs there"
        };
        let view = || NodeView::Unreachable { message: message.into(), denied: false };
        observed.nodes.entry(name.clone()).or_insert_with(view);
    }
    Sight { observed, slowest: slowest.unwrap_or_default(), late: Late { nodes: open, answers } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::{FakeConnector, Gate};

    #[tokio::test(start_paused = true)]
    async fn a_node_that_hangs_is_waited_for_by_those_that_need_it_only() {
        let connector = FakeConnector::new();
        let name = |name: &str| -> Name { name.parse().unwrap() };
        let hosts: BTreeMap<Name, Arc<dyn Host>> =
            ["a", "b"].map(|node| (name(node), Arc::new(connector.node(node)) as Arc<dyn Host>)).into();
        let gate = Gate::new();
        connector.node("b").freeze(&gate);
        let look = async |needed: &str| {
            let patience = Patience { needed: [name(needed)].into(), ..Patience::default() };
            observe_in_time(&hosts, &Scope::Everything, None, Some(&patience), &|_, _| None).await.observed
        };
        let observed = look("a").await;
        assert!(observed.node(&name("a")).is_some() && observed.node(&name("b")).is_none());
        let hour = tokio::time::timeout(Duration::from_hours(1), look("b"));
        assert!(hour.await.is_err());
        let waits = look("b");
        tokio::pin!(waits);
        assert!(tokio::time::timeout(Duration::from_mins(1), &mut waits).await.is_err());
        gate.open();
        assert!(waits.await.node(&name("b")).is_some());
    }
}
