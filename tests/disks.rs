//! A disk that is full, read-only, goes bad or loses what it said was safe, at any call of a run's: nothing is taken for what it isn't,
//! and one more run makes it as wanted. And the ledger with any bit of it flipped.
//!
//! The suite takes a sample of the calls and bits; `JVP_TEST_DISKS=all` takes all, `JVP_TEST_DISKS=N` each N-th.

#![cfg(debug_assertions)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and tells how much it tried"
)]

#[path = "disks/bits.rs"]
mod bits;
#[path = "disks/calls.rs"]
mod calls;
mod checkout;
mod sample;
#[path = "disks/shim.rs"]
mod shim;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Output};

use checkout::{Place, ended, node};
use jvp::host::fake::FakeHost;
use serde_json::Value;
use shim::{Leaves, events, image, lay_out, through};

const CHECKOUT: &str = "examples/bios";
const APPLY: [&str; 4] = ["apply", "-f", CHECKOUT, "-y"];

/// Each how manieth of the cases is tried.
fn stride(otherwise: usize) -> usize {
    match std::env::var("JVP_TEST_DISKS").as_deref() {
        Ok("all") => 1,
        Ok(number) => number.parse().unwrap(),
        Err(_) => otherwise,
    }
}

/// Somebody else's things, on the node that the set is for.
const THEIRS: &str = r"apiVersion: jvp.dev/v1alpha1
kind: Fleet
metadata: {name: theirs}
spec: {id: 2f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10}
---
apiVersion: jvp.dev/v1alpha1
kind: StoragePool
metadata: {name: theirs}
spec: {type: Dir, target: {path: /srv/theirs}}
---
apiVersion: jvp.dev/v1alpha1
kind: Network
metadata: {name: theirs}
spec: {mode: Isolated}
---
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {name: theirs}
spec: {memory: 64Mi, accelerator: TCG, disks: [{name: root, claim: {pool: theirs, capacity: 8Mi}}]}
";

/// A checkout, and a node on which another fleet's things are.
struct Ground {
    place: Place,
    node: Vec<u8>,
}

