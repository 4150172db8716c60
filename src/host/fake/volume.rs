//! Volumes as libvirt makes, fills, grows and deletes them: files under a pool's folder.
//!
//! As with libvirt, nothing here asks whether a guest uses one.

use sha2::{Digest, Sha256};

use crate::host::{ErrorKind, HostError};
use crate::observe::RawVolume;
use crate::plan::UploadSource;

use super::error::{invalid, libvirt, no_file, no_volume, xml};
use super::schema::Schema;
use super::state::{File, Pool, State};
use super::tree::Element;

/// What a fresh qcow2 file of any size takes.
const FRESH_QCOW2: (u64, u64) = (196_616, 200_704);

/// A volume's document, read.
struct Wanted {
    name: String,
    format: String,
    capacity: Option<u64>,
    allocation: Option<u64>,
    backing: Option<(String, String)>,
}

impl State {
    /// `virsh vol-create`.
    pub fn volume_create(&mut self, pool: &str, text: &str) -> Result<(), HostError> {
        let (path, wanted) = self.place(pool, text, true)?;
        let mut file = File { format: wanted.format, ..File::default() };
        if let Some((backing, format)) = wanted.backing {
            let under = self.files.get(&backing).ok_or_else(|| {
                libvirt(
                    ErrorKind::NotFound,
                    38,
                    format!("inaccessible backing store volume {backing}: No such file or directory"),
                )
            })?;
            file.capacity = under.capacity;
            file.backing = Some((backing, format));
        }
        file.capacity = wanted.capacity.unwrap_or(file.capacity);
        if file.format == "qcow2" {
            file.capacity = file.capacity.div_ceil(512) * 512;
            (file.length, file.allocation) = FRESH_QCOW2;
        } else {
            file.length = file.capacity;
            file.allocation = wanted.allocation.unwrap_or(file.capacity).min(file.capacity).div_ceil(4096) * 4096;
        }
        self.add(pool, &wanted.name, path, file);
        Ok(())
    }

    /// `virsh vol-create-from`: a full copy, without a backing file.
    pub fn volume_clone(&mut self, pool: &str, text: &str, source_pool: &str, source: &str) -> Result<(), HostError> {
        let (from, original) = self.volume(source_pool, source)?;
        let original = original.clone();
        if original.format == "qcow2" && self.written_by_a_guest(&from) {
            return Err(locked("convert", &from, "shared \"write\" lock"));
        }
        let (path, wanted) = self.place(pool, text, false)?;
        let mut file = File { format: wanted.format, capacity: original.capacity, ..original };
        file.backing = None;
        if file.format == "qcow2" {
            file.capacity = file.capacity.div_ceil(512) * 512;
            file.length = file.length.min(file.capacity).max(FRESH_QCOW2.0);
            file.allocation = file.allocation.max(FRESH_QCOW2.1);
        } else {
            if self.volume(source_pool, source).is_ok_and(|(_, from)| from.format != "qcow2") {
                file.capacity = file.capacity.max(wanted.capacity.unwrap_or(0));
            }
            file.length = file.capacity;
        }
        self.add(pool, &wanted.name, path, file);
        Ok(())
    }

    /// `virsh vol-upload`: writes over what is there, from the start; a longer file keeps its end.
    pub fn volume_upload(&mut self, pool: &str, name: &str, source: &UploadSource) -> Result<(), HostError> {
        let (path, _) = self.volume(pool, name)?;
        let bytes = match source {
            UploadSource::Seed { bytes, .. } => Header::of(&bytes.0),
            UploadSource::Image { path, .. } => Header::of_file(path)?,
        };
        let generation = self.files.values().map(|file| file.written).max().unwrap_or(0) + 1;
        if let Some(file) = self.files.get_mut(&path) {
            file.length = file.length.max(bytes.length);
            file.capacity = bytes.capacity.unwrap_or(file.length);
            bytes.format.clone_into(&mut file.format);
            file.allocation = bytes.length.div_ceil(4096) * 4096;
            file.backing = None;
            file.digest = Some(bytes.digest);
            file.written = generation;
        }
        self.know(pool, name, true);
        // The one thing about volumes that libvirt tells, and it tells it of the pool.
        self.tell_pool(pool, "refreshed");
        Ok(())
    }

