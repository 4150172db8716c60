//! What a real libvirtd tells by itself, and what the host port makes of it: hints, and what happens when they can't come.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jvp::host::{ErrorKind, Events, Hint, Hints, Host};
use jvp::observe::{PowerState, Scope, Target};
use jvp::plan::{Op, Plug};
use uuid::Uuid;

use crate::support::{Lab, NODE_B, appears, domain, domain_xml, done, lab_or_return, new_pool, tiny, tiny_devices};

/// More than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The hints until one of this object has this word.
async fn until(events: &mut Events, hint: &Hint, why: &str) -> Hints {
    let mut all = Hints::new();
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            for (hint, change) in events.next().await {
                let known = all.entry(hint).or_default();
                known.number = change.number;
                known.why.extend(change.why);
            }
            if all.get(hint).is_some_and(|change| change.why.contains(why)) {
                return;
            }
        }
    });
    assert!(told.await.is_ok(), "'{why}' of {hint:?} never came; what came: {all:?}");
    all
}

fn of_domain(name: &str) -> Hint {
    Hint::Object(Target::Domain(name.to_owned()))
}

/// A subscription whose first hint came.
async fn subscribed(host: &dyn Host) -> Events {
    let mut events = host.events();
    until(&mut events, &Hint::Node, "connected").await;
    events
}

/// A domain that nobody starts.
async fn define(host: &dyn Host, name: &str) -> Uuid {
    let uuid = Uuid::new_v4();
    done(host, Op::DomainDefine { name: name.into(), uuid, xml: domain_xml(name, uuid, "").into(), validate: false }).await;
    uuid
}

async fn undefine(host: &dyn Host, name: &str, uuid: Uuid) {
    done(host, Op::DomainUndefine { name: name.into(), uuid, nvram: false, managed_save: false }).await;
}

