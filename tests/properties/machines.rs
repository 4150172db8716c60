//! VMs that change, on fake nodes: what somebody does between plan and call, and what a saved state keeps.

use std::collections::BTreeSet;

use jvp::host::fake::FakeHost;
use jvp::plan::Op;

use crate::bench::{Bench, block_on};
use crate::scene::Scene;

fn scene() -> Scene {
    Scene { nodes: 1, pools: 1, networks: vec!["NAT"], templates: Vec::new(), machines: Vec::new() }
}

/// The documents of the scene, and a VM with these fields.
fn documents(spec: &str) -> Vec<(String, String)> {
    let mut all = scene().documents();
    let text = format!("apiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: vm}}\nspec: {{{spec}}}\n");
    all.push(("VirtualMachine-vm.yaml".into(), text));
    all
}

fn bench(spec: &str) -> Bench {
    Bench::of(&scene(), &documents(spec)).unwrap()
}

/// Defines the domain as a hand would.
fn by_hand(host: &FakeHost, from: &str, to: &str) {
    host.with(|state| {
        let domain = &state.domains["vm"];
        assert!(domain.inactive.contains(from), "{}", domain.inactive);
        let (uuid, xml) = (domain.uuid, domain.inactive.replace(from, to));
        state.perform(&Op::DomainDefine { name: "vm".into(), uuid, xml, validate: false }).unwrap();
    });
}

#[test]
fn a_field_that_somebody_changed_since_the_plan_is_a_conflict_and_what_is_not_ours_is_kept() {
    block_on(async {
        let mut bench = self::bench("memory: 64Mi, runStrategy: Halted, cpu: {count: 1}");
        bench.apply().await.unwrap();
        bench.desired = self::bench("memory: 96Mi, runStrategy: Halted, cpu: {count: 1}").desired;
        let host = bench.hosts.values().next().unwrap().clone();
        let plan = bench.plan().await;
        // The very field that is to change.
        by_hand(&host, "<memory unit='KiB'>65536</memory>", "<memory unit='KiB'>81920</memory>");
        let rounds = bench.round(&plan).await;
        let kinds: Vec<_> = rounds.failures().iter().map(|(action, failure)| (action.op.word(), failure.kind)).collect();
        assert_eq!(kinds, [("domain-redefine", jvp::apply::FailureKind::Conflict)], "{:?}", rounds.failures());
        assert!(host.state().domains["vm"].inactive.contains(">81920<"));
        // What the manifest doesn't speak of stays as it is at the call, not as it was at the plan.
        let plan = bench.plan().await;
        by_hand(&host, "<on_reboot>restart</on_reboot>", "<on_reboot>destroy</on_reboot>");
        let rounds = bench.round(&plan).await;
        assert!(rounds.failures().is_empty(), "{:?}", rounds.failures());
        let text = host.state().domains["vm"].inactive.clone();
        assert!(text.contains("<memory unit='KiB'>98304</memory>") && text.contains("<on_reboot>destroy</on_reboot>"), "{text}");
        assert!(bench.plan().await.is_empty());
    });
}

#[test]
fn a_vm_that_changes_in_place_costs_one_look_at_the_node_and_leaves_nothing_to_record() {
    block_on(async {
        for (strategy, change) in [
            ("Halted", "memory: 96Mi"),
            ("Always", "memory: 64Mi, title: One line"),
            ("Always", "memory: 96Mi, disks: [{name: root, claim: {pool: p0, capacity: 16Mi}, limits: {iops: 5}}]"),
        ] {
            let disk = "disks: [{name: root, claim: {pool: p0, capacity: 16Mi}}]";
            let of = |spec: &str| format!("{spec}, runStrategy: {strategy}");
            let mut bench = self::bench(&of(&format!("memory: 64Mi, {disk}")));
            bench.apply().await.unwrap();
            let change = if change.contains("disks") { change.to_owned() } else { format!("{change}, {disk}") };
            bench.desired = self::bench(&of(&change)).desired;
            let before = bench.full_reads();
            let seen = bench.plan().await;
            assert!(!seen.is_empty());
            bench.apply().await.unwrap();
            // The one is this test's own.
            assert_eq!(bench.full_reads() - before, 2, "{change}");
            let plan = bench.plan().await;
            assert!(plan.is_empty() && plan.settled.is_empty(), "{change}: {:?}", plan.settled);
        }
    });
}

