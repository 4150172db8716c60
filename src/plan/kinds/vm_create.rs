//! Planning a VirtualMachine that isn't there: its defaults, seed, reservations and definition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::virtual_machine::{disk_object, lane, seed_object};
use super::vm_address::{mac_of, reserved};
use super::vm_boot;
use super::vm_fragment::{fragment, networks};
use super::vm_power::start_drafts;
use crate::manifest::{
    Accelerator, CloudInit, Cpu, Disk, DiskBus, DiskDevice, Firmware, FirmwareType, Interface, RunStrategy, VirtualMachineSpec,
};
use crate::name::{ByteSize, Kind, Name, ObjectRef};
use crate::plan::model::{Effect, FieldChange, RefusalKind, Shown, Verb};
use crate::plan::planner::{Draft, Hold, Planner, Row};
use crate::plan::record::{entry_of, fresh_entry};
use crate::plan::{ActionId, Entry, Expect, Lane, Op, Precondition, Record, SeedBytes, UploadSource, VolumeRecord};
use crate::resolve::Wanted;
use crate::seed::{Seed, SeedInput};
use crate::xml::domain::{Definition, DiskWanted, DomainWanted, Fragment, NicSource, NicWanted, SPARE_PORTS, render};
use crate::xml::volume::{Backing, VolumeWanted};
use crate::{seed, xml};

/// The path of the one sensitive field that a definition holds.
pub(super) const PASSWORD: &str = "/console/vnc/password";

/// What stands for the VNC password in a definition until it is handed to libvirt.
pub(super) const PASSWORD_TOKEN: &str = "jvp-secret-vnc";

