//! `jvp apply`, `jvp delete`, `jvp vm`: commands that do something.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::args::{AdoptArgs, ApplyArgs, DeleteArgs, Files, Global, PowerArgs};
use super::error::CommandError;
use super::exit::Exit;
use super::output::Out;
use super::run::{Manner, carry_out};
use super::session::{Session, consents, is_libvirts, now, selected, targets};
use super::wait::Targets;
use crate::name::{Kind, ObjectRef};
use crate::plan::{Entry, Mode, Policy, PowerAct};

pub(super) async fn apply(args: &ApplyArgs, global: &Global, out: &Arc<Out>) -> Result<Exit, CommandError> {
    let exit = carried_out(args, global, out).await?;
    if !args.wait || args.dry_run || exit != Exit::Ok {
        return Ok(exit);
    }
    // A saved plan names its manifests itself, and its targets.
    let saved = args.plan.as_ref().map(|path| super::saved::read(path)).transpose()?;
    let (files, targets) = match saved {
        Some(saved) => (Files { files: saved.files, secrets_dir: saved.secrets_dir }, Targets::Saved(saved.policy.targets)),
        None => (args.files.clone(), Targets::Words(&args.choice)),
    };
    super::wait::after_apply(&files, global, &targets, args.timeout, out).await
}

async fn carried_out(args: &ApplyArgs, global: &Global, out: &Arc<Out>) -> Result<Exit, CommandError> {
    let manner = Manner {
        yes: args.yes,
        dry_run: args.dry_run,
        parallelism: args.parallelism,
        fingerprint: args.expect.clone(),
        everything: false,
    };
    if let Some(path) = &args.plan {
        let saved = super::saved::read(path)?;
        let files = Files { files: saved.files, secrets_dir: saved.secrets_dir };
        let session = Session::open(&files, global, out)?;
        let policy = Policy { now: Some(now()), ..saved.policy };
        let manner = Manner { fingerprint: Some(saved.fingerprint), ..manner };
        return carry_out(session, global, |_, _| Ok(policy.clone()), &manner, out).await;
    }
    let session = Session::open(&args.files, global, out)?;
    let given = consents(&args.consents)?;
    carry_out(
        session,
        global,
        |session, owned| {
            let targets = targets(session, owned, &args.choice)?;
            session.pruned(session.policy(Mode::Apply, given.clone(), targets), args.prune)
        },
        &manner,
        out,
    )
    .await
}

pub(super) async fn adopt(args: &AdoptArgs, global: &Global, out: &Arc<Out>) -> Result<Exit, CommandError> {
    let parallelism = crate::apply::DEFAULT_PARALLELISM;
    let manner =
        Manner { yes: args.yes, dry_run: args.dry_run, parallelism, fingerprint: args.expect.clone(), everything: false };
    let session = Session::open(&args.files, global, out)?;
    let given = consents(&args.consents)?;
    carry_out(
        session,
        global,
        |session, owned| {
            let mut objects = BTreeSet::new();
            for text in &args.objects {
                let found = session.objects(text, owned)?;
                objects.extend(found.into_iter().filter(|object| session.desired.objects.contains_key(object)));
            }
            if objects.is_empty() {
                let message = "what is adopted needs a manifest, and none of these has one";
                return Err(CommandError::new(Exit::Error, message).help("jvp export writes one: jvp export REF"));
            }
            let policy = session.policy(Mode::Apply, given.clone(), None);
            Ok(Policy { adopt: objects, ..policy })
        },
        &manner,
        out,
    )
    .await
}

pub(super) async fn delete(args: &DeleteArgs, global: &Global, out: &Arc<Out>) -> Result<Exit, CommandError> {
    let manner = Manner {
        yes: args.yes,
        dry_run: args.dry_run,
        parallelism: args.parallelism,
        fingerprint: args.expect.clone(),
        everything: args.objects.is_empty() && args.selector.is_none(),
    };
    let session = Session::open(&args.files, global, out)?;
    let given = consents(&args.consents)?;
    carry_out(
        session,
        global,
        |session, owned| {
            let mut objects: BTreeSet<ObjectRef> = BTreeSet::new();
            if let Some(selector) = &args.selector {
                // What comes with another object bears no labels of its own.
                let labels = session.desired.objects.values().filter(|wanted| wanted.implied_by.is_none());
                let labels = labels.map(|wanted| (&wanted.object, &wanted.metadata.labels));
                let comes_with = |entry: &Entry| entry.volume.as_ref().is_some_and(|volume| volume.owner.is_some());
                let known = owned.entries.values().filter(|entry| !entry.released && !comes_with(entry));
                let known = known.map(|entry| (&entry.object, &entry.labels));
                objects.extend(selected(selector, labels.chain(known))?);
            } else if args.objects.is_empty() {
                let declared =
                    session.desired.objects.keys().filter(|object| is_libvirts(object.kind) || object.kind == Kind::KeyPair);
                objects.extend(declared.cloned());
            }
            for text in &args.objects {
                objects.extend(session.objects(text, owned)?);
            }
            // A pool takes the implied one of its templates along.
            let implied: Vec<ObjectRef> = objects
                .iter()
                .filter(|object| object.kind == Kind::StoragePool)
                .filter_map(|object| {
                    let name = crate::resolve::templates_pool(&object.name)?;
                    Some(ObjectRef { kind: Kind::StoragePool, name, node: object.node.clone() })
                })
                .filter(|object| session.desired.objects.contains_key(object) || owned.entries.contains_key(object))
                .collect();
            objects.extend(implied);
            Ok(session.policy(Mode::Delete { objects, with_data: args.with_data }, given.clone(), None))
        },
        &manner,
        out,
    )
    .await
}

pub(super) async fn vm(args: &PowerArgs, what: PowerAct, global: &Global, out: &Arc<Out>) -> Result<Exit, CommandError> {
    let session = Session::open(&args.files, global, out)?;
    let mut given = consents(&args.consents)?;
    let manner = Manner {
        yes: true,
        dry_run: false,
        parallelism: crate::apply::DEFAULT_PARALLELISM,
        fingerprint: None,
        everything: false,
    };
    let names: Vec<String> =
        args.names.iter().map(|name| if name.contains('/') { name.clone() } else { format!("vm/{name}") }).collect();
    if args.force {
        for name in &names {
            given.force_stop.extend(name.parse::<ObjectRef>().ok());
        }
    }
    carry_out(
        session,
        global,
        |session, owned| {
            let mut objects = BTreeSet::new();
            for name in &names {
                objects.extend(session.objects(name, owned)?);
            }
            Ok(session.policy(Mode::Power { objects, what }, given.clone(), None))
        },
        &manner,
        out,
    )
    .await
}
