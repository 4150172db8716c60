//! The leaves of every kind but VirtualMachine, each with values to be set and changed to, what that disturbs beneath a guest, and what
//! a hand does to it. What is used at creation only is refused, with the way; jvp's own conduct is no change of anything.

use jvp::name::Kind;
use serde_json::{Value, json};

use crate::leaf_cases::Edits;

/// What a hand does.
pub enum Hand {
    /// A text in a network's definition becomes another: in the definition, in what runs, in both.
    Xml(&'static str, &'static str),
    /// `virsh net-update` on the network: in the definition, in what runs, in both.
    Update(&'static [&'static str]),
    /// Any command, where there is one document only; `running` says whether also while the guest runs.
    Virsh { args: &'static [&'static str], running: bool },
}

/// What comes of a step.
pub enum Outcome {
    /// It is done, and the plan says that it disturbs this, with the guest running and off.
    Does { running: &'static [&'static str], off: &'static [&'static str] },
    /// There is nothing to be done.
    Nothing,
    /// It is refused with this code, and all this is said; nothing changes.
    Refused(i32, &'static [&'static str]),
}

/// One edit of the object.
pub struct Step {
    pub word: &'static str,
    /// Pointers into the document, and what is put there; what an earlier step put is gone.
    pub edits: Edits,
    pub outcome: Outcome,
    /// Texts, and whether libvirt's documents have them afterwards.
    pub holds: &'static [(&'static str, bool)],
}

/// One leaf, or several that only go together.
pub struct Case {
    pub name: &'static str,
    pub kind: Kind,
    pub object: &'static str,
    /// The rows of the field table that it shows.
    pub leaves: &'static [&'static str],
    /// What the object has besides, from the start.
    pub base: Edits,
    pub steps: Vec<Step>,
    /// Words that are given to each plan and apply.
    pub words: &'static [&'static str],
    pub hand: &'static [Hand],
}

const WORD: &[&str] = &["--allow-disconnect", "Network/lan"];
const LIVE: Outcome = Outcome::Does { running: &["live"], off: &[] };
/// A guest that is off sees it once it is started.
const GROWS: Outcome = Outcome::Does { running: &["live"], off: &["nextStart"] };
const DISCONNECTS: Outcome = Outcome::Does { running: &["disconnect guest"], off: &[] };
/// Done, and nobody is disturbed.
const QUIET: Outcome = Outcome::Does { running: &[], off: &[] };
const NEW: &str = "make a new object under another name";

