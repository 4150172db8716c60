//! Domains as they are acted on.
//!
//! Whether an act is wanted, and what it costs the guest, was settled by the plan. Two refusals stand here all the same, as libvirt
//! would lose data without a word: a domain that runs or has snapshots isn't undefined.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;
use virt::domain::Domain;
use virt::error::Error;
use virt::sys;

use super::calls::{Ask, Calls, Cx};
use super::domains::{agent_connected, power};
use super::error::{INTERNAL, INVALID_ARG, own};
use super::ffi;
use super::read::failed;
use crate::host::{ErrorKind, HostError};
use crate::manifest::{OnTimeout, ShutdownMethod};
use crate::observe::PowerState;

/// The namespace of the mark, and the prefix that libvirt writes for it.
const MARK: (&str, &str) = ("https://jvp.dev/xml/object/1", "jvp");
/// How long a request to a guest may take to be sent.
const REQUEST: Duration = Duration::from_secs(30);
/// How long cutting the power may take: libvirt gives QEMU fifteen seconds to end by itself.
pub(super) const DESTROY: Duration = Duration::from_mins(1);
/// How often a guest that was asked to stop is looked at.
const LOOK: Duration = Duration::from_millis(400);
/// How often it is asked again: one that still boots has not heard the first time.
const AGAIN: Duration = Duration::from_secs(10);

pub(super) fn lookup(cx: &Cx<'_>, uuid: Uuid) -> Result<Domain, HostError> {
    cx.connect().lookup_domain_by_uuid(uuid).map_err(failed)
}

/// Defines a domain. What runs is left as it is.
pub(super) fn define(cx: &Cx<'_>, xml: &str, validate: bool) -> Result<(), HostError> {
    let flags = if validate { sys::VIR_DOMAIN_DEFINE_VALIDATE } else { 0 };
    cx.effect()?;
    cx.connect().define_domain_xml_flags(xml, flags).map(drop).map_err(failed)
}

/// Starts a domain.
pub(super) fn start(cx: &Cx<'_>, uuid: Uuid) -> Result<(), HostError> {
    let domain = lookup(cx, uuid)?;
    cx.effect()?;
    domain.create_with_flags(sys::VIR_DOMAIN_NONE).map_err(failed)
}

/// Cuts a domain's power.
pub(super) fn destroy(cx: &Cx<'_>, uuid: Uuid) -> Result<(), HostError> {
    let domain = lookup(cx, uuid)?;
    cx.effect()?;
    domain.destroy_flags(sys::VIR_DOMAIN_DESTROY_DEFAULT).map_err(failed)
}

/// Undefines a domain that is off.
pub(super) fn undefine(cx: &Cx<'_>, uuid: Uuid, nvram: bool, managed_save: bool) -> Result<(), HostError> {
    let domain = lookup(cx, uuid)?;
    if domain.is_active().map_err(failed)? {
        return Err(own(ErrorKind::InvalidState, "it runs, and would lose its NVRAM and snapshots under the guest"));
    }
    let snapshots = domain.num_snapshots(0).or_else(no_support).map_err(failed)?;
    if snapshots > 0 {
        return Err(own(ErrorKind::InvalidState, format!("it has snapshots ({snapshots})")));
    }
    let firmware = if nvram { sys::VIR_DOMAIN_UNDEFINE_NVRAM } else { sys::VIR_DOMAIN_UNDEFINE_KEEP_NVRAM };
    let saved = if managed_save { sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE } else { 0 };
    cx.effect()?;
    match domain.undefine_flags(firmware | saved) {
        // A driver without NVRAM knows no flag for it.
        Err(error) if error.code().to_raw() == sys::VIR_ERR_INVALID_ARG => domain.undefine_flags(saved).map_err(failed),
        result => result.map_err(failed),
    }
}

/// A driver without snapshots has none.
fn no_support(error: Error) -> Result<u32, Error> {
    if error.code().to_raw() == sys::VIR_ERR_NO_SUPPORT { Ok(0) } else { Err(error) }
}

/// Has it started with libvirt, or not.
pub(super) fn autostart(cx: &Cx<'_>, uuid: Uuid, on: bool) -> Result<(), HostError> {
    let domain = lookup(cx, uuid)?;
    cx.effect()?;
    domain.set_autostart(on).map_err(failed)
}

/// Gives a domain that is off another name.
pub(super) fn rename(cx: &Cx<'_>, uuid: Uuid, to: &str) -> Result<(), HostError> {
    let domain = lookup(cx, uuid)?;
    cx.effect()?;
    domain.rename(to, 0).map_err(failed)
}

/// Sets title, description and mark; the inner none removes.
#[expect(clippy::option_option, reason = "leave it, remove it, set it")]
pub(super) fn metadata(
    cx: &Cx<'_>,
    uuid: Uuid,
    title: Option<Option<&str>>,
    description: Option<Option<&str>>,
    mark: Option<&str>,
    live: bool,
) -> Result<(), HostError> {
    let domain = lookup(cx, uuid)?;
    let (live_flag, config) = (sys::VIR_DOMAIN_AFFECT_LIVE, sys::VIR_DOMAIN_AFFECT_CONFIG);
    let flags = if live { live_flag | config } else { config };
    let set = |kind: sys::virDomainMetadataType, value: Option<&str>, namespace: Option<(&str, &str)>| {
        let kind = i32::try_from(kind).unwrap_or(0);
        domain.set_metadata(kind, value, namespace.map(|n| n.1), namespace.map(|n| n.0), flags).map_err(failed)
    };
    cx.effect()?;
    if let Some(title) = title {
        set(sys::VIR_DOMAIN_METADATA_TITLE, title, None)?;
    }
    if let Some(description) = description {
        set(sys::VIR_DOMAIN_METADATA_DESCRIPTION, description, None)?;
    }
    if let Some(mark) = mark {
        set(sys::VIR_DOMAIN_METADATA_ELEMENT, Some(&bare(mark)), Some(MARK))?;
    }
    Ok(())
}

