//! What every object carries beside its spec: metadata and lifecycle.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::Name;

/// `metadata` of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The object's name, unique within its kind.
    pub name: Name,
    /// Words to select objects by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Notes for people and tools; never selected by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// A name, and nothing else.
    pub fn of(name: Name) -> Self {
        Self { name, labels: BTreeMap::new(), annotations: BTreeMap::new() }
    }
}

/// What becomes of the object in libvirt when it is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReclaimPolicy {
    /// It is removed.
    Delete,
    /// It stays as it is, and in the inventory as `Released`.
    Retain,
}

/// How much of the object is jvp's doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Management {
    /// All of it: it is made, kept as its manifest says, and deleted.
    #[default]
    Full,
    /// None of it: how it differs from its manifest is told and never changed. It is not made, not adopted and not deleted.
    Observe,
    /// It is made, or adopted, as its manifest says; from then on nothing about it is changed, started or stopped.
    CreateOnly,
}

/// How the object comes to be jvp's, how far it is, and how it may come to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lifecycle {
    /// What a delete does to it. Default: Retain for StoragePool, Template and Volume, Delete for the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reclaim_policy: Option<ReclaimPolicy>,
    /// Any plan that would delete or recreate it is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prevent_destroy: Option<bool>,
    /// An object of that name that jvp didn't make is taken over as it is, instead of being an error. Its UUID stays its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopt: Option<bool>,
    /// How much of it is jvp's doing. Default: Full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub management: Option<Management>,
    /// Fields of `spec` that are used when it is made, and neither compared nor taken out afterwards: JSON pointers in which an
    /// item of a list stands by its key, such as `/disks/root/bus`. All that lies below a pointer is meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore_changes: Vec<String>,
    /// The name that it had before: what is there under that name becomes this object, and nothing is made anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<Name>,
}

impl Lifecycle {
    /// Whether an object of that name that isn't jvp's is to be taken over.
    pub fn adopts(&self) -> bool {
        self.adopt == Some(true)
    }

    /// How much of it is jvp's doing.
    pub fn management(&self) -> Management {
        self.management.unwrap_or_default()
    }

    /// Whether changes of the field at `path` are ignored.
    pub fn ignores(&self, path: &str) -> bool {
        self.ignore_changes
            .iter()
            .any(|pointer| path.strip_prefix(pointer.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}
