//! Saved plans: what was asked for, and the fingerprint of what it came to. A plan that no longer matches is refused.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::CommandError;
use super::exit::Exit;
use crate::plan::{Plan, Policy};

const FORMAT: u32 = 1;

/// A saved plan.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Saved {
    format: u32,
    /// The values of `-f`, made absolute.
    pub files: Vec<String>,
    /// The value of `--secrets-dir`.
    pub secrets_dir: Option<PathBuf>,
    /// What was asked for, with its consents.
    pub policy: Policy,
    /// The hash of what it was made from and came to.
    pub fingerprint: String,
    /// The plan, for people and tools; not read back.
    plan: serde_json::Value,
}

/// Saves a plan, mode 0600.
pub(super) fn save(
    path: &Path,
    files: &[String],
    secrets_dir: Option<&PathBuf>,
    policy: &Policy,
    plan: &Plan,
) -> Result<(), CommandError> {
    let absolute = |file: &String| {
        let is_path = file != "-" && !file.starts_with("http://") && !file.starts_with("https://");
        if is_path {
            std::path::absolute(file).map_or_else(|_| file.clone(), |path| path.to_string_lossy().into_owned())
        } else {
            file.clone()
        }
    };
    if files.iter().any(|file| file == "-") {
        return Err(CommandError::new(Exit::Usage, "a plan of standard input can't be saved: it could not be read again"));
    }
    let saved = Saved {
        format: FORMAT,
        files: files.iter().map(absolute).collect(),
        secrets_dir: secrets_dir.and_then(|path| std::path::absolute(path).ok()),
        policy: policy.clone(),
        fingerprint: plan.fingerprint.clone(),
        plan: serde_json::to_value(plan).unwrap_or_default(),
    };
    let text = serde_json::to_string_pretty(&saved).unwrap_or_default();
    let failed =
        |error: std::io::Error| CommandError::new(Exit::Error, format!("failed to save the plan as {}: {error}", path.display()));
    let _ = std::fs::remove_file(path);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

/// Reads a saved plan.
pub(super) fn read(path: &Path) -> Result<Saved, CommandError> {
    let failed = |why: String| CommandError::new(Exit::Error, format!("failed to read the plan {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let saved: Saved = serde_json::from_str(&text).map_err(|error| failed(format!("it is no plan of this jvp ({error})")))?;
    if saved.format != FORMAT {
        return Err(failed(format!("it has format {}, and this jvp reads format {FORMAT}", saved.format)).help("plan again"));
    }
    Ok(saved)
}
