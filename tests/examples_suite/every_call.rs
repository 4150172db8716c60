//! Each call that changes something on a node, of making each checkout, changing it and taking it down: it fails before its effect, or
//! after it without an answer. One more run ends as a clean one: nothing twice, nothing lost, nothing of somebody else's touched.
//!
//! A run of the tests tries one call of each of the three, of every other checkout; `JVP_TEST_CALLS=all` tries all, `JVP_TEST_CALLS=N`
//! those of a number. Which checkouts, and of each run which node, which call and how it fails, are drawn apart from each other.

use std::fs;
use std::path::Path;
use std::process::Command;

use jvp::host::fake::{FakeHost, Manners};
use jvp::plan::Op;
use serde_json::Value;

use crate::checkout::{Place, node};
use crate::sample::{below, chosen};
use crate::{all, changes, run};

/// A checkout on nodes that have something of somebody else's.
struct Case {
    place: Place,
    checkout: String,
    nodes: Vec<String>,
}

/// A run, and where it begins and ends when nothing goes wrong.
struct Run<'a> {
    arguments: Vec<&'a str>,
    begin: &'static str,
    /// The nodes in the end.
    end: Vec<Value>,
    /// What jvp keeps then.
    kept: String,
    /// How many calls each node gets, but for refreshes of pools, as the history tells.
    calls: Vec<u64>,
}

impl Case {
    fn new(checkout: &str) -> Self {
        let place = Place::with(&[checkout]);
        let nodes = match checkout {
            "examples/two-nodes" => vec!["kvm1".to_owned(), "kvm2".to_owned()],
            _ => vec!["local".to_owned()],
        };
        for name in &nodes {
            put_foreign(&FakeHost::at(name, &place.path("fake").join(format!("{name}.json"))));
        }
        let case = Self { place, checkout: checkout.to_owned(), nodes };
        // A key that is made anew is another key: it is made once.
        let keyed = fs::read_dir(case.folder())
            .unwrap()
            .any(|file| fs::read_to_string(file.unwrap().path()).is_ok_and(|text| text.contains("generate: true")));
        if keyed {
            case.done(&["apply", "-f", checkout, "-y", "--target", "KeyPair/ops"]);
        }
        if checkout == "examples/volumes" {
            changes::edit(&case.folder(), "volumes.yaml", "preventDestroy: true", "preventDestroy: false");
        }
        case.keep("empty");
        case
    }

    fn folder(&self) -> std::path::PathBuf {
        self.place.path("checkout").join(&self.checkout)
    }

    fn change(&self) {
        changes::change(&self.folder(), &self.checkout);
    }

    fn done(&self, arguments: &[&str]) -> String {
        run(&self.place, 0, arguments)
    }

    /// Keeps all as it is under a name. The ledger knows its own path, so it comes back to the same.
    fn keep(&self, name: &str) {
        fs::create_dir(self.place.path(name)).unwrap();
        copied(&self.place, "", name);
    }

    fn bring_back(&self, name: &str) {
        for folder in ["state", "fake", "checkout"] {
            fs::remove_dir_all(self.place.path(folder)).unwrap();
        }
        copied(&self.place, name, "");
    }

    fn states(&self) -> Vec<Value> {
        self.nodes.iter().map(|name| node(&self.place, name)).collect()
    }

    /// What is somebody else's on all nodes, to the byte.
    fn foreign(&self) -> Vec<Value> {
        let of = |name: &String| {
            let text = fs::read_to_string(self.place.path("fake").join(format!("{name}.json"))).unwrap();
            let state: Value = serde_json::from_str(&text).unwrap();
            let of = |kind: &str, name: &str| state[kind][name].clone();
            let [pool, network, domain] = ["pools", "networks", "domains"].map(|kind| of(kind, "foreign"));
            assert!(domain["live"].is_string() && pool.is_object() && network.is_object(), "{state:#}");
            Value::from(vec![pool, network, domain, of("files", "/images/foreign/theirs.qcow2")])
        };
        self.nodes.iter().map(of).collect()
    }

    /// How much of each node's the history has.
    fn history(&self) -> Vec<u64> {
        let output = self.place.jvp(&["history", "-f", &self.checkout, "--limit", "0", "-o", "json"]);
        let events: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let of =
            |name: &String| events.iter().filter(|event| event["node"] == **name && event["op"] != "inventory").count() as u64;
        self.nodes.iter().map(of).collect()
    }

    /// Carries a run out as it is without trouble.
    fn clean<'a>(&self, begin: &'static str, arguments: Vec<&'a str>) -> Run<'a> {
        let before = self.history();
        self.done(&arguments);
        let calls = self.history().into_iter().zip(before).map(|(after, before)| after - before).collect();
        // Pools are known by their second look.
        self.done(&arguments);
        Run { end: self.states(), kept: self.kept(), arguments, begin, calls }
    }

    fn kept(&self) -> String {
        self.done(&["get", "all", "-f", &self.checkout, "-o", "name"])
    }

