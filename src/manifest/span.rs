//! The span index: where in its file each value of a document stands, by JSON pointer. It holds places and no values.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::diag::Span;

/// The places of one value: its own, its key's, and those of what lies in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SpanIndex {
    key: Option<Span>,
    value: Span,
    below: Below,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
enum Below {
    #[default]
    Nothing,
    Items(Box<[SpanIndex]>),
    /// In the order of their names. A map would take ten times the room, as most mappings have two or three fields.
    Fields(Box<[(Box<str>, SpanIndex)]>),
}

impl SpanIndex {
    /// A scalar at `value`.
    pub(super) fn scalar(value: Span) -> Self {
        Self { key: None, value, below: Below::Nothing }
    }

    /// A list at `value`.
    pub(super) fn list(value: Span, items: Vec<Self>) -> Self {
        Self { key: None, value, below: Below::Items(items.into_boxed_slice()) }
    }

    /// A mapping at `value`; no field stands in it twice.
    pub(super) fn mapping(value: Span, mut fields: Vec<(Box<str>, Self)>) -> Self {
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self { key: None, value, below: Below::Fields(fields.into_boxed_slice()) }
    }

    /// The same, as the value of the key at `key`.
    pub(super) fn keyed(mut self, key: Span) -> Self {
        self.key = Some(key);
        self
    }

    /// The span of the value itself.
    pub fn whole(&self) -> Span {
        self.value
    }

    /// The span of its key.
    pub(super) fn key_span(&self) -> Option<Span> {
        self.key
    }

    /// The value at `pointer` (RFC 6901), if there is one.
    fn find(&self, pointer: &str) -> Option<&Self> {
        pointer.split('/').skip(1).try_fold(self, |at, token| at.child(&unescape(token)))
    }

    /// The field or item `token`, if there is one.
    pub(super) fn child(&self, token: &str) -> Option<&Self> {
        match &self.below {
            Below::Nothing => None,
            Below::Items(items) => items.get(token.parse::<usize>().ok()?),
            Below::Fields(fields) => {
                let at = fields.binary_search_by(|(name, _)| (**name).cmp(token)).ok()?;
                fields.get(at).map(|(_, index)| index)
            }
        }
    }

    /// The span of the value at `pointer`.
    pub fn value(&self, pointer: &str) -> Option<Span> {
        self.find(pointer).map(|at| at.value)
    }

    /// The span of the key that the value at `pointer` belongs to.
    pub fn key(&self, pointer: &str) -> Option<Span> {
        self.find(pointer).and_then(|at| at.key)
    }

    /// The span to show for `pointer`: that of the value, or of the key of the nearest value around it that is written.
    pub fn nearest(&self, pointer: &str) -> Span {
        let (mut at, mut complete) = (self, true);
        for token in pointer.split('/').skip(1) {
            let Some(below) = at.child(&unescape(token)) else {
                complete = false;
                break;
            };
            at = below;
        }
        if complete { at.value } else { at.key.unwrap_or(at.value) }
    }

    /// Every span in it.
    pub fn all(&self) -> Vec<Span> {
        let mut found = vec![self.value];
        found.extend(self.key);
        match &self.below {
            Below::Nothing => {}
            Below::Items(items) => found.extend(items.iter().flat_map(Self::all)),
            Below::Fields(fields) => found.extend(fields.iter().flat_map(|(_, index)| index.all())),
        }
        found
    }
}

/// The places of a document as they are kept. A large set has half a million of them, which nobody asks for unless something is wrong.
#[derive(Debug, Clone)]
pub struct KeptSpans {
    packed: Arc<[u8]>,
    /// Of a document of which something is wrong.
    opened: OnceLock<Box<SpanIndex>>,
}

impl PartialEq for KeptSpans {
    fn eq(&self, other: &Self) -> bool {
        self.packed == other.packed
    }
}

impl Eq for KeptSpans {}

impl KeptSpans {
    /// They take a fifth of the room.
    pub(super) fn of(spans: &SpanIndex) -> Self {
        Self { packed: postcard::to_allocvec(spans).unwrap_or_default().into(), opened: OnceLock::new() }
    }

    /// The places; they stay unpacked from here on.
    pub fn open(&self) -> &SpanIndex {
        // Only what was packed here is ever here; should memory have gone bad, all places are the beginning of the file.
        self.opened.get_or_init(|| Box::new(postcard::from_bytes(&self.packed).unwrap_or_default()))
    }
}

/// A token of a JSON pointer, as it stands in the pointer.
pub fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// A token of a JSON pointer, as it is meant.
pub fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}
