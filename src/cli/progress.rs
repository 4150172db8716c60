//! How a run is shown while it goes on: lines and bars on a terminal, plain lines elsewhere, lines of JSON where asked for.
//!
//! It tells what happened and decides nothing; what comes to standard error goes through [`Out`] alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::output::Out;
use crate::apply::progress::{Ended, Event, Sink};
use crate::name::ObjectRef;
use crate::plan::ActionId;

/// How often what goes on is drawn anew.
const TICK: Duration = Duration::from_millis(120);
/// So many steps in flight are drawn; the others are counted only.
const SHOWN: usize = 16;
/// A plain line is written after so many parts of a transfer.
const PARTS: u64 = 4;

/// What is shown until a run ends.
pub(super) struct Bars {
    out: Arc<Out>,
    multi: Option<MultiProgress>,
}

impl Bars {
    /// Takes it away.
    pub(super) fn finish(self) {
        if let Some(multi) = self.multi {
            self.out.draw(None);
            let _ = multi.clear();
        }
    }
}

/// A sink that shows events.
pub(super) fn sink(out: &Arc<Out>) -> (Sink, Bars) {
    let mut bars = Bars { out: Arc::clone(out), multi: None };
    let out = Arc::clone(out);
    if out.json {
        let show = Mutex::new(Lines::default());
        return (Sink::new(move |event| tell(&out, lock(&show).json(event))), bars);
    }
    if out.draws {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        out.draw(Some(multi.clone()));
        bars.multi = Some(multi.clone());
        let show = Mutex::new(Drawn::new(multi));
        return (Sink::new(move |event| tell(&out, lock(&show).draw(event))), bars);
    }
    let show = Mutex::new(Lines::default());
    (Sink::new(move |event| tell(&out, lock(&show).plain(event))), bars)
}