    /// `virsh vol-resize` without the flag to shrink.
    pub fn volume_grow(&mut self, pool: &str, name: &str, capacity: u64) -> Result<(), HostError> {
        let known = self.active_pool(pool)?.known.contains_key(name);
        let (path, file) = self.volume(pool, name).map_err(|error| {
            // libvirt knows the volume, and finds no file.
            if known { no_file(format!("unable to open '{}'", error.message.split('\'').nth(1).unwrap_or(name))) } else { error }
        })?;
        if capacity < file.allocation {
            return Err(libvirt(ErrorKind::Failed, 8, "can't shrink capacity below existing allocation"));
        }
        if capacity < file.capacity {
            let message = "Can't shrink capacity below current capacity unless shrink flag explicitly specified";
            return Err(libvirt(ErrorKind::Failed, 8, message));
        }
        if file.format == "qcow2" && self.written_by_a_guest(&path) {
            return Err(locked("resize", &path, "\"write\" lock"));
        }
        if let Some(file) = self.files.get_mut(&path) {
            if file.format == "qcow2" {
                file.capacity = capacity.div_ceil(512) * 512;
            } else {
                file.capacity = capacity;
                file.length = capacity;
            }
        }
        Ok(())
    }

    /// `virsh blockresize`, asked first as the libvirt side asks: a smaller size would be taken without a word.
    pub fn domain_block_resize(&mut self, uuid: uuid::Uuid, target: &str, capacity: u64) -> Result<(), HostError> {
        let Some((_, domain)) = self.domains.iter().find(|(_, domain)| domain.uuid == uuid) else {
            return Err(super::error::no_domain(format!("no domain with matching uuid '{uuid}'")));
        };
        let document = Element::parse(domain.live.as_ref().unwrap_or(&domain.inactive)).map_err(xml)?;
        let is = |disk: &&Element| disk.child_attr("target", "dev") == Some(target);
        let disk = document.child("devices").and_then(|devices| devices.all("disk").find(is));
        let Some(disk) = disk else {
            return Err(libvirt(ErrorKind::Failed, 8, format!("disk '{target}' was not found in the domain config")));
        };
        let path = disk.child_attr("source", "file").unwrap_or_default().to_owned();
        let has = self.files.get(&path).map_or(0, |file| file.capacity);
        if has > capacity {
            let message = format!("its disk {target} has {has} bytes, and would be shrunk to {capacity}");
            return Err(libvirt(ErrorKind::Failed, 0, message));
        }
        if has == capacity {
            return Ok(());
        }
        if domain.live.is_none() {
            return Err(invalid("domain is not running"));
        }
        if disk.child("readonly").is_some() {
            return Err(libvirt(ErrorKind::Unsupported, 84, format!("can't resize empty or readonly disk '{target}'")));
        }
        if let Some(file) = self.files.get_mut(&path) {
            if file.format == "qcow2" {
                file.capacity = capacity.div_ceil(512) * 512;
            } else {
                file.capacity = capacity;
                file.length = capacity;
            }
        }
        Ok(())
    }

    /// `virsh vol-delete`: also while a guest or another file uses it.
    pub fn volume_delete(&mut self, pool: &str, name: &str) -> Result<(), HostError> {
        let pool = self.active_pool(pool)?;
        if !pool.known.contains_key(name) {
            return Err(no_volume(name));
        }
        let (path, key) = (format!("{}/{name}", pool.path), name.to_owned());
        if self.folders.contains(&path) && self.files_in(&path).next().is_some() {
            return Err(libvirt(ErrorKind::Failed, 38, format!("cannot unlink file '{path}': Directory not empty")));
        }
        self.files.remove(&path);
        self.folders.remove(&path);
        for pool in self.pools.values_mut() {
            if path == format!("{}/{key}", pool.path) {
                pool.known.remove(&key);
            }
        }
        Ok(())
    }

