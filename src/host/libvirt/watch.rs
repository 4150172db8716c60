//! The task that sees to it that a node's hints come: it registers, renews, and registers anew what broke.
//!
//! ```text
//!            ┌─────────────── renewed in place ──────────────┐
//!            ▼                                               │
//!   opening ──> registered ── asked ──> renewing ────────────┤
//!    ▲ ▲ └─ fails: later ─┐ │ │                    └─ fails: opening
//!    │ └──────────────────┘ │ └─ some kinds are missing: later
//!    └── the connection broke, or its pings got no answer: later
//! ```
//!
//! *Later* is a second, doubling to half a minute. The task ends with the last subscription. It knows nothing of libvirt's calls.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::events::{Registrar, Registration};
use super::ffi::Source;
use crate::host::events::Hub;
use crate::host::{Events, Hint, HostError};

/// When to try again.
#[derive(Debug, Clone, Copy)]
struct Pauses {
    /// The first pause; each is twice the one before.
    first: Duration,
    /// The longest.
    most: Duration,
    /// How long a connection must have stood for its loss to be one by itself; else the pauses go on from where they were.
    stood: Duration,
}

const PAUSES: Pauses = Pauses { first: Duration::from_secs(1), most: Duration::from_secs(30), stood: Duration::from_mins(1) };

/// Who waits for a registration to be renewed.
type Renewal = oneshot::Sender<Result<(), HostError>>;

/// A node's events: who is subscribed, and the task that sees to it that they are told.
pub(super) struct Watch {
    registrar: Box<dyn Registrar>,
    hub: Arc<Hub>,
    /// To the task, while there is one.
    task: Mutex<Option<mpsc::Sender<Renewal>>>,
    /// Whether hints come.
    stands: AtomicBool,
    pauses: Pauses,
}

impl Watch {
    /// Nobody is subscribed, nothing is opened.
    pub(super) fn new(registrar: impl Registrar + 'static) -> Arc<Self> {
        Self::with(registrar, PAUSES)
    }

    fn with(registrar: impl Registrar + 'static, pauses: Pauses) -> Arc<Self> {
        Arc::new(Self {
            registrar: Box::new(registrar),
            hub: Arc::default(),
            task: Mutex::default(),
            stands: AtomicBool::new(false),
            pauses,
        })
    }

    /// Subscribes; the first who does has the connection opened.
    pub(super) fn subscribe(self: &Arc<Self>) -> Events {
        let events = self.hub.subscribe();
        let mut task = self.task();
        if task.as_ref().is_none_or(mpsc::Sender::is_closed) {
            let (sender, receiver) = mpsc::channel(16);
            *task = Some(sender);
            self.stands.store(false, Ordering::Relaxed);
            tokio::spawn(Arc::clone(self).run(receiver));
        } else if self.stands.load(Ordering::Relaxed) {
            self.hub.hint(&Hint::Node, "connected");
        }
        drop(task);
        events
    }

    /// Has the registration renewed, and waits for it.
    pub(super) async fn renew(&self) -> Result<(), HostError> {
        let Some(task) = self.task().clone() else { return Ok(()) };
        let (sender, receiver) = oneshot::channel();
        if task.send(sender).await.is_err() {
            return Ok(());
        }
        // Without an answer the last subscription went meanwhile.
        receiver.await.unwrap_or(Ok(()))
    }

    async fn run(self: Arc<Self>, mut requests: mpsc::Receiver<Renewal>) {
        let mut state = Standing::default();
        let mut renewals: Vec<Renewal> = Vec::new();
        loop {
            let retry = tokio::select! {
                biased;
                () = self.hub.deserted() => {
                    if self.ends() { return }
                    continue;
                }
                (outcome, retry) = self.stand(&mut state, !renewals.is_empty()) => {
                    for renewal in renewals.drain(..) {
                        // Whoever asked may have gone.
                        drop(renewal.send(outcome.clone()));
                    }
                    retry
                }
            };
            tokio::select! {
                biased;
                () = self.hub.deserted() => {
                    if self.ends() { return }
                }
                () = state.broken() => {}
                Some(renewal) = requests.recv() => {
                    renewals.push(renewal);
                    while let Ok(renewal) = requests.try_recv() {
                        renewals.push(renewal);
                    }
                }
                () = pause(retry) => {}
            }
        }
    }

