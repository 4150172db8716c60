//! A set over three nodes, one of which is away, hangs, or is another machine than before: what stands on the others is done, and before
//! anybody has given up on that one. And a fourth that is far away, which takes its time meanwhile.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use jvp::host::Host;
use jvp::observe::Scope;
use serde_json::Value;

use crate::checkout::{Answer, Checkout};
use crate::far;
use crate::proxy::{Link, Proxy};
use crate::sample::{below, chosen};
use crate::scenarios::{EMPTY, FLEET, lab_or_return};
use crate::support::{Lab, left_out, still};

/// Each Node with the lab's node that it is.
const NODES: [(&str, &str); 3] = [("one", "a"), ("two", "b"), ("three", "c")];

/// The set; the second Node is behind a proxy.
struct Set<'a> {
    lab: &'a Lab,
    checkout: Checkout,
    proxy: Proxy,
}

impl<'a> Set<'a> {
    fn new(lab: &'a Lab) -> Self {
        let set = Self { lab, checkout: Checkout::new(""), proxy: far::behind(lab, "b", Link::default()) };
        std::fs::write(set.checkout.folder().join("still.img"), still()).expect("it can be written");
        set
    }

    /// A pool, a template, a network and a guest that runs on each node, and these words in each guest's title.
    fn titled(&self, title: &str) {
        self.written(title, [&self.lab.uri("a"), &self.proxy.uri(), &self.lab.uri("c")]);
    }

    fn written(&self, title: &str, uris: [&str; 3]) {
        let mut text = format!(
            "apiVersion: jvp.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: lab}}\nspec: {{id: {FLEET}}}\n---\n\
             apiVersion: jvp.dev/v1alpha1\nkind: Network\nmetadata: {{name: lan}}\n\
             spec: {{mode: Isolated, ips: [{{address: 198.18.7.1/24}}]}}\n"
        );
        for ((name, node), uri) in NODES.into_iter().zip(uris) {
            text += &format!(
                r#"---
apiVersion: jvp.dev/v1alpha1
kind: Node
metadata: {{name: {name}}}
spec: {{uri: "{uri}", defaults: {{accelerator: TCG}}}}
---
apiVersion: jvp.dev/v1alpha1
kind: StoragePool
metadata: {{name: pool-{name}}}
spec: {{type: Dir, nodes: [{name}], target: {{path: {pool}}}}}
---
apiVersion: jvp.dev/v1alpha1
kind: Template
metadata: {{name: still-{name}}}
spec: {{pool: pool-{name}, source: {{file: still.img}}, format: raw}}
---
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {{name: vm-{name}}}
spec:
  node: {name}
  title: {title}
  memory: 96Mi
  runStrategy: Always
  disks: [{{name: root, claim: {{pool: pool-{name}, source: {{template: still-{name}}}}}}}]
  interfaces: [{{name: eth0, network: lan}}]
"#,
                pool = self.lab.images(node).join("pool").display(),
            );
        }
        self.checkout.write("all.yaml", &text);
    }

    /// The title of a Node's guest, as it runs; none where there is none.
    fn title(&self, which: usize) -> String {
        let (name, node) = NODES[which];
        let running = self.lab.virsh(node, &["list", "--name"]);
        if !running.lines().any(|line| line.trim() == format!("vm-{name}")) {
            return String::new();
        }
        self.lab.virsh(node, &["desc", &format!("vm-{name}"), "--title"]).trim().to_owned()
    }

    /// The first and the third node have all of it.
    #[track_caller]
    fn others_are(&self, title: &str, said: &str) {
        assert_eq!([self.title(0), self.title(2)], [title, title], "{said}");
    }

    /// What the history has of the last run: when each deed on the others ended, all of which were done, and when each on the second did
    /// that somebody gave up on.
    #[track_caller]
    fn ends(&self, said: &str) -> [Vec<Timestamp>; 2] {
        let text = self.checkout.jvp(&["history", "--limit", "0", "-o", "json"]).exits(0).text;
        let events: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        let run = |event: &Value| -> u64 {
            let run = event["run"].as_str().and_then(|run| run.split('-').next()?.parse().ok());
            run.expect("the number of a run")
        };
        let last = events.iter().map(run).max();
        let mut ends = [Vec::new(), Vec::new()];
        for event in events.iter().filter(|event| Some(run(event)) == last) {
            let (second, done) = (event["node"] == "two", event["outcome"] == "Done");
            assert!(second || done, "{event:#}\n{said}");
            if second != done && !event["node"].is_null() {
                let ended = event["ended"].as_str().expect("it ended");
                ends[usize::from(second)].push(ended.parse().expect("a time"));
            }
        }
        assert!(!ends[0].is_empty(), "nothing was done on the others:\n{said}");
        ends
    }

