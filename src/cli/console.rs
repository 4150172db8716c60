//! `jvp vm console`: a guest's serial console on this terminal.
//!
//! The terminal is raw meanwhile, and is put back whatever happens: at the escape character, at the console's end, at an error, at a
//! signal. What is typed and what comes are bytes that nobody here looks into, but for the escape character.

use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::args::{Files, Global};
use super::error::CommandError;
use super::exit::Exit;
use super::output::Out;
use super::session::Session;
use crate::host::{Console, ErrorKind, Host, HostError};
use crate::name::{Name, ObjectRef};

/// How long the console's end is waited for once this side has ended it.
const GOODBYE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(after_help = "The escape character ends it, the guest goes on. One console can be open at a time.

Examples:
  jvp vm console web-1
  jvp vm console web-1 --force                      take it from whoever has it
  jvp vm console web-1 --no-tty </dev/null >log     keep what it says, until the guest stops")]
pub(super) struct ConsoleArgs {
    /// The VM, such as `web-1`
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub files: Files,
    /// Take the console from whoever has it open
    #[arg(long)]
    pub force: bool,
    /// What ends it, such as `^]` for Ctrl and ]
    #[arg(long, value_name = "CHAR", default_value = "^]", value_parser = escape)]
    pub escape: u8,
    /// Without a terminal: standard input goes to the guest as it is, and after its end what the guest says goes on
    #[arg(long)]
    pub no_tty: bool,
}

/// The byte of an escape character written as `^]`.
fn escape(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [b'^', letter @ b'@'..=b'_'] => Ok(letter & 0x1f),
        [b'^', letter @ b'a'..=b'z'] => Ok(letter & 0x1f),
        _ => Err("an escape character is written as `^]`: `^` and one of @ A-Z [ \\ ] ^ _".into()),
    }
}

/// What ends a console.
enum End {
    /// The escape character.
    Escape,
    /// The input is at its end.
    Input,
    /// The guest's side ended.
    Guest,
    /// Something failed.
    Failed(HostError),
}

pub(super) async fn console(args: &ConsoleArgs, global: &Global, out: &Arc<Out>) -> Result<Exit, CommandError> {
    if !args.no_tty && !std::io::stdin().is_terminal() {
        return Err(CommandError::new(Exit::Usage, "standard input is no terminal, so there is nobody to type")
            .help("to pipe into and out of the console: --no-tty"));
    }
    let session = Session::open_or_bare(&args.files, global, out)?;
    let (object, host, uuid) = find(&session, &args.name, out)?;
    let console = host.console(uuid, args.force).await.map_err(|error| refused(&object, &error, args.force))?;
    if !args.no_tty {
        let letter = char::from(args.escape | 0x40);
        out.say(&format!("the console of {object}; Ctrl and {letter} (^{letter}) ends it\r\n"));
    }
    let raw = if args.no_tty { None } else { Some(Raw::new()?) };
    let end = carry(&console, args, out).await;
    drop(raw);
    let closing = tokio::task::spawn_blocking(move || console.close());
    // A libvirt that hangs is not waited for: the connection goes with this process.
    let _ = tokio::time::timeout(GOODBYE, closing).await;
    match end {
        End::Escape | End::Input => Ok(Exit::Ok),
        End::Guest => {
            out.say(&format!("{}the console of {object} ended\n", if args.no_tty { "" } else { "\n" }));
            Ok(Exit::Ok)
        }
        End::Failed(error) => Err(broken(&object, &error)),
    }
}

/// The VM's host and its UUID there.
fn find(session: &Session, name: &str, out: &Out) -> Result<(ObjectRef, Arc<dyn Host>, uuid::Uuid), CommandError> {
    let owned = session.owned(out)?;
    let text = if name.contains('/') { name.to_owned() } else { format!("vm/{name}") };
    let object = session.objects(&text, &owned)?.into_iter().next();
    let Some(object) = object.filter(|object| object.kind == crate::name::Kind::VirtualMachine) else {
        return Err(CommandError::new(Exit::Usage, format!("{name} is no VirtualMachine, and nothing else has a console")));
    };
    let (wanted, entry) = (session.desired.objects.get(&object), owned.entries.get(&object));
    let uuid = entry.and_then(|entry| entry.libvirt_uuid).or_else(|| wanted.map(|wanted| wanted.uid));
    let node: Option<Name> = entry.and_then(|entry| entry.node.clone()).or_else(|| wanted.and_then(|wanted| wanted.node.clone()));
    let Some((node, uuid)) = node.zip(uuid) else {
        return Err(CommandError::new(Exit::Error, format!("it isn't known where {object} stands")));
    };
    let Some(host) = session.hosts.get(&node) else {
        let message = format!("Node/{node}, on which {object} stands, is not in the manifests that were read");
        return Err(CommandError::new(Exit::Error, message).help("name them: -f"));
    };
    Ok((object, Arc::clone(host), uuid))
}

