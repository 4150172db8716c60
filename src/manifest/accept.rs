//! Whether a document is as its kind's schema says: yes, or not known. Most documents are right, and to see that takes a walk over the
//! text of the schema; the validator, which is long in the making, is for those that aren't, as it has to say what is wrong.
//!
//! Nothing here says no, and what the validator would refuse is never accepted: a word of the schema that isn't known here, a pattern
//! without a row and a number with a fraction are all "not known".

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::formats::{self, Format};
use super::kinds::KINDS;
use crate::name::Kind;

/// Whether `value` is surely a document of `kind`.
pub(super) fn accepts(kind: Kind, value: &Value) -> bool {
    static READ: OnceLock<BTreeMap<Kind, OnceLock<Option<Part<'static>>>>> = OnceLock::new();
    let read = READ.get_or_init(|| KINDS.iter().map(|row| (row.kind, OnceLock::new())).collect());
    let schema = read.get(&kind).and_then(|schema| schema.get_or_init(|| part_of(kind)).as_ref());
    schema.is_some_and(|schema| schema.accepts(schema, false, value))
}

fn part_of(kind: Kind) -> Option<Part<'static>> {
    serde_json::from_str(super::schema::of(kind)?).ok()
}

/// A schema, or a part of one. It borrows from the schema's text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Part<'a> {
    #[serde(rename = "type", default)]
    kind: Option<Type>,
    #[serde(rename = "enum", borrow, default)]
    words: Option<Vec<&'a str>>,
    #[serde(default, deserialize_with = "format")]
    format: Option<&'static Format>,
    #[serde(default, deserialize_with = "pattern")]
    pattern: Option<Matches>,
    #[serde(default)]
    min_length: Option<usize>,
    #[serde(default)]
    max_length: Option<usize>,
    #[serde(default)]
    minimum: Option<i128>,
    #[serde(default)]
    maximum: Option<i128>,
    #[serde(rename = "$ref", borrow, default)]
    reference: Option<&'a str>,
    #[serde(borrow, default)]
    any_of: Option<Vec<Part<'a>>>,
    // Boxed, as a node of a map has room for eleven of its values, and most mappings have fewer properties.
    #[serde(borrow, default)]
    properties: BTreeMap<&'a str, Box<Part<'a>>>,
    #[serde(borrow, default)]
    additional_properties: Option<Additional<'a>>,
    #[serde(borrow, default)]
    required: Vec<&'a str>,
    #[serde(borrow, default)]
    items: Option<Box<Part<'a>>>,
    #[serde(default)]
    unique_items: bool,
    #[serde(rename = "$defs", borrow, default)]
    definitions: BTreeMap<&'a str, Box<Part<'a>>>,
    // What is said to people and editors.
    #[serde(rename = "$schema", default)]
    _schema: IgnoredAny,
    #[serde(rename = "title", default)]
    _title: IgnoredAny,
    #[serde(rename = "description", default)]
    _description: IgnoredAny,
    #[serde(rename = "patternErrorMessage", default)]
    _message: IgnoredAny,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    String,
    Integer,
    Boolean,
    Object,
    Array,
}

