//! A set of manifests, checked and resolved: what a person is told of it, and what it wants.

use super::ManifestSet;
use crate::diag::{self, Code, Diagnostic};
use crate::manifest::Spec;
use crate::name::Uid;
use crate::resolve::{self, Desired, Implied, Problem};

/// What is not in the manifests and decides what they mean.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The URI of the node that a set without one has.
    pub uri: &'a str,
    /// Whether a Node may have a URI that is refused otherwise.
    pub allowed: &'a (dyn Fn(&str) -> bool + Sync),
}

/// Checks and resolves a set; what is wrong is added to its diagnostics. True where the Fleet's id is written in the manifests;
/// `fleet` tells it where it isn't.
pub fn check(set: &mut ManifestSet, given: &Given<'_>, fleet: impl FnOnce() -> Option<Uid>) -> (Desired, bool) {
    for document in &set.documents {
        let allowed = match &document.spec {
            Spec::Node(spec) => spec.uri.as_deref().is_some_and(given.allowed),
            _ => false,
        };
        let found = resolve::check_document(document);
        set.diagnostics.extend(found.into_iter().filter(|diagnostic| !(allowed && diagnostic.code == Code::UriRefused)));
    }
    set.diagnostics.extend(resolve::check_set(&set.documents));
    let declared = set.documents.iter().find_map(|document| match &document.spec {
        Spec::Fleet(spec) => spec.id,
        _ => None,
    });
    let id = declared.or_else(fleet).unwrap_or_default();
    let (desired, problems) = resolve::expand(&set.documents, &set.sources, id, &Implied { uri: given.uri.to_owned() });
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
