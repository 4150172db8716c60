//! Readiness: whether an object is as far as somebody waits for, and what it lacks. It looks, and decides nothing.
//!
//! What can't be known of an object, for want of an agent or a network, is not waited for unless it was asked for by name; then it is
//! said at once that it never comes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use uuid::Uuid;

use crate::host::{ErrorKind, Host};
use crate::manifest::{RunStrategy, Spec, TemplateFeatures, VirtualMachineSpec};
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::{DomainState, NetworkState, NodeState, PowerState, Scope, Target};
use crate::plan::{Entry, Owned, libvirt_name};
use crate::resolve::{Desired, Wanted};

/// What is told of cloud-init's last run, by cloud-init itself, at its end. The folder is empty after each boot.
const RESULT: &str = "/run/cloud-init/result.json";

/// What may be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It runs.
    Running,
    /// It has an address that others can reach: its agent tells one, or a network's DHCP gave one.
    AddressAssigned,
    /// The agent in its guest is there.
    AgentConnected,
    /// cloud-init in its guest has ended, without an error.
    CloudInitDone,
    /// All of these that apply to it.
    Ready,
}

impl Condition {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Running, Self::AddressAssigned, Self::AgentConnected, Self::CloudInitDone, Self::Ready];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::AddressAssigned => "AddressAssigned",
            Self::AgentConnected => "AgentConnected",
            Self::CloudInitDone => "CloudInitDone",
            Self::Ready => "Ready",
        }
    }
}

/// How a condition stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It is so; with what there is to say of it.
    True(String),
    /// Not yet, since.
    Waiting(String),
    /// It won't come by waiting, since.
    Never(String),
    /// It says nothing of this object, since.
    NotApplicable(String),
}

/// An object that is waited for.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The object.
    pub object: ObjectRef,
    /// Where it stands; none for what is the controller's.
    pub node: Option<Name>,
    /// Its name in libvirt.
    name: String,
    uuid: Option<Uuid>,
    /// For volumes and templates: the pool and the file.
    file: Option<(String, String)>,
    /// Networks that it is plugged into, by their names in libvirt.
    networks: BTreeSet<String>,
    strategy: RunStrategy,
    /// Whether anything says that the agent is in its guest.
    agent_expected: bool,
    cloud_init: bool,
}

impl Subject {
    /// What there is to know of an object beforehand; none where neither the manifests nor the inventory have it.
    pub fn new(object: &ObjectRef, desired: &Desired, owned: &Owned) -> Option<Self> {
        let (wanted, entry) = (desired.object(object), owned.entry(object));
        if wanted.is_none() && entry.is_none() && !(object.kind == Kind::Node && desired.nodes.contains_key(&object.name)) {
            return None;
        }
        let node = entry.and_then(|entry| entry.node.clone()).or_else(|| wanted.and_then(|wanted| wanted.node.clone()));
        let name = entry.map(|entry| entry.libvirt_name.clone()).or_else(|| wanted.map(|wanted| wanted.libvirt_name.clone()));
        let spec = wanted.and_then(|wanted| match &*wanted.spec {
            Spec::VirtualMachine(spec) => Some(spec.as_ref()),
            _ => None,
        });
        let features = wanted.and_then(|wanted| features(desired, wanted));
        let agent = features.is_some_and(|features| features.qemu_guest_agent == Some(true));
        Some(Self {
            object: object.clone(),
            networks: spec.zip(node.as_ref()).map(|(spec, node)| networks(desired, owned, spec, node)).unwrap_or_default(),
            node,
            name: name.unwrap_or_else(|| object.name.to_string()),
            uuid: entry.and_then(|entry| entry.libvirt_uuid).or_else(|| wanted.map(|wanted| wanted.uid)),
            file: entry.and_then(file),
            strategy: spec.and_then(|spec| spec.run_strategy).unwrap_or(RunStrategy::Manual),
            agent_expected: spec.is_some_and(|spec| spec.guest_agent != Some(false) && (agent || spec.guest_agent == Some(true))),
            cloud_init: spec.is_some_and(|spec| spec.cloud_init.is_some()),
        })
    }

