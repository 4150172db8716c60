//! Lists as tables: which columns each kind has, and how they are set. Pure: text out of data.

use super::facts::{self, Index};
use super::item::{Found, Item, State, View};
use super::units::{age, few, or_dash, percent, size, version, yes};
use crate::manifest::{NetworkMode, NetworkSpec, RunStrategy, Spec};
use crate::name::Kind;

/// The objects as tables, one a kind. `wide` adds columns; with several kinds a name stands with its kind.
pub(super) fn render(view: &View<'_>, index: &Index<'_>, items: &[&Item<'_>], wide: bool) -> String {
    let kinds: Vec<Kind> =
        Kind::TABLE.iter().map(|row| row.kind).filter(|kind| items.iter().any(|i| i.object.kind == *kind)).collect();
    let qualified = kinds.len() > 1;
    let table = |kind: Kind| {
        let mut rows = vec![columns(kind, wide).into_iter().map(str::to_owned).collect::<Vec<_>>()];
        for item in items.iter().filter(|item| item.object.kind == kind) {
            let name = if qualified { format!("{kind}/{}", item.object.name) } else { item.object.name.to_string() };
            rows.push(std::iter::once(name).chain(cells(view, index, item, wide)).collect());
        }
        set(&rows)
    };
    kinds.into_iter().map(table).collect::<Vec<_>>().join("\n")
}

/// Rows of cells with every column as wide as its widest cell. Nothing trails.
pub(in crate::cli) fn set(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 3 - cell.chars().count().min(*width)));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn columns(kind: Kind, wide: bool) -> Vec<&'static str> {
    let (narrow, more): (&[_], &[_]) = match kind {
        Kind::Fleet => (&["NAME", "ID"], &[]),
        Kind::Node => {
            (&["NAME", "STATE", "URI", "LIBVIRT", "ARCH", "KVM", "VMS"], &["HOSTNAME", "HOST-UUID", "AGE", "CONDITIONS"])
        }
        Kind::KeyPair => (&["NAME", "STATE", "SOURCE", "AGE"], &["CONDITIONS"]),
        Kind::StoragePool => {
            (&["NAME", "NODE", "STATE", "CAPACITY", "USED", "PATH"], &["AVAILABLE", "AUTOSTART", "AGE", "CONDITIONS"])
        }
        Kind::Network => {
            (&["NAME", "NODE", "STATE", "MODE", "SUBNET", "BRIDGE", "GUESTS"], &["DOMAIN", "AUTOSTART", "AGE", "CONDITIONS"])
        }
        Kind::Template => {
            (&["NAME", "NODE", "READY", "FORMAT", "SIZE", "VIRTUAL", "USED-BY"], &["OS", "DIGEST", "STATE", "AGE", "CONDITIONS"])
        }
        Kind::Volume => (
            &["NAME", "NODE", "POOL", "FORMAT", "CAPACITY", "ALLOCATION", "SOURCE", "USED-BY"],
            &["STATE", "FILE", "AGE", "CONDITIONS"],
        ),
        Kind::VirtualMachine => {
            (&["NAME", "NODE", "STATE", "ADDRESS", "AGE"], &["CPU", "MEMORY", "TEMPLATE", "STRATEGY", "CONDITIONS"])
        }
    };
    narrow.iter().chain(more.iter().filter(|_| wide)).copied().collect()
}

