//! Rebuilding a VM (`cloudInit.onChange: Rebuild`): what of it came from a template is made anew, so that a guest with nothing done to
//! it yet finds the new seed. Blank disks keep their data, and the VM its identity.
//!
//! The mark holds the digest of the seed, and is written last: until then whatever broke off is seen as a VM that is to be rebuilt.

use std::collections::{BTreeMap, BTreeSet};

use super::virtual_machine::disk_object;
use super::vm_create;
use super::vm_power::stop_drafts;
use super::vm_restart::restart;
use crate::manifest::{Management, OnChange, RunStrategy, Spec, VirtualMachineSpec};
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::{DomainState, OffReason, PowerState};
use crate::plan::identity::Verdict;
use crate::plan::model::{Effect, RefusalKind, Verb};
use crate::plan::planner::{Planner, Row, Standing};
use crate::plan::policy::given;
use crate::plan::{ActionId, suspension};
use crate::resolve::Wanted;
use crate::xml::volume::Backing;

/// A VM that is to be rebuilt.
pub(in crate::plan) struct Rebuild {
    /// Its domain.
    pub(super) uuid: uuid::Uuid,
    /// The volumes that are made anew, and those that are gone already.
    volumes: BTreeSet<ObjectRef>,
    /// Why it isn't done, and what to do.
    pub(super) refused: Option<(String, Vec<String>)>,
    /// Its stop, once that is planned.
    stop: Option<BTreeSet<ActionId>>,
}

/// The digest of the seed that a VM has: by its mark, which is written with it, while the inventory may be behind.
pub(super) fn seed_of(p: &Planner<'_>, vm: &ObjectRef, domain: &DomainState) -> Option<String> {
    let marked = domain.doc.mark.as_ref().and_then(|mark| mark.seed.clone());
    marked.or_else(|| p.entry(vm).and_then(|entry| entry.seed_digest.clone()))
}

/// Finds the VMs that are to be rebuilt, before anything is planned: their volumes come before them.
pub(in crate::plan) fn find(p: &mut Planner<'_>, targets: Option<&BTreeSet<ObjectRef>>) {
    let desired = p.desired;
    for wanted in desired.objects.values() {
        let Spec::VirtualMachine(spec) = &*wanted.spec else { continue };
        let Some(cloud_init) = spec.cloud_init.as_ref().filter(|told| told.on_change == Some(OnChange::Rebuild)) else {
            continue;
        };
        let planned = targets.is_none_or(|targets| targets.contains(&wanted.object));
        if !planned || wanted.lifecycle.management() != Management::Full || suspension::is_suspended(p, wanted) {
            continue;
        }
        let Some((node, state)) = wanted.node.as_ref().and_then(|node| Some((node, p.node(node)?))) else { continue };
        let Verdict::Ours { uuid, .. } = p.verdict_domain(wanted, state) else { continue };
        let Some(domain) = p.index.domain(node, uuid) else { continue };
        let Ok(seed) = vm_create::seed(p, wanted, cloud_init) else { continue };
        if seed_of(p, &wanted.object, domain).as_deref() == Some(seed.digest.as_str()) {
            continue;
        }
        let rebuild = judge(p, wanted, spec, node, domain);
        p.rebuilds.insert(wanted.object.clone(), rebuild);
    }
}

