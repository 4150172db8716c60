//! What there is to tell of each object: as wanted, as owned and as found, side by side.
//!
//! Pure: all of it is computed from what was read before. Nothing here prints, and nothing tells how it is laid out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::manifest::{Document, Spec};
use crate::name::{Kind, Name, ObjectRef, Uid};
use crate::observe::{DomainState, NetworkState, NodeState, NodeView, Observed, PoolState, PowerState};
use crate::plan::{Entry, Owned, Plan, RefusalKind};
use crate::resolve::{Desired, DesiredNode, Wanted};
use crate::store::{Event, ObjectStatus};
use crate::xml::Mark;
use crate::xml::volume::VolumeDoc;

/// What a daemon found when it last looked, and what was done.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) statuses: BTreeMap<ObjectRef, Arc<ObjectStatus>>,
    /// The oldest first.
    pub(super) events: Vec<Event>,
}

/// All that is known, before it is put together.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// The manifests as written, for what has no place among the wanted objects.
    pub(super) documents: &'a [Arc<Document>],
    /// What the manifests want.
    pub(super) desired: &'a Desired,
    /// What the nodes have.
    pub(super) observed: &'a Observed,
    /// The inventory.
    pub(super) owned: &'a Owned,
    /// What an apply would do.
    pub(super) plan: &'a Plan,
    /// The time.
    pub(super) now: Timestamp,
    /// No manifest was read, so that nothing can be said to be undeclared.
    pub(super) bare: bool,
}

/// How an object is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Declared or owned, and not there.
    Missing,
    /// Its node is out of reach, or its pool is stopped.
    Unknown,
    /// Kept in libvirt, and no longer kept true.
    Released,
    /// It runs.
    Running,
    /// It doesn't.
    Stopped,
    /// It is held.
    Paused,
    /// It is on its way down.
    Stopping,
    /// Its guest crashed, and QEMU is kept.
    Crashed,
    /// Its guest is asleep.
    Suspended,
    /// It is there, and nothing more is to be said.
    Ready,
    /// It is there, and takes nothing new.
    Unschedulable,
}

impl State {
    /// The word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Missing => "Missing",
            Self::Unknown => "Unknown",
            Self::Released => "Released",
            Self::Running => "Running",
            Self::Stopped => "Stopped",
            Self::Paused => "Paused",
            Self::Stopping => "Stopping",
            Self::Crashed => "Crashed",
            Self::Suspended => "Asleep",
            Self::Ready => "Ready",
            Self::Unschedulable => "Ready,Unschedulable",
        }
    }
}

/// What was found of an object on its node.
#[derive(Clone, Copy)]
pub(super) enum Found<'a> {
    /// Nothing, or it wasn't looked for.
    Nothing,
    /// A domain.
    Domain(&'a DomainState),
    /// A network.
    Network(&'a NetworkState),
    /// A pool.
    Pool(&'a PoolState),
    /// A volume, or the file of a template.
    Volume(&'a VolumeDoc),
    /// A node.
    Node(&'a NodeState),
}

/// Something to know of an object that isn't as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Condition {
    /// Its name, such as `RestartRequired`.
    pub(super) name: String,
    /// A sentence.
    pub(super) message: String,
}

/// One object.
pub(super) struct Item<'a> {
    /// The object.
    pub(super) object: ObjectRef,
    /// Its identity in the fleet.
    pub(super) uid: Uid,
    /// Where it stands, or is to stand.
    pub(super) node: Option<Name>,
    /// Its name in libvirt; for volumes the file's name.
    pub(super) libvirt_name: String,
    /// Its labels.
    pub(super) labels: BTreeMap<String, String>,
    /// As written; none for what the inventory alone knows.
    pub(super) spec: Option<&'a Spec>,
    /// As wanted.
    pub(super) wanted: Option<&'a Wanted>,
    /// A Node as wanted.
    pub(super) desired_node: Option<&'a DesiredNode>,
    /// As owned.
    pub(super) entry: Option<&'a Entry>,
    /// As found.
    pub(super) found: Found<'a>,
    /// How it is.
    pub(super) state: State,
    /// What there is to know of it, by name.
    pub(super) conditions: Vec<Condition>,
}

impl<'a> Item<'a> {
    /// The domain, where there is one.
    pub(super) fn domain(&self) -> Option<&'a DomainState> {
        if let Found::Domain(domain) = self.found { Some(domain) } else { None }
    }

    /// The network, where there is one.
    pub(super) fn network(&self) -> Option<&'a NetworkState> {
        if let Found::Network(network) = self.found { Some(network) } else { None }
    }

    /// The pool, where there is one.
    pub(super) fn pool(&self) -> Option<&'a PoolState> {
        if let Found::Pool(pool) = self.found { Some(pool) } else { None }
    }

    /// The volume or the template's file, where there is one.
    pub(super) fn volume(&self) -> Option<&'a VolumeDoc> {
        if let Found::Volume(volume) = self.found { Some(volume) } else { None }
    }

    /// When it was made.
    pub(super) fn created_at(&self) -> &'a str {
        self.entry.map_or("", |entry| entry.created_at.as_str())
    }
}

