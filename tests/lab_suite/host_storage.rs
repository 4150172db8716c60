//! Pools and volumes on a real libvirtd, as the host port shows and changes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jvp::host::{ErrorKind, Host, Progress};
use jvp::observe::{Scope, Target};
use jvp::plan::{Op, SeedBytes, UploadSource};

use crate::support::{act, done, lab_or_return, new_pool, pool, volume};

fn create(pool: &str, name: &str, format: &str, bytes: u64) -> Op {
    let xml = format!(
        "<volume><name>{name}</name><capacity>{bytes}</capacity><allocation>0</allocation>\
         <target><format type='{format}'/></target></volume>"
    );
    Op::VolumeCreate { pool: pool.into(), name: name.into(), xml }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_lives_from_define_to_undefine() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let name = "life";
    assert!(pool(&host, name).await.is_none());
    let path = lab.images("a").join(name);
    let xml = format!("<pool type='dir'><name>{name}</name><target><path>{}</path></target></pool>", path.display());
    done(&host, Op::PoolDefine { name: name.into(), xml: xml.clone() }).await;
    let defined = pool(&host, name).await.expect("it is there");
    assert!(!defined.active && !defined.autostart && defined.persistent);
    assert_eq!(defined.volumes, None);

    // No folder yet.
    assert_eq!(act(&host, Op::PoolStart { name: name.into() }).await.unwrap_err().kind, ErrorKind::NotFound);
    done(&host, Op::PoolBuild { name: name.into() }).await;
    done(&host, Op::PoolStart { name: name.into() }).await;
    done(&host, Op::PoolAutostart { name: name.into(), on: true }).await;
    let running = pool(&host, name).await.expect("it is there");
    assert!(running.active && running.autostart);

    assert_eq!(act(&host, Op::PoolStart { name: name.into() }).await.unwrap_err().kind, ErrorKind::InvalidState);
    assert_eq!(act(&host, Op::PoolUndefine { name: name.into() }).await.unwrap_err().kind, ErrorKind::InvalidState);
    let twin = xml.replace(name, "life-twin").replace("images/life-twin", "images/life");
    let error = act(&host, Op::PoolDefine { name: "life-twin".into(), xml: twin }).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exists, "{error:?}");

    done(&host, Op::PoolStop { name: name.into() }).await;
    done(&host, Op::PoolUndefine { name: name.into() }).await;
    assert!(pool(&host, name).await.is_none());
    assert_eq!(act(&host, Op::PoolStop { name: name.into() }).await.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_behind_libvirts_back_is_seen_after_a_refresh_and_never_breaks_a_read() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let path = new_pool(&lab, "a", &host, "behind").await;
    done(&host, create("behind", "b.img", "raw", 1 << 20)).await;
    done(&host, create("behind", "a.qcow2", "qcow2", 1 << 20)).await;
    std::fs::write(path.join("stray.img"), b"x").unwrap();
    std::fs::remove_file(path.join("b.img")).unwrap();

    let names = async || {
        let node = host.read(&Scope::Everything).await.expect("it can be read");
        let pool = node.pools.into_iter().find(|pool| pool.name == "behind").expect("it is there");
        pool.volumes.expect("it runs").into_iter().map(|volume| volume.name).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["a.qcow2"], "read never refreshes, and leaves out what is gone");
    let error = act(&host, create("behind", "stray.img", "raw", 1 << 20)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exists, "{error:?}");
    done(&host, Op::PoolRefresh { name: "behind".into() }).await;
    assert_eq!(names().await, ["a.qcow2", "stray.img"]);

    let gone = Op::VolumeDelete { pool: "behind".into(), name: "b.img".into() };
    let error = act(&host, gone).await.unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::NotFound, 50), "{error:?}");
    assert!(volume(&host, "behind", "b.img").await.is_none());
    let error = act(&host, create("behind", "a.qcow2", "qcow2", 1 << 20)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exists, "{error:?}");
    done(&host, Op::VolumeDelete { pool: "behind".into(), name: "a.qcow2".into() }).await;
    assert!(!path.join("a.qcow2").exists());
}

#[derive(Default)]
struct Counter(AtomicU64, AtomicU64);

