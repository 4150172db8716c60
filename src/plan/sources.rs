//! What is known of images and keys: an input of the planner, gathered at the edge.

use std::collections::BTreeMap;

use crate::name::{Name, ObjectRef};
use crate::plan::SecretRef;

/// What is known of sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Images of Templates that lie on the controller, checked.
    pub images: BTreeMap<Name, ImageFacts>,
    /// Why a Template's image can't be had.
    pub failed: BTreeMap<Name, String>,
    /// Public halves of KeyPairs, one line each.
    pub keys: BTreeMap<Name, String>,
    /// Where the secret of an object's field comes from.
    pub secrets: BTreeMap<(ObjectRef, String), SecretRef>,
}

/// What is known of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// SHA-256 of the file, hex.
    pub digest_sha256: String,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes that a guest sees.
    pub virtual_size: u64,
    /// `qcow2`, `raw` or `iso`, as its header and the manifest both say.
    pub format: String,
    /// Where it lies on the controller.
    pub path: String,
}
