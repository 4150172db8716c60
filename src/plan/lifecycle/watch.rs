//! Objects that are looked at and not changed: what would be done for them is planned, told, and left out of the plan.

use super::super::identity::named;
use super::super::model::{Change, Verb};
use super::super::planner::{Planner, Standing};
use crate::manifest::Management;
use crate::name::Kind;
use crate::resolve::Wanted;

/// Plans `wanted` by `plan_kind`, keeps nothing of it, and tells what it came to. `there` says whether anything of it is there.
pub(in crate::plan) fn watched(p: &mut Planner<'_>, wanted: &Wanted, there: bool, plan_kind: fn(&mut Planner<'_>, &Wanted)) {
    let (changes, actions) = (p.plan.changes.len(), p.plan.actions.len());
    let (deferred, refusals) = (p.plan.deferred.len(), p.plan.refusals.len());
    p.made.watch();
    p.marks.watch();
    let standing = p.standing.get(&wanted.object).cloned();
    plan_kind(p, wanted);
    let blocked = p.standing.get(&wanted.object) == Some(&Standing::Blocked);
    let changes = p.plan.changes.split_off(changes);
    let deferred = p.plan.deferred.split_off(deferred);
    let refusals = p.plan.refusals.split_off(refusals);
    p.plan.actions.truncate(actions);
    p.made.take_back();
    p.marks.take_back();
    p.starting.remove(&wanted.object);
    p.stopping.remove(&wanted.object);
    let why = match wanted.lifecycle.management() {
        Management::CreateOnly => "it is left as it is (lifecycle.management: CreateOnly)",
        Management::Full | Management::Observe => "it is only looked at (lifecycle.management: Observe)",
    };
    // What isn't there and can't be made is refused, and what waits for what nobody makes is blocked: nothing can be put on either.
    let state = wanted.node.as_ref().and_then(|node| p.node(node));
    let absent = match wanted.object.kind {
        Kind::Volume => !there,
        // Somebody else's that vanishes when it stops is there, too.
        Kind::StoragePool | Kind::Network => {
            state.is_some_and(|state| named(wanted.object.kind, state, &wanted.libvirt_name).is_none())
        }
        _ => false,
    };
    let gone = absent && !refusals.is_empty();
    let waits = !there && blocked && refusals.is_empty();
    let missing = gone || waits || changes.iter().any(|change| change.verb == Verb::Create);
    for change in &changes {
        let (condition, what) = told(change);
        p.note(&change.object, condition, format!("{why}, but {what}"));
    }
    for deferred in &deferred {
        p.note(&deferred.object, "Unseen", format!("{why}, and how it is can be told only {}", deferred.until));
    }
    for refusal in &refusals {
        p.note(&refusal.object, "Differs", format!("{why}, but {}", refusal.message));
    }
    let after = match standing {
        _ if missing => Standing::Blocked,
        _ if !deferred.is_empty() => Standing::Deferred,
        Some(before) => before,
        None => Standing::Ready([].into()),
    };
    p.standing.insert(wanted.object.clone(), after);
}

/// A change that isn't made, as a clause.
fn told(change: &Change) -> (&'static str, String) {
    let fields: Vec<String> = change.fields.iter().map(super::super::display::field_line).collect();
    match change.verb {
        Verb::Create => ("Missing", "it isn't there".into()),
        _ if fields.is_empty() => ("Differs", format!("would be {}: {}", change.verb.participle(), change.reason)),
        _ => ("Differs", format!("it differs from its manifest: {}", fields.join("; "))),
    }
}