/// Why a console can't be opened, with what to do.
fn refused(object: &ObjectRef, error: &HostError, forced: bool) -> CommandError {
    let message = format!("{object}: its console can't be opened: {error}");
    let name = &object.name;
    match error.kind {
        ErrorKind::Unreachable => CommandError::new(Exit::Unreachable, message),
        ErrorKind::NotFound => CommandError::new(Exit::Error, format!("{object} is not there")).help("make it: jvp apply"),
        ErrorKind::InvalidState => {
            CommandError::new(Exit::Error, format!("{object} is off")).help(format!("start it: jvp vm start {name}"))
        }
        _ if error.message.contains("cannot find character device") => {
            CommandError::new(Exit::Error, format!("{object} has no serial console"))
                .help("give it one: `console: {serial: true}`")
        }
        _ if error.message.contains("ctive console session") && !forced => {
            CommandError::new(Exit::Error, message).help("somebody has it open; to take it from them: --force")
        }
        _ => CommandError::new(Exit::Error, message),
    }
}

fn broken(object: &ObjectRef, error: &HostError) -> CommandError {
    let exit = if error.kind == ErrorKind::Unreachable { Exit::Unreachable } else { Exit::Error };
    CommandError::new(exit, format!("the console of {object} broke off: {error}"))
}

/// Carries bytes both ways until something ends it. The threads that block in it are left behind.
async fn carry(console: &Arc<dyn Console>, args: &ConsoleArgs, out: &Arc<Out>) -> End {
    let (ends, mut ended) = mpsc::unbounded_channel();
    let spawn = |name: &str, work: Box<dyn FnOnce() -> End + Send>| {
        let ends = ends.clone();
        let started = std::thread::Builder::new().name(name.into()).spawn(move || {
            let _ = ends.send(work());
        });
        if let Err(error) = started {
            tracing::warn!(%error, "no thread for the console");
        }
    };
    let (from, to) = (Arc::clone(console), Arc::clone(out));
    spawn("jvp-console-out", Box::new(move || receive(from.as_ref(), &to)));
    let (to, stop) = (Arc::clone(console), (!args.no_tty).then_some(args.escape));
    spawn("jvp-console-in", Box::new(move || send(to.as_ref(), stop)));
    drop(ends);
    let listen = |kind| signal(kind).ok();
    let (mut terminate, mut hangup) = (listen(SignalKind::terminate()), listen(SignalKind::hangup()));
    let mut interrupt = listen(SignalKind::interrupt());
    loop {
        let end = tokio::select! {
            end = ended.recv() => end.unwrap_or(End::Guest),
            () = received(&mut terminate) => End::Escape,
            () = received(&mut hangup) => End::Escape,
            () = received(&mut interrupt) => End::Escape,
        };
        // With a terminal the input ends with it; without one the guest may have more to say.
        if !(args.no_tty && matches!(end, End::Input)) {
            return end;
        }
    }
}

async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn receive(console: &dyn Console, out: &Out) -> End {
    let mut buffer = [0; 4096];
    loop {
        match console.receive(&mut buffer) {
            Ok(0) => return End::Guest,
            Ok(count) => out.bytes(buffer.get(..count).unwrap_or_default()),
            Err(error) => return End::Failed(error),
        }
    }
}

fn send(console: &dyn Console, escape: Option<u8>) -> End {
    let mut input = std::io::stdin();
    let mut buffer = [0; 1024];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return End::Input,
        };
        let typed = buffer.get(..count).unwrap_or_default();
        if typed.is_empty() {
            return End::Input;
        }
        let stop = escape.and_then(|escape| typed.iter().position(|byte| *byte == escape));
        let before = typed.get(..stop.unwrap_or(count)).unwrap_or_default();
        if let Err(error) = console.send(before) {
            return End::Failed(error);
        }
        if stop.is_some() {
            return End::Escape;
        }
    }
}

/// The terminal while it is raw; as it was once this is dropped.
struct Raw {
    before: Termios,
}

impl Raw {
    fn new() -> Result<Self, CommandError> {
        let failed = |error| CommandError::new(Exit::Error, format!("the terminal can't be made raw: {error}"));
        let stdin = std::io::stdin();
        let before = tcgetattr(stdin.as_fd()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin.as_fd(), OptionalActions::Drain, &raw).map_err(failed)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = std::io::stdout().flush();
        if let Err(error) = tcsetattr(std::io::stdin().as_fd(), OptionalActions::Now, &self.before) {
            tracing::warn!(%error, "the terminal could not be put back: `reset` does");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn an_escape_character_is_a_control_character() {
        assert_eq!(escape("^]"), Ok(0x1d));
        assert_eq!(escape("^A"), Ok(1));
        assert_eq!(escape("^a"), Ok(1));
        assert!(escape("]").is_err() && escape("^").is_err() && escape("^]x").is_err() && escape("^1").is_err());
    }
}
