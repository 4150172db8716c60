//! Waiting for real guests: a tiny one takes an address by DHCP and has no agent.

use crate::scenarios::{FLEET, base, checkout, lab_or_return, machine};
use crate::support::{Lab, left_out};

#[test]
fn a_guest_is_waited_for_as_far_as_it_can_tell() {
    let lab = lab_or_return!(1);
    let manifests = base(&lab, "a", FLEET, "", 7)
        + &machine("asks", "", "  runStrategy: Always")
        + &machine("stands", "", "  runStrategy: Halted");
    let checkout = checkout(&manifests, false);
    checkout
        .jvp(&["apply", "-y", "--wait", "--timeout", "5m"])
        .exits(0)
        .says("VirtualMachine/asks: AddressAssigned: 198.18.7.")
        .says("VirtualMachine/asks: AgentConnected is not waited for: nothing says that its image has an agent")
        .says("VirtualMachine/asks is Ready")
        .says("it is off, and runStrategy is Halted");
    // It has a channel, and nobody at its end.
    checkout
        .jvp(&["wait", "vm/asks", "--for=condition=CloudInitDone", "--timeout", "3s"])
        .exits(5)
        .says("not within 3 s: CloudInitDone (no agent is there yet)");
    checkout.jvp(&["wait", "vm/stands", "--for=condition=Running", "--timeout", "3s"]).exits(5).says("Running (it is off)");
    checkout.jvp(&["wait", "network/lan", "pool/main", "template/tiny"]).exits(0);
    // What is taken down in the meantime is gone.
    let mut wait = checkout.command(&["wait", "vm/asks", "--for=delete", "--timeout", "5m"]).spawn().expect("jvp can be started");
    checkout.jvp(&["delete", "vm/asks", "-y"]).exits(0);
    assert!(wait.wait().expect("it can be waited for").success());
    checkout.jvp(&["delete", "-y", "--with-data"]).exits(0);
}
