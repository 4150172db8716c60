//! Each leaf of a VirtualMachine on a real libvirt: set, changed, taken out, and changed by hand in what runs, in the definition, in
//! both; with the guest running and with it off. A plan says what each change disturbs, and that is held against what happened: the
//! guest's process, an empty plan afterwards, and what stands beside it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::checkout::Checkout;
use crate::leaf_cases::{Case, Edits, Hand, cases};
use crate::support::{Lab, chosen, left_out, still, tiny};

/// Sets a leaf of a spec; lists of objects are known by `name`. `null` takes it out.
pub fn put(spec: &mut Value, path: &str, value: Value) {
    let mut segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let last = segments.pop().expect("a path");
    let mut at = spec;
    for segment in segments {
        at = if at.is_array() {
            let list = at.as_array_mut().expect("a list");
            list.iter_mut().find(|item| item["name"] == segment).unwrap_or_else(|| panic!("{path}: no {segment}"))
        } else {
            let map = at.as_object_mut().expect("a map");
            map.entry(segment).or_insert_with(|| json!({}))
        };
    }
    if let Some(list) = at.as_array_mut() {
        list.retain(|item| item["name"] != last);
        if !value.is_null() {
            list.push(value);
        }
    } else if let Some(map) = at.as_object_mut() {
        if value.is_null() {
            map.remove(last);
        } else {
            map.insert(last.to_owned(), value);
        }
    }
}

pub fn prune(value: &mut Value) {
    if let Value::Object(map) = value {
        map.values_mut().for_each(prune);
        map.retain(|_, value| !matches!(value, Value::Object(map) if map.is_empty()));
    }
}

struct Bench {
    lab: Lab,
    checkout: Checkout,
    running: bool,
}

impl Bench {
    fn new(running: bool) -> Self {
        let lab = Lab::own(1);
        let uri = lab.uri("a");
        let pool = lab.images("a").join("main");
        let base = json!([
            object("Fleet", "leaves", json!({"id": "6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a77"})),
            object("Node", "host", json!({"uri": uri, "defaults": {"accelerator": "TCG"}})),
            object("StoragePool", "main", json!({"type": "Dir", "target": {"path": pool}})),
            object(
                "Network",
                "lan",
                json!({"mode": "NAT", "ips": [{"address": "198.18.31.1/24", "dhcp": {"ranges": [{"start": "198.18.31.100", "end": "198.18.31.200"}]}}]})
            ),
            object("Network", "lan2", json!({"mode": "Isolated", "ips": [{"address": "198.18.32.1/24"}]})),
            object("Template", "tiny", json!({"pool": "main", "source": {"file": "tiny.qcow2"}, "format": "qcow2"})),
            object("Template", "still", json!({"pool": "main", "source": {"file": "still.img"}, "format": "raw"})),
            object("Template", "cd1", json!({"pool": "main", "source": {"file": "one.iso"}, "format": "iso"})),
            object("Template", "cd2", json!({"pool": "main", "source": {"file": "two.iso"}, "format": "iso"})),
            object("Volume", "extra", json!({"pool": "main", "capacity": "64Mi", "format": "qcow2"})),
            object("Volume", "other", json!({"pool": "main", "capacity": "64Mi", "format": "raw"})),
        ]);
        let checkout = Checkout::new(&documents(base.as_array().unwrap()))
            .with_env("JVP_VAR_SCREEN", "first")
            .with_env("JVP_VAR_OTHER", "second");
        // Both take nothing for a power button.
        checkout.copy(&tiny(true), "tiny.qcow2");
        std::fs::write(checkout.folder().join("still.img"), still()).expect("a file can be written");
        for (name, byte) in [("one.iso", b'1'), ("two.iso", b'2')] {
            let mut image = vec![0_u8; 64 << 10];
            image[32769..32774].copy_from_slice(b"CD001");
            image[40000] = byte;
            std::fs::write(checkout.folder().join(name), image).expect("a file can be written");
        }
        Self { lab, checkout, running }
    }

