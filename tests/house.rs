//! The house: which room may use which, what is absent from each, that every field has its row, and that every promise has a test.
//!
//! Fast, and asks nothing but the text of the sources and the schemas.

#![expect(clippy::unwrap_used, reason = "a test that can't read the sources has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jvp::manifest::path::{ListRule, list_rule};
use jvp::name::Kind;
use serde_json::Value;

/// Who may use whom: a room uses the rooms of the rows above its own, never one beside it or below.
const ROWS: &[&[&str]] = &[
    &["name"],
    &["diag"],
    &["manifest"],
    &["xml", "seed", "image", "resolve"],
    &["observe"],
    &["plan"],
    &["host", "store"],
    &["source"],
    &["apply"],
    &["gitops"],
    &["daemon"],
    &["cli"],
];

/// Rooms that are pure: values in, values out.
const PURE: &[&str] = &["name", "diag", "manifest", "xml", "seed", "image", "resolve", "observe", "plan"];

/// A crate or a module, and the only places that may name it.
const ONLY: &[(&str, &[&str])] = &[
    ("virt", &["host/libvirt/"]),
    ("virt_sys", &["host/libvirt/"]),
    ("sled", &["store/"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("indicatif", &["cli/"]),
    ("reqwest", &["source/"]),
    ("fatfs", &["seed/"]),
    ("axum", &["daemon/"]),
    ("prometheus_client", &["daemon/"]),
    ("sd_notify", &["daemon/"]),
    // The fake reads documents in its own way, so that it can't inherit a mistake of `xml`; `resolve` stands beside `xml`.
    ("roxmltree", &["xml/", "host/fake/", "resolve/checks/machine.rs"]),
    ("quick_xml", &["xml/"]),
    ("saphyr_parser", &["manifest/"]),
];

/// The most lines of a file, tests apart.
const LINES: usize = 600;

struct Source {
    /// Its path below `src`.
    path: String,
    text: String,
}

impl Source {
    /// Its code: without comments, and without the tests at its end.
    fn code(&self) -> String {
        let text = self.text.find("#[cfg(test)]\nmod tests {").map_or(self.text.as_str(), |at| &self.text[..at]);
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    }

    fn room(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Whether all of it is a test's.
    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap();
        name == "tests.rs" || name.ends_with("_tests.rs") || name == "golden.rs" || self.path.contains("/tests/")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|ext| ext == extension) {
            found.push(path);
        }
    }
    found.sort();
}

fn sources() -> Vec<Source> {
    let folder = root().join("src");
    let mut paths = Vec::new();
    files(&folder, "rs", &mut paths);
    let source = |path: PathBuf| Source {
        path: path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned(),
        text: fs::read_to_string(&path).unwrap(),
    };
    paths.into_iter().map(source).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What follows each place where `word` stands as a whole word.
fn after<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    text.match_indices(word)
        .filter(|(at, _)| !text[..*at].ends_with(is_word))
        .map(|(at, _)| &text[at + word.len()..])
        .filter(|rest| !rest.starts_with(is_word))
        .collect()
}

fn names(text: &str, word: &str) -> bool {
    !after(text, word).is_empty()
}

/// The modules that a file takes from the crate's root, also in `use crate::{a, b::C}`.
fn imports(code: &str) -> BTreeSet<String> {
    let first = |text: &str| text.chars().take_while(|c| is_word(*c)).collect::<String>();
    let mut found = BTreeSet::new();
    for rest in after(code, "crate") {
        let Some(rest) = rest.strip_prefix("::") else { continue };
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(first(rest));
            continue;
        };
        let (mut depth, mut starts) = (0, true);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => starts = true,
                c if starts && is_word(c) => {
                    found.insert(first(&list[at..]));
                    starts = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn said(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn rooms_use_only_what_stands_above_them() {
    let row = |room: &str| ROWS.iter().position(|rooms| rooms.contains(&room));
    let mut wrong = Vec::new();
    for source in sources() {
        if ["lib.rs", "main.rs"].contains(&source.path.as_str()) {
            continue;
        }
        let Some(own) = row(source.room()) else {
            wrong.push(format!("src/{}: the room `{}` is missing in the table", source.path, source.room()));
            continue;
        };
        for used in imports(&source.code()) {
            if used != source.room() && row(&used).is_some_and(|used| used >= own) {
                wrong.push(format!("src/{}: `{}` may not use `{used}`", source.path, source.room()));
            }
        }
    }
    said(&wrong);
}

#[test]
fn imports_are_found_in_every_form() {
    let found = imports("use crate::{a::{B, c}, d};\nfn f() { crate::e::f(); }\npub(crate) fn g() {}");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "d", "e"]);
}

#[test]
fn what_belongs_to_one_room_is_named_in_no_other() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let code = source.code();
        for (name, places) in ONLY {
            let named = after(&code, name).iter().any(|rest| rest.starts_with("::") || rest.starts_with(';'));
            // `mod sled;` and `super::sled` are modules of ours.
            if named && !places.iter().any(|place| source.path.starts_with(place)) {
                wrong.push(format!("src/{}: `{name}` belongs to {}", source.path, places.join(", ")));
            }
        }
        if code.contains("host::libvirt") && !["host", "cli"].contains(&source.room()) {
            wrong.push(format!("src/{}: only the command line chooses what reaches nodes", source.path));
        }
    }
    said(&wrong);
}