    /// By the history: all was done on the others before anybody had given up on something of the second node.
    #[track_caller]
    fn others_were_done_first(&self, said: &str) {
        let [others, given_up] = self.ends(said);
        let (last, first) = (others.iter().max(), given_up.iter().min());
        assert!(first.is_some() && last < first, "the others ended at {last:?}, this one at {first:?}:\n{said}");
    }

    /// All is well again: the next run does what was left, and then nothing is to be done.
    #[track_caller]
    fn converges(&self, title: &str) {
        self.checkout.jvp(&["apply", "-y"]).exits(0);
        self.checkout.jvp(&EMPTY).exits(0);
        assert_eq!(self.title(1), title);
        self.others_are(title, "");
    }

    fn starts(&self, args: &[&str]) -> Child {
        let mut command = self.checkout.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started")
    }
}

/// Two runs that do the same may differ in so many calls.
const SLACK: u32 = 3;

/// So many of these moments, or all of them; which ones, a number chooses, of those that come in any case.
fn moments(of: u32, some: u32) -> Vec<u32> {
    let Some(number) = chosen(&format!("{some} of {of} moments")) else { return (1..=of).collect() };
    let of = of - SLACK;
    let first = below(number, "moment", of.into()) as u32;
    (0..some).map(|which| (first + which * of / some) % of + 1).collect()
}

/// Whether a run was cut short at its moment. One of the last may never have come, or nothing was left to be asked there that the run
/// needed; then it has to be as a run without trouble.
#[track_caller]
fn was_cut_short(set: &Set<'_>, (moment, of): (u32, u32), answer: &Answer, well: i32) -> bool {
    let never = set.proxy.never_came();
    let short = !never && answer.code != Some(well);
    assert!(short || moment + SLACK > of, "moment {moment} of {of}, never {never}: {:?} {}", answer.code, answer.text);
    assert!(short || answer.code == Some(well), "moment {moment} of {of}, never {never}: {:?} {}", answer.code, answer.text);
    short
}

/// The calls to the second node while a command runs.
fn calls(set: &Set<'_>, args: &[&str], code: i32) -> u32 {
    set.proxy.traffic();
    set.checkout.jvp(args).exits(code);
    set.proxy.traffic().calls
}

fn is_away_at_each_moment(set: &Set<'_>) {
    // One that nobody has ever met may have a VM already, which is then not made a second time; all else is done.
    set.titled("first");
    set.proxy.away(true);
    let answer = set.checkout.jvp(&["apply", "-y"]).exits(4).says("Node/two").says("look whether libvirt runs there");
    answer.says("VirtualMachine/vm-one: it may stand on Node/two");
    for node in ["a", "c"] {
        assert!(set.lab.virsh(node, &["net-list", "--name"]).contains("lan"));
    }
    set.proxy.away(false);
    set.converges("first");
    // One that was met holds up nobody from the beginning on.
    set.checkout
        .jvp(&[
            "delete",
            "-y",
            "--with-data",
            "--force-stop",
            "VM/vm-one",
            "--force-stop",
            "VM/vm-two",
            "--force-stop",
            "VM/vm-three",
        ])
        .exits(0);
    set.proxy.away(true);
    let answer = set.checkout.jvp(&["apply", "-y"]).exits(4);
    set.others_are("first", &answer.text);
    set.proxy.away(false);
    set.converges("first");

    let planned = calls(set, &EMPTY, 0);
    set.titled("second");
    for moment in moments(planned, 2) {
        set.proxy.away_at(moment);
        let answer = set.checkout.jvp(&["plan"]);
        set.proxy.away(false);
        let short = was_cut_short(set, (moment, planned), &answer, 0);
        let answer = answer.says("VirtualMachine/vm-one").says("VirtualMachine/vm-three");
        let plan = if short { "Plan: 2 to change" } else { "Plan: 3 to change" };
        assert!(answer.text.contains(plan), "moment {moment}: {}", answer.text);
        if short {
            answer.exits(4).says("Node/two");
        }
    }
    let applied = calls(set, &["apply", "-y"], 0);
    assert!(applied > planned, "{applied} and {planned} calls");
    for moment in moments(applied, 2) {
        let title = format!("away-{moment}");
        set.titled(&title);
        set.proxy.away_at(moment);
        let answer = set.checkout.jvp(&["apply", "-y"]);
        if was_cut_short(set, (moment, applied), &answer, 0) {
            assert!(matches!(answer.code, Some(4 | 5)), "moment {moment}: {:?} {}", answer.code, answer.text);
        }
        set.others_are(&title, &answer.text);
        set.ends(&answer.text);
        set.proxy.away(false);
        set.converges(&title);
    }
}

