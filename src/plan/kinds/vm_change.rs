//! Changing a VirtualMachine that is there. What differs in its definition and in what runs is brought together by unit (a disk, an
//! interface, a field of its own), and each unit becomes what disturbs least: a call on the running domain, which changes the
//! definition in the same step where both differ; else a patch of the definition.
//!
//! Nothing here starts or stops a guest: it says which fields wait for the next start.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::virtual_machine::{disk_object, lane};
use super::vm_address::mac_of;
use super::vm_create::{Stop, accelerator, disk_wanted, plugged};
use super::vm_expect::{disk_expect, fields, nic_expect, source, unit};
use super::{vm_boot, vm_limits};
use crate::manifest::{Accelerator, Console, Cpu, Disk, Interface, LinkState, VirtualMachineSpec, Vnc};
use crate::name::{Kind, MacAddr, Name};
use crate::observe::DomainState;
use crate::plan::diff::{Difference, Differences, shown};
use crate::plan::fields::{Field, When};
use crate::plan::model::{Effect, FieldChange};
use crate::plan::planner::{Draft, Planner};
use crate::plan::{ActionId, DomainExpect, Expect, Op, Plug, Precondition};
use crate::resolve::Wanted;
use crate::xml::domain::{DiskDoc, DiskWanted, DomainDoc, DomainPatch, InterfaceDoc, NicSource, NicWanted, free_ports};

