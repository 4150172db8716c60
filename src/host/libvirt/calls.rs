//! Calls to one node: at most four at a time, each with a deadline, each on a connection that nobody else uses meanwhile. To a node
//! that is far away more calls are on their way, several on each connection, as almost all of their time is spent on it.
//!
//! ```text
//! Queued ──> Opening ──> Reading ──> Effect ──> Done
//!               │           │           │
//!               └───────────┴── deadline passed ──> Abandoned
//! ```
//!
//! A call past its deadline is abandoned: its thread and connection are left where they are and others take their place. What
//! was abandoned before its effect never has one, should its thread come back: entering `Effect` is refused then.
//! Nothing here knows what the calls do.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use virt::connect::Connect;

use super::connection::{self, Connection};
use super::error::own;
use super::texts::Texts;
use super::workers::{Thread, workers};
use crate::host::{ErrorKind, HostError, Progress};

/// Calls to one node at a time. So many libvirtd takes of one connection without a word in its log, too.
pub(super) const AT_ONCE: usize = 4;
/// Connections that the documents of a node that is far away are read by. An sshd lets ten log in at once.
pub(super) const CONNECTIONS: usize = 6;
/// A node is far away where no call takes less.
const FAR: Duration = Duration::from_millis(3);
/// Calls that may be stuck until the node counts as out of reach.
const STUCK: usize = 8;
/// Calls to guests (their agents may hang for ever) that may be stuck until no more are made.
const STUCK_GUESTS: usize = 4;
/// How long opening a connection may take.
const OPEN: Duration = Duration::from_secs(10);
/// How often a waiting call looks at its clock.
const TICK: Duration = Duration::from_millis(200);

/// One node's calls.
pub(super) struct Calls {
    uri: String,
    texts: Texts,
    far: AtomicBool,
    /// Done when there are places for more calls.
    more: Once,
    permits: Arc<Semaphore>,
    /// Answers so far, and moments in which a way over a network was being opened.
    signs: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections that nobody uses, the last used last.
    free: Vec<Arc<Connection>>,
    running: BTreeMap<u64, Arc<Ticket>>,
    next: u64,
    stuck: usize,
    stuck_guests: usize,
}

/// The connection that a call works with.
#[derive(Clone)]
pub(super) enum On {
    /// One of the node's that nobody uses, or a new one.
    Any,
    /// A new one, which is left to the call.
    Own,
    /// This one, shared with others.
    This(Arc<Connection>),
    /// One that nobody uses, or a new one, but not this one, which others share.
    Beside(Arc<Connection>),
}

/// What is asked of a call.
#[derive(Clone)]
pub(super) struct Ask<'a> {
    /// How long it may go on without a sign of life.
    pub(super) limit: Duration,
    /// The connection to use.
    pub(super) on: On,
    /// Whether a guest may hold it up, which says nothing of the node.
    pub(super) guest: bool,
    /// Whether it takes none of the node's places: one call at a time may go beside those that are at something long.
    pub(super) beside: bool,
    /// Who is told of bytes.
    pub(super) progress: Option<&'a dyn Progress>,
}

impl Ask<'_> {
    /// A call with a deadline and nothing else.
    pub(super) fn within(limit: Duration) -> Self {
        Self { limit, on: On::Any, guest: false, beside: false, progress: None }
    }
}

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Queued,
    Opening,
    Reading,
    Effect,
    Done,
    Abandoned,
}

/// A call's clock, seen by its thread and by who waits for it.
struct Ticket {
    clock: Mutex<Clock>,
    /// Given back when the call ends or is abandoned.
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    guest: bool,
    /// Whether nobody waits any more.
    deserted: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
}

struct Clock {
    phase: Phase,
    /// The phase that it was abandoned in.
    left_in: Phase,
    since: Instant,
    limit: Duration,
    connection: Option<Arc<Connection>>,
}

/// What a call works with, on its thread.
pub(super) struct Cx<'a> {
    connect: &'a Connect,
    connection: &'a Arc<Connection>,
    ticket: &'a Ticket,
    calls: &'a Calls,
}

