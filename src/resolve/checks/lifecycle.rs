//! Rules of `lifecycle`: words that mean nothing for a kind, words that don't go together, pointers that name no field.

use serde_json::Value;

use super::Check;
use crate::diag::{Code, Diagnostic};
use crate::manifest::path::{ListRule, item_key, list_rule};
use crate::manifest::{Management, escape, schema, unescape};
use crate::name::Kind;

/// Which words a kind knows, and why it lacks the others.
fn lacks(kind: Kind, word: &str) -> Option<&'static str> {
    match (kind, word) {
        (Kind::Fleet | Kind::Node, _) => Some("nothing in libvirt stands for it"),
        (Kind::KeyPair, "preventDestroy") => None,
        (Kind::KeyPair, _) => Some("its files lie beside jvp, under its name"),
        (Kind::Template, "adopt") => Some("an image that is there is known by its content, and taken as it is"),
        (Kind::Template, "renamedFrom") => Some("its files are named after it: make a new Template, and let the old one go"),
        _ => None,
    }
}

pub(super) fn check(check: &mut Check<'_>) {
    let document = check.document;
    let lifecycle = &document.lifecycle;
    let written = [
        ("adopt", lifecycle.adopt.is_some()),
        ("management", lifecycle.management.is_some()),
        ("ignoreChanges", !lifecycle.ignore_changes.is_empty()),
        ("renamedFrom", lifecycle.renamed_from.is_some()),
        ("preventDestroy", lifecycle.prevent_destroy.is_some()),
        ("reclaimPolicy", lifecycle.reclaim_policy.is_some()),
    ];
    let kind = document.object.kind;
    for (word, _) in written.iter().filter(|(_, written)| *written) {
        if let Some(why) = lacks(kind, word) {
            let message = format!("`lifecycle.{word}` says nothing of a {kind}: {why}");
            say(check, Code::Conflict, word, message, "take it out");
            return;
        }
    }
    if lifecycle.management == Some(Management::Observe) {
        for (word, _) in written.iter().filter(|(word, written)| *written && matches!(*word, "adopt" | "renamedFrom")) {
            let message = format!("`lifecycle.{word}` is never done for an object that is only observed");
            say(check, Code::Conflict, word, message, "take one of the two out");
        }
    }
    if lifecycle.renamed_from.as_ref() == Some(&document.object.name) {
        say(check, Code::WrongValue, "renamedFrom", "this is the name that it has", "write the name that it had before");
    }
    for (index, pointer) in lifecycle.ignore_changes.iter().enumerate() {
        if let Some((message, help)) = no_field(check, pointer) {
            say(check, Code::UnknownField, &format!("ignoreChanges/{index}"), message, &help);
        }
    }
}

fn say(check: &mut Check<'_>, code: Code, word: &str, message: impl Into<String>, help: &str) {
    let diagnostic = Diagnostic::new(code, message).about(&check.document.object);
    check.found.push(diagnostic.at(check.document.label(&format!("/lifecycle/{word}"))).help(help));
}

/// Why a pointer names no field, and what to do.
fn no_field(check: &Check<'_>, pointer: &str) -> Option<(String, String)> {
    let form =
        || "a pointer is a path in `spec` in which an item of a list stands by its key, such as `/disks/root/bus`".to_owned();
    let Some(rest) = pointer.strip_prefix('/').filter(|rest| !rest.is_empty()) else {
        return Some((format!("`{pointer}` is no pointer to a field"), form()));
    };
    let kind = check.document.object.kind;
    let root = schema::value(kind)?;
    let (mut at, mut pattern) = (root.pointer("/properties/spec")?, String::new());
    let spec = check.document.spec.to_value();
    let mut written = Some(&spec);
    for token in rest.split('/') {
        let name = unescape(token);
        at = resolved(root, at);
        if at["type"] == "array" {
            let rule = list_rule(kind, &pattern);
            if !matches!(rule, ListRule::Keyed(_) | ListRule::Span(..)) {
                return Some((
                    format!("`{pattern}` is one field, nothing of it can be ignored alone"),
                    format!("write `{pattern}`"),
                ));
            }
            let items = written.and_then(Value::as_array);
            let keys: Vec<String> = items.into_iter().flatten().filter_map(|item| item_key(rule, item)).collect();
            if !keys.contains(&name) {
                let help = if keys.is_empty() { form() } else { format!("its items are {}", keys.join(", ")) };
                return Some((format!("`{pointer}` names an item `{name}` that the manifest doesn't have"), help));
            }
            written = items.and_then(|items| items.iter().find(|item| item_key(rule, item).as_ref() == Some(&name)));
            pattern.push_str("/*");
            at = &at["items"];
            continue;
        }
        let Some(field) = at["properties"].get(&name) else {
            let fields = at["properties"].as_object().into_iter().flatten();
            let near = fields.map(|(field, _)| field).min_by_key(|field| strsim::levenshtein(field, &name));
            let help = near.map_or_else(form, |near| {
                format!("did you mean `{}/{near}`?", pointer.split(&format!("/{token}")).next().unwrap_or_default())
            });
            return Some((format!("`{pointer}` names no field of a {kind}"), help));
        };
        written = written.and_then(|value| value.get(&name));
        pattern.push('/');
        pattern.push_str(&escape(&name));
        at = field;
    }
    None
}

/// What a reference to a definition means.
fn resolved<'s>(root: &'s Value, at: &'s Value) -> &'s Value {
    match at["$ref"].as_str().and_then(|to| to.strip_prefix("#/$defs/")) {
        Some(name) => &root["$defs"][name],
        None => at,
    }
}