fn judge(p: &Planner<'_>, wanted: &Wanted, spec: &VirtualMachineSpec, node: &Name, domain: &DomainState) -> Rebuild {
    let mut rebuild = Rebuild { uuid: domain.uuid, volumes: BTreeSet::new(), refused: None, stop: None };
    let refused = |message: String, help: &str| Rebuild {
        refused: Some((format!("/cloudInit: it is to be rebuilt (onChange: Rebuild), but {message}"), vec![help.to_owned()])),
        ..Rebuild { uuid: domain.uuid, volumes: BTreeSet::new(), refused: None, stop: None }
    };
    if domain.has_snapshots {
        return refused(
            "it has snapshots, which that would lose".into(),
            "delete them first: virsh snapshot-list, virsh snapshot-delete",
        );
    }
    let (mut words, mut lost) = (Vec::new(), Vec::new());
    for disk in &spec.disks {
        let Some(object) = disk_object(wanted, disk, node).filter(|object| object.kind == Kind::Volume) else { continue };
        let Some(volume) = p.desired.objects.get(&object) else {
            let source = p.entry(&object).and_then(|entry| entry.volume.as_ref()?.source.as_deref());
            if source.is_none_or(|source| source.starts_with("Template/")) {
                return refused(format!("no manifest here declares {object}"), "apply it together with its Volumes");
            }
            continue;
        };
        let Spec::Volume(made) = &*volume.spec else { continue };
        if made.source.as_ref().is_none_or(|source| source.template.is_none()) {
            continue;
        }
        let Some((at, ..)) = p.volume_at(&object, node) else { continue };
        if p.index.volume_at(node, &at.path).is_none() {
            // It is made anew as it is, for which its own planner wants its word.
            rebuild.volumes.insert(object);
            continue;
        }
        if volume.prevent_destroy || wanted.prevent_destroy {
            let whose = if volume.prevent_destroy { &object } else { &wanted.object };
            let message = format!("`lifecycle.preventDestroy: true` of {whose} keeps {object} from being deleted");
            return refused(message, "take that out of the manifest first, or set `onChange: NextStart`");
        }
        if volume.lifecycle.management() != Management::Full || suspension::is_suspended(p, volume) {
            return refused(format!("{object} is left as it is (suspended, or lifecycle.management)"), "let jvp manage it first");
        }
        let on_it = |doc: &crate::xml::domain::DomainDoc| {
            doc.disk(disk.name.as_str()).is_none_or(|doc| doc.source.as_ref().is_none_or(|source| *source == at.path))
        };
        if !on_it(&domain.doc) || !domain.live.as_deref().is_none_or(on_it) {
            let message = format!("its disk {} is not on {object} itself, but on an overlay or another file", disk.name);
            return refused(message, "merge or delete that first, such as by virsh blockcommit");
        }
        let others: Vec<String> = p.users(Some(node), &at.path).into_iter().filter(|user| *user != domain.name).collect();
        if !others.is_empty() {
            return refused(format!("{object} is used by {}, too", others.join(", ")), "take it off these first");
        }
        lost.push(object.to_string());
        if !given(&p.policy.consents.allow_data_loss, &object) {
            words.push(format!("--allow-data-loss {object}"));
        }
        rebuild.volumes.insert(object);
    }
    let restart = restart(p, wanted, spec);
    let halted = spec.run_strategy == Some(RunStrategy::Halted);
    let waits = domain.is_active() && !halted && !restart.may();
    if waits {
        words.push(format!("--allow-restart {}", wanted.object));
    }
    if domain.managed_save && !given(&p.policy.consents.discard_saved_state, &wanted.object) {
        words.push(format!("--discard-saved-state {}", wanted.object));
    }
    if !words.is_empty() {
        let lost = if lost.is_empty() { String::new() } else { format!("; the data of {} is lost by that", lost.join(", ")) };
        let when = if waits { restart.words() } else { String::new() };
        let message = format!("/cloudInit: what it tells changed, and it is to be rebuilt (onChange: Rebuild){lost}{when}");
        let help = [
            format!("if that may be: {}", words.join(" ")),
            "or set `onChange: NextStart` to hand it to the guest as it is".into(),
        ];
        rebuild.refused = Some((message, help.into()));
        rebuild.volumes.clear();
    }
    rebuild
}

/// The VM for whose sake a volume is made anew.
pub(super) fn of_volume<'p>(p: &'p Planner<'_>, volume: &ObjectRef) -> Option<(&'p ObjectRef, &'p Rebuild)> {
    p.rebuilds.iter().find(|(_, rebuild)| rebuild.volumes.contains(volume))
}

/// The rebuild of a VM that is done.
pub(super) fn of_vm<'p>(p: &'p Planner<'_>, vm: &ObjectRef) -> Option<&'p Rebuild> {
    p.rebuilds.get(vm).filter(|rebuild| rebuild.refused.is_none())
}

