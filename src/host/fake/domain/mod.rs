//! Domains as libvirt keeps and runs them.
//!
//! Waiting is nobody's here: a guest that obeys is off when the call returns, one that doesn't is reported at once.

mod define;
mod devices;
mod limits;
mod live;
mod pci;
mod plug;
mod start;

use uuid::Uuid;

use crate::host::{ErrorKind, Hint, HostError};
use crate::manifest::OnTimeout;
use crate::observe::OffReason;

use super::error::{exists, invalid, libvirt, no_domain, xml};
use super::pool::given_uuid;
use super::schema::Schema;
use super::state::{Domain, Manners, Power, State};
use super::tree::Element;

/// The namespace of jvp's mark.
const MARK: &str = "https://jvp.dev/xml/object/1";

impl State {
    /// `virsh define`.
    pub fn domain_define(&mut self, text: &str, validate: bool) -> Result<Uuid, HostError> {
        let document = Element::parse(text).map_err(xml)?;
        if document.name != "domain" {
            return Err(xml(format!("unexpected root element <{}>, expecting <domain>", document.name)));
        }
        if let Some(path) = Schema::Domain.unknown(&document).filter(|_| validate) {
            return Err(libvirt(ErrorKind::Failed, 92, format!("XML document failed to validate against schema: {path}")));
        }
        let name = document.child_text("name").filter(|name| !name.is_empty()).ok_or_else(|| xml("missing name"))?;
        let given = given_uuid(&document)?;
        let uuid = given.unwrap_or_else(|| self.make_uuid(&format!("domain {name}")));
        let document = self.complete_domain(document, &name, uuid)?;
        if let Some((other, domain)) = self.domains.iter().find(|(other, domain)| **other != name && domain.uuid == uuid) {
            return Err(exists(format!("domain '{other}' is already defined with uuid {}", domain.uuid)));
        }
        if let Some(domain) = self.domains.get(&name).filter(|domain| domain.uuid != uuid) {
            return Err(exists(format!("domain '{name}' already exists with uuid {}", domain.uuid)));
        }
        let inactive = document.print();
        if let Some(domain) = self.domains.get_mut(&name) {
            domain.inactive = inactive;
            domain.persistent = true;
        } else {
            let domain = Domain {
                uuid,
                power: None,
                off_reason: OffReason::Unknown,
                autostart: false,
                persistent: true,
                managed_save: None,
                snapshots: std::collections::BTreeSet::new(),
                inactive,
                live: None,
                manners: Manners::Obeys,
                agent_addresses: None,
                guest_files: std::collections::BTreeMap::new(),
                start_fails: None,
            };
            self.domains.insert(name.clone(), domain);
        }
        self.tell_domain(&name, &["defined"]);
        Ok(uuid)
    }

    /// `virsh shutdown`, and waiting for it.
    pub fn domain_shutdown(&mut self, uuid: Uuid, seconds: u64, on_timeout: OnTimeout) -> Result<(), HostError> {
        let (name, domain) = self.running(uuid)?;
        if domain.manners == Manners::Obeys && domain.power == Some(Power::Running) {
            self.turn_off(&name, OffReason::GuestShutdown);
            return Ok(());
        }
        match on_timeout {
            OnTimeout::PowerOff => {
                self.turn_off(&name, OffReason::Destroyed);
                Ok(())
            }
            OnTimeout::Report => {
                let message = format!("domain '{name}': the guest did not stop within {seconds} s");
                Err(libvirt(ErrorKind::StopTimeout, 0, message))
            }
        }
    }

    /// `virsh destroy`.
    pub fn domain_destroy(&mut self, uuid: Uuid) -> Result<(), HostError> {
        let (name, _) = self.running(uuid)?;
        self.turn_off(&name, OffReason::Destroyed);
        Ok(())
    }

    /// What follows when a domain's QEMU ends, for whatever reason.
    pub fn turn_off(&mut self, name: &str, reason: OffReason) {
        let Some(domain) = self.domains.get_mut(name) else { return };
        let ran = domain.power.take().is_some();
        let live = domain.live.take().and_then(|text| Element::parse(&text).ok());
        for interface in live.iter().filter_map(|live| live.child("devices")).flat_map(|devices| devices.all("interface")) {
            if let Some(port) = interface.child_attr("source", "portid").and_then(|text| text.parse::<Uuid>().ok()) {
                self.networks.values_mut().for_each(|network| network.ports.retain(|other| *other != port));
            }
        }
        domain.off_reason = reason;
        domain.agent_addresses = None;
        domain.guest_files.clear();
        if !domain.persistent {
            self.domains.remove(name);
        }
        if ran {
            self.tell_domain(
                name,
                match reason {
                    OffReason::GuestShutdown | OffReason::Destroyed => &["shut-down", "stopped"],
                    OffReason::Saved => &["suspended", "stopped"],
                    _ => &["stopped"],
                },
            );
        }
    }

