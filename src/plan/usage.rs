//! Who uses what: libvirt protects no volume, so the guards here and at the moment of the call do.

use std::collections::BTreeSet;

use super::Precondition;
use super::model::RefusalKind;
use super::planner::Planner;
use crate::name::Name;
use crate::observe::{DomainState, NodeState, PoolState};
use crate::xml::domain::DomainDoc;

impl<'a> Planner<'a> {
    /// The domains, jvp's or not, that use a file directly or as a backing file, and the volumes built on it.
    pub(super) fn users(&self, node: Option<&Name>, path: &str) -> Vec<String> {
        node.and_then(|node| self.index.where_used(node, path)).map(|state| users(state, path)).unwrap_or_default()
    }

    /// What has to hold right before a volume is filled that the step before it made. Where nothing lay there and nobody named it, only
    /// that it is there is read; else the whole node is, since libvirt protects no volume that is in use.
    pub(super) fn before_fill(&self, node: Option<&Name>, path: String, lay_there: bool) -> Precondition {
        if lay_there || !self.users(node, &path).is_empty() {
            Precondition::VolumeUnused { path }
        } else {
            Precondition::Volume { path }
        }
    }

    /// What is built on a file, as [`built_on`] tells it.
    pub(super) fn built_on(&self, node: &Name, path: &str) -> Vec<String> {
        self.index.where_used(node, path).map(|state| built_on(state, path)).unwrap_or_default()
    }

    /// The running domains that use a file directly, live.
    pub(super) fn running_users(&self, node: &Name, path: &str) -> Vec<String> {
        self.index.where_used(node, path).map(|state| running_users(state, path)).unwrap_or_default()
    }

    /// The domains whose saved state uses a file directly, also where it is to be dropped; one that can't be read has what its definition has.
    pub(super) fn saved_on(&self, node: &Name, path: &str) -> Vec<&'a DomainState> {
        let Some(state) = self.node(node) else { return Vec::new() };
        let uses = |domain: &&&DomainState| {
            let doc = domain.saved.as_ref().map_or(&domain.doc, |saved| &saved.doc);
            state.files(doc).any(|used| used == path)
        };
        self.index.saved(node).iter().filter(uses).copied().collect()
    }

    /// The domains that use any volume of a pool.
    pub(super) fn users_of_pool(&self, node: Option<&Name>, pool: &PoolState) -> Vec<String> {
        node.and_then(|node| self.node(node)).map(|state| pool_users(state, pool)).unwrap_or_default()
    }

    /// What stands on a file, or will once this plan is done; the disks of the domain `but` don't count.
    pub(super) fn stands_on(&self, node: &Name, path: &str, but: &str) -> Vec<String> {
        let mut above = self.built_on(node, path);
        above.retain(|what| !what.ends_with(&format!(" of {but}")));
        let planned = self.made.standing_on(node, path).filter_map(|entry| entry.volume.as_ref());
        above.extend(planned.map(|volume| format!("volume {}/{}", volume.pool, volume.file)));
        above.sort();
        above.dedup();
        above
    }

    /// Refuses to destroy a file that something unseen may use, without its word. True where it was refused.
    pub(super) fn refuse_unseen(&mut self, wanted: &crate::resolve::Wanted) -> bool {
        if self.policy.consents.assume_unused.contains(&wanted.object) {
            return false;
        }
        let Some(state) = wanted.node.as_ref().and_then(|node| self.node(node)) else { return false };
        let ours: BTreeSet<&str> =
            self.owned.entries.values().filter(|entry| entry.node == wanted.node).flat_map(|entry| entry.files()).collect();
        let mut unseen = unseen(state, |path| ours.contains(path));
        // A file is told what it is built on by its pool, and one that is out of sight by the inventory.
        let own: BTreeSet<&str> = self.entry(&wanted.object).into_iter().flat_map(super::Entry::files).collect();
        let is_seen = |pool: &String| state.pools.get(pool).is_some_and(|pool| pool.seen().is_some());
        let others = self.owned.entries.values().filter(|entry| entry.node == wanted.node);
        unseen.extend(others.filter_map(|entry| {
            let volume = entry.volume.as_ref().filter(|volume| !is_seen(&volume.pool))?;
            let stands = volume.backing.as_deref().is_some_and(|path| own.contains(path));
            stands.then(|| format!("{}, which was made on it and whose pool `{}` can't be read", entry.object, volume.pool))
        }));
        if unseen.is_empty() {
            return false;
        }
        self.refuse(
            wanted,
            RefusalKind::Guard,
            format!("it may be used without anybody's seeing it, by {}", unseen.join("; ")),
            &[format!("if you know that it isn't: --assume-unused {}", wanted.object)],
        );
        true
    }

    /// Whether the mark of a domain of ours names the file as one that it is built on.
    pub(super) fn marked_backing(&self, node: Option<&Name>, path: &str) -> bool {
        let Some(state) = node.and_then(|node| self.node(node)) else { return false };
        state.domains.values().any(|domain| {
            domain.doc.mark.as_ref().is_some_and(|mark| {
                mark.fleet == self.desired.fleet
                    && mark.volumes.iter().any(|volume| volume.backing.as_deref() == Some(path) || volume.path == path)
            })
        })
    }
}

