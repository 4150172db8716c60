//! The planner's bench: what the kinds' planners read, and where they put what they find.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::identity::{Found, Verdict, judge};
use super::index::Index;
use super::made::Made;
use super::model::{Change, Data, Deferred, Effect, FieldChange, Note, Plan, Refusal, RefusalKind, Verb};
use super::undo::Said;
use super::{Action, ActionId, Begins, Entry, Expect, Lane, Op, Owned, Policy, Precondition, Record, SecretRef, Sources};
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::{DomainState, NetworkState, NodeState, NodeView, Observed, PoolState};
use crate::resolve::{Desired, Wanted};
use crate::xml::Mark;

/// Where an object stands in the plan that is being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is there once these actions are verified; at once where there are none.
    Ready(BTreeSet<ActionId>),
    /// It can't be planned yet.
    Deferred,
    /// It is refused, or needs something that is.
    Blocked,
}

/// Why something can't be planned now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hold {
    /// It waits for this object.
    Deferred(ObjectRef),
    /// This object is refused, or missing, or its node is out of reach.
    Blocked(ObjectRef),
}

/// One effect before it has its place in the plan.
pub(super) struct Draft {
    pub(super) op: Op,
    pub(super) lane: Lane,
    pub(super) precondition: Precondition,
    pub(super) expect: Expect,
    pub(super) begins: Begins,
    pub(super) record: Record,
    pub(super) secrets: BTreeMap<String, SecretRef>,
}

impl Draft {
    pub(super) fn new(op: Op, lane: Lane) -> Self {
        Self {
            op,
            lane,
            precondition: Precondition::None,
            expect: Expect::Nothing,
            begins: Begins::default(),
            record: Record::Nothing,
            secrets: BTreeMap::new(),
        }
    }
    pub(super) fn when(mut self, precondition: Precondition) -> Self {
        self.precondition = precondition;
        self
    }
    pub(super) fn expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }
    /// Says whether its object is stopped in order to start again.
    pub(super) fn restarting(mut self, restarting: bool) -> Self {
        self.begins.restarting = Some(restarting);
        self
    }
    /// Has its object be unfinished until what comes after is done, too.
    pub(super) fn unfinished(mut self) -> Self {
        self.begins.unfinished = true;
        self
    }
    pub(super) fn record(mut self, record: Record) -> Self {
        self.record = record;
        self
    }
}

/// The row of a plan that is being written for one object.
pub(super) struct Row<'w> {
    pub(super) wanted: &'w Wanted,
    pub(super) verb: Verb,
    pub(super) reason: String,
    pub(super) effect: Effect,
    pub(super) data: Data,
    pub(super) fields: Vec<FieldChange>,
    /// What fields disturb, by path.
    pub(super) effects: BTreeMap<String, Effect>,
    /// What its first action needs.
    pub(super) needs: BTreeSet<ActionId>,
    /// Its actions, one after the other.
    pub(super) drafts: Vec<Draft>,
}

impl<'w> Row<'w> {
    pub(super) fn new(wanted: &'w Wanted, verb: Verb, reason: impl Into<String>) -> Self {
        Self {
            wanted,
            verb,
            reason: reason.into(),
            effect: Effect::None,
            data: Data::Kept,
            fields: Vec::new(),
            effects: BTreeMap::new(),
            needs: BTreeSet::new(),
            drafts: Vec::new(),
        }
    }

    /// Has the last action, or where there is none one of the inventory's, settle the object as `entry`.
    pub(super) fn settle(&mut self, entry: Cow<'_, Entry>) {
        let settle = Record::Settle(Box::new(entry.into_owned()));
        match self.drafts.last_mut() {
            // Unless it is another object's end.
            Some(last) if !matches!(last.record, Record::Remove(_)) => last.record = settle,
            _ => {
                let lane = Lane::Local(self.wanted.object.to_string());
                self.drafts.push(Draft::new(Op::Inventory, lane).record(settle));
            }
        }
    }
}

