//! Fields by their dotted paths: `vm.spec.disks[].bus`, looked up in the schema of the kind.

use serde_json::Value;

use crate::manifest::schema;
use crate::name::Kind;
use crate::plan::fields::{Field, field};

/// What there is to say of a field, or of a mapping of fields.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The kind.
    pub kind: Kind,
    /// Its path, as `VirtualMachine.spec.disks[].bus`.
    pub path: String,
    /// Its last name; for a kind the kind's.
    pub name: String,
    /// What type it has, in words.
    pub type_words: String,
    /// What it is, without its default.
    pub docs: String,
    /// The values that it can have, each with a word about it, where it has a choice of them.
    pub values: Vec<(String, String)>,
    /// Whether the object needs it.
    pub required: bool,
    /// What holds where it is unset.
    pub default: Option<String>,
    /// Its row in the field table; none for a mapping of fields and for what stands beside the spec.
    pub row: Option<&'static Field>,
    /// What a change does where there is no row.
    pub beside: Option<&'static str>,
    /// The fields below it.
    pub below: Vec<Explained>,
}

/// A path that names no field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSuchField {
    /// What is wrong, a clause.
    pub message: String,
    /// What was probably meant.
    pub near: Option<String>,
}

/// What a change of a field does that is no part of a spec.
const BESIDE: &[(&str, &str)] = &[
    ("apiVersion", "it says which language the document is written in"),
    ("kind", "another kind is another object"),
    ("metadata.name", "another name is another object: this one would stay, and a new one be made"),
    ("metadata.labels", "kept in jvp's inventory; it disturbs nothing"),
    ("metadata.annotations", "read by nobody; it disturbs nothing"),
    ("lifecycle", "how jvp acts; it disturbs nothing"),
];

/// A place in a schema.
#[derive(Clone, Copy)]
struct Place<'a> {
    kind: Kind,
    root: &'a Value,
    schema: &'a Value,
}

impl<'a> Place<'a> {
    /// The definition that the schema refers to, else itself.
    fn resolved(self) -> &'a Value {
        let name = self.schema["$ref"].as_str().and_then(|to| to.strip_prefix("#/$defs/"));
        name.map_or(self.schema, |name| &self.root["$defs"][name])
    }

    /// The mapping that it is, or whose list it is, and whether it is a list.
    fn mapping(self) -> (Self, bool) {
        let own = self.resolved();
        if own["type"] == "array" { (Self { schema: &own["items"], ..self }, true) } else { (self, false) }
    }

    fn fields(self) -> Option<&'a serde_json::Map<String, Value>> {
        self.mapping().0.resolved()["properties"].as_object()
    }
}

/// Explains a path: a kind, in any of its words, then names of fields with dots between; `[]` after a list may be missing, and so
/// may `spec`.
pub fn explain(path: &str) -> Result<Explained, NoSuchField> {
    let mut words = path.split('.');
    let first = words.next().unwrap_or_default();
    let Some(kind) = Kind::parse(first) else {
        let names = Kind::TABLE.iter().flat_map(|row| row.aliases.iter().copied().chain([row.name]));
        return Err(NoSuchField {
            message: format!("there is no kind `{first}`"),
            near: nearest(first, names).map(|near| path.replacen(first, near, 1)),
        });
    };
    let words: Vec<&str> = words.collect();
    let root = schema::value(kind).unwrap_or(&Value::Null);
    let top = Place { kind, root, schema: root };
    find(top, &words)
}

/// The leaves of a kind's spec, in the order of the schema.
pub fn fields_of(kind: Kind) -> Vec<Explained> {
    fn leaves(at: Explained, all: &mut Vec<Explained>) {
        if at.below.is_empty() {
            all.push(at);
        } else {
            at.below.into_iter().for_each(|below| leaves(below, all));
        }
    }
    let root = schema::value(kind).unwrap_or(&Value::Null);
    let top = Place { kind, root, schema: root };
    let mut all = Vec::new();
    if let Ok(spec) = find(top, &["spec"]) {
        leaves(spec, &mut all);
    }
    all
}

fn find(top: Place<'_>, words: &[&str]) -> Result<Explained, NoSuchField> {
    let mut place = top;
    let mut required = true;
    let mut dotted = top.kind.name().to_owned();
    let in_spec =
        |word: &&str| Place { schema: &top.root["properties"]["spec"], ..top }.fields().is_some_and(|f| f.contains_key(*word));
    let beside = |word: &&str| top.fields().is_some_and(|fields| fields.contains_key(*word));
    let spec = words.first().map(bare).filter(|word| !beside(word) && in_spec(word)).map(|_| "spec");
    for word in spec.iter().chain(words) {
        let name = bare(word);
        let (mapping, list) = place.mapping();
        if list && !dotted.ends_with("[]") {
            dotted.push_str("[]");
        }
        let Some(fields) = place.fields() else {
            return Err(NoSuchField { message: format!("`{dotted}` has no fields"), near: Some(dotted) });
        };
        let Some(schema) = fields.get(name) else {
            let near = nearest(name, fields.keys().map(String::as_str)).map(|near| format!("{dotted}.{near}"));
            return Err(NoSuchField {
                message: format!("there is no field `{name}` in `{dotted}`"),
                near: near.or(Some(dotted)),
            });
        };
        let needed = mapping.resolved()["required"].as_array();
        required = needed.is_some_and(|needed| needed.iter().any(|needed| needed == name));
        dotted = format!("{dotted}.{name}");
        place = Place { schema, ..top };
    }
    Ok(read(place, dotted, required))
}

