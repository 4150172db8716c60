//! What a fake node answers to a read. Changes nothing.

use crate::observe::{
    OffReason, PowerState, RawDomain, RawHost, RawLease, RawNetwork, RawNode, RawPool, RawVolume, Scope, Target,
};

use super::state::{Domain, Network, Pool, Power, State};

impl State {
    /// What `scope` names.
    pub fn read(&self, scope: &Scope) -> RawNode {
        let mut node = RawNode::default();
        match scope {
            Scope::Host => node.host = self.host(),
            Scope::Everything | Scope::AtEase | Scope::WithGuests => {
                let guests = *scope == Scope::WithGuests;
                node.host = self.host();
                node.pools = self.pools.iter().map(|(name, pool)| self.raw_pool(name, pool, true)).collect();
                node.networks = self.networks.iter().map(|(name, network)| raw_network(name, network, guests)).collect();
                node.domains = self.domains.iter().map(|(name, domain)| raw_domain(name, domain, guests)).collect();
            }
            Scope::Objects(targets) | Scope::Near(targets) | Scope::Guests(targets) => {
                if matches!(scope, Scope::Near(_)) {
                    node.host = self.host();
                }
                for target in targets {
                    self.one(target, scope.asks_guests(), &mut node);
                }
                node.pools.sort_by(|a, b| a.name.cmp(&b.name));
            }
        }
        node
    }

    fn one(&self, target: &Target, guests: bool, node: &mut RawNode) {
        match target {
            Target::Domain(name) => node.domains.extend(self.domains.get(name).map(|domain| raw_domain(name, domain, guests))),
            Target::Network(name) => {
                node.networks.extend(self.networks.get(name).map(|network| raw_network(name, network, guests)));
            }
            Target::Pool(name) => {
                if !node.pools.iter().any(|pool| pool.name == *name) {
                    node.pools.extend(self.pools.get(name).map(|pool| self.raw_pool(name, pool, false)));
                }
            }
            Target::Volume { pool: name, name: volume } => {
                let Some(pool) = self.pools.get(name) else { return };
                if !node.pools.iter().any(|raw| raw.name == *name) {
                    node.pools.push(self.raw_pool(name, pool, false));
                }
                let Some(raw) = node.pools.iter_mut().find(|raw| raw.name == *name).filter(|_| pool.active) else { return };
                let list = raw.volumes.get_or_insert_default();
                let deep = pool.known.get(volume);
                let document = deep.and_then(|deep| self.volume_document(pool, volume, *deep));
                list.extend(document.map(|xml| RawVolume { name: volume.clone(), xml }));
            }
        }
    }

    fn host(&self) -> RawHost {
        RawHost {
            hostname: self.hostname.clone(),
            libvirt_version: self.libvirt_version,
            capabilities: super::capabilities::document(self),
        }
    }

    fn raw_pool(&self, name: &str, pool: &Pool, volumes: bool) -> RawPool {
        RawPool {
            name: name.to_owned(),
            uuid: pool.uuid,
            active: pool.active,
            autostart: pool.autostart,
            persistent: pool.persistent,
            xml: self.pool_document(pool),
            volumes: (volumes && pool.active).then(|| self.volumes(pool)),
        }
    }
}

fn raw_network(name: &str, network: &Network, guests: bool) -> RawNetwork {
    let lease =
        |lease: &super::state::Lease| RawLease { mac: lease.mac.clone(), ip: lease.ip.clone(), hostname: lease.hostname.clone() };
    RawNetwork {
        name: name.to_owned(),
        uuid: network.uuid,
        active: network.live.is_some(),
        autostart: network.autostart,
        persistent: network.persistent,
        inactive: network.inactive.clone(),
        live: network.live.as_deref().map(|live| with_connections(live, network.ports.len())),
        ports: network.live.as_ref().map(|_| network.ports.clone()),
        leases: if guests { network.leases.iter().map(lease).collect() } else { Vec::new() },
    }
}

/// What runs tells how many are plugged in.
fn with_connections(live: &str, count: usize) -> String {
    match super::tree::Element::parse(live) {
        Ok(mut document) if count > 0 => {
            document.attrs.insert(0, ("connections".to_owned(), count.to_string()));
            document.print()
        }
        _ => live.to_owned(),
    }
}

fn raw_domain(name: &str, domain: &Domain, guests: bool) -> RawDomain {
    let state = match domain.power {
        None => PowerState::Off,
        Some(Power::Running) => PowerState::Running,
        Some(Power::Paused) => PowerState::Paused,
        Some(Power::Crashed) => PowerState::Crashed,
        Some(Power::Suspended) => PowerState::Suspended,
    };
    RawDomain {
        name: name.to_owned(),
        uuid: domain.uuid,
        state,
        off_reason: if domain.power.is_none() { domain.off_reason } else { OffReason::Unknown },
        autostart: domain.autostart,
        persistent: domain.persistent,
        managed_save: domain.managed_save.is_some(),
        saved: domain.managed_save.as_deref().map(Into::into),
        has_snapshots: !domain.snapshots.is_empty(),
        // A transient domain has no other document than the one that it runs with.
        inactive: if domain.persistent { &*domain.inactive } else { domain.live.as_deref().unwrap_or_default() }.into(),
        live: domain.live.as_deref().map(Into::into),
        agent_addresses: domain.agent_addresses.clone().filter(|_| guests && domain.power.is_some()),
    }
}
