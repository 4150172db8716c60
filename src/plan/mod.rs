//! The planner: what is to be done so that what is becomes what is wanted. Pure and synchronous.
//!
//! There is no I/O, clock, randomness, environment or async in this room. The same inputs, in any order, give the same plan.

mod action;
mod condition;
mod delete;
mod delete_file;
mod diff;
mod display;
pub mod explain;
mod fields;
mod identity;
mod index;
mod inventory;
mod kinds;
mod lifecycle;
mod lookup;
mod made;
mod model;
mod owned;
mod parts;
mod planner;
mod plugs;
mod policy;
mod prune;
mod record;
pub mod schema;
mod sources;
mod suspension;
#[cfg(test)]
mod tests;
mod undo;
mod usage;
mod verify;
#[cfg(test)]
mod verify_tests;

use std::collections::{BTreeMap, BTreeSet};

pub use action::{Action, ActionId, Begins, Edit, Lane, Op, Plug, Record, Replug, Section, SeedBytes, Side, UploadSource};
pub use condition::{DomainExpect, Expect, Fields, NetworkExpect, Precondition};
pub use display::{render, summary};
pub use fields::{Change as FieldSupport, Class, FIELDS, Field, OnRemoval, When, field};
pub use inventory::complete;
pub use kinds::patched_network;
pub use model::{Change, Data, Deferred, Effect, FieldChange, Note, Plan, Refusal, RefusalKind, Shown, Unreachable, Verb};
pub use owned::{Accepted, Entry, Intent, NodeRecord, Owned, SecretRef, Suspension, TemplateRecord, VolumeRecord, reservations};
pub use parts::Part;
pub use planner::{fingerprint, libvirt_name};
pub use plugs::{running_guests, unplugged};
pub use policy::{Consents, MaxDeletes, Mode, Policy, PowerAct};
pub use sources::{ImageFacts, Sources};
pub use usage::{pool_users, running_disks, running_users, users};
pub use verify::{domain_leaves, fields_moved, life_moved, verify};

use crate::manifest::{Leaves, Management};
use crate::name::{Kind, ObjectRef};
use crate::observe::{NodeState, NodeView, Observed};
use crate::resolve::{Desired, Wanted};
use planner::Planner;

/// The leaves of a spec: path → value.
pub(crate) fn leaves_of(kind: Kind, spec: &impl serde::Serialize) -> Leaves {
    crate::manifest::path::leaves(kind, spec)
}

/// The authored leaves that stand in a definition, without those of conduct and without `but`.
fn definition_leaves(wanted: &Wanted, but: &[&str]) -> Leaves {
    wanted
        .now
        .iter()
        .filter(|(path, _)| {
            field(wanted.object.kind, path).is_some_and(|row| {
                matches!(row.class, Class::Managed | Class::Seed) && !but.contains(&row.path) && row.path != "/running"
            })
        })
        .map(|(path, value)| (path.clone(), value.clone()))
        .collect()
}

