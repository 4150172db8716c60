//! Parts of a plan that have nothing to do with each other: each can be carried out by itself, so that what fails or takes long in
//! one holds up none of the others.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, ActionId, Change, Lane, Op, Plan, Plug};
use crate::name::{Name, ObjectRef};
use crate::observe::Target;

/// A share of a plan.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its changes and actions, numbered anew. Nothing is deferred or refused in it.
    pub plan: Plan,
    /// The objects that it changes.
    pub objects: BTreeSet<ObjectRef>,
    /// Whether it prunes. Such a part comes after all others, and is none with them: whoever holds it back holds up nothing else.
    pub prunes: bool,
}

impl Part {
    /// Whether nothing in it can lose data, stop, restart or disconnect anything: what may be done after a look at its own objects
    /// alone.
    pub fn is_light(&self) -> bool {
        self.plan.actions.iter().all(|action| action.op.is_light())
    }
}

impl Op {
    /// Whether it is the controller's own deed: no node has a part in it, whichever it is done for.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Fetch { .. } | Self::KeyPairGenerate { .. })
    }

    /// Whether it starts, plugs in or changes in place what is there, and takes nothing from anybody.
    pub fn is_light(&self) -> bool {
        match self {
            Self::PoolStart { .. }
            | Self::PoolAutostart { .. }
            | Self::NetworkStart { .. }
            | Self::NetworkAutostart { .. }
            | Self::NetworkUpdate { .. }
            | Self::NetworkPatch { .. }
            | Self::DomainStart { .. }
            | Self::DomainAutostart { .. }
            | Self::DomainMetadata { .. }
            | Self::DomainRedefine { .. }
            | Self::DomainVcpus { .. }
            | Self::DomainMemory { .. }
            | Self::Inventory => true,
            Self::DomainDevice { how, .. } => *how != Plug::Detach,
            _ => false,
        }
    }
}

/// Sets of actions that were found to belong together.
struct Groups(Vec<usize>);

