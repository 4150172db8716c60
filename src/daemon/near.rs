//! One object with all that it needs, and nothing else: what an event is answered from. Pure.
//!
//! Such a view tells less than a full one: who else uses a volume, whether a VM of ours stands on another node. So what is planned from
//! it is done only where it takes nothing from anybody; all else waits for a full look.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::{Kind, Name, ObjectRef};
use crate::observe::Target;
use crate::plan::{Owned, Part, Plan};
use crate::resolve::{Desired, Wanted};

/// An object's surroundings.
#[derive(Debug)]
pub(super) struct Near {
    /// The objects of it: the one itself and all that it needs.
    pub objects: BTreeSet<ObjectRef>,
    /// What is to be read, by node.
    pub targets: BTreeMap<Name, BTreeSet<Target>>,
}

/// The surroundings of objects; none where there is no saying what to read, or nothing of one was made yet.
pub(super) fn near<'o>(objects: impl IntoIterator<Item = &'o ObjectRef>, desired: &Desired, owned: &Owned) -> Option<Near> {
    let mut near = Near { objects: BTreeSet::new(), targets: BTreeMap::new() };
    let mut open: Vec<_> = objects.into_iter().map(|object| (object.clone(), None)).collect();
    while let Some((object, from)) = open.pop() {
        if object.kind == Kind::Node || !near.objects.insert(object.clone()) {
            continue;
        }
        let wanted = desired.object(&object);
        let node = wanted.map_or(from, |wanted| wanted.node.clone());
        let needs = wanted.into_iter().flat_map(|wanted| &wanted.references);
        open.extend(needs.map(|reference| (reference.object.clone(), node.clone())));
        let Some(node) = node else { continue };
        near.targets.entry(node).or_default().extend(targets(&object, wanted, owned)?);
    }
    // What comes with it is looked at with it.
    let with_it = owned.entries.values().filter(|entry| {
        entry.volume.as_ref().and_then(|volume| volume.owner.as_ref()).is_some_and(|owner| near.objects.contains(owner))
    });
    for entry in with_it {
        let (Some(volume), Some(node)) = (&entry.volume, &entry.node) else { continue };
        let target = Target::Volume { pool: volume.pool.clone(), name: volume.file.clone() };
        near.targets.entry(node.clone()).or_default().insert(target);
    }
    Some(near)
}

/// What is to be read for an object; none where the inventory doesn't know what it is in libvirt.
fn targets(object: &ObjectRef, wanted: Option<&Wanted>, owned: &Owned) -> Option<Vec<Target>> {
    let entry = owned.entries.get(object);
    // What is neither in the set nor in the inventory is somebody else's, by its own name.
    let name = entry.map(|entry| entry.libvirt_name.clone()).or_else(|| wanted.is_none().then(|| object.name.to_string()));
    Some(match object.kind {
        Kind::VirtualMachine => vec![Target::Domain(name?)],
        Kind::Network => vec![Target::Network(name?)],
        Kind::StoragePool => vec![Target::Pool(name?)],
        Kind::Volume => {
            let volume = entry?.volume.as_ref()?;
            vec![Target::Volume { pool: volume.pool.clone(), name: volume.file.clone() }]
        }
        Kind::Template => {
            let template = entry?.template.as_ref()?;
            vec![Target::Volume { pool: template.pool.clone(), name: template.file.clone() }]
        }
        Kind::Fleet | Kind::Node | Kind::KeyPair => Vec::new(),
    })
}

/// What of the manifests is about these objects.
pub(super) fn desired_of(desired: &Desired, near: &Near) -> Desired {
    Desired {
        fleet: desired.fleet,
        nodes: desired.nodes.iter().filter(|(name, _)| near.targets.contains_key(*name)).map(pair).collect(),
        objects: near.objects.iter().filter_map(|object| desired.objects.get_key_value(object)).map(pair).collect(),
        order: desired.order.iter().filter(|object| near.objects.contains(object)).cloned().collect(),
    }
}

fn pair<K: Clone, V: Clone>((key, value): (&K, &V)) -> (K, V) {
    (key.clone(), value.clone())
}

/// What of the inventory is about these objects.
pub(super) fn owned_of(owned: &Owned, near: &Near) -> Owned {
    let is_near = |object: &ObjectRef| near.objects.contains(object);
    let comes_with = |owner: Option<&ObjectRef>| owner.is_some_and(is_near);
    Owned {
        entries: owned
            .entries
            .iter()
            .filter(|(object, entry)| {
                is_near(object) || comes_with(entry.volume.as_ref().and_then(|volume| volume.owner.as_ref()))
            })
            .map(pair)
            .collect(),
        nodes: owned.nodes.iter().filter(|(name, _)| near.targets.contains_key(*name)).map(pair).collect(),
        intents: owned.intents.iter().filter(|intent| is_near(&intent.object)).cloned().collect(),
        suspended: owned.suspended.iter().filter(|(object, _)| is_near(object)).map(pair).collect(),
    }
}

/// What came of a look at an object's surroundings.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing is to be done.
    Nothing,
    /// This is to be done, and may be.
    Act(Vec<Part>),
    /// More has to be known first.
    LookFurther,
}

/// Judges a plan that was made from an object's surroundings.
pub(super) fn judge(plan: &Plan) -> Verdict {
    if !plan.refusals.is_empty() || !plan.deferred.is_empty() || !plan.unreachable.is_empty() {
        return Verdict::LookFurther;
    }
    if plan.is_empty() {
        return Verdict::Nothing;
    }
    let parts = plan.parts();
    if parts.iter().all(Part::is_light) && plan.changes.iter().all(|change| !change.actions.is_empty()) {
        Verdict::Act(parts)
    } else {
        Verdict::LookFurther
    }
}
