//! Images on the controller: those fetched into the cache, and those that lie beside a manifest.
//!
//! A file of the cache has its digest for a name, mode 0600, and got that name only after it was checked. What an image is comes
//! from its own header each time it is asked for; nothing is believed that could have been written down wrongly.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::beneath::{BeneathError, Root};
use super::checksum::{Checksum, Hasher, Hashes};
use crate::image::{self, ImageError, ImageInfo};
use crate::manifest::TemplateFormat;
use crate::name::ObjectRef;
use crate::store::{StateDir, StoreError, write_atomically};

const FOLDER: &str = "cache/images";
const FILES: &str = "files";
const PINS: &str = "pins";

/// What is known of an image that lies on the controller, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFacts {
    /// SHA-256 of the file, hex.
    pub digest_sha256: String,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes that a guest sees.
    pub virtual_size: u64,
    /// As its header and its manifest both say.
    pub format: TemplateFormat,
    /// Where it lies.
    pub local_path: PathBuf,
}

/// An image that is wanted from a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRequest {
    /// Whose image it is, for messages.
    pub object: ObjectRef,
    /// An http or https URL.
    pub url: String,
    /// What its content must hash to. Needed for http.
    pub checksum: Option<Checksum>,
    /// What it must be.
    pub format: TemplateFormat,
}

/// Why there is no image, and whose.
#[derive(Debug, thiserror::Error)]
#[error("{object}: {failure}")]
pub struct SourceError {
    /// Whose image it was to be.
    pub object: ObjectRef,
    /// What happened. It names the URL or file and says what to do.
    pub failure: Box<SourceFailure>,
}

impl SourceError {
    pub(super) fn new(object: &ObjectRef, failure: SourceFailure) -> Self {
        Self { object: object.clone(), failure: Box::new(failure) }
    }

    pub(super) fn io(object: &ObjectRef, what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let (object, path) = (object.clone(), path.to_owned());
        move |source| Self::new(&object, SourceFailure::Io { what, path, source })
    }
}

/// Why there is no image: fragments with the URL or file, and what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the words of the messages")]
pub enum SourceFailure {
    /// Not a URL, or of a kind that isn't fetched.
    #[error("`{url}` can't be fetched: {reason}; write an http or https URL")]
    Url { url: String, reason: String },
    /// http without a checksum.
    #[error("{url} is fetched without encryption, so nothing tells what comes: add `checksum: sha256:…`, or use https")]
    NoChecksum { url: String },
    /// The server's answer is an error.
    #[error("the server answers {status} for {url}: {advice}")]
    Status { url: String, status: String, advice: &'static str },
    /// Led astray.
    #[error("{url} leads elsewhere than may be followed ({reason}): name the last URL itself")]
    Redirect { url: String, reason: String },
    /// No connection, after all tries.
    #[error("{url} can't be reached after {tries} tries ({reason}): look at the network, or at the name of the server")]
    Unreachable { url: String, tries: usize, reason: String },
    /// The connection broke off, each time.
    #[error(
        "the transfer of {url} broke off at byte {done} of {total} after {tries} tries ({reason}): run it again, it goes on from there"
    )]
    BrokenOff { url: String, done: u64, total: String, tries: usize, reason: String },
    /// Other bytes than were asked for.
    #[error(
        "the content of {from} is not what its checksum says (wanted {wanted}, found {found}): correct the one or the other; nothing was kept"
    )]
    Checksum { from: String, wanted: Checksum, found: Checksum },
    /// Not an image that is taken.
    #[error("{from}: {source}")]
    Image { from: String, source: ImageError },
    /// A file beside the manifest that can't be opened.
    #[error("{} can't be used: {source}", path.display())]
    Beneath { path: PathBuf, source: BeneathError },
    /// A file of the cache that is no longer what it was.
    #[error("{} no longer held what was fetched, and is gone now: run it again, and it is fetched anew", path.display())]
    Rotten { path: PathBuf },
    /// A file that changes while it is read.
    #[error("{} changed while it was being read: wait until whoever writes it is done, and plan again", path.display())]
    Changed { path: PathBuf },
    /// The cache.
    #[error("{what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// The state directory.
    #[error(transparent)]
    State(StoreError),
}

/// The images of a state directory.
#[derive(Debug, Clone)]
pub struct ImageCache {
    state: PathBuf,
    max_virtual_size: u64,
    /// Several nodes may want one image at once: one copies, the others find it.
    /// The digests of files of the cache that were found to be theirs; one file is kept at a time.
    keeping: Arc<Mutex<BTreeSet<String>>>,
    pub(super) fetching: super::fetch::Fetching,
}

/// What a file was when it was hashed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

#[derive(Serialize, Deserialize)]
struct Hashed {
    stamp: Stamp,
    sha256: String,
    sha512: Option<String>,
}

