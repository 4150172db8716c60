//! Planning deletes: in reverse, definitions first, data only on a word of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::delete_file::{came_with, file};
use super::kinds::{is_kept, name_at, recorded_reservations, reserve, stop_drafts};
use super::model::{Effect, RefusalKind, Verb};
use super::planner::{Draft, Planner, Row};
use super::policy::given;
use super::{Action, ActionId, Expect, Lane, Op, Precondition, Record, suspension};
use crate::manifest::{Management, Metadata, ReclaimPolicy, Spec, VirtualMachineSpec};
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::{NodeView, PowerState};
use crate::resolve::Wanted;

/// Plans to take `objects` down. What the manifests no longer declare is known from the inventory.
pub(super) fn plan(p: &mut Planner<'_>, objects: &BTreeSet<ObjectRef>, with_data: bool) {
    // Users before what they use: the reverse of the order of creation.
    let position: BTreeMap<&ObjectRef, usize> = p.desired.order.iter().enumerate().map(|(i, object)| (object, i)).collect();
    let mut ordered: Vec<ObjectRef> = objects.iter().cloned().collect();
    ordered.sort_by_key(|object| {
        (std::cmp::Reverse(object.kind), std::cmp::Reverse(position.get(object).copied().unwrap_or(0)), object.clone())
    });
    let mut done: BTreeMap<ObjectRef, BTreeSet<ActionId>> = BTreeMap::new();
    let desired = p.desired;
    for object in ordered {
        let known = desired.object(&object).cloned();
        let Some(wanted) = known.or_else(|| from_inventory(p, &object)) else { continue };
        if wanted.lifecycle.management() == Management::Observe {
            p.note(&object, "Observed", "it is only looked at (lifecycle.management: Observe), and is not deleted");
            continue;
        }
        // Only what uses this one must go first.
        let needs: BTreeSet<ActionId> =
            done.iter().filter(|(user, _)| uses(p, user, &object)).flat_map(|(_, ids)| ids.iter().copied()).collect();
        if suspension::refused(p, &wanted) {
            continue;
        }
        if wanted.prevent_destroy {
            p.refuse(
                &wanted,
                RefusalKind::Guard,
                if wanted.origin.is_empty() {
                    "its manifest said `lifecycle.preventDestroy: true` when it was last applied"
                } else {
                    "its manifest says `lifecycle.preventDestroy: true`"
                },
                &[if wanted.origin.is_empty() {
                    "put its manifest back without that word and apply it, then take it out".into()
                } else {
                    "take that out of the manifest first".into()
                }],
            );
            continue;
        }
        let before = p.plan.actions.len();
        one(p, &wanted, needs, with_data);
        let ids = (before..p.plan.actions.len()).map(ActionId).collect();
        done.insert(object, ids);
    }
}

fn uses(p: &Planner<'_>, user: &ObjectRef, used: &ObjectRef) -> bool {
    if user.kind <= used.kind {
        // Volumes are built on volumes.
        return user.kind == Kind::Volume && used.kind == Kind::Volume && references(p, user).contains(used);
    }
    match (used.kind, user.kind) {
        (Kind::StoragePool, _) | (Kind::Template, Kind::Volume | Kind::VirtualMachine) => true,
        (Kind::Network, Kind::VirtualMachine) => references(p, user).contains(used) || is_on(p, user, used),
        _ => references(p, user).contains(used),
    }
}

/// Whether a VM, of which no manifest may tell any more, is on a network: by its domain, or by an address that the network keeps for it.
fn is_on(p: &Planner<'_>, vm: &ObjectRef, network: &ObjectRef) -> bool {
    let (Some(entry), Some(node)) = (p.entry(vm), &network.node) else { return false };
    if entry.node.as_ref() != Some(node) {
        return false;
    }
    let name = p.libvirt_name(Kind::Network, &network.name, node);
    let domain = p.index.domain(node, entry.libvirt_uuid.unwrap_or(entry.uid));
    let docs = domain.into_iter().flat_map(crate::observe::DomainState::docs);
    let plugged = docs.flat_map(|doc| doc.interfaces.iter()).any(|nic| nic.network.as_deref() == Some(name.as_str()));
    let mut kept = entry.reservations.iter().flat_map(|(key, recorded)| recorded_reservations(key, recorded));
    plugged || kept.any(|(of, ..)| of == network.name)
}

