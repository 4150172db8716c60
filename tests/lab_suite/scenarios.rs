//! What happens to a real node besides an apply: restarts, hands, other fleets, deaf guests. By the command line alone.

use crate::checkout::{Checkout, ground};
use crate::support::{Lab, left_out, tiny};

pub(crate) const FLEET: &str = "6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10";

/// A Fleet, a Node, a pool and a network whose names end so, and the Template of a tiny guest.
pub(crate) fn base(lab: &Lab, node: &str, fleet: &str, suffix: &str, subnet: u8) -> String {
    let pool = format!("main{suffix}");
    let ground = ground(&lab.uri(node), fleet, &pool, &lab.images(node).join(&pool));
    format!(
        r"{ground}---
apiVersion: jvp.dev/v1alpha1
kind: Network
metadata: {{name: lan{suffix}}}
spec:
  mode: NAT
  ips:
  - address: 198.18.{subnet}.1/24
    dhcp: {{ranges: [{{start: 198.18.{subnet}.100, end: 198.18.{subnet}.200}}]}}
---
apiVersion: jvp.dev/v1alpha1
kind: Template
metadata: {{name: tiny{suffix}}}
spec: {{pool: {pool}, source: {{file: tiny.qcow2}}, format: qcow2}}
"
    )
}

/// A VM on these.
pub(crate) fn machine(name: &str, suffix: &str, more: &str) -> String {
    format!(
        r"---
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {{name: {name}}}
spec:
  memory: 96Mi
{more}
  disks:
  - {{name: root, claim: {{pool: main{suffix}, source: {{template: tiny{suffix}}}}}}}
  interfaces:
  - {{name: eth0, network: lan{suffix}}}
"
    )
}

pub(crate) fn checkout(manifests: &str, deaf: bool) -> Checkout {
    let checkout = Checkout::new(manifests);
    checkout.copy(&tiny(deaf), "tiny.qcow2");
    checkout
}

macro_rules! lab_or_return {
    ($nodes:expr) => {{
        if left_out() {
            eprintln!("left out by JVP_TEST_LEVEL=unit");
            return;
        }
        Lab::own($nodes)
    }};
}
pub(crate) use lab_or_return;

pub(crate) const EMPTY: [&str; 2] = ["plan", "--detailed-exitcode"];

#[test]
fn a_plan_stays_empty_whatever_is_restarted_or_lost() {
    let lab = lab_or_return!(1);
    let manifests = base(&lab, "a", FLEET, "", 7)
        + &machine("runs", "", "  runStrategy: Always\n  cloudInit: {hostname: runs}")
        + &machine("stands", "", "  runStrategy: Halted");
    let checkout = checkout(&manifests, false);
    // What somebody made by hand stands beside it.
    let folder = lab.images("a").join("theirs");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let put = |kind: &str, xml: &str| {
        let path = checkout.folder().join("theirs.xml");
        std::fs::write(&path, xml).expect("a file can be written");
        lab.virsh("a", &[kind, path.to_str().unwrap()]);
        std::fs::remove_file(path).expect("a file can be removed");
    };
    put("define", "<domain type='qemu'><name>theirs</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>");
    put("net-define", "<network><name>theirs</name><bridge name='theirs0'/><ip address='198.18.99.1' prefix='24'/></network>");
    put("pool-define", &format!("<pool type='dir'><name>theirs</name><target><path>{}</path></target></pool>", folder.display()));
    lab.virsh("a", &["pool-start", "theirs"]);
    lab.virsh("a", &["vol-create-as", "theirs", "theirs.img", "1M"]);
    let theirs = lab.inventory("a");

    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&EMPTY).exits(0);
    lab.script(&["restart", "a"]);
    checkout.jvp(&EMPTY).exits(0);
    checkout.lose_state();
    checkout.jvp(&EMPTY).exits(0);
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&EMPTY).exits(0);

    // By hand: what runs always is started again, what is halted is stopped, a name is given back.
    lab.virsh("a", &["destroy", "runs"]);
    checkout.jvp(&EMPTY).exits(2).says("runs");
    lab.virsh("a", &["start", "stands"]);
    checkout.jvp(&EMPTY).exits(2).says("stands");
    checkout.jvp(&["apply", "-y", "--force-stop", "VM/stands"]).exits(0);
    assert_eq!(lab.virsh("a", &["domstate", "runs"]).trim(), "running");
    assert_eq!(lab.virsh("a", &["domstate", "stands"]).trim(), "shut off");
    lab.virsh("a", &["domrename", "stands", "sits"]);
    checkout.jvp(&EMPTY).exits(2).says("renamed");
    checkout.jvp(&["apply", "-y"]).exits(0);
    assert_eq!(lab.virsh("a", &["list", "--all", "--name"]).split_whitespace().collect::<Vec<_>>().len(), 3);
    lab.virsh("a", &["dominfo", "stands"]);
    checkout.jvp(&EMPTY).exits(0);

    // All of it goes, and what is theirs is as it was.
    checkout.jvp(&["delete", "-y", "--with-data", "--force-stop", "VM/runs"]).exits(0);
    assert_eq!(theirs, lab.inventory("a"));
}

