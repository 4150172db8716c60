//! Killed at every fail point, before and after each effect and at its recording: the next run ends as one clean run does, and what is
//! somebody else's on the node stays as it is.

use std::collections::BTreeMap;
use std::path::Path;

use crate::checkout::{Checkout, ground};
use crate::foreign;
use crate::scenarios::FLEET;
use crate::support::{Lab, left_out, still_qcow2};

pub(crate) type Inventory = BTreeMap<String, String>;

/// `pool` is the folder of the pool; `strategy` says whether the first VM runs.
pub(crate) fn manifests(uri: &str, pool: &str, strategy: &str) -> String {
    let ground = ground(uri, FLEET, "main", Path::new(pool));
    format!(
        r#"{ground}---
apiVersion: jvp.dev/v1alpha1
kind: Network
metadata: {{name: lan}}
spec:
  mode: NAT
  ips:
  - address: 198.18.7.1/24
    dhcp: {{ranges: [{{start: 198.18.7.100, end: 198.18.7.200}}]}}
---
apiVersion: jvp.dev/v1alpha1
kind: KeyPair
metadata: {{name: admin}}
spec: {{generate: true}}
---
apiVersion: jvp.dev/v1alpha1
kind: Template
metadata: {{name: tiny}}
spec: {{pool: main, source: {{file: tiny.qcow2}}, format: qcow2}}
---
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {{name: web}}
spec:
  memory: 96Mi
  runStrategy: {strategy}
  disks:
  - {{name: root, claim: {{pool: main, source: {{template: tiny}}}}}}
  - {{name: data, claim: {{pool: main, capacity: 8Mi}}}}
  interfaces:
  - {{name: eth0, network: lan, ip: 198.18.7.10}}
  cloudInit: {{hostname: web, runCmd: ["true"]}}
---
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {{name: off}}
spec:
  memory: 128Mi
  runStrategy: Halted
  firmware: {{type: UEFI}}
  disks:
  - {{name: root, claim: {{pool: main, capacity: 8Mi, format: raw}}}}
"#
    )
}

pub(crate) const DELETE: [&str; 5] = ["delete", "-y", "--with-data", "--force-stop", "VM/web"];

/// What differs between two inventories, in words.
pub(crate) fn difference(clean: &Inventory, found: &Inventory) -> String {
    let mut text = String::new();
    for name in clean.keys().chain(found.keys().filter(|name| !clean.contains_key(*name))) {
        match (clean.get(name), found.get(name)) {
            (Some(_), None) => text.push_str(&format!("missing: {name}\n")),
            (None, Some(_)) => text.push_str(&format!("too much: {name}\n")),
            (Some(clean), Some(found)) if clean != found => {
                text.push_str(&format!("differs: {name}\n--- clean\n{clean}\n--- found\n{found}\n"));
            }
            _ => {}
        }
    }
    text
}

/// Kills at the points `first`, `first + step`, … on a node of its own, which `reset` makes as it was before jvp came. Returns how many
/// runs of apply and delete were killed.
fn kills(checkout: &Checkout, inventory: &dyn Fn() -> Inventory, reset: &dyn Fn(), first: u32, step: usize) -> (u32, u32) {
    let untouched = inventory();
    checkout.jvp(&["apply", "-y"]).exits(0);
    let clean = inventory();
    checkout.jvp(&DELETE).exits(0);
    assert_eq!(difference(&untouched, &inventory()), "", "a clean delete leaves nothing");
    let (mut applies, mut deletes) = (0, 0);
    let (mut apply_ends, mut delete_ends) = (true, true);
    for point in (first..).step_by(step) {
        checkout.lose_state();
        reset();
        if apply_ends {
            apply_ends = checkout.killed(&["apply", "-y"], point);
            applies += u32::from(apply_ends);
        }
        let again = checkout.jvp(&["apply", "-y"]);
        assert_eq!(again.code, Some(0), "apply after an apply that was killed at point {point}:\n{}", again.text);
        let plan = checkout.jvp(&["plan", "--detailed-exitcode"]);
        assert_eq!(plan.code, Some(0), "plan after an apply that was killed at point {point}:\n{}", plan.text);
        let found = difference(&clean, &inventory());
        assert_eq!(found, "", "after an apply that was killed at point {point}, whose next said:\n{}", again.text);
        if delete_ends {
            delete_ends = checkout.killed(&DELETE, point);
            deletes += u32::from(delete_ends);
        }
        let again = checkout.jvp(&DELETE);
        assert_eq!(again.code, Some(0), "delete after a delete that was killed at point {point}:\n{}", again.text);
        let found = difference(&untouched, &inventory());
        assert_eq!(found, "", "after a delete that was killed at point {point}, whose next said:\n{}", again.text);
        if !apply_ends && !delete_ends {
            break;
        }
    }
    (applies, deletes)
}

