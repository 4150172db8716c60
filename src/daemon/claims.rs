//! What runs may be under way side by side. Plain values.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::{Name, ObjectRef};
use crate::observe::Target;
use crate::plan::{Owned, Part};
use crate::resolve::Desired;

/// What a run works on, and what has to stay as it is meanwhile.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    /// What it changes.
    pub own: BTreeSet<ObjectRef>,
    /// What that needs: others may need it as well, and nobody may change it.
    pub shared: BTreeSet<ObjectRef>,
}

impl Claims {
    /// The claims of a part of a plan.
    pub(super) fn of(part: &Part, desired: &Desired, owned: &Owned, index: &Index) -> Self {
        let mut own = part.objects.clone();
        // A VM's address is an entry of its network: both are changed.
        own.extend(part.plan.actions.iter().filter_map(|action| {
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

    /// Whether one changes what the other changes or needs.
    pub(super) fn collide(&self, other: &Self) -> bool {
        !self.own.is_disjoint(&other.own) || !self.own.is_disjoint(&other.shared) || !self.shared.is_disjoint(&other.own)
    }
}

/// Which object of ours stands behind a name in libvirt.
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<(Name, Target), ObjectRef>);

impl Index {
    /// All that is wanted or owned.
    pub(super) fn of(desired: &Desired, owned: &Owned) -> Self {
        let mut index = BTreeMap::new();
        for wanted in desired.objects.values() {
            let Some(node) = &wanted.node else { continue };
            let name = owned.entries.get(&wanted.object).map_or(&wanted.libvirt_name, |entry| &entry.libvirt_name);
            if let Some(target) = target(&wanted.object, name) {
                index.insert((node.clone(), target), wanted.object.clone());
            }
        }
        for entry in owned.entries.values() {
            let Some(node) = &entry.node else { continue };
            let file = entry.volume.as_ref().map(|volume| (&volume.pool, &volume.file));
            let file = file.or_else(|| entry.template.as_ref().map(|template| (&template.pool, &template.file)));
            let file = file.map(|(pool, name)| Target::Volume { pool: pool.clone(), name: name.clone() });
            if let Some(target) = file.or_else(|| target(&entry.object, &entry.libvirt_name)) {
                index.entry((node.clone(), target)).or_insert_with(|| entry.object.clone());
            }
        }
        Self(index)
    }

    /// The object.
    pub(super) fn object(&self, node: &Name, target: &Target) -> Option<&ObjectRef> {
        self.0.get(&(node.clone(), target.clone()))
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
