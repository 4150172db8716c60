//! From a plan to its outcome: show, ask, do, round by round. What apply, delete and the power commands share.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::args::Global;
use super::error::CommandError;
use super::exit::Exit;
use super::output::Out;
use super::session::{Seen, Session, now};
use crate::apply::progress::Sink;
use crate::apply::{Failure, FailureKind, Halt, Outcome, World, run};
use crate::host::NoProgress;
use crate::name::{Kind, ObjectRef};
use crate::observe::{NodeView, Scope};
use crate::plan::{Action, Change, Data, Mode, NodeRecord, Op, Plan, Policy, RefusalKind, Verb, render};

/// How a plan is to be carried out.
pub(super) struct Manner {
    /// Don't ask.
    pub yes: bool,
    /// Show and do nothing.
    pub dry_run: bool,
    /// Steps in flight on a node.
    pub parallelism: usize,
    /// The plan must have this fingerprint.
    pub fingerprint: Option<String>,
}

/// Rounds after which an apply ends, whatever is still deferred.
const ROUNDS: u32 = 4;

/// The exit code that a plan by itself means.
pub(super) fn judge(plan: &Plan) -> Exit {
    let refusals = plan.refusals.iter().fold(Exit::Ok, |exit, refusal| {
        exit.or(match refusal.kind {
            RefusalKind::Invalid => Exit::Invalid,
            RefusalKind::Guard => Exit::Refused,
            RefusalKind::Unreachable => Exit::Unreachable,
        })
    });
    if plan.unreachable.is_empty() { refusals } else { refusals.or(Exit::Unreachable) }
}

/// Plans, shows, asks and does.
pub(super) async fn carry_out(
    mut session: Session,
    global: &Global,
    make_policy: impl Fn(&Session, &Seen) -> Result<Policy, CommandError>,
    manner: &Manner,
    out: &Arc<Out>,
) -> Result<Exit, CommandError> {
    if !manner.dry_run {
        session.lock(global, out)?;
    }
    let mut seen = session.look(&Scope::Everything, out).await?;
    let policy = make_policy(&session, &seen)?;
    let mut plan = session.plan(&seen, &policy);
    if !manner.dry_run && refresh(&session, &plan).await {
        // What lay in these pools without libvirt's knowledge is known now, and the guards look again.
        seen = session.look(&Scope::Everything, out).await?;
        plan = session.plan(&seen, &policy);
    }
    session.publish()?;
    if plan.is_empty() && plan.refusals.is_empty() && matches!(policy.mode, Mode::Delete { .. }) {
        out.print("Nothing is to be deleted: none of it is ours.\n");
    } else {
        out.print(&render(&plan, out.colour));
    }
    let mut exit = judge(&plan);
    if let Some(wanted) = &manner.fingerprint
        && *wanted != plan.fingerprint
    {
        return Err(CommandError::new(Exit::Refused, "what the saved plan was made from has changed, so it is not carried out")
            .help("plan again: jvp plan --out FILE"));
    }
    if manner.dry_run {
        return Ok(exit);
    }
    if matches!(exit, Exit::Refused | Exit::Invalid) {
        if !plan.is_empty() {
            out.say("nothing was done, since something was refused; `--target` leaves it out\n");
        }
        session.close()?;
        return Ok(exit);
    }
    if plan.is_empty() {
        settle(&session, &seen, &plan)?;
        session.close()?;
        return Ok(exit);
    }
    if manner.fingerprint.is_none() {
        confirm(&plan, manner.yes, out)?;
    }
    let (halt, halted) = watch::channel(Halt::No);
    let signals = tokio::spawn(super::signals::listen(halt, out.clone()));
    let result = rounds(&session, seen, plan, &policy, manner, &halted, out).await;
    signals.abort();
    exit = exit.or(result?);
    session.close()?;
    Ok(exit)
}

/// Refreshes each pool that holds a volume which the plan makes, fills, grows or deletes. True where there was one.
async fn refresh(session: &Session, plan: &Plan) -> bool {
    let pools: BTreeSet<(&crate::name::Name, &str)> = plan
        .actions
        .iter()
        .filter_map(|action| match &action.op {
            Op::VolumeCreate { pool, .. }
            | Op::VolumeClone { pool, .. }
            | Op::VolumeUpload { pool, .. }
            | Op::VolumeGrow { pool, .. }
            | Op::VolumeDelete { pool, .. } => Some((action.node.as_ref()?, pool.as_str())),
            _ => None,
        })
        .collect();
    for (node, pool) in &pools {
        let Some(host) = session.hosts.get(*node) else { continue };
        if let Err(error) = host.act(&Op::PoolRefresh { name: (*pool).to_owned() }, &NoProgress).await {
            tracing::warn!(%node, pool, %error, "the pool was not refreshed");
        }
    }
    !pools.is_empty()
}

