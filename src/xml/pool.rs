//! Storage pools: read and written.

use uuid::Uuid;

use super::tree::Element;
use super::{XmlError, read};
use crate::manifest::{PoolTarget, PoolType, StoragePoolSpec};

/// What a pool's document says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolDoc {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// libvirt's word for what kind of storage it is.
    pub pool_type: String,
    /// The part that the language knows.
    pub spec: StoragePoolSpec,
    /// Where it lies, cleaned as libvirt cleans paths.
    pub path: Option<String>,
    /// Bytes in all; 0 while it is stopped.
    pub capacity: u64,
    /// Bytes used.
    pub allocation: u64,
    /// Bytes free.
    pub available: u64,
}

/// A pool to be defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolWanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its UUID.
    pub uuid: Uuid,
    /// Where it lies.
    pub path: &'a str,
}

/// Reads a pool's document.
pub fn project(text: &str) -> Result<PoolDoc, XmlError> {
    let document = read::parse_root(text, "pool")?;
    let root = document.root_element();
    let pool_type = read::attr(root, "type").unwrap_or_default().to_owned();
    let path = read::text_at(root, &["target", "path"]).map(|path| clean_path(&path));
    let bytes = |name| read::child(root, name).and_then(|node| read::size(node, "bytes")).unwrap_or_default();
    Ok(PoolDoc {
        uuid: read::text_at(root, &["uuid"]).and_then(|text| text.parse().ok()).unwrap_or_default(),
        name: read::text_at(root, &["name"]).unwrap_or_default(),
        spec: StoragePoolSpec {
            pool_type: (pool_type == "dir").then_some(PoolType::Dir),
            target: path.is_some().then(|| PoolTarget { path: path.clone() }),
            ..StoragePoolSpec::default()
        },
        pool_type,
        path,
        capacity: bytes("capacity"),
        allocation: bytes("allocation"),
        available: bytes("available"),
    })
}

/// The document with another path; all else of it stays, but for what libvirt measures.
pub fn patch(document: &str, path: &str) -> Result<String, XmlError> {
    let mut root = Element::parse_root(document, "pool")?;
    root.remove(|child| matches!(&*child.name, "capacity" | "allocation" | "available"));
    root.ensure("target").ensure("path").set_text(clean_path(path));
    Ok(root.to_xml())
}

/// The document of a new directory pool.
pub fn render(wanted: &PoolWanted<'_>) -> String {
    Element::new("pool")
        .attr("type", "dir")
        .with(Element::new("name").text(wanted.name))
        .with(Element::new("uuid").text(wanted.uuid))
        .with(Element::new("target").with(Element::new("path").text(clean_path(wanted.path))))
        .to_xml()
}

/// A path as libvirt keeps a pool's: without `//` and a `/` at its end; `..` stays.
pub fn clean_path(path: &str) -> String {
    let mut clean = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !clean.ends_with('/') {
            clean.push(c);
        }
    }
    if clean.len() > 1 && clean.ends_with('/') {
        clean.pop();
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_reads_back_as_written() {
        let wanted = PoolWanted { name: "default", uuid: Uuid::from_u128(7), path: "/srv//images/" };
        let doc = project(&render(&wanted)).expect("reads");
        assert_eq!((doc.name.as_str(), doc.uuid), ("default", wanted.uuid));
        assert_eq!(doc.path.as_deref(), Some("/srv/images"));
        assert_eq!(doc.spec.pool_type, Some(PoolType::Dir));
    }

    #[test]
    fn a_path_is_cleaned_as_libvirt_cleans_it() {
        for (path, clean) in [("/", "/"), ("//", "/"), ("/a/", "/a"), ("/a//b///", "/a/b"), ("/a/../b", "/a/../b")] {
            assert_eq!(clean_path(path), clean);
        }
    }

    #[test]
    fn a_pool_of_another_type_is_read_but_not_taken_for_a_folder() {
        let doc = project("<pool type='logical'><name>vg</name><capacity unit='bytes'>5</capacity></pool>").expect("reads");
        assert_eq!((doc.pool_type.as_str(), doc.spec.pool_type, doc.capacity), ("logical", None, 5));
    }
}