/// SHA-256 of a fragment's text, hex.
pub(in crate::plan) fn fragment_digest(text: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// The seed that a VM's manifest asks for; a hold where a key isn't made yet.
pub(super) fn seed(p: &Planner<'_>, wanted: &Wanted, cloud_init: &CloudInit) -> Result<Seed, Result<Hold, String>> {
    let mut keys = Vec::new();
    for pair in &cloud_init.key_pairs {
        let object = ObjectRef::new(Kind::KeyPair, pair.clone());
        match p.sources.keys.get(pair) {
            Some(key) => keys.push(key.clone()),
            // The inventory has no keys, so nobody would ever make it known.
            None if p.entry(&object).is_some() && !p.desired.objects.contains_key(&object) => {
                let message = format!("only the manifest of {object} tells its public key: apply it together with that one");
                return Err(Err(message));
            }
            None => return Err(Ok(Hold::Deferred(object))),
        }
    }
    let hostname = cloud_init.hostname.clone().unwrap_or_else(|| wanted.object.name.to_string());
    let input = SeedInput { uid: wanted.uid, hostname: &hostname, public_keys: &keys, cloud_init };
    seed::build(&input).map_err(|error| Err(error.to_string()))
}

/// The spec with every default that holds at creation.
fn effective(spec: &VirtualMachineSpec, fragment: Option<&Fragment>) -> VirtualMachineSpec {
    let mut spec = spec.clone();
    let cpu = spec.cpu.get_or_insert_with(Cpu::default);
    cpu.count.get_or_insert(1);
    spec.memory.get_or_insert(ByteSize::from_bytes(1 << 30));
    spec.machine.get_or_insert_with(|| "q35".into());
    let firmware = spec.firmware.get_or_insert_with(Firmware::default);
    if firmware.firmware_type.get_or_insert(FirmwareType::BIOS) == &FirmwareType::UEFI {
        firmware.secure_boot.get_or_insert(false);
    }
    spec.guest_agent.get_or_insert(true);
    spec.console.get_or_insert_default().serial.get_or_insert(true);
    let ordered = spec.disks.iter().any(|disk| disk.boot_order.is_some()) || vm_boot::is_given(fragment, 1, None);
    for (index, disk) in spec.disks.iter_mut().enumerate() {
        let device = *disk.device.get_or_insert(if disk.image.is_some() { DiskDevice::Cdrom } else { DiskDevice::Disk });
        disk.bus.get_or_insert(if device == DiskDevice::Cdrom { DiskBus::Sata } else { DiskBus::Virtio });
        if disk.image.is_some() {
            disk.read_only.get_or_insert(true);
        }
        if !ordered && index == 0 {
            disk.boot_order = Some(1);
        }
    }
    for interface in &mut spec.interfaces {
        interface.model.get_or_insert_with(|| "virtio".into());
    }
    spec
}

/// KVM or TCG, and why. `has` is what a VM that is there has, which stays where nobody says another one.
pub(super) fn accelerator(
    p: &Planner<'_>,
    spec: &VirtualMachineSpec,
    node: &Name,
    has: Option<Accelerator>,
) -> Result<(Accelerator, &'static str), (String, &'static str)> {
    let of_node = || p.desired.nodes.get(node).and_then(|node| node.accelerator).filter(|_| has.is_none());
    let wanted = spec.accelerator.or_else(of_node).unwrap_or(Accelerator::Auto);
    let kvm = p.node(node).is_some_and(|state| state.host.kvm);
    let (accelerator, why) = match wanted {
        Accelerator::TCG => (Accelerator::TCG, "as written"),
        Accelerator::KVM if kvm => (Accelerator::KVM, "as written"),
        Accelerator::KVM => {
            let message = format!("Node/{node} offers no hardware virtualization");
            return Err((message, "set `accelerator: TCG`, or another node"));
        }
        Accelerator::Auto if let Some(has) = has => (has, "as it is defined"),
        Accelerator::Auto if kvm => (Accelerator::KVM, "the node offers it"),
        Accelerator::Auto => (Accelerator::TCG, "the node offers no KVM"),
    };
    // libvirt takes it, and fails at the start.
    if accelerator == Accelerator::TCG && spec.cpu.as_ref().and_then(|cpu| cpu.model.as_deref()) == Some("host-passthrough") {
        let message = format!("/cpu/model: `host-passthrough` needs KVM, and on Node/{node} the accelerator is TCG ({why})");
        return Err((message, "set `model: maximum`, leave it out, or choose a node that has KVM"));
    }
    Ok((accelerator, why))
}

fn bus_word(bus: DiskBus) -> &'static str {
    match bus {
        DiskBus::Virtio => "virtio",
        DiskBus::Scsi => "scsi",
        DiskBus::Sata => "sata",
    }
}

struct Disks {
    wanted: Vec<DiskWanted>,
    needs: BTreeSet<crate::plan::ActionId>,
    volumes: Vec<ObjectRef>,
    sources: BTreeMap<String, String>,
}

/// Why a VM can't be planned.
pub(super) enum Stop {
    Hold(Hold),
    Missing(String, ObjectRef),
    Refused(String, Vec<String>),
}

fn disks(p: &Planner<'_>, wanted: &Wanted, spec: &VirtualMachineSpec, node: &Name) -> Result<Disks, Stop> {
    let mut all = Disks { wanted: Vec::new(), needs: BTreeSet::new(), volumes: Vec::new(), sources: BTreeMap::new() };
    for disk in &spec.disks {
        // Given once, in list order, from the first free letter of the bus.
        let taken: Vec<&str> = all.wanted.iter().map(|disk| disk.target.as_str()).collect();
        let new = disk_wanted(p, wanted, disk, node, &taken, "")?;
        if let Some(object) = disk_object(wanted, disk, node) {
            all.needs.extend(p.standing_of(&object).map_err(Stop::Hold)?);
            if object.kind != Kind::Template {
                all.volumes.push(object);
            }
        }
        if let Some(path) = &new.path {
            all.sources.insert(disk.name.to_string(), path.clone());
        }
        all.wanted.push(new);
    }
    Ok(all)
}

