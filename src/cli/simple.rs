//! Commands that ask no node: init, validate, schema, completion, version.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use super::args::{Cli, CompletionArgs, DiagnosticFormat, Global, InitArgs, PlanFormat, SchemaArgs, ValidateArgs, VersionArgs};
use super::error::CommandError;
use super::exit::Exit;
use super::output::Out;
use crate::diag;
use crate::gitops::{Tick, Watch};
use crate::name::{Kind, Name};
use crate::source::{FLEET_FILE, read_set};
use crate::store::Snapshot;

pub(super) fn init(args: &InitArgs, global: &Global, out: &Out) -> Result<Exit, CommandError> {
    let failed = |path: &Path, error: &std::io::Error| {
        CommandError::new(Exit::Error, format!("failed to write {}: {error}", path.display()))
    };
    std::fs::create_dir_all(&args.folder).map_err(|error| failed(&args.folder, &error))?;
    let path = args.folder.join(FLEET_FILE);
    if path.exists() {
        return Err(CommandError::new(Exit::Error, format!("{} is there already: this is a checkout of jvp's", path.display())));
    }
    let folder = std::fs::canonicalize(&args.folder).unwrap_or_else(|_| args.folder.clone());
    let derived = folder.file_name().map(|name| name.to_string_lossy().to_lowercase().replace(['_', ' '], "-"));
    let name: Name = match &args.name {
        Some(name) => {
            name.parse().map_err(|error: crate::name::InvalidValue| CommandError::new(Exit::Usage, format!("--name: {error}")))?
        }
        None => match derived.and_then(|name| name.parse().ok()) {
            Some(name) => name,
            None => {
                return Err(
                    CommandError::new(Exit::Usage, "the folder's name can't be a Fleet's").help("give it one: --name NAME")
                );
            }
        },
    };
    // A set that was applied without a Fleet has an id in the state directory already: that one is committed.
    let made =
        Snapshot::read(&super::session::state_path(global), "jvp init", super::session::now()).ok().and_then(|s| s.fleet_id());
    let id = made.unwrap_or_else(uuid::Uuid::new_v4);
    let text = format!(
        "# yaml-language-server: $schema=https://jvp.dev/schemas/v1alpha1/fleet.json\n\
         # Whose the objects of this checkout are. Commit it, and never change the id.\n\
         apiVersion: jvp.dev/v1alpha1\nkind: Fleet\nmetadata:\n  name: {name}\nspec:\n  id: {id}\n"
    );
    std::fs::write(&path, text).map_err(|error| failed(&path, &error))?;
    out.print(&format!("{} was written: Fleet/{name}, {id}\n", path.display()));
    if made.is_some() {
        out.print("its id is the one that the state directory's objects have already\n");
    }
    out.print("commit it beside your manifests; next: jvp plan\n");
    Ok(Exit::Ok)
}

pub(super) fn validate(args: &ValidateArgs, global: &Global, out: &Out) -> Exit {
    let mut set = read_set(&args.files.files, &mut std::io::stdin());
    super::session::check(&mut set, global, || None);
    let format = match args.output {
        DiagnosticFormat::Full => diag::render::Format::Full,
        DiagnosticFormat::Concise => diag::render::Format::Concise,
        DiagnosticFormat::Json => diag::render::Format::Json,
    };
    let errors = diag::has_errors(&set.diagnostics);
    out.print(&diag::render::render(format, &set.diagnostics, &set.sources, out.colour));
    if errors {
        return Exit::Invalid;
    }
    if args.output != DiagnosticFormat::Json {
        let count = set.documents.len();
        out.print(&format!(
            "valid: {count} object{} in {} file{}\n",
            plural(count),
            set.sources.len(),
            plural(set.sources.len())
        ));
    }
    Exit::Ok
}

/// Validates, and again after each change of a file below what `-f` names, until the process is ended.
pub(super) async fn watch(args: &ValidateArgs, global: &Global, out: &Out) -> Result<Exit, CommandError> {
    let (changed, mut changes) = tokio::sync::mpsc::channel(1);
    for file in args.files.files.iter().filter(|file| *file != "-" && !file.contains("://")) {
        let path = PathBuf::from(file);
        let mut watch = Watch::on(&path).await;
        let only = path.file_name().filter(|_| path.is_file()).map(OsStr::to_owned);
        let changed = changed.clone();
        tokio::spawn(async move {
            loop {
                let Tick { files, .. } = watch.tick().await;
                // Beside a file others may change.
                let meant = only.as_ref().is_none_or(|only| files.is_empty() || files.iter().any(|file| file.ends_with(only)));
                if meant && changed.send(()).await.is_err() {
                    return;
                }
            }
        });
    }
    drop(changed);
    loop {
        let exit = validate(args, global, out);
        if changes.recv().await.is_none() {
            return Ok(exit);
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

pub(super) fn schema(args: &SchemaArgs, out: &Out) -> Result<Exit, CommandError> {
    let file = match &args.kind {
        None => "jvp.json".to_owned(),
        Some(kind) if kind == "plan" => {
            out.print(&crate::plan::schema::schema());
            return Ok(Exit::Ok);
        }
        Some(kind) => {
            if let Some(kind) = Kind::parse(kind) {
                format!("{}.json", kind.name().to_lowercase())
            } else {
                let names: Vec<_> = Kind::TABLE.iter().map(|row| row.name).collect();
                return Err(CommandError::new(Exit::Usage, format!("there is no kind `{kind}`"))
                    .help(format!("one of {}", names.join(", "))));
            }
        }
    };
    match crate::manifest::schema::all().find(|(name, _)| *name == file) {
        Some((_, text)) => {
            out.print(text);
            Ok(Exit::Ok)
        }
        None => Err(CommandError::new(Exit::Error, format!("there is no schema {file}"))),
    }
}

pub(super) fn completion(args: &CompletionArgs, out: &Out) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "jvp", &mut text);
    out.print(&String::from_utf8_lossy(&text));
    Exit::Ok
}

pub(super) fn version(args: &VersionArgs, out: &Out) -> Exit {
    let jvp = env!("CARGO_PKG_VERSION");
    let library = crate::host::libvirt::library_version()
        .map_or_else(|| "unknown".into(), |v| format!("{}.{}.{}", v / 1_000_000, v / 1000 % 1000, v % 1000));
    match args.output {
        PlanFormat::Text => {
            out.print(&format!("jvp {jvp}\nlibvirt library {library}\nlanguage {}\n", crate::manifest::API_VERSION));
        }
        PlanFormat::Json => out.print(&format!(
            "{}\n",
            serde_json::json!({"jvp": jvp, "libvirtLibrary": library, "apiVersion": crate::manifest::API_VERSION})
        )),
    }
    Exit::Ok
}
