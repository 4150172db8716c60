//! `jvp suspend` and `jvp resume`.

use super::{applied, edit, json, run};
use crate::checkout::Place;

const PLAN: &[&str] = &["plan", "-f", "manifests", "--detailed-exitcode"];

#[test]
fn nothing_is_done_to_a_suspended_object_until_it_is_resumed() {
    let place = applied();
    edit(&place, "manifests/web-1.yaml", "The first web server", "Another title");
    let said = run(&place, 0, &["suspend", "vm/web-1", "-f", "manifests", "--reason", "disk rescue"]);
    assert_eq!(said, "VirtualMachine/web-1 suspended\n");
    let said = run(&place, 0, PLAN);
    assert!(
        said.contains("note: VirtualMachine/web-1: Suspended: nothing is done to it") && said.contains("disk rescue"),
        "{said}"
    );
    run(&place, 0, &["apply", "-f", "manifests", "-y"]);
    let said = run(&place, 0, &["resume", "vm/web-1", "-f", "manifests"]);
    assert!(said.starts_with("VirtualMachine/web-1 resumed\n"), "{said}");
    let said = run(&place, 2, PLAN);
    assert!(said.contains("title"), "{said}");
    run(&place, 0, &["apply", "-f", "manifests", "-y"]);
    run(&place, 0, PLAN);
}

#[test]
fn what_comes_with_a_suspended_object_rests_too_and_the_rest_goes_on() {
    let place = Place::with(&["examples/bios"]);
    let files = ["-f", "examples/bios"];
    run(&place, 0, &[&["apply", "-y"], &files[..]].concat());
    run(&place, 0, &[&["suspend", "vm/small"], &files[..]].concat());
    edit(&place, "examples/bios/vm.yaml", "pool: disks, source", "pool: disks, capacity: 9Gi, source");
    let said = run(&place, 0, &[&["plan", "--detailed-exitcode"], &files[..]].concat());
    assert!(said.contains("Volume/small.root: Suspended: it comes with VirtualMachine/small"), "{said}");
    run(&place, 0, &[&["resume", "vm/small"], &files[..]].concat());
    let output = place.jvp(&[&["plan"], &files[..]].concat());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("Volume/small.root") && !said.contains("Suspended"), "{said}");
}

#[test]
fn what_needs_a_suspended_object_that_is_not_there_is_blocked() {
    let place = Place::with(&["manifests"]);
    run(&place, 0, &["suspend", "network/lan", "-f", "manifests"]);
    let said = run(&place, 0, &["apply", "-f", "manifests", "-y"]);
    assert!(said.contains("Network/lan@local: Suspended"), "{said}");
    let said = run(&place, 0, PLAN);
    assert!(said.contains("VirtualMachine/web-1: Blocked: nothing is done for it, since it needs Network/lan@local"), "{said}");
    run(&place, 0, &["resume", "network/lan", "-f", "manifests"]);
    run(&place, 0, &["apply", "-f", "manifests", "-y"]);
    run(&place, 0, PLAN);
}

#[test]
fn no_vm_changes_a_network_that_is_suspended() {
    let place = applied();
    run(&place, 0, &["suspend", "network/lan", "-f", "manifests"]);
    edit(&place, "manifests/web-1.yaml", "10.77.10.21", "10.77.10.22");
    let said = run(&place, 0, PLAN);
    assert!(
        said.contains("VirtualMachine/web-1: Blocked: nothing is done for it, since it would change Network/lan@local"),
        "{said}"
    );
    run(&place, 0, &["resume", "--all", "-f", "manifests"]);
    run(&place, 2, PLAN);
}

#[test]
fn a_suspended_object_is_deleted_by_nobody() {
    let place = applied();
    run(&place, 0, &["suspend", "vm/web-1", "-f", "manifests", "--reason", "evidence"]);
    for arguments in [&["delete", "-f", "manifests", "-y"][..], &["delete", "vm/web-1", "-f", "manifests", "-y"]] {
        let said = run(&place, 6, arguments);
        assert!(said.contains("refused: VirtualMachine/web-1: nothing is done to it") && said.contains("jvp resume"), "{said}");
    }
    assert!(run(&place, 0, &["get", "vms", "-f", "manifests"]).contains("Running"));
}

#[test]
fn what_is_asked_for_by_hand_is_done_to_a_suspended_vm() {
    let place = applied();
    run(&place, 0, &["suspend", "vm/web-1", "-f", "manifests"]);
    let said = run(&place, 0, &["vm", "stop", "web-1", "-f", "manifests"]);
    assert!(said.contains("what is asked for by hand is done"), "{said}");
    let said = run(&place, 0, PLAN);
    assert!(!said.contains("will be started"), "{said}");
}

