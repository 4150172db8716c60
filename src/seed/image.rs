//! The image of a seed: a FAT file system labelled `CIDATA`, made in memory.
//!
//! Its bytes follow from the documents alone: no time, no random volume id.

use std::io::{self, Cursor, Write};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

use super::{Seed, SeedError};

const LABEL: [u8; 11] = *b"CIDATA     ";
const MIB: usize = 1024 * 1024;

/// The image's bytes: a whole number of MiB with room for the documents.
pub fn image(seed: &Seed) -> Result<Vec<u8>, SeedError> {
    write(seed).map_err(|error| SeedError::Image { reason: error.to_string() })
}

fn write(seed: &Seed) -> io::Result<Vec<u8>> {
    let mut files = vec![("meta-data", &seed.meta_data), ("user-data", &seed.user_data)];
    if let Some(network) = &seed.network_config {
        files.push(("network-config", network));
    }
    // The tables of a FAT this small take less than 64 KiB, and a file wastes less than one cluster of 4 KiB.
    let content: usize = files.iter().map(|(_, text)| text.len() + 4096).sum();
    let mut disk = Cursor::new(vec![0u8; (content + 64 * 1024).next_multiple_of(MIB)]);
    let id = seed.digest.get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or_default();
    fatfs::format_volume(&mut disk, FormatVolumeOptions::new().volume_label(LABEL).volume_id(id))?;
    let fs = FileSystem::new(&mut disk, FsOptions::new())?;
    for (name, text) in files {
        let mut file = fs.root_dir().create_file(name)?;
        file.write_all(text.as_bytes())?;
        file.flush()?;
    }
    fs.unmount()?;
    Ok(disk.into_inner())
}
