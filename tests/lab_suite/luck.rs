//! Bad luck of a daemon's on real nodes: whatever happens to libvirt, to the checkout, to the disk or to the daemon itself, nothing is
//! lost, what has nothing to do with it is kept true meanwhile, and once it is over all is as wanted.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::checkout::{Checkout, ground};
use crate::daemon::Daemon;
use crate::repo::Repo;
use crate::scenarios::{EMPTY, FLEET};
use crate::support::{Lab, left_out};

/// A VM without an operating system: it is up at once and costs nothing.
fn machine(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n  memory: 64Mi\n{}",
        spec.split("; ").fold(String::new(), |text, line| text + "  " + line + "\n")
    )
}

fn network(name: &str, subnet: u8) -> String {
    format!(
        "---\napiVersion: jvp.dev/v1alpha1\nkind: Network\nmetadata: {{name: {name}}}\nspec: {{mode: Isolated, ips: [{{address: 198.18.{subnet}.1/24}}]}}\n"
    )
}

fn base(lab: &Lab) -> String {
    ground(&lab.uri("a"), FLEET, "main", &lab.images("a").join("main"))
}

fn runs(lab: &Lab, node: &str, name: &str) -> bool {
    lab.virsh(node, &["list", "--name"]).lines().any(|line| line.trim() == name)
}

fn is_synced(checkout: &Checkout) -> bool {
    let answer = checkout.jvp(&["status", "--detailed-exitcode"]);
    answer.code == Some(0) && answer.text.contains("True") && !answer.text.contains("Trouble")
}

fn says(checkout: &Checkout, what: &str) -> bool {
    checkout.jvp(&["status"]).text.contains(what)
}

/// What was done to an object, without what was only found.
fn done(checkout: &Checkout, object: &str) -> Vec<String> {
    let text = checkout.jvp(&["events", object, "--limit", "100000", "-o", "json"]).exits(0).text;
    let events = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    events.filter_map(|event| Some(event["op"].as_str()?.to_owned())).collect()
}

