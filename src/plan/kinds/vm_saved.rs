//! A VM that is off and starts from a saved state: it comes back as it was when it was saved, whatever its definition says by now. So it
//! is started first, and then changed as one that runs.

use std::sync::Arc;

use super::vm_power::{Power, by_strategy};
use crate::manifest::{RunStrategy, VirtualMachineSpec};
use crate::observe::{DomainState, OffReason, PowerState, Saved};
use crate::plan::model::{Effect, Verb};
use crate::plan::planner::{Planner, Row};
use crate::plan::policy::given;
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
    domain.saved.as_deref().filter(|_| !given(&p.policy.consents.discard_saved_state, &wanted.object))
}

/// The start of a domain from its saved state; none where it isn't to be started, or nobody can tell what it brings back.
pub(super) fn restored(p: &Planner<'_>, wanted: &Wanted, spec: &VirtualMachineSpec, seen: &DomainState) -> Option<Restored> {
    let saved = kept(p, wanted, seen)?;
    let power = by_strategy(p, wanted, spec, seen).filter(|power| power.verb == Verb::Start)?;
    let mut doc = seen.doc.clone();
    if spec.run_strategy == Some(RunStrategy::Once)
        && let Some(mark) = Arc::make_mut(&mut doc).mark.as_mut()
    {
        mark.ran = true;
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
    /// Starts the domain, before it is changed.
    pub(super) fn start(&mut self, row: &mut Row<'_>) {
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