/// A new disk as it is to be written, with the defaults that hold at creation. `taken` are the targets that others have, `itself`
/// the domain that may write to the volume already.
pub(super) fn disk_wanted(
    p: &Planner<'_>,
    wanted: &Wanted,
    disk: &Disk,
    node: &Name,
    taken: &[&str],
    itself: &str,
) -> Result<DiskWanted, Stop> {
    let device = disk.device.unwrap_or(if disk.image.is_some() { DiskDevice::Cdrom } else { DiskDevice::Disk });
    let bus = disk.bus.unwrap_or(if device == DiskDevice::Cdrom { DiskBus::Sata } else { DiskBus::Virtio });
    let read_only = disk.read_only.unwrap_or(disk.image.is_some() || device == DiskDevice::Cdrom);
    let mut source = None;
    let mut format = "raw".to_owned();
    let mut backing = Vec::new();
    if let Some(object) = disk_object(wanted, disk, node) {
        p.standing_of(&object).map_err(Stop::Hold)?;
        let field = if object.kind == Kind::Template { "image" } else { "volume" };
        let missing = || Stop::Missing(format!("/disks/{}/{field}", disk.name), object.clone());
        if object.kind == Kind::Template {
            let record = p.template_record(&object).ok_or_else(missing)?;
            format = if record.format == "iso" { "raw".into() } else { record.format };
            source = Some(record.path);
        } else {
            let (at, ..) = p.volume_at(&object, node).ok_or_else(missing)?;
            if !read_only {
                let above = p.stands_on(node, &at.path, &wanted.libvirt_name);
                if !above.is_empty() {
                    let message = format!(
                        "its disk {} is {object}, which is the backing file of {}: a write to it would break these",
                        disk.name,
                        above.join(", ")
                    );
                    return Err(Stop::Refused(message, vec!["set `readOnly: true`, or give it a volume of its own".into()]));
                }
                let others: Vec<String> = p.writers(node, &at.path).into_iter().filter(|name| name != itself).collect();
                if !others.is_empty() {
                    let message = format!("its disk {} is {object}, which {} writes to already", disk.name, others.join(", "));
                    return Err(Stop::Refused(message, vec!["a disk is written to by one VM; give this one its own".into()]));
                }
            }
            backing = p.chain(node, at.backing.as_ref()).into_iter().map(|(path, format)| Backing { path, format }).collect();
            format = at.format;
            source = Some(at.path);
        }
    }
    Ok(DiskWanted {
        name: disk.name.clone(),
        target: xml::domain::next_target(bus, taken),
        bus: bus_word(bus).into(),
        device: if device == DiskDevice::Cdrom { "cdrom".into() } else { "disk".into() },
        path: source,
        format,
        backing,
        read_only,
        boot_order: disk.boot_order,
        limits: disk.limits.clone().unwrap_or_default(),
        serial: (device == DiskDevice::Disk).then(|| disk.name.as_str().chars().take(20).collect()),
    })
}

fn volume_entry(p: &Planner<'_>, wanted: &Wanted, object: &ObjectRef, record: VolumeRecord) -> Entry {
    // Nothing of its VM's.
    let mut entry = fresh_entry(wanted, p.sources, None);
    entry.object = object.clone();
    entry.uid = object.uid(p.desired.fleet);
    entry.libvirt_name.clone_from(&record.file);
    entry.last = BTreeSet::new();
    entry.labels = BTreeMap::new();
    entry.values = BTreeMap::new();
    entry.secrets = BTreeMap::new();
    entry.volume = Some(record);
    entry.created_at = p.entry(object).map(|entry| entry.created_at.clone()).unwrap_or_default();
    entry
}

