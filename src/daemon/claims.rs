//! What runs may be under way side by side. Plain values.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::{Name, ObjectRef};
use crate::observe::Target;
use crate::plan::{Action, Owned, Part, Plan};
use crate::resolve::Desired;

/// What a run works on, and what has to stay as it is meanwhile.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// What it changes.
    pub own: BTreeSet<ObjectRef>,
    /// What that needs: others may need it as well, and nobody may change it.
    pub shared: BTreeSet<ObjectRef>,
}

impl Claims {
    /// The claims of a part of a plan.
    pub(super) fn of(part: &Part, desired: &Desired, owned: &Owned, index: &Index) -> Self {
        Self::over(part.objects.clone(), &part.plan.actions, desired, owned, index)
    }

    /// The claims of a plan that is carried out by hand: of what has to wait in it, too, and of what comes with all that.
    pub fn of_plan(plan: &Plan, desired: &Desired, owned: &Owned) -> Self {
        let changed = plan.changes.iter().map(|change| &change.object).chain(plan.actions.iter().map(|action| &action.object));
        let mut objects: BTreeSet<ObjectRef> =
            changed.chain(plan.deferred.iter().map(|deferred| &deferred.object)).cloned().collect();
        let comes_with = |by: &ObjectRef| objects.contains(by);
        let implied = desired.objects.values().filter(|wanted| wanted.implied_by.as_ref().is_some_and(comes_with));
        let implied: Vec<ObjectRef> = implied.map(|wanted| wanted.object.clone()).collect();
        objects.extend(implied);
        Self::over(objects, &plan.actions, desired, owned, &Index::of(desired, owned))
    }

    fn over(mut own: BTreeSet<ObjectRef>, actions: &[Action], desired: &Desired, owned: &Owned, index: &Index) -> Self {
        // A VM's address is an entry of its network: both are changed.
        own.extend(actions.iter().filter_map(|action| {
            let (node, target) = (action.node.as_ref()?, action.op.target()?);
            index.object(node, &target).cloned()
        }));
        let mut shared = BTreeSet::new();
        let mut open: Vec<&ObjectRef> = own.iter().collect();
        while let Some(object) = open.pop() {
            for reference in desired.objects.get(object).into_iter().flat_map(|wanted| &wanted.references) {
                if shared.insert(reference.object.clone()) {
                    open.push(&reference.object);
                }
            }
            // What is no longer in the manifests still lies in its pool.
            if let Some(volume) = owned.entries.get(object).and_then(|entry| entry.volume.as_ref())
                && let Some(node) = owned.entries.get(object).and_then(|entry| entry.node.as_ref())
            {
                shared.extend(index.object(node, &Target::Pool(volume.pool.clone())).cloned());
            }
        }
        let shared = shared.difference(&own).cloned().collect();
        Self { own, shared }
    }

    /// What one changes and the other changes or needs.
    pub fn shares<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a ObjectRef> {
        let own = self.own.intersection(&other.own).chain(self.own.intersection(&other.shared));
        own.chain(self.shared.intersection(&other.own))
    }

    /// Whether one changes what the other changes or needs.
    pub(super) fn collide(&self, other: &Self) -> bool {
        !self.own.is_disjoint(&other.own) || !self.own.is_disjoint(&other.shared) || !self.shared.is_disjoint(&other.own)
    }
}

/// A name in libvirt, on a node.
type Place = (Name, Target);

/// Which object of ours stands behind a name in libvirt.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Index {
    objects: BTreeMap<Place, ObjectRef>,
    /// Few each: a list takes a tenth of the room that a set does.
    places: BTreeMap<ObjectRef, Vec<Place>>,
}

impl Index {
    /// All that is wanted or owned.
    pub(super) fn of(desired: &Desired, owned: &Owned) -> Self {
        let mut index = Self::default();
        index.put(desired.objects.keys(), owned.entries.keys(), desired, owned);
        index
    }

    /// As it is once the manifests or the entries of these objects are others, and no more work than these.
    pub(super) fn renew(&mut self, objects: &BTreeSet<ObjectRef>, desired: &Desired, owned: &Owned) {
        let mut left = BTreeSet::new();
        for place in objects.iter().filter_map(|object| self.places.remove(object)).flatten() {
            if self.objects.get(&place).is_some_and(|object| objects.contains(object)) {
                self.objects.remove(&place);
                left.insert(place);
            }
        }
        self.put(objects, objects, desired, owned);
        left.retain(|place| !self.objects.contains_key(place));
        if !left.is_empty() {
            // Whoever came second there is first now.
            let second = self
                .places
                .iter()
                .filter(|(_, places)| places.iter().any(|place| left.contains(place)))
                .map(|(object, _)| object.clone());
            let second: BTreeSet<ObjectRef> = second.collect();
            self.put(&second, &second, desired, owned);
        }
    }

