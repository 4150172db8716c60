//! YAML: the events of a parser become values with their places, within hard limits of depth, number and expansion.
//!
//! Nothing here knows what a manifest is. It never fails: what can't be read is a diagnostic, and the document isn't clean.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};
use serde_json::{Map, Value};

use super::offsets::Offsets;
use super::scalar::resolve;
use super::span::SpanIndex;
use crate::diag::{Code, Diagnostic, FileId, Label, Span};

/// How deep mappings and lists may lie in each other.
pub const MAX_DEPTH: usize = 128;

/// How many values a file may hold, with its aliases written out. Long text counts for more than one.
pub const MAX_VALUES: usize = 500_000;

/// How many mistakes of one file are told: nobody reads more, and a file of nothing but mistakes must not fill the memory.
pub(super) const MAX_MISTAKES: usize = 1_000;

/// One document of a file.
#[derive(Debug)]
pub(super) struct Raw {
    /// Its value.
    pub(super) value: Value,
    /// Where what of it stands.
    pub(super) spans: SpanIndex,
    /// Whether it was read without an error. One that isn't must not be taken for what its author wrote.
    pub(super) clean: bool,
}

/// Reads every document of `text`. After an error of syntax nothing more of the file is read.
pub(super) fn read(file: FileId, text: &str) -> (Vec<Raw>, Vec<Diagnostic>) {
    let mut reader = Reader::new(file, text);
    if let Err(stop) = reader.check_characters().and_then(|()| reader.check_brackets()).and_then(|()| reader.run()) {
        reader.diagnostics.push(*stop);
    }
    (reader.documents, reader.diagnostics)
}

/// A value with its places, on its way to its parent.
#[derive(Clone)]
struct Node {
    value: Value,
    spans: SpanIndex,
    weight: usize,
}

/// A list or mapping that is still open.
struct Frame {
    start: usize,
    anchor: usize,
    weight: usize,
    kind: FrameKind,
}

enum FrameKind {
    List(Vec<Value>, Vec<SpanIndex>),
    Mapping { fields: Map<String, Value>, spans: Vec<(Box<str>, SpanIndex)>, key: Key },
}

/// What a mapping awaits.
enum Key {
    /// A key.
    Wanted,
    /// The value of this key.
    Read(String, Span),
    /// The value of a key that was refused.
    Refused,
}

/// Boxed: it is carried through every step, and seldom made.
type Stop = Box<Diagnostic>;

