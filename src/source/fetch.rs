//! Fetching images: resumed after a break, checked before they get their name.
//!
//! # Guarantees
//!
//! A file gets its name in the cache only after its checksum, its length and its header were right. What is left of a fetch that
//! was broken off is used only if the server says that it still has the same content. An https URL never ends at an http one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};

use super::checksum::Hasher;
use super::images::{ImageCache, ImageRequest, SourceError, SourceFacts, SourceFailure, create, key};
use crate::host::Progress;
use crate::image::HEAD_BYTES;
use crate::store::write_atomically;

/// How many redirects are followed.
pub const MAX_REDIRECTS: usize = 10;

/// How many times a transfer is begun or gone on with.
pub const MAX_TRIES: usize = 5;

/// The HTTP client. One for all fetches.
#[derive(Debug, Clone)]
pub struct Downloader {
    client: Client,
    backoff: ExponentialBuilder,
}

impl Downloader {
    /// A client that trusts what the system trusts and takes its proxies from the environment.
    ///
    /// The error says why there can be none, such as a system without certificates.
    pub fn new() -> Result<Self, String> {
        let client = Client::builder()
            .user_agent(concat!("jvp/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_mins(1))
            .redirect(reqwest::redirect::Policy::custom(redirect))
            .build()
            .map_err(|error| reason(&error))?;
        Ok(Self { client, backoff: ExponentialBuilder::default().with_jitter() })
    }

    /// The same with other pauses between tries, the first this long.
    #[must_use]
    pub fn with_first_pause(mut self, pause: Duration) -> Self {
        self.backoff = self.backoff.with_min_delay(pause).with_max_delay(pause.saturating_mul(20));
        self
    }
}

pub(super) fn redirect(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    match may_follow(attempt.previous(), attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(reason) => attempt.error(reason),
    }
}

/// Whether a redirect to `next` is followed. `previous` begins with the URL that was asked for.
pub(super) fn may_follow(previous: &[Url], next: &Url) -> Result<(), String> {
    if previous.len() > MAX_REDIRECTS {
        return Err(format!("more than {MAX_REDIRECTS} redirects"));
    }
    match next.scheme() {
        "https" => Ok(()),
        // Whatever was encrypted once stays so: a checksum is not always there to tell.
        "http" if previous.iter().any(|url| url.scheme() == "https") => Err("from https to a URL without encryption".to_owned()),
        "http" => Ok(()),
        _ => Err("to a URL that is neither http nor https".to_owned()),
    }
}

/// Which fetches are under way: two objects may want one URL.
#[derive(Debug, Clone, Default)]
pub(super) struct Fetching(Arc<Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>>);

impl Fetching {
    fn of(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.entry(key.to_owned()).or_default().clone()
    }
}

impl ImageCache {
    /// Fetches an image into the cache, unless it is there. `progress` is told of bytes; a total of 0 means that nobody knows it.
    ///
    /// # Errors
    ///
    /// What can't get better (404, a wrong checksum, another format) is not tried again; a connection that fails or breaks off
    /// is, [`MAX_TRIES`] times in all, each time from where it broke off. What was fetched until then stays for the next run.
    pub async fn fetch(
        &self,
        http: &Downloader,
        wanted: &ImageRequest,
        progress: &dyn Progress,
    ) -> Result<SourceFacts, SourceError> {
        let url = parse(wanted)?;
        let key = key(&wanted.url, wanted.checksum.as_ref());
        let one_at_a_time = self.fetching.of(&key);
        let _guard = one_at_a_time.lock().await;
        if let Some(facts) = self.known(wanted)? {
            return Ok(facts);
        }
        let mut part = Part::open(self, wanted, &shown(&url), &key)?;
        let mut pauses = http.backoff.with_max_times(MAX_TRIES - 1).build();
        let mut tries = 0;
        loop {
            tries += 1;
            match part.transfer(http, &url, progress).await {
                Ok(()) => match part.finish() {
                    // Bytes of before the break and of after it may be of two files, whatever the server said.
                    Err(error) if part.resumed && matches!(*error.failure, SourceFailure::Checksum { .. }) => part.restart()?,
                    finished => return finished,
                },
                Err(Broken::For(error)) => {
                    if matches!(*error.failure, SourceFailure::Image { .. }) {
                        part.remove();
                    }
                    return Err(error);
                }
                Err(Broken::Off(reason)) => {
                    let Some(pause) = pauses.next() else { return Err(part.broken_off(tries, reason)) };
                    tracing::debug!(object = %wanted.object, url = %part.shown, reason, "trying again in {pause:?}");
                    tokio::time::sleep(pause).await;
                }
            }
            if tries >= MAX_TRIES {
                return Err(part.broken_off(tries, "the content changed while it was fetched".to_owned()));
            }
        }
    }
}

fn parse(wanted: &ImageRequest) -> Result<Url, SourceError> {
    let error = |reason| SourceError::new(&wanted.object, SourceFailure::Url { url: wanted.url.clone(), reason });
    let url = Url::parse(&wanted.url).map_err(|parse| error(parse.to_string()))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if wanted.checksum.is_some() => Ok(url),
        "http" => Err(SourceError::new(&wanted.object, SourceFailure::NoChecksum { url: shown(&url) })),
        other => Err(error(format!("`{}` is not a scheme that is spoken here", other.escape_debug()))),
    }
}

/// A URL without the password that may stand in it.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        let _ = url.set_password(Some("…"));
    }
    url.to_string()
}