/// The mark as `virDomainSetMetadata` wants it: without the namespace, which libvirt adds itself.
fn bare(mark: &str) -> String {
    let (uri, prefix) = MARK;
    mark.replace(&format!(" xmlns:{prefix}='{uri}'"), "")
        .replace(&format!(" xmlns:{prefix}=\"{uri}\""), "")
        .replace(&format!("<{prefix}:"), "<")
        .replace(&format!("</{prefix}:"), "</")
}

/// How a guest is stopped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shutdown {
    /// Which domain.
    pub(super) uuid: Uuid,
    /// Who is asked.
    pub(super) method: ShutdownMethod,
    /// How long it has.
    pub(super) timeout: Duration,
    /// What then.
    pub(super) on_timeout: OnTimeout,
}

/// Asks a guest to stop, and waits until it is off. No thread is held while waiting.
pub(super) async fn shutdown(calls: &Arc<Calls>, how: Shutdown) -> Result<(), HostError> {
    let Shutdown { uuid, method, timeout, on_timeout } = how;
    let began = Instant::now();
    let mut asked = began;
    press(calls, uuid, method).await?;
    loop {
        // An answer that got lost after the request: the guest may be off, or not.
        match is_off(calls, uuid).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if error.kind == ErrorKind::Unreachable => return Err(HostError { kind: ErrorKind::Unknown, ..error }),
            Err(error) => return Err(error),
        }
        if began.elapsed() >= timeout {
            break;
        }
        if asked.elapsed() >= AGAIN {
            asked = Instant::now();
            // It may have stopped just now, or its agent with it: the next look tells.
            if let Err(error) = press(calls, uuid, method).await {
                tracing::debug!(%uuid, %error, "asked again to stop");
            }
        }
        tokio::time::sleep(LOOK.min(timeout.saturating_sub(began.elapsed()))).await;
    }
    match on_timeout {
        OnTimeout::Report => Err(own(ErrorKind::StopTimeout, format!("the guest did not stop within {} s", timeout.as_secs()))),
        OnTimeout::PowerOff => power_off(calls, uuid).await,
    }
}

async fn press(calls: &Arc<Calls>, uuid: Uuid, method: ShutdownMethod) -> Result<(), HostError> {
    calls
        .call(Ask::within(REQUEST), move |cx| {
            let domain = lookup(cx, uuid)?;
            let (agent, acpi) = (sys::VIR_DOMAIN_SHUTDOWN_GUEST_AGENT, sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN);
            let flags = match method {
                ShutdownMethod::Agent => agent,
                ShutdownMethod::ACPI => acpi,
                ShutdownMethod::Auto if agent_connected(&domain.xml_desc(0).map_err(failed)?) => agent,
                ShutdownMethod::Auto => acpi,
            };
            cx.effect()?;
            match domain.shutdown_flags(flags).map_err(failed) {
                // An agent that is there but doesn't answer, or says that it can't: there is still the button. One whose helper ended
                // with the guest that it stops says so, too, and a button that is pressed meanwhile does nothing.
                Err(error)
                    if method == ShutdownMethod::Auto
                        && flags == agent
                        && (error.kind == ErrorKind::Transient || error.code == INTERNAL) =>
                {
                    domain.shutdown_flags(acpi).map_err(failed)
                }
                // The in-process driver has no buttons.
                Err(error) if method == ShutdownMethod::Auto && error.code == INVALID_ARG => domain.shutdown().map_err(failed),
                result => result,
            }
        })
        .await
}

/// A domain that is gone was transient, and is off too.
async fn is_off(calls: &Arc<Calls>, uuid: Uuid) -> Result<bool, HostError> {
    let state = calls.call(Ask::within(REQUEST), move |cx| ffi::domain_state(&lookup(cx, uuid)?).map_err(failed)).await;
    match state {
        Ok(state) => Ok(power(state).0 == PowerState::Off),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Cuts the power, but lets QEMU write out what it holds, if it still can.
async fn power_off(calls: &Arc<Calls>, uuid: Uuid) -> Result<(), HostError> {
    let cut = calls.call(Ask::within(DESTROY), move |cx| {
        let domain = lookup(cx, uuid)?;
        cx.effect()?;
        match domain.destroy_flags(sys::VIR_DOMAIN_DESTROY_GRACEFUL) {
            Err(error) if domain.is_active().unwrap_or(true) => {
                tracing::debug!(%uuid, %error, "QEMU did not end by itself");
                domain.destroy_flags(sys::VIR_DOMAIN_DESTROY_DEFAULT).map_err(failed)
            }
            result => result.map_err(failed),
        }
    });
    match cut.await {
        // It stopped at the last moment.
        Err(error) if matches!(error.kind, ErrorKind::InvalidState | ErrorKind::NotFound) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_handed_over_without_its_namespace() {
        let mark = "<jvp:object xmlns:jvp='https://jvp.dev/xml/object/1' kind='VM'><jvp:path>/a</jvp:path></jvp:object>";
        assert_eq!(bare(mark), "<object kind='VM'><path>/a</path></object>");
        assert_eq!(bare("<object kind='VM'/>"), "<object kind='VM'/>");
    }
}