struct Reader<'a> {
    file: FileId,
    text: &'a str,
    /// Bytes before the text that the parser sees: a byte order mark.
    skipped: usize,
    offsets: Offsets,
    frames: Vec<Frame>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
    clean: bool,
    /// Values read and expanded so far.
    total: usize,
    documents: Vec<Raw>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    fn new(file: FileId, text: &'a str) -> Self {
        let body = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            file,
            text: body,
            skipped: text.len() - body.len(),
            offsets: Offsets::new(body),
            frames: Vec::new(),
            anchors: BTreeMap::new(),
            root: None,
            clean: true,
            total: 0,
            documents: Vec::new(),
            diagnostics: Vec::new(),
        }
    }

    /// Control characters are no part of YAML, and a parser may take NUL for the end of the file.
    fn check_characters(&self) -> Result<(), Stop> {
        let bad = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
        match self.text.char_indices().find(|(_, c)| bad(*c)) {
            None => Ok(()),
            Some((at, c)) => {
                let message = format!("the control character U+{:04X} has no place in YAML", u32::from(c));
                let diagnostic = Diagnostic::new(Code::NotText, message).at(self.label(at, at + c.len_utf8()));
                Err(Box::new(diagnostic.help("within a quoted text write it as an escape, such as `\"\\u0001\"`")))
            }
        }
    }

    /// The parser holds a whole `[…]` or `{…}` in memory before it tells of it, so what can't be within the limits is refused
    /// by counting characters.
    fn check_brackets(&self) -> Result<(), Stop> {
        match self.text.bytes().enumerate().filter(|(_, b)| matches!(b, b',' | b'[' | b'{')).nth(MAX_VALUES) {
            None => Ok(()),
            Some((at, _)) => {
                let message = format!("the file holds more than {MAX_VALUES} commas and brackets");
                let diagnostic = Diagnostic::new(Code::TooBig, message).at(self.label(at, at + 1));
                Err(Box::new(diagnostic.help("split it into several files")))
            }
        }
    }

    fn run(&mut self) -> Result<(), Stop> {
        let mut parser = Parser::new_from_str(self.text);
        loop {
            match parser.next_event() {
                None | Some(Ok((Event::StreamEnd, _))) => return Ok(()),
                Some(Err(error)) => return Err(self.syntax(&error)),
                Some(Ok((event, span))) => {
                    let start = self.offsets.byte(self.text, span.start.index());
                    let end = self.offsets.byte(self.text, span.end.index()).max(start);
                    self.event(event, start, end)?;
                    if self.diagnostics.len() >= MAX_MISTAKES {
                        self.clean = false;
                        return Ok(());
                    }
                }
            }
        }
    }

    fn event(&mut self, event: Event<'_>, start: usize, end: usize) -> Result<(), Stop> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                self.frames.clear();
                self.root = None;
                self.clean = true;
                Ok(())
            }
            Event::DocumentEnd => {
                if let Some(root) = self.root.take() {
                    self.documents.push(Raw { value: root.value, spans: root.spans, clean: self.clean });
                }
                Ok(())
            }
            Event::Alias(id) => self.alias(id, start, end),
            Event::Scalar(text, style, anchor, tag) => {
                // The parser has a block of text end where the next thing begins, and a quoted one within brackets before the comma.
                let written = self.text.get(start..end).unwrap_or_default();
                let end = match style {
                    ScalarStyle::Literal | ScalarStyle::Folded => start + written.trim_end().len(),
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => start + quoted(written).len(),
                    ScalarStyle::Plain => end,
                };
                let weight = 1 + text.len() / 64;
                self.count(weight, start, end)?;
                // Of a key only the text is of use, and of a value all but that.
                let is_key = self.awaits_key();
                let value = if is_key && tag.is_none() && anchor == 0 {
                    Value::Null
                } else {
                    self.scalar(&text, style, tag.as_deref(), start, end)
                };
                let node = Node { value, spans: SpanIndex::scalar(self.span(start, end)), weight };
                self.complete(node, anchor, is_key.then(|| text.into_owned()))
            }
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", start, end);
                self.open(start, end, anchor, FrameKind::List(Vec::new(), Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", start, end);
                let kind = FrameKind::Mapping { fields: Map::new(), spans: Vec::new(), key: Key::Wanted };
                self.open(start, end, anchor, kind)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(end),
        }
    }

    /// Whether the next value is a mapping's key.
    fn awaits_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame { kind: FrameKind::Mapping { key: Key::Wanted, .. }, .. }))
    }

    fn open(&mut self, start: usize, end: usize, anchor: usize, kind: FrameKind) -> Result<(), Stop> {
        self.count(1, start, end)?;
        if self.frames.len() >= MAX_DEPTH {
            return Err(self.too_deep(start));
        }
        self.frames.push(Frame { start, anchor, weight: 1, kind });
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), Stop> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let flow = self.text.get(frame.start..).is_some_and(|rest| rest.starts_with(['[', '{']));
        // A block ends with its last value; the parser says so only at whatever comes after it.
        let to = |last: Option<&SpanIndex>, skipped: usize| match last {
            Some(last) if !flow => (last.whole().end as usize).saturating_sub(skipped).max(frame.start),
            None if !flow => frame.start,
            _ => end,
        };
        let (value, spans) = match frame.kind {
            FrameKind::List(items, spans) => {
                let span = self.span(frame.start, to(spans.last(), self.skipped));
                (Value::Array(items), SpanIndex::list(span, spans))
            }
            FrameKind::Mapping { fields, spans, .. } => {
                let last = spans.iter().map(|(_, index)| index).max_by_key(|index| index.whole().end);
                let span = self.span(frame.start, to(last, self.skipped));
                (Value::Object(fields), SpanIndex::mapping(span, spans))
            }
        };
        self.complete(Node { value, spans, weight: frame.weight }, frame.anchor, None)
    }

    fn alias(&mut self, id: usize, start: usize, end: usize) -> Result<(), Stop> {
        let Some(node) = self.anchors.get(&id) else {
            let message = "the alias refers to a value that it is part of";
            return Err(Box::new(Diagnostic::new(Code::Syntax, message).at(self.label(start, end))));
        };
        let (weight, node) = (node.weight, node.clone());
        self.count(weight, start, end)?;
        let text = node.value.as_str().map(ToOwned::to_owned);
        self.complete(node, 0, text)
    }

    /// Puts a whole value where it belongs. `text` is what it says as a key.
    fn complete(&mut self, node: Node, anchor: usize, text: Option<String>) -> Result<(), Stop> {
        if anchor != 0 {
            let at = node.spans.whole().range();
            self.count(node.weight, at.start, at.end)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.weight += node.weight;
        match &mut frame.kind {
            FrameKind::List(items, spans) => {
                items.push(node.value);
                spans.push(node.spans);
            }
            FrameKind::Mapping { fields, spans, key } => match std::mem::replace(key, Key::Wanted) {
                Key::Wanted => {
                    let span = node.spans.whole();
                    let first = |name: &str| {
                        let known = spans.iter().find(|(known, _)| **known == *name);
                        known.and_then(|(_, index)| index.key_span()).unwrap_or(span)
                    };
                    let refused = match text {
                        None => Some(
                            Diagnostic::new(Code::KeyType, "a key has to be a word, not a list or a mapping")
                                .help("a value that begins with `{` or `[` and is text needs quotes"),
                        ),
                        Some(name) if name == "<<" => Some(
                            Diagnostic::new(Code::MergeKey, "merge keys (`<<`) are not supported")
                                .help("write the fields out where they are meant"),
                        ),
                        Some(name) if fields.contains_key(&name) => Some(
                            Diagnostic::new(Code::DuplicateKey, format!("the key `{}` stands here twice", short(&name)))
                                .and(Label::new(self.file, first(&name)).says("first here"))
                                .help("take one of them out"),
                        ),
                        Some(name) => {
                            *key = Key::Read(name, span);
                            None
                        }
                    };
                    if let Some(diagnostic) = refused {
                        *key = Key::Refused;
                        self.clean = false;
                        self.diagnostics.push(diagnostic.at(Label::new(self.file, span)));
                    }
                }
                Key::Read(name, span) => {
                    spans.push((name.as_str().into(), node.spans.keyed(span)));
                    fields.insert(name, node.value);
                }
                Key::Refused => {}
            },
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, start: usize, end: usize) -> Value {
        let plain = |text: &str| if style == ScalarStyle::Plain { resolve(text) } else { Value::from(text) };
        let Some(tag) = tag else { return plain(text) };
        // `!` alone, and `!!str`, make text of whatever stands there.
        let suffix = if tag.is_yaml_core_schema() { tag.suffix.as_str() } else { "" };
        let value = match suffix {
            "str" => return Value::from(text),
            "null" | "bool" | "int" | "float" => resolve(text),
            _ if tag.handle.is_empty() && tag.suffix == "!" => return Value::from(text),
            _ => {
                self.refuse_tag(tag, start, end);
                return plain(text);
            }
        };
        let fits = match suffix {
            "null" => value.is_null(),
            "bool" => value.is_boolean(),
            "int" => value.is_i64() || value.is_u64(),
            _ => value.is_number(),
        };
        if !fits {
            self.refuse_tag(tag, start, end);
        }
        value
    }

    fn collection_tag(&mut self, tag: Option<&Tag>, own: &str, start: usize, end: usize) {
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && tag.suffix == own)) {
            self.refuse_tag(tag, start, end);
        }
    }

    fn refuse_tag(&mut self, tag: &Tag, start: usize, end: usize) {
        self.clean = false;
        let message = format!("the tag `{}` means nothing here", short(&tag.to_string()));
        let diagnostic = Diagnostic::new(Code::Tag, message).at(self.label(start, end));
        self.diagnostics.push(diagnostic.help("take the tag out; a value that begins with `!` needs quotes"));
    }

    fn count(&mut self, weight: usize, start: usize, end: usize) -> Result<(), Stop> {
        self.total = self.total.saturating_add(weight);
        if self.total <= MAX_VALUES {
            return Ok(());
        }
        let message = format!("with its aliases written out, the file holds more than {MAX_VALUES} values");
        let diagnostic = Diagnostic::new(Code::TooBig, message).at(self.label(start, end));
        Err(Box::new(diagnostic.help("split it into several files, and write out what aliases repeat")))
    }

    fn too_deep(&self, at: usize) -> Stop {
        let message = format!("mappings and lists lie more than {MAX_DEPTH} deep here");
        Box::new(Diagnostic::new(Code::TooDeep, message).at(self.label(at, at + 1)))
    }

    fn syntax(&self, error: &ScanError) -> Stop {
        let at = self.offsets.byte(self.text, error.marker().index());
        if error.info().contains("recursion limit") {
            return self.too_deep(at);
        }
        // Parsers see a tab late: the line that begins with one may be the one before.
        let line_start = |at: usize| self.text.get(..at).and_then(|s| s.rfind('\n')).map_or(0, |i| i + 1);
        let this = line_start(at);
        for from in [this, line_start(this.saturating_sub(1))] {
            let indent = self.text.get(from..).map_or("", |rest| {
                let end = rest.find(|c: char| c != ' ' && c != '\t').unwrap_or(rest.len());
                rest.get(..end).unwrap_or("")
            });
            if let Some(tab) = indent.find('\t') {
                let diagnostic = Diagnostic::new(Code::Tabs, "a tab indents this line");
                let diagnostic = diagnostic.at(self.label(from + tab, from + indent.len()));
                return Box::new(diagnostic.help("YAML indents with spaces: put two for each level"));
            }
        }
        let end = self.text.get(at..).and_then(|rest| rest.chars().next()).map_or(at, |c| at + c.len_utf8());
        let message = format!("this is not YAML: {}", error.info());
        let mut diagnostic = Diagnostic::new(Code::Syntax, message).at(self.label(at, end));
        if let Some(help) = advice(error.info()).or_else(|| self.advice(this)) {
            diagnostic = diagnostic.help(help);
        }
        Box::new(diagnostic)
    }

    /// What is often wrong with a line that no parser takes.
    fn advice(&self, line: usize) -> Option<&'static str> {
        let text = self.text.get(line..)?.lines().next()?;
        let (_, value) = text.split_once(": ").unwrap_or(("", text.trim_start().trim_start_matches("- ")));
        let value = value.trim_start();
        match value.chars().next()? {
            '@' | '`' | '%' => Some("a text that begins with `@`, `` ` `` or `%` needs quotes"),
            '*' | '&' => Some("a text that begins with `*` or `&` needs quotes"),
            '"' | '\'' => Some(QUOTES),
            '[' | '{' => Some(BRACKETS),
            _ if value.contains(": ") => Some("a text with `: ` in it needs quotes"),
            _ => None,
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        let limit = self.text.len();
        Span::new(start.min(limit) + self.skipped, end.min(limit) + self.skipped)
    }

    fn label(&self, start: usize, end: usize) -> Label {
        Label::new(self.file, self.span(start, end))
    }
}

