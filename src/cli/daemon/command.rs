//! `jvp daemon`: keeps what libvirt has equal to what a checkout says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::hand::CommandLine;
use super::status::table;
use super::supply::FromCheckout;
use crate::cli::args::Global;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::Out;
use crate::cli::session::{command_line, connector, now, open_store, state_path};
use crate::daemon::{Api, Ask, Clock, Daemon, Options, Shared, Summary, service};
use crate::gitops::SourceSpec;
use crate::name::ObjectRef;
use crate::plan::MaxDeletes;
use crate::store::{ObjectStatus, StateDir, StoreError};

#[derive(Debug, Clone, Args)]
#[command(
    after_help = "It looks when a manifest is saved, when libvirt tells of something, and every --resync at everything. What would lose \
data, stop or disconnect anything comes out of a look at everything only, and needs the words that an apply needs: the daemon gives \
none of them but those of --max-deletes and --prune-running. The first run of a source deletes nothing; it lists.

Examples:
  jvp daemon --source /srv/checkout
  jvp daemon --source git+https://git.example/vms.git#main:site --interval 1m
  jvp daemon --once --dry-run
  jvp daemon --config /etc/jvp/daemon.yaml"
)]
pub(in crate::cli) struct DaemonArgs {
    /// A folder, or git+https://, git+ssh:// or git+file:// with `#branch:path`
    #[arg(long, value_name = "SOURCE", default_value = ".")]
    pub source: String,
    /// How often a repository is asked for a new commit
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = crate::cli::wait::duration)]
    pub interval: Duration,
    /// Take only commits that somebody of this file signed (allowed signers of ssh-keygen)
    #[arg(long, value_name = "FILE")]
    pub verify_commits: Option<PathBuf>,
    /// How often everything is looked at, whatever libvirt told
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::cli::wait::duration)]
    pub resync: Duration,
    /// Change back what others changed; with `false` it is only told
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub heal: bool,
    /// Take down what the inventory has and the manifests no longer do
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub prune: bool,
    /// How many objects one prune may take down: a number, or a share of the inventory
    #[arg(long, value_name = "N|P%", default_value_t)]
    pub max_deletes: MaxDeletes,
    /// A prune may take down VMs that run
    #[arg(long)]
    pub prune_running: bool,
    /// Do nothing, and tell what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// End when nothing is left that can be done
    #[arg(long)]
    pub once: bool,
    /// Serve /healthz, /readyz, /metrics and /reconcile on this address, such as 127.0.0.1:7070
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// How many steps are in flight on a node, in each run
    #[arg(long, default_value_t = crate::apply::DEFAULT_PARALLELISM, value_name = "N")]
    pub parallelism: usize,
    /// A folder besides the checkout that `valueFrom.file` may read
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Take flags from this file too: YAML, by their names; those of the command line win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl DaemonArgs {
    fn options(&self, source: &SourceSpec) -> Options {
        Options {
            source: source.to_string(),
            resync: self.resync,
            heal: self.heal,
            prune: self.prune,
            max_deletes: self.max_deletes,
            prune_running: self.prune_running,
            dry_run: self.dry_run,
            parallelism: self.parallelism,
            once: self.once,
            clock: Clock::new(now),
        }
    }
}

