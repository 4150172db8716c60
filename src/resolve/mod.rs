//! Documents → Desired: expansion over nodes, references, checks. Pure.

mod desired;
mod expand;

pub use desired::{Desired, DesiredNode, Reference, Wanted, claim, templates_pool, volume_file};
pub use expand::{Implied, Problem, default_reclaim, expand};
