//! Starting a domain: what must be there, and what is made.
//!
//! A start that fails leaves the domain off, with that as its reason.

use uuid::Uuid;

use crate::host::{ErrorKind, HostError};
use crate::observe::OffReason;

use super::super::error::{invalid, libvirt, no_file, no_network, unsupported_config, xml};
use super::super::state::{File, Power, State};
use super::super::tree::Element;
use super::{devices, live, nvram_path};

impl State {
    /// `virsh start`, from its managed save image where there is one.
    pub fn domain_start(&mut self, uuid: Uuid) -> Result<(), HostError> {
        let (name, domain) = self.by_uuid(uuid)?;
        if domain.power.is_some() {
            return Err(invalid("domain is already running"));
        }
        let fails = domain.start_fails.clone();
        // A saved guest comes back with the configuration that it was saved with.
        let saved = domain.managed_save.clone();
        let mut document = Element::parse(saved.as_deref().unwrap_or(&domain.inactive)).map_err(xml)?;
        let outcome = match fails {
            Some(message) => Err(libvirt(ErrorKind::Failed, 1, message)),
            None => self.can_start(&document),
        };
        if let Err(error) = outcome {
            if let Some(domain) = self.domains.get_mut(&name) {
                domain.off_reason = OffReason::Failed;
            }
            return Err(error);
        }
        self.last_id += 1;
        let nvram = nvram_path(&document.print(), &name);
        let id = self.last_id;
        live::run(self, &mut document, &name, id, nvram.as_deref());
        if let Some(path) = nvram {
            let file =
                File { format: "raw".to_owned(), capacity: 540_672, length: 540_672, allocation: 540_672, ..File::default() };
            self.files.entry(path).or_insert(file);
        }
        let Some(domain) = self.domains.get_mut(&name) else { return Ok(()) };
        domain.live = Some(document.print());
        domain.power = Some(Power::Running);
        domain.managed_save = None;
        // libvirt keeps the definition as a copy that it reads again, which brings the controllers into order.
        if let Ok(mut inactive) = Element::parse(&domain.inactive) {
            devices::sort_controllers_of(&mut inactive);
            domain.inactive = inactive.print();
        }
        let has_agent = document.print().contains("name='org.qemu.guest_agent.0'");
        self.tell_domain(&name, if has_agent { &["resumed", "started", "agent"] } else { &["resumed", "started"] });
        Ok(())
    }

    /// Whether all is there that a domain needs to start.
    fn can_start(&self, document: &Element) -> Result<(), HostError> {
        for name in ["kernel", "initrd"] {
            let path = document.at(&["os", name]).map(Element::text);
            if let Some(path) = path.filter(|path| !self.files.contains_key(path)) {
                return Err(no_file(format!("unable to stat: {path}")));
            }
        }
        let Some(devices) = document.child("devices") else { return Ok(()) };
        for interface in devices.all("interface") {
            let Some(source) = interface.child("source") else { continue };
            if let Some(name) = source.attr("network") {
                let network = self.networks.get(name).ok_or_else(|| no_network(name))?;
                if network.live.is_none() {
                    return Err(invalid(format!("network '{name}' is not active")));
                }
            } else if let Some(bridge) = source.attr("bridge").filter(|bridge| !self.has_bridge(bridge)) {
                return Err(libvirt(ErrorKind::NotFound, 38, format!("cannot get interface MTU on '{bridge}': No such device")));
            }
        }
        // libvirt looks at the last disk first.
        let disks: Vec<&Element> = devices.all("disk").collect();
        for disk in disks.into_iter().rev() {
            let Some(source) = disk.child("source") else { continue };
            if let (Some(pool), Some(volume)) = (source.attr("pool"), source.attr("volume")) {
                let Some(found) = self.pools.get(pool).filter(|pool| pool.active) else {
                    let message = format!("storage pool '{pool}' containing volume '{volume}' is not active");
                    return Err(libvirt(ErrorKind::InvalidState, 67, message));
                };
                self.chain(&format!("{}/{volume}", found.path))?;
                continue;
            }
            let Some(path) = source.attr("file").or_else(|| source.attr("dev")) else { continue };
            self.chain(path)?;
            let declared = disk.child_attr("driver", "type").unwrap_or("raw");
            let real = self.files.get(path).map_or("raw", |file| file.format.as_str());
            if declared == "qcow2" && real != "qcow2" {
                let message = format!("process exited while connecting to monitor: {path}: Image is not in qcow2 format");
                return Err(libvirt(ErrorKind::Failed, 1, message));
            }
            if disk.child("readonly").is_none() && disk.child("shareable").is_none() && self.written_by_a_guest(path) {
                let message = "process exited while connecting to monitor: Failed to get \"write\" lock";
                return Err(libvirt(ErrorKind::InvalidState, 1, message));
            }
        }
        if document.attr("type") == Some("qemu") && document.child_attr("cpu", "mode") == Some("host-passthrough") {
            return Err(unsupported_config(
                "CPU mode 'host-passthrough' for x86_64 qemu domain on x86_64 host is not supported by hypervisor",
            ));
        }
        Ok(())
    }

    /// Whether the files of a backing chain are all there.
    fn chain(&self, path: &str) -> Result<(), HostError> {
        let mut at = path.to_owned();
        for _ in 0..64 {
            let Some(file) = self.files.get(&at) else {
                let message = format!("cannot access storage file '{at}' (as uid:0, gid:0): No such file or directory");
                return Err(libvirt(ErrorKind::NotFound, 38, message));
            };
            match &file.backing {
                Some((backing, _)) => at.clone_from(backing),
                None => return Ok(()),
            }
        }
        Err(libvirt(ErrorKind::Failed, 1, format!("backing chain of '{path}' has a loop")))
    }

    /// Whether a running guest writes to a file.
    pub(in super::super) fn written_by_a_guest(&self, path: &str) -> bool {
        self.domains.values().filter_map(|domain| domain.live.as_deref()).any(|text| {
            let Ok(document) = Element::parse(text) else { return false };
            document.child("devices").is_some_and(|devices| {
                devices.all("disk").any(|disk| {
                    let source = disk.child("source").and_then(|source| source.attr("file").or_else(|| source.attr("dev")));
                    source == Some(path) && disk.child("readonly").is_none()
                })
            })
        })
    }

    fn has_bridge(&self, bridge: &str) -> bool {
        self.bridges.contains(bridge)
            || self
                .networks
                .values()
                .filter_map(|network| network.live.as_deref())
                .any(|text| Element::parse(text).is_ok_and(|document| document.child_attr("bridge", "name") == Some(bridge)))
    }
}