#[test]
fn pure_rooms_have_no_async_no_io_no_clock_and_no_environment() {
    let absent = [
        "tokio",
        "async",
        "std::fs",
        "std::env",
        "std::process",
        "TcpStream",
        "SystemTime",
        "Instant",
        "Timestamp::now",
        "new_v4",
    ];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.room()) && !source.is_test()) {
        let code = source.code();
        wrong.extend(absent.iter().filter(|word| names(&code, word)).map(|word| format!("src/{}: {word}", source.path)));
    }
    said(&wrong);
}

#[test]
fn the_daemon_waits_by_no_clock_that_can_be_set() {
    // Records say when something was. That no pause needs more than tokio's time, the tests of the daemon show: in them no other moves.
    let (words, methods) = (["SystemTime", "SignedDuration", "Span"], [".since(", ".until(", ".as_second(", ".duration_until("]);
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.room() == "daemon" && !source.is_test()) {
        let code = source.code();
        let found = words.iter().filter(|word| names(&code, word)).chain(methods.iter().filter(|word| code.contains(**word)));
        wrong.extend(found.map(|word| format!("src/{}: {word}", source.path)));
    }
    said(&wrong);
}

#[test]
fn unsafe_code_stands_in_one_file() {
    let mut wrong = Vec::new();
    for source in sources() {
        let marks = ["{", "fn", "impl", "extern", "trait"];
        let found =
            after(&source.code(), "unsafe").iter().any(|rest| marks.iter().any(|mark| rest.trim_start().starts_with(mark)));
        if found && source.path != "host/libvirt/ffi.rs" {
            wrong.push(format!("src/{}", source.path));
        }
    }
    said(&wrong);
}

#[test]
fn nothing_prints_past_the_one_writer() {
    let macros = ["print!", "println!", "eprint!", "eprintln!", "dbg!"];
    let mut wrong = Vec::new();
    for source in sources() {
        let code = source.code();
        wrong.extend(
            macros
                .iter()
                .filter(|name| code.match_indices(*name).any(|(at, _)| !code[..at].ends_with(is_word)))
                .map(|name| format!("src/{}: {name}", source.path)),
        );
        // The transport is a program of its own: libvirt starts it in ssh's place.
        let terminal = code.contains("io::stdout()") || code.contains("io::stderr()");
        if terminal && source.room() != "cli" && source.path != "host/libvirt/transport.rs" {
            wrong.push(format!("src/{}: only the command line writes to the terminal", source.path));
        }
    }
    said(&wrong);
}

