//! Commands while a daemon holds the state directory: they go through its socket, and it is said that they do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::args::{Cli, Command, Files, Global, NodeCommand, VmCommand};
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::hand::{NetworkCommand, PoolCommand};
use crate::cli::output::Out;
use crate::cli::runtime;
use crate::cli::session::{Held, state_path};
use crate::cli::suspend::who;
use crate::daemon::{self, Piece, SOCKET};
use crate::source::unix_client;

/// How long a daemon may take to publish what is read.
const PATIENCE: Duration = Duration::from_secs(3);

/// The socket of the daemon that holds the state directory; none where none does.
pub(in crate::cli) fn held_by(global: &Global) -> Option<PathBuf> {
    let socket = state_path(global).join(SOCKET);
    std::os::unix::net::UnixStream::connect(&socket).is_ok().then_some(socket)
}

/// How a command goes along with a daemon.
enum Way {
    /// It changes nothing that a daemon holds.
    Alone,
    /// It reads what a daemon holds.
    Reads,
    /// It is handed over as it stands.
    Handed,
    /// It shows and asks here, and is handed over then.
    Asked,
}

fn way(command: &mut Command) -> Way {
    let asks = |yes: bool, dry_run: bool| match (yes, dry_run) {
        (_, true) => Way::Alone,
        (true, false) => Way::Handed,
        (false, false) => Way::Asked,
    };
    match command {
        Command::Apply(args) if args.plan.is_some() => asks(true, args.dry_run),
        Command::Apply(args) => asks(args.yes, args.dry_run),
        Command::Adopt(args) => asks(args.yes, args.dry_run),
        Command::Delete(args) => asks(args.yes, args.dry_run),
        Command::Vm(VmCommand::Start(_) | VmCommand::Stop(_) | VmCommand::Restart(_))
        | Command::Node(_)
        | Command::Suspend(_)
        | Command::Resume(_) => Way::Handed,
        Command::Network(NetworkCommand::Start(args) | NetworkCommand::Stop(args))
        | Command::Pool(PoolCommand::Start(args) | PoolCommand::Stop(args) | PoolCommand::Refresh(args)) => {
            asks(true, args.dry_run)
        }
        Command::Get(_)
        | Command::Describe(_)
        | Command::Why(_)
        | Command::Wait(_)
        | Command::History(_)
        | Command::Plan(_)
        | Command::Diff(_)
        | Command::Export(_) => Way::Reads,
        _ => Way::Alone,
    }
}

/// The manifests that a command which may be handed over reads.
fn files(command: &mut Command) -> Option<&mut Files> {
    Some(match command {
        Command::Apply(args) => &mut args.files,
        Command::Adopt(args) => &mut args.files,
        Command::Delete(args) => &mut args.files,
        Command::Vm(VmCommand::Start(args) | VmCommand::Stop(args) | VmCommand::Restart(args)) => &mut args.files,
        Command::Node(NodeCommand::Accept(args) | NodeCommand::Forget(args)) => &mut args.files,
        Command::Suspend(args) | Command::Resume(args) => &mut args.files,
        Command::Network(NetworkCommand::Start(args) | NetworkCommand::Stop(args))
        | Command::Pool(PoolCommand::Start(args) | PoolCommand::Stop(args) | PoolCommand::Refresh(args)) => &mut args.files,
        _ => return None,
    })
}

/// Has a command's paths be meant from a folder.
pub(super) fn from_folder(command: &mut Command, folder: &Path) {
    if let Command::Apply(args) = command
        && let Some(plan) = &mut args.plan
    {
        *plan = folder.join(&plan);
    }
    let Some(files) = files(command) else { return };
    for file in &mut files.files {
        if !file.contains("://") && file != "-" {
            *file = folder.join(&file).to_string_lossy().into_owned();
        }
    }
    files.secrets_dir = files.secrets_dir.take().map(|path| folder.join(path));
}

