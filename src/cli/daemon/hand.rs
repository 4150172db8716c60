//! Commands that are carried out in the daemon, beside its own runs: as if they were run by themselves, on the ledger that it holds.

use std::sync::Arc;

use async_trait::async_trait;
use clap::Parser;
use tokio::sync::mpsc;

use crate::cli::args::{Cli, Global};
use crate::cli::exit::Exit;
use crate::cli::output::Out;
use crate::cli::session::Held;
use crate::daemon::{Command, Hand, Piece, Place};
use crate::store::Store;

/// Carries commands out.
pub(super) struct CommandLine {
    store: Store,
    global: Global,
}

impl CommandLine {
    /// On a store, with what the daemon was told itself about nodes and the state directory.
    pub(super) fn new(store: Store, global: &Global) -> Self {
        Self { store, global: global.clone() }
    }
}

#[async_trait]
impl Hand for CommandLine {
    async fn run(&self, command: Command, place: Arc<Place>, tell: mpsc::UnboundedSender<Piece>) -> u8 {
        let Command { words, folder, colour, who } = command;
        let mut cli = match Cli::try_parse_from(std::iter::once("jvp".to_owned()).chain(words)) {
            Ok(cli) => cli,
            Err(error) => {
                let _ = tell.send(Piece::Err(error.to_string()));
                return Exit::Usage.code();
            }
        };
        cli.global.state_dir.clone_from(&self.global.state_dir);
        cli.global.connect = cli.global.connect.or_else(|| self.global.connect.clone());
        cli.global.held = Held::Here { store: self.store.clone(), who, place };
        super::client::from_folder(&mut cli.command, &folder);
        let out = Arc::new(Out::piped(tell, colour));
        // A command has a runtime of its own, as it has when it is run by itself.
        let (done, code) = tokio::sync::oneshot::channel();
        let started = std::thread::Builder::new().name("jvp-hand".into()).spawn(move || {
            let _ = done.send(crate::cli::dispatch(&cli, &out));
        });
        match started {
            Ok(_) => code.await.unwrap_or(Exit::Error.code()),
            Err(error) => {
                tracing::error!(%error, "no thread for a command");
                Exit::Error.code()
            }
        }
    }
}
