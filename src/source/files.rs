//! The files and URLs that `-f` names: read whole, within limits, in an order that depends on their names alone.
//!
//! Folders are searched for `*.yaml` and `*.yml`, all the way down. Hidden files and folders are passed over, and links are
//! followed within the folder only. Nothing here fails: what can't be read is a diagnostic.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::cache::Texts;
use super::walk::{Identity, Walk, What};
use crate::diag::{Code, Diagnostic, FileId, Label, SourceMap, Span};

/// The largest file that is read, in bytes.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;

/// How standard input is called in diagnostics.
const STDIN: &str = "<stdin>";

/// What `-f` named.
#[derive(Debug, Default)]
#[must_use = "what couldn't be read is in the diagnostics"]
pub(super) struct Collected {
    /// The files with their text; those that couldn't be read have none.
    pub(super) sources: SourceMap,
    /// What couldn't be read.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// The folder of each file, for paths that are relative to a manifest; none for standard input and URLs.
    pub(super) folders: BTreeMap<FileId, PathBuf>,
    /// What came from a URL.
    pub(super) remote: BTreeSet<FileId>,
    /// The folders that were given whole, canonical.
    pub(super) whole: Vec<PathBuf>,
    /// Where a search for the Fleet begins: the folders given and those of the files given, canonical.
    pub(super) starts: Vec<PathBuf>,
}

/// Reads what `args` name: files, folders, `-` for `stdin`, http and https URLs. What is named twice is read once, and files that
/// are as `texts` has them aren't read.
pub(super) fn collect(args: &[String], stdin: &mut dyn Read, texts: &mut Texts) -> Collected {
    let mut collector = Collector::new(texts);
    for arg in args {
        if arg == "-" {
            collector.stdin(stdin);
        } else if arg.starts_with("http://") || arg.starts_with("https://") {
            collector.url(arg);
        } else if let Some((scheme, _)) = arg.split_once("://") {
            let message =
                format!("manifests come from files, standard input and http or https URLs; `{scheme}` is none of these");
            collector.say(arg, Diagnostic::new(Code::NotSupported, message));
        } else {
            collector.path(arg);
        }
    }
    collector.finish()
}

/// As [`collect`], of one folder that was walked through.
pub(super) fn collect_folder(walk: &Walk, shown: &Path, texts: &mut Texts) -> Collected {
    let mut collector = Collector::new(texts);
    collector.folder(&shown.to_string_lossy(), walk);
    collector.finish()
}

struct Collector<'a> {
    out: Collected,
    seen: BTreeSet<PathBuf>,
    stdin_read: bool,
    texts: &'a mut Texts,
}

impl<'a> Collector<'a> {
    fn new(texts: &'a mut Texts) -> Self {
        let out = Collected { sources: texts.begin(), ..Collected::default() };
        Self { out, seen: BTreeSet::new(), stdin_read: false, texts }
    }

    fn finish(self) -> Collected {
        self.texts.end(&self.out.sources);
        self.out
    }

    /// A diagnostic about a file of which there is no text.
    fn say(&mut self, name: &str, diagnostic: Diagnostic) {
        let file = self.out.sources.add(name, "");
        self.out.diagnostics.push(diagnostic.at(Label::new(file, Span::default())));
    }

    fn unreadable(&mut self, name: &str, kind: io::ErrorKind, error: &str) {
        let what = match kind {
            io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
            io::ErrorKind::PermissionDenied => "no right to read it".to_owned(),
            _ => format!("it can't be read: {error}"),
        };
        self.say(name, Diagnostic::new(Code::Unreadable, what));
    }

    fn stdin(&mut self, stdin: &mut dyn Read) {
        if !std::mem::replace(&mut self.stdin_read, true) {
            if let Ok(here) = fs::canonicalize(".") {
                self.out.starts.push(here);
            }
            if let Some(text) = self.text(STDIN, stdin) {
                self.out.sources.add(STDIN, text);
            }
        }
    }

    fn url(&mut self, arg: &str) {
        if !self.seen.insert(PathBuf::from(arg)) {
            return;
        }
        if let Ok(here) = fs::canonicalize(".") {
            self.out.starts.push(here);
        }
        let (name, fetched) = super::remote::manifest(arg);
        if arg.starts_with("http://") {
            tracing::warn!(url = name, "a manifest that comes over http can be read and changed on its way: use https");
        }
        match fetched {
            Err(diagnostic) => self.say(&name, *diagnostic),
            Ok(bytes) => {
                if let Some(text) = self.text(&name, &mut bytes.as_slice()) {
                    self.out.remote.insert(self.out.sources.add(name, text));
                }
            }
        }
    }

    fn path(&mut self, arg: &str) {
        let path = Path::new(arg);
        let found = fs::canonicalize(path).and_then(|real| Ok((fs::metadata(&real)?, real)));
        match found {
            Err(error) => self.unreadable(arg, error.kind(), &error.to_string()),
            Ok((meta, real)) if meta.is_dir() => self.folder(arg, &Walk::new(&real, path)),
            Ok((meta, real)) => {
                self.out.starts.extend(real.parent().map(Path::to_owned));
                self.file(path, &real, &Identity::of(&meta));
            }
        }
    }

