//! Planning a StoragePool.

use std::collections::BTreeMap;

use serde_json::json;

use crate::manifest::{Leaves, Spec, StoragePoolSpec};
use crate::observe::PoolState;
use crate::plan::diff::compare;
use crate::plan::identity::Verdict;
use crate::plan::model::{FieldChange, RefusalKind, Shown, Verb};
use crate::plan::planner::{Draft, Planner, Row};
use crate::plan::record::entry_of;
use crate::plan::{Entry, Expect, Lane, Op, Precondition, Record};
use crate::resolve::Wanted;
use crate::xml;

pub(in crate::plan) fn plan(p: &mut Planner<'_>, wanted: &Wanted) {
    let Spec::StoragePool(spec) = &*wanted.spec else { return };
    let Some(state) = wanted.node.as_ref().and_then(|node| p.node(node)) else { return };
    let verdict = p.verdict_pool(wanted, state);
    if p.refuse_foreign(wanted, "storage pool", &verdict) {
        return;
    }
    match verdict {
        Verdict::Absent => create(p, wanted, spec),
        Verdict::Renamed { name, .. } if p.refuse_new_name(wanted, &name) => {}
        Verdict::Renamed { name, .. } => p.refuse(
            wanted,
            RefusalKind::Guard,
            format!("the pool was renamed to `{name}` by hand, or that pool bears its UUID"),
            &[format!("set `spec.libvirtName: {name}`, or define it under its old name again")],
        ),
        Verdict::Ours { .. } => match state.pools.get(&wanted.libvirt_name) {
            Some(pool) => update(p, wanted, spec, pool),
            None => p.ready(&wanted.object),
        },
        Verdict::Foreign { .. } | Verdict::Undefined { .. } | Verdict::Transient => {}
    }
}

/// The folder as libvirt prints it.
fn path_of(spec: &StoragePoolSpec) -> String {
    xml::pool::clean_path(spec.target.as_ref().and_then(|target| target.path.as_deref()).unwrap_or_default())
}

fn create(p: &mut Planner<'_>, wanted: &Wanted, spec: &StoragePoolSpec) {
    if spec.pool_type.is_none() || spec.target.is_none() {
        return p.refuse_unmade(wanted, if spec.pool_type.is_none() { "type" } else { "target" });
    }
    let name = wanted.libvirt_name.clone();
    let path = path_of(spec);
    let lane = Lane::PoolExclusive(name.clone());
    let running = spec.running.unwrap_or(true);
    let autostart = spec.autostart.unwrap_or(true);
    let text = xml::pool::render(&xml::pool::PoolWanted { name: &name, uuid: wanted.uid, path: &path });
    let entry = entry_of(p, wanted, Some(wanted.uid)).into_owned();
    let mut row = Row::new(wanted, Verb::Create, "there is no such pool");
    row.fields = vec![
        FieldChange { path: "/type".into(), old: None, new: Some(Shown::Value("Dir".into())) },
        FieldChange { path: "/target/path".into(), old: None, new: Some(Shown::Value(path.clone())) },
    ];
    for reference in &wanted.references {
        match p.standing_of(&reference.object) {
            Ok(ids) => row.needs.extend(ids),
            Err(hold) => return p.hold(wanted, hold, Verb::Create, row.fields),
        }
    }
    let leaves = Leaves::from_iter([("/target/path".to_owned(), json!(path))]);
    let expect = Expect::Matches { uuid: wanted.uid, leaves, disks: BTreeMap::new() };
    row.drafts.push(
        Draft::new(Op::PoolDefine { name: name.clone(), xml: text }, lane.clone())
            .when(Precondition::Absent)
            .expect(expect)
            .record(Record::Put(Box::new(entry.clone()))),
    );
    let ours = Precondition::Uuid(wanted.uid);
    // Its folder shows in no document: where nobody knows whether it was made, its intent stays.
    row.drafts.push(Draft::new(Op::PoolBuild { name: name.clone() }, lane.clone()).when(ours.clone()));
    if running {
        row.drafts
            .push(Draft::new(Op::PoolStart { name: name.clone() }, lane.clone()).when(ours.clone()).expect(Expect::Active(true)));
    }
    if autostart {
        row.drafts.push(Draft::new(Op::PoolAutostart { name, on: true }, lane).when(ours).expect(Expect::Autostart(true)));
    }
    if let Some(last) = row.drafts.last_mut() {
        last.record = Record::Settle(Box::new(entry));
    }
    turned(p, &row);
    p.commit(row);
}

/// The leaves of a pool as the node has it.
pub(in crate::plan) fn observed(pool: &PoolState) -> Leaves {
    let mut leaves = crate::plan::leaves_of(crate::name::Kind::StoragePool, &pool.doc.spec);
    leaves.insert("/autostart".into(), json!(pool.autostart));
    leaves.insert("/running".into(), json!(pool.active));
    leaves
}