#[test]
fn every_file_says_what_it_is_and_none_is_too_long() {
    let mut wrong = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            wrong.push(format!("src/{}: its first line says nothing of it (`//!`)", source.path));
        }
        let lines =
            source.text.find("#[cfg(test)]\nmod tests {").map_or(source.text.as_str(), |at| &source.text[..at]).lines().count();
        if lines > LINES && !source.is_test() {
            wrong.push(format!("src/{}: {lines} lines, at most {LINES}", source.path));
        }
    }
    said(&wrong);
}

/// The paths of a kind's leaves by its schema, with `*` for the keys of lists, and those of the mappings on the way.
fn paths(kind: Kind) -> (BTreeSet<String>, BTreeSet<String>) {
    fn walk(kind: Kind, root: &Value, schema: &Value, path: &str, leaves: &mut BTreeSet<String>, inner: &mut BTreeSet<String>) {
        if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/")) {
            return walk(kind, root, &root["$defs"][name], path, leaves, inner);
        }
        if let Some(fields) = schema["properties"].as_object() {
            inner.insert(path.to_owned());
            for (name, field) in fields {
                walk(kind, root, field, &format!("{path}/{name}"), leaves, inner);
            }
        } else if schema["type"] == "array" && matches!(list_rule(kind, path), ListRule::Keyed(_) | ListRule::Span(..)) {
            walk(kind, root, &schema["items"], &format!("{path}/*"), leaves, inner);
        } else {
            leaves.insert(path.to_owned());
        }
    }
    let root: Value = serde_json::from_str(jvp::manifest::schema::of(kind).unwrap()).unwrap();
    let (mut leaves, mut inner) = (BTreeSet::new(), BTreeSet::new());
    walk(kind, &root, &root["properties"]["spec"], "", &mut leaves, &mut inner);
    assert!(!leaves.is_empty(), "{kind}");
    (leaves, inner)
}

#[test]
fn every_leaf_of_every_schema_has_a_row_in_the_field_table() {
    let mut wrong = Vec::new();
    for kind in Kind::TABLE.iter().map(|row| row.kind) {
        for leaf in paths(kind).0 {
            if jvp::plan::field(kind, &leaf.replace('*', "key")).is_none() {
                wrong.push(format!("{kind} {leaf}"));
            }
        }
    }
    said(&wrong);
}

#[test]
fn every_row_of_the_field_table_names_a_path_of_its_schema() {
    let known: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> =
        Kind::TABLE.iter().map(|row| (row.name.to_owned(), paths(row.kind))).collect();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for row in jvp::plan::FIELDS {
        let (leaves, inner) = &known[row.kind.name()];
        let there = match row.path.strip_suffix("/**") {
            // A list that is one leaf has fields below it for whoever reads of them.
            Some(head) => inner.contains(head) || inner.contains(&format!("{head}/*")) || leaves.contains(head),
            None => leaves.contains(row.path) || inner.contains(row.path),
        };
        if !there {
            wrong.push(format!("{} {}: no such path", row.kind, row.path));
        }
        if !seen.insert((row.kind.name(), row.path)) {
            wrong.push(format!("{} {}: twice", row.kind, row.path));
        }
    }
    said(&wrong);
}

#[test]
fn every_promise_names_tests_that_exist() {
    let text = fs::read_to_string(root().join("tests/promises.md")).unwrap();
    let mut paths = Vec::new();
    files(&root().join("src"), "rs", &mut paths);
    files(&root().join("tests"), "rs", &mut paths);
    let code: String = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Sentence")) {
        rows += 1;
        let tests: Vec<&str> = line.rsplit_once(" | ").map_or("", |(_, tests)| tests).split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            wrong.push(format!("no test: {line}"));
        }
        for test in tests {
            let there = if test.contains('/') { root().join(test).exists() } else { code.contains(&format!("fn {test}(")) };
            if !there {
                wrong.push(format!("`{test}` doesn't exist: {line}"));
            }
        }
    }
    assert!(rows > 0);
    said(&wrong);
}
