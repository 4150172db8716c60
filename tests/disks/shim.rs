//! The disk of `shim.c`: what a program did to it, call by call, and what of that a power cut leaves.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The library that stands between a program and its disk. What a process keeps to its end is never dropped, so it lies in the target.
static SHIM: LazyLock<PathBuf> = LazyLock::new(|| {
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("disk-shim.so");
    let made = library.with_extension(std::process::id().to_string());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/disks/shim.c");
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&made).arg(source);
    assert!(command.args(["-ldl", "-lpthread"]).status().expect("cc can be started").success());
    fs::rename(made, &library).unwrap();
    library
});

/// Has the program do its calls beneath `root` through the shim.
pub(crate) fn through(command: &mut Command, root: &Path) {
    command.env("LD_PRELOAD", &*SHIM).env("JVP_DISK_ROOT", root.canonicalize().unwrap()).env("RUST_BACKTRACE", "0");
}

/// One call that changed something.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) call: String,
    pub(crate) path: PathBuf,
    other: PathBuf,
    offset: usize,
    bytes: Vec<u8>,
}

/// The calls of a log, their paths as they are beneath `root`.
pub(crate) fn events(log: &Path, root: &Path) -> Vec<Event> {
    let (bytes, root) = (fs::read(log).unwrap(), root.canonicalize().unwrap());
    let (mut events, mut rest) = (Vec::new(), bytes.as_slice());
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(&rest[..end]).unwrap();
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap();
        let (call, offset, length) = (word().to_owned(), word().parse().unwrap(), word().parse::<usize>().unwrap());
        let mut path = || {
            let path = Path::new(word());
            path.strip_prefix(&root).unwrap_or(path).to_owned()
        };
        let (path, other) = (path(), path());
        events.push(Event { call, path, other, offset, bytes: rest[end + 1..][..length].to_vec() });
        rest = &rest[end + 1 + length..];
    }
    events
}

/// What a power cut leaves of what no sync had made last.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leaves {
    /// All of it.
    All,
    /// Nothing.
    Nothing,
    /// Any part: whole writes and parts of them, in any order. Names are lost from the end on, as a journal of a file system has it.
    Some { seed: u64 },
}

/// Numbers that look like chance.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound.max(1)
    }
}

/// What lies on the disk after a power cut: files and folders by path.
pub(crate) type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// The disk after the first `until` calls, of which the syncs after the first `honest` ones did nothing. What is beneath `solid` is never lost.
pub(crate) fn image(events: &[Event], until: usize, honest: usize, leaves: Leaves, solid: &str) -> Image {
    let mut dice = Dice::new(if let Leaves::Some { seed } = leaves { seed } else { 0 });
    let is_solid = |path: &Path| path.starts_with(solid);
    let is_sync = |event: &Event| event.call == "sync";
    // Any sync commits the names that were made before it.
    let committed = events[..until.min(honest)].iter().rposition(is_sync).unwrap_or(0);
    let last_name = match leaves {
        Leaves::All => until,
        Leaves::Nothing => committed,
        Leaves::Some { .. } => committed + dice.below(until - committed + 1),
    };
    // A file is the list of what was written to it, each with the time and whether it lasts.
    let mut files: Vec<Vec<(usize, &Event)>> = Vec::new();
    let mut synced: Vec<usize> = Vec::new();
    let (mut now, mut left): (BTreeMap<PathBuf, Option<usize>>, BTreeMap<PathBuf, Option<usize>>) = Default::default();
    for (time, event) in events[..until].iter().enumerate() {
        let known = now.contains_key(&event.path);
        if !known && is_solid(&event.path) && ["write", "truncate"].contains(&event.call.as_str()) {
            // It was there before, and is written whole each time.
            files.push(Vec::new());
            synced.push(0);
            now.insert(event.path.clone(), Some(files.len() - 1));
            left.insert(event.path.clone(), Some(files.len() - 1));
        }
        let file = now.get(&event.path).copied().flatten();
        match event.call.as_str() {
            "write" | "truncate" => {
                if let Some(file) = file {
                    files[file].push((time, event));
                }
                continue;
            }
            "sync" => {
                if let Some(file) = file.filter(|_| time < honest) {
                    synced[file] = time;
                }
                continue;
            }
            "create" => {
                files.push(Vec::new());
                synced.push(0);
            }
            _ => {}
        }
        let lasts = time < last_name || is_solid(&event.path);
        for names in std::iter::once(&mut now).chain(lasts.then_some(&mut left)) {
            match event.call.as_str() {
                "create" => drop(names.insert(event.path.clone(), Some(files.len() - 1))),
                "mkdir" => drop(names.insert(event.path.clone(), None)),
                "unlink" => drop(names.remove(&event.path)),
                "link" => drop(names.get(&event.path).copied().map(|file| names.insert(event.other.clone(), file))),
                "rename" => {
                    let moved: Vec<PathBuf> = names.keys().filter(|path| path.starts_with(&event.path)).cloned().collect();
                    for path in moved {
                        let file = names.remove(&path).unwrap();
                        let rest = path.strip_prefix(&event.path).unwrap();
                        let to = if rest.as_os_str().is_empty() { event.other.clone() } else { event.other.join(rest) };
                        names.insert(to, file);
                    }
                }
                _ => {}
            }
        }
    }
    let mut content = |path: &Path, file: usize| {
        let mut bytes = Vec::new();
        for (time, event) in &files[file] {
            let mut part = event.bytes.as_slice();
            if *time > synced[file] && !is_solid(path) {
                match leaves {
                    Leaves::All => {}
                    Leaves::Nothing => continue,
                    Leaves::Some { .. } => match dice.below(4) {
                        0 => continue,
                        1 => part = &part[..dice.below(part.len() + 1)],
                        _ => {}
                    },
                }
            }
            if event.call == "truncate" {
                bytes.resize(event.offset, 0);
                continue;
            }
            bytes.resize(bytes.len().max(event.offset + part.len()), 0);
            bytes[event.offset..][..part.len()].copy_from_slice(part);
        }
        bytes
    };
    left.into_iter().map(|(path, file)| (path.clone(), file.map(|file| content(&path, file)))).collect()
}

/// Lays an image out beneath `root`, whose folders are its owner's.
pub(crate) fn lay_out(image: &Image, root: &Path) {
    for (path, content) in image {
        let path = root.join(path);
        match content {
            None => fs::create_dir_all(&path).unwrap(),
            Some(bytes) => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, bytes).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
    }
}
