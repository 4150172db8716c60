//! Files that are there whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// So much is written at a time.
const BUFFER: usize = 1 << 16;

/// Writes `bytes` to `path` by way of a file beside it, on disk before it gets its name, with exactly this mode.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_whole(path, bytes, mode)?;
    sync_folder(path)
}

/// The same, of what is written piece by piece, so that it never is in memory as a whole.
pub(super) fn stream_atomically(path: &Path, mode: u32, write: impl Fn(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    stream_whole(path, mode, write)?;
    sync_folder(path)
}

/// The same, but that after a power cut the file may be the one from before.
pub(super) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    stream_whole(path, mode, |file| file.write_all(bytes))
}

fn stream_whole(path: &Path, mode: u32, write: impl Fn(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.tmp"));
    let written = write_beside(&beside, mode, write).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // It holds nothing that anybody reads; what matters is the first error.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn write_beside(beside: &Path, mode: u32, write: impl Fn(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    match std::fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    let mut buffered = BufWriter::with_capacity(BUFFER, &mut file);
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    file.sync_all()
}

/// Makes a rename or a removal in the folder of `path` last.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// `count` bytes that nobody can guess.
pub(crate) fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes)
}
