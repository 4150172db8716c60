//! `jvp node accept` and `jvp node forget`.

use super::args::{Global, NodeCommand};
use super::error::CommandError;
use super::exit::Exit;
use super::output::Out;
use super::session::{Session, now};
use crate::daemon::Claims;
use crate::name::Name;
use crate::observe::{NodeState, Scope};
use crate::plan::NodeRecord;

pub(super) async fn run(command: &NodeCommand, global: &Global, out: &Out) -> Result<Exit, CommandError> {
    let (NodeCommand::Accept(args) | NodeCommand::Forget(args)) = command;
    let mut session = Session::open(&args.files, global, out)?;
    let name: Name =
        args.name.parse().map_err(|error: crate::name::InvalidValue| CommandError::new(Exit::Usage, error.to_string()))?;
    session.lock(global, out)?;
    let Some(ledger) = session.ledger() else { return Ok(Exit::Error) };
    let there = ledger.owned().entries.into_iter().filter(|(_, entry)| entry.node.as_ref() == Some(&name));
    let own = there.map(|(object, _)| object).collect();
    session.is_clear(|| Claims { own, ..Claims::default() }, out).await?;
    match command {
        NodeCommand::Accept(_) => {
            let Some(host) = session.hosts.get(&name) else {
                return Err(CommandError::new(Exit::Error, format!("there is no Node/{name} in the manifests")));
            };
            let raw = host
                .read(&Scope::Host)
                .await
                .map_err(|error| CommandError::new(Exit::Unreachable, format!("Node/{name} is out of reach: {error}")))?;
            let Some(host_uuid) = NodeState::read(raw).host.uuid else {
                return Err(CommandError::new(Exit::Error, format!("Node/{name} tells no host UUID")));
            };
            let was = ledger.node(&name).map(|record| record.host_uuid);
            ledger.put_node(NodeRecord { name: name.clone(), host_uuid, first_seen: now().to_string() })?;
            match was {
                Some(was) if was != host_uuid => {
                    out.print(&format!("Node/{name}: accepted; its host UUID was {was} and is {host_uuid}\n"));
                }
                _ => out.print(&format!("Node/{name}: its host UUID is {host_uuid}\n")),
            }
        }
        NodeCommand::Forget(_) => {
            let dropped = ledger.forget_node(&name)?;
            let names: Vec<String> = dropped.iter().map(ToString::to_string).collect();
            out.print(&format!("Node/{name}: forgotten; nothing on it was touched\n"));
            if !names.is_empty() {
                out.print(&format!("dropped from the inventory: {}\n", names.join(", ")));
            }
        }
    }
    session.close()?;
    Ok(Exit::Ok)
}