/// Has the second node stopped at this call of it.
fn stops_at(set: &Set<'_>, moment: u32, pid: &str) {
    let stop = pid.to_owned();
    set.proxy.at(moment, move || {
        assert!(Command::new("kill").args(["-STOP", &stop]).status().is_ok_and(|status| status.success()));
    });
}

/// In whichever call of the first look: it is left out, and the others are as wanted while it hangs still.
fn hangs_in_the_first_look(set: &Set<'_>) {
    let planned = calls(set, &EMPTY, 0);
    let pid = set.lab.script(&["pid", "b"]).trim().to_owned();
    for moment in moments(planned, 2) {
        let title = format!("look-{moment}");
        set.titled(&title);
        stops_at(set, moment, &pid);
        let given_up = |answer: Answer| {
            let answer = answer.exits(4).says("Node/two: it gave no answer for").says("its libvirtd may hang");
            assert!(!answer.text.contains("vm-two failed"), "moment {moment}: {}", answer.text);
            answer
        };
        let answer = set.checkout.jvp(&["apply", "-y"]);
        // After the last of a plan's calls an apply goes on with others.
        let looked = moment + SLACK > planned && !answer.text.contains("it gave no answer for");
        let answer = if looked { answer } else { given_up(answer) };
        assert!(!set.proxy.never_came(), "moment {moment} of {planned}");
        set.others_are(&title, &answer.text);
        // One that hangs from the beginning.
        if !looked {
            given_up(set.checkout.jvp(&["plan"])).says("Nothing can be done.");
            given_up(set.checkout.jvp(&["get", "vm"])).says("vm-three");
        }
        set.lab.signal("b", "-CONT");
        set.converges(&title);
    }
}

