//! The JSON Schemas of the language, one a kind, made from the spec types. They lie in `schemas/`, where editors read them, and are part
//! of the program: [`load`](fn@super::load) validates with the same ones. A test sees to it that they are those of the types.
//!
//! Nothing here reads or writes a file.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::{PatternOptions, Validator};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::formats;
use super::kinds::{KINDS, KindSpec};
use super::{API_VERSION, Lifecycle, Metadata};
use crate::name::Kind;

/// Every schema, as its file's name in `schemas/` and its text: one for each kind, and `jvp.json` for a document of any kind.
pub fn all() -> impl Iterator<Item = (String, &'static str)> {
    let any = ("jvp.json".to_owned(), include_str!("../../schemas/jvp.json"));
    KINDS.iter().map(|row| (file_name(row.kind), row.text)).chain([any])
}

/// Every schema of [`all`], made anew from the types: what `schemas/` has to hold.
pub fn generated() -> Vec<(String, String)> {
    let mut files: Vec<_> = KINDS.iter().map(|row| (file_name(row.kind), pretty(&document(row)))).collect();
    files.push(("jvp.json".to_owned(), pretty(&any_kind())));
    files
}

/// The schema of a document of `kind`, as in `schemas/`.
pub fn of(kind: Kind) -> Option<&'static str> {
    super::kinds::spec_of(kind).map(|row| row.text)
}

/// The schema of a document of `kind`, as a value.
pub fn value(kind: Kind) -> Option<&'static Value> {
    static CACHE: OnceLock<BTreeMap<Kind, OnceLock<Option<Value>>>> = OnceLock::new();
    let cache = CACHE.get_or_init(|| KINDS.iter().map(|row| (row.kind, OnceLock::new())).collect());
    cache.get(&kind)?.get_or_init(|| serde_json::from_str(of(kind)?).ok()).as_ref()
}

/// The name of the schema's file: the kind in lower case, with `.json`.
pub fn file_name(kind: Kind) -> String {
    format!("{}.json", kind.name().to_ascii_lowercase())
}

fn pretty(schema: &Value) -> String {
    format!("{schema:#}\n")
}

/// A compiled schema, with its text for whoever explains a violation.
pub(super) struct Compiled {
    /// The schema.
    pub(super) schema: &'static Value,
    /// What checks values against it.
    pub(super) validator: Validator,
}

/// The compiled schema of `kind`; each is compiled once, when it is first needed.
pub(super) fn compiled(kind: Kind) -> Option<&'static Compiled> {
    static CACHE: OnceLock<BTreeMap<Kind, OnceLock<Option<Compiled>>>> = OnceLock::new();
    let cache = CACHE.get_or_init(|| KINDS.iter().map(|row| (row.kind, OnceLock::new())).collect());
    cache.get(&kind)?.get_or_init(|| value(kind).and_then(compile)).as_ref()
}

fn compile(schema: &'static Value) -> Option<Compiled> {
    // An engine without look-around is built in a fraction of the time. The patterns that need it are those of formats.
    let mut options = jsonschema::options().should_validate_formats(true).with_pattern_options(PatternOptions::regex());
    for format in formats::FORMATS {
        options = options.with_format(format.name, |text: &str| (format.check)(text).is_ok());
    }
    let mut checked = schema.clone();
    without_patterns_of_formats(&mut checked, false);
    let validator = options.build(&checked).ok()?;
    Some(Compiled { schema, validator })
}

/// Takes out the patterns that stand beside a format of ours, for editors that know no formats: the format says all that they say, and
/// compiling them at each start took longer than all the rest of it.
fn without_patterns_of_formats(schema: &mut Value, formatted: bool) {
    match schema {
        Value::Object(map) => {
            let formatted =
                formatted || map.get("format").and_then(Value::as_str).is_some_and(|name| formats::format(name).is_some());
            if formatted {
                map.remove("pattern");
            }
            map.values_mut().for_each(|part| without_patterns_of_formats(part, formatted));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| without_patterns_of_formats(item, formatted)),
        _ => {}
    }
}

/// The schema of a whole document.
fn document(row: &KindSpec) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut spec = (row.schema)(&mut generator).to_value();
    let mut metadata = generator.subschema_for::<Metadata>().to_value();
    let mut lifecycle = generator.subschema_for::<Lifecycle>().to_value();
    let mut definitions = Value::Object(generator.take_definitions(true));
    for part in [&mut spec, &mut metadata, &mut lifecycle, &mut definitions] {
        tidy(part);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": row.kind.name(),
        "description": definitions.pointer(&format!("/{}Spec/description", row.kind.name())).cloned().unwrap_or_default(),
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": false,
        "properties": {
            "apiVersion": {"description": "The version of the language.", "type": "string", "enum": [API_VERSION]},
            "kind": {"description": "What the document describes.", "type": "string", "enum": [row.kind.name()]},
            "metadata": metadata,
            "spec": spec,
            "lifecycle": lifecycle,
        },
        "$defs": definitions,
    })
}