/// Asks before anything is done. Each destructive line is confirmed by the object's name.
fn confirm(plan: &Plan, yes: bool, out: &Out) -> Result<(), CommandError> {
    if yes {
        return Ok(());
    }
    if !out.interactive {
        return Err(CommandError::new(Exit::Usage, "there is no terminal to ask on, so nothing was done")
            .help("say that it may be done: -y (--auto-approve)"));
    }
    for change in plan.changes.iter().filter(|change| change.data == Data::Lost) {
        let answer = out.ask(&format!("The data of {} will be lost. Type its name to go on: ", change.object));
        if answer != change.object.name.as_str() && answer != change.object.to_string() {
            return Err(CommandError::new(Exit::Error, "nothing was done"));
        }
    }
    let answer = out.ask("Do this? Only `yes` will do: ");
    if answer == "yes" { Ok(()) } else { Err(CommandError::new(Exit::Error, "nothing was done")) }
}

/// Records the hosts that were met for the first time, and objects that are as wanted and that the ledger didn't know so.
fn settle(session: &Session, seen: &Seen, plan: &Plan) -> Result<(), CommandError> {
    let Some(ledger) = session.ledger() else { return Ok(()) };
    for (name, view) in &seen.observed.nodes {
        let NodeView::Reached(state) = view else { continue };
        if let (None, Some(host_uuid)) = (ledger.node(name), state.host.uuid) {
            ledger.put_node(NodeRecord { name: name.clone(), host_uuid, first_seen: now().to_string() })?;
        }
    }
    for entry in seen.rebuilt.iter().chain(&plan.settled) {
        let known = ledger.entry(&entry.object);
        let mut entry = entry.clone();
        entry.date(known.as_ref(), || now().to_string());
        if known.as_ref() != Some(&entry) {
            ledger.put_entry(entry)?;
        }
    }
    // An intent whose object needs nothing any more was decided by looking.
    for intent in ledger.open_intents() {
        let open = plan.changes.iter().any(|change| change.object == intent.object)
            || plan.deferred.iter().any(|deferred| deferred.object == intent.object)
            || plan.refusals.iter().any(|refusal| refusal.object == intent.object)
            || plan.unreachable.iter().any(|node| Some(&node.node) == intent.node.as_ref());
        if !open {
            ledger.complete(&intent.id, crate::store::Outcome::Failed, Vec::new())?;
        }
    }
    Ok(())
}

/// What a round after the first may do: create, start or change live what was named as deferred.
fn may(action: &Action, plan: &Plan, named: &BTreeSet<ObjectRef>) -> bool {
    let implied = plan
        .changes
        .iter()
        .any(|change| change.actions.contains(&action.id) && change.implied_by.as_ref().is_some_and(|by| named.contains(by)));
    let harmless = !matches!(
        action.op,
        Op::DomainDestroy { .. }
            | Op::DomainShutdown { .. }
            | Op::DomainUndefine { .. }
            | Op::NetworkStop { .. }
            | Op::NetworkUndefine { .. }
            | Op::PoolStop { .. }
            | Op::PoolUndefine { .. }
    );
    harmless && (named.contains(&action.object) || implied)
}