    /// What is to be read for it.
    pub fn targets(&self) -> BTreeSet<Target> {
        let mut all: BTreeSet<Target> = self.networks.iter().cloned().map(Target::Network).collect();
        all.extend(match self.object.kind {
            Kind::VirtualMachine => Some(Target::Domain(self.name.clone())),
            Kind::Network => Some(Target::Network(self.name.clone())),
            Kind::StoragePool => Some(Target::Pool(self.name.clone())),
            Kind::Volume | Kind::Template => {
                self.file.as_ref().map(|(pool, name)| Target::Volume { pool: pool.clone(), name: name.clone() })
            }
            Kind::Fleet | Kind::Node | Kind::KeyPair => None,
        });
        all
    }

    /// Whether it is gone from what was read.
    pub fn is_gone(&self, state: &NodeState) -> bool {
        let same = |uuid: Uuid| self.uuid.is_none_or(|own| own == uuid);
        match self.object.kind {
            Kind::VirtualMachine => !state.domains.get(&self.name).is_some_and(|found| same(found.uuid)),
            Kind::Network => !state.networks.get(&self.name).is_some_and(|found| same(found.uuid)),
            Kind::StoragePool => !state.pools.get(&self.name).is_some_and(|found| same(found.uuid)),
            Kind::Volume | Kind::Template => !self.has_file(state),
            Kind::Fleet | Kind::Node | Kind::KeyPair => false,
        }
    }

    fn has_file(&self, state: &NodeState) -> bool {
        let found = self.file.as_ref().and_then(|(pool, file)| state.pools.get(pool)?.volumes.as_ref()?.get(file));
        found.is_some()
    }

    /// How conditions stand by what was read. `Ready` is told by those that it is made of.
    pub async fn look(&self, state: &NodeState, host: &dyn Host, asked: Condition) -> Vec<(Condition, Status)> {
        let yes = |is: bool, lacks: &str| if is { Status::True(String::new()) } else { Status::Waiting(lacks.to_owned()) };
        match self.object.kind {
            Kind::VirtualMachine => self.guest(state, host, asked).await,
            Kind::Network => {
                let runs = state.networks.get(&self.name).is_some_and(|network| network.active);
                vec![(Condition::Running, yes(runs, "it does not run"))]
            }
            Kind::StoragePool => {
                let runs = state.pools.get(&self.name).is_some_and(|pool| pool.active);
                vec![(Condition::Running, yes(runs, "it does not run"))]
            }
            Kind::Volume | Kind::Template => vec![(Condition::Ready, yes(self.has_file(state), "its file is not there"))],
            Kind::Fleet | Kind::Node | Kind::KeyPair => vec![(Condition::Ready, Status::True(String::new()))],
        }
    }

    async fn guest(&self, state: &NodeState, host: &dyn Host, asked: Condition) -> Vec<(Condition, Status)> {
        let found = state.domains.get(&self.name).filter(|domain| self.uuid.is_none_or(|uuid| uuid == domain.uuid));
        let Some(domain) = found else { return vec![(Condition::Running, Status::Waiting("it is not there".into()))] };
        let ready = asked == Condition::Ready;
        let running = match domain.state {
            PowerState::Off if ready && self.strategy != RunStrategy::Always => {
                let words = format!("it is off, and runStrategy is {:?}", self.strategy);
                return vec![(Condition::Running, Status::NotApplicable(words))];
            }
            PowerState::Off => Status::Waiting("it is off".into()),
            PowerState::Running => Status::True(String::new()),
            other => Status::Waiting(format!("it is {}", power(other))),
        };
        let runs = matches!(running, Status::True(_));
        let mut all = vec![(Condition::Running, running)];
        let mut tell = |condition: Condition, status: Status| {
            if ready || asked == condition {
                all.push((condition, status));
            }
        };
        if !runs {
            return all;
        }
        tell(Condition::AddressAssigned, self.address(state, domain, ready));
        tell(Condition::AgentConnected, self.agent(domain, ready));
        if ready || asked == Condition::CloudInitDone {
            tell(Condition::CloudInitDone, self.cloud_init(domain, host, ready).await);
        }
        all
    }