#[test]
fn what_each_strategy_does_about_a_guest_that_is_off() {
    let lab = lab_or_return!(1);
    let strategies = ["Always", "RerunOnFailure", "Once", "Manual", "Halted"];
    let mut manifests = base(&lab, "a", FLEET, "", 7);
    for strategy in strategies {
        manifests.push_str(&machine(&strategy.to_lowercase(), "", &format!("  runStrategy: {strategy}")));
    }
    let checkout = checkout(&manifests, false);
    checkout.jvp(&["apply", "-y"]).exits(0);
    let running = || {
        let text = lab.virsh("a", &["list", "--name"]);
        let mut names: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(running(), ["always", "once", "rerunonfailure"]);
    checkout.jvp(&EMPTY).exits(0);
    for name in running() {
        lab.virsh("a", &["destroy", &name]);
    }
    let plan = checkout.jvp(&EMPTY).exits(2);
    assert!(!plan.text.contains("VirtualMachine/once"), "{}", plan.text);
    checkout.jvp(&["apply", "-y"]).exits(0);
    assert_eq!(running(), ["always", "rerunonfailure"]);
    for strategy in ["once", "manual", "halted"] {
        lab.virsh("a", &["start", strategy]);
    }
    checkout.jvp(&["apply", "-y", "--force-stop", "VM/halted"]).exits(0);
    assert_eq!(running(), ["always", "manual", "once", "rerunonfailure"]);
    checkout.jvp(&EMPTY).exits(0);
}

#[test]
fn two_fleets_on_one_host_dont_see_each_other() {
    let lab = lab_or_return!(1);
    let off = |name: &str, suffix: &str| machine(name, suffix, "  runStrategy: Halted");
    let first = checkout(&(base(&lab, "a", FLEET, "", 7) + &off("web", "")), false);
    first.jvp(&["apply", "-y"]).exits(0);
    let alone = lab.inventory("a");
    // Another fleet that wants the same names.
    let other = "b5c6a1de-0b4f-4f0e-8a77-2f9f3f1f7a21";
    let second = checkout(&(base(&lab, "a", other, "", 7) + &off("web", "")), false);
    second.jvp(&["apply", "-y"]).exits(6);
    second.jvp(&["delete", "-y", "--with-data"]);
    assert_eq!(alone, lab.inventory("a"));
    first.jvp(&EMPTY).exits(0);
    // One with names of its own.
    let third = checkout(&(base(&lab, "a", other, "-2", 8) + &off("web-2", "-2")), false);
    third.jvp(&["apply", "-y"]).exits(0);
    third.jvp(&EMPTY).exits(0);
    first.jvp(&EMPTY).exits(0);
    third.jvp(&["delete", "-y", "--with-data"]).exits(0);
    assert_eq!(alone, lab.inventory("a"));
    first.jvp(&EMPTY).exits(0);
}

#[test]
fn a_node_out_of_reach_and_one_that_became_another_machine() {
    let lab = lab_or_return!(1);
    let manifests = base(&lab, "a", FLEET, "", 7) + &machine("web", "", "  runStrategy: Halted");
    let checkout = checkout(&manifests, false);
    lab.script(&["stop", "a"]);
    checkout.jvp(&["apply", "-y"]).exits(4);
    lab.script(&["start", "a"]);
    checkout.jvp(&["apply", "-y"]).exits(0);
    let before = lab.inventory("a");
    lab.script(&["stop", "a"]);
    checkout.jvp(&EMPTY).exits(4);
    checkout.jvp(&["delete", "-y", "--with-data"]).exits(4);

    let start_as = |uuid: &str| {
        let conf = lab.folder("a").join("etc/libvirtd.conf");
        let text = std::fs::read_to_string(&conf).expect("it can be read");
        let text: String = text
            .lines()
            .map(|line| if line.starts_with("host_uuid") { format!("host_uuid = \"{uuid}\"\n") } else { format!("{line}\n") })
            .collect();
        std::fs::write(&conf, text).expect("it can be written");
        lab.script(&["start", "a"]);
    };
    // A board without a UUID: libvirtd made another one up, and all else is as it was.
    start_as("11111111-2222-4333-8444-555555555555");
    checkout.jvp(&EMPTY).exits(0).says("it is the same machine");
    checkout.jvp(&["apply", "-y"]).exits(0);
    assert!(!checkout.jvp(&EMPTY).exits(0).text.contains("same machine"));
    assert_eq!(before, lab.inventory("a"));

    // Another machine has none of it.
    lab.virsh("a", &["undefine", "web"]);
    lab.virsh("a", &["pool-destroy", "main"]);
    lab.virsh("a", &["pool-undefine", "main"]);
    let before = lab.inventory("a");
    lab.script(&["stop", "a"]);
    start_as("11111111-2222-4333-8444-666666666666");
    checkout.jvp(&EMPTY).exits(6).says("node accept");
    checkout.jvp(&["apply", "-y"]).exits(6);
    checkout.jvp(&["delete", "-y", "--with-data"]).exits(6);
    assert_eq!(before, lab.inventory("a"));
    checkout.jvp(&["node", "accept", "host"]).exits(0);
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&EMPTY).exits(0);
    checkout.jvp(&["delete", "-y", "--with-data"]).exits(0);
}

