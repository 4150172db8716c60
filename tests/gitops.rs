//! Where a daemon's manifests come from: real repositories, real folders, real notifications of the system.

#![expect(clippy::unwrap_used, reason = "a test that can't prepare its ground has failed")]

#[path = "gitops/fetched.rs"]
mod fetched;
#[path = "gitops/ground.rs"]
mod ground;
#[path = "gitops/hostile.rs"]
mod hostile;
#[path = "gitops/watched.rs"]
mod watched;