fn tell(out: &Out, line: Option<String>) {
    if let Some(line) = line {
        out.say(&format!("{line}\n"));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A step of the plan, in words.
#[derive(Debug, Clone)]
struct Step {
    object: String,
    op: &'static str,
    /// What it is at: `starting`.
    doing: &'static str,
    /// What it has become: `started`.
    done: &'static str,
}

impl Step {
    fn of(object: String, op: &'static str) -> Self {
        let (doing, done) = words(op);
        Self { object, op, doing, done }
    }
}

/// What an operation is called while it goes on, and when it is done.
fn words(op: &str) -> (&'static str, &'static str) {
    match op {
        "pool-define" => ("defining the pool", "pool defined"),
        "pool-build" => ("making the pool's folder", "pool's folder made"),
        "pool-start" => ("starting the pool", "pool started"),
        "pool-refresh" => ("refreshing the pool", "pool refreshed"),
        "pool-stop" => ("stopping the pool", "pool stopped"),
        "pool-undefine" => ("undefining the pool", "pool undefined"),
        "network-define" => ("defining the network", "network defined"),
        "network-start" => ("starting the network", "network started"),
        "network-dhcp-host" => ("changing a DHCP host", "DHCP host changed"),
        "network-dhcp-range" => ("changing a DHCP range", "DHCP range changed"),
        "network-dns-host" => ("changing a DNS host", "DNS host changed"),
        "network-patch" => ("changing the network's definition", "network defined"),
        "network-replug" => ("plugging guests in again", "guests plugged in"),
        "pool-retarget" => ("moving the pool", "pool moved"),
        "domain-block-resize" => ("growing the disk of a running guest", "disk grown"),
        "network-stop" => ("stopping the network", "network stopped"),
        "network-undefine" => ("undefining the network", "network undefined"),
        "volume-create" => ("creating the volume", "volume created"),
        "volume-clone" => ("copying the volume", "volume copied"),
        "volume-upload" => ("uploading", "uploaded"),
        "volume-grow" => ("growing the volume", "volume grown"),
        "volume-delete" => ("deleting the volume", "volume deleted"),
        "domain-define" => ("defining", "defined"),
        "domain-start" => ("starting", "started"),
        "domain-shutdown" => ("shutting down", "shut down"),
        "domain-destroy" => ("cutting the power", "power cut"),
        "domain-undefine" => ("undefining", "undefined"),
        "pool-autostart" | "network-autostart" | "domain-autostart" => ("setting autostart", "autostart set"),
        "domain-metadata" => ("setting metadata", "metadata set"),
        "domain-rename" => ("renaming", "renamed"),
        "fetch" => ("fetching", "fetched"),
        "keypair-generate" => ("making the key pair", "key pair made"),
        "inventory" => ("recording", "recorded"),
        "domain-redefine" => ("changing its definition", "definition changed"),
        "domain-attach" => ("plugging in", "plugged in"),
        "domain-update" => ("changing a device", "device changed"),
        "domain-detach" => ("unplugging", "unplugged"),
        "domain-vcpus" => ("changing its vCPUs", "vCPUs changed"),
        "domain-memory" => ("changing its memory", "memory changed"),
        "domain-discard-save" => ("dropping its saved state", "saved state dropped"),
        _ => ("working", "done"),
    }
}

/// The steps, and how far transfers were when that was last told.
#[derive(Default)]
struct Lines {
    steps: BTreeMap<ActionId, Step>,
    told: BTreeMap<ActionId, u64>,
}

impl Lines {
    fn plan(&mut self, action: ActionId, object: &ObjectRef, op: &'static str) {
        self.steps.insert(action, Step::of(object.to_string(), op));
    }

    fn step(&self, action: ActionId) -> Step {
        self.steps.get(&action).cloned().unwrap_or_else(|| Step::of(String::new(), ""))
    }

    /// Whether a transfer has come to another of `parts` parts since that was last told.
    fn further(&mut self, action: ActionId, done: u64, total: u64, parts: u64) -> Option<u64> {
        let part = done.saturating_mul(parts).checked_div(total)?;
        let told = self.told.entry(action).or_insert(0);
        (part > *told).then(|| {
            *told = part;
            part
        })
    }

    /// A line for people, or for logs that people read.
    fn plain(&mut self, event: &Event) -> Option<String> {
        Some(match event {
            Event::Planned { action, object, op } => {
                self.plan(*action, object, op);
                return None;
            }
            Event::Started { action, object, .. } => format!("{object}: {}…", self.step(*action).doing),
            Event::Bytes { action, done, total } => {
                // The end is told by the step's own end.
                self.further(*action, *done, *total, PARTS).filter(|part| *part < PARTS)?;
                let step = self.step(*action);
                format!("{}: {}, {} of {}", step.object, step.doing, HumanBytes(*done), HumanBytes(*total))
            }
            Event::Finished { action, object, ended: Ended::Done, elapsed } => {
                format!("{object}: {} ({})", self.step(*action).done, seconds(*elapsed))
            }
            Event::Finished { action, object, ended: Ended::Failed(why), elapsed } => {
                format!("{object}: {} failed ({}): {why}", self.step(*action).doing, seconds(*elapsed))
            }
            Event::Skipped { action, object } => {
                format!("{object}: {} was not begun, as a step before it failed", self.step(*action).doing)
            }
        })
    }

    /// A line of JSON; of a transfer, one for each percent.
    fn json(&mut self, event: &Event) -> Option<String> {
        let of = |action: ActionId, step: Step, event: &str| json!({"event": event, "action": action.0, "object": step.object, "op": step.op});
        let (action, name) = match event {
            Event::Planned { action, object, op } => {
                self.plan(*action, object, op);
                return None;
            }
            Event::Started { action, .. } => (*action, "started"),
            Event::Bytes { action, .. } => (*action, "bytes"),
            Event::Finished { action, .. } => (*action, "finished"),
            Event::Skipped { action, .. } => (*action, "skipped"),
        };
        let mut line = of(action, self.step(action), name);
        match event {
            Event::Bytes { done, total, .. } => {
                self.further(action, *done, *total, 100)?;
                line["done"] = json!(done);
                line["total"] = json!(total);
            }
            Event::Finished { ended, elapsed, .. } => {
                line["seconds"] = json!((elapsed.as_secs_f64() * 1000.0).round() / 1000.0);
                line["ok"] = json!(*ended == Ended::Done);
                if let Ended::Failed(why) = ended {
                    line["error"] = json!(why);
                }
            }
            Event::Planned { .. } | Event::Started { .. } | Event::Skipped { .. } => {}
        }
        Some(line.to_string())
    }
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}

/// What is drawn: a line for each step in flight, and one for all of them below.
struct Drawn {
    lines: Lines,
    multi: MultiProgress,
    flying: BTreeMap<ActionId, ProgressBar>,
    all: ProgressBar,
}

impl Drawn {
    fn new(multi: MultiProgress) -> Self {
        let all = multi.add(ProgressBar::new(0));
        all.set_style(style("{bar:24} {pos} of {len} steps  {elapsed}"));
        all.enable_steady_tick(TICK);
        Self { lines: Lines::default(), multi, flying: BTreeMap::new(), all }
    }

    /// Draws it; what is over becomes a line above, which is the answer.
    fn draw(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Planned { .. } => {
                self.all.inc_length(1);
                self.lines.plain(event)
            }
            Event::Started { action, .. } => {
                if self.flying.len() < SHOWN {
                    let step = self.lines.step(*action);
                    let bar = self.multi.insert_before(&self.all, ProgressBar::no_length());
                    bar.set_style(style("{spinner} {prefix}: {msg} {elapsed}"));
                    bar.set_prefix(step.object);
                    bar.set_message(step.doing);
                    bar.enable_steady_tick(TICK);
                    self.flying.insert(*action, bar);
                }
                None
            }
            Event::Bytes { action, done, total } => {
                if let Some(bar) = self.flying.get(action) {
                    if *total > 0 && bar.length() != Some(*total) {
                        bar.set_length(*total);
                        bar.set_style(style(
                            "{spinner} {prefix}: {msg} {bar:24} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
                        ));
                    }
                    bar.set_position(*done);
                }
                None
            }
            Event::Finished { action, .. } | Event::Skipped { action, .. } => {
                if let Some(bar) = self.flying.remove(action) {
                    bar.finish_and_clear();
                    self.multi.remove(&bar);
                }
                self.all.inc(1);
                self.lines.plain(event)
            }
        }
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        for bar in self.flying.values() {
            bar.finish_and_clear();
        }
        self.all.finish_and_clear();
    }
}

/// A style; a template that indicatif can't read shows as its default.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("█▓░")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> ObjectRef {
        text.parse().unwrap()
    }

    fn events() -> Vec<Event> {
        let (web, root) = (object("VirtualMachine/web-1"), object("Volume/root"));
        let bytes = |done| Event::Bytes { action: ActionId(1), done, total: 1 << 20 };
        let ended = |action, object: &ObjectRef, ended, millis| Event::Finished {
            action: ActionId(action),
            object: object.clone(),
            ended,
            elapsed: Duration::from_millis(millis),
        };
        let planned = |action, object: &ObjectRef, op| Event::Planned { action: ActionId(action), object: object.clone(), op };
        vec![
            planned(0, &web, "domain-start"),
            planned(1, &root, "volume-upload"),
            Event::Started { action: ActionId(0), object: web.clone(), op: "domain-start" },
            Event::Started { action: ActionId(1), object: root.clone(), op: "volume-upload" },
            bytes(1),
            bytes(600_000),
            bytes(600_001),
            bytes(1 << 20),
            ended(1, &root, Ended::Done, 2049),
            ended(0, &web, Ended::Failed("no such network".to_owned()), 1234),
            Event::Skipped { action: ActionId(0), object: web },
        ]
    }

    #[test]
    fn without_a_terminal_each_step_has_two_lines() {
        let mut lines = Lines::default();
        let told: Vec<String> = events().iter().filter_map(|event| lines.plain(event)).collect();
        assert_eq!(
            told,
            [
                "VirtualMachine/web-1: starting…",
                "Volume/root: uploading…",
                "Volume/root: uploading, 585.94 KiB of 1.00 MiB",
                "Volume/root: uploaded (2.0 s)",
                "VirtualMachine/web-1: starting failed (1.2 s): no such network",
                "VirtualMachine/web-1: starting was not begun, as a step before it failed",
            ]
        );
    }

    #[test]
    fn lines_of_json_say_the_same() {
        let mut lines = Lines::default();
        let told: Vec<String> = events().iter().filter_map(|event| lines.json(event)).collect();
        assert_eq!(told.len(), 7);
        assert_eq!(told[0], r#"{"event":"started","action":0,"object":"VirtualMachine/web-1","op":"domain-start"}"#);
        let failed = r#"{"event":"finished","action":0,"object":"VirtualMachine/web-1","op":"domain-start","seconds":1.234,"ok":false,"error":"no such network"}"#;
        assert_eq!(told[5], failed);
    }

    #[test]
    fn what_is_drawn_is_one_line_a_step_and_goes_when_it_is_over() {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let mut drawn = Drawn::new(multi);
        let mut above = Vec::new();
        for event in events().into_iter().take(9) {
            above.extend(drawn.draw(&event));
        }
        assert_eq!(above, ["Volume/root: uploaded (2.0 s)"]);
        assert_eq!(drawn.flying.len(), 1);
        assert_eq!((drawn.all.position(), drawn.all.length()), (1, Some(2)));
    }

    #[test]
    fn every_operation_has_words_of_its_own() {
        for op in [
            "domain-start",
            "volume-upload",
            "fetch",
            "inventory",
            "pool-build",
            "network-dhcp-host",
            "network-dhcp-range",
            "network-dns-host",
            "network-patch",
            "network-replug",
            "pool-retarget",
            "domain-block-resize",
        ] {
            assert_ne!(words(op).0, "working", "{op}");
        }
    }
}
