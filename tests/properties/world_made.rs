//! Worlds, made up: a scene with more fields, what hands leave on its nodes, edits, and what breaks. The same number of the same seed
//! is the same world.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_yaml::{Mapping, Value};

use crate::bench::{Bench, Trouble};
use crate::scene::scenes_of;
use crate::world::{Broken, HandAct, Step, World};

/// Draws that follow from a seed.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(count.max(1)).unwrap()).unwrap()
    }

    /// True so many times of a hundred.
    fn often(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// A field, and values that it may have; it may also be taken out, but for one that begins with `!`. `NAME` is the object's own, `COUNT`
/// the number at its end.
type Field = (&'static str, &'static [&'static str]);

/// The fields of each kind.
const FIELDS: &[(&str, &[Field])] = &[
    (
        "VirtualMachine",
        &[
            ("!memory", &["64Mi", "96Mi"]),
            ("maxMemory", &["128Mi"]),
            ("runStrategy", &["Always", "RerunOnFailure", "Once", "Manual", "Halted"]),
            ("autostart", &["true", "false"]),
            (
                "cpu",
                &[
                    "{count: 1, max: 2}",
                    "{count: 2, max: 2}",
                    "{count: 2}",
                    "{count: 1, model: maximum}",
                    "{count: 2, topology: {sockets: 1, cores: 2, threads: 1}}",
                    "{count: 2, topology: {sockets: 2, cores: 1, threads: 1}}",
                ],
            ),
            ("machine", &["q35", "pc-q35-7.2"]),
            ("accelerator", &["TCG", "Auto"]),
            ("title", &["One line", "Another"]),
            ("description", &["For nothing", "More\nlines"]),
            (
                "console",
                &[
                    "{serial: true}",
                    "{serial: false}",
                    "{vnc: {listen: 127.0.0.1}}",
                    "{vnc: {socket: /run/NAME.vnc}}",
                    "{vnc: {password: {valueFrom: {env: JVP_VAR_ONE}}}}",
                    "{vnc: {password: {valueFrom: {env: JVP_VAR_TWO}}}}",
                ],
            ),
            ("guestAgent", &["true", "false"]),
            (
                "updatePolicy",
                &["{restart: Now}", "{restart: Never}", "{restart: Now, windows: [{cron: '0 3 * * SUN', duration: 2h}]}"],
            ),
            ("shutdown", &["{timeout: 30s}", "{onTimeout: PowerOff}", "{method: ACPI}"]),
            (
                "xml",
                &[
                    "<domain><devices><rng model='virtio'><backend model='random'>/dev/urandom</backend><alias name='ua-rng'/></rng></devices></domain>",
                    "<domain><devices><rng model='virtio'><rate bytes='99'/><backend model='random'>/dev/random</backend><alias name='ua-rng'/></rng></devices></domain>",
                    "<domain><on_crash>preserve</on_crash></domain>",
                    "<domain><cpu><feature name='vmx' policy='disable'/></cpu><memoryBacking><nosharepages/></memoryBacking></domain>",
                    "<domain><cpu mode='maximum'/><features><pae/></features></domain>",
                    "<domain><cpu mode='custom'><model>qemu64</model></cpu><os/><devices/></domain>",
                    "<domain xmlns:jvp='https://jvp.dev/xml/1'><memoryBacking jvp:remove='true'/><features><pae jvp:remove='true'/></features></domain>",
                    "<domain><metadata><x xmlns='urn:x'><y a='1'/></x></metadata><clock offset='localtime'/></domain>",
                ],
            ),
            (
                "cloudInit",
                &[
                    "{pool: p0, hostname: one}",
                    "{pool: p0, hostname: two, onChange: NextStart}",
                    "{pool: p0, hostname: three, onChange: Rebuild}",
                    "{pool: p0, hostname: four, onChange: Ignore}",
                    "{pool: p0, userData: '#cloud-config', networkConfig: 'version: 2'}",
                ],
            ),
        ],
    ),
    (
        "Network",
        &[
            ("mtu", &["1400", "1280"]),
            ("!mode", &["NAT", "Isolated", "Route", "Open"]),
            (
                "!ips",
                &[
                    "[{address: 198.18.COUNT.1/24}]",
                    "[{address: 198.18.COUNT.1/24, dhcp: {ranges: [{start: 198.18.COUNT.150, end: 198.18.COUNT.200}]}}]",
                    "[{address: 198.18.COUNT.1/24, dhcp: {hosts: [{mac: '52:54:00:00:0a:0COUNT', name: printer, ip: 198.18.COUNT.77}]}}]",
                    "[{address: 198.18.10COUNT.1/24, dhcp: {ranges: [{start: 198.18.10COUNT.100, end: 198.18.10COUNT.200}]}}]",
                    "[{address: 198.18.COUNT.1/24}, {address: 'fd00:COUNT::1/64'}]",
                ],
            ),
            ("domain", &["lab.test", "other.test"]),
            ("autostart", &["true", "false"]),
            ("running", &["true", "false"]),
            (
                "dns",
                &[
                    "{hosts: [{ip: 198.18.0.5, names: [a.lab]}]}",
                    "{hosts: [{ip: 198.18.0.5, names: [a.lab, c.lab]}, {ip: 198.18.0.6, names: [b.lab]}]}",
                    "{forwarders: [1.1.1.1]}",
                ],
            ),
        ],
    ),
    (
        "StoragePool",
        &[
            ("autostart", &["true", "false"]),
            ("running", &["true", "false"]),
            ("!target", &["{path: /srv/NAME}", "{path: /srv/NAME/}", "{path: /srv/moved/NAME}"]),
        ],
    ),
    ("Volume", &[("capacity", &["16Mi", "32Mi"])]),
    (
        "Template",
        &[
            ("description", &["An image"]),
            ("tags", &["[a]", "[a, b]"]),
            ("os", &["{name: debian, version: '12', arch: x86_64}", "{name: debian}"]),
            ("features", &["{cloudInit: true, virtio: true, qemuGuestAgent: false}"]),
        ],
    ),
    ("KeyPair", &[("!publicKey", &[KEY, OTHER_KEY])]),
];

/// Fields that are written before anything is made: most of them never change afterwards.
const FIRST_FIELDS: &[(&str, &[Field])] = &[
    (
        "VirtualMachine",
        &[
            ("libvirtName", &["NAME-here"]),
            ("firmware", &["{type: UEFI, secureBoot: false}", "{type: BIOS}"]),
            ("cloudInit", &["{pool: p0, keyPairs: [k0]}"]),
        ],
    ),
    ("Network", &[("libvirtName", &["NAME-here"]), ("bridge", &["jvbrCOUNT"]), ("nodes", &["[n0]"])]),
    ("StoragePool", &[("libvirtName", &["NAME-here"]), ("nodes", &["[n0]"])]),
    ("Volume", &[("libvirtName", &["NAME-here.qcow2"])]),
    ("Template", &[("nodes", &["[n0]"]), ("checksum", &["sha256:DIGEST"])]),
    ("Node", &[("unschedulable", &["false", "true"])]),
];

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJvqBnjVBqBVXOBqoNCBU0pLcZ2rOWjFsjPoVtqNTXzd one";
const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJvqBnjVBqBVXOBqoNCBU0pLcZ2rOWjFsjPoVtqNTXze two";

const LIFECYCLES: &[&str] = &[
    "{reclaimPolicy: Delete}",
    "{reclaimPolicy: Retain}",
    "{preventDestroy: true}",
    "{management: Observe}",
    "{management: CreateOnly}",
    "{adopt: true}",
];

/// Everything that goes wrong.
pub const TROUBLES: &[Trouble] = &[
    Trouble::Fails,
    Trouble::NoAnswer,
    Trouble::Lost,
    Trouble::Half,
    Trouble::Transient,
    Trouble::DiesBefore,
    Trouble::DiesAfter,
    Trouble::Unreachable,
];

/// A manifest that can be changed.
type Manifest = Mapping;

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|_| Value::String(text.into()))
}

fn kind(manifest: &Manifest) -> String {
    manifest["kind"].as_str().unwrap().to_owned()
}

fn name(manifest: &Manifest) -> String {
    manifest["metadata"]["name"].as_str().unwrap().to_owned()
}

fn mapping<'a>(manifest: &'a mut Manifest, field: &str) -> &'a mut Mapping {
    let value = manifest.entry(field.into()).or_insert_with(|| Value::Mapping(Mapping::new()));
    value.as_mapping_mut().unwrap()
}

