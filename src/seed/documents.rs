//! The documents of a seed: user-data, meta-data, network-config, and the identity that follows from them.
//!
//! No image bytes here, and no defaults beside cloud-init's own.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{MAX_BYTES, Seed, SeedError, SeedInput, yaml};
use crate::manifest::{CloudFile, CloudInit, CloudUser};

/// Makes the documents.
///
/// The instance id follows from the VM's identity, its user data and its keys: another host name or network configuration
/// alone leaves it, so that cloud-init does not run as for a new machine.
pub fn build(input: &SeedInput<'_>) -> Result<Seed, SeedError> {
    let cloud = input.cloud_init;
    check_hostname(input.hostname)?;
    let keys = keys(input.public_keys)?;
    let user_data = user_data(cloud)?;
    let network_config = cloud.network_config.clone();
    check_length("userData", &user_data)?;
    if is_cloud_config(&user_data) {
        check_yaml("userData", &user_data)?;
    }
    if let Some(text) = &network_config {
        check_length("networkConfig", text)?;
        check_yaml("networkConfig", text)?;
    }
    let told = digest(keys.iter().map(String::as_str).chain([user_data.as_str()]));
    let instance_id = Uuid::new_v5(&input.uid, told.as_bytes());
    let meta_data = meta_data(instance_id, input.hostname, &keys);
    check_length("keyPairs", &meta_data)?;
    let digest = digest([user_data.as_str(), meta_data.as_str()].into_iter().chain(network_config.as_deref()));
    Ok(Seed { instance_id, user_data, meta_data, network_config, digest })
}

/// The keys in one order whatever the manifest's was, without white space at their ends.
fn keys(given: &[String]) -> Result<BTreeSet<String>, SeedError> {
    given
        .iter()
        .map(|key| {
            let key = key.trim();
            if key.is_empty() || key.chars().any(char::is_control) {
                return Err(SeedError::Key { start: key.chars().take_while(|c| !c.is_control()).take(24).collect() });
            }
            Ok(key.to_owned())
        })
        .collect()
}

fn user_data(cloud: &CloudInit) -> Result<String, SeedError> {
    let structured = [
        ("users", !cloud.users.is_empty()),
        ("packages", !cloud.packages.is_empty()),
        ("runCmd", !cloud.run_cmd.is_empty()),
        ("writeFiles", !cloud.write_files.is_empty()),
        ("timezone", cloud.timezone.is_some()),
    ]
    .into_iter()
    .find_map(|(field, set)| set.then_some(field));
    match (&cloud.user_data, structured) {
        (Some(_), Some(field)) => Err(SeedError::Both { field }),
        (Some(raw), None) => Ok(raw.clone()),
        (None, _) => Ok(format!("#cloud-config\n{}", yaml::document(&structured_config(cloud)))),
    }
}

/// The structured fields in cloud-init's own words.
fn structured_config(cloud: &CloudInit) -> Value {
    let mut config = Map::new();
    if !cloud.users.is_empty() {
        // Without `default` the image's own user, who takes the key pairs, would not be made.
        let users = std::iter::once(json!("default")).chain(cloud.users.iter().map(user));
        config.insert("users".into(), users.collect());
    }
    if let Some(timezone) = &cloud.timezone {
        config.insert("timezone".into(), json!(timezone));
    }
    if !cloud.packages.is_empty() {
        config.insert("packages".into(), json!(cloud.packages));
    }
    if !cloud.write_files.is_empty() {
        config.insert("write_files".into(), cloud.write_files.iter().map(file).collect());
    }
    if !cloud.run_cmd.is_empty() {
        config.insert("runcmd".into(), json!(cloud.run_cmd));
    }
    Value::Object(config)
}

fn user(user: &CloudUser) -> Value {
    let mut map = Map::new();
    map.insert("name".into(), json!(user.name));
    if !user.groups.is_empty() {
        map.insert("groups".into(), json!(user.groups));
    }
    if let Some(shell) = &user.shell {
        map.insert("shell".into(), json!(shell));
    }
    if let Some(sudo) = &user.sudo {
        map.insert("sudo".into(), json!(sudo));
    }
    if let Some(hash) = &user.password_hash {
        // cloud-init locks passwords unless told not to, also one that it has just set.
        map.insert("lock_passwd".into(), json!(false));
        map.insert("hashed_passwd".into(), json!(hash));
    }
    if !user.ssh_authorized_keys.is_empty() {
        map.insert("ssh_authorized_keys".into(), json!(user.ssh_authorized_keys));
    }
    Value::Object(map)
}

fn file(file: &CloudFile) -> Value {
    let mut map = Map::new();
    map.insert("path".into(), json!(file.path));
    if let Some(owner) = &file.owner {
        map.insert("owner".into(), json!(owner));
        if owner.split(':').next() != Some("root") {
            // Files are written before users are made, unless deferred.
            map.insert("defer".into(), json!(true));
        }
    }
    if let Some(permissions) = &file.permissions {
        map.insert("permissions".into(), json!(permissions));
    }
    map.insert("content".into(), json!(file.content));
    Value::Object(map)
}

/// Key pairs go here, not into user-data, so that a raw document stays word for word what its author wrote.
fn meta_data(instance_id: Uuid, hostname: &str, keys: &BTreeSet<String>) -> String {
    let mut map = Map::new();
    map.insert("instance-id".into(), json!(instance_id.to_string()));
    map.insert("local-hostname".into(), json!(hostname));
    if !keys.is_empty() {
        map.insert("public-keys".into(), json!(keys));
    }
    yaml::document(&Value::Object(map))
}

/// SHA-256 of texts, each with its length before it, so that no text can run into the next.
fn digest<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hex::encode(hash.finalize())
}

fn check_length(field: &'static str, text: &str) -> Result<(), SeedError> {
    if text.len() > MAX_BYTES { Err(SeedError::TooLong { field, bytes: text.len() }) } else { Ok(()) }
}

fn check_yaml(field: &'static str, text: &str) -> Result<(), SeedError> {
    let not = |reason: String| SeedError::NotYaml { field, reason };
    match serde_yaml::from_str::<serde_yaml::Value>(text) {
        Ok(serde_yaml::Value::Mapping(_) | serde_yaml::Value::Null) => Ok(()),
        Ok(_) => Err(not("it must be a mapping (`key: value` lines)".to_owned())),
        Err(error) => Err(not(error.to_string())),
    }
}

fn check_hostname(name: &str) -> Result<(), SeedError> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        Ok(())
    } else {
        Err(SeedError::Hostname { hostname: name.chars().take(80).collect::<String>().escape_debug().to_string() })
    }
}

/// Whether cloud-init takes it for a `#cloud-config` (and not for its archive or patch forms).
fn is_cloud_config(text: &str) -> bool {
    text.strip_prefix("#cloud-config").is_some_and(|rest| !rest.starts_with('-'))
}

/// Whether cloud-init does anything at all with user data that begins so.
pub(super) fn is_known_user_data(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "#cloud-config",
        "#!",
        "#include",
        "#cloud-boothook",
        "#part-handler",
        "#upstart-job",
        "## template: jinja",
        "content-type:",
        "mime-version:",
        "from ",
    ];
    let start: String = text.chars().take(32).collect::<String>().to_ascii_lowercase();
    text.trim().is_empty() || WORDS.iter().any(|word| start.starts_with(word))
}