/// A name without what says that it is a list, or which of its items is meant.
fn bare<'a>(word: &&'a str) -> &'a str {
    word.split('[').next().unwrap_or_default()
}

fn read(place: Place<'_>, dotted: String, required: bool) -> Explained {
    let (mapping, list) = place.mapping();
    let (own, inner) = (place.resolved(), mapping.resolved());
    let written = [place.schema, own, inner].into_iter().find_map(|schema| schema["description"].as_str()).unwrap_or_default();
    let (docs, default) = split_default(written.split("\n- ").next().unwrap_or_default());
    let mut below = Vec::new();
    if let Some(fields) = place.fields() {
        let path = if list { format!("{dotted}[]") } else { dotted.clone() };
        let needed = |name: &str| inner["required"].as_array().is_some_and(|all| all.iter().any(|needed| needed == name));
        for (name, schema) in fields {
            below.push(read(Place { schema, ..place }, format!("{path}.{name}"), needed(name)));
        }
    }
    let (row, said) = (row(place.kind, &dotted), beside(&dotted));
    Explained {
        kind: place.kind,
        name: dotted.rsplit('.').next().unwrap_or_default().to_owned(),
        type_words: type_words(place),
        docs,
        values: values(inner),
        required,
        default,
        row,
        beside: said.filter(|_| row.is_none()),
        below,
        path: dotted,
    }
}

/// A dotted path within a spec as the tables have it: `/disks/*/bus`.
fn pattern(dotted: &str) -> String {
    let within = dotted.split('.').skip(2);
    within.fold(String::new(), |path, word| path + "/" + &word.replace("[]", "/*"))
}

fn row(kind: Kind, dotted: &str) -> Option<&'static Field> {
    let path = pattern(dotted).replace('*', "key");
    (dotted.split('.').nth(1) == Some("spec") && !path.is_empty()).then(|| field(kind, &path)).flatten()
}

fn beside(dotted: &str) -> Option<&'static str> {
    let within = dotted.split_once('.')?.1;
    let says = |name: &str| within == name || within.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    BESIDE.iter().find(|(name, _)| says(name)).map(|(_, words)| *words)
}

/// The docs without the sentence that tells the default, and the default.
fn split_default(docs: &str) -> (String, Option<String>) {
    for (mark, tail) in [("Default at creation: ", " at creation"), ("Default: ", "")] {
        let Some((head, rest)) = docs.split_once(mark) else { continue };
        // A full stop within a word or in a version is none.
        let end = rest.find(". ").unwrap_or_else(|| rest.trim_end().trim_end_matches('.').len());
        let (value, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let after = after.trim_start_matches('.').trim();
        let head = head.trim_end();
        let docs = if after.is_empty() { head.to_owned() } else { format!("{head} {after}") };
        return (docs, Some(format!("{value}{tail}")));
    }
    (docs.trim().to_owned(), None)
}

/// The values of a choice, with what the docs say of each.
fn values(schema: &Value) -> Vec<(String, String)> {
    let Some(all) = schema["enum"].as_array() else { return Vec::new() };
    let docs = schema["description"].as_str().unwrap_or_default();
    let says = |value: &str| {
        let line = docs.split("\n- ").find_map(|line| line.strip_prefix(&format!("`{value}`: ")));
        line.unwrap_or_default().trim().to_owned()
    };
    all.iter().filter_map(Value::as_str).map(|value| (value.to_owned(), says(value))).collect()
}

fn type_words(place: Place<'_>) -> String {
    let own = place.resolved();
    if own["type"] == "array" {
        let of = type_words(Place { schema: &own["items"], ..place });
        return if of == "mapping" { "list of mappings".into() } else { format!("list of {of}") };
    }
    if let Some(words) = own["format"].as_str().or_else(|| place.schema["format"].as_str()).and_then(format_words) {
        return words.to_owned();
    }
    match own["type"].as_str() {
        Some("object") if own["properties"].is_object() => "mapping".into(),
        Some("object") => "mapping of words to text".into(),
        Some("string") if own["enum"].is_array() => "one of a choice".into(),
        Some("string") => own["patternErrorMessage"].as_str().map_or_else(|| "text".to_owned(), |says| format!("text: {says}")),
        Some("integer") => match (own["minimum"].as_i64(), own["maximum"].as_i64()) {
            (Some(least), Some(most)) => format!("number from {least} to {most}"),
            (Some(least), None) => format!("number from {least}"),
            _ => "number".into(),
        },
        Some("boolean") => "true or false".into(),
        _ => "text".into(),
    }
}

fn format_words(format: &str) -> Option<&'static str> {
    Some(match format {
        "name" => "name",
        "device-name" => "name of a device",
        "libvirt-name" => "name in libvirt",
        "size" => "size, such as 20Gi",
        "mac" => "MAC address",
        "ip" => "IP address",
        "cidr" => "IP address with its prefix, such as 10.10.0.1/24",
        "uuid" => "UUID",
        "cron" => "five fields of cron, such as 0 3 * * SUN",
        "time-zone" => "name of a time zone, such as Europe/Vienna",
        _ => return None,
    })
}

