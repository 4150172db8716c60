//! The thread that watches a folder. It decides by looks alone; a notification is only a reason to look.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::local::Local;
use super::settle::{Rest, Writers, at_work, look, recent};
use super::watch::{Shared, Tick};
use crate::source::Walk;

/// How often is asked whether the folder is still the same one.
const PULSE: Duration = Duration::from_secs(1);
/// How often a folder that can't be watched is looked at.
const POLL: Duration = Duration::from_secs(2);
/// How often is tried whether it can be watched again.
const AGAIN: Duration = Duration::from_mins(1);
/// The most links on the way to a folder, as the kernel has it.
const MOST_LINKS: usize = 40;

/// What the thread is told.
pub(super) enum Message {
    Event(notify::Result<Event>),
    Stop,
}

/// How the folder looked.
struct Seen {
    /// What is in it, or why that isn't known.
    found: Result<Walk, String>,
    /// The commit that it is at.
    head: Option<String>,
}

pub(super) struct Watcher {
    path: PathBuf,
    rest: Rest,
    shared: Arc<Shared>,
    events: Sender<Message>,
    notify: Option<RecommendedWatcher>,
    /// When it was last tried to watch.
    tried: Instant,
    /// The folders that are watched, each with its device and inode.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    /// Folders of which only these names concern us: where a link on the way lies, where git keeps its own files.
    beside: BTreeMap<PathBuf, BTreeSet<OsString>>,
    /// Files that were written to and not closed since.
    open: BTreeSet<PathBuf>,
    writers: Writers,
    seen: Seen,
    /// Whether a notification may have been missed since the last look.
    lost: bool,
}

impl Watcher {
    pub(super) fn new(path: PathBuf, rest: Rest, writers: Writers, shared: Arc<Shared>, events: Sender<Message>) -> Self {
        Self {
            path,
            rest,
            shared,
            events,
            notify: None,
            tried: Instant::now(),
            watched: BTreeMap::new(),
            beside: BTreeMap::new(),
            open: BTreeSet::new(),
            writers,
            seen: Seen { found: Err(String::new()), head: None },
            lost: false,
        }
    }

    /// Begins to watch, and looks for the first time.
    pub(super) fn arm(&mut self) {
        self.connect();
        self.seen = self.look();
    }

    /// Watches until it is told to stop.
    pub(super) fn run(&mut self, messages: &Receiver<Message>) {
        let mut looked = Instant::now();
        loop {
            let wait = if self.notify.is_some() { PULSE } else { POLL };
            let changed = match messages.recv_timeout(wait) {
                Ok(Message::Event(event)) => self.take(event),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => false,
            };
            if self.notify.is_none() && self.tried.elapsed() >= AGAIN {
                self.connect();
                self.lost |= self.notify.is_some();
            }
            let polled = self.notify.is_none() && looked.elapsed() >= POLL;
            if changed || polled || self.lost || self.moved() {
                if !self.settle(messages) {
                    return;
                }
                looked = Instant::now();
            }
        }
    }

    /// Waits until the folder is at rest, looks, and tells what is new. False where it was told to stop.
    fn settle(&mut self, messages: &Receiver<Message>) -> bool {
        let began = Instant::now();
        loop {
            let mut quiet = Instant::now();
            loop {
                match messages.recv_timeout(self.rest.quiet.saturating_sub(quiet.elapsed())) {
                    Ok(Message::Event(event)) => {
                        // What goes on beside the folder is no reason to wait.
                        if self.take(event) {
                            quiet = Instant::now();
                        }
                    }
                    Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                    Err(RecvTimeoutError::Timeout) => break,
                }
                if began.elapsed() >= self.rest.longest {
                    break;
                }
            }
            let late = began.elapsed() >= self.rest.longest;
            if late {
                // Whoever writes for so long isn't waited for any longer.
                self.open.clear();
                self.writers.set(0);
            }
            let seen = self.look();
            let busy = match &seen.found {
                Ok(walk) => at_work(walk, &self.writers) || recent(walk, self.rest).is_some(),
                Err(_) => false,
            };
            if busy && !late {
                continue;
            }
            self.tell(seen);
            return true;
        }
    }

    fn tell(&mut self, seen: Seen) {
        let files = match (&self.seen.found, &seen.found) {
            (Ok(before), Ok(now)) if before.same_entries(now) => Some(BTreeSet::new()),
            (Ok(before), Ok(now)) => {
                let files = before.difference(now);
                // Another folder with the same in it is a change, too.
                self.lost |= files.is_empty();
                (!files.is_empty()).then_some(files)
            }
            (Err(before), Err(now)) if before == now => Some(BTreeSet::new()),
            _ => None,
        };
        let quiet = files.as_ref().is_some_and(BTreeSet::is_empty) && self.seen.head == seen.head && !self.lost;
        self.seen = seen;
        if !quiet {
            self.shared.put(Tick { files: files.unwrap_or_default(), lost: std::mem::take(&mut self.lost) });
        }
    }

