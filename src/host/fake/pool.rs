//! Pools as libvirt keeps them: a definition, and the files that it last saw in a folder.
//!
//! A stopped or forgotten pool leaves its files on the node; whoever defines one over that folder sees them again.

use uuid::Uuid;

use crate::host::HostError;

use super::error::{exists, invalid, libvirt, no_file, no_pool, xml};
use super::schema::Schema;
use super::state::{Pool, State};
use super::tree::Element;
use crate::host::ErrorKind;

impl State {
    /// `virsh pool-define`.
    pub fn pool_define(&mut self, text: &str) -> Result<Uuid, HostError> {
        let mut document = Element::parse(text).map_err(xml)?;
        if document.name != "pool" {
            return Err(xml(format!("unexpected root element <{}>, expecting <pool>", document.name)));
        }
        let name = document.child_text("name").unwrap_or_default();
        let path = clean(&document.at(&["target", "path"]).map(Element::text).unwrap_or_default());
        let given = given_uuid(&document)?;
        // libvirt looks for another pool on the folder before it looks at names and UUIDs.
        if let Some((other, _)) = self.pools.iter().find(|(other, pool)| **other != name && pool.path == path) {
            return Err(exists(format!("Storage source conflict with pool: '{other}'")));
        }
        if let Some((other, pool)) = self.pools.iter().find(|(other, pool)| **other != name && given == Some(pool.uuid)) {
            return Err(exists(format!("pool '{other}' is already defined with uuid {}", pool.uuid)));
        }
        if let Some(pool) = self.pools.get(&name).filter(|pool| given != Some(pool.uuid)) {
            return Err(exists(format!("pool '{name}' already exists with uuid {}", pool.uuid)));
        }
        let uuid = given.unwrap_or_else(|| self.make_uuid(&format!("pool {name}")));
        document.remove("uuid");
        document.push(Element::new("uuid").with_text(&uuid.to_string()));
        for measured in ["capacity", "allocation", "available"] {
            document.remove(measured);
        }
        document.edit("target", |target| {
            target.remove("path");
            target.push(Element::new("path").with_text(&path));
        });
        document.edit("source", |_| {});
        Schema::Pool.settle(&mut document);
        let printed = document.print();
        if let Some(pool) = self.pools.get_mut(&name) {
            pool.xml = printed;
            pool.persistent = true;
            if !pool.active {
                pool.path = path;
            }
        } else {
            let pool = Pool {
                uuid,
                active: false,
                autostart: false,
                persistent: true,
                xml: printed,
                path,
                known: std::collections::BTreeMap::new(),
                seen: false,
            };
            self.pools.insert(name.clone(), pool);
        }
        self.tell_pool(&name, "defined");
        Ok(uuid)
    }

