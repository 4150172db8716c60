//! Places in the boot order: each is one device's, over all disks and interfaces. libvirt refuses a definition that gives one to two.

use std::collections::BTreeSet;

use crate::manifest::VirtualMachineSpec;
use crate::name::Kind;
use crate::observe::DomainState;
use crate::plan::diff::{Difference, Differences};
use crate::plan::fields::field;
use crate::plan::model::RefusalKind;
use crate::plan::planner::Planner;
use crate::resolve::Wanted;
use crate::xml::domain::{DiskWanted, DomainDoc, Fragment, Leaf};

/// A device that has a place.
struct Place {
    /// Its path in the language.
    device: String,
    /// The path that the place has in a fragment.
    written: String,
    order: u32,
}

fn in_fragment(target: &str) -> String {
    format!("/xml/devices/disk[{target}]/boot/@order")
}

/// Every device of a document that has a place.
fn places(doc: &DomainDoc) -> impl Iterator<Item = Place> {
    let key =
        |key: &Option<crate::name::DeviceName>, other: &str| key.as_ref().map_or_else(|| other.to_owned(), ToString::to_string);
    let disks = doc.disks.iter().map(move |disk| {
        let device = format!("/disks/{}", key(&disk.key, &disk.target));
        Some(Place { device, written: in_fragment(&disk.target), order: disk.boot_order? })
    });
    let nics = doc.interfaces.iter().map(move |nic| {
        let mac = nic.mac.map(|mac| mac.to_string()).unwrap_or_default();
        let written = format!("/xml/devices/interface[{mac}]/boot/@order");
        Some(Place { device: format!("/interfaces/{}", key(&nic.key, "")), written, order: nic.boot_order? })
    });
    disks.chain(nics).flatten()
}

/// Whether a fragment gives a place to a device other than the disk of this target, or all places to kinds of devices.
pub(super) fn is_given(fragment: Option<&Fragment>, order: u32, target: Option<&str>) -> bool {
    let own = target.map(in_fragment);
    let gives = |(path, leaf): (&String, &Leaf)| {
        let at = path.ends_with("/boot/@order") && own.as_ref() != Some(path);
        path.starts_with("/xml/os/boot[") && leaf.value.is_some() || at && leaf.value == Some(order.to_string())
    };
    fragment.is_some_and(|fragment| fragment.leaves().iter().any(gives))
}

/// Adds that a disk gives up a place which nobody wrote for it, as jvp gives the first disk, where another device is to have it, by its
/// field or by the fragment.
pub(super) fn give_way(spec: &VirtualMachineSpec, doc: &DomainDoc, fragment: Option<&Fragment>, found: &mut Differences) {
    for disk in spec.disks.iter().filter(|disk| disk.boot_order.is_none()) {
        let Some(seen) = doc.disk(disk.name.as_str()) else { continue };
        let has = seen.boot_order;
        let path = format!("/disks/{}/bootOrder", disk.name);
        let given = |order| is_given(fragment, order, Some(&seen.target));
        let wanted = has.is_some() && (spec.disks.iter().any(|other| other.boot_order == has) || has.is_some_and(given));
        if !wanted || found.changed.iter().any(|(_, difference)| difference.path == path) {
            continue;
        }
        if let Some(row) = field(Kind::VirtualMachine, &path) {
            found.changed.push((row, Difference { path, old: has.map(Into::into), new: None }));
        }
    }
}

/// A disk as it is plugged into a running domain, and whether it gets its place from the next start on: what runs keeps its places, and
/// another device has it, or kinds of devices have all.
pub(super) fn plugged(domain: &DomainState, path: &str, wanted: &DiskWanted) -> (DiskWanted, bool) {
    let mut docs = [Some(&domain.doc), domain.live.as_ref()].into_iter().flatten();
    let has = |place: Place, order: u32| place.order == order && place.device != path;
    let taken = |order: u32| docs.any(|doc| doc.boots_by_kind || places(doc).any(|place| has(place, order)));
    let later = wanted.boot_order.is_some_and(taken);
    (DiskWanted { boot_order: wanted.boot_order.filter(|_| !later), ..wanted.clone() }, later)
}

/// Refuses a place that belongs to a device whose places are not jvp's to give away: an interface's, or a disk's of somebody else.
pub(super) fn refuse_taken(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    domain: &DomainState,
    (found, fragment, last): (&Differences, Option<&Fragment>, &BTreeSet<String>),
) -> bool {
    let goes = |path: &str| {
        found.changed.iter().any(|(_, difference)| difference.new.is_none() && difference.path == format!("{path}/name"))
    };
    let ours = |path: &str| spec.disks.iter().any(|disk| path == format!("/disks/{}", disk.name));
    // What the fragment gave is taken back where it says otherwise by now, or nothing.
    let moves = |place: &Place| match fragment.and_then(|fragment| fragment.leaves().get(&place.written)) {
        Some(leaf) => leaf.value != Some(place.order.to_string()),
        None => last.contains(&place.written),
    };
    let taken = places(&domain.doc).find_map(|place| {
        let disk = spec.disks.iter().find(|disk| disk.boot_order == Some(place.order))?;
        let stays = !ours(&place.device) && !goes(&place.device) && !moves(&place);
        stays.then(|| (disk.name.clone(), place.order, place.device))
    });
    let Some((disk, order, holder)) = taken else { return false };
    p.refuse(
        wanted,
        RefusalKind::Guard,
        format!("/disks/{disk}/bootOrder: the place {order} is that of {holder}, which no field of this manifest gave it"),
        &["choose another place, or take it from that device (`xml:`, else virsh edit)".into()],
    );
    true
}
