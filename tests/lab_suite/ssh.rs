//! A node by ssh: the client that people have, a small server (dropbear) in the lab's node, and libvirt's own helper behind it. The
//! program runs in the node's network, as nothing else can reach it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::bad_luck::held;
use crate::checkout::{Answer, Checkout, ground};
use crate::far;
use crate::kill::{Inventory, difference};
use crate::proxy::{Link, Proxy, Which};
use crate::sample::{below, chosen};
use crate::scenarios::{EMPTY, FLEET, lab_or_return};
use crate::support::{Lab, left_out, repository, still};

/// The server, and the folder of keys and of the client's configuration.
struct Server {
    folder: PathBuf,
    child: Child,
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program} can't be started ('./x test --install' installs it): {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

impl Server {
    /// Listens in a node's network and lets in who has the key `id`. What comes by it goes over the proxy of that node.
    fn start(lab: &Lab, node: &str) -> Self {
        let folder = lab.folder(node).join("ssh");
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        let path = |name: &str| folder.join(name).display().to_string();
        for name in ["host", "other"] {
            run("dropbearkey", &["-t", "ed25519", "-f", &path(name)]);
        }
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path("id")]);
        let dir = folder.display();
        script(
            &folder.join("serve"),
            &format!(
                "#!/bin/sh\nset -e\nmount -t tmpfs -o mode=700 none /root\nmkdir -m 700 /root/.ssh\ncp {dir}/id.pub /root/.ssh/authorized_keys\n\
                 mount --bind /run/libvirt/far-sock /run/libvirt/libvirt-sock\nexec dropbear -F -E -s -r {dir}/host -P {dir}/pid -p 127.0.0.1:2222\n"
            ),
        );
        // ssh takes nothing of the user's own.
        let interrupted = format!("if [ -e {dir}/interrupted ]; then rm {dir}/interrupted; kill -INT $$; fi");
        script(&folder.join("bin/ssh"), &format!("#!/bin/sh\n{interrupted}\nexec /usr/bin/ssh -F {dir}/config \"$@\"\n"));
        let config = format!(
            "Host kvm1\n  HostName 127.0.0.1\n  Port 2222\n  HostKeyAlias kvm1\n  UserKnownHostsFile {dir}/known_hosts\n  \
             GlobalKnownHostsFile none\n  IdentityFile none\n  IdentityAgent none\n"
        );
        std::fs::write(folder.join("config"), config).unwrap();
        let mut command = Command::new("sh");
        command.arg(repository("tests/lab/lab.sh")).args(["exec", node, "unshare", "-m", "--propagation", "private"]);
        command.arg(folder.join("serve")).env("JVP_LAB_DIR", folder.parent().unwrap().parent().unwrap());
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("sh can be started");
        let server = Self { folder, child };
        for _ in 0..200 {
            if server.folder.join("pid").exists() {
                return server;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("no ssh server: {}", std::fs::read_to_string(server.folder.join("log")).unwrap_or_default());
    }

    /// Has the client know this key of the host's; none where it knows none.
    fn known(&self, key: Option<&str>) {
        let known = key.map_or_else(String::new, |name| {
            let said = run("dropbearkey", &["-y", "-f", &self.folder.join(name).display().to_string()]);
            let key = said.lines().find(|line| line.starts_with("ssh-")).expect("a public key").to_owned();
            format!("kvm1 {key}\n")
        });
        std::fs::write(self.folder.join("known_hosts"), known).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// The program by ssh, and what a run of it without trouble finds and leaves.
struct Bench<'a> {
    lab: &'a Lab,
    proxy: &'a Proxy,
    checkout: &'a Checkout,
    untouched: Inventory,
    clean: Inventory,
    /// The fail points of that run, and its calls that change something.
    points: u32,
    changes: u32,
}

fn set(lab: &Lab, checkout: &Checkout, parameters: &str) {
    let uri = format!("qemu+ssh://root@kvm1/system{parameters}");
    let more = "---\napiVersion: jvp.dev/v1alpha1\nkind: Network\nmetadata: {name: lan}\n\
                spec: {mode: Isolated, ips: [{address: 198.18.7.1/24}]}\n---\n\
                apiVersion: jvp.dev/v1alpha1\nkind: Template\nmetadata: {name: still}\n\
                spec: {pool: main, source: {file: still.img}, format: raw}\n---\n\
                apiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: web}\nspec:\n  memory: 96Mi\n  runStrategy: Always\n  \
                disks: [{name: root, claim: {pool: main, source: {template: still}}}]\n  interfaces: [{name: eth0, network: lan}]\n";
    checkout.write("all.yaml", &(ground(&uri, FLEET, "main", &lab.images("a").join("main")) + more));
}

/// Waits until something is so; false where the run ended before.
fn until(child: &mut Child, what: impl Fn() -> bool) -> bool {
    loop {
        let ended = child.try_wait().expect("it can be waited for").is_some();
        if what() {
            return true;
        }
        if ended {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As at its terminal.
fn interrupt(child: &Child) {
    run("kill", &["-INT", "--", &format!("-{}", child.id())]);
}

const APPLY: [&str; 2] = ["apply", "-y"];

impl<'a> Bench<'a> {
    fn new(lab: &'a Lab, proxy: &'a Proxy, checkout: &'a Checkout) -> Self {
        let untouched = lab.inventory("a");
        proxy.cut(None);
        let mut command = checkout.command(&APPLY);
        // One that is far beyond its end, for the points to be told.
        command.env("JVP_FAILPOINT", "journal:9999:stop").env("JVP_LOG", "jvp::apply::failpoint=trace");
        let answer = command.output().expect("the program can be started");
        let answer = Answer::from(answer).exits(0);
        let points = u32::try_from(answer.text.matches("fail point").count()).expect("few points");
        let changes = u32::try_from(proxy.seen().len()).expect("few calls");
        assert!(points >= 20 && changes >= 10, "{points} points, {changes} calls: {}", answer.text);
        checkout.jvp(&EMPTY).exits(0);
        let bench = Self { lab, proxy, checkout, untouched, clean: lab.inventory("a"), points, changes };
        bench.afresh();
        bench
    }

    /// All as it was before jvp came.
    fn afresh(&self) {
        self.checkout.lose_state();
        self.lab.clear("a", "");
        assert_eq!(difference(&self.untouched, &self.lab.inventory("a")), "");
    }

    /// The ends of what was begun so far, and how many of them nobody knows yet.
    fn history(&self) -> (Vec<String>, usize) {
        let events = self.checkout.jvp(&["history", "--limit", "0", "-o", "json"]).exits(0).text;
        let events: serde_json::Value = serde_json::from_str(&events).expect("JSON");
        let events = events.as_array().expect("a list");
        let open = events.iter().filter(|event| event["open"] == true).count();
        (events.iter().map(|event| event["outcome"].as_str().expect("a word").to_owned()).collect(), open)
    }

    /// One more run ends as a clean one does, and then all is as it was before jvp came.
    fn goes_on(&self, what: &str) {
        let again = self.checkout.jvp(&APPLY);
        assert_eq!(again.code, Some(0), "{what}, and the next:\n{}", again.text);
        self.checkout.jvp(&EMPTY).exits(0);
        let found = difference(&self.clean, &self.lab.inventory("a"));
        assert_eq!(found, "", "{what}, and the next:\n{}", again.text);
        assert_eq!(self.history().1, 0, "{what}, and the next leaves something open:\n{}", again.text);
        self.afresh();
    }

    /// What a run said that ended after the steps in flight.
    fn ended_after_its_steps(&self, answer: Answer, what: &str) -> String {
        let answer = answer.says("finishing the steps in flight");
        // Where these were the last, nothing is left.
        let answer = if answer.code == Some(0) { answer } else { answer.exits(5).says("stopped as asked") };
        let what = format!("{what}: {}", answer.text);
        assert!(!answer.text.contains("error:"), "{what}");
        // What was begun is done, and what was only announced was never begun.
        let (ends, open) = self.history();
        assert!(open == 0 && ends.iter().all(|end| end == "Done" || end == "NotBegun"), "{what}: {ends:?}");
        assert!(ends.iter().any(|end| end == "Done"), "{what}: {ends:?}");
        what
    }

    /// Ctrl-C at a fail point. Whether there was such a point.
    fn at_a_point(&self, point: u32) -> bool {
        let (child, there) = held(self.checkout, point);
        if there {
            interrupt(&child);
            run("kill", &["-CONT", "--", &format!("-{}", child.id())]);
        }
        let answer = Answer::from(child.wait_with_output().expect("it ends"));
        let what = format!("Ctrl-C at point {point}");
        let what = if there { self.ended_after_its_steps(answer, &what) } else { answer.exits(0).text };
        self.goes_on(&what);
        there
    }

    /// Ctrl-C while a message is on its way to the daemon, once, or twice.
    fn in_a_call(&self, which: Which, number: u32, twice: bool) {
        let what = format!("Ctrl-C ({}) at number {number} of {which:?}", if twice { "two times" } else { "once" });
        let path = self.checkout.log();
        let log = std::fs::File::create(&path).expect("a file can be made");
        let said = || std::fs::read_to_string(&path).expect("it can be read");
        let message = self.proxy.hold(which, number);
        let mut command = self.checkout.command(&APPLY);
        command.stdout(log.try_clone().expect("it can be cloned")).stderr(log).process_group(0);
        let mut child = command.spawn().expect("it can be started");
        assert!(until(&mut child, || message.came()), "{what}, which never came: {}", said());
        interrupt(&child);
        assert!(until(&mut child, || said().contains("finishing the steps in flight")), "{what}: {}", said());
        if twice {
            interrupt(&child);
            // It is gone while the message is held still: it waited for no answer.
            let code = child.wait().expect("it ends").code();
            drop(message);
            let answer = Answer { code, text: said() }.exits(5).says("stopped as asked");
            assert!(!answer.text.contains("error:"), "{what}: {}", answer.text);
            let (ends, open) = self.history();
            assert!(open > 0 && !ends.iter().any(|end| end == "Failed"), "{what}: {ends:?}");
            self.goes_on(&format!("{what}: {}", answer.text));
            return;
        }
        assert!(child.try_wait().expect("it can be waited for").is_none(), "{what}: it didn't wait: {}", said());
        message.goes_on();
        let code = child.wait().expect("it ends").code();
        let what = self.ended_after_its_steps(Answer { code, text: said() }, &what);
        self.goes_on(&what);
    }

    /// Ctrl-C at each fail point, in each call that changes something and in an upload, once and twice; or at some of these.
    fn interrupted(&self) {
        const ONCE_AND_TWICE: [bool; 2] = [false, true];
        let what = format!("Ctrl-C at one of {} points, in one of {} calls and in an upload", self.points, self.changes);
        let Some(number) = chosen(&what) else {
            let mut points = 0;
            while self.at_a_point(points + 1) {
                points += 1;
            }
            for twice in ONCE_AND_TWICE {
                (1..=self.changes).for_each(|number| self.in_a_call(Which::Changes, number, twice));
                (1..=3).for_each(|number| self.in_a_call(Which::Bytes, number, twice));
            }
            eprintln!("Ctrl-C at {points} points, and once and twice in {} calls and at 3 places of an upload", self.changes);
            assert!(points >= 20, "{points} points");
            return;
        };
        let one = |what: &str, of: u32| below(number, what, of.into()) as u32 + 1;
        let point = one("point", self.points - 2);
        assert!(self.at_a_point(point), "point {point}");
        let twice = one("twice", 2) == 2;
        self.in_a_call(Which::Changes, one("call", self.changes), twice);
        self.in_a_call(Which::Bytes, 2, !twice);
    }
}

#[test]
fn a_node_by_ssh_is_known_by_its_key_and_ctrl_c_leaves_nothing_half_done() {
    let lab = lab_or_return!(1);
    let proxy = far::behind(&lab, "a", Link::default());
    let server = Server::start(&lab, "a");
    let path = format!("{}:{}", server.folder.join("bin").display(), std::env::var("PATH").unwrap_or_default());
    let checkout = Checkout::new("").with_env("PATH", &path).within(&["ip", "netns", "exec", &format!("jvp-{}-a", lab.hash())]);
    // Its bytes are sent in several messages.
    let mut image = still();
    image[4096..].fill(7);
    image.resize(4 << 20, 7);
    std::fs::write(checkout.folder().join("still.img"), image).unwrap();
    let keyfile = format!("?keyfile={}", server.folder.join("id").display());

    set(&lab, &checkout, &keyfile);
    server.known(None);
    let unknown = checkout.jvp(&EMPTY).exits(4).says("Node/host: ssh doesn't know the host's key");
    let unknown = unknown.says("connect to it once by hand with ssh, compare the fingerprint");
    server.known(Some("other"));
    let changed =
        checkout.jvp(&EMPTY).exits(4).says("Node/host: the host's key has changed: it is SHA256:").says("ssh-keygen -R");
    let changed = changed.says(&server.folder.join("known_hosts").display().to_string());
    server.known(Some("host"));
    set(&lab, &checkout, "");
    let refused = checkout.jvp(&EMPTY).exits(4).says("Node/host: ssh was not let in").says("Permission denied").says("keyfile=");
    for answer in [unknown, changed, refused] {
        assert!(!answer.text.contains("@@@") && !answer.text.contains("group libvirt"), "{}", answer.text);
    }

    // One that comes while ssh is on its way out of the terminal's reach.
    set(&lab, &checkout, &keyfile);
    let interrupted = server.folder.join("interrupted");
    std::fs::write(&interrupted, "").unwrap();
    checkout.jvp(&EMPTY).exits(2);
    assert!(!interrupted.exists());

    Bench::new(&lab, &proxy, &checkout).interrupted();
}
