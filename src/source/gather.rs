//! What is known of images, keys and secrets that manifests name: facts for the planner. Fetches and makes nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Checksum, ImageCache, ImageRequest, KeyPairs, ManifestSet, Root, SecretReader, SourceFacts};
use crate::image::word;
use crate::manifest::{SecretSource, Spec, TemplateFormat, TemplateSpec};
use crate::name::{Kind, Name, ObjectRef};
use crate::plan::{ImageFacts, Owned, Sources};
use crate::resolve::Desired;
use crate::store::{StateDir, StoreError};

/// Why nothing could be gathered.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// A folder that files are read beneath.
    #[error("failed to open {}: {source}", path.display())]
    Root {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A set of manifests with all that its sources are looked up in.
#[derive(Clone, Copy)]
pub struct Gathering<'a> {
    /// The manifests.
    pub set: &'a ManifestSet,
    /// What they want.
    pub desired: &'a Desired,
    /// The state directory, which holds the cache of images, keys, and the key that tells secrets apart.
    pub state: &'a StateDir,
    /// The folder that `valueFrom.file` may read besides the checkout.
    pub secrets_dir: Option<&'a Path>,
}

fn facts(found: SourceFacts) -> ImageFacts {
    ImageFacts {
        digest_sha256: found.digest_sha256,
        size: found.size,
        virtual_size: found.virtual_size,
        format: word(found.format).into(),
        path: found.local_path.to_string_lossy().into_owned(),
    }
}

pub(crate) fn env(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn checksum(spec: &TemplateSpec) -> Option<Checksum> {
    spec.checksum.as_deref().and_then(|text| text.parse().ok())
}

/// The request for a Template's image; none where it is a file beside the manifest.
pub(crate) fn request(name: &Name, spec: &TemplateSpec) -> Option<ImageRequest> {
    Some(ImageRequest {
        object: ObjectRef::new(Kind::Template, name.clone()),
        url: spec.source.as_ref()?.url.clone()?,
        checksum: checksum(spec),
        format: spec.format.unwrap_or(TemplateFormat::Qcow2),
    })
}

/// The roots that files may be read beneath.
pub(crate) struct Roots {
    /// The checkout, where there is one.
    pub checkout: Option<Root>,
    /// Why it can't be opened, where it was there when the manifests were read. What needs no file of it goes on.
    pub lost: Option<GatherError>,
    /// `--secrets-dir`, where it was given.
    pub secrets: Option<Root>,
}

impl Roots {
    /// Opens them.
    pub(crate) fn of(gathering: &Gathering<'_>) -> Result<Self, GatherError> {
        let set = gathering.set;
        let folder = set.fleet_folder.clone().or_else(|| set.folders.values().next().cloned());
        let open = |path: &Path| Root::open(path).map_err(|source| GatherError::Root { path: path.to_owned(), source });
        let (checkout, lost) = match folder.as_deref().map(open).transpose() {
            Ok(checkout) => (checkout, None),
            Err(error) => (None, Some(error)),
        };
        let secrets = gathering.secrets_dir.map(open).transpose()?;
        Ok(Self { checkout, lost, secrets })
    }
}

/// The folder of an object's manifest, canonical.
pub(crate) fn folder(set: &ManifestSet, object: &ObjectRef) -> PathBuf {
    set.documents
        .iter()
        .find(|document| document.object.kind == object.kind && document.object.name == object.name)
        .and_then(|document| set.folders.get(&document.file).cloned())
        .unwrap_or_default()
}

/// Every secret that the manifests name, with where it stands.
pub(crate) fn secrets_named(desired: &Desired) -> Vec<(ObjectRef, String, SecretSource)> {
    desired
        .objects
        .values()
        .filter_map(|wanted| match &*wanted.spec {
            Spec::VirtualMachine(spec) => {
                let password = spec.console.as_ref()?.vnc.as_ref()?.password.as_ref()?;
                Some((wanted.object.clone(), "/console/vnc/password".to_owned(), password.value_from.clone()))
            }
            _ => None,
        })
        .collect()
}

/// Gathers what is known of images, keys and secrets. Fetches and makes nothing.
pub fn gather(gathering: &Gathering<'_>, owned: &Owned) -> Result<Sources, GatherError> {
    let Gathering { set, desired, state, .. } = *gathering;
    let roots = Roots::of(gathering)?;
    let cache = ImageCache::new(state.path());
    let keys = KeyPairs::new(state.path());
    let mut sources = Sources::default();
    for wanted in desired.objects.values() {
        let name = &wanted.object.name;
        match &*wanted.spec {
            Spec::Template(spec) if !sources.images.contains_key(name) => {
                let found = match (request(name, spec), spec.source.as_ref().and_then(|source| source.file.as_ref())) {
                    (Some(request), _) => cache.known(&request),
                    (None, Some(file)) => {
                        let Some(root) = &roots.checkout else {
                            sources.failed.extend(roots.lost.as_ref().map(|why| (name.clone(), why.to_string())));
                            continue;
                        };
                        let object = ObjectRef::new(Kind::Template, name.clone());
                        let folder = folder(set, &wanted.object);
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
    let key = state.mac_key()?;
    let reader = SecretReader { checkout: roots.checkout.as_ref(), secrets_dir: roots.secrets.as_ref(), env: &env, key: &key };
    for (object, path, source) in secrets_named(desired) {
        if let Ok((_, reference)) = reader.read(&source, &folder(set, &object)) {
            sources.secrets.insert((object, path), reference);
        }
    }
    Ok(sources)
}
