//! What most commands begin with: manifests read and resolved, the state directory, the hosts, and what is known of sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;

use super::args::{Choice, ConsentArgs, Files, Global};
use super::error::CommandError;
use super::exit::Exit;
use super::output::Out;
use crate::apply::{Patience, Seen, Workspace, refresh_pools};
use crate::daemon::{Claims, Place};
use crate::diag::{self, Code};
use crate::host::libvirt::LibvirtConnector;
use crate::host::{Connector, Host};
use crate::name::{Kind, Name, ObjectRef, Uid};
use crate::observe::{NodeView, Scope};
use crate::plan::{Consents, Owned, Policy};
use crate::resolve::{Desired, Memo};
use crate::source::{self, Given, ManifestSet, read_set};
use crate::store::{Ledger, Opened, Past, Snapshot, StateDir, Store};

/// A workspace as a command has it: with its ledger, once that is locked.
pub(super) struct Session {
    workspace: Workspace,
    /// Whether the Fleet's id was written in the manifests.
    pub fleet_declared: bool,
    store: Option<Store>,
    /// The place beside the runs of the daemon whose ledger this is; none where it is this command's own.
    place: Option<Arc<Place>>,
    /// Whether a daemon has just published its inventory.
    fresh: bool,
    lock_timeout: Duration,
    given_up: Mutex<BTreeMap<Name, NodeView>>,
}

/// Pools by node.
pub(super) type Pools = BTreeMap<Name, BTreeSet<String>>;

/// The state directory that a command uses.
pub(super) fn state_path(global: &Global) -> PathBuf {
    if let Some(path) = &global.state_dir {
        return path.clone();
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/jvp");
    }
    let home = || std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(".local/state");
    std::env::var_os("XDG_STATE_HOME").map_or_else(home, PathBuf::from).join("jvp")
}

