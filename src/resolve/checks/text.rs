//! Rules of text, the same for every field of every kind: no empty text, and no characters that XML or a terminal can't hold.

use serde_json::Value;

use super::Check;
use crate::diag::Code;
use crate::manifest::path::walk;

/// Fields whose text may have several lines.
const LINES: &[&str] = &["/description", "/xml", "/cloudInit/userData", "/cloudInit/networkConfig"];

/// Lists whose items may have several lines, or none at all.
const FREE: &[&str] = &["/cloudInit/writeFiles", "/cloudInit/runCmd"];

pub(super) fn check(check: &mut Check<'_>) {
    // Most documents are right, and where a leaf stands is only of interest in the others.
    if check.document.now.values().all(is_plain) {
        return;
    }
    let leaves = walk(check.document.object.kind, &check.document.spec);
    for leaf in leaves.values() {
        match &leaf.value {
            Value::String(text) => one(check, &leaf.pointer, text, LINES.contains(&leaf.pattern.as_str())),
            Value::Array(items) if !FREE.contains(&leaf.pattern.as_str()) => {
                for text in items.iter().filter_map(Value::as_str) {
                    one(check, &leaf.pointer, text, false);
                }
            }
            _ => {}
        }
    }
}

/// Whether a value is of printable ASCII that is not blank, or holds no text at all: then no rule is broken wherever it stands.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => text.bytes().all(|b| matches!(b, b' '..=b'~')) && text.bytes().any(|b| b != b' '),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::Object(fields) => fields.is_empty(),
    }
}

fn one(check: &mut Check<'_>, pointer: &str, text: &str, lines: bool) {
    if text.trim().is_empty() {
        check.say(Code::InvalidText, pointer, "the text is empty", "leave the field out, or give it a text");
    }
    let bad = |c: char| (c.is_control() && !(lines && matches!(c, '\n' | '\t' | '\r'))) || matches!(c, '\u{fffe}' | '\u{ffff}');
    if let Some(c) = text.chars().find(|c| bad(*c)) {
        let what = if c == '\n' { "a line break".to_owned() } else { format!("the character U+{:04X}", u32::from(c)) };
        check.say(Code::InvalidText, pointer, format!("the text holds {what}, which this field can't"), "");
    }
}

/// Whether `text` is a name that a host can have: labels of 1 to 63 letters, digits and `-`, 253 characters in all.
pub(super) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// What is wrong with a path on a node; none for an absolute one without `.` and `..`.
pub(super) fn path_problem(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        Some("the path isn't absolute")
    } else if path.split('/').any(|part| part == "..") {
        Some("the path has `..` in it")
    } else if path.split('/').any(|part| part == ".") {
        Some("the path has `.` in it")
    } else {
        None
    }
}

/// A path as libvirt keeps it: without `//` and a `/` at its end.
pub(super) fn clean_path(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    format!("/{}", parts.join("/"))
}
