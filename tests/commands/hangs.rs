//! Nodes that hang or go away: a command about everything leaves them out, and the others are as wanted.

use std::fs;

use super::run;
use crate::checkout::{Place, node};
use crate::sample::{below, chosen};

const SET: &str = r"apiVersion: jvp.dev/v1alpha1
kind: Fleet
metadata: {name: many}
spec: {id: 6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10}
";

const NAMES: [&str; 3] = ["one", "two", "three"];

/// Three nodes with a pool each.
fn place() -> Place {
    let place = Place::with(&[]);
    let nodes = NAMES.map(|name| {
        format!(
            "---\napiVersion: jvp.dev/v1alpha1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{uri: \"qemu:///system\"}}\n---\n\
             apiVersion: jvp.dev/v1alpha1\nkind: StoragePool\nmetadata: {{name: pool-{name}}}\n\
             spec: {{type: Dir, nodes: [{name}], target: {{path: /srv/main}}}}\n"
        )
    });
    fs::write(place.path("checkout/all.yaml"), SET.to_owned() + &nodes.concat()).unwrap();
    run(&place, 0, &["apply", "-f", ".", "-y"]);
    place
}

/// A volume on each node.
fn volumes(place: &Place, name: &str) {
    let volumes = NAMES.map(|node| {
        format!(
            "---\napiVersion: jvp.dev/v1alpha1\nkind: Volume\nmetadata: {{name: {name}-{node}}}\n\
             spec: {{pool: pool-{node}, capacity: 8Mi}}\n"
        )
    });
    fs::write(place.path("checkout").join(format!("{name}.yaml")), volumes.concat()).unwrap();
}

/// Runs jvp while the second node hangs from its `act`-th act on, or from the beginning: it is left out.
fn hung(place: &Place, act: u32, arguments: &[&str]) -> String {
    let output = crate::checkout::ended(
        place.command(env!("CARGO_BIN_EXE_jvp")).env("JVP_FAKE_FAULT", format!("two:{act}:hangs")).args(arguments),
    );
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(4), "jvp {}\n{text}", arguments.join(" "));
    assert!(text.contains("Node/two: it gave no answer for") && text.contains("its libvirtd may hang"), "{text}");
    assert!(!text.contains("it gives no answer yet"), "{text}");
    text
}

/// Which nodes have a volume of this name.
fn have(place: &Place, name: &str) -> Vec<&'static str> {
    let has = |of: &&str| node(place, of)["files"].get(format!("/srv/main/{name}-{of}.qcow2")).is_some();
    NAMES.into_iter().filter(has).collect()
}

#[test]
fn a_command_about_everything_leaves_out_a_node_that_hangs_and_does_all_else() {
    let place = place();
    volumes(&place, "first");
    let said = hung(&place, 0, &["plan", "-f", ".", "--refresh"]);
    assert!(said.contains("Volume/first-one") && said.contains("Plan: 2 to create."), "{said}");
    hung(&place, 0, &["diff", "-f", "."]);
    hung(&place, 0, &["get", "vol", "-f", "."]);
    hung(&place, 0, &["apply", "-f", ".", "-y"]);
    assert_eq!(have(&place, "first"), ["one", "three"]);
    run(&place, 0, &["apply", "-f", ".", "-y"]);
    assert_eq!(have(&place, "first"), NAMES);

    // Between the plan and the steps: where its pool is looked into once more.
    volumes(&place, "second");
    hung(&place, 1, &["apply", "-f", ".", "-y"]);
    assert_eq!(have(&place, "second"), ["one", "three"]);
    run(&place, 0, &["apply", "-f", ".", "-y"]);
    assert_eq!(have(&place, "second"), NAMES);
    run(&place, 0, &["plan", "-f", ".", "--detailed-exitcode"]);

    hung(&place, 0, &["delete", "-f", ".", "--with-data", "-y"]);
    assert_eq!(have(&place, "first"), ["two"]);
    run(&place, 0, &["delete", "-f", ".", "--with-data", "-y"]);
    assert!(have(&place, "first").is_empty() && have(&place, "second").is_empty());
}

#[test]
fn a_node_that_goes_away_at_any_call_of_an_apply_is_said_and_the_others_are_as_wanted() {
    const STEP: u64 = 4;
    let number = chosen("every fourth call");
    let first = number.map_or(0, |number| below(number, "away", STEP));
    let step = number.map_or(1, |_| STEP);
    let mut tried = 0;
    for call in (1 + first..).step_by(usize::try_from(step).unwrap()) {
        let place = place();
        volumes(&place, "first");
        let mut command = place.command(env!("CARGO_BIN_EXE_jvp"));
        command.args(["apply", "-f", ".", "-y"]).env("JVP_FAKE_FAULT", format!("two:{call}:away"));
        let output = crate::checkout::ended(command.env("JVP_LOG", "jvp::host::fake=debug,warn"));
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let what = format!("away from call {call} on: {text}");
        if !text.contains("it goes wrong on purpose") {
            assert_eq!((output.status.code(), have(&place, "first")), (Some(0), NAMES.to_vec()), "{what}");
            break;
        }
        tried += 1;
        assert!(have(&place, "first").starts_with(&["one"]) && have(&place, "first").ends_with(&["three"]), "{what}");
        // Where it went away after all was done, there is nothing to be said of it but that it could not be looked at once more.
        let done = output.status.code() == Some(0) && have(&place, "first") == NAMES;
        let said = matches!(output.status.code(), Some(4 | 5)) && text.contains("two");
        assert!(said || (done && text.contains("could not be looked at once more")), "{:?}, {what}", output.status.code());
        run(&place, 0, &["apply", "-f", ".", "-y"]);
        assert_eq!(have(&place, "first"), NAMES, "{what}");
        run(&place, 0, &["plan", "-f", ".", "--detailed-exitcode"]);
    }
    eprintln!("it went away at {tried} calls");
    assert!(tried > 0);
}
