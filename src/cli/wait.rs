//! `jvp wait`, and the waiting of `jvp apply --wait`: until objects are as far as was asked for, or time is up.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use serde_json::json;
use uuid::Uuid;

use super::args::{Files, Global};
use super::daemon::{Kept, Standing, standing};
use super::error::CommandError;
use super::exit::Exit;
use super::output::Out;
use super::session::Session;
use crate::apply::{Condition, Status, Subject, read};
use crate::daemon::CONDITIONS;
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::NodeState;
use crate::plan::Owned;

/// How long between two looks, at first and at last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// A condition of each, which a look at the nodes tells.
    Condition(Condition),
    /// A condition of each, which the daemon keeps.
    Kept(Kept),
    /// That each is gone.
    Gone,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Conditions of VMs: Running, AddressAssigned (the agent tells an address, or DHCP gave one), AgentConnected, \
CloudInitDone (cloud-init ended without an error; the agent tells), and Ready: all of these that apply. Networks and pools are Running, \
volumes and templates Ready. These are looked for on the nodes. Synced, RestartRequired, Drifted, Suspended, Flapping and Blocked are \
what the daemon finds, as `jvp status` shows them; so is any condition that is to be something else than True. Without a daemon they are \
what the last one found, and nothing changes them. Exit code 5 says that time was up or that waiting doesn't help, and what was missing \
is named.

Examples:
  jvp wait vm/web-1 --for=condition=Ready
  jvp wait vm/web-1 vm/web-2 --for=condition=AddressAssigned --timeout 10m
  jvp wait vm/web-1 --for=condition=Synced
  jvp wait vm/web-1 --for=condition=RestartRequired=False
  jvp wait vm/web-1 --for=delete"
)]
pub(super) struct WaitArgs {
    /// Objects, such as `vm/web-1`
    #[arg(required = true, value_name = "REF")]
    pub objects: Vec<String>,
    /// What is waited for: `condition=Ready`, another condition, `condition=NAME=False`, or `delete`
    #[arg(long = "for", value_name = "WHAT", default_value = "condition=Ready", value_parser = Goals)]
    pub goal: Goal,
    /// How long, such as `90s`, `5m` or `1h30m`
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
    #[command(flatten)]
    pub files: Files,
}

/// What a shell completes.
const GOALS: &[&str] = &[
    "condition=Running",
    "condition=AddressAssigned",
    "condition=AgentConnected",
    "condition=CloudInitDone",
    "condition=Ready",
    "condition=Synced",
    "condition=RestartRequired=False",
    "condition=Drifted=False",
    "condition=Suspended=False",
    "condition=Flapping=False",
    "condition=Blocked=False",
    "delete",
];

/// Reads goals, and has the most usual ones be completed.
#[derive(Clone)]
struct Goals;

impl TypedValueParser for Goals {
    type Value = Goal;

    fn parse_ref(&self, cmd: &clap::Command, arg: Option<&clap::Arg>, value: &OsStr) -> Result<Goal, clap::Error> {
        StringValueParser::new().try_map(|text| goal(&text)).parse_ref(cmd, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(GOALS.iter().map(|text| PossibleValue::new(*text))))
    }
}

/// Reads `condition=Ready`, also with `=True`, `=False` or `=Unknown` after it, and `delete`.
fn goal(text: &str) -> Result<Goal, String> {
    if text.eq_ignore_ascii_case("delete") {
        return Ok(Goal::Gone);
    }
    let looked: Vec<&str> = Condition::ALL.iter().map(|condition| condition.name()).collect();
    let wrong = || {
        let others = CONDITIONS.iter().filter(|name| !looked.contains(name)).copied();
        let names: Vec<&str> = looked.iter().copied().chain(others).collect();
        format!("it is `delete` or `condition=` and one of {}; also `=False` or `=Unknown` after it", names.join(", "))
    };
    let rest =
        text.get(..10).filter(|head| head.eq_ignore_ascii_case("condition=")).and_then(|_| text.get(10..)).ok_or_else(wrong)?;
    let (name, value) = rest.split_once('=').unwrap_or((rest, "True"));
    let by_look = Condition::ALL.iter().find(|condition| condition.name().eq_ignore_ascii_case(name));
    match by_look {
        Some(condition) if value.eq_ignore_ascii_case("true") => Ok(Goal::Condition(*condition)),
        Some(Condition::Running) => Err("`Running` is waited for until it is so; that it isn't, only a look can tell".to_owned()),
        _ => Kept::read(rest).map(Goal::Kept).ok_or_else(wrong),
    }
}

