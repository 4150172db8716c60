//! `jvp why`.

use super::{applied, edit, run};
use crate::checkout::Place;
use jvp::host::fake::{FakeHost, State};

fn by_hand(place: &Place, change: impl FnOnce(&mut State)) {
    FakeHost::at("local", &place.path("fake").join("local.json")).with(change);
}

/// The cells of a field's row.
fn cells(page: &str, field: &str) -> Vec<String> {
    let line = page.lines().find(|line| line.trim_start().starts_with(&format!("{field} ")));
    assert!(line.is_some(), "no row of {field}: {page}");
    line.unwrap().trim().split("   ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn a_field_that_differs_stands_with_all_its_sides_and_its_line() {
    let place = applied();
    let said = run(&place, 0, &["why", "vm/web-1", "-f", "manifests"]);
    assert!(said.contains("nothing: all that is written is so") && said.contains("none differs; --all"), "{said}");
    assert!(said.contains("it is started whenever it is off"), "{said}");
    edit(&place, "manifests/web-1.yaml", "The first web server", "Another");
    let said = run(&place, 0, &["why", "vm/web-1", "-f", "manifests"]);
    assert!(said.contains("FIELD") && said.contains("it is updated [live]: it differs from the manifest"), "{said}");
    let title = cells(&said, "title");
    assert_eq!(title[..5], ["title", "Another", "yes", "The first web server", "The first web server"], "{said}");
    assert!(title[5].starts_with("manifests/web-1.yaml:"), "{said}");
    let all = run(&place, 0, &["why", "vm/web-1", "-f", "manifests", "--all"]);
    assert_eq!(cells(&all, "memory")[..5], ["memory", "1Gi", "yes", "1Gi", "1Gi"], "{all}");
    assert!(!cells(&said, "title").is_empty() && !said.contains("\n  memory "), "{said}");
}

#[test]
fn what_runs_otherwise_than_defined_is_told() {
    let place = applied();
    by_hand(&place, |state| {
        let domain = state.domains.get_mut("web-1").unwrap();
        domain.live = domain.live.take().map(|live| live.replace("The first web server", "By hand"));
    });
    let said = run(&place, 0, &["why", "vm/web-1", "-f", "manifests"]);
    let title = cells(&said, "title");
    assert_eq!(title[1..5], ["The first web server", "yes", "The first web server", "By hand"], "{said}");
}

#[test]
fn a_field_that_was_taken_out_is_told() {
    let place = applied();
    edit(&place, "manifests/web-1.yaml", "  title: The first web server\n", "");
    let said = run(&place, 0, &["why", "vm/web-1", "-f", "manifests"]);
    assert_eq!(cells(&said, "title")[1..4], ["(taken out)", "yes", "The first web server"], "{said}");
}

#[test]
fn why_a_vm_is_off_and_why_nothing_is_done_is_told() {
    let place = applied();
    run(&place, 0, &["vm", "stop", "web-1", "-f", "manifests"]);
    let said = run(&place, 0, &["why", "vm/web-1", "-f", "manifests"]);
    assert!(said.contains("it is off, since") && said.contains("its guest shut down"), "{said}");
    assert!(said.contains("it is started [start]: it is off, and runStrategy is Always"), "{said}");
    run(&place, 0, &["suspend", "vm/web-1", "-f", "manifests", "--reason", "disk rescue"]);
    let said = run(&place, 0, &["why", "vm/web-1", "-f", "manifests"]);
    assert!(said.contains("nothing: it is suspended") && said.contains("disk rescue"), "{said}");
    let said = run(&place, 1, &["why", "vm/web-2", "-f", "manifests"]);
    assert!(said.contains("did you mean VirtualMachine/web-1?"), "{said}");
    // What nobody declares, and what is refused.
    let said = run(&place, 0, &["why", "volume", "-f", "manifests", "--all"]);
    assert!(said.contains("Volume/web-1-root") && said.contains("capacity"), "{said}");
    std::fs::rename(place.path("checkout").join("manifests"), place.path("away")).unwrap();
    let said = run(&place, 0, &["why", "vm/web-1"]);
    assert!(said.contains("nothing: it is suspended"), "{said}");
    run(&place, 0, &["resume", "--all"]);
    assert!(run(&place, 0, &["why", "vm/web-1"]).contains("nothing: no manifest that was read declares it"));
}
