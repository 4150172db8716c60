//! A world: manifests, what is on the nodes, a history and what breaks in it, as data that can be run, cut down and kept as a case.

use std::collections::{BTreeMap, BTreeSet};

use jvp::apply::{End, Failure, FailureKind, Seen};
use jvp::host::fake::{FakeHost, Power, State};
use jvp::manifest::Management;
use jvp::name::{Name, ObjectRef};
use jvp::plan::{Action, Data, Deferred, Entry, MaxDeletes, Mode, Note, Op, Plan, Suspension, Verb};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::bench::{Bench, Trouble, block_on};
use crate::scene::Scene;
use crate::{difference, ends};

/// What is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct World {
    /// Which of the images of the Templates `t0`, `t1` … are raw.
    pub raw_images: Vec<bool>,
    /// Whether each node has things of somebody else's.
    pub foreign: bool,
    /// What happens, one after the other.
    pub steps: Vec<Step>,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Step {
    /// An apply of these manifests, with the words that its plan asks for.
    Apply {
        manifests: Vec<String>,
        prune: bool,
        /// What goes wrong in it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        broken: Option<Broken>,
    },
    /// Somebody does something on a node without jvp.
    Hand { node: Name, act: HandAct, name: String },
    /// Nothing is to be done to an object.
    Suspend { object: ObjectRef },
    /// Something may be done to it again.
    Resume { object: ObjectRef },
    /// The state directory goes.
    LoseLedger,
    /// Everything is taken down, with what is in it.
    Delete,
}

/// How a run breaks, and what comes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Broken {
    /// At which call.
    pub call: u32,
    pub how: Trouble,
    /// The state directory goes, too.
    #[serde(default)]
    pub ledger_lost: bool,
    /// Nobody runs it again: the next thing happens.
    #[serde(default)]
    pub abandoned: bool,
}

/// What hands do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HandAct {
    StartDomain,
    CutDomain,
    UndefineDomain,
    ChangeMemory,
    SaveDomain,
    DefineDomain,
    StartNetwork,
    StopNetwork,
    UndefineNetwork,
    DefineNetwork,
    StopPool,
    PauseDomain,
    CrashDomain,
    ShutDownGuest,
    RenameDomain,
    FlipDomainAutostart,
    FlipNetworkAutostart,
    FlipPoolAutostart,
    RefreshPool,
    UndefinePool,
    /// A file that is in a pool and that no domain uses.
    DeleteFile,
    /// The machine goes off and on again.
    Reboot,
}

impl HandAct {
    pub const ALL: &[Self] = &[
        Self::StartDomain,
        Self::CutDomain,
        Self::UndefineDomain,
        Self::ChangeMemory,
        Self::SaveDomain,
        Self::DefineDomain,
        Self::StartNetwork,
        Self::StopNetwork,
        Self::UndefineNetwork,
        Self::DefineNetwork,
        Self::StopPool,
        Self::PauseDomain,
        Self::CrashDomain,
        Self::ShutDownGuest,
        Self::RenameDomain,
        Self::FlipDomainAutostart,
        Self::FlipNetworkAutostart,
        Self::FlipPoolAutostart,
        Self::RefreshPool,
        Self::UndefinePool,
        Self::DeleteFile,
        Self::Reboot,
    ];

    /// What it is done to.
    pub fn kind(self) -> &'static str {
        match self {
            Self::StartDomain
            | Self::CutDomain
            | Self::UndefineDomain
            | Self::ChangeMemory
            | Self::SaveDomain
            | Self::DefineDomain
            | Self::PauseDomain
            | Self::CrashDomain
            | Self::ShutDownGuest
            | Self::RenameDomain
            | Self::FlipDomainAutostart => "VirtualMachine",
            Self::StartNetwork | Self::StopNetwork | Self::UndefineNetwork | Self::DefineNetwork | Self::FlipNetworkAutostart => {
                "Network"
            }
            Self::StopPool | Self::FlipPoolAutostart | Self::RefreshPool | Self::UndefinePool => "StoragePool",
            Self::DeleteFile => "Volume",
            Self::Reboot => "Node",
        }
    }
}

