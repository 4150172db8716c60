//! The command line: what there is to say, and its help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::console::ConsoleArgs;
use super::daemon::{DaemonArgs, EventsArgs, StatusArgs};
use super::explain::ExplainArgs;
use super::history::HistoryArgs;
use super::session::Held;
use super::suspend::SuspendArgs;
use super::wait::WaitArgs;

/// Keeps virtual machines on plain libvirt exactly as a Git checkout says.
#[derive(Debug, Parser)]
#[command(name = "jvp", version, max_term_width = 110, propagate_version = false)]
#[command(after_help = "Exit codes: 0 ok · 1 error · 2 changes (with --detailed-exitcode) · 3 invalid manifests · \
4 a node out of reach · 5 partly applied · 6 refused by a guard · 64 usage")]
pub(super) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

// What holds for every command.
#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// Where the inventory, the journal and the cache lie [default: /var/lib/jvp for root, else the XDG state directory]
    #[arg(long, global = true, env = "JVP_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The libvirt to use where the manifests have no Node [default: LIBVIRT_DEFAULT_URI, else qemu:///system]
    #[arg(short = 'c', long = "connect", global = true, value_name = "URI")]
    pub connect: Option<String>,
    /// Let Nodes have URIs of this form, which `*` may stand in, though they could run programs on this machine
    #[arg(long, global = true, value_name = "PATTERN")]
    pub allow_uri: Vec<String>,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub color: Colour,
    /// Say more; twice for libvirt's calls
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// How the log is written
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// How long to wait for another jvp that holds the state directory, in seconds
    #[arg(long, global = true, default_value_t = 0, value_name = "SECONDS")]
    pub lock_timeout: u64,
    /// Wait for the state directory where a daemon holds it, instead of having the daemon do what is asked
    #[arg(long, global = true)]
    pub direct: bool,
    /// The ledger that this process holds already, or the daemon that does.
    #[arg(skip)]
    pub held: Held,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

// The options of a command are made where it is the one that was asked for (`defer`): those of all take a tenth of a short command's
// time. What is flattened into one has a plain comment then: its docs would stand for the command's.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(super) enum Command {
    /// Make a folder a checkout of jvp's: give it a Fleet
    Init(InitArgs),
    /// Check manifests without asking any node
    Validate(ValidateArgs),
    /// Show what an apply would do, and what it would disturb
    ///
    /// Exits with 0; with --detailed-exitcode 0 means no changes, 1 an error and 2 changes, as terraform has it.
    Plan(PlanArgs),
    /// Make it so: plan, show, ask, do
    Apply(ApplyArgs),
    /// Take over objects that are there and that jvp didn't make, as they are
    ///
    /// They are in the manifests, which need not say `lifecycle.adopt`. Nothing else is done; the next plan tells what differs.
    Adopt(AdoptArgs),
    /// Print manifests of what is there and isn't jvp's, which adopt it as it is
    ///
    /// What the language lacks stands in `xml:`. What can't be said is kept as it is, and named in a comment; secrets are never said.
    Export(ExportArgs),
    /// Take down what manifests declare, or objects by name
    Delete(DeleteArgs),
    /// List objects and how they are
    Get(GetArgs),
    /// Tell all that is known of an object
    Describe(DescribeArgs),
    /// Tell why an object is as it is, and what an apply does about it
    ///
    /// Each field that differs stands there as it is wanted, whether it was last applied, as it is defined and as it runs, with its
    /// line in the manifest.
    Why(WhyArgs),
    /// Wait until objects are ready, or gone
    Wait(WaitArgs),
    /// Show what was done: when, by which run, and how it ended
    History(HistoryArgs),
    /// Keep it so: what a checkout says is kept true, continuously
    Daemon(DaemonArgs),
    /// Tell how a daemon's objects stand
    Status(StatusArgs),
    /// Show what was done and found: when, why, and by which revision
    Events(EventsArgs),
    /// Have nothing be done to objects until they are resumed
    Suspend(SuspendArgs),
    /// Have suspended objects be kept true again
    Resume(SuspendArgs),
    /// Show what differs between the manifests and libvirt
    ///
    /// Exits with 0 where nothing differs, 1 where something does and more than 1 on an error, as kubectl has it.
    Diff(DiffArgs),
    /// Tell what a field is and what a change of it does, or what a code means
    Explain(ExplainArgs),
    /// Print the JSON Schema of a kind
    Schema(SchemaArgs),
    /// Start, stop and restart VMs, and show their consoles
    #[command(subcommand)]
    Vm(VmCommand),
    /// Start and stop networks, and tell who has an address of them
    #[command(subcommand)]
    Network(super::hand::NetworkCommand),
    /// Start, stop and refresh storage pools
    #[command(subcommand)]
    Pool(super::hand::PoolCommand),
    /// Accept and forget nodes
    #[command(subcommand)]
    Node(NodeCommand),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
    /// Print the versions of jvp and of the libvirt library
    Version(VersionArgs),
}

