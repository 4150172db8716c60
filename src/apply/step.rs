//! One action: precondition, effect, read-back, record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::progress::{Event, Sink};
use crate::host::{Ear, ErrorKind, Events, Host, HostError, Progress};
use crate::name::Name;
use crate::observe::{DomainState, NodeState, Scope, Target};
use crate::plan::{
    Action, ActionId, Begins, Entry, Expect, Fields, Intent, Op, Plug, Precondition, Record, UploadSource, fields_moved,
    life_moved, verify,
};
use crate::store::{Change, Ending, Ledger, Outcome};

/// What steps reach: nodes, ledger, and the controller's own deeds.
pub struct World {
    /// The hosts of the set.
    pub hosts: BTreeMap<Name, Arc<dyn Host>>,
    /// Where it is heard what the hosts tell; empty where nobody listens.
    pub ears: BTreeMap<Name, Ear>,
    /// The ledger.
    pub ledger: Ledger,
    /// Deeds of the controller's.
    pub local: Arc<dyn Local>,
    /// What time it is, for records.
    pub clock: fn() -> jiff::Timestamp,
}

/// Deeds of the controller's: fetching images, making keys, reading secrets.
#[async_trait::async_trait]
pub trait Local: Send + Sync {
    /// Fetches a Template's image into the cache and checks it.
    async fn fetch(&self, template: &Name, progress: &dyn Progress) -> Result<(), String>;
    /// Makes a key pair.
    fn generate_key(&self, name: &Name) -> Result<(), String>;
    /// A copy of an image that nobody changes any more, verified, and where it lies.
    fn image(&self, object: &crate::name::ObjectRef, path: &str, digest: &str, size: u64) -> Result<String, String>;
    /// The secret that a reference means; refused where it is another one than when the plan was made.
    fn secret(&self, secret: &crate::plan::SecretRef) -> Result<String, String>;
}

/// Why an action failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What happened.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// What kinds of failure there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// What is there is not what the plan was made from.
    Conflict,
    /// The node went out of reach.
    Unreachable,
    /// Nobody knows whether it happened.
    Unknown,
    /// It was done, and what is there is not what was planned.
    Mismatch,
    /// A guest didn't stop in time, and runs on.
    StopTimeout,
    /// The journal can't be written.
    Journal,
    /// Anything else.
    Failed,
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let kind = match error.kind {
            ErrorKind::Unreachable => FailureKind::Unreachable,
            ErrorKind::Unknown => FailureKind::Unknown,
            ErrorKind::StopTimeout => FailureKind::StopTimeout,
            _ => FailureKind::Failed,
        };
        Self { kind, message: error.message }
    }
}

/// How often what is transient is tried, and how long between: 0.2 s doubling to 3.2 s.
const TRIES: u32 = 6;

/// How often a step reads its object again because something was told of it while it did. A guest can have libvirt tell of it without a
/// pause, and must not hold up what is done to it for ever.
const READS: u32 = 8;

/// The id of an action's intent.
fn intent_id(action: &Action, run_id: &str) -> String {
    format!("{run_id}-{:06}", action.id.0)
}

/// The intent of an action.
pub(super) fn intent(action: &Action, world: &World, run_id: &str) -> Intent {
    let details = match (&action.record, &action.op) {
        (
            Record::Put(entry) | Record::Settle(entry),
            Op::VolumeCreate { .. } | Op::VolumeClone { .. } | Op::VolumeUpload { .. },
        ) => {
            let volume = entry.volume.as_ref().map(serde_json::to_value);
            let template = entry.template.as_ref().map(serde_json::to_value);
            volume.or(template).and_then(Result::ok).unwrap_or_default()
        }
        _ => serde_json::Value::Null,
    };
    Intent {
        id: intent_id(action, run_id),
        run: run_id.to_owned(),
        object: action.object.clone(),
        op: action.op.word().to_owned(),
        node: action.node.clone(),
        details,
        absent_before: action.precondition == Precondition::Absent,
        at: (world.clock)().to_string(),
    }
}

/// Whether an intent may be on disk long before its effect. The intents of volumes and templates may not: they say that nothing was
/// there when they were written, and a file that is found is judged by them.
pub(super) fn may_be_intended_early(action: &Action) -> bool {
    let target = action.op.target();
    action.op == Op::Inventory || matches!(target, Some(Target::Domain(_) | Target::Network(_) | Target::Pool(_)))
}

/// The entry of an action's object as it is from the intent on, where that is another one than before.
pub(super) fn begun(action: &Action, world: &World) -> Option<Entry> {
    if action.begins == Begins::default() {
        return None;
    }
    let known = world.ledger.entry(&action.object)?;
    Some(action.begins.begun(&known)).filter(|begun| *begun != known)
}

