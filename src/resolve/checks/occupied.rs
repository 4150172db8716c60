//! What can be had once on a node, and who has it: a second taker is said with both places.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::diag::{Code, Diagnostic};
use crate::manifest::Document;
use crate::name::{Name, ObjectRef};

/// Where an object stands, as far as its document tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Nodes {
    /// On every Node, or on one that isn't told.
    Any,
    /// On these.
    On(BTreeSet<Name>),
}

impl Nodes {
    /// From a list of Nodes, in which none means every one.
    pub(super) fn of<'a>(names: impl IntoIterator<Item = &'a Name>) -> Self {
        let names: BTreeSet<Name> = names.into_iter().cloned().collect();
        if names.is_empty() { Self::Any } else { Self::On(names) }
    }

    /// Whether both can stand on one Node.
    pub(super) fn meet(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::On(a), Self::On(b)) => !a.is_disjoint(b),
            _ => true,
        }
    }
}

/// One who takes something.
#[derive(Debug, Clone)]
pub(super) struct Taker<'a> {
    /// Where.
    pub(super) nodes: Nodes,
    /// Who.
    pub(super) document: &'a Document,
    /// Where it is written; to find the place in the file is left for when it is to be shown.
    pub(super) pointer: Cow<'static, str>,
}

/// Things of one sort that can be had once on a node.
pub(super) struct Occupied<'a> {
    code: Code,
    taken: BTreeMap<String, Vec<Taker<'a>>>,
}

impl<'a> Occupied<'a> {
    /// Nothing is taken yet; a second taker is said as `code`.
    pub(super) fn new(code: Code) -> Self {
        Self { code, taken: BTreeMap::new() }
    }

    /// `taker` takes `what`; where somebody has it, `message` is made of who that is.
    pub(super) fn take(&mut self, what: &str, taker: Taker<'a>, message: impl Fn(&ObjectRef) -> String) -> Option<Diagnostic> {
        let takers = self.taken.entry(what.to_owned()).or_default();
        let said = takers.iter().find(|earlier| earlier.nodes.meet(&taker.nodes)).map(|earlier| {
            let (has, wants) = (&earlier.document.object, &taker.document.object);
            let there = if has == wants { "first here".to_owned() } else { format!("{has} has it") };
            let diagnostic = Diagnostic::new(self.code, message(has)).about(wants).at(taker.document.label(&taker.pointer));
            diagnostic.and(earlier.document.label(&earlier.pointer).says(there))
        });
        takers.push(taker);
        said
    }
}
