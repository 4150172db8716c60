//! A source that is refreshed again and again: each time it gives a whole tree, or says why there is none and which one holds.
//!
//! Two refreshes never run side by side. Files that didn't change since the last are neither read nor parsed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::local::Local;
use super::repository::{Checked, Repository};
use super::revision::Hold;
use super::settle::{Rest, Whole, Writers, read_whole};
use super::{Failure, Revision, SourceSpec, Tree, Trouble, Watch};
use crate::source::{ManifestCache, ManifestSet, Walk};
use crate::store::StateDir;

/// How a source is kept up with.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often a repository is asked for a new commit. A folder is watched instead.
    pub interval: Duration,
    /// The file that tells who may sign commits (`ssh-keygen(1)`, allowed signers); commits signed by nobody of it are refused.
    /// Where it is missing nothing is verified.
    pub verify_commits: Option<PathBuf>,
    /// How long a folder has to be without a change before it is read. An editor's save has gaps of a few milliseconds.
    pub quiet: Duration,
    /// How long a folder may be changed without a rest.
    pub longest: Duration,
    /// How long one call of git may take.
    pub deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(1),
            verify_commits: None,
            quiet: Duration::from_millis(100),
            longest: Duration::from_secs(10),
            deadline: Duration::from_mins(5),
        }
    }
}

/// A source, opened.
pub struct Checkout {
    spec: SourceSpec,
    options: Options,
    rest: Rest,
    writers: Writers,
    /// Where repositories of ours may be made.
    ours: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    from: From,
    cache: ManifestCache,
    /// The newest tree.
    last: Option<Tree>,
    /// The tree that was last taken for good.
    good: Option<Tree>,
}

enum From {
    Folder(PathBuf),
    Repository(Box<Repository>),
}

impl Checkout {
    /// Opens a source; nothing is read or fetched yet. Of one repository there is one checkout a state directory at a time.
    pub fn open(spec: SourceSpec, state: &StateDir, options: Options) -> Result<Self, Failure> {
        let from = match &spec {
            SourceSpec::Folder(path) => {
                let path = std::path::absolute(path).map_err(Failure::io("failed to find", path))?;
                if options.verify_commits.is_some() {
                    return Err(Failure::NothingToVerify { path });
                }
                From::Folder(path)
            }
            SourceSpec::Git { url, branch, path } => {
                let place = (url.as_str(), branch.as_deref(), path.as_path());
                From::Repository(Box::new(Repository::open(state, place, options.verify_commits.clone(), options.deadline)?))
            }
        };
        let ours = state.private("checkouts")?;
        let rest = Rest { quiet: options.quiet, longest: options.longest };
        let inner = Mutex::new(Inner { from, cache: ManifestCache::default(), last: None, good: None });
        Ok(Self { spec, options, rest, writers: Writers::default(), ours, inner })
    }

    /// The source, as it was written.
    pub fn spec(&self) -> &SourceSpec {
        &self.spec
    }

    /// The tree that the source has now.
    pub async fn refresh(&self) -> Result<Tree, Trouble> {
        let mut inner = self.inner.lock().await;
        let found = match &mut inner.from {
            From::Folder(path) => {
                let path = path.clone();
                self.read(&path, &mut inner.cache).await
            }
            From::Repository(repository) => match repository.fetch().await {
                Ok(checked) => self.fetched(checked, &mut inner).await,
                Err(failure) => Err(failure),
            },
        };
        match found {
            Ok(tree) => {
                inner.last = Some(tree.clone());
                if let From::Repository(repository) = &mut inner.from {
                    repository.let_go();
                }
                Ok(tree)
            }
            Err(failure) => {
                let last = self.good(&mut inner).await.or_else(|| inner.last.clone()).map(Box::new);
                Err(Trouble { source_name: self.spec.to_string(), failure, last })
            }
        }
    }

    /// Takes `tree`, which came from here, for good: while there is trouble it holds, and one that was fetched also after a restart.
    pub async fn accept(&self, tree: &Tree) -> Result<(), Failure> {
        let mut inner = self.inner.lock().await;
        let known = inner.good.as_ref().is_some_and(|good| good.revision.id == tree.revision.id);
        if let (From::Repository(repository), false) = (&inner.from, known) {
            repository.accept(&tree.revision.id).await?;
        }
        inner.good = Some(tree.clone());
        Ok(())
    }

