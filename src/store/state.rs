//! The state directory: whose it is, what may lie in it, and the key and the name of the writer that follow from it.
//!
//! Its root may hold folders of other programs' (`nodes/`, `qemu/`): nothing here lists, cleans or changes what it did not make.

use std::fs::{DirBuilder, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::file::{random_bytes, sync_folder};
use super::key::MacKey;
use super::{StoreError, write_atomically};

const MACHINE_ID: &str = "/etc/machine-id";
const KEY: &str = "secret.key";
const OWN_ID: &str = "machine-id";

/// A state directory that was found fit for use.
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
}

impl StateDir {
    /// Opens the state directory at `path`, or makes it, mode 0755.
    ///
    /// It is refused where another user owns it or anybody else may write to it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(StoreError::io("failed to make", path))?;
        let root = path.canonicalize().map_err(StoreError::io("failed to find", path))?;
        check(&root)?;
        Ok(Self { root })
    }

    /// Its canonical path.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A folder in it for the owner's eyes only, such as `keypairs` or `cache/images`; made where it is missing, mode 0700.
    pub fn private(&self, name: &str) -> Result<PathBuf, StoreError> {
        self.folder(name, 0o700)
    }

    /// A folder in it that others may read; made where it is missing, mode 0755.
    pub fn public(&self, name: &str) -> Result<PathBuf, StoreError> {
        self.folder(name, 0o755)
    }

    fn folder(&self, name: &str, mode: u32) -> Result<PathBuf, StoreError> {
        let mut path = self.root.clone();
        for part in Path::new(name) {
            path.push(part);
            match DirBuilder::new().mode(mode).create(&path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(StoreError::io("failed to make", &path)(error));
                }
                _ => {}
            }
            let meta = path.symlink_metadata().map_err(StoreError::io("failed to look at", &path))?;
            if !meta.is_dir() {
                return Err(StoreError::NoFolder { path });
            }
            if meta.uid() != own_uid() {
                return Err(StoreError::Owner { path, owner: meta.uid(), own: own_uid() });
            }
            if meta.mode() & 0o777 != mode {
                std::fs::set_permissions(&path, Permissions::from_mode(mode))
                    .map_err(StoreError::io("failed to set the mode of", &path))?;
            }
        }
        Ok(path)
    }

    /// Who writes from here: UUIDv5 of the machine's id and this directory's path. Marks carry it.
    pub fn writer(&self) -> Result<Uuid, StoreError> {
        let machine = match read_id(Path::new(MACHINE_ID)) {
            Some(id) => id,
            None => self.own_id()?,
        };
        Ok(writer(machine, &self.root))
    }

    /// The id that stands for the machine's where it has none, as in some containers.
    fn own_id(&self) -> Result<Uuid, StoreError> {
        let path = self.root.join(OWN_ID);
        if let Some(id) = read_id(&path) {
            return Ok(id);
        }
        let id = Uuid::new_v4();
        write_atomically(&path, format!("{}\n", id.simple()).as_bytes(), 0o644)
            .map_err(StoreError::io("failed to write", &path))?;
        Ok(id)
    }

    /// The key for MACs of secrets, mode 0600; made at first use.
    pub fn mac_key(&self) -> Result<MacKey, StoreError> {
        let path = self.root.join(KEY);
        let io = |what| StoreError::io(what, &path);
        let read = || -> Result<Option<MacKey>, StoreError> {
            match std::fs::read(&path) {
                Ok(bytes) => MacKey::read(&bytes).map(Some).ok_or_else(|| StoreError::Key { path: path.clone() }),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(io("failed to read")(error)),
            }
        };
        if let Some(key) = read()? {
            return Ok(key);
        }
        let key = MacKey::new(random_bytes().map_err(io("failed to make a key for"))?).written();
        // Linked into place, so that of two processes one wins and both have its key.
        let beside = self.root.join(format!(".{KEY}.{}", std::process::id()));
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .and_then(|mut file| file.write_all(&key).and_then(|()| file.sync_all()))
            .and_then(|()| match std::fs::hard_link(&beside, &path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => sync_folder(&path),
            });
        let _ = std::fs::remove_file(&beside);
        written.map_err(io("failed to write"))?;
        read()?.ok_or_else(|| io("failed to read")(ErrorKind::NotFound.into()))
    }
}

/// Who writes from the state directory `root` on `machine`.
pub(super) fn writer(machine: Uuid, root: &Path) -> Uuid {
    Uuid::new_v5(&machine, root.as_os_str().as_bytes())
}

fn read_id(path: &Path) -> Option<Uuid> {
    Uuid::parse_str(std::fs::read_to_string(path).ok()?.trim()).ok()
}

/// Refuses a state directory that another user owns or that anybody else may write to.
pub(super) fn check(root: &Path) -> Result<(), StoreError> {
    let meta = root.metadata().map_err(StoreError::io("failed to look at", root))?;
    if !meta.is_dir() {
        return Err(StoreError::NoFolder { path: root.to_owned() });
    }
    if meta.uid() != own_uid() {
        return Err(StoreError::Owner { path: root.to_owned(), owner: meta.uid(), own: own_uid() });
    }
    if meta.mode() & 0o022 != 0 {
        return Err(StoreError::Writable { path: root.to_owned(), mode: meta.mode() & 0o7777 });
    }
    Ok(())
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
