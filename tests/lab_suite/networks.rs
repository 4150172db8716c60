//! Networks that change beneath running guests, by the command line: what is live stays live, and who is cut off is plugged in again.

use crate::checkout::{Checkout, ground};
use crate::scenarios::FLEET;
use crate::support::{Lab, bridges, left_out, tiny};

const EMPTY: [&str; 2] = ["plan", "--detailed-exitcode"];

/// A network of this spec with a VM on it.
fn manifests(lab: &Lab, network: &str) -> String {
    let ground = ground(&lab.uri("a"), FLEET, "main", &lab.images("a").join("main"));
    format!(
        r"{ground}---
apiVersion: jvp.dev/v1alpha1
kind: Template
metadata: {{name: tiny}}
spec: {{pool: main, source: {{file: tiny.qcow2}}, format: qcow2}}
---
apiVersion: jvp.dev/v1alpha1
kind: Network
metadata: {{name: lan}}
spec:
{network}
---
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {{name: web}}
spec:
  memory: 96Mi
  disks:
  - {{name: root, claim: {{pool: main, source: {{template: tiny}}}}}}
  interfaces:
  - {{name: eth0, network: lan, ip: 198.18.7.10}}
"
    )
}

const LAN: &str = "  mode: NAT
  ips:
  - address: 198.18.7.1/24
    dhcp: {ranges: [{start: 198.18.7.100, end: 198.18.7.200}]}";

/// A guest that somebody made by hand, on the network too.
fn theirs(lab: &Lab) {
    let serial = lab.images("a").join("theirs.log");
    let devices = crate::support::tiny_devices(&tiny(false), &serial)
        + "<interface type='network'><mac address='52:54:00:12:00:01'/><source network='lan'/><model type='virtio'/></interface>";
    let xml = crate::support::domain_xml("theirs", uuid::Uuid::from_u128(0x7e17), &devices);
    let path = lab.images("a").join("theirs.xml");
    std::fs::write(&path, xml).unwrap();
    lab.virsh("a", &["define", path.to_str().unwrap()]);
    lab.virsh("a", &["start", "theirs"]);
}

/// The pid and id of a domain, which a restart would change.
fn run_of(lab: &Lab, name: &str) -> String {
    let id = lab.virsh("a", &["domid", name]);
    let pid = std::fs::read_to_string(format!("/run/jvp-lab/{}/a/qemu/{name}.pid", lab.hash())).unwrap_or_default();
    format!("{} {}", id.trim(), pid.trim())
}

/// Waits until a guest answers who has an address: its frames go both ways. On a busy machine it boots for a minute.
fn answers(lab: &Lab, address: &str) -> bool {
    (0..240).any(|_| {
        let script = format!("ip neigh flush all; echo >/dev/udp/{address}/9; sleep 0.5; ip neigh show {address}");
        lab.script(&["exec", "a", "bash", "-c", &script]).contains("lladdr")
    })
}

