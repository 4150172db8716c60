//! Runs a case on a world, and writes down what was said.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use jvp::host::{Hint, Hints, HostError, NoProgress};
use jvp::manifest::{OnTimeout, ShutdownMethod};
use jvp::observe::{NodeState, RawDomain, RawNode, Scope, Target};
use jvp::plan::{Edit, Op, Section, SeedBytes, Side, UploadSource, unplugged};
use uuid::Uuid;

use crate::case::{Case, Step};
use crate::transcript::{Names, parts};
use crate::world::World;

/// Runs it; the answer is its transcript.
pub(crate) async fn run(case: &Case, world: &mut World) -> String {
    let mut out = String::new();
    let mut names = Names::new(world.images());
    let mut events = None;
    if case.hints {
        let mut subscribed = world.host().events();
        assert!(subscribed.next().await.contains_key(&Hint::Node), "the first hint is of the node");
        events = Some(subscribed);
    }
    for step in &case.steps {
        let (title, said) = Box::pin(perform(step, world)).await;
        let mut text = format!("{title}\n{}", said.trim_end());
        if let Some(events) = &mut events {
            let hints = world.hints(events).await;
            let _ = write!(text, "\n{}", told(&hints));
        }
        let _ = writeln!(out, "> {}\n", names.normalise(text.trim_end(), &format!("{:?}", case.steps)));
    }
    out
}

/// Hints and what they are for, a line each.
fn told(hints: &Hints) -> String {
    let mut lines = String::new();
    for (hint, change) in hints {
        let of = match hint {
            Hint::Node => "node".to_owned(),
            Hint::Object(Target::Domain(name)) => format!("domain {name}"),
            Hint::Object(Target::Network(name)) => format!("network {name}"),
            Hint::Object(Target::Pool(name)) => format!("pool {name}"),
            Hint::Object(Target::Volume { pool, name }) => format!("volume {pool} {name}"),
        };
        let why: Vec<&str> = change.why.iter().copied().collect();
        let _ = writeln!(lines, "hint {of}: {}", why.join(", "));
    }
    lines
}