/// The VM whose rebuild stops a domain of a node.
pub(super) fn of_domain(p: &Planner<'_>, node: &Name, name: &str) -> Option<ObjectRef> {
    let uuid = p.node(node)?.domains.get(name)?.uuid;
    let mut rebuilt = p.rebuilds.iter().filter(|(_, rebuild)| rebuild.refused.is_none());
    rebuilt.find(|(_, rebuild)| rebuild.uuid == uuid).map(|(vm, _)| vm.clone())
}

/// The actions after which the VM is off; they are planned when first asked for.
pub(super) fn stop(p: &mut Planner<'_>, vm: &ObjectRef) -> BTreeSet<ActionId> {
    if let Some(planned) = p.rebuilds.get(vm).and_then(|rebuild| rebuild.stop.clone()) {
        return planned;
    }
    let mut ids = BTreeSet::new();
    let desired = p.desired;
    if let Some(wanted) = desired.objects.get(vm)
        && let Spec::VirtualMachine(spec) = &*wanted.spec
        && let Some(domain) = p.domain(wanted).filter(|domain| domain.is_active())
    {
        let mut row = Row::new(wanted, Verb::Stop, "it is rebuilt, since what cloud-init is told changed (onChange: Rebuild)");
        row.effect = Effect::Stop;
        let restarting = spec.run_strategy != Some(RunStrategy::Halted);
        let drafts = stop_drafts(p, wanted, spec, domain).into_iter();
        row.drafts = drafts.map(|draft| draft.restarting(restarting)).collect();
        ids.extend(p.commit(row));
    }
    ids.extend(p.rebuilds.get(vm).and_then(|rebuild| p.dropped.get(&rebuild.uuid)).into_iter().flatten());
    if let Some(rebuild) = p.rebuilds.get_mut(vm) {
        rebuild.stop = Some(ids.clone());
    }
    ids
}

/// A domain as it is once it was stopped.
pub(super) fn stopped(domain: &DomainState) -> DomainState {
    DomainState {
        state: PowerState::Off,
        off_reason: OffReason::Destroyed,
        live: None,
        live_xml: None,
        pending: BTreeSet::new(),
        agent_addresses: None,
        ..domain.clone()
    }
}

/// The disks whose volumes are made anew on another file than before, with what lies beneath them then.
pub(super) fn chains(
    p: &Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    node: &Name,
    domain: &DomainState,
) -> BTreeMap<String, Vec<Backing>> {
    let Some(rebuild) = of_vm(p, &wanted.object) else { return BTreeMap::new() };
    let made = spec.disks.iter().filter_map(|disk| {
        let object = disk_object(wanted, disk, node).filter(|object| rebuild.volumes.contains(object))?;
        let (at, ..) = p.volume_at(&object, node)?;
        let chain = p.chain(node, at.backing.as_ref());
        let was = &domain.doc.disk(disk.name.as_str())?.chain;
        let moved = !was.is_empty() && !was.iter().eq(chain.iter().map(|(path, _)| path));
        moved.then(|| (disk.name.to_string(), chain.into_iter().map(|(path, format)| Backing { path, format }).collect()))
    });
    made.collect()
}

/// Refuses VMs that would be taken apart and not put together again: they wait for something else.
pub(in crate::plan) fn finish(p: &mut Planner<'_>) {
    let desired = p.desired;
    let waiting: Vec<ObjectRef> = p
        .rebuilds
        .iter()
        .filter(|(vm, rebuild)| rebuild.refused.is_none() && !matches!(p.standing.get(*vm), Some(Standing::Ready(_))))
        .map(|(vm, _)| vm.clone())
        .collect();
    for wanted in waiting.iter().filter_map(|vm| desired.objects.get(vm)) {
        let message = "/cloudInit: it is to be rebuilt (onChange: Rebuild), and waits for something else that it needs";
        p.refuse(wanted, RefusalKind::Guard, message, &["apply what it needs first, by --target".into()]);
    }
}