/// A promise that was not kept.
#[derive(Debug)]
pub struct Broke {
    /// Which; what a world is cut down by.
    pub promise: &'static str,
    pub text: String,
}

/// That the world itself makes no sense.
pub const INVALID: &str = "the manifests are valid";

fn broke<T>(promise: &'static str, text: impl Into<String>) -> Result<T, Broke> {
    Err(Broke { promise, text: text.into() })
}

/// What came of a world.
#[derive(Debug, Default, Clone, Copy)]
pub struct Told {
    pub applied: u32,
    pub refused: u32,
    /// What was to break did.
    pub broke: bool,
    /// Its end can't be that of a clean run.
    apart: bool,
    /// Nothing is promised of what comes after.
    ends: bool,
}

/// Runs a world, twice where something breaks in it: with that and without.
pub fn run(world: &World) -> Result<Told, Broke> {
    block_on(async {
        let (bench, told) = live(world, true).await?;
        if !told.broke || told.apart {
            return Ok(told);
        }
        let (clean, as_told) = live(world, false).await?;
        if as_told.apart {
            return Ok(told);
        }
        let differs = difference(&ends(&clean), &ends(&bench));
        if !differs.is_empty() || told.refused != as_told.refused {
            return broke("after what broke one more run ends as a clean one", differs);
        }
        let (as_clean, then) = (inventory(&clean), inventory(&bench));
        if as_clean != then {
            let text = format!("clean: {as_clean:#?}\nthen: {then:#?}");
            return broke("after what broke the inventory is that of a clean run", text);
        }
        Ok(told)
    })
}

/// The inventory, but for why a VM is off that was to run once and has its mark: whether it ever ran isn't known of one whose start broke
/// off, and is no part of [`ends`] either.
pub fn inventory(bench: &Bench) -> BTreeMap<ObjectRef, Entry> {
    let mut all = bench.entries();
    let states: Vec<State> = bench.hosts.values().map(FakeHost::state).collect();
    let ran = |entry: &Entry| {
        let domains = states.iter().flat_map(|state| state.domains.values());
        domains.into_iter().any(|domain| Some(domain.uuid) == entry.libvirt_uuid && domain.inactive.contains("ran="))
    };
    all.values_mut().filter(|entry| ran(entry)).for_each(|entry| entry.last_off_reason = None);
    all
}

fn documents(manifests: &[String]) -> Vec<(String, String)> {
    manifests.iter().enumerate().map(|(at, text)| (format!("{at}.yaml"), text.clone())).collect()
}

async fn live(world: &World, breaks: bool) -> Result<(Bench, Told), Broke> {
    let Some(first) = world.steps.iter().find_map(|step| match step {
        Step::Apply { manifests, .. } => Some(documents(manifests)),
        _ => None,
    }) else {
        return broke(INVALID, "there are none");
    };
    let scene = Scene { nodes: 1, pools: 0, networks: Vec::new(), templates: world.raw_images.clone(), machines: Vec::new() };
    let mut bench = Bench::of(&scene, &first).or_else(|error| broke(INVALID, error.to_string()))?;
    if world.foreign {
        bench.put_foreign(false);
    }
    let mut told = Told::default();
    let last = world.steps.iter().rposition(|step| matches!(step, Step::Apply { .. }));
    for (at, step) in world.steps.iter().enumerate() {
        if told.ends {
            break;
        }
        match step {
            Step::Apply { manifests, prune, broken } => {
                let documents = documents(manifests);
                let (desired, text) = Bench::read(&documents).or_else(|error| broke(INVALID, error.to_string()))?;
                if !desired.nodes.keys().eq(bench.desired.nodes.keys()) {
                    return broke(INVALID, "the nodes are others");
                }
                let before = std::mem::replace(&mut bench.desired, desired);
                (bench.text, bench.prune) = (text, *prune);
                if Some(at) == last {
                    in_any_order(&mut bench, documents).await?;
                }
                let broken = broken.as_ref().filter(|_| breaks);
                if !applied(&mut bench, broken, &mut told).await? {
                    bench.desired = before;
                }
            }
            Step::Hand { node, act, name } => {
                if let Some(host) = bench.hosts.get(node) {
                    host.with(|state| by_hand(state, *act, name));
                }
            }
            Step::Suspend { object } => {
                let (since, by) = ("1970-01-01T00:00:00Z".into(), "somebody".into());
                bench.ledger().suspend(vec![Suspension { object: object.clone(), since, by, reason: None }]).unwrap();
            }
            Step::Resume { object } => {
                bench.ledger().resume(std::slice::from_ref(object), "1970-01-01T00:00:00Z", "somebody", None).unwrap();
            }
            // Nobody knows what to do of a creation that broke off where its ledger went as well.
            Step::LoseLedger if told.apart => {}
            Step::LoseLedger => bench.lose_ledger(),
            Step::Delete => {
                bench.delete(true);
                applied(&mut bench, None, &mut told).await?;
                bench.mode = Mode::Apply;
            }
        }
    }
    Ok((bench, told))
}

