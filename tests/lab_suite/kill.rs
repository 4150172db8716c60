//! Killed at every fail point, before and after each effect and at its recording: the next run ends as one clean run does.

use std::collections::BTreeMap;

use crate::checkout::Checkout;
use crate::support::{Lab, left_out, tiny};

fn manifests(lab: &Lab, node: &str) -> String {
    format!(
        r#"apiVersion: jvp.dev/v1alpha1
kind: Fleet
metadata: {{name: kill}}
spec: {{id: 6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10}}
---
apiVersion: jvp.dev/v1alpha1
kind: Node
metadata: {{name: host}}
spec: {{uri: "{uri}", defaults: {{accelerator: TCG}}}}
---
apiVersion: jvp.dev/v1alpha1
kind: StoragePool
metadata: {{name: main}}
spec: {{type: Dir, target: {{path: {pool}}}}}
lifecycle: {{reclaimPolicy: Delete}}
---
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
  runStrategy: Always
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
"#,
        uri = lab.uri(node),
        pool = lab.images(node).join("main").display(),
    )
}

const DELETE: [&str; 5] = ["delete", "-y", "--with-data", "--force-stop", "VM/web"];

/// What differs between two inventories, in words.
fn difference(clean: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> String {
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

/// Kills at the points `first`, `first + step`, … on a node of its own. Returns how many runs of apply and delete were killed.
fn kills(lab: &Lab, node: &str, first: u32, step: usize) -> (u32, u32) {
    let checkout = Checkout::new(&manifests(lab, node));
    checkout.copy(&tiny(false), "tiny.qcow2");
    let untouched = lab.inventory(node);
    checkout.jvp(&["apply", "-y"]).exits(0);
    let clean = lab.inventory(node);
    checkout.jvp(&DELETE).exits(0);
    assert_eq!(difference(&untouched, &lab.inventory(node)), "", "a clean delete leaves nothing");
    let (mut applies, mut deletes) = (0, 0);
    let (mut apply_ends, mut delete_ends) = (true, true);
    for point in (first..).step_by(step) {
        // The digest of a made key is in the seed's name: the key stays the same.
        if let Ok(ledger) = std::fs::read_dir(checkout.state()) {
            for entry in ledger.flatten().filter(|entry| entry.file_name() != "keypairs") {
                let path = entry.path();
                if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
                    .expect("it can be removed");
            }
        }
        // Each begins without the pool's folder, as the first did.
        let folder = lab.images(node).join("main");
        if folder.exists() {
            std::fs::remove_dir_all(folder).expect("it can be removed");
        }
        if apply_ends {
            apply_ends = checkout.killed(&["apply", "-y"], point);
            applies += u32::from(apply_ends);
        }
        let again = checkout.jvp(&["apply", "-y"]);
        assert_eq!(again.code, Some(0), "apply after an apply that was killed at point {point}:\n{}", again.text);
        let plan = checkout.jvp(&["plan", "--detailed-exitcode"]);
        assert_eq!(plan.code, Some(0), "plan after an apply that was killed at point {point}:\n{}", plan.text);
        let found = difference(&clean, &lab.inventory(node));
        assert_eq!(found, "", "after an apply that was killed at point {point}, whose next said:\n{}", again.text);
        if delete_ends {
            delete_ends = checkout.killed(&DELETE, point);
            deletes += u32::from(delete_ends);
        }
        let again = checkout.jvp(&DELETE);
        assert_eq!(again.code, Some(0), "delete after a delete that was killed at point {point}:\n{}", again.text);
        let found = difference(&untouched, &lab.inventory(node));
        assert_eq!(found, "", "after a delete that was killed at point {point}, whose next said:\n{}", again.text);
        if !apply_ends && !delete_ends {
            break;
        }
    }
    (applies, deletes)
}

#[test]
fn a_kill_at_any_point_ends_as_a_clean_run() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    // Two nodes, each of which takes every other point.
    let lab = Lab::own(2);
    let (odd, even) = std::thread::scope(|scope| {
        let odd = scope.spawn(|| kills(&lab, "a", 1, 2));
        let even = scope.spawn(|| kills(&lab, "b", 2, 2));
        (odd.join().unwrap(), even.join().unwrap())
    });
    let (applies, deletes) = (odd.0 + even.0, odd.1 + even.1);
    eprintln!("{applies} kills of an apply, {deletes} of a delete");
    assert!(applies >= 60 && deletes >= 30, "{applies} kills of an apply, {deletes} of a delete");
}