impl ImageCache {
    /// The images below the state directory `state`, which need not exist before something is kept there.
    pub fn new(state: &Path) -> Self {
        Self {
            state: state.to_owned(),
            max_virtual_size: image::MAX_VIRTUAL_SIZE,
            keeping: Arc::default(),
            fetching: super::fetch::Fetching::default(),
        }
    }

    /// The same with another limit for what a guest may see of an image, in bytes.
    #[must_use]
    pub fn with_max_virtual_size(mut self, bytes: u64) -> Self {
        self.max_virtual_size = bytes;
        self
    }

    /// What is known of an image that was fetched already. Without a checksum that is the content pinned at the first fetch.
    pub fn known(&self, wanted: &ImageRequest) -> Result<Option<SourceFacts>, SourceError> {
        let digest = match &wanted.checksum {
            Some(Checksum::Sha256(digest)) => Some(digest.clone()),
            other => std::fs::read_to_string(self.pin(&wanted.url, other.as_ref())).ok().map(|text| text.trim().to_owned()),
        };
        match digest.filter(|digest| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit())) {
            Some(digest) => self.facts(&wanted.object, &wanted.url, &digest, wanted.format),
            None => Ok(None),
        }
    }

    /// What is known of a file of the cache, by its digest.
    fn facts(
        &self,
        object: &ObjectRef,
        from: &str,
        digest: &str,
        format: TemplateFormat,
    ) -> Result<Option<SourceFacts>, SourceError> {
        let path = self.image(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SourceError::io(object, "failed to open", &path)(source)),
        };
        let (info, size) = self.check(object, from, &mut file, format)?;
        Ok(Some(SourceFacts {
            digest_sha256: digest.to_owned(),
            size,
            virtual_size: info.virtual_size,
            format: info.format,
            local_path: path,
        }))
    }

    /// What is known of a file beside a manifest. `folder` is the manifest's, `path` as it stands there.
    ///
    /// The header is judged before anything else is read. The digest is remembered with the file's device, inode, size and
    /// times; where that can't be written down, the file is hashed again next time.
    pub fn file(
        &self,
        object: &ObjectRef,
        root: &Root,
        folder: &Path,
        path: &Path,
        checksum: Option<&Checksum>,
        format: TemplateFormat,
    ) -> Result<SourceFacts, SourceError> {
        let beneath = |source| SourceError::new(object, SourceFailure::Beneath { path: path.to_owned(), source });
        let relative = root.relative(folder, path).map_err(beneath)?;
        let mut file = root.file(&relative).map_err(beneath)?;
        let from = path.display().to_string();
        let local_path = root.path().join(&relative);
        let (info, size) = self.check(object, &from, &mut file, format)?;
        let hashes = self.hashes(object, &local_path, &mut file, checksum)?;
        if let Some(wanted) = checksum
            && let Some(found) = hashes.contradicts(wanted)
        {
            return Err(SourceError::new(object, SourceFailure::Checksum { from, wanted: wanted.clone(), found }));
        }
        Ok(SourceFacts { digest_sha256: hashes.sha256, size, virtual_size: info.virtual_size, format: info.format, local_path })
    }

    /// A file of the cache with the content `facts` tell of, copied there from where they found it unless it is there.
    ///
    /// Whoever uploads takes the copy: a file beside a manifest may change between any two looks at it.
    pub fn keep(&self, object: &ObjectRef, facts: &SourceFacts) -> Result<SourceFacts, SourceError> {
        let mut checked = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.image(&facts.digest_sha256);
        let as_kept = SourceFacts { local_path: kept.clone(), ..facts.clone() };
        let io = |what, path: &Path| SourceError::io(object, what, path);
        if kept.metadata().is_ok_and(|meta| meta.len() == facts.size) {
            // What it was when it came is no word on what a disk made of it since.
            if !checked.contains(&facts.digest_sha256) {
                let mut hasher = Hasher::new(None);
                open_plain(&kept).and_then(|mut file| hasher.update_from(&mut file)).map_err(io("failed to read", &kept))?;
                if hasher.finish().sha256 != facts.digest_sha256 {
                    std::fs::remove_file(&kept).map_err(io("failed to remove", &kept))?;
                    return Err(SourceError::new(object, SourceFailure::Rotten { path: kept }));
                }
                checked.insert(facts.digest_sha256.clone());
            }
            return Ok(as_kept);
        }
        let folder = self.folder(object)?;
        let part = folder.join(format!(".copy-{}", facts.digest_sha256));
        let mut from = open_plain(&facts.local_path).map_err(io("failed to open", &facts.local_path))?;
        let mut copy = create(&part).map_err(io("failed to write", &part))?;
        // io::copy lets the kernel share the blocks where the file system can.
        let copied =
            io::copy(&mut from, &mut copy).and_then(|_| copy.rewind()).map_err(io("failed to write", &part)).and_then(|()| {
                let mut hasher = Hasher::new(None);
                hasher.update_from(&mut copy).map_err(io("failed to read", &part))?;
                if hasher.finish().sha256 != facts.digest_sha256 {
                    return Err(SourceError::new(object, SourceFailure::Changed { path: facts.local_path.clone() }));
                }
                copy.sync_all().and_then(|()| std::fs::rename(&part, &kept)).map_err(io("failed to write", &kept))
            });
        if copied.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        copied.map(|()| {
            checked.insert(facts.digest_sha256.clone());
            as_kept
        })
    }

    /// The file's header judged, and its length.
    pub(super) fn check(
        &self,
        object: &ObjectRef,
        from: &str,
        file: &mut File,
        format: TemplateFormat,
    ) -> Result<(ImageInfo, u64), SourceError> {
        let io = |source| SourceError::io(object, "failed to read", Path::new(from))(source);
        let size = file.metadata().map_err(io)?.len();
        let mut head = Vec::new();
        file.rewind().and_then(|()| file.take(image::HEAD_BYTES).read_to_end(&mut head)).map_err(io)?;
        self.check_head(object, from, &head, size, format).map(|info| (info, size))
    }

    pub(super) fn check_head(
        &self,
        object: &ObjectRef,
        from: &str,
        head: &[u8],
        size: u64,
        format: TemplateFormat,
    ) -> Result<ImageInfo, SourceError> {
        image::check(head, size, format, self.max_virtual_size)
            .map_err(|source| SourceError::new(object, SourceFailure::Image { from: from.to_owned(), source }))
    }

    fn hashes(
        &self,
        object: &ObjectRef,
        path: &Path,
        file: &mut File,
        checksum: Option<&Checksum>,
    ) -> Result<Hashes, SourceError> {
        let io = |source| SourceError::io(object, "failed to read", path)(source);
        let before = file.metadata().map_err(io)?;
        let stamp = Stamp::of(&before);
        let note = self.state.join(FOLDER).join(FILES).join(format!("{}-{}", before.dev(), before.ino()));
        let noted = std::fs::read(&note).ok().and_then(|bytes| serde_json::from_slice::<Hashed>(&bytes).ok());
        if let Some(noted) = noted
            && noted.stamp == stamp
            && (noted.sha512.is_some() || !matches!(checksum, Some(Checksum::Sha512(_))))
        {
            return Ok(Hashes { sha256: noted.sha256, sha512: noted.sha512 });
        }
        let mut hasher = Hasher::new(checksum);
        file.rewind().and_then(|()| hasher.update_from(file)).map_err(io)?;
        if Stamp::of(&file.metadata().map_err(io)?) != stamp {
            return Err(SourceError::new(object, SourceFailure::Changed { path: path.to_owned() }));
        }
        let hashes = hasher.finish();
        let hashed = Hashed { stamp, sha256: hashes.sha256.clone(), sha512: hashes.sha512.clone() };
        // A note saves time and is worth no error, where the state directory can't be written, say.
        if let Ok(state) = StateDir::open(&self.state)
            && state.private(&format!("{FOLDER}/{FILES}")).is_ok()
            && let Ok(bytes) = serde_json::to_vec(&hashed)
        {
            let _ = write_atomically(&note, &bytes, 0o600);
        }
        Ok(hashes)
    }

    /// The cache's folder, made where it is missing.
    pub(super) fn folder(&self, object: &ObjectRef) -> Result<PathBuf, SourceError> {
        StateDir::open(&self.state)
            .and_then(|state| {
                state.private(&format!("{FOLDER}/{PINS}"))?;
                state.private(FOLDER)
            })
            .map_err(|source| SourceError::new(object, SourceFailure::State(source)))
    }

    /// Where the image of this digest lies, or would.
    pub(super) fn image(&self, digest: &str) -> PathBuf {
        self.state.join(FOLDER).join(digest)
    }

    /// Where it is written down which image came from a URL.
    pub(super) fn pin(&self, url: &str, checksum: Option<&Checksum>) -> PathBuf {
        self.state.join(FOLDER).join(PINS).join(key(url, checksum))
    }
}

impl Stamp {
    fn of(meta: &std::fs::Metadata) -> Self {
        Self { size: meta.len(), mtime: (meta.mtime(), meta.mtime_nsec()), ctime: (meta.ctime(), meta.ctime_nsec()) }
    }
}

/// A file's name for what is wanted from a URL.
pub(super) fn key(url: &str, checksum: Option<&Checksum>) -> String {
    let mut hash = Sha256::new_with_prefix(url);
    if let Some(checksum) = checksum {
        hash.update(format!("\n{checksum}"));
    }
    hex::encode(hash.finalize())
}

/// A file for its owner alone, empty.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Opens what was found to be a regular file before; a link or a pipe that took its place is refused.
fn open_plain(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}
