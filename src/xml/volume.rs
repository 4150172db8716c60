//! Volumes: read and written.

use super::tree::Element;
use super::{XmlError, read};

/// What a volume's document says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VolumeDoc {
    /// The file's name.
    pub name: String,
    /// The file's path.
    pub path: String,
    /// libvirt's word for what it is: `file`, `dir`, `block`, ….
    pub kind: String,
    /// The format as libvirt found it; `iso` reads as `raw`. Found is not known: see DECISIONS E.
    pub format: String,
    /// Bytes that a guest sees.
    pub capacity: u64,
    /// Bytes that it takes on the host.
    pub allocation: u64,
    /// The length of the file.
    pub physical: Option<u64>,
    /// What it stands on.
    pub backing: Option<Backing>,
}

/// A backing file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Backing {
    /// Its path.
    pub path: String,
    /// Its format; never left to be guessed.
    pub format: String,
}

/// A volume to be made, empty or as a copy of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeWanted<'a> {
    /// The file's name.
    pub name: &'a str,
    /// Its format.
    pub format: &'a str,
    /// Bytes that a guest is to see; none means as many as the backing file.
    pub capacity: Option<u64>,
    /// What it stands on.
    pub backing: Option<Backing>,
}

/// Reads a volume's document.
pub fn project(text: &str) -> Result<VolumeDoc, XmlError> {
    let document = read::parse_root(text, "volume")?;
    let root = document.root_element();
    let bytes = |name| read::child(root, name).and_then(|node| read::size(node, "bytes"));
    let format = |node| canonical_format(read::attr_at(node, &["format"], "type").unwrap_or("raw"));
    let backing = read::child(root, "backingStore")
        .and_then(|node| read::text_at(node, &["path"]).map(|path| Backing { path, format: format(node) }));
    Ok(VolumeDoc {
        name: read::text_at(root, &["name"]).unwrap_or_default(),
        path: read::text_at(root, &["target", "path"]).or_else(|| read::text_at(root, &["key"])).unwrap_or_default(),
        kind: read::attr(root, "type").unwrap_or("file").to_owned(),
        format: read::child(root, "target").map_or_else(|| "raw".to_owned(), format),
        capacity: bytes("capacity").unwrap_or_default(),
        allocation: bytes("allocation").unwrap_or_default(),
        physical: bytes("physical"),
        backing,
    })
}

/// The document of a new volume.
pub fn render(wanted: &VolumeWanted<'_>) -> String {
    let format = |format: &str| Element::new("format").attr("type", format);
    let backing = |backing: &Backing| {
        Element::new("backingStore").with(Element::new("path").text(&backing.path)).with(format(&backing.format))
    };
    Element::new("volume")
        .attr("type", "file")
        .with(Element::new("name").text(wanted.name))
        .with_opt(wanted.capacity.map(|bytes| Element::new("capacity").attr("unit", "bytes").text(bytes)))
        // A raw file is sparse, as qcow2 is by nature.
        .with_opt((wanted.format == "raw").then(|| Element::new("allocation").attr("unit", "bytes").text(0)))
        .with(Element::new("target").with(format(wanted.format)))
        .with_opt(wanted.backing.as_ref().map(backing))
        .to_xml()
}

/// The format under one name: libvirt calls an `iso` that it has looked at `raw`.
pub(super) fn canonical_format(format: &str) -> String {
    if format == "iso" { "raw".to_owned() } else { format.to_owned() }
}

/// The capacity that libvirt gives a volume asked for `bytes`: qcow2 counts in sectors.
pub fn rounded_capacity(format: &str, bytes: u64) -> u64 {
    if format == "qcow2" { bytes.div_ceil(512).saturating_mul(512) } else { bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_reads_back_as_written() {
        let backing = Some(Backing { path: "/p/base.img".to_owned(), format: "raw".to_owned() });
        let wanted = VolumeWanted { name: "a.qcow2", format: "qcow2", capacity: Some(1 << 30), backing: backing.clone() };
        let doc = project(&render(&wanted)).expect("reads");
        assert_eq!((doc.name.as_str(), doc.format.as_str(), doc.capacity), ("a.qcow2", "qcow2", 1 << 30));
        assert_eq!(doc.backing, backing);
    }

    #[test]
    fn a_raw_volume_is_sparse_and_one_of_qcow2_is_so_by_itself() {
        let render = |format| render(&VolumeWanted { name: "a", format, capacity: Some(1 << 30), backing: None });
        assert!(render("raw").contains("<allocation unit=\"bytes\">0</allocation>"));
        assert!(!render("qcow2").contains("allocation"));
    }

    #[test]
    fn capacities_are_rounded_as_libvirt_rounds_them() {
        assert_eq!(rounded_capacity("qcow2", 1_000_001), 1_000_448);
        assert_eq!(rounded_capacity("raw", 1_000_001), 1_000_001);
    }
}