fn references(p: &Planner<'_>, object: &ObjectRef) -> BTreeSet<ObjectRef> {
    p.desired
        .objects
        .get(object)
        .map(|wanted| wanted.references.iter().map(|reference| reference.object.clone()).collect())
        .unwrap_or_default()
}

/// An object that no manifest declares any more, as the inventory knows it.
pub(super) fn from_inventory(p: &Planner<'_>, object: &ObjectRef) -> Option<Wanted> {
    let entry = p.entry(object)?;
    let spec = match object.kind {
        Kind::StoragePool => Spec::StoragePool(crate::manifest::StoragePoolSpec::default()),
        Kind::Network => Spec::Network(crate::manifest::NetworkSpec::default()),
        Kind::Template => Spec::Template(crate::manifest::TemplateSpec::default()),
        Kind::Volume => Spec::Volume(crate::manifest::VolumeSpec::default()),
        Kind::VirtualMachine => Spec::VirtualMachine(Box::default()),
        Kind::KeyPair => Spec::KeyPair(crate::manifest::KeyPairSpec::default()),
        Kind::Fleet | Kind::Node => return None,
    };
    Some(Wanted {
        object: object.clone(),
        uid: entry.uid,
        node: entry.node.clone(),
        libvirt_name: entry.libvirt_name.clone(),
        spec: Arc::new(spec),
        now: Arc::default(),
        metadata: Arc::new(Metadata::of(object.name.clone())),
        reclaim: entry.reclaim.unwrap_or_else(|| crate::resolve::default_reclaim(object.kind)),
        prevent_destroy: entry.prevent_destroy,
        lifecycle: crate::manifest::Lifecycle::default(),
        references: Vec::new(),
        origin: "".into(),
        folder: "".into(),
        implied_by: None,
    })
}

fn one(p: &mut Planner<'_>, wanted: &Wanted, needs: BTreeSet<ActionId>, with_data: bool) {
    let node = wanted.node.clone();
    if let Some(node) = &node
        && let Some(NodeView::Unreachable { .. }) = p.observed.nodes.get(node)
    {
        let message = format!("Node/{node} is out of reach");
        return p.refuse(wanted, RefusalKind::Unreachable, message, &[]);
    }
    if let Some(node) = node.as_ref().filter(|node| p.closed_nodes.contains(*node)) {
        // Its absence there says nothing of where it was made.
        return p.refuse(wanted, RefusalKind::Machine, format!("it stands on Node/{node}, where nothing is done"), &[]);
    }
    match wanted.object.kind {
        Kind::VirtualMachine => virtual_machine(p, wanted, needs, with_data),
        Kind::Network => network(p, wanted, needs),
        Kind::StoragePool => pool(p, wanted, needs),
        Kind::Volume | Kind::Template => file(p, wanted, needs, with_data),
        Kind::KeyPair => {
            if p.entry(&wanted.object).is_some() {
                let mut row = Row::new(wanted, Verb::Release, "the key's files are kept");
                row.needs = needs;
                row.drafts.push(forget(wanted));
                p.commit(row);
            }
        }
        Kind::Fleet | Kind::Node => {}
    }
}

/// Lets the inventory forget what is gone from the node, or somebody else's by now.
fn not_ours(p: &mut Planner<'_>, wanted: &Wanted) {
    if p.entry(&wanted.object).is_some() {
        let mut row = Row::new(wanted, Verb::Delete, "it is gone or not ours any more; the inventory forgets it");
        row.drafts.push(forget(wanted));
        p.commit(row);
    }
}

