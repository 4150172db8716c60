//! What the planner looks up time and again, by key. Each map is made once a plan, at its first use, so that a plan takes as long as
//! what it is made from and not its square.
//!
//! Nothing is judged here: what is found is what a walk over the node or the inventory would have found first.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::{Entry, Owned};
use crate::name::{Name, ObjectRef, Uid};
use crate::observe::{DomainState, NodeState, Observed};
use crate::xml::volume::VolumeDoc;

/// Of the inventory and of all nodes that were reached.
pub(super) struct Index<'a> {
    owned: &'a Owned,
    fleet: Uid,
    nodes: BTreeMap<&'a Name, OfNode<'a>>,
    marked: OnceCell<BTreeMap<Uid, Vec<&'a Name>>>,
    files: OnceCell<BTreeMap<&'a Name, BTreeMap<&'a str, Vec<&'a Entry>>>>,
    owners: OnceCell<BTreeMap<&'a ObjectRef, Vec<&'a Entry>>>,
}

/// Of one node.
struct OfNode<'a> {
    state: &'a NodeState,
    domains: OnceCell<BTreeMap<Uuid, &'a DomainState>>,
    identities: OnceCell<BTreeMap<Uuid, Vec<&'a DomainState>>>,
    volumes: OnceCell<BTreeMap<&'a str, &'a VolumeDoc>>,
    in_use: OnceCell<BTreeSet<Cow<'a, str>>>,
    saved: OnceCell<Vec<&'a DomainState>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(observed: &'a Observed, owned: &'a Owned, fleet: Uid) -> Self {
        let of_node = |(name, state)| {
            let (domains, identities) = (OnceCell::new(), OnceCell::new());
            let (volumes, in_use, saved) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
            (name, OfNode { state, domains, identities, volumes, in_use, saved })
        };
        let nodes = observed.reached().map(of_node).collect();
        Self { owned, fleet, nodes, marked: OnceCell::new(), files: OnceCell::new(), owners: OnceCell::new() }
    }

    /// The nodes that have a domain with this fleet's mark of a VM.
    pub(super) fn nodes_with(&self, uid: Uid) -> &[&'a Name] {
        let all = self.marked.get_or_init(|| {
            let mut all: BTreeMap<Uid, Vec<&'a Name>> = BTreeMap::new();
            for (name, node) in &self.nodes {
                let marks = node.state.domains.values().filter_map(|domain| domain.doc.mark.as_ref());
                for mark in marks.filter(|mark| mark.fleet == self.fleet) {
                    all.entry(mark.uid).or_default().push(name);
                }
            }
            all
        });
        all.get(&uid).map_or(&[], Vec::as_slice)
    }

    /// The volumes and templates that the inventory has at a path of a node, in its order.
    pub(super) fn recorded_at(&self, node: &Name, path: &str) -> &[&'a Entry] {
        let all = self.files.get_or_init(|| {
            let mut all: BTreeMap<&'a Name, BTreeMap<&'a str, Vec<&'a Entry>>> = BTreeMap::new();
            for entry in self.entries() {
                let Some(node) = &entry.node else { continue };
                for path in entry.files() {
                    all.entry(node).or_default().entry(path).or_default().push(entry);
                }
            }
            all
        });
        all.get(node).and_then(|all| all.get(path)).map_or(&[], Vec::as_slice)
    }

    /// The volumes that the inventory has as ones that came with a VM, in its order.
    pub(super) fn came_with(&self, vm: &ObjectRef) -> &[&'a Entry] {
        let all = self.owners.get_or_init(|| {
            let mut all: BTreeMap<&'a ObjectRef, Vec<&'a Entry>> = BTreeMap::new();
            for entry in self.entries() {
                if let Some(owner) = entry.volume.as_ref().and_then(|volume| volume.owner.as_ref()) {
                    all.entry(owner).or_default().push(entry);
                }
            }
            all
        });
        all.get(vm).map_or(&[], Vec::as_slice)
    }

    fn entries(&self) -> impl Iterator<Item = &'a Entry> {
        self.owned.entries.values().map(Arc::as_ref)
    }

    /// The domain of a node that has a UUID.
    pub(super) fn domain(&self, node: &Name, uuid: Uuid) -> Option<&'a DomainState> {
        let node = self.nodes.get(node)?;
        let all = node.domains.get_or_init(|| first(node.state.domains.values().map(|domain| (domain.uuid, domain))));
        all.get(&uuid).copied()
    }

    /// The domains of a node that have one of these identities, by mark or, where they have none, by UUID; in the order of their names.
    pub(super) fn domains_of(&self, node: &Name, uuids: impl IntoIterator<Item = Uuid>) -> Vec<&'a DomainState> {
        let Some(node) = self.nodes.get(node) else { return Vec::new() };
        let all = node.identities.get_or_init(|| {
            let mut all: BTreeMap<Uuid, Vec<&'a DomainState>> = BTreeMap::new();
            for domain in node.state.domains.values() {
                let uuid = domain.doc.mark.as_ref().map_or(domain.uuid, |mark| mark.uid);
                all.entry(uuid).or_default().push(domain);
            }
            all
        });
        let mut found: Vec<&'a DomainState> = uuids.into_iter().filter_map(|uuid| all.get(&uuid)).flatten().copied().collect();
        found.sort_by_key(|domain| &domain.name);
        found
    }

    /// The volume that lies at a path of a node.
    pub(super) fn volume_at(&self, node: &Name, path: &str) -> Option<&'a VolumeDoc> {
        let node = self.nodes.get(node)?;
        let all = node.volumes.get_or_init(|| first(node.state.volumes().map(|(_, volume)| (volume.path.as_str(), volume))));
        all.get(path).copied()
    }

    /// The domains of a node that have a saved state, also where it is to be dropped. Most often there are none.
    pub(super) fn saved(&self, node: &Name) -> &[&'a DomainState] {
        let Some(node) = self.nodes.get(node) else { return &[] };
        node.saved.get_or_init(|| node.state.domains.values().filter(|domain| domain.managed_save).collect())
    }

    /// The state of a node, where anything there names a file: a domain, live or inactive, as its disk or beneath one, or a volume
    /// as its backing file. Of what nobody names nobody has to be asked.
    pub(super) fn where_used(&self, node: &Name, path: &str) -> Option<&'a NodeState> {
        let node = self.nodes.get(node)?;
        node.in_use.get_or_init(|| in_use(node.state)).contains(path).then_some(node.state)
    }
}

