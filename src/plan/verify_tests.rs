//! A read-back is what was planned, or it is said what differs. Each expectation, met and missed by one thing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use uuid::Uuid;

use super::verify::{fields_moved, life_moved, verify};
use super::{DomainExpect, Expect, Fields, NetworkExpect, Op, Precondition, Side};
use crate::manifest::Leaves;
use crate::observe::{DomainState, NodeState, OffReason, PowerState, RawDomain, RawNetwork, RawNode, RawPool, RawVolume};
use crate::xml::Mark;
use crate::xml::domain::DomainPatch;
use crate::xml::network::NetworkPatch;

const ID: Uuid = Uuid::from_u128(3);
const OTHER: Uuid = Uuid::from_u128(4);

fn leaves(value: &Value) -> Leaves {
    value.as_object().expect("leaves").iter().map(|(path, value)| (path.clone(), value.clone())).collect()
}

/// Leaves of which `null` ones must not be there.
fn wanted(value: &Value) -> BTreeMap<String, Option<Value>> {
    leaves(value).into_iter().map(|(path, value)| (path, (!value.is_null()).then_some(value))).collect()
}

/// Holds what was read against an expectation that is met, and against others that are missed, each for the reason that is said.
fn held(op: &Op, state: &NodeState, met: &[Expect], missed: &[(Expect, &str)]) {
    for expect in met {
        assert_eq!(verify(op, expect, state), Ok(()), "{expect:?}");
    }
    for (expect, why) in missed {
        let said = verify(op, expect, state).expect_err(why);
        assert!(said.contains(why), "{said:?} for {expect:?}");
    }
    assert!(verify(op, &Expect::Gone, state).is_err_and(|said| said.contains("still there")));
    let nothing = NodeState::default();
    assert_eq!(verify(op, &Expect::Gone, &nothing), Ok(()));
    assert!(verify(op, &Expect::Active(false), &nothing).is_err_and(|said| said.contains("not there")));
}

fn mark() -> Mark {
    let mut mark = Mark::new(Uuid::from_u128(1), "vm/a".parse().expect("a reference"), Uuid::from_u128(2));
    mark.paths = ["/memory".to_owned()].into();
    mark
}

/// The mark as it stands in a document.
fn marked(mark: &Mark) -> String {
    format!("<metadata>{}</metadata>", mark.to_xml().replacen("<object", &format!("<object xmlns='{}'", Mark::NAMESPACE), 1))
}

#[test]
fn a_pool_is_as_planned() {
    let pool = RawPool {
        name: "p".into(),
        uuid: ID,
        active: true,
        autostart: true,
        persistent: true,
        xml: "<pool type='dir'><name>p</name><target><path>/p</path></target></pool>".into(),
        volumes: Some(vec![RawVolume {
            name: "v".into(),
            xml: "<volume><name>v</name><capacity>4096</capacity><physical>512</physical><target><path>/p/v</path><format type='qcow2'/></target>\
                <backingStore><path>/p/base</path><format type='raw'/></backingStore></volume>"
                .into(),
        }]),
    };
    let state = NodeState::read(RawNode { pools: vec![pool], ..RawNode::default() });
    let matches =
        |uuid, path: &str| Expect::Matches { uuid, leaves: leaves(&json!({"/target/path": path})), disks: BTreeMap::new() };
    held(
        &Op::PoolStart { name: "p".into() },
        &state,
        &[Expect::Nothing, Expect::Active(true), Expect::Autostart(true), matches(ID, "/p")],
        &[
            (Expect::Active(false), "still runs"),
            (Expect::Autostart(false), "autostart"),
            (matches(OTHER, "/p"), "another UUID"),
            (matches(ID, "/q"), "/target/path reads as /p after /q was written"),
        ],
    );
    let volume = |format: &str, capacity, backing: Option<&str>| Expect::Volume {
        format: format.into(),
        capacity,
        backing: backing.map(str::to_owned),
    };
    let base = Some("/p/base");
    held(
        &Op::VolumeGrow { pool: "p".into(), name: "v".into(), capacity: 1 },
        &state,
        &[
            Expect::Nothing,
            volume("qcow2", 4096, base),
            volume("qcow2", 4000, base),
            Expect::Uploaded { size: 512, capacity: Some(4096) },
            Expect::Uploaded { size: 512, capacity: None },
        ],
        &[
            (volume("raw", 4096, base), "format"),
            (volume("qcow2", 4097, base), "capacity"),
            (volume("qcow2", 4096, None), "backing file"),
            (Expect::Uploaded { size: 513, capacity: None }, "holds 512 bytes"),
            (Expect::Uploaded { size: 512, capacity: Some(4097) }, "reads as qcow2"),
        ],
    );
}