/// Lets the inventory forget an object, and does nothing else.
pub(super) fn forget_alone(p: &mut Planner<'_>, object: &ObjectRef, why: &str) {
    let Some(wanted) = from_inventory(p, object) else { return };
    let mut row = Row::new(&wanted, Verb::Release, why);
    row.drafts.push(forget(&wanted));
    p.commit(row);
}

/// The users of files and networks of a node that these actions take away there, called as the guards call them.
fn users_going(actions: &[Action], node: Option<&Name>) -> BTreeSet<String> {
    let there = actions.iter().filter(|action| action.node.as_ref() == node);
    there
        .filter_map(|action| match &action.op {
            Op::DomainUndefine { name, .. } => Some(name.clone()),
            Op::VolumeDelete { pool, name } => Some(format!("volume {pool}/{name}")),
            _ => None,
        })
        .collect()
}

/// Those of the users of something on a node that stay, as far as is planned: what goes before it doesn't count.
pub(super) fn staying(p: &Planner<'_>, node: Option<&Name>, users: impl IntoIterator<Item = String>) -> Vec<String> {
    let gone = users_going(&p.plan.actions, node);
    users.into_iter().filter(|user| !gone.contains(user)).collect()
}

pub(super) fn forget(wanted: &Wanted) -> Draft {
    Draft::new(Op::Inventory, Lane::Local(wanted.object.to_string())).record(Record::Remove(wanted.object.clone()))
}

fn virtual_machine(p: &mut Planner<'_>, wanted: &Wanted, needs: BTreeSet<ActionId>, with_data: bool) {
    let spec = match &*wanted.spec {
        Spec::VirtualMachine(spec) => (**spec).clone(),
        _ => VirtualMachineSpec::default(),
    };
    let Some(state) = wanted.node.as_ref().and_then(|node| p.node(node)) else { return };
    let verdict = p.verdict_domain(wanted, state);
    if matches!(verdict, super::identity::Verdict::Foreign { .. } | super::identity::Verdict::Transient) {
        // Not ours: it stays, and we say so.
        p.note(
            &wanted.object,
            "Foreign",
            format!("a domain called `{}` is there that isn't ours; it is not touched", wanted.libvirt_name),
        );
    }
    let undefined = match &verdict {
        super::identity::Verdict::Undefined { uuid } => wanted.node.as_ref().and_then(|node| p.index.domain(node, *uuid)),
        _ => None,
    };
    // Under the name of one that was renamed by hand there may be another one by now.
    let domain = p.domain(wanted).or(undefined).or_else(|| p.domain_of_another_name(wanted));
    if domain.is_some() && wanted.reclaim == ReclaimPolicy::Retain {
        return release(p, wanted, needs, "it stays as it is (reclaimPolicy: Retain)");
    }
    let mut row = Row::new(wanted, Verb::Delete, "asked for");
    row.needs = needs;
    if let Some(domain) = domain {
        if p.refuse_writer(wanted, p.other_writer(domain.doc.mark.as_ref())) {
            return;
        }
        if domain.has_snapshots {
            return p.refuse(
                wanted,
                RefusalKind::Guard,
                "it has snapshots, which its delete would lose",
                &["delete them first: virsh snapshot-list, virsh snapshot-delete".into()],
            );
        }
        if domain.managed_save && !p.policy.consents.discard_saved_state.contains(&wanted.object) {
            return p.refuse(
                wanted,
                RefusalKind::Guard,
                "it has a saved state, which its delete would lose",
                &[format!("if that may go: --discard-saved-state {}", wanted.object)],
            );
        }
        // One without a definition would be gone when it is off, and nobody could tell how it ended.
        row.drafts.extend(undefined.map(|domain| super::kinds::domain_defined_again(wanted, domain)));
        if domain.state != PowerState::Off {
            row.effect = Effect::Stop;
            row.drafts.extend(stop_drafts(p, wanted, &spec, domain));
        }
        row.drafts.push(
            Draft::new(
                Op::DomainUndefine {
                    name: domain.name.clone(),
                    uuid: domain.uuid,
                    // Where libvirt chooses the firmware, its definition need not tell the file.
                    nvram: domain.doc.nvram.is_some() || has_uefi(domain),
                    managed_save: domain.managed_save,
                },
                Lane::Object(format!("domain/{}", domain.name)),
            )
            .when(Precondition::Domain { uuid: domain.uuid, running: false })
            .expect(Expect::Gone),
        );
    }
    let entry = p.entry(&wanted.object).cloned();
    if entry.is_none() && domain.is_none() {
        // A run that broke off may have left what came with it.
        return came_with(p, wanted, None, with_data);
    }
    if let (Some(node), Some(entry)) = (&wanted.node, &entry) {
        let all = entry.reservations.iter().flat_map(|(key, recorded)| recorded_reservations(key, recorded));
        for (network, mac, ip) in all {
            let there = p.network(&network, node).is_some_and(|state| state.doc.hosts().any(|host| host.ip == ip));
            // It may go with its subnet, or be another's by now.
            if there && is_kept(p, node, &network, (mac, ip)) {
                row.drafts.push(reserve(
                    p,
                    node,
                    &network,
                    (mac, ip),
                    ip.is_ipv6().then(|| name_at(p, wanted, node, &network, ip)),
                    false,
                ));
            }
        }
    }
    if let Some(last) = row.drafts.last_mut() {
        last.record = Record::Remove(wanted.object.clone());
    } else {
        row.reason = "it is gone; the inventory forgets it".into();
        row.drafts.push(forget(wanted));
    }
    let ids = p.commit(row);
    came_with(p, wanted, ids.last().copied(), with_data);
}

