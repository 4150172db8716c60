//! The mark: how a domain or network says whose it is, in `<metadata>`.
//!
//! It holds paths of fields, never their values, so no secret and no spec can leak through it.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::tree::{Element, Node};
use super::{XmlError, read};
use crate::name::{ObjectRef, Uid};

/// The ownership mark of a domain or network: one child of `<metadata>` (libvirt drops a second of one namespace).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The fleet's id.
    pub fleet: Uuid,
    /// The object, with its node for kinds that stand on several.
    pub object: ObjectRef,
    /// The object's identity in the fleet.
    pub uid: Uid,
    /// Who wrote last: one state directory of one machine.
    pub writer: Uuid,
    /// The paths of the fields that are managed.
    pub paths: BTreeSet<String>,
    /// For domains: the volumes that came with it.
    pub volumes: Vec<MarkVolume>,
    /// For domains: the address reservations that it made, network object → `mac ip`.
    pub reservations: BTreeMap<String, String>,
    /// For domains of `Once`: it was started.
    pub ran: bool,
    /// For domains: the digest of the cloud-init seed.
    pub seed: Option<String>,
    /// For domains: the digest of the `xml:` fragment.
    pub fragment: Option<String>,
    /// When it was made or adopted, RFC 3339.
    pub created: Option<String>,
}

/// A volume that came with a domain, as the inventory records it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MarkVolume {
    /// The object's reference, such as `Volume/web-1.root`.
    pub name: String,
    /// The pool's name in libvirt.
    pub pool: String,
    /// The file's name.
    pub file: String,
    /// The file's path on the node.
    pub path: String,
    /// The format that it was made with.
    pub format: String,
    /// Bytes that a guest sees.
    pub capacity: u64,
    /// The path of its backing file.
    pub backing: Option<String>,
    /// What it was made from: `Template/x` or `Volume/x`.
    pub source: Option<String>,
}

impl Mark {
    /// The mark's namespace.
    pub const NAMESPACE: &'static str = "https://jvp.dev/xml/object/1";
    /// The prefix that stands for it, which libvirt calls the key.
    pub const KEY: &'static str = "jvp";

    /// A mark without paths and volumes.
    pub fn new(fleet: Uuid, object: ObjectRef, writer: Uuid) -> Self {
        Self {
            fleet,
            uid: object.uid(fleet),
            object,
            writer,
            paths: BTreeSet::new(),
            volumes: Vec::new(),
            reservations: BTreeMap::new(),
            ran: false,
            seed: None,
            fragment: None,
            created: None,
        }
    }

    /// The element for `virDomainSetMetadata`, which puts [`Mark::KEY`] and [`Mark::NAMESPACE`] on it by itself and fails where
    /// the text has the prefix already.
    pub fn to_xml(&self) -> String {
        self.element("").to_xml()
    }

    /// The child of `<metadata>` for a document.
    pub(super) fn to_element(&self) -> Element {
        let mut element = self.element("jvp:");
        element.attrs.insert(0, ("xmlns:jvp".into(), Self::NAMESPACE.to_owned()));
        element.namespace = Some(Self::NAMESPACE.to_owned());
        element
    }

