//! What plans say. Each file of `tests/golden/plans` is a history: manifests, what hands did on the node, and plans; what each of these said
//! stands in a text of the same name beside it. `JVP_UPDATE=1 cargo test --test properties histories` writes the texts anew;
//! `JVP_TEST_HISTORY=NAME` has one alone run.
//!
//! A history is short: every document is of the only version, there is one node `n0` where none is written, on which everything happens,
//! and a change is told as what of the text becomes another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jvp::apply::{End, Rounds};

use jvp::name::{Name, ObjectRef};
use jvp::plan::{Entry, MaxDeletes, Mode, Op, Plan, Policy, PowerAct, Suspension, render};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::bench::{Bench, Trouble, block_on};
use crate::scene::Scene;
use crate::world::{HandAct, by_hand};

type Entries = BTreeMap<ObjectRef, Arc<Entry>>;

/// What happens; one of these at a time.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// The manifests from now on.
    manifests: Option<String>,
    /// What of their text becomes another.
    change: Vec<(String, String)>,
    /// What somebody does on the node, and to what.
    hand: Option<(HandAct, String)>,
    /// What somebody writes into the document of a domain or a network, in the definition and in what runs.
    edit: Option<Edit>,
    /// A document that somebody defines.
    define: Option<String>,
    suspend: Option<ObjectRef>,
    resume: Option<ObjectRef>,
    lose_ledger: bool,
    /// The image of a template gets other content.
    new_image: Option<String>,
    /// A domain that runs loses its definition.
    make_transient: Option<String>,
    /// The node can't be reached from now on, or can be again.
    reachable: Option<bool>,
    /// Whether the node offers KVM from now on.
    kvm: Option<bool>,
    /// A node is another machine from now on: the host UUID of this number.
    machine: Option<(Name, u128)>,
    /// A plan with these words.
    plan: Option<Vec<String>>,
    /// A plan that is carried out.
    pub apply: Option<Vec<String>>,
    /// The call of the next apply that fails.
    fails_at: Option<u32>,
    /// How it does; it has no effect where nothing is said.
    trouble: Option<Trouble>,
}