    /// The tree that was last taken for good, also by an earlier process where it was fetched.
    pub async fn accepted(&self) -> Option<Tree> {
        let mut inner = self.inner.lock().await;
        self.good(&mut inner).await
    }

    /// Watches the source. What changes after this returned gives a tick; so watch first, then refresh.
    pub async fn watch(&self) -> Watch {
        match &self.spec {
            SourceSpec::Git { .. } => Watch::every(self.options.interval),
            SourceSpec::Folder(path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                Watch::folder(path, self.rest, self.writers.clone()).await
            }
        }
    }

    async fn good(&self, inner: &mut Inner) -> Option<Tree> {
        if inner.good.is_none()
            && let From::Repository(repository) = &mut inner.from
        {
            let found = match repository.good().await {
                Ok(Some(checked)) => self.fetched(checked, inner).await.map(Some),
                Ok(None) => Ok(None),
                Err(failure) => Err(failure),
            };
            inner.good = found.unwrap_or_else(|failure| {
                tracing::warn!(source = %self.spec, %failure, "the revision that was last good is lost");
                None
            });
        }
        inner.good.clone()
    }

    /// A tree of what was fetched.
    async fn fetched(&self, checked: Checked, inner: &mut Inner) -> Result<Tree, Failure> {
        let same = |tree: &&Tree| Arc::ptr_eq(&tree.hold, &checked.hold);
        if let Some(tree) = [&inner.last, &inner.good].into_iter().flatten().find(same) {
            return Ok(tree.clone());
        }
        let SourceSpec::Git { path, .. } = &self.spec else {
            return Err(Failure::Broken("a folder is not fetched".to_owned()));
        };
        let (shown, folder) = (path.clone(), checked.folder.clone());
        let set = blocking(&mut inner.cache, move |cache| {
            let walk = Walk::of(&folder, &shown).map_err(Failure::io("failed to read", &folder))?;
            // Said by what people know, the repository, and not by our folder.
            walk.has_manifest().then(|| cache.read_folder(&walk, &shown)).ok_or(Failure::Empty { place: String::new() })
        });
        let set = set.await.map_err(|failure| match failure {
            Failure::Empty { .. } => Failure::Empty { place: format!("the commit {}", checked.revision.short()) },
            other => other,
        })?;
        Ok(tree(checked.folder, checked.revision, checked.digest, set, checked.hold))
    }

    /// A tree of the folder at `path`.
    async fn read(&self, path: &Path, cache: &mut ManifestCache) -> Result<Tree, Failure> {
        let began = std::time::Instant::now();
        loop {
            let local = path.canonicalize().ok().and_then(|root| Some((Local::of(&root)?, root)));
            let head = local.as_ref().and_then(|(local, _)| local.head());
            let (from, rest, writers) = (path.to_owned(), self.rest, self.writers.clone());
            let read = blocking(cache, move |cache| read_whole(&from, cache, rest, &writers));
            let revision = async {
                let (local, root) = local.as_ref()?;
                local.revision(root, &self.ours, self.options.deadline).await.unwrap_or_else(|failure| {
                    tracing::debug!(%failure, "the commit of the folder can't be told");
                    None
                })
            };
            let (whole, revision) = tokio::join!(read, revision);
            let Whole { set, walk, digest } = whole?;
            let same = local.as_ref().is_none_or(|(local, root)| walk.root() == root && local.head() == head);
            if !same && began.elapsed() < self.rest.longest {
                continue;
            }
            let revision = revision.unwrap_or_else(|| Revision {
                id: format!("sha256:{}", digest.get(..12).unwrap_or(&digest)),
                author: None,
                subject: None,
                at: None,
            });
            return Ok(tree(walk.root().to_owned(), revision, digest, set, Arc::new(Hold)));
        }
    }
}

fn tree(folder: PathBuf, revision: Revision, digest: String, set: ManifestSet, hold: Arc<Hold>) -> Tree {
    Tree { folder, revision, digest, set: Arc::new(set), hold }
}

/// Reads with the cache where waiting holds up nobody. One that breaks off leaves an empty cache.
async fn blocking<T: Send + 'static>(
    cache: &mut ManifestCache,
    work: impl FnOnce(&mut ManifestCache) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let mut taken = std::mem::take(cache);
    let done = tokio::task::spawn_blocking(move || {
        let result = work(&mut taken);
        (taken, result)
    });
    let (taken, result) = done.await.map_err(|error| Failure::Broken(error.to_string()))?;
    *cache = taken;
    result
}