/// The time.
pub(super) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// How this process is called, for whoever waits for its lock.
pub(super) fn command_line() -> String {
    let mut words = std::env::args().take(4);
    let program = words.next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

/// Reads manifests and checks all that can be checked without a node. What is wrong is shown, all of it.
pub(super) fn read_manifests(
    files: &Files,
    global: &Global,
    fleet: impl FnOnce() -> Option<Uid>,
    out: &Out,
) -> Result<(ManifestSet, Desired, bool), CommandError> {
    let mut set = read_set(&files.files, &mut std::io::stdin());
    let (desired, declared) = check(&mut set, global, fleet);
    let errors = diag::has_errors(&set.diagnostics);
    if !set.diagnostics.is_empty() {
        out.say(&diag::render::render(diag::render::Format::Full, &set.diagnostics, &set.sources, out.colour_err));
    }
    if errors { Err(CommandError::said(Exit::Invalid)) } else { Ok((set, desired, declared)) }
}

/// Checks and resolves a set; what is wrong is added to its diagnostics.
pub(super) fn check(set: &mut ManifestSet, global: &Global, fleet: impl FnOnce() -> Option<Uid>) -> (Desired, bool) {
    check_again(set, global, fleet, &mut Memo::none())
}

/// As [`check`], with what is known of the last time.
pub(super) fn check_again(
    set: &mut ManifestSet,
    global: &Global,
    fleet: impl FnOnce() -> Option<Uid>,
    memo: &mut Memo,
) -> (Desired, bool) {
    let uri = global.connect.clone().or_else(|| std::env::var("LIBVIRT_DEFAULT_URI").ok().filter(|uri| !uri.is_empty()));
    let uri = uri.unwrap_or_else(|| "qemu:///system".into());
    source::check(set, &Given { uri: &uri, allowed: &|uri| uri_allowed(uri, &global.allow_uri) }, fleet, memo)
}

impl std::ops::Deref for Session {
    type Target = Workspace;

    fn deref(&self) -> &Workspace {
        &self.workspace
    }
}

impl Session {
    /// Reads the manifests, opens the state directory and makes the hosts ready; opens no connection and takes no lock.
    pub(super) fn open(files: &Files, global: &Global, out: &Out) -> Result<Self, CommandError> {
        let path = state_path(global);
        let snapshot = || Snapshot::read(&path, &command_line(), now());
        let known = || snapshot().ok().and_then(|snapshot| snapshot.fleet_id());
        let (set, desired, fleet_declared) = read_manifests(files, global, known, out)?;
        Self::with(set, desired, fleet_declared, files, global)
    }

    /// As [`open`](Self::open), and where no `-f` was given and the folder holds no manifest: the inventory alone.
    pub(super) fn open_or_bare(files: &Files, global: &Global, out: &Out) -> Result<Self, CommandError> {
        if files.files != ["."] {
            return Self::open(files, global, out);
        }
        let mut set = read_set(&files.files, &mut std::io::empty());
        if !set.diagnostics.iter().all(|diagnostic| diagnostic.code == Code::NoManifest) || set.diagnostics.is_empty() {
            return Self::open(files, global, out);
        }
        set.diagnostics.clear();
        let snapshot = Snapshot::read(&state_path(global), &command_line(), now())?;
        let (desired, declared) = check(&mut set, global, || snapshot.only_fleet());
        Self::with(set, desired, declared, files, global)
    }

    fn with(
        set: ManifestSet,
        desired: Desired,
        fleet_declared: bool,
        files: &Files,
        global: &Global,
    ) -> Result<Self, CommandError> {
        let state = StateDir::open(&state_path(global))?;
        let connector = connector();
        let host = |name: &_, uri: &_| connector.host(name, uri);
        let workspace = Workspace::new(set, desired, state, files.secrets_dir.clone(), host)?;
        Ok(Self {
            workspace,
            fleet_declared,
            store: None,
            place: place(global),
            fresh: is_fresh(global),
            lock_timeout: patience(global),
            given_up: Mutex::default(),
        })
    }

    /// Takes the ledger for writing. A set without a Fleet gets an id here, at its first write.
    pub(super) fn lock(&mut self, global: &Global, out: &Out) -> Result<(), CommandError> {
        if self.store.is_some() {
            return Ok(());
        }
        let store = match &global.held {
            Held::Here { store, .. } => store.clone(),
            _ => open_store(&self.state, &command_line(), self.lock_timeout, out)?,
        };
        if self.desired.fleet.is_nil() {
            let (id, made) = fleet_of(&store)?;
            if made {
                out.say(&format!(
                    "note: these manifests have no Fleet; {id} was made for them in the state directory. To commit it: jvp init\n"
                ));
            }
            let (desired, _) = check(&mut self.workspace.set, global, || Some(id));
            self.workspace.desired = desired;
        }
        self.store = Some(store);
        Ok(())
    }

    /// The ledger; only after [`lock`](Self::lock).
    pub(super) fn ledger(&self) -> Option<Ledger> {
        self.store.as_ref().map(|store| store.ledger(self.desired.fleet))
    }

    /// Publishes the inventory for readers while it is held.
    pub(super) fn publish(&self) -> Result<(), CommandError> {
        match &self.store {
            Some(store) => Ok(store.publish()?),
            None => Ok(()),
        }
    }

    /// Publishes the inventory for readers and lets go of it.
    pub(super) fn close(mut self) -> Result<(), CommandError> {
        match self.store.take() {
            // A daemon goes on with it.
            Some(store) if self.place.is_some() => Ok(store.publish()?),
            Some(store) => Ok(store.close()?),
            None => Ok(()),
        }
    }

    /// Whether nothing that concerns this is in hand beside it. Where something is, it waits until nothing is: what was seen is old then.
    pub(super) async fn is_clear(&self, claims: impl FnOnce() -> Claims, out: &Out) -> Result<bool, CommandError> {
        let Some(place) = &self.place else { return Ok(true) };
        let claims = claims();
        let busy: Vec<String> = place.in_hand(&claims).iter().map(ToString::to_string).collect();
        if busy.is_empty() {
            return Ok(true);
        }
        out.say(&format!("waiting for what the daemon has in hand: {}\n", busy.join(", ")));
        let held = tokio::select! {
            held = place.hold(claims) => held,
            () = out.deserted() => false,
        };
        if held { Ok(false) } else { Err(CommandError::new(Exit::Error, "the daemon ends; nothing was done")) }
    }

    /// Does no more than this, so that whatever else is to be done beside it goes on. Tells what of the ledger it may settle then; none
    /// where that is all.
    pub(super) async fn narrow(&self, claims: impl FnOnce() -> Claims) -> Option<BTreeSet<ObjectRef>> {
        let (place, claims) = (self.place.as_ref()?, claims());
        let own = claims.own.clone();
        place.narrow(claims).await;
        Some(own)
    }

    /// Whether a daemon goes on with the ledger.
    pub(super) fn is_beside(&self) -> bool {
        self.place.is_some()
    }

    /// The inventory: from the ledger where it is held, else from the published copy.
    pub(super) fn owned(&self, out: &Out) -> Result<Owned, CommandError> {
        if let Some(ledger) = self.ledger() {
            return Ok(ledger.owned());
        }
        Ok(kept(self.state.path(), self.fresh, out)?.owned(self.desired.fleet))
    }

    /// Looks: at every node side by side, at the inventory, and at what is known of sources.
    pub(super) async fn look(&self, scope: &Scope, out: &Out) -> Result<Seen, CommandError> {
        self.look_again(scope, self.owned(out)?, Patience::default(), &Pools::new()).await
    }

    /// Looks as a command needs it, after these pools were looked into, and tells what that is to do. A command about some objects waits
    /// for the other nodes as long as for theirs and a moment; one that is about everything leaves out a node that hangs.
    pub(super) async fn look_for(
        &self,
        make_policy: impl Fn(&Self, &Owned) -> Result<Policy, CommandError>,
        everything: bool,
        pools: &Pools,
        out: &Out,
    ) -> Result<(Seen, Policy), CommandError> {
        let owned = self.owned(out)?;
        // What the inventory doesn't tell, the marks may.
        let needed = make_policy(self, &owned).ok().and_then(|policy| policy.nodes(&self.desired, &owned));
        let patience = match needed.filter(|_| !everything) {
            Some(needed) => Patience { needed, slowest: Some(Duration::ZERO), ..Patience::default() },
            None => Patience::default(),
        };
        let seen = self.look_again(&Scope::Everything, owned, patience, pools).await?;
        let policy = make_policy(self, &seen.owned)?;
        Ok((seen, policy))
    }

    async fn look_again(&self, scope: &Scope, owned: Owned, patience: Patience, pools: &Pools) -> Result<Seen, CommandError> {
        let late = self.given_up().clone();
        let patience = Patience { late: late.keys().cloned().collect(), ..patience };
        let refreshed = |name: &Name, host: &Arc<dyn Host>| {
            pools.get(name).map(|pools| refresh_pools(name.clone(), host.clone(), pools.clone()).boxed())
        };
        let mut sight = self.workspace.observe_in_time(scope, None, &patience, &refreshed).await;
        sight.observed.nodes.extend(late);
        let fresh = sight.late.nodes.iter().filter_map(|name| Some((name.clone(), sight.observed.nodes.get(name)?.clone())));
        self.given_up().extend(fresh);
        Ok(self.seen(sight.observed, owned)?)
    }

    /// The nodes that were given up, with what was told of them: once for the whole command.
    fn given_up(&self) -> MutexGuard<'_, BTreeMap<Name, NodeView>> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The running pools of the manifests, by node.
    pub(super) fn pools(&self, seen: &Seen) -> Pools {
        let mut all = Pools::new();
        for wanted in self.desired.objects.values().filter(|wanted| wanted.object.kind == Kind::StoragePool) {
            let Some(node) = &wanted.node else { continue };
            let known = seen.owned.entries.get(&wanted.object).map_or(&wanted.libvirt_name, |entry| &entry.libvirt_name);
            if seen.observed.node(node).and_then(|state| state.pools.get(known)).is_some_and(|pool| pool.active) {
                all.entry(node.clone()).or_default().insert(known.clone());
            }
        }
        all
    }

    /// The policy with `--prune`, where the set may be pruned by.
    pub(super) fn pruned(&self, policy: Policy, prune: bool) -> Result<Policy, CommandError> {
        if !prune {
            return Ok(policy);
        }
        if policy.targets.is_some() {
            return Err(CommandError::new(Exit::Usage, "--prune needs the whole set, and --target and -l leave most of it out")
                .help("prune without these, or delete by name: jvp delete REF"));
        }
        if policy.partial {
            let message = "--prune needs the whole set: what isn't in a part of it may be in the rest";
            let help = match &self.set.fleet_folder {
                Some(folder) => format!("give the folder of the Fleet: -f {}", folder.display()),
                None => "give the set a Fleet, in the folder that holds all of it: jvp init".to_owned(),
            };
            return Err(CommandError::new(Exit::Refused, message).help(help));
        }
        Ok(Policy { prune, ..policy })
    }

    /// The objects that a reference on the command line means: it may leave out the node of an object that stands on several.
    pub(super) fn objects(&self, text: &str, owned: &Owned) -> Result<Vec<ObjectRef>, CommandError> {
        let given: ObjectRef =
            text.parse().map_err(|error: crate::name::InvalidValue| CommandError::new(Exit::Usage, error.to_string()))?;
        let found: BTreeSet<ObjectRef> = self
            .desired
            .objects
            .keys()
            .chain(owned.entries.keys())
            .filter(|object| {
                object.kind == given.kind && object.name == given.name && (given.node.is_none() || object.node == given.node)
            })
            .cloned()
            .collect();
        if found.is_empty() {
            let near = self.desired.objects.keys().filter(|object| object.kind == given.kind);
            let near = near.min_by_key(|object| strsim::levenshtein(object.name.as_str(), given.name.as_str()));
            let mut error = CommandError::new(Exit::Error, format!("there is no {given} in the manifests or the inventory"));
            if let Some(near) = near {
                error = error.help(format!("did you mean {near}?"));
            }
            return Err(error);
        }
        Ok(found.into_iter().collect())
    }
}

/// Whose the ledger is that a command works on.
#[derive(Clone, Default)]
pub(super) enum Held {
    /// Nobody's yet: it is opened.
    #[default]
    Free,
    /// That of the daemon which this process is.
    Here {
        /// The ledger.
        store: Store,
        /// Who asks.
        who: String,
        /// Where this is done beside the daemon's runs.
        place: Arc<Place>,
    },
    /// That of a daemon beside: what is asked is handed to it, once it was shown and said yes to.
    There,
    /// That of a daemon beside, which has just published it for whoever reads.
    Fresh,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Free => "Free",
            Self::Here { .. } => "Here",
            Self::There => "There",
            Self::Fresh => "Fresh",
        })
    }
}

