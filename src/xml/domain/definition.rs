//! The document of a domain that is to be defined, which for a new one is written when it is asked for: a plan of ten thousand new
//! VMs holds what they are written from, and no text of some KiB for each.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::{DomainWanted, render};

/// A document, written or yet to be. Two are equal if their texts are.
#[derive(Debug, Clone)]
pub enum Definition {
    /// Written.
    Text(String),
    /// What it is written from.
    New(Arc<DomainWanted>),
}

impl Definition {
    /// Its text.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::New(wanted) => Cow::Owned(render(wanted)),
        }
    }
}

impl From<String> for Definition {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<DomainWanted> for Definition {
    fn from(wanted: DomainWanted) -> Self {
        Self::New(Arc::new(wanted))
    }
}

impl PartialEq for Definition {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Definition {}

impl Serialize for Definition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}
