//! How a run is shown while it goes on: plain lines.

use std::sync::Arc;

use super::output::Out;
use crate::apply::progress::{Ended, Event, Sink};
use crate::plan::Plan;

/// What is shown until a run ends.
pub(super) struct Bars;

impl Bars {
    /// Takes it away.
    pub(super) fn finish(self) {}
}

/// A sink that shows events.
pub(super) fn sink(out: &Arc<Out>, plan: &Plan) -> (Sink, Bars) {
    let out = out.clone();
    let words: Vec<&'static str> = plan.actions.iter().map(|action| action.op.word()).collect();
    let sink = Sink::new(move |event| match event {
        Event::Started { .. } | Event::Bytes { .. } | Event::Skipped { .. } => {}
        Event::Finished { action, object, ended, elapsed } => {
            let word = words.get(action.0).copied().unwrap_or_default();
            let end = match ended {
                Ended::Done => "done".to_owned(),
                Ended::Failed(why) => format!("failed: {why}"),
            };
            out.say(&format!("{object}: {word} {end} ({:.1} s)\n", elapsed.as_secs_f64()));
        }
    });
    (sink, Bars)
}