fn place(global: &Global) -> Option<Arc<Place>> {
    match &global.held {
        Held::Here { place, .. } => Some(place.clone()),
        _ => None,
    }
}

/// How long a command waits for the ledger.
fn patience(global: &Global) -> Duration {
    // Whoever goes past a daemon waits for it.
    let direct = global.direct && global.lock_timeout == 0;
    if direct { Duration::from_hours(24 * 365) } else { Duration::from_secs(global.lock_timeout) }
}

/// Opens the ledger for writing; a damage is said.
pub(super) fn open_store(state: &StateDir, command: &str, timeout: Duration, out: &Out) -> Result<Store, CommandError> {
    let (store, opened) = Store::open(state, command, now(), timeout)?;
    if let Opened::Damaged { aside, reason, restored } = opened {
        let aside = aside.map_or_else(String::new, |path| format!("; it was set aside as {}", path.display()));
        let rest = if restored {
            "all of it was restored from the published copy"
        } else {
            "the inventory is rebuilt from the marks in libvirt; pools and volumes that no VM lists have to be adopted again"
        };
        out.say(&format!("warning: the ledger was damaged ({reason}){aside}; {rest}\n"));
    }
    Ok(store)
}

/// The id of a set without a Fleet, and whether it was made just now.
pub(super) fn fleet_of(store: &Store) -> Result<(uuid::Uuid, bool), crate::store::StoreError> {
    if let Some(id) = store.fleet_id()? {
        return Ok((id, false));
    }
    let id = uuid::Uuid::new_v4();
    store.set_fleet_id(id)?;
    Ok((id, true))
}

