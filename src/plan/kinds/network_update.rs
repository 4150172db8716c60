//! Planning a Network that is there: what is changed live, what only by its restart, and who is plugged in again afterwards.
//!
//! The definition and what runs are two documents that anybody may have changed, so each is compared with what is wanted. An entry of
//! DHCP or DNS is changed where it differs, without touching a guest's link. All else needs the bridge down.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::network::{bridge_taken, cut_off, managed, observed, subnet_taken};
use super::network_entries::{self as entries};
use crate::manifest::{Leaves, Management, NetworkDns, NetworkIp, NetworkMode, NetworkSpec, Spec, escape};
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::NetworkState;
use crate::plan::diff::{Difference, Differences, compare};
use crate::plan::display::field_line;
use crate::plan::fields::{Field, When};
use crate::plan::model::{Effect, FieldChange, RefusalKind, Shown, Verb};
use crate::plan::planner::{Draft, Planner, Row, Standing};
use crate::plan::policy::given;
use crate::plan::record::entry_of;
use crate::plan::suspension;
use crate::plan::{Expect, Lane, Mode, NetworkExpect, Op, Precondition, Side, running_guests, unplugged};
use crate::resolve::Wanted;
use crate::xml;
use crate::xml::Mark;
use crate::xml::network::NetworkPatch;

/// What differs in a network's two documents.
struct Found {
    /// In its definition.
    definition: Differences,
    /// In what runs.
    live: Differences,
}

impl Found {
    /// The leaves of both that take effect so.
    fn of(&self, when: When) -> impl Iterator<Item = &(&'static Field, Difference)> {
        self.definition.changed.iter().chain(&self.live.changed).filter(move |(row, _)| row.when == when)
    }

    fn defines(&self, when: When) -> bool {
        self.definition.changed.iter().any(|(row, _)| row.when == when)
    }
}

