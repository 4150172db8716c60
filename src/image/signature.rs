//! What files begin with that are no raw disks, whatever a manifest says.
//!
//! A row too many costs its owner a conversion; a row too few lets a guest's bytes be taken for another format. qcow2 has a
//! reader of its own.

/// What a file was found to be.
pub(super) struct Known {
    /// A noun phrase.
    pub(super) what: &'static str,
    /// What to do.
    pub(super) advice: &'static str,
}

struct Row {
    offset: usize,
    bytes: &'static [u8],
    what: &'static str,
    advice: &'static str,
}

const CONVERT: &str = "convert it with `qemu-img convert -O qcow2`";
const UNPACK: &str = "unpack it first";
const URL: &str = "look where the URL leads; it is no image";

const TABLE: &[Row] = &[
    Row { offset: 0, bytes: b"QFI\xfb\0\0\0\x01", what: "of version 1 of QEMU's format (qcow)", advice: CONVERT },
    Row { offset: 0, bytes: b"QED\0", what: "a QED image", advice: CONVERT },
    Row { offset: 0, bytes: b"KDMV", what: "a VMDK image", advice: CONVERT },
    Row { offset: 0, bytes: b"COWD", what: "a VMDK image", advice: CONVERT },
    Row { offset: 0, bytes: b"# Disk DescriptorFile", what: "a VMDK descriptor", advice: CONVERT },
    Row { offset: 0x40, bytes: b"\x7f\x10\xda\xbe", what: "a VDI image", advice: CONVERT },
    Row { offset: 0, bytes: b"<<< Oracle VM VirtualBox Disk Image", what: "a VDI image", advice: CONVERT },
    Row { offset: 0, bytes: b"vhdxfile", what: "a VHDX image", advice: CONVERT },
    Row { offset: 0, bytes: b"conectix", what: "a VHD image", advice: CONVERT },
    Row { offset: 0, bytes: b"WithoutFreeSpace", what: "a Parallels image", advice: CONVERT },
    Row { offset: 0, bytes: b"WithouFreSpacExt", what: "a Parallels image", advice: CONVERT },
    Row { offset: 0, bytes: b"Bochs Virtual HD Image", what: "a Bochs image", advice: CONVERT },
    Row { offset: 0, bytes: b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop", what: "a cloop image", advice: CONVERT },
    Row { offset: 0, bytes: b"LUKS\xba\xbe", what: "encrypted with LUKS", advice: "decrypt it first" },
    Row { offset: 0, bytes: b"SKUL\xba\xbe", what: "encrypted with LUKS", advice: "decrypt it first" },
    Row { offset: 0, bytes: b"\x1f\x8b\x08", what: "compressed with gzip", advice: UNPACK },
    Row { offset: 0, bytes: b"\xfd7zXZ\0", what: "compressed with xz", advice: UNPACK },
    Row { offset: 0, bytes: b"\x28\xb5\x2f\xfd", what: "compressed with zstd", advice: UNPACK },
    Row { offset: 0, bytes: b"BZh", what: "compressed with bzip2", advice: UNPACK },
    Row { offset: 0, bytes: b"\x04\x22\x4d\x18", what: "compressed with lz4", advice: UNPACK },
    Row { offset: 0, bytes: b"PK\x03\x04", what: "a zip archive", advice: UNPACK },
    Row { offset: 0, bytes: b"7z\xbc\xaf\x27\x1c", what: "a 7z archive", advice: UNPACK },
    Row { offset: 257, bytes: b"ustar", what: "a tar archive (an OVA is one)", advice: UNPACK },
    Row {
        offset: 0,
        bytes: b"version https://git-lfs",
        what: "a pointer of Git LFS",
        advice: "fetch the file itself with `git lfs pull`",
    },
];

/// What `head` begins like, if anything of the table.
pub(super) fn of(head: &[u8]) -> Option<Known> {
    if let Some(row) = TABLE.iter().find(|row| at(head, row.offset, row.bytes)) {
        return Some(Known { what: row.what, advice: row.advice });
    }
    if is_vmdk_descriptor(head) {
        return Some(Known { what: "a VMDK descriptor", advice: CONVERT });
    }
    is_markup(head).then_some(Known { what: "a web page", advice: URL })
}

fn at(head: &[u8], offset: usize, bytes: &[u8]) -> bool {
    head.get(offset..).is_some_and(|rest| rest.starts_with(bytes))
}

/// QEMU takes any text for a VMDK descriptor whose first line that is neither blank nor a comment is its version.
fn is_vmdk_descriptor(head: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .find(|line| !line.is_empty() && !line.starts_with(b"#"))
        .is_some_and(|line| line.starts_with(b"version="))
}

fn is_markup(head: &[u8]) -> bool {
    let start: Vec<u8> = head.trim_ascii_start().iter().take(14).map(u8::to_ascii_lowercase).collect();
    start.starts_with(b"<!doctype html") || start.starts_with(b"<html") || start.starts_with(b"<?xml")
}

/// Whether it holds an ISO 9660 or UDF volume: their descriptors begin at sector 16 of 2048 bytes.
pub(super) fn is_iso(head: &[u8]) -> bool {
    [&b"CD001"[..], b"BEA01", b"NSR02", b"NSR03"].iter().any(|id| at(head, 0x8001, id))
}

/// Whether a BIOS would start it as a disk.
pub(super) fn has_boot_record(head: &[u8]) -> bool {
    at(head, 510, b"\x55\xaa")
}
