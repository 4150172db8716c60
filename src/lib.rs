//! jvp keeps virtual machines on plain libvirt exactly as a Git checkout says.

pub mod manifest;
pub mod name;