/// Two nodes side by side, each of which takes every other point.
fn two(one: impl Fn(u32) -> (u32, u32) + Sync) {
    let (odd, even) = std::thread::scope(|scope| {
        let (odd, even) = (scope.spawn(|| one(1)), scope.spawn(|| one(2)));
        (odd.join().unwrap(), even.join().unwrap())
    });
    let (applies, deletes) = (odd.0 + even.0, odd.1 + even.1);
    eprintln!("{applies} kills of an apply, {deletes} of a delete");
    assert!(applies >= 60 && deletes >= 30, "{applies} kills of an apply, {deletes} of a delete");
}

#[test]
fn a_kill_at_any_point_ends_as_a_clean_run() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(2);
    two(|first| {
        let node = if first == 1 { "a" } else { "b" };
        foreign::put(&lab, node);
        let pool = lab.images(node).join("main");
        // Starting QEMU and cutting its power take most of the time: the fake's turn has them.
        let checkout = Checkout::new(&manifests(&lab.uri(node), &pool.to_string_lossy(), "Halted"));
        checkout.copy(&still_qcow2(), "tiny.qcow2");
        let reset = || {
            // Each begins without the pool's folder, as the first did.
            if pool.exists() {
                std::fs::remove_dir_all(&pool).expect("it can be removed");
            }
        };
        let inventory = || -> Inventory { lab.inventory(node).into_iter().chain(foreign::state(&lab, node)).collect() };
        kills(&checkout, &inventory, &reset, first, 2)
    });
}

#[test]
fn a_kill_at_any_point_on_fake_nodes_ends_as_a_clean_run() {
    let folder = tempfile::tempdir().unwrap();
    two(|first| {
        let state = folder.path().join(format!("node{first}.json"));
        let uri = format!("fake://{}", state.display());
        let checkout = Checkout::new(&manifests(&uri, "/srv/main", "Always")).with_env("JVP_FAKE", "1");
        // The least that is a qcow2 file: a header and its two tables, a cluster each.
        let mut image = vec![0; 3 << 16];
        image[..8].copy_from_slice(b"QFI\xfb\0\0\0\x02");
        image[20..24].copy_from_slice(&16_u32.to_be_bytes());
        image[24..32].copy_from_slice(&(4_u64 << 20).to_be_bytes());
        image[36..40].copy_from_slice(&1_u32.to_be_bytes());
        image[40..48].copy_from_slice(&(1_u64 << 16).to_be_bytes());
        image[48..56].copy_from_slice(&(2_u64 << 16).to_be_bytes());
        image[56..60].copy_from_slice(&1_u32.to_be_bytes());
        std::fs::write(checkout.folder().join("tiny.qcow2"), image).unwrap();
        let inventory = || {
            let mut all = Inventory::new();
            let Ok(text) = std::fs::read_to_string(&state) else { return all };
            let node: serde_json::Value = serde_json::from_str(&text).unwrap();
            for kind in ["pools", "networks", "domains", "files"] {
                for (name, object) in node[kind].as_object().unwrap() {
                    let mut object = object.clone();
                    // Ids, who wrote last, and which files a pool has looked into are no part of it.
                    for key in ["live", "written", "seen", "known", "ports"] {
                        object.as_object_mut().unwrap().remove(key);
                    }
                    all.insert(format!("{kind} {name}"), object.to_string());
                }
            }
            all
        };
        let reset = || {
            let _ = std::fs::remove_file(&state);
        };
        kills(&checkout, &inventory, &reset, first, 2)
    });
}

#[test]
fn a_restart_that_is_killed_at_any_point_leaves_a_vm_of_ones_own_hand_running() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let manifests = |memory: u32| {
        format!(
            "{}---\napiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: web}}\n\
             spec: {{memory: {memory}Mi, runStrategy: Manual, autostart: false}}\n",
            ground(&lab.uri("a"), FLEET, "main", &lab.images("a").join("main"))
        )
    };
    let checkout = Checkout::new(&manifests(96));
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&["vm", "start", "web"]).exits(0);
    // Its power is cut: a guest without an OS hears no request.
    let restart = ["apply", "-y", "--allow-restart", "VM/web", "--force-stop", "VM/web"];
    let mut kills = 0;
    for memory in (100..).step_by(4) {
        checkout.write("all.yaml", &manifests(memory));
        if !checkout.killed(&restart, kills + 1) {
            break;
        }
        kills += 1;
        let again = checkout.jvp(&restart).exits(0);
        let said = format!("killed at point {kills}, and the next said:\n{}", again.text);
        assert_eq!(lab.virsh("a", &["domstate", "web"]).trim(), "running", "{said}");
        let live = lab.virsh("a", &["dumpxml", "web"]);
        assert!(live.contains(&format!("<memory unit='KiB'>{}</memory>", memory * 1024)), "{said}\n{live}");
        checkout.jvp(&["plan", "--detailed-exitcode"]).exits(0);
    }
    assert!(kills >= 8, "only {kills} fail points");
    checkout.jvp(&["delete", "-y", "--force-stop", "VM/web"]).exits(0);
}
