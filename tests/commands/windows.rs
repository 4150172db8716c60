//! Windows and commands by hand: a plan says when a VM is restarted, an apply doesn't before, and a word has it done at once.

use super::{edit, run};
use crate::checkout::Place;

const MANIFESTS: &str = "\
apiVersion: jvp.dev/v1alpha1
kind: Fleet
metadata: {name: here}
spec: {id: 6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10}
---
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {name: web}
spec:
  memory: 64Mi
  accelerator: TCG
  updatePolicy:
    restart: Now
    windows: [{cron: \"CRON\", duration: 5m, timeZone: Europe/Vienna}]
";

/// A VM that is to have more memory than it runs with, which is restarted in this window.
fn place(cron: &str) -> Place {
    let place = Place::with(&[]);
    std::fs::write(place.path("checkout").join("all.yaml"), MANIFESTS.replace("CRON", cron)).unwrap();
    run(&place, 0, &["apply", "-y"]);
    edit(&place, "all.yaml", "64Mi", "96Mi");
    place
}

/// A window that opens in half a year.
fn far() -> String {
    let month = jiff::Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::UTC).month();
    format!("0 3 15 {} *", (month + 5) % 12 + 1)
}

#[test]
fn outside_of_its_window_a_plan_says_when_it_opens_and_an_apply_restarts_nothing() {
    let place = place(&far());
    let plan = run(&place, 2, &["plan", "--detailed-exitcode"]);
    assert!(plan.contains("[next start]") && !plan.contains("restarted on"), "{plan}");
    assert!(plan.contains("it is restarted in its next window, which opens 20"), "{plan}");
    assert!(
        plan.contains("03:00 +0") && plan.contains("(Europe/Vienna) (at once: --allow-restart VirtualMachine/web)"),
        "{plan}"
    );
    run(&place, 0, &["apply", "-y"]);
    // Nothing is left to be done before that, and it is said what waits.
    let plan = run(&place, 0, &["plan", "--detailed-exitcode"]);
    assert!(plan.contains("/memory; it is restarted in its next window, which opens 20"), "{plan}");
    let plan = run(&place, 2, &["plan", "--detailed-exitcode", "--allow-restart", "vm/web"]);
    assert!(plan.contains("restart"), "{plan}");
    run(&place, 0, &["apply", "-y", "--allow-restart", "vm/web"]);
    let plan = run(&place, 0, &["plan", "--detailed-exitcode"]);
    assert!(!plan.contains("window"), "{plan}");
}

#[test]
fn in_its_window_an_apply_restarts_it_also_by_a_saved_plan() {
    let place = place("* * * * *");
    let plan = run(&place, 0, &["plan", "--out", "saved.plan"]);
    assert!(plan.contains("[restart]"), "{plan}");
    let said = run(&place, 0, &["apply", "saved.plan"]);
    assert!(said.contains("Done"), "{said}");
    let plan = run(&place, 0, &["plan", "--detailed-exitcode"]);
    assert!(!plan.contains("RestartRequired"), "{plan}");
}

#[test]
fn a_guest_that_is_restarted_when_it_reboots_is_not_restarted_by_hand() {
    let place = place("* * * * *");
    edit(&place, "all.yaml", "restart: Now", "restart: OnReboot");
    let plan = run(&place, 0, &["plan"]);
    assert!(plan.contains("it is restarted when its guest reboots, by the daemon"), "{plan}");
    let said = run(&place, 0, &["apply", "-y"]);
    assert!(!said.contains("stop"), "{said}");
}
