//! A file of JSON that tells whether it is whole: a first line with a sum, then the content on a line of its own.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::records::FORMAT;
use super::{StoreError, write_atomically};

/// The first line, whose last field, the content, is on the second.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u64,
    revision: u64,
    sha256: String,
    content: (),
}

const NO_CONTENT: &str = "null}";

/// Writes the content as it is at a revision.
pub(super) fn write(path: &Path, revision: u64, content: &impl Serialize) -> Result<(), StoreError> {
    let render = || -> serde_json::Result<String> {
        let body = serde_json::to_string(content)?;
        let header = serde_json::to_string(&Header { format: FORMAT, revision, sha256: sum(revision, &body), content: () })?;
        Ok(format!("{}\n{body}\n}}\n", header.strip_suffix(NO_CONTENT).unwrap_or(&header)))
    };
    render()
        .map_err(std::io::Error::from)
        .and_then(|text| write_atomically(path, text.as_bytes(), 0o600))
        .map_err(StoreError::io("failed to write", path))
}

/// The content and its revision, if the file is there and whole.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<(u64, T)> {
    let text = std::fs::read_to_string(path).ok()?;
    let (header, body) = text.strip_suffix("\n}\n")?.split_once('\n')?;
    let header: Header = serde_json::from_str(&format!("{header}{NO_CONTENT}")).ok()?;
    if header.format != FORMAT || header.sha256 != sum(header.revision, body) {
        return None;
    }
    Some((header.revision, serde_json::from_str(body).ok()?))
}

fn sum(revision: u64, body: &str) -> String {
    hex::encode(Sha256::new().chain_update(revision.to_string()).chain_update([0]).chain_update(body).finalize())
}
