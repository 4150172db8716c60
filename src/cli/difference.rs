//! `jvp diff`: what would change, as unified diffs of fields or of libvirt's documents. Pure: text out of data.
//!
//! No secret is shown: fields come as the plan shows them, and documents without what they hide.

use std::fmt::Write as _;

use similar::{ChangeTag, TextDiff};

use crate::apply::Seen;
use crate::name::{Name, ObjectRef};
use crate::observe::{NodeState, Observed};
use crate::plan::{Action, Change, FieldChange, Op, Plan, Shown, Verb};
use crate::xml::pretty;

/// How many lines stand around what changes.
const CONTEXT: usize = 3;

/// The differences of a plan, an object after another.
pub(super) fn render(plan: &Plan, seen: &Seen, show_xml: bool, colour: bool) -> String {
    differences(plan, &seen.observed, show_xml, colour)
}

fn differences(plan: &Plan, observed: &Observed, show_xml: bool, colour: bool) -> String {
    let mut out = String::new();
    for change in &plan.changes {
        let documents = if show_xml { documents(plan, change, observed) } else { Vec::new() };
        if documents.is_empty() {
            let (old, new) = sides(&change.fields);
            let words = change.verb.participle();
            put(&mut out, &change.object, change.verb, words, &old, &new, colour);
        }
        for (old, new) in documents {
            put(&mut out, &change.object, change.verb, "its document", &old, &new, colour);
        }
    }
    for deferred in &plan.deferred {
        let (old, new) = sides(&deferred.fields);
        let words = format!("{} {}", deferred.expected.participle(), deferred.until);
        put(&mut out, &deferred.object, deferred.expected, &words, &old, &new, colour);
    }
    out
}

/// One object's difference. Where no line differs, as for a start, its head alone tells what happens.
fn put(out: &mut String, object: &ObjectRef, verb: Verb, words: &str, old: &str, new: &str, colour: bool) {
    let paint = |code: &str, text: &str| if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() };
    let nothing = "/dev/null".to_owned();
    let from =
        if matches!(verb, Verb::Create | Verb::Fetch | Verb::Generate) { nothing.clone() } else { format!("{object} (is)") };
    let to = if verb == Verb::Delete { nothing } else { format!("{object} ({words})") };
    let _ = writeln!(out, "{}", paint("1", &format!("--- {from}")));
    let _ = writeln!(out, "{}", paint("1", &format!("+++ {to}")));
    let diff = TextDiff::from_lines(old, new);
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        let _ = writeln!(out, "{}", paint("36", &hunk.header().to_string()));
        for line in hunk.iter_changes() {
            let text = line.value().trim_end_matches('\n');
            let _ = match line.tag() {
                ChangeTag::Delete => writeln!(out, "{}", paint("31", &format!("-{text}"))),
                ChangeTag::Insert => writeln!(out, "{}", paint("32", &format!("+{text}"))),
                ChangeTag::Equal => writeln!(out, " {text}"),
            };
        }
    }
}

/// The fields before and after, a line each.
fn sides(fields: &[FieldChange]) -> (String, String) {
    let (mut old, mut new) = (String::new(), String::new());
    for field in fields {
        let path = field.path.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~");
        if let Some(value) = &field.old {
            let _ = writeln!(old, "{path}: {}", shown(value, "is"));
        }
        if let Some(value) = &field.new {
            let _ = writeln!(new, "{path}: {}", shown(value, "will be"));
        }
    }
    (old, new)
}

/// A value in a line. A secret says which side it stands on, so that its change is seen though it is not.
fn shown(value: &Shown, side: &str) -> String {
    match value {
        Shown::Value(text) => text.replace('\n', "\\n"),
        Shown::After(what) => format!("(known after {what})"),
        Shown::Libvirt => "(chosen by libvirt)".into(),
        Shown::Sensitive => format!("(sensitive, as it {side})"),
    }
}

/// libvirt's documents before and after, of each definition that the change makes; of a deletion, what goes.
fn documents(plan: &Plan, change: &Change, observed: &Observed) -> Vec<(String, String)> {
    let actions = change.actions.iter().filter_map(|id| plan.actions.iter().find(|action| action.id == *id));
    actions
        .filter_map(|action| {
            let node = action.node.as_ref().and_then(|node: &Name| observed.node(node));
            let (old, new) = texts(action, node)?;
            Some((readable(&old), readable(&new)))
        })
        .collect()
}

/// What an action finds and leaves; none for one that changes no document.
fn texts(action: &Action, node: Option<&NodeState>) -> Option<(String, String)> {
    let domain = |uuid: uuid::Uuid| {
        let found = node.and_then(|node| node.domains.values().find(|domain| domain.uuid == uuid));
        found.map_or_else(String::new, |domain| domain.inactive_xml.text())
    };
    let network = |name: &str| {
        let found = node.and_then(|node| node.networks.get(name));
        found.map_or_else(String::new, |network| network.inactive_xml.text())
    };
    match &action.op {
        Op::DomainDefine { uuid, xml, .. } => Some((domain(*uuid), xml.text().into_owned())),
        Op::DomainRedefine { uuid, patch, .. } => {
            let old = domain(*uuid);
            let new = crate::xml::domain::patch(&old, patch).ok()?;
            Some((old, new))
        }
        Op::DomainUndefine { uuid, .. } => Some((domain(*uuid), String::new())),
        Op::NetworkDefine { name, xml } => Some((network(name), xml.clone())),
        Op::NetworkPatch { name, patch, .. } => {
            let found = network(name);
            crate::xml::network::patch(&found, patch).ok().map(|text| (found, text))
        }
        Op::NetworkUndefine { name } => Some((network(name), String::new())),
        // A pool or volume is only ever defined anew.
        Op::PoolDefine { xml, .. } | Op::VolumeCreate { xml, .. } | Op::VolumeClone { xml, .. } => {
            Some((String::new(), xml.clone()))
        }
        Op::PoolBuild { .. }
        | Op::PoolStart { .. }
        | Op::PoolAutostart { .. }
        | Op::PoolRefresh { .. }
        | Op::PoolStop { .. }
        | Op::PoolUndefine { .. }
        | Op::NetworkStart { .. }
        | Op::NetworkAutostart { .. }
        | Op::PoolRetarget { .. }
        | Op::NetworkUpdate { .. }
        | Op::NetworkReplug { .. }
        | Op::NetworkStop { .. }
        | Op::VolumeUpload { .. }
        | Op::VolumeGrow { .. }
        | Op::VolumeDelete { .. }
        | Op::DomainBlockResize { .. }
        | Op::DomainStart { .. }
        | Op::DomainShutdown { .. }
        | Op::DomainDestroy { .. }
        | Op::DomainAutostart { .. }
        | Op::DomainMetadata { .. }
        | Op::DomainDevice { .. }
        | Op::DomainVcpus { .. }
        | Op::DomainMemory { .. }
        | Op::DomainBlockLimits { .. }
        | Op::DomainDiscardSave { .. }
        | Op::DomainRename { .. }
        | Op::Fetch { .. }
        | Op::KeyPairGenerate { .. }
        | Op::Inventory => None,
    }
}

/// A document indented and without secrets. One that can't be read may hide some, so it isn't shown.
fn readable(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut text = pretty(text).unwrap_or_else(|_| "(a document that can't be read)".to_owned());
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
#[path = "difference_tests.rs"]
mod tests;
