//! Planning a VirtualMachine that is there, and deciding whether it is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::vm_address;
use super::vm_create;
use super::vm_power;
use crate::manifest::{OnChange, Spec, VirtualMachineSpec};
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::{DomainState, NodeView, PowerState};
use crate::plan::diff::compare;
use crate::plan::identity::Verdict;
use crate::plan::model::{Effect, FieldChange, RefusalKind, Shown, Verb};
use crate::plan::planner::{Draft, Planner, Row};
use crate::plan::record::entry_of;
use crate::plan::{Expect, Lane, Op, Precondition};
use crate::resolve::{Wanted, claim};

pub(in crate::plan) fn plan(p: &mut Planner<'_>, wanted: &Wanted) {
    let Spec::VirtualMachine(spec) = &wanted.spec else { return };
    let Some(node) = &wanted.node else { return };
    if elsewhere(p, wanted, node) {
        return;
    }
    let Some(state) = p.node(node) else { return };
    let verdict = p.verdict_domain(wanted, state);
    if p.refuse_foreign(wanted, "domain", &verdict) {
        return;
    }
    match verdict {
        Verdict::Absent => {
            if let Some(unseen) = unseen(p, wanted, node) {
                let message = format!("it may stand on Node/{unseen}, which is out of reach: it is not made a second time");
                return p.refuse(
                    wanted,
                    RefusalKind::Unreachable,
                    message,
                    &[format!("bring Node/{unseen} back, or `jvp node forget {unseen}` if it is gone for good")],
                );
            }
            vm_create::create(p, wanted, spec, node);
        }
        Verdict::Ours { uuid, other_writer } => {
            if let Some(domain) = state.domains.values().find(|domain| domain.uuid == uuid) {
                update(p, wanted, spec, node, domain, other_writer);
            }
        }
        Verdict::Renamed { uuid, name } => {
            let Some(domain) = state.domains.values().find(|domain| domain.uuid == uuid) else { return };
            if domain.state != PowerState::Off {
                p.note(
                    &wanted.object,
                    "Renamed",
                    format!("it was renamed to `{name}` by hand; it is renamed back once it is off"),
                );
                return p.ready(&wanted.object);
            }
            let mut row = Row::new(wanted, Verb::Update, "it was renamed by hand");
            row.fields = vec![FieldChange {
                path: "/libvirtName".into(),
                old: Some(Shown::Value(name.clone())),
                new: Some(Shown::Value(wanted.libvirt_name.clone())),
            }];
            row.drafts.push(
                Draft::new(Op::DomainRename { name, uuid, to: wanted.libvirt_name.clone() }, lane(wanted))
                    .when(Precondition::Domain { uuid, running: false })
                    .expect(Expect::Matches { uuid, leaves: BTreeMap::new(), disks: BTreeMap::new() }),
            );
            p.commit(row);
        }
        Verdict::Foreign { .. } | Verdict::Transient => {}
    }
}

pub(super) fn lane(wanted: &Wanted) -> Lane {
    Lane::Object(format!("domain/{}", wanted.libvirt_name))
}

/// Whether a domain of ours with this uid stands on another node. Then nothing is done.
fn elsewhere(p: &mut Planner<'_>, wanted: &Wanted, node: &Name) -> bool {
    let other = p.observed.nodes.iter().find_map(|(name, view)| {
        let NodeView::Reached(state) = view else { return None };
        let there = name != node
            && state.domains.values().any(|domain| {
                domain.doc.mark.as_ref().is_some_and(|mark| mark.uid == wanted.uid && mark.fleet == p.desired.fleet)
            });
        there.then(|| name.clone())
    });
    if let Some(other) = &other {
        p.note(&wanted.object, "Elsewhere", format!("it stands on Node/{other}, not on Node/{node}: nothing is done"));
        p.standing.insert(wanted.object.clone(), crate::plan::planner::Standing::Blocked);
        return true;
    }
    let moved = p.entry(&wanted.object).and_then(|entry| entry.node.clone()).filter(|was| was != node);
    if let Some(was) = moved {
        let message = format!("it stands on Node/{was}; moving it to Node/{node} needs migration, which is not there yet");
        p.refuse(wanted, RefusalKind::Guard, message, &[format!("set `spec.node: {was}`")]);
        return true;
    }
    false
}

