//! A copy of a checkout with small images in it, and the program on fake nodes: what the tests of the documents share.

#![allow(dead_code, reason = "each test uses its part")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The folder of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of its own: `checkout/`, `state/` and `fake/`.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// With copies of folders of the repository in it, by their names there.
    pub(crate) fn with(folders: &[&str]) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["checkout", "state", "fake"] {
            fs::create_dir(place.path(folder)).unwrap();
        }
        fs::set_permissions(place.path("state"), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in folders {
            copy(&root().join(folder), &place.path("checkout").join(folder));
        }
        images(&place.path("checkout"));
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command `jvp` in the checkout, on fake nodes.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path("checkout"))
            .env("JVP_FAKE", self.path("fake"))
            .env("JVP_STATE_DIR", self.path("state"))
            .env("JVP_VAR_VNC_PASSWORD", "hunter22")
            .env("NO_COLOR", "1")
            .env_remove("JVP_LOG")
            .env_remove("LIBVIRT_DEFAULT_URI");
        command
    }

    /// Runs jvp.
    pub(crate) fn jvp(&self, arguments: &[&str]) -> Output {
        ended(self.command(env!("CARGO_BIN_EXE_jvp")).args(arguments))
    }
}

/// Runs a command to its end. One that hangs is ended, and fails the test instead of stopping all of them.
pub(crate) fn ended(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id().to_string();
    let (sender, receiver) = mpsc::channel();
    let waits = thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    let mut output = receiver.recv_timeout(Duration::from_mins(5));
    let hangs = output.is_err();
    if hangs {
        Command::new("kill").args(["-9", &id]).status().unwrap();
        output = Ok(receiver.recv().unwrap());
    }
    waits.join().unwrap().unwrap();
    let output = output.unwrap();
    assert!(
        !hangs,
        "it hangs: {command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// What a node has, without what counts how often something was done.
pub(crate) fn node(place: &Place, name: &str) -> Value {
    const WRITER: &str = r#"writer=\""#;
    let mut text = fs::read_to_string(place.path("fake").join(format!("{name}.json"))).unwrap();
    // The writer of a mark follows from the state directory.
    while let Some(at) = text.find(WRITER) {
        text.replace_range(at..at + WRITER.len() + "00000000-0000-0000-0000-000000000000".len(), "by");
    }
    let mut state: Value = serde_json::from_str(&text).unwrap();
    let top = state.as_object_mut().unwrap();
    for counter in ["lastId", "madeUp"] {
        top.remove(counter);
    }
    for domain in top["domains"].as_object_mut().unwrap().values_mut() {
        // Its id, the ports of its taps: of this start.
        let live = domain["live"].is_string();
        domain["live"] = live.into();
        if live {
            // Of the time before it started.
            domain["offReason"] = Value::Null;
        }
    }
    for file in top["files"].as_object_mut().unwrap().values_mut() {
        file.as_object_mut().unwrap().remove("written");
    }
    for network in top["networks"].as_object_mut().unwrap().values_mut() {
        // The ids of ports are made up at each plugging in; how many there are says who hangs on it.
        let ports = network["ports"].as_array().map_or(0, Vec::len);
        network["ports"] = ports.into();
    }
    for pool in top["pools"].as_object_mut().unwrap().values_mut() {
        pool.as_object_mut().unwrap().retain(|key, _| !["known", "seen"].contains(&key.as_str()));
    }
    state
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Makes every image that a Template below `folder` names, and puts its digest where the manifest has one of zeros.
pub(crate) fn images(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            images(&path);
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (_, rest) in text.match_indices("file: images/").map(|(at, key)| (at, &text[at + key.len()..])) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || "._-".contains(*c)).collect();
            let bytes = if Path::new(&name).extension().is_some_and(|extension| extension == "iso") { iso() } else { qcow2() };
            let target = path.parent().unwrap().join("images").join(name);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(&target, &bytes).unwrap();
            let zeros = "0".repeat(64);
            if text.contains(&zeros) {
                fs::write(&path, text.replace(&zeros, &hex::encode(Sha256::digest(&bytes)))).unwrap();
            }
        }
    }
}

/// An empty qcow2 image of 1 GiB.
fn qcow2() -> Vec<u8> {
    const CLUSTER: u64 = 1 << 16;
    let mut bytes = vec![0; 4 << 16];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"QFI\xfb");
    put(4, &3_u32.to_be_bytes());
    put(20, &16_u32.to_be_bytes());
    put(24, &(1_u64 << 30).to_be_bytes());
    put(36, &2_u32.to_be_bytes());
    put(40, &(3 * CLUSTER).to_be_bytes());
    put(48, &CLUSTER.to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    put(96, &4_u32.to_be_bytes());
    put(100, &104_u32.to_be_bytes());
    put(1 << 16, &(2 * CLUSTER).to_be_bytes());
    for cluster in 0..4 {
        put((2 << 16) + 2 * cluster, &1_u16.to_be_bytes());
    }
    bytes
}

/// The first bytes of an ISO 9660 volume.
fn iso() -> Vec<u8> {
    let mut bytes = vec![0; 2 << 16];
    bytes[0x8000..0x8006].copy_from_slice(b"\x01CD001");
    bytes
}
