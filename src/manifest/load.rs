//! Loading: files become documents and diagnostics. A function of the files' text alone; it never fails and stops at nothing.
//!
//! What can be said of a single file, and that no object is described twice, is said here. References between objects, and
//! rules that a schema can't tell, are `resolve/`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::Value;

use super::accept::accepts;
use super::document::Document;
use super::kinds::spec_of;
use super::many::many;
use super::path::leaves;
use super::span::{KeptSpans, escape};
use super::violation::{Source, dotted, nearest, shown, validate};
use super::yaml::{self, Raw};
use super::{API_VERSION, Lifecycle, Metadata};
use crate::diag::{self, Code, Diagnostic, FileId, Label, SourceMap};
use crate::name::{Kind, Name, ObjectRef};

/// So many files are worth a thread.
const FEW_FILES: usize = 4;

/// What was read.
#[derive(Debug, Default)]
#[must_use = "what was read wrong is in the diagnostics"]
pub struct Loaded {
    /// Every document that is whole, in the order of the files.
    pub documents: Vec<Arc<Document>>,
    /// What is wrong, sorted by file and place.
    pub diagnostics: Vec<Diagnostic>,
    /// Objects whose documents are not whole: they were written, so a reference to one isn't missing.
    pub broken: BTreeSet<ObjectRef>,
}

/// What files were read into, by file. A file is a pure function of its bytes, so what it was read into holds for as long as a
/// [`SourceMap`] keeps it under its id.
pub type ReadFiles = BTreeMap<FileId, Arc<Loaded>>;

/// Reads every file of `sources`.
pub fn load(sources: &SourceMap) -> Loaded {
    load_again(sources, &mut ReadFiles::new())
}

/// As [`load`], but of the files those alone that aren't in `known`; what is no file of `sources` is dropped from it.
pub fn load_again(sources: &SourceMap, known: &mut ReadFiles) -> Loaded {
    let files: Vec<FileId> = sources.ids().collect();
    let unread: Vec<FileId> = files.iter().copied().filter(|file| !known.contains_key(file)).collect();
    known.extend(unread.iter().copied().zip(load_files(sources, &unread)));
    if known.len() > files.len() {
        let there: BTreeSet<FileId> = files.iter().copied().collect();
        known.retain(|file, _| there.contains(file));
    }
    let mut loaded = Loaded::default();
    for one in files.iter().filter_map(|file| known.get(file)) {
        loaded.documents.extend(one.documents.iter().cloned());
        loaded.diagnostics.extend(one.diagnostics.iter().cloned());
        loaded.broken.extend(one.broken.iter().cloned());
    }
    loaded.diagnostics.extend(duplicates(&loaded.documents));
    diag::sort(&mut loaded.diagnostics, sources);
    loaded
}

/// Reads these files, in their order; many are read side by side.
fn load_files(sources: &SourceMap, files: &[FileId]) -> Vec<Arc<Loaded>> {
    many(files, FEW_FILES, |file| Arc::new(load_file(sources, *file)))
}

/// Reads one file. The result depends on its text alone.
pub fn load_file(sources: &SourceMap, file: FileId) -> Loaded {
    let mut loaded = Loaded::default();
    let (raws, diagnostics) = yaml::read(file, sources.text(file));
    loaded.diagnostics = diagnostics;
    for raw in &raws {
        if loaded.diagnostics.len() >= yaml::MAX_MISTAKES {
            break;
        }
        read_document(sources, file, raw, true, &mut loaded);
    }
    if loaded.diagnostics.len() >= yaml::MAX_MISTAKES {
        loaded.diagnostics.truncate(yaml::MAX_MISTAKES);
        if let Some(last) = loaded.diagnostics.last_mut() {
            last.notes.push("this file has more mistakes, which are not told".to_owned());
        }
    }
    loaded
}

