//! The entries that a plan leaves behind, and which of them lie at a path or stand on one.

use std::collections::{BTreeMap, BTreeSet};

use super::Entry;
use super::undo::Said;
use crate::name::{Name, ObjectRef};

/// Objects by node and path.
type ByPath = BTreeMap<(Name, String), BTreeSet<ObjectRef>>;

/// Entries as they will be once a plan is done.
#[derive(Default)]
pub(super) struct Made {
    said: Said<Entry>,
    /// Who was ever said to lie there. It may be said otherwise, or taken back since.
    at: ByPath,
    /// Who was ever said to have that for its backing file.
    above: ByPath,
}

impl Made {
    pub(super) fn get(&self, object: &ObjectRef) -> Option<&Entry> {
        self.said.get(object)
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        if let Some(node) = &entry.node {
            let put = |all: &mut ByPath, path: &str| {
                all.entry((node.clone(), path.to_owned())).or_default().insert(entry.object.clone());
            };
            entry.files().for_each(|path| put(&mut self.at, path));
            entry.backing().into_iter().for_each(|path| put(&mut self.above, path));
        }
        self.said.insert(entry.object.clone(), entry);
    }

    pub(super) fn remove(&mut self, object: &ObjectRef) {
        self.said.remove(object);
    }

    /// Begins what may be taken back.
    pub(super) fn watch(&mut self) {
        self.said.watch();
    }

    /// Takes back all that changed since [`watch`](Self::watch).
    pub(super) fn take_back(&mut self) {
        self.said.take_back();
    }

    /// The volumes and templates that will lie at a path of a node.
    pub(super) fn lying_at<'a>(&'a self, node: &Name, path: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.of(&self.at, node, path, move |entry| entry.files().any(|file| file == path))
    }

    /// The volumes of a node whose backing file a path will be.
    pub(super) fn standing_on<'a>(&'a self, node: &Name, path: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.of(&self.above, node, path, move |entry| entry.backing() == Some(path))
    }

    fn of<'a>(
        &'a self,
        all: &'a ByPath,
        node: &Name,
        path: &str,
        still: impl Fn(&Entry) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Entry> {
        let key = (node.clone(), path.to_owned());
        let objects = all.get(&key).into_iter().flatten();
        objects
            .filter_map(|object| self.said.get(object))
            .filter(move |entry| entry.node.as_ref() == Some(&key.0) && still(entry))
    }

    pub(super) fn into_all(self) -> impl Iterator<Item = (ObjectRef, Entry)> {
        self.said.into_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::VolumeRecord;

    fn volume(name: &str, node: &str, path: &str, backing: Option<&str>) -> Entry {
        let record = serde_json::json!({
            "object": format!("Volume/{name}"), "uid": uuid::Uuid::nil(), "node": node, "libvirtName": name, "createdAt": "",
            "volume": VolumeRecord {
                pool: "p".into(),
                file: name.into(),
                path: path.into(),
                format: "qcow2".into(),
                capacity: 1,
                backing: backing.map(str::to_owned),
                source: None,
                owner: None,
            },
        });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn what_lies_at_a_path_is_what_was_said_last_and_not_taken_back() {
        let mut made = Made::default();
        let node: Name = "a".parse().unwrap();
        let lying = |made: &Made, path: &str| made.lying_at(&node, path).map(|e| e.object.to_string()).collect::<Vec<_>>();
        let above = |made: &Made, path: &str| made.standing_on(&node, path).map(|e| e.object.to_string()).collect::<Vec<_>>();
        made.insert(volume("two", "a", "/p/x", Some("/p/base")));
        made.insert(volume("one", "a", "/p/x", Some("/p/base")));
        made.insert(volume("other", "b", "/p/x", Some("/p/base")));
        assert_eq!(lying(&made, "/p/x"), ["Volume/one", "Volume/two"], "in the order of the inventory");
        assert_eq!(above(&made, "/p/base"), ["Volume/one", "Volume/two"]);
        made.insert(volume("one", "a", "/p/y", None));
        assert_eq!((lying(&made, "/p/x"), above(&made, "/p/base")), (vec!["Volume/two".into()], vec!["Volume/two".into()]));
        made.watch();
        made.remove(&"Volume/two".parse().unwrap());
        made.insert(volume("one", "a", "/p/x", Some("/p/other")));
        assert_eq!((lying(&made, "/p/x"), above(&made, "/p/base").len()), (vec!["Volume/one".to_owned()], 0));
        made.take_back();
        assert_eq!((lying(&made, "/p/x"), lying(&made, "/p/y")), (vec!["Volume/two".to_owned()], vec!["Volume/one".into()]));
        assert_eq!(above(&made, "/p/base"), ["Volume/two"]);
    }
}