/// Has the daemon that holds the state directory do what a command asks; none where there is none, or where the command has to show
/// and ask first: then it knows that there is one.
pub(in crate::cli) fn beside(cli: &mut Cli, out: &Out) -> Option<Result<Exit, CommandError>> {
    if cli.global.direct || !matches!(cli.global.held, Held::Free) {
        return None;
    }
    let way = way(&mut cli.command);
    if matches!(way, Way::Alone) {
        return None;
    }
    let socket = held_by(&cli.global)?;
    if matches!(way, Way::Reads) {
        // One that doesn't answer has published not long ago, and then that is said.
        let publish = ask(&socket, Ask::Post("/publish", String::new()), |_| {});
        let published = runtime(async { Ok(tokio::time::timeout(PATIENCE, publish).await.is_ok_and(|told| told.is_ok())) });
        if published.is_ok_and(|published| published) {
            cli.global.held = Held::Fresh;
        }
        return None;
    }
    if files(&mut cli.command).is_some_and(|files| files.files.iter().any(|file| file == "-")) {
        let error = CommandError::new(Exit::Usage, "a daemon holds the state directory, and can't read this standard input");
        return Some(Err(error.help("put the manifests into a file, or wait for the daemon to end: --direct")));
    }
    match way {
        Way::Handed => Some(runtime(hand_over(&cli.global, &[], out))),
        _ => {
            if let Err(error) = runtime(ask(&socket, Ask::Post("/publish", String::new()), |_| {})) {
                return Some(Err(error));
            }
            cli.global.held = Held::There;
            None
        }
    }
}

/// Hands this process's command over, with more words, and shows what comes of it.
pub(in crate::cli) async fn hand_over(global: &Global, more: &[String], out: &Out) -> Result<Exit, CommandError> {
    let Some(socket) = held_by(global) else {
        return Err(CommandError::new(Exit::Error, "the daemon that held the state directory has ended; nothing was done")
            .help("run it again"));
    };
    out.say("a daemon holds the state directory: it does this (--direct waits for it to end instead)\n");
    let words = std::env::args().skip(1).chain(more.iter().cloned()).collect();
    let folder = std::env::current_dir()
        .map_err(|error| CommandError::new(Exit::Error, format!("the folder that this runs in is gone: {error}")))?;
    let command = daemon::Command { words, folder, colour: out.colour, who: who() };
    let body = serde_json::to_string(&command).unwrap_or_default();
    let mut exit = None;
    let shown = |line: &str| match serde_json::from_str(line) {
        Ok(Piece::Out(text)) => out.print(&text),
        Ok(Piece::Err(text)) => out.say(&text),
        Ok(Piece::Exit(code)) => exit = Some(code),
        Err(_) => {}
    };
    ask(&socket, Ask::Post("/run", body), shown).await?;
    exit.and_then(Exit::of).ok_or_else(|| {
        CommandError::new(Exit::Error, "the daemon ended before it was done; the journal tells its next run where it was")
            .help("see what is left: jvp plan")
    })
}

/// A question to a daemon.
pub(super) enum Ask<'a> {
    /// A path, perhaps with a query.
    Get(&'a str),
    /// A path and JSON.
    Post(&'a str, String),
}

/// Asks a daemon, and hands each line of its answer over as it comes.
pub(super) async fn ask(socket: &Path, what: Ask<'_>, mut each: impl FnMut(&str)) -> Result<(), CommandError> {
    let failed = |error: &dyn std::fmt::Display| {
        CommandError::new(Exit::Error, format!("the daemon on {} doesn't answer: {error}", socket.display()))
    };
    let client = unix_client(socket).map_err(|error| failed(&error))?;
    let request = match what {
        Ask::Get(path) => client.get(format!("http://daemon{path}")),
        Ask::Post(path, body) => {
            client.post(format!("http://daemon{path}")).header("content-type", "application/json").body(body)
        }
    };
    let mut response = request.send().await.map_err(|error| failed(&error))?;
    let status = response.status();
    let mut rest = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        rest.extend_from_slice(&chunk);
        if !status.is_success() {
            continue;
        }
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=at).collect();
            each(String::from_utf8_lossy(&line).trim_end_matches('\n'));
        }
    }
    let text = String::from_utf8_lossy(&rest).into_owned();
    if !status.is_success() {
        return Err(failed(&format!("{status}: {}", text.trim_end())));
    }
    if !text.is_empty() {
        each(&text);
    }
    Ok(())
}

/// What a daemon answers to a question, read as JSON.
pub(super) async fn get<T: serde::de::DeserializeOwned>(socket: &Path, path: &str) -> Result<T, CommandError> {
    let mut text = String::new();
    ask(socket, Ask::Get(path), |line| text.push_str(line)).await?;
    serde_json::from_str(&text).map_err(|error| {
        CommandError::new(Exit::Error, format!("the daemon on {} is of another version: {error}", socket.display()))
    })
}
