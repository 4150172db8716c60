//! Bad luck on a real node: each ends in an error that names the object and says what to do, what has nothing to do with it is done all
//! the same, and once the cause is gone the next run ends as a clean one does. By the command line alone.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::checkout::{Answer, Checkout};
use crate::scenarios::{EMPTY, FLEET, base, checkout, lab_or_return, machine};
use crate::support::{Lab, left_out};

/// A pool and a VM that have nothing to do with what breaks.
fn aside(lab: &Lab) -> String {
    format!(
        r"---
apiVersion: jvp.dev/v1alpha1
kind: StoragePool
metadata: {{name: aside}}
spec: {{type: Dir, target: {{path: {pool}}}}}
---
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {{name: aside}}
spec:
  memory: 96Mi
  runStrategy: Halted
  disks: [{{name: root, claim: {{pool: aside, capacity: 8Mi}}}}]
",
        pool = lab.images("a").join("aside").display(),
    )
}

fn manifests(lab: &Lab, strategy: &str) -> String {
    base(lab, "a", FLEET, "", 7) + &machine("web", "", &format!("  runStrategy: {strategy}")) + &aside(lab)
}

/// What went wrong with `web` left all else as wanted.
#[track_caller]
fn aside_is_there(lab: &Lab) {
    lab.virsh("a", &["dominfo", "aside"]);
    lab.virsh("a", &["vol-info", "--pool", "aside", "aside.root.qcow2"]);
    lab.virsh("a", &["net-info", "lan"]);
}

/// The cause is gone: the next run makes everything, and then there is nothing to be done.
#[track_caller]
fn converges(lab: &Lab, checkout: &Checkout) {
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&EMPTY).exits(0);
    lab.virsh("a", &["dominfo", "web"]);
}

/// Runs a script in the node's own namespaces.
fn in_node(lab: &Lab, script: &str) {
    lab.script(&["exec", "a", "sh", "-ec", script]);
}

/// The errors of a run are about these objects, one each.
#[track_caller]
fn errors(answer: &Answer, objects: &[&str]) {
    let found: Vec<&str> = answer.text.lines().filter_map(|line| line.strip_prefix("error: ")?.split(": ").next()).collect();
    assert_eq!(found, objects, "{}", answer.text);
}

#[test]
fn a_pool_whose_path_cannot_be_a_folder_is_said_and_the_rest_is_done() {
    let lab = lab_or_return!(1);
    let checkout = checkout(&manifests(&lab, "Halted"), false);
    let path = lab.images("a").join("main");
    std::fs::create_dir_all(lab.images("a")).unwrap();
    std::fs::write(&path, "in the way").unwrap();
    let answer = checkout.jvp(&["apply", "-y"]).exits(5).says(&path.display().to_string()).says("move it away");
    errors(&answer, &["StoragePool/main@host"]);
    aside_is_there(&lab);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "in the way");
    std::fs::remove_file(&path).unwrap();
    converges(&lab, &checkout);
}

#[test]
fn a_pool_whose_folder_is_gone_is_said_and_the_rest_is_done() {
    let lab = lab_or_return!(1);
    let checkout = checkout(&manifests(&lab, "Halted"), false);
    checkout.jvp(&["apply", "-y"]).exits(0);
    let (path, kept) = (lab.images("a").join("main"), lab.images("a").join("kept"));
    // With libvirt running, and with one that found no folder when it started.
    for restart in [false, true] {
        std::fs::rename(&path, &kept).unwrap();
        if restart {
            lab.script(&["restart", "a"]);
        }
        let more = machine("more", "", "  runStrategy: Halted");
        checkout
            .write("more.yaml", &more.replace("pool: main", "pool: aside").replace("source: {template: tiny}", "capacity: 8Mi"));
        if restart {
            let answer =
                checkout.jvp(&["apply", "-y"]).exits(5).says(&path.display().to_string()).says("is its file system mounted?");
            errors(&answer, &["StoragePool/main@host", "StoragePool/main-templates@host"]);
        } else {
            // As far as libvirt knows, only the files are gone; new ones in their place would be other disks.
            let file = path.join("web.root.qcow2").display().to_string();
            checkout.jvp(&["apply", "-y"]).exits(6).says(&format!("{file} was there and is gone")).says("mount its file system");
            checkout.jvp(&["apply", "-y", "--target", "VM/more"]).exits(0);
        }
        assert!(!path.exists());
        lab.virsh("a", &["dominfo", "more"]);
        std::fs::rename(&kept, &path).unwrap();
        converges(&lab, &checkout);
        assert!(path.join("web.root.qcow2").exists());
    }
}