impl Ground {
    fn new() -> Self {
        let place = Place::with(&[CHECKOUT]);
        let theirs = place.path("theirs");
        fs::create_dir(&theirs).unwrap();
        fs::write(theirs.join("all.yaml"), THEIRS).unwrap();
        let state = place.path("their-state");
        let mut command = place.command(env!("CARGO_BIN_EXE_jvp"));
        let output = command.current_dir(theirs).env("JVP_STATE_DIR", state).args(["apply", "-y"]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let mut ground = Self { place, node: Vec::new() };
        ground.keep();
        ground
    }

    /// What there is from now on in the beginning: at first jvp knows nothing, and has made nothing.
    fn keep(&mut self) {
        self.node = fs::read(self.place.path("fake").join("local.json")).unwrap();
        self.copy("state", "kept");
    }

    /// As it was in the beginning.
    fn reset(&self) -> &Place {
        self.copy("kept", "state");
        fs::write(self.place.path("fake").join("local.json"), &self.node).unwrap();
        &self.place
    }

    fn copy(&self, from: &str, to: &str) {
        let to = self.place.path(to);
        if to.exists() {
            fs::remove_dir_all(&to).unwrap();
        }
        assert!(Command::new("cp").arg("-a").arg(self.place.path(from)).arg(to).status().unwrap().success());
    }

    /// What is the other fleet's, to the byte.
    fn theirs(&self) -> Value {
        let text = fs::read_to_string(self.place.path("fake").join("local.json")).unwrap();
        let state: Value = serde_json::from_str(&text).unwrap();
        let of = |kind: &str| state[kind]["theirs"].clone();
        let [pool, network, domain] = ["pools", "networks", "domains"].map(of);
        assert!(domain["live"].is_string() && pool.is_object() && network.is_object(), "{state:#}");
        let files = state["files"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/srv/theirs/"));
        let files: BTreeMap<String, Value> = files.map(|(path, file)| (path.clone(), file.clone())).collect();
        assert!(!files.is_empty(), "{state:#}");
        serde_json::json!([pool, network, domain, files])
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What must hold of any run's end, whatever its disk did.
fn ended_in_order(output: &Output, what: &str) {
    let said = said(output);
    assert!(
        output.status.code().is_some_and(|code| code < 7) && !said.contains("panicked"),
        "{what}: {:?}\n{said}",
        output.status
    );
    assert!(
        output.status.success() || said.contains("error") || said.contains("refused: "),
        "{what}: it failed and didn't say why\n{said}"
    );
}

/// One more run makes it as wanted.
fn converges(place: &Place, run: &[&str], wanted: &Value, what: &str, before: &str) {
    let output = place.jvp(run);
    let text = said(&output);
    assert!(output.status.success(), "{what}: the next run failed\n{text}\nafter\n{before}");
    assert!(!text.contains("panicked"), "{what}: {text}");
    let found = node(place, "local");
    assert!(found == *wanted, "{what}: it ended as\n{found:#}\nand not as\n{wanted:#}\n{text}\nafter\n{before}");
}

/// There is nothing left to do.
fn is_done(place: &Place, what: &str) {
    let output = place.jvp(&["plan", "-f", CHECKOUT, "--detailed-exitcode"]);
    assert!(output.status.success(), "{what}: there is more to do\n{}", said(&output));
}

/// What `run` did to the disk, call by call.
fn recorded(place: &Place, run: &[&str]) -> Vec<shim::Event> {
    let log = place.path("log");
    let mut command = place.command(env!("CARGO_BIN_EXE_jvp"));
    through(&mut command, &place.path(""));
    let output = ended(command.args(run).env("JVP_DISK_LOG", &log));
    assert!(output.status.success(), "{}", said(&output));
    let all = events(&log, &place.path(""));
    all.into_iter().filter(|event| event.path.starts_with("state") || event.path.starts_with("fake")).collect()
}

/// The moments at which the power may go: after each call of many, but for those at which the fake node's file is half written.
fn moments(events: &[shim::Event], stride: usize) -> impl Iterator<Item = usize> {
    let half = |until: usize| {
        events[..until].iter().rfind(|event| event.path.starts_with("fake")).is_some_and(|event| event.call == "truncate")
    };
    (1..=events.len()).step_by(stride).filter(move |until| !half(*until))
}

#[test]
fn a_power_cut_at_any_call_of_an_apply_is_made_whole_by_one_more() {
    let ground = Ground::new();
    let events = recorded(&ground.place, &APPLY);
    let wanted = node(&ground.place, "local");
    let mut cuts = 0;
    for until in moments(&events, stride(37)) {
        for leaves in [Leaves::Nothing, Leaves::All, Leaves::Some { seed: until as u64 }] {
            let place = ground.reset();
            lay_out(&image(&events, until, events.len(), leaves, "fake"), &place.path(""));
            let last = &events[until - 1];
            let what = format!("cut after call {until} of {} ({} {:?}), {leaves:?}", events.len(), last.call, last.path);
            let damaged = place
                .path("state")
                .join("ledger")
                .read_dir()
                .is_ok_and(|mut folder| folder.any(|entry| entry.unwrap().file_name().to_string_lossy().contains("damaged")));
            converges(place, &APPLY, &wanted, &what, "");
            is_done(place, &what);
            assert!(!damaged, "{what}: a disk that kept what it said was safe is no damage");
            cuts += 1;
        }
    }
    eprintln!("{cuts} power cuts among {} calls", events.len());
}

fn unchosen(mut state: Value) -> Value {
    for kind in ["pools", "networks", "domains"] {
        for object in state[kind].as_object_mut().unwrap().values_mut() {
            object.as_object_mut().unwrap().remove("autostart");
        }
    }
    state
}

/// Does what refused runs say is to be done until one goes well, and gives what that one said.
fn helped(place: &Place, mut text: String, what: &str) -> String {
    let host = FakeHost::at("local", &place.path("fake").join("local.json"));
    for _ in 0..6 {
        let mut tried = 0;
        for line in text.lines() {
            let between = |before: &str, after: &str| Some(line.split_once(before)?.1.split(after).next()?.to_owned());
            if let Some(object) = between("jvp adopt ", " ") {
                let output = place.jvp(&["adopt", &object, "-f", CHECKOUT, "-y"]);
                assert!(output.status.success(), "{what}: {}\nafter\n{text}", said(&output));
                tried += 1;
            } else if let Some(key) = between("the key ", " is damaged: ") {
                fs::remove_file(key).unwrap();
                tried += 1;
            } else if let Some(path) = between("`", "` may be what an interrupted run left") {
                let name = path.rsplit('/').next().unwrap();
                host.with(|state| {
                    // It is told of more than once.
                    state.files.remove(&path);
                    state.pools.values_mut().for_each(|pool| _ = pool.known.remove(name));
                });
                tried += 1;
            } else if let Some(folder) =
                between("error: ", "': No such file or directory").filter(|_| text.contains("Once it is there"))
            {
                host.with(|state| state.folders.insert(folder.rsplit('\'').next().unwrap().to_owned()));
                tried += 1;
            }
        }
        assert!(tried > 0, "{what}: it doesn't say what to do: {text}");
        let output = place.jvp(&APPLY);
        ended_in_order(&output, what);
        text = said(&output);
        if output.status.success() {
            return text;
        }
    }
    panic!("{what}: doing what it says leads nowhere: {text}");
}

#[test]
fn a_disk_that_lies_about_what_it_keeps_is_noticed_or_made_whole_and_nothing_is_done_twice() {
    let ground = Ground::new();
    let events = recorded(&ground.place, &APPLY);
    let (wanted, theirs) = (node(&ground.place, "local"), ground.theirs());
    let mut ends = BTreeMap::<i32, usize>::new();
    let mut refusals = BTreeSet::new();
    for until in moments(&events, stride(37)) {
        let seed = until as u64;
        // From some moment on nothing was kept for sure, and the power goes later.
        let honest = shim::Dice::new(seed).below(until + 1);
        for leaves in [Leaves::Nothing, Leaves::Some { seed }] {
            let place = ground.reset();
            lay_out(&image(&events, until, honest, leaves, "fake"), &place.path(""));
            let what = format!("cut after call {until} of {}, honest until {honest}, {leaves:?}", events.len());
            let output = place.jvp(&APPLY);
            ended_in_order(&output, &what);
            *ends.entry(output.status.code().unwrap()).or_default() += 1;
            let found = node(place, "local");
            if output.status.success() {
                // What jvp chooses where it makes something it doesn't choose for what it finds.
                assert!(unchosen(found.clone()) == unchosen(wanted.clone()), "{what}: it ended as\n{found:#}\n{}", said(&output));
                converges(place, &APPLY, &found, &what, &said(&output));
                is_done(place, &what);
                continue;
            }
            let text = said(&output);
            assert_eq!(ground.theirs(), theirs, "{what}: {text}");
            refusals.extend(text.lines().filter(|line| line.contains("refused") || line.contains("help:")).map(str::to_owned));
            for kind in ["domains", "networks", "pools", "files"] {
                let (found, wanted) = (found[kind].as_object().unwrap(), wanted[kind].as_object().unwrap());
                assert!(found.keys().all(|name| wanted.contains_key(name)), "{what}: {kind}: {:?}", found.keys());
            }
            let after = helped(place, text, &what);
            assert_eq!(ground.theirs(), theirs, "{what}: {after}");
            assert!(unchosen(node(place, "local")) == unchosen(wanted.clone()), "{what}: after what was asked for: {after}");
            is_done(place, &what);
        }
    }
    eprintln!("a disk that lies: exit codes of the next run: {ends:?}\n{}", refusals.into_iter().collect::<Vec<_>>().join("\n"));
}
