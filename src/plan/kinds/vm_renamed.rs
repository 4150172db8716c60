//! A VM whose domain somebody gave another name: it gets its own back once it is off.

use std::collections::{BTreeMap, BTreeSet};

use super::virtual_machine::{lane, update};
use super::{vm_network, vm_power, vm_saved};
use crate::manifest::{Leaves, VirtualMachineSpec};
use crate::name::Name;
use crate::observe::{DomainState, PowerState};
use crate::plan::model::{FieldChange, Shown, Verb};
use crate::plan::planner::{Draft, Planner, Row};
use crate::plan::policy::{PowerAct, given};
use crate::plan::{Expect, Op, Precondition, Record};
use crate::resolve::Wanted;

/// Plans the VM whose domain is called `name` by now.
pub(super) fn renamed(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    node: &Name,
    domain: &DomainState,
    name: String,
) {
    let uuid = domain.uuid;
    let other_writer = p.other_writer(domain.doc.mark.as_ref());
    let saved = domain.managed_save && !given(&p.policy.consents.discard_saved_state, &wanted.object);
    if domain.state != PowerState::Off || saved {
        // libvirt renames no domain that has a saved state.
        let when = if saved { "off without a saved state" } else { "off" };
        p.note(&wanted.object, "Renamed", format!("it was renamed to `{name}` by hand; it is renamed back once it is {when}"));
        return start_as_found(p, wanted, spec, domain, other_writer);
    }
    let mut row = Row::new(wanted, Verb::Update, "it was renamed by hand");
    row.fields = vec![FieldChange {
        path: "/libvirtName".into(),
        old: Some(Shown::Value(name.clone())),
        new: Some(Shown::Value(wanted.libvirt_name.clone())),
    }];
    vm_saved::discard(p, wanted, domain, &mut row);
    row.drafts.push(
        Draft::new(Op::DomainRename { name, uuid, to: wanted.libvirt_name.clone() }, lane(wanted))
            .when(Precondition::Domain { uuid, running: false })
            .expect(Expect::Matches { uuid, leaves: Leaves::new(), disks: BTreeMap::new() }),
    );
    if p.refuse_writer(wanted, other_writer) {
        return;
    }
    p.commit(row);
    // What else is to be done, as its start, is done under its own name again.
    if let Some(mark) = &domain.doc.mark {
        p.marks.insert(wanted.object.clone(), mark.clone());
    }
    let renamed = DomainState { name: wanted.libvirt_name.clone(), managed_save: false, saved: None, ..domain.clone() };
    update(p, wanted, spec, node, &renamed, other_writer);
}

/// Starts a domain under the name that it has by now; nothing else is done to it.
fn start_as_found(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    domain: &DomainState,
    other_writer: Option<uuid::Uuid>,
) {
    let Some(power) = vm_power::by_strategy(p, wanted, spec, domain).filter(|power| power.verb == Verb::Start) else {
        return p.ready(&wanted.object);
    };
    let needs = match (&wanted.node, &domain.saved) {
        (Some(node), Some(saved)) => vm_network::to_come_back_on(p, wanted, node, &saved.doc),
        _ => Ok(BTreeSet::new()),
    };
    let Ok(needs) = needs else { return };
    if p.refuse_writer(wanted, other_writer) {
        return;
    }
    let mut row = Row::new(wanted, power.verb, power.reason);
    row.effect = power.effect;
    row.needs = needs;
    row.drafts = power.drafts;
    for reference in wanted.references.iter().filter(|reference| reference.path.starts_with("/disks/")) {
        row.needs.extend(p.standing_of(&reference.object).unwrap_or_default());
    }
    if let (Some(entry), Some(last)) = (vm_power::restarted(p, wanted, PowerAct::Start), row.drafts.last_mut()) {
        last.record = Record::Put(Box::new(entry));
    }
    p.commit(row);
}
