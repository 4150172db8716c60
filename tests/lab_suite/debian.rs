//! A real Debian guest that counts seconds to its disk, while everything about it that can change live does: disk and interface come
//! and go, the disk grows, memory and vCPUs change, the cable is pulled, it moves to another network, which is then redefined beneath
//! it. It stays the same process with the same boot, and counts on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jvp::xml::domain::free_ports;
use serde_json::{Value, json};

use crate::checkout::{Checkout, ground};
use crate::scenarios::FLEET;
use crate::support::{Lab, left_out, repository};

/// How long the guest may take for anything: it is emulated, perhaps on a busy machine.
const PATIENCE: u32 = 600;

struct Guest {
    lab: Lab,
    checkout: Checkout,
}

/// What the VM's manifest says, part by part.
struct Wanted<'a> {
    memory: &'static str,
    count: u32,
    capacity: &'static str,
    disks: &'static str,
    interfaces: &'a str,
    plan_domain: &'static str,
}

const FIRST: Wanted<'static> = Wanted {
    memory: "768Mi",
    count: 1,
    capacity: "3Gi",
    disks: "",
    interfaces: "  - {name: eth0, network: one, ip: 198.18.51.20}",
    plan_domain: "",
};

impl Guest {
    fn new() -> Self {
        let lab = Lab::own(1);
        let image = image();
        let checkout = Checkout::new("");
        checkout.copy(&image, "debian.qcow2");
        let guest = Self { lab, checkout };
        guest.write(&FIRST);
        guest
    }

    fn write(&self, wanted: &Wanted<'_>) {
        let Wanted { memory, count, capacity, disks, interfaces, plan_domain } = wanted;
        let path = self.lab.images("a").join("main");
        let ground = ground(&self.lab.uri("a"), FLEET, "main", &path);
        let text = format!(
            r#"{ground}---
apiVersion: jvp.dev/v1alpha1
kind: Network
metadata: {{name: one}}
spec: {{mode: NAT, ips: [{{address: 198.18.51.1/24, dhcp: {{ranges: [{{start: 198.18.51.100, end: 198.18.51.200}}]}}}}]{plan_domain}}}
---
apiVersion: jvp.dev/v1alpha1
kind: Network
metadata: {{name: two}}
spec: {{mode: Isolated, ips: [{{address: 198.18.52.1/24, dhcp: {{ranges: [{{start: 198.18.52.100, end: 198.18.52.200}}]}}}}]}}
---
apiVersion: jvp.dev/v1alpha1
kind: Template
metadata: {{name: debian}}
spec: {{pool: main, source: {{file: debian.qcow2}}, format: qcow2}}
---
apiVersion: jvp.dev/v1alpha1
kind: Volume
metadata: {{name: root}}
spec: {{pool: main, capacity: {capacity}, source: {{template: debian}}}}
---
apiVersion: jvp.dev/v1alpha1
kind: Volume
metadata: {{name: more}}
spec: {{pool: main, capacity: 64Mi}}
---
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {{name: counts}}
spec:
  memory: {memory}
  maxMemory: 1Gi
  cpu: {{count: {count}, max: 2}}
  guestAgent: true
  disks:
  - {{name: root, volume: root}}
{disks}
  interfaces:
{interfaces}
  cloudInit:
    hostname: counts
    writeFiles:
    - path: /usr/local/bin/count
      permissions: "0755"
      content: |
        #!/bin/sh
        while :; do cat /proc/uptime >>/var/count; sync /var/count; sleep 1; done
    runCmd: ["systemd-run --unit count /usr/local/bin/count"]
"#
        );
        self.checkout.write("all.yaml", &text);
    }

    fn agent(&self, ask: &Value) -> Value {
        let answer = self.lab.virsh("a", &["qemu-agent-command", "--timeout", "60", "counts", &ask.to_string()]);
        serde_json::from_str::<Value>(&answer).expect("an answer in JSON")["return"].take()
    }