fn is_fresh(global: &Global) -> bool {
    matches!(global.held, Held::There | Held::Fresh)
}

/// The ledger; how new it is, is said where it isn't fresh.
fn kept(path: &Path, fresh: bool, out: &Out) -> Result<Snapshot, CommandError> {
    let snapshot = Snapshot::read(path, &command_line(), now())?;
    if let Some(said) = super::words::currency(&snapshot).filter(|_| !fresh) {
        out.say(&said);
    }
    Ok(snapshot)
}

/// The fleet's inventory, and its history.
pub(super) fn kept_past(files: &Files, global: &Global, out: &Out) -> Result<(Owned, Past), CommandError> {
    let (fleet, path) = (kept_fleet(files, global, out)?, state_path(global));
    Ok((kept(&path, is_fresh(global), out)?.owned(fleet), Snapshot::history(&path, fleet)))
}

/// Whose things are told of: the set's fleet. Where the manifests are invalid, which is said, what is kept is told all the same, of the
/// one fleet that the ledger knows.
pub(super) fn kept_fleet(files: &Files, global: &Global, out: &Out) -> Result<uuid::Uuid, CommandError> {
    match Session::open_or_bare(files, global, out) {
        Ok(session) => Ok(session.desired.fleet),
        Err(error) if error.exit == Exit::Invalid => {
            let snapshot = Snapshot::read(&state_path(global), &command_line(), now())?;
            snapshot.only_fleet().ok_or(error)
        }
        Err(error) => Err(error),
    }
}