    /// Whether the task ends: nobody is subscribed, and who comes from now on starts another.
    fn ends(&self) -> bool {
        let mut task = self.task();
        let ends = self.hub.is_deserted();
        if ends {
            *task = None;
        }
        ends
    }

    /// Sees to it that hints come. The answer is what there are no hints of, and when to try again.
    async fn stand(&self, state: &mut Standing, renew: bool) -> (Result<(), HostError>, Option<Duration>) {
        if let Some(registration) = &state.registration {
            match registration.broken.reason() {
                Some(reason) => self.lost(state, reason),
                None if registration.missing.is_empty() => {
                    // On the connection that there is, so that no node sees a new login at each resync.
                    if !renew || matches!(self.registrar.again(registration, &self.hub).await, Ok(missing) if missing.is_empty())
                    {
                        return (Ok(()), None);
                    }
                    // What is left of it hears half of everything.
                    self.lost(state, "lost");
                }
                None => {}
            }
        }
        let wait = state.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        if !renew && !wait.is_zero() {
            return (Ok(()), Some(wait));
        }
        match self.registrar.open(&self.hub).await {
            Ok(fresh) => self.registered(state, fresh),
            Err(error) => {
                if !state.told {
                    tracing::warn!(uri = %self.registrar.uri(), %error, "no events from libvirt");
                    state.told = true;
                    self.hub.hint(&Hint::Node, "unreachable");
                }
                let wait = state.later(self.pauses);
                (Err(error), Some(wait))
            }
        }
    }

    /// A new registration takes the place of what there was.
    fn registered(&self, state: &mut Standing, fresh: Registration) -> (Result<(), HostError>, Option<Duration>) {
        let kinds = |registration: &Registration| registration.missing.keys().copied().collect::<Vec<_>>();
        let same = state.registration.as_ref().is_some_and(|old| !kinds(old).is_empty() && kinds(old) == kinds(&fresh));
        let error = fresh.missing.iter().next().map(|(source, error)| HostError {
            message: format!("no events of {}: {}", plural(*source), error.message),
            ..error.clone()
        });
        match &error {
            Some(error) if !same => tracing::warn!(uri = %self.registrar.uri(), %error, "some of libvirt's events don't come"),
            Some(_) => {}
            None => tracing::debug!(uri = %self.registrar.uri(), "libvirt's events come"),
        }
        state.registration = Some(fresh);
        state.since = Some(Instant::now());
        state.told = false;
        self.stands.store(true, Ordering::Relaxed);
        // Something may have been missed, unless what is missing is what was missing.
        if !same {
            self.hub.hint(&Hint::Node, "connected");
        }
        match error {
            None => (Ok(()), None),
            Some(error) => {
                let wait = state.later(self.pauses);
                (Err(error), Some(wait))
            }
        }
    }

    /// There is no registration any more.
    fn lost(&self, state: &mut Standing, reason: &'static str) {
        // Why it broke is known a moment after a call failed for it.
        let broken = state.registration.take().and_then(|registration| registration.broken.reason());
        let reason = broken.unwrap_or(reason);
        tracing::warn!(uri = %self.registrar.uri(), reason, "the connection for libvirt's events broke");
        state.told = true;
        self.stands.store(false, Ordering::Relaxed);
        self.hub.hint(&Hint::Node, reason);
        if state.since.take().is_some_and(|since| since.elapsed() >= self.pauses.stood) {
            state.delays = None;
        }
        state.later(self.pauses);
    }

    fn task(&self) -> MutexGuard<'_, Option<mpsc::Sender<Renewal>>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the task knows.
#[derive(Default)]
struct Standing {
    registration: Option<Registration>,
    /// Since when.
    since: Option<Instant>,
    /// Whether it was told that no hints come.
    told: bool,
    delays: Option<ExponentialBackoff>,
    not_before: Option<Instant>,
}

impl Standing {
    /// How long to wait until the next try; longer each time.
    fn later(&mut self, pauses: Pauses) -> Duration {
        let Pauses { first, most, .. } = pauses;
        let delays = || ExponentialBuilder::default().with_min_delay(first).with_max_delay(most).without_max_times().build();
        let wait = self.delays.get_or_insert_with(delays).next().unwrap_or(most);
        self.not_before = Some(Instant::now() + wait);
        wait
    }

