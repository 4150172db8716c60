//! Properties of adoption, observation and prune: what they never touch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jvp::host::fake::FakeHost;
use jvp::manifest::{Lifecycle, Management};
use jvp::name::Kind;
use jvp::plan::{MaxDeletes, Mode, Verb};
use proptest::prelude::*;

use crate::bench::{Bench, Trouble, block_on};
use crate::scene::{Scene, scenes};
use crate::{config, difference};

type Nodes = BTreeMap<String, BTreeMap<String, String>>;

/// A document without jvp's mark.
fn unmarked(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(at) = text.find("<jvp:object") {
        let tail = &text[at..];
        let close = tail.find('>').unwrap();
        let end =
            if tail[..close].ends_with('/') { close + 1 } else { tail.find("</jvp:object>").unwrap() + "</jvp:object>".len() };
        text.replace_range(at..at + end, "");
    }
    let tight: String = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("> <", "><");
    tight.replace("<metadata></metadata>", "")
}

fn node(host: &FakeHost) -> BTreeMap<String, String> {
    let state = host.state();
    let mut all = BTreeMap::new();
    for (name, mut domain) in state.domains {
        domain.inactive = unmarked(&domain.inactive);
        domain.live = domain.live.as_deref().map(unmarked);
        all.insert(format!("domain {name}"), format!("{domain:#?}"));
    }
    for (name, mut network) in state.networks {
        network.inactive = unmarked(&network.inactive);
        network.live = network.live.as_deref().map(unmarked);
        all.insert(format!("network {name}"), format!("{network:#?}"));
    }
    all.extend(state.pools.into_iter().map(|(name, mut pool)| {
        pool.known.clear();
        pool.seen = false;
        (format!("pool {name}"), format!("{pool:#?}"))
    }));
    all.extend(state.files.into_iter().map(|(path, file)| (format!("file {path}"), format!("{file:#?}"))));
    all
}

fn nodes(bench: &Bench) -> Nodes {
    bench.hosts.iter().map(|(name, host)| (name.to_string(), node(host))).collect()
}