async fn perform(step: &Step, world: &mut World) -> (String, String) {
    let images = world.images().to_owned();
    let kind = world.kind().to_owned();
    let fill = |text: &String| text.replace("@images@", &images).replace("@type@", &kind);
    let op = match step {
        Step::PoolDefine(xml) => Op::PoolDefine { name: name_in(xml), xml: fill(xml) },
        Step::PoolBuild(name) => Op::PoolBuild { name: name.clone() },
        Step::PoolStart(name) => Op::PoolStart { name: name.clone() },
        Step::PoolAutostart(name) => Op::PoolAutostart { name: name.clone(), on: true },
        Step::PoolRefresh(name) => Op::PoolRefresh { name: name.clone() },
        Step::PoolStop(name) => Op::PoolStop { name: name.clone() },
        Step::PoolUndefine(name) => Op::PoolUndefine { name: name.clone() },
        Step::NetworkDefine(xml) => Op::NetworkDefine { name: name_in(xml), xml: fill(xml) },
        Step::NetworkStart(name) => Op::NetworkStart { name: name.clone() },
        Step::NetworkAutostart(name) => Op::NetworkAutostart { name: name.clone(), on: true },
        Step::NetworkStop(name) => Op::NetworkStop { name: name.clone() },
        Step::NetworkUndefine(name) => Op::NetworkUndefine { name: name.clone() },
        Step::DhcpAdd(dhcp) | Step::DhcpRemove(dhcp) => Op::NetworkUpdate {
            name: dhcp.network.clone(),
            section: Section::DhcpHost,
            edit: if matches!(step, Step::DhcpAdd(_)) { Edit::Add } else { Edit::Delete },
            xml: dhcp.host.clone(),
            parent_index: dhcp.index,
            side: Side::Both,
        },
        Step::NetworkUpdate(update) => update.op(),
        Step::NetworkReplug(name) => {
            let state = NodeState::read(world.host().read(&Scope::Everything).await.unwrap());
            Op::NetworkReplug {
                name: name.clone(),
                direct: false,
                resting: BTreeSet::new(),
                nics: unplugged(&state, name, false),
            }
        }
        Step::DomainBlockResize(resize) => Op::DomainBlockResize {
            name: resize.domain.clone(),
            uuid: uuid(world, &resize.domain).await,
            target: resize.target.clone(),
            capacity: resize.to,
            pool: resize.pool.clone(),
            volume: resize.volume.clone(),
        },
        Step::DomainDevice(device) => Op::DomainDevice {
            name: device.domain.clone(),
            uuid: uuid(world, &device.domain).await,
            how: device.how.into(),
            device: String::new(),
            patch: Box::default(),
            live: device.live,
            config: device.config,
            xml: Some(fill(&device.xml)),
        },
        Step::DomainVcpus(amount) => Op::DomainVcpus {
            name: amount.domain.clone(),
            uuid: uuid(world, &amount.domain).await,
            count: amount.to,
            live: amount.live,
            config: amount.config,
        },
        Step::DomainMemory(amount) => Op::DomainMemory {
            name: amount.domain.clone(),
            uuid: uuid(world, &amount.domain).await,
            kib: amount.to.into(),
            live: amount.live,
            config: amount.config,
        },
        Step::DomainBlockLimits(set) => Op::DomainBlockLimits {
            name: set.domain.clone(),
            uuid: uuid(world, &set.domain).await,
            target: set.target.clone(),
            limits: Box::new(set.limits.clone()),
            live: set.live,
            config: set.config,
        },
        Step::VolumeCreate(make) => Op::VolumeCreate { pool: make.pool.clone(), name: name_in(&make.xml), xml: fill(&make.xml) },
        Step::VolumeClone(make) => Op::VolumeClone {
            pool: make.pool.clone(),
            name: name_in(&make.xml),
            xml: fill(&make.xml),
            source_pool: make.pool.clone(),
            source: make.from.clone(),
        },
        Step::VolumeUpload(upload) => Op::VolumeUpload {
            pool: upload.pool.clone(),
            name: upload.name.clone(),
            source: UploadSource::Seed { digest: String::new(), bytes: SeedBytes(Arc::new(image(upload.bytes, upload.qcow2))) },
        },
        Step::VolumeGrow(grow) => Op::VolumeGrow { pool: grow.pool.clone(), name: grow.name.clone(), capacity: grow.to },
        Step::VolumeDelete(volume) => Op::VolumeDelete { pool: volume.pool.clone(), name: volume.name.clone() },
        Step::DomainDefine(xml) | Step::DomainValidate(xml) => {
            let validate = matches!(step, Step::DomainValidate(_));
            Op::DomainDefine { name: name_in(xml), uuid: Uuid::nil(), xml: fill(xml).into(), validate }
        }
        Step::DomainStart(name) => Op::DomainStart { name: name.clone(), uuid: uuid(world, name).await },
        Step::DomainShutdown(how) => Op::DomainShutdown {
            name: how.name.clone(),
            uuid: uuid(world, &how.name).await,
            method: ShutdownMethod::ACPI,
            timeout_seconds: 1,
            on_timeout: if how.power_off { OnTimeout::PowerOff } else { OnTimeout::Report },
        },
        Step::DomainDestroy(name) => Op::DomainDestroy { name: name.clone(), uuid: uuid(world, name).await },
        Step::DomainUndefine(how) => Op::DomainUndefine {
            name: how.name.clone(),
            uuid: uuid(world, &how.name).await,
            nvram: how.nvram,
            managed_save: how.saved,
        },
        Step::DomainAutostart(name) => Op::DomainAutostart { name: name.clone(), uuid: uuid(world, name).await, on: true },
        Step::DomainMetadata(set) => Op::DomainMetadata {
            name: set.name.clone(),
            uuid: uuid(world, &set.name).await,
            title: set.title.clone().map(|title| Some(title).filter(|title| !title.is_empty())),
            description: set.description.clone().map(|text| Some(text).filter(|text| !text.is_empty())),
            mark: set.mark.clone(),
            live: set.live,
        },
        Step::DomainRename(rename) => {
            Op::DomainRename { name: rename.name.clone(), uuid: uuid(world, &rename.name).await, to: rename.to.clone() }
        }
        Step::Redefine(redefine) => {
            let found = document(world, &redefine.what).await;
            let xml = redefine.replace.iter().fold(found, |xml, (from, to)| {
                assert!(xml.contains(from.as_str()), "no '{from}' in {xml}");
                xml.replace(from, to)
            });
            match redefine.what.split_once(' ').map(|(kind, _)| kind) {
                Some("network") => Op::NetworkDefine { name: name_in(&xml), xml },
                Some("pool") => Op::PoolDefine { name: name_in(&xml), xml },
                _ => Op::DomainDefine { name: name_in(&xml), uuid: Uuid::nil(), xml: xml.into(), validate: false },
            }
        }
        Step::Show(show) => {
            let xml = document(world, &show.what).await;
            let shown = if show.parts.is_empty() { xml } else { parts(&xml, &show.parts) };
            return (format!("show {} {}", show.what, show.parts.join(" ")).trim_end().to_owned(), shown);
        }
        Step::Facts(what) => return (format!("facts {what}"), facts(world, what).await),
        Step::Virsh(command) => {
            world.virsh(command);
            return (format!("virsh {command}"), String::new());
        }
        Step::Fake(command) => {
            world.tell_fake(command);
            return (format!("fake {command}"), String::new());
        }
        Step::FileMake(path) => {
            world.make_file(&fill(path));
            return (format!("make {path}"), String::new());
        }
        Step::FileRemove(path) => {
            world.remove_file(&fill(path));
            return (format!("remove {path}"), String::new());
        }
        Step::FileShow(path) => {
            let there = if world.has_file(&fill(path)) { "there" } else { "not there" };
            return (format!("file {path}"), there.to_owned());
        }
    };
    let title = match op.target() {
        Some(Target::Volume { pool, name }) => format!("{} {pool} {name}", op.word()),
        Some(Target::Pool(name) | Target::Network(name) | Target::Domain(name)) => format!("{} {name}", op.word()),
        None => op.word().to_owned(),
    };
    let said = match world.host().act(&op, &NoProgress).await {
        Ok(()) => "ok".to_owned(),
        Err(HostError { kind, code, message }) => format!("error {kind:?} {code}: {}", message.to_lowercase()),
    };
    (title, said)
}

