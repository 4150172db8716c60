//! The handle of a fake node: the port for jvp, and the back door for tests.
//!
//! With a path, the state lies in a file that each call reads and writes under a lock, so that several processes share a node.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::host::events::Hub;
use crate::host::{Connector, Console, ErrorKind, Events, Hint, Host, HostError, Progress};
use crate::name::Name;
use crate::observe::{RawNode, Scope};
use crate::plan::{Op, UploadSource};

use super::console::FakeConsole;
use super::error;
use super::faults::{Call, Faults, Gate, How, When};
use super::state::{State, object};

/// A fake node. Clones are the same node.
#[derive(Debug, Clone)]
pub struct FakeHost(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    path: Option<PathBuf>,
    state: Mutex<State>,
    faults: Mutex<Faults>,
    log: Mutex<Vec<Call>>,
    /// Of all nodes of a connector, in the order in which they came.
    shared: Arc<Mutex<Vec<Call>>>,
    takes: Mutex<Option<Duration>>,
    /// How many calls a read takes, and how long each, by what is read.
    answers: Mutex<BTreeMap<String, (u32, Duration)>>,
    signs: AtomicU64,
    hub: Arc<Hub>,
    registration: Mutex<Registration>,
}

/// Whether the node still knows that somebody asked for its events.
#[derive(Debug, Default)]
struct Registration {
    lost: bool,
    renewals: u64,
}

impl FakeHost {
    /// An empty node.
    pub fn new(name: &str) -> Self {
        Self::build(name, None, Arc::default())
    }

    /// A node whose state is kept in a file, which is made at the first call.
    pub fn at(name: &str, path: &Path) -> Self {
        Self::build(name, Some(path.to_owned()), Arc::default())
    }

