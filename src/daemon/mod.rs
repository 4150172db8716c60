//! The daemon: what a checkout says is kept true, continuously. The same pipeline as an apply's, on triggers.
//!
//! A trigger carries no data: whatever woke the daemon, it looks again. An event or a saved file has its own objects looked at, with
//! what they need and nothing else, and what takes nothing from anybody is done at once. Whatever could lose data, stop or disconnect
//! comes out of a full look only. Nothing is done on the ground of what was read before the last trigger of its object.
//!
//! # Flow
//! `engine` owns all state and never waits: it starts looks (`look`) and runs (`act`) as tasks, which send what came of them back.
//! `queue` says whose turn it is, `claims` what may run side by side, `near` what a small look sees, `findings` what it means.
//!
//! Absent: knowledge of where manifests come from ([`Supply`]), of terminals, and of how a command is carried out by hand.

mod act;
mod api;
mod cause;
mod claims;
mod engine;
mod findings;
mod guests;
mod hosts;
mod look;
mod metrics;
mod near;
mod options;
mod place;
mod queue;
mod restarts;
pub mod service;
mod supply;
mod view;

pub use api::{Api, ApiError, Command, Hand, Piece, SOCKET};
pub use cause::Cause;
pub use claims::Claims;
pub use engine::{Ask, Asks, Daemon, Hold, Summary};
pub use findings::CONDITIONS;
pub use metrics::Metrics;
pub use options::{Clock, Options};
pub use place::Place;
pub use supply::{News, Revision, Supply, Tree};
pub use view::{Shared, View};
