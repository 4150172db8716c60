//! `jvp why`: a field of an object as it is wanted, as it was last applied, as it is defined and as it runs, side by side with its
//! line in the manifest; and why an apply does what it does, or nothing. Pure: text out of data.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::describe::{dotted, is_compared, off, same, shown, stands_for};
use super::item::{Found, Item, View};
use super::object::public_spec;
use super::table::{set, strategy};
use crate::diag::SourceMap;
use crate::manifest::{Leaves, Spec, leaves};
use crate::name::{Kind, SENSITIVE};
use crate::observe::DomainState;
use crate::plan::{Class, FieldChange, OnRemoval, Shown, field};

/// What an object's definition says, and what runs.
struct Sides {
    inactive: Leaves,
    live: Option<Leaves>,
    pending: BTreeSet<String>,
}

/// The page of an object.
pub(super) fn render(view: &View<'_>, sources: &SourceMap, item: &Item<'_>, all: bool) -> String {
    let mut text = format!("{}\n", item.object);
    let mut section = |title: &str, rows: &[Vec<String>]| {
        if !rows.is_empty() {
            text.push_str(&format!("\n{title}\n"));
            set(rows).lines().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    };
    section("How it is", &how(item));
    section("What an apply does", &next(view, item));
    let rows = fields(view, sources, item, all);
    section(if all { "Fields" } else { "Fields that differ" }, &rows);
    if rows.is_empty() && item.spec.is_some() {
        section("Fields", &[vec!["none differs; --all shows those that are kept true".to_owned()]]);
    }
    text
}

fn how(item: &Item<'_>) -> Vec<Vec<String>> {
    let mut rows = vec![vec!["state".to_owned(), item.state.word().to_owned()]];
    let mut pair = |key: &str, value: String| {
        if !value.is_empty() {
            rows.push(vec![key.to_owned(), value]);
        }
    };
    pair("node", item.node.as_ref().map(ToString::to_string).unwrap_or_default());
    pair("declared at", item.wanted.map(|wanted| wanted.origin.to_string()).unwrap_or_default());
    if let Some(domain) = item.domain() {
        pair("runStrategy", strategy(item).to_owned());
        pair(if domain.is_active() { "it runs, since" } else { "it is off, since" }, power(item, domain));
    }
    rows
}

/// Why a VM is off, or runs.
fn power(item: &Item<'_>, domain: &DomainState) -> String {
    if domain.is_active() {
        return match item.spec {
            Some(Spec::VirtualMachine(spec)) => {
                use crate::manifest::RunStrategy::{Always, Halted, Manual, Once, RerunOnFailure};
                match spec.run_strategy.unwrap_or(Always) {
                    Always => "it is started whenever it is off".into(),
                    RerunOnFailure => "it runs until its guest shuts itself down, and is started again after a failure".into(),
                    Once => "it was started once; it isn't started again".into(),
                    Manual => "somebody started it: nothing is done about that".into(),
                    Halted => "somebody started it: the next apply stops it".into(),
                }
            }
            _ => "it was started, and no manifest says whether it is to run".into(),
        };
    }
    let recorded = item.entry.and_then(|entry| entry.last_off_reason.as_deref());
    match (off(domain.off_reason), recorded) {
        (Some(words), _) => words.to_owned(),
        (None, Some(recorded)) => format!("libvirt has forgotten why; when jvp last looked: {}", recorded_words(recorded)),
        (None, None) => "libvirt doesn't know, or it never ran".into(),
    }
}

/// A recorded reason in words.
fn recorded_words(recorded: &str) -> String {
    let reason = serde_json::from_value(Value::String(recorded.to_owned())).ok().and_then(off);
    reason.map_or_else(|| recorded.to_owned(), str::to_owned)
}

/// What the next apply does about it, or why it does nothing.
fn next(view: &View<'_>, item: &Item<'_>) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for change in view.plan.changes.iter().filter(|change| change.object == item.object) {
        let effect = change.effect.words();
        let effect = if effect.is_empty() { effect } else { format!(" [{effect}]") };
        rows.push(vec![format!("it is {}{effect}: {}", change.verb.participle(), change.reason)]);
    }
    for deferred in view.plan.deferred.iter().filter(|deferred| deferred.object == item.object) {
        rows.push(vec![format!("it is {} {}", deferred.expected.participle(), deferred.until)]);
    }
    for refusal in view.plan.refusals.iter().filter(|refusal| refusal.object == item.object) {
        rows.push(vec![format!("it is refused: {}", refusal.message)]);
        rows.extend(refusal.help.iter().map(|help| vec![format!("  help: {help}")]));
    }
    let unreachable = view.plan.unreachable.iter().find(|node| Some(&node.node) == item.node.as_ref());
    if let Some(node) = unreachable {
        rows.push(vec![format!("nothing: Node/{} is out of reach: {}", node.node, node.message)]);
    }
    if rows.is_empty() {
        rows.push(vec![nothing(item)]);
    }
    rows.extend(item.conditions.iter().map(|condition| vec![format!("{}: {}", condition.name, condition.message)]));
    rows
}

