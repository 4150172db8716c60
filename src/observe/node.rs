//! The typed side of what was read: one node's objects, and the nodes together.
//!
//! Reading never fails as a whole: a document that can't be read is listed, and its object is not among the others. Nothing here
//! knows what is wanted or owned.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::raw::{OffReason, PowerState, RawDomain, RawHost, RawLease, RawNetwork, RawNode, RawPool, Target};
use crate::name::Name;
use crate::xml;
use crate::xml::domain::DomainDoc;
use crate::xml::network::NetworkDoc;
use crate::xml::pool::PoolDoc;
use crate::xml::volume::VolumeDoc;
use crate::xml::{Document, XmlError};

/// So many domains are worth a thread.
const FEW: usize = 64;

/// All that a node has, by names in libvirt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeState {
    /// The host itself.
    pub host: HostState,
    /// Its pools.
    pub pools: BTreeMap<String, PoolState>,
    /// Its networks.
    pub networks: BTreeMap<String, NetworkState>,
    /// Its domains.
    pub domains: BTreeMap<String, DomainState>,
    /// What can't be read, and why. Whoever would destroy anything here must reckon that these may use it.
    pub unreadable: Vec<(Target, String)>,
}

/// The host itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostState {
    /// The host's UUID, from its capabilities.
    pub uuid: Option<Uuid>,
    /// Its name.
    pub hostname: String,
    /// libvirt's version there, as major * 1,000,000 + minor * 1,000 + release.
    pub libvirt_version: u64,
    /// Its architecture.
    pub arch: String,
    /// Whether guests can run with KVM: libvirt offers it and the CPU has what it takes.
    pub kvm: bool,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolState {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub active: bool,
    /// Whether it is started with libvirt.
    pub autostart: bool,
    /// Whether it outlives being stopped.
    pub persistent: bool,
    /// What its document says; `autostart` and `running` of its spec are as above.
    pub doc: PoolDoc,
    /// Its document.
    pub xml: Document,
    /// Its volumes by file name, without sub-folders; `None` where they can't be seen.
    pub volumes: Option<BTreeMap<String, VolumeDoc>>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkState {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub active: bool,
    /// Whether it is started with libvirt.
    pub autostart: bool,
    /// Whether it outlives being stopped.
    pub persistent: bool,
    /// What the document says that its next start uses; `autostart` of its spec is as above.
    pub doc: NetworkDoc,
    /// What the document says that it runs with.
    pub live: Option<NetworkDoc>,
    /// The document that its next start uses.
    pub inactive_xml: Document,
    /// The leaves of the spec in which its next start will differ from what runs.
    pub pending: BTreeSet<String>,
    /// The ports that are plugged into it; `None` while it is stopped, and where libvirt can't tell.
    pub ports: Option<BTreeSet<Uuid>>,
    /// Who has an address of it.
    pub leases: Vec<RawLease>,
}

/// A domain.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of libvirt's of its own")]
pub struct DomainState {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Whether and how it runs.
    pub state: PowerState,
    /// Why it is off.
    pub off_reason: OffReason,
    /// Whether it is started with libvirt.
    pub autostart: bool,
    /// Whether it outlives being stopped.
    pub persistent: bool,
    /// Whether a managed save image waits for its next start.
    pub managed_save: bool,
    /// What that start brings back, where the image tells.
    pub saved: Option<Arc<Saved>>,
    /// Whether it has snapshots.
    pub has_snapshots: bool,
    /// What the document says that its next start uses; `autostart` of its spec is as above.
    pub doc: Arc<DomainDoc>,
    /// What the document says that it runs with.
    pub live: Option<Arc<DomainDoc>>,
    /// The document that its next start uses, with secrets.
    pub inactive_xml: Document,
    /// The document that it runs with.
    pub live_xml: Option<Document>,
    /// The paths in which its next start will differ from what runs.
    pub pending: BTreeSet<String>,
    /// Addresses that its agent told.
    pub agent_addresses: Option<Vec<String>>,
}

/// What a managed save image brings back.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// Whether it is to be dropped, and brings back nothing.
    pub dropped: bool,
    /// What its document says that the domain runs with then.
    pub doc: Arc<DomainDoc>,
    /// The document.
    pub xml: Document,
    /// The paths in which the start after that will differ from it.
    pub pending: BTreeSet<String>,
}

impl PoolState {
    /// Its volumes, where it runs and they can be seen.
    pub fn seen(&self) -> Option<&BTreeMap<String, VolumeDoc>> {
        self.volumes.as_ref().filter(|_| self.active)
    }

