//! A set on fake nodes, and the rounds of an apply as the command line does them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use jvp::apply::progress::Sink;
use jvp::apply::{End, Halt, Local, Outlook, Patience, Rounds, Seen, World, observe, settle};
use jvp::diag::SourceMap;
use jvp::diag::render::{Format, render};
use jvp::host::fake::{FakeHost, How, Manners, libvirt_error};
use jvp::host::{ErrorKind, Host, HostError, Progress};
use jvp::manifest::{Spec, load};
use jvp::name::{Kind, Name, ObjectRef};
use jvp::observe::{Observed, RawNode, Scope};
use jvp::plan::{Consents, Entry, ImageFacts, Mode, Op, Plan, Policy, SecretRef, Sources, complete, fingerprint, plan};
use jvp::resolve::{Desired, Implied, Memo, check_document, check_set, expand};
use jvp::store::{Ledger, Store, StoreError};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::scene::Scene;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// It fails and has no effect.
    Fails,
    /// It takes effect, and nobody says so.
    NoAnswer,
    /// It has no effect, and nobody says so.
    Lost,
    /// Of what is several calls of libvirt's all but the last take effect, and nobody says so; what is one call fails.
    Half,
    /// It fails once, and would not if tried again.
    Transient,
    /// jvp dies right before it.
    DiesBefore,
    /// jvp dies right after it.
    DiesAfter,
    /// The node goes away before it.
    Unreachable,
    /// It is done, and the read right after it fails.
    Unread,
}

/// Counts the acts on all nodes, and has one of them go wrong.
#[derive(Default)]
struct Fate {
    count: AtomicU32,
    full_reads: AtomicU32,
    plan: Mutex<Option<(u32, Trouble)>>,
    /// The word of the act that went wrong.
    met: Mutex<&'static str>,
    /// The node whose next read fails.
    unread: Mutex<Option<String>>,
    died: Notify,
}

impl Fate {
    fn next(&self, op: &Op) -> Option<Trouble> {
        let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let mut plan = self.plan.lock().unwrap();
        match *plan {
            Some((step, trouble)) if step == count => {
                *plan = None;
                *self.met.lock().unwrap() = op.word();
                Some(trouble)
            }
            _ => None,
        }
    }
}

struct Fated {
    host: FakeHost,
    fate: Arc<Fate>,
}

#[async_trait]
impl Host for Fated {
    async fn read(&self, scope: &Scope) -> Result<RawNode, HostError> {
        if *scope == Scope::Everything {
            self.fate.full_reads.fetch_add(1, Ordering::SeqCst);
        }
        if self.fate.unread.lock().unwrap().take_if(|node| *node == self.host.name()).is_some() {
            return Err(libvirt_error(ErrorKind::Failed, 1, "it went wrong"));
        }
        self.host.read(scope).await
    }

    fn signs(&self) -> u64 {
        self.host.signs()
    }

    async fn ping(&self) -> Result<(), HostError> {
        self.host.ping().await
    }

    async fn act(&self, op: &Op, progress: &dyn Progress) -> Result<(), HostError> {
        let unknown = || Err(libvirt_error(ErrorKind::Unknown, 0, "nobody answered"));
        match self.fate.next(op) {
            None => self.host.act(op, progress).await,
            Some(Trouble::Fails) => Err(libvirt_error(ErrorKind::Failed, 1, "it went wrong")),
            Some(Trouble::NoAnswer) => {
                self.host.act(op, progress).await?;
                unknown()
            }
            Some(Trouble::Lost) => unknown(),
            Some(Trouble::Half) => {
                let Op::DomainMetadata { name, uuid, title, description, mark: Some(_), live } = op else {
                    return Err(libvirt_error(ErrorKind::Failed, 1, "it went wrong"));
                };
                let (name, title, description) = (name.clone(), title.clone(), description.clone());
                let half = Op::DomainMetadata { name, uuid: *uuid, title, description, mark: None, live: *live };
                self.host.act(&half, progress).await?;
                unknown()
            }
            Some(Trouble::Transient) => {
                let How::Fail(error) = How::transient() else { return unknown() };
                Err(error)
            }
            Some(trouble @ (Trouble::DiesBefore | Trouble::DiesAfter)) => {
                if trouble == Trouble::DiesAfter {
                    self.host.act(op, progress).await?;
                }
                self.fate.died.notify_one();
                std::future::pending().await
            }
            Some(Trouble::Unread) => {
                *self.fate.unread.lock().unwrap() = Some(self.host.name().to_owned());
                self.host.act(op, progress).await
            }
            Some(Trouble::Unreachable) => {
                self.host.set_reachable(false);
                self.host.act(op, progress).await
            }
        }
    }
}

