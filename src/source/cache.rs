//! Manifests that are read again and again: a file that didn't change is neither read nor parsed a second time.
//!
//! Nothing is believed of a file but what its identity tells, and not even that of one that changed so shortly before it was read
//! that a second change could have left it the same: such a file is read again, and parsed again only if its bytes differ.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::files::{collect, collect_folder};
use super::set::{ManifestSet, assemble};
use super::walk::{Identity, Walk, What};
use crate::diag::{FileId, SourceMap};
use crate::manifest::ReadFiles;

/// The coarsest times that a file system keeps.
const GRANULARITY: Duration = Duration::from_secs(2);

/// What sets of manifests were read into, for the next reading.
#[derive(Debug, Default)]
pub struct ManifestCache {
    texts: Texts,
    read: ReadFiles,
}

impl ManifestCache {
    /// Reads and loads what `args` (the values of `-f`) name.
    pub fn read_set(&mut self, args: &[String], stdin: &mut dyn io::Read) -> ManifestSet {
        assemble(collect(args, stdin, &mut self.texts), &mut self.read)
    }

    /// Reads and loads the folder that was walked through; what is wrong in it is told by paths below `shown`.
    pub fn read_folder(&mut self, walk: &Walk, shown: &Path) -> ManifestSet {
        assemble(collect_folder(walk, shown, &mut self.texts), &mut self.read)
    }

    /// A digest, hex, of what was last read by `walk`: of the manifests' names and bytes, and of the names, sizes and times of
    /// what lies beside them.
    pub fn digest(&self, walk: &Walk) -> String {
        let mut all = Sha256::new();
        for (entry, below) in walk.below() {
            let name = below.as_os_str().as_encoded_bytes();
            all.update(name.len().to_le_bytes());
            all.update(name);
            match &entry.what {
                What::Manifest { identity, .. } => match self.texts.sum(&entry.path.to_string_lossy()) {
                    Some(sum) => all.update(sum),
                    None => all.update(format!("{:?}", identity.outside())),
                },
                What::Other(identity) => all.update(format!("{:?}", identity.outside())),
                What::Outside(target) => all.update(target.as_os_str().as_encoded_bytes()),
                What::Unreadable(kind, _) => all.update(format!("{kind:?}")),
            }
        }
        hex::encode(all.finalize())
    }
}

/// Files that were read, with their texts.
#[derive(Debug, Default)]
pub(super) struct Texts {
    sources: SourceMap,
    /// By name: of a fetched tree each revision lies in a folder of its own, and most files are the same.
    files: BTreeMap<String, Kept>,
    /// Those of the reading that is under way.
    fresh: BTreeMap<String, Kept>,
}

#[derive(Debug)]
struct Kept {
    file: FileId,
    identity: Identity,
    /// Whether the same identity means the same bytes.
    settled: bool,
    sum: OnceLock<[u8; 32]>,
}

impl Texts {
    /// Begins a reading: the map of its files.
    pub(super) fn begin(&mut self) -> SourceMap {
        self.fresh.clear();
        SourceMap::after(&self.sources)
    }

    /// Ends a reading: what wasn't in it is forgotten.
    pub(super) fn end(&mut self, sources: &SourceMap) {
        self.sources = sources.clone();
        self.files = std::mem::take(&mut self.fresh);
    }

    /// The file `name`, where it is known to have the bytes that it had, and is kept for this reading.
    pub(super) fn keep(&mut self, sources: &mut SourceMap, name: &str, found: &Identity) -> Option<FileId> {
        if !self.files.get(name).is_some_and(|known| known.settled && known.identity == *found) {
            return None;
        }
        let (name, kept) = self.files.remove_entry(name)?;
        sources.keep(&self.sources, kept.file);
        let file = kept.file;
        self.fresh.insert(name, kept);
        Some(file)
    }

    /// Takes in a file that was read after it was looked at, at `now`; one with the same bytes stays the file that it was.
    pub(super) fn add(
        &mut self,
        sources: &mut SourceMap,
        name: &str,
        text: String,
        identity: Identity,
        now: SystemTime,
    ) -> FileId {
        let settled = identity.age(now).is_some_and(|age| age >= GRANULARITY);
        let kept = match self.files.remove(name).filter(|kept| self.sources.text(kept.file) == text) {
            Some(kept) => {
                sources.keep(&self.sources, kept.file);
                Kept { identity, settled, ..kept }
            }
            None => Kept { file: sources.add(name, text), identity, settled, sum: OnceLock::new() },
        };
        let file = kept.file;
        self.fresh.insert(name.to_owned(), kept);
        file
    }

