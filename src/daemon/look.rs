//! Looking: at everything, or at one object and what it needs. Each is a task of its own; what it found goes to the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::cause::Cause;
use super::guests::Asked;
use super::near::{Near, desired_of, owned_of};
use crate::apply::{
    Before, Condition, Late, Patience, Seen, Status, Subject, Workspace, observe, pools_to_refresh, read, refresh_pools,
};
use crate::host::Host;
use crate::name::{Name, ObjectRef};
use crate::observe::{NodeView, Observed, Scope};
use crate::plan::{Plan, Policy, complete, plan};
use crate::source::{Gathering, gather};
use crate::store::Ledger;

/// How long a node may take to take the wish for events.
const RENEWAL: Duration = Duration::from_secs(5);

/// What a look was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    /// Everything.
    Everything,
    /// One object with what it needs.
    Object(ObjectRef),
    /// Everything as it was seen before, but for these objects and what they need, which were read once more.
    Again(BTreeSet<ObjectRef>),
}

/// What a look found.
pub(super) struct Looked {
    pub about: About,
    pub cause: Cause,
    /// The generation of the manifests that it was planned by.
    pub generation: u64,
    /// The last trigger before it began.
    pub mark: u64,
    /// The node that a small look counts for.
    pub on: Option<Name>,
    /// When it began.
    pub began: Instant,
    pub found: Result<(Seen, Plan), String>,
}

/// What nodes a look at everything did not wait for.
#[derive(Default)]
pub(super) struct Lates {
    pub all: Vec<Late>,
    /// The longest that a node took that it did wait for.
    pub slowest: Duration,
}

/// What a guest that was asked told.
pub(super) struct Answer {
    pub asked: Asked,
    pub told: Vec<(Condition, Status)>,
}

/// All that a look needs.
#[derive(Clone)]
pub(super) struct Looker {
    pub workspace: Arc<Workspace>,
    pub ledger: Ledger,
    pub policy: Policy,
    pub generation: u64,
    pub mark: u64,
    /// What the last look at everything saw.
    pub before: Option<Arc<Observed>>,
}

impl Looker {
    /// Looks at everything. Pools that hold a volume which would be made, filled, grown or deleted are looked into again first, where
    /// that is going to be done. Given back is what nodes were too late for it, too.
    pub(super) async fn everything(self, cause: Cause, acts: bool, renew: bool, patience: Patience) -> (Looked, Lates) {
        let began = Instant::now();
        let mut lates = Lates::default();
        let found = self.full(acts, renew, cause, patience, &mut lates).await;
        (self.looked(About::Everything, cause, began, found), lates)
    }

    /// Asks guests of a node. None of them is waited for: what isn't there yet is told as that. A node that doesn't answer answers
    /// nothing.
    pub(super) async fn ask(self, node: &Name, asked: Vec<Asked>) -> Vec<Answer> {
        let desired = &self.workspace.desired;
        let all: Vec<(Asked, Subject)> = self.ledger.pick(|owned| {
            asked
                .into_iter()
                .filter_map(|asked| Subject::new(&asked.object, desired, owned).map(|subject| (asked, subject)))
                .collect()
        });
        let subjects: Vec<&Subject> = all.iter().map(|(_, subject)| subject).collect();
        let states = read(&self.workspace.hosts, &subjects).await;
        let (Some(Ok(state)), Some(host)) = (states.get(node), self.workspace.hosts.get(node)) else { return Vec::new() };
        let mut answers = Vec::new();
        for (asked, subject) in &all {
            let told = subject.look(state, host.as_ref(), Condition::Ready).await;
            answers.push(Answer { asked: asked.clone(), told });
        }
        answers
    }

    async fn full(
        &self,
        acts: bool,
        renew: bool,
        cause: Cause,
        mut patience: Patience,
        lates: &mut Lates,
    ) -> Result<(Seen, Plan), String> {
        // Nobody waits for what comes by the clock.
        let scope = if cause == Cause::Resync { Scope::AtEase } else { Scope::Everything };
        let renewed = |name: &Name, host: &Arc<dyn Host>| renew.then(|| self::renew(name.clone(), host.clone()).boxed());
        let found = self.full_once(&scope, &patience, &renewed, lates).await?;
        let pools = if acts { pools_to_refresh(&found.1) } else { BTreeMap::new() };
        if pools.is_empty() {
            return Ok(found);
        }
        patience.late.extend(lates.all.iter().flat_map(|late| late.nodes.iter().cloned()));
        let refreshed = |name: &Name, host: &Arc<dyn Host>| {
            pools.get(name).map(|pools| refresh_pools(name.clone(), host.clone(), pools.clone()).boxed())
        };
        self.full_once(&Scope::Everything, &patience, &refreshed, lates).await
    }

