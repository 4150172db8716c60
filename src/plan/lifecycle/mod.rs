//! What the words of `lifecycle` make of the planner's inputs, before a kind's planner looks at them.
//!
//! A kind knows nothing of these words: it plans what it is shown. What is adopted is shown to it as its own, what was renamed
//! under its new name, and what is ignored not at all.

mod adopt;
mod ignore;
mod prepare;
mod rename;
mod watch;

pub(super) use adopt::adopt_alone;
pub(super) use prepare::{Prepared, begin, prepare};
pub(super) use watch::watched;
