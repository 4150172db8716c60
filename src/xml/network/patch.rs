//! Changing a network's document: what is wanted is set, what is to go is dropped, all else stays as it was.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Serialize;

use super::render;
use crate::manifest::{DhcpHost, NetworkIp, NetworkMode, NetworkSpec};
use crate::xml::tree::Element;
use crate::xml::{Mark, XmlError, pointer, read};

/// What is to change in a network's document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPatch {
    /// The fields to be set. What is unset is left alone; items of lists are added, or changed where their key is there.
    pub set: NetworkSpec,
    /// Pointers to what is to be removed: `/domain`, `/ips/10.0.0.1~124`, `/ips/10.0.0.1~124/dhcp/hosts/52:54:00:00:00:01`,
    /// `/ips/10.0.0.1~124/dhcp/ranges/10.0.0.2-10.0.0.9`, `/dns/hosts/10.0.0.5`, `/dns/forwarders/1.1.1.1`.
    pub drop: BTreeSet<String>,
    /// The new mark, where it changes.
    #[serde(serialize_with = "mark_text")]
    pub mark: Option<Mark>,
}

#[expect(clippy::ref_option, reason = "serde hands a field over so")]
fn mark_text<S: serde::Serializer>(mark: &Option<Mark>, serializer: S) -> Result<S::Ok, S::Error> {
    mark.as_ref().map(Mark::to_xml).serialize(serializer)
}