    fn address(&self, state: &NodeState, domain: &DomainState, ready: bool) -> Status {
        let live = domain.live.as_ref().unwrap_or(&domain.doc);
        let told = domain.agent_addresses.iter().flatten().filter(|address| !is_local(address));
        let own: BTreeSet<String> = live.interfaces.iter().filter_map(|nic| nic.mac).map(|mac| mac.to_string()).collect();
        let plugged: Vec<&NetworkState> =
            live.interfaces.iter().filter_map(|nic| state.networks.get(nic.network.as_ref()?)).collect();
        let leases = plugged.iter().flat_map(|network| &network.leases);
        let leased = leases.filter(|lease| own.contains(&lease.mac.to_lowercase())).map(|lease| &lease.ip);
        let found: BTreeSet<&String> = told.chain(leased).collect();
        if !found.is_empty() {
            return Status::True(found.into_iter().map(String::as_str).collect::<Vec<_>>().join(", "));
        }
        let dhcp = plugged.iter().any(|network| network.doc.spec.ips.iter().any(|ip| ip.dhcp.is_some()));
        let channel = live.spec.guest_agent == Some(true);
        match (dhcp || self.agent_expected, live.interfaces.is_empty()) {
            (true, false) => Status::Waiting("no address is told yet".into()),
            (_, true) => never(ready, "it has no interface"),
            (false, false) if channel && !ready => Status::Waiting("no address is told yet".into()),
            (false, false) => {
                never(ready, "none of its networks has DHCP, and nothing says that its image has an agent to tell it")
            }
        }
    }

    fn agent(&self, domain: &DomainState, ready: bool) -> Status {
        let live = domain.live.as_ref().unwrap_or(&domain.doc);
        if live.agent_connected {
            return Status::True(String::new());
        }
        if live.spec.guest_agent != Some(true) {
            return never(ready, "it has no channel for an agent (`guestAgent: true`)");
        }
        if ready && !self.agent_expected {
            let words =
                "nothing says that its image has an agent: `guestAgent: true`, or its Template's `features.qemuGuestAgent`";
            return Status::NotApplicable(words.into());
        }
        Status::Waiting("no agent is there yet".into())
    }

    async fn cloud_init(&self, domain: &DomainState, host: &dyn Host, ready: bool) -> Status {
        if ready && !self.cloud_init {
            return Status::NotApplicable("it is told nothing by cloud-init".into());
        }
        match self.agent(domain, ready) {
            Status::True(_) => {}
            Status::NotApplicable(_) => {
                return Status::NotApplicable("only an agent in the guest could tell of it".into());
            }
            other => return other,
        }
        match host.guest_file(domain.uuid, RESULT).await {
            Ok(None) => Status::Waiting("cloud-init is at work".into()),
            Ok(Some(bytes)) => result(&bytes),
            Err(error) if error.kind == ErrorKind::Unsupported => {
                never(ready, &format!("its agent does not let files be read: {error}"))
            }
            Err(error) => Status::Waiting(format!("its agent was asked for cloud-init's result: {error}")),
        }
    }
}

/// What won't come: nothing to wait for where all that applies was asked for.
fn never(ready: bool, why: &str) -> Status {
    if ready { Status::NotApplicable(why.to_owned()) } else { Status::Never(why.to_owned()) }
}

/// What cloud-init wrote at its end.
fn result(bytes: &[u8]) -> Status {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return Status::Waiting("cloud-init's result can't be read yet".into());
    };
    let errors: Vec<&str> = value["v1"]["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if errors.is_empty() {
        Status::True(String::new())
    } else {
        Status::Never(format!("cloud-init ended with errors: {}", errors.join("; ")))
    }
}

fn power(state: PowerState) -> &'static str {
    match state {
        PowerState::Running => "running",
        PowerState::Paused => "paused",
        PowerState::ShuttingDown => "shutting down",
        PowerState::Off => "off",
        PowerState::Crashed => "crashed",
        PowerState::Suspended => "asleep",
    }
}

