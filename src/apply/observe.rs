//! Reading every node side by side. A node out of reach leaves the others undisturbed.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

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
    let mut tasks = JoinSet::new();
    for (name, host) in hosts {
        let (name, host, scope, before) = (name.clone(), host.clone(), scope.clone(), before.cloned());
        tasks.spawn(async move {
            let view = match host.read(&scope).await {
                Ok(raw) => {
                    NodeView::Reached(Box::new(NodeState::read_again(raw, before.as_ref().and_then(|before| before.node(&name)))))
                }
                Err(error) => {
                    let message = format!("{}; {}", error.message, advice(&error));
                    NodeView::Unreachable { message, denied: error.kind == ErrorKind::Denied }
                }
            };
            (name, view)
        });
    }
    let mut observed = Observed::default();
    while let Some(joined) = tasks.join_next().await {
        if let Ok((name, view)) = joined {
            observed.nodes.insert(name, view);
        }
    }
    for name in hosts.keys() {
        observed
            .nodes
            .entry(name.clone())
            .or_insert_with(|| NodeView::Unreachable { message: "reading it broke off inside jvp".into(), denied: false });
    }
    observed
}
