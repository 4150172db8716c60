//! What a ledger keeps, and what it does when its files don't.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::*;
use crate::name::{Kind, Name, ObjectRef};
use crate::plan::{Entry, Intent, NodeRecord};

const FLEET: Uuid = Uuid::from_u128(1);
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn object(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::VirtualMachine, name.parse().unwrap())
}

fn entry(name: &str) -> Entry {
    let object = object(name);
    // By way of JSON, so that a new field of an entry needs no line here.
    serde_json::from_value(serde_json::json!({
        "object": object, "uid": object.uid(FLEET), "node": "kvm1", "libvirtUuid": Uuid::from_u128(7), "libvirtName": name,
        "last": ["/cpu/count", "/memory"], "createdAt": NOW.to_string(),
    }))
    .unwrap()
}

fn intent(id: &str, name: &str) -> Intent {
    Intent {
        id: id.to_owned(),
        run: "r1".to_owned(),
        object: object(name),
        op: "domain-define".to_owned(),
        node: Some("kvm1".parse().unwrap()),
        details: serde_json::json!({"capacity": 1_073_741_824_u64, "ratio": 0.5}),
        absent_before: true,
        at: NOW.to_string(),
    }
}

fn node(name: &str) -> NodeRecord {
    NodeRecord { name: name.parse().unwrap(), host_uuid: Uuid::from_u128(9), first_seen: NOW.to_string() }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn state(&self) -> StateDir {
        StateDir::open(self.0.path()).unwrap()
    }

    fn open(&self) -> (Store, Opened) {
        // A child that another test starts right now holds copies of all that is open here, the lock too, until it is another program.
        Store::open(&self.state(), "jvp apply", NOW, Duration::from_secs(10)).unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join("ledger").join(name)
    }

    fn read(&self) -> Snapshot {
        Snapshot::read(self.0.path(), "jvp plan", NOW).unwrap()
    }

    /// A closed ledger of `count` entries.
    fn filled(count: usize) -> Self {
        let place = Self::new();
        let (store, _) = place.open();
        let ledger = store.ledger(FLEET);
        for number in 0..count {
            ledger.put_entry(entry(&format!("vm-{number}"))).unwrap();
        }
        store.close().unwrap();
        place
    }
}

#[test]
fn what_is_put_is_there_after_it_is_opened_again() {
    let place = Place::new();
    let (store, opened) = place.open();
    assert_eq!(opened, Opened::Whole);
    store.set_fleet_id(FLEET).unwrap();
    let ledger = store.ledger(FLEET);
    ledger.put_entry(entry("web-1")).unwrap();
    ledger.put_entry(entry("web-2")).unwrap();
    ledger.remove_entry(&object("web-2")).unwrap();
    ledger.put_node(node("kvm1")).unwrap();
    ledger.begin(vec![intent("b", "web-1"), intent("a", "web-3")], Vec::new()).unwrap();
    let before = ledger.owned();
    drop((store, ledger));

    let (store, opened) = place.open();
    assert_eq!(opened, Opened::Whole);
    let ledger = store.ledger(FLEET);
    assert_eq!(ledger.owned(), before);
    assert_eq!(ledger.entry(&object("web-1")), Some(entry("web-1")));
    assert_eq!(ledger.entry(&object("web-2")), None);
    assert_eq!(ledger.node(&"kvm1".parse().unwrap()), Some(node("kvm1")));
    assert_eq!(ledger.open_intents(), [intent("a", "web-3"), intent("b", "web-1")]);
    assert_eq!(store.fleet_id().unwrap(), Some(FLEET));
}

#[test]
fn two_fleets_in_one_state_directory_do_not_see_each_other() {
    let store = Store::in_memory();
    let other = store.ledger(Uuid::from_u128(2));
    store.ledger(FLEET).put_entry(entry("web-1")).unwrap();
    store.ledger(FLEET).begin(vec![intent("a", "web-1")], Vec::new()).unwrap();
    assert_eq!(other.owned(), crate::plan::Owned::default());
    other.complete("a", Outcome::Verified, vec![]).unwrap();
    assert_eq!(store.ledger(FLEET).open_intents().len(), 1);
}

