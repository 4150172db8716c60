//! For people: the message, the lines of the files with the places underlined, and the ways out.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};

use super::{is_unsafe, one_line};
use crate::diag::{Diagnostic, FileId, Label, Severity, SourceMap};

/// Longer lines are cut before they are shown: a line of 16 MiB is no help.
const MAX_LINE: usize = 20_000;

pub(super) fn render(diagnostics: &[Diagnostic], sources: &SourceMap, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii).term_width(140);
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&renderer.render(&[group(diagnostic, sources)]));
        out.push_str("\n\n");
    }
    out
}

fn group<'a>(diagnostic: &Diagnostic, sources: &'a SourceMap) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = match &diagnostic.object {
        Some(object) => format!("{object}: {}", one_line(&diagnostic.message)),
        None => one_line(&diagnostic.message),
    };
    let mut group = level.primary_title(title).id(diagnostic.code.row().code).elements(std::iter::empty::<Element<'a>>());
    for (index, label) in diagnostic.primary.iter().chain(&diagnostic.secondary).enumerate() {
        let kind = if index == 0 && diagnostic.primary.is_some() { AnnotationKind::Primary } else { AnnotationKind::Context };
        group = match Excerpt::of(label, sources) {
            Some(excerpt) => group.element(excerpt.snippet(label, kind, sources)),
            None => group.element(Origin::path(one_line(sources.name(label.file)))),
        };
    }
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(one_line(help)));
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(one_line(note)));
    }
    group
}

/// The lines that a label is shown on, made safe for a terminal.
struct Excerpt {
    text: String,
    line: usize,
    start: usize,
    end: usize,
}

impl Excerpt {
    /// At most three lines from where the label begins; none for a file without text.
    fn of(label: &Label, sources: &SourceMap) -> Option<Self> {
        let text = sources.text(label.file);
        if text.is_empty() {
            return None;
        }
        let start = floor(text, label.span.start as usize);
        let end = floor(text, label.span.end as usize).max(start);
        let from = text.get(..start)?.rfind('\n').map_or(0, |i| i + 1);
        // The first line of what is marked is enough: a whole mapping underlined says no more than its head.
        let line_end = text.get(start..)?.find('\n').map_or(text.len(), |i| start + i);
        let end = end.min(line_end);
        let end = start + text.get(start..end)?.trim_end().len();
        // Of a very long line, what is around the place.
        let from = if start - from > MAX_LINE { floor(text, start - MAX_LINE / 4) } else { from };
        let to = floor(text, line_end.min(start + MAX_LINE));
        let end = end.min(to);
        let (mut clean, mut from_start, mut from_end) = (String::new(), 0, 0);
        for (i, c) in text.get(from..to)?.char_indices() {
            if from + i == start {
                from_start = clean.len();
            }
            if from + i == end {
                from_end = clean.len();
            }
            if is_unsafe(c) && c != '\t' {
                clean.push(if c == '\r' { ' ' } else { '\u{fffd}' });
            } else {
                clean.push(c);
            }
        }
        if start == to {
            from_start = clean.len();
        }
        if end == to {
            from_end = clean.len();
        }
        let line = sources.position(label.file, label.span.start).line;
        Some(Self { text: clean, line, start: from_start, end: from_end.max(from_start) })
    }

    fn snippet<'a>(
        self,
        label: &Label,
        kind: AnnotationKind,
        sources: &'a SourceMap,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let mut annotation = kind.span(self.start..self.end);
        if !label.text.is_empty() {
            annotation = annotation.label(one_line(&label.text));
        }
        Snippet::source(self.text).line_start(self.line).path(path(label.file, sources)).annotation(annotation)
    }
}

fn path(file: FileId, sources: &SourceMap) -> String {
    one_line(sources.name(file))
}

/// The boundary of a character at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}
