//! What is somebody else's on a node: a guest that runs, on a network and on a volume in a pool. Nothing of it ever differs.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use uuid::Uuid;

use crate::kill::Inventory;
use crate::support::{Lab, content, domain_xml, still, unmeasured};

fn folder(lab: &Lab, node: &str) -> PathBuf {
    lab.images(node).join("theirs")
}

/// Puts it on a node.
pub fn put(lab: &Lab, node: &str) {
    let folder = folder(lab, node);
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    std::fs::write(folder.join("theirs.img"), still()).expect("an image can be written");
    let devices = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}/theirs.img'/>\
         <target dev='vda' bus='virtio'/></disk><interface type='network'><mac address='52:54:00:12:34:56'/>\
         <source network='theirs'/><model type='virtio'/></interface>",
        folder.display()
    );
    let network = "<network><name>theirs</name><bridge name='theirs0'/><ip address='198.18.99.1' prefix='24'/></network>";
    let pool = format!("<pool type='dir'><name>theirs</name><target><path>{}</path></target></pool>", folder.display());
    let domain = domain_xml("theirs", Uuid::from_u128(77), &devices);
    let all = [("net-define", "net-start", network), ("pool-define", "pool-start", &pool), ("define", "start", &domain)];
    let document = |verb: &str| lab.folder(node).join(verb).display().to_string();
    for (define, _, xml) in &all {
        std::fs::write(document(define), xml).expect("a document can be written");
    }
    let documents = all.map(|(define, ..)| document(define));
    let commands =
        all.iter().zip(&documents).flat_map(|((define, start, _), file)| [vec![*define, file], vec![*start, "theirs"]]);
    lab.virsh_each(node, &commands.collect::<Vec<_>>());
}

/// All of it, to the byte: its documents as they run and as they are defined, its process, and its file.
pub fn state(lab: &Lab, node: &str) -> Inventory {
    let commands = [
        ("what runs", vec!["dumpxml", "--security-info", "theirs"]),
        ("definition", vec!["dumpxml", "--security-info", "--inactive", "theirs"]),
        ("number", vec!["domid", "theirs"]),
        ("state", vec!["domstate", "--reason", "theirs"]),
        ("network as it runs", vec!["net-dumpxml", "theirs"]),
        ("network", vec!["net-dumpxml", "--inactive", "theirs"]),
        ("network's state", vec!["net-info", "theirs"]),
        ("pool", vec!["pool-dumpxml", "theirs"]),
        ("volumes", vec!["vol-list", "theirs"]),
    ];
    let words: Vec<Vec<&str>> = commands.iter().map(|(_, words)| words.clone()).collect();
    let answers = lab.virsh_each(node, &words);
    let named = commands.iter().zip(&answers).map(|((what, _), answer)| (format!("theirs: {what}"), unmeasured(answer)));
    let mut all: Inventory = named.collect();
    let uri = lab.uri(node);
    let socket = PathBuf::from(uri.split("socket=").nth(1).expect("a socket"));
    let process = std::fs::read_to_string(socket.with_file_name("qemu/theirs.pid")).expect("its process is known");
    all.insert("theirs: process".into(), process);
    let file = folder(lab, node).join("theirs.img");
    let about = std::fs::metadata(&file).expect("its file is there");
    let about = (about.ino(), about.mode(), about.uid(), about.gid(), about.mtime(), about.mtime_nsec());
    all.insert("theirs: file".into(), format!("{} {about:?}", content(&file)));
    all
}
