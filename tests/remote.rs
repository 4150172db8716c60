//! Manifests and templates from a server: as the program fetches them, over http and https, and when the server misbehaves. Nodes are
//! fakes, which only a debug build knows; servers are on the loopback interface.

#![cfg(debug_assertions)]
#![expect(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests: what fails must be loud")]

#[path = "lab_suite/checkout.rs"]
#[expect(dead_code, reason = "each test uses its part")]
mod checkout;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use checkout::Checkout;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};

/// A certificate for `localhost`, and its key; it is trusted by nobody who isn't told to.
fn tls(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

type Page = dyn Fn(&str, &mut dyn Write) + Send + Sync;

/// A server that answers each request by its path, one thread a connection.
struct Server {
    base: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn http(page: impl Fn(&str, &mut dyn Write) + Send + Sync + 'static) -> Self {
        Self::start(None, page)
    }

    fn https(page: impl Fn(&str, &mut dyn Write) + Send + Sync + 'static) -> Self {
        let certificate = CertificateDer::from_pem_file(tls("certificate.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(tls("key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Self::start(Some(Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())), page)
    }

    fn start(config: Option<Arc<ServerConfig>>, page: impl Fn(&str, &mut dyn Write) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if config.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, page): (_, Arc<Page>) = (asked.clone(), Arc::new(page));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (noted, page, config) = (noted.clone(), page.clone(), config.clone());
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    match config {
                        None => serve(stream, &noted, &*page),
                        Some(config) => serve(StreamOwned::new(ServerConnection::new(config).unwrap(), stream), &noted, &*page),
                    }
                });
            }
        });
        Self { base, asked }
    }

    fn asked(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == path).count()
    }
}