    fn build(name: &str, path: Option<PathBuf>, shared: Arc<Mutex<Vec<Call>>>) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            path,
            state: Mutex::new(State::new(name)),
            faults: Mutex::default(),
            log: Mutex::default(),
            shared,
            takes: Mutex::default(),
            answers: Mutex::default(),
            signs: AtomicU64::new(0),
            hub: Arc::default(),
            registration: Mutex::default(),
        }))
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Looks into the node, and changes it as `virsh` or a guest would.
    ///
    /// What a function of the state's does is told to who is subscribed, as libvirt tells it; what is changed right in a field, as
    /// libvirt tells of many things: not at all.
    ///
    /// Where the state lies in a file that can't be used, the change is made in memory only.
    pub fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.shared(change).0
    }

    /// A copy of what the node has now.
    pub fn state(&self) -> State {
        self.with(|state| state.clone())
    }

    /// With what `change` does to it, for building a node in one expression.
    #[must_use]
    pub fn having(self, change: impl FnOnce(&mut State)) -> Self {
        self.with(change);
        self
    }

    /// Has something go wrong once.
    pub fn inject(&self, when: When, how: How) {
        self.inject_times(when, how, 1);
    }

    /// Has something go wrong so many times.
    pub fn inject_times(&self, when: When, how: How, times: u32) {
        lock(&self.0.faults).add(when, how, times);
    }

    /// Has acts of this word on this object hang until the gate is opened.
    pub fn hang(&self, word: &str, object: &str) -> Gate {
        let gate = Gate::new();
        self.inject(When::On(word.to_owned(), object.to_owned()), How::Hang(gate.clone()));
        gate
    }

    /// Has the whole node hang: no call is answered before the gate is opened.
    pub fn freeze(&self, gate: &Gate) {
        lock(&self.0.faults).frozen = gate.clone();
    }

    /// Drops all faults that have not happened yet.
    pub fn heal(&self) {
        lock(&self.0.faults).clear();
        self.set_reachable(true);
    }

    /// Whether the node answers at all.
    ///
    /// The connection for its events breaks with that, and is back with it: nothing that happens in between is told later.
    pub fn set_reachable(&self, reachable: bool) {
        let was = !std::mem::replace(&mut lock(&self.0.faults).unreachable, !reachable);
        if was != reachable {
            lock(&self.0.registration).lost = false;
            self.0.hub.hint(&Hint::Node, if reachable { "connected" } else { "closed" });
        }
    }

    /// Gives a hint with nothing behind it.
    pub fn hint(&self, hint: &Hint, why: &'static str) {
        self.0.hub.hint(hint, why);
    }

    /// Has it forget that somebody asked for its events, of which it tells nobody: nothing comes until they are asked for anew.
    pub fn lose_events(&self) {
        lock(&self.0.registration).lost = true;
    }

    /// How often its events were asked for anew.
    pub fn renewals(&self) -> u64 {
        lock(&self.0.registration).renewals
    }

    /// Has each act take this long, in tokio's time.
    pub fn takes(&self, duration: Duration) {
        *lock(&self.0.takes) = Some(duration);
    }

    /// Has what reads of `everything` or of `objects` found be on its way for this long, in tokio's time.
    pub fn answers_after(&self, what: &str, duration: Duration) {
        self.answers_by(what, 1, duration);
    }

    /// Has such reads take so many calls, each of which is answered after this long.
    pub fn answers_by(&self, what: &str, calls: u32, each: Duration) {
        lock(&self.0.answers).insert(what.to_owned(), (calls, each));
    }

    /// Lets all late effects happen now.
    pub fn settle(&self) {
        let late = lock(&self.0.faults).settle();
        self.late(&late);
    }

    /// What was asked of this node, in order.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.0.log).clone()
    }

    /// The words and objects of the acts so far, such as `domain-start web`.
    pub fn acts(&self) -> Vec<String> {
        let calls = self.calls();
        calls.iter().filter(|call| call.word != "read").map(|call| format!("{} {}", call.word, call.object)).collect()
    }

    /// Forgets what was asked.
    pub fn forget_calls(&self) {
        lock(&self.0.log).clear();
    }

    fn late(&self, ops: &[Op]) {
        for op in ops {
            // What a late effect has to say, nobody hears.
            drop(self.with(|state| state.perform(op)));
        }
    }

    /// Changes the state, in its file where it has one; says what is wrong with the file.
    fn shared<T>(&self, change: impl FnOnce(&mut State) -> T) -> (T, std::io::Result<()>) {
        let mut state = lock(&self.0.state);
        let file = match self.0.path.as_deref().map(|path| open(path, &mut state)).transpose() {
            Ok(file) => file,
            Err(error) => return (self.change(&mut state, change), Err(error)),
        };
        let Some(file) = file else { return (self.change(&mut state, change), Ok(())) };
        let before = state.clone();
        let answer = self.change(&mut state, change);
        let saved = if *state == before { Ok(()) } else { save(&file, &state) };
        (answer, saved)
    }

    /// Changes the state, and tells what it has to tell.
    fn change<T>(&self, state: &mut State, change: impl FnOnce(&mut State) -> T) -> T {
        let answer = change(state);
        let told = std::mem::take(&mut state.told);
        let heard = !lock(&self.0.registration).lost && !lock(&self.0.faults).unreachable;
        for (hint, why) in told.iter().filter(|_| heard) {
            self.0.hub.hint(hint, why);
        }
        answer
    }

    /// The same for a call of the port's: a file that can't be used is a node out of reach.
    fn call<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, HostError> {
        let (answer, saved) = self.shared(change);
        saved
            .map(|()| answer)
            .map_err(|error| error::libvirt(ErrorKind::Unreachable, 38, format!("the state of node '{}': {error}", self.0.name)))
    }

    fn begin(&self, word: &str, object: &str) -> usize {
        let call = Call { node: self.0.name.clone(), word: word.to_owned(), object: object.to_owned(), outcome: None };
        lock(&self.0.shared).push(call.clone());
        let mut log = lock(&self.0.log);
        log.push(call);
        log.len() - 1
    }

    fn end(&self, index: usize, outcome: &Result<(), HostError>) {
        let outcome = outcome.clone().map_err(|error| error.kind);
        let mut log = lock(&self.0.log);
        if let Some(call) = log.get_mut(index) {
            call.outcome = Some(outcome);
        }
    }

    async fn perform(&self, op: &Op, progress: &dyn Progress) -> Result<(), HostError> {
        let (met, unreachable) = {
            let mut faults = lock(&self.0.faults);
            if faults.unreachable { (None, true) } else { (faults.meet(Some(op)), false) }
        };
        if unreachable {
            return Err(error::unreachable());
        }
        let takes = *lock(&self.0.takes);
        if let Some(takes) = takes {
            tokio::time::sleep(takes).await;
        }
        if let Some(How::Freeze(gate)) = &met {
            self.freeze(gate);
        }
        self.thawed().await;
        if met.is_some() {
            tracing::debug!(node = self.0.name, op = op.word(), "it goes wrong on purpose");
        }
        match met {
            None | Some(How::Freeze(_)) => self.effect(op, progress),
            Some(How::Fail(error)) => Err(error),
            Some(How::NoAnswer) => {
                self.effect(op, progress)?;
                Err(error::unknown())
            }
            Some(How::Lost) => Err(error::unknown()),
            Some(How::Late(reads)) => {
                lock(&self.0.faults).later(reads, op.clone());
                Err(error::unknown())
            }
            Some(How::Change(change)) => {
                self.with(|state| change(state));
                self.effect(op, progress)
            }
            Some(How::Hang(gate)) => {
                gate.wait().await;
                self.effect(op, progress)
            }
            Some(How::SlowAnswer(gate)) => {
                let outcome = self.effect(op, progress);
                gate.wait().await;
                outcome
            }
            Some(How::Away) => {
                self.set_reachable(false);
                Err(error::unreachable())
            }
            Some(How::AwayAfter) => {
                let outcome = self.effect(op, progress);
                self.set_reachable(false);
                outcome?;
                Err(error::unknown())
            }
        }
    }

    fn sign(&self) {
        self.0.signs.fetch_add(1, Ordering::Relaxed);
    }

    async fn thawed(&self) {
        let gate = lock(&self.0.faults).frozen.clone();
        gate.wait().await;
    }

    fn effect(&self, op: &Op, progress: &dyn Progress) -> Result<(), HostError> {
        let total = match op {
            Op::VolumeUpload { source: UploadSource::Image { size, .. }, .. } => Some(*size),
            Op::VolumeUpload { source: UploadSource::Seed { bytes, .. }, .. } => Some(bytes.0.len() as u64),
            _ => None,
        };
        if let Some(total) = total {
            progress.bytes(total / 2, total);
        }
        self.call(|state| state.perform(op))??;
        if let Some(total) = total {
            progress.bytes(total, total);
        }
        Ok(())
    }
}

