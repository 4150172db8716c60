//! What is fuzzed, a file a target: a function of bytes that fails where a property doesn't hold. `fuzz/targets` hands libFuzzer's bytes
//! to them, `tests/fuzz.rs` their corpora.

pub mod fragment;
pub mod image;
pub mod ledger;
pub mod load;
mod shape;
pub mod spans;
pub mod xml;

/// What is fuzzed.
pub type Target = fn(&[u8]);

/// Each target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("load", load::target),
    ("spans", spans::target),
    ("xml", xml::target),
    ("fragment", fragment::target),
    ("image", image::target),
    ("ledger", ledger::target),
];

/// The texts of an input, in which NUL stands between them; none where it is no text.
fn texts(data: &[u8]) -> Option<Vec<&str>> {
    std::str::from_utf8(data).ok().map(|text| text.split('\0').collect())
}