/// An apply (or a delete) with all that is promised of it. Whether it was done; else it was refused.
async fn applied(bench: &mut Bench, broken: Option<&Broken>, told: &mut Told) -> Result<bool, Broke> {
    bench.consents = jvp::plan::Consents::default();
    let Some(plan) = allowed(bench).await? else {
        told.refused += 1;
        return Ok(false);
    };
    let before = Before::of(bench);
    if let Some(broken) = broken {
        let may_be_refused = !plan.1.deferred.is_empty();
        bench.trouble(broken.call, broken.how);
        bench.troubled().await;
        told.broke |= bench.met();
        bench.heal();
        before.keeps(bench, &plan.1)?;
        if broken.ledger_lost {
            bench.lose_ledger();
            // Where nobody knows that a creation broke off, nobody can tell what of it is still to be done.
            (told.apart, told.ends) = (true, true);
        }
        if broken.abandoned {
            told.apart = true;
            return Ok(true);
        }
        if broken.ledger_lost {
            let plan = bench.plan().await;
            let before = Before::of(bench);
            bench.round(&plan).await;
            before.keeps(bench, &plan)?;
            return Ok(true);
        }
        let Some((seen, plan)) = allowed(bench).await? else {
            if may_be_refused {
                told.apart = true;
                return Ok(true);
            }
            return broke("after what broke one more run is not refused", format!("{:#?}", bench.plan().await.refusals));
        };
        if !done(bench, &Before::of(bench), seen, plan).await? {
            told.apart = true;
            return Ok(true);
        }
    } else {
        let (seen, plan) = plan;
        if !done(bench, &before, seen, plan).await? {
            told.apart = true;
            return Ok(true);
        }
    }
    told.applied += 1;
    bench.consents = jvp::plan::Consents::default();
    let plan = bench.plan().await;
    let waits = plan.actions.is_empty() && plan.changes.is_empty() && waits_for_others(bench, &plan.deferred);
    if !(waits || plan.is_empty()) || !plan.refusals.is_empty() {
        return broke(
            "a plan after an apply is empty",
            format!("{:#?}\n{:#?}\n{:#?}", plan.changes, plan.deferred, plan.refusals),
        );
    }
    // What is suspended is left as it is, with what was begun of it; what waits for others is yet to be judged; and a file that is
    // only looked at may stay half made, which the plan tells.
    let mut open = bench.ledger().open_intents();
    let suspended = bench.ledger().owned().suspended;
    let rests = |object: &ObjectRef| {
        let with = bench.desired.objects.get(object).and_then(|wanted| wanted.implied_by.as_ref());
        suspended.contains_key(object) || with.is_some_and(|with| suspended.contains_key(with))
    };
    open.retain(|intent| !rests(&intent.object));
    // A delete looks at nothing but what it was told of.
    open.retain(|intent| plan.has_judged(&intent.object));
    open.retain(|intent| !plan.deferred.iter().any(|deferred| deferred.object == intent.object));
    let watched = |object: &ObjectRef| {
        bench.desired.objects.get(object).is_some_and(|wanted| wanted.lifecycle.management() == Management::Observe)
    };
    open.retain(|intent| {
        let fills = matches!(intent.op.as_str(), "volume-create" | "volume-clone" | "volume-upload");
        let told =
            |note: &Note| note.object == intent.object && matches!(note.condition.as_str(), "Missing" | "Differs" | "Unseen");
        !(fills && watched(&intent.object) && plan.notes.iter().any(told))
    });
    if !open.is_empty() {
        return broke("an apply leaves no intent open", format!("{open:#?}"));
    }
    Ok(true)
}

