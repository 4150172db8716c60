//! A document of the language: one object as it was written, with the places of what was written.

use std::sync::Arc;

use super::path::{Leaves, walk};
use super::span::KeptSpans;
use super::{Lifecycle, Metadata, Spec};
use crate::diag::{FileId, Label};
use crate::name::ObjectRef;

/// One object as it was written.
#[derive(Debug, Clone)]
pub struct Document {
    /// The object; its node is never set, for it isn't expanded over nodes yet.
    pub object: ObjectRef,
    /// The language that it is written in.
    pub api_version: String,
    /// `metadata`.
    pub metadata: Arc<Metadata>,
    /// `lifecycle`.
    pub lifecycle: Lifecycle,
    /// `spec`.
    pub spec: Arc<Spec>,
    /// The authored leaves of `spec`, before any default: path → value in its canonical form (DECISIONS D2).
    pub now: Arc<Leaves>,
    /// Where each value stands, by JSON pointer into the document.
    pub spans: KeptSpans,
    /// The file that it stands in.
    pub file: FileId,
    /// Where its name stands: `file:line:column`.
    pub origin: Arc<str>,
    /// The folder of its file, as it was given.
    pub folder: Arc<str>,
}

impl Document {
    /// The value at `pointer` into the document (`/spec/disks/0/name`); where nothing is written, what is nearest to it.
    pub fn label(&self, pointer: &str) -> Label {
        Label::new(self.file, self.spans.open().nearest(pointer))
    }

    /// The key at `pointer` into the document, or what is nearest to it.
    pub fn key_label(&self, pointer: &str) -> Label {
        let spans = self.spans.open();
        Label::new(self.file, spans.key(pointer).unwrap_or_else(|| spans.nearest(pointer)))
    }

    /// The value of the field at `path` (`/disks/root/bus`, as in [`now`](Self::now)); where nothing is written, what is
    /// nearest to it.
    pub fn field_label(&self, path: &str) -> Label {
        let leaves = walk(self.object.kind, &self.spec);
        let pointer = match leaves.get(path) {
            Some(leaf) => leaf.pointer.clone(),
            // Not a leaf: the pointer of a leaf below it, cut to as many tokens.
            None => {
                leaves.range(format!("{path}/")..).next().filter(|(below, _)| below.starts_with(&format!("{path}/"))).map_or_else(
                    || path.to_owned(),
                    |(_, leaf)| leaf.pointer.split('/').take(path.split('/').count()).collect::<Vec<_>>().join("/"),
                )
            }
        };
        self.label(&format!("/spec{pointer}"))
    }

    /// The object's name.
    pub fn name_label(&self) -> Label {
        self.label("/metadata/name")
    }
}
