//! The key under which secrets are told apart without being kept.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// A key of the state directory's. A MAC under it says whether a secret is the same as before, and nothing else of it.
#[derive(Clone)]
pub struct MacKey([u8; 32]);

impl MacKey {
    /// The key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
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