/// The pool of a VM's seed: as written, else the first disk's.
fn seed_pool(p: &Planner<'_>, wanted: &Wanted, spec: &VirtualMachineSpec, cloud_init: &CloudInit, node: &Name) -> Option<Name> {
    if let Some(pool) = &cloud_init.pool {
        return Some(pool.clone());
    }
    spec.disks.iter().find_map(|disk| {
        if let Some(claim) = &disk.claim {
            return claim.pool.clone();
        }
        let object = disk_object(wanted, disk, node)?;
        match &*p.desired.objects.get(&object)?.spec {
            crate::manifest::Spec::Volume(volume) => volume.pool.clone(),
            crate::manifest::Spec::Template(template) => template.pool.clone(),
            _ => None,
        }
    })
}

/// A seed to be made.
pub(super) struct SeedPlan {
    pub(super) object: ObjectRef,
    pub(super) path: String,
    pub(super) digest: String,
    pub(super) record: VolumeRecord,
    pub(super) drafts: Vec<Draft>,
}

/// Plans the seed's volume.
pub(super) fn seed_plan(
    p: &Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    cloud_init: &CloudInit,
    node: &Name,
) -> Result<SeedPlan, Stop> {
    let seed = seed(p, wanted, cloud_init).map_err(|why| match why {
        Ok(hold) => Stop::Hold(hold),
        Err(message) => Stop::Refused(format!("/cloudInit: {message}"), Vec::new()),
    })?;
    let bytes = seed::image(&seed).map_err(|error| Stop::Refused(format!("/cloudInit: {error}"), Vec::new()))?;
    let pool_name = seed_pool(p, wanted, spec, cloud_init, node).ok_or_else(|| {
        Stop::Refused("/cloudInit: there is no disk whose pool its seed could lie in".into(), vec!["set `cloudInit.pool`".into()])
    })?;
    let pool_ref = ObjectRef::on(Kind::StoragePool, pool_name.clone(), node);
    p.standing_of(&pool_ref).map_err(Stop::Hold)?;
    let Some(pool) = p.open_pool(&pool_name, node) else { return Err(super::closed_pool::of_seed(p, &pool_ref, node)) };
    let file = seed::file_name(&wanted.object.name, &seed.digest);
    let path = pool.path_of(&file);
    let object = seed_object(&wanted.object.name, &seed.digest)
        .ok_or_else(|| Stop::Refused("its name is too long for a seed's".into(), vec!["choose a shorter name".into()]))?;
    let size = bytes.len() as u64;
    let record = VolumeRecord {
        pool: pool.name.clone(),
        file: file.clone(),
        path: path.clone(),
        format: "raw".into(),
        capacity: size,
        backing: None,
        source: None,
        owner: Some(wanted.object.clone()),
    };
    let entry = volume_entry(p, wanted, &object, record.clone());
    let lane = Lane::PoolShared { pool: pool.name.clone(), volume: file.clone() };
    let mut drafts = Vec::new();
    let left = pool.volumes.as_ref().and_then(|volumes| volumes.get(&file));
    let before = p.before_fill(Some(node), path.clone(), left.is_some());
    if let Some(left) = left {
        let known = p.entry(&object);
        let open =
            p.owned.intents.iter().any(|intent| intent.details.get("path").and_then(|v| v.as_str()) == Some(path.as_str()));
        if known.is_some_and(|known| !known.unfinished) && !open {
            // It was told this before, and the image is there still. A mark names none before it is whole.
            return Ok(SeedPlan { object, path, digest: seed.digest, record, drafts: Vec::new() });
        }
        let ours = known.is_some() || open;
        let users = p.users(Some(node), &left.path);
        if !ours || !users.is_empty() {
            let message = format!("a file `{file}` is in the pool `{}` that jvp didn't make for it", pool.name);
            return Err(Stop::Refused(message, vec!["move that file away by hand".into()]));
        }
        drafts.push(
            Draft::new(Op::VolumeDelete { pool: pool.name.clone(), name: file.clone() }, lane.clone())
                .when(Precondition::VolumeUnused { path: path.clone() })
                .expect(Expect::Gone),
        );
    }
    let text = xml::volume::render(&VolumeWanted { name: &file, format: "raw", capacity: Some(size), backing: None });
    drafts.push(
        Draft::new(Op::VolumeCreate { pool: pool.name.clone(), name: file.clone(), xml: text }, lane.clone())
            .when(Precondition::Absent)
            // Until it is filled, it is nobody's seed.
            .record(Record::Put(Box::new(Entry { unfinished: true, ..entry.clone() }))),
    );
    drafts.push(
        Draft::new(
            Op::VolumeUpload {
                pool: pool.name.clone(),
                name: file,
                source: UploadSource::Seed { digest: seed.digest.clone(), bytes: SeedBytes(Arc::new(bytes)) },
            },
            lane,
        )
        .when(before)
        .expect(Expect::Uploaded { size, capacity: None })
        .record(Record::Settle(Box::new(entry))),
    );
    Ok(SeedPlan { object, path, digest: seed.digest, record, drafts })
}