/// Every object that is declared or owned, in the order of kinds and names.
pub(super) fn items<'a>(view: &View<'a>) -> Vec<Item<'a>> {
    let conditions = conditions(view.plan);
    let mut all: Vec<Item<'a>> = fleets(view).chain(nodes(view)).collect();
    let both: BTreeSet<&ObjectRef> = view.desired.objects.keys().chain(view.owned.entries.keys()).collect();
    all.extend(
        both.into_iter().filter(|object| !matches!(object.kind, Kind::Fleet | Kind::Node)).map(|object| item(view, object)),
    );
    for item in &mut all {
        item.conditions.extend(conditions.get(&item.object).into_iter().flatten().cloned());
        // Known without a plan too: no manifest may have been read.
        item.conditions.extend(
            view.owned
                .suspended
                .get(&item.object)
                .map(|suspension| Condition { name: "Suspended".into(), message: suspension.words() }),
        );
        item.conditions.sort();
        item.conditions.dedup();
    }
    all.sort_by(|a, b| a.object.cmp(&b.object));
    all
}

/// What the plan has to say of each object.
fn conditions(plan: &Plan) -> BTreeMap<&ObjectRef, Vec<Condition>> {
    let mut all: BTreeMap<&ObjectRef, Vec<Condition>> = BTreeMap::new();
    let mut put = |object, name: &str, message: &str| {
        all.entry(object).or_default().push(Condition { name: name.to_owned(), message: message.to_owned() });
    };
    for note in &plan.notes {
        put(&note.object, &note.condition, &note.message);
    }
    for refusal in &plan.refusals {
        let name = match refusal.kind {
            RefusalKind::Invalid => "Invalid",
            RefusalKind::Guard | RefusalKind::Machine => "Refused",
            RefusalKind::Unreachable => "Unreachable",
        };
        put(&refusal.object, name, &refusal.message);
    }
    for deferred in &plan.deferred {
        put(&deferred.object, "Waiting", &format!("it is planned {}", deferred.until));
    }
    all
}

fn fleets<'a>(view: &View<'a>) -> impl Iterator<Item = Item<'a>> {
    let fleet = view.desired.fleet;
    view.documents.iter().filter(|document| document.object.kind == Kind::Fleet).map(move |document| Item {
        uid: fleet,
        labels: document.metadata.labels.clone(),
        spec: Some(&document.spec),
        state: State::Ready,
        ..empty(document.object.clone(), fleet)
    })
}