#[test]
fn an_intent_ends_together_with_what_it_changed() {
    let ledger = Store::in_memory().ledger(FLEET);
    ledger.begin(vec![intent("a", "web-1"), intent("b", "web-2"), intent("c", "web-3")], Vec::new()).unwrap();
    ledger.complete("a", Outcome::Verified, vec![Change::Put(Box::new(entry("web-1")))]).unwrap();
    ledger.complete("b", Outcome::Failed, vec![]).unwrap();
    ledger.complete("c", Outcome::Unknown, vec![]).unwrap();
    assert_eq!(ledger.open_intents(), [intent("c", "web-3")]);
    assert_eq!(ledger.entries().len(), 1);
}

#[test]
fn forgetting_a_node_drops_what_stands_on_it() {
    let ledger = Store::in_memory().ledger(FLEET);
    let kvm2: Name = "kvm2".parse().unwrap();
    let elsewhere = Entry { node: Some(kvm2.clone()), ..entry("web-2") };
    let net = ObjectRef::on(Kind::Network, "lan".parse().unwrap(), &"kvm1".parse().unwrap());
    for entry in [entry("web-1"), elsewhere.clone(), Entry { object: net.clone(), node: None, ..entry("lan") }] {
        ledger.put_entry(entry).unwrap();
    }
    ledger.put_node(node("kvm1")).unwrap();
    ledger.begin(vec![intent("a", "web-1")], Vec::new()).unwrap();
    assert_eq!(ledger.forget_node(&"kvm1".parse().unwrap()).unwrap(), [net, object("web-1")]);
    assert_eq!(ledger.entries().into_values().collect::<Vec<_>>(), [elsewhere.into()]);
    assert!(ledger.open_intents().is_empty() && ledger.node(&"kvm1".parse().unwrap()).is_none());
}

#[test]
fn a_held_ledger_gives_the_published_copy_and_names_the_holder() {
    let place = Place::filled(3);
    let (store, _) = place.open();
    store.ledger(FLEET).put_entry(entry("late")).unwrap();
    let snapshot = place.read();
    assert_eq!(snapshot.owned(FLEET).entries.len(), 3, "as published when it was closed last");
    let Currency::Held(holder) = &snapshot.currency else { panic!("{:?}", snapshot.currency) };
    assert_eq!((holder.pid, holder.command.as_str()), (std::process::id(), "jvp apply"));
    store.publish().unwrap();
    assert_eq!(place.read().owned(FLEET).entries.len(), 4);

    let refused = Store::open(&place.state(), "jvp delete", NOW, Duration::from_millis(150)).err().unwrap();
    let told = refused.to_string();
    assert!(told.contains(&format!("held by `jvp apply` (process {}", std::process::id())), "{told}");
    store.close().unwrap();
    assert_eq!(place.read().currency, Currency::Current);
    place.open();
}

#[test]
fn a_reader_opens_nothing_where_the_copy_is_current() {
    let place = Place::filled(3);
    fs::rename(place.path("db"), place.path("elsewhere")).unwrap();
    let snapshot = place.read();
    assert_eq!((snapshot.currency, snapshot.opened), (Currency::Current, Opened::Whole));
    assert!(!place.path("db").exists());
}

#[test]
fn without_a_state_directory_there_is_nothing_and_none_is_made() {
    let place = Place::new();
    let path = place.0.path().join("none");
    let snapshot = Snapshot::read(&path, "jvp plan", NOW).unwrap();
    assert_eq!((snapshot.revision, snapshot.owned(FLEET)), (0, crate::plan::Owned::default()));
    assert!(!path.exists());
    assert_eq!(place.read().revision, 0);
    assert!(!place.path("").exists());
}

/// Damages the database of `place` and opens it: the answer and the ledger.
fn after(place: &Place, damage: impl FnOnce(&mut Vec<u8>)) -> (Opened, usize) {
    let log = place.path("db").join("db");
    let mut bytes = fs::read(&log).unwrap();
    damage(&mut bytes);
    fs::write(&log, bytes).unwrap();
    let (store, opened) = place.open();
    (opened, store.ledger(FLEET).entries().len())
}

fn last_byte(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap()
}

