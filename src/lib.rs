//! jvp keeps virtual machines on plain libvirt exactly as a Git checkout says.

pub mod apply;
pub mod cli;
pub mod daemon;
pub mod diag;
pub mod gitops;
pub mod host;
pub mod image;
pub mod manifest;
pub mod name;
pub mod observe;
pub mod plan;
pub mod resolve;
pub mod seed;
pub mod source;
pub mod store;
pub mod xml;
