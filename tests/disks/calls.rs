//! Calls of a run's to its disk that fail: from one of them on all those that need room, or all; or one alone. Whatever the run was for,
//! one more makes it as wanted.

use std::fs;
use std::process::Output;

use crate::checkout::{Place, ended, node};
use crate::sample::{below, chosen};
use crate::shim::through;
use crate::{APPLY, CHECKOUT, Ground, converges, ended_in_order, said, stride};

/// A run that is tried.
struct Run {
    name: &'static str,
    /// What there is before it.
    before: fn(&Place),
    arguments: &'static [&'static str],
    /// What must go well after it and say the same as after a clean run, times and other numbers apart.
    after: &'static [&'static str],
    /// How many calls it does at least.
    least: usize,
}

const EMPTY: &[&str] = &["plan", "-f", CHECKOUT, "--detailed-exitcode"];
const CREATION: Run = Run { name: "a creation", before: |_| {}, arguments: &APPLY, after: EMPTY, least: 100 };
const DAEMON: Run =
    Run { name: "a daemon", before: |_| {}, arguments: &["daemon", "--source", CHECKOUT, "--once"], after: EMPTY, least: 100 };
const CHANGE: Run = Run { name: "a change", before: changed, arguments: &APPLY, after: EMPTY, least: 50 };
const DELETE: Run = Run {
    name: "a delete",
    before: applied,
    arguments: &["delete", "-f", CHECKOUT, "-y", "--with-data"],
    after: &["get", "all", "-f", CHECKOUT, "-o", "name"],
    least: 50,
};
const SUSPEND: Run = Run {
    name: "a word that an object rests",
    before: applied,
    arguments: &["suspend", "vm/small", "-f", CHECKOUT, "--reason", "a try"],
    after: EMPTY,
    least: 10,
};
const RESUME: Run = Run {
    name: "a word that it rests no more",
    before: suspended,
    arguments: &["resume", "vm/small", "-f", CHECKOUT],
    after: EMPTY,
    least: 10,
};

