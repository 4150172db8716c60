//! `ignoreChanges`: fields that are used when an object is made, and are nobody's afterwards.

use std::sync::Arc;

use serde_json::Value;

use super::super::fields::{Class, field};
use super::prepare::Prepared;
use crate::manifest::{Lifecycle, Spec, path};
use crate::name::{Kind, ObjectRef};
use crate::resolve::Wanted;

pub(super) fn prepare(all: &mut Prepared<'_>) {
    let with: Vec<ObjectRef> = all
        .desired
        .objects
        .values()
        .filter(|wanted| !wanted.lifecycle.ignore_changes.is_empty())
        .map(|wanted| wanted.object.clone())
        .collect();
    for object in with {
        let conduct = all.desired.object(&object).and_then(conduct);
        if let Some(path) = conduct {
            let message =
                format!("its `lifecycle.ignoreChanges` names {path}, which libvirt doesn't have: it is jvp's own conduct");
            all.refused.insert(object, (message, "take it out of the list".into()));
            continue;
        }
        let unfinished = all.owned.entries.get(&object).is_none_or(|entry| entry.unfinished);
        let there = all.there.contains(&object) || matches!(object.kind, Kind::Template | Kind::KeyPair);
        if unfinished || !there {
            continue;
        }
        let Some(wanted) = all.desired.to_mut().object_mut(&object) else { continue };
        leave_out(wanted);
        let lifecycle = wanted.lifecycle.clone();
        if let Some(entry) = all.owned.to_mut().entry_mut(&object) {
            entry.last.retain(|path| !lifecycle.ignores(path));
            entry.values.retain(|path, _| !lifecycle.ignores(path));
        }
    }
}

/// The first of an object's ignored fields that libvirt doesn't have.
fn conduct(wanted: &Wanted) -> Option<String> {
    let is_conduct = |pointer: &&String| field(wanted.object.kind, pointer).is_some_and(|row| row.class == Class::Behaviour);
    wanted.lifecycle.ignore_changes.iter().find(is_conduct).cloned()
}

/// Takes the ignored fields out of what is wanted.
fn leave_out(wanted: &mut Wanted) {
    let Wanted { lifecycle, now, spec, object, .. } = wanted;
    Arc::make_mut(now).retain(|path, _| !lifecycle.ignores(path));
    if let Some(less) = without(spec, object.kind, lifecycle) {
        *spec = Arc::new(less);
    }
}

fn without(spec: &Spec, kind: Kind, lifecycle: &Lifecycle) -> Option<Spec> {
    let mut value = spec.to_value();
    let ignored: Vec<String> =
        path::walk(kind, &value).into_iter().filter(|(path, _)| lifecycle.ignores(path)).map(|(_, leaf)| leaf.pointer).collect();
    for pointer in ignored {
        let Some((parent, token)) = pointer.rsplit_once('/') else { continue };
        if let Some(Value::Object(fields)) = value.pointer_mut(parent) {
            fields.remove(&crate::manifest::unescape(token));
        }
    }
    sweep(&mut value);
    Spec::from_value(kind, &value)
}

/// Takes items out of lists of which nothing is left.
fn sweep(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(sweep);
            items.retain(|item| item.as_object().is_none_or(|fields| !fields.is_empty()));
        }
        Value::Object(fields) => fields.values_mut().for_each(sweep),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_of_an_item_goes_alone_and_an_item_goes_whole() {
        let spec = Spec::from_value(
            Kind::VirtualMachine,
            &json!({"memory": "1Gi", "disks": [{"name": "a", "bus": "sata"}, {"name": "b", "bus": "scsi"}]}),
        )
        .unwrap();
        let lifecycle = Lifecycle {
            ignore_changes: vec!["/disks/a/bus".into(), "/disks/b".into(), "/memory".into()],
            ..Lifecycle::default()
        };
        let less = without(&spec, Kind::VirtualMachine, &lifecycle).unwrap();
        assert_eq!(less.to_value(), json!({"disks": [{"name": "a"}]}));
    }
}
