//! Hundreds of objects that somebody made with virsh are exported, adopted and planned: nothing of them changes but the mark.

use std::collections::BTreeMap;
use std::process::Command;

use jvp::host::Host;
use jvp::observe::Scope;

use crate::by_hand::{Object, domains, networks, pools, volumes};
use crate::checkout::Checkout;
use crate::support::{Lab, left_out, tiny, tiny_devices};

/// What libvirt refuses, with its words.
type Refused = BTreeMap<String, String>;

/// Runs virsh on a document; what it refuses is told.
fn make(lab: &Lab, node: &str, object: &Object, verb: &[&str], refused: &mut Refused) -> bool {
    let file = lab.folder(node).join("by-hand.xml");
    std::fs::write(&file, &object.xml).expect("a file can be written");
    let output =
        Command::new("virsh").args(["-q", "-c", &lab.uri(node)]).args(verb).arg(&file).output().expect("virsh can be started");
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
        refused.insert(format!("{} {}", object.kind, object.name), said);
    }
    output.status.success()
}

/// A document without jvp's mark, byte for byte as it was before.
pub fn unmarked(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(at) = text.find("<jvp:object") {
        let tail = &text[at..];
        let end = tail.find("</jvp:object>").map_or_else(|| tail.find("/>").unwrap() + 2, |end| end + "</jvp:object>".len());
        // With the line that it begins.
        let line = text[..at].rfind('\n').unwrap_or(at);
        text.replace_range(line..at + end, "");
    }
    // A `<metadata>` that holds nothing else was made for the mark.
    text.replace("\n  <metadata>\n  </metadata>", "")
}

/// All documents of a node, and what stands beside them, by name.
async fn documents(host: &dyn Host) -> BTreeMap<String, String> {
    let node = host.read(&Scope::Everything).await.expect("the node can be read");
    let mut all = BTreeMap::new();
    for domain in node.domains {
        let facts = format!("{} {:?} {}", domain.uuid, domain.state, domain.autostart);
        all.insert(format!("domain {}", domain.name), format!("{facts}\n{}", unmarked(&domain.inactive.text())));
        if let Some(live) = domain.live {
            all.insert(format!("live domain {}", domain.name), unmarked(&live.text()));
        }
    }
    for network in node.networks {
        let facts = format!("{} {} {}", network.uuid, network.active, network.autostart);
        all.insert(format!("network {}", network.name), format!("{facts}\n{}", unmarked(&network.inactive)));
        if let Some(live) = network.live {
            all.insert(format!("live network {}", network.name), unmarked(&live));
        }
    }
    for pool in node.pools {
        // What a pool measures is no part of it.
        let xml: Vec<&str> = pool
            .xml
            .lines()
            .filter(|line| !["<capacity", "<allocation", "<available"].iter().any(|what| line.trim().starts_with(what)))
            .collect();
        all.insert(
            format!("pool {}", pool.name),
            format!("{} {} {}\n{}", pool.uuid, pool.active, pool.autostart, xml.join("\n")),
        );
        for volume in pool.volumes.into_iter().flatten() {
            let xml = volume.xml.lines().filter(|line| !line.contains("time>")).collect::<Vec<_>>().join("\n");
            all.insert(format!("volume {}/{}", pool.name, volume.name), xml);
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_objects_made_by_hand_are_adopted_as_they_are() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let images = lab.images("a");
    let mut refused = Refused::new();
    let mut made = 0;
    for pool in pools(&images) {
        made += usize::from(make(&lab, "a", &pool, &["pool-define"], &mut refused));
    }
    for pool in ["hand", "Hand Second"] {
        lab.virsh("a", &["pool-build", pool]);
        lab.virsh("a", &["pool-start", pool]);
    }
    for network in networks() {
        made += usize::from(make(&lab, "a", &network, &["net-define"], &mut refused));
    }
    for network in ["hand-nat", "hand-isolated", "hand-dns"] {
        lab.virsh("a", &["net-start", network]);
    }
    lab.virsh("a", &["net-autostart", "hand-nat"]);
    lab.virsh("a", &["pool-autostart", "hand"]);
    let machines = domains(&images);
    for volume in volumes(&images, machines.len()) {
        made += usize::from(make(&lab, "a", &volume, &["vol-create", "hand"], &mut refused));
    }
    for machine in &machines {
        made += usize::from(make(&lab, "a", machine, &["define"], &mut refused));
    }
    // Some run: a tiny guest that reads its disk only.
    for number in 0..3 {
        let devices = tiny_devices(&tiny(false), &lab.folder("a").join(format!("serial{number}")));
        let nic = format!(
            "<interface type='network'><mac address='52:54:09:00:00:0{number}'/><source network='hand-nat'/><model type='virtio'/></interface>"
        );
        let xml = format!(
            "<domain type='qemu'><name>hand-runs-{number}</name><memory unit='MiB'>96</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><devices>{devices}{nic}</devices></domain>"
        );
        let object = Object { kind: "domain", name: format!("hand-runs-{number}"), xml };
        assert!(make(&lab, "a", &object, &["define"], &mut refused), "{refused:?}");
        lab.virsh("a", &["start", &object.name]);
        made += 1;
    }
    for (what, why) in &refused {
        eprintln!("libvirt refuses {what}: {why}");
    }
    eprintln!("{made} objects made by hand, {} refused by libvirt", refused.len());
    assert!(made >= 300, "only {made} objects");

    let host = lab.host("a");
    let before = documents(&host).await;
    let checkout = Checkout::new(&format!(
        "apiVersion: jvp.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: adopting}}\nspec: {{id: 6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10}}\n---\n\
         apiVersion: jvp.dev/v1alpha1\nkind: Node\nmetadata: {{name: host}}\nspec: {{uri: \"{}\"}}\n",
        lab.uri("a")
    ));
    let exported = checkout.jvp(&["export", "--all", "-o", "adopted"]).exits(0);
    eprintln!("{}", exported.text);
    // Nothing that is there is left out but what no manifest can name.
    let left: Vec<&str> = exported.text.lines().filter(|line| line.starts_with("left out:")).collect();
    assert!(left.iter().all(|line| line.contains("its format is")), "{left:#?}");
    let written = std::fs::read_dir(checkout.folder().join("adopted")).expect("a folder").count();
    let there = before.keys().filter(|name| !name.starts_with("live ")).count();
    assert_eq!(written + left.len(), there);
    for file in std::fs::read_dir(checkout.folder().join("adopted")).expect("a folder") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        assert!(!text.contains("CANARY"), "a password came out: {text}");
    }
    let plan = checkout.jvp(&["plan"]).exits(0);
    assert!(plan.text.contains(&format!("Plan: {written} to adopt.")), "{}", plan.text);
    assert_eq!(before, documents(&host).await, "neither an export nor a plan changes anything");
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&["plan", "--detailed-exitcode"]).exits(0).says("Nothing is to be done");
    let after = documents(&host).await;
    for (name, document) in &before {
        assert_eq!(Some(document), after.get(name), "{name}");
    }
    assert_eq!(before.len(), after.len());
    // Nothing is left to be exported.
    checkout.jvp(&["export", "--all"]).exits(0);
    for number in 0..3 {
        lab.virsh("a", &["destroy", &format!("hand-runs-{number}")]);
    }
}
