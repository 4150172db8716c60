//! `jvp events`: what was done and found, with why and by which revision. It asks the daemon that holds the state directory, else the
//! files of the history.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;

use super::client::{get, held_by};
use crate::cli::args::{Files, Global, PlanFormat};
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::Out;
use crate::cli::session::kept_past;
use crate::cli::{read, runtime};
use crate::store::Event;

/// How often a watch asks.
const PAUSE: Duration = Duration::from_secs(1);

/// More events than a daemon keeps.
const ALL: usize = 1_000_000;
/// More than come in a pause.
const LATE: usize = 1000;

#[derive(Debug, Args)]
#[command(
    after_help = "The last 1,000 events of each object are kept, as far as 16 MiB for all of them reach. CAUSE tells what made the daemon look: `event` (libvirt told), \
`resync` (a look by the clock found it), `window` (one opened for a restart), `file` (its manifest changed), `start`, `request`, `retry`, or `awaited` (what it waited for was \
done); what was done by hand has none.

Examples:
  jvp events                  what was done and found last
  jvp events vm/web-1         to one object
  jvp events --watch          and what comes
  jvp events -o json          one JSON object a line"
)]
pub(in crate::cli) struct EventsArgs {
    /// Kinds (`vms`, `all`) or objects (`vm/web-1`); none means all
    #[arg(value_name = "KIND|REF")]
    pub what: Vec<String>,
    #[command(flatten)]
    pub files: Files,
    /// So many of the newest; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// Go on, and show what comes
    #[arg(short, long)]
    pub watch: bool,
    /// How they are shown
    #[arg(short, long, value_enum, default_value_t = PlanFormat::Text)]
    pub output: PlanFormat,
}

pub(in crate::cli) fn events(args: &EventsArgs, global: &Global, out: &Out) -> Result<Exit, CommandError> {
    let meant = read::meant(&args.what)?;
    let mut shown: BTreeSet<(String, Option<String>)> = BTreeSet::new();
    let mut limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let (mut first, mut lost) = (true, false);
    if args.output == PlanFormat::Text {
        out.print(&line(["WHEN", "CAUSE", "OBJECT", "WHAT", "OUTCOME", "REVISION"], ""));
    }
    loop {
        // What is chosen by kind or name may be long ago.
        let least = match (first, args.what.is_empty()) {
            (true, false) => ALL,
            (true, true) => limit.clamp(LATE, ALL),
            (false, _) => LATE,
        };
        let mut all = match all(&args.files, least, global, out) {
            Ok(all) => all,
            Err(error) if first => return Err(error),
            // A daemon that is started anew answers again.
            Err(error) => {
                if !std::mem::replace(&mut lost, true) {
                    out.say(&format!("{}; it is asked again\n", error.message));
                }
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        all.retain(|event| args.what.is_empty() || meant(&event.object));
        let fresh: Vec<&Event> = all.iter().filter(|event| !shown.contains(&(event.id.clone(), event.ended.clone()))).collect();
        for event in fresh.iter().skip(fresh.len().saturating_sub(limit)) {
            match args.output {
                PlanFormat::Text => out.print(&text(event)),
                PlanFormat::Json => out.print(&format!("{}\n", serde_json::to_string(event).unwrap_or_default())),
            }
        }
        if !args.watch {
            return Ok(Exit::Ok);
        }
        shown = all.into_iter().map(|event| (event.id, event.ended)).collect();
        (limit, first, lost) = (usize::MAX, false, false);
        std::thread::sleep(PAUSE);
    }
}

/// All events, or at least so many of the newest; the oldest first.
fn all(files: &Files, least: usize, global: &Global, out: &Out) -> Result<Vec<Event>, CommandError> {
    let mut events: Vec<Event> = match held_by(global) {
        Some(socket) => runtime(get(&socket, &format!("/events?limit={least}")))?,
        None => kept_past(files, global, out)?.1.events,
    };
    events.drain(..events.len().saturating_sub(least));
    Event::sort(&mut events);
    Ok(events)
}

fn text(event: &Event) -> String {
    let at = event.at.split_once('.').map_or(event.at.as_str(), |(seconds, _)| seconds);
    let revision: String = event.revision.as_deref().unwrap_or("-").chars().take(14).collect();
    let words =
        [at, event.cause.as_deref().unwrap_or("-"), &event.object.to_string(), &event.op, event.outcome.words(), &revision];
    line(words, event.why.as_deref().unwrap_or_default())
}

fn line(words: [&str; 6], why: &str) -> String {
    let [when, cause, object, what, outcome, revision] = words;
    let text = format!("{when:<20}  {cause:<8}  {object:<32}  {what:<20}  {outcome:<9}  {revision:<14}  {why}");
    format!("{}\n", text.trim_end())
}