#[test]
fn damage_near_the_end_of_the_log_never_passes_for_a_whole_ledger() {
    let mut noticed = 0;
    for back in [1usize, 40, 300, 1_000, 4_000, 9_000, 20_000, 40_000, 60_000] {
        for cut in [false, true] {
            let place = Place::filled(400);
            fs::remove_file(place.path("ledger.json")).unwrap();
            let (opened, entries) = after(&place, |bytes| {
                let at = last_byte(bytes).saturating_sub(back);
                if cut {
                    bytes.truncate(at);
                } else {
                    bytes[at..].iter_mut().take(8).for_each(|byte| *byte = !*byte);
                }
            });
            match opened {
                Opened::Whole => assert_eq!(entries, 400, "{back} bytes from the end"),
                Opened::Damaged { aside, restored, .. } => {
                    noticed += 1;
                    assert!(aside.unwrap().is_dir());
                    assert_eq!((restored, entries), (false, 0));
                    assert!(fs::metadata(place.path("db")).is_ok(), "another was begun");
                }
            }
        }
    }
    assert!(noticed > 8, "{noticed} of 18");
}

#[test]
fn what_was_published_last_is_restored_after_damage() {
    let place = Place::filled(50);
    let (opened, entries) = after(&place, |bytes| bytes.truncate(last_byte(bytes) / 2));
    assert!(matches!(opened, Opened::Damaged { restored: true, .. }), "{opened:?}");
    assert_eq!(entries, 50);
    assert_eq!(place.open().1, Opened::Whole);
}

#[test]
fn a_copy_older_than_the_last_durable_write_restores_nothing() {
    let place = Place::filled(5);
    let old = fs::read(place.path("ledger.json")).unwrap();
    place.open().0.ledger(FLEET).begin(vec![intent("a", "web-1")], Vec::new()).unwrap();
    fs::write(place.path("ledger.json"), old).unwrap();
    fs::remove_dir_all(place.path("db")).unwrap();
    let (store, opened) = place.open();
    assert_eq!(opened, Opened::Damaged { aside: None, reason: "its files are gone".to_owned(), restored: false });
    assert!(store.ledger(FLEET).entries().is_empty());
}

#[test]
fn a_ledger_that_went_back_in_time_is_damaged() {
    let place = Place::filled(5);
    fs::write(place.path("HEAD"), shared::head_text(9999)).unwrap();
    let (store, opened) = place.open();
    let Opened::Damaged { reason, .. } = opened else { panic!("{opened:?}") };
    assert_eq!(reason, "it is at revision 5, and 9999 was written");
    store.close().unwrap();
    assert_eq!(fs::read_to_string(place.path("HEAD")).unwrap(), shared::head_text(10000), "revisions only grow");
}

#[test]
fn a_head_that_cannot_be_read_loses_nothing_of_a_ledger_that_is_whole() {
    for noise in ["binary noise", "", "7 00000000\n", "4\n"] {
        let place = Place::filled(5);
        fs::write(place.path("HEAD"), noise).unwrap();
        assert_eq!(place.read().owned(FLEET).entries.len(), 5);
        fs::write(place.path("HEAD"), noise).unwrap();
        let (store, opened) = place.open();
        assert_eq!((opened, store.ledger(FLEET).entries().len()), (Opened::Whole, 5));
        assert_eq!(fs::read_to_string(place.path("HEAD")).unwrap(), shared::head_text(5));
    }
    // An older database beside a copy that tells of more is none to go on with.
    let place = Place::filled(5);
    let kept = place.path("kept");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        assert!(std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    };
    copy(&place.path("db"), &kept);
    place.open().0.ledger(FLEET).put_entry(entry("more")).unwrap();
    fs::remove_dir_all(place.path("db")).unwrap();
    fs::rename(kept, place.path("db")).unwrap();
    fs::write(place.path("HEAD"), "binary noise").unwrap();
    let (store, opened) = place.open();
    assert!(matches!(opened, Opened::Damaged { restored: true, .. }), "{opened:?}");
    assert_eq!(store.ledger(FLEET).entries().len(), 6);
}

#[test]
fn a_kill_between_the_flush_and_head_loses_nothing() {
    let place = Place::filled(5);
    let head = fs::read(place.path("HEAD")).unwrap();
    place.open().0.ledger(FLEET).begin(vec![intent("a", "web-1")], Vec::new()).unwrap();
    fs::write(place.path("HEAD"), head).unwrap();
    fs::write(place.path("open"), "").unwrap();
    assert_eq!(place.read().owned(FLEET).intents.len(), 1, "a reader takes stock first");
    let (store, opened) = place.open();
    assert_eq!((opened, store.ledger(FLEET).open_intents().len()), (Opened::Whole, 1));
}