#[test]
fn a_network_is_redefined_beneath_running_guests_and_they_are_plugged_in_again() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let checkout = Checkout::new(&manifests(&lab, LAN));
    checkout.copy(&tiny(false), "tiny.qcow2");
    checkout.jvp(&["apply", "-y"]).exits(0);
    theirs(&lab);
    assert!(answers(&lab, "198.18.7.10"));
    let (web, other) = (run_of(&lab, "web"), run_of(&lab, "theirs"));
    checkout.jvp(&EMPTY).exits(0);
    // What virsh changed by hand and no manifest says stays.
    lab.virsh(
        "a",
        &[
            "net-update",
            "lan",
            "add",
            "dns-host",
            "<host ip='198.18.7.77'><hostname>byhand</hostname></host>",
            "--live",
            "--config",
        ],
    );
    checkout.jvp(&EMPTY).exits(0);

    checkout.write("all.yaml", &manifests(&lab, &format!("{LAN}\n  mtu: 1400\n  domain: lab.test\n  bridge: jvmoved")));
    let before = lab.inventory("a");
    let links = lab.script(&["exec", "a", "ip", "-o", "link", "show"]);
    checkout.jvp(&["plan"]).exits(6).says("theirs, web").says("--allow-disconnect Network/lan@host").says("mtu: 1400");
    checkout.jvp(&["apply", "-y"]).exits(6).says("Nothing can be done");
    assert_eq!(before, lab.inventory("a"));
    assert_eq!(links, lab.script(&["exec", "a", "ip", "-o", "link", "show"]));

    checkout.jvp(&["apply", "-y", "--allow-disconnect", "Network/lan"]).exits(0).says("disconnects theirs, web");
    assert_eq!((web.clone(), other.clone()), (run_of(&lab, "web"), run_of(&lab, "theirs")));
    assert_eq!((bridges(&lab, "web"), bridges(&lab, "theirs")), (vec!["jvmoved".to_owned()], vec!["jvmoved".to_owned()]));
    assert!(answers(&lab, "198.18.7.10"));
    checkout.jvp(&EMPTY).exits(0);
    let xml = lab.virsh("a", &["net-dumpxml", "lan"]);
    assert!(xml.contains("byhand") && xml.contains("<mtu size='1400'/>") && xml.contains("lab.test"), "{xml}");

    // A restart by hand leaves them behind, and the next apply takes them up; without a consent, since nobody loses anything.
    lab.virsh("a", &["net-destroy", "lan"]);
    lab.virsh("a", &["net-start", "lan"]);
    assert_eq!(bridges(&lab, "web"), ["none"]);
    checkout.jvp(&EMPTY).exits(2).says("guests.web: cut off → plugged in");
    checkout.jvp(&["apply", "-y"]).exits(0);
    assert_eq!((bridges(&lab, "web"), bridges(&lab, "theirs")), (vec!["jvmoved".to_owned()], vec!["jvmoved".to_owned()]));
    assert!(answers(&lab, "198.18.7.10"));
    assert_eq!((web, other), (run_of(&lab, "web"), run_of(&lab, "theirs")));
    checkout.jvp(&EMPTY).exits(0);
}

/// Which entries a network's two documents have: of the definition, and of what runs.
fn entries(lab: &Lab, what: &str) -> (bool, bool) {
    let inactive = lab.virsh("a", &["net-dumpxml", "--inactive", "lan"]);
    (inactive.contains(what), lab.virsh("a", &["net-dumpxml", "lan"]).contains(what))
}