/// The domains that use a file directly or as a backing file, and the volumes built on it.
pub fn users(state: &NodeState, path: &str) -> Vec<String> {
    let mut users: Vec<String> = state.domains_using(path).into_iter().map(|domain| domain.name.clone()).collect();
    let children: BTreeSet<&str> = state.children_of(path).into_iter().map(|volume| volume.path.as_str()).collect();
    let built_on = state.volumes().filter(|(_, volume)| children.contains(volume.path.as_str()));
    users.extend(built_on.map(|(pool, volume)| format!("volume {pool}/{}", volume.name)));
    users
}

/// The domains that use any volume of a pool, directly or beneath one of another pool.
pub fn pool_users(state: &NodeState, pool: &PoolState) -> Vec<String> {
    let Some(folder) = pool.doc.path.as_deref() else { return Vec::new() };
    let folder = format!("{}/", folder.trim_end_matches('/'));
    // What is built on a volume of this pool, wherever it lies.
    let here = pool.volumes.iter().flat_map(|volumes| volumes.values());
    let above: BTreeSet<&str> =
        here.flat_map(|volume| state.children_of(&volume.path)).map(|volume| volume.path.as_str()).collect();
    let lies_there = |doc: &DomainDoc| state.files(doc).any(|path| path.starts_with(&folder) || above.contains(path.as_ref()));
    state.domains.values().filter(|domain| domain.docs().any(lies_there)).map(|domain| domain.name.clone()).collect()
}

/// What is built on a file: volumes, and domains with an overlay on it, such as a snapshot's, that may lie in no pool.
fn built_on(state: &NodeState, path: &str) -> Vec<String> {
    let mut above: Vec<String> = users(state, path).into_iter().filter(|user| user.starts_with("volume ")).collect();
    above.extend(state.domains.values().flat_map(|domain| {
        let disks = domain.docs().flat_map(|doc| &doc.disks).filter(|disk| disk.chain.iter().any(|below| below == path));
        disks.map(|disk| format!("the disk {} of {}", disk.target, domain.name))
    }));
    above.dedup();
    above
}

/// Where something could use a file that nobody can see: what can't be read, and disks of domains that are off whose chain no pool
/// tells and `known` doesn't either.
pub(super) fn unseen(state: &NodeState, known: impl Fn(&str) -> bool) -> Vec<String> {
    use crate::observe::Target;
    let mut all = Vec::new();
    for (target, _) in &state.unreadable {
        match target {
            Target::Domain(name) => all.push(format!("the domain {name}, which can't be read")),
            Target::Volume { pool, name } => all.push(format!("the volume {pool}/{name}, which can't be read")),
            Target::Pool(name) => all.push(format!("the pool {name}, which can't be read")),
            Target::Network(_) => {}
        }
    }
    for domain in state.domains.values() {
        // A saved state tells no chain, as a definition doesn't.
        let saved = domain.comes_back().into_iter().flat_map(|saved| &saved.doc.disks);
        for disk in domain.doc.disks.iter().chain(saved) {
            let Some(source) = &disk.source else { continue };
            let open = disk.chain.is_empty() && disk.format.as_deref() != Some("raw") && disk.source_kind == "file";
            let runs_on_it = domain.live.as_ref().is_some_and(|live| live.uses.contains(source));
            if open && !runs_on_it && state.volume_by_path(source).is_none() && !known(source) {
                all.push(format!("the disk {} of {} ({source} is in no pool that runs)", disk.target, domain.name));
            }
        }
        if domain.managed_save && domain.saved.is_none() {
            all.push(format!("the saved state of {}, which can't be read", domain.name));
        }
    }
    all.dedup();
    all
}

