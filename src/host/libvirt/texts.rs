//! Documents that were given out and that somebody still has: one that is as it was is given out again, so that who reads again and again
//! never has two of each, and sees without a look into it that it is the same.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::xml::{Document, Hold};

/// Which of a domain's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Which {
    /// The one that its next start uses.
    Inactive,
    /// The one that it runs with.
    Live,
    /// The one that its managed save image brings back.
    Saved,
}

/// What is known to be held.
#[derive(Debug, Default)]
pub(super) struct Texts(Mutex<BTreeMap<(Uuid, Which), Hold>>);

impl Texts {
    fn all(&self) -> MutexGuard<'_, BTreeMap<(Uuid, Which), Hold>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A domain's document, as somebody has it already where it is the same.
    pub(super) fn kept(&self, domain: Uuid, which: Which, text: &str) -> Document {
        let document = Document::from(text);
        let mut all = self.all();
        match all.get(&(domain, which)).and_then(Hold::get) {
            Some(known) if known == document => known,
            _ => {
                all.insert((domain, which), document.hold());
                document
            }
        }
    }

    /// Forgets what nobody has any more.
    pub(super) fn sweep(&self) {
        self.all().retain(|_, held| held.get().is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_given_out_once_for_as_long_as_somebody_has_it() {
        let (texts, domain) = (Texts::default(), Uuid::from_u128(1));
        let first = texts.kept(domain, Which::Inactive, "a");
        assert!(first.is(&texts.kept(domain, Which::Inactive, "a")));
        assert!(!first.is(&texts.kept(domain, Which::Live, "a")));
        let second = texts.kept(domain, Which::Inactive, "b");
        assert_eq!((first.text(), second.text()), ("a".to_owned(), "b".to_owned()));
        drop(second);
        texts.sweep();
        assert!(texts.all().is_empty());
    }
}