fn done(place: &Place, arguments: &[&str]) -> String {
    let output = place.jvp(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn applied(place: &Place) {
    done(place, &APPLY);
}

fn suspended(place: &Place) {
    applied(place);
    done(place, SUSPEND.arguments);
}

/// The VM gets a title, memory that waits, a disk and an address.
fn changed(place: &Place) {
    applied(place);
    let file = place.path("checkout").join(CHECKOUT).join("vm.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let more = "    - {name: more, claim: {pool: disks, capacity: 16Mi}}\n  title: Changed\n  interfaces:\n";
    let text = text.replace("  interfaces:\n", more).replace("network: lan}", "network: lan, ip: 10.77.21.10}");
    assert!(text.contains(more) && text.contains("10.77.21.10"), "{text}");
    fs::write(file, text).unwrap();
}

/// What a command says, without numbers.
fn told(place: &Place, arguments: &[&str]) -> String {
    done(place, arguments).replace(|c: char| c.is_ascii_digit(), "")
}

/// The run through the shim.
fn run(place: &Place, run: &Run, what: (&str, &str)) -> Output {
    let mut command = place.command(env!("CARGO_BIN_EXE_jvp"));
    through(&mut command, &place.path("state"));
    ended(command.args(run.arguments).env(what.0, what.1))
}

/// Has calls of a run fail, all of them or about so many. Where they are enough to tell, a fair share of the runs is to fail.
fn fails(wanted: &Run, how: &str, points: usize) {
    let mut ground = Ground::new();
    (wanted.before)(&ground.place);
    ground.keep();
    let counts = ground.place.path("counts");
    let clean = run(&ground.place, wanted, ("JVP_DISK_COUNT", counts.to_str().unwrap()));
    assert!(clean.status.success(), "{}: {}", wanted.name, said(&clean));
    let counts = fs::read_to_string(counts).unwrap();
    let calls = counts.lines().map(|count| count.parse::<usize>().unwrap()).max().unwrap();
    assert!(calls >= wanted.least, "{}: only {calls} calls", wanted.name);
    let (end, after) = (node(&ground.place, "local"), told(&ground.place, wanted.after));
    let (theirs, what) = (ground.theirs(), format!("{}, {how}", wanted.name));
    let number = chosen(&format!("{points} calls of {what}"));
    let stride = number.map_or(1, |_| stride(calls.div_ceil(points)));
    let first = number.map_or(0, |number| usize::try_from(below(number, &what, stride as u64)).unwrap());
    let (mut tried, mut failed) = (0, 0);
    for call in (1 + first..=calls).step_by(stride) {
        let what = format!("{what} from call {call} of {calls} on");
        let place = ground.reset();
        let output = run(place, wanted, ("JVP_DISK_FAIL", &format!("{call}:{how}")));
        ended_in_order(&output, &what);
        tried += 1;
        failed += usize::from(!output.status.success());
        converges(place, wanted.arguments, &end, &what, &said(&output));
        assert_eq!(told(place, wanted.after), after, "{what}");
        assert_eq!(ground.theirs(), theirs, "{what}");
    }
    assert_eq!(tried, (calls - first).div_ceil(stride), "{what}");
    // One call alone may be of something that a run can do without.
    let (enough, share) = if ["once", "late"].contains(&how) { (16, 4) } else { (3, 2) };
    assert!(tried < enough || failed * share >= tried, "{what}: only {failed} of {tried} runs failed");
    eprintln!("{what}: {failed} of {tried} runs failed, of {calls} calls");
}

#[test]
fn an_apply_whose_disk_is_full_from_any_call_on_is_made_whole_by_one_more() {
    fails(&CREATION, "full", 4);
    fails(&CHANGE, "full", 1);
}

#[test]
fn an_apply_whose_disk_is_full_in_the_middle_of_any_write_is_made_whole_by_one_more() {
    fails(&CREATION, "short", 2);
    fails(&CHANGE, "short", 1);
}

#[test]
fn an_apply_whose_disk_is_read_only_from_any_call_on_is_made_whole_by_one_more() {
    fails(&CREATION, "readonly", 3);
    fails(&CHANGE, "readonly", 1);
}

#[test]
fn an_apply_one_of_whose_calls_fails_is_made_whole_by_one_more() {
    fails(&CREATION, "once", 4);
    fails(&CHANGE, "once", 1);
}

#[test]
fn an_apply_one_of_whose_calls_fails_after_a_while_is_made_whole_by_one_more() {
    fails(&CREATION, "late", 4);
    fails(&CHANGE, "late", 1);
}

#[test]
fn a_delete_whose_disk_fails_at_any_call_is_made_whole_by_one_more() {
    fails(&DELETE, "full", 1);
    fails(&DELETE, "short", 1);
    fails(&DELETE, "readonly", 1);
    fails(&DELETE, "once", 1);
    fails(&DELETE, "late", 1);
}

#[test]
fn a_word_that_an_object_rests_whose_disk_fails_at_any_call_is_made_whole_by_one_more() {
    for run in [&SUSPEND, &RESUME] {
        fails(run, "full", 1);
        fails(run, "readonly", 1);
        fails(run, "once", 1);
    }
}

#[test]
fn a_daemon_whose_disk_is_full_from_any_call_on_is_made_whole_by_one_more() {
    fails(&DAEMON, "full", 2);
    fails(&DAEMON, "short", 1);
}

#[test]
fn a_daemon_whose_disk_is_read_only_from_any_call_on_is_made_whole_by_one_more() {
    fails(&DAEMON, "readonly", 2);
}

#[test]
fn a_daemon_one_of_whose_calls_fails_is_made_whole_by_one_more() {
    fails(&DAEMON, "once", 2);
}

#[test]
fn a_daemon_one_of_whose_calls_fails_after_a_while_is_made_whole_by_one_more() {
    fails(&DAEMON, "late", 2);
}
