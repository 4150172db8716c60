//! One connection to a node's libvirt: opened, asked whether it still stands, closed or left behind.
//!
//! It knows nothing of threads and deadlines. Opening and closing block.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virt::connect::Connect;
use virt::error::Error;

use super::error::{At, translate};
use super::{ffi, runtime, transport};
use crate::host::HostError;

/// Seconds between two pings of an idle connection.
const PING_SECONDS: i32 = 5;
/// Pings without an answer until the connection is given up.
const PINGS: u32 = 3;

/// What libvirt says of a transport that ended without a word.
const SILENT_END: &str = "annot recv data: : Connection reset by peer";

/// An open connection.
pub(super) struct Connection {
    /// Taken only when dropped.
    connect: Option<Connect>,
    /// A call on it never came back: neither closing nor freeing it is safe from being stuck as well.
    poisoned: AtomicBool,
    callbacks: Mutex<Callbacks>,
}

/// What libvirt calls back on. Each holds the connection open until it is taken back.
#[derive(Default)]
struct Callbacks {
    /// libvirt's number of each.
    events: BTreeMap<ffi::Event, i32>,
    closing: bool,
}

impl Connection {
    /// Opens a connection. Blocks for as long as libvirt likes.
    pub(super) fn open(uri: &str) -> Result<Self, HostError> {
        runtime::start()?;
        let opened = match Connect::open(Some(uri)) {
            // A Ctrl-C that comes in the instant before ssh is in a session of its own ends it with us meant alone.
            Err(error) if error.message().contains(SILENT_END) => Connect::open(Some(uri)),
            opened => opened,
        };
        let connect = opened.map_err(|error| translate(&error, At::Open))?;
        // Drivers in this process have no keep-alive, and need none.
        if let Err(error) = connect.set_keep_alive(PING_SECONDS, PINGS) {
            tracing::debug!(%error, "no keep-alive");
        }
        Ok(Self { connect: Some(connect), poisoned: AtomicBool::new(false), callbacks: Mutex::default() })
    }

    /// libvirt's own handle; none only while it is being dropped.
    pub(super) fn connect(&self) -> Option<&Connect> {
        self.connect.as_ref()
    }

    /// Whether it may be used: nothing is sent, so a hung libvirt shows only once its pings have failed.
    pub(super) fn usable(&self) -> bool {
        let alive = self.connect.as_ref().is_some_and(|connect| connect.is_alive().unwrap_or(false));
        alive && !self.poisoned.load(Ordering::Relaxed)
    }

    /// Marks it as one that is never used, closed or freed.
    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::Relaxed);
    }

    /// Has a listener told of an event, in place of who was told of it so far. Blocks.
    pub(super) fn listen(&self, event: ffi::Event, listener: &ffi::Listener) -> Result<(), Error> {
        let Some(connect) = &self.connect else { return Ok(()) };
        let mut callbacks = self.callbacks();
        if let Some(number) = callbacks.events.remove(&event) {
            ffi::deregister(connect, event, number);
        }
        let number = ffi::register(connect, event, Arc::clone(listener))?;
        callbacks.events.insert(event, number);
        Ok(())
    }

    /// Has somebody told, once, that the connection broke. For one only.
    pub(super) fn on_break(&self, told: ffi::Broken) -> Result<(), Error> {
        let Some(connect) = &self.connect else { return Ok(()) };
        ffi::register_close(connect, told)?;
        self.callbacks().closing = true;
        Ok(())
    }

    /// Closes it although it was poisoned, as the call on it came back after all. Blocks.
    pub(super) fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(connect) = self.connect.take() else { return };
        let callbacks = std::mem::take(&mut *self.callbacks());
        for (event, number) in callbacks.events {
            ffi::deregister(&connect, event, number);
        }
        if callbacks.closing {
            ffi::deregister_close(&connect);
        }
        ffi::close(connect);
    }

    fn callbacks(&self) -> MutexGuard<'_, Callbacks> {
        self.callbacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.poisoned.load(Ordering::Relaxed) {
            std::mem::forget(self.connect.take());
        } else {
            self.end();
        }
    }
}

