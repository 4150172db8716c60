//! `jvp export`: manifests of what is there on the nodes and isn't jvp's, which adopt it as it is.

mod command;
mod find;
mod names;
mod write;

pub(super) use command::export;