    /// Where a file of it lies.
    pub fn path_of(&self, file: &str) -> String {
        // As libvirt makes it of a folder that it has tidied, whose last slash it takes off: that of `/` alone stays.
        format!("{}/{file}", self.doc.path.as_deref().unwrap_or_default())
    }
}

impl DomainState {
    /// Whether there is a QEMU process.
    pub fn is_active(&self) -> bool {
        self.state != PowerState::Off
    }

    /// All that documents say of it: what its next start uses, what runs, and what a managed save image brings back.
    pub fn docs(&self) -> impl Iterator<Item = &DomainDoc> {
        let saved = self.comes_back().map(|saved| &saved.doc);
        std::iter::once(&self.doc).chain(&self.live).chain(saved).map(AsRef::as_ref)
    }

    /// What its managed save image brings back, unless that is to be dropped.
    pub fn comes_back(&self) -> Option<&Saved> {
        self.saved.as_deref().filter(|saved| !saved.dropped)
    }

    /// Every path that it uses, live or at its next start.
    pub fn uses(&self) -> impl Iterator<Item = &String> {
        self.docs().flat_map(|doc| &doc.uses)
    }
}

impl NodeState {
    /// Reads what a host answered.
    pub fn read(raw: RawNode) -> Self {
        Self::read_again(raw, None)
    }

    /// Reads what a host answered. A domain's document that is still what it was `before` is not read a second time.
    pub fn read_again(raw: RawNode, before: Option<&Self>) -> Self {
        let mut node = Self::default();
        node.read_host(raw.host);
        for pool in raw.pools {
            node.read_pool(pool);
        }
        for network in raw.networks {
            let target = Target::Network(network.name.clone());
            if let Some(state) = node.note(target, read_network(network)) {
                node.networks.insert(state.name.clone(), state);
            }
        }
        let domains = read_domains(raw.domains, before);
        // Collected, since a map that is filled in order is half empty.
        node.domains = domains
            .into_iter()
            .filter_map(|(target, state)| node.note(target, state).map(|state| (state.name.clone(), state)))
            .collect();
        node
    }

    fn note<T>(&mut self, target: Target, result: Result<T, XmlError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.unreadable.push((target, error.to_string()));
                None
            }
        }
    }

    fn read_host(&mut self, raw: RawHost) {
        // A host without readable capabilities has no UUID, which says that it is not known which host it is.
        let host = xml::capabilities::project(&raw.capabilities).unwrap_or_default();
        self.host = HostState {
            uuid: host.uuid,
            hostname: raw.hostname,
            libvirt_version: raw.libvirt_version,
            kvm: host.kvm_usable(),
            arch: host.arch,
        };
    }

    fn read_pool(&mut self, raw: RawPool) {
        let Some(mut doc) = self.note(Target::Pool(raw.name.clone()), xml::pool::project(&raw.xml)) else { return };
        doc.spec.autostart = Some(raw.autostart);
        doc.spec.running = Some(raw.active);
        let volumes = raw.volumes.map(|volumes| {
            let mut all = BTreeMap::new();
            for volume in volumes {
                let target = Target::Volume { pool: raw.name.clone(), name: volume.name.clone() };
                if let Some(doc) = self.note(target, xml::volume::project(&volume.xml))
                    && doc.kind != "dir"
                {
                    all.insert(volume.name, doc);
                }
            }
            all
        });
        let RawPool { name, uuid, active, autostart, persistent, xml, .. } = raw;
        let xml = xml.into();
        self.pools.insert(name.clone(), PoolState { uuid, name, active, autostart, persistent, doc, xml, volumes });
    }

    /// The volume that lies at a path, with its pool's name.
    pub fn volume_by_path(&self, path: &str) -> Option<(&str, &VolumeDoc)> {
        self.volumes().find(|(_, volume)| volume.path == path)
    }

    /// Every volume, with its pool's name.
    pub fn volumes(&self) -> impl Iterator<Item = (&str, &VolumeDoc)> {
        self.pools.values().flat_map(|pool| pool.volumes.iter().flat_map(|all| all.values().map(|v| (pool.name.as_str(), v))))
    }

    /// The domains that use a path, live or at their next start, by themselves or through the backing chain of a volume.
    pub fn domains_using(&self, path: &str) -> Vec<&DomainState> {
        let mut paths: BTreeSet<&str> = [path].into();
        paths.extend(self.children_of(path).into_iter().map(|volume| volume.path.as_str()));
        let uses = |doc: &DomainDoc| self.files(doc).any(|used| paths.contains(used.as_ref()));
        self.domains.values().filter(|domain| domain.docs().any(uses)).collect()
    }

    /// Every path that a document names, also by a pool and the name of a volume in it.
    pub fn files<'a>(&'a self, doc: &'a DomainDoc) -> impl Iterator<Item = Cow<'a, str>> {
        let by_path = doc.uses.iter().map(|path| Cow::Borrowed(path.as_str()));
        by_path.chain(doc.uses_volumes.iter().filter_map(|(pool, name)| self.volume_path(pool, name).map(Cow::Owned)))
    }

    /// The path of the volume of that name in a pool, as the pool tells it or, where it doesn't, as it would be.
    pub fn volume_path(&self, pool: &str, name: &str) -> Option<String> {
        let pool = self.pools.get(pool)?;
        let found = pool.volumes.as_ref().and_then(|all| all.get(name)).map(|volume| volume.path.clone());
        found.or_else(|| pool.doc.path.as_ref().map(|folder| format!("{folder}/{name}")))
    }

    /// The volumes that stand on a path, directly or on one another.
    pub fn children_of(&self, path: &str) -> Vec<&VolumeDoc> {
        let mut below: BTreeSet<&str> = [path].into();
        let mut found: Vec<&VolumeDoc> = Vec::new();
        loop {
            let next: Vec<&VolumeDoc> = self
                .volumes()
                .map(|(_, volume)| volume)
                .filter(|volume| volume.backing.as_ref().is_some_and(|backing| below.contains(backing.path.as_str())))
                .filter(|volume| !below.contains(volume.path.as_str()))
                .collect();
            if next.is_empty() {
                return found;
            }
            below.extend(next.iter().map(|volume| volume.path.as_str()));
            found.extend(next);
        }
    }
}

