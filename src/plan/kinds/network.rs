//! Planning a Network.

use std::collections::BTreeMap;

use serde_json::json;

use crate::manifest::{Leaves, NetworkMode, NetworkSpec, Spec};
use crate::name::{MacAddr, Name};
use crate::observe::NetworkState;
use crate::plan::identity::Verdict;
use crate::plan::model::{Effect, FieldChange, RefusalKind, Shown, Verb};
use crate::plan::planner::{Draft, Planner, Row};
use crate::plan::plugs::orphaned;
use crate::plan::record::entry_of;
use crate::plan::suspension;
use crate::plan::{Expect, Lane, Op, Precondition, Record};
use crate::resolve::Wanted;
use crate::xml;

pub(in crate::plan) fn plan(p: &mut Planner<'_>, wanted: &Wanted) {
    let Spec::Network(spec) = &*wanted.spec else { return };
    let Some(state) = wanted.node.as_ref().and_then(|node| p.node(node)) else { return };
    let verdict = p.verdict_network(wanted, state);
    if p.refuse_foreign(wanted, "network", &verdict) {
        return;
    }
    match verdict {
        Verdict::Absent => create(p, wanted, spec),
        Verdict::Renamed { name, .. } if p.refuse_new_name(wanted, &name) => {}
        Verdict::Renamed { name, .. } => p.refuse(
            wanted,
            RefusalKind::Guard,
            format!("the network was renamed to `{name}` by hand"),
            &[format!("set `spec.libvirtName: {name}`, or define it under its old name again")],
        ),
        Verdict::Ours { other_writer, .. } => match state.networks.get(&wanted.libvirt_name) {
            Some(network) => super::network_update::update(p, wanted, spec, network, other_writer),
            None => p.ready(&wanted.object),
        },
        Verdict::Undefined { uuid } => {
            let Some(network) = state.networks.get(&wanted.libvirt_name) else { return };
            let other_writer = p.other_writer(network.doc.mark.as_ref());
            if p.refuse_writer(wanted, other_writer) {
                return;
            }
            let autostart = spec.autostart.unwrap_or(true);
            let (name, lane) = (wanted.libvirt_name.clone(), Lane::Object(format!("network/{}", wanted.libvirt_name)));
            let mut row = Row::new(wanted, Verb::Update, "its definition was removed by hand");
            row.fields = vec![super::virtual_machine::undefined()];
            row.drafts.push(defined_again(&name, uuid).unfinished());
            if autostart {
                row.drafts.push(autostarted(name, uuid, lane));
            }
            p.settle_as_known(&mut row);
            p.commit(row);
            // What else is to be done, as its stop, is done to what is defined then.
            let defined = NetworkState { persistent: true, autostart, ..network.clone() };
            super::network_update::update(p, wanted, spec, &defined, other_writer);
        }
        Verdict::Foreign { .. } | Verdict::Transient => {}
    }
}

/// Has a network of ours that runs without a definition keep what it runs with.
pub(in crate::plan) fn defined_again(name: &str, uuid: uuid::Uuid) -> Draft {
    let op = Op::NetworkPatch { name: name.to_owned(), patch: Box::default(), was: BTreeMap::new() };
    let there = Expect::Matches { uuid, leaves: Leaves::new(), disks: BTreeMap::new() };
    Draft::new(op, Lane::Object(format!("network/{name}"))).when(Precondition::Uuid(uuid)).expect(there)
}

/// Has a network of ours start with libvirt.
fn autostarted(name: String, uuid: uuid::Uuid, lane: Lane) -> Draft {
    let ours = Precondition::Uuid(uuid);
    Draft::new(Op::NetworkAutostart { name, on: true }, lane).when(ours).expect(Expect::Autostart(true))
}

/// The bridge that a network has where none is written.
pub(in crate::plan) fn bridge(wanted: &Wanted, spec: &NetworkSpec) -> String {
    spec.bridge.clone().unwrap_or_else(|| xml::network::bridge_default(wanted.uid))
}

/// A MAC derived from an identity: `52:` and 40 bits of SHA-256.
pub(in crate::plan) fn derived_mac(uid: crate::name::Uid, what: &str, node: Option<&Name>) -> MacAddr {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(uid.as_bytes());
    hash.update(what.as_bytes());
    if let Some(node) = node {
        hash.update(node.as_str().as_bytes());
    }
    let digest = hash.finalize();
    let mut octets = [0x52u8; 6];
    for (octet, byte) in octets.iter_mut().skip(1).zip(digest.iter()) {
        *octet = *byte;
    }
    MacAddr::new(octets)
}