/// Reads `90s`, `5m`, `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time such as `90s`, `5m` or `1h30m`");
    let duration: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(duration).map_err(|_| wrong())
}

pub(super) async fn wait(args: &WaitArgs, global: &Global, out: &Arc<Out>) -> Result<Exit, CommandError> {
    let session = Session::open_or_bare(&args.files, global, out)?;
    let owned = session.owned(out)?;
    if let Goal::Kept(kept) = args.goal {
        let mut objects = Vec::new();
        for text in &args.objects {
            objects.extend(session.objects(text, &owned)?);
        }
        let by = By::Daemon { global, fleet: session.desired.fleet, kept };
        return until(&by, &objects, args.timeout, out).await;
    }
    let mut subjects = Vec::new();
    for text in &args.objects {
        if args.goal == Goal::Gone && is_unknown(&session, &owned, text)? {
            out.print(&format!("{text} is gone\n"));
            continue;
        }
        for object in session.objects(text, &owned)? {
            let subject = Subject::new(&object, &session.desired, &owned);
            match (object.kind, subject) {
                (Kind::Fleet | Kind::KeyPair | Kind::Node, _) | (_, None) => {
                    return Err(CommandError::new(Exit::Usage, format!("there is nothing to wait for with {object}")));
                }
                (_, Some(subject)) => subjects.push(subject),
            }
        }
    }
    until_looked(&session, &subjects, args.goal, args.timeout, out).await
}

/// Whether neither the manifests nor the inventory know an object.
fn is_unknown(session: &Session, owned: &Owned, text: &str) -> Result<bool, CommandError> {
    let given: ObjectRef =
        text.parse().map_err(|error: crate::name::InvalidValue| CommandError::new(Exit::Usage, error.to_string()))?;
    let same = |object: &ObjectRef| object.kind == given.kind && object.name == given.name;
    Ok(!session.desired.objects.keys().chain(owned.entries.keys()).any(same))
}

/// Which objects an apply was about.
pub(super) enum Targets<'a> {
    /// As given on the command line.
    Words(&'a super::args::Choice),
    /// As a saved plan has them.
    Saved(Option<BTreeSet<ObjectRef>>),
}

/// Waits until the VMs of a set are ready; after an apply.
pub(super) async fn after_apply(
    files: &Files,
    global: &Global,
    targets: &Targets<'_>,
    timeout: Duration,
    out: &Arc<Out>,
) -> Result<Exit, CommandError> {
    let session = Session::open(files, global, out)?;
    let owned = session.owned(out)?;
    let chosen = match targets {
        Targets::Words(words) => super::session::targets(&session, &owned, words)?,
        Targets::Saved(targets) => targets.clone(),
    };
    let mut subjects = Vec::new();
    for object in session.desired.order.iter().filter(|object| object.kind == Kind::VirtualMachine) {
        if chosen.as_ref().is_some_and(|chosen| !chosen.contains(object)) {
            continue;
        }
        if owned.suspended.contains_key(object) {
            out.say(&format!("{object}: it is suspended, and not waited for\n"));
        } else if owned.entries.contains_key(object) {
            subjects.extend(Subject::new(object, &session.desired, &owned));
        }
    }
    until_looked(&session, &subjects, Goal::Condition(Condition::Ready), timeout, out).await
}

/// How one object stands.
#[derive(Default)]
struct Progress {
    /// Conditions that were told to be so, or not to be waited for.
    told: BTreeSet<Condition>,
    /// What is missing still.
    lacks: Vec<String>,
    /// Whether waiting helps no longer.
    hopeless: bool,
    /// Whether a daemon told of it before.
    by_daemon: bool,
    done: bool,
}

/// Who tells how objects stand.
enum By<'a> {
    /// The nodes, which are looked at.
    Look { session: &'a Session, subjects: &'a [Subject], goal: Goal },
    /// The daemon.
    Daemon { global: &'a Global, fleet: Uuid, kept: Kept },
}

