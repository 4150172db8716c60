//! Who uses what: libvirt protects no volume, so the guards here and at the moment of the call do.

use super::planner::Planner;
use crate::name::Name;
use crate::observe::{NodeState, PoolState};

impl Planner<'_> {
    /// The domains, jvp's or not, that use a file directly or as a backing file, and the volumes built on it.
    pub(super) fn users(&self, node: Option<&Name>, path: &str) -> Vec<String> {
        node.and_then(|node| self.node(node)).map(|state| users(state, path)).unwrap_or_default()
    }

    /// The domains that use any volume of a pool.
    pub(super) fn users_of_pool(&self, node: Option<&Name>, pool: &PoolState) -> Vec<String> {
        let Some(state) = node.and_then(|node| self.node(node)) else { return Vec::new() };
        let Some(folder) = pool.doc.path.as_deref() else { return Vec::new() };
        let folder = format!("{}/", folder.trim_end_matches('/'));
        state
            .domains
            .values()
            .filter(|domain| domain_paths(domain).any(|path| path.starts_with(&folder)))
            .map(|domain| domain.name.clone())
            .collect()
    }

    /// Whether the mark of a domain of ours names the file as one that it is built on.
    pub(super) fn marked_backing(&self, node: Option<&Name>, path: &str) -> bool {
        let Some(state) = node.and_then(|node| self.node(node)) else { return false };
        state.domains.values().any(|domain| {
            domain.doc.mark.as_ref().is_some_and(|mark| {
                mark.fleet == self.desired.fleet
                    && mark.volumes.iter().any(|volume| volume.backing.as_deref() == Some(path) || volume.path == path)
            })
        })
    }
}

/// All files that a domain uses, live or inactive, with their backing chains.
fn domain_paths(domain: &crate::observe::DomainState) -> impl Iterator<Item = &str> {
    let live = domain.live.iter().flat_map(|live| live.uses.iter());
    domain.doc.uses.iter().chain(live).map(String::as_str)
}

/// The domains that use a file directly or as a backing file, and the volumes built on it.
pub fn users(state: &NodeState, path: &str) -> Vec<String> {
    let mut users: Vec<String> = state
        .domains
        .values()
        .filter(|domain| domain_paths(domain).any(|used| used == path))
        .map(|domain| domain.name.clone())
        .collect();
    for pool in state.pools.values() {
        for volume in pool.volumes.iter().flat_map(|volumes| volumes.values()) {
            if volume.backing.as_ref().is_some_and(|backing| backing.path == path) {
                users.push(format!("volume {}/{}", pool.name, volume.name));
            }
        }
    }
    users
}

/// The running domains that use a file directly, live.
pub fn running_users(state: &NodeState, path: &str) -> Vec<String> {
    state
        .domains
        .values()
        .filter(|domain| domain.live.as_ref().is_some_and(|live| live.uses.iter().any(|used| used == path)))
        .map(|domain| domain.name.clone())
        .collect()
}