/// Why nothing is done.
fn nothing(item: &Item<'_>) -> String {
    let has = |name: &str| item.conditions.iter().any(|condition| condition.name == name);
    if has("Suspended") {
        return "nothing: it is suspended".into();
    }
    if item.entry.is_some_and(|entry| entry.released) {
        return "nothing: it was released, and is no longer kept true".into();
    }
    if item.wanted.is_none() {
        return "nothing: no manifest that was read declares it".into();
    }
    if item.conditions.is_empty() {
        return "nothing: all that is written is so".into();
    }
    "nothing, for what is said here:".into()
}

/// The rows of fields, with their title row.
fn fields(view: &View<'_>, sources: &SourceMap, item: &Item<'_>, all: bool) -> Vec<Vec<String>> {
    let kind = item.object.kind;
    let wanted = item.spec.map(|spec| leaves(kind, &public_spec(spec))).unwrap_or_default();
    let sides = sides(item);
    let changed: BTreeMap<&str, &FieldChange> = view
        .plan
        .changes
        .iter()
        .filter(|change| change.object == item.object && item.entry.is_some())
        .flat_map(|change| &change.fields)
        .map(|field| (field.path.as_str(), field))
        .collect();
    let last = item.entry.map(|entry| &entry.last);
    let mut paths: BTreeSet<&str> = changed.keys().copied().collect();
    let differs = |path: &str| {
        let (Some(value), Some(sides)) = (wanted.get(path), &sides) else { return false };
        let is = sides.inactive.get(path).or_else(|| stands_for(path, &sides.inactive));
        is_compared(kind, path) && !same(path, Some(value), is)
    };
    paths.extend(wanted.keys().map(String::as_str).filter(|path| all || differs(path)));
    if let Some(sides) = &sides {
        paths.extend(sides.pending.iter().map(String::as_str).filter(|path| path.starts_with('/')));
    }
    let taken_out = last.into_iter().flatten().filter(|path| !wanted.contains_key(*path) && item.wanted.is_some());
    paths.extend(taken_out.map(String::as_str));
    let mut rows = Vec::new();
    for path in paths {
        rows.push(row(sources, view, item, path, &wanted, sides.as_ref(), changed.get(path).copied()));
    }
    if rows.is_empty() {
        return rows;
    }
    let title = ["FIELD", "WANTED", "LAST APPLIED", "DEFINED", "RUNS WITH", "WRITTEN AT"].map(str::to_owned);
    rows.insert(0, title.into());
    rows
}

