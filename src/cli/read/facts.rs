//! What is told of an object and has to be looked for in others: addresses, users, guests, the template of a VM.
//!
//! Pure. An index of who uses what is made once, for a list may be long.

use std::collections::{BTreeMap, BTreeSet};

use super::item::{Item, View};
use crate::apply::is_local;
use crate::name::{Kind, MacAddr, Name, ObjectRef};
use crate::observe::DomainState;

/// Who uses what, by node.
#[derive(Default)]
pub(super) struct Index<'a> {
    /// The VMs that use a file, directly or through a chain, by the file's path.
    files: BTreeMap<(&'a Name, &'a str), BTreeSet<String>>,
    /// The volumes that stand on a file.
    children: BTreeMap<(&'a Name, &'a str), BTreeSet<(&'a str, &'a str)>>,
    /// The VMs that are plugged into a network.
    guests: BTreeMap<(&'a Name, &'a str), BTreeSet<String>>,
    /// The addresses that a network's DHCP gave away, by MAC.
    leases: BTreeMap<(&'a Name, String), BTreeSet<&'a str>>,
    /// The objects whose file lies at a path.
    owners: BTreeMap<(&'a Name, &'a str), &'a ObjectRef>,
    /// How many VMs of the fleet's stand on a node.
    vms: BTreeMap<&'a Name, usize>,
}

/// A domain as its users call it: by its object, else by its name in libvirt.
fn called(view: &View<'_>, domain: &DomainState) -> String {
    match domain.doc.mark.as_ref().filter(|mark| mark.fleet == view.desired.fleet) {
        Some(mark) => mark.object.name.to_string(),
        None => domain.name.clone(),
    }
}

impl<'a> Index<'a> {
    /// The index of what was read.
    pub(super) fn new(view: &View<'a>) -> Self {
        let mut index = Self::default();
        for (name, node) in view.observed.reached() {
            for domain in node.domains.values() {
                let called = called(view, domain);
                if domain.doc.mark.as_ref().is_some_and(|mark| mark.fleet == view.desired.fleet) {
                    *index.vms.entry(name).or_default() += 1;
                }
                for path in domain.uses() {
                    index.files.entry((name, path)).or_default().insert(called.clone());
                }
                for nic in domain.docs().flat_map(|doc| &doc.interfaces) {
                    if let Some(network) = &nic.network {
                        index.guests.entry((name, network)).or_default().insert(called.clone());
                    }
                }
            }
            for (_, volume) in node.volumes() {
                if let Some(backing) = &volume.backing {
                    index.children.entry((name, &backing.path)).or_default().insert((&volume.path, &volume.name));
                }
            }
            for lease in node.networks.values().flat_map(|network| &network.leases) {
                index.leases.entry((name, lease.mac.to_lowercase())).or_default().insert(&lease.ip);
            }
        }
        for entry in view.owned.entries.values() {
            let path = entry.volume.as_ref().map(|v| &v.path).or_else(|| entry.template.as_ref().map(|t| &t.path));
            if let (Some(node), Some(path)) = (&entry.node, path) {
                index.owners.insert((node, path), &entry.object);
            }
        }
        index
    }

    /// Who uses a file: VMs, and the volumes that stand on it and that no VM uses.
    pub(super) fn users(&self, node: &Name, path: &str) -> Vec<String> {
        let mut users: Vec<String> = self.files.get(&(node, path)).into_iter().flatten().cloned().collect();
        for (child, file) in self.children.get(&(node, path)).into_iter().flatten() {
            if !self.files.contains_key(&(node, *child)) {
                users.push(self.owner(node, child).map_or_else(|| format!("volume {file}"), ToString::to_string));
            }
        }
        users
    }

    /// The object whose file lies at a path.
    pub(super) fn owner(&self, node: &Name, path: &str) -> Option<&'a ObjectRef> {
        self.owners.get(&(node, path)).copied()
    }

    /// The VMs that are plugged into a network of libvirt's.
    pub(super) fn guests(&self, node: &Name, network: &str) -> Vec<String> {
        self.guests.get(&(node, network)).into_iter().flatten().cloned().collect()
    }

    /// How many VMs of the fleet's stand on a node.
    pub(super) fn vms(&self, node: &Name) -> usize {
        self.vms.get(node).copied().unwrap_or_default()
    }

    /// The addresses that DHCP gave a MAC.
    pub(super) fn leases(&self, node: &Name, mac: MacAddr) -> Vec<&'a str> {
        self.leases.get(&(node, mac.to_string())).into_iter().flatten().copied().collect()
    }
}

