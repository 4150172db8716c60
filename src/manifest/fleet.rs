//! Fleet: the identity of a manifest set.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Identity of the set: owner mark, key of the inventory, scope of prune. Written once by `jvp init` and committed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetSpec {
    /// A UUID; never changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub id: Option<uuid::Uuid>,
}