    async fn full_once(
        &self,
        scope: &Scope,
        patience: &Patience,
        first: Before<'_>,
        lates: &mut Lates,
    ) -> Result<(Seen, Plan), String> {
        let sight = self.workspace.observe_in_time(scope, self.before.as_ref(), patience, first).await;
        lates.slowest = lates.slowest.max(sight.slowest);
        lates.all.push(sight.late);
        let seen = self.workspace.seen(sight.observed, self.ledger.owned()).map_err(|error| error.to_string())?;
        self.planned(seen).await
    }

    async fn planned(&self, seen: Seen) -> Result<(Seen, Plan), String> {
        let (workspace, policy) = (self.workspace.clone(), self.policy.clone());
        let planned = tokio::task::spawn_blocking(move || {
            let plan = workspace.plan_once(&seen, &policy);
            (seen, plan)
        });
        planned.await.map_err(|error| format!("planning broke off inside jvp: {error}"))
    }

    /// Looks at one object and what it needs.
    pub(super) async fn object(self, object: ObjectRef, near: Near, cause: Cause) -> Looked {
        let began = Instant::now();
        let found = self.near(&near).await;
        self.looked(About::Object(object), cause, began, found)
    }

    /// Reads some objects once more, and plans from everything as it was seen before, with them as they are now.
    pub(super) async fn again(self, objects: BTreeSet<ObjectRef>, near: Near, before: Observed, cause: Cause) -> Looked {
        let began = Instant::now();
        let found = self.renewed(&near, before).await;
        self.looked(About::Again(objects), cause, began, found)
    }

    async fn renewed(&self, near: &Near, before: Observed) -> Result<(Seen, Plan), String> {
        let mut observed = before;
        for (name, later) in self.read_near(near).await.nodes {
            let Some(view) = observed.nodes.get_mut(&name) else { continue };
            match (view, later, near.targets.get(&name)) {
                (NodeView::Reached(state), NodeView::Reached(later), Some(targets)) => state.renew(targets, *later),
                (view, later @ NodeView::Unreachable { .. }, _) => *view = later,
                // Of a node that was not seen as a whole a few objects tell too little.
                _ => {}
            }
        }
        let seen = self.workspace.seen(observed, self.ledger.owned()).map_err(|error| error.to_string())?;
        self.planned(seen).await
    }

    async fn read_near(&self, near: &Near) -> Observed {
        let mut observed = Observed::default();
        for (node, targets) in &near.targets {
            let Some(host) = self.workspace.hosts.get(node) else { continue };
            let hosts: BTreeMap<Name, _> = [(node.clone(), host.clone())].into();
            // Which machine it is, and what it can, is asked each time: a connection may lead elsewhere than the last one.
            observed.nodes.extend(observe(&hosts, &Scope::Near(targets.clone()), None).await.nodes);
        }
        observed
    }

    async fn near(&self, near: &Near) -> Result<(Seen, Plan), String> {
        let observed = self.read_near(near).await;
        let desired = desired_of(&self.workspace.desired, near);
        let inventory = self.ledger.pick(|owned| owned_of(owned, near));
        let (owned, rebuilt) = complete(inventory, &observed, desired.fleet);
        let gathering = Gathering {
            set: &self.workspace.set,
            desired: &desired,
            state: &self.workspace.state,
            secrets_dir: self.workspace.secrets_dir.as_deref(),
        };
        let sources = gather(&gathering, &owned).map_err(|error| error.to_string())?;
        let seen = Seen { observed, owned, rebuilt, sources };
        let policy = Policy { partial: true, prune: false, ..self.policy.clone() };
        let plan = plan(&desired, &seen.observed, &seen.owned, &seen.sources, &policy);
        Ok((seen, plan))
    }

    fn looked(&self, about: About, cause: Cause, began: Instant, found: Result<(Seen, Plan), String>) -> Looked {
        Looked { about, cause, generation: self.generation, mark: self.mark, on: None, began, found }
    }
}

/// Asks a node for hints anew: what libvirt forgot without a word, it tells again. One that hangs is not waited for.
async fn renew(node: Name, host: Arc<dyn Host>) {
    match tokio::time::timeout(RENEWAL, host.renew_events()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%node, %error, "not all events come"),
        Err(_) => tracing::warn!(%node, "no answer to the wish for events"),
    }
}