const QUOTES: &str = "a quote that opens a text has to close it, and nothing but a comment may follow";
const BRACKETS: &str = "brackets have to be closed; a text that begins with one needs quotes";

/// What helps against an error of the parser's.
fn advice(error: &str) -> Option<&'static str> {
    match error {
        _ if error.contains("quoted") => Some(QUOTES),
        _ if error.contains("flow") => Some(BRACKETS),
        _ => None,
    }
}

/// At most 60 characters of it.
fn short(text: &str) -> String {
    let mut out: String = text.chars().take(60).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

/// A quoted text without what is behind its closing quote.
fn quoted(text: &str) -> &str {
    let opening = text.len() - behind_anchor_and_tag(text).len();
    let mut rest = text.char_indices().skip_while(|(at, _)| *at < opening).peekable();
    let double = rest.next().is_some_and(|(_, quote)| quote == '"');
    while let Some((at, character)) = rest.next() {
        match character {
            '\\' if double => drop(rest.next()),
            '"' if double => return text.get(..=at).unwrap_or(text),
            '\'' if !double && rest.next_if(|(_, next)| *next == '\'').is_none() => return text.get(..=at).unwrap_or(text),
            _ => {}
        }
    }
    text
}

/// A value without the anchor and the tag before it, and the comments behind these. Either may have a quote in its name.
fn behind_anchor_and_tag(mut text: &str) -> &str {
    while let Some(end) = match text.chars().next() {
        Some('&' | '!') => text.find(char::is_whitespace),
        Some('#') => text.find(['\n', '\r']),
        _ => None,
    } {
        text = text.get(end..).unwrap_or_default().trim_start();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diag::SourceMap;

    fn one(text: &str) -> (Raw, FileId, SourceMap) {
        let mut map = SourceMap::default();
        let file = map.add("t.yaml", text);
        let (mut raw, found) = read(file, text);
        assert!(found.is_empty(), "{found:?}");
        (raw.remove(0), file, map)
    }

    fn code(text: &str) -> Code {
        let mut map = SourceMap::default();
        let file = map.add("t.yaml", text);
        read(file, text).1.first().unwrap().code
    }

    #[test]
    fn spans_are_bytes_and_point_at_the_text() {
        let (raw, file, map) = one("\u{feff}ä: ö\r\n名: {b: [1, \"zwölf\"]}\nlast: |\n  text\n");
        assert_eq!(map.slice(file, raw.spans.value("/ä").unwrap()), "ö");
        assert_eq!(map.slice(file, raw.spans.value("/名/b/1").unwrap()), "\"zwölf\"");
        assert_eq!(map.slice(file, raw.spans.key("/名/b").unwrap()), "b");
        assert_eq!(map.slice(file, raw.spans.value("/名/b").unwrap()), "[1, \"zwölf\"]");
    }

    #[test]
    fn a_quoted_text_ends_with_its_quote() {
        for written in ["\"a\"", "'it''s'", "\"\\\"\\\\\"", "\"\"", "''", "\"zwölf\n  'x'\""] {
            for after in ["", " ", "  # a comment\n ", "\t"] {
                let (raw, file, map) = one(&format!("a: [{{x: {written}{after}, y: {written}{after}}}]\n"));
                for pointer in ["/a/0/x", "/a/0/y"] {
                    assert_eq!(map.slice(file, raw.spans.value(pointer).unwrap()), written);
                }
            }
        }
    }

    #[test]
    fn a_quoted_text_behind_an_anchor_or_a_tag_ends_with_its_quote() {
        for before in ["&a ", "!!str ", "&it's ", "&a !!str ", "!!str &a\n  # it's\n  ", "!!str\t"] {
            for quoted in ["'x'", "\"Bob's\"", "'it''s'"] {
                let written = format!("{before}{quoted}");
                let (raw, file, map) = one(&format!("a: [{{x: {written} , y: z}}]\nb: {written} # a comment's\n"));
                for pointer in ["/a/0/x", "/b"] {
                    assert_eq!(map.slice(file, raw.spans.value(pointer).unwrap()), written);
                }
            }
        }
    }

    #[test]
    fn a_block_ends_where_its_last_value_ends() {
        let (raw, file, map) = one("a:\n  b: c\n  d: e\n\n# word\nf: g\n");
        assert_eq!(map.slice(file, raw.spans.value("/a").unwrap()), "b: c\n  d: e");
    }

    #[test]
    fn a_block_of_text_ends_with_its_last_line() {
        let (raw, file, map) = one("a: |\n  x\n  y\n\nb: >-\n  ö\n  # said\n# word\nc: |+\n\nd: e\n");
        let slice = |pointer| map.slice(file, raw.spans.value(pointer).unwrap());
        assert_eq!([slice("/a"), slice("/b"), slice("/c"), slice("/d")], ["x\n  y", "ö\n  # said", "", "e"]);
    }

    #[test]
    fn limits_hold() {
        assert_eq!(code(&"[".repeat(200_000)), Code::TooDeep);
        assert_eq!(code(&"- ".repeat(200_000)), Code::TooDeep);
        assert_eq!(code(&"{a: ".repeat(200_000)), Code::TooDeep);
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for i in 1..20 {
            let row = vec![format!("*a{}", i - 1); 9].join(", ");
            bomb.extend([format!("a{i}: &a{i} [{row}]\n")]);
        }
        assert_eq!(code(&bomb), Code::TooBig);
        assert_eq!(code("a: &a [*a]"), Code::Syntax);
    }

    #[test]
    fn what_is_not_said_plainly_is_refused() {
        assert_eq!(code("a: 1\na: 2\n"), Code::DuplicateKey);
        assert_eq!(code("a:\n\tb: c\n"), Code::Tabs);
        assert_eq!(code("x: &x {a: b}\ny:\n  <<: *x\n"), Code::MergeKey);
        assert_eq!(code("a: !secret b"), Code::Tag);
        assert_eq!(code("[a]: b"), Code::KeyType);
        assert_eq!(code("a: \u{0}b"), Code::NotText);
    }

    #[test]
    fn tags_of_yamls_own_are_taken() {
        assert_eq!(one("a: !!str 12\nb: !!int \"3\"\nc: ! 4\n").0.value, json!({"a": "12", "b": 3, "c": "4"}));
    }
}