/// The schema of a document of any kind, or of a List of them: it refers to the files beside it.
fn any_kind() -> Value {
    let branches: Vec<Value> = KINDS
        .iter()
        .map(|row| {
            json!({
                "if": {"properties": {"kind": {"const": row.kind.name()}}, "required": ["kind"]},
                "then": {"$ref": file_name(row.kind)},
            })
        })
        .collect();
    let mut names: Vec<&str> = KINDS.iter().map(|row| row.kind.name()).collect();
    names.push("List");
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "jvp",
        "description": "A document of any kind.",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": {"type": "string", "enum": [API_VERSION]},
            "kind": {"type": "string", "enum": names},
            "items": {"type": "array", "items": {"$ref": "#"}},
        },
        "allOf": branches,
    })
}

/// Takes out what schemars adds and the language doesn't have: `null`, which no field may be, and a choice of constants where
/// an `enum` says the same.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            without_null(map);
            constants_to_enum(map);
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn without_null(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|t| t != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            map.insert("type".into(), one);
        }
    }
    if let Some(Value::Array(branches)) = map.get_mut("anyOf") {
        branches.retain(|branch| *branch != json!({"type": "null"}));
        if let [Value::Object(one)] = branches.as_slice() {
            let one = one.clone();
            map.remove("anyOf");
            for (key, value) in one {
                map.entry(key).or_insert(value);
            }
        }
    }
    if map.get("default") == Some(&Value::Null) {
        map.remove("default");
    }
}

fn constants_to_enum(map: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = map.get("oneOf") else { return };
    let constants: Option<Vec<&str>> = branches.iter().map(|branch| branch.get("const")?.as_str()).collect();
    let Some(constants) = constants else { return };
    let mut text = map.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    for branch in branches {
        let (name, says) = (branch["const"].as_str().unwrap_or_default(), branch["description"].as_str().unwrap_or_default());
        text.extend(["\n- `", name, "`: ", says]);
    }
    let constants = json!(constants);
    map.remove("oneOf");
    map.insert("description".into(), text.into());
    map.insert("type".into(), "string".into());
    map.insert("enum".into(), constants);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::path::LIST_RULES;

    fn each(schema: &Value, visit: &mut dyn FnMut(&Map<String, Value>)) {
        match schema {
            Value::Object(map) => {
                visit(map);
                map.values().for_each(|value| each(value, visit));
            }
            Value::Array(items) => items.iter().for_each(|value| each(value, visit)),
            _ => {}
        }
    }

    #[test]
    fn every_kind_has_a_schema_that_compiles() {
        for row in Kind::TABLE {
            assert!(compiled(row.kind).is_some(), "{}", row.name);
        }
    }

    #[test]
    fn no_field_may_be_null_and_no_mapping_takes_unknown_fields() {
        for row in KINDS {
            each(&document(row), &mut |map| {
                let type_of = map.get("type");
                assert!(!matches!(type_of, Some(Value::Array(_))), "{map:?}");
                assert_ne!(type_of, Some(&json!("null")));
                if type_of == Some(&json!("object")) {
                    assert!(map.contains_key("additionalProperties"), "{map:?}");
                }
            });
        }
    }

    #[test]
    fn every_list_has_a_rule() {
        for row in KINDS {
            let schema = document(row);
            let spec = &schema["properties"]["spec"];
            lists(&schema, spec, "", &mut |path| {
                assert!(LIST_RULES.iter().any(|(kind, p, _)| *kind == row.kind && *p == path), "{} {path}", row.kind);
            });
        }
    }

    /// Calls `visit` with the pattern of every list, but not for lists within one that is a leaf.
    fn lists(root: &Value, schema: &Value, path: &str, visit: &mut dyn FnMut(&str)) {
        if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/")) {
            lists(root, &root["$defs"][name], path, visit);
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            lists(root, field, &format!("{path}/{name}"), visit);
        }
        if schema["type"] == "array" {
            visit(path);
            let leaf = LIST_RULES.iter().any(|(_, p, rule)| {
                *p == path && matches!(rule, crate::manifest::path::ListRule::Atomic | crate::manifest::path::ListRule::Set)
            });
            if !leaf {
                lists(root, &schema["items"], &format!("{path}/*"), visit);
            }
        }
    }
}
