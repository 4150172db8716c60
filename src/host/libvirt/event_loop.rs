//! The event loop that libvirt's client needs: it watches sockets and clocks, and calls libvirt where one is ready or due.
//!
//! libvirt has one of its own, but each call on a connection turns the watching of its socket off and on again, and for that wakes the
//! loop twice: a plan over a thousand VMs spent a sixth of its CPU time on it. Here it is two words with the kernel, which wake nobody.
//! What is called and with what is libvirt's matter, and is never looked into.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use virt::sys;

use super::ffi::{self, Callback, FileFunction, TimerFunction};

/// What the kernel tells of the bell; files have numbers from 1 on.
const BELL: u64 = 0;
/// Ready files that are taken at a time.
const AT_ONCE: usize = 16;
/// A wait that is over sooner than this didn't wait.
const NO_TIME: Duration = Duration::from_micros(50);
/// So many such waits in a row are no coincidence.
const IN_A_ROW: u32 = 4;
/// How long the loop then lets others go on.
const BREATH: Duration = Duration::from_micros(500);

/// libvirt's words for what is awaited of a file and what came, and the kernel's.
const WORDS: [(u32, EventFlags); 4] = [
    (sys::VIR_EVENT_HANDLE_READABLE, EventFlags::IN),
    (sys::VIR_EVENT_HANDLE_WRITABLE, EventFlags::OUT),
    (sys::VIR_EVENT_HANDLE_ERROR, EventFlags::ERR),
    (sys::VIR_EVENT_HANDLE_HANGUP, EventFlags::HUP),
];

static LOOP: OnceLock<EventLoop> = OnceLock::new();

/// The loop, and what may be done with it from any thread.
pub(super) struct EventLoop {
    epoll: OwnedFd,
    /// Wakes the loop where it has to look at its clock or at what is gone.
    bell: OwnedFd,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: c_int,
    files: BTreeMap<c_int, File>,
    timers: BTreeMap<c_int, Timer>,
    /// What was taken back: libvirt holds locks then, so it is the loop that frees it.
    gone: Vec<Gone>,
    /// When the loop wakes by itself.
    wakes: Option<Instant>,
}

struct File {
    /// A descriptor of our own, so that one that libvirt closes and the kernel gives out anew is never mistaken for it.
    own: OwnedFd,
    /// libvirt's.
    fd: c_int,
    events: EventFlags,
    callback: Arc<Callback<FileFunction>>,
}

struct Timer {
    /// None while it is off.
    every: Option<Duration>,
    due: Option<Instant>,
    callback: Arc<Callback<TimerFunction>>,
}

/// Held for its drop, which is libvirt's word that it is free.
enum Gone {
    File { _callback: Arc<Callback<FileFunction>> },
    Timer { _callback: Arc<Callback<TimerFunction>> },
}

/// Gives libvirt this loop. Must come before the first connection; what has come before is another loop, which stays.
pub(super) fn register() -> std::io::Result<&'static EventLoop> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    epoll::add(&epoll, &bell, EventData::new_u64(BELL), EventFlags::IN)?;
    let made = LOOP.get_or_init(|| EventLoop { epoll, bell, state: Mutex::default() });
    ffi::register_event_loop();
    Ok(made)
}

/// The loop that libvirt was given.
pub(super) fn registered() -> Option<&'static EventLoop> {
    LOOP.get()
}

impl EventLoop {
    /// Watches a file; the answer is its number here.
    pub(super) fn add_file(&self, own: OwnedFd, fd: c_int, events: c_int, callback: Callback<FileFunction>) -> Option<c_int> {
        let mut state = self.lock();
        let watch = state.number();
        let mut file = File { own, fd, events: EventFlags::empty(), callback: Arc::new(callback) };
        let watched = self.watch(watch, &mut file, kernels(events));
        if watched.is_err() {
            // libvirt keeps what is refused.
            if let Some(callback) = Arc::into_inner(file.callback) {
                callback.leave();
            }
            return None;
        }
        state.files.insert(watch, file);
        Some(watch)
    }

    /// Watches a file for something else.
    pub(super) fn update_file(&self, watch: c_int, events: c_int) {
        if let Some(file) = self.lock().files.get_mut(&watch)
            && let Err(error) = self.watch(watch, file, kernels(events))
        {
            tracing::warn!(%error, "a connection of libvirt's is not watched");
        }
    }

    /// Watches a file no longer; false where it wasn't.
    pub(super) fn remove_file(&self, watch: c_int) -> bool {
        let mut state = self.lock();
        let Some(mut file) = state.files.remove(&watch) else { return false };
        // Dropping the descriptor alone would not do where libvirt's own is still open.
        let _ = self.watch(watch, &mut file, EventFlags::empty());
        state.gone.push(Gone::File { _callback: file.callback });
        drop(state);
        self.ring();
        true
    }

