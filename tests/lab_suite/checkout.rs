//! A checkout of manifests with a state directory of its own, and the program run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A folder of manifests and a state directory beside it.
pub struct Checkout {
    root: TempDir,
    env: Vec<(String, String)>,
    within: Vec<String>,
}

/// What a run of the program came to.
pub struct Answer {
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output, then standard error.
    pub text: String,
}

impl Answer {
    /// Fails loudly where the exit code is another one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.text);
        self
    }

    /// Fails loudly where it doesn't say so.
    #[track_caller]
    pub fn says(self, what: &str) -> Self {
        assert!(self.text.contains(what), "`{what}` is not in:\n{}", self.text);
        self
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Self { code: output.status.code(), text: format!("{out}{err}") }
    }
}

/// What every set of these tests stands on: a Fleet, a Node `host` behind this URI, and a pool, which goes when it is deleted.
pub fn ground(uri: &str, fleet: &str, pool: &str, path: &Path) -> String {
    format!(
        r#"apiVersion: jvp.dev/v1alpha1
kind: Fleet
metadata: {{name: lab}}
spec: {{id: {fleet}}}
---
apiVersion: jvp.dev/v1alpha1
kind: Node
metadata: {{name: host}}
spec: {{uri: "{uri}", defaults: {{accelerator: TCG}}}}
---
apiVersion: jvp.dev/v1alpha1
kind: StoragePool
metadata: {{name: {pool}}}
spec: {{type: Dir, target: {{path: {path}}}}}
lifecycle: {{reclaimPolicy: Delete}}
"#,
        path = path.display(),
    )
}

impl Checkout {
    /// With one file of manifests.
    pub fn new(manifests: &str) -> Self {
        let root = tempfile::Builder::new().prefix("jvp-checkout-").tempdir().expect("a folder can be made");
        std::fs::create_dir(root.path().join("checkout")).expect("a folder can be made");
        let checkout = Self { root, env: Vec::new(), within: Vec::new() };
        checkout.write("all.yaml", manifests);
        checkout
    }

    /// With a variable in the environment of every run.
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With every run started by this command, to which the program is added.
    pub fn within(mut self, command: &[&str]) -> Self {
        self.within = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The folder of the manifests.
    pub fn folder(&self) -> PathBuf {
        self.root.path().join("checkout")
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    /// Where a daemon's log goes.
    pub fn log(&self) -> PathBuf {
        self.root.path().join("daemon.log")
    }

    /// Writes a file in the folder of the manifests.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder().join(name), text).expect("a file can be written");
    }

    /// Copies a file into the folder of the manifests.
    pub fn copy(&self, from: &Path, name: &str) {
        std::fs::copy(from, self.folder().join(name)).expect("a file can be copied");
    }

    /// Forgets all state.
    pub fn lose_state(&self) {
        match std::fs::remove_dir_all(self.state()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
    }

    /// Forgets the ledger, its published copy and the journal; keys, which can't be made again, are kept.
    pub fn lose_ledger(&self) {
        for name in ["ledger", "ledger.json", "journal"] {
            let path = self.state().join(name);
            let gone = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            match gone {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
                _ => {}
            }
        }
    }

    /// The program, to be run in the folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_jvp");
        let mut command = match self.within.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.arg("--state-dir").arg(self.state()).args(args).current_dir(self.folder());
        command.env_remove("JVP_FAILPOINT").env_remove("LIBVIRT_DEFAULT_URI").envs(self.env.iter().cloned());
        command.stdin(std::process::Stdio::null());
        command
    }

    /// Runs the program.
    pub fn jvp(&self, args: &[&str]) -> Answer {
        self.command(args).output().expect("the program can be started").into()
    }

    /// Runs the program, which is killed at its `point`-th fail point if it gets that far. Tells whether it was.
    pub fn killed(&self, args: &[&str], point: u32) -> bool {
        let mut command = self.command(args);
        let answer: Answer =
            command.env("JVP_FAILPOINT", format!("journal:{point}:kill")).output().expect("the program can be started").into();
        match answer.code {
            None => true,
            Some(0) => false,
            Some(code) => panic!("exit {code} on the way to fail point {point}:\n{}", answer.text),
        }
    }
}