#[async_trait]
impl Host for FakeHost {
    async fn read(&self, scope: &Scope) -> Result<RawNode, HostError> {
        let what = match scope {
            Scope::Everything | Scope::AtEase | Scope::WithGuests => "everything",
            Scope::Host => "host",
            Scope::Objects(_) | Scope::Near(_) => "objects",
            Scope::Guests(_) => "guests",
        };
        let index = self.begin("read", what);
        self.thawed().await;
        let met = {
            let mut faults = lock(&self.0.faults);
            if faults.unreachable { None } else { faults.meet(None) }
        };
        if met.is_some() {
            tracing::debug!(node = self.0.name, read = what, "it goes wrong on purpose");
        }
        let mut failed = None;
        match met {
            None | Some(How::Late(_)) => {}
            Some(How::Fail(error)) => failed = Some(error),
            Some(How::NoAnswer | How::Lost) => failed = Some(error::unknown()),
            Some(How::Change(change)) => self.with(|state| change(state)),
            Some(How::Hang(gate) | How::SlowAnswer(gate)) => gate.wait().await,
            Some(How::Freeze(gate)) => {
                self.freeze(&gate);
                self.thawed().await;
            }
            Some(How::Away | How::AwayAfter) => self.set_reachable(false),
        }
        let (unreachable, due) = {
            let mut faults = lock(&self.0.faults);
            if faults.unreachable || failed.is_some() { (true, Vec::new()) } else { (false, faults.due()) }
        };
        let answer = if unreachable {
            Err(failed.unwrap_or_else(error::unreachable))
        } else {
            self.late(&due);
            self.call(|state| state.read(scope))
        };
        let (calls, each) = lock(&self.0.answers).get(what).copied().unwrap_or_default();
        for _ in 0..calls {
            tokio::time::sleep(each).await;
            self.thawed().await;
            self.sign();
        }
        self.sign();
        self.end(index, &answer.as_ref().map(|_| ()).map_err(Clone::clone));
        answer
    }

    async fn act(&self, op: &Op, progress: &dyn Progress) -> Result<(), HostError> {
        let index = self.begin(op.word(), object(op));
        let outcome = self.perform(op, progress).await;
        self.sign();
        self.end(index, &outcome);
        outcome
    }

    fn signs(&self) -> u64 {
        self.0.signs.load(Ordering::Relaxed)
    }

    async fn ping(&self) -> Result<(), HostError> {
        self.thawed().await;
        if lock(&self.0.faults).unreachable {
            return Err(error::unreachable());
        }
        self.sign();
        Ok(())
    }

    fn events(&self) -> Events {
        let events = self.0.hub.subscribe();
        let unreachable = lock(&self.0.faults).unreachable;
        self.0.hub.hint(&Hint::Node, if unreachable { "unreachable" } else { "connected" });
        events
    }

    async fn renew_events(&self) -> Result<(), HostError> {
        self.thawed().await;
        if lock(&self.0.faults).unreachable {
            return Err(error::unreachable());
        }
        let mut registration = lock(&self.0.registration);
        registration.lost = false;
        registration.renewals += 1;
        Ok(())
    }

