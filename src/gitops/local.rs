//! The Git checkout that a folder lies in: its commit, whether the folder differs from it, and whether git is at work in it.
//!
//! The checkout may be anybody's. Its files are read, its configuration never: git looks at its objects and its index from a
//! repository of ours, so that no filter, hook or monitor that it names is executed, whoever owns it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::git::Git;
use super::{Failure, Revision};

/// Where the repository of a checkout lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Local {
    /// The root of the work tree.
    top: PathBuf,
    /// The work tree's own part: `HEAD`, the index, its lock.
    own: PathBuf,
    /// What all its work trees share: objects and branches.
    common: PathBuf,
}

impl Local {
    /// The checkout that `folder`, a canonical path, lies in.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let (top, dot) = folder.ancestors().find_map(|above| {
            let dot = above.join(".git");
            dot.symlink_metadata().is_ok().then(|| (above.to_owned(), dot))
        })?;
        // A work tree beside the first, or a submodule, has a file that tells where.
        let own = match fs::read_to_string(&dot) {
            Ok(text) => top.join(text.strip_prefix("gitdir:")?.trim()),
            Err(_) => dot,
        };
        let common = fs::read_to_string(own.join("commondir")).map_or_else(|_| own.clone(), |text| own.join(text.trim()));
        own.join("HEAD").is_file().then_some(Self { top, own, common })
    }

    /// Whether git is changing the work tree now.
    pub(super) fn busy(&self) -> bool {
        self.own.join("index.lock").exists()
    }

    /// The folder in which git replaces `HEAD`, the index and its lock.
    pub(super) fn folder(&self) -> &Path {
        &self.own
    }

    /// The commit that is checked out.
    pub(super) fn head(&self) -> Option<String> {
        let head = fs::read_to_string(self.own.join("HEAD")).ok()?;
        let Some(name) = head.trim().strip_prefix("ref: ") else { return commit(&head) };
        let loose = [&self.own, &self.common].into_iter().find_map(|folder| fs::read_to_string(folder.join(name)).ok());
        if let Some(text) = loose {
            return commit(&text);
        }
        let packed = fs::read_to_string(self.common.join("packed-refs")).ok()?;
        packed.lines().filter_map(|line| line.split_once(' ')).find(|(_, found)| *found == name).and_then(|(id, _)| commit(id))
    }

    /// Which state `folder` of it is in. `ours` is where a repository of ours may be made.
    pub(super) async fn revision(&self, folder: &Path, ours: &Path, deadline: Duration) -> Result<Option<Revision>, Failure> {
        let Some(head) = self.head() else { return Ok(None) };
        let format = if head.len() == 40 { "sha1" } else { "sha256" };
        let mut git = Git::new(ours.join(format!("{format}.git")), "", deadline);
        if !git.folder.join("HEAD").is_file() {
            git.init(format).await?;
        }
        git.environment = vec![
            ("GIT_OBJECT_DIRECTORY", self.common.join("objects").into_os_string()),
            ("GIT_INDEX_FILE", self.own.join("index").into_os_string()),
            ("GIT_WORK_TREE", self.top.clone().into_os_string()),
        ];
        let mut revision = describe(&git, &head).await?;
        let below = folder.strip_prefix(&self.top).unwrap_or(Path::new("")).as_os_str();
        // Taken as it is written, whatever characters are in it.
        let mut place = OsString::from(":(top,literal)");
        place.push(below);
        let tracked = ["diff-index", "--name-only", "-z", &head, "--"].map(OsStr::new);
        let untracked = ["ls-files", "--others", "--full-name", "-z", "--"].map(OsStr::new);
        let changed = git.ask("diff-index", &[&tracked[..], &[place.as_os_str()]].concat()).await?;
        if !changed.is_empty()
            || manifest_among(&git.ask("ls-files", &[&untracked[..], &[place.as_os_str()]].concat()).await?, below)
        {
            revision.id.push_str("-dirty");
        }
        Ok(Some(revision))
    }
}

/// Whether there is a manifest, which a set of `folder` would take in, among the files that git named.
fn manifest_among(listed: &[u8], folder: &OsStr) -> bool {
    let manifest = |name: &[u8]| {
        let below = name.strip_prefix(folder.as_encoded_bytes()).unwrap_or(name);
        let visible = below.split(|byte| *byte == b'/').all(|part| !part.starts_with(b"."));
        visible && (name.ends_with(b".yaml") || name.ends_with(b".yml"))
    };
    listed.split(|byte| *byte == 0).any(manifest)
}

fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hex && matches!(text.len(), 40 | 64)).then(|| text.to_owned())
}

/// A commit with its author, subject and time.
pub(super) async fn describe(git: &Git, commit: &str) -> Result<Revision, Failure> {
    let said = git.ask("log", &["log", "-1", "--no-show-signature", "--format=%an <%ae>%x00%s%x00%cI", commit, "--"]).await?;
    let said = String::from_utf8_lossy(&said);
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let mut parts = said.trim_end_matches('\n').split('\0');
    Ok(Revision {
        id: commit.to_owned(),
        author: parts.next().map(clean),
        subject: parts.next().map(clean),
        at: parts.next().and_then(|time| time.parse().ok()),
    })
}