/// Says why a VM isn't planned.
pub(super) fn stop(p: &mut Planner<'_>, wanted: &Wanted, why: Stop, fields: Vec<FieldChange>) {
    match why {
        Stop::Hold(hold) => {
            let there = p.domain(wanted).is_some();
            p.hold(wanted, hold, if there { Verb::Update } else { Verb::Create }, fields);
        }
        Stop::Missing(path, object) => {
            let node = wanted.node.as_ref();
            match node.and_then(|node| super::closed_pool::awaits(p, wanted, &object, node)) {
                Some(hold) => stop(p, wanted, Stop::Hold(hold), fields),
                None => p.refuse_missing(wanted, &path, &object),
            }
        }
        Stop::Refused(message, help) => p.refuse(wanted, RefusalKind::Guard, message, &help),
    }
}

/// What has to be done before an interface can be plugged into its network, which has to be somewhere.
pub(super) fn plugged(p: &Planner<'_>, interface: &Interface, network: &Name, node: &Name) -> Result<BTreeSet<ActionId>, Stop> {
    let object = ObjectRef::on(Kind::Network, network.clone(), node);
    if !p.desired.objects.contains_key(&object) && p.network(network, node).is_none() {
        return Err(Stop::Missing(format!("/interfaces/{}/network", interface.name), object));
    }
    p.standing_of(&object).map_err(Stop::Hold)
}