/// The running domains that have a file as a disk of theirs, on top: each with the disk's target and whether it can't be written.
pub fn running_disks(state: &NodeState, path: &str) -> Vec<(String, uuid::Uuid, String, bool)> {
    let mut found = Vec::new();
    for domain in state.domains.values() {
        for disk in domain.live.iter().flat_map(|live| live.disks.iter()) {
            let named = || disk.source_volume.as_ref().and_then(|(pool, name)| state.volume_path(pool, name));
            if disk.source.clone().or_else(named).as_deref() == Some(path) {
                let fixed = disk.read_only || disk.device != "disk";
                found.push((domain.name.clone(), domain.uuid, disk.target.clone(), fixed));
            }
        }
    }
    found
}

/// The running domains that use a file directly, live.
pub fn running_users(state: &NodeState, path: &str) -> Vec<String> {
    state
        .domains
        .values()
        .filter(|domain| domain.live.as_ref().is_some_and(|live| state.files(live).any(|used| used == path)))
        .map(|domain| domain.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::observe::{RawDomain, RawNode, RawPool, RawVolume};

    fn volume(name: &str, backing: Option<&str>) -> RawVolume {
        let backing = backing
            .map_or_else(String::new, |path| format!("<backingStore><path>{path}</path><format type='qcow2'/></backingStore>"));
        let xml = format!(
            "<volume type='file'><name>{name}</name><capacity unit='bytes'>1</capacity><target><path>/p/{name}</path><format type='qcow2'/></target>{backing}</volume>"
        );
        RawVolume { name: name.into(), xml }
    }

    /// A domain that names its disk by pool and volume.
    fn by_name(name: &str, volume: &str, running: bool) -> RawDomain {
        let xml = format!(
            "<domain type='qemu'><name>{name}</name><devices><disk type='volume' device='disk'><source pool='p' volume='{volume}'/><target dev='vda' bus='virtio'/></disk></devices></domain>"
        );
        RawDomain::of_test(name, Uuid::from_u128(7), &xml, running.then_some(xml.as_str()))
    }

    fn pool(volumes: Vec<RawVolume>) -> RawPool {
        RawPool {
            name: "p".into(),
            uuid: Uuid::from_u128(1),
            active: true,
            autostart: true,
            persistent: true,
            xml: "<pool type='dir'><name>p</name><target><path>/p</path></target></pool>".into(),
            volumes: Some(volumes),
        }
    }

    fn node() -> NodeState {
        NodeState::read(RawNode {
            pools: vec![pool(vec![volume("base", None), volume("mid", Some("/p/base")), volume("top", Some("/p/mid"))])],
            domains: vec![by_name("off", "top", false), by_name("on", "mid", true)],
            ..RawNode::default()
        })
    }

    #[test]
    fn a_disk_that_is_named_by_pool_and_volume_is_in_use_and_so_is_all_beneath_it() {
        let state = node();
        assert_eq!(users(&state, "/p/top"), ["off"]);
        assert_eq!(users(&state, "/p/base"), ["off", "on", "volume p/mid", "volume p/top"]);
        assert_eq!(running_users(&state, "/p/mid"), ["on"]);
        assert!(running_users(&state, "/p/top").is_empty());
    }

    /// A domain with these disks in both of its documents.
    fn with(name: &str, disks: &str, running: bool) -> RawDomain {
        let xml = format!("<domain type='qemu'><name>{name}</name><devices>{disks}</devices></domain>");
        RawDomain::of_test(name, Uuid::from_u128(8), &xml, running.then_some(xml.as_str()))
    }

    fn reads(domains: Vec<RawDomain>) -> NodeState {
        let mut raw = RawNode { domains, ..RawNode::default() };
        raw.pools = vec![pool(vec![volume("base", None), volume("top", Some("/p/base"))])];
        NodeState::read(raw)
    }

    #[test]
    fn a_disk_whose_chain_nobody_can_see_may_use_anything() {
        let disk = |kind: &str, source: &str, more: &str| {
            format!("<disk type='{kind}' device='disk'><driver name='qemu' {more}/><source {source}/><target dev='vda'/></disk>")
        };
        let file = |path: &str| format!("file='{path}'");
        let chain = "<disk type='file' device='disk'><driver type='qcow2'/><source file='/q/x'/><backingStore type='file'><source file='/p/base'/>\
            </backingStore><target dev='vda'/></disk>";
        for (disks, running, open) in [
            (disk("file", &file("/q/x"), "type='qcow2'"), false, true),
            (disk("file", &file("/q/x"), ""), false, true),
            // What runs tells its chain, a raw file and a block device have none, and a pool tells that of its volumes.
            (disk("file", &file("/q/x"), "type='qcow2'"), true, false),
            (disk("file", &file("/q/x"), "type='raw'"), false, false),
            (disk("block", "dev='/dev/x'", "type='qcow2'"), false, false),
            (disk("file", &file("/p/top"), "type='qcow2'"), false, false),
            (chain.to_owned(), false, false),
        ] {
            let state = reads(vec![with("a", &disks, running)]);
            let found = unseen(&state, |_| false);
            assert_eq!(found.len(), usize::from(open), "{disks}: {found:?}");
            assert!(found.iter().all(|what| what.contains("the disk vda of a (/q/x")));
            assert!(unseen(&state, |path| path == "/q/x").is_empty(), "the inventory knows it");
        }
        let unreadable = reads(vec![with("b", "<", false)]);
        assert_eq!(unseen(&unreadable, |_| true), ["the domain b, which can't be read"]);
    }

    #[test]
    fn what_stands_on_a_file_is_seen_in_pools_and_in_chains_of_domains() {
        let overlay = "<disk type='file' device='disk'><source file='/q/snapshot'/><backingStore type='file'><source file='/p/top'/><backingStore type='file'>\
            <source file='/p/base'/></backingStore></backingStore><target dev='vda'/></disk>";
        let state = reads(vec![with("a", overlay, true), with("b", overlay, false)]);
        assert_eq!(built_on(&state, "/p/base"), ["volume p/top", "the disk vda of a", "the disk vda of b"]);
        assert_eq!(built_on(&state, "/p/top"), ["the disk vda of a", "the disk vda of b"]);
        assert_eq!(built_on(&state, "/q/snapshot"), [""; 0]);
        let pool = &state.pools["p"];
        assert_eq!(pool_users(&state, pool), ["a", "b"]);
    }

    #[test]
    fn users_of_a_pool_are_those_that_lie_in_it_or_on_it() {
        let disk = |path: &str| format!("<disk type='file' device='disk'><source file='{path}'/><target dev='vda'/></disk>");
        for (path, uses) in [("/p/base", true), ("/p/other", true), ("/pp/base", false), ("/q/x", false)] {
            let state = reads(vec![with("a", &disk(path), false)]);
            assert_eq!(!pool_users(&state, &state.pools["p"]).is_empty(), uses, "{path}");
        }
        // By what runs alone.
        let xml = |path: &str| format!("<domain><name>a</name><devices>{}</devices></domain>", disk(path));
        let state = reads(vec![RawDomain::of_test("a", Uuid::from_u128(8), &xml("/q/x"), Some(&xml("/p/base")))]);
        assert_eq!(pool_users(&state, &state.pools["p"]), ["a"]);
    }

    #[test]
    fn a_running_disk_is_told_with_its_target_and_whether_it_can_be_written() {
        let disk = |device: &str, more: &str, target: &str| {
            format!("<disk type='file' device='{device}'><source file='/p/top'/><target dev='{target}'/>{more}</disk>")
        };
        let volume = "<disk type='volume' device='disk'><source pool='p' volume='top'/><target dev='vdb'/></disk>";
        let all = [
            disk("disk", "", "vda"),
            volume.to_owned(),
            disk("disk", "<readonly/>", "vdc"),
            disk("cdrom", "", "sda"),
            disk("lun", "", "sdb"),
        ]
        .concat();
        let state = reads(vec![with("on", &all, true), with("off", &all, false)]);
        let found = running_disks(&state, "/p/top");
        let told: Vec<(&str, &str, bool)> =
            found.iter().map(|(name, _, target, fixed)| (name.as_str(), target.as_str(), *fixed)).collect();
        assert_eq!(
            told,
            [("on", "vda", false), ("on", "vdb", false), ("on", "vdc", true), ("on", "sda", true), ("on", "sdb", true)]
        );
        assert!(found.iter().all(|(_, uuid, ..)| *uuid == Uuid::from_u128(8)));
        assert_eq!(running_disks(&state, "/p/base"), []);
    }
}
