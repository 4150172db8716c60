//! What can be had once on a node, and who has it: a second taker is said with both places.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use crate::diag::{Code, Diagnostic};
use crate::manifest::Document;
use crate::name::{Name, ObjectRef};

/// Where an object stands, as far as its document tells.
#[derive(Debug, Clone)]
pub(super) enum Nodes<'a> {
    /// On every Node, or on one that isn't told.
    Any,
    /// On this one, as most do.
    One(&'a Name),
    /// On these.
    On(BTreeSet<&'a Name>),
}

impl<'a> Nodes<'a> {
    /// From a list of Nodes, in which none means every one.
    pub(super) fn of(names: impl IntoIterator<Item = &'a Name>) -> Self {
        let mut names = names.into_iter();
        match (names.next(), names.next()) {
            (None, _) => Self::Any,
            (Some(one), None) => Self::One(one),
            (Some(first), Some(second)) => Self::On([first, second].into_iter().chain(names).collect()),
        }
    }

    /// Whether both can stand on one Node.
    pub(super) fn meet(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::One(a), Self::One(b)) => a == b,
            (Self::One(one), Self::On(all)) | (Self::On(all), Self::One(one)) => all.contains(one),
            (Self::On(a), Self::On(b)) => !a.is_disjoint(b),
        }
    }
}

/// One who takes something.
#[derive(Debug, Clone)]
pub(super) struct Taker<'a> {
    /// Where.
    pub(super) nodes: Nodes<'a>,
    /// Who.
    pub(super) document: &'a Document,
    /// Where it is written; to find the place in the file is left for when it is to be shown.
    pub(super) pointer: Cow<'static, str>,
}

/// Things of one sort that can be had once on a node, known by `K`.
pub(super) struct Occupied<'a, K> {
    code: Code,
    taken: BTreeMap<K, Takers<'a>>,
}

/// Nearly always one.
struct Takers<'a> {
    first: Taker<'a>,
    more: Vec<Taker<'a>>,
}

impl<'a, K: Ord> Occupied<'a, K> {
    /// Nothing is taken yet; a second taker is said as `code`.
    pub(super) fn new(code: Code) -> Self {
        Self { code, taken: BTreeMap::new() }
    }

    /// `taker` takes `what`; where somebody has it, `message` is made of who that is.
    pub(super) fn take(&mut self, what: K, taker: Taker<'a>, message: impl Fn(&ObjectRef) -> String) -> Option<Diagnostic> {
        let takers = match self.taken.entry(what) {
            Entry::Vacant(free) => {
                free.insert(Takers { first: taker, more: Vec::new() });
                return None;
            }
            Entry::Occupied(taken) => taken.into_mut(),
        };
        let mut before = iter::once(&takers.first).chain(&takers.more);
        let said = before.find(|earlier| earlier.nodes.meet(&taker.nodes)).map(|earlier| {
            let (has, wants) = (&earlier.document.object, &taker.document.object);
            let there = if has == wants { "first here".to_owned() } else { format!("{has} has it") };
            let diagnostic = Diagnostic::new(self.code, message(has)).about(wants).at(taker.document.label(&taker.pointer));
            diagnostic.and(earlier.document.label(&earlier.pointer).says(there))
        });
        takers.more.push(taker);
        said
    }
}
