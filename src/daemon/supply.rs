//! Where sets of manifests come from, as the daemon sees it.

use async_trait::async_trait;
use serde::Serialize;

use crate::resolve::Desired;
use crate::source::ManifestSet;

/// Which state of the manifests it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// A commit, or a digest of what a folder holds.
    pub id: String,
    /// Who wrote it.
    pub author: Option<String>,
    /// The first line of its message.
    pub subject: Option<String>,
}

/// A whole set of manifests, without an error in it.
pub struct Tree {
    /// The manifests.
    pub set: ManifestSet,
    /// What they want.
    pub desired: Desired,
    /// Which state of them it is.
    pub revision: Revision,
    /// Keeps the files where they are for as long as they may be read.
    pub hold: Box<dyn Send + Sync>,
}

/// What there is to say of the source.
pub enum News {
    /// There is a tree; it may be the same as before.
    Tree(Box<Tree>),
    /// There is none, or none that can be used, and this is why. The last good one stays.
    Trouble(String),
}

/// A source of manifests.
#[async_trait]
pub trait Supply: Send {
    /// Waits until the manifests may have changed, and reads them: the first time at once.
    async fn next(&mut self) -> News;
}
