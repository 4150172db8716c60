//! Nodes that are other machines than they should be: nothing is done on them, and the others are as wanted.

use std::fs;

use jvp::host::fake::FakeHost;
use uuid::Uuid;

use super::run;
use crate::checkout::{Place, node};

fn place(more: &str) -> Place {
    let place = Place::with(&[]);
    let mut set = "apiVersion: jvp.dev/v1alpha1\nkind: Fleet\nmetadata: {name: many}\n\
                   spec: {id: 6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10}\n"
        .to_owned();
    for name in ["one", "two", "three"] {
        set += &format!(
            "---\napiVersion: jvp.dev/v1alpha1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{uri: \"qemu:///system\"}}\n"
        );
    }
    fs::write(place.path("checkout/all.yaml"), set).unwrap();
    fs::write(place.path("checkout/lan.yaml"), network("lan") + more).unwrap();
    place
}

fn network(name: &str) -> String {
    format!("---\napiVersion: jvp.dev/v1alpha1\nkind: Network\nmetadata: {{name: {name}}}\nspec: {{mode: Isolated}}\n")
}

fn is(place: &Place, name: &str, uuid: u128) {
    FakeHost::at(name, &place.path("fake").join(format!("{name}.json"))).with(|state| state.uuid = Uuid::from_u128(uuid));
}

/// Who has a network.
fn have(place: &Place, network: &str) -> Vec<&'static str> {
    let has = |name: &&str| node(place, name)["networks"].get(network).is_some();
    ["one", "two", "three"].into_iter().filter(has).collect()
}

#[test]
fn of_two_nodes_that_are_one_machine_nothing_is_done_on_the_one_that_it_never_was() {
    let place = place("");
    // Nobody knows which of the two it is.
    for (name, uuid) in [("one", 7), ("two", 7), ("three", 8)] {
        is(&place, name, uuid);
    }
    let said = run(&place, 6, &["apply", "-f", ".", "-y"]);
    assert!(said.contains("Node/one: it is the same machine as Node/two"), "{said}");
    assert!(said.contains("Node/two: it is the same machine as Node/one"), "{said}");
    assert_eq!(have(&place, "lan"), ["three"]);
    is(&place, "two", 9);
    run(&place, 0, &["apply", "-f", ".", "-y"]);
    assert_eq!(have(&place, "lan"), ["one", "two", "three"]);

    // What it was when it was met is known of one.
    fs::write(place.path("checkout/more.yaml"), network("more")).unwrap();
    is(&place, "one", 8);
    let said = run(&place, 6, &["apply", "-f", ".", "-y"]);
    assert!(said.contains("Node/one: it is the same machine as Node/three") && !said.contains("refused: Node/three"), "{said}");
    assert_eq!(have(&place, "more"), ["two", "three"]);
}

#[test]
fn another_machine_takes_nothing_from_the_others_and_nothing_there_is_forgotten() {
    let place = place(&network("old"));
    run(&place, 0, &["apply", "-f", ".", "-y"]);
    // Another machine, with nothing on it.
    let (there, aside) = (place.path("fake/two.json"), place.path("aside.json"));
    fs::rename(&there, &aside).unwrap();
    is(&place, "two", 7);
    fs::write(place.path("checkout/lan.yaml"), network("lan") + &network("new")).unwrap();
    let said = run(&place, 6, &["apply", "-f", ".", "-y", "--prune", "--max-deletes", "100%"]);
    assert!(said.contains("Node/two: it is another machine"), "{said}");
    assert!(said.contains("Network/old@two: it stands on Node/two, where nothing is done"), "{said}");
    assert_eq!(have(&place, "new"), ["one", "three"]);
    assert_eq!(have(&place, "old"), Vec::<&str>::new());
    // The right one is back: what was to go there goes, since it was not forgotten.
    fs::rename(&aside, &there).unwrap();
    assert_eq!(have(&place, "old"), ["two"]);
    run(&place, 0, &["apply", "-f", ".", "-y", "--prune", "--max-deletes", "100%"]);
    assert_eq!((have(&place, "old"), have(&place, "new")), (Vec::new(), vec!["one", "two", "three"]));
    run(&place, 0, &["plan", "-f", ".", "--detailed-exitcode"]);
}