    /// Sets a clock, in milliseconds; a negative number leaves it off. The answer is its number here.
    pub(super) fn add_timer(&self, milliseconds: c_int, callback: Callback<TimerFunction>) -> c_int {
        let mut state = self.lock();
        let timer = state.number();
        state.timers.insert(timer, Timer { every: None, due: None, callback: Arc::new(callback) });
        drop(state);
        self.update_timer(timer, milliseconds);
        timer
    }

    /// Sets a clock anew.
    pub(super) fn update_timer(&self, timer: c_int, milliseconds: c_int) {
        let mut state = self.lock();
        let Some(set) = state.timers.get_mut(&timer) else { return };
        set.every = u64::try_from(milliseconds).ok().map(Duration::from_millis);
        set.due = set.every.map(|every| Instant::now() + every);
        let sooner = set.due.is_some_and(|due| state.wakes.is_none_or(|wakes| due < wakes));
        drop(state);
        if sooner {
            self.ring();
        }
    }

    /// Takes a clock away; false where there is none.
    pub(super) fn remove_timer(&self, timer: c_int) -> bool {
        let mut state = self.lock();
        let Some(timer) = state.timers.remove(&timer) else { return false };
        state.gone.push(Gone::Timer { _callback: timer.callback });
        drop(state);
        self.ring();
        true
    }

    /// Runs it, for ever.
    pub(super) fn run(&self) {
        let mut ready = Vec::with_capacity(AT_ONCE);
        let mut at_once = 0;
        loop {
            let gone = std::mem::take(&mut self.lock().gone);
            drop(gone);
            self.call_timers();
            let timeout = self.sleep().and_then(|time| Timespec::try_from(time).ok());
            ready.clear();
            // A call that is handed the connection has its answer waiting there, and turns the watching off once it gets a core. Until
            // then libvirt lets the answer lie, and to ask for it again and again would take the very core that the call waits for.
            if at_once >= IN_A_ROW {
                std::thread::sleep(BREATH);
            }
            let began = Instant::now();
            // Broken off by a signal, or by something that won't get better: in either case the clocks are next.
            if let Err(error) = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), timeout.as_ref())
                && error != rustix::io::Errno::INTR
            {
                std::thread::sleep(Duration::from_millis(100));
            }
            at_once = if began.elapsed() < NO_TIME { at_once + 1 } else { 0 };
            for event in &ready {
                let epoll::Event { data, flags } = *event;
                match c_int::try_from(data.u64()) {
                    Ok(watch) if data.u64() != BELL => self.call_file(watch, flags),
                    _ => {
                        let _ = rustix::io::read(&self.bell, &mut [0u8; 8]);
                    }
                }
            }
        }
    }

    fn call_file(&self, watch: c_int, flags: EventFlags) {
        let state = self.lock();
        // A call may have taken the answer meanwhile and turned the watching off.
        let found = state.files.get(&watch).filter(|file| !file.events.is_empty());
        let Some((callback, fd)) = found.map(|file| (Arc::clone(&file.callback), file.fd)) else { return };
        drop(state);
        callback.call(watch, fd, libvirts(flags));
    }

    fn call_timers(&self) {
        let now = Instant::now();
        let due: Vec<c_int> = {
            let state = self.lock();
            state.timers.iter().filter(|(_, timer)| timer.due.is_some_and(|due| due <= now)).map(|(number, _)| *number).collect()
        };
        for number in due {
            let mut state = self.lock();
            let Some(timer) = state.timers.get_mut(&number).filter(|timer| timer.due.is_some_and(|due| due <= now)) else {
                continue;
            };
            timer.due = timer.every.map(|every| Instant::now() + every);
            let callback = Arc::clone(&timer.callback);
            drop(state);
            callback.call(number);
        }
    }

    /// How long there is nothing to do for the clocks; none for ever. From here on whoever is sooner rings.
    fn sleep(&self) -> Option<Duration> {
        let mut state = self.lock();
        state.wakes = state.timers.values().filter_map(|timer| timer.due).min();
        state.wakes.map(|wakes| wakes.saturating_duration_since(Instant::now()))
    }

    /// Has the kernel watch a file. Nothing awaited means not at all, as errors would be told all the same.
    fn watch(&self, watch: c_int, file: &mut File, events: EventFlags) -> rustix::io::Result<()> {
        let data = EventData::new_u64(u64::try_from(watch).unwrap_or(BELL));
        match (file.events.is_empty(), events.is_empty()) {
            (true, true) => {}
            (true, false) => epoll::add(&self.epoll, &file.own, data, events)?,
            (false, true) => epoll::delete(&self.epoll, &file.own)?,
            (false, false) => epoll::modify(&self.epoll, &file.own, data, events)?,
        }
        file.events = events;
        Ok(())
    }

    fn ring(&self) {
        // It can only fail where it has been rung very often already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn number(&mut self) -> c_int {
        self.last += 1;
        self.last
    }
}