/// The bench.
pub(super) struct Planner<'a> {
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observed,
    pub(super) owned: &'a Owned,
    /// The inventory as it is recorded, before `lifecycle` had its say.
    ledger: &'a Owned,
    pub(super) sources: &'a Sources,
    pub(super) policy: &'a Policy,
    pub(super) index: Index<'a>,
    pub(super) plan: Plan,
    pub(super) standing: BTreeMap<ObjectRef, Standing>,
    /// Entries as they will be once this plan is done.
    pub(super) made: Made,
    /// Marks that this plan writes.
    pub(super) marks: Said<Mark>,
    /// VMs that are to be rebuilt.
    pub(super) rebuilds: BTreeMap<ObjectRef, super::kinds::Rebuild>,
    /// The domains whose saved state is dropped before all else, with what does that.
    pub(super) dropped: BTreeMap<uuid::Uuid, BTreeSet<ActionId>>,
    /// Nodes on which nothing is done.
    pub(super) closed_nodes: BTreeSet<Name>,
    /// Pools that this plan stops, be it to move them: what is in them is out of sight from then on.
    pub(super) stopping: BTreeSet<ObjectRef>,
    /// Pools that this plan starts.
    pub(super) starting: BTreeSet<ObjectRef>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        desired: &'a Desired,
        observed: &'a Observed,
        (owned, ledger): (&'a Owned, &'a Owned),
        sources: &'a Sources,
        policy: &'a Policy,
    ) -> Self {
        Self {
            desired,
            observed,
            owned,
            ledger,
            sources,
            policy,
            index: Index::new(observed, owned, desired.fleet),
            plan: Plan::default(),
            standing: BTreeMap::new(),
            made: Made::default(),
            marks: Said::default(),
            rebuilds: BTreeMap::new(),
            dropped: BTreeMap::new(),
            closed_nodes: BTreeSet::new(),
            stopping: BTreeSet::new(),
            starting: BTreeSet::new(),
        }
    }

    /// The plan, put in its final order.
    pub(super) fn finish(self) -> Plan {
        let mut plan = self.plan;
        plan.refusals.sort();
        plan.refusals.dedup();
        plan.notes.sort();
        plan.notes.dedup();
        // What was found to be as wanted, and the ledger doesn't know or knows otherwise.
        let recorded = plan.actions.iter().filter_map(|action| action.record.object());
        let acted: BTreeSet<&ObjectRef> = plan.changes.iter().map(|change| &change.object).chain(recorded).collect();
        plan.settled = self
            .made
            .into_all()
            .filter(|(object, entry)| !acted.contains(object) && self.ledger.entry(object) != Some(entry))
            .map(|(_, entry)| entry)
            .collect();
        plan
    }

    /// The state of a node, where it was reached.
    pub(super) fn node(&self, node: &Name) -> Option<&'a NodeState> {
        match self.observed.nodes.get(node) {
            Some(NodeView::Reached(state)) => Some(state),
            _ => None,
        }
    }

    pub(super) fn entry(&self, object: &ObjectRef) -> Option<&'a Entry> {
        self.owned.entry(object)
    }

    /// Has a row's last action settle its object as it is known: what else there is to do for it is planned once this is done.
    pub(super) fn settle_as_known(&self, row: &mut Row<'_>) {
        if let Some(entry) = self.entry(&row.wanted.object) {
            row.settle(Cow::Borrowed(entry));
        }
    }

    /// What is recorded of an object once this plan is done. Of what is recorded already nothing is kept.
    pub(super) fn will_be(&mut self, entry: Cow<'_, Entry>) {
        let is_it = |known: &Entry| std::ptr::eq(known, &raw const *entry) || *known == *entry;
        let is_known = |owned: &Owned| owned.entry(&entry.object).is_some_and(is_it);
        if is_known(self.owned) && (std::ptr::eq(self.owned, self.ledger) || is_known(self.ledger)) {
            self.made.remove(&entry.object);
        } else {
            self.made.insert(entry.into_owned());
        }
    }

    /// Whether a restart of it was begun and is not done.
    pub(super) fn restarting(&self, object: &ObjectRef) -> bool {
        self.entry(object).is_some_and(|entry| entry.restarting)
    }

    /// Adds one effect and gives its place.
    pub(super) fn add(&mut self, object: &ObjectRef, node: Option<&Name>, needs: BTreeSet<ActionId>, draft: Draft) -> ActionId {
        let id = ActionId(self.plan.actions.len());
        let makes = draft.precondition == Precondition::Absent && draft.op.word().ends_with("-define");
        let draft = if makes { draft.unfinished() } else { draft };
        self.plan.actions.push(Action {
            id,
            object: object.clone(),
            node: node.cloned(),
            op: draft.op,
            needs,
            lane: draft.lane,
            precondition: draft.precondition,
            expect: draft.expect,
            begins: draft.begins,
            record: draft.record,
            secrets: draft.secrets,
        });
        id
    }

    /// Writes a row into the plan: its actions in sequence; the object is ready after the last.
    pub(super) fn commit(&mut self, row: Row<'_>) -> Vec<ActionId> {
        let object = row.wanted.object.clone();
        let mut needs = row.needs;
        if object.kind == Kind::VirtualMachine && !matches!(self.policy.mode, super::Mode::Delete { .. }) {
            // A network that is restarted, or gets another subnet, comes before what is done for its guests.
            for reference in row.wanted.references.iter().filter(|reference| reference.path.starts_with("/interfaces/")) {
                needs.extend(self.standing_of(&reference.object).unwrap_or_default());
            }
        }
        // What was planned for it before comes first.
        if let Some(Standing::Ready(before)) = self.standing.get(&object) {
            needs.extend(before.iter().copied());
        }
        let settles = row.drafts.iter().rev().find_map(|draft| match &draft.record {
            Record::Settle(entry) | Record::Put(entry) if entry.object == object => Some(entry.clone()),
            _ => None,
        });
        let mut drafts = row.drafts;
        if let (Some(first), true) = (drafts.first_mut(), self.entry(&object).is_some()) {
            first.begins.entry = settles;
        }
        let mut ids = Vec::new();
        for draft in drafts {
            if let Record::Settle(entry) | Record::Put(entry) = &draft.record {
                self.will_be(Cow::Borrowed(entry));
            }
            let id = self.add(&object, row.wanted.node.as_ref(), needs.clone(), draft);
            needs = BTreeSet::from([id]);
            ids.push(id);
        }
        self.standing.insert(object.clone(), Standing::Ready(ids.last().copied().into_iter().collect()));
        self.plan.changes.push(Change {
            object,
            node: row.wanted.node.clone(),
            verb: row.verb,
            reason: row.reason,
            effect: row.effect,
            data: row.data,
            fields: row.fields,
            effects: row.effects,
            actions: ids.clone(),
            implied_by: row.wanted.implied_by.clone(),
        });
        ids
    }

    /// Says that nothing is to be done for an object.
    pub(super) fn ready(&mut self, object: &ObjectRef) {
        self.standing.entry(object.clone()).or_insert_with(|| Standing::Ready(BTreeSet::new()));
    }

    /// Says that an object can't be planned before another is done.
    pub(super) fn defer(&mut self, wanted: &Wanted, awaits: ObjectRef, until: String, expected: Verb, fields: Vec<FieldChange>) {
        let moves = |change: &Change| change.object == awaits && change.fields.iter().any(|field| field.path == "/target/path");
        for path in self.half_made(&wanted.object) {
            let moves = self.plan.changes.iter().any(|change| change.verb == Verb::Update && moves(change));
            let then = if moves { "it stays there, since its pool moves" } else { "then it is deleted and made again" };
            let message = format!("a run that broke off may have left {path} half made: {then}");
            self.note(&wanted.object, "HalfMade", message);
        }
        self.standing.insert(wanted.object.clone(), Standing::Deferred);
        self.plan.deferred.push(Deferred {
            object: wanted.object.clone(),
            node: wanted.node.clone(),
            until,
            expected,
            awaits: BTreeSet::from([awaits]),
            fields,
        });
    }

    pub(super) fn note(&mut self, object: &ObjectRef, condition: &str, message: impl Into<String>) {
        self.plan.notes.push(Note { object: object.clone(), condition: condition.into(), message: message.into() });
    }

    /// Refuses an object; what needs it is blocked.
    pub(super) fn refuse(&mut self, wanted: &Wanted, kind: RefusalKind, message: impl Into<String>, help: &[String]) {
        self.standing.insert(wanted.object.clone(), Standing::Blocked);
        self.plan.refusals.push(Refusal {
            object: wanted.object.clone(),
            kind,
            message: message.into(),
            help: help.to_vec(),
            origin: Some(wanted.origin.to_string()).filter(|origin| !origin.is_empty()),
        });
    }

    /// Says that an object waits for one that is refused or out of reach.
    pub(super) fn block(&mut self, wanted: &Wanted, by: &ObjectRef) {
        self.standing.insert(wanted.object.clone(), Standing::Blocked);
        self.note(&wanted.object, "Blocked", format!("nothing is done for it, since it needs {by}"));
    }

    /// Handles a hold: defers or blocks.
    pub(super) fn hold(&mut self, wanted: &Wanted, hold: Hold, expected: Verb, fields: Vec<FieldChange>) {
        match hold {
            // What is to wait for one thing and can't be without another is refused now, not when half of the set is done.
            Hold::Deferred(_) if expected == Verb::Create && self.refuse_what_leads_nowhere(wanted) => {}
            Hold::Deferred(on) => {
                let until = format!("once {on} is there");
                self.defer(wanted, on, until, expected, fields);
            }
            Hold::Blocked(by) => self.block(wanted, &by),
        }
    }

    /// The actions after which `object` is there, where it is planned in this set.
    pub(super) fn standing_of(&self, object: &ObjectRef) -> Result<BTreeSet<ActionId>, Hold> {
        match self.standing.get(object) {
            Some(Standing::Ready(ids)) => Ok(ids.clone()),
            Some(Standing::Deferred) => Err(Hold::Deferred(object.clone())),
            Some(Standing::Blocked) => Err(Hold::Blocked(object.clone())),
            None => Ok(BTreeSet::new()),
        }
    }

    /// The name in libvirt that a reference to a pool or network means on a node: in the set, then in the inventory, then
    /// an object of that name on the node.
    pub(super) fn libvirt_name(&self, kind: Kind, name: &Name, node: &Name) -> String {
        let object = ObjectRef::on(kind, name.clone(), node);
        libvirt_name(self.desired, self.owned, &object)
    }

    /// The pool that a reference means, where it is on the node.
    pub(super) fn pool(&self, name: &Name, node: &Name) -> Option<&'a PoolState> {
        self.node(node)?.pools.get(&self.libvirt_name(Kind::StoragePool, name, node))
    }

    /// The same where what is in it can be read, and goes on lying where it lies.
    pub(super) fn open_pool(&self, name: &Name, node: &Name) -> Option<&'a PoolState> {
        let pool = self.pool(name, node).filter(|pool| pool.seen().is_some())?;
        (!self.stopping.contains(&ObjectRef::on(Kind::StoragePool, name.clone(), node))).then_some(pool)
    }

    /// The network that a reference means, where it is on the node.
    pub(super) fn network(&self, name: &Name, node: &Name) -> Option<&'a NetworkState> {
        self.node(node)?.networks.get(&self.libvirt_name(Kind::Network, name, node))
    }

    /// The domain of a VM of ours, by its UUID or mark, whatever its name.
    pub(super) fn domain(&self, wanted: &Wanted) -> Option<&'a DomainState> {
        let node = wanted.node.as_ref()?;
        match self.verdict_domain(wanted, self.node(node)?) {
            Verdict::Ours { uuid, .. } | Verdict::Renamed { uuid, .. } => self.index.domain(node, uuid),
            Verdict::Absent | Verdict::Foreign { .. } | Verdict::Undefined { .. } | Verdict::Transient => None,
        }
    }

    /// The domain of a VM of ours that was renamed by hand, also where another one has its name by now.
    pub(super) fn domain_of_another_name(&self, wanted: &Wanted) -> Option<&'a DomainState> {
        let found = self.renamed_domain(wanted)?;
        matches!(self.judge(wanted, None, Some(found.into())), Verdict::Renamed { .. }).then_some(found)
    }

    /// The same of a network.
    pub(super) fn network_of_another_name(&self, wanted: &Wanted, state: &'a NodeState) -> Option<&'a NetworkState> {
        let found = state.networks.values().find(|n| self.is_ours(wanted, n.uuid, n.doc.mark.as_ref()))?;
        matches!(self.judge(wanted, None, Some(found.into())), Verdict::Renamed { .. }).then_some(found)
    }

    fn judge(&self, wanted: &Wanted, by_name: Option<Found<'_>>, by_uuid: Option<Found<'_>>) -> Verdict {
        judge(
            wanted.uid,
            self.desired.fleet,
            self.policy.writer,
            &self.policy.consents.take_from,
            self.entry(&wanted.object),
            by_name,
            by_uuid,
        )
    }

    /// Who wrote an object of ours last, where it wasn't us.
    pub(super) fn other_writer(&self, mark: Option<&Mark>) -> Option<uuid::Uuid> {
        mark.map(|mark| mark.writer).filter(|writer| *writer != self.policy.writer && !writer.is_nil())
    }

    /// Whether a UUID or mark says that it is the wanted object, whatever its name.
    fn is_ours(&self, wanted: &Wanted, uuid: uuid::Uuid, mark: Option<&Mark>) -> bool {
        let recorded = self.entry(&wanted.object).and_then(|entry| entry.libvirt_uuid);
        match mark {
            Some(mark) => mark.uid == wanted.uid,
            None => uuid == wanted.uid || recorded == Some(uuid),
        }
    }

    pub(super) fn verdict_pool(&self, wanted: &Wanted, state: &NodeState) -> Verdict {
        let by_name = state.pools.get(&wanted.libvirt_name).map(Found::from);
        let by_uuid = state.pools.values().find(|p| self.is_ours(wanted, p.uuid, None)).map(Found::from);
        self.judge(wanted, by_name, by_uuid)
    }

    pub(super) fn verdict_network(&self, wanted: &Wanted, state: &NodeState) -> Verdict {
        let by_name = state.networks.get(&wanted.libvirt_name).map(Found::from);
        let by_uuid = state.networks.values().find(|n| self.is_ours(wanted, n.uuid, n.doc.mark.as_ref())).map(Found::from);
        self.judge(wanted, by_name, by_uuid)
    }

    pub(super) fn verdict_domain(&self, wanted: &Wanted, state: &NodeState) -> Verdict {
        let by_name = state.domains.get(&wanted.libvirt_name).map(Found::from);
        let by_uuid = match by_name {
            Some(_) => None,
            None => self.renamed_domain(wanted).map(Found::from),
        };
        self.judge(wanted, by_name, by_uuid)
    }

    /// The domain of a VM of ours, where it has another name.
    fn renamed_domain(&self, wanted: &Wanted) -> Option<&'a DomainState> {
        let recorded = self.entry(&wanted.object).and_then(|entry| entry.libvirt_uuid);
        let uuids = std::iter::once(wanted.uid).chain(recorded.filter(|uuid| *uuid != wanted.uid));
        let found = self.index.domains_of(wanted.node.as_ref()?, uuids);
        found.into_iter().find(|domain| self.is_ours(wanted, domain.uuid, domain.doc.mark.as_ref()))
    }

    /// The name that somebody gave a VM's domain by hand: neither the wanted one nor the one that it was made with.
    fn name_by_hand(&self, wanted: &Wanted) -> Option<&'a str> {
        if wanted.object.kind != Kind::VirtualMachine {
            return None;
        }
        let domain = self.renamed_domain(wanted).filter(|domain| domain.persistent)?;
        Some(domain.name.as_str()).filter(|name| !self.was_made_as(wanted, name))
    }

    /// Refuses what isn't ours. True where it was refused.
    pub(super) fn refuse_foreign(&mut self, wanted: &Wanted, what: &str, verdict: &Verdict) -> bool {
        let name = &wanted.libvirt_name;
        match verdict {
            Verdict::Foreign { fleet: Some(fleet), .. } => self.refuse(
                wanted,
                RefusalKind::Guard,
                format!("a {what} called `{name}` is there and belongs to fleet {fleet}"),
                &[format!("to take it over from that fleet: --take-from {fleet}"), "or choose another `spec.libvirtName`".into()],
            ),
            Verdict::Foreign { object: Some(other), .. } => self.refuse(
                wanted,
                RefusalKind::Guard,
                format!("the {what} called `{name}` is {other} of this fleet"),
                &[
                    format!("if it was renamed: `lifecycle: {{renamedFrom: {}}}`", other.name),
                    "or choose another `spec.libvirtName`".into(),
                ],
            ),
            Verdict::Foreign { fleet: None, object: None } if let Some(own) = self.name_by_hand(wanted) => self.refuse(
                wanted,
                RefusalKind::Guard,
                format!("it was renamed by hand to `{own}`, and a {what} called `{name}` is there that jvp didn't make"),
                &[
                    "rename or remove the other one by hand: then it gets its name back".into(),
                    format!("or keep the name that it has: `spec.libvirtName: {own}`"),
                ],
            ),
            Verdict::Foreign { fleet: None, object: None } => self.refuse(
                wanted,
                RefusalKind::Guard,
                format!("a {what} called `{name}` is there that jvp didn't make"),
                &[
                    format!("to take it over as it is: `lifecycle: {{adopt: true}}`, or jvp adopt {}", wanted.object),
                    "or choose another `spec.libvirtName`, or rename or remove the other one by hand".into(),
                ],
            ),
            Verdict::Transient => self.refuse(
                wanted,
                RefusalKind::Guard,
                format!("the {what} called `{name}` is transient: it vanishes when it stops, and is never managed"),
                &["make it persistent (`virsh define`) or stop it, then plan again".to_string()],
            ),
            Verdict::Absent | Verdict::Ours { .. } | Verdict::Renamed { .. } | Verdict::Undefined { .. } => return false,
        }
        true
    }

    /// Refuses what is to be adopted, isn't there, and can't be made from what its manifest says.
    pub(super) fn refuse_unmade(&mut self, wanted: &Wanted, field: &str) {
        self.refuse(
            wanted,
            RefusalKind::Invalid,
            format!(
                "there is nothing called `{}` to be adopted, and without `spec.{field}` it can't be made",
                wanted.libvirt_name
            ),
            &[format!("correct `spec.libvirtName`, or write `spec.{field}`")],
        );
    }

    /// Refuses a change of what another state directory wrote last. True where it was refused.
    pub(super) fn refuse_writer(&mut self, wanted: &Wanted, other: Option<uuid::Uuid>) -> bool {
        let Some(other) = other.filter(|_| !self.policy.consents.take_over) else { return false };
        let (message, help) = written_by(other);
        self.refuse(wanted, RefusalKind::Guard, message, &[help]);
        true
    }
}

