//! The lab for a run of these tests: up with the first that asks for it, down with the last that lets go of it.
//!
//! The user's own libvirt is never touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use jvp::host::libvirt::LibvirtHost;
use jvp::host::{Host, HostError, NoProgress};
use jvp::observe::{RawDomain, RawNetwork, RawNode, RawPool, RawVolume, Scope, Target};
use jvp::plan::Op;
use uuid::Uuid;

/// Whether tests of this level were left out by a word.
pub fn left_out() -> bool {
    std::env::var("JVP_TEST_LEVEL").is_ok_and(|level| level == "unit")
}

/// Ends a test that needs the lab where the lab was left out by a word.
macro_rules! lab_or_return {
    () => {{
        if $crate::support::left_out() {
            eprintln!("left out by JVP_TEST_LEVEL=unit");
            return;
        }
        $crate::support::Lab::get()
    }};
}
pub(crate) use lab_or_return;

/// Two nodes: `a` for everything, `b` to be stopped and restarted.
pub struct Lab {
    dir: PathBuf,
    /// Asked for once: every command that virsh is given needs one.
    uris: Mutex<BTreeMap<String, String>>,
}

static TURN: AtomicU64 = AtomicU64::new(0);
static LAB: Mutex<Weak<Lab>> = Mutex::new(Weak::new());
/// Tests that stop or restart node `b` take turns.
pub static NODE_B: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl Lab {
    /// The lab, brought up if it isn't.
    pub fn get() -> Arc<Self> {
        let mut lab = LAB.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lab) = lab.upgrade() {
            return lab;
        }
        let fresh = Arc::new(Self::own(2));
        *lab = Arc::downgrade(&fresh);
        fresh
    }

    /// A lab that no other test uses, with so many nodes.
    pub fn own(nodes: u32) -> Self {
        // Each its own: the one before may be on its way down still.
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("lab-{}-{turn}", std::process::id()));
        let lab = Self { dir, uris: Mutex::default() };
        lab.script(&["up", &nodes.to_string()]);
        lab
    }

    /// Runs `lab.sh`, and fails with what it said where it fails.
    pub fn script(&self, args: &[&str]) -> String {
        let output = Command::new("sh")
            .arg(repository("tests/lab/lab.sh"))
            .args(args)
            .env("JVP_LAB_DIR", &self.dir)
            .output()
            .expect("sh can be started");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            output.status.success(),
            "the lab is needed for this test (JVP_TEST_LEVEL=unit leaves it out), but lab.sh {args:?} failed:\n{out}{err}"
        );
        out.into_owned()
    }

    pub fn uri(&self, node: &str) -> String {
        let mut uris = self.uris.lock().unwrap_or_else(PoisonError::into_inner);
        uris.entry(node.to_owned()).or_insert_with(|| self.script(&["uri", node]).trim().to_owned()).clone()
    }

    pub fn host(&self, node: &str) -> LibvirtHost {
        LibvirtHost::new(&self.uri(node))
    }

    /// Sends a signal to a node's libvirtd.
    pub fn signal(&self, node: &str, signal: &str) {
        let pid = self.script(&["pid", node]);
        let status = Command::new("kill").args([signal, pid.trim()]).status().expect("kill can be started");
        assert!(status.success());
    }

    /// What virsh answers on a node; it must not fail.
    pub fn virsh(&self, node: &str, args: &[&str]) -> String {
        let output = Command::new("virsh").args(["-q", "-c", &self.uri(node)]).args(args).output().expect("virsh can be started");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "virsh {args:?} failed: {err}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// All that a node has, by name: the documents of domains, networks and pools, and the files in its folder of images and of NVRAM.
    pub fn inventory(&self, node: &str) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let lines =
            |text: String| text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect::<Vec<_>>();
        for name in lines(self.virsh(node, &["list", "--all", "--name"])) {
            let xml = self.virsh(node, &["dumpxml", "--inactive", "--security-info", &name]);
            let state = self.virsh(node, &["domstate", &name]);
            all.insert(format!("domain {name}"), format!("{}\n{xml}", state.trim()));
        }
        for name in lines(self.virsh(node, &["net-list", "--all", "--name"])) {
            let xml = self.virsh(node, &["net-dumpxml", "--inactive", &name]);
            let about = self.virsh(node, &["net-info", &name]);
            all.insert(format!("network {name}"), format!("{about}\n{xml}"));
        }
        for name in lines(self.virsh(node, &["pool-list", "--all", "--name"])) {
            // What a pool measures is no part of it.
            let xml = self.virsh(node, &["pool-dumpxml", &name]);
            let xml: Vec<&str> = xml
                .lines()
                .filter(|line| !["<capacity", "<allocation", "<available"].iter().any(|what| line.trim().starts_with(what)))
                .collect();
            let about = self.virsh(node, &["pool-list", "--all", "--autostart", "--name"]);
            let autostart = about.lines().any(|line| line.trim() == name);
            all.insert(format!("pool {name}"), format!("autostart {autostart}\n{}", xml.join("\n")));
        }
        let nvram = self.dir.join(node).join("lib/qemu/nvram");
        let mut folders = vec![self.images(node), nvram];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    all.insert(format!("file {}", path.display()), String::new());
                }
            }
        }
        all
    }

    /// The name of the folder of its sockets.
    pub fn hash(&self) -> String {
        let uri = self.uri("a");
        uri.split("/jvp-lab/").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned()
    }

    /// A node's folder.
    pub fn folder(&self, node: &str) -> PathBuf {
        self.dir.join(node)
    }

    /// A folder for a pool, the same inside and outside.
    pub fn images(&self, node: &str) -> PathBuf {
        self.dir.join(node).join("images")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let output = Command::new("sh").arg(repository("tests/lab/lab.sh")).arg("down").env("JVP_LAB_DIR", &self.dir).output();
        if let Ok(output) = output {
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// Which of the cases of a leaf are tried: those that `JVP_TEST_LEAF` names, or with `all` every one. Without a word each is tried in
/// one of the two states, beneath a guest that runs or one that is off; which one, the process's number decides.
pub fn chosen(name: &str, number: usize, running: bool) -> bool {
    match std::env::var("JVP_TEST_LEAF") {
        Ok(only) => only == "all" || only.split(',').any(|only| only == name),
        Err(_) => (number + usize::from(running) + std::process::id() as usize).is_multiple_of(2),
    }
}

pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The tiny guest's image (built once, cached outside of the checkout), which ends when its power button is pressed; or its deaf twin.
pub fn tiny(deaf: bool) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tiny");
        let output = Command::new("sh").arg(repository("tests/lab/tiny.sh")).arg(&dir).output().expect("sh can be started");
        assert!(output.status.success(), "tiny.sh failed:\n{}", String::from_utf8_lossy(&output.stderr));
        dir
    });
    dir.join(if deaf { "tiny-deaf.qcow2" } else { "tiny.qcow2" })
}