fn texts(manifests: &[Manifest]) -> Vec<String> {
    manifests.iter().map(|manifest| serde_yaml::to_string(manifest).unwrap()).collect()
}

/// Whether the set loads.
fn is_valid(manifests: &[Manifest]) -> bool {
    let documents: Vec<_> = texts(manifests).into_iter().enumerate().map(|(at, text)| (format!("{at}.yaml"), text)).collect();
    Bench::read(&documents).is_ok()
}

/// Writes a field, or takes it out.
fn write(manifest: &mut Manifest, (field, values): &Field, draw: &mut Draw) {
    let name = name(manifest);
    let count: String = name.chars().filter(char::is_ascii_digit).take(1).collect();
    let raw = manifest["spec"].get("format").is_some_and(|format| format == "raw");
    let spec = mapping(manifest, "spec");
    if draw.often(25) && !field.starts_with('!') {
        spec.remove(*field);
        return;
    }
    let digest = if raw { "b" } else { "a" }.repeat(64);
    let text = draw.of::<&str>(values).replace("NAME", &name).replace("COUNT", &count).replace("DIGEST", &digest);
    spec.insert(field.trim_start_matches('!').into(), yaml(&text));
    // A bridge of the host's own is a network's of the one mode, and no other can make it.
    if *field == "!mode" && spec.get("bridge").is_some_and(|bridge| bridge == "br0") {
        spec.remove("bridge");
    }
}