/// One request; who doesn't trust the server sends none.
fn serve(mut stream: impl Read + Write, noted: &Mutex<Vec<String>>, page: &Page) {
    let mut lines = BufReader::new(&mut stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let Some(first) = lines.next() else { return };
    lines.for_each(drop);
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    noted.lock().unwrap().push(path.clone());
    page(&path, &mut stream);
    let _ = stream.flush();
}

fn answer(to: &mut dyn Write, status: &str, headers: &str, body: &[u8]) {
    let _ = write!(to, "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
    let _ = to.write_all(body);
}

fn whole(to: &mut dyn Write, body: &[u8]) {
    answer(to, "200 OK", &format!("Content-Length: {}\r\n", body.len()), body);
}

const HEAD: &str = r#"apiVersion: jvp.dev/v1alpha1
kind: Fleet
metadata: {name: remote}
spec: {id: 6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10}
---
apiVersion: jvp.dev/v1alpha1
kind: Node
metadata: {name: host}
spec: {uri: "qemu:///system"}
---
apiVersion: jvp.dev/v1alpha1
kind: StoragePool
metadata: {name: main}
spec: {type: Dir, target: {path: /srv/main}}
"#;

const LIST: &str = "---
apiVersion: jvp.dev/v1alpha1
kind: List
items:
- apiVersion: jvp.dev/v1alpha1
  kind: Volume
  metadata: {name: a}
  spec: {pool: main, capacity: 1Gi}
- apiVersion: jvp.dev/v1alpha1
  kind: Volume
  metadata: {name: b}
  spec: {pool: main, capacity: 1Gi}
";

/// A place to run the program in, which trusts the server's certificate or doesn't.
fn place(manifests: &str, trusting: bool) -> (Checkout, tempfile::TempDir) {
    let node = tempfile::tempdir().unwrap();
    let mut checkout = Checkout::new(manifests).with_env("JVP_FAKE", node.path().to_str().unwrap());
    if trusting {
        checkout = checkout.with_env("SSL_CERT_FILE", tls("certificate.pem").to_str().unwrap());
    }
    fs::create_dir(checkout.state()).unwrap();
    fs::set_permissions(checkout.state(), fs::Permissions::from_mode(0o755)).unwrap();
    (checkout, node)
}

#[test]
fn manifests_come_from_http_and_https_urls() {
    let set = format!("{HEAD}{LIST}");
    let pages = set.clone();
    let (plain, safe) = (
        Server::http(move |path, to| match path {
            "/moved.yaml" => answer(to, "302 Found", "Location: /set.yaml\r\nContent-Length: 0\r\n", b""),
            _ => whole(to, pages.as_bytes()),
        }),
        Server::https(move |_, to| whole(to, set.as_bytes())),
    );
    let (checkout, _node) = place(HEAD, true);
    fs::remove_file(checkout.folder().join("all.yaml")).unwrap();
    let url = format!("{}/set.yaml", safe.base);
    checkout.jvp(&["validate", "-f", &url]).exits(0).says("valid: 5 objects in 1 file");
    checkout.jvp(&["apply", "-y", "-f", &url]).exits(0).says("Volume/b");
    for url in [url, format!("{}/set.yaml", plain.base), format!("{}/moved.yaml", plain.base)] {
        checkout.jvp(&["plan", "--detailed-exitcode", "-f", &url]).exits(0);
    }
    // Named twice, it is read once; a file of this machine may stand beside it.
    checkout
        .write("c.yaml", "apiVersion: jvp.dev/v1alpha1\nkind: Volume\nmetadata: {name: c}\nspec: {pool: main, capacity: 1Gi}\n");
    let (before, url) = (safe.asked("/set.yaml"), format!("{}/set.yaml", safe.base));
    checkout.jvp(&["plan", "--detailed-exitcode", "-f", &url, "-f", &url, "-f", "c.yaml"]).exits(2).says("Volume/c");
    assert_eq!(safe.asked("/set.yaml"), before + 1);
    // A saved plan fetches it anew.
    checkout.jvp(&["plan", "-f", &url, "-f", "c.yaml", "--out", "../saved"]).exits(0);
    checkout.jvp(&["apply", "../saved"]).exits(0);
}

#[test]
fn a_server_whose_certificate_is_not_trusted_is_refused() {
    let server = Server::https(|_, to| whole(to, HEAD.as_bytes()));
    let image = Template::new(&server);
    let (checkout, _node) = place(&image.manifests("image"), false);
    let url = format!("{}/set.yaml", server.base);
    checkout.jvp(&["validate", "-f", &url]).exits(3).says(&url).says("certificate").says("SSL_CERT_FILE");
    let answer = checkout.jvp(&["apply", "-y"]).exits(5).says("Template/image").says("certificate").says("SSL_CERT_FILE");
    assert!(!answer.text.contains("after 5 tries"), "{}", answer.text);
    assert_eq!(server.asked.lock().unwrap().len(), 0);
}

#[test]
fn what_is_wrong_in_a_manifest_of_a_url_is_said_with_the_url_and_its_place() {
    let wrong =
        format!("{HEAD}---\napiVersion: jvp.dev/v1alpha1\nkind: KeyPair\nmetadata: {{name: ops}}\nspec: {{generat: true}}\n");
    let server = Server::http(move |_, to| whole(to, wrong.as_bytes()));
    let (checkout, _node) = place(HEAD, true);
    let url = format!("{}/wrong.yaml", server.base);
    checkout.jvp(&["apply", "-y", "-f", &url]).exits(3).says(&format!("{url}:19:8")).says("did you mean `generate`?");
    let answer = checkout.jvp(&["validate", "-f", &url.replace("//", "//jane:hunter2@")]).exits(3).says("jane:");
    assert!(!answer.text.contains("hunter2"), "{}", answer.text);
}

#[test]
fn a_manifest_of_a_url_names_no_file_of_this_machine() {
    let server = Server::http(|_, to| {
        let set = format!(
            "{HEAD}---\napiVersion: jvp.dev/v1alpha1\nkind: Template\nmetadata: {{name: image}}\n\
             spec: {{pool: main, format: raw, source: {{file: secret.txt}}}}\n\
             ---\napiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: web}}\n\
             spec: {{memory: 1Gi, console: {{vnc: {{password: {{valueFrom: {{file: secret.txt}}}}}}}}}}\n"
        );
        whole(to, set.as_bytes());
    });
    let (checkout, _node) = place(HEAD, true);
    checkout.write("secret.txt", "hunter2");
    let answer = checkout.jvp(&["plan", "-f", &format!("{}/set.yaml", server.base)]).exits(3);
    let answer =
        answer.says("Template/image: the manifest comes from a URL").says("set.yaml:19:48").says("name the image's own `url`");
    answer.says("VirtualMachine/web: the manifest comes from a URL").says("set.yaml:24:66").says("JVP_VAR_");
}

#[test]
fn servers_of_manifests_that_misbehave_are_refused_within_bounds() {
    let plain = Server::http(|path, to| match path {
        "/403" => answer(to, "403 Forbidden", "Content-Length: 0\r\n", b""),
        "/503" => answer(to, "503 Service Unavailable", "Content-Length: 0\r\n", b""),
        "/loop" => answer(to, "302 Found", "Location: /loop\r\nContent-Length: 0\r\n", b""),
        "/file" => answer(to, "302 Found", "Location: file:///etc/passwd\r\nContent-Length: 0\r\n", b""),
        "/page" => whole(to, b"\n<!DOCTYPE html><title>Sign in</title>"),
        "/large" => answer(to, "200 OK", "Content-Length: 104857600\r\n", b"a: b\n"),
        "/endless" => {
            answer(to, "200 OK", "", b"");
            while to.write_all(&vec![b' '; 65536]).is_ok() {}
        }
        "/short" => answer(to, "200 OK", "Content-Length: 4096\r\n", b"a: b\n"),
        "/noise" => whole(to, &[0xde, 0xad, 0xbe, 0xef]),
        _ => answer(to, "404 Not Found", "Content-Length: 0\r\n", b""),
    });
    let base = plain.base.clone();
    let safe = Server::https(move |_, to| {
        answer(to, "302 Found", &format!("Location: {base}/page\r\nContent-Length: 0\r\n"), b"");
    });
    let (checkout, _node) = place(HEAD, true);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plain = |path: &str| format!("{}{path}", plain.base);
    for (url, code, words) in [
        (plain("/404"), "JVP0001", "was moved"),
        (plain("/403"), "JVP0001", "fetch it yourself"),
        (plain("/503"), "JVP0001", "try again later"),
        (plain("/loop"), "JVP0001", "more than 10 redirects"),
        (plain("/file"), "JVP0001", "name the last URL itself"),
        (plain("/page"), "JVP0002", "web page"),
        (plain("/large"), "JVP0003", "16 MiB"),
        (plain("/endless"), "JVP0003", "16 MiB"),
        (plain("/short"), "JVP0001", "can't be fetched"),
        (plain("/noise"), "JVP0002", "no UTF-8 text"),
        (format!("{}/down", safe.base), "JVP0001", "without encryption"),
        (format!("http://{gone}/"), "JVP0001", "can be reached from here"),
        ("http://".to_owned(), "JVP0001", "no URL"),
        ("ftp://localhost/set.yaml".to_owned(), "JVP0006", "`ftp`"),
    ] {
        checkout.jvp(&["apply", "-y", "-f", &url]).exits(3).says(&format!("error[{code}]")).says(&url).says(words);
    }
}

#[test]
fn a_server_of_manifests_that_never_answers_is_given_up() {
    let server = Server::http(|_, _| std::thread::sleep(std::time::Duration::from_mins(5)));
    let (checkout, _node) = place(HEAD, true);
    checkout.jvp(&["validate", "-f", &format!("{}/set.yaml", server.base)]).exits(3).says("took too long");
}

/// A template from a server.
struct Template {
    url: String,
}

impl Template {
    fn new(server: &Server) -> Self {
        Self { url: format!("{}/image.raw", server.base) }
    }

    fn bytes() -> Vec<u8> {
        vec![7; 1 << 20]
    }

    /// The set with the template, and a volume that needs nothing of it.
    fn manifests(&self, name: &str) -> String {
        format!(
            "{HEAD}{LIST}---\napiVersion: jvp.dev/v1alpha1\nkind: Template\nmetadata: {{name: {name}}}\n\
             spec: {{pool: main, format: raw, source: {{url: \"{}\"}}, checksum: \"sha256:{}\"}}\n",
            self.url,
            hex::encode(Sha256::digest(Self::bytes()))
        )
    }
}

/// A server that misbehaves until it is mended: the error names the template and says what to do, the rest is done, nothing of it is
/// kept as an image, and the next run fetches it.
fn misbehaves(page: impl Fn(&mut dyn Write) + Send + Sync + 'static, words: &[&str]) {
    let mended = Arc::new(AtomicBool::new(false));
    let now = mended.clone();
    let server = Server::https(move |_, to| if now.load(Ordering::SeqCst) { whole(to, &Template::bytes()) } else { page(to) });
    let template = Template::new(&server);
    let (checkout, node) = place(&template.manifests("image"), true);
    let mut answer = checkout.jvp(&["apply", "-y"]).exits(5).says("error: Template/image").says(&template.url);
    for word in words {
        answer = answer.says(word);
    }
    let state = fs::read_to_string(node.path().join("host.json")).unwrap();
    assert!(state.contains("/srv/main/b.qcow2") && !state.contains("image-"), "{state}");
    let kept: Vec<_> =
        fs::read_dir(checkout.state().join("cache/images")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(kept.iter().all(|name| name.to_string_lossy().starts_with('.') || name == "pins"), "{kept:?}");
    mended.store(true, Ordering::SeqCst);
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&["plan", "--detailed-exitcode"]).exits(0);
    let state = fs::read_to_string(node.path().join("host.json")).unwrap();
    assert!(state.contains("/srv/main/_templates_/image-"), "{state}");
}

#[test]
fn a_template_with_a_wrong_checksum_is_said_and_the_rest_is_done() {
    misbehaves(|to| whole(to, &vec![8; 1 << 20]), &["is not what its checksum says"]);
}

#[test]
fn a_template_whose_server_answers_404_is_said_and_the_rest_is_done() {
    misbehaves(|to| answer(to, "404 Not Found", "Content-Length: 0\r\n", b""), &["404 Not Found", "correct the URL"]);
}

#[test]
fn a_template_whose_server_breaks_off_is_said_and_the_rest_is_done() {
    misbehaves(|to| answer(to, "200 OK", "Content-Length: 1048576\r\n", &[7; 4096]), &["broke off", "1048576"]);
}

#[test]
fn a_template_whose_server_sends_another_length_is_said_and_the_rest_is_done() {
    misbehaves(|to| answer(to, "200 OK", "Content-Length: 524288\r\n", &vec![7; 1 << 20]), &["is not what its checksum says"]);
}
