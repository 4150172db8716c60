//! Killed anywhere, run again, it converges: an apply is killed at each of its fail points (before and after every effect, and before
//! its record), and the next run ends as one clean run does. No orphan, no duplicate, no "already exists".

#![cfg(debug_assertions)]
#![expect(clippy::unwrap_used, reason = "a test that can't read its cases has failed")]
#![expect(clippy::print_stderr, reason = "a test says which sample it took")]

mod checkout;
#[path = "kill/ctrl_c.rs"]
mod ctrl_c;
mod sample;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;

use checkout::{Place, node};
use serde_json::Value;

/// What runs, as far as a manifest can say it.
fn running(place: &Place) -> BTreeMap<String, jvp::manifest::Leaves> {
    let state: Value = serde_json::from_str(&fs::read_to_string(place.path("fake").join("local.json")).unwrap()).unwrap();
    let live = state["domains"].as_object().unwrap().iter().filter_map(|(name, domain)| Some((name, domain["live"].as_str()?)));
    live.map(|(name, text)| (name.clone(), jvp::plan::domain_leaves(&jvp::xml::domain::project(text).unwrap()))).collect()
}

/// Kills an apply at each point in turn and runs it again.
fn kill_everywhere(checkout: &str) {
    kill_changes(checkout, &[]);
}

/// The same for an apply of changed manifests, on what the unchanged ones made.
fn kill_changes(checkout: &str, changes: &[(&str, &str)]) {
    let arguments = ["apply", "-f", checkout, "-y", "--parallelism", "1"];
    let make = || {
        let place = Place::with(&[checkout]);
        if !changes.is_empty() {
            done(&place, &arguments);
        }
        for (file, text) in changes {
            fs::write(place.path("checkout").join(checkout).join(file), text).unwrap();
        }
        place
    };
    kill_each(&make, &arguments, &arguments, &["plan", "-f", checkout, "--detailed-exitcode"], 20);
}

