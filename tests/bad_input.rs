//! Bad input, and a ledger in a bad state, as the program meets them: each ends in an error with its object or file and what to do, in
//! bounded time, and nothing is done. Nodes are fakes, which only a debug build knows. What single documents may say wrong stands in
//! `tests/golden/diag`.

#![cfg(debug_assertions)]
#![expect(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests: what fails must be loud")]

#[path = "lab_suite/checkout.rs"]
#[expect(dead_code, reason = "each test uses its part")]
mod checkout;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use checkout::{Answer, Checkout};

const HEAD: &str = r#"apiVersion: jvp.dev/v1alpha1
kind: Fleet
metadata: {name: bad-input}
spec: {id: 6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10}
---
apiVersion: jvp.dev/v1alpha1
kind: Node
metadata: {name: host}
spec: {uri: "qemu:///system"}
---
apiVersion: jvp.dev/v1alpha1
kind: StoragePool
metadata: {name: main}
spec: {type: Dir, target: {path: /srv/main}}
"#;

/// A volume whose spec is this.
fn volume(name: &str, spec: &str) -> String {
    format!("---\napiVersion: jvp.dev/v1alpha1\nkind: Volume\nmetadata: {{name: {name}}}\nspec: {{pool: main, {spec}}}\n")
}

/// A checkout on a fake node whose state lies in a folder.
fn checkout(manifests: &str) -> (Checkout, tempfile::TempDir) {
    let node = tempfile::tempdir().unwrap();
    let checkout = Checkout::new(manifests).with_env("JVP_FAKE", node.path().to_str().unwrap());
    fs::create_dir(checkout.state()).unwrap();
    fs::set_permissions(checkout.state(), fs::Permissions::from_mode(0o755)).unwrap();
    (checkout, node)
}

/// What the node has.
fn node(folder: &tempfile::TempDir) -> Option<String> {
    fs::read_to_string(folder.path().join("host.json")).ok().filter(|text| !text.is_empty())
}

/// The set is refused with exit 3 before any node is reached.
#[track_caller]
fn invalid(manifests: &str, words: &[&str]) {
    let (checkout, folder) = checkout(manifests);
    for command in [&["validate"][..], &["plan"], &["apply", "-y"]] {
        let mut answer = checkout.jvp(command).exits(3);
        for word in words {
            answer = answer.says(word);
        }
    }
    assert_eq!(node(&folder), None);
}

#[test]
fn objects_that_need_each_other_in_a_circle_are_refused_with_each_place() {
    let circle = HEAD.to_owned()
        + &volume("a", "source: {volume: c}")
        + &volume("b", "source: {volume: a}")
        + &volume("c", "source: {volume: b}");
    invalid(
        &circle,
        &[
            "error[JVP0410]: Volume/a",
            "all.yaml:19:37",
            "error[JVP0410]: Volume/b",
            "error[JVP0410]: Volume/c",
            "take one of the references out",
        ],
    );
}

#[test]
fn a_node_that_is_not_in_the_set_is_refused_with_its_place() {
    let vm = "---\napiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: web}\nspec: {node: hots, memory: 1Gi}\n";
    invalid(
        &(HEAD.to_owned() + vm),
        &["VirtualMachine/web: there is no Node/hots in the set", "all.yaml:19:14", "correct its name"],
    );
}

#[test]
fn a_reference_that_leads_nowhere_is_refused_with_the_three_places_that_were_looked_at() {
    let vm = "---\napiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: web}\n";
    for (documents, object, field, named) in [
        (volume("a", "source: {template: gone}, format: qcow2"), "Volume/a", "/source/template", "Template/gone"),
        (volume("a", "capacity: 1Gi").replace("pool: main", "pool: gone"), "Volume/a", "/pool", "StoragePool/gone"),
        (
            format!("{vm}spec: {{memory: 1Gi, disks: [{{name: r, volume: gone}}]}}\n"),
            "VirtualMachine/web",
            "/disks/r/volume",
            "Volume/gone",
        ),
        (
            format!("{vm}spec: {{memory: 1Gi, interfaces: [{{name: e, network: gone}}]}}\n"),
            "VirtualMachine/web",
            "/interfaces/e/network",
            "Network/gone",
        ),
        (
            format!("{vm}spec: {{memory: 1Gi, cloudInit: {{pool: main, keyPairs: [gone]}}}}\n"),
            "VirtualMachine/web",
            "/cloudInit/keyPairs",
            "KeyPair/gone",
        ),
    ] {
        let (checkout, folder) = checkout(&(HEAD.to_owned() + &documents));
        checkout.jvp(&["plan"]).exits(3);
        let answer = checkout.jvp(&["apply", "-y"]).exits(3);
        let line = answer.text.lines().find(|line| line.contains(&format!("{object}: "))).unwrap_or_default();
        for word in [field, named, "not in the manifests, not in the inventory and not on the node"] {
            assert!(line.contains(word), "`{word}` is not in `{line}` of\n{}", answer.text);
        }
        answer.says("all.yaml:18:18").says("add a manifest for it");
        assert_eq!(node(&folder), None);
    }
    // A volume may lie in a pool that isn't there yet: that is known once it is.
    let (checkout, folder) = checkout(HEAD);
    checkout.jvp(&["apply", "-y"]).exits(0);
    let before = node(&folder);
    checkout.write("more.yaml", &volume("a", "source: {volume: gone}"));
    checkout.jvp(&["apply", "-y"]).exits(3).says("Volume/a: its field /source/volume names Volume/gone").says("more.yaml:4:18");
    assert_eq!(before, node(&folder));
}

