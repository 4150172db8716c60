//! What a disk may read and write, as libvirt says it: `<iotune>`, and the parameters of its call.
//!
//! A group that several disks share their limits in is no part of the language: it stays as it is.

use roxmltree::Node;

use crate::manifest::{DiskLimits, LIMITS};
use crate::xml::read;
use crate::xml::tree::Element;

/// libvirt's words, in the order of the limits.
const WORDS: [&str; LIMITS] = [
    "total_bytes_sec",
    "read_bytes_sec",
    "write_bytes_sec",
    "total_iops_sec",
    "read_iops_sec",
    "write_iops_sec",
    "total_bytes_sec_max",
    "read_bytes_sec_max",
    "write_bytes_sec_max",
    "total_iops_sec_max",
    "read_iops_sec_max",
    "write_iops_sec_max",
    "size_iops_sec",
    "total_bytes_sec_max_length",
    "read_bytes_sec_max_length",
    "write_bytes_sec_max_length",
    "total_iops_sec_max_length",
    "read_iops_sec_max_length",
    "write_iops_sec_max_length",
];

/// Each limit under libvirt's word; 0 is none.
pub fn words(limits: &DiskLimits) -> impl Iterator<Item = (&'static str, u64)> {
    let all = limits.all();
    WORDS.into_iter().zip(all).map(|(word, (_, count))| (word, count.unwrap_or(0)))
}

/// Reads an `<iotune>`.
pub(super) fn project(node: Node<'_, '_>) -> DiskLimits {
    let mut limits = DiskLimits::default();
    for (place, word) in WORDS.into_iter().enumerate() {
        let count = read::text_at(node, &[word]).and_then(|text| text.trim().parse().ok());
        limits.set(place, count.filter(|count| *count > 0));
    }
    limits
}

/// An `<iotune>`; none where nothing is limited.
pub(super) fn element(limits: &DiskLimits) -> Option<Element> {
    if limits.is_empty() {
        return None;
    }
    let written = words(limits).filter(|(_, count)| *count > 0);
    Some(Element::new("iotune").with_all(written.map(|(word, count)| Element::new(word).text(count))))
}

/// Brings a disk's limits into the wanted state. Without any, a group has nothing to share.
pub(super) fn put(disk: &mut Element, wanted: &DiskLimits) {
    let read = |word: &str| {
        let count = disk.child("iotune").and_then(|iotune| iotune.child(word)?.text_content().trim().parse::<u64>().ok());
        count.unwrap_or(0)
    };
    if words(wanted).all(|(word, count)| read(word) == count) {
        return;
    }
    let Some(new) = element(wanted) else {
        disk.remove_named("iotune");
        return;
    };
    let iotune = disk.ensure("iotune");
    iotune.remove(|child| WORDS.contains(&&*child.name));
    iotune.nodes.extend(new.nodes);
}
