//! The words of `lifecycle` on a real libvirt, on each kind: what somebody made by hand is adopted, observed, left alone, renamed, kept
//! and given up, with its guest running all the while. Where a word says nothing of a kind, it is refused.

use std::collections::BTreeMap;

use jvp::name::Kind;
use serde_json::{Value, json};

use crate::adoption::unmarked;
use crate::checkout::Checkout;
use crate::leaves::{documents, object, put};
use crate::support::{Lab, domain_xml, left_out, tiny};

/// All words.
const WORDS: [&str; 6] = ["adopt", "management", "ignoreChanges", "renamedFrom", "preventDestroy", "reclaimPolicy"];

/// Words that say nothing of a kind.
const NOTHING: [(Kind, &[&str]); 4] = [
    (Kind::Fleet, &WORDS),
    (Kind::Node, &WORDS),
    (Kind::KeyPair, &["adopt", "management", "ignoreChanges", "renamedFrom", "reclaimPolicy"]),
    (Kind::Template, &["adopt", "renamedFrom"]),
];

/// What stands on a node, and a field of each that is changed.
const OBJECTS: [(Kind, &str, &str); 5] = [
    (Kind::StoragePool, "store", "/autostart"),
    (Kind::Network, "hand", "/autostart"),
    (Kind::Volume, "disk", "/capacity"),
    (Kind::VirtualMachine, "machine", "/title"),
    (Kind::Template, "image", "/description"),
];

/// Whether a test below shows what a word does to a kind, or that it says nothing of it.
pub fn covers(kind: Kind, word: &str) -> bool {
    let refused = NOTHING.iter().any(|(of, words)| *of == kind && words.contains(&word));
    let done = OBJECTS.iter().any(|(of, ..)| *of == kind) || (kind, word) == (Kind::KeyPair, "preventDestroy");
    refused || (done && WORDS.contains(&word))
}

struct Bench {
    lab: Lab,
    checkout: Checkout,
}

impl Bench {
    /// A pool with a file, a network, and a running domain on both, made by hand.
    fn new() -> Self {
        let lab = Lab::own(1);
        let checkout = Checkout::new("");
        checkout.copy(&tiny(true), "tiny.qcow2");
        let bench = Self { lab, checkout };
        let folder = bench.lab.images("a").join("store");
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let define = |verb: &str, xml: &str| {
            let path = bench.lab.folder("a").join("hand.xml");
            std::fs::write(&path, xml).expect("a file can be written");
            bench.lab.virsh("a", &[verb, path.to_str().unwrap()]);
        };
        define(
            "pool-define",
            &format!("<pool type='dir'><name>store</name><target><path>{}</path></target></pool>", folder.display()),
        );
        bench.lab.virsh("a", &["pool-start", "store"]);
        bench.lab.virsh("a", &["vol-create-as", "store", "disk.qcow2", "8M", "--format", "qcow2"]);
        define("net-define", "<network><name>hand</name><bridge name='hand0'/><ip address='198.18.61.1' prefix='24'/></network>");
        bench.lab.virsh("a", &["net-start", "hand"]);
        let devices = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}/disk.qcow2'/>\
             <target dev='vda' bus='virtio'/></disk><interface type='network'><mac address='52:54:00:61:00:01'/>\
             <source network='hand'/><model type='virtio'/></interface>",
            folder.display()
        );
        define("define", &domain_xml("machine", uuid::Uuid::from_u128(0x6161), &devices));
        bench.lab.virsh("a", &["start", "machine"]);
        bench
    }

    /// The manifests of all that, with `edit` done to each of the objects.
    fn write(&self, edit: impl Fn(&mut Value, Kind, &str, &str)) {
        let path = self.lab.images("a").join("store");
        let specs = [
            json!({"type": "Dir", "target": {"path": path}, "autostart": false}),
            json!({"mode": "Isolated", "bridge": "hand0", "ips": [{"address": "198.18.61.1/24"}], "autostart": false}),
            json!({"pool": "store", "format": "qcow2", "capacity": "8Mi"}),
            json!({
                "runStrategy": "Manual", "memory": "96Mi",
                "disks": [{"name": "vda", "volume": "disk"}],
                "interfaces": [{"name": "52-54-00-61-00-01", "network": "hand"}],
            }),
            json!({"pool": "store", "source": {"file": "tiny.qcow2"}, "format": "qcow2"}),
        ];
        let mut all = vec![
            object("Fleet", "words", json!({"id": "6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a79"})),
            object("Node", "host", json!({"uri": self.lab.uri("a"), "defaults": {"accelerator": "TCG"}})),
            object("KeyPair", "key", json!({"generate": true})),
        ];
        for ((kind, name, field), spec) in OBJECTS.into_iter().zip(specs) {
            let mut document = object(kind.name(), name, spec);
            put(&mut document, "/spec/title", if kind == Kind::VirtualMachine { json!("As it was") } else { json!(null) });
            edit(&mut document, kind, name, field);
            all.push(document);
        }
        self.checkout.write("all.yaml", &documents(&all));
    }

    /// All that the node has, without jvp's mark; what jvp alone put there isn't counted.
    fn there(&self) -> BTreeMap<String, String> {
        let mut all = self.lab.inventory("a");
        all.retain(|name, _| !name.contains("store-templates") && !name.contains("_templates_"));
        for text in all.values_mut() {
            *text = unmarked(text);
        }
        all.insert("process".into(), self.lab.virsh("a", &["domid", "machine"]));
        all
    }

    #[track_caller]
    fn empty(&self) {
        self.checkout.jvp(&["plan", "--detailed-exitcode"]).exits(0);
    }
}

