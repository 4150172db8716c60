//! Running domains as they are changed: devices, vCPUs, memory.
//!
//! Each call says which of the two documents it changes. That what it changed was what the plan saw is the executor's to check,
//! before and after.

use std::ffi::CString;
use std::time::{Duration, Instant};

use uuid::Uuid;
use virt::domain::Domain;
use virt::sys;

use super::calls::Cx;
use super::error::own;
use super::ffi;
use super::guests::lookup;
use super::read::failed;
use crate::host::{ErrorKind, HostError};
use crate::manifest::DiskLimits;
use crate::plan::Plug;
use crate::xml::domain::limit_words;

/// How often a guest is asked to let go of vCPUs, and how long it is looked at each time.
const TRIES: u32 = 3;
/// How long each time.
const TRY: Duration = Duration::from_secs(10);
/// How long all of it may take, and libvirt's own five seconds each time.
pub(super) const VCPUS: Duration = Duration::from_mins(1);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(400);

fn flags(live: bool, config: bool) -> sys::virDomainModificationImpact {
    (if live { sys::VIR_DOMAIN_AFFECT_LIVE } else { 0 }) | (if config { sys::VIR_DOMAIN_AFFECT_CONFIG } else { 0 })
}

/// Plugs a device in, changes it or unplugs it.
pub(super) fn device(cx: &Cx<'_>, uuid: Uuid, how: Plug, xml: &str, live: bool, config: bool) -> Result<(), HostError> {
    let domain = lookup(cx, uuid)?;
    let flags = flags(live, config);
    cx.effect()?;
    match how {
        Plug::Attach => domain.attach_device_flags(xml, flags),
        Plug::Update => domain.update_device_flags(xml, flags),
        Plug::Detach => domain.detach_device_flags(xml, flags),
    }
    .map_err(failed)
}

/// Gives a domain so many of its vCPUs. Those that come keep being pluggable, or no guest could give them back after a restart.
///
/// A guest may not let go of what it has. That is no error: it keeps its own until its next start, which the next plan says.
pub(super) fn vcpus(cx: &Cx<'_>, uuid: Uuid, count: u32, live: bool, config: bool) -> Result<(), HostError> {
    let domain = lookup(cx, uuid)?;
    let running = |domain: &Domain| domain.vcpus_flags(sys::VIR_DOMAIN_VCPU_LIVE).map_err(failed);
    if !live || running(&domain)? <= count {
        cx.effect()?;
        let flags = flags(live, config) | sys::VIR_DOMAIN_VCPU_HOTPLUGGABLE;
        return domain.set_vcpus_flags(count, flags).map_err(failed);
    }
    cx.effect()?;
    for _ in 0..TRIES {
        let asked = domain.set_vcpus_flags(count, sys::VIR_DOMAIN_VCPU_LIVE).map_err(failed);
        // Where too few of them can be unplugged, waiting changes nothing.
        if asked.as_ref().is_err_and(|error| error.kind == ErrorKind::Unsupported || error.code == NO_SUCH_CONFIG) {
            break;
        }
        let began = Instant::now();
        while began.elapsed() < TRY && running(&domain)? > count {
            cx.alive();
            std::thread::sleep(LOOK);
        }
        if running(&domain)? <= count {
            break;
        }
        if let Err(error) = asked {
            tracing::debug!(%uuid, %error, "the guest keeps its vCPUs so far");
        }
    }
    if config {
        // By number alone, as libvirt would else keep which of them are plugged.
        domain.set_vcpus_flags(count, sys::VIR_DOMAIN_VCPU_CONFIG).map_err(failed)?;
    }
    Ok(())
}

/// libvirt's code for what it can't do with this configuration.
const NO_SUCH_CONFIG: i32 = 67;

/// Has the balloon leave a domain so much.
pub(super) fn memory(cx: &Cx<'_>, uuid: Uuid, kib: u64, live: bool, config: bool) -> Result<(), HostError> {
    let domain = lookup(cx, uuid)?;
    cx.effect()?;
    domain.set_memory_flags(kib, flags(live, config)).map_err(failed)
}

/// Limits what a disk may read and write. All limits are given: what a call leaves out is nothing or stays, as it happens.
pub(super) fn block_limits(
    cx: &Cx<'_>,
    uuid: Uuid,
    target: &str,
    limits: &DiskLimits,
    live: bool,
    config: bool,
) -> Result<(), HostError> {
    let domain = lookup(cx, uuid)?;
    let all: Vec<(&str, u64)> = limit_words(limits).collect();
    let target = CString::new(target).map_err(|_| own(ErrorKind::NotFound, "a target has no zero byte"))?;
    cx.effect()?;
    ffi::set_block_io_tune(&domain, &target, &all, flags(live, config)).map_err(failed)
}

/// Drops a domain's managed save image.
pub(super) fn discard_save(cx: &Cx<'_>, uuid: Uuid) -> Result<(), HostError> {
    let domain = lookup(cx, uuid)?;
    cx.effect()?;
    domain.managed_save_remove(0).map_err(failed)
}
