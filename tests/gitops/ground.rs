//! A state directory, repositories and folders to be broken.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use jvp::gitops::{Checkout, Options, Tree};
use jvp::store::StateDir;
use tempfile::TempDir;

pub use crate::repo::{Repo, write};

pub const QUIET: Duration = Duration::from_millis(100);

/// A folder for all that a test needs.
pub struct Ground(TempDir);

impl Ground {
    pub fn new() -> Self {
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    pub fn state(&self) -> StateDir {
        StateDir::open(&self.path("state")).unwrap()
    }

    pub fn open(&self, source: &str, options: Options) -> Checkout {
        Checkout::open(source.parse().unwrap(), &self.state(), options).unwrap()
    }

    /// A checkout of the repository `site`.
    pub fn site(&self, fragment: &str) -> Checkout {
        self.open(&self.url(fragment), Options::default())
    }

    pub fn url(&self, fragment: &str) -> String {
        format!("git+file://{}{fragment}", self.path("site").display())
    }

    pub fn folder(&self, name: &str) -> Checkout {
        self.open(self.path(name).to_str().unwrap(), Options::default())
    }

    pub fn repository(&self, name: &str) -> Repo {
        Repo::new(self.path(name))
    }
}

/// A manifest of a key pair.
pub fn key(name: &str) -> String {
    format!("apiVersion: jvp.dev/v1alpha1\nkind: KeyPair\nmetadata: {{name: {name}}}\nspec: {{generate: true}}\n")
}

/// The names of a tree's objects.
pub fn names(tree: &Tree) -> Vec<String> {
    assert!(tree.set.diagnostics.is_empty(), "{:?}", tree.set.diagnostics);
    tree.set.documents.iter().map(|document| document.object.name.to_string()).collect()
}

/// Runs a test of this binary again, in an environment of its own: `before` is what is started in its place, with the test as its last words.
pub fn again(before: &[&str], test: &str, environment: &[(&str, &str)]) {
    let own = std::env::current_exe().unwrap();
    let words: Vec<&str> = before.iter().copied().chain([own.to_str().unwrap(), "--exact", test, "--nocapture"]).collect();
    let output = Command::new(words[0]).args(&words[1..]).envs(environment.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// Where the test in `again` is to work; nothing in a run of all tests.
pub fn told(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

/// Whether tests that need root were left out by a word.
pub fn left_out() -> bool {
    let unit = std::env::var("JVP_TEST_LEVEL").is_ok_and(|level| level == "unit");
    if unit {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
    }
    unit
}