/// What a mapping may have beside its properties.
enum Additional<'a> {
    Any(bool),
    As(Box<Part<'a>>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Additional<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Additional<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a truth value or a schema")
            }
            fn visit_bool<E>(self, any: bool) -> Result<Self::Value, E> {
                Ok(Additional::Any(any))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Part::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(|part| Additional::As(Box::new(part)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Whether a text is as a pattern says.
type Matches = fn(&str) -> bool;

fn format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'static Format>, D::Error> {
    let name = <&str>::deserialize(deserializer)?;
    match formats::format(name) {
        Some(format) => Ok(Some(format)),
        // Of numbers, for editors: `minimum` and `maximum` say the same.
        None if ["uint16", "uint32", "uint64"].contains(&name) => Ok(None),
        None => Err(D::Error::custom("a format that is not known here")),
    }
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Matches>, D::Error> {
    let text = Cow::<str>::deserialize(deserializer)?;
    // A pattern without a row is one that nothing matches: "not known".
    Ok(Some(PATTERNS.iter().find(|(pattern, _)| *pattern == text).map_or(|_| false, |(_, matches)| *matches)))
}

impl Part<'_> {
    /// `formatted`: a format around it says all that its pattern does.
    fn accepts(&self, root: &Self, formatted: bool, value: &Value) -> bool {
        let formatted = formatted || self.format.is_some();
        let own = match value {
            Value::Null => self.kind.is_none() && self.words.is_none(),
            Value::Bool(_) => matches!(self.kind, None | Some(Type::Boolean)) && self.words.is_none(),
            Value::Number(number) => self.number(number),
            Value::String(text) => self.text(formatted, text),
            Value::Array(items) => self.list(root, formatted, items),
            Value::Object(fields) => self.mapping(root, formatted, fields),
        };
        own && self.reference.is_none_or(|reference| {
            let part = reference.strip_prefix("#/$defs/").and_then(|name| root.definitions.get(name));
            part.is_some_and(|part| part.accepts(root, false, value))
        }) && self.any_of.as_ref().is_none_or(|parts| parts.iter().any(|part| part.accepts(root, formatted, value)))
    }

    fn number(&self, number: &serde_json::Number) -> bool {
        let Some(number) = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)) else { return false };
        matches!(self.kind, None | Some(Type::Integer))
            && self.words.is_none()
            && self.minimum.is_none_or(|least| number >= least)
            && self.maximum.is_none_or(|most| number <= most)
    }

    fn text(&self, formatted: bool, text: &str) -> bool {
        let length = || text.chars().count();
        matches!(self.kind, None | Some(Type::String))
            && self.words.as_ref().is_none_or(|words| words.contains(&text))
            && self.min_length.is_none_or(|least| length() >= least)
            && self.max_length.is_none_or(|most| text.len() <= most || length() <= most)
            && self.format.is_none_or(|format| (format.check)(text).is_ok())
            && (formatted || self.pattern.is_none_or(|matches| matches(text)))
    }

    fn list(&self, root: &Self, formatted: bool, items: &[Value]) -> bool {
        matches!(self.kind, None | Some(Type::Array))
            && self.words.is_none()
            && self.items.as_ref().is_none_or(|part| items.iter().all(|item| part.accepts(root, formatted, item)))
            && (!self.unique_items || distinct(items))
    }

    fn mapping(&self, root: &Self, formatted: bool, fields: &serde_json::Map<String, Value>) -> bool {
        matches!(self.kind, None | Some(Type::Object))
            && self.words.is_none()
            && self.required.iter().all(|name| fields.contains_key(*name))
            && fields.iter().all(|(name, field)| match (self.properties.get(name.as_str()), &self.additional_properties) {
                (Some(part), _) => part.accepts(root, formatted, field),
                (None, None) => true,
                (None, Some(Additional::Any(any))) => *any,
                (None, Some(Additional::As(part))) => part.accepts(root, formatted, field),
            })
    }
}

/// Whether all items are texts, none of them twice.
fn distinct(items: &[Value]) -> bool {
    let mut seen = BTreeSet::new();
    items.iter().all(|item| item.as_str().is_some_and(|text| seen.insert(text)))
}

