//! Files below a folder, and nowhere else: no link is followed on the way, and nothing but a regular file is opened.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// A folder whose files may be opened: the root of a checkout, or `--secrets-dir`.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    folder: OwnedFd,
}

/// Why a file below a root was not opened. Fragments; the caller names the file.
#[derive(Debug, thiserror::Error)]
pub enum BeneathError {
    /// The path leads out of the root.
    #[error("it is not below {}", root.display())]
    Outside {
        /// The root.
        root: PathBuf,
    },
    /// A link is on the way.
    #[error("it is a link, or a link leads to it: name the file itself")]
    Link,
    /// A folder, a device, a pipe.
    #[error("it is no regular file")]
    NotRegular,
    /// The system said no.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl BeneathError {
    /// Whether there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl From<Errno> for BeneathError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

impl Root {
    /// Opens the folder. Links on the way to it are followed: its owner named it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let folder = openat(CWD, &path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { path, folder })
    }

    /// Its canonical path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `path`, which is relative to `folder` or absolute, as a path relative to this root without `.` and `..`.
    pub fn relative(&self, folder: &Path, path: &Path) -> Result<PathBuf, BeneathError> {
        let outside = || BeneathError::Outside { root: self.path.clone() };
        let below = |path: &Path| path.strip_prefix(&self.path).map(Path::to_owned);
        let joined = if path.is_absolute() {
            below(path).map_err(|_| outside())?
        } else if folder.is_absolute() {
            below(folder).map_err(|_| outside())?.join(path)
        } else {
            folder.join(path)
        };
        let mut clean = PathBuf::new();
        for part in joined.components() {
            match part {
                Component::Normal(part) => clean.push(part),
                // No part of the way may be a link, so going up undoes the part before it.
                Component::ParentDir if clean.pop() => {}
                Component::CurDir => {}
                _ => return Err(outside()),
            }
        }
        if clean.as_os_str().is_empty() { Err(BeneathError::NotRegular) } else { Ok(clean) }
    }

    /// Opens the regular file at `relative`, which comes from [`Root::relative`].
    pub fn file(&self, relative: &Path) -> Result<File, BeneathError> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = match openat2(&self.folder, relative, READ, Mode::empty(), resolve) {
            // A kernel before 5.6, or a container that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => self.walk(relative),
            other => other.map_err(|error| self.translate(error)),
        }?;
        let file = File::from(opened);
        if file.metadata()?.is_file() { Ok(file) } else { Err(BeneathError::NotRegular) }
    }

    /// The same as openat2 does, part by part.
    fn walk(&self, relative: &Path) -> Result<OwnedFd, BeneathError> {
        let mut folder: Option<OwnedFd> = None;
        let mut parts = relative.components().peekable();
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else {
                return Err(BeneathError::Outside { root: self.path.clone() });
            };
            let kind = if parts.peek().is_some() { OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC } else { READ };
            let at = folder.as_ref().map_or(self.folder.as_fd(), AsFd::as_fd);
            let next = openat(at, name, kind | OFlags::NOFOLLOW, Mode::empty()).map_err(|error| self.translate(error))?;
            if parts.peek().is_none() {
                return Ok(next);
            }
            folder = Some(next);
        }
        Err(BeneathError::NotRegular)
    }

    fn translate(&self, error: Errno) -> BeneathError {
        match error {
            Errno::XDEV => BeneathError::Outside { root: self.path.clone() },
            Errno::LOOP => BeneathError::Link,
            // A socket, or a device without a driver.
            Errno::NXIO => BeneathError::NotRegular,
            other => other.into(),
        }
    }
}

#[cfg(test)]
impl Root {
    /// The walk that stands in for openat2, for a test that both refuse the same.
    pub(super) fn file_by_walking(&self, relative: &Path) -> Result<File, BeneathError> {
        let file = File::from(self.walk(relative)?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(BeneathError::NotRegular) }
    }
}
