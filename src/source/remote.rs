//! Manifests from a URL, fetched whole into memory, within limits of size, time and redirects.
//!
//! What is wrong comes back as a diagnostic. Nothing is kept: a manifest is read anew by each command, as a file is.

use std::time::Duration;

use reqwest::{Client, StatusCode, Url};

use super::fetch::{reason, redirect, shown};
use super::files::MAX_FILE;
use crate::diag::{Code, Diagnostic};

/// How long a whole manifest may take.
const WHOLE: Duration = Duration::from_mins(1);
/// How long the server may be silent.
const SILENCE: Duration = Duration::from_secs(20);

/// How a manifest's URL is called in diagnostics, and its bytes.
pub(super) fn manifest(text: &str) -> (String, Result<Vec<u8>, Box<Diagnostic>>) {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => {
            return (text.to_owned(), Err(Box::new(Diagnostic::new(Code::Unreadable, format!("it is no URL: {error}")))));
        }
    };
    let name = shown(&url);
    // A thread of its own: whoever asks may be a runtime's, in which nothing may wait for another.
    let fetched = std::thread::scope(|scope| scope.spawn(|| wait(url)).join());
    (name, fetched.unwrap_or_else(|_| Err(Box::new(Diagnostic::new(Code::Unreadable, "fetching it broke off inside jvp")))))
}

fn wait(url: Url) -> Result<Vec<u8>, Box<Diagnostic>> {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(get(url)),
        Err(error) => Err(Box::new(Diagnostic::new(Code::Unreadable, format!("it can't be fetched: {error}")))),
    }
}

async fn get(url: Url) -> Result<Vec<u8>, Box<Diagnostic>> {
    let failed = |error: reqwest::Error| Box::new(judge(&error));
    let client = Client::builder()
        .user_agent(concat!("jvp/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(SILENCE)
        .timeout(WHOLE)
        .redirect(reqwest::redirect::Policy::custom(redirect))
        .build()
        .map_err(failed)?;
    let mut response = client.get(url).send().await.map_err(failed)?;
    if response.status() != StatusCode::OK {
        return Err(Box::new(refused(response.status())));
    }
    if response.content_length().is_some_and(|length| length > MAX_FILE) {
        return Err(Box::new(too_large()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > MAX_FILE {
            return Err(Box::new(too_large()));
        }
    }
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).trim_start().to_ascii_lowercase();
    if head.starts_with("<!doctype html") || head.starts_with("<html") {
        let diagnostic = Diagnostic::new(Code::NotText, "the server sent a web page, not a manifest");
        return Err(Box::new(diagnostic.help("give the URL of the file itself, which servers of Git repositories call `raw`")));
    }
    Ok(bytes)
}

fn too_large() -> Diagnostic {
    Diagnostic::new(Code::TooLarge, "what the server sends has more than 16 MiB and is not read").help("split it")
}

fn judge(error: &reqwest::Error) -> Diagnostic {
    let why = reason(error);
    let help = if error.is_redirect() {
        "name the last URL itself"
    } else if why.contains("certificate") {
        "its certificate isn't trusted here; SSL_CERT_FILE names a file with those that are"
    } else {
        "look whether the URL is right and its server can be reached from here"
    };
    let why = if error.is_timeout() { "the server took too long".to_owned() } else { why };
    Diagnostic::new(Code::Unreadable, format!("it can't be fetched: {why}")).help(help)
}

fn refused(status: StatusCode) -> Diagnostic {
    let help = match status.as_u16() {
        404 | 410 => "look whether the file was moved, and correct the URL",
        401 | 403 => "it is not free to all: fetch it yourself, and give it as a file or with `-f -`",
        300..=399 => "that leads to nothing that can be fetched; name the last URL itself",
        500..=599 => "try again later",
        _ => "look what the URL is",
    };
    Diagnostic::new(Code::Unreadable, format!("the server answers {status}")).help(help)
}
