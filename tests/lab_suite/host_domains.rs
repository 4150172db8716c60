//! Domains on a real libvirtd, as the host port shows and changes them.

use std::time::{Duration, Instant};

use jvp::host::{ErrorKind, Host};
use jvp::manifest::{OnTimeout, ShutdownMethod};
use jvp::observe::{OffReason, PowerState, Scope};
use jvp::plan::Op;
use uuid::Uuid;

use crate::support::{act, appears, domain, domain_xml, done, lab_or_return, tiny, tiny_devices};

fn define(name: &str, uuid: Uuid, devices: &str) -> Op {
    Op::DomainDefine { name: name.into(), uuid, xml: domain_xml(name, uuid, devices).into(), validate: false }
}

fn undefine(name: &str, uuid: Uuid) -> Op {
    Op::DomainUndefine { name: name.into(), uuid, nvram: false, managed_save: false }
}

fn shutdown(name: &str, uuid: Uuid, timeout_seconds: u64, on_timeout: OnTimeout) -> Op {
    Op::DomainShutdown { name: name.into(), uuid, method: ShutdownMethod::Auto, timeout_seconds, on_timeout }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_lives_from_define_to_undefine() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let (name, uuid) = ("life", Uuid::new_v4());
    assert!(domain(&host, name).await.is_none());
    done(&host, define(name, uuid, "<graphics type='vnc' passwd='canary'/>")).await;
    let defined = domain(&host, name).await.expect("it is there");
    assert_eq!((defined.uuid, defined.state, defined.off_reason), (uuid, PowerState::Off, OffReason::Unknown));
    assert!(defined.persistent && !defined.autostart && !defined.managed_save && !defined.has_snapshots);
    assert!(defined.inactive.text().contains("passwd='canary'") && defined.live.is_none());

    done(&host, Op::DomainAutostart { name: name.into(), uuid, on: true }).await;
    done(&host, Op::DomainStart { name: name.into(), uuid }).await;
    let running = domain(&host, name).await.expect("it is there");
    assert!(running.autostart && running.state == PowerState::Running);
    assert!(running.live.unwrap().text().contains("<domain type='qemu' id='"));
    assert_eq!(act(&host, Op::DomainStart { name: name.into(), uuid }).await.unwrap_err().kind, ErrorKind::InvalidState);
    assert_eq!(act(&host, undefine(name, uuid)).await.unwrap_err().kind, ErrorKind::InvalidState);

    done(&host, Op::DomainDestroy { name: name.into(), uuid }).await;
    let off = domain(&host, name).await.expect("it is there");
    assert_eq!((off.state, off.off_reason), (PowerState::Off, OffReason::Destroyed));
    assert_eq!(act(&host, Op::DomainDestroy { name: name.into(), uuid }).await.unwrap_err().kind, ErrorKind::InvalidState);
    // The list of all tells the same as the question for one.
    let all = host.read(&Scope::Everything).await.expect("it can be read");
    assert_eq!(all.domains.into_iter().find(|domain| domain.name == name), Some(off));

    done(&host, Op::DomainRename { name: name.into(), uuid, to: "life-2".into() }).await;
    assert_eq!(domain(&host, "life-2").await.expect("it is there").uuid, uuid);
    done(&host, undefine("life-2", uuid)).await;
    assert!(domain(&host, "life-2").await.is_none());
    let error = act(&host, Op::DomainStart { name: "life-2".into(), uuid }).await.unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::NotFound, 42));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_define_are_told_apart() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let (name, uuid) = ("refused", Uuid::new_v4());
    done(&host, define(name, uuid, "")).await;
    let error = act(&host, define(name, Uuid::new_v4(), "")).await.unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::Exists, 9), "another UUID: {error:?}");
    let error = act(&host, define("refused-2", uuid, "")).await.unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::Exists, 9), "another name: {error:?}");
    let strange = domain_xml("strange", Uuid::new_v4(), "<sundial/>");
    let op = |validate| Op::DomainDefine { name: "strange".into(), uuid, xml: strange.clone().into(), validate };
    let error = act(&host, op(true)).await.unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::Failed, 92), "{error:?}");
    assert!(error.message.contains("'strange'") && !error.message.contains('\n'), "{}", error.message);
    let error = act(&host, Op::Inventory).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    done(&host, undefine(name, uuid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn title_description_and_mark_are_set_live_and_for_the_next_start() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let (name, uuid) = ("marked", Uuid::new_v4());
    done(&host, define(name, uuid, "")).await;
    let mark = "<jvp:object xmlns:jvp='https://jvp.dev/xml/object/1' name='marked'><jvp:path>/memory</jvp:path></jvp:object>";
    let set = |title: Option<Option<&str>>, description: Option<Option<&str>>, mark: Option<&str>, live| Op::DomainMetadata {
        name: name.into(),
        uuid,
        title: title.map(|t| t.map(Into::into)),
        description: description.map(|d| d.map(Into::into)),
        mark: mark.map(Into::into),
        live,
    };
    done(&host, set(Some(Some("A title")), Some(Some("About")), Some(mark), false)).await;
    let off = domain(&host, name).await.expect("it is there");
    for text in ["<title>A title</title>", "<description>About</description>", "<jvp:path>/memory</jvp:path>"] {
        assert!(off.inactive.text().contains(text), "{text} in {}", off.inactive.text());
    }
    let opens = "<jvp:object xmlns:jvp=\"https://jvp.dev/xml/object/1\" name=\"marked\">";
    assert!(off.inactive.text().contains(opens), "{}", off.inactive.text());

    done(&host, Op::DomainStart { name: name.into(), uuid }).await;
    let second = mark.replace("/memory", "/cpu");
    done(&host, set(Some(None), None, Some(&second), true)).await;
    let running = domain(&host, name).await.expect("it is there");
    for document in [&running.inactive, running.live.as_ref().unwrap()] {
        let document = document.text();
        assert!(!document.contains("<title>") && document.contains("<description>About</description>"));
        assert!(document.contains("<jvp:path>/cpu</jvp:path>") && !document.contains(">/memory<"), "{document}");
    }
    done(&host, Op::DomainDestroy { name: name.into(), uuid }).await;
    let error = act(&host, set(Some(Some("x")), None, None, true)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidState, "live where it is off");
    done(&host, undefine(name, uuid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_hears_stops_even_if_it_was_asked_while_it_booted() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let (name, uuid) = ("hears", Uuid::new_v4());
    let serial = lab.images("a").join("hears.log");
    done(&host, define(name, uuid, &tiny_devices(&tiny(false), &serial))).await;
    done(&host, Op::DomainStart { name: name.into(), uuid }).await;
    done(&host, shutdown(name, uuid, 120, OnTimeout::Report)).await;
    let off = domain(&host, name).await.expect("it is there");
    assert_eq!((off.state, off.off_reason), (PowerState::Off, OffReason::GuestShutdown));
    assert_eq!(act(&host, shutdown(name, uuid, 5, OnTimeout::Report)).await.unwrap_err().kind, ErrorKind::InvalidState);
    done(&host, undefine(name, uuid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_guest_runs_on_or_loses_its_power_as_was_said() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let (name, uuid) = ("deaf", Uuid::new_v4());
    let serial = lab.images("a").join("deaf.log");
    done(&host, define(name, uuid, &tiny_devices(&tiny(true), &serial))).await;
    done(&host, Op::DomainStart { name: name.into(), uuid }).await;
    appears(&serial, "jvp-tiny: up").await;
    let began = Instant::now();
    let error = act(&host, shutdown(name, uuid, 2, OnTimeout::Report)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::StopTimeout, "{error:?}");
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(domain(&host, name).await.unwrap().state, PowerState::Running);
    done(&host, shutdown(name, uuid, 1, OnTimeout::PowerOff)).await;
    assert_eq!(domain(&host, name).await.unwrap().state, PowerState::Off);
    done(&host, undefine(name, uuid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_domains_are_read_in_the_order_of_their_names() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let uuids: Vec<Uuid> = (0..100).map(|_| Uuid::new_v4()).collect();
    for (index, uuid) in uuids.iter().enumerate().rev() {
        done(&host, define(&format!("many-{index:03}"), *uuid, "")).await;
    }
    let node = host.read(&Scope::Everything).await.expect("it can be read");
    let many: Vec<_> = node.domains.iter().filter(|domain| domain.name.starts_with("many-")).collect();
    assert_eq!(many.iter().map(|domain| domain.uuid).collect::<Vec<_>>(), uuids);
    assert!(many.iter().all(|domain| domain.inactive.text().contains(&domain.uuid.to_string())));
    assert!(node.domains.is_sorted_by(|a, b| a.name < b.name));
    for (index, uuid) in uuids.iter().enumerate() {
        done(&host, undefine(&format!("many-{index:03}"), *uuid)).await;
    }
}
