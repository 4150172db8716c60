//! Acting on a node: which operation is which call, and how long it may take.
//!
//! No choice is left here, and nothing is made idempotent: what to do about an object that is there already, or gone, was the plan's
//! to say and is the executor's to notice.

use std::sync::Arc;
use std::time::Duration;

use super::calls::{Ask, Calls, Cx};
use super::error::{named, own};
use super::{guests, networks, plugs, pools, volumes};
use crate::host::{ErrorKind, HostError, Progress};
use crate::observe::Target;
use crate::plan::Op;

/// A change of a definition.
const QUICK: Duration = Duration::from_secs(30);
/// A start, or anything that mounts, makes folders or looks through a pool.
const START: Duration = Duration::from_mins(2);
/// Making a volume, which may write all of it.
const CREATE: Duration = Duration::from_mins(10);
/// A copy within a node: libvirt says nothing until it is done, and a daemon that is gone shows by its pings.
const COPY: Duration = Duration::from_hours(6);

/// Performs one operation.
pub(super) async fn act(calls: &Arc<Calls>, op: &Op, progress: &dyn Progress) -> Result<(), HostError> {
    let done = match op {
        Op::DomainShutdown { uuid, method, timeout_seconds, on_timeout, .. } => {
            let timeout = Duration::from_secs(*timeout_seconds);
            guests::shutdown(calls, guests::Shutdown { uuid: *uuid, method: *method, timeout, on_timeout: *on_timeout }).await
        }
        Op::Fetch { .. } | Op::KeyPairGenerate { .. } | Op::Inventory => {
            return Err(own(ErrorKind::Unsupported, format!("{} is no deed of a node's", op.word())));
        }
        _ => {
            let ask = Ask { progress: Some(progress), ..Ask::within(limit(op)) };
            let op = op.clone();
            calls.call(ask, move |cx| perform(cx, &op)).await
        }
    };
    done.map_err(|error| match op.target() {
        Some(Target::Domain(name)) => named(error, "domain", &name),
        Some(Target::Network(name)) => named(error, "network", &name),
        Some(Target::Pool(name)) => named(error, "pool", &name),
        Some(Target::Volume { name, .. }) => named(error, "volume", &name),
        None => error,
    })
}

fn limit(op: &Op) -> Duration {
    match op {
        Op::PoolBuild { .. } | Op::PoolStart { .. } | Op::PoolRefresh { .. } | Op::PoolStop { .. } => START,
        Op::NetworkStart { .. } | Op::NetworkStop { .. } | Op::DomainStart { .. } => START,
        Op::DomainDestroy { .. } => guests::DESTROY,
        Op::NetworkReplug { .. } | Op::DomainBlockResize { .. } => START,
        Op::VolumeCreate { .. } | Op::VolumeGrow { .. } | Op::VolumeDelete { .. } => CREATE,
        Op::DomainVcpus { .. } => plugs::VCPUS,
        Op::VolumeClone { .. } => COPY,
        Op::VolumeUpload { .. } => volumes::STREAM,
        _ => QUICK,
    }
}

fn perform(cx: &Cx<'_>, op: &Op) -> Result<(), HostError> {
    match op {
        Op::PoolDefine { xml, .. } => pools::define(cx, xml),
        Op::PoolBuild { name } => pools::build(cx, name),
        Op::PoolStart { name } => pools::start(cx, name),
        Op::PoolAutostart { name, on } => pools::autostart(cx, name, *on),
        Op::PoolRefresh { name } => pools::refresh(cx, name),
        Op::PoolStop { name } => pools::stop(cx, name),
        Op::PoolUndefine { name } => pools::undefine(cx, name),
        Op::NetworkDefine { xml, .. } => networks::define(cx, xml),
        Op::NetworkStart { name } => networks::start(cx, name),
        Op::NetworkAutostart { name, on } => networks::autostart(cx, name, *on),
        Op::NetworkUpdate { name, section, edit, xml, parent_index, side } => {
            networks::update(cx, name, (*section, *edit, *side), xml, *parent_index)
        }
        Op::NetworkReplug { nics, .. } => networks::replug(cx, nics),
        Op::NetworkStop { name } => networks::stop(cx, name),
        Op::NetworkUndefine { name } => networks::undefine(cx, name),
        Op::VolumeCreate { pool, xml, .. } => volumes::create(cx, pool, xml),
        Op::VolumeClone { pool, xml, source_pool, source, .. } => volumes::clone(cx, pool, xml, source_pool, source),
        Op::VolumeUpload { pool, name, source } => volumes::upload(cx, pool, name, source),
        Op::VolumeGrow { pool, name, capacity } => volumes::grow(cx, pool, name, *capacity),
        Op::VolumeDelete { pool, name } => volumes::delete(cx, pool, name),
        Op::DomainBlockResize { uuid, target, capacity, .. } => volumes::block_resize(cx, *uuid, target, *capacity),
        Op::DomainDefine { xml, validate, .. } => guests::define(cx, &xml.text(), *validate),
        Op::DomainStart { uuid, .. } => guests::start(cx, *uuid),
        Op::DomainDestroy { uuid, .. } => guests::destroy(cx, *uuid),
        Op::DomainUndefine { uuid, nvram, managed_save, .. } => guests::undefine(cx, *uuid, *nvram, *managed_save),
        Op::DomainAutostart { uuid, on, .. } => guests::autostart(cx, *uuid, *on),
        Op::DomainMetadata { uuid, title, description, mark, live, .. } => {
            let (title, description) = (title.as_ref().map(Option::as_deref), description.as_ref().map(Option::as_deref));
            guests::metadata(cx, *uuid, title, description, mark.as_deref(), *live)
        }
        Op::DomainRename { uuid, to, .. } => guests::rename(cx, *uuid, to),
        Op::DomainDevice { uuid, how, xml, live, config, .. } => match xml {
            Some(xml) => plugs::device(cx, *uuid, *how, xml, *live, *config),
            None => Err(own(ErrorKind::Unsupported, "a device without its element")),
        },
        Op::DomainVcpus { uuid, count, live, config, .. } => plugs::vcpus(cx, *uuid, *count, *live, *config),
        Op::DomainMemory { uuid, kib, live, config, .. } => plugs::memory(cx, *uuid, *kib, *live, *config),
        Op::DomainBlockLimits { uuid, target, limits, live, config, .. } => {
            plugs::block_limits(cx, *uuid, target, limits, *live, *config)
        }
        Op::DomainDiscardSave { uuid, .. } => plugs::discard_save(cx, *uuid),
        Op::DomainRedefine { .. } => Err(own(ErrorKind::Unsupported, "a patch without its document")),
        Op::DomainShutdown { .. }
        | Op::NetworkPatch { .. }
        | Op::PoolRetarget { .. }
        | Op::Fetch { .. }
        | Op::KeyPairGenerate { .. }
        | Op::Inventory => Err(own(ErrorKind::Unsupported, format!("{} is no single call", op.word()))),
    }
}
