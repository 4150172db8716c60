//! VMs that change, on fake nodes: what somebody does between plan and call, and what a saved state keeps.

use std::collections::{BTreeMap, BTreeSet};

use jvp::host::fake::FakeHost;
use jvp::name::Kind;
use jvp::observe::{NodeState, Scope};
use jvp::plan::Op;

use crate::bench::{Bench, Trouble, block_on};
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
        state.perform(&Op::DomainDefine { name: "vm".into(), uuid, xml: xml.into(), validate: false }).unwrap();
    });
}

#[test]
fn a_maximum_that_is_written_stays_where_what_is_comes_down_from_it() {
    block_on(async {
        let spec = |count: u32, memory: &str| {
            bench(&format!("memory: {memory}, maxMemory: 96Mi, runStrategy: Halted, cpu: {{count: {count}, max: 2}}"))
        };
        let mut bench = spec(2, "96Mi");
        bench.apply().await.unwrap();
        bench.desired = spec(1, "64Mi").desired;
        bench.apply().await.unwrap();
        assert!(bench.plan().await.is_empty(), "{:#?}", bench.plan().await.changes);
        let text = bench.hosts.values().next().unwrap().state().domains["vm"].inactive.clone();
        assert!(text.contains("<memory unit='KiB'>98304</memory>") && text.contains("current='1'>2</vcpu>"), "{text}");
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
fn what_a_hand_does_to_a_fragment_right_after_its_apply_is_seen_and_healed() {
    block_on(async {
        let of = |bytes: u32| {
            bench(&format!(
                "memory: 64Mi, runStrategy: Halted, xml: \"<domain><devices><rng model='virtio'><rate bytes='{bytes}'/>\
                 <backend model='random'>/dev/random</backend><alias name='ua-rng'/></rng></devices></domain>\""
            ))
        };
        let mut bench = of(1234);
        bench.apply().await.unwrap();
        let host = bench.hosts.values().next().unwrap().clone();
        for bytes in [1234, 4321] {
            bench.desired = of(bytes).desired;
            if bytes != 1234 {
                bench.apply().await.unwrap();
            }
            assert!(bench.plan().await.is_empty());
            by_hand(&host, &format!("<rate bytes='{bytes}'"), "<rate bytes='99'");
            assert!(!bench.plan().await.is_empty(), "{bytes}: nobody saw it");
            bench.apply().await.unwrap();
            assert!(host.state().domains["vm"].inactive.contains(&format!("bytes='{bytes}'")));
            assert!(bench.plan().await.is_empty());
        }
    });
}

#[test]
fn a_device_that_the_fragment_did_not_bring_stays_what_it_is_when_the_fragment_goes() {
    block_on(async {
        let mut bench = self::bench(
            "memory: 64Mi, runStrategy: Halted, \
             xml: \"<domain><devices><memballoon model='virtio'><stats period='5'/></memballoon></devices></domain>\"",
        );
        bench.apply().await.unwrap();
        let host = bench.hosts.values().next().unwrap().clone();
        bench.desired = self::bench("memory: 64Mi, runStrategy: Halted").desired;
        let plan = bench.plan().await;
        let kept = "/xml/devices/memballoon/@model is in the manifest no more and stays as it is";
        assert!(plan.notes.iter().any(|note| note.condition == "Kept" && note.message == kept), "{:?}", plan.notes);
        let fields: Vec<&str> = plan.changes[0].fields.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(fields, ["/xml/devices/memballoon/stats/@period"]);
        bench.apply().await.unwrap();
        let text = host.state().domains["vm"].inactive.clone();
        assert!(text.contains("<memballoon model='virtio'>") && !text.contains("period="), "{text}");
        let plan = bench.plan().await;
        assert!(plan.is_empty() && !plan.notes.iter().any(|note| note.condition == "Kept"), "{:?}", plan.notes);
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
fn a_vm_that_is_there_and_waits_for_its_new_disk_is_told_as_one_that_changes() {
    block_on(async {
        let mut bench = self::bench("memory: 64Mi, updatePolicy: {restart: Now}");
        bench.apply().await.unwrap();
        let host = bench.hosts.values().next().unwrap().clone();
        host.with(|state| state.pool_stop("p0")).unwrap();
        let disk = "disks: [{name: sata, bus: sata, claim: {pool: p0, capacity: 8Mi}}]";
        bench.desired = self::bench(&format!("memory: 64Mi, updatePolicy: {{restart: Now}}, {disk}")).desired;
        let (seen, plan) = bench.seen().await;
        let vm = plan.deferred.iter().find(|deferred| deferred.object.kind == Kind::VirtualMachine).unwrap();
        assert_eq!(vm.expected, jvp::plan::Verb::Update);
        // A restart that wasn't told is none: the next plan tells it.
        let rounds = bench.rounds_of(seen, plan).await;
        assert_eq!(rounds.end(), jvp::apply::End::Unannounced);
        assert!(host.state().domains["vm"].power.is_some());
        let plan = bench.plan().await;
        assert!(plan.changes.iter().any(|change| change.effect == jvp::plan::Effect::Restart), "{:?}", plan.changes);
        bench.apply().await.unwrap();
        assert!(bench.plan().await.is_empty());
    });
}

#[test]
fn a_disk_that_is_given_the_place_of_another_takes_it() {
    block_on(async {
        let disks = |strategy: &str, disks: &str| {
            let claim = "claim: {pool: p0, capacity: 8Mi}";
            format!("memory: 64Mi, runStrategy: {strategy}, disks: [{}]", disks.replace("CLAIM", claim))
        };
        for strategy in ["Halted", "Always"] {
            let one = disks(strategy, "{name: one, CLAIM}");
            let mut bench = self::bench(&one);
            bench.apply().await.unwrap();
            let host = bench.hosts.values().next().unwrap().clone();
            // The first disk has the first place without a word; a new one takes it, plugged in while the guest runs.
            bench.desired = self::bench(&disks(strategy, "{name: one, CLAIM}, {name: two, CLAIM, bootOrder: 1}")).desired;
            let plan = bench.plan().await;
            let shown = plan.changes.iter().flat_map(|change| &change.fields).find(|field| field.path == "/disks/one/bootOrder");
            assert!(shown.is_some_and(|field| field.old.is_some() && field.new.is_none()), "{:?}", plan.changes);
            bench.apply().await.unwrap();
            assert!(bench.plan().await.is_empty());
            let places = |text: &str| {
                let disks = text.split("<disk ").skip(1).map(|disk| disk.split("</disk>").next().unwrap());
                disks.map(|disk| disk.contains("<boot order='1'/>")).collect::<Vec<_>>()
            };
            let domain = host.state().domains["vm"].clone();
            assert_eq!(places(&domain.inactive), [false, true], "{}", domain.inactive);
            if strategy == "Always" {
                assert_eq!(places(domain.live.as_ref().unwrap()), [true, false], "{:?}", domain.live);
            }
            // It goes, and the place with it: the first disk isn't given it again, since nobody wrote it.
            bench.desired = self::bench(&one).desired;
            bench.apply().await.unwrap();
            assert!(bench.plan().await.is_empty());
        }
    });
}

#[test]
fn a_place_that_somebody_gave_an_interface_is_not_taken_from_it() {
    block_on(async {
        let mut bench = self::bench(
            "memory: 64Mi, runStrategy: Halted, disks: [{name: one, bootOrder: 2, claim: {pool: p0, capacity: 8Mi}}]",
        );
        bench.apply().await.unwrap();
        let host = bench.hosts.values().next().unwrap().clone();
        let nic = "<interface type='user'><mac address='52:54:00:00:00:77'/><boot order='1'/></interface></devices>";
        by_hand(&host, "</devices>", nic);
        assert!(bench.plan().await.is_empty());
        bench.desired = self::bench(
            "memory: 64Mi, runStrategy: Halted, disks: [{name: one, bootOrder: 1, claim: {pool: p0, capacity: 8Mi}}]",
        )
        .desired;
        let plan = bench.plan().await;
        assert!(plan.actions.is_empty(), "{:?}", plan.actions);
        let message = &plan.refusals[0].message;
        assert_eq!(
            message,
            "/disks/one/bootOrder: the place 1 is that of /interfaces/52-54-00-00-00-77, which no field of this manifest gave it"
        );
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

/// Runs a VM that is only started by hand, and has its restart break off between stop and start.
async fn broken_restart() -> (Bench, FakeHost) {
    let mut bench = self::bench("memory: 64Mi, runStrategy: Manual");
    bench.apply().await.unwrap();
    let host = bench.hosts.values().next().unwrap().clone();
    host.with(|state| {
        let uuid = state.domains["vm"].uuid;
        state.perform(&Op::DomainStart { name: "vm".into(), uuid }).unwrap();
        state.domains.get_mut("vm").unwrap().start_fails = Some("its disk is locked".into());
    });
    bench.desired = self::bench("memory: 96Mi, runStrategy: Manual, updatePolicy: {restart: Now}").desired;
    let plan = bench.plan().await;
    let rounds = bench.round(&plan).await;
    let failed: Vec<_> = rounds.failures().iter().map(|(action, _)| action.op.word()).collect();
    assert_eq!(failed, ["domain-start"]);
    assert!(!runs(&host));
    host.with(|state| state.domains.get_mut("vm").unwrap().start_fails = None);
    (bench, host)
}

fn runs(host: &FakeHost) -> bool {
    host.state().domains["vm"].live.is_some()
}

/// Gives a word by hand, as `jvp vm` does.
async fn word(bench: &mut Bench, what: jvp::plan::PowerAct) {
    let mode = jvp::plan::Mode::Power { objects: BTreeSet::from(["VirtualMachine/vm".parse().unwrap()]), what };
    let before = std::mem::replace(&mut bench.mode, mode);
    bench.apply().await.unwrap();
    bench.mode = before;
}

#[test]
fn what_a_restart_stopped_starts_again_though_its_start_failed() {
    block_on(async {
        let (bench, host) = broken_restart().await;
        let plan = bench.plan().await;
        assert!(plan.changes.iter().any(|change| change.reason.contains("stopped to be restarted")), "{:?}", plan.changes);
        bench.apply().await.unwrap();
        assert!(runs(&host) && bench.plan().await.is_empty());
        // That restart is done: what is stopped by hand from now on stays off.
        host.with(|state| state.domain_shutdown(state.domains["vm"].uuid, 1, jvp::manifest::OnTimeout::Report).unwrap());
        assert!(bench.plan().await.is_empty());
    });
}

#[test]
fn a_word_by_hand_ends_a_restart_that_broke_off() {
    block_on(async {
        let (mut bench, host) = broken_restart().await;
        word(&mut bench, jvp::plan::PowerAct::Stop).await;
        assert!(bench.plan().await.is_empty() && !runs(&host));
        let (mut bench, host) = broken_restart().await;
        word(&mut bench, jvp::plan::PowerAct::Start).await;
        assert!(runs(&host));
        word(&mut bench, jvp::plan::PowerAct::Stop).await;
        assert!(bench.plan().await.is_empty() && !runs(&host));
        // Somebody starts it without jvp, and stops it once an apply has seen that.
        let (bench, host) = broken_restart().await;
        let uuid = host.state().domains["vm"].uuid;
        host.with(|state| state.perform(&Op::DomainStart { name: "vm".into(), uuid }).unwrap());
        bench.apply().await.unwrap();
        host.with(|state| state.domain_shutdown(uuid, 1, jvp::manifest::OnTimeout::Report).unwrap());
        assert!(bench.plan().await.is_empty() && !runs(&host));
    });
}

#[test]
fn a_stop_that_fails_leaves_no_restart_behind() {
    use jvp::host::fake::{How, When};
    block_on(async {
        let mut bench = self::bench("memory: 64Mi, runStrategy: Once");
        bench.apply().await.unwrap();
        let host = bench.hosts.values().next().unwrap().clone();
        bench.desired = self::bench("memory: 96Mi, runStrategy: Once, updatePolicy: {restart: Now}").desired;
        host.inject(When::Op("domain-shutdown".into()), How::failed("it can't be asked"));
        let plan = bench.plan().await;
        assert_eq!(bench.round(&plan).await.failures().len(), 1);
        assert!(runs(&host));
        // Somebody stops it: that is no restart of jvp's.
        host.with(|state| state.domain_shutdown(state.domains["vm"].uuid, 1, jvp::manifest::OnTimeout::Report).unwrap());
        assert!(bench.plan().await.is_empty());
    });
}

/// What manifests can say of the domains and networks of a node, as they are defined and as they run.
fn said(host: &FakeHost) -> BTreeMap<String, String> {
    let state = NodeState::read(host.with(|state| state.read(&Scope::Everything)));
    let domains = state.domains.iter().flat_map(|(name, domain)| {
        let leaves = |doc| format!("{:#?}", jvp::plan::domain_leaves(doc));
        let live = domain.live.as_deref().map_or_else(String::new, leaves);
        [(format!("domain {name}"), leaves(&domain.doc)), (format!("live domain {name}"), live)]
    });
    let networks = state.networks.iter().flat_map(|(name, network)| {
        let live = network.live.as_ref().map(|live| format!("{:#?}", live.spec)).unwrap_or_default();
        [(format!("network {name}"), format!("{:#?}", network.doc.spec)), (format!("live network {name}"), live)]
    });
    domains.chain(networks).collect()
}

/// Breaks the change from one set to the next off after each of its steps, and goes on to the last as if it had never been begun.
async fn broken_off(sets: [&[(String, String)]; 3]) {
    let of = |documents: &[(String, String)]| {
        let mut bench = Bench::of(&scene(), documents).unwrap();
        bench.consents.allow_disconnect = bench.desired.objects.keys().filter(|o| o.kind == Kind::Network).cloned().collect();
        bench
    };
    let [before, then, last] = sets;
    let mut clean = of(before);
    clean.apply().await.unwrap();
    clean.desired = of(last).desired;
    clean.apply().await.unwrap();
    let wanted = said(clean.hosts.values().next().unwrap());
    for step in 1.. {
        let mut bench = of(before);
        bench.apply().await.unwrap();
        bench.desired = of(then).desired;
        bench.trouble(step, Trouble::DiesAfter);
        bench.troubled().await;
        let all = bench.plan().await.is_empty();
        bench.heal();
        bench.desired = of(last).desired;
        bench.apply().await.unwrap();
        let found = said(bench.hosts.values().next().unwrap());
        for (name, text) in &wanted {
            assert_eq!(Some(text), found.get(name), "{name}, broken off after step {step}");
        }
        let plan = bench.plan().await;
        assert!(plan.is_empty(), "broken off after step {step}: {:#?}", plan.changes);
        if all {
            assert!(step > 1, "only {step} steps");
            break;
        }
    }
}

#[test]
fn what_was_begun_and_taken_back_is_left_nowhere() {
    let vm = |spec: &str, nic: &str, more: &str| {
        documents(&format!(
            "memory: 64Mi, cpu: {{count: 1}}, {spec} disks: [{{name: root, claim: {{pool: p0, capacity: 8Mi}}}}{more}], \
             interfaces: [{{name: eth0, network: net0{nic}}}]"
        ))
    };
    let plain = vm("", ", ip: 198.18.0.21", "");
    let more = vm(
        "title: Begun, description: Begun, console: {vnc: {listen: 127.0.0.1}}, \
         xml: \"<domain><devices><rng model='virtio'><backend model='random'>/dev/urandom</backend><alias name='ua-rng'/></rng></devices></domain>\",",
        ", ip: 198.18.0.22, linkState: down}, {name: eth1, network: net0, ip: 198.18.0.31",
        ", {name: more, claim: {pool: p0, capacity: 8Mi}}",
    );
    let none = vm("", "", "");
    block_on(async {
        broken_off([&plain, &more, &plain]).await;
        broken_off([&plain, &more, &none]).await;
        let seed = |name: &str| vm(&format!("cloudInit: {{hostname: {name}, onChange: NextStart}},"), "", "");
        broken_off([&seed("one"), &seed("two"), &seed("one")]).await;
        let network = |spec: &str| {
            let mut all = plain.clone();
            for (_, text) in all.iter_mut().filter(|(name, _)| name.starts_with("Network-")) {
                *text = format!(
                    "apiVersion: jvp.dev/v1alpha1\nkind: Network\nmetadata: {{name: net0}}\nspec:\n  mode: NAT\n  ips:\n  \
                     - address: 198.18.0.1/24\n    dhcp: {{ranges: [{{start: 198.18.0.100, end: 198.18.0.200}}]}}\n{spec}"
                );
            }
            all
        };
        let plain = network("");
        let entries = network("  dns: {hosts: [{ip: 198.18.0.5, names: [a.lab]}, {ip: 198.18.0.6, names: [b.lab]}]}\n");
        broken_off([&plain, &entries, &plain]).await;
        broken_off([&plain, &network("  domain: lab.test\n  mtu: 1400\n  dns: {forwarders: [1.1.1.1]}\n"), &plain]).await;
    });
}

/// Two VMs and a volume that both may have.
fn shared(first: &str, second: &str, volume: bool) -> Bench {
    let mut all = scene().documents();
    let of = |kind: &str, name: &str, more: &str, spec: &str| {
        let text = format!("apiVersion: jvp.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n{more}spec: {{{spec}}}\n");
        (format!("{kind}-{name}.yaml"), text)
    };
    if volume {
        all.push(of("Volume", "v", "lifecycle: {reclaimPolicy: Delete}\n", "pool: p0, capacity: 8Mi"));
    }
    for (name, disks) in [("a", first), ("b", second)] {
        all.push(of("VirtualMachine", name, "", &format!("memory: 64Mi, runStrategy: Halted, disks: [{disks}]")));
    }
    Bench::of(&scene(), &all).unwrap()
}

#[test]
fn what_was_deleted_is_not_brought_back_by_a_mark_and_no_later_prune_is_refused_for_it() {
    block_on(async {
        for (disk, object, declared) in
            [("{name: c, volume: v}", "Volume/v", true), ("{name: c, claim: {pool: p0, capacity: 8Mi}}", "Volume/a.c", false)]
        {
            let mut bench = shared(disk, "", declared);
            bench.apply().await.unwrap();
            bench.desired = shared("", "", declared).desired;
            bench.apply().await.unwrap();
            bench.desired = shared("", "", false).desired;
            bench.prune = true;
            let volume: jvp::name::ObjectRef = object.parse().unwrap();
            bench.consents.allow_data_loss.insert(volume.clone());
            let domain = || bench.hosts.values().next().unwrap().state().domains["a"].inactive.clone();
            // A mark goes on naming what came with its VM, so that it is not lost with the ledger.
            assert_eq!(domain().contains(&format!("name=\"{object}\"")), !declared, "{}", domain());
            bench.apply().await.unwrap();
            let (seen, plan) = bench.seen().await;
            assert!(seen.owned.entry(&volume).is_none(), "{object} is back");
            assert!(plan.is_empty() && plan.refusals.is_empty(), "{object}: {:?}", plan.refusals);
        }
    });
}

#[test]
fn whom_a_volume_came_with_is_known_without_the_ledger_whoever_else_has_it() {
    block_on(async {
        // The mark of the one that only reads it comes first.
        let mut bench =
            shared("{name: c, readOnly: true, volume: b.root}", "{name: root, claim: {pool: p0, capacity: 8Mi}}", false);
        bench.apply().await.unwrap();
        bench.lose_ledger();
        let (seen, plan) = bench.seen().await;
        let volume: jvp::name::ObjectRef = "Volume/b.root".parse().unwrap();
        let owner = seen.owned.entry(&volume).and_then(|entry| entry.volume.as_ref()?.owner.clone());
        assert_eq!(owner.map(|owner| owner.to_string()).as_deref(), Some("VirtualMachine/b"));
        let told: Vec<_> = seen.rebuilt.iter().map(|entry| &entry.object).collect();
        assert_eq!(told.len(), told.iter().collect::<BTreeSet<_>>().len(), "{told:?}");
        assert!(plan.is_empty(), "{:#?}", plan.changes);
        // A file that can't be seen is known of as long as somebody has it.
        bench.lose_ledger();
        bench.hosts.values().next().unwrap().with(|state| state.files.retain(|path, _| !path.contains("b.root")));
        assert!(bench.seen().await.0.owned.entry(&volume).is_some());
    });
}

/// A VM with these disks, each with a claim, and more fields.
fn with_disks(disks: &str, more: &str) -> Bench {
    let disks = disks.replace("CLAIM", "claim: {pool: p0, capacity: 8Mi}");
    bench(&format!("memory: 64Mi, disks: [{disks}], {more}"))
}

#[test]
fn a_disk_with_a_place_is_plugged_into_a_guest_whose_kinds_of_devices_have_the_places() {
    block_on(async {
        for (before, after) in [
            ("", "{name: a, CLAIM, bootOrder: 1}"),
            // It gave up its place while it ran, so that libvirt says what kind comes first.
            ("{name: a, CLAIM, bootOrder: 1}", "{name: a, CLAIM}, {name: b, CLAIM, bootOrder: 1}"),
        ] {
            let mut bench = with_disks(before, "runStrategy: Always");
            bench.apply().await.unwrap();
            if !before.is_empty() {
                bench.desired = with_disks("{name: a, CLAIM}", "runStrategy: Always").desired;
                bench.apply().await.unwrap();
            }
            bench.desired = with_disks(after, "runStrategy: Always").desired;
            bench.apply().await.unwrap();
            let plan = bench.plan().await;
            assert!(plan.is_empty(), "{:#?}", plan.changes);
            let domain = bench.hosts.values().next().unwrap().state().domains["vm"].clone();
            let count = |text: &str| text.matches("<disk ").count();
            assert_eq!(count(&domain.inactive), count(domain.live.as_ref().unwrap()), "it was not plugged in");
            assert!(domain.inactive.contains("<boot order='1'/>"), "{}", domain.inactive);
            // Only the place waits for the next start: it is the same disk, under the same target.
            let waits = plan.notes.iter().filter(|note| note.condition == "RestartRequired").map(|note| &note.message);
            assert!(waits.into_iter().all(|waits| !waits.contains("/target")), "{:?}", plan.notes);
        }
    });
}

#[test]
fn places_of_the_fragment_and_of_disks_are_one_order() {
    block_on(async {
        let nic = |order: u32| {
            format!(
                "interfaces: [{{name: e, network: net0, mac: '52:54:00:00:00:09'}}], xml: \"<domain><devices><interface>\
                 <mac address='52:54:00:00:00:09'/><boot order='{order}'/></interface></devices></domain>\""
            )
        };
        let plain = "interfaces: [{name: e, network: net0, mac: '52:54:00:00:00:09'}]";
        let kind = "xml: \"<domain><os><boot dev='network'/></os></domain>\"";
        let (silent, first, second) = ("{name: a, CLAIM}", "{name: a, CLAIM, bootOrder: 1}", "{name: a, CLAIM, bootOrder: 2}");
        for strategy in ["Halted", "Always"] {
            let with = |disk: &str, more: &str| with_disks(disk, &format!("runStrategy: {strategy}, {more}"));
            for steps in [
                // The first disk has the first place without a word, but where the fragment gives it away.
                vec![(silent, nic(1))],
                vec![(silent, plain.into()), (silent, nic(1)), (silent, nic(2))],
                vec![(silent, kind.into())],
                vec![(silent, plain.into()), (silent, format!("{plain}, {kind}"))],
                // What the fragment gave, it takes back.
                vec![(second, nic(1)), (first, nic(2)), (second, nic(1)), (first, plain.into())],
            ] {
                let mut bench: Option<Bench> = None;
                for (disk, more) in &steps {
                    let next = with(disk, more);
                    match &mut bench {
                        Some(bench) => bench.desired = next.desired,
                        None => bench = Some(next),
                    }
                    let bench = bench.as_ref().unwrap();
                    bench.apply().await.unwrap();
                    let plan = bench.plan().await;
                    assert!(
                        plan.is_empty() && plan.refusals.is_empty(),
                        "{disk} {more}: {:#?} {:?}",
                        plan.changes,
                        plan.refusals
                    );
                }
            }
        }
    });
}

#[test]
fn a_disk_that_waits_for_a_start_and_gets_another_bus_has_one_target() {
    block_on(async {
        let spec = |disks: &str| self::bench(&format!("memory: 64Mi, disks: [{disks}]"));
        let disk = |bus: &str| spec(&format!("{{name: d, bus: {bus}, claim: {{pool: p0, capacity: 8Mi}}}}"));
        let mut bench = spec("");
        bench.apply().await.unwrap();
        for bus in ["sata", "virtio"] {
            bench.desired = disk(bus).desired;
            bench.apply().await.unwrap();
            assert!(bench.plan().await.is_empty(), "{:#?}", bench.plan().await.changes);
        }
        let host = bench.hosts.values().next().unwrap();
        let state = NodeState::read(jvp::host::Host::read(host, &Scope::Everything).await.unwrap());
        let domain = &state.domains["vm"];
        let targets: Vec<_> =
            std::iter::once(&domain.doc).chain(&domain.live).map(|doc| doc.disk("d").unwrap().target.clone()).collect();
        assert_eq!(targets, ["vda", "vda"]);
    });
}
