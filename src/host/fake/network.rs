//! Networks as libvirt keeps them: the definition, and what runs.
//!
//! Guests on a network are not asked when it stops, and not attached again when it starts.

use std::collections::BTreeSet;
use std::net::IpAddr;

use uuid::Uuid;

use crate::host::{ErrorKind, HostError};
use crate::plan::{Edit, Plug, Replug, Section, Side};

use super::error::{exists, invalid, libvirt, no_network, xml};
use super::pool::given_uuid;
use super::schema::Schema;
use super::state::{Network, State};
use super::tree::Element;

impl State {
    /// `virsh net-define`.
    pub fn network_define(&mut self, text: &str) -> Result<Uuid, HostError> {
        let mut document = Element::parse(text).map_err(xml)?;
        if document.name != "network" {
            return Err(xml(format!("unexpected root element <{}>, expecting <network>", document.name)));
        }
        let name = document.child_text("name").filter(|name| !name.is_empty()).ok_or_else(|| xml("missing name"))?;
        let given = given_uuid(&document)?;
        if let Some((other, network)) =
            self.networks.iter().find(|(other, network)| **other != name && given == Some(network.uuid))
        {
            return Err(exists(format!("network '{other}' is already defined with uuid {}", network.uuid)));
        }
        if let Some(network) = self.networks.get(&name).filter(|network| given != Some(network.uuid)) {
            return Err(exists(format!("network '{name}' already exists with uuid {}", network.uuid)));
        }
        let uuid = given.unwrap_or_else(|| self.make_uuid(&format!("network {name}")));
        document.remove("uuid");
        document.push(Element::new("uuid").with_text(&uuid.to_string()));
        self.complete(&name, &mut document)?;
        let inactive = printed(&mut document);
        if let Some(network) = self.networks.get_mut(&name) {
            network.inactive = inactive;
            network.persistent = true;
        } else {
            let network = Network {
                uuid,
                autostart: false,
                persistent: true,
                inactive,
                live: None,
                ports: BTreeSet::new(),
                leases: Vec::new(),
            };
            self.networks.insert(name.clone(), network);
        }
        self.tell_network(&name, "defined");
        Ok(uuid)
    }

    /// What libvirt adds to a network's document.
    fn complete(&mut self, name: &str, document: &mut Element) -> Result<(), HostError> {
        if let Some(forward) = document.child_mut("forward") {
            forward.default_attr("mode", "nat");
            let interface = forward.child_attr("interface", "dev").map(str::to_owned);
            match (forward.attr("dev").map(str::to_owned), interface) {
                (Some(dev), None) => forward.push(Element::new("interface").with("dev", &dev)),
                (None, Some(dev)) => forward.set("dev", &dev),
                _ => {}
            }
        }
        let mode = document.child_attr("forward", "mode").map(str::to_owned);
        if let Some(mode) = mode.as_deref().filter(|mode| matches!(*mode, "nat" | "route" | "open"))
            && document.child("ip").is_none()
        {
            return Err(xml(format!("{mode} forwarding requested, but no IP address provided for network '{name}'")));
        }
        // A network over a bridge of the host's own, or over a device, gets neither bridge nor MAC.
        if matches!(mode.as_deref(), Some("bridge" | "private" | "vepa" | "passthrough" | "hostdev")) {
            document.remove("mac");
            return Ok(());
        }
        let wanted = document.child_attr("bridge", "name").map(str::to_owned);
        let bridge = if let Some(bridge) = wanted {
            if self.other_bridges(name).any(|other| other == bridge) {
                return Err(libvirt(ErrorKind::InvalidState, 1, format!("bridge name '{bridge}' already in use.")));
            }
            bridge
        } else {
            let used: Vec<String> = self.other_bridges(name).chain(self.bridges.iter().cloned()).collect();
            (0..=u16::MAX).map(|number| format!("virbr{number}")).find(|bridge| !used.contains(bridge)).unwrap_or_default()
        };
        document.edit("bridge", |element| {
            element.set("name", &bridge);
            element.default_attr("stp", "on");
            element.default_attr("delay", "0");
        });
        if document.child_attr("mac", "address").is_none() {
            let mac = self.make_mac(&format!("network {name}"));
            document.edit("mac", |element| element.set("address", &mac));
        }
        for ip in document.all_mut("ip") {
            shorten(ip, "address");
            for dhcp in ip.all_mut("dhcp") {
                dhcp.all_mut("host").for_each(|host| shorten(host, "ip"));
                for range in dhcp.all_mut("range") {
                    shorten(range, "start");
                    shorten(range, "end");
                }
            }
        }
        for dns in document.all_mut("dns") {
            dns.all_mut("host").for_each(|host| shorten(host, "ip"));
        }
        Ok(())
    }