/// A disk from which a BIOS starts a guest that does nothing ever after, and so costs no time of the processor's, which a guest that
/// boots or that looks for something to boot from does.
pub fn still() -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    // cli; hlt; jmp to the hlt
    disk[..4].copy_from_slice(&[0xfa, 0xf4, 0xeb, 0xfd]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

pub async fn act(host: &dyn Host, op: Op) -> Result<(), HostError> {
    host.act(&op, &NoProgress).await
}

pub async fn done(host: &dyn Host, op: Op) {
    let word = op.word();
    if let Err(error) = act(host, op).await {
        panic!("{word} failed: {error:?}");
    }
}

async fn one(host: &dyn Host, target: Target) -> RawNode {
    host.read(&Scope::Objects([target].into())).await.expect("the node can be read")
}

pub async fn domain(host: &dyn Host, name: &str) -> Option<RawDomain> {
    one(host, Target::Domain(name.into())).await.domains.pop()
}

pub async fn network(host: &dyn Host, name: &str) -> Option<RawNetwork> {
    one(host, Target::Network(name.into())).await.networks.pop()
}

pub async fn pool(host: &dyn Host, name: &str) -> Option<RawPool> {
    one(host, Target::Pool(name.into())).await.pools.pop()
}

pub async fn volume(host: &dyn Host, pool: &str, name: &str) -> Option<RawVolume> {
    one(host, Target::Volume { pool: pool.into(), name: name.into() }).await.pools.pop()?.volumes?.pop()
}

/// A pool of its own that runs. Its folder is the pool's name.
pub async fn new_pool(lab: &Lab, node: &str, host: &dyn Host, name: &str) -> PathBuf {
    let path = lab.images(node).join(name);
    let xml = format!("<pool type='dir'><name>{name}</name><target><path>{}</path></target></pool>", path.display());
    done(host, Op::PoolDefine { name: name.into(), xml }).await;
    done(host, Op::PoolBuild { name: name.into() }).await;
    done(host, Op::PoolStart { name: name.into() }).await;
    path
}

/// A TCG domain with these devices.
pub fn domain_xml(name: &str, uuid: Uuid, devices: &str) -> String {
    format!(
        "<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>96</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><devices>{devices}</devices></domain>"
    )
}

/// A read-only disk of the tiny guest, whose serial port writes to a file; several guests may share the image.
pub fn tiny_devices(image: &Path, serial: &Path) -> String {
    format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>\
         <target dev='vda' bus='virtio'/><readonly/></disk>\
         <serial type='file'><source path='{}'/></serial>",
        image.display(),
        serial.display()
    )
}

/// The bridge that each tap of a domain's is enslaved to, as the kernel has it.
pub fn bridges(lab: &Lab, name: &str) -> Vec<String> {
    let taps = lab.virsh("a", &["domiflist", name]);
    let taps = taps.lines().filter_map(|line| line.split_whitespace().next()).filter(|tap| tap.starts_with("vnet"));
    taps.map(|tap| {
        let link = lab.script(&["exec", "a", "ip", "-o", "link", "show", tap]);
        link.split(" master ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or("none").to_owned()
    })
    .collect()
}

/// Waits until a file has a line with `text`.
pub async fn appears(file: &Path, text: &str) {
    for _ in 0..600 {
        if std::fs::read(file).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("'{text}' never came up in {}", file.display());
}
