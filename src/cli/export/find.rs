//! What of the nodes can be exported: what is there, isn't jvp's, and stays when it stops. Pure; as manifests would say it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::names::legal;
use crate::manifest::{
    Accelerator, Disk, DiskBus, DiskDevice, FirmwareType, Interface, LinkState, NetworkMode, NetworkSpec, RunStrategy, Spec,
    StoragePoolSpec, VirtualMachineSpec, VolumeFormat, VolumeSpec,
};
use crate::name::{ByteSize, Kind, LibvirtName, Name, ObjectRef};
use crate::observe::{DomainState, NodeState, Observed, PoolState};
use crate::plan::Owned;
use crate::resolve::{Desired, volume_file};
use crate::xml::domain::{DiskDoc, InterfaceDoc, beside};

/// One object to be exported.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its kind and name.
    pub(super) object: ObjectRef,
    /// Where it is.
    pub(super) node: Name,
    /// Its name in libvirt; for volumes the file's.
    pub(super) libvirt: String,
    /// The pool that a volume lies in.
    pub(super) pool: Option<String>,
    /// What a manifest says of it.
    pub(super) spec: Spec,
    /// What no manifest says of it, in words.
    pub(super) unsaid: Vec<String>,
    /// How much of it is left out: nothing, `xml:`, all that can be.
    pub(super) less: u8,
    /// What it names: pools, networks and volumes.
    pub(super) needs: BTreeSet<ObjectRef>,
}

/// Everything that can be exported, and what can't, with why.
pub(super) struct Findings {
    pub(super) found: Vec<Found>,
    pub(super) left: Vec<String>,
}

struct Search<'a> {
    desired: &'a Desired,
    owned: &'a Owned,
    several: bool,
    taken: BTreeMap<Kind, BTreeSet<Name>>,
    /// Names by node and name in libvirt, for pools and networks; by path for volumes.
    names: BTreeMap<(Kind, Name, String), Name>,
    out: Findings,
}

/// Looks through the nodes.
pub(super) fn find(desired: &Desired, observed: &Observed, owned: &Owned) -> Findings {
    let several = desired.nodes.len() > 1;
    let out = Findings { found: Vec::new(), left: Vec::new() };
    let mut search = Search { desired, owned, several, taken: BTreeMap::new(), names: BTreeMap::new(), out };
    for object in desired.objects.keys().chain(owned.entries.keys()) {
        search.taken.entry(object.kind).or_default().insert(object.name.clone());
    }
    for entry in owned.entries.values() {
        let Some(node) = &entry.node else { continue };
        let key = entry.volume.as_ref().map_or_else(|| entry.libvirt_name.clone(), |volume| volume.path.clone());
        search.names.insert((entry.object.kind, node.clone(), key), entry.object.name.clone());
    }
    let nodes: Vec<(&Name, &NodeState)> = observed.reached().collect();
    for (node, state) in &nodes {
        search.pools(node, state);
    }
    for (node, state) in &nodes {
        search.networks(node, state);
    }
    for (node, state) in &nodes {
        search.volumes(node, state);
    }
    for (node, state) in &nodes {
        search.machines(node, state);
    }
    search.out
}

/// The name in libvirt where it has to be written.
fn written(name: &Name, libvirt: &str) -> Option<LibvirtName> {
    (name.as_str() != libvirt).then(|| libvirt.parse().ok()).flatten()
}

