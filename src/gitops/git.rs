//! The command `git`, with our configuration and nobody else's.
//!
//! Each call is a process group of its own with a deadline. What a repository, a commit or a user could have git execute is off:
//! no system's and no user's configuration, no hooks, no filters, no submodules, no helpers, no transport but the one that was
//! written, and the environment is made anew.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::Failure;

/// What git may take from our environment: where programs are, who we are, and the way out.
const PASSED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// What git gets instead of configurations.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.askPass=",
    "core.fsync=committed,reference",
    "credential.helper=",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "transfer.fsckObjects=true",
    // Packs, not loose files: one flush for all of a fetch.
    "fetch.unpackLimit=1",
    "maintenance.auto=false",
    "gc.autoDetach=false",
    "gc.pruneExpire=now",
    // Other signatures than ssh's are checked by programs with a configuration of their own.
    "gpg.program=/bin/false",
    "gpg.openpgp.program=/bin/false",
    "gpg.x509.program=/bin/false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
];

/// ssh asks nobody anything and notices when the other side is gone.
const SSH: &str = "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=3";

/// So much of what git says is kept.
const SAID: usize = 4096;
/// Between asking git to end and ending it.
const GRACE: Duration = Duration::from_secs(2);

/// git on one repository.
#[derive(Debug, Clone)]
pub(super) struct Git {
    /// The repository: a bare one of ours.
    pub(super) folder: PathBuf,
    /// The one protocol that it may speak; empty for none.
    pub(super) protocol: String,
    /// How long one call may take.
    pub(super) deadline: Duration,
    /// Variables besides ours.
    pub(super) environment: Vec<(&'static str, OsString)>,
}

/// What git answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: ExitStatus,
    pub(super) output: Vec<u8>,
    /// The end of what it said besides.
    pub(super) said: String,
}

impl Answer {
    /// The output, where git says that all went well.
    pub(super) fn good(self, what: &'static str) -> Result<Vec<u8>, Failure> {
        if self.status.success() { Ok(self.output) } else { Err(self.failed(what)) }
    }

    /// What git said, as a failure of `what`.
    pub(super) fn failed(&self, what: &'static str) -> Failure {
        let said = if self.said.is_empty() { self.status.to_string() } else { self.said.clone() };
        Failure::Git { what, said }
    }
}

impl Git {
    /// git on the repository at `folder`, which speaks `protocol` alone.
    pub(super) fn new(folder: PathBuf, protocol: &str, deadline: Duration) -> Self {
        Self { folder, protocol: protocol.to_owned(), deadline, environment: Vec::new() }
    }

