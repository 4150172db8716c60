//! Volumes as they are acted on: made, copied, filled, grown, deleted.
//!
//! libvirt protects no volume that a guest uses; the guards are the planner's. Nothing here ever makes one smaller.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use rustix::fs::SeekFrom as Sparse;
use virt::storage_vol::StorageVol;
use virt::stream::Stream;
use virt::sys;

use super::calls::Cx;
use super::error::own;
use super::ffi;
use super::pools::lookup;
use super::read::failed;
use crate::host::{ErrorKind, HostError};
use crate::plan::UploadSource;

/// How long an upload may go on without a byte going over.
pub(super) const STREAM: Duration = Duration::from_mins(1);
/// So much is read from a file, and handed to libvirt, at a time; a message of libvirt's holds 32 MiB at most.
const CHUNK: usize = 1 << 20;

fn find(cx: &Cx<'_>, pool: &str, name: &str) -> Result<StorageVol, HostError> {
    lookup(cx, pool)?.lookup_storage_vol_by_name(name).map_err(failed)
}

/// Makes a volume.
pub(super) fn create(cx: &Cx<'_>, pool: &str, xml: &str) -> Result<(), HostError> {
    let pool = lookup(cx, pool)?;
    cx.effect()?;
    StorageVol::create_xml(&pool, xml, 0).map(drop).map_err(failed)
}

/// Makes a volume as a full copy of another one.
pub(super) fn clone(cx: &Cx<'_>, pool: &str, xml: &str, source_pool: &str, source: &str) -> Result<(), HostError> {
    let source = find(cx, source_pool, source)?;
    let pool = lookup(cx, pool)?;
    cx.effect()?;
    StorageVol::create_xml_from(&pool, xml, &source, 0).map(drop).map_err(failed)
}

/// Sets a volume's capacity; libvirt refuses less than it has, as the flag for it isn't given.
pub(super) fn grow(cx: &Cx<'_>, pool: &str, name: &str, capacity: u64) -> Result<(), HostError> {
    let volume = find(cx, pool, name)?;
    cx.effect()?;
    volume.resize(capacity, 0).map_err(failed)
}

/// Grows a disk of a running domain, and the file beneath it.
///
/// libvirt would shrink it without any flag, so it is asked first how large the disk is.
pub(super) fn block_resize(cx: &Cx<'_>, uuid: uuid::Uuid, target: &str, capacity: u64) -> Result<(), HostError> {
    let domain = cx.connect().lookup_domain_by_uuid(uuid).map_err(failed)?;
    let has = domain.block_info(target, 0).map_err(failed)?.capacity;
    if has > capacity {
        return Err(own(ErrorKind::Failed, format!("its disk {target} has {has} bytes, and would be shrunk to {capacity}")));
    }
    if has == capacity {
        return Ok(());
    }
    cx.effect()?;
    domain.block_resize(target, capacity, sys::VIR_DOMAIN_BLOCK_RESIZE_BYTES).map(drop).map_err(failed)
}

/// Deletes a volume.
pub(super) fn delete(cx: &Cx<'_>, pool: &str, name: &str) -> Result<(), HostError> {
    let volume = find(cx, pool, name)?;
    cx.effect()?;
    volume.delete(sys::VIR_STORAGE_VOL_DELETE_NORMAL).map_err(failed)
}

/// Fills a volume from its beginning. Holes of a file are skipped, not sent: on a new volume they read as zeros.
pub(super) fn upload(cx: &Cx<'_>, pool: &str, name: &str, source: &UploadSource) -> Result<(), HostError> {
    let volume = find(cx, pool, name)?;
    let (mut from, size) = open(source)?;
    let stream = Stream::new(cx.connect(), 0).map_err(failed)?;
    let flags = match from {
        From::File(_) => sys::VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM,
        From::Bytes(_) => 0,
    };
    cx.effect()?;
    volume.upload(&stream, 0, size, flags).map_err(failed)?;
    let sent = match &mut from {
        From::File(file) => send_file(cx, &stream, file, size),
        From::Bytes(bytes) => send(cx, &stream, bytes, 0, size),
    };
    if let Err(error) = sent {
        // libvirt has often ended it already, and says so.
        drop(stream.abort());
        return Err(error);
    }
    stream.finish().map_err(failed)?;
    cx.bytes(size, size);
    Ok(())
}