/// The cells of a row, without the name.
fn cells(view: &View<'_>, index: &Index<'_>, item: &Item<'_>, wide: bool) -> Vec<String> {
    let state = item.state.word().to_owned();
    let node = or_dash(item.node.as_ref().map(crate::name::Name::as_str));
    let old = age(item.created_at(), view.now);
    let conditions = conditions(item);
    let (mut cells, more) = match item.object.kind {
        Kind::Fleet => (vec![view.desired.fleet.to_string()], Vec::new()),
        Kind::Node => of_node(view, index, item, state, conditions),
        Kind::KeyPair => (vec![state, key_source(item).into(), old], vec![conditions]),
        Kind::StoragePool => {
            let pool = item.pool();
            let stats = pool.filter(|pool| pool.active).map(|pool| &pool.doc);
            let path = pool.and_then(|pool| pool.doc.path.as_deref()).or_else(|| match item.spec {
                Some(Spec::StoragePool(spec)) => spec.target.as_ref()?.path.as_deref(),
                _ => None,
            });
            let autostart = pool.map_or("-", |pool| yes(pool.autostart)).to_owned();
            let capacity = stats.map_or("-".into(), |doc| size(doc.capacity));
            let used = stats.map_or("-".into(), |doc| percent(doc.allocation, doc.capacity));
            let available = stats.map_or("-".into(), |doc| size(doc.available));
            (vec![node, state, capacity, used, or_dash(path)], vec![available, autostart, old, conditions])
        }
        Kind::Network => {
            let network = item.network();
            let spec = network_spec(item);
            let subnets: Vec<String> =
                spec.into_iter().flat_map(|spec| &spec.ips).map(|ip| ip.address.trunc().to_string()).collect();
            let bridge = network.and_then(|n| n.doc.bridge.as_deref()).or_else(|| spec?.bridge.as_deref());
            let guests = match (&item.node, network) {
                (Some(node), Some(network)) => index.guests(node, &network.name).len().to_string(),
                _ => "-".into(),
            };
            let autostart = network.map_or("-", |network| yes(network.autostart)).to_owned();
            let domain = or_dash(spec.and_then(|spec| spec.domain.as_deref()));
            (
                vec![node, state, mode(spec).into(), few(&subnets), or_dash(bridge), guests],
                vec![domain, autostart, old, conditions],
            )
        }
        Kind::Template => {
            let record = item.entry.and_then(|entry| entry.template.as_ref());
            let ready = record.is_some_and(|record| record.ready) && matches!(item.state, State::Ready | State::Released);
            let ready = if item.state == State::Unknown { "?" } else { yes(ready) };
            let format = or_dash(record.map(|record| record.format.as_str()).or_else(|| declared_format(item)));
            let digest = record.map_or("-".into(), |record| record.digest_sha256.chars().take(12).collect());
            let shown = |bytes: Option<u64>| bytes.map_or("-".into(), size);
            (
                vec![
                    node,
                    ready.to_owned(),
                    format,
                    shown(record.map(|record| record.size)),
                    shown(record.map(|record| record.virtual_size)),
                    few(&facts::users(index, item)),
                ],
                vec![os(item), digest, state, old, conditions],
            )
        }
        Kind::Volume => {
            let record = item.entry.and_then(|entry| entry.volume.as_ref());
            let doc = item.volume();
            let declared = if let Some(Spec::Volume(spec)) = item.spec { Some(spec) } else { None };
            let pool = declared
                .and_then(|spec| spec.pool.as_ref().map(crate::name::Name::as_str))
                .or_else(|| record.map(|r| r.pool.as_str()));
            let capacity = doc.map(|d| d.capacity).or(record.map(|r| r.capacity)).or_else(|| Some(declared?.capacity?.bytes()));
            let allocation = doc.map_or("-".into(), |doc| size(doc.allocation));
            let format = or_dash(record.map(|record| record.format.as_str()).or_else(|| declared_format(item)));
            (
                vec![
                    node,
                    or_dash(pool),
                    format,
                    capacity.map_or("-".into(), size),
                    allocation,
                    volume_source(item).unwrap_or_else(|| "-".into()),
                    few(&facts::users(index, item)),
                ],
                vec![state, item.libvirt_name.clone(), old, conditions],
            )
        }
        Kind::VirtualMachine => {
            let (cpu, memory) = cpu_and_memory(item);
            let template = facts::template(view, index, item).unwrap_or_else(|| "-".into());
            (
                vec![node, state, facts::addresses(index, item).cell(), old],
                vec![cpu, memory, template, strategy(item).into(), conditions],
            )
        }
    };
    if wide {
        cells.extend(more);
    }
    cells
}

fn of_node(view: &View<'_>, index: &Index<'_>, item: &Item<'_>, state: String, conditions: String) -> (Vec<String>, Vec<String>) {
    let host = if let Found::Node(node) = item.found { Some(&node.host) } else { None };
    let record = view.owned.nodes.get(&item.object.name);
    let uuid = host.and_then(|host| host.uuid).or_else(|| record.map(|record| record.host_uuid));
    (
        vec![
            state,
            item.desired_node.map_or("-".into(), |node| super::object::without_password(&node.uri)),
            host.map_or("-".into(), |host| version(host.libvirt_version)),
            or_dash(host.map(|host| host.arch.as_str())),
            host.map_or("-", |host| yes(host.kvm)).into(),
            if host.is_some() { index.vms(&item.object.name).to_string() } else { "-".into() },
        ],
        vec![
            or_dash(host.map(|host| host.hostname.as_str())),
            uuid.map_or("-".into(), |uuid| uuid.to_string()),
            record.map_or("-".into(), |record| age(&record.first_seen, view.now)),
            conditions,
        ],
    )
}