/// The sockets that this process has open to a node's libvirtd, and all of its files.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// How many clients a node's libvirtd has, the asker left out.
fn clients(lab: &Lab, node: &str) -> usize {
    let socket = lab.uri(node).split("socket=").nth(1).unwrap().replace("libvirt-sock", "libvirt-admin-sock");
    let uri = format!("libvirtd+unix:///system?socket={socket}");
    let output = std::process::Command::new("virt-admin").args(["-c", &uri, "client-list", "libvirtd"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter(|line| line.contains("unix")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_by_hand_is_told_at_once() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let path = new_pool(&lab, "a", &host, "told").await;
    let mut events = subscribed(&host).await;
    let virsh = |args: &[&str]| drop(lab.virsh("a", args));
    let file = |name: &str, text: &str| -> PathBuf {
        let file = path.join(name);
        std::fs::write(&file, text).unwrap();
        file
    };

    let name = "told-guest";
    let xml = file("guest.xml", &domain_xml(name, Uuid::new_v4(), "<controller type='scsi' index='0' model='virtio-scsi'/>"));
    virsh(&["define", xml.to_str().unwrap()]);
    until(&mut events, &of_domain(name), "defined").await;
    virsh(&["start", name]);
    until(&mut events, &of_domain(name), "started").await;
    virsh(&["suspend", name]);
    until(&mut events, &of_domain(name), "suspended").await;
    virsh(&["resume", name]);
    until(&mut events, &of_domain(name), "resumed").await;
    virsh(&["desc", name, "--title", "by hand"]);
    until(&mut events, &of_domain(name), "metadata").await;
    std::fs::write(path.join("disk.img"), vec![0; 1 << 20]).unwrap();
    let disk = path.join("disk.img");
    virsh(&["attach-disk", name, disk.to_str().unwrap(), "sda", "--targetbus", "scsi", "--live", "--config"]);
    until(&mut events, &of_domain(name), "device-added").await;
    virsh(&["reset", name]);
    until(&mut events, &of_domain(name), "rebooted").await;
    virsh(&["destroy", name]);
    until(&mut events, &of_domain(name), "stopped").await;
    virsh(&["undefine", name]);
    until(&mut events, &of_domain(name), "undefined").await;

    let net = "told-net";
    let xml = file("net.xml", &format!("<network><name>{net}</name><bridge name='jvtold'/></network>"));
    let of_network = Hint::Object(Target::Network(net.to_owned()));
    for (verb, word) in
        [("net-define", "defined"), ("net-start", "started"), ("net-destroy", "stopped"), ("net-undefine", "undefined")]
    {
        virsh(&[verb, if verb == "net-define" { xml.to_str().unwrap() } else { net }]);
        until(&mut events, &of_network, word).await;
    }

    let of_pool = Hint::Object(Target::Pool("told".to_owned()));
    for (verb, word) in [
        ("pool-refresh", "refreshed"),
        ("pool-destroy", "stopped"),
        ("pool-start", "started"),
        ("pool-destroy", "stopped"),
        ("pool-undefine", "undefined"),
    ] {
        virsh(&[verb, "told"]);
        until(&mut events, &of_pool, word).await;
    }

    let uuid = Uuid::new_v4();
    let secret = file("secret.xml", &format!("<secret ephemeral='no' private='no'><uuid>{uuid}</uuid></secret>"));
    virsh(&["secret-define", secret.to_str().unwrap()]);
    until(&mut events, &Hint::Node, "secret").await;
    virsh(&["secret-undefine", &uuid.to_string()]);
    until(&mut events, &Hint::Node, "secret").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_libvirt_tells_nobody_is_found_by_looking_only() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let mut events = subscribed(&host).await;
    let name = "silent";
    let uuid = define(&host, name).await;
    until(&mut events, &of_domain(name), "defined").await;
    lab.virsh("a", &["setmem", name, "64M", "--config"]);
    lab.virsh("a", &["setvcpus", name, "1", "--config"]);
    lab.virsh("a", &["autostart", name]);
    // What comes after them is told, so they would have been told by then.
    lab.virsh("a", &["desc", name, "--config", "after"]);
    let hints = until(&mut events, &of_domain(name), "metadata").await;
    assert_eq!(hints[&of_domain(name)].why, BTreeSet::from(["metadata"]));
    let seen = domain(&host, name).await.unwrap();
    assert!(
        seen.autostart && seen.inactive.text().contains("<currentMemory unit='KiB'>65536</currentMemory>"),
        "{}",
        seen.inactive.text()
    );
    undefine(&host, name, uuid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_tells_what_it_does_itself() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let folder = new_pool(&lab, "a", &host, "tells").await;
    let mut events = subscribed(&host).await;
    let (name, uuid, serial) = ("tells-guest", Uuid::new_v4(), lab.images("a").join("tells.log"));
    let disk = folder.join("extra.img");
    std::fs::write(&disk, vec![0; 1 << 20]).unwrap();
    let extra = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vdb' bus='virtio'/></disk>",
        disk.display()
    );
    let devices = format!("{}{extra}", tiny_devices(&tiny(false), &serial));
    done(&host, Op::DomainDefine { name: name.into(), uuid, xml: domain_xml(name, uuid, &devices).into(), validate: false })
        .await;
    done(&host, Op::DomainStart { name: name.into(), uuid }).await;
    until(&mut events, &of_domain(name), "started").await;
    appears(&serial, "jvp-tiny: up").await;
    // The guest lets go of it, a moment after it was asked to.
    let detach = Op::DomainDevice {
        name: name.into(),
        uuid,
        how: Plug::Detach,
        device: String::new(),
        patch: Box::default(),
        live: true,
        config: false,
        xml: Some(extra),
    };
    done(&host, detach).await;
    until(&mut events, &of_domain(name), "device-removed").await;
    lab.virsh("a", &["shutdown", name]);
    let hints = until(&mut events, &of_domain(name), "stopped").await;
    // A look that begins now is newer than the hint, and shows it.
    assert!(events.latest() >= hints[&of_domain(name)].number);
    assert_eq!(domain(&host, name).await.unwrap().state, PowerState::Off);
    undefine(&host, name, uuid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_are_one_hint_and_cost_no_memory() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let (name, other) = ("stormy", "stormy-last");
    let (uuid, last) = (define(&host, name).await, define(&host, other).await);
    let mut events = subscribed(&host).await;
    let before = events.latest();
    // One virsh, ten thousand changes of a title, with nobody taking what comes of them.
    let commands: String = (0..10_000).map(|turn| format!("desc {name} --config --title turn-{turn}\n")).collect();
    let mut virsh = std::process::Command::new("virsh")
        .args(["-q", "-c", &lab.uri("a")])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut virsh.stdin.take().unwrap(), commands.as_bytes()).unwrap();
    assert!(virsh.wait().unwrap().success());
    lab.virsh("a", &["desc", other, "--config", "--title", "the last"]);
    // Other tests change other objects there, and the node's secrets, which are everybody's hint.
    let began = Instant::now();
    let mut hints = events.take();
    while !hints.contains_key(&of_domain(other)) {
        assert!(began.elapsed() < PATIENCE, "the last event never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
        hints.extend(events.take());
    }
    assert!(hints[&of_domain(name)].number >= before + 10_000, "{hints:?}");
    assert_eq!(hints[&of_domain(name)].why, BTreeSet::from(["metadata"]));
    undefine(&host, name, uuid).await;
    undefine(&host, other, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_libvirtd_that_restarts_is_lost_and_found_again() {
    let lab = lab_or_return!();
    let _turn = NODE_B.lock().await;
    let host = lab.host("b");
    let mut events = subscribed(&host).await;
    for (stop, start) in [("stop", "start"), ("kill", "start")] {
        lab.script(&[stop, "b"]);
        until(&mut events, &Hint::Node, "closed").await;
        let error = host.renew_events().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unreachable, "{error:?}");
        lab.script(&[start, "b"]);
        until(&mut events, &Hint::Node, "connected").await;
        host.renew_events().await.expect("it is there again");
        let uuid = define(&host, "found-again").await;
        until(&mut events, &of_domain("found-again"), "defined").await;
        undefine(&host, "found-again", uuid).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_out_of_reach_at_the_start_is_tried_until_it_is_there() {
    let lab = lab_or_return!();
    let _turn = NODE_B.lock().await;
    let host = lab.host("b");
    lab.script(&["stop", "b"]);
    let mut events = host.events();
    until(&mut events, &Hint::Node, "unreachable").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(events.take().is_empty(), "it is told once, not at each try");
    lab.script(&["start", "b"]);
    until(&mut events, &Hint::Node, "connected").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_libvirtd_that_hangs_is_noticed_by_its_pings() {
    let lab = lab_or_return!();
    let _turn = NODE_B.lock().await;
    let (host, other) = (lab.host("b"), lab.host("a"));
    let mut events = subscribed(&host).await;
    let mut others = subscribed(&other).await;
    lab.signal("b", "-STOP");
    let began = Instant::now();
    until(&mut events, &Hint::Node, "hung").await;
    let took = began.elapsed();
    // The other node's events are told meanwhile.
    let uuid = define(&other, "meanwhile").await;
    until(&mut others, &of_domain("meanwhile"), "defined").await;
    undefine(&other, "meanwhile", uuid).await;
    lab.signal("b", "-CONT");
    until(&mut events, &Hint::Node, "connected").await;
    eprintln!("noticed after {took:?}");
    assert!(took < Duration::from_secs(25), "{took:?}");
    let uuid = define(&host, "goes-on").await;
    until(&mut events, &of_domain("goes-on"), "defined").await;
    undefine(&host, "goes-on", uuid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_goes_leaves_no_connection() {
    let lab = lab_or_return!();
    let _turn = NODE_B.lock().await;
    let host = lab.host("b");
    drop(subscribed(&host).await);
    // What is read has a connection of its own, which stays.
    host.read(&Scope::Host).await.unwrap();
    let settled = async || {
        let began = Instant::now();
        while clients(&lab, "b") > 1 {
            assert!(began.elapsed() < PATIENCE, "{} clients are left", clients(&lab, "b"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    settled().await;
    let before = open_files();
    for turn in 0..1000 {
        let events = host.events();
        // Some go before the connection is there, some when it is about to be, some after.
        match turn % 10 {
            0 => drop(subscribed(&host).await),
            1 => tokio::time::sleep(Duration::from_millis(turn % 7)).await,
            _ => {}
        }
        drop(events);
    }
    settled().await;
    assert!(open_files() <= before + 8, "{} files were open, and now {}", before, open_files());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_subscriptions_share_a_connection_that_renewals_keep() {
    let lab = lab_or_return!();
    let _turn = NODE_B.lock().await;
    let host = lab.host("b");
    let mut events = subscribed(&host).await;
    let mut second = subscribed(&host).await;
    let uuid = define(&host, "shared").await;
    until(&mut second, &of_domain("shared"), "defined").await;
    until(&mut events, &of_domain("shared"), "defined").await;
    let before = clients(&lab, "b");
    for _ in 0..200 {
        host.renew_events().await.expect("it can be renewed");
    }
    assert_eq!(clients(&lab, "b"), before, "it is renewed where it is");
    assert!(!events.take().contains_key(&Hint::Node), "nothing was lost");
    undefine(&host, "shared", uuid).await;
    let hints = until(&mut events, &of_domain("shared"), "undefined").await;
    assert_eq!(hints[&of_domain("shared")].number, events.latest(), "it came once");
}