#[test]
fn a_cpu_model_that_needs_kvm_is_refused_where_the_accelerator_comes_to_tcg() {
    let vm = "---\napiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: web}\n\
              spec: {memory: 1Gi, cpu: {model: host-passthrough}}\n";
    let (checkout, folder) = checkout(&(HEAD.to_owned() + vm));
    checkout.jvp(&["plan"]).exits(6);
    let answer = checkout.jvp(&["apply", "-y"]).exits(6).says("VirtualMachine/web: /cpu/model: `host-passthrough` needs KVM");
    answer.says("on Node/host the accelerator is TCG (the node offers no KVM)").says("set `model: maximum`");
    assert_eq!(node(&folder), None);
    let by_node = HEAD.replace("qemu:///system\"", "qemu:///system\", defaults: {accelerator: TCG}") + vm;
    checkout.write("all.yaml", &by_node);
    checkout.jvp(&["plan"]).exits(6).says("the accelerator is TCG (as written)");
    checkout.write("all.yaml", &by_node.replace("host-passthrough", "maximum"));
    checkout.jvp(&["apply", "-y"]).exits(0);
}

#[test]
fn files_and_folders_that_hold_no_manifest_are_said_in_bounded_time() {
    let (checkout, _folder) = checkout(HEAD);
    let outside = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let folder = outside.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    };
    let (large, noise, link, empty) = (make("large"), make("noise"), make("link"), make("empty"));
    fs::File::create(large.join("a.yaml")).unwrap().set_len(100 << 20).unwrap();
    let bytes: Vec<u8> = (0_u32..1 << 20).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    fs::write(noise.join("a.yaml"), bytes).unwrap();
    symlink(checkout.folder().join("all.yaml"), link.join("a.yaml")).unwrap();
    for (folder, words) in [
        (&large, ["JVP0003", "a.yaml", "split it"]),
        (&noise, ["JVP0002", "a.yaml", "is it an image"]),
        (&link, ["JVP0004", "a.yaml", "put a copy into the folder"]),
        (&empty, ["JVP0005", "empty", "manifests are files"]),
        (&outside.path().join("nowhere"), ["JVP0001", "nowhere", "no such file or folder"]),
    ] {
        let begun = Instant::now();
        let mut answer = checkout.jvp(&["apply", "-y", "-f", folder.to_str().unwrap()]).exits(3);
        for word in words {
            answer = answer.says(word);
        }
        // Bounded, however slow the machine: reading what is refused would take longer.
        assert!(begun.elapsed() < Duration::from_secs(20), "{words:?} took {:?}", begun.elapsed());
    }
}

#[test]
fn what_never_ends_is_read_in_bounded_memory() {
    let (checkout, _folder) = checkout(HEAD);
    // 512 MiB of address space are enough to say no.
    let program = checkout.command(&["validate", "-f", "-"]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -v 524288; yes '[[[[[[[[' | exec \"$@\"", "sh"]).arg(program.get_program());
    command.args(program.get_args()).current_dir(checkout.folder());
    Answer::from(command.output().unwrap()).exits(3).says("JVP0003").says("16 MiB");
}

#[test]
fn a_ledger_that_another_process_holds_is_said_with_the_holder_and_nothing_is_done() {
    let (checkout, folder) = checkout(&(HEAD.to_owned() + &volume("a", "capacity: 1Gi")));
    checkout.jvp(&["apply", "-y"]).exits(0);
    let before = node(&folder);
    let lock = fs::OpenOptions::new().read(true).write(true).open(checkout.state().join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    fs::write(checkout.state().join("lock"), r#"{"pid":4711,"command":"jvp apply","since":"2026-01-01T00:00:00Z"}"#).unwrap();
    checkout.write("more.yaml", &volume("b", "capacity: 1Gi"));
    let answer = checkout.jvp(&["--lock-timeout", "0", "apply", "-y"]).exits(1);
    answer.says("is held by `jvp apply` (process 4711").says("--lock-timeout").says(checkout.state().to_str().unwrap());
    assert_eq!(before, node(&folder));
    // Readers go on with the published copy, and say so.
    checkout.jvp(&["plan", "--detailed-exitcode"]).exits(2).says("Volume/b").says("4711");
    drop(lock);
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&["plan", "--detailed-exitcode"]).exits(0);
}

/// Every file of a ledger's database.
fn database(checkout: &Checkout) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![checkout.state().join("ledger/db")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

#[test]
fn a_damaged_ledger_is_set_aside_and_made_anew_and_nothing_is_lost() {
    for copy in [true, false] {
        let (checkout, folder) = checkout(&(HEAD.to_owned() + &volume("a", "capacity: 1Gi")));
        checkout.jvp(&["apply", "-y"]).exits(0);
        let before = node(&folder);
        for path in database(&checkout) {
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, vec![0xa5; bytes.len()]).unwrap();
        }
        if !copy {
            fs::remove_file(checkout.state().join("ledger/ledger.json")).unwrap();
        }
        let answer = checkout.jvp(&["apply", "-y"]).says("the ledger was damaged").says("it was set aside as");
        if copy {
            answer.exits(0).says("restored from the published copy");
            checkout.jvp(&["plan", "--detailed-exitcode"]).exits(0);
        } else {
            // Nothing but the ledger tells whose a volume is that no VM lists: it is left alone, and said.
            answer.exits(6).says("rebuilt from the marks").says("Volume/a");
        }
        assert_eq!(before, node(&folder));
    }
}
