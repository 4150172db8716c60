//! Why there is no tree, and which one holds until there is another.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Tree;
use crate::store::StoreError;

/// A source that gives no whole tree now.
#[derive(Debug, thiserror::Error)]
#[error("failed to refresh {source_name}: {failure}{}", kept(last.as_deref()))]
#[must_use = "what is wrong with a source is to be told"]
pub struct Trouble {
    /// The source, as it was written.
    pub source_name: String,
    /// What happened, and what to do.
    #[source]
    pub failure: Failure,
    /// The last good tree, which holds until the source gives another.
    pub last: Option<Box<Tree>>,
}

fn kept(last: Option<&Tree>) -> String {
    last.map_or_else(String::new, |tree| format!(" (revision {} is kept)", tree.revision.short()))
}

/// What happened to a source: fragments that name the place, with what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the words of the messages")]
pub enum Failure {
    /// The folder isn't there.
    #[error("there is no folder {}: it was removed, or its file system is not mounted", path.display())]
    Missing { path: PathBuf },
    /// Something else stands in the folder's place.
    #[error("{} is no folder", path.display())]
    NotAFolder { path: PathBuf },
    /// The folder can't be looked into.
    #[error("no right to read {}: give the user that jvp runs as the right to it", path.display())]
    Unreadable { path: PathBuf },
    /// A folder without a manifest, which is never taken for a wish that nothing be there.
    #[error(
        "there is no manifest in {place}: an empty folder is not taken for the wish that nothing be there; to delete what was declared, use jvp delete"
    )]
    Empty { place: String },
    /// It was changed for as long as it was looked at.
    #[error("{} changed for {} s without a rest: half of a change is not taken for the whole", path.display(), waited.as_secs())]
    Unsettled { path: PathBuf, waited: Duration },
    /// The disk under the state directory or the folder is full.
    #[error("no space is left on the disk of {}: make room there", path.display())]
    DiskFull { path: PathBuf },
    /// The system said no.
    #[error("{what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// The state directory can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process fetches into the same folder.
    #[error("another jvp fetches into {}: one daemon a state directory", path.display())]
    Held { path: PathBuf },
    /// The command `git` isn't there.
    #[error("the command `git` can't be started ({reason}): install git")]
    NoGit { reason: String },
    /// git said no.
    #[error("git {what} failed: {said}{}", hint(said))]
    Git { what: &'static str, said: String },
    /// git didn't come to an end.
    #[error("git {what} did not end within {} s: is the repository's host in reach?", after.as_secs())]
    Deadline { what: &'static str, after: Duration },
    /// The branch isn't there.
    #[error("the repository has no {branch}: it was deleted, renamed or never pushed")]
    NoBranch { branch: String },
    /// The folder isn't in the commit.
    #[error("the commit {commit} has no folder `{}`", path.display())]
    NoPath { commit: String, path: PathBuf },
    /// A name in the commit that may not become a file.
    #[error("the commit {commit} has an entry `{name}` that can't be written: {reason}")]
    Entry { commit: String, name: String, reason: String },
    /// The signature isn't there, or is nobody's who may sign.
    #[error("the commit {commit} by {author} is not signed by anybody of {}: {reason}", signers.display())]
    NotSigned { commit: String, author: String, signers: PathBuf, reason: String },
    /// Signatures are asked of a source that has no commits.
    #[error("commits can be verified of a Git repository only: write the source as git+file://{}", path.display())]
    NothingToVerify { path: PathBuf },
    /// A mistake inside jvp.
    #[error("reading broke off inside jvp: {0}")]
    Broken(String),
}

impl Failure {
    /// One word for it, as in a condition's reason or a metric's label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "Missing",
            Self::NotAFolder { .. } => "NotAFolder",
            Self::Unreadable { .. } => "Unreadable",
            Self::Empty { .. } => "Empty",
            Self::Unsettled { .. } => "Unsettled",
            Self::DiskFull { .. } => "DiskFull",
            Self::Io { .. } | Self::Store(_) | Self::Broken(_) => "Error",
            Self::Held { .. } => "Held",
            Self::NoGit { .. } => "NoGit",
            Self::Git { .. } => "GitFailed",
            Self::Deadline { .. } => "DeadlineExceeded",
            Self::NoBranch { .. } => "NoBranch",
            Self::NoPath { .. } => "NoPath",
            Self::Entry { .. } => "InvalidEntry",
            Self::NotSigned { .. } => "NotSigned",
            Self::NothingToVerify { .. } => "NothingToVerify",
        }
    }

    /// An error of the system's at `path`.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { what, path, source },
        }
    }

    /// An error of a look at the source's folder.
    pub(super) fn looking(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::NotADirectory => Self::NotAFolder { path },
            io::ErrorKind::PermissionDenied => Self::Unreadable { path },
            _ => Self::Io { what: "failed to read", path, source: error },
        }
    }
}

/// What helps against what git is known to say.
fn hint(said: &str) -> &'static str {
    let known = [
        ("Host key verification failed", "; put the host's key into known_hosts: ssh-keyscan tells it, compare it"),
        ("Permission denied (", "; give the host the public key of the user that jvp runs as"),
        ("terminal prompts disabled", "; put the user and the password into ~/.netrc, or use ssh"),
        ("dubious ownership", "; the repository belongs to another user: take it by git+ssh, or run jvp as its owner"),
    ];
    known.iter().find(|(words, _)| said.contains(words)).map_or("", |(_, help)| help)
}