#[test]
fn entries_of_dhcp_and_dns_change_live_whichever_side_differs() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let with = |range: &str, hosts: &str, dns: &str| {
        let lan = format!(
            "  mode: NAT\n  ips:\n  - address: 198.18.7.1/24\n    dhcp: {{ranges: [{{start: 198.18.7.100, end: {range}}}], hosts: [{hosts}]}}\n  dns: {{hosts: [{dns}]}}"
        );
        manifests(&lab, &lan)
    };
    let host = |ip: &str| format!("{{name: printer, mac: \"52:54:00:00:07:09\", ip: {ip}}}");
    let dns = |names: &str| format!("{{ip: 198.18.7.5, names: [{names}]}}");
    let checkout = Checkout::new(&with("198.18.7.200", &host("198.18.7.9"), &dns("db.lab")));
    checkout.copy(&tiny(false), "tiny.qcow2");
    checkout.jvp(&["apply", "-y"]).exits(0);
    assert!(answers(&lab, "198.18.7.10"));
    let run = run_of(&lab, "web");
    let links = || lab.script(&["exec", "a", "ip", "-o", "link", "show"]);
    let before = links();

    // Each entry changes in both documents; nobody loses a link. A VM's own reservation stays.
    checkout.write("all.yaml", &with("198.18.7.150", &host("198.18.7.8"), &dns("db.lab, db2.lab")));
    checkout.jvp(&EMPTY).exits(2).says("Network/lan@host will be updated [live]");
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&EMPTY).exits(0);
    for (what, there) in [
        ("end='198.18.7.150'", true),
        ("end='198.18.7.200'", false),
        ("198.18.7.8", true),
        ("198.18.7.9'", false),
        ("db2.lab", true),
        ("198.18.7.10'", true),
    ] {
        assert_eq!(entries(&lab, what), (there, there), "{what}");
    }

    // By hand: what runs only, the definition only, both.
    let hand = |edit: &str, section: &str, xml: &str, flags: &[&str]| {
        lab.virsh("a", &[&["net-update", "lan", edit, section, xml], flags].concat());
    };
    let mine = "<host mac='52:54:00:00:07:09' name='printer' ip='198.18.7.8'/>";
    for flags in [&["--live"][..], &["--config"], &["--live", "--config"]] {
        hand("delete", "ip-dhcp-host", mine, flags);
        hand("delete", "dns-host", "<host ip='198.18.7.5'/>", flags);
        hand("delete", "ip-dhcp-range", "<range start='198.18.7.100' end='198.18.7.150'/>", flags);
        checkout.jvp(&EMPTY).exits(2).says("198.18.7.8");
        checkout.jvp(&["apply", "-y"]).exits(0);
        checkout.jvp(&EMPTY).exits(0);
        for what in [mine, "db2.lab", "end='198.18.7.150'"] {
            assert_eq!(entries(&lab, what), (true, true), "{what} after {flags:?}");
        }
        hand("modify", "ip-dhcp-host", &mine.replace("7.8", "7.7"), flags);
        checkout.jvp(&["apply", "-y"]).exits(0);
        assert_eq!(entries(&lab, "198.18.7.7'"), (false, false), "{flags:?}");
        checkout.jvp(&EMPTY).exits(0);
    }

    // Taken out of the manifest they go, on both sides; what was never ours stays, and the ledger may be lost on the way.
    hand("add", "dns-host", "<host ip='198.18.7.77'><hostname>byhand</hostname></host>", &["--live", "--config"]);
    checkout.lose_state();
    checkout.write("all.yaml", &with("198.18.7.150", "", ""));
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&EMPTY).exits(0);
    for (what, there) in [("printer", false), ("db.lab", false), ("byhand", true), ("198.18.7.10'", true)] {
        assert_eq!(entries(&lab, what), (there, there), "{what}");
    }
    // An address that somebody else's entry has is not taken.
    hand("add", "ip-dhcp-host", "<host mac='52:54:00:99:99:99' ip='198.18.7.33'/>", &["--live", "--config"]);
    checkout.write("all.yaml", &with("198.18.7.150", &host("198.18.7.33"), ""));
    checkout.jvp(&["apply", "-y"]).exits(6).says("52:54:00:99:99:99");
    assert_eq!((run, before), (run_of(&lab, "web"), links()));
}

#[test]
fn a_restart_that_is_killed_anywhere_ends_as_a_clean_one_with_its_guests_plugged_in() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let with = |mtu: u32| manifests(&lab, &format!("{LAN}\n  mtu: {mtu}"));
    let checkout = Checkout::new(&with(1400));
    checkout.copy(&tiny(false), "tiny.qcow2");
    checkout.jvp(&["apply", "-y"]).exits(0);
    let run = run_of(&lab, "web");
    let apply = ["apply", "-y", "--allow-disconnect", "Network/lan"];
    let mut kills = 0;
    for point in 1.. {
        let mtu = 1400 + point;
        checkout.write("all.yaml", &with(mtu));
        let killed = checkout.killed(&apply, point);
        kills += u32::from(killed);
        let again = checkout.jvp(&apply);
        assert_eq!(again.code, Some(0), "after a kill at point {point}:\n{}", again.text);
        let plan = checkout.jvp(&EMPTY);
        assert_eq!(plan.code, Some(0), "after a kill at point {point}:\n{}\nthen\n{}", again.text, plan.text);
        let live = lab.virsh("a", &["net-dumpxml", "lan"]);
        assert!(live.contains(&format!("<mtu size='{mtu}'/>")), "after a kill at point {point}: {live}");
        assert_eq!(bridges(&lab, "web").len(), 1);
        assert!(bridges(&lab, "web").iter().all(|bridge| bridge.starts_with("jv")), "after a kill at point {point}");
        if !killed {
            break;
        }
    }
    // Four steps, each with a point before it, after it, and at its recording.
    assert!(kills >= 12, "{kills} kills");
    assert_eq!(run, run_of(&lab, "web"));
    assert!(answers(&lab, "198.18.7.10"));

    // Cut off half-way: on the bridge, and not yet a port of the network's again.
    let mac = lab.virsh("a", &["domiflist", "web"]);
    let mac = mac.split_whitespace().find(|word| word.matches(':').count() == 5).unwrap().to_owned();
    let bridge = bridges(&lab, "web").remove(0);
    let file = lab.images("a").join("nic.xml");
    let xml = lab.virsh("a", &["dumpxml", "web"]);
    let (start, end) = (xml.find("<interface").unwrap(), xml.find("</interface>").unwrap() + "</interface>".len());
    let nic = &xml[start..end];
    let source = &nic[nic.find("<source").unwrap()..];
    let source = &source[..source.find("/>").unwrap() + 2];
    let moved = nic.replace(source, &format!("<source bridge='{bridge}'/>")).replace("type='network'", "type='bridge'");
    std::fs::write(&file, moved).unwrap();
    lab.virsh("a", &["update-device", "web", file.to_str().unwrap(), "--live"]);
    assert!(lab.virsh("a", &["domiflist", "web"]).contains("bridge"), "{mac}");
    checkout.jvp(&["apply", "-y"]).exits(0);
    assert!(lab.virsh("a", &["dumpxml", "web"]).contains("<source network='lan' portid="));
    checkout.jvp(&EMPTY).exits(0);
    assert_eq!(run, run_of(&lab, "web"));
}