/// Writes some fields into a set of which nothing is made yet.
fn begun(all: &mut Vec<Manifest>, draw: &mut Draw) {
    if draw.often(25) {
        let text = format!("{{apiVersion: jvp.dev/v1alpha1, kind: KeyPair, metadata: {{name: k0}}, spec: {{publicKey: {KEY}}}}}");
        all.push(serde_yaml::from_str(&text).unwrap());
    }
    for at in 0..all.len() {
        let before = all[at].clone();
        let kind = kind(&before);
        if let Some((_, fields)) = FIRST_FIELDS.iter().find(|(of, _)| *of == kind)
            && draw.often(15)
        {
            write(&mut all[at], draw.of(fields), draw);
        }
        if draw.often(4) {
            mapping(&mut all[at], "metadata").insert("labels".into(), yaml("{team: a}"));
        }
        if all[at] != before && !is_valid(all) {
            all[at] = before;
        }
    }
}

/// One change of a set.
fn change(all: &mut Vec<Manifest>, gone: &mut Vec<Manifest>, draw: &mut Draw) {
    let first = all.iter().take_while(|manifest| matches!(kind(manifest).as_str(), "Fleet" | "Node")).count();
    if first == all.len() {
        return;
    }
    // VMs have most fields, and most happens to them.
    let machines: Vec<usize> = (first..all.len()).filter(|at| kind(&all[*at]) == "VirtualMachine").collect();
    let at = if !machines.is_empty() && draw.often(40) { *draw.of(&machines) } else { first + draw.below(all.len() - first) };
    let kind = kind(&all[at]);
    match draw.below(100) {
        0..50 => {
            if let Some((_, fields)) = FIELDS.iter().find(|(of, _)| *of == kind) {
                write(&mut all[at], draw.of(fields), draw);
            }
        }
        50..65 if kind == "VirtualMachine" => devices(mapping(&mut all[at], "spec"), draw),
        65..75 => {
            let life = yaml(draw.of::<&str>(LIFECYCLES));
            if draw.often(30) {
                all[at].remove("lifecycle");
            } else {
                all[at].insert("lifecycle".into(), life);
            }
        }
        75..78 => {
            let Some((_, fields)) = FIELDS.iter().find(|(of, _)| *of == kind) else { return };
            let (field, _) = draw.of(fields);
            let path = format!("/{}", field.trim_start_matches('!'));
            mapping(&mut all[at], "lifecycle").insert("ignoreChanges".into(), Value::Sequence(vec![path.into()]));
        }
        78..83 if kind == "VirtualMachine" => {
            let old = name(&all[at]);
            mapping(&mut all[at], "lifecycle").insert("renamedFrom".into(), old.clone().into());
            mapping(&mut all[at], "metadata").insert("name".into(), format!("{old}n").into());
        }
        83..94 => gone.push(all.remove(at)),
        _ => all.extend(gone.pop()),
    }
}

