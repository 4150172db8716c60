//! Starting and stopping: the table of DECISIONS F, and the hand's own wishes.

use std::borrow::Cow;

use super::virtual_machine::lane;
use super::vm_rebuild::of_vm;
use super::vm_restart::{Restart, restart};
use crate::manifest::{self, Leaves, OnTimeout, RunStrategy, ShutdownMethod, Spec, VirtualMachineSpec};
use crate::observe::{DomainState, OffReason, PowerState};
use crate::plan::model::{Effect, RefusalKind, Verb};
use crate::plan::planner::{Draft, Planner, Row};
use crate::plan::policy::{PowerAct, given};
use crate::plan::{Entry, Expect, Op, Precondition, Record};
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
            // What jvp stopped to start it again.
            let broken_off = strategy != RunStrategy::Halted && p.restarting(&wanted.object);
            let start = match (strategy, domain.off_reason) {
                _ if broken_off => true,
                (RunStrategy::Always, _) => true,
                (RunStrategy::RerunOnFailure, OffReason::GuestShutdown) => false,
                (RunStrategy::RerunOnFailure, OffReason::Unknown) => !shut_down_before,
                (RunStrategy::RerunOnFailure, _) => true,
                (RunStrategy::Once, _) => !ran,
                (RunStrategy::Manual | RunStrategy::Halted, _) => false,
            };
            let off_by = Precondition::OffBy { uuid: domain.uuid, reason: domain.off_reason };
            // One that is rebuilt is looked at as it will be once it was stopped.
            let is_found_off = of_vm(p, &wanted.object).is_none();
            start.then(|| Power {
                verb: Verb::Start,
                reason: if broken_off {
                    "it was stopped to be restarted, and that broke off".into()
                } else {
                    format!("it is off, and runStrategy is {strategy:?}")
                },
                effect: Effect::Start,
                drafts: start_drafts(p, wanted, &domain.name, domain.uuid, strategy == RunStrategy::Once && !ran)
                    .into_iter()
                    .map(|draft| match draft.op {
                        Op::DomainStart { .. } if is_found_off => draft.when(off_by.clone()),
                        _ => draft,
                    })
                    .collect(),
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
pub(super) fn start_drafts(p: &Planner<'_>, wanted: &Wanted, name: &str, uuid: uuid::Uuid, once: bool) -> Vec<Draft> {
    let name = name.to_owned();
    let off = Precondition::Domain { uuid, running: false };
    let mut drafts = Vec::new();
    if once {
        let existing = wanted.node.as_ref().and_then(|node| p.node(node)).and_then(|state| state.domains.get(&name));
        // What this plan writes before is newer than what is there.
        let mut mark = p
            .marks
            .get(&wanted.object)
            .cloned()
            .or_else(|| existing.and_then(|domain| domain.doc.mark.clone()))
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
                timeout_seconds: shutdown.timeout.as_deref().and_then(manifest::seconds).unwrap_or(120),
                on_timeout: shutdown.on_timeout.unwrap_or(OnTimeout::Report),
            },
            lane(wanted),
        )
        .when(running)
        .expect(Expect::Active(false)),
    ]
}

/// A fragment's path with its elements' own names, as what waits for a start is told by: without prefixes, and with its keys.
fn without_prefixes(path: &str) -> String {
    let local = |step: &str| match step.split_once(':') {
        Some((prefix, name)) if !prefix.contains('[') => name.to_owned(),
        _ => step.to_owned(),
    };
    path.split('/').map(local).collect::<Vec<_>>().join("/")
}

