//! Sets of manifests, made up.

use proptest::prelude::*;

/// What a volume begins with.
#[derive(Debug, Clone, Copy)]
pub enum Begin {
    Blank,
    Linked(u8),
    Full(u8),
}

#[derive(Debug, Clone)]
pub enum Disk {
    Claim {
        begin: Begin,
        pool: u8,
        raw: bool,
    },
    Volume {
        begin: Begin,
        pool: u8,
    },
    /// A Volume whose source is a Volume that nobody else uses.
    OnVolume {
        full: bool,
        pool: u8,
    },
    Image(u8),
}

#[derive(Debug, Clone)]
pub struct Machine {
    pub node: u8,
    pub strategy: &'static str,
    pub uefi: bool,
    pub seed: bool,
    pub disks: Vec<Disk>,
    pub interfaces: Vec<(u8, bool)>,
}

#[derive(Debug, Clone)]
pub struct Scene {
    pub nodes: u8,
    pub pools: u8,
    pub networks: Vec<&'static str>,
    pub templates: Vec<bool>,
    pub machines: Vec<Machine>,
}

fn begin() -> impl Strategy<Value = Begin> {
    prop_oneof![Just(Begin::Blank), any::<u8>().prop_map(Begin::Linked), any::<u8>().prop_map(Begin::Full)]
}

fn disk() -> impl Strategy<Value = Disk> {
    prop_oneof![
        3 => (begin(), any::<u8>(), any::<bool>()).prop_map(|(begin, pool, raw)| Disk::Claim { begin, pool, raw }),
        2 => (begin(), any::<u8>()).prop_map(|(begin, pool)| Disk::Volume { begin, pool }),
        1 => (any::<bool>(), any::<u8>()).prop_map(|(full, pool)| Disk::OnVolume { full, pool }),
        1 => any::<u8>().prop_map(Disk::Image),
    ]
}

fn machine() -> impl Strategy<Value = Machine> {
    let strategy = prop_oneof![Just("Always"), Just("RerunOnFailure"), Just("Once"), Just("Manual"), Just("Halted")];
    let disks = prop::collection::vec(disk(), 0..3);
    let interfaces = prop::collection::vec((any::<u8>(), any::<bool>()), 0..3);
    (any::<u8>(), strategy, any::<bool>(), any::<bool>(), disks, interfaces)
        .prop_map(|(node, strategy, uefi, seed, disks, interfaces)| Machine { node, strategy, uefi, seed, disks, interfaces })
}

pub fn scenes() -> impl Strategy<Value = Scene> {
    scenes_of(0..3)
}

/// With so many machines.
pub fn scenes_of(machines: std::ops::Range<usize>) -> impl Strategy<Value = Scene> {
    let mode = prop_oneof![Just("NAT"), Just("Isolated"), Just("Route"), Just("Open"), Just("Bridge")];
    let networks = prop::collection::vec(mode, 0..3);
    (1_u8..4, 1_u8..3, networks, prop::collection::vec(any::<bool>(), 0..3), prop::collection::vec(machine(), machines))
        .prop_map(|(nodes, pools, networks, templates, machines)| Scene { nodes, pools, networks, templates, machines })
}

