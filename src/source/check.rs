//! A set of manifests, checked and resolved: what a person is told of it, and what it wants.

use std::sync::Arc;

use super::ManifestSet;
use crate::diag::{self, Code, Diagnostic};
use crate::manifest::{Document, Spec, both, many};
use crate::name::Uid;
use crate::resolve::{self, Desired, Implied, Problem};

/// So many documents are worth a thread.
const FEW_DOCUMENTS: usize = 200;

/// What is not in the manifests and decides what they mean.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The URI of the node that a set without one has.
    pub uri: &'a str,
    /// Whether a Node may have a URI that is refused otherwise.
    pub allowed: &'a (dyn Fn(&str) -> bool + Sync),
}

/// Checks and resolves a set; what is wrong is added to its diagnostics. True where the Fleet's id is written in the manifests;
/// `fleet` tells it where it isn't. `memo` is of the last time, if there was one.
pub fn check(
    set: &mut ManifestSet,
    given: &Given<'_>,
    fleet: impl FnOnce() -> Option<Uid>,
    memo: &mut resolve::Memo,
) -> (Desired, bool) {
    let declared = set.documents.iter().find_map(|document| match &*document.spec {
        Spec::Fleet(spec) => spec.id,
        _ => None,
    });
    let id = declared.or_else(fleet).unwrap_or_default();
    let documents = &set.documents;
    let unknown: Vec<&Arc<Document>> = documents.iter().filter(|document| !memo.is_right(document)).collect();
    let ((each, all), (desired, problems)) = both(
        documents.len() >= FEW_DOCUMENTS,
        || (many(&unknown, FEW_DOCUMENTS, |document| resolve::check_document(document)), resolve::check_set(documents)),
        || resolve::expand(documents, id, &Implied { uri: given.uri.to_owned() }, memo),
    );
    for (document, found) in unknown.into_iter().zip(each) {
        let allowed = match &*document.spec {
            Spec::Node(spec) => spec.uri.as_deref().is_some_and(given.allowed),
            _ => false,
        };
        if found.is_empty() {
            memo.found_right(document);
        }
        set.diagnostics.extend(found.into_iter().filter(|diagnostic| !(allowed && diagnostic.code == Code::UriRefused)));
    }
    set.diagnostics.extend(all);
    for problem in problems {
        set.diagnostics.push(diagnostic(set, &problem));
    }
    diag::sort(&mut set.diagnostics, &set.sources);
    (desired, declared.is_some())
}

fn diagnostic(set: &ManifestSet, problem: &Problem) -> Diagnostic {
    let code = if problem.message.contains("circle") {
        Code::Cycle
    } else if problem.path == "/node" {
        Code::NodeNeeded
    } else {
        Code::MissingReference
    };
    let document = set
        .documents
        .iter()
        .find(|document| document.object.kind == problem.object.kind && document.object.name == problem.object.name);
    let mut diagnostic = Diagnostic::new(code, problem.message.clone()).about(&problem.object);
    if let Some(document) = document {
        diagnostic =
            diagnostic.at(if problem.path.is_empty() { document.name_label() } else { document.field_label(&problem.path) });
    }
    for help in &problem.help {
        diagnostic = diagnostic.help(help.clone());
    }
    diagnostic
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::resolve::Memo;
    use crate::source::{ManifestCache, Walk};

    const ALL: &str = "apiVersion: jvp.dev/v1alpha1\nkind: Node\nmetadata: {name: a}\nspec: {uri: 'qemu:///system'}\n---\n\
        apiVersion: jvp.dev/v1alpha1\nkind: StoragePool\nmetadata: {name: p}\nspec: {type: Dir, target: {path: /p}}\n---\n\
        apiVersion: jvp.dev/v1alpha1\nkind: Network\nmetadata: {name: n}\nspec: {mode: Isolated, bridge: br9}\n";

    fn vm(name: &str, memory: &str, node: &str) -> String {
        format!(
            "apiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec: {{runStrategy: Halted, cpu: {{count: 1}}, \
             node: {node}, memory: {memory}, disks: [{{name: root, claim: {{pool: p, capacity: 1Mi}}}}], interfaces: [{{name: e, network: n}}]}}\n"
        )
    }

    /// What a folder wants, with a memo and without one.
    fn both(folder: &Path, cache: &mut ManifestCache, memo: &mut Memo) -> (Desired, Desired, Vec<Diagnostic>) {
        let set = cache.read_folder(&Walk::of(folder, Path::new("site")).unwrap(), Path::new("site"));
        let given = Given { uri: "qemu:///system", allowed: &|_| false };
        let (mut one, mut other) = (set.clone(), set);
        let again = check(&mut one, &given, || None, memo).0;
        let anew = check(&mut other, &given, || None, &mut Memo::none()).0;
        assert_eq!(one.diagnostics, other.diagnostics);
        (again, anew, one.diagnostics)
    }

    #[test]
    fn a_set_that_is_resolved_again_is_as_one_that_is_resolved_anew() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("all.yaml", ALL);
        write("one.yaml", &vm("one", "64Mi", "a"));
        write("two.yaml", &vm("two", "64Mi", "a"));
        let (mut cache, mut memo) = (ManifestCache::default(), Memo::default());
        let (first, anew, wrong) = both(dir.path(), &mut cache, &mut memo);
        assert_eq!((&first, wrong.len()), (&anew, 0));
        let steps: [&dyn Fn(); 6] = [
            &|| write("one.yaml", &vm("one", "65Mi", "a")),
            &|| write("one.yaml", &vm("one", "65Mi", "b")),
            &|| {
                write(
                    "all.yaml",
                    &ALL.replace("name: a}", "name: b}").replacen("uri: 'qemu:///system'", "uri: 'qemu:///session'", 1),
                );
            },
            &|| write("three.yaml", &vm("one.root", "64Mi", "a")),
            &|| fs::remove_file(dir.path().join("three.yaml")).unwrap(),
            &|| write("all.yaml", ALL),
        ];
        for step in steps {
            step();
            let (again, anew, _) = both(dir.path(), &mut cache, &mut memo);
            assert_eq!(again, anew);
        }
        write("one.yaml", &vm("one", "64Mi", "a"));
        let (last, _, _) = both(dir.path(), &mut cache, &mut memo);
        write("one.yaml", &vm("one", "66Mi", "a"));
        let (next, _, _) = both(dir.path(), &mut cache, &mut memo);
        let same = |name: &str| {
            let object = name.parse().unwrap();
            Arc::ptr_eq(&last.objects[&object], &next.objects[&object])
        };
        assert!(
            same("VirtualMachine/two") && same("Volume/two.root") && same("Network/n@a"),
            "what didn't change is the very same"
        );
        assert!(!same("VirtualMachine/one"));
    }
}
