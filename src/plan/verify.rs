//! Is a read-back what was planned? The promises of a plan, checked by the machine.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Class, Expect, Fields, Op, Precondition, Side, leaves_of};
use crate::manifest::Leaves;
use crate::name::{Kind, ObjectRef, Uid};
use crate::observe::{DomainState, NodeState, PowerState};
use crate::xml::Mark;
use crate::xml::domain::DomainDoc;
use crate::xml::volume::VolumeDoc;

/// Whether what was read after an effect is what was planned.
///
/// # Errors
/// What differs, a fragment for people.
pub fn verify(op: &Op, expect: &Expect, state: &NodeState) -> Result<(), String> {
    use crate::observe::Target;
    let Some(target) = op.target() else { return Ok(()) };
    written(op, state)?;
    match target {
        Target::Pool(name) => {
            let pool = state.pools.get(&name);
            if *expect == Expect::Gone {
                return gone(pool.is_some());
            }
            let pool = pool.ok_or("it is not there")?;
            match expect {
                Expect::Active(on) => is(pool.active == *on, if *on { "it does not run" } else { "it still runs" }),
                Expect::Autostart(on) => is(pool.autostart == *on, "its autostart was not set"),
                Expect::Matches { uuid, leaves, .. } => {
                    is(pool.uuid == *uuid, "it has another UUID")?;
                    same(leaves, &leaves_of(Kind::StoragePool, &pool.doc.spec), crate::name::Kind::StoragePool)
                }
                _ => Ok(()),
            }
        }
        Target::Network(name) => {
            let network = state.networks.get(&name);
            if *expect == Expect::Gone {
                return gone(network.is_some());
            }
            let network = network.ok_or("it is not there")?;
            match expect {
                Expect::Active(on) => is(network.active == *on, if *on { "it does not run" } else { "it still runs" }),
                Expect::Autostart(on) => is(network.autostart == *on, "its autostart was not set"),
                Expect::Matches { uuid, leaves, .. } => {
                    is(network.uuid == *uuid, "it has another UUID")?;
                    same(leaves, &leaves_of(Kind::Network, &network.doc.spec), crate::name::Kind::Network)
                }
                Expect::Network(expect) => {
                    is(network.uuid == expect.uuid, "it has another UUID")?;
                    let definition = (expect.side != Side::Live).then_some(&network.doc);
                    let live = network.live.as_ref().filter(|_| expect.side != Side::Definition);
                    if expect.side == Side::Live {
                        is(live.is_some(), "it does not run")?;
                    }
                    for (doc, word) in
                        definition.map(|doc| (doc, "its definition")).into_iter().chain(live.map(|doc| (doc, "what runs")))
                    {
                        let leaves = leaves_of(Kind::Network, &doc.spec);
                        let wrong = |what: String| format!("{word} is not as planned: {what}");
                        same(&expect.leaves, &leaves, crate::name::Kind::Network).map_err(wrong)?;
                        let below = |path: &String| {
                            expect.gone.iter().any(|gone| {
                                path == gone || path.strip_prefix(gone.as_str()).is_some_and(|rest| rest.starts_with('/'))
                            })
                        };
                        if let Some(path) = leaves.keys().find(|path| below(path)) {
                            return Err(wrong(format!("{path} is still there")));
                        }
                    }
                    Ok(())
                }
                Expect::Plugged => {
                    let rests =
                        |nic: &super::Replug| matches!(op, Op::NetworkReplug { resting, .. } if resting.contains(&nic.uuid));
                    let left = super::unplugged(state, &name, false).into_iter().filter(|nic| !rests(nic));
                    let left: std::collections::BTreeSet<String> = left.map(|nic| nic.domain).collect();
                    let names = left.into_iter().collect::<Vec<_>>().join(", ");
                    is(names.is_empty(), &format!("these are not plugged into it: {names}"))
                }
                Expect::Marked { uuid, uid, object } => marked(*uuid, (*uid, object), network.uuid, network.doc.mark.as_ref()),
                _ => Ok(()),
            }
        }
        Target::Domain(name) => {
            let domain = state.domains.get(&name);
            if *expect == Expect::Gone {
                return gone(domain.is_some());
            }
            let domain = domain.ok_or("it is not there")?;
            match expect {
                Expect::Active(on) => {
                    is((domain.state != PowerState::Off) == *on, if *on { "it does not run" } else { "it still runs" })
                }
                Expect::Autostart(on) => is(domain.autostart == *on, "its autostart was not set"),
                Expect::Matches { uuid, leaves, disks } => {
                    is(domain.uuid == *uuid, "it has another UUID")?;
                    for (disk, path) in disks {
                        let found = domain.doc.disk(disk).and_then(|doc| doc.source.as_deref());
                        is(found == Some(path), &format!("its disk {disk} is on {}", found.unwrap_or("nothing")))?;
                    }
                    let kind = Kind::VirtualMachine;
                    same(leaves, &leaves_of(kind, &domain.doc.spec), kind)
                }
                Expect::Domain(expect) => {
                    is(domain.uuid == expect.uuid, "it has another UUID")?;
                    says(&expect.inactive, &domain_leaves(&domain.doc), "its definition")?;
                    match &domain.live {
                        Some(live) => says(&expect.live, &domain_leaves(live), "what runs"),
                        None => is(expect.live.is_empty(), "it stopped meanwhile"),
                    }
                }
                Expect::Marked { uuid, uid, object } => marked(*uuid, (*uid, object), domain.uuid, domain.doc.mark.as_ref()),
                _ => Ok(()),
            }
        }
        Target::Volume { pool, name } => {
            let volume = state.pools.get(&pool).and_then(|pool| pool.volumes.as_ref()).and_then(|v| v.get(&name));
            if *expect == Expect::Gone {
                return gone(volume.is_some());
            }
            let volume = volume.ok_or("it is not there")?;
            match expect {
                Expect::Volume { format, capacity, backing } => {
                    is(volume.format == *format, &format!("its format reads as {}", volume.format))?;
                    is(volume.capacity >= *capacity, &format!("its capacity reads as {}", volume.capacity))?;
                    let found = volume.backing.as_ref().map(|backing| backing.path.clone());
                    is(found == *backing, &format!("its backing file reads as {found:?}"))
                }
                Expect::Uploaded { size, capacity } => uploaded(volume, *size, *capacity),
                _ => Ok(()),
            }
        }
    }
}

