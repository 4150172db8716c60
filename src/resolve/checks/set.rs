//! Rules between the documents of a set: what two objects of one node can't both have.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::network::overlap;
use super::occupied::{Nodes, Occupied, Taker};
use super::text::clean_path;
use crate::diag::{Code, Diagnostic, Label};
use crate::manifest::{
    CloneMode, DiskDevice, Document, Interface, NetworkMode, NetworkSpec, Spec, StoragePoolSpec, TemplateSpec,
    VirtualMachineSpec, VolumeFormat, VolumeSource,
};
use crate::name::{Name, ObjectRef};
use crate::resolve::{claim, volume_file};

/// Everything that is wrong between documents.
pub fn check_set(documents: &[Arc<Document>]) -> Vec<Diagnostic> {
    let set = Set::new(documents);
    let mut found = set.libvirt_names();
    found.extend(set.pool_paths());
    found.extend(set.volume_files());
    found.extend(set.bridges());
    found.extend(set.subnets());
    found.extend(set.macs());
    found.extend(set.addresses());
    found.extend(set.sockets());
    found.extend(set.writers());
    found.extend(set.renames());
    found
}

impl Set<'_> {
    /// No object may have had the name that another one has, or had.
    fn renames(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut first: BTreeMap<(crate::name::Kind, &Name), &Document> = BTreeMap::new();
        for document in &self.renamed {
            let Some(old) = document.lifecycle.renamed_from.as_ref().filter(|old| **old != document.object.name) else {
                continue;
            };
            let kind = document.object.kind;
            let here = || document.label("/lifecycle/renamedFrom");
            if let Some(other) = self.documents.iter().find(|other| other.object.kind == kind && other.object.name == *old) {
                let message = format!("it can't have been {}, which is still in the manifests", other.object);
                let diagnostic = Diagnostic::new(Code::Conflict, message).about(&document.object).at(here());
                found.push(diagnostic.and(other.name_label().says("this one")).help("take the old manifest out, or this word"));
            }
            if let Some(other) = first.insert((kind, old), document) {
                let message = format!("two objects can't both have been {kind}/{old}");
                let diagnostic = Diagnostic::new(Code::Conflict, message).about(&document.object).at(here());
                found.push(
                    diagnostic.and(other.label("/lifecycle/renamedFrom").says("the other")).help("take it out of one of them"),
                );
            }
        }
        found
    }
}

type Of<'a, T> = Vec<(&'a Document, &'a T)>;

/// A VM that a volume is a disk of.
struct User<'a> {
    document: &'a Document,
    node: Option<&'a Name>,
    /// Which of its disks.
    index: usize,
    writes: bool,
}

