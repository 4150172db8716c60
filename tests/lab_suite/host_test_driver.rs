//! libvirt's own test driver behind the host port: no daemon, no root. Each URI of a file is a world of its own.

use jvp::host::libvirt::LibvirtHost;
use jvp::host::{ErrorKind, Host};
use jvp::manifest::{OnTimeout, ShutdownMethod};
use jvp::observe::{OffReason, PowerState, Scope};
use jvp::plan::Op;
use uuid::Uuid;

use crate::support::{act, domain, done};

/// A world with nothing in it.
fn world() -> (tempfile::TempDir, LibvirtHost) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.xml");
    std::fs::write(&file, "<node><cpu><mhz>1</mhz><model>x</model><active>4</active></cpu><memory>8000000</memory></node>")
        .unwrap();
    let host = LibvirtHost::new(&format!("test://{}", file.display()));
    (dir, host)
}

fn xml(name: &str, uuid: Uuid) -> String {
    format!(
        "<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory>65536</memory><vcpu>1</vcpu>\
         <os><type>hvm</type></os></domain>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_world_is_read_whole() {
    let node = LibvirtHost::new("test:///default").read(&Scope::WithGuests).await.expect("it can be read");
    assert!(node.domains.iter().any(|domain| domain.name == "test" && domain.state == PowerState::Running));
    assert!(node.networks.iter().any(|network| network.name == "default" && network.active));
    assert!(node.pools.iter().any(|pool| pool.name == "default-pool" && pool.volumes.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn worlds_are_apart_and_last_as_long_as_their_host() {
    let ((_a, a), (_b, b)) = (world(), world());
    let (name, uuid) = ("web", Uuid::new_v4());
    done(&a, Op::DomainDefine { name: name.into(), uuid, xml: xml(name, uuid).into(), validate: false }).await;
    assert!(domain(&a, name).await.is_some());
    assert!(domain(&b, name).await.is_none());
    done(&a, Op::DomainStart { name: name.into(), uuid }).await;
    let stop = Op::DomainShutdown {
        name: name.into(),
        uuid,
        method: ShutdownMethod::Auto,
        timeout_seconds: 5,
        on_timeout: OnTimeout::Report,
    };
    done(&a, stop).await;
    let off = domain(&a, name).await.expect("it is there");
    assert_eq!((off.state, off.off_reason), (PowerState::Off, OffReason::GuestShutdown));
    done(&a, Op::DomainUndefine { name: name.into(), uuid, nvram: true, managed_save: false }).await;
    assert!(domain(&a, name).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_worlds_than_threads_are_read_side_by_side() {
    let worlds: Vec<_> = (0..300).map(|_| world()).collect();
    let mut jobs = tokio::task::JoinSet::new();
    for (dir, host) in worlds {
        jobs.spawn(async move {
            let uuid = Uuid::new_v4();
            done(&host, Op::DomainDefine { name: "one".into(), uuid, xml: xml("one", uuid).into(), validate: false }).await;
            let node = host.read(&Scope::Everything).await.expect("it can be read");
            drop(dir);
            node.domains.len()
        });
    }
    assert!(jobs.join_all().await.into_iter().all(|domains| domains == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_uri_of_no_driver_is_an_error_in_words() {
    let error = LibvirtHost::new("nonsense:///system").read(&Scope::Host).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(!error.message.is_empty());
    let error = act(&LibvirtHost::new("test:///default"), Op::NetworkStart { name: "nowhere".into() }).await.unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::NotFound, 43));
}