    /// The guest shuts itself down.
    pub fn guest_shuts_down(&mut self, name: &str) {
        self.turn_off(name, OffReason::GuestShutdown);
    }

    /// Its QEMU dies.
    pub fn crash(&mut self, name: &str) {
        self.turn_off(name, OffReason::Crashed);
    }

    /// A file inside of a guest, by way of its agent.
    pub fn guest_file(&self, uuid: Uuid, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        let found = self.domains.values().find(|domain| domain.uuid == uuid);
        let domain = found.ok_or_else(|| no_domain(format!("no domain with matching uuid '{uuid}'")))?;
        if domain.live.is_none() {
            return Err(invalid("domain is not running"));
        }
        if !domain.live.as_deref().is_some_and(|live| live.contains("state='connected'")) {
            let message = "Guest agent is not responding: QEMU guest agent is not connected";
            return Err(libvirt(ErrorKind::Transient, 86, message));
        }
        Ok(domain.guest_files.get(path).map(|text| text.clone().into_bytes()))
    }

    /// The agent in a running guest comes up, with these addresses.
    pub fn agent_comes_up(&mut self, name: &str, addresses: &[&str]) {
        let Some(domain) = self.domains.get_mut(name) else { return };
        domain.live = domain.live.take().map(|live| live.replace("state='disconnected'", "state='connected'"));
        domain.agent_addresses = Some(addresses.iter().map(|&address| address.to_owned()).collect());
        self.tell_domain(name, &["agent"]);
    }

    /// `virsh managedsave`.
    pub fn managed_save(&mut self, name: &str) {
        if let Some(domain) = self.domains.get_mut(name).filter(|domain| domain.power.is_some()) {
            domain.managed_save = domain.live.as_deref().and_then(live::put_to_sleep);
        }
        self.turn_off(name, OffReason::Saved);
    }

    /// libvirtd starts again: it no longer knows why guests are off, and what is transient and off is gone already.
    pub fn libvirtd_restarts(&mut self) {
        for domain in self.domains.values_mut() {
            domain.off_reason = OffReason::Unknown;
        }
        self.told.extend([(Hint::Node, "closed"), (Hint::Node, "connected")]);
    }

    /// `virsh undefine`, with the two refusals that the libvirt side makes by itself: a domain that runs or has snapshots.
    pub fn domain_undefine(&mut self, uuid: Uuid, nvram: bool, managed_save: bool) -> Result<(), HostError> {
        let (name, domain) = self.by_uuid(uuid)?;
        if domain.power.is_some() {
            let message = "it runs, and would lose its NVRAM and snapshots under the guest";
            return Err(libvirt(ErrorKind::InvalidState, 0, message));
        }
        if !domain.snapshots.is_empty() {
            return Err(libvirt(ErrorKind::InvalidState, 0, format!("it has snapshots ({})", domain.snapshots.len())));
        }
        if domain.managed_save.is_some() && !managed_save {
            return Err(invalid("refusing to undefine while domain managed save image exists"));
        }
        // Without `nvram` the file is kept, for whoever defines a domain of that name.
        if let Some(path) = nvram_path(&domain.inactive, &name).filter(|_| nvram) {
            self.files.remove(&path);
        }
        self.domains.remove(&name);
        self.tell_domain(&name, &["undefined"]);
        Ok(())
    }

    /// `virsh undefine` of one that runs: it goes on until it is off, and is gone then.
    pub fn make_transient(&mut self, name: &str) {
        if let Some(domain) = self.domains.get_mut(name).filter(|domain| domain.power.is_some()) {
            domain.persistent = false;
            domain.autostart = false;
            self.tell_domain(name, &["undefined"]);
        }
    }

    /// `virsh autostart`.
    pub fn domain_autostart(&mut self, uuid: Uuid, on: bool) -> Result<(), HostError> {
        let (_, domain) = self.by_uuid_mut(uuid)?;
        if !domain.persistent {
            return Err(invalid("cannot set autostart for transient domain"));
        }
        domain.autostart = on;
        Ok(())
    }

