//! Operations that are made out of what is there right before the call: patches of documents, elements of devices, who is to be
//! plugged in again. What nobody wanted changed stays as it is now, not as it was when the plan was made.

use std::borrow::Cow;

use super::step::{Failure, FailureKind, read, read_target};
use crate::host::Host;
use crate::observe::{NodeState, Scope, Target};
use crate::plan::{Action, Op, Plug};
use crate::xml::XmlError;

/// The operation as it is made out of what is there right now; none for one that says all by itself.
pub(super) async fn made(action: &Action, seen: Option<&NodeState>, host: &dyn Host) -> Result<Option<Op>, Failure> {
    let conflict = |message: String| Failure::new(FailureKind::Conflict, message);
    let gone = || conflict("it is not there any more".into());
    match &action.op {
        Op::NetworkPatch { name, patch, was } => {
            let network = of(host, seen, Target::Network(name.clone())).await?;
            let network = network.networks.get(name).ok_or_else(gone)?;
            let text = crate::plan::patched_network(network, patch, was).map_err(conflict)?;
            Ok(Some(Op::NetworkDefine { name: name.clone(), xml: text }))
        }
        Op::NetworkReplug { name, direct, resting, .. } => {
            let state = read(host, &Scope::Everything).await?;
            let mut nics = crate::plan::unplugged(&state, name, *direct);
            nics.retain(|nic| !resting.contains(&nic.uuid));
            Ok(Some(Op::NetworkReplug { name: name.clone(), direct: *direct, resting: resting.clone(), nics }))
        }
        Op::PoolRetarget { name, path } => {
            let pool = of(host, seen, Target::Pool(name.clone())).await?;
            let pool = pool.pools.get(name).ok_or_else(gone)?;
            let xml = crate::xml::pool::patch(&pool.xml.text(), path).map_err(|error| conflict(error.to_string()))?;
            Ok(Some(Op::PoolDefine { name: name.clone(), xml }))
        }
        _ => of_domain(action, seen),
    }
}

/// What the precondition has just read of an object; read now where it had none.
async fn of<'s>(host: &dyn Host, seen: Option<&'s NodeState>, target: Target) -> Result<Cow<'s, NodeState>, Failure> {
    match seen {
        Some(seen) => Ok(Cow::Borrowed(seen)),
        None => read_target(host, target).await.map(Cow::Owned),
    }
}

/// The operation with what a patch makes of the domain's document, as it was read right before; none where it has no patch.
fn of_domain(action: &Action, seen: Option<&NodeState>) -> Result<Option<Op>, Failure> {
    let (Op::DomainRedefine { name, patch, .. } | Op::DomainDevice { name, patch, .. }) = &action.op else { return Ok(None) };
    let conflict = || Failure::new(FailureKind::Conflict, "it is not there any more");
    let domain = seen.and_then(|state| state.domains.get(name)).ok_or_else(conflict)?;
    let wrong = |error: XmlError| Failure::new(FailureKind::Failed, format!("its document can't be changed: {error}"));
    match &action.op {
        Op::DomainRedefine { name, uuid, validate, .. } => {
            let xml = crate::xml::domain::patch(&domain.inactive_xml.text(), patch).map_err(wrong)?;
            Ok(Some(Op::DomainDefine { name: name.clone(), uuid: *uuid, xml: xml.into(), validate: *validate }))
        }
        Op::DomainDevice { how, device, live, .. } => {
            let document = match &domain.live_xml {
                Some(document) if *live => document.text(),
                _ => domain.inactive_xml.text(),
            };
            let changed =
                if *how == Plug::Detach { None } else { Some(crate::xml::domain::patch(&document, patch).map_err(wrong)?) };
            let element = crate::xml::domain::device(changed.as_deref().unwrap_or(&document), device)
                .map_err(wrong)?
                .ok_or_else(conflict)?;
            let mut op = action.op.clone();
            if let Op::DomainDevice { xml, .. } = &mut op {
                *xml = Some(element);
            }
            Ok(Some(op))
        }
        _ => Ok(None),
    }
}