fn update(p: &mut Planner<'_>, wanted: &Wanted, spec: &StoragePoolSpec, pool: &PoolState) {
    let name = wanted.libvirt_name.clone();
    let lane = Lane::PoolExclusive(name.clone());
    let mut now = (*wanted.now).clone();
    if now.contains_key("/target/path") {
        now.insert("/target/path".into(), json!(path_of(spec)));
    }
    let unfinished = p.unfinished(wanted);
    // A pool that is not said to be stopped runs: what is made on it needs it.
    if unfinished || !wanted.lifecycle.ignores("/running") {
        now.entry("/running".into()).or_insert(json!(spec.running.unwrap_or(true)));
    }
    if unfinished {
        now.entry("/autostart".into()).or_insert(json!(true));
    }
    let last = p.entry(&wanted.object).map(|entry| entry.last.clone()).unwrap_or_default();
    let found = compare(wanted.object.kind, &now, &last, &observed(pool));
    if p.refuse_never(wanted, &found) {
        return;
    }
    let mut row = Row::new(wanted, Verb::Update, "it differs from the manifest");
    row.fields = found.shown();
    row.fields.extend(p.inventory_changes(wanted));
    // A creation or a move that broke off may not have made its folder; a folder that was made ends these intents.
    let folder = |op: &str| matches!(op, "pool-build" | "pool-retarget");
    let broken = p.owned.intents.iter().any(|intent| intent.object == wanted.object && folder(&intent.op));
    let builds = (unfinished || broken) && !pool.active;
    if row.fields.is_empty() && !builds {
        return p.settled(wanted, Some(pool.uuid));
    }
    let ours = Precondition::Uuid(pool.uuid);
    if row.fields.is_empty() {
        row.reason = "a run broke off before its folder was known to be there".into();
    }
    let moves = found.changed.iter().any(|(field, _)| field.path == "/target/path");
    if moves && !relocate(p, &mut row, wanted, spec, pool) {
        return;
    }
    if builds && !moves {
        row.drafts.push(Draft::new(Op::PoolBuild { name: name.clone() }, lane.clone()).when(ours.clone()));
    }
    for (field, _) in &found.changed {
        match field.path {
            "/running" if spec.running == Some(false) => {
                if refuse_used(p, wanted, pool) {
                    return;
                }
                // A move has stopped it already.
                if !moves || !pool.active {
                    row.drafts.push(stop(pool));
                }
            }
            "/running" if moves => {}
            "/running" => {
                row.drafts.push(
                    Draft::new(Op::PoolStart { name: name.clone() }, lane.clone())
                        .when(ours.clone())
                        .expect(Expect::Active(true)),
                );
            }
            "/autostart" => {
                let on = spec.autostart.unwrap_or(true);
                row.drafts.push(
                    Draft::new(Op::PoolAutostart { name: name.clone(), on }, lane.clone())
                        .when(ours.clone())
                        .expect(Expect::Autostart(on)),
                );
            }
            _ => {}
        }
    }
    row.settle(entry_of(p, wanted, Some(pool.uuid)));
    turned(p, &row);
    p.commit(row);
}

/// Has what is to lie in a pool know whether it stops or starts.
fn turned(p: &mut Planner<'_>, row: &Row<'_>) {
    for draft in &row.drafts {
        match draft.op {
            Op::PoolStop { .. } => drop(p.stopping.insert(row.wanted.object.clone())),
            Op::PoolStart { .. } => drop(p.starting.insert(row.wanted.object.clone())),
            _ => {}
        }
    }
}

fn stop(pool: &PoolState) -> Draft {
    Draft::new(Op::PoolStop { name: pool.name.clone() }, Lane::PoolExclusive(pool.name.clone()))
        .when(Precondition::PoolUnused { uuid: pool.uuid })
        .expect(Expect::Active(false))
}

/// Refuses to stop a pool that is in use: guests would run on, and could not be started again. True where it was refused.
pub(super) fn refuse_used(p: &mut Planner<'_>, wanted: &Wanted, pool: &PoolState) -> bool {
    let users = p.users_of_pool(wanted.node.as_ref(), pool);
    if users.is_empty() {
        return false;
    }
    p.refuse(
        wanted,
        RefusalKind::Guard,
        format!("it is not stopped while its volumes are used by {}", users.join(", ")),
        &["take these off it first, or leave the pool running".into()],
    );
    true
}

/// Moves a pool to another folder: defined anew, stopped and started. Its files stay where they are, so one with files of ours is not
/// moved: they would be lost sight of. False where it was refused.
fn relocate(p: &mut Planner<'_>, row: &mut Row<'_>, wanted: &Wanted, spec: &StoragePoolSpec, pool: &PoolState) -> bool {
    if refuse_used(p, wanted, pool) {
        return false;
    }
    let holds = |entry: &&std::sync::Arc<crate::plan::Entry>| {
        entry.node == wanted.node
            && (entry.volume.as_ref().is_some_and(|volume| volume.pool == pool.name)
                || entry.template.as_ref().is_some_and(|template| template.pool == pool.name))
    };
    let held: Vec<String> = p.owned.entries.values().filter(holds).map(|entry| entry.object.to_string()).collect();
    if !held.is_empty() {
        p.refuse(
            wanted,
            RefusalKind::Guard,
            format!("/target/path: its files stay in the old folder, and {} would be lost sight of", held.join(", ")),
            &["make a new StoragePool under another name at the new path, and new volumes in it".into()],
        );
        return false;
    }
    let path = path_of(spec);
    let lane = Lane::PoolExclusive(pool.name.clone());
    let draft = |op: Op| Draft::new(op, lane.clone()).when(Precondition::Uuid(pool.uuid));
    let name = pool.name.clone();
    let leaves = Leaves::from_iter([("/target/path".to_owned(), json!(path))]);
    let expect = Expect::Matches { uuid: pool.uuid, leaves, disks: BTreeMap::new() };
    row.reason = "its folder changes; what lies in the old one stays there".into();
    if pool.active {
        row.drafts.push(stop(pool));
    }
    // Until its new folder is made, it is as one that is being made.
    let halfway = Entry { unfinished: true, ..entry_of(p, wanted, Some(pool.uuid)).into_owned() };
    let retarget = draft(Op::PoolRetarget { name: name.clone(), path }).expect(expect);
    row.drafts.push(retarget.record(Record::Put(Box::new(halfway))));
    row.drafts.push(draft(Op::PoolBuild { name: name.clone() }));
    if spec.running != Some(false) {
        row.drafts.push(draft(Op::PoolStart { name }).expect(Expect::Active(true)));
    }
    true
}
