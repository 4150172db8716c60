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

/// Pointers into a spec, and what is put there.
pub type Edits = &'static [(&'static str, fn() -> Value)];

/// One leaf, or several that only go together.
pub struct Case {
    /// Its VM's name, after `vm-`.
    pub name: &'static str,
    /// Whether its guest must have started, for it has a part in it.
    pub guest: bool,
    /// The rows of the field table that it shows.
    pub leaves: &'static [&'static str],
    /// What the spec has besides, from the start.
    pub base: Edits,
    /// What is set.
    pub set: Edits,
    /// What it is changed to.
    pub change: Edits,
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

/// What a domain may have of tuning and conduct that the language has no field for.
fn tuning(cpus: &str, reboot: &str, period: u32, port: &str, iothreads: u32) -> String {
    format!(
        "<domain><iothreads>{iothreads}</iothreads>\
         <blkiotune><weight>{weight}</weight></blkiotune>\
         <memtune><hard_limit unit='KiB'>{limit}</hard_limit></memtune>\
         <cputune><shares>{weight}</shares><vcpupin vcpu='0' cpuset='{cpus}'/><emulatorpin cpuset='{cpus}'/></cputune>\
         <numatune><memory mode='strict' nodeset='0'/></numatune>\
         <features><vmport state='{port}'/></features>\
         <on_reboot>{reboot}</on_reboot><on_crash>{reboot}</on_crash>\
         <devices><memballoon model='virtio'><stats period='{period}'/></memballoon></devices></domain>",
        weight = 500 + period,
        limit = (1 << 20) + (period << 10),
    )
}

/// Devices that the language has no field for.
fn devices(sound: &str, action: &str, name: &str, cid: u32) -> String {
    format!(
        "<domain><devices>\
         <controller type='usb' index='0' model='qemu-xhci'/>\
         <sound model='{sound}'><alias name='ua-sound'/></sound>\
         <watchdog model='i6300esb' action='{action}'><alias name='ua-watchdog'/></watchdog>\
         <panic model='isa'><alias name='ua-panic'/></panic>\
         <input type='tablet' bus='usb'><alias name='ua-tablet'/></input>\
         <channel type='unix'><target type='virtio' name='test.{name}'/><alias name='ua-channel'/></channel>\
         <filesystem type='mount'><source dir='/{name}'/><target dir='shared'/><alias name='ua-shared'/></filesystem>\
         <hostdev mode='subsystem' type='usb'><source><vendor id='0x1234'/><product id='0x000{cid}'/></source><alias name='ua-stick'/></hostdev>\
         <tpm model='tpm-crb'><backend type='passthrough'><device path='/dev/{name}'/></backend><alias name='ua-tpm'/></tpm>\
         <vsock model='virtio'><cid auto='no' address='{cid}'/></vsock>\
         </devices></domain>"
    )
}

/// What a disk's driver may be told besides.
fn driver(cache: &str, io: &str, discard: &str, queues: u32) -> String {
    format!(
        "<domain><devices><disk><driver cache='{cache}' io='{io}' discard='{discard}' detect_zeroes='on' queues='{queues}'/>\
         <target dev='vdb'/></disk></devices></domain>"
    )
}

/// What an interface may be told besides.
fn card(queues: u32, mtu: u32, isolated: &str, rate: u32) -> String {
    format!(
        "<domain><devices><interface><mac address='52:54:00:31:00:05'/>\
         <bandwidth><outbound average='{rate}'/></bandwidth><driver queues='{queues}'/>\
         <filterref filter='clean-traffic'/><port isolated='{isolated}'/><mtu size='{mtu}'/></interface></devices></domain>"
    )
}

