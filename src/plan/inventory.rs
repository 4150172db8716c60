//! The inventory made whole from the marks: losing the ledger loses no VM.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Entry, Owned, VolumeRecord};
use crate::name::{Kind, Name, ObjectRef, Uid};
use crate::observe::{DomainState, NodeState, NodeView, Observed};
use crate::xml::{Mark, MarkVolume};

/// The inventory with an entry for each object that a mark of this fleet tells of and the ledger doesn't know, and what those are.
pub fn complete(owned: Owned, observed: &Observed, fleet: Uid) -> (Owned, Vec<Entry>) {
    let mut whole = owned;
    let mut found = Vec::new();
    let mut told = Vec::new();
    // Most often nothing is; so this is asked before anything is made of a mark.
    let is_news = |object: &ObjectRef| match whole.entry(object) {
        None => true,
        Some(known) => object.kind == Kind::Volume && known.volume.is_none(),
    };
    for (node, view) in &observed.nodes {
        let NodeView::Reached(state) = view else { continue };
        for domain in state.domains.values() {
            let Some(mark) = domain.doc.mark.as_ref().filter(|mark| mark.fleet == fleet) else { continue };
            if is_news(&mark.object) {
                found.push(Entry {
                    seed_digest: mark.seed.clone(),
                    fragment_digest: mark.fragment.clone(),
                    reservations: mark.reservations.clone(),
                    ..from_mark(mark, node, domain.uuid, &domain.name)
                });
            }
            let volumes = mark.volumes.iter().filter_map(|volume| {
                let object: ObjectRef = volume.name.parse().ok()?;
                let has = has_volume(domain, volume);
                if object.kind != Kind::Volume || !is_news(&object) || (!has && is_gone(state, volume)) {
                    return None;
                }
                let owner = volume_owner(&object, mark);
                // Of several that name it, the VM that it came with knows it best, and then one that has it.
                let rank = (owner.is_none(), !has);
                let mut entry = from_mark(mark, node, domain.uuid, &volume.file);
                entry.uid = object.uid(fleet);
                entry.object = object;
                entry.libvirt_uuid = None;
                entry.last = BTreeSet::new();
                entry.volume = Some(VolumeRecord {
                    pool: volume.pool.clone(),
                    file: volume.file.clone(),
                    path: volume.path.clone(),
                    format: volume.format.clone(),
                    capacity: volume.capacity,
                    backing: volume.backing.clone(),
                    source: volume.source.clone(),
                    owner,
                });
                Some((rank, entry))
            });
            told.extend(volumes);
        }
        for network in state.networks.values() {
            let Some(mark) = network.doc.mark.as_ref().filter(|mark| mark.fleet == fleet) else { continue };
            if is_news(&mark.object) {
                found.push(from_mark(mark, node, network.uuid, &network.name));
            }
        }
    }
    told.sort_by_cached_key(|(rank, entry)| (entry.object.clone(), *rank));
    told.dedup_by(|(_, next), (_, first)| next.object == first.object);
    found.extend(told.into_iter().map(|(_, entry)| entry));
    for entry in &found {
        whole.entries.entry(entry.object.clone()).or_insert_with(|| Arc::new(entry.clone()));
    }
    (whole, found)
}

/// Whether a domain has a volume that its mark names.
fn has_volume(domain: &DomainState, volume: &MarkVolume) -> bool {
    let named = (volume.pool.clone(), volume.file.clone());
    domain.docs().any(|doc| doc.uses.contains(&volume.path) || doc.uses_volumes.contains(&named))
}

/// Whether a volume's pool tells that there is no such file. What a domain still has isn't held against it: its file may be out of sight
/// only, as where its file system isn't mounted. What no domain has was deleted, and a mark that is behind that doesn't bring it back.
fn is_gone(state: &NodeState, volume: &MarkVolume) -> bool {
    let pool = state.pools.get(&volume.pool);
    pool.and_then(|pool| pool.seen()).is_some_and(|files| !files.contains_key(&volume.file))
}

/// A claim or seed is called `<vm>.<disk>`; the VM that bears the mark owns it then.
fn volume_owner(volume: &ObjectRef, mark: &Mark) -> Option<ObjectRef> {
    let prefix = format!("{}.", mark.object.name);
    volume.name.as_str().starts_with(&prefix).then(|| mark.object.clone())
}

fn from_mark(mark: &Mark, node: &Name, uuid: uuid::Uuid, name: &str) -> Entry {
    Entry {
        object: mark.object.clone(),
        uid: mark.uid,
        node: Some(node.clone()),
        libvirt_uuid: Some(uuid),
        libvirt_name: name.to_owned(),
        last: mark.paths.clone(),
        labels: std::collections::BTreeMap::new(),
        reclaim: None,
        prevent_destroy: false,
        values: std::collections::BTreeMap::new(),
        released: false,
        rebuilt: true,
        unfinished: false,
        created_at: mark.created.clone().unwrap_or_default(),
        volume: None,
        template: None,
        secrets: std::collections::BTreeMap::new(),
        seed_digest: None,
        fragment_digest: None,
        fragment: std::collections::BTreeMap::new(),
        tried_vcpus: None,
        reservations: std::collections::BTreeMap::new(),
        last_off_reason: None,
        restarting: false,
        mark_due: false,
    }
}
