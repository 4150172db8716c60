//! What came of each document when a set was last resolved, so that of a large set only what changed is worked on again.
//!
//! A document is a value that never changes; the same one gives the same, for the same fleet and on the same node.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::desired::Wanted;
use crate::manifest::Document;
use crate::name::{Name, ObjectRef, Uid};

/// What is known of the documents of a set.
#[derive(Debug, Default)]
pub struct Memo {
    /// Nothing is kept.
    forgets: bool,
    fleet: Uid,
    documents: BTreeMap<ObjectRef, Known>,
}

/// What is known of one document.
#[derive(Debug)]
struct Known {
    document: Arc<Document>,
    /// Nothing is wrong in it.
    right: bool,
    /// What it wants, on each node.
    wanted: Vec<Arc<Wanted>>,
}

impl Memo {
    /// For a set that is resolved once: to keep all that comes of a large one takes a while.
    pub fn none() -> Self {
        Self { forgets: true, ..Self::default() }
    }

    fn known(&self, document: &Arc<Document>) -> Option<&Known> {
        self.documents.get(&document.object).filter(|known| Arc::ptr_eq(&known.document, document))
    }

    fn learn(&mut self, document: &Arc<Document>) -> &mut Known {
        let fresh = || Known { document: Arc::clone(document), right: false, wanted: Vec::new() };
        let known = self.documents.entry(document.object.clone()).or_insert_with(fresh);
        if !Arc::ptr_eq(&known.document, document) {
            *known = fresh();
        }
        known
    }

    /// Whether the document was found to be right.
    pub fn is_right(&self, document: &Arc<Document>) -> bool {
        self.known(document).is_some_and(|known| known.right)
    }

    /// The document was found to be right.
    pub fn found_right(&mut self, document: &Arc<Document>) {
        if !self.forgets {
            self.learn(document).right = true;
        }
    }

    /// What the document wants by this name, on this node.
    pub(super) fn wanted(&self, document: &Arc<Document>, object: &ObjectRef, node: Option<&Name>) -> Option<Arc<Wanted>> {
        let known = self.known(document)?;
        known.wanted.iter().find(|wanted| wanted.object == *object && wanted.node.as_ref() == node).cloned()
    }

    /// The document wants this.
    pub(super) fn keep(&mut self, document: &Arc<Document>, wanted: &Arc<Wanted>) {
        if !self.forgets {
            self.learn(document).wanted.push(Arc::clone(wanted));
        }
    }

    /// A set of this fleet is resolved.
    pub(super) fn begin(&mut self, fleet: Uid) {
        if self.fleet != fleet {
            self.fleet = fleet;
            self.documents.values_mut().for_each(|known| known.wanted.clear());
        }
    }

    /// These were all of its documents; others are forgotten.
    pub(super) fn end(&mut self, documents: &[Arc<Document>]) {
        if self.documents.len() > documents.len() {
            let there: std::collections::BTreeSet<&ObjectRef> = documents.iter().map(|document| &document.object).collect();
            self.documents.retain(|object, _| there.contains(object));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SourceMap;
    use crate::manifest::load;
    use crate::name::Kind;

    fn networks(names: &[&str]) -> Vec<Arc<Document>> {
        let one = |name: &&str| {
            format!("apiVersion: jvp.dev/v1alpha1\nkind: Network\nmetadata: {{name: {name}}}\nspec: {{mode: NAT}}\n")
        };
        let mut sources = SourceMap::default();
        sources.add("t.yaml", names.iter().map(one).collect::<Vec<_>>().join("---\n"));
        load(&sources).documents
    }

    fn wanted(document: &Arc<Document>) -> Arc<Wanted> {
        let implied = super::super::Implied { uri: "test:///x".into() };
        let (desired, _) = super::super::expand(&[Arc::clone(document)], Uid::from_u128(1), &implied, &mut Memo::none());
        Arc::clone(desired.objects.values().find(|wanted| wanted.object.kind == Kind::Network).expect("a network"))
    }

    #[test]
    fn what_is_known_is_of_this_very_document_and_of_this_fleet() {
        let (all, again) = (networks(&["a"]), networks(&["a"]));
        let (document, other) = (&all[0], &again[0]);
        let wanted = wanted(document);
        let found = |memo: &Memo, document| memo.wanted(document, &wanted.object, wanted.node.as_ref()).is_some();
        let mut memo = Memo::default();
        assert!(!memo.is_right(document) && !found(&memo, document));
        memo.begin(Uid::from_u128(1));
        memo.found_right(document);
        memo.keep(document, &wanted);
        assert!(memo.is_right(document) && found(&memo, document));
        assert!(!memo.is_right(other) && !found(&memo, other), "its successor is another one");
        memo.begin(Uid::from_u128(1));
        assert!(found(&memo, document));
        memo.begin(Uid::from_u128(2));
        assert!(memo.is_right(document) && !found(&memo, document), "another fleet's have other ids");
        memo.found_right(other);
        assert!(memo.is_right(other) && !memo.is_right(document));
    }

    #[test]
    fn what_is_in_the_set_no_more_is_forgotten_and_nothing_of_one_that_is_resolved_once_is_kept() {
        let all = networks(&["a", "b", "c"]);
        let mut memo = Memo::default();
        for document in &all {
            memo.found_right(document);
        }
        memo.end(&all);
        assert!(all.iter().all(|document| memo.is_right(document)));
        memo.end(&all[..2]);
        let right: Vec<bool> = all.iter().map(|document| memo.is_right(document)).collect();
        assert_eq!(right, [true, true, false]);
        let mut none = Memo::none();
        none.found_right(&all[0]);
        none.keep(&all[0], &wanted(&all[0]));
        assert!(!none.is_right(&all[0]) && none.documents.is_empty());
    }
}
