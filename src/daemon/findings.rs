//! What a look means for an object: its conditions. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::Spec;
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::{DomainState, NodeState, NodeView};
use crate::plan::{Change, Deferred, Note, Plan, Refusal, Unreachable};
use crate::resolve::Wanted;
use crate::store::{Condition, ConditionStatus, ObjectStatus};

use super::guests::Told;
use crate::apply::{self as guest, Seen};

/// What the engine knows of an object besides the look.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Why its last run failed.
    pub failure: Option<String>,
    pub flapping: bool,
    /// What is amiss was changed by others, and stays so.
    pub drifted: bool,
    /// What the manifests want of it, as a digest.
    pub digest: Option<String>,
}

/// What a plan says of each object, to be looked up and not searched for.
pub(super) struct Said<'a> {
    changes: BTreeMap<&'a ObjectRef, &'a Change>,
    deferred: BTreeMap<&'a ObjectRef, &'a Deferred>,
    refusals: BTreeMap<&'a ObjectRef, Vec<&'a Refusal>>,
    notes: BTreeMap<&'a ObjectRef, Vec<&'a Note>>,
    /// The first refusal of each Node.
    closed: BTreeMap<&'a Name, &'a Refusal>,
    unreachable: Vec<(&'a Unreachable, BTreeSet<&'a ObjectRef>)>,
}

impl<'a> Said<'a> {
    /// Sorts a plan by object.
    pub(super) fn by(plan: &'a Plan, declares: &dyn Fn(&ObjectRef) -> bool) -> Self {
        let mut said = Self {
            // Of several the first stays.
            changes: plan.changes.iter().rev().map(|change| (&change.object, change)).collect(),
            deferred: plan.deferred.iter().rev().map(|deferred| (&deferred.object, deferred)).collect(),
            refusals: BTreeMap::new(),
            notes: BTreeMap::new(),
            closed: BTreeMap::new(),
            unreachable: plan.unreachable.iter().map(|node| (node, node.objects.iter().collect())).collect(),
        };
        for refusal in &plan.refusals {
            said.refusals.entry(&refusal.object).or_default().push(refusal);
            if refusal.object.kind == Kind::Node {
                said.closed.entry(&refusal.object.name).or_insert(refusal);
            }
        }
        // A prune is refused as a whole.
        if let Some(refusal) = plan.refusals.iter().find(|refusal| !declares(&refusal.object)) {
            for object in plan.pruned() {
                said.refusals.entry(object).or_insert_with(|| vec![refusal]);
            }
        }
        for note in &plan.notes {
            said.notes.entry(&note.object).or_default().push(note);
        }
        said
    }

    /// Whether something is to change of an object.
    pub(super) fn changes(&self, object: &ObjectRef) -> bool {
        self.changes.contains_key(object)
    }

    fn refusals(&self, object: &ObjectRef) -> &[&'a Refusal] {
        self.refusals.get(object).map_or(&[], Vec::as_slice)
    }

    fn notes(&self, object: &ObjectRef) -> &[&'a Note] {
        self.notes.get(object).map_or(&[], Vec::as_slice)
    }
}

/// A look's results.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub said: &'a Said<'a>,
    pub seen: &'a Seen,
    pub found: Found<'a>,
}

/// When something was found, and with which manifests.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    /// RFC 3339.
    pub at: &'a str,
    pub revision: Option<&'a str>,
}

type Finding<'n> = (&'n str, ConditionStatus, &'static str, String);

/// The conditions that an object may have.
pub const CONDITIONS: &[&str] = &[
    "Synced",
    "Ready",
    "RestartRequired",
    "Drifted",
    "Suspended",
    "Flapping",
    "Blocked",
    "AddressAssigned",
    "AgentConnected",
    "CloudInitDone",
];

/// What only a guest tells.
const BY_GUEST: &[guest::Condition] =
    &[guest::Condition::AddressAssigned, guest::Condition::AgentConnected, guest::Condition::CloudInitDone];