/// What libvirt is told of a URI: as written, but ssh is kept from the terminal, and where there is none it must not wait for
/// somebody to type.
pub(super) fn for_libvirt(uri: &str) -> String {
    let uri = match transport::command() {
        Some(command) => with(uri, &["ssh"], "command", command),
        None => uri.to_owned(),
    };
    if std::io::stdin().is_terminal() { uri } else { with(&uri, &["ssh", "libssh", "libssh2"], "no_tty", "1") }
}

/// A URI of one of these transports with a parameter, unless it has it.
fn with(uri: &str, transports: &[&str], key: &str, value: &str) -> String {
    let scheme = uri.split_once("://").map_or("", |(scheme, _)| scheme);
    let fits = scheme.split_once('+').is_some_and(|(_, transport)| transports.contains(&transport));
    let (rest, fragment) = uri.split_once('#').map_or((uri, String::new()), |(rest, f)| (rest, format!("#{f}")));
    let query = rest.split_once('?').map(|(_, query)| query);
    if !fits || query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some(key))) {
        return uri.to_owned();
    }
    let sign = match query {
        None => "?",
        Some(query) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{rest}{sign}{key}={value}{fragment}")
}

/// Whether the daemon is on this machine, as far as the URI tells.
pub(super) fn is_local(uri: &str) -> bool {
    let scheme = uri.split("://").next().unwrap_or_default();
    let host = uri.split("://").nth(1).and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
    host.is_empty() && scheme.split_once('+').is_none_or(|(_, transport)| transport == "unix")
}

/// Whether the driver lives in this process, where each connection may be a world of its own that ends with it.
pub(super) fn in_process(uri: &str) -> bool {
    uri.starts_with("test:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reached_over_a_network_is_not_local() {
        for uri in ["qemu:///system", "qemu+unix:///system?socket=/run/libvirt/libvirt-sock", "test:///default"] {
            assert!(is_local(uri), "{uri}");
        }
        for uri in ["qemu+ssh://root@kvm1/system", "qemu://kvm1/system", "qemu+tls://kvm1/system", "qemu+ext:///system?command=x"]
        {
            assert!(!is_local(uri), "{uri}");
        }
    }

    #[test]
    fn a_listener_is_let_go_of_when_it_is_refused_and_when_the_connection_ends() {
        let connection = Connection::open("test:///default").unwrap();
        let listener: ffi::Listener = Arc::new(|_, _, _| {});
        let lifecycle = ffi::Event { source: ffi::Source::Domain, id: 0 };
        for _ in 0..3 {
            connection.listen(lifecycle, &listener).unwrap();
            assert_eq!(Arc::strong_count(&listener), 2, "it takes the place of the one before");
        }
        connection.listen(ffi::Event { source: ffi::Source::Domain, id: 4000 }, &listener).unwrap_err();
        connection.listen(ffi::Event { source: ffi::Source::Secret, id: 0 }, &listener).unwrap_err();
        assert_eq!(Arc::strong_count(&listener), 2);
        drop(connection);
        assert_eq!(Arc::strong_count(&listener), 1);
    }

    #[test]
    fn a_parameter_is_added_once_and_to_ssh_only() {
        let add = |uri| with(uri, &["ssh"], "no_tty", "1");
        assert_eq!(add("qemu+ssh://h/system"), "qemu+ssh://h/system?no_tty=1");
        assert_eq!(add("qemu+ssh://h/system?keyfile=k"), "qemu+ssh://h/system?keyfile=k&no_tty=1");
        assert_eq!(add("qemu+ssh://h/system?keyfile=k&"), "qemu+ssh://h/system?keyfile=k&no_tty=1");
        assert_eq!(add("qemu+ssh://h/system?no_tty=0"), "qemu+ssh://h/system?no_tty=0");
        assert_eq!(add("qemu+tls://h/system"), "qemu+tls://h/system");
        assert_eq!(add("qemu:///system"), "qemu:///system");
    }
}
