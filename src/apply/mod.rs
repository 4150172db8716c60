//! Apply: plans carried out, step by step, each verified by reading back.

mod controller;
mod failpoint;
mod fresh;
mod metadata;
mod observe;
pub mod progress;
mod ready;
mod rounds;
mod run;
mod step;
mod workspace;

pub use metadata::write_metadata;
pub use observe::observe;
pub use ready::{Condition, Status, Subject, is_local, read};
pub use rounds::{End, Outlook, ROUNDS, Rounds, Seen, refresh, settle};
pub use run::{DEFAULT_PARALLELISM, Halt, Outcome, run};
pub use step::{Failure, FailureKind, Local, World};
pub use workspace::Workspace;