/// Whether a path in which the next start differs is one that the manifest is about.
fn managed(domain: &DomainState, now: &Leaves, path: &str) -> bool {
    if let Some(part) = path.strip_prefix("xml:") {
        return now.contains_key("/xml")
            && domain.doc.mark.as_ref().is_some_and(|mark| {
                let plain = mark.paths.iter().filter_map(|managed| managed.strip_prefix("/xml")).map(without_prefixes);
                plain.into_iter().any(|managed| managed.starts_with(part))
            });
    }
    // libvirt always has a maximum: where none is written, it goes with what is.
    if let Some((_, least)) = [("/cpu/max", "/cpu/count"), ("/maxMemory", "/memory")].iter().find(|(max, _)| *max == path)
        && now.contains_key(*least)
    {
        return true;
    }
    let docs = || [Some(&domain.doc), domain.live.as_ref()].into_iter().flatten();
    let mut segments = path.split('/').skip(1);
    match (segments.next(), segments.next()) {
        // A device with a name of jvp's came from a manifest, also if it left it since.
        (Some("disks"), Some("(seed)")) => true,
        (Some("disks"), Some(name)) => {
            docs().flat_map(|doc| &doc.disks).any(|disk| disk.name.as_ref().is_some_and(|key| key.as_str() == name))
        }
        (Some("interfaces"), Some(name)) => {
            docs().flat_map(|doc| &doc.interfaces).any(|nic| nic.name.as_ref().is_some_and(|key| key.as_str() == name))
        }
        _ => now
            .keys()
            .any(|wanted| wanted == path || wanted.starts_with(&format!("{path}/")) || path.starts_with(&format!("{wanted}/"))),
    }
}

/// The fields of a running domain that wait for its next start: the manifest's, and others.
fn pending(domain: &DomainState, now: &Leaves) -> (Vec<String>, Vec<String>) {
    let all = domain.pending.iter().filter(|_| domain.live.is_some()).cloned();
    all.partition(|path| managed(domain, now, path))
}

/// What is no change, but worth a line.
pub(super) fn notes(p: &mut Planner<'_>, wanted: &Wanted, spec: &VirtualMachineSpec, domain: &DomainState, now: &Leaves) {
    let (ours, others) = pending(domain, now);
    if !ours.is_empty() || !others.is_empty() {
        let when = if ours.is_empty() { String::new() } else { restart(p, wanted, spec).words() };
        let fields: Vec<_> = ours.into_iter().chain(others.into_iter().map(|path| format!("{path} (not ours)"))).collect();
        let message = format!("it runs with other values than its definition: {}{when}", fields.join(", "));
        p.note(&wanted.object, "RestartRequired", message);
    }
    if domain.managed_save && !given(&p.policy.consents.discard_saved_state, &wanted.object) {
        let message = format!(
            "its next start restores a saved state with the configuration of that time; to drop the state: --discard-saved-state {}",
            wanted.object
        );
        p.note(&wanted.object, "SavedState", message);
    }
    match domain.state {
        PowerState::Paused => p.note(&wanted.object, "Paused", "it is paused; nothing is done about it"),
        PowerState::Suspended => p.note(&wanted.object, "Asleep", "its guest is asleep; nothing is done about it"),
        PowerState::Crashed => p.note(&wanted.object, "Crashed", "its guest crashed and is kept; nothing is done about it"),
        PowerState::Running | PowerState::ShuttingDown | PowerState::Off => {}
    }
}

