//! Each call of a run in its turn: it fails before its effect, or after it without an answer, or is done and can't be looked at. Whatever the run was for (to make, to
//! change, to take down), the next one ends as a clean run does, and what is somebody else's stays as it is.

use std::collections::BTreeSet;

use jvp::name::Kind;
use jvp::plan::Op;

use crate::bench::{Bench, Trouble, block_on};
use crate::scene::{Begin, Disk, Machine, Scene};
use crate::{difference, ends};

/// Two nodes with every kind of volume, firmware, strategy and network.
fn scene() -> Scene {
    let machine = |node, strategy, uefi, disks| Machine {
        node,
        strategy,
        uefi,
        seed: uefi,
        disks,
        interfaces: vec![(0, true), (1, false)],
    };
    let claim = |begin, raw| Disk::Claim { begin, pool: 0, raw };
    Scene {
        nodes: 2,
        pools: 2,
        networks: vec!["NAT", "Isolated"],
        templates: vec![false],
        machines: vec![
            machine(0, "Always", true, vec![claim(Begin::Linked(0), false), Disk::OnVolume { full: true, pool: 1 }]),
            machine(1, "Manual", false, vec![claim(Begin::Full(0), false), claim(Begin::Blank, true)]),
        ],
    }
}

/// A pool, a network and a running VM, with these in their places.
fn running(vm: &str, network: &str, capacity: &str) -> Vec<(String, String)> {
    let scene = Scene { nodes: 1, pools: 1, networks: Vec::new(), templates: Vec::new(), machines: Vec::new() };
    let mut all = scene.documents();
    let mut put = |kind: &str, name: &str, spec: &str| {
        let text = format!("apiVersion: jvp.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n");
        all.push((format!("{kind}-{name}.yaml"), text));
    };
    let ips = "mode: NAT, ips: [{address: 198.18.0.1/24, dhcp: {ranges: [{start: 198.18.0.100, end: 198.18.0.200}]";
    put("Network", "net0", &format!("{ips}{network}"));
    put("Network", "net1", "mode: Isolated, ips: [{address: 198.18.1.1/24}]");
    put("Volume", "data", &format!("pool: p0, capacity: {capacity}"));
    put("Volume", "more", "pool: p0, capacity: 8Mi");
    put("VirtualMachine", "vm", vm);
    all
}

/// A bench on which `first` is done, and whose next run is to do `then`.
async fn set_out(first: &dyn Fn() -> Bench, then: Option<&dyn Fn() -> Bench>, delete: bool) -> Bench {
    let mut bench = first();
    bench.put_foreign(false);
    let allowed = bench.desired.objects.keys().filter(|object| object.kind == Kind::Network).cloned().collect();
    bench.consents.allow_disconnect = allowed;
    if then.is_some() || delete {
        bench.apply().await.unwrap();
    }
    if let Some(then) = then {
        bench.desired = then().desired;
    }
    if delete {
        bench.delete(true);
    }
    bench
}

/// Has each call of the run go wrong; how many there were.
fn each(first: &dyn Fn() -> Bench, then: Option<&dyn Fn() -> Bench>, delete: bool) -> u32 {
    block_on(async {
        let clean = set_out(first, then, delete).await;
        clean.apply().await.unwrap();
        let foreign = clean.foreign();
        // What is lost without a word is tried at each kind of call.
        let mut lost = BTreeSet::new();
        for step in 1.. {
            let mut what = "";
            for trouble in [Trouble::Fails, Trouble::NoAnswer, Trouble::Unread, Trouble::Lost, Trouble::Half] {
                if (trouble == Trouble::Half && what != "domain-metadata") || (trouble == Trouble::Lost && !lost.insert(what)) {
                    continue;
                }
                let bench = set_out(first, then, delete).await;
                bench.trouble(step, trouble);
                bench.troubled().await;
                if !bench.met() {
                    return step - 1;
                }
                what = bench.met_at();
                bench.heal();
                bench.apply().await.unwrap();
                let what = format!("{trouble:?} at call {step}, {what}");
                assert_eq!(difference(&ends(&clean), &ends(&bench)), "", "{what}");
                let plan = bench.plan().await;
                assert!(plan.is_empty() && plan.refusals.is_empty(), "{what}: {plan:#?}");
                assert!(bench.ledger().open_intents().is_empty(), "{what}: {:#?}", bench.ledger().open_intents());
                assert_eq!(clean.entries(), bench.entries(), "{what}");
                assert_eq!(foreign, bench.foreign(), "{what}");
            }
        }
        0
    })
}

#[test]
fn each_call_of_a_creation_fails_before_and_after_its_effect_and_the_next_run_ends_as_a_clean_one() {
    let calls = each(&|| Bench::new(&scene()).unwrap(), None, false);
    assert!(calls >= 30, "{calls} calls");
}

#[test]
fn each_call_of_a_delete_fails_before_and_after_its_effect_and_the_next_run_ends_as_a_clean_one() {
    let calls = each(&|| Bench::new(&scene()).unwrap(), None, true);
    assert!(calls >= 15, "{calls} calls");
}

