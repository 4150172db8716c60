//! Whether the networks that a start or a plug needs will run by then: libvirt starts no guest on one that doesn't, and plugs none in.
//!
//! What is nowhere is refused elsewhere, with the three places that were looked at.

use std::collections::BTreeSet;

use crate::manifest::{Interface, Management, Spec, VirtualMachineSpec};
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::DomainState;
use crate::plan::model::{RefusalKind, Verb};
use crate::plan::planner::{Draft, Hold, Planner, Standing};
use crate::plan::{ActionId, Op, Plug, suspension};
use crate::resolve::Wanted;
use crate::xml::domain::DomainDoc;

/// Refuses these steps where they start a guest on a network that is off then, or plug one in. True where they were refused.
pub(super) fn refuse_off(p: &mut Planner<'_>, wanted: &Wanted, spec: &VirtualMachineSpec, node: &Name, drafts: &[Draft]) -> bool {
    let starts = drafts.iter().any(|draft| matches!(draft.op, Op::DomainStart { .. }));
    // Also where only its cable moves, libvirt plugs it in.
    let plugs = |interface: &Interface| {
        let path = format!("/interfaces/{}", interface.name);
        drafts.iter().any(|draft| {
            matches!(&draft.op, Op::DomainDevice { how: Plug::Attach | Plug::Update, device, live: true, .. } if *device == path)
        })
    };
    // One that is off and suspended may run once it is resumed.
    let rests = spec.interfaces.iter().find_map(|interface| {
        let object = ObjectRef::on(Kind::Network, interface.network.clone()?, node);
        let suspended = p.desired.objects.get(&object).is_some_and(|network| suspension::is_suspended(p, network));
        let off = p.network(&object.name, node).is_none_or(|state| !state.active);
        (suspended && off && (starts || plugs(interface))).then_some(object)
    });
    if let Some(network) = rests {
        p.block(wanted, &network);
        return true;
    }
    let mut named = spec.interfaces.iter().filter_map(|interface| Some((interface, interface.network.as_ref()?)));
    let off = named.find_map(|(interface, network)| {
        let needed = starts || plugs(interface);
        needed.then(|| why_off(p, network, node, starts)).flatten().map(|why| (interface, network, why))
    });
    let Some((interface, network, (why, help))) = off else { return false };
    let object = ObjectRef::on(Kind::Network, network.clone(), node);
    let what = if starts { "start on" } else { "be plugged into" };
    let message = format!("/interfaces/{}/network: it can't {what} {object}, which {why}", interface.name);
    p.refuse(wanted, RefusalKind::Guard, message, &[help]);
    true
}

/// Refuses a start by hand on a network that is off, and that the same command doesn't start. True where it was refused.
pub(super) fn refuse_left_off(p: &mut Planner<'_>, wanted: &Wanted, domain: &DomainState) -> bool {
    let Some((node, state)) = wanted.node.as_ref().and_then(|node| Some((node, p.node(node)?))) else { return false };
    let starts = |network: &str| {
        let mut of_node = p.plan.actions.iter().filter(|action| action.node.as_ref() == Some(node));
        of_node.any(|action| matches!(&action.op, Op::NetworkStart { name } if *name == network))
    };
    // It comes back on what it was saved on.
    let doc = super::vm_saved::kept(p, wanted, domain).map_or(&domain.doc, |saved| &saved.doc);
    let mut networks = doc.interfaces.iter().filter_map(|interface| interface.network.as_deref());
    let off = |network: &&str| state.networks.get(*network).is_some_and(|state| !state.active) && !starts(network);
    let Some(network) = networks.find(off) else { return false };
    let message = format!("it can't start on the network `{network}`, which is off");
    p.refuse(wanted, RefusalKind::Guard, message, &[format!("start it first: jvp network start, or virsh net-start {network}")]);
    true
}

/// What a start from a saved state needs of the networks that it comes back on, whatever the manifest says by now; an error where it was
/// refused, since one of them won't run.
pub(super) fn to_come_back_on(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    node: &Name,
    doc: &DomainDoc,
) -> Result<BTreeSet<ActionId>, ()> {
    let Some(state) = p.node(node) else { return Ok(BTreeSet::new()) };
    let mut needs = BTreeSet::new();
    for name in doc.interfaces.iter().filter_map(|interface| interface.network.as_ref()) {
        let mut of_node =
            p.desired.objects.keys().filter(|object| object.kind == Kind::Network && object.node.as_ref() == Some(node));
        let declared = of_node.find(|object| p.libvirt_name(Kind::Network, &object.name, node) == *name).cloned();
        let off = state.networks.get(name).is_none_or(|network| !network.active);
        let suspended =
            |object: &ObjectRef| p.desired.objects.get(object).is_some_and(|wanted| suspension::is_suspended(p, wanted));
        let why = match &declared {
            Some(object) if off && suspended(object) => {
                p.block(wanted, object);
                return Err(());
            }
            Some(object) => why_off(p, &object.name, node, true),
            None if !state.networks.contains_key(name) => {
                Some(("is not there", format!("define and start it: virsh net-define, virsh net-start {name}")))
            }
            None => off.then(|| ("is off, and in no manifest that could start it", format!("start it: virsh net-start {name}"))),
        };
        if let Some((why, help)) = why {
            let message = format!("its saved state brings it back on the network `{name}`, which {why}");
            let drop = format!("or drop that state, with what the guest had in memory: --discard-saved-state {}", wanted.object);
            p.refuse(wanted, RefusalKind::Guard, message, &[help, drop]);
            return Err(());
        }
        let Some(object) = declared else { continue };
        match p.standing.get(&object) {
            Some(Standing::Ready(ids)) if !off || !ids.is_empty() => needs.extend(ids.iter().copied()),
            Some(Standing::Deferred) if off => {
                p.hold(wanted, Hold::Deferred(object), Verb::Update, Vec::new());
                return Err(());
            }
            Some(Standing::Blocked) if off => {
                p.block(wanted, &object);
                return Err(());
            }
            None | Some(Standing::Ready(_)) if off => {
                let message = format!("its saved state brings it back on {object}, which is off, and not started by this plan");
                p.refuse(wanted, RefusalKind::Guard, message, &[format!("start it with it: --target {object}")]);
                return Err(());
            }
            _ => {}
        }
    }
    Ok(needs)
}

/// Why a network won't run, and what to do.
fn why_off(p: &Planner<'_>, network: &Name, node: &Name, starts: bool) -> Option<(&'static str, String)> {
    let off = p.network(network, node).is_some_and(|state| !state.active);
    let start = || format!("start it: virsh net-start {}", p.libvirt_name(Kind::Network, network, node));
    let Some(wanted) = p.desired.objects.get(&ObjectRef::on(Kind::Network, network.clone(), node)) else {
        return off.then(|| ("is off, and in no manifest that could start it", start()));
    };
    let kept_off = matches!(&*wanted.spec, Spec::Network(spec) if spec.running == Some(false));
    let lifecycle = &wanted.lifecycle;
    let left_alone = match lifecycle.management() {
        Management::Observe => true,
        // A creation that broke off is brought to its end, with its start.
        Management::CreateOnly => !p.unfinished(wanted),
        Management::Full => lifecycle.ignores("/running") && !p.unfinished(wanted),
    };
    match (left_alone, kept_off) {
        (true, _) => off.then(|| ("is off, and which nothing here starts", start())),
        (false, true) => {
            let or = if starts { "write `runStrategy: Halted` here" } else { "give the interface another network" };
            Some(("is kept off by its manifest", format!("take `running: false` out of it, or {or}")))
        }
        (false, false) => None,
    }
}
