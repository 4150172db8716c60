//! What can be had once on a node, and who has it: a second taker is said with both places.

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::{Code, Diagnostic, Label};
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
    pub(super) object: &'a ObjectRef,
    /// Where it is written.
    pub(super) label: Label,
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
        let earlier = takers.iter().find(|earlier| earlier.nodes.meet(&taker.nodes)).cloned();
        takers.push(taker.clone());
        let earlier = earlier?;
        let there = if earlier.object == taker.object { "first here".to_owned() } else { format!("{} has it", earlier.object) };
        let diagnostic = Diagnostic::new(self.code, message(earlier.object)).about(taker.object).at(taker.label);
        Some(diagnostic.and(earlier.label.says(there)))
    }
}