#[test]
fn each_call_of_a_change_fails_before_and_after_its_effect_and_the_next_run_ends_as_a_clean_one() {
    let of = |documents: Vec<(String, String)>| {
        Bench::of(&Scene { nodes: 1, pools: 1, networks: Vec::new(), templates: Vec::new(), machines: Vec::new() }, &documents)
            .unwrap()
    };
    let vm = |rest: &str| {
        format!(
            "memory: 64Mi, maxMemory: 128Mi, cpu: {{count: 1, max: 2}}, interfaces: [{{name: eth0, network: net0, ip: 198.18.0.7}}{rest}"
        )
    };
    // Plugged in: a disk and an interface; grown: a volume; changed: memory, a vCPU, a title, entries of the network, and what needs its
    // restart.
    let first = || {
        of(running(&vm("], disks: [{name: data, volume: data}]"), "}}], dns: {hosts: [{ip: 198.18.0.5, names: [one]}]}", "8Mi"))
    };
    let then = || {
        let vm =
            vm(", {name: eth1, network: net1}], disks: [{name: data, volume: data}, {name: more, volume: more}], title: New")
                .replace("memory: 64Mi", "memory: 96Mi")
                .replace("count: 1", "count: 2");
        let network = ", hosts: [{mac: \"52:54:00:00:00:09\", ip: 198.18.0.9}]}}], dns: {hosts: [{ip: 198.18.0.6, names: [two]}]}, mtu: 1400";
        of(running(&vm, network, "16Mi"))
    };
    let calls = each(&first, Some(&then), false);
    assert!(calls >= 10, "{calls} calls");
    // And all of it back.
    let back = each(&then, Some(&|| of(running(&vm("], disks: [{name: data, volume: data}]"), "}}]", "16Mi"))), false);
    assert!(back >= 8, "{back} calls");
}

#[test]
fn a_mark_that_a_call_left_behind_what_was_done_is_brought_up_by_the_next_run() {
    let of = |vm: &str| {
        let vm = format!("memory: 64Mi, {vm}");
        let scene = Scene { nodes: 1, pools: 1, networks: Vec::new(), templates: Vec::new(), machines: Vec::new() };
        Bench::of(&scene, &running(&vm, "}}]", "8Mi")).unwrap()
    };
    let disks = |more: &str| format!("disks: [{{name: data, volume: data}}{more}]");
    let plugged = |more: &str| format!("interfaces: [{{name: eth0, network: net0{more}}}]");
    // All that the last call brings is the mark, or half of it is.
    for (one, other, least) in [
        (disks(""), disks(", {name: more, volume: more}"), 2),
        (disks(""), disks("") + ", title: New", 1),
        (plugged(""), plugged(", ip: 198.18.0.7"), 2),
        (plugged(", ip: 198.18.0.8"), plugged(", ip: 198.18.0.7"), 3),
        (disks("") + ", autostart: true", disks("") + ", autostart: false", 1),
    ] {
        for (first, then) in [(&one, &other), (&other, &one)] {
            let calls = each(&|| of(first), Some(&|| of(then)), false);
            assert!(calls >= least, "{calls} calls from {first} to {then}");
        }
    }
}

#[test]
fn a_mark_alone_is_a_change_that_says_so_and_touches_nothing_else() {
    let of = |title: &str| {
        let scene = Scene { nodes: 1, pools: 1, networks: Vec::new(), templates: Vec::new(), machines: Vec::new() };
        Bench::of(&scene, &running(&format!("memory: 64Mi{title}"), "}}]", "8Mi")).unwrap()
    };
    block_on(async {
        let mut bench = of("");
        bench.apply().await.unwrap();
        bench.desired = of(", title: New").desired;
        bench.trouble(1, Trouble::Half);
        bench.troubled().await;
        bench.heal();
        let plan = bench.plan().await;
        let [action] = plan.actions.as_slice() else { panic!("{:#?}", plan.actions) };
        let Op::DomainMetadata { title: None, description: None, mark: Some(_), .. } = &action.op else { panic!("{action:#?}") };
        let said = "~ VirtualMachine/vm will be updated on n0\n    # a run broke off before its mark told what was done\n\nPlan: 1 to change.\n";
        assert_eq!(jvp::plan::render(&plan, false), said);
        bench.apply().await.unwrap();
        assert!(bench.plan().await.is_empty());
    });
}

/// Whoever has nothing but the marks knows who keeps which address.
#[test]
fn an_address_that_was_changed_alone_is_taken_back_also_where_the_ledger_was_lost() {
    let of = |ip: &str| {
        let scene = Scene { nodes: 1, pools: 1, networks: Vec::new(), templates: Vec::new(), machines: Vec::new() };
        let mut all = running(&format!("memory: 64Mi, interfaces: [{{name: eth0, network: net0{ip}}}]"), "}}]", "8Mi");
        // Nothing but the ledger tells of a volume that is no VM's.
        all.retain(|(file, _)| !file.starts_with("Volume"));
        Bench::of(&scene, &all).unwrap()
    };
    block_on(async {
        for delete in [false, true] {
            let mut bench = of("");
            bench.apply().await.unwrap();
            bench.desired = of(", ip: 198.18.0.7").desired;
            bench.apply().await.unwrap();
            bench.lose_ledger();
            if delete {
                let vm = "VirtualMachine/vm".parse().unwrap();
                bench.mode = jvp::plan::Mode::Delete { objects: [vm].into(), with_data: false };
            } else {
                bench.desired = of("").desired;
            }
            bench.apply().await.unwrap();
            let state = bench.hosts.values().next().unwrap().state();
            let left = state.networks.values().filter(|network| network.inactive.contains("198.18.0.7")).count();
            assert_eq!(left, 0, "delete: {delete}");
        }
    });
}
