//! Each leaf of every kind but VirtualMachine (see `leaves.rs`) on a real libvirt, with a guest that stands on the object, running and
//! off: set, changed, taken out, and changed by hand in the definition, in what runs, in both. What a plan says that it disturbs is held
//! against what happened: the guest's process, where it is plugged in, an empty plan afterwards, and what stands beside it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;

use jvp::name::Kind;
use jvp::plan::FIELDS;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::adoption::unmarked;
use crate::checkout::{Answer, Checkout};
use crate::kind_cases::{Case, Hand, Outcome, Step, cases};
use crate::leaf_cases::Edits;
use crate::leaves::{documents, json_of, object, prune, put, words};
use crate::lifecycle_cases;
use crate::support::{Lab, bridges, chosen, left_out, tiny};

/// The guest that stands on all of it.
const GUEST: &str = "guest";

struct Bench {
    lab: Lab,
    checkout: Checkout,
    running: bool,
    /// What somebody made by hand.
    beside: String,
    /// Where the images are served, too.
    url: String,
}

impl Bench {
    fn new(running: bool) -> Self {
        let lab = Lab::own(1);
        let checkout = Checkout::new("");
        checkout.copy(&tiny(false), "tiny.qcow2");
        // The same content under another name, and another content.
        checkout.copy(&tiny(false), "same.qcow2");
        checkout.copy(&tiny(true), "deaf.qcow2");
        let url = serve(checkout.folder());
        let mut bench = Self { lab, checkout, running, beside: String::new(), url };
        std::fs::write(bench.checkout.folder().join("all.yaml"), bench.all(None)).expect("a file can be written");
        bench.put_beside();
        bench.beside = bench.theirs();
        bench.checkout.jvp(&["apply", "-y"]).exits(0);
        bench
    }

    /// A domain, a network, a pool and a file of somebody else's.
    fn put_beside(&self) {
        let folder = self.lab.images("a").join("theirs");
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let define = |verb: &str, xml: &str| {
            let path = self.lab.folder("a").join("theirs.xml");
            std::fs::write(&path, xml).expect("a file can be written");
            self.lab.virsh("a", &[verb, path.to_str().unwrap()]);
        };
        define(
            "define",
            "<domain type='qemu'><name>theirs</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>",
        );
        define(
            "net-define",
            "<network><name>theirs</name><bridge name='theirs0'/><ip address='198.18.99.1' prefix='24'/></network>",
        );
        define(
            "pool-define",
            &format!("<pool type='dir'><name>theirs</name><target><path>{}</path></target></pool>", folder.display()),
        );
        self.lab.virsh("a", &["pool-start", "theirs"]);
        self.lab.virsh("a", &["vol-create-as", "theirs", "theirs.img", "1M"]);
    }

    /// All manifests, with a case's object in the place of the one of its name, or beside the others.
    fn all(&self, subject: Option<Value>) -> String {
        documents(&self.objects(subject))
    }

    fn objects(&self, subject: Option<Value>) -> Vec<Value> {
        let images = |name: &str| self.lab.images("a").join(name);
        let mut all = vec![
            object("Fleet", "kinds", json!({"id": "6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a78"})),
            object("Node", "host", json!({"uri": self.lab.uri("a"), "defaults": {"accelerator": "TCG"}})),
            object("StoragePool", "main", json!({"type": "Dir", "target": {"path": images("main")}})),
            object("StoragePool", "spare", json!({"type": "Dir", "target": {"path": images("spare")}})),
            object(
                "Network",
                "lan",
                json!({
                    "mode": "NAT", "running": self.running,
                    "ips": [{"address": "198.18.41.1/24", "dhcp": {"ranges": [{"start": "198.18.41.100", "end": "198.18.41.150"}]}}],
                }),
            ),
            object("Template", "tiny", json!({"pool": "main", "source": {"file": "tiny.qcow2"}, "format": "qcow2"})),
            object("KeyPair", "admin", json!({"publicKey": KEY})),
            object("Volume", "base", json!({"pool": "main", "capacity": "8Mi"})),
            object("Volume", "data", json!({"pool": "main", "source": {"template": "tiny"}, "clone": "Full"})),
            object("Volume", "linked", json!({"pool": "main", "source": {"volume": "base"}})),
            object("Volume", "copied", json!({"pool": "main", "source": {"template": "tiny"}, "clone": "Full"})),
            object(
                "VirtualMachine",
                GUEST,
                json!({
                    "runStrategy": if self.running { "Always" } else { "Halted" },
                    "memory": "96Mi",
                    "disks": [
                        {"name": "root", "claim": {"pool": "main", "source": {"template": "tiny"}}},
                        {"name": "data", "volume": "data"},
                        {"name": "linked", "volume": "linked"},
                    ],
                    "interfaces": [{"name": "eth0", "network": "lan"}],
                    "cloudInit": {"hostname": "guest", "keyPairs": ["admin"]},
                }),
            ),
        ];
        if let Some(subject) = subject {
            let same =
                |one: &&mut Value| one["kind"] == subject["kind"] && one["metadata"]["name"] == subject["metadata"]["name"];
            match all.iter_mut().find(same) {
                Some(one) => *one = subject,
                None => all.push(subject),
            }
        }
        all
    }