    /// Whether the path leads to another folder than the one that was seen, or to none, or at last to one.
    fn moved(&self) -> bool {
        match &self.seen.found {
            Ok(walk) => {
                let known = self.watched.get(walk.root());
                let now = place(&self.path);
                now.is_none() || known.is_some_and(|known| Some(*known) != now)
            }
            Err(_) => self.notify.is_some() && look(&self.path, &self.path).is_ok(),
        }
    }

    /// Takes a notification in; true where it is a reason to look.
    fn take(&mut self, event: notify::Result<Event>) -> bool {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                self.fall_back(&error);
                return true;
            }
        };
        if event.need_rescan() {
            tracing::warn!(folder = %self.path.display(), "more changed than the system tells: the folder is read whole");
            self.open.clear();
            self.lost = true;
            return true;
        }
        let closed = matches!(event.kind, EventKind::Access(AccessKind::Close(AccessMode::Write)));
        if event.kind.is_access() && !closed {
            return false;
        }
        let mut concerns = false;
        for path in event.paths {
            let ours = self.concerns(&path);
            concerns |= ours;
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_)) if ours => {
                    self.open.insert(path);
                }
                EventKind::Access(_) => {
                    self.open.remove(&path);
                }
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                    self.open.remove(&path);
                    self.forget(&path);
                }
                _ => {}
            }
        }
        self.writers.set(self.open.len());
        concerns
    }

    /// Whether a change of `path` may be one of the folder.
    fn concerns(&self, path: &Path) -> bool {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return true };
        match self.beside.get(parent) {
            Some(names) => {
                names.contains(name) || self.seen.found.as_ref().is_ok_and(|walk| walk.folders().any(|at| at == parent))
            }
            None => true,
        }
    }

    /// Watches anew whatever comes to lie at `path`, where that was watched.
    fn forget(&mut self, path: &Path) {
        let below: Vec<PathBuf> = self.watched.keys().filter(|watched| watched.starts_with(path)).cloned().collect();
        for folder in below {
            self.watched.remove(&folder);
            if let Some(notify) = &mut self.notify {
                // One that is gone is watched no longer by itself.
                let _ = notify.unwatch(&folder);
            }
        }
    }

    /// Looks at the folder, and watches what has to be watched by what was seen.
    fn look(&mut self) -> Seen {
        // A folder that is watched from now on may have changed before; so it is looked at once more.
        for _ in 0..16 {
            let found = look(&self.path, &self.path).map_err(|failure| failure.to_string());
            let local = found.as_ref().ok().and_then(|walk| Local::of(walk.root()));
            let seen = Seen { head: local.as_ref().and_then(Local::head), found };
            if !self.follow(&seen, local.as_ref()) {
                return seen;
            }
        }
        self.lost = true;
        let found = look(&self.path, &self.path).map_err(|failure| failure.to_string());
        Seen { found, head: self.seen.head.clone() }
    }

    /// Watches the folders that were seen, and no others. True where one wasn't watched before.
    fn follow(&mut self, seen: &Seen, local: Option<&Local>) -> bool {
        self.beside = links(&self.path);
        if let Some(local) = local {
            let names = ["HEAD", "index", "index.lock"].map(OsString::from);
            self.beside.entry(local.folder().to_owned()).or_default().extend(names);
        }
        let mut wanted: BTreeMap<PathBuf, (u64, u64)> = BTreeMap::new();
        let folders = seen.found.as_ref().map(Walk::folders).into_iter().flatten();
        for folder in folders.chain(self.beside.keys().map(PathBuf::as_path)) {
            if let Some(place) = place(folder) {
                wanted.insert(folder.to_owned(), place);
            }
        }
        let gone: Vec<PathBuf> = self
            .watched
            .iter()
            .filter(|(folder, place)| wanted.get(*folder) != Some(*place))
            .map(|(folder, _)| folder.clone())
            .collect();
        for folder in gone {
            self.watched.remove(&folder);
            if let Some(notify) = &mut self.notify {
                let _ = notify.unwatch(&folder);
            }
        }
        let mut fresh = false;
        for (folder, place) in wanted {
            if self.watched.contains_key(&folder) {
                continue;
            }
            if let Some(notify) = &mut self.notify {
                match notify.watch(&folder, RecursiveMode::NonRecursive) {
                    Ok(()) => fresh = true,
                    // Gone since it was seen; the next look tells.
                    Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {
                        fresh = true;
                        continue;
                    }
                    Err(error) => {
                        self.fall_back(&error);
                        return false;
                    }
                }
            }
            self.watched.insert(folder, place);
        }
        fresh
    }

    fn connect(&mut self) {
        self.tried = Instant::now();
        self.watched.clear();
        let send = self.events.clone();
        let made = notify::recommended_watcher(move |event| {
            // After the end nobody listens.
            let _ = send.send(Message::Event(event));
        });
        match made {
            Ok(watcher) => {
                self.notify = Some(watcher);
                self.shared.polls(None);
            }
            Err(error) => self.fall_back(&error),
        }
    }

    /// Goes over to looking every so often.
    fn fall_back(&mut self, error: &notify::Error) {
        let help = match error.kind {
            notify::ErrorKind::MaxFilesWatch => "; raise fs.inotify.max_user_watches with sysctl",
            notify::ErrorKind::Io(ref error) if error.raw_os_error() == Some(EMFILE) => {
                "; raise fs.inotify.max_user_instances with sysctl"
            }
            _ => "",
        };
        let why = format!("the folder can't be watched ({error}){help}");
        tracing::warn!(folder = %self.path.display(), "{why}; it is looked at every {} s", POLL.as_secs());
        self.shared.polls(Some(why));
        self.notify = None;
        self.watched.clear();
        self.open.clear();
        self.writers.set(0);
        self.tried = Instant::now();
    }
}

