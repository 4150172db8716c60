//! What the planner looks up time and again, by key. Each map is made once a plan, at its first use, so that a plan takes as long as
//! what it is made from and not its square.
//!
//! Nothing is judged here: what is found is what a walk over the node or the inventory would have found first.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Ordering;
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
    marked: OnceCell<Sorted<Uid, &'a Name>>,
    files: OnceCell<BTreeMap<&'a Name, Sorted<&'a str, &'a Entry>>>,
    owners: OnceCell<Sorted<&'a ObjectRef, &'a Entry>>,
}

/// Of one node.
struct OfNode<'a> {
    state: &'a NodeState,
    domains: OnceCell<Sorted<Uuid, &'a DomainState>>,
    identities: OnceCell<Sorted<Uuid, &'a DomainState>>,
    volumes: OnceCell<Sorted<&'a str, &'a VolumeDoc>>,
    in_use: OnceCell<BTreeSet<Cow<'a, str>>>,
    saved: OnceCell<Vec<&'a DomainState>>,
}

/// What keys lead to, one or several each, in the order in which it was met. One piece of memory: a tree of many random keys is in none of
/// the processor's caches, neither while it is made nor when something is looked up.
struct Sorted<K, V>(Vec<(K, V)>);

impl<K: Ord, V: Copy> Sorted<K, V> {
    fn new(all: impl Iterator<Item = (K, V)>) -> Self {
        let mut all: Vec<(K, V)> = all.collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(all)
    }

    /// All that the key leads to that compares as equal.
    fn all(&self, to: impl Fn(&K) -> Ordering) -> &[(K, V)] {
        let from = self.0.partition_point(|(key, _)| to(key).is_lt());
        let rest = self.0.get(from..).unwrap_or_default();
        let count = rest.iter().take_while(|(key, _)| to(key).is_eq()).count();
        rest.get(..count).unwrap_or_default()
    }

    /// The first of these.
    fn first(&self, to: impl Fn(&K) -> Ordering) -> Option<V> {
        self.all(to).first().map(|(_, value)| *value)
    }
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
    pub(super) fn nodes_with<'s>(&'s self, uid: Uid) -> impl Iterator<Item = &'a Name> + use<'a, 's> {
        let all = self.marked.get_or_init(|| {
            Sorted::new(self.nodes.iter().flat_map(|(name, node)| {
                let marks = node.state.domains.values().filter_map(|domain| domain.doc.mark.as_ref());
                marks.filter(|mark| mark.fleet == self.fleet).map(|mark| (mark.uid, *name))
            }))
        });
        values(all.all(|key| key.cmp(&uid)))
    }

    /// The volumes and templates that the inventory has at a path of a node, in its order.
    pub(super) fn recorded_at<'s>(&'s self, node: &Name, path: &str) -> impl Iterator<Item = &'s Entry> + use<'a, 's> {
        let all = self.files.get_or_init(|| {
            let mut all: BTreeMap<&'a Name, Vec<(&'a str, &'a Entry)>> = BTreeMap::new();
            for entry in self.entries() {
                let Some(node) = &entry.node else { continue };
                all.entry(node).or_default().extend(entry.files().map(|path| (path, entry)));
            }
            all.into_iter().map(|(node, files)| (node, Sorted::new(files.into_iter()))).collect()
        });
        let found = all.get(node).map_or(&[][..], |files| files.all(|key| (**key).cmp(path)));
        found.iter().map(|(_, entry)| *entry)
    }

    /// The volumes that the inventory has as ones that came with a VM, in its order.
    pub(super) fn came_with<'s>(&'s self, vm: &ObjectRef) -> impl Iterator<Item = &'a Entry> + use<'a, 's> {
        let all = self.owners.get_or_init(|| {
            let owner = |entry: &'a Entry| entry.volume.as_ref()?.owner.as_ref();
            Sorted::new(self.entries().filter_map(|entry| Some((owner(entry)?, entry))))
        });
        values(all.all(|key| (**key).cmp(vm)))
    }

    fn entries(&self) -> impl Iterator<Item = &'a Entry> {
        self.owned.entries.values().map(Arc::as_ref)
    }

    /// The domain of a node that has a UUID.
    pub(super) fn domain(&self, node: &Name, uuid: Uuid) -> Option<&'a DomainState> {
        let node = self.nodes.get(node)?;
        let all = node.domains.get_or_init(|| Sorted::new(node.state.domains.values().map(|domain| (domain.uuid, domain))));
        all.first(|key| key.cmp(&uuid))
    }

    /// The domains of a node that have one of these identities, by mark or, where they have none, by UUID; in the order of their names.
    pub(super) fn domains_of(&self, node: &Name, uuids: impl IntoIterator<Item = Uuid>) -> Vec<&'a DomainState> {
        let Some(node) = self.nodes.get(node) else { return Vec::new() };
        let identity = |domain: &'a DomainState| domain.doc.mark.as_ref().map_or(domain.uuid, |mark| mark.uid);
        let all =
            node.identities.get_or_init(|| Sorted::new(node.state.domains.values().map(|domain| (identity(domain), domain))));
        let mut found: Vec<&'a DomainState> = uuids.into_iter().flat_map(|uuid| values(all.all(|key| key.cmp(&uuid)))).collect();
        found.sort_by_key(|domain| &domain.name);
        found
    }

    /// The volume that lies at a path of a node.
    pub(super) fn volume_at(&self, node: &Name, path: &str) -> Option<&'a VolumeDoc> {
        let node = self.nodes.get(node)?;
        let all =
            node.volumes.get_or_init(|| Sorted::new(node.state.volumes().map(|(_, volume)| (volume.path.as_str(), volume))));
        all.first(|key| (**key).cmp(path))
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

/// What keys lead to, without these.
fn values<K, V: Copy>(all: &[(K, V)]) -> impl Iterator<Item = V> {
    all.iter().map(|(_, value)| *value)
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
        let with: Vec<String> = index.nodes_with(uuid(7)).map(ToString::to_string).collect();
        assert_eq!(with, ["one", "one", "two"]);
        assert_eq!(index.volume_at(&one, "/p/top").unwrap().name, "top");
        for path in ["/p/top", "/p/base", "/elsewhere"] {
            assert!(index.where_used(&one, path).is_some(), "{path}");
        }
        assert!(index.where_used(&one, "/p/other").is_none());
        assert!(index.where_used(&"nobody".parse().unwrap(), "/p/top").is_none());
    }
}