pub(super) fn update(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &NetworkSpec,
    network: &NetworkState,
    other_writer: Option<uuid::Uuid>,
) {
    let Some(state) = wanted.node.as_ref().and_then(|node| p.node(node)) else { return };
    let found = compared(p, wanted, network);
    if p.refuse_never(wanted, &found.definition) {
        return;
    }
    let guests = if network.active { running_guests(state, &network.name) } else { BTreeSet::new() };
    let off = spec.running == Some(false);
    // Whoever hangs on the bridge itself by its own definition is plugged in by the restart's last step; nothing else tells that it
    // wasn't.
    let broken_off = p.restarting(&wanted.object);
    let left = if off { Vec::new() } else { unplugged(state, &network.name, broken_off) };
    let resting = suspension::resting(p, wanted.node.as_ref());
    let (rest, left): (Vec<_>, Vec<_>) = left.into_iter().partition(|nic| resting.contains_key(&nic.uuid));
    for object in rest.iter().filter_map(|nic| resting.get(&nic.uuid)) {
        let message = format!("{object} was cut off and is suspended: it is plugged in once it is resumed");
        p.note(&wanted.object, "Suspended", message);
    }
    // What runs as it is wanted isn't restarted for its definition's sake, nor what is not to run at all.
    let mut restart = !off && found.live.changed.iter().any(|(row, _)| row.when == When::Disconnect);
    if restart && !guests.is_empty() && !given(&p.policy.consents.allow_disconnect, &wanted.object) {
        if found.defines(When::Disconnect) {
            return refuse_restart(p, wanted, &found, &guests);
        }
        note_pending(p, wanted, &found, &guests);
        restart = false;
    }
    let of = |name: &String| resting.get(&state.domains.get(name)?.uuid);
    let suspended: Vec<String> = guests.iter().filter_map(of).map(ToString::to_string).collect();
    if !suspended.is_empty() && (restart || (off && network.active)) {
        return refuse_suspended(p, wanted, &suspended);
    }
    if off && network.active {
        return stop(p, wanted, spec, network, &found, guests, other_writer);
    }
    let starts = restart || (!network.active && !off);
    if starts && (subnet_taken(p, wanted, spec) || bridge_taken(p, wanted, spec)) {
        return;
    }
    // Whom a restart by hand left behind is plugged in, whether there is another restart or not.
    let lost: BTreeSet<&str> = left.iter().map(|nic| nic.domain.as_str()).collect();
    let mut row = Row::new(wanted, Verb::Update, reason(network, spec, &found, restart, !guests.is_empty(), !lost.is_empty()));
    row.fields = shown(p, wanted, &found, restart, !network.active && !off);
    row.fields.extend(lost.iter().map(|name| cut_off(name)));
    if row.fields.is_empty() {
        return p.settled(wanted, Some(network.uuid));
    }
    if p.refuse_writer(wanted, other_writer) {
        return;
    }
    let lane = Lane::Object(format!("network/{}", network.name));
    let ours = Precondition::Uuid(network.uuid);
    let draft = |op: Op| Draft::new(op, lane.clone()).when(ours.clone());
    let name = network.name.clone();
    let mark = mark(p, wanted, network);
    // Entries alone are changed one by one, in both documents at once.
    let defined = (starts || !network.active) && found.definition.changed.iter().any(|(row, _)| row.path != "/autostart");
    let defined = defined || found.defines(When::Disconnect);
    if defined {
        row.drafts.push(define(wanted, spec, network, &found, mark.clone()));
    }
    if starts || !network.active {
        if restart {
            let guests = guests.clone();
            row.drafts.push(
                draft(Op::NetworkStop { name: name.clone() })
                    .restarting(true)
                    .when(Precondition::NetworkGuests { uuid: network.uuid, guests })
                    .expect(Expect::Active(false)),
            );
        }
        if starts {
            let expect = NetworkExpect { uuid: network.uuid, side: Side::Live, leaves: managed(wanted), gone: BTreeSet::new() };
            row.drafts.push(draft(Op::NetworkStart { name: name.clone() }).expect(Expect::Network(Box::new(expect))));
        }
    } else {
        let paths = found.of(When::Live).map(|(_, difference)| difference.path.as_str());
        let Ok(drafts) = entries::drafts(p, wanted, spec, network, paths, defined) else { return };
        let entries = !drafts.is_empty();
        // Whoever loses the ledger knows from the mark what is ours. It is written before the first entry, never alone, and names what
        // goes until the next write: a run that breaks off leaves nothing unnamed.
        let mut whole = mark;
        whole.paths.extend(last_paths(p, wanted, network));
        if entries && !defined && network.doc.mark.as_ref() != Some(&whole) {
            let patch = NetworkPatch { mark: Some(whole), ..NetworkPatch::default() };
            let op = Op::NetworkPatch { name: name.clone(), patch: Box::new(patch), was: BTreeMap::new() };
            row.drafts.push(draft(op).expect(Expect::Matches {
                uuid: network.uuid,
                leaves: Leaves::new(),
                disks: BTreeMap::new(),
            }));
        }
        row.drafts.extend(drafts);
        if entries || !lost.is_empty() {
            row.effect = Effect::Live;
        }
    }
    if !lost.is_empty() || (restart && !guests.is_empty()) {
        let direct = broken_off || (restart && !guests.is_empty());
        row.drafts.push(
            draft(Op::NetworkReplug { name: name.clone(), direct, resting: resting.into_keys().collect(), nics: Vec::new() })
                .expect(Expect::Plugged),
        );
    }
    if restart && !guests.is_empty() {
        row.effect = Effect::Disconnect(guests.into_iter().collect());
    }
    if found.definition.changed.iter().any(|(row, _)| row.path == "/autostart") {
        row.drafts.push(autostart(spec, network));
    }
    row.settle(entry_of(p, wanted, Some(network.uuid)));
    p.commit(row);
}

