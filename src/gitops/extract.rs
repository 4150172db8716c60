//! A commit's files, written byte by byte as they are in it: no filter, no attribute and no line ending of git's touches them.
//!
//! Links become links (whoever reads a set follows none out of it), submodules become nothing.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::Failure;
use super::git::Git;
use crate::source::FLEET_FILE;

/// The longest target of a link, in bytes.
const LONGEST_LINK: u64 = 4096;

/// An entry of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blob {
    path: PathBuf,
    id: String,
    link: bool,
}

/// Writes the folder `path` of `commit`, and the Fleets above it, into the new folder `into`; gives a digest, hex, of what is there.
pub(super) async fn extract(git: &Git, commit: &str, path: &Path, into: &Path) -> Result<String, Failure> {
    let what = "ls-tree";
    let listed = git.ask(what, &["ls-tree", "-r", "-z", "--full-tree", commit]).await?;
    let blobs = choose(&listed, commit, path)?;
    let (mut child, group) = git.start(&["cat-file", "--batch", "--buffer"])?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Failure::Broken("a pipe to git is missing".to_owned()));
    };
    // What it gives instead of an object tells enough.
    drop(child.stderr.take());
    let digest = hex::encode(Sha256::digest(format!("{blobs:?}")));
    let ids: String = blobs.iter().map(|blob| format!("{}\n", blob.id)).collect();
    let feed = async move {
        // A git that ends early is seen by what it doesn't give.
        let _ = stdin.write_all(ids.as_bytes()).await;
    };
    let stdout = File::from(stdout.into_owned_fd().map_err(Failure::io("failed to read what git gave of", &git.folder))?);
    let (folder, name) = (into.to_owned(), commit.to_owned());
    let write = tokio::task::spawn_blocking(move || write(&blobs, BufReader::new(stdout), &folder, &name));
    // Once git is ended the reader comes to an end, too.
    let (written, ended) =
        tokio::join!(async { tokio::time::timeout(git.deadline, async { tokio::join!(feed, write).1 }).await }, async {
            tokio::time::timeout(git.deadline, child.wait()).await
        });
    let deadline = |_| Failure::Deadline { what: "cat-file", after: git.deadline };
    ended.map_err(deadline)?.map_err(Failure::io("failed to wait for git in", &git.folder))?;
    group.ended();
    written.map_err(deadline)?.map_err(|error| Failure::Broken(error.to_string()))??;
    Ok(digest)
}

/// What of a commit's list (`ls-tree -r -z`) is written.
fn choose(listed: &[u8], commit: &str, path: &Path) -> Result<Vec<Blob>, Failure> {
    let fleets: Vec<PathBuf> = path.ancestors().skip(1).map(|above| above.join(FLEET_FILE)).collect();
    let (mut blobs, mut there) = (Vec::new(), false);
    for line in listed.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let line = String::from_utf8_lossy(line);
        let wrong = |reason: &str| Failure::Entry {
            commit: commit.to_owned(),
            name: line.chars().filter(|c| !c.is_control()).collect(),
            reason: reason.to_owned(),
        };
        let (head, name) = line.split_once('\t').ok_or_else(|| wrong("it has no name"))?;
        let mut head = head.split(' ');
        let (mode, id) = (head.next().unwrap_or_default(), head.nth(1).unwrap_or_default());
        let file = PathBuf::from(name);
        if !file.starts_with(path) && !fleets.contains(&file) {
            continue;
        }
        let fine = |part: Component<'_>| matches!(part, Component::Normal(part) if !part.eq_ignore_ascii_case(".git"));
        if name.contains('\u{fffd}') {
            return Err(wrong("its name is no UTF-8 text"));
        }
        if name.contains("//") || !file.components().all(fine) {
            return Err(wrong("its path leads elsewhere"));
        }
        match mode {
            // A folder is in the list by what is in it.
            "160000" => {
                tracing::warn!(commit, submodule = name, "a submodule is not fetched: what is in it is not part of the set");
                there |= file != path;
            }
            _ => {
                there |= file.starts_with(path) && file != path;
                blobs.push(Blob { path: file, id: id.to_owned(), link: mode == "120000" });
            }
        }
    }
    if !there && !path.as_os_str().is_empty() {
        return Err(Failure::NoPath { commit: commit.to_owned(), path: path.to_owned() });
    }
    // Links last, so that nothing is ever written through one.
    blobs.sort_by_key(|blob| blob.link);
    Ok(blobs)
}