fn conditions(item: &Item<'_>) -> String {
    let mut names: Vec<&str> = item.conditions.iter().map(|condition| condition.name.as_str()).collect();
    names.dedup();
    or_dash(Some(&names.join(",")))
}

/// Where a key comes from.
pub(super) fn key_source(item: &Item<'_>) -> &'static str {
    match item.spec {
        Some(Spec::KeyPair(spec)) if spec.generate == Some(true) => "Generated",
        Some(Spec::KeyPair(_)) => "Given",
        _ => "-",
    }
}

/// What a volume was, or is to be, made from.
pub(super) fn volume_source(item: &Item<'_>) -> Option<String> {
    if let Some(source) = item.entry.and_then(|entry| entry.volume.as_ref()).and_then(|record| record.source.clone()) {
        return Some(source);
    }
    let Some(Spec::Volume(spec)) = item.spec else { return None };
    let source = spec.source.as_ref()?;
    let template = source.template.as_ref().map(|name| format!("Template/{name}"));
    template.or_else(|| source.volume.as_ref().map(|name| format!("Volume/{name}")))
}

fn network_spec<'a>(item: &Item<'a>) -> Option<&'a NetworkSpec> {
    item.network().map(|network| &network.doc.spec).or(match item.spec {
        Some(Spec::Network(spec)) => Some(spec),
        _ => None,
    })
}

fn mode(spec: Option<&NetworkSpec>) -> &'static str {
    match spec.and_then(|spec| spec.mode) {
        Some(NetworkMode::NAT) => "NAT",
        Some(NetworkMode::Isolated) => "Isolated",
        Some(NetworkMode::Route) => "Route",
        Some(NetworkMode::Open) => "Open",
        Some(NetworkMode::Bridge) => "Bridge",
        None => "-",
    }
}

/// When a VM is to run.
pub(super) fn strategy(item: &Item<'_>) -> &'static str {
    let Some(Spec::VirtualMachine(spec)) = item.spec else { return "-" };
    match spec.run_strategy {
        Some(RunStrategy::Always) | None => "Always",
        Some(RunStrategy::RerunOnFailure) => "RerunOnFailure",
        Some(RunStrategy::Once) => "Once",
        Some(RunStrategy::Manual) => "Manual",
        Some(RunStrategy::Halted) => "Halted",
    }
}

fn declared_format(item: &Item<'_>) -> Option<&'static str> {
    use crate::manifest::{TemplateFormat, VolumeFormat};
    match item.spec? {
        Spec::Template(spec) => spec.format.map(|format| match format {
            TemplateFormat::Qcow2 => "qcow2",
            TemplateFormat::Raw => "raw",
            TemplateFormat::Iso => "iso",
        }),
        Spec::Volume(spec) => Some(match spec.format {
            Some(VolumeFormat::Raw) => "raw",
            Some(VolumeFormat::Qcow2) | None => "qcow2",
        }),
        _ => None,
    }
}

fn os(item: &Item<'_>) -> String {
    let Some(Spec::Template(spec)) = item.spec else { return "-".into() };
    let Some(os) = &spec.os else { return "-".into() };
    let words: Vec<&str> = [&os.name, &os.version].into_iter().flatten().map(String::as_str).collect();
    or_dash(Some(&words.join("-")))
}

/// What a VM has now, else what its next start will give it, else what is wanted.
fn cpu_and_memory(item: &Item<'_>) -> (String, String) {
    let spec = match (item.domain(), item.spec) {
        (Some(domain), _) => &domain.live.as_ref().unwrap_or(&domain.doc).spec,
        (None, Some(Spec::VirtualMachine(spec))) => spec,
        _ => return ("-".into(), "-".into()),
    };
    let cpu = spec.cpu.as_ref().and_then(|cpu| cpu.count).unwrap_or(1);
    (cpu.to_string(), spec.memory.map_or("-".into(), |memory| size(memory.bytes())))
}