fn create(p: &mut Planner<'_>, wanted: &Wanted, spec: &NetworkSpec) {
    if spec.mode.is_none() {
        return p.refuse_unmade(wanted, "mode");
    }
    let name = wanted.libvirt_name.clone();
    let lane = Lane::Object(format!("network/{name}"));
    let bridge = bridge(wanted, spec);
    if let Some(other) = wanted.node.as_ref().and_then(|node| p.node(node)).and_then(|state| {
        state
            .networks
            .values()
            .find(|network| spec.mode != Some(NetworkMode::Bridge) && network.doc.bridge.as_deref() == Some(bridge.as_str()))
    }) {
        let message = format!("its bridge `{bridge}` belongs to the network `{}` already", other.name);
        return p.refuse(wanted, RefusalKind::Guard, message, &["choose another `spec.bridge`".into()]);
    }
    if subnet_taken(p, wanted, spec) {
        return;
    }
    let mark = p.mark(wanted);
    let text = xml::network::render(&xml::network::NetworkWanted {
        name: &name,
        uuid: wanted.uid,
        mac: derived_mac(wanted.uid, "bridge", wanted.node.as_ref()),
        bridge: bridge.clone(),
        spec,
        mark: &mark,
    });
    let entry = entry_of(p, wanted, Some(wanted.uid)).into_owned();
    let mut row = Row::new(wanted, Verb::Create, "there is no such network");
    row.fields = wanted
        .now
        .iter()
        .filter(|(path, _)| !path.starts_with("/nodes"))
        .map(|(path, value)| FieldChange {
            path: path.clone(),
            old: None,
            new: Some(Shown::Value(crate::plan::diff::text(value))),
        })
        .collect();
    if spec.bridge.is_none() {
        row.fields.push(FieldChange { path: "/bridge".into(), old: None, new: Some(Shown::Value(bridge)) });
    }
    row.drafts.push(
        Draft::new(Op::NetworkDefine { name: name.clone(), xml: text }, lane.clone())
            .when(Precondition::Absent)
            .expect(Expect::Matches { uuid: wanted.uid, leaves: managed(wanted), disks: BTreeMap::new() })
            .record(Record::Put(Box::new(entry.clone()))),
    );
    if spec.running != Some(false) {
        let start = Draft::new(Op::NetworkStart { name: name.clone() }, lane.clone());
        row.drafts.push(start.when(Precondition::Uuid(wanted.uid)).expect(Expect::Active(true)));
        plug_in(p, wanted, &lane, &mut row);
    }
    if spec.autostart.unwrap_or(true) {
        row.drafts.push(autostarted(name, wanted.uid, lane));
    }
    if let Some(last) = row.drafts.last_mut() {
        last.record = Record::Settle(Box::new(entry));
    }
    p.commit(row);
}

/// Plugs in those who run on a network of that name which somebody took away beneath them.
fn plug_in(p: &mut Planner<'_>, wanted: &Wanted, lane: &Lane, row: &mut Row<'_>) {
    let Some(state) = wanted.node.as_ref().and_then(|node| p.node(node)) else { return };
    let resting = suspension::resting(p, wanted.node.as_ref());
    let (rest, left): (Vec<_>, Vec<_>) =
        orphaned(state, &wanted.libvirt_name).into_iter().partition(|domain| resting.contains_key(&domain.uuid));
    for object in rest.iter().filter_map(|domain| resting.get(&domain.uuid)) {
        let message = format!("{object} was cut off and is suspended: it is plugged in once it is resumed");
        p.note(&wanted.object, "Suspended", message);
    }
    if left.is_empty() {
        return;
    }
    row.reason = "there is no such network any more, and guests that hung on it run".into();
    row.effect = Effect::Live;
    row.fields.extend(left.iter().map(|domain| cut_off(&domain.name)));
    let resting = resting.into_keys().collect();
    let op = Op::NetworkReplug { name: wanted.libvirt_name.clone(), direct: false, resting, nics: Vec::new() };
    row.drafts.push(Draft::new(op, lane.clone()).when(Precondition::Uuid(wanted.uid)).expect(Expect::Plugged));
}

/// The field that stands for a guest's plug.
pub(super) fn cut_off(guest: &str) -> FieldChange {
    FieldChange {
        path: format!("/guests/{guest}"),
        old: Some(Shown::Value("cut off".into())),
        new: Some(Shown::Value("plugged in".into())),
    }
}

/// The authored leaves that a definition holds.
pub(super) fn managed(wanted: &Wanted) -> Leaves {
    crate::plan::definition_leaves(wanted, &["/autostart"])
}

/// The leaves of a network as the node has it.
pub(in crate::plan) fn observed(network: &NetworkState) -> Leaves {
    let mut leaves = crate::plan::leaves_of(crate::name::Kind::Network, &network.doc.spec);
    leaves.insert("/autostart".into(), json!(network.autostart));
    leaves
}

/// Whether a running network has one of the wanted subnets already: libvirt would define ours and not start it. True where it was
/// refused.
pub(super) fn subnet_taken(p: &mut Planner<'_>, wanted: &Wanted, spec: &NetworkSpec) -> bool {
    let Some(state) = wanted.node.as_ref().and_then(|node| p.node(node)) else { return false };
    let others = state.networks.values().filter(|other| other.name != wanted.libvirt_name);
    let clash = others.filter_map(|other| Some((other, other.live.as_ref()?))).find_map(|(other, live)| {
        let theirs = live.ips.iter().flatten().map(ipnet::IpNet::trunc);
        let ours = |net: &ipnet::IpNet| spec.ips.iter().any(|ip| ip.address.trunc() == *net);
        theirs.into_iter().find(ours).map(|net| (net, other.name.clone()))
    });
    let Some((net, other)) = clash else { return false };
    let message = format!("its subnet {net} is that of the network `{other}`, which runs");
    p.refuse(wanted, RefusalKind::Guard, message, &["choose another subnet, or stop that network".into()]);
    true
}

/// Whether another network has the bridge. True where it was refused.
pub(super) fn bridge_taken(p: &mut Planner<'_>, wanted: &Wanted, spec: &NetworkSpec) -> bool {
    let Some(state) = wanted.node.as_ref().and_then(|node| p.node(node)) else { return false };
    let Some(bridge) = spec.bridge.as_ref().filter(|_| spec.mode != Some(NetworkMode::Bridge)) else { return false };
    let other = state.networks.values().find(|other| {
        other.name != wanted.libvirt_name
            && [Some(&other.doc), other.live.as_ref()].into_iter().flatten().any(|doc| doc.bridge.as_ref() == Some(bridge))
    });
    let Some(other) = other else { return false };
    let message = format!("its bridge `{bridge}` belongs to the network `{}` already", other.name);
    p.refuse(wanted, RefusalKind::Guard, message, &["choose another `spec.bridge`".into()]);
    true
}
