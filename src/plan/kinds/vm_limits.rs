//! Limits of a VM's disks: what they are to be where others set some of them, too, and how they change on a running domain.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::vm_change::{Bench, Unit};
use crate::manifest::{Disk, DiskLimits, LIMITS};
use crate::name::Kind;
use crate::plan::Op;
use crate::plan::diff::Difference;
use crate::plan::fields::{Field, field};
use crate::plan::model::Effect;
use crate::xml::domain::DiskDoc;

/// What a disk's limits are to be: those of the manifest, and of what it has besides whatever goes with them.
pub(super) fn merged(has: &DiskLimits, written: &DiskLimits, gone: &BTreeSet<&str>) -> DiskLimits {
    let mut all = has.clone();
    for place in 0..LIMITS {
        if written.get(place).is_some() {
            all.set(place, written.get(place));
        } else if gone.contains(DiskLimits::name(place)) {
            all.set(place, None);
        }
    }
    // What nobody wrote gives way to what was written: libvirt takes neither a sum beside its parts, nor a burst below its rate.
    let give_way = |place: usize, all: &mut DiskLimits| {
        if written.get(place).is_none() {
            all.set(place, None);
        }
    };
    for rate in (0..DiskLimits::RATES).filter(|rate| written.get(*rate).is_some()) {
        for other in DiskLimits::excluded_by(rate) {
            give_way(*other, &mut all);
        }
    }
    for rate in 0..DiskLimits::RATES {
        let (burst, length) = (DiskLimits::burst_of(rate), DiskLimits::length_of(rate));
        if all.get(rate).is_none_or(|rate| all.get(burst).is_some_and(|burst| burst < rate)) {
            give_way(burst, &mut all);
        }
        if all.get(burst).is_none() {
            give_way(length, &mut all);
        }
    }
    if (0..DiskLimits::RATES).filter(|rate| DiskLimits::counts_operations(*rate)).all(|rate| all.get(rate).is_none()) {
        give_way(DiskLimits::SIZE, &mut all);
    }
    all
}

/// The leaves of a disk's limits.
pub(super) fn leaves(path: &str, limits: &DiskLimits) -> BTreeMap<String, Option<Value>> {
    let Ok(Value::Object(all)) = serde_json::to_value(limits) else { return BTreeMap::new() };
    all.into_iter().map(|(name, value)| (format!("{path}/limits/{name}"), Some(value))).collect()
}

