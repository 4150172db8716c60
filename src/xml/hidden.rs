//! Text that must not reach a log by accident: secrets, and documents that may hold them.

use std::fmt;
use std::sync::{Arc, Weak};

/// A secret read out of a document. Shows as `(sensitive)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for comparing it or handing it on.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(sensitive)")
    }
}

/// A document as libvirt gave it, possibly with secrets in it. Debug shows its length only.
///
/// Most of a document is never looked at again once it was read, and libvirt's are full of what repeats: so it is kept compressed, in a
/// quarter of its room. Of ten nodes with a thousand domains each, documents were a quarter of all memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Document(Arc<[u8]>);

impl Document {
    /// Its text.
    pub fn text(&self) -> String {
        // Only what was compressed here is ever here; should memory have gone bad, an empty document is one that can't be read.
        let text = lz4_flex::block::decompress_size_prepended(&self.0).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        text.unwrap_or_default()
    }

    /// A hold on it that doesn't keep it.
    pub fn hold(&self) -> Hold {
        Hold(Arc::downgrade(&self.0))
    }

    /// Whether both are one, and not just the same.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Default for Document {
    fn default() -> Self {
        Self::from("")
    }
}

impl From<&str> for Document {
    fn from(text: &str) -> Self {
        Self(lz4_flex::block::compress_prepend_size(text.as_bytes()).into())
    }
}

impl From<String> for Document {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes of XML)", self.text().len())
    }
}

/// A document that somebody else may still have.
#[derive(Debug, Clone)]
pub struct Hold(Weak<[u8]>);

impl Hold {
    /// The document, as long as somebody has it.
    pub fn get(&self) -> Option<Document> {
        self.0.upgrade().map(Document)
    }
}
