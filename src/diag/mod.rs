//! Diagnostics: bad news about the user's text, with a code, the place and a way out. Collected, never the first only.
//!
//! Nothing here touches a terminal or a file, and nothing here is about the world: a host that doesn't answer is an error, not a
//! diagnostic.

mod code;
mod example;
mod explain;
pub mod render;
mod source;

use std::collections::BTreeSet;

pub use code::{Code, CodeRow};
pub use example::Example;
pub use explain::page;
pub use source::{FileId, Position, SourceMap, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is done while it stands.
    Error,
    /// It is done, but probably not what was meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A place in a file, with a word about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// The file.
    pub file: FileId,
    /// The bytes.
    pub span: Span,
    /// What is to be said of them; may be empty.
    pub text: String,
}

impl Label {
    /// The bytes of `span` in `file`, without a word.
    pub fn new(file: FileId, span: Span) -> Self {
        Self { file, span, text: String::new() }
    }

    /// The same place, with a word about it.
    #[must_use]
    pub fn says(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }
}

/// One piece of bad news about the user's text.
#[must_use = "a diagnostic that nobody shows helps nobody"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What rule was broken.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence without a full stop that begins in lower case and names what is wrong.
    pub message: String,
    /// The object that it is about, as `Kind/name`.
    pub object: Option<String>,
    /// The place that has to change.
    pub primary: Option<Label>,
    /// Other places that have part in it.
    pub secondary: Vec<Label>,
    /// Ways out, the likeliest first.
    pub help: Vec<String>,
    /// What is worth knowing besides.
    pub notes: Vec<String>,
}

impl Diagnostic {
    /// A diagnostic of the code's own severity, without a place.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.row().severity,
            message: message.into(),
            object: None,
            primary: None,
            secondary: Vec::new(),
            help: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// At this place.
    pub fn at(mut self, label: Label) -> Self {
        self.primary = Some(label);
        self
    }

    /// This place has part in it.
    pub fn and(mut self, label: Label) -> Self {
        self.secondary.push(label);
        self
    }

    /// About this object.
    pub fn about(mut self, object: impl std::fmt::Display) -> Self {
        self.object = Some(object.to_string());
        self
    }

    /// With a way out.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// With something worth knowing.
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }
}

/// Whether any of them is an error.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|d| d.severity == Severity::Error)
}

/// Sorts by the file's name and the place in it, and drops what was said before. Those without a place come first.
pub fn sort(diagnostics: &mut Vec<Diagnostic>, sources: &SourceMap) {
    diagnostics.sort_by(|a, b| key(a, sources).cmp(&key(b, sources)));
    let mut seen = BTreeSet::new();
    diagnostics.retain(|d| {
        let place = d.primary.as_ref().map(|label| (label.file, label.span));
        seen.insert((d.code, place, d.object.clone(), d.message.clone()))
    });
}

type Key<'a> = (Option<(&'a str, Span)>, Code, &'a str);

fn key<'a>(diagnostic: &'a Diagnostic, sources: &'a SourceMap) -> Key<'a> {
    let place = diagnostic.primary.as_ref().map(|label| (sources.name(label.file), label.span));
    (place, diagnostic.code, &diagnostic.message)
}
