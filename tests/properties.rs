//! Properties of plan and apply on fake nodes: whatever the manifests, and whatever goes wrong at whichever step.
//!
//! At least 256 cases each; `PROPTEST_CASES` raises it.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests: what fails must be loud")]

#[path = "properties/bench.rs"]
mod bench;
#[path = "properties/every_call.rs"]
mod every_call;
#[path = "properties/every_history.rs"]
mod every_history;
#[path = "properties/histories.rs"]
mod histories;
#[path = "properties/lifecycle.rs"]
mod lifecycle;
#[path = "properties/machines.rs"]
mod machines;
#[path = "properties/networks.rs"]
mod networks;
#[path = "properties/nodes.rs"]
mod nodes;
#[path = "properties/rebuild.rs"]
mod rebuild;
mod sample;
#[path = "properties/scene.rs"]
mod scene;
#[path = "properties/stops.rs"]
mod stops;
#[path = "properties/world.rs"]
mod world;
#[path = "properties/world_made.rs"]
mod world_made;
#[path = "properties/world_parts.rs"]
mod world_parts;
#[path = "properties/worlds.rs"]
mod worlds;

use std::collections::{BTreeMap, BTreeSet};

use bench::{Bench, block_on};
use jvp::host::fake::{FakeHost, State};
use jvp::name::Kind;
use jvp::observe::OffReason;
use jvp::plan::{ActionId, Consents, Mode, Op, Plan, Precondition, RefusalKind};
use proptest::prelude::*;
use scene::{Machine, Scene, scenes};

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256);
    ProptestConfig { cases: cases.max(256), failure_persistence: None, ..ProptestConfig::default() }
}

/// A network's document with its DHCP hosts in an order that says nothing of which came first.
fn hosts_sorted(xml: &str) -> String {
    let is_host = |line: &str| ["<host mac=", "<host name=", "<host id="].iter().any(|head| line.trim_start().starts_with(head));
    let mut hosts: Vec<&str> = xml.lines().filter(|line| is_host(line)).collect();
    hosts.sort_unstable();
    let mut hosts = hosts.into_iter();
    xml.lines().map(|line| if is_host(line) { hosts.next().unwrap_or(line) } else { line }).collect::<Vec<_>>().join("\n")
}

/// What of a node counts as its end: not ids, not who wrote last.
fn end(host: &FakeHost) -> BTreeMap<String, String> {
    let State { pools, networks, domains, files, folders, .. } = host.state();
    let mut all = BTreeMap::new();
    for (name, pool) in pools {
        all.insert(format!("pool {name}"), format!("{pool:#?}"));
    }
    for (name, mut network) in networks {
        // Who is plugged in follows from who runs.
        network.ports.clear();
        network.inactive = hosts_sorted(&network.inactive);
        network.live = network.live.as_deref().map(hosts_sorted);
        all.insert(format!("network {name}"), format!("{network:#?}"));
    }
    let mut never_started = BTreeSet::new();
    for (name, mut domain) in domains {
        domain.live = None;
        if domain.power.is_some() {
            // Of the time before it started.
            domain.off_reason = OffReason::Unknown;
        }
        // What is to run once is marked before its start: a start that broke off isn't tried again. A hand can't save what never ran.
        if domain.inactive.contains("ran=") {
            (domain.power, domain.off_reason, domain.managed_save) = (None, OffReason::Unknown, None);
            // What is plugged in while it runs gets another place on the bus than what is defined while it is off.
            domain.inactive = without_places(&domain.inactive);
            never_started.insert(format!("/var/lib/libvirt/qemu/nvram/{name}_VARS.fd"));
        }
        all.insert(format!("domain {name}"), format!("{domain:#?}"));
    }
    for (path, mut file) in files.into_iter().filter(|(path, _)| !never_started.contains(path)) {
        file.written = 0;
        all.insert(format!("file {path}"), format!("{file:#?}"));
    }
    for folder in folders {
        all.insert(format!("folder {folder}"), String::new());
    }
    all
}

/// A domain's document without places on its buses, and the ports that make them.
fn without_places(text: &str) -> String {
    let mut in_port = false;
    let keeps = |line: &&str| {
        let starts = line.trim_start().starts_with("<controller type='pci'");
        let leaves_out = in_port || starts || line.trim_start().starts_with("<address type='pci'");
        in_port = if starts { !line.ends_with("/>") } else { in_port && !line.contains("</controller>") };
        !leaves_out
    };
    text.lines().filter(keeps).collect::<Vec<_>>().join("\n")
}

fn ends(bench: &Bench) -> BTreeMap<String, BTreeMap<String, String>> {
    bench.hosts.iter().map(|(name, host)| (name.to_string(), end(host))).collect()
}

