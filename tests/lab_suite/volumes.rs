//! Volumes and pools in use, by the command line: disks grow beneath running guests, and nothing that somebody uses is destroyed.

use crate::checkout::{Checkout, ground};
use crate::scenarios::FLEET;
use crate::support::{Lab, domain_xml, left_out, tiny};

const EMPTY: [&str; 2] = ["plan", "--detailed-exitcode"];

fn base(lab: &Lab, rest: &str) -> String {
    let ground = ground(&lab.uri("a"), FLEET, "main", &lab.images("a").join("main"));
    format!(r"{ground}{rest}")
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("---\napiVersion: jvp.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

/// A domain that somebody made by hand, with a disk.
fn theirs(lab: &Lab, name: &str, format: &str, path: &str, start: bool) {
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='{format}'/><source file='{path}'/><target dev='vdb' bus='virtio'/></disk>"
    );
    let file = lab.images("a").join(format!("{name}.xml"));
    std::fs::write(&file, domain_xml(name, uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, name.as_bytes()), &disk)).unwrap();
    lab.virsh("a", &["define", file.to_str().unwrap()]);
    std::fs::remove_file(file).unwrap();
    if start {
        lab.virsh("a", &["start", name]);
    }
}

/// How large a guest's disk is, as QEMU has it.
fn size(lab: &Lab, domain: &str, target: &str) -> u64 {
    let text = lab.virsh("a", &["domblkinfo", domain, target]);
    let line = text.lines().find(|line| line.starts_with("Capacity")).unwrap().to_owned();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_disk_grows_beneath_a_running_guest_whosever_it_is_and_never_shrinks() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let with = |size: &str| {
        let volume =
            |name: &str, format: &str| object("Volume", name, &format!("pool: main, capacity: {size}, format: {format}"));
        base(&lab, "")
            + &volume("data", "qcow2")
            + &volume("plain", "raw")
            + &volume("loose", "raw")
            + &volume("base", "qcow2")
            + &volume("free", "qcow2")
            + &object("Template", "tiny", "pool: main, source: {file: tiny.qcow2}, format: qcow2")
            + &object(
                "VirtualMachine",
                "web",
                "memory: 96Mi, disks: [{name: root, claim: {pool: main, source: {template: tiny}}}, {name: data, volume: data}, {name: plain, volume: plain}]",
            )
    };
    let checkout = Checkout::new(&with("8Mi"));
    checkout.copy(&tiny(false), "tiny.qcow2");
    checkout.jvp(&["apply", "-y"]).exits(0);
    theirs(&lab, "theirs", "raw", lab.images("a").join("main/loose.img").to_str().unwrap(), true);
    let ids = || (lab.virsh("a", &["domid", "web"]), lab.virsh("a", &["domid", "theirs"]));
    let before = ids();

    checkout.write("all.yaml", &with("16Mi"));
    checkout
        .jvp(&EMPTY)
        .exits(2)
        .says("Volume/data will be updated on host [live]")
        .says("web runs on it")
        .says("theirs runs on it")
        .says("Volume/free will be updated on host\n");
    checkout.jvp(&["apply", "-y"]).exits(0);
    for (domain, target) in [("web", "vdb"), ("web", "vdc"), ("theirs", "vdb")] {
        assert_eq!(size(&lab, domain, target), 16 << 20, "{domain} {target}");
    }
    assert_eq!(before, ids());
    checkout.jvp(&EMPTY).exits(0);

    // A smaller size is refused with the way, and nothing else happens.
    checkout.write("all.yaml", &with("12Mi"));
    checkout.jvp(&["apply", "-y"]).exits(6).says("would be shrunk").says("set `spec.capacity: 16Mi`");
    assert_eq!(size(&lab, "web", "vdb"), 16 << 20);

    // A disk behind a snapshot: what the guest writes to is the overlay, and the volume beneath it stays as it is.
    let overlay = lab.images("a").join("overlay.qcow2");
    let spec = format!("vdb,file={}", overlay.display());
    lab.virsh(
        "a",
        &[
            "snapshot-create-as",
            "web",
            "--disk-only",
            "--no-metadata",
            "--diskspec",
            &spec,
            "--diskspec",
            "vda,snapshot=no",
            "--diskspec",
            "vdc,snapshot=no",
        ],
    );
    checkout.write("all.yaml", &with("16Mi"));
    checkout.jvp(&EMPTY).exits(0).says("BehindSnapshot");
    checkout.write(
        "all.yaml",
        &with("16Mi")
            .replace("{name: data}\nspec: {pool: main, capacity: 16Mi", "{name: data}\nspec: {pool: main, capacity: 32Mi"),
    );
    checkout.jvp(&["apply", "-y"]).exits(6).says("it is the backing file of the disk vdb of web");
    lab.virsh("a", &["blockcommit", "web", "vdb", "--active", "--pivot", "--wait"]);
    checkout.write("all.yaml", &with("16Mi"));
    checkout.jvp(&EMPTY).exits(0);

    // A backing file never changes any more: not by growing, nor beneath a VM that could write to it.
    let linked = with("16Mi") + &object("Volume", "top", "pool: main, source: {volume: base}");
    checkout.write("all.yaml", &linked);
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.write("all.yaml", &linked.replace("capacity: 16Mi", "capacity: 32Mi"));
    checkout.jvp(&["apply", "-y"]).exits(6).says("it is the backing file of volume main/top.qcow2");
    let writer = object("VirtualMachine", "writer", "memory: 96Mi, runStrategy: Halted, disks: [{name: root, volume: base}]");
    // In the same set that is a mistake of the manifests'; also without the other's manifest it is seen on the node.
    checkout.write("all.yaml", &(linked.clone() + &writer));
    checkout.jvp(&["apply", "-y"]).exits(3).says("JVP0413");
    checkout.write("all.yaml", &(with("16Mi") + &writer));
    checkout.jvp(&["apply", "-y"]).exits(6).says("which is the backing file of volume main/top.qcow2");
    checkout.write("all.yaml", &(linked.clone() + &writer.replace("volume: base}", "volume: base, readOnly: true}")));
    checkout.jvp(&["apply", "-y"]).exits(0);
    // What a VM writes to is not linked from.
    checkout.write("all.yaml", &(linked + &object("Volume", "torn", "pool: main, source: {volume: data}")));
    checkout.jvp(&["apply", "-y"]).exits(3).says("JVP0413");
    let alone = base(&lab, "") + &object("Volume", "torn", "pool: main, source: {volume: data}");
    checkout.write("all.yaml", &alone);
    checkout.jvp(&["apply", "-y"]).exits(6).says("its source Volume/data is written to by web");
}