/// All of them.
pub fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "title",
            guest: false,
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
            guest: false,
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
            guest: false,
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
            guest: false,
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
            guest: true,
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
            guest: false,
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
            guest: true,
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
            guest: false,
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
            guest: false,
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
            guest: false,
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
            guest: false,
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
            guest: false,
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
            guest: false,
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
            guest: false,
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
            guest: false,
            leaves: &["/console/vnc/password/**"],
            base: &[("/console/vnc", || json!({"listen": "127.0.0.1", "password": {"valueFrom": {"env": "JVP_VAR_SCREEN"}}}))],
            set: &[("/console/vnc/password", || json!({"valueFrom": {"env": "JVP_VAR_OTHER"}}))],
            change: &[],
            effect: LIVE,
            removed: None,
            hand: &[],
        },
        Case {
            name: "agent",
            guest: true,
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
            guest: true,
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
            guest: true,
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
            guest: false,
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
            guest: true,
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
            guest: false,
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
            guest: false,
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
            name: "scsi-drive",
            guest: true,
            leaves: &["/disks/*/name", "/disks/*/device"],
            base: &[],
            set: &[("/disks/cd", || json!({"name": "cd", "device": "cdrom", "bus": "scsi", "image": "cd1"}))],
            change: &[],
            effect: LIVE,
            removed: None,
            hand: &[Hand { on: DEFINED, virsh: &["detach-disk", "NAME", "sda"] }],
        },
        Case {
            name: "sata-drive",
            guest: false,
            leaves: &["/disks/*/name", "/disks/*/device"],
            base: &[],
            set: &[("/disks/cd", || json!({"name": "cd", "device": "cdrom", "image": "cd1"}))],
            change: &[],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "disk-device",
            guest: false,
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
            guest: false,
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
            guest: false,
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
            guest: false,
            leaves: &["/disks/*/readOnly"],
            base: &[("/disks/more", || json!({"name": "more", "volume": "extra"}))],
            set: &[("/disks/more/readOnly", || json!(true))],
            change: &[],
            effect: NEXT,
            removed: Some(NOTHING),
            hand: &[],
        },
        Case {
            name: "limits",
            guest: false,
            leaves: &["/disks/*/limits/iops", "/disks/*/limits/readBytesPerSecond", "/disks/*/limits/writeBytesPerSecond"],
            base: &[("/disks/more", || json!({"name": "more", "volume": "extra"}))],
            set: &[("/disks/more/limits", || json!({"iops": 100, "readBytesPerSecond": "1Mi"}))],
            change: &[("/disks/more/limits", || json!({"iops": 50, "writeBytesPerSecond": "2Mi"}))],
            effect: LIVE,
            removed: None,
            hand: &[
                Hand { on: RUNS, virsh: &["blkdeviotune", "NAME", "vdb", "--total-iops-sec", "7"] },
                Hand { on: DEFINED, virsh: &["blkdeviotune", "NAME", "vdb", "--total-iops-sec", "7"] },
                Hand { on: BOTH, virsh: &["blkdeviotune", "NAME", "vdb", "--total-iops-sec", "7"] },
                Hand { on: RUNS, virsh: &["blkdeviotune", "NAME", "vdb", "--total-iops-sec", "0", "--read-iops-sec", "9"] },
                Hand { on: BOTH, virsh: &["blkdeviotune", "NAME", "vdb", "--total-iops-sec", "0", "--read-iops-sec", "9"] },
            ],
        },
        Case {
            name: "limits-of-bytes",
            guest: false,
            leaves: &[
                "/disks/*/limits/bytesPerSecond",
                "/disks/*/limits/bytesPerSecondMax",
                "/disks/*/limits/bytesPerSecondMaxLength",
                "/disks/*/limits/readBytesPerSecondMax",
                "/disks/*/limits/readBytesPerSecondMaxLength",
                "/disks/*/limits/writeBytesPerSecondMax",
                "/disks/*/limits/writeBytesPerSecondMaxLength",
            ],
            base: &[],
            set: &[(
                "/disks/root/limits",
                || json!({"bytesPerSecond": "10Mi", "bytesPerSecondMax": "20Mi", "bytesPerSecondMaxLength": 10}),
            )],
            change: &[("/disks/root/limits", || {
                json!({
                    "readBytesPerSecond": "10M", "readBytesPerSecondMax": "20M", "readBytesPerSecondMaxLength": 10,
                    "writeBytesPerSecond": "11M", "writeBytesPerSecondMax": "21M", "writeBytesPerSecondMaxLength": 11
                })
            })],
            effect: LIVE,
            removed: None,
            hand: &[Hand {
                on: RUNS,
                virsh: &["blkdeviotune", "NAME", "vda", "--read-bytes-sec", "7", "--write-bytes-sec", "8"],
            }],
        },
        Case {
            name: "limits-of-operations",
            guest: false,
            leaves: &[
                "/disks/*/limits/readIOPS",
                "/disks/*/limits/writeIOPS",
                "/disks/*/limits/iopsMax",
                "/disks/*/limits/readIOPSMax",
                "/disks/*/limits/writeIOPSMax",
                "/disks/*/limits/iopsMaxLength",
                "/disks/*/limits/readIOPSMaxLength",
                "/disks/*/limits/writeIOPSMaxLength",
                "/disks/*/limits/iopsSize",
            ],
            base: &[],
            set: &[("/disks/root/limits", || json!({"iops": 100, "iopsMax": 200, "iopsMaxLength": 10, "iopsSize": "4Ki"}))],
            change: &[("/disks/root/limits", || {
                json!({
                    "readIOPS": 10, "readIOPSMax": 20, "readIOPSMaxLength": 10, "iopsSize": "8Ki",
                    "writeIOPS": 11, "writeIOPSMax": 21, "writeIOPSMaxLength": 11
                })
            })],
            effect: LIVE,
            removed: None,
            hand: &[Hand { on: BOTH, virsh: &["blkdeviotune", "NAME", "vda", "--size-iops-sec", "512"] }],
        },
        Case {
            name: "interface",
            guest: true,
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
            guest: false,
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
            guest: false,
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
            guest: false,
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
            guest: false,
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
            guest: false,
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
            guest: false,
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
            name: "xml-tuning",
            guest: false,
            leaves: &["/xml"],
            base: &[],
            set: &[("/xml", || json!(tuning("0", "destroy", 5, "off", 1)))],
            change: &[("/xml", || json!(tuning("0-1", "restart", 10, "on", 2)))],
            effect: NEXT,
            removed: None,
            hand: &[Hand { on: DEFINED, virsh: &["emulatorpin", "NAME", "1"] }],
        },
        Case {
            name: "xml-devices",
            guest: false,
            leaves: &["/xml"],
            base: &[],
            set: &[("/xml", || json!(devices("ich9", "none", "one", 3)))],
            change: &[("/xml", || json!(devices("ich6", "reset", "two", 4)))],
            effect: NEXT,
            removed: None,
            hand: &[Hand { on: DEFINED, virsh: &["detach-device-alias", "NAME", "ua-watchdog"] }],
        },
        Case {
            name: "xml-disk",
            guest: false,
            leaves: &["/xml"],
            base: &[("/disks/more", || json!({"name": "more", "volume": "extra"}))],
            set: &[("/xml", || json!(driver("none", "native", "unmap", 2)))],
            change: &[("/xml", || json!(driver("writeback", "threads", "ignore", 3)))],
            effect: NEXT,
            removed: None,
            hand: &[],
        },
        Case {
            name: "xml-interface",
            guest: false,
            leaves: &["/xml"],
            base: &[("/interfaces/eth0/mac", || json!("52:54:00:31:00:05"))],
            set: &[("/xml", || json!(card(2, 1400, "yes", 100)))],
            change: &[("/xml", || json!(card(3, 1300, "no", 200)))],
            effect: NEXT,
            removed: None,
            hand: &[],
        },
        Case {
            name: "seed",
            guest: false,
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
            guest: false,
            leaves: &[
                "/shutdown/method",
                "/shutdown/timeout",
                "/shutdown/onTimeout",
                "/updatePolicy/restart",
                "/updatePolicy/windows/**",
                "/accelerator",
            ],
            base: &[],
            set: &[
                ("/shutdown", || json!({"method": "ACPI", "timeout": "90s", "onTimeout": "PowerOff"})),
                ("/accelerator", || json!("TCG")),
            ],
            change: &[
                ("/updatePolicy/restart", || json!("Now")),
                ("/updatePolicy/windows", || json!([{"cron": "0 3 * * SUN", "duration": "2h", "timeZone": "Europe/Vienna"}])),
                ("/accelerator", || json!("Auto")),
            ],
            effect: NOTHING,
            removed: None,
            hand: &[],
        },
        Case {
            name: "restart",
            guest: false,
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
            guest: false,
            leaves: &["/runStrategy"],
            base: &[],
            set: &[("/runStrategy", || json!("Manual"))],
            change: &[],
            effect: NOTHING,
            removed: None,
            hand: &[],
        },
    ]
}