async fn read(world: &World, target: Target) -> RawNode {
    world.host().read(&Scope::Objects([target].into())).await.unwrap()
}

async fn domain(world: &World, name: &str) -> Option<RawDomain> {
    read(world, Target::Domain(name.to_owned())).await.domains.pop()
}

async fn uuid(world: &World, name: &str) -> Uuid {
    domain(world, name).await.map_or(Uuid::nil(), |domain| domain.uuid)
}

async fn document(world: &World, what: &str) -> String {
    let words: Vec<&str> = what.split(' ').collect();
    let none = || "not there".to_owned();
    match words[..] {
        ["domain", name] => domain(world, name).await.map_or_else(none, |domain| domain.inactive.text()),
        ["live", "domain", name] => {
            domain(world, name).await.and_then(|domain| domain.live).map_or_else(none, |live| live.text())
        }
        ["saved", "domain", name] => {
            domain(world, name).await.and_then(|domain| domain.saved).map_or_else(none, |saved| saved.text())
        }
        ["network", name] => {
            read(world, Target::Network(name.to_owned())).await.networks.pop().map_or_else(none, |network| network.inactive)
        }
        ["live", "network", name] => read(world, Target::Network(name.to_owned()))
            .await
            .networks
            .pop()
            .and_then(|network| network.live)
            .unwrap_or_else(none),
        ["pool", name] => read(world, Target::Pool(name.to_owned())).await.pools.pop().map_or_else(none, |pool| pool.xml),
        ["volume", pool, name] => {
            let target = Target::Volume { pool: pool.to_owned(), name: name.to_owned() };
            let volumes = read(world, target).await.pools.pop().and_then(|pool| pool.volumes);
            volumes.and_then(|mut volumes| volumes.pop()).map_or_else(none, |volume| volume.xml)
        }
        _ => panic!("what is '{what}'?"),
    }
}