/// Runs jvp, which must go well, and gives what it said.
fn done(place: &Place, arguments: &[&str]) -> String {
    let output = place.jvp(arguments);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

/// Kills `act` at each point in turn, runs `again`, and looks whether it ended as a clean one does, with an empty `plan`. At least so
/// many points there must be.
fn kill_each(make: &dyn Fn() -> Place, act: &[&str], again: &[&str], plan: &[&str], least: u32) {
    let clean = make();
    done(&clean, act);
    done(&clean, again);
    let (wanted, runs) = (node(&clean, "local"), running(&clean));
    let mut kills = 0;
    loop {
        let point = kills + 1;
        let place = make();
        let program = env!("CARGO_BIN_EXE_jvp");
        let killed = place.command(program).args(act).env("JVP_FAILPOINT", format!("journal:{point}:kill")).output().unwrap();
        if killed.status.success() {
            break;
        }
        assert_eq!(killed.status.signal(), Some(9), "point {point}: {}", String::from_utf8_lossy(&killed.stderr));
        kills = point;
        let said = done(&place, again);
        let found = node(&place, "local");
        assert!(found == wanted, "{act:?}, killed at point {point}: it ended as\n{found:#}\nand not as\n{wanted:#}\n{said}");
        assert_eq!(running(&place), runs, "{act:?}, killed at point {point}: something else runs\n{said}");
        done(&place, plan);
    }
    assert!(kills >= least, "{act:?}: only {kills} fail points");
}

#[test]
fn a_vm_with_its_disk_and_network_survives_a_kill_anywhere() {
    kill_everywhere("examples/bios");
}

#[test]
fn volumes_of_all_kinds_survive_a_kill_anywhere() {
    kill_everywhere("examples/volumes");
}

#[test]
fn networks_and_kept_addresses_survive_a_kill_anywhere() {
    kill_everywhere("examples/networks");
}

/// The VM of `examples/bios`, changed in all the ways that there are: what comes and goes while it runs, and what waits.
const CHANGED: &str = r"
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {name: small}
spec:
  memory: 640Mi
  maxMemory: 1Gi
  cpu: {count: 2, max: 4}
  title: Not so small
  firmware: {type: BIOS}
  guestAgent: false
  console: {vnc: {listen: 127.0.0.1}}
  disks:
    - {name: root, claim: {pool: disks, source: {template: debian-12}}}
    - {name: more, claim: {pool: disks, capacity: 16Mi}}
  interfaces:
    - {name: lan, network: second, linkState: down}
    - {name: again, network: lan, ip: 10.77.21.21}
  xml: <domain><devices><rng model='virtio'><backend model='random'>/dev/urandom</backend><alias name='ua-rng'/></rng></devices></domain>
---
apiVersion: jvp.dev/v1alpha1
kind: Network
metadata: {name: second}
spec: {mode: Isolated}
";

#[test]
fn a_vm_that_is_changed_while_it_runs_survives_a_kill_anywhere() {
    kill_changes("examples/bios", &[("vm.yaml", CHANGED)]);
}

#[test]
fn a_vm_that_is_restarted_for_a_change_survives_a_kill_anywhere() {
    let restarted = CHANGED.replace("  title: Not so small\n", "  updatePolicy: {restart: Now}\n");
    kill_changes("examples/bios", &[("vm.yaml", &restarted)]);
}

/// A VM that runs by this strategy, with this memory.
fn machine(strategy: &str, memory: &str) -> String {
    format!(
        "apiVersion: jvp.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: restarts}}\n\
         spec: {{id: 6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10}}\n---\n\
         apiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: web}}\n\
         spec: {{memory: {memory}, accelerator: TCG, runStrategy: {strategy}}}\n"
    )
}

/// What jvp stopped to start it again starts again, also where its strategy leaves alone a VM that is off.
#[test]
fn a_restart_that_is_killed_anywhere_leaves_no_vm_off_whatever_its_strategy() {
    let plan = ["plan", "--detailed-exitcode"];
    for strategy in ["Manual", "Once", "RerunOnFailure"] {
        let make = |memory: &str| {
            let place = Place::with(&[]);
            let file = place.path("checkout").join("all.yaml");
            fs::write(&file, machine(strategy, "96Mi")).unwrap();
            done(&place, &["apply", "-y"]);
            if strategy == "Manual" {
                done(&place, &["vm", "start", "web"]);
            }
            fs::write(file, machine(strategy, memory)).unwrap();
            place
        };
        let restart = ["apply", "-y", "--allow-restart", "VM/web"];
        kill_each(&|| make("128Mi"), &restart, &restart, &plan, 8);
        kill_each(&|| make("96Mi"), &["vm", "restart", "web"], &["apply", "-y"], &plan, 6);
    }
}

/// A VM that is rebuilt when what cloud-init is told changes: two disks from a template, and a blank one.
const REBUILT: &str = r"
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {name: small}
spec:
  memory: 512Mi
  disks:
    - {name: root, claim: {pool: disks, source: {template: debian-12}}}
    - {name: copy, claim: {pool: disks, source: {template: debian-12}, clone: Full, format: raw}}
    - {name: data, claim: {pool: disks, capacity: 16Mi}}
  interfaces: [{name: lan, network: lan}]
  cloudInit: {hostname: one, onChange: Rebuild}
";

/// Has guests write to all of their disks.
fn write_disks(place: &Place) {
    let file = place.path("fake").join("local.json");
    let mut state: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    for (path, disk) in state["files"].as_object_mut().unwrap() {
        if path.contains("/small.") {
            disk["digest"] = "written by the guest".into();
        }
    }
    fs::write(file, state.to_string()).unwrap();
}

#[test]
fn a_vm_that_is_rebuilt_survives_a_kill_anywhere_and_keeps_its_blank_disks() {
    let checkout = "examples/bios";
    let words =
        ["--allow-restart", "VM/small", "--allow-data-loss", "Volume/small.root", "--allow-data-loss", "Volume/small.copy"];
    let mut arguments = vec!["apply", "-f", checkout, "-y", "--parallelism", "1"];
    let first = arguments.clone();
    arguments.extend(words);
    let fresh = || {
        let place = Place::with(&[checkout]);
        let file = place.path("checkout").join(checkout).join("vm.yaml");
        fs::write(&file, REBUILT).unwrap();
        done(&place, &first);
        write_disks(&place);
        fs::write(file, REBUILT.replace("hostname: one", "hostname: two")).unwrap();
        place
    };
    kill_each(&fresh, &arguments, &arguments, &["plan", "-f", checkout, "--detailed-exitcode"], 20);
    let clean = fresh();
    done(&clean, &arguments);
    let state = node(&clean, "local");
    let digest = |disk: &str| {
        let files = state["files"].as_object().unwrap();
        let (_, file) = files.iter().find(|(path, _)| path.contains(&format!("/small.{disk}."))).unwrap();
        file["digest"].clone()
    };
    assert_eq!(digest("data"), "written by the guest");
    assert!(digest("root").is_null() && digest("copy") != "written by the guest", "{state:#}");
}

/// What is there before: a pool that may move, one that stays, volumes, and a running VM on a network and on two of the volumes.
const BEFORE: &str = r"apiVersion: jvp.dev/v1alpha1
kind: Fleet
metadata: {name: change}
spec: {id: 6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10}
---
apiVersion: jvp.dev/v1alpha1
kind: StoragePool
metadata: {name: empty}
spec: {type: Dir, target: {path: /srv/old}}
---
apiVersion: jvp.dev/v1alpha1
kind: StoragePool
metadata: {name: main}
spec: {type: Dir, target: {path: /srv/main}}
---
apiVersion: jvp.dev/v1alpha1
kind: Volume
metadata: {name: data}
spec: {pool: main, capacity: 8Mi}
---
apiVersion: jvp.dev/v1alpha1
kind: Volume
metadata: {name: free}
spec: {pool: main, capacity: 8Mi, format: raw}
---
apiVersion: jvp.dev/v1alpha1
kind: Network
metadata: {name: lan}
spec:
  mode: NAT
  ips: [{address: 198.18.7.1/24, dhcp: {ranges: [{start: 198.18.7.100, end: 198.18.7.200}]}}]
---
apiVersion: jvp.dev/v1alpha1
kind: Network
metadata: {name: names}
spec: {mode: Isolated, ips: [{address: 198.18.8.1/24}], dns: {hosts: [{ip: 198.18.8.5, names: [db.lab]}]}}
---
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {name: web}
spec:
  memory: 96Mi
  accelerator: TCG
  disks: [{name: root, claim: {pool: main, capacity: 8Mi}}, {name: data, volume: data}]
  interfaces: [{name: eth0, network: lan, ip: 198.18.7.10}]
";

#[test]
fn changes_of_networks_pools_and_volumes_survive_a_kill_anywhere() {
    let change = |text: &str| {
        text.replace("/srv/old", "/srv/new")
            .replace("capacity: 8Mi", "capacity: 16Mi")
            .replace("  mode: NAT\n", "  mode: NAT\n  mtu: 1400\n  domain: lab.test\n")
            .replace("end: 198.18.7.200", "end: 198.18.7.150")
            .replace(
                "{ip: 198.18.8.5, names: [db.lab]}",
                "{ip: 198.18.8.5, names: [db.lab, sql.lab]}, {ip: 198.18.8.6, names: [x.lab]}",
            )
    };
    let arguments = ["apply", "-y", "--parallelism", "1", "--allow-disconnect", "Network/lan"];
    let make = || {
        let place = Place::with(&[]);
        let file = place.path("checkout").join("all.yaml");
        fs::write(&file, BEFORE).unwrap();
        done(&place, &["apply", "-y"]);
        fs::write(file, change(BEFORE)).unwrap();
        place
    };
    assert!(done(&make(), &arguments).contains("disconnects web"));
    kill_each(&make, &arguments, &arguments, &["plan", "--detailed-exitcode"], 40);
}

#[test]
fn a_password_that_was_begun_and_taken_back_is_the_old_one_after_a_kill_anywhere() {
    let make = || {
        let place = Place::with(&[]);
        let screen = "TCG, console: {vnc: {listen: 127.0.0.1, password: {valueFrom: {env: JVP_VAR_VNC_PASSWORD}}}}";
        fs::write(place.path("checkout").join("all.yaml"), machine("Always", "96Mi").replace("TCG", screen)).unwrap();
        done(&place, &["apply", "-y"]);
        place
    };
    let wanted = node(&make(), "local");
    let mut kills = 0;
    loop {
        let place = make();
        let mut command = place.command(env!("CARGO_BIN_EXE_jvp"));
        let point = format!("journal:{}:kill", kills + 1);
        let killed =
            command.args(["apply", "-y"]).env("JVP_VAR_VNC_PASSWORD", "other").env("JVP_FAILPOINT", point).output().unwrap();
        if killed.status.success() {
            break;
        }
        assert_eq!(killed.status.signal(), Some(9), "{}", String::from_utf8_lossy(&killed.stderr));
        kills += 1;
        done(&place, &["apply", "-y"]);
        assert!(node(&place, "local") == wanted, "killed at point {kills}, it has another password");
    }
    assert!(kills >= 3, "only {kills} fail points");
}