    /// Every manifest of the folder `arg`, by the walk through it.
    fn folder(&mut self, arg: &str, walk: &Walk) {
        self.out.whole.push(walk.root.clone());
        self.out.starts.push(walk.root.clone());
        let before = self.out.sources.len();
        let mut already = false;
        for entry in &walk.entries {
            let name = entry.path.to_string_lossy();
            match &entry.what {
                What::Manifest { real, identity } => {
                    already |= self.seen.contains(real);
                    self.file(&entry.path, real, identity);
                }
                What::Outside(real) => {
                    let message = format!("the link leads out of the folder, to `{}`", real.display());
                    let diagnostic = Diagnostic::new(Code::LinkOutside, message);
                    let help = "put a copy into the folder, or give the other place with a `-f` of its own";
                    self.say(&name, diagnostic.help(help));
                }
                What::Unreadable(kind, error) => self.unreadable(&name, *kind, error),
                What::Other(_) => {}
            }
        }
        if self.out.sources.len() == before && !already {
            let diagnostic = Diagnostic::new(Code::NoManifest, "there is no manifest in the folder");
            self.say(arg, diagnostic.help("manifests are files `*.yaml` or `*.yml` whose names don't begin with a dot"));
        }
    }

    /// The file at `real`, which was as `found` when it was looked at.
    fn file(&mut self, path: &Path, real: &Path, found: &Identity) {
        if !self.seen.insert(real.to_owned()) {
            return;
        }
        let name = path.to_string_lossy();
        if let Some(file) = self.texts.keep(&mut self.out.sources, &name, found) {
            self.out.folders.extend(real.parent().map(|folder| (file, folder.to_owned())));
            return;
        }
        let now = SystemTime::now();
        let opened = fs::File::open(real).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Err(error) => self.unreadable(&name, error.kind(), &error.to_string()),
            // A pipe has no length; a file that is too long isn't read at all.
            Ok((meta, _)) if meta.is_file() && meta.len() > MAX_FILE => self.too_large(&name),
            Ok((meta, mut file)) => {
                let Some(text) = self.text(&name, &mut file) else { return };
                let id = self.texts.add(&mut self.out.sources, &name, text, Identity::of(&meta), now);
                self.out.folders.extend(real.parent().map(|folder| (id, folder.to_owned())));
            }
        }
    }

    fn too_large(&mut self, name: &str) {
        let diagnostic = Diagnostic::new(Code::TooLarge, "the file has more than 16 MiB and is not read");
        self.say(name, diagnostic.help("split it; data belongs beside the manifest, not in it"));
    }

    /// All that `reader` gives, where it is text of a bearable length.
    fn text(&mut self, name: &str, reader: &mut dyn Read) -> Option<String> {
        let mut bytes = Vec::new();
        if let Err(error) = reader.take(MAX_FILE + 1).read_to_end(&mut bytes) {
            self.unreadable(name, error.kind(), &error.to_string());
            return None;
        }
        if bytes.len() as u64 > MAX_FILE {
            self.too_large(name);
            return None;
        }
        match String::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let utf16 = matches!(error.as_bytes(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
                let diagnostic =
                    Diagnostic::new(Code::NotText, format!("the file is no UTF-8 text: byte {} isn't part of any", at + 1));
                let help = if utf16 {
                    "it looks like UTF-16: save it as UTF-8"
                } else {
                    "is it an image or an archive with the wrong name?"
                };
                self.say(name, diagnostic.help(help));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &Collected, root: &Path) -> Vec<String> {
        let root = format!("{}/", root.display());
        found.sources.ids().map(|id| found.sources.name(id).replace(&root, "")).collect()
    }

    fn read(path: &Path) -> Collected {
        collect(&[path.to_string_lossy().into_owned()], &mut io::empty(), &mut Texts::default())
    }

    fn codes(found: &Collected) -> Vec<Code> {
        found.diagnostics.iter().map(|d| d.code).collect()
    }

    #[test]
    fn folders_are_searched_all_the_way_down_and_hidden_files_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("b/.git")).unwrap();
        for name in ["z.yaml", "a.yml", "b/c.yaml", ".hidden.yaml", "b/.git/x.yaml", "note.txt"] {
            fs::write(root.join(name), "a: b\n").unwrap();
        }
        let found = read(root);
        assert_eq!(names(&found, root), ["a.yml", "z.yaml", "b/c.yaml"]);
        assert!(found.diagnostics.is_empty());
    }

    #[test]
    fn a_link_out_of_the_folder_is_refused_and_one_within_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("in");
        fs::create_dir(&root).unwrap();
        fs::write(dir.path().join("secret.yaml"), "a: b\n").unwrap();
        fs::write(root.join("a.yaml"), "a: b\n").unwrap();
        for (target, link) in [("../secret.yaml", "out.yaml"), ("..", "up"), ("a.yaml", "same.yaml"), (".", "loop")] {
            std::os::unix::fs::symlink(target, root.join(link)).unwrap();
        }
        let found = read(&root);
        assert_eq!(codes(&found), [Code::LinkOutside, Code::LinkOutside]);
        assert_eq!(names(&found, &root), ["a.yaml", "out.yaml", "up"], "a.yaml is read once");
    }

    #[test]
    fn what_is_no_manifest_is_said_and_not_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(codes(&read(dir.path())), [Code::NoManifest]);
        assert_eq!(codes(&read(&dir.path().join("nowhere"))), [Code::Unreadable]);
        fs::write(dir.path().join("noise.yaml"), [0xde, 0xad, 0xbe, 0xef]).unwrap();
        assert_eq!(codes(&read(dir.path())), [Code::NotText]);
        let large = fs::File::create(dir.path().join("noise.yaml")).unwrap();
        large.set_len(100 * 1024 * 1024).unwrap();
        assert_eq!(codes(&read(dir.path())), [Code::TooLarge]);
        let endless = collect(&["-".to_owned()], &mut io::repeat(b' '), &mut Texts::default());
        assert_eq!(codes(&endless), [Code::TooLarge]);
    }
}