/// Whether nothing of an object, or of the pool whose folder it shows, is jvp's doing.
fn is_observed(bench: &Bench, object: &ObjectRef) -> bool {
    let wanted = bench.desired.objects.get(object);
    let of = wanted.and_then(|wanted| wanted.implied_by.as_ref()).and_then(|by| bench.desired.objects.get(by));
    let all = [wanted, of].into_iter().flatten();
    let references =
        all.clone().flat_map(|wanted| &wanted.references).filter_map(|reference| bench.desired.objects.get(&reference.object));
    all.chain(references).any(|wanted| wanted.lifecycle.management() == Management::Observe)
}

/// Whether something waits for what is only looked at, which may never be there.
fn waits_for_others(bench: &Bench, waiting: &[Deferred]) -> bool {
    waiting.iter().flat_map(|deferred| &deferred.awaits).any(|object| is_observed(bench, object))
}

/// Carries a plan out. False where what was deferred was refused once it could be judged, as the plan had said that it may be.
async fn done(bench: &Bench, before: &Before, seen: Seen, plan: Plan) -> Result<bool, Broke> {
    let first = plan.clone();
    let rounds = bench.rounds_of(seen, plan).await;
    before.keeps(bench, &first)?;
    if rounds.end() == End::Refused && !first.deferred.is_empty() && rounds.failures().is_empty() {
        return Ok(false);
    }
    // What a guest would have to be stopped for, and could not be told before, is left to the next run.
    let put_off = |object: &ObjectRef| first.deferred.iter().any(|deferred| deferred.object == *object);
    if rounds.end() == End::Unannounced && rounds.failures().is_empty() && rounds.unannounced().iter().all(put_off) {
        return Ok(false);
    }
    if rounds.end() == End::Unfinished && rounds.failures().is_empty() && waits_for_others(bench, rounds.waiting()) {
        return Ok(false);
    }
    // A guest that somebody holds can't shut itself down when it is asked to: that is reported, and all else goes on.
    let held = |action: &Action, failure: &Failure| {
        let host = action.node.as_ref().and_then(|node| bench.hosts.get(node));
        let paused = |name: &String| {
            host.is_some_and(|host| host.state().domains.get(name).is_some_and(|domain| domain.power == Some(Power::Paused)))
        };
        failure.kind == FailureKind::StopTimeout && matches!(&action.op, Op::DomainShutdown { name, .. } if paused(name))
    };
    let failures = rounds.failures();
    if !failures.is_empty() && failures.iter().all(|(action, failure)| held(action, failure)) {
        return Ok(false);
    }
    bench.went_well(&rounds).or_else(|error| broke("an apply goes well", error.to_string()))?;
    Ok(true)
}

/// The plan with the words that it asks for; none where there is no word for a refusal.
async fn allowed(bench: &mut Bench) -> Result<Option<(Seen, Plan)>, Broke> {
    for _ in 0..6 {
        let (seen, plan) = bench.seen().await;
        if plan.refusals.is_empty() {
            return Ok(Some((seen, plan)));
        }
        let known = bench.consents.clone();
        let helps: Vec<&String> = plan.refusals.iter().flat_map(|refusal| &refusal.help).collect();
        for help in &helps {
            give(bench, help);
        }
        if bench.consents != known {
            continue;
        }
        // What stands there under a wanted name.
        let adopts = plan.refusals.iter().filter(|refusal| refusal.help.iter().any(|help| help.contains("jvp adopt ")));
        bench.adopt = adopts.map(|refusal| refusal.object.clone()).collect();
        if bench.adopt.is_empty() {
            return Ok(None);
        }
        let (seen, plan) = bench.seen().await;
        if !plan.refusals.is_empty() || plan.is_empty() {
            bench.adopt.clear();
            return Ok(None);
        }
        let adopted = bench.carry_out(seen, plan).await;
        bench.adopt.clear();
        adopted.or_else(|error| broke("what is to be adopted is", error.to_string()))?;
    }
    Ok(None)
}

