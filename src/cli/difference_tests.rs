//! Differences as they are shown.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::*;
use crate::observe::{NodeView, RawDomain, RawNode};
use crate::plan::{ActionId, Data, Deferred, Effect, Expect, Lane, Precondition, Record};

fn field(path: &str, old: Option<Shown>, new: Option<Shown>) -> FieldChange {
    FieldChange { path: path.into(), old, new }
}

#[expect(clippy::unnecessary_wraps, reason = "as the fields of a change have it")]
fn value(text: &str) -> Option<Shown> {
    Some(Shown::Value(text.into()))
}

fn change(verb: Verb, fields: Vec<FieldChange>) -> Change {
    Change {
        object: "vm/web-1".parse().unwrap(),
        node: "a".parse().ok(),
        verb,
        reason: String::new(),
        effect: Effect::None,
        data: Data::Kept,
        fields,
        effects: std::collections::BTreeMap::new(),
        actions: vec![ActionId(0)],
        implied_by: None,
    }
}

fn define(xml: &str) -> Action {
    Action {
        id: ActionId(0),
        object: "vm/web-1".parse().unwrap(),
        node: "a".parse().ok(),
        op: Op::DomainDefine { name: "web-1".into(), uuid: Uuid::nil(), xml: xml.to_owned().into(), validate: false },
        needs: BTreeSet::new(),
        lane: Lane::Local(String::new()),
        precondition: Precondition::None,
        expect: Expect::Nothing,
        begins: crate::plan::Begins::default(),
        record: Record::Nothing,
        secrets: BTreeMap::new(),
    }
}

#[test]
fn fields_stand_as_lines() {
    let fields = vec![
        field("/disks/root/bus", None, Some(Shown::After("x is made".into()))),
        field("/memory", value("1Gi"), value("2Gi")),
        field("/console/vnc/password/valueFrom/env", Some(Shown::Sensitive), Some(Shown::Sensitive)),
    ];
    let deferred = Deferred {
        object: "volume/data".parse().unwrap(),
        node: None,
        until: "once its pool runs".into(),
        expected: Verb::Create,
        awaits: BTreeSet::new(),
        fields: vec![field("/capacity", None, value("1Gi"))],
    };
    let plan = Plan { changes: vec![change(Verb::Update, fields)], deferred: vec![deferred], ..Plan::default() };
    assert_eq!(
        differences(&plan, &Observed::default(), false, false),
        "\
--- VirtualMachine/web-1 (is)
+++ VirtualMachine/web-1 (updated)
@@ -1,2 +1,3 @@
-memory: 1Gi
-console.vnc.password.valueFrom.env: (sensitive, as it is)
+disks.root.bus: (known after x is made)
+memory: 2Gi
+console.vnc.password.valueFrom.env: (sensitive, as it will be)
--- /dev/null
+++ Volume/data (created once its pool runs)
@@ -0,0 +1 @@
+capacity: 1Gi
"
    );
}

#[test]
fn documents_stand_without_their_secrets() {
    let old = "<domain type='kvm'><name>web-1</name><uuid>00000000-0000-0000-0000-000000000000</uuid><vcpu>1</vcpu>\
<devices><graphics type='vnc' passwd='canary'/></devices></domain>";
    let raw = RawDomain::of_test("web-1", Uuid::nil(), old, None);
    let state = NodeState::read(RawNode { domains: vec![raw], ..RawNode::default() });
    let mut observed = Observed::default();
    observed.nodes.insert("a".parse().unwrap(), NodeView::Reached(Box::new(state)));
    let plan = Plan {
        changes: vec![change(Verb::Update, vec![field("/cpu/count", value("1"), value("2"))])],
        actions: vec![define(&old.replace("<vcpu>1", "<vcpu>2"))],
        ..Plan::default()
    };
    let text = differences(&plan, &observed, true, false);
    assert!(!text.contains("canary"), "{text}");
    let changed: Vec<&str> = text.lines().filter(|line| line.starts_with(['-', '+'])).collect();
    let wanted =
        ["--- VirtualMachine/web-1 (is)", "+++ VirtualMachine/web-1 (its document)", "-  <vcpu>1</vcpu>", "+  <vcpu>2</vcpu>"];
    assert_eq!(changed, wanted);
    let new = Plan { changes: vec![change(Verb::Create, Vec::new())], ..plan };
    let text = differences(&new, &Observed::default(), true, true);
    assert!(text.starts_with("\u{1b}[1m--- /dev/null\u{1b}[0m\n"), "{text}");
    assert!(text.contains("\u{1b}[32m+  <vcpu>2</vcpu>\u{1b}[0m\n"), "{text}");
}

#[test]
fn what_changes_no_line_still_has_its_head() {
    let plan = Plan { changes: vec![change(Verb::Start, Vec::new())], ..Plan::default() };
    let text = differences(&plan, &Observed::default(), true, false);
    assert_eq!(text, "--- VirtualMachine/web-1 (is)\n+++ VirtualMachine/web-1 (started)\n");
}