/// The first value of each key.
fn first<K: Ord, V>(all: impl Iterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    for (key, value) in all {
        map.entry(key).or_insert(value);
    }
    map
}

/// Every file that something on a node names.
fn in_use(state: &NodeState) -> BTreeSet<Cow<'_, str>> {
    let mut all: BTreeSet<Cow<'_, str>> = BTreeSet::new();
    for doc in state.domains.values().flat_map(DomainState::docs) {
        all.extend(state.files(doc));
        for disk in &doc.disks {
            all.extend(disk.source.iter().chain(&disk.chain).map(|path| Cow::Borrowed(path.as_str())));
            let named = disk.source_volume.as_ref().and_then(|(pool, name)| state.volume_path(pool, name));
            all.extend(named.map(Cow::Owned));
        }
    }
    all.extend(state.volumes().filter_map(|(_, volume)| Some(Cow::Borrowed(volume.backing.as_ref()?.path.as_str()))));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{NodeView, RawDomain, RawNode, RawPool, RawVolume};

    const FLEET: Uid = Uuid::from_u128(1);

    fn domain(name: &str, uuid: u128, mark: Option<u128>, disk: &str) -> RawDomain {
        let mark = mark.map(|uid| {
            format!(
                "<jvp:object xmlns:jvp='https://jvp.dev/xml/object/1' kind='VirtualMachine' name='vm' fleet='{FLEET}' uid='{}' writer='{FLEET}'/>",
                Uuid::from_u128(uid)
            )
        });
        let xml = format!(
            "<domain type='qemu'><name>{name}</name><metadata>{}</metadata><devices><disk type='file' device='disk'>\
             <source file='{disk}'/><target dev='vda' bus='virtio'/></disk></devices></domain>",
            mark.unwrap_or_default()
        );
        RawDomain::of_test(name, Uuid::from_u128(uuid), &xml, None)
    }

    fn observed() -> Observed {
        let volume = |name: &str, backing: &str| RawVolume {
            name: name.into(),
            xml: format!(
                "<volume><name>{name}</name><target><path>/p/{name}</path><format type='qcow2'/></target>\
                 <backingStore><path>{backing}</path></backingStore></volume>"
            ),
        };
        let node = |domains| {
            let pool = RawPool {
                name: "p".into(),
                uuid: Uuid::nil(),
                active: true,
                autostart: true,
                persistent: true,
                xml: "<pool type='dir'><name>p</name><target><path>/p</path></target></pool>".into(),
                volumes: Some(vec![volume("top", "/p/base")]),
            };
            NodeView::Reached(Box::new(NodeState::read(RawNode { pools: vec![pool], domains, ..RawNode::default() })))
        };
        let one = vec![domain("b", 7, None, "/p/top"), domain("a", 8, Some(7), "/elsewhere"), domain("c", 9, Some(7), "/x")];
        let nodes = [("one", node(one)), ("two", node(vec![domain("d", 7, Some(7), "/y")]))];
        Observed { nodes: nodes.into_iter().map(|(name, view)| (name.parse().unwrap(), view)).collect() }
    }

    #[test]
    fn what_is_looked_up_is_what_a_walk_would_have_found() {
        let (observed, owned) = (observed(), Owned::default());
        let index = Index::new(&observed, &owned, FLEET);
        let one: Name = "one".parse().unwrap();
        let uuid = Uuid::from_u128;
        let names = |found: Vec<&DomainState>| found.iter().map(|domain| domain.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(index.domains_of(&one, [uuid(7)])), ["a", "b", "c"], "by mark, and by UUID where there is none");
        assert!(index.domains_of(&one, [uuid(8)]).is_empty(), "who bears a mark is known by nothing else");
        assert_eq!(index.domain(&one, uuid(7)).unwrap().name, "b");
        let with: Vec<String> = index.nodes_with(uuid(7)).iter().map(ToString::to_string).collect();
        assert_eq!(with, ["one", "one", "two"]);
        assert_eq!(index.volume_at(&one, "/p/top").unwrap().name, "top");
        for path in ["/p/top", "/p/base", "/elsewhere"] {
            assert!(index.where_used(&one, path).is_some(), "{path}");
        }
        assert!(index.where_used(&one, "/p/other").is_none());
        assert!(index.where_used(&"nobody".parse().unwrap(), "/p/top").is_none());
    }
}
