//! An order of a set's objects in which each stands after those that it refers to.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::desired::Wanted;
use crate::name::{Kind, ObjectRef};

/// The objects in that order, and those for which there is none: they need each other.
pub(super) fn order(objects: &BTreeMap<ObjectRef, Arc<Wanted>>) -> (Vec<ObjectRef>, Vec<Arc<Wanted>>) {
    let all: Vec<(&ObjectRef, &Arc<Wanted>)> = objects.iter().collect();
    // What one needs often stands beside what the one before needs, or is the same: in a large set a search is far more.
    let mut nearest: Vec<usize> = Vec::new();
    let mut place = |turn: usize, object: &ObjectRef| {
        nearest.resize(nearest.len().max(turn + 1), 0);
        let near = nearest.get_mut(turn)?;
        let is_it = |at: &usize| all.get(*at).is_some_and(|(other, _)| *other == object);
        let search = || all.binary_search_by(|(other, _)| (*other).cmp(object)).ok();
        let found = [*near, *near + 1].into_iter().find(is_it).or_else(search)?;
        *near = found;
        Some(found)
    };
    // What each needs, one behind the other; up to where is its own.
    let mut needs: Vec<usize> = Vec::new();
    let mut ends: Vec<usize> = Vec::with_capacity(all.len());
    for (_, wanted) in &all {
        let references = wanted.references.iter().enumerate();
        needs.extend(references.filter_map(|(turn, reference)| place(turn, &reference.object)));
        ends.push(needs.len());
    }
    let needs_of = |at: usize| {
        let begin = at.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
        needs.get(begin..*ends.get(at)?)
    };
    // Each goes into the round after the last one of what it needs.
    let mut round: Vec<Option<usize>> = vec![None; all.len()];
    let mut left: Vec<usize> = (0..all.len()).collect();
    let round_of = |rounds: &[Option<usize>], needs: &[usize]| {
        needs.iter().try_fold(0, |most, need| rounds.get(*need).copied().flatten().map(|round| most.max(round + 1)))
    };
    loop {
        let before = left.len();
        left.retain(|at| {
            let found = needs_of(*at).and_then(|needs| round_of(&round, needs));
            if let (Some(place), Some(_)) = (round.get_mut(*at), found) {
                *place = found;
            }
            found.is_none()
        });
        if left.is_empty() || left.len() == before {
            break;
        }
    }
    // VMs are last, also those that need little: what is done to a volume may be done through a guest that no longer names it.
    let last = |object: &ObjectRef| object.kind == Kind::VirtualMachine;
    let placed = all.iter().zip(&round);
    let mut order: Vec<_> = placed.map(|((object, _), round)| (last(object), round.unwrap_or(usize::MAX), *object)).collect();
    // They stand by name already.
    order.sort_by_key(|(last, round, _)| (*last, *round));
    let order: Vec<ObjectRef> = order.into_iter().map(|(.., object)| object.clone()).collect();
    let waiting: Vec<Arc<Wanted>> = left.iter().filter_map(|at| all.get(*at)).map(|(_, wanted)| Arc::clone(wanted)).collect();
    (order, waiting)
}
