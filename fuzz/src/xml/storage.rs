//! Pools and volumes.

use std::sync::Arc;

use jvp::manifest::{Document, Spec};
use jvp::xml::{pool, volume};
use roxmltree::Node;
use uuid::Uuid;

use super::super::shape::{self, Except};

pub(super) fn target(text: &str, wanted: &[Arc<Document>]) {
    let path = wanted.iter().find_map(|document| match &*document.spec {
        Spec::StoragePool(spec) => spec.target.as_ref().and_then(|target| target.path.as_deref()),
        _ => None,
    });
    if let Ok(doc) = pool::project(text) {
        is_moved(text, &doc, path.unwrap_or("/srv//images/"));
        let again =
            pool::render(&pool::PoolWanted { name: &doc.name, uuid: doc.uuid, path: doc.path.as_deref().unwrap_or("/p") });
        let read = pool::project(&again);
        assert!(read.is_ok_and(|read| (&read.name, read.uuid) == (&doc.name, doc.uuid)), "{again}");
    }
    if let Ok(doc) = volume::project(text) {
        let wanted = volume::VolumeWanted {
            name: &doc.name,
            format: &doc.format,
            capacity: Some(doc.capacity),
            backing: doc.backing.clone(),
        };
        let again = volume::render(&wanted);
        let Ok(read) = volume::project(&again) else { unreachable!("a new volume can't be read:\n{again}") };
        assert_eq!(
            (&read.name, &read.format, read.capacity, &read.backing),
            (&doc.name, &doc.format, doc.capacity, &doc.backing),
            "{text}\n{again}"
        );
        let rounded = volume::rounded_capacity(&doc.format, doc.capacity);
        assert!(rounded == doc.capacity || (rounded > doc.capacity && doc.format == "qcow2") || doc.capacity > u64::MAX - 512);
    }
}

/// A pool that is there lies elsewhere, and nothing else of it changes.
fn is_moved(text: &str, doc: &pool::PoolDoc, path: &str) {
    let Ok(moved) = pool::patch(text, path) else { return };
    let Ok(read) = pool::project(&moved) else { unreachable!("a moved pool can't be read:\n{moved}") };
    assert_eq!(read.path, Some(pool::clean_path(path)), "{moved}");
    assert_eq!((&read.name, read.uuid, &read.pool_type), (&doc.name, doc.uuid, &doc.pool_type), "{moved}");
    assert_eq!(pool::patch(&moved, path).as_ref(), Ok(&moved), "a second patch changes something");
    let element = |node: Node<'_, '_>, parent: &str| match parent {
        "pool" => matches!(node.tag_name().name(), "capacity" | "allocation" | "available"),
        "target" => node.has_tag_name("path"),
        _ => false,
    };
    let except = Except { element: &element, attribute: &|_, _, _| false, hollow: &["target"] };
    shape::same(text, &moved, &except);
    let uuid = Uuid::from_u128(7);
    let new = pool::project(&pool::render(&pool::PoolWanted { name: "p", uuid, path }));
    assert!(new.is_ok_and(|new| new.path == Some(pool::clean_path(path)) && new.uuid == uuid), "{path}");
}