    /// Waits until the connection breaks.
    async fn broken(&self) {
        match &self.registration {
            Some(registration) => registration.broken.wait().await,
            None => std::future::pending().await,
        }
    }
}

async fn pause(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

fn plural(source: Source) -> &'static str {
    match source {
        Source::Domain => "domains",
        Source::Network => "networks",
        Source::Pool => "storage pools",
        Source::Secret => "secrets",
        Source::NodeDevice => "node devices",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use async_trait::async_trait;
    use virt::sys;

    use super::super::error::own;
    use super::super::events::{Broken, Lease, Missing};
    use super::*;
    use crate::host::ErrorKind;

    /// How asking goes, time after time; when nothing is left, it goes well.
    #[derive(Default)]
    struct Script {
        opens: Mutex<VecDeque<Result<Missing, HostError>>>,
        renewals: Mutex<VecDeque<Result<Missing, HostError>>>,
        /// Each time it was opened or renewed.
        asked: Mutex<Vec<(&'static str, Instant)>>,
        broken: Mutex<Arc<Broken>>,
    }

    #[async_trait]
    impl Registrar for Arc<Script> {
        async fn open(&self, _: &Arc<Hub>) -> Result<Registration, HostError> {
            self.asked.lock().unwrap().push(("open", Instant::now()));
            let missing = self.opens.lock().unwrap().pop_front().unwrap_or_else(|| Ok(Missing::new()))?;
            let broken = Arc::<Broken>::default();
            *self.broken.lock().unwrap() = Arc::clone(&broken);
            Ok(Registration { connection: Lease(None), missing, broken })
        }

        async fn again(&self, _: &Registration, _: &Arc<Hub>) -> Result<Missing, HostError> {
            self.asked.lock().unwrap().push(("again", Instant::now()));
            self.renewals.lock().unwrap().pop_front().unwrap_or_else(|| Ok(Missing::new()))
        }

        fn uri(&self) -> &'static str {
            "test"
        }
    }

    impl Script {
        fn words(&self) -> Vec<&'static str> {
            self.asked.lock().unwrap().iter().map(|(word, _)| *word).collect()
        }

        fn breaks(&self, reason: u32) {
            self.broken.lock().unwrap().tell(reason);
        }
    }

    /// A watch of a node that answers by the script, in milliseconds instead of seconds.
    fn watch(script: &Arc<Script>, stood: Duration) -> Arc<Watch> {
        let pauses = Pauses { first: Duration::from_millis(10), most: Duration::from_millis(60), stood };
        Watch::with(Arc::clone(script), pauses)
    }

    fn gone() -> HostError {
        own(ErrorKind::Unreachable, "client socket is closed")
    }

    fn without(source: Source) -> Missing {
        Missing::from([(source, gone())])
    }

    async fn node(events: &mut Events) -> BTreeSet<&'static str> {
        let hints = tokio::time::timeout(Duration::from_mins(2), events.next()).await.expect("a hint comes");
        hints.into_iter().find(|(hint, _)| *hint == Hint::Node).map(|(_, change)| change.why).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_node_out_of_reach_is_told_once_and_tried_again_and_again() {
        let script = Arc::<Script>::default();
        script.opens.lock().unwrap().extend((0..5).map(|_| Err(gone())));
        let watch = watch(&script, PAUSES.stood);
        let mut events = watch.subscribe();
        assert_eq!(node(&mut events).await, ["unreachable"].into());
        assert_eq!(node(&mut events).await, ["connected"].into());
        let asked: Vec<Instant> = script.asked.lock().unwrap().iter().map(|(_, at)| *at).collect();
        let pauses: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(pauses.len(), 5);
        for (pause, least) in pauses.iter().zip([10, 20, 40, 60, 60]) {
            assert!(*pause >= Duration::from_millis(least), "{pauses:?}");
        }
        // A second one hears at once that hints come.
        assert_eq!(node(&mut watch.subscribe()).await, ["connected"].into());
    }

    #[tokio::test]
    async fn a_renewal_that_goes_well_gives_no_hint_and_one_that_fails_opens_anew() {
        let script = Arc::<Script>::default();
        let watch = watch(&script, PAUSES.stood);
        let mut events = watch.subscribe();
        node(&mut events).await;
        watch.renew().await.unwrap();
        assert!(events.take().is_empty());
        script.renewals.lock().unwrap().extend([Ok(without(Source::Network)), Err(gone())]);
        for _ in 0..2 {
            watch.renew().await.unwrap();
            assert_eq!(node(&mut events).await, ["connected", "lost"].into());
        }
        assert_eq!(script.words(), ["open", "again", "again", "open", "again", "open"]);
        // Where that fails, too, whoever asked is told, and it is tried again.
        script.renewals.lock().unwrap().push_back(Err(gone()));
        script.opens.lock().unwrap().push_back(Err(gone()));
        assert_eq!(watch.renew().await.unwrap_err().kind, ErrorKind::Unreachable);
        assert_eq!(node(&mut events).await, ["lost"].into());
        assert_eq!(node(&mut events).await, ["connected"].into());
    }

    #[tokio::test]
    async fn kinds_that_are_missing_are_tried_again_and_the_others_are_told_meanwhile() {
        let script = Arc::<Script>::default();
        script.opens.lock().unwrap().extend([
            Ok(without(Source::Network)),
            Ok(without(Source::Network)),
            Ok(without(Source::Network)),
        ]);
        let watch = watch(&script, PAUSES.stood);
        let mut events = watch.subscribe();
        assert_eq!(node(&mut events).await, ["connected"].into());
        let error = watch.renew().await.unwrap_err();
        assert!(error.message.contains("no events of networks: client socket is closed"), "{error}");
        assert!(events.take().is_empty(), "what is missing was missing before");
        assert_eq!(node(&mut events).await, ["connected"].into());
        assert_eq!(script.words(), ["open"; 4]);
        watch.renew().await.unwrap();
    }

    #[tokio::test]
    async fn a_broken_connection_is_told_with_its_reason_and_opened_after_a_pause() {
        let script = Arc::<Script>::default();
        let watch = watch(&script, PAUSES.stood);
        let mut events = watch.subscribe();
        node(&mut events).await;
        let pause = async |events: &mut Events, reason: u32, word: &'static str| {
            let began = Instant::now();
            script.breaks(reason);
            assert_eq!(node(events).await, [word].into());
            assert_eq!(node(events).await, ["connected"].into());
            began.elapsed()
        };
        let (hung, closed) = (sys::VIR_CONNECT_CLOSE_REASON_KEEPALIVE, sys::VIR_CONNECT_CLOSE_REASON_EOF);
        assert!(pause(&mut events, hung, "hung").await >= Duration::from_millis(10));
        // One that breaks each time it was opened isn't opened ever anew.
        assert!(pause(&mut events, closed, "closed").await >= Duration::from_millis(20));
        assert!(pause(&mut events, closed, "closed").await >= Duration::from_millis(40));
    }

