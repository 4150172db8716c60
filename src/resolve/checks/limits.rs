//! Rules of what a disk may read and write: what libvirt or QEMU would refuse, some of it at the next start only.

use super::Check;
use crate::diag::Code;
use crate::manifest::{DiskLimits, MOST};

pub(super) fn check(check: &mut Check<'_>, pointer: &str, limits: &DiskLimits) {
    let place = |limit: usize| format!("{pointer}/{}", DiskLimits::name(limit));
    let quoted = |limit: usize| format!("`{}`", DiskLimits::name(limit));
    for (name, count) in limits.all() {
        if count.is_some_and(|count| count > MOST) {
            let message = format!("`{name}` is more than {MOST}, the most that QEMU takes");
            check.say(Code::WrongValue, &format!("{pointer}/{name}"), message, "take it out where there is to be no limit");
        }
    }
    for rate in 0..DiskLimits::RATES {
        // The sum is told beside its parts, once each.
        for sum in DiskLimits::excluded_by(rate).iter().filter(|sum| **sum < rate) {
            if limits.get(rate).is_some() && limits.get(*sum).is_some() {
                let message = format!("{} limits reads and writes together, and {} one of them", quoted(*sum), quoted(rate));
                check.clash(Code::Conflict, &place(rate), &place(*sum), message, "take one of them out");
            }
        }
        let (burst, length) = (DiskLimits::burst_of(rate), DiskLimits::length_of(rate));
        match (limits.get(rate), limits.get(burst)) {
            (None, Some(_)) => {
                let message = format!("{} is for bursts above {}, which isn't written", quoted(burst), quoted(rate));
                check.say(Code::Conflict, &place(burst), message, &format!("write {}, too", quoted(rate)));
            }
            (Some(least), Some(most)) if most < least => {
                let message = format!("{} ({most}) is less than {} ({least})", quoted(burst), quoted(rate));
                check.clash(Code::Conflict, &place(burst), &place(rate), message, "");
            }
            _ => {}
        }
        match (limits.get(burst), limits.get(length)) {
            (None, Some(_)) => {
                let message = format!("{} is how long {} holds, which isn't written", quoted(length), quoted(burst));
                check.say(Code::Conflict, &place(length), message, &format!("write {}, too", quoted(burst)));
            }
            (Some(most), Some(seconds)) if seconds > 1 && most > MOST / seconds => {
                let message = format!("{} for {seconds} seconds is more than QEMU can count", quoted(burst));
                check.clash(Code::Conflict, &place(length), &place(burst), message, "write less of either");
            }
            _ => {}
        }
    }
    let operations = (0..DiskLimits::RATES).filter(|rate| DiskLimits::counts_operations(*rate));
    if limits.iops_size.is_some() && operations.into_iter().all(|rate| limits.get(rate).is_none()) {
        let message = "`iopsSize` says how operations count, and nothing limits these";
        check.say(Code::Conflict, &place(DiskLimits::SIZE), message, "write `iops`, `readIOPS` or `writeIOPS`, too");
    }
}
