//! `jvp status`: how the objects stand that a daemon keeps, while it runs and while it doesn't.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::client::{get, held_by};
use crate::cli::args::{Files, Global, PlanFormat};
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::Out;
use crate::cli::session::{command_line, kept_fleet, now, state_path};
use crate::cli::{read, runtime};
use crate::name::ObjectRef;
use crate::store::{ConditionStatus, ObjectStatus, Snapshot};

#[derive(Debug, Args)]
#[command(
    after_help = "Conditions are those of the daemon's last look. Exit code 2 with --detailed-exitcode: something is not as wanted.

Examples:
  jvp status
  jvp status vm/web-1
  jvp status -o json"
)]
pub(in crate::cli) struct StatusArgs {
    /// Kinds (`vms`, `all`) or objects (`vm/web-1`); none means all
    #[arg(value_name = "KIND|REF")]
    pub what: Vec<String>,
    #[command(flatten)]
    pub files: Files,
    /// Exit with 2 where something is not as wanted
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// How it is shown
    #[arg(short, long, value_enum, default_value_t = PlanFormat::Text)]
    pub output: PlanFormat,
}

/// What there is to tell.
struct Told {
    /// The daemon's view without its objects; none where none runs.
    daemon: Option<Value>,
    objects: BTreeMap<ObjectRef, Arc<ObjectStatus>>,
}

pub(in crate::cli) fn status(args: &StatusArgs, global: &Global, out: &Out) -> Result<Exit, CommandError> {
    let meant = read::meant(&args.what)?;
    let Told { daemon, mut objects } = told(&args.files, global, out)?;
    objects.retain(|object, _| args.what.is_empty() || meant(object));
    match args.output {
        PlanFormat::Json => out.json(&json!({"daemon": daemon, "objects": objects})),
        PlanFormat::Text => {
            out.print(&head(daemon.as_ref()));
            out.print(&table(&objects));
        }
    }
    let amiss = objects.values().any(|status| !status.is("Synced"));
    Ok(if args.detailed_exitcode && amiss { Exit::Changes } else { Exit::Ok })
}

fn told(files: &Files, global: &Global, out: &Out) -> Result<Told, CommandError> {
    if let Some(socket) = held_by(global) {
        let mut view: Value = runtime(get(&socket, "/status"))?;
        let objects = view.get_mut("objects").map(Value::take).unwrap_or_default();
        if let Some(map) = view.as_object_mut() {
            map.remove("objects");
        }
        let objects = serde_json::from_value(objects).unwrap_or_default();
        return Ok(Told { daemon: Some(view), objects });
    }
    let fleet = kept_fleet(files, global, out)?;
    let snapshot = Snapshot::read(&state_path(global), &command_line(), now())?;
    Ok(Told { daemon: None, objects: snapshot.statuses(fleet) })
}

fn head(daemon: Option<&Value>) -> String {
    let Some(daemon) = daemon else {
        return "No daemon holds the state directory; this is what the last one found.\n\n".to_owned();
    };
    let word = |pointer: &str| daemon.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    let mut text = format!("Source    {}\nRevision  {}", word("/source"), word("/revision/id"));
    let by = [word("/revision/author"), word("/revision/subject")];
    if by.iter().any(|word| word != "-") {
        text.push_str(&format!("  {}", by.join(": ")));
    }
    text.push_str(&format!("\nLooked    {}\n", word("/looked")));
    if let Some(trouble) = daemon.get("trouble").and_then(Value::as_str) {
        text.push_str(&format!("Trouble   {}\n", trouble.trim_end().replace('\n', "\n          ")));
    }
    let list = |key: &str| -> Vec<String> {
        let all = daemon.get(key).and_then(Value::as_array).into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for (key, title) in [("running", "In hand "), ("unwanted", "Unwanted")] {
        if !list(key).is_empty() {
            text.push_str(&format!("{title}  {}\n", list(key).join(", ")));
        }
    }
    for (node, trouble) in daemon.get("nodes").and_then(Value::as_object).into_iter().flatten() {
        if let Some(trouble) = trouble.as_str() {
            text.push_str(&format!("Node/{node} is out of reach: {trouble}\n"));
        }
    }
    text.push('\n');
    text
}

/// The objects with their conditions.
pub(super) fn table(objects: &BTreeMap<ObjectRef, Arc<ObjectStatus>>) -> String {
    if objects.is_empty() {
        return "There are no objects.\n".to_owned();
    }
    let width = objects.keys().map(|object| object.to_string().len()).max().unwrap_or_default().max(6);
    let mut text = format!("{:<width$}  {:<7}  {:<7}  CONDITIONS\n", "OBJECT", "SYNCED", "READY");
    for (object, status) in objects {
        let word = |name: &str| status.condition(name).map_or("-", |condition| condition.status.word());
        let others = status.conditions.iter().filter(|condition| {
            let standing = !matches!(condition.name.as_str(), "Synced" | "Ready");
            condition.status == ConditionStatus::Unknown || standing == (condition.status == ConditionStatus::True)
        });
        // What is unknown is so for one reason.
        let mut said: Vec<(String, String)> = Vec::new();
        for condition in others {
            let message = if condition.message.is_empty() { String::new() } else { format!(": {}", condition.message) };
            let why = format!("({}{message})", condition.reason);
            match said.last_mut().filter(|(_, last)| *last == why) {
                Some((names, _)) => names.push_str(&format!(", {}", condition.name)),
                None => said.push((condition.name.clone(), why)),
            }
        }
        let said: Vec<String> = said.into_iter().map(|(names, why)| format!("{names} {why}")).collect();
        let line = format!("{:<width$}  {:<7}  {:<7}  {}", object.to_string(), word("Synced"), word("Ready"), said.join("; "));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
