//! `jvp suspend` and `jvp resume`: has nothing be done to objects for a while. It asks no node.

use std::collections::BTreeSet;

use clap::Args;

use super::args::{Files, Global};
use super::error::CommandError;
use super::exit::Exit;
use super::output::Out;
use super::session::{Held, Session, now};
use crate::daemon::Claims;
use crate::name::{Kind, ObjectRef};
use crate::plan::{Owned, Suspension};

#[derive(Debug, Args)]
#[command(
    after_help = "Plans and applies do nothing to a suspended object, nor to what comes with it, and say so; a delete of it is \
refused. What is asked for by hand (jvp vm start, stop, restart) is done. The word is kept in the ledger.

Examples:
  jvp suspend vm/web-1 --reason 'disk rescue, ask Ann'
  jvp resume vm/web-1
  jvp suspend --all --reason 'migration of the storage'"
)]
pub(super) struct SuspendArgs {
    /// Objects, such as `vm/web-1`; `network/lan` is the network on each of its nodes
    #[arg(value_name = "REF", required_unless_present = "all", conflicts_with = "all")]
    pub objects: Vec<String>,
    /// All objects of the manifests and the inventory
    #[arg(long)]
    pub all: bool,
    /// Why, for whoever sees it later
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub files: Files,
}

pub(super) async fn suspend(args: &SuspendArgs, global: &Global, out: &Out) -> Result<Exit, CommandError> {
    let (session, owned) = open(args, global, out)?;
    let objects = chosen(args, &session, &owned, false)?;
    // Once it is said that nothing is done to them, nothing is.
    session.is_clear(|| Claims { own: objects.clone(), ..Claims::default() }, out).await?;
    let Some(ledger) = session.ledger() else { return Err(not_held()) };
    let (at, by) = (now().to_string(), asks(global));
    let suspension = |object| Suspension { object, since: at.clone(), by: by.clone(), reason: args.reason.clone() };
    let suspended: Vec<Suspension> = objects.into_iter().map(suspension).collect();
    ledger.suspend(suspended.clone())?;
    for suspension in &suspended {
        let before = if owned.suspended.contains_key(&suspension.object) { " again" } else { "" };
        out.print(&format!("{} suspended{before}\n", suspension.object));
    }
    if suspended.is_empty() {
        out.say("there is nothing to suspend\n");
    }
    session.close()?;
    Ok(Exit::Ok)
}

pub(super) fn resume(args: &SuspendArgs, global: &Global, out: &Out) -> Result<Exit, CommandError> {
    let (session, owned) = open(args, global, out)?;
    let Some(ledger) = session.ledger() else { return Err(not_held()) };
    let objects = chosen(args, &session, &owned, true)?;
    let (is, was): (Vec<ObjectRef>, Vec<ObjectRef>) =
        objects.into_iter().partition(|object| owned.suspended.contains_key(object));
    ledger.resume(&is, &now().to_string(), &asks(global), args.reason.as_deref())?;
    for object in &is {
        out.print(&format!("{object} resumed\n"));
    }
    for object in was.iter().filter(|_| !args.all) {
        out.print(&format!("{object} was not suspended\n"));
    }
    if is.is_empty() && args.all {
        out.say("nothing is suspended\n");
    }
    if !is.is_empty() {
        out.say("the next apply looks at it again: jvp plan\n");
    }
    session.close()?;
    Ok(Exit::Ok)
}

fn open(args: &SuspendArgs, global: &Global, out: &Out) -> Result<(Session, Owned), CommandError> {
    let mut session = Session::open_or_bare(&args.files, global, out)?;
    session.lock(global, out)?;
    let owned = session.owned(out)?;
    Ok((session, owned))
}

/// The objects that are meant. What is suspended can be resumed although nothing else knows of it any more.
fn chosen(args: &SuspendArgs, session: &Session, owned: &Owned, resume: bool) -> Result<BTreeSet<ObjectRef>, CommandError> {
    let may = |object: &&ObjectRef| !matches!(object.kind, Kind::Fleet | Kind::Node);
    if args.all {
        let known = session.desired.objects.keys().chain(owned.entries.keys());
        return Ok(if resume { owned.suspended.keys().cloned().collect() } else { known.filter(may).cloned().collect() });
    }
    let mut all = BTreeSet::new();
    for text in &args.objects {
        let given: ObjectRef =
            text.parse().map_err(|error: crate::name::InvalidValue| CommandError::new(Exit::Usage, error.to_string()))?;
        if !may(&&given) {
            return Err(CommandError::new(Exit::Usage, format!("a {} can't be suspended", given.kind))
                .help("suspend what stands on it, or all: --all"));
        }
        let means = |object: &&ObjectRef| {
            object.kind == given.kind && object.name == given.name && (given.node.is_none() || object.node == given.node)
        };
        let suspended: Vec<ObjectRef> = owned.suspended.keys().filter(means).cloned().collect();
        if resume && !suspended.is_empty() {
            all.extend(suspended);
        } else {
            all.extend(session.objects(text, owned)?);
        }
    }
    Ok(all)
}

/// Who asks: whoever runs this, or had a daemon do it.
fn asks(global: &Global) -> String {
    match &global.held {
        Held::Here { who, .. } => who.clone(),
        _ => who(),
    }
}

/// Who runs this, as far as the environment tells.
pub(super) fn who() -> String {
    let name = |key: &str| std::env::var(key).ok().filter(|name| !name.trim().is_empty());
    let found = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(name);
    let uid = rustix::process::getuid();
    found.unwrap_or_else(|| if uid.is_root() { "root".into() } else { format!("user {}", uid.as_raw()) })
}

fn not_held() -> CommandError {
    CommandError::new(Exit::Error, "the ledger is not held")
}
