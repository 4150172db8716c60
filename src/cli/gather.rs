//! What is known of sources, gathered for the planner, and the controller's deeds, done for the executor.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::error::CommandError;
use super::exit::Exit;
use super::session::{Session, now};
use crate::apply::{Local, Seen};
use crate::host::Progress;
use crate::image::word;
use crate::manifest::{SecretSource, Spec, TemplateFormat, TemplateSpec};
use crate::name::{Kind, Name, ObjectRef};
use crate::observe::NodeView;
use crate::plan::{ImageFacts, Owned, SecretRef, Sources};
use crate::source::{
    Checksum, Downloader, ImageCache, ImageRequest, KeyPairs, MetadataFiles, NodeMetadata, Root, SecretReader, SourceFacts,
    SourceMetadata, StorageMetadata, TemplateMetadata, UsageMetadata,
};

fn facts(found: SourceFacts) -> ImageFacts {
    ImageFacts {
        digest_sha256: found.digest_sha256,
        size: found.size,
        virtual_size: found.virtual_size,
        format: word(found.format).into(),
        path: found.local_path.to_string_lossy().into_owned(),
    }
}

fn env(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn checksum(spec: &TemplateSpec) -> Option<Checksum> {
    spec.checksum.as_deref().and_then(|text| text.parse().ok())
}

/// The request for a Template's image; none where it is a file beside the manifest.
fn request(name: &Name, spec: &TemplateSpec) -> Option<ImageRequest> {
    Some(ImageRequest {
        object: ObjectRef::new(Kind::Template, name.clone()),
        url: spec.source.as_ref()?.url.clone()?,
        checksum: checksum(spec),
        format: spec.format.unwrap_or(TemplateFormat::Qcow2),
    })
}

/// The roots that files may be read beneath.
struct Roots {
    checkout: Option<Root>,
    secrets: Option<Root>,
}

impl Roots {
    fn of(session: &Session) -> Result<Self, CommandError> {
        let folder = session.set.fleet_folder.clone().or_else(|| session.set.folders.values().next().cloned());
        let open = |path: &Path| {
            Root::open(path)
                .map_err(|error| CommandError::new(Exit::Error, format!("failed to open {}: {error}", path.display())))
        };
        let checkout = folder.as_deref().map(open).transpose()?;
        let secrets = session.secrets_dir.as_deref().map(open).transpose()?;
        Ok(Self { checkout, secrets })
    }
}

/// The folder of an object's manifest, canonical.
fn folder(session: &Session, object: &ObjectRef) -> PathBuf {
    session
        .set
        .documents
        .iter()
        .find(|document| document.object.kind == object.kind && document.object.name == object.name)
        .and_then(|document| session.set.folders.get(&document.file).cloned())
        .unwrap_or_default()
}

/// Every secret that the manifests name, with where it stands.
fn secrets_named(session: &Session) -> Vec<(ObjectRef, String, SecretSource)> {
    session
        .desired
        .objects
        .values()
        .filter_map(|wanted| match &wanted.spec {
            Spec::VirtualMachine(spec) => {
                let password = spec.console.as_ref()?.vnc.as_ref()?.password.as_ref()?;
                Some((wanted.object.clone(), "/console/vnc/password".to_owned(), password.value_from.clone()))
            }
            _ => None,
        })
        .collect()
}

/// Gathers what is known of images, keys and secrets. Fetches and makes nothing.
pub(super) fn sources(session: &Session, owned: &Owned) -> Result<Sources, CommandError> {
    let roots = Roots::of(session)?;
    let cache = ImageCache::new(session.state.path());
    let keys = KeyPairs::new(session.state.path());
    let mut sources = Sources::default();
    for wanted in session.desired.objects.values() {
        let name = &wanted.object.name;
        match &wanted.spec {
            Spec::Template(spec) if !sources.images.contains_key(name) => {
                let found = match (request(name, spec), spec.source.as_ref().and_then(|source| source.file.as_ref())) {
                    (Some(request), _) => cache.known(&request),
                    (None, Some(file)) => {
                        let Some(root) = &roots.checkout else { continue };
                        let object = ObjectRef::new(Kind::Template, name.clone());
                        let folder = folder(session, &wanted.object);
                        let format = spec.format.unwrap_or(TemplateFormat::Qcow2);
                        cache.file(&object, root, &folder, Path::new(file), checksum(spec).as_ref(), format).map(Some)
                    }
                    (None, None) => Ok(None),
                };
                match found {
                    Ok(Some(found)) => {
                        sources.images.insert(name.clone(), facts(found));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        sources.failed.insert(name.clone(), error.to_string());
                    }
                }
            }
            Spec::KeyPair(spec) => {
                if let Some(public) = &spec.public_key {
                    sources.keys.insert(name.clone(), public.trim().to_owned());
                    continue;
                }
                let known = owned.entries.get(&wanted.object).and_then(|entry| entry.values.get("/generated"));
                match keys.public(name, known.and_then(|value| value.as_str())) {
                    Ok(Some(public)) => {
                        sources.keys.insert(name.clone(), public);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        sources.failed.insert(name.clone(), error.to_string());
                    }
                }
            }
            _ => {}
        }
    }
    let key = session.state.mac_key()?;
    let reader = SecretReader { checkout: roots.checkout.as_ref(), secrets_dir: roots.secrets.as_ref(), env: &env, key: &key };
    for (object, path, source) in secrets_named(session) {
        if let Ok((_, reference)) = reader.read(&source, &folder(session, &object)) {
            sources.secrets.insert((object, path), reference);
        }
    }
    Ok(sources)
}

/// The controller's deeds.
pub(super) struct Controller {
    cache: ImageCache,
    keys: KeyPairs,
    requests: BTreeMap<Name, ImageRequest>,
    formats: BTreeMap<Name, TemplateFormat>,
    secrets: BTreeMap<String, (SecretSource, PathBuf)>,
    state: PathBuf,
    roots: Option<Roots>,
}

impl Controller {
    /// The deeds for a session.
    pub(super) fn of(session: &Session) -> Self {
        let requests = session
            .desired
            .objects
            .values()
            .filter_map(|wanted| match &wanted.spec {
                Spec::Template(spec) => Some((wanted.object.name.clone(), request(&wanted.object.name, spec)?)),
                _ => None,
            })
            .collect();
        let formats = session
            .desired
            .objects
            .values()
            .filter_map(|wanted| match &wanted.spec {
                Spec::Template(spec) => Some((wanted.object.name.clone(), spec.format?)),
                _ => None,
            })
            .collect();
        let roots = Roots::of(session).ok();
        let key = session.state.mac_key().ok();
        let mut secrets = BTreeMap::new();
        if let (Some(roots), Some(key)) = (&roots, &key) {
            let reader = SecretReader { checkout: roots.checkout.as_ref(), secrets_dir: roots.secrets.as_ref(), env: &env, key };
            for (object, _, source) in secrets_named(session) {
                let folder = folder(session, &object);
                if let Ok((_, reference)) = reader.read(&source, &folder) {
                    secrets.insert(reference.source, (source, folder));
                }
            }
        }
        Self {
            cache: ImageCache::new(session.state.path()),
            keys: KeyPairs::new(session.state.path()),
            requests,
            formats,
            secrets,
            state: session.state.path().to_owned(),
            roots,
        }
    }
}

#[async_trait]
impl Local for Controller {
    async fn fetch(&self, template: &Name, progress: &dyn Progress) -> Result<(), String> {
        let request = self.requests.get(template).ok_or("its manifest names no URL")?;
        let http = Downloader::new()?;
        self.cache.fetch(&http, request, progress).await.map(|_| ()).map_err(|error| error.to_string())
    }

    fn generate_key(&self, name: &Name) -> Result<(), String> {
        self.keys.generate(name, None).map(|_| ()).map_err(|error| error.to_string())
    }

    fn image(&self, object: &ObjectRef, path: &str, digest: &str, size: u64) -> Result<String, String> {
        let format = self.formats.get(&object.name).copied().unwrap_or(TemplateFormat::Qcow2);
        let facts =
            SourceFacts { digest_sha256: digest.to_owned(), size, virtual_size: 0, format, local_path: PathBuf::from(path) };
        let kept = self.cache.keep(object, &facts).map_err(|error| error.to_string())?;
        Ok(kept.local_path.to_string_lossy().into_owned())
    }

    fn secret(&self, secret: &SecretRef) -> Result<String, String> {
        let (source, folder) =
            self.secrets.get(&secret.source).ok_or_else(|| format!("the secret from {} can't be read", secret.source))?;
        let roots = self.roots.as_ref().ok_or("the checkout can't be opened")?;
        let state = crate::store::StateDir::open(&self.state).map_err(|error| error.to_string())?;
        let key = state.mac_key().map_err(|error| error.to_string())?;
        let reader =
            SecretReader { checkout: roots.checkout.as_ref(), secrets_dir: roots.secrets.as_ref(), env: &env, key: &key };
        let (value, found) = reader.read(source, folder).map_err(|error| error.to_string())?;
        if found.mac != secret.mac {
            return Err(format!("the secret from {} changed since the plan was made: plan again", secret.source));
        }
        Ok(value.expose().clone())
    }
}

/// Writes what other tools read: a file a template and a node. They are never read back, so a failure is only said in the log.
pub(super) fn write_metadata(session: &Session, seen: &Seen) {
    let Ok(owned) = session.ledger().map(|ledger| ledger.owned()).ok_or(()) else { return };
    let files = MetadataFiles::new(&session.state);
    let at = now().to_string();
    for (name, node) in &session.desired.nodes {
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
    for wanted in session.desired.objects.values() {
        let (Spec::Template(spec), Some(node)) = (&wanted.spec, &wanted.node) else { continue };
        let Some(entry) = owned.entries.get(&wanted.object) else {
            if let Err(error) = files.remove_template(node, &wanted.object.name) {
                tracing::warn!(template = %wanted.object, %error, "the template's metadata file was not removed");
            }
            continue;
        };
        let Some(record) = &entry.template else { continue };
        let source = format!("Template/{}", wanted.object.name);
        let vms = session
            .desired
            .objects
            .values()
            .filter(|vm| matches!(&vm.spec, Spec::VirtualMachine(_)) && vm.node.as_ref() == Some(node))
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
