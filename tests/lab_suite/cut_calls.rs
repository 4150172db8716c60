//! Each call of libvirt's that changes something, of a creation, a change and a delete, on a real libvirtd: the connection breaks before
//! it gets there, or after it was done and before the answer. The next run ends as a clean one does, and what is somebody else's on the
//! node stays as it is, to the byte.
//!
//! A set of this file's own is tried, and checkouts of the repository: one of them, one call of each run, or by a word all of both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::checkout::{Answer, Checkout};
use crate::kill::{DELETE, Inventory, difference, manifests};
use crate::proxy::{Cut, Proxy};
use crate::sample::{below, chosen};
use crate::support::{Lab, left_out, still_qcow2};
use crate::{changes, checkouts, foreign};

/// What is made, changed and taken down.
enum Set {
    /// That of this file.
    Own,
    /// A checkout of the repository: its name, its manifests as they are at first, and the state directory with its keys, which can't be
    /// made again.
    Of { name: String, texts: BTreeMap<PathBuf, String>, kept: PathBuf },
}

/// What runs find and leave on one or two nodes, call by call.
struct Case<'a> {
    lab: &'a Lab,
    nodes: Vec<(&'a str, Proxy)>,
    checkout: Checkout,
    set: Set,
}

/// A run: its words.
type Words = Vec<String>;

fn words(words: &[&str]) -> Words {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn proxy(lab: &Lab, node: &str) -> Proxy {
    let uri = lab.uri(node);
    let daemon = PathBuf::from(uri.split("socket=").nth(1).expect("a socket"));
    Proxy::new(&daemon.with_file_name("cut-sock"), &daemon)
}

fn copied(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().is_ok_and(|status| status.success()));
}

impl<'a> Case<'a> {
    fn own(lab: &'a Lab, node: &'a str) -> Self {
        let checkout = Checkout::new("");
        checkout.copy(&still_qcow2(), "tiny.qcow2");
        Self { lab, nodes: vec![(node, proxy(lab, node))], checkout, set: Set::Own }
    }

