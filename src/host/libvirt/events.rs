//! libvirt's events: which are asked for, and what each says of where to look.
//!
//! Nothing is read here, and no event is trusted. libvirt's own thread puts hints into a set and does nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use tokio::sync::Notify;
use virt::sys;

use super::calls::{Ask, Calls, On};
use super::connection::Connection;
use super::error::{INVALID_ARG, own};
use super::ffi::{Event, Listener, Source};
use super::read::{LIMIT, failed};
use super::workers::{Thread, workers};
use crate::host::events::Hub;
use crate::host::{ErrorKind, Hint, HostError, REBOOTED};
use crate::observe::Target;

/// What is asked for, and the words for it where the event has none of its own.
///
/// Left out is what says nothing of what a manifest can say: clocks, balloons, graphics clients, the progress of migrations.
const EVENTS: &[(Source, u32, &str)] = &[
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, "lifecycle"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_REBOOT, REBOOTED),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_WATCHDOG, "watchdog"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, "io-error"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_CONTROL_ERROR, "control-error"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_DISK_CHANGE, "disk-changed"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, "tray"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_PMWAKEUP, "woke-up"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_PMSUSPEND, "fell-asleep"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_PMSUSPEND_DISK, "hibernated"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, "device-removed"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, "block-job"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_TUNABLE, "tuned"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, "agent"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, "device-added"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, "device-removal-failed"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, "metadata"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE, "memory-device"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_NIC_MAC_CHANGE, "mac-changed"),
    (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_VCPU_REMOVED, "vcpu-removed"),
    (Source::Network, sys::VIR_NETWORK_EVENT_ID_LIFECYCLE, "lifecycle"),
    (Source::Network, sys::VIR_NETWORK_EVENT_ID_METADATA_CHANGE, "metadata"),
    (Source::Pool, sys::VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, "lifecycle"),
    (Source::Pool, sys::VIR_STORAGE_POOL_EVENT_ID_REFRESH, "refreshed"),
    (Source::Secret, sys::VIR_SECRET_EVENT_ID_LIFECYCLE, "secret"),
    (Source::Secret, sys::VIR_SECRET_EVENT_ID_VALUE_CHANGED, "secret"),
    (Source::NodeDevice, sys::VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE, "node-device"),
    (Source::NodeDevice, sys::VIR_NODE_DEVICE_EVENT_ID_UPDATE, "node-device"),
];

/// libvirt's numbers of what happens in a lifecycle, in their order.
const DOMAIN: &[&str] =
    &["defined", "undefined", "started", "suspended", "resumed", "stopped", "shut-down", "fell-asleep", "crashed"];
const NETWORK: &[&str] = &["defined", "undefined", "started", "stopped"];
const POOL: &[&str] = &["defined", "undefined", "started", "stopped", "built", "deleted"];

/// What there are no events of at the moment, and why.
pub(super) type Missing = BTreeMap<Source, HostError>;

/// Asks a node for its events.
#[async_trait]
pub(super) trait Registrar: Send + Sync {
    /// Opens a connection and asks for all events on it.
    async fn open(&self, hub: &Arc<Hub>) -> Result<Registration, HostError>;

    /// Asks for all events anew, on the connection that there is.
    async fn again(&self, registration: &Registration, hub: &Arc<Hub>) -> Result<Missing, HostError>;

    /// Where the node is.
    fn uri(&self) -> &str;
}

#[async_trait]
impl Registrar for Arc<Calls> {
    async fn open(&self, hub: &Arc<Hub>) -> Result<Registration, HostError> {
        let (listener, broken) = (listener(hub), Arc::<Broken>::default());
        let told = Arc::clone(&broken);
        let ask = Ask { on: On::Own, ..Ask::within(LIMIT) };
        let registering = self.call(ask, move |cx| {
            let connection = Lease(Some(cx.connection()));
            let broken = Arc::clone(&told);
            // Drivers in this process break with nobody.
            if let Err(error) = cx.connection().on_break(Arc::new(move |reason| broken.tell(reason))) {
                tracing::debug!(%error, "nobody tells when the connection breaks");
            }
            let missing = register_all(&cx.connection(), &listener, || cx.deserted())?;
            Ok((connection, missing))
        });
        let (connection, missing) = registering.await?;
        Ok(Registration { connection, missing, broken })
    }

    async fn again(&self, registration: &Registration, hub: &Arc<Hub>) -> Result<Missing, HostError> {
        let Some(connection) = registration.connection.0.clone() else { return Ok(Missing::new()) };
        let listener = listener(hub);
        let ask = Ask { on: On::This(connection), ..Ask::within(LIMIT) };
        self.call(ask, move |cx| register_all(&cx.connection(), &listener, || cx.deserted())).await
    }

    fn uri(&self) -> &str {
        Calls::uri(self)
    }
}

/// Whom libvirt tells.
fn listener(hub: &Arc<Hub>) -> Listener {
    let hub = Arc::clone(hub);
    Arc::new(move |event, name, what| {
        if let Some((hint, why)) = read(event, name, what) {
            hub.hint(&hint, why);
        }
    })
}