/// The fields of a disk that may change.
const DISK_FIELDS: &[Field] = &[
    ("limits", &["{iops: 5}"]),
    ("limits", &["{iops: 9, iopsMax: 20, iopsMaxLength: 2, iopsSize: 4Ki}"]),
    ("limits", &["{readIOPS: 5, readIOPSMax: 9, readIOPSMaxLength: 2, writeIOPS: 6, writeIOPSMax: 8, writeIOPSMaxLength: 3}"]),
    ("limits", &["{bytesPerSecond: 1Mi, bytesPerSecondMax: 2Mi, bytesPerSecondMaxLength: 4}"]),
    (
        "limits",
        &["{readBytesPerSecond: 1Mi, readBytesPerSecondMax: 2Mi, readBytesPerSecondMaxLength: 4, writeBytesPerSecond: 1Mi, \
             writeBytesPerSecondMax: 2Mi, writeBytesPerSecondMaxLength: 5}"],
    ),
    ("bus", &["virtio", "scsi", "sata"]),
    ("bootOrder", &["1", "3"]),
    ("readOnly", &["true", "false"]),
    ("image", &["t0", "t1"]),
];

/// A change of the disks or the interfaces of a VM.
fn devices(spec: &mut Mapping, draw: &mut Draw) {
    let (list, added): (&str, &[&str]) = match draw.below(2) {
        0 => (
            "disks",
            &[
                "{name: more, claim: {pool: p0, capacity: 8Mi}}",
                "{name: raw, claim: {pool: p0, capacity: 8Mi, format: raw}, limits: {readBytesPerSecond: 1Mi, readBytesPerSecondMax: 2Mi, \
                 readBytesPerSecondMaxLength: 4, writeBytesPerSecond: 1Mi, writeBytesPerSecondMax: 2Mi, writeBytesPerSecondMaxLength: 5}}",
                "{name: scsi, bus: scsi, claim: {pool: p0, capacity: 8Mi}}",
                "{name: sata, bus: sata, claim: {pool: p0, capacity: 8Mi}}",
                "{name: tray, device: cdrom}",
                "{name: tray, device: cdrom, image: t0}",
                "{name: copy, claim: {pool: p0, source: {volume: base0-0}, clone: Full}}",
            ],
        ),
        _ => (
            "interfaces",
            &[
                "{name: more, network: net0}",
                "{name: kept, network: net0, ip: 198.18.0.9}",
                "{name: named, network: net1, mac: '52:54:00:00:00:01', model: e1000e}",
            ],
        ),
    };
    let mut all = spec.get(list).and_then(Value::as_sequence).cloned().unwrap_or_default();
    match draw.below(4) {
        0 => drop(all.pop()),
        1 if !all.is_empty() => {
            let at = draw.below(all.len());
            let device = all[at].as_mapping_mut().unwrap();
            let (field, values): (&str, &[&str]) = match list {
                "disks" => *draw.of(DISK_FIELDS),
                _ => *draw.of(&[
                    ("linkState", &["up", "down"][..]),
                    ("ip", &["198.18.0.7", "198.18.0.8"][..]),
                    ("network", &["net0", "net1"][..]),
                    ("model", &["virtio", "e1000e"][..]),
                ]),
            };
            if draw.often(30) {
                device.remove(field);
            } else {
                device.insert(field.into(), yaml(draw.of::<&str>(values)));
            }
        }
        _ => all.push(yaml(draw.of::<&str>(added))),
    }
    if all.is_empty() {
        spec.remove(list);
    } else {
        spec.insert(list.into(), Value::Sequence(all));
    }
}

/// The set after some changes; those that make no valid set are not made.
fn changed(all: &mut Vec<Manifest>, gone: &mut Vec<Manifest>, changes: usize, draw: &mut Draw) {
    let before = (all.clone(), gone.clone());
    for _ in 0..changes {
        change(all, gone, draw);
    }
    if !is_valid(all) {
        (*all, *gone) = before.clone();
        change(all, gone, draw);
        if !is_valid(all) {
            (*all, *gone) = before;
        }
    }
}

fn hand(all: &[Manifest], draw: &mut Draw) -> Option<Step> {
    let manifest = draw.of(all);
    let acts: Vec<HandAct> = HandAct::ALL.iter().copied().filter(|act| act.kind() == kind(manifest)).collect();
    if acts.is_empty() {
        return None;
    }
    let node = manifest["spec"].get("node").and_then(Value::as_str).unwrap_or("n0").parse().ok()?;
    let called = manifest["spec"].get("libvirtName").and_then(Value::as_str).map_or_else(|| name(manifest), str::to_owned);
    Some(Step::Hand { node, act: *draw.of(&acts), name: called })
}