#[test]
fn a_node_that_is_away_or_hangs_is_noticed_and_holds_up_no_other() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(2);
    let second = format!(
        "---\napiVersion: jvp.dev/v1alpha1\nkind: Node\nmetadata: {{name: other}}\nspec: {{uri: \"{}\", defaults: {{accelerator: TCG}}}}\n",
        lab.uri("b")
    );
    let one = base(&lab).replace("spec: {type: Dir", "spec: {nodes: [host], type: Dir");
    let set =
        one + &second + &machine("one", "node: host; runStrategy: Always") + &machine("two", "node: other; runStrategy: Always");
    let checkout = Checkout::new(&set);
    // Out of reach at the start.
    lab.script(&["stop", "b"]);
    let mut daemon = Daemon::start(&checkout, &["--resync", "4s"]);
    daemon.until("what stands on the other node comes to be", || lab.virsh("a", &["pool-list", "--name"]).contains("main"));
    daemon.until("it is said which node is out of reach", || says(&checkout, "Node/other is out of reach"));
    lab.script(&["start", "b"]);
    let kept = || runs(&lab, "b", "two") && runs(&lab, "a", "one") && is_synced(&checkout) && !says(&checkout, "Unknown");
    daemon.until("a node that came back is kept", kept);
    // It goes away again: what is on it is unknown, since when and why, and nothing else is.
    lab.script(&["stop", "b"]);
    let unknown = "(NodeUnreachable: Node/other can't be read since ";
    daemon.until("what is on it is unknown", || says(&checkout, unknown));
    let text = checkout.jvp(&["status"]).text;
    assert!(
        text.lines().any(|line| line.starts_with("VirtualMachine/two ") && line.contains("Synced, Ready (NodeUnreachable")),
        "{text}"
    );
    assert!(text.lines().any(|line| line.starts_with("VirtualMachine/one ") && line.contains("True     True")), "{text}");
    assert!(
        checkout.jvp(&["describe", "vm/one"]).text.contains("True")
            && !checkout.jvp(&["describe", "vm/one"]).text.contains(unknown)
    );
    lab.script(&["start", "b"]);
    daemon.until("and known again once it is back", kept);
    // It hangs.
    let before = lab.virsh("b", &["domid", "two"]);
    lab.signal("a", "-STOP");
    let began = Instant::now();
    lab.virsh("b", &["destroy", "two"]);
    daemon.until("the other node is kept meanwhile", || runs(&lab, "b", "two"));
    let healed = began.elapsed();
    // Also where everything has to be looked at: for a VM that is new, and for what libvirt tells nobody of.
    checkout.write("three.yaml", &machine("three", "node: other; runStrategy: Always"));
    daemon.until("what is new in the manifests comes to be meanwhile", || runs(&lab, "b", "three"));
    lab.virsh("b", &["setmem", "two", "32M", "--config"]);
    let healed_by_clock = || lab.virsh("b", &["dumpxml", "two", "--inactive"]).contains("<currentMemory unit='KiB'>65536<");
    daemon.until("what libvirt tells nobody of is healed meanwhile", healed_by_clock);
    let kept = began.elapsed();
    daemon.until("that it hangs is noticed", || says(&checkout, "Node/host is out of reach"));
    let noticed = began.elapsed();
    lab.signal("a", "-CONT");
    eprintln!(
        "noticed after {noticed:.1?}; the other node was healed after {healed:.1?}, and all there was as wanted after {kept:.1?}"
    );
    let in_time = noticed < Duration::from_secs(25) && healed < Duration::from_secs(8);
    assert!(in_time, "{noticed:?} {healed:?} {kept:?}\n{}", daemon.log());
    assert_ne!(lab.virsh("b", &["domid", "two"]), before);
    let before = lab.virsh("a", &["domid", "one"]);
    daemon.until("it is in reach again", || is_synced(&checkout) && !says(&checkout, "out of reach"));
    assert_eq!(lab.virsh("a", &["domid", "one"]), before);
    lab.virsh("a", &["destroy", "one"]);
    daemon.until("and kept again", || runs(&lab, "a", "one"));
    daemon.end();
    checkout.jvp(&EMPTY).exits(0);
}

#[test]
fn a_checkout_in_any_state_and_hands_that_never_rest_cost_nothing() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let loops = "xml: \"<domain><os><bios rebootTimeout='0'/></os></domain>\"";
    let web = |title: &str, strategy: &str| {
        machine(
            "web",
            &format!(
                "runStrategy: {strategy}; title: {title}; shutdown: {{timeout: 4s, onTimeout: PowerOff}}; disks: [{{name: root, claim: {{pool: main, capacity: 8Mi}}}}]"
            ),
        )
    };
    let checkout = Checkout::new(
        &(base(&lab) + &machine("still", "runStrategy: Always") + &machine("loops", &format!("runStrategy: Always; {loops}"))),
    );
    let networks: Vec<String> = (0..6).map(|number| network(&format!("net{number}"), 20 + number)).collect();
    checkout.write("networks.yaml", &networks.concat());
    checkout.write("web.yaml", &web("one", "Always"));
    let mut daemon = Daemon::start(&checkout, &["--resync", "3s", "--prune-running"]);
    daemon.until("the set comes to be", || is_synced(&checkout) && runs(&lab, "a", "web"));
    let ids = || ["still", "loops", "web"].map(|name| lab.virsh("a", &["domid", name]));
    let before = ids();

    a_checkout_in_any_state(&lab, &checkout, &mut daemon, &web);
    // More is gone than may go at once.
    std::thread::sleep(Duration::from_secs(4));
    checkout.write("networks.yaml", &networks[..2].concat());
    daemon.until("that they are gone is told", || says(&checkout, "Unwanted") || says(&checkout, "a prune would delete"));
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(lab.virsh("a", &["net-list", "--name"]).split_whitespace().filter(|name| name.starts_with("net")).count(), 6);
    checkout.write("networks.yaml", &networks.concat());
    daemon.until("all is as wanted again", || is_synced(&checkout));
    // A guest that reboots in a loop is no work.
    let steps = done(&checkout, "vm/loops").len();
    assert_eq!(ids(), before, "{}", daemon.log());
    storm(&lab, &checkout, &mut daemon);
    assert_eq!(done(&checkout, "vm/loops").len(), steps, "{}", daemon.log());
    assert_eq!(ids()[..2], before[..2], "{}", daemon.log());

    undone_every_second(&lab, &checkout, &mut daemon);
    // It is changed by hand while its own step runs.
    let xml = lab.virsh("a", &["dumpxml", "--inactive", "web"]);
    assert!(xml.contains("<title>five</title>"), "{xml}");
    checkout.write("web.yaml", &web("five", "Halted"));
    daemon.until("its stop is under way", || says(&checkout, "In hand"));
    let file = checkout.state().with_file_name("edited.xml");
    std::fs::write(&file, xml.replace("<title>five</title>", "<title>by hand</title>").replace("65536", "81920")).unwrap();
    lab.virsh("a", &["define", file.to_str().unwrap()]);
    lab.virsh("a", &["reset", "web"]);
    daemon.until("it is off, and as its manifest says", || {
        let xml = lab.virsh("a", &["dumpxml", "--inactive", "web"]);
        !runs(&lab, "a", "web") && xml.contains("<title>five</title>") && xml.contains("65536") && is_synced(&checkout)
    });
    daemon.end();
    checkout.jvp(&EMPTY).exits(0);
}

