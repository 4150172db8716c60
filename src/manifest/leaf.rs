//! The walk over the leaves of a spec, as it is serialized: most of what is compared is looked at once, and a tree of values that is made
//! for it takes longer than all the rest.
//!
//! What a leaf is, and by what an item of a list is known, is said in [`path`](super::path).

use serde::ser::{self, Error as _, Impossible, Serialize, Serializer};
use serde_json::{Error, Map, Value};

use super::path::{ListRule, PRESENCE, item_key, list_rule};
use super::span::escape;
use crate::name::Kind;

/// Where a walk is. Each level is written behind the one above it and cut off again: a spec has more fields than it has leaves.
#[derive(Default)]
pub(super) struct At {
    /// As in [`FieldPath`](super::FieldPath).
    pub(super) path: String,
    /// With `*` for every key.
    pub(super) pattern: String,
    /// With indices; empty where nobody asked for it.
    pub(super) pointer: String,
}

/// Calls `leaf` with each leaf of a spec; `pointers` are only written where somebody asks for them.
pub(super) fn each_leaf(kind: Kind, spec: &impl Serialize, pointers: bool, leaf: &mut dyn FnMut(&At, Value)) {
    // What can't be serialized has no leaves.
    let _ = spec.serialize(&mut Walk { kind, at: At::default(), pointers, leaf });
}

struct Walk<'f> {
    kind: Kind,
    at: At,
    pointers: bool,
    /// What is done with a leaf.
    leaf: &'f mut dyn FnMut(&At, Value),
}

/// Puts a token behind a path.
fn push(path: &mut String, token: &str) {
    path.push('/');
    if token.contains(['~', '/']) { path.push_str(&escape(token)) } else { path.push_str(token) }
}

impl Walk<'_> {
    fn scalar(&mut self, value: Value) {
        if !value.is_null() {
            (self.leaf)(&self.at, value);
        }
    }

    /// A mapping begins.
    fn mapping(&mut self) {
        if PRESENCE.contains(&(self.kind, self.at.pattern.as_str())) {
            (self.leaf)(&self.at, Value::Object(Map::new()));
        }
    }

    /// Walks through what lies a level deeper.
    fn below<T: Serialize + ?Sized>(&mut self, enter: impl FnOnce(&mut Self), value: &T) -> Result<(), Error> {
        let lengths = (self.at.path.len(), self.at.pattern.len(), self.at.pointer.len());
        enter(self);
        let done = value.serialize(&mut *self);
        self.at.path.truncate(lengths.0);
        self.at.pattern.truncate(lengths.1);
        self.at.pointer.truncate(lengths.2);
        done
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Error> {
        let enter = |walk: &mut Self| {
            push(&mut walk.at.path, name);
            push(&mut walk.at.pattern, name);
            if walk.pointers {
                push(&mut walk.at.pointer, name);
            }
        };
        self.below(enter, value)
    }

    fn item<T: Serialize + ?Sized>(&mut self, key: &str, index: usize, value: &T) -> Result<(), Error> {
        let enter = |walk: &mut Self| {
            push(&mut walk.at.path, key);
            walk.at.pattern.push_str("/*");
            if walk.pointers {
                push(&mut walk.at.pointer, &index.to_string());
            }
        };
        self.below(enter, value)
    }

    /// A list that is one leaf.
    fn whole(&mut self, items: Vec<Value>) {
        if !items.is_empty() {
            (self.leaf)(&self.at, Value::Array(items));
        }
    }
}

/// A list on the way.
struct List<'w, 'f> {
    walk: &'w mut Walk<'f>,
    rule: ListRule,
    count: usize,
    items: Vec<Value>,
}

impl ser::SerializeSeq for List<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
        let index = self.count;
        self.count += 1;
        match self.rule {
            ListRule::Atomic | ListRule::Set => self.items.push(serde_json::to_value(item)?),
            ListRule::Keyed(_) | ListRule::Span(..) => {
                let key = item.serialize(Keys(self.rule)).ok().and_then(|keys| item_key(self.rule, &keys));
                self.walk.item(&key.unwrap_or_else(|| index.to_string()), index, item)?;
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), Error> {
        if self.rule == ListRule::Set {
            self.items.sort_by_cached_key(ToString::to_string);
            self.items.dedup();
        }
        self.walk.whole(self.items);
        Ok(())
    }
}

/// A mapping on the way.
struct Mapping<'w, 'f> {
    walk: &'w mut Walk<'f>,
    key: String,
}

impl ser::SerializeMap for Mapping<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.key = word(key)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.walk.field(&self.key, value)
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

impl ser::SerializeStruct for Mapping<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.walk.field(name, value)
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

/// The text of a mapping's key.
fn word<T: Serialize + ?Sized>(key: &T) -> Result<String, Error> {
    match serde_json::to_value(key)? {
        Value::String(text) => Ok(text),
        _ => Err(Error::custom("a key has to be text")),
    }
}

/// What no spec has.
macro_rules! unknowns {
    () => {
        fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
            Err(unknown())
        }

        fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
            Err(unknown())
        }

        fn serialize_tuple_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleVariant, Error> {
            Err(unknown())
        }

        fn serialize_struct_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStructVariant, Error> {
            Err(unknown())
        }
    };
}

/// Methods of a serializer that take a plain value, by what is made of it.
macro_rules! scalars {
    ($self:ident, $value:ident, $made:expr; $($method:ident: $type:ty),* $(,)?) => {
        $(fn $method($self, $value: $type) -> Result<Self::Ok, Error> { $made })*
    };
}