impl Step {
    /// Whether somebody defines a document in it that has this in it.
    pub fn defines(&self, text: &str) -> bool {
        self.define.as_ref().is_some_and(|xml| xml.contains(text))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Edit {
    name: String,
    from: String,
    to: String,
    /// Whether only in what runs, or only in the definition.
    #[serde(default)]
    only: Option<String>,
}

/// The manifests as files, each document with its version, and the node where they have none.
fn documents(text: &str) -> Vec<(String, String)> {
    let mut text = text.to_owned();
    if !text.contains("kind: Node\n") {
        text = format!("kind: Node\nmetadata: {{name: n0}}\nspec: {{uri: 'qemu+ssh://root@n0/system'}}\n---\n{text}");
    }
    let versioned = |text: &str| text.replace("kind: ", "apiVersion: jvp.dev/v1alpha1\nkind: ");
    text.split("---\n").enumerate().map(|(at, text)| (format!("{at}.yaml"), versioned(text))).collect()
}

/// The policy that some words of the command line mean.
fn policy(bench: &Bench, words: &[String]) -> Policy {
    let mut policy = bench.policy();
    let objects = |text: &str| -> BTreeSet<ObjectRef> { text.split(' ').map(|text| text.parse().unwrap()).collect() };
    for word in words {
        let (word, of) = word.split_once(' ').unwrap_or((word, ""));
        let power = |what| Mode::Power { objects: objects(of), what };
        match word {
            "prune" => policy.prune = true,
            "partial" => policy.partial = true,
            "delete" => policy.mode = Mode::Delete { objects: objects(of), with_data: false },
            "delete-with-data" => policy.mode = Mode::Delete { objects: objects(of), with_data: true },
            "start" => policy.mode = power(PowerAct::Start),
            "stop" => policy.mode = power(PowerAct::Stop),
            "restart" => policy.mode = power(PowerAct::Restart),
            "refresh" => policy.mode = power(PowerAct::Refresh),
            "target" => policy.targets = Some(objects(of)),
            "adopt" => policy.adopt = objects(of),
            "writer" => policy.writer = Uuid::from_u128(of.parse().unwrap()),
            "rebooted" => policy.rebooted = objects(of),
            "now" => policy.now = Some(of.parse().unwrap()),
            "allow-data-loss" => policy.consents.allow_data_loss = objects(of),
            "allow-restart" => policy.consents.allow_restart = objects(of),
            "allow-disconnect" => policy.consents.allow_disconnect = objects(of),
            "force-stop" => policy.consents.force_stop = objects(of),
            "discard-saved-state" => policy.consents.discard_saved_state = objects(of),
            "assume-unused" => policy.consents.assume_unused = objects(of),
            "replace" => policy.consents.replace = objects(of),
            "take-over" => policy.consents.take_over = true,
            "take-from" => policy.consents.take_from = [of.parse().unwrap()].into(),
            "max-deletes" => policy.consents.max_deletes = of.parse::<MaxDeletes>().unwrap(),
            "allow-empty-prune" => policy.consents.allow_empty_prune = true,
            other => panic!("`{other}` is no word"),
        }
    }
    policy
}

/// What a plan says, and what it does in which order.
fn said(plan: &Plan) -> String {
    // Paths of the machine that the tests run on.
    let place = env!("CARGO_TARGET_TMPDIR");
    let mut text = render(plan, false);
    for action in &plan.actions {
        let needs: Vec<String> = action.needs.iter().map(|need| need.0.to_string()).collect();
        let after = if needs.is_empty() { String::new() } else { format!(" after {}", needs.join(", ")) };
        let mut op = serde_json::to_value(&action.op).unwrap();
        let operands = op.as_object_mut().unwrap();
        // A UUID follows from the name.
        for other in ["do", "uuid", "was"] {
            operands.remove(other);
        }
        // What documents look like, the goldens of `xml` show.
        let summed = |operands: &mut serde_json::Map<String, Value>| {
            for document in ["xml", "mark"] {
                let Some(Value::String(text)) = operands.get_mut(document) else { continue };
                *text = sum(text);
            }
        };
        summed(operands);
        if let Some(patch) = operands.get_mut("patch").and_then(Value::as_object_mut) {
            patch.retain(|_, part| !is_empty(part));
            summed(patch);
        }
        let operands = if operands.is_empty() { String::new() } else { format!(" {op}") };
        // What is looked at right before the call, and what must be so after it.
        let looked = |word: &str, what: &dyn std::fmt::Debug| {
            let what = format!("{what:?}");
            match what.split([' ', '(']).next() {
                None | Some("None" | "Nothing") => String::new(),
                Some(name) if name == what => format!(" {word} {name}"),
                Some(name) => format!(" {word} {name} {}", sum(&what)),
            }
        };
        let (when, then) = (looked("when", &action.precondition), looked("then", &action.expect));
        let secrets: String = action.secrets.keys().map(|token| format!(" with {token}")).collect();
        let _ =
            writeln!(text, "  {} {} of {}{operands}{secrets}{when}{then}{after}", action.id.0, action.op.word(), action.object);
    }
    text.replace(place, "…")
}

/// What stands for a text that is long. `JVP_TEST_HISTORY=NAME JVP_TEST_SUMS=1 cargo test --test properties histories -- --nocapture` says
/// which is which.
fn sum(text: &str) -> String {
    let text = text.replace(env!("CARGO_TARGET_TMPDIR"), "…");
    let mut sum = hex::encode(Sha256::digest(&text));
    sum.truncate(8);
    if std::env::var_os("JVP_TEST_SUMS").is_some() {
        eprintln!("#{sum} is\n{text}\n");
    }
    format!("#{sum}")
}

/// Whether a part of a patch asks for nothing.
fn is_empty(part: &Value) -> bool {
    part.is_null() || part.as_array().is_some_and(Vec::is_empty) || part.as_object().is_some_and(serde_json::Map::is_empty)
}

/// The leaves of a record, and which of a list there are.
fn leaves(at: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            fields
                .iter()
                .for_each(|(key, value)| leaves(&format!("{at}{}{key}", if at.is_empty() { "" } else { " " }), value, into));
        }
        Value::Array(items) => items.iter().for_each(|item| drop(into.insert(format!("{at} {item}"), String::new()))),
        Value::Null | Value::Bool(false) => {}
        Value::String(text) => drop(into.insert(at.to_owned(), text.clone())),
        other => drop(into.insert(at.to_owned(), other.to_string())),
    }
}