    fn put<'a>(
        &mut self,
        wanted: impl IntoIterator<Item = &'a ObjectRef>,
        known: impl IntoIterator<Item = &'a ObjectRef>,
        desired: &Desired,
        owned: &Owned,
    ) {
        // What is wanted comes first where both lay claim to a name.
        for object in wanted {
            self.put_wanted(object, desired, owned);
        }
        for object in known {
            self.put_owned(object, owned);
        }
    }

    fn put_wanted(&mut self, object: &ObjectRef, desired: &Desired, owned: &Owned) {
        let Some(wanted) = desired.objects.get(object) else { return };
        let Some(node) = &wanted.node else { return };
        let name = owned.entries.get(object).map_or(&wanted.libvirt_name, |entry| &entry.libvirt_name);
        if let Some(target) = target(object, name) {
            let place = (node.clone(), target);
            self.lies_at(object, &place);
            self.objects.insert(place, object.clone());
        }
    }

    fn put_owned(&mut self, object: &ObjectRef, owned: &Owned) {
        let Some(entry) = owned.entries.get(object) else { return };
        let Some(node) = &entry.node else { return };
        let file = entry.volume.as_ref().map(|volume| (&volume.pool, &volume.file));
        let file = file.or_else(|| entry.template.as_ref().map(|template| (&template.pool, &template.file)));
        let file = file.map(|(pool, name)| Target::Volume { pool: pool.clone(), name: name.clone() });
        if let Some(target) = file.or_else(|| target(&entry.object, &entry.libvirt_name)) {
            let place = (node.clone(), target);
            self.lies_at(object, &place);
            self.objects.entry(place).or_insert_with(|| object.clone());
        }
    }

    fn lies_at(&mut self, object: &ObjectRef, place: &Place) {
        let places = self.places.entry(object.clone()).or_insert_with(|| Vec::with_capacity(1));
        if !places.contains(place) {
            places.push(place.clone());
        }
    }

    /// The object.
    pub(super) fn object(&self, node: &Name, target: &Target) -> Option<&ObjectRef> {
        self.objects.get(&(node.clone(), target.clone()))
    }
}

fn target(object: &ObjectRef, name: &str) -> Option<Target> {
    use crate::name::Kind;
    match object.kind {
        Kind::VirtualMachine => Some(Target::Domain(name.to_owned())),
        Kind::Network => Some(Target::Network(name.to_owned())),
        Kind::StoragePool => Some(Target::Pool(name.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An inventory of VMs, each with its name in libvirt.
    fn owned(vms: &[(&str, &str)]) -> Owned {
        let entry = |(name, libvirt_name): &(&str, &str)| {
            let entry: crate::plan::Entry = serde_json::from_value(json!({
                "object": format!("VirtualMachine/{name}"), "uid": uuid::Uuid::nil(), "node": "a", "libvirtUuid": null,
                "libvirtName": libvirt_name, "createdAt": "", "volume": null, "template": null, "seedDigest": null,
                "lastOffReason": null,
            }))
            .unwrap();
            (entry.object.clone(), entry.into())
        };
        Owned { entries: vms.iter().map(entry).collect(), ..Owned::default() }
    }

    #[test]
    fn who_came_second_in_an_index_is_first_once_the_first_is_gone() {
        let desired = Desired::default();
        let mut index = Index::of(&desired, &owned(&[("first", "vm"), ("second", "vm")]));
        let later = owned(&[("second", "vm")]);
        index.renew(&["VirtualMachine/first".parse().unwrap()].into(), &desired, &later);
        assert_eq!(index, Index::of(&desired, &later));
    }

    #[test]
    fn an_index_that_is_renewed_is_as_one_that_is_made_anew() {
        let desired = Desired::default();
        let mut index = Index::of(&desired, &owned(&[("stays", "stays"), ("moves", "old"), ("goes", "goes")]));
        let later = owned(&[("stays", "stays"), ("moves", "new"), ("comes", "goes")]);
        let changed = ["moves", "goes", "comes"].map(|name| format!("VirtualMachine/{name}").parse().unwrap()).into();
        index.renew(&changed, &desired, &later);
        assert_eq!(index, Index::of(&desired, &later));
        let at =
            |name: &str| index.object(&"a".parse().unwrap(), &Target::Domain(name.into())).map(|object| object.name.to_string());
        assert_eq!((at("new"), at("goes"), at("old")), (Some("moves".into()), Some("comes".into()), None));
    }
}
