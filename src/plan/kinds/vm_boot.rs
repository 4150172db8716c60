//! Places in the boot order: each is one device's, over all disks and interfaces. libvirt refuses a definition that gives one to two.

use crate::manifest::VirtualMachineSpec;
use crate::name::Kind;
use crate::observe::DomainState;
use crate::plan::diff::{Difference, Differences};
use crate::plan::fields::field;
use crate::plan::model::RefusalKind;
use crate::plan::planner::Planner;
use crate::resolve::Wanted;
use crate::xml::domain::{DiskWanted, DomainDoc};

/// Every device of a document that has a place, by its path.
fn places(doc: &DomainDoc) -> impl Iterator<Item = (String, u32)> {
    let key =
        |key: &Option<crate::name::DeviceName>, other: &str| key.as_ref().map_or_else(|| other.to_owned(), ToString::to_string);
    let disks = doc.disks.iter().map(move |disk| (format!("/disks/{}", key(&disk.key, &disk.target)), disk.boot_order));
    let nics = doc.interfaces.iter().map(move |nic| (format!("/interfaces/{}", key(&nic.key, "")), nic.boot_order));
    disks.chain(nics).filter_map(|(path, order)| Some((path, order?)))
}

/// Adds that a disk gives up a place which nobody wrote for it, as jvp gives the first disk, where another disk is to have it.
pub(super) fn give_way(spec: &VirtualMachineSpec, doc: &DomainDoc, found: &mut Differences) {
    for disk in spec.disks.iter().filter(|disk| disk.boot_order.is_none()) {
        let has = doc.disk(disk.name.as_str()).and_then(|disk| disk.boot_order);
        let path = format!("/disks/{}/bootOrder", disk.name);
        let wanted = has.is_some() && spec.disks.iter().any(|other| other.boot_order == has);
        if !wanted || found.changed.iter().any(|(_, difference)| difference.path == path) {
            continue;
        }
        if let Some(row) = field(Kind::VirtualMachine, &path) {
            found.changed.push((row, Difference { path, old: has.map(Into::into), new: None }));
        }
    }
}

/// A disk as it is plugged into a running domain, and whether it gets its place from the next start on: what runs keeps its places, and
/// another device has it.
pub(super) fn plugged(domain: &DomainState, path: &str, wanted: DiskWanted) -> (DiskWanted, bool) {
    let docs = [Some(&domain.doc), domain.live.as_ref()].into_iter().flatten();
    let taken = |order: u32| docs.flat_map(|doc| places(doc)).any(|(other, its)| its == order && other != path);
    let later = wanted.boot_order.is_some_and(taken);
    (DiskWanted { boot_order: wanted.boot_order.filter(|_| !later), ..wanted }, later)
}

/// Refuses a place that belongs to a device whose places are not jvp's to give away: an interface's, or a disk's of somebody else.
pub(super) fn refuse_taken(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    domain: &DomainState,
    found: &Differences,
) -> bool {
    let goes = |path: &str| {
        found.changed.iter().any(|(_, difference)| difference.new.is_none() && difference.path == format!("{path}/name"))
    };
    let ours = |path: &str| spec.disks.iter().any(|disk| path == format!("/disks/{}", disk.name));
    let taken = places(&domain.doc).find_map(|(path, order)| {
        let disk = spec.disks.iter().find(|disk| disk.boot_order == Some(order))?;
        (!ours(&path) && !goes(&path)).then(|| (disk.name.clone(), order, path))
    });
    let Some((disk, order, holder)) = taken else { return false };
    p.refuse(
        wanted,
        RefusalKind::Guard,
        format!("/disks/{disk}/bootOrder: the place {order} is that of {holder}, which was given it by hand"),
        &["choose another place, or take it from that device (virsh edit)".into()],
    );
    true
}