/// What the inventory says otherwise than before.
fn learnt(before: &Entries, after: &Entries) -> String {
    let record = |entries: &Entries, object: &ObjectRef| {
        let mut record = BTreeMap::new();
        entries.get(object).iter().for_each(|entry| leaves("", &serde_json::to_value(entry).unwrap(), &mut record));
        record
    };
    let mut text = String::new();
    for object in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        if !after.contains_key(object) {
            let _ = writeln!(text, "  ledger of {object}: no more");
            continue;
        }
        let (was, now) = (record(before, object), record(after, object));
        let mut what = Vec::new();
        for path in was.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
            let told = |value: &String| match path.as_str() {
                // A time is another each time, and the others follow from names.
                "createdAt" | "uid" | "libvirtUuid" => "…".to_owned(),
                _ => value.clone(),
            };
            match (was.get(path), now.get(path)) {
                _ if path == "object" => {}
                (was, now) if was == now => {}
                (Some(was), Some(now)) => what.push(format!("{path}: {} → {}", told(was), told(now))),
                (None, Some(now)) if now.is_empty() => what.push(format!("+ {path}")),
                (None, Some(now)) => what.push(format!("+ {path}: {}", told(now))),
                (_, None) => what.push(format!("- {path}")),
            }
        }
        if !what.is_empty() {
            let _ = writeln!(text, "  ledger of {object}: {}", what.join(", "));
        }
    }
    text.replace(env!("CARGO_TARGET_TMPDIR"), "…")
}

/// What happens before a plan, in words.
fn happened(step: &Step) -> String {
    let mut all = Vec::new();
    let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    all.extend(step.change.iter().map(|(from, to)| format!("{} → {}", line(from), line(to))));
    all.extend(step.hand.as_ref().map(|(act, name)| format!("{act:?} {name}")));
    all.extend(step.edit.as_ref().map(|edit| format!("{}: {} → {}", edit.name, edit.from, edit.to)));
    all.extend(step.define.as_deref().map(line));
    all.extend(step.suspend.as_ref().map(|object| format!("suspend {object}")));
    all.extend(step.resume.as_ref().map(|object| format!("resume {object}")));
    all.extend(step.lose_ledger.then(|| "the ledger is lost".to_owned()));
    all.extend(step.new_image.as_ref().map(|template| format!("another image of {template}")));
    all.extend(step.make_transient.as_ref().map(|name| format!("{name} runs without a definition")));
    all.extend(step.machine.as_ref().map(|(node, number)| format!("{node} is machine {number}")));
    all.extend(step.kvm.map(|kvm| format!("the node offers {}KVM", if kvm { "" } else { "no " })));
    all.extend(step.reachable.map(|reachable| format!("the node can{} be reached", if reachable { "" } else { "'t" })));
    all.iter().map(|what| format!("-- {what}\n")).collect()
}

/// A history that is being played.
pub struct Play {
    pub bench: Bench,
    manifests: String,
    /// What goes wrong in the next apply.
    failing: Option<(u32, Trouble)>,
}

