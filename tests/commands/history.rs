//! `jvp history`.

use jvp::host::fake::FakeHost;

use super::{applied, edit, json, run};
use crate::checkout::Place;

#[test]
fn what_was_done_is_told_by_run_and_by_object() {
    let place = applied();
    edit(&place, "manifests/web-1.yaml", "The first web server", "Another title");
    run(&place, 0, &["apply", "-f", "manifests", "-y"]);
    let all = run(&place, 0, &["history", "-f", "manifests"]);
    assert!(all.contains("jvp apply -f manifests (run "), "{all}");
    assert!(all.contains("VirtualMachine/web-1 on local") && all.contains("domain-define") && all.contains("done"), "{all}");
    let one = json(&place, &["history", "vm/web-1", "-f", "manifests", "-o", "json"]);
    let ops: Vec<&str> = one.as_array().unwrap().iter().map(|event| event["op"].as_str().unwrap()).collect();
    assert_eq!(ops.last(), Some(&"domain-metadata"), "{ops:?}");
    assert!(ops.contains(&"domain-start") && one[0]["object"] == "VirtualMachine/web-1" && one[0]["outcome"] == "Done", "{one}");
    let last = json(&place, &["history", "-f", "manifests", "--limit", "1", "-o", "json"]);
    assert_eq!(last.as_array().unwrap().len(), 1);
    assert_eq!(last[0]["op"], "domain-metadata");
}

#[test]
fn a_lost_completion_is_shown_as_unknown() {
    let place = Place::with(&["manifests"]);
    // The process ends between an effect and what is recorded of it.
    let mut apply = place.command(env!("CARGO_BIN_EXE_jvp"));
    apply.args(["apply", "-f", "manifests", "-y"]).env("JVP_FAILPOINT", "journal:6:kill");
    assert!(!apply.output().unwrap().status.success());
    let said = run(&place, 0, &["history", "-f", "manifests"]);
    assert!(said.contains("unknown") && said.contains("the next apply looks"), "{said}");
    run(&place, 0, &["apply", "-f", "manifests", "-y"]);
    let events = json(&place, &["history", "-f", "manifests", "--limit", "0", "-o", "json"]);
    let unknown: Vec<_> = events.as_array().unwrap().iter().filter(|event| event["outcome"] == "Unknown").collect();
    assert!(!unknown.is_empty() && unknown.iter().all(|event| event["open"] == false), "{events}");
    assert!(!run(&place, 0, &["history", "-f", "manifests"]).contains("the next apply looks"));
}

#[test]
fn suspensions_and_failures_are_part_of_the_history() {
    let place = applied();
    run(&place, 0, &["suspend", "vm/web-1", "-f", "manifests", "--reason", "disk rescue"]);
    run(&place, 0, &["resume", "vm/web-1", "-f", "manifests"]);
    let said = run(&place, 0, &["history", "vm", "web-1", "-f", "manifests"]);
    assert!(said.contains("suspend") && said.contains("disk rescue") && said.contains("resume"), "{said}");
    run(&place, 0, &["vm", "stop", "web-1", "-f", "manifests"]);
    FakeHost::at("local", &place.path("fake").join("local.json"))
        .with(|state| state.domains.get_mut("web-1").unwrap().start_fails = Some("no memory left".into()));
    run(&place, 5, &["vm", "start", "web-1", "-f", "manifests"]);
    let said = run(&place, 0, &["history", "vm", "web-1", "-f", "manifests"]);
    let last = said.lines().last().unwrap();
    assert!(last.contains("domain-start") && last.contains("failed") && last.contains("no memory left"), "{said}");
}

#[test]
fn an_object_that_is_gone_has_a_history_still() {
    let place = applied();
    run(&place, 0, &["delete", "vm/web-1", "-f", "manifests", "-y"]);
    let said = run(&place, 0, &["history", "vm/web-1", "-f", "manifests"]);
    assert!(said.contains("domain-undefine") && said.contains("jvp delete vm/web-1"), "{said}");
    assert!(run(&place, 0, &["history", "vm/nobody", "-f", "manifests"]).contains("nothing was done that is kept"));
    // Without any manifest too.
    std::fs::rename(place.path("checkout").join("manifests"), place.path("away")).unwrap();
    assert!(run(&place, 0, &["history", "vm/web-1"]).contains("domain-undefine"));
}
