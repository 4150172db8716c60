//! What an image file is, by its own first bytes.
//!
//! Pure, and made for bytes from outside: it never panics, never allocates by what a header says, and reads nothing beyond the
//! first MiB that it is given. Nothing else may look at an image before this room has let it pass; in particular no qemu-img.

mod qcow2;
mod signature;

use crate::manifest::TemplateFormat;

/// How many bytes from the beginning of a file are read, or all of a shorter one.
pub const HEAD_BYTES: u64 = 1 << 20;

/// The greatest size that a guest may see, unless a policy says otherwise: 1 TiB.
pub const MAX_VIRTUAL_SIZE: u64 = 1 << 40;

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its format.
    pub format: TemplateFormat,
    /// Bytes that a guest sees.
    pub virtual_size: u64,
}

/// Reads what an image is. `head` holds the first [`HEAD_BYTES`] of it, or all where it is shorter; `file_len` is its length.
///
/// Whatever is no qcow2 and begins like nothing known is raw; an ISO 9660 or UDF volume is an iso.
pub fn inspect(head: &[u8], file_len: u64) -> Result<ImageInfo, ImageError> {
    if file_len == 0 {
        return Err(ImageError::Empty);
    }
    if (head.len() as u64) < file_len.min(HEAD_BYTES) {
        return Err(ImageError::ShortHead { given: head.len() });
    }
    let head = head.get(..usize::try_from(HEAD_BYTES).unwrap_or(usize::MAX)).unwrap_or(head);
    if qcow2::is(head) {
        return Ok(ImageInfo { format: TemplateFormat::Qcow2, virtual_size: qcow2::virtual_size(head, file_len)? });
    }
    if let Some(found) = signature::of(head) {
        return Err(ImageError::Known { what: found.what, advice: found.advice });
    }
    let format = if signature::is_iso(head) { TemplateFormat::Iso } else { TemplateFormat::Raw };
    // QEMU rounds a file up to whole sectors.
    Ok(ImageInfo { format, virtual_size: file_len.div_ceil(512).saturating_mul(512) })
}

/// Reads what an image is and refuses it where it isn't what was `declared`, or larger than `max_virtual_size`.
///
/// The answer's format is the declared one. A CD-ROM that is also a bootable disk (a hybrid) may be declared as either.
pub fn check(head: &[u8], file_len: u64, declared: TemplateFormat, max_virtual_size: u64) -> Result<ImageInfo, ImageError> {
    let found = inspect(head, file_len)?;
    let hybrid = declared == TemplateFormat::Raw && found.format == TemplateFormat::Iso && signature::has_boot_record(head);
    if found.format != declared && !hybrid {
        return Err(ImageError::Other { declared: word(declared), found: word(found.format) });
    }
    if found.virtual_size > max_virtual_size {
        return Err(ImageError::TooLarge { size: found.virtual_size, max: max_virtual_size });
    }
    Ok(ImageInfo { format: declared, ..found })
}

/// A format as manifests write it.
pub fn word(format: TemplateFormat) -> &'static str {
    match format {
        TemplateFormat::Qcow2 => "qcow2",
        TemplateFormat::Raw => "raw",
        TemplateFormat::Iso => "iso",
    }
}

/// Why an image is refused: fragments with what is wrong and what to do. The caller names the object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// A file without bytes.
    #[error("the image is empty: fetch or build it anew")]
    Empty,
    /// Fewer bytes than were needed to judge; a mistake of the caller's, or a file that shrinks.
    #[error("only {given} bytes of the image could be read: was it being written to?")]
    ShortHead {
        /// How many there were.
        given: usize,
    },
    /// Begins like a format that is neither taken nor raw.
    #[error("the image is {what}, which can't be taken for a disk: {advice}")]
    Known {
        /// A noun phrase.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Another format than the manifest says.
    #[error("the image is {found}, but its manifest says `format: {declared}`: correct the one or the other")]
    Other {
        /// As declared.
        declared: &'static str,
        /// As found.
        found: &'static str,
    },
    /// A guest would see more than is allowed.
    #[error(
        "a guest would see {size} bytes of the image, more than the {max} that are allowed: shrink it, or raise maxVirtualSize"
    )]
    TooLarge {
        /// Its virtual size.
        size: u64,
        /// The greatest allowed.
        max: u64,
    },
    /// The header does not hold what its format demands, or the file ends before what the header points at.
    #[error("the qcow2 image is damaged or cut off ({what}): fetch it anew, or look at it with `qemu-img check`")]
    Damaged {
        /// Where.
        what: &'static str,
    },
    /// It takes its data from another file.
    #[error("the qcow2 image has a backing file: flatten it with `qemu-img convert -O qcow2`")]
    BackingFile,
    /// Its data is in another file.
    #[error("the qcow2 image keeps its data in an external file: convert it with `qemu-img convert -O qcow2`")]
    ExternalData,
    /// Encrypted.
    #[error("the qcow2 image is encrypted: convert it to a plain one")]
    Encrypted,
    /// A later version of the format.
    #[error("the qcow2 image has version {version} of the format, of which 2 and 3 are known: convert it with `-o compat=1.1`")]
    Version {
        /// The version.
        version: u32,
    },
    /// Features that a reader has to know.
    #[error(
        "the qcow2 image needs features that are not known here (incompatible bits {bits:#x}): convert it with `-o compat=1.1`"
    )]
    UnknownFeatures {
        /// The unknown bits.
        bits: u64,
    },
    /// Compressed by a method that isn't known.
    #[error("the qcow2 image is compressed by an unknown method ({method}): convert it with `-o compression_type=zlib`")]
    Compression {
        /// The method's number.
        method: u8,
    },
}

#[cfg(test)]
mod tests;
