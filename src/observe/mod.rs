//! Observed: plain values of what a node has, read out of what a host answered. Pure.

mod node;
mod raw;
mod renew;

pub use node::{DomainState, HostState, NetworkState, NodeState, NodeView, Observed, PoolState, Saved, User};
pub use raw::{OffReason, PowerState, RawDomain, RawHost, RawLease, RawNetwork, RawNode, RawPool, RawVolume, Scope, Target};
