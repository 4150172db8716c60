//! Commands beside a daemon, as they are run: what tells of objects works while one runs and while none does, and what changes them goes
//! through it or waits for it. No secret is said by any of them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use jvp::host::fake::FakeHost;

use super::{edit, run};
use crate::checkout::Place;

const MANIFESTS: &str = "\
apiVersion: jvp.dev/v1alpha1
kind: Fleet
metadata: {name: here}
spec: {id: 6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10}
---
apiVersion: jvp.dev/v1alpha1
kind: Node
metadata: {name: local}
spec: {uri: \"qemu:///system\"}
---
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {name: web}
spec:
  title: one
  memory: 64Mi
  accelerator: TCG
  shutdown: {timeout: 1s, onTimeout: PowerOff}
  console: {vnc: {password: {valueFrom: {env: JVP_VAR_VNC_PASSWORD}}}}
";

/// The value of `JVP_VAR_VNC_PASSWORD`.
const SECRET: &str = "hunter22";

/// A daemon that ends with its test.
struct Daemon<'a> {
    place: &'a Place,
    child: Child,
}

impl<'a> Daemon<'a> {
    fn start(place: &'a Place, more: &[&str]) -> Self {
        let log = File::options().append(true).create(true).open(place.path("daemon.log")).unwrap();
        let mut command = place.command(env!("CARGO_BIN_EXE_jvp"));
        let child = command.args(["daemon", "--source", "."]).args(more).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { place, child }
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(self.child.try_wait().unwrap().is_none(), "{what}: it ended\n{}", self.log());
            assert!(began.elapsed() < Duration::from_mins(1), "{what}: never\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.place.path("daemon.log")).unwrap()
    }

    fn end(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn place() -> Place {
    let place = Place::with(&[]);
    std::fs::write(place.path("checkout").join("all.yaml"), MANIFESTS).unwrap();
    place
}

fn synced(place: &Place) -> bool {
    let output = place.jvp(&["status", "--detailed-exitcode"]);
    output.status.code() == Some(0) && String::from_utf8_lossy(&output.stdout).contains("True")
}

fn title(place: &Place) -> Option<String> {
    let node = FakeHost::at("local", &place.path("fake").join("local.json"));
    node.with(|state| {
        let domain = state.domains.get("web")?;
        let rest = domain.inactive.split("<title>").nth(1)?;
        Some(rest.split('<').next()?.to_owned())
    })
}

/// What a daemon's socket answers.
fn asked(place: &Place, path: &str) -> String {
    let mut socket = UnixStream::connect(place.path("state").join("daemon.sock")).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: daemon\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// The files of a folder that hold a text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            all.extend(holding(&path, text));
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                all.push(path.display().to_string());
            }
        }
    }
    all
}

#[test]
fn a_condition_that_the_daemon_keeps_is_waited_for_by_name_and_value() {
    let place = place();
    let mut daemon = Daemon::start(&place, &[]);
    daemon.until("the VM comes to be", || synced(&place));
    let wait = |code: i32, object: &str, condition: &str, timeout: &str| {
        run(&place, code, &["wait", object, &format!("--for=condition={condition}"), "--timeout", timeout])
    };
    assert!(wait(0, "vm/web", "Synced", "1m").contains("VirtualMachine/web is Synced\n"));
    assert!(wait(0, "vm/web", "drifted=false", "1m").contains("VirtualMachine/web is Drifted=False\n"));
    let said = wait(5, "vm/web", "RestartRequired", "1s");
    assert!(said.contains("error: VirtualMachine/web: not within 1 s: RestartRequired=False"), "{said}");
    assert!(wait(64, "vm/web", "Sinced", "1s").contains("RestartRequired"));
    wait(64, "vm/web", "Running=False", "1s");
    // One that comes while it is waited for, with a daemon that is started again meanwhile.
    let mut command = place.command(env!("CARGO_BIN_EXE_jvp"));
    let words = ["wait", "vm/web", "--for=condition=Suspended", "--timeout", "1m"];
    let waits = command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    daemon.end();
    std::thread::sleep(Duration::from_secs(1));
    let mut daemon = Daemon::start(&place, &[]);
    daemon.until("it is there again", || UnixStream::connect(place.path("state").join("daemon.sock")).is_ok() && synced(&place));
    run(&place, 0, &["suspend", "vm/web", "--reason", "for a test"]);
    let ended = waits.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "VirtualMachine/web is Suspended\n");
    let said = wait(5, "vm/web", "Suspended=False", "1s");
    assert!(said.contains("Suspended=True") && said.contains("for a test"), "{said}");
    daemon.end();
    // Without a daemon it is what the last one found, and nothing changes it.
    let said = wait(0, "vm/web", "Suspended", "1m");
    assert!(said.contains("as the last daemon found it"), "{said}");
    let said = wait(5, "vm/web", "Suspended=False", "1m");
    assert!(
        said.contains("waiting does not help: Suspended=True") && said.contains("no daemon holds the state directory"),
        "{said}"
    );
}