/// Plans.
///
/// `owned` is the inventory of `policy.fleet`, made whole by [`complete`].
pub fn plan(desired: &Desired, observed: &Observed, owned: &Owned, sources: &Sources, policy: &Policy) -> Plan {
    let prepared = lifecycle::prepare(desired, observed, owned, sources, policy);
    let lifecycle::Prepared { desired, mut observed, owned: shown, mut first, there, refused } = prepared;
    let desired: &Desired = &desired;
    let targets = policy.targets.as_ref().filter(|_| policy.mode == Mode::Apply).map(|targets| closure(desired, targets));
    let dropped = if policy.drops_states() {
        let p = Planner::new(desired, &observed, (&shown, owned), sources, policy);
        kinds::dropped(&p, targets.as_ref(), &refused)
    } else {
        BTreeSet::new()
    };
    if !dropped.is_empty() {
        kinds::show_dropped(observed.to_mut(), &dropped);
    }
    let mut p = Planner::new(desired, &observed, (&shown, owned), sources, policy);
    nodes(&mut p);
    match &policy.mode {
        Mode::Apply => {
            let part = policy.partial.then(|| desired.objects.keys().cloned().collect());
            // What is adopted is taken as it is.
            p.plan.judged = if policy.adopt.is_empty() { targets.clone().or(part) } else { Some(BTreeSet::new()) };
            if policy.adopt.is_empty() {
                for wanted in dropped.iter().filter_map(|(vm, ..)| desired.objects.get(vm)) {
                    if !out_of_reach(&mut p, wanted) && lifecycle::begin(&mut p, wanted, &mut first, &refused) {
                        kinds::drop_state(&mut p, wanted);
                    }
                }
                kinds::find_rebuilds(&mut p, targets.as_ref());
                // They are stopped before their own turn, for their volumes, and what comes first for them comes before that.
                let rebuilt: Vec<ObjectRef> = p.rebuilds.keys().filter(|vm| !refused.contains_key(*vm)).cloned().collect();
                for wanted in rebuilt.iter().filter_map(|vm| desired.objects.get(vm)) {
                    lifecycle::begin(&mut p, wanted, &mut first, &refused);
                }
            }
            for object in &desired.order {
                if targets.as_ref().is_some_and(|targets| !targets.contains(object)) {
                    continue;
                }
                let Some(wanted) = desired.objects.get(object) else { continue };
                if !policy.adopt.is_empty() && !policy.adopt.contains(object) {
                    continue;
                }
                if out_of_reach(&mut p, wanted) || suspension::noted(&mut p, wanted) {
                    continue;
                }
                if !policy.adopt.is_empty() {
                    lifecycle::adopt_alone(&mut p, wanted, &mut first, &refused, there.contains(object));
                    continue;
                }
                if let Some((_, plan_kind)) = kinds::TABLE.iter().find(|(kind, _)| *kind == object.kind) {
                    let before = p.plan.actions.len();
                    if !lifecycle::begin(&mut p, wanted, &mut first, &refused) {
                        continue;
                    }
                    let there = there.contains(object);
                    let made = there && !p.unfinished(wanted);
                    match wanted.lifecycle.management() {
                        Management::Observe => lifecycle::watched(&mut p, wanted, there, *plan_kind),
                        Management::CreateOnly if made => lifecycle::watched(&mut p, wanted, there, *plan_kind),
                        Management::Full | Management::CreateOnly => plan_kind(&mut p, wanted),
                    }
                    suspension::take_back(&mut p, wanted, before);
                }
            }
            kinds::finish_rebuilds(&mut p);
            prune::finish(&mut p);
        }
        Mode::Delete { objects, with_data } => {
            delete::plan(&mut p, objects, *with_data);
            // With what came with them.
            p.plan.judged = Some(objects.iter().chain(p.standing.keys()).cloned().collect());
        }
        Mode::Power { objects, what } => {
            // Whether it runs is all that is looked at.
            p.plan.judged = Some(BTreeSet::new());
            for object in objects {
                let Some(wanted) = desired.objects.get(object) else { continue };
                if wanted.lifecycle.management() == Management::Observe {
                    let message = "it is only looked at (lifecycle.management: Observe), and is neither started nor stopped";
                    p.refuse(wanted, RefusalKind::Guard, message, &["take that out of the manifest first".into()]);
                } else if !out_of_reach(&mut p, wanted) {
                    suspension::by_hand(&mut p, wanted);
                    kinds::power(&mut p, wanted, *what);
                }
            }
        }
    }
    p.finish()
}

/// The objects of `targets` and all that they need.
fn closure(desired: &Desired, targets: &BTreeSet<ObjectRef>) -> BTreeSet<ObjectRef> {
    let mut all = BTreeSet::new();
    let mut open: Vec<ObjectRef> = targets.iter().cloned().collect();
    while let Some(object) = open.pop() {
        let Some(wanted) = desired.objects.get(&object) else { continue };
        if all.insert(object) {
            open.extend(wanted.references.iter().map(|reference| reference.object.clone()));
        }
    }
    all
}

/// Whether an object's node is out of reach; then the plan says so once a node, and what needs the object waits.
fn out_of_reach(p: &mut Planner<'_>, wanted: &Wanted) -> bool {
    let Some(node) = &wanted.node else { return false };
    if p.closed_nodes.contains(node) {
        p.standing.insert(wanted.object.clone(), planner::Standing::Blocked);
        return true;
    }
    match p.observed.nodes.get(node) {
        Some(NodeView::Reached(_)) => false,
        Some(NodeView::Unreachable { message, .. }) => {
            p.standing.insert(wanted.object.clone(), planner::Standing::Blocked);
            match p.plan.unreachable.iter_mut().find(|unreachable| unreachable.node == *node) {
                Some(unreachable) => unreachable.objects.push(wanted.object.clone()),
                None => p.plan.unreachable.push(Unreachable {
                    node: node.clone(),
                    message: message.clone(),
                    objects: vec![wanted.object.clone()],
                }),
            }
            true
        }
        None => {
            p.standing.insert(wanted.object.clone(), planner::Standing::Blocked);
            true
        }
    }
}

/// The condition of a Node whose host UUID is a new one, though the machine is the one on record.
pub const NEW_HOST_UUID: &str = "NewHostUuid";