#[test]
fn a_deleted_ledger_is_a_new_one() {
    let place = Place::filled(5);
    fs::remove_dir_all(place.path("")).unwrap();
    let (store, opened) = place.open();
    assert_eq!((opened, store.ledger(FLEET).entries().len()), (Opened::Whole, 0));
}

/// Not a test of its own: what [`a_killed_writer_never_leaves_damage`] starts and kills.
#[test]
fn writer_to_be_killed() {
    let Some(path) = std::env::var_os("JVP_TEST_WRITER") else { return };
    let state = StateDir::open(path.as_ref()).unwrap();
    let (store, _) = Store::open(&state, "writer", NOW, Duration::ZERO).unwrap();
    let ledger = store.ledger(FLEET);
    for number in 0u64.. {
        let id = format!("{number:08}");
        ledger.begin((0..4).map(|part| intent(&format!("{id}-{part}"), "web-1")).collect(), Vec::new()).unwrap();
        fs::write(state.path().join("begun"), &id).unwrap();
        for part in 0..4 {
            let change = Change::Put(Box::new(entry(&format!("vm-{id}-{part}"))));
            ledger.complete(&format!("{id}-{part}"), Outcome::Verified, vec![change]).unwrap();
        }
        if number % 16 == 0 {
            store.publish().unwrap();
        }
    }
}

#[test]
fn a_killed_writer_never_leaves_damage() {
    let place = Place::new();
    for round in 0..std::env::var("JVP_TEST_KILLS").map_or(12, |n| n.parse().unwrap()) {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::writer_to_be_killed"])
            .env("JVP_TEST_WRITER", place.0.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(60 + round * 37 % 500));
        child.kill().unwrap();
        child.wait().unwrap();
        let (store, opened) = place.open();
        assert_eq!(opened, Opened::Whole, "round {round}");
        let ledger = store.ledger(FLEET);
        // Whatever was begun is either still open or has left its entry: an intent was on disk before its effect.
        if let Ok(id) = fs::read_to_string(place.0.path().join("begun"))
            && id.len() == 8
        {
            let open: BTreeSet<String> = ledger.open_intents().into_iter().map(|intent| intent.id).collect();
            for part in 0..4 {
                let ended = ledger.entry(&object(&format!("vm-{id}-{part}"))).is_some();
                assert!(ended || open.contains(&format!("{id}-{part}")), "round {round}: {id}-{part}");
            }
        }
        let _ = fs::remove_file(place.0.path().join("begun"));
        for intent in ledger.open_intents() {
            ledger.complete(&intent.id, Outcome::Failed, vec![]).unwrap();
        }
        for object in ledger.entries().into_keys() {
            ledger.remove_entry(&object).unwrap();
        }
    }
}

#[test]
fn a_store_that_fails_keeps_what_it_had() {
    for n in 1..12 {
        let store = Store::on(Box::new(FaultyKv::failing_at(n))).unwrap();
        let ledger = store.ledger(FLEET);
        let mut kept = 0;
        let error = (0..).find_map(|number| match ledger.put_entry(entry(&format!("vm-{number}"))) {
            Ok(()) => {
                kept += 1;
                None
            }
            Err(error) => Some(error),
        });
        assert_eq!(error.unwrap().to_string(), format!("the ledger failed: no space left (write {n})"));
        assert_eq!((ledger.entries().len(), kept), (kept, usize::try_from(n).unwrap() - 1));
    }
    let store = Store::on(Box::new(FaultyKv::read_only())).unwrap();
    let refused = store.ledger(FLEET).begin(vec![intent("a", "web-1")], Vec::new()).unwrap_err();
    assert_eq!(refused.to_string(), "the ledger failed: it is read-only");
    assert!(store.ledger(FLEET).open_intents().is_empty());
}

#[test]
fn one_flush_covers_all_intents_and_completions_need_none() {
    let kv = std::sync::Arc::new(FaultyKv::default());
    let store = Store::on(Box::new(kv.clone())).unwrap();
    let ledger = store.ledger(FLEET);
    ledger.begin((0..100).map(|number| intent(&format!("{number:03}"), "web-1")).collect(), Vec::new()).unwrap();
    assert_eq!(kv.writes(), 2, "one batch, one flush");
    ledger.complete("000", Outcome::Verified, vec![Change::Put(Box::new(entry("web-1")))]).unwrap();
    assert_eq!(kv.writes(), 3, "one batch");
}

