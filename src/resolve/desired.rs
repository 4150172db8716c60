//! Desired: what the manifests say, expanded over nodes and put in order. Plain values; the planner reads nothing else of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::manifest::{Accelerator, Leaves, Lifecycle, Metadata, ReclaimPolicy, Spec};
use crate::name::{Kind, Name, ObjectRef, Uid};

/// All that is wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// The fleet's id; nil where none was given yet.
    pub fleet: Uid,
    /// The Nodes of the set.
    pub nodes: BTreeMap<Name, DesiredNode>,
    /// Every object, expanded over nodes, with implied pools and claimed volumes.
    pub objects: BTreeMap<ObjectRef, Arc<Wanted>>,
    /// The objects' references, each after those that it refers to.
    pub order: Vec<ObjectRef>,
}

impl Desired {
    /// An object, where it is wanted.
    pub fn object(&self, object: &ObjectRef) -> Option<&Wanted> {
        self.objects.get(object).map(Arc::as_ref)
    }

    /// An object, to be changed in this copy alone.
    pub fn object_mut(&mut self, object: &ObjectRef) -> Option<&mut Wanted> {
        self.objects.get_mut(object).map(Arc::make_mut)
    }
}

/// A Node as wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredNode {
    /// How it is reached.
    pub uri: String,
    /// No new volume or VM is created there.
    pub unschedulable: bool,
    /// What its VMs take where they say nothing.
    pub accelerator: Option<Accelerator>,
    /// Whether it stands in the manifests or is the one that a set without Nodes has.
    pub implied: bool,
}

/// One object as wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The object.
    pub object: ObjectRef,
    /// Its identity.
    pub uid: Uid,
    /// Where it stands; none for kinds of the controller's.
    pub node: Option<Name>,
    /// Its name in libvirt; for volumes the file's name.
    pub libvirt_name: String,
    /// As written.
    pub spec: Arc<Spec>,
    /// The authored leaves before any default, path → value (DECISIONS D2).
    pub now: Arc<Leaves>,
    /// As written; what is implied by another has no labels.
    pub metadata: Arc<Metadata>,
    /// What its delete does to it.
    pub reclaim: ReclaimPolicy,
    /// A plan that deletes or recreates it is an error.
    pub prevent_destroy: bool,
    /// As written; what is implied by another has that one's words.
    pub lifecycle: Lifecycle,
    /// What it refers to, each once with the path of the field that does, in order.
    pub references: Vec<Reference>,
    /// Where it was written: `file:line:column`.
    pub origin: Arc<str>,
    /// The folder of the manifest, for files beside it.
    pub folder: Arc<str>,
    /// The object whose manifest implies this one.
    pub implied_by: Option<ObjectRef>,
}

/// A reference of one object to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The field that refers.
    pub path: String,
    /// What it refers to, in the set or not.
    pub object: ObjectRef,
}

impl Wanted {
    /// The reference that the field at `path` makes.
    pub fn reference(&self, path: &str) -> Option<&ObjectRef> {
        self.references.iter().find(|reference| reference.path == path).map(|reference| &reference.object)
    }

    /// The paths of the fields that are jvp's once it is made: as written, but for those that are only used for that.
    pub fn managed(&self) -> impl Iterator<Item = &String> {
        self.now.keys().filter(|path| !self.lifecycle.ignores(path))
    }
}

/// The name of the implied pool that keeps the templates of `pool`.
pub fn templates_pool(pool: &Name) -> Option<Name> {
    format!("{pool}-templates").parse().ok()
}

/// The file's name of a Volume.
pub fn volume_file(name: &Name, raw: bool) -> String {
    format!("{name}.{}", if raw { "img" } else { "qcow2" })
}

/// The Volume that a VM's disk claims.
pub fn claim(vm: &Name, disk: &str) -> Option<ObjectRef> {
    // A disk's name may hold `_`, which an object's may not.
    format!("{vm}.{}", disk.replace('_', "-")).parse().ok().map(|name| ObjectRef::new(Kind::Volume, name))
}