fn row(
    sources: &SourceMap,
    view: &View<'_>,
    item: &Item<'_>,
    path: &str,
    wanted: &Leaves,
    sides: Option<&Sides>,
    change: Option<&FieldChange>,
) -> Vec<String> {
    let kind = item.object.kind;
    let about = field(kind, path);
    let hidden = about.is_some_and(|row| row.sensitive);
    let value = |value: &Value| if hidden { SENSITIVE.to_owned() } else { shown(value) };
    let was_ours = item.entry.is_some_and(|entry| entry.last.contains(path));
    let want = match (wanted.get(path), change.and_then(|change| change.new.as_ref())) {
        (Some(wanted), _) => value(wanted),
        (None, Some(new)) => format!("(unset: {})", text(new)),
        (None, None) if was_ours => match about.map(|row| row.on_removal) {
            Some(OnRemoval::Keep) => "(taken out, stays)".into(),
            _ => "(taken out)".into(),
        },
        (None, None) => "(unset)".into(),
    };
    let kept = item.entry.and_then(|entry| entry.values.get(path));
    let last = match kept {
        Some(kept) => value(kept),
        None if was_ours => "yes".into(),
        None => "no".into(),
    };
    let conduct = about.is_some_and(|row| matches!(row.class, Class::Behaviour | Class::Inventory));
    let of = |side: Option<&Leaves>| side.and_then(|side| side.get(path).or_else(|| stands_for(path, side))).map(value);
    // A plan's old value may be that of what runs alone; for devices it has the objects' names, which no document has.
    let defined = match (change.and_then(|change| change.old.as_ref()), sides) {
        (_, Some(sides)) if of(Some(&sides.inactive)).is_some() => of(Some(&sides.inactive)).unwrap_or_default(),
        (Some(old), _) => text(old),
        (None, Some(sides)) => of(Some(&sides.inactive)).unwrap_or_else(|| if conduct { "-".into() } else { "(unset)".into() }),
        (None, None) => "-".into(),
    };
    let runs = match sides {
        Some(Sides { live: Some(live), pending, .. }) if pending.contains(path) => {
            of(Some(live)).unwrap_or_else(|| "(unset)".into())
        }
        Some(Sides { live: Some(_), .. }) => defined.clone(),
        _ => "-".into(),
    };
    vec![dotted(path), want, last, defined, runs, place(sources, view, item, path)]
}

fn text(shown: &Shown) -> String {
    match shown {
        // A plan puts texts with white space into quotes; in a cell of its own nothing needs them.
        Shown::Value(text) => text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text).to_owned(),
        Shown::After(what) => format!("(known after {what})"),
        Shown::Libvirt => "(chosen by libvirt)".into(),
        Shown::Sensitive => SENSITIVE.into(),
    }
}

/// Where a field is written, as `file:line`.
fn place(sources: &SourceMap, view: &View<'_>, item: &Item<'_>, path: &str) -> String {
    let own = |document: &&std::sync::Arc<crate::manifest::Document>| {
        document.object.kind == item.object.kind && document.object.name == item.object.name
    };
    let Some(document) = view.documents.iter().find(own) else { return String::new() };
    if !leaves(item.object.kind, &document.spec.to_value()).contains_key(path) {
        return String::new();
    }
    let label = document.field_label(path);
    format!("{}:{}", sources.name(label.file), sources.position(label.file, label.span.start).line)
}

fn sides(item: &Item<'_>) -> Option<Sides> {
    let kind = item.object.kind;
    Some(match item.found {
        Found::Domain(domain) => {
            let of = |doc: &crate::xml::domain::DomainDoc| {
                leaves(Kind::VirtualMachine, &Spec::VirtualMachine(Box::new(doc.spec.clone())).to_value())
            };
            Sides { inactive: of(&domain.doc), live: domain.live.as_deref().map(of), pending: domain.pending.clone() }
        }
        Found::Network(network) => {
            let of = |doc: &crate::xml::network::NetworkDoc| leaves(kind, &Spec::Network(doc.spec.clone()).to_value());
            Sides { inactive: of(&network.doc), live: network.live.as_ref().map(of), pending: network.pending.clone() }
        }
        Found::Pool(pool) => {
            let inactive = leaves(kind, &Spec::StoragePool(pool.doc.spec.clone()).to_value());
            Sides { inactive, live: None, pending: BTreeSet::new() }
        }
        Found::Volume(_) | Found::Node(_) | Found::Nothing => return None,
    })
}
