//! The planner's inputs with the words of `lifecycle` in them, and what is to be done first for an object.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::super::model::{FieldChange, Verb};
use super::super::planner::{Draft, Planner, Row};
use super::super::{Entry, Mode, Owned, Policy, Sources};
use super::{adopt, ignore, rename};
use crate::name::{Kind, ObjectRef, Uid};
use crate::observe::{DomainState, NetworkState, NodeState, NodeView, Observed};
use crate::resolve::{Desired, Wanted};

/// The inputs as the kinds' planners are shown them.
pub(in crate::plan) struct Prepared<'a> {
    pub(in crate::plan) desired: Cow<'a, Desired>,
    pub(in crate::plan) observed: Cow<'a, Observed>,
    pub(in crate::plan) owned: Cow<'a, Owned>,
    /// What is to be done for an object before all else.
    pub(in crate::plan) first: BTreeMap<ObjectRef, First>,
    /// Of the objects whose `lifecycle` or whose adoption asks for it, those of which something is there that is ours, or is taken to be.
    pub(in crate::plan) there: BTreeSet<ObjectRef>,
    /// What can't be as the words say, and what to do.
    pub(in crate::plan) refused: BTreeMap<ObjectRef, (String, String)>,
}

/// An adoption or a change of name.
pub(in crate::plan) struct First {
    pub(super) verb: Verb,
    pub(super) reason: String,
    pub(super) fields: Vec<FieldChange>,
    pub(super) drafts: Vec<Draft>,
}

/// Prepares the inputs. They are copied only where a word changes them.
pub(in crate::plan) fn prepare<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    owned: &'a Owned,
    sources: &Sources,
    policy: &Policy,
) -> Prepared<'a> {
    let mut all = Prepared {
        desired: Cow::Borrowed(desired),
        observed: Cow::Borrowed(observed),
        owned: Cow::Borrowed(owned),
        first: BTreeMap::new(),
        there: BTreeSet::new(),
        refused: BTreeMap::new(),
    };
    let applying = policy.mode == Mode::Apply;
    if applying {
        rename::prepare(&mut all, policy);
    }
    identities(&mut all);
    if applying {
        adopt::prepare(&mut all, sources, policy);
        ignore::prepare(&mut all);
    }
    all
}

/// Has objects keep the identity and the name in libvirt that the inventory knows them by: both stay where an object's name changes.
fn identities(all: &mut Prepared<'_>) {
    let fleet = all.desired.fleet;
    // Both stand by name, so they are gone through side by side. What is wanted has its own identity until here.
    let mut entries = all.owned.entries.values().peekable();
    let mut taken = BTreeMap::new();
    let mut take = |entry: &Entry, own: Uid| {
        if entry.uid != own {
            taken.insert(entry.uid, entry.object.clone());
        }
    };
    let mut pairs: Vec<(&Wanted, Option<&Entry>)> = Vec::with_capacity(all.desired.objects.len());
    for wanted in all.desired.objects.values() {
        while let Some(entry) = entries.next_if(|entry| entry.object < wanted.object) {
            take(entry, entry.object.uid(fleet));
        }
        let entry = entries.next_if(|entry| entry.object == wanted.object);
        if let Some(entry) = entry {
            take(entry, wanted.uid);
        }
        pairs.push((wanted, entry.map(|entry| &**entry)));
    }
    for entry in entries {
        take(entry, entry.object.uid(fleet));
    }
    let mut changed = Vec::new();
    for (wanted, entry) in pairs {
        let Some(entry) = entry else {
            // Its identity may have gone to another name.
            let mut uid = wanted.uid;
            while taken.get(&uid).is_some_and(|object| *object != wanted.object) {
                uid = uuid::Uuid::new_v5(&uid, wanted.object.to_string().as_bytes());
            }
            if uid != wanted.uid {
                changed.push((wanted.object.clone(), uid, wanted.libvirt_name.clone()));
            }
            continue;
        };
        let has_name = matches!(wanted.object.kind, Kind::StoragePool | Kind::Network | Kind::Volume | Kind::VirtualMachine);
        // What only a mark tells may have been renamed by hand since, but for the name that its manifest says it had.
        let had = wanted.lifecycle.renamed_from.as_ref().is_some_and(|old| *old.as_str() == *entry.libvirt_name);
        let known = has_name
            && !entry.libvirt_name.is_empty()
            && (!entry.rebuilt || had || wanted.object.kind == Kind::Volume)
            && !wanted.now.contains_key("/libvirtName");
        let name = if known { &entry.libvirt_name } else { &wanted.libvirt_name };
        if entry.uid != wanted.uid || *name != wanted.libvirt_name {
            changed.push((wanted.object.clone(), entry.uid, name.clone()));
        }
    }
    for (object, uid, name) in changed {
        if let Some(wanted) = all.desired.to_mut().object_mut(&object) {
            wanted.uid = uid;
            wanted.libvirt_name = name;
        }
    }
}

/// Writes what comes first for an object into the plan. False where its words can't be followed.
pub(in crate::plan) fn begin(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    first: &mut BTreeMap<ObjectRef, First>,
    refused: &BTreeMap<ObjectRef, (String, String)>,
) -> bool {
    if let Some((message, help)) = refused.get(&wanted.object) {
        p.refuse(wanted, super::super::RefusalKind::Guard, message.clone(), std::slice::from_ref(help));
        return false;
    }
    if let Some(First { verb, reason, fields, drafts }) = first.remove(&wanted.object) {
        let mut row = Row::new(wanted, verb, reason);
        row.fields = fields;
        row.drafts = drafts;
        p.commit(row);
    }
    true
}

impl Prepared<'_> {
    /// The state of a wanted object's node, where it was reached.
    pub(super) fn node(&self, wanted: &Wanted) -> Option<&NodeState> {
        match self.observed.nodes.get(wanted.node.as_ref()?)? {
            NodeView::Reached(state) => Some(state),
            NodeView::Unreachable { .. } => None,
        }
    }

    fn node_mut(&mut self, wanted: &Wanted) -> Option<&mut NodeState> {
        match self.observed.to_mut().nodes.get_mut(wanted.node.as_ref()?)? {
            NodeView::Reached(state) => Some(state),
            NodeView::Unreachable { .. } => None,
        }
    }

    /// A domain of the wanted object's node, to be shown otherwise than it is.
    pub(super) fn domain_mut(&mut self, wanted: &Wanted, name: &str) -> Option<&mut DomainState> {
        self.node_mut(wanted)?.domains.get_mut(name)
    }

    /// A network of the wanted object's node, to be shown otherwise than it is.
    pub(super) fn network_mut(&mut self, wanted: &Wanted, name: &str) -> Option<&mut NetworkState> {
        self.node_mut(wanted)?.networks.get_mut(name)
    }
}
