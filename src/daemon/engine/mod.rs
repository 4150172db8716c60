//! The engine: owns all that the daemon knows, and never waits for anything but news.
//!
//! Looks and runs are tasks that send what came of them back. So nothing here is shared, and what holds one object up holds up no
//! other.

mod away;
mod found;
mod guests;
mod hands;
mod intake;
mod late;
mod runs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::act::{Ended, Running};
use super::cause::Cause;
use super::claims::{Claims, Index};
use super::guests::Guests;
use super::hosts::Hosts;
use super::look::{self, Answer, Looked, Looker};
use super::near::near;
use super::queue::Queue;
use super::restarts::Restarts;
use super::supply::{News, Supply};
use super::view::Shared;
use super::{Options, Revision};
use crate::apply::{Halt, Workspace};
use crate::host::{Connector, Ear, Hints, Host};
use crate::name::{Name, ObjectRef};
use crate::observe::Observed;
use crate::plan::{Consents, Mode, Policy};
use crate::store::{Context, Ledger, ObjectStatus, StateDir, Store, StoreError};
use away::Aways;
use hands::Hands;
pub use hands::Hold;
use late::Lates;

/// Small looks that are under way at most, on one node.
const LOOKS: usize = 8;
/// Runs that are under way at most, on one node.
const RUNS: usize = 32;
/// More objects than these at once, and everything is looked at instead.
const MANY: usize = 64;
/// Full looks that nobody asked for keep this distance.
const SPACE: Duration = Duration::from_secs(2);
/// How often what readers see is written while something changes.
const PUBLISH: Duration = Duration::from_secs(10);
/// How long runs may go on once the daemon is to end; then only the steps in flight are left to end by themselves.
const GRACE: Duration = Duration::from_secs(9);
/// Times that an object's part is put off since something was told of it meanwhile; then it is done by the smallest look that there is,
/// and its steps read again whatever is told of it.
const PUT_OFF: u32 = 3;

/// What reaches the engine.
enum Message {
    News(News),
    Hints(Name, Hints),
    Looked(Box<Looked>),
    /// A look at everything is over, with what it did not wait for.
    Everything(Box<(Looked, look::Lates)>),
    /// A node that a look did not wait for was read after all (or couldn't be), and how long that took.
    Answered(Name, bool, Duration),
    Ended(Ended),
    Told(Name, Vec<Answer>),
    Ask(Ask),
}

/// What others may ask of a daemon.
pub enum Ask {
    /// Look at these objects now; at everything where there are none.
    Reconcile(BTreeSet<ObjectRef>),
    /// Begin no run until the answer is dropped; it comes once none is under way that this concerns.
    Hold(Claims, oneshot::Sender<Hold>),
    /// Whoever has the hold does no more than this.
    Narrow(Claims),
    /// Have what readers of the state directory see be as new as can be.
    Publish(oneshot::Sender<()>),
}

/// How a daemon ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Objects that are not as wanted.
    pub out_of_sync: usize,
    /// Whether there never was a tree.
    pub no_tree: bool,
    /// Nodes out of reach.
    pub unreachable: usize,
}

/// A daemon.
pub struct Daemon {
    options: Options,
    state: StateDir,
    secrets_dir: Option<std::path::PathBuf>,
    store: Store,
    hosts: Hosts,
    shared: Shared,
    inbox: mpsc::Receiver<Message>,
    outbox: mpsc::Sender<Message>,
    halt: watch::Sender<Halt>,
    /// The manifests that are kept true; none before the first good ones.
    current: Option<Current>,
    queue: Queue,
    statuses: BTreeMap<ObjectRef, Arc<ObjectStatus>>,
    failures: BTreeMap<ObjectRef, String>,
    /// Objects whose manifests changed since they were last as wanted.
    pending: BTreeSet<ObjectRef>,
    put_off: BTreeMap<ObjectRef, u32>,
    restarts: Restarts,
    guests: Guests,
    /// Nodes whose guests are being asked.
    asking: BTreeSet<Name>,
    running: BTreeMap<u64, Running>,
    /// Objects that wait for a run's end.
    blocked: BTreeSet<ObjectRef>,
    aways: Aways,
    lates: Lates,
    full: Full,
    /// What the last look at everything saw, so that the next one reads the documents alone that changed.
    seen: Option<Arc<Observed>>,
    runs: u64,
    began: jiff::Timestamp,
    listeners: BTreeMap<Name, Listening>,
    hands: Hands,
    published: Instant,
    /// From when on a prune may take something down; none before the first run of a source is over. Between the two is a resync's time
    /// for whoever reads the list.
    prunes_from: Option<Instant>,
    troubled: bool,
}