impl Play {
    pub fn new(steps: &[Step]) -> Self {
        let scene = Scene { nodes: 1, pools: 0, networks: Vec::new(), templates: vec![false, true], machines: Vec::new() };
        let first = steps.iter().find_map(|step| step.manifests.clone()).unwrap_or_default();
        Self { bench: Bench::of(&scene, &documents(&first)).unwrap(), manifests: String::new(), failing: None }
    }

    /// All of a step that comes before its plan.
    pub fn happens(&mut self, step: &Step) {
        let bench = &mut self.bench;
        if let Some(text) = &step.manifests {
            self.manifests.clone_from(text);
        }
        for (from, to) in &step.change {
            assert!(self.manifests.contains(from.as_str()), "{from:?} isn't there:\n{}", self.manifests);
            self.manifests = self.manifests.replace(from.as_str(), to);
        }
        (bench.desired, bench.text) = Bench::read(&documents(&self.manifests)).unwrap();
        let host = bench.hosts[&"n0".parse::<Name>().unwrap()].clone();
        if let Some((act, name)) = &step.hand {
            host.with(|state| by_hand(state, *act, name));
        }
        if let Some(edit) = &step.edit {
            let mut found = false;
            let mut edited = |text: &mut String, side: &str| {
                if edit.only.as_deref().is_none_or(|only| only == side) && text.contains(&edit.from) {
                    *text = text.replace(&edit.from, &edit.to);
                    found = true;
                }
            };
            host.with(|state| {
                for domain in state.domains.iter_mut().filter(|(name, _)| **name == edit.name).map(|(_, domain)| domain) {
                    edited(&mut domain.inactive, "defined");
                    domain.live.iter_mut().for_each(|live| edited(live, "live"));
                }
                for network in state.networks.iter_mut().filter(|(name, _)| **name == edit.name).map(|(_, network)| network) {
                    edited(&mut network.inactive, "defined");
                    network.live.iter_mut().for_each(|live| edited(live, "live"));
                }
            });
            assert!(found, "{edit:?} finds nothing:\n{:#?}", host.state());
        }
        if let Some(xml) = &step.define {
            let name = xml.split("<name>").nth(1).and_then(|rest| rest.split("</name>").next()).unwrap().to_owned();
            let uuid = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
            let folder = xml.split("<path>").nth(1).and_then(|rest| rest.split("</path>").next());
            host.with(|state| state.folders.extend(folder.map(str::to_owned)));
            let op = match xml {
                xml if xml.starts_with("<network") => Op::NetworkDefine { name, xml: xml.clone() },
                xml if xml.starts_with("<pool") => Op::PoolDefine { name, xml: xml.clone() },
                xml => {
                    let xml = xml.replacen("</name>", &format!("</name><uuid>{uuid}</uuid>"), 1);
                    Op::DomainDefine { name, uuid, xml: xml.into(), validate: false }
                }
            };
            host.with(|state| state.perform(&op)).unwrap();
        }
        let (since, by) = ("1970-01-01T00:00:00Z", "somebody");
        if let Some(object) = &step.suspend {
            let object = object.clone();
            bench.ledger().suspend(vec![Suspension { object, since: since.into(), by: by.into(), reason: None }]).unwrap();
        }
        if let Some(object) = &step.resume {
            bench.ledger().resume(std::slice::from_ref(object), since, by, None).unwrap();
        }
        if step.lose_ledger {
            bench.lose_ledger();
        }
        if let Some(template) = &step.new_image {
            bench.replace_image(template);
        }
        if let Some(name) = &step.make_transient {
            host.with(|state| state.make_transient(name));
        }
        if let Some(reachable) = step.reachable {
            host.set_reachable(reachable);
        }
        if let Some(kvm) = step.kvm {
            host.with(|state| state.kvm = kvm);
        }
        if let Some((node, number)) = &step.machine {
            bench.hosts[node].with(|state| state.uuid = Uuid::from_u128(*number));
        }
        self.failing = step.fails_at.map(|call| (call, step.trouble.unwrap_or(Trouble::Fails))).or(self.failing);
    }