/// The names of the limits that go.
fn gone<'a>(side: &'a [(&'static Field, Difference)]) -> BTreeSet<&'a str> {
    let names = side.iter().filter(|(_, difference)| difference.new.is_none());
    names.filter_map(|(_, difference)| difference.path.split_once("/limits/").map(|(_, name)| name)).collect()
}

/// What a unit's disk is to be limited to, from what a document has of it.
pub(super) fn wanted(disk: &Disk, has: &DiskLimits, unit: &Unit) -> DiskLimits {
    let gone = gone(&unit.inactive).into_iter().chain(gone(&unit.live)).collect();
    merged(has, &disk.limits.clone().unwrap_or_default(), &gone)
}

fn is_limit(path: &str, difference: &Difference) -> bool {
    difference.path.strip_prefix(path).is_some_and(|rest| rest.starts_with("/limits/"))
}

/// Adds what gives way to the limits that are written, so that it is seen.
pub(super) fn with_what_gives_way(
    path: &str,
    disk: &Disk,
    unit: &Unit,
    defined: Option<&DiskDoc>,
    running: Option<&DiskDoc>,
) -> Unit {
    let side = |side: &[(&'static Field, Difference)], doc: Option<&DiskDoc>| {
        let mut side = side.to_vec();
        let Some(has) = doc.filter(|_| side.iter().any(|(_, difference)| is_limit(path, difference))).map(|doc| &doc.limits)
        else {
            return side;
        };
        let wanted = merged(has, &disk.limits.clone().unwrap_or_default(), &gone(&side));
        let had = leaves(path, has);
        for place in (0..LIMITS).filter(|place| has.get(*place).is_some() && wanted.get(*place).is_none()) {
            let path = format!("{path}/limits/{}", DiskLimits::name(place));
            let known = side.iter().any(|(_, difference)| difference.path == path);
            if let Some(row) = field(Kind::VirtualMachine, &path).filter(|_| !known) {
                let old = had.get(&path).cloned().flatten();
                side.push((row, Difference { path, old, new: None }));
            }
        }
        side
    };
    Unit { inactive: side(&unit.inactive, defined), live: side(&unit.live, running) }
}

/// The limits of a unit, and the rest of it.
pub(super) fn split(path: &str, unit: &Unit) -> (Unit, Unit) {
    let part = |side: &[(&'static Field, Difference)], limits: bool| {
        side.iter().filter(|(_, difference)| is_limit(path, difference) == limits).cloned().collect()
    };
    let of = |limits| Unit { inactive: part(&unit.inactive, limits), live: part(&unit.live, limits) };
    (of(true), of(false))
}

impl Bench<'_, '_> {
    /// Changes what a running disk may do, at once; also in its definition, where nothing else is changed there. Tells whether the
    /// definition is left to be changed.
    pub(super) fn limit_disk(&mut self, path: &str, disk: &Disk, limits: &Unit, alone: bool, running: Option<&DiskDoc>) -> bool {
        let defined = !limits.inactive.is_empty();
        // What is shared with other disks would change for all of them.
        let shared = |doc: &DiskDoc| doc.limits_group.is_some();
        let group =
            [&self.domain.doc].into_iter().chain(&self.domain.live).filter_map(|doc| doc.disk(disk.name.as_str())).any(shared);
        let Some(running) = running.filter(|_| !group && !limits.live.is_empty()) else {
            if defined {
                self.show(limits, Some(&Effect::NextStart));
            }
            return defined;
        };
        self.show(limits, Some(&Effect::Live));
        let config = defined && alone && self.is_alike(path) && self.same_limits(disk, limits, running);
        let new = wanted(disk, &running.limits, limits);
        let expect = |side: &[(&'static Field, Difference)]| {
            let mut all = leaves(path, &new);
            all.extend(side.iter().filter(|(_, d)| d.new.is_none()).map(|(_, d)| (d.path.clone(), None)));
            all
        };
        let (name, uuid, target) = (self.domain.name.clone(), self.domain.uuid, running.target.clone());
        let inactive = if config { expect(&limits.inactive) } else { BTreeMap::new() };
        let op = Op::DomainBlockLimits { name, uuid, target, limits: Box::new(new.clone()), live: true, config };
        self.call(op, &format!("{path}/limits"), inactive, expect(&limits.live));
        defined && !config
    }

    /// Whether one call gives both documents what each is to have.
    fn same_limits(&self, disk: &Disk, limits: &Unit, running: &DiskDoc) -> bool {
        let defined = self.domain.doc.disk(disk.name.as_str());
        defined.is_some_and(|defined| wanted(disk, &defined.limits, limits) == wanted(disk, &running.limits, limits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(json: serde_json::Value) -> DiskLimits {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_nobody_wrote_gives_way_to_what_was_written_and_else_stays() {
        let cases = [
            // A sum and its parts.
            (
                r#"{"readIOPS":5,"readIOPSMax":9,"bytesPerSecond":"1Mi"}"#,
                r#"{"iops":7}"#,
                "",
                r#"{"iops":7,"bytesPerSecond":"1Mi"}"#,
            ),
            (r#"{"iops":5,"iopsMax":9,"iopsMaxLength":3}"#, r#"{"writeIOPS":7}"#, "", r#"{"writeIOPS":7}"#),
            // A burst below its rate.
            (r#"{"iops":5,"iopsMax":9}"#, r#"{"iops":10}"#, "", r#"{"iops":10}"#),
            (r#"{"iops":5,"iopsMax":9}"#, r#"{"iops":9}"#, "", r#"{"iops":9,"iopsMax":9}"#),
            // What stands on a rate goes with it.
            (r#"{"iops":5,"iopsMax":9,"iopsMaxLength":3,"iopsSize":"4Ki"}"#, "{}", "iops", "{}"),
            (r#"{"iops":5,"readBytesPerSecond":"1Mi"}"#, "{}", "iops", r#"{"readBytesPerSecond":"1Mi"}"#),
        ];
        for (has, written, gone, expected) in cases {
            let parse = |text: &str| limits(serde_json::from_str(text).unwrap());
            let gone = gone.split(' ').filter(|name| !name.is_empty()).collect();
            assert_eq!(merged(&parse(has), &parse(written), &gone), parse(expected), "{has} {written}");
        }
    }
}