/// A node that is listened to.
struct Listening {
    host: Arc<dyn Host>,
    task: JoinHandle<()>,
    ear: Ear,
}

/// The manifests as they are kept true.
struct Current {
    workspace: Arc<Workspace>,
    ledger: Ledger,
    generation: u64,
    revision: Revision,
    index: Index,
    digests: BTreeMap<ObjectRef, String>,
    /// Keeps the files of the manifests where they are.
    _hold: Arc<dyn Send + Sync>,
}

impl Current {
    /// The ledger, whose history says that something was done for this cause, by this revision.
    fn ledger_for(&self, cause: Cause) -> Ledger {
        let context = Context { cause: Some(cause.word().to_owned()), revision: Some(self.revision.id.clone()) };
        self.ledger.within(context)
    }

    /// Whether a manifest declares an object, or one that it comes with.
    fn declares(&self, object: &ObjectRef) -> bool {
        self.digests.contains_key(object)
    }
}

/// Full looks.
struct Full {
    /// One that is wanted, when and why.
    due: Option<(Instant, Cause)>,
    under_way: bool,
    /// The last trigger before the last one that is over.
    mark: u64,
    ended: Option<Instant>,
    /// The next one by the clock.
    resync: Instant,
    /// What waited when the last one was over.
    deferred: bool,
    done: bool,
}

impl Daemon {
    /// A daemon on an opened store.
    pub fn new(
        options: Options,
        state: StateDir,
        store: Store,
        connector: Arc<dyn Connector>,
        secrets_dir: Option<std::path::PathBuf>,
        shared: Shared,
    ) -> Self {
        let (outbox, inbox) = mpsc::channel(1024);
        let began = jiff::Timestamp::now();
        let seed = u64::try_from(began.as_microsecond()).unwrap_or_default() ^ u64::from(std::process::id());
        let now = Instant::now();
        Self {
            prunes_from: was_run(&state, &options.source).then_some(now),
            options,
            state,
            secrets_dir,
            store,
            hosts: Hosts::new(connector),
            shared,
            inbox,
            outbox,
            halt: watch::Sender::new(Halt::No),
            current: None,
            queue: Queue::new(seed),
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            pending: BTreeSet::new(),
            put_off: BTreeMap::new(),
            restarts: Restarts::default(),
            guests: Guests::default(),
            asking: BTreeSet::new(),
            running: BTreeMap::new(),
            blocked: BTreeSet::new(),
            aways: Aways::default(),
            lates: Lates::default(),
            full: Full { due: None, under_way: false, mark: 0, ended: None, resync: now, deferred: false, done: false },
            seen: None,
            runs: 0,
            began,
            listeners: BTreeMap::new(),
            hands: Hands::default(),
            published: now,
            troubled: false,
        }
    }

    /// Where others ask.
    pub fn asks(&self) -> Asks {
        Asks(self.outbox.clone())
    }

    /// Runs until it is told to stop, or, with `once`, until nothing is left that can be done.
    pub async fn run(mut self, mut supply: Box<dyn Supply>, mut stop: watch::Receiver<bool>) -> Result<Summary, StoreError> {
        let outbox = self.outbox.clone();
        let supplier = tokio::spawn(async move {
            loop {
                let news = supply.next().await;
                if outbox.send(Message::News(news)).await.is_err() {
                    return;
                }
            }
        });
        let ended = self.turns(&mut stop).await;
        supplier.abort();
        for listener in std::mem::take(&mut self.listeners).into_values() {
            listener.task.abort();
        }
        self.wind_up().await;
        let summary = self.summary();
        drop(self.current.take());
        self.store.close()?;
        ended.map(|()| summary)
    }

