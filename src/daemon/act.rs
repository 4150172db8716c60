//! Doing: a part of a plan is carried out as a task of its own, by the executor that an apply uses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;

use super::cause::Cause;
use super::claims::Claims;
use super::queue::Ending;
use crate::apply::progress::Sink;
use crate::apply::{Halt, Workspace, World, run};
use crate::host::Ear;
use crate::name::{Name, ObjectRef};
use crate::plan::{ActionId, Part};
use crate::store::Ledger;

/// A run that is under way.
pub(super) struct Running {
    pub claims: Claims,
    pub objects: BTreeSet<ObjectRef>,
    /// Where it has steps.
    pub nodes: BTreeSet<Name>,
    /// VMs that it stops, to start them again or not.
    pub stops: BTreeSet<ObjectRef>,
    pub cause: Cause,
}

/// What became of a run.
pub(super) struct Ended {
    pub run: u64,
    pub objects: BTreeMap<ObjectRef, (Ending, Option<String>)>,
    /// What was done, and whether it went well.
    pub steps: Vec<(&'static str, bool)>,
    /// Objects that are gone now.
    pub deleted: BTreeSet<ObjectRef>,
    /// Objects whose entries may be others now.
    pub recorded: BTreeSet<ObjectRef>,
}

/// Carries a part out.
pub(super) async fn carry_out(
    number: u64,
    run_id: String,
    part: Part,
    workspace: Arc<Workspace>,
    (ledger, ears): (Ledger, BTreeMap<Name, Ear>),
    parallelism: usize,
    halt: watch::Receiver<Halt>,
) -> Ended {
    let world = Arc::new(World { ears, ..workspace.world(ledger) });
    let outcome = run(&part.plan, &world, &run_id, parallelism, &halt, &Sink::none()).await;
    let action = |id: &ActionId| part.plan.actions.get(id.0);
    let mut objects: BTreeMap<ObjectRef, (Ending, Option<String>)> =
        part.objects.iter().map(|object| (object.clone(), (Ending::Done, None))).collect();
    let of = |ids: &mut dyn Iterator<Item = &ActionId>| -> Vec<ObjectRef> {
        ids.filter_map(action).map(|action| action.object.clone()).collect()
    };
    for object in of(&mut outcome.stopped.iter()) {
        objects.insert(object, (Ending::Stopped, None));
    }
    for (skipped, failed) in &outcome.skipped {
        let (Some(skipped), Some(failed)) = (action(skipped), action(failed)) else { continue };
        if skipped.object != failed.object {
            let why = format!("it needs {}, of which {} failed", failed.object, failed.op.word());
            objects.insert(skipped.object.clone(), (Ending::Failed, Some(why)));
        }
    }
    for (id, failure) in &outcome.failed {
        let Some(action) = action(id) else { continue };
        objects.insert(action.object.clone(), (Ending::Failed, Some(format!("{} failed: {failure}", action.op.word()))));
    }
    let steps = outcome
        .done
        .iter()
        .map(|id| (id, true))
        .chain(outcome.failed.keys().map(|id| (id, false)))
        .filter_map(|(id, done)| Some((action(id)?.op.word(), done)))
        .collect();
    let entries = world.ledger.pick(|owned| {
        part.objects.iter().filter(|object| !owned.entries.contains_key(*object)).cloned().collect::<BTreeSet<_>>()
    });
    let mut recorded = part.objects.clone();
    recorded.extend(part.plan.actions.iter().filter_map(|action| action.record.object().cloned()));
    Ended { run: number, objects, steps, deleted: entries, recorded }
}