/// An error with its causes, without the URL.
pub(super) fn reason(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let own = error.to_string();
        if !text.contains(&own) {
            text = if text.is_empty() { own } else { format!("{text}: {own}") };
        }
        cause = error.source();
    }
    if text.is_empty() { "the connection failed".to_owned() } else { text }
}

/// Why a transfer ended too early.
enum Broken {
    /// It may go on after a pause.
    Off(String),
    /// It won't get better.
    For(SourceError),
}

impl From<SourceError> for Broken {
    fn from(error: SourceError) -> Self {
        Self::For(error)
    }
}

/// What a server said of the content that a part is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Validator {
    /// A strong ETag, or else a date.
    of: Option<String>,
    /// The length of the whole.
    total: Option<u64>,
}

/// A transfer that is not whole yet.
struct Part<'a> {
    cache: &'a ImageCache,
    wanted: &'a ImageRequest,
    shown: String,
    path: PathBuf,
    note: PathBuf,
    pin: PathBuf,
    file: File,
    hasher: Hasher,
    done: u64,
    validator: Validator,
    head_judged: bool,
    resumed: bool,
}

impl<'a> Part<'a> {
    /// Opens what an earlier run left, or begins.
    fn open(cache: &'a ImageCache, wanted: &'a ImageRequest, shown: &str, key: &str) -> Result<Self, SourceError> {
        let folder = cache.folder(&wanted.object)?;
        let path = folder.join(format!(".part-{key}"));
        let note = folder.join(format!(".part-{key}.json"));
        let validator: Option<Validator> = std::fs::read(&note)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .filter(|v: &Validator| v.of.is_some());
        let left = validator.and_then(|v| Some((v, std::fs::OpenOptions::new().read(true).write(true).open(&path).ok()?)));
        let mut hasher = Hasher::new(wanted.checksum.as_ref());
        let (file, done, validator) = match left {
            Some((validator, mut file)) => {
                let done = hasher.update_from(&mut file).map_err(SourceError::io(&wanted.object, "failed to read", &path))?;
                (file, done, validator)
            }
            None => (create(&path).map_err(SourceError::io(&wanted.object, "failed to write", &path))?, 0, Validator::default()),
        };
        Ok(Self {
            cache,
            wanted,
            shown: shown.to_owned(),
            pin: cache.pin(&wanted.url, wanted.checksum.as_ref()),
            path,
            note,
            file,
            hasher,
            done,
            validator,
            head_judged: false,
            resumed: done > 0,
        })
    }