/// The definition as it is wanted, and nothing of what runs.
fn define(wanted: &Wanted, spec: &NetworkSpec, network: &NetworkState, found: &Found, mark: Mark) -> Draft {
    let patch = patch_of(wanted, spec, network, &found.definition, mark);
    let gone = patch.drop.iter().map(|path| path.trim_end_matches("/address").to_owned()).collect();
    let expect = NetworkExpect { uuid: network.uuid, side: Side::Definition, leaves: managed(wanted), gone };
    let op = Op::NetworkPatch { name: network.name.clone(), patch: Box::new(patch), was: was(wanted, network, found) };
    Draft::new(op, Lane::Object(format!("network/{}", network.name)))
        .when(Precondition::Uuid(network.uuid))
        .expect(Expect::Network(Box::new(expect)))
}

/// What libvirt starts together with itself.
fn autostart(spec: &NetworkSpec, network: &NetworkState) -> Draft {
    let on = spec.autostart.unwrap_or(true);
    Draft::new(Op::NetworkAutostart { name: network.name.clone(), on }, Lane::Object(format!("network/{}", network.name)))
        .when(Precondition::Uuid(network.uuid))
        .expect(Expect::Autostart(on))
}

/// Stops a network that is not to run.
fn stop(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &NetworkSpec,
    network: &NetworkState,
    found: &Found,
    guests: BTreeSet<String>,
    other_writer: Option<uuid::Uuid>,
) {
    if !guests.is_empty() && !given(&p.policy.consents.allow_disconnect, &wanted.object) {
        let names: Vec<&str> = guests.iter().map(String::as_str).collect();
        let message = format!("it is not to run, and {} would be cut off", names.join(", "));
        let help = format!("if they may be: --allow-disconnect {}", wanted.object);
        return p.refuse(wanted, RefusalKind::Guard, message, &[help]);
    }
    if p.refuse_writer(wanted, other_writer) {
        return;
    }
    let mut row = Row::new(wanted, Verb::Stop, "it is not to run");
    row.fields = vec![FieldChange {
        path: "/running".into(),
        old: Some(Shown::Value("true".into())),
        new: Some(Shown::Value("false".into())),
    }];
    row.effect = if guests.is_empty() { Effect::None } else { Effect::Disconnect(guests.iter().cloned().collect()) };
    let op = Op::NetworkStop { name: network.name.clone() };
    let precondition = Precondition::NetworkGuests { uuid: network.uuid, guests };
    row.drafts
        .push(Draft::new(op, Lane::Object(format!("network/{}", network.name))).when(precondition).expect(Expect::Active(false)));
    // Its definition as well, which nothing waits for.
    row.fields.extend(shown(p, wanted, found, false, false));
    if found.definition.changed.iter().any(|(row, _)| !matches!(row.path, "/autostart" | "/running")) {
        let mark = mark(p, wanted, network);
        row.drafts.push(define(wanted, spec, network, found, mark));
    }
    if found.definition.changed.iter().any(|(row, _)| row.path == "/autostart") {
        row.drafts.push(autostart(spec, network));
    }
    row.settle(entry_of(p, wanted, Some(network.uuid)));
    p.commit(row);
}

/// Compares what is wanted with the definition, and with what runs.
fn compared(p: &Planner<'_>, wanted: &Wanted, network: &NetworkState) -> Found {
    let last = last_paths(p, wanted, network);
    let mut now = (*wanted.now).clone();
    if p.unfinished(wanted) {
        now.entry("/autostart".into()).or_insert(json!(true));
    }
    let mut found = Found { definition: compare(Kind::Network, &now, &last, &observed(network)), live: Differences::default() };
    if let Some(live) = &network.live {
        now.remove("/autostart");
        let leaves = crate::plan::leaves_of(Kind::Network, &live.spec);
        let last = last.into_iter().filter(|path| path != "/autostart").collect();
        found.live = compare(Kind::Network, &now, &last, &leaves);
    }
    found
}

/// Why it is planned; `guests` hang on it, or were `left` behind by a restart.
fn reason(network: &NetworkState, spec: &NetworkSpec, found: &Found, restart: bool, guests: bool, left: bool) -> String {
    let differs = !found.definition.changed.is_empty();
    let what = match (differs, found.live.changed.is_empty()) {
        (true, _) => "it differs from the manifest",
        (false, false) => "what runs differs from the manifest",
        (false, true) if network.active && left => "a restart left guests behind",
        (false, true) if network.active || spec.running == Some(false) => return "the manifest changed".into(),
        (false, true) => return "it is stopped".into(),
    };
    match (restart, guests || left, network.active) {
        (true, true, _) => format!("{what}; it is stopped and started, and its guests are plugged in again"),
        (true, false, _) => format!("{what}; it is stopped and started, and no guest hangs on it"),
        (false, _, false) => format!("{what}, and it is stopped"),
        (false, ..) => what.into(),
    }
}