/// The start, stop or restart that follows a change: what the strategy asks for, else a restart for what waits for one, where the
/// manifest or a word on the command line has it so.
pub(super) fn follow(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    domain: &DomainState,
    now: &Leaves,
    waits: bool,
    row: &mut Row<'_>,
) {
    if let Some(power) = by_strategy(p, wanted, spec, domain) {
        if row.fields.is_empty() {
            row.verb = power.verb;
            row.reason = power.reason;
        } else {
            row.reason = format!("it differs from the manifest, and {}", power.reason);
        }
        row.effect = power.effect;
        row.drafts.extend(power.drafts);
        return;
    }
    let (ours, _) = pending(domain, now);
    let halted = spec.run_strategy == Some(RunStrategy::Halted);
    if domain.state != PowerState::Running || halted || (ours.is_empty() && !waits) {
        return;
    }
    match restart(p, wanted, spec) {
        Restart::May => {}
        // Where something waits already, that is said with it.
        Restart::Later(Some(when)) if ours.is_empty() => return p.note(&wanted.object, "RestartLater", when),
        Restart::Later(_) => return,
    }
    if row.fields.is_empty() {
        row.verb = Verb::Restart;
        row.reason = format!("it runs with other values than its definition: {}", ours.join(", "));
    } else {
        row.reason = "it differs from the manifest, and what differs needs a restart".into();
    }
    for effect in row.effects.values_mut().filter(|effect| **effect == Effect::NextStart) {
        *effect = Effect::Restart;
    }
    row.effect = Effect::Restart;
    let process = domain.live.as_ref().and_then(|live| live.id);
    row.drafts.extend(stop_drafts(p, wanted, spec, domain).into_iter().map(|draft| match process {
        // Whoever starts it anew meanwhile has brought it what it waits for.
        Some(process) => draft.when(Precondition::Process { uuid: domain.uuid, process }).restarting(true),
        // One that was saved while it was paused comes back so.
        None => draft.when(Precondition::Awake { uuid: domain.uuid }).restarting(true),
    }));
    row.drafts.extend(start_drafts(p, wanted, &domain.name, domain.uuid, false));
}

/// Plans what `jvp vm start|stop|restart` asks for.
pub(in crate::plan) fn power(p: &mut Planner<'_>, wanted: &Wanted, what: PowerAct) {
    let Spec::VirtualMachine(spec) = &*wanted.spec else { return };
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
        PowerAct::Start | PowerAct::Stop | PowerAct::Refresh => {
            if let Some(entry) = restarted(p, wanted, what) {
                p.will_be(Cow::Owned(entry));
            }
            return p.ready(&wanted.object);
        }
    };
    let comes_back = domain.managed_save && !given(&p.policy.consents.discard_saved_state, &wanted.object);
    if comes_back && matches!(verb, Verb::Start) {
        p.note(&wanted.object, "SavedState", "the start restores a saved state with the configuration of that time");
    }
    match (what, strategy) {
        (PowerAct::Start, RunStrategy::Halted) => {
            p.note(&wanted.object, "Strategy", "runStrategy is Halted: the next apply stops it again");
        }
        (PowerAct::Stop, RunStrategy::Always) => {
            p.note(&wanted.object, "Strategy", "runStrategy is Always: the next apply starts it again");
        }
        _ => {}
    }
    let mut row = Row::new(wanted, verb, reason);
    row.effect = effect;
    if matches!(verb, Verb::Start) {
        super::vm_saved::discard(p, wanted, domain, &mut row);
    }
    if running {
        let restarting = !matches!(verb, Verb::Stop);
        row.drafts.extend(stop_drafts(p, wanted, spec, domain).into_iter().map(|draft| draft.restarting(restarting)));
    }
    if !matches!(verb, Verb::Stop) {
        if super::vm_network::refuse_left_off(p, wanted, domain) {
            return;
        }
        row.drafts.extend(start_drafts(p, wanted, &domain.name, domain.uuid, strategy == RunStrategy::Once));
    }
    if let (Some(entry), Some(last)) = (restarted(p, wanted, what), row.drafts.last_mut()) {
        last.record = Record::Put(Box::new(entry));
    }
    p.commit(row);
}

/// The entry of a VM with no restart of it under way, whatever was begun before: a hand's word is the last. What it was off for before a start
/// says nothing any more.
pub(super) fn restarted(p: &Planner<'_>, wanted: &Wanted, what: PowerAct) -> Option<Entry> {
    let entry = p.entry(&wanted.object)?;
    let last_off_reason = entry.last_off_reason.clone().filter(|_| !matches!(what, PowerAct::Start | PowerAct::Restart));
    Some(Entry { restarting: false, last_off_reason, ..entry.clone() })
}
