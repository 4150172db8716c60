//! Settling: what looking alone tells the ledger. And the look into pools that makes it whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rounds::Seen;
use crate::host::{Host, NoProgress};
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::NodeView;
use crate::plan::{ActionId, Change, Intent, NEW_HOST_UUID, NodeRecord, Note, Op, Plan, Verb};
use crate::store::{self, Ledger, StoreError};

/// Where a plan that is carried out leaves something to be recorded that only looking once more tells. VMs that are new, or that were
/// changed and neither started nor stopped, are read back and settled one by one.
pub(super) fn unsettled(plan: &Plan) -> BTreeSet<Option<Name>> {
    let in_place = |id: &ActionId| {
        let op = plan.actions.get(id.0).map(|action| &action.op);
        op.is_some_and(|op| {
            matches!(
                op,
                Op::DomainRedefine { .. }
                    | Op::DomainMetadata { .. }
                    | Op::DomainDevice { .. }
                    | Op::DomainMemory { .. }
                    | Op::DomainBlockLimits { .. }
            )
        })
    };
    let settled = |change: &Change| {
        change.object.kind == Kind::VirtualMachine
            && (change.verb == Verb::Create || (change.verb == Verb::Update && change.actions.iter().all(in_place)))
    };
    // What libvirt made of a user's own text is known by a look at it only, and what a hand does to it from then on is told by that.
    let theirs = |op: &Op| matches!(op, Op::DomainDefine { validate: true, .. } | Op::DomainRedefine { validate: true, .. });
    let changes = plan.changes.iter().filter(|change| !settled(change)).map(|change| change.node.clone());
    let texts = plan.actions.iter().filter(|action| theirs(&action.op)).map(|action| action.node.clone());
    changes.chain(texts).chain(plan.deferred.iter().map(|deferred| deferred.node.clone())).collect()
}

/// Records the hosts that were met for the first time, and, of the objects that `among` has (with where they are), those that are as
/// wanted and that the ledger didn't know so.
pub fn settle(
    ledger: &Ledger,
    clock: fn() -> jiff::Timestamp,
    seen: &Seen,
    plan: &Plan,
    among: &dyn Fn(&ObjectRef, Option<&Name>) -> bool,
) -> Result<(), StoreError> {
    let now = || clock().to_string();
    for (name, view) in &seen.observed.nodes {
        let NodeView::Reached(state) = view else { continue };
        let Some(host_uuid) = state.host.uuid else { continue };
        let met_again = |note: &Note| note.condition == NEW_HOST_UUID && note.object == ObjectRef::new(Kind::Node, name.clone());
        match ledger.node(name) {
            None if plan.leaves_alone(name) => {}
            None => ledger.put_node(NodeRecord { name: name.clone(), host_uuid, first_seen: now() })?,
            Some(known) if known.host_uuid != host_uuid && plan.notes.iter().any(met_again) => {
                ledger.put_node(NodeRecord { host_uuid, ..known })?;
            }
            Some(_) => {}
        }
    }
    let alone = |node: Option<&Name>| node.is_some_and(|node| plan.leaves_alone(node));
    for entry in seen
        .rebuilt
        .iter()
        .chain(&plan.settled)
        .filter(|entry| among(&entry.object, entry.node.as_ref()) && !alone(entry.node.as_ref()))
    {
        let known = ledger.entry(&entry.object);
        let mut entry = entry.clone();
        entry.date(known.as_ref(), now);
        if known.as_ref() != Some(&entry) {
            ledger.put_entry(entry)?;
        }
    }
    // What is only looked at may be half made by a run that broke off, of which nothing else tells.
    let half_made = |intent: &Intent| {
        let of =
            |note: &Note| note.object == intent.object && matches!(note.condition.as_str(), "Missing" | "Differs" | "Unseen");
        matches!(intent.object.kind, Kind::Volume | Kind::Template)
            && matches!(intent.op.as_str(), "volume-create" | "volume-clone" | "volume-upload")
            && plan.notes.iter().any(of)
    };
    // An intent whose object needs nothing any more was decided by looking.
    for intent in ledger.open_intents().into_iter().filter(|intent| among(&intent.object, intent.node.as_ref())) {
        let open = !plan.has_judged(&intent.object)
            || plan.changes.iter().any(|change| change.object == intent.object)
            || plan.deferred.iter().any(|deferred| deferred.object == intent.object)
            || plan.refusals.iter().any(|refusal| refusal.object == intent.object)
            || plan.notes.iter().any(|note| note.object == intent.object && note.condition == "Suspended")
            || half_made(&intent)
            || plan.unreachable.iter().any(|node| Some(&node.node) == intent.node.as_ref())
            || alone(intent.node.as_ref());
        if !open {
            ledger.complete(&intent.id, store::Outcome::Settled, Vec::new())?;
        }
    }
    Ok(())
}

/// The pools that hold a volume which the plan makes, fills, grows or deletes, by node, but for those that it starts, which are read then.
pub fn pools_to_refresh(plan: &Plan) -> BTreeMap<Name, BTreeSet<String>> {
    let starts: BTreeSet<(Option<&Name>, &str)> = plan
        .actions
        .iter()
        .filter_map(|action| match &action.op {
            Op::PoolStart { name } => Some((action.node.as_ref(), name.as_str())),
            _ => None,
        })
        .collect();
    let mut pools: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
    for action in &plan.actions {
        let (
            Some(node),
            Op::VolumeCreate { pool, .. }
            | Op::VolumeClone { pool, .. }
            | Op::VolumeUpload { pool, .. }
            | Op::VolumeGrow { pool, .. }
            | Op::VolumeDelete { pool, .. },
        ) = (&action.node, &action.op)
        else {
            continue;
        };
        if !starts.contains(&(Some(node), pool.as_str())) {
            pools.entry(node.clone()).or_default().insert(pool.clone());
        }
    }
    pools
}

/// Has a node look into pools again.
pub async fn refresh_pools(node: Name, host: Arc<dyn Host>, pools: BTreeSet<String>) {
    let refreshed = pools.into_iter().map(|pool| {
        let (node, host) = (&node, &host);
        async move {
            if let Err(error) = host.act(&Op::PoolRefresh { name: pool.clone() }, &NoProgress).await {
                tracing::warn!(%node, pool, %error, "the pool was not refreshed");
            }
        }
    });
    futures_util::future::join_all(refreshed).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Observed;
    use crate::plan::{Owned, Sources};
    use crate::store::Store;

    #[test]
    fn an_intent_is_ended_only_by_a_plan_that_judged_its_object() {
        let ledger = Store::in_memory().ledger(uuid::Uuid::nil());
        let object = |text: &str| text.parse::<ObjectRef>().expect("a reference");
        let intent = Intent {
            id: "1".into(),
            run: "run".into(),
            object: object("Volume/v"),
            op: "volume-create".into(),
            node: None,
            details: serde_json::Value::Null,
            absent_before: true,
            at: String::new(),
        };
        ledger.begin(vec![intent], Vec::new()).expect("it is written");
        let seen =
            Seen { observed: Observed::default(), owned: Owned::default(), rebuilt: Vec::new(), sources: Sources::default() };
        for (judged, open) in [(vec![], 1), (vec!["Volume/w"], 1), (vec!["Volume/v", "Volume/w"], 0)] {
            let plan = Plan { judged: Some(judged.iter().copied().map(object).collect()), ..Plan::default() };
            settle(&ledger, || jiff::Timestamp::UNIX_EPOCH, &seen, &plan, &|_, _| true).expect("it is settled");
            assert_eq!(ledger.open_intents().len(), open, "{judged:?}");
        }
    }
}
