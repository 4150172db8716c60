//! A VM that is off and starts from a saved state: it comes back as it was when it was saved, whatever its definition says by now. So it
//! is started first, and then changed as one that runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::virtual_machine::lane;
use super::vm_power::{Power, by_strategy};
use crate::manifest::{RunStrategy, VirtualMachineSpec};
use crate::name::ObjectRef;
use crate::observe::{DomainState, OffReason, PowerState, Saved};
use crate::plan::identity::Verdict;
use crate::plan::model::{Data, Effect, FieldChange, Shown, Verb};
use crate::plan::planner::{Draft, Planner, Row};
use crate::plan::policy::given;
use crate::plan::{ActionId, Op, Precondition};
use crate::resolve::Wanted;

/// A start from a saved state.
pub(super) struct Restored {
    /// The domain as it is after it.
    pub(super) domain: DomainState,
    /// What starts it.
    power: Power,
}

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

/// The actions after which a VM's saved state is dropped, by its word; they are planned when first asked for.
pub(super) fn drop_first(p: &mut Planner<'_>, vm: &ObjectRef) -> BTreeSet<ActionId> {
    if let Some(planned) = p.dropped.get(vm) {
        return planned.clone();
    }
    let desired = p.desired;
    let mut ids = BTreeSet::new();
    if let Some(wanted) = desired.objects.get(vm)
        && let Some((node, state)) = wanted.node.as_ref().and_then(|node| Some((node, p.node(node)?)))
        && let Verdict::Ours { uuid, other_writer: None } = p.verdict_domain(wanted, state)
        && let Some(domain) = p.index.domain(node, uuid).filter(|domain| domain.saved.as_ref().is_some_and(|saved| saved.dropped))
    {
        let mut row = Row::new(wanted, Verb::Update, "its saved state is dropped");
        discard(p, wanted, domain, &mut row);
        ids.extend(p.commit(row));
        p.dropped.insert(vm.clone(), ids.clone());
    }
    ids
}

/// Drops a saved state whose word was given: first of all, since what it names is in use until then.
pub(super) fn discard(p: &Planner<'_>, wanted: &Wanted, domain: &DomainState, row: &mut Row<'_>) {
    let is_word_given = given(&p.policy.consents.discard_saved_state, &wanted.object);
    if domain.managed_save && is_word_given && !p.dropped.contains_key(&wanted.object) {
        row.fields.push(FieldChange { path: "/savedState".into(), old: Some(Shown::Value("kept".into())), new: None });
        row.data = Data::Lost;
        let op = Op::DomainDiscardSave { name: domain.name.clone(), uuid: domain.uuid };
        row.drafts.push(Draft::new(op, lane(wanted)).when(Precondition::Domain { uuid: domain.uuid, running: false }));
    }
}

/// The start of a domain from its saved state; none where it isn't to be started, or nobody can tell what it brings back.
pub(super) fn restored(p: &Planner<'_>, wanted: &Wanted, spec: &VirtualMachineSpec, seen: &DomainState) -> Option<Restored> {
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
    Some(Restored { domain, power })
}

impl Restored {
    /// Starts the domain, before it is changed, on what `needs` names.
    pub(super) fn start(&mut self, row: &mut Row<'_>, needs: BTreeSet<ActionId>) {
        row.needs.extend(needs);
        row.effect = row.effect.clone().max(Effect::Start);
        row.drafts.append(&mut self.power.drafts);
    }

    /// Says of a row that is finished that it starts the domain.
    pub(super) fn tell(self, row: &mut Row<'_>) {
        if row.verb == Verb::Update && row.fields.is_empty() {
            row.verb = self.power.verb;
            row.reason = self.power.reason;
        } else if row.verb == Verb::Restart {
            row.reason = format!("{}; once back from its saved state, {}", self.power.reason, row.reason);
        } else {
            row.reason = format!("{}, and {}", row.reason, self.power.reason);
        }
    }
}
