//! `jvp network` and `jvp pool`: starting and stopping by hand, what is in a pool looked at again, and who has an address.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;

use super::args::{ConsentArgs, Files, Global, PlanFormat};
use super::error::CommandError;
use super::exit::Exit;
use super::output::Out;
use super::run::{Manner, carry_out};
use super::session::{Session, consents};
use crate::name::{Kind, ObjectRef};
use crate::observe::{Observed, Scope};
use crate::plan::{Mode, Owned, PowerAct, libvirt_name};

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(super) enum NetworkCommand {
    /// Start networks that are stopped; guests that they left are plugged in again
    Start(HandArgs),
    /// Stop networks; with guests on them only by --allow-disconnect
    Stop(HandArgs),
    /// Tell which addresses networks gave to whom
    Leases(LeasesArgs),
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(super) enum PoolCommand {
    /// Start pools that are stopped
    Start(HandArgs),
    /// Stop pools whose volumes nobody uses; their files stay
    Stop(HandArgs),
    /// Have libvirt look again at what lies in running pools
    Refresh(HandArgs),
}

#[derive(Debug, Args)]
pub(super) struct HandArgs {
    /// Objects by name, such as `lan` or, on one of its nodes, `lan@kvm1`
    #[arg(required = true, value_name = "REF")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub consents: ConsentArgs,
    /// Show the plan and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct LeasesArgs {
    /// Networks by name; none means all of ours
    #[arg(value_name = "REF")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub files: Files,
    /// How they are shown
    #[arg(short, long, value_enum, default_value_t = PlanFormat::Text)]
    pub output: PlanFormat,
}

pub(super) async fn network(command: &NetworkCommand, global: &Global, out: &Arc<Out>) -> Result<Exit, CommandError> {
    match command {
        NetworkCommand::Start(args) => by_hand(Kind::Network, args, PowerAct::Start, global, out).await,
        NetworkCommand::Stop(args) => by_hand(Kind::Network, args, PowerAct::Stop, global, out).await,
        NetworkCommand::Leases(args) => leases(args, global, out).await,
    }
}

pub(super) async fn pool(command: &PoolCommand, global: &Global, out: &Arc<Out>) -> Result<Exit, CommandError> {
    let (args, what) = match command {
        PoolCommand::Start(args) => (args, PowerAct::Start),
        PoolCommand::Stop(args) => (args, PowerAct::Stop),
        PoolCommand::Refresh(args) => (args, PowerAct::Refresh),
    };
    by_hand(Kind::StoragePool, args, what, global, out).await
}

/// A name with its kind, where it was left out.
fn qualified(kind: Kind, name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("{kind}/{name}") }
}

/// The objects that names mean, all of one kind.
fn objects(kind: Kind, names: &[String], session: &Session, owned: &Owned) -> Result<BTreeSet<ObjectRef>, CommandError> {
    let mut objects = BTreeSet::new();
    for name in names {
        let found = session.objects(&qualified(kind, name), owned)?;
        if let Some(other) = found.iter().find(|object| object.kind != kind) {
            return Err(CommandError::new(Exit::Usage, format!("{other} is no {kind}")));
        }
        objects.extend(found);
    }
    Ok(objects)
}

async fn by_hand(kind: Kind, args: &HandArgs, what: PowerAct, global: &Global, out: &Arc<Out>) -> Result<Exit, CommandError> {
    let session = Session::open(&args.files, global, out)?;
    let given = consents(&args.consents)?;
    let manner = Manner {
        yes: true,
        dry_run: args.dry_run,
        parallelism: crate::apply::DEFAULT_PARALLELISM,
        fingerprint: None,
        everything: false,
    };
    carry_out(
        session,
        global,
        |session, owned| {
            let objects = objects(kind, &args.names, session, owned)?;
            Ok(session.policy(Mode::Power { objects, what }, given.clone(), None))
        },
        &manner,
        out,
    )
    .await
}

async fn leases(args: &LeasesArgs, global: &Global, out: &Arc<Out>) -> Result<Exit, CommandError> {
    let session = Session::open_or_bare(&args.files, global, out)?;
    let seen = session.look(&Scope::WithGuests, out).await?;
    let mut wanted = objects(Kind::Network, &args.names, &session, &seen.owned)?;
    if args.names.is_empty() {
        let all = session.desired.objects.keys().chain(seen.owned.entries.keys());
        wanted.extend(all.filter(|object| object.kind == Kind::Network).cloned());
    }
    let rows: Vec<Lease> = wanted
        .iter()
        .flat_map(|object| {
            let name = libvirt_name(&session.desired, &seen.owned, object);
            given_by(&seen.observed, object, &name)
        })
        .collect();
    match args.output {
        PlanFormat::Text => {
            let mut table = vec![["NETWORK", "ADDRESS", "MAC", "HOSTNAME", "VM"].map(str::to_owned).to_vec()];
            let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            table.extend(rows.iter().map(|lease| {
                vec![lease.network.to_string(), lease.ip.clone(), lease.mac.clone(), dash(&lease.hostname), dash(&lease.domain)]
            }));
            out.print(&super::read::columns(&table));
        }
        PlanFormat::Json => {
            let all: Vec<serde_json::Value> = rows
                .iter()
                .map(|l| json!({"network": l.network, "ip": l.ip, "mac": l.mac, "hostname": l.hostname, "domain": l.domain}))
                .collect();
            out.json(&all);
        }
    }
    let mut exit = Exit::Ok;
    for object in &wanted {
        let Some(node) = &object.node else { continue };
        if seen.observed.node(node).is_none() {
            out.say(&format!("error: Node/{node} is out of reach: nothing is known of {object}\n"));
            exit = Exit::Unreachable;
        }
    }
    Ok(exit)
}

/// An address that a network gave.
struct Lease {
    network: ObjectRef,
    ip: String,
    mac: String,
    hostname: Option<String>,
    /// The domain that has an interface of that MAC.
    domain: Option<String>,
}

fn given_by(observed: &Observed, object: &ObjectRef, name: &str) -> Vec<Lease> {
    let Some(state) = object.node.as_ref().and_then(|node| observed.node(node)) else { return Vec::new() };
    let Some(network) = state.networks.get(name) else { return Vec::new() };
    let whose = |mac: &str| {
        let has = |domain: &&crate::observe::DomainState| {
            let live = domain.live.iter().flat_map(|live| live.interfaces.iter());
            live.chain(&domain.doc.interfaces).any(|nic| nic.mac.is_some_and(|nic| nic.to_string().eq_ignore_ascii_case(mac)))
        };
        state.domains.values().find(has).map(|domain| domain.name.clone())
    };
    let lease = |lease: &crate::observe::RawLease| Lease {
        network: object.clone(),
        ip: lease.ip.clone(),
        mac: lease.mac.clone(),
        hostname: lease.hostname.clone(),
        domain: whose(&lease.mac),
    };
    network.leases.iter().map(lease).collect()
}
