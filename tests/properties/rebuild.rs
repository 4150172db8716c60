//! A VM that is rebuilt when what cloud-init is told changes, on fake nodes: what goes, what stays, and what is asked before.

use std::collections::BTreeSet;

use jvp::host::fake::FakeHost;
use jvp::name::ObjectRef;
use jvp::plan::{Consents, Data, Effect, Expect, Op};

use crate::bench::{Bench, Trouble, block_on};
use crate::scene::Scene;

/// A VM on a volume of a template's, one that the manifests name, one of another volume's and a blank one.
fn documents(hostname: &str, more: &str, volume: &str) -> Vec<(String, String)> {
    let mut all = scene().documents();
    let mut put = |kind: &str, name: &str, spec: &str, rest: &str| {
        let text = format!("apiVersion: jvp.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n{rest}\n");
        all.push((format!("{kind}-{name}.yaml"), text));
    };
    put("Volume", "base", "pool: p0, capacity: 16Mi", "");
    put("Volume", "named", "pool: p0, source: {template: t0}, clone: Full", volume);
    put("Volume", "copy", "pool: p0, source: {volume: base}, clone: Full", "");
    put(
        "VirtualMachine",
        "vm",
        &format!(
            "memory: 64Mi, cloudInit: {{hostname: {hostname}, onChange: Rebuild}}, {more}, interfaces: [{{name: eth0, network: net0}}], \
             disks: [{{name: root, claim: {{pool: p0, source: {{template: t0}}}}}}, {{name: named, volume: named}}, \
             {{name: copy, volume: copy}}, {{name: blank, claim: {{pool: p0, capacity: 8Mi}}}}]"
        ),
        "",
    );
    all
}

fn scene() -> Scene {
    Scene { nodes: 1, pools: 1, networks: vec!["NAT"], templates: vec![false], machines: Vec::new() }
}

fn bench(hostname: &str, more: &str) -> Bench {
    Bench::of(&scene(), &documents(hostname, more, "")).unwrap()
}

fn host(bench: &Bench) -> FakeHost {
    bench.hosts.values().next().unwrap().clone()
}

fn objects(names: &[&str]) -> BTreeSet<ObjectRef> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn words() -> Consents {
    Consents {
        allow_data_loss: objects(&["Volume/vm.root", "Volume/named"]),
        allow_restart: objects(&["VM/vm"]),
        ..Consents::default()
    }
}

/// A bench whose VM is made and has another seed to get.
async fn changed(more: &str) -> Bench {
    let mut bench = self::bench("one", more);
    bench.apply().await.unwrap();
    host(&bench).with(|state| {
        for (_, file) in state.files.iter_mut().filter(|(path, _)| !path.contains("_templates_")) {
            file.digest = Some("written by the guest".into());
        }
    });
    host(&bench).forget_calls();
    bench.desired = self::bench("two", more).desired;
    bench
}

/// What a plan is refused for: the objects, the messages and the help.
async fn refusals(bench: &Bench) -> String {
    let plan = bench.plan().await;
    plan.refusals.iter().map(|refusal| format!("{}: {} {}\n", refusal.object, refusal.message, refusal.help.join(" "))).collect()
}