impl By<'_> {
    /// Looks once at all that is open, and tells what came.
    async fn look(&self, objects: &[ObjectRef], all: &mut [Progress], out: &Arc<Out>) {
        match self {
            By::Look { session, subjects, goal } => look(session, subjects, all, *goal, out).await,
            By::Daemon { global, fleet, kept } => {
                let found = standing(global, *fleet).await;
                for (object, progress) in objects.iter().zip(all).filter(|(_, progress)| !progress.done) {
                    kept_stands(object, *kept, &found, progress, out);
                }
            }
        }
    }
}

async fn until_looked(
    session: &Session,
    subjects: &[Subject],
    goal: Goal,
    timeout: Duration,
    out: &Arc<Out>,
) -> Result<Exit, CommandError> {
    let objects: Vec<ObjectRef> = subjects.iter().map(|subject| subject.object.clone()).collect();
    until(&By::Look { session, subjects, goal }, &objects, timeout, out).await
}

async fn until(by: &By<'_>, objects: &[ObjectRef], timeout: Duration, out: &Arc<Out>) -> Result<Exit, CommandError> {
    let began = Instant::now();
    let mut all: Vec<Progress> = objects.iter().map(|_| Progress::default()).collect();
    let mut pause = PAUSE.0;
    let interrupted = super::signals::interrupted();
    tokio::pin!(interrupted);
    let mut said = BTreeMap::new();
    loop {
        if all.iter().all(|progress| progress.done || progress.hopeless) {
            break;
        }
        tokio::select! {
            () = by.look(objects, &mut all, out) => {}
            () = &mut interrupted => return Ok(stopped(out)),
        }
        for (object, progress) in objects.iter().zip(&all).filter(|(_, p)| !p.done) {
            let lacks = progress.lacks.join(", ");
            if said.get(object) != Some(&lacks) {
                tell(out, object, "waiting for", &lacks);
                said.insert(object, lacks);
            }
        }
        if all.iter().all(|progress| progress.done || progress.hopeless) {
            break;
        }
        let left = timeout.saturating_sub(began.elapsed());
        if left.is_zero() {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(pause.min(left)) => {}
            () = &mut interrupted => return Ok(stopped(out)),
        }
        pause = (pause * 2).min(PAUSE.1);
    }
    let mut exit = Exit::Ok;
    for (object, progress) in objects.iter().zip(&all).filter(|(_, progress)| !progress.done) {
        let lacks = progress.lacks.join(", ");
        let words = if progress.hopeless {
            format!("error: {object}: waiting does not help: {lacks}\n")
        } else {
            format!("error: {object}: not within {}: {lacks}\n", short(timeout))
        };
        out.say(&words);
        exit = exit.or(Exit::Partly);
    }
    Ok(exit)
}

fn stopped(out: &Out) -> Exit {
    out.say("stopped as asked; nothing was changed by the waiting\n");
    Exit::Partly
}

async fn look(session: &Session, subjects: &[Subject], all: &mut [Progress], goal: Goal, out: &Arc<Out>) {
    let open: Vec<&Subject> = subjects.iter().zip(&*all).filter(|(_, p)| !p.done && !p.hopeless).map(|(s, _)| s).collect();
    let states = read(&session.hosts, &open).await;
    for (subject, progress) in subjects.iter().zip(all).filter(|(_, progress)| !progress.done && !progress.hopeless) {
        progress.lacks.clear();
        let Some(node) = &subject.node else {
            progress.lacks.push("it isn't known where it stands".into());
            progress.hopeless = true;
            continue;
        };
        let state = match states.get(node) {
            Some(Ok(state)) => state,
            Some(Err(error)) => {
                progress.lacks.push(error.clone());
                progress.hopeless = !session.hosts.contains_key(node);
                continue;
            }
            None => continue,
        };
        match goal {
            Goal::Gone => gone(subject, state, progress, out),
            Goal::Condition(condition) => conditions(session, subject, node, state, progress, condition, out).await,
            // The daemon tells.
            Goal::Kept(_) => {}
        }
    }
}

