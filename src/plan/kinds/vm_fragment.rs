//! The `xml:` fragment of a VM: read, held against typed fields, and compared leaf by leaf with the definition.
//!
//! A leaf is as it should be where the definition has what was written, or where it was written so before and the definition still
//! has what libvirt made of it then. Values may be secrets, so the inventory has digests of them only.

use std::collections::{BTreeMap, BTreeSet};

use super::vm_create::fragment_digest;
use crate::manifest::{Leaves, VirtualMachineSpec};
use crate::name::{Kind, Name};
use crate::observe::DomainState;
use crate::plan::model::{FieldChange, RefusalKind, Shown};
use crate::plan::planner::Planner;
use crate::plan::{Accepted, ActionId, Entry};
use crate::resolve::Wanted;
use crate::xml;
use crate::xml::domain::{
    BROUGHT, DomainDoc, Fragment, FragmentPatch, InterfaceDoc, REMOVED, is_identity, parse_fragment, read, standing,
    typed_elsewhere, typed_within,
};

/// The fragment, checked; the outer error says that it was refused.
pub(super) fn fragment(p: &mut Planner<'_>, wanted: &Wanted, spec: &VirtualMachineSpec) -> Result<Option<Fragment>, ()> {
    let Some(text) = spec.xml.as_deref() else { return Ok(None) };
    let fragment = match parse_fragment(text) {
        Ok(fragment) => fragment,
        Err(error) => {
            p.refuse(wanted, RefusalKind::Invalid, format!("/xml: {error}"), &[]);
            return Err(());
        }
    };
    let typed: BTreeSet<String> = wanted.now.keys().cloned().collect();
    let conflicts: Vec<String> = fragment
        .conflicts(&typed)
        .into_iter()
        .map(|conflict| {
            let place = conflict.at.map(|(line, column)| format!(" (line {line}, column {column})")).unwrap_or_default();
            format!("{}{place} is what the field {} says", conflict.path, conflict.typed)
        })
        .collect();
    if conflicts.is_empty() {
        return Ok(Some(fragment));
    }
    p.refuse(
        wanted,
        RefusalKind::Invalid,
        format!("/xml: typed fields manage this: {}", conflicts.join("; ")),
        &["say it in one place: the field, or the fragment".into()],
    );
    Err(())
}

/// What is planned for the networks that a fragment's interfaces are plugged into: a guest that starts needs them.
pub(super) fn networks(p: &Planner<'_>, fragment: Option<&Fragment>, node: &Name) -> BTreeSet<ActionId> {
    let named: BTreeSet<&str> = fragment.into_iter().flat_map(Fragment::networks).collect();
    if named.is_empty() {
        return BTreeSet::new();
    }
    let networks =
        p.desired.objects.values().filter(|wanted| wanted.object.kind == Kind::Network && wanted.node.as_ref() == Some(node));
    let named = networks.filter(|wanted| named.contains(wanted.libvirt_name.as_str()));
    named.flat_map(|wanted| p.standing_of(&wanted.object).unwrap_or_default()).collect()
}

/// What a fragment comes to for a domain that is there.
#[derive(Default)]
pub(super) struct FragmentChange {
    pub(super) fields: Vec<FieldChange>,
    /// What is to be merged; none where the definition has it.
    pub(super) patch: Option<FragmentPatch>,
    /// What the inventory remembers then.
    pub(super) settled: BTreeMap<String, Accepted>,
    /// What is in the fragment no more and stays as it is.
    pub(super) kept: BTreeSet<String>,
    /// What the mark remembers: the paths, and which elements the fragment brought.
    pub(super) paths: BTreeSet<String>,
}