#[test]
fn all_is_suspended_at_once_and_shown_everywhere() {
    let place = applied();
    let said = run(&place, 0, &["suspend", "--all", "-f", "manifests", "--reason", "move"]);
    for object in ["VirtualMachine/web-1", "Network/lan@local", "StoragePool/demo@local", "KeyPair/ops", "Volume/web-1-root"] {
        assert!(said.contains(&format!("{object} suspended")), "{said}");
    }
    assert!(!said.contains("Node/"), "{said}");
    let wide = run(&place, 0, &["get", "all", "-f", "manifests", "-o", "wide"]);
    assert!(wide.lines().filter(|line| line.contains("Suspended")).count() >= 7, "{wide}");
    let page = run(&place, 0, &["describe", "vm/web-1", "-f", "manifests"]);
    assert!(page.contains("Suspended") && page.contains("move"), "{page}");
    let object = json(&place, &["get", "vm/web-1", "-f", "manifests", "-o", "json"]);
    assert!(object["status"]["conditions"].to_string().contains("Suspended"), "{object}");
    // Without any manifest too.
    std::fs::rename(place.path("checkout").join("manifests"), place.path("away")).unwrap();
    assert!(run(&place, 0, &["describe", "vm/web-1"]).contains("Suspended"));
    let said = run(&place, 0, &["resume", "--all"]);
    assert!(said.contains("VirtualMachine/web-1 resumed"), "{said}");
    assert!(run(&place, 0, &["resume", "--all"]).contains("nothing is suspended"));
}

#[test]
fn what_cant_be_suspended_is_said() {
    let place = applied();
    assert!(run(&place, 1, &["suspend", "vm/web-2", "-f", "manifests"]).contains("did you mean VirtualMachine/web-1?"));
    assert!(run(&place, 64, &["suspend", "node/local", "-f", "manifests"]).contains("can't be suspended"));
    run(&place, 64, &["suspend", "-f", "manifests"]);
    assert!(run(&place, 0, &["resume", "vm/web-1", "-f", "manifests"]).contains("was not suspended"));
}

#[test]
fn a_plan_that_was_saved_before_a_suspension_is_refused() {
    let place = applied();
    edit(&place, "manifests/web-1.yaml", "The first web server", "Another title");
    run(&place, 0, &["plan", "-f", "manifests", "--out", "a.plan"]);
    run(&place, 0, &["suspend", "vm/web-1", "-f", "manifests"]);
    assert!(run(&place, 6, &["apply", "a.plan"]).contains("what the plan was made from has changed"));
}

#[test]
fn a_prune_leaves_what_is_suspended() {
    let place = Place::with(&["examples/bios"]);
    let files = ["-f", "examples/bios"];
    run(&place, 0, &[&["apply", "-y"], &files[..]].concat());
    run(&place, 0, &[&["suspend", "vm/small", "--reason", "evidence"], &files[..]].concat());
    std::fs::remove_file(place.path("checkout").join("examples/bios/vm.yaml")).unwrap();
    let said = run(&place, 0, &[&["apply", "-y", "--prune"], &files[..]].concat());
    assert!(said.contains("VirtualMachine/small: Suspended") && said.contains("Volume/small.root: Suspended"), "{said}");
    assert!(run(&place, 0, &[&["get", "vms"], &files[..]].concat()).contains("Running"));
    run(&place, 0, &[&["resume", "vm/small"], &files[..]].concat());
    let said = run(&place, 0, &[&["plan", "--prune", "--max-deletes", "100%"], &files[..]].concat());
    assert!(said.contains("- VirtualMachine/small"), "{said}");
}

#[test]
fn a_network_is_not_restarted_beneath_a_suspended_vm_and_one_that_is_plugs_it_in_when_resumed() {
    let place = applied();
    run(&place, 0, &["suspend", "vm/web-1", "-f", "manifests"]);
    edit(&place, "manifests/network.yaml", "lan.internal", "other.internal");
    let apply = ["apply", "-f", "manifests", "-y", "--allow-disconnect", "Network/lan"];
    let said = run(&place, 6, &apply);
    assert!(said.contains("cuts off what is suspended: VirtualMachine/web-1") && said.contains("jvp resume"), "{said}");
    edit(&place, "manifests/network.yaml", "other.internal", "lan.internal");
    run(&place, 0, PLAN);
    // A hand may stop it, and an apply starts it again; the guest is left alone still.
    run(&place, 0, &["network", "stop", "lan", "-f", "manifests", "--allow-disconnect", "Network/lan"]);
    let said = run(&place, 0, &apply);
    assert!(said.contains("VirtualMachine/web-1 was cut off and is suspended"), "{said}");
    run(&place, 0, PLAN);
    run(&place, 0, &["network", "stop", "lan", "-f", "manifests", "--allow-disconnect", "Network/lan"]);
    run(&place, 0, &["network", "start", "lan", "-f", "manifests"]);
    assert!(run(&place, 0, PLAN).contains("was cut off and is suspended"));
    run(&place, 0, &["resume", "vm/web-1", "-f", "manifests"]);
    let said = run(&place, 2, PLAN);
    assert!(said.contains("guests.web-1: cut off"), "{said}");
    run(&place, 0, &apply);
    run(&place, 0, PLAN);
}