    /// The object of a case as it stands in all manifests, or as a case makes it.
    fn document(&self, case: &Case) -> Value {
        self.objects(None)
            .into_iter()
            .find(|one| one["kind"] == case.kind.name() && one["metadata"]["name"] == case.object)
            .unwrap_or_else(|| object(case.kind.name(), case.object, json!({})))
    }

    fn write(&self, document: &Value, edits: &[Edits]) {
        let mut document = document.clone();
        for (path, value) in edits.iter().copied().flatten() {
            put(&mut document, path, self.filled(value()));
        }
        let spec = document["spec"].take();
        let mut spec = spec;
        prune(&mut spec);
        document["spec"] = spec;
        self.checkout.write("all.yaml", &self.all(Some(document)));
    }

    /// A value of a case: `@P` stands for the folder of images, `@U` for the node's URI, `@S` for where the images are served, `@C` for
    /// the checksum of the guest's.
    fn filled(&self, value: Value) -> Value {
        let Value::String(text) = value else { return value };
        let sum = || hex::encode(Sha256::digest(std::fs::read(tiny(false)).expect("the image can be read")));
        let text = text.replace("@P", &self.lab.images("a").display().to_string()).replace("@U", &self.lab.uri("a"));
        let text = text.replace("@S", &self.url);
        Value::String(if text.contains("@C") { text.replace("@C", &sum()) } else { text })
    }

    /// What makes the guest the one that it is, and where it is plugged in.
    fn guest(&self) -> (String, usize) {
        let bridges = if self.running { bridges(&self.lab, GUEST) } else { Vec::new() };
        (self.lab.virsh("a", &["domid", GUEST]).trim().to_owned(), bridges.iter().filter(|bridge| *bridge != "none").count())
    }

    /// What is somebody else's, byte for byte.
    fn theirs(&self) -> String {
        let ask = "domstate theirs; dumpxml theirs; net-info theirs; net-dumpxml theirs; pool-info theirs; pool-dumpxml theirs; \
                   vol-dumpxml --pool theirs theirs.img";
        // What is free in a file system is no part of a pool.
        let text = self.lab.virsh("a", &[ask]);
        text.lines()
            .filter(|line| !line.to_lowercase().contains("availab") && !line.to_lowercase().contains("allocation"))
            .collect()
    }

    /// Whatever happens, what is somebody else's is as it was.
    fn nobody_else(&self, what: &str) {
        assert_eq!(self.theirs(), self.beside, "{what}");
    }

    /// The documents that libvirt has of an object.
    fn xml(&self, case: &Case) -> Vec<String> {
        let name = case.object;
        match case.kind {
            Kind::Network if self.running => {
                vec![self.lab.virsh("a", &["net-dumpxml", name]), self.lab.virsh("a", &["net-dumpxml", name, "--inactive"])]
            }
            Kind::Network => vec![self.lab.virsh("a", &["net-dumpxml", name, "--inactive"])],
            Kind::StoragePool => {
                vec![self.lab.virsh("a", &["pool-dumpxml", name]) + &self.lab.virsh("a", &["pool-info", name])]
            }
            Kind::Volume => vec![self.lab.virsh("a", &["vol-dumpxml", "--pool", "main", &format!("{name}.qcow2")])],
            _ => Vec::new(),
        }
    }

    fn plan(&self, case: &Case, more: &[&str]) -> Answer {
        self.checkout.jvp(&[&["plan", "--detailed-exitcode"], case.words, more].concat())
    }