    fn other_bridges(&self, name: &str) -> impl Iterator<Item = String> {
        let others: Vec<String> = self
            .networks
            .iter()
            .filter(|(other, _)| *other != name)
            .flat_map(|(_, network)| std::iter::once(&network.inactive).chain(&network.live))
            .filter_map(|text| Element::parse(text).ok()?.child_attr("bridge", "name").map(str::to_owned))
            .collect();
        others.into_iter()
    }

    /// `virsh net-start`.
    pub fn network_start(&mut self, name: &str) -> Result<(), HostError> {
        let network = self.network(name)?;
        if network.live.is_some() {
            return Err(invalid("network is already active"));
        }
        let mut document = Element::parse(&network.inactive).map_err(xml)?;
        for (other, running) in self.networks.iter().filter(|(other, _)| *other != name) {
            let Some(text) = &running.live else { continue };
            let running = Element::parse(text).map_err(xml)?;
            if overlap(&document, &running) {
                let bridge = running.child_attr("bridge", "name").unwrap_or(other);
                return Err(libvirt(ErrorKind::InvalidState, 1, format!("network is already in use by interface {bridge}")));
            }
        }
        let bridge = document.child_attr("bridge", "name").unwrap_or_default().to_owned();
        let mode = document.child_attr("forward", "mode").map(str::to_owned);
        if mode.as_deref() == Some("nat") && document.at(&["forward", "nat"]).is_none() {
            let ports = Element::new("port").with("start", "1024").with("end", "65535");
            document.edit("forward", |forward| forward.push(Element::new("nat").with_child(ports)));
        }
        if mode.as_deref() != Some("bridge") && self.bridges.contains(&bridge) {
            return Err(libvirt(ErrorKind::Exists, 38, format!("unable to create bridge device {bridge}: File exists")));
        }
        self.network_mut(name)?.live = Some(printed(&mut document));
        self.tell_network(name, "started");
        Ok(())
    }

    /// `virsh net-autostart`.
    pub fn network_autostart(&mut self, name: &str, on: bool) -> Result<(), HostError> {
        let network = self.network_mut(name)?;
        if !network.persistent {
            return Err(invalid("cannot set autostart for transient network"));
        }
        network.autostart = on;
        Ok(())
    }

    /// `virsh net-destroy`.
    pub fn network_stop(&mut self, name: &str) -> Result<(), HostError> {
        let network = self.network_mut(name)?;
        if network.live.take().is_none() {
            return Err(invalid(format!("network '{name}' is not active")));
        }
        network.leases.clear();
        // The guests' taps are left without a bridge, and their documents go on as if nothing were.
        network.ports.clear();
        if !network.persistent {
            self.networks.remove(name);
        }
        self.tell_network(name, "stopped");
        Ok(())
    }

    /// `virsh net-undefine`: one that runs, runs on until it is stopped.
    pub fn network_undefine(&mut self, name: &str) -> Result<(), HostError> {
        let network = self.network_mut(name)?;
        if !network.persistent {
            return Err(invalid(format!("network '{name}' is not persistent")));
        }
        network.persistent = false;
        network.autostart = false;
        if network.live.is_none() {
            self.networks.remove(name);
        }
        self.tell_network(name, "undefined");
        Ok(())
    }