/// The fields that change, those of what runs alone after those of the definition.
fn shown(p: &Planner<'_>, wanted: &Wanted, found: &Found, restart: bool, starts: bool) -> Vec<FieldChange> {
    let mut fields = found.definition.shown();
    let only_live = found.live.changed.iter().filter(|(row, difference)| {
        let known = found.definition.changed.iter().any(|(_, other)| other.path == difference.path);
        !known && (restart || row.when != When::Disconnect)
    });
    fields.extend(only_live.map(|(row, difference)| crate::plan::diff::shown(row, difference)));
    fields.extend(p.inventory_changes(wanted));
    if starts {
        fields.push(FieldChange {
            path: "/running".into(),
            old: Some(Shown::Value("false".into())),
            new: Some(Shown::Value("true".into())),
        });
    }
    fields
}

/// Nothing is done to a suspended VM, and cutting it off is something; `--allow-disconnect` is no word about that.
fn refuse_suspended(p: &mut Planner<'_>, wanted: &Wanted, suspended: &[String]) {
    let names = suspended.join(", ");
    let help =
        [format!("if they may be cut off: jvp resume {}", suspended.join(" ")), "or put the network's old values back".into()];
    p.refuse(
        wanted,
        RefusalKind::Guard,
        format!("it would have to be stopped, and that cuts off what is suspended: {names}"),
        &help,
    );
}

fn refuse_restart(p: &mut Planner<'_>, wanted: &Wanted, found: &Found, guests: &BTreeSet<String>) {
    let lines: BTreeSet<String> =
        found.of(When::Disconnect).map(|(row, difference)| field_line(&crate::plan::diff::shown(row, difference))).collect();
    let names: Vec<&str> = guests.iter().map(String::as_str).collect();
    p.refuse(
        wanted,
        RefusalKind::Guard,
        format!(
            "it has to be stopped and started for {}; that cuts off {} until it runs again",
            lines.into_iter().collect::<Vec<_>>().join("; "),
            names.join(", ")
        ),
        &[
            format!("if that may be: --allow-disconnect {}; they are plugged in again afterwards", wanted.object),
            "or stop these guests first, or put the old values back".into(),
        ],
    );
}

/// Its definition is as wanted, and what runs is not: nothing is to be written, and the restart is not ours to choose.
fn note_pending(p: &mut Planner<'_>, wanted: &Wanted, found: &Found, guests: &BTreeSet<String>) {
    let paths: BTreeSet<&str> = found.of(When::Disconnect).map(|(_, difference)| difference.path.as_str()).collect();
    let names: Vec<&str> = guests.iter().map(String::as_str).collect();
    p.note(
        &wanted.object,
        "RestartRequired",
        format!(
            "it runs with other values than its definition: {}; its restart cuts off {}: --allow-disconnect {}",
            paths.into_iter().collect::<Vec<_>>().join(", "),
            names.join(", "),
            wanted.object
        ),
    );
}

fn mark(p: &Planner<'_>, wanted: &Wanted, network: &NetworkState) -> Mark {
    let created = network.doc.mark.as_ref().and_then(|mark| mark.created.clone());
    Mark { created, ..p.mark(wanted) }
}

/// The managed leaves as the definition has them.
fn was(wanted: &Wanted, network: &NetworkState, found: &Found) -> BTreeMap<String, Option<Value>> {
    let leaves = crate::plan::leaves_of(Kind::Network, &network.doc.spec);
    let mut paths: BTreeSet<String> = managed(wanted).keys().cloned().collect();
    paths.extend(found.definition.changed.iter().map(|(_, difference)| difference.path.clone()));
    paths.remove("/autostart");
    paths.into_iter().map(|path| (path.clone(), leaves.get(&path).cloned())).collect()
}

