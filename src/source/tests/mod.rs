//! The edge against a small server, a folder full of traps, and a state directory.

mod fetch;
mod local;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use super::*;
use crate::name::{Kind, ObjectRef};

fn object() -> ObjectRef {
    ObjectRef::new(Kind::Template, "debian-12".parse().unwrap())
}

/// A raw disk of 3 MiB and a bit whose bytes differ.
fn disk() -> Vec<u8> {
    static DISK: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0u32..(3 << 20) + 512).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect());
    DISK.clone()
}

fn sha256(bytes: &[u8]) -> Checksum {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes))).parse().unwrap()
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn cache(&self) -> ImageCache {
        ImageCache::new(self.0.path())
    }

    /// What lies in the cache beside its folders.
    fn kept(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.0.path().join("cache/images")) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}
