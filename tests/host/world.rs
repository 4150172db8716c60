//! Where a case runs: the fake, libvirt's test driver, or a real libvirtd, and what others do there.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jvp::host::fake::{FakeHost, File, Manners};
use jvp::host::libvirt::LibvirtHost;
use jvp::host::{Events, Hints, Host, NoProgress};
use jvp::observe::{PowerState, RawNode, Scope};
use jvp::plan::Op;

/// How long nothing must come until nothing more is expected.
const QUIET: Duration = Duration::from_millis(700);

/// A node for one case.
pub(crate) struct World {
    host: Arc<dyn Host>,
    fake: Option<FakeHost>,
    uri: String,
    images: String,
    before: BTreeSet<String>,
    looked: bool,
}

impl World {
    pub(crate) fn fake() -> Self {
        let fake = FakeHost::new("fake").having(|state| {
            state.folders.insert("/images".to_owned());
        });
        Self::new(Arc::new(fake.clone()), Some(fake), String::new(), "/images")
    }

    pub(crate) fn libvirt(uri: &str, images: &str) -> Self {
        Self::new(Arc::new(LibvirtHost::new(uri)), None, uri.to_owned(), images.trim_end_matches('/'))
    }

    pub(crate) fn test_driver() -> Self {
        Self::new(Arc::new(LibvirtHost::new("test:///default")), None, "test:///default".to_owned(), "/images")
    }

    fn new(host: Arc<dyn Host>, fake: Option<FakeHost>, uri: String, images: &str) -> Self {
        Self { host, fake, uri, images: images.to_owned(), before: BTreeSet::new(), looked: false }
    }

    pub(crate) fn host(&self) -> &dyn Host {
        self.host.as_ref()
    }

    /// The hints that the last call gave. A real libvirt tells of it while it answers, and a little later.
    pub(crate) async fn hints(&self, events: &mut Events) -> Hints {
        let mut hints = events.take();
        while self.fake.is_none()
            && let Ok(more) = tokio::time::timeout(QUIET, events.next()).await
        {
            for (hint, change) in more {
                hints.entry(hint).or_default().why.extend(change.why);
            }
        }
        hints
    }

    /// A folder of the node's for pools.
    pub(crate) fn images(&self) -> &str {
        &self.images
    }

    /// The type of domains there.
    pub(crate) fn kind(&self) -> &str {
        if self.uri.starts_with("test:") { "test" } else { "qemu" }
    }

    /// Which libvirt it is; what is there now is left alone afterwards.
    pub(crate) async fn version(&mut self) -> String {
        let node = self.host.read(&Scope::Everything).await.unwrap();
        self.before = objects(&node);
        self.looked = true;
        let version = node.host.libvirt_version;
        format!("libvirt {}.{}.{}", version / 1_000_000, version / 1000 % 1000, version % 1000)
    }

    /// Takes away what the case left.
    pub(crate) async fn clean(&mut self) {
        let Ok(node) = self.host.read(&Scope::Everything).await else { return };
        let mine = |key: String| !self.looked || !self.before.contains(&key);
        let mut ops = Vec::new();
        for domain in node.domains.iter().filter(|domain| mine(format!("domain {}", domain.name))) {
            let (name, uuid) = (domain.name.clone(), domain.uuid);
            if domain.state != PowerState::Off {
                ops.push(Op::DomainDestroy { name: name.clone(), uuid });
            }
            if domain.has_snapshots {
                self.virsh_raw(&["snapshot-delete", &name, "s1", "--metadata"]);
            }
            ops.push(Op::DomainUndefine { name, uuid, nvram: true, managed_save: true });
        }
        for network in node.networks.iter().filter(|network| mine(format!("network {}", network.name))) {
            let name = network.name.clone();
            if network.active {
                ops.push(Op::NetworkStop { name: name.clone() });
            }
            ops.push(Op::NetworkUndefine { name });
        }
        for pool in node.pools.iter().filter(|pool| mine(format!("pool {}", pool.name))) {
            let name = pool.name.clone();
            if pool.active {
                ops.push(Op::PoolStop { name: name.clone() });
            }
            ops.push(Op::PoolUndefine { name });
        }
        for op in ops {
            drop(self.host.act(&op, &NoProgress).await);
        }
        if !self.uri.starts_with("test:") {
            for entry in std::fs::read_dir(&self.images).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
            }
        }
    }

    pub(crate) fn virsh(&self, command: &str) {
        let (verb, name) = command.split_once(' ').unwrap();
        match (&self.fake, verb) {
            (Some(fake), "managedsave") => fake.with(|state| state.managed_save(name)),
            (Some(fake), "snapshot") => fake.with(|state| {
                state.domains.get_mut(name).unwrap().snapshots.insert("s1".to_owned());
            }),
            (None, "managedsave") => self.virsh_raw(&["managedsave", name]),
            (None, "snapshot") => self.virsh_raw(&["snapshot-create-as", name, "s1"]),
            _ => panic!("what is 'virsh {command}'?"),
        }
    }

    fn virsh_raw(&self, words: &[&str]) {
        let status = Command::new("virsh").args(["-q", "-c", &self.uri]).args(words).status().unwrap();
        assert!(status.success(), "virsh {words:?}");
    }

    pub(crate) fn tell_fake(&self, command: &str) {
        let Some(fake) = &self.fake else { return };
        let (verb, name) = command.split_once(' ').unwrap();
        fake.with(|state| match verb {
            "ignores" => state.domains.get_mut(name).unwrap().manners = Manners::Ignores,
            _ => panic!("what is 'fake {command}'?"),
        });
    }

    pub(crate) fn make_file(&self, path: &str) {
        match &self.fake {
            Some(fake) => fake.with(|state| {
                let file = File { format: "raw".to_owned(), capacity: 4096, length: 4096, allocation: 4096, ..File::default() };
                state.files.insert(path.to_owned(), file);
            }),
            None => std::fs::write(path, [0; 4096]).unwrap(),
        }
    }

    pub(crate) fn remove_file(&self, path: &str) {
        match &self.fake {
            Some(fake) => fake.with(|state| drop(state.files.remove(path))),
            None => std::fs::remove_file(path).unwrap(),
        }
    }

    pub(crate) fn has_file(&self, path: &str) -> bool {
        match &self.fake {
            Some(fake) => fake.with(|state| state.files.contains_key(path)),
            None => std::path::Path::new(path).exists(),
        }
    }
}

fn objects(node: &RawNode) -> BTreeSet<String> {
    let domains = node.domains.iter().map(|domain| format!("domain {}", domain.name));
    let networks = node.networks.iter().map(|network| format!("network {}", network.name));
    let pools = node.pools.iter().map(|pool| format!("pool {}", pool.name));
    domains.chain(networks).chain(pools).collect()
}