/// The documents by what they are, gone through once: most of a large set says nothing of what is held against each other here.
struct Set<'a> {
    documents: &'a [Arc<Document>],
    machines: Of<'a, VirtualMachineSpec>,
    networks: Of<'a, NetworkSpec>,
    pools: Of<'a, StoragePoolSpec>,
    /// Those that had another name.
    renamed: Vec<&'a Document>,
    templates: Of<'a, TemplateSpec>,
    /// Volumes, and VMs that claim some, in the order of the set.
    files: Vec<&'a Arc<Document>>,
    /// The interfaces of VMs that say which address they have, each with its place in the list.
    addressed: Vec<(&'a Document, &'a VirtualMachineSpec, usize, &'a Interface)>,
    /// VMs with a console on a socket.
    sockets: Vec<(&'a Document, &'a VirtualMachineSpec, &'a str)>,
    /// The VMs that a volume is a disk of.
    users: BTreeMap<&'a Name, Vec<User<'a>>>,
    /// Volumes that a VM claims and that have a document of their own.
    claimed: BTreeSet<ObjectRef>,
}

impl<'a> Set<'a> {
    fn new(documents: &'a [Arc<Document>]) -> Self {
        let mut set = Self {
            documents,
            machines: vec![],
            networks: vec![],
            pools: vec![],
            renamed: vec![],
            templates: vec![],
            files: vec![],
            addressed: vec![],
            sockets: vec![],
            users: BTreeMap::new(),
            claimed: BTreeSet::new(),
        };
        for document in documents {
            if document.lifecycle.renamed_from.is_some() {
                set.renamed.push(document);
            }
            match &*document.spec {
                Spec::VirtualMachine(spec) => set.add_machine(document, spec),
                Spec::Network(spec) => set.networks.push((document, spec)),
                Spec::StoragePool(spec) => set.pools.push((document, spec)),
                Spec::Template(spec) => set.templates.push((document, spec)),
                Spec::Volume(_) => set.files.push(document),
                Spec::Fleet(_) | Spec::Node(_) | Spec::KeyPair(_) => {}
            }
        }
        if !set.claimed.is_empty() {
            let written: BTreeSet<&ObjectRef> = documents.iter().map(|document| &document.object).collect();
            set.claimed.retain(|volume| written.contains(volume));
        }
        set
    }

    fn add_machine(&mut self, document: &'a Arc<Document>, spec: &'a VirtualMachineSpec) {
        self.machines.push((document, spec));
        for (index, disk) in spec.disks.iter().enumerate() {
            if let Some(volume) = &disk.volume {
                let writes = disk.device != Some(DiskDevice::Cdrom) && disk.read_only != Some(true);
                let user = User { document, node: spec.node.as_ref(), index, writes };
                self.users.entry(volume).or_default().push(user);
            }
        }
        let claims = || spec.disks.iter().filter(|disk| disk.claim.is_some());
        if claims().next().is_some() {
            self.files.push(document);
            self.claimed.extend(claims().filter_map(|disk| claim(&document.object.name, disk.name.as_str())));
        }
        let addressed = spec.interfaces.iter().enumerate().filter(|(_, nic)| nic.mac.is_some() || nic.ip.is_some());
        self.addressed.extend(addressed.map(|(index, nic)| (&**document, spec, index, nic)));
        let socket = spec.console.as_ref().and_then(|console| console.vnc.as_ref()?.socket.as_deref());
        self.sockets.extend(socket.map(|socket| (&**document, spec, socket)));
    }

    fn libvirt_names(&self) -> Vec<Diagnostic> {
        let mut taken = Occupied::new(Code::SameLibvirtName);
        let mut found = Vec::new();
        let machines = self.machines.iter().map(|(document, spec)| (*document, &spec.libvirt_name, Nodes::of(&spec.node)));
        let networks = self.networks.iter().map(|(document, spec)| (*document, &spec.libvirt_name, Nodes::of(&spec.nodes)));
        let pools = self.pools.iter().map(|(document, spec)| (*document, &spec.libvirt_name, Nodes::of(&spec.nodes)));
        for (document, written, nodes) in machines.chain(networks).chain(pools) {
            let (name, pointer) = match written {
                Some(name) => (name.as_str(), "/spec/libvirtName"),
                None => (document.object.name.as_str(), "/metadata/name"),
            };
            let taker = Taker { nodes, document, pointer: pointer.into() };
            let key = (document.object.kind, name);
            found.extend(taken.take(key, taker, |other| format!("it would be `{name}` in libvirt, and so would {other}")));
        }
        found
    }

    fn pool_paths(&self) -> Vec<Diagnostic> {
        let mut taken = Occupied::new(Code::SameFile);
        let mut found = Vec::new();
        let path_of = |spec: &StoragePoolSpec| spec.target.as_ref().and_then(|target| target.path.clone());
        // The pools that templates lie in, once each.
        let mut implied: BTreeMap<&Name, &Document> = BTreeMap::new();
        for (document, spec) in &self.templates {
            if let Some(pool) = &spec.pool {
                implied.entry(pool).or_insert(document);
            }
        }
        for (pool, spec) in &self.pools {
            if let (Some(template), Some(path)) = (implied.get(&pool.object.name), path_of(spec)) {
                let path = format!("{}/_templates_", clean_path(&path));
                let taker = Taker { nodes: Nodes::of(&spec.nodes), document: template, pointer: "/spec/pool".into() };
                found.extend(taken.take(path.clone(), taker, |other| format!("its pool would lie at `{path}`, as {other} does")));
            }
        }
        for (document, spec) in &self.pools {
            let Some(path) = path_of(spec) else { continue };
            let taker = Taker { nodes: Nodes::of(&spec.nodes), document, pointer: "/spec/target/path".into() };
            found.extend(
                taken.take(clean_path(&path), taker, |other| format!("two pools can't lie at `{path}`, and {other} does")),
            );
        }
        found
    }

    fn volume_files(&self) -> Vec<Diagnostic> {
        let mut taken = Occupied::new(Code::SameFile);
        let mut found = Vec::new();
        let mut take = |pool: &'a Name, file: Cow<'a, str>, taker: Taker<'a>| {
            let said =
                taken.take((pool, file.clone()), taker, |other| format!("its file `{file}` in pool `{pool}` is that of {other}"));
            found.extend(said);
        };
        for document in &self.files {
            match &*document.spec {
                Spec::Volume(spec) => {
                    let Some(pool) = &spec.pool else { continue };
                    let raw = spec.format == Some(VolumeFormat::Raw);
                    let (file, pointer) = match &spec.libvirt_name {
                        Some(name) => (name.as_str().into(), "/spec/libvirtName"),
                        None => (volume_file(&document.object.name, raw).into(), "/metadata/name"),
                    };
                    let users = self.users.get(&document.object.name);
                    let nodes = Nodes::of(users.into_iter().flatten().filter_map(|user| user.node));
                    take(pool, file, Taker { nodes, document, pointer: pointer.into() });
                }
                Spec::VirtualMachine(spec) => {
                    for (index, disk) in spec.disks.iter().enumerate() {
                        let Some(claimed) = &disk.claim else { continue };
                        let (Some(pool), Some(volume)) = (&claimed.pool, claim(&document.object.name, disk.name.as_str())) else {
                            continue;
                        };
                        // One object with two documents is said where the claim is expanded.
                        if self.claimed.contains(&volume) {
                            continue;
                        }
                        let file = volume_file(&volume.name, claimed.format == Some(VolumeFormat::Raw));
                        let pointer = format!("/spec/disks/{index}/claim").into();
                        take(pool, file.into(), Taker { nodes: Nodes::of(&spec.node), document, pointer });
                    }
                }
                _ => {}
            }
        }
        found
    }

    fn bridges(&self) -> Vec<Diagnostic> {
        let mut taken = Occupied::new(Code::SameBridge);
        let mut found = Vec::new();
        // Many networks may use one bridge of the host's own.
        for (document, spec) in self.networks.iter().filter(|(_, spec)| spec.mode != Some(NetworkMode::Bridge)) {
            let Some(bridge) = &spec.bridge else { continue };
            let taker = Taker { nodes: Nodes::of(&spec.nodes), document, pointer: "/spec/bridge".into() };
            found.extend(taken.take(bridge.as_str(), taker, |other| format!("the bridge `{bridge}` is that of {other}")));
        }
        found
    }

    /// For each network the first that it overlaps; one is enough to act on.
    fn subnets(&self) -> Vec<Diagnostic> {
        self.networks.iter().enumerate().filter_map(|(later, network)| self.overlapping(later, network)).collect()
    }

    fn overlapping(&self, later: usize, (document, spec): &(&'a Document, &'a NetworkSpec)) -> Option<Diagnostic> {
        for (other, of) in self.networks.iter().take(later).filter(|(_, of)| Nodes::of(&of.nodes).meet(&Nodes::of(&spec.nodes))) {
            for (j, ours) in spec.ips.iter().enumerate() {
                let Some(i) = of.ips.iter().position(|theirs| overlap(&ours.address, &theirs.address)) else { continue };
                let theirs = of.ips.get(i)?.address.trunc();
                let message = format!("its subnet {} overlaps {theirs} of {}", ours.address.trunc(), other.object);
                let there = other.label(&format!("/spec/ips/{i}/address")).says(format!("{} has it", other.object));
                let here = document.label(&format!("/spec/ips/{j}/address"));
                return Some(Diagnostic::new(Code::Overlap, message).about(&document.object).at(here).and(there));
            }
        }
        None
    }

    fn macs(&self) -> Vec<Diagnostic> {
        let mut taken = Occupied::new(Code::SameMac);
        let mut found = Vec::new();
        for (document, _, index, nic) in &self.addressed {
            let Some(mac) = nic.mac else { continue };
            let pointer = format!("/spec/interfaces/{index}/mac").into();
            let taker = Taker { nodes: Nodes::Any, document, pointer };
            found.extend(taken.take(mac, taker, |other| format!("the MAC address {mac} is that of {other}")));
        }
        found
    }

    /// The addresses that interfaces ask for, against each other and against what the networks say.
    fn addresses(&self) -> Vec<Diagnostic> {
        let mut taken = Occupied::new(Code::SameAddress);
        let mut found = Vec::new();
        for (document, spec, index, nic) in &self.addressed {
            let (Some(ip), Some(name)) = (nic.ip, &nic.network) else { continue };
            let pointer = format!("/spec/interfaces/{index}/ip");
            let network = self.networks.iter().find(|(network, _)| network.object.name == *name);
            if let Some((network, of)) = network {
                let say = |code, message: String, there: Label| {
                    Diagnostic::new(code, message).about(&document.object).at(document.label(&pointer)).and(there)
                };
                let own = of.ips.iter().position(|own| own.address.addr() == ip);
                let kept = of.ips.iter().enumerate().find_map(|(i, own)| {
                    let hosts = &own.dhcp.as_ref()?.hosts;
                    let host = hosts.iter().position(|host| host.ip == ip && (nic.mac.is_none() || host.mac != nic.mac))?;
                    Some(format!("/spec/ips/{i}/dhcp/hosts/{host}/ip"))
                });
                if of.mode == Some(NetworkMode::Bridge) {
                    let message = format!("nobody keeps the address {ip}: {} is a bridge of the host's own", network.object);
                    let there = network.label("/spec/mode").says("this mode has no DHCP");
                    found.push(say(Code::Conflict, message, there).help("take `ip` out, and set it in the guest"));
                    continue;
                }
                if !of.ips.iter().any(|own| own.address.contains(&ip)) {
                    let there = network.key_label("/spec/ips").says("its subnets");
                    found.push(say(Code::OutsideSubnet, format!("{ip} is in no subnet of {}", network.object), there));
                    continue;
                }
                if let Some(own) = own {
                    let there = network.label(&format!("/spec/ips/{own}/address")).says("the host has it");
                    found.push(say(Code::SameAddress, format!("{ip} is the host's own address on {}", network.object), there));
                    continue;
                }
                if let Some(kept) = kept {
                    let there = network.label(&kept).says("kept here");
                    found.push(say(Code::SameAddress, format!("{} keeps {ip} for another guest", network.object), there));
                    continue;
                }
            }
            let taker = Taker { nodes: Nodes::of(&spec.node), document, pointer: pointer.into() };
            found.extend(taken.take((name, ip), taker, |other| format!("the address {ip} on Network/{name} is that of {other}")));
        }
        found
    }

    fn sockets(&self) -> Vec<Diagnostic> {
        let mut taken = Occupied::new(Code::SameFile);
        let mut found = Vec::new();
        for (document, spec, socket) in &self.sockets {
            let taker = Taker { nodes: Nodes::of(&spec.node), document, pointer: "/spec/console/vnc/socket".into() };
            found.extend(taken.take(clean_path(socket), taker, |other| format!("the socket `{socket}` is that of {other}")));
        }
        found
    }

    /// Volumes that two VMs could write to, and clones of volumes that somebody writes to.
    fn writers(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let place = |document: &Document, index: usize| document.label(&format!("/spec/disks/{index}/volume"));
        for (volume, users) in &self.users {
            for (later, User { document, index, writes, .. }) in users.iter().enumerate() {
                let clash = |other: &&User<'_>| other.document.object != document.object && (*writes || other.writes);
                if let Some(User { document: other, index: there, .. }) = users.iter().take(later).find(clash) {
                    let message = format!("Volume/{volume} is a disk of {} too, and not of both read-only", other.object);
                    let diagnostic = Diagnostic::new(Code::InUse, message).about(&document.object).at(place(document, *index));
                    let diagnostic = diagnostic.and(place(other, *there).says(format!("{} has it", other.object)));
                    found.push(diagnostic.help("give each VM a volume of its own, or write `readOnly: true` for both"));
                }
            }
        }
        for (document, pointer, source) in self.linked() {
            let Some(volume) = &source.volume else { continue };
            let writer = self.users.get(volume).and_then(|users| users.iter().find(|user| user.writes));
            if let Some(User { document: other, index, .. }) = writer {
                let message =
                    format!("a linked clone of Volume/{volume} would be destroyed by {}, which writes to it", other.object);
                let here = document.label(&format!("{pointer}/source/volume"));
                let diagnostic = Diagnostic::new(Code::SharedBase, message).about(&document.object).at(here);
                let diagnostic = diagnostic.and(place(other, *index).says(format!("{} has it writable", other.object)));
                found.push(diagnostic.help("write `clone: Full`"));
            }
        }
        found
    }

    /// Volumes and claims that are linked clones, with the place of each.
    fn linked(&self) -> Vec<(&'a Arc<Document>, String, &'a VolumeSource)> {
        let linked = |clone: Option<CloneMode>| clone != Some(CloneMode::Full);
        let mut found = Vec::new();
        for document in self.files.iter().copied() {
            match &*document.spec {
                Spec::Volume(spec) => {
                    found.extend(
                        spec.source.as_ref().filter(|_| linked(spec.clone)).map(|source| (document, "/spec".to_owned(), source)),
                    );
                }
                Spec::VirtualMachine(spec) => {
                    for (index, disk) in spec.disks.iter().enumerate() {
                        let Some(claim) = disk.claim.as_ref().filter(|claim| linked(claim.clone)) else { continue };
                        found
                            .extend(claim.source.as_ref().map(|source| (document, format!("/spec/disks/{index}/claim"), source)));
                    }
                }
                _ => {}
            }
        }
        found
    }
}
