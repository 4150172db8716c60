//! A socket before a libvirtd's own, which forwards libvirt's messages and breaks the connection at one of them: before the daemon
//! hears of it, or after the daemon has done it and before its answer is passed on.
//!
//! A message is its length, itself included, and then program, version, procedure, type, serial and status, each in four bytes.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Where the connection breaks, about one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Before,
    After,
}

const REMOTE: u32 = 0x2000_8086;
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

/// Goes with its socket; connections that are open then are cut.
pub struct Proxy {
    socket: PathBuf,
    plan: Arc<Mutex<Plan>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn locked(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// Listens at `socket`, and is connected to the one at `daemon` by each who connects.
    pub fn new(socket: &Path, daemon: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket can be made");
        let (plan, done) = (Arc::new(Mutex::new(Plan::default())), Arc::new(AtomicBool::new(false)));
        let (daemon, theirs, ended) = (daemon.to_owned(), Arc::clone(&plan), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            let mut open = Vec::new();
            for client in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                // A daemon that is away hangs up at once, as it would by itself.
                let Ok(server) = UnixStream::connect(&daemon) else { continue };
                open.push(connection(&client, &server, &theirs));
            }
            for ends in open {
                ends.hang_up();
            }
        });
        Self { socket: socket.to_owned(), plan, done, thread: Some(thread) }
    }

    pub fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}", self.socket.display())
    }

    /// From now on the `number`-th message that changes something breaks its connection, or none does.
    pub fn cut(&self, cut: Option<(u32, Cut)>) {
        *locked(&self.plan) = Plan { cut, ..Plan::default() };
    }

    /// The procedure at which a connection was broken since then.
    pub fn met(&self) -> Option<u32> {
        locked(&self.plan).met
    }

    /// The procedures that changed something since then.
    pub fn seen(&self) -> Vec<u32> {
        locked(&self.plan).seen.clone()
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

fn connection(client: &UnixStream, server: &UnixStream, plan: &Arc<Mutex<Plan>>) -> Ends {
    // The serial whose answer is kept back.
    let kept = Arc::new(Mutex::new(None::<u32>));
    let (asks, answers) = (Ends::of(client, server), Ends::of(client, server));
    let (plan, awaited) = (Arc::clone(plan), Arc::clone(&kept));
    std::thread::spawn(move || {
        forward(&asks.0, &asks.1, |message| match about(&plan, message) {
            Some(Cut::Before) => false,
            Some(Cut::After) => {
                *awaited.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.serial);
                true
            }
            None => true,
        });
        asks.hang_up();
    });
    std::thread::spawn(move || {
        forward(&answers.1, &answers.0, |message| {
            let answer = message.kind == REPLY || message.kind == STREAM;
            !answer || *kept.lock().unwrap_or_else(PoisonError::into_inner) != Some(message.serial)
        });
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
        // A stream's end, after which what was uploaded is there.
        let end = self.kind == STREAM && self.status == 0;
        self.program == REMOTE && (call || end)
    }
}

/// Forwards messages until one side hangs up or `go_on` says no.
fn forward(mut from: &UnixStream, mut to: &UnixStream, go_on: impl Fn(&Message) -> bool) {
    let mut one = || -> io::Result<bool> {
        let mut bytes = vec![0; 28];
        from.read_exact(&mut bytes)?;
        let word = |at: usize| u32::from_be_bytes(bytes[4 * at..][..4].try_into().expect("four bytes"));
        let length = word(0) as usize;
        let message = Message { program: word(1), procedure: word(3), kind: word(4), serial: word(5), status: word(6) };
        assert!((28..1 << 26).contains(&length), "{length} bytes are no message of libvirt's");
        bytes.resize(length, 0);
        from.read_exact(&mut bytes[28..])?;
        let goes_on = go_on(&message);
        if goes_on {
            to.write_all(&bytes)?;
        }
        Ok(goes_on)
    };
    while one().is_ok_and(|goes_on| goes_on) {}
}
