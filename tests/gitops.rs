//! Where a daemon's manifests come from: real repositories, real folders, real notifications of the system.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::type_complexity,
    unreachable_pub,
    reason = "tests: what fails must be loud, and what is left out is said"
)]

#[path = "gitops/fetched.rs"]
mod fetched;
#[path = "gitops/ground.rs"]
mod ground;
#[path = "gitops/hostile.rs"]
mod hostile;
#[path = "repo/mod.rs"]
mod repo;
#[path = "gitops/watched.rs"]
mod watched;
