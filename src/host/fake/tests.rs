//! What the fake does on purpose: failures, late effects, hangs, and state that outlives a process.

use std::sync::{Arc, Mutex};

use super::*;
use crate::host::{Connector, ErrorKind, Hint, Host, NoProgress, Progress};
use crate::observe::{OffReason, PowerState, Scope, Target};
use crate::plan::{Op, SeedBytes, UploadSource};

const NETWORK: &str = "<network><name>lan</name><uuid>00000000-0000-0000-0000-000000000001</uuid><bridge name='br1'/></network>";
const DOMAIN: &str = "<domain type='qemu'><name>web</name><uuid>00000000-0000-0000-0000-000000000002</uuid><memory>65536</memory>\
    <vcpu>1</vcpu><os><type>hvm</type></os></domain>";

fn start() -> Op {
    Op::NetworkStart { name: "lan".to_owned() }
}

fn host() -> FakeHost {
    FakeHost::new("a").having(|state| {
        state.network_define(NETWORK).unwrap();
        state.domain_define(DOMAIN, false).unwrap();
    })
}

async fn act(host: &FakeHost, op: &Op) -> Result<(), ErrorKind> {
    host.act(op, &NoProgress).await.map_err(|error| error.kind)
}

fn runs(host: &FakeHost) -> bool {
    host.with(|state| state.networks["lan"].live.is_some())
}

#[tokio::test]
async fn an_act_that_fails_has_no_effect() {
    let host = host();
    host.inject(When::Op("network-start".to_owned()), How::failed("no"));
    assert_eq!(act(&host, &start()).await, Err(ErrorKind::Failed));
    assert!(!runs(&host));
    assert_eq!(act(&host, &start()).await, Ok(()));
}

#[tokio::test]
async fn an_act_without_an_answer_happened_or_did_not() {
    let host = host();
    host.inject(When::Any, How::Lost);
    assert_eq!(act(&host, &start()).await, Err(ErrorKind::Unknown));
    assert!(!runs(&host));
    host.inject(When::Any, How::NoAnswer);
    assert_eq!(act(&host, &start()).await, Err(ErrorKind::Unknown));
    assert!(runs(&host));
}

#[tokio::test]
async fn the_nth_call_is_a_read_too_and_a_node_that_goes_away_stays_away() {
    let read = async |host: &FakeHost| host.read(&Scope::Everything).await.map(drop).map_err(|error| error.kind);
    let host = host();
    host.inject(When::Call(2), How::failed("no"));
    assert_eq!(act(&host, &start()).await, Ok(()));
    assert_eq!(read(&host).await, Err(ErrorKind::Failed));
    assert_eq!(read(&host).await, Ok(()));
    // Acts are counted without reads, and meet no fault of these.
    host.inject(When::Nth(1), How::failed("no"));
    assert_eq!(read(&host).await, Ok(()));
    assert_eq!(act(&host, &start()).await, Err(ErrorKind::Failed));

    let stop = Op::NetworkStop { name: "lan".to_owned() };
    for (how, said, left) in [(How::Away, ErrorKind::Unreachable, true), (How::AwayAfter, ErrorKind::Unknown, false)] {
        host.inject(When::Call(1), how);
        assert_eq!(act(&host, &stop).await, Err(said));
        assert_eq!((runs(&host), read(&host).await), (left, Err(ErrorKind::Unreachable)));
        host.set_reachable(true);
        assert_eq!(read(&host).await, Ok(()));
    }
    host.inject(When::Call(1), How::Away);
    assert_eq!((read(&host).await, act(&host, &start()).await), (Err(ErrorKind::Unreachable), Err(ErrorKind::Unreachable)));
}

#[tokio::test]
async fn the_nth_act_meets_its_fault_and_no_other() {
    let host = host();
    host.inject(When::Nth(2), How::transient());
    let on = Op::NetworkAutostart { name: "lan".to_owned(), on: true };
    assert_eq!(act(&host, &on).await, Ok(()));
    assert_eq!(act(&host, &on).await, Err(ErrorKind::Transient));
    assert_eq!(act(&host, &on).await, Ok(()));
    assert_eq!(host.acts(), ["network-autostart lan"; 3]);
    assert_eq!(host.calls()[1].outcome, Some(Err(ErrorKind::Transient)));
}

