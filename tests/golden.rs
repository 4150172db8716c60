//! Golden diagnostics: every folder of `tests/golden/diag` is a case. Its `*.yaml` are loaded and checked, and what is said of
//! them is in `expected.txt`: concise, an empty line, then in full. `JVP_UPDATE=1 cargo test --test golden` writes it anew.
//!
//! Input that no file should hold (alias bombs, 200,000 brackets, names of 300 characters) is made by [`made`].

#![expect(clippy::unwrap_used, reason = "a test that can't read its cases has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use jvp::diag::SourceMap;
use jvp::diag::render::{Format, render};
use jvp::manifest::load;
use jvp::resolve::{check_document, check_set};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/diag")
}

/// What is said of a set of files, in two formats.
fn said(files: &[(String, String)]) -> String {
    let mut sources = SourceMap::default();
    for (name, text) in files {
        sources.add(name.as_str(), text.as_str());
    }
    let loaded = load(&sources);
    let mut diagnostics = loaded.diagnostics;
    diagnostics.extend(loaded.documents.iter().flat_map(|document| check_document(document)));
    diagnostics.extend(check_set(&loaded.documents));
    let concise = render(Format::Concise, &diagnostics, &sources, false);
    let json: serde_json::Value = serde_json::from_str(&render(Format::Json, &diagnostics, &sources, false)).unwrap();
    assert_eq!(json.as_array().unwrap().len(), concise.lines().count(), "every format says the same");
    format!("{concise}\n{}", render(Format::Full, &diagnostics, &sources, false))
}

fn yaml_files(case: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(case)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Cases whose input is made, by the name of their folder.
fn made(case: &str) -> Option<String> {
    let named = |name: &str| {
        format!("apiVersion: jvp.dev/v1alpha1\nkind: KeyPair\nmetadata: {{name: {name}}}\nspec: {{generate: true}}\n")
    };
    Some(match case {
        "made-alias-bomb" => {
            let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
            for i in 1..30 {
                let row = vec![format!("*a{}", i - 1); 9].join(", ");
                text.extend([format!("a{i}: &a{i} [{row}]\n")]);
            }
            text
        }
        "made-brackets" => "[".repeat(200_000),
        "made-indents" => (0..2000).flat_map(|i| ["  ".repeat(i), "- a:\n".to_owned()]).collect(),
        "made-long-name" => named(&"n".repeat(300)),
        "made-nul" => "apiVersion: jvp.dev/v1alpha1\nkind: KeyPair\nmetadata: {name: \"a\u{0}b\"}\n".to_owned(),
        "made-nul-escaped" => named("\"a\\0b\""),
        "made-long-line" => format!(
            "apiVersion: jvp.dev/v1alpha1\nkind: KeyPair\nmetadata: {{name: a, labels: {{x: {}}}, lables: 1}}\nspec: {{}}\n",
            "y".repeat(5000)
        ),
        _ => return None,
    })
}

#[test]
fn what_is_said_of_each_case_is_what_is_recorded() {
    let update = std::env::var_os("JVP_UPDATE").is_some();
    let mut cases: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_dir()).collect();
    cases.sort();
    assert!(cases.len() >= 35, "the cases are gone");
    let mut wrong = Vec::new();
    for case in cases {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let files = match made(&name) {
            Some(text) => vec![("made.yaml".to_owned(), text)],
            None => yaml_files(&case),
        };
        let start = std::time::Instant::now();
        let now = said(&files);
        assert!(start.elapsed().as_secs() < 20, "{name} takes too long");
        let expected = case.join("expected.txt");
        if update {
            fs::write(&expected, &now).unwrap();
        } else if fs::read_to_string(&expected).ok().as_deref() != Some(&now) {
            wrong.push(format!("── {name}\n{now}"));
        }
    }
    assert!(wrong.is_empty(), "not as recorded (JVP_UPDATE=1 records it anew):\n{}", wrong.join("\n"));
}
