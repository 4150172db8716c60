//! VMs that run and wait for a start: when the next window opens in which they may be restarted, and whose guest rebooted just now.
//! Plain values; the time comes in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::manifest::{Opens, Spec};
use crate::name::ObjectRef;
use crate::resolve::Wanted;

/// So long after a guest's reboot it may be restarted for that: what comes later is no longer the same interruption.
const FRESH: Duration = Duration::from_mins(2);

/// What is known of VMs that wait for a start.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    opens: BTreeMap<ObjectRef, Timestamp>,
    rebooted: BTreeMap<ObjectRef, Instant>,
}

impl Restarts {
    /// A VM was found to wait for a start, or not.
    pub(super) fn found(&mut self, object: &ObjectRef, wanted: Option<&Wanted>, waits: bool, now: Timestamp) {
        self.opens.remove(object);
        let Some(Spec::VirtualMachine(spec)) = wanted.filter(|_| waits).map(|wanted| &*wanted.spec) else { return };
        let windows = spec.update_policy.as_ref().map(|policy| policy.windows.as_slice()).unwrap_or_default();
        if let Some(Opens::At(at)) = Opens::first(windows, now) {
            self.opens.insert(object.clone(), at.timestamp());
        }
    }

    /// Whether a window has opened since this was last asked.
    pub(super) fn opened(&mut self, now: Timestamp) -> bool {
        let before = self.opens.len();
        self.opens.retain(|_, at| *at > now);
        self.opens.len() < before
    }

    /// How long it is until the next window opens.
    pub(super) fn next(&self, now: Timestamp) -> Option<Duration> {
        let at = self.opens.values().min()?;
        Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
    }

    /// A guest rebooted.
    pub(super) fn reboots(&mut self, object: &ObjectRef, now: Instant) {
        self.rebooted.insert(object.clone(), now);
    }

    /// A VM is restarted, or there is nothing that it would be restarted for.
    pub(super) fn restarted(&mut self, object: &ObjectRef) {
        self.rebooted.remove(object);
    }

    /// VMs whose guests rebooted just now.
    pub(super) fn rebooted(&self, now: Instant) -> BTreeSet<ObjectRef> {
        let fresh = |at: &Instant| now.duration_since(*at) < FRESH;
        self.rebooted.iter().filter(|(_, at)| fresh(at)).map(|(object, _)| object.clone()).collect()
    }

    /// Forgets objects that are no longer there.
    pub(super) fn keep(&mut self, there: impl Fn(&ObjectRef) -> bool) {
        self.opens.retain(|object, _| there(object));
        self.rebooted.retain(|object, _| there(object));
    }
}
