//! That reading a node is whole, forgiving, and quick.

use super::*;
use crate::observe::RawVolume;

fn volume(name: &str, backing: Option<&str>) -> RawVolume {
    let backing = backing.map(|path| xml::volume::Backing { path: path.to_owned(), format: "qcow2".to_owned() });
    let wanted = xml::volume::VolumeWanted { name, format: "qcow2", capacity: Some(1 << 30), backing };
    let text = xml::volume::render(&wanted).replace("<target>", &format!("<target><path>/p/{name}</path>"));
    RawVolume { name: name.to_owned(), xml: text }
}

fn domain(name: &str, inactive: &str, live: Option<&str>) -> RawDomain {
    RawDomain { autostart: true, ..RawDomain::of_test(name, Uuid::from_u128(5), inactive, live) }
}

fn on(disk: &str) -> String {
    format!("<domain type='qemu'><devices><disk type='file'><source file='{disk}'/><target dev='vda'/></disk></devices></domain>")
}

fn node() -> RawNode {
    RawNode {
        pools: vec![RawPool {
            name: "p".to_owned(),
            uuid: Uuid::from_u128(1),
            active: true,
            autostart: true,
            persistent: true,
            xml: "<pool type='dir'><name>p</name><target><path>/p</path></target></pool>".to_owned(),
            volumes: Some(vec![
                volume("base", None),
                volume("mid", Some("/p/base")),
                volume("top", Some("/p/mid")),
                RawVolume { name: "sub".to_owned(), xml: "<volume type='dir'><name>sub</name></volume>".to_owned() },
                RawVolume { name: "bad".to_owned(), xml: "<volume".to_owned() },
            ]),
        }],
        domains: vec![
            domain("a", &on("/p/top"), None),
            domain("b", &on("/elsewhere"), Some(&on("/p/other"))),
            domain(
                "c",
                "<domain><devices><disk type='volume'><source pool='p' volume='mid'/><target dev='vda'/></disk></devices></domain>",
                None,
            ),
            domain("d", "<domain><uuid>", None),
        ],
        ..RawNode::default()
    }
}

#[test]
fn what_can_not_be_read_is_listed_and_the_rest_is_read() {
    let state = NodeState::read(node());
    let unreadable: Vec<&Target> = state.unreadable.iter().map(|(target, _)| target).collect();
    let bad = Target::Volume { pool: "p".to_owned(), name: "bad".to_owned() };
    assert_eq!(unreadable, [&bad, &Target::Domain("d".to_owned())]);
    let names: Vec<&String> = state.pools["p"].volumes.iter().flat_map(BTreeMap::keys).collect();
    assert_eq!(names, ["base", "mid", "top"], "a folder is no volume");
    assert_eq!(state.domains["a"].doc.spec.autostart, Some(true));
}

#[test]
fn a_volume_is_in_use_by_domains_live_or_inactive_through_chains_and_by_pool() {
    let name: Name = "n".parse().expect("a name");
    let observed = Observed { nodes: [(name.clone(), NodeView::Reached(Box::new(NodeState::read(node()))))].into() };
    let users = |path: &str| observed.users_of(path).into_iter().map(|user| user.domain).collect::<Vec<_>>();
    assert_eq!(users("/p/base"), ["a", "c"]);
    assert_eq!(users("/p/mid"), ["a", "c"]);
    assert_eq!(users("/p/top"), ["a"]);
    assert_eq!(users("/p/other"), ["b"], "live");
    assert_eq!(users("/elsewhere"), ["b"], "inactive");
    let children: Vec<&str> = observed.children_of("/p/base").iter().map(|(_, volume)| volume.name.as_str()).collect();
    assert_eq!(children, ["mid", "top"]);
    assert_eq!(observed.volume_by_path(&name, "/p/mid").map(|(pool, _)| pool), Some("p"));
}

#[test]
fn what_was_read_later_of_some_objects_takes_the_place_of_what_was_read_of_them_before() {
    let mut state = NodeState::read(node());
    let of = |name: &str| Target::Volume { pool: "p".to_owned(), name: name.to_owned() };
    let targets =
        BTreeSet::from([Target::Domain("a".to_owned()), Target::Domain("b".to_owned()), of("mid"), of("bad"), of("new")]);
    let mut later = node();
    later.domains = vec![domain("b", &on("/p/base"), None)];
    later.pools[0].autostart = false;
    later.pools[0].volumes = Some(vec![volume("mid", None), volume("new", None)]);
    state.renew(&targets, NodeState::read(later));
    assert_eq!(state.domains.keys().collect::<Vec<_>>(), ["b", "c"], "one is gone");
    assert!(state.domains["b"].live.is_none());
    let volumes = state.pools["p"].volumes.as_ref().expect("volumes");
    assert_eq!(volumes.keys().collect::<Vec<_>>(), ["base", "mid", "new", "top"], "what wasn't read again stays");
    assert!(volumes["mid"].backing.is_none() && volumes["top"].backing.is_some() && !state.pools["p"].autostart);
    assert_eq!(state.unreadable.len(), 1, "what can be read now, or is gone, is no longer listed");
    // A pool that was stopped meanwhile shows no volumes, and one that is gone isn't there.
    let mut later = node();
    (later.pools[0].active, later.pools[0].volumes) = (false, None);
    state.renew(&targets, NodeState::read(later));
    assert!(state.pools["p"].volumes.is_none() && !state.pools["p"].active);
    state.renew(&targets, NodeState::default());
    assert!(state.pools.is_empty());
}

#[test]
fn only_what_another_text_stands_for_is_read_again_and_nothing_else_is_another() {
    let first = NodeState::read(node());
    let again = NodeState::read_again(node(), Some(&first));
    assert_eq!(again, first);
    assert!(Arc::ptr_eq(&again.domains["b"].doc, &first.domains["b"].doc), "the very same");
    let mut changed = node();
    changed.domains[0].inactive = on("/p/mid").into();
    changed.domains[1].live = Some(on("/p/top").into());
    changed.domains[2].autostart = false;
    assert_eq!(NodeState::read_again(changed.clone(), Some(&first)), NodeState::read(changed));
}
