//! The hosts of the nodes, kept from one set of manifests to the next: a connection outlives a commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::host::{Connector, Host};
use crate::name::Name;
use crate::resolve::Desired;

/// The hosts that were made so far.
pub(super) struct Hosts {
    connector: Arc<dyn Connector>,
    known: BTreeMap<Name, (String, Arc<dyn Host>)>,
}

impl Hosts {
    pub(super) fn new(connector: Arc<dyn Connector>) -> Self {
        Self { connector, known: BTreeMap::new() }
    }

    /// The host of a Node: the one that it has already, unless its URI is another now.
    pub(super) fn host(&mut self, name: &Name, uri: &str) -> Arc<dyn Host> {
        match self.known.get(name) {
            Some((known, host)) if known == uri => host.clone(),
            _ => {
                let host = self.connector.host(name, uri);
                self.known.insert(name.clone(), (uri.to_owned(), host.clone()));
                host
            }
        }
    }

    /// Forgets the hosts of Nodes that are no longer wanted.
    pub(super) fn keep(&mut self, desired: &Desired) {
        self.known.retain(|name, _| desired.nodes.contains_key(name));
    }
}