    /// `virsh desc` and `virsh metadata`, in the definition and, with `live`, in what runs too.
    pub fn domain_metadata(
        &mut self,
        uuid: Uuid,
        title: Option<&Option<String>>,
        description: Option<&Option<String>>,
        mark: Option<&str>,
        live: bool,
    ) -> Result<(), HostError> {
        let (_, domain) = self.by_uuid(uuid)?;
        if !domain.persistent {
            return Err(invalid("transient domains do not have any persistent config"));
        }
        if live && domain.power.is_none() {
            return Err(invalid("domain is not running"));
        }
        if title.is_some_and(|title| title.as_ref().is_some_and(|title| title.contains('\n'))) {
            return Err(libvirt(ErrorKind::Failed, 8, "metadata title can't contain newlines"));
        }
        let change = |text: &str| {
            let mut document = Element::parse(text).map_err(xml)?;
            for (name, value) in [("title", title), ("description", description)] {
                let Some(value) = value else { continue };
                document.remove(name);
                if let Some(text) = value.as_ref().filter(|text| !text.is_empty()) {
                    document.push(Element::new(name).with_text(text));
                }
            }
            if let Some(mark) = mark {
                put_mark(&mut document, mark)?;
            }
            Schema::Domain.settle(&mut document);
            Ok::<_, HostError>(document.print())
        };
        let inactive = change(&domain.inactive)?;
        let running = domain.live.as_deref().filter(|_| live).map(change).transpose()?;
        let (name, domain) = self.by_uuid_mut(uuid)?;
        domain.inactive = inactive;
        if running.is_some() {
            domain.live = running;
        }
        self.tell_domain(&name, &["metadata"]);
        Ok(())
    }

    /// `virsh domrename`: the NVRAM's path keeps the old name.
    pub fn domain_rename(&mut self, uuid: Uuid, to: &str) -> Result<(), HostError> {
        let (name, domain) = self.by_uuid(uuid)?;
        if domain.power.is_some() {
            return Err(invalid("cannot rename active domain"));
        }
        if !domain.persistent {
            return Err(invalid("cannot rename a transient domain"));
        }
        if domain.managed_save.is_some() {
            return Err(invalid("domain with a managed saved state can't be renamed"));
        }
        if name == to {
            return Err(invalid("can't rename domain to itself"));
        }
        if self.domains.contains_key(to) {
            return Err(libvirt(ErrorKind::Exists, 55, format!("domain with name '{to}' already exists")));
        }
        let Some(mut domain) = self.domains.remove(&name) else { return Ok(()) };
        if let Ok(mut document) = Element::parse(&domain.inactive) {
            document.edit("name", |element| element.set_text(to));
            domain.inactive = document.print();
        }
        // Its NVRAM file stays where it was: a path that follows from the name now leads to nothing.
        self.domains.insert(to.to_owned(), domain);
        self.tell_domain(&name, &["undefined"]);
        self.tell_domain(to, &["defined"]);
        Ok(())
    }

    pub(super) fn by_uuid(&self, uuid: Uuid) -> Result<(String, &Domain), HostError> {
        let found = self.domains.iter().find(|(_, domain)| domain.uuid == uuid);
        found
            .map(|(name, domain)| (name.clone(), domain))
            .ok_or_else(|| no_domain(format!("no domain with matching uuid '{uuid}'")))
    }

    fn by_uuid_mut(&mut self, uuid: Uuid) -> Result<(String, &mut Domain), HostError> {
        let found = self.domains.iter_mut().find(|(_, domain)| domain.uuid == uuid);
        found
            .map(|(name, domain)| (name.clone(), domain))
            .ok_or_else(|| no_domain(format!("no domain with matching uuid '{uuid}'")))
    }

    fn running(&self, uuid: Uuid) -> Result<(String, &Domain), HostError> {
        let (name, domain) = self.by_uuid(uuid)?;
        if domain.power.is_some() { Ok((name, domain)) } else { Err(invalid("domain is not running")) }
    }
}

/// Puts jvp's mark in the place of the old one. Where it comes without its namespace, it gets it, and its prefix, as libvirt's
/// `virDomainSetMetadata` gives them.
fn put_mark(document: &mut Element, mark: &str) -> Result<(), HostError> {
    // Read inside of what it will stand in, so that its namespace is kept.
    let wrapped = Element::parse(&format!("<domain><metadata>{mark}</metadata></domain>")).map_err(xml)?;
    let found = wrapped.at(&["metadata"]).and_then(|metadata| metadata.children().next()).cloned();
    let Some(mut mark) = found else { return Ok(()) };
    let declares = |element: &Element| element.attrs.iter().any(|(name, value)| name.starts_with("xmlns") && value == MARK);
    if !declares(&mark) {
        prefix(&mut mark);
        mark.attrs.insert(0, ("xmlns:jvp".to_owned(), MARK.to_owned()));
    }
    document.edit("metadata", |metadata| {
        metadata.retain(|child| !declares(child));
        metadata.push(mark);
    });
    Ok(())
}

fn prefix(element: &mut Element) {
    if !element.name.contains(':') {
        element.name = format!("jvp:{}", element.name);
    }
    element.children_mut().for_each(prefix);
}

/// Where a domain's NVRAM lies, if it has any.
fn nvram_path(text: &str, name: &str) -> Option<String> {
    let document = Element::parse(text).ok()?;
    let os = document.child("os")?;
    let path = os.child_text("nvram").filter(|path| !path.is_empty());
    path.or_else(|| (os.attr("firmware") == Some("efi")).then(|| default_nvram(name)))
}

fn default_nvram(name: &str) -> String {
    format!("/var/lib/libvirt/qemu/nvram/{name}_VARS.fd")
}
