//! Loading: whatever the text is, it ends, says something useful or nothing, points into the file, and what it took for whole is the
//! same when it is written anew out of its values. NUL stands between files.

use jvp::diag::render::{Format, render};
use jvp::diag::{FileId, SourceMap, Span};
use jvp::manifest::{Document, Loaded, ReadFiles, load, load_again};
use jvp::resolve::{check_document, check_set};
use serde_json::json;

/// The target.
pub fn target(data: &[u8]) {
    if let Some(texts) = super::texts(data) {
        let loaded = said(&texts);
        for document in &loaded.documents {
            is_read_back(document);
        }
    }
}

/// Loads, checks and shows the texts, and looks at every place that is told.
pub fn said(texts: &[&str]) -> Loaded {
    let mut sources = SourceMap::default();
    for (index, text) in texts.iter().enumerate() {
        sources.add(format!("{index}.yaml"), *text);
    }
    let mut known = ReadFiles::new();
    let loaded = load_again(&sources, &mut known);
    for document in &loaded.documents {
        for span in document.spans.open().all() {
            is_within(&sources, document.file, span);
        }
        for path in document.now.keys() {
            let label = document.field_label(path);
            is_within(&sources, label.file, label.span);
        }
        assert!(!loaded.diagnostics.iter().any(|d| d.object.as_deref() == Some("")), "an object without a name");
    }
    let mut diagnostics = loaded.diagnostics.clone();
    diagnostics.extend(loaded.documents.iter().flat_map(|document| check_document(document)));
    diagnostics.extend(check_set(&loaded.documents));
    for diagnostic in &diagnostics {
        assert!(diagnostic.primary.is_some(), "no place: {diagnostic:?}");
        for label in diagnostic.primary.iter().chain(&diagnostic.secondary) {
            is_within(&sources, label.file, label.span);
        }
    }
    for format in [Format::Full, Format::Concise, Format::Json] {
        let text = render(format, &diagnostics, &sources, false);
        let unsafe_for_terminals = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        if format != Format::Json {
            assert!(!text.contains(unsafe_for_terminals), "{text:?}");
        }
    }
    // What is known is not read again, and tells the same.
    let again = load_again(&sources, &mut known);
    assert_eq!(again.diagnostics, loaded.diagnostics);
    assert_eq!(again.broken, loaded.broken);
    assert_eq!(again.documents.len(), loaded.documents.len());
    loaded
}

/// Whether a span lies within its text, and cuts no character.
pub fn is_within(sources: &SourceMap, file: FileId, span: Span) {
    let text = sources.text(file);
    let range = span.range();
    assert!(range.end <= text.len(), "{span:?} in {} bytes", text.len());
    assert!(text.is_char_boundary(range.start) && text.is_char_boundary(range.end), "{span:?} cuts a character of {text:?}");
}

/// Whether a document that is written anew, as JSON, says the same. JSON is YAML.
fn is_read_back(document: &Document) {
    let (metadata, lifecycle) = (&document.metadata, &document.lifecycle);
    let value = json!({
        "apiVersion": document.api_version, "kind": document.object.kind, "metadata": metadata, "lifecycle": lifecycle,
        "spec": document.spec.to_value(),
    });
    let text = escaped(&value.to_string());
    let mut sources = SourceMap::default();
    sources.add("again.yaml", text.as_str());
    let again = load(&sources);
    assert!(again.diagnostics.is_empty(), "{text}\n{:?}", again.diagnostics);
    let [same] = again.documents.as_slice() else { unreachable!("one document, and nothing said of it: {text}") };
    assert_eq!(same.now, document.now, "{text}");
    assert_eq!((&same.spec, &same.metadata, &same.lifecycle), (&document.spec, metadata, lifecycle), "{text}");
}

/// JSON with those characters escaped that YAML doesn't take as they are.
pub fn escaped(json: &str) -> String {
    let refused = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    json.chars().map(|c| if refused(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}
