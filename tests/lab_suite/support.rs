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
use sha2::{Digest, Sha256};
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

    /// What virsh answers to each of some commands, none of which may fail. One process asks them all: to start one takes longer than
    /// most commands do.
    pub fn virsh_each(&self, node: &str, commands: &[Vec<&str>]) -> Vec<String> {
        const END: &str = "=== and then";
        let quoted = |word: &&str| format!("'{}'", word.replace('\'', "'\\''"));
        let command = |words: &Vec<&str>| words.iter().map(quoted).collect::<Vec<_>>().join(" ");
        let script: Vec<String> = commands.iter().map(|words| format!("{}; echo '{END}'", command(words))).collect();
        let output = Command::new("virsh").args(["-q", "-c", &self.uri(node)]).arg(script.join("; ")).output();
        let output = output.expect("virsh can be started");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && err.trim().is_empty(), "virsh {commands:?} failed: {err}");
        let answers: Vec<String> = out.split(END).map(str::to_owned).collect();
        assert_eq!(answers.len(), commands.len() + 1, "{out}");
        answers.into_iter().take(commands.len()).collect()
    }

    /// All that a node has, by name: the documents of domains, networks and pools, and the files in its folders of images and of NVRAM.
    pub fn inventory(&self, node: &str) -> BTreeMap<String, String> {
        let lists = [vec!["list", "--all", "--name"], vec!["net-list", "--all", "--name"], vec!["pool-list", "--all", "--name"]];
        let autostart = vec!["pool-list", "--all", "--autostart", "--name"];
        let lists = self.virsh_each(node, &[&lists[..], &[autostart]].concat());
        let [domains, networks, pools, started] = [0, 1, 2, 3].map(|which| names(&lists[which]));
        let mut commands = Vec::new();
        for name in &domains {
            commands.extend([vec!["dumpxml", "--inactive", "--security-info", name], vec!["domstate", name]]);
        }
        for name in &networks {
            commands.extend([vec!["net-dumpxml", "--inactive", name], vec!["net-info", name]]);
        }
        commands.extend(pools.iter().map(|name| vec!["pool-dumpxml", name]));
        let mut answers = if commands.is_empty() { Vec::new() } else { self.virsh_each(node, &commands) }.into_iter();
        let mut answer = || answers.next().unwrap_or_default();
        let mut all = BTreeMap::new();
        for name in domains {
            let (xml, state) = (answer(), answer());
            all.insert(format!("domain {name}"), format!("{}\n{xml}", state.trim()));
        }
        for name in networks {
            let (xml, about) = (answer(), answer());
            all.insert(format!("network {name}"), format!("{about}\n{xml}"));
        }
        for name in pools {
            all.insert(format!("pool {name}"), format!("autostart {}\n{}", started.contains(&name), unmeasured(&answer())));
        }
        let lib = self.dir.join(node).join("lib");
        for path in files(&[self.images(node), lib.join("images")]) {
            all.insert(format!("file {}", path.display()), content(&path));
        }
        // A guest's firmware writes to its own whenever it likes.
        for path in files(&[lib.join("qemu/nvram")]) {
            all.insert(format!("file {}", path.display()), String::new());
        }
        all
    }

    /// Takes away all that a node has, but for what is called `kept` and lies in a folder of that name.
    pub fn clear(&self, node: &str, kept: &str) {
        let lists = [vec!["list", "--all", "--name"], vec!["list", "--name"], vec!["net-list", "--all", "--name"]];
        let more = [vec!["net-list", "--name"], vec!["pool-list", "--all", "--name"], vec!["pool-list", "--name"]];
        let lists = self.virsh_each(node, &[lists, more].concat());
        let lists = lists.iter().map(|list| names(list).into_iter().filter(|name| name != kept).collect::<Vec<_>>());
        let verbs: [&[&str]; 6] =
            [&["undefine", "--nvram"], &["destroy"], &["net-undefine"], &["net-destroy"], &["pool-undefine"], &["pool-destroy"]];
        let mut commands = Vec::new();
        let all: Vec<(&[&str], Vec<String>)> = verbs.into_iter().zip(lists).collect();
        // What runs is stopped first, so from behind; and guests before what they run on.
        for pair in all.chunks(2) {
            for (verb, names) in pair.iter().rev() {
                commands.extend(names.iter().map(|name| [*verb, &[name.as_str()]].concat()));
            }
        }
        if !commands.is_empty() {
            self.virsh_each(node, &commands);
        }
        for folder in [self.images(node), self.dir.join(node).join("lib/images")] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.file_name() != kept) {
                let path = entry.path();
                let gone = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
                gone.expect("it can be removed");
            }
        }
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

fn names(lines: &str) -> Vec<String> {
    lines.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// A pool's document without what the pool measures, which is no part of it.
pub fn unmeasured(xml: &str) -> String {
    let measure = |line: &&str| ["<capacity", "<allocation", "<available"].iter().any(|what| line.trim().starts_with(what));
    xml.lines().filter(|line| !measure(line)).collect::<Vec<_>>().join("\n")
}

/// The files in some folders, which may be missing, and in the folders there.
fn files(folders: &[PathBuf]) -> Vec<PathBuf> {
    let (mut folders, mut all) = (folders.to_vec(), Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { all.push(path) }
        }
    }
    all
}

/// What a file holds, in few words: how long it is, and the sum of its bytes where they are few enough to be read each time.
pub fn content(path: &Path) -> String {
    let Ok(metadata) = std::fs::metadata(path) else { return String::new() };
    if !metadata.is_file() || metadata.len() > 64 << 20 {
        return format!("{} bytes", metadata.len());
    }
    format!("{} bytes, {}", metadata.len(), sum(&std::fs::read(path).unwrap_or_default()))
}

/// The checksum of some bytes, as `sha256sum` has it.
pub fn sum(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
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

/// The same as a qcow2 image, made once.
pub fn still_qcow2() -> PathBuf {
    static MADE: Mutex<()> = Mutex::new(());
    let _turn = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let image = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("still.qcow2");
    if !image.exists() {
        let [raw, fresh] = ["raw", "qcow2"].map(|format| image.with_file_name(format!("still-{}.{format}", std::process::id())));
        std::fs::write(&raw, still()).expect("it can be written");
        let output = Command::new("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]).args([&raw, &fresh]).output();
        let output = output.expect("qemu-img can be started");
        assert!(output.status.success(), "qemu-img failed: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::rename(fresh, &image).expect("it can be renamed");
        std::fs::remove_file(raw).expect("it can be removed");
    }
    image
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
    let output = Command::new("ip").args(["-n", &format!("jvp-{}-a", lab.hash()), "-o", "link", "show"]).output();
    let links = String::from_utf8_lossy(&output.expect("ip can be started").stdout).into_owned();
    taps.map(|tap| {
        let link = links.lines().find(|line| line.split(": ").nth(1) == Some(tap)).expect("a link of each tap");
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
