//! A walk through a folder: which manifests lie in it, and what each entry is, by names and identities. No file is opened.
//!
//! Two walks see the same where nothing was changed between them, so a set that was read between two such walks is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What tells that a file is the one it was, with the bytes that it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// Of an entry that was looked at.
    pub fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// What is the same for a copy that kept its times.
    pub(super) fn outside(&self) -> (u64, (i64, i64)) {
        (self.size, self.modified)
    }

    /// How long before `now` its content or its name changed last; nothing where that is later than `now`.
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        let newest = self.modified.max(self.changed);
        let since = Duration::new(u64::try_from(newest.0).ok()?, u32::try_from(newest.1).ok()?);
        now.duration_since(SystemTime::UNIX_EPOCH + since).ok()
    }
}

/// An entry of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its path, below the folder's as it was given.
    pub(super) path: PathBuf,
    pub(super) what: What,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A manifest, by its canonical path.
    Manifest { real: PathBuf, identity: Identity },
    /// Something that a manifest may name, such as an image.
    Other(Identity),
    /// A link out of the folder, to where.
    Outside(PathBuf),
    /// A file or folder that can't be looked at.
    Unreadable(io::ErrorKind, String),
}

/// What lies in a folder.
#[derive(Debug, Clone)]
pub struct Walk {
    /// The canonical path of the folder.
    pub(super) root: PathBuf,
    shown: PathBuf,
    pub(super) entries: Vec<Entry>,
    /// Every folder that was read, and those where the targets of links lie; canonical.
    folders: BTreeMap<PathBuf, Option<Identity>>,
}

impl Walk {
    /// Walks through the folder `root`, a canonical path: all the way down, in an order of names alone. Hidden entries are
    /// passed over, and links are followed within the folder only. Entries are told by their paths below `shown`.
    pub(super) fn new(root: &Path, shown: &Path) -> Self {
        let mut walk = Self { root: root.to_owned(), shown: shown.to_owned(), entries: Vec::new(), folders: BTreeMap::new() };
        let mut waiting = vec![(shown.to_owned(), root.to_owned())];
        let mut visited = BTreeSet::from([root.to_owned()]);
        while let Some((folder, real)) = waiting.pop() {
            walk.folders.insert(real.clone(), fs::metadata(&real).ok().map(|meta| Identity::of(&meta)));
            let entries = match list(&real) {
                Ok(entries) => entries,
                Err(error) => {
                    walk.entries.push(Entry { path: folder, what: What::Unreadable(error.kind(), error.to_string()) });
                    continue;
                }
            };
            let mut below = Vec::new();
            for entry in entries {
                let path = folder.join(entry.file_name());
                if let Some(real) = walk.entry(&entry, &path, &real)
                    && visited.insert(real.clone())
                {
                    below.push((path, real));
                }
            }
            // The stack gives the last first.
            waiting.extend(below.into_iter().rev());
        }
        walk
    }

    /// Walks through `folder`; links on the way to it are followed, for its owner named it. Entries are told by their paths below
    /// `shown`.
    pub fn of(folder: &Path, shown: &Path) -> io::Result<Self> {
        let root = folder.canonicalize()?;
        if !root.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        // Where the folder itself can't be listed, nothing is known of it; that is another matter than a folder with nothing in it.
        fs::read_dir(&root)?;
        Ok(Self::new(&root, shown))
    }

    /// The canonical path of the folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every folder in which a change concerns the folder walked through, canonical.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.keys().map(PathBuf::as_path)
    }

    /// Whether there is a manifest, or something in a manifest's place that can't be read.
    pub fn has_manifest(&self) -> bool {
        self.entries.iter().any(|entry| !matches!(entry.what, What::Other(_)))
    }

    /// How long before `now` something in it changed last; nothing where that is later than `now`, or nothing is there.
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        let entries = self.entries.iter().filter_map(|entry| match &entry.what {
            What::Manifest { identity, .. } | What::Other(identity) => Some(identity),
            What::Outside(_) | What::Unreadable(..) => None,
        });
        entries.chain(self.folders.values().flatten()).filter_map(|identity| identity.age(now)).min()
    }

    /// The paths below the folder of entries that aren't in both walks, or not alike.
    pub fn difference(&self, other: &Self) -> BTreeSet<PathBuf> {
        let by_path = |walk: &Self| walk.below().map(|(entry, below)| (below.to_owned(), entry.what.clone())).collect();
        let (one, two): (BTreeMap<PathBuf, What>, BTreeMap<PathBuf, What>) = (by_path(self), by_path(other));
        one.keys().chain(two.keys()).filter(|path| one.get(*path) != two.get(*path)).cloned().collect()
    }

    /// Whether both walks saw the same entries, whatever happened to folders.
    pub fn same_entries(&self, other: &Self) -> bool {
        self.root == other.root && self.entries == other.entries
    }

    /// Each entry, with its path below the folder.
    pub(super) fn below(&self) -> impl Iterator<Item = (&Entry, &Path)> {
        self.entries.iter().map(|entry| (entry, entry.path.strip_prefix(&self.shown).unwrap_or(&entry.path)))
    }

    /// Takes an entry of the folder `real` in; gives the canonical path of a folder that is to be read.
    fn entry(&mut self, entry: &fs::DirEntry, path: &Path, real: &Path) -> Option<PathBuf> {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            return None;
        }
        let manifest = path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml");
        let linked = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        let found = if linked {
            fs::canonicalize(real.join(&name)).and_then(|real| Ok((fs::metadata(&real)?, real)))
        } else {
            entry.metadata().map(|meta| (meta, real.join(&name)))
        };
        let what = match found {
            Err(error) if manifest || !linked => What::Unreadable(error.kind(), error.to_string()),
            Err(_) => return None,
            Ok((meta, real)) if (meta.is_dir() || manifest) && !real.starts_with(&self.root) => What::Outside(real),
            Ok((meta, real)) if meta.is_dir() => return Some(real),
            Ok((meta, real)) if meta.is_file() => {
                if linked && let Some(parent) = real.parent().filter(|parent| parent.starts_with(&self.root)) {
                    self.folders.entry(parent.to_owned()).or_default();
                }
                let identity = Identity::of(&meta);
                if manifest { What::Manifest { real, identity } } else { What::Other(identity) }
            }
            Ok(_) => return None,
        };
        self.entries.push(Entry { path: path.to_owned(), what });
        None
    }
}

/// The entries of a folder by name.
fn list(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let mut entries: Vec<fs::DirEntry> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}
