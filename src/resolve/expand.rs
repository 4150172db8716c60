//! Documents → Desired: expansion over nodes, implied objects, references, order.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::desired::{Desired, DesiredNode, Reference, Wanted, claim, templates_pool, volume_file};
use super::memo::Memo;
use super::order;
use crate::manifest::{
    Accelerator, Document, Lifecycle, Metadata, ReclaimPolicy, Spec, StoragePoolSpec, VirtualMachineSpec, VolumeFormat,
    VolumeSpec,
};
use crate::name::{Kind, Name, ObjectRef, Uid};

/// What isn't right about the set as a whole; the caller makes a diagnostic of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The object whose manifest is wrong.
    pub object: ObjectRef,
    /// The field, as a path in its spec.
    pub path: String,
    /// What is wrong, a sentence without the object.
    pub message: String,
    /// What to do.
    pub help: Vec<String>,
}

/// Where a set without any Node stands.
#[derive(Debug, Clone)]
pub struct Implied {
    /// The URI of the Node `local`.
    pub uri: String,
}

/// The default of `lifecycle.reclaimPolicy`.
pub fn default_reclaim(kind: Kind) -> ReclaimPolicy {
    match kind {
        Kind::StoragePool | Kind::Template | Kind::Volume => ReclaimPolicy::Retain,
        Kind::Fleet | Kind::Node | Kind::KeyPair | Kind::Network | Kind::VirtualMachine => ReclaimPolicy::Delete,
    }
}

struct Expansion<'a> {
    documents: &'a [Arc<Document>],
    /// The same, by what they are.
    kinds: BTreeMap<Kind, Vec<&'a Arc<Document>>>,
    fleet: Uid,
    out: Desired,
    problems: Vec<Problem>,
    memo: &'a mut Memo,
    /// The objects that have a document of their own, once somebody asks.
    written: OnceCell<BTreeSet<&'a ObjectRef>>,
    /// Nodes that a template is used on.
    used_on: BTreeMap<Name, BTreeSet<Name>>,
    /// Nodes of the VMs that use a volume or copy it by a claim, each once.
    placed: BTreeMap<&'a Name, Vec<Name>>,
}

/// Expands the documents of a set. `fleet` is nil where none is known yet; `memo` is of the last time, if there was one.
pub fn expand(documents: &[Arc<Document>], fleet: Uid, implied: &Implied, memo: &mut Memo) -> (Desired, Vec<Problem>) {
    memo.begin(fleet);
    let mut kinds: BTreeMap<Kind, Vec<&Arc<Document>>> = BTreeMap::new();
    for document in documents {
        kinds.entry(document.object.kind).or_default().push(document);
    }
    let mut x = Expansion {
        documents,
        kinds,
        fleet,
        out: Desired { fleet, ..Desired::default() },
        problems: Vec::new(),
        memo,
        written: OnceCell::new(),
        used_on: BTreeMap::new(),
        placed: BTreeMap::new(),
    };
    x.nodes(implied);
    x.key_pairs();
    x.per_node_objects();
    x.machines();
    x.volumes();
    x.templates();
    let (order, waiting) = order::order(&x.out.objects);
    x.out.order = order;
    x.circle(&waiting);
    x.memo.end(documents);
    (x.out, x.problems)
}

impl<'a> Expansion<'a> {
    fn problem(&mut self, object: &ObjectRef, path: &str, message: impl Into<String>, help: &[&str]) {
        self.problems.push(Problem {
            object: object.clone(),
            path: path.into(),
            message: message.into(),
            help: help.iter().map(|&text| text.into()).collect(),
        });
    }