#[tokio::test]
async fn a_late_effect_shows_at_a_later_read() {
    let host = host();
    host.inject(When::Any, How::Late(2));
    assert_eq!(act(&host, &start()).await, Err(ErrorKind::Unknown));
    let scope = Scope::Objects([Target::Network("lan".to_owned())].into());
    assert!(!host.read(&scope).await.unwrap().networks[0].active);
    assert!(host.read(&scope).await.unwrap().networks[0].active);
}

#[tokio::test]
async fn somebody_else_may_be_faster() {
    let host = host();
    host.inject(When::Any, How::change(|state| state.network_start("lan").unwrap()));
    assert_eq!(act(&host, &start()).await, Err(ErrorKind::InvalidState));
}

#[tokio::test]
async fn a_hanging_act_waits_for_its_gate() {
    let host = host();
    let gate = host.hang("network-start", "lan");
    let other = host.clone();
    let task = tokio::spawn(async move { act(&other, &start()).await });
    tokio::task::yield_now().await;
    assert!(!task.is_finished() && !runs(&host));
    assert_eq!(host.calls()[0].outcome, None);
    gate.open();
    assert_eq!(task.await.unwrap(), Ok(()));
    assert!(runs(&host));
}

#[tokio::test]
async fn a_node_out_of_reach_answers_nothing() {
    let host = host();
    host.set_reachable(false);
    assert_eq!(host.read(&Scope::Everything).await.unwrap_err().kind, ErrorKind::Unreachable);
    assert_eq!(act(&host, &start()).await, Err(ErrorKind::Unreachable));
    host.heal();
    assert_eq!(act(&host, &start()).await, Ok(()));
}

#[tokio::test]
async fn a_guest_lives_a_life_of_its_own() {
    let host = host();
    let op = Op::DomainStart { name: "web".to_owned(), uuid: uuid::Uuid::from_u128(2) };
    assert_eq!(act(&host, &op).await, Ok(()));
    host.with(|state| state.guest_shuts_down("web"));
    let read = host.read(&Scope::Everything).await.unwrap();
    assert_eq!((read.domains[0].state, read.domains[0].off_reason), (PowerState::Off, OffReason::GuestShutdown));
    host.with(State::libvirtd_restarts);
    assert_eq!(host.read(&Scope::Everything).await.unwrap().domains[0].off_reason, OffReason::Unknown);
}

#[tokio::test]
async fn what_guests_know_is_read_only_with_guests() {
    let host = host().having(|state| {
        state.network_start("lan").unwrap();
        let lease = Lease { mac: "52:54:00:00:00:01".to_owned(), ip: "198.18.0.2".to_owned(), hostname: None };
        state.networks.get_mut("lan").unwrap().leases.push(lease);
    });
    assert!(host.read(&Scope::Everything).await.unwrap().networks[0].leases.is_empty());
    assert_eq!(host.read(&Scope::WithGuests).await.unwrap().networks[0].leases[0].ip, "198.18.0.2");
}

#[tokio::test]
async fn an_upload_tells_how_far_it_is() {
    struct Told(Mutex<Vec<(u64, u64)>>);
    impl Progress for Told {
        fn bytes(&self, done: u64, total: u64) {
            self.0.lock().unwrap().push((done, total));
        }
    }
    let host = FakeHost::new("a").having(|state| {
        state.pool_define("<pool type='dir'><name>p</name><target><path>/images/p</path></target></pool>").unwrap();
        state.pool_build("p").unwrap();
        state.pool_start("p").unwrap();
        state.volume_create("p", "<volume><name>v</name><capacity>512</capacity></volume>").unwrap();
    });
    let bytes = SeedBytes(Arc::new(vec![1; 1024]));
    let source = UploadSource::Seed { digest: String::new(), bytes };
    let told = Told(Mutex::default());
    host.act(&Op::VolumeUpload { pool: "p".to_owned(), name: "v".to_owned(), source }, &told).await.unwrap();
    assert_eq!(*told.0.lock().unwrap(), [(512, 1024), (1024, 1024)]);
    assert_eq!(host.state().files["/images/p/v"].length, 1024);
}

#[tokio::test]
async fn two_processes_share_a_node_by_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let (one, two) = (FakeHost::at("a", &path), FakeHost::at("a", &path));
    one.with(|state| state.network_define(NETWORK).map(drop)).unwrap();
    assert_eq!(act(&two, &start()).await, Ok(()));
    assert!(runs(&one));
    let name = "n".parse().unwrap();
    let third = FakeConnector::new().host(&name, &format!("fake://{}", path.display()));
    assert!(third.read(&Scope::Everything).await.unwrap().networks[0].active);
}