/// What the system says where a user has too many watchers.
const EMFILE: i32 = 24;

/// The device and the inode of what a path leads to.
fn place(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// The folder that holds `path` itself, and those that hold a link on the way to it, with the names that matter in them.
fn links(path: &Path) -> BTreeMap<PathBuf, BTreeSet<OsString>> {
    let mut found: BTreeMap<PathBuf, BTreeSet<OsString>> = BTreeMap::new();
    let mut waiting: Vec<OsString> = parts(path);
    let mut at = PathBuf::from("/");
    let mut followed = 0;
    while let Some(part) = waiting.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        if waiting.is_empty() {
            found.entry(at.clone()).or_default().insert(part.clone());
        }
        match fs::read_link(&next) {
            Ok(target) if followed < MOST_LINKS => {
                followed += 1;
                found.entry(at.clone()).or_default().insert(part);
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                waiting.extend(parts(&target));
            }
            _ => at = next,
        }
    }
    found
}

/// The parts of a path, the last first.
fn parts(path: &Path) -> Vec<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    let mut parts: Vec<OsString> = path.components().filter_map(part).collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use notify::event::{DataChange, Flag};

    use super::*;

    #[test]
    fn a_queue_that_overflowed_and_a_watch_that_broke_are_reasons_to_look() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.yaml"), "a: b\n").unwrap();
        let rest = Rest { quiet: Duration::from_millis(20), longest: Duration::from_secs(5) };
        let (send, _messages) = mpsc::channel();
        let mut watcher = Watcher::new(dir.path().canonicalize().unwrap(), rest, Writers::default(), Arc::default(), send);
        watcher.arm();
        let data = |name: &str| Event::new(EventKind::Modify(ModifyKind::Data(DataChange::Any))).add_path(dir.path().join(name));
        assert!(watcher.take(Ok(data("a.yaml"))) && watcher.writers.any());
        assert!(watcher.take(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan))));
        assert!(watcher.lost && watcher.open.is_empty(), "whether it was closed is lost as well");
        assert!(watcher.notify.is_some());
        assert!(watcher.take(Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch))));
        assert!(watcher.notify.is_none() && watcher.watched.is_empty());
    }

    #[test]
    fn every_link_on_the_way_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["real/deep/site", "links"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for (target, link) in [("../real", "links/one"), ("deep/../deep", "real/two"), ("loop", "loop")] {
            std::os::unix::fs::symlink(target, root.join(link)).unwrap();
        }
        let found = links(&root.join("links/one/two/site"));
        let at = |folder: &str| found.get(&root.join(folder)).cloned().unwrap_or_default();
        assert!(at("links").contains(&OsString::from("one")) && at("real").contains(&OsString::from("two")));
        assert!(at("real/deep").contains(&OsString::from("site")), "{found:?}");
        assert!(links(&root.join("loop/x")).len() < MOST_LINKS, "a circle comes to an end");
    }
}
