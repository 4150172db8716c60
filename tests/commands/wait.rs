//! `jvp wait` and `jvp apply --wait`. What a guest does is done to its fake node while the program waits.

use std::process::{Child, Command, Stdio};

use jvp::host::fake::{FakeHost, Lease, State};

use super::{applied, edit, run};
use crate::checkout::Place;

/// Changes the node as its guest or somebody's hand does.
fn by_hand(place: &Place, change: impl FnOnce(&mut State)) {
    FakeHost::at("local", &place.path("fake").join("local.json")).with(change);
}

fn start(place: &Place, arguments: &[&str]) -> Child {
    let mut command: Command = place.command(env!("CARGO_BIN_EXE_jvp"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child, code: i32) -> String {
    let output = child.wait_with_output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

const RESULT: &str = "/run/cloud-init/result.json";

fn agent(state: &mut State) {
    state.agent_comes_up("web-1", &["127.0.0.1", "10.77.10.21"]);
}

fn cloud_init(state: &mut State, errors: &str) {
    let domain = state.domains.get_mut("web-1").unwrap();
    domain.guest_files.insert(RESULT.into(), format!("{{\"v1\": {{\"errors\": [{errors}]}}}}"));
}

#[test]
fn a_vm_is_waited_for_until_its_agent_address_and_cloud_init_are_there() {
    let place = applied();
    let child = start(&place, &["wait", "vm/web-1", "-f", "manifests", "--timeout", "2m"]);
    by_hand(&place, agent);
    by_hand(&place, |state| cloud_init(state, ""));
    let said = end(child, 0);
    assert!(said.starts_with("VirtualMachine/web-1 is Ready\n"), "{said}");
    for part in ["Running", "AddressAssigned: 10.77.10.21", "AgentConnected", "CloudInitDone"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn what_is_missing_when_time_is_up_is_named() {
    let place = applied();
    let said = run(&place, 5, &["wait", "vm/web-1", "-f", "manifests", "--timeout", "1s"]);
    assert!(said.contains("error: VirtualMachine/web-1: not within 1 s: AddressAssigned (no address is told yet)"), "{said}");
    assert!(said.contains("AgentConnected (no agent is there yet), CloudInitDone (no agent is there yet)"), "{said}");
    by_hand(&place, agent);
    let said = run(&place, 5, &["wait", "vm/web-1", "-f", "manifests", "--timeout", "1s"]);
    assert!(said.contains("not within 1 s: CloudInitDone (cloud-init is at work)"), "{said}");
}

#[test]
fn a_cloud_init_that_failed_is_not_waited_for_any_longer() {
    let place = applied();
    by_hand(&place, agent);
    by_hand(&place, |state| cloud_init(state, "\"('runcmd', 'exit 1')\""));
    let said = run(&place, 5, &["wait", "vm/web-1", "-f", "manifests", "--timeout", "20s"]);
    assert!(said.contains("waiting does not help: CloudInitDone (cloud-init ended with errors: ('runcmd', 'exit 1'))"), "{said}");
}

#[test]
fn one_condition_is_waited_for_by_name() {
    let place = applied();
    let one = |name: &str| format!("--for=condition={name}");
    run(&place, 0, &["wait", "vm/web-1", "-f", "manifests", &one("Running")]);
    run(&place, 0, &["wait", "network/lan", "-f", "manifests", &one("Ready")]);
    run(&place, 0, &["wait", "volume/web-1-root", "pool/demo", "template/debian-12", "-f", "manifests"]);
    // A lease is an address too, without any agent.
    by_hand(&place, |state| {
        let live = state.domains["web-1"].live.clone().unwrap();
        let mac = live.split("<mac address='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        let network = state.networks.get_mut("lan").unwrap();
        network.leases.push(Lease { mac, ip: "10.77.10.21".into(), hostname: None });
    });
    let said = run(&place, 0, &["wait", "vm/web-1", "-f", "manifests", &one("AddressAssigned")]);
    assert!(said.contains("AddressAssigned: 10.77.10.21"), "{said}");
    assert!(run(&place, 64, &["wait", "vm/web-1", &one("Redy")]).contains("AddressAssigned"));
    let said = run(&place, 5, &["wait", "network/lan", "-f", "manifests", &one("AgentConnected"), "--timeout", "20s"]);
    assert!(said.contains("a Network has no condition AgentConnected"), "{said}");
}

#[test]
fn what_can_t_be_known_of_a_vm_is_told_and_holds_up_nothing() {
    let place = Place::with(&["examples/bios"]);
    edit(&place, "examples/bios/network.yaml", "      dhcp:\n        ranges: [{start: 10.77.21.100, end: 10.77.21.199}]\n", "");
    let said = run(&place, 0, &["apply", "-f", "examples/bios", "-y", "--wait", "--timeout", "20s"]);
    assert!(said.contains("VirtualMachine/small: AddressAssigned is not waited for: none of its networks has DHCP"), "{said}");
    assert!(said.contains("AgentConnected is not waited for: nothing says that its image has an agent"), "{said}");
    assert!(said.contains("CloudInitDone is not waited for"), "{said}");
    assert!(said.contains("VirtualMachine/small is Ready"), "{said}");
    // Asked for by name it is said at once that it never comes.
    let place = Place::with(&["examples/bios"]);
    edit(&place, "examples/bios/network.yaml", "      dhcp:\n        ranges: [{start: 10.77.21.100, end: 10.77.21.199}]\n", "");
    edit(&place, "examples/bios/vm.yaml", "  memory: 512Mi", "  memory: 512Mi\n  guestAgent: false");
    run(&place, 0, &["apply", "-f", "examples/bios", "-y"]);
    let said =
        run(&place, 5, &["wait", "vm/small", "-f", "examples/bios", "--for=condition=AddressAssigned", "--timeout", "20s"]);
    assert!(said.contains("waiting does not help"), "{said}");
}

#[test]
fn an_apply_waits_for_its_vms_where_it_is_told_to() {
    let place = Place::with(&["manifests"]);
    let said = run(&place, 5, &["apply", "-f", "manifests", "-y", "--wait", "--timeout", "1s"]);
    assert!(said.contains("Done: ") && said.contains("not within 1 s"), "{said}");
    by_hand(&place, agent);
    by_hand(&place, |state| cloud_init(state, ""));
    let said = run(&place, 0, &["apply", "-f", "manifests", "-y", "--wait"]);
    assert!(said.contains("Nothing is to be done") && said.contains("VirtualMachine/web-1 is Ready"), "{said}");
    // One that is to be off, or is held still, is not waited for.
    run(&place, 0, &["suspend", "vm/web-1", "-f", "manifests"]);
    let said = run(&place, 0, &["apply", "-f", "manifests", "-y", "--wait"]);
    assert!(said.contains("it is suspended, and not waited for"), "{said}");
    run(&place, 0, &["resume", "vm/web-1", "-f", "manifests"]);
    edit(&place, "manifests/web-1.yaml", "runStrategy: Always", "runStrategy: Halted");
    let said = run(&place, 0, &["apply", "-f", "manifests", "-y", "--wait"]);
    assert!(said.contains("it is off, and runStrategy is Halted"), "{said}");
    run(&place, 64, &["apply", "-f", "manifests", "-y", "--timeout", "1s"]);
}

#[test]
fn what_is_deleted_is_waited_for() {
    let place = applied();
    let child = start(&place, &["wait", "vm/web-1", "-f", "manifests", "--for=delete", "--timeout", "2m"]);
    by_hand(&place, |state| {
        state.domains.remove("web-1");
    });
    assert!(end(child, 0).contains("VirtualMachine/web-1 is gone"));
    let said = run(&place, 0, &["wait", "vm/never-was", "-f", "manifests", "--for=delete"]);
    assert!(said.contains("vm/never-was is gone"), "{said}");
    let said = run(&place, 5, &["wait", "network/lan", "-f", "manifests", "--for=delete", "--timeout", "1s"]);
    assert!(said.contains("not within 1 s: it is there still"), "{said}");
}

#[test]
fn a_wait_ends_with_ctrl_c() {
    let place = applied();
    let child = start(&place, &["wait", "vm/web-1", "-f", "manifests", "--timeout", "20s", "--log-format", "json"]);
    // It has looked once before it can be interrupted.
    while !run(&place, 0, &["get", "vms", "-f", "manifests"]).contains("Running") {}
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert!(end(child, 5).contains("stopped as asked"));
}