/// Gives the word that a refusal asks for.
fn give(bench: &mut Bench, help: &str) {
    let mut words = help.split_whitespace().map(|word| word.trim_end_matches([',', ';', ':', '.']));
    let consents = &mut bench.consents;
    while let Some(word) = words.next() {
        let objects = match word {
            "--allow-data-loss" => &mut consents.allow_data_loss,
            "--allow-restart" => &mut consents.allow_restart,
            "--allow-disconnect" => &mut consents.allow_disconnect,
            "--force-stop" => &mut consents.force_stop,
            "--discard-saved-state" => &mut consents.discard_saved_state,
            "--assume-unused" => &mut consents.assume_unused,
            "--replace" => &mut consents.replace,
            "--allow-empty-prune" => {
                consents.allow_empty_prune = true;
                continue;
            }
            "--max-deletes" => {
                consents.max_deletes = words.next().and_then(|word| word.parse().ok()).unwrap_or(MaxDeletes::Count(1000));
                continue;
            }
            _ => continue,
        };
        objects.extend(words.next().and_then(|word| word.parse().ok()));
    }
}

/// Another order of the documents gives the same plan, to the byte.
async fn in_any_order(bench: &mut Bench, mut documents: Vec<(String, String)>) -> Result<(), Broke> {
    let one = bench.plan().await;
    documents.reverse();
    let middle = documents.len() / 2;
    documents.rotate_left(middle);
    let (desired, _) = Bench::read(&documents).or_else(|error| broke(INVALID, error.to_string()))?;
    let desired = std::mem::replace(&mut bench.desired, desired);
    let other = bench.plan().await;
    bench.desired = desired;
    let text = |plan: &Plan| serde_json::to_string_pretty(plan).unwrap();
    let (one, other) = (text(&one), text(&other));
    if one != other {
        return broke(
            "the order of documents says nothing",
            similar::TextDiff::from_lines(&one, &other).unified_diff().to_string(),
        );
    }
    Ok(())
}

/// Calls that take something from somebody.
const TAKE: &[&str] = &[
    "domain-shutdown",
    "domain-destroy",
    "domain-undefine",
    "domain-discard-save",
    "domain-detach",
    "network-stop",
    "network-undefine",
    "pool-stop",
    "pool-undefine",
    "volume-delete",
];

/// Calls that a run has no reason to do twice to one object.
const ONCE: &[&str] = &[
    "domain-destroy",
    "domain-undefine",
    "network-undefine",
    "pool-define",
    "pool-build",
    "pool-undefine",
    "volume-create",
    "volume-clone",
    "volume-upload",
    "volume-delete",
];

/// What a run must leave as it is.
struct Before {
    files: BTreeMap<Name, BTreeSet<String>>,
    theirs: BTreeMap<String, String>,
}

/// What [`Bench::put_foreign`] put there.
pub fn theirs(bench: &Bench) -> BTreeMap<String, String> {
    let mut all = bench.foreign();
    all.retain(|name, _| name.contains(" foreign") || name.contains(" file /images/"));
    all
}

impl Before {
    fn of(bench: &Bench) -> Self {
        for host in bench.hosts.values() {
            host.forget_calls();
        }
        Self { files: bench.files(), theirs: theirs(bench) }
    }

