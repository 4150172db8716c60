//! A branch of a Git repository, fetched into the state directory: each commit becomes a folder of its own, put in place by one
//! rename. What is fetched and not verified, or not written whole, is never seen.
//!
//! A folder of an earlier process is not believed; it is written anew from git's objects, which check themselves.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::extract::extract;
use super::git::Git;
use super::local::describe;
use super::revision::{Hold, Revision};
use super::{Failure, SourceSpec};
use crate::store::StateDir;

/// A program that is just being started holds the lock of whoever starts it for a moment.
const SHARED: Duration = Duration::from_secs(1);
/// What was fetched last.
const FETCHED: &str = "refs/jvp/fetched";
/// What was last taken for good.
const GOOD: &str = "refs/jvp/good";

/// A branch and where it is fetched to.
pub(super) struct Repository {
    url: String,
    branch: Option<String>,
    /// The folder in it that is wanted.
    path: PathBuf,
    signers: Option<PathBuf>,
    git: Git,
    /// Where the trees lie.
    trees: PathBuf,
    /// Each tree by its commit, for as long as somebody holds it.
    held: BTreeMap<String, Placed>,
    /// Held for as long as this is.
    _lock: File,
}

struct Placed {
    folder: PathBuf,
    digest: String,
    hold: Weak<Hold>,
}

/// A commit that lies in a folder, whole.
pub(super) struct Checked {
    /// The folder that is wanted.
    pub(super) folder: PathBuf,
    pub(super) revision: Revision,
    pub(super) digest: String,
    pub(super) hold: Arc<Hold>,
}

