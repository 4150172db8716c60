//! A console of a fake domain: its guest says its name, gives back what is typed, and ends at Ctrl-D.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::host::{Console, ErrorKind, HostError};

use super::error::{invalid, libvirt, no_domain};
use super::state::State;
use super::tree::Element;

/// What ends a fake guest's console.
const END: u8 = 4;

/// An open console.
pub(super) struct FakeConsole {
    line: Mutex<Line>,
    wake: Condvar,
}

struct Line {
    bytes: VecDeque<u8>,
    ended: bool,
}

impl FakeConsole {
    /// The console of a domain of this name.
    pub(super) fn new(name: &str) -> Self {
        let greeting = format!("{name} login: ");
        Self { line: Mutex::new(Line { bytes: greeting.into_bytes().into(), ended: false }), wake: Condvar::new() }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Console for FakeConsole {
    fn receive(&self, buffer: &mut [u8]) -> Result<usize, HostError> {
        let mut line = self.line();
        while line.bytes.is_empty() && !line.ended {
            line = self.wake.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
        let count = buffer.len().min(line.bytes.len());
        for (slot, byte) in buffer.iter_mut().zip(line.bytes.drain(..count)) {
            *slot = byte;
        }
        Ok(count)
    }

    fn send(&self, bytes: &[u8]) -> Result<(), HostError> {
        let mut line = self.line();
        for byte in bytes {
            match *byte {
                END => line.ended = true,
                byte => line.bytes.push_back(byte),
            }
        }
        self.wake.notify_all();
        Ok(())
    }

    fn close(&self) {
        self.line().ended = true;
        self.wake.notify_all();
    }
}

impl State {
    /// The name of a domain whose console can be opened.
    pub(super) fn domain_console(&self, uuid: Uuid) -> Result<String, HostError> {
        let found = self.domains.iter().find(|(_, domain)| domain.uuid == uuid);
        let (name, domain) = found.ok_or_else(|| no_domain(format!("no domain with matching uuid '{uuid}'")))?;
        let live = domain.live.as_deref().ok_or_else(|| invalid("domain is not running"))?;
        let devices = Element::parse(live).ok().and_then(|document| document.child("devices").cloned());
        let there = devices.is_some_and(|devices| devices.child("console").is_some() || devices.child("serial").is_some());
        if there { Ok(name.clone()) } else { Err(libvirt(ErrorKind::Failed, 1, "cannot find character device <null>")) }
    }
}