    /// What is somebody else's is as it was, no data went that the plan didn't name, and what was taken was announced.
    fn keeps(&self, bench: &Bench, plan: &Plan) -> Result<(), Broke> {
        let theirs = theirs(bench);
        if self.theirs != theirs {
            return broke("what is somebody else's stays as it is", format!("{:#?}\n{theirs:#?}", self.theirs));
        }
        let lost: BTreeSet<&ObjectRef> =
            plan.changes.iter().filter(|change| change.data == Data::Lost).map(|change| &change.object).collect();
        let named: BTreeSet<&str> = plan
            .actions
            .iter()
            .filter(|action| lost.contains(&action.object))
            .filter_map(|action| match &action.op {
                Op::VolumeDelete { name, .. } => Some(name.as_str()),
                _ => None,
            })
            .collect();
        for (node, now) in bench.files() {
            for path in self.files[&node].iter().filter(|path| !now.contains(*path)) {
                let name = path.rsplit('/').next().unwrap_or_default();
                if !named.contains(name) && !name.contains(".seed-") && !path.contains("/nvram/") && !path.contains("/save/") {
                    return broke(
                        "no data goes that the plan doesn't name",
                        format!("{path} went from {node}\n{:#?}", plan.changes),
                    );
                }
            }
        }
        let planned: BTreeSet<(&str, String)> = plan
            .actions
            .iter()
            .filter_map(|action| {
                Some((action.op.word(), serde_json::to_value(&action.op).ok()?.get("name")?.as_str()?.to_owned()))
            })
            .collect();
        for host in bench.hosts.values() {
            let mut done = BTreeSet::new();
            for call in host.calls().into_iter().filter(|call| call.outcome == Some(Ok(()))) {
                let key = (call.word.clone(), call.object.clone());
                // What had to wait may have been begun by a run that broke off.
                let half_made = call.word == "volume-delete"
                    && plan.notes.iter().any(|note| {
                        note.condition == "HalfMade" && note.message.contains(&format!("/{} half made", call.object))
                    });
                // A VM that waits for something is named with its fields, and is changed live once that is there.
                let waited = call.word == "domain-detach"
                    && plan.deferred.iter().any(|waits| {
                        waits.expected == Verb::Update && waits.object.name.as_str() == call.object && !waits.fields.is_empty()
                    });
                let announced = half_made || waited || planned.contains(&(call.word.as_str(), call.object.clone()));
                if TAKE.contains(&call.word.as_str()) && !announced {
                    return broke("what takes something was in the plan", format!("{call:?}\n{:#?}", plan.changes));
                }
                if ONCE.contains(&call.word.as_str()) && !done.insert(key) {
                    return broke("nothing is done twice in one run", format!("{call:?}"));
                }
            }
        }
        Ok(())
    }
}

