//! Headers as qemu-img 10.0 writes them, and what is made of them by hand.

use proptest::prelude::*;

use super::*;

/// `qemu-img create -f qcow2 plain.qcow2 10G`: the header and its feature names, cut after the first.
const PLAIN: &str = "514649fb00000003000000000000000000000000000000100000000280000000000000000000001400000000000300000000000000010000\
    0000000100000000000000000000000000000000000000000000000000000000000000000000000000000004000000700000000000000000\
    6803f85700000030000064697274792062697400000000000000000000000000000000000000000000000000000000000000000000000000";
const PLAIN_LENGTH: u64 = 196_768;
/// `-o compat=0.10`, 64M.
const V2: &str = "514649fb00000002000000000000000000000000000000100000000004000000000000000000000100000000000300000000000000010000\
    000000010000000000000000000000000000000000000000";
/// `-o data_file=d.raw`.
const EXTERNAL: &str = "514649fb00000003000000000000000000000000000000100000000001000000000000000000000100000000000300000000000000010000\
    0000000100000000000000000000000000000000000000040000000000000000000000000000000200000004000000700000000000000000";
/// `-b plain.qcow2`.
const BACKED: &str = "514649fb0000000300000000000002100000000b000000100000000280000000000000000000001400000000000300000000000000010000\
    0000000100000000000000000000000000000000000000000000000000000000000000000000000000000004000000700000000000000000";
/// `-o encrypt.format=luks`.
const LUKS_INSIDE: &str = "514649fb00000003000000000000000000000000000000100000000001000000000000020000000100000000000300000000000000010000\
    0000000100000000000000000000000000000000000000000000000000000000000000000000000000000004000000700000000000000000";
/// `-o compression_type=zstd,extended_l2=on,cluster_size=128k`, 2T.
const ZSTD: &str = "514649fb00000003000000000000000000000000000000110000020000000000000000000000080000000000000600000000000000020000\
    0000000100000000000000000000000000000000000000180000000000000000000000000000000000000004000000700100000000000000";

/// A real header in a file of `len` bytes, zeroes after it.
fn image(header: &str, len: u64) -> Vec<u8> {
    let mut head = hex::decode(header).unwrap();
    head.resize(usize::try_from(len.min(HEAD_BYTES)).unwrap(), 0);
    head
}

fn patched(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut head = image(PLAIN, PLAIN_LENGTH);
    head[offset..offset + bytes.len()].copy_from_slice(bytes);
    head
}

fn plain(offset: usize, bytes: &[u8]) -> Result<ImageInfo, ImageError> {
    inspect(&patched(offset, bytes), PLAIN_LENGTH)
}

#[test]
fn qcow2_of_both_versions_tells_its_size() {
    let info = inspect(&image(PLAIN, PLAIN_LENGTH), PLAIN_LENGTH).unwrap();
    assert_eq!(info, ImageInfo { format: TemplateFormat::Qcow2, virtual_size: 10 << 30 });
    assert_eq!(inspect(&image(V2, 196_616), 196_616).unwrap().virtual_size, 64 << 20);
    assert_eq!(inspect(&image(ZSTD, 409_600), 409_600).unwrap().virtual_size, 2 << 40);
}

#[test]
fn what_leads_to_other_files_or_needs_a_key_is_refused() {
    assert_eq!(inspect(&image(BACKED, 196_768), 196_768), Err(ImageError::BackingFile));
    assert_eq!(inspect(&image(EXTERNAL, 327_680), 327_680), Err(ImageError::ExternalData));
    assert_eq!(inspect(&image(LUKS_INSIDE, 2_359_296), 2_359_296), Err(ImageError::Encrypted));
    assert_eq!(plain(16, &[0, 0, 0, 9]), Err(ImageError::BackingFile), "a name's length without its place");
    // The same by an extension alone, with the bits of the header clear.
    assert_eq!(plain(112, b"DATA"), Err(ImageError::ExternalData));
    assert_eq!(plain(112, &[0x05, 0x37, 0xbe, 0x77]), Err(ImageError::Encrypted));
}

#[test]
fn features_and_versions_of_the_future_are_refused() {
    assert_eq!(plain(79, &[0x20]), Err(ImageError::UnknownFeatures { bits: 0x20 }));
    assert_eq!(plain(72, &[0x80]), Err(ImageError::UnknownFeatures { bits: 1 << 63 }));
    assert_eq!(plain(4, &[0, 0, 0, 4]), Err(ImageError::Version { version: 4 }));
    let mut two = patched(79, &[8]);
    two[104] = 2;
    assert_eq!(inspect(&two, PLAIN_LENGTH), Err(ImageError::Compression { method: 2 }));
}

#[test]
fn a_header_that_contradicts_itself_is_damaged() {
    for (offset, bytes) in [
        (20, &[0, 0, 0, 8][..]), // cluster bits
        (20, &[0, 0, 0, 22]),
        (79, &[2]),            // corrupt
        (79, &[8]),            // compression type without one
        (100, &[0, 0, 0, 96]), // header length
        (100, &[0, 0xff, 0xff, 0xf8]),
        (24, &[0xff; 8]), // size
        (24, &[0; 8]),
        (36, &[0; 4]),    // L1 entries
        (40, &[0xff; 8]), // L1 offset
        (40, &[0, 0, 0, 0, 0, 3, 0, 1]),
        (48, &[0; 8]),     // refcount offset
        (56, &[0xff; 4]),  // refcount clusters
        (116, &[0xff; 4]), // extension length
    ] {
        assert!(matches!(plain(offset, bytes), Err(ImageError::Damaged { .. })), "{offset}: {:?}", plain(offset, bytes));
    }
    assert!(matches!(inspect(&image(PLAIN, PLAIN_LENGTH - 1), PLAIN_LENGTH - 1), Err(ImageError::Damaged { .. })), "cut off");
}

