//! The entries of a network's DHCP and DNS, as `virNetworkUpdate` changes them in one document.
//!
//! Which document, and what runs, is not this file's.

use crate::host::{ErrorKind, HostError};
use crate::plan::{Edit, Section};

use super::error::{invalid, libvirt, xml};
use super::tree::{Element, Node};

/// Changes one entry of a document.
pub(super) fn change(
    network: &str,
    document: &mut Element,
    (section, edit): (Section, Edit),
    entry: &Element,
    index: i32,
) -> Result<(), HostError> {
    match section {
        Section::DhcpHost => {
            expect(entry, "host")?;
            dhcp_host(network, document, edit, entry, index)
        }
        Section::DhcpRange => {
            expect(entry, "range")?;
            dhcp_range(network, document, edit, entry, index)
        }
        Section::DnsHost => {
            expect(entry, "host")?;
            dns_host(network, document, edit, entry)
        }
    }
}

fn expect(entry: &Element, name: &str) -> Result<(), HostError> {
    if entry.name == name {
        return Ok(());
    }
    Err(xml(format!("unexpected element <{}>, expecting <{name}>", entry.name)))
}

/// The `<ip>` that an index means. Below zero libvirt takes the first that has DHCP, else the first IPv4 one.
fn place<'a>(network: &str, document: &'a mut Element, index: i32) -> Result<&'a mut Element, HostError> {
    let addresses: Vec<&Element> = document.all("ip").collect();
    let place = match usize::try_from(index) {
        Err(_) => addresses
            .iter()
            .position(|ip| ip.child("dhcp").is_some())
            .or_else(|| addresses.iter().position(|ip| ip.attr("family").is_none_or(|family| family == "ipv4"))),
        Ok(index) => (index < addresses.len()).then_some(index),
    };
    place.and_then(|place| document.all_mut("ip").nth(place)).ok_or_else(|| {
        invalid(format!("couldn't update dhcp host entry - no <ip> element found at index {index} in network '{network}'"))
    })
}

/// Takes an entry out of an `<ip>`'s DHCP. libvirt prints no `<dhcp>` without anything in it.
fn take(ip: &mut Element, gone: impl Fn(&Element) -> bool) -> bool {
    let position =
        ip.child("dhcp").and_then(|dhcp| dhcp.nodes.iter().position(|node| matches!(node, Node::Element(old) if gone(old))));
    let Some(position) = position else { return false };
    ip.edit("dhcp", |dhcp| drop(dhcp.nodes.remove(position)));
    if ip.child("dhcp").is_some_and(|dhcp| dhcp.nodes.is_empty()) {
        ip.remove("dhcp");
    }
    true
}

fn dhcp_host(network: &str, document: &mut Element, edit: Edit, host: &Element, index: i32) -> Result<(), HostError> {
    let ip = place(network, document, index)?;
    let given = |name: &str| host.attr(name).filter(|value| !value.is_empty());
    let shown = |name: &str| given(name).unwrap_or("(null)").to_owned();
    let same =
        |old: &Element, name: &str| matches!((old.attr(name), given(name)), (Some(a), Some(b)) if a.eq_ignore_ascii_case(b));
    match edit {
        Edit::Add => {
            let hosts = ip.child("dhcp").into_iter().flat_map(|dhcp| dhcp.all("host"));
            if hosts.into_iter().any(|old| same(old, "mac") || same(old, "ip") || same(old, "name")) {
                let message = format!(
                    "there is an existing dhcp host entry in network '{network}' that matches \"<host mac='{}' name='{}' ip='{}'/>\"",
                    shown("mac"),
                    shown("name"),
                    shown("ip")
                );
                return Err(libvirt(ErrorKind::Exists, 55, message));
            }
            ip.edit("dhcp", |dhcp| dhcp.push(host.clone()));
            Ok(())
        }
        Edit::Modify => {
            let mut found = ip.child_mut("dhcp").into_iter().flat_map(|dhcp| dhcp.all_mut("host"));
            match found.find(|old| same(old, "mac") || same(old, "name")) {
                Some(old) => {
                    *old = host.clone();
                    Ok(())
                }
                None => {
                    let message = format!(
                        "couldn't locate an existing dhcp host entry with \"mac='{}'\" \"name='{}'\" \"ip='{}'\" in network '{network}'",
                        shown("mac"),
                        shown("name"),
                        shown("ip")
                    );
                    Err(libvirt(ErrorKind::NotFound, 55, message))
                }
            }
        }
        Edit::Delete => {
            let matches = |old: &Element| {
                old.name == "host"
                    && ["mac", "name", "ip"].iter().all(|name| match (given(name), old.attr(name)) {
                        (Some(wanted), Some(found)) => wanted.eq_ignore_ascii_case(found),
                        (Some(_), None) => false,
                        (None, _) => true,
                    })
            };
            if take(ip, matches) {
                return Ok(());
            }
            let message = format!("couldn't locate a matching dhcp host entry in network '{network}'");
            Err(libvirt(ErrorKind::NotFound, 55, message))
        }
    }
}