#[async_trait(?Send)]
impl Outlook for Bench {
    type Error = StoreError;

    async fn observe(&self, nodes: &BTreeSet<Name>, patience: Option<&Patience>) -> Observed {
        let reached = self.reached().into_iter().filter(|(name, _)| nodes.contains(name));
        observe(&reached.collect(), &Scope::Everything, patience).await
    }

    fn seen(&self, observed: Observed) -> Result<Seen, StoreError> {
        let (owned, rebuilt) = complete(self.ledger().owned(), &observed, self.desired.fleet);
        Ok(Seen { observed, owned, rebuilt, sources: self.sources() })
    }

    fn plan(&self, seen: &Seen, objects: Option<&BTreeSet<ObjectRef>>) -> Plan {
        let policy = Policy { targets: objects.cloned(), ..self.policy() };
        plan(&self.desired, &seen.observed, &seen.owned, &seen.sources, &policy)
    }
}

/// Nobody stops these runs.
fn never() -> watch::Receiver<Halt> {
    watch::channel(Halt::No).1
}

struct Nobody;

#[async_trait]
impl Local for Nobody {
    async fn fetch(&self, _: &Name, _: &dyn Progress) -> Result<(), String> {
        Err("nothing is fetched here".into())
    }
    fn image(&self, _: &ObjectRef, path: &str, _: &str, _: u64) -> Result<String, String> {
        Ok(path.into())
    }
    fn generate_key(&self, _: &Name) -> Result<(), String> {
        Err("no key is made here".into())
    }
    fn secret(&self, secret: &SecretRef) -> Result<String, String> {
        Ok(secret.mac.chars().take(8).collect())
    }
}

/// Two images, and their facts. What a process keeps to its end is never dropped, so they lie in the target.
static IMAGES: LazyLock<[ImageFacts; 2]> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("properties");
    std::fs::create_dir_all(&dir).unwrap();
    let write = |name: &str, bytes: &[u8], virtual_size, format: &str, digest: &str| {
        // Another run of these tests may be reading it: it is never seen half written.
        let path: PathBuf = dir.join(name);
        let new = dir.join(format!("{name}.{}", std::process::id()));
        std::fs::write(&new, bytes).unwrap();
        std::fs::rename(&new, &path).unwrap();
        ImageFacts {
            digest_sha256: digest.repeat(64),
            size: bytes.len() as u64,
            virtual_size,
            format: format.into(),
            path: path.to_string_lossy().into_owned(),
        }
    };
    let mut qcow2 = vec![0; 1 << 16];
    qcow2[..8].copy_from_slice(b"QFI\xfb\0\0\0\x02");
    qcow2[20..24].copy_from_slice(&16_u32.to_be_bytes());
    qcow2[24..32].copy_from_slice(&(4_u64 << 20).to_be_bytes());
    [write("qcow2.img", &qcow2, 4 << 20, "qcow2", "a"), write("raw.img", &vec![7; 1 << 16], 1 << 16, "raw", "b")]
});