impl Progress for Counter {
    fn bytes(&self, done: u64, total: u64) {
        self.0.store(done, Ordering::Relaxed);
        self.1.store(total, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_over_whole_with_its_holes_and_is_cloned_and_grown() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let path = new_pool(&lab, "a", &host, "upload").await;
    // Data, a hole of 40 MiB, data, a hole at the end.
    let size: u64 = 64 << 20;
    let local = tempfile::NamedTempFile::new().unwrap();
    let write = |offset: u64, length: usize, seed: u8| {
        use std::os::unix::fs::FileExt;
        let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8 ^ seed).collect();
        local.as_file().write_all_at(&bytes, offset).unwrap();
    };
    local.as_file().set_len(size).unwrap();
    write(0, (3 << 20) + 17, 1);
    write(44 << 20, 5 << 20, 2);

    done(&host, create("upload", "disk.img", "raw", size)).await;
    let counter = Counter::default();
    let source = UploadSource::Image { path: local.path().display().to_string(), digest: String::new(), size };
    let upload = Op::VolumeUpload { pool: "upload".into(), name: "disk.img".into(), source };
    host.act(&upload, &counter).await.expect("it goes over");
    assert_eq!((counter.0.into_inner(), counter.1.into_inner()), (size, size));
    let there = path.join("disk.img");
    assert!(std::fs::read(&there).unwrap() == std::fs::read(local.path()).unwrap(), "it reads back the same");
    let blocks = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(&there).unwrap()) * 512;
    assert!(blocks < 16 << 20, "holes stay holes: {blocks} bytes are taken");
    let raw = volume(&host, "upload", "disk.img").await.expect("it is there");
    assert!(raw.xml.contains(&format!("<physical unit='bytes'>{size}</physical>")), "{}", raw.xml);

    // A file that is not as long as it was said to be isn't sent at all.
    let wrong = UploadSource::Image { path: local.path().display().to_string(), digest: String::new(), size: size - 1 };
    let wrong = Op::VolumeUpload { pool: "upload".into(), name: "disk.img".into(), source: wrong };
    assert_eq!(act(&host, wrong).await.unwrap_err().kind, ErrorKind::Failed);

    let bytes = SeedBytes(Arc::new((0..300_000u32).map(|i| (i % 7) as u8).collect()));
    done(&host, create("upload", "seed.img", "raw", 300_000)).await;
    let source = UploadSource::Seed { digest: String::new(), bytes: bytes.clone() };
    done(&host, Op::VolumeUpload { pool: "upload".into(), name: "seed.img".into(), source }).await;
    assert!(std::fs::read(path.join("seed.img")).unwrap() == *bytes.0);

    let xml =
        format!("<volume><name>copy.qcow2</name><capacity>{size}</capacity><target><format type='qcow2'/></target></volume>");
    let clone = Op::VolumeClone {
        pool: "upload".into(),
        name: "copy.qcow2".into(),
        xml,
        source_pool: "upload".into(),
        source: "disk.img".into(),
    };
    done(&host, clone.clone()).await;
    assert_eq!(act(&host, clone).await.unwrap_err().kind, ErrorKind::Exists);
    let grow = |capacity| Op::VolumeGrow { pool: "upload".into(), name: "copy.qcow2".into(), capacity };
    done(&host, grow(size * 2)).await;
    let copy = volume(&host, "upload", "copy.qcow2").await.expect("it is there");
    assert!(copy.xml.contains(&format!("<capacity unit='bytes'>{}</capacity>", size * 2)), "{}", copy.xml);
    let error = act(&host, grow(size)).await.unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::Failed, 8), "never smaller: {error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_asked_for_is_read() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    new_pool(&lab, "a", &host, "asked").await;
    for name in ["b.img", "a.img", "c.img"] {
        done(&host, create("asked", name, "raw", 4096)).await;
    }
    let volume = |name: &str| Target::Volume { pool: "asked".into(), name: name.into() };
    let scope = Scope::Objects([volume("c.img"), volume("a.img"), volume("none.img"), Target::Pool("nowhere".into())].into());
    let node = host.read(&scope).await.expect("it can be read");
    assert_eq!(node.pools.len(), 1);
    let names: Vec<_> = node.pools[0].volumes.as_ref().unwrap().iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["a.img", "c.img"]);
    let host_only = host.read(&Scope::Host).await.expect("it can be read");
    assert!(host_only.pools.is_empty() && host_only.host.capabilities.contains("<uuid>"));
    assert!(host_only.host.libvirt_version >= 9_000_000);
}
