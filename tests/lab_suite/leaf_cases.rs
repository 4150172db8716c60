//! The leaves of a VirtualMachine, each with values to be set and changed to, what that disturbs on a running guest, and what a hand
//! does to it.

use serde_json::{Value, json};

/// What a hand does with virsh, and to which of the two documents.
pub struct Hand {
    /// `--live`, `--config`, or both.
    pub on: &'static [&'static str],
    /// The command; `NAME` is the domain's name, `XML:…` a document in a file.
    pub virsh: &'static [&'static str],
}

/// One leaf, or several that only go together.
pub struct Case {
    /// Its VM's name, after `vm-`.
    pub name: &'static str,
    /// The rows of the field table that it shows.
    pub leaves: &'static [&'static str],
    /// What the spec has besides, from the start.
    pub base: &'static [(&'static str, fn() -> Value)],
    /// What is set.
    pub set: &'static [(&'static str, fn() -> Value)],
    /// What it is changed to.
    pub change: &'static [(&'static str, fn() -> Value)],
    /// What that disturbs on a running guest.
    pub effect: &'static [&'static str],
    /// What taking it out disturbs, where that is something else.
    pub removed: Option<&'static [&'static str]>,
    /// What a hand does to it then.
    pub hand: &'static [Hand],
}

const LIVE: &[&str] = &["live"];
const NEXT: &[&str] = &["nextStart"];
const NOTHING: &[&str] = &[];
const BOTH: &[&str] = &["--live", "--config"];
const RUNS: &[&str] = &["--live"];
const DEFINED: &[&str] = &["--config"];