/// Plans a VM that isn't there.
pub(super) fn create(p: &mut Planner<'_>, wanted: &Wanted, written: &VirtualMachineSpec, node: &Name) {
    if p.node_closed(node) {
        let message = format!("Node/{node} is unschedulable: nothing new is made there");
        return p.refuse(wanted, RefusalKind::Guard, message, &["set `spec.unschedulable: false` on the Node".into()]);
    }
    let Ok(fragment) = fragment(p, wanted, written) else { return };
    let spec = effective(written, fragment.as_ref());
    let mut fields = create_fields(wanted, written);
    let (accelerator, why) = match accelerator(p, &spec, node, None) {
        Ok(found) => found,
        Err((message, help)) => return p.refuse(wanted, RefusalKind::Guard, message, &[help.into()]),
    };
    fields.push(FieldChange {
        path: "/accelerator".into(),
        old: None,
        new: Some(Shown::Value(format!("{accelerator:?} ({why})"))),
    });
    let disks = match disks(p, wanted, &spec, node) {
        Ok(disks) => disks,
        Err(why) => return stop(p, wanted, why, fields),
    };
    let mut needs = disks.needs;
    let mut interfaces = Vec::new();
    for interface in &spec.interfaces {
        let Some(network) = &interface.network else { continue };
        match plugged(p, interface, network, node) {
            Ok(ids) => needs.extend(ids),
            Err(why) => return stop(p, wanted, why, fields),
        }
        interfaces.push(NicWanted {
            name: interface.name.clone(),
            mac: mac_of(wanted, interface, None),
            source: NicSource::Network(p.libvirt_name(Kind::Network, network, node)),
            model: interface.model.clone().unwrap_or_else(|| "virtio".into()),
            link_state: interface.link_state,
            boot_order: None,
        });
    }
    let seed = match spec.cloud_init.as_ref().map(|cloud_init| seed_plan(p, wanted, &spec, cloud_init, node)) {
        Some(Ok(seed)) => Some(seed),
        Some(Err(why)) => return stop(p, wanted, why, fields),
        None => None,
    };
    let reserved = match reserved(p, wanted, &spec, node, None) {
        Ok(reserved) => reserved,
        Err(why) => return stop(p, wanted, why, fields),
    };
    needs.extend(reserved.needs);

    let mut mark = p.mark(wanted);
    mark.reservations.clone_from(&reserved.settled);
    mark.seed = seed.as_ref().map(|seed| seed.digest.clone());
    mark.fragment = spec.xml.as_deref().map(fragment_digest);
    mark.volumes = disks
        .volumes
        .iter()
        .filter_map(|object| Some((object, p.record_here(object, node)?)))
        .chain(seed.as_ref().map(|seed| (&seed.object, &seed.record)))
        .map(|(object, record)| mark_volume(object.to_string(), record))
        .collect();
    let password = spec.console.as_ref().and_then(|console| console.vnc.as_ref()).and_then(|vnc| vnc.password.as_ref());
    let secret = password.and_then(|_| p.sources.secrets.get(&(wanted.object.clone(), PASSWORD.to_owned())).cloned());
    if password.is_some() && secret.is_none() {
        let message = "/console/vnc/password: its source can't be read".to_owned();
        return p.refuse(
            wanted,
            RefusalKind::Invalid,
            message,
            &["set the variable, or put the file beside the manifest".into()],
        );
    }
    let strategy = spec.run_strategy.unwrap_or(RunStrategy::Always);
    let autostart = autostart(&spec);
    let mut new = DomainWanted {
        name: wanted.libvirt_name.clone(),
        uuid: wanted.uid,
        spec,
        accelerator,
        arch: p.node(node).map_or_else(|| "x86_64".to_owned(), |state| state.host.arch.clone()),
        disks: disks.wanted,
        interfaces,
        seed: seed.as_ref().map(|seed| seed.path.clone()),
        vnc_password_token: secret.as_ref().map(|_| PASSWORD_TOKEN.to_owned()),
        mark,
        spare_ports: SPARE_PORTS,
    };
    let mut merged = None;
    if let Some(fragment) = &fragment {
        let text = fragment.remembered(&render(&new), &BTreeSet::new()).and_then(|paths| {
            new.mark.paths.extend(paths);
            xml::domain::merge(&render(&new), fragment)
        });
        match text {
            Ok(text) => merged = Some(text),
            Err(error) => return p.refuse(wanted, RefusalKind::Invalid, format!("/xml: {error}"), &[]),
        }
    }
    let validate = fragment.is_some();

    let mut entry = entry_of(p, wanted, Some(wanted.uid)).into_owned();
    entry.reservations = reserved.settled;
    // What was known of an earlier one says nothing of this one.
    (entry.last_off_reason, entry.tried_vcpus, entry.fragment) = (None, None, BTreeMap::new());
    entry.seed_digest.clone_from(&new.mark.seed);
    entry.fragment_digest.clone_from(&new.mark.fragment);
    entry.last.extend(new.mark.paths.iter().filter(|path| path.starts_with("/xml/")).cloned());
    if strategy == RunStrategy::Once {
        p.marks.insert(wanted.object.clone(), new.mark.clone());
    }
    let mut row = Row::new(wanted, Verb::Create, "there is no such VM");
    row.fields = fields;
    row.needs = needs;
    row.needs.extend(networks(p, fragment.as_ref(), node));
    if let Some(seed) = seed {
        row.drafts.extend(seed.drafts);
    }
    let leaves = crate::plan::definition_leaves(
        wanted,
        &[
            "/autostart",
            "/node",
            "/disks/*/volume",
            "/disks/*/image",
            "/interfaces/*/network",
            "/interfaces/*/ip",
            "/accelerator",
        ],
    );
    let uuid = wanted.uid;
    let name = wanted.libvirt_name.clone();
    let xml = merged.map_or_else(|| new.into(), Definition::Text);
    let mut define = Draft::new(Op::DomainDefine { name: name.clone(), uuid, xml, validate }, lane(wanted))
        .when(Precondition::Absent)
        .expect(Expect::Matches { uuid, leaves, disks: disks.sources })
        .record(Record::Put(Box::new(entry.clone())));
    if let Some(secret) = secret {
        define.secrets.insert(PASSWORD_TOKEN.into(), secret);
    }
    row.drafts.push(define);
    // The mark names them, so that they aren't left behind where this is as far as it gets.
    row.drafts.extend(reserved.drafts);
    if autostart {
        row.drafts.push(
            Draft::new(Op::DomainAutostart { name, uuid, on: true }, lane(wanted))
                .when(Precondition::Domain { uuid, running: false })
                .expect(Expect::Autostart(true)),
        );
    }
    if matches!(strategy, RunStrategy::Always | RunStrategy::RerunOnFailure | RunStrategy::Once) {
        row.effect = Effect::Start;
        row.drafts.extend(start_drafts(p, wanted, &wanted.libvirt_name, uuid, strategy == RunStrategy::Once));
    }
    if super::vm_network::refuse_off(p, wanted, written, node, &row.drafts) {
        return;
    }
    if let Some(last) = row.drafts.last_mut() {
        last.record = Record::Settle(Box::new(entry));
    }
    p.commit(row);
}

