//! cloud-init's NoCloud seed: the documents that a guest is told, and the image that carries them.
//!
//! Pure: the same input gives the same bytes, on every machine and in every year. Nothing here reads a file or a clock, and
//! nothing knows where a seed is kept or whether a guest has seen it.

mod documents;
mod image;
mod yaml;

use uuid::Uuid;

use crate::manifest::CloudInit;
use crate::name::Name;

pub use documents::build;
pub use image::image;

/// A document longer than this is warned of: some clouds and images cut it there.
pub const WARN_BYTES: usize = 16 * 1024;

/// A document longer than this is refused.
pub const MAX_BYTES: usize = 1024 * 1024;

/// What a seed is made from.
#[derive(Debug, Clone)]
pub struct SeedInput<'a> {
    /// The VM's identity in its fleet.
    pub uid: Uuid,
    /// The guest's name.
    pub hostname: &'a str,
    /// Public keys that the default user accepts, one line each, in any order.
    pub public_keys: &'a [String],
    /// User data, raw or structured, and the network's configuration. Its `hostname` and `keyPairs` are not read here.
    pub cloud_init: &'a CloudInit,
}

/// The documents of one seed.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed {
    /// What cloud-init knows the instance by. Another one makes it run as for the first time.
    pub instance_id: Uuid,
    /// The `user-data` document.
    pub user_data: String,
    /// The `meta-data` document.
    pub meta_data: String,
    /// The `network-config` document.
    pub network_config: Option<String>,
    /// SHA-256 of all documents, hex.
    pub digest: String,
}

/// Documents hold what users told cloud-init, password hashes among it: only their lengths are shown.
impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seed")
            .field("instance_id", &self.instance_id)
            .field("user_data", &format_args!("({} bytes)", self.user_data.len()))
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Seed {
    /// What cloud-init would do otherwise than its author may expect: sentences for people, each beginning with the field.
    pub fn warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (field, len) in
            [("userData", self.user_data.len()), ("networkConfig", self.network_config.as_ref().map_or(0, String::len))]
        {
            if len > WARN_BYTES {
                found.push(format!("{field} is {} KiB long; some images read no more than 16 KiB of it", len.div_ceil(1024)));
            }
        }
        if !documents::is_known_user_data(&self.user_data) {
            found.push(
                "userData begins with no word that cloud-init knows (`#cloud-config`, `#!`, `#include` …), so it will be ignored"
                    .to_owned(),
            );
        }
        found
    }
}

/// The file's name of a seed in its pool: `<vm>.seed-<first 8 of the digest>.img`.
pub fn file_name(vm: &Name, digest: &str) -> String {
    format!("{vm}.seed-{}.img", digest.get(..8).unwrap_or(digest))
}

/// Why there is no seed. Fragments that name the field; the caller names the VM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    /// Raw and structured user data together.
    #[error("cloudInit has both userData and {field}: write one of them")]
    Both {
        /// The first structured field.
        field: &'static str,
    },
    /// A document over [`MAX_BYTES`].
    #[error("cloudInit.{field} is {bytes} bytes long, more than the 1 MiB that a seed may hold: let the guest fetch the rest")]
    TooLong {
        /// The document's field.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A document that isn't the YAML it says it is.
    #[error("cloudInit.{field} is not YAML that cloud-init can read: {reason}")]
    NotYaml {
        /// The document's field.
        field: &'static str,
        /// What the reader said.
        reason: String,
    },
    /// A name that no guest can have.
    #[error("`{hostname}` is not a host name (labels of 1 to 63 letters, digits and `-`, with dots between, 253 at most)")]
    Hostname {
        /// The name.
        hostname: String,
    },
    /// A key over several lines, or an empty one.
    #[error("a public key of cloudInit is not one line: `{start}…`")]
    Key {
        /// Its first characters.
        start: String,
    },
    /// The file system could not be made in memory.
    #[error("the seed's image could not be written: {reason}")]
    Image {
        /// What the writer said.
        reason: String,
    },
}

#[cfg(test)]
mod tests;
