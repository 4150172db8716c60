//! Errors as a person reads them: what failed, why, what to do, and which exit code it means.

use std::io::ErrorKind;

use super::exit::Exit;
use crate::source::GatherError;
use crate::store::{KvError, StoreError};

/// A command's end without its work done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandError {
    /// The exit code.
    pub exit: Exit,
    /// What failed and why; empty where it was said already.
    pub message: String,
    /// What to do.
    pub help: Vec<String>,
}

impl CommandError {
    /// An error.
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: Vec::new() }
    }

    /// With what to do.
    #[must_use]
    pub(super) fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// It was said already: only the code is left.
    pub(super) fn said(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// As printed.
    pub(super) fn render(&self, colour: bool) -> String {
        if self.message.is_empty() {
            return String::new();
        }
        let word = if colour { "\u{1b}[1;31merror:\u{1b}[0m" } else { "error:" };
        let mut text = format!("{word} {}\n", self.message);
        for help in &self.help {
            text.push_str("  help: ");
            text.push_str(help);
            text.push('\n');
        }
        text
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        const READ_ONLY: &str = "have the state directory writable, or choose another with --state-dir";
        const FULL: &str = "make room where the state directory lies, or choose another with --state-dir";
        let help = match &error {
            StoreError::Io { source, .. } => match source.kind() {
                ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Some(READ_ONLY),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(FULL),
                _ => None,
            },
            StoreError::Kv(KvError::ReadOnly) => Some(READ_ONLY),
            StoreError::Kv(KvError::Full) => Some(FULL),
            _ => None,
        };
        Self { help: help.map(str::to_owned).into_iter().collect(), ..Self::new(Exit::Error, error.to_string()) }
    }
}

impl From<GatherError> for CommandError {
    fn from(error: GatherError) -> Self {
        match error {
            GatherError::Store(error) => error.into(),
            GatherError::Root { .. } => Self::new(Exit::Error, error.to_string()),
        }
    }
}
