//! The set that is planned: ten nodes, each with a pool, a template and networks, and VMs with a volume each.
//!
//! Of the volumes one in four is made as a link on the template, one as a copy of it, one is blank, and one is claimed by its VM. Of a
//! hundred VMs one stands on a chain of three volumes.

use std::fmt::Write as _;

/// The nodes.
pub(super) const NODES: usize = 10;
/// Documents in a file.
const FILE: usize = 100;
/// Volumes beneath the one of a VM that has a chain.
const CHAIN: usize = 3;

/// The files of a set of about so many objects, implied ones among them.
pub(super) fn files(objects: usize) -> Vec<(String, String)> {
    let each = objects / NODES;
    let networks = (each / 500).max(2);
    let mut files = Files(vec![("jvp.yaml".to_owned(), format!("{}{FLEET}", head("Fleet", "bench")))], 0);
    for node in 0..NODES {
        files.put(&format!("{}spec: {{uri: 'qemu+ssh://root@n{node}/system'}}\n", head("Node", &format!("n{node}"))));
        files.put(&format!(
            "{}spec:\n  nodes: [n{node}]\n  type: Dir\n  target:\n    path: /srv/images\n",
            head("StoragePool", &format!("disks-{node}"))
        ));
        files.put(&format!(
            "{}spec:\n  pool: disks-{node}\n  source:\n    file: image.qcow2\n  format: qcow2\n  nodes: [n{node}]\n",
            head("Template", &format!("debian-{node}"))
        ));
        for network in 0..networks {
            files.put(&format!(
                "{}spec:\n  nodes: [n{node}]\n  mode: NAT\n  bridge: bench{network}\n  ips:\n    - address: 198.18.{network}.1/24\n",
                head("Network", &format!("net-{node}-{network}"))
            ));
        }
        // The node, its pool, that pool's pool of templates, and the template.
        let mut left = each.saturating_sub(4 + networks);
        for vm in 0.. {
            let Some(rest) = left.checked_sub(files.machine(node, vm, networks, left)) else { break };
            left = rest;
            if left < 2 {
                break;
            }
        }
    }
    files.0
}

const FLEET: &str = "spec: {id: 5b0e1a52-7c1e-4b43-9a54-0d3e6a6f4a10}\n";

fn head(kind: &str, name: &str) -> String {
    format!("---\napiVersion: jvp.dev/v1alpha1\nkind: {kind}\nmetadata:\n  name: {name}\n")
}

/// Files, and how many documents the last one has.
struct Files(Vec<(String, String)>, usize);

impl Files {
    fn put(&mut self, document: &str) {
        if self.0.len() == 1 || self.1 == FILE {
            self.0.push((format!("{:04}.yaml", self.0.len()), String::new()));
            self.1 = 0;
        }
        if let Some((_, text)) = self.0.last_mut() {
            text.push_str(document);
        }
        self.1 += 1;
    }

    fn volume(&mut self, node: usize, name: &str, rest: &str) {
        self.put(&format!("{}spec:\n  pool: disks-{node}\n{rest}", head("Volume", name)));
    }

    /// A VM with its volumes; says how many objects these are.
    fn machine(&mut self, node: usize, vm: usize, networks: usize, left: usize) -> usize {
        let name = format!("vm-{node}-{vm:04}");
        let disk = format!("disk-{node}-{vm:04}");
        let template = format!("  source:\n    template: debian-{node}\n");
        let mut count = 2;
        let root = match vm % 4 {
            0 => format!(
                "claim:\n        pool: disks-{node}\n        capacity: 2Gi\n        source:\n          template: debian-{node}\n"
            ),
            _ => format!("volume: {disk}\n"),
        };
        match vm % 4 {
            0 => {}
            1 if vm % 100 == 1 && left >= 2 + CHAIN => {
                let below = |deep: usize| format!("{disk}.{deep}");
                self.volume(node, &below(CHAIN), &template);
                for deep in (0..CHAIN).rev() {
                    let upper = if deep == 0 { disk.clone() } else { below(deep) };
                    self.volume(node, &upper, &format!("  source:\n    volume: {}\n", below(deep + 1)));
                }
                count += CHAIN;
            }
            1 => self.volume(node, &disk, &template),
            2 => self.volume(node, &disk, &format!("{template}  clone: Full\n")),
            _ => self.volume(node, &disk, "  format: raw\n  capacity: 1Mi\n"),
        }
        let mut text = head("VirtualMachine", &name);
        let _ = write!(
            text,
            "  labels:\n    app: bench\nspec:\n  node: n{node}\n  runStrategy: Halted\n  accelerator: TCG\n  cpu:\n    count: 1\n  \
             memory: 64Mi\n  disks:\n    - name: root\n      {root}  interfaces:\n    - name: eth0\n      network: net-{node}-{}\n",
            vm % networks
        );
        self.put(&text);
        count
    }
}
