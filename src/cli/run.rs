//! From a plan to its outcome: show, ask, do, round by round. What apply, delete and the power commands share.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::args::Global;
use super::error::CommandError;
use super::exit::Exit;
use super::output::Out;
use super::session::{Held, Session, now};
use crate::apply::progress::Sink;
use crate::apply::{End, FailureKind, Halt, Outlook, Rounds, Seen, World, refresh, settle, write_metadata};
use crate::daemon::Claims;
use crate::name::{Name, ObjectRef};
use crate::observe::Observed;
use crate::plan::{Data, Mode, Owned, Plan, Policy, RefusalKind, render};

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

/// The exit code that a plan by itself means.
pub(super) fn judge(plan: &Plan) -> Exit {
    let refusals = plan.refusals.iter().fold(Exit::Ok, |exit, refusal| {
        exit.or(match refusal.kind {
            RefusalKind::Invalid => Exit::Invalid,
            RefusalKind::Guard | RefusalKind::Machine => Exit::Refused,
            RefusalKind::Unreachable => Exit::Unreachable,
        })
    });
    if plan.unreachable.is_empty() { refusals } else { refusals.or(Exit::Unreachable) }
}

/// Plans, shows, asks and does.
pub(super) async fn carry_out(
    mut session: Session,
    global: &Global,
    make_policy: impl Fn(&Session, &Owned) -> Result<Policy, CommandError>,
    manner: &Manner,
    out: &Arc<Out>,
) -> Result<Exit, CommandError> {
    let through = matches!(global.held, Held::There);
    if !manner.dry_run && !through {
        session.lock(global, out)?;
    }
    let Basis { seen, policy, plan } = basis(&session, &make_policy, manner, out).await?;
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
        return Err(CommandError::new(Exit::Refused, "what the plan was made from has changed, so it is not carried out")
            .help("plan again: jvp plan --out FILE"));
    }
    if manner.dry_run {
        return Ok(exit);
    }
    if plan.refusals.iter().any(|refusal| refusal.kind.stops_all()) {
        if !plan.is_empty() {
            out.say("nothing was done, since something was refused; `--target` leaves it out\n");
        }
        session.close()?;
        return Ok(exit);
    }
    if plan.is_empty() && through {
        return Ok(exit);
    }
    if plan.is_empty() {
        // A daemon settles what it looks at itself.
        if let Some(ledger) = session.ledger().filter(|_| !session.is_beside()) {
            settle(&ledger, now, &seen, &plan, &|_, _| true)?;
        }
        session.close()?;
        return Ok(exit);
    }
    if manner.fingerprint.is_none() {
        confirm(&plan, manner.yes, out)?;
    }
    if through {
        // A daemon holds the ledger: it plans once more, and does what was shown or nothing.
        let more = ["-y".to_owned(), "--expect".to_owned(), plan.fingerprint.clone()];
        return super::daemon::hand_over(global, &more, out).await;
    }
    let (halt, halted) = watch::channel(Halt::No);
    let signals = tokio::spawn(super::signals::listen(halt, out.clone()));
    let result = rounds(&session, seen, plan, &policy, manner, &halted, out).await;
    signals.abort();
    exit = exit.or(result?);
    session.close()?;
    Ok(exit)
}

/// What a command does, and what that was decided from.
struct Basis {
    seen: Seen,
    policy: Policy,
    plan: Plan,
}

/// Times that a command plans anew since something that concerns it was done beside it.
const TRIES: u32 = 10;

