//! What cloud-init in a guest is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::Name;

/// What cloud-init in a guest is told: raw `userData`, or the structured fields, never both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloudInit {
    /// The guest's name. Default: the VM's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// KeyPairs whose public halves the default user accepts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_pairs: Vec<Name>,
    /// The user-data document, word for word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// Users to be made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<CloudUser>,
    /// Packages to be installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Shell commands, run once, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run_cmd: Vec<String>,
    /// Files to be written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub write_files: Vec<CloudFile>,
    /// Such as `Europe/Berlin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The network-config document, word for word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_config: Option<String>,
    /// The StoragePool that the seed is kept in. Default: the first disk's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    /// What a change of it does. Default: Ignore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_change: Option<OnChange>,
}

/// What a change of a VM's cloud-init does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnChange {
    /// Nothing; the plan notes it.
    Ignore,
    /// The next start finds the new seed, as a new instance.
    NextStart,
    /// The VM is rebuilt: what of it came from a Template is made anew, and its data lost, for which each volume needs its word.
    Rebuild,
}

/// A user that cloud-init makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloudUser {
    /// The login name.
    pub name: String,
    /// Groups beside its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Public keys, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<String>,
    /// A sudoers rule such as `ALL=(ALL) NOPASSWD:ALL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sudo: Option<String>,
    /// The login shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// A crypt(3) hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
}

/// A file that cloud-init writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloudFile {
    /// An absolute path in the guest.
    pub path: String,
    /// Its text.
    pub content: String,
    /// Its mode in octal, such as `"0644"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^0?[0-7]{3,4}$"), extend("patternErrorMessage" = "a mode in octal and in quotes, such as `\"0644\"`"))]
    pub permissions: Option<String>,
    /// Such as `root:root`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}