/// The patterns that stand beside no format, and what they say: to compile an expression takes longer than all else that is done here.
const PATTERNS: &[(&str, Matches)] = &[
    ("^(sha256:[0-9a-fA-F]{64}|sha512:[0-9a-fA-F]{128})$", |text| {
        let hex = |digits: &str, count| digits.len() == count && digits.bytes().all(|b| b.is_ascii_hexdigit());
        text.strip_prefix("sha256:").is_some_and(|digits| hex(digits, 64))
            || text.strip_prefix("sha512:").is_some_and(|digits| hex(digits, 128))
    }),
    ("^0?[0-7]{3,4}$", |text| {
        let octal = |digits: &str| matches!(digits.len(), 3 | 4) && digits.bytes().all(|b| matches!(b, b'0'..=b'7'));
        octal(text) || text.strip_prefix('0').is_some_and(octal)
    }),
    ("^JVP_VAR_[A-Za-z0-9_]+$", |text| text.strip_prefix("JVP_VAR_").is_some_and(|rest| word(rest, b"_"))),
    ("^[1-9][0-9]{0,5}(s|m|h)$", |text| {
        let digits = text.strip_suffix(['s', 'm', 'h']).unwrap_or_default();
        matches!(digits.len(), 1..=6) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
    }),
    ("^[A-Za-z0-9][A-Za-z0-9._-]*$", |text| text.starts_with(|c: char| c.is_ascii_alphanumeric()) && word(text, b"._-")),
    ("^[^\\n]+$", |text| !text.is_empty() && !text.contains('\n')),
    ("^[a-z0-9][A-Za-z0-9._-]*$", |text| text.starts_with(lower) && word(text, b"._-")),
    ("^[a-z0-9][a-z0-9_-]*$", |text| {
        text.starts_with(lower) && word(text, b"_-") && !text.contains(|c: char| c.is_ascii_uppercase())
    }),
];

