//! The planner: what is to be done so that what is becomes what is wanted. Pure and synchronous.

mod action;
mod owned;

pub use action::{Action, ActionId, Expect, Lane, Op, Precondition, Record, SeedBytes, UploadSource};
pub use owned::{Entry, Intent, NodeRecord, Owned, SecretRef, TemplateRecord, VolumeRecord};
