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
mod settle;
mod step;
mod walk;
mod workspace;

pub use metadata::write_metadata;
pub use observe::{Before, Late, Patience, Sight, observe};
pub use ready::{Condition, Status, Subject, is_local, read};
pub use rounds::{End, Outlook, ROUNDS, Rounds, Seen};
pub use run::{DEFAULT_PARALLELISM, Halt, Outcome, run};
pub use settle::{pools_to_refresh, refresh_pools, settle};
pub use step::{Failure, FailureKind, Local, World};
pub use workspace::Workspace;
