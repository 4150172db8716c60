//! From a violation of a schema to a diagnostic: the place in the file, in words of the language, with a way out.
//!
//! The words are our own: a validator speaks of instances and keywords, which nobody wrote.

use std::collections::BTreeSet;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Violation;
use serde_json::{Map, Value};

use super::formats::format;
use super::schema::compiled;
use super::span::{SpanIndex, escape, unescape};
use crate::diag::{Code, Diagnostic, FileId, Label, SourceMap};
use crate::name::Kind;

/// A document as it stands in its file, before it is one of the language.
pub(super) struct Source<'a> {
    /// The files.
    pub(super) sources: &'a SourceMap,
    /// The document's file.
    pub(super) file: FileId,
    /// The document.
    pub(super) value: &'a Value,
    /// Its places.
    pub(super) spans: &'a SpanIndex,
}

impl Source<'_> {
    /// The value at `pointer`, or what is nearest to it.
    pub(super) fn value_label(&self, pointer: &str) -> Label {
        Label::new(self.file, self.spans.nearest(pointer))
    }

    /// The key at `pointer`, or what is nearest to it.
    pub(super) fn key_label(&self, pointer: &str) -> Label {
        Label::new(self.file, self.spans.key(pointer).unwrap_or_else(|| self.spans.nearest(pointer)))
    }

    /// The value as it was written, when it stands on one line.
    fn written(&self, pointer: &str) -> Option<&str> {
        let text = self.sources.slice(self.file, self.spans.value(pointer)?);
        (!text.is_empty() && text.len() <= 80 && !text.contains('\n')).then_some(text)
    }
}

/// Every violation of the schema, one for each place.
pub(super) fn validate(kind: Kind, source: &Source<'_>) -> Vec<Diagnostic> {
    let Some(compiled) = compiled(kind) else {
        // A test compiles them all, so nobody sees this; it must not be taken for a yes.
        return vec![Diagnostic::new(Code::UnknownKind, "the kind has no schema").at(source.value_label("/kind"))];
    };
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    // Fields that are there under a misspelt name are not said to be missing as well.
    let mut meant: BTreeSet<(String, String)> = BTreeSet::new();
    let mut absent: Vec<(String, Value)> = Vec::new();
    for error in compiled.validator.iter_errors(source.value) {
        let pointer = error.instance_path().as_str().to_owned();
        let node = Node::of(compiled.schema, error.schema_path().as_str());
        match error.kind() {
            Violation::AdditionalProperties { unexpected } => {
                for name in unexpected {
                    found.push(unknown(source, compiled.schema, node, &pointer, name));
                    meant.extend(nearest(name, &node.fields()).map(|near| (pointer.clone(), near.to_owned())));
                }
            }
            Violation::Required { property } => absent.push((pointer, property.clone())),
            _ => {
                if seen.insert(pointer.clone()) {
                    found.push(wrong(source, node, &pointer, &error));
                }
            }
        }
    }
    absent.retain(|(pointer, property)| !meant.contains(&(pointer.clone(), property.as_str().unwrap_or_default().to_owned())));
    found.extend(absent.iter().map(|(pointer, property)| missing(source, pointer, property)));
    found
}

/// The part of a schema that a value violates.
#[derive(Clone, Copy)]
struct Node<'a>(Option<&'a Map<String, Value>>);

impl<'a> Node<'a> {
    /// `path` leads to the keyword; the part is what holds it.
    fn of(schema: &'a Value, path: &str) -> Self {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        Self(schema.pointer(parent).and_then(Value::as_object))
    }

    fn get(self, keyword: &str) -> Option<&'a Value> {
        self.0?.get(keyword)
    }

    fn text(self, keyword: &str) -> Option<&'a str> {
        self.get(keyword)?.as_str()
    }

    /// The fields that a mapping may have.
    fn fields(self) -> Vec<&'a str> {
        self.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }
}

fn unknown(source: &Source<'_>, schema: &Value, node: Node<'_>, pointer: &str, name: &str) -> Diagnostic {
    let known = node.fields();
    let message = format!("there is no field `{}` in {}", shown(name), holder(pointer));
    let diagnostic = Diagnostic::new(Code::UnknownField, message).at(source.key_label(&format!("{pointer}/{}", escape(name))));
    if let Some(near) = nearest(name, &known) {
        return diagnostic.help(format!("did you mean `{near}`?"));
    }
    let in_spec =
        schema.pointer("/properties/spec/$ref").and_then(Value::as_str).and_then(|r| schema.pointer(r.strip_prefix('#')?));
    if pointer.is_empty() && in_spec.and_then(|spec| spec.pointer("/properties")).is_some_and(|fields| fields.get(name).is_some())
    {
        return diagnostic.help(format!("`{name}` belongs under `spec`"));
    }
    let mut known = known;
    known.sort_unstable();
    diagnostic.help(format!("known here: {}", known.join(", ")))
}