    async fn guest_file(&self, domain: Uuid, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.call(|state| state.guest_file(domain, path))?
    }

    async fn console(&self, domain: Uuid, _force: bool) -> Result<Arc<dyn Console>, HostError> {
        let name = self.call(|state| state.domain_console(domain))??;
        Ok(Arc::new(FakeConsole::new(&name)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the file of a state, alone, and takes over what it says. The lock goes with the file.
fn open(path: &Path, state: &mut State) -> std::io::Result<std::fs::File> {
    let mut file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if !text.trim().is_empty() {
        *state = serde_json::from_str(&text)?;
    }
    Ok(file)
}

fn save(mut file: &std::fs::File, state: &State) -> std::io::Result<()> {
    let mut text = serde_json::to_vec_pretty(state)?;
    // One write, never shorter than what was there: a test that kills this process finds the one state or the other.
    let before = usize::try_from(file.metadata()?.len()).unwrap_or_default();
    text.resize(text.len().max(before), b' ');
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&text)
}

/// Fake nodes by their Node's name, or by URIs such as `fake:///tmp/a.json`.
#[derive(Debug, Clone, Default)]
pub struct FakeConnector {
    hosts: Arc<Mutex<BTreeMap<String, FakeHost>>>,
    log: Arc<Mutex<Vec<Call>>>,
    folder: Option<PathBuf>,
    fault: Option<(String, When, How)>,
}

impl FakeConnector {
    /// What a URI of a fake node begins with.
    pub const SCHEME: &'static str = "fake://";

    /// No nodes yet: each is made when it is first asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nodes whose states lie in a folder as `<node>.json`, whatever their URIs say.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), ..Self::default() }
    }

    /// The same, where something goes wrong as `NODE:N:fails`, `NODE:N:no-answer` or `NODE:N:hangs` says: the N-th act on a node fails, or
    /// takes effect and nobody says so, or hangs with the node for ever; 0: the node hangs from the beginning. With `NODE:N:away` the node
    /// is out of reach from its N-th call on, reads and acts. Any other text is none.
    #[must_use]
    pub fn with_fault(self, text: &str) -> Self {
        let mut parts = text.split(':');
        let fault = match (parts.next(), parts.next().and_then(|count| count.parse().ok()), parts.next()) {
            (Some(node), Some(count), Some("fails")) => Some((node.to_owned(), When::Nth(count), How::failed("it went wrong"))),
            (Some(node), Some(count), Some("no-answer")) => Some((node.to_owned(), When::Nth(count), How::NoAnswer)),
            (Some(node), Some(count), Some("hangs")) => Some((node.to_owned(), When::Nth(count), How::Freeze(Gate::new()))),
            (Some(node), Some(count), Some("away")) => Some((node.to_owned(), When::Call(count), How::Away)),
            _ => None,
        };
        Self { fault, ..self }
    }

    /// The node of a name, made where there is none.
    pub fn node(&self, name: &str) -> FakeHost {
        self.entry(name, name, None)
    }

    /// The words, objects and nodes of all acts on all nodes so far, such as `a: domain-start web`.
    pub fn acts(&self) -> Vec<String> {
        let log = lock(&self.log);
        log.iter()
            .filter(|call| call.word != "read")
            .map(|call| format!("{}: {} {}", call.node, call.word, call.object))
            .collect()
    }

    fn entry(&self, key: &str, name: &str, path: Option<PathBuf>) -> FakeHost {
        let mut hosts = lock(&self.hosts);
        let build = || {
            let host = FakeHost::build(name, path, Arc::clone(&self.log));
            match self.fault.as_ref().filter(|(node, ..)| node == name) {
                Some((_, When::Nth(0), How::Freeze(gate))) => host.freeze(gate),
                Some((_, when, how)) => host.inject(when.clone(), how.clone()),
                None => {}
            }
            host
        };
        hosts.entry(key.to_owned()).or_insert_with(build).clone()
    }
}

impl Connector for FakeConnector {
    fn host(&self, node: &Name, uri: &str) -> Arc<dyn Host> {
        let path = uri.strip_prefix(Self::SCHEME).filter(|path| !path.is_empty());
        if let (Some(folder), None) = (&self.folder, path) {
            return Arc::new(self.entry(node.as_str(), node.as_str(), Some(folder.join(format!("{node}.json")))));
        }
        Arc::new(match path {
            // The host's identity follows from the path, not from what the Node is called.
            Some(path) => self.entry(uri, path, Some(PathBuf::from(path))),
            None => self.node(node.as_str()),
        })
    }
}
