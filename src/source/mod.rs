//! The edge: where manifests, images, secrets and keys come from, and the files that are written for other tools.
//!
//! Effects are allowed here, decisions are not: what is read is handed to the planner as plain values. What a manifest says is
//! `manifest/`'s matter; here is only where its bytes lie. Whoever writes a checkout governs the nodes' libvirt and nothing on
//! the controller, so every file that a manifest names is opened beneath its root, without following a link.

mod beneath;
mod cache;
mod check;
mod checksum;
mod fetch;
mod files;
mod gather;
mod images;
mod keypair;
mod metadata;
mod remote;
mod secrets;
mod set;
mod unix;
mod walk;

pub use beneath::{BeneathError, Root};
pub use cache::ManifestCache;
pub use check::{Given, check};
pub use checksum::{Checksum, InvalidChecksum};
pub use fetch::{Downloader, MAX_REDIRECTS, MAX_TRIES};
pub use files::MAX_FILE;
pub use gather::{GatherError, Gathering, gather};
pub(crate) use gather::{Roots, env, folder, request, secrets_named};
pub use images::{ImageCache, ImageRequest, SourceError, SourceFacts, SourceFailure};
pub use keypair::{KeyPairError, KeyPairs};
pub use metadata::{
    FeaturesMetadata, MetadataFiles, NodeMetadata, OsMetadata, SourceMetadata, StorageMetadata, TemplateMetadata, UsageMetadata,
};
pub use secrets::{SecretError, SecretReader};
pub use set::{FLEET_FILE, ManifestSet, read_set};
pub use unix::unix_client;
pub use walk::{Identity, Walk};

#[cfg(test)]
mod tests;
