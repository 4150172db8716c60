//! KeyPair: an SSH key that guests are given.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An SSH key that guests are given. One of `publicKey` and `generate`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyPairSpec {
    /// An OpenSSH public key, one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Make an Ed25519 pair once; the private half lies under the state directory, mode 0600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generate: Option<bool>,
}