#[test]
fn a_saved_state_is_kept_until_its_word_is_given_and_starts_with_the_old_definition() {
    block_on(async {
        let mut bench = self::bench("memory: 64Mi, runStrategy: Manual");
        bench.apply().await.unwrap();
        let host = bench.hosts.values().next().unwrap().clone();
        host.with(|state| {
            let domain = state.domains.get_mut("vm").unwrap();
            domain.managed_save = Some(domain.inactive.clone());
        });
        bench.desired = self::bench("memory: 96Mi, runStrategy: Manual").desired;
        let plan = bench.plan().await;
        assert!(plan.notes.iter().any(|note| note.condition == "SavedState"), "{:?}", plan.notes);
        bench.apply().await.unwrap();
        assert!(host.state().domains["vm"].managed_save.is_some());
        bench.consents.discard_saved_state = BTreeSet::from(["VirtualMachine/vm".parse().unwrap()]);
        let plan = bench.plan().await;
        assert!(plan.changes.iter().any(|change| change.data == jvp::plan::Data::Lost), "{:?}", plan.changes);
        bench.apply().await.unwrap();
        assert!(host.state().domains["vm"].managed_save.is_none());
        assert!(bench.plan().await.is_empty());
    });
}

#[test]
fn a_disk_on_an_overlay_stays_there_whatever_else_of_it_changes() {
    block_on(async {
        let disk = |order: u8| {
            format!(
                "memory: 64Mi, runStrategy: Halted, disks: [{{name: root, bootOrder: {order}, claim: {{pool: p0, capacity: 8Mi}}}}]"
            )
        };
        let mut bench = self::bench(&disk(1));
        bench.apply().await.unwrap();
        let host = bench.hosts.values().next().unwrap().clone();
        // As an external snapshot leaves it, in a place that no pool shows.
        let base = "<source file='/srv/p0/vm.root.qcow2'/>";
        let overlay = "<source file='/elsewhere/vm.snap'/><backingStore type='file'><format type='qcow2'/><source file='/srv/p0/vm.root.qcow2'/></backingStore>";
        by_hand(&host, base, overlay);
        let plan = bench.plan().await;
        assert!(plan.is_empty() && plan.notes.iter().any(|note| note.condition == "BehindSnapshot"), "{:?}", plan.notes);
        bench.desired = self::bench(&disk(2)).desired;
        bench.apply().await.unwrap();
        let text = host.state().domains["vm"].inactive.clone();
        assert!(text.contains("<source file='/elsewhere/vm.snap'/>") && text.contains("<boot order='2'/>"), "{text}");
        assert!(bench.plan().await.is_empty());
    });
}

#[test]
fn a_guest_that_shut_itself_down_stays_off_when_libvirt_forgot_why() {
    use jvp::manifest::OnTimeout;
    use jvp::observe::OffReason;
    block_on(async {
        let bench = self::bench("memory: 64Mi, runStrategy: RerunOnFailure");
        bench.apply().await.unwrap();
        let host = bench.hosts.values().next().unwrap().clone();
        host.with(|state| {
            let uuid = state.domains["vm"].uuid;
            state.domain_shutdown(uuid, 1, OnTimeout::Report).unwrap();
        });
        // It is looked at while libvirt still knows.
        bench.apply().await.unwrap();
        host.with(|state| state.domains.get_mut("vm").unwrap().off_reason = OffReason::Unknown);
        assert!(bench.plan().await.is_empty());
        // A failure is another thing.
        host.with(|state| state.domains.get_mut("vm").unwrap().off_reason = OffReason::Crashed);
        assert!(!bench.plan().await.is_empty());
    });
}