pub(in crate::cli) async fn daemon(args: &DaemonArgs, global: &Global, out: &Arc<Out>) -> Result<Exit, CommandError> {
    // From here on no signal ends it in the middle of its start.
    let heard = Signals::new();
    let source: SourceSpec =
        args.source.parse().map_err(|error: crate::gitops::InvalidSource| CommandError::new(Exit::Usage, error.to_string()))?;
    let source = source
        .absolute()
        .map_err(|error| CommandError::new(Exit::Error, format!("the working folder can't be found: {error}")))?;
    let state = StateDir::open(&state_path(global))?;
    let store = open_store(&state, &command_line(), Duration::from_secs(global.lock_timeout), out)?;
    let shared = Shared::new(&source.to_string(), now());
    let options = args.options(&source);
    let connector = Arc::from(connector());
    let daemon = Daemon::new(options, state.clone(), store.clone(), connector, args.secrets_dir.clone(), shared.clone());
    let api = Api {
        shared: shared.clone(),
        asks: daemon.asks(),
        store: store.clone(),
        hand: Arc::new(CommandLine::new(store.clone(), global)),
        history: Arc::default(),
    };
    let failed = |error: crate::daemon::ApiError| CommandError::new(Exit::Error, error.to_string());
    let mut servers = vec![api.on_socket(state.path()).map_err(failed)?];
    if let Some(address) = args.listen {
        servers.push(api.on_address(address).await.map_err(failed)?);
    }
    let supply = FromCheckout::open(source, &state, args, global, store, shared.source_wanted())?;
    let (stop, stopped) = watch::channel(false);
    let signals = tokio::spawn(listen(heard, stop, daemon.asks()));
    let notifier = service::notify(shared.clone());
    let summary = daemon.run(Box::new(supply), stopped).await;
    drop(notifier);
    signals.abort();
    for server in servers {
        server.abort();
    }
    let _ = std::fs::remove_file(state.path().join(crate::daemon::SOCKET));
    if args.once {
        out.print(&left_over(&shared.view().objects));
    }
    summary.map(|summary| exit(summary, args.once)).map_err(|error| ended(error, args.once))
}

/// Why it ended where the ledger can't be written. A ledger that failed once is read anew by the next process only.
fn ended(error: StoreError, once: bool) -> CommandError {
    let error = CommandError::from(error);
    if once {
        return error;
    }
    error.help(
        "nothing is done that can't be written down first, so the daemon ends; once it is started again (systemd does so every few \
         seconds) it goes on from what it finds",
    )
}

/// What a daemon that ends by itself leaves to be done, or with --dry-run would have done.
fn left_over(objects: &BTreeMap<ObjectRef, Arc<ObjectStatus>>) -> String {
    let left: BTreeMap<ObjectRef, Arc<ObjectStatus>> = objects
        .iter()
        .filter(|(_, status)| !status.is("Synced"))
        .map(|(object, status)| (object.clone(), status.clone()))
        .collect();
    match (objects.len(), left.len()) {
        (all, 0) => format!("{all} objects, all as wanted.\n"),
        (all, some) => format!("{}\n{all} objects, {some} not as wanted.\n", table(&left)),
    }
}

/// What a daemon's end means. One that was told to stop did what it was to do.
fn exit(summary: Summary, once: bool) -> Exit {
    match summary {
        _ if !once => Exit::Ok,
        Summary { no_tree: true, .. } => Exit::Invalid,
        Summary { out_of_sync: 0, unreachable: 0, .. } => Exit::Ok,
        Summary { unreachable: 0, .. } => Exit::Partly,
        Summary { .. } => Exit::Unreachable,
    }
}

/// The signals that mean something to a daemon; they are kept from when this was made.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Option<Self> {
        let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()));
        let (Ok(interrupt), Ok(terminate), Ok(hangup)) = signals else { return None };
        Some(Self { interrupt, terminate, hangup })
    }
}

/// SIGINT and SIGTERM end it, SIGHUP has it look.
async fn listen(signals: Option<Signals>, stop: watch::Sender<bool>, asks: crate::daemon::Asks) {
    let Some(Signals { mut interrupt, mut terminate, mut hangup }) = signals else { return };
    loop {
        tokio::select! {
            _ = interrupt.recv() => { stop.send_replace(true); }
            _ = terminate.recv() => { stop.send_replace(true); }
            _ = hangup.recv() => { asks.ask(Ask::Reconcile(std::collections::BTreeSet::new())).await; }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::KvError;

    #[test]
    fn a_daemon_whose_disk_is_full_says_that_it_ends_and_is_started_again_for_as_long_as_that_lasts() {
        let said = ended(KvError::Full.into(), false).render(false);
        for words in ["no space is left", "make room where the state directory lies", "the daemon ends", "started again"] {
            assert!(said.contains(words), "{said}");
        }
        let unit = include_str!("../../../docs/jvp-daemon.service");
        for line in ["Restart=on-failure", "RestartSec=5s", "StartLimitIntervalSec=0"] {
            assert!(unit.lines().any(|found| found == line), "{line}");
        }
    }
}