    /// Applies what is written, of which the plan says whether it changes anything; gives the effects on the case's object that the plan stated.
    fn apply(&self, case: &Case, what: &str, changes: bool) -> BTreeSet<String> {
        let plan = json_of(&self.plan(case, &["-o", "json"]).text, what);
        assert_eq!(plan["empty"], !changes, "{what}: {plan}");
        let prefix = format!("{}/{}", case.kind, case.object);
        let mut effects = BTreeSet::new();
        for change in plan["changes"].as_array().expect("changes") {
            let stated = words(&change["effect"]);
            let parts = change["effects"].as_object().into_iter().flat_map(Map::values).flat_map(words);
            let own = change["object"].as_str().is_some_and(|object| object.split('@').next() == Some(prefix.as_str()));
            for effect in stated.into_iter().chain(parts) {
                assert!(own || !["start", "stop", "restart", "recreate"].contains(&effect.as_str()), "{what}: {plan}");
                if own {
                    effects.insert(effect);
                }
            }
        }
        let before = self.guest();
        let answer = self.checkout.jvp(&[&["apply", "-y"], case.words].concat());
        assert_eq!(answer.code, Some(0), "{what}:\n{}", answer.text);
        let (id, plugs) = self.guest();
        assert_eq!(id, before.0, "{what}: the guest was started anew:\n{}", answer.text);
        assert_eq!(plugs, usize::from(self.running), "{what}: the guest's interface hangs on no bridge:\n{}", answer.text);
        let again = self.plan(case, &[]);
        assert_eq!(again.code, Some(0), "{what}: the plan after it is not empty:\n{}\nafter\n{}", again.text, answer.text);
        self.nobody_else(what);
        effects
    }

    fn step(&self, case: &Case, document: &Value, step: &Step) {
        let what = format!("{}, {}: {}", case.name, if self.running { "running" } else { "off" }, step.word);
        self.write(document, &[case.base, step.edits]);
        match step.outcome {
            Outcome::Does { running, off } => {
                let effects = self.apply(case, &what, true);
                let expected: BTreeSet<String> =
                    if self.running { running } else { off }.iter().map(|word| (*word).to_owned()).collect();
                assert_eq!(effects, expected, "{what}: what the plan says that it disturbs");
            }
            Outcome::Nothing => {
                let plan = self.plan(case, &[]);
                assert_eq!(plan.code, Some(0), "{what}: something is to be done:\n{}", plan.text);
            }
            Outcome::Refused(code, says) => {
                let before = (self.guest(), self.lab.inventory("a"));
                let answer = self.checkout.jvp(&[&["apply", "-y"], case.words].concat());
                assert_eq!(answer.code, Some(code), "{what}:\n{}", answer.text);
                for says in says {
                    assert!(answer.text.contains(says), "{what}: `{says}` is not in:\n{}", answer.text);
                }
                assert_eq!((self.guest(), self.lab.inventory("a")), before, "{what}");
            }
        }
        for (text, there) in step.holds {
            for xml in self.xml(case) {
                let xml = unmarked(&xml);
                assert_eq!(xml.contains(text), *there, "{what}: `{text}` in {xml}");
            }
        }
    }

    /// A definition with another text in the place of one; gives it back as it was.
    fn define(&self, case: &Case, from: &str, to: &str) -> String {
        let Kind::Network = case.kind else { panic!("{} is no network", case.object) };
        let was = self.lab.virsh("a", &["net-dumpxml", case.object, "--inactive"]);
        assert!(was.contains(from), "`{from}` is not in {was}");
        self.redefine(&was.replace(from, to));
        was
    }

    fn redefine(&self, xml: &str) {
        let path = self.lab.folder("a").join("hand.xml");
        std::fs::write(&path, xml).expect("a file can be written");
        self.lab.virsh("a", &["net-define", path.to_str().unwrap()]);
    }