fn has_uefi(domain: &crate::observe::DomainState) -> bool {
    let firmware = domain.doc.spec.firmware.as_ref().and_then(|firmware| firmware.firmware_type);
    firmware == Some(crate::manifest::FirmwareType::UEFI)
}

fn network(p: &mut Planner<'_>, wanted: &Wanted, needs: BTreeSet<ActionId>) {
    let Some(node) = wanted.node.clone() else { return };
    let Some(state) = p.node(&node) else { return };
    let (found, undefined) = match p.verdict_network(wanted, state) {
        super::identity::Verdict::Ours { uuid, .. } => (Some(uuid), false),
        super::identity::Verdict::Undefined { uuid } => (Some(uuid), true),
        _ => (p.network_of_another_name(wanted, state).map(|network| network.uuid), false),
    };
    let Some(uuid) = found else { return not_ours(p, wanted) };
    if wanted.reclaim == ReclaimPolicy::Retain {
        return release(p, wanted, needs, "it stays defined and running (reclaimPolicy: Retain)");
    }
    let Some(network) = state.networks.values().find(|network| network.uuid == uuid) else { return };
    if p.refuse_writer(wanted, p.other_writer(network.doc.mark.as_ref())) {
        return;
    }
    let guests = staying(p, Some(&node), p.guests_of_network(&node, &network.name).into_iter().map(|(name, _)| name));
    if !guests.is_empty() && !given(&p.policy.consents.allow_disconnect, &wanted.object) {
        return p.refuse(
            wanted,
            RefusalKind::Guard,
            format!("it is used by {}, which would be cut off", guests.join(", ")),
            &[format!("if they may lose it: --allow-disconnect {}", wanted.object)],
        );
    }
    let mut row = Row::new(wanted, Verb::Delete, "asked for");
    row.needs = needs;
    let going = super::running_guests(state, &network.name);
    if !guests.is_empty() {
        row.effect = Effect::Disconnect(guests);
    }
    let lane = Lane::Object(format!("network/{}", network.name));
    let ours = Precondition::Uuid(uuid);
    if undefined {
        row.drafts.push(super::kinds::network_defined_again(&network.name, uuid));
    }
    if network.active {
        row.drafts.push(
            Draft::new(Op::NetworkStop { name: network.name.clone() }, lane.clone())
                .when(Precondition::NetworkGuests { uuid, guests: going })
                .expect(Expect::Active(false)),
        );
    }
    row.drafts.push(
        Draft::new(Op::NetworkUndefine { name: network.name.clone() }, lane)
            .when(ours)
            .expect(Expect::Gone)
            .record(Record::Remove(wanted.object.clone())),
    );
    p.commit(row);
}