    /// The documents of a kind, in the order of the set.
    fn of(&self, kind: Kind) -> Vec<&'a Arc<Document>> {
        self.kinds.get(&kind).cloned().unwrap_or_default()
    }

    fn nodes(&mut self, implied: &Implied) {
        for document in self.of(Kind::Node) {
            if let Spec::Node(spec) = &*document.spec {
                self.out.nodes.insert(
                    document.object.name.clone(),
                    DesiredNode {
                        uri: spec.uri.clone().unwrap_or_else(|| implied.uri.clone()),
                        unschedulable: spec.unschedulable.unwrap_or(false),
                        accelerator: spec.defaults.as_ref().and_then(|defaults| defaults.accelerator),
                        implied: false,
                    },
                );
            }
        }
        if self.out.nodes.is_empty()
            && let Ok(local) = "local".parse()
        {
            self.out.nodes.insert(
                local,
                DesiredNode { uri: implied.uri.clone(), unschedulable: false, accelerator: None::<Accelerator>, implied: true },
            );
        }
    }

    /// What a document wants on a node, or on none.
    fn wanted(&mut self, document: &Arc<Document>, node: Option<&Name>, libvirt_name: impl FnOnce() -> String) -> Arc<Wanted> {
        let object = match node {
            Some(node) => ObjectRef::on(document.object.kind, document.object.name.clone(), node),
            None => document.object.clone(),
        };
        if let Some(wanted) = self.memo.wanted(document, &object, node) {
            return wanted;
        }
        let wanted = finished(Wanted {
            uid: object.uid(self.fleet),
            node: node.cloned(),
            libvirt_name: libvirt_name(),
            spec: Arc::clone(&document.spec),
            now: Arc::clone(&document.now),
            metadata: Arc::clone(&document.metadata),
            reclaim: document.lifecycle.reclaim_policy.unwrap_or_else(|| default_reclaim(object.kind)),
            prevent_destroy: document.lifecycle.prevent_destroy.unwrap_or(false),
            lifecycle: document.lifecycle.clone(),
            references: Vec::new(),
            origin: Arc::clone(&document.origin),
            folder: Arc::clone(&document.folder),
            implied_by: None,
            object,
        });
        self.memo.keep(document, &wanted);
        wanted
    }

    fn put(&mut self, wanted: Arc<Wanted>) {
        self.out.objects.insert(wanted.object.clone(), wanted);
    }

    fn key_pairs(&mut self) {
        for document in self.of(Kind::KeyPair) {
            let wanted = self.wanted(document, None, || document.object.name.to_string());
            self.put(wanted);
        }
    }

    /// The nodes that a `nodes:` list means.
    fn stands_on(&mut self, object: &ObjectRef, nodes: &[Name]) -> Vec<Name> {
        if nodes.is_empty() {
            return self.out.nodes.keys().cloned().collect();
        }
        let mut known = Vec::new();
        for node in nodes {
            if self.out.nodes.contains_key(node) {
                known.push(node.clone());
            } else {
                self.problem(
                    object,
                    "/nodes",
                    format!("there is no Node/{node} in the set"),
                    &["declare the Node, or correct its name"],
                );
            }
        }
        known
    }

    fn per_node_objects(&mut self) {
        for document in self.of(Kind::StoragePool).into_iter().chain(self.of(Kind::Network)) {
            let (nodes, libvirt_name) = match &*document.spec {
                Spec::StoragePool(spec) => (&spec.nodes, &spec.libvirt_name),
                Spec::Network(spec) => (&spec.nodes, &spec.libvirt_name),
                _ => continue,
            };
            let name = || libvirt_name.as_ref().map_or_else(|| document.object.name.to_string(), ToString::to_string);
            for node in self.stands_on(&document.object, nodes) {
                let wanted = self.wanted(document, Some(&node), name);
                self.put(wanted);
            }
        }
    }

    /// The node of something that stands on one.
    fn one_node(&mut self, object: &ObjectRef, written: Option<&Name>) -> Option<Name> {
        if let Some(node) = written {
            if self.out.nodes.contains_key(node) {
                return Some(node.clone());
            }
            self.problem(
                object,
                "/node",
                format!("there is no Node/{node} in the set"),
                &["declare the Node, or correct its name"],
            );
            return None;
        }
        if self.out.nodes.len() == 1 {
            return self.out.nodes.keys().next().cloned();
        }
        self.problem(
            object,
            "/node",
            "`node` is missing, and the set has several Nodes",
            &["say where it is to stand: `node: NAME`"],
        );
        None
    }

    fn machines(&mut self) {
        for document in self.of(Kind::VirtualMachine) {
            let Spec::VirtualMachine(spec) = &*document.spec else { continue };
            let Some(node) = self.one_node(&document.object, spec.node.as_ref()) else { continue };
            let name = || spec.libvirt_name.as_ref().map_or_else(|| document.object.name.to_string(), ToString::to_string);
            let wanted = self.wanted(document, Some(&node), name);
            self.claims(document, &wanted, spec, &node);
            for disk in &spec.disks {
                if let Some(image) = &disk.image {
                    self.used_on.entry(image.clone()).or_default().insert(node.clone());
                }
                let source = || disk.claim.as_ref()?.source.as_ref()?.volume.as_ref();
                if let Some(volume) = disk.volume.as_ref().or_else(source) {
                    put_on(&mut self.placed, volume, &node);
                }
            }
            self.put(wanted);
        }
    }

    /// The Volumes that a VM's claims imply.
    fn claims(&mut self, document: &Arc<Document>, vm: &Wanted, spec: &VirtualMachineSpec, node: &Name) {
        for disk in &spec.disks {
            let Some(claimed) = &disk.claim else { continue };
            let Some(object) = claim(&vm.object.name, disk.name.as_str()) else {
                let path = format!("/disks/{}/claim", disk.name);
                self.problem(
                    &vm.object,
                    &path,
                    "the claimed volume's name would be too long",
                    &["shorten the VM's or the disk's name"],
                );
                continue;
            };
            let written = || self.documents.iter().map(|document| &document.object).collect();
            if self.written.get_or_init(written).contains(&object) {
                let path = format!("/disks/{}/claim", disk.name);
                self.problem(
                    &vm.object,
                    &path,
                    format!("its claim and the manifest of {object} are one volume"),
                    &["use `volume:` for that one, or rename it"],
                );
                continue;
            }
            if let Some(wanted) = self.memo.wanted(document, &object, Some(node)) {
                self.put(wanted);
                continue;
            }
            let volume = VolumeSpec {
                pool: claimed.pool.clone(),
                capacity: claimed.capacity,
                format: claimed.format,
                source: claimed.source.clone(),
                clone: claimed.clone,
                libvirt_name: None,
            };
            let spec = Arc::new(Spec::Volume(volume));
            let now = Arc::new(crate::manifest::path::leaves(Kind::Volume, &spec));
            let wanted = finished(Wanted {
                uid: object.uid(self.fleet),
                node: Some(node.clone()),
                libvirt_name: volume_file(&object.name, claimed.format == Some(VolumeFormat::Raw)),
                spec,
                now,
                metadata: Arc::new(Metadata::of(object.name.clone())),
                reclaim: ReclaimPolicy::Retain,
                prevent_destroy: false,
                // It is taken over and left alone together with its VM.
                lifecycle: Lifecycle {
                    adopt: vm.lifecycle.adopt,
                    management: vm.lifecycle.management,
                    renamed_from: vm
                        .lifecycle
                        .renamed_from
                        .as_ref()
                        .and_then(|old| claim(old, disk.name.as_str()))
                        .map(|old| old.name),
                    ..Lifecycle::default()
                },
                references: Vec::new(),
                origin: vm.origin.clone(),
                folder: vm.folder.clone(),
                implied_by: Some(vm.object.clone()),
                object,
            });
            self.memo.keep(document, &wanted);
            self.put(wanted);
        }
    }

    fn volumes(&mut self) {
        // A volume follows the VM that uses it or copies it by a claim, and what is built on it.
        let mut placed = std::mem::take(&mut self.placed);
        let built_on = |document: &'a Arc<Document>| match &*document.spec {
            Spec::Volume(spec) => Some((&document.object.name, spec.source.as_ref()?.volume.as_ref()?)),
            _ => None,
        };
        let volumes = self.of(Kind::Volume);
        let sources: BTreeMap<&Name, &Name> = volumes.iter().copied().filter_map(built_on).collect();
        for _ in 0..sources.len() {
            let mut more = false;
            for (user, source) in &sources {
                for node in placed.get(user).cloned().unwrap_or_default() {
                    more |= put_on(&mut placed, source, &node);
                }
            }
            if !more {
                break;
            }
        }
        for document in volumes {
            let Spec::Volume(spec) = &*document.spec else { continue };
            let object = &document.object;
            let node = match placed.get(&object.name).map(Vec::as_slice) {
                Some([node]) => Some(node.clone()),
                None | Some([]) => self.pool_node(object, spec),
                Some(nodes) => {
                    let mut names: Vec<_> = nodes.iter().map(ToString::to_string).collect();
                    names.sort();
                    self.problem(
                        object,
                        "",
                        format!("it is used by VMs on several nodes: {}", names.join(", ")),
                        &["a Volume stands on one node: make one a node"],
                    );
                    None
                }
            };
            let Some(node) = node else { continue };
            let raw = spec.format == Some(VolumeFormat::Raw);
            let file = || spec.libvirt_name.as_ref().map_or_else(|| volume_file(&object.name, raw), ToString::to_string);
            let wanted = self.wanted(document, Some(&node), file);
            self.put(wanted);
        }
    }

    /// The node of a volume that no VM uses: that of its pool, where the pool stands on one.
    fn pool_node(&mut self, object: &ObjectRef, spec: &VolumeSpec) -> Option<Name> {
        let first = spec.pool.clone().map(|pool| ObjectRef::new(Kind::StoragePool, pool));
        let pools = first.iter().flat_map(|first| {
            let is_pool = |object: &ObjectRef| (object.kind, &object.name) == (first.kind, &first.name);
            self.out.objects.range(first..).take_while(move |(object, _)| is_pool(object))
        });
        let nodes: BTreeSet<Name> = pools.filter_map(|(_, wanted)| wanted.node.clone()).collect();
        if nodes.len() == 1 {
            return nodes.into_iter().next();
        }
        if self.out.nodes.len() == 1 {
            return self.out.nodes.keys().next().cloned();
        }
        self.problem(
            object,
            "/pool",
            "where it stands can't be told: no VM uses it, and its pool stands on several nodes",
            &["let a VM use it, or give it a pool on one node"],
        );
        None
    }

    fn templates(&mut self) {
        let sources: Vec<(Name, Name)> = self
            .out
            .objects
            .iter()
            .filter(|(object, _)| object.kind == Kind::Volume)
            .filter_map(|(_, wanted)| match &*wanted.spec {
                Spec::Volume(spec) => Some((spec.source.as_ref()?.template.clone()?, wanted.node.clone()?)),
                _ => None,
            })
            .collect();
        for (template, node) in sources {
            self.used_on.entry(template).or_default().insert(node);
        }
        // By name, since the first one that needs a pool's implied one is said to imply it.
        let mut documents = self.of(Kind::Template);
        documents.sort_by_key(|document| &document.object);
        for document in documents {
            let Spec::Template(spec) = &*document.spec else { continue };
            let mut nodes = if spec.nodes.is_empty() {
                self.used_on.get(&document.object.name).cloned().unwrap_or_default().into_iter().collect()
            } else {
                self.stands_on(&document.object, &spec.nodes)
            };
            if nodes.is_empty() && self.out.nodes.len() == 1 {
                nodes = self.out.nodes.keys().cloned().collect();
            }
            for node in nodes {
                let wanted = self.wanted(document, Some(&node), || document.object.name.to_string());
                self.implied_pool(spec.pool.as_ref(), &node, &wanted.object);
                self.put(wanted);
            }
        }
    }

    /// The pool of a pool's `_templates_` folder.
    fn implied_pool(&mut self, pool: Option<&Name>, node: &Name, by: &ObjectRef) {
        let Some(pool) = pool else { return };
        let Some(name) = templates_pool(pool) else { return };
        let object = ObjectRef::on(Kind::StoragePool, name, node);
        if self.out.objects.contains_key(&object) {
            return;
        }
        let parent = ObjectRef::on(Kind::StoragePool, pool.clone(), node);
        let Some(wanted) = self.out.objects.get(&parent) else { return };
        let Spec::StoragePool(parent_spec) = &*wanted.spec else { return };
        let path = parent_spec.target.as_ref().and_then(|target| target.path.clone()).unwrap_or_default();
        let path = format!("{}/_templates_", path.trim_end_matches('/'));
        let spec = Arc::new(Spec::StoragePool(StoragePoolSpec {
            pool_type: Some(crate::manifest::PoolType::Dir),
            target: Some(crate::manifest::PoolTarget { path: Some(path) }),
            ..StoragePoolSpec::default()
        }));
        let now = Arc::new(crate::manifest::path::leaves(Kind::StoragePool, &spec));
        let implied = finished(Wanted {
            uid: object.uid(self.fleet),
            node: Some(node.clone()),
            libvirt_name: format!("{}-templates", wanted.libvirt_name),
            spec,
            now,
            metadata: Arc::new(Metadata::of(object.name.clone())),
            reclaim: wanted.reclaim,
            prevent_destroy: wanted.prevent_destroy,
            lifecycle: Lifecycle {
                management: wanted.lifecycle.management,
                renamed_from: wanted.lifecycle.renamed_from.as_ref().and_then(templates_pool),
                ..Lifecycle::default()
            },
            references: vec![Reference { path: "/pool".into(), object: parent }],
            origin: wanted.origin.clone(),
            folder: wanted.folder.clone(),
            implied_by: Some(by.clone()),
            object,
        });
        self.put(implied);
    }

    /// Says of each of these that they need each other.
    fn circle(&mut self, waiting: &[Arc<Wanted>]) {
        let names: Vec<_> = waiting.iter().map(|wanted| wanted.object.to_string()).collect();
        for wanted in waiting {
            let within = |reference: &&Reference| waiting.iter().any(|other| other.object == reference.object);
            let path = wanted.references.iter().find(within).map(|reference| reference.path.clone()).unwrap_or_default();
            let message = format!("these need each other in a circle: {}", names.join(", "));
            self.problem(&wanted.object, &path, message, &["take one of the references out"]);
        }
    }
}

