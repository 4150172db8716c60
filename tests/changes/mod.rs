//! What each checkout of the repository is changed to, where a test needs a change of it.

use std::fs;
use std::path::Path;

/// A file, a text in it, and what stands there then.
type Edit = (&'static str, &'static str, &'static str);

/// What each checkout is changed to.
const CHANGES: &[(&str, &[Edit])] = &[
    (
        "examples/bios",
        &[(
            "vm.yaml",
            "  interfaces:\n",
            "    - {name: more, claim: {pool: disks, capacity: 16Mi}}\n  title: Changed\n  interfaces:\n",
        )],
    ),
    ("examples/cdrom-install", &[("vm.yaml", "{name: tray, device: cdrom}", "{name: tray, device: cdrom, image: netinst}")]),
    ("examples/cloud-init", &[("vm.yaml", "capacity: 5Gi", "capacity: 6Gi")]),
    ("examples/console", &[("vms.yaml", "serial: false", "serial: true"), ("vms.yaml", "serial: true\n    vnc:\n", "vnc:\n")]),
    ("examples/gitops", &[("network.yaml", "10.77.30.199", "10.77.30.198")]),
    (
        "examples/networks",
        &[("networks.yaml", "ip: 10.77.41.9}", "ip: 10.77.41.8}"), ("router.yaml", "10.77.41.2}", "10.77.41.3}")],
    ),
    (
        "examples/two-nodes",
        &[("shared.yaml", "10.77.26.199", "10.77.26.198"), ("vms.yaml", "{name: b, ", "{name: b, annotations: {a: b}, ")],
    ),
    ("examples/uefi", &[("vm.yaml", "ip: 10.77.22.10", "ip: 10.77.22.11"), ("vm.yaml", "count: 2", "count: 3")]),
    ("examples/volumes", &[("volumes.yaml", "capacity: 8Gi", "capacity: 9Gi"), ("vm.yaml", "iops: 500", "iops: 600")]),
    ("examples/xml", &[("vm.yaml", "preserve", "restart")]),
    ("manifests", &[("web-1.yaml", "The first web server", "A web server"), ("web-1.yaml", "capacity: 5Gi", "capacity: 6Gi")]),
];

/// Changes the checkout of this name, which lies in this folder.
pub(crate) fn change(folder: &Path, checkout: &str) {
    let (_, changes) = CHANGES.iter().find(|(name, _)| *name == checkout).expect("a change of each checkout");
    for (file, from, to) in *changes {
        edit(folder, file, from, to);
    }
}

/// Has another text stand in a file of a checkout, once.
pub(crate) fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).expect("a manifest can be read");
    assert!(text.contains(from), "{} has no {from}", path.display());
    fs::write(path, text.replacen(from, to, 1)).expect("a manifest can be written");
}