fn read_document(sources: &SourceMap, file: FileId, raw: &Raw, list_allowed: bool, loaded: &mut Loaded) {
    let source = Source { sources, file, value: &raw.value, spans: &raw.spans };
    match &raw.value {
        // A document of nothing but comments.
        Value::Null if list_allowed => return,
        Value::Object(_) => {}
        _ => {
            let diagnostic =
                Diagnostic::new(Code::NotAnObject, "a manifest is a mapping with `apiVersion`, `kind`, `metadata` and `spec`");
            loaded.diagnostics.push(diagnostic.at(source.value_label("")));
            return;
        }
    }
    if list_allowed && raw.value.get("kind").and_then(Value::as_str) == Some("List") {
        read_list(&source, raw, loaded);
        return;
    }
    let Some(kind) = head(&source, &mut loaded.diagnostics) else { return };
    let Some(row) = spec_of(kind) else { return };
    let name = raw.value.pointer("/metadata/name").and_then(Value::as_str).and_then(|name| name.parse::<Name>().ok());
    let object = name.map(|name| ObjectRef::new(kind, name));
    let violations = if accepts(kind, &raw.value) { Vec::new() } else { validate(kind, &source) };
    if violations.is_empty() && raw.clean {
        match document(&source, row.read, kind, file) {
            Ok(document) => {
                loaded.documents.push(Arc::new(document));
                return;
            }
            Err(diagnostic) => loaded.diagnostics.push(match &object {
                Some(object) => diagnostic.about(object),
                None => *diagnostic,
            }),
        }
    }
    for violation in violations {
        loaded.diagnostics.push(match &object {
            Some(object) => violation.about(object),
            None => violation,
        });
    }
    loaded.broken.extend(object);
}

/// The documents of a `kind: List`, one an item.
fn read_list(source: &Source<'_>, raw: &Raw, loaded: &mut Loaded) {
    for name in raw.value.as_object().into_iter().flatten().map(|(name, _)| name) {
        if !["apiVersion", "kind", "metadata", "items"].contains(&name.as_str()) {
            let message = format!("there is no field `{}` in a List", shown(name));
            let place = source.key_label(&format!("/{}", escape(name)));
            loaded.diagnostics.push(Diagnostic::new(Code::UnknownField, message).at(place));
        }
    }
    // Whoever writes lists has them from a tool that gives them Kubernetes' version.
    if raw.value.get("apiVersion").and_then(Value::as_str) != Some("v1") {
        version(source, &mut loaded.diagnostics);
    }
    let Some(Value::Array(items)) = raw.value.get("items") else {
        let place = source.key_label(if raw.value.get("items").is_some() { "/items" } else { "/kind" });
        loaded.diagnostics.push(Diagnostic::new(Code::WrongType, "a List has its objects in the list `items`").at(place));
        return;
    };
    for (index, item) in items.iter().enumerate() {
        let Some(spans) = raw.spans.child("items").and_then(|items| items.child(&index.to_string())) else { continue };
        let item = Raw { value: item.clone(), spans: spans.clone(), clean: raw.clean };
        read_document(source.sources, source.file, &item, false, loaded);
    }
}

/// Says whether `apiVersion` is this language's.
fn version(source: &Source<'_>, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let message = match source.value.get("apiVersion") {
        None => {
            let diagnostic = Diagnostic::new(Code::MissingField, "the document needs the field `apiVersion`");
            diagnostics.push(diagnostic.at(first_line(source)).help(format!("write `apiVersion: {API_VERSION}`")));
            return false;
        }
        Some(Value::String(text)) if text == API_VERSION => return true,
        Some(Value::String(text)) => format!("`{}` is no version of the language that this jvp speaks", shown(text)),
        Some(_) => "`apiVersion` is text".to_owned(),
    };
    let diagnostic = Diagnostic::new(Code::UnknownVersion, message).at(source.value_label("/apiVersion"));
    diagnostics.push(diagnostic.help(format!("write `apiVersion: {API_VERSION}`")));
    false
}

