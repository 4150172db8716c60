//! The table of the language: what each kind's `spec` looks like and how it is read. Adding a kind is a file and a row here, and an empty
//! file in `schemas/` that the test of the schemas fills.

use schemars::{Schema, SchemaGenerator};
use serde::Deserialize as _;
use serde_json::Value;

use super::{FleetSpec, KeyPairSpec, NetworkSpec, NodeSpec, Spec, StoragePoolSpec, TemplateSpec, VirtualMachineSpec, VolumeSpec};
use crate::name::Kind;

/// One kind of the language.
pub(super) struct KindSpec {
    /// The kind.
    pub(super) kind: Kind,
    /// The schema of its `spec`, made from the type.
    pub(super) schema: fn(&mut SchemaGenerator) -> Schema,
    /// The schema of a document, as in `schemas/`: to make it from the types at each start took longer than all the rest of it.
    pub(super) text: &'static str,
    /// Reads its `spec`.
    pub(super) read: fn(&Value) -> serde_json::Result<Spec>,
}

macro_rules! kind {
    ($kind:ident, $file:literal, $spec:ty, $wrap:expr) => {
        KindSpec {
            kind: Kind::$kind,
            schema: |generator| generator.subschema_for::<$spec>(),
            text: include_str!(concat!("../../schemas/", $file)),
            read: |value| <$spec>::deserialize(value).map($wrap),
        }
    };
}

/// All kinds.
pub(super) const KINDS: &[KindSpec] = &[
    kind!(Fleet, "fleet.json", FleetSpec, Spec::Fleet),
    kind!(Node, "node.json", NodeSpec, Spec::Node),
    kind!(KeyPair, "keypair.json", KeyPairSpec, Spec::KeyPair),
    kind!(StoragePool, "storagepool.json", StoragePoolSpec, Spec::StoragePool),
    kind!(Network, "network.json", NetworkSpec, Spec::Network),
    kind!(Template, "template.json", TemplateSpec, Spec::Template),
    kind!(Volume, "volume.json", VolumeSpec, Spec::Volume),
    kind!(VirtualMachine, "virtualmachine.json", VirtualMachineSpec, |spec| Spec::VirtualMachine(Box::new(spec))),
];

/// The kind's row.
pub(super) fn spec_of(kind: Kind) -> Option<&'static KindSpec> {
    KINDS.iter().find(|row| row.kind == kind)
}