/// What a hand does, where there is something to do it to.
pub fn by_hand(state: &mut State, act: HandAct, name: &str) {
    let uuid = state.domains.get(name).map(|domain| domain.uuid);
    let name = name.to_owned();
    let made = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
    let op = match (act, uuid) {
        (HandAct::StartDomain, Some(uuid)) => Op::DomainStart { name, uuid },
        (HandAct::CutDomain, Some(uuid)) => Op::DomainDestroy { name, uuid },
        (HandAct::UndefineDomain, Some(uuid)) => Op::DomainUndefine { name, uuid, nvram: false, managed_save: true },
        (HandAct::ChangeMemory, Some(uuid)) => {
            let text = &state.domains[&name].inactive;
            let Some(memory) = text.split("</memory>").next().and_then(|text| text.rsplit('>').next()) else { return };
            let xml = text.replace(&format!(">{memory}<"), ">131072<");
            Op::DomainDefine { name, uuid, xml: xml.into(), validate: false }
        }
        (HandAct::SaveDomain, Some(_)) => return state.managed_save(&name),
        (HandAct::DefineDomain, None) => {
            let xml = format!(
                "<domain type='qemu'><name>{name}</name><uuid>{made}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
                 <os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
            );
            Op::DomainDefine { name, uuid: made, xml: xml.into(), validate: false }
        }
        (HandAct::StartNetwork, _) => Op::NetworkStart { name },
        (HandAct::StopNetwork, _) => Op::NetworkStop { name },
        (HandAct::UndefineNetwork, _) => Op::NetworkUndefine { name },
        (HandAct::DefineNetwork, _) if !state.networks.contains_key(&name) => {
            let subnet = name.trim_start_matches("net").parse().unwrap_or(9_u8);
            let xml = format!(
                "<network><name>{name}</name><forward mode='nat'/><ip address='198.18.{subnet}.1' prefix='24'/></network>"
            );
            Op::NetworkDefine { name, xml }
        }
        (HandAct::StopPool, _) => Op::PoolStop { name },
        (HandAct::RefreshPool, _) => Op::PoolRefresh { name },
        (HandAct::UndefinePool, _) => {
            let _ = state.perform(&Op::PoolStop { name: name.clone() });
            Op::PoolUndefine { name }
        }
        (HandAct::PauseDomain, Some(_)) => {
            if let Some(domain) = state.domains.get_mut(&name).filter(|domain| domain.power == Some(Power::Running)) {
                domain.power = Some(Power::Paused);
            }
            return;
        }
        (HandAct::CrashDomain, Some(_)) if state.domains[&name].power.is_some() => return state.crash(&name),
        (HandAct::ShutDownGuest, Some(_)) if state.domains[&name].power.is_some() => return state.guest_shuts_down(&name),
        (HandAct::RenameDomain, Some(uuid)) => {
            let _ = state.perform(&Op::DomainDestroy { name: name.clone(), uuid });
            Op::DomainRename { to: format!("{name}-renamed"), name, uuid }
        }
        (HandAct::FlipDomainAutostart, Some(uuid)) => {
            let on = !state.domains[&name].autostart;
            Op::DomainAutostart { name, uuid, on }
        }
        (HandAct::FlipNetworkAutostart, _) => {
            let Some(network) = state.networks.get(&name) else { return };
            Op::NetworkAutostart { on: !network.autostart, name }
        }
        (HandAct::FlipPoolAutostart, _) => {
            let Some(pool) = state.pools.get(&name) else { return };
            Op::PoolAutostart { on: !pool.autostart, name }
        }
        (HandAct::DeleteFile, _) => {
            let lies = |pool: &&String| {
                ["", ".qcow2", ".img"].iter().any(|end| state.pools[*pool].known.contains_key(&format!("{name}{end}")))
            };
            let Some(pool) = state.pools.keys().find(lies).cloned() else { return };
            let file = state.pools[&pool]
                .known
                .keys()
                .find(|file| file.strip_prefix(&name).is_some_and(|end| matches!(end, "" | ".qcow2" | ".img")))
                .cloned();
            let Some(name) = file else { return };
            let path = format!("{}/{name}", state.pools[&pool].path);
            if state.domains.values().any(|domain| domain.inactive.contains(&path))
                || state.files.values().any(|file| file.backing.as_ref().is_some_and(|(below, _)| *below == path))
            {
                return;
            }
            Op::VolumeDelete { pool, name }
        }
        (HandAct::Reboot, _) => return reboot(state),
        _ => return,
    };
    // What libvirt refuses a hand isn't done.
    let _ = state.perform(&op);
}

/// The machine goes off and on again: what is to start with it does.
fn reboot(state: &mut State) {
    for (name, domain) in state.domains.clone() {
        if domain.power.is_some() {
            state.turn_off(&name, jvp::observe::OffReason::Unknown);
        }
    }
    state.libvirtd_restarts();
    for (name, pool) in state.pools.clone() {
        let _ = state.perform(&Op::PoolStop { name: name.clone() });
        if pool.autostart {
            let _ = state.perform(&Op::PoolStart { name });
        }
    }
    for (name, network) in state.networks.clone() {
        let _ = state.perform(&Op::NetworkStop { name: name.clone() });
        if network.autostart {
            let _ = state.perform(&Op::NetworkStart { name });
        }
    }
    for (name, domain) in state.domains.clone() {
        if domain.autostart {
            let _ = state.perform(&Op::DomainStart { name, uuid: domain.uuid });
        }
    }
}
