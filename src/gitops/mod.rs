//! Where a daemon's manifests come from: a folder or a branch of a Git repository, always as a whole tree, and what tells that
//! there is another.
//!
//! A tree is whole: it was read between two looks that saw the same, or was put in its place by one rename. What is half there,
//! gone, empty or not signed is a [`Trouble`], never a tree. *Absent:* judgement of what the manifests say. Whoever takes a tree for
//! good says so by [`Checkout::accept`], and gets it back while there is trouble.
//!
//! `git` runs here and nowhere else, with no configuration but ours: nothing of a repository, of a commit or of the user's
//! configuration is ever executed.

mod checkout;
mod extract;
mod git;
mod local;
mod repository;
mod revision;
mod settle;
mod spec;
mod trouble;
mod watch;
mod watcher;

pub use checkout::{Checkout, Options};
pub use revision::{Revision, Tree};
pub use spec::{InvalidSource, SourceSpec};
pub use trouble::{Failure, Trouble};
pub use watch::{Tick, Watch};
