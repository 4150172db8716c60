//! What a schema can't tell of documents: rules within one document, and rules between the documents of a set. Pure.
//!
//! Whether what a document refers to exists is not asked here, nor anything of a node.

mod cloud_init;
mod devices;
mod lifecycle;
mod limits;
mod machine;
mod network;
mod node;
mod occupied;
mod set;
mod storage;
mod text;

use crate::diag::{Code, Diagnostic};
use crate::manifest::{Document, Management, Spec};

pub use node::uri_refused;
pub use set::check_set;

/// Everything that is wrong within one document.
pub fn check_document(document: &Document) -> Vec<Diagnostic> {
    let mut check = Check { document, found: Vec::new() };
    text::check(&mut check);
    lifecycle::check(&mut check);
    match &*document.spec {
        Spec::Fleet(spec) => storage::fleet(&mut check, spec),
        Spec::Node(spec) => node::check(&mut check, spec),
        Spec::KeyPair(spec) => storage::key_pair(&mut check, spec),
        Spec::StoragePool(spec) => storage::pool(&mut check, spec),
        Spec::Network(spec) => network::check(&mut check, spec),
        Spec::Template(spec) => storage::template(&mut check, spec),
        Spec::Volume(spec) => storage::volume(&mut check, spec),
        Spec::VirtualMachine(spec) => machine::check(&mut check, spec),
    }
    check.found
}

/// One document under examination. Places are JSON pointers into its spec, with indices.
struct Check<'a> {
    document: &'a Document,
    found: Vec<Diagnostic>,
}

impl Check<'_> {
    /// A diagnostic at the value of `pointer`, or what is nearest to it.
    fn at(&self, code: Code, pointer: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, message).about(&self.document.object).at(self.document.label(&format!("/spec{pointer}")))
    }

    /// Says that there is something wrong at `pointer`.
    fn say(&mut self, code: Code, pointer: &str, message: impl Into<String>, help: &str) {
        let mut diagnostic = self.at(code, pointer, message);
        if !help.is_empty() {
            diagnostic = diagnostic.help(help);
        }
        self.found.push(diagnostic);
    }

    /// Says that two places don't go together.
    fn clash(&mut self, code: Code, pointer: &str, other: &str, message: impl Into<String>, help: &str) {
        let other = self.document.label(&format!("/spec{other}"));
        let diagnostic = self.at(code, pointer, message).and(other.says("the other"));
        self.found.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
    }

    /// Whether the object is said to be there already.
    fn is_there(&self) -> bool {
        let lifecycle = &self.document.lifecycle;
        lifecycle.adopts() || lifecycle.management == Some(Management::Observe)
    }

    /// These fields of the spec may be missing only where the object is there already: it is adopted or observed.
    fn needed_to_make(&mut self, fields: &[(&str, bool)]) {
        if self.is_there() {
            return;
        }
        for (name, _) in fields.iter().filter(|(_, written)| !written) {
            let message = format!("`spec` needs the field `{name}`");
            let diagnostic = Diagnostic::new(Code::MissingField, message).about(&self.document.object);
            self.found.push(diagnostic.at(self.document.key_label("/spec")));
        }
    }

    /// Of `fields`, two at least, below `pointer` exactly one (or with `optional`, at most one) may be written.
    fn one_of(&mut self, pointer: &str, fields: &[(&str, bool)], optional: bool) {
        let written: Vec<&str> = fields.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
        let names: Vec<String> = fields.iter().map(|(name, _)| format!("`{name}`")).collect();
        let names = match names.as_slice() {
            [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
            [] => String::new(),
        };
        match written.as_slice() {
            [] if !optional => {
                let diagnostic = Diagnostic::new(Code::OneOf, format!("one of {names} is needed")).about(&self.document.object);
                self.found.push(diagnostic.at(self.document.key_label(&format!("/spec{pointer}"))));
            }
            [first, second, ..] => {
                let (here, there) = (format!("{pointer}/{second}"), format!("{pointer}/{first}"));
                self.clash(Code::OneOf, &here, &there, format!("only one of {names} can be written"), "take one of them out");
            }
            _ => {}
        }
    }

    /// No two of `keys` (each with its place) may be equal.
    fn unique<K: Ord>(&mut self, keys: impl IntoIterator<Item = (K, String)>, message: impl Fn(&K) -> String) {
        let mut first = std::collections::BTreeMap::new();
        for (key, pointer) in keys {
            match first.get(&key) {
                None => {
                    first.insert(key, pointer);
                }
                Some(earlier) => {
                    let (text, earlier) = (message(&key), earlier.clone());
                    self.clash(Code::DuplicateItem, &pointer, &earlier, text, "");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
