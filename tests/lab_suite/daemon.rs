//! The daemon on a real libvirt: what somebody undoes is done again, what is committed is applied, and killing it costs nothing.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::checkout::{Answer, Checkout, ground};
use crate::scenarios::FLEET;
use crate::support::{Lab, domain_xml, left_out};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A daemon that is killed where a test ends before it does.
pub(crate) struct Daemon<'a> {
    checkout: &'a Checkout,
    child: Child,
}

impl<'a> Daemon<'a> {
    pub(crate) fn start(checkout: &'a Checkout, more: &[&str]) -> Self {
        Self::on(checkout, ".", more)
    }

    /// On another source than the folder.
    pub(crate) fn on(checkout: &'a Checkout, source: &str, more: &[&str]) -> Self {
        let log = File::options().append(true).create(true).open(checkout.log()).unwrap();
        let mut command = checkout.command(&["daemon", "--source", source]);
        let child = command.args(more).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { checkout, child }
    }

    /// Waits until something is so.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is_so() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "{what}: never ({ended:?})\n{}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until something is so or it ended by itself; tells whether it did.
    #[track_caller]
    pub(crate) fn until_ended_or(&mut self, what: &str, mut is_so: impl FnMut() -> bool) -> bool {
        let began = Instant::now();
        while !is_so() {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: never\n{}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
        false
    }

    /// The code that it ended with by itself; waits until it has.
    #[track_caller]
    pub(crate) fn ends(&mut self, what: &str) -> Option<i32> {
        assert!(self.until_ended_or(what, || false));
        self.child.wait().unwrap().code()
    }

    pub(crate) fn log(&self) -> String {
        // Also where the folder is gone.
        let status = self.checkout.command(&["status"]).current_dir("/").output().unwrap();
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        let log = std::fs::read_to_string(self.checkout.log()).unwrap_or_default();
        format!("{status}\n{log}")
    }

    fn synced(&self) -> bool {
        daemon_is_synced(self.checkout)
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Ends it as systemd does.
    pub(crate) fn end(mut self) {
        self.signal("-TERM");
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "it doesn't end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(self.child.wait().unwrap().success());
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn daemon_is_synced(checkout: &Checkout) -> bool {
    let answer = checkout.jvp(&["status", "--detailed-exitcode"]);
    answer.code == Some(0) && answer.text.contains("True")
}

fn manifests(lab: &Lab, title: &str, more: &str) -> String {
    let ground = ground(&lab.uri("a"), FLEET, "main", &lab.images("a").join("main"));
    format!(
        "{ground}---\napiVersion: jvp.dev/v1alpha1\nkind: Network\nmetadata: {{name: lan}}\nspec: {{mode: Isolated, ips: [{{address: 10.77.0.1/24}}]}}\n\
         ---\napiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: web}}\nspec: {{runStrategy: Always, autostart: true, memory: 64Mi, title: \"{title}\", \
         shutdown: {{timeout: 1s, onTimeout: PowerOff}}, disks: [{{name: root, claim: {{pool: main, capacity: 8Mi}}}}], \
         interfaces: [{{name: lan, network: lan}}]}}\n{more}"
    )
}

fn runs(lab: &Lab, name: &str) -> bool {
    lab.virsh("a", &["list", "--name"]).lines().any(|line| line.trim() == name)
}

#[test]
fn a_checkout_is_kept_true_whatever_is_done_to_what_it_says() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let file = lab.images("a").join("theirs.xml");
    std::fs::write(&file, domain_xml("theirs", uuid::Uuid::from_u128(77), "")).unwrap();
    lab.virsh("a", &["define", file.to_str().unwrap()]);
    let foreign = lab.virsh("a", &["dumpxml", "--inactive", "theirs"]);
    let checkout = Checkout::new(&manifests(&lab, "one", ""));
    let mut daemon = Daemon::start(&checkout, &["--resync", "20s"]);
    daemon.until("the set comes to be", || runs(&lab, "web"));
    daemon.until("all of it is as wanted", || checkout.jvp(&["status", "--detailed-exitcode"]).code == Some(0));
    assert!(daemon.synced());

    // What somebody stops runs again.
    let before = lab.virsh("a", &["domid", "web"]);
    lab.virsh("a", &["destroy", "web"]);
    daemon.until("a guest that was destroyed runs again", || runs(&lab, "web"));
    assert_ne!(lab.virsh("a", &["domid", "web"]), before);
    lab.virsh("a", &["pool-destroy", "main"]);
    daemon.until("a pool that was stopped runs again", || lab.virsh("a", &["pool-list", "--name"]).contains("main"));
    lab.virsh("a", &["net-destroy", "lan"]);
    daemon.until("a network that was stopped runs again", || lab.virsh("a", &["net-list", "--name"]).contains("lan"));
    // What libvirt tells nobody is found by the clock.
    lab.virsh("a", &["autostart", "--disable", "web"]);
    daemon.until("a start with libvirt that was taken away is given back", || {
        lab.virsh("a", &["list", "--all", "--autostart", "--name"]).contains("web")
    });
    daemon.until("all of it is as wanted again", || checkout.jvp(&["status", "--detailed-exitcode"]).code == Some(0));

    // What is saved is applied, without disturbing the guest.
    let before = lab.virsh("a", &["domid", "web"]);
    checkout.write("all.yaml", &manifests(&lab, "two", ""));
    daemon.until("a saved title is there", || lab.virsh("a", &["desc", "--title", "web"]).contains("two"));
    assert_eq!(lab.virsh("a", &["domid", "web"]), before);
    // What can't be read leaves the last good manifests enforced, and is said.
    checkout.write("all.yaml", &manifests(&lab, "three", "---\nkind: Nothing\n"));
    daemon.until("trouble is said", || checkout.jvp(&["status"]).text.contains("Trouble"));
    lab.virsh("a", &["destroy", "web"]);
    daemon.until("the last good manifests are enforced", || runs(&lab, "web"));
    assert!(lab.virsh("a", &["desc", "--title", "web"]).contains("two"));
    checkout.write("all.yaml", &manifests(&lab, "three", ""));
    daemon.until("and the next good ones are taken", || lab.virsh("a", &["desc", "--title", "web"]).contains("three"));

    // A command by hand goes through it.
    checkout.jvp(&["suspend", "vm/web", "--reason", "a look at its disk"]).exits(0).says("a daemon holds the state directory");
    checkout.jvp(&["vm", "stop", "web", "--force"]).exits(0);
    std::thread::sleep(Duration::from_secs(3));
    assert!(!runs(&lab, "web"), "{}", daemon.log());
    checkout.jvp(&["resume", "vm/web"]).exits(0);
    daemon.until("what is resumed runs again", || runs(&lab, "web"));
    checkout.jvp(&["events", "vm/web"]).exits(0).says("domain-start").says("suspend");

    // A run that takes long (a guest with no ears is asked to stop) holds up no hand that it doesn't concern, and no healing.
    let deaf = |strategy: &str| {
        format!(
            "---\napiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: deaf}}\n\
             spec: {{runStrategy: {strategy}, memory: 64Mi, shutdown: {{timeout: 10m}}}}\n"
        )
    };
    checkout.write("all.yaml", &manifests(&lab, "three", &deaf("Always")));
    daemon.until("a guest with no ears runs", || runs(&lab, "deaf"));
    checkout.write("all.yaml", &manifests(&lab, "three", &deaf("Halted")));
    daemon.until("it is asked to stop", || checkout.jvp(&["status"]).text.contains("In hand   VirtualMachine/deaf"));
    let before = lab.virsh("a", &["domid", "web"]);
    checkout.jvp(&["vm", "stop", "web", "--force"]).exits(0);
    daemon.until("what a hand stopped is healed meanwhile", || runs(&lab, "web") && lab.virsh("a", &["domid", "web"]) != before);
    // What concerns it waits for it.
    let mut hand = checkout.command(&["vm", "stop", "deaf", "--force"]);
    let hand = hand.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(runs(&lab, "deaf"));
    lab.virsh("a", &["destroy", "deaf"]);
    let answer = Answer::from(hand.wait_with_output().unwrap()).exits(0);
    answer.says("waiting for what the daemon has in hand: VirtualMachine/deaf");
    checkout.write("all.yaml", &manifests(&lab, "three", ""));

    // It is killed, and the next one goes on; nothing is restarted for that.
    daemon.until("all of it is as wanted before the kill", || checkout.jvp(&["status", "--detailed-exitcode"]).code == Some(0));
    let before = lab.virsh("a", &["domid", "web"]);
    daemon.kill();
    let mut daemon = Daemon::start(&checkout, &["--resync", "20s"]);
    lab.virsh("a", &["net-destroy", "lan"]);
    daemon.until("the next one keeps it", || lab.virsh("a", &["net-list", "--name"]).contains("lan"));
    assert_eq!(lab.virsh("a", &["domid", "web"]), before);
    // Another one waits outside.
    checkout.jvp(&["daemon", "--source", ".", "--once"]).exits(1).says("is held by");
    daemon.until("all of it is as wanted at the end", || checkout.jvp(&["status", "--detailed-exitcode"]).code == Some(0));
    daemon.end();
    checkout.jvp(&["plan", "--detailed-exitcode"]).exits(0);
    checkout.jvp(&["status", "vm/web"]).exits(0).says("No daemon holds");
    assert_eq!(lab.virsh("a", &["dumpxml", "--inactive", "theirs"]), foreign);
}

#[test]
fn a_libvirtd_that_is_restarted_and_a_checkout_that_is_emptied_cost_nothing() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let checkout = Checkout::new(&manifests(&lab, "one", ""));
    let mut daemon = Daemon::start(&checkout, &["--resync", "15s"]);
    daemon.until("the set comes to be", || {
        checkout.jvp(&["status", "--detailed-exitcode", "vm/web"]).code == Some(0) && runs(&lab, "web")
    });
    let before = lab.virsh("a", &["domid", "web"]);
    lab.script(&["stop", "a"]);
    std::thread::sleep(Duration::from_secs(4));
    lab.script(&["start", "a"]);
    assert_eq!(lab.virsh("a", &["domid", "web"]), before);
    lab.virsh("a", &["destroy", "web"]);
    daemon.until("it listens again", || runs(&lab, "web"));
    // An empty checkout is trouble, and no wish for nothing.
    std::fs::remove_file(checkout.folder().join("all.yaml")).unwrap();
    daemon.until("trouble is said", || checkout.jvp(&["status"]).text.contains("Trouble"));
    std::thread::sleep(Duration::from_secs(2));
    assert!(runs(&lab, "web"));
    checkout.write("all.yaml", &manifests(&lab, "two", ""));
    daemon.until("and is over", || lab.virsh("a", &["desc", "--title", "web"]).contains("two"));
    daemon.end();
}

#[test]
fn a_guest_that_reboots_is_restarted_for_what_waits_for_a_start() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let before = manifests(&lab, "one", "").replace("memory: 64Mi", "memory: 64Mi, updatePolicy: {restart: OnReboot}");
    let checkout = Checkout::new(&before);
    let mut daemon = Daemon::start(&checkout, &["--resync", "20s"]);
    daemon.until("the set comes to be", || daemon_is_synced(&checkout));
    let process = lab.virsh("a", &["domid", "web"]);
    checkout.write("all.yaml", &before.replace("memory: 64Mi", "memory: 96Mi"));
    daemon.until("the change waits", || checkout.jvp(&["status", "vm/web"]).text.contains("when its guest reboots"));
    // What changes nothing that waits, restarts nothing.
    lab.virsh("a", &["suspend", "web"]);
    lab.virsh("a", &["resume", "web"]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(lab.virsh("a", &["domid", "web"]), process);
    lab.virsh("a", &["reset", "web"]);
    daemon.until("it runs with what it was to have", || lab.virsh("a", &["dominfo", "web"]).contains("98304 KiB"));
    daemon.until("nothing waits any more", || {
        let status = checkout.jvp(&["status", "vm/web"]).text;
        daemon_is_synced(&checkout) && !status.contains("RestartRequired")
    });
    assert_ne!(lab.virsh("a", &["domid", "web"]), process);
    // A reboot with nothing that waits is the guest's own.
    let process = lab.virsh("a", &["domid", "web"]);
    lab.virsh("a", &["reset", "web"]);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(lab.virsh("a", &["domid", "web"]), process);
    daemon.end();
}