    fn spec(&self, guest: bool) -> Value {
        let template = if guest { "tiny" } else { "still" };
        json!({
            "runStrategy": if self.running { "Always" } else { "Halted" },
            "memory": "96Mi",
            "shutdown": {"timeout": "2s", "onTimeout": "PowerOff"},
            "disks": [{"name": "root", "claim": {"pool": "main", "source": {"template": template}}}],
            "interfaces": [{"name": "eth0", "network": "lan"}],
        })
    }

    fn write(&self, name: &str, spec: &Value) {
        let mut spec = spec.clone();
        prune(&mut spec);
        self.checkout.write("vm.yaml", &documents(&[object("VirtualMachine", name, spec)]));
    }

    /// What makes the domain the one that it is: its number, which every start changes.
    fn process(&self, name: &str) -> String {
        self.lab.virsh("a", &["domid", name]).trim().to_owned()
    }

    /// Brings a VM into the state that its manifest says; tells the effects that the plan stated.
    fn apply(&self, name: &str, what: &str) -> BTreeSet<String> {
        let plan = self.checkout.jvp(&["plan", "-o", "json"]);
        let plan = json_of(&plan.text, what);
        let changes = plan["changes"].as_array().expect("changes").iter();
        let own: Vec<&Value> = changes.filter(|change| change["object"] == format!("VirtualMachine/{name}")).collect();
        let mut effects: BTreeSet<String> = own.iter().flat_map(|change| words(&change["effect"])).collect();
        effects.extend(
            own.iter().flat_map(|change| change["effects"].as_object().into_iter().flat_map(Map::values)).flat_map(words),
        );
        let before = self.process(name);
        let answer = self.checkout.jvp(&["apply", "-y"]);
        assert_eq!(answer.code, Some(0), "{what}:\n{}", answer.text);
        let starts = effects.iter().any(|effect| matches!(effect.as_str(), "restart" | "start" | "stop"));
        assert_eq!(self.process(name) != before, starts, "{what}: the plan said {effects:?}");
        let again = self.checkout.jvp(&["plan", "--detailed-exitcode"]);
        assert_eq!(again.code, Some(0), "{what}: the plan after it is not empty:\n{}", again.text);
        effects
    }