/// The checkout is broken in every way; each time trouble is said, the last good manifests are enforced, and the next good ones taken.
fn a_checkout_in_any_state(lab: &Lab, checkout: &Checkout, daemon: &mut Daemon<'_>, web: &dyn Fn(&str, &str) -> String) {
    let (folder, aside) = (checkout.folder(), checkout.state().with_file_name("aside"));
    let away = || std::fs::rename(&folder, &aside).unwrap();
    let gone =
        |path: &PathBuf| if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() };
    let never = web("never", "Always");
    let (half, _) = never.split_at(never.find("capacity").unwrap());
    let broken: [(&str, &dyn Fn()); 5] = [
        ("half written", &|| checkout.write("web.yaml", half)),
        ("emptied", &|| {
            away();
            std::fs::create_dir(&folder).unwrap();
        }),
        ("replaced by a file", &|| {
            away();
            std::fs::write(&folder, "not a folder").unwrap();
        }),
        ("a link to nowhere", &|| {
            away();
            std::os::unix::fs::symlink("/nonexistent", &folder).unwrap();
        }),
        ("gone", &away),
    ];
    // Whoever still writes to a file is waited for.
    let all = web("one", "Always");
    let (half_of_it, rest_of_it) = all.split_at(all.find("  disks").unwrap());
    let mut file = std::fs::File::create(folder.join("web.yaml")).unwrap();
    file.write_all(half_of_it.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(lab.virsh("a", &["domblklist", "web"]).contains("web.root"));
    file.write_all(rest_of_it.as_bytes()).unwrap();
    drop(file);
    for (number, (what, breaks)) in broken.into_iter().enumerate() {
        breaks();
        let state = |args: &[&str]| {
            let mut command = checkout.command(args);
            String::from_utf8_lossy(&command.current_dir("/").output().unwrap().stdout).into_owned()
        };
        daemon.until(&format!("{what}: trouble is said"), || state(&["status"]).contains("Trouble"));
        let network = format!("net{number}");
        lab.virsh("a", &["net-destroy", &network]);
        daemon.until(&format!("{what}: the last good manifests are enforced"), || {
            lab.virsh("a", &["net-list", "--name"]).contains(&network)
        });
        if aside.exists() {
            if std::fs::symlink_metadata(&folder).is_ok() {
                gone(&folder);
            }
            std::fs::rename(&aside, &folder).unwrap();
        }
        // Files from before or after a jump of the clock are taken like any.
        let title = ["one", "two", "three", "four", "five"][number];
        checkout.write("web.yaml", &web(title, "Always"));
        let when = if number % 2 == 0 { "next day" } else { "yesterday" };
        let touched = Command::new("touch").args(["-d", when]).arg(folder.join("web.yaml")).status().unwrap();
        assert!(touched.success());
        daemon.until(&format!("{what}: the next good ones are taken"), || {
            lab.virsh("a", &["desc", "--title", "web"]).contains(title) && is_synced(checkout)
        });
    }
}

