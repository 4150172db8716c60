//! The one place that writes to the terminal.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use super::args::Colour;

/// Standard output and standard error, as a command sees them.
pub(super) struct Out {
    /// Whether to use colour on standard output.
    pub colour: bool,
    /// Whether to use colour on standard error.
    pub colour_err: bool,
    /// Whether a person can be asked.
    pub interactive: bool,
    lock: Mutex<()>,
}

impl Out {
    /// Standard output and error, with colour as asked for. `NO_COLOR` is honoured.
    pub(super) fn new(colour: Colour) -> Self {
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
            lock: Mutex::new(()),
        }
    }

    /// Writes to standard output.
    pub(super) fn print(&self, text: &str) {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stdout().lock();
        // Whoever reads it may have gone.
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }

    /// Writes to standard error.
    pub(super) fn say(&self, text: &str) {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut err = std::io::stderr().lock();
        let _ = err.write_all(text.as_bytes());
        let _ = err.flush();
    }

    /// Asks a question on the terminal and reads the answer.
    pub(super) fn ask(&self, question: &str) -> String {
        self.say(question);
        let mut answer = String::new();
        let _ = std::io::stdin().read_line(&mut answer);
        answer.trim().to_owned()
    }
}
