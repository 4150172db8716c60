//! A checkout as the daemon's source of manifests: refreshed when it may have changed, and taken only without an error in it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::command::DaemonArgs;
use crate::cli::args::Global;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::session::{check_again, fleet_of};
use crate::daemon::{News, Revision, Supply, Tree};
use crate::diag;
use crate::gitops::{self, Checkout, SourceSpec, Watch};
use crate::resolve::Memo;
use crate::store::{StateDir, Store};

/// The first pause after trouble; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after trouble.
const PAUSE_MOST: Duration = Duration::from_mins(1);

/// A checkout that is watched.
pub(super) struct FromCheckout {
    checkout: Checkout,
    watch: Option<Watch>,
    /// Somebody wants the source to be looked at.
    wanted: Arc<Notify>,
    global: Global,
    store: Store,
    ready: VecDeque<News>,
    begun: bool,
    troubles: u32,
    /// The tree that was told last: its revision and its digest.
    told: Option<(String, String)>,
    memo: Memo,
}

impl FromCheckout {
    /// Opens the source; nothing is read yet.
    pub(super) fn open(
        source: SourceSpec,
        state: &StateDir,
        args: &DaemonArgs,
        global: &Global,
        store: Store,
        wanted: Arc<Notify>,
    ) -> Result<Self, CommandError> {
        let options = gitops::Options {
            interval: args.interval,
            verify_commits: args.verify_commits.clone(),
            ..gitops::Options::default()
        };
        let checkout =
            Checkout::open(source, state, options).map_err(|failure| CommandError::new(Exit::Error, failure.to_string()))?;
        let (ready, global) = (VecDeque::new(), global.clone());
        Ok(Self {
            checkout,
            watch: None,
            wanted,
            global,
            store,
            ready,
            begun: false,
            troubles: 0,
            told: None,
            memo: Memo::default(),
        })
    }

    /// Waits until the source may be another.
    async fn wait(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        let pause = match self.troubles {
            0 => None,
            times => Some(PAUSE.saturating_mul(1_u32.checked_shl(times - 1).unwrap_or(u32::MAX)).min(PAUSE_MOST)),
        };
        let again = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            tick = watch.tick() => tracing::debug!(files = tick.files.len(), lost = tick.lost, "the source changed"),
            () = self.wanted.notified() => {}
            () = again => {}
        }
    }

    async fn refresh(&mut self) {
        let trouble = match self.checkout.refresh().await {
            Ok(tree) if self.troubles == 0 && self.told.as_ref() == Some(&identity(&tree)) => return,
            Ok(tree) => match self.judged(&tree) {
                Ok(good) => {
                    if let Err(failure) = self.checkout.accept(&tree).await {
                        tracing::warn!(%failure, "the next start knows no last good tree");
                    }
                    self.troubles = 0;
                    self.told = Some(identity(&tree));
                    self.ready.push_back(News::Tree(Box::new(good)));
                    return;
                }
                Err(why) => format!("{}: {why}", tree.revision.id),
            },
            Err(trouble) => trouble.to_string(),
        };
        self.troubles = self.troubles.saturating_add(1);
        // After a start the last good tree is kept true while the newest can't be had.
        if !self.begun
            && let Some(last) = self.checkout.accepted().await
            && let Ok(good) = self.judged(&last)
        {
            self.ready.push_back(News::Tree(Box::new(good)));
        }
        self.ready.push_back(News::Trouble(trouble));
    }

    /// A tree as it is kept true; else all that is wrong with it.
    fn judged(&mut self, tree: &gitops::Tree) -> Result<Tree, String> {
        let mut set = (*tree.set).clone();
        // A set without a Fleet gets an id at its first use.
        let fleet = || fleet_of(&self.store).ok().map(|(id, _)| id);
        let desired = check_again(&mut set, &self.global, fleet, &mut self.memo).0;
        if diag::has_errors(&set.diagnostics) {
            return Err(diag::render::render(diag::render::Format::Concise, &set.diagnostics, &set.sources, false));
        }
        let revision = Revision {
            id: tree.revision.id.clone(),
            author: tree.revision.author.clone(),
            subject: tree.revision.subject.clone(),
        };
        Ok(Tree { set, desired, revision, hold: Box::new(tree.clone()) })
    }
}

/// Two trees that have this in common are one.
fn identity(tree: &gitops::Tree) -> (String, String) {
    (tree.revision.id.clone(), tree.digest.clone())
}

#[async_trait]
impl Supply for FromCheckout {
    async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.ready.pop_front() {
                self.begun = true;
                return news;
            }
            if self.watch.is_none() {
                // What changes after this is told; so watch first, then read.
                self.watch = Some(self.checkout.watch().await);
            } else {
                self.wait().await;
            }
            self.refresh().await;
        }
    }
}