#[test]
fn a_pool_on_a_read_only_file_system_is_said_and_the_rest_is_done() {
    let lab = lab_or_return!(1);
    let checkout = checkout(&manifests(&lab, "Halted"), false);
    let path = lab.images("a").join("main");
    std::fs::create_dir_all(&path).unwrap();
    let read_only = format!("mount --bind {0} {0}; mount -o remount,bind,ro {0}", path.display());
    in_node(&lab, &read_only);
    let answer = checkout.jvp(&["apply", "-y"]).exits(5).says(&path.display().to_string()).says("writable on Node/host");
    errors(&answer, &["StoragePool/main-templates@host"]);
    aside_is_there(&lab);
    in_node(&lab, &format!("umount {}", path.display()));
    converges(&lab, &checkout);
    // With all in place, a new volume is what can't be made, and what is there is not lost.
    in_node(&lab, &read_only);
    checkout.write("more.yaml", &machine("more", "", "  runStrategy: Halted"));
    let answer = checkout.jvp(&["apply", "-y"]).exits(5).says("more.root.qcow2").says("writable on Node/host");
    errors(&answer, &["Volume/more.root"]);
    in_node(&lab, &format!("umount {}", path.display()));
    converges(&lab, &checkout);
}

#[test]
fn a_pool_that_is_full_is_said_and_the_rest_is_done() {
    let lab = lab_or_return!(1);
    let checkout = checkout(&manifests(&lab, "Halted"), false);
    let path = lab.images("a").join("main");
    std::fs::create_dir_all(&path).unwrap();
    in_node(&lab, &format!("mount -t tmpfs -o size=2m none {}", path.display()));
    let answer = checkout.jvp(&["apply", "-y"]).exits(5).says("No space left on device").says("make room");
    errors(&answer, &["Template/tiny@host"]);
    aside_is_there(&lab);
    in_node(&lab, &format!("mount -o remount,size=200m {}", path.display()));
    converges(&lab, &checkout);
}

#[test]
fn a_qemu_that_does_not_start_is_said_and_the_rest_is_done() {
    let lab = lab_or_return!(1);
    let checkout = checkout(&manifests(&lab, "Always"), false);
    // An emulator that answers libvirt's questions, and breaks as soon as it is to run this guest. QEMU looks for its modules beside
    // itself, so the real one takes the place of a program there that nobody needs.
    let (binary, real, broken) = ("/usr/bin/qemu-system-x86_64", "/usr/bin/yes", lab.folder("a").join("broken"));
    let script = "case \"$*\" in *guest=web*) echo 'the emulator is broken' >&2; exit 1;; esac";
    std::fs::write(&broken, format!("#!/bin/sh\n{script}\nexec {real} \"$@\"\n")).unwrap();
    let broken = broken.display();
    in_node(&lab, &format!("chmod 755 {broken}; mount --bind {binary} {real}; mount --bind {broken} {binary}"));
    let answer = checkout.jvp(&["apply", "-y"]).exits(5).says("the emulator is broken").says("libvirt/qemu/web.log on Node/host");
    errors(&answer, &["VirtualMachine/web"]);
    aside_is_there(&lab);
    assert_eq!(lab.virsh("a", &["domstate", "web"]).trim(), "shut off");
    in_node(&lab, &format!("umount {binary}"));
    converges(&lab, &checkout);
    assert_eq!(lab.virsh("a", &["domstate", "web"]).trim(), "running");

    // An image that QEMU refuses: its first table lies nowhere.
    lab.virsh("a", &["destroy", "web"]);
    let disk = lab.images("a").join("main/web.root.qcow2");
    let whole = std::fs::read(&disk).unwrap();
    let mut bytes = whole.clone();
    bytes[40..48].copy_from_slice(&(u64::MAX - 511).to_be_bytes());
    std::fs::write(&disk, bytes).unwrap();
    let answer = checkout.jvp(&["apply", "-y"]).exits(5).says("L1 table").says("libvirt/qemu/web.log on Node/host");
    errors(&answer, &["VirtualMachine/web"]);
    std::fs::write(&disk, whole).unwrap();
    converges(&lab, &checkout);
    assert_eq!(lab.virsh("a", &["domstate", "web"]).trim(), "running");
}