fn nodes<'a>(view: &View<'a>) -> impl Iterator<Item = Item<'a>> {
    let view = *view;
    let of_objects = view.owned.entries.values().filter_map(|entry| entry.node.as_ref());
    let names: BTreeSet<&'a Name> = view.desired.nodes.keys().chain(view.owned.nodes.keys()).chain(of_objects).collect();
    // The Node that a set without any has is none of the inventory's, where that has others.
    let others = view.bare && !view.owned.nodes.is_empty();
    names
        .into_iter()
        .filter(move |name| !(others && !view.owned.nodes.contains_key(*name) && view.desired.nodes.contains_key(*name)))
        .map(move |name| {
            let object = ObjectRef::new(Kind::Node, name.clone());
            let document = view.documents.iter().find(|document| document.object == object);
            let desired = view.desired.nodes.get(name);
            let mut item = empty(object, view.desired.fleet);
            item.node = Some(name.clone());
            item.desired_node = desired;
            item.spec = document.map(|document| &*document.spec);
            item.labels = document.map(|document| document.metadata.labels.clone()).unwrap_or_default();
            match view.observed.nodes.get(name) {
                Some(NodeView::Reached(state)) => {
                    item.found = Found::Node(state);
                    let closed = desired.is_some_and(|node| node.unschedulable);
                    item.state = if closed { State::Unschedulable } else { State::Ready };
                }
                Some(NodeView::Unreachable { message, denied }) => {
                    item.state = State::Unknown;
                    let name = if *denied { "Denied" } else { "Unreachable" };
                    item.conditions.push(Condition { name: name.into(), message: message.clone() });
                }
                None => item.state = State::Unknown,
            }
            if desired.is_none() && !view.bare {
                item.conditions.push(not_declared());
            }
            item
        })
}

fn empty<'a>(object: ObjectRef, fleet: Uid) -> Item<'a> {
    Item {
        uid: object.uid(fleet),
        libvirt_name: object.name.to_string(),
        object,
        node: None,
        labels: BTreeMap::new(),
        spec: None,
        wanted: None,
        desired_node: None,
        entry: None,
        found: Found::Nothing,
        state: State::Missing,
        conditions: Vec::new(),
    }
}

fn not_declared() -> Condition {
    Condition {
        name: "NotDeclared".into(),
        message: "it is in the inventory, and the manifests that were read don't declare it".into(),
    }
}

fn item<'a>(view: &View<'a>, object: &ObjectRef) -> Item<'a> {
    let wanted = view.desired.object(object);
    let entry = view.owned.entry(object);
    let mut item = empty(object.clone(), view.desired.fleet);
    item.wanted = wanted;
    item.entry = entry;
    item.spec = wanted.map(|wanted| &*wanted.spec);
    item.uid = wanted.map(|wanted| wanted.uid).or_else(|| entry.map(|entry| entry.uid)).unwrap_or(item.uid);
    item.node = entry.and_then(|entry| entry.node.clone()).or_else(|| wanted.and_then(|wanted| wanted.node.clone()));
    item.labels = wanted.map(|w| &w.metadata.labels).or_else(|| entry.map(|e| &e.labels)).cloned().unwrap_or_default();
    if let Some(name) = entry.map(|e| &e.libvirt_name).or_else(|| wanted.map(|w| &w.libvirt_name)) {
        item.libvirt_name.clone_from(name);
    }
    look(view, &mut item);
    if entry.is_some_and(|entry| entry.released) && !matches!(item.state, State::Missing | State::Unknown) {
        item.state = State::Released;
    } else if wanted.is_none() && !view.bare && !comes_with_another(view, entry) && !entry.is_some_and(|entry| entry.released) {
        item.conditions.push(not_declared());
    }
    item
}

/// Whether a volume is the cloud-init seed of a declared VM, which no manifest declares by itself.
fn comes_with_another(view: &View<'_>, entry: Option<&Entry>) -> bool {
    let Some(entry) = entry else { return false };
    let Some(owner) = entry.volume.as_ref().and_then(|volume| volume.owner.as_ref()) else { return false };
    entry.object.name.as_str().starts_with(&format!("{}.seed-", owner.name)) && view.desired.objects.contains_key(owner)
}