/// The `number`-th world of a seed: of 200 objects or so now and then, of a single one too, mostly small.
pub fn world(seed: u64, number: u64) -> World {
    let mut draw = Draw(seed ^ number.wrapping_mul(0xd134_2543_de82_ef95));
    let mut bytes = [0; 32];
    bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&draw.next().to_le_bytes()));
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let machines = match number {
        _ if number % 1000 == 999 => 100..120,
        _ if number % 500 == 499 => 30..70,
        _ if number % 250 == 249 => 9..30,
        _ if number % 50 == 49 => 4..9,
        _ if number % 4 == 3 => 0..2,
        _ => 1..3,
    };
    let mut scene = scenes_of(machines.clone()).new_tree(&mut runner).unwrap().current();
    if draw.often(70) {
        scene.nodes = 1;
    }
    let mut all: Vec<Manifest> =
        scene.documents().iter().map(|(_, text)| serde_yaml::from_str::<Manifest>(text).unwrap()).collect();
    if number % 100 == 77 {
        let alone = |manifest: &Manifest| match kind(manifest).as_str() {
            "Fleet" | "Node" => true,
            "StoragePool" => name(manifest) == "p0",
            _ => false,
        };
        all.retain(alone);
    }
    let mut gone = Vec::new();
    let many = 1 + machines.end / 4;
    begun(&mut all, &mut draw);
    changed(&mut all, &mut gone, draw.below(3) * many, &mut draw);
    let mut steps = Vec::new();
    if draw.often(10) {
        // What somebody made under a name that the manifests want.
        let at = draw.below(all.len());
        let act = match kind(&all[at]).as_str() {
            "VirtualMachine" => Some(HandAct::DefineDomain),
            "Network" => Some(HandAct::DefineNetwork),
            _ => None,
        };
        if let Some(act) = act {
            let node = all[at]["spec"].get("node").and_then(Value::as_str).unwrap_or("n0").parse().unwrap();
            steps.push(Step::Hand { node, act, name: name(&all[at]) });
            // What is only observed is never taken over.
            let observed = |life: &Value| life.get("management").is_some_and(|management| management == "Observe");
            if draw.often(70) && !all[at].get("lifecycle").is_some_and(observed) {
                mapping(&mut all[at], "lifecycle").insert("adopt".into(), true.into());
            }
        }
    }
    let apply = |all: &[Manifest], prune| Step::Apply { manifests: texts(all), prune, broken: None };
    steps.push(apply(&all, false));
    let mut suspended = None;
    for _ in 0..=draw.below(3) {
        if suspended.is_some() && draw.often(50) {
            steps.extend(suspended.take().map(|object| Step::Resume { object }));
        }
        match draw.below(20) {
            0..=6 => steps.extend((0..=draw.below(2)).filter_map(|_| hand(&all, &mut draw))),
            7 => {
                let manifest = draw.of(&all);
                if matches!(kind(manifest).as_str(), "VirtualMachine" | "Volume") {
                    let object: jvp::name::ObjectRef = format!("{}/{}", kind(manifest), name(manifest)).parse().unwrap();
                    steps.push(Step::Suspend { object: object.clone() });
                    suspended = Some(object);
                }
            }
            8 => steps.push(Step::LoseLedger),
            _ => {
                let changes = 1 + draw.below(4) * many;
                changed(&mut all, &mut gone, changes, &mut draw);
            }
        }
        steps.push(apply(&all, draw.often(40)));
    }
    if draw.often(15) {
        steps.push(Step::Delete);
    }
    if draw.often(50) {
        let calls = machines.end * 4 + 4;
        let applies: Vec<usize> = (0..steps.len()).filter(|at| matches!(steps[*at], Step::Apply { .. })).collect();
        // The first has most to do.
        let at = if draw.often(60) { applies[0] } else { *draw.of(&applies) };
        if let Step::Apply { broken, .. } = &mut steps[at] {
            *broken = Some(Broken {
                call: 1 + u32::try_from(draw.below(calls)).unwrap(),
                how: *draw.of(TROUBLES),
                ledger_lost: draw.often(8),
                abandoned: draw.often(15),
            });
        }
    }
    World { raw_images: scene.templates, foreign: draw.often(30), steps }
}