async fn rounds(
    session: &Session,
    seen: Seen,
    plan: Plan,
    policy: &Policy,
    manner: &Manner,
    halted: &watch::Receiver<Halt>,
    out: &Arc<Out>,
) -> Result<Exit, CommandError> {
    let Some(ledger) = session.ledger() else { return Err(CommandError::new(Exit::Error, "the ledger is not held")) };
    let world = Arc::new(World {
        hosts: session.hosts.clone(),
        ledger,
        local: Arc::new(super::gather::Controller::of(session)),
        clock: now,
    });
    let run_id = now().as_millisecond().to_string();
    let mut named: BTreeSet<ObjectRef> = plan.changes.iter().map(|change| change.object.clone()).collect();
    named.extend(plan.deferred.iter().map(|deferred| deferred.object.clone()));
    let (mut seen, mut plan) = (seen, plan);
    let mut failures: Vec<(Action, Failure)> = Vec::new();
    let mut done = 0;
    let mut skipped = 0;
    for round in 1..=ROUNDS {
        settle(session, &seen, &plan)?;
        session.publish()?;
        let (sink, bars) = super::progress::sink(out, &plan);
        let outcome: Outcome = run(&plan, &world, &format!("{run_id}-{round}"), manner.parallelism, halted, &sink).await;
        drop::<Sink>(sink);
        bars.finish();
        done += outcome.done.len();
        skipped += outcome.skipped.len();
        for (id, failure) in &outcome.failed {
            if let Some(action) = plan.actions.get(id.0) {
                failures.push((action.clone(), failure.clone()));
            }
        }
        if !outcome.stopped.is_empty() {
            report(out, done, skipped, &failures);
            out.say("stopped as asked; the journal tells the next run where it was\n");
            return Ok(Exit::Partly);
        }
        if plan.deferred.is_empty() || outcome.done.is_empty() || *halted.borrow() != Halt::No {
            break;
        }
        // What was awaited is there: look again, and plan what was deferred with the same function.
        seen = session.look(&Scope::Everything, out).await?;
        let next = session.plan(&seen, policy);
        if !matches!(judge(&next), Exit::Ok | Exit::Unreachable) {
            out.print(&render(&next, out.colour));
            report(out, done, skipped, &failures);
            return Ok(judge(&next).or(Exit::Partly));
        }
        if let Some(action) = next.actions.iter().find(|action| !may(action, &next, &named)) {
            let failed = failures.iter().any(|(failed, _)| failed.object == action.object);
            if !failed {
                report(out, done, skipped, &failures);
                out.say(&format!(
                    "{}: what is to be done for it was not in the plan that was shown; plan again\n",
                    action.object
                ));
                return Ok(Exit::Partly);
            }
        }
        named.extend(next.changes.iter().map(|change| change.object.clone()));
        if next.is_empty() {
            plan = next;
            break;
        }
        // What failed in this run isn't tried again in it.
        if next.actions.iter().all(|action| failures.iter().any(|(failed, _)| failed.object == action.object)) {
            break;
        }
        plan = next;
    }
    if failures.is_empty() && skipped == 0 {
        if !(leaves_nothing_to_settle(&plan) && world.ledger.open_intents().is_empty()) {
            seen = session.look(&Scope::Everything, out).await?;
            let after = session.plan(&seen, policy);
            settle(session, &seen, &after)?;
        }
        super::gather::write_metadata(session, &seen);
    }
    report(out, done, skipped, &failures);
    Ok(code(&failures, skipped))
}

/// Whether a plan that was carried out recorded all that looking once more could: new VMs are read back and settled one by one.
fn leaves_nothing_to_settle(plan: &Plan) -> bool {
    let new_vm = |change: &Change| change.object.kind == Kind::VirtualMachine && change.verb == Verb::Create;
    !plan.is_empty() && plan.deferred.is_empty() && plan.changes.iter().all(new_vm)
}

fn code(failures: &[(Action, Failure)], skipped: usize) -> Exit {
    if failures.is_empty() && skipped == 0 {
        return Exit::Ok;
    }
    if !failures.is_empty() && failures.iter().all(|(_, failure)| failure.kind == FailureKind::Unreachable) {
        return Exit::Partly.or(Exit::Unreachable);
    }
    Exit::Partly
}

fn report(out: &Out, done: usize, skipped: usize, failures: &[(Action, Failure)]) {
    for (action, failure) in failures {
        let node = action.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
        out.say(&format!("error: {}: {}{node} failed: {failure}\n", action.object, action.op.word()));
        for help in advice(action, failure) {
            out.say(&format!("  help: {help}\n"));
        }
    }
    let mut text = format!("Done: {done} step{}", if done == 1 { "" } else { "s" });
    if !failures.is_empty() {
        text.push_str(&format!(", {} failed", failures.len()));
    }
    if skipped > 0 {
        text.push_str(&format!(", {skipped} not begun, since they need what failed"));
    }
    text.push_str(".\n");
    out.print(&text);
}

/// What to do about a failure.
fn advice(action: &Action, failure: &Failure) -> Vec<String> {
    match failure.kind {
        FailureKind::Conflict => vec!["something changed it since the plan was made: plan again".into()],
        FailureKind::Unreachable | FailureKind::Unknown => {
            vec!["once the node is back, run it again: it looks at what was done and goes on from there".into()]
        }
        FailureKind::StopTimeout => vec![
            format!("the guest runs on; to cut its power: --force-stop {}", action.object),
            "or give it longer: spec.shutdown.timeout".into(),
        ],
        FailureKind::Mismatch => vec!["look at it with `jvp diff`, then run it again".into()],
        FailureKind::Journal => vec!["make room or mend the state directory, then run it again".into()],
        FailureKind::Failed => vec!["mend the cause, then run it again".into()],
    }
}