/// How an object stands. `before` is how it stood.
pub(super) fn status(
    object: &ObjectRef,
    wanted: Option<&Wanted>,
    look: Look<'_>,
    known: &Known,
    told: Told<'_>,
    before: Option<&ObjectStatus>,
) -> ObjectStatus {
    let synced = synced(object, node_of(object, wanted, look.seen), look.said, known);
    let is_synced = synced.1 == ConditionStatus::True;
    let mut conditions = vec![condition(synced, look.found, before)];
    conditions.extend(readiness(ready(object, wanted, look.seen), told, look.found, before));
    conditions.extend(flags(object, look.said, known).into_iter().map(|found| condition(found, look.found, before)));
    let digest = known.digest.clone().filter(|_| is_synced);
    ObjectStatus {
        object: object.clone(),
        conditions,
        synced: digest.or_else(|| before.and_then(|before| before.synced.clone())),
    }
}

/// Why an object on a node out of reach is known no better.
pub(super) const UNREACHABLE: &str = "NodeUnreachable";
/// What is known whether anything can be looked at or not: the daemon's own affairs, and those of its ledger.
const OWN: &[&str] = &["Suspended", "Flapping"];

/// The node out of reach because of which a look tells nothing of an object.
pub(super) fn unread<'a>(object: &ObjectRef, wanted: Option<&'a Wanted>, look: Look<'a>) -> Option<&'a Name> {
    let lost = look.said.unreachable.iter().find(|(node, objects)| objects.contains(object) || stands_on(object, &node.node));
    let on = || node_of(object, wanted, look.seen).filter(|_| state(object, wanted, look.seen).is_err());
    lost.map(|(node, _)| &node.node).or_else(on)
}

/// How an object stands that can't be looked at: what was so before is so no longer for sure.
pub(super) fn unknown(
    object: &ObjectRef,
    reason: &'static str,
    message: &str,
    found: Found<'_>,
    before: Option<&ObjectStatus>,
) -> ObjectStatus {
    let known = before.map(|before| before.conditions.as_slice()).unwrap_or_default();
    let names = known.iter().map(|condition| condition.name.as_str());
    let names = if known.is_empty() { vec!["Synced", "Ready"] } else { names.collect() };
    let unknown = |name: &str| match known.iter().find(|condition| condition.name == name) {
        Some(own) if OWN.contains(&name) => own.clone(),
        _ => condition((name, ConditionStatus::Unknown, reason, message.to_owned()), found, before),
    };
    let conditions = names.into_iter().map(unknown).collect();
    ObjectStatus { object: object.clone(), conditions, synced: before.and_then(|before| before.synced.clone()) }
}

/// How a VM stands that runs, once its guest has told more.
pub(super) fn told(before: &ObjectStatus, told: Told<'_>, found: Found<'_>) -> ObjectStatus {
    let mut conditions = before.conditions.clone();
    let at = conditions.iter().position(|condition| condition.name == "Ready").unwrap_or(conditions.len());
    conditions.retain(|condition| condition.name != "Ready" && !is_by_guest(condition));
    let ready = ("Ready", ConditionStatus::True, RUNS, String::new());
    let at = at.min(conditions.len());
    conditions.splice(at..at, readiness(ready, told, found, Some(before)));
    ObjectStatus { conditions, ..before.clone() }
}

/// Why a VM or something else that can run is ready by itself.
const RUNS: &str = "Running";
/// Why a VM that runs is not ready.
const LACKS: &str = "GuestNotReady";

/// Whether a VM ran when it was last looked at, and its guest was asked.
pub(super) fn ran(before: &ObjectStatus) -> bool {
    before.condition("Ready").is_some_and(|ready| [RUNS, LACKS].contains(&ready.reason.as_str()))
}

fn is_by_guest(condition: &Condition) -> bool {
    BY_GUEST.iter().any(|known| known.name() == condition.name)
}