/// The facts beside the documents.
async fn facts(world: &World, what: &str) -> String {
    let words: Vec<&str> = what.split(' ').collect();
    match words[..] {
        ["domain", name] => domain(world, name).await.map_or_else(
            || "not there".to_owned(),
            |d| {
                format!(
                    "{:?}, off reason {:?}, autostart {}, persistent {}, managed save {}, snapshots {}, live {}",
                    d.state,
                    d.off_reason,
                    d.autostart,
                    d.persistent,
                    d.managed_save,
                    d.has_snapshots,
                    d.live.is_some()
                )
            },
        ),
        ["network", name] => read(world, Target::Network(name.to_owned())).await.networks.pop().map_or_else(
            || "not there".to_owned(),
            |n| {
                let count = n.ports.as_ref().map_or(0, std::collections::BTreeSet::len);
                let ports = if count > 0 { format!(", ports {count}") } else { String::new() };
                let live = n.live.is_some();
                format!("active {}, autostart {}, persistent {}, live {live}{ports}", n.active, n.autostart, n.persistent)
            },
        ),
        ["pool", name] => read(world, Target::Pool(name.to_owned())).await.pools.pop().map_or_else(
            || "not there".to_owned(),
            |p| format!("active {}, autostart {}, persistent {}", p.active, p.autostart, p.persistent),
        ),
        ["volumes", name] => {
            let node = world.host().read(&Scope::Everything).await.unwrap();
            let pool = node.pools.into_iter().find(|pool| pool.name == name);
            match pool.map(|pool| pool.volumes) {
                None => "not there".to_owned(),
                Some(None) => "can't be read".to_owned(),
                Some(Some(volumes)) => volumes.iter().map(|volume| volume.name.as_str()).collect::<Vec<_>>().join(" "),
            }
        }
        _ => panic!("what is '{what}'?"),
    }
}

/// The text of the first `<name>`.
fn name_in(xml: &str) -> String {
    let from = xml.find("<name>").map_or(0, |at| at + 6);
    let rest = xml.get(from..).unwrap_or_default();
    rest.split('<').next().unwrap_or_default().to_owned()
}

/// Bytes to upload: zeros and ones, or a qcow2 header and zeros behind it.
fn image(length: usize, qcow2: Option<u64>) -> Vec<u8> {
    let mut bytes = vec![0; length];
    match qcow2 {
        None => bytes.iter_mut().enumerate().for_each(|(index, byte)| *byte = u8::from(index % 7 == 3)),
        Some(size) => {
            let mut header = Vec::new();
            header.extend(b"QFI\xfb");
            for word in [3u32, 0, 0, 0, 16] {
                header.extend(word.to_be_bytes());
            }
            header.extend(size.to_be_bytes());
            // No encryption, one first-level table at 0x30000, reference counts at 0x10000.
            for word in [0u32, 1] {
                header.extend(word.to_be_bytes());
            }
            for word in [0x3_0000u64, 0x1_0000] {
                header.extend(word.to_be_bytes());
            }
            for word in [1u32, 0] {
                header.extend(word.to_be_bytes());
            }
            for word in [0u64, 0, 0, 0] {
                header.extend(word.to_be_bytes());
            }
            for word in [4u32, 104] {
                header.extend(word.to_be_bytes());
            }
            bytes[..header.len()].copy_from_slice(&header);
        }
    }
    bytes
}
