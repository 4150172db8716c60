//! An array of objects, for programs. Lines and columns count from 1, columns in characters.

use serde_json::{Value, json};

use crate::diag::{Diagnostic, Label, SourceMap};

pub(super) fn render(diagnostics: &[Diagnostic], sources: &SourceMap) -> String {
    let array: Vec<Value> = diagnostics.iter().map(|d| object(d, sources)).collect();
    let mut text = format!("{:#}", Value::Array(array));
    text.push('\n');
    text
}

fn object(diagnostic: &Diagnostic, sources: &SourceMap) -> Value {
    let row = diagnostic.code.row();
    json!({
        "code": row.code,
        "name": row.name,
        "severity": diagnostic.severity.word(),
        "message": diagnostic.message,
        "object": diagnostic.object,
        "location": diagnostic.primary.as_ref().map(|label| place(label, sources)),
        "related": diagnostic.secondary.iter().map(|label| place(label, sources)).collect::<Vec<_>>(),
        "help": diagnostic.help,
        "notes": diagnostic.notes,
    })
}

fn place(label: &Label, sources: &SourceMap) -> Value {
    let start = sources.position(label.file, label.span.start);
    let end = sources.position(label.file, label.span.end);
    json!({
        "file": sources.name(label.file),
        "line": start.line,
        "column": start.column,
        "endLine": end.line,
        "endColumn": end.column,
        "label": label.text,
    })
}
