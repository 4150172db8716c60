//! All that is known of one object, in sections. Pure: text out of data.
//!
//! Nothing here is for programs to read, and no secret is shown.

use std::collections::BTreeMap;

use serde_json::Value;

use super::facts::{self, Index};
use super::item::{Found, Item, Kept, View};
use super::object::{public_spec, without_password};
use super::table::{key_source, set, strategy, volume_source};
use super::units::{age, percent, size, version, yes};
use crate::manifest::{Leaves, Spec, leaves};
use crate::name::{ByteSize, Kind, SENSITIVE};
use crate::observe::{DomainState, OffReason};
use crate::plan::{Class, field};
use crate::xml::domain::machine_matches;

/// Sections, each a title and its rows; those without rows are left out.
#[derive(Default)]
struct Page(Vec<(&'static str, Vec<Vec<String>>)>);

impl Page {
    fn section(&mut self, title: &'static str) {
        self.0.push((title, Vec::new()));
    }

    fn row(&mut self, cells: Vec<String>) {
        if let Some((_, rows)) = self.0.last_mut() {
            rows.push(cells);
        }
    }

    fn pair(&mut self, key: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.row(vec![key.to_owned(), value]);
        }
    }

    fn maybe(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.pair(key, value.to_string());
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (title, rows) in self.0.iter().filter(|(_, rows)| !rows.is_empty()) {
            text.push_str(title);
            text.push('\n');
            for line in set(rows).lines() {
                text.push_str("  ");
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

/// So many of an object's last events are shown.
const EVENTS: usize = 10;

/// The page of an object.
pub(super) fn render(view: &View<'_>, index: &Index<'_>, item: &Item<'_>, kept: &Kept) -> String {
    let mut page = Page::default();
    identity(&mut page, item);
    place(&mut page, view, item);
    spec(&mut page, item);
    match item.found {
        Found::Domain(domain) => vm(&mut page, view, index, item, domain),
        Found::Network(network) => {
            page.section("Network");
            page.maybe("bridge", network.doc.bridge.as_ref());
            page.maybe("bridge's MAC", network.doc.mac);
            page.pair("autostart", yes(network.autostart));
            let subnets: Vec<String> = network.doc.spec.ips.iter().map(|ip| ip.address.to_string()).collect();
            page.pair("addresses", subnets.join(", "));
            page.section("Guests");
            let guests = item.node.as_ref().map(|node| index.guests(node, &network.name)).unwrap_or_default();
            for guest in guests {
                page.row(vec![guest]);
            }
            page.section("Leases");
            for lease in &network.leases {
                page.row(vec![lease.mac.clone(), lease.ip.clone(), lease.hostname.clone().unwrap_or_default()]);
            }
            page.section("Pending until its restart");
            for path in &network.pending {
                page.row(vec![dotted(path)]);
            }
        }
        Found::Pool(pool) => {
            page.section("Pool");
            page.maybe("path", pool.doc.path.as_ref());
            page.pair("autostart", yes(pool.autostart));
            if pool.active {
                page.pair("capacity", size(pool.doc.capacity));
                let used = percent(pool.doc.allocation, pool.doc.capacity);
                page.pair("used", format!("{} ({used})", size(pool.doc.allocation)));
                page.pair("available", size(pool.doc.available));
            }
            page.section("Volumes");
            for volume in pool.volumes.iter().flat_map(BTreeMap::values) {
                let owner = item.node.as_ref().and_then(|node| index.owner(node, &volume.path));
                let owner = owner.map_or_else(|| "(not ours)".to_owned(), ToString::to_string);
                page.row(vec![volume.name.clone(), volume.format.clone(), size(volume.capacity), owner]);
            }
        }
        Found::Node(node) => {
            page.section("Host");
            page.pair("hostname", &node.host.hostname);
            page.maybe("UUID", node.host.uuid);
            page.pair("libvirt", version(node.host.libvirt_version));
            page.pair("architecture", &node.host.arch);
            page.pair("KVM", yes(node.host.kvm));
            page.pair("VMs", index.vms(&item.object.name).to_string());
            page.pair("objects of others", foreign(view, node).to_string());
            page.section("Unreadable");
            for (target, why) in &node.unreadable {
                page.row(vec![format!("{target:?}"), why.clone()]);
            }
        }
        Found::Volume(_) | Found::Nothing => {}
    }
    file(&mut page, view, index, item);
    page.section("Conditions");
    for condition in &item.conditions {
        page.row(vec![condition.name.clone(), condition.message.clone()]);
    }
    next_apply(&mut page, view, item);
    by_daemon(&mut page, view, item, kept);
    inventory(&mut page, view, item);
    format!("{}\n\n{}", item.object, page.text())
}

fn identity(page: &mut Page, item: &Item<'_>) {
    page.section("Identity");
    page.pair("uid", item.uid.to_string());
    if item.entry.is_some() || item.wanted.is_some() {
        page.pair("name in libvirt", &item.libvirt_name);
    }
    let found = match item.found {
        Found::Domain(domain) => Some((domain.uuid, &domain.name)),
        Found::Network(network) => Some((network.uuid, &network.name)),
        Found::Pool(pool) => Some((pool.uuid, &pool.name)),
        Found::Volume(_) | Found::Node(_) | Found::Nothing => None,
    };
    page.maybe("UUID in libvirt", found.map(|(uuid, _)| uuid));
    page.maybe("found as", found.map(|(_, name)| name).filter(|name| **name != item.libvirt_name));
    page.pair("labels", item.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","));
    page.maybe("declared at", item.wanted.map(|wanted| &wanted.origin));
    page.maybe("implied by", item.wanted.and_then(|wanted| wanted.implied_by.as_ref()));
}

fn place(page: &mut Page, view: &View<'_>, item: &Item<'_>) {
    page.section("Where");
    if item.object.kind == Kind::Node {
        page.maybe("URI", item.desired_node.map(|node| without_password(&node.uri)));
        page.maybe("first seen", view.owned.nodes.get(&item.object.name).map(|record| &record.first_seen));
    } else {
        page.maybe("node", item.node.as_ref());
    }
    page.pair("state", item.state.word());
    if item.object.kind == Kind::KeyPair {
        page.pair("source", key_source(item));
    }
}

/// The fields as wanted, and beside them what is otherwise in the definition or in what runs.
fn spec(page: &mut Page, item: &Item<'_>) {
    let Some(spec) = item.spec else { return };
    let kind = item.object.kind;
    let observed = match item.found {
        Found::Domain(domain) => {
            let of = |doc: &crate::xml::domain::DomainDoc| Spec::VirtualMachine(Box::new(doc.spec.clone())).to_value();
            let live = domain.live.as_ref().map(|live| (leaves(kind, &of(live)), &domain.pending));
            Some((leaves(kind, &of(&domain.doc)), live))
        }
        Found::Network(network) => {
            let of = |doc: &crate::xml::network::NetworkDoc| Spec::Network(doc.spec.clone()).to_value();
            let live = network.live.as_ref().map(|live| (leaves(kind, &of(live)), &network.pending));
            Some((leaves(kind, &of(&network.doc)), live))
        }
        Found::Pool(pool) => Some((leaves(kind, &Spec::StoragePool(pool.doc.spec.clone()).to_value()), None)),
        Found::Volume(_) | Found::Node(_) | Found::Nothing => None,
    };
    page.section("Spec");
    for (path, wanted) in leaves(kind, &public_spec(spec)) {
        let mut row = vec![dotted(&path), shown(&wanted)];
        if let Some((inactive, live)) = &observed
            && is_compared(kind, &path)
        {
            let is = inactive.get(&path);
            if !same(&path, Some(&wanted), is.or(stands_for(&path, inactive))) {
                row.push(format!("defined: {}", is.map_or_else(|| "(nothing)".into(), shown)));
            }
            if let Some((live, pending)) = live
                && pending.contains(&path)
            {
                row.push(format!("running: {}", live.get(&path).map_or_else(|| "(nothing)".into(), shown)));
            }
        }
        page.row(row);
    }
}

/// Whether libvirt's document tells a field by itself. What refers to another object is told by paths there.
pub(super) fn is_compared(kind: Kind, path: &str) -> bool {
    let Some(row) = field(kind, path) else { return false };
    let refers = ["/disks/*/volume", "/disks/*/image", "/interfaces/*/network", "/console/vnc", "/libvirtName"];
    matches!(row.class, Class::Managed | Class::Seed)
        && !row.sensitive
        && row.absent.is_empty()
        && !refers.contains(&row.path)
        && !matches!(row.path, "/accelerator" | "/cpu/model")
}

/// What libvirt writes by way of another field.
pub(super) fn stands_for<'a>(path: &str, observed: &'a Leaves) -> Option<&'a Value> {
    match path {
        "/maxMemory" => observed.get("/memory"),
        "/cpu/max" => observed.get("/cpu/count"),
        _ => None,
    }
}

pub(super) fn same(path: &str, wanted: Option<&Value>, is: Option<&Value>) -> bool {
    let (Some(wanted), Some(is)) = (wanted, is) else { return wanted == is };
    let sizes = || Some((wanted.as_str()?.parse::<ByteSize>().ok()?, is.as_str()?.parse::<ByteSize>().ok()?));
    wanted == is
        || path == "/machine" && matches!((wanted.as_str(), is.as_str()), (Some(a), Some(b)) if machine_matches(a, b))
        || matches!(path, "/memory" | "/maxMemory") && sizes().is_some_and(|(a, b)| a.kib() == b.kib())
}

fn vm(page: &mut Page, view: &View<'_>, index: &Index<'_>, item: &Item<'_>, domain: &DomainState) {
    page.section("Power");
    page.pair("strategy", strategy(item));
    if !domain.is_active() {
        page.maybe("off because", off(domain.off_reason));
    }
    page.pair("autostart", yes(domain.autostart));
    page.pair("machine", &domain.doc.machine);
    page.pair("runs by", &domain.doc.virt_type);
    page.maybe("template", facts::template(view, index, item));
    page.pair("saved state", if domain.managed_save { "waits for its next start" } else { "" });
    page.pair("snapshots", if domain.has_snapshots { "yes" } else { "" });
    page.maybe("NVRAM", domain.live.as_ref().and_then(|live| live.nvram.as_ref()).or(domain.doc.nvram.as_ref()));
    if let Some(vnc) = domain.live.as_ref().unwrap_or(&domain.doc).vnc.as_ref() {
        let address =
            vnc.listen.as_ref().map(|listen| format!("{listen}:{}", vnc.port.map_or("auto".into(), |port| port.to_string())));
        page.maybe("VNC", vnc.socket.clone().or(address));
    }
    let addresses = facts::addresses(index, item);
    page.pair("addresses", addresses.known.join(", "));
    page.pair("reserved", addresses.reserved.join(", "));

    page.section("Disks");
    for disk in &domain.doc.disks {
        let name = disk.name.as_ref().map(ToString::to_string);
        let name = name.unwrap_or_else(|| if disk.seed { "(seed)" } else { "(not ours)" }.to_owned());
        let volume = disk.source_volume.as_ref().map(|(pool, file)| format!("{pool}/{file}"));
        let source = disk.source.clone().or(volume).unwrap_or_else(|| "(empty)".into());
        let owner = disk.source.as_deref().zip(item.node.as_ref()).and_then(|(path, node)| index.owner(node, path));
        let others =
            disk.source.as_deref().zip(item.node.as_ref()).map(|(path, node)| index.users(node, path)).unwrap_or_default();
        let others: Vec<String> = others.into_iter().filter(|user| *user != item.object.name.as_str()).collect();
        let mut cells = vec![name, disk.target.clone(), disk.bus.clone(), disk.format.clone().unwrap_or_default(), source];
        cells.push(owner.map(ToString::to_string).unwrap_or_default());
        if !others.is_empty() {
            cells.push(format!("also used by {}", others.join(", ")));
        }
        page.row(cells);
        let running = domain.live.iter().flat_map(|live| &live.disks).find(|live| live.target == disk.target);
        for path in running.map_or(&disk.chain, |live| &live.chain) {
            page.row(vec![String::new(), String::new(), String::new(), String::new(), format!("on {path}")]);
        }
    }
    page.section("Interfaces");
    for nic in &domain.doc.interfaces {
        let name = nic.name.as_ref().map_or_else(|| "(not ours)".into(), ToString::to_string);
        let plugged = nic.network.clone().or_else(|| nic.bridge.clone()).unwrap_or_else(|| nic.kind.clone());
        let leases = nic.mac.zip(item.node.as_ref()).map(|(mac, node)| index.leases(node, mac)).unwrap_or_default();
        page.row(vec![
            name,
            nic.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            plugged,
            nic.model.clone().unwrap_or_default(),
            if nic.link_up { "" } else { "unplugged" }.to_owned(),
            leases.join(", "),
        ]);
    }
    page.section("Pending until its next start");
    for path in &domain.pending {
        page.row(vec![dotted(path)]);
    }
}

pub(super) fn off(reason: OffReason) -> Option<&'static str> {
    match reason {
        OffReason::Unknown => None,
        OffReason::GuestShutdown => Some("its guest shut down"),
        OffReason::Destroyed => Some("its power was cut"),
        OffReason::Crashed => Some("it crashed"),
        OffReason::Saved => Some("it was saved to disk"),
        OffReason::Failed => Some("it failed to start"),
        OffReason::Migrated => Some("it moved to another host"),
    }
}

/// The file of a volume or template.
fn file(page: &mut Page, view: &View<'_>, index: &Index<'_>, item: &Item<'_>) {
    page.section("File");
    if let Some(record) = item.entry.and_then(|entry| entry.volume.as_ref()) {
        page.pair("pool", &record.pool);
        page.pair("path", &record.path);
        page.pair("format", &record.format);
        page.pair("capacity", size(item.volume().map_or(record.capacity, |volume| volume.capacity)));
        page.maybe("stands on", record.backing.as_ref());
        page.maybe("made from", volume_source(item));
        page.maybe("came with", record.owner.as_ref());
    }
    if let Some(record) = item.entry.and_then(|entry| entry.template.as_ref()) {
        page.pair("pool", &record.pool);
        page.pair("path", &record.path);
        page.pair("format", &record.format);
        page.pair("size", size(record.size));
        page.pair("virtual size", size(record.virtual_size));
        page.pair("SHA-256", &record.digest_sha256);
        page.pair("pinned", if record.pinned { "at its first fetch, for want of a checksum" } else { "" });
        page.pair("from", without_password(&record.source));
        page.pair("verified", yes(record.ready));
    }
    if let Some(volume) = item.volume() {
        page.pair("allocation", size(volume.allocation));
    }
    page.pair("used by", facts::users(index, item).join(", "));
    if item.object.kind == Kind::Template {
        let source = format!("Template/{}", item.object.name);
        let made: Vec<String> = view
            .owned
            .entries
            .values()
            .filter(|entry| entry.node == item.node)
            .filter(|entry| {
                entry.volume.as_ref().and_then(|v| v.source.as_deref()).and_then(|s| s.split('@').next()) == Some(&source)
            })
            .map(|entry| entry.object.to_string())
            .collect();
        page.pair("volumes of it", made.join(", "));
    }
}

fn next_apply(page: &mut Page, view: &View<'_>, item: &Item<'_>) {
    page.section("The next apply");
    for change in view.plan.changes.iter().filter(|change| change.object == item.object) {
        page.row(vec![format!("{}: {}", change.verb.participle(), change.reason), change.effect.words()]);
    }
}

/// What a daemon found when it last looked, and what was done last.
fn by_daemon(page: &mut Page, view: &View<'_>, item: &Item<'_>, kept: &Kept) {
    page.section("As the daemon found it");
    for condition in kept.statuses.get(&item.object).iter().flat_map(|status| &status.conditions) {
        let revision: String = condition.revision.as_deref().unwrap_or_default().chars().take(14).collect();
        page.row(vec![
            condition.name.clone(),
            condition.status.word().to_owned(),
            condition.reason.clone(),
            format!("since {}", age(&condition.since, view.now)),
            revision,
            condition.message.clone(),
        ]);
    }
    page.section("Events");
    let own: Vec<_> = kept.events.iter().filter(|event| event.object == item.object).collect();
    for event in own.iter().skip(own.len().saturating_sub(EVENTS)) {
        page.row(vec![
            event.at.split('.').next().unwrap_or_default().to_owned(),
            event.cause.clone().unwrap_or_else(|| "by hand".to_owned()),
            event.op.clone(),
            event.outcome.words().to_owned(),
            event.why.as_deref().and_then(|why| why.lines().next()).unwrap_or_default().to_owned(),
        ]);
    }
}

fn inventory(page: &mut Page, view: &View<'_>, item: &Item<'_>) {
    let Some(entry) = item.entry else { return };
    page.section("Inventory");
    if let Ok(at) = entry.created_at.parse::<jiff::Timestamp>() {
        page.pair("since", format!("{at} ({} ago)", age(&entry.created_at, view.now)));
    }
    page.pair("released", if entry.released { "yes: kept in libvirt, and no longer kept true" } else { "" });
    page.pair("managed fields", entry.last.iter().map(|path| dotted(path)).collect::<Vec<_>>().join(", "));
    for (path, secret) in &entry.secrets {
        page.pair(&dotted(path), format!("{SENSITIVE}, from {}", secret.source));
    }
    page.maybe("seed", entry.seed_digest.as_ref());
    let of_it = |intent: &&crate::plan::Intent| intent.object == item.object;
    for intent in view.owned.intents.iter().filter(of_it) {
        page.pair("begun and not ended", format!("{} at {}", intent.op, intent.at));
    }
    page.section("Reservations");
    for (network, what) in &entry.reservations {
        page.row(vec![network.clone(), what.clone()]);
    }
}

/// How many objects of the node's are none of the fleet's.
fn foreign(view: &View<'_>, node: &crate::observe::NodeState) -> usize {
    let marked = |mark: Option<&crate::xml::Mark>| mark.is_some_and(|mark| mark.fleet == view.desired.fleet);
    let owned = |uuid| view.owned.entries.values().any(|entry| entry.libvirt_uuid == Some(uuid));
    let domains = node.domains.values().filter(|domain| !marked(domain.doc.mark.as_ref()) && !owned(domain.uuid)).count();
    let networks = node.networks.values().filter(|network| !marked(network.doc.mark.as_ref()) && !owned(network.uuid)).count();
    domains + networks + node.pools.values().filter(|pool| !owned(pool.uuid)).count()
}

/// A path as people write it.
pub(super) fn dotted(path: &str) -> String {
    path.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~")
}

pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.lines().count() > 1 => format!("({} lines)", text.lines().count()),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