#[test]
fn a_network_is_as_planned_on_each_side() {
    let bearing = marked(&mark());
    let xml = |bridge: &str, domain: &str| {
        format!(
            "<network><name>lan</name>{bearing}<bridge name='{bridge}'/><domain name='{domain}'/><ip address='10.0.0.1' prefix='24'/></network>"
        )
    };
    let read = |live: Option<String>| {
        let network = RawNetwork {
            name: "lan".into(),
            uuid: ID,
            active: live.is_some(),
            autostart: true,
            persistent: true,
            inactive: xml("br1", "new"),
            live,
            ports: None,
            leases: Vec::new(),
        };
        NodeState::read(RawNode { networks: vec![network], ..RawNode::default() })
    };
    let (behind, off) = (read(Some(xml("br1", "old"))), read(None));
    let expect = |side, value: &Value, gone: &[&str]| {
        Expect::Network(Box::new(NetworkExpect {
            uuid: ID,
            leaves: leaves(value),
            gone: gone.iter().map(|path| (*path).to_owned()).collect(),
            side,
        }))
    };
    let bears = |uuid, uid, object: &str| Expect::Marked { uuid, uid, object: object.parse().expect("a reference") };
    let start = Op::NetworkStart { name: "lan".into() };
    let (new, old) = (json!({"/domain": "new"}), json!({"/domain": "old"}));
    let of_another =
        Expect::Network(Box::new(NetworkExpect { uuid: OTHER, leaves: Leaves::new(), gone: BTreeSet::new(), side: Side::Both }));
    let matches = |uuid, value: &Value| Expect::Matches { uuid, leaves: leaves(value), disks: BTreeMap::new() };
    held(
        &start,
        &behind,
        &[
            Expect::Nothing,
            Expect::Active(true),
            Expect::Autostart(true),
            Expect::Plugged,
            matches(ID, &new),
            bears(ID, mark().uid, "vm/a"),
            expect(Side::Definition, &new, &["/ips/10.0.0.2~124", "/ip"]),
            expect(Side::Live, &old, &[]),
        ],
        &[
            (Expect::Active(false), "still runs"),
            (Expect::Autostart(false), "autostart"),
            (matches(OTHER, &new), "another UUID"),
            (matches(ID, &old), "/domain reads as new"),
            (bears(OTHER, mark().uid, "vm/a"), "another UUID"),
            (bears(ID, OTHER, "vm/a"), "its mark"),
            (bears(ID, mark().uid, "vm/b"), "its mark"),
            (of_another, "another UUID"),
            (expect(Side::Definition, &old, &[]), "its definition is not as planned: /domain"),
            (expect(Side::Live, &new, &[]), "what runs is not as planned: /domain"),
            (expect(Side::Both, &new, &[]), "what runs"),
            (expect(Side::Both, &old, &[]), "its definition"),
            (expect(Side::Definition, &json!({}), &["/domain"]), "/domain is still there"),
            (expect(Side::Definition, &json!({}), &["/ips/10.0.0.1~124"]), "is still there"),
        ],
    );
    assert_eq!(verify(&start, &expect(Side::Both, &new, &[]), &off), Ok(()), "what is off has one side");
    assert!(verify(&start, &expect(Side::Live, &json!({}), &[]), &off).is_err_and(|said| said.contains("does not run")));
    assert!(verify(&start, &Expect::Active(true), &off).is_err_and(|said| said.contains("does not run")));
}

fn domain(inactive: &str, live: Option<&str>) -> NodeState {
    let mut raw = RawDomain::of_test("a", ID, inactive, live);
    raw.autostart = true;
    NodeState::read(RawNode { domains: vec![raw], ..RawNode::default() })
}

fn xml(memory: u32, disk: &str) -> String {
    format!(
        "<domain type='qemu' id='7'><name>a</name>{}<memory unit='MiB'>{memory}</memory><title>t</title><devices>\
         <disk type='file' device='disk'><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>\
         <disk type='file' device='disk'><source file='/seed'/><target dev='vdb' bus='virtio'/><alias name='ua-seed'/></disk>\
         <interface type='network'><mac address='52:54:00:00:00:01'/><source network='lan'/></interface></devices></domain>",
        marked(&mark())
    )
}

