//! What a domain's fields are when a plan is made, and what its devices must read as when they are changed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::vm_change::Unit;
use super::vm_limits;
use crate::manifest::DiskDevice;
use crate::observe::DomainState;
use crate::plan::Fields;
use crate::xml::domain::{DiskWanted, NicSource, NicWanted};

/// Fields of a domain as they are.
pub(super) fn fields(domain: &DomainState, paths: BTreeSet<String>, live: bool) -> Fields {
    let mut fields = Fields { uuid: domain.uuid, running: domain.is_active(), paths, ..Fields::default() };
    fields.inactive = fields.of(&domain.doc);
    fields.live = domain.live.as_ref().filter(|_| live).map(|doc| fields.of(doc));
    fields
}

pub(super) fn source(nic: &NicWanted) -> Value {
    match &nic.source {
        NicSource::Network(name) | NicSource::Bridge(name) => json!(name),
    }
}

pub(super) fn disk_expect(path: &str, wanted: &DiskWanted, unit: &Unit) -> BTreeMap<String, Option<Value>> {
    let device = if wanted.device == "cdrom" { DiskDevice::Cdrom } else { DiskDevice::Disk };
    let mut all = BTreeMap::from([
        (format!("{path}/source"), Some(json!(wanted.path.clone().unwrap_or_default()))),
        (format!("{path}/readOnly"), Some(json!(wanted.read_only || device == DiskDevice::Cdrom))),
        (format!("{path}/device"), Some(json!(device))),
    ]);
    // Others the language has no word for.
    if matches!(wanted.bus.as_str(), "virtio" | "scsi" | "sata") {
        all.insert(format!("{path}/bus"), Some(json!(wanted.bus)));
    }
    if wanted.boot_order.is_some() || unit.differs("/bootOrder") {
        all.insert(format!("{path}/bootOrder"), wanted.boot_order.map(Value::from));
    }
    all.extend(vm_limits::leaves(path, &wanted.limits));
    // What goes must be gone.
    let limits = vm_limits::split(path, unit).0;
    all.extend(limits.inactive.into_iter().filter(|(_, d)| d.new.is_none()).map(|(_, d)| (d.path, None)));
    all
}

pub(super) fn nic_expect(path: &str, wanted: &NicWanted, linked: bool) -> BTreeMap<String, Option<Value>> {
    let mut all = BTreeMap::from([
        (format!("{path}/network"), Some(source(wanted))),
        (format!("{path}/mac"), Some(json!(wanted.mac))),
        (format!("{path}/model"), Some(json!(wanted.model))),
    ]);
    if linked {
        all.insert(format!("{path}/linkState"), wanted.link_state.map(|state| json!(state)));
    }
    all
}

/// The unit of a leaf: disks and interfaces are changed as one.
pub(super) fn unit(path: &str) -> String {
    let mut segments = path.split('/');
    match (segments.nth(1), segments.next()) {
        (Some(list @ ("disks" | "interfaces")), Some(name)) => format!("/{list}/{name}"),
        (Some("cpu"), Some("topology")) => "/cpu/topology".into(),
        _ => path.to_owned(),
    }
}
