//! The key under which secrets are told apart without being kept.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// A key of the state directory's. A MAC under it says whether a secret is the same as before, and nothing else of it.
#[derive(Clone)]
pub struct MacKey([u8; 32]);

impl MacKey {
    /// The key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As it lies in its file: with a sum, by which a bit that was altered is noticed.
    pub(super) fn written(&self) -> Vec<u8> {
        [self.0.as_slice(), &Sha256::digest(self.0)].concat()
    }

    /// The key that was written so, or, as before keys had one, without a sum.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (key, sum) = bytes.split_at_checked(32)?;
        if sum.is_empty() {
            return Some(Self(key.try_into().ok()?));
        }
        let key = Self(key.try_into().ok()?);
        (sum == Sha256::digest(key.0).as_slice()).then_some(key)
    }

    /// HMAC-SHA256 of `secret`, hex.
    pub fn mac(&self, secret: &[u8]) -> String {
        // HMAC takes keys of any length; the fallback is never taken.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(secret);
        hex::encode(mac.finalize().into_bytes())
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(sensitive)")
    }
}