/// Where bytes come from.
enum From<'a> {
    File(File),
    Bytes(&'a [u8]),
}

fn open(source: &UploadSource) -> Result<(From<'_>, u64), HostError> {
    match source {
        UploadSource::Seed { bytes, .. } => Ok((From::Bytes(&bytes.0), bytes.0.len() as u64)),
        UploadSource::Image { path, size, .. } => {
            let file = File::open(path).map_err(|error| unreadable(path, &error))?;
            let length = file.metadata().map_err(|error| unreadable(path, &error))?.len();
            if length != *size {
                let message = format!("{path} has {length} bytes now, not {size} as when it was checked");
                return Err(own(ErrorKind::Failed, message));
            }
            Ok((From::File(file), length))
        }
    }
}

fn unreadable(path: &str, error: &std::io::Error) -> HostError {
    own(ErrorKind::Failed, format!("cannot read {path}: {error}"))
}

/// Sends a file's data, and its holes as holes.
fn send_file(cx: &Cx<'_>, stream: &Stream, file: &mut File, size: u64) -> Result<(), HostError> {
    let mut at = 0;
    let mut buffer = vec![0; CHUNK];
    while at < size {
        // A file system that knows nothing of holes says that all is data.
        let data = match rustix::fs::seek(&*file, Sparse::Data(at)) {
            Ok(data) => data.min(size),
            Err(rustix::io::Errno::NXIO) => size,
            Err(_) => at,
        };
        if data > at {
            let hole = i64::try_from(data - at).map_err(|_| own(ErrorKind::Failed, "a hole too large"))?;
            ffi::send_hole(stream, hole).map_err(failed)?;
            cx.bytes(data, size);
            at = data;
        }
        if at == size {
            break;
        }
        let end = rustix::fs::seek(&*file, Sparse::Hole(at)).unwrap_or(size).clamp(at + 1, size);
        file.seek(SeekFrom::Start(at)).map_err(|error| own(ErrorKind::Failed, format!("cannot seek in the image: {error}")))?;
        while at < end {
            let want = usize::try_from(end - at).map_or(CHUNK, |left| left.min(CHUNK));
            let got = file
                .read(buffer.get_mut(..want).unwrap_or_default())
                .map_err(|error| own(ErrorKind::Failed, format!("cannot read the image: {error}")))?;
            if got == 0 {
                return Err(own(ErrorKind::Failed, "the image got shorter while it was sent"));
            }
            send(cx, stream, buffer.get(..got).unwrap_or_default(), at, size)?;
            at += got as u64;
        }
    }
    Ok(())
}

/// Sends bytes, which libvirt takes piece by piece.
fn send(cx: &Cx<'_>, stream: &Stream, bytes: &[u8], before: u64, total: u64) -> Result<(), HostError> {
    let mut rest = bytes;
    while !rest.is_empty() {
        if cx.deserted() {
            return Err(own(ErrorKind::Failed, "the upload was broken off"));
        }
        let piece = rest.get(..CHUNK.min(rest.len())).unwrap_or_default();
        let sent = stream.send(piece).map_err(failed)?;
        let sent = usize::try_from(sent).unwrap_or(0);
        if sent == 0 {
            return Err(own(ErrorKind::Failed, "libvirt takes no more bytes"));
        }
        rest = rest.get(sent..).unwrap_or_default();
        cx.bytes(before + (bytes.len() - rest.len()) as u64, total);
    }
    Ok(())
}
