//! What a domain's document says beside the language: as a fragment for `xml:` in a manifest of it.

use super::fragment::Fragment;

/// Whether a document says all that a fragment says already.
pub fn holds(document: &str, fragment: &Fragment) -> bool {
    super::read(document, fragment).is_ok_and(|leaves| leaves.values().all(|leaf| leaf.found == leaf.wanted))
}