#[test]
fn a_guest_that_ignores_its_button_runs_on_until_its_power_is_cut() {
    let lab = lab_or_return!(1);
    let with = |strategy: &str| {
        base(&lab, "a", FLEET, "", 7) + &machine("deaf", "", &format!("  runStrategy: {strategy}\n  shutdown: {{timeout: 3s}}"))
    };
    let checkout = checkout(&with("Always"), true);
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.write("all.yaml", &with("Halted"));
    checkout.jvp(&["apply", "-y"]).exits(5).says("--force-stop VirtualMachine/deaf");
    assert_eq!(lab.virsh("a", &["domstate", "deaf"]).trim(), "running");
    checkout.jvp(&["delete", "-y"]).exits(5);
    assert_eq!(lab.virsh("a", &["domstate", "deaf"]).trim(), "running");
    checkout.jvp(&["apply", "-y", "--force-stop", "VM/deaf"]).exits(0);
    assert_eq!(lab.virsh("a", &["domstate", "deaf"]).trim(), "shut off");
    checkout.jvp(&EMPTY).exits(0);
}

/// Whether any file below `folder` holds one of the words.
fn found(folder: &std::path::Path, words: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(found(&path, words));
        } else if let Ok(bytes) = std::fs::read(&path) {
            let holds = |word: &&&str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
            all.extend(words.iter().filter(holds).map(|word| format!("{word} in {}", path.display())));
        }
    }
    all
}

#[test]
fn secrets_leave_no_trace() {
    let lab = lab_or_return!(1);
    const SECRETS: [&str; 3] = ["cAnArY1x", "cAnArY2y", "cAnArY3z"];
    let fragment = format!("<domain><metadata><my:app xmlns:my='urn:example:my' passwd='{}'/></metadata></domain>", SECRETS[2]);
    let manifests = base(&lab, "a", FLEET, "", 7)
        + "---\napiVersion: jvp.dev/v1alpha1\nkind: KeyPair\nmetadata: {name: admin}\nspec: {generate: true}\n"
        + &machine(
            "env",
            "",
            "  runStrategy: Halted\n  console: {vnc: {password: {valueFrom: {env: JVP_VAR_CANARY}}}}\n  cloudInit: {keyPairs: [admin]}",
        )
        + &machine("file", "", "  runStrategy: Halted\n  console: {vnc: {password: {valueFrom: {file: secret.txt}}}}")
        + &machine("xml", "", &format!("  runStrategy: Halted\n  xml: \"{fragment}\""));
    let checkout = checkout(&manifests, false).with_env("JVP_VAR_CANARY", SECRETS[0]);
    checkout.write("secret.txt", SECRETS[1]);
    let mut said = String::new();
    let mut words: Vec<String> = SECRETS.iter().map(|word| (*word).to_owned()).collect();
    let runs: [&[&str]; 10] = [
        &["plan", "-vvv", "--out", "../plan"],
        &["plan", "-vvv", "-o", "json"],
        &["diff", "-vvv", "--show-xml"],
        &["apply", "-vvv", "-y"],
        &["plan", "-vvv"],
        &["get", "-vvv", "all", "-o", "yaml"],
        &["get", "-vvv", "all", "-o", "wide"],
        &["describe", "-vvv", "vm/env", "vm/file", "vm/xml", "keypair/admin"],
        &["diff", "-vvv", "--show-xml"],
        &["apply", "-vvv", "-y", "--log-format", "json"],
    ];
    for args in runs {
        let mut child = checkout
            .command(args)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("it can be started");
        let about = |name: &str| std::fs::read(format!("/proc/{}/{name}", child.id())).unwrap_or_default();
        let command = String::from_utf8_lossy(&about("cmdline")).into_owned();
        said.push_str(&command);
        let _ = &mut child;
        let answer: crate::checkout::Answer = child.wait_with_output().expect("it ends").into();
        assert!(matches!(answer.code, Some(0 | 1)), "{args:?}: {:?}\n{}", answer.code, answer.text);
        said.push_str(&answer.text);
    }
    for (vm, secret) in [("env", SECRETS[0]), ("file", SECRETS[1]), ("xml", SECRETS[2])] {
        let xml = lab.virsh("a", &["dumpxml", "--security-info", vm]);
        assert!(xml.contains(secret), "{vm} doesn't have its password: {xml}");
    }
    // The private half of a key is where it belongs, and nowhere else.
    let key = std::fs::read_to_string(checkout.state().join("keypairs/admin")).expect("the key is there");
    words.extend(key.lines().filter(|line| !line.starts_with('-')).skip(1).map(str::to_owned));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    for word in &words {
        assert!(!said.contains(word), "{word} was said:\n{said}");
    }
    let traces: Vec<String> =
        found(&checkout.state(), &words).into_iter().filter(|trace| !trace.ends_with("/keypairs/admin")).collect();
    assert_eq!(traces, Vec::<String>::new());
    assert_eq!(found(checkout.folder().parent().unwrap(), &words[..3]).iter().filter(|t| t.contains("/plan")).count(), 0);
}