    /// What a command says in the guest.
    fn inside(&self, command: &str) -> String {
        let job = self.agent(
            &json!({"execute": "guest-exec", "arguments": {"path": "/bin/sh", "arg": ["-c", command], "capture-output": true}}),
        );
        for _ in 0..PATIENCE {
            let state = self.agent(&json!({"execute": "guest-exec-status", "arguments": {"pid": job["pid"]}}));
            if state["exited"] == true {
                let said = STANDARD.decode(state["out-data"].as_str().unwrap_or_default()).expect("base64");
                return String::from_utf8_lossy(&said).trim().to_owned();
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        panic!("the guest did not end `{command}`");
    }

    /// Waits until a command says this in the guest.
    fn becomes(&self, command: &str, wanted: impl Fn(&str) -> bool) {
        let mut said = String::new();
        for _ in 0..PATIENCE {
            said = self.inside(command);
            if wanted(&said) {
                return;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        panic!("`{command}` never said what it should; at last: {said}");
    }

    /// Has the manifests be so; the plan says that nothing but this happens, and nothing is left to do.
    fn apply(&self, wanted: &Wanted<'_>, says: &[&str], words: &[&str]) {
        self.write(wanted);
        let before = self.lab.virsh("a", &["domid", "counts"]);
        let answer = self.checkout.jvp(&[&["apply", "-y"], words].concat());
        assert_eq!(answer.code, Some(0), "{}", answer.text);
        for what in says {
            assert!(answer.text.contains(what), "`{what}` is not in:\n{}", answer.text);
        }
        for never in ["[restart]", "[stop]", "(restart)", "next start"] {
            assert!(!answer.text.contains(never), "`{never}` is in:\n{}", answer.text);
        }
        assert_eq!(self.lab.virsh("a", &["domid", "counts"]), before);
        self.checkout.jvp(&["plan", "--detailed-exitcode"]).exits(0);
    }

    /// How many more devices can be plugged in.
    fn free_ports(&self) -> usize {
        free_ports(&self.lab.virsh("a", &["dumpxml", "counts"]), "virtio", &BTreeSet::new()).expect("it can be read")
    }

    fn number(&self, command: &str) -> u64 {
        self.inside(command).parse().unwrap_or_else(|_| panic!("`{command}` says no number"))
    }
}

/// The image of a Debian guest, built once from Debian's packages.
fn image() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("debian");
    let output = Command::new("sh").arg(repository("tests/lab/image.sh")).arg(&dir).output().expect("sh can be started");
    assert!(output.status.success(), "image.sh failed:\n{}", String::from_utf8_lossy(&output.stderr));
    dir.join("debian-12-jvp.qcow2")
}

#[test]
fn a_debian_guest_counts_on_while_all_that_can_change_live_does() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let guest = Guest::new();
    guest.checkout.jvp(&["apply", "-y"]).exits(0);
    guest.checkout.jvp(&["wait", "vm/counts", "--for=condition=CloudInitDone", "--timeout", "900s"]).exits(0);
    let boot = guest.inside("cat /proc/sys/kernel/random/boot_id");
    guest.becomes("wc -l </var/count", |said| said.parse::<u32>().is_ok_and(|lines| lines > 1));
    let memory = guest.number("awk '/MemTotal/ {print $2}' /proc/meminfo");

    // A disk and an interface come.
    let interfaces = "  - {name: eth0, network: one, ip: 198.18.51.20}\n  - {name: eth1, network: two, mac: 52:54:00:51:00:02}";
    let more = Wanted { disks: "  - {name: more, volume: more}", interfaces, ..FIRST };
    guest.apply(&more, &["disks.more.name: more", "interfaces.eth1.name: eth1"], &[]);
    guest.becomes("lsblk -dbno SIZE,SERIAL | grep -c '^ *67108864 *more'", |said| said == "1");
    guest.becomes("cat /sys/class/net/*/address | grep -c 52:54:00:51:00:02", |said| said == "1");

    // The disk that it runs on grows.
    let grown = Wanted { capacity: "4Gi", ..more };
    guest.apply(&grown, &["capacity: 3Gi → 4Gi"], &[]);
    guest.becomes("lsblk -dbno SIZE /dev/vda", |said| said.trim() == (4_u64 << 30).to_string());

    // Memory by the balloon, down and up, and a vCPU more.
    let small = Wanted { memory: "640Mi", count: 2, ..grown };
    guest.apply(&small, &["memory: 768Mi → 640Mi", "cpu.count: 1 → 2"], &[]);
    guest.becomes("awk '/MemTotal/ {print $2}' /proc/meminfo", |said| said.parse::<u64>().is_ok_and(|now| now < memory));
    guest.becomes("ls -d /sys/devices/system/cpu/cpu1", |said| !said.is_empty());
    let large = Wanted { memory: "896Mi", ..small };
    guest.apply(&large, &["memory: 640Mi → 896Mi"], &[]);
    guest.becomes("awk '/MemTotal/ {print $2}' /proc/meminfo", |said| said.parse::<u64>().is_ok_and(|now| now > memory));

    // The cable is pulled and plugged in again.
    let carrier = "for n in /sys/class/net/*; do grep -q 52:54:00:51:00:02 $n/address && { ip link set ${n##*/} up; cat $n/carrier; }; done";
    guest.becomes(carrier, |said| said == "1");
    let interfaces = "  - {name: eth0, network: one, ip: 198.18.51.20}\n  - {name: eth1, network: two, linkState: down, mac: 52:54:00:51:00:02}";
    guest.apply(&Wanted { interfaces, ..large }, &["interfaces.eth1.linkState: up → down"], &[]);
    guest.becomes(carrier, |said| said == "0");
    guest.apply(&large, &["interfaces.eth1.linkState: down → up"], &[]);
    guest.becomes(carrier, |said| said == "1");

    // It moves to another network, and its address there is kept for it.
    let interfaces = "  - {name: eth0, network: one, ip: 198.18.51.21}\n  - {name: eth1, network: one, mac: 52:54:00:51:00:02}";
    let moved = Wanted { interfaces, ..large };
    guest.apply(&moved, &["interfaces.eth1.network: two → one", "interfaces.eth0.ip"], &[]);
    // The network is redefined beneath it; who is cut off is said, and plugged in again.
    let redefined = Wanted { plan_domain: ", domain: lab.test", ..moved };
    guest.apply(&redefined, &["disconnects counts"], &["--allow-disconnect", "Network/one"]);
    let reach = "python3 -c \"import socket; socket.create_connection(('198.18.51.1', 53), 5); print('reached')\"";
    guest.becomes(reach, |said| said == "reached");

    // Each port is taken, and then one changes hands in one apply.
    let port = |number: usize| format!("\n  - {{name: port{number}, network: two, mac: '52:54:00:51:01:{number:02x}'}}");
    let free = guest.free_ports();
    assert!(free > 0, "no port is left");
    let all = (0..free).fold(interfaces.to_owned(), |all, number| all + &port(number));
    guest.apply(&Wanted { interfaces: &all, ..redefined }, &["interfaces.port0.name: port0"], &[]);
    assert_eq!(guest.free_ports(), 0);
    let other = all.replace(&port(0), &port(free));
    let (gone, comes) = ("interfaces.port0.name", format!("interfaces.port{free}.name"));
    guest.apply(&Wanted { interfaces: &other, ..redefined }, &[gone, &comes], &[]);
    guest.becomes(&format!("cat /sys/class/net/*/address | grep -c 52:54:00:51:01:{free:02x}"), |said| said == "1");

    // Disks and interfaces go.
    let gone = Wanted { disks: "", interfaces: "  - {name: eth0, network: one, ip: 198.18.51.21}", ..redefined };
    guest.apply(&gone, &["disks.more.name", "interfaces.eth1.name"], &[]);
    guest.becomes("lsblk -dno SERIAL | grep -c more; true", |said| said == "0");
    guest.becomes("cat /sys/class/net/*/address | grep -c 52:54:00:51:00:02; true", |said| said == "0");

    // The same boot, the same counter, and no line out of order. How long the longest pause was is told, not judged.
    assert_eq!(guest.inside("cat /proc/sys/kernel/random/boot_id"), boot);
    assert_eq!(guest.inside("systemctl is-active count; systemctl show -P NRestarts count"), "active\n0");
    let counted = guest.inside("cut -d' ' -f1 /var/count");
    let seconds: Vec<f64> = counted.lines().map(|line| line.parse().expect("a number of seconds")).collect();
    let pauses: Vec<f64> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| *pause > 0.0), "{counted}");
    let longest = pauses.iter().copied().fold(0.0, f64::max);
    eprintln!("{} seconds counted, the longest pause {longest:.1} s", seconds.len());
}