    /// `virsh net-update`, in what runs and in the definition, or neither; or in one of them alone.
    pub fn network_update(
        &mut self,
        name: &str,
        (section, edit, side): (Section, Edit, Side),
        text: &str,
        parent_index: i32,
    ) -> Result<(), HostError> {
        let entry = Element::parse(text).map_err(xml)?;
        let network = self.network(name)?;
        if side == Side::Live && network.live.is_none() {
            return Err(invalid("network is not running"));
        }
        let change = |text: &str| {
            let mut document = Element::parse(text).map_err(xml)?;
            super::network_entries::change(name, &mut document, (section, edit), &entry, parent_index)?;
            Ok::<_, HostError>(printed(&mut document))
        };
        let (mut live, mut inactive) = (network.live.clone(), network.inactive.clone());
        if side != Side::Definition {
            live = live.as_deref().map(change).transpose()?;
        }
        if side != Side::Live && network.persistent {
            inactive = change(&inactive)?;
        }
        let network = self.network_mut(name)?;
        network.live = live;
        network.inactive = inactive;
        Ok(())
    }

    /// Interfaces of running guests are moved to where the first text says, and then to where the second does. A tap that was left
    /// behind by a network that stopped gets a port again, as with libvirt.
    pub(super) fn network_replug(&mut self, nics: &[Replug]) -> Result<(), HostError> {
        for nic in nics {
            if !self.domains.values().any(|domain| domain.uuid == nic.uuid && domain.live.is_some()) {
                continue;
            }
            for text in [&nic.texts.there, &nic.texts.back] {
                self.domain_device(nic.uuid, Plug::Update, text, true, false)?;
            }
        }
        Ok(())
    }

    fn network(&self, name: &str) -> Result<&Network, HostError> {
        self.networks.get(name).ok_or_else(|| no_network(name))
    }

    fn network_mut(&mut self, name: &str) -> Result<&mut Network, HostError> {
        self.networks.get_mut(name).ok_or_else(|| no_network(name))
    }
}

/// An address in its shortest form.
fn shorten(element: &mut Element, attribute: &str) {
    if let Some(address) = element.attr(attribute).and_then(|text| text.parse::<IpAddr>().ok()) {
        element.set(attribute, &address.to_string());
    }
}

/// As libvirt prints it; an `<ip>` without anything in it has a line of its own for its end.
fn printed(document: &mut Element) -> String {
    Schema::Network.settle(document);
    for ip in document.all_mut("ip").filter(|ip| ip.nodes.is_empty()) {
        ip.set_text("\n  ");
    }
    document.print()
}

/// Whether two networks have a route in common; libvirt minds only equal ones, not one within the other.
fn overlap(one: &Element, other: &Element) -> bool {
    let nets = |document: &Element| document.all("ip").filter_map(net).collect::<Vec<_>>();
    let theirs = nets(other);
    nets(one).iter().any(|net| theirs.iter().any(|their| net.trunc() == their.trunc()))
}

/// The net of an `<ip>`.
pub(super) fn net(element: &Element) -> Option<ipnet::IpNet> {
    let address: IpAddr = element.attr("address")?.parse().ok()?;
    let prefix = match (element.attr("prefix"), element.attr("netmask")) {
        (Some(prefix), _) => prefix.parse().ok()?,
        (None, Some(mask)) => ipnet::ip_mask_to_prefix(mask.parse().ok()?).ok()?,
        (None, None) => match address {
            IpAddr::V4(v4) if v4.octets()[0] < 128 => 8,
            IpAddr::V4(v4) if v4.octets()[0] < 192 => 16,
            IpAddr::V4(_) => 24,
            IpAddr::V6(_) => 64,
        },
    };
    ipnet::IpNet::new(address, prefix).ok()
}
