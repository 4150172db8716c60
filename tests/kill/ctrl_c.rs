//! Ctrl-C at any point of an apply: the first lets the step in flight end and begins no other, a second leaves at once. The next run ends
//! as a clean one.
//!
//! A run of the tests takes a sample of the points, `JVP_TEST_CALLS=all` takes all.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::checkout::{Place, node};
use crate::sample::{below, chosen};
use crate::{done, running};

const CHECKOUT: &str = "examples/bios";
const APPLY: &[&str] = &["apply", "-f", CHECKOUT, "-y", "--parallelism", "1"];

/// The state of a process: `T` where it stands still, none where it ended.
fn state(child: &mut Child) -> Option<char> {
    if child.try_wait().unwrap().is_some() {
        return None;
    }
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

/// Runs an apply in a process group of its own, as a shell at a terminal does, until it stands still at a point; what it was sent it meets
/// as it goes on. Whether it got there.
fn interrupted(place: &Place, point: u64, signals: &[&str]) -> (Output, bool) {
    let mut command = place.command(env!("CARGO_BIN_EXE_jvp"));
    command.args(APPLY).env("JVP_FAILPOINT", format!("journal:{point}:stop"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap();
    let there = loop {
        match state(&mut child) {
            None => break false,
            Some('T') => break true,
            Some(_) => thread::sleep(Duration::from_millis(2)),
        }
    };
    let group = format!("-{}", child.id());
    for signal in signals.iter().filter(|_| there) {
        assert!(Command::new("kill").args([signal, "--", &group]).status().unwrap().success());
    }
    (child.wait_with_output().unwrap(), there)
}

/// The steps that the history tells of, and how each ended.
fn steps(place: &Place) -> Vec<Value> {
    serde_json::from_str(&done(place, &["history", "-f", CHECKOUT, "--limit", "0", "-o", "json"])).unwrap()
}

#[test]
fn a_ctrl_c_at_any_point_leaves_nothing_half_done_and_the_next_run_ends_as_a_clean_one() {
    const STEP: u64 = 9;
    let clean = Place::with(&[CHECKOUT]);
    done(&clean, APPLY);
    let all = steps(&clean).len();
    done(&clean, APPLY);
    let (wanted, runs) = (node(&clean, "local"), running(&clean));
    let number = chosen("every ninth point");
    let mut tried = [0, 0];
    // The second signal is another one, since two of a kind that wait are one.
    for (way, signals) in [&["-INT", "-CONT"][..], &["-INT", "-TERM", "-CONT"]].into_iter().enumerate() {
        let first = number.map_or(0, |number| below(number, &format!("{signals:?}"), STEP));
        for point in (1 + first..).step_by(usize::try_from(number.map_or(1, |_| STEP)).unwrap()) {
            let place = Place::with(&[CHECKOUT]);
            let (output, there) = interrupted(&place, point, signals);
            let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let what = format!("{signals:?} at point {point}: {:?}\n{text}", output.status);
            if !there {
                assert!(output.status.success(), "{what}");
                break;
            }
            tried[way] += 1;
            // Where these were the last, nothing is left.
            let is_over = output.status.code() == Some(0);
            let says = |what: &str| text.contains(what);
            let stops = says("finishing the steps in flight") && says("stopped as asked");
            assert!(!says("error:") && (is_over || (output.status.code() == Some(5) && stops)), "{what}");
            let steps = steps(&place);
            assert!(steps.len() <= all, "{what}");
            if way == 0 {
                // One may have been written before its turn came.
                let ended = |step: &Value| step["outcome"] == "Done" || step["outcome"] == "NotBegun";
                assert!(steps.iter().all(ended), "{what}\n{steps:#?}");
            }
            let said = done(&place, APPLY);
            let found = node(&place, "local");
            assert!(found == wanted, "{what}\nit ended as\n{found:#}\nand not as\n{wanted:#}\n{said}");
            assert_eq!(running(&place), runs, "{what}\n{said}");
            done(&place, &["plan", "-f", CHECKOUT, "--detailed-exitcode"]);
        }
    }
    eprintln!("a first Ctrl-C at {} points, and a second at {}", tried[0], tried[1]);
    assert!(tried.iter().all(|tried| *tried > 1), "{tried:?}");
}
