//! A manifest set: everything that `-f` named, loaded, with the Fleet that it belongs to.
//!
//! The Fleet is the one in the set, else that of the nearest `jvp.yaml` in a folder above. Nothing here decides what is done
//! with a set.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::ManifestCache;
use super::files::{Collected, MAX_FILE};
use crate::diag::{self, Code, Diagnostic, FileId, SourceMap};
use crate::manifest::{Document, ReadFiles, load_again, load_file};
use crate::name::{Kind, ObjectRef};

/// The file that `jvp init` writes the Fleet into, at the root of a checkout.
pub const FLEET_FILE: &str = "jvp.yaml";

/// Everything that `-f` named. A copy shares the documents.
#[derive(Debug, Clone, Default)]
#[must_use = "what is wrong with the set is in the diagnostics"]
pub struct ManifestSet {
    /// The files.
    pub sources: SourceMap,
    /// Every document that is whole, the Fleet among them.
    pub documents: Vec<Arc<Document>>,
    /// Objects whose documents are not whole.
    pub broken: BTreeSet<ObjectRef>,
    /// What is wrong, sorted.
    pub diagnostics: Vec<Diagnostic>,
    /// The folder of each file, canonical; none for standard input and URLs.
    pub folders: BTreeMap<FileId, PathBuf>,
    /// The folder of the Fleet's file.
    pub fleet_folder: Option<PathBuf>,
    /// Whether `-f` named the whole folder of the Fleet: only then can what is absent be taken for unwanted.
    pub whole: bool,
}

/// Reads and loads what `args` (the values of `-f`) name.
pub fn read_set(args: &[String], stdin: &mut dyn Read) -> ManifestSet {
    ManifestCache::default().read_set(args, stdin)
}

/// Loads what was collected; files that are in `known` aren't parsed.
pub(super) fn assemble(collected: Collected, known: &mut ReadFiles) -> ManifestSet {
    let loaded = load_again(&collected.sources, known);
    let mut set = ManifestSet {
        sources: collected.sources,
        documents: loaded.documents,
        broken: loaded.broken,
        diagnostics: collected.diagnostics,
        folders: collected.folders,
        fleet_folder: None,
        whole: false,
    };
    let nothing = set.documents.is_empty() && loaded.diagnostics.is_empty() && set.diagnostics.is_empty();
    set.diagnostics.extend(loaded.diagnostics);
    for document in set.documents.iter().filter(|document| collected.remote.contains(&document.file)) {
        set.diagnostics.extend(files_beside(document));
    }
    if nothing {
        set.diagnostics.push(Diagnostic::new(Code::NoManifest, "what was given holds no manifest"));
    }
    let fleet_written = set.broken.iter().any(|object| object.kind == Kind::Fleet);
    if let Some(file) = set.documents.iter().find(|d| d.object.kind == Kind::Fleet).map(|d| d.file) {
        set.fleet_folder = set.folders.get(&file).cloned();
    } else if !fleet_written {
        fleet_above(&mut set, &collected.starts);
    }
    set.whole = set.fleet_folder.as_ref().is_some_and(|folder| collected.whole.iter().any(|whole| folder.starts_with(whole)));
    diag::sort(&mut set.diagnostics, &set.sources);
    set
}

/// A file that a document names lies beside it, and beside a URL there is nothing that may be read.
fn files_beside(document: &Document) -> Vec<Diagnostic> {
    let named = document.now.keys().filter(|path| path.ends_with("/source/file") || path.ends_with("/valueFrom/file"));
    named
        .map(|path| {
            let (what, help) = if path.ends_with("/source/file") {
                ("an image", "name the image's own `url`, with its checksum, or put manifest and image into a folder")
            } else {
                ("a secret", "write `env:` with a name that begins with JVP_VAR_, or put manifest and secret into a folder")
            };
            let message = format!("the manifest comes from a URL, and beside it lies no file to take {what} from");
            Diagnostic::new(Code::InvalidPath, message).about(&document.object).at(document.field_label(path)).help(help)
        })
        .collect()
}

/// Looks for the Fleet in the folders above each start.
fn fleet_above(set: &mut ManifestSet, starts: &[PathBuf]) {
    let files: BTreeSet<PathBuf> = starts.iter().filter_map(|start| nearest(start)).collect();
    let mut fleets: Vec<(PathBuf, Arc<Document>)> = Vec::new();
    for path in files {
        let Some(text) = fs::metadata(&path).ok().filter(|m| m.len() <= MAX_FILE).and_then(|_| fs::read_to_string(&path).ok())
        else {
            continue;
        };
        let file = set.sources.add(path.to_string_lossy(), text);
        let loaded = load_file(&set.sources, file);
        // Of a file that wasn't asked for only the Fleet matters; but when that can't be read, say why.
        let Some(fleet) = loaded.documents.into_iter().find(|d| d.object.kind == Kind::Fleet) else {
            set.diagnostics.extend(loaded.diagnostics);
            continue;
        };
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        set.folders.insert(file, folder.clone());
        fleets.push((folder, fleet));
    }
    if let [(_, first), (_, second), ..] = fleets.as_slice() {
        let message = "what was given belongs to two Fleets";
        let diagnostic =
            Diagnostic::new(Code::TwoFleets, message).at(second.name_label()).and(first.name_label().says("the other"));
        set.diagnostics.push(diagnostic.help("apply the folder of one Fleet at a time"));
    }
    if let Some((folder, fleet)) = fleets.into_iter().next() {
        set.fleet_folder = Some(folder);
        set.documents.push(fleet);
    }
}

/// The nearest [`FLEET_FILE`] in `start` or above it, but not above a checkout.
fn nearest(start: &Path) -> Option<PathBuf> {
    for folder in start.ancestors() {
        let file = folder.join(FLEET_FILE);
        if file.is_file() {
            return Some(file);
        }
        if folder.join(".git").exists() {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(name: &str) -> String {
        format!(
            "apiVersion: jvp.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: {name}}}\nspec: {{id: 5f0c2a9e-2d5c-4c1b-9f53-0f3c8f1c7b52}}\n"
        )
    }

    fn read(path: &Path) -> ManifestSet {
        read_set(&[path.to_string_lossy().into_owned()], &mut std::io::empty())
    }

    #[test]
    fn the_fleet_is_found_in_the_set_or_above_it() {
        let dir = tempfile::tempdir().unwrap();
        let vms = dir.path().join("site/vms");
        fs::create_dir_all(&vms).unwrap();
        fs::write(dir.path().join(FLEET_FILE), fleet("home")).unwrap();
        fs::write(
            vms.join("key.yaml"),
            "apiVersion: jvp.dev/v1alpha1\nkind: KeyPair\nmetadata: {name: a}\nspec: {generate: true}\n",
        )
        .unwrap();
        let part = read(&vms);
        assert!(part.diagnostics.is_empty(), "{:?}", part.diagnostics);
        assert_eq!(part.documents.len(), 2);
        assert!(!part.whole);
        let all = read(dir.path());
        assert_eq!(all.documents.len(), 2);
        assert!(all.whole);
        assert_eq!(all.fleet_folder, part.fleet_folder);
    }

    #[test]
    fn two_fleets_are_an_error_with_both_places() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), fleet("a")).unwrap();
        fs::write(dir.path().join("b.yaml"), fleet("b")).unwrap();
        let set = read(dir.path());
        assert_eq!(set.diagnostics[0].code, Code::TwoFleets);
        assert_eq!(set.diagnostics[0].secondary.len(), 1);
    }
}