#[tokio::test]
async fn a_connectors_nodes_are_apart_and_its_log_is_one() {
    let connector = FakeConnector::new();
    for name in ["a", "b"] {
        connector.node(name).with(|state| state.network_define(NETWORK).map(drop)).unwrap();
        let host = connector.host(&name.parse().unwrap(), "qemu:///system");
        host.act(&start(), &NoProgress).await.unwrap();
    }
    assert_eq!(connector.acts(), ["a: network-start lan", "b: network-start lan"]);
    assert_ne!(connector.node("a").state().uuid, connector.node("b").state().uuid);
}

#[test]
fn the_same_calls_make_up_the_same_values() {
    let make = || {
        let host = FakeHost::new("a");
        host.with(|state| state.network_define("<network><name>n</name></network>").map(drop)).unwrap();
        host.state()
    };
    assert_eq!(make(), make());
}

#[tokio::test]
async fn a_mark_that_comes_without_its_namespace_gets_it_and_takes_the_place_of_the_old_one() {
    let host = host();
    let uuid = uuid::Uuid::from_u128(2);
    let mut mark = crate::xml::Mark::new(uuid::Uuid::from_u128(1), "vm/web".parse().unwrap(), uuid::Uuid::from_u128(3));
    mark.paths.insert("/memory".to_owned());
    for ran in [false, true] {
        mark.ran = ran;
        let text = Some(mark.to_xml());
        let op = Op::DomainMetadata { name: "web".to_owned(), uuid, title: None, description: None, mark: text, live: false };
        assert_eq!(act(&host, &op).await, Ok(()));
        let text = host.with(|state| state.domains["web"].inactive.clone());
        assert_eq!(text.matches("<jvp:object xmlns:jvp=").count(), 1, "{text}");
        assert_eq!(crate::xml::Mark::from_document(&text).unwrap().as_ref(), Some(&mark));
    }
}

fn web() -> Hint {
    Hint::Object(Target::Domain("web".to_owned()))
}

#[tokio::test]
async fn it_tells_of_acts_and_of_what_a_hand_does_by_functions_and_of_nothing_else() {
    let host = host();
    let mut events = host.events();
    assert_eq!(events.next().await[&Hint::Node].why, ["connected"].into());
    act(&host, &start()).await.unwrap();
    assert_eq!(events.take()[&Hint::Object(Target::Network("lan".to_owned()))].why, ["started"].into());
    let uuid = host.with(|state| state.domains["web"].uuid);
    host.with(|state| state.domain_start(uuid)).unwrap();
    host.with(|state| state.crash("web"));
    assert_eq!(events.take()[&web()].why, ["resumed", "started", "stopped"].into());
    // An act that others were faster than, and one that nobody answered, are told all the same.
    host.inject(When::Any, How::NoAnswer);
    assert_eq!(act(&host, &Op::DomainStart { name: "web".to_owned(), uuid }).await, Err(ErrorKind::Unknown));
    assert!(events.take().contains_key(&web()));
    host.with(|state| state.domains.clear());
    act(&host, &Op::NetworkAutostart { name: "lan".to_owned(), on: true }).await.unwrap();
    assert!(events.take().is_empty());
}

#[tokio::test]
async fn its_events_break_are_lost_in_silence_and_come_in_storms() {
    let host = host();
    let mut events = host.events();
    events.take();
    let change = |host: &FakeHost| host.with(|state| state.domain_define(DOMAIN, false)).unwrap();

    host.set_reachable(false);
    assert_eq!(events.take()[&Hint::Node].why, ["closed"].into());
    assert_eq!(host.renew_events().await.unwrap_err().kind, ErrorKind::Unreachable);
    change(&host);
    host.set_reachable(true);
    assert_eq!(events.take().keys().collect::<Vec<_>>(), [&Hint::Node], "what happened in between is told by nobody");

    host.lose_events();
    change(&host);
    assert!(events.take().is_empty());
    host.renew_events().await.unwrap();
    assert_eq!(host.renewals(), 1);
    change(&host);
    assert_eq!(events.take()[&web()].why, ["defined"].into());

    let before = events.latest();
    (0..10_000).for_each(|_| host.hint(&web(), "metadata"));
    let hints = events.take();
    assert_eq!((hints.len(), hints[&web()].number), (1, before + 10_000));
}