/// The state of a process: `T` where it was stopped, none where it ended.
fn state(child: &mut Child) -> Option<char> {
    if child.try_wait().unwrap().is_some() {
        return None;
    }
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

/// Runs `apply` in a process group of its own, as a shell at a terminal does; it stands still at its `point`-th fail point. Whether it
/// got there.
pub fn held(checkout: &Checkout, point: u32) -> (Child, bool) {
    let mut command = checkout.command(&["apply", "-y"]);
    command.env("JVP_FAILPOINT", format!("journal:{point}:stop")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).spawn().expect("it can be started");
    loop {
        match state(&mut child) {
            None => return (child, false),
            Some('T') => return (child, true),
            Some(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
}

#[test]
fn a_libvirtd_that_is_stopped_during_an_apply_is_said_and_the_next_run_goes_on() {
    let lab = lab_or_return!(1);
    let checkout = checkout(&manifests(&lab, "Always"), false);
    lab.script(&["stop", "a"]);
    checkout.jvp(&["apply", "-y"]).exits(4).says("Node/host").says("look whether libvirt runs there");
    lab.script(&["start", "a"]);
    let mut stopped = 0;
    for point in (2..).step_by(5) {
        let (child, there) = held(&checkout, point);
        if !there {
            Answer::from(child.wait_with_output().expect("it ends")).exits(0);
            break;
        }
        stopped += 1;
        lab.script(&["stop", "a"]);
        let woken = std::process::Command::new("kill").args(["-CONT", &child.id().to_string()]).status().unwrap();
        assert!(woken.success());
        let answer = Answer::from(child.wait_with_output().expect("it ends"));
        answer.exits(5).says("once the node is back, run it again");
        lab.script(&["start", "a"]);
    }
    assert!(stopped >= 4, "{stopped} stops");
    checkout.jvp(&EMPTY).exits(0);
    assert_eq!(lab.virsh("a", &["list", "--all", "--name"]).split_whitespace().collect::<Vec<_>>(), ["web", "aside"]);
    // And after it: the guest runs on, and nothing is to be done when libvirtd is back.
    let id = lab.virsh("a", &["domid", "web"]);
    lab.script(&["stop", "a"]);
    checkout.jvp(&EMPTY).exits(4).says("look whether libvirt runs there");
    lab.script(&["start", "a"]);
    checkout.jvp(&EMPTY).exits(0);
    assert_eq!(lab.virsh("a", &["domid", "web"]), id);
}

/// Runs the program with its state directory, or the file system of it, as `mount` makes it.
fn with_state(checkout: &Checkout, mount: &str, args: &[&str]) -> Answer {
    let mut command = std::process::Command::new("unshare");
    let inner = checkout.command(args);
    command.args(["-m", "sh", "-ec", &format!("{mount}; exec \"$@\""), "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(checkout.folder()).env_remove("LIBVIRT_DEFAULT_URI").stdin(Stdio::null());
    command.output().expect("unshare can be started").into()
}

#[test]
fn a_state_directory_that_cannot_be_written_is_said_before_anything_is_done() {
    let lab = lab_or_return!(1);
    let checkout = checkout(&manifests(&lab, "Halted"), false);
    checkout.jvp(&["apply", "-y"]).exits(0);
    let before = lab.inventory("a");
    checkout.write("more.yaml", &machine("more", "", "  runStrategy: Halted"));
    let state = checkout.state();
    let read_only = format!("mount --bind {0} {0}; mount -o remount,bind,ro {0}", state.display());
    with_state(&checkout, &read_only, &["validate"]).exits(0);
    with_state(&checkout, &read_only, &["plan", "--detailed-exitcode"]).exits(2).says("VirtualMachine/more");
    let answer = with_state(&checkout, &read_only, &["apply", "-y"]).exits(1).says("--state-dir").says("ead-only file system");
    assert!(answer.text.contains(&state.display().to_string()), "{}", answer.text);
    assert_eq!(before, lab.inventory("a"));
    // One that is full.
    let full = format!(
        "mkdir -p {0}.old; mount --bind {0} {0}.old; mount -t tmpfs -o size=40m,mode=755 none {0}; cp -a {0}.old/. {0}; \
         cat /dev/zero >{0}/fill 2>/dev/null || true",
        state.display()
    );
    let answer = with_state(&checkout, &full, &["apply", "-y"]);
    let answer = answer.exits(1).says("make room").says("--state-dir");
    assert_eq!(before, lab.inventory("a"), "{}", answer.text);
    converges(&lab, &checkout);
    lab.virsh("a", &["dominfo", "more"]);
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn what_somebody_made_by_hand_under_a_wanted_name_is_refused_and_left_as_it_is() {
    let lab = lab_or_return!(1);
    let checkout = checkout(&manifests(&lab, "Halted"), false);
    let theirs = lab.images("a").join("theirs");
    std::fs::create_dir_all(&theirs).unwrap();
    let domain = "<domain type='qemu'><name>web</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>";
    let network = "<network><name>lan</name><bridge name='theirs0'/><ip address='198.18.99.1' prefix='24'/></network>";
    let pool = format!("<pool type='dir'><name>main</name><target><path>{}</path></target></pool>", theirs.display());
    for (verb, xml) in [("define", domain), ("net-define", network), ("pool-define", &pool)] {
        lab.virsh("a", &[verb, &write(&lab.folder("a"), "theirs.xml", xml)]);
    }
    let before = lab.inventory("a");
    let answer = checkout.jvp(&["apply", "-y"]).exits(6);
    for object in ["VirtualMachine/web", "Network/lan", "StoragePool/main"] {
        assert!(
            answer.text.lines().any(|line| line.contains(object) && line.contains("jvp didn't make")),
            "{object}:\n{}",
            answer.text
        );
    }
    checkout.jvp(&["delete", "-y", "--with-data"]);
    assert_eq!(before, lab.inventory("a"));
}
