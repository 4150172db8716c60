//! `jvp explain`, as it is run: every field, every code, and each code's examples, which are what they are said to be.

#![cfg(debug_assertions)]
#![expect(clippy::unwrap_used, reason = "a test that can't read its cases has failed")]

mod checkout;

use std::fs;

use checkout::Place;
use jvp::diag::{Code, Example};
use jvp::name::Kind;

fn jvp(place: &Place, code: i32, arguments: &[&str]) -> String {
    let output = place.jvp(arguments);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "jvp {}\n{text}", arguments.join(" "));
    text
}

/// What is said of an example.
fn said(example: &Example, text: &str) -> String {
    let place = Place::with(&["manifests"]);
    let bin = place.path("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_jvp"), bin.join("jvp")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let script = match example {
        Example::Manifest { .. } => {
            fs::write(place.path("checkout").join("example.yaml"), text).unwrap();
            "jvp validate -f example.yaml"
        }
        Example::Command { .. } => text,
    };
    let output = place.command("sh").arg("-c").arg(format!("exec 2>&1; {script}")).env("PATH", path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_code_s_wrong_example_says_it_and_the_right_one_is_valid() {
    let mut wrong = Vec::new();
    for code in Code::ALL {
        let example = code.example();
        let first = said(&example, example.wrong());
        if !first.contains(&format!("[{code}]")) {
            wrong.push(format!("{code}: its wrong example says\n{first}"));
        }
        let second = said(&example, example.right());
        if !second.starts_with("valid: ") {
            wrong.push(format!("{code}: its right example says\n{second}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_field_tells_what_it_is_and_what_a_change_does() {
    let place = Place::with(&[]);
    let said = jvp(&place, 0, &["explain", "vm.spec.disks[].bus"]);
    assert!(said.starts_with("VirtualMachine.spec.disks[].bus\n"), "{said}");
    for part in ["What it is", "Type", "Compared", "A change", "Taken out", "Values:", "virtio"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = jvp(&place, 0, &["explain", "volume.spec.capacity"]);
    assert!(said.contains("size, such as 20Gi") && said.contains("live: "), "{said}");
    let said = jvp(&place, 0, &["explain", "vm.spec"]);
    assert!(said.contains("Fields (* is needed):") && said.contains("runStrategy") && said.contains("memory *"), "{said}");
    let said = jvp(&place, 0, &["explain", "vm", "--recursive"]);
    assert!(said.contains("linkState") && said.contains("[refused]"), "{said}");
}

#[test]
fn every_kind_is_listed_and_explained() {
    let place = Place::with(&[]);
    let list = jvp(&place, 0, &["explain"]);
    for row in Kind::TABLE {
        assert!(list.contains(row.name), "{list}");
        assert!(jvp(&place, 0, &["explain", row.name]).contains("metadata"), "{}", row.name);
    }
    assert!(jvp(&place, 0, &["explain", "exit-codes"]).contains("a guard refused"));
}

#[test]
fn a_wrong_word_gets_a_guess() {
    let place = Place::with(&[]);
    assert!(jvp(&place, 1, &["explain", "vm.spec.dsiks"]).contains("did you mean `VirtualMachine.spec.disks`?"));
    assert!(jvp(&place, 1, &["explain", "vmm.spec.disks"]).contains("did you mean `vm.spec.disks`?"));
    assert!(jvp(&place, 1, &["explain", "JVP0199"]).contains("did you mean JVP01"));
    assert!(jvp(&place, 1, &["explain", "xyzzy"]).contains("lists the kinds"));
}

#[test]
fn explain_never_opens_the_ledger() {
    let place = Place::with(&[]);
    jvp(&place, 0, &["explain", "vm.spec.memory"]);
    jvp(&place, 0, &["explain", "JVP0204"]);
    assert_eq!(fs::read_dir(place.path("state")).unwrap().count(), 0, "the state directory was touched");
}
