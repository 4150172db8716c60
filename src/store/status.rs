//! What a daemon found of each object when it last looked: conditions, for people and for whoever waits. Nothing is decided by them.

use serde::{Deserialize, Serialize};

use crate::name::ObjectRef;

/// How an object stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// The object.
    pub object: ObjectRef,
    /// Its conditions, by their names.
    pub conditions: Vec<Condition>,
    /// The digest of its manifest when all of it was last found as wanted.
    #[serde(default)]
    pub synced: Option<String>,
}

/// One condition, as Kubernetes has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its name, such as `Synced`.
    #[serde(rename = "type")]
    pub name: String,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// Since when `status` is as it is, RFC 3339.
    pub since: String,
    /// The revision of the manifests that it was found with.
    #[serde(default)]
    pub revision: Option<String>,
}

/// Whether a condition is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant is the word itself")]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl ConditionStatus {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl ObjectStatus {
    /// A condition by its name.
    pub fn condition(&self, name: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.name == name)
    }

    /// Whether a condition is so.
    pub fn is(&self, name: &str) -> bool {
        self.condition(name).is_some_and(|condition| condition.status == ConditionStatus::True)
    }
}
