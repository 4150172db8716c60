//! Pools and volumes as they are read, and pools as they are acted on.
//!
//! A read never refreshes a pool: what changed behind libvirt's back is seen after the refresh that an apply makes.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use virt::storage_pool::StoragePool;
use virt::storage_vol::StorageVol;
use virt::sys;

use super::calls::Cx;
use super::error::{INVALID_ARG, named};
use super::read::{failed, if_there};
use crate::host::{ErrorKind, HostError};
use crate::observe::{RawPool, RawVolume};

/// A volume as its pool's list shows it.
pub(super) struct ListedVolume {
    /// By the connection that listed it.
    pub(super) volume: StorageVol,
    pub(super) pool: String,
    pub(super) name: String,
}

/// All pools, and the volumes of those that run.
pub(super) fn list(cx: &Cx<'_>) -> Result<(Vec<RawPool>, Vec<ListedVolume>), HostError> {
    let all = cx.connect().list_all_storage_pools(0).map_err(failed)?;
    cx.alive();
    if all.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let active = those(cx, sys::VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)?;
    let autostart = those(cx, sys::VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART)?;
    let transient = those(cx, sys::VIR_CONNECT_LIST_STORAGE_POOLS_TRANSIENT)?;
    let (mut pools, mut volumes) = (Vec::new(), Vec::new());
    for pool in all {
        let (name, uuid) = (pool.name().map_err(failed)?, pool.uuid().map_err(failed)?);
        let Some(xml) = document(&pool, &name)? else { continue };
        let list = if active.contains(&uuid) { contents(&pool)? } else { None };
        cx.alive();
        pools.push(RawPool {
            uuid,
            active: active.contains(&uuid),
            autostart: autostart.contains(&uuid),
            persistent: !transient.contains(&uuid),
            xml,
            volumes: list.as_ref().map(|_| Vec::new()),
            name: name.clone(),
        });
        for volume in list.into_iter().flatten() {
            volumes.push(ListedVolume { name: volume.name().map_err(failed)?, pool: name.clone(), volume });
        }
    }
    Ok((pools, volumes))
}

/// The volumes of a pool that runs; none where it was stopped since its list.
fn contents(pool: &StoragePool) -> Result<Option<Vec<StorageVol>>, HostError> {
    match if_there(pool.list_all_volumes(0)) {
        Err(error) if error.kind == ErrorKind::InvalidState => Ok(None),
        list => list,
    }
}

fn those(cx: &Cx<'_>, filter: sys::virConnectListAllStoragePoolsFlags) -> Result<BTreeSet<Uuid>, HostError> {
    let list = cx.connect().list_all_storage_pools(filter).map_err(failed)?;
    cx.alive();
    list.iter().map(|pool| pool.uuid().map_err(failed)).collect()
}

/// One pool, if it is there, with these of its volumes.
pub(super) fn find(
    cx: &Cx<'_>,
    name: &str,
    wanted: Option<&BTreeSet<&str>>,
) -> Result<Option<(RawPool, Vec<ListedVolume>)>, HostError> {
    let Some(pool) = if_there(cx.connect().lookup_storage_pool_by_name(name))? else { return Ok(None) };
    let facts = || {
        let persistent = pool.is_persistent()?;
        let autostart = persistent && pool.autostart()?;
        Ok((pool.uuid()?, pool.is_active()?, autostart, persistent))
    };
    let Some((uuid, active, autostart, persistent)) = if_there(facts())? else { return Ok(None) };
    let Some(xml) = document(&pool, name)? else { return Ok(None) };
    let mut volumes = Vec::new();
    for volume in wanted.filter(|_| active).into_iter().flatten() {
        if let Some(handle) = if_there(pool.lookup_storage_vol_by_name(volume))? {
            volumes.push(ListedVolume { volume: handle, pool: name.to_owned(), name: (*volume).to_owned() });
        }
    }
    cx.alive();
    let none = wanted.filter(|_| active).map(|_| Vec::new());
    Ok(Some((RawPool { name: name.to_owned(), uuid, active, autostart, persistent, xml, volumes: none }, volumes)))
}