/// The network's definition with a patch in it, where its managed leaves are still as they were.
///
/// # Errors
/// What moved, or what can't be read.
pub fn patched_network(
    network: &NetworkState,
    patch: &NetworkPatch,
    was: &BTreeMap<String, Option<Value>>,
) -> Result<String, String> {
    let leaves = crate::plan::leaves_of(Kind::Network, &network.doc.spec);
    if let Some((path, before)) = was.iter().find(|(path, before)| leaves.get(*path) != before.as_ref()) {
        let word = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), crate::plan::diff::text);
        return Err(format!(
            "its {path} was {} when the plan was made, and is {}",
            word(before.as_ref()),
            word(leaves.get(path))
        ));
    }
    xml::network::patch(&network.inactive_xml.text(), patch).map_err(|error| error.to_string())
}

/// The addresses of a network's document in their order, as they are once this plan is done: the place of one is
/// `virNetworkUpdate`'s index.
pub(super) fn subnets_after(p: &Planner<'_>, node: &Name, network: &Name) -> Vec<Option<ipnet::IpNet>> {
    let object = ObjectRef::on(Kind::Network, network.clone(), node);
    let wanted = p.desired.objects.get(&object);
    let spec = wanted.and_then(|wanted| match &*wanted.spec {
        Spec::Network(spec) => Some(spec),
        _ => None,
    });
    let ours = |spec: &NetworkSpec| spec.ips.iter().map(|ip| Some(ip.address)).collect::<Vec<_>>();
    let Some(state) = p.network(network, node) else { return spec.map(ours).unwrap_or_default() };
    let (Some(wanted), Some(spec)) = (wanted.filter(|wanted| is_changed(p, wanted)), spec) else {
        return state.doc.ips.clone();
    };
    let last = last_paths(p, wanted, state);
    let stays = |net: &Option<ipnet::IpNet>| {
        net.is_none_or(|net| {
            let path = format!("/ips/{}/address", escape(&net.to_string()));
            spec.ips.iter().any(|ip| ip.address == net) || !last.contains(&path)
        })
    };
    let mut all: Vec<Option<ipnet::IpNet>> = state.doc.ips.iter().copied().filter(stays).collect();
    all.extend(ours(spec).into_iter().filter(|net| !state.doc.ips.contains(net)));
    all
}

/// Whether this plan may change a network that is there: one that is only looked at, that is no target, or that is as it is wanted stays
/// as it is, and so do all of them in a delete.
fn is_changed(p: &Planner<'_>, wanted: &Wanted) -> bool {
    if !matches!(p.policy.mode, Mode::Apply) || wanted.lifecycle.management() != Management::Full {
        return false;
    }
    match p.standing.get(&wanted.object) {
        Some(Standing::Ready(actions)) => !actions.is_empty(),
        Some(_) => false,
        // Its turn comes after.
        None => p.policy.targets.is_none(),
    }
}

/// The leaves of the last verified apply.
fn last_paths(p: &Planner<'_>, wanted: &Wanted, network: &NetworkState) -> BTreeSet<String> {
    let mark = network.doc.mark.as_ref();
    let entry = p.entry(&wanted.object).map(|entry| entry.last.clone());
    entry.or_else(|| mark.map(|mark| mark.paths.clone())).unwrap_or_default()
}

