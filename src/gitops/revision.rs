//! What a tree of manifests is and what it is called. Values; nothing is read.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::source::ManifestSet;

/// Which state of its source a tree is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The commit, with `-dirty` where a folder differs from it; `sha256:` and the beginning of a digest for a folder that is in no
    /// Git checkout.
    pub id: String,
    /// Who wrote the commit, as `name <address>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The first line of the commit's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl Revision {
    /// The id as people say it: a commit by its first twelve digits.
    pub fn short(&self) -> String {
        let (commit, rest) = self.id.split_at(self.id.find('-').unwrap_or(self.id.len()));
        if commit.len() < 40 { self.id.clone() } else { format!("{}{rest}", &commit[..12]) }
    }
}

/// A whole tree of manifests.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The folder, canonical. One that was fetched stays as it is for as long as a copy of this tree is kept.
    pub folder: PathBuf,
    /// Which state of the source it is.
    pub revision: Revision,
    /// Equal digests mean equal manifests, and equal sizes and times of what lies beside them.
    pub digest: String,
    /// What was read from it while it was whole.
    pub set: Arc<ManifestSet>,
    /// Keeps the folder of a fetched tree.
    pub(super) hold: Arc<Hold>,
}

/// For as long as one is there, the folder that it stands for is kept.
#[derive(Debug)]
pub(super) struct Hold;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_said_in_short() {
        let id = |id: &str| Revision { id: id.to_owned(), author: None, subject: None, at: None }.short();
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(id(commit), "0123456789ab");
        assert_eq!(id(&format!("{commit}-dirty")), "0123456789ab-dirty");
        assert_eq!(id("sha256:0123456789ab"), "sha256:0123456789ab");
    }
}
