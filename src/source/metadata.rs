//! Files that tell other tools of templates and nodes: `<state>/metadata/<node>/<template>/metadata.yaml` and
//! `<state>/metadata/nodes/<node>.yaml`.
//!
//! They are written after the fact and never read: whatever stands in them decides nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;
use uuid::Uuid;

use crate::manifest::{TemplateFeatures, TemplateOs};
use crate::name::Name;
use crate::store::{StateDir, StoreError, write_atomically};

const FOLDER: &str = "metadata";
const NODES: &str = "nodes";

/// What is told of a template on a node. Names of fields are those that the tools know.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TemplateMetadata {
    /// The template's name.
    pub name: Name,
    /// Its identity.
    pub uuid: Uuid,
    /// `cloud` or `snapshot`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// Where it lies.
    pub storage: StorageMetadata,
    /// What system is on it.
    pub os: OsMetadata,
    /// Where it came from.
    pub source: SourceMetadata,
    /// What its system can do.
    pub features: FeaturesMetadata,
    /// What uses it.
    pub usage: UsageMetadata,
    /// Words of its owner's.
    pub tags: BTreeSet<String>,
    /// What it is for.
    pub description: String,
}

/// Where a template lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StorageMetadata {
    /// The pool's name in libvirt.
    pub pool: String,
    /// The file's path on the node.
    pub path: String,
    /// Its format.
    pub format: String,
    /// Bytes that a guest sees.
    pub size: u64,
}

/// What system is on a template; empty where nobody said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OsMetadata {
    /// Such as `debian`.
    pub name: String,
    /// Such as `12`.
    pub version: String,
    /// Such as `x86_64`.
    pub arch: String,
    /// The kernel's version.
    pub kernel: String,
}

impl From<&TemplateOs> for OsMetadata {
    fn from(os: &TemplateOs) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Self { name: text(&os.name), version: text(&os.version), arch: text(&os.arch), kernel: String::new() }
    }
}

/// Where a template came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SourceMetadata {
    /// Its URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The file beside its manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// `sha256:` and the digest of the file.
    pub checksum: String,
}

/// What a template's system can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FeaturesMetadata {
    /// cloud-init runs at its first start.
    pub cloud_init: bool,
    /// It has drivers for virtio.
    pub virtio: bool,
    /// The QEMU guest agent runs on it.
    pub qemu_guest_agent: bool,
}

impl From<&TemplateFeatures> for FeaturesMetadata {
    fn from(features: &TemplateFeatures) -> Self {
        Self {
            cloud_init: features.cloud_init.unwrap_or_default(),
            virtio: features.virtio.unwrap_or_default(),
            qemu_guest_agent: features.qemu_guest_agent.unwrap_or_default(),
        }
    }
}

/// What uses a template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UsageMetadata {
    /// How many VMs.
    pub vm_count: usize,
    /// When one was made last, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<String>,
}

/// What is told of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeMetadata {
    /// The Node's name.
    pub name: Name,
    /// The host's UUID.
    pub uuid: Uuid,
    /// How libvirt there is reached.
    pub uri: String,
    /// Whether new volumes and VMs are created there.
    pub enabled: bool,
    /// When it was first seen, RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// The metadata files of a state directory.
#[derive(Debug, Clone)]
pub struct MetadataFiles<'a> {
    state: &'a StateDir,
}

impl<'a> MetadataFiles<'a> {
    /// Those of `state`.
    pub fn new(state: &'a StateDir) -> Self {
        Self { state }
    }

    /// Writes a template's file, mode 0644, and says where.
    pub fn write_template(&self, node: &Name, template: &TemplateMetadata) -> Result<PathBuf, StoreError> {
        let folder = self.state.public(&format!("{FOLDER}/{node}/{}", template.name))?;
        write(folder.join("metadata.yaml"), template)
    }

    /// Writes a node's file, mode 0644, and says where.
    pub fn write_node(&self, node: &NodeMetadata) -> Result<PathBuf, StoreError> {
        let folder = self.state.public(&format!("{FOLDER}/{NODES}"))?;
        write(folder.join(format!("{}.yaml", node.name)), node)
    }

    /// Removes a template's file, and its folder unless something of others' lies in it.
    pub fn remove_template(&self, node: &Name, template: &Name) -> Result<(), StoreError> {
        let folder = self.state.path().join(FOLDER).join(node.as_str()).join(template.as_str());
        remove(folder.join("metadata.yaml"))?;
        let _ = std::fs::remove_dir(folder);
        Ok(())
    }

    /// Removes a node's file.
    pub fn remove_node(&self, node: &Name) -> Result<(), StoreError> {
        remove(self.state.path().join(FOLDER).join(NODES).join(format!("{node}.yaml")))
    }
}

fn write(path: PathBuf, content: &impl Serialize) -> Result<PathBuf, StoreError> {
    let written = serde_yaml::to_string(content)
        .map_err(std::io::Error::other)
        .and_then(|text| write_atomically(&path, text.as_bytes(), 0o644));
    match written {
        Ok(()) => Ok(path),
        Err(source) => Err(StoreError::Io { what: "failed to write", path, source }),
    }
}

fn remove(path: PathBuf) -> Result<(), StoreError> {
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::Io { what: "failed to remove", path, source })
        }
        _ => Ok(()),
    }
}