    /// Waits until a guest has asked for an address.
    fn started(&self, name: &str) {
        let nics = self.lab.virsh("a", &["domiflist", name]);
        let mac = nics.split_whitespace().last().expect("an interface").to_owned();
        for _ in 0..300 {
            if self.lab.virsh("a", &["net-dhcp-leases", "lan"]).contains(&mac) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        panic!("{name} did not start within a minute");
    }

    fn check(&self, case: &Case) {
        let name = format!("vm-{}", case.name);
        let mut base = self.spec(case.guest);
        for (path, value) in case.base {
            put(&mut base, path, value());
        }
        self.write(&name, &base);
        let made = self.checkout.jvp(&["apply", "-y"]);
        assert_eq!(made.code, Some(0), "{name}: made:\n{}", made.text);
        if case.guest && self.running {
            self.started(&name);
        }
        let with = |edits: Edits| {
            let mut spec = base.clone();
            for (path, value) in edits {
                put(&mut spec, path, value());
            }
            spec
        };
        let steps = [("set", with(case.set)), ("changed", with(case.change)), ("taken out", base.clone())];
        for (word, spec) in &steps {
            if *word == "changed" && case.change.is_empty() {
                continue;
            }
            let what = format!("{name}, {}: {word}", if self.running { "running" } else { "off" });
            self.write(&name, spec);
            let effects = self.apply(&name, &what);
            let expected: BTreeSet<String> = match self.running {
                true if *word == "taken out" => case.removed.unwrap_or(case.effect),
                true => case.effect,
                false => &[],
            }
            .iter()
            .map(|effect| (*effect).to_owned())
            .collect();
            assert_eq!(effects, expected, "{what}: what the plan says that it disturbs");
        }
        let set = if case.change.is_empty() { with(case.set) } else { with(case.change) };
        for Hand { on, virsh } in case.hand {
            let live = on.contains(&"--live");
            if live && !self.running {
                continue;
            }
            let what = format!("{name}, {}: by hand {virsh:?} {on:?}", if self.running { "running" } else { "off" });
            self.write(&name, &set);
            self.apply(&name, &what);
            let mut args: Vec<String> = virsh.iter().map(|arg| arg.replace("NAME", &name)).collect();
            args.extend(on.iter().map(|flag| (*flag).to_owned()));
            for arg in &mut args {
                if let Some(xml) = arg.strip_prefix("XML:") {
                    let path = self.checkout.state().join("hand.xml");
                    std::fs::write(&path, xml).expect("a file can be written");
                    *arg = path.display().to_string();
                }
            }
            self.lab.virsh("a", &args.iter().map(String::as_str).collect::<Vec<_>>());
            let seen = self.checkout.jvp(&["plan", "--detailed-exitcode"]);
            assert_eq!(seen.code, Some(2), "{what}: nobody saw it:\n{}", seen.text);
            self.apply(&name, &what);
        }
        self.checkout.jvp(&["delete", "-y", "--force-stop", &format!("VM/{name}"), &format!("VM/{name}")]).exits(0);
        std::fs::remove_file(self.checkout.folder().join("vm.yaml")).expect("a file can be removed");
    }
}

/// An effect that a plan states, with those whom it concerns.
pub fn words(effect: &Value) -> Vec<String> {
    match effect {
        Value::String(word) if word != "none" => vec![word.clone()],
        Value::Object(whom) => whom
            .iter()
            .map(|(word, whom)| {
                let names = whom.as_array().into_iter().flatten().filter_map(Value::as_str);
                names.fold(word.clone(), |all, name| format!("{all} {name}"))
            })
            .collect(),
        _ => Vec::new(),
    }
}

pub fn json_of(text: &str, what: &str) -> Value {
    let start = text.find('{').unwrap_or_else(|| panic!("{what}: no plan:\n{text}"));
    let mut plans = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
    plans.next().and_then(Result::ok).unwrap_or_else(|| panic!("{what}: no plan:\n{text}"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is written on the spot")]
pub fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "jvp.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

pub fn documents(all: &[Value]) -> String {
    // JSON is YAML.
    all.iter().map(|object| format!("---\n{object}\n")).collect()
}

/// The cases of one state side by side would disturb one another's process numbers, so they come one after the other.
fn all(running: bool) {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let bench = Bench::new(running);
    let beside = "<domain type='qemu'><name>beside</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>";
    std::fs::create_dir_all(bench.checkout.state()).expect("a folder can be made");
    let path = bench.checkout.folder().join("beside.xml");
    std::fs::write(&path, beside).expect("a file can be written");
    bench.lab.virsh("a", &["define", path.to_str().unwrap()]);
    std::fs::remove_file(path).expect("a file can be removed");
    bench.checkout.jvp(&["apply", "-y"]).exits(0);
    let before = bench.lab.inventory("a");
    let mut failed = Vec::new();
    for (_, case) in cases().iter().enumerate().filter(|(number, case)| chosen(case.name, *number, running)) {
        // All of them at once: each has a VM of its own.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.check(case))).is_err() {
            failed.push(case.name);
            bench.checkout.jvp(&[
                "delete",
                "-y",
                "--force-stop",
                &format!("VM/vm-{}", case.name),
                &format!("VM/vm-{}", case.name),
            ]);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
    let mut after = bench.lab.inventory("a");
    // What came with VMs is kept; what stood there before is as it was.
    after.retain(|name, _| before.contains_key(name));
    assert_eq!(after, before);
}

#[test]
fn each_leaf_of_a_running_vm_is_set_changed_and_taken_out_and_drift_is_healed() {
    all(true);
}

#[test]
fn each_leaf_of_a_vm_that_is_off_is_set_changed_and_taken_out_and_drift_is_healed() {
    all(false);
}
