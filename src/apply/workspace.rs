//! A set of manifests with what it wants, the hosts that it names, and the state directory: all that a run needs.
//!
//! It holds no lock and no ledger: whoever runs brings one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::controller::Controller;
use super::observe::{Before, Patience, Sight, observe, observe_in_time};
use super::rounds::Seen;
use super::step::World;
use crate::host::Host;
use crate::name::{Name, ObjectRef};
use crate::observe::{Observed, Scope};
use crate::plan::{Consents, Mode, Owned, Plan, Policy, complete, fingerprint, plan};
use crate::resolve::Desired;
use crate::source::{GatherError, Gathering, ManifestSet, gather};
use crate::store::{Ledger, StateDir, StoreError};

/// A set of manifests and what it stands for.
pub struct Workspace {
    /// The manifests.
    pub set: ManifestSet,
    /// What they want.
    pub desired: Desired,
    /// The state directory.
    pub state: StateDir,
    /// Who writes.
    pub writer: uuid::Uuid,
    /// The hosts of the set.
    pub hosts: BTreeMap<Name, Arc<dyn Host>>,
    /// The folder that `valueFrom.file` may read besides the checkout.
    pub secrets_dir: Option<PathBuf>,
}

impl Workspace {
    /// Makes a workspace whose nodes are reached as `host` says, given the name and URI of each.
    pub fn new(
        set: ManifestSet,
        desired: Desired,
        state: StateDir,
        secrets_dir: Option<PathBuf>,
        mut host: impl FnMut(&Name, &str) -> Arc<dyn Host>,
    ) -> Result<Self, StoreError> {
        let writer = state.writer()?;
        let hosts = desired.nodes.iter().map(|(name, node)| (name.clone(), host(name, &node.uri))).collect();
        Ok(Self { set, desired, state, writer, hosts, secrets_dir })
    }

    fn gathering(&self) -> Gathering<'_> {
        Gathering { set: &self.set, desired: &self.desired, state: &self.state, secrets_dir: self.secrets_dir.as_deref() }
    }

    /// Reads every node side by side, with so much patience and after what is to be done there first, by one who knows what there was
    /// before.
    pub async fn observe_in_time(
        &self,
        scope: &Scope,
        before: Option<&Arc<Observed>>,
        patience: &Patience,
        first: Before<'_>,
    ) -> Sight {
        observe_in_time(&self.hosts, scope, before, Some(patience), first).await
    }

    /// Reads some nodes side by side.
    pub async fn observe(&self, nodes: &BTreeSet<Name>, patience: Option<&Patience>) -> Observed {
        let hosts = self.hosts.iter().filter(|(name, _)| nodes.contains(*name));
        let hosts = hosts.map(|(name, host)| (name.clone(), Arc::clone(host))).collect();
        observe(&hosts, &Scope::Everything, patience).await
    }

    /// What was seen of nodes, with what is known of sources; makes the inventory whole from the marks.
    pub fn seen(&self, observed: Observed, inventory: Owned) -> Result<Seen, GatherError> {
        let (owned, rebuilt) = complete(inventory, &observed, self.desired.fleet);
        let sources = gather(&self.gathering(), &owned)?;
        Ok(Seen { observed, owned, rebuilt, sources })
    }

    /// Plans from what was seen, for somebody who may come back to that very plan.
    pub fn plan(&self, seen: &Seen, policy: &Policy) -> Plan {
        let plan = self.plan_once(seen, policy);
        let fingerprint = fingerprint(&plan, &self.desired, &seen.sources, policy);
        Plan { fingerprint, ..plan }
    }

    /// Plans from what was seen, for whoever carries the plan out or throws it away: without a fingerprint, which costs as much as
    /// the manifests are long.
    pub fn plan_once(&self, seen: &Seen, policy: &Policy) -> Plan {
        plan(&self.desired, &seen.observed, &seen.owned, &seen.sources, policy)
    }

    /// A policy for this set.
    pub fn policy(&self, mode: Mode, consents: Consents, targets: Option<BTreeSet<ObjectRef>>) -> Policy {
        Policy {
            fleet: self.desired.fleet,
            writer: self.writer,
            mode,
            targets,
            partial: !self.set.whole,
            adopt: BTreeSet::new(),
            prune: false,
            consents,
            now: Some(jiff::Timestamp::now()),
            rebooted: BTreeSet::new(),
        }
    }

    /// What the steps of a run reach.
    pub fn world(&self, ledger: Ledger) -> World {
        let local = Arc::new(Controller::of(&self.gathering()));
        World { hosts: self.hosts.clone(), ears: BTreeMap::new(), ledger, local, clock: jiff::Timestamp::now }
    }
}