/// Consents as given on the command line.
pub(super) fn consents(args: &ConsentArgs) -> Result<Consents, CommandError> {
    let parse = |list: &[String]| -> Result<BTreeSet<ObjectRef>, CommandError> {
        list.iter()
            .map(|text| {
                text.parse().map_err(|error: crate::name::InvalidValue| CommandError::new(Exit::Usage, error.to_string()))
            })
            .collect()
    };
    Ok(Consents {
        allow_data_loss: parse(&args.allow_data_loss)?,
        allow_restart: parse(&args.allow_restart)?,
        allow_disconnect: parse(&args.allow_disconnect)?,
        force_stop: parse(&args.force_stop)?,
        discard_saved_state: parse(&args.discard_saved_state)?,
        assume_unused: parse(&args.assume_unused)?,
        take_over: args.take_over,
        take_from: args.take_from.iter().copied().collect(),
        replace: parse(&args.replace)?,
        max_deletes: args.max_deletes,
        allow_empty_prune: args.allow_empty_prune,
    })
}

/// The targets of `--target`, or those whose labels are as `-l` says.
pub(super) fn targets(session: &Session, owned: &Owned, choice: &Choice) -> Result<Option<BTreeSet<ObjectRef>>, CommandError> {
    if let Some(selector) = &choice.selector {
        let labels = session.desired.objects.values().filter(|wanted| wanted.implied_by.is_none());
        let labels = labels.map(|wanted| (&wanted.object, &wanted.metadata.labels));
        return selected(selector, labels).map(Some);
    }
    if choice.target.is_empty() {
        return Ok(None);
    }
    let mut all = BTreeSet::new();
    for text in &choice.target {
        all.extend(session.objects(text, owned)?);
    }
    Ok(Some(all))
}

/// The objects whose labels are as a selector says; that there is none is an error.
pub(super) fn selected<'a>(
    selector: &str,
    labels: impl Iterator<Item = (&'a ObjectRef, &'a BTreeMap<String, String>)>,
) -> Result<BTreeSet<ObjectRef>, CommandError> {
    let asked = super::read::Selector::parse(selector).map_err(|message| CommandError::new(Exit::Usage, message))?;
    let all: BTreeSet<ObjectRef> = labels.filter(|(_, labels)| asked.matches(labels)).map(|(object, _)| object.clone()).collect();
    if all.is_empty() {
        return Err(CommandError::new(Exit::Error, format!("nothing has labels such as `{selector}`")));
    }
    Ok(all)
}

/// Whether the person who runs jvp lets Nodes have this URI.
fn uri_allowed(uri: &str, patterns: &[String]) -> bool {
    (fakes() && uri.starts_with(crate::host::fake::FakeConnector::SCHEME)) || patterns.iter().any(|pattern| matches(pattern, uri))
}

/// Whether `text` is of the form `pattern`, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| rest.get(at..).is_some_and(|rest| matches(tail, rest)))
        }),
    }
}

/// Whether nodes may be fakes. Whoever tests the command line may have no libvirt; release builds don't know the way.
fn fakes() -> bool {
    cfg!(debug_assertions) && std::env::var("JVP_FAKE").is_ok_and(|value| value == "1")
}

/// What reaches the nodes: libvirt, or in tests the one in memory. With `JVP_FAKE=/folder` every Node is a fake one, whatever its
/// URI, whose state lies in that folder; with `JVP_FAKE_FAULT=node:N:fails` the N-th act on a node goes wrong.
pub(super) fn connector() -> Box<dyn Connector> {
    use crate::host::fake::FakeConnector;
    if fakes() {
        return Box::new(FakeConnector::new());
    }
    let folder = std::env::var_os("JVP_FAKE").map(PathBuf::from).filter(|folder| folder.is_absolute());
    if let Some(folder) = folder.filter(|_| cfg!(debug_assertions)) {
        let fault = std::env::var("JVP_FAKE_FAULT").unwrap_or_default();
        return Box::new(FakeConnector::in_folder(&folder).with_fault(&fault));
    }
    Box::new(LibvirtConnector)
}

/// Whether a kind stands in libvirt.
pub(super) fn is_libvirts(kind: Kind) -> bool {
    !matches!(kind, Kind::Fleet | Kind::Node | Kind::KeyPair)
}