impl Scene {
    /// Its documents, by the name of the file that each stands in.
    pub fn documents(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let mut put = |kind: &str, name: &str, spec: &str| {
            let text = format!("apiVersion: jvp.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{spec}");
            all.push((format!("{kind}-{name}.yaml"), text));
        };
        put("Fleet", "all", "  id: 6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10\n");
        for node in 0..self.nodes {
            put(
                "Node",
                &format!("n{node}"),
                &format!("  uri: qemu+ssh://root@n{node}/system\n  defaults: {{accelerator: TCG}}\n"),
            );
        }
        for pool in 0..self.pools {
            put("StoragePool", &format!("p{pool}"), &format!("  type: Dir\n  target: {{path: /srv/p{pool}}}\n"));
        }
        for (i, mode) in self.networks.iter().enumerate() {
            let rest = match *mode {
                "Bridge" => "  bridge: br0\n".to_owned(),
                _ => format!(
                    "  ips:\n  - address: 198.18.{i}.1/24\n    dhcp: {{ranges: [{{start: 198.18.{i}.100, end: 198.18.{i}.200}}]}}\n"
                ),
            };
            put("Network", &format!("net{i}"), &format!("  mode: {mode}\n{rest}"));
        }
        for (i, raw) in self.templates.iter().enumerate() {
            let format = if *raw { "raw" } else { "qcow2" };
            let pool = i % usize::from(self.pools);
            put(
                "Template",
                &format!("t{i}"),
                &format!("  pool: p{pool}\n  source: {{file: {format}.img}}\n  format: {format}\n"),
            );
        }
        let mut volumes = Vec::new();
        for (i, machine) in self.machines.iter().enumerate() {
            let mut disks = String::new();
            for (j, disk) in machine.disks.iter().enumerate() {
                let what = match disk {
                    Disk::Claim { begin, pool, raw } => format!("claim: {{{}}}", self.volume(*begin, *pool, *raw)),
                    Disk::Volume { begin, pool } => {
                        let name = format!("v{i}-{j}");
                        volumes.push((name.clone(), self.volume(*begin, *pool, false)));
                        format!("volume: {name}")
                    }
                    Disk::OnVolume { full, pool } => {
                        let (base, name) = (format!("base{i}-{j}"), format!("v{i}-{j}"));
                        let pool = pool % self.pools;
                        volumes.push((base.clone(), format!("pool: p{pool}, capacity: 16Mi")));
                        let clone = if *full { "Full" } else { "Linked" };
                        volumes.push((name.clone(), format!("pool: p{pool}, source: {{volume: {base}}}, clone: {clone}")));
                        format!("volume: {name}")
                    }
                    // Which nodes a Template stands on follows from what is made from it: images are for sets of one node.
                    Disk::Image(template) if !self.templates.is_empty() && self.nodes == 1 => {
                        format!("image: t{}, device: cdrom", usize::from(*template) % self.templates.len())
                    }
                    Disk::Image(pool) => format!("claim: {{{}}}", self.volume(Begin::Blank, *pool, false)),
                };
                disks.push_str(&format!("  - {{name: d{j}, {what}}}\n"));
            }
            let mut interfaces = String::new();
            for (j, (network, fixed)) in machine.interfaces.iter().enumerate() {
                if self.networks.is_empty() {
                    break;
                }
                let network = usize::from(*network) % self.networks.len();
                let ip = match self.networks[network] {
                    "Bridge" => String::new(),
                    _ if *fixed && i < 60 => format!(", ip: 198.18.{network}.{}", 10 + i * 4 + j),
                    _ => String::new(),
                };
                interfaces.push_str(&format!("  - {{name: eth{j}, network: net{network}{ip}}}\n"));
            }
            let mut spec = format!(
                "  node: n{}\n  memory: 64Mi\n  runStrategy: {}\n  firmware: {{type: {}}}\n",
                machine.node % self.nodes,
                machine.strategy,
                if machine.uefi { "UEFI" } else { "BIOS" }
            );
            if !disks.is_empty() {
                spec.push_str(&format!("  disks:\n{disks}"));
            }
            if !interfaces.is_empty() {
                spec.push_str(&format!("  interfaces:\n{interfaces}"));
            }
            if machine.seed {
                spec.push_str("  cloudInit: {pool: p0, runCmd: [\"true\"]}\n");
            }
            put("VirtualMachine", &format!("vm{i}"), &spec);
        }
        for (name, spec) in volumes {
            put("Volume", &name, &format!("  {}\n", spec.replace(", ", "\n  ").replace("\n  volume", ", volume")));
        }
        all
    }

    fn volume(&self, begin: Begin, pool: u8, raw: bool) -> String {
        let pool = pool % self.pools;
        let source = |template: u8| usize::from(template) % self.templates.len();
        match begin {
            Begin::Linked(template) if !self.templates.is_empty() => {
                format!("pool: p{pool}, source: {{template: t{}}}", source(template))
            }
            Begin::Full(template) if !self.templates.is_empty() => {
                format!("pool: p{pool}, source: {{template: t{}}}, clone: Full", source(template))
            }
            _ => format!("pool: p{pool}, capacity: 8Mi, format: {}", if raw { "raw" } else { "qcow2" }),
        }
    }
}