/// The document's kind, where its version and kind are known.
fn head(source: &Source<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Kind> {
    let known = version(source, diagnostics);
    let names: Vec<&str> = Kind::TABLE.iter().map(|row| row.name).collect();
    let diagnostic = match source.value.get("kind") {
        None => Diagnostic::new(Code::MissingField, "the document needs the field `kind`").at(first_line(source)),
        Some(Value::String(text)) => match Kind::TABLE.iter().find(|row| row.name == text) {
            Some(row) => return known.then_some(row.kind),
            // Of another language's kinds nothing is known.
            None if !known => return None,
            None => {
                let message = format!("there is no kind `{}`", shown(text));
                let diagnostic = Diagnostic::new(Code::UnknownKind, message).at(source.value_label("/kind"));
                match Kind::parse(text).map(Kind::name).or_else(|| nearest(text, &names)) {
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                    None => diagnostic,
                }
            }
        },
        Some(_) => Diagnostic::new(Code::UnknownKind, "`kind` is the name of a kind").at(source.value_label("/kind")),
    };
    diagnostics.push(diagnostic.help(format!("the kinds are {}", names.join(", "))));
    None
}

/// The beginning of the document.
fn first_line(source: &Source<'_>) -> Label {
    source.value_label("")
}

fn document(
    source: &Source<'_>,
    read: fn(&Value) -> serde_json::Result<super::Spec>,
    kind: Kind,
    file: FileId,
) -> Result<Document, Box<Diagnostic>> {
    // The schema has said yes, so an error here is a rule that it lacks.
    let wrong = |part: &str, error: serde_json::Error| {
        // To a schema `2.0` is a whole number, to a type it isn't.
        if let Some(pointer) = source.value.get(part).and_then(fraction) {
            let pointer = format!("/{part}{pointer}");
            let message = format!("`{}` is a whole number, written without a point", dotted(&pointer));
            return Box::new(Diagnostic::new(Code::WrongType, message).at(source.value_label(&pointer)));
        }
        let message = format!("`{part}` can't be read: {error}");
        Box::new(Diagnostic::new(Code::WrongValue, message).at(source.key_label(&format!("/{part}"))))
    };
    let nothing = Value::Object(serde_json::Map::new());
    let part = |name: &str| source.value.get(name).unwrap_or(&nothing);
    let metadata = Metadata::deserialize(part("metadata")).map_err(|e| wrong("metadata", e))?;
    let lifecycle = Lifecycle::deserialize(part("lifecycle")).map_err(|e| wrong("lifecycle", e))?;
    let spec = read(part("spec")).map_err(|e| wrong("spec", e))?;
    let now = Arc::new(leaves(kind, &spec));
    let name = source.spans.nearest("/metadata/name");
    let position = source.sources.position(file, name.start);
    Ok(Document {
        object: ObjectRef::new(kind, metadata.name.clone()),
        api_version: API_VERSION.to_owned(),
        metadata: Arc::new(metadata),
        lifecycle,
        spec: Arc::new(spec),
        now,
        spans: KeptSpans::of(source.spans),
        file,
        origin: format!("{}:{}:{}", source.sources.name(file), position.line, position.column).into(),
        folder: folder(source.sources.name(file)).into(),
    })
}

/// The folder of a file, as it was given.
fn folder(file: &str) -> &str {
    match file.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
        None => ".",
    }
}

/// The pointer to the first number with a fraction in `value`.
fn fraction(value: &Value) -> Option<String> {
    let below = |token: String, value: &Value| fraction(value).map(|rest| format!("/{token}{rest}"));
    match value {
        Value::Number(n) if n.is_f64() => Some(String::new()),
        Value::Array(items) => items.iter().enumerate().find_map(|(i, item)| below(i.to_string(), item)),
        Value::Object(fields) => fields.iter().find_map(|(name, field)| below(escape(name), field)),
        _ => None,
    }
}

/// Objects that two documents describe, and sets with two Fleets.
fn duplicates(documents: &[Arc<Document>]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut first: BTreeMap<&ObjectRef, &Document> = BTreeMap::new();
    let mut fleet: Option<&Document> = None;
    for document in documents {
        if let Some(earlier) = first.get(&document.object) {
            let message = "the object is described twice";
            let diagnostic = Diagnostic::new(Code::DuplicateObject, message).about(&document.object).at(document.name_label());
            found.push(diagnostic.and(earlier.name_label().says("first here")).help("take one of them out, or rename it"));
            continue;
        }
        first.insert(&document.object, document);
        if document.object.kind == Kind::Fleet {
            if let Some(earlier) = fleet {
                let message = "a set has one Fleet, and this is the second";
                let diagnostic = Diagnostic::new(Code::TwoFleets, message).about(&document.object).at(document.name_label());
                found
                    .push(diagnostic.and(earlier.name_label().says("the first")).help("apply the folder of one Fleet at a time"));
            }
            fleet.get_or_insert(document);
        }
    }
    found
}