/// Looks and plans, until nothing that concerns the plan is in hand beside it.
async fn basis(
    session: &Session,
    make_policy: &impl Fn(&Session, &Owned) -> Result<Policy, CommandError>,
    manner: &Manner,
    out: &Out,
) -> Result<Basis, CommandError> {
    let claims = |plan: &Plan, seen: &Seen| Claims::of_plan(plan, &session.desired, &seen.owned);
    for _ in 0..TRIES {
        let (seen, policy) = session.look_for(make_policy, out).await?;
        let plan = session.plan(&seen, &policy);
        if manner.dry_run {
            return Ok(Basis { seen, policy, plan });
        }
        if !session.is_clear(|| claims(&plan, &seen), out).await? {
            continue;
        }
        if !refresh(&session.hosts, &plan).await {
            return Ok(Basis { seen, policy, plan });
        }
        // What lay in these pools without libvirt's knowledge is known now, and the guards look again.
        let (seen, policy) = session.look_for(make_policy, out).await?;
        let plan = session.plan(&seen, &policy);
        if session.is_clear(|| claims(&plan, &seen), out).await? {
            return Ok(Basis { seen, policy, plan });
        }
    }
    Err(CommandError::new(Exit::Error, "what it concerns is changed all the time, so nothing was done")
        .help("see what the daemon does: jvp status, jvp events"))
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

async fn rounds(
    session: &Session,
    seen: Seen,
    plan: Plan,
    policy: &Policy,
    manner: &Manner,
    halted: &watch::Receiver<Halt>,
    out: &Arc<Out>,
) -> Result<Exit, CommandError> {
    let outlook = Looking { session, policy, out };
    let ours = session.narrow(|| Claims::of_plan(&plan, &session.desired, &seen.owned)).await;
    let mut rounds = Rounds::new(world(session)?, now().as_millisecond().to_string(), seen, plan).among(ours);
    let (sink, bars) = super::progress::sink(out);
    let carried = rounds.carry_out(&outlook, manner.parallelism, halted, &sink).await;
    drop::<Sink>(sink);
    bars.finish();
    carried?;
    let end = rounds.end();
    if end == End::Done
        && rounds.finish(&outlook).await?
        && let Some(ledger) = session.ledger()
    {
        write_metadata(&session.state, &session.desired, &ledger.owned(), rounds.seen(), now());
    }
    for refused in rounds.refused() {
        out.print(&render(refused, out.colour));
    }
    report(out, &rounds);
    if end == End::Stopped {
        out.say("stopped as asked; the journal tells the next run where it was\n");
    }
    for object in rounds.unannounced() {
        out.say(&format!("{object}: what is to be done for it was not in the plan that was shown; plan again\n"));
    }
    for (node, why) in rounds.lost() {
        out.say(&format!("error: Node/{node} went out of reach, and what waits there was not done: {why}\n"));
        out.say("  help: once the node is back, run it again\n");
    }
    if end == End::Unfinished {
        for deferred in rounds.waiting() {
            out.say(&format!("{}: what it waits for didn't come about; plan again\n", deferred.object));
        }
    }
    Ok(match end {
        End::Done | End::Lost => code(&rounds),
        End::Refused => rounds.refused().iter().map(judge).fold(Exit::Partly, Exit::or),
        End::Stopped | End::Unannounced | End::Unfinished => Exit::Partly,
    })
}

/// Looking and planning in the rounds of a session.
struct Looking<'a> {
    session: &'a Session,
    policy: &'a Policy,
    out: &'a Out,
}

#[async_trait(?Send)]
impl Outlook for Looking<'_> {
    type Error = CommandError;

    async fn observe(&self, node: Option<&Name>) -> Observed {
        self.session.observe(node).await
    }

    fn seen(&self, observed: Observed) -> Result<Seen, CommandError> {
        Ok(self.session.seen(observed, self.session.owned(self.out)?)?)
    }

    fn plan(&self, seen: &Seen, objects: Option<&BTreeSet<ObjectRef>>) -> Plan {
        match objects {
            None => self.session.plan_once(seen, self.policy),
            Some(objects) => self.session.plan_once(seen, &Policy { targets: Some(objects.clone()), ..self.policy.clone() }),
        }
    }

    fn recorded(&self) -> Result<(), CommandError> {
        self.session.publish()
    }
}

/// What the steps of a session reach.
fn world(session: &Session) -> Result<Arc<World>, CommandError> {
    let Some(ledger) = session.ledger() else { return Err(CommandError::new(Exit::Error, "the ledger is not held")) };
    Ok(Arc::new(session.world(ledger)))
}

fn code(rounds: &Rounds) -> Exit {
    let (failures, lost) = (rounds.failures(), !rounds.lost().is_empty());
    if failures.is_empty() && rounds.skipped() == 0 && !lost {
        return Exit::Ok;
    }
    if (!failures.is_empty() || lost) && failures.iter().all(|(_, failure)| failure.kind == FailureKind::Unreachable) {
        return Exit::Partly.or(Exit::Unreachable);
    }
    Exit::Partly
}

fn report(out: &Out, rounds: &Rounds) {
    let (done, skipped, failures) = (rounds.done(), rounds.skipped(), rounds.failures());
    for (action, failure) in failures {
        let node = action.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
        out.say(&format!("error: {}: {}{node} failed: {failure}\n", action.object, action.op.word()));
        for help in super::advice::advice(action, failure) {
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
