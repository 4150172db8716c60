//! What a VM's definition holds in other words than the manifest's: the cloud-init seed and the VNC password.

use std::collections::BTreeMap;

use serde_json::json;

use super::virtual_machine::lane;
use super::vm_change::Change;
use super::vm_create::{self, PASSWORD, PASSWORD_TOKEN};
use super::{vm_rebuild, vm_saved};
use crate::manifest::{Management, OnChange, VirtualMachineSpec};
use crate::name::Name;
use crate::observe::DomainState;
use crate::plan::delete_file::seed_of;
use crate::plan::model::{Effect, FieldChange, RefusalKind, Shown};
use crate::plan::planner::{Draft, Planner};
use crate::plan::{DomainExpect, Entry, Expect, Lane, Op, Plug, Precondition, Record, SecretRef};
use crate::resolve::Wanted;
use crate::xml::MarkVolume;
use crate::xml::domain::DomainPatch;

/// What is to be done besides the fields.
#[derive(Default)]
pub(super) struct Conduct {
    /// Before the definition changes.
    pub(super) before: Vec<Draft>,
    /// The digest of the seed that the VM has then.
    pub(super) seed_digest: Option<String>,
    /// The path of the new seed.
    pub(super) seed_path: Option<String>,
    /// The new seed's volume.
    pub(super) seed: Option<MarkVolume>,
}

/// Plans them. The error says that it was refused.
pub(super) fn conduct(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    node: &Name,
    domain: &DomainState,
    entry: Option<&Entry>,
    change: &mut Change,
) -> Result<Conduct, ()> {
    let mut conduct = Conduct::default();
    password(p, wanted, spec, domain, entry, change)?;
    seed(p, wanted, spec, node, domain, change, &mut conduct)?;
    Ok(conduct)
}

/// The secrets that an operation's document holds as tokens.
pub(super) fn secrets(p: &Planner<'_>, wanted: &Wanted, op: &Op) -> BTreeMap<String, SecretRef> {
    let (Op::DomainRedefine { patch, .. } | Op::DomainDevice { patch, .. }) = op else { return BTreeMap::new() };
    let secret =
        patch.vnc_password_token.as_ref().and_then(|_| p.sources.secrets.get(&(wanted.object.clone(), PASSWORD.to_owned())));
    secret.map(|secret| (PASSWORD_TOKEN.to_owned(), secret.clone())).into_iter().collect()
}

/// The password of the screen. Its value is no input of a plan, so a password that was changed by hand is not seen; one that is
/// missing is, and so is another one in its source.
fn password(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    domain: &DomainState,
    entry: Option<&Entry>,
    change: &mut Change,
) -> Result<(), ()> {
    let has = |doc: &crate::xml::domain::DomainDoc| doc.vnc.as_ref().is_some_and(|vnc| vnc.password.is_some());
    let screen = spec.console.as_ref().and_then(|console| console.vnc.as_ref());
    let asked = screen.is_some_and(|vnc| vnc.password.is_some());
    let before = entry.map(|entry| &entry.last).or_else(|| domain.doc.mark.as_ref().map(|mark| &mark.paths));
    let was = before.is_some_and(|last| last.iter().any(|path| path.starts_with(PASSWORD)));
    let running = domain.live.as_deref();
    let field = |old: bool, new: bool| FieldChange {
        path: PASSWORD.into(),
        old: old.then_some(Shown::Sensitive),
        new: new.then_some(Shown::Sensitive),
    };
    if !asked {
        // A password that was never ours stays. A running screen that has none any more would let nobody in, so that waits.
        if was && screen.is_some() && has(&domain.doc) {
            change.fields.push(field(true, false));
            change.patch.drop.insert(PASSWORD.into());
            if running.is_some_and(has) {
                change.effects.insert(PASSWORD.into(), Effect::NextStart);
            }
        }
        return Ok(());
    }
    let Some(secret) = p.sources.secrets.get(&(wanted.object.clone(), PASSWORD.to_owned())) else {
        let help = ["set the variable, or put the file beside the manifest".to_owned()];
        p.refuse(wanted, RefusalKind::Invalid, format!("{PASSWORD}: its source can't be read"), &help);
        return Err(());
    };
    let recorded = entry.and_then(|entry| entry.secrets.get(PASSWORD));
    // One that somebody else had set gives way to the first that is written; of one that only the mark tells nothing more is known.
    let looks = wanted.lifecycle.management() == Management::Observe;
    let moved = (!was && !looks) || recorded.is_some_and(|recorded| recorded.mac != secret.mac);
    // QEMU takes a password at once only on a screen that asks for one.
    let (config, live) = (moved || !has(&domain.doc), running.is_some_and(|doc| moved && has(doc)));
    if !config && !live {
        return Ok(());
    }
    change.fields.push(field(has(&domain.doc), true));
    let token = Some(PASSWORD_TOKEN.to_owned());
    if running.is_some() {
        change.effects.insert(PASSWORD.into(), if live { Effect::Live } else { Effect::NextStart });
    }
    if live {
        let patch = DomainPatch { vnc_password_token: token.clone(), ..DomainPatch::default() };
        change.live.push(screen_update(p, wanted, domain, patch));
    }
    if config {
        change.patch.vnc_password_token = token;
    }
    Ok(())
}

