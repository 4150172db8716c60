//! libvirt's refusals, with its codes and words, and what they mean.
//!
//! The meanings are written once more here, not taken from the real side: the conformance suite tells where the two differ.

use crate::host::{ErrorKind, HostError};

/// An error of libvirt's.
pub fn libvirt(kind: ErrorKind, code: i32, message: impl Into<String>) -> HostError {
    HostError { kind, code, message: message.into() }
}

/// 55: not in this state.
pub(super) fn invalid(message: impl Into<String>) -> HostError {
    libvirt(ErrorKind::InvalidState, 55, message)
}

/// 9: the operation failed because there is one already.
pub(super) fn exists(message: impl Into<String>) -> HostError {
    libvirt(ErrorKind::Exists, 9, message)
}

/// 38: errno said that a file isn't there.
pub(super) fn no_file(message: impl Into<String>) -> HostError {
    libvirt(ErrorKind::NotFound, 38, format!("{}: No such file or directory", message.into()))
}

/// 27: the document is wrong.
pub(super) fn xml(message: impl Into<String>) -> HostError {
    libvirt(ErrorKind::Failed, 27, message)
}

/// 67: such a configuration can't be.
pub(super) fn unsupported_config(message: impl Into<String>) -> HostError {
    libvirt(ErrorKind::Failed, 67, message)
}

/// 42: no such domain.
pub(super) fn no_domain(message: impl Into<String>) -> HostError {
    libvirt(ErrorKind::NotFound, 42, message)
}

/// 43: no such network.
pub(super) fn no_network(name: &str) -> HostError {
    libvirt(ErrorKind::NotFound, 43, format!("no network with matching name '{name}'"))
}

/// 49: no such pool.
pub(super) fn no_pool(name: &str) -> HostError {
    libvirt(ErrorKind::NotFound, 49, format!("no storage pool with matching name '{name}'"))
}

/// 50: no such volume.
pub(super) fn no_volume(name: &str) -> HostError {
    libvirt(ErrorKind::NotFound, 50, format!("no storage vol with matching name '{name}'"))
}

/// The node can't be reached.
pub(super) fn unreachable() -> HostError {
    libvirt(ErrorKind::Unreachable, 38, "failed to connect socket to '/var/run/libvirt/libvirt-sock': Connection refused")
}

/// Nobody knows whether it happened.
pub(super) fn unknown() -> HostError {
    libvirt(ErrorKind::Unknown, 0, "no answer from libvirt within 30 s")
}

/// Names the object, unless the message does already.
pub(super) fn named(mut error: HostError, object: &str, name: &str) -> HostError {
    if !error.message.contains(&format!("'{name}'")) && error.kind != ErrorKind::Unreachable {
        error.message = format!("{object} '{name}': {}", error.message);
    }
    error
}