    fn io(&self, what: &'static str) -> impl FnOnce(std::io::Error) -> SourceError + use<> {
        SourceError::io(&self.wanted.object, what, &self.path)
    }

    fn failed(&self, failure: SourceFailure) -> SourceError {
        SourceError::new(&self.wanted.object, failure)
    }

    /// One request, and all that comes of it.
    async fn transfer(&mut self, http: &Downloader, url: &Url, progress: &dyn Progress) -> Result<(), Broken> {
        if self.done > 0 && self.validator.of.is_none() {
            self.restart()?;
        }
        // Without this, a server that compresses on the way would send other lengths than it says.
        let mut request = http.client.get(url.clone()).header(reqwest::header::ACCEPT_ENCODING, "identity");
        if self.done > 0
            && let Some(of) = &self.validator.of
        {
            request = request.header(RANGE, format!("bytes={}-", self.done)).header(IF_RANGE, of);
        }
        let response = request.send().await.map_err(|error| self.judge(&error))?;
        self.begin(&response)?;
        self.body(response, progress).await
    }

    /// Judges the answer's head, and goes back to the beginning where the server does.
    fn begin(&mut self, response: &Response) -> Result<(), Broken> {
        let total = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let (start, total) = content_range(response).unwrap_or((0, None));
                if start != self.done || (total.is_some() && self.validator.total.is_some() && total != self.validator.total) {
                    self.restart()?;
                    return Err(Broken::Off("the server sent another part than was asked for".to_owned()));
                }
                self.resumed = true;
                total
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                self.restart()?;
                return Err(Broken::Off("the server has less than was fetched before".to_owned()));
            }
            StatusCode::OK => {
                if self.done > 0 {
                    self.restart()?;
                }
                header(response, &CONTENT_LENGTH).and_then(|text| text.parse().ok())
            }
            status => return Err(self.refused(status)),
        };
        let etag = header(response, &ETAG).filter(|etag| !etag.starts_with("W/"));
        let of = etag.or_else(|| header(response, &LAST_MODIFIED)).map(str::to_owned);
        self.validator = Validator { of: of.or(self.validator.of.take()), total: total.or(self.validator.total) };
        if self.validator.of.is_some()
            && let Ok(bytes) = serde_json::to_vec(&self.validator)
        {
            write_atomically(&self.note, &bytes, 0o600).map_err(self.io("failed to write"))?;
        }
        Ok(())
    }

    async fn body(&mut self, mut response: Response, progress: &dyn Progress) -> Result<(), Broken> {
        let total = self.validator.total;
        progress.bytes(self.done, total.unwrap_or(0));
        while let Some(chunk) = response.chunk().await.map_err(|error| Broken::Off(reason(&error)))? {
            // Into the page cache, a few KiB at a time: no reason to leave the thread.
            self.file.write_all(&chunk).map_err(self.io("failed to write"))?;
            self.hasher.update(&chunk);
            self.done += chunk.len() as u64;
            if !self.head_judged && self.done >= HEAD_BYTES {
                self.judge_head(total.unwrap_or(u64::from(u32::MAX)).max(self.done))?;
            }
            progress.bytes(self.done, total.unwrap_or(0));
        }
        match total {
            Some(total) if total != self.done => {
                Err(Broken::Off(format!("the server said {total} bytes and sent {}", self.done)))
            }
            _ => Ok(()),
        }
    }

    /// Judges the first MiB as soon as it is there: nobody waits for gigabytes of what is no image.
    fn judge_head(&mut self, len: u64) -> Result<(), SourceError> {
        self.head_judged = true;
        if self.validator.total.is_none() {
            // Where tables lie can't be judged without a length; the end will tell.
            return Ok(());
        }
        let mut head = Vec::new();
        let read = self.file.rewind().and_then(|()| (&mut self.file).take(HEAD_BYTES).read_to_end(&mut head));
        read.and_then(|_| self.file.seek(SeekFrom::End(0))).map_err(self.io("failed to read"))?;
        self.cache.check_head(&self.wanted.object, &self.shown, &head, len, self.wanted.format).map(|_| ())
    }

    fn judge(&self, error: &reqwest::Error) -> Broken {
        let reason = reason(error);
        if error.is_redirect() {
            return self.failed(SourceFailure::Redirect { url: self.shown.clone(), reason }).into();
        }
        if error.is_builder() {
            return self.failed(SourceFailure::Url { url: self.shown.clone(), reason }).into();
        }
        if reason.contains("certificate") {
            // Who isn't trusted now won't be in a minute.
            let reason = format!("{reason}; SSL_CERT_FILE names a file with the certificates that are trusted");
            return self.failed(SourceFailure::Unreachable { url: self.shown.clone(), tries: 1, reason }).into();
        }
        Broken::Off(reason)
    }

    fn refused(&self, status: StatusCode) -> Broken {
        let advice = match status.as_u16() {
            404 | 410 => "look whether the image was moved or replaced by a newer one, and correct the URL",
            401 | 403 => "the image is not free to all; fetch it yourself and name it as `file`",
            408 | 425 | 429 | 500..=599 => return Broken::Off(format!("the server answers {status}")),
            300..=399 => "that leads to nothing that can be fetched; name the last URL itself",
            _ => "look what the URL is",
        };
        self.failed(SourceFailure::Status { url: self.shown.clone(), status: status.to_string(), advice }).into()
    }

    fn restart(&mut self) -> Result<(), SourceError> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(self.io("failed to write"))?;
        let _ = std::fs::remove_file(&self.note);
        self.hasher = Hasher::new(self.wanted.checksum.as_ref());
        self.validator = Validator::default();
        (self.done, self.head_judged, self.resumed) = (0, false, false);
        Ok(())
    }

    /// Checks the whole and gives it its name.
    fn finish(&mut self) -> Result<SourceFacts, SourceError> {
        let object = &self.wanted.object;
        let hashes = self.hasher.clone().finish();
        if let Some(wanted) = &self.wanted.checksum
            && let Some(found) = hashes.contradicts(wanted)
        {
            if !self.resumed {
                self.remove();
            }
            return Err(self.failed(SourceFailure::Checksum { from: self.shown.clone(), wanted: wanted.clone(), found }));
        }
        let checked = self.cache.check(object, &self.shown, &mut self.file, self.wanted.format);
        let (info, size) = checked.inspect_err(|_| self.remove())?;
        let kept = self.cache.image(&hashes.sha256);
        self.file.sync_all().and_then(|()| std::fs::rename(&self.path, &kept)).map_err(self.io("failed to keep"))?;
        let _ = std::fs::remove_file(&self.note);
        write_atomically(&self.pin, format!("{}\n", hashes.sha256).as_bytes(), 0o600).map_err(SourceError::io(
            object,
            "failed to write",
            &self.pin,
        ))?;
        Ok(SourceFacts {
            digest_sha256: hashes.sha256,
            size,
            virtual_size: info.virtual_size,
            format: info.format,
            local_path: kept,
        })
    }

    fn remove(&self) {
        // Nothing reads them any more; at worst they are overwritten by the next fetch.
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_file(&self.note);
    }

    fn broken_off(&self, tries: usize, reason: String) -> SourceError {
        let url = self.shown.clone();
        if self.done == 0 && self.validator.total.is_none() {
            return self.failed(SourceFailure::Unreachable { url, tries, reason });
        }
        let total = self.validator.total.map_or("an unknown length".to_owned(), |total| total.to_string());
        self.failed(SourceFailure::BrokenOff { url, done: self.done, total, tries, reason })
    }
}

fn header<'r>(response: &'r Response, name: &reqwest::header::HeaderName) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

/// `bytes START-END/TOTAL`.
fn content_range(response: &Response) -> Option<(u64, Option<u64>)> {
    let (range, total) = header(response, &CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}
