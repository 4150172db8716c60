//! What objects there are and how one is referred to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{InvalidValue, Name, Uid};

/// The kinds of the language, in the order in which they are created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Identity of a manifest set.
    Fleet,
    /// A host that runs libvirt.
    Node,
    /// An SSH key that guests are given.
    KeyPair,
    /// A storage pool of libvirt's.
    StoragePool,
    /// A virtual network of libvirt's.
    Network,
    /// An image that volumes are made from.
    Template,
    /// A disk image in a pool.
    Volume,
    /// A libvirt domain.
    VirtualMachine,
}

/// What every room needs to know of a kind. Adding a kind begins with its row in [`Kind::TABLE`].
#[derive(Debug)]
pub struct KindRow {
    /// The kind.
    pub kind: Kind,
    /// As written in a manifest's `kind:`.
    pub name: &'static str,
    /// What the command line takes: singular, plural, short; lower case.
    pub aliases: &'static [&'static str],
    /// Whether one manifest object stands on several nodes (addressed as `Kind/name@node`).
    pub per_node: bool,
}

impl Kind {
    /// All kinds, in the order of creation.
    pub const TABLE: &'static [KindRow] = &[
        KindRow { kind: Self::Fleet, name: "Fleet", aliases: &["fleet", "fleets"], per_node: false },
        KindRow { kind: Self::Node, name: "Node", aliases: &["node", "nodes", "no"], per_node: false },
        KindRow { kind: Self::KeyPair, name: "KeyPair", aliases: &["keypair", "keypairs", "key"], per_node: false },
        KindRow {
            kind: Self::StoragePool,
            name: "StoragePool",
            aliases: &["storagepool", "storagepools", "pool", "pools", "sp"],
            per_node: true,
        },
        KindRow { kind: Self::Network, name: "Network", aliases: &["network", "networks", "net"], per_node: true },
        KindRow { kind: Self::Template, name: "Template", aliases: &["template", "templates", "tpl"], per_node: true },
        KindRow { kind: Self::Volume, name: "Volume", aliases: &["volume", "volumes", "vol"], per_node: false },
        KindRow {
            kind: Self::VirtualMachine,
            name: "VirtualMachine",
            aliases: &["virtualmachine", "virtualmachines", "vm", "vms"],
            per_node: false,
        },
    ];

    /// The kind's row.
    pub fn row(self) -> &'static KindRow {
        Self::TABLE.iter().find(|row| row.kind == self).unwrap_or(&Self::TABLE[0])
    }

    /// As written in a manifest's `kind:`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The kind that a manifest or the command line names, by its exact name or, in any case, by an alias.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        Self::TABLE.iter().find(|row| row.name == text || row.aliases.contains(&lower.as_str())).map(|row| row.kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(InvalidValue::new(&text, "a kind")))
    }
}

/// An object: `Kind/name`, and `Kind/name@node` for kinds of which one manifest object stands on several nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its `metadata.name`.
    pub name: Name,
    /// The Node it stands on; set exactly for kinds with [`KindRow::per_node`] once expanded over nodes.
    pub node: Option<Name>,
}

impl ObjectRef {
    /// A reference without a node.
    pub fn new(kind: Kind, name: Name) -> Self {
        Self { kind, name, node: None }
    }

    /// A reference to the object on `node`; the node is dropped for kinds that stand on one node only.
    pub fn on(kind: Kind, name: Name, node: &Name) -> Self {
        Self { kind, name, node: kind.row().per_node.then(|| node.clone()) }
    }

    /// UUIDv5 of the fleet's id and `Kind/name[@node]`: the UUID of what jvp creates in libvirt.
    pub fn uid(&self, fleet: Uid) -> Uid {
        Uid::new_v5(&fleet, self.to_string().as_bytes())
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)?;
        match &self.node {
            Some(node) => write!(f, "@{node}"),
            None => Ok(()),
        }
    }
}

impl FromStr for ObjectRef {
    type Err = InvalidValue;
    /// Reads `kind/name` or `kind/name@node`; the kind may be an alias (`vm/web-1`).
    fn from_str(s: &str) -> Result<Self, InvalidValue> {
        let expected = "a reference such as `VirtualMachine/web-1` or `Network/lan@kvm1`";
        let (kind, rest) = s.split_once('/').ok_or_else(|| InvalidValue::new(s, expected))?;
        let kind = Kind::parse(kind).ok_or_else(|| InvalidValue::new(s, expected))?;
        let (name, node) = match rest.split_once('@') {
            Some((name, node)) => (name, Some(node.parse()?)),
            None => (rest, None),
        };
        Ok(Self { kind, name: name.parse()?, node })
    }
}

impl Serialize for ObjectRef {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectRef {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for ObjectRef {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ObjectRef".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "An object: `Kind/name`, and `Kind/name@node` where one object of the manifests stands on several nodes.",
            "pattern": "^[A-Za-z]+/[^/@]+(@[^/@]+)?$",
        })
    }
}