fn screen_update(p: &Planner<'_>, wanted: &Wanted, domain: &DomainState, patch: DomainPatch) -> Draft {
    let op = Op::DomainDevice {
        name: domain.name.clone(),
        uuid: domain.uuid,
        how: Plug::Update,
        device: "/console/vnc".into(),
        patch: Box::new(patch),
        live: true,
        config: false,
        xml: None,
    };
    let expect = DomainExpect { uuid: domain.uuid, ..DomainExpect::default() };
    let mut draft = Draft::new(op, lane(wanted))
        .when(Precondition::Domain { uuid: domain.uuid, running: true })
        .expect(Expect::Domain(Box::new(expect)));
    draft.secrets = secrets(p, wanted, &draft.op);
    draft
}

/// The seed, where the manifest tells cloud-init something else than the VM was made with.
fn seed(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &VirtualMachineSpec,
    node: &Name,
    domain: &DomainState,
    change: &mut Change,
    conduct: &mut Conduct,
) -> Result<(), ()> {
    let was = vm_rebuild::seed_of(p, &wanted.object, domain);
    conduct.seed_digest.clone_from(&was);
    let Some(cloud_init) = &spec.cloud_init else { return Ok(()) };
    let Ok(new) = vm_create::seed(p, wanted, cloud_init) else { return Ok(()) };
    if was.as_deref() == Some(new.digest.as_str()) {
        return Ok(());
    }
    match cloud_init.on_change.unwrap_or(OnChange::Ignore) {
        OnChange::Ignore => {
            let message = "what the manifest tells cloud-init differs from what the VM was made with (onChange: Ignore)";
            p.note(&wanted.object, "CloudInitStale", message);
            return Ok(());
        }
        OnChange::Rebuild => {
            // One that has to be defined or renamed first is rebuilt by the next apply: its new seed alone would tell that it was.
            let rebuild = p.rebuilds.get(&wanted.object);
            if rebuild.is_none() && wanted.lifecycle.management() == Management::Full {
                return Ok(());
            }
            if let Some((message, help)) = rebuild.and_then(|rebuild| rebuild.refused.clone()) {
                p.refuse(wanted, RefusalKind::Guard, message, &help);
                return Err(());
            }
            change.patch.chains = vm_rebuild::chains(p, wanted, spec, node, domain);
        }
        OnChange::NextStart => p.note(
            &wanted.object,
            "NewInstance",
            "cloud-init takes its next start for the first one of a new instance, and runs all of its modules",
        ),
    }
    let planned = match vm_create::seed_plan(p, wanted, spec, cloud_init, node) {
        Ok(planned) => planned,
        Err(why) => {
            vm_create::stop(p, wanted, why, Vec::new());
            return Err(());
        }
    };
    let short = |digest: &str| digest.chars().take(8).collect::<String>();
    change.fields.push(FieldChange {
        path: "/cloudInit".into(),
        old: was.as_deref().map(|digest| Shown::Value(format!("seed {}", short(digest)))),
        new: Some(Shown::Value(format!("seed {}", short(&new.digest)))),
    });
    if domain.live.is_some() {
        change.effects.insert("/cloudInit".into(), Effect::NextStart);
    }
    change.patch.seed = Some(planned.path.clone());
    change.touched.insert("/cloudInit".into());
    change.expect.insert("/cloudInit/seed".into(), Some(json!(planned.path)));
    conduct.before.extend(planned.drafts);
    conduct.seed_path = Some(planned.path);
    conduct.seed_digest = Some(planned.digest);
    conduct.seed = Some(vm_create::mark_volume(planned.object.to_string(), &planned.record));
    Ok(())
}

/// Removes the VM's earlier seeds, which only it ever used and nothing of it uses any more; `new` is the one that it gets.
pub(super) fn old_seeds(p: &Planner<'_>, wanted: &Wanted, domain: &DomainState, new: Option<&str>) -> Vec<Draft> {
    let mut seeds = p.index.came_with(&wanted.object).filter(|entry| seed_of(entry).is_some()).peekable();
    if seeds.peek().is_none() {
        return Vec::new();
    }
    let has = domain.doc.disks.iter().find(|disk| disk.seed).and_then(|disk| disk.source.as_deref());
    let saved = vm_saved::kept(p, wanted, domain).map(|saved| &saved.doc);
    let runs_on = |path: &str| domain.live.iter().chain(saved).any(|doc| doc.uses.contains(path));
    let state = wanted.node.as_ref().and_then(|node| p.node(node));
    let removed = seeds.filter_map(|entry| {
        let record = entry.volume.as_ref().filter(|record| new.or(has) != Some(&record.path) && !runs_on(&record.path))?;
        // What is in a pool that is stopped isn't seen.
        let files = state.and_then(|state| state.pools.get(&record.pool)?.volumes.as_ref())?;
        let mut draft = if files.contains_key(&record.file) {
            let op = Op::VolumeDelete { pool: record.pool.clone(), name: record.file.clone() };
            let lane = Lane::PoolShared { pool: record.pool.clone(), volume: record.file.clone() };
            Draft::new(op, lane).when(Precondition::VolumeUnused { path: record.path.clone() }).expect(Expect::Gone)
        } else {
            Draft::new(Op::Inventory, Lane::Local(entry.object.to_string()))
        };
        draft.record = Record::Remove(entry.object.clone());
        Some(draft)
    });
    removed.collect()
}
