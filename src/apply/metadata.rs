//! What other tools read: a file a template and a node. They are never read back.

use crate::manifest::Spec;
use crate::observe::NodeView;
use crate::plan::Owned;
use crate::resolve::Desired;
use crate::source::{MetadataFiles, NodeMetadata, SourceMetadata, StorageMetadata, TemplateMetadata, UsageMetadata};
use crate::store::StateDir;

use super::rounds::Seen;

/// Writes the files. A failure is only said in the log, since nothing depends on them.
pub fn write_metadata(state: &StateDir, desired: &Desired, owned: &Owned, seen: &Seen, now: jiff::Timestamp) {
    let files = MetadataFiles::new(state);
    let at = now.to_string();
    for (name, node) in &desired.nodes {
        let Some(NodeView::Reached(state)) = seen.observed.nodes.get(name) else { continue };
        let Some(uuid) = state.host.uuid else { continue };
        let created_at = owned.nodes.get(name).map_or_else(|| at.clone(), |record| record.first_seen.clone());
        let metadata = NodeMetadata {
            name: name.clone(),
            uuid,
            uri: node.uri.clone(),
            enabled: !node.unschedulable,
            created_at,
            updated_at: at.clone(),
        };
        if let Err(error) = files.write_node(&metadata) {
            tracing::warn!(node = %name, %error, "the node's metadata file was not written");
        }
    }
    for wanted in desired.objects.values() {
        let (Spec::Template(spec), Some(node)) = (&*wanted.spec, &wanted.node) else { continue };
        let Some(entry) = owned.entries.get(&wanted.object) else {
            if let Err(error) = files.remove_template(node, &wanted.object.name) {
                tracing::warn!(template = %wanted.object, %error, "the template's metadata file was not removed");
            }
            continue;
        };
        let Some(record) = &entry.template else { continue };
        let source = format!("Template/{}", wanted.object.name);
        let vms = desired
            .objects
            .values()
            .filter(|vm| matches!(&*vm.spec, Spec::VirtualMachine(_)) && vm.node.as_ref() == Some(node))
            .filter(|vm| {
                vm.references.iter().any(|reference| {
                    owned
                        .entries
                        .get(&reference.object)
                        .and_then(|e| e.volume.as_ref())
                        .is_some_and(|v| v.source.as_deref() == Some(&source))
                })
            })
            .count();
        let metadata = TemplateMetadata {
            name: wanted.object.name.clone(),
            uuid: wanted.uid,
            kind: "cloud",
            created_at: entry.created_at.clone(),
            updated_at: at.clone(),
            storage: StorageMetadata {
                pool: record.pool.clone(),
                path: record.path.clone(),
                format: record.format.clone(),
                size: record.virtual_size,
            },
            os: spec.os.as_ref().map(Into::into).unwrap_or_default(),
            source: SourceMetadata {
                url: spec.source.as_ref().and_then(|source| source.url.clone()),
                file: spec.source.as_ref().and_then(|source| source.file.clone()),
                checksum: format!("sha256:{}", record.digest_sha256),
            },
            features: spec.features.as_ref().map(Into::into).unwrap_or_default(),
            usage: UsageMetadata { vm_count: vms, last_used: None },
            tags: spec.tags.clone(),
            description: spec.description.clone().unwrap_or_default(),
        };
        if let Err(error) = files.write_template(node, &metadata) {
            tracing::warn!(template = %wanted.object, %error, "the template's metadata file was not written");
        }
    }
}
