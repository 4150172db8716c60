//! Checksums as manifests write them, and the hashing of what is fetched.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use sha2::{Digest, Sha256, Sha512};

/// `sha256:` or `sha512:` and hex, kept in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checksum {
    /// 64 digits.
    Sha256(String),
    /// 128 digits.
    Sha512(String),
}

/// What is no checksum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a checksum (`sha256:` and 64 hex digits, or `sha512:` and 128)")]
pub struct InvalidChecksum(String);

impl FromStr for Checksum {
    type Err = InvalidChecksum;
    fn from_str(text: &str) -> Result<Self, InvalidChecksum> {
        let digits = |hex: &str, len: usize| {
            (hex.len() == len && hex.bytes().all(|b| b.is_ascii_hexdigit())).then(|| hex.to_ascii_lowercase())
        };
        let checksum = match text.split_once(':') {
            Some(("sha256", hex)) => digits(hex, 64).map(Self::Sha256),
            Some(("sha512", hex)) => digits(hex, 128).map(Self::Sha512),
            _ => None,
        };
        checksum.ok_or_else(|| InvalidChecksum(text.chars().take(160).collect::<String>().escape_debug().to_string()))
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(hex) => write!(f, "sha256:{hex}"),
            Self::Sha512(hex) => write!(f, "sha512:{hex}"),
        }
    }
}

/// Hashes bytes as they come. SHA-256 always, for it names the file; SHA-512 where a manifest asks for it.
#[derive(Clone)]
pub(super) struct Hasher {
    sha256: Sha256,
    sha512: Option<Sha512>,
}

impl Hasher {
    pub(super) fn new(wanted: Option<&Checksum>) -> Self {
        let sha512 = matches!(wanted, Some(Checksum::Sha512(_))).then(Sha512::new);
        Self { sha256: Sha256::new(), sha512 }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes);
        }
    }

    /// Hashes all that `reader` gives, and says how many bytes that was.
    pub(super) fn update_from(&mut self, reader: &mut impl Read) -> io::Result<u64> {
        let mut buffer = vec![0; 256 * 1024];
        let mut total = 0;
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => return Ok(total),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.update(buffer.get(..read).unwrap_or_default());
            total += read as u64;
        }
    }

    pub(super) fn finish(self) -> Hashes {
        Hashes { sha256: hex::encode(self.sha256.finalize()), sha512: self.sha512.map(|hash| hex::encode(hash.finalize())) }
    }
}

/// What was hashed.
pub(super) struct Hashes {
    /// Hex.
    pub(super) sha256: String,
    /// Hex, where it was asked for.
    pub(super) sha512: Option<String>,
}

impl Hashes {
    /// The checksum of the bytes, of the same sort as `wanted`, where it is another.
    pub(super) fn contradicts(&self, wanted: &Checksum) -> Option<Checksum> {
        let found = match (wanted, &self.sha512) {
            (Checksum::Sha512(_), Some(hex)) => Checksum::Sha512(hex.clone()),
            _ => Checksum::Sha256(self.sha256.clone()),
        };
        (found != *wanted).then_some(found)
    }
}
