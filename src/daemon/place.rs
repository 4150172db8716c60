//! The place of a command beside the daemon's runs: as they are beside each other, it waits for those that concern it, and they for it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::claims::Claims;
use super::engine::{Ask, Asks, Hold};
use crate::name::ObjectRef;

/// A command's place.
pub struct Place {
    asks: Asks,
    held: Mutex<Option<Hold>>,
}

impl Place {
    /// The place of a command that the daemon knows nothing of yet.
    pub fn new(asks: Asks) -> Self {
        Self { asks, held: Mutex::new(None) }
    }

    /// Waits until no run is under way that concerns this. From then on the daemon begins nothing. False where it ends.
    pub async fn hold(&self, claims: Claims) -> bool {
        // One that waits holds up nobody.
        self.leave();
        let (answer, held) = oneshot::channel();
        if !self.asks.ask(Ask::Hold(claims, answer)).await {
            return false;
        }
        let held = held.await.ok();
        let is_held = held.is_some();
        self.keep(held);
        is_held
    }

    /// What of this a run has in hand.
    pub fn in_hand(&self, claims: &Claims) -> BTreeSet<ObjectRef> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|held| held.in_hand(claims)).unwrap_or_default()
    }

    /// Has the daemon go on with all that has nothing to do with this, which is all that is done from now on.
    pub async fn narrow(&self, claims: Claims) {
        self.asks.ask(Ask::Narrow(claims)).await;
    }

    /// Has the daemon go on.
    pub fn leave(&self) {
        self.keep(None);
    }

    fn keep(&self, held: Option<Hold>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }
}