fn missing(source: &Source<'_>, pointer: &str, property: &Value) -> Diagnostic {
    let name = property.as_str().unwrap_or_default();
    let message = format!("{} needs the field `{name}`", holder(pointer));
    Diagnostic::new(Code::MissingField, message).at(source.key_label(pointer))
}

fn wrong(source: &Source<'_>, node: Node<'_>, pointer: &str, error: &ValidationError<'_>) -> Diagnostic {
    let value = source.value.pointer(pointer).unwrap_or(&Value::Null);
    let name = dotted(pointer);
    let label = source.value_label(pointer);
    if value.is_null() {
        return Diagnostic::new(Code::NullValue, format!("`{name}` has no value"))
            .at(if source.written(pointer).is_some() { label } else { source.key_label(pointer) })
            .help("leave the field out, or give it a value");
    }
    if let Some(format) = node.text("format").and_then(format) {
        return formatted(source, format, pointer, value).at(label);
    }
    let written = match (source.written(pointer), value.as_str()) {
        (Some(text), _) => format!("`{}`", shown(text)),
        (None, Some(text)) if text.contains('\n') => "text of several lines".to_owned(),
        (None, _) => kind_of(value).to_owned(),
    };
    match error.kind() {
        Violation::Type { .. } => {
            let wanted = node.text("type").unwrap_or_default();
            let message = format!("`{name}` is {}, not {}", expected(wanted), kind_of(value));
            let diagnostic = Diagnostic::new(Code::WrongType, message).at(label);
            match type_help(wanted, value, source.written(pointer), pointer) {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            }
        }
        Violation::Enum { options } => {
            let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let diagnostic = Diagnostic::new(Code::WrongValue, format!("{written} is no value of `{name}`")).at(label);
            let diagnostic = match value.as_str().and_then(|text| nearest(text, &options)) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic,
            };
            diagnostic.help(format!("it is one of {}", options.join(", ")))
        }
        Violation::Minimum { limit } => {
            Diagnostic::new(Code::WrongValue, format!("`{name}` is at least {limit}, not {written}")).at(label)
        }
        Violation::Maximum { limit } => {
            Diagnostic::new(Code::WrongValue, format!("`{name}` is at most {limit}, not {written}")).at(label)
        }
        Violation::Pattern { pattern } => {
            let form = node.text("patternErrorMessage").map_or_else(|| format!("of the form `{pattern}`"), ToOwned::to_owned);
            Diagnostic::new(Code::InvalidText, format!("`{name}` is {form}, not {written}")).at(label)
        }
        Violation::MinLength { .. } => Diagnostic::new(Code::InvalidText, format!("`{name}` is empty"))
            .at(label)
            .help("leave the field out, or give it a text"),
        Violation::UniqueItems => Diagnostic::new(Code::DuplicateItem, format!("`{name}` holds one item twice")).at(label),
        other => Diagnostic::new(Code::WrongValue, format!("{written} is no value of `{name}`: it breaks `{}`", other.keyword()))
            .at(label),
    }
}

/// A text (or what stands in its place) that isn't of its format.
fn formatted(source: &Source<'_>, format: &super::formats::Format, pointer: &str, value: &Value) -> Diagnostic {
    let name = dotted(pointer);
    let number = value.is_number().then(|| source.written(pointer).map_or_else(|| value.to_string(), ToOwned::to_owned));
    let text =
        value.as_str().map(ToOwned::to_owned).or_else(|| if format.code == Code::WrongSize { number.clone() } else { None });
    let Some(text) = text else {
        let message = format!(
            "`{name}` is {}, not {}",
            expected(if format.code == Code::WrongSize { "size" } else { "string" }),
            kind_of(value)
        );
        let diagnostic = Diagnostic::new(Code::WrongType, message);
        return match (format.name, number) {
            ("mac", _) => diagnostic.help("write it with colons and in quotes: `\"52:54:00:12:34:56\"`"),
            (_, Some(number)) => diagnostic.help(format!("put it in quotes: `\"{number}\"`")),
            _ => diagnostic,
        };
    };
    let why = (format.check)(&text).err().unwrap_or_else(|| "it is written otherwise".to_owned());
    let diagnostic = Diagnostic::new(format.code, format!("`{name}`: {why}"));
    match format.name {
        "size" => match likely_size(&text).filter(|size| (format.check)(size).is_ok()) {
            Some(size) => diagnostic.help(format!("did you mean `{size}`?")),
            None => diagnostic,
        },
        "name" | "device-name" if text.to_lowercase() != text && (format.check)(&text.to_lowercase()).is_ok() => {
            diagnostic.help(format!("did you mean `{}`?", text.to_lowercase()))
        }
        _ => diagnostic,
    }
}

