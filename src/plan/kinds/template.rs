//! Planning a Template: content-named files that are never written twice.

use crate::image::word;
use crate::manifest::{Spec, TemplateSpec};
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::PoolState;
use crate::plan::model::{FieldChange, RefusalKind, Shown, Verb};
use crate::plan::planner::{Draft, Hold, Planner, Row, Standing};
use crate::plan::record::entry_of;
use crate::plan::sources::ImageFacts;
use crate::plan::{Entry, Expect, Intent, Lane, Op, Precondition, Record, TemplateRecord, UploadSource};
use crate::resolve::{Wanted, templates_pool};
use crate::xml;

/// The name of the file with this content.
pub(in crate::plan) fn file_name(name: &Name, digest_sha256: &str, format: &str) -> String {
    let short: String = digest_sha256.chars().take(12).collect();
    format!("{name}-{short}.{format}")
}

/// The digest that the manifest, what was fetched, or what was pinned says.
fn digest(p: &Planner<'_>, wanted: &Wanted, spec: &TemplateSpec) -> Option<String> {
    if let Some(facts) = p.sources.images.get(&wanted.object.name) {
        return Some(facts.digest_sha256.clone());
    }
    if let Some(hex) = spec.checksum.as_deref().and_then(|checksum| checksum.strip_prefix("sha256:")) {
        return Some(hex.to_ascii_lowercase());
    }
    // Fetched before, from the same place: its content is pinned.
    let record = p.entry(&wanted.object)?.template.as_ref()?;
    let source = spec.source.as_ref()?;
    let same = source.url.as_deref().or(source.file.as_deref()) == Some(record.source.as_str());
    let checksum_same = p.entry(&wanted.object)?.values.get("/checksum") == wanted.now.get("/checksum");
    (same && checksum_same).then(|| record.digest_sha256.clone())
}

pub(in crate::plan) fn plan(p: &mut Planner<'_>, wanted: &Wanted) {
    let Spec::Template(spec) = &*wanted.spec else { return };
    let (Some(node), Some(pool_name)) = (wanted.node.as_ref(), spec.pool.as_ref()) else { return };
    let Some(pool_name) = templates_pool(pool_name) else { return };
    let pool_ref = ObjectRef::on(Kind::StoragePool, pool_name.clone(), node);
    let format = spec.format.map_or("qcow2", word);
    if let Some(record) = p.entry(&wanted.object).and_then(|entry| entry.template.clone()).filter(|record| record.ready) {
        let pool = p.libvirt_name(Kind::StoragePool, &pool_name, node);
        if record.pool != pool {
            return p.refuse_new_value(wanted, "/pool", &record.pool, &pool);
        }
        if record.format != format {
            return p.refuse_new_value(wanted, "/format", &record.format, format);
        }
    }
    let digest = digest(p, wanted, spec);
    let mut fields = vec![FieldChange {
        path: "/source".into(),
        old: None,
        new: Some(Shown::Value(spec.source.as_ref().and_then(|s| s.url.clone().or_else(|| s.file.clone())).unwrap_or_default())),
    }];
    fields.push(FieldChange {
        path: "/file".into(),
        old: None,
        new: Some(match &digest {
            Some(digest) => Shown::Value(file_name(&wanted.object.name, digest, format)),
            None => Shown::After("its image is fetched".into()),
        }),
    });
    if let Err(hold @ Hold::Blocked(_)) = p.standing_of(&pool_ref) {
        return p.hold(wanted, hold, Verb::Create, fields);
    }
    let Some(pool) = p.open_pool(&pool_name, node) else {
        // What is there can't be read before the pool runs; fetching needs no pool.
        if digest.is_none() || !p.sources.images.contains_key(&wanted.object.name) {
            fetch(p, wanted, spec);
        }
        if p.standing.get(&wanted.object) == Some(&Standing::Blocked) {
            return;
        }
        let known = p.template_record(&wanted.object).is_some();
        return super::closed_pool::say(p, wanted, &pool_ref, node, known, fields);
    };
    let Some(digest) = digest else {
        fetch(p, wanted, spec);
        if p.standing.get(&wanted.object) != Some(&Standing::Blocked) {
            p.defer(wanted, wanted.object.clone(), "once its image is fetched".into(), Verb::Create, fields);
        }
        return;
    };
    let file = file_name(&wanted.object.name, &digest, format);
    if let Some(ready) = found_ready(p, wanted, pool, &file, &digest) {
        let mut entry = entry_of(p, wanted, None);
        if entry.template.as_ref() != Some(&ready) {
            entry.to_mut().template = Some(ready);
        }
        note_old_files(p, wanted, pool, &file);
        return p.inventory(wanted, Some(entry));
    }
    let Some(facts) = p.sources.images.get(&wanted.object.name).cloned() else {
        fetch(p, wanted, spec);
        if p.standing.get(&wanted.object) != Some(&Standing::Blocked) {
            p.defer(wanted, wanted.object.clone(), "once its image is fetched".into(), Verb::Create, fields);
        }
        return;
    };
    upload(p, wanted, spec, pool, &file, facts, fields);
}

