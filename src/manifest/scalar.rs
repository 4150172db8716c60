//! What a plain scalar of YAML says. Quoted and block scalars are text and don't come here.

use serde_json::{Number, Value};

/// What a plain scalar says by YAML's core schema. As other readers of YAML in Rust do, a number with needless zeroes in front
/// (`0755`) is text.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Value::from(text);
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with(['+', '-']) {
        return Value::from(text);
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = digits.strip_prefix(prefix)
            && !rest.starts_with(['+', '-'])
            && let Ok(n) = u64::from_str_radix(rest, radix)
        {
            return signed(n, negative).map_or_else(|| Value::from(text), Value::Number);
        }
    }
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if all_digits && digits.len() > 1 && digits.starts_with('0') {
        return Value::from(text);
    }
    if all_digits && let Some(n) = digits.parse().ok().and_then(|n| signed(n, negative)) {
        return Value::Number(n);
    }
    // Rust reads words such as `inf` and `nan`, which YAML writes otherwise and JSON not at all.
    let numeric = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    if numeric && let Some(n) = text.parse().ok().and_then(Number::from_f64) {
        return Value::Number(n);
    }
    Value::from(text)
}

fn signed(n: u64, negative: bool) -> Option<Number> {
    if !negative {
        return Some(n.into());
    }
    0i64.checked_sub_unsigned(n).map(Number::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_are_resolved_as_yaml_serde_does() {
        for text in [
            "12",
            "-3",
            "+5",
            "0755",
            "0x1f",
            "0o17",
            "0b11",
            "1.5",
            "1e3",
            "12:34",
            "on",
            "yes",
            "~",
            "null",
            "true",
            "True",
            "x",
            "-",
            "0",
            "-0",
            "00",
            "1_000",
            "18446744073709551615",
            ".",
            "1.",
            "+-5",
            "0x-1",
            "infinity",
            "nan",
            "1.2.3",
            "e5",
            "1e400",
        ] {
            let theirs: Value = serde_yaml::from_str(&format!("k: {text}")).unwrap_or(json!({"k": text}));
            assert_eq!(json!({"k": resolve(text)}), theirs, "{text}");
        }
    }
}
