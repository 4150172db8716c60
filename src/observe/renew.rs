//! A whole node as it was read, with some of its objects as they were read later.

use std::collections::{BTreeMap, BTreeSet};

use super::node::{NodeState, PoolState};
use super::raw::Target;

impl NodeState {
    /// Takes what a later read of these targets found of them; all else stays as it was.
    pub fn renew(&mut self, targets: &BTreeSet<Target>, later: Self) {
        let Self { host, mut pools, mut networks, mut domains, unreadable } = later;
        self.host = host;
        self.unreadable.retain(|(target, _)| !targets.contains(target));
        self.unreadable.extend(unreadable);
        let mut read: BTreeSet<&str> = BTreeSet::new();
        for target in targets {
            match target {
                Target::Domain(name) => put(&mut self.domains, name, domains.remove(name)),
                Target::Network(name) => put(&mut self.networks, name, networks.remove(name)),
                Target::Pool(name) | Target::Volume { pool: name, .. } => {
                    if read.insert(name) {
                        let known = self.pools.remove(name);
                        put(&mut self.pools, name, pools.remove(name).map(|later| pool(known, targets, later)));
                    }
                }
            }
        }
    }
}

fn put<T>(all: &mut BTreeMap<String, T>, name: &str, later: Option<T>) {
    match later {
        Some(later) => drop(all.insert(name.to_owned(), later)),
        None => drop(all.remove(name)),
    }
}

/// A pool as it was read later, of whose volumes only the targets were read.
fn pool(known: Option<PoolState>, targets: &BTreeSet<Target>, mut later: PoolState) -> PoolState {
    if !later.active {
        return later;
    }
    let mut volumes = known.and_then(|known| known.volumes).unwrap_or_default();
    let mut read = later.volumes.take().unwrap_or_default();
    for target in targets {
        if let Target::Volume { pool, name } = target
            && *pool == later.name
        {
            put(&mut volumes, name, read.remove(name));
        }
    }
    later.volumes = Some(volumes);
    later
}