/// A pool's document, that of its next start where it was defined anew while it ran.
fn document(pool: &StoragePool, name: &str) -> Result<Option<String>, HostError> {
    let document = match if_there(pool.xml_desc(sys::VIR_STORAGE_XML_INACTIVE)) {
        // The test driver has one document only.
        Err(error) if error.code == INVALID_ARG => if_there(pool.xml_desc(0)),
        other => other,
    };
    document.map_err(|error| named(error, "pool", name))
}

/// The volumes of a pool, by their names; none where it was stopped or is gone.
pub(super) fn handles(cx: &Cx<'_>, pool: &str) -> Result<BTreeMap<String, StorageVol>, HostError> {
    let Some(pool) = if_there(cx.connect().lookup_storage_pool_by_name(pool))? else { return Ok(BTreeMap::new()) };
    let all = contents(&pool)?.unwrap_or_default();
    cx.alive();
    all.into_iter().map(|volume| Ok((volume.name().map_err(failed)?, volume))).collect()
}

/// The rest of a listed volume, with its pool's name, by any connection's handle; none if it is gone.
pub(super) fn describe(listed: &ListedVolume, volume: &StorageVol) -> Result<Option<(String, RawVolume)>, HostError> {
    let ListedVolume { pool, name, .. } = listed;
    let xml = match if_there(volume.xml_desc(0)) {
        // Its pool was stopped since it was listed.
        Err(error) if error.kind == ErrorKind::InvalidState => None,
        xml => xml.map_err(|error| named(error, "volume", name))?,
    };
    Ok(xml.map(|xml| (pool.clone(), RawVolume { name: name.clone(), xml })))
}

/// Finds a pool to act on or in.
pub(super) fn lookup(cx: &Cx<'_>, name: &str) -> Result<StoragePool, HostError> {
    cx.connect().lookup_storage_pool_by_name(name).map_err(failed)
}

/// Defines a pool. What runs is left as it is.
pub(super) fn define(cx: &Cx<'_>, xml: &str) -> Result<(), HostError> {
    cx.effect()?;
    cx.connect().define_storage_pool_xml(xml, 0).map(drop).map_err(failed)
}

/// Makes what a pool needs to start; for a folder, the folder. Never over something that is there.
pub(super) fn build(cx: &Cx<'_>, name: &str) -> Result<(), HostError> {
    let pool = lookup(cx, name)?;
    cx.effect()?;
    pool.build(sys::VIR_STORAGE_POOL_BUILD_NEW).map_err(failed)
}

/// Starts a pool.
pub(super) fn start(cx: &Cx<'_>, name: &str) -> Result<(), HostError> {
    let pool = lookup(cx, name)?;
    cx.effect()?;
    pool.create(sys::VIR_STORAGE_POOL_CREATE_NORMAL).map_err(failed)
}

/// Has it started with libvirt, or not.
pub(super) fn autostart(cx: &Cx<'_>, name: &str, on: bool) -> Result<(), HostError> {
    let pool = lookup(cx, name)?;
    cx.effect()?;
    pool.set_autostart(on).map_err(failed)
}

/// Has libvirt look again at what is in it.
pub(super) fn refresh(cx: &Cx<'_>, name: &str) -> Result<(), HostError> {
    let pool = lookup(cx, name)?;
    cx.effect()?;
    pool.refresh(0).map_err(failed)
}

/// Stops a pool; its data stay.
pub(super) fn stop(cx: &Cx<'_>, name: &str) -> Result<(), HostError> {
    let pool = lookup(cx, name)?;
    cx.effect()?;
    pool.destroy().map_err(failed)
}

/// Removes a pool's definition; its data stay.
pub(super) fn undefine(cx: &Cx<'_>, name: &str) -> Result<(), HostError> {
    let pool = lookup(cx, name)?;
    cx.effect()?;
    pool.undefine().map_err(failed)
}