/// Whether an object's manifest, or the inventory where it has none, says that it is kept.
pub(super) fn kept(p: &Planner<'_>, object: &ObjectRef) -> bool {
    let wanted = p.desired.objects.get(object).map(|wanted| wanted.reclaim);
    wanted.or_else(|| p.entry(object)?.reclaim) == Some(ReclaimPolicy::Retain)
}

/// Keeps an object in libvirt, and says in the inventory that nothing wants it.
pub(super) fn release(p: &mut Planner<'_>, wanted: &Wanted, needs: BTreeSet<ActionId>, reason: &str) {
    let Some(entry) = p.entry(&wanted.object).cloned() else { return p.ready(&wanted.object) };
    if entry.released {
        return p.ready(&wanted.object);
    }
    let mut row = Row::new(wanted, Verb::Release, reason);
    row.needs = needs;
    let mut kept = entry;
    kept.released = true;
    row.drafts.push(Draft::new(Op::Inventory, Lane::Local(wanted.object.to_string())).record(Record::kept(kept)));
    p.commit(row);
}

fn pool(p: &mut Planner<'_>, wanted: &Wanted, needs: BTreeSet<ActionId>) {
    let Some(node) = wanted.node.clone() else { return };
    let Some(state) = p.node(&node) else { return };
    if wanted.reclaim == ReclaimPolicy::Retain {
        return release(p, wanted, needs, "it stays defined and running (reclaimPolicy: Retain)");
    }
    let super::identity::Verdict::Ours { uuid, .. } = p.verdict_pool(wanted, state) else {
        return not_ours(p, wanted);
    };
    let Some(pool) = state.pools.values().find(|pool| pool.uuid == uuid) else { return };
    let users = staying(p, Some(&node), p.users_of_pool(Some(&node), pool));
    if !users.is_empty() {
        return p.refuse(
            wanted,
            RefusalKind::Guard,
            format!("its volumes are used by {}", users.join(", ")),
            &["take these down first, or keep the pool".into()],
        );
    }
    let lane = Lane::PoolExclusive(pool.name.clone());
    let ours = Precondition::Uuid(uuid);
    let mut row = Row::new(wanted, Verb::Delete, "asked for; the files in its folder are kept");
    row.needs = needs;
    if pool.active {
        row.drafts.push(
            Draft::new(Op::PoolStop { name: pool.name.clone() }, lane.clone())
                .when(Precondition::PoolUnused { uuid })
                .expect(Expect::Active(false)),
        );
    }
    row.drafts.push(
        Draft::new(Op::PoolUndefine { name: pool.name.clone() }, lane)
            .when(ours)
            .expect(Expect::Gone)
            .record(Record::Remove(wanted.object.clone())),
    );
    p.commit(row);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_one_node_still_uses_its_files_on_another() {
        let action = |node: &str, op: Op| Action {
            id: ActionId(0),
            object: "vm/web".parse().unwrap(),
            node: node.parse().ok(),
            op,
            needs: BTreeSet::new(),
            lane: Lane::Local(String::new()),
            precondition: Precondition::None,
            expect: Expect::Nothing,
            begins: crate::plan::Begins::default(),
            record: Record::Nothing,
            secrets: BTreeMap::new(),
        };
        let undefine = Op::DomainUndefine { name: "web".into(), uuid: uuid::Uuid::nil(), nvram: false, managed_save: false };
        let actions = [action("a", undefine), action("b", Op::VolumeDelete { pool: "p".into(), name: "v".into() })];
        let on = |node: &str| users_going(&actions, node.parse().ok().as_ref());
        assert_eq!(on("a"), ["web".to_owned()].into());
        assert_eq!(on("b"), ["volume p/v".to_owned()].into());
    }
}
