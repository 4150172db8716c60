//! Networks that change beneath their guests, on fake nodes: whatever differs, by the manifest or by hand, and whatever breaks.

use std::collections::BTreeMap;

use jvp::host::fake::{FakeHost, How, State, When};
use jvp::name::Kind;
use jvp::observe::{NodeState, Scope};
use jvp::plan::{Consents, Edit, Op, Section, Side, unplugged};
use proptest::prelude::*;

use crate::bench::{Bench, Trouble, block_on};
use crate::scene::{Scene, scenes};
use crate::{config, difference, ends};

/// What a network says beside its mode and address.
#[derive(Debug, Clone)]
struct Look {
    mtu: Option<u16>,
    domain: bool,
    wide: bool,
    hosts: Vec<u8>,
    names: Vec<u8>,
    forwarder: bool,
}

fn looks() -> impl Strategy<Value = Look> {
    let mtu = prop::option::of(prop_oneof![Just(1400_u16), Just(1300)]);
    let few = || prop::collection::vec(0_u8..3, 0..3);
    (mtu, any::<bool>(), any::<bool>(), few(), few(), any::<bool>())
        .prop_map(|(mtu, domain, wide, hosts, names, forwarder)| Look { mtu, domain, wide, hosts, names, forwarder })
}

/// The documents of a scene whose networks look so.
fn documents(scene: &Scene, look: &Look) -> Vec<(String, String)> {
    let mut all = scene.documents();
    for (i, mode) in scene.networks.iter().enumerate().filter(|(_, mode)| **mode != "Bridge") {
        let mut hosts = look.hosts.clone();
        hosts.sort_unstable();
        hosts.dedup();
        // The address of one follows from how many there are, so that entries change and not only come and go.
        let host = |n: &u8| {
            format!(
                "{{name: h{n}, mac: \"52:54:00:00:{i:02x}:{n:02x}\", ip: 198.18.{i}.{}}}",
                220 + usize::from(*n) + 3 * hosts.len()
            )
        };
        let list = hosts.iter().map(host).collect::<Vec<_>>().join(", ");
        let mut names = look.names.clone();
        names.sort_unstable();
        names.dedup();
        let name = |n: &u8| format!("{{ip: 198.18.{i}.{}, names: [n{n}.lab, m{}.lab]}}", 240 + n, names.len());
        let dns = names.iter().map(name).collect::<Vec<_>>().join(", ");
        let end = if look.wide { 200 } else { 150 };
        let mut spec = format!(
            "  mode: {mode}\n  ips:\n  - address: 198.18.{i}.1/24\n    dhcp: {{ranges: [{{start: 198.18.{i}.100, end: 198.18.{i}.{end}}}], hosts: [{list}]}}\n"
        );
        let forwarders = if look.forwarder { "1.1.1.1" } else { "" };
        spec.push_str(&format!("  dns: {{forwarders: [{forwarders}], hosts: [{dns}]}}\n"));
        if let Some(mtu) = look.mtu {
            spec.push_str(&format!("  mtu: {mtu}\n"));
        }
        if look.domain {
            spec.push_str("  domain: lab.test\n");
        }
        let file = format!("Network-net{i}.yaml");
        let text = format!("apiVersion: jvp.dev/v1alpha1\nkind: Network\nmetadata: {{name: net{i}}}\nspec:\n{spec}");
        for (name, document) in &mut all {
            if *name == file {
                document.clone_from(&text);
            }
        }
    }
    all
}

