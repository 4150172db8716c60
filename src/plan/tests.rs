//! Small judgements of the planner, each by itself.

use uuid::Uuid;

use super::*;
use crate::name::Name;
use crate::observe::{RawDomain, RawNetwork, RawNode, RawPool};

fn object(text: &str) -> ObjectRef {
    text.parse().expect("a reference")
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn network(inactive: &str, live: Option<&str>, ports: Option<&[u128]>) -> RawNetwork {
    RawNetwork {
        name: "lan".into(),
        uuid: Uuid::from_u128(2),
        active: live.is_some(),
        autostart: true,
        persistent: true,
        inactive: inactive.into(),
        live: live.map(str::to_owned),
        ports: ports.map(|ports| ports.iter().copied().map(Uuid::from_u128).collect()),
        leases: Vec::new(),
    }
}

#[test]
fn who_hangs_on_a_network_is_known_by_its_port_or_its_bridge() {
    const NAT: &str = "<network><name>lan</name><forward mode='nat'/><bridge name='br1'/></network>";
    const RENAMED: &str = "<network><name>lan</name><forward mode='nat'/><bridge name='br2'/></network>";
    const HOST: &str = "<network><name>lan</name><forward mode='bridge'/><bridge name='br1'/></network>";
    let port = |number: u128| format!("network='lan' portid='{}'", Uuid::from_u128(number));
    let by_network = "network='lan'".to_owned();
    let by_bridge = "bridge='br1'".to_owned();
    // Whether the guest counts as one of the network, and whether it is to be plugged in, also where it hangs there directly.
    for (defined, live_nic, network, guest, left, direct) in [
        (&by_network, port(5), network(NAT, Some(NAT), Some(&[5])), true, false, false),
        (&by_network, port(5), network(NAT, Some(NAT), Some(&[6])), false, true, true),
        (&by_network, port(5), network(NAT, None, None), true, true, true),
        (&by_network, by_network.clone(), network(NAT, Some(NAT), Some(&[])), true, false, false),
        (&by_network, port(5), network(NAT, Some(NAT), None), true, false, false),
        // Moved to the bridge, and not back yet.
        (&by_network, by_bridge.clone(), network(NAT, Some(NAT), Some(&[])), true, true, true),
        (&by_bridge, by_bridge.clone(), network(NAT, Some(NAT), Some(&[])), true, false, true),
        // The bridge that runs counts, and the one that will.
        (&by_bridge, by_bridge.clone(), network(RENAMED, Some(NAT), Some(&[])), true, false, true),
        (&by_bridge, by_bridge.clone(), network(NAT, Some(RENAMED), Some(&[])), true, false, true),
        (&by_bridge, by_bridge.clone(), network(RENAMED, Some(RENAMED), Some(&[])), false, false, false),
        // A bridge of the host's own is nobody's network.
        (&by_bridge, by_bridge.clone(), network(HOST, Some(HOST), None), false, false, false),
        (
            &"network='wan'".to_owned(),
            "network='wan' bridge='br1'".to_owned(),
            network(NAT, Some(NAT), Some(&[])),
            false,
            false,
            false,
        ),
        (
            &"dev='eth0'".to_owned(),
            "dev='eth0'".to_owned(),
            network("<network><name>lan</name></network>", Some("<network><name>lan</name></network>"), Some(&[])),
            false,
            false,
            false,
        ),
    ] {
        let domain = |source: &str| {
            format!(
                "<domain id='1'><devices><interface type='network'><mac address='52:54:00:00:00:01'/><source {source}/><target dev='vnet0'/></interface></devices></domain>"
            )
        };
        let raw = RawDomain::of_test("a", Uuid::from_u128(7), &domain(defined), Some(&domain(&live_nic)));
        let what = format!("{live_nic} of {network:?}");
        let state = NodeState::read(RawNode { networks: vec![network], domains: vec![raw], ..RawNode::default() });
        assert_eq!(!running_guests(&state, "lan").is_empty(), guest, "{what}");
        assert_eq!(!unplugged(&state, "lan", false).is_empty(), left, "{what}");
        assert_eq!(!unplugged(&state, "lan", true).is_empty(), direct, "{what}");
    }
}

#[test]
fn a_machine_is_met_again_where_most_of_what_is_on_record_is_there() {
    let entry = |text: &str, node: &str, uuid: Option<u128>, released: bool| {
        let object = object(text);
        let entry: Entry = serde_json::from_value(serde_json::json!({
            "object": object, "uid": Uuid::nil(), "node": node, "libvirtName": object.name, "createdAt": "",
            "libvirtUuid": uuid.map(Uuid::from_u128), "released": released,
        }))
        .expect("an entry");
        entry
    };
    let pool = RawPool {
        name: "p".into(),
        uuid: Uuid::from_u128(3),
        active: false,
        autostart: false,
        persistent: true,
        xml: "<pool type='dir'><name>p</name></pool>".into(),
        volumes: None,
    };
    let state = NodeState::read(RawNode {
        domains: vec![RawDomain::of_test("a", Uuid::from_u128(1), "<domain><name>a</name></domain>", None)],
        networks: vec![network("<network><name>lan</name></network>", None, None)],
        pools: vec![pool],
        ..RawNode::default()
    });
    let (vm, lan, pool) = (
        |uuid| entry("vm/a", "n", Some(uuid), false),
        |uuid| entry("Network/lan@n", "n", Some(uuid), false),
        |uuid| entry("StoragePool/p@n", "n", Some(uuid), false),
    );
    for (entries, met) in [
        (vec![], None),
        (vec![vm(1)], Some("1 of the 1")),
        (vec![vm(9)], None),
        (vec![lan(2)], Some("1 of the 1")),
        (vec![pool(3)], Some("1 of the 1")),
        // Half is not most.
        (vec![vm(1), lan(9)], None),
        (vec![vm(1), lan(2), pool(9)], Some("2 of the 3")),
        (vec![vm(1), lan(9), pool(9)], None),
        (vec![vm(1), lan(2), pool(3)], Some("3 of the 3")),
        // What is elsewhere, was let go or has no UUID tells nothing.
        (vec![vm(1), entry("Network/lan@m", "m", Some(9), false)], Some("1 of the 1")),
        (vec![vm(1), entry("Network/lan@n", "n", Some(9), true)], Some("1 of the 1")),
        (vec![vm(1), entry("Network/lan@n", "n", None, false)], Some("1 of the 1")),
        (vec![vm(1), entry("Volume/v", "n", Some(9), false), entry("vm/gone", "n", None, false)], Some("1 of the 1")),
        (vec![entry("vm/a", "n", Some(1), true), entry("vm/gone", "n", Some(8), false)], None),
    ] {
        let what = format!("{:?}", entries.iter().map(|entry| (&entry.object, entry.libvirt_uuid)).collect::<Vec<_>>());
        let owned = Owned {
            entries: entries.into_iter().map(|entry| (entry.object.clone(), std::sync::Arc::new(entry))).collect(),
            ..Owned::default()
        };
        let said = met_again(&owned, &name("n"), &state);
        assert_eq!(said.as_deref().map(|said| said.split(" objects").next().unwrap_or_default()), met, "{what}");
    }
}

#[test]
fn how_many_a_prune_may_delete_is_a_number_or_a_share_of_one_at_least() {
    for (text, all, most) in [
        ("5", 100, 5),
        ("0", 100, 0),
        ("10%", 100, 10),
        ("10%", 109, 10),
        ("10%", 9, 1),
        ("0%", 50, 1),
        ("100%", 7, 7),
        ("50%", 0, 1),
    ] {
        assert_eq!(text.parse::<MaxDeletes>().expect("reads").of(all), most, "{text} of {all}");
    }
    assert_eq!(MaxDeletes::default().of(200), 20);
    for bad in ["", "%", "101%", "-1", "a", "5 %"] {
        assert!(bad.parse::<MaxDeletes>().is_err(), "{bad}");
    }
}

#[test]
fn a_word_for_an_object_holds_on_each_of_its_nodes_and_one_with_a_node_there_only() {
    let words = |text: &str| BTreeSet::from([object(text)]);
    for (word, of, given) in [
        ("Network/lan", "Network/lan@a", true),
        ("Network/lan@a", "Network/lan@a", true),
        ("Network/lan@b", "Network/lan@a", false),
        ("Network/wan", "Network/lan@a", false),
        ("Network/lan@a", "Network/lan", false),
    ] {
        assert_eq!(policy::given(&words(word), &object(of)), given, "{word} for {of}");
    }
}

#[test]
fn a_plan_is_empty_only_where_nothing_is_done_now_or_later() {
    let change = Change {
        object: object("vm/a"),
        node: None,
        verb: Verb::Update,
        fields: Vec::new(),
        effect: Effect::None,
        effects: BTreeMap::new(),
        data: Data::Kept,
        reason: String::new(),
        implied_by: None,
        actions: Vec::new(),
    };
    assert!(Plan::default().is_empty());
    assert!(!Plan { changes: vec![change], ..Plan::default() }.is_empty());
    let refusal =
        |kind, text: &str| Refusal { object: object(text), kind, message: String::new(), help: Vec::new(), origin: None };
    let left = |refusal| Plan { refusals: vec![refusal], ..Plan::default() }.leaves_alone(&name("n"));
    assert!(left(refusal(RefusalKind::Machine, "Node/n")));
    assert!(!left(refusal(RefusalKind::Machine, "Node/m")) && !left(refusal(RefusalKind::Guard, "Node/n")));
    assert!(!left(refusal(RefusalKind::Machine, "vm/n")));
}

#[test]
fn a_suspension_and_a_date_are_told_as_they_were() {
    let mut suspension =
        Suspension { object: object("vm/a"), since: "2026-01-02T03:04:05.678Z".into(), by: "root".into(), reason: None };
    assert_eq!(suspension.words(), "nothing is done to it, since root suspended it at 2026-01-02T03:04:05Z");
    suspension.reason = Some("a backup".into());
    suspension.since = "2026-01-02T03:04:05Z".into();
    assert_eq!(suspension.words(), "nothing is done to it, since root suspended it at 2026-01-02T03:04:05Z: a backup");
    let made = |at: &str| -> Entry {
        serde_json::from_value(
            serde_json::json!({"object": "Volume/v", "uid": Uuid::nil(), "node": "n", "libvirtName": "v", "createdAt": at}),
        )
        .expect("an entry")
    };
    for (own, known, date) in [("a", Some("b"), "a"), ("", Some("b"), "b"), ("", Some(""), "now"), ("", None, "now")] {
        let mut entry = made(own);
        entry.date(known.map(made).as_ref(), || "now".into());
        assert_eq!(entry.created_at, date, "{own:?} {known:?}");
    }
}

#[test]
fn a_node_that_is_another_machine_or_out_of_reach_stops_nothing_elsewhere() {
    let kinds = [RefusalKind::Invalid, RefusalKind::Guard, RefusalKind::Unreachable, RefusalKind::Machine];
    assert_eq!(kinds.map(RefusalKind::stops_all), [true, true, false, false]);
}

#[test]
fn the_bytes_of_a_seed_are_shown_as_their_length() {
    assert_eq!(format!("{:?}", SeedBytes(std::sync::Arc::new(b"password: x".to_vec()))), "(11 bytes)");
}

#[test]
fn what_a_step_records_and_where_it_runs_is_told_by_itself() {
    let entry = || {
        let text =
            r#"{"object": "Volume/v", "uid": "00000000-0000-0000-0000-000000000000", "libvirtName": "v", "createdAt": ""}"#;
        Box::new(serde_json::from_str::<Entry>(text).expect("an entry"))
    };
    assert_eq!(Record::Nothing.object(), None);
    assert_eq!(Record::Put(entry()).object(), Some(&object("Volume/v")));
    assert_eq!(Record::Settle(entry()).object(), Some(&object("Volume/v")));
    assert_eq!(Record::Remove(object("Volume/w")).object(), Some(&object("Volume/w")));
    assert!(Op::Fetch { template: name("t") }.is_local());
    assert!(!Op::VolumeDelete { pool: "p".into(), name: "v".into() }.is_local());
}