impl Search<'_> {
    fn left(&mut self, what: &str, name: &str, node: &Name, why: &str) {
        self.out.left.push(format!("{what} `{name}` on {node}: {why}"));
    }

    fn nodes(&self, node: &Name) -> Vec<Name> {
        if self.several { vec![node.clone()] } else { Vec::new() }
    }

    /// Gives an object its name; none where libvirt's is one that no manifest can say.
    fn name(&mut self, kind: Kind, node: &Name, libvirt: &str, key: &str, near: &str) -> Option<Name> {
        libvirt.parse::<LibvirtName>().ok()?;
        let taken = self.taken.entry(kind).or_default();
        let name = legal(near, taken);
        taken.insert(name.clone());
        self.names.insert((kind, node.clone(), key.to_owned()), name.clone());
        Some(name)
    }

    fn known(&self, kind: Kind, node: &Name, key: &str) -> Option<&Name> {
        self.names.get(&(kind, node.clone(), key.to_owned()))
    }

    /// Why an object isn't exported, by its mark; an empty word where it is jvp's already.
    fn whose(&self, kind: Kind, node: &Name, uuid: uuid::Uuid, mark: Option<&crate::xml::Mark>) -> Option<String> {
        let fleet = self.desired.fleet;
        if mark.is_some_and(|mark| mark.fleet == fleet) {
            return Some(String::new());
        }
        if let Some(mark) = mark {
            return Some(format!("it belongs to fleet {}; to take it over: --take-from {}", mark.fleet, mark.fleet));
        }
        let ours = |entry: &Arc<crate::plan::Entry>| {
            entry.object.kind == kind && entry.node.as_ref() == Some(node) && entry.libvirt_uuid == Some(uuid)
        };
        self.owned.entries.values().any(ours).then(String::new)
    }

    fn refused(&mut self, what: &str, name: &str, node: &Name, persistent: bool, whose: Option<String>) -> bool {
        if let Some(why) = whose {
            if !why.is_empty() {
                self.left(what, name, node, &why);
            }
            return true;
        }
        if !persistent {
            self.left(what, name, node, "it is transient: it vanishes when it stops");
        }
        !persistent
    }

    fn put(&mut self, node: &Name, name: Name, libvirt: &str, spec: Spec, unsaid: Vec<String>) {
        let object = ObjectRef::new(spec.kind(), name);
        let (node, libvirt) = (node.clone(), libvirt.to_owned());
        self.out.found.push(Found { object, node, libvirt, pool: None, spec, unsaid, less: 0, needs: BTreeSet::new() });
    }

    fn pools(&mut self, node: &Name, state: &NodeState) {
        for pool in state.pools.values() {
            let whose = self.whose(Kind::StoragePool, node, pool.uuid, None);
            if self.refused("the pool", &pool.name, node, pool.persistent, whose) {
                continue;
            }
            if pool.name.ends_with("-templates") {
                self.left("the pool", &pool.name, node, "names that end in `-templates` are kept for the pools of Templates");
                continue;
            }
            let Some(name) = self.name(Kind::StoragePool, node, &pool.name, &pool.name, &pool.name) else {
                self.left("the pool", &pool.name, node, "its name can't be written in a manifest");
                continue;
            };
            let is_dir = pool.doc.spec.pool_type.is_some();
            let spec = StoragePoolSpec {
                pool_type: pool.doc.spec.pool_type,
                target: pool.doc.spec.target.clone().filter(|_| is_dir),
                autostart: Some(pool.autostart),
                running: (!pool.active).then_some(false),
                nodes: self.nodes(node),
                libvirt_name: written(&name, &pool.name),
            };
            let unsaid = if is_dir { Vec::new() } else { vec![format!("its type {}, source and target", pool.doc.pool_type)] };
            self.put(node, name, &pool.name, Spec::StoragePool(spec), unsaid);
        }
    }

    fn networks(&mut self, node: &Name, state: &NodeState) {
        for network in state.networks.values() {
            let whose = self.whose(Kind::Network, node, network.uuid, network.doc.mark.as_ref());
            if self.refused("the network", &network.name, node, network.persistent, whose) {
                continue;
            }
            let Some(name) = self.name(Kind::Network, node, &network.name, &network.name, &network.name) else {
                self.left("the network", &network.name, node, "its name can't be written in a manifest");
                continue;
            };
            let mut spec = NetworkSpec {
                autostart: Some(network.autostart),
                running: (!network.active).then_some(false),
                nodes: self.nodes(node),
                libvirt_name: written(&name, &network.name),
                ..network.doc.spec.clone()
            };
            let mut unsaid = crate::xml::network::beside(&network.inactive_xml.text());
            if spec.mode.is_none() {
                unsaid.push(format!("forward {}", network.doc.forward.clone().unwrap_or_default()));
            }
            if spec.mode == Some(NetworkMode::Bridge) && spec.bridge.is_none() {
                // One of devices instead of a bridge.
                spec.mode = None;
            }
            spec.dns = spec.dns.filter(|dns| !dns.forwarders.is_empty() || !dns.hosts.is_empty());
            for ip in &mut spec.ips {
                ip.dhcp = ip.dhcp.take().filter(|dhcp| !dhcp.ranges.is_empty() || !dhcp.hosts.is_empty());
            }
            self.put(node, name, &network.name, Spec::Network(spec), unsaid);
        }
    }

    fn volumes(&mut self, node: &Name, state: &NodeState) {
        for pool in state.pools.values() {
            let Some(pool_name) = self.known(Kind::StoragePool, node, &pool.name).cloned() else { continue };
            for volume in pool.volumes.iter().flat_map(BTreeMap::values) {
                self.volume(node, state, pool, &pool_name, volume);
            }
        }
    }

    fn volume(
        &mut self,
        node: &Name,
        state: &NodeState,
        pool: &PoolState,
        pool_name: &Name,
        volume: &crate::xml::volume::VolumeDoc,
    ) {
        let of_template = |entry: &Arc<crate::plan::Entry>| entry.template.as_ref().is_some_and(|t| t.path == volume.path);
        if self.known(Kind::Volume, node, &volume.path).is_some() || self.owned.entries.values().any(of_template) {
            return;
        }
        let opened = state.domains.values().flat_map(|domain| domain.doc.disks.iter());
        let opened =
            opened.filter(|disk| path_of(state, disk).as_deref() == Some(&volume.path)).find_map(|disk| disk.format.clone());
        let format = match opened.as_deref().unwrap_or(&volume.format) {
            "qcow2" => VolumeFormat::Qcow2,
            "raw" => VolumeFormat::Raw,
            other => {
                let why = format!("its format is {other}, and a Volume is qcow2 or raw");
                return self.left("the file", &volume.name, node, &why);
            }
        };
        let raw = format == VolumeFormat::Raw;
        let end = if raw { ".img" } else { ".qcow2" };
        let near = volume.name.strip_suffix(end).unwrap_or(&volume.name);
        let Some(name) = self.name(Kind::Volume, node, &volume.name, &volume.path, near) else {
            return self.left("the file", &volume.name, node, "its name can't be written in a manifest");
        };
        let spec = VolumeSpec {
            pool: Some(pool_name.clone()),
            capacity: (volume.capacity > 0).then(|| ByteSize::from_bytes(volume.capacity)),
            format: Some(format),
            source: None,
            clone: None,
            libvirt_name: (volume_file(&name, raw) != volume.name).then(|| volume.name.parse().ok()).flatten(),
        };
        let unsaid = volume.backing.iter().map(|backing| format!("its backing file {}", backing.path)).collect();
        self.put(node, name, &volume.name, Spec::Volume(spec), unsaid);
        if let Some(found) = self.out.found.last_mut() {
            found.pool = Some(pool.name.clone());
            found.needs.insert(ObjectRef::new(Kind::StoragePool, pool_name.clone()));
        }
    }

    fn machines(&mut self, node: &Name, state: &NodeState) {
        for domain in state.domains.values() {
            let whose = self.whose(Kind::VirtualMachine, node, domain.uuid, domain.doc.mark.as_ref());
            if self.refused("the domain", &domain.name, node, domain.persistent, whose) {
                continue;
            }
            let Some(name) = self.name(Kind::VirtualMachine, node, &domain.name, &domain.name, &domain.name) else {
                self.left("the domain", &domain.name, node, "its name can't be written in a manifest");
                continue;
            };
            let spec = self.machine(node, state, domain, &name);
            let mut needs: BTreeSet<ObjectRef> = BTreeSet::new();
            needs.extend(spec.disks.iter().filter_map(|disk| Some(ObjectRef::new(Kind::Volume, disk.volume.clone()?))));
            needs.extend(spec.interfaces.iter().filter_map(|nic| Some(ObjectRef::new(Kind::Network, nic.network.clone()?))));
            let mut unsaid = Vec::new();
            let mut spec = spec;
            let leaves = crate::manifest::leaves(Kind::VirtualMachine, &Spec::VirtualMachine(Box::new(spec.clone())).to_value());
            if let Ok(beside) = beside(&domain.inactive_xml.text(), &leaves.keys().cloned().collect()) {
                spec.xml = beside.fragment;
                unsaid = beside.unsaid;
            }
            if domain.doc.vnc.as_ref().is_some_and(|vnc| vnc.password.is_some()) {
                unsaid.push("its VNC password (sensitive)".into());
            }
            self.put(node, name, &domain.name, Spec::VirtualMachine(Box::new(spec)), unsaid);
            if let Some(found) = self.out.found.last_mut() {
                found.needs = needs;
            }
        }
    }

    fn machine(&self, node: &Name, state: &NodeState, domain: &DomainState, name: &Name) -> VirtualMachineSpec {
        let mut spec = domain.doc.spec.clone();
        spec.node = self.several.then(|| node.clone());
        // Somebody starts and stops it by hand, as far as can be told.
        spec.run_strategy = Some(RunStrategy::Manual);
        spec.autostart = Some(domain.autostart);
        spec.libvirt_name = written(name, &domain.name);
        if spec.max_memory == spec.memory {
            spec.max_memory = None;
        }
        if let Some(cpu) = spec.cpu.as_mut().filter(|cpu| cpu.model.as_deref() == Some("host-passthrough"))
            && spec.accelerator == Some(Accelerator::TCG)
        {
            // It can't start so, but libvirt takes it.
            cpu.model = None;
        }
        if let Some(cpu) = spec.cpu.as_mut().filter(|cpu| cpu.max == cpu.count) {
            cpu.max = None;
        }
        if let Some(firmware) = spec.firmware.as_mut().filter(|firmware| firmware.firmware_type != Some(FirmwareType::UEFI)) {
            firmware.secure_boot = None;
        }
        let mut keys = BTreeSet::new();
        let docs = domain.doc.disks.iter().filter(|doc| doc.key.as_ref().is_some_and(|key| keys.insert(key.clone())));
        spec.disks = docs.filter_map(|doc| self.disk(node, state, doc)).collect();
        let mut keys = BTreeSet::new();
        let docs = domain.doc.interfaces.iter().filter(|doc| doc.key.as_ref().is_some_and(|key| keys.insert(key.clone())));
        spec.interfaces = docs.filter_map(|doc| self.interface(node, doc)).collect();
        spec
    }

    fn disk(&self, node: &Name, state: &NodeState, doc: &DiskDoc) -> Option<Disk> {
        let device = match doc.device.as_str() {
            "disk" => DiskDevice::Disk,
            "cdrom" => DiskDevice::Cdrom,
            _ => return None,
        };
        let bus = match doc.bus.as_str() {
            "virtio" => DiskBus::Virtio,
            "scsi" => DiskBus::Scsi,
            "sata" => DiskBus::Sata,
            _ => return None,
        };
        if doc.shareable || !matches!(doc.source_kind.as_str(), "file" | "block" | "volume") {
            return None;
        }
        let volume = match path_of(state, doc) {
            Some(path) => Some(self.known(Kind::Volume, node, &path)?.clone()),
            None if device == DiskDevice::Cdrom && doc.source_kind == "file" => None,
            None => return None,
        };
        Some(Disk {
            name: doc.key.clone()?,
            volume,
            claim: None,
            image: None,
            device: Some(device),
            bus: Some(bus),
            boot_order: doc.boot_order,
            read_only: doc.read_only.then_some(true),
            limits: (!doc.limits.is_empty()).then(|| doc.limits.clone()),
        })
    }

    fn interface(&self, node: &Name, doc: &InterfaceDoc) -> Option<Interface> {
        if doc.kind != "network" {
            return None;
        }
        Some(Interface {
            name: doc.key.clone()?,
            network: Some(self.known(Kind::Network, node, doc.network.as_deref()?)?.clone()),
            mac: doc.mac,
            ip: None,
            model: doc.model.clone(),
            link_state: (!doc.link_up).then_some(LinkState::Down),
        })
    }
}

/// The file that a disk names, by its path or by pool and volume.
fn path_of(state: &NodeState, disk: &DiskDoc) -> Option<String> {
    disk.source.clone().or_else(|| disk.source_volume.as_ref().and_then(|(pool, name)| state.volume_path(pool, name)))
}
