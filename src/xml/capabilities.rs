//! The capabilities document: what a host is and can.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{XmlError, read};

/// What a host is and can.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostDoc {
    /// The host's UUID.
    pub uuid: Option<Uuid>,
    /// Its architecture, such as `x86_64`.
    pub arch: String,
    /// The features of its CPU that libvirt lists (`vmx`, `svm` among them).
    pub cpu_features: BTreeSet<String>,
    /// Whether libvirt offers KVM for guests of the host's own architecture.
    pub kvm_offered: bool,
    /// What guests it can run, by architecture.
    pub guests: BTreeMap<String, GuestDoc>,
}

/// What guests of one architecture a host can run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuestDoc {
    /// The emulator's path.
    pub emulator: Option<String>,
    /// Machine types, with the version that each alias means.
    pub machines: BTreeMap<String, Option<String>>,
    /// The kinds of domains: `qemu`, `kvm`, ….
    pub domain_types: BTreeSet<String>,
}

impl HostDoc {
    /// Whether a guest of the host's architecture would run with KVM: libvirt offers it and, on x86, the CPU has `vmx` or `svm`.
    pub fn kvm_usable(&self) -> bool {
        let x86 = matches!(self.arch.as_str(), "x86_64" | "i686");
        self.kvm_offered && (!x86 || self.cpu_features.contains("vmx") || self.cpu_features.contains("svm"))
    }
}

/// Reads a capabilities document.
pub fn project(text: &str) -> Result<HostDoc, XmlError> {
    let document = read::parse_root(text, "capabilities")?;
    let root = document.root_element();
    let mut host = HostDoc::default();
    if let Some(node) = read::child(root, "host") {
        host.uuid = read::text_at(node, &["uuid"]).and_then(|text| text.parse().ok());
        host.arch = read::text_at(node, &["cpu", "arch"]).unwrap_or_default();
        if let Some(cpu) = read::child(node, "cpu") {
            host.cpu_features = read::children(cpu, "feature").filter_map(|f| read::attr(f, "name")).map(str::to_owned).collect();
        }
    }
    for guest in read::children(root, "guest") {
        let Some(arch) = read::child(guest, "arch") else { continue };
        if read::text_at(guest, &["os_type"]).as_deref() != Some("hvm") {
            continue;
        }
        let Some(name) = read::attr(arch, "name") else { continue };
        let doc = host.guests.entry(name.to_owned()).or_default();
        doc.emulator = doc.emulator.take().or_else(|| read::text_at(arch, &["emulator"]));
        let nested = read::children(arch, "domain").flat_map(|domain| read::children(domain, "machine"));
        for machine in read::children(arch, "machine").chain(nested) {
            let name = read::text(machine).trim().to_owned();
            doc.machines.insert(name, read::attr(machine, "canonical").map(str::to_owned));
        }
        doc.domain_types.extend(read::children(arch, "domain").filter_map(|d| read::attr(d, "type")).map(str::to_owned));
    }
    host.kvm_offered = host.guests.get(&host.arch).is_some_and(|guest| guest.domain_types.contains("kvm"));
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPS: &str = "<capabilities><host><uuid>3c7d1a52-52b4-4e1b-9d0b-0123456789ab</uuid><cpu><arch>x86_64</arch>\
        <feature name='vmx'/><feature name='x2apic'/></cpu></host><guest><os_type>hvm</os_type><arch name='x86_64'>\
        <wordsize>64</wordsize><emulator>/usr/bin/qemu-system-x86_64</emulator><machine maxCpus='255'>pc-q35-7.2</machine>\
        <machine canonical='pc-q35-7.2' maxCpus='255'>q35</machine><domain type='qemu'/><domain type='kvm'/></arch></guest></capabilities>";

    #[test]
    fn kvm_is_usable_only_where_the_cpu_has_it() {
        let host = project(CAPS).expect("reads");
        assert!(host.kvm_offered && host.kvm_usable());
        assert_eq!(host.guests["x86_64"].machines["q35"].as_deref(), Some("pc-q35-7.2"));
        let bare = project(&CAPS.replace("<feature name='vmx'/>", "")).expect("reads");
        assert!(bare.kvm_offered && !bare.kvm_usable());
    }
}