/// Begins an apply whose second node is stopped at this call of it, and waits until the others are as wanted.
fn hangs_at(set: &Set<'_>, moment: u32, pid: &str, title: &str) -> Child {
    stops_at(set, moment, pid);
    let mut child = set.starts(&["apply", "-y"]);
    while set.title(0) != title || set.title(2) != title {
        assert!(child.try_wait().unwrap().is_none(), "moment {moment}: it ended before the others were done");
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

/// Waits until a node's libvirtd is stopped; false where the run ended without coming to where it would have been: it may need some
/// calls fewer than the run that was counted.
fn came_to_hang(set: &Set<'_>, pid: &str, child: &mut Child) -> bool {
    let hangs = || {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
        state.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    };
    while !hangs() {
        if child.try_wait().unwrap().is_some() && !hangs() {
            assert!(set.proxy.never_came(), "it ended, and its moment came without a stop");
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

fn hangs_in_the_middle_of_a_call(set: &Set<'_>) {
    let planned = calls(set, &EMPTY, 0);
    set.titled("before");
    let applied = calls(set, &["apply", "-y"], 0);
    let pid = set.lab.script(&["pid", "b"]).trim().to_owned();
    let mut hung = 0;
    for (again, moment) in moments(applied - planned, 2).into_iter().enumerate() {
        let last = moment + SLACK > applied - planned;
        let (title, moment) = (format!("hangs-{moment}"), planned + moment);
        set.titled(&title);
        let mut child = hangs_at(set, moment, &pid, &title);
        // The others are done, and nobody has given up on this one yet.
        std::thread::sleep(Duration::from_millis(500));
        if !came_to_hang(set, &pid, &mut child) {
            Answer::from(child.wait_with_output().expect("it ends")).exits(0);
            set.converges(&title);
            continue;
        }
        hung += 1;
        assert!(last || child.try_wait().unwrap().is_none(), "moment {moment}");
        let goes_on = || set.lab.signal("b", "-CONT");
        // Of the last calls nobody waits for an answer that all was done before.
        let waits = again > 0 && !last;
        if !waits {
            goes_on();
        }
        let answer = Answer::from(child.wait_with_output().expect("it ends"));
        if waits {
            goes_on();
            let answer = answer.exits(5).says("VirtualMachine/vm-two").says("once the node is back, run it again");
            set.others_are(&title, &answer.text);
            set.others_were_done_first(&answer.text);
        } else {
            answer.exits(0);
        }
        set.converges(&title);
    }
    assert!(hung > 0, "it never hung");
}

/// What is asked for elsewhere is done, and is nothing that a node which hangs has to do with.
fn hangs_beside_what_is_asked_for(set: &Set<'_>) {
    set.lab.signal("b", "-STOP");
    for words in [vec!["plan", "--target", "VM/vm-one"], vec!["vm", "stop", "vm-one", "--force"], vec!["vm", "start", "vm-one"]] {
        let answer = set.checkout.jvp(&words).exits(0);
        assert!(!answer.text.contains("Node/two"), "{words:?}: {}", answer.text);
    }
    let answer = set.checkout.jvp(&["plan", "--target", "VM/vm-two"]).exits(4).says("Node/two");
    answer.says("it gives no answer yet, and is waited for");
    set.lab.signal("b", "-CONT");
}

/// An apply of two rounds on each node: the VMs wait for pools that are to be started.
fn hangs_in_one_of_two_rounds(set: &Set<'_>) {
    let anew = |title: &str| {
        set.titled(title);
        let vms = NODES.map(|(name, _)| format!("VM/vm-{name}"));
        let words = vms.iter().flat_map(|vm| [vm.as_str(), "--force-stop", vm]);
        let args: Vec<&str> = ["delete", "-y", "--with-data"].into_iter().chain(words).collect();
        set.checkout.jvp(&args).exits(0);
        for (name, node) in NODES {
            for pool in [format!("pool-{name}"), format!("pool-{name}-templates")] {
                set.lab.virsh(node, &["pool-destroy", &pool]);
            }
        }
    };
    anew("rounds");
    let planned = calls(set, &["plan"], 0);
    let applied = calls(set, &["apply", "-y"], 0);
    let pid = set.lab.script(&["pid", "b"]).trim().to_owned();
    let mut hung = 0;
    for moment in moments(applied - planned, 2) {
        let (title, moment) = (format!("round-{moment}"), planned + moment);
        anew(&title);
        let mut child = hangs_at(set, moment, &pid, &title);
        // The others' second rounds are done, and this one hangs still, or comes to where it will.
        if !came_to_hang(set, &pid, &mut child) {
            Answer::from(child.wait_with_output().expect("it ends")).exits(0);
            set.converges(&title);
            continue;
        }
        hung += 1;
        let ended = child.try_wait().unwrap().is_some();
        set.lab.signal("b", "-CONT");
        let answer = Answer::from(child.wait_with_output().expect("it ends")).exits(0);
        if ended {
            // Only the last look waits for nobody: all was done.
            answer.says("could not be looked at once more");
        }
        set.converges(&title);
    }
    assert!(hung > 0, "it never hung");
}

fn is_another_machine(set: &Set<'_>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let many = || runtime.block_on(set.lab.host("d").read(&Scope::Everything)).expect("it can be read").domains;
    let before = many();
    let (one, three, other) = (set.lab.uri("a"), set.lab.uri("c"), set.lab.uri("d"));
    set.written("another", [&one, &other, &three]);
    set.checkout.jvp(&["plan"]).exits(6).says("Node/two: it is another machine").says("jvp node accept two");
    let answer = set.checkout.jvp(&["apply", "-y"]).exits(6).says("Node/two: it is another machine");
    set.others_are("another", &answer.text);
    assert!(many() == before, "something was done on the other machine");

    // Two Nodes that are one host, which stays the one that it was met as.
    set.written("twice", [&one, &set.proxy.uri(), &one]);
    let third = set.lab.inventory("c");
    let answer = set.checkout.jvp(&["apply", "-y"]).exits(6).says("Node/three: it is the same machine as Node/one");
    assert_eq!([set.title(0), set.title(1)], ["twice", "twice"], "{}", answer.says("keep one Node a host").text);
    let guests = set.lab.virsh("a", &["list", "--all", "--name"]);
    assert_eq!(guests.split_whitespace().collect::<Vec<_>>(), ["vm-one"]);
    assert!(set.lab.inventory("c") == third, "something was done");
    // What goes on the others doesn't go there, and is forgotten nowhere.
    set.checkout.jvp(&["delete", "VM/vm-three", "-y"]).exits(6).says("it stands on Node/three, where nothing is done");
    set.titled("last");
    set.converges("last");
}

#[test]
fn a_node_that_is_away_hangs_or_is_another_machine_costs_the_others_nothing() {
    let lab = lab_or_return!(4);
    std::thread::scope(|scope| {
        let far = scope.spawn(|| {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(far::is_read_and_filled_side_by_side(&lab, "d", 600));
        });
        let set = Set::new(&lab);
        is_away_at_each_moment(&set);
        hangs_in_the_first_look(&set);
        hangs_in_the_middle_of_a_call(&set);
        hangs_beside_what_is_asked_for(&set);
        hangs_in_one_of_two_rounds(&set);
        far.join().expect("the far node");
        is_another_machine(&set);
    });
}
