//! The daemon's figures, in Prometheus' form.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::cause::Cause;

/// Why it was looked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    cause: &'static str,
    scope: &'static str,
}

/// What was done, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Step {
    op: &'static str,
    outcome: &'static str,
}

/// How drift was found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Found {
    by: &'static str,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Condition {
    condition: String,
}

/// The source as it is kept true.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kept {
    source: String,
    revision: String,
    author: String,
    subject: String,
}

/// All figures.
pub struct Metrics {
    registry: Registry,
    looks: Family<Why, Counter>,
    look_seconds: Family<Why, Histogram, fn() -> Histogram>,
    steps: Family<Step, Counter>,
    drift: Family<Found, Counter>,
    objects: Family<Condition, Gauge>,
    source: Family<Kept, Gauge>,
    failed_fetches: Counter,
    hints: Counter,
    queue: Gauge,
    running: Gauge,
    last_look: Gauge<f64, AtomicU64>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 9))
}

impl Metrics {
    /// Figures that all stand at nothing.
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("jvp");
        let all = Self {
            looks: Family::default(),
            look_seconds: Family::new_with_constructor(buckets),
            steps: Family::default(),
            drift: Family::default(),
            objects: Family::default(),
            source: Family::default(),
            failed_fetches: Counter::default(),
            hints: Counter::default(),
            queue: Gauge::default(),
            running: Gauge::default(),
            last_look: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("looks", "Looks at nodes, by what made the daemon look", all.looks.clone());
        registry.register_with_unit(
            "look",
            "How long a look took, with its plan and what was recorded of it",
            Unit::Seconds,
            all.look_seconds.clone(),
        );
        registry.register("steps", "Steps that were carried out, by how they ended", all.steps.clone());
        registry.register("drift", "Objects that others had changed, by how that was found", all.drift.clone());
        registry.register("objects", "Objects of which a condition is true", all.objects.clone());
        registry.register("source_info", "The revision that is kept true", all.source.clone());
        registry.register("source_failures", "Trees that could not be had or read", all.failed_fetches.clone());
        registry.register("events", "Hints of libvirt's that were about objects of ours", all.hints.clone());
        registry.register("queue_depth", "Objects that wait for their turn", all.queue.clone());
        registry.register("runs_in_flight", "Runs that are under way", all.running.clone());
        let time = "When everything was last looked at";
        registry.register_with_unit("last_full_look_timestamp", time, Unit::Seconds, all.last_look.clone());
        Self { registry, ..all }
    }

    /// As Prometheus reads them.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string doesn't fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    pub(super) fn looked(&self, cause: Cause, everything: bool, took: Duration) {
        let why = Why { cause: cause.word(), scope: if everything { "everything" } else { "object" } };
        self.looks.get_or_create(&why).inc();
        self.look_seconds.get_or_create(&why).observe(took.as_secs_f64());
        if everything {
            let now = jiff::Timestamp::now();
            self.last_look.set(now.as_duration().as_secs_f64());
        }
    }

    pub(super) fn stepped(&self, op: &'static str, done: bool) {
        self.steps.get_or_create(&Step { op, outcome: if done { "done" } else { "failed" } }).inc();
    }

    pub(super) fn drifted(&self, by: Cause) {
        self.drift.get_or_create(&Found { by: by.word() }).inc();
    }

    pub(super) fn hinted(&self, count: usize) {
        self.hints.inc_by(count as u64);
    }

    pub(super) fn source_failed(&self) {
        self.failed_fetches.inc();
    }

    pub(super) fn kept(&self, source: &str, revision: &super::Revision) {
        self.source.clear();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let source = Kept {
            source: source.to_owned(),
            revision: revision.id.clone(),
            author: text(&revision.author),
            subject: text(&revision.subject),
        };
        self.source.get_or_create(&source).set(1);
    }

    pub(super) fn stands(&self, queue: usize, running: usize) {
        self.queue.set(i64::try_from(queue).unwrap_or(i64::MAX));
        self.running.set(i64::try_from(running).unwrap_or(i64::MAX));
    }

    pub(super) fn conditions<'a>(&self, all: impl Iterator<Item = &'a crate::store::ObjectStatus>) {
        let mut counts: std::collections::BTreeMap<&str, i64> = std::collections::BTreeMap::new();
        for condition in all.flat_map(|status| &status.conditions) {
            let so = condition.status == crate::store::ConditionStatus::True;
            *counts.entry(&condition.name).or_default() += i64::from(so);
        }
        self.objects.clear();
        for (name, count) in counts {
            self.objects.get_or_create(&Condition { condition: name.to_owned() }).set(count);
        }
    }
}
