//! One line a diagnostic: `file:line:column: error[JVP0102]: message; help`.

use super::one_line;
use crate::diag::{Diagnostic, Label, SourceMap};

pub(super) fn render(diagnostics: &[Diagnostic], sources: &SourceMap) -> String {
    diagnostics.iter().map(|d| line(d, sources)).collect()
}

fn line(diagnostic: &Diagnostic, sources: &SourceMap) -> String {
    let mut out = String::new();
    if let Some(label) = &diagnostic.primary {
        out.extend([&place(label, sources), ": "]);
    }
    out.extend([diagnostic.severity.word(), "[", diagnostic.code.row().code, "]: "]);
    if let Some(object) = &diagnostic.object {
        out.extend([object, ": "]);
    }
    out.push_str(&one_line(&diagnostic.message));
    for label in &diagnostic.secondary {
        let word = if label.text.is_empty() { "see" } else { &label.text };
        out.extend([" (", &one_line(word), " ", &place(label, sources), ")"]);
    }
    for help in &diagnostic.help {
        out.extend(["; ", &one_line(help)]);
    }
    out.push('\n');
    out
}

/// `file:line:column`, or the file alone where it has no text.
fn place(label: &Label, sources: &SourceMap) -> String {
    let name = one_line(sources.name(label.file));
    if sources.text(label.file).is_empty() {
        return name;
    }
    let at = sources.position(label.file, label.span.start);
    format!("{name}:{}:{}", at.line, at.column)
}
