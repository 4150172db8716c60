//! A guest's console through the program: a real guest's first words on a terminal.

use crate::pty::Pty;
use crate::scenarios::{FLEET, base, checkout, lab_or_return, machine};
use crate::support::{Lab, left_out};

#[test]
fn a_guest_is_spoken_to_on_its_console() {
    let lab = lab_or_return!(1);
    let manifests = base(&lab, "a", FLEET, "", 7)
        + &machine("talks", "", "  runStrategy: Manual\n  console: {serial: true}")
        + &machine("mute", "", "  runStrategy: Manual\n  console: {serial: false}");
    let checkout = checkout(&manifests, false);
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&["vm", "console", "talks", "--no-tty"]).exits(1).says("is off");
    checkout.jvp(&["vm", "start", "talks", "mute"]).exits(0);
    checkout.jvp(&["vm", "console", "mute", "--no-tty"]).exits(1).says("has no serial console");

    let mut pty = Pty::new();
    let before = pty.modes();
    let mut child = pty.spawn(&mut checkout.command(&["vm", "console", "talks"]));
    pty.shows("jvp-tiny: up");
    // It is a shell: what is typed comes back, and what it does.
    pty.shows("tiny#");
    pty.types(b"echo $((6 * 7))-is-it\r");
    pty.shows("42-is-it");

    // One at a time, unless somebody takes it.
    checkout.jvp(&["vm", "console", "talks", "--no-tty"]).exits(1).says("--force");
    let mut second = Pty::new();
    let mut thief = second.spawn(&mut checkout.command(&["vm", "console", "talks", "--force"]));
    second.shows("ends it");
    child.wait().expect("the first is told that its console is gone");
    assert_eq!(pty.modes(), before, "the terminal is as it was");
    second.types(b"\recho second-$((1 + 1))\r");
    second.shows("second-2");
    second.types(b"\x1d");
    assert!(thief.wait().expect("it can be waited for").success());
    // The guest goes on, and its console can be opened again.
    let mut third = Pty::new();
    let mut again = third.spawn(&mut checkout.command(&["vm", "console", "talks"]));
    third.shows("ends it");
    third.types(b"\recho third-$((1 + 2))\r");
    third.shows("third-3");
    // A guest that stops ends it.
    checkout.jvp(&["vm", "stop", "talks", "--force"]).exits(0);
    again.wait().expect("it can be waited for");
    third.shows("console of VirtualMachine/talks");
    checkout.jvp(&["delete", "-y", "--with-data", "--force-stop", "VM/mute"]).exits(0);
}
