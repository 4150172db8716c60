//! A node that is far away: what is asked of it is on its way side by side, so that it takes a few turns of its messages there and back,
//! not one for each call. No time is measured here, but turns are counted; `benches/nodes.sh` measures times.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jvp::host::Host;
use jvp::host::libvirt::LibvirtHost;
use jvp::observe::Scope;
use jvp::plan::{Op, SeedBytes, UploadSource};
use uuid::Uuid;

use crate::checkout::Checkout;
use crate::proxy::{Link, Proxy};
use crate::scenarios::FLEET;
use crate::support::{Lab, domain_xml, done, new_pool};

/// The daemon of a node behind a link.
pub fn behind(lab: &Lab, node: &str, link: Link) -> Proxy {
    let uri = lab.uri(node);
    let daemon = PathBuf::from(uri.split("socket=").nth(1).expect("a socket"));
    Proxy::far(&daemon.with_file_name("far-sock"), &daemon, link)
}

/// A plan over `count` VMs on a node that is far away, by the program; then an upload, by the port.
pub async fn is_read_and_filled_side_by_side(lab: &Lab, node: &str, count: usize) {
    let near = Arc::new(lab.host(node));
    let names: Vec<String> = (0..count).map(|number| format!("many-{number:04}")).collect();
    let mut jobs = tokio::task::JoinSet::new();
    for part in names.chunks(count.div_ceil(4)) {
        let (near, part) = (Arc::clone(&near), part.to_vec());
        jobs.spawn(async move {
            for name in part {
                let (uuid, validate) = (Uuid::new_v4(), false);
                let xml = domain_xml(&name, uuid, "");
                done(&*near, Op::DomainDefine { name, uuid, xml: xml.into(), validate }).await;
            }
        });
    }
    jobs.join_all().await;

    // So far that the machine's own work is little beside it.
    let proxy = behind(lab, node, Link { delay: Duration::from_millis(60), rate: None });
    // Another one has answered long before.
    let set = format!(
        "apiVersion: jvp.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: lab}}\nspec: {{id: {FLEET}}}\n---\napiVersion: jvp.dev/v1alpha1\n\
         kind: Node\nmetadata: {{name: far}}\nspec: {{uri: \"{}\"}}\n---\napiVersion: jvp.dev/v1alpha1\nkind: Node\n\
         metadata: {{name: near}}\nspec: {{uri: \"test:///default\"}}\n---\napiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\n\
         metadata: {{name: many-0000}}\nspec: {{node: far, memory: 96Mi}}\nlifecycle: {{management: Observe}}\n",
        proxy.uri()
    );
    Checkout::new(&set).jvp(&["plan"]).exits(0).says("VirtualMachine/many-0000");
    let seen = proxy.traffic();
    eprintln!("a plan over {count} VMs from far away: {seen:?}");
    assert!(seen.calls as usize > count && seen.turns * 8 <= seen.calls, "{seen:?}");
    // On each of several connections there was more than one call at once, and never more than libvirtd takes of one.
    let full = seen.at_once.values().filter(|most| **most > 3).count();
    assert!(seen.connections > 3 && full > 3 && seen.at_once.values().all(|most| *most <= 4), "{seen:?}");

    // What is read is what is read from near, also where the node lets in one connection and no more.
    drop(proxy);
    let proxy = behind(lab, node, Link { delay: Duration::from_millis(3), rate: None });
    let far = LibvirtHost::new(&proxy.uri());
    let (here, there) = (near.read(&Scope::Everything).await.unwrap(), far.read(&Scope::Everything).await.unwrap());
    assert!(here.domains.len() >= count && here == there, "{} and {} domains", here.domains.len(), there.domains.len());

    proxy.traffic();
    proxy.lets_in(Some(1));
    assert!(LibvirtHost::new(&proxy.uri()).read(&Scope::Everything).await.unwrap() == here, "by one connection");
    let seen = proxy.traffic();
    assert!(seen.connections == 1 && seen.at_once.values().eq(&[4]), "{seen:?}");
    proxy.lets_in(None);

    // An upload waits for no answer on the way.
    new_pool(lab, node, &*near, "far").await;
    let mut turns = Vec::new();
    for (name, size) in [("small.img", 1 << 20), ("large.img", 48 << 20)] {
        let pool = || "far".to_owned();
        let xml = format!("<volume><name>{name}</name><capacity>{size}</capacity><target><format type='raw'/></target></volume>");
        done(&*near, Op::VolumeCreate { pool: pool(), name: name.into(), xml }).await;
        proxy.traffic();
        let source = UploadSource::Seed { digest: String::new(), bytes: SeedBytes(Arc::new(vec![7; size])) };
        done(&far, Op::VolumeUpload { pool: pool(), name: name.into(), source }).await;
        turns.push(proxy.traffic().turns);
    }
    assert!(turns[0] == turns[1] && turns[0] <= 6, "{turns:?}");
}
