//! A terminal for a program under test: it types, and sees what is shown.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests: what fails must be loud, and each uses its part"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::tcgetattr;

/// A terminal.
pub struct Pty {
    master: File,
    slave: File,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Pty {
    pub fn new() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let flags = i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).unwrap();
        let slave = File::options().read(true).write(true).custom_flags(flags).open(name).unwrap();
        let master = File::from(master);
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (mut from, to) = (master.try_clone().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                to.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { master, slave, seen }
    }

    /// Starts a program on it.
    pub fn spawn(&self, command: &mut Command) -> Child {
        let end = || Stdio::from(self.slave.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()
    }

    /// Types.
    pub fn types(&mut self, bytes: &[u8]) {
        self.master.write_all(bytes).unwrap();
    }

    /// What was shown so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// Waits until this was shown.
    #[track_caller]
    pub fn shows(&self, what: &str) {
        for _ in 0..1200 {
            if self.text().contains(what) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("`{what}` was never shown:\n{}", self.text());
    }

    /// Its modes, in words: equal words are equal modes.
    pub fn modes(&self) -> String {
        let modes = tcgetattr(&self.slave).unwrap();
        format!("{:?} {:?} {:?} {:?}", modes.input_modes, modes.output_modes, modes.control_modes, modes.local_modes)
    }
}