impl<'w, 'f> Serializer for &'w mut Walk<'f> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = List<'w, 'f>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Mapping<'w, 'f>;
    type SerializeStruct = Mapping<'w, 'f>;
    type SerializeStructVariant = Impossible<(), Error>;

    scalars! { self, value, { self.scalar(Value::from(value)); Ok(()) };
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_u8: u8,
        serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32, serialize_f64: f64, serialize_str: &str,
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.scalar(Value::String(value.to_string()));
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.whole(value.iter().copied().map(Value::from).collect());
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.mapping();
        self.field(variant, value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List<'w, 'f>, Error> {
        let rule = list_rule(self.kind, &self.at.pattern);
        Ok(List { walk: self, rule, count: 0, items: Vec::new() })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Mapping<'w, 'f>, Error> {
        self.mapping();
        Ok(Mapping { walk: self, key: String::new() })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Mapping<'w, 'f>, Error> {
        self.serialize_map(None)
    }

    unknowns!();
}

/// No spec has such a value.
fn unknown() -> Error {
    Error::custom("a value that no spec has")
}

/// Of an item of a list the fields that it is known by, and none of the others.
struct Keys(ListRule);

struct Known(ListRule, Map<String, Value>, String);

impl Known {
    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Error> {
        let is_key = match self.0 {
            ListRule::Keyed(fields) => fields.contains(&name),
            ListRule::Span(start, end) => name == start || name == end,
            ListRule::Set | ListRule::Atomic => false,
        };
        if is_key {
            self.1.insert(name.to_owned(), serde_json::to_value(value)?);
        }
        Ok(())
    }
}

impl ser::SerializeMap for Known {
    type Ok = Value;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.2 = word(key)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let name = std::mem::take(&mut self.2);
        self.field(&name, value)
    }

    fn end(self) -> Result<Value, Error> {
        Ok(Value::Object(self.1))
    }
}

impl ser::SerializeStruct for Known {
    type Ok = Value;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.field(name, value)
    }

    fn end(self) -> Result<Value, Error> {
        Ok(Value::Object(self.1))
    }
}

impl Serializer for Keys {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = Impossible<Value, Error>;
    type SerializeTuple = Impossible<Value, Error>;
    type SerializeTupleStruct = Impossible<Value, Error>;
    type SerializeTupleVariant = Impossible<Value, Error>;
    type SerializeMap = Known;
    type SerializeStruct = Known;
    type SerializeStructVariant = Impossible<Value, Error>;

    scalars! { self, _value, Err(unknown());
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_u8: u8,
        serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32, serialize_f64: f64, serialize_char: char,
        serialize_str: &str, serialize_bytes: &[u8], serialize_unit_struct: &'static str,
    }

    fn serialize_none(self) -> Result<Value, Error> {
        Err(unknown())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Error> {
        Err(unknown())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<Value, Error> {
        Err(unknown())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Value, Error> {
        Err(unknown())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Error> {
        Err(unknown())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Known, Error> {
        Ok(Known(self.0, Map::new(), String::new()))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Known, Error> {
        self.serialize_map(None)
    }

    unknowns!();
}

#[cfg(test)]
mod tests {
    use super::super::NetworkSpec;
    use super::super::path::{leaves, walk};
    use super::*;

    #[test]
    fn a_spec_and_the_tree_of_its_values_have_the_same_leaves() {
        let vm = serde_json::json!({
            "runStrategy": "Always", "cpu": {"count": 2, "topology": {"sockets": 1, "cores": 2, "threads": 1}}, "memory": "1Gi", "guestAgent": true,
            "disks": [{"name": "root", "claim": {"pool": "p", "capacity": "2Gi", "source": {"template": "t"}}, "limits": {"iops": 7}},
                      {"name": "data", "volume": "v", "readOnly": false}],
            "interfaces": [{"name": "eth0", "network": "lan", "mac": "52:54:00:00:00:01", "ip": "10.0.0.5"}],
            "console": {"vnc": {}},
            "cloudInit": {"users": [{"name": "a", "groups": ["x", "y"]}], "keyPairs": ["b", "a", "b"], "packages": [],
                          "runCmd": ["ls -l", "true"], "writeFiles": [{"path": "/a~b", "content": "c"}]},
            "updatePolicy": {"windows": [{"cron": "0 3 * * SUN", "duration": "1h"}]},
        });
        let network = serde_json::json!({
            "mode": "NAT", "nodes": ["b", "a"], "dns": {"forwarders": ["9.9.9.9", "1.1.1.1"], "hosts": [{"ip": "10.0.0.7", "names": ["n"]}]},
            "ips": [{"address": "10.0.0.1/24", "dhcp": {"ranges": [{"start": "10.0.0.9", "end": "10.0.0.20"}],
                     "hosts": [{"name": "x", "ip": "10.0.0.5"}]}}],
        });
        for (kind, value) in [(Kind::VirtualMachine, vm), (Kind::Network, network)] {
            let spec = (super::super::kinds::spec_of(kind).unwrap().read)(&value).unwrap();
            assert_eq!(leaves(kind, &spec), leaves(kind, &spec.to_value()));
            assert_eq!(walk(kind, &spec), walk(kind, &spec.to_value()));
            let places = walk(kind, &spec);
            for (path, value) in leaves(kind, &spec) {
                let leaf = &places[&path];
                assert_eq!(leaf.value, value);
                let there = spec.to_value().pointer(&leaf.pointer).cloned();
                assert!(
                    there.is_some_and(|there| there == value || matches!(value, Value::Array(_) | Value::Object(_))),
                    "{path}"
                );
            }
        }
        assert!(leaves(Kind::Network, &NetworkSpec::default()).is_empty());
    }
}