#[test]
fn every_truncation_of_a_real_header_is_an_error() {
    for header in [PLAIN, V2, ZSTD, BACKED] {
        let whole = hex::decode(header).unwrap();
        for len in 0..whole.len() {
            assert!(inspect(&whole[..len], len as u64).is_err() || len < 4, "{len}");
        }
    }
}

#[test]
fn bytes_that_begin_like_a_known_format_are_not_raw() {
    let disk = |offset: usize, bytes: &[u8]| {
        let mut head = vec![0u8; 4096];
        head[offset..offset + bytes.len()].copy_from_slice(bytes);
        check(&head, 4096, TemplateFormat::Raw, MAX_VIRTUAL_SIZE)
    };
    for (offset, bytes) in [
        (0, &b"QFI\xfb\0\0\0\x01"[..]),
        (0, b"KDMV"),
        (0, b"COWD"),
        (0, b"# Disk DescriptorFile\nversion=1\n"),
        (0, b"#comment\n\n version=3\n"),
        (0x40, b"\x7f\x10\xda\xbe"),
        (0, b"vhdxfile"),
        (0, b"conectix"),
        (0, b"LUKS\xba\xbe\0\x02"),
        (0, b"QED\0"),
        (0, b"WithoutFreeSpace"),
        (0, b"WithouFreSpacExt"),
        (0, b"\x1f\x8b\x08"),
        (0, b"\xfd7zXZ\0"),
        (0, b"\n<!DOCTYPE HTML><title>404"),
        (257, b"ustar"),
    ] {
        assert!(matches!(disk(offset, bytes), Err(ImageError::Known { .. })), "{bytes:?}");
    }
    assert!(matches!(disk(0, b"QFI\xfb\0\0\0\x03"), Err(ImageError::Damaged { .. })));
    assert_eq!(disk(0, b"\xeb\x63\x90").unwrap().virtual_size, 4096);
    let message = disk(0, b"\x1f\x8b\x08").unwrap_err().to_string();
    assert_eq!(message, "the image is compressed with gzip, which can't be taken for a disk: unpack it first");
}

#[test]
fn an_image_has_to_be_what_its_manifest_says() {
    let mut iso = vec![0u8; 40_000];
    iso[0x8001..0x8006].copy_from_slice(b"CD001");
    assert_eq!(check(&iso, 40_000, TemplateFormat::Iso, MAX_VIRTUAL_SIZE).unwrap().virtual_size, 40_448);
    let refused = check(&iso, 40_000, TemplateFormat::Raw, MAX_VIRTUAL_SIZE);
    assert_eq!(refused, Err(ImageError::Other { declared: "raw", found: "iso" }));
    iso[510..512].copy_from_slice(b"\x55\xaa");
    assert_eq!(check(&iso, 40_000, TemplateFormat::Raw, MAX_VIRTUAL_SIZE).unwrap().format, TemplateFormat::Raw);
    let qcow2 = image(PLAIN, PLAIN_LENGTH);
    for declared in [TemplateFormat::Raw, TemplateFormat::Iso] {
        assert!(matches!(check(&qcow2, PLAIN_LENGTH, declared, u64::MAX), Err(ImageError::Other { found: "qcow2", .. })));
    }
    assert!(matches!(check(&[0; 512], 512, TemplateFormat::Qcow2, u64::MAX), Err(ImageError::Other { found: "raw", .. })));
}

#[test]
fn a_size_over_the_limit_is_refused() {
    let large = check(&image(ZSTD, 409_600), 409_600, TemplateFormat::Qcow2, MAX_VIRTUAL_SIZE);
    assert_eq!(large, Err(ImageError::TooLarge { size: 2 << 40, max: 1 << 40 }));
    assert!(check(&image(ZSTD, 409_600), 409_600, TemplateFormat::Qcow2, 2 << 40).is_ok());
    let raw = check(&vec![0; 1 << 20], (1 << 40) + 1, TemplateFormat::Raw, MAX_VIRTUAL_SIZE);
    assert!(matches!(raw, Err(ImageError::TooLarge { .. })));
}

#[test]
fn what_can_not_be_judged_is_an_error() {
    assert_eq!(inspect(&[], 0), Err(ImageError::Empty));
    assert_eq!(inspect(&[0; 512], 4096), Err(ImageError::ShortHead { given: 512 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..700), len in any::<u64>()) {
        let _ = inspect(&bytes, len);
        let _ = inspect(&bytes, bytes.len() as u64);
    }

    #[test]
    fn no_change_of_a_real_header_makes_it_panic(
        changes in prop::collection::vec((0usize..200, any::<u8>()), 1..12),
        version_2 in any::<bool>(),
    ) {
        let mut head = image(if version_2 { V2 } else { PLAIN }, PLAIN_LENGTH);
        for (offset, byte) in changes {
            head[offset] = byte;
        }
        let _ = check(&head, PLAIN_LENGTH, TemplateFormat::Qcow2, MAX_VIRTUAL_SIZE);
    }
}
