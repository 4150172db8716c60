//! Reading every node side by side. A node out of reach leaves the others undisturbed.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::host::{ErrorKind, Host};
use crate::name::Name;
use crate::observe::{NodeState, NodeView, Observed, Scope};

/// Reads all hosts.
pub async fn observe(hosts: &BTreeMap<Name, Arc<dyn Host>>, scope: &Scope) -> Observed {
    let mut tasks = JoinSet::new();
    for (name, host) in hosts {
        let (name, host, scope) = (name.clone(), host.clone(), scope.clone());
        tasks.spawn(async move {
            let view = match host.read(&scope).await {
                Ok(raw) => NodeView::Reached(Box::new(NodeState::read(raw))),
                Err(error) => {
                    let denied = error.kind == ErrorKind::Denied;
                    let advice = if denied {
                        "; be root or in the group libvirt, or use a libvirt of your own: -c qemu:///session"
                    } else {
                        "; look whether libvirt runs there, and whether its `uri` is right"
                    };
                    NodeView::Unreachable { message: format!("{}{advice}", error.message), denied }
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
