//! What documents become.

use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::diag::SourceMap;
use crate::manifest::{Document, Management, load};
use crate::name::ObjectRef;

fn read(text: &str) -> Vec<Arc<Document>> {
    let mut sources = SourceMap::default();
    sources.add("t.yaml", text.replace("API", "apiVersion: jvp.dev/v1alpha1"));
    let loaded = load(&sources);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.documents
}

fn expanded(documents: &[Arc<Document>], fleet: Uuid, memo: &mut Memo) -> Desired {
    let (desired, problems) = expand(documents, fleet, &Implied { uri: "test:///x".into() }, memo);
    assert!(problems.is_empty(), "{problems:?}");
    desired
}

fn desired(text: &str) -> Desired {
    expanded(&read(text), Uuid::from_u128(1), &mut Memo::default())
}

fn of<'a>(desired: &'a Desired, object: &str) -> &'a Arc<Wanted> {
    &desired.objects[&object.parse::<ObjectRef>().expect("a reference")]
}

const VM: &str = "API\nkind: VirtualMachine\nmetadata: {name: new}\nlifecycle: {LIFECYCLE}\n\
    spec: {memory: 1Gi, disks: [{name: root_1, claim: {pool: p, capacity: 1Gi}}, {name: data, volume: v}]}\n---\n\
    API\nkind: Volume\nmetadata: {name: v}\nspec: {pool: p, source: {volume: base}}\n---\n\
    API\nkind: Volume\nmetadata: {name: base}\nspec: {pool: p, source: {volume: a-root}}\n---\n\
    API\nkind: Volume\nmetadata: {name: a-root}\nspec: {pool: p, capacity: 1Gi}\n---\n\
    API\nkind: StoragePool\nmetadata: {name: p}\nspec: {type: Dir, target: {path: /p}}\n";

#[test]
fn what_a_vm_claims_is_adopted_watched_and_renamed_with_it() {
    let claim = |lifecycle: &str| {
        let all = desired(&VM.replace("LIFECYCLE", lifecycle));
        of(&all, "Volume/new.root-1").lifecycle.clone()
    };
    assert_eq!(claim("adopt: true").adopt, Some(true));
    assert_eq!(claim("management: Observe").management, Some(Management::Observe));
    assert_eq!(claim("renamedFrom: old").renamed_from.map(|name| name.to_string()).as_deref(), Some("old.root-1"));
    let none = claim("preventDestroy: false");
    assert_eq!((none.adopt, none.management, none.renamed_from), (None, None, None));
}

#[test]
fn a_volume_stands_where_the_vm_is_that_uses_it_and_so_does_what_it_is_made_from() {
    let nodes = "API\nkind: Node\nmetadata: {name: n1}\nspec: {uri: 'test:///a'}\n---\nAPI\nkind: Node\nmetadata: {name: n2}\nspec: {uri: 'test:///b'}\n---\n";
    let text = format!("{nodes}{}", VM.replace("lifecycle: {LIFECYCLE}\n", "").replace("memory: 1Gi,", "memory: 1Gi, node: n2,"));
    let all = desired(&text);
    for object in ["VirtualMachine/new", "Volume/new.root-1", "Volume/v", "Volume/base", "Volume/a-root"] {
        assert_eq!(of(&all, object).node.as_ref().map(crate::name::Name::as_str), Some("n2"), "{object}");
    }
    let vm = of(&all, "VirtualMachine/new");
    let found = vm.references.iter().find(|reference| reference.object.to_string() == "Volume/v").expect("it refers to it");
    assert_eq!(vm.reference(&found.path), Some(&found.object));
    assert_eq!(vm.reference("/none"), None);
    // What a claim is made from stands where its VM does, too, and nothing stands on two nodes.
    let claimed = "claim: {pool: p, source: {volume: base}}";
    let (from, to) = ("claim: {pool: p, capacity: 1Gi}", claimed);
    assert_eq!(of(&desired(&text.replace(from, to)), "Volume/base").node.as_ref().map(crate::name::Name::as_str), Some("n2"));
    let other = format!(
        "{text}---\nAPI\nkind: VirtualMachine\nmetadata: {{name: b}}\nspec: {{memory: 1Gi, node: n1, disks: [{{name: a, {claimed}}}]}}\n"
    );
    let documents = read(&other);
    let implied = Implied { uri: "test:///x".into() };
    let (_, problems) = expand(&documents, Uuid::from_u128(1), &implied, &mut Memo::default());
    let said: Vec<String> = problems.iter().map(|problem| format!("{}: {}", problem.object, problem.message)).collect();
    assert!(said.contains(&"Volume/base: it is used by VMs on several nodes: n1, n2".to_owned()), "{said:?}");
}

#[test]
fn what_is_remembered_of_a_fleet_is_nothing_to_another() {
    let read = read(&VM.replace("lifecycle: {LIFECYCLE}\n", ""));
    let mut memo = Memo::default();
    for fleet in [1, 1, 2, 1].map(Uuid::from_u128) {
        let all = expanded(&read, fleet, &mut memo);
        assert_eq!(all.objects, expanded(&read, fleet, &mut Memo::default()).objects);
        for wanted in all.objects.values() {
            assert_eq!(wanted.uid, wanted.object.uid(fleet));
        }
    }
}
