//! Properties of loading: whatever the bytes are, it ends, says something useful or nothing, and points into the file.
//!
//! 256 cases each; `PROPTEST_CASES` asks for more.

#![expect(clippy::unwrap_used, reason = "a test that can't read its corpus has failed")]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jvp::diag::render::{Format, render};
use jvp::diag::{Diagnostic, FileId, SourceMap, Span};
use jvp::manifest::load;
use jvp::resolve::{check_document, check_set};
use proptest::prelude::*;

/// Every manifest that stands in the checkout.
static CORPUS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut waiting = vec![root.join("tests/golden"), root.join("manifests"), root.join("examples")];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ext| ext == "yaml") {
                found.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    found.sort();
    found
});

/// Pieces of YAML that parsers stumble over.
const PIECES: &[&str] = &[
    "\t",
    "\r\n",
    "\u{feff}",
    "---\n",
    "...\n",
    "? ",
    ": ",
    "- ",
    "&a ",
    "*a",
    "<<: *a",
    "!!str ",
    "!x ",
    "|\n",
    ">-\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "#",
    "%YAML 1.2\n",
    "%TAG ! x\n",
    "\u{0}",
    "\u{2028}",
    "ä",
    "🐧",
    "\u{202e}",
    "null",
    "~",
    "0x",
    "1e999",
    "-9223372036854775809",
    "kind: List\nitems:\n",
    "  ",
    "\n",
    "\n\n",
    "\u{85}",
    "\\",
    "@",
    "`",
];

fn check_label(sources: &SourceMap, file: FileId, span: Span) {
    let text = sources.text(file);
    let range = span.range();
    assert!(range.end <= text.len(), "{span:?} in {} bytes", text.len());
    assert!(text.is_char_boundary(range.start) && text.is_char_boundary(range.end), "{span:?} cuts a character of {text:?}");
}

/// Loads, checks and shows the texts, and looks at every place that is told.
fn exercise(texts: &[&str]) -> Vec<Diagnostic> {
    let mut sources = SourceMap::default();
    for (index, text) in texts.iter().enumerate() {
        sources.add(format!("{index}.yaml"), *text);
    }
    let loaded = load(&sources);
    for document in &loaded.documents {
        for span in document.spans.all() {
            check_label(&sources, document.file, span);
        }
        for path in document.now.keys() {
            let label = document.field_label(path);
            check_label(&sources, label.file, label.span);
        }
    }
    let mut diagnostics = loaded.diagnostics;
    diagnostics.extend(loaded.documents.iter().flat_map(|document| check_document(document)));
    diagnostics.extend(check_set(&loaded.documents));
    for diagnostic in &diagnostics {
        assert!(diagnostic.primary.is_some(), "no place: {diagnostic:?}");
        for label in diagnostic.primary.iter().chain(&diagnostic.secondary) {
            check_label(&sources, label.file, label.span);
        }
    }
    for format in [Format::Full, Format::Concise, Format::Json] {
        let text = render(format, &diagnostics, &sources, false);
        let unsafe_for_terminals = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        if format != Format::Json {
            assert!(!text.contains(unsafe_for_terminals), "{text:?}");
        }
    }
    diagnostics
}

/// One change of a text.
#[derive(Debug, Clone)]
enum Change {
    Cut(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Insert(prop::sample::Index, &'static str),
    Any(prop::sample::Index, char),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), 1..20usize).prop_map(|(i, n)| Change::Cut(i, n)),
        (at(), 1..40usize).prop_map(|(i, n)| Change::Repeat(i, n)),
        (at(), prop::sample::select(PIECES)).prop_map(|(i, piece)| Change::Insert(i, piece)),
        (at(), any::<char>()).prop_map(|(i, c)| Change::Any(i, c)),
    ]
}

fn changed(text: &str, changes: &[Change]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for change in changes {
        let (Change::Cut(at, _) | Change::Repeat(at, _) | Change::Insert(at, _) | Change::Any(at, _)) = change;
        let at = at.index(chars.len() + 1);
        let end = |n: usize| (at + n).min(chars.len());
        match change {
            Change::Cut(_, n) => drop(chars.drain(at..end(*n))),
            Change::Repeat(_, n) => {
                let piece = chars[at..end(*n)].to_vec();
                chars.splice(at..at, piece);
            }
            Change::Insert(_, piece) => drop(chars.splice(at..at, piece.chars())),
            Change::Any(_, c) => chars.insert(at, *c),
        }
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_is_borne(text in any::<String>()) {
        exercise(&[&text]);
    }

    #[test]
    fn arbitrary_pieces_of_yaml_are_borne(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        exercise(&[&pieces.concat()]);
    }

    #[test]
    fn changed_manifests_are_borne(
        which in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let text = changed(which.get::<String>(&CORPUS), &changes);
        exercise(&[&text, other.get::<String>(&CORPUS).as_str()]);
    }

    #[test]
    fn what_is_read_does_not_depend_on_the_order_of_files(which in prop::collection::vec(any::<prop::sample::Index>(), 2..6)) {
        let objects = |order: &mut dyn Iterator<Item = (usize, &prop::sample::Index)>| {
            let mut sources = SourceMap::default();
            for (name, index) in order {
                sources.add(format!("{name}.yaml"), index.get::<String>(&CORPUS).as_str());
            }
            let loaded = load(&sources);
            let mut now: Vec<_> =
                loaded.documents.iter().map(|d| (sources.name(d.file).to_owned(), d.object.clone(), d.now.clone())).collect();
            now.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
            now
        };
        prop_assert_eq!(objects(&mut which.iter().enumerate()), objects(&mut which.iter().enumerate().rev()));
    }
}

#[test]
fn the_corpus_itself_is_borne() {
    assert!(CORPUS.len() > 20);
    exercise(&CORPUS.iter().map(String::as_str).collect::<Vec<_>>());
}
