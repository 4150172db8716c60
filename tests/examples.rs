//! Every checkout in the repository, `manifests` and each folder of `examples`: it is valid, plans on empty nodes to its recorded
//! plan, and once applied there is nothing to be done, with the ledger and without it; and it can be taken down again.
//!
//! `plan.txt` beside the manifests is the recorded plan; `JVP_UPDATE=1 cargo test --test examples` writes it anew. Nodes are fakes,
//! which only a debug build knows.

#![cfg(debug_assertions)]
#![expect(clippy::unwrap_used, reason = "a test that can't read its cases has failed")]
#![expect(clippy::print_stderr, reason = "a test says which sample it took")]

mod changes;
mod checkout;
#[path = "examples_suite/every_call.rs"]
mod every_call;
mod sample;

use std::fs;

use checkout::{Place, root};

fn all() -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(root().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| format!("examples/{}", entry.file_name().to_str().unwrap()))
        .collect();
    found.push("manifests".into());
    found.sort();
    found
}

/// Runs jvp on a checkout, wants the exit code, and gives what it said.
fn run(place: &Place, code: i32, arguments: &[&str]) -> String {
    let output = place.jvp(arguments);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "jvp {}\n{text}", arguments.join(" "));
    text
}

/// Deletes the ledger: the inventory and the journal, but not the keys.
fn lose_ledger(place: &Place) {
    let state = place.path("state");
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && (name.starts_with("ledger") || name == "journal") {
            fs::remove_dir_all(&path).unwrap();
        } else if path.is_file() && (name.starts_with("ledger") || name == "HEAD") {
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn every_checkout_of_the_repository_is_valid() {
    for checkout in all() {
        let place = Place::with(&[&checkout]);
        let said = run(&place, 0, &["validate", "-f", &checkout]);
        assert!(said.starts_with("valid: "), "{checkout}: {said}");
    }
}

#[test]
fn every_checkout_plans_on_empty_nodes_to_its_recorded_plan() {
    for checkout in all() {
        let place = Place::with(&[&checkout]);
        let plan = run(&place, 0, &["plan", "-f", &checkout]);
        let path = root().join(&checkout).join("plan.txt");
        if std::env::var_os("JVP_UPDATE").is_some() {
            fs::write(&path, &plan).unwrap();
        }
        let recorded = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(plan, recorded, "{checkout}/plan.txt is stale: JVP_UPDATE=1 cargo test --test examples");
    }
}

#[test]
fn every_plan_in_json_is_of_its_schema() {
    let schema: serde_json::Value = serde_json::from_str(&jvp::plan::schema::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for checkout in all() {
        let place = Place::with(&[&checkout]);
        for empty in [false, true] {
            let output = place.jvp(&["plan", "-f", &checkout, "-o", "json"]);
            let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let wrong: Vec<String> =
                validator.iter_errors(&plan).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(wrong.is_empty(), "{checkout}: {wrong:#?}");
            assert_eq!((&plan["version"], &plan["empty"]), (&1.into(), &empty.into()), "{checkout}");
            run(&place, 0, &["apply", "-f", &checkout, "-y"]);
        }
    }
    // The schema says no to what is none.
    assert!(!validator.is_valid(&serde_json::json!({"version": 2, "empty": true})));
}

#[test]
fn a_plan_right_after_an_apply_is_empty() {
    for checkout in all() {
        let place = Place::with(&[&checkout]);
        run(&place, 0, &["apply", "-f", &checkout, "-y"]);
        let said = run(&place, 0, &["plan", "-f", &checkout, "--detailed-exitcode"]);
        assert!(said.starts_with("Nothing is to be done"), "{checkout}: {said}");
    }
}

#[test]
fn a_plan_after_the_loss_of_the_ledger_is_empty() {
    for checkout in all() {
        let place = Place::with(&[&checkout]);
        run(&place, 0, &["apply", "-f", &checkout, "-y"]);
        lose_ledger(&place);
        let said = run(&place, 0, &["plan", "-f", &checkout, "--detailed-exitcode"]);
        assert!(said.starts_with("Nothing is to be done"), "{checkout}: {said}");
        run(&place, 0, &["apply", "-f", &checkout, "-y"]);
        run(&place, 0, &["plan", "-f", &checkout, "--detailed-exitcode"]);
    }
}

#[test]
fn what_was_taken_down_comes_back_with_its_data() {
    let place = Place::with(&["examples/bios"]);
    run(&place, 0, &["apply", "-f", "examples/bios", "-y"]);
    run(&place, 0, &["delete", "-f", "examples/bios", "-y"]);
    let plan = run(&place, 0, &["plan", "-f", "examples/bios"]);
    assert!(plan.contains("reused"), "{plan}");
    run(&place, 0, &["apply", "-f", "examples/bios", "-y"]);
    run(&place, 0, &["plan", "-f", "examples/bios", "--detailed-exitcode"]);
}

#[test]
fn two_fleets_on_one_node_do_not_see_each_other() {
    let place = Place::with(&["examples/bios", "examples/networks"]);
    let other = place.path("other").display().to_string();
    run(&place, 0, &["apply", "-f", "examples/bios", "-y"]);
    run(&place, 0, &["apply", "-f", "examples/networks", "-y", "--state-dir", &other]);
    run(&place, 0, &["plan", "-f", "examples/bios", "--detailed-exitcode"]);
    run(&place, 0, &["delete", "-f", "examples/networks", "-y", "--with-data", "--state-dir", &other]);
    run(&place, 0, &["plan", "-f", "examples/bios", "--detailed-exitcode"]);
}

#[test]
fn objects_of_another_fleet_are_refused_and_left_as_they_are() {
    let place = Place::with(&["examples/bios", "examples/console"]);
    let other = place.path("other").display().to_string();
    run(&place, 0, &["apply", "-f", "examples/bios", "-y"]);
    let node = place.path("fake").join("local.json");
    let before = fs::read_to_string(&node).unwrap();
    // Both want a pool called `disks`.
    let said = run(&place, 6, &["apply", "-f", "examples/console", "-y", "--state-dir", &other]);
    assert!(said.contains("refused: StoragePool/disks@local"), "{said}");
    run(&place, 0, &["delete", "-f", "examples/console", "-y", "--with-data", "--state-dir", &other]);
    assert!(before == fs::read_to_string(&node).unwrap(), "the node changed");
}

#[test]
fn every_manifest_tells_editors_its_schema() {
    fn look(folder: &std::path::Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = fs::read_to_string(&path).unwrap();
                let schema = text.strip_prefix("# yaml-language-server: $schema=").and_then(|rest| rest.lines().next());
                let there = schema.is_some_and(|schema| path.parent().unwrap().join(schema).is_file());
                assert!(there, "{}: its first line names no schema of the repository", path.display());
            }
        }
    }
    look(&root().join("manifests"));
    look(&root().join("examples"));
}
