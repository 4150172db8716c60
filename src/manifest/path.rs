//! Paths of fields, and the rules of lists: how a spec becomes leaves that two sides can be compared by (DECISIONS D2, D3).
//!
//! Both what is wanted and what is observed go through [`leaves`], so it depends on nothing but its input. What a field's change
//! does is not said here.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::leaf::each_leaf;
use crate::name::Kind;

/// The path of a leaf within a spec, as a JSON pointer in which an item of a keyed list stands by its key:
/// `/cpu/count`, `/disks/root/bus`, `/ips/10.0.0.1~124/dhcp/ranges/10.0.0.9-10.0.0.20/start`.
pub type FieldPath = String;

/// The leaves of a spec, each by its path. Most specs have few, for which this takes a quarter of a `BTreeMap`'s room.
pub type Leaves = litemap::LiteMap<FieldPath, Value>;

/// What makes an item of a list the same item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListRule {
    /// The value of the first of these fields that it has.
    Keyed(&'static [&'static str]),
    /// The values of both fields, with `-` between.
    Span(&'static str, &'static str),
    /// The list is one leaf, its order says nothing.
    Set,
    /// The list is one leaf.
    Atomic,
}

/// The rule of every list of the language. `*` stands for the key of an item.
pub const LIST_RULES: &[(Kind, &str, ListRule)] = &[
    (Kind::StoragePool, "/nodes", ListRule::Set),
    (Kind::Network, "/ips", ListRule::Keyed(&["address"])),
    (Kind::Network, "/ips/*/dhcp/ranges", ListRule::Span("start", "end")),
    (Kind::Network, "/ips/*/dhcp/hosts", ListRule::Keyed(&["mac", "name", "ip"])),
    (Kind::Network, "/dns/forwarders", ListRule::Set),
    (Kind::Network, "/dns/hosts", ListRule::Keyed(&["ip"])),
    (Kind::Network, "/dns/hosts/*/names", ListRule::Set),
    (Kind::Network, "/nodes", ListRule::Set),
    (Kind::Template, "/tags", ListRule::Set),
    (Kind::Template, "/nodes", ListRule::Set),
    (Kind::VirtualMachine, "/disks", ListRule::Keyed(&["name"])),
    (Kind::VirtualMachine, "/interfaces", ListRule::Keyed(&["name"])),
    (Kind::VirtualMachine, "/updatePolicy/windows", ListRule::Atomic),
    (Kind::VirtualMachine, "/cloudInit/keyPairs", ListRule::Set),
    (Kind::VirtualMachine, "/cloudInit/users", ListRule::Keyed(&["name"])),
    (Kind::VirtualMachine, "/cloudInit/users/*/groups", ListRule::Atomic),
    (Kind::VirtualMachine, "/cloudInit/users/*/sshAuthorizedKeys", ListRule::Atomic),
    (Kind::VirtualMachine, "/cloudInit/packages", ListRule::Atomic),
    (Kind::VirtualMachine, "/cloudInit/runCmd", ListRule::Atomic),
    (Kind::VirtualMachine, "/cloudInit/writeFiles", ListRule::Atomic),
];

/// Mappings whose being there says something by itself: each is a leaf `{}` beside the leaves within it.
pub(super) const PRESENCE: &[(Kind, &str)] = &[(Kind::VirtualMachine, "/cloudInit"), (Kind::VirtualMachine, "/console/vnc")];

/// The rule of the list at `pattern` (a path in which `*` stands for keys). A list without a row is atomic.
pub fn list_rule(kind: Kind, pattern: &str) -> ListRule {
    LIST_RULES.iter().find(|(k, path, _)| *k == kind && *path == pattern).map_or(ListRule::Atomic, |(_, _, rule)| *rule)
}

/// One leaf of a spec.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// Its path with `*` for every key, as tables have it.
    pub pattern: String,
    /// The JSON pointer to it within the spec, with indices.
    pub pointer: String,
    /// Its value: a scalar, an atomic list, a set in order, or `{}`.
    pub value: Value,
}

/// The leaves of a spec. Lists and mappings without anything in them say the same as none.
pub fn leaves(kind: Kind, spec: &impl Serialize) -> Leaves {
    let mut found = Vec::new();
    each_leaf(kind, spec, false, &mut |at, value| found.push((at.path.clone(), value)));
    found.into_iter().collect()
}

/// The leaves with their places.
pub fn walk(kind: Kind, spec: &impl Serialize) -> BTreeMap<FieldPath, Leaf> {
    let mut found = BTreeMap::new();
    each_leaf(kind, spec, true, &mut |at, value| {
        let leaf = Leaf { pattern: at.pattern.clone(), pointer: at.pointer.clone(), value };
        found.insert(at.path.clone(), leaf);
    });
    found
}

/// The key of an item under `rule`; none for an item without one, and for lists that are one leaf.
pub fn item_key(rule: ListRule, item: &Value) -> Option<String> {
    let text = |field: &str| match item.get(field)? {
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        other => Some(other.to_string()),
    };
    match rule {
        ListRule::Keyed(fields) => fields.iter().find_map(|field| text(field)),
        ListRule::Span(start, end) => Some(format!("{}-{}", text(start)?, text(end)?)),
        ListRule::Set | ListRule::Atomic => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_of_keyed_lists_stand_by_their_keys() {
        let spec = json!({
            "ips": [{"address": "10.0.0.1/24", "dhcp": {
                "ranges": [{"start": "10.0.0.9", "end": "10.0.0.20"}],
                "hosts": [{"name": "x", "mac": "52:54:00:00:00:01", "ip": "10.0.0.5"}]}}],
            "dns": {"forwarders": ["9.9.9.9", "1.1.1.1"], "hosts": []}});
        let found = leaves(Kind::Network, &spec);
        let paths: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "/dns/forwarders",
                "/ips/10.0.0.1~124/address",
                "/ips/10.0.0.1~124/dhcp/hosts/52:54:00:00:00:01/ip",
                "/ips/10.0.0.1~124/dhcp/hosts/52:54:00:00:00:01/mac",
                "/ips/10.0.0.1~124/dhcp/hosts/52:54:00:00:00:01/name",
                "/ips/10.0.0.1~124/dhcp/ranges/10.0.0.9-10.0.0.20/end",
                "/ips/10.0.0.1~124/dhcp/ranges/10.0.0.9-10.0.0.20/start",
            ]
        );
        assert_eq!(found[&"/dns/forwarders".to_owned()], json!(["1.1.1.1", "9.9.9.9"]), "a set has no order");
    }

    #[test]
    fn an_empty_list_says_the_same_as_none() {
        assert_eq!(leaves(Kind::VirtualMachine, &json!({"disks": [], "cpu": {}})), leaves(Kind::VirtualMachine, &json!({})));
    }

    #[test]
    fn a_screen_is_there_or_not_whatever_is_written_in_it() {
        let found = leaves(Kind::VirtualMachine, &json!({"console": {"vnc": {"listen": "127.0.0.1"}}}));
        assert_eq!(found.keys().collect::<Vec<_>>(), ["/console/vnc", "/console/vnc/listen"]);
    }

    #[test]
    fn the_places_of_leaves_have_indices() {
        let found = walk(Kind::VirtualMachine, &json!({"disks": [{"name": "a"}, {"name": "b", "bus": "sata"}]}));
        assert_eq!(found["/disks/b/bus"].pointer, "/disks/1/bus");
        assert_eq!(found["/disks/b/bus"].pattern, "/disks/*/bus");
    }
}