// Which manifests.
#[derive(Debug, Clone, Args)]
pub(super) struct Files {
    /// A file, a folder (searched whole), `-` for standard input, or an http(s) URL; may be given several times
    #[arg(short = 'f', long = "file", value_name = "PATH", default_value = ".")]
    pub files: Vec<String>,
    /// A folder besides the checkout that `valueFrom.file` may read
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
}

// A part of the manifests.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Choice {
    /// Only this object and what it needs
    #[arg(long, value_name = "REF")]
    pub target: Vec<String>,
    /// Only objects with these labels, such as `app=web,tier!=db`, and what they need
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "target")]
    pub selector: Option<String>,
}

// Words given beforehand, each for one object. `-y` implies none of them.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Consents")]
pub(super) struct ConsentArgs {
    /// The data of this object may be lost
    #[arg(long, value_name = "REF")]
    pub allow_data_loss: Vec<String>,
    /// This VM may be restarted for a change that needs it
    #[arg(long, value_name = "REF")]
    pub allow_restart: Vec<String>,
    /// Guests of this network may be cut off
    #[arg(long, value_name = "REF")]
    pub allow_disconnect: Vec<String>,
    /// This VM's power may be cut
    #[arg(long, value_name = "REF")]
    pub force_stop: Vec<String>,
    /// This VM's saved state may be dropped
    #[arg(long, value_name = "REF")]
    pub discard_saved_state: Vec<String>,
    /// Nothing uses this volume, although what might can't be seen
    #[arg(long, value_name = "REF")]
    pub assume_unused: Vec<String>,
    /// Change objects that another state directory wrote last
    #[arg(long)]
    pub take_over: bool,
    /// Take over objects of this fleet
    #[arg(long, value_name = "FLEET-ID")]
    pub take_from: Vec<uuid::Uuid>,
    /// This new VM may stand beside an old one that it looks like
    #[arg(long, value_name = "REF")]
    pub replace: Vec<String>,
    /// How many objects a prune may delete: a number, or a share of the inventory
    #[arg(long, value_name = "N|P%", default_value_t)]
    pub max_deletes: crate::plan::MaxDeletes,
    /// A prune may take down everything
    #[arg(long)]
    pub allow_empty_prune: bool,
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The folder
    #[arg(default_value = ".")]
    pub folder: PathBuf,
    /// The Fleet's name [default: the folder's]
    #[arg(long)]
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    pub files: Files,
    /// How mistakes are shown
    #[arg(short, long, value_enum, default_value_t = DiagnosticFormat::Full)]
    pub output: DiagnosticFormat,
    /// Check again whenever a file changes, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DiagnosticFormat {
    /// With the lines of the files
    Full,
    /// One line each
    Concise,
    /// An array of objects
    Json,
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub consents: ConsentArgs,
    /// Exit with 2 where there are changes
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Have libvirt look into the pools of the manifests again first: files that came or went without it are seen
    #[arg(long)]
    pub refresh: bool,
    /// Save the plan, for `jvp apply FILE`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Take down what the inventory has and the manifests no longer do; needs the whole set
    #[arg(long)]
    pub prune: bool,
    #[command(flatten)]
    pub choice: Choice,
    /// How the plan is shown
    #[arg(short, long, value_enum, default_value_t = PlanFormat::Text)]
    pub output: PlanFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PlanFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// A plan saved by `jvp plan --out`; nothing is asked then
    pub plan: Option<PathBuf>,
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub consents: ConsentArgs,
    /// Don't ask
    #[arg(short = 'y', long = "auto-approve")]
    pub yes: bool,
    /// Show the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Only where the plan is the one with this fingerprint
    #[arg(long, hide = true)]
    pub expect: Option<String>,
    /// Take down what the inventory has and the manifests no longer do; needs the whole set
    #[arg(long)]
    pub prune: bool,
    /// Afterwards wait until every VM is ready: address assigned, agent connected, cloud-init done, as far as these apply
    #[arg(long)]
    pub wait: bool,
    /// How long to wait, such as `90s`, `5m` or `1h30m`
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = super::wait::duration, requires = "wait")]
    pub timeout: std::time::Duration,
    #[command(flatten)]
    pub choice: Choice,
    /// How many steps are in flight on a node
    #[arg(long, default_value_t = crate::apply::DEFAULT_PARALLELISM, value_name = "N")]
    pub parallelism: usize,
}

