//! The field table: one row for every leaf of every spec (DECISIONS D1). What a change does is said here and nowhere else.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::name::Kind;

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Written = wanted; unset = not ours.
    Managed,
    /// jvp's default at creation, afterwards as if unset; written = wanted.
    Seed,
    /// jvp's own conduct; never in libvirt.
    Behaviour,
    /// Used at creation; a later change is an error that names the way.
    CreateOnly,
    /// Kept in the inventory only.
    Inventory,
}

/// What taking a field out of a manifest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRemoval {
    /// Its element goes.
    Drop,
    /// It goes back to this value.
    Set(&'static str),
    /// It stays as it is; said as a note.
    Keep,
}

/// Whether a change of an existing object is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// By an action.
    Done,
    /// Refused for good; the text says the way.
    Never(&'static str),
}

/// When a changed field takes effect on a running object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At once.
    Live,
    /// With the next QEMU process.
    Restart,
    /// Only by a restart of the network.
    Disconnect,
    /// It disturbs nothing.
    Nothing,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The kind.
    pub kind: Kind,
    /// The leaf's path; `*` stands for a key of a list, a last `**` for all below.
    pub path: &'static str,
    /// How it is compared.
    pub class: Class,
    /// What taking it out does.
    pub on_removal: OnRemoval,
    /// When a change takes effect.
    pub when: When,
    /// Whether a change is done.
    pub change: Change,
    /// What its absence on the node means, as JSON; empty where absence is a value of its own.
    pub absent: &'static str,
    /// Whether its value is never shown.
    pub sensitive: bool,
}

const fn row(kind: Kind, path: &'static str, class: Class, on_removal: OnRemoval, when: When, change: Change) -> Field {
    Field { kind, path, class, on_removal, when, change, absent: "", sensitive: false }
}

impl Field {
    const fn absent(mut self, json: &'static str) -> Self {
        self.absent = json;
        self
    }
    const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }
}

use Change::{Done, Never};
use Class::{Behaviour, CreateOnly, Inventory, Managed, Seed};
use Kind::{Fleet, KeyPair, Network, Node, StoragePool, Template, VirtualMachine, Volume};
use OnRemoval::{Drop, Keep, Set};

/// The way to another value of what is used at creation only.
pub(super) const NEW_OBJECT_WAY: &str = "make a new object under another name, or delete this one first";
const NEW_OBJECT: Change = Never(NEW_OBJECT_WAY);