/// Has nothing done on a node. What has nothing to do with it is done.
fn leave_alone(p: &mut Planner<'_>, node: &crate::name::Name, message: String, help: String) {
    p.closed_nodes.insert(node.clone());
    let object = ObjectRef::new(Kind::Node, node.clone());
    p.plan.refusals.push(Refusal { object, kind: RefusalKind::Machine, message, help: vec![help], origin: None });
}

/// What tells that a machine is the one on record although its host UUID is another: most of what is on record there, by libvirt's
/// UUIDs. Where a board has no usable UUID (many that aren't x86, and every container), libvirtd makes one up at each of its starts.
fn met_again(owned: &Owned, node: &crate::name::Name, state: &NodeState) -> Option<String> {
    let mut found = 0_usize;
    let mut all = 0_usize;
    for entry in owned.entries.values().filter(|entry| entry.node.as_ref() == Some(node) && !entry.released) {
        let name = &entry.libvirt_name;
        let there = match entry.object.kind {
            Kind::VirtualMachine => state.domains.get(name).map(|domain| domain.uuid),
            Kind::Network => state.networks.get(name).map(|network| network.uuid),
            Kind::StoragePool => state.pools.get(name).map(|pool| pool.uuid),
            _ => continue,
        };
        let Some(uuid) = entry.libvirt_uuid else { continue };
        all += 1;
        found += usize::from(there == Some(uuid));
    }
    (2 * found > all).then(|| format!("{found} of the {all} objects on record are there"))
}

/// Judges the Nodes themselves: one that became another machine, two that are one, one that left the set with objects on it.
fn nodes(p: &mut Planner<'_>) {
    let mut machines: BTreeMap<uuid::Uuid, Vec<&crate::name::Name>> = BTreeMap::new();
    for (name, view) in &p.observed.nodes {
        let NodeView::Reached(state) = view else { continue };
        let Some(found) = state.host.uuid else { continue };
        machines.entry(found).or_default().push(name);
        let Some(record) = p.owned.nodes.get(name).filter(|record| record.host_uuid != found) else { continue };
        let was = record.host_uuid;
        if let Some(met) = met_again(p.owned, name, state) {
            let message = format!("its host UUID was {was} and is {found}, but {met}: it is the same machine");
            let object = ObjectRef::new(Kind::Node, name.clone());
            p.plan.notes.push(Note { object, condition: NEW_HOST_UUID.into(), message });
        } else {
            let message = format!("it is another machine: its host UUID was {was} and is {found}");
            leave_alone(p, name, message, format!("if that is right: jvp node accept {name}"));
        }
    }
    for (uuid, names) in machines.into_iter().filter(|(_, names)| names.len() > 1) {
        // It is the one that it was when it was met first, where that is known of one.
        let mut known =
            names.iter().copied().filter(|name| p.owned.nodes.get(*name).is_some_and(|record| record.host_uuid == uuid));
        let it = known.next().filter(|_| known.next().is_none());
        for name in names.iter().copied().filter(|name| Some(*name) != it) {
            let Some(other) = it.or_else(|| names.iter().copied().find(|other| *other != name)) else { continue };
            let message = format!("it is the same machine as Node/{other} (host UUID {uuid})");
            leave_alone(p, name, message, "keep one Node a host".into());
        }
    }
    // What has nothing to do with what is asked for is nobody's trouble now.
    let concerned = p.policy.nodes(p.desired, p.owned);
    let unreached: Vec<_> = p
        .observed
        .nodes
        .iter()
        .filter(|(name, _)| concerned.as_ref().is_none_or(|nodes| nodes.contains(*name)))
        .filter_map(|(name, view)| match view {
            NodeView::Unreachable { message, .. } => Some((name.clone(), message.clone())),
            NodeView::Reached(_) => None,
        })
        .collect();
    for (node, message) in unreached {
        p.plan.unreachable.push(Unreachable { node, message, objects: Vec::new() });
    }
    let gone: BTreeMap<&crate::name::Name, usize> = p
        .owned
        .entries
        .values()
        .filter_map(|entry| entry.node.as_ref())
        .filter(|node| !p.desired.nodes.contains_key(*node))
        .fold(BTreeMap::new(), |mut all, node| {
            *all.entry(node).or_insert(0) += 1;
            all
        });
    let partial = p.policy.partial;
    for (node, count) in gone {
        if partial {
            continue;
        }
        p.plan.refusals.push(Refusal {
            object: ObjectRef::new(Kind::Node, node.clone()),
            kind: RefusalKind::Guard,
            message: format!("it is not in the manifests any more, but {count} objects of ours are on it"),
            help: vec![format!("put it back, or drop them from the inventory (nothing is touched): jvp node forget {node}")],
            origin: None,
        });
    }
}
