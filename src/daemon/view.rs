//! What the daemon tells of itself: plain values, shared with whoever asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Notify;

use super::metrics::Metrics;
use crate::name::{Name, ObjectRef};
use crate::store::ObjectStatus;

/// The daemon as others see it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Where the manifests come from.
    pub source: String,
    /// The revision that is kept true.
    pub revision: Option<super::Revision>,
    /// Why a newer one is not.
    pub trouble: Option<String>,
    /// The fleet that it keeps; none before the first good manifests.
    pub fleet: Option<uuid::Uuid>,
    /// When it began, RFC 3339.
    pub since: String,
    /// When everything was last looked at.
    pub looked: Option<String>,
    /// How many objects wait for their turn.
    pub waiting: usize,
    /// What is being done.
    pub running: Vec<ObjectRef>,
    /// The nodes, with why one is out of reach.
    pub nodes: BTreeMap<Name, Option<String>>,
    /// What a prune would take down and may not.
    pub unwanted: Vec<ObjectRef>,
    /// How the objects stand.
    pub objects: BTreeMap<ObjectRef, Arc<ObjectStatus>>,
}

/// The view and the figures, shared.
#[derive(Clone)]
pub struct Shared {
    view: Arc<Mutex<View>>,
    turned: Arc<Mutex<Instant>>,
    source: Arc<Notify>,
    /// The figures.
    pub metrics: Arc<Metrics>,
}

impl Shared {
    /// A view of a daemon that begins.
    pub fn new(source: &str, since: jiff::Timestamp) -> Self {
        let view = View { source: source.to_owned(), since: since.to_string(), ..View::default() };
        let turned = Arc::new(Mutex::new(Instant::now()));
        Self { view: Arc::new(Mutex::new(view)), turned, source: Arc::default(), metrics: Arc::new(Metrics::new()) }
    }

    /// The figures as Prometheus reads them. Those of conditions are counted when somebody asks.
    pub(super) fn figures(&self) -> String {
        self.metrics.conditions(self.view().objects.values().map(Arc::as_ref));
        self.metrics.text()
    }

    /// Notified when somebody wants the source to be looked at.
    pub fn source_wanted(&self) -> Arc<Notify> {
        self.source.clone()
    }

    /// The engine turned.
    pub(super) fn turned(&self) {
        *self.turned.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long ago the engine turned.
    pub fn silence(&self) -> Duration {
        self.turned.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// The view, held for as long as the guard is.
    pub fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
