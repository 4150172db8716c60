//! Documents that were given out and that somebody still has: one that is as it was is given out again, so that who reads again and again
//! never has two of each, and sees without a look into it that it is the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use uuid::Uuid;

/// Which of a domain's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Which {
    /// The one that its next start uses.
    Inactive,
    /// The one that it runs with.
    Live,
}

/// What is known to be held.
#[derive(Debug, Default)]
pub(super) struct Texts(Mutex<BTreeMap<(Uuid, Which), Weak<str>>>);

impl Texts {
    fn all(&self) -> MutexGuard<'_, BTreeMap<(Uuid, Which), Weak<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text of a domain's document, as somebody has it already where it is the same.
    pub(super) fn kept(&self, domain: Uuid, which: Which, text: String) -> Arc<str> {
        let mut all = self.all();
        match all.get(&(domain, which)).and_then(Weak::upgrade) {
            Some(known) if *known == *text => known,
            _ => {
                let text: Arc<str> = text.into();
                all.insert((domain, which), Arc::downgrade(&text));
                text
            }
        }
    }

    /// Forgets what nobody has any more.
    pub(super) fn sweep(&self) {
        self.all().retain(|_, text| text.strong_count() > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_given_out_once_for_as_long_as_somebody_has_it() {
        let (texts, domain) = (Texts::default(), Uuid::from_u128(1));
        let first = texts.kept(domain, Which::Inactive, "a".into());
        assert!(Arc::ptr_eq(&first, &texts.kept(domain, Which::Inactive, "a".into())));
        assert!(!Arc::ptr_eq(&first, &texts.kept(domain, Which::Live, "a".into())));
        let second = texts.kept(domain, Which::Inactive, "b".into());
        assert_eq!((&*first, &*second), ("a", "b"));
        drop(second);
        texts.sweep();
        assert!(texts.all().is_empty());
    }
}
