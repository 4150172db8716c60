//! Rules of a VM's disks and interfaces.

use super::{Check, limits, storage};
use crate::diag::Code;
use crate::manifest::{Disk, DiskBus, DiskDevice, Interface};

pub(super) fn disks(check: &mut Check<'_>, disks: &[Disk]) {
    for (index, disk) in disks.iter().enumerate() {
        one(check, &format!("/disks/{index}"), disk);
    }
    let places = |field: &'static str| {
        move |(index, disk): (usize, &'_ Disk)| (index, disk.name.to_string(), format!("/disks/{index}/{field}"))
    };
    let names = disks.iter().enumerate().map(places("name")).map(|(_, name, place)| (name, place));
    check.unique(names, |name| format!("two disks are called `{name}`"));
    let volumes = disks.iter().enumerate().filter_map(|(i, disk)| Some((disk.volume.clone()?, format!("/disks/{i}/volume"))));
    check.unique(volumes, |volume| format!("Volume/{volume} is plugged in twice"));
    let orders = disks.iter().enumerate().filter_map(|(i, disk)| Some((disk.boot_order?, format!("/disks/{i}/bootOrder"))));
    check.unique(orders, |order| format!("two disks have the place {order} in the boot order"));
    // An object's name has no `_`, so a claim's name is made from the disk's with `-` for it.
    let claims = disks
        .iter()
        .enumerate()
        .filter(|(_, disk)| disk.claim.is_some() && disk.name.as_str().contains(['_', '-']))
        .map(|(i, disk)| ((disk.name.as_str().replace('_', "-"), disk.name.to_string()), format!("/disks/{i}/name")));
    let mut by_claim: std::collections::BTreeMap<String, (String, String)> = std::collections::BTreeMap::new();
    for ((claim, name), place) in claims {
        match by_claim.get(&claim) {
            Some((other, there)) if *other != name => {
                let (message, there) = (format!("the disks `{other}` and `{name}` claim one volume, `{claim}`"), there.clone());
                check.clash(Code::DuplicateItem, &place, &there, message, "rename one of them");
            }
            _ => {
                by_claim.insert(claim, (name, place));
            }
        }
    }
}

fn one(check: &mut Check<'_>, pointer: &str, disk: &Disk) {
    let cdrom = disk.device == Some(DiskDevice::Cdrom);
    let fields = [("volume", disk.volume.is_some()), ("claim", disk.claim.is_some()), ("image", disk.image.is_some())];
    check.one_of(pointer, &fields, cdrom);
    if let Some(claim) = &disk.claim {
        storage::claim(check, &format!("{pointer}/claim"), claim);
        if cdrom {
            let message = "a CD-ROM drive holds an `image` or a `volume`, not a volume of its own";
            check.say(Code::Conflict, &format!("{pointer}/claim"), message, "");
        }
    }
    if let Some(limited) = &disk.limits {
        limits::check(check, &format!("{pointer}/limits"), limited);
    }
    let place = |field: &str| format!("{pointer}/{field}");
    if disk.read_only == Some(false) && (cdrom || disk.image.is_some()) {
        let what = if cdrom { "a CD-ROM" } else { "a Template used as it is" };
        check.say(Code::Conflict, &place("readOnly"), format!("{what} is always read-only"), "take `readOnly` out");
    }
    if cdrom && disk.bus == Some(DiskBus::Virtio) {
        check.say(Code::Conflict, &place("bus"), "a CD-ROM drive can't hang on virtio", "write `bus: sata` or `bus: scsi`");
    }
    let read_only = disk.read_only == Some(true) || disk.image.is_some();
    if !cdrom && read_only && disk.bus == Some(DiskBus::Sata) {
        check.say(Code::Conflict, &place("bus"), "QEMU has no read-only disks on SATA", "write `bus: virtio` or `bus: scsi`");
    }
}

pub(super) fn interfaces(check: &mut Check<'_>, interfaces: &[Interface]) {
    let names = interfaces.iter().enumerate().map(|(i, nic)| (nic.name.to_string(), format!("/interfaces/{i}/name")));
    check.unique(names, |name| format!("two interfaces are called `{name}`"));
}
