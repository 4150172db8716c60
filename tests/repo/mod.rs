//! Git repositories as somebody has them who writes manifests.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A repository with a work tree, as somebody has it who writes manifests.
pub struct Repo(pub PathBuf);

impl Repo {
    /// A new one in a folder, which may have something in it.
    pub fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let repo = Self(folder);
        repo.git(["init", "--quiet", "--initial-branch=main"]);
        repo
    }

    pub fn git<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        let output = Command::new("git")
            .current_dir(&self.0)
            .args([
                "-c",
                "user.name=Ann",
                "-c",
                "user.email=ann@lab",
                "-c",
                "gpg.format=ssh",
                "-c",
                "maintenance.auto=false",
                "-c",
                "core.hooksPath=/dev/null",
            ])
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        write(&self.0.join(name), text);
    }

    /// Commits all there is, and gives the commit.
    pub fn commit(&self, subject: &str) -> String {
        self.git(["add", "--all", "."]);
        self.git(["commit", "--quiet", "--allow-empty", "-m", subject]);
        self.head()
    }

    pub fn head(&self) -> String {
        self.git(["rev-parse", "HEAD"])
    }
}

pub fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
