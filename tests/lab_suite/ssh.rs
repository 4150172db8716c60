//! A node by ssh: the client that people have, a small server (dropbear) in the lab's node, and libvirt's own helper behind it. The
//! program runs in the node's network, as nothing else can reach it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::bad_luck::held;
use crate::checkout::{Answer, Checkout, ground};
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
    /// Listens in a node's network and lets in who has the key `id`.
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
                 exec dropbear -F -E -s -r {dir}/host -P {dir}/pid -p 127.0.0.1:2222\n"
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

#[test]
fn a_node_by_ssh_is_known_by_its_key_and_ctrl_c_leaves_nothing_half_done() {
    let lab = lab_or_return!(1);
    let server = Server::start(&lab, "a");
    let path = format!("{}:{}", server.folder.join("bin").display(), std::env::var("PATH").unwrap_or_default());
    let checkout = Checkout::new("").with_env("PATH", &path).within(&["ip", "netns", "exec", &format!("jvp-{}-a", lab.hash())]);
    std::fs::write(checkout.folder().join("still.img"), still()).unwrap();
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

    // Ctrl-C at its terminal, at one moment after another of what is left to do: each or, without a word, every fourth.
    let mut stopped = 0;
    let step = if std::env::var("JVP_TEST_CALLS").is_ok_and(|said| said == "all") { 1 } else { 4 };
    for point in (3..).step_by(step) {
        let (child, there) = held(&checkout, point);
        if !there {
            Answer::from(child.wait_with_output().expect("it ends")).exits(0);
            break;
        }
        stopped += 1;
        let group = format!("-{}", child.id());
        run("kill", &["-INT", "--", &group]);
        run("kill", &["-CONT", "--", &group]);
        let answer = Answer::from(child.wait_with_output().expect("it ends"));
        let answer = answer.says("finishing the steps in flight");
        // Where these were the last, nothing is left.
        let answer = if answer.code == Some(0) { answer } else { answer.exits(5).says("stopped as asked") };
        assert!(!answer.text.contains("error:"), "at point {point}: {}", answer.text);
        let events = checkout.jvp(&["history", "--limit", "0", "-o", "json"]).exits(0).text;
        let events: serde_json::Value = serde_json::from_str(&events).expect("JSON");
        let done = |event: &serde_json::Value| event["outcome"] == "Done" || event["outcome"].is_null();
        assert!(events.as_array().is_some_and(|events| events.iter().all(done)), "at point {point}: {events:#}");
    }
    assert!(stopped >= 3, "{stopped} stops");
    checkout.jvp(&EMPTY).exits(0);
    assert_eq!(lab.virsh("a", &["domstate", "web"]).trim(), "running");
}