#[test]
fn a_domain_is_as_planned_in_its_definition_and_while_it_runs() {
    let state = domain(&xml(2, "/new"), Some(&xml(1, "/old")));
    let expect = |inactive: &Value, live: &Value| {
        Expect::Domain(Box::new(DomainExpect { uuid: ID, inactive: wanted(inactive), live: wanted(live) }))
    };
    let of_another = Expect::Domain(Box::new(DomainExpect { uuid: OTHER, ..DomainExpect::default() }));
    let matches = |uuid, memory: &str, disk: &str| Expect::Matches {
        uuid,
        leaves: leaves(&json!({ "/memory": memory })),
        disks: [("vda".to_owned(), disk.to_owned())].into(),
    };
    let bears = |uuid, uid, object: &str| Expect::Marked { uuid, uid, object: object.parse().expect("a reference") };
    let nothing = json!({});
    held(
        &Op::DomainStart { name: "a".into(), uuid: ID },
        &state,
        &[
            Expect::Nothing,
            Expect::Active(true),
            Expect::Autostart(true),
            matches(ID, "2Mi", "/new"),
            expect(&json!({"/memory": "2Mi", "/description": null}), &json!({"/memory": "1Mi"})),
            expect(&json!({"/disks/vda/source": "/new", "/cloudInit/seed": "/seed"}), &json!({"/disks/vda/source": "/old"})),
            expect(&json!({"/interfaces/52-54-00-00-00-01/network": "lan"}), &nothing),
            bears(ID, mark().uid, "vm/a"),
        ],
        &[
            (Expect::Active(false), "still runs"),
            (Expect::Autostart(false), "autostart"),
            (matches(OTHER, "2Mi", "/new"), "another UUID"),
            (matches(ID, "1Mi", "/new"), "/memory reads as 2Mi"),
            (matches(ID, "2Mi", "/old"), "its disk vda is on /new"),
            (of_another, "another UUID"),
            (expect(&json!({"/memory": "1Mi"}), &nothing), "/memory of its definition reads as 2Mi"),
            (expect(&json!({"/title": null}), &nothing), "its definition still has /title"),
            (expect(&nothing, &json!({"/memory": "2Mi"})), "/memory of what runs reads as 1Mi"),
            (expect(&nothing, &json!({"/disks/vda/source": "/new"})), "reads as /old"),
            (expect(&json!({"/cloudInit/seed": "/s2"}), &nothing), "reads as /seed"),
            (bears(OTHER, mark().uid, "vm/a"), "another UUID"),
            (bears(ID, OTHER, "vm/a"), "its mark"),
            (bears(ID, mark().uid, "vm/b"), "its mark"),
        ],
    );
    let off = domain(&xml(2, "/new"), None);
    let start = Op::DomainStart { name: "a".into(), uuid: ID };
    assert_eq!(verify(&start, &expect(&json!({"/memory": "2Mi"}), &nothing), &off), Ok(()));
    assert!(
        verify(&start, &expect(&nothing, &json!({"/memory": "2Mi"})), &off).is_err_and(|said| said.contains("stopped meanwhile"))
    );
    assert!(verify(&start, &Expect::Active(true), &off).is_err_and(|said| said.contains("does not run")));
}

#[test]
fn a_mark_that_was_to_be_written_is_looked_for() {
    let state = domain(&xml(2, "/new"), None);
    let other = |change: fn(&mut Mark)| {
        let mut mark = mark();
        change(&mut mark);
        mark
    };
    let others =
        [other(|mark| mark.uid = OTHER), other(|mark| mark.paths.clear()), other(|mark| mark.seed = Some("s".to_owned()))];
    let redefine = |mark: Option<Mark>| Op::DomainRedefine {
        name: "a".into(),
        uuid: ID,
        patch: Box::new(DomainPatch { mark, ..DomainPatch::default() }),
        validate: false,
    };
    let metadata = |mark: &Mark| Op::DomainMetadata {
        name: "a".into(),
        uuid: ID,
        title: None,
        description: None,
        mark: Some(mark.to_xml()),
        live: false,
    };
    let network = RawNetwork {
        name: "lan".into(),
        uuid: ID,
        active: false,
        autostart: false,
        persistent: true,
        inactive: format!("<network><name>lan</name>{}</network>", marked(&mark())),
        live: None,
        ports: None,
        leases: Vec::new(),
    };
    let networks = NodeState::read(RawNode { networks: vec![network], ..RawNode::default() });
    let patch = |mark: Option<Mark>| Op::NetworkPatch {
        name: "lan".into(),
        patch: Box::new(NetworkPatch { mark, ..NetworkPatch::default() }),
        was: BTreeMap::new(),
    };
    assert_eq!(verify(&redefine(None), &Expect::Nothing, &state), Ok(()));
    assert_eq!(verify(&redefine(Some(mark())), &Expect::Nothing, &state), Ok(()));
    assert_eq!(verify(&metadata(&mark()), &Expect::Nothing, &state), Ok(()));
    assert_eq!(verify(&patch(Some(mark())), &Expect::Nothing, &networks), Ok(()));
    for other in others {
        assert!(verify(&redefine(Some(other.clone())), &Expect::Nothing, &state).is_err());
        assert!(verify(&metadata(&other), &Expect::Nothing, &state).is_err());
        assert!(verify(&patch(Some(other)), &Expect::Nothing, &networks).is_err());
    }
}