/// What differs, in words that can be read.
fn difference<T: std::fmt::Debug + PartialEq>(
    one: &BTreeMap<String, BTreeMap<String, T>>,
    other: &BTreeMap<String, BTreeMap<String, T>>,
) -> String {
    let mut text = String::new();
    for (node, one) in one {
        let other = &other[node];
        for name in one.keys().chain(other.keys().filter(|name| !one.contains_key(*name))) {
            match (one.get(name), other.get(name)) {
                (Some(_), None) => text.push_str(&format!("{node}: only at first: {name}\n")),
                (None, Some(_)) => text.push_str(&format!("{node}: only then: {name}\n")),
                (Some(a), Some(b)) if a != b => text.push_str(&format!("{node}: {name} was\n{a:#?}\nand is\n{b:#?}\n")),
                _ => {}
            }
        }
    }
    text
}

/// Every need stands before what needs it, and an object's actions come after one of each object that it refers to.
fn ordered(bench: &Bench, plan: &Plan) -> Result<(), TestCaseError> {
    for action in &plan.actions {
        let read_again = action.op.target().is_none() || action.precondition != Precondition::None;
        prop_assert!(read_again, "nothing is read right before it: {action:#?}\n{}", bench.text);
    }
    let mut behind: Vec<BTreeSet<ActionId>> = Vec::new();
    for (place, action) in plan.actions.iter().enumerate() {
        prop_assert_eq!(action.id.0, place);
        let mut all = BTreeSet::new();
        for need in &action.needs {
            prop_assert!(need.0 < place, "{:?} needs {:?}, which isn't before it", action, need);
            all.insert(*need);
            all.extend(behind[need.0].iter().copied());
        }
        behind.push(all);
    }
    for change in &plan.changes {
        let Some(last) = change.actions.last() else { continue };
        let Some(wanted) = bench.desired.objects.get(&change.object) else { continue };
        for reference in &wanted.references {
            let Some(other) = plan.changes.iter().find(|other| other.object == reference.object) else { continue };
            let (before, after) = match bench.mode {
                Mode::Delete { .. } => (&change.actions, other.actions.last()),
                _ => (&other.actions, Some(last)),
            };
            let touches = |id: &ActionId| !matches!(plan.actions[id.0].op, Op::Inventory);
            if let Some(after) = after
                && before.iter().any(touches)
                && touches(after)
            {
                prop_assert!(
                    before.iter().any(|id| behind[after.0].contains(id)),
                    "{} and {} have no order:\n{:#?}",
                    change.object,
                    other.object,
                    plan.actions
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_plan_after_an_apply_is_empty(scene in scenes()) {
        let mut bench = Bench::new(&scene)?;
        block_on(async {
            bench.apply().await?;
            let plan = bench.plan().await;
            prop_assert!(plan.is_empty() && plan.refusals.is_empty(), "{:#?}\n{:#?}", plan.changes, plan.refusals);
            // With the ledger lost: only volumes that no VM lists are not known again.
            let before = ends(&bench);
            bench.lose_ledger();
            let plan = bench.plan().await;
            prop_assert!(plan.is_empty(), "{}\n{:#?}\n{:#?}", bench.text, plan.changes, plan.deferred);
            for refusal in &plan.refusals {
                prop_assert!(matches!(refusal.object.kind, Kind::Volume | Kind::Template), "{:?}", refusal);
                prop_assert_eq!(refusal.kind, RefusalKind::Guard);
            }
            if plan.refusals.is_empty() {
                bench.apply().await?;
                prop_assert_eq!(difference(&before, &ends(&bench)), "");
            }
            Ok(())
        })?;
    }

    #[test]
    fn every_need_stands_before_what_needs_it_and_every_step_reads_its_object_again(scene in scenes()) {
        let mut bench = Bench::new(&scene)?;
        block_on(async {
            for _ in 0..4 {
                let plan = bench.plan().await;
                ordered(&bench, &plan)?;
                let _ = bench.round(&plan).await;
            }
            bench.delete(true);
            let plan = bench.plan().await;
            ordered(&bench, &plan)
        })?;
    }

    #[test]
    fn what_is_not_ours_stays_as_it_is(scene in scenes(), collide: bool) {
        let mut bench = Bench::new(&scene)?;
        bench.put_foreign(collide);
        block_on(async {
            let foreign = bench.foreign();
            let all = ends(&bench);
            let plan = bench.plan().await;
            let refused = !plan.refusals.is_empty();
            prop_assert_eq!(refused, collide, "{:#?}", plan.refusals);
            // Even what a refused plan holds leaves it alone.
            let _ = bench.round(&plan).await;
            prop_assert_eq!(&foreign, &bench.foreign());
            if !refused {
                bench.apply().await?;
                prop_assert_eq!(&foreign, &bench.foreign());
                bench.delete(true);
                bench.apply().await?;
                prop_assert_eq!(&foreign, &bench.foreign());
                let left = ends(&bench);
                for (node, now) in &left {
                    for name in now.keys().filter(|name| !all[node].contains_key(*name)) {
                        prop_assert!(name.starts_with("pool ") || name.starts_with("folder "), "left on {}: {}", node, name);
                    }
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_data_goes_without_its_consent(scene in scenes(), fewer in scenes()) {
        let mut bench = Bench::new(&scene)?;
        let deletes = |plan: &Plan| -> Vec<String> {
            plan.actions
                .iter()
                .filter_map(|action| match &action.op {
                    Op::VolumeDelete { name, .. } if !name.contains(".seed-") => Some(name.clone()),
                    _ => None,
                })
                .collect()
        };
        block_on(async {
            bench.apply().await?;
            // Other manifests of the same fleet: nothing goes by being left out or changed.
            if let Ok(other) = Bench::new(&fewer) {
                let desired = std::mem::replace(&mut bench.desired, other.desired);
                let plan = bench.plan().await;
                prop_assert_eq!(deletes(&plan), Vec::<String>::new());
                bench.desired = desired;
            }
            let files: BTreeMap<_, BTreeSet<String>> = bench.files();
            bench.delete(false);
            let plan = bench.plan().await;
            prop_assert_eq!(deletes(&plan), Vec::<String>::new());
            bench.apply().await?;
            let kept = bench.files();
            for (node, files) in &files {
                for file in files.iter().filter(|file| !file.contains(".seed-") && !file.contains("/nvram/")) {
                    prop_assert!(kept[node].contains(file), "{} went from {}", file, node);
                }
            }
            // What was kept is taken back.
            bench.mode = Mode::Apply;
            bench.apply().await?;
            let plan = bench.plan().await;
            prop_assert!(plan.is_empty() && plan.refusals.is_empty(), "{:#?}\n{:#?}", plan.changes, plan.refusals);
            Ok(())
        })?;
    }

    #[test]
    fn a_delete_with_its_data_leaves_nothing_of_ours(scene in scenes()) {
        let mut bench = Bench::new(&scene)?;
        block_on(async {
            bench.apply().await?;
            bench.delete(true);
            bench.apply().await?;
            for (node, host) in &bench.hosts {
                let state = host.state();
                prop_assert!(state.domains.is_empty() && state.networks.is_empty() && state.files.is_empty(), "{}: {:#?}", node, state);
            }
            let plan = bench.plan().await;
            prop_assert!(plan.is_empty(), "{:#?}", plan.changes);
            for entry in bench.ledger().entries().values() {
                prop_assert!(entry.released && entry.object.kind == Kind::StoragePool, "{:#?}", entry);
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_plan_of_another_world_has_another_fingerprint(scene in scenes(), which: prop::sample::Index) {
        let bench = Bench::new(&scene)?;
        block_on(async {
            bench.apply().await?;
            let mode = bench.mode.clone();
            let stale = bench.plan().await.fingerprint;
            prop_assert_eq!(&stale, &bench.plan().await.fingerprint, "the same world, the same fingerprint");
            // Somebody changes something that is ours and managed.
            let machines: Vec<_> = bench.hosts.values().flat_map(|host| {
                host.state().domains.into_iter().map(move |(name, domain)| (host.clone(), name, domain)).collect::<Vec<_>>()
            }).collect();
            if !machines.is_empty() {
                let (host, name, domain) = &machines[which.index(machines.len())];
                let strategy = bench.desired.objects.values().find(|wanted| wanted.libvirt_name == *name).map(|wanted| wanted.now.get("/runStrategy").cloned());
                // That one which is to run once was stopped changes nothing.
                let once = matches!(&strategy, Some(Some(strategy)) if strategy == "Once");
                if domain.power.is_some() && !once {
                    host.with(|state| state.perform(&Op::DomainDestroy { name: name.clone(), uuid: domain.uuid })).unwrap();
                } else {
                    host.with(|state| {
                        let domain = state.domains.get_mut(name).unwrap();
                        let memory = domain.inactive.split_once("</memory>").unwrap().0.rsplit_once('>').unwrap().1.to_owned();
                        domain.inactive = domain.inactive.replace(&format!(">{memory}<"), ">131072<");
                    });
                }
                let fresh = bench.plan().await.fingerprint;
                prop_assert_ne!(&stale, &fresh, "{} {:?} {:?}", name, strategy, mode);
            }
            // Consents are part of what was asked for.
            let mut other = bench.policy();
            other.consents = Consents { take_over: true, ..Consents::default() };
            prop_assert_ne!(&bench.plan().await.fingerprint, &bench.plan_with(&other).await.fingerprint);
            Ok(())
        })?;
    }
}

#[test]
fn vms_with_cloud_init_cost_no_read_of_the_whole_node_each() {
    let reads = |count: usize| {
        let machine = Machine { node: 0, strategy: "Halted", uefi: false, seed: true, disks: Vec::new(), interfaces: Vec::new() };
        let scene = Scene { nodes: 1, pools: 1, networks: Vec::new(), templates: vec![true], machines: vec![machine; count] };
        let bench = Bench::new(&scene).unwrap();
        block_on(bench.apply()).unwrap();
        bench.full_reads()
    };
    assert_eq!(reads(1), reads(12));
}
