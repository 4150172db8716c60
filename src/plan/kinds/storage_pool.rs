//! Planning a StoragePool.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::manifest::{Spec, StoragePoolSpec};
use crate::observe::PoolState;
use crate::plan::diff::compare;
use crate::plan::identity::Verdict;
use crate::plan::model::{FieldChange, RefusalKind, Shown, Verb};
use crate::plan::planner::{Draft, Planner, Row};
use crate::plan::record::entry_of;
use crate::plan::{Expect, Lane, Op, Precondition, Record};
use crate::resolve::Wanted;
use crate::xml;

pub(in crate::plan) fn plan(p: &mut Planner<'_>, wanted: &Wanted) {
    let Spec::StoragePool(spec) = &wanted.spec else { return };
    let Some(state) = wanted.node.as_ref().and_then(|node| p.node(node)) else { return };
    let verdict = p.verdict_pool(wanted, state);
    if p.refuse_foreign(wanted, "storage pool", &verdict) {
        return;
    }
    match verdict {
        Verdict::Absent => create(p, wanted, spec),
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
        Verdict::Foreign { .. } | Verdict::Transient => {}
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
    let entry = entry_of(p, wanted, Some(wanted.uid));
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
    let leaves = BTreeMap::from([("/target/path".to_owned(), json!(path))]);
    let expect = Expect::Matches { uuid: wanted.uid, leaves, disks: BTreeMap::new() };
    row.drafts.push(
        Draft::new(Op::PoolDefine { name: name.clone(), xml: text }, lane.clone())
            .when(Precondition::Absent)
            .expect(expect.clone())
            .record(Record::Put(Box::new(entry.clone()))),
    );
    let ours = Precondition::Uuid(wanted.uid);
    row.drafts.push(Draft::new(Op::PoolBuild { name: name.clone() }, lane.clone()).when(ours.clone()).expect(expect));
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
    p.commit(row);
}

/// The leaves of a pool as the node has it.
pub(in crate::plan) fn observed(pool: &PoolState) -> BTreeMap<String, Value> {
    let mut leaves = crate::plan::leaves_of(&Spec::StoragePool(pool.doc.spec.clone()));
    leaves.insert("/autostart".into(), json!(pool.autostart));
    leaves.insert("/running".into(), json!(pool.active));
    leaves
}

fn update(p: &mut Planner<'_>, wanted: &Wanted, spec: &StoragePoolSpec, pool: &PoolState) {
    let name = wanted.libvirt_name.clone();
    let lane = Lane::PoolExclusive(name.clone());
    let mut now = wanted.now.clone();
    if now.contains_key("/target/path") {
        now.insert("/target/path".into(), json!(path_of(spec)));
    }
    // A pool that is not said to be stopped runs: what is made on it needs it.
    if !wanted.lifecycle.ignores("/running") {
        now.entry("/running".into()).or_insert(json!(true));
    }
    let unfinished = p.unfinished(wanted);
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
    if row.fields.is_empty() {
        return p.settled(wanted, Some(pool.uuid));
    }
    let ours = Precondition::Uuid(pool.uuid);
    for (field, _) in &found.changed {
        match field.path {
            "/running" if spec.running == Some(false) => {
                let users = p.users_of_pool(wanted.node.as_ref(), pool);
                if !users.is_empty() {
                    return p.refuse(
                        wanted,
                        RefusalKind::Guard,
                        format!("it is not stopped while its volumes are used by {}", users.join(", ")),
                        &["stop these first, or leave the pool running".into()],
                    );
                }
                row.drafts.push(
                    Draft::new(Op::PoolStop { name: name.clone() }, lane.clone())
                        .when(ours.clone())
                        .expect(Expect::Active(false)),
                );
            }
            "/running" => {
                if unfinished {
                    row.drafts.push(Draft::new(Op::PoolBuild { name: name.clone() }, lane.clone()).when(ours.clone()));
                }
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
    p.commit(row);
}