/// A connection on which events were asked for.
pub(super) struct Registration {
    pub(super) connection: Lease,
    /// What could not be asked for.
    pub(super) missing: Missing,
    /// Whether it broke.
    pub(super) broken: Arc<Broken>,
}

/// A connection that is let go of on a thread that may block: closing it says goodbye to libvirt, which may hang.
pub(super) struct Lease(pub(super) Option<Arc<Connection>>);

impl Drop for Lease {
    fn drop(&mut self) {
        let connection = self.0.take();
        workers().submit(Box::new(move || {
            // Where it is the last, no call is stuck on it.
            if let Some(connection) = connection.and_then(Arc::into_inner) {
                connection.close();
            }
            Thread::Goes
        }));
    }
}

/// Whether a connection broke.
#[derive(Default)]
pub(super) struct Broken {
    broke: AtomicBool,
    reason: AtomicU32,
    wake: Notify,
}

impl Broken {
    /// Called on libvirt's own thread.
    pub(super) fn tell(&self, reason: u32) {
        self.reason.store(reason, Ordering::Relaxed);
        self.broke.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Waits until it breaks.
    pub(super) async fn wait(&self) {
        while !self.broke.load(Ordering::Acquire) {
            self.wake.notified().await;
        }
    }

    /// Why it broke, if it did.
    pub(super) fn reason(&self) -> Option<&'static str> {
        if !self.broke.load(Ordering::Acquire) {
            return None;
        }
        let hung = self.reason.load(Ordering::Relaxed) == sys::VIR_CONNECT_CLOSE_REASON_KEEPALIVE;
        Some(if hung { "hung" } else { "closed" })
    }
}

/// Asks for all events, each by itself: a daemon that does one kind of object may be away. The answer is what can't be had now; an
/// error, that the connection is of no use.
fn register_all(connection: &Connection, listener: &Listener, stop: impl Fn() -> bool) -> Result<Missing, HostError> {
    let mut missing = Missing::new();
    for &(source, id, _) in EVENTS {
        if stop() {
            return Err(own(ErrorKind::Unreachable, "nobody waited for it"));
        }
        if missing.contains_key(&source) {
            continue;
        }
        let Err(error) = connection.listen(Event { source, id }, listener).map_err(failed) else { continue };
        if !connection.usable() {
            return Err(error);
        }
        if !never(&error) {
            missing.insert(source, error);
        }
    }
    Ok(missing)
}

/// Whether an event never comes from that libvirt: one too old for it, or a driver without.
fn never(error: &HostError) -> bool {
    error.kind == ErrorKind::Unsupported || error.code == INVALID_ARG
}

/// Where an event says to look, and the word for it.
fn read(event: Event, name: &str, what: i32) -> Option<(Hint, &'static str)> {
    let word = EVENTS.iter().find(|row| (row.0, row.1) == (event.source, event.id)).map_or("changed", |row| row.2);
    let lifecycle = |words: &[&'static str]| {
        let what = usize::try_from(what).ok();
        what.and_then(|what| words.get(what)).copied().unwrap_or(word)
    };
    let name = name.to_owned();
    Some(match event.source {
        Source::Domain => (Hint::Object(Target::Domain(name)), lifecycle(DOMAIN)),
        Source::Network => (Hint::Object(Target::Network(name)), lifecycle(NETWORK)),
        Source::Pool => (Hint::Object(Target::Pool(name)), lifecycle(POOL)),
        // Network devices come and go with each guest's interfaces, and nothing is asked of them.
        Source::NodeDevice if name.starts_with("net_") => return None,
        Source::Secret | Source::NodeDevice => (Hint::Node, word),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(source: Source, id: u32) -> Event {
        Event { source, id }
    }

    #[test]
    fn an_event_is_a_place_to_look_and_a_word() {
        let domain = |name: &str| Hint::Object(Target::Domain(name.to_owned()));
        let of = |id, what| read(event(Source::Domain, id), "web", what);
        assert_eq!(of(sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, 5), Some((domain("web"), "stopped")));
        assert_eq!(of(sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, 99), Some((domain("web"), "lifecycle")), "newer than this list");
        assert_eq!(of(sys::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, -1), Some((domain("web"), "device-removed")));
        let network = Hint::Object(Target::Network("lan".to_owned()));
        assert_eq!(read(event(Source::Network, 0), "lan", 3), Some((network, "stopped")));
        let pool = Hint::Object(Target::Pool("fast".to_owned()));
        assert_eq!(read(event(Source::Pool, 1), "fast", -1), Some((pool, "refreshed")));
        assert_eq!(read(event(Source::Secret, 0), "", 0), Some((Hint::Node, "secret")));
        assert_eq!(read(event(Source::NodeDevice, 0), "net_vnet3_fe_54_00_00_00_01", 0), None);
        assert_eq!(read(event(Source::NodeDevice, 0), "usb_1_2", 0), Some((Hint::Node, "node-device")));
    }
}