/// A node that may have it and can't be asked.
fn unseen(p: &Planner<'_>, wanted: &Wanted, node: &Name) -> Option<Name> {
    let was = p.entry(&wanted.object).and_then(|entry| entry.node.clone());
    p.observed.nodes.iter().find_map(|(name, view)| {
        let NodeView::Unreachable { .. } = view else { return None };
        let never_seen = !p.owned.nodes.contains_key(name);
        (name != node && (was.as_ref() == Some(name) || never_seen)).then(|| name.clone())
    })
}

/// The object that a VM's disk means: a Volume, its claim, or a Template.
pub(super) fn disk_object(wanted: &Wanted, disk: &crate::manifest::Disk, node: &Name) -> Option<ObjectRef> {
    if let Some(volume) = &disk.volume {
        return Some(ObjectRef::new(Kind::Volume, volume.clone()));
    }
    if disk.claim.is_some() {
        return claim(&wanted.object.name, disk.name.as_str());
    }
    disk.image.as_ref().map(|image| ObjectRef::on(Kind::Template, image.clone(), node))
}

/// The reference of a VM's seed volume.
pub(in crate::plan) fn seed_object(vm: &Name, digest: &str) -> Option<ObjectRef> {
    let short: String = digest.chars().take(8).collect();
    format!("{vm}.seed-{short}").parse().ok().map(|name| ObjectRef::new(Kind::Volume, name))
}

/// The path that a disk should have, where it can be said.
fn wanted_path(p: &Planner<'_>, object: &ObjectRef, node: &Name) -> Option<String> {
    match object.kind {
        Kind::Template => p.entry_planned(object)?.template.as_ref().map(|template| template.path.clone()),
        _ => p.volume_at(object, node).map(|(at, ..)| at.path),
    }
}

/// The leaves of a VM as the node has it, with references instead of paths where they are what is wanted.
fn observed(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    node: &Name,
    domain: &DomainState,
) -> BTreeMap<String, Value> {
    let mut leaves = crate::plan::leaves_of(&Spec::VirtualMachine(Box::new(domain.doc.spec.clone())));
    leaves.insert("/autostart".into(), json!(domain.autostart));
    leaves.remove("/node");
    for disk in &spec.disks {
        let Some(doc) = domain.doc.disks.iter().find(|doc| doc.key.as_ref() == Some(&disk.name)) else { continue };
        let Some(object) = disk_object(wanted, disk, node) else { continue };
        let field = if object.kind == Kind::Template { "image" } else { "volume" };
        let path = format!("/disks/{}/{field}", disk.name);
        let Some(source) = doc.source.as_deref() else { continue };
        let should = wanted_path(p, &object, node);
        if should.as_deref() == Some(source) || (should.is_none() && object.kind == Kind::Template) {
            leaves.insert(path, json!(object.name));
        } else if should.as_deref().is_some_and(|should| doc.chain.iter().any(|below| below == should)) {
            p.note(&wanted.object, "BehindSnapshot", format!("its disk {} is on an overlay of {object}: {source}", disk.name));
            leaves.insert(path, json!(object.name));
        } else {
            leaves.insert(path, json!(source));
        }
    }
    for interface in &spec.interfaces {
        let Some(network) = &interface.network else { continue };
        let doc = domain.doc.interfaces.iter().find(|doc| doc.key.as_ref() == Some(&interface.name));
        let Some(doc) = doc else { continue };
        let should = p.libvirt_name(Kind::Network, network, node);
        let is = doc.network.clone().or_else(|| doc.bridge.clone()).unwrap_or_default();
        let value = if is == should { json!(network) } else { json!(is) };
        leaves.insert(format!("/interfaces/{}/network", interface.name), value);
    }
    if leaves.keys().any(|path| path.starts_with("/console/vnc/")) && wanted.now.contains_key("/console/vnc") {
        leaves.insert("/console/vnc".into(), wanted.now.get("/console/vnc").cloned().unwrap_or_default());
    }
    leaves
}

