//! Planning what becomes of files where what they belong to goes, or they go by themselves: data only on a word of its own.

use std::collections::BTreeSet;

use super::delete::{forget, from_inventory, kept, release, staying};
use super::model::{Data, RefusalKind, Verb};
use super::planner::{Draft, Planner, Row};
use super::{ActionId, Entry, Expect, Lane, Op, Precondition, Record, suspension};
use crate::manifest::{ReclaimPolicy, Spec};
use crate::name::ObjectRef;
use crate::resolve::Wanted;

/// The volumes that came with a VM: claims are kept unless data goes too, the seed always goes.
pub(super) fn came_with(p: &mut Planner<'_>, vm: &Wanted, after: Option<ActionId>, with_data: bool) {
    for entry in p.index.came_with(&vm.object).collect::<Vec<_>>() {
        if p.standing.contains_key(&entry.object) {
            continue;
        }
        let declared = p.desired.object(&entry.object).cloned();
        let Some(mut wanted) = declared.or_else(|| from_inventory(p, &entry.object)) else { continue };
        wanted.implied_by = Some(vm.object.clone());
        // Nothing is done to what somebody suspended by itself, not even with its VM.
        if p.owned.suspended.contains_key(&entry.object) {
            let _ = if with_data { suspension::refused(p, &wanted) } else { suspension::spared(p, &entry.object) };
            continue;
        }
        let is_seed = seed_of(entry).is_some();
        let needs = after.into_iter().collect();
        remove_file(p, &wanted, needs, with_data || is_seed, is_seed, Some(&vm.object));
    }
}

pub(super) fn file(p: &mut Planner<'_>, wanted: &Wanted, needs: BTreeSet<ActionId>, with_data: bool) {
    if p.standing.contains_key(&wanted.object) {
        return;
    }
    if p.entry(&wanted.object).is_some_and(|entry| seed_of(entry).is_some()) {
        // Nobody's data, whose VM is gone: jvp makes it anew from the manifest whenever one wants it.
        return remove_file(p, wanted, needs, true, true, None);
    }
    remove_file(p, wanted, needs, with_data, false, None);
}

/// The VM whose cloud-init seed a volume is.
pub(super) fn seed_of(entry: &Entry) -> Option<&ObjectRef> {
    let owner = entry.volume.as_ref()?.owner.as_ref()?;
    entry.object.name.as_str().starts_with(&format!("{}.seed-", owner.name)).then_some(owner)
}

