//! Heads of images: whatever the bytes are, nothing that leads elsewhere, is hidden or can't be whole passes, and one that passes is what
//! it was declared to be. A byte for the length of the file, one for the declared format (and whether the next five bytes stand where a
//! CD-ROM has its name, too), and the head.

use jvp::image::{HEAD_BYTES, ImageError, MAX_VIRTUAL_SIZE, check, inspect};
use jvp::manifest::TemplateFormat;

const FORMATS: [TemplateFormat; 3] = [TemplateFormat::Qcow2, TemplateFormat::Raw, TemplateFormat::Iso];

/// The target.
pub fn target(data: &[u8]) {
    let [length, declared, head @ ..] = data else { return };
    let own = head.len() as u64;
    // As long as its head, longer by as much as the byte says, or shorter.
    let length = match length {
        0 => own,
        255 => own / 2,
        n => own.saturating_add(1 << (n % 64)),
    };
    judged(head, length);
    // A file that is longer than its head has at least a MiB of it.
    let mut whole = head.to_vec();
    whole.resize(usize::try_from(length.clamp(own, HEAD_BYTES)).unwrap_or(head.len()), 0);
    if let (true, Some(place), Some(name)) = (*declared >= 0x80, whole.get_mut(0x8001..0x8006), head.get(..5)) {
        place.copy_from_slice(name);
    }
    judged(&whole, length);
    agrees(&whole, length, FORMATS[usize::from(*declared) % 3]);
}

fn judged(head: &[u8], length: u64) {
    // Nobody has more of a file than there is.
    let head = head.get(..usize::try_from(length).unwrap_or(usize::MAX)).unwrap_or(head);
    let found = inspect(head, length);
    if length == 0 {
        assert_eq!(found, Err(ImageError::Empty));
        return;
    }
    if (head.len() as u64) < length.min(HEAD_BYTES) {
        assert_eq!(found, Err(ImageError::ShortHead { given: head.len() }));
        return;
    }
    let Ok(info) = found else { return };
    let number =
        |at: usize, len: usize| head.get(at..at + len).map_or(0, |b| b.iter().fold(0_u64, |n, b| n << 8 | u64::from(*b)));
    let magic = head.starts_with(b"QFI\xfb");
    assert_eq!(info.format == TemplateFormat::Qcow2, magic, "{info:?}");
    assert!(info.virtual_size > 0, "{info:?}");
    if !magic {
        assert_eq!(info.virtual_size, length.div_ceil(512).saturating_mul(512));
        for other in [&b"KDMV"[..], b"LUKS\xba\xbe", b"vhdxfile", b"conectix", b"QED\0", b"\x1f\x8b\x08", b"COWD"] {
            assert!(!head.starts_with(other), "{other:?} passes");
        }
        return;
    }
    let version = number(4, 4);
    assert!(version == 2 || version == 3, "version {version} passes");
    assert_eq!((number(8, 8), number(16, 4), number(32, 4)), (0, 0, 0), "a backing file or a key passes");
    assert_eq!(number(24, 8), info.virtual_size);
    if version == 3 {
        // Dirty, a type of compression, extended entries: no other bit, above all no external data.
        assert_eq!(number(72, 8) & !0b1_1001, 0, "a feature passes");
    }
    let end = number(40, 8) + number(36, 4) * 8;
    assert!(end <= length, "a table ends at {end} of {length}");
    // What is whole in a file is whole in a longer one.
    let (more, padded) = (length.saturating_add(4096), [head, &[0; 4096][..]].concat());
    assert_eq!(inspect(&padded, more), Ok(info), "longer");
}

fn agrees(head: &[u8], length: u64, declared: TemplateFormat) {
    let found = inspect(head, length);
    match check(head, length, declared, MAX_VIRTUAL_SIZE) {
        Ok(info) => {
            assert_eq!(info.format, declared);
            assert!(info.virtual_size <= MAX_VIRTUAL_SIZE);
            let Ok(found) = found else { unreachable!("{found:?} passes as {info:?}") };
            assert_eq!(found.virtual_size, info.virtual_size);
            let hybrid =
                found.format == TemplateFormat::Iso && declared == TemplateFormat::Raw && head.get(510..512) == Some(b"\x55\xaa");
            assert!(found.format == declared || hybrid, "{found:?} passes as {declared:?}");
        }
        Err(ImageError::TooLarge { size, max }) => assert!(size > max && found.is_ok_and(|found| found.virtual_size == size)),
        Err(ImageError::Other { .. }) => assert!(found.is_ok_and(|found| found.format != declared)),
        Err(other) => {
            assert_eq!(found.as_ref().err(), Some(&other));
            assert!(!other.to_string().is_empty());
        }
    }
}
