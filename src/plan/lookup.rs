//! What references mean: where a volume or template stands, or will.

use std::collections::BTreeSet;

use super::fields::NEW_OBJECT_WAY;
use super::kinds::VolumeAt;
use super::model::{FieldChange, RefusalKind, Shown};
use super::planner::Planner;
use super::{Entry, Intent, TemplateRecord, VolumeRecord};
use crate::name::{Kind, Name, ObjectRef};
use crate::resolve::Wanted;
use crate::xml::Mark;
use crate::xml::volume::Backing;

impl Planner<'_> {
    /// The entry that an object has or will have when this plan is done.
    pub(super) fn entry_planned(&self, object: &ObjectRef) -> Option<&Entry> {
        self.made.get(object).or_else(|| self.owned.entry(object))
    }

    /// Where a template's image is, or will be when its actions are done.
    pub(super) fn template_record(&self, object: &ObjectRef) -> Option<TemplateRecord> {
        self.entry_planned(object)?.template.clone().filter(|record| record.ready)
    }

    /// What is, or will be, on record of a volume of a node.
    pub(super) fn record_here(&self, object: &ObjectRef, node: &Name) -> Option<&VolumeRecord> {
        self.entry_planned(object).filter(|entry| entry.node.as_ref() == Some(node))?.volume.as_ref()
    }

    /// Where a volume is on a node, or will be, with its pool and file; foreign ones are found by the object's name.
    pub(super) fn volume_at(&self, object: &ObjectRef, node: &Name) -> Option<(VolumeAt, String, String)> {
        if let Some(record) = self.record_here(object, node) {
            let backing = record
                .backing
                .as_ref()
                .map(|path| Backing { path: path.clone(), format: self.format_of(node, path).unwrap_or_else(|| "qcow2".into()) });
            let at = VolumeAt { path: record.path.clone(), format: record.format.clone(), backing, capacity: record.capacity };
            return Some((at, record.pool.clone(), record.file.clone()));
        }
        if object.kind != Kind::Volume {
            return None;
        }
        // An object that no manifest of the set declares, under the name that it would have.
        let state = self.node(node)?;
        for pool in state.pools.values() {
            for volume in pool.volumes.iter().flat_map(|volumes| volumes.values()) {
                let stem = volume.name.strip_suffix(".qcow2").or_else(|| volume.name.strip_suffix(".img"));
                if volume.name == object.name.as_str() || stem == Some(object.name.as_str()) {
                    let at = VolumeAt {
                        path: volume.path.clone(),
                        format: volume.format.clone(),
                        backing: volume.backing.clone(),
                        capacity: volume.capacity,
                    };
                    return Some((at, pool.name.clone(), volume.name.clone()));
                }
            }
        }
        None
    }

    /// The files of an object, and of what comes with it, that a run which broke off may have left half made.
    pub(super) fn half_made(&self, object: &ObjectRef) -> BTreeSet<String> {
        let begun = |intent: &&Intent| intent.object == *object && intent.op.starts_with("volume-");
        let intents = self.owned.intents.iter().filter(begun);
        let paths = intents.filter_map(|intent| intent.details.get("path").and_then(|path| path.as_str()).map(str::to_owned));
        let came = self.index.came_with(object).chain(self.owned.entry(object));
        let entries = came.filter_map(|entry| match (&entry.volume, &entry.template) {
            (Some(volume), _) if entry.unfinished => Some(volume.path.clone()),
            (_, Some(template)) if !template.ready => Some(template.path.clone()),
            _ => None,
        });
        paths.chain(entries).collect()
    }

    /// The format of a file as jvp made it, else as its pool says.
    pub(super) fn format_of(&self, node: &Name, path: &str) -> Option<String> {
        let recorded = self.files_at(node, path).find_map(|entry| {
            let volume = entry.volume.as_ref().filter(|volume| volume.path == path).map(|volume| volume.format.clone());
            volume.or_else(|| {
                entry.template.as_ref().filter(|t| t.path == path).map(|t| match t.format.as_str() {
                    "iso" => "raw".into(),
                    other => other.to_owned(),
                })
            })
        });
        recorded.or_else(|| self.index.volume_at(node, path).map(|volume| volume.format.clone()))
    }

    /// The volumes and templates that are recorded at a path of a node, or will be.
    fn files_at<'a>(&'a self, node: &Name, path: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.index.recorded_at(node, path).chain(self.made.lying_at(node, path))
    }

    /// The files beneath a volume with their formats, the nearest first.
    pub(super) fn chain(&self, node: &Name, first: Option<&Backing>) -> Vec<(String, String)> {
        let mut chain = Vec::new();
        let mut next = first.cloned();
        while let Some(backing) = next {
            if chain.len() > 64 || chain.iter().any(|(path, _)| *path == backing.path) {
                break;
            }
            next = self.backing_of(node, &backing.path);
            chain.push((backing.path, backing.format));
        }
        chain
    }

    fn backing_of(&self, node: &Name, path: &str) -> Option<Backing> {
        let recorded = self.files_at(node, path).find_map(|entry| entry.volume.as_ref().filter(|volume| volume.path == path));
        if let Some(record) = recorded {
            let path = record.backing.clone()?;
            let format = self.format_of(node, &path).unwrap_or_else(|| "qcow2".into());
            return Some(Backing { path, format });
        }
        self.index.volume_at(node, path)?.backing.clone()
    }

    /// The domains that have a file as a writable disk, in what runs, in what starts next, or in what was saved.
    pub(super) fn writers(&self, node: &Name, path: &str) -> Vec<String> {
        let Some(state) = self.index.where_used(node, path) else { return Vec::new() };
        state
            .domains
            .values()
            .filter(|domain| {
                domain.docs().flat_map(|doc| &doc.disks).any(|disk| {
                    let named = || disk.source_volume.as_ref().and_then(|(pool, name)| state.volume_path(pool, name));
                    !disk.read_only && disk.source.clone().or_else(named).as_deref() == Some(path)
                })
            })
            .map(|domain| domain.name.clone())
            .collect()
    }

    /// Whether nothing new is made on a node.
    pub(super) fn node_closed(&self, node: &Name) -> bool {
        self.desired.nodes.get(node).is_some_and(|node| node.unschedulable)
    }

    /// Refuses an object whose reference leads nowhere, with the three places that were looked at.
    pub(super) fn refuse_missing(&mut self, wanted: &Wanted, path: &str, object: &ObjectRef) {
        let mut help = vec!["add a manifest for it, give `-f` the folder that has it, or correct the name".to_owned()];
        let state = wanted.node.as_ref().and_then(|node| self.node(node)).filter(|_| object.kind == Kind::Volume);
        let pools = state.into_iter().flat_map(|state| state.pools.values());
        let closed: Vec<String> = pools.filter(|pool| pool.seen().is_none()).map(|pool| format!("`{}`", pool.name)).collect();
        if !closed.is_empty() {
            help.push(format!("or start the pool that it lies in: what is in {} can't be read", closed.join(", ")));
        }
        let elsewhere =
            self.entry(object).and_then(|entry| entry.node.as_ref()).filter(|node| wanted.node.as_ref() != Some(*node));
        let why = match elsewhere {
            Some(node) => {
                help = vec![format!(
                    "a volume is on one node only: place what needs it on {node}, or make one here from a Template"
                )];
                format!("which is in no manifest, and stands on Node/{node}")
            }
            None => "which is not in the manifests, not in the inventory and not on the node".into(),
        };
        let message = format!("its field {path} names {object}, {why}");
        self.refuse(wanted, RefusalKind::Invalid, message, &help);
    }

    /// Refuses an object for each of its references that leads nowhere whatever else is done. Volumes may come to light with their pool.
    pub(super) fn refuse_what_leads_nowhere(&mut self, wanted: &Wanted) -> bool {
        let state = wanted.node.as_ref().and_then(|node| self.node(node));
        let there = |object: &ObjectRef| match (object.kind, &object.node) {
            (Kind::Template | Kind::KeyPair, _) => false,
            (Kind::StoragePool, Some(node)) => self.pool(&object.name, node).is_some(),
            (Kind::Network, Some(node)) => {
                let name = self.libvirt_name(object.kind, &object.name, node);
                state.is_some_and(|state| state.networks.contains_key(&name))
            }
            _ => true,
        };
        let nowhere: Vec<_> = wanted
            .references
            .iter()
            .filter(|reference| !self.desired.objects.contains_key(&reference.object) && self.entry(&reference.object).is_none())
            .filter(|reference| !there(&reference.object))
            .cloned()
            .collect();
        for reference in &nowhere {
            self.refuse_missing(wanted, &reference.path, &reference.object);
        }
        !nowhere.is_empty()
    }

    /// Refuses what never changes once it is made. True where it was refused.
    pub(super) fn refuse_never(&mut self, wanted: &Wanted, found: &super::diff::Differences) -> bool {
        use super::fields::Change;
        let never: Vec<_> = found
            .changed
            .iter()
            .filter_map(|(row, difference)| match row.change {
                Change::Done => None,
                Change::Never(way) => Some((super::diff::shown(row, difference), way)),
            })
            .collect();
        for (change, way) in &never {
            self.refuse_change(wanted, change, way);
        }
        !never.is_empty()
    }

    /// Refuses another value of a field that was used when the object was made.
    pub(super) fn refuse_new_value(&mut self, wanted: &Wanted, path: &str, old: &str, new: &str) {
        let shown = |text: &str| Some(Shown::Value(text.to_owned()));
        let change = FieldChange { path: path.to_owned(), old: shown(old), new: shown(new) };
        self.refuse_change(wanted, &change, NEW_OBJECT_WAY);
    }

    fn refuse_change(&mut self, wanted: &Wanted, change: &FieldChange, way: &str) {
        let line = super::display::field_line(change);
        self.refuse(wanted, RefusalKind::Guard, format!("this never changes once it is made: {line}"), &[way.into()]);
    }

    /// Refuses another node for what stands on one: a second one would be made, and the first forgotten. True where it was refused.
    pub(super) fn refuse_new_node(&mut self, wanted: &Wanted, node: &Name) -> bool {
        let moved = self.entry(&wanted.object).and_then(|entry| entry.node.clone()).filter(|was| was != node);
        let Some(was) = moved else { return false };
        let message = format!("it stands on Node/{was}; moving it to Node/{node} needs migration, which is not there yet");
        let help = match wanted.object.kind {
            Kind::Volume => format!("set the node of the VM that uses it, or the `nodes` of its pool, back to {was}"),
            _ => format!("set `spec.node: {was}`"),
        };
        self.refuse(wanted, RefusalKind::Guard, message, &[help]);
        true
    }

    /// Refuses another `libvirtName` for what stands under the name that it was made with. True where it was refused; false where
    /// `found` is a name that somebody gave it by hand.
    pub(super) fn refuse_new_name(&mut self, wanted: &Wanted, found: &str) -> bool {
        let made = self.was_made_as(wanted, found);
        if made {
            self.refuse_new_value(wanted, "/libvirtName", found, &wanted.libvirt_name);
        }
        made
    }

    /// Whether an object is known to have been made under a name in libvirt. What only a mark tells says nothing of it.
    pub(super) fn was_made_as(&self, wanted: &Wanted, name: &str) -> bool {
        self.entry(&wanted.object).is_some_and(|entry| entry.libvirt_name == name && !entry.rebuilt)
    }

    /// The mark of an object as it is to be written.
    pub(super) fn mark(&self, wanted: &Wanted) -> Mark {
        Mark {
            uid: wanted.uid,
            paths: wanted.managed().cloned().collect(),
            ..Mark::new(self.desired.fleet, wanted.object.clone(), self.policy.writer)
        }
    }

    /// Domains of others that are plugged into a network.
    pub(super) fn guests_of_network(&self, node: &Name, network: &str) -> Vec<(String, bool)> {
        let Some(state) = self.node(node) else { return Vec::new() };
        state
            .domains
            .values()
            .filter(|domain| domain.docs().flat_map(|doc| &doc.interfaces).any(|nic| nic.network.as_deref() == Some(network)))
            .map(|domain| {
                let ours = domain.doc.mark.as_ref().is_some_and(|mark| mark.fleet == self.desired.fleet);
                (domain.name.clone(), ours)
            })
            .collect()
    }
}