    async fn turns(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), StoreError> {
        loop {
            self.turn()?;
            if *stop.borrow() || self.is_over() {
                return Ok(());
            }
            let wake = self.wake();
            tokio::select! {
                biased;
                changed = stop.changed() => {
                    if changed.is_err() { return Ok(()); }
                }
                message = self.inbox.recv() => {
                    let Some(message) = message else { return Ok(()) };
                    self.handle(message)?;
                    // What came meanwhile is one turn.
                    while let Ok(message) = self.inbox.try_recv() {
                        self.handle(message)?;
                    }
                }
                () = self.hands.gone() => self.hand_gone(),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Ends what is under way: no step is begun any more, those in flight end.
    async fn wind_up(&mut self) {
        self.halt.send_replace(Halt::AfterSteps);
        let deadline = tokio::time::sleep(GRACE);
        tokio::pin!(deadline);
        while !self.running.is_empty() {
            tokio::select! {
                message = self.inbox.recv() => {
                    let Some(Message::Ended(ended)) = message else { continue };
                    if let Err(error) = self.ended(ended) {
                        tracing::error!(%error, "the ledger can't be written");
                    }
                }
                () = &mut deadline => {
                    tracing::warn!(runs = self.running.len(), "steps still go on; the journal tells the next run");
                    return;
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        let idle = !self.full.under_way && self.lates.looks() == 0 && self.running.is_empty();
        self.options.once && idle && self.full.done && (self.full.due.is_none() || self.options.dry_run)
            || self.options.once && self.troubled && self.current.is_none()
    }

    fn summary(&self) -> Summary {
        let out_of_sync = self.statuses.values().filter(|status| !status.is("Synced")).count();
        let unreachable = self.shared.view().nodes.values().filter(|trouble| trouble.is_some()).count();
        Summary { out_of_sync, no_tree: self.current.is_none(), unreachable }
    }

    /// When something is to be done without news.
    fn wake(&self) -> Instant {
        let publish = self.published + PUBLISH;
        if self.current.is_none() || self.hands.hold_all() {
            return publish;
        }
        let full = if self.full.under_way { None } else { self.full.due.map(|(at, _)| at) };
        let looks = self.full.ended.and_then(|_| self.queue.next(|object| self.may_look(object)));
        let resync = self.resync();
        let window = self.restarts.next(self.options.clock.now()).map(|pause| Instant::now() + pause);
        let guests = self.guests.next(|object| self.may_ask(object));
        [full, looks, resync, window, guests, self.aways.next(), Some(publish)].into_iter().flatten().min().unwrap_or(publish)
    }

    /// Begins what is due.
    fn turn(&mut self) -> Result<(), StoreError> {
        let now = Instant::now();
        self.shared.turned();
        if now >= self.published + PUBLISH {
            self.publish(now)?;
        }
        self.give_hold();
        if self.hands.hold_all() || *self.halt.borrow() != Halt::No {
            return Ok(());
        }
        if self.current.is_none() {
            return Ok(());
        }
        if self.resync().is_some_and(|resync| now >= resync) {
            self.full.resync = now + self.options.resync;
            self.want_full(Cause::Resync, now);
        }
        self.say_away(now)?;
        // A clock that is put forward is noticed by the next turn, and there is one every few seconds.
        if self.restarts.opened(self.options.clock.now()) {
            self.want_full(Cause::Window, now);
        }
        if self.queue.depth() > MANY {
            self.want_full(Cause::Event, now);
        }
        if !self.full.under_way && self.full.due.is_some_and(|(at, _)| at <= now) {
            self.look_at_everything(now);
        }
        // Before the first full look nothing is known well enough.
        if self.full.ended.is_some() {
            while let Some((object, cause)) = self.next_due(now) {
                self.look_at(object, cause, now);
            }
        }
        self.ask_guests(now, false);
        self.shared.metrics.stands(self.queue.depth(), self.running.len());
        Ok(())
    }

    /// When the next resync is to begin. Where nothing comes after the first look that is done, looks by the clock had no end: one that
    /// takes as long as from one to the next would begin ever anew.
    fn resync(&self) -> Option<Instant> {
        let once = self.options.once && self.full.done;
        Some(self.full.resync).filter(|_| !self.full.under_way && !once)
    }

    fn publish(&mut self, now: Instant) -> Result<(), StoreError> {
        self.published = now;
        self.store.publish()
    }

    fn want_full(&mut self, cause: Cause, now: Instant) {
        let urgent = cause.is_ours() || matches!(cause, Cause::Start | Cause::Resync | Cause::Awaited | Cause::Window);
        let at = if urgent { now } else { self.full.ended.map_or(now, |ended| ended + SPACE).max(now) };
        match &mut self.full.due {
            Some((due, why)) => {
                *due = (*due).min(at);
                *why = (*why).max(cause);
            }
            None => self.full.due = Some((at, cause)),
        }
    }

    fn policy(&self, current: &Current) -> Policy {
        let consents = Consents { max_deletes: self.options.max_deletes, ..Consents::default() };
        let may = self.prunes_from.is_some_and(|from| from <= Instant::now());
        let prune = self.options.prune && may && current.workspace.set.whole;
        let (now, rebooted) = (Some(self.options.clock.now()), self.restarts.rebooted(Instant::now()));
        Policy { prune, now, rebooted, ..current.workspace.policy(Mode::Apply, consents, None) }
    }

    fn looker(&self, cause: Cause) -> Option<Looker> {
        let current = self.current.as_ref()?;
        Some(Looker {
            workspace: current.workspace.clone(),
            ledger: current.ledger_for(cause),
            policy: self.policy(current),
            generation: current.generation,
            mark: self.queue.mark(),
            before: self.seen.clone(),
        })
    }

    fn look_at_everything(&mut self, now: Instant) {
        let Some((_, cause)) = self.full.due.take() else { return };
        let Some(looker) = self.looker(cause) else { return };
        self.full.under_way = true;
        self.full.resync = now + self.options.resync;
        let (outbox, acts, renew) = (self.outbox.clone(), !self.options.dry_run, cause == Cause::Resync);
        let patience = self.patience();
        tokio::spawn(async move {
            let looked = looker.everything(cause, acts, renew, patience).await;
            let _ = outbox.send(Message::Everything(Box::new(looked))).await;
        });
    }

    fn look_at(&mut self, object: ObjectRef, cause: Cause, now: Instant) {
        let Some(looker) = self.looker(cause) else { return };
        let near = looker.ledger.pick(|owned| near([&object], &looker.workspace.desired, owned));
        let Some(near) = near else {
            self.want_full(cause, now);
            return;
        };
        if near.targets.keys().any(|node| self.lates.reads(node)) {
            // Once it answers everything is looked at. What is wanted otherwise since then is no longer known to be as wanted.
            self.queue.looked(&object, now);
            if cause.is_ours() {
                self.want_full(cause, now);
            }
            return;
        }
        let on = self.node_of(&object).cloned();
        self.lates.begin(on.clone());
        let outbox = self.outbox.clone();
        tokio::spawn(async move {
            let looked = Looked { on, ..looker.object(object, near, cause).await };
            let _ = outbox.send(Message::Looked(Box::new(looked))).await;
        });
    }

    fn handle(&mut self, message: Message) -> Result<(), StoreError> {
        match message {
            Message::News(News::Tree(tree)) => self.take_tree(*tree),
            Message::News(News::Trouble(why)) => {
                let stays =
                    if self.current.is_some() { "the last good ones stay" } else { "and there are no good ones from before" };
                tracing::error!(source = %self.options.source, "the manifests can't be used, {stays}: {why}");
                self.shared.metrics.source_failed();
                self.shared.view().trouble = Some(why);
                self.troubled = true;
                Ok(())
            }
            Message::Hints(node, hints) => {
                self.take_hints(&node, &hints);
                Ok(())
            }
            Message::Looked(looked) => self.looked(*looked),
            Message::Everything(looked) => {
                let (looked, lates) = *looked;
                self.take_lates(lates);
                self.looked(looked)
            }
            Message::Answered(node, reached, took) => {
                self.answered(node, reached, took);
                Ok(())
            }
            Message::Ended(ended) => self.ended(ended),
            Message::Told(node, answers) => self.told(&node, answers),
            Message::Ask(ask) => self.asked(ask),
        }
    }

    fn asked(&mut self, ask: Ask) -> Result<(), StoreError> {
        let now = Instant::now();
        match ask {
            Ask::Reconcile(objects) if objects.is_empty() => {
                self.shared.source_wanted().notify_one();
                self.queue.free();
                self.want_full(Cause::Request, now);
            }
            Ask::Reconcile(objects) => {
                for object in objects {
                    self.queue.poke(&object, Cause::Request, now);
                }
            }
            Ask::Hold(claims, answer) => self.hands.wait(claims, answer),
            Ask::Narrow(claims) => self.narrow(claims),
            Ask::Publish(answer) => {
                self.publish(now)?;
                let _ = answer.send(());
            }
        }
        Ok(())
    }
}

/// Where a daemon is asked.
#[derive(Clone)]
pub struct Asks(mpsc::Sender<Message>);

impl Asks {
    /// Asks; false where the daemon has ended.
    pub async fn ask(&self, ask: Ask) -> bool {
        self.0.send(Message::Ask(ask)).await.is_ok()
    }
}

const RAN: &str = "source";

/// Whether this source was once looked at to its end.
fn was_run(state: &StateDir, source: &str) -> bool {
    std::fs::read_to_string(state.path().join(RAN)).is_ok_and(|text| text.trim_end() == source)
}

fn note_run(state: &StateDir, source: &str) -> std::io::Result<()> {
    crate::store::write_atomically(&state.path().join(RAN), format!("{source}\n").as_bytes(), 0o644)
}