/// Compares a fragment with a domain's definition.
///
/// # Errors
///
/// The definition can't be read.
pub(super) fn compare(
    spec: &VirtualMachineSpec,
    now: &Leaves,
    fragment: Option<&Fragment>,
    domain: &DomainState,
    entry: Option<&Entry>,
) -> Result<FragmentChange, xml::XmlError> {
    let mark = domain.doc.mark.as_ref();
    let managed = entry.map(|entry| &entry.last).or_else(|| mark.map(|mark| &mark.paths));
    // Of a run that broke off, what the mark doesn't tell was not written: one call writes both.
    let written =
        |path: &&String| !entry.is_some_and(|entry| entry.mark_due) || mark.is_none_or(|mark| mark.paths.contains(*path));
    let before = managed.into_iter().flatten().filter(|path| path.starts_with("/xml/"));
    let last: BTreeSet<String> = before.filter(written).cloned().collect();
    if fragment.is_none() && last.is_empty() {
        return Ok(FragmentChange::default());
    }
    let digest = spec.xml.as_deref().map(fragment_digest);
    let written = entry.and_then(|entry| entry.fragment_digest.clone()).or_else(|| mark.and_then(|mark| mark.fragment.clone()));
    let mut change = FragmentChange::default();
    if let Some(fragment) = fragment {
        let document = domain.inactive_xml.text();
        change.paths = fragment.remembered(&document, &last)?;
        for (path, value) in read(&document, fragment)? {
            let (wanted, found) = (hash(value.wanted.as_deref()), hash(value.found.as_deref()));
            let known = entry.and_then(|entry| entry.fragment.get(&path));
            let accepted = match known {
                // Written by this very fragment, and not looked at since.
                None => digest == written,
                Some(known) => known.written == wanted && (known.accepted == found || known.accepted.is_empty()),
            };
            let settled = Accepted {
                written: wanted.clone(),
                accepted: if wanted == found || accepted { found.clone() } else { String::new() },
            };
            change.settled.insert(path.clone(), settled);
            if wanted != found && !accepted {
                let show = |text: &Option<String>| {
                    text.as_ref().map(|text| if value.sensitive { Shown::Sensitive } else { Shown::Value(text.clone()) })
                };
                change.fields.push(FieldChange { path, old: show(&value.found), new: show(&value.wanted) });
            }
        }
    }
    let was = Was { last: &last, managed, entry };
    let gone = taken_out(&mut change, &was, fragment, now, domain)?;
    for path in gone.iter().filter(|path| !path.ends_with(BROUGHT)) {
        // A leaf is gone with the element that the fragment had brought.
        change.fields.push(FieldChange { path: path.clone(), old: Some(Shown::Value("written".into())), new: None });
    }
    if !change.fields.is_empty() || !gone.is_empty() {
        change.patch = Some(FragmentPatch { text: spec.xml.clone(), digest, drop: gone });
    }
    Ok(change)
}

/// What was so when the VM was last applied.
struct Was<'a> {
    /// What the fragment said, and which elements it brought.
    last: &'a BTreeSet<String>,
    /// What the whole manifest said.
    managed: Option<&'a BTreeSet<String>>,
    entry: Option<&'a Entry>,
}