fn lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// Whether it is of letters, digits and these signs, and not empty.
fn word(text: &str, signs: &[u8]) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || signs.contains(&b))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::schema::{compiled, value};
    use super::*;
    use crate::diag::SourceMap;

    /// What any place is tried with.
    fn pool() -> Vec<Value> {
        let mut pool = vec![
            json!(null),
            json!(true),
            json!(-1),
            json!(0),
            json!(1),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(1.0),
            json!(1.5),
            json!([]),
            json!(["a"]),
            json!(["a", "a"]),
            json!(["a", "b"]),
            json!([1]),
            json!([{}]),
            json!({}),
            json!({"a": "b"}),
            json!({"a": 1}),
        ];
        let hex = |kind: &str, count| format!("{kind}:{}", "0aF".repeat(count).get(..count).unwrap_or_default());
        let texts = [
            "",
            "a",
            "A",
            "a\nb",
            "ä",
            "a b",
            "-a",
            "a.b",
            "a..b",
            "a_b",
            "a/b",
            "0",
            "1",
            "1Gi",
            "2g",
            "0644",
            "00644",
            "644",
            "6448",
            "000644",
            "52:54:00:00:00:01",
            "5:4:3:2:1:0",
            "10.0.0.1",
            "10.0.0.1/24",
            "fd00::1",
            "fd00::1/64",
            "5f0c2a9e-2d5c-4c1b-9f53-0f3c8f1c7b52",
            "120s",
            "0s",
            "999999h",
            "1000000h",
            "s",
            "JVP_VAR_a",
            "JVP_VAR_",
            "JVP_VAR_a-b",
            "q35",
            "Q35",
            "virtio",
            "host-passthrough",
            "0 3 * * SUN",
            "60 3 * * *",
            "UTC",
            "Europe/Nowhere",
            "a\u{1}",
        ];
        pool.extend(texts.map(Value::from));
        pool.extend([32, 33, 63, 64, 200, 201].map(|count| Value::from("a".repeat(count))));
        pool.extend([63, 64, 65].map(|count| Value::from(hex("sha256", count))));
        pool.extend([127, 128].map(|count| Value::from(hex("sha512", count))));
        pool
    }

    fn resolved<'a>(root: &'a Value, part: &'a Value) -> &'a Value {
        let reference = part["$ref"].as_str().and_then(|reference| root.pointer(reference.strip_prefix('#')?));
        reference.map_or(part, |part| resolved(root, part))
    }

    /// The least that is as `part` says.
    fn least(root: &Value, part: &Value) -> Value {
        let part = resolved(root, part);
        match part["type"].as_str() {
            Some("object") => {
                let required = part["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
                Value::Object(required.map(|name| (name.to_owned(), least(root, &part["properties"][name]))).collect())
            }
            Some("array") => json!([]),
            _ => {
                let mut options = jsonschema::options().should_validate_formats(true);
                for format in formats::FORMATS {
                    options = options.with_format(format.name, |text: &str| (format.check)(text).is_ok());
                }
                let validator = options.build(part).expect("a part of a schema is one");
                let words = part["enum"].as_array().cloned().unwrap_or_default();
                let mut values = words.into_iter().chain(part.get("minimum").cloned()).chain(pool());
                values
                    .find(|value| validator.is_valid(value))
                    .unwrap_or_else(|| unreachable!("the pool has nothing for {part:#}"))
            }
        }
    }

    type Wrap<'a> = &'a dyn Fn(Value) -> Value;

    /// Calls `visit` with each part of the schema and what makes a document of a value in its place.
    fn places(root: &Value, part: &Value, wrap: Wrap<'_>, visit: &mut dyn FnMut(&Value, Wrap<'_>)) {
        let part = resolved(root, part);
        visit(part, wrap);
        let around = least(root, part);
        for (name, field) in part["properties"].as_object().into_iter().flatten() {
            let within = |value: Value| {
                let mut around = around.clone();
                around[name.as_str()] = value;
                wrap(around)
            };
            places(root, field, &within, visit);
        }
        if part["additionalProperties"].is_object() {
            places(root, &part["additionalProperties"], &|value| wrap(json!({"a": value})), visit);
        }
        if part["items"].is_object() {
            places(root, &part["items"], &|value| wrap(json!([value])), visit);
        }
    }

    fn has_fraction(value: &Value) -> bool {
        match value {
            Value::Number(number) => number.is_f64(),
            Value::Array(items) => items.iter().any(has_fraction),
            Value::Object(fields) => fields.values().any(has_fraction),
            _ => false,
        }
    }

    /// Whether both say yes. They may differ in one thing: to a validator 1.0 is a whole number.
    fn agreed(kind: Kind, document: &Value) -> bool {
        let (accepted, valid) = (accepts(kind, document), compiled(kind).expect("a schema").validator.is_valid(document));
        assert!(accepted == valid || (valid && has_fraction(document)), "accepted: {accepted}, valid: {valid}: {document:#}");
        accepted
    }

    #[test]
    fn all_that_the_schemas_say_is_known() {
        for row in KINDS {
            let read: Result<Part<'_>, _> = serde_json::from_str(row.text);
            assert!(read.is_ok(), "{}: {:?}", row.kind, read.err());
        }
    }

    #[test]
    fn it_and_the_validator_agree_on_every_value_in_every_place() {
        let pool = pool();
        let (mut yes, mut no) = (0, 0);
        for row in KINDS {
            let root = value(row.kind).expect("a schema");
            places(root, root, &|value| value, &mut |part, wrap| {
                let mut values = vec![least(root, part)];
                let words = part["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
                values.extend(words.flat_map(|word| [word.to_owned(), word.to_lowercase(), format!("{word} ")]).map(Value::from));
                for limit in ["minimum", "maximum"] {
                    let limit = part[limit].as_i64().into_iter();
                    values.extend(
                        limit
                            .flat_map(|limit| [Some(limit), limit.checked_add(1), limit.checked_sub(1)])
                            .flatten()
                            .map(Value::from),
                    );
                }
                if let Value::Object(fields) = &values[0].clone() {
                    let without =
                        |name: &String| fields.iter().filter(|(n, _)| *n != name).map(|(n, v)| (n.clone(), v.clone())).collect();
                    values.extend(fields.keys().map(|name| Value::Object(without(name))));
                    let mut more = fields.clone();
                    more.insert("other".to_owned(), json!("a"));
                    values.push(Value::Object(more));
                }
                assert!(agreed(row.kind, &wrap(values[0].clone())), "the least is right: {part:#}");
                for value in values.iter().chain(&pool) {
                    *(if agreed(row.kind, &wrap(value.clone())) { &mut yes } else { &mut no }) += 1;
                }
            });
        }
        assert!(yes > 1_000 && no > 10_000, "{yes} yes, {no} no");
    }

    fn manifests() -> Vec<(Kind, Value)> {
        let mut found = Vec::new();
        let mut waiting: Vec<_> =
            ["tests/golden", "manifests", "examples"].map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).into();
        while let Some(folder) = waiting.pop() {
            for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if path.is_dir() {
                    waiting.push(path);
                } else if path.extension().is_some_and(|ext| ext == "yaml") {
                    let mut sources = SourceMap::default();
                    let file = sources.add("a.yaml", std::fs::read_to_string(&path).unwrap_or_default());
                    let documents = super::super::yaml::read(file, sources.text(file)).0;
                    found.extend(documents.into_iter().filter_map(|raw| {
                        let name = raw.value["kind"].as_str()?;
                        Some((KINDS.iter().find(|row| row.kind.name() == name)?.kind, raw.value))
                    }));
                }
            }
        }
        found
    }

    fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
        all.push(at.to_owned());
        match value {
            Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| pointers(item, &format!("{at}/{i}"), all)),
            Value::Object(fields) => {
                for (name, field) in fields {
                    pointers(field, &format!("{at}/{}", super::super::span::escape(name)), all);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn the_manifests_of_the_checkout_are_judged_alike() {
        let all = manifests();
        let yes = all.iter().filter(|(kind, document)| agreed(*kind, document)).count();
        assert!(yes > 100 && yes < all.len(), "{yes} of {}", all.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn changed_manifests_are_judged_alike(
            which in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4), 1..4),
        ) {
            static MANIFESTS: OnceLock<Vec<(Kind, Value)>> = OnceLock::new();
            let (kind, mut document) = which.get(MANIFESTS.get_or_init(manifests)).clone();
            for (place, value, how) in changes {
                let mut all = Vec::new();
                pointers(&document, "", &mut all);
                let Some(at) = document.pointer_mut(place.get::<String>(&all)) else { continue };
                match (at, how) {
                    (Value::Object(fields), 1) if !fields.is_empty() => {
                        let name = value.get(&fields.keys().cloned().collect::<Vec<_>>()).clone();
                        fields.remove(&name);
                    }
                    (Value::Object(fields), 2) => drop(fields.insert("bus".to_owned(), json!("virtio"))),
                    (Value::Array(items), 1) => items.extend(items.first().cloned()),
                    (at, _) => *at = value.get(&pool()).clone(),
                }
            }
            agreed(kind, &document);
        }

        #[test]
        fn what_is_said_of_a_pattern_is_what_it_says(
            text in "(sha256:|sha512:|JVP_VAR_|0)?([0-9a-f]{64}){0,2}[0-9A-Za-z._\\n-]{0,8}[smh]?|\\PC{0,4}\\n?",
        ) {
            static VALIDATORS: OnceLock<Vec<jsonschema::Validator>> = OnceLock::new();
            let build = |(pattern, _): &(&str, _)| jsonschema::validator_for(&json!({"pattern": pattern})).expect("a schema");
            let validators = VALIDATORS.get_or_init(|| PATTERNS.iter().map(build).collect());
            for ((pattern, matches), validator) in PATTERNS.iter().zip(validators) {
                prop_assert_eq!(matches(&text), validator.is_valid(&json!(text)), "{} {:?}", pattern, &text);
            }
        }
    }

    #[test]
    fn every_pattern_has_a_row_and_every_row_a_pattern() {
        let mut found = BTreeSet::new();
        for row in KINDS {
            let root = value(row.kind).expect("a schema");
            places(root, root, &|value| value, &mut |part, _| {
                if part["format"].is_null() {
                    found.extend(part["pattern"].as_str().map(ToOwned::to_owned));
                }
            });
        }
        let rows: BTreeSet<String> = PATTERNS.iter().map(|(pattern, _)| (*pattern).to_owned()).collect();
        assert_eq!(found, rows);
    }
}
