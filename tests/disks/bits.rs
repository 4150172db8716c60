//! Bits of the state directory that are not what they were.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use jvp::plan::Owned;
use jvp::store::{Event, EventOutcome, Opened, Past, Snapshot, StateDir, Store};
use uuid::Uuid;

use crate::{APPLY, Ground, said, stride};

const FLEET: &str = "examples/bios/jvp.yaml";

/// Every file beneath a folder, and every folder, but for the images that are kept there: they are no part of the ledger, and large.
fn tree(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if name.starts_with("cache") {
                continue;
            }
            if path.is_dir() {
                found.insert(name, None);
                open.push(path);
            } else {
                found.insert(name, Some(fs::read(&path).unwrap()));
            }
        }
    }
    found
}

/// What a reader and a writer are told of a state directory.
struct Told {
    plan: Owned,
    events: Past,
    opened: Opened,
    apply: Owned,
    history: Past,
}

fn told(state: &Path, fleet: Uuid) -> Told {
    let now = Timestamp::UNIX_EPOCH;
    let events = Snapshot::history(state, fleet);
    let snapshot = Snapshot::read(state, "jvp plan", now).unwrap_or_else(|error| panic!("a reader is refused: {error}"));
    let folder = StateDir::open(state).unwrap();
    let (store, reopened) =
        Store::open(&folder, "jvp apply", now, Duration::ZERO).unwrap_or_else(|error| panic!("a writer is refused: {error}"));
    let opened = if snapshot.opened == Opened::Whole { reopened } else { snapshot.opened.clone() };
    let ledger = store.ledger(fleet);
    let (apply, history) = (ledger.owned(), ledger.history());
    drop(ledger);
    store.close().unwrap();
    Told { plan: snapshot.owned(fleet), events, opened, apply, history }
}

/// How far from the last byte that was written a file's end is looked at as closely as what was: sled takes its room half a megabyte at a time.
const BEYOND: usize = 4096;

/// The bits of a file that are tried: each N-th, and each 64 N-th where nothing was ever written.
fn tried(bytes: &[u8], stride: usize) -> impl Iterator<Item = usize> + use<> {
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let near = (written + BEYOND).min(bytes.len()) * 8;
    (0..near).step_by(stride).chain((near..bytes.len() * 8).step_by(stride.saturating_mul(64)))
}

/// Flips bits of the ledger's files as `files` has them, each in a copy of its own. Gives how many were tried, and how many noticed.
fn flip(files: &BTreeMap<PathBuf, Option<Vec<u8>>>, fleet: Uuid, stride: usize) -> (usize, usize) {
    let right = {
        let place = laid_out(files);
        told(place.path(), fleet)
    };
    assert!(!right.apply.entries.is_empty() && !right.history.events.is_empty());
    assert!(right.history.unreadable == 0);
    let ledger = files.iter().filter(|(path, _)| path.starts_with("ledger"));
    let bits = ledger.filter_map(|(path, bytes)| Some((path, bytes.as_ref()?)));
    let cases: Vec<_> = bits.flat_map(|(path, bytes)| tried(bytes, stride).map(move |bit| (path, bytes, bit))).collect();
    let (next, noticed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some((path, bytes, bit)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let place = laid_out(files);
            let mut altered = (*bytes).clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            fs::write(place.path().join(path), altered).unwrap();
            let what = format!("bit {bit} of {}", path.display());
            let told = std::panic::catch_unwind(|| told(place.path(), fleet)).unwrap_or_else(|_| panic!("{what}"));
            noticed.fetch_add(usize::from(judged(&told, &right, &what)), Ordering::Relaxed);
        }
    };
    // Most of a case is waiting for the disk.
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(work))));
    (cases.len(), noticed.into_inner())
}

/// Whether a flipped bit was noticed. It may be of no account, but never changes what is told.
fn judged(told: &Told, right: &Told, what: &str) -> bool {
    match &told.opened {
        Opened::Whole => assert!(told.apply == right.apply, "{what}: taken for whole, and isn't\n{:#?}", told.apply),
        Opened::Damaged { restored, .. } => {
            let expected = if *restored { &right.apply } else { &Owned::default() };
            assert!(told.apply == *expected, "{what}: {:?}\n{:#?}", told.opened, told.apply);
        }
    }
    assert!(told.plan == told.apply, "{what}: a plan and an apply are told different things");
    assert!(told.events == told.history, "{what}: a reader and a writer are told of different pasts");
    assert!(told.history == right.history || less(&told.history, &right.history), "{what}: {:#?}", told.history);
    told.opened != Opened::Whole
}

/// Whether a history lacks lines of the right one, says so, and tells nothing that wasn't so.
fn less(told: &Past, right: &Past) -> bool {
    let true_of = |event: &Event| {
        right.events.iter().any(|right| {
            let begun = Event { ended: None, outcome: EventOutcome::Unknown, why: None, ..right.clone() };
            event == right || *event == begun
        })
    };
    told.unreadable > 0 && told.events.iter().all(true_of)
}

fn laid_out(files: &BTreeMap<PathBuf, Option<Vec<u8>>>) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (path, content) in files {
        let path = place.path().join(path);
        match content {
            None => fs::create_dir_all(path).unwrap(),
            Some(bytes) => fs::write(path, bytes).unwrap(),
        }
    }
    place
}

#[test]
fn a_ledger_with_any_bit_flipped_is_noticed_or_still_right() {
    let place = Ground::new().place;
    let output = place.jvp(&APPLY);
    assert!(output.status.success(), "{}", said(&output));
    let text = fs::read_to_string(place.path("checkout").join(FLEET)).unwrap();
    let id = text.lines().find_map(|line| line.split_once("id: ")).unwrap().1;
    let fleet = Uuid::parse_str(id.trim().trim_matches(['"', '}', ' '])).unwrap();
    let state = place.path("state");
    let closed = tree(&state);
    let (tried, noticed) = flip(&closed, fleet, stride(9_973));
    eprintln!("closed: {tried} bits, {noticed} of them noticed");
    // As a kill leaves it: the copy is older than the rest.
    let folder = StateDir::open(&state).unwrap();
    let (store, _) = Store::open(&folder, "jvp apply", Timestamp::UNIX_EPOCH, Duration::ZERO).unwrap();
    let ledger = store.ledger(fleet);
    let entry = ledger.entries().into_values().next().unwrap();
    ledger.put_entry(std::sync::Arc::unwrap_or_clone(entry)).unwrap();
    ledger.begin(ledger.open_intents(), Vec::new()).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let killed = tree(&state);
    let (tried, noticed) = flip(&killed, fleet, stride(49_999));
    eprintln!("killed: {tried} bits, {noticed} of them noticed");
}
