//! Documents → Desired: expansion over nodes, references, checks. Pure.

mod checks;
mod desired;
mod expand;
mod memo;
mod order;
#[cfg(test)]
mod tests;

pub use checks::{check_document, check_set, uri_refused};
pub use desired::{Desired, DesiredNode, Reference, Wanted, claim, templates_pool, volume_file};
pub use expand::{Implied, Problem, default_reclaim, expand};
pub use memo::Memo;
