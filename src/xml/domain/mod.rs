//! Domains: read, written from nothing, patched, merged with fragments of the user's, and compared live with inactive.

mod definition;
mod devices;
mod doc;
mod export;
#[cfg(test)]
mod export_tests;
mod fragment;
#[cfg(test)]
mod fragment_tests;
mod limits;
mod merge;
mod patch;
mod patch_devices;
#[cfg(test)]
mod patch_tests;
mod pending;
#[cfg(test)]
mod pending_tests;
mod plug;
mod project;
#[cfg(test)]
mod properties;
mod render;
#[cfg(test)]
mod tests;

pub use definition::Definition;
pub use devices::next_target;
pub use doc::{DiskDoc, DomainDoc, InterfaceDoc, VncDoc};
pub use export::{Beside, beside, holds};
pub use fragment::{Conflict, Fragment, Leaf, REMOVE_NAMESPACE, is_identity, parse_fragment, typed_elsewhere, typed_within};
pub use limits::words as limit_words;
pub use merge::{BROUGHT, FragmentValue, REMOVED, merge, merge_dropping, paths, read, standing};
pub use patch::{DomainPatch, FragmentPatch, device, disown, free_ports, patch, pluggable_vcpus};
pub use pending::{Both, pending, project_both};
pub use plug::{PlugTexts, plug_texts};
pub use project::project;
pub use render::{DiskWanted, DomainWanted, NicSource, NicWanted, SPARE_PORTS, render};

/// The alias of the cloud-init seed's disk. No disk of a manifest can have it.
pub(super) const SEED_ALIAS: &str = "ua-seed";
/// What the alias of a disk of a manifest begins with. Aliases are unique in a domain, over all its devices.
pub(super) const DISK_ALIAS: &str = "ua-disk-";
/// What the alias of an interface of a manifest begins with.
pub(super) const NIC_ALIAS: &str = "ua-nic-";
/// The name of the guest agent's channel.
pub(super) const AGENT_CHANNEL: &str = "org.qemu.guest_agent.0";

/// Whether a machine that a domain has is what a manifest asks for: `q35` and `pc` mean any version of theirs.
pub fn machine_matches(wanted: &str, actual: &str) -> bool {
    wanted == actual
        || match wanted {
            "q35" => actual.starts_with("pc-q35-"),
            "pc" | "i440fx" => actual == "pc" || actual.starts_with("pc-i440fx-"),
            _ => false,
        }
}

/// The family of a machine: domains can't change it. `pc-q35-7.2` and `q35` are of family `q35`.
pub fn machine_family(machine: &str) -> &str {
    if machine == "q35" || machine.starts_with("pc-q35-") {
        "q35"
    } else if machine == "pc" || machine == "i440fx" || machine.starts_with("pc-i440fx-") {
        "pc"
    } else {
        machine
    }
}