/// As many events as libvirt gives in a second and more: they cost few looks, and nothing waits for their end.
fn storm(lab: &Lab, checkout: &Checkout, daemon: &mut Daemon<'_>) {
    let looks = |checkout: &Checkout| -> f64 {
        let socket = checkout.state().join("daemon.sock");
        let answer =
            Command::new("curl").args(["-s", "--unix-socket", socket.to_str().unwrap(), "http://daemon/metrics"]).output();
        let text = String::from_utf8_lossy(&answer.unwrap().stdout).into_owned();
        let lines = text.lines().filter(|line| line.contains("looks_total"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    let (before, began) = (looks(checkout), Instant::now());
    let storm: Vec<String> =
        (0..1000).map(|number| if number % 2 == 0 { "suspend still".into() } else { "resume still".to_owned() }).collect();
    let mut hand = Command::new("virsh").args(["-q", "-c", &lab.uri("a"), &storm.join("; ")]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    lab.virsh("a", &["net-destroy", "net5"]);
    daemon.until("a network is healed amid a storm", || lab.virsh("a", &["net-list", "--name"]).contains("net5"));
    let healed = began.elapsed();
    assert!(hand.wait().unwrap().success());
    let took = began.elapsed();
    daemon.until("all is as wanted after the storm", || is_synced(checkout));
    let looks = looks(checkout) - before;
    eprintln!("1000 acts of a hand in {took:.1?}, a network healed after {healed:.1?}, {looks} looks");
    assert!(looks < 200.0, "{looks}");
}

/// Somebody undoes what jvp does, every second: that is said once and healed ever more slowly; others are healed at once; a word makes
/// an end of the wait.
fn undone_every_second(lab: &Lab, checkout: &Checkout, daemon: &mut Daemon<'_>) {
    let starts = done(checkout, "vm/web").iter().filter(|op| *op == "domain-start").count();
    daemon.until("it is said to flap", || {
        let destroyed = Command::new("virsh").args(["-q", "-c", &lab.uri("a"), "destroy", "web"]).output().unwrap();
        drop(destroyed);
        std::thread::sleep(Duration::from_secs(1));
        checkout.jvp(&["status", "vm/web"]).text.contains("Flapping")
    });
    lab.virsh("a", &["net-destroy", "net1"]);
    daemon.until("what else there is is healed at once", || lab.virsh("a", &["net-list", "--name"]).contains("net1"));
    let ops = done(checkout, "vm/web");
    assert_eq!(ops.iter().filter(|op| *op == "flapping").count(), 1, "{ops:?}");
    let starts = ops.iter().filter(|op| *op == "domain-start").count() - starts;
    // One that is destroyed before its last start was found to be as wanted is not counted again.
    assert!((4..=9).contains(&starts), "{ops:?}");
    daemon.signal("-HUP");
    daemon.until("a word makes an end of the wait", || runs(lab, "a", "web"));
}

/// A file system of its own in a folder's place.
struct Mount(PathBuf);

impl Mount {
    fn new(path: PathBuf, size: &str) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "none"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(done.success());
        Self(path)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_and_kills_at_any_moment_of_a_run_lose_nothing() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let checkout = Checkout::new(&base(&lab));
    let state = Mount::new(checkout.state(), "24m");
    let repo = Repo::new(checkout.folder());
    let source = format!("git+file://{}#main", checkout.folder().display());
    let spec = |title: &str| {
        format!(
            "runStrategy: Always; title: {title}; autostart: true; disks: [{{name: root, claim: {{pool: main, capacity: 8Mi}}}}]; interfaces: [{{name: lan, network: lan}}]"
        )
    };
    repo.write("all.yaml", base(&lab) + &network("lan", 30) + &machine("web", &spec("one")));
    repo.commit("all of it");
    // Killed a few points further on each time, until one gets through.
    let (mut kills, words) = (0, ["daemon", "--source", &source, "--once"]);
    while checkout.killed(&words, 2 + kills % 5) {
        kills += 1;
        assert!(kills < 60, "it never gets through");
    }
    eprintln!("{kills} kills until a run got through");
    assert!(kills >= 6, "{kills}");
    assert!(runs(&lab, "a", "web"));
    checkout.jvp(&EMPTY).exits(0);
    let before = lab.virsh("a", &["domid", "web"]);

    let mut daemon = Daemon::on(&checkout, &source, &["--interval", "1s", "--resync", "3s"]);
    // What the runs before it found stands there already; this one has looked.
    daemon.until("all is as wanted", || is_synced(&checkout) && says(&checkout, "Looked    20"));
    // The disk fills up; what is committed then isn't taken, or not all of it, and nothing is taken for gone.
    let (fill, rest) = (state.0.join("fill"), state.0.join("rest"));
    let filled = Command::new("dd").args(["if=/dev/zero", "bs=64k", &format!("of={}", fill.display())]).output().unwrap();
    assert!(!filled.status.success());
    let mut noise = vec![0_u8; 3 << 20];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut noise).unwrap();
    repo.write("noise.bin", &noise);
    repo.write("all.yaml", base(&lab) + &network("lan", 30) + &machine("web", &spec("two")));
    repo.commit("with something large");
    daemon.until_ended_or("a full disk is told", || says(&checkout, "no space is left"));
    assert_eq!(lab.virsh("a", &["domid", "web"]), before);
    assert!(lab.virsh("a", &["desc", "--title", "web"]).contains("one"));
    // Not a byte is left, and something is to be done: it isn't, as it can't be journalled, and whoever starts the daemon again and again
    // loses nothing by that.
    let _ = Command::new("dd").args(["if=/dev/zero", "bs=512", &format!("of={}", rest.display())]).output().unwrap();
    lab.virsh("a", &["destroy", "web"]);
    for _ in 0..3 {
        assert_eq!(daemon.ends("it ends rather than do what it can't write down"), Some(1), "{}", daemon.log());
        assert!(!runs(&lab, "a", "web"), "{}", daemon.log());
        drop(daemon);
        daemon = Daemon::on(&checkout, &source, &["--interval", "1s", "--resync", "3s"]);
    }
    let log = std::fs::read_to_string(checkout.log()).unwrap();
    assert!(log.contains("no space is left") && log.contains("nothing is done that can't be written down first"), "{log}");
    // There is room again.
    for file in [&fill, &rest] {
        std::fs::remove_file(file).unwrap();
    }
    if daemon.until_ended_or("it is taken up again", || runs(&lab, "a", "web")) {
        drop(daemon);
        daemon = Daemon::on(&checkout, &source, &["--interval", "1s", "--resync", "3s"]);
    }
    daemon.until("what was committed is taken", || {
        lab.virsh("a", &["desc", "--title", "web"]).contains("two") && is_synced(&checkout)
    });
    let ledger = std::fs::read_dir(checkout.state().join("ledger")).unwrap();
    let names: Vec<String> = ledger.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert!(!names.iter().any(|name| name.contains("damaged")), "{names:?}\n{}", daemon.log());
    let twice: BTreeSet<String> = lab.virsh("a", &["list", "--all", "--name"]).split_whitespace().map(str::to_owned).collect();
    assert_eq!(twice, BTreeSet::from(["web".to_owned()]));
    daemon.end();
    checkout.jvp(&EMPTY).exits(0);
    drop(state);
}