/// Whether an object is ready, and what its guest tells, where it has one: a VM that runs is ready once all is so that applies to it.
fn readiness(ready: Finding<'_>, told: Told<'_>, found: Found<'_>, before: Option<&ObjectStatus>) -> Vec<Condition> {
    use ConditionStatus::{False, True, Unknown};
    let is = |finding: Finding<'_>| condition(finding, found, before);
    if ready.2 != RUNS {
        return vec![is(ready)];
    }
    let told = match told {
        Told::Nothing => return vec![is(ready)],
        Told::This(told) => told,
        Told::AsBefore => {
            let kept: Vec<Condition> = before
                .into_iter()
                .flat_map(|before| &before.conditions)
                .filter(|condition| condition.name == "Ready" || is_by_guest(condition))
                .filter(|condition| condition.status != Unknown)
                .cloned()
                .collect();
            if !kept.is_empty() {
                return kept;
            }
            &[]
        }
        Told::NotYet => &[],
    };
    if told.is_empty() {
        return vec![is(("Ready", Unknown, "GuestNotAsked", "its guest was not asked yet".to_owned()))];
    }
    let mut all = Vec::new();
    let mut lacks = Vec::new();
    for (known, status) in told {
        let finding = match status {
            guest::Status::True(words) => (known.name(), True, "AsTold", words.clone()),
            guest::Status::Waiting(why) => (known.name(), False, "Waiting", why.clone()),
            guest::Status::Never(why) => (known.name(), False, "Failed", why.clone()),
            // What can't be known is no condition.
            guest::Status::NotApplicable(_) => continue,
        };
        if finding.1 == False {
            lacks.push(format!("{} ({})", finding.0, finding.3));
        }
        if BY_GUEST.contains(known) {
            all.push(is(finding));
        }
    }
    let ready = if lacks.is_empty() { ready } else { ("Ready", False, LACKS, lacks.join(", ")) };
    all.insert(0, is(ready));
    all
}

/// A condition as it is recorded: with since when it is so. What only another revision found alike is not written anew.
fn condition(finding: Finding<'_>, found: Found<'_>, before: Option<&ObjectStatus>) -> Condition {
    let (name, status, reason, message) = finding;
    match before.and_then(|before| before.condition(name)) {
        Some(old) if old.status == status && old.reason == reason && old.message == message => old.clone(),
        old => Condition {
            name: name.to_owned(),
            status,
            reason: reason.to_owned(),
            message,
            since: old.filter(|old| old.status == status).map_or_else(|| found.at.to_owned(), |old| old.since.clone()),
            revision: found.revision.map(str::to_owned),
        },
    }
}

/// Has a status say that a run failed, as it was found at a time.
pub(super) fn failed(status: &mut ObjectStatus, why: &str, at: &str) {
    for condition in status.conditions.iter_mut().filter(|condition| condition.name == "Synced") {
        if condition.status != ConditionStatus::False {
            at.clone_into(&mut condition.since);
        }
        condition.status = ConditionStatus::False;
        "Failed".clone_into(&mut condition.reason);
        why.clone_into(&mut condition.message);
    }
}

/// The node that an object is on, or is to be.
fn node_of<'a>(object: &ObjectRef, wanted: Option<&'a Wanted>, seen: &'a Seen) -> Option<&'a Name> {
    let entry = seen.owned.entries.get(object);
    entry.and_then(|entry| entry.node.as_ref()).or_else(|| wanted.and_then(|wanted| wanted.node.as_ref()))
}

fn synced(object: &ObjectRef, node: Option<&Name>, said: &Said<'_>, known: &Known) -> Finding<'static> {
    use ConditionStatus::{False, True, Unknown};
    if let Some(node) = node
        && let Some(refusal) = said.closed.get(node)
    {
        let help = refusal.help.first().map(|help| format!(" ({help})")).unwrap_or_default();
        return ("Synced", Unknown, "NodeRefused", format!("Node/{node}: {}{help}", refusal.message));
    }
    if let Some(failure) = &known.failure {
        return ("Synced", False, "Failed", failure.clone());
    }
    let refusals: Vec<&str> = said.refusals(object).iter().map(|refusal| refusal.message.as_str()).collect();
    if !refusals.is_empty() {
        return ("Synced", False, "Refused", refusals.join("; "));
    }
    if let Some(deferred) = said.deferred.get(object) {
        return ("Synced", False, "Waiting", format!("it goes on {}", deferred.until));
    }
    match said.changes.get(object) {
        Some(change) => ("Synced", False, "OutOfSync", format!("it will be {}: {}", change.verb.participle(), change.reason)),
        None => ("Synced", True, "AsWanted", String::new()),
    }
}

fn stands_on(object: &ObjectRef, node: &Name) -> bool {
    object.node.as_ref() == Some(node) || (object.kind == Kind::Node && object.name == *node)
}

/// Where an object stands, and the state of its node. None where it stands on no node; an error where that is out of reach.
fn state<'a>(object: &ObjectRef, wanted: Option<&Wanted>, seen: &'a Seen) -> Result<Option<&'a NodeState>, ()> {
    match node_of(object, wanted, seen).map(|node| seen.observed.nodes.get(node)) {
        Some(Some(NodeView::Reached(state))) => Ok(Some(state)),
        Some(_) => Err(()),
        None => Ok(None),
    }
}

