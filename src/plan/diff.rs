//! The diff: what was written against what a node has, leaf by leaf, walked by the field table. No kind has a diff of its own.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

use super::fields::{Class, Field, OnRemoval, field};
use super::model::{FieldChange, Shown};
use crate::manifest::Leaves;
use crate::name::{ByteSize, Kind};
use crate::xml::domain::machine_matches;

/// One leaf that is not as it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    /// Its path.
    pub path: String,
    /// What it is.
    pub old: Option<Value>,
    /// What it is to be; none: it goes.
    pub new: Option<Value>,
}

/// What a comparison found.
#[derive(Debug, Clone, Default)]
pub(super) struct Differences {
    /// Leaves that are to change, in the order of their paths.
    pub changed: Vec<(&'static Field, Difference)>,
    /// Leaves that were taken out of the manifest and stay as they are.
    pub kept: Vec<String>,
}

impl Differences {
    /// The leaves as a plan shows them.
    pub(super) fn shown(&self) -> Vec<FieldChange> {
        self.changed.iter().map(|(row, difference)| shown(row, difference)).collect()
    }
}

/// One leaf as a plan shows it.
pub(super) fn shown(row: &Field, difference: &Difference) -> FieldChange {
    let show = |value: &Value| if row.sensitive { Shown::Sensitive } else { Shown::Value(text(value)) };
    FieldChange { path: difference.path.clone(), old: difference.old.as_ref().map(show), new: difference.new.as_ref().map(show) }
}

/// A value in a line: strings that need no quotes without them.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(s) if !s.is_empty() && !s.contains(char::is_whitespace) => s.clone(),
        Value::String(s) => format!("{s:?}"),
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// Compares the authored leaves `now` with the leaves `observed`; `last` are those of the last verified apply.
pub(super) fn compare(kind: Kind, now: &Leaves, last: &BTreeSet<String>, observed: &Leaves) -> Differences {
    let mut found = Differences::default();
    for (path, wanted) in now {
        let Some(row) = field(kind, path) else { continue };
        let is = observed.get(path);
        let differs = match row.class {
            Class::Managed | Class::Seed => !equal(row, path, Some(wanted), observed),
            Class::CreateOnly => is.is_some() && !equal(row, path, Some(wanted), observed),
            Class::Behaviour | Class::Inventory => false,
        };
        if differs {
            found.changed.push((
                row,
                Difference { path: path.clone(), old: is.cloned().or_else(|| absent(row)), new: Some(wanted.clone()) },
            ));
        }
    }
    for path in last.iter().filter(|path| !now.contains_key(*path)) {
        let Some(row) = field(kind, path) else { continue };
        if matches!(row.class, Class::Behaviour | Class::Inventory) {
            continue;
        }
        match row.on_removal {
            OnRemoval::Keep => {
                if observed.contains_key(path) {
                    found.kept.push(path.clone());
                }
            }
            OnRemoval::Drop => {
                if let Some(is) = observed.get(path)
                    && absent(row).as_ref() != Some(is)
                {
                    found.changed.push((row, Difference { path: path.clone(), old: Some(is.clone()), new: None }));
                }
            }
            OnRemoval::Set(json) => {
                let wanted = serde_json::from_str(json).ok();
                if !equal(row, path, wanted.as_ref(), observed) {
                    found.changed.push((row, Difference { path: path.clone(), old: observed.get(path).cloned(), new: wanted }));
                }
            }
        }
    }
    found.changed.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
    found
}

fn absent(row: &Field) -> Option<Value> {
    if row.absent.is_empty() { None } else { serde_json::from_str(row.absent).ok() }
}

/// Whether a wanted leaf is as observed, after the normal forms of the kind.
fn equal(row: &Field, path: &str, wanted: Option<&Value>, observed: &Leaves) -> bool {
    let is = observed.get(path).map(Cow::Borrowed).or_else(|| absent(row).map(Cow::Owned));
    match (wanted, is.or_else(|| stand_in(row, observed).map(Cow::Borrowed))) {
        (None, None) => true,
        // What runs it was decided when it was made.
        (Some(Value::String(wanted)), Some(_)) if row.path == "/accelerator" && wanted == "Auto" => true,
        (Some(wanted), Some(is)) => *wanted == *is || normal(row, wanted) == normal(row, &is) || alias(row, wanted, &is),
        _ => false,
    }
}

/// What a leaf means that libvirt writes by way of another one.
fn stand_in<'o>(row: &Field, observed: &'o Leaves) -> Option<&'o Value> {
    let other = match (row.kind, row.path) {
        (Kind::VirtualMachine, "/maxMemory") => "/memory",
        (Kind::VirtualMachine, "/cpu/max") => "/cpu/count",
        _ => return None,
    };
    observed.get(other)
}