fn read_network(raw: RawNetwork) -> Result<NetworkState, XmlError> {
    let mut doc = xml::network::project(&raw.inactive)?;
    let live = raw.live.as_deref().map(xml::network::project).transpose()?;
    let pending = live.as_ref().map(|live| xml::network::pending(live, &doc)).unwrap_or_default();
    doc.spec.autostart = Some(raw.autostart);
    Ok(NetworkState {
        uuid: raw.uuid,
        name: raw.name,
        active: raw.active,
        autostart: raw.autostart,
        persistent: raw.persistent,
        doc,
        live,
        inactive_xml: raw.inactive.into(),
        pending,
        ports: raw.ports,
        leases: raw.leases,
    })
}

/// Reads domains, in their order; many are read side by side.
fn read_domains(mut domains: Vec<RawDomain>, before: Option<&NodeState>) -> Vec<(Target, Result<DomainState, XmlError>)> {
    let read = |domains: Vec<RawDomain>| -> Vec<_> {
        let known = |name: &String| before.and_then(|before| before.domains.get(name));
        let read = |domain: RawDomain| (Target::Domain(domain.name.clone()), read_domain(known(&domain.name), domain));
        domains.into_iter().map(read).collect()
    };
    let threads = crate::manifest::threads(domains.len(), FEW);
    if threads < 2 {
        return read(domains);
    }
    let share = domains.len().div_ceil(threads);
    let mut shares = Vec::with_capacity(threads);
    while !domains.is_empty() {
        let rest = domains.split_off(share.min(domains.len()));
        shares.push(std::mem::replace(&mut domains, rest));
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = shares.into_iter().map(|share| scope.spawn(move || read(share))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// What a domain's documents say.
struct Documents {
    doc: Arc<DomainDoc>,
    live: Option<Arc<DomainDoc>>,
    inactive_xml: Document,
    live_xml: Option<Document>,
    pending: BTreeSet<String>,
    saved: Option<Arc<Saved>>,
}

impl Documents {
    fn read(inactive: Document, live: Option<Document>, saved: Option<Document>, autostart: bool) -> Result<Self, XmlError> {
        let (mut doc, live_doc, pending) = match &live {
            Some(live) => {
                let both = xml::domain::project_both(&live.text(), &inactive.text())?;
                (both.inactive, Some(both.live), both.pending)
            }
            None => (xml::domain::project(&inactive.text())?, None, BTreeSet::new()),
        };
        doc.spec.autostart = Some(autostart);
        // One that nobody can make sense of is as one that can't be read.
        let saved = saved.and_then(|saved| {
            let both = xml::domain::project_both(&saved.text(), &inactive.text()).ok()?;
            Some(Arc::new(Saved { dropped: false, doc: Arc::new(both.live), xml: saved, pending: both.pending }))
        });
        Ok(Self { saved, doc: Arc::new(doc), live: live_doc.map(Arc::new), inactive_xml: inactive, live_xml: live, pending })
    }

    /// Those of a domain that was read before.
    fn of(known: &DomainState) -> Self {
        let DomainState { doc, live, inactive_xml, live_xml, pending, saved, .. } = known.clone();
        Self { doc, live, inactive_xml, live_xml, pending, saved }
    }
}

fn read_domain(known: Option<&DomainState>, raw: RawDomain) -> Result<DomainState, XmlError> {
    let same = |known: &&DomainState| {
        known.inactive_xml == raw.inactive
            && known.live_xml == raw.live
            && known.saved.as_ref().map(|saved| &saved.xml) == raw.saved.as_ref()
            && known.autostart == raw.autostart
    };
    let documents = match known.filter(same) {
        Some(known) => Documents::of(known),
        None => Documents::read(raw.inactive, raw.live, raw.saved, raw.autostart)?,
    };
    let Documents { doc, live, inactive_xml, live_xml, pending, saved } = documents;
    Ok(DomainState {
        uuid: raw.uuid,
        name: raw.name,
        state: raw.state,
        off_reason: raw.off_reason,
        autostart: raw.autostart,
        persistent: raw.persistent,
        managed_save: raw.managed_save,
        saved,
        has_snapshots: raw.has_snapshots,
        doc,
        live,
        inactive_xml,
        live_xml,
        pending,
        agent_addresses: raw.agent_addresses,
    })
}

/// A node as it was found.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeView {
    /// It answered.
    Reached(Box<NodeState>),
    /// It did not.
    Unreachable {
        /// What was said.
        message: String,
        /// Whether there is no right to it.
        denied: bool,
    },
}

/// All nodes, as they were found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// By the Node's name.
    pub nodes: BTreeMap<Name, NodeView>,
}

/// A domain that uses something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    /// Where it stands.
    pub node: Name,
    /// Its name in libvirt.
    pub domain: String,
}

