//! The command line: one file a command. The only room that prints, and the only one that turns errors into exit codes.

mod advice;
mod apply;
mod args;
mod console;
mod daemon;
mod difference;

mod error;
mod exit;
mod explain;
mod export;
mod hand;
mod history;
mod node;
mod output;
mod plan;
mod progress;
mod read;
mod reference;

mod run;
mod saved;
mod session;
mod signals;
mod simple;
mod suspend;
mod wait;
mod words;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use clap::error::ErrorKind;

use crate::plan::PowerAct;
use args::{Cli, Command, LogFormat, VmCommand};
use exit::Exit;
use output::Out;

pub use explain::documents;
pub use reference::command;

/// Runs the command line that this process was started with.
pub fn main() -> ExitCode {
    // libvirt starts this program in ssh's place, out of reach of a Ctrl-C that is meant for jvp.
    if let Some(code) = crate::host::libvirt::become_transport() {
        return code;
    }
    let words: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let words = match daemon::with_config(&words) {
        Ok(with_config) => with_config.unwrap_or(words),
        Err(error) => {
            Out::new(args::Colour::Auto, LogFormat::Text).say(&error.render(false));
            return ExitCode::from(error.exit.code());
        }
    };
    let mut cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if asked { Exit::Ok.code() } else { Exit::Usage.code() });
        }
    };
    let out = Arc::new(Out::new(cli.global.color, cli.global.log_format));
    log(&cli, out.colour_err);
    match daemon::beside(&mut cli, &out) {
        Some(Ok(exit)) => ExitCode::from(exit.code()),
        Some(Err(error)) => {
            out.say(&error.render(out.colour_err));
            ExitCode::from(error.exit.code())
        }
        None => ExitCode::from(dispatch(&cli, &out)),
    }
}

fn log(cli: &Cli, colour: bool) {
    let default = match cli.global.verbose {
        // A daemon's log is all that there is to see of it.
        0 if matches!(cli.command, Command::Daemon(_)) => "jvp=info",
        0 => "jvp=warn",
        1 => "jvp=info",
        2 => "jvp=debug",
        _ => "jvp=trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("JVP_LOG").unwrap_or_else(|_| default.into());
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour).with_target(false);
    let _ = match cli.global.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

fn dispatch(cli: &Cli, out: &Arc<Out>) -> u8 {
    let global = &cli.global;
    let result = match &cli.command {
        Command::Init(args) => simple::init(args, global, out),
        Command::Validate(args) if args.watch => runtime(simple::watch(args, global, out)),
        Command::Validate(args) => Ok(simple::validate(args, global, out)),
        Command::Schema(args) => simple::schema(args, out),
        Command::Explain(args) => explain::explain(args, out),
        Command::Completion(args) => Ok(simple::completion(args, out)),
        Command::Version(args) => Ok(simple::version(args, out)),
        Command::History(args) => history::history(args, global, out),
        Command::Daemon(args) => {
            crate::host::libvirt::one_heap();
            runtime(daemon::daemon(args, global, out))
        }
        Command::Status(args) => daemon::status(args, global, out),
        Command::Events(args) => daemon::events(args, global, out),
        Command::Suspend(args) => runtime(suspend::suspend(args, global, out)),
        Command::Resume(args) => suspend::resume(args, global, out),
        Command::Plan(args) => runtime(plan::plan(args, global, out)),
        Command::Apply(args) => runtime(apply::apply(args, global, out)),
        Command::Adopt(args) => runtime(apply::adopt(args, global, out)),
        Command::Export(args) => runtime(export::export(args, global, out)),
        Command::Delete(args) => runtime(apply::delete(args, global, out)),
        Command::Vm(VmCommand::Start(args)) => runtime(apply::vm(args, PowerAct::Start, global, out)),
        Command::Vm(VmCommand::Stop(args)) => runtime(apply::vm(args, PowerAct::Stop, global, out)),
        Command::Vm(VmCommand::Restart(args)) => runtime(apply::vm(args, PowerAct::Restart, global, out)),
        Command::Vm(VmCommand::Console(args)) => runtime(console::console(args, global, out)),
        Command::Why(args) => runtime(read::why(args, global, out)),
        Command::Wait(args) => runtime(wait::wait(args, global, out)),
        Command::Network(command) => runtime(hand::network(command, global, out)),
        Command::Pool(command) => runtime(hand::pool(command, global, out)),
        Command::Node(command) => runtime(node::run(command, global, out)),
        Command::Get(args) => runtime(read::get(args, global, out)),
        Command::Describe(args) => runtime(read::describe(args, global, out)),
        Command::Diff(args) => {
            return match runtime(plan::diff(args, global, out)) {
                Ok(code) => code,
                Err(error) => {
                    out.say(&error.render(out.colour_err));
                    // As kubectl has it: 1 means differences, so a plain error is 2.
                    if error.exit == Exit::Error { 2 } else { error.exit.code() }
                }
            };
        }
    };
    match result {
        Ok(exit) => exit.code(),
        Err(error) => {
            out.say(&error.render(out.colour_err));
            error.exit.code()
        }
    }
}

/// Runs a command that reaches nodes. Threads that hang in a call are not waited for.
fn runtime<T>(command: impl Future<Output = Result<T, error::CommandError>>) -> Result<T, error::CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error::CommandError::new(Exit::Error, format!("failed to start: {error}")))?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}
