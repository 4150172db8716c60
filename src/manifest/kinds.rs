//! The table of the language: what each kind's `spec` looks like and how it is read. Adding a kind is a file and a row here.

use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use super::{FleetSpec, KeyPairSpec, NetworkSpec, NodeSpec, Spec, StoragePoolSpec, TemplateSpec, VirtualMachineSpec, VolumeSpec};
use crate::name::Kind;

/// One kind of the language.
pub(super) struct KindSpec {
    /// The kind.
    pub(super) kind: Kind,
    /// The schema of its `spec`.
    pub(super) schema: fn(&mut SchemaGenerator) -> Schema,
    /// Reads its `spec`.
    pub(super) read: fn(Value) -> serde_json::Result<Spec>,
}

macro_rules! kind {
    ($kind:ident, $spec:ty, $wrap:expr) => {
        KindSpec {
            kind: Kind::$kind,
            schema: |generator| generator.subschema_for::<$spec>(),
            read: |value| serde_json::from_value::<$spec>(value).map($wrap),
        }
    };
}

/// All kinds.
pub(super) const KINDS: &[KindSpec] = &[
    kind!(Fleet, FleetSpec, Spec::Fleet),
    kind!(Node, NodeSpec, Spec::Node),
    kind!(KeyPair, KeyPairSpec, Spec::KeyPair),
    kind!(StoragePool, StoragePoolSpec, Spec::StoragePool),
    kind!(Network, NetworkSpec, Spec::Network),
    kind!(Template, TemplateSpec, Spec::Template),
    kind!(Volume, VolumeSpec, Spec::Volume),
    kind!(VirtualMachine, VirtualMachineSpec, |spec| Spec::VirtualMachine(Box::new(spec))),
];

/// The kind's row.
pub(super) fn spec_of(kind: Kind) -> Option<&'static KindSpec> {
    KINDS.iter().find(|row| row.kind == kind)
}
