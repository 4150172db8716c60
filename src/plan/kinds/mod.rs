//! One planner a kind, and the table of them.

mod closed_pool;
mod hand;
mod key_pair;
mod network;
mod network_entries;
mod network_update;
mod storage_pool;
mod template;
mod virtual_machine;
mod vm_address;
mod vm_boot;
mod vm_change;
mod vm_conduct;
mod vm_create;
mod vm_expect;
mod vm_fragment;
mod vm_limits;
mod vm_network;
mod vm_power;
mod vm_rebuild;
mod vm_renamed;
mod vm_restart;
mod vm_saved;
mod vm_size;
mod volume;
mod volume_made;

pub(super) use network::defined_again as network_defined_again;
pub use network_update::patched_network;
pub(super) use virtual_machine::defined_again as domain_defined_again;
pub(super) use vm_address::{is_kept, name_at, recorded_reservations, reserve};
pub(super) use vm_create::{fragment_digest, mark_volume};
pub(super) use volume::{VolumeAt, source_word};

use super::planner::Planner;
use crate::name::Kind;
use crate::resolve::Wanted;

type PlanKind = fn(&mut Planner<'_>, &Wanted);

/// Who plans a kind. Kinds that are only read from the manifests have none.
pub(super) const TABLE: &[(Kind, PlanKind)] = &[
    (Kind::KeyPair, key_pair::plan),
    (Kind::StoragePool, storage_pool::plan),
    (Kind::Network, network::plan),
    (Kind::Template, template::plan),
    (Kind::Volume, volume::plan),
    (Kind::VirtualMachine, virtual_machine::plan),
];

pub(super) use vm_power::stop_drafts;
pub(super) use vm_rebuild::{Rebuild, find as find_rebuilds, finish as finish_rebuilds};
pub(super) use vm_saved::{drop_state, dropped, show_dropped};

/// Plans what is asked for by hand.
pub(super) fn power(p: &mut Planner<'_>, wanted: &Wanted, what: super::policy::PowerAct) {
    match wanted.object.kind {
        Kind::Network => hand::network(p, wanted, what),
        Kind::StoragePool => hand::pool(p, wanted, what),
        _ => vm_power::power(p, wanted, what),
    }
}
