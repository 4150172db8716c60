//! Fetching, from a server that does as it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use sha2::{Digest, Sha512};

use super::{Place, disk, object, sha256};
use crate::host::{NoProgress, Progress};
use crate::manifest::TemplateFormat;
use crate::source::fetch::may_follow;
use crate::source::{Checksum, Downloader, ImageRequest, SourceError, SourceFacts};

/// A request as the server saw it.
#[derive(Debug, Clone, Default)]
struct Seen {
    path: String,
    range: Option<u64>,
    if_range: Option<String>,
}

type Answer = dyn Fn(&Seen, &mut TcpStream) + Send + Sync;

/// A server on the loopback interface, one thread a connection, that notes what it is asked.
struct Server {
    base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    fn start(answer: impl Fn(&Seen, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer): (_, Arc<Answer>) = (seen.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (noted, answer) = (noted.clone(), answer.clone());
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let request = read_request(&stream);
                    noted.lock().unwrap().push(request.clone());
                    answer(&request, &mut stream);
                });
            }
        });
        Self { base, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> Seen {
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
    let mut seen =
        Seen { path: lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().into(), ..Seen::default() };
    for line in lines {
        match line.split_once(": ") {
            Some(("range", value)) => {
                seen.range = value.strip_prefix("bytes=").and_then(|v| v.strip_suffix('-')).map(|v| v.parse().unwrap());
            }
            Some(("if-range", value)) => seen.if_range = Some(value.to_owned()),
            _ => {}
        }
    }
    seen
}

fn respond(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let _ = write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(body);
}

fn whole(stream: &mut TcpStream, body: &[u8]) {
    respond(stream, "200 OK", &format!("Content-Length: {}\r\nETag: \"v1\"\r\n", body.len()), body);
}

fn downloader() -> Downloader {
    Downloader::new().unwrap().with_first_pause(Duration::from_millis(2))
}

fn wanted(url: &str, checksum: Option<Checksum>) -> ImageRequest {
    ImageRequest { object: object(), url: url.to_owned(), checksum, format: TemplateFormat::Raw }
}

async fn fetch(place: &Place, request: &ImageRequest) -> Result<SourceFacts, SourceError> {
    place.cache().fetch(&downloader(), request, &NoProgress).await
}

async fn refused(place: &Place, request: &ImageRequest) -> String {
    let error = fetch(place, request).await.unwrap_err().to_string();
    assert!(error.starts_with("Template/debian-12: "), "{error}");
    error
}

#[derive(Default)]
struct Heard(Mutex<Vec<(u64, u64)>>);

impl Progress for Heard {
    fn bytes(&self, done: u64, total: u64) {
        self.0.lock().unwrap().push((done, total));
    }
}

#[tokio::test]
async fn an_image_is_fetched_once_and_named_by_its_content() {
    let server = Server::start(|_, stream| whole(stream, &disk()));
    let place = Place::new();
    let request = wanted(&format!("{}/disk.raw", server.base), Some(sha256(&disk())));
    assert_eq!(place.cache().known(&request).unwrap(), None);
    let heard = Heard::default();
    let facts = place.cache().fetch(&downloader(), &request, &heard).await.unwrap();
    assert_eq!(Checksum::Sha256(facts.digest_sha256.clone()), sha256(&disk()));
    assert_eq!((facts.size, facts.virtual_size), (disk().len() as u64, disk().len() as u64));
    assert_eq!(fs::read(&facts.local_path).unwrap(), disk());
    assert_eq!(facts.local_path.metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(facts.local_path.parent().unwrap().metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(heard.0.lock().unwrap().last(), Some(&(facts.size, facts.size)));
    assert_eq!(place.cache().known(&request).unwrap().as_ref(), Some(&facts));
    assert_eq!(fetch(&place, &request).await.unwrap(), facts);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(place.kept(), [facts.digest_sha256]);

    let sha512: Checksum = format!("sha512:{}", hex::encode(Sha512::digest(disk()))).parse().unwrap();
    let request = wanted(&request.url, Some(sha512));
    let again = fetch(&place, &request).await.unwrap();
    assert_eq!(place.cache().known(&request).unwrap(), Some(again));
}

#[tokio::test]
async fn two_objects_that_want_one_image_fetch_it_once() {
    let server = Server::start(|_, stream| whole(stream, &disk()));
    let place = Place::new();
    let (cache, http) = (place.cache(), downloader());
    let request = wanted(&server.base, Some(sha256(&disk())));
    let (a, b) = tokio::join!(cache.fetch(&http, &request, &NoProgress), cache.fetch(&http, &request, &NoProgress));
    assert_eq!(a.unwrap(), b.unwrap());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_wrong_checksum_keeps_nothing() {
    let server = Server::start(|_, stream| whole(stream, &disk()));
    let place = Place::new();
    let error = refused(&place, &wanted(&server.base, Some(sha256(b"other")))).await;
    assert!(error.contains("is not what its checksum says (wanted sha256:"), "{error}");
    assert_eq!(place.kept(), [""; 0]);
    assert_eq!(server.seen().len(), 1, "a wrong content is not tried again");
}

#[tokio::test]
async fn a_transfer_that_breaks_off_goes_on_from_there() {
    let server = Server::start(|seen, stream| {
        let (body, start) = (disk(), usize::try_from(seen.range.unwrap_or(0)).unwrap());
        let end = (start + (1 << 20)).min(body.len());
        let headers = format!(
            "Content-Length: {}\r\nETag: \"v1\"\r\nContent-Range: bytes {start}-{}/{}\r\n",
            body.len() - start,
            body.len() - 1,
            body.len()
        );
        respond(stream, if start > 0 { "206 Partial Content" } else { "200 OK" }, &headers, &body[start..end]);
    });
    let place = Place::new();
    let facts = fetch(&place, &wanted(&server.base, Some(sha256(&disk())))).await.unwrap();
    assert_eq!(fs::read(facts.local_path).unwrap(), disk());
    let ranges: Vec<_> = server.seen().into_iter().map(|seen| (seen.range.map(|start| start >> 20), seen.if_range)).collect();
    let tag = Some("\"v1\"".to_owned());
    assert_eq!(ranges, [(None, None), (Some(1), tag.clone()), (Some(2), tag.clone()), (Some(3), tag)]);
}

#[tokio::test]
async fn the_next_run_goes_on_where_the_last_one_ended() {
    let works = Arc::new(Mutex::new(false));
    let now = works.clone();
    let server = Server::start(move |seen, stream| {
        let (body, start) = (disk(), usize::try_from(seen.range.unwrap_or(0)).unwrap());
        let sent: &[u8] = match (*now.lock().unwrap(), start) {
            (false, 0) => &body[..2 << 20],
            (false, _) => &[],
            (true, _) => &body[start..],
        };
        let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
        let (left, last, all) = (body.len() - start, body.len() - 1, body.len());
        let headers = format!("Content-Length: {left}\r\nETag: \"v1\"\r\nContent-Range: bytes {start}-{last}/{all}\r\n");
        respond(stream, status, &headers, sent);
    });
    let place = Place::new();
    let request = wanted(&server.base, Some(sha256(&disk())));
    let error = refused(&place, &request).await;
    assert!(error.contains("broke off at byte 2097152 of 3146240 after 5 tries"), "{error}");
    *works.lock().unwrap() = true;
    let before = server.seen().len();
    assert_eq!(fs::read(fetch(&place, &request).await.unwrap().local_path).unwrap(), disk());
    assert_eq!(server.seen()[before..].iter().map(|seen| seen.range).collect::<Vec<_>>(), [Some(2 << 20)]);
    assert_eq!(place.kept().len(), 1);
}

#[tokio::test]
async fn content_that_changed_between_two_tries_is_fetched_anew() {
    let new = || disk().into_iter().map(|byte| byte ^ 1).collect::<Vec<u8>>();
    let server = Server::start(move |seen, stream| match seen.range {
        None if seen.if_range.is_none() && !seen.path.contains('?') => {
            let body = disk();
            let headers = format!("Content-Length: {}\r\nETag: \"v1\"\r\n", body.len());
            respond(stream, "200 OK", &headers, &body[..100_000]);
        }
        _ => respond(stream, "200 OK", &format!("Content-Length: {}\r\nETag: \"v2\"\r\n", new().len()), &new()),
    });
    let place = Place::new();
    let facts = fetch(&place, &wanted(&server.base, Some(sha256(&new())))).await.unwrap();
    assert_eq!(fs::read(facts.local_path).unwrap(), new());
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_server_that_lies_about_ranges_is_asked_for_the_whole() {
    let first = AtomicBool::new(true);
    let server = Server::start(move |seen, stream| {
        let body = disk();
        let headers = |start: usize| {
            let (last, all) = (body.len() - 1, body.len());
            format!("Content-Length: {}\r\nETag: \"v1\"\r\nContent-Range: bytes {start}-{last}/{all}\r\n", all - start)
        };
        match seen.range {
            // The right range, of other bytes.
            Some(start) => {
                let start = usize::try_from(start).unwrap();
                respond(stream, "206 Partial Content", &headers(start), &vec![7; body.len() - start]);
            }
            None => respond(stream, "200 OK", &headers(0), if first.swap(false, SeqCst) { &body[..5000] } else { &body }),
        }
    });
    let place = Place::new();
    let facts = fetch(&place, &wanted(&server.base, Some(sha256(&disk())))).await.unwrap();
    assert_eq!(fs::read(facts.local_path).unwrap(), disk());
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn answers_that_are_errors_say_what_to_do() {
    let server = Server::start(|seen, stream| match seen.path.as_str() {
        "/404" => respond(stream, "404 Not Found", "Content-Length: 0\r\n", b""),
        "/403" => respond(stream, "403 Forbidden", "Content-Length: 0\r\n", b""),
        "/loop" => respond(stream, "302 Found", "Location: /loop\r\nContent-Length: 0\r\n", b""),
        "/ftp" => respond(stream, "302 Found", "Location: file:///etc/passwd\r\nContent-Length: 0\r\n", b""),
        "/busy" => respond(stream, "503 Service Unavailable", "Content-Length: 0\r\n", b""),
        "/short" => respond(stream, "200 OK", "Content-Length: 4096\r\n", &[0; 512]),
        "/page" => whole(stream, b"<!DOCTYPE html><title>Moved</title>"),
        _ => whole(stream, &[]),
    });
    let place = Place::new();
    let checksum = Some(sha256(b"<!DOCTYPE html><title>Moved</title>"));
    for (path, words, tries) in [
        ("/404", "the server answers 404 Not Found for http", 1),
        ("/403", "name it as `file`", 1),
        ("/loop", "(more than 10 redirects): name the last URL itself", 11),
        ("/ftp", "name the last URL itself", 1),
        ("/busy", "after 5 tries (the server answers 503", 5),
        ("/short", "of 4096 after 5 tries", 5),
        ("/page", "the image is a web page", 1),
        ("/empty", "is not what its checksum says", 1),
    ] {
        let before = server.seen().len();
        let error = refused(&place, &wanted(&format!("{}{path}", server.base), checksum.clone())).await;
        assert!(error.contains(words) && error.contains(path), "{path}: {error}");
        assert_eq!(server.seen().len() - before, tries, "{path}: {error}");
        assert_eq!(place.kept().iter().filter(|name| !name.starts_with(".part")).count(), 0, "{path}");
    }
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = refused(&place, &wanted(&format!("http://{gone}/"), checksum)).await;
    assert!(error.contains("can't be reached after 5 tries ("), "{error}");
}

#[tokio::test]
async fn what_is_no_image_is_refused_after_its_first_mib() {
    let server = Server::start(|_, stream| {
        respond(stream, "200 OK", "Content-Length: 1073741824\r\n", b"KDMV");
        let zeroes = vec![0; 65536];
        while stream.write_all(&zeroes).is_ok() {}
    });
    let place = Place::new();
    let error = refused(&place, &wanted(&server.base, Some(sha256(b"")))).await;
    assert!(error.contains("the image is a VMDK image"), "{error}");
    assert_eq!(place.kept(), [""; 0]);
}

#[tokio::test]
async fn only_http_with_a_checksum_and_https_are_fetched() {
    let place = Place::new();
    for (url, words) in [
        ("http://127.0.0.1:1/x", "add `checksum: sha256:…`"),
        ("ftp://example.org/x", "`ftp` is not a scheme"),
        ("file:///etc/passwd", "`file` is not a scheme"),
        ("debian.qcow2", "can't be fetched"),
    ] {
        let error = refused(&place, &wanted(url, None)).await;
        assert!(error.contains(words), "{error}");
    }
    let error = refused(&place, &wanted("http://user:hunter2@127.0.0.1:1/x", None)).await;
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn redirects_are_bounded_and_never_lose_their_encryption() {
    let url = |text: &str| reqwest::Url::parse(text).unwrap();
    let (plain, safe) = (url("http://a/"), url("https://a/"));
    assert!(may_follow(std::slice::from_ref(&plain), &plain).is_ok());
    assert!(may_follow(std::slice::from_ref(&plain), &safe).is_ok());
    assert!(may_follow(std::slice::from_ref(&safe), &safe).is_ok());
    assert!(may_follow(std::slice::from_ref(&safe), &plain).is_err());
    assert!(may_follow(&[plain.clone(), safe.clone(), safe.clone()], &plain).is_err());
    assert!(may_follow(std::slice::from_ref(&safe), &url("ftp://a/")).is_err());
    assert!(may_follow(&vec![safe.clone(); 10], &safe).is_ok());
    assert!(may_follow(&vec![safe.clone(); 11], &safe).is_err());
}

#[test]
fn checksums_are_hex_of_the_right_length() {
    assert_eq!(
        format!("sha256:{}", "A".repeat(64)).parse::<Checksum>().unwrap().to_string(),
        format!("sha256:{}", "a".repeat(64))
    );
    for text in ["", "sha256:", "md5:00", "sha256:zz", &"a".repeat(64), &format!("sha512:{}", "0".repeat(64))] {
        assert!(text.parse::<Checksum>().is_err(), "{text}");
    }
}