fn write(blobs: &[Blob], mut from: impl BufRead, into: &Path, commit: &str) -> Result<(), Failure> {
    let folder =
        |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Failure::io("failed to make", path));
    folder(into)?;
    // The search for a Fleet goes no further up than a checkout.
    File::create(into.join(".git")).map_err(Failure::io("failed to write", into))?;
    for blob in blobs {
        let path = into.join(&blob.path);
        folder(path.parent().unwrap_or(into))?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::InvalidFilename => {
                Failure::Entry { commit: commit.to_owned(), name: blob.path.display().to_string(), reason: error.to_string() }
            }
            _ => Failure::io("failed to write", &path)(error),
        };
        let size = header(&mut from, &blob.id)?;
        let mut content = (&mut from).take(size);
        if blob.link && size > LONGEST_LINK {
            return Err(failed(io::ErrorKind::InvalidFilename.into()));
        } else if blob.link {
            let mut target = String::new();
            content.read_to_string(&mut target).map_err(failed)?;
            std::os::unix::fs::symlink(target, &path).map_err(failed)?;
        } else {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
            if io::copy(&mut content, &mut file).map_err(failed)? != size {
                return Err(damaged(&blob.id));
            }
        }
        from.read_exact(&mut [0]).map_err(|_| damaged(&blob.id))?;
    }
    Ok(())
}

/// The size of the object that comes next, which is to be the blob `id`.
fn header(from: &mut impl BufRead, id: &str) -> Result<u64, Failure> {
    let mut line = String::new();
    from.read_line(&mut line).map_err(|_| damaged(id))?;
    let size = line.strip_prefix(id).and_then(|rest| rest.strip_prefix(" blob "));
    size.and_then(|size| size.trim_end().parse().ok()).ok_or_else(|| damaged(id))
}

fn damaged(id: &str) -> Failure {
    Failure::Git { what: "cat-file", said: format!("the object {id} is not there whole") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn listed(entries: &[(&str, &str)]) -> Vec<u8> {
        entries.iter().flat_map(|(mode, name)| format!("{mode} blob {ID}\t{name}\0").into_bytes()).collect()
    }

    fn chosen(entries: &[(&str, &str)], path: &str) -> Result<Vec<String>, Failure> {
        let blobs = choose(&listed(entries), "c", Path::new(path))?;
        Ok(blobs.into_iter().map(|blob| blob.path.display().to_string()).collect())
    }

    #[test]
    fn a_folder_comes_with_the_fleets_above_it_and_links_come_last() {
        let entries = [
            ("100644", "a/b/x.yaml"),
            ("120000", "a/b/link"),
            ("100755", "a/b/z.sh"),
            ("100644", "a/jvp.yaml"),
            ("100644", "a/other.yaml"),
            ("100644", "ab/x.yaml"),
            ("100644", "jvp.yaml"),
            ("160000", "a/b/module"),
        ];
        let names = ["a/b/x.yaml", "a/b/z.sh", "a/jvp.yaml", "jvp.yaml", "a/b/link"];
        assert_eq!(chosen(&entries, "a/b").unwrap(), names);
        assert!(matches!(chosen(&entries, "c"), Err(Failure::NoPath { .. })));
        assert!(matches!(chosen(&entries, "a/other.yaml"), Err(Failure::NoPath { .. })), "a file is no folder");
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["../x", "/etc/x", "a/../../x", "a//x", ".git/config", "a/.GIT/hooks/x", "a/./x/../../y"] {
            assert!(matches!(chosen(&[("100644", name)], ""), Err(Failure::Entry { .. })), "{name}");
        }
    }

    #[test]
    fn nothing_is_written_through_a_link_and_a_short_answer_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let blob = |path: &str, link| Blob { path: path.into(), id: ID.to_owned(), link };
        let (to, out) = (dir.path().join("to"), dir.path().join("out"));
        let answer = |texts: &[&str]| -> Vec<u8> {
            texts.iter().flat_map(|text| format!("{ID} blob {}\n{text}\n", text.len()).into_bytes()).collect()
        };
        // A commit that has the link and a file below it, which only a forged one can.
        let blobs = [blob("a/x", false), blob("a", true)];
        let error = write(&blobs, answer(&["text", &out.display().to_string()]).as_slice(), &to, "c").unwrap_err();
        assert!(matches!(error, Failure::Entry { .. }), "{error}");
        assert!(!out.exists());
        let cut = format!("{ID} blob 100\nhalf");
        let error = write(&[blob("b", false)], cut.as_bytes(), &dir.path().join("two"), "c").unwrap_err();
        assert!(error.to_string().contains("not there whole"), "{error}");
        let missing = format!("{ID} missing\n");
        assert!(write(&[blob("b", false)], missing.as_bytes(), &dir.path().join("three"), "c").is_err());
    }
}