/// What is taken back of [`begun`] where the effect didn't happen.
fn not_begun(action: &Action, world: &World) -> Vec<Change> {
    let known = action.begins.restarting.filter(|restarting| *restarting).and_then(|_| world.ledger.entry(&action.object));
    known.map(|known| Change::Put(Box::new(Entry { restarting: false, ..known }))).into_iter().collect()
}

/// Ends the intent of an action that was never begun. Should that fail, the next run decides by looking.
pub(super) fn never_begun(action: &Action, world: &World, run_id: &str) {
    let ending = ending(Outcome::NotBegun, None, world);
    if let Err(error) = world.ledger.complete(&intent_id(action, run_id), ending, not_begun(action, world)) {
        tracing::warn!(object = %action.object, %error, "the intent of a step that was never begun stays open");
    }
}

struct Bytes<'a> {
    action: ActionId,
    sink: &'a Sink,
}

impl Progress for Bytes<'_> {
    fn bytes(&self, done: u64, total: u64) {
        self.sink.send(&Event::Bytes { action: self.action, done, total });
    }
}

/// Performs one action whose intent is on disk.
pub(super) async fn perform(action: &Action, world: &World, run_id: &str, sink: &Sink) -> Result<(), Failure> {
    let result = effect(action, world, sink).await;
    let id = intent_id(action, run_id);
    let (outcome, changes) = match &result {
        Ok(()) => (Outcome::Verified, changes(action, world)),
        Err(failure) => match failure.kind {
            // The next run decides, by looking.
            FailureKind::Unknown | FailureKind::Unreachable | FailureKind::Mismatch => (Outcome::Unknown, Vec::new()),
            // It was asked, and may stop yet.
            FailureKind::StopTimeout => (Outcome::Failed, Vec::new()),
            _ => (Outcome::Failed, not_begun(action, world)),
        },
    };
    super::failpoint::hit("recorded", action);
    world
        .ledger
        .complete(&id, ending(outcome, result.as_ref().err(), world), changes)
        .map_err(|error| Failure::new(FailureKind::Journal, format!("it was done, but the ledger can't be written: {error}")))?;
    result
}

/// An end as the history has it.
fn ending(outcome: Outcome, failure: Option<&Failure>, world: &World) -> Ending {
    Ending { outcome, at: (world.clock)().to_string(), why: failure.map(|failure| failure.message.clone()) }
}

/// What the ledger records of a verified action. Until an object's steps are all verified, `last` only grows (D4).
fn changes(action: &Action, world: &World) -> Vec<Change> {
    let stamped = |entry: &Entry, grow: bool| {
        let mut entry = entry.clone();
        let known = world.ledger.entry(&entry.object);
        entry.date(known.as_ref(), || (world.clock)().to_string());
        // Until its steps are all verified, an object that is made, or made anew, is not finished.
        let made = action.precondition == Precondition::Absent;
        let begun = known.as_ref().is_none_or(|known| known.unfinished || known.rebuilt);
        entry.unfinished = grow && (entry.unfinished || begun || made);
        if grow && let Some(known) = known {
            let last: BTreeSet<String> = known.last.union(&entry.last).cloned().collect();
            entry.last = last;
            entry.mark_due |= known.mark_due;
        }
        Change::Put(Box::new(entry))
    };
    match &action.record {
        Record::Nothing => Vec::new(),
        Record::Put(entry) => vec![stamped(entry, true)],
        Record::Settle(entry) => vec![stamped(entry, false)],
        Record::Remove(object) => vec![Change::Remove(object.clone())],
    }
}