    #[test]
    fn after_a_connection_that_stood_for_long_the_pauses_begin_anew() {
        let script = Arc::<Script>::default();
        for (stood, next) in [(Duration::MAX, 60), (Duration::ZERO, 20)] {
            let (watch, mut state) = (watch(&script, stood), Standing::default());
            for _ in 0..2 {
                state.later(watch.pauses);
            }
            state.since = Some(Instant::now());
            watch.lost(&mut state, "closed");
            assert_eq!(state.later(watch.pauses), Duration::from_millis(next), "after one more");
        }
    }

    #[tokio::test]
    async fn the_task_ends_with_the_last_subscription_and_starts_with_the_next() {
        let script = Arc::<Script>::default();
        let watch = watch(&script, PAUSES.stood);
        let (mut one, two) = (watch.subscribe(), watch.subscribe());
        node(&mut one).await;
        drop(one);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(watch.task().is_some());
        drop(two);
        while Arc::strong_count(&watch) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(watch.task().is_none());
        watch.renew().await.expect("nobody misses anything");
        node(&mut watch.subscribe()).await;
        assert_eq!(script.words(), ["open", "open"]);
    }

    #[test]
    fn pauses_double_from_a_second_to_half_a_minute() {
        let mut standing = Standing::default();
        let waits: Vec<u64> = (0..8).map(|_| standing.later(PAUSES).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
    }
}
