//! The command: finds, writes, and plans what it wrote, so that nothing comes out that would do more than adopt.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use super::find::{Findings, Found, find};
use super::write::document;
use crate::apply::Seen;
use crate::cli::args::{ExportArgs, Global};
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::Out;
use crate::cli::session::{Session, check};
use crate::diag::SourceMap;
use crate::manifest::load;
use crate::name::{Kind, ObjectRef};
use crate::observe::{NodeView, Scope};
use crate::plan::{Consents, Mode, Verb, plan};
use crate::source::ManifestSet;

/// How often what was written is planned: once for each thing that can be left out, and once more.
const TRIES: usize = 6;

pub(in crate::cli) async fn export(args: &ExportArgs, global: &Global, out: &Out) -> Result<Exit, CommandError> {
    if args.all != args.objects.is_empty() {
        return Err(CommandError::new(Exit::Usage, "name objects such as `vm/web-1`, or say --all"));
    }
    let session = Session::open_or_bare(&args.files, global, out)?;
    let seen = session.look(&Scope::Everything, out).await?;
    let mut exit = Exit::Ok;
    for (node, view) in &seen.observed.nodes {
        if let NodeView::Unreachable { message, .. } = view {
            out.say(&format!("error: Node/{node}: {message}\n"));
            exit = exit.or(Exit::Unreachable);
        }
    }
    let Findings { found, left } = find(&session.desired, &seen.observed, &seen.owned);
    let mut found = if args.all { found } else { chosen(found, &args.objects)? };
    if args.all {
        for words in &left {
            out.say(&format!("left out: {words}\n"));
        }
    }
    let mut said = BTreeSet::new();
    for _ in 0..TRIES {
        let wrong = wrong(&session, &seen, global, &found);
        if wrong.is_empty() {
            break;
        }
        for object in &mut found {
            let Some((_, why)) = wrong.iter().find(|(wrong, _)| *wrong == object.object) else { continue };
            object.less += 1;
            if object.less > 1 || object.object.kind != Kind::VirtualMachine {
                said.insert(format!("{}: most of it is kept as it is and not said: {why}\n", object.object));
            }
        }
        let last = |found: &Found| if found.object.kind == Kind::VirtualMachine { 2 } else { 1 };
        for object in found.iter().filter(|found| found.less > last(found)) {
            said.insert(format!("left out: {}: no manifest of it adopts it as it is\n", object.object));
        }
        found.retain(|found| found.less <= last(found));
    }
    for words in said {
        out.say(&words);
    }
    match &args.output {
        None => out.print(&found.iter().map(document).collect::<Vec<_>>().join("---\n")),
        Some(folder) => {
            for object in &found {
                save(folder, object)?;
            }
            out.print(&format!(
                "{} manifests were written to {}; next: jvp plan -f {}\n",
                found.len(),
                folder.display(),
                folder.display()
            ));
        }
    }
    Ok(exit)
}

/// The objects that were named, with what they name.
fn chosen(found: Vec<Found>, words: &[String]) -> Result<Vec<Found>, CommandError> {
    let mut wanted = BTreeSet::new();
    for word in words {
        let usage = || CommandError::new(Exit::Usage, format!("`{word}` is no reference such as `vm/web-1`"));
        let (kind, rest) = word.split_once('/').ok_or_else(usage)?;
        let kind = Kind::parse(kind).ok_or_else(usage)?;
        let (name, node) = match rest.rsplit_once('@') {
            Some((name, node)) if found.iter().any(|found| found.node.as_str() == node) => (name, Some(node)),
            _ => (rest, None),
        };
        let is = |found: &&Found| {
            let in_pool = found.pool.as_ref().is_some_and(|pool| format!("{pool}/{}", found.libvirt) == name);
            found.object.kind == kind
                && (found.libvirt == name || found.object.name.as_str() == name || in_pool)
                && node.is_none_or(|node| found.node.as_str() == node)
        };
        let before = wanted.len();
        wanted.extend(found.iter().filter(is).map(|found| found.object.clone()));
        if wanted.len() == before {
            let message = format!("there is no {kind} `{name}` that isn't jvp's already");
            return Err(CommandError::new(Exit::Error, message).help("jvp export --all tells what there is"));
        }
    }
    let mut open: Vec<ObjectRef> = wanted.iter().cloned().collect();
    while let Some(object) = open.pop() {
        let needs = found.iter().filter(|found| found.object == object).flat_map(|found| found.needs.iter());
        open.extend(needs.filter(|need| wanted.insert((*need).clone())).cloned().collect::<Vec<_>>());
    }
    Ok(found.into_iter().filter(|found| wanted.contains(&found.object)).collect())
}

/// The exported objects that their manifests would do more to than adopt them, or that the manifests make a mistake about, with what.
fn wrong(session: &Session, seen: &Seen, global: &Global, found: &[Found]) -> Vec<(ObjectRef, String)> {
    let mut sources = SourceMap::default();
    for file in session.set.sources.ids() {
        sources.add(session.set.sources.name(file), session.set.sources.text(file));
    }
    sources.add("export.yaml", found.iter().map(document).collect::<Vec<_>>().join("---\n"));
    let loaded = load(&sources);
    let mut set = ManifestSet { documents: loaded.documents, diagnostics: loaded.diagnostics, sources, ..ManifestSet::default() };
    let (desired, _) = check(&mut set, global, || Some(session.desired.fleet));
    let is_ours =
        |object: &ObjectRef| found.iter().find(|found| found.object.kind == object.kind && found.object.name == object.name);
    let mut wrong: Vec<(ObjectRef, String)> = Vec::new();
    for diagnostic in &set.diagnostics {
        let object = diagnostic.object.as_ref().and_then(|object| object.parse::<ObjectRef>().ok());
        if let Some(found) = object.as_ref().and_then(is_ours) {
            wrong.push((found.object.clone(), diagnostic.message.clone()));
        }
    }
    if !wrong.is_empty() {
        return wrong;
    }
    let policy = session.policy(Mode::Apply, Consents::default(), None);
    let plan = plan(&desired, &seen.observed, &seen.owned, &seen.sources, &policy);
    let more =
        plan.changes.iter().filter(|change| change.verb != Verb::Adopt).map(|change| (&change.object, change.reason.clone()));
    let refused = plan.refusals.iter().map(|refusal| (&refusal.object, refusal.message.clone()));
    let deferred = plan.deferred.iter().map(|deferred| (&deferred.object, deferred.until.clone()));
    let blocked = plan.notes.iter().filter(|note| note.condition == "Blocked").map(|note| (&note.object, note.message.clone()));
    let all = more.chain(refused).chain(deferred).chain(blocked);
    all.filter_map(|(object, why)| Some((is_ours(object)?.object.clone(), why))).collect()
}

/// Writes a manifest into a file of its own, never over another.
fn save(folder: &Path, found: &Found) -> Result<(), CommandError> {
    let path = folder.join(format!("{}-{}.yaml", found.object.kind.name().to_lowercase(), found.object.name));
    let failed = |error: std::io::Error| CommandError::new(Exit::Error, format!("failed to write {}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
    file.write_all(document(found).as_bytes()).map_err(failed)
}