/// A volume is needed on a node. Whether that is new.
fn put_on<'a>(placed: &mut BTreeMap<&'a Name, Vec<Name>>, volume: &'a Name, node: &Name) -> bool {
    let nodes = placed.entry(volume).or_default();
    let new = !nodes.contains(node);
    if new {
        nodes.push(node.clone());
    }
    new
}

/// An object with what it refers to.
fn finished(mut wanted: Wanted) -> Arc<Wanted> {
    let mut found = references_of(&wanted);
    found.append(&mut wanted.references);
    found.sort();
    found.dedup();
    found.shrink_to_fit();
    wanted.references = found;
    Arc::new(wanted)
}

/// What an object's spec refers to.
fn references_of(wanted: &Wanted) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut put = |path: String, object: ObjectRef| found.push(Reference { path, object });
    let Some(node) = &wanted.node else { return found };
    match &*wanted.spec {
        Spec::Template(spec) => {
            if let Some(pool) = &spec.pool {
                put("/pool".into(), ObjectRef::on(Kind::StoragePool, pool.clone(), node));
                if let Some(name) = templates_pool(pool) {
                    put("/pool".into(), ObjectRef::on(Kind::StoragePool, name, node));
                }
            }
        }
        Spec::Volume(spec) => {
            if let Some(pool) = &spec.pool {
                put("/pool".into(), ObjectRef::on(Kind::StoragePool, pool.clone(), node));
            }
            if let Some(source) = &spec.source {
                if let Some(template) = &source.template {
                    put("/source/template".into(), ObjectRef::on(Kind::Template, template.clone(), node));
                }
                if let Some(volume) = &source.volume {
                    put("/source/volume".into(), ObjectRef::new(Kind::Volume, volume.clone()));
                }
            }
        }
        Spec::VirtualMachine(spec) => {
            for disk in &spec.disks {
                if let Some(volume) = &disk.volume {
                    put(format!("/disks/{}/volume", disk.name), ObjectRef::new(Kind::Volume, volume.clone()));
                }
                if disk.claim.is_some()
                    && let Some(object) = claim(&wanted.object.name, disk.name.as_str())
                {
                    put(format!("/disks/{}/volume", disk.name), object);
                }
                if let Some(image) = &disk.image {
                    put(format!("/disks/{}/image", disk.name), ObjectRef::on(Kind::Template, image.clone(), node));
                }
            }
            for interface in &spec.interfaces {
                if let Some(network) = &interface.network {
                    put(format!("/interfaces/{}/network", interface.name), ObjectRef::on(Kind::Network, network.clone(), node));
                }
            }
            if let Some(cloud_init) = &spec.cloud_init {
                for pair in &cloud_init.key_pairs {
                    put("/cloudInit/keyPairs".into(), ObjectRef::new(Kind::KeyPair, pair.clone()));
                }
                if let Some(pool) = &cloud_init.pool {
                    put("/cloudInit/pool".into(), ObjectRef::on(Kind::StoragePool, pool.clone(), node));
                }
            }
        }
        Spec::Fleet(_) | Spec::Node(_) | Spec::KeyPair(_) | Spec::StoragePool(_) | Spec::Network(_) => {}
    }
    found
}