/// The domain's definition without its mark and its seed.
fn without_seed(host: &FakeHost) -> String {
    let text = host.state().domains["vm"].inactive.clone();
    let lines = text.lines().filter(|line| !line.contains("jvp:") && !line.contains("vm.seed-"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_rebuild_makes_anew_what_came_from_a_template_and_keeps_all_else() {
    block_on(async {
        for (more, runs_before, runs_after) in [
            ("runStrategy: Always", true, true),
            ("runStrategy: RerunOnFailure", true, true),
            ("runStrategy: Once", true, true),
            ("runStrategy: Manual", true, true),
            ("runStrategy: Manual", false, false),
            ("runStrategy: Halted", false, false),
        ] {
            let mut bench = changed(more).await;
            let host = host(&bench);
            let uuid = host.state().domains["vm"].uuid;
            if runs_before && more.contains("Manual") {
                host.with(|state| state.perform(&Op::DomainStart { name: "vm".into(), uuid })).unwrap();
            }
            assert_eq!(host.state().domains["vm"].power.is_some(), runs_before, "{more}");
            let (before, seeds) = (without_seed(&host), host.state().domains["vm"].inactive.clone());
            bench.consents = words();
            if !runs_before {
                bench.consents.allow_restart.clear();
            }
            let plan = bench.plan().await;
            let lost: Vec<String> =
                plan.changes.iter().filter(|change| change.data == Data::Lost).map(|change| change.object.to_string()).collect();
            assert_eq!(lost, ["Volume/named", "Volume/vm.root"], "{more}");
            assert!(
                plan.changes.iter().any(|change| change.effect == Effect::Recreate && change.object == "VM/vm".parse().unwrap())
            );
            let stops = plan.actions.iter().any(|action| action.expect == Expect::Active(false));
            assert_eq!(stops, runs_before, "{more}");
            bench.apply().await.unwrap();
            let state = host.state();
            let kept = |name: &str| {
                let (_, file) = state.files.iter().find(|(path, _)| path.contains(&format!("/{name}."))).unwrap();
                file.digest.as_deref() == Some("written by the guest")
            };
            let all = ["vm.root", "named", "copy", "vm.blank", "base"].map(kept);
            assert_eq!(all, [false, false, true, true, true], "{more}");
            assert_eq!(state.domains["vm"].uuid, uuid);
            assert_eq!(state.domains["vm"].power.is_some(), runs_after, "{more}");
            assert_eq!(without_seed(&host), before, "{more}: its identity and its devices");
            assert_ne!(state.domains["vm"].inactive, seeds);
            assert_eq!(state.files.keys().filter(|path| path.contains("vm.seed-")).count(), 1, "{more}: the old seed goes");
            assert!(bench.plan().await.is_empty(), "{more}");
        }
    });
}

#[test]
fn a_rebuild_without_its_words_is_refused_and_names_them() {
    block_on(async {
        let mut bench = changed("runStrategy: Always").await;
        let host = host(&bench);
        let said = refusals(&bench).await;
        for word in [
            "--allow-data-loss Volume/vm.root",
            "--allow-data-loss Volume/named",
            "--allow-restart VirtualMachine/vm",
            "onChange: NextStart",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
        bench.consents.allow_data_loss = objects(&["Volume/vm.root"]);
        let said = refusals(&bench).await;
        assert!(!said.contains("--allow-data-loss Volume/vm.root") && said.contains("--allow-data-loss Volume/named"), "{said}");
        bench.consents = Consents { allow_restart: BTreeSet::new(), ..words() };
        assert!(refusals(&bench).await.contains("if that may be: --allow-restart VirtualMachine/vm"));
        bench.consents = words();
        assert_eq!(refusals(&bench).await, "");
        // A saved state would be restored onto disks that it doesn't know.
        host.with(|state| {
            let domain = state.domains.get_mut("vm").unwrap();
            domain.managed_save = Some(domain.inactive.clone());
        });
        assert!(refusals(&bench).await.contains("--discard-saved-state VirtualMachine/vm"));
        assert_eq!(host.acts(), [""; 0]);
    });
}

#[test]
fn a_rebuild_takes_nothing_that_others_use_or_that_is_to_stay() {
    block_on(async {
        let mut bench = changed("runStrategy: Halted").await;
        bench.consents = words();
        let host = host(&bench);
        let desired = bench.desired.clone();
        // Its manifest keeps it.
        let keep = documents("two", "runStrategy: Halted", "lifecycle: {preventDestroy: true}");
        bench.desired = Bench::of(&scene(), &keep).unwrap().desired;
        let said = refusals(&bench).await;
        assert!(said.contains("preventDestroy") && said.contains("Volume/named"), "{said}");
        bench.desired = desired;
        assert_eq!(refusals(&bench).await, "");
        // Another one's disk, read-only though it is.
        let other = "<domain type='qemu'><name>other</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type></os>\
            <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/p0/named.qcow2'/>\
            <target dev='vda' bus='virtio'/><readonly/></disk></devices></domain>";
        let uuid = uuid::Uuid::from_u128(5);
        host.with(|state| {
            state.perform(&Op::DomainDefine { name: "other".into(), uuid, xml: other.to_owned().into(), validate: false })
        })
        .unwrap();
        let said = refusals(&bench).await;
        assert!(said.contains("Volume/named is used by other, too"), "{said}");
        let uuid = host.state().domains["other"].uuid;
        host.with(|state| state.perform(&Op::DomainUndefine { name: "other".into(), uuid, nvram: false, managed_save: false }))
            .unwrap();
        // Somebody starts it between plan and call.
        let plan = bench.plan().await;
        let uuid = host.state().domains["vm"].uuid;
        host.with(|state| state.perform(&Op::DomainStart { name: "vm".into(), uuid })).unwrap();
        let rounds = bench.round(&plan).await;
        assert!(rounds.failures().iter().any(|(action, failure)| {
            action.op.word() == "volume-delete" && failure.kind == jvp::apply::FailureKind::Conflict
        }));
        let written = host
            .state()
            .files
            .iter()
            .filter(|(path, _)| path.ends_with("/named.qcow2") || path.ends_with("/vm.root.qcow2"))
            .all(|(_, file)| file.digest.as_deref() == Some("written by the guest"));
        assert!(written, "{:?}", rounds.failures());
    });
}

#[test]
fn a_rebuild_on_a_template_with_new_content_stands_on_its_new_file() {
    block_on(async {
        let mut bench = changed("runStrategy: Always").await;
        bench.consents = words();
        bench.replace_image("t0");
        let host = host(&bench);
        bench.apply().await.unwrap();
        let state = host.state();
        let (backing, _) = state.files["/srv/p0/vm.root.qcow2"].backing.clone().unwrap();
        assert!(backing.contains("t0-cccccccccccc"), "{backing}");
        let doc = jvp::xml::domain::project(&state.domains["vm"].inactive).unwrap();
        assert_eq!(doc.disk("root").unwrap().chain, [backing]);
        assert!(bench.plan().await.is_empty());
    });
}

#[test]
fn a_rebuild_converges_whatever_call_goes_wrong() {
    let always = [Trouble::Fails, Trouble::NoAnswer, Trouble::Lost, Trouble::Unreachable].map(|trouble| ("Always", trouble));
    // One that a hand started runs again, whatever became of the run that stopped it.
    let manual = [Trouble::Fails, Trouble::DiesBefore, Trouble::DiesAfter].map(|trouble| ("Manual", trouble));
    for (strategy, trouble) in always.into_iter().chain(manual) {
        let mut step = 0;
        loop {
            step += 1;
            let went_wrong = block_on(async {
                let mut bench = changed(&format!("runStrategy: {strategy}")).await;
                bench.consents = words();
                if strategy == "Manual" {
                    let uuid = host(&bench).state().domains["vm"].uuid;
                    host(&bench).with(|state| state.perform(&Op::DomainStart { name: "vm".into(), uuid })).unwrap();
                }
                bench.trouble(step, trouble);
                bench.troubled().await;
                let went_wrong = bench.met();
                bench.heal();
                bench.apply().await.unwrap();
                let host = host(&bench);
                let state = host.state();
                assert!(state.domains["vm"].power.is_some(), "{trouble:?} at {step}");
                assert!(bench.plan().await.is_empty(), "{trouble:?} at {step}");
                let kept: BTreeSet<&str> = state
                    .files
                    .iter()
                    .filter(|(_, file)| file.digest.as_deref() == Some("written by the guest"))
                    .filter_map(|(path, _)| path.strip_prefix("/srv/p0/"))
                    .filter(|path| !path.contains('/'))
                    .collect();
                assert_eq!(kept, ["base.qcow2", "copy.qcow2", "vm.blank.qcow2"].into(), "{trouble:?} at {step}");
                went_wrong
            });
            if !went_wrong {
                break;
            }
        }
        assert!(step > 8, "{trouble:?}: only {step} steps");
    }
}