/// Whether a condition is as it is to be, by what the daemon tells.
fn kept_stands(object: &ObjectRef, kept: Kept, found: &Result<Standing, CommandError>, progress: &mut Progress, out: &Out) {
    progress.lacks.clear();
    let found = match found {
        Ok(found) => found,
        // It may be starting anew.
        Err(error) => return progress.lacks.push(error.message.clone()),
    };
    progress.by_daemon |= found.by_daemon;
    let Some(lacks) = kept.lacks(found.objects.get(object).map(|status| &**status)) else {
        if !found.by_daemon {
            out.say(&format!("{object}: as the last daemon found it; none holds the state directory now\n"));
        }
        progress.done = true;
        return out.print(&format!("{object} is {}\n", kept.words()));
    };
    progress.lacks.push(lacks);
    if !found.by_daemon {
        progress.lacks.push("no daemon holds the state directory, and nothing else changes its conditions".into());
        // One that was there a moment ago is being started again.
        progress.hopeless = !progress.by_daemon;
    }
}

fn gone(subject: &Subject, state: &NodeState, progress: &mut Progress, out: &Out) {
    if subject.is_gone(state) {
        progress.done = true;
        out.print(&format!("{} is gone\n", subject.object));
    } else {
        progress.lacks.push("it is there still".into());
    }
}

async fn conditions(
    session: &Session,
    subject: &Subject,
    node: &Name,
    state: &NodeState,
    progress: &mut Progress,
    asked: Condition,
    out: &Out,
) {
    let Some(host) = session.hosts.get(node) else { return };
    let found = subject.look(state, host.as_ref(), asked).await;
    // A kind that has no such condition never will.
    let known = found.iter().any(|(condition, _)| *condition == asked) || asked == Condition::Ready;
    let off = found.iter().any(|(_, status)| matches!(status, Status::Waiting(_)));
    if !known && !off && subject.object.kind != Kind::VirtualMachine {
        progress.lacks.push(format!("a {} has no condition {}", subject.object.kind, asked.name()));
        progress.hopeless = true;
        return;
    }
    for (condition, status) in &found {
        match status {
            Status::True(words) => {
                if progress.told.insert(*condition) && (asked == Condition::Ready || *condition == asked) {
                    tell(out, &subject.object, condition.name(), words);
                }
            }
            Status::NotApplicable(why) => {
                if progress.told.insert(*condition) {
                    tell(out, &subject.object, &format!("{} is not waited for", condition.name()), why);
                }
            }
            Status::Waiting(why) => progress.lacks.push(format!("{} ({why})", condition.name())),
            Status::Never(why) => {
                progress.lacks.push(format!("{} ({why})", condition.name()));
                progress.hopeless = true;
            }
        }
    }
    progress.done = progress.lacks.is_empty();
    if progress.done {
        out.print(&format!("{} is {}\n", subject.object, asked.name()));
    }
}

/// A line of progress, on standard error.
fn tell(out: &Out, object: &ObjectRef, what: &str, words: &str) {
    if out.json {
        out.say(&format!("{}\n", json!({"event": "wait", "object": object.to_string(), "what": what, "detail": words})));
        return;
    }
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    out.say(&format!("{object}: {what}{words}\n"));
}

fn short(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ConditionStatus;

    #[test]
    fn what_is_waited_for_is_written_as_kubectl_has_it() {
        let kept = |name, status| Ok(Goal::Kept(Kept { name, status }));
        assert_eq!(goal("delete"), Ok(Goal::Gone));
        assert_eq!(goal("condition=Ready"), Ok(Goal::Condition(Condition::Ready)));
        assert_eq!(goal("condition=agentconnected=true"), Ok(Goal::Condition(Condition::AgentConnected)));
        assert_eq!(goal("condition=Synced"), kept("Synced", ConditionStatus::True));
        assert_eq!(goal("condition=drifted=false"), kept("Drifted", ConditionStatus::False));
        assert_eq!(goal("condition=Ready=Unknown"), kept("Ready", ConditionStatus::Unknown));
        assert!(goal("Ready").unwrap_err().contains("AddressAssigned"));
        assert!(["condition=Redy", "condition=Synced=maybe", "condition=Running=False"].iter().all(|text| goal(text).is_err()));
    }

    #[test]
    fn every_condition_is_completed() {
        for name in Condition::ALL.iter().map(|condition| condition.name()).chain(CONDITIONS.iter().copied()) {
            assert!(
                GOALS.iter().any(|goal| goal.strip_prefix("condition=").is_some_and(|goal| goal.starts_with(name))),
                "{name}"
            );
        }
        assert!(GOALS.iter().all(|text| goal(text).is_ok()));
    }

    #[test]
    fn times_are_written_with_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert!(duration("90").is_err() && duration("-5m").is_err() && duration("soon").is_err());
    }
}