#[test]
fn what_a_domain_uses_is_not_deleted_stopped_or_moved() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let manifests = base(&lab, "")
        + &object("Volume", "data", "pool: main, capacity: 8Mi")
        + &object("Volume", "base", "pool: main, capacity: 8Mi");
    let checkout = Checkout::new(&manifests);
    checkout.jvp(&["apply", "-y"]).exits(0);
    let main = lab.images("a").join("main");
    let before = lab.inventory("a");
    let delete = |more: &[&str]| checkout.jvp(&[&["delete", "-y", "Volume/data", "Volume/base", "--with-data"], more].concat());

    // By somebody's domain that is off, directly.
    theirs(&lab, "off", "qcow2", main.join("data.qcow2").to_str().unwrap(), false);
    delete(&[]).exits(6).says("it is used by off");
    checkout.jvp(&["pool", "stop", "main"]).exits(6).says("used by off");
    let stopped = manifests.replace("spec: {type: Dir,", "spec: {type: Dir, running: false,");
    checkout.write("all.yaml", &stopped);
    checkout.jvp(&["apply", "-y"]).exits(6).says("used by off");
    let moved = manifests.replace("images/main}", "images/moved}");
    checkout.write("all.yaml", &moved);
    checkout.jvp(&["apply", "-y"]).exits(6).says("used by off");
    checkout.write("all.yaml", &manifests);
    checkout.jvp(&["delete", "-y", "StoragePool/main"]).exits(6).says("its volumes are used by off");
    lab.virsh("a", &["undefine", "off"]);

    // Beneath an overlay that lies in no pool: its domain's chain can't be seen while it is off, and it asks.
    let overlay = lab.images("a").join("overlay.qcow2");
    let made = std::process::Command::new("qemu-img")
        .args([
            "create",
            "-q",
            "-f",
            "qcow2",
            "-F",
            "qcow2",
            "-b",
            main.join("base.qcow2").to_str().unwrap(),
            overlay.to_str().unwrap(),
        ])
        .status()
        .expect("qemu-img can be started");
    assert!(made.success());
    theirs(&lab, "above", "qcow2", overlay.to_str().unwrap(), false);
    delete(&[]).exits(6).says("--assume-unused Volume/base").says("overlay.qcow2 is in no pool that runs");
    // While it runs it is seen, and no word helps.
    lab.virsh("a", &["start", "above"]);
    delete(&["--assume-unused", "Volume/base", "--assume-unused", "Volume/data"]).exits(6).says("it is used by above");
    lab.virsh("a", &["destroy", "above"]);
    assert_eq!(before.keys().filter(|key| key.contains("/images/main/")).count(), 2);
    assert!(before.keys().filter(|key| key.contains("/images/main/")).all(|key| lab.inventory("a").contains_key(key)));
    delete(&["--assume-unused", "Volume/base", "--assume-unused", "Volume/data"]).exits(0);
    assert!(!lab.inventory("a").keys().any(|key| key.contains("/images/main/")));
    checkout.jvp(&["pool", "stop", "main"]).exits(0);
    checkout.jvp(&["pool", "start", "main"]).exits(0);
}