fn dhcp_range(network: &str, document: &mut Element, edit: Edit, range: &Element, index: i32) -> Result<(), HostError> {
    let ip = place(network, document, index)?;
    let is =
        |old: &Element| old.name == "range" && old.attr("start") == range.attr("start") && old.attr("end") == range.attr("end");
    let shown = format!("{}' end='{}", range.attr("start").unwrap_or_default(), range.attr("end").unwrap_or_default());
    let there = ip.child("dhcp").is_some_and(|dhcp| dhcp.children().any(is));
    match edit {
        Edit::Modify => {
            let message = format!("network '{network}': dhcp ranges cannot be modified, only added or deleted");
            Err(libvirt(ErrorKind::Unsupported, 84, message))
        }
        Edit::Add if there => {
            let message =
                format!("there is an existing dhcp range entry in network '{network}' that matches \"<range start='{shown}'/>\"");
            Err(libvirt(ErrorKind::Exists, 55, message))
        }
        Edit::Add if !inside(ip, range) => {
            let (start, end) = (range.attr("start").unwrap_or_default(), range.attr("end").unwrap_or_default());
            let net = super::network::net(ip).map_or_else(String::new, |net| net.to_string());
            let message = format!("network '{network}': range {start} - {end} is not entirely within network {net}");
            Err(libvirt(ErrorKind::Failed, 1, message))
        }
        Edit::Add => {
            ip.edit("dhcp", |dhcp| dhcp.push(range.clone()));
            Ok(())
        }
        Edit::Delete if take(ip, is) => Ok(()),
        Edit::Delete => {
            let message = format!("couldn't locate a matching dhcp range entry in network '{network}'");
            Err(libvirt(ErrorKind::NotFound, 55, message))
        }
    }
}

/// Whether both ends of a range are in an `<ip>`'s net.
fn inside(ip: &Element, range: &Element) -> bool {
    let Some(net) = super::network::net(ip) else { return true };
    let end = |name: &str| range.attr(name).and_then(|text| text.parse::<std::net::IpAddr>().ok());
    [end("start"), end("end")].into_iter().flatten().all(|address| net.contains(&address))
}

fn dns_host(network: &str, document: &mut Element, edit: Edit, host: &Element) -> Result<(), HostError> {
    let names = |element: &Element| element.all("hostname").map(Element::text).collect::<Vec<_>>();
    let wanted = names(host);
    let same_ip = |old: &Element| old.name == "host" && old.attr("ip") == host.attr("ip");
    let same = |old: &Element| same_ip(old) || (old.name == "host" && names(old).iter().any(|name| wanted.contains(name)));
    let count =
        |is: &dyn Fn(&Element) -> bool| document.child("dns").map_or(0, |dns| dns.children().filter(|old| is(old)).count());
    let failed = |kind, code, what: &str| Err(libvirt(kind, code, format!("network '{network}': {what}")));
    match edit {
        Edit::Modify => failed(ErrorKind::Unsupported, 84, "dns host records cannot be modified, only added or deleted"),
        // A second address of one name is taken.
        Edit::Add if count(&same_ip) > 0 => {
            let what = format!("there is already at least one dns host record with a matching field in network {network}");
            failed(ErrorKind::Exists, 55, &what)
        }
        Edit::Add => {
            document.edit("dns", |dns| dns.push(host.clone()));
            Ok(())
        }
        Edit::Delete => match count(&same) {
            0 => failed(ErrorKind::NotFound, 55, &format!("couldn't locate a matching dns host record in network {network}")),
            1 => {
                document.edit("dns", |dns| dns.retain(|old| !same(old)));
                if document.child("dns").is_some_and(|dns| dns.nodes.is_empty()) {
                    document.remove("dns");
                }
                Ok(())
            }
            _ => {
                let what = format!("multiple matching dns host records were found in network {network}");
                failed(ErrorKind::InvalidState, 55, &what)
            }
        },
    }
}