/// The addresses of a VM: what its agent told, else what DHCP gave its cards; of one that has neither, what is reserved.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    /// What it has.
    pub(super) known: Vec<String>,
    /// What is kept for it.
    pub(super) reserved: Vec<String>,
}

impl Addresses {
    /// In one cell: what is only reserved stands in parentheses.
    pub(super) fn cell(&self) -> String {
        if !self.known.is_empty() {
            return self.known.join(",");
        }
        if self.reserved.is_empty() { "-".into() } else { format!("({})", self.reserved.join(",")) }
    }
}

/// The addresses of a VM.
pub(super) fn addresses(index: &Index<'_>, item: &Item<'_>) -> Addresses {
    let mut found = Addresses { known: Vec::new(), reserved: reserved(item) };
    let Some(domain) = item.domain().filter(|domain| domain.is_active()) else { return found };
    if let Some(told) = &domain.agent_addresses {
        found.known = told.iter().filter(|address| !is_local(address)).cloned().collect();
    }
    if found.known.is_empty()
        && let Some(node) = &item.node
    {
        let cards = &domain.live.as_ref().unwrap_or(&domain.doc).interfaces;
        found.known = cards.iter().filter_map(|nic| nic.mac).flat_map(|mac| index.leases(node, mac)).map(str::to_owned).collect();
    }
    found
}

fn reserved(item: &Item<'_>) -> Vec<String> {
    let owned = item.entry.into_iter().flat_map(|entry| entry.reservations.values());
    let owned = owned.flat_map(|recorded| crate::plan::reservations(recorded));
    let mut all: Vec<String> = owned.filter_map(|text| text.split_once(' ')).map(|(_, ip)| ip.to_owned()).collect();
    if let Some(crate::manifest::Spec::VirtualMachine(spec)) = item.spec {
        all.extend(spec.interfaces.iter().filter_map(|nic| nic.ip).map(|ip| ip.to_string()));
    }
    let mut seen = BTreeSet::new();
    all.retain(|ip| seen.insert(ip.clone()));
    all
}

/// The template that the first of a VM's disks comes from.
pub(super) fn template(view: &View<'_>, index: &Index<'_>, item: &Item<'_>) -> Option<String> {
    if let (Some(domain), Some(node)) = (item.domain(), &item.node) {
        let sources = domain.doc.disks.iter().filter(|disk| !disk.seed).filter_map(|disk| disk.source.as_deref());
        let found = sources.filter_map(|path| index.owner(node, path)).find_map(|object| {
            if object.kind == Kind::Template {
                return Some(object.name.to_string());
            }
            let source = view.owned.entries.get(object)?.volume.as_ref()?.source.as_deref()?;
            Some(source.strip_prefix("Template/")?.split('@').next()?.to_owned())
        });
        if found.is_some() {
            return found;
        }
    }
    let volumes = item.wanted?.references.iter().filter(|reference| reference.object.kind == Kind::Volume);
    volumes.filter_map(|reference| view.desired.objects.get(&reference.object)).find_map(|volume| {
        let template = volume.references.iter().find(|reference| reference.object.kind == Kind::Template)?;
        Some(template.object.name.to_string())
    })
}

/// The path of the file that a volume or template has.
pub(super) fn path<'a>(item: &Item<'a>) -> Option<&'a str> {
    let entry = item.entry?;
    entry
        .volume
        .as_ref()
        .map(|volume| volume.path.as_str())
        .or_else(|| entry.template.as_ref().map(|template| template.path.as_str()))
}

/// Who uses the file of a volume or template.
pub(super) fn users(index: &Index<'_>, item: &Item<'_>) -> Vec<String> {
    match (&item.node, path(item)) {
        (Some(node), Some(path)) => index.users(node, path),
        _ => Vec::new(),
    }
}
