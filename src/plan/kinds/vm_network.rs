//! Whether the networks that a start needs will run by then: libvirt starts no guest on one that doesn't.
//!
//! What is nowhere is refused elsewhere, with the three places that were looked at.

use crate::manifest::{Management, Spec, VirtualMachineSpec};
use crate::name::{Kind, Name, ObjectRef};
use crate::plan::Op;
use crate::plan::model::RefusalKind;
use crate::plan::planner::{Draft, Planner};
use crate::resolve::Wanted;

/// Refuses these steps where they start a guest on a network that is off then. True where they were refused.
pub(super) fn refuse_off(p: &mut Planner<'_>, wanted: &Wanted, spec: &VirtualMachineSpec, node: &Name, drafts: &[Draft]) -> bool {
    if !drafts.iter().any(|draft| matches!(draft.op, Op::DomainStart { .. })) {
        return false;
    }
    let mut named = spec.interfaces.iter().filter_map(|interface| Some((interface, interface.network.as_ref()?)));
    let off = named.find_map(|(interface, network)| Some((interface, network, why_off(p, network, node)?)));
    let Some((interface, network, (why, help))) = off else { return false };
    let object = ObjectRef::on(Kind::Network, network.clone(), node);
    let message = format!("/interfaces/{}/network: it can't start on {object}, which {why}", interface.name);
    p.refuse(wanted, RefusalKind::Guard, message, &[help]);
    true
}

/// Why a network won't run, and what to do.
fn why_off(p: &Planner<'_>, network: &Name, node: &Name) -> Option<(&'static str, String)> {
    let off = p.network(network, node).is_some_and(|state| !state.active);
    let start = || format!("start it: virsh net-start {}", p.libvirt_name(Kind::Network, network, node));
    let Some(wanted) = p.desired.objects.get(&ObjectRef::on(Kind::Network, network.clone(), node)) else {
        return off.then(|| ("is off, and in no manifest that could start it", start()));
    };
    let kept_off = matches!(&wanted.spec, Spec::Network(spec) if spec.running == Some(false));
    // A creation that broke off is brought to its end, with its start.
    let lifecycle = &wanted.lifecycle;
    let left_alone = (lifecycle.management() != Management::Full || lifecycle.ignores("/running")) && !p.unfinished(wanted);
    match (left_alone, kept_off) {
        (true, _) => off.then(|| ("is off, and which nothing here starts", start())),
        (false, true) => {
            Some(("is kept off by its manifest", "take `running: false` out of it, or write `runStrategy: Halted` here".into()))
        }
        (false, false) => None,
    }
}
