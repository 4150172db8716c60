//! Commands that tell of objects and hold them still, as they are run, on fake nodes: history, suspend and resume, why, wait.

#![cfg(debug_assertions)]
#![expect(clippy::unwrap_used, reason = "a test that can't read its cases has failed")]
#![expect(clippy::print_stderr, reason = "a test says which sample it took")]

mod checkout;
mod pty;
mod sample;

#[path = "commands/console.rs"]
mod console;
#[path = "commands/daemon.rs"]
mod daemon;
#[path = "commands/hangs.rs"]
mod hangs;
#[path = "commands/history.rs"]
mod history;
#[path = "commands/machines.rs"]
mod machines;
#[path = "commands/suspend.rs"]
mod suspend;
#[path = "commands/wait.rs"]
mod wait;
#[path = "commands/why.rs"]
mod why;
#[path = "commands/windows.rs"]
mod windows;

use std::fs;

use checkout::Place;

/// Runs jvp, wants the exit code, and gives what it said.
fn run(place: &Place, code: i32, arguments: &[&str]) -> String {
    let output = place.jvp(arguments);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "jvp {}\n{text}", arguments.join(" "));
    text
}

/// Standard output alone, as JSON.
fn json(place: &Place, arguments: &[&str]) -> serde_json::Value {
    let output = place.jvp(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A checkout that was applied.
fn applied() -> Place {
    let place = Place::with(&["manifests"]);
    run(&place, 0, &["apply", "-f", "manifests", "-y"]);
    place
}

/// Changes a text of a manifest.
fn edit(place: &Place, file: &str, old: &str, new: &str) {
    let path = place.path("checkout").join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(old), "{file} has no `{old}`");
    fs::write(path, text.replace(old, new)).unwrap();
}