fn kernels(events: c_int) -> EventFlags {
    let events = u32::try_from(events).unwrap_or(0);
    WORDS.iter().filter(|(word, _)| events & word != 0).map(|(_, flag)| *flag).collect()
}

fn libvirts(flags: EventFlags) -> c_int {
    let words = WORDS.iter().filter(|(_, flag)| flags.contains(*flag)).fold(0, |all, (word, _)| all | word);
    c_int::try_from(words).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::mpsc::{RecvTimeoutError, Sender, channel};

    use virt::event::{event_add_handle, event_add_timeout};

    use super::super::runtime;
    use super::*;

    const SOON: Duration = Duration::from_secs(20);
    const WHILE: Duration = Duration::from_millis(200);

    fn number(told: &Sender<c_int>) -> impl FnMut(c_int, c_int, u32, *mut std::ffi::c_void) + use<> {
        let told = told.clone();
        move |_, fd, events, _| {
            let _ = (told.send(fd), told.send(c_int::try_from(events).unwrap()));
        }
    }

    #[test]
    fn a_file_is_told_of_while_it_is_watched_and_freed_when_it_is_not() {
        runtime::start().unwrap();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (sender, told) = channel();
        let readable = sys::VIR_EVENT_HANDLE_READABLE;
        let watch = event_add_handle(theirs.as_raw_fd(), 0, number(&sender), std::ptr::null_mut()).unwrap();
        drop(sender);
        rustix::io::write(&ours, b"x").unwrap();
        assert_eq!(told.recv_timeout(WHILE), Err(RecvTimeoutError::Timeout), "nothing is awaited of it");
        watch.event_update_handle(readable);
        assert_eq!(told.recv_timeout(SOON), Ok(theirs.as_raw_fd()));
        assert_eq!(told.recv_timeout(SOON), Ok(1));
        watch.event_update_handle(sys::VIR_EVENT_HANDLE_WRITABLE);
        while told.recv_timeout(SOON).unwrap() != 2 {}
        watch.event_update_handle(0);
        while told.recv_timeout(WHILE).is_ok() {}
        drop(ours);
        assert_eq!(told.recv_timeout(WHILE), Err(RecvTimeoutError::Timeout), "nor that it hung up");
        watch.event_remove_handle().unwrap();
        assert_eq!(told.recv_timeout(SOON), Err(RecvTimeoutError::Disconnected), "what is removed is freed");
        assert!(!registered().unwrap().remove_file(watch.as_raw()), "only once");
    }

    #[test]
    fn what_nobody_takes_is_told_again_but_costs_no_core() {
        runtime::start().unwrap();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (sender, told) = channel();
        let tell = move |_, _, _, _: *mut std::ffi::c_void| sender.send(()).unwrap_or(());
        let watch = event_add_handle(theirs.as_raw_fd(), sys::VIR_EVENT_HANDLE_READABLE, tell, std::ptr::null_mut()).unwrap();
        rustix::io::write(&ours, b"x").unwrap();
        std::thread::sleep(WHILE);
        watch.event_remove_handle().unwrap();
        let times = told.iter().count();
        assert!(times > 4, "told {times} times");
        assert!(times < 1_000, "told {times} times in {WHILE:?}");
    }

    #[test]
    fn a_clock_runs_while_it_is_set() {
        runtime::start().unwrap();
        let (sender, told) = channel();
        let timer = event_add_timeout(-1, move |timer, _| sender.send(timer).unwrap_or(()), std::ptr::null_mut()).unwrap();
        assert_eq!(told.recv_timeout(WHILE), Err(RecvTimeoutError::Timeout));
        timer.event_update_timeout(5);
        for _ in 0..3 {
            assert_eq!(told.recv_timeout(SOON), Ok(timer.as_raw()));
        }
        timer.event_update_timeout(60_000);
        while told.recv_timeout(WHILE).is_ok() {}
        timer.event_update_timeout(0);
        assert_eq!(told.recv_timeout(SOON), Ok(timer.as_raw()), "one that is sooner than all wakes the loop");
        timer.event_update_timeout(-1);
        while told.recv_timeout(WHILE).is_ok() {}
        timer.event_remove_timeout().unwrap();
        assert_eq!(told.recv_timeout(SOON), Err(RecvTimeoutError::Disconnected));
        assert!(!registered().unwrap().remove_timer(timer.as_raw()), "only once");
    }
}