/// What a disk's claim means in leaves: its source, which is no leaf of the manifest.
fn with_claims(wanted: &Wanted, spec: &VirtualMachineSpec) -> BTreeMap<String, Value> {
    let mut now = wanted.now.clone();
    for disk in spec.disks.iter().filter(|disk| disk.claim.is_some()) {
        if let Some(object) = claim(&wanted.object.name, disk.name.as_str()) {
            now.insert(format!("/disks/{}/volume", disk.name), json!(object.name));
        }
    }
    now
}

fn update(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    node: &Name,
    domain: &DomainState,
    other_writer: Option<uuid::Uuid>,
) {
    for (path, object) in wanted.references.iter().map(|r| (r.path.as_str(), &r.object)) {
        if path.starts_with("/disks/") && p.standing_of(object) == Err(crate::plan::planner::Hold::Blocked(object.clone())) {
            return p.block(wanted, object);
        }
    }
    let mark = domain.doc.mark.as_ref();
    let entry = p.entry(&wanted.object).cloned();
    let last = entry.as_ref().map(|entry| entry.last.clone()).or_else(|| mark.map(|mark| mark.paths.clone())).unwrap_or_default();
    let is = observed(p, wanted, spec, node, domain);
    let mut now = with_claims(wanted, spec);
    if p.unfinished(wanted) {
        now.entry("/autostart".into()).or_insert_with(|| json!(vm_create::autostart(spec)));
    }
    let mut found = compare(Kind::VirtualMachine, &now, &last, &is);
    found.changed.retain(|(_, difference)| !is_created_later(p, wanted, &difference.path));
    if p.refuse_later(wanted, &found) {
        return;
    }
    if conduct(p, wanted, spec, domain, entry.as_ref()) {
        return;
    }
    notes(p, wanted, domain);

    let mut row = Row::new(wanted, Verb::Update, "it differs from the manifest");
    row.fields = found.shown();
    row.fields.extend(p.inventory_changes(wanted));
    if domain.live.is_some() && !found.changed.is_empty() {
        row.effect = Effect::Live;
    }
    for (path, object) in wanted.references.iter().map(|r| (r.path.clone(), r.object.clone())) {
        if path.starts_with("/disks/")
            && let Ok(ids) = p.standing_of(&object)
        {
            row.needs.extend(ids);
        }
    }
    let uuid = domain.uuid;
    let name = domain.name.clone();
    let ours = Precondition::Domain { uuid, running: domain.state != PowerState::Off };
    let text = |path: &str| {
        found
            .changed
            .iter()
            .find(|(field, _)| field.path == path)
            .map(|(_, difference)| difference.new.as_ref().and_then(Value::as_str).map(str::to_owned))
    };
    let (title, description) = (text("/title"), text("/description"));
    if title.is_some() || description.is_some() {
        let mut mark = domain.doc.mark.clone().unwrap_or_else(|| p.mark(wanted));
        mark.paths = wanted.now.keys().cloned().collect();
        mark.writer = p.policy.writer;
        let leaves = [("/title", &title), ("/description", &description)]
            .into_iter()
            .filter_map(|(path, value)| value.as_ref()?.as_ref().map(|text| (path.to_owned(), json!(text))))
            .collect();
        row.drafts.push(
            Draft::new(
                Op::DomainMetadata {
                    name: name.clone(),
                    uuid,
                    title,
                    description,
                    mark: Some(mark.to_xml()),
                    live: domain.live.is_some(),
                },
                lane(wanted),
            )
            .when(ours.clone())
            .expect(Expect::Matches { uuid, leaves, disks: BTreeMap::new() }),
        );
    }
    if found.changed.iter().any(|(field, _)| field.path == "/autostart") {
        let on = vm_create::autostart(spec);
        row.drafts
            .push(Draft::new(Op::DomainAutostart { name, uuid, on }, lane(wanted)).when(ours).expect(Expect::Autostart(on)));
    }
    let reservations = vm_address::reservations(p, wanted, spec, node, Some(domain));
    row.fields.extend(reservations.fields);
    row.drafts.extend(reservations.drafts);
    let mut settled = entry_of(p, wanted, Some(uuid));
    settled.reservations = reservations.settled;
    settled.seed_digest =
        entry.as_ref().and_then(|entry| entry.seed_digest.clone()).or_else(|| mark.and_then(|mark| mark.seed.clone()));
    settled.fragment_digest =
        entry.as_ref().and_then(|entry| entry.fragment_digest.clone()).or_else(|| mark.and_then(|mark| mark.fragment.clone()));

    if let Some(power) = vm_power::by_strategy(p, wanted, spec, domain) {
        if row.fields.is_empty() {
            row.verb = power.verb;
            row.reason = power.reason;
        } else {
            row.reason = format!("it differs from the manifest, and {}", power.reason);
        }
        row.effect = power.effect;
        row.drafts.extend(power.drafts);
    } else if row.fields.is_empty() {
        p.ready(&wanted.object);
        p.made.insert(wanted.object.clone(), settled);
        return;
    }
    if p.refuse_writer(wanted, other_writer) {
        return;
    }
    row.settle(settled);
    p.commit(row);
}