/// What somebody enters and takes out by hand on the networks of a node.
fn meddle(host: &FakeHost, scene: &Scene, look: &Look, side: Side) {
    host.with(|state| {
        for (i, _) in scene.networks.iter().enumerate().filter(|(_, mode)| **mode != "Bridge") {
            let name = format!("net{i}");
            if !state.networks.contains_key(&name) {
                continue;
            }
            let mut update = |section, edit, xml: String, side| {
                state.perform(&Op::NetworkUpdate { name: name.clone(), section, edit, xml, parent_index: 0, side })
            };
            let theirs = format!("<host ip='198.18.{i}.77'><hostname>byhand</hostname></host>");
            update(Section::DnsHost, Edit::Add, theirs, Side::Both).unwrap();
            for n in &look.hosts {
                drop(update(Section::DhcpHost, Edit::Delete, format!("<host mac='52:54:00:00:{i:02x}:{n:02x}'/>"), side));
            }
            for n in &look.names {
                drop(update(Section::DnsHost, Edit::Delete, format!("<host ip='198.18.{i}.{}'/>", 240 + n), side));
            }
            if side != Side::Both {
                let end = if look.wide { 200 } else { 150 };
                let range = format!("<range start='198.18.{i}.100' end='198.18.{i}.{end}'/>");
                drop(update(Section::DhcpRange, Edit::Delete, range, side));
            }
        }
    });
}

/// What runs on a node: each domain's id, which a restart would change.
fn running(state: &State) -> BTreeMap<String, Option<String>> {
    let id = |live: &String| live.split(" id='").nth(1).and_then(|rest| rest.split('\'').next()).map(str::to_owned);
    state.domains.iter().map(|(name, domain)| (name.clone(), domain.live.as_ref().and_then(id))).collect()
}