#[test]
fn a_network_is_stopped_and_started_by_hand_and_tells_its_leases() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let checkout = Checkout::new(&manifests(&lab, LAN));
    checkout.copy(&tiny(false), "tiny.qcow2");
    checkout.jvp(&["apply", "-y"]).exits(0);
    assert!(answers(&lab, "198.18.7.10"));
    // A guest may have its address before libvirt's helper has written that down.
    for _ in 0..100 {
        if checkout.jvp(&["network", "leases", "lan"]).text.contains("198.18.7.10") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    checkout.jvp(&["network", "leases", "lan"]).exits(0).says("NETWORK").says("198.18.7.10").says("web");
    let json = checkout.jvp(&["network", "leases", "-o", "json"]).exits(0);
    let all: serde_json::Value = serde_json::from_str(&json.text).unwrap();
    assert_eq!((all[0]["ip"].as_str(), all[0]["domain"].as_str()), (Some("198.18.7.10"), Some("web")), "{}", json.text);

    let run = run_of(&lab, "web");
    checkout.jvp(&["network", "stop", "lan"]).exits(6).says("web hang on it").says("--allow-disconnect Network/lan@host");
    checkout.jvp(&["network", "stop", "lan", "--allow-disconnect", "Network/lan"]).exits(0).says("disconnects web");
    assert_eq!(bridges(&lab, "web"), ["none"]);
    checkout.jvp(&EMPTY).exits(2).says("it is stopped");
    checkout.jvp(&["network", "start", "lan"]).exits(0).says("plugged in again");
    assert_ne!(bridges(&lab, "web"), ["none"]);
    assert!(answers(&lab, "198.18.7.10"));
    checkout.jvp(&EMPTY).exits(0);
    // The next apply does the same, should nobody have.
    checkout.jvp(&["network", "stop", "lan", "--allow-disconnect", "Network/lan@host"]).exits(0);
    checkout.jvp(&["apply", "-y"]).exits(0);
    assert!(answers(&lab, "198.18.7.10"));
    assert_eq!(run, run_of(&lab, "web"));
    checkout.jvp(&EMPTY).exits(0);
}

