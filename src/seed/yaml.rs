//! Writes values as YAML that every reader takes alike: block style, every string in double quotes.
//!
//! It is our own so that the bytes never change under a guest's feet with a library's taste. It reads nothing.

use serde_json::Value;

/// `value` as a YAML document without a header. An empty mapping is `{}`.
pub(super) fn document(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn block(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    out.push_str(&"  ".repeat(depth));
                }
                out.push_str(key);
                out.push(':');
                nested(out, item, depth);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(&"  ".repeat(depth));
                }
                out.push_str("- ");
                block(out, item, depth + 1);
                end_line(out);
            }
        }
        scalar => out.push_str(&inline(scalar)),
    }
}

/// What follows a key: a scalar on its line, or a block on the lines below.
fn nested(out: &mut String, item: &Value, depth: usize) {
    match item {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            out.push_str(&"  ".repeat(depth + 1));
            block(out, item, depth + 1);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            out.push_str(&"  ".repeat(depth + 1));
            block(out, item, depth + 1);
        }
        scalar => {
            out.push(' ');
            out.push_str(&inline(scalar));
        }
    }
    end_line(out);
}

fn end_line(out: &mut String) {
    if !out.ends_with('\n') {
        out.push('\n');
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        other => other.to_string(),
    }
}

/// A double-quoted scalar. Whatever YAML 1.1 would fold, refuse or take for a line's end is escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if u32::from(c) < 0x20 || (0x7f..=0xa0).contains(&u32::from(c)) => escape(&mut out, 'x', 2, c),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => escape(&mut out, 'u', 4, c),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn escape(out: &mut String, form: char, width: usize, c: char) {
    let hex = format!("{:0width$x}", u32::from(c));
    out.extend(['\\', form]);
    out.push_str(&hex);
}
