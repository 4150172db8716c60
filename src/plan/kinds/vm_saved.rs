//! A VM that is off and starts from a saved state: it comes back as it was when it was saved, whatever its definition says by now. So it
//! is started first, and then changed as one that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::virtual_machine::{lane, other_node};
use super::vm_power::{Power, by_strategy};
use crate::manifest::{Management, RunStrategy, VirtualMachineSpec};
use crate::name::{Name, ObjectRef};
use crate::observe::{DomainState, NodeView, Observed, OffReason, PowerState, Saved};
use crate::plan::identity::Verdict;
use crate::plan::model::{Data, Effect, FieldChange, Shown, Verb};
use crate::plan::planner::{Draft, Planner, Row};
use crate::plan::policy::given;
use crate::plan::{ActionId, Op, Precondition, suspension};
use crate::resolve::Wanted;

/// A start from a saved state.
pub(super) struct Restored(Power);

/// What a domain's saved state brings back; none where there is none, where it is to be dropped, or where nobody can tell.
pub(super) fn kept<'d>(p: &Planner<'_>, wanted: &Wanted, domain: &'d DomainState) -> Option<&'d Saved> {
    domain.comes_back().filter(|_| !given(&p.policy.consents.discard_saved_state, &wanted.object))
}

/// Why a file that is gone isn't made anew beneath a saved state, and what to do.
pub(super) fn without_a_disk(p: &Planner<'_>, domain: &DomainState) -> (String, String) {
    let name = &domain.name;
    let drop = match domain.doc.mark.as_ref().map(|mark| &mark.object) {
        Some(vm) if p.desired.objects.contains_key(vm) => format!("--discard-saved-state {vm}"),
        _ => format!("virsh managedsave-remove {name}"),
    };
    let message = format!("its file is gone, and {name} was saved with it: that state would come back onto another one");
    (message, format!("bring the file back, or drop that state: {drop}"))
}

/// The VMs whose saved state a plan drops, by its word, before all else; each with its domain. Where one of them rests or isn't ours, its
/// state stays.
pub(in crate::plan) fn dropped(
    p: &Planner<'_>,
    targets: Option<&BTreeSet<ObjectRef>>,
    refused: &BTreeMap<ObjectRef, (String, String)>,
) -> BTreeSet<(ObjectRef, Name, String)> {
    let words = p.policy.consents.discard_saved_state.iter();
    let wanted = words.filter(|vm| targets.is_none_or(|targets| targets.contains(*vm)) && !refused.contains_key(*vm));
    let wanted = wanted.filter_map(|vm| p.desired.objects.get(vm));
    let of = |wanted: &Arc<Wanted>| {
        let node = wanted.node.as_ref()?;
        let domain = saved_domain(p, wanted, node)?;
        let here = other_node(p, wanted, node).is_none();
        let rests = wanted.lifecycle.management() != Management::Full || suspension::is_suspended(p, wanted);
        let other = p.other_writer(domain.doc.mark.as_ref()).filter(|_| !p.policy.consents.take_over);
        (here && !rests && other.is_none()).then(|| (wanted.object.clone(), node.clone(), domain.name.clone()))
    };
    wanted.filter_map(of).collect()
}

/// The domain of a VM that has a saved state, if it is ours.
fn saved_domain<'a>(p: &Planner<'a>, wanted: &Wanted, node: &Name) -> Option<&'a DomainState> {
    let (Verdict::Ours { uuid, .. } | Verdict::Renamed { uuid, .. }) = p.verdict_domain(wanted, p.node(node)?) else {
        return None;
    };
    p.index.domain(node, uuid).filter(|domain| domain.managed_save)
}

/// Shows the states that are dropped as what they are then: they bring back nothing, and what they name is free.
pub(in crate::plan) fn show_dropped(observed: &mut Observed, dropped: &BTreeSet<(ObjectRef, Name, String)>) {
    for (_, node, name) in dropped {
        let Some(NodeView::Reached(state)) = observed.nodes.get_mut(node) else { continue };
        let Some(domain) = state.domains.get_mut(name) else { continue };
        let unread =
            || Saved { dropped: true, doc: domain.doc.clone(), xml: domain.inactive_xml.clone(), pending: BTreeSet::new() };
        domain.saved =
            Some(Arc::new(domain.saved.as_deref().map_or_else(unread, |saved| Saved { dropped: true, ..saved.clone() })));
    }
}

/// Drops a VM's saved state before all else.
pub(in crate::plan) fn drop_state(p: &mut Planner<'_>, wanted: &Wanted) {
    let Some(domain) = wanted.node.as_ref().and_then(|node| saved_domain(p, wanted, node)) else { return };
    let mut row = Row::new(wanted, Verb::Update, "its saved state is dropped");
    discard(p, wanted, domain, &mut row);
    let ids = p.commit(row);
    p.dropped.insert(domain.uuid, ids.into_iter().collect());
}

/// Drops a saved state whose word was given: first of all, since what it names is in use until then.
pub(super) fn discard(p: &Planner<'_>, wanted: &Wanted, domain: &DomainState, row: &mut Row<'_>) {
    let is_word_given = given(&p.policy.consents.discard_saved_state, &wanted.object);
    if domain.managed_save && is_word_given && !p.dropped.contains_key(&domain.uuid) {
        row.fields.push(FieldChange { path: "/savedState".into(), old: Some(Shown::Value("kept".into())), new: None });
        row.data = Data::Lost;
        let op = Op::DomainDiscardSave { name: domain.name.clone(), uuid: domain.uuid };
        row.drafts.push(Draft::new(op, lane(wanted)).when(Precondition::Domain { uuid: domain.uuid, running: false }));
    }
}

/// The start of a domain from its saved state, and the domain as it is after that; none where it isn't to be started, or nobody can tell
/// what it brings back.
pub(super) fn restored(
    p: &Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    seen: &DomainState,
) -> Option<(DomainState, Restored)> {
    let saved = kept(p, wanted, seen)?;
    let power = by_strategy(p, wanted, spec, seen).filter(|power| power.verb == Verb::Start)?;
    let mut doc = seen.doc.clone();
    if spec.run_strategy == Some(RunStrategy::Once) {
        // As the start leaves it.
        Arc::make_mut(&mut doc).mark.get_or_insert_with(|| p.mark(wanted)).ran = true;
    }
    let domain = DomainState {
        state: PowerState::Running,
        off_reason: OffReason::Unknown,
        saved: None,
        doc,
        live: Some(saved.doc.clone()),
        live_xml: Some(saved.xml.clone()),
        pending: saved.pending.clone(),
        ..seen.clone()
    };
    Some((domain, Restored(power)))
}

impl Restored {
    /// Starts the domain, before it is changed, on what `needs` names.
    pub(super) fn start(&mut self, row: &mut Row<'_>, needs: BTreeSet<ActionId>) {
        row.needs.extend(needs);
        row.effect = row.effect.clone().max(Effect::Start);
        row.drafts.append(&mut self.0.drafts);
    }

    /// Says of a row that is finished that it starts the domain.
    pub(super) fn tell(self, row: &mut Row<'_>) {
        if row.verb == Verb::Update && row.fields.is_empty() {
            row.verb = self.0.verb;
            row.reason = self.0.reason;
        } else if row.verb == Verb::Restart {
            row.reason = format!("{}; once back from its saved state, {}", self.0.reason, row.reason);
        } else {
            row.reason = format!("{}, and {}", row.reason, self.0.reason);
        }
    }
}