/// A difference that is none: the disk's volume is being made again under the same path.
fn is_created_later(p: &Planner<'_>, wanted: &Wanted, path: &str) -> bool {
    let Some(reference) = wanted.reference(path) else { return false };
    matches!(p.standing.get(reference), Some(crate::plan::planner::Standing::Deferred))
}

/// Conduct that is fixed at creation: cloud-init, the fragment, the VNC password. True where a change is refused.
fn conduct(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    domain: &DomainState,
    entry: Option<&crate::plan::Entry>,
) -> bool {
    let mark = domain.doc.mark.as_ref();
    if let Some(cloud_init) = &spec.cloud_init
        && let Ok(seed) = vm_create::seed(p, wanted, cloud_init)
    {
        let was = entry.and_then(|entry| entry.seed_digest.clone()).or_else(|| mark.and_then(|mark| mark.seed.clone()));
        if was.as_deref() != Some(seed.digest.as_str()) {
            match cloud_init.on_change.unwrap_or(OnChange::Ignore) {
                OnChange::Ignore => p.note(
                    &wanted.object,
                    "CloudInitStale",
                    "what the manifest tells cloud-init differs from what the VM was made with (onChange: Ignore)",
                ),
                OnChange::NextStart | OnChange::Rebuild => {
                    p.refuse(
                        wanted,
                        RefusalKind::Guard,
                        "/cloudInit: giving an existing VM a new seed comes with a later version",
                        &["set `onChange: Ignore`, or put the old values back".into()],
                    );
                    return true;
                }
            }
        }
    }
    let fragment = spec.xml.as_deref().map(vm_create::fragment_digest);
    let was = entry.and_then(|entry| entry.fragment_digest.clone()).or_else(|| mark.and_then(|mark| mark.fragment.clone()));
    if fragment != was {
        p.refuse(
            wanted,
            RefusalKind::Guard,
            "/xml: changing the fragment of an existing VM comes with a later version",
            &["put the old fragment back".into()],
        );
        return true;
    }
    let secret = p.sources.secrets.get(&(wanted.object.clone(), vm_create::PASSWORD.to_owned()));
    let was = entry.and_then(|entry| entry.secrets.get(vm_create::PASSWORD));
    if let (Some(new), Some(old)) = (secret, was)
        && new.mac != old.mac
    {
        p.refuse(
            wanted,
            RefusalKind::Guard,
            "/console/vnc/password: changing it on an existing VM comes with a later version",
            &["put the old password back".into()],
        );
        return true;
    }
    false
}

fn notes(p: &mut Planner<'_>, wanted: &Wanted, domain: &DomainState) {
    if domain.live.is_some() && !domain.pending.is_empty() {
        let fields: Vec<_> = domain.pending.iter().cloned().collect();
        p.note(
            &wanted.object,
            "RestartRequired",
            format!("it runs with other values than its definition: {}", fields.join(", ")),
        );
    }
    if domain.managed_save {
        p.note(&wanted.object, "SavedState", "its next start restores a saved state with the configuration of that time");
    }
    match domain.state {
        PowerState::Paused => p.note(&wanted.object, "Paused", "it is paused; nothing is done about it"),
        PowerState::Suspended => p.note(&wanted.object, "Asleep", "its guest is asleep; nothing is done about it"),
        PowerState::Crashed => p.note(&wanted.object, "Crashed", "its guest crashed and is kept; nothing is done about it"),
        PowerState::Running | PowerState::ShuttingDown | PowerState::Off => {}
    }
}
