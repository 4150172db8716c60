//! A libvirtd that hangs, restarts or isn't there at all, and what the host port makes of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jvp::host::libvirt::LibvirtHost;
use jvp::host::{ErrorKind, Host, Progress};
use jvp::observe::Scope;
use jvp::plan::{Op, SeedBytes, UploadSource};
use uuid::Uuid;

use crate::support::{Lab, NODE_B, act, domain_xml, done, lab_or_return, new_pool};

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_isnt_there_is_out_of_reach_at_once() {
    let host = LibvirtHost::new("qemu+unix:///system?socket=/nonexistent/libvirt-sock");
    let began = Instant::now();
    let error = host.read(&Scope::Everything).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
    let error = act(&host, Op::NetworkStart { name: "x".into() }).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "nothing happened there: {error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_between_two_calls_goes_unnoticed() {
    let lab = lab_or_return!();
    let _turn = NODE_B.lock().await;
    let host = lab.host("b");
    host.read(&Scope::Everything).await.expect("it can be read");
    lab.script(&["restart", "b"]);
    host.read(&Scope::Everything).await.expect("it can be read again");
    lab.script(&["kill", "b"]);
    assert_eq!(host.read(&Scope::Everything).await.unwrap_err().kind, ErrorKind::Unreachable);
    lab.script(&["start", "b"]);
    let (name, uuid) = ("after", Uuid::new_v4());
    done(&host, Op::DomainDefine { name: name.into(), uuid, xml: domain_xml(name, uuid, "").into(), validate: false }).await;
    done(&host, Op::DomainUndefine { name: name.into(), uuid, nvram: false, managed_save: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_libvirtd_holds_up_nobody_past_the_deadlines() {
    let lab = lab_or_return!();
    let _turn = NODE_B.lock().await;
    let (hung, other) = (lab.host("b"), lab.host("a"));
    hung.read(&Scope::Everything).await.expect("it can be read");
    // One that has no connection yet, so that its opening hangs.
    let fresh = lab.host("b");
    lab.signal("b", "-STOP");
    let began = Instant::now();
    let (name, uuid) = ("hung", Uuid::new_v4());
    let define = Op::DomainDefine { name: name.into(), uuid, xml: domain_xml(name, uuid, "").into(), validate: false };
    let everything = Scope::Everything;
    let (read, opened, acted, well) = tokio::join!(
        hung.read(&everything),
        async { (fresh.read(&everything).await, began.elapsed()) },
        act(&hung, define),
        async { (other.read(&everything).await, began.elapsed()) },
    );
    let took = began.elapsed();
    lab.signal("b", "-CONT");
    assert_eq!(read.unwrap_err().kind, ErrorKind::Unreachable);
    assert_eq!(opened.0.unwrap_err().kind, ErrorKind::Unreachable);
    assert!((Duration::from_secs(9)..Duration::from_secs(14)).contains(&opened.1), "{:?}", opened.1);
    let kind = acted.unwrap_err().kind;
    assert!(matches!(kind, ErrorKind::Unknown | ErrorKind::Unreachable), "{kind:?}");
    assert!(well.0.is_ok() && well.1 < Duration::from_secs(5), "{:?}", well.1);
    assert!(took < Duration::from_secs(45), "{took:?}");

    // It goes on, and so do both hosts.
    for host in [&hung, &fresh] {
        let node = host.read(&Scope::Everything).await.expect("it can be read again");
        for domain in node.domains {
            let (name, uuid) = (domain.name, domain.uuid);
            done(host, Op::DomainUndefine { name, uuid, nvram: false, managed_save: false }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_lost_calls_take_a_node_out_of_reach_until_they_come_back() {
    let lab = lab_or_return!();
    let _turn = NODE_B.lock().await;
    let host = lab.host("b");
    lab.signal("b", "-STOP");
    let mut lost = 0;
    let began = Instant::now();
    let error = loop {
        let scope = Scope::Host;
        let reads = tokio::join!(host.read(&scope), host.read(&scope), host.read(&scope), host.read(&scope));
        lost += 4;
        let error = reads.0.unwrap_err();
        if error.message.contains("got no answer") || lost > 16 {
            break error;
        }
    };
    let refused = Instant::now();
    let again = host.read(&Scope::Host).await.unwrap_err();
    lab.signal("b", "-CONT");
    assert_eq!((lost, error.kind, again.kind), (16, ErrorKind::Unreachable, ErrorKind::Unreachable), "{error:?}");
    assert!(refused.elapsed() < Duration::from_secs(1) && began.elapsed() < Duration::from_secs(45));
    // The lost calls come back, and with them the node.
    for _ in 0..50 {
        if host.read(&Scope::Host).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the node never came back");
}

/// Does something at the first bytes.
struct AtFirst<F: Fn() + Send + Sync>(std::sync::Once, F);

impl<F: Fn() + Send + Sync> Progress for AtFirst<F> {
    fn bytes(&self, done: u64, _total: u64) {
        if done > 0 {
            self.0.call_once(&self.1);
        }
    }
}

/// A volume that takes a while to fill, and the operation that fills it.
async fn large(lab: &Lab, node: &str, host: &LibvirtHost, pool: &str) -> Op {
    const SIZE: usize = 512 << 20;
    new_pool(lab, node, host, pool).await;
    let xml = format!(
        "<volume><name>large.img</name><capacity>{SIZE}</capacity><allocation>0</allocation>\
         <target><format type='raw'/></target></volume>"
    );
    done(host, Op::VolumeCreate { pool: pool.into(), name: "large.img".into(), xml }).await;
    let source = UploadSource::Seed { digest: String::new(), bytes: SeedBytes(Arc::new(vec![0; SIZE])) };
    Op::VolumeUpload { pool: pool.into(), name: "large.img".into(), source }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_knows_what_a_libvirtd_that_dies_in_an_upload_has_done() {
    let lab = lab_or_return!();
    let _turn = NODE_B.lock().await;
    let host = lab.host("b");
    let upload = large(&lab, "b", &host, "dies").await;
    let killed = AtFirst(std::sync::Once::new(), || {
        lab.script(&["kill", "b"]);
    });
    let error = host.act(&upload, &killed).await.unwrap_err();
    lab.script(&["start", "b"]);
    assert_eq!(error.kind, ErrorKind::Unknown, "{error:?}");
    assert!(error.message.contains("'large.img'"), "{error:?}");
    host.read(&Scope::Everything).await.expect("it can be read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_nobody_waits_for_stops_and_gives_its_place_back() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let upload = large(&lab, "a", &host, "dropped").await;
    for _ in 0..6 {
        let begun = tokio::sync::Notify::new();
        let told = AtFirst(std::sync::Once::new(), || begun.notify_one());
        tokio::select! {
            result = host.act(&upload, &told) => panic!("it went over too fast to be broken off: {result:?}"),
            () = begun.notified() => {}
        }
    }
    // More were broken off than there are places, and none of them goes on.
    let began = Instant::now();
    done(&host, Op::VolumeDelete { pool: "dropped".into(), name: "large.img".into() }).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
