//! What a plan says of objects, so that what was said of one can be taken back.
//!
//! Taking back costs what was said since, however much was said before.

use std::collections::BTreeMap;

use crate::name::ObjectRef;

/// Something of each object.
pub(super) struct Said<V> {
    all: BTreeMap<ObjectRef, V>,
    /// What there was before each change since [`watch`](Self::watch); none where nothing is to be taken back.
    before: Option<Vec<(ObjectRef, Option<V>)>>,
}

impl<V> Default for Said<V> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), before: None }
    }
}

impl<V> Said<V> {
    pub(super) fn get(&self, object: &ObjectRef) -> Option<&V> {
        self.all.get(object)
    }

    pub(super) fn insert(&mut self, object: ObjectRef, value: V) {
        let to_note = self.before.is_some().then(|| object.clone());
        let old = self.all.insert(object, value);
        self.changed(to_note, old);
    }

    pub(super) fn remove(&mut self, object: &ObjectRef) {
        let old = self.all.remove(object);
        self.changed(self.before.is_some().then(|| object.clone()), old);
    }

    fn changed(&mut self, object: Option<ObjectRef>, old: Option<V>) {
        if let (Some(before), Some(object)) = (&mut self.before, object) {
            before.push((object, old));
        }
    }

    /// Begins what may be taken back.
    pub(super) fn watch(&mut self) {
        self.before = Some(Vec::new());
    }

    /// Takes back all that changed since [`watch`](Self::watch), and tells how much that was.
    pub(super) fn take_back(&mut self) -> usize {
        let before = self.before.take().unwrap_or_default();
        let changes = before.len();
        for (object, old) in before.into_iter().rev() {
            match old {
                Some(old) => self.all.insert(object, old),
                None => self.all.remove(&object),
            };
        }
        changes
    }

    pub(super) fn into_all(self) -> impl Iterator<Item = (ObjectRef, V)> {
        self.all.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Kind;

    /// A value that can't be copied: nothing of what was said before can be, either.
    #[derive(Debug, PartialEq)]
    struct Value(usize);

    fn object(number: usize) -> ObjectRef {
        ObjectRef::new(Kind::VirtualMachine, format!("vm{number}").parse().unwrap())
    }

    #[test]
    fn taking_back_costs_what_was_said_since_and_not_what_was_said_before() {
        let mut said = Said::default();
        let mut taken = 0;
        for number in 0..2000 {
            said.insert(object(number), Value(number));
            said.watch();
            said.insert(object(number), Value(7));
            said.insert(object(5000), Value(8));
            taken += said.take_back();
        }
        assert_eq!(taken, 2 * 2000);
        assert_eq!(said.all.len(), 2000);
        assert_eq!(said.get(&object(9)), Some(&Value(9)));
        assert_eq!(said.get(&object(5000)), None);
        said.watch();
        said.remove(&object(9));
        said.insert(object(9), Value(1));
        said.take_back();
        assert_eq!(said.get(&object(9)), Some(&Value(9)));
        assert_eq!(said.take_back(), 0, "it is taken back once");
        assert_eq!(said.into_all().count(), 2000);
    }
}