    /// The volumes of a running pool; those whose file is gone fail to be looked up, so they are left out.
    pub(super) fn volumes(&self, pool: &Pool) -> Vec<RawVolume> {
        let names = pool.known.iter();
        names
            .filter_map(|(name, deep)| Some(RawVolume { name: name.clone(), xml: self.volume_document(pool, name, *deep)? }))
            .collect()
    }

    /// What `virsh vol-dumpxml` shows; none where the file is gone.
    pub(super) fn volume_document(&self, pool: &Pool, name: &str, deep: bool) -> Option<String> {
        let path = format!("{}/{name}", pool.path);
        let folder = self.folders.contains(&path);
        let directory = File { format: "dir".to_owned(), ..File::default() };
        let file = if folder { &directory } else { self.files.get(&path)? };
        let bytes = |name: &str, value: u64| Element::new(name).with("unit", "bytes").with_text(&value.to_string());
        let text = |name: &str, value: &str| Element::new(name).with_text(value);
        let format = if deep && file.format == "iso" { "raw" } else { &file.format };
        let mut target = Element::new("target")
            .with_child(text("path", &path))
            .with_child(Element::new("format").with("type", format))
            .with_child(permissions(if folder { "0711" } else { "0600" }))
            .with_child(times());
        if deep && format == "qcow2" {
            if file.digest.is_some() {
                target.push(text("compat", "1.1"));
                target.push(Element::new("features"));
            }
            target.push(Element::new("clusterSize").with("unit", "B").with_text("65536"));
        }
        let mut document = Element::new("volume")
            .with("type", if folder { "dir" } else { "file" })
            .with_child(text("name", name))
            .with_child(text("key", &path))
            .with_child(bytes("capacity", file.capacity))
            .with_child(bytes("allocation", file.allocation))
            .with_child(target);
        if !folder {
            document.push(bytes("physical", file.length));
        }
        if let Some((path, format)) = &file.backing {
            document.push(
                Element::new("backingStore")
                    .with_child(text("path", path))
                    .with_child(Element::new("format").with("type", format))
                    .with_child(permissions("0600"))
                    .with_child(times()),
            );
        }
        Schema::Volume.settle(&mut document);
        Some(document.print())
    }

    /// Where a new volume goes, if there is a place for it.
    fn place(&self, pool: &str, text: &str, plain: bool) -> Result<(String, Wanted), HostError> {
        let wanted = Wanted::read(text)?;
        let pool = self.active_pool(pool)?;
        let name = &wanted.name;
        if name.contains('/') {
            return Err(invalid(format!("volume name '{name}' cannot contain '/'")));
        }
        if pool.known.contains_key(name) {
            return Err(if plain {
                libvirt(ErrorKind::Exists, 90, format!("storage volume '{name}' exists already"))
            } else {
                libvirt(ErrorKind::Exists, 1, format!("storage volume name '{name}' already in use."))
            });
        }
        let path = format!("{}/{name}", pool.path);
        if self.files.contains_key(&path) || self.folders.contains(&path) {
            return Err(libvirt(ErrorKind::Exists, 55, format!("volume target path '{path}' already exists")));
        }
        Ok((path, wanted))
    }

    fn add(&mut self, pool: &str, name: &str, path: String, file: File) {
        self.files.insert(path, file);
        self.know(pool, name, false);
    }

    fn know(&mut self, pool: &str, name: &str, deep: bool) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.known.insert(name.to_owned(), deep);
        }
    }

    /// A volume's path and file.
    pub(super) fn volume(&self, pool: &str, name: &str) -> Result<(String, &File), HostError> {
        let pool = self.active_pool(pool)?;
        let path = format!("{}/{name}", pool.path);
        if !pool.known.contains_key(name) {
            return Err(no_volume(name));
        }
        self.files.get(&path).map(|file| (path.clone(), file)).ok_or_else(|| no_volume(&path))
    }
}

