//! Where a secret comes from. The secret itself never stands in a manifest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A secret, by where it is read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretValue {
    /// Where it is read from.
    pub value_from: SecretSource,
}

/// Where a secret is read from: one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSource {
    /// A file below the manifest's checkout or `--secrets-dir`; one trailing newline is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// An environment variable whose name begins with `JVP_VAR_`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^JVP_VAR_[A-Za-z0-9_]+$"), extend("patternErrorMessage" = "the name of an environment variable that begins with `JVP_VAR_`"))]
    pub env: Option<String>,
}
