//! The header of a qcow2 image, versions 2 and 3, as QEMU's docs/interop/qcow2 tells it.
//!
//! It follows no pointer: that tables lie inside the file is checked by arithmetic alone.

use super::ImageError;

const MAGIC: &[u8] = b"QFI\xfb";
const VERSION_2_LENGTH: u64 = 72;
const VERSION_3_LENGTH: u64 = 104;

/// Incompatible features that are understood: dirty, corrupt, external data file, compression type, extended L2 entries.
const KNOWN_BITS: u64 = 0b1_1111;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;

const EXTENSION_END: u32 = 0;
const EXTENSION_ENCRYPTION: u32 = 0x0537_be77;
const EXTENSION_EXTERNAL_DATA: u32 = 0x4441_5441;

/// Whether it is qcow2 of some version (version 1 is another format, `qcow`).
pub(super) fn is(head: &[u8]) -> bool {
    head.starts_with(MAGIC) && u32_at(head, 4) != Some(1)
}

/// Checks the header and gives the bytes that a guest sees.
pub(super) fn virtual_size(head: &[u8], file_len: u64) -> Result<u64, ImageError> {
    let cut = ImageError::Damaged { what: "the header is cut off" };
    let u32_of = |offset| u32_at(head, offset).ok_or(cut.clone());
    let u64_of = |offset| u64_at(head, offset).ok_or(cut.clone());

    let version = u32_of(4)?;
    if !(2..=3).contains(&version) {
        return Err(ImageError::Version { version });
    }
    if u64_of(8)? != 0 || u32_of(16)? != 0 {
        return Err(ImageError::BackingFile);
    }
    let cluster_bits = u32_of(20)?;
    if !(9..=21).contains(&cluster_bits) {
        return Err(ImageError::Damaged { what: "the size of its clusters is none" });
    }
    let cluster = 1u64 << cluster_bits;
    let size = u64_of(24)?;
    if u32_of(32)? != 0 {
        return Err(ImageError::Encrypted);
    }

    let (features, header_length) = if version == 3 { (u64_of(72)?, u64::from(u32_of(100)?)) } else { (0, VERSION_2_LENGTH) };
    let unknown = features & !KNOWN_BITS;
    if unknown != 0 {
        return Err(ImageError::UnknownFeatures { bits: unknown });
    }
    if features & EXTERNAL_DATA != 0 {
        return Err(ImageError::ExternalData);
    }
    if features & CORRUPT != 0 {
        return Err(ImageError::Damaged { what: "it is marked as corrupt" });
    }
    if version == 3 && (header_length < VERSION_3_LENGTH || !header_length.is_multiple_of(8) || header_length > cluster) {
        return Err(ImageError::Damaged { what: "the length of its header is none" });
    }
    check_compression(head, features, header_length)?;
    check_extensions(head, header_length, cluster)?;
    check_tables(head, file_len, cluster, size, features & EXTENDED_L2 != 0)?;
    Ok(size)
}

fn check_compression(head: &[u8], features: u64, header_length: u64) -> Result<(), ImageError> {
    let method = if header_length > VERSION_3_LENGTH { head.get(104).copied().unwrap_or_default() } else { 0 };
    match (method, features & COMPRESSION_TYPE != 0) {
        (0, false) | (1, true) => Ok(()),
        (0, true) | (1, false) => Err(ImageError::Damaged { what: "its method of compression contradicts itself" }),
        (method, _) => Err(ImageError::Compression { method }),
    }
}

/// Walks the extensions of the header, which lie in the first cluster.
fn check_extensions(head: &[u8], header_length: u64, cluster: u64) -> Result<(), ImageError> {
    let runs_past = ImageError::Damaged { what: "an extension of its header runs past its place" };
    let mut offset = header_length;
    while offset + 8 <= cluster {
        let (Some(kind), Some(len)) = (u32_at(head, offset), u32_at(head, offset + 4)) else {
            // Past the first MiB, or past the file: no writer of qcow2 puts an extension there.
            return Err(runs_past);
        };
        match kind {
            EXTENSION_END => return Ok(()),
            EXTENSION_ENCRYPTION => return Err(ImageError::Encrypted),
            EXTENSION_EXTERNAL_DATA => return Err(ImageError::ExternalData),
            _ => {}
        }
        offset = offset + 8 + u64::from(len).next_multiple_of(8);
        if offset > cluster {
            return Err(runs_past);
        }
    }
    Ok(())
}

/// The tables that the header points at have to lie inside the file, and the first be long enough for the size.
fn check_tables(head: &[u8], file_len: u64, cluster: u64, size: u64, extended_l2: bool) -> Result<(), ImageError> {
    let damaged = |what| Err(ImageError::Damaged { what });
    let l1_entries = u64::from(u32_at(head, 36).unwrap_or_default());
    let l1_offset = u64_at(head, 40).unwrap_or_default();
    let refcount_offset = u64_at(head, 48).unwrap_or_default();
    let refcount_clusters = u64::from(u32_at(head, 56).unwrap_or_default());
    if size == 0 || i64::try_from(size).is_err() {
        return damaged("the size of its disk is none");
    }
    let entries_in_l2 = cluster / if extended_l2 { 16 } else { 8 };
    let spanned_by_l2 = cluster.saturating_mul(entries_in_l2);
    if l1_entries < size.div_ceil(spanned_by_l2) {
        return damaged("its first table is too short for its size");
    }
    if l1_offset == 0 || !l1_offset.is_multiple_of(cluster) || refcount_offset == 0 || !refcount_offset.is_multiple_of(cluster) {
        return damaged("a table lies where none can be");
    }
    let l1_end = l1_offset.saturating_add(l1_entries * 8);
    let refcount_end = refcount_offset.saturating_add(refcount_clusters.saturating_mul(cluster));
    if l1_end > file_len || refcount_end > file_len {
        return damaged("the file ends before its tables");
    }
    Ok(())
}

fn u32_at(head: &[u8], offset: impl TryInto<usize>) -> Option<u32> {
    bytes_at(head, offset).map(u32::from_be_bytes)
}

fn u64_at(head: &[u8], offset: impl TryInto<usize>) -> Option<u64> {
    bytes_at(head, offset).map(u64::from_be_bytes)
}

fn bytes_at<const N: usize>(head: &[u8], offset: impl TryInto<usize>) -> Option<[u8; N]> {
    let offset = offset.try_into().ok()?;
    head.get(offset..offset.checked_add(N)?)?.try_into().ok()
}
