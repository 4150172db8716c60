//! A socket before a libvirtd's own, which forwards libvirt's messages. It breaks the connection at one of them: before the daemon
//! hears of it, or after the daemon has done it and before its answer is passed on. And it puts the daemon far away: each message is
//! on its way for a while, over a link that carries so many bytes a second.
//!
//! A message is its length, itself included, and then program, version, procedure, type, serial and status, each in four bytes.
//!
//! What is counted are calls, and **turns**: how often a client had to wait for an answer before it could ask the next thing, however
//! many calls were on their way at once. A turn takes as long as a message's way there and back; so turns tell how long something
//! takes, whatever else the machine does.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where the connection breaks, about one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Before,
    After,
}

const REMOTE: u32 = 0x2000_8086;
const KEEP_ALIVE: u32 = 0x6b65_6570;
const CALL: u32 = 0;
const REPLY: u32 = 1;
const STREAM: u32 = 3;

/// The calls that change nothing on a node, by their numbers in libvirt's `remote_protocol.x`: lookups, lists, documents, states, and what opens and
/// closes a connection. Any other counts.
const LOOKS: &[u32] = &[
    1, 2, 7, 14, 15, 23, 24, 43, 44, 46, 59, 60, 66, 84, 88, 89, 95, 99, 150, 151, 152, 153, 154, 155, 157, 183, 187, 194, 212,
    273, 281, 282, 283, 344, 404,
];

#[derive(Default)]
struct Plan {
    /// The messages that change something are counted from one.
    cut: Option<(u32, Cut)>,
    seen: Vec<u32>,
    met: Option<u32>,
}

/// How late a sleeper may be.
const SLACK: Duration = Duration::from_millis(5);

/// How far away the daemon is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link {
    /// How long a message is on its way, in each direction.
    pub delay: Duration,
    /// Bytes a second in each direction, all connections together; none for as many as there are.
    pub rate: Option<u64>,
}

/// What went over a proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    pub connections: u32,
    pub calls: u32,
    /// The most calls that were on their way at once, by connection.
    pub at_once: BTreeMap<u32, u32>,
    pub turns: u32,
}

#[derive(Default)]
struct Counted {
    traffic: Traffic,
    last: u32,
    /// The turn that each call without an answer yet belongs to, by connection and serial.
    waiting: BTreeMap<(u32, u32), u32>,
}

/// Which messages to a daemon are counted until something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All calls, and the ends of streams.
    Calls,
    /// Those that change something.
    Changes,
    /// The bytes of uploads.
    Bytes,
}

/// What all connections of a proxy share.
#[derive(Default)]
struct Shared {
    plan: Mutex<Plan>,
    counted: Mutex<Counted>,
    link: Link,
    /// When the link has room again: to the daemon, and back.
    busy: [Mutex<Option<Instant>>; 2],
    /// What is to be done at a message, and how many of which come until then.
    moment: Mutex<Option<(Which, u32, Moment)>>,
    away: AtomicBool,
    /// So many connections are let in yet; none for as many as come.
    room: Mutex<Option<u32>>,
    open: Mutex<Vec<Ends>>,
}

/// Tells whether the message goes on; else its connection breaks.
type Moment = Box<dyn FnOnce() -> bool + Send>;

impl Shared {
    /// Waits until the link has taken a message, and tells when that gets there.
    fn carried(&self, way: usize, bytes: u64) -> Instant {
        let now = Instant::now();
        let Some(rate) = self.link.rate else { return now + self.link.delay };
        let mut busy = locked(&self.busy[way]);
        // Who sleeps sleeps a little longer than asked; the link was not idle for that.
        let idle = now.checked_sub(SLACK).unwrap_or(now);
        let sent = busy.map_or(now, |busy| busy.max(idle)) + Duration::from_nanos(bytes * 1_000_000_000 / rate);
        *busy = Some(sent);
        drop(busy);
        std::thread::sleep(sent.saturating_duration_since(Instant::now()));
        sent + self.link.delay
    }

    /// Does what was to be done at this message. Whether that goes on.
    fn comes_to(&self, message: &Message) -> bool {
        let mut moment = locked(&self.moment);
        if let Some((which, left, _)) = moment.as_mut()
            && message.is_of(*which)
        {
            *left = left.saturating_sub(1);
        }
        let due = moment.take_if(|(_, left, _)| *left == 0);
        drop(moment);
        due.is_none_or(|(_, _, what)| what())
    }

    fn asked(&self, connection: u32, message: &Message) {
        if !message.is_of(Which::Calls) {
            return;
        }
        let mut counted = locked(&self.counted);
        let turn = counted.traffic.turns + 1;
        counted.waiting.insert((connection, message.serial), turn);
        counted.traffic.calls += 1;
        let waiting = counted.waiting.range((connection, 0)..=(connection, u32::MAX)).count();
        let most = counted.traffic.at_once.entry(connection).or_default();
        *most = (*most).max(u32::try_from(waiting).unwrap_or(u32::MAX));
    }