async fn effect(action: &Action, world: &World, sink: &Sink) -> Result<(), Failure> {
    let progress = Bytes { action: action.id, sink };
    match &action.op {
        Op::Inventory => return Ok(()),
        Op::Fetch { template } => {
            return world.local.fetch(template, &progress).await.map_err(|message| Failure::new(FailureKind::Failed, message));
        }
        Op::KeyPairGenerate { name } => {
            super::failpoint::hit("before", action);
            let made = world.local.generate_key(name).map_err(|message| Failure::new(FailureKind::Failed, message));
            super::failpoint::hit("after", action);
            return made;
        }
        _ => {}
    }
    let Some(host) = action.node.as_ref().and_then(|node| world.hosts.get(node)) else {
        return Err(Failure::new(FailureKind::Unreachable, "its node is not in the set"));
    };
    let mut heard = action.node.as_ref().and_then(|node| world.ears.get(node)).map(Ear::listen);
    let mut reads = 1;
    let made = loop {
        let seen = precondition(action, host.as_ref()).await?;
        if is_gone(action, seen.as_ref()) {
            return Ok(());
        }
        let made = super::fresh::made(action, seen.as_ref(), host.as_ref()).await?;
        if reads == READS || !told(heard.as_mut(), action) {
            break made;
        }
        reads += 1;
    };
    let op = with_secrets(action, made.as_ref(), world)?.or(made).or(with_image(action, world).await?);
    super::failpoint::hit("before", action);
    let acted = act(host.as_ref(), op.as_ref().unwrap_or(&action.op), &progress).await;
    super::failpoint::hit("after", action);
    match acted {
        Ok(()) => read_back(action, op.as_ref(), host.as_ref()).await,
        // Nobody knows: what is there decides, where it shows.
        Err(error) if error.kind == ErrorKind::Unknown && shows(action) => {
            match read_back(action, op.as_ref(), host.as_ref()).await {
                Ok(()) => Ok(()),
                Err(_) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether something was told of what an action is about since this was last asked.
fn told(heard: Option<&mut Events>, action: &Action) -> bool {
    let (Some(heard), Some(target)) = (heard, action.op.target()) else { return false };
    let told = heard.pending(&target);
    heard.take();
    told
}

/// The operation with its secrets in it; none where it has none. `made` is the operation where a patch made it.
fn with_secrets(action: &Action, made: Option<&Op>, world: &World) -> Result<Option<Op>, Failure> {
    if action.secrets.is_empty() {
        return Ok(None);
    }
    let mut op = made.unwrap_or(&action.op).clone();
    for (token, reference) in &action.secrets {
        let secret = world.local.secret(reference).map_err(|message| Failure::new(FailureKind::Conflict, message))?;
        let filled = |text: &str| text.replace(token.as_str(), &crate::xml::escape(&secret));
        match &mut op {
            Op::DomainDefine { xml, .. } => *xml = filled(&xml.text()).into(),
            Op::DomainDevice { xml: Some(xml), .. } => *xml = filled(xml),
            _ => {}
        }
    }
    Ok(Some(op))
}

/// The upload of an image with the path of its verified copy; none for all else.
async fn with_image(action: &Action, world: &World) -> Result<Option<Op>, Failure> {
    let Op::VolumeUpload { pool, name, source: UploadSource::Image { path, digest, size } } = &action.op else { return Ok(None) };
    let (local, object, from) = (world.local.clone(), action.object.clone(), path.clone());
    let (sum, length) = (digest.clone(), *size);
    let copied = tokio::task::spawn_blocking(move || local.image(&object, &from, &sum, length)).await;
    let path = copied
        .map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?
        .map_err(|message| Failure::new(FailureKind::Conflict, message))?;
    let source = UploadSource::Image { path, digest: digest.clone(), size: *size };
    Ok(Some(Op::VolumeUpload { pool: pool.clone(), name: name.clone(), source }))
}

async fn act(host: &dyn Host, op: &Op, progress: &dyn Progress) -> Result<(), HostError> {
    let mut pause = Duration::from_millis(200);
    let mut tried = 0;
    loop {
        match host.act(op, progress).await {
            Err(error) if error.kind == ErrorKind::Transient && tried + 1 < TRIES => {
                tracing::debug!(op = op.word(), error = %error, "transient, trying again");
                tried += 1;
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            other => return other,
        }
    }
}

pub(super) async fn read(host: &dyn Host, scope: &Scope) -> Result<NodeState, Failure> {
    Ok(NodeState::read(host.read(scope).await?))
}

/// Reads the one object that an operation is about.
pub(super) async fn read_target(host: &dyn Host, target: Target) -> Result<NodeState, Failure> {
    read(host, &Scope::Objects(BTreeSet::from([target]))).await
}

/// Looks whether what the plan was made from still holds; gives what it read of the object itself.
async fn precondition(action: &Action, host: &dyn Host) -> Result<Option<NodeState>, Failure> {
    let conflict = |message: String| Err(Failure::new(FailureKind::Conflict, message));
    let Some(target) = action.op.target() else { return Ok(None) };
    match &action.precondition {
        Precondition::None => Ok(None),
        Precondition::Absent => {
            let state = read_target(host, target.clone()).await?;
            if is_there(&state, &target) {
                conflict("something of that name came to be since the plan was made".into())
            } else {
                Ok(None)
            }
        }
        Precondition::Uuid(uuid) => {
            let state = read_target(host, target.clone()).await?;
            match uuid_of(&state, &target) {
                Some(found) if found == *uuid => Ok(Some(state)),
                Some(found) => conflict(format!("it is another object now: its UUID is {found}")),
                None => conflict("it is not there any more".into()),
            }
        }
        Precondition::Domain { uuid, running } => {
            let target = match &action.op {
                Op::DomainRename { name, .. } => Target::Domain(name.clone()),
                _ => target,
            };
            let state = read_target(host, target.clone()).await?;
            let Target::Domain(name) = &target else { return Ok(None) };
            let Some(domain) = state.domains.get(name) else { return conflict("it is not there any more".into()) };
            let stops = matches!(action.op, Op::DomainShutdown { .. } | Op::DomainDestroy { .. });
            // What is to be stopped may have stopped by itself.
            let running = *running && (!stops || domain.is_active());
            match fields_moved(&Fields { uuid: *uuid, running, ..Fields::default() }, domain) {
                Ok(()) => Ok(Some(state)),
                Err(moved) => conflict(moved),
            }
        }
        held @ (Precondition::Fields(_)
        | Precondition::Process { .. }
        | Precondition::Awake { .. }
        | Precondition::OffBy { .. }) => {
            let state = read_target(host, target.clone()).await?;
            let Target::Domain(name) = &target else { return Ok(None) };
            let Some(domain) = state.domains.get(name) else { return conflict("it is not there any more".into()) };
            let still = match held {
                Precondition::Fields(fields) => fields_moved(fields, domain),
                life => life_moved(life, domain),
            };
            match still {
                Ok(()) => Ok(Some(state)),
                Err(moved) => conflict(moved),
            }
        }
        Precondition::Volume { path } => {
            let state = read_target(host, target).await?;
            let there =
                state.pools.values().flat_map(|pool| pool.volumes.iter().flat_map(|v| v.values())).any(|v| v.path == *path);
            if there { Ok(None) } else { conflict(format!("{path} is not there any more")) }
        }
        Precondition::NetworkGuests { uuid, guests } => {
            let Target::Network(name) = &target else { return Ok(None) };
            // Whoever was plugged in since would be cut off without a word.
            let state = read(host, &Scope::Everything).await?;
            match state.networks.get(name) {
                None => return conflict("it is not there any more".into()),
                Some(network) if network.uuid != *uuid => {
                    return conflict(format!("it is another object now: its UUID is {}", network.uuid));
                }
                Some(_) => {}
            }
            let more: Vec<String> = crate::plan::running_guests(&state, name).difference(guests).cloned().collect();
            if more.is_empty() {
                Ok(None)
            } else {
                conflict(format!("{} came to hang on it since the plan was made", more.join(", ")))
            }
        }
        Precondition::PoolUnused { uuid } => {
            let Target::Pool(name) = &target else { return Ok(None) };
            let state = read(host, &Scope::Everything).await?;
            match state.pools.get(name) {
                None => conflict("it is not there any more".into()),
                Some(pool) if pool.uuid != *uuid => conflict(format!("it is another object now: its UUID is {}", pool.uuid)),
                Some(pool) => {
                    let users = crate::plan::pool_users(&state, pool);
                    if users.is_empty() { Ok(None) } else { conflict(format!("its volumes are used by {}", users.join(", "))) }
                }
            }
        }
        Precondition::VolumeIdle { path } => {
            let state = read(host, &Scope::Everything).await?;
            let users = crate::plan::running_users(&state, path);
            let there = state.volume_by_path(path).is_some();
            match (there, users.is_empty()) {
                (true, true) => Ok(None),
                (true, false) => conflict(format!("{} runs on it since the plan was made", users.join(", "))),
                (false, _) => conflict(format!("{path} is not there any more")),
            }
        }
        Precondition::Disk { uuid, target, path } => {
            let state = read(host, &Scope::Everything).await?;
            let disks = crate::plan::running_disks(&state, path);
            match disks.as_slice() {
                [(_, domain, disk, false)] if domain == uuid && disk == target => Ok(None),
                [] => conflict("the guest that it was a disk of does not run on it any more".into()),
                _ => conflict(format!("who runs on {path} is not as when the plan was made")),
            }
        }
        Precondition::VolumeOf { path, uuid } => {
            let state = read(host, &Scope::Everything).await?;
            let domain = state.domains.values().find(|domain| domain.uuid == *uuid);
            if domain.is_some_and(DomainState::is_active) {
                return conflict("the VM that it is a disk of runs again".into());
            }
            let mut users = crate::plan::users(&state, path);
            users.retain(|user| domain.is_none_or(|domain| domain.name != *user));
            if users.is_empty() { Ok(None) } else { conflict(format!("it is used by {}", users.join(", "))) }
        }
        Precondition::VolumeUnused { path } => {
            // libvirt protects no volume that is in use: everything is read again.
            let state = read(host, &Scope::Everything).await?;
            let users = crate::plan::users(&state, path);
            if users.is_empty() { Ok(Some(state)) } else { conflict(format!("it is used by {}", users.join(", "))) }
        }
    }
}

/// Whether a file that is to be deleted isn't there: it may have been planned when nobody could look into its pool.
fn is_gone(action: &Action, seen: Option<&NodeState>) -> bool {
    let (Op::VolumeDelete { pool, .. }, Precondition::VolumeUnused { path }) = (&action.op, &action.precondition) else {
        return false;
    };
    let read = |state: &NodeState| state.pools.get(pool).is_some_and(|pool| pool.seen().is_some());
    seen.is_some_and(|state| read(state) && state.volume_by_path(path).is_none())
}

fn is_there(state: &NodeState, target: &Target) -> bool {
    match target {
        Target::Pool(name) => state.pools.contains_key(name),
        Target::Network(name) => state.networks.contains_key(name),
        Target::Domain(name) => state.domains.contains_key(name),
        Target::Volume { pool, name } => {
            state.pools.get(pool).and_then(|pool| pool.volumes.as_ref()).is_some_and(|volumes| volumes.contains_key(name))
        }
    }
}

fn uuid_of(state: &NodeState, target: &Target) -> Option<uuid::Uuid> {
    match target {
        Target::Pool(name) => state.pools.get(name).map(|pool| pool.uuid),
        Target::Network(name) => state.networks.get(name).map(|network| network.uuid),
        Target::Domain(name) => state.domains.get(name).map(|domain| domain.uuid),
        Target::Volume { .. } => None,
    }
}

/// Asks once more for a device to be unplugged from what runs. That it is on its way already is no failure.
async fn ask_again(host: &dyn Host, made: Option<&Op>) {
    let Some(mut op) = made.cloned() else { return };
    if let Op::DomainDevice { config, .. } = &mut op {
        *config = false;
    }
    if let Err(error) = host.act(&op, &crate::host::NoProgress).await {
        tracing::debug!(%error, "asked again for a device to be unplugged");
    }
}

/// Whether what is there tells that an effect happened. An entry of a network isn't looked for, a file has its length before it has its
/// content, and of a secret nothing is read.
fn shows(action: &Action) -> bool {
    let secret = !action.secrets.is_empty() && !matches!(action.op, Op::DomainDefine { .. });
    !secret && !matches!(action.expect, Expect::Nothing | Expect::Uploaded { .. })
}

/// What was done and can't be looked at has not failed: nobody knows whether it is what was planned.
fn unread(failure: Failure) -> Failure {
    match failure.kind {
        FailureKind::Unreachable | FailureKind::Unknown => failure,
        _ => Failure::new(
            FailureKind::Unknown,
            format!("it was done without an error, but can't be looked at: {}", failure.message),
        ),
    }
}

/// Reads what is there, and looks whether it is what was planned. What may come late is waited for.
async fn read_back(action: &Action, made: Option<&Op>, host: &dyn Host) -> Result<(), Failure> {
    let Some(target) = action.op.target() else { return Ok(()) };
    if action.expect == Expect::Nothing {
        return Ok(());
    }
    let patience = match &action.expect {
        // libvirt refreshes the pool after an upload in its own time.
        Expect::Uploaded { .. } | Expect::Volume { .. } => 40,
        Expect::Active(_) | Expect::Gone | Expect::Plugged => 10,
        // A guest takes its time to let go of a device.
        Expect::Domain(expect) if expect.live.values().any(Option::is_none) => 240,
        Expect::Domain(expect) if !expect.live.is_empty() => 20,
        _ => 1,
    };
    let mut last = String::new();
    for attempt in 0..patience {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        // A guest that was still starting has not heard the first request.
        if attempt % 40 == 39
            && let Some(Op::DomainDevice { how: Plug::Detach, live: true, .. }) = made
        {
            ask_again(host, made).await;
        }
        let state = match &action.expect {
            // Who is plugged in stands in the guests' documents.
            Expect::Plugged => read(host, &Scope::Everything).await,
            _ => read_target(host, target.clone()).await,
        };
        let state = state.map_err(unread)?;
        match verify(&action.op, &action.expect, &state) {
            Ok(()) => return Ok(()),
            Err(difference) => last = difference,
        }
    }
    Err(Failure::new(FailureKind::Mismatch, format!("it was done without an error, but {last}")))
}
