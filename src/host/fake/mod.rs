//! A node in memory that answers as a real libvirt was seen to, and fails on purpose.
//!
//! It must not use `xml/`: what is wrong there would look right here. What it answers is held to recorded answers of a real
//! libvirt by the conformance suite. Users don't meet it: the CLI takes `fake:` URIs only in its own tests.

mod capabilities;
mod console;
mod domain;
mod error;
mod faults;
mod handle;
mod network;
mod network_entries;
mod pool;
mod read;
mod schema;
mod state;
#[cfg(test)]
mod tests;
mod tree;
mod units;
mod volume;

pub use error::libvirt as libvirt_error;
pub use faults::{Call, Gate, How, When};
pub use handle::{FakeConnector, FakeHost};
pub use state::{Domain, File, Lease, Manners, Network, Pool, Power, State};
pub use tree::{Element, Node};
