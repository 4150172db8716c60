//! `jvp daemon` and what is asked of one: `status`, `events`, and commands that are carried out beside it.

mod client;
mod command;
mod conditions;
mod config;
mod events;
mod hand;
mod status;
mod supply;

pub(super) use client::{beside, hand_over};
pub(super) use command::{DaemonArgs, daemon};
pub(super) use conditions::{Kept, Standing, standing};
pub(super) use config::words as with_config;
pub(super) use events::{EventsArgs, events};
pub(super) use status::{StatusArgs, status};