/// Has another fleet want the same, with another inventory.
fn another_fleet(bench: &mut Bench) {
    bench.consents.take_from.insert(bench.desired.fleet);
    bench.desired.fleet = uuid::Uuid::from_u128(99);
    for wanted in bench.desired.objects.values_mut().map(Arc::make_mut) {
        wanted.uid = wanted.object.uid(bench.desired.fleet);
        wanted.lifecycle.adopt = Some(true);
    }
    bench.lose_ledger();
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn adoption_changes_nothing_but_marks_whatever_breaks(
        scene in scenes(),
        step in 1_u32..12,
        trouble in prop_oneof![
            Just(None), Just(Some(Trouble::Fails)), Just(Some(Trouble::NoAnswer)), Just(Some(Trouble::DiesBefore)), Just(Some(Trouble::DiesAfter)),
        ],
    ) {
        let mut bench = Bench::new(&scene)?;
        block_on(async {
            bench.apply().await?;
            let before = nodes(&bench);
            another_fleet(&mut bench);
            let plan = bench.plan().await;
            for change in &plan.changes {
                prop_assert_eq!(change.verb, Verb::Adopt, "{:#?}\n{}", change, bench.text);
            }
            if let Some(trouble) = trouble {
                bench.trouble(step, trouble);
                bench.troubled().await;
                bench.heal();
                prop_assert_eq!(difference(&before, &nodes(&bench)), "", "{:?} at {}", trouble, step);
            }
            bench.apply().await?;
            prop_assert_eq!(difference(&before, &nodes(&bench)), "");
            let plan = bench.plan().await;
            prop_assert!(plan.is_empty() && plan.refusals.is_empty(), "{:#?}\n{:#?}", plan.changes, plan.refusals);
            Ok(())
        })?;
    }

    #[test]
    fn what_is_observed_stays_as_it_is_whatever_differs(scene in scenes(), other in scenes(), deleting: bool) {
        let mut bench = Bench::new(&scene)?;
        block_on(async {
            bench.apply().await?;
            let before = nodes(&bench);
            // Other manifests, of which some objects are there and differ, and some are not.
            if let Ok(other) = Bench::new(&other) {
                let known: BTreeSet<_> = bench.desired.nodes.keys().cloned().collect();
                let mut desired = other.desired;
                desired.objects.retain(|_, wanted| wanted.node.as_ref().is_none_or(|node| known.contains(node)));
                desired.order.retain(|object| desired.objects.contains_key(object));
                desired.nodes.clone_from(&bench.desired.nodes);
                bench.desired = desired;
            }
            for wanted in bench.desired.objects.values_mut().map(Arc::make_mut) {
                wanted.lifecycle = Lifecycle { management: Some(Management::Observe), ..Lifecycle::default() };
            }
            let entries = bench.entries();
            if deleting {
                bench.delete(true);
            }
            let plan = bench.plan().await;
            prop_assert!(plan.is_empty() && plan.actions.is_empty(), "{:#?}\n{:#?}", plan.changes, plan.deferred);
            bench.apply().await?;
            prop_assert_eq!(difference(&before, &nodes(&bench)), "");
            prop_assert_eq!(entries, bench.entries());
            Ok(())
        })?;
    }

    #[test]
    fn prune_touches_nothing_that_is_not_in_the_inventory(scene in scenes(), gone: u64) {
        let mut bench = Bench::new(&scene)?;
        bench.put_foreign(false);
        block_on(async {
            let foreign = bench.foreign();
            bench.apply().await?;
            let machines: Vec<_> = bench.desired.objects.keys().filter(|object| object.kind == Kind::VirtualMachine).cloned().collect();
            let goes: BTreeSet<_> = machines.iter().enumerate().filter(|(at, _)| gone >> at & 1 == 1).map(|(_, object)| object.clone()).collect();
            let names: BTreeMap<_, _> =
                machines.iter().map(|object| (object.clone(), bench.desired.objects[object].libvirt_name.clone())).collect();
            bench.desired.objects.retain(|object, wanted| {
                !goes.contains(object) && !wanted.implied_by.as_ref().is_some_and(|by| goes.contains(by))
            });
            bench.desired.order.retain(|object| bench.desired.objects.contains_key(object));
            bench.prune = true;
            bench.consents.max_deletes = MaxDeletes::Count(1000);
            bench.consents.allow_empty_prune = true;
            let files = bench.files();
            bench.apply().await?;
            prop_assert_eq!(&foreign, &bench.foreign());
            let left: BTreeSet<String> = bench.hosts.values().flat_map(|host| host.state().domains.into_keys()).collect();
            for (object, name) in &names {
                prop_assert_eq!(left.contains(name), !goes.contains(object), "{}", object);
            }
            // Data is kept, whatever goes.
            for (node, kept) in bench.files() {
                for file in files[&node].iter().filter(|file| !file.contains(".seed-") && !file.contains("/nvram/")) {
                    prop_assert!(kept.contains(file), "{} went from {}", file, node);
                }
            }
            prop_assert!(bench.mode == Mode::Apply);
            let plan = bench.plan().await;
            prop_assert!(plan.is_empty() && plan.refusals.is_empty(), "{:#?}\n{:#?}", plan.changes, plan.refusals);
            Ok(())
        })?;
    }
}

/// Two nodes, a pool on one of them, and a volume in it.
fn with_volume(node: &str, name: &str, spec: &str) -> Bench {
    let scene = Scene { nodes: 2, pools: 0, networks: Vec::new(), templates: Vec::new(), machines: Vec::new() };
    let mut all = scene.documents();
    let mut put = |kind: &str, name: &str, spec: &str| {
        let text = format!("apiVersion: jvp.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n");
        all.push((format!("{kind}-{name}.yaml"), text));
    };
    put("StoragePool", "p0", &format!("type: Dir, target: {{path: /srv/p0}}, nodes: [{node}]"));
    put("Volume", name, &format!("pool: p0, {spec}"));
    Bench::of(&scene, &all).unwrap()
}

#[test]
fn a_volume_that_stands_on_one_node_is_refused_on_another() {
    block_on(async {
        let mut bench = with_volume("n0", "data", "capacity: 8Mi");
        bench.apply().await.unwrap();
        let files = bench.files();
        bench.desired = with_volume("n1", "data", "capacity: 8Mi").desired;
        let plan = bench.plan().await;
        assert!(plan.changes.iter().all(|change| change.object.kind != Kind::Volume), "{:#?}", plan.changes);
        let [refusal] = plan.refusals.as_slice() else { panic!("{plan:#?}") };
        assert_eq!(refusal.object.to_string(), "Volume/data");
        assert_eq!(refusal.message, "it stands on Node/n0; moving it to Node/n1 needs migration, which is not there yet");
        assert_eq!(refusal.help, ["set the node of the VM that uses it, or the `nodes` of its pool, back to n0"]);
        assert_eq!(bench.files(), files);
    });
}

