//! An example of what breaks each rule, and of what doesn't: for `jvp explain CODE` and the page of codes.
//!
//! Every one of them is run by a test: the wrong one says its code, the right one doesn't.

use super::Code;

/// Something that breaks a rule, and something like it that doesn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Example {
    /// Text of manifests.
    Manifest {
        /// What breaks the rule.
        wrong: &'static str,
        /// What doesn't.
        right: &'static str,
    },
    /// Lines for a shell, in a folder that has `manifests/` in it: for rules about files.
    Command {
        /// What breaks the rule.
        wrong: &'static str,
        /// What doesn't.
        right: &'static str,
    },
}

impl Example {
    /// What breaks the rule.
    pub fn wrong(&self) -> &'static str {
        match self {
            Self::Manifest { wrong, .. } | Self::Command { wrong, .. } => wrong,
        }
    }

    /// What doesn't.
    pub fn right(&self) -> &'static str {
        match self {
            Self::Manifest { right, .. } | Self::Command { right, .. } => right,
        }
    }
}

const fn manifest(wrong: &'static str, right: &'static str) -> Example {
    Example::Manifest { wrong, right }
}

const fn command(wrong: &'static str, right: &'static str) -> Example {
    Example::Command { wrong, right }
}

/// A document in four lines.
macro_rules! one {
    ($kind:literal, $name:literal, $spec:expr) => {
        concat!("apiVersion: jvp.dev/v1alpha1\nkind: ", $kind, "\nmetadata: {name: ", $name, "}\nspec: ", $spec, "\n")
    };
}