    fn has_room(&self) -> bool {
        let mut room = locked(&self.room);
        let has = room.is_none_or(|left| left > 0);
        *room = room.map(|left| left.saturating_sub(1));
        has
    }

    /// Takes the daemon away, with all connections that there are, or lets it be there again.
    fn go(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
        if away {
            for ends in locked(&self.open).drain(..) {
                ends.hang_up();
            }
        }
    }

    fn answered(&self, connection: u32, message: &Message) {
        let mut counted = locked(&self.counted);
        if (message.kind == REPLY || message.is_end())
            && let Some(turn) = counted.waiting.remove(&(connection, message.serial))
        {
            counted.traffic.turns = counted.traffic.turns.max(turn);
        }
    }
}

/// A message that is held back once it comes. Where nobody lets go of it, its connection breaks.
pub struct Held {
    came: mpsc::Receiver<()>,
    word: mpsc::Sender<bool>,
}

impl Held {
    /// Whether it is there by now.
    pub fn came(&self) -> bool {
        self.came.try_recv().is_ok()
    }

    /// Has it go on its way.
    pub fn goes_on(self) {
        let _ = self.word.send(true);
    }
}

/// Goes with its socket; connections that are open then are cut.
pub struct Proxy {
    socket: PathBuf,
    shared: Arc<Shared>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// Listens at `socket`, and is connected to the one at `daemon` by each who connects.
    pub fn new(socket: &Path, daemon: &Path) -> Self {
        Self::far(socket, daemon, Link::default())
    }

