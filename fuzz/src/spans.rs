//! The span index: each value and key of a document is where the index says. Whatever stands at the place of a value may be written
//! there in another way, and the document stays the same. NUL stands between files.

use std::collections::BTreeMap;

use jvp::diag::{FileId, SourceMap};
use jvp::manifest::{Document, escape, load};
use serde_json::Value;

use super::load::{escaped, is_within};

/// The target.
pub fn target(data: &[u8]) {
    let Some(texts) = super::texts(data) else { return };
    for text in texts {
        // Where a value stands twice, or what it is stands beside it, another way to write it is another thing.
        let plainly = !text.contains(['&', '*', '!', '%']);
        are_right(text, plainly);
    }
}

fn are_right(text: &str, plainly: bool) {
    let mut sources = SourceMap::default();
    let file = sources.add("t.yaml", text);
    let loaded = load(&sources);
    let mut places: BTreeMap<(usize, usize), String> = BTreeMap::new();
    for document in &loaded.documents {
        for span in document.spans.open().all() {
            is_within(&sources, file, span);
            is_counted(&sources, file, span.start);
            is_counted(&sources, file, span.end);
        }
        for (pointer, value) in scalars(document) {
            let span = document.spans.open().value(&pointer).map(jvp::diag::Span::range);
            let Some(span) = span else { unreachable!("{pointer} stands nowhere in {text:?}") };
            assert_eq!(document.label(&pointer).span.range(), span, "the place of {pointer} in {text:?}");
            if plainly {
                holds(document, text, &pointer);
                assert_eq!(text[span.clone()].trim_end(), &text[span.clone()], "more than {pointer} in {text:?}");
                match value.as_str().filter(|_| is_block(text, span.start)) {
                    Some(value) => {
                        let written = text[span].split_whitespace();
                        assert!(written.eq(value.split_whitespace()), "{pointer} is not {value:?} in {text:?}");
                    }
                    None => {
                        places.insert((span.start, span.end), escaped(&value.to_string()));
                    }
                }
            }
        }
        for pointer in ["/spec/nothing", "/metadata/name/0", "/spec/disks/99/name", "", "/", "//", "/~2"] {
            is_within(&sources, file, document.label(pointer).span);
            is_within(&sources, file, document.key_label(pointer).span);
        }
    }
    if places.is_empty() || !loaded.diagnostics.is_empty() {
        return;
    }
    let mut other = text.to_owned();
    let mut before = text.len();
    for ((start, end), written) in places.into_iter().rev() {
        assert!(end <= before, "two values in one place, at byte {start} of {text:?}");
        other.replace_range(start..end, &written);
        before = start;
    }
    let mut sources = SourceMap::default();
    sources.add("t.yaml", other.as_str());
    let again = load(&sources);
    assert!(again.diagnostics.is_empty(), "{text:?}\n{other:?}\n{:?}", again.diagnostics);
    let said = |documents: &[std::sync::Arc<Document>]| -> Vec<_> {
        documents.iter().map(|d| (d.object.clone(), d.now.clone(), d.metadata.clone(), d.lifecycle.clone())).collect()
    };
    assert_eq!(said(&again.documents), said(&loaded.documents), "{text:?}\n{other:?}");
}

/// Whether what begins at a byte is the text of a block (`|` or `>`), whose index leaves out the header.
fn is_block(text: &str, start: usize) -> bool {
    let before = &text[..start];
    let head = before.rsplit_once('\n').filter(|(_, indent)| indent.trim().is_empty()).map_or("", |(head, _)| head.trim_end());
    let line = head.rsplit('\n').next().unwrap_or_default();
    let line = line.split_once(" #").map_or(line, |(line, _)| line).trim_end();
    line.rsplit([' ', '\t']).next().is_some_and(|word| {
        word.starts_with(['|', '>']) && word[1..].chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-'))
    })
}

/// The scalars of a document in their canonical form, by pointer.
fn scalars(document: &Document) -> Vec<(String, Value)> {
    fn below(pointer: &str, value: Value, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(fields) => {
                fields.into_iter().for_each(|(name, value)| below(&format!("{pointer}/{}", escape(&name)), value, found));
            }
            Value::Array(items) => {
                items.into_iter().enumerate().for_each(|(at, value)| below(&format!("{pointer}/{at}"), value, found));
            }
            Value::Null => {}
            scalar => found.push((pointer.to_owned(), scalar)),
        }
    }
    let mut found = Vec::new();
    below("/spec", document.spec.to_value(), &mut found);
    for (part, value) in
        [("/metadata", serde_json::to_value(&document.metadata)), ("/lifecycle", serde_json::to_value(&document.lifecycle))]
    {
        below(part, value.unwrap_or_default(), &mut found);
    }
    found
}

/// Whether each value around lies around the one at `pointer`, and its key reads as the pointer's last token.
fn holds(document: &Document, text: &str, pointer: &str) {
    let mut inner = pointer;
    while let Some((outer, token)) = inner.rsplit_once('/') {
        let (Some(value), Some(around)) = (document.spans.open().value(inner), document.spans.open().value(outer)) else {
            unreachable!("{inner} stands nowhere in {text:?}");
        };
        assert!(around.start <= value.start && value.end <= around.end, "{inner} is not within {outer} in {text:?}");
        if let Some(key) = document.spans.open().key(inner) {
            assert!(around.start <= key.start && key.end <= value.start, "the key of {inner} in {text:?}");
            let written = &text[key.range()];
            let quoted = ['"', '\''].iter().find_map(|quote| written.strip_prefix(*quote)?.strip_suffix(*quote));
            let name = token.replace("~1", "/").replace("~0", "~");
            if !written.contains(['\\', '\n', '\r', '|', '>', '#']) && !quoted.is_some_and(|inside| inside.contains("''")) {
                assert_eq!(
                    quoted.unwrap_or(written),
                    if quoted.is_some() { &name } else { name.trim_end() },
                    "the key of {inner} in {text:?}"
                );
            }
        }
        inner = outer;
    }
}

/// Whether the line and the column of a byte are those that one counts.
fn is_counted(sources: &SourceMap, file: FileId, offset: u32) {
    let Some(before) = sources.text(file).get(..offset as usize) else { return };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    let position = sources.position(file, offset);
    assert_eq!((position.line, position.column), (line, column), "byte {offset}");
}