impl Cx<'_> {
    /// libvirt's handle.
    pub(super) fn connect(&self) -> &Connect {
        self.connect
    }

    /// The connection, to be shared with further calls.
    pub(super) fn connection(&self) -> Arc<Connection> {
        Arc::clone(self.connection)
    }

    /// Whether the node is far away, as far as is known.
    pub(super) fn is_far(&self) -> bool {
        self.calls.is_far()
    }

    /// The documents that the node gave.
    pub(super) fn texts(&self) -> &Texts {
        &self.calls.texts
    }

    /// Notes how long calls take that cost the node nothing: a few of them, as the machine may have been busy with something else.
    pub(super) fn took(&self, times: &[Duration]) {
        self.calls.is_so_far(times.iter().min().copied().unwrap_or_default());
    }

    /// A sign of life: the deadline counts from here anew.
    pub(super) fn alive(&self) {
        self.ticket.clock().since = Instant::now();
        self.calls.sign();
    }

    /// Says how many bytes went over; a sign of life too.
    pub(super) fn bytes(&self, done: u64, total: u64) {
        self.ticket.done.store(done, Ordering::Relaxed);
        self.ticket.total.store(total, Ordering::Relaxed);
        self.alive();
    }

    /// Must be called right before the first call that changes something: from then on a lost answer means that nobody knows.
    pub(super) fn effect(&self) -> Result<(), HostError> {
        self.ticket.enter(Phase::Effect, None)
    }

    /// Whether nobody waits for the outcome any more, so that a long work had better stop.
    pub(super) fn deserted(&self) -> bool {
        self.ticket.deserted.load(Ordering::Relaxed) || self.ticket.clock().phase == Phase::Abandoned
    }
}

impl Calls {
    /// The calls to what is behind a URI. Opens nothing yet.
    pub(super) fn new(uri: &str) -> Arc<Self> {
        Self::to(connection::for_libvirt(uri))
    }

    /// Calls to the same node, with connections of their own.
    pub(super) fn apart(&self) -> Arc<Self> {
        Self::to(self.uri.clone())
    }

    fn to(uri: String) -> Arc<Self> {
        // Two connections to a driver in this process may be two worlds.
        let at_once = if connection::in_process(&uri) { 1 } else { AT_ONCE };
        Arc::new(Self {
            uri,
            texts: Texts::default(),
            far: AtomicBool::new(false),
            more: Once::new(),
            permits: Arc::new(Semaphore::new(at_once)),
            signs: AtomicU64::new(0),
            state: Mutex::default(),
        })
    }

    /// The URI, as libvirt is told it.
    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    /// Calls that run at once.
    pub(super) fn at_once(&self) -> usize {
        if connection::in_process(&self.uri) { 1 } else { AT_ONCE }
    }

    /// Whether it takes a while until anything gets there, as far as is known.
    pub(super) fn is_far(&self) -> bool {
        self.far.load(Ordering::Relaxed)
    }

    /// How many signs of life there were.
    pub(super) fn signs(&self) -> u64 {
        self.signs.load(Ordering::Relaxed)
    }