/// The size that `20GB`, `20 GiB` or `20g` was probably meant to be.
fn likely_size(text: &str) -> Option<String> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let unit = text.get(digits.len()..)?.trim().to_ascii_uppercase();
    let letter = unit.chars().next().filter(|letter| "KMGTPE".contains(*letter))?;
    ["", "I", "B", "IB"].contains(&unit.get(1..)?).then(|| format!("{digits}{letter}i"))
}

/// Traps of YAML, and the way out of them.
fn type_help(wanted: &str, value: &Value, written: Option<&str>, pointer: &str) -> Option<String> {
    let key = pointer.rsplit('/').next().map(unescape).unwrap_or_default();
    let quoted = written.is_some_and(|text| text.starts_with(['"', '\'']));
    match (wanted, value) {
        ("string", Value::Number(_)) => {
            let written = written?;
            Some(format!("without quotes YAML takes it for a number: write `{key}: \"{written}\"`"))
        }
        ("string", Value::Bool(_)) => {
            Some(format!("without quotes YAML takes it for a truth value: write `{key}: \"{}\"`", written?))
        }
        ("boolean", Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "false" if quoted => Some(format!("take the quotes off: `{key}: {}`", text.to_ascii_lowercase())),
            "on" | "yes" | "y" => Some(format!("YAML takes `{text}` for a word: write `{key}: true`")),
            "off" | "no" | "n" => Some(format!("YAML takes `{text}` for a word: write `{key}: false`")),
            _ => None,
        },
        ("integer" | "number", Value::String(text)) => {
            let plain = text.trim_start_matches('0');
            let digits = !plain.is_empty() && plain.bytes().all(|b| b.is_ascii_digit());
            match (digits, quoted) {
                (true, true) => Some(format!("take the quotes off: `{key}: {plain}`")),
                (true, false) => Some(format!("a number doesn't begin with 0: write `{key}: {plain}`")),
                _ => None,
            }
        }
        ("array", Value::Object(_)) => Some("each item of a list begins with `- `".to_owned()),
        ("array", Value::String(_) | Value::Number(_) | Value::Bool(_)) => Some(format!("write `{key}: [{}]`", written?)),
        ("object", Value::Array(_)) => Some("take off the `- ` in front: this is one mapping, not a list".to_owned()),
        _ => None,
    }
}

fn expected(schema_type: &str) -> &'static str {
    match schema_type {
        "string" => "text",
        "integer" | "number" => "a whole number",
        "boolean" => "`true` or `false`",
        "array" => "a list",
        "object" => "a mapping (`key: value` lines)",
        "size" => "a size such as `2Gi`",
        _ => "something else",
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(n) if n.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// `spec.disks[0].name` for `/spec/disks/0/name`.
pub(super) fn dotted(pointer: &str) -> String {
    let mut out = String::new();
    for token in pointer.split('/').skip(1) {
        if !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit()) {
            out.extend(["[", token, "]"]);
        } else {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(&shown(&unescape(token)));
        }
    }
    out
}

/// The mapping at `pointer`, as the subject of a sentence.
fn holder(pointer: &str) -> String {
    if pointer.is_empty() { "the document".to_owned() } else { format!("`{}`", dotted(pointer)) }
}

/// At most 60 characters, with what a terminal wouldn't show written as escapes.
pub(super) fn shown(text: &str) -> String {
    let mut out: String =
        text.chars().take(60).flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}

/// The word that `text` was probably meant to be.
pub(super) fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let lower = text.to_lowercase();
    if lower.len() > 60 {
        return None;
    }
    let distance = |word: &str| strsim::damerau_levenshtein(&lower, &word.to_lowercase());
    let allowed = (lower.chars().count() / 3).clamp(1, 3);
    words.iter().map(|word| (distance(word), *word)).filter(|(d, _)| *d <= allowed).min().map(|(_, word)| word)
}