fn fetch(p: &mut Planner<'_>, wanted: &Wanted, spec: &TemplateSpec) {
    let name = &wanted.object.name;
    if let Some(why) = p.sources.failed.get(name).cloned() {
        return p.refuse(wanted, RefusalKind::Guard, why, &["mend the source, then run it again".into()]);
    }
    // One fetch serves every node.
    let planned = p.plan.actions.iter().any(|action| matches!(&action.op, Op::Fetch { template } if template == name));
    if planned {
        return;
    }
    let url = spec.source.as_ref().and_then(|source| source.url.clone()).unwrap_or_default();
    let mut row = Row::new(wanted, Verb::Fetch, format!("its image is not on the controller: {url}"));
    row.drafts.push(Draft::new(Op::Fetch { template: name.clone() }, Lane::Local(format!("fetch/{name}"))));
    p.commit(row);
    p.standing.remove(&wanted.object);
}

/// The record of the file where it is there, whole, and ours.
fn found_ready(p: &Planner<'_>, wanted: &Wanted, pool: &PoolState, file: &str, digest: &str) -> Option<TemplateRecord> {
    let volume = pool.volumes.as_ref()?.get(file)?;
    let entry = p.entry(&wanted.object).and_then(|entry| entry.template.clone());
    if is_begun(p, wanted, pool, file) {
        return None;
    }
    let same_size = |size: u64| volume.physical.is_none_or(|physical| physical == size);
    if let Some(record) = entry.filter(|record| record.file == file && record.digest_sha256 == digest) {
        return (record.ready && same_size(record.size)).then_some(record);
    }
    // The ledger doesn't know it. Its name tells its content; that it is whole is told by a VM of ours that is built on it, or by its
    // length and what was written to it: one that was made and never filled has the length, too.
    let filled = |facts: &ImageFacts| {
        let holds = facts.format != "qcow2" || (volume.format == facts.format && volume.capacity == facts.virtual_size);
        volume.physical == Some(facts.size) && volume.allocation > 0 && holds
    };
    let built_on = p.marked_backing(wanted.node.as_ref(), &volume.path);
    let whole = p.sources.images.get(&wanted.object.name).is_some_and(filled) || built_on;
    let Spec::Template(spec) = &*wanted.spec else { return None };
    whole.then(|| TemplateRecord {
        digest_sha256: digest.to_owned(),
        size: volume.physical.unwrap_or_default(),
        virtual_size: volume.capacity,
        format: spec.format.map_or("qcow2", word).to_owned(),
        pool: pool.name.clone(),
        file: file.to_owned(),
        path: volume.path.clone(),
        ready: true,
        pinned: spec.checksum.is_none(),
        source: spec.source.as_ref().and_then(|s| s.url.clone().or_else(|| s.file.clone())).unwrap_or_default(),
    })
}

/// Whether a run that broke off was making this file. What was begun elsewhere, before its pool moved, says nothing of it.
fn is_begun(p: &Planner<'_>, wanted: &Wanted, pool: &PoolState, file: &str) -> bool {
    let here = pool.path_of(file);
    let begun = |intent: &Intent| {
        intent.object == wanted.object && intent.details.get("path").and_then(|path| path.as_str()) == Some(here.as_str())
    };
    p.owned.intents.iter().any(begun)
}

