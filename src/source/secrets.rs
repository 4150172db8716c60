//! Secrets: read where a manifest says they are, and never kept.
//!
//! What leaves this file is a [`Secret`], which nothing can print, and a [`SecretRef`], which tells where it came from and whether
//! it is still the same.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::beneath::{BeneathError, Root};
use crate::manifest::SecretSource;
use crate::name::Secret;
use crate::plan::SecretRef;
use crate::store::MacKey;

const MAX_BYTES: u64 = 64 * 1024;
const ENV_PREFIX: &str = "JVP_VAR_";

/// Reads secrets from below a checkout, from below `--secrets-dir`, and from the environment.
pub struct SecretReader<'a> {
    /// The checkout, where there is one.
    pub checkout: Option<&'a Root>,
    /// `--secrets-dir`, where it was given.
    pub secrets_dir: Option<&'a Root>,
    /// The environment, by name.
    pub env: &'a (dyn Fn(&str) -> Option<OsString> + Sync),
    /// The key that tells secrets apart.
    pub key: &'a MacKey,
}

/// Why there is no secret. Each names where it was to come from; the caller names the field.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Neither a file nor a variable is named, or both are.
    #[error("valueFrom names {0}: write one of `file` and `env`")]
    Source(&'static str),
    /// A variable that may not be read.
    #[error("the variable `{0}` is not read: only names that begin with JVP_VAR_ are")]
    EnvName(String),
    /// A variable that isn't there.
    #[error("the variable {0} is not set: set it where jvp runs")]
    EnvMissing(String),
    /// A file that can't be opened.
    #[error("the file {} can't be read: {source}", path.display())]
    File {
        /// As the manifest names it.
        path: PathBuf,
        /// Why.
        source: BeneathError,
    },
    /// No root to look below.
    #[error("the file {} is below no checkout: name a folder with --secrets-dir", .0.display())]
    NoRoot(PathBuf),
    /// Too long, or not text.
    #[error("the secret from {from} is {what}")]
    Content {
        /// As in a [`SecretRef`].
        from: String,
        /// What it is.
        what: &'static str,
    },
    /// Another one than when the plan was made.
    #[error("the secret from {0} changed since the plan was made: plan again")]
    Changed(String),
}

impl SecretReader<'_> {
    /// Reads a secret. `folder` is that of the manifest, within the checkout.
    ///
    /// A file is looked for relative to the manifest, then below `--secrets-dir`. One newline at its end is dropped.
    pub fn read(&self, source: &SecretSource, folder: &Path) -> Result<(Secret<String>, SecretRef), SecretError> {
        let (secret, from) = match (&source.file, &source.env) {
            (Some(path), None) => self.file(Path::new(path), folder)?,
            (None, Some(name)) => (self.variable(name)?, format!("env:{name}")),
            (Some(_), Some(_)) => return Err(SecretError::Source("both a file and a variable")),
            (None, None) => return Err(SecretError::Source("nothing")),
        };
        let mac = self.key.mac(secret.expose().as_bytes());
        Ok((secret, SecretRef { source: from, mac }))
    }

    /// Reads the secret again that a reference was made for, and refuses another one.
    pub fn again(&self, wanted: &SecretRef) -> Result<Secret<String>, SecretError> {
        let in_root = |root: Option<&Root>, path: &str| {
            let path = Path::new(path);
            let root = root.ok_or_else(|| SecretError::NoRoot(path.to_owned()))?;
            // It was made by `Root::relative`, but plans are files that people can edit.
            let relative =
                root.relative(Path::new(""), path).map_err(|source| SecretError::File { path: path.to_owned(), source })?;
            open(root, &relative, &wanted.source)
        };
        let secret = match wanted.source.split_once(':') {
            Some(("file", path)) => in_root(self.checkout, path)?,
            Some(("secrets-dir", path)) => in_root(self.secrets_dir, path)?,
            Some(("env", name)) => self.variable(name)?,
            _ => return Err(SecretError::Source("no place that is known")),
        };
        if self.key.mac(secret.expose().as_bytes()) == wanted.mac {
            Ok(secret)
        } else {
            Err(SecretError::Changed(wanted.source.clone()))
        }
    }

    fn file(&self, path: &Path, folder: &Path) -> Result<(Secret<String>, String), SecretError> {
        let roots = [("file", self.checkout, folder), ("secrets-dir", self.secrets_dir, Path::new(""))];
        let mut last = SecretError::NoRoot(path.to_owned());
        for (word, root, folder) in roots {
            let Some(root) = root else { continue };
            let read = root.relative(folder, path).map_err(|source| SecretError::File { path: path.to_owned(), source });
            let read = read.and_then(|relative| {
                let from = format!("{word}:{}", relative.display());
                open(root, &relative, &from).map(|secret| (secret, from))
            });
            match read {
                Ok(found) => return Ok(found),
                // Only what isn't there is looked for elsewhere: a link or a folder in its place is a mistake to be told.
                Err(SecretError::File { source, path })
                    if source.is_not_found() || matches!(source, BeneathError::Outside { .. }) =>
                {
                    last = SecretError::File { path, source };
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn variable(&self, name: &str) -> Result<Secret<String>, SecretError> {
        if !name.starts_with(ENV_PREFIX) {
            return Err(SecretError::EnvName(name.chars().take(80).collect::<String>().escape_debug().to_string()));
        }
        let value = (self.env)(name).ok_or_else(|| SecretError::EnvMissing(name.to_owned()))?;
        let not_text = |_| SecretError::Content { from: format!("env:{name}"), what: "not UTF-8 text" };
        value.into_string().map(Secret::new).map_err(not_text)
    }
}

fn open(root: &Root, relative: &Path, from: &str) -> Result<Secret<String>, SecretError> {
    let failed = |source| SecretError::File { path: relative.to_owned(), source };
    let content = |what| SecretError::Content { from: from.to_owned(), what };
    let mut bytes = Vec::new();
    let file = root.file(relative).map_err(failed)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| failed(error.into()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(content("longer than 64 KiB"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| content("not UTF-8 text"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Secret::new(text))
}