    /// The SHA-256 of the file `name`, if it was in the last reading.
    fn sum(&self, name: &str) -> Option<&[u8; 32]> {
        let kept = self.files.get(name)?;
        Some(kept.sum.get_or_init(|| Sha256::digest(self.sources.text(kept.file)).into()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, FileTimes};
    use std::sync::Arc;

    use super::*;
    use crate::diag::Code;
    use crate::manifest::Document;

    fn key(name: &str) -> String {
        format!("apiVersion: jvp.dev/v1alpha1\nkind: KeyPair\nmetadata: {{name: {name}}}\nspec: {{generate: true}}\n")
    }

    struct Folder(tempfile::TempDir, ManifestCache);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap(), ManifestCache::default())
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.path().join(name), text).unwrap();
        }

        fn read(&mut self) -> ManifestSet {
            let walk = Walk::of(self.0.path(), Path::new("site")).unwrap();
            self.1.read_folder(&walk, Path::new("site"))
        }

        fn digest(&self) -> String {
            self.1.digest(&Walk::of(self.0.path(), Path::new("site")).unwrap())
        }
    }

    fn of<'a>(set: &'a ManifestSet, name: &str) -> &'a Arc<Document> {
        set.documents.iter().find(|document| document.object.name.as_str() == name).unwrap()
    }

    #[test]
    fn only_what_changed_is_parsed_again() {
        let mut folder = Folder::new();
        for name in ["a", "b", "d"] {
            folder.write(&format!("{name}.yaml"), &key(name));
        }
        let first = folder.read();
        folder.write("b.yaml", &key("b2"));
        folder.write("c.yaml", &key("c"));
        fs::remove_file(folder.0.path().join("a.yaml")).unwrap();
        let second = folder.read();
        let names: Vec<_> = second.documents.iter().map(|document| document.object.name.as_str()).collect();
        assert_eq!(names, ["b2", "c", "d"], "in the order of the files' names, whenever they came");
        assert!(Arc::ptr_eq(of(&first, "d"), of(&second, "d")));
        let place = |name: &str| second.sources.name(of(&second, name).file).to_owned();
        assert_eq!([place("b2"), place("c"), place("d")], ["site/b.yaml", "site/c.yaml", "site/d.yaml"]);
        // What is wrong is told again, though the file that it stands in isn't read.
        folder.write("e.yaml", &key("d"));
        assert_eq!(folder.read().diagnostics[0].code, Code::DuplicateObject);
        assert_eq!(folder.read().diagnostics[0].code, Code::DuplicateObject);
    }

    #[test]
    fn a_change_that_leaves_size_and_time_as_they_were_is_seen() {
        let mut folder = Folder::new();
        folder.write("a.yaml", &key("one"));
        let path = folder.0.path().join("a.yaml");
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(folder.read().documents[0].object.name.as_str(), "one");
        for name in ["two", "six"] {
            folder.write("a.yaml", &key(name));
            File::options().write(true).open(&path).unwrap().set_times(FileTimes::new().set_modified(before)).unwrap();
            assert_eq!(folder.read().documents[0].object.name.as_str(), name);
        }
    }

    #[test]
    fn what_is_read_by_its_identity_alone_had_time_to_settle() {
        let mut folder = Folder::new();
        folder.write("a.yaml", &key("a"));
        let first = folder.read();
        assert!(!folder.1.texts.files.values().next().unwrap().settled, "written just now");
        std::thread::sleep(GRANULARITY + Duration::from_millis(100));
        let second = folder.read();
        assert!(folder.1.texts.files.values().next().unwrap().settled);
        assert!(Arc::ptr_eq(of(&first, "a"), of(&second, "a")), "read again, and found the same");
    }

    #[test]
    fn a_digest_tells_of_every_byte_and_name() {
        let mut folder = Folder::new();
        folder.write("a.yaml", &key("a"));
        folder.write("image.img", "x");
        let mut seen = std::collections::BTreeSet::new();
        for (name, text) in [("a.yaml", key("a")), ("a.yaml", key("b")), ("b.yaml", key("a")), ("image.img", "xy".to_owned())] {
            folder.write(name, &text);
            let _ = folder.read();
            assert!(seen.insert(folder.digest()), "{name} {text}");
            let _ = folder.read();
            assert!(!seen.insert(folder.digest()));
        }
    }
}