impl Repository {
    /// Opens the place for `url` in the state directory.
    pub(super) fn open(
        state: &StateDir,
        (url, branch, path): (&str, Option<&str>, &Path),
        signers: Option<PathBuf>,
        deadline: Duration,
    ) -> Result<Self, Failure> {
        let key = hex::encode(&Sha256::digest(format!("{url}#{}:{}", branch.unwrap_or_default(), path.display()))[..8]);
        let home = state.private(&format!("checkouts/{key}"))?;
        let lock = home.join("lock");
        let lock = File::create(&lock).map_err(Failure::io("failed to write", &lock))?;
        let began = Instant::now();
        while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            if began.elapsed() > SHARED {
                return Err(Failure::Held { path: home });
            }
            std::thread::sleep(SHARED / 20);
        }
        let trees = state.private(&format!("checkouts/{key}/trees"))?;
        for entry in fs::read_dir(&trees).map_err(Failure::io("failed to read", &trees))?.flatten() {
            fs::remove_dir_all(entry.path()).map_err(Failure::io("failed to remove", &entry.path()))?;
        }
        Ok(Self {
            url: url.to_owned(),
            branch: branch.map(str::to_owned),
            path: path.to_owned(),
            signers,
            git: Git::new(home.join("repository.git"), SourceSpec::protocol(url), deadline),
            trees,
            held: BTreeMap::new(),
            _lock: lock,
        })
    }

    /// The newest commit of the branch, verified and in a folder.
    pub(super) async fn fetch(&mut self) -> Result<Checked, Failure> {
        let found = match self.fetch_into(&self.git).await {
            Ok(commit) => self.checked(&commit).await,
            Err(failure) => Err(failure),
        };
        match found {
            Err(Failure::Git { .. }) if !self.sound().await => {
                self.anew().await?;
                let commit = self.commit(&self.git, FETCHED).await?;
                self.checked(&commit).await
            }
            other => other,
        }
    }

    /// The commit that was last taken for good, in a folder.
    pub(super) async fn good(&mut self) -> Result<Option<Checked>, Failure> {
        if !self.git.folder.join("HEAD").is_file()
            || !self.git.call("rev-parse", &["rev-parse", "--verify", GOOD]).await?.status.success()
        {
            return Ok(None);
        }
        let commit = self.commit(&self.git, GOOD).await?;
        self.checked(&commit).await.map(Some)
    }

    /// Remembers that `commit` is good.
    pub(super) async fn accept(&self, commit: &str) -> Result<(), Failure> {
        self.git.clear();
        self.git.ask("update-ref", &["update-ref", GOOD, commit]).await.map(|_| ())
    }

    async fn fetch_into(&self, git: &Git) -> Result<String, Failure> {
        if !git.folder.join("HEAD").is_file() {
            // Whatever a broken-off start left.
            if git.folder.exists() {
                fs::remove_dir_all(&git.folder).map_err(Failure::io("failed to remove", &git.folder))?;
            }
            git.init("sha1").await?;
        }
        git.clear();
        let from = self.branch.as_ref().map_or_else(|| "HEAD".to_owned(), |branch| format!("refs/heads/{branch}"));
        let refspec = format!("+{from}:{FETCHED}");
        let words = "fetch --quiet --no-tags --no-recurse-submodules --no-write-fetch-head --no-auto-maintenance --depth=1 --";
        let args: Vec<&str> = words.split(' ').chain([self.url.as_str(), refspec.as_str()]).collect();
        let answer = git.call("fetch", &args).await?;
        if !answer.status.success() {
            git.clear();
            return Err(match &answer.said {
                said if said.contains("couldn't find remote ref") => Failure::NoBranch {
                    branch: self.branch.as_ref().map_or_else(|| "commit yet".to_owned(), |branch| format!("branch `{branch}`")),
                },
                said if said.contains("No space left on device") => Failure::DiskFull { path: git.folder.clone() },
                _ => answer.failed("fetch"),
            });
        }
        self.commit(git, FETCHED).await
    }

    async fn commit(&self, git: &Git, name: &str) -> Result<String, Failure> {
        let commit = git.ask("rev-parse", &["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]).await?;
        Ok(String::from_utf8_lossy(&commit).trim().to_owned())
    }

    /// Whether git's own objects are whole. Asked only after something went wrong.
    async fn sound(&self) -> bool {
        let check = ["fsck", "--connectivity-only", "--no-dangling", "--no-progress"];
        // A check that takes too long tells nothing.
        self.git.call("fsck", &check).await.is_ok_and(|answer| answer.status.success())
    }

    /// Fetches into a new repository and puts it in the place of the damaged one.
    async fn anew(&mut self) -> Result<(), Failure> {
        tracing::warn!(repository = %self.git.folder.display(), "the repository in the state directory is damaged: it is fetched anew");
        let fresh = Git { folder: self.git.folder.with_extension("new"), ..self.git.clone() };
        let remove = |folder: &Path| match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::io("failed to remove", folder)(error)),
            _ => Ok(()),
        };
        remove(&fresh.folder)?;
        self.fetch_into(&fresh).await?;
        remove(&self.git.folder)?;
        fs::rename(&fresh.folder, &self.git.folder).map_err(Failure::io("failed to rename", &fresh.folder))
    }

    /// The commit in its folder, once its signature is found good.
    async fn checked(&mut self, commit: &str) -> Result<Checked, Failure> {
        let revision = describe(&self.git, commit).await?;
        if let Some(signers) = &self.signers {
            self.verify(&revision, signers).await?;
        }
        if let Some(Placed { folder, digest, hold }) = self.held.get(commit)
            && let Some(hold) = hold.upgrade()
        {
            return Ok(Checked { folder: folder.clone(), revision, digest: digest.clone(), hold });
        }
        self.let_go();
        let (beside, place) = (self.trees.join(".new"), self.trees.join(commit));
        if beside.exists() {
            fs::remove_dir_all(&beside).map_err(Failure::io("failed to remove", &beside))?;
        }
        let written = extract(&self.git, commit, &self.path, &beside).await;
        let digest = match written {
            Ok(digest) => digest,
            Err(failure) => {
                // What lies there is half a tree and needs room.
                let _ = fs::remove_dir_all(&beside);
                return Err(failure);
            }
        };
        fs::rename(&beside, &place).map_err(Failure::io("failed to rename", &beside))?;
        let (folder, hold) = (place.join(&self.path), Arc::new(Hold));
        let placed = Placed { folder: folder.clone(), digest: digest.clone(), hold: Arc::downgrade(&hold) };
        self.held.insert(commit.to_owned(), placed);
        // Packs of commits that are gone are put together and dropped once there are many.
        if let Err(failure) = self.git.ask("gc", &["gc", "--auto", "--quiet"]).await {
            tracing::warn!(%failure, "the repository in the state directory can't be cleaned up");
        }
        Ok(Checked { folder, revision, digest, hold })
    }

    /// Removes the folders of trees that nobody holds.
    pub(super) fn let_go(&mut self) {
        let gone: Vec<String> =
            self.held.iter().filter(|(_, placed)| placed.hold.strong_count() == 0).map(|(commit, _)| commit.clone()).collect();
        for commit in gone {
            self.held.remove(&commit);
            let folder = self.trees.join(&commit);
            if let Err(error) = fs::remove_dir_all(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "a tree that is needed no longer can't be removed");
            }
        }
    }

    async fn verify(&self, revision: &Revision, signers: &Path) -> Result<(), Failure> {
        File::open(signers).map_err(Failure::io("failed to read the allowed signers", signers))?;
        let mut file = OsString::from("gpg.ssh.allowedSignersFile=");
        file.push(signers);
        let settings = ["-c", "gpg.ssh.program=ssh-keygen", "-c", "gpg.minTrustLevel=fully", "-c"].map(OsString::from);
        let call = [OsString::from("verify-commit"), OsString::from(&revision.id)];
        let args: Vec<OsString> = settings.into_iter().chain([file]).chain(call).collect();
        let answer = self.git.call("verify-commit", &args).await?;
        if answer.status.success() {
            return Ok(());
        }
        Err(Failure::NotSigned {
            commit: revision.short(),
            author: revision.author.clone().unwrap_or_default(),
            signers: signers.to_owned(),
            reason: if answer.said.is_empty() { "it has no signature".to_owned() } else { answer.said },
        })
    }
}
