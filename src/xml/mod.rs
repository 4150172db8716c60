//! libvirt's documents: read into the language's own types, and written.
//!
//! Pure: text in, values out. Nothing here opens a file, talks to libvirt or decides what is to be done. A construct that jvp
//! doesn't know never makes a document unreadable, and is never lost by a patch.

pub mod capabilities;
pub mod domain;
mod error;
#[cfg(test)]
mod golden;
mod hidden;
mod mark;
pub mod network;
mod pointer;
pub mod pool;
mod pretty;
mod read;
mod tree;
pub mod volume;

pub use error::XmlError;
pub use hidden::{Document, Hidden, Hold};
pub use mark::{Mark, MarkVolume};
pub use pretty::pretty;

/// Text as it may stand in an attribute or element.
pub fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}
