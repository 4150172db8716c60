//! `jvp history`: what was done, when, by which run, and how it ended. It reads the files of the history and asks no node.

use clap::Args;
use serde_json::json;

use super::args::{Files, Global, PlanFormat};
use super::error::CommandError;
use super::exit::Exit;
use super::output::Out;
use super::session::kept_past;
use crate::store::{Context, Event, Past};

#[derive(Debug, Args)]
#[command(
    after_help = "The last 1,000 events of each object are kept, as far as 16 MiB for all of them reach. An event whose end was lost (a kill, a node that broke \
off) says unknown: the run after it looked, and decided by what is there.

Examples:
  jvp history                      what was done last
  jvp history vm/web-1             to one object
  jvp history vm web-1             the same
  jvp history --limit 0 -o json    all that is kept"
)]
pub(super) struct HistoryArgs {
    /// Kinds (`vms`, `all`) or objects (`vm/web-1`); none means all
    #[arg(value_name = "KIND|REF")]
    pub what: Vec<String>,
    #[command(flatten)]
    pub files: Files,
    /// So many of the newest; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// How they are shown
    #[arg(short, long, value_enum, default_value_t = PlanFormat::Text)]
    pub output: PlanFormat,
}

pub(super) fn history(args: &HistoryArgs, global: &Global, out: &Out) -> Result<Exit, CommandError> {
    let (owned, Past { mut events, unreadable }) = kept_past(&args.files, global, out)?;
    // An intent that the history has lost, or never had, is said too.
    for intent in &owned.intents {
        if !events.iter().any(|event| event.id == intent.id) {
            events.push(Event::of(intent, "", &Context::default()));
        }
    }
    Event::sort(&mut events);
    let meant = super::read::meant(&args.what)?;
    if !args.what.is_empty() {
        events.retain(|event| meant(&event.object));
    }
    let skip = if args.limit == 0 { 0 } else { events.len().saturating_sub(args.limit) };
    let shown: Vec<&Event> = events.iter().skip(skip).collect();
    let open = |event: &Event| owned.intents.iter().any(|intent| intent.id == event.id);
    match args.output {
        PlanFormat::Text => out.print(&text(&shown)),
        PlanFormat::Json => {
            let all: Vec<serde_json::Value> = shown
                .iter()
                .map(|event| {
                    let mut value = json!(event);
                    value["open"] = json!(open(event));
                    value
                })
                .collect();
            out.json(&all);
        }
    }
    if shown.is_empty() {
        out.say("nothing was done that is kept\n");
    }
    let left = shown.iter().filter(|event| open(event)).count();
    if left > 0 && args.output == PlanFormat::Text {
        out.say(&format!(
            "{left} of unknown outcome {} decided yet: the next apply looks\n",
            if left == 1 { "is not" } else { "are not" }
        ));
    }
    if unreadable > 0 {
        out.say(&format!("{unreadable} lines of the history can't be read, and are left out\n"));
    }
    if skip > 0 && args.output == PlanFormat::Text {
        out.say(&format!("{skip} older not shown: --limit 0\n"));
    }
    Ok(Exit::Ok)
}

/// The events, run by run.
fn text(events: &[&Event]) -> String {
    let mut text = String::new();
    for run in events.chunk_by(|a, b| number(a) == number(b) && a.command == b.command && date(&a.at) == date(&b.at)) {
        let Some(first) = run.first() else { continue };
        let command = if first.command.is_empty() { "a run that is not known" } else { first.command.as_str() };
        text.push_str(&format!("{} {} (run {})\n", day(&first.at), command, number(first)));
        let rows: Vec<Vec<String>> = run.iter().map(|event| row(event)).collect();
        text.push_str(&super::read::columns(&rows));
    }
    text
}

fn row(event: &Event) -> Vec<String> {
    let mut object = event.object.to_string();
    if let Some(node) = event.node.as_ref().filter(|_| event.object.node.is_none()) {
        object.push_str(&format!(" on {node}"));
    }
    let why = event.why.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
    vec![format!("  {}", time(&event.at)), object, event.op.clone(), event.outcome.words().to_owned(), why.to_owned()]
}

/// The number of the run that an event belongs to, whichever its round.
fn number(event: &Event) -> &str {
    event.run.split('-').next().unwrap_or_default()
}

/// The day, in UTC.
fn date(at: &str) -> &str {
    at.split('T').next().unwrap_or_default()
}

fn day(at: &str) -> String {
    at.parse::<jiff::Timestamp>().map_or_else(|_| at.to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

fn time(at: &str) -> String {
    at.parse::<jiff::Timestamp>().map_or_else(|_| at.to_owned(), |time| time.strftime("%H:%M:%S").to_string())
}