#[test]
fn a_source_that_is_nowhere_is_told_before_its_pool_runs() {
    block_on(async {
        let bench = with_volume("n0", "copy", "source: {volume: gone}, clone: Full");
        let plan = bench.plan().await;
        let notes: Vec<_> = plan.notes.iter().map(|note| (note.object.to_string(), note.message.as_str())).collect();
        let said = "its source Volume/gone is in no manifest, not in the inventory, and in no pool that runs";
        assert_eq!(notes, [("Volume/copy".to_owned(), said)]);
        assert!(plan.deferred.iter().any(|deferred| deferred.object.to_string() == "Volume/copy"), "{:#?}", plan.deferred);
        let whole = with_volume("n0", "copy", "capacity: 8Mi");
        assert_eq!(whole.plan().await.notes, []);
    });
}

/// A pool and a network.
fn pool_and_network() -> Bench {
    Bench::new(&Scene { nodes: 1, pools: 1, networks: vec!["Isolated"], templates: Vec::new(), machines: Vec::new() }).unwrap()
}

#[test]
fn a_plan_judges_what_it_is_about_and_nothing_else() {
    let mut bench = pool_and_network();
    let of = |kind| bench.desired.objects.keys().find(|object| object.kind == kind).unwrap().clone();
    let (pool, network) = (of(Kind::StoragePool), of(Kind::Network));
    let only: BTreeSet<_> = [network.clone()].into();
    block_on(async {
        bench.apply().await.unwrap();
        let judged = |plan: jvp::plan::Plan| (plan.has_judged(&network), plan.has_judged(&pool));
        assert_eq!(judged(bench.plan().await), (true, true));
        let targets = jvp::plan::Policy { targets: Some(only.clone()), ..bench.policy() };
        assert_eq!(judged(bench.plan_with(&targets).await), (true, false));
        let mut part = bench.desired.clone();
        part.objects.remove(&pool);
        let whole = std::mem::replace(&mut bench.desired, part);
        let partial = jvp::plan::Policy { partial: true, ..bench.policy() };
        assert_eq!(judged(bench.plan_with(&partial).await), (true, false));
        bench.desired = whole;
        bench.adopt.clone_from(&only);
        assert_eq!(judged(bench.plan().await), (false, false));
        bench.adopt.clear();
        bench.mode = Mode::Power { objects: only.clone(), what: jvp::plan::PowerAct::Stop };
        assert_eq!(judged(bench.plan().await), (false, false));
        bench.mode = Mode::Delete { objects: only.clone(), with_data: false };
        assert_eq!(judged(bench.plan().await), (true, false));
    });
}

#[test]
fn a_network_that_was_renamed_by_hand_is_deleted_also_where_another_one_has_its_name() {
    for taken in [false, true] {
        let mut bench = pool_and_network();
        block_on(async {
            bench.apply().await.unwrap();
            let host = bench.hosts.values().next().unwrap().clone();
            host.with(|state| {
                let (name, network) =
                    state.networks.iter().next().map(|(name, network)| (name.clone(), network.clone())).unwrap();
                let mut hand = |op| state.perform(&op).unwrap();
                hand(jvp::plan::Op::NetworkStop { name: name.clone() });
                hand(jvp::plan::Op::NetworkUndefine { name: name.clone() });
                let xml = network.inactive.replace(&format!("<name>{name}</name>"), "<name>other</name>");
                hand(jvp::plan::Op::NetworkDefine { name: "other".into(), xml });
                if taken {
                    hand(jvp::plan::Op::NetworkDefine {
                        name: name.clone(),
                        xml: format!("<network><name>{name}</name></network>"),
                    });
                }
            });
            bench.delete(false);
            bench.apply().await.unwrap();
            assert_eq!(host.state().networks.len(), usize::from(taken), "{:?}", host.state().networks.keys());
            assert!(!host.state().networks.contains_key("other"));
            let plan = bench.plan().await;
            assert!(plan.is_empty(), "{:#?}", plan.changes);
        });
    }
}