    /// `virsh pool-build`: makes the folder and those above it.
    pub fn pool_build(&mut self, name: &str) -> Result<(), HostError> {
        let pool = self.pool(name)?;
        if pool.active {
            return Err(invalid(format!("storage pool '{name}' is already active")));
        }
        let path = pool.path.clone();
        let mut at = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at.push('/');
            at.push_str(part);
            if self.files.contains_key(&at) {
                return Err(libvirt(ErrorKind::Failed, 38, format!("cannot create path '{path}': Not a directory")));
            }
            self.folders.insert(at.clone());
        }
        self.tell_pool(name, "built");
        Ok(())
    }

    /// `virsh pool-start`.
    pub fn pool_start(&mut self, name: &str) -> Result<(), HostError> {
        let pool = self.pool(name)?;
        if pool.active {
            return Err(invalid(format!("storage pool '{name}' is already active")));
        }
        let path = pool.path.clone();
        if !self.folders.contains(&path) {
            return Err(no_file(format!("cannot open directory '{path}'")));
        }
        if let Some(pool) = self.pools.get_mut(name) {
            pool.active = true;
            pool.seen = true;
        }
        self.look(name);
        self.tell_pool(name, "started");
        Ok(())
    }

    /// `virsh pool-autostart`.
    pub fn pool_autostart(&mut self, name: &str, on: bool) -> Result<(), HostError> {
        let pool = self.pool_mut(name)?;
        if !pool.persistent {
            return Err(libvirt(ErrorKind::Failed, 1, "pool has no config file"));
        }
        pool.autostart = on;
        Ok(())
    }

    /// `virsh pool-refresh`.
    pub fn pool_refresh(&mut self, name: &str) -> Result<(), HostError> {
        self.active_pool(name)?;
        self.look(name);
        self.tell_pool(name, "refreshed");
        Ok(())
    }

    /// `virsh pool-destroy`: guests that use it are not asked.
    pub fn pool_stop(&mut self, name: &str) -> Result<(), HostError> {
        self.active_pool(name)?;
        let pool = self.pool_mut(name)?;
        pool.active = false;
        pool.known.clear();
        let path = Element::parse(&pool.xml).ok().and_then(|document| document.at(&["target", "path"]).map(Element::text));
        pool.path = path.unwrap_or_default();
        if !pool.persistent {
            self.pools.remove(name);
        }
        self.tell_pool(name, "stopped");
        Ok(())
    }

    /// `virsh pool-undefine`.
    pub fn pool_undefine(&mut self, name: &str) -> Result<(), HostError> {
        if self.pool(name)?.active {
            return Err(invalid(format!("storage pool '{name}' is still active")));
        }
        self.pools.remove(name);
        self.tell_pool(name, "undefined");
        Ok(())
    }

    /// What `virsh pool-dumpxml --inactive` shows.
    pub(super) fn pool_document(&self, pool: &Pool) -> String {
        let Ok(mut document) = Element::parse(&pool.xml) else { return pool.xml.clone() };
        let total: u64 = if pool.active { 200 << 30 } else { 0 };
        let used: u64 = if pool.active { self.files_in(&pool.path).map(|(_, file)| file.allocation).sum() } else { 0 };
        for (name, bytes) in [("capacity", total), ("allocation", used), ("available", total.saturating_sub(used))] {
            document.push(Element::new(name).with("unit", "bytes").with_text(&bytes.to_string()));
        }
        if pool.seen {
            document.edit("target", |target| {
                target.edit("permissions", |permissions| {
                    let mode = permissions.child_text("mode").unwrap_or_else(|| "0711".to_owned());
                    for (name, text) in [("mode", mode.as_str()), ("owner", "0"), ("group", "0")] {
                        permissions.remove(name);
                        permissions.push(Element::new(name).with_text(text));
                    }
                });
            });
        }
        Schema::Pool.settle(&mut document);
        if let Some(source) = document.child_mut("source").filter(|source| source.nodes.is_empty()) {
            source.set_text("\n  ");
        }
        document.print()
    }

    /// The files right in a folder.
    pub(super) fn files_in<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a super::state::File)> {
        self.files.iter().filter_map(move |(path, file)| {
            let name = path.strip_prefix(folder)?.strip_prefix('/')?;
            (!name.contains('/')).then_some((name, file))
        })
    }

    /// Has libvirt see what is in a running pool.
    fn look(&mut self, name: &str) {
        let Some(path) = self.pools.get(name).map(|pool| pool.path.clone()) else { return };
        let mut known: std::collections::BTreeMap<String, bool> =
            self.files_in(&path).map(|(file, _)| (file.to_owned(), true)).collect();
        // A sub-folder shows as a volume of type dir.
        known.extend(self.folders.iter().filter_map(|folder| {
            let name = folder.strip_prefix(&path)?.strip_prefix('/')?;
            (!name.contains('/')).then(|| (name.to_owned(), true))
        }));
        if let Some(pool) = self.pools.get_mut(name) {
            pool.known = known;
        }
    }

    pub(super) fn pool(&self, name: &str) -> Result<&Pool, HostError> {
        self.pools.get(name).ok_or_else(|| no_pool(name))
    }

    pub(super) fn pool_mut(&mut self, name: &str) -> Result<&mut Pool, HostError> {
        self.pools.get_mut(name).ok_or_else(|| no_pool(name))
    }

    pub(super) fn active_pool(&self, name: &str) -> Result<&Pool, HostError> {
        let pool = self.pool(name)?;
        if pool.active { Ok(pool) } else { Err(invalid(format!("storage pool '{name}' is not active"))) }
    }
}

/// The UUID that a document gives.
pub(super) fn given_uuid(document: &Element) -> Result<Option<Uuid>, HostError> {
    let Some(text) = document.child_text("uuid") else { return Ok(None) };
    text.trim().parse().map(Some).map_err(|_| xml("malformed uuid element"))
}

/// A path as libvirt keeps a pool's: without doubled and trailing slashes.
fn clean(path: &str) -> String {
    let mut out = String::new();
    for character in path.trim().chars() {
        if character != '/' || !out.ends_with('/') {
            out.push(character);
        }
    }
    if out.len() > 1 && out.ends_with('/') {
        out.pop();
    }
    out
}
