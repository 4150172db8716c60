//! A file of JSON that tells whether it is whole: a first line with a sum, then the content on a line of its own.

use std::io::Write;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::StoreError;
use super::file::stream_atomically;
use super::records::FORMAT;

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
    stream_atomically(path, 0o600, |file| stream(file, revision, content)).map_err(StoreError::io("failed to write", path))
}

/// Writes what such a file holds.
pub(super) fn stream(mut out: impl Write, revision: u64, content: &impl Serialize) -> std::io::Result<()> {
    // Made twice, once for its sum, and never kept: it is as long as all that it tells of is large.
    let mut sum = Sum::of(revision);
    serde_json::to_writer(&mut sum, content)?;
    let header = serde_json::to_string(&Header { format: FORMAT, revision, sha256: sum.hex(), content: () })?;
    writeln!(out, "{}", header.strip_suffix(NO_CONTENT).unwrap_or(&header))?;
    serde_json::to_writer(&mut out, content)?;
    out.write_all(b"\n}\n")
}

/// The content and its revision, if the file is there and whole.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<(u64, T)> {
    parse(&std::fs::read_to_string(path).ok()?)
}

/// The content and its revision that a file of this text holds, if it is whole.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Option<(u64, T)> {
    let (header, body) = text.strip_suffix("\n}\n")?.split_once('\n')?;
    let header: Header = serde_json::from_str(&format!("{header}{NO_CONTENT}")).ok()?;
    if header.format != FORMAT || header.sha256 != Sum::of(header.revision).with(body).hex() {
        return None;
    }
    Some((header.revision, serde_json::from_str(body).ok()?))
}

/// A sum by which a bit that was altered is noticed.
pub(super) fn short_sum(text: &str) -> String {
    let mut sum = hex::encode(Sha256::digest(text));
    sum.truncate(8);
    sum
}

/// The sum of a revision and a content.
struct Sum(Sha256);

impl Sum {
    fn of(revision: u64) -> Self {
        Self(Sha256::new().chain_update(revision.to_string()).chain_update([0]))
    }

    fn with(self, body: &str) -> Self {
        Self(self.0.chain_update(body))
    }

    fn hex(self) -> String {
        hex::encode(self.0.finalize())
    }
}

impl Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
