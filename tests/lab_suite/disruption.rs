//! What libvirt can change beneath a guest, by number (`tests/disruption.md`): that each fact that the language reaches has its cases,
//! and those of them that are no leaf's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jvp::name::Kind;
use jvp::plan::FIELDS;

use crate::scenarios::{FLEET, base, checkout, machine};
use crate::support::{Lab, left_out, repository};

/// How many facts each section has, from section 0 on.
const FACTS: [usize; 10] = [4, 23, 12, 11, 14, 6, 16, 30, 15, 4];

struct Fact {
    number: String,
    /// Paths with their kinds, or kinds alone.
    fields: Vec<(String, String)>,
    /// Empty where it is out of the language's reach.
    shown: Vec<String>,
    why: String,
}

fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn facts() -> Vec<Fact> {
    let text = std::fs::read_to_string(repository("tests/disruption.md")).expect("the table can be read");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Number"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [number, _, fields, shown] = cells[..] else { panic!("not four cells: {row}") };
        let field = |field: String| {
            let (kind, path) = field.split_once(' ').unwrap_or((&field, ""));
            (kind.to_owned(), path.to_owned())
        };
        let why = shown.strip_prefix("out of reach: ").unwrap_or_default().to_owned();
        Fact {
            number: number.to_owned(),
            fields: quoted(fields).into_iter().map(field).collect(),
            shown: if why.is_empty() { quoted(shown) } else { Vec::new() },
            why,
        }
    })
    .collect()
}

/// Whether the language has a field, or a kind where no path is given.
fn is_there(kind: &str, path: &str) -> bool {
    let below = format!("{path}/");
    Kind::TABLE.iter().any(|row| row.name == kind)
        && (path.is_empty()
            || FIELDS.iter().any(|row| row.kind.name() == kind && (row.path == path || row.path.starts_with(&below))))
}

fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).expect("a source can be read"));
        }
    }
}

/// The names of all test functions.
fn functions() -> BTreeSet<String> {
    let mut text = String::new();
    sources(&repository("src"), &mut text);
    sources(&repository("tests"), &mut text);
    let mut found = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else {
            if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
                found.extend(rest.split_once('(').map(|(name, _)| name.to_owned()));
            }
            is_test = false;
        }
    }
    found
}

/// The names of the cases that were recorded from a real libvirt.
fn recorded() -> BTreeSet<String> {
    let folder = std::fs::read_dir(repository("tests/host/recorded")).expect("a folder can be read");
    folder.flatten().filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".txt")?.to_owned())).collect()
}

#[test]
fn each_fact_that_the_language_reaches_has_its_cases_by_number() {
    let facts = facts();
    let numbers: Vec<&str> = facts.iter().map(|fact| fact.number.as_str()).collect();
    let wanted: Vec<String> = FACTS
        .iter()
        .enumerate()
        .flat_map(|(section, count)| (1..=*count).map(move |place| format!("{section}.{place}")))
        .collect();
    assert_eq!(numbers, wanted, "each number once, in their order");

    let mut leaves: BTreeMap<&str, Vec<(Kind, &str)>> = BTreeMap::new();
    for case in crate::leaf_cases::cases() {
        leaves.insert(case.name, case.leaves.iter().map(|leaf| (Kind::VirtualMachine, *leaf)).collect());
    }
    for case in crate::kind_cases::cases() {
        leaves.insert(case.name, case.leaves.iter().map(|leaf| (case.kind, *leaf)).collect());
    }
    let (functions, recorded) = (functions(), recorded());
    let mut wrong = Vec::new();
    for fact in &facts {
        let number = &fact.number;
        if fact.fields.is_empty() || (fact.shown.is_empty() && fact.why.is_empty()) {
            wrong.push(format!("{number}: it names no field, or neither a case nor a reason"));
        }
        for (kind, path) in &fact.fields {
            if is_there(kind, path) != fact.why.is_empty() {
                let is = if fact.why.is_empty() { "is no field" } else { "is a field, so it is within reach" };
                wrong.push(format!("{number}: `{kind} {path}` {is}"));
            }
        }
        for name in &fact.shown {
            if let Some(shows) = leaves.get(name.as_str()) {
                let meant = |(of, leaf): &(Kind, &str)| fact.fields.iter().any(|(kind, path)| of.name() == kind && leaf == path);
                if !shows.iter().any(meant) {
                    wrong.push(format!("{number}: `{name}` shows none of its fields"));
                }
            } else if !functions.contains(name) && !recorded.contains(name) {
                wrong.push(format!("{number}: `{name}` doesn't exist"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn a_reset_applies_nothing_that_waits_for_a_start() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let with = |memory: &str| base(&lab, "a", FLEET, "", 9) + &machine("web", "", "").replace("96Mi", memory);
    let checkout = checkout(&with("96Mi"), false);
    checkout.jvp(&["apply", "-y"]).exits(0);
    let process = || lab.virsh("a", &["domid", "web"]);
    let largest = |which: &[&str]| {
        let text = lab.virsh("a", &[&["dumpxml", "web"], which].concat());
        text.lines().find(|line| line.contains("<memory ")).expect("it has memory").trim().to_owned()
    };
    let (before, runs) = (process(), largest(&[]));
    checkout.write("all.yaml", &with("128Mi"));
    checkout.jvp(&["apply", "-y"]).exits(0);
    lab.virsh("a", &["reset", "web"]);
    assert_eq!((process(), largest(&[])), (before.clone(), runs.clone()));
    assert_ne!(largest(&["--inactive"]), runs);
    // It is told as long as it waits, and done with the next process.
    checkout.jvp(&["plan", "--detailed-exitcode"]).exits(0).says("RestartRequired");
    checkout.jvp(&["vm", "restart", "web"]).exits(0);
    assert_ne!(process(), before);
    assert_eq!(largest(&[]), largest(&["--inactive"]));
    checkout.jvp(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn a_file_that_grew_behind_libvirts_back_is_seen_without_a_refresh() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let with = |capacity: &str| {
        format!(
            "{}---\napiVersion: jvp.dev/v1alpha1\nkind: Volume\nmetadata: {{name: data}}\n\
             spec: {{pool: main, capacity: {capacity}, format: raw}}\n",
            base(&lab, "a", FLEET, "", 9)
        )
    };
    let checkout = checkout(&with("8Mi"), false);
    checkout.jvp(&["apply", "-y"]).exits(0);
    let file = std::fs::OpenOptions::new().write(true).open(lab.images("a").join("main/data.img")).expect("the file is there");
    file.set_len(16 << 20).expect("it can grow");
    checkout.jvp(&["apply", "-y"]).exits(6).says("would be shrunk").says("set `spec.capacity: 16Mi`");
    checkout.write("all.yaml", &with("16Mi"));
    checkout.jvp(&["plan", "--detailed-exitcode"]).exits(0);
}
