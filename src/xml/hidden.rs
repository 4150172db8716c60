//! Text that must not reach a log by accident: secrets, and documents that may hold them.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

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
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Document(Arc<str>);

impl Document {
    /// Its text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl From<Arc<str>> for Document {
    fn from(text: Arc<str>) -> Self {
        Self(text)
    }
}

impl From<String> for Document {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Deref for Document {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes of XML)", self.0.len())
    }
}