/// All of them.
pub fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "title",
            leaves: &["/title"],
            base: &[],
            set: &[("/title", || json!("One line"))],
            change: &[("/title", || json!("Another <line> & \"more\""))],
            effect: LIVE,
            removed: None,
            hand: &[
                Hand { on: RUNS, virsh: &["desc", "NAME", "--title", "--new-desc", "hand"] },
                Hand { on: DEFINED, virsh: &["desc", "NAME", "--title", "--new-desc", "hand"] },
                Hand { on: BOTH, virsh: &["desc", "NAME", "--title", "--new-desc", "hand"] },
            ],
        },
        Case {
            name: "description",
            leaves: &["/description"],
            base: &[],
            set: &[("/description", || json!("What it is for"))],
            change: &[("/description", || json!("Two\nlines"))],
            effect: LIVE,
            removed: None,
            hand: &[Hand { on: RUNS, virsh: &["desc", "NAME", "hand"] }, Hand { on: DEFINED, virsh: &["desc", "NAME", "hand"] }],
        },
        Case {
            name: "autostart",
            leaves: &["/autostart"],
            base: &[("/autostart", || json!(false))],
            set: &[("/autostart", || json!(true))],
            change: &[],
            effect: LIVE,
            removed: None,
            hand: &[Hand { on: &[], virsh: &["autostart", "NAME", "--disable"] }],
        },
        Case {
            name: "memory",
            leaves: &["/memory"],
            base: &[],
            set: &[("/memory", || json!("112Mi"))],
            change: &[("/memory", || json!("128Mi"))],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[Hand { on: DEFINED, virsh: &["setmem", "NAME", "65536"] }],
        },
        Case {
            name: "balloon",
            leaves: &["/memory", "/maxMemory"],
            base: &[("/maxMemory", || json!("160Mi"))],
            set: &[("/memory", || json!("128Mi"))],
            change: &[("/memory", || json!("112Mi"))],
            effect: LIVE,
            removed: None,
            hand: &[
                Hand { on: DEFINED, virsh: &["setmem", "NAME", "102400"] },
                Hand { on: BOTH, virsh: &["setmem", "NAME", "102400"] },
            ],
        },
        Case {
            name: "max-memory",
            leaves: &["/maxMemory"],
            base: &[],
            set: &[("/maxMemory", || json!("128Mi"))],
            change: &[("/maxMemory", || json!("160Mi"))],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "vcpus",
            leaves: &["/cpu/count", "/cpu/max"],
            base: &[("/cpu/count", || json!(1)), ("/cpu/max", || json!(4))],
            set: &[("/cpu/count", || json!(2))],
            change: &[("/cpu/count", || json!(3))],
            effect: LIVE,
            // Without KVM no vCPU is unplugged: QEMU may end by it.
            removed: Some(NEXT),
            hand: &[Hand { on: DEFINED, virsh: &["setvcpus", "NAME", "2"] }],
        },
        Case {
            name: "max-vcpus",
            leaves: &["/cpu/max"],
            base: &[("/cpu/count", || json!(1))],
            set: &[("/cpu/max", || json!(2))],
            change: &[("/cpu/max", || json!(3))],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[Hand { on: DEFINED, virsh: &["setvcpus", "NAME", "4", "--maximum"] }],
        },
        Case {
            name: "topology",
            leaves: &["/cpu/topology/sockets", "/cpu/topology/cores", "/cpu/topology/threads"],
            base: &[("/cpu/count", || json!(2))],
            set: &[("/cpu/topology", || json!({"sockets": 1, "cores": 2, "threads": 1}))],
            change: &[("/cpu/topology", || json!({"sockets": 2, "cores": 1, "threads": 1}))],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "cpu-model",
            leaves: &["/cpu/model"],
            base: &[],
            set: &[("/cpu/model", || json!("Westmere"))],
            change: &[("/cpu/model", || json!("Nehalem"))],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "machine",
            leaves: &["/machine"],
            base: &[],
            set: &[("/machine", || json!("pc-q35-6.2"))],
            change: &[("/machine", || json!("pc-q35-7.0"))],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "serial",
            leaves: &["/console/serial"],
            base: &[],
            set: &[("/console/serial", || json!(false))],
            change: &[],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "screen",
            leaves: &["/console/vnc", "/console/vnc/listen"],
            base: &[],
            set: &[("/console/vnc", || json!({"listen": "127.0.0.1"}))],
            change: &[("/console/vnc", || json!({"listen": "0.0.0.0"}))],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "screen-socket",
            leaves: &["/console/vnc/socket"],
            base: &[("/console/vnc", || json!({"listen": "127.0.0.1"}))],
            set: &[("/console/vnc", || json!({"socket": "/run/screen-a.sock"}))],
            change: &[("/console/vnc", || json!({"socket": "/run/screen-b.sock"}))],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "screen-password",
            leaves: &["/console/vnc/password/**"],
            base: &[("/console/vnc", || json!({"listen": "127.0.0.1"}))],
            set: &[("/console/vnc/password", || json!({"valueFrom": {"env": "JVP_VAR_SCREEN"}}))],
            change: &[],
            effect: LIVE,
            removed: None,
            hand: &[],
        },
        Case {
            name: "agent",
            leaves: &["/guestAgent"],
            base: &[("/guestAgent", || json!(false))],
            set: &[("/guestAgent", || json!(true))],
            change: &[],
            effect: LIVE,
            removed: None,
            hand: &[],
        },
        Case {
            name: "disk",
            leaves: &["/disks/*/name", "/disks/*/volume"],
            base: &[],
            set: &[("/disks/more", || json!({"name": "more", "volume": "extra"}))],
            change: &[("/disks/again", || json!({"name": "again", "volume": "other"}))],
            effect: LIVE,
            removed: None,
            hand: &[
                Hand { on: RUNS, virsh: &["detach-disk", "NAME", "vdb"] },
                Hand { on: DEFINED, virsh: &["detach-disk", "NAME", "vdb"] },
                Hand { on: BOTH, virsh: &["detach-disk", "NAME", "vdb"] },
            ],
        },
        Case {
            name: "scsi-disk",
            leaves: &["/disks/*/name"],
            base: &[],
            set: &[("/disks/more", || json!({"name": "more", "volume": "extra", "bus": "scsi"}))],
            change: &[],
            effect: LIVE,
            removed: None,
            hand: &[Hand { on: RUNS, virsh: &["detach-disk", "NAME", "sda"] }],
        },
        Case {
            name: "sata-disk",
            leaves: &["/disks/*/name"],
            base: &[],
            set: &[("/disks/more", || json!({"name": "more", "volume": "extra", "bus": "sata"}))],
            change: &[],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[Hand { on: DEFINED, virsh: &["detach-disk", "NAME", "sda"] }],
        },
        Case {
            name: "claim",
            leaves: &["/disks/*/claim/capacity"],
            base: &[("/disks/data", || json!({"name": "data", "claim": {"pool": "main", "capacity": "16Mi"}}))],
            set: &[("/disks/second", || json!({"name": "second", "claim": {"pool": "main", "capacity": "16Mi"}}))],
            change: &[],
            effect: LIVE,
            removed: None,
            hand: &[],
        },
        Case {
            name: "disk-source",
            leaves: &["/disks/*/volume"],
            base: &[("/disks/more", || json!({"name": "more", "volume": "extra"}))],
            set: &[("/disks/more/volume", || json!("other"))],
            change: &[],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "media",
            leaves: &["/disks/*/image"],
            base: &[("/disks/cd", || json!({"name": "cd", "device": "cdrom"}))],
            set: &[("/disks/cd/image", || json!("cd1"))],
            change: &[("/disks/cd/image", || json!("cd2"))],
            effect: LIVE,
            removed: None,
            hand: &[
                Hand { on: RUNS, virsh: &["change-media", "NAME", "sda", "--eject", "--force"] },
                Hand { on: DEFINED, virsh: &["change-media", "NAME", "sda", "--eject"] },
                Hand { on: BOTH, virsh: &["change-media", "NAME", "sda", "--eject", "--force"] },
            ],
        },
        Case {
            name: "disk-device",
            leaves: &["/disks/*/device"],
            base: &[("/disks/more", || json!({"name": "more", "volume": "extra", "bus": "scsi"}))],
            set: &[("/disks/more/device", || json!("cdrom")), ("/disks/more/readOnly", || json!(true))],
            change: &[],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "disk-bus",
            leaves: &["/disks/*/bus"],
            base: &[("/disks/more", || json!({"name": "more", "volume": "extra", "bus": "virtio"}))],
            set: &[("/disks/more/bus", || json!("scsi"))],
            change: &[("/disks/more/bus", || json!("sata"))],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "boot-order",
            leaves: &["/disks/*/bootOrder"],
            base: &[("/disks/more", || json!({"name": "more", "volume": "extra"})), ("/disks/root/bootOrder", || json!(1))],
            set: &[("/disks/more/bootOrder", || json!(2))],
            change: &[("/disks/more/bootOrder", || json!(3))],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "read-only",
            leaves: &["/disks/*/readOnly"],
            base: &[("/disks/more", || json!({"name": "more", "volume": "extra"}))],
            set: &[("/disks/more/readOnly", || json!(true))],
            change: &[],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "interface",
            leaves: &["/interfaces/*/name", "/interfaces/*/network"],
            base: &[],
            set: &[("/interfaces/eth1", || json!({"name": "eth1", "network": "lan2"}))],
            change: &[("/interfaces/eth2", || json!({"name": "eth2", "network": "lan", "model": "e1000e"}))],
            effect: LIVE,
            removed: None,
            hand: &[],
        },
        Case {
            name: "plug",
            leaves: &["/interfaces/*/network"],
            base: &[("/interfaces/eth0/mac", || json!("52:54:00:31:00:01"))],
            set: &[("/interfaces/eth0/network", || json!("lan2"))],
            change: &[],
            effect: LIVE,
            removed: None,
            hand: &[
                Hand {
                    on: RUNS,
                    virsh: &[
                        "update-device",
                        "NAME",
                        "XML:<interface type='network'><mac address='52:54:00:31:00:01'/><source network='lan'/><model type='virtio'/></interface>",
                    ],
                },
                Hand {
                    on: DEFINED,
                    virsh: &[
                        "update-device",
                        "NAME",
                        "XML:<interface type='network'><mac address='52:54:00:31:00:01'/><source network='lan'/><model type='virtio'/><alias name='ua-nic-eth0'/></interface>",
                    ],
                },
                Hand { on: BOTH, virsh: &["detach-interface", "NAME", "network", "--mac", "52:54:00:31:00:01"] },
            ],
        },
        Case {
            name: "cable",
            leaves: &["/interfaces/*/linkState"],
            base: &[("/interfaces/eth0/mac", || json!("52:54:00:31:00:02"))],
            set: &[("/interfaces/eth0/linkState", || json!("down"))],
            change: &[("/interfaces/eth0/linkState", || json!("up"))],
            effect: LIVE,
            removed: Some(NOTHING),
            hand: &[
                Hand { on: &[], virsh: &["domif-setlink", "NAME", "52:54:00:31:00:02", "down"] },
                Hand { on: DEFINED, virsh: &["domif-setlink", "NAME", "52:54:00:31:00:02", "down"] },
            ],
        },
        Case {
            name: "mac",
            leaves: &["/interfaces/*/mac"],
            base: &[],
            set: &[("/interfaces/eth0/mac", || json!("52:54:00:31:00:03"))],
            change: &[("/interfaces/eth0/mac", || json!("52:54:00:31:00:04"))],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "card",
            leaves: &["/interfaces/*/model"],
            base: &[],
            set: &[("/interfaces/eth0/model", || json!("e1000e"))],
            change: &[("/interfaces/eth0/model", || json!("rtl8139"))],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "address",
            leaves: &["/interfaces/*/ip"],
            base: &[],
            set: &[("/interfaces/eth0/ip", || json!("198.18.31.20"))],
            change: &[("/interfaces/eth0/ip", || json!("198.18.31.21"))],
            effect: NOTHING,
            removed: None,
            hand: &[],
        },
        Case {
            name: "xml",
            leaves: &["/xml"],
            base: &[],
            set: &[("/xml", || {
                json!(
                    "<domain><devices><rng model='virtio'><rate period='2000' bytes='1234'/><backend model='random'>/dev/random</backend><alias name='ua-rng'/></rng></devices></domain>"
                )
            })],
            change: &[("/xml", || {
                json!(
                    "<domain><devices><rng model='virtio'><rate period='2000' bytes='4321'/><backend model='random'>/dev/urandom</backend><alias name='ua-rng'/></rng></devices></domain>"
                )
            })],
            effect: NEXT,
            removed: None,
            hand: &[Hand { on: DEFINED, virsh: &["detach-device-alias", "NAME", "ua-rng"] }],
        },
        Case {
            name: "seed",
            leaves: &["/cloudInit/**"],
            base: &[("/cloudInit", || json!({"hostname": "one", "onChange": "NextStart"}))],
            set: &[("/cloudInit/hostname", || json!("two"))],
            change: &[("/cloudInit/hostname", || json!("three"))],
            effect: NEXT,
            removed: None,
            hand: &[],
        },
        Case {
            name: "conduct",
            leaves: &["/shutdown/method", "/shutdown/timeout", "/shutdown/onTimeout", "/updatePolicy/restart", "/accelerator"],
            base: &[],
            set: &[
                ("/shutdown", || json!({"method": "ACPI", "timeout": "90s", "onTimeout": "PowerOff"})),
                ("/accelerator", || json!("TCG")),
            ],
            change: &[("/updatePolicy/restart", || json!("Now")), ("/accelerator", || json!("Auto"))],
            effect: NOTHING,
            removed: None,
            hand: &[],
        },
        Case {
            name: "restart",
            leaves: &["/updatePolicy/restart"],
            base: &[("/updatePolicy/restart", || json!("Now"))],
            set: &[("/memory", || json!("112Mi"))],
            change: &[("/memory", || json!("128Mi"))],
            effect: &["restart"],
            removed: None,
            hand: &[],
        },
        Case {
            name: "strategy",
            leaves: &["/runStrategy"],
            base: &[],
            set: &[("/runStrategy", || json!("Manual"))],
            change: &[("/runStrategy", || json!("Once"))],
            effect: NOTHING,
            removed: None,
            hand: &[],
        },
    ]
}