    /// What these words of the command line mean, which hold until they are taken back.
    pub fn given(&mut self, words: &[String]) -> Policy {
        let bench = &mut self.bench;
        let policy = policy(bench, words);
        (bench.mode, bench.prune, bench.adopt) = (policy.mode.clone(), policy.prune, policy.adopt.clone());
        bench.consents = policy.consents.clone();
        policy
    }

    pub fn take_back(&mut self) {
        let bench = &mut self.bench;
        (bench.mode, bench.prune) = (Mode::Apply, false);
        (bench.adopt, bench.consents) = (BTreeSet::new(), jvp::plan::Consents::default());
    }

    /// Whether something goes wrong in the next apply.
    pub fn fails(&self) -> bool {
        self.failing.is_some()
    }

    /// Carries a plan out, which was not refused, with what goes wrong in it.
    pub async fn carry_out(&mut self, plan: Plan) -> Rounds {
        if let Some((call, how)) = self.failing.take() {
            self.bench.trouble(call, how);
        }
        let (seen, _) = self.bench.seen().await;
        let rounds = self.bench.rounds_of(seen, plan).await;
        self.bench.heal();
        rounds
    }
}

/// The histories and what they are called: all, or the one that `JVP_TEST_HISTORY` names.
pub fn histories() -> Vec<(PathBuf, Vec<Step>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plans");
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    if let Some(one) = std::env::var_os("JVP_TEST_HISTORY") {
        cases.retain(|path| path.file_stem() == Some(&one));
    }
    cases.sort();
    assert!(!cases.is_empty(), "the cases are gone");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let steps = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, steps)
    };
    cases.into_iter().map(read).collect()
}

async fn told(steps: &[Step]) -> String {
    let mut text = String::new();
    let mut play = Play::new(steps);
    for step in steps {
        text.push_str(&happened(step));
        play.happens(step);
        let done = step.apply.is_some();
        let Some(words) = step.plan.as_ref().or(step.apply.as_ref()) else { continue };
        let policy = play.given(words);
        let head = if done { "apply" } else { "plan" };
        let _ =
            writeln!(text, "== {}", std::iter::once(head).chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join(", "));
        let plan = play.bench.plan_with(&policy).await;
        text.push_str(&said(&plan));
        if done && plan.refusals.is_empty() {
            let before = play.bench.ledger().entries();
            let rounds = play.carry_out(plan).await;
            for (action, failure) in rounds.failures() {
                let _ = writeln!(text, "failed: {} of {}: {}", action.op.word(), action.object, failure.message);
            }
            for refusal in rounds.refused().iter().flat_map(|plan| &plan.refusals) {
                let _ = writeln!(text, "then refused: {}: {}", refusal.object, refusal.message);
            }
            if rounds.end() != End::Done {
                let _ = writeln!(text, "ended: {:?}", rounds.end());
            }
            text.push_str(&learnt(&before, &play.bench.ledger().entries()));
        }
        play.take_back();
        text.push('\n');
    }
    text
}

#[test]
fn the_plans_of_each_history_say_what_is_recorded() {
    let update = std::env::var_os("JVP_UPDATE").is_some();
    let mut wrong = Vec::new();
    for (path, steps) in histories() {
        let now = block_on(told(&steps));
        let expected = path.with_extension("txt");
        if update {
            fs::write(&expected, &now).unwrap();
        } else {
            let recorded = fs::read_to_string(&expected).unwrap_or_default();
            if recorded != now {
                let difference = similar::TextDiff::from_lines(&recorded, &now).unified_diff().to_string();
                wrong.push(format!("── {}\n{difference}", path.file_stem().unwrap().display()));
            }
        }
    }
    assert!(wrong.is_empty(), "not as recorded (JVP_UPDATE=1 records it anew):\n{}", wrong.join("\n"));
}