/// What is to be done about a domain that differs.
#[derive(Default)]
pub(super) struct Change {
    /// The fields as a plan shows them.
    pub(super) fields: Vec<FieldChange>,
    /// What each of them disturbs, on a running domain.
    pub(super) effects: BTreeMap<String, Effect>,
    /// What must be there first.
    pub(super) needs: BTreeSet<ActionId>,
    /// Calls on the running domain.
    pub(super) live: Vec<Draft>,
    /// What is to be changed in the definition.
    pub(super) patch: DomainPatch,
    /// The fields that the patch is about, and what its document must say afterwards.
    pub(super) touched: BTreeSet<String>,
    pub(super) expect: BTreeMap<String, Option<Value>>,
    /// The running domain and its vCPUs that a guest was asked to give back.
    pub(super) tried: Option<(u32, u32)>,
    /// Notes: condition and message.
    pub(super) notes: Vec<(&'static str, String)>,
}

/// The two documents of a domain, compared with what is wanted.
pub(super) struct Sides {
    pub(super) inactive: Differences,
    /// Of a running domain.
    pub(super) live: Option<Differences>,
}

/// What differs of one unit.
#[derive(Default)]
pub(super) struct Unit {
    pub(super) inactive: Vec<(&'static Field, Difference)>,
    pub(super) live: Vec<(&'static Field, Difference)>,
}

impl Unit {
    /// Whether a leaf of it differs in the definition.
    pub(super) fn differs(&self, leaf: &str) -> bool {
        self.inactive.iter().any(|(_, difference)| difference.path.ends_with(leaf))
    }

    /// Whether a leaf of it differs in any of the two documents.
    fn moves(&self, leaf: &str) -> bool {
        self.inactive.iter().chain(&self.live).any(|(_, difference)| difference.path.ends_with(leaf))
    }

    /// Whether the whole unit goes, in one document.
    fn goes(side: &[(&'static Field, Difference)], unit: &str) -> bool {
        side.iter().any(|(_, difference)| difference.new.is_none() && difference.path == format!("{unit}/name"))
    }
}

/// What is planned for one VM.
pub(super) struct Bench<'a, 'p> {
    pub(super) p: &'a mut Planner<'p>,
    pub(super) wanted: &'a Wanted,
    pub(super) spec: &'a VirtualMachineSpec,
    node: &'a Name,
    pub(super) domain: &'a DomainState,
    /// Ports that are still free on the running domain.
    ports: usize,
    /// What is unplugged from it: targets of disks, MACs of interfaces.
    unplugged: BTreeSet<String>,
    /// The leaves in which what runs differs from what is wanted.
    runs_otherwise: BTreeSet<String>,
    pub(super) all: Change,
}

/// Plans the change of a domain's fields. `autostart`, `title` and `description` are left to the caller.
pub(super) fn change(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    node: &Name,
    domain: &DomainState,
    sides: &Sides,
) -> Result<Change, Stop> {
    can_start(p, spec, node, domain, sides)?;
    let runs_otherwise =
        sides.live.iter().flat_map(|live| &live.changed).map(|(_, difference)| difference.path.clone()).collect();
    let mut units: BTreeMap<String, Unit> = BTreeMap::new();
    for (row, difference) in &sides.inactive.changed {
        units.entry(unit(&difference.path)).or_default().inactive.push((row, difference.clone()));
    }
    for (row, difference) in sides.live.iter().flat_map(|live| &live.changed).filter(|(row, _)| row.when == When::Live) {
        units.entry(unit(&difference.path)).or_default().live.push((row, difference.clone()));
    }
    let unplugged = BTreeSet::new();
    let mut bench = Bench { p, wanted, spec, node, domain, ports: 0, unplugged, runs_otherwise, all: Change::default() };
    // What goes makes room for what comes.
    let (gone, rest): (Vec<_>, Vec<_>) =
        units.iter().partition(|(name, unit)| Unit::goes(&unit.inactive, name) || Unit::goes(&unit.live, name));
    for (name, unit) in gone {
        bench.unit(name, unit)?;
    }
    // Most plans find nothing, and the live document is long.
    bench.ports = if rest.is_empty() { 0 } else { live_ports(domain, "virtio", &bench.unplugged) };
    for (name, unit) in rest {
        bench.unit(name, unit)?;
    }
    for path in &sides.inactive.kept {
        if !units.keys().any(|unit| path.starts_with(&format!("{unit}/")) && !bench.is_wanted(unit)) {
            bench.all.notes.push(kept(path));
        }
    }
    let mut all = bench.all;
    all.fields.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(all)
}

/// Refuses what libvirt would take into the definition, and fail at when it starts.
fn can_start(p: &Planner<'_>, spec: &VirtualMachineSpec, node: &Name, domain: &DomainState, sides: &Sides) -> Result<(), Stop> {
    let mut changed = sides.inactive.changed.iter();
    if !changed.any(|(_, difference)| matches!(difference.path.as_str(), "/cpu/model" | "/accelerator")) {
        return Ok(());
    }
    let has = if domain.doc.virt_type == "kvm" { Accelerator::KVM } else { Accelerator::TCG };
    accelerator(p, spec, node, Some(has)).map(|_| ()).map_err(|(message, help)| Stop::Refused(message, vec![help.into()]))
}

/// The note that a field is no longer jvp's and stays.
pub(super) fn kept(path: &str) -> (&'static str, String) {
    ("Kept", format!("{path} is in the manifest no more and stays as it is"))
}

/// What libvirt knows a disk (its target) or an interface (its MAC) by.
fn known_by(doc: &DomainDoc, unit: &str) -> Option<String> {
    let name = unit.rsplit('/').next().unwrap_or_default();
    if unit.starts_with("/disks/") { Some(doc.disk(name)?.target.clone()) } else { Some(doc.interface(name)?.mac?.to_string()) }
}

/// How many more devices of a bus the running domain has room for, once others are unplugged; none where it is off.
fn live_ports(domain: &DomainState, bus: &str, unplugged: &BTreeSet<String>) -> usize {
    domain.live_xml.as_ref().and_then(|document| free_ports(&document.text(), bus, unplugged).ok()).unwrap_or(0)
}

impl Bench<'_, '_> {
    fn running(&self) -> bool {
        self.domain.live.is_some()
    }

    fn disk(&self, name: &str) -> Option<&Disk> {
        self.spec.disks.iter().find(|disk| disk.name.as_str() == name)
    }

    fn interface(&self, name: &str) -> Option<&Interface> {
        self.spec.interfaces.iter().find(|interface| interface.name.as_str() == name)
    }

    /// Whether the manifest has a disk or interface.
    fn is_wanted(&self, unit: &str) -> bool {
        match unit.strip_prefix("/disks/") {
            Some(name) => self.disk(name).is_some(),
            None => unit.strip_prefix("/interfaces/").is_none_or(|name| self.interface(name).is_some()),
        }
    }

    fn unit(&mut self, name: &str, unit: &Unit) -> Result<(), Stop> {
        if matches!(name, "/title" | "/description" | "/autostart") {
            self.show(unit, Some(&Effect::Live));
            return Ok(());
        }
        if let Some(disk) = name.strip_prefix("/disks/") {
            return self.change_disk(disk, name, unit);
        }
        if let Some(interface) = name.strip_prefix("/interfaces/") {
            return self.change_interface(interface, name, unit);
        }
        match name {
            "/cpu/count" => self.vcpus(unit),
            "/memory" => self.memory(unit),
            "/guestAgent" => self.agent(unit),
            _ => {
                if !unit.inactive.is_empty() {
                    self.show(unit, Some(&Effect::NextStart));
                    self.define(name, unit);
                }
            }
        }
        Ok(())
    }

    /// Puts a unit's leaves into the row: those of the definition, and those of what runs that the definition has right already.
    pub(super) fn show(&mut self, unit: &Unit, effect: Option<&Effect>) {
        let missing = |(_, live): &&(&'static Field, Difference)| !unit.inactive.iter().any(|(_, other)| other.path == live.path);
        for (row, difference) in unit.inactive.iter().chain(unit.live.iter().filter(missing)) {
            // What runs already as it is wanted waits for nothing.
            let waits = effect != Some(&Effect::NextStart) || self.runs_otherwise.contains(&difference.path);
            if let Some(effect) = effect.cloned().filter(|_| self.running() && waits) {
                self.all.effects.insert(difference.path.clone(), effect);
            }
            self.all.fields.push(shown(row, difference));
        }
    }

    /// Patches the definition where a unit differs there.
    pub(super) fn define(&mut self, name: &str, unit: &Unit) {
        let spec = self.spec;
        let set = &mut self.all.patch.set;
        for (_, difference) in &unit.inactive {
            let path = difference.path.as_str();
            self.all.expect.insert(path.to_owned(), difference.new.clone());
            if difference.new.is_none() {
                self.all.patch.drop.insert(if name == "/cpu/topology" { name.to_owned() } else { path.to_owned() });
                continue;
            }
            let wanted = spec.cpu.clone().unwrap_or_default();
            let console = spec.console.clone().unwrap_or_default();
            let vnc = |set: &mut VirtualMachineSpec, change: &dyn Fn(&mut Vnc)| {
                change(set.console.get_or_insert_with(Console::default).vnc.get_or_insert_with(Vnc::default));
            };
            let cpu = |set: &mut VirtualMachineSpec, change: &dyn Fn(&mut Cpu)| change(set.cpu.get_or_insert_with(Cpu::default));
            match path {
                // A maximum that nobody speaks of goes with these; one that is written stays.
                "/cpu/count" => cpu(set, &|cpu| (cpu.count, cpu.max) = (wanted.count, wanted.max)),
                "/cpu/max" => cpu(set, &|cpu| cpu.max = wanted.max),
                "/cpu/model" => cpu(set, &|cpu| cpu.model.clone_from(&wanted.model)),
                "/memory" => (set.memory, set.max_memory) = (spec.memory, spec.max_memory),
                "/maxMemory" => set.max_memory = spec.max_memory,
                "/machine" => set.machine.clone_from(&spec.machine),
                "/accelerator" => set.accelerator = spec.accelerator,
                "/guestAgent" => set.guest_agent = spec.guest_agent,
                "/console/serial" => set.console.get_or_insert_with(Console::default).serial = console.serial,
                "/console/vnc" => vnc(set, &|_| {}),
                "/console/vnc/listen" => vnc(set, &|vnc| vnc.listen = console.vnc.as_ref().and_then(|vnc| vnc.listen)),
                "/console/vnc/socket" => {
                    vnc(set, &|vnc| vnc.socket = console.vnc.as_ref().and_then(|vnc| vnc.socket.clone()));
                }
                _ if name == "/cpu/topology" => cpu(set, &|cpu| cpu.topology.clone_from(&wanted.topology)),
                _ => {}
            }
        }
        // libvirt always has a maximum, and what is no leaf of its own reads by another.
        for path in ["/cpu/max", "/maxMemory", "/console/vnc"] {
            if self.all.expect.get(path).is_some_and(|value| value.is_none() || path == "/console/vnc") {
                self.all.expect.remove(path);
            }
        }
        if !unit.inactive.is_empty() {
            self.all.touched.insert(name.to_owned());
            // The maximum goes with what is, where nobody speaks of it.
            let maximum = [("/memory", "/maxMemory"), ("/cpu/count", "/cpu/max"), ("/cpu/topology", "/cpu/max")];
            self.all.touched.extend(maximum.iter().filter(|(least, _)| *least == name).map(|(_, max)| (*max).to_owned()));
        }
    }

    /// What must still be so, and what must be so then, for a call on the running domain.
    pub(super) fn call(
        &mut self,
        op: Op,
        touched: &str,
        inactive: BTreeMap<String, Option<Value>>,
        live: BTreeMap<String, Option<Value>>,
    ) {
        let paths = BTreeSet::from([touched.to_owned()]);
        let fields = fields(self.domain, paths, true);
        let expect = Expect::Domain(Box::new(DomainExpect { uuid: self.domain.uuid, inactive, live }));
        self.all.live.push(Draft::new(op, lane(self.wanted)).when(Precondition::Fields(Box::new(fields))).expect(expect));
    }

    fn device(&self, how: Plug, device: &str, patch: DomainPatch, config: bool) -> Op {
        Op::DomainDevice {
            name: self.domain.name.clone(),
            uuid: self.domain.uuid,
            how,
            device: device.to_owned(),
            patch: Box::new(patch),
            live: true,
            config,
            xml: None,
        }
    }

    fn unplug(&mut self, name: &str, unit: &Unit, pluggable: bool) {
        let (config, live) = (Unit::goes(&unit.inactive, name), Unit::goes(&unit.live, name));
        let gone = BTreeMap::from([(format!("{name}/name"), None)]);
        let whole = |side: &[(&'static Field, Difference)]| {
            side.iter().filter(|(_, difference)| difference.path == format!("{name}/name")).cloned().collect()
        };
        let shown = Unit { inactive: whole(&unit.inactive), live: whole(&unit.live) };
        let mut define = config;
        if live && pluggable {
            self.show(&shown, Some(&Effect::Live));
            self.unplugged.extend(self.domain.live.as_ref().and_then(|live| known_by(live, name)));
            // libvirt looks for it by its target or MAC in both documents, where it may be another one's by now.
            let both = config && self.is_alike(name);
            define = config && !both;
            let op = self.device(Plug::Detach, name, DomainPatch::default(), both);
            self.call(op, name, if both { gone.clone() } else { BTreeMap::new() }, gone.clone());
        } else if config {
            self.show(&shown, Some(&Effect::NextStart));
        }
        if define {
            self.all.patch.drop.insert(name.to_owned());
            self.all.touched.insert(name.to_owned());
            self.all.expect.extend(gone);
        }
    }

    /// Whether a device is known to libvirt by the same target or MAC in what runs and in the definition.
    pub(super) fn is_alike(&self, unit: &str) -> bool {
        let Some(live) = &self.domain.live else { return false };
        let defined = known_by(&self.domain.doc, unit);
        defined.is_some() && defined == known_by(live, unit)
    }

    fn change_disk(&mut self, name: &str, path: &str, unit: &Unit) -> Result<(), Stop> {
        let domain = self.domain;
        let defined = domain.doc.disk(name);
        let running = domain.live.as_ref().and_then(|live| live.disk(name));
        let Some(disk) = self.disk(name).cloned() else {
            let pluggable = running.is_some_and(|disk| matches!(disk.bus.as_str(), "virtio" | "scsi" | "usb"));
            self.unplug(path, unit, pluggable);
            return Ok(());
        };
        if let Some(object) = disk_object(self.wanted, &disk, self.node) {
            self.all.needs.extend(self.p.standing_of(&object).map_err(Stop::Hold)?);
        }
        let unit = &vm_limits::with_what_gives_way(path, &disk, unit, defined, running);
        let wanted = self.disk_wanted(&disk, defined.or(running), unit)?;
        if defined.or(running).is_none() {
            self.refuse_twice(path, &wanted)?;
        }
        let expect = disk_expect(path, &wanted, unit);
        let pluggable = match wanted.bus.as_str() {
            "virtio" => self.ports > 0 && wanted.device == "disk",
            "scsi" => live_ports(domain, "scsi", &self.unplugged) > 0,
            _ => false,
        };
        if self.running() && running.is_none() && pluggable && !self.holds_file(&wanted) {
            self.ports = self.ports.saturating_sub(usize::from(wanted.bus == "virtio"));
            self.show(unit, Some(&Effect::Live));
            let (plugged, later) = vm_boot::plugged(domain, path, &wanted);
            let expect = if later { disk_expect(path, &plugged, &Unit::default()) } else { expect };
            let patch = DomainPatch { disks: vec![plugged], ..DomainPatch::default() };
            let config = defined.is_none() && !later;
            if later {
                self.all.effects.insert(format!("{path}/bootOrder"), Effect::NextStart);
            }
            let op = self.device(Plug::Attach, path, patch, config);
            self.call(op, path, if config { expect.clone() } else { BTreeMap::new() }, expect);
            if !config {
                // Under the target that it is plugged in by.
                self.put_disk(path, wanted, unit);
            }
            return Ok(());
        }
        let whole = unit;
        let (limits, unit) = &vm_limits::split(path, whole);
        let media = |side: &[(&'static Field, Difference)]| {
            side.iter().any(|(_, difference)| difference.path.ends_with("/volume") || difference.path.ends_with("/image"))
        };
        if let Some(running) = running.filter(|running| running.device == "cdrom" && media(&unit.live)) {
            self.show(unit, Some(&Effect::Live));
            // The tray stays what it is: only what lies in it changes.
            let mut tray = DiskWanted::from_doc(running).unwrap_or_else(|| wanted.clone());
            tray.path.clone_from(&wanted.path);
            tray.format.clone_from(&wanted.format);
            tray.backing.clone_from(&wanted.backing);
            let source = json!(wanted.path.clone().unwrap_or_default());
            let op = self.device(Plug::Update, path, DomainPatch { disks: vec![tray], ..DomainPatch::default() }, false);
            self.call(op, path, BTreeMap::new(), BTreeMap::from([(format!("{path}/source"), Some(source))]));
        } else if !unit.inactive.is_empty() {
            self.show(unit, Some(&Effect::NextStart));
        }
        let left = self.limit_disk(path, &disk, limits, unit.inactive.is_empty(), running);
        // One that only runs keeps its target.
        self.define_disk(path, &disk, if left { whole } else { unit }, defined.or(running))
    }

    /// Whether the running domain has a disk's file open as another one, which isn't unplugged: one that `xml:` had brought.
    fn holds_file(&self, wanted: &DiskWanted) -> bool {
        let stays = |disk: &&DiskDoc| !self.unplugged.contains(&disk.target);
        let mut disks = self.domain.live.iter().flat_map(|live| &live.disks).filter(stays);
        wanted.path.is_some() && disks.any(|disk| disk.source == wanted.path && !(disk.read_only || disk.shareable))
    }

    /// Refuses a file that the definition has as a disk of nobody's of this manifest, which stays: an adopted VM's disks are called by
    /// their targets.
    fn refuse_twice(&self, path: &str, wanted: &DiskWanted) -> Result<(), Stop> {
        let managed = self.p.entry(&self.wanted.object).map(|entry| &entry.last);
        let is_managed = |start: String| {
            managed.is_some_and(|last| last.range(start.clone()..).next().is_some_and(|path| path.starts_with(&start)))
        };
        let name = |disk: &DiskDoc| disk.key.as_ref().map_or_else(|| disk.target.clone(), ToString::to_string);
        let stays = |disk: &DiskDoc| {
            let in_manifest = self.disk(&name(disk)).is_some() || is_managed(format!("/disks/{}/", name(disk)));
            !in_manifest && !is_managed(format!("/xml/devices/disk[{}]", disk.target))
        };
        let same = |disk: &DiskDoc| disk.source == wanted.path && !(disk.read_only && wanted.read_only) && !disk.shareable;
        let mut disks = self.domain.doc.disks.iter().filter(|_| wanted.path.is_some());
        let Some(other) = disks.find(|disk| same(disk) && stays(disk)).map(name) else { return Ok(()) };
        let message = format!("{path}: the VM has this file as its disk `{other}` already");
        Err(Stop::Refused(message, vec![format!("call it so: `name: {other}`"), "or take that disk out of the VM before".into()]))
    }

    /// Whether the running domain has an interface with this MAC that isn't unplugged.
    fn holds_mac(&self, mac: MacAddr) -> bool {
        let mut macs = self.domain.live.iter().flat_map(|live| &live.interfaces).filter_map(|nic| nic.mac);
        macs.any(|other| other == mac) && !self.unplugged.contains(&mac.to_string())
    }

    fn define_disk(&mut self, path: &str, disk: &Disk, unit: &Unit, defined: Option<&DiskDoc>) -> Result<(), Stop> {
        let wanted = self.disk_wanted(disk, defined, unit)?;
        self.put_disk(path, wanted, unit);
        Ok(())
    }

    fn put_disk(&mut self, path: &str, wanted: DiskWanted, unit: &Unit) {
        if unit.inactive.is_empty() {
            return;
        }
        self.all.expect.extend(disk_expect(path, &wanted, unit));
        self.all.patch.disks.push(wanted);
        for (_, difference) in unit.inactive.iter().filter(|(_, difference)| difference.new.is_none()) {
            self.all.patch.drop.insert(difference.path.clone());
        }
        self.all.touched.insert(path.to_owned());
    }

    /// The disk as it is to be: what the manifest says, else what it has, else the defaults of a new one.
    fn disk_wanted(&self, disk: &Disk, doc: Option<&DiskDoc>, unit: &Unit) -> Result<DiskWanted, Stop> {
        let taken: Vec<&str> = [Some(&self.domain.doc), self.domain.live.as_ref()]
            .into_iter()
            .flatten()
            .flat_map(|doc| doc.disks.iter().map(|disk| disk.target.as_str()))
            .chain(self.all.patch.disks.iter().map(|disk| disk.target.as_str()))
            .chain(self.all.live.iter().flat_map(|draft| match &draft.op {
                Op::DomainDevice { patch, .. } => patch.disks.iter().map(|disk| disk.target.as_str()).collect(),
                _ => Vec::new(),
            }))
            .collect();
        let mut new = disk_wanted(self.p, self.wanted, disk, self.node, &taken, &self.domain.name)?;
        let Some(old) = doc.and_then(DiskWanted::from_doc) else { return Ok(new) };
        if !unit.differs("/bus") {
            new.bus = old.bus;
            new.target = old.target;
        }
        if !unit.differs("/device") {
            new.device = old.device;
        }
        // A tray can't be written to by nature; a disk in its place can.
        let another = unit.differs("/device");
        if disk.read_only.is_none() && !another && !unit.differs("/readOnly") {
            new.read_only = old.read_only;
        }
        new.boot_order = disk.boot_order.or(old.boot_order).filter(|_| disk.boot_order.is_some() || !unit.differs("/bootOrder"));
        if !another {
            new.serial = old.serial;
        }
        new.limits = vm_limits::wanted(disk, &old.limits, unit);
        // Where its source doesn't differ, it stays on what it is on: an overlay, too, that a snapshot put above the volume.
        let named = disk.volume.is_some() || disk.claim.is_some() || disk.image.is_some();
        if !unit.differs("/volume") && !unit.differs("/image") && (old.path.is_some() || !named) {
            new.path = old.path;
            new.format = old.format;
        }
        Ok(new)
    }

    fn change_interface(&mut self, name: &str, path: &str, unit: &Unit) -> Result<(), Stop> {
        let domain = self.domain;
        let defined = domain.doc.interface(name);
        let running = domain.live.as_ref().and_then(|live| live.interface(name));
        let Some(interface) = self.interface(name).cloned() else {
            self.unplug(path, unit, true);
            return Ok(());
        };
        if let Some(network) = interface.network.as_ref().filter(|_| unit.moves("/network")) {
            self.all.needs.extend(plugged(self.p, &interface, network, self.node)?);
        }
        let wanted = self.nic_wanted(&interface, defined.or(running), unit);
        if self.running() && running.is_none() && self.ports > 0 && !self.holds_mac(wanted.mac) {
            self.ports -= 1;
            self.show(unit, Some(&Effect::Live));
            let config = defined.is_none();
            let expect = nic_expect(path, &wanted, unit.differs("/linkState"));
            let patch = DomainPatch { interfaces: vec![wanted], ..DomainPatch::default() };
            let op = self.device(Plug::Attach, path, patch, config);
            self.call(op, path, if config { expect.clone() } else { BTreeMap::new() }, expect);
            if config {
                return Ok(());
            }
        } else if let Some(running) = running.filter(|running| NicWanted::from_doc(running).is_some()).filter(|_| {
            let live = |field: &str| unit.live.iter().any(|(_, difference)| difference.path.ends_with(field));
            live("/network") || live("/linkState")
        }) {
            // Only the plug and the cable move; the card stays what it is.
            let mut nic = NicWanted::from_doc(running).unwrap_or_else(|| wanted.clone());
            nic.source.clone_from(&wanted.source);
            nic.link_state = wanted.link_state.or(nic.link_state);
            let waits = unit.inactive.iter().any(|(row, _)| row.when != When::Live);
            self.show(unit, Some(if waits { &Effect::NextStart } else { &Effect::Live }));
            for (_, difference) in &unit.live {
                self.all.effects.insert(difference.path.clone(), Effect::Live);
            }
            let mut expect = BTreeMap::from([(format!("{path}/network"), Some(source(&nic)))]);
            if let Some(state) = nic.link_state {
                expect.insert(format!("{path}/linkState"), Some(json!(state)));
            }
            let op = self.device(Plug::Update, path, DomainPatch { interfaces: vec![nic], ..DomainPatch::default() }, false);
            self.call(op, path, BTreeMap::new(), expect);
        } else if !unit.inactive.is_empty() {
            self.show(unit, Some(&Effect::NextStart));
        }
        if unit.inactive.is_empty() {
            return Ok(());
        }
        let wanted = self.nic_wanted(&interface, defined.or(running), unit);
        self.all.expect.extend(nic_expect(path, &wanted, unit.differs("/linkState")));
        self.all.patch.interfaces.push(wanted);
        self.all.touched.insert(path.to_owned());
        Ok(())
    }

    fn nic_wanted(&self, interface: &Interface, doc: Option<&InterfaceDoc>, unit: &Unit) -> NicWanted {
        let network = interface.network.as_ref().map(|network| self.p.libvirt_name(Kind::Network, network, self.node));
        let old = doc.and_then(NicWanted::from_doc);
        let found: MacAddr = mac_of(self.wanted, interface, Some(self.domain));
        let reset = unit.inactive.iter().chain(&unit.live).any(|(_, difference)| {
            difference.path.ends_with("/linkState") && difference.new.as_ref() == Some(&json!(LinkState::Up))
        });
        NicWanted {
            name: interface.name.clone(),
            mac: interface.mac.or(doc.and_then(|doc| doc.mac)).unwrap_or(found),
            source: network
                .map(NicSource::Network)
                .or_else(|| old.as_ref().map(|old| old.source.clone()))
                .unwrap_or(NicSource::Network(String::new())),
            model: interface
                .model
                .clone()
                .or_else(|| old.as_ref().map(|old| old.model.clone()))
                .unwrap_or_else(|| "virtio".into()),
            link_state: interface.link_state.or(reset.then_some(LinkState::Up)),
            boot_order: old.and_then(|old| old.boot_order),
        }
    }

    fn agent(&mut self, unit: &Unit) {
        let wanted = self.spec.guest_agent.unwrap_or(false);
        if unit.live.is_empty() || !self.running() {
            self.show(unit, Some(&Effect::NextStart));
            return self.define("/guestAgent", unit);
        }
        self.show(unit, Some(&Effect::Live));
        // As it runs, the channel has a path that its definition hasn't, so libvirt would not find it there.
        let config = wanted && !unit.inactive.is_empty();
        let mut patch = DomainPatch::default();
        patch.set.guest_agent = Some(wanted);
        let value = BTreeMap::from([("/guestAgent".to_owned(), Some(json!(wanted)))]);
        let op = self.device(if wanted { Plug::Attach } else { Plug::Detach }, "/guestAgent", patch, config);
        self.call(op, "/guestAgent", if config { value.clone() } else { BTreeMap::new() }, value);
        if !wanted {
            self.define("/guestAgent", unit);
        }
    }
}