/// A volume that came with a VM, as its mark names it.
pub(in crate::plan) fn mark_volume(name: String, record: &VolumeRecord) -> xml::MarkVolume {
    xml::MarkVolume {
        name,
        pool: record.pool.clone(),
        file: record.file.clone(),
        path: record.path.clone(),
        format: record.format.clone(),
        capacity: record.capacity,
        backing: record.backing.clone(),
        source: record.source.clone(),
    }
}

/// Whether it starts with libvirt once it is made.
pub(super) fn autostart(spec: &VirtualMachineSpec) -> bool {
    let strategy = spec.run_strategy.unwrap_or(RunStrategy::Always);
    spec.autostart.unwrap_or(matches!(strategy, RunStrategy::Always | RunStrategy::RerunOnFailure))
}

fn create_fields(wanted: &Wanted, spec: &VirtualMachineSpec) -> Vec<FieldChange> {
    let mut fields: Vec<FieldChange> = wanted
        .now
        .iter()
        .filter(|(path, _)| !path.starts_with("/cloudInit/") && !path.starts_with("/console/vnc/password"))
        .filter(|(path, _)| path.as_str() != "/accelerator" && path.as_str() != "/xml")
        .map(|(path, value)| FieldChange {
            path: path.clone(),
            old: None,
            new: Some(Shown::Value(crate::plan::diff::text(value))),
        })
        .collect();
    if let Some(cloud_init) = &spec.cloud_init {
        let lines = cloud_init.user_data.as_ref().map_or(0, |text| text.lines().count());
        let shown = if lines > 0 { format!("({lines} lines)") } else { "(structured)".into() };
        fields.push(FieldChange { path: "/cloudInit".into(), old: None, new: Some(Shown::Value(shown)) });
    }
    if spec.console.as_ref().and_then(|c| c.vnc.as_ref()).is_some_and(|vnc| vnc.password.is_some()) {
        fields.push(FieldChange { path: PASSWORD.into(), old: None, new: Some(Shown::Sensitive) });
    }
    if let Some(text) = &spec.xml {
        let shown = format!("({} lines)", text.lines().count());
        fields.push(FieldChange { path: "/xml".into(), old: None, new: Some(Shown::Value(shown)) });
    }
    fields
}
