//! The one place that writes to the terminal.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::MultiProgress;
use tokio::sync::mpsc::UnboundedSender;

use super::args::{Colour, LogFormat};
use crate::daemon::Piece;

/// Standard output and standard error, as a command sees them.
pub(super) struct Out {
    /// Whether to use colour on standard output.
    pub colour: bool,
    /// Whether to use colour on standard error.
    pub colour_err: bool,
    /// Whether a person can be asked.
    pub interactive: bool,
    /// Whether standard error is a terminal that can draw.
    pub draws: bool,
    /// Whether what is told while something goes on is told in lines of JSON.
    pub json: bool,
    /// Where it goes; none: to the terminal.
    pipe: Option<UnboundedSender<Piece>>,
    /// What is drawn at the bottom of the terminal and must make way for text.
    bars: Mutex<Option<MultiProgress>>,
}

impl Out {
    /// Standard output and error, with colour as asked for. `NO_COLOR` is honoured.
    pub(super) fn new(colour: Colour, format: LogFormat) -> Self {
        let wanted = |terminal: bool| match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        Self {
            colour: wanted(out),
            colour_err: wanted(err),
            interactive: std::io::stdin().is_terminal() && err,
            draws: err && std::env::var_os("TERM").is_some_and(|term| term != "dumb"),
            json: format == LogFormat::Json,
            pipe: None,
            bars: Mutex::new(None),
        }
    }

    /// Output that somebody else shows.
    pub(super) fn piped(to: UnboundedSender<Piece>, colour: bool) -> Self {
        Self { colour, colour_err: colour, interactive: false, draws: false, json: false, pipe: Some(to), bars: Mutex::new(None) }
    }

    /// Waits until nobody shows the output any more; for ever where that is a terminal's.
    pub(super) async fn deserted(&self) {
        match &self.pipe {
            Some(pipe) => pipe.closed().await,
            None => std::future::pending().await,
        }
    }

    /// Writes to standard output.
    pub(super) fn print(&self, text: &str) {
        if let Some(pipe) = &self.pipe {
            // Whoever shows it may have gone.
            let _ = pipe.send(Piece::Out(text.to_owned()));
            return;
        }
        self.aside(|| write(&mut std::io::stdout().lock(), text));
    }

    /// Prints a value as JSON.
    pub(super) fn json(&self, value: &impl serde::Serialize) {
        self.print(&format!("{}\n", serde_json::to_string_pretty(value).unwrap_or_default()));
    }

    /// Writes bytes to standard output, whatever they are.
    pub(super) fn bytes(&self, bytes: &[u8]) {
        if self.pipe.is_some() {
            return self.print(&String::from_utf8_lossy(bytes));
        }
        self.aside(|| {
            let mut to = std::io::stdout().lock();
            // Whoever reads it may have gone.
            let _ = to.write_all(bytes);
            let _ = to.flush();
        });
    }

    /// Writes to standard error.
    pub(super) fn say(&self, text: &str) {
        if let Some(pipe) = &self.pipe {
            let _ = pipe.send(Piece::Err(text.to_owned()));
            return;
        }
        self.aside(|| write(&mut std::io::stderr().lock(), text));
    }

    /// Has text make what is drawn step aside from now on; none: nothing is drawn any more.
    pub(super) fn draw(&self, bars: Option<MultiProgress>) {
        *self.bars.lock().unwrap_or_else(PoisonError::into_inner) = bars;
    }

    /// One writer at a time, with nothing drawn in its way.
    fn aside(&self, write: impl FnOnce()) {
        let bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        match &*bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Asks a question on the terminal and reads the answer.
    pub(super) fn ask(&self, question: &str) -> String {
        self.say(question);
        let mut answer = String::new();
        let _ = std::io::stdin().read_line(&mut answer);
        answer.trim().to_owned()
    }
}

fn write(to: &mut impl Write, text: &str) {
    // Whoever reads it may have gone.
    let _ = to.write_all(text.as_bytes());
    let _ = to.flush();
}
