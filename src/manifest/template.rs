//! Template: an image that volumes are made from.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::Name;

/// An image that volumes are made from, kept in a pool's `_templates_` folder under a name that tells its content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateSpec {
    /// The StoragePool it is kept in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub pool: Option<Name>,
    /// Where the image comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub source: Option<TemplateSource>,
    /// `sha256:` or `sha512:` and the digest of the file in hex. Needed for http; pinned at the first fetch for https.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(sha256:[0-9a-fA-F]{64}|sha512:[0-9a-fA-F]{128})$"), extend("patternErrorMessage" = "`sha256:` with 64 or `sha512:` with 128 hex digits"))]
    pub checksum: Option<String>,
    /// The format of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub format: Option<TemplateFormat>,
    /// What is on it. For people and other tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<TemplateOs>,
    /// What the system on it can do. For people and other tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<TemplateFeatures>,
    /// Words for people and other tools.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The Nodes it is kept on; none means those where something uses it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Name>,
}

/// Where an image comes from: one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateSource {
    /// An http or https URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A path relative to the manifest's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// The format of a template's image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TemplateFormat {
    /// QEMU's copy-on-write format.
    Qcow2,
    /// The bytes of a disk.
    Raw,
    /// The bytes of a CD-ROM.
    Iso,
}

/// What system is on an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateOs {
    /// Such as `debian`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Such as `"12"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Such as `x86_64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
}

/// What the system on an image can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateFeatures {
    /// cloud-init runs at its first start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<bool>,
    /// It has drivers for virtio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtio: Option<bool>,
    /// The QEMU guest agent runs on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qemu_guest_agent: Option<bool>,
}
