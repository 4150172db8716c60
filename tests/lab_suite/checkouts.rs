//! Every checkout of the repository on a real libvirt: right after an apply its plan is empty, with its VMs running and stopped, after
//! a restart of libvirtd, and with the ledger deleted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::checkout::Checkout;
use crate::support::{Lab, left_out, repository, still_qcow2, sum};

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be read").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

/// The manifests of a checkout, each with its text.
pub(crate) fn texts(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(texts(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path).expect("a manifest can be read");
            all.insert(path, text);
        }
    }
    all
}

/// Changes each manifest of a checkout.
pub(crate) fn edit(folder: &Path, change: &dyn Fn(&str) -> String) {
    for (path, text) in texts(folder) {
        fs::write(&path, change(&text)).expect("a manifest can be written");
    }
}

/// Puts this image wherever a Template's `file` says that there is one.
pub(crate) fn images(folder: &Path, image: &Path) {
    let sum = sum(&fs::read(image).expect("the image can be read"));
    edit(folder, &|text| {
        for (at, key) in text.match_indices("images/") {
            let name: String = text[at + key.len()..].chars().take_while(|c| c.is_alphanumeric() || "._-".contains(*c)).collect();
            let target = folder.join("images").join(&name);
            fs::create_dir_all(target.parent().expect("a folder")).expect("a folder can be made");
            if Path::new(&name).extension().is_some_and(|extension| extension == "iso") {
                let mut iso = vec![0_u8; 64 << 10];
                iso[0x8000..0x8006].copy_from_slice(b"\x01CD001");
                fs::write(target, iso).expect("an image can be written");
            } else if name.ends_with(".qcow2") {
                fs::copy(image, target).expect("an image can be copied");
            }
        }
        text.replace(&"0".repeat(64), &sum)
    });
}

/// Whether a checkout of the repository has two nodes.
pub(crate) fn has_two(name: &str) -> bool {
    repository(name).join("nodes.yaml").exists()
}

/// A copy of a checkout of the repository whose Nodes are behind these URIs. Its guests do nothing.
pub(crate) fn placed(name: &str, [a, b]: [&str; 2]) -> Checkout {
    let checkout = Checkout::new("").with_env("JVP_VAR_VNC_PASSWORD", "hunter22");
    let folder = checkout.folder();
    fs::remove_file(folder.join("all.yaml")).expect("a file can be removed");
    copy(&repository(name), &folder);
    images(&folder, &still_qcow2());
    for (host, uri) in [("kvm1", a), ("kvm2", b)] {
        edit(&folder, &|text| text.replace(&format!("qemu+ssh://root@{host}.example.org/system"), &format!("\"{uri}\"")));
    }
    edit(&folder, &|text| text.replace("uri: qemu:///system", &format!("uri: \"{a}\"")));
    checkout
}

/// The names of all checkouts of the repository, or of those whose name ends as a word has it.
pub(crate) fn all() -> Vec<String> {
    let mut all = vec!["manifests".to_owned()];
    for entry in fs::read_dir(repository("examples")).expect("the examples can be read").flatten() {
        all.push(format!("examples/{}", entry.file_name().to_string_lossy()));
    }
    all.sort();
    assert!(all.len() > 8, "{all:?}");
    let only = std::env::var("JVP_TEST_CHECKOUT").ok();
    all.retain(|name| only.as_ref().is_none_or(|only| name.ends_with(only.as_str())));
    all
}

/// A bridge of the host's own, as examples/networks has one.
pub(crate) fn has_a_bridge(lab: &Lab, node: &str) {
    lab.script(&["exec", node, "ip", "link", "add", "br0", "type", "bridge"]);
}

fn check(lab: &Lab, name: &str) {
    let (a, b) = (lab.uri("a"), lab.uri("b"));
    let checkout = placed(name, [&a, &b]);
    let folder = checkout.folder();
    let nodes: &[&str] = if has_two(name) { &["a", "b"] } else { &["a"] };
    let jvp = |args: &[&str]| checkout.jvp(&[&["-c", a.as_str()], args].concat());
    let empty = |when: &str| {
        let plan = jvp(&["plan", "--detailed-exitcode"]);
        assert_eq!(plan.code, Some(0), "{name}, {when}:\n{}", plan.text);
    };
    let made = jvp(&["apply", "-y"]);
    assert_eq!(made.code, Some(0), "{name}:\n{}", made.text);
    empty("right after the apply");
    for node in nodes {
        lab.script(&["restart", node]);
    }
    empty("after a restart of libvirtd");
    checkout.lose_ledger();
    empty("with the ledger deleted");

    let vms = jvp(&["get", "vms", "-o", "name"]).text;
    let vms: Vec<&str> = vms.lines().filter(|line| line.starts_with("VirtualMachine/")).collect();
    edit(&folder, &|text| {
        let without: String =
            text.lines().filter(|line| !line.trim_start().starts_with("runStrategy:")).map(|line| format!("{line}\n")).collect();
        let documents: Vec<String> = without
            .split("---\n")
            .map(|document| match document.find("kind: VirtualMachine\n") {
                Some(_) => document.replacen("\nspec:\n", "\nspec:\n  runStrategy: Halted\n", 1),
                None => document.to_owned(),
            })
            .collect();
        documents.join("---\n")
    });
    let force: Vec<&str> = vms.iter().flat_map(|vm| ["--force-stop", vm]).collect();
    let stopped = jvp(&[&["apply", "-y"], force.as_slice()].concat());
    assert_eq!(stopped.code, Some(0), "{name}, stopped:\n{}", stopped.text);
    empty("with its VMs stopped");
    checkout.lose_ledger();
    empty("with its VMs stopped and the ledger deleted");
    edit(&folder, &|text| text.replace("preventDestroy: true", "preventDestroy: false"));
    let gone = jvp(&["delete", "-y", "--with-data"]);
    assert_eq!(gone.code, Some(0), "{name}, deleted:\n{}", gone.text);
    for node in nodes {
        assert_eq!(lab.virsh(node, &["list", "--all", "--name"]).trim(), "", "{name}");
        // Pools are kept; the next checkout has others of these names.
        for pool in lab.virsh(node, &["pool-list", "--all", "--name"]).split_whitespace() {
            lab.virsh(node, &["pool-destroy", pool]);
            lab.virsh(node, &["pool-undefine", pool]);
        }
    }
}

#[test]
fn the_plan_of_every_checkout_is_empty_after_its_apply_whatever_happens_to_libvirt_and_the_ledger() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(2);
    has_a_bridge(&lab, "a");
    for name in all() {
        eprintln!("{name}");
        check(&lab, &name);
    }
}