/// Runs qemu-io on a volume of the lab's, also on one that a guest has open.
fn qemu_io(file: &std::path::Path, command: &str, write: bool) -> String {
    let mut program = std::process::Command::new("qemu-io");
    program.args(["-f", "qcow2", "-c", command]);
    if !write {
        program.args(["-r", "-U"]);
    }
    let output = program.arg(file).output().expect("qemu-io runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // It fails, too, where it read something else than was told.
    assert!(said.contains("65536/65536 bytes"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn a_vm_is_rebuilt_from_its_template_and_keeps_its_identity_and_its_blank_disk() {
    let lab = lab_or_return!(1);
    let vm = r"---
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {name: again}
spec:
  memory: 96Mi
  runStrategy: Halted
  shutdown: {timeout: 3s, onTimeout: PowerOff}
  disks:
  - {name: root, claim: {pool: main, source: {template: tiny}}}
  - {name: data, claim: {pool: main, capacity: 16Mi}}
  interfaces:
  - {name: eth0, network: lan}
  cloudInit: {hostname: one, onChange: Rebuild}
";
    let manifests = base(&lab, "a", FLEET, "", 9);
    let checkout = checkout(&(manifests.clone() + vm), false);
    checkout.jvp(&["apply", "-y"]).exits(0);
    let pool = lab.images("a").join("main");
    let (root, data) = (pool.join("again.root.qcow2"), pool.join("again.data.qcow2"));
    for file in [&root, &data] {
        qemu_io(file, "write -P 0x5a 15M 64k", true);
    }
    let written = |file| !qemu_io(file, "read -P 0x5a 15M 64k", false).contains("Pattern verification failed");
    let vm = vm.replace("Halted", "Always");
    checkout.write("all.yaml", &(manifests.clone() + &vm));
    checkout.jvp(&["apply", "-y"]).exits(0);
    let facts = || {
        let uuid = lab.virsh("a", &["domuuid", "again"]);
        let nics = lab.virsh("a", &["domiflist", "again", "--inactive"]);
        (uuid, nics, lab.virsh("a", &["domstate", "again"]))
    };
    let before = facts();
    assert!(written(&root) && written(&data));

    checkout.write("all.yaml", &(manifests + &vm.replace("hostname: one", "hostname: two")));
    checkout.jvp(&["apply", "-y"]).exits(6).says("--allow-data-loss Volume/again.root --allow-restart VirtualMachine/again");
    assert_eq!(facts(), before);
    let words = ["--allow-data-loss", "Volume/again.root", "--allow-restart", "VM/again"];
    checkout.jvp(&[&["apply", "-y"], words.as_slice()].concat()).exits(0);
    assert_eq!(facts(), before, "its UUID and its card stay, and it runs");
    assert!(!written(&root), "its system is the template's again");
    assert!(written(&data), "its blank disk keeps its data");
    checkout.jvp(&EMPTY).exits(0);
    let seeds = std::fs::read_dir(&pool).expect("a pool").filter_map(Result::ok);
    let seeds = seeds.filter(|file| file.file_name().to_string_lossy().contains(".seed-")).count();
    assert_eq!(seeds, 1, "the old seed is gone");
}