fn file(entry: &Entry) -> Option<(String, String)> {
    let volume = entry.volume.as_ref().map(|volume| (volume.pool.clone(), volume.file.clone()));
    volume.or_else(|| entry.template.as_ref().map(|template| (template.pool.clone(), template.file.clone())))
}

/// The names in libvirt of the networks that a VM is plugged into.
fn networks(desired: &Desired, owned: &Owned, spec: &VirtualMachineSpec, node: &Name) -> BTreeSet<String> {
    let named = |name: &Name| libvirt_name(desired, owned, &ObjectRef::on(Kind::Network, name.clone(), node));
    spec.interfaces.iter().filter_map(|interface| interface.network.as_ref()).map(named).collect()
}

/// What the Template says that a VM's disk comes from.
fn features<'a>(desired: &'a Desired, vm: &Wanted) -> Option<&'a TemplateFeatures> {
    let templates = |wanted: &Wanted| -> Vec<ObjectRef> {
        wanted.references.iter().map(|reference| &reference.object).filter(|o| o.kind == Kind::Template).cloned().collect()
    };
    let volumes = vm.references.iter().map(|reference| &reference.object).filter(|object| object.kind == Kind::Volume);
    let of_volumes = volumes.filter_map(|volume| desired.object(volume)).flat_map(templates);
    of_volumes.chain(templates(vm)).find_map(|template| match &*desired.objects.get(&template)?.spec {
        Spec::Template(spec) => spec.features.as_ref(),
        _ => None,
    })
}

/// Whether an address says nothing about where a guest is reached.
pub fn is_local(address: &str) -> bool {
    let address = address.split(['/', '%']).next().unwrap_or_default();
    match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(v4)) => v4.is_loopback() || v4.is_link_local(),
        Ok(std::net::IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unicast_link_local(),
        Err(_) => true,
    }
}

/// Reads what subjects need, each node once, all side by side. A node that doesn't answer has its error there.
pub async fn read(
    hosts: &BTreeMap<Name, std::sync::Arc<dyn Host>>,
    subjects: &[&Subject],
) -> BTreeMap<Name, Result<NodeState, String>> {
    let mut by_node: BTreeMap<&Name, BTreeSet<Target>> = BTreeMap::new();
    for subject in subjects {
        if let Some(node) = &subject.node {
            by_node.entry(node).or_default().extend(subject.targets());
        }
    }
    let mut tasks = tokio::task::JoinSet::new();
    let mut all = BTreeMap::new();
    for (node, targets) in by_node {
        let Some(host) = hosts.get(node) else {
            all.insert(node.clone(), Err(format!("Node/{node} is not in the manifests that were read")));
            continue;
        };
        let (node, host) = (node.clone(), host.clone());
        tasks.spawn(async move {
            let read = host.read(&Scope::Guests(targets)).await;
            (node.clone(), read.map(NodeState::read).map_err(|error| format!("Node/{node}: {error}")))
        });
    }
    while let Some(joined) = tasks.join_next().await {
        if let Ok((node, state)) = joined {
            all.insert(node, state);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloud_init_is_done_when_it_says_so_without_errors() {
        assert_eq!(result(br#"{"v1": {"datasource": "DataSourceNoCloud", "errors": []}}"#), Status::True(String::new()));
        let Status::Never(words) = result(br#"{"v1": {"errors": ["('final', ProcessExecutionError)"]}}"#) else {
            panic!("errors are never done")
        };
        assert!(words.contains("ProcessExecutionError"));
        assert!(matches!(result(b""), Status::Waiting(_)));
    }

    #[test]
    fn addresses_of_its_own_are_no_addresses() {
        assert!(["127.0.0.1", "::1", "fe80::1%eth0", "169.254.1.1", "nonsense"].iter().all(|address| is_local(address)));
        assert!(["10.0.0.5", "10.0.0.5/24", "fd00::9"].iter().all(|address| !is_local(address)));
    }
}