    /// Has one call go wrong and runs once more. False where there is no such call.
    fn tried(&self, wanted: &Run<'_>, node: usize, number: u64, how: &str) -> bool {
        self.bring_back(wanted.begin);
        if wanted.begin == "made" {
            self.change();
        }
        let foreign = self.foreign();
        let fault = format!("{}:{number}:{how}", self.nodes[node]);
        let mut command = self.place.command(env!("CARGO_BIN_EXE_jvp"));
        command.args(&wanted.arguments).env("JVP_FAKE_FAULT", &fault).env("JVP_LOG", "jvp::host::fake=debug");
        let broken = command.output().unwrap();
        let said = String::from_utf8_lossy(&broken.stdout).into_owned() + &String::from_utf8_lossy(&broken.stderr);
        if !said.contains("it goes wrong on purpose") {
            return false;
        }
        let again = self.done(&wanted.arguments);
        let what = format!("{:?} with JVP_FAKE_FAULT={fault}, which said\n{said}\nand then\n{again}", wanted.arguments);
        for (found, end) in self.states().iter().zip(&wanted.end) {
            assert!(found == end, "{what}\nit ended as\n{found:#}\nand not as\n{end:#}");
        }
        assert_eq!(self.foreign(), foreign, "{what}");
        if wanted.arguments[0] == "apply" {
            self.done(&["plan", "-f", &self.checkout, "--detailed-exitcode"]);
        } else {
            assert_eq!(self.kept(), wanted.kept, "{what}");
        }
        true
    }
}

fn copied(place: &Place, from: &str, to: &str) {
    for folder in ["state", "fake", "checkout"] {
        let (from, to) = (place.path(from).join(folder), place.path(to));
        assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    }
}

/// A pool with a file, a network, and a domain that runs on both.
fn put_foreign(host: &FakeHost) {
    let text = |text: &str| text.to_owned();
    let uuid = uuid::Uuid::from_u128(9);
    let path = Path::new("/images/foreign");
    let pool = format!("<pool type='dir'><name>foreign</name><target><path>{}</path></target></pool>", path.display());
    let volume = "<volume><name>theirs.qcow2</name><capacity>1048576</capacity><target><format type='qcow2'/></target></volume>";
    let network = "<network><name>foreign</name><bridge name='foreign0'/><ip address='198.19.0.1' prefix='24'/></network>";
    let domain = format!(
        "<domain type='qemu'><name>foreign</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='q35'>hvm</type></os><devices><disk type='file' device='disk'>\
         <driver name='qemu' type='qcow2'/><source file='/images/foreign/theirs.qcow2'/><target dev='vda' bus='virtio'/></disk>\
         <interface type='network'><source network='foreign'/><mac address='52:54:00:00:00:99'/><model type='virtio'/></interface>\
         </devices></domain>"
    );
    let all = [
        Op::PoolDefine { name: text("foreign"), xml: pool },
        Op::PoolBuild { name: text("foreign") },
        Op::PoolStart { name: text("foreign") },
        Op::VolumeCreate { pool: text("foreign"), name: text("theirs.qcow2"), xml: text(volume) },
        Op::NetworkDefine { name: text("foreign"), xml: text(network) },
        Op::NetworkStart { name: text("foreign") },
        Op::DomainDefine { name: text("foreign"), uuid, xml: domain.into(), validate: false },
        Op::DomainStart { name: text("foreign"), uuid },
    ];
    host.with(|state| {
        state.bridges.insert(text("br0"));
        for op in &all {
            state.perform(op).unwrap();
        }
        state.domains.get_mut("foreign").unwrap().manners = Manners::Ignores;
    });
}

/// Tries a checkout, at each call or at those that a number chooses: how many were tried.
fn tried(checkout: &str, chosen: Option<u64>) -> u64 {
    let case = Case::new(checkout);
    let apply = vec!["apply", "-f", checkout, "-y", "--parallelism", "1"];
    let creation = case.clean("empty", apply.clone());
    case.keep("made");
    case.change();
    let change = case.clean("made", apply);
    case.keep("changed");
    let delete = case.clean("changed", vec!["delete", "-f", checkout, "-y", "--with-data", "--parallelism", "1"]);
    let mut count = 0;
    for (name, run) in [("creation", creation), ("change", change), ("delete", delete)] {
        assert!(run.calls.iter().sum::<u64>() > 0, "{:?} of {checkout} changes nothing", run.arguments);
        if let Some(number) = chosen {
            let drawn = |what: &str, bound: u64| below(number, &format!("{checkout} {name} {what}"), bound);
            let nodes: Vec<usize> = (0..case.nodes.len()).filter(|node| run.calls[*node] > 0).collect();
            let node = nodes[usize::try_from(drawn("node", nodes.len() as u64)).unwrap()];
            let how = ["fails", "no-answer"][usize::try_from(drawn("way", 2)).unwrap()];
            let call = drawn("call", run.calls[node]) + 1;
            eprintln!("{checkout}, {name}: call {call} of {} on {} {how}", run.calls[node], case.nodes[node]);
            assert!(case.tried(&run, node, call, how), "{checkout}: no such call");
            count += 1;
            continue;
        }
        for node in 0..case.nodes.len() {
            for call in 1.. {
                if !case.tried(&run, node, call, "fails") {
                    assert!(call > run.calls[node], "{checkout}: the history tells of {:?} calls, {call} is none", run.calls);
                    break;
                }
                assert!(case.tried(&run, node, call, "no-answer"));
                count += 2;
            }
        }
    }
    eprintln!("{checkout}: {count} calls went wrong");
    count
}

#[test]
fn each_call_of_each_checkout_goes_wrong_and_one_more_run_ends_as_a_clean_one() {
    let chosen = chosen("one call of each run of every other checkout");
    let mut checkouts = all();
    if let Some(number) = chosen {
        let half = usize::try_from(below(number, "half", 2)).unwrap();
        checkouts = checkouts.into_iter().skip(half).step_by(2).collect();
    }
    let halves = checkouts.split_at(checkouts.len() / 2);
    let count: u64 = std::thread::scope(|scope| {
        let works =
            [halves.0, halves.1].map(|half| scope.spawn(|| half.iter().map(|checkout| tried(checkout, chosen)).sum::<u64>()));
        works.into_iter().map(|work| work.join().unwrap()).sum()
    });
    eprintln!("{count} calls of {} checkouts went wrong", checkouts.len());
}