#[test]
fn what_tells_of_objects_works_while_a_daemon_runs_and_while_none_does() {
    let place = place();
    let mut daemon = Daemon::start(&place, &[]);
    daemon.until("the VM comes to be", || synced(&place));
    let tells = |while_it_runs: bool| {
        let got = run(&place, 0, &["get", "vms"]);
        assert!(got.contains("web") && !got.contains("as last published"), "{got}");
        let described = run(&place, 0, &["describe", "vm/web"]);
        for words in ["As the daemon found it", "Synced", "AsWanted", "Events", "domain-define", "domain-start", "start"] {
            assert!(described.contains(words), "{words}: {described}");
        }
        let waited = run(&place, 0, &["wait", "vm/web", "--for=condition=Running", "--timeout", "20s"]);
        assert!(waited.contains("VirtualMachine/web is Running"), "{waited}");
        let status = run(&place, 0, &["status"]);
        assert_eq!(status.contains("Revision"), while_it_runs, "{status}");
        assert!(status.contains("VirtualMachine/web"), "{status}");
        let events = run(&place, 0, &["events", "vm/web", "-o", "json"]);
        let ops: Vec<String> = events
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["op"].as_str().unwrap().to_owned())
            .collect();
        assert!(ops.contains(&"domain-start".to_owned()), "{events}");
    };
    tells(true);
    daemon.end();
    tells(false);
}

#[test]
fn events_are_followed_as_they_come() {
    let place = place();
    let mut daemon = Daemon::start(&place, &[]);
    daemon.until("the VM comes to be", || synced(&place));
    let seen = place.path("events.log");
    let mut watch = place.command(env!("CARGO_BIN_EXE_jvp"));
    let watch = watch.args(["events", "--watch"]).stdout(File::create(&seen).unwrap()).stderr(Stdio::null()).spawn().unwrap();
    let mut watch = Daemon { place: &place, child: watch };
    let text = || std::fs::read_to_string(&seen).unwrap();
    watch.until("what was done is told", || text().contains("domain-start"));
    assert!(!text().contains("domain-metadata"));
    edit(&place, "all.yaml", "title: one", "title: two");
    watch.until("what is done is told", || text().contains("domain-metadata"));
    let line = text().lines().find(|line| line.contains("domain-metadata")).unwrap().to_owned();
    assert!(line.contains("file") && line.contains("VirtualMachine/web"), "{line}");
    assert_eq!(text().matches("domain-define").count(), 1);
    assert!(
        text().lines().any(|line| line.contains("Fleet/here") && line.contains("manifests-read") && line.contains("/checkout"))
    );
    // A daemon that is started anew is followed like the one before.
    daemon.end();
    let mut daemon = Daemon::start(&place, &[]);
    edit(&place, "all.yaml", "title: two", "title: three");
    watch.until("what the next one does is told", || text().matches("domain-metadata").count() == 2);
    assert_eq!(text().matches("domain-define").count(), 1);
    drop(watch);
    daemon.until("it is as wanted", || synced(&place));
    daemon.end();
    // Without a daemon, and with a manifest that nobody can read, what was kept is told.
    std::fs::write(place.path("checkout").join("broken.yaml"), "kind: [").unwrap();
    for (command, told) in [("events", "domain-metadata"), ("history", "domain-metadata"), ("status", "VirtualMachine/web")] {
        assert!(run(&place, 0, &[command]).contains(told), "{command}");
    }
}