/// Whether the mark that an operation writes names what it is to name: a write of nothing else shows nowhere else.
fn written(op: &Op, state: &NodeState) -> Result<(), String> {
    let (wanted, found) = match op {
        Op::NetworkPatch { name, patch, .. } => {
            (patch.mark.as_ref(), state.networks.get(name).and_then(|network| network.doc.mark.as_ref()))
        }
        Op::DomainRedefine { name, patch, .. } => {
            (patch.mark.as_ref(), state.domains.get(name).and_then(|domain| domain.doc.mark.as_ref()))
        }
        Op::DomainMetadata { name, mark: Some(mark), .. } => {
            let found = state.domains.get(name).and_then(|domain| domain.doc.mark.as_ref());
            return is(found.is_some_and(|found| found.to_xml() == *mark), "its mark was not written");
        }
        _ => return Ok(()),
    };
    let Some(wanted) = wanted else { return Ok(()) };
    // Of what `xml:` says only the fragment's digest tells whether it was written.
    let what = |mark: &Mark| (mark.uid, mark.paths.clone(), mark.seed.clone(), mark.fragment.clone());
    is(found.map(what) == Some(what(wanted)), "its mark was not written")
}

/// The leaves of a domain's document as it stands: those of the spec, and of its devices what the spec says in other words: the
/// paths of disks, and networks and bridges by libvirt's names.
pub fn domain_leaves(doc: &DomainDoc) -> Leaves {
    let mut leaves = leaves_of(Kind::VirtualMachine, &doc.spec);
    for disk in &doc.disks {
        let source = Value::from(disk.source.clone().unwrap_or_default());
        match &disk.key {
            Some(key) => leaves.insert(format!("/disks/{key}/source"), source),
            None if disk.seed => leaves.insert("/cloudInit/seed".into(), source),
            None => None,
        };
    }
    for nic in &doc.interfaces {
        let Some(key) = &nic.key else { continue };
        let plugged = nic.network.clone().or_else(|| nic.bridge.clone()).unwrap_or_default();
        leaves.insert(format!("/interfaces/{key}/network"), plugged.into());
    }
    leaves
}

/// Whether a domain's documents say of some fields what the plan saw.
///
/// # Errors
/// What moved since then, a fragment for people.
pub fn fields_moved(fields: &Fields, domain: &DomainState) -> Result<(), String> {
    is(domain.uuid == fields.uuid, &format!("it is another domain now: its UUID is {}", domain.uuid))?;
    match (domain.state != PowerState::Off, fields.running) {
        (true, false) => return Err("it was started since the plan was made".into()),
        (false, true) => return Err("it was stopped since the plan was made".into()),
        _ => {}
    }
    let live = fields.live.as_ref().zip(domain.live.as_ref());
    let both = [(&fields.inactive, &domain.doc)].into_iter().chain(live);
    for (was, doc) in both {
        let is = fields.of(doc);
        if let Some(path) = was.keys().chain(is.keys()).find(|path| was.get(*path) != is.get(*path)) {
            let text = |leaves: &Leaves| leaves.get(path).map_or_else(|| "nothing".into(), super::diff::text);
            return Err(format!("{path} was {} when the plan was made and is {} now", text(was), text(&is)));
        }
    }
    Ok(())
}