/// Looks for an object where it is to stand, and says how it is.
fn look<'a>(view: &View<'a>, item: &mut Item<'a>) {
    let Some(node) = item.node.clone() else {
        item.state = if item.entry.is_some() { State::Ready } else { State::Missing };
        return;
    };
    let here = view.observed.node(&node);
    if item.object.kind == Kind::VirtualMachine {
        // Wherever it is found, that is where it stands.
        let elsewhere =
            || view.observed.reached().find_map(|(name, state)| Some((name.clone(), find_domain(view, item, state)?)));
        let found = here.and_then(|state| Some((node.clone(), find_domain(view, item, state)?))).or_else(elsewhere);
        if let Some((name, domain)) = found {
            item.node = Some(name);
            item.found = Found::Domain(domain);
            item.state = power(domain.state);
            return;
        }
    }
    let Some(state) = here else {
        item.state = State::Unknown;
        return;
    };
    match item.object.kind {
        Kind::StoragePool => {
            if let Some(pool) = by_name_or(&state.pools, &item.libvirt_name, |pool| is_ours(view, item, pool.uuid, None)) {
                item.found = Found::Pool(pool);
                item.state = if pool.active { State::Running } else { State::Stopped };
            }
        }
        Kind::Network => {
            let ours = |network: &NetworkState| is_ours(view, item, network.uuid, network.doc.mark.as_ref());
            if let Some(network) = by_name_or(&state.networks, &item.libvirt_name, ours) {
                item.found = Found::Network(network);
                item.state = if network.active { State::Running } else { State::Stopped };
            }
        }
        Kind::Volume | Kind::Template => look_for_file(item, state),
        Kind::Fleet | Kind::Node | Kind::KeyPair | Kind::VirtualMachine => {}
    }
}

/// Looks for the file that the inventory has of a volume or template. What was never made has none.
fn look_for_file<'a>(item: &mut Item<'a>, state: &'a NodeState) {
    let Some(entry) = item.entry else { return };
    let volume = entry.volume.as_ref().map(|record| (&record.pool, &record.file));
    let template = entry.template.as_ref().filter(|record| record.ready).map(|record| (&record.pool, &record.file));
    let Some((pool, file)) = volume.or(template) else { return };
    match state.pools.get(pool).map(|pool| &pool.volumes) {
        Some(Some(volumes)) => {
            if let Some(volume) = volumes.get(file) {
                item.found = Found::Volume(volume);
                item.state = State::Ready;
            }
        }
        Some(None) => {
            item.state = State::Unknown;
            let message = format!("the pool `{pool}` that it lies in is stopped");
            item.conditions.push(Condition { name: "PoolStopped".into(), message });
        }
        None => {}
    }
}

fn find_domain<'a>(view: &View<'a>, item: &Item<'_>, state: &'a NodeState) -> Option<&'a DomainState> {
    by_name_or(&state.domains, &item.libvirt_name, |domain| is_ours(view, item, domain.uuid, domain.doc.mark.as_ref()))
}

/// What has the name, if it is the one that is meant, else whatever is.
fn by_name_or<'a, T>(all: &'a BTreeMap<String, T>, name: &str, meant: impl Fn(&T) -> bool) -> Option<&'a T> {
    all.get(name).filter(|found| meant(found)).or_else(|| all.values().find(|found| meant(found)))
}

/// Whether what was found is the object: by its mark, else by its UUID.
fn is_ours(view: &View<'_>, item: &Item<'_>, uuid: Uuid, mark: Option<&Mark>) -> bool {
    match mark {
        Some(mark) => mark.fleet == view.desired.fleet && mark.uid == item.uid,
        None => uuid == item.uid || item.entry.and_then(|entry| entry.libvirt_uuid) == Some(uuid),
    }
}

fn power(state: PowerState) -> State {
    match state {
        PowerState::Running => State::Running,
        PowerState::Paused => State::Paused,
        PowerState::ShuttingDown => State::Stopping,
        PowerState::Off => State::Stopped,
        PowerState::Crashed => State::Crashed,
        PowerState::Suspended => State::Suspended,
    }
}