impl Wanted {
    fn read(text: &str) -> Result<Self, HostError> {
        let document = Element::parse(text).map_err(xml)?;
        let name = document.child_text("name").filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| xml("missing volume name element"))?;
        let format = |element: Option<&Element>| element.and_then(|e| e.child_attr("format", "type")).unwrap_or("raw").to_owned();
        let backing = document.child("backingStore").and_then(|store| {
            let path = store.child_text("path").filter(|path| !path.is_empty())?;
            Some((path, format(Some(store))))
        });
        let capacity = document.child("capacity").map(size).transpose()?;
        if capacity.is_none() && backing.is_none() {
            return Err(xml("missing capacity element"));
        }
        let allocation = document.child("allocation").map(size).transpose()?;
        Ok(Self { name, format: format(document.child("target")), capacity, allocation, backing })
    }
}

/// What qemu-img says where a guest holds a lock.
fn locked(verb: &str, path: &str, lock: &str) -> HostError {
    let message = format!(
        "child process (/usr/bin/qemu-img {verb} {path}) unexpected exit status 1: qemu-img: could not open '{path}': failed to get {lock}"
    );
    libvirt(ErrorKind::InvalidState, 1, message)
}

/// An element's size in bytes; without a unit they are bytes.
fn size(element: &Element) -> Result<u64, HostError> {
    super::units::bytes(&element.text(), element.attr("unit").unwrap_or("bytes")).ok_or_else(|| xml("malformed capacity element"))
}

fn permissions(mode: &str) -> Element {
    [("mode", mode), ("owner", "0"), ("group", "0")]
        .iter()
        .fold(Element::new("permissions"), |all, (name, text)| all.with_child(Element::new(name).with_text(text)))
}

fn times() -> Element {
    let fixed =
        [("atime", "1700000000.000000000"), ("mtime", "1700000000.000000000"), ("ctime", "1700000000.000000000"), ("btime", "0")];
    fixed.iter().fold(Element::new("timestamps"), |all, (name, text)| all.with_child(Element::new(name).with_text(text)))
}

/// What the bytes of an upload say of themselves.
struct Header {
    length: u64,
    format: &'static str,
    capacity: Option<u64>,
    digest: String,
}

impl Header {
    fn of(bytes: &[u8]) -> Self {
        let length = bytes.len() as u64;
        let digest = hex::encode(Sha256::digest(bytes));
        let (format, capacity) = Self::inside(bytes);
        Self { length, format, capacity, digest }
    }

    fn of_file(path: &str) -> Result<Self, HostError> {
        let mut file = std::fs::File::open(path)
            .map_err(|error| libvirt(ErrorKind::Failed, 0, format!("failed to read {path}: {error}")))?;
        let (mut hasher, mut head, mut length) = (Sha256::new(), Vec::new(), 0u64);
        let mut buffer = vec![0u8; 1 << 16];
        loop {
            let count = std::io::Read::read(&mut file, &mut buffer)
                .map_err(|error| libvirt(ErrorKind::Failed, 0, format!("failed to read {path}: {error}")))?;
            if count == 0 {
                break;
            }
            let read = buffer.get(..count).unwrap_or_default();
            if head.is_empty() {
                head.extend_from_slice(read);
            }
            hasher.update(read);
            length += count as u64;
        }
        let (format, capacity) = Self::inside(&head);
        Ok(Self { length, format, capacity, digest: hex::encode(hasher.finalize()) })
    }

    /// The format that the first bytes tell, and the size that a qcow2 header does.
    fn inside(head: &[u8]) -> (&'static str, Option<u64>) {
        if !head.starts_with(b"QFI\xfb") {
            return ("raw", None);
        }
        let size = head.get(24..32).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        ("qcow2", size)
    }
}