/// All rows.
pub const FIELDS: &[Field] = &[
    row(Fleet, "/id", Behaviour, Keep, When::Nothing, Never("a fleet's id never changes")),
    row(Node, "/uri", Behaviour, Keep, When::Nothing, Done),
    row(Node, "/unschedulable", Behaviour, Drop, When::Nothing, Done),
    row(Node, "/defaults/accelerator", Behaviour, Drop, When::Nothing, Done),
    row(KeyPair, "/publicKey", Inventory, Keep, When::Nothing, Done),
    row(KeyPair, "/generate", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(StoragePool, "/type", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(StoragePool, "/target/path", Managed, Keep, When::Restart, Done),
    row(StoragePool, "/autostart", Managed, Keep, When::Nothing, Done),
    row(StoragePool, "/running", Managed, Keep, When::Nothing, Done),
    row(StoragePool, "/nodes", Behaviour, Keep, When::Nothing, Done),
    row(StoragePool, "/libvirtName", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(Network, "/mode", Managed, Keep, When::Disconnect, Done),
    row(Network, "/bridge", Managed, Keep, When::Disconnect, Done),
    row(Network, "/domain", Managed, Drop, When::Disconnect, Done),
    row(Network, "/mtu", Managed, Drop, When::Disconnect, Done),
    row(Network, "/ips/*/address", Managed, Drop, When::Disconnect, Done),
    row(Network, "/ips/*/dhcp/ranges/**", Managed, Drop, When::Live, Done),
    row(Network, "/ips/*/dhcp/hosts/**", Managed, Drop, When::Live, Done),
    row(Network, "/dns/forwarders", Managed, Drop, When::Disconnect, Done),
    row(Network, "/dns/hosts/**", Managed, Drop, When::Live, Done),
    row(Network, "/autostart", Managed, Keep, When::Nothing, Done),
    row(Network, "/running", Behaviour, Drop, When::Disconnect, Done),
    row(Network, "/nodes", Behaviour, Keep, When::Nothing, Done),
    row(Network, "/libvirtName", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(Template, "/pool", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(Template, "/source/url", Inventory, Keep, When::Nothing, Done),
    row(Template, "/source/file", Inventory, Keep, When::Nothing, Done),
    row(Template, "/checksum", Inventory, Keep, When::Nothing, Done),
    row(Template, "/format", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(Template, "/os/name", Inventory, Drop, When::Nothing, Done),
    row(Template, "/os/version", Inventory, Drop, When::Nothing, Done),
    row(Template, "/os/arch", Inventory, Drop, When::Nothing, Done),
    row(Template, "/features/cloudInit", Inventory, Drop, When::Nothing, Done),
    row(Template, "/features/virtio", Inventory, Drop, When::Nothing, Done),
    row(Template, "/features/qemuGuestAgent", Inventory, Drop, When::Nothing, Done),
    row(Template, "/tags", Inventory, Drop, When::Nothing, Done),
    row(Template, "/description", Inventory, Drop, When::Nothing, Done),
    row(Template, "/nodes", Behaviour, Keep, When::Nothing, Done),
    row(Volume, "/pool", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(Volume, "/capacity", Managed, Keep, When::Live, Done),
    row(Volume, "/format", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(Volume, "/source/template", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(Volume, "/source/volume", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(Volume, "/clone", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(Volume, "/libvirtName", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(VirtualMachine, "/node", CreateOnly, Keep, When::Nothing, Never("moving a VM needs migration, which is not there yet")),
    row(VirtualMachine, "/runStrategy", Behaviour, Keep, When::Nothing, Done),
    row(VirtualMachine, "/autostart", Managed, Keep, When::Nothing, Done),
    row(VirtualMachine, "/cpu/count", Managed, Keep, When::Live, Done),
    row(VirtualMachine, "/cpu/max", Managed, Keep, When::Restart, Done),
    row(VirtualMachine, "/cpu/model", Seed, Keep, When::Restart, Done),
    row(VirtualMachine, "/cpu/topology/sockets", Managed, Drop, When::Restart, Done),
    row(VirtualMachine, "/cpu/topology/cores", Managed, Drop, When::Restart, Done),
    row(VirtualMachine, "/cpu/topology/threads", Managed, Drop, When::Restart, Done),
    row(VirtualMachine, "/memory", Managed, Keep, When::Live, Done),
    row(VirtualMachine, "/maxMemory", Managed, Keep, When::Restart, Done),
    row(VirtualMachine, "/firmware/type", CreateOnly, Keep, When::Restart, NEW_OBJECT),
    row(VirtualMachine, "/firmware/secureBoot", CreateOnly, Keep, When::Restart, NEW_OBJECT).absent("false"),
    row(VirtualMachine, "/machine", Seed, Keep, When::Restart, Done),
    row(VirtualMachine, "/disks/*/name", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/volume", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/image", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/claim/pool", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(VirtualMachine, "/disks/*/claim/capacity", Behaviour, Keep, When::Live, Done),
    row(VirtualMachine, "/disks/*/claim/format", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(VirtualMachine, "/disks/*/claim/source/template", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(VirtualMachine, "/disks/*/claim/source/volume", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(VirtualMachine, "/disks/*/claim/clone", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
    row(VirtualMachine, "/disks/*/device", Seed, Keep, When::Restart, Done).absent("\"disk\""),
    row(VirtualMachine, "/disks/*/bus", Seed, Keep, When::Restart, Done),
    row(VirtualMachine, "/disks/*/bootOrder", Managed, Drop, When::Restart, Done),
    row(VirtualMachine, "/disks/*/readOnly", Managed, Set("false"), When::Restart, Done).absent("false"),
    row(VirtualMachine, "/disks/*/limits/bytesPerSecond", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/readBytesPerSecond", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/writeBytesPerSecond", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/iops", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/readIOPS", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/writeIOPS", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/bytesPerSecondMax", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/readBytesPerSecondMax", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/writeBytesPerSecondMax", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/iopsMax", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/readIOPSMax", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/writeIOPSMax", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/iopsSize", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/bytesPerSecondMaxLength", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/readBytesPerSecondMaxLength", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/writeBytesPerSecondMaxLength", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/iopsMaxLength", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/readIOPSMaxLength", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/disks/*/limits/writeIOPSMaxLength", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/interfaces/*/name", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/interfaces/*/network", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/interfaces/*/mac", Seed, Keep, When::Restart, Done),
    row(VirtualMachine, "/interfaces/*/ip", Behaviour, Drop, When::Live, Done),
    row(VirtualMachine, "/interfaces/*/model", Seed, Keep, When::Restart, Done),
    row(VirtualMachine, "/interfaces/*/linkState", Managed, Set("\"up\""), When::Live, Done).absent("\"up\""),
    row(VirtualMachine, "/cloudInit/**", Behaviour, Keep, When::Nothing, Done).sensitive(),
    row(VirtualMachine, "/console/serial", Seed, Keep, When::Restart, Done).absent("false"),
    row(VirtualMachine, "/console/vnc/listen", Managed, Drop, When::Restart, Done),
    row(VirtualMachine, "/console/vnc/password/**", Behaviour, Drop, When::Live, Done).sensitive(),
    row(VirtualMachine, "/console/vnc/socket", Managed, Drop, When::Restart, Done),
    row(VirtualMachine, "/console/vnc", Managed, Drop, When::Restart, Done),
    row(VirtualMachine, "/accelerator", Seed, Keep, When::Restart, Done),
    row(VirtualMachine, "/guestAgent", Seed, Keep, When::Live, Done).absent("false"),
    row(VirtualMachine, "/shutdown/method", Behaviour, Drop, When::Nothing, Done),
    row(VirtualMachine, "/shutdown/timeout", Behaviour, Drop, When::Nothing, Done),
    row(VirtualMachine, "/shutdown/onTimeout", Behaviour, Drop, When::Nothing, Done),
    row(VirtualMachine, "/updatePolicy/restart", Behaviour, Drop, When::Nothing, Done),
    row(VirtualMachine, "/updatePolicy/windows/**", Behaviour, Drop, When::Nothing, Done),
    row(VirtualMachine, "/title", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/description", Managed, Drop, When::Live, Done),
    row(VirtualMachine, "/xml", Behaviour, Drop, When::Restart, Done).sensitive(),
    row(VirtualMachine, "/libvirtName", CreateOnly, Keep, When::Nothing, NEW_OBJECT),
];

/// The row of a leaf: the first one whose path it has.
pub fn field(kind: Kind, path: &str) -> Option<&'static Field> {
    static ALL: OnceLock<BTreeMap<Kind, Place>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut all: BTreeMap<Kind, Place> = BTreeMap::new();
        for (number, row) in FIELDS.iter().enumerate() {
            all.entry(row.kind).or_default().put(row.path.split('/'), number);
        }
        all
    });
    all.get(&kind)?.first(path.split('/')).and_then(|number| FIELDS.get(number))
}

/// Whether a kind has a field of this class.
pub(super) fn has_class(kind: Kind, class: Class) -> bool {
    static ALL: OnceLock<Vec<(Kind, Class)>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut all: Vec<(Kind, Class)> = Vec::new();
        for row in FIELDS {
            if !all.contains(&(row.kind, row.class)) {
                all.push((row.kind, row.class));
            }
        }
        all
    });
    all.contains(&(kind, class))
}

/// The rows of a kind as a tree of their paths' segments: each leaf of each object asks for its row, and most have no other in sight.
#[derive(Default)]
struct Place {
    /// The row that ends here.
    ends: Option<usize>,
    /// The row that has all below.
    all_below: Option<usize>,
    named: Vec<(&'static str, Place)>,
    /// Below any key of a list.
    any: Option<Box<Place>>,
}

impl Place {
    fn put(&mut self, mut path: std::str::Split<'static, char>, number: usize) {
        let below = match path.next() {
            None => {
                self.ends.get_or_insert(number);
                return;
            }
            Some("**") => {
                self.all_below.get_or_insert(number);
                return;
            }
            Some("*") => self.any.get_or_insert_default(),
            Some(name) => {
                let at = self.named.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                    self.named.push((name, Self::default()));
                    self.named.len() - 1
                });
                let Some((_, below)) = self.named.get_mut(at) else { return };
                below
            }
        };
        below.put(path, number);
    }

    fn first(&self, mut path: std::str::Split<'_, char>) -> Option<usize> {
        let here = match path.next() {
            None => self.ends,
            Some(name) => {
                let named = self.named.iter().find(|(known, _)| *known == name).and_then(|(_, below)| below.first(path.clone()));
                let any = self.any.as_ref().and_then(|below| below.first(path));
                named.into_iter().chain(any).min()
            }
        };
        here.into_iter().chain(self.all_below).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) | (Some("**"), _) => return true,
                (Some("*"), Some(_)) => {}
                (Some(a), Some(b)) if a == b => {}
                _ => return false,
            }
        }
    }

    #[test]
    fn the_row_that_is_found_is_the_first_that_a_walk_over_the_table_finds() {
        let forms = |path: &'static str| {
            let path = path.replace("/**", "").replace('*', "root");
            let above = path.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
            [format!("{path}/more"), format!("{path}/"), format!("x{path}"), above, path]
        };
        for path in FIELDS.iter().flat_map(|row| forms(row.path)) {
            for kind in Kind::TABLE.iter().map(|row| row.kind) {
                let walked = FIELDS.iter().find(|row| row.kind == kind && matches(row.path, &path));
                let found = field(kind, &path);
                assert_eq!(found.map(|row| row.path), walked.map(|row| row.path), "{kind}{path}");
            }
        }
    }

    #[test]
    fn a_key_of_a_list_matches_its_star() {
        assert_eq!(field(Kind::VirtualMachine, "/disks/root/bus").unwrap().path, "/disks/*/bus");
        assert_eq!(field(Kind::Network, "/ips/10.0.0.1~124/dhcp/ranges/x/start").unwrap().when, When::Live);
        assert!(field(Kind::VirtualMachine, "/disks/root/colour").is_none());
    }
}
