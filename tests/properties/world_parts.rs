//! What random worlds are made of, beside all that the language has: a generator shows nothing of what it never makes.

use std::collections::{BTreeMap, BTreeSet};

use jvp::manifest::leaves;
use jvp::name::Kind;
use jvp::plan::{FIELDS, field};

use crate::world::{HandAct, Step, World};
use crate::world_made::TROUBLES;

/// Fields that no world has, and why.
const NEVER: &[(&str, &str)] = &[
    ("KeyPair/generate", "no key is made here; examples/cloud-init has one made"),
    ("Template/source/url", "nothing is fetched here; the tests of sources do"),
];

/// From a single object to some two hundred.
const SIZES: [usize; 6] = [1, 5, 20, 50, 100, 300];

/// What a number of worlds have.
#[derive(Default)]
pub struct Parts {
    fields: BTreeSet<(Kind, &'static str)>,
    lifecycles: BTreeSet<String>,
    hands: BTreeSet<String>,
    troubles: BTreeSet<String>,
    nodes: BTreeSet<usize>,
    /// How many worlds have at most so many objects, beside the fleet and its nodes.
    sizes: BTreeMap<usize, usize>,
    /// The most objects of a world.
    most: usize,
    steps: BTreeSet<&'static str>,
}

impl Parts {
    pub fn see(&mut self, world: &World) {
        let mut most = 0;
        for step in &world.steps {
            self.steps.insert(match step {
                Step::Apply { prune: false, .. } => "apply",
                Step::Apply { prune: true, .. } => "prune",
                Step::Hand { .. } => "hand",
                Step::Suspend { .. } => "suspend",
                Step::Resume { .. } => "resume",
                Step::LoseLedger => "lose the ledger",
                Step::Delete => "delete",
            });
            match step {
                Step::Apply { manifests, broken, .. } => {
                    let kinds: Vec<Kind> = manifests.iter().map(|manifest| self.manifest(manifest)).collect();
                    let nodes = kinds.iter().filter(|kind| **kind == Kind::Node).count();
                    self.nodes.insert(nodes);
                    most = most.max(kinds.iter().filter(|kind| !matches!(kind, Kind::Fleet | Kind::Node)).count());
                    self.troubles.extend(broken.iter().map(|broken| format!("{:?}", broken.how)));
                }
                Step::Hand { act, .. } => drop(self.hands.insert(format!("{act:?}"))),
                _ => {}
            }
        }
        let bound = SIZES.into_iter().find(|bound| most <= *bound).unwrap();
        *self.sizes.entry(bound).or_default() += 1;
        self.most = self.most.max(most);
    }

    fn manifest(&mut self, text: &str) -> Kind {
        let manifest: serde_json::Value = serde_yaml::from_str(text).unwrap();
        let kind = Kind::parse(manifest["kind"].as_str().unwrap()).unwrap();
        let paths = leaves(kind, &manifest["spec"]);
        self.fields.extend(paths.keys().filter_map(|path| Some((kind, field(kind, path)?.path))));
        let lifecycle = manifest.get("lifecycle").and_then(|all| all.as_object());
        self.lifecycles.extend(lifecycle.into_iter().flatten().map(|(word, value)| match value.as_str() {
            Some(value) if word != "renamedFrom" => format!("{word}: {value}"),
            _ => word.clone(),
        }));
        kind
    }
}

impl Parts {
    /// Whether these worlds have all kinds, fields, hands, troubles and sizes.
    pub fn are_all(&self) {
        let named = |(kind, path): &(Kind, &str)| format!("{kind}{path}");
        let made: BTreeSet<String> = self.fields.iter().map(named).collect();
        let all: BTreeSet<String> = FIELDS.iter().map(|row| named(&(row.kind, row.path))).collect();
        let never: Vec<&String> = all.difference(&made).collect();
        let told: Vec<&str> = NEVER.iter().map(|(path, _)| *path).collect();
        assert_eq!(never, told, "fields that no world has");
        let troubles: BTreeSet<String> = TROUBLES.iter().map(|trouble| format!("{trouble:?}")).collect();
        assert_eq!(self.troubles, troubles);
        let hands: BTreeSet<String> = HandAct::ALL.iter().map(|act| format!("{act:?}")).collect();
        assert_eq!(self.hands, hands);
        assert_eq!(self.nodes, BTreeSet::from([1, 2, 3]));
        assert_eq!(self.steps.len(), 7, "{:?}", self.steps);
        let lifecycles = ["adopt", "ignoreChanges", "management: CreateOnly", "management: Observe", "preventDestroy"];
        let more = ["reclaimPolicy: Delete", "reclaimPolicy: Retain", "renamedFrom"];
        assert_eq!(self.lifecycles, lifecycles.into_iter().chain(more).map(str::to_owned).collect());
        assert!(self.sizes.keys().eq(&SIZES) && self.most >= 190, "{:?}, at most {}", self.sizes, self.most);
    }
}