fn step(word: &'static str, edits: Edits, outcome: Outcome, holds: &'static [(&'static str, bool)]) -> Step {
    Step { word, edits, outcome, holds }
}

fn case(name: &'static str, kind: Kind, object: &'static str, leaves: &'static [&'static str], steps: Vec<Step>) -> Case {
    Case { name, kind, object, leaves, base: &[], steps, words: &[], hand: &[] }
}

fn dhcp(more: &Value) -> Value {
    let mut dhcp = json!({"ranges": [{"start": "198.18.41.100", "end": "198.18.41.150"}]});
    if let (Some(dhcp), Some(more)) = (dhcp.as_object_mut(), more.as_object()) {
        dhcp.extend(more.clone());
    }
    json!([{"address": "198.18.41.1/24", "dhcp": dhcp}])
}

fn second(address: &str) -> Value {
    let mut ips = dhcp(&json!({}));
    if let Some(ips) = ips.as_array_mut() {
        ips.push(json!({"address": address}));
    }
    ips
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let mut all = networks();
    all.extend(storage());
    all.extend(others());
    all
}

fn networks() -> Vec<Case> {
    vec![
        Case {
            words: WORD,
            hand: &[Hand::Xml("<forward mode='route'", "<forward mode='open'")],
            ..case(
                "net-mode",
                Kind::Network,
                "lan",
                &["/mode"],
                vec![
                    step("set", &[("/spec/mode", || json!("Isolated"))], DISCONNECTS, &[("<forward", false)]),
                    step("changed", &[("/spec/mode", || json!("Route"))], DISCONNECTS, &[("<forward mode='route'", true)]),
                    step("taken out", &[("/spec/mode", || json!(null))], Outcome::Refused(3, &["needs the field `mode`"]), &[]),
                ],
            )
        },
        Case {
            words: WORD,
            hand: &[Hand::Xml("<bridge name='jvtwo'", "<bridge name='jvhand'")],
            ..case(
                "net-bridge",
                Kind::Network,
                "lan",
                &["/bridge"],
                vec![
                    step("set", &[("/spec/bridge", || json!("jvone"))], DISCONNECTS, &[("<bridge name='jvone'", true)]),
                    step("changed", &[("/spec/bridge", || json!("jvtwo"))], DISCONNECTS, &[("<bridge name='jvtwo'", true)]),
                    step("taken out", &[], Outcome::Nothing, &[("<bridge name='jvtwo'", true)]),
                ],
            )
        },
        Case {
            words: WORD,
            hand: &[Hand::Xml("two.test", "hand.test")],
            ..case(
                "net-domain",
                Kind::Network,
                "lan",
                &["/domain"],
                vec![
                    step("set", &[("/spec/domain", || json!("one.test"))], DISCONNECTS, &[("one.test", true)]),
                    step("changed", &[("/spec/domain", || json!("two.test"))], DISCONNECTS, &[("two.test", true)]),
                    step("taken out", &[], DISCONNECTS, &[("<domain", false)]),
                ],
            )
        },
        Case {
            words: WORD,
            hand: &[Hand::Xml("<mtu size='1300'", "<mtu size='1200'")],
            ..case(
                "net-mtu",
                Kind::Network,
                "lan",
                &["/mtu"],
                vec![
                    step("set", &[("/spec/mtu", || json!(1400))], DISCONNECTS, &[("<mtu size='1400'", true)]),
                    step("changed", &[("/spec/mtu", || json!(1300))], DISCONNECTS, &[("<mtu size='1300'", true)]),
                    step("taken out", &[], DISCONNECTS, &[("<mtu", false)]),
                ],
            )
        },
        Case {
            words: WORD,
            hand: &[Hand::Xml("<ip address='198.18.43.1' prefix='25'>\n  </ip>", "")],
            ..case(
                "net-address",
                Kind::Network,
                "lan",
                &["/ips/*/address"],
                vec![
                    step("set", &[("/spec/ips", || second("198.18.42.1/24"))], DISCONNECTS, &[("198.18.42.1", true)]),
                    step(
                        "changed",
                        &[("/spec/ips", || second("198.18.43.1/25"))],
                        DISCONNECTS,
                        &[("198.18.42.1", false), ("198.18.43.1", true), ("198.18.41.1", true)],
                    ),
                    step("taken out", &[], DISCONNECTS, &[("198.18.43.1", false), ("198.18.41.1", true)]),
                ],
            )
        },
        Case {
            hand: &[Hand::Update(&["delete", "ip-dhcp-range", "<range start='198.18.41.160' end='198.18.41.180'/>"])],
            ..case(
                "net-ranges",
                Kind::Network,
                "lan",
                &["/ips/*/dhcp/ranges/**"],
                vec![
                    step(
                        "set",
                        &[("/spec/ips", || {
                            dhcp(
                                &json!({"ranges": [{"start": "198.18.41.100", "end": "198.18.41.150"}, {"start": "198.18.41.160", "end": "198.18.41.170"}]}),
                            )
                        })],
                        LIVE,
                        &[("end='198.18.41.170'", true)],
                    ),
                    step(
                        "changed",
                        &[("/spec/ips", || {
                            dhcp(
                                &json!({"ranges": [{"start": "198.18.41.100", "end": "198.18.41.150"}, {"start": "198.18.41.160", "end": "198.18.41.180"}]}),
                            )
                        })],
                        LIVE,
                        &[("end='198.18.41.170'", false), ("end='198.18.41.180'", true)],
                    ),
                    step("taken out", &[], LIVE, &[("198.18.41.160", false), ("end='198.18.41.150'", true)]),
                ],
            )
        },
        Case {
            hand: &[
                Hand::Update(&["delete", "ip-dhcp-host", "<host mac='52:54:00:41:00:02'/>"]),
                Hand::Update(&["modify", "ip-dhcp-host", "<host mac='52:54:00:41:00:02' name='printer' ip='198.18.41.22'/>"]),
            ],
            ..case(
                "net-hosts",
                Kind::Network,
                "lan",
                &["/ips/*/dhcp/hosts/**"],
                vec![
                    step(
                        "set",
                        &[("/spec/ips", || {
                            dhcp(&json!({"hosts": [{"name": "printer", "mac": "52:54:00:41:00:02", "ip": "198.18.41.20"}]}))
                        })],
                        LIVE,
                        &[("ip='198.18.41.20'", true)],
                    ),
                    step(
                        "changed",
                        &[("/spec/ips", || {
                            dhcp(&json!({"hosts": [{"name": "printer", "mac": "52:54:00:41:00:02", "ip": "198.18.41.21"}]}))
                        })],
                        LIVE,
                        &[("ip='198.18.41.20'", false), ("ip='198.18.41.21'", true)],
                    ),
                    step("taken out", &[], LIVE, &[("printer", false)]),
                ],
            )
        },
        Case {
            words: WORD,
            hand: &[Hand::Xml("<forwarder addr='198.18.99.8'", "<forwarder addr='198.18.99.7'")],
            ..case(
                "net-forwarders",
                Kind::Network,
                "lan",
                &["/dns/forwarders"],
                vec![
                    step(
                        "set",
                        &[("/spec/dns", || json!({"forwarders": ["198.18.99.9"]}))],
                        DISCONNECTS,
                        &[("198.18.99.9", true)],
                    ),
                    step(
                        "changed",
                        &[("/spec/dns", || json!({"forwarders": ["198.18.99.8"]}))],
                        DISCONNECTS,
                        &[("198.18.99.9", false), ("198.18.99.8", true)],
                    ),
                    step("taken out", &[], DISCONNECTS, &[("<forwarder", false)]),
                ],
            )
        },
        Case {
            hand: &[Hand::Update(&["delete", "dns-host", "<host ip='198.18.41.5'/>"]), Hand::Xml("two.lab", "hand.lab")],
            ..case(
                "net-names",
                Kind::Network,
                "lan",
                &["/dns/hosts/**"],
                vec![
                    step(
                        "set",
                        &[("/spec/dns", || json!({"hosts": [{"ip": "198.18.41.5", "names": ["one.lab"]}]}))],
                        LIVE,
                        &[("one.lab", true)],
                    ),
                    step(
                        "changed",
                        &[("/spec/dns", || json!({"hosts": [{"ip": "198.18.41.5", "names": ["two.lab", "three.lab"]}]}))],
                        LIVE,
                        &[("one.lab", false), ("two.lab", true), ("three.lab", true)],
                    ),
                    step("taken out", &[], LIVE, &[("two.lab", false)]),
                ],
            )
        },
        Case {
            hand: &[Hand::Virsh { args: &["net-autostart", "lan"], running: true }],
            ..case(
                "net-autostart",
                Kind::Network,
                "lan",
                &["/autostart"],
                vec![
                    step("set", &[("/spec/autostart", || json!(true))], Outcome::Nothing, &[]),
                    step("changed", &[("/spec/autostart", || json!(false))], QUIET, &[]),
                    step("taken out", &[], Outcome::Nothing, &[]),
                    step("changed again", &[("/spec/autostart", || json!(false))], Outcome::Nothing, &[]),
                ],
            )
        },
        Case {
            words: WORD,
            // The guest is on `lan`; what nobody is on goes up and down.
            base: &[("/spec", || json!({"mode": "Isolated", "ips": [{"address": "198.18.45.1/24"}]}))],
            hand: &[Hand::Virsh { args: &["net-start", "alone"], running: true }],
            ..case(
                "net-running",
                Kind::Network,
                "alone",
                &["/running"],
                vec![
                    step("set", &[("/spec/running", || json!(false))], QUIET, &[]),
                    step("taken out", &[], QUIET, &[]),
                    step("changed", &[("/spec/running", || json!(true))], Outcome::Nothing, &[]),
                ],
            )
        },
        Case {
            base: &[("/spec", || json!({"mode": "Isolated", "running": true, "ips": [{"address": "198.18.45.1/24"}]}))],
            hand: &[Hand::Virsh { args: &["net-destroy", "alone"], running: true }],
            ..case("net-stopped", Kind::Network, "alone", &["/running"], vec![])
        },
        case(
            "net-nodes",
            Kind::Network,
            "lan",
            &["/nodes"],
            vec![
                step("set", &[("/spec/nodes", || json!(["host"]))], Outcome::Nothing, &[]),
                step("changed", &[("/spec/nodes", || json!(["nowhere"]))], Outcome::Refused(3, &["nowhere"]), &[]),
            ],
        ),
        case(
            "net-name",
            Kind::Network,
            "lan",
            &["/libvirtName"],
            vec![
                step("set", &[("/spec/libvirtName", || json!("lan"))], Outcome::Nothing, &[]),
                step(
                    "changed",
                    &[("/spec/libvirtName", || json!("other"))],
                    Outcome::Refused(6, &["libvirtName: lan → other", NEW]),
                    &[],
                ),
            ],
        ),
    ]
}

fn storage() -> Vec<Case> {
    vec![
        case(
            "pool-type",
            Kind::StoragePool,
            "main",
            &["/type"],
            vec![
                step("taken out", &[("/spec/type", || json!(null))], Outcome::Refused(3, &["needs the field `type`"]), &[]),
                step(
                    "changed",
                    &[("/spec/type", || json!("Logical"))],
                    Outcome::Refused(3, &["is no value of `spec.type`"]),
                    &[],
                ),
            ],
        ),
        case(
            "pool-path-used",
            Kind::StoragePool,
            "main",
            &["/target/path"],
            vec![step(
                "changed",
                &[("/spec/target/path", || json!("@P/elsewhere"))],
                Outcome::Refused(6, &["used by guest"]),
                &[],
            )],
        ),
        case(
            "pool-path",
            Kind::StoragePool,
            "spare",
            &["/target/path"],
            vec![
                step("changed", &[("/spec/target/path", || json!("@P/moved"))], QUIET, &[("images/moved</path>", true)]),
                step("taken out", &[("/spec/target", || json!(null))], Outcome::Refused(3, &["needs the field `target`"]), &[]),
            ],
        ),
        Case {
            hand: &[Hand::Virsh { args: &["pool-autostart", "main"], running: true }],
            ..case(
                "pool-autostart",
                Kind::StoragePool,
                "main",
                &["/autostart"],
                vec![
                    step("set", &[("/spec/autostart", || json!(true))], Outcome::Nothing, &[]),
                    step("changed", &[("/spec/autostart", || json!(false))], QUIET, &[]),
                    step("taken out", &[], Outcome::Nothing, &[]),
                    step("changed again", &[("/spec/autostart", || json!(false))], Outcome::Nothing, &[]),
                ],
            )
        },
        case(
            "pool-running-used",
            Kind::StoragePool,
            "main",
            &["/running"],
            vec![step("set", &[("/spec/running", || json!(false))], Outcome::Refused(6, &["used by guest"]), &[])],
        ),
        Case {
            hand: &[Hand::Virsh { args: &["pool-start", "spare"], running: true }],
            ..case(
                "pool-running",
                Kind::StoragePool,
                "spare",
                &["/running"],
                vec![
                    step("taken out", &[("/spec/running", || json!(true))], Outcome::Nothing, &[]),
                    step("set", &[("/spec/running", || json!(false))], QUIET, &[("inactive", true)]),
                ],
            )
        },
        case(
            "pool-nodes",
            Kind::StoragePool,
            "main",
            &["/nodes"],
            vec![
                step("set", &[("/spec/nodes", || json!(["host"]))], Outcome::Nothing, &[]),
                step("changed", &[("/spec/nodes", || json!(["nowhere"]))], Outcome::Refused(3, &["nowhere"]), &[]),
            ],
        ),
        case(
            "pool-name",
            Kind::StoragePool,
            "main",
            &["/libvirtName"],
            vec![
                step("set", &[("/spec/libvirtName", || json!("main"))], Outcome::Nothing, &[]),
                step(
                    "changed",
                    &[("/spec/libvirtName", || json!("other"))],
                    Outcome::Refused(6, &["libvirtName: main → other", NEW]),
                    &[],
                ),
            ],
        ),
        Case {
            hand: &[Hand::Virsh { args: &["vol-resize", "--pool", "main", "data.qcow2", "64M", "--shrink"], running: false }],
            ..case(
                "capacity",
                Kind::Volume,
                "data",
                &["/capacity"],
                vec![
                    step("set", &[("/spec/capacity", || json!("96Mi"))], GROWS, &[("<capacity unit='bytes'>100663296<", true)]),
                    step(
                        "changed",
                        &[("/spec/capacity", || json!("128Mi"))],
                        GROWS,
                        &[("<capacity unit='bytes'>134217728<", true)],
                    ),
                    step("made smaller", &[("/spec/capacity", || json!("96Mi"))], Outcome::Refused(6, &["would be shrunk"]), &[]),
                    step("taken out", &[], Outcome::Nothing, &[("<capacity unit='bytes'>134217728<", true)]),
                ],
            )
        },
        case(
            "volume-pool",
            Kind::Volume,
            "data",
            &["/pool"],
            vec![step(
                "changed",
                &[("/spec/pool", || json!("spare"))],
                Outcome::Refused(6, &["Volume/data", "pool: main → spare", NEW]),
                &[],
            )],
        ),
        case(
            "volume-format",
            Kind::Volume,
            "data",
            &["/format"],
            vec![
                step("set", &[("/spec/format", || json!("qcow2"))], Outcome::Nothing, &[]),
                step("changed", &[("/spec/format", || json!("raw"))], Outcome::Refused(6, &["format: qcow2 → raw", NEW]), &[]),
            ],
        ),
        case(
            "volume-source",
            Kind::Volume,
            "copied",
            &["/source/template", "/source/volume"],
            vec![
                step(
                    "changed",
                    &[("/spec/source", || json!({"volume": "base"}))],
                    Outcome::Refused(6, &["source: Template/tiny → Volume/base", NEW]),
                    &[],
                ),
                step(
                    "taken out",
                    &[("/spec/source", || json!(null)), ("/spec/clone", || json!(null)), ("/spec/capacity", || json!("64Mi"))],
                    Outcome::Refused(6, &["source: Template/tiny → none"]),
                    &[],
                ),
            ],
        ),
        case(
            "volume-blank",
            Kind::Volume,
            "base",
            &["/source/template"],
            vec![step(
                "set",
                &[("/spec/source", || json!({"template": "tiny"})), ("/spec/capacity", || json!(null))],
                Outcome::Refused(6, &["source: none → Template/tiny", NEW]),
                &[],
            )],
        ),
        case(
            "volume-clone",
            Kind::Volume,
            "copied",
            &["/clone"],
            vec![
                step("changed", &[("/spec/clone", || json!("Linked"))], Outcome::Refused(6, &["clone: Full → Linked", NEW]), &[]),
                step("taken out", &[("/spec/clone", || json!(null))], Outcome::Nothing, &[]),
            ],
        ),
        case(
            "volume-name",
            Kind::Volume,
            "data",
            &["/libvirtName"],
            vec![
                step("set", &[("/spec/libvirtName", || json!("data.qcow2"))], Outcome::Nothing, &[]),
                step(
                    "changed",
                    &[("/spec/libvirtName", || json!("other.qcow2"))],
                    Outcome::Refused(6, &["libvirtName: data.qcow2 → other.qcow2", NEW]),
                    &[],
                ),
            ],
        ),
    ]
}

fn others() -> Vec<Case> {
    vec![
        case(
            "template-pool",
            Kind::Template,
            "tiny",
            &["/pool"],
            vec![step(
                "changed",
                &[("/spec/pool", || json!("spare"))],
                Outcome::Refused(6, &["pool: main-templates → spare-templates", NEW]),
                &[],
            )],
        ),
        case(
            "template-file",
            Kind::Template,
            "tiny",
            &["/source/file"],
            vec![
                // The same content makes nothing new.
                step("set", &[("/spec/source/file", || json!("same.qcow2"))], QUIET, &[]),
                step("changed", &[("/spec/source/file", || json!("deaf.qcow2"))], QUIET, &[]),
            ],
        ),
        case(
            "template-format",
            Kind::Template,
            "tiny",
            &["/format"],
            vec![step("changed", &[("/spec/format", || json!("raw"))], Outcome::Refused(6, &["Template/tiny"]), &[])],
        ),
        case(
            "template-checksum",
            Kind::Template,
            "tiny",
            &["/checksum"],
            vec![step(
                "wrong",
                &[("/spec/checksum", || json!(format!("sha256:{}", "0".repeat(64))))],
                Outcome::Refused(6, &["Template/tiny"]),
                &[],
            )],
        ),
        case(
            "template-words",
            Kind::Template,
            "tiny",
            &[
                "/os/name",
                "/os/version",
                "/os/arch",
                "/features/cloudInit",
                "/features/virtio",
                "/features/qemuGuestAgent",
                "/tags",
                "/description",
            ],
            vec![
                step(
                    "set",
                    &[
                        ("/spec/os", || json!({"name": "tiny", "version": "1", "arch": "x86_64"})),
                        ("/spec/features", || json!({"cloudInit": false, "virtio": true, "qemuGuestAgent": false})),
                        ("/spec/tags", || json!(["small"])),
                        ("/spec/description", || json!("A guest")),
                    ],
                    QUIET,
                    &[],
                ),
                step(
                    "changed",
                    &[
                        ("/spec/os", || json!({"name": "tinier", "version": "2", "arch": "i686"})),
                        ("/spec/features", || json!({"cloudInit": true, "virtio": false, "qemuGuestAgent": true})),
                        ("/spec/tags", || json!(["small", "smaller"])),
                        ("/spec/description", || json!("Another guest")),
                    ],
                    QUIET,
                    &[],
                ),
                step("taken out", &[], QUIET, &[]),
            ],
        ),
        case(
            "template-nodes",
            Kind::Template,
            "tiny",
            &["/nodes"],
            vec![step("set", &[("/spec/nodes", || json!(["host"]))], Outcome::Nothing, &[])],
        ),
        case(
            "key",
            Kind::KeyPair,
            "admin",
            &["/publicKey", "/generate"],
            vec![
                step(
                    "changed",
                    &[("/spec/publicKey", || {
                        json!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB other")
                    })],
                    QUIET,
                    &[],
                ),
                step("made", &[("/spec", || json!({"generate": true}))], QUIET, &[]),
            ],
        ),
        case(
            "node",
            Kind::Node,
            "host",
            &["/unschedulable", "/defaults/accelerator"],
            vec![
                step("set", &[("/spec/unschedulable", || json!(true))], Outcome::Nothing, &[]),
                step("changed", &[("/spec/unschedulable", || json!(false))], Outcome::Nothing, &[]),
                step("changed", &[("/spec/defaults/accelerator", || json!("Auto"))], Outcome::Nothing, &[]),
                step("taken out", &[("/spec/defaults", || json!(null))], Outcome::Nothing, &[]),
            ],
        ),
        case(
            "template-url",
            Kind::Template,
            "tiny",
            &["/source/url", "/checksum"],
            vec![
                // The same content makes nothing new, wherever it comes from.
                step(
                    "set",
                    &[
                        ("/spec/source/file", || json!(null)),
                        ("/spec/source/url", || json!("@S/tiny.qcow2")),
                        ("/spec/checksum", || json!("sha256:@C")),
                    ],
                    QUIET,
                    &[],
                ),
                step(
                    "changed",
                    &[
                        ("/spec/source/file", || json!(null)),
                        ("/spec/source/url", || json!("@S/same.qcow2")),
                        ("/spec/checksum", || json!("sha256:@C")),
                    ],
                    QUIET,
                    &[],
                ),
            ],
        ),
        case(
            "node-uri",
            Kind::Node,
            "host",
            &["/uri"],
            vec![
                step("changed", &[("/spec/uri", || json!("@U&mode=direct"))], Outcome::Nothing, &[]),
                step(
                    "wrong",
                    &[("/spec/uri", || json!("qemu+unix:///system?socket=/nowhere"))],
                    Outcome::Refused(4, &["Node/host"]),
                    &[],
                ),
            ],
        ),
        case(
            "vm-node",
            Kind::VirtualMachine,
            "guest",
            &["/node"],
            vec![
                step("set", &[("/spec/node", || json!("host"))], Outcome::Nothing, &[]),
                step("changed", &[("/spec/node", || json!("nowhere"))], Outcome::Refused(3, &["nowhere"]), &[]),
            ],
        ),
        case(
            "vm-firmware",
            Kind::VirtualMachine,
            "guest",
            &["/firmware/type", "/firmware/secureBoot"],
            vec![
                step("set", &[("/spec/firmware", || json!({"type": "BIOS"}))], Outcome::Nothing, &[]),
                step(
                    "changed",
                    &[("/spec/firmware", || json!({"type": "UEFI"}))],
                    Outcome::Refused(6, &["firmware.type: BIOS → UEFI", NEW]),
                    &[],
                ),
                step(
                    "set",
                    &[("/spec/firmware", || json!({"type": "UEFI", "secureBoot": true}))],
                    Outcome::Refused(6, &["firmware.secureBoot: false → true", NEW]),
                    &[],
                ),
            ],
        ),
        case(
            "vm-claim",
            Kind::VirtualMachine,
            "guest",
            &[
                "/disks/*/claim/pool",
                "/disks/*/claim/format",
                "/disks/*/claim/source/template",
                "/disks/*/claim/source/volume",
                "/disks/*/claim/clone",
            ],
            vec![
                step(
                    "another pool",
                    &[("/spec/disks/root/claim/pool", || json!("spare"))],
                    Outcome::Refused(6, &["Volume/guest.root", "pool: main → spare", NEW]),
                    &[],
                ),
                step(
                    "another format",
                    &[("/spec/disks/root/claim/format", || json!("raw")), ("/spec/disks/root/claim/clone", || json!("Full"))],
                    Outcome::Refused(6, &["format: qcow2 → raw", "clone: Linked → Full", NEW]),
                    &[],
                ),
                step(
                    "another source",
                    &[("/spec/disks/root/claim/source", || json!({"volume": "base"}))],
                    Outcome::Refused(6, &["source: Template/tiny → Volume/base", NEW]),
                    &[],
                ),
                step(
                    "the same",
                    &[("/spec/disks/root/claim/format", || json!("qcow2")), ("/spec/disks/root/claim/clone", || json!("Linked"))],
                    Outcome::Nothing,
                    &[],
                ),
            ],
        ),
        case(
            "vm-name",
            Kind::VirtualMachine,
            "guest",
            &["/libvirtName"],
            vec![
                step("set", &[("/spec/libvirtName", || json!("guest"))], Outcome::Nothing, &[]),
                step(
                    "changed",
                    &[("/spec/libvirtName", || json!("other"))],
                    Outcome::Refused(6, &["libvirtName: guest → other", NEW]),
                    &[],
                ),
            ],
        ),
        case(
            "fleet",
            Kind::Fleet,
            "kinds",
            &["/id"],
            vec![step(
                "changed",
                &[("/spec/id", || json!("6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a79"))],
                Outcome::Refused(6, &["6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a78"]),
                &[],
            )],
        ),
    ]
}