    fn element(&self, prefix: &str) -> Element {
        let named = |name: &'static str| match prefix {
            "" => Element::new(name),
            prefix => Element::new(format!("{prefix}{name}")),
        };
        let volume = |v: &MarkVolume| {
            named("volume")
                .attr("name", &v.name)
                .attr("pool", &v.pool)
                .attr("file", &v.file)
                .attr("path", &v.path)
                .attr("format", &v.format)
                .attr("capacity", v.capacity)
                .attr_opt("backing", v.backing.as_ref())
                .attr_opt("source", v.source.as_ref())
        };
        named("object")
            .attr("fleet", self.fleet)
            .attr("kind", self.object.kind)
            .attr("name", &self.object.name)
            .attr_opt("node", self.object.node.as_ref())
            .attr("uid", self.uid)
            .attr("writer", self.writer)
            .attr_opt("ran", self.ran.then_some("yes"))
            .attr_opt("seed", self.seed.as_ref())
            .attr_opt("fragment", self.fragment.as_ref())
            .attr_opt("created", self.created.as_ref())
            .with_all(self.paths.iter().map(|path| named("field").attr("path", path)))
            .with_all(self.volumes.iter().map(volume))
            .with_all(self.reservations.iter().map(|(network, of)| named("reservation").attr("network", network).attr("of", of)))
    }

    /// The mark in a domain's or network's document; `None` where there is none, or one that can't be read.
    pub fn from_document(text: &str) -> Result<Option<Self>, XmlError> {
        Ok(Self::find(read::parse(text)?.root_element()))
    }

    /// The mark below the root of a document.
    pub(super) fn find(root: roxmltree::Node<'_, '_>) -> Option<Self> {
        let metadata = read::child(root, "metadata")?;
        let node = metadata.children().find(|child| child.has_tag_name((Self::NAMESPACE, "object")))?;
        let reference = format!("{}/{}", read::attr(node, "kind")?, read::attr(node, "name")?);
        let mut object: ObjectRef = reference.parse().ok()?;
        object.node = match read::attr(node, "node") {
            Some(name) => Some(name.parse().ok()?),
            None => None,
        };
        let mut mark = Self::new(read::parsed(node, "fleet")?, object, read::parsed(node, "writer")?);
        mark.uid = read::parsed(node, "uid")?;
        mark.ran = read::attr(node, "ran") == Some("yes");
        mark.seed = read::attr(node, "seed").map(str::to_owned);
        mark.fragment = read::attr(node, "fragment").map(str::to_owned);
        mark.created = read::attr(node, "created").map(str::to_owned);
        for child in node.children().filter(roxmltree::Node::is_element) {
            let owned = |name| read::attr(child, name).map(str::to_owned);
            match child.tag_name().name() {
                "field" => mark.paths.extend(owned("path")),
                "reservation" => mark.reservations.extend(owned("network").zip(owned("of"))),
                "volume" => mark.volumes.push(MarkVolume {
                    name: owned("name").unwrap_or_default(),
                    pool: owned("pool").unwrap_or_default(),
                    file: owned("file").unwrap_or_default(),
                    path: owned("path").unwrap_or_default(),
                    format: owned("format").unwrap_or_default(),
                    capacity: read::parsed(child, "capacity").unwrap_or_default(),
                    backing: owned("backing"),
                    source: owned("source"),
                }),
                _ => {}
            }
        }
        Some(mark)
    }

    /// Puts the mark into a document's `<metadata>` in the place of the one that is there; metadata of others stays.
    pub(super) fn put(&self, root: &mut Element) {
        let metadata = root.ensure("metadata");
        Self::take(metadata);
        metadata.push(self.to_element());
    }

    /// Removes the mark, and a `<metadata>` that is empty then.
    pub(super) fn remove(root: &mut Element) {
        if let Some(metadata) = root.child_mut("metadata") {
            Self::take(metadata);
        }
        root.remove(|child| child.name == "metadata" && child.nodes.is_empty());
    }

    fn take(metadata: &mut Element) {
        metadata
            .nodes
            .retain(|node| !matches!(node, Node::Element(child) if child.namespace.as_deref() == Some(Self::NAMESPACE)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        let mut mark = Mark::new(Uuid::from_u128(1), "vm/web-1".parse().expect("a reference"), Uuid::from_u128(2));
        mark.paths = ["/cpu/count", "/disks/root/bus"].map(str::to_owned).into();
        mark.ran = true;
        mark.seed = Some("abcd".to_owned());
        mark.created = Some("2026-01-02T03:04:05Z".to_owned());
        mark.reservations.insert("Network/lan@a".to_owned(), "52:54:00:00:00:01 10.0.0.2".to_owned());
        mark.volumes.push(MarkVolume {
            name: "Volume/web-1.root".to_owned(),
            pool: "default".to_owned(),
            file: "web-1.root.qcow2".to_owned(),
            path: "/p/<&\"'>/web-1.root.qcow2".to_owned(),
            format: "qcow2".to_owned(),
            capacity: 1 << 30,
            backing: Some("/p/base.qcow2".to_owned()),
            source: Some("Template/debian".to_owned()),
        });
        mark
    }

    #[test]
    fn a_mark_reads_back_as_written_beside_metadata_of_others() {
        let mut root = Element::parse("<domain><metadata><o:x xmlns:o='urn:o'/></metadata></domain>").expect("reads");
        mark().put(&mut root);
        mark().put(&mut root);
        let text = root.to_xml();
        assert_eq!(Mark::from_document(&text).expect("reads"), Some(mark()));
        assert!(text.contains("urn:o"));
        let mut again = Element::parse(&text).expect("reads");
        mark().put(&mut again);
        assert_eq!(again.to_xml().matches("jvp:object").count(), 2, "one element, opened and closed");
        Mark::remove(&mut again);
        assert_eq!(Mark::from_document(&again.to_xml()).expect("reads"), None);
    }

    #[test]
    fn a_mark_goes_with_the_metadata_that_it_brought_and_leaves_that_of_others() {
        for (before, after) in [
            ("<domain><name>a</name><os/></domain>", "<domain><name>a</name><os/></domain>"),
            (
                "<domain><metadata><o:x xmlns:o='urn:o'/></metadata></domain>",
                "<domain><metadata><o:x xmlns:o='urn:o'/></metadata></domain>",
            ),
        ] {
            let mut root = Element::parse(before).expect("reads");
            mark().put(&mut root);
            Mark::remove(&mut root);
            assert_eq!(root.to_xml(), Element::parse(after).expect("reads").to_xml());
        }
    }

    #[test]
    fn the_element_for_set_metadata_has_no_prefix() {
        let text = mark().to_xml();
        assert!(text.starts_with("<object fleet=") && !text.contains("jvp:") && !text.contains("xmlns"));
    }
}