#[test]
fn a_pool_is_stopped_moved_and_looked_at_again() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let manifests = base(&lab, "");
    let checkout = Checkout::new(&manifests);
    checkout.jvp(&["apply", "-y"]).exits(0);
    let active = || lab.virsh("a", &["pool-list", "--name"]).contains("main");
    // By hand, and what the next apply says to that.
    checkout.jvp(&["pool", "stop", "main"]).exits(0).says("the next apply starts it again");
    assert!(!active());
    checkout.jvp(&["pool", "refresh", "main"]).exits(6).says("it is stopped");
    checkout.jvp(&EMPTY).exits(2);
    checkout.jvp(&["pool", "start", "main@host"]).exits(0);
    checkout.jvp(&EMPTY).exits(0);
    std::fs::write(lab.images("a").join("main/stray.img"), [0; 512]).unwrap();
    assert!(!lab.virsh("a", &["vol-list", "main"]).contains("stray.img"));
    checkout.jvp(&["pool", "refresh", "main"]).exits(0);
    assert!(lab.virsh("a", &["vol-list", "main"]).contains("stray.img"));
    checkout.jvp(&["pool", "stop", "nowhere"]).exits(1);

    // By its manifest.
    checkout.write("all.yaml", &manifests.replace("spec: {type: Dir,", "spec: {type: Dir, running: false,"));
    checkout.jvp(&["apply", "-y"]).exits(0);
    assert!(!active());
    checkout.jvp(&EMPTY).exits(0);
    // Moved, with what libvirt knows of it besides kept.
    let moved = manifests.replace("images/main}", "images/moved}");
    checkout.write("all.yaml", &moved);
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&EMPTY).exits(0);
    assert!(active() && lab.virsh("a", &["pool-dumpxml", "main"]).contains("images/moved</path>"));
    // Not with volumes in it, which would be lost sight of.
    let volume = object("Volume", "data", "pool: main, capacity: 8Mi");
    checkout.write("all.yaml", &(moved + &volume));
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.write("all.yaml", &(manifests + &volume));
    checkout.jvp(&["apply", "-y"]).exits(6).says("Volume/data would be lost sight of");
}

#[test]
fn a_volume_whose_content_says_another_format_is_not_grown_or_built_on() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let with = |more: &str, size: &str| {
        base(&lab, "") + &object("Volume", "plain", &format!("pool: main, capacity: {size}, format: raw")) + more
    };
    let checkout = Checkout::new(&with("", "8Mi"));
    checkout.jvp(&["apply", "-y"]).exits(0);
    // As a guest might do: a header in a raw disk, which leads to any file of the host's.
    let plain = lab.images("a").join("main/plain.img");
    let header = lab.images("a").join("header.qcow2");
    let made = std::process::Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", "/etc/passwd", header.to_str().unwrap(), "8M"])
        .status()
        .expect("qemu-img can be started");
    assert!(made.success());
    let bytes = std::fs::read(&header).unwrap();
    std::fs::remove_file(header).unwrap();
    {
        use std::os::unix::fs::FileExt;
        std::fs::OpenOptions::new().write(true).open(&plain).unwrap().write_all_at(&bytes, 0).unwrap();
    }
    checkout.jvp(&["pool", "refresh", "main"]).exits(0);
    checkout.jvp(&["plan"]).exits(0).says("FormatMismatch").says("its file reads as qcow2, but it was made as raw");
    checkout.write("all.yaml", &with("", "16Mi"));
    checkout.jvp(&["apply", "-y"]).exits(6).says("not resized while its format is in doubt");
    for clone in ["Linked", "Full"] {
        let copy = object("Volume", "copy", &format!("pool: main, source: {{volume: plain}}, clone: {clone}"));
        checkout.write("all.yaml", &with(&copy, "8Mi"));
        checkout.jvp(&["apply", "-y"]).exits(6).says("its source Volume/plain reads as qcow2, but it was made as raw");
    }
    assert!(!lab.virsh("a", &["vol-list", "main"]).contains("copy"));
}
