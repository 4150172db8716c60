//! The nodes that are planned over: fake ones, on which a set is made by its own plans.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use jvp::host::fake::FakeHost;
use jvp::host::{Host as _, NoProgress};
use jvp::name::{Kind, Name};
use jvp::observe::{NodeState, NodeView, Observed, Scope};
use jvp::plan::{Action, Consents, Entry, ImageFacts, Mode, Owned, Policy, Record, Sources, complete, plan};
use jvp::resolve::Desired;

use super::Fallible;

/// Plans until nothing is left to do.
const ROUNDS: usize = 6;

/// All that a plan is made from, beside the manifests.
pub(super) struct World {
    hosts: BTreeMap<Name, FakeHost>,
    /// The fake's calls wait for nothing.
    runtime: tokio::runtime::Runtime,
    pub(super) observed: Observed,
    pub(super) owned: Owned,
    pub(super) sources: Sources,
    pub(super) policy: Policy,
}

impl World {
    /// Nodes with nothing on them, and an image for the templates, which is put into a folder.
    pub(super) fn new(desired: &Desired, folder: &Path) -> Fallible<Self> {
        let path = folder.join("image.qcow2");
        let size: u64 = 64 << 20;
        let mut image = vec![0; 1 << 16];
        for (at, bytes) in [(0, &b"QFI\xfb\0\0\0\x02"[..]), (20, &16_u32.to_be_bytes()), (24, &size.to_be_bytes())] {
            image.get_mut(at..at + bytes.len()).ok_or("an image without a header")?.copy_from_slice(bytes);
        }
        std::fs::write(&path, &image)?;
        let facts = ImageFacts {
            digest_sha256: "a".repeat(64),
            size: 1 << 16,
            virtual_size: size,
            format: "qcow2".into(),
            path: path.to_string_lossy().into_owned(),
        };
        let templates = desired.objects.keys().filter(|object| object.kind == Kind::Template);
        let images = templates.map(|object| (object.name.clone(), facts.clone())).collect();
        let mut world = Self {
            hosts: desired.nodes.keys().map(|name| (name.clone(), FakeHost::new(name.as_str()))).collect(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build()?,
            observed: Observed::default(),
            owned: Owned::default(),
            sources: Sources { images, ..Sources::default() },
            policy: Policy {
                fleet: desired.fleet,
                writer: uuid::Uuid::from_u128(7),
                mode: Mode::Apply,
                targets: None,
                partial: false,
                adopt: BTreeSet::new(),
                prune: false,
                consents: Consents::default(),
                now: None,
                rebooted: BTreeSet::new(),
            },
        };
        world.look()?;
        Ok(world)
    }

    /// Has all objects of some kinds be as wanted.
    pub(super) fn make(&mut self, desired: &Desired, is_made: impl Fn(Kind) -> bool) -> Fallible<()> {
        for _ in 0..ROUNDS {
            let (owned, _) = complete(self.owned.clone(), &self.observed, desired.fleet);
            let plan = plan(desired, &self.observed, &owned, &self.sources, &self.policy);
            plan.settled.iter().for_each(|entry| self.put(entry));
            let actions = plan.actions.iter().filter(|action| is_made(action.object.kind));
            if self.carry_out(actions)? == 0 {
                return Ok(());
            }
            self.look()?;
        }
        Err("there is no end to what is to be done".into())
    }

    fn look(&mut self) -> Fallible<()> {
        for (name, host) in &self.hosts {
            let raw = self.runtime.block_on(host.read(&Scope::Everything))?;
            self.observed.nodes.insert(name.clone(), NodeView::Reached(Box::new(NodeState::read(raw))));
        }
        Ok(())
    }

    /// Carries actions out, and says how many there were.
    fn carry_out<'a>(&mut self, actions: impl Iterator<Item = &'a Action>) -> Fallible<usize> {
        let mut count = 0;
        for action in actions {
            if let Some(host) = action.node.as_ref().and_then(|node| self.hosts.get(node)) {
                let failed = |error| format!("{}: {}: {error}", action.object, action.op.word());
                self.runtime.block_on(host.act(&action.op, &NoProgress)).map_err(failed)?;
            }
            if let Record::Put(entry) | Record::Settle(entry) = &action.record {
                self.put(entry);
            }
            count += 1;
        }
        Ok(count)
    }

    fn put(&mut self, entry: &Entry) {
        let mut entry = entry.clone();
        entry.date(self.owned.entry(&entry.object), || "2026-11-26T00:00:00Z".into());
        self.owned.entries.insert(entry.object.clone(), Arc::new(entry));
    }
}
