//! libvirt's documents: read, patched with what a manifest wants, and read again. The reading is then as wanted, a second patch changes
//! nothing, and what nobody wanted changed is there as it was. A document, NUL, and manifests.

mod domain;
mod network;
mod storage;

use std::sync::Arc;

use jvp::manifest::Document;
use jvp::resolve::check_document;
use jvp::xml;
use serde_json::Value;

/// The target.
pub fn target(data: &[u8]) {
    let Some(texts) = super::texts(data) else { return };
    let (text, manifests) = (texts[0], texts.get(1).copied().unwrap_or_default());
    let wanted = right(manifests);
    domain::target(text, &wanted);
    network::target(text, &wanted);
    storage::target(text, &wanted);
    let shown = xml::pretty(text);
    if let Ok(shown) = &shown {
        assert_eq!(xml::pretty(shown).as_ref(), Ok(shown), "what is shown is shown as it is");
    }
    assert!(xml::Mark::from_document(text).is_ok() || shown.is_err(), "{text}");
}

/// The documents of manifests with which nothing is wrong.
fn right(text: &str) -> Vec<Arc<Document>> {
    let mut sources = jvp::diag::SourceMap::default();
    sources.add("t.yaml", text);
    let mut documents = jvp::manifest::load(&sources).documents;
    documents.retain(|document| check_document(document).is_empty());
    documents
}

/// Whether everything that is wanted stands in what was read, leaf by leaf.
fn stands_in(wanted: &Value, read: &Value, at: &str, whole: &str) {
    match (wanted, read) {
        (Value::Object(wanted), Value::Object(read)) => {
            for (name, value) in wanted {
                let found = read.get(name).unwrap_or(&Value::Null);
                stands_in(value, found, &format!("{at}/{name}"), whole);
            }
        }
        _ => assert_eq!(wanted, read, "{at} is not as wanted in\n{whole}"),
    }
}