/// What of the last fragment's leaves is to be taken out of the definition, and the elements that go whole with them. What is in the fragment
/// no more and stays is told in `change`.
fn taken_out(
    change: &mut FragmentChange,
    was: &Was<'_>,
    fragment: Option<&Fragment>,
    now: &Leaves,
    domain: &DomainState,
) -> Result<BTreeSet<String>, xml::XmlError> {
    let typed = |path: &str, authored: &mut dyn Iterator<Item = &String>| {
        let authored = typed_of(authored, &domain.doc, path);
        typed_elsewhere(path, &authored) || typed_within(path, &authored)
    };
    // An element of which nothing was said is still named where something is said of it by now.
    let named = |path: &str| change.paths.range(format!("{path}/")..).next().is_some_and(|next| is_below(next, path));
    // It says itself that it be gone.
    let removed = |path: &str| fragment.and_then(|fragment| fragment.leaves().get(path)).is_some_and(|leaf| leaf.value.is_none());
    // libvirt had made nothing of it: what stands there now is another's.
    let ignored = |path: &str| {
        let known = was.entry.and_then(|entry| entry.fragment.get(path));
        known.is_some_and(|known| known.accepted == hash(None))
    };
    // What a typed field says by now is no longer the fragment's to take out, nor is an element in which one says something.
    let (whole, leaves): (Vec<&String>, Vec<&String>) = was
        .last
        .difference(&change.paths)
        .filter(|path| !typed(path.strip_suffix(BROUGHT).unwrap_or(path), &mut now.keys()) && !named(path))
        .filter(|path| !path.ends_with(REMOVED) && !removed(path) && !ignored(path))
        .partition(|path| path.ends_with(BROUGHT));
    let mut gone = BTreeSet::new();
    if leaves.is_empty() {
        return Ok(gone);
    }
    let brought = |path: &str, element: &str| {
        element.strip_suffix(BROUGHT).is_some_and(|element| element == path || is_below(path, element))
    };
    let is_brought = |path: &str| was.last.iter().any(|element| brought(path, element));
    let standing = standing(&domain.inactive_xml.text(), leaves)?;
    // A device of somebody else's that was told, and of which nothing is told any more, stays what it is, and where.
    let left: BTreeSet<&str> = standing
        .iter()
        .filter(|path| is_identity(path) && !is_brought(path))
        .filter_map(|path| device(path))
        .filter(|device| !named(device) && !typed(device, &mut now.keys()))
        .collect();
    for path in standing {
        let device = device(path);
        let with: Vec<&String> = whole.iter().copied().filter(|element| brought(path, element)).collect();
        let is_left = device.is_some_and(|device| left.contains(device) && is_place(path, device)) && !is_brought(path);
        // Of an element the fragment had said no more than that it be there, as it was already.
        let was_there = is_element(path) && !is_brought(path);
        if is_left || was_there || is_identity(path) && with.is_empty() {
            // A device that goes with its field doesn't stay.
            let of = device.unwrap_or(path);
            let goes = typed(of, &mut was.managed.into_iter().flatten()) && !typed(of, &mut now.keys());
            if !goes {
                change.kept.insert(path.to_owned());
            }
        } else {
            gone.insert(path.clone());
            gone.extend(with.into_iter().cloned());
        }
    }
    // One that stays with all that was told of it is told once.
    for device in left.into_iter().filter(|device| !gone.iter().any(|path| is_below(path, device))) {
        let all = change.kept.len();
        change.kept.retain(|path| !is_below(path, device));
        if change.kept.len() < all {
            change.kept.insert(device.to_owned());
        }
    }
    Ok(gone)
}

/// The path of the device that a path is of.
fn device(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/xml/devices/")?;
    path.get(..path.len() - name.len() + name.find('/').unwrap_or(name.len()))
}

/// Whether a path tells what a device is connected to, without which libvirt refuses it.
fn is_place(path: &str, device: &str) -> bool {
    let below = path.strip_prefix(device).unwrap_or_default().trim_start_matches('/');
    ["source/", "target/", "address/"].iter().any(|place| below.starts_with(place))
}

/// Whether a path is that of an element, and not of an attribute, a text or a list.
fn is_element(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    !last.starts_with('@') && last != "#text" && !last.ends_with("[]")
}

fn is_below(path: &str, element: &str) -> bool {
    path.strip_prefix(element).is_some_and(|rest| rest.starts_with('/'))
}

/// The typed fields that may say what the fragment's leaf at a path says of this domain: of disks and interfaces those of the same device.
/// What the fragment had brought, and the manifest has by now as another device, goes with the fragment's words for it.
fn typed_of(authored: &mut dyn Iterator<Item = &String>, doc: &DomainDoc, path: &str) -> BTreeSet<String> {
    let key_in = |list: &str| path.strip_prefix(list)?.split_once(']').map(|(key, _)| key);
    let (list, name) = if let Some(key) = key_in("/xml/devices/disk[") {
        ("/disks/", doc.disks.iter().find(|disk| disk.target == key).and_then(|disk| disk.key.clone()))
    } else if let Some(key) = key_in("/xml/devices/interface[") {
        let has = |nic: &&InterfaceDoc| nic.mac.is_some_and(|mac| mac.to_string() == key);
        ("/interfaces/", doc.interfaces.iter().find(has).and_then(|nic| nic.key.clone()))
    } else {
        return authored.cloned().collect();
    };
    let of_it = |path: &&String| {
        let below = path.strip_prefix(list).map(|rest| rest.split('/').next().unwrap_or_default());
        below.is_none_or(|below| name.as_ref().is_some_and(|name| name.as_str() == below))
    };
    authored.filter(of_it).cloned().collect()
}

fn hash(value: Option<&str>) -> String {
    value.map_or_else(|| "none".into(), |value| fragment_digest(value).chars().take(32).collect())
}