#[test]
fn a_ledger_of_the_future_is_not_touched() {
    let kv = MemoryKv::default();
    kv.put("meta", br#"{"format":2,"revision":1,"sum":""}"#).unwrap();
    let refused = Store::on(Box::new(kv)).err().unwrap();
    assert!(matches!(refused, StoreError::Format { found: 2, known: 1 }));
}

#[test]
fn a_lease_is_one_holders_until_it_runs_out() {
    let kv = MemoryKv::default();
    let minute = SignedDuration::from_mins(1);
    let lease = kv.lease("apply", "a", NOW, minute).unwrap();
    assert_eq!(kv.lease("apply", "b", NOW, minute), Err(KvError::Held { by: "a".to_owned() }));
    assert!(kv.lease("apply", "a", NOW, minute).is_ok(), "renewed");
    assert_eq!(kv.lease("apply", "b", lease.until, minute).unwrap().holder, "b");
    assert!(Store::on(Box::new(kv)).is_ok(), "leases are no records");
}

#[test]
fn the_state_directory_is_its_owners_alone_to_write() {
    let place = Place::new();
    let state = place.state();
    for (name, mode) in [("ledger", 0o700), ("cache/images", 0o700)] {
        let path = state.private(name).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, mode);
    }
    fs::set_permissions(state.path().join("ledger"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(state.private("ledger").unwrap().metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(state.public("metadata").unwrap().metadata().unwrap().mode() & 0o777, 0o755);

    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o775)).unwrap();
    let refused = StateDir::open(state.path()).unwrap_err();
    assert!(matches!(refused, StoreError::Writable { mode: 0o775, .. }), "{refused}");
    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o755)).unwrap();

    std::os::unix::fs::symlink("/tmp", state.path().join("plans")).unwrap();
    assert!(matches!(state.private("plans"), Err(StoreError::NoFolder { .. })), "a link is followed nowhere");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(state.path(), Some(12345), None).unwrap();
        let refused = StateDir::open(state.path()).unwrap_err();
        assert!(matches!(refused, StoreError::Owner { owner: 12345, .. }), "{refused}");
        assert!(Snapshot::read(state.path(), "jvp plan", NOW).is_err());
    }
}

#[test]
fn the_writer_follows_from_the_machine_and_the_path() {
    let place = Place::new();
    let through = tempfile::tempdir().unwrap();
    let link = through.path().join("state");
    std::os::unix::fs::symlink(place.0.path(), &link).unwrap();
    let writer = place.state().writer().unwrap();
    assert_eq!(writer, StateDir::open(&link).unwrap().writer().unwrap());
    assert_ne!(writer, Place::new().state().writer().unwrap());
    let machine = Uuid::from_u128(3);
    let path = std::path::Path::new("/var/lib/jvp");
    assert_eq!(state::writer(machine, path).to_string(), "15694711-168d-519e-be2d-b44e99f7cb9d");
}

#[test]
fn the_key_is_made_once_and_shown_to_nobody() {
    let place = Place::new();
    let mac = place.state().mac_key().unwrap().mac(b"s3cret");
    assert_eq!(mac, place.state().mac_key().unwrap().mac(b"s3cret"));
    assert_ne!(mac, place.state().mac_key().unwrap().mac(b"other"));
    assert_eq!(place.0.path().join("secret.key").metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(format!("{:?}", MacKey::new([1; 32])), "(sensitive)");
    assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 1, "nothing is left beside it");
    let key = place.0.path().join("secret.key");
    let bytes = fs::read(&key).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        fs::write(&key, altered).unwrap();
        assert!(matches!(place.state().mac_key(), Err(StoreError::Key { .. })), "bit {bit}");
    }
    fs::write(&key, &bytes[..32]).unwrap();
    assert_eq!(mac, place.state().mac_key().unwrap().mac(b"s3cret"), "as before it had a sum");
    fs::write(&key, "short").unwrap();
    assert!(place.state().mac_key().is_err());
}

