//! Starting and stopping: the table of DECISIONS F, and the hand's own wishes.

use super::virtual_machine::lane;
use crate::manifest::{OnTimeout, RunStrategy, ShutdownMethod, Spec, VirtualMachineSpec};
use crate::observe::{DomainState, OffReason, PowerState};
use crate::plan::model::{Effect, RefusalKind, Verb};
use crate::plan::planner::{Draft, Planner, Row};
use crate::plan::policy::PowerAct;
use crate::plan::{Expect, Op, Precondition};
use crate::resolve::Wanted;

/// A start or stop that follows.
pub(in crate::plan) struct Power {
    pub(in crate::plan) verb: Verb,
    pub(in crate::plan) reason: String,
    pub(in crate::plan) effect: Effect,
    pub(in crate::plan) drafts: Vec<Draft>,
}

/// What the strategy asks of a domain in this state.
pub(super) fn by_strategy(p: &Planner<'_>, wanted: &Wanted, spec: &VirtualMachineSpec, domain: &DomainState) -> Option<Power> {
    let strategy = spec.run_strategy.unwrap_or(RunStrategy::Always);
    match domain.state {
        PowerState::Off => {
            let ran = domain.doc.mark.as_ref().is_some_and(|mark| mark.ran);
            let shut_down_before = p
                .entry(&wanted.object)
                .and_then(|entry| entry.last_off_reason.as_deref())
                .is_some_and(|reason| reason == "GuestShutdown");
            let start = match (strategy, domain.off_reason) {
                (RunStrategy::Always, _) => true,
                (RunStrategy::RerunOnFailure, OffReason::GuestShutdown) => false,
                (RunStrategy::RerunOnFailure, OffReason::Unknown) => !shut_down_before,
                (RunStrategy::RerunOnFailure, _) => true,
                (RunStrategy::Once, _) => !ran,
                (RunStrategy::Manual | RunStrategy::Halted, _) => false,
            };
            start.then(|| Power {
                verb: Verb::Start,
                reason: format!("it is off, and runStrategy is {strategy:?}"),
                effect: Effect::Start,
                drafts: start_drafts(p, wanted, domain.uuid, strategy == RunStrategy::Once),
            })
        }
        PowerState::Running | PowerState::ShuttingDown if strategy == RunStrategy::Halted => Some(Power {
            verb: Verb::Stop,
            reason: "it runs, and runStrategy is Halted".into(),
            effect: Effect::Stop,
            drafts: stop_drafts(p, wanted, spec, domain),
        }),
        _ => None,
    }
}

/// A start, preceded by the mark that it ran where it is to run once.
pub(super) fn start_drafts(p: &Planner<'_>, wanted: &Wanted, uuid: uuid::Uuid, once: bool) -> Vec<Draft> {
    let name = wanted.libvirt_name.clone();
    let off = Precondition::Domain { uuid, running: false };
    let mut drafts = Vec::new();
    if once {
        let existing = wanted.node.as_ref().and_then(|node| p.node(node)).and_then(|state| state.domains.get(&name));
        let mut mark = existing
            .and_then(|domain| domain.doc.mark.clone())
            .or_else(|| p.marks.get(&wanted.object).cloned())
            .unwrap_or_else(|| p.mark(wanted));
        mark.ran = true;
        drafts.push(
            Draft::new(
                Op::DomainMetadata {
                    name: name.clone(),
                    uuid,
                    title: None,
                    description: None,
                    mark: Some(mark.to_xml()),
                    live: false,
                },
                lane(wanted),
            )
            .when(off.clone()),
        );
    }
    drafts.push(Draft::new(Op::DomainStart { name, uuid }, lane(wanted)).when(off).expect(Expect::Active(true)));
    drafts
}

/// Seconds of a duration such as `120s`, `5m` or `1h`.
fn seconds(text: &str) -> Option<u64> {
    let count: u64 = text.get(..text.len().checked_sub(1)?)?.parse().ok()?;
    match text.chars().last()? {
        's' => Some(count),
        'm' => Some(count * 60),
        'h' => Some(count * 3600),
        _ => None,
    }
}

/// A graceful stop, or a cut where the manifest or a flag says so.
pub(in crate::plan) fn stop_drafts(
    p: &Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    domain: &DomainState,
) -> Vec<Draft> {
    let shutdown = spec.shutdown.clone().unwrap_or_default();
    let uuid = domain.uuid;
    let name = domain.name.clone();
    let running = Precondition::Domain { uuid, running: true };
    let forced = p.policy.consents.force_stop.contains(&wanted.object);
    if forced {
        return vec![Draft::new(Op::DomainDestroy { name, uuid }, lane(wanted)).when(running).expect(Expect::Active(false))];
    }
    vec![
        Draft::new(
            Op::DomainShutdown {
                name,
                uuid,
                method: shutdown.method.unwrap_or(ShutdownMethod::Auto),
                timeout_seconds: shutdown.timeout.as_deref().and_then(seconds).unwrap_or(120),
                on_timeout: shutdown.on_timeout.unwrap_or(OnTimeout::Report),
            },
            lane(wanted),
        )
        .when(running)
        .expect(Expect::Active(false)),
    ]
}

/// Plans what `jvp vm start|stop|restart` asks for.
pub(in crate::plan) fn power(p: &mut Planner<'_>, wanted: &Wanted, what: PowerAct) {
    let Spec::VirtualMachine(spec) = &wanted.spec else { return };
    let Some(domain) = p.domain(wanted) else {
        return p.refuse(wanted, RefusalKind::Guard, "there is no such VM of ours", &["jvp apply makes it".into()]);
    };
    let running = domain.state != PowerState::Off;
    let strategy = spec.run_strategy.unwrap_or(RunStrategy::Always);
    let (verb, effect, reason) = match what {
        PowerAct::Start if !running => (Verb::Start, Effect::Start, "asked for"),
        PowerAct::Stop if running => (Verb::Stop, Effect::Stop, "asked for"),
        PowerAct::Restart if running => (Verb::Restart, Effect::Restart, "asked for"),
        PowerAct::Restart => (Verb::Start, Effect::Start, "asked for; it is off"),
        PowerAct::Start | PowerAct::Stop | PowerAct::Refresh => return p.ready(&wanted.object),
    };
    if domain.managed_save && matches!(verb, Verb::Start) {
        p.note(&wanted.object, "SavedState", "the start restores a saved state with the configuration of that time");
    }
    match (what, strategy) {
        (PowerAct::Start, RunStrategy::Halted) => {
            p.note(&wanted.object, "Strategy", "runStrategy is Halted: the next apply stops it again");
        }
        (PowerAct::Stop, RunStrategy::Always | RunStrategy::RerunOnFailure) if strategy == RunStrategy::Always => {
            p.note(&wanted.object, "Strategy", "runStrategy is Always: the next apply starts it again");
        }
        _ => {}
    }
    let mut row = Row::new(wanted, verb, reason);
    row.effect = effect;
    if running {
        row.drafts.extend(stop_drafts(p, wanted, spec, domain));
    }
    if !matches!(verb, Verb::Stop) {
        row.drafts.extend(start_drafts(p, wanted, domain.uuid, strategy == RunStrategy::Once));
    }
    p.commit(row);
}