/// Another value of the field that is changed.
fn changed(document: &mut Value, field: &str) {
    let value = match field {
        "/autostart" => json!(true),
        "/capacity" => json!("16Mi"),
        _ => json!("Another"),
    };
    put(document, &format!("/spec{field}"), value);
}

#[test]
fn each_word_of_lifecycle_does_what_it_says_on_a_real_libvirt() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let bench = Bench::new();
    bench.lab.virsh("a", &["desc", "machine", "--title", "--live", "--config", "--new-desc", "As it was"]);
    let before = bench.there();
    let jvp = |args: &[&str]| bench.checkout.jvp(args);
    let own = |kind: Kind| kind != Kind::Template;

    // Without a word it is somebody's.
    bench.write(|_, _, _, _| ());
    let mut refused = jvp(&["apply", "-y"]).exits(6);
    for word in ["StoragePool/store", "Network/hand", "VirtualMachine/machine", "lifecycle: {adopt: true}"] {
        refused = refused.says(word);
    }
    assert_eq!(bench.there(), before);

    let lifecycle = |document: &mut Value, word: &str, value: Value| put(document, &format!("/lifecycle/{word}"), value);
    let adopt = |document: &mut Value, kind: Kind| {
        if own(kind) {
            put(document, "/lifecycle/adopt", json!(true));
        }
    };

    // Observed, it is told of and nothing else; not even adopted.
    bench.write(|document, kind, _, field| {
        if own(kind) {
            changed(document, field);
            lifecycle(document, "management", json!("Observe"));
        }
    });
    jvp(&["apply", "-y", "--target", "StoragePool/store", "--target", "Network/hand", "--target", "VM/machine"]).exits(0);
    assert_eq!(bench.there(), before);

    // Adopted, it stays as it is.
    bench.write(|document, kind, _, _| adopt(document, kind));
    jvp(&["apply", "-y"]).exits(0);
    assert_eq!(bench.there(), before);
    bench.empty();

    // Ignored, a change of a field is none; without the word each is one.
    bench.write(|document, kind, _, field| {
        adopt(document, kind);
        changed(document, field);
    });
    let mut seen = jvp(&["plan", "--detailed-exitcode"]).exits(2);
    for (kind, name, _) in OBJECTS {
        seen = seen.says(&format!("{kind}/{name}"));
    }
    bench.write(|document, kind, _, field| {
        adopt(document, kind);
        changed(document, field);
        lifecycle(document, "ignoreChanges", json!([field]));
    });
    bench.empty();
    // Left alone since it was made; and only looked at.
    for management in ["CreateOnly", "Observe"] {
        bench.write(|document, kind, _, field| {
            // What only the inventory has is told there, whatever is said of the node.
            if own(kind) {
                changed(document, field);
            }
            lifecycle(document, "management", json!(management));
        });
        bench.empty();
        jvp(&["apply", "-y"]).exits(0);
        assert_eq!(bench.there(), before, "{management}");
    }

    // A delete is refused, one by one.
    bench.write(|document, _, _, _| lifecycle(document, "preventDestroy", json!(true)));
    bench.empty();
    for (kind, name, _) in OBJECTS {
        jvp(&["delete", "-y", "--with-data", "--force-stop", "VM/machine", &format!("{kind}/{name}")])
            .exits(6)
            .says("lifecycle.preventDestroy: true");
    }
    assert_eq!(bench.there(), before);

    // A new name: nothing of it is made anew, and nothing is disturbed.
    let renamed = |document: &mut Value, kind: Kind, name: &str| {
        if own(kind) {
            put(document, "/metadata/name", json!(format!("{name}-2")));
            put(document, "/lifecycle/renamedFrom", json!(name));
        }
        let text = document["spec"].to_string();
        let text =
            text.replace("\"pool\":\"store\"", "\"pool\":\"store-2\"").replace("\"volume\":\"disk\"", "\"volume\":\"disk-2\"");
        document["spec"] = serde_json::from_str(&text.replace("\"network\":\"hand\"", "\"network\":\"hand-2\"")).unwrap();
    };
    bench.write(|document, kind, name, _| renamed(document, kind, name));
    jvp(&["apply", "-y"]).exits(0).says("renamed");
    assert_eq!(bench.there(), before);
    bench.empty();

    // Kept, all of it stays as it is when it is deleted; without, the definitions go, and with their word the data, too.
    let policy = |policy: &'static str| {
        move |document: &mut Value, kind: Kind, name: &str, _: &str| {
            renamed(document, kind, name);
            put(document, "/lifecycle/reclaimPolicy", json!(policy));
        }
    };
    let delete = ["delete", "-y", "--with-data", "--force-stop", "VM/machine-2"];
    bench.write(policy("Retain"));
    bench.empty();
    jvp(&["delete", "-y", "--with-data"]).exits(6).says("it is used by machine");
    jvp(&["delete", "-y"]).exits(0);
    assert_eq!(bench.there(), before);
    bench.write(policy("Retain"));
    jvp(&["apply", "-y"]).exits(0);
    assert_eq!(bench.there(), before);
    bench.write(policy("Delete"));
    jvp(&delete).exits(0);
    let left = bench.lab.inventory("a");
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn a_word_of_lifecycle_that_says_nothing_of_a_kind_is_refused() {
    let checkout = Checkout::new("");
    for (kind, words) in NOTHING {
        for word in words {
            let spec = match kind {
                Kind::Fleet => json!({"id": "6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a79"}),
                Kind::Node => json!({"uri": "qemu:///system"}),
                Kind::KeyPair => json!({"generate": true}),
                _ => json!({"pool": "store", "source": {"file": "tiny.qcow2"}, "format": "qcow2"}),
            };
            let value = match *word {
                "management" => json!("Observe"),
                "ignoreChanges" => json!(["/uri"]),
                "renamedFrom" => json!("before"),
                "reclaimPolicy" => json!("Retain"),
                _ => json!(true),
            };
            let mut document = object(kind.name(), "one", spec);
            put(&mut document, &format!("/lifecycle/{word}"), value);
            checkout.write("all.yaml", &documents(&[document]));
            checkout.jvp(&["validate"]).exits(3).says(&format!("`lifecycle.{word}` says nothing of a {kind}"));
        }
    }
}

#[test]
fn a_key_pair_that_is_not_to_go_is_not_deleted() {
    let checkout = Checkout::new("").with_env("JVP_FAKE", "1");
    let mut key = object("KeyPair", "key", json!({"generate": true}));
    put(&mut key, "/lifecycle/preventDestroy", json!(true));
    let fleet = object("Fleet", "words", json!({"id": "6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a79"}));
    checkout.write("all.yaml", &documents(&[fleet, key]));
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&["delete", "-y", "KeyPair/key"]).exits(6).says("lifecycle.preventDestroy: true");
    assert!(checkout.state().join("keypairs/key").exists());
}
