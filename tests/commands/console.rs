//! `jvp vm console`, on a terminal and in a pipe. A fake guest says its name, gives back what is typed, and ends at Ctrl-D.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{applied, edit, run};
use crate::checkout::Place;
use crate::pty::Pty;

fn console(place: &Place) -> Command {
    let mut command = place.command(env!("CARGO_BIN_EXE_jvp"));
    command.args(["vm", "console", "web-1", "-f", "manifests"]);
    command
}

#[test]
fn a_console_carries_bytes_both_ways_until_the_escape_character() {
    let place = applied();
    let mut pty = Pty::new();
    let before = pty.modes();
    let mut child = pty.spawn(&mut console(&place));
    pty.shows("Ctrl and ] (^]) ends it");
    pty.shows("web-1 login: ");
    assert_ne!(pty.modes(), before, "the terminal is raw meanwhile");
    // Ctrl-C is the guest's.
    pty.types(b"root\x03\r");
    pty.shows("login: root\x03\r");
    pty.types(b"\x1d");
    assert!(child.wait().unwrap().success());
    assert_eq!(pty.modes(), before, "and is put back");
}

#[test]
fn the_terminal_is_put_back_whatever_ends_a_console() {
    let place = applied();
    for signal in ["TERM", "HUP", "INT"] {
        let pty = Pty::new();
        let before = pty.modes();
        let mut child = pty.spawn(&mut console(&place));
        pty.shows("web-1 login: ");
        let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        child.wait().unwrap();
        assert_eq!(pty.modes(), before, "{signal}");
    }
    let mut pty = Pty::new();
    let before = pty.modes();
    let mut child = pty.spawn(&mut console(&place));
    pty.shows("web-1 login: ");
    pty.types(b"\x04");
    assert!(child.wait().unwrap().success());
    pty.shows("the console of VirtualMachine/web-1 ended");
    assert_eq!(pty.modes(), before, "the guest's side ended");
}

#[test]
fn another_character_may_end_a_console() {
    let place = applied();
    let mut pty = Pty::new();
    let mut child = pty.spawn(console(&place).args(["--escape", "^A"]));
    pty.shows("Ctrl and A (^A) ends it");
    pty.types(b"\x1d");
    pty.shows("login: \x1d");
    pty.types(b"\x01");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_console_in_a_pipe_needs_a_word() {
    let place = applied();
    let output = console(&place).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--no-tty"));
    // The escape character is a byte like any other there, and the end of the input ends nothing.
    let mut command = console(&place);
    command.arg("--no-tty").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"ls\x1d\n\x04").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"web-1 login: ls\x1d\n");
    assert!(output.status.success());
}

#[test]
fn why_there_is_no_console_is_said() {
    let place = applied();
    let said = run(&place, 1, &["vm", "console", "web-2", "-f", "manifests", "--no-tty"]);
    assert!(said.contains("did you mean VirtualMachine/web-1?"), "{said}");
    run(&place, 64, &["vm", "console", "network/lan", "-f", "manifests", "--no-tty"]);
    run(&place, 0, &["vm", "stop", "web-1", "-f", "manifests"]);
    let said = run(&place, 1, &["vm", "console", "web-1", "-f", "manifests", "--no-tty"]);
    assert!(said.contains("VirtualMachine/web-1 is off") && said.contains("jvp vm start web-1"), "{said}");
    let place = Place::with(&["examples/bios"]);
    edit(&place, "examples/bios/vm.yaml", "  memory: 512Mi", "  memory: 512Mi\n  console: {serial: false}");
    run(&place, 0, &["apply", "-f", "examples/bios", "-y"]);
    let output = place.jvp(&["vm", "console", "small", "-f", "examples/bios", "--no-tty"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("has no serial console") && said.contains("console: {serial: true}"), "{said}");
}