impl Code {
    /// The rule's example.
    pub const fn example(self) -> Example {
        match self {
            Self::Unreadable => command("jvp validate -f manifest\n", "jvp validate -f manifests\n"),
            Self::NotText => command("printf '\\001' >a.yaml && jvp validate -f a.yaml\n", "jvp validate -f manifests\n"),
            Self::TooLarge => command("truncate -s 17M disk.yaml && jvp validate -f disk.yaml\n", "jvp validate -f manifests\n"),
            Self::LinkOutside => command(
                "mkdir set && ln -s ../manifests/network.yaml set/network.yaml && jvp validate -f set\n",
                "mkdir set && cp manifests/network.yaml set/network.yaml && jvp validate -f set\n",
            ),
            Self::NoManifest => command("mkdir empty && jvp validate -f empty\n", "jvp validate -f manifests\n"),
            Self::NotSupported => {
                command("jvp validate -f ftp://example.com/lan.yaml\n", "jvp validate -f manifests/network.yaml\n")
            }
            Self::Syntax => manifest(one!("KeyPair", "ops", "{generate: true"), one!("KeyPair", "ops", "{generate: true}")),
            Self::Tabs => manifest(
                "apiVersion: jvp.dev/v1alpha1\nkind: KeyPair\nmetadata: {name: ops}\nspec:\n\tgenerate: true\n",
                "apiVersion: jvp.dev/v1alpha1\nkind: KeyPair\nmetadata: {name: ops}\nspec:\n  generate: true\n",
            ),
            Self::TooDeep => manifest(
                "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
                one!("KeyPair", "ops", "{generate: true}"),
            ),
            Self::TooBig => command(
                r#"{ echo 'a0: &a0 [x, x, x, x, x, x, x, x, x]'; for i in $(seq 9); do
  p=$((i - 1)); echo "a$i: &a$i [*a$p, *a$p, *a$p, *a$p, *a$p, *a$p, *a$p, *a$p, *a$p]"; done; } >a.yaml
jvp validate -f a.yaml
"#,
                "jvp validate -f manifests\n",
            ),
            Self::DuplicateKey => {
                manifest(one!("KeyPair", "ops", "{generate: true, generate: true}"), one!("KeyPair", "ops", "{generate: true}"))
            }
            Self::MergeKey => manifest(
                "base: &base {pool: default}\nspec: {<<: *base, capacity: 10Gi}\n",
                one!("Volume", "data", "{pool: default, capacity: 10Gi}"),
            ),
            Self::Tag => manifest(one!("KeyPair", "ops", "{generate: !yes true}"), one!("KeyPair", "ops", "{generate: true}")),
            Self::KeyType => manifest(
                "apiVersion: jvp.dev/v1alpha1\nkind: KeyPair\nmetadata: {[name]: ops}\nspec: {generate: true}\n",
                one!("KeyPair", "ops", "{generate: true}"),
            ),
            Self::NotAnObject => manifest("- generate: true\n", one!("KeyPair", "ops", "{generate: true}")),
            Self::UnknownVersion => manifest(
                "apiVersion: jvp.dev/v2\nkind: KeyPair\nmetadata: {name: ops}\nspec: {generate: true}\n",
                one!("KeyPair", "ops", "{generate: true}"),
            ),
            Self::UnknownKind => manifest(one!("Keypair", "ops", "{generate: true}"), one!("KeyPair", "ops", "{generate: true}")),
            Self::UnknownField => manifest(one!("KeyPair", "ops", "{genrate: true}"), one!("KeyPair", "ops", "{generate: true}")),
            Self::MissingField => manifest(
                one!("VirtualMachine", "web-1", "{cpu: {count: 2}}"),
                one!("VirtualMachine", "web-1", "{cpu: {count: 2}, memory: 1Gi}"),
            ),
            Self::WrongType => manifest(
                one!("VirtualMachine", "web-1", "{memory: 1Gi, title: 12}"),
                one!("VirtualMachine", "web-1", r#"{memory: 1Gi, title: "12"}"#),
            ),
            Self::WrongValue => manifest(
                one!("VirtualMachine", "web-1", "{memory: 1Gi, runStrategy: always}"),
                one!("VirtualMachine", "web-1", "{memory: 1Gi, runStrategy: Always}"),
            ),
            Self::NullValue => manifest(
                one!("VirtualMachine", "web-1", "{memory: 1Gi, title: }"),
                one!("VirtualMachine", "web-1", "{memory: 1Gi}"),
            ),
            Self::InvalidName => {
                manifest(one!("KeyPair", "Ops_Key", "{generate: true}"), one!("KeyPair", "ops-key", "{generate: true}"))
            }
            Self::WrongSize => {
                manifest(one!("VirtualMachine", "web-1", "{memory: 1.5 GB}"), one!("VirtualMachine", "web-1", "{memory: 1536Mi}"))
            }
            Self::OneOf => manifest(
                one!("VirtualMachine", "web-1", "{memory: 1Gi, disks: [{name: root}]}"),
                one!("VirtualMachine", "web-1", "{memory: 1Gi, disks: [{name: root, volume: web-1-root}]}"),
            ),
            Self::Conflict => manifest(
                one!("VirtualMachine", "web-1", "{memory: 1Gi, firmware: {type: BIOS, secureBoot: true}}"),
                one!("VirtualMachine", "web-1", "{memory: 1Gi, firmware: {type: UEFI, secureBoot: true}}"),
            ),
            Self::InvalidText => manifest(
                one!("VirtualMachine", "web-1", "{memory: 1Gi, cloudInit: {timezone: Europe Berlin}}"),
                one!("VirtualMachine", "web-1", "{memory: 1Gi, cloudInit: {timezone: Europe/Berlin}}"),
            ),
            Self::InvalidPath => manifest(
                one!("StoragePool", "default", "{type: Dir, target: {path: images}}"),
                one!("StoragePool", "default", "{type: Dir, target: {path: /srv/images}}"),
            ),
            Self::DuplicateItem => manifest(
                one!("VirtualMachine", "web-1", "{memory: 1Gi, disks: [{name: root, volume: a}, {name: root, volume: b}]}"),
                one!("VirtualMachine", "web-1", "{memory: 1Gi, disks: [{name: root, volume: a}, {name: data, volume: b}]}"),
            ),
            Self::InvalidBridge => manifest(
                one!("Network", "lan", "{mode: Isolated, bridge: virbr-much-too-long}"),
                one!("Network", "lan", "{mode: Isolated, bridge: virbr10}"),
            ),
            Self::OutsideSubnet => manifest(
                one!(
                    "Network",
                    "lan",
                    "{mode: NAT, ips: [{address: 10.10.0.1/24, dhcp: {ranges: [{start: 10.10.1.5, end: 10.10.1.9}]}}]}"
                ),
                one!(
                    "Network",
                    "lan",
                    "{mode: NAT, ips: [{address: 10.10.0.1/24, dhcp: {ranges: [{start: 10.10.0.5, end: 10.10.0.9}]}}]}"
                ),
            ),
            Self::InvalidRange => manifest(
                one!(
                    "Network",
                    "lan",
                    "{mode: NAT, ips: [{address: 10.10.0.1/24, dhcp: {ranges: [{start: 10.10.0.9, end: 10.10.0.5}]}}]}"
                ),
                one!(
                    "Network",
                    "lan",
                    "{mode: NAT, ips: [{address: 10.10.0.1/24, dhcp: {ranges: [{start: 10.10.0.5, end: 10.10.0.9}]}}]}"
                ),
            ),
            Self::CpuCount => manifest(
                one!("VirtualMachine", "web-1", "{memory: 1Gi, cpu: {count: 8, max: 4}}"),
                one!("VirtualMachine", "web-1", "{memory: 1Gi, cpu: {count: 4, max: 8}}"),
            ),
            Self::MemorySize => manifest(
                one!("VirtualMachine", "web-1", "{memory: 4Gi, maxMemory: 2Gi}"),
                one!("VirtualMachine", "web-1", "{memory: 2Gi, maxMemory: 4Gi}"),
            ),
            Self::Checksum => manifest(
                one!("Template", "debian", r#"{pool: default, format: qcow2, source: {url: "http://example.com/debian.qcow2"}}"#),
                one!(
                    "Template",
                    "debian",
                    r#"{pool: default, format: qcow2, source: {url: "https://example.com/debian.qcow2"}}"#
                ),
            ),
            Self::UriRefused => manifest(
                one!("Node", "kvm1", r#"{uri: "qemu+ssh://kvm1/system?command=/tmp/x"}"#),
                one!("Node", "kvm1", r#"{uri: "qemu+ssh://root@kvm1/system"}"#),
            ),
            Self::InvalidXml => manifest(
                one!("VirtualMachine", "web-1", r#"{memory: 1Gi, xml: "<devices/>"}"#),
                one!("VirtualMachine", "web-1", r#"{memory: 1Gi, xml: "<domain><on_crash>preserve</on_crash></domain>"}"#),
            ),
            Self::UserData => manifest(
                one!("VirtualMachine", "web-1", r##"{memory: 1Gi, cloudInit: {userData: "#cloud-config\n- list\n"}}"##),
                one!("VirtualMachine", "web-1", r##"{memory: 1Gi, cloudInit: {userData: "#cloud-config\ntimezone: UTC\n"}}"##),
            ),
            Self::UserDataLong => command(
                r##"{ printf '%s\n' 'apiVersion: jvp.dev/v1alpha1' 'kind: VirtualMachine' 'metadata: {name: a}' 'spec: {memory: 1Gi, cloudInit: {userData: "#!/bin/sh \'
  head -c 20000 /dev/zero | tr '\0' x; echo '"}}'; } >a.yaml
jvp validate -f a.yaml
"##,
                "jvp validate -f manifests\n",
            ),
            Self::Reserved => manifest(
                one!("StoragePool", "images-templates", "{type: Dir, target: {path: /srv/images}}"),
                one!("StoragePool", "images", "{type: Dir, target: {path: /srv/images}}"),
            ),
            Self::Required => {
                manifest(one!("Volume", "data", "{pool: default}"), one!("Volume", "data", "{pool: default, capacity: 10Gi}"))
            }
            Self::DuplicateObject => manifest(
                concat!(one!("KeyPair", "ops", "{generate: true}"), "---\n", one!("KeyPair", "ops", "{generate: true}")),
                concat!(one!("KeyPair", "ops", "{generate: true}"), "---\n", one!("KeyPair", "admins", "{generate: true}")),
            ),
            Self::TwoFleets => manifest(
                concat!(
                    one!("Fleet", "lab", "{id: 5f0c2a9e-2d5c-4c1b-9f53-0f3c8f1c7b52}"),
                    "---\n",
                    one!("Fleet", "prod", "{id: 5f0c2a9e-2d5c-4c1b-9f53-0f3c8f1c7b53}")
                ),
                one!("Fleet", "lab", "{id: 5f0c2a9e-2d5c-4c1b-9f53-0f3c8f1c7b52}"),
            ),
            Self::SameMac => manifest(
                concat!(
                    one!("Network", "lan", "{mode: NAT, ips: [{address: 10.10.0.1/24}]}"),
                    "---\n",
                    one!(
                        "VirtualMachine",
                        "web-1",
                        r#"{memory: 1Gi, interfaces: [{name: lan, network: lan, mac: "52:54:00:00:00:01"}]}"#
                    ),
                    "---\n",
                    one!(
                        "VirtualMachine",
                        "web-2",
                        r#"{memory: 1Gi, interfaces: [{name: lan, network: lan, mac: "52:54:00:00:00:01"}]}"#
                    )
                ),
                concat!(
                    one!("Network", "lan", "{mode: NAT, ips: [{address: 10.10.0.1/24}]}"),
                    "---\n",
                    one!(
                        "VirtualMachine",
                        "web-1",
                        r#"{memory: 1Gi, interfaces: [{name: lan, network: lan, mac: "52:54:00:00:00:01"}]}"#
                    ),
                    "---\n",
                    one!(
                        "VirtualMachine",
                        "web-2",
                        r#"{memory: 1Gi, interfaces: [{name: lan, network: lan, mac: "52:54:00:00:00:02"}]}"#
                    )
                ),
            ),
            Self::SameAddress => manifest(
                concat!(
                    one!("Network", "lan", "{mode: NAT, ips: [{address: 10.10.0.1/24, dhcp: {}}]}"),
                    "---\n",
                    one!("VirtualMachine", "web-1", "{memory: 1Gi, interfaces: [{name: lan, network: lan, ip: 10.10.0.5}]}"),
                    "---\n",
                    one!("VirtualMachine", "web-2", "{memory: 1Gi, interfaces: [{name: lan, network: lan, ip: 10.10.0.5}]}")
                ),
                concat!(
                    one!("Network", "lan", "{mode: NAT, ips: [{address: 10.10.0.1/24, dhcp: {}}]}"),
                    "---\n",
                    one!("VirtualMachine", "web-1", "{memory: 1Gi, interfaces: [{name: lan, network: lan, ip: 10.10.0.5}]}"),
                    "---\n",
                    one!("VirtualMachine", "web-2", "{memory: 1Gi, interfaces: [{name: lan, network: lan, ip: 10.10.0.6}]}")
                ),
            ),
            Self::SameBridge => manifest(
                concat!(
                    one!("Network", "lan", "{mode: Isolated, bridge: virbr10}"),
                    "---\n",
                    one!("Network", "dmz", "{mode: Isolated, bridge: virbr10}")
                ),
                concat!(
                    one!("Network", "lan", "{mode: Isolated, bridge: virbr10}"),
                    "---\n",
                    one!("Network", "dmz", "{mode: Isolated, bridge: virbr11}")
                ),
            ),
            Self::SameFile => manifest(
                concat!(
                    one!("StoragePool", "default", "{type: Dir, target: {path: /srv/images}}"),
                    "---\n",
                    one!("StoragePool", "other", "{type: Dir, target: {path: /srv/images}}")
                ),
                concat!(
                    one!("StoragePool", "default", "{type: Dir, target: {path: /srv/images}}"),
                    "---\n",
                    one!("StoragePool", "other", "{type: Dir, target: {path: /srv/other}}")
                ),
            ),
            Self::SameLibvirtName => manifest(
                concat!(
                    one!("VirtualMachine", "web-1", "{memory: 1Gi, libvirtName: web}"),
                    "---\n",
                    one!("VirtualMachine", "web-2", "{memory: 1Gi, libvirtName: web}")
                ),
                concat!(
                    one!("VirtualMachine", "web-1", "{memory: 1Gi, libvirtName: web}"),
                    "---\n",
                    one!("VirtualMachine", "web-2", "{memory: 1Gi, libvirtName: web2}")
                ),
            ),
            Self::Overlap => manifest(
                concat!(
                    one!("Network", "lan", "{mode: Isolated, ips: [{address: 10.10.0.1/16}]}"),
                    "---\n",
                    one!("Network", "dmz", "{mode: Isolated, ips: [{address: 10.10.5.1/24}]}")
                ),
                concat!(
                    one!("Network", "lan", "{mode: Isolated, ips: [{address: 10.10.0.1/24}]}"),
                    "---\n",
                    one!("Network", "dmz", "{mode: Isolated, ips: [{address: 10.10.5.1/24}]}")
                ),
            ),
            Self::MissingReference => manifest(
                concat!(
                    one!("Node", "kvm1", r#"{uri: "qemu+ssh://root@kvm1/system"}"#),
                    "---\n",
                    one!("StoragePool", "default", "{nodes: [kvm2], type: Dir, target: {path: /srv/images}}")
                ),
                concat!(
                    one!("Node", "kvm1", r#"{uri: "qemu+ssh://root@kvm1/system"}"#),
                    "---\n",
                    one!("StoragePool", "default", "{nodes: [kvm1], type: Dir, target: {path: /srv/images}}")
                ),
            ),
            Self::Cycle => manifest(
                concat!(
                    one!("Volume", "a", "{pool: default, clone: Full, source: {volume: b}}"),
                    "---\n",
                    one!("Volume", "b", "{pool: default, clone: Full, source: {volume: a}}")
                ),
                concat!(
                    one!("Volume", "a", "{pool: default, clone: Full, source: {volume: b}}"),
                    "---\n",
                    one!("Volume", "b", "{pool: default, capacity: 10Gi}")
                ),
            ),
            Self::NodeNeeded => manifest(
                concat!(
                    one!("Node", "kvm1", r#"{uri: "qemu+ssh://root@kvm1/system"}"#),
                    "---\n",
                    one!("Node", "kvm2", r#"{uri: "qemu+ssh://root@kvm2/system"}"#),
                    "---\n",
                    one!("VirtualMachine", "web-1", "{memory: 1Gi}")
                ),
                concat!(
                    one!("Node", "kvm1", r#"{uri: "qemu+ssh://root@kvm1/system"}"#),
                    "---\n",
                    one!("Node", "kvm2", r#"{uri: "qemu+ssh://root@kvm2/system"}"#),
                    "---\n",
                    one!("VirtualMachine", "web-1", "{memory: 1Gi, node: kvm1}")
                ),
            ),
            Self::InUse => manifest(
                concat!(
                    one!("VirtualMachine", "web-1", "{memory: 1Gi, disks: [{name: data, volume: data}]}"),
                    "---\n",
                    one!("VirtualMachine", "web-2", "{memory: 1Gi, disks: [{name: data, volume: data}]}")
                ),
                concat!(
                    one!("VirtualMachine", "web-1", "{memory: 1Gi, disks: [{name: data, volume: data-1}]}"),
                    "---\n",
                    one!("VirtualMachine", "web-2", "{memory: 1Gi, disks: [{name: data, volume: data-2}]}")
                ),
            ),
            Self::SharedBase => manifest(
                concat!(
                    one!("Volume", "data", "{pool: default, capacity: 10Gi}"),
                    "---\n",
                    one!("Volume", "copy", "{pool: default, source: {volume: data}}"),
                    "---\n",
                    one!("VirtualMachine", "web-1", "{memory: 1Gi, disks: [{name: data, volume: data}]}")
                ),
                concat!(
                    one!("Volume", "data", "{pool: default, capacity: 10Gi}"),
                    "---\n",
                    one!("Volume", "copy", "{pool: default, clone: Full, source: {volume: data}}"),
                    "---\n",
                    one!("VirtualMachine", "web-1", "{memory: 1Gi, disks: [{name: data, volume: data}]}")
                ),
            ),
        }
    }
}