impl Groups {
    fn root(&mut self, mut at: usize) -> usize {
        while let Some(&up) = self.0.get(at).filter(|up| **up != at) {
            let above = self.0.get(up).copied().unwrap_or(up);
            if let Some(slot) = self.0.get_mut(at) {
                *slot = above;
            }
            at = up;
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if let Some(slot) = self.0.get_mut(a.max(b)) {
            *slot = a.min(b);
        }
    }
}

/// What two actions may share that makes one part of them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Shared<'a> {
    Object(&'a ObjectRef),
    Target(Option<&'a Name>, Target),
    Lane(Option<&'a Name>, &'a Lane),
}

impl Plan {
    /// What it takes down since no manifest declares it any more.
    pub fn pruned(&self) -> impl Iterator<Item = &ObjectRef> {
        let prunes = |change: &&Change| change.actions.iter().any(|action| self.pruning.contains(action));
        self.changes.iter().filter(prunes).map(|change| &change.object)
    }

    /// Its parts, in the order of their first actions.
    pub fn parts(&self) -> Vec<Part> {
        let mut groups = Groups((0..self.actions.len()).collect());
        let mut first: BTreeMap<(bool, Shared<'_>), usize> = BTreeMap::new();
        let prunes = |id: &ActionId| self.pruning.contains(id);
        for action in &self.actions {
            let at = action.id.0;
            for need in action.needs.iter().filter(|need| prunes(need) == prunes(&action.id)) {
                groups.join(at, need.0);
            }
            let node = action.node.as_ref();
            let mut shared = vec![Shared::Object(&action.object), Shared::Lane(node, &action.lane)];
            shared.extend(action.op.target().map(|target| Shared::Target(node, target)));
            for shared in shared {
                let other = *first.entry((prunes(&action.id), shared)).or_insert(at);
                groups.join(at, other);
            }
        }
        for change in &self.changes {
            for pair in change.actions.windows(2) {
                if let [one, other] = pair {
                    groups.join(one.0, other.0);
                }
            }
        }
        let mut parts: BTreeMap<usize, (Vec<&Action>, Vec<&Change>)> = BTreeMap::new();
        for action in &self.actions {
            parts.entry(groups.root(action.id.0)).or_default().0.push(action);
        }
        for change in self.changes.iter().filter(|change| !change.actions.is_empty()) {
            let root = change.actions.first().map(|id| groups.root(id.0)).unwrap_or_default();
            parts.entry(root).or_default().1.push(change);
        }
        parts.into_values().map(|(actions, changes)| self.part(&actions, &changes)).collect()
    }

    fn part(&self, actions: &[&Action], changes: &[&Change]) -> Part {
        let prunes = actions.iter().any(|action| self.pruning.contains(&action.id));
        let numbers: BTreeMap<ActionId, ActionId> =
            actions.iter().enumerate().map(|(at, action)| (action.id, ActionId(at))).collect();
        let renumbered = |id: &ActionId| numbers.get(id).copied();
        let actions: Vec<Action> = actions
            .iter()
            .enumerate()
            .map(|(at, action)| Action {
                id: ActionId(at),
                needs: action.needs.iter().filter_map(renumbered).collect(),
                ..(*action).clone()
            })
            .collect();
        let changes: Vec<Change> = changes
            .iter()
            .map(|change| Change { actions: change.actions.iter().filter_map(renumbered).collect(), ..(*change).clone() })
            .collect();
        let objects = actions.iter().map(|action| &action.object).chain(changes.iter().map(|change| &change.object));
        let objects = objects.cloned().collect();
        Part { plan: Plan { changes, actions, fingerprint: self.fingerprint.clone(), ..Plan::default() }, objects, prunes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Kind;
    use crate::plan::{Expect, Precondition, Record};

    fn action(id: usize, object: &str, op: Op, needs: &[usize]) -> Action {
        let lane = Lane::Object(match op.target() {
            Some(Target::Domain(name) | Target::Network(name) | Target::Pool(name)) => name,
            _ => id.to_string(),
        });
        Action {
            id: ActionId(id),
            object: ObjectRef::new(Kind::VirtualMachine, object.parse().unwrap()),
            node: Some("a".parse().unwrap()),
            op,
            needs: needs.iter().map(|need| ActionId(*need)).collect(),
            lane,
            precondition: Precondition::None,
            expect: Expect::Nothing,
            record: Record::Nothing,
            begins: crate::plan::Begins::default(),
            secrets: BTreeMap::new(),
        }
    }

    fn start(name: &str) -> Op {
        Op::DomainStart { name: name.into(), uuid: uuid::Uuid::nil() }
    }

    #[test]
    fn what_needs_or_shares_something_is_one_part_and_the_rest_stands_alone() {
        let network = || Op::NetworkStart { name: "lan".into() };
        let actions = vec![
            action(0, "one", start("one"), &[]),
            action(1, "two", network(), &[]),
            action(2, "three", start("three"), &[]),
            action(3, "four", network(), &[]),
            action(4, "five", start("five"), &[2]),
        ];
        let plan = Plan { actions, ..Plan::default() };
        let parts = plan.parts();
        let names = |part: &Part| part.objects.iter().map(|object| object.name.to_string()).collect::<Vec<_>>();
        assert_eq!(parts.iter().map(names).collect::<Vec<_>>(), [vec!["one"], vec!["four", "two"], vec!["five", "three"]]);
        let last = &parts[2].plan;
        assert_eq!(last.actions.iter().map(|action| action.id.0).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(last.actions[1].needs, BTreeSet::from([ActionId(0)]));
        assert!(parts.iter().all(Part::is_light));
    }

    #[test]
    fn what_prunes_is_a_part_of_its_own_whatever_it_shares_and_needs() {
        let undefine = Op::DomainUndefine { name: "two".into(), uuid: uuid::Uuid::nil(), nvram: false, managed_save: false };
        let network = || Op::NetworkStart { name: "lan".into() };
        let actions =
            vec![action(0, "one", network(), &[]), action(1, "two", network(), &[0]), action(2, "two", undefine, &[0, 1])];
        let plan = Plan { actions, pruning: [ActionId(1), ActionId(2)].into(), ..Plan::default() };
        let parts = plan.parts();
        let of = |part: &Part| {
            (part.prunes, part.plan.actions.len(), part.plan.actions.iter().map(|action| action.needs.len()).sum::<usize>())
        };
        assert_eq!(parts.iter().map(of).collect::<Vec<_>>(), [(false, 1, 0), (true, 2, 1)]);
    }

    #[test]
    fn what_stops_or_deletes_is_not_light() {
        let destroy = Op::DomainDestroy { name: "one".into(), uuid: uuid::Uuid::nil() };
        let plan = Plan { actions: vec![action(0, "one", destroy, &[])], ..Plan::default() };
        assert!(!plan.parts()[0].is_light());
    }

    #[test]
    fn a_part_has_the_changes_of_its_actions_and_the_fingerprint_of_the_whole() {
        let change = |object: &str, actions: &[usize]| Change {
            object: ObjectRef::new(Kind::VirtualMachine, object.parse().unwrap()),
            node: None,
            verb: crate::plan::Verb::Start,
            fields: Vec::new(),
            effect: crate::plan::Effect::None,
            effects: BTreeMap::new(),
            data: crate::plan::Data::Kept,
            reason: String::new(),
            implied_by: None,
            actions: actions.iter().map(|id| ActionId(*id)).collect(),
        };
        let plan = Plan {
            actions: vec![
                action(0, "one", start("one"), &[]),
                action(1, "two", start("two"), &[]),
                action(2, "two", start("three"), &[]),
            ],
            changes: vec![change("one", &[0]), change("two", &[1, 2]), change("none", &[])],
            fingerprint: "f".into(),
            ..Plan::default()
        };
        let parts = plan.parts();
        let of = |part: &Part| {
            let changes = part.plan.changes.iter().map(|change| (change.object.name.to_string(), change.actions.clone()));
            (changes.collect::<Vec<_>>(), part.plan.fingerprint.clone())
        };
        assert_eq!(
            parts.iter().map(of).collect::<Vec<_>>(),
            [
                (vec![("one".to_owned(), vec![ActionId(0)])], "f".to_owned()),
                (vec![("two".to_owned(), vec![ActionId(0), ActionId(1)])], "f".to_owned()),
            ]
        );
    }

    #[test]
    fn a_device_is_plugged_in_lightly_and_taken_out_not() {
        let device = |how| Op::DomainDevice {
            name: "one".into(),
            uuid: uuid::Uuid::nil(),
            how,
            device: "/disks/a".into(),
            patch: Box::default(),
            live: true,
            config: true,
            xml: None,
        };
        assert!(device(Plug::Attach).is_light() && device(Plug::Update).is_light() && !device(Plug::Detach).is_light());
    }
}
