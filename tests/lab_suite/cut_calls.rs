//! Each call of libvirt's that changes something, of a creation, a change and a delete, on a real libvirtd: the connection breaks before
//! it gets there, or after it was done and before the answer. The next run ends as a clean one does.

use std::path::PathBuf;

use crate::checkout::Checkout;
use crate::kill::{DELETE, Inventory, difference, manifests};
use crate::proxy::{Cut, Proxy};
use crate::support::{Lab, left_out, tiny};

/// What a run finds and leaves on a node, call by call.
struct Case<'a> {
    lab: &'a Lab,
    node: &'a str,
    proxy: Proxy,
    checkout: Checkout,
}

const APPLY: [&str; 4] = ["apply", "-y", "--allow-disconnect", "Network/lan"];

impl<'a> Case<'a> {
    fn new(lab: &'a Lab, node: &'a str) -> Self {
        let uri = lab.uri(node);
        let daemon = PathBuf::from(uri.split("socket=").nth(1).expect("a socket"));
        let proxy = Proxy::new(&daemon.with_file_name("cut-sock"), &daemon);
        let checkout = Checkout::new("");
        checkout.copy(&tiny(false), "tiny.qcow2");
        Self { lab, node, proxy, checkout }
    }

    fn pool(&self) -> PathBuf {
        self.lab.images(self.node).join("main")
    }

    fn inventory(&self) -> Inventory {
        self.lab.inventory(self.node)
    }

    fn first(&self) {
        self.checkout.write("all.yaml", &manifests(&self.proxy.uri(), &self.pool().to_string_lossy(), "Always"));
    }

    /// Plugged in: a disk; grown: one that the guest has; changed: a title, an entry of the network, and the memory of what is off.
    fn then(&self) {
        let text = manifests(&self.proxy.uri(), &self.pool().to_string_lossy(), "Always");
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

    /// The node as it was before jvp came, by a way without trouble.
    fn afresh(&self) {
        self.proxy.cut(None);
        self.checkout.lose_state();
        if self.pool().exists() {
            std::fs::remove_dir_all(self.pool()).expect("it can be removed");
        }
    }

    /// A run without trouble: what it leaves, and the calls of it that change something.
    fn clean(&self, args: &[&str]) -> (Inventory, Vec<u32>) {
        self.proxy.cut(None);
        self.checkout.jvp(args).exits(0);
        (self.inventory(), self.proxy.seen())
    }

    /// A run whose `number`-th call breaks its connection, and one without trouble. Whether there was such a call.
    fn cut(&self, args: &[&str], number: u32, cut: Cut, clean: &Inventory) -> bool {
        self.proxy.cut(Some((number, cut)));
        let broken = self.checkout.jvp(args);
        let met = self.proxy.met();
        self.proxy.cut(None);
        let again = self.checkout.jvp(args);
        let what = format!(
            "{args:?}, cut {cut:?} call {number} ({met:?}), which said ({:?}):\n{}\nand the next:\n{}",
            broken.code, broken.text, again.text
        );
        assert_eq!(again.code, Some(0), "{what}");
        if args[0] == "apply" {
            let plan = self.checkout.jvp(&["plan", "--detailed-exitcode"]);
            assert_eq!(plan.code, Some(0), "{what}\nand the plan:\n{}", plan.text);
        }
        let found = difference(clean, &self.inventory());
        assert_eq!(found, "", "{what}");
        met.is_some()
    }
}

/// Tries `cut` at each call, or at the one of each run that a number chooses: at how many of a creation, a change and a delete.
fn each(case: &Case<'_>, cut: Cut, chosen: Option<u32>) -> [u32; 3] {
    case.afresh();
    let untouched = case.inventory();
    case.first();
    let (made, creation) = case.clean(&APPLY);
    case.then();
    let (changed, change) = case.clean(&APPLY);
    let (gone, delete) = case.clean(&DELETE);
    assert_eq!(difference(&untouched, &gone), "", "a clean delete leaves nothing");
    let calls = [creation, change, delete].map(|calls| u32::try_from(calls.len()).unwrap());
    let rounds: Vec<[u32; 3]> = match chosen {
        None => (1..=calls.into_iter().max().unwrap_or_default()).map(|number| [number; 3]).collect(),
        Some(number) => vec![calls.map(|calls| number % calls + 1)],
    };
    let mut cuts = [0; 3];
    for numbers in rounds {
        case.afresh();
        case.first();
        cuts[0] += u32::from(case.cut(&APPLY, numbers[0], cut, &made));
        case.then();
        cuts[1] += u32::from(case.cut(&APPLY, numbers[1], cut, &changed));
        cuts[2] += u32::from(case.cut(&DELETE, numbers[2], cut, &untouched));
    }
    let least = if chosen.is_none() { [20, 7, 14] } else { [1, 1, 1] };
    assert!(cuts.iter().zip(least).all(|(cuts, least)| *cuts >= least), "{cuts:?}");
    cuts
}

#[test]
fn a_connection_that_breaks_about_any_call_ends_as_a_clean_run() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let said = std::env::var("JVP_TEST_CALLS").ok();
    let number = said.as_ref().and_then(|said| said.parse().ok()).unwrap_or_else(std::process::id);
    let chosen = Some(number).filter(|_| said.as_deref() != Some("all"));
    if chosen.is_some() {
        eprintln!("one call of each run: JVP_TEST_CALLS={number} takes these again, JVP_TEST_CALLS=all takes all");
    }
    let lab = Lab::own(2);
    let [before, after] = std::thread::scope(|scope| {
        let runs = [("a", Cut::Before), ("b", Cut::After)].map(|(node, cut)| {
            let lab = &lab;
            scope.spawn(move || each(&Case::new(lab, node), cut, chosen))
        });
        runs.map(|run| run.join().unwrap())
    });
    eprintln!("cut of a creation, a change and a delete: {before:?} before a call, {after:?} after one");
}