#[test]
fn the_history_tells_what_was_done_and_what_nobody_knows() {
    let place = Place::new();
    let (store, _) = place.open();
    let ledger = store.ledger(FLEET);
    ledger.begin(vec![intent("1-1-000000", "a"), intent("1-1-000001", "b"), intent("1-1-000002", "c")], Vec::new()).unwrap();
    let ending = Ending { outcome: Outcome::Failed, at: NOW.to_string(), why: Some("no space left".into()) };
    ledger.complete("1-1-000000", Outcome::Verified, Vec::new()).unwrap();
    ledger.complete("1-1-000001", ending, Vec::new()).unwrap();
    store.close().unwrap();
    drop(ledger);
    let told: Vec<_> = Snapshot::history(place.0.path(), FLEET)
        .events
        .into_iter()
        .map(|event| (event.object.name.to_string(), event.outcome, event.why, event.command))
        .collect();
    let done =
        |name: &str, outcome, why: Option<&str>| (name.to_owned(), outcome, why.map(str::to_owned), "jvp apply".to_owned());
    assert_eq!(
        told,
        [
            done("a", EventOutcome::Done, None),
            done("b", EventOutcome::Failed, Some("no space left")),
            done("c", EventOutcome::Unknown, None),
        ]
    );
    // Looking decides what is done next, and says nothing of what happened then.
    let (store, _) = place.open();
    let ledger = store.ledger(FLEET);
    ledger.complete("1-1-000002", Outcome::Settled, Vec::new()).unwrap();
    assert!(ledger.open_intents().is_empty());
    assert_eq!(ledger.history().events[2].outcome, EventOutcome::Unknown);
}

#[test]
fn a_lost_completion_leaves_its_event_as_unknown() {
    let place = Place::new();
    let (store, _) = place.open();
    store.ledger(FLEET).begin(vec![intent("1-1-000000", "a")], Vec::new()).unwrap();
    // As a kill leaves it: nothing is closed.
    std::mem::forget(store);
    let copy = Place::new();
    let status = std::process::Command::new("cp").arg("-a").arg(place.path("")).arg(copy.0.path()).status().unwrap();
    assert!(status.success());
    let (store, opened) = copy.open();
    assert_eq!(opened, Opened::Whole);
    let history = store.ledger(FLEET).history().events;
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].outcome, history[0].ended.as_deref()), (EventOutcome::Unknown, None));
}

#[test]
fn the_history_is_bounded_by_object() {
    let store = Store::in_memory();
    let ledger = store.ledger(FLEET);
    for number in 0..600 {
        let id = format!("1-1-{number:06}");
        ledger.begin(vec![intent(&id, "a"), intent(&format!("{id}-b"), if number < 3 { "b" } else { "a" })], Vec::new()).unwrap();
    }
    let history = ledger.history().events;
    let of = |name: &str| history.iter().filter(|event| event.object == object(name)).count();
    assert_eq!((of("a"), of("b")), (super::history::PER_OBJECT, 3), "the newest of each object are kept");
    assert!(history.iter().any(|event| event.id == "1-1-000599"));
}

#[test]
fn the_history_survives_the_loss_of_the_ledger_s_files() {
    let place = Place::new();
    let (store, _) = place.open();
    store.ledger(FLEET).begin(vec![intent("1-1-000000", "a")], Vec::new()).unwrap();
    store.close().unwrap();
    fs::remove_dir_all(place.path("db")).unwrap();
    let (store, opened) = place.open();
    assert!(matches!(opened, Opened::Damaged { restored: true, .. }));
    assert_eq!(store.ledger(FLEET).history().events.len(), 1);
}

#[test]
fn a_suspension_stays_until_it_is_taken_back() {
    let place = Place::new();
    let (store, _) = place.open();
    let suspension = crate::plan::Suspension {
        object: object("a"),
        since: NOW.to_string(),
        by: "ann".into(),
        reason: Some("disk rescue".into()),
    };
    store.ledger(FLEET).suspend(vec![suspension.clone()]).unwrap();
    store.close().unwrap();
    assert_eq!(place.read().owned(FLEET).suspended[&object("a")], suspension);
    let (store, _) = place.open();
    let ledger = store.ledger(FLEET);
    assert_eq!(ledger.owned().suspended.len(), 1);
    let later = NOW + SignedDuration::from_secs(60);
    ledger.resume(&[object("a")], &later.to_string(), "bob", None).unwrap();
    assert!(ledger.owned().suspended.is_empty());
    let words: Vec<_> = ledger.history().events.into_iter().map(|event| (event.op, event.why.unwrap())).collect();
    assert_eq!(words, [("suspend".to_owned(), "by ann: disk rescue".to_owned()), ("resume".to_owned(), "by bob".to_owned())]);
}