/// The document with the patch in it. It takes the inactive document, never a live one.
pub fn patch(document: &str, change: &NetworkPatch) -> Result<String, XmlError> {
    let mut root = Element::parse_root(document, "network")?;
    for path in &change.drop {
        let segments = pointer::split(path);
        drop_path(&mut root, &segments.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let set = &change.set;
    if let Some(mode) = set.mode {
        set_mode(&mut root, mode);
    }
    if let Some(bridge) = &set.bridge {
        root.ensure("bridge").set("name", bridge);
    }
    if let Some(domain) = &set.domain {
        root.ensure("domain").set("name", domain);
    }
    if let Some(mtu) = set.mtu {
        root.ensure("mtu").set("size", mtu);
    }
    for ip in &set.ips {
        set_ip(&mut root, ip);
    }
    if let Some(dns) = &set.dns {
        let element = root.ensure("dns");
        if !dns.forwarders.is_empty() {
            // A set is one leaf: it becomes what is wanted. A forwarder for one domain is not in it.
            element.remove(|e| is_forwarder(e) && !dns.forwarders.iter().any(|address| parsed(e, "addr") == Some(*address)));
            for address in &dns.forwarders {
                if !element.elements().any(|e| is_forwarder(e) && parsed(e, "addr") == Some(*address)) {
                    element.push(render::forwarder(address));
                }
            }
        }
        for host in &dns.hosts {
            replace(element, |e| e.name == "host" && parsed(e, "ip") == Some(host.ip), render::dns_host(host));
        }
    }
    if let Some(mark) = &change.mark {
        mark.put(&mut root);
    }
    Ok(root.to_xml())
}

fn set_mode(root: &mut Element, mode: NetworkMode) {
    match render::forward(mode) {
        None => {
            root.remove_named("forward");
        }
        Some(wanted) => {
            let forward = root.ensure("forward");
            let word = wanted.get("mode").unwrap_or_default();
            if forward.get("mode").unwrap_or("nat") != word || forward.get("mode").is_none() {
                forward.set("mode", word);
            }
            // Only a NAT has ports to translate, and nobody's rules know no device.
            if mode != NetworkMode::NAT {
                forward.remove_named("nat");
            }
            if mode == NetworkMode::Open {
                forward.unset("dev");
                forward.remove_named("interface");
            }
        }
    }
    // A bridge of the host's own is all that there is to such a network.
    if mode == NetworkMode::Bridge {
        root.remove(|child| matches!(&*child.name, "mac" | "mtu" | "domain" | "dns" | "ip"));
        if let Some(bridge) = root.child_mut("bridge") {
            for name in ["stp", "delay", "zone", "macTableManager"] {
                bridge.unset(name);
            }
        }
    }
}

fn parsed<T: std::str::FromStr>(element: &Element, attr: &str) -> Option<T> {
    element.get(attr)?.parse().ok()
}

fn is_forwarder(element: &Element) -> bool {
    element.name == "forwarder" && element.get("domain").is_none() && element.get("addr").is_some()
}

fn is_ip(element: &Element, wanted: &str) -> bool {
    // Compared by the reader's own rules, so that netmask and prefix mean the same here.
    let text = element.to_xml();
    let address = read::parse(&text).ok().and_then(|document| super::address(document.root_element()));
    element.name == "ip" && address.is_some_and(|address| address.to_string() == wanted)
}

fn is_host(element: &Element, host: &DhcpHost) -> bool {
    let by_mac = host.mac.filter(|_| host.ip.is_ipv4());
    element.name == "host"
        && match by_mac {
            Some(mac) => parsed(element, "mac") == Some(mac),
            None if host.name.is_some() => element.get("name") == host.name.as_deref(),
            None => same_address(element.get("ip"), &host.ip.to_string()),
        }
}

fn replace(parent: &mut Element, matches: impl Fn(&Element) -> bool, wanted: Element) {
    if let Some(found) = parent.elements_mut().find(|element| matches(element)) {
        *found = wanted;
        return;
    }
    parent.push(wanted);
}

fn set_ip(root: &mut Element, wanted: &NetworkIp) {
    let key = wanted.address.to_string();
    let Some(element) = root.elements_mut().find(|element| is_ip(element, &key)) else {
        root.push(render::ip(wanted));
        return;
    };
    let Some(dhcp) = &wanted.dhcp else { return };
    if dhcp.ranges.is_empty() && dhcp.hosts.is_empty() {
        return;
    }
    let parent = element.ensure("dhcp");
    for range in &dhcp.ranges {
        let same =
            |e: &Element| e.name == "range" && parsed(e, "start") == Some(range.start) && parsed(e, "end") == Some(range.end);
        if !parent.elements().any(same) {
            // Ranges stand before hosts.
            parent.nodes.insert(0, crate::xml::tree::Node::Element(render::range(range)));
        }
    }
    for host in &dhcp.hosts {
        replace(parent, |element| is_host(element, host), render::host(host));
    }
}

fn drop_path(root: &mut Element, path: &[&str]) {
    match path {
        ["domain" | "mtu" | "dns"] => {
            root.remove_named(path[0]);
        }
        ["dns", rest @ ..] => {
            if let Some(dns) = root.child_mut("dns") {
                match rest {
                    ["forwarders", key @ ..] => dns.remove(|e| {
                        e.name == "forwarder"
                            && e.get("domain").is_none()
                            && key.first().is_none_or(|key| e.get("addr") == Some(key))
                    }),
                    ["hosts", key @ ..] => {
                        dns.remove(|e| e.name == "host" && key.first().is_none_or(|key| same_address(e.get("ip"), key)))
                    }
                    _ => false,
                };
            }
            root.remove(|element| element.name == "dns" && element.nodes.is_empty() && element.attrs.is_empty());
        }
        ["ips"] => {
            root.remove_named("ip");
        }
        ["ips", address] | ["ips", address, "address"] => {
            root.remove(|element| is_ip(element, address));
        }
        ["ips", address, "dhcp", rest @ ..] => {
            if let Some(ip) = root.elements_mut().find(|element| is_ip(element, address)) {
                drop_dhcp(ip, rest);
            }
        }
        _ => {}
    }
}

fn drop_dhcp(ip: &mut Element, path: &[&str]) {
    let Some(dhcp) = ip.child_mut("dhcp") else { return };
    match path {
        [] => {
            ip.remove_named("dhcp");
            return;
        }
        ["ranges", key @ ..] => dhcp.remove(|e| {
            let (start, end) = (e.get("start").unwrap_or_default(), e.get("end").unwrap_or_default());
            e.name == "range"
                && key.first().is_none_or(|key| [format!("{start}-{end}"), format!("{start},{end}")].iter().any(|k| k == key))
        }),
        ["hosts"] => dhcp.remove_named("host"),
        // A leaf of a host goes with the whole host only: its key and its address can't go alone, its name can.
        ["hosts", key, leaf @ ..] => {
            let is = |e: &Element| {
                let mac = e.get("mac").map(str::to_ascii_lowercase);
                let by_name = mac.is_none() && e.get("name") == Some(key);
                let by_ip = mac.is_none() && e.get("name").is_none() && same_address(e.get("ip"), key);
                e.name == "host" && (mac.as_deref() == Some(key) || by_name || by_ip)
            };
            if *leaf == ["name"] {
                dhcp.elements_mut().filter(|e| is(e) && e.get("mac").is_some()).for_each(|e| e.unset("name"));
                false
            } else {
                dhcp.remove(is)
            }
        }
        _ => false,
    };
    ip.remove(|element| element.name == "dhcp" && element.nodes.is_empty());
}

fn same_address(attr: Option<&str>, key: &str) -> bool {
    attr == Some(key) || attr.and_then(|a| a.parse::<IpAddr>().ok()).is_some_and(|a| a.to_string() == key)
}