/// The name that an object has in libvirt.
fn libvirt_name<'a>(object: &ObjectRef, wanted: Option<&'a Wanted>, seen: &'a Seen) -> Option<&'a str> {
    let entry = seen.owned.entries.get(object);
    entry.map(|entry| entry.libvirt_name.as_str()).or_else(|| wanted.map(|wanted| wanted.libvirt_name.as_str()))
}

/// The domain of a VM, none where it isn't there; an error where its node is out of reach.
pub(super) fn domain<'a>(object: &ObjectRef, wanted: Option<&Wanted>, seen: &'a Seen) -> Result<Option<&'a DomainState>, ()> {
    let state = state(object, wanted, seen)?;
    Ok(state.zip(libvirt_name(object, wanted, seen)).and_then(|(state, name)| state.domains.get(name)))
}

fn ready(object: &ObjectRef, wanted: Option<&Wanted>, seen: &Seen) -> Finding<'static> {
    use ConditionStatus::{False, True, Unknown};
    let (entry, name) = (seen.owned.entries.get(object), libvirt_name(object, wanted, seen));
    let Ok(state) = state(object, wanted, seen) else { return ("Ready", Unknown, UNREACHABLE, String::new()) };
    let (is_there, runs) = match (object.kind, name, state) {
        (Kind::VirtualMachine, Some(name), Some(state)) => {
            let domain = state.domains.get(name);
            (domain.is_some(), domain.is_some_and(DomainState::is_active))
        }
        (Kind::Network, Some(name), Some(state)) => {
            let network = state.networks.get(name);
            (network.is_some(), network.is_some_and(|network| network.active))
        }
        (Kind::StoragePool, Some(name), Some(state)) => {
            let pool = state.pools.get(name);
            (pool.is_some(), pool.is_some_and(|pool| pool.active))
        }
        _ => {
            let there = entry.is_some_and(|entry| !entry.unfinished && !entry.released);
            (there || entry.is_none() && matches!(object.kind, Kind::KeyPair | Kind::Node | Kind::Fleet), there)
        }
    };
    let halted = matches!(wanted.map(|wanted| &*wanted.spec), Some(Spec::VirtualMachine(spec))
        if spec.run_strategy == Some(crate::manifest::RunStrategy::Halted));
    match (is_there, runs) {
        (false, _) => ("Ready", False, "Missing", String::new()),
        (true, true) => ("Ready", True, RUNS, String::new()),
        (true, false) if halted => ("Ready", True, "Halted", String::new()),
        (true, false) if matches!(object.kind, Kind::VirtualMachine | Kind::Network | Kind::StoragePool) => {
            ("Ready", False, "Stopped", String::new())
        }
        (true, false) => ("Ready", True, "There", String::new()),
    }
}

/// Conditions that stand only where they are so.
fn flags(object: &ObjectRef, said: &Said<'_>, known: &Known) -> Vec<Finding<'static>> {
    use ConditionStatus::True;
    let mut found = Vec::new();
    for name in ["RestartRequired", "Suspended", "Blocked"] {
        let words: Vec<&str> =
            said.notes(object).iter().filter(|note| note.condition == name).map(|note| note.message.as_str()).collect();
        if !words.is_empty() {
            found.push((name, True, "AsSaid", words.join("; ")));
        }
    }
    if let Some(refusal) = said.refusals(object).first()
        && !found.iter().any(|(name, ..)| *name == "Blocked")
    {
        let help = refusal.help.first().map(|help| format!(": {help}")).unwrap_or_default();
        found.push(("Blocked", True, "Refused", format!("{}{help}", refusal.message)));
    }
    if known.drifted {
        found.push(("Drifted", True, "ChangedByOthers", String::new()));
    }
    if known.flapping {
        found.push(("Flapping", True, "ChangedByOthers", "somebody keeps changing it; it is healed more slowly".to_owned()));
    }
    found
}
