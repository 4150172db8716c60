//! Fragments of `xml:`: what is merged into a document is there then, once; what is taken out of it is gone, and nothing else of it
//! changes. A document, NUL, and a fragment.

use std::collections::BTreeSet;

use jvp::diag::SourceMap;
use jvp::manifest::load;
use jvp::resolve::{check_document, check_set};
use jvp::xml::domain::{Fragment, merge, merge_dropping, parse_fragment, paths, read};
use serde_json::json;

use super::load::{escaped, is_within};
use super::shape::{self, Except};

/// The target.
pub fn target(data: &[u8]) {
    let Some(texts) = super::texts(data) else { return };
    let (text, written) = (texts[0], texts.get(1).copied().unwrap_or_default());
    in_a_manifest(written);
    let fragment = match parse_fragment(written) {
        Ok(fragment) => fragment,
        Err(error) => {
            if let Some((line, _)) = error.at {
                let lines = u32::try_from(written.split('\n').count()).unwrap_or(u32::MAX);
                assert!((1..=lines).contains(&line), "{error} in {written:?}");
            }
            return;
        }
    };
    // What somebody also writes where nothing is secret shows there.
    let stands_elsewhere = |value: &str| {
        let mut open = fragment.leaves().values().filter(|leaf| !leaf.sensitive).filter_map(|leaf| leaf.value.as_ref());
        open.any(|open| open.contains(value))
    };
    for (path, leaf) in fragment.leaves() {
        assert!(path.starts_with("/xml"), "{path} in {written}");
        if leaf.sensitive
            && let Some(value) = leaf.value.as_ref().filter(|value| value.len() > 20)
            && !stands_elsewhere(value)
        {
            assert!(!format!("{fragment:?}").contains(value.as_str()), "a secret shows: {path} in {written}");
        }
    }
    if let Ok(merged) = merge(text, &fragment) {
        is_merged(text, &fragment, &merged);
    }
}

/// A manifest with it in `xml:` is read and checked, and what is said of it has its place.
fn in_a_manifest(written: &str) {
    let value = json!({
        "apiVersion": "jvp.dev/v1alpha1", "kind": "VirtualMachine", "metadata": {"name": "a"},
        "spec": {"memory": "1Gi", "disks": [{"name": "root", "claim": {"pool": "p", "capacity": "1Gi"}}], "xml": written},
    });
    let mut sources = SourceMap::default();
    sources.add("a.yaml", escaped(&value.to_string()));
    let loaded = load(&sources);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let found = loaded.documents.iter().flat_map(|document| check_document(document)).chain(check_set(&loaded.documents));
    let found: Vec<_> = found.collect();
    for label in found.iter().flat_map(|diagnostic| diagnostic.primary.iter().chain(&diagnostic.secondary)) {
        is_within(&sources, label.file, label.span);
    }
    // What a check lets pass is at least a document.
    assert!(!found.is_empty() || roxmltree::Document::parse(written).is_ok(), "{written:?} is nobody's concern");
}

fn is_merged(text: &str, fragment: &Fragment, merged: &str) {
    let leaves = match read(merged, fragment) {
        Ok(leaves) => leaves,
        Err(error) => unreachable!("{error}: a fragment can't be found in\n{merged}"),
    };
    for (path, leaf) in &leaves {
        assert_eq!(leaf.found, leaf.wanted, "{path} of {fragment:?} merged into\n{text}\nis not in\n{merged}");
    }
    assert_eq!(merge(merged, fragment).as_deref(), Ok(merged), "a second merge of {fragment:?} changes something");
    assert!(roxmltree::Document::parse(merged).is_ok(), "{fragment:?} merged into\n{text}\nis no document:\n{merged}");
    // What is remembered names all leaves, and whole elements beside them.
    let Ok(remembered) = fragment.remembered(text, &BTreeSet::new()) else {
        unreachable!("{fragment:?} can't be remembered in\n{text}")
    };
    assert!(paths(fragment).is_subset(&remembered), "{remembered:?}");
    let Ok(none) = parse_fragment("<domain/>") else { unreachable!("a fragment of nothing") };
    let Ok(same) = merge(text, &none) else {
        unreachable!(
            "nothing can't be merged into
{text}"
        )
    };
    shape::same(text, &same, &Except::NOTHING);
    let Ok(without) = merge_dropping(merged, &none, &remembered) else {
        unreachable!("{fragment:?} can't be taken out of\n{merged}")
    };
    // Whatever it brought is gone: nothing of it is found that the document hadn't before.
    let (Ok(before), Ok(after)) = (read(text, fragment), read(&without, fragment)) else {
        unreachable!("{fragment:?} can't be looked for in\n{without}")
    };
    for (path, leaf) in after {
        let had = before.get(&path).is_some_and(|leaf| leaf.found.is_some());
        assert!(leaf.found.is_none() || had, "{path} of {fragment:?} stays in\n{without}\nof\n{text}");
    }
}
