//! Names and small values: newtypes that validate as they are read.
//!
//! Nothing here knows YAML, XML or libvirt. A value of one of these types is valid by construction.

use std::fmt;
use std::str::FromStr;

use compact_str::CompactString;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod quantity;
mod reference;
mod secret;

pub use quantity::{ByteSize, MacAddr};
pub use reference::{Kind, KindRow, ObjectRef};
pub use secret::{SENSITIVE, Secret};

/// Identity of an object of a fleet: UUIDv5 of the fleet's id and the object's reference.
pub type Uid = uuid::Uuid;

/// A value that a newtype refused, with the rule that it broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {expected}")]
pub struct InvalidValue {
    /// What was written, cut to 80 characters.
    pub value: String,
    /// What would have been right, as a noun phrase.
    pub expected: &'static str,
}

impl InvalidValue {
    /// An error for `value`, which should have been `expected` (a noun phrase).
    pub fn new(value: &str, expected: &'static str) -> Self {
        let mut short: String = value.chars().take(80).collect();
        if short.len() < value.len() {
            short.push('…');
        }
        Self { value: short.escape_debug().to_string(), expected }
    }
}

/// Gives a string newtype its serde, Display, FromStr and schema.
macro_rules! string_newtype {
    ($name:ident, $format:literal, $pattern:expr, $max:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "format": $format, "pattern": $pattern, "maxLength": $max})
            }
        }
    };
}

/// The name of an object: `[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?` without `..`. Most are short, and what is looked up by them is
/// found without following them to a text elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(CompactString);
string_newtype!(Name, "name", r"^(?!.*\.\.)[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$", 63);

impl FromStr for Name {
    type Err = InvalidValue;
    fn from_str(s: &str) -> Result<Self, InvalidValue> {
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let ok = (1..=63).contains(&s.len())
            && s.chars().all(|c| edge(c) || c == '.' || c == '-')
            && s.starts_with(edge)
            && s.ends_with(edge)
            && !s.contains("..");
        if ok {
            Ok(Self(s.into()))
        } else {
            Err(InvalidValue::new(
                s,
                "a name (1 to 63 of a-z, 0-9, `.` and `-`, beginning and ending with a letter or digit, without `..`)",
            ))
        }
    }
}

/// The name of a disk or interface within a VM: `[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName(CompactString);
string_newtype!(DeviceName, "device-name", r"^[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?$", 32);

impl FromStr for DeviceName {
    type Err = InvalidValue;
    fn from_str(s: &str) -> Result<Self, InvalidValue> {
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let ok = (1..=32).contains(&s.len())
            && s.chars().all(|c| edge(c) || c == '_' || c == '-')
            && s.starts_with(edge)
            && s.ends_with(edge);
        if ok {
            Ok(Self(s.into()))
        } else {
            Err(InvalidValue::new(
                s,
                "a device name (1 to 32 of a-z, 0-9, `_` and `-`, beginning and ending with a letter or digit)",
            ))
        }
    }
}

/// The name that libvirt knows an object by. Wider than [`Name`], for adopted objects: anything that libvirt takes, without
/// `/`, control characters or surrounding white space, at most 200 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LibvirtName(String);
string_newtype!(LibvirtName, "libvirt-name", r"^[^/\x00-\x1f]+$", 200);

impl FromStr for LibvirtName {
    type Err = InvalidValue;
    fn from_str(s: &str) -> Result<Self, InvalidValue> {
        let ok = (1..=200).contains(&s.len())
            && s.trim() == s
            && !s.chars().any(|c| c == '/' || c.is_control())
            && s != "."
            && s != "..";
        if ok {
            Ok(Self(s.to_owned()))
        } else {
            Err(InvalidValue::new(s, "a name that libvirt takes (1 to 200 bytes without `/` and control characters)"))
        }
    }
}

impl From<&Name> for LibvirtName {
    fn from(name: &Name) -> Self {
        Self(name.to_string())
    }
}