    /// A checkout of the repository on this node, or on the other one too where it has two.
    fn of(lab: &'a Lab, name: &str, nodes: [&'a str; 2]) -> Self {
        let nodes = &nodes[..if checkouts::has_two(name) { 2 } else { 1 }];
        let nodes: Vec<(&str, Proxy)> = nodes.iter().map(|&node| (node, proxy(lab, node))).collect();
        let uris = [0, nodes.len() - 1].map(|which| nodes[which].1.uri());
        let checkout = checkouts::placed(name, [&uris[0], &uris[1]]);
        checkouts::edit(&checkout.folder(), &|text| text.replace("preventDestroy: true", "preventDestroy: false"));
        let texts = checkouts::texts(&checkout.folder());
        let (kept, keyed) = (checkout.state().with_file_name("kept"), texts.values().any(|text| text.contains("generate: true")));
        let case = Self { lab, nodes, checkout, set: Set::Of { name: name.to_owned(), texts, kept: kept.clone() } };
        if keyed {
            case.jvp(&words(&["apply", "-y", "--target", "KeyPair/ops"])).exits(0);
            copied(&case.checkout.state(), &kept);
        }
        case
    }

    fn jvp(&self, args: &[String]) -> Answer {
        let uri = self.nodes[0].1.uri();
        let node: &[&str] = if matches!(self.set, Set::Own) { &[] } else { &["-c", &uri] };
        self.checkout.jvp(&node.iter().copied().chain(args.iter().map(String::as_str)).collect::<Vec<_>>())
    }

    fn pool(&self) -> PathBuf {
        self.lab.images(self.nodes[0].0).join("main")
    }

    /// All that the nodes have, and what is somebody else's to the byte.
    fn inventory(&self) -> Inventory {
        let on = |(node, _): &(&str, Proxy)| {
            let all = self.lab.inventory(node).into_iter().chain(foreign::state(self.lab, node));
            all.map(|(name, value)| (format!("{node}: {name}"), value)).collect::<Vec<_>>()
        };
        self.nodes.iter().flat_map(on).collect()
    }

    fn apply(&self) -> Words {
        words(match self.set {
            Set::Own => &["apply", "-y", "--allow-disconnect", "Network/lan"],
            Set::Of { .. } => &["apply", "-y"],
        })
    }

    /// Takes all down that there is.
    fn delete(&self) -> Words {
        if matches!(self.set, Set::Own) {
            return words(&DELETE);
        }
        let vms = self.jvp(&words(&["get", "vms", "-o", "name"])).exits(0).text;
        let vms = vms.lines().filter(|line| line.starts_with("VirtualMachine/"));
        let cut = vms.flat_map(|vm| ["--force-stop".to_owned(), vm.to_owned()]);
        words(&["delete", "-y", "--with-data"]).into_iter().chain(cut).collect()
    }

    fn first(&self) {
        match &self.set {
            Set::Own => {
                let text = manifests(&self.nodes[0].1.uri(), &self.pool().to_string_lossy(), "Always");
                self.checkout.write("all.yaml", &text);
            }
            Set::Of { texts, .. } => {
                for (path, text) in texts {
                    std::fs::write(path, text).expect("a manifest can be written");
                }
            }
        }
    }

    /// Of the own: plugged in: a disk; grown: one that the guest has; changed: a title, an entry of the network, and the memory of what
    /// is off.
    fn then(&self) {
        if let Set::Of { name, .. } = &self.set {
            self.first();
            changes::change(&self.checkout.folder(), name);
            return;
        }
        let text = manifests(&self.nodes[0].1.uri(), &self.pool().to_string_lossy(), "Always");
        let edits = [
            (
                "  - {name: data, claim: {pool: main, capacity: 8Mi}}\n",
                "  - {name: data, claim: {pool: main, capacity: 16Mi}}\n  - {name: more, claim: {pool: main, capacity: 8Mi}}\n",
            ),
            ("  memory: 96Mi\n", "  memory: 96Mi\n  title: New\n"),
            ("  memory: 128Mi\n", "  memory: 160Mi\n"),
            ("  mode: NAT\n", "  mode: NAT\n  dns: {hosts: [{ip: 198.18.7.5, names: [five]}]}\n"),
        ];
        let text = edits.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        self.checkout.write("all.yaml", &text);
    }

    /// The nodes as they were before jvp came, by a way without trouble.
    fn afresh(&self) {
        self.checkout.lose_state();
        for (node, proxy) in &self.nodes {
            proxy.cut(None);
            self.lab.clear(node, "theirs");
        }
        if let Set::Of { kept, .. } = &self.set
            && kept.exists()
        {
            copied(kept, &self.checkout.state());
        }
    }

    /// A run without trouble: what it leaves, and the calls of it that change something, each by its node and number.
    fn clean(&self, args: &[String]) -> (Inventory, Vec<(usize, u32)>) {
        for (_, proxy) in &self.nodes {
            proxy.cut(None);
        }
        self.jvp(args).exits(0);
        let calls = |(which, (_, proxy)): (usize, &(&str, Proxy))| {
            let count = u32::try_from(proxy.seen().len()).expect("few calls");
            (1..=count).map(move |number| (which, number))
        };
        (self.inventory(), self.nodes.iter().enumerate().flat_map(calls).collect())
    }

    /// A run that breaks its connection at a call, and one without trouble. Whether there was such a call.
    fn cut(&self, args: &[String], (which, number): (usize, u32), cut: Cut, clean: &Inventory) -> bool {
        let (node, proxy) = &self.nodes[which];
        proxy.cut(Some((number, cut)));
        let broken = self.jvp(args);
        let met = proxy.met();
        proxy.cut(None);
        let again = self.jvp(args);
        let what = format!(
            "{args:?}, cut {cut:?} call {number} of {node} ({met:?}), which said ({:?}):\n{}\nand the next:\n{}",
            broken.code, broken.text, again.text
        );
        assert_eq!(again.code, Some(0), "{what}");
        if args[0] == "apply" {
            let plan = self.jvp(&words(&["plan", "--detailed-exitcode"]));
            assert_eq!(plan.code, Some(0), "{what}\nand the plan:\n{}", plan.text);
        }
        let found = difference(clean, &self.inventory());
        assert_eq!(found, "", "{what}");
        met.is_some()
    }
}