    fn command(&self, args: &[&OsStr]) -> Command {
        let mut command = Command::new("git");
        command.env_clear();
        command.envs(PASSED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command
            .env("LC_ALL", "C")
            .env("GIT_DIR", &self.folder)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            // Empty would allow all.
            .env("GIT_ALLOW_PROTOCOL", if self.protocol.is_empty() { "none" } else { &self.protocol })
            .env("GIT_SSH_COMMAND", SSH)
            .env("GIT_SSH_VARIANT", "ssh")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        for setting in SETTINGS {
            command.arg("-c").arg(setting);
        }
        command.args(args).current_dir("/").process_group(0).kill_on_drop(true);
        command
    }

    /// Calls git and waits for its end.
    pub(super) async fn call<S: AsRef<OsStr>>(&self, what: &'static str, args: &[S]) -> Result<Answer, Failure> {
        self.call_with(what, args, &[]).await
    }

    /// The output of a call that has to go well.
    pub(super) async fn ask<S: AsRef<OsStr>>(&self, what: &'static str, args: &[S]) -> Result<Vec<u8>, Failure> {
        self.call(what, args).await?.good(what)
    }

    /// Calls git with `input` and waits for its end.
    pub(super) async fn call_with<S: AsRef<OsStr>>(
        &self,
        what: &'static str,
        args: &[S],
        input: &[u8],
    ) -> Result<Answer, Failure> {
        let (mut child, group) = self.start(args)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A git that ends before it read all says why by itself.
                let _ = stdin.write_all(input).await;
            }
        };
        let all = async { tokio::join!(feed, whole(stdout), tail(stderr), child.wait()) };
        match tokio::time::timeout(self.deadline, all).await {
            Ok(((), output, said, status)) => {
                group.ended();
                let status = status.map_err(Failure::io("failed to wait for git in", &self.folder))?;
                Ok(Answer { status, output: output.map_err(Failure::io("failed to read what git gave of", &self.folder))?, said })
            }
            Err(_) => {
                group.end(&mut child).await;
                Err(Failure::Deadline { what, after: self.deadline })
            }
        }
    }

    /// Starts git with pipes; its group ends when the second is dropped.
    pub(super) fn start<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<(Child, Group), Failure> {
        let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
        let mut command = self.command(&args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| Failure::NoGit { reason: error.to_string() })?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok((child, Group(group)))
    }

    /// Makes the repository, a bare one without anything of a template's.
    pub(super) async fn init(&self, format: &str) -> Result<(), Failure> {
        let format = format!("--object-format={format}");
        self.ask("init", &["init", "--quiet", "--bare", "--template=", &format]).await.map(|_| ())
    }

    /// Takes away what a git left that was killed or had no room: locks, and packs that aren't whole. Nobody else works in this
    /// repository.
    pub(super) fn clear(&self) {
        let lock = |name: &Path| name.extension().is_some_and(|ext| ext == "lock");
        let half = |name: &Path| name.as_os_str().as_encoded_bytes().starts_with(b"tmp_");
        for (folder, packs) in [("", false), ("refs/jvp", false), ("objects/pack", true)] {
            for entry in std::fs::read_dir(self.folder.join(folder)).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let left = if packs { half(name.as_ref()) } else { lock(name.as_ref()) };
                if left {
                    // What can't be taken away makes git say so.
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        }
    }
}

/// The process group of a git, which is killed when this is dropped before git's end.
#[derive(Debug)]
pub(super) struct Group(Option<Pid>);

impl Group {
    /// git has ended, and its id may be another's now.
    pub(super) fn ended(mut self) {
        self.0 = None;
    }

    /// Asks the group to end, so that it takes its locks away, and ends it where it doesn't.
    async fn end(self, child: &mut Child) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::TERM);
            let _ = tokio::time::timeout(GRACE, child.wait()).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn whole(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The end of what a pipe gives, on one line.
async fn tail(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        let mut buffer = [0; SAID];
        while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
            kept.extend_from_slice(&buffer[..count]);
            let much = kept.len().saturating_sub(SAID);
            kept.drain(..much);
        }
    }
    one_line(&String::from_utf8_lossy(&kept))
}

/// Lines as one, without git's own words of how bad they are, and without control characters.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line =
            ["fatal: ", "error: ", "remote: "].iter().fold(line.trim(), |line, word| line.strip_prefix(word).unwrap_or(line));
        line.chars().filter(|c| !c.is_control()).collect::<String>()
    });
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_becomes_one_line() {
        assert_eq!(one_line("fatal: no\n\n remote: error: \x1b[31mx\n"), "no; error: [31mx");
    }

    #[tokio::test]
    async fn a_git_that_does_not_end_is_ended_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let mut git = Git::new(dir.path().join("r"), "", Duration::from_secs(20));
        git.init("sha1").await.unwrap();
        git.deadline = Duration::from_millis(500);
        let marker = format!("30.{:09}", std::process::id());
        let alias = format!("alias.wait=!sleep {marker} & sleep {marker}");
        let failure = git.call("wait", &["-c", &alias, "wait"]).await.unwrap_err();
        assert!(matches!(failure, Failure::Deadline { .. }), "{failure}");
        let sleeps = || {
            let entries = std::fs::read_dir("/proc").unwrap().flatten();
            entries
                .filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok())
                .any(|line| line.contains(&marker))
        };
        for _ in 0..100 {
            if !sleeps() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("what git started runs still");
    }
}