/// The form in which a leaf is compared: memory in whole KiB, as libvirt rounds it.
fn normal(row: &Field, value: &Value) -> Value {
    match (row.kind, row.path, value) {
        (Kind::VirtualMachine, "/memory" | "/maxMemory", Value::String(size)) => {
            size.parse::<ByteSize>().map_or_else(|_| value.clone(), |size| Value::from(size.kib()))
        }
        _ => value.clone(),
    }
}

/// A machine's alias is any version of that machine.
fn alias(row: &Field, wanted: &Value, is: &Value) -> bool {
    row.path == "/machine" && wanted.as_str().zip(is.as_str()).is_some_and(|(wanted, is)| machine_matches(wanted, is))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(pairs: &[(&str, Value)]) -> Leaves {
        pairs.iter().map(|(path, value)| ((*path).to_owned(), value.clone())).collect()
    }

    #[test]
    fn what_was_not_written_is_never_compared() {
        let found = compare(
            Kind::VirtualMachine,
            &map(&[("/cpu/count", json!(2))]),
            &BTreeSet::new(),
            &map(&[("/cpu/count", json!(2)), ("/memory", json!("2Gi"))]),
        );
        assert!(found.changed.is_empty());
    }

    #[test]
    fn an_alias_of_a_machine_is_any_version_of_it() {
        let is = map(&[("/machine", json!("pc-q35-7.2"))]);
        assert!(compare(Kind::VirtualMachine, &map(&[("/machine", json!("q35"))]), &BTreeSet::new(), &is).changed.is_empty());
        assert_eq!(compare(Kind::VirtualMachine, &map(&[("/machine", json!("pc"))]), &BTreeSet::new(), &is).changed.len(), 1);
    }

    #[test]
    fn what_was_taken_out_goes_and_what_never_was_ours_stays() {
        let last = ["/title".to_owned()].into();
        let is = map(&[("/title", json!("a")), ("/description", json!("b"))]);
        let found = compare(Kind::VirtualMachine, &Leaves::new(), &last, &is);
        let paths: Vec<_> = found.changed.iter().map(|(_, d)| d.path.as_str()).collect();
        assert_eq!(paths, ["/title"]);
    }

    #[test]
    fn memory_is_compared_in_whole_kib() {
        let is = map(&[("/memory", json!("1Mi"))]);
        let wanted = map(&[("/memory", json!("1048575"))]);
        assert!(compare(Kind::VirtualMachine, &wanted, &BTreeSet::new(), &is).changed.is_empty());
    }

    #[test]
    fn what_is_unset_in_a_document_stands_for_its_default() {
        let vm = |wanted: &[(&str, Value)], is: &[(&str, Value)]| {
            let found = compare(Kind::VirtualMachine, &map(wanted), &BTreeSet::new(), &map(is));
            found.changed.into_iter().map(|(_, d)| d.path).collect::<Vec<_>>()
        };
        // Without a maximum of its own, what is there is all that there can be.
        assert_eq!(vm(&[("/maxMemory", json!("1Gi"))], &[("/memory", json!("1Gi"))]), [""; 0]);
        assert_eq!(vm(&[("/maxMemory", json!("2Gi"))], &[("/memory", json!("1Gi"))]), ["/maxMemory"]);
        assert_eq!(vm(&[("/cpu/max", json!(2))], &[("/cpu/count", json!(2))]), [""; 0]);
        assert_eq!(vm(&[("/cpu/max", json!(3))], &[("/cpu/count", json!(2))]), ["/cpu/max"]);
        assert_eq!(vm(&[("/title", json!("a"))], &[]), ["/title"]);
        // What runs it was decided when it was made; what was asked for is not.
        assert_eq!(vm(&[("/accelerator", json!("Auto"))], &[("/accelerator", json!("TCG"))]), [""; 0]);
        assert_eq!(vm(&[("/accelerator", json!("KVM"))], &[("/accelerator", json!("TCG"))]), ["/accelerator"]);
        assert_eq!(vm(&[("/title", json!("Auto"))], &[("/title", json!("b"))]), ["/title"]);
    }

    #[test]
    fn a_value_is_shown_with_quotes_where_it_would_be_misread() {
        for (value, shown) in [
            (json!("a"), "a"),
            (json!(""), "\"\""),
            (json!("a b"), "\"a b\""),
            (json!("a\nb"), "\"a\\nb\""),
            (json!(["a", "b c", 1]), "[a, \"b c\", 1]"),
            (json!(true), "true"),
        ] {
            assert_eq!(text(&value), shown);
        }
    }
}
