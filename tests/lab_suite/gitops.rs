//! The page of `examples/gitops`, followed to the letter on a real libvirt: from a commit to a running guest, and back by `git revert`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::checkout::Answer;
use crate::checkouts::{copy, images};
use crate::support::{Lab, left_out, repository, tiny};

/// Longer than anything on the page takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(4);

/// A reader of the page: where they are, and what they have running.
struct Reader {
    root: tempfile::TempDir,
    at: PathBuf,
    daemon: Option<Child>,
}

impl Reader {
    /// With `jvp` and `virsh` as they are called there, and the folder of examples beside.
    fn new(lab: &Lab) -> Self {
        let root = tempfile::Builder::new().prefix("jvp-gitops-").tempdir().unwrap();
        let (at, bin) = (root.path().to_owned(), root.path().join("bin"));
        fs::create_dir(&bin).unwrap();
        let (uri, state) = (lab.uri("a"), root.path().join("state"));
        let jvp = format!("{} -c '{uri}' --state-dir {}", env!("CARGO_BIN_EXE_jvp"), state.display());
        for (name, command) in [("jvp", jvp), ("virsh", format!("/usr/bin/virsh -q -c '{uri}'"))] {
            fs::write(bin.join(name), format!("#!/bin/sh\nexec {command} \"$@\"\n")).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let example = root.path().join("examples/gitops");
        copy(&repository("examples/gitops"), &example);
        images(&example, &tiny(false));
        Self { root, at, daemon: None }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        let path = format!("{}:{}", self.root.path().join("bin").display(), std::env::var("PATH").unwrap());
        command.args(["-c", line]).current_dir(&self.at).env("PATH", path).stdin(Stdio::null());
        command.env_remove("LIBVIRT_DEFAULT_URI").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ann").env(format!("GIT_{who}_EMAIL"), "ann@lab");
        }
        command
    }

    fn log(&self) -> PathBuf {
        self.root.path().join("daemon.log")
    }

    /// Does what a line says, again and again until it prints what the page shows.
    fn does(&mut self, line: &str, shown: &[String]) {
        let line = line.replace("/srv/", &format!("{}/", self.root.path().display()));
        if let Some(folder) = line.strip_prefix("cd ") {
            self.at = self.at.join(folder);
        } else if let Some(line) = line.strip_suffix(" &") {
            let log = fs::File::create(self.log()).unwrap();
            self.daemon = Some(self.command(&format!("exec {line}")).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        } else {
            let began = Instant::now();
            loop {
                let answer = Answer::from(self.command(&line).output().unwrap());
                let missing = shown.iter().find(|shown| !answer.text.lines().any(|line| is_shown(line, shown, self.root.path())));
                match missing {
                    None if answer.code == Some(0) => return,
                    Some(_) if began.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(300)),
                    _ => {
                        let log = fs::read_to_string(self.log()).unwrap_or_default();
                        panic!("$ {line}\n{}\nmissing: {missing:?}\n{log}", answer.text);
                    }
                }
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Whether a line is the one that the page shows, word by word; `…` stands for any word, at the end for any words.
fn is_shown(line: &str, shown: &str, root: &Path) -> bool {
    let shown = shown.replace("/srv/", &format!("{}/", root.display()));
    let (mut line, mut shown) = (line.split_whitespace(), shown.split_whitespace().peekable());
    while let Some(word) = shown.next() {
        let is = line.next();
        if word == "…" && shown.peek().is_none() {
            return is.is_some();
        }
        if is.is_none_or(|is| word != "…" && word != is) {
            return false;
        }
    }
    line.next().is_none()
}

#[test]
fn the_page_of_gitops_is_followed_from_a_commit_to_a_running_guest_and_back() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let mut reader = Reader::new(&lab);
    let page = fs::read_to_string(repository("examples/gitops/README.md")).unwrap();
    let commands = crate::page::commands(&page);
    assert!(commands.len() > 30, "{}", commands.len());
    for (_, line, shown) in commands {
        reader.does(&line, &shown);
    }
    // Each commit was taken once, whatever how often it was asked for; and nothing is left to be done.
    let mut daemon = reader.daemon.take().unwrap();
    assert!(Command::new("kill").args(["-TERM", &daemon.id().to_string()]).status().unwrap().success());
    assert!(daemon.wait().unwrap().success());
    let log = fs::read_to_string(reader.log()).unwrap();
    let read = log.lines().filter(|line| line.contains("manifests read")).count();
    assert!((6..=8).contains(&read), "{read} of 8 commits\n{log}");
    reader.does("jvp plan --detailed-exitcode", &[]);
}