/// What was probably meant, if anything is near enough.
fn nearest<'a>(word: &str, all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let far = |name: &&str| strsim::levenshtein(&name.to_lowercase(), &lower);
    all.min_by_key(far).filter(|near| far(near) <= word.len().max(3) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::explain::effect;

    #[test]
    fn a_field_is_found_by_every_way_to_write_it() {
        for path in ["vm.spec.disks[].bus", "VirtualMachine.spec.disks.bus", "vms.disks[root].bus"] {
            let found = explain(path).unwrap();
            assert_eq!(found.path, "VirtualMachine.spec.disks[].bus", "{path}");
            assert_eq!(found.row.unwrap().path, "/disks/*/bus");
        }
        assert!(!explain("vm").unwrap().below.is_empty());
        assert_eq!(explain("vm.spec.disks").unwrap().type_words, "list of mappings");
        assert_eq!(explain("volume.spec.capacity").unwrap().type_words, "size, such as 20Gi");
    }

    #[test]
    fn spec_may_be_missing_where_what_follows_is_in_it() {
        assert_eq!(explain("vm.memory").unwrap().path, "VirtualMachine.spec.memory");
        assert_eq!(explain("vm.metadata").unwrap().path, "VirtualMachine.metadata");
        assert_eq!(explain("vm.xyzzy").unwrap_err().message, "there is no field `xyzzy` in `VirtualMachine`");
    }

    #[test]
    fn what_is_needed_is_told_of_a_field_and_of_those_below_it() {
        let needed = |path: &str| explain(path).unwrap().required;
        assert!(needed("vm.spec.memory") && needed("vm.spec.disks.name"));
        assert!(!needed("vm.spec.title") && !needed("vm.spec.disks.bus"));
        let spec = explain("vm.spec").unwrap();
        let below = |name: &str| spec.below.iter().find(|below| below.name == name).unwrap().required;
        assert!(below("memory") && !below("title"));
        assert!(spec.beside.is_none() && explain("vm.metadata.name").unwrap().beside.is_some());
        assert_eq!(explain("vm.spec.runStrategy").unwrap().type_words, "one of a choice");
    }

    #[test]
    fn the_default_is_told_apart_from_the_docs() {
        let strategy = explain("vm.spec.runStrategy").unwrap();
        assert_eq!((strategy.docs.as_str(), strategy.default.as_deref()), ("When it is to run.", Some("Always")));
        assert_eq!(strategy.values.len(), 5);
        assert!(strategy.values.iter().all(|(_, says)| !says.is_empty()));
        assert_eq!(explain("vm.spec.machine").unwrap().default.as_deref(), Some("q35 at creation"));
    }

    #[test]
    fn what_was_meant_is_guessed() {
        let near = |path| explain(path).unwrap_err().near.unwrap();
        assert_eq!(near("vm.spec.dsiks"), "VirtualMachine.spec.disks");
        assert_eq!(near("vm.spec.disks[].buss"), "VirtualMachine.spec.disks[].bus");
        assert_eq!(near("vmm.spec.memory"), "vm.spec.memory");
        assert_eq!(near("vm.spec.memory.size"), "VirtualMachine.spec.memory");
    }

    #[test]
    fn every_leaf_of_every_spec_is_explained() {
        for kind in Kind::TABLE.iter().map(|row| row.kind) {
            let leaves = fields_of(kind);
            assert!(!leaves.is_empty(), "{kind}");
            for leaf in leaves {
                let found = explain(&leaf.path).unwrap();
                assert!(!found.docs.is_empty(), "{}: it has no docs", leaf.path);
                assert!(!found.type_words.is_empty());
                let row = found.row.unwrap_or_else(|| panic!("{}: it has no row", leaf.path));
                assert!(!effect(row).is_empty());
            }
        }
    }

    #[test]
    fn what_stands_beside_the_spec_is_explained() {
        for path in ["vm.apiVersion", "vm.kind", "vm.metadata.name", "vm.metadata.labels", "vm.lifecycle.reclaimPolicy"] {
            let found = explain(path).unwrap();
            assert!(!found.docs.is_empty() && found.beside.is_some(), "{path}");
        }
    }
}