#[test]
fn a_restart_that_is_only_pending_is_noted_and_done_by_its_word() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let checkout = Checkout::new(&manifests(&lab, &format!("{LAN}\n  mtu: 1400")));
    checkout.copy(&tiny(false), "tiny.qcow2");
    checkout.jvp(&["apply", "-y"]).exits(0);
    let define = |from: &str, to: &str| {
        let file = lab.images("a").join("net.xml");
        std::fs::write(&file, lab.virsh("a", &["net-dumpxml", "--inactive", "lan"]).replace(from, to)).unwrap();
        lab.virsh("a", &["net-define", file.to_str().unwrap()]);
    };
    // The definition by hand, so that it differs from the manifest and from what runs: put back, and nobody is disturbed.
    define("<mtu size='1400'/>", "<mtu size='1300'/>");
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&EMPTY).exits(0);
    // The manifest follows the hand: the definition is right, and what runs waits for a restart that is nobody's to choose.
    define("<mtu size='1400'/>", "<mtu size='1300'/>");
    checkout.write("all.yaml", &manifests(&lab, &format!("{LAN}\n  mtu: 1300")));
    checkout.jvp(&EMPTY).exits(0).says("RestartRequired").says("/mtu").says("web");
    checkout.jvp(&["apply", "-y"]).exits(0);
    assert!(lab.virsh("a", &["net-dumpxml", "lan"]).contains("<mtu size='1400'/>"));
    checkout.jvp(&["apply", "-y", "--allow-disconnect", "Network/lan"]).exits(0);
    assert!(lab.virsh("a", &["net-dumpxml", "lan"]).contains("<mtu size='1300'/>"));
    checkout.jvp(&EMPTY).exits(0);
    // Taken out of the manifest it goes; without guests nobody is asked.
    lab.virsh("a", &["destroy", "web"]);
    checkout.write("all.yaml", &manifests(&lab, LAN).replace("  memory: 96Mi", "  memory: 96Mi\n  runStrategy: Manual"));
    checkout.jvp(&["apply", "-y"]).exits(0);
    assert!(!lab.virsh("a", &["net-dumpxml", "lan"]).contains("<mtu"));
    checkout.jvp(&EMPTY).exits(0);
}

#[test]
fn a_network_gets_another_subnet_and_its_guests_their_addresses_there() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let checkout = Checkout::new(&manifests(&lab, LAN));
    checkout.copy(&tiny(false), "tiny.qcow2");
    checkout.jvp(&["apply", "-y"]).exits(0);
    assert!(answers(&lab, "198.18.7.10"));
    let run = run_of(&lab, "web");
    let allow = ["apply", "-y", "--allow-disconnect", "Network/lan"];
    // The host's address alone moves: what is kept for guests goes along, also what no manifest of the network's says.
    checkout.write("all.yaml", &manifests(&lab, &LAN.replace("198.18.7.1/24", "198.18.7.254/24")));
    checkout.jvp(&allow).exits(0);
    checkout.jvp(&EMPTY).exits(0);
    assert_eq!(entries(&lab, "ip='198.18.7.10'"), (true, true));
    assert!(answers(&lab, "198.18.7.10"));
    // The whole subnet moves, and the VM's address with it, in one apply.
    let moved = manifests(&lab, LAN).replace("198.18.7.", "198.18.8.");
    checkout.write("all.yaml", &moved);
    checkout.jvp(&allow).exits(0);
    checkout.jvp(&EMPTY).exits(0);
    assert_eq!((entries(&lab, "198.18.7."), entries(&lab, "ip='198.18.8.10'")), ((false, false), (true, true)));
    // A second one for IPv6 comes and goes; the order in the manifest says nothing.
    let two = "  mode: NAT\n  ips:\n  - address: fd00:7::1/64\n  - address: 198.18.8.1/24\n    dhcp: {ranges: [{start: 198.18.8.100, end: 198.18.8.200}]}";
    let manifest = manifests(&lab, two).replace("ip: 198.18.7.10", "ip: 198.18.8.11");
    checkout.write("all.yaml", &manifest);
    checkout.jvp(&allow).exits(0);
    checkout.jvp(&EMPTY).exits(0);
    assert_eq!((entries(&lab, "ip='198.18.8.10'"), entries(&lab, "ip='198.18.8.11'")), ((false, false), (true, true)));
    checkout.write("all.yaml", &moved);
    checkout.jvp(&allow).exits(0);
    checkout.jvp(&EMPTY).exits(0);
    assert_eq!(entries(&lab, "fd00:7::1"), (false, false));
    assert_eq!(run, run_of(&lab, "web"));
    // Nor is it given one that another network has.
    let file = lab.images("a").join("other.xml");
    let other = "<network><name>other</name><bridge name='jvother'/><ip address='198.18.9.1' prefix='24'/></network>";
    std::fs::write(&file, other).unwrap();
    lab.virsh("a", &["net-define", file.to_str().unwrap()]);
    lab.virsh("a", &["net-start", "other"]);
    checkout.write("all.yaml", &manifests(&lab, LAN).replace("198.18.7.", "198.18.9."));
    checkout.jvp(&allow).exits(6).says("198.18.9.0/24 is that of the network `other`");
    assert_eq!(run, run_of(&lab, "web"));
}
