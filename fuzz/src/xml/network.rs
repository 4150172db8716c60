//! Networks.

use std::sync::Arc;

use jvp::manifest::{Document, NetworkMode, NetworkSpec, Spec};
use jvp::name::MacAddr;
use jvp::xml::Mark;
use jvp::xml::network::{NetworkDoc, NetworkPatch, NetworkWanted, beside, patch, pending, project, render};
use roxmltree::Node;
use uuid::Uuid;

use super::super::shape::{self, Except};

pub(super) fn target(text: &str, wanted: &[Arc<Document>]) {
    let network = wanted.iter().find_map(|document| match &*document.spec {
        Spec::Network(spec) => Some((document, spec)),
        _ => None,
    });
    if let Some((document, spec)) = network {
        is_written(document, spec);
    }
    let Ok(doc) = project(text) else { return };
    let Ok(same) = patch(text, &NetworkPatch::default()) else { return };
    shape::same(text, &same, &Except::NOTHING);
    assert_eq!(project(&same).as_ref(), Ok(&doc), "{text}\n{same}");
    assert!(pending(&doc, &doc).is_empty());
    assert_eq!(beside(text), beside(&same), "{text}");
    for net in doc.ips.iter().flatten() {
        assert!(doc.parent_index(net.addr()).is_some(), "{net} in\n{text}");
    }
    if let Some((document, spec)) = network {
        is_patched(text, &doc, document, spec);
    }
}

fn is_written(document: &Document, spec: &NetworkSpec) {
    let mark = Mark::new(Uuid::from_u128(1), document.object.clone(), Uuid::from_u128(2));
    let bridge = spec.bridge.clone().unwrap_or_else(|| "jvbridge".to_owned());
    let name = document.object.name.as_str();
    let mac = MacAddr::new([0x52, 0x54, 0, 0, 0, 1]);
    let text = render(&NetworkWanted { name, uuid: Uuid::from_u128(3), mac, bridge, spec, mark: &mark });
    let Ok(doc) = project(&text) else { unreachable!("a new network can't be read:\n{text}") };
    assert_eq!((doc.mark.as_ref(), doc.name.as_str()), (Some(&mark), name), "{text}");
    is_as_wanted(spec, &doc, &text);
}

/// A network that is there becomes what a manifest wants, and nothing else of it changes.
fn is_patched(text: &str, doc: &NetworkDoc, document: &Document, spec: &NetworkSpec) {
    let mark = Mark::new(Uuid::from_u128(1), document.object.clone(), Uuid::from_u128(2));
    let change = NetworkPatch { set: spec.clone(), mark: Some(mark), ..NetworkPatch::default() };
    let Ok(patched) = patch(text, &change) else { return };
    let Ok(read) = project(&patched) else { unreachable!("a patched network can't be read:\n{patched}") };
    is_as_wanted(spec, &read, &patched);
    assert_eq!((&read.mark, read.uuid, &read.name), (&change.mark, doc.uuid, &doc.name), "{patched}");
    assert_eq!(patch(&patched, &change).as_ref(), Ok(&patched), "a second patch changes something");
    let bare = spec.mode == Some(NetworkMode::Bridge);
    let addresses: Vec<std::net::IpAddr> = spec.ips.iter().map(|ip| ip.address.addr()).collect();
    let element = |node: Node<'_, '_>, parent: &str| match (parent, node.tag_name().name()) {
        ("network", "forward" | "bridge") => spec.mode.is_some() || spec.bridge.is_some(),
        ("network", "domain") => bare || spec.domain.is_some(),
        ("network", "mtu") => bare || spec.mtu.is_some(),
        ("network", "ip") => {
            let own = node.attribute("address").and_then(|text| text.trim().parse().ok());
            bare || own.is_some_and(|own| addresses.contains(&own))
        }
        ("network", "mac" | "dns") if bare => true,
        ("dns", "host" | "forwarder") => spec.dns.is_some(),
        _ => false,
    };
    let except = Except { element: &element, attribute: &|_, _, _| false, hollow: &["dns", "metadata"] };
    // Somebody else's metadata stays; ours is ours.
    let unmarked = |text: &str| jvp::xml::domain::disown(text).unwrap_or_default();
    shape::same(&unmarked(text), &unmarked(&patched), &except);
}

/// Whether a document says what a manifest wants.
fn is_as_wanted(spec: &NetworkSpec, doc: &NetworkDoc, text: &str) {
    let read = &doc.spec;
    assert!(spec.mode.is_none() || spec.mode == read.mode, "the mode in\n{text}");
    assert!(spec.bridge.is_none() || spec.bridge == read.bridge, "the bridge in\n{text}");
    assert!(spec.domain.is_none() || spec.domain == read.domain, "the domain in\n{text}");
    assert!(spec.mtu.is_none() || spec.mtu == read.mtu, "the MTU in\n{text}");
    for wanted in &spec.ips {
        let dhcp = |ip: &jvp::manifest::NetworkIp| ip.dhcp.clone().unwrap_or_default();
        let own = dhcp(wanted);
        let there = read.ips.iter().filter(|ip| ip.address == wanted.address).any(|ip| {
            let has = dhcp(ip);
            own.ranges.iter().all(|range| has.ranges.contains(range)) && own.hosts.iter().all(|host| has.hosts.contains(host))
        });
        assert!(there, "{wanted:?} in\n{text}");
    }
    let (own, has) = (spec.dns.clone().unwrap_or_default(), read.dns.clone().unwrap_or_default());
    assert!(own.forwarders.iter().all(|address| has.forwarders.contains(address)), "{own:?} in\n{text}");
    assert!(
        own.forwarders.is_empty() || has.forwarders.iter().all(|address| own.forwarders.contains(address)),
        "{own:?} in\n{text}"
    );
    assert!(own.hosts.iter().all(|host| has.hosts.contains(host)), "{own:?} in\n{text}");
}