#[test]
fn what_somebody_did_since_the_plan_is_told() {
    let of = |memory: u32, disk: &str, live: Option<u32>| -> DomainState {
        let live = live.map(|memory| xml(memory, disk));
        domain(&xml(memory, disk), live.as_deref()).domains["a"].clone()
    };
    let paths: BTreeSet<String> = ["/memory".to_owned(), "/disks/vda".to_owned()].into();
    let seen = Fields { paths: paths.clone(), ..Fields::default() }.of(&of(2, "/d", None).doc);
    let fields = |running: bool, live: Option<Value>| Fields {
        uuid: ID,
        running,
        paths: paths.clone(),
        inactive: seen.clone(),
        live: live.map(|live| leaves(&live)),
    };
    assert!(seen.contains_key("/memory") && seen.contains_key("/disks/vda/source") && !seen.contains_key("/title"), "{seen:?}");
    let live = || Some(Value::Object(seen.clone().into_iter().collect()));
    for (was, now, why) in [
        (fields(false, None), of(2, "/d", None), ""),
        (fields(false, None), of(3, "/d", None), "/memory was 2Mi when the plan was made and is 3Mi now"),
        (fields(false, None), of(2, "/e", None), "/disks/vda/source was /d"),
        (fields(false, None), of(2, "/d", Some(2)), "it was started"),
        (fields(true, None), of(2, "/d", None), "it was stopped"),
        (fields(true, None), of(2, "/d", Some(3)), ""),
        (fields(true, live()), of(2, "/d", Some(2)), ""),
        (fields(true, live()), of(2, "/d", Some(3)), "/memory was 2Mi"),
        (Fields { uuid: OTHER, ..fields(false, None) }, of(2, "/d", None), "another domain"),
    ] {
        let said = fields_moved(&was, &now).err().unwrap_or_default();
        assert!(said.contains(why) && said.is_empty() == why.is_empty(), "{said:?}, not {why:?}");
    }
    let process = |uuid, process| Precondition::Process { uuid, process };
    let awake = |uuid| Precondition::Awake { uuid };
    let paused = DomainState { state: PowerState::Paused, ..of(2, "/d", Some(2)) };
    let off_by = |uuid, reason| Precondition::OffBy { uuid, reason };
    for (was, now, why) in [
        (process(ID, 7), of(2, "/d", Some(2)), ""),
        (process(ID, 8), of(2, "/d", Some(2)), "started anew"),
        (process(ID, 8), of(2, "/d", None), ""),
        (process(OTHER, 7), of(2, "/d", Some(2)), "another domain"),
        (awake(ID), of(2, "/d", Some(2)), ""),
        (awake(ID), paused, "paused"),
        (awake(ID), of(2, "/d", None), "it was stopped"),
        (awake(OTHER), of(2, "/d", Some(2)), "another domain"),
        (off_by(ID, OffReason::Unknown), of(2, "/d", None), ""),
        (off_by(ID, OffReason::Crashed), of(2, "/d", None), "another reason"),
        (off_by(ID, OffReason::Unknown), of(2, "/d", Some(2)), "it was started"),
        (off_by(OTHER, OffReason::Unknown), of(2, "/d", None), "another domain"),
        (Precondition::None, of(2, "/d", None), ""),
    ] {
        let said = life_moved(&was, &now).err().unwrap_or_default();
        assert!(said.contains(why) && said.is_empty() == why.is_empty(), "{said:?}, not {why:?}");
    }
}

#[test]
fn what_rests_is_not_missed_among_what_was_plugged_in() {
    let live = "<domain type='qemu' id='1'><devices><interface type='network'><mac address='52:54:00:00:00:01'/><source network='lan' bridge='br1' portid='6c1ad7cd-9bb5-4f2e-bf43-0c5d5d8a7c11'/>\
        <target dev='vnet0'/></interface></devices></domain>";
    let network = RawNetwork {
        name: "lan".into(),
        uuid: ID,
        active: true,
        autostart: false,
        persistent: true,
        inactive: "<network><name>lan</name><bridge name='br1'/></network>".into(),
        live: Some("<network><name>lan</name><bridge name='br1'/></network>".into()),
        ports: Some(BTreeSet::new()),
        leases: Vec::new(),
    };
    let state = NodeState::read(RawNode {
        networks: vec![network],
        domains: vec![RawDomain::of_test("a", ID, live, Some(live))],
        ..RawNode::default()
    });
    let replug = |resting: &[Uuid]| Op::NetworkReplug {
        name: "lan".into(),
        direct: false,
        resting: resting.iter().copied().collect(),
        nics: Vec::new(),
    };
    assert!(verify(&replug(&[]), &Expect::Plugged, &state).is_err_and(|said| said.ends_with("not plugged into it: a")));
    assert!(verify(&replug(&[OTHER]), &Expect::Plugged, &state).is_err());
    assert_eq!(verify(&replug(&[ID]), &Expect::Plugged, &state), Ok(()));
}
