//! Properties of loading: whatever the bytes are, it ends, says something useful or nothing, and points into the file.
//!
//! 256 cases each; `PROPTEST_CASES` asks for more.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jvp::diag::SourceMap;
use jvp::manifest::load;
use proptest::prelude::*;

use crate::targets::load::said;

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
        drop(said(&[&text]));
    }

    #[test]
    fn arbitrary_pieces_of_yaml_are_borne(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        drop(said(&[&pieces.concat()]));
    }

    #[test]
    fn changed_manifests_are_borne(
        which in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let text = changed(which.get::<String>(&CORPUS), &changes);
        drop(said(&[&text, other.get::<String>(&CORPUS).as_str()]));
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
    drop(said(&CORPUS.iter().map(String::as_str).collect::<Vec<_>>()));
}
