//! Objects that nothing is done to until somebody resumes them.

use std::collections::BTreeMap;

use super::model::RefusalKind;
use super::owned::Suspension;
use super::planner::{Planner, Standing};
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::Target;
use crate::resolve::Wanted;

/// The suspension of an object, by itself or by the object that it comes with.
fn of<'a>(p: &Planner<'a>, wanted: &Wanted) -> Option<&'a Suspension> {
    let by_owner = || p.owned.suspended.get(wanted.implied_by.as_ref()?);
    p.owned.suspended.get(&wanted.object).or_else(by_owner)
}

/// Whether nothing is to be done to an object.
pub(super) fn is_suspended(p: &Planner<'_>, wanted: &Wanted) -> bool {
    of(p, wanted).is_some()
}

fn words(p: &Planner<'_>, wanted: &Wanted) -> Option<String> {
    let suspension = of(p, wanted)?;
    let words = suspension.words();
    let by_itself = p.owned.suspended.contains_key(&wanted.object);
    Some(match (by_itself, &suspension.object) {
        (true, object) if *object == wanted.object => words,
        (true, old) => format!("{words}, as {old}"),
        (false, owner) => format!("it comes with {owner}: {words}"),
    })
}

/// Notes an object that is suspended; what needs it goes on if it is there. True where it is.
pub(super) fn noted(p: &mut Planner<'_>, wanted: &Wanted) -> bool {
    let Some(words) = words(p, wanted) else { return false };
    let standing = if is_there(p, wanted) { Standing::Ready([].into()) } else { Standing::Blocked };
    p.standing.insert(wanted.object.clone(), standing);
    p.note(&wanted.object, "Suspended", words);
    true
}

/// Notes that an object is suspended which is acted on by hand all the same.
pub(super) fn by_hand(p: &mut Planner<'_>, wanted: &Wanted) {
    if let Some(words) = words(p, wanted) {
        p.note(&wanted.object, "Suspended", format!("{words}; what is asked for by hand is done"));
    }
}

/// Refuses to delete an object that is suspended. True where it was refused.
pub(super) fn refused(p: &mut Planner<'_>, wanted: &Wanted) -> bool {
    let Some(suspension) = of(p, wanted) else { return false };
    let help = format!("if it may go: jvp resume {}", suspension.object);
    p.refuse(wanted, RefusalKind::Guard, words(p, wanted).unwrap_or_default(), &[help]);
    true
}

/// Notes an object that no manifest declares any more and that is suspended, by itself or by the VM that it came with: a prune leaves
/// it. True where it is.
pub(super) fn spared(p: &mut Planner<'_>, object: &ObjectRef) -> bool {
    let owner = p.entry(object).and_then(|entry| entry.volume.as_ref()).and_then(|volume| volume.owner.as_ref());
    let suspension = p.owned.suspended.get(object).or_else(|| p.owned.suspended.get(owner?));
    let Some(words) = suspension.map(Suspension::words) else { return false };
    p.note(object, "Suspended", words);
    true
}

/// Whether others may build on it: it was made, and runs where it has to.
fn is_there(p: &Planner<'_>, wanted: &Wanted) -> bool {
    let made = p.entry(&wanted.object).is_some_and(|entry| !entry.released);
    let state = wanted.node.as_ref().and_then(|node| p.node(node));
    let runs = match wanted.object.kind {
        Kind::StoragePool => state.and_then(|state| state.pools.get(&wanted.libvirt_name)).is_some_and(|pool| pool.active),
        Kind::Network => state.and_then(|state| state.networks.get(&wanted.libvirt_name)).is_some_and(|net| net.active),
        _ => true,
    };
    made && runs
}

/// The domains of a node whose VMs are suspended.
pub(super) fn resting(p: &Planner<'_>, node: Option<&Name>) -> BTreeMap<uuid::Uuid, ObjectRef> {
    let machines = p.owned.suspended.keys().filter(|object| object.kind == Kind::VirtualMachine);
    let entries = machines.filter_map(|object| p.entry(object).filter(|entry| entry.node.as_ref() == node));
    entries.filter_map(|entry| Some((entry.libvirt_uuid?, entry.object.clone()))).collect()
}

/// Takes back what was planned for an object since there were so many actions, where it would change another one that is suspended:
/// a VM's reservation is an entry of its network.
pub(super) fn take_back(p: &mut Planner<'_>, wanted: &Wanted, actions: usize) {
    if p.owned.suspended.is_empty() {
        return;
    }
    let touched = p.plan.actions.iter().skip(actions).find_map(|action| {
        let Some(Target::Network(name)) = action.op.target() else { return None };
        let suspended = p.owned.suspended.keys().filter(|object| object.kind == Kind::Network && **object != wanted.object);
        suspended.into_iter().find(|object| named(p, object) == name && object.node == action.node).cloned()
    });
    let Some(touched) = touched else { return };
    let taken: Vec<ObjectRef> = p.plan.actions.drain(actions..).filter_map(|action| action.record.object().cloned()).collect();
    for object in &taken {
        // Nothing of it is made, nor is it known.
        p.made.remove(object);
    }
    // What was planned for it before its own turn stays.
    let before = |change: &super::Change| change.actions.last().is_some_and(|last| last.0 < actions);
    p.plan.changes.retain(|change| change.object != wanted.object || before(change));
    p.made.remove(&wanted.object);
    p.marks.remove(&wanted.object);
    p.standing.insert(wanted.object.clone(), Standing::Blocked);
    p.note(&wanted.object, "Blocked", format!("nothing is done for it, since it would change {touched}, which is suspended"));
}

/// The name in libvirt of an object.
fn named(p: &Planner<'_>, object: &ObjectRef) -> String {
    let wanted = p.desired.objects.get(object).map(|wanted| &wanted.libvirt_name);
    let name = wanted.or_else(|| p.entry(object).map(|entry| &entry.libvirt_name));
    name.cloned().unwrap_or_else(|| object.name.to_string())
}