/// Whether a domain lived through something since a plan was made: what was decided by why it is off, or by what it runs with, was
/// decided for that life of it.
pub fn life_moved(was: &Precondition, domain: &DomainState) -> Result<(), String> {
    match was {
        Precondition::Process { uuid, process } => {
            fields_moved(&Fields { uuid: *uuid, running: domain.is_active(), ..Fields::default() }, domain)?;
            let same = domain.live.as_ref().and_then(|live| live.id) == Some(*process);
            is(same || !domain.is_active(), "it was started anew since the plan was made")
        }
        Precondition::Awake { uuid } => {
            fields_moved(&Fields { uuid: *uuid, running: true, ..Fields::default() }, domain)?;
            let awake = matches!(domain.state, PowerState::Running | PowerState::ShuttingDown);
            is(awake, "it runs, but paused, and nothing is done about that")
        }
        Precondition::OffBy { uuid, reason } => {
            fields_moved(&Fields { uuid: *uuid, ..Fields::default() }, domain)?;
            is(domain.off_reason == *reason, "it ran since the plan was made, and is off for another reason")
        }
        _ => Ok(()),
    }
}

impl Fields {
    /// The leaves of a document that these fields are about.
    pub(super) fn of(&self, doc: &DomainDoc) -> Leaves {
        let about = |path: &str| {
            self.paths
                .iter()
                .any(|field| path.strip_prefix(field.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        };
        domain_leaves(doc).into_iter().filter(|(path, _)| about(path)).collect()
    }
}

/// Whether a document says what was to be in it, and not what was to go.
fn says(wanted: &BTreeMap<String, Option<Value>>, read: &Leaves, what: &str) -> Result<(), String> {
    for (path, value) in wanted {
        // What is said in other words than the spec's, as the seed's file is, is compared as it stands.
        let row = super::field(Kind::VirtualMachine, path);
        let row = row.filter(|row| !matches!(row.class, Class::Behaviour | Class::Inventory));
        let found = read.get(path);
        match value {
            None => is(found.is_none(), &format!("{what} still has {path}"))?,
            Some(value) => {
                let equal = match row {
                    Some(_) => same(&Leaves::from_iter([(path.clone(), value.clone())]), read, Kind::VirtualMachine).is_ok(),
                    None => found == Some(value),
                };
                let found = found.map_or_else(|| "nothing".into(), super::diff::text);
                is(equal, &format!("{path} of {what} reads as {found} after {} was written", super::diff::text(value)))?;
            }
        }
    }
    Ok(())
}

fn is(truth: bool, otherwise: &str) -> Result<(), String> {
    if truth { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn marked(uuid: uuid::Uuid, whose: (Uid, &ObjectRef), found: uuid::Uuid, mark: Option<&Mark>) -> Result<(), String> {
    is(found == uuid, "it has another UUID")?;
    is(mark.is_some_and(|mark| (mark.uid, &mark.object) == whose), "it doesn't bear its mark")
}

fn gone(there: bool) -> Result<(), String> {
    is(!there, "it is still there")
}

/// Whether every leaf that was written reads as it was written.
fn same(wanted: &Leaves, read: &Leaves, kind: crate::name::Kind) -> Result<(), String> {
    let found = super::diff::compare(kind, wanted, &std::collections::BTreeSet::new(), read);
    match found.changed.first() {
        None => Ok(()),
        Some((_, difference)) => Err(format!(
            "{} reads as {} after {} was written",
            difference.path,
            difference.old.as_ref().map_or_else(|| "nothing".into(), super::diff::text),
            difference.new.as_ref().map_or_else(|| "nothing".into(), super::diff::text),
        )),
    }
}

fn uploaded(volume: &VolumeDoc, size: u64, capacity: Option<u64>) -> Result<(), String> {
    if let Some(physical) = volume.physical {
        is(physical == size, &format!("it holds {physical} bytes instead of {size}"))?;
    }
    // Until libvirt has looked, it is as it was made: raw, and as long as its file.
    let seen = capacity.is_none_or(|capacity| volume.format == "qcow2" && volume.capacity == capacity);
    is(seen, &format!("its image reads as {} of {} bytes", volume.format, volume.capacity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_not_uploaded_before_libvirt_has_looked_what_it_is() {
        let volume =
            |format: &str, capacity| VolumeDoc { format: format.into(), capacity, physical: Some(4096), ..VolumeDoc::default() };
        assert!(uploaded(&volume("raw", 4096), 4096, Some(1 << 30)).is_err(), "as it was made");
        assert_eq!(uploaded(&volume("qcow2", 1 << 30), 4096, Some(1 << 30)), Ok(()));
        assert_eq!(uploaded(&volume("raw", 4096), 4096, None), Ok(()), "a raw one is what it was made as");
        assert!(uploaded(&volume("raw", 4096), 5000, None).is_err());
    }
}
