//! What disks may read and write: `<iotune>`, in definitions and on what runs.

use uuid::Uuid;

use crate::host::{ErrorKind, HostError};
use crate::manifest::DiskLimits;
use crate::xml::domain::limit_words;

use super::super::error::{libvirt, unsupported_config, xml};
use super::super::schema::Schema;
use super::super::state::State;
use super::super::tree::Element;

/// QEMU's most.
const MOST: u64 = 1_000_000_000_000_000;
/// What stands beside one another: `bytes` and `iops`, each as a sum and by its parts.
const KINDS: [&str; 2] = ["bytes", "iops"];
const PARTS: [&str; 3] = ["total", "read", "write"];

fn number(iotune: &Element, name: &str) -> u64 {
    iotune.child_text(name).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn summed_and_parted(iotune: &Element) -> Option<String> {
    ["", "_max"].iter().flat_map(|end| KINDS.map(|kind| format!("{kind}_sec{end}"))).find(|name| {
        let of = |part: &str| number(iotune, &format!("{part}_{name}"));
        of("total") > 0 && (of("read") > 0 || of("write") > 0)
    })
}

/// Drops what limits nothing.
fn tidy(iotune: &mut Element) {
    let nothing = |child: &Element| child.name != "group_name" && child.text().trim().parse() == Ok(0_u64);
    iotune.retain(|child| !nothing(child));
}

/// What libvirt makes of limits in a definition.
pub(super) fn settle(document: &mut Element) -> Result<(), HostError> {
    let Some(devices) = document.child_mut("devices") else { return Ok(()) };
    for disk in devices.all_mut("disk") {
        let Some(iotune) = disk.child_mut("iotune") else { continue };
        if let Some(name) = summed_and_parted(iotune) {
            return Err(xml(format!("total and read/write {name} cannot be set at the same time")));
        }
        tidy(iotune);
        let limited = iotune.children().any(|child| child.name != "group_name");
        if !limited && iotune.child("group_name").is_some() {
            return Err(unsupported_config("group_name can be configured only together with settings"));
        }
        if iotune.children().any(|child| child.name != "group_name" && number(iotune, &child.name) > MOST) {
            let message = format!("block I/O throttle limit must be no more than {MOST} using QEMU");
            return Err(libvirt(ErrorKind::Unsupported, 74, message));
        }
        if !limited {
            disk.remove("iotune");
        }
    }
    Ok(())
}

/// What QEMU refuses of what runs.
fn throttle(iotune: &Element) -> Result<(), HostError> {
    let qemu = |message: &str| {
        libvirt(ErrorKind::Failed, 1, format!("unable to execute QEMU command 'block_set_io_throttle': {message}"))
    };
    for name in KINDS.iter().flat_map(|kind| PARTS.map(|part| format!("{part}_{kind}_sec"))) {
        let (burst, length) = (number(iotune, &format!("{name}_max")), number(iotune, &format!("{name}_max_length")));
        if length > 1 && burst == 0 {
            return Err(qemu("burst length set without burst rate"));
        }
        if length > 1 && burst > MOST / length {
            return Err(qemu("burst length too high for this burst rate"));
        }
    }
    if number(iotune, "size_iops_sec") > 0 && PARTS.iter().all(|part| number(iotune, &format!("{part}_iops_sec")) == 0) {
        return Err(qemu("iops size requires an iops value to be set"));
    }
    Ok(())
}

impl State {
    /// `virsh blkdeviotune`, with all limits given.
    pub fn domain_block_limits(
        &mut self,
        uuid: Uuid,
        target: &str,
        limits: &DiskLimits,
        live: bool,
        config: bool,
    ) -> Result<(), HostError> {
        let (name, domain) = self.documents(uuid, live, config)?;
        let mut given = Element::new("iotune");
        for (word, count) in limit_words(limits) {
            if count > MOST {
                let message = format!("block I/O throttle limit value must be no more than {MOST}");
                return Err(libvirt(ErrorKind::Unsupported, 74, message));
            }
            given.push(Element::new(word).with_text(&count.to_string()));
        }
        if let Some(name) = summed_and_parted(&given) {
            return Err(libvirt(ErrorKind::Failed, 8, format!("total and read/write of {name} cannot be set at the same time")));
        }
        let set = |text: &str, live: bool| {
            let mut document = Element::parse(text).map_err(xml)?;
            let disk = document
                .child_mut("devices")
                .and_then(|devices| devices.all_mut("disk").find(|disk| disk.child_attr("target", "dev") == Some(target)));
            let missing = || {
                let message = if live {
                    format!("disk '{target}' not found in domain")
                } else {
                    format!("missing persistent configuration for disk '{target}'")
                };
                libvirt(ErrorKind::Failed, 8, message)
            };
            let disk = disk.ok_or_else(missing)?;
            if live {
                bursts(&given)?;
                throttle(&given)?;
            }
            let group = disk.child("iotune").and_then(|iotune| iotune.child("group_name").cloned());
            let mut new = given.clone();
            tidy(&mut new);
            disk.remove("iotune");
            if !new.nodes.is_empty() {
                if let Some(group) = group {
                    new.push(group);
                }
                disk.push(new);
            }
            Schema::Domain.settle(&mut document);
            Ok::<_, HostError>(document.print())
        };
        let inactive = config.then(|| set(&domain.inactive, false)).transpose()?;
        let running = domain.live.as_deref().filter(|_| live).map(|text| set(text, true)).transpose()?;
        if running.is_some() {
            self.tell_domain(&name, &["tuned"]);
        }
        self.put(&name, inactive, running);
        Ok(())
    }
}

/// A burst stands on its rate.
fn bursts(iotune: &Element) -> Result<(), HostError> {
    for name in KINDS.iter().flat_map(|kind| PARTS.map(|part| format!("{part}_{kind}_sec"))) {
        let (rate, burst) = (number(iotune, &name), number(iotune, &format!("{name}_max")));
        if burst > 0 && rate == 0 {
            return Err(unsupported_config(format!("cannot reset '{name}' when '{name}_max' is set")));
        }
        if burst > 0 && burst < rate {
            return Err(unsupported_config(format!("value '{name}_max' cannot be smaller than '{name}'")));
        }
    }
    Ok(())
}