#[derive(Debug, Args)]
pub(super) struct AdoptArgs {
    /// Objects of the manifests, such as `vm/web-1`
    #[arg(required = true, value_name = "REF")]
    pub objects: Vec<String>,
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub consents: ConsentArgs,
    /// Don't ask
    #[arg(short = 'y', long = "auto-approve")]
    pub yes: bool,
    /// Show the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Only where the plan is the one with this fingerprint
    #[arg(long, hide = true)]
    pub expect: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Objects by their names in libvirt, such as `vm/web-1` or `volume/default/web-1.qcow2`, each with what it uses
    #[arg(value_name = "REF")]
    pub objects: Vec<String>,
    /// Everything that isn't jvp's
    #[arg(long)]
    pub all: bool,
    /// A folder to write a file an object into
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub files: Files,
}

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// Objects, such as `vm/web-1`; none means all that the manifests declare
    pub objects: Vec<String>,
    /// Only objects with these labels, such as `app=web,tier!=db`
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "objects")]
    pub selector: Option<String>,
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub consents: ConsentArgs,
    /// Volumes and templates go with their data, instead of being kept
    #[arg(long)]
    pub with_data: bool,
    /// Don't ask
    #[arg(short = 'y', long = "auto-approve")]
    pub yes: bool,
    /// Show the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Only where the plan is the one with this fingerprint
    #[arg(long, hide = true)]
    pub expect: Option<String>,
    /// How many steps are in flight on a node
    #[arg(long, default_value_t = crate::apply::DEFAULT_PARALLELISM, value_name = "N")]
    pub parallelism: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReadFormat {
    /// A table
    Table,
    /// A table with all columns
    Wide,
    Json,
    Yaml,
    /// `Kind/name`, one a line
    Name,
}

#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// Kinds (`vms`, `pools`, `all`) or objects (`vm/web-1`)
    #[arg(required = true, value_name = "KIND|REF")]
    pub what: Vec<String>,
    #[command(flatten)]
    pub files: Files,
    /// How they are listed
    #[arg(short, long, value_enum, default_value_t = ReadFormat::Table)]
    pub output: ReadFormat,
    /// Only objects with these labels, such as `app=web,tier!=db`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct DescribeArgs {
    /// Objects, such as `vm/web-1`
    #[arg(required = true, value_name = "REF")]
    pub objects: Vec<String>,
    #[command(flatten)]
    pub files: Files,
}

#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// Objects, such as `vm/web-1`
    #[arg(required = true, value_name = "REF")]
    pub objects: Vec<String>,
    #[command(flatten)]
    pub files: Files,
    /// All fields that are written, not only those that differ
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub consents: ConsentArgs,
    #[command(flatten)]
    pub choice: Choice,
    /// Compare libvirt's documents instead of fields
    #[arg(long)]
    pub show_xml: bool,
}

#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// The kind, or `plan` for what `jvp plan -o json` prints; none prints the schema of any object
    pub kind: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct PowerArgs {
    /// VMs, such as `web-1`
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub consents: ConsentArgs,
    /// Cut the power instead of asking the guest
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(super) enum VmCommand {
    /// Start VMs that are off
    Start(PowerArgs),
    /// Ask guests to stop, and wait until they have
    Stop(PowerArgs),
    /// Stop, then start
    Restart(PowerArgs),
    /// Show a guest's serial console on this terminal
    Console(ConsoleArgs),
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(super) enum NodeCommand {
    /// Say that a Node is another machine now, and that this is right
    Accept(NodeArgs),
    /// Drop a Node and what is on it from the inventory; nothing is touched
    Forget(NodeArgs),
}

#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// The Node's name
    pub name: String,
    #[command(flatten)]
    pub files: Files,
}

#[derive(Debug, Args)]
pub(super) struct CompletionArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct VersionArgs {
    /// As JSON
    #[arg(short, long, value_enum, default_value_t = PlanFormat::Text)]
    pub output: PlanFormat,
}
