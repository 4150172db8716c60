//! The controller's own deeds, done for the executor: fetching images, making keys, reading secrets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;

use super::step::Local;
use crate::host::Progress;
use crate::manifest::{SecretSource, Spec, TemplateFormat};
use crate::name::{Name, ObjectRef};
use crate::plan::SecretRef;
use crate::source::{
    Downloader, Gathering, ImageCache, ImageRequest, KeyPairs, Roots, SecretReader, SourceFacts, env, folder, request,
    secrets_named,
};

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
    /// The deeds for a set of manifests.
    pub(super) fn of(gathering: &Gathering<'_>) -> Self {
        let Gathering { set, desired, state, .. } = *gathering;
        let requests = desired
            .objects
            .values()
            .filter_map(|wanted| match &*wanted.spec {
                Spec::Template(spec) => Some((wanted.object.name.clone(), request(&wanted.object.name, spec)?)),
                _ => None,
            })
            .collect();
        let formats = desired
            .objects
            .values()
            .filter_map(|wanted| match &*wanted.spec {
                Spec::Template(spec) => Some((wanted.object.name.clone(), spec.format?)),
                _ => None,
            })
            .collect();
        let roots = Roots::of(gathering).ok();
        let key = state.mac_key().ok();
        let mut secrets = BTreeMap::new();
        if let (Some(roots), Some(key)) = (&roots, &key) {
            let reader = SecretReader { checkout: roots.checkout.as_ref(), secrets_dir: roots.secrets.as_ref(), env: &env, key };
            for (object, _, source) in secrets_named(desired) {
                let folder = folder(set, &object);
                if let Ok((_, reference)) = reader.read(&source, &folder) {
                    secrets.insert(reference.source, (source, folder));
                }
            }
        }
        Self {
            cache: ImageCache::new(state.path()),
            keys: KeyPairs::new(state.path()),
            requests,
            formats,
            secrets,
            state: state.path().to_owned(),
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
