//! One process at a time: the kernel's lock on a file of the state directory.
//!
//! The lock is the kernel's alone, so a dead holder holds nothing. What stands in the file is for people.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::StoreError;

const NAME: &str = "lock";
const PAUSE: Duration = Duration::from_millis(100);

/// Who holds the ledger, as the holder wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// What it does, such as `jvp apply`.
    pub command: String,
    /// Since when.
    pub since: Timestamp,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return f.write_str("another process");
        }
        write!(f, "`{}` (process {}, since {})", self.command, self.pid, self.since.strftime("%Y-%m-%d %H:%M:%SZ"))
    }
}

/// The lock, held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Takes the lock of the state directory, waiting up to `timeout` for whoever has it.
    pub(super) fn take(state: &Path, command: &str, now: Timestamp, timeout: Duration) -> Result<Self, StoreError> {
        let path = state.join(NAME);
        let io = |error| StoreError::Io { what: "failed to lock", path: path.clone(), source: error };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default())
            .open(&path)
            .map_err(io)?;
        let started = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if started.elapsed() < timeout => {
                    std::thread::sleep(PAUSE.min(timeout.saturating_sub(started.elapsed())));
                }
                Err(Errno::WOULDBLOCK) => return Err(StoreError::Held { path: state.to_owned(), holder: told(&mut file) }),
                Err(Errno::INTR) => {}
                Err(error) => return Err(io(error.into())),
            }
        }
        let holder = Holder { pid: std::process::id(), command: command.to_owned(), since: now };
        let text = serde_json::to_string(&holder).unwrap_or_default();
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{text}")).map_err(io)?;
        Ok(Self(file))
    }

    /// Who holds the lock of the state directory, if anybody does. Writes nothing.
    pub(super) fn holder(state: &Path) -> Option<Holder> {
        let mut file = File::open(state.join(NAME)).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => Some(told(&mut file)),
            _ => {
                let _ = flock(&file, FlockOperation::Unlock);
                None
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The name of a holder that is gone would only mislead.
        let _ = self.0.set_len(0);
        // By closing alone it would be let go of only once each child that was just forked, and runs no program of its own yet, has closed
        // its copy too.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// What the holder wrote; it may be just about to.
fn told(file: &mut File) -> Holder {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(4096).read_to_string(&mut text));
    read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or(Holder {
        pid: 0,
        command: String::new(),
        since: Timestamp::UNIX_EPOCH,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_still_has_open_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let take = || Lock::take(folder.path(), "jvp apply", Timestamp::UNIX_EPOCH, Duration::ZERO).unwrap();
        let lock = take();
        // As a fork has it.
        let copy = lock.0.try_clone().unwrap();
        assert!(Lock::holder(folder.path()).is_some());
        drop(lock);
        assert_eq!(Lock::holder(folder.path()), None);
        drop(take());
        drop(copy);
    }
}
