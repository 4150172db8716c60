//! Observed: plain values of what a node has, read out of what a host answered. Pure.

mod raw;

pub use raw::{OffReason, PowerState, RawDomain, RawHost, RawLease, RawNetwork, RawNode, RawPool, RawVolume, Scope, Target};