fn note_old_files(p: &mut Planner<'_>, wanted: &Wanted, pool: &PoolState, current: &str) {
    let prefix = format!("{}-", wanted.object.name);
    let old: Vec<String> = pool
        .volumes
        .iter()
        .flatten()
        .filter(|(file, _)| {
            let digest = file.strip_prefix(&prefix).and_then(|rest| rest.split('.').next());
            file.as_str() != current
                && digest.is_some_and(|digest| digest.len() == 12 && digest.bytes().all(|b| b.is_ascii_hexdigit()))
        })
        .map(|(file, _)| file.clone())
        .collect();
    for file in old {
        p.note(&wanted.object, "OldContent", format!("`{file}` holds older content of it and is kept"));
    }
}

fn upload(
    p: &mut Planner<'_>,
    wanted: &Wanted,
    spec: &TemplateSpec,
    pool: &PoolState,
    file: &str,
    facts: ImageFacts,
    fields: Vec<FieldChange>,
) {
    let lane = Lane::PoolShared { pool: pool.name.clone(), volume: file.to_owned() };
    let path = pool.path_of(file);
    let record = TemplateRecord {
        digest_sha256: facts.digest_sha256.clone(),
        size: facts.size,
        virtual_size: facts.virtual_size,
        format: facts.format.clone(),
        pool: pool.name.clone(),
        file: file.to_owned(),
        path: path.clone(),
        ready: true,
        pinned: spec.checksum.is_none(),
        source: spec.source.as_ref().and_then(|s| s.url.clone().or_else(|| s.file.clone())).unwrap_or_default(),
    };
    let mut ready: Entry = entry_of(p, wanted, None).into_owned();
    file.clone_into(&mut ready.libvirt_name);
    ready.template = Some(record);
    let mut begun = ready.clone();
    if let Some(template) = begun.template.as_mut() {
        template.ready = false;
    }
    let replaces = p.entry(&wanted.object).and_then(|entry| entry.template.as_ref()).is_some_and(|old| old.file != file);
    let (verb, reason) = if replaces {
        (Verb::Update, "its content changed: a new file is made beside the old one")
    } else {
        (Verb::Create, "its image is not on the node")
    };
    let mut row = Row::new(wanted, verb, reason);
    row.fields = fields;
    row.fields.extend(p.inventory_changes(wanted));
    row.fields.push(FieldChange { path: "/size".into(), old: None, new: Some(Shown::Value(facts.size.to_string())) });
    let left = pool.volumes.as_ref().and_then(|volumes| volumes.get(file));
    let recorded = p.entry(&wanted.object).and_then(|entry| entry.template.as_ref());
    let ours = recorded.is_some_and(|old| old.file == file && old.path == path) || is_begun(p, wanted, pool, file);
    let before = p.before_fill(wanted.node.as_ref(), path, left.is_some());
    if let Some(broken) = left {
        let users = p.users(wanted.node.as_ref(), &broken.path);
        if !ours || !users.is_empty() {
            let message = if ours {
                format!("its file `{file}` is not whole, and it is used by {}", users.join(", "))
            } else {
                format!("a file `{file}` is there that jvp didn't make, and it is not this image")
            };
            return p.refuse(wanted, RefusalKind::Guard, message, &["remove or rename that file by hand".into()]);
        }
        row.reason = "its upload was not finished: it is made again".into();
        row.drafts.push(
            Draft::new(Op::VolumeDelete { pool: pool.name.clone(), name: file.to_owned() }, lane.clone())
                .when(Precondition::VolumeUnused { path: broken.path.clone() })
                .expect(Expect::Gone),
        );
    }
    let text =
        xml::volume::render(&xml::volume::VolumeWanted { name: file, format: "raw", capacity: Some(facts.size), backing: None });
    row.drafts.push(
        Draft::new(Op::VolumeCreate { pool: pool.name.clone(), name: file.to_owned(), xml: text }, lane.clone())
            .when(Precondition::Absent)
            .record(Record::Put(Box::new(begun))),
    );
    let capacity = (facts.format == "qcow2").then_some(facts.virtual_size);
    row.drafts.push(
        Draft::new(
            Op::VolumeUpload {
                pool: pool.name.clone(),
                name: file.to_owned(),
                source: UploadSource::Image { path: facts.path, digest: facts.digest_sha256, size: facts.size },
            },
            lane,
        )
        .when(before)
        .expect(Expect::Uploaded { size: facts.size, capacity })
        .record(Record::Settle(Box::new(ready))),
    );
    p.commit(row);
}