/// Tries `cut` at each call, or at the one of each run that a number chooses: at how many of a creation, a change and a delete.
fn each(case: &Case<'_>, cut: Cut, chosen: Option<u64>) -> [u32; 3] {
    case.afresh();
    let untouched = case.inventory();
    case.first();
    let apply = case.apply();
    let (made, creation) = case.clean(&apply);
    case.then();
    let (changed, change) = case.clean(&apply);
    let words = case.delete();
    let (gone, delete) = case.clean(&words);
    if matches!(case.set, Set::Own) {
        assert_eq!(difference(&untouched, &gone), "", "a clean delete leaves nothing");
    }
    let runs = [creation, change, delete];
    let rounds: Vec<[Option<(usize, u32)>; 3]> = match chosen {
        None => (0..runs.iter().map(Vec::len).max().unwrap_or_default())
            .map(|round| [0, 1, 2].map(|run: usize| runs[run].get(round).copied()))
            .collect(),
        Some(number) => {
            let drawn = |run: usize| below(number, &format!("call of run {run}, {cut:?}"), runs[run].len() as u64);
            vec![[0, 1, 2].map(|run: usize| runs[run].get(drawn(run) as usize).copied())]
        }
    };
    let mut cuts = [0; 3];
    for calls in rounds {
        let run = |which: usize, args: &[String], end: &Inventory| match calls[which] {
            Some(call) => case.cut(args, call, cut, end),
            None => {
                case.jvp(args).exits(0);
                false
            }
        };
        case.afresh();
        case.first();
        cuts[0] += u32::from(run(0, &apply, &made));
        case.then();
        cuts[1] += u32::from(run(1, &apply, &changed));
        cuts[2] += u32::from(run(2, &words, &gone));
    }
    let own = matches!(case.set, Set::Own);
    let least = if chosen.is_none() && own { [20, 7, 14] } else { [1, 1, 1] };
    assert!(cuts.iter().zip(least).all(|(cuts, least)| *cuts >= least), "{cuts:?}");
    cuts
}

#[test]
fn a_connection_that_breaks_about_any_call_ends_as_a_clean_run() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let chosen = chosen("one call of each run, also of one checkout (JVP_TEST_CHECKOUT=NAME: that one)");
    let mut names = checkouts::all();
    if let Some(number) = chosen {
        names = vec![names.swap_remove(below(number, "checkout", names.len() as u64) as usize)];
        eprintln!("of {}", names[0]);
    }
    // One that has two nodes has them for itself.
    let (alone, beside): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| checkouts::has_two(name));
    let lab = Lab::own(2);
    for node in ["a", "b"] {
        foreign::put(&lab, node);
        checkouts::has_a_bridge(&lab, node);
    }
    let sides = [(["a", "b"], Cut::Before), (["b", "a"], Cut::After)];
    std::thread::scope(|scope| {
        let runs = sides.map(|(nodes, cut)| {
            let (lab, beside) = (&lab, &beside);
            scope.spawn(move || {
                let cuts = each(&Case::own(lab, nodes[0]), cut, chosen);
                eprintln!("cut {cut:?} calls of a creation, a change and a delete: {cuts:?}");
                for name in beside {
                    let cuts = each(&Case::of(lab, name, nodes), cut, chosen);
                    eprintln!("cut {cut:?} calls of {name}: {cuts:?}");
                }
            })
        });
        for run in runs {
            run.join().expect("what is cut ends as a clean run");
        }
    });
    for (nodes, cut) in sides {
        for name in &alone {
            let cuts = each(&Case::of(&lab, name, nodes), cut, chosen);
            eprintln!("cut {cut:?} calls of {name}: {cuts:?}");
        }
    }
}
