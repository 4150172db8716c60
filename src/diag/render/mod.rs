//! How diagnostics are shown: one renderer a file. Each is a function of the diagnostics and the source map; colour is a
//! parameter, and nobody here asks a terminal anything.

mod concise;
mod full;
mod json;

use super::{Diagnostic, SourceMap};

/// A way to show diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// With the lines of the files, for people.
    Full,
    /// One line each, for editors and logs.
    Concise,
    /// An array of objects.
    Json,
}

/// `diagnostics` in `format`, sorted and without repetitions. Ends with a newline unless it is empty.
pub fn render(format: Format, diagnostics: &[Diagnostic], sources: &SourceMap, colour: bool) -> String {
    let mut sorted = diagnostics.to_vec();
    super::sort(&mut sorted, sources);
    match format {
        Format::Full => full::render(&sorted, sources, colour),
        Format::Concise => concise::render(&sorted, sources),
        Format::Json => json::render(&sorted, sources),
    }
}

/// `text` in one line, without characters that would disturb a terminal.
fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push(' '),
            c if is_unsafe(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// Control characters, and those that turn the direction of a line.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