    fn hands(&self, case: &Case, document: &Value) {
        let set = case.steps.iter().rfind(|step| step.edits.iter().len() > 0 && matches!(step.outcome, Outcome::Does { .. }));
        let edits = set.map_or(&[][..], |step| step.edits);
        if !case.hand.is_empty() {
            self.write(document, &[case.base, edits]);
            self.checkout.jvp(&[&["apply", "-y"], case.words].concat()).exits(0);
        }
        let restart = |name: &str| {
            self.lab.virsh("a", &["net-destroy", name]);
            self.lab.virsh("a", &["net-start", name]);
        };
        let healed = |what: &str, act: &dyn Fn()| {
            let what = format!("{}, {}: by hand: {what}", case.name, if self.running { "running" } else { "off" });
            act();
            self.apply(case, &what, true);
            if let Some(set) = set {
                for (text, there) in set.holds {
                    assert!(self.xml(case).iter().all(|xml| unmarked(xml).contains(text) == *there), "{what}: `{text}`");
                }
            }
        };
        for hand in case.hand {
            match hand {
                Hand::Xml(from, to) => {
                    healed("its definition", &|| drop(self.define(case, from, to)));
                    if self.running {
                        healed("what runs", &|| {
                            let was = self.define(case, from, to);
                            restart(case.object);
                            self.redefine(&was);
                        });
                        healed("both", &|| {
                            self.define(case, from, to);
                            restart(case.object);
                        });
                    }
                }
                Hand::Update(args) => {
                    let both: &[&str] = &["--live", "--config"];
                    for on in [&["--config"][..], &["--live"], both].iter().take(if self.running { 3 } else { 1 }) {
                        let args = [&["net-update", case.object][..], args, on].concat();
                        healed(&format!("{args:?}"), &|| drop(self.lab.virsh("a", &args)));
                    }
                }
                Hand::Virsh { args, running } => {
                    if *running || !self.running {
                        healed(&format!("{args:?}"), &|| drop(self.lab.virsh("a", args)));
                    }
                }
            }
        }
    }

    fn check(&self, case: &Case) {
        let document = self.document(case);
        if !case.base.is_empty() {
            self.write(&document, &[case.base]);
            self.checkout.jvp(&["apply", "-y"]).exits(0);
        }
        for step in &case.steps {
            self.step(case, &document, step);
        }
        self.hands(case, &document);
        // As it was for whoever comes next.
        self.checkout.write("all.yaml", &self.all(None));
        let back = self.checkout.jvp(&[&["apply", "-y", "--prune"], case.words].concat());
        assert_eq!(back.code, Some(0), "{}: put back:\n{}", case.name, back.text);
        self.nobody_else(case.name);
    }
}

/// Serves the files of a folder over HTTP for as long as the tests run.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it listens"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = String::new();
            let mut reader = BufReader::new(&mut stream);
            while reader.read_line(&mut request).is_ok_and(|read| read > 2) {}
            let path = request.split_whitespace().nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            let bytes = std::fs::read(folder.join(path)).unwrap_or_default();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
            // Whoever hangs up early has what it wanted.
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(if request.starts_with("GET") { &bytes } else { &[] });
        }
    });
    url
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA admin";

/// One after the other: they stand on one guest.
fn all(running: bool) {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let bench = Bench::new(running);
    let mut failed = Vec::new();
    for (_, case) in cases().iter().enumerate().filter(|(number, case)| chosen(case.name, *number, running)) {
        // All of them at once, each from the same beginning.
        let began = std::time::Instant::now();
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.check(case))).is_err() {
            failed.push(case.name);
            bench.checkout.write("all.yaml", &bench.all(None));
            bench.checkout.jvp(&["apply", "-y", "--prune", "--allow-disconnect", "Network/lan"]);
        }
        eprintln!("{}: {:.1} s", case.name, began.elapsed().as_secs_f32());
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn each_leaf_of_every_kind_beneath_a_running_guest_is_set_changed_and_taken_out_and_drift_is_healed() {
    all(true);
}

#[test]
fn each_leaf_of_every_kind_beneath_a_guest_that_is_off_is_set_changed_and_taken_out_and_drift_is_healed() {
    all(false);
}

#[test]
fn every_leaf_of_every_schema_has_a_case() {
    let mut covered: BTreeSet<(Kind, &str)> =
        crate::leaf_cases::cases().iter().flat_map(|case| case.leaves).map(|leaf| (Kind::VirtualMachine, *leaf)).collect();
    covered.extend(cases().iter().flat_map(|case| case.leaves.iter().map(|leaf| (case.kind, *leaf))));
    let mut lacking: Vec<String> = FIELDS
        .iter()
        .filter(|row| !covered.contains(&(row.kind, row.path)))
        .map(|row| format!("{}{}", row.kind, row.path))
        .collect();
    for (name, text) in jvp::manifest::schema::all() {
        let schema: Value = serde_json::from_str(text).expect("a schema is JSON");
        let Some(kind) =
            Kind::TABLE.iter().map(|row| row.kind).find(|kind| name == format!("{}.json", kind.name().to_lowercase()))
        else {
            continue;
        };
        let leaves = schema["$defs"]["Lifecycle"]["properties"].as_object().expect("the words of lifecycle");
        for leaf in leaves.keys() {
            if !lifecycle_cases::covers(kind, leaf) {
                lacking.push(format!("{kind}: lifecycle/{leaf}"));
            }
        }
    }
    assert!(lacking.is_empty(), "no case shows what becomes of these: {lacking:#?}");
}
