//! What a field is, by its schema, and what a change of it does, by the field table: for `jvp explain` and the page of all fields.
//!
//! Pure, and no second source: nothing of a field is said here that stands neither in its schema nor in its row.

mod page;
mod tree;
mod words;

pub use page::what_a_change_does;
pub use tree::{Explained, NoSuchField, explain, fields_of};
pub use words::{class_words, effect, effect_words, removal_words};