/// What changes the definition: the leaves that differ, as they are wanted.
fn patch_of(wanted: &Wanted, spec: &NetworkSpec, network: &NetworkState, found: &Differences, mark: Mark) -> NetworkPatch {
    let changed: BTreeMap<&str, &Difference> = found.changed.iter().map(|(_, d)| (d.path.as_str(), d)).collect();
    let sets = |path: &str| changed.get(path).is_some_and(|difference| difference.new.is_some());
    let mut set = NetworkSpec {
        mode: spec.mode.filter(|_| sets("/mode")),
        bridge: spec.bridge.clone().filter(|_| sets("/bridge")),
        domain: spec.domain.clone().filter(|_| sets("/domain")),
        mtu: spec.mtu.filter(|_| sets("/mtu")),
        ..NetworkSpec::default()
    };
    if sets("/mode") && network.doc.spec.mode == Some(NetworkMode::Bridge) && spec.bridge.is_none() {
        // The bridge that it has is the host's own.
        set.bridge = Some(xml::network::bridge_default(wanted.uid));
    }
    let prefixes: BTreeSet<String> =
        changed.values().filter(|d| d.new.is_some()).filter_map(|d| entries::prefix(&d.path)).collect();
    for ip in &spec.ips {
        let key = format!("/ips/{}", escape(&ip.address.to_string()));
        if sets(&format!("{key}/address")) {
            set.ips.push(ip.clone());
            continue;
        }
        let here = prefixes.iter().filter(|prefix| prefix.starts_with(&format!("{key}/")));
        let items: Vec<entries::Entry> =
            here.filter_map(|prefix| entries::wanted(wanted, spec, &network.doc.spec, prefix)).collect();
        if !items.is_empty() {
            let mut dhcp = crate::manifest::Dhcp::default();
            for item in items {
                match item {
                    entries::Entry::Range(range) => dhcp.ranges.push(range),
                    entries::Entry::Host(host) => dhcp.hosts.push(host),
                    entries::Entry::Dns(_) => {}
                }
            }
            set.ips.push(NetworkIp { address: ip.address, dhcp: Some(dhcp) });
        }
    }
    let mut dns = NetworkDns::default();
    if sets("/dns/forwarders") {
        dns.forwarders = spec.dns.as_ref().map(|dns| dns.forwarders.clone()).unwrap_or_default();
    }
    for prefix in prefixes.iter().filter(|prefix| prefix.starts_with("/dns/hosts/")) {
        if let Some(entries::Entry::Dns(host)) = entries::wanted(wanted, spec, &network.doc.spec, prefix) {
            dns.hosts.push(host);
        }
    }
    set.dns = (dns != NetworkDns::default()).then_some(dns);
    carry(network, found, &mut set);
    let drop = changed.values().filter(|d| d.new.is_none() && d.path != "/autostart").map(|d| d.path.clone()).collect();
    NetworkPatch { set, drop, mark: Some(mark) }
}

/// Where an address goes and another comes in whose subnet the same guests are, what was never ours goes along: addresses that VMs
/// have kept for them, and what others entered.
fn carry(network: &NetworkState, found: &Differences, set: &mut NetworkSpec) {
    let gone = |path: &str| found.changed.iter().any(|(_, d)| d.path == path && d.new.is_none());
    for old in &network.doc.spec.ips {
        let key = format!("/ips/{}", escape(&old.address.to_string()));
        if !gone(&format!("{key}/address")) {
            continue;
        }
        let Some(dhcp) = &old.dhcp else { continue };
        for host in &dhcp.hosts {
            let id = host.mac.map(|mac| mac.to_string()).or_else(|| host.name.clone()).unwrap_or_else(|| host.ip.to_string());
            let ours = gone(&format!("{key}/dhcp/hosts/{}/ip", escape(&id)));
            let Some(new) = set.ips.iter_mut().find(|new| new.address.contains(&host.ip) && new.address.addr() != host.ip) else {
                continue;
            };
            let hosts = &mut new.dhcp.get_or_insert_default().hosts;
            let known = hosts.iter().any(|other| other.ip == host.ip || (host.mac.is_some() && other.mac == host.mac));
            if !ours && !known {
                hosts.push(host.clone());
            }
        }
        for range in &dhcp.ranges {
            let ours = gone(&format!("{key}/dhcp/ranges/{}-{}/start", range.start, range.end));
            let inside = |new: &&mut NetworkIp| new.address.contains(&range.start) && new.address.contains(&range.end);
            if let Some(new) = set.ips.iter_mut().find(inside).filter(|_| !ours) {
                let ranges = &mut new.dhcp.get_or_insert_default().ranges;
                if !ranges.contains(range) {
                    ranges.push(range.clone());
                }
            }
        }
    }
}
