//! Networks on a real libvirtd, as the host port shows and changes them.

use jvp::host::{ErrorKind, Host};
use jvp::observe::Scope;
use jvp::plan::{Edit, Op, Section, Side};
use uuid::Uuid;

use crate::support::{act, appears, domain_xml, done, lab_or_return, network, tiny, tiny_devices};

fn xml(name: &str, bridge: &str, third: u8) -> String {
    format!(
        "<network><name>{name}</name><forward mode='nat'/><bridge name='{bridge}'/>\
         <ip address='198.18.{third}.1' netmask='255.255.255.0'><dhcp>\
         <range start='198.18.{third}.100' end='198.18.{third}.200'/></dhcp></ip></network>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_lives_from_define_to_undefine_and_its_hosts_change_both_ways() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let name = "life";
    done(&host, Op::NetworkDefine { name: name.into(), xml: xml(name, "jvlife", 11) }).await;
    let defined = network(&host, name).await.expect("it is there");
    assert!(!defined.active && !defined.autostart && defined.persistent && defined.live.is_none());

    let entry = |add, mac: &str, ip: &str| Op::NetworkUpdate {
        name: name.into(),
        section: Section::DhcpHost,
        edit: if add { Edit::Add } else { Edit::Delete },
        side: Side::Both,
        xml: format!("<host mac='{mac}' ip='{ip}'/>"),
        parent_index: 0,
    };
    done(&host, entry(true, "52:54:00:00:00:01", "198.18.11.11")).await;
    done(&host, Op::NetworkStart { name: name.into() }).await;
    done(&host, Op::NetworkAutostart { name: name.into(), on: true }).await;
    done(&host, entry(true, "52:54:00:00:00:02", "198.18.11.12")).await;
    let running = network(&host, name).await.expect("it is there");
    assert!(running.active && running.autostart);
    for ip in ["198.18.11.11", "198.18.11.12"] {
        assert!(running.inactive.contains(ip) && running.live.as_ref().unwrap().contains(ip));
    }
    let error = act(&host, entry(true, "52:54:00:00:00:02", "198.18.11.12")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exists, "{error:?}");
    done(&host, entry(false, "52:54:00:00:00:02", "198.18.11.12")).await;
    let error = act(&host, entry(false, "52:54:00:00:00:02", "198.18.11.12")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
    let after = network(&host, name).await.expect("it is there");
    assert!(!after.inactive.contains("198.18.11.12") && !after.live.unwrap().contains("198.18.11.12"));

    let error = act(&host, Op::NetworkDefine { name: name.into(), xml: xml(name, "jvlife", 11) }).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exists, "the same name without its UUID is another network: {error:?}");
    assert_eq!(act(&host, Op::NetworkStart { name: name.into() }).await.unwrap_err().kind, ErrorKind::InvalidState);
    done(&host, Op::NetworkStop { name: name.into() }).await;
    done(&host, Op::NetworkUndefine { name: name.into() }).await;
    assert!(network(&host, name).await.is_none());
    assert_eq!(act(&host, Op::NetworkStart { name: name.into() }).await.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_lease_is_read_with_the_guests_only() {
    let lab = lab_or_return!();
    let host = lab.host("a");
    let name = "leases";
    done(&host, Op::NetworkDefine { name: name.into(), xml: xml(name, "jvlease", 12) }).await;
    done(&host, Op::NetworkStart { name: name.into() }).await;
    let (guest, uuid) = ("leases-guest", Uuid::new_v4());
    let serial = lab.images("a").join("leases.log");
    let devices = format!(
        "{}<interface type='network'><mac address='52:54:00:12:00:01'/><source network='{name}'/><model type='virtio'/></interface>\
         <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>",
        tiny_devices(&tiny(false), &serial)
    );
    done(&host, Op::DomainDefine { name: guest.into(), uuid, xml: domain_xml(guest, uuid, &devices).into(), validate: true })
        .await;
    done(&host, Op::DomainStart { name: guest.into(), uuid }).await;
    appears(&serial, "jvp-tiny: address 198.18.12.").await;

    let find = async |scope: Scope| {
        let node = host.read(&scope).await.expect("it can be read");
        let network = node.networks.into_iter().find(|network| network.name == name).expect("it is there");
        let guest = node.domains.into_iter().find(|domain| domain.name == guest).expect("it is there");
        (network.leases, guest.agent_addresses)
    };
    let (leases, addresses) = find(Scope::WithGuests).await;
    assert_eq!(leases.len(), 1, "{leases:?}");
    assert_eq!(leases[0].mac, "52:54:00:12:00:01");
    assert!(leases[0].ip.starts_with("198.18.12."));
    assert_eq!(addresses, None, "it has a channel, but no agent behind it");
    assert!(find(Scope::Everything).await.0.is_empty());

    done(&host, Op::DomainDestroy { name: guest.into(), uuid }).await;
    done(&host, Op::DomainUndefine { name: guest.into(), uuid, nvram: false, managed_save: false }).await;
    done(&host, Op::NetworkStop { name: name.into() }).await;
    done(&host, Op::NetworkUndefine { name: name.into() }).await;
}