/// That another state directory wrote an object last, and what to do.
pub(super) fn written_by(other: uuid::Uuid) -> (String, String) {
    (
        format!("it was last written from another state directory (writer {other})"),
        "if that one is gone or no longer applies: --take-over".into(),
    )
}

/// Hash of what a plan was computed from: the manifests, sources and consents, and what it would do to which state.
pub fn fingerprint(plan: &Plan, desired: &Desired, sources: &Sources, policy: &Policy) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(b"jvp-plan-1\n");
    for (object, wanted) in &desired.objects {
        hash.update(object.to_string());
        hash.update(serde_json::to_vec(&wanted.spec.to_value()).unwrap_or_default());
        hash.update(serde_json::to_vec(&wanted.metadata.labels).unwrap_or_default());
    }
    for (name, facts) in &sources.images {
        hash.update(format!("{name} {} {}\n", facts.digest_sha256, facts.size));
    }
    hash.update(serde_json::to_vec(policy).unwrap_or_default());
    hash.update(serde_json::to_vec(&plan.changes).unwrap_or_default());
    hash.update(serde_json::to_vec(&plan.deferred).unwrap_or_default());
    hash.update(serde_json::to_vec(&plan.refusals).unwrap_or_default());
    for action in &plan.actions {
        hash.update(serde_json::to_vec(action).unwrap_or_default());
        hash.update(format!("{:?}", action.precondition));
    }
    hex::encode(hash.finalize())
}

/// The name in libvirt that an object has or will have: by the set, then by the inventory, else its own.
pub fn libvirt_name(desired: &Desired, owned: &Owned, object: &ObjectRef) -> String {
    let wanted = desired.objects.get(object).map(|wanted| &wanted.libvirt_name);
    let name = wanted.or_else(|| owned.entries.get(object).map(|entry| &entry.libvirt_name));
    name.cloned().unwrap_or_else(|| object.name.to_string())
}