    /// The same, with the daemon behind a link.
    pub fn far(socket: &Path, daemon: &Path, link: Link) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket can be made");
        let (shared, done) = (Arc::new(Shared { link, ..Shared::default() }), Arc::new(AtomicBool::new(false)));
        let (daemon, theirs, ended) = (daemon.to_owned(), Arc::clone(&shared), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                // A daemon that is away hangs up at once, as it would by itself.
                let Ok(server) = UnixStream::connect(&daemon) else { continue };
                if !theirs.away.load(Ordering::SeqCst) && theirs.has_room() {
                    let ends = connection(&client, &server, &theirs);
                    locked(&theirs.open).push(ends);
                }
            }
            theirs.go(true);
        });
        Self { socket: socket.to_owned(), shared, done, thread: Some(thread) }
    }

    pub fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}", self.socket.display())
    }

    /// From now on the `number`-th message that changes something breaks its connection, or none does.
    pub fn cut(&self, cut: Option<(u32, Cut)>) {
        *locked(&self.shared.plan) = Plan { cut, ..Plan::default() };
    }

    /// The procedure at which a connection was broken since then.
    pub fn met(&self) -> Option<u32> {
        locked(&self.shared.plan).met
    }

    /// The procedures that changed something since then.
    pub fn seen(&self) -> Vec<u32> {
        locked(&self.shared.plan).seen.clone()
    }

    /// Takes the daemon away, with all connections that there are, or lets it be there again.
    pub fn away(&self, away: bool) {
        self.shared.go(away);
    }

    /// Lets in so many connections from now on, or as many as come.
    pub fn lets_in(&self, connections: Option<u32>) {
        *locked(&self.shared.room) = connections;
    }

    /// Takes the daemon away right before the `number`-th call from now on, whatever it does.
    pub fn away_at(&self, number: u32) {
        let shared = Arc::downgrade(&self.shared);
        self.at(number, move || {
            if let Some(shared) = shared.upgrade() {
                shared.go(true);
            }
        });
    }

    /// Does something right before the `number`-th call from now on.
    pub fn at(&self, number: u32, what: impl FnOnce() + Send + 'static) {
        let what = || {
            what();
            true
        };
        *locked(&self.shared.moment) = Some((Which::Calls, number, Box::new(what)));
    }

    /// Holds back the `number`-th of such messages from now on, and with it whatever comes after it over its connection.
    pub fn hold(&self, which: Which, number: u32) -> Held {
        let ((there, came), (word, awaited)) = (mpsc::channel(), mpsc::channel());
        let what = move || {
            let _ = there.send(());
            awaited.recv().unwrap_or(false)
        };
        *locked(&self.shared.moment) = Some((which, number, Box::new(what)));
        Held { came, word }
    }

    /// Whether that message is still to come; it is no longer waited for.
    pub fn never_came(&self) -> bool {
        locked(&self.shared.moment).take().is_some()
    }

    /// What went over since it was asked last.
    pub fn traffic(&self) -> Traffic {
        let mut counted = locked(&self.shared.counted);
        counted.waiting.clear();
        std::mem::take(&mut counted.traffic)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = UnixStream::connect(&self.socket);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Both ends of a connection.
struct Ends(UnixStream, UnixStream);

impl Ends {
    fn of(client: &UnixStream, server: &UnixStream) -> Self {
        Self(client.try_clone().expect("a socket can be cloned"), server.try_clone().expect("a socket can be cloned"))
    }

    fn hang_up(&self) {
        let _ = (self.0.shutdown(Shutdown::Both), self.1.shutdown(Shutdown::Both));
    }
}

fn connection(client: &UnixStream, server: &UnixStream, shared: &Arc<Shared>) -> Ends {
    // The serial whose answer is kept back.
    let kept = Arc::new(Mutex::new(None::<u32>));
    let number = {
        let mut counted = locked(&shared.counted);
        counted.traffic.connections += 1;
        counted.last += 1;
        counted.last
    };
    let (asks, answers) = (Ends::of(client, server), Ends::of(client, server));
    let (asked, awaited) = (Arc::clone(shared), Arc::clone(&kept));
    std::thread::spawn(move || {
        let go_on = |message: &Message| {
            if !asked.comes_to(message) {
                return false;
            }
            asked.asked(number, message);
            if asked.away.load(Ordering::SeqCst) {
                return false;
            }
            match about(&asked.plan, message) {
                Some(Cut::Before) => false,
                Some(Cut::After) => {
                    *locked(&awaited) = Some(message.serial);
                    true
                }
                None => true,
            }
        };
        forward((&asks.0, &asks.1), |bytes| asked.carried(0, bytes), go_on, |_| {});
        asks.hang_up();
    });
    let answered = Arc::clone(shared);
    std::thread::spawn(move || {
        let go_on = |message: &Message| {
            let answer = message.kind == REPLY || message.kind == STREAM;
            !answer || *locked(&kept) != Some(message.serial)
        };
        let there = |message: &Message| answered.answered(number, message);
        forward((&answers.1, &answers.0), |bytes| answered.carried(1, bytes), go_on, there);
        answers.hang_up();
    });
    Ends::of(client, server)
}

/// Whether the connection breaks about this message, which is counted where it changes something.
fn about(plan: &Mutex<Plan>, message: &Message) -> Option<Cut> {
    let mut plan = locked(plan);
    if !message.changes() {
        return None;
    }
    plan.seen.push(message.procedure);
    let (number, cut) = plan.cut?;
    if u32::try_from(plan.seen.len()) != Ok(number) {
        return None;
    }
    plan.met = Some(message.procedure);
    Some(cut)
}

struct Message {
    program: u32,
    procedure: u32,
    kind: u32,
    serial: u32,
    status: u32,
}

impl Message {
    fn changes(&self) -> bool {
        let call = self.kind == CALL && !LOOKS.contains(&self.procedure);
        self.program == REMOTE && (call || self.is_end())
    }

    /// A stream's end, after which what was uploaded is there; its answer is another.
    fn is_end(&self) -> bool {
        self.kind == STREAM && self.status == 0
    }

    fn is_of(&self, which: Which) -> bool {
        match which {
            Which::Calls => self.program != KEEP_ALIVE && (self.kind == CALL || self.is_end()),
            Which::Changes => self.changes(),
            // Of a stream that goes on.
            Which::Bytes => self.program == REMOTE && self.kind == STREAM && self.status == 2,
        }
    }
}

/// Forwards messages until one side hangs up or `go_on` says no. `carried` tells when one gets there; `there` hears of it right before.
fn forward(
    (mut from, mut to): (&UnixStream, &UnixStream),
    carried: impl Fn(u64) -> Instant,
    go_on: impl Fn(&Message) -> bool,
    there: impl Fn(&Message) + Send,
) {
    let (sender, on_their_way) = mpsc::channel::<(Instant, Message, Vec<u8>)>();
    let mut one = || -> io::Result<Option<(Message, Vec<u8>)>> {
        let mut bytes = vec![0; 28];
        from.read_exact(&mut bytes)?;
        let word = |at: usize| u32::from_be_bytes(bytes[4 * at..][..4].try_into().expect("four bytes"));
        let length = word(0) as usize;
        let message = Message { program: word(1), procedure: word(3), kind: word(4), serial: word(5), status: word(6) };
        assert!((28..1 << 26).contains(&length), "{length} bytes are no message of libvirt's");
        bytes.resize(length, 0);
        from.read_exact(&mut bytes[28..])?;
        Ok(go_on(&message).then_some((message, bytes)))
    };
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (due, message, bytes) in on_their_way {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                there(&message);
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
        });
        while let Ok(Some((message, bytes))) = one()
            && sender.send((carried(bytes.len() as u64), message, bytes)).is_ok()
        {}
        drop(sender);
    });
}
