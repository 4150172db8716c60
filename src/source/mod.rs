//! The edge where manifests come from: files, folders and standard input become a source map, and that a manifest set.
//!
//! What a manifest says is `manifest/`'s matter; here is only where its bytes lie.

mod files;
mod set;

pub use files::{Collected, MAX_FILE, collect};
pub use set::{FLEET_FILE, ManifestSet, read_set};