/// Every network has what was entered by hand in both documents, and everybody who runs on one is plugged in.
fn sound(bench: &Bench, scene: &Scene) -> Result<(), TestCaseError> {
    for host in bench.hosts.values() {
        let state = NodeState::read(host.with(|state| state.read(&Scope::Everything)));
        for (i, _) in scene.networks.iter().enumerate().filter(|(_, mode)| **mode != "Bridge") {
            let name = format!("net{i}");
            let Some(network) = host.state().networks.get(&name).cloned() else { continue };
            let live = network.live.unwrap_or_default();
            prop_assert!(network.inactive.contains("byhand") && live.contains("byhand"), "{}\n{}", network.inactive, live);
            let left = unplugged(&state, &name, false);
            prop_assert!(left.is_empty(), "{:#?}", left);
            prop_assert!(state.networks[&name].pending.is_empty(), "{:?}", state.networks[&name].pending);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn networks_become_what_is_wanted_and_their_guests_run_on(
        scene in scenes(),
        before in looks(),
        after in looks(),
        side in prop_oneof![Just(Side::Both), Just(Side::Live), Just(Side::Definition)],
        step in 1_u32..24,
        trouble in prop_oneof![
            Just(Trouble::Fails), Just(Trouble::NoAnswer), Just(Trouble::Lost), Just(Trouble::Transient),
            Just(Trouble::DiesBefore), Just(Trouble::DiesAfter), Just(Trouble::Unreachable),
        ],
    ) {
        let make = || Bench::of(&scene, &documents(&scene, &before));
        let (mut clean, mut bench) = (make()?, make()?);
        let wanted = Bench::of(&scene, &documents(&scene, &after))?;
        block_on(async {
            for bench in [&mut clean, &mut bench] {
                bench.apply().await?;
                for host in bench.hosts.values() {
                    meddle(host, &scene, &before, side);
                }
                bench.desired.clone_from(&wanted.desired);
                bench.text.clone_from(&wanted.text);
                bench.consents.allow_disconnect =
                    bench.desired.objects.keys().filter(|object| object.kind == Kind::Network).cloned().collect();
            }
            let ran: Vec<_> = bench.hosts.values().map(|host| running(&host.state())).collect();
            clean.apply().await?;
            sound(&clean, &scene)?;
            bench.trouble(step, trouble);
            bench.troubled().await;
            bench.heal();
            bench.apply().await?;
            let plan = bench.plan().await;
            prop_assert!(plan.is_empty() && plan.refusals.is_empty(), "{:#?}", plan);
            prop_assert_eq!(difference(&ends(&clean), &ends(&bench)), "", "{:?} at step {} of\n{}", trouble, step, bench.text);
            sound(&bench, &scene)?;
            let run: Vec<_> = bench.hosts.values().map(|host| running(&host.state())).collect();
            prop_assert_eq!(ran, run);
            Ok(())
        })?;
    }

    #[test]
    fn a_network_with_guests_is_not_restarted_without_its_word(scene in scenes(), before in looks(), after in looks()) {
        let mut bench = Bench::of(&scene, &documents(&scene, &before))?;
        let wanted = Bench::of(&scene, &documents(&scene, &after))?;
        block_on(async {
            bench.apply().await?;
            bench.desired.clone_from(&wanted.desired);
            let plan = bench.plan().await;
            let refused: Vec<_> = plan.refusals.iter().map(|refusal| refusal.object.clone()).collect();
            for action in &plan.actions {
                if matches!(action.op, Op::NetworkStop { .. }) {
                    prop_assert!(!refused.contains(&action.object));
                    let node = action.node.as_ref().unwrap();
                    let state = NodeState::read(bench.hosts[node].with(|state| state.read(&Scope::Everything)));
                    let Op::NetworkStop { name } = &action.op else { continue };
                    prop_assert_eq!(jvp::plan::running_guests(&state, name), std::collections::BTreeSet::new());
                }
            }
            Ok(())
        })?;
    }
}

/// A scene of one NAT network.
fn one_network() -> Scene {
    Scene { nodes: 1, pools: 1, networks: vec!["NAT"], templates: Vec::new(), machines: Vec::new() }
}

#[test]
fn what_moved_between_plan_and_call_is_a_conflict_where_it_is_managed_and_kept_where_it_is_not() {
    let scene = one_network();
    let plain = Look { mtu: Some(1400), domain: true, wide: true, hosts: Vec::new(), names: Vec::new(), forwarder: false };
    let other = Look { mtu: Some(1300), ..plain.clone() };
    let change = |host: &FakeHost, from: &str, to: &str| {
        host.with(|state| {
            let text = state.networks["net0"].inactive.replace(from, to);
            state.perform(&Op::NetworkDefine { name: "net0".into(), xml: text }).unwrap();
        });
    };
    block_on(async {
        let mut bench = Bench::of(&scene, &documents(&scene, &plain)).unwrap();
        bench.apply().await.unwrap();
        bench.desired = Bench::of(&scene, &documents(&scene, &other)).unwrap().desired;
        let host = bench.hosts.values().next().unwrap().clone();
        let plan = bench.plan().await;
        // Another field that is managed: nothing is written over it, and nothing is stopped.
        change(&host, "lab.test", "theirs.test");
        let rounds = bench.round(&plan).await;
        let kinds: Vec<_> = rounds.failures().iter().map(|(action, failure)| (action.op.word(), failure.kind)).collect();
        assert_eq!(kinds, [("network-patch", jvp::apply::FailureKind::Conflict)], "{:?}", rounds.failures());
        let state = host.state();
        assert!(state.networks["net0"].inactive.contains("theirs.test") && state.networks["net0"].live.is_some());
        change(&host, "theirs.test", "lab.test");
        // One that isn't is kept.
        let plan = bench.plan().await;
        meddle(&host, &scene, &plain, Side::Both);
        let rounds = bench.round(&plan).await;
        assert!(rounds.failures().is_empty(), "{:?}", rounds.failures());
        let network = host.state().networks["net0"].clone();
        for text in [&network.inactive, network.live.as_ref().unwrap()] {
            assert!(text.contains("byhand") && text.contains("<mtu size='1300'/>"), "{text}");
        }
        assert!(bench.plan().await.is_empty());
    });
}

#[test]
fn a_guest_that_came_since_the_plan_is_not_cut_off() {
    let scene = one_network();
    let plain = Look { mtu: Some(1400), domain: false, wide: true, hosts: Vec::new(), names: Vec::new(), forwarder: false };
    let other = Look { mtu: Some(1300), ..plain.clone() };
    block_on(async {
        let mut bench = Bench::of(&scene, &documents(&scene, &plain)).unwrap();
        bench.apply().await.unwrap();
        bench.desired = Bench::of(&scene, &documents(&scene, &other)).unwrap().desired;
        let host = bench.hosts.values().next().unwrap().clone();
        let plan = bench.plan().await;
        assert!(plan.refusals.is_empty(), "nobody hangs on it yet");
        let uuid = uuid::Uuid::from_u128(0x7e17);
        let xml = format!(
            "<domain type='qemu'><name>late</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os><devices><interface type='network'>\
             <mac address='52:54:00:00:00:99'/><source network='net0'/><model type='virtio'/></interface></devices></domain>"
        );
        host.with(|state| {
            state.perform(&Op::DomainDefine { name: "late".into(), uuid, xml: xml.into(), validate: false }).unwrap();
            state.perform(&Op::DomainStart { name: "late".into(), uuid }).unwrap();
        });
        let rounds = bench.round(&plan).await;
        let kinds: Vec<_> = rounds.failures().iter().map(|(action, failure)| (action.op.word(), failure.kind)).collect();
        assert_eq!(kinds, [("network-stop", jvp::apply::FailureKind::Conflict)], "{:?}", rounds.failures());
        assert_eq!(host.state().networks["net0"].ports.len(), 1);
        // Now that it is known, it is asked for by name, and plugged in again.
        let mut policy = bench.policy();
        let plan = bench.plan_with(&policy).await;
        assert!(plan.notes.iter().any(|note| note.condition == "RestartRequired" && note.message.contains("late")), "{plan:#?}");
        policy.consents.allow_disconnect = bench.desired.objects.keys().filter(|o| o.kind == Kind::Network).cloned().collect();
        bench.consents = policy.consents.clone();
        bench.apply().await.unwrap();
        assert_eq!(host.state().networks["net0"].ports.len(), 1);
        assert!(bench.plan().await.is_empty());
        // Left behind by a restart by hand, it is plugged in also where the network has to be restarted once more.
        bench.consents = Consents::default();
        bench.desired = Bench::of(&scene, &documents(&scene, &plain)).unwrap().desired;
        host.with(|state| {
            state.perform(&Op::NetworkStop { name: "net0".into() }).unwrap();
            state.perform(&Op::NetworkStart { name: "net0".into() }).unwrap();
        });
        assert!(host.state().networks["net0"].ports.is_empty());
        bench.apply().await.unwrap();
        let network = host.state().networks["net0"].clone();
        assert!(network.live.is_some_and(|live| live.contains("<mtu size='1400'/>")));
        assert_eq!(network.ports.len(), 1);
        assert!(bench.plan().await.is_empty());
    });
}

#[test]
fn a_restart_that_broke_off_also_plugs_in_again_who_hangs_on_the_bridge_itself() {
    let scene = one_network();
    let plain = Look { mtu: Some(1400), domain: false, wide: true, hosts: Vec::new(), names: Vec::new(), forwarder: false };
    let other = Look { mtu: Some(1300), ..plain.clone() };
    block_on(async {
        let mut bench = Bench::of(&scene, &documents(&scene, &plain)).unwrap();
        bench.apply().await.unwrap();
        let host = bench.hosts.values().next().unwrap().clone();
        let bridge =
            NodeState::read(host.with(|state| state.read(&Scope::Everything))).networks["net0"].doc.bridge.clone().unwrap();
        let uuid = uuid::Uuid::from_u128(0x7e17);
        let xml = format!(
            "<domain type='qemu'><name>direct</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os><devices><interface type='bridge'>\
             <mac address='52:54:00:00:00:99'/><source bridge='{bridge}'/><model type='virtio'/></interface></devices></domain>"
        );
        host.with(|state| {
            state.perform(&Op::DomainDefine { name: "direct".into(), uuid, xml: xml.into(), validate: false }).unwrap();
            state.perform(&Op::DomainStart { name: "direct".into(), uuid }).unwrap();
        });
        bench.consents.allow_disconnect = bench.desired.objects.keys().filter(|o| o.kind == Kind::Network).cloned().collect();
        // Defined, stopped, started: each may be the last that is done.
        for (step, look) in [(2, &other), (3, &plain)] {
            bench.desired = Bench::of(&scene, &documents(&scene, look)).unwrap().desired;
            bench.trouble(step, Trouble::DiesAfter);
            bench.troubled().await;
            bench.heal();
            let plan = bench.plan().await;
            let replugs = plan.actions.iter().any(|action| matches!(action.op, Op::NetworkReplug { direct: true, .. }));
            assert!(replugs, "{:#?}", plan.changes);
            bench.apply().await.unwrap();
            assert!(bench.plan().await.is_empty());
        }
    });
}

/// A mark that was not written, of which nobody said so, is missed where the ledger is lost.
#[test]
fn a_mark_that_nobody_knows_to_be_written_is_looked_for() {
    let scene = one_network();
    let plain = Look { mtu: None, domain: false, wide: true, hosts: Vec::new(), names: Vec::new(), forwarder: false };
    block_on(async {
        let mut bench = Bench::of(&scene, &documents(&scene, &plain)).unwrap();
        bench.apply().await.unwrap();
        let more = Look { names: vec![1], ..plain };
        bench.desired = Bench::of(&scene, &documents(&scene, &more)).unwrap().desired;
        let plan = bench.plan().await;
        assert_eq!(plan.actions.first().map(|action| action.op.word()), Some("network-patch"), "{:#?}", plan.changes);
        let host = bench.hosts.values().next().unwrap().clone();
        host.inject(When::Nth(1), How::Lost);
        let rounds = bench.round(&plan).await;
        assert_eq!(rounds.failures().len(), 1, "{:?}", rounds.failures());
    });
}

#[test]
fn what_a_patch_is_made_of_is_read_once() {
    let scene = one_network();
    let plain = Look { mtu: Some(1400), domain: false, wide: true, hosts: Vec::new(), names: Vec::new(), forwarder: false };
    block_on(async {
        let mut bench = Bench::of(&scene, &documents(&scene, &plain)).unwrap();
        bench.apply().await.unwrap();
        let mut other = documents(&scene, &Look { mtu: Some(1300), ..plain.clone() });
        for (_, text) in &mut other {
            *text = text.replace("/srv/p0", "/srv/other");
        }
        bench.desired = Bench::of(&scene, &other).unwrap().desired;
        let host = bench.hosts.values().next().unwrap().clone();
        let plan = bench.plan().await;
        for word in ["network-define", "pool-define"] {
            let patch = plan.actions.iter().find(|action| match action.op {
                Op::NetworkPatch { .. } => word == "network-define",
                Op::PoolRetarget { .. } => word == "pool-define",
                _ => false,
            });
            let mut alone = patch.unwrap_or_else(|| panic!("{word}: {:#?}", plan.changes)).clone();
            (alone.id, alone.needs) = (jvp::plan::ActionId(0), std::collections::BTreeSet::new());
            let only = jvp::plan::Plan { actions: vec![alone], ..jvp::plan::Plan::default() };
            host.forget_calls();
            let rounds = bench.round(&only).await;
            assert!(rounds.failures().is_empty(), "{:?}", rounds.failures());
            let words: Vec<_> = host.calls().into_iter().map(|call| call.word).collect();
            // The first read is the plan's, the second tells what is there right before the call, the third what it came to.
            assert_eq!(words, ["read", "read", word, "read"]);
        }
    });
}