fn now() -> jiff::Timestamp {
    jiff::Timestamp::UNIX_EPOCH
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    // Nobody waits for what comes late: the clock goes on where all others wait.
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

pub struct Bench {
    pub desired: Desired,
    pub mode: Mode,
    /// Whether what is not declared goes.
    pub prune: bool,
    /// Words given beforehand.
    pub consents: Consents,
    /// What is to be taken over, and nothing else done.
    pub adopt: BTreeSet<ObjectRef>,
    pub hosts: BTreeMap<Name, FakeHost>,
    pub text: String,
    sources: Sources,
    store: Store,
    fate: Arc<Fate>,
}

impl Bench {
    pub fn new(scene: &Scene) -> Result<Self, TestCaseError> {
        Self::of(scene, &scene.documents())
    }

    /// With these documents in the place of the scene's.
    pub fn of(scene: &Scene, documents: &[(String, String)]) -> Result<Self, TestCaseError> {
        let (desired, text) = Self::read(documents)?;
        let mut images = Sources::default();
        for (i, raw) in scene.templates.iter().enumerate() {
            images.images.insert(format!("t{i}").parse().unwrap(), IMAGES[usize::from(*raw)].clone());
        }
        let hosts = desired.nodes.keys().map(|name| {
            let host = FakeHost::new(name.as_str());
            host.with(|state| state.bridges.insert("br0".into()));
            (name.clone(), host)
        });
        let hosts = hosts.collect();
        Ok(Self {
            desired,
            mode: Mode::Apply,
            prune: false,
            consents: Consents::default(),
            adopt: BTreeSet::new(),
            hosts,
            text,
            sources: images,
            store: Store::in_memory(),
            fate: Arc::default(),
        })
    }

    /// What the documents want, and their text.
    pub fn read(documents: &[(String, String)]) -> Result<(Desired, String), TestCaseError> {
        let mut sources = SourceMap::default();
        for (name, text) in documents {
            sources.add(name.clone(), text.clone());
        }
        let text: String = documents.iter().map(|(_, text)| format!("{text}---\n")).collect();
        let loaded = load(&sources);
        let mut wrong = loaded.diagnostics;
        wrong.extend(loaded.documents.iter().flat_map(|document| check_document(document)));
        wrong.extend(check_set(&loaded.documents));
        if jvp::diag::has_errors(&wrong) {
            return Err(TestCaseError::fail(format!("{}\n{text}", render(Format::Full, &wrong, &sources, false))));
        }
        let fleet = "6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10".parse().unwrap();
        let (desired, problems) = expand(&loaded.documents, fleet, &Implied { uri: "test:///x".into() }, &mut Memo::default());
        if !problems.is_empty() {
            return Err(TestCaseError::fail(format!("{problems:?}\n{text}")));
        }
        Ok((desired, text))
    }

    /// What is known of images, keys and secrets: each image is there, and each secret has a value.
    fn sources(&self) -> Sources {
        let mut sources = self.sources.clone();
        for wanted in self.desired.objects.values() {
            match &*wanted.spec {
                Spec::KeyPair(spec) => {
                    sources.keys.extend(spec.public_key.clone().map(|key| (wanted.object.name.clone(), key)));
                }
                Spec::VirtualMachine(spec) => {
                    let vnc = spec.console.as_ref().and_then(|console| console.vnc.as_ref());
                    let Some(password) = vnc.and_then(|vnc| vnc.password.as_ref()) else { continue };
                    let source = format!("{:?}", password.value_from);
                    let mac = Uuid::new_v5(&Uuid::NAMESPACE_OID, source.as_bytes()).simple().to_string();
                    let at = (wanted.object.clone(), "/console/vnc/password".to_owned());
                    sources.secrets.insert(at, SecretRef { source, mac });
                }
                _ => {}
            }
        }
        sources
    }

    pub fn ledger(&self) -> Ledger {
        self.store.ledger(self.desired.fleet)
    }

    pub fn lose_ledger(&mut self) {
        self.store = Store::in_memory();
    }

    /// Takes everything down from now on.
    pub fn delete(&mut self, with_data: bool) {
        let objects = self.desired.objects.keys().cloned().collect();
        self.mode = Mode::Delete { objects, with_data };
    }

    pub fn policy(&self) -> Policy {
        // Guests here stop when asked.
        Policy {
            fleet: self.desired.fleet,
            writer: Uuid::from_u128(7),
            mode: self.mode.clone(),
            targets: None,
            adopt: self.adopt.clone(),
            prune: self.prune,
            partial: false,
            consents: self.consents.clone(),
            now: None,
            rebooted: BTreeSet::new(),
        }
    }

    fn reached(&self) -> BTreeMap<Name, Arc<dyn Host>> {
        let fated = |host: &FakeHost| -> Arc<dyn Host> { Arc::new(Fated { host: host.clone(), fate: self.fate.clone() }) };
        self.hosts.iter().map(|(name, host)| (name.clone(), fated(host))).collect()
    }

    async fn look(&self) -> Seen {
        Outlook::seen(self, observe(&self.reached(), &Scope::Everything, None).await).unwrap()
    }

    pub async fn plan_with(&self, policy: &Policy) -> Plan {
        let seen = self.look().await;
        let plan = plan(&self.desired, &seen.observed, &seen.owned, &seen.sources, policy);
        Plan { fingerprint: fingerprint(&plan, &self.desired, &seen.sources, policy), ..plan }
    }

    pub async fn plan(&self) -> Plan {
        self.plan_with(&self.policy()).await
    }

    fn world(&self) -> Arc<World> {
        Arc::new(World {
            hosts: self.reached(),
            ears: BTreeMap::new(),
            ledger: self.ledger(),
            local: Arc::new(Nobody),
            clock: now,
        })
    }

    fn rounds(&self, seen: Seen, plan: Plan) -> Rounds {
        static RUN: AtomicU32 = AtomicU32::new(0);
        Rounds::new(self.world(), RUN.fetch_add(1, Ordering::Relaxed).to_string(), seen, plan)
    }

    /// Carries a plan out once, whatever becomes of it.
    pub async fn round(&self, plan: &Plan) -> Rounds {
        let only = Plan { deferred: Vec::new(), ..plan.clone() };
        self.carried_out(self, self.look().await, only, &never()).await
    }

    /// Carries a plan out with this outlook in the place of the bench's own, until somebody stops it.
    pub async fn carried_out<O: Outlook<Error = StoreError>>(
        &self,
        outlook: &O,
        seen: Seen,
        plan: Plan,
        halted: &watch::Receiver<Halt>,
    ) -> Rounds {
        self.told_of(outlook, seen, plan, halted, &Sink::none()).await
    }

    /// The same, and tells what goes on.
    pub async fn told_of<O: Outlook<Error = StoreError>>(
        &self,
        outlook: &O,
        seen: Seen,
        plan: Plan,
        halted: &watch::Receiver<Halt>,
        sink: &Sink,
    ) -> Rounds {
        let mut rounds = self.rounds(seen, plan);
        rounds.carry_out(outlook, 4, halted, sink).await.unwrap();
        rounds
    }

    /// Looks at all nodes, and records which machines they are.
    pub async fn meet(&self) {
        let (seen, plan) = self.seen().await;
        settle(&self.ledger(), now, &seen, &plan, &|_, _| true).unwrap();
    }

    /// All rounds of an apply or a delete, as the command line does them, whatever becomes of them.
    pub async fn rounds_of(&self, seen: Seen, plan: Plan) -> Rounds {
        let mut rounds = self.carried_out(self, seen, plan, &never()).await;
        rounds.finish(self).await.unwrap();
        rounds
    }

    /// What is there, and the plan for it.
    pub async fn seen(&self) -> (Seen, Plan) {
        let seen = self.look().await;
        let plan = Outlook::plan(self, &seen, None);
        (seen, plan)
    }

    /// An apply (or a delete), which must go well.
    pub async fn apply(&self) -> Result<(), TestCaseError> {
        let (seen, plan) = self.seen().await;
        self.carry_out(seen, plan).await
    }

    /// An apply of a plan, which must go well.
    pub async fn carry_out(&self, seen: Seen, plan: Plan) -> Result<(), TestCaseError> {
        prop_assert!(plan.refusals.is_empty(), "{:#?}\n{}", plan.refusals, self.text);
        if plan.is_empty() {
            settle(&self.ledger(), now, &seen, &plan, &|_, _| true).unwrap();
            return Ok(());
        }
        self.went_well(&self.rounds_of(seen, plan).await)
    }

    /// Whether all rounds of an apply did what they were to do.
    pub fn went_well(&self, rounds: &Rounds) -> Result<(), TestCaseError> {
        let failures: Vec<_> = rounds
            .failures()
            .iter()
            .map(|(action, failure)| format!("{} {}: {failure:?}", action.object, action.op.word()))
            .collect();
        prop_assert!(failures.is_empty() && rounds.skipped() == 0, "{:#?}\n{}", failures, self.text);
        prop_assert_eq!(rounds.end(), End::Done, "{:#?}\n{:#?}\n{}", rounds.refused(), rounds.waiting(), self.text);
        Ok(())
    }

    /// How often a whole node was read.
    pub fn full_reads(&self) -> u32 {
        self.fate.full_reads.load(Ordering::SeqCst)
    }

    /// How many acts there were since this was last counted anew by [`Self::trouble`].
    pub fn count(&self) -> u32 {
        self.fate.count.load(Ordering::SeqCst)
    }

    /// Has the `step`-th act from now on go wrong.
    pub fn trouble(&self, step: u32, trouble: Trouble) {
        self.fate.count.store(0, Ordering::SeqCst);
        *self.fate.plan.lock().unwrap() = Some((step, trouble));
    }

    /// An apply that may go wrong, or die, at the step that was chosen.
    pub async fn troubled(&self) {
        let rounds = async {
            let (seen, plan) = self.seen().await;
            let rounds = self.rounds_of(seen, plan).await;
            let failed: Vec<_> = rounds.failures().iter().map(|(action, _)| (&action.object, action.op.word())).collect();
            let once: BTreeSet<_> = failed.iter().collect();
            assert_eq!(once.len(), failed.len(), "what failed was tried again in the same run: {failed:?}");
        };
        tokio::select! {
            biased;
            () = self.fate.died.notified() => {}
            () = rounds => {}
        }
    }

    /// Whether what was to go wrong did.
    pub fn met(&self) -> bool {
        self.fate.plan.lock().unwrap().is_none()
    }

    /// The word of the act that went wrong last.
    pub fn met_at(&self) -> &'static str {
        *self.fate.met.lock().unwrap()
    }

    /// Has the image of a template have other content.
    pub fn replace_image(&mut self, template: &str) {
        let facts = self.sources.images.get_mut(&template.parse::<Name>().unwrap()).unwrap();
        facts.digest_sha256 = "c".repeat(64);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        *self.fate.plan.lock().unwrap() = None;
        *self.fate.unread.lock().unwrap() = None;
        for host in self.hosts.values() {
            host.set_reachable(true);
        }
    }

    /// The inventory as it may be compared.
    pub fn entries(&self) -> BTreeMap<ObjectRef, Entry> {
        let undated = |entry: Arc<Entry>| Entry { created_at: String::new(), ..Arc::unwrap_or_clone(entry) };
        self.ledger().entries().into_iter().map(|(object, entry)| (object, undated(entry))).collect()
    }

    pub fn files(&self) -> BTreeMap<Name, BTreeSet<String>> {
        self.hosts.iter().map(|(name, host)| (name.clone(), host.state().files.into_keys().collect())).collect()
    }

    /// Objects of somebody else's on every node; with `collide` also a domain of a VM's name, or a network of a network's, or a pool.
    pub fn put_foreign(&self, collide: bool) {
        let machine = self.desired.objects.values().find(|wanted| wanted.object.kind == Kind::VirtualMachine);
        for (node, host) in &self.hosts {
            let perform = |op: Op| host.with(|state| state.perform(&op)).unwrap();
            let pool = |name: &str, path: &str| {
                let xml = format!("<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>");
                perform(Op::PoolDefine { name: name.into(), xml });
                perform(Op::PoolBuild { name: name.into() });
                perform(Op::PoolStart { name: name.into() });
            };
            pool("foreign", "/images/foreign");
            let xml =
                "<volume><name>theirs.qcow2</name><capacity>1048576</capacity><target><format type='qcow2'/></target></volume>";
            perform(Op::VolumeCreate { pool: "foreign".into(), name: "theirs.qcow2".into(), xml: xml.into() });
            let xml = "<network><name>foreign</name><forward mode='nat'/><bridge name='foreign0'/>\
                       <ip address='10.99.0.1' prefix='24'/></network>";
            perform(Op::NetworkDefine { name: "foreign".into(), xml: xml.into() });
            perform(Op::NetworkStart { name: "foreign".into() });
            let domain = |name: &str| {
                let uuid = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
                let xml = format!(
                    "<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
                     <os><type arch='x86_64' machine='q35'>hvm</type></os><devices>\
                     <disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
                     <source file='/images/foreign/theirs.qcow2'/><target dev='vda' bus='virtio'/></disk></devices></domain>"
                );
                perform(Op::DomainDefine { name: name.into(), uuid, xml: xml.into(), validate: false });
                host.with(|state| state.domains.get_mut(name).unwrap().manners = Manners::Ignores);
            };
            domain("foreign");
            if collide {
                match machine {
                    Some(machine) if machine.node.as_ref() == Some(node) => domain(&machine.libvirt_name),
                    Some(_) => {}
                    None => pool("p0", "/images/elsewhere"),
                }
            }
        }
    }

    /// What is somebody else's.
    pub fn foreign(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (node, host) in &self.hosts {
            let state = host.state();
            let ours = |uuid: &Uuid| self.desired.objects.values().any(|wanted| wanted.uid == *uuid);
            for (name, pool) in state.pools.iter().filter(|(_, pool)| !ours(&pool.uuid)) {
                all.insert(format!("{node} pool {name}"), format!("{pool:#?}"));
            }
            for (name, network) in state.networks.iter().filter(|(_, network)| !ours(&network.uuid)) {
                all.insert(format!("{node} network {name}"), format!("{network:#?}"));
            }
            for (name, domain) in state.domains.iter().filter(|(_, domain)| !ours(&domain.uuid)) {
                all.insert(format!("{node} domain {name}"), format!("{domain:#?}"));
            }
            for (path, file) in state.files.iter().filter(|(path, _)| path.starts_with("/images/")) {
                all.insert(format!("{node} file {path}"), format!("{file:#?}"));
            }
        }
        all
    }
}
