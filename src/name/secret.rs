//! Values that nobody may see.

use std::fmt;

/// What every secret shows as.
pub const SENSITIVE: &str = "(sensitive)";

/// A value that is handed on but never shown: it has no Serialize, and prints as `(sensitive)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Makes a secret of `value`.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Whoever asks answers for where it goes.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SENSITIVE)
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SENSITIVE)
    }
}