fn remove_file(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    needs: BTreeSet<ActionId>,
    with_data: bool,
    no_data: bool,
    going: Option<&ObjectRef>,
) {
    let Some(entry) = p.entry(&wanted.object).cloned() else {
        if wanted.reclaim == ReclaimPolicy::Delete || with_data {
            p.note(&wanted.object, "NotOurs", "it is not in the inventory: nothing of it is touched");
        }
        return;
    };
    let place = entry
        .volume
        .as_ref()
        .map(|volume| (volume.pool.clone(), volume.file.clone(), volume.path.clone()))
        .or_else(|| entry.template.as_ref().map(|t| (t.pool.clone(), t.file.clone(), t.path.clone())));
    let owner = entry.volume.as_ref().and_then(|volume| volume.owner.clone());
    if let Some(owner) = owner.filter(|owner| kept(p, owner)) {
        return release(p, wanted, needs, &format!("{owner} is kept, and stands on it"));
    }
    let consent = with_data || p.policy.consents.allow_data_loss.contains(&wanted.object);
    if wanted.reclaim == ReclaimPolicy::Retain && !consent {
        return release(p, wanted, needs, "its data is kept (reclaimPolicy: Retain)");
    }
    if !consent {
        return p.refuse(
            wanted,
            RefusalKind::Guard,
            "its data would be lost",
            &[
                format!("if it may go: --allow-data-loss {}, or --with-data", wanted.object),
                "to keep it: reclaimPolicy: Retain".into(),
            ],
        );
    }
    let Some((pool, file, path)) = place else {
        let mut row = Row::new(wanted, Verb::Delete, "the inventory forgets it");
        row.needs = needs;
        row.drafts.push(forget(wanted));
        p.commit(row);
        return;
    };
    let state = wanted.node.as_ref().and_then(|node| p.node(node));
    let users = staying(p, wanted.node.as_ref(), p.users(wanted.node.as_ref(), &path));
    if !users.is_empty() {
        return p.refuse(
            wanted,
            RefusalKind::Guard,
            format!("it is used by {}", users.join(", ")),
            &["take it off these first".into()],
        );
    }
    if !no_data && p.refuse_unseen(wanted) {
        return;
    }
    let after: BTreeSet<ActionId> = p
        .plan
        .actions
        .iter()
        .filter(|action| match &action.op {
            Op::VolumeDelete { .. } => {
                action.node == wanted.node && wanted.object.kind <= action.object.kind && action.object != wanted.object
            }
            Op::DomainUndefine { .. } => action.node == wanted.node && going.is_none_or(|vm| *vm == action.object),
            _ => false,
        })
        .map(|action| action.id)
        .collect();
    let pool_state = state.and_then(|state| state.pools.get(&pool));
    let opens = opening(p, wanted, &pool, &path);
    // Of that name another file may lie there, where the pool has another folder by now.
    let seen = pool_state.and_then(|pool| pool.volumes.as_ref()).and_then(|volumes| volumes.get(&file));
    let there = opens.is_some() || seen.is_some_and(|volume| volume.path == path);
    if opens.is_none() && pool_state.is_some_and(|pool| !pool.active) {
        let message = format!("its pool `{pool}` is stopped: its file can't be removed");
        return p.refuse(wanted, RefusalKind::Guard, message, &[format!("virsh pool-start {pool}")]);
    }
    let mut row = Row::new(wanted, Verb::Delete, "asked for");
    row.needs = needs;
    row.needs.extend(after);
    row.needs.extend(opens.into_iter().flatten());
    if there {
        if !no_data {
            row.data = Data::Lost;
        }
        let lane = Lane::PoolShared { pool: pool.clone(), volume: file.clone() };
        row.drafts.push(
            Draft::new(Op::VolumeDelete { pool, name: file }, lane)
                .when(Precondition::VolumeUnused { path })
                .expect(Expect::Gone)
                .record(Record::Remove(wanted.object.clone())),
        );
    } else {
        row.reason = match pool_state {
            Some(_) => "its file is gone; the inventory forgets it".into(),
            None => format!("its pool `{pool}` is gone, and what lies there stays; the inventory forgets it"),
        };
        row.drafts.push(forget(wanted));
    }
    p.commit(row);
}

/// What comes before a file can be removed from a pool that is closed and that this plan starts, with the file in its folder; whether the
/// file is there is known only then. None for any other pool.
fn opening(p: &Planner<'_>, wanted: &Wanted, pool: &str, path: &str) -> Option<BTreeSet<ActionId>> {
    let node = wanted.node.as_ref()?;
    let is_closed = p.node(node)?.pools.get(pool).is_none_or(|pool| !pool.active);
    let folder = path.rsplit_once('/').map(|(folder, _)| folder);
    let opens = |object: &ObjectRef| {
        let declared = p.desired.objects.get(object).filter(|declared| declared.libvirt_name == pool);
        declared.is_some_and(|declared| {
            let Spec::StoragePool(spec) = &*declared.spec else { return false };
            let target = spec.target.as_ref().and_then(|target| target.path.as_deref());
            target.is_none_or(|target| Some(crate::xml::pool::clean_path(target).as_str()) == folder)
        })
    };
    let object = p.starting.iter().filter(|_| is_closed).find(|object| object.node.as_ref() == Some(node) && opens(object))?;
    p.standing_of(object).ok()
}
