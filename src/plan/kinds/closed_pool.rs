//! What becomes of that which is to lie in a pool whose inside can't be read: it waits for the pool where this plan starts it, and else
//! it is said beforehand, not once half of the set is done. It plans nothing.

use super::vm_create::Stop;
use crate::manifest::Spec;
use crate::name::{Kind, Name, ObjectRef};
use crate::plan::model::{FieldChange, RefusalKind, Verb};
use crate::plan::planner::{Hold, Planner, Standing};
use crate::resolve::Wanted;

/// What a closed pool means for what is to lie in it.
enum Closed {
    /// It will be open.
    Opens,
    /// What is there already rests; why.
    Rests(String),
    /// Nothing can be made in it; why, and what to do.
    Refused(RefusalKind, String, String),
    /// There is none.
    Missing,
}

fn closed(p: &Planner<'_>, pool: &ObjectRef, node: &Name, known: bool) -> Closed {
    let wanted = p.desired.objects.get(pool);
    let stays = wanted.is_some_and(|wanted| matches!(&*wanted.spec, Spec::StoragePool(spec) if spec.running == Some(false)));
    match p.pool(&pool.name, node) {
        _ if p.starting.contains(pool) || p.standing.get(pool) == Some(&Standing::Deferred) => Closed::Opens,
        _ if stays && known => Closed::Rests(format!("its pool {pool} is to be stopped: nothing is known of it, or done")),
        _ if stays => {
            let message = format!("it can't be made: its pool {pool} is to be stopped");
            Closed::Refused(RefusalKind::Invalid, message, "set `running: true` on the pool".into())
        }
        Some(_) if wanted.is_some() && known => {
            Closed::Rests(format!("its pool {pool} is stopped, and nothing here starts it: nothing is known of it, or done"))
        }
        Some(found) => {
            let message = format!("its pool `{}` is stopped, and what is in it can't be read", found.name);
            let help = format!("start it: jvp apply its StoragePool, or virsh pool-start {}", found.name);
            Closed::Refused(RefusalKind::Guard, message, help)
        }
        None if wanted.is_some() => Closed::Opens,
        None => Closed::Missing,
    }
}

/// Says what becomes of an object that is to lie in a closed pool, which is named by the field at `path`. `known` tells that it is there
/// already, `expected` what is made of it once the pool is open.
pub(super) fn say(p: &mut Planner<'_>, wanted: &Wanted, pool: &ObjectRef, node: &Name, known: bool, expected: Vec<FieldChange>) {
    match closed(p, pool, node, known) {
        // One that is there is only out of sight.
        Closed::Opens if known => p.hold(wanted, Hold::Deferred(pool.clone()), Verb::Refresh, Vec::new()),
        Closed::Opens => p.hold(wanted, Hold::Deferred(pool.clone()), Verb::Create, expected),
        Closed::Rests(why) => {
            p.note(&wanted.object, "NotSeen", why);
            p.ready(&wanted.object);
        }
        Closed::Refused(kind, message, help) => p.refuse(wanted, kind, message, &[help]),
        Closed::Missing => p.refuse_missing(wanted, "/pool", pool),
    }
}

/// What an object waits for that names a volume which is nowhere to be seen: a closed pool that is on the node, and will be open. That is said,
/// as the next round refuses the object where the volume isn't in there, when part of the set is done.
pub(super) fn awaits(p: &mut Planner<'_>, wanted: &Wanted, volume: &ObjectRef, node: &Name) -> Option<Hold> {
    // One that is known to stand elsewhere isn't in there.
    let elsewhere = p.entry(volume).and_then(|entry| entry.node.as_ref()).is_some_and(|other| other != node);
    if volume.kind != Kind::Volume || elsewhere {
        return None;
    }
    let pools = p.desired.objects.keys().filter(|object| object.kind == Kind::StoragePool && object.node.as_ref() == Some(node));
    let mut there = pools.filter(|pool| p.pool(&pool.name, node).is_some() && p.open_pool(&pool.name, node).is_none());
    let opens = |pool: &&ObjectRef| {
        p.standing.get(*pool) != Some(&Standing::Blocked) && matches!(closed(p, pool, node, false), Closed::Opens)
    };
    let pool = there.find(opens)?.clone();
    let message = format!(
        "{volume} is in no manifest, not in the inventory, and in no pool that runs; it may be in {pool}, which is started"
    );
    p.note(&wanted.object, "VolumeNotSeen", message);
    Some(Hold::Deferred(pool))
}

/// Why a VM's seed can't be made in a closed pool.
pub(super) fn of_seed(p: &Planner<'_>, pool: &ObjectRef, node: &Name) -> Stop {
    match closed(p, pool, node, false) {
        Closed::Opens => Stop::Hold(Hold::Deferred(pool.clone())),
        Closed::Rests(why) => Stop::Refused(format!("/cloudInit: {why}"), Vec::new()),
        Closed::Refused(_, message, help) => Stop::Refused(format!("/cloudInit: {message}"), vec![help]),
        Closed::Missing => Stop::Missing("/cloudInit/pool".into(), pool.clone()),
    }
}