impl Observed {
    /// A node that answered.
    pub fn node(&self, name: &Name) -> Option<&NodeState> {
        match self.nodes.get(name)? {
            NodeView::Reached(state) => Some(state),
            NodeView::Unreachable { .. } => None,
        }
    }

    /// The nodes that answered.
    pub fn reached(&self) -> impl Iterator<Item = (&Name, &NodeState)> {
        self.nodes.keys().filter_map(|name| Some((name, self.node(name)?)))
    }

    /// The nodes that did not answer.
    pub fn unreached(&self) -> impl Iterator<Item = &Name> {
        self.nodes.iter().filter(|(_, view)| matches!(view, NodeView::Unreachable { .. })).map(|(name, _)| name)
    }

    /// The domain with a UUID, on whichever node.
    pub fn find_domain_by_uuid(&self, uuid: Uuid) -> Option<(&Name, &DomainState)> {
        self.reached().find_map(|(name, node)| Some((name, node.domains.values().find(|domain| domain.uuid == uuid)?)))
    }

    /// The domains with a mark of this identity, on whichever node.
    pub fn domains_by_uid(&self, uid: Uuid) -> Vec<(&Name, &DomainState)> {
        let marked = |domain: &&DomainState| domain.doc.mark.as_ref().is_some_and(|mark| mark.uid == uid);
        self.reached().flat_map(|(name, node)| node.domains.values().filter(marked).map(move |domain| (name, domain))).collect()
    }

    /// Who uses a path, on any node: the paths of several nodes may lie in storage that they share.
    pub fn users_of(&self, path: &str) -> Vec<User> {
        let user = |node: &Name, domain: &DomainState| User { node: node.clone(), domain: domain.name.clone() };
        self.reached().flat_map(|(name, node)| node.domains_using(path).into_iter().map(move |d| user(name, d))).collect()
    }

    /// The volume that lies at a path of a node, with its pool's name.
    pub fn volume_by_path(&self, node: &Name, path: &str) -> Option<(&str, &VolumeDoc)> {
        self.node(node)?.volume_by_path(path)
    }

    /// The volumes of any node that stand on a path.
    pub fn children_of(&self, path: &str) -> Vec<(&Name, &VolumeDoc)> {
        self.reached().flat_map(|(name, node)| node.children_of(path).into_iter().map(move |volume| (name, volume))).collect()
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