#[test]
fn a_folder_that_is_named_from_another_place_is_another_source() {
    let place = place();
    run(&place, 0, &["daemon", "--source", ".", "--once"]);
    let noted = std::fs::read_to_string(place.path("state").join("source")).unwrap();
    assert_eq!(Path::new(noted.trim_end()), place.path("checkout").canonicalize().unwrap());
}

#[test]
fn no_secret_is_in_what_a_daemon_says_and_keeps() {
    let place = place();
    for (format, old, new) in [("text", "one", "two"), ("json", "two", "three")] {
        let mut daemon = Daemon::start(&place, &["-vvv", "--log-format", format]);
        let answers = || UnixStream::connect(place.path("state").join("daemon.sock")).is_ok();
        daemon.until("the VM comes to be", || answers() && synced(&place));
        edit(&place, "all.yaml", &format!("title: {old}"), &format!("title: {new}"));
        daemon.until("a change is made", || title(&place).as_deref() == Some(new));
        for path in ["/status", "/events", "/metrics", "/healthz", "/readyz"] {
            let answer = asked(&place, path);
            assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains(SECRET), "{path}: {answer}");
        }
        for words in [&["describe", "vm/web"][..], &["status"], &["events"], &["apply", "-y"]] {
            let said = run(&place, 0, words);
            assert!(!said.contains(SECRET), "{words:?}: {said}");
        }
        daemon.end();
    }
    let log = std::fs::read_to_string(place.path("daemon.log")).unwrap();
    assert!(!log.contains(SECRET), "{log}");
    assert_eq!(holding(&place.path("state"), SECRET), Vec::<String>::new());
    // The node has it, so it was there to be said.
    assert!(!holding(&place.path("fake"), SECRET).is_empty());
    // Each step stands in a span of its own, within that of its run.
    assert!(log.contains("run{") && log.contains("step{op=\"domain-define\" object=VirtualMachine/web"), "{log}");
    let lines: Vec<serde_json::Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let spans = lines.iter().filter_map(|line| line["spans"].as_array()).find(|spans| spans.iter().any(|s| s["name"] == "step"));
    let names: Vec<&str> = spans.unwrap().iter().filter_map(|span| span["name"].as_str()).collect();
    assert_eq!(names, ["run", "step"]);
}

#[test]
fn a_validation_that_goes_on_follows_what_is_saved() {
    let place = place();
    let seen = place.path("validated.log");
    let mut command = place.command(env!("CARGO_BIN_EXE_jvp"));
    let command = command.args(["validate", "--watch", "-o", "concise", "-f", "all.yaml"]);
    let child = command.stdout(File::create(&seen).unwrap()).stderr(Stdio::null()).spawn().unwrap();
    std::fs::write(place.path("daemon.log"), "").unwrap();
    let mut watch = Daemon { place: &place, child };
    let text = || std::fs::read_to_string(&seen).unwrap();
    watch.until("it is valid", || text() == "valid: 3 objects in 1 file\n");
    std::fs::write(place.path("checkout").join("beside.yaml"), "kind: Nonsense\n").unwrap();
    edit(&place, "all.yaml", "memory: 64Mi", "memory: 64Megs");
    watch.until("what is wrong is told", || text().contains("64Megs"));
    edit(&place, "all.yaml", "memory: 64Megs", "memory: 96Mi");
    watch.until("it is valid again", || text().matches("valid: 3 objects").count() == 2);
    assert!(!text().contains("Nonsense"), "{}", text());
}

#[test]
fn a_direct_command_waits_for_the_lock_and_then_does_its_work() {
    let place = place();
    let mut daemon = Daemon::start(&place, &[]);
    daemon.until("the VM comes to be", || synced(&place));
    // Time is up: it says who holds the lock, and nothing was done.
    let said = run(&place, 1, &["vm", "stop", "web", "--direct", "--lock-timeout", "1"]);
    assert!(said.contains("jvp daemon"), "{said}");
    let mut command = place.command(env!("CARGO_BIN_EXE_jvp"));
    let direct = command.args(["vm", "stop", "web", "--direct", "--lock-timeout", "60"]);
    let mut direct = direct.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(direct.try_wait().unwrap().is_none(), "it waits for the daemon");
    daemon.end();
    let output = direct.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(run(&place, 0, &["get", "vms"]).contains("web"));
    FakeHost::at("local", &place.path("fake").join("local.json")).with(|state| {
        assert!(state.domains["web"].power.is_none());
    });
}