    fn sign(&self) {
        self.signs.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection that the last call works with that is under way, or one that nobody uses.
    pub(super) fn open(&self) -> Option<Arc<Connection>> {
        let state = self.lock();
        let used = state.running.values().rev().find_map(|ticket| ticket.clock().connection.clone());
        used.or_else(|| state.free.last().cloned())
    }

    /// Notes how long a call takes that costs the node nothing.
    fn is_so_far(&self, took: Duration) {
        let far = took >= FAR && !connection::in_process(&self.uri);
        if far {
            // They are not taken away again: who reads looks at how far it is now.
            self.more.call_once(|| self.permits.add_permits(AT_ONCE * (CONNECTIONS - 1)));
        }
        self.far.store(far, Ordering::Relaxed);
    }

    /// How many share the reading of a node by one connection. More than there are processors only wake each other, where no network
    /// lies between; even two do, on which a quarter of what a reading costs is spent, so that there are two only where somebody waits.
    pub(super) fn readers(&self, urgent: bool) -> usize {
        if !connection::is_local(&self.uri) || self.is_far() {
            return self.at_once();
        }
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if urgent { self.at_once().min(processors) } else { 1 }
    }

    /// Performs `job` on a thread that may block.
    ///
    /// # Guarantees
    ///
    /// It answers no later than about the deadline of the phase that it is in. `job` may run a second time, on a fresh connection,
    /// but only if the first one broke before [`Cx::effect`]. If nobody waits any more when its turn comes, it isn't run at all.
    pub(super) async fn call<T, F>(self: &Arc<Self>, ask: Ask<'_>, job: F) -> Result<T, HostError>
    where
        T: Send + 'static,
        F: Fn(&Cx<'_>) -> Result<T, HostError> + Send + 'static,
    {
        let permit = if ask.beside { None } else { Some(self.permit(ask.guest).await?) };
        let ticket = Arc::new(Ticket::new(permit, ask.guest));
        let _desert = Desert(Arc::clone(&ticket));
        let id = self.admit(&ticket);
        let (sender, mut receiver) = oneshot::channel();
        let task = {
            let (calls, ticket) = (Arc::clone(self), Arc::clone(&ticket));
            move || calls.perform(id, &ticket, ask.limit, ask.on, &job, sender)
        };
        workers().submit(Box::new(task));
        loop {
            tokio::select! {
                answer = &mut receiver => {
                    ticket.tell(ask.progress);
                    return answer.unwrap_or_else(|_| Err(own(ErrorKind::Unknown, "the call died on this side")));
                }
                () = tokio::time::sleep(TICK) => {
                    ticket.tell(ask.progress);
                    if ticket.clock().phase == Phase::Opening && !connection::is_local(&self.uri) {
                        self.sign();
                    }
                    self.reap();
                    if let Some(error) = ticket.abandoned() {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Waits for one of the node's places.
    async fn permit(&self, guest: bool) -> Result<OwnedSemaphorePermit, HostError> {
        let acquire = Arc::clone(&self.permits).acquire_owned();
        tokio::pin!(acquire);
        loop {
            self.reap();
            self.within_reach(guest)?;
            tokio::select! {
                permit = &mut acquire => {
                    self.within_reach(guest)?;
                    return permit.map_err(|_| own(ErrorKind::Unreachable, "the node is closed"));
                }
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    fn within_reach(&self, guest: bool) -> Result<(), HostError> {
        let state = self.lock();
        if state.stuck > STUCK {
            return Err(own(ErrorKind::Unreachable, format!("{} calls to libvirt got no answer", state.stuck)));
        }
        if guest && state.stuck_guests >= STUCK_GUESTS {
            return Err(own(ErrorKind::Transient, "guest agents there don't answer"));
        }
        Ok(())
    }

    fn admit(&self, ticket: &Arc<Ticket>) -> u64 {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.running.insert(id, Arc::clone(ticket));
        id
    }

    /// Runs on a worker's thread.
    fn perform<T, F>(
        self: Arc<Self>,
        id: u64,
        ticket: &Arc<Ticket>,
        limit: Duration,
        on: On,
        job: &F,
        sender: oneshot::Sender<Result<T, HostError>>,
    ) -> Thread
    where
        F: Fn(&Cx<'_>) -> Result<T, HostError>,
    {
        let outcome = if ticket.deserted.load(Ordering::Relaxed) {
            Err(own(ErrorKind::Failed, "nobody waited for it"))
        } else {
            catch_unwind(AssertUnwindSafe(|| self.attempt(ticket, limit, &on, job)))
                .unwrap_or_else(|_| Err(own(ErrorKind::Unknown, "libvirt's bindings failed on this side")))
        };
        let (in_time, connection) = ticket.finish();
        if in_time {
            self.lock().running.remove(&id);
            // Whoever waits may have gone in this very moment.
            drop(sender.send(outcome));
            return Thread::Goes;
        }
        let mut state = self.lock();
        if ticket.guest {
            state.stuck_guests = state.stuck_guests.saturating_sub(1);
        } else {
            state.stuck = state.stuck.saturating_sub(1);
        }
        drop(state);
        drop((outcome, on));
        // This thread is counted nowhere, so it may take its time.
        if let Some(connection) = connection.and_then(Arc::into_inner) {
            connection.close();
        }
        Thread::Replaced
    }

    fn attempt<T, F>(&self, ticket: &Ticket, limit: Duration, on: &On, job: &F) -> Result<T, HostError>
    where
        F: Fn(&Cx<'_>) -> Result<T, HostError>,
    {
        let mut second = false;
        loop {
            if !matches!(on, On::This(_)) {
                ticket.enter(Phase::Opening, Some(OPEN))?;
            }
            let (connection, used) = match on {
                On::Any => self.connection(None)?,
                On::Beside(other) => self.connection(Some(other))?,
                On::Own => (Arc::new(Connection::open(&self.uri)?), false),
                On::This(connection) => (Arc::clone(connection), false),
            };
            ticket.use_connection(&connection, limit)?;
            let Some(connect) = connection.connect() else { return Err(own(ErrorKind::Unreachable, "the connection is closed")) };
            if !used && !matches!(on, On::This(_)) {
                self.sign();
            }
            let result = job(&Cx { connect, connection: &connection, ticket, calls: self });
            // A daemon may have lost the one behind it that does networks or storage: its connection stands then, and is of no use.
            let usable = connection.usable() && !result.as_ref().is_err_and(|error| error.kind == ErrorKind::Unreachable);
            if usable {
                self.sign();
            }
            if matches!(on, On::Any | On::Beside(_)) && usable {
                self.lock().free.push(connection);
            }
            let Err(error) = result else { return result };
            if usable {
                return Err(error);
            }
            // The connection broke under the call.
            if ticket.clock().phase == Phase::Effect {
                return Err(HostError { kind: ErrorKind::Unknown, ..error });
            }
            if second || !used {
                return Err(HostError { kind: ErrorKind::Unreachable, ..error });
            }
            second = true;
        }
    }

    /// A connection that nobody uses, and whether it was used before; not the one that is given.
    fn connection(&self, but: Option<&Arc<Connection>>) -> Result<(Arc<Connection>, bool), HostError> {
        loop {
            let mut state = self.lock();
            let found = state.free.iter().rposition(|free| but.is_none_or(|but| !Arc::ptr_eq(free, but)));
            let Some(connection) = found.map(|at| state.free.remove(at)) else { break };
            drop(state);
            if connection.usable() {
                return Ok((connection, true));
            }
        }
        Ok((Arc::new(Connection::open(&self.uri)?), false))
    }

    /// Abandons whatever is past its deadline, of any caller's: one may have gone away and left it.
    fn reap(&self) {
        let mut state = self.lock();
        let overdue: Vec<u64> = state.running.iter().filter(|(_, ticket)| ticket.abandon_if_late()).map(|(id, _)| *id).collect();
        for id in overdue {
            let Some(ticket) = state.running.remove(&id) else { continue };
            if ticket.guest {
                state.stuck_guests += 1;
            } else {
                state.stuck += 1;
            }
            workers().give_up_one();
            tracing::warn!(uri = %self.uri, "a call of libvirt's got no answer and was given up");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        let free = std::mem::take(&mut self.lock().free);
        // Closing says goodbye to libvirt, which may hang.
        if !free.is_empty() {
            workers().submit(Box::new(move || {
                drop(free);
                Thread::Goes
            }));
        }
    }
}

impl Ticket {
    fn new(permit: Option<OwnedSemaphorePermit>, guest: bool) -> Self {
        let clock =
            Clock { phase: Phase::Queued, left_in: Phase::Queued, since: Instant::now(), limit: Duration::MAX, connection: None };
        Self {
            clock: Mutex::new(clock),
            permit: Mutex::new(permit),
            guest,
            deserted: AtomicBool::new(false),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
        }
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a phase, with a fresh clock; refused once it was abandoned.
    fn enter(&self, phase: Phase, limit: Option<Duration>) -> Result<(), HostError> {
        let mut clock = self.clock();
        if clock.phase == Phase::Abandoned {
            return Err(own(ErrorKind::Unreachable, "it took too long"));
        }
        clock.phase = phase;
        clock.since = Instant::now();
        clock.limit = limit.unwrap_or(clock.limit);
        Ok(())
    }

    fn use_connection(&self, connection: &Arc<Connection>, limit: Duration) -> Result<(), HostError> {
        self.enter(Phase::Reading, Some(limit))?;
        self.clock().connection = Some(Arc::clone(connection));
        Ok(())
    }

    /// Ends the call, unless it was abandoned; gives back what it used.
    fn finish(&self) -> (bool, Option<Arc<Connection>>) {
        let mut clock = self.clock();
        let in_time = clock.phase != Phase::Abandoned;
        if in_time {
            clock.phase = Phase::Done;
        }
        let connection = clock.connection.take();
        drop(clock);
        self.give_back();
        (in_time, connection)
    }

    fn abandon_if_late(&self) -> bool {
        let mut clock = self.clock();
        let runs = matches!(clock.phase, Phase::Opening | Phase::Reading | Phase::Effect);
        if !runs || clock.since.elapsed() < clock.limit {
            return false;
        }
        clock.left_in = clock.phase;
        clock.phase = Phase::Abandoned;
        if let Some(connection) = &clock.connection {
            connection.poison();
        }
        drop(clock);
        self.give_back();
        true
    }

    /// What it means for the caller that the call was abandoned, if it was.
    fn abandoned(&self) -> Option<HostError> {
        let clock = self.clock();
        if clock.phase != Phase::Abandoned {
            return None;
        }
        let seconds = clock.limit.as_secs();
        Some(match clock.left_in {
            Phase::Effect => own(ErrorKind::Unknown, format!("no answer from libvirt within {seconds} s")),
            Phase::Opening => own(ErrorKind::Unreachable, format!("libvirt did not answer within {seconds} s")),
            _ => own(ErrorKind::Unreachable, format!("no answer from libvirt within {seconds} s")),
        })
    }

    fn give_back(&self) {
        drop(self.permit.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn tell(&self, progress: Option<&dyn Progress>) {
        let total = self.total.load(Ordering::Relaxed);
        if let (Some(progress), true) = (progress, total > 0) {
            progress.bytes(self.done.load(Ordering::Relaxed), total);
        }
    }
}

/// Tells a call that nobody waits for it, when the one who did is gone.
struct Desert(Arc<Ticket>);

impl Drop for Desert {
    fn drop(&mut self) {
        self.0.deserted.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As with a daemon whose own connection to the one that does networks broke: each call on that connection fails, for ever.
    #[tokio::test]
    async fn a_connection_that_says_it_cant_reach_what_is_behind_it_is_not_used_again() {
        let calls = Calls::new("test:///default");
        let ask = || Ask::within(Duration::from_secs(10));
        let first = calls.call(ask(), |cx| Ok(cx.connection())).await.unwrap();
        let stale = Arc::clone(&first);
        let second = calls.call(ask(), move |cx| {
            let stale = Arc::ptr_eq(cx.connection, &stale);
            if stale { Err(own(ErrorKind::Unreachable, "client socket is closed")) } else { Ok(cx.connection()) }
        });
        let second = second.await.expect("it is tried once more, on another connection");
        let third = calls.call(ask(), |cx| Ok(cx.connection())).await.unwrap();
        assert!(Arc::ptr_eq(&second, &third) && !Arc::ptr_eq(&first, &third));
    }

    #[tokio::test]
    async fn a_call_with_a_connection_of_its_own_leaves_it_to_nobody_else() {
        let calls = Calls::new("test:///default");
        let any = calls.call(Ask::within(Duration::from_secs(10)), |cx| Ok(cx.connection())).await.unwrap();
        let ask = Ask { on: On::Own, ..Ask::within(Duration::from_secs(10)) };
        let own = calls.call(ask, |cx| Ok(cx.connection())).await.unwrap();
        assert!(!Arc::ptr_eq(&any, &own));
        assert_eq!(calls.lock().free.len(), 1);
    }

    #[tokio::test]
    async fn what_is_at_something_long_answers_beside_it() {
        let calls = Calls::new("test:///default");
        let ping = super::super::read::ping;
        assert_eq!(ping(&calls).await.unwrap_err().kind, ErrorKind::Unreachable, "nothing is opened for it");
        let (goes_on, waits) = std::sync::mpsc::channel::<()>();
        let waits = Mutex::new(waits);
        let long = calls.call(Ask::within(Duration::from_mins(1)), move |_| {
            let _ = waits.lock().unwrap().recv();
            Ok(())
        });
        let pings = async {
            while calls.open().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // It has all the places there are.
            let before = calls.signs();
            ping(&calls).await.unwrap();
            assert!(calls.signs() > before);
            let quiet = calls.signs();
            tokio::time::sleep(2 * TICK).await;
            assert_eq!(calls.signs(), quiet, "what gives no answer gives no sign");
            goes_on.send(()).unwrap();
        };
        let (done, ()) = tokio::join!(long, pings);
        done.unwrap();
    }

    #[tokio::test]
    async fn a_way_over_a_network_gives_signs_while_it_is_opened_and_one_on_this_machine_none() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("libvirt-sock");
        // Neither ever says anything.
        let far = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _near = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let far = Calls::new(&format!("test+tcp://127.0.0.1:{}/default", far.local_addr().unwrap().port()));
        let near = Calls::new(&format!("test+unix:///default?socket={}", socket.display()));
        let opens = async |calls: &Arc<Calls>| calls.call(Ask::within(OPEN), |_| Ok(())).await;
        let signs = async {
            while far.signs() < 3 {
                tokio::time::sleep(TICK).await;
            }
        };
        tokio::select! {
            _ = opens(&far) => panic!("it can't be opened"),
            _ = opens(&near) => panic!("it can't be opened"),
            () = signs => assert_eq!(near.signs(), 0),
        }
    }
}
