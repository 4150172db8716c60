//! What the words of `lifecycle` do, by the command line on fake nodes: adoption, names that change, fields that are ignored,
//! objects that are only looked at, and prune.

#![cfg(debug_assertions)]
#![expect(clippy::unwrap_used, reason = "tests: what fails must be loud")]

mod checkout;

use std::fs;

use checkout::Place;
use jvp::host::fake::{FakeHost, State};
use jvp::plan::Op;

const FLEET: &str = "6f0f1f5e-6f4e-4c4b-9a53-7c1a4c2c8a10";

/// A checkout, and a node with objects that somebody made by hand.
struct Bench {
    place: Place,
    node: FakeHost,
}

impl Bench {
    fn new() -> Self {
        let place = Place::with(&[]);
        let node = FakeHost::at("host", &place.path("fake").join("host.json"));
        node.with(by_hand);
        Self { place, node }
    }

    fn with(manifests: &str) -> Self {
        let bench = Self::new();
        bench.write(manifests);
        bench
    }

    fn write(&self, manifests: &str) {
        let head = format!(
            "apiVersion: jvp.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: here}}\nspec: {{id: {FLEET}}}\n---\n\
             apiVersion: jvp.dev/v1alpha1\nkind: Node\nmetadata: {{name: host}}\nspec: {{uri: \"qemu+ssh://host/system\"}}\n"
        );
        fs::write(self.place.path("checkout").join("all.yaml"), head + manifests).unwrap();
    }

    #[track_caller]
    fn jvp(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.place.jvp(arguments);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "jvp {}\n{text}", arguments.join(" "));
        text
    }

    fn lose_ledger(&self) {
        let state = self.place.path("state");
        for entry in fs::read_dir(&state).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && (name.starts_with("ledger") || name == "journal") {
                fs::remove_dir_all(&path).unwrap();
            } else if path.is_file() && (name.starts_with("ledger") || name == "HEAD") {
                fs::remove_file(&path).unwrap();
            }
        }
    }
}

/// What somebody made by hand: a pool with two files, a network, and two domains, of which one runs.
fn by_hand(state: &mut State) {
    state.folders.insert("/srv/img".into());
    let volume = |name: &str, format: &str| {
        format!(
            "<volume><name>{name}</name><capacity unit='bytes'>8388608</capacity><target><format type='{format}'/></target></volume>"
        )
    };
    let domain = |name: &str, memory: u32, mac: &str, file: &str| {
        format!(
            "<domain type='qemu'><name>{name}</name><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>\
             <metadata><x:of xmlns:x='urn:somebody'>theirs</x:of></metadata>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os><devices>\
             <disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='/srv/img/{file}'/>\
             <target dev='vda' bus='virtio'/></disk>\
             <interface type='network'><mac address='{mac}'/><source network='lan'/><model type='virtio'/></interface>\
             </devices></domain>"
        )
    };
    let network = "<network><name>lan</name><forward mode='nat'/><bridge name='virbr7'/>\
                   <ip address='10.7.0.1' netmask='255.255.255.0'/></network>";
    state.pool_define("<pool type='dir'><name>img</name><target><path>/srv/img</path></target></pool>").unwrap();
    state.pool_start("img").unwrap();
    state.volume_create("img", &volume("web disk.qcow2", "qcow2")).unwrap();
    state.volume_create("img", &volume("db.qcow2", "qcow2")).unwrap();
    state.network_define(network).unwrap();
    state.network_start("lan").unwrap();
    state.domain_define(&domain("web", 64, "52:54:00:00:00:01", "web disk.qcow2"), false).unwrap();
    let db = state.domain_define(&domain("Data Base", 96, "52:54:00:00:00:02", "db.qcow2"), false).unwrap();
    state.perform(&Op::DomainStart { name: "Data Base".into(), uuid: db }).unwrap();
}

/// The manifests of what was made by hand; `lifecycle` is put into each.
fn manifests(lifecycle: &str) -> String {
    let head = |kind: &str, name: &str| format!("---\napiVersion: jvp.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n");
    let tail = if lifecycle.is_empty() { String::new() } else { format!("lifecycle: {{{lifecycle}}}\n") };
    let vm = |name: &str, libvirt: &str, memory: u32, volume: &str, nic: &str| {
        format!(
            "{}spec:\n  runStrategy: Manual\n{libvirt}  memory: {memory}Mi\n  disks: [{{name: vda, volume: {volume}}}]\n  \
             interfaces: [{{name: {nic}, network: lan}}]\n{tail}",
            head("VirtualMachine", name)
        )
    };
    [
        format!("{}spec: {{type: Dir, target: {{path: /srv/img}}, autostart: false}}\n{tail}", head("StoragePool", "img")),
        format!(
            "{}spec: {{mode: NAT, bridge: virbr7, ips: [{{address: 10.7.0.1/24}}], autostart: false}}\n{tail}",
            head("Network", "lan")
        ),
        format!(
            "{}spec: {{pool: img, libvirtName: web disk.qcow2, format: qcow2, capacity: 8Mi}}\n{tail}",
            head("Volume", "web-disk")
        ),
        format!("{}spec: {{pool: img, format: qcow2, capacity: 8Mi}}\n{tail}", head("Volume", "db")),
        vm("web", "", 64, "web-disk", "52-54-00-00-00-01"),
        vm("data-base", "  libvirtName: Data Base\n", 96, "db", "52-54-00-00-00-02"),
    ]
    .concat()
}

/// The documents of a node without jvp's mark.
fn unmarked(state: &State) -> Vec<String> {
    let bare = |text: &String| {
        let mut text = text.clone();
        while let Some(at) = text.find("<jvp:object") {
            let end = text[at..].find("</jvp:object>").map(|end| at + end + "</jvp:object>".len());
            let end = end.or_else(|| text[at..].find("/>").map(|end| at + end + 2)).unwrap();
            text.replace_range(at..end, "");
        }
        // A `<metadata>` that holds nothing else was made for the mark.
        let tight: String = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("> <", "><");
        tight.replace("<metadata></metadata>", "")
    };
    let domains = state.domains.iter().flat_map(|(name, domain)| {
        [format!("{name} {}", bare(&domain.inactive)), domain.live.as_ref().map(&bare).unwrap_or_default()]
    });
    let networks = state.networks.iter().map(|(name, network)| format!("{name} {}", bare(&network.inactive)));
    let pools = state.pools.iter().map(|(name, pool)| format!("{name} {pool:?}"));
    let files = state.files.iter().map(|(path, file)| format!("{path} {file:?}"));
    domains.chain(networks).chain(pools).chain(files).collect()
}

#[test]
fn what_jvp_did_not_make_is_refused_with_the_word_that_adopts_it() {
    let bench = Bench::with(&manifests(""));
    let said = bench.jvp(6, &["plan"]);
    assert_eq!(said.matches("that jvp didn't make").count(), 4, "{said}");
    assert!(said.contains("jvp adopt StoragePool/img@host"), "{said}");
    assert!(said.contains("`lifecycle: {adopt: true}`, or jvp adopt VirtualMachine/web"), "{said}");
}

#[test]
fn adoption_changes_nothing_but_the_mark() {
    let bench = Bench::with(&manifests("adopt: true"));
    let before = bench.node.state();
    let said = bench.jvp(0, &["plan"]);
    assert!(said.contains("~ VirtualMachine/data-base will be adopted on host\n"), "{said}");
    assert!(said.contains("Plan: 6 to adopt."), "{said}");
    bench.jvp(0, &["apply", "-y"]);
    let after = bench.node.state();
    assert_eq!(unmarked(&before), unmarked(&after));
    assert_eq!(after.domains["web"].uuid, before.domains["web"].uuid);
    for text in
        [&after.domains["Data Base"].inactive, after.domains["Data Base"].live.as_ref().unwrap(), &after.networks["lan"].inactive]
    {
        assert!(text.contains(&format!("fleet='{FLEET}'")) || text.contains(&format!("fleet=\"{FLEET}\"")), "{text}");
    }
    let said = bench.jvp(0, &["plan", "--detailed-exitcode"]);
    assert!(said.starts_with("Nothing is to be done"), "{said}");
    // The word may go, and so may the ledger, but for the pool, which bears no mark.
    bench.write(&manifests(""));
    bench.jvp(0, &["plan", "--detailed-exitcode"]);
    bench.lose_ledger();
    let said = bench.jvp(6, &["plan"]);
    assert!(said.contains("refused: StoragePool/img@host:"), "{said}");
    bench.jvp(0, &["adopt", "-y", "pool/img"]);
    bench.jvp(0, &["apply", "-y"]);
    bench.jvp(0, &["plan", "--detailed-exitcode"]);
    assert_eq!(unmarked(&before), unmarked(&bench.node.state()));
}

#[test]
fn what_is_adopted_loses_nothing_that_its_manifest_does_not_say() {
    let bench = Bench::with(
        &manifests("adopt: true").replace("runStrategy: Manual\n  memory", "runStrategy: Manual\n  title: The web\n  memory"),
    );
    let said = bench.jvp(0, &["plan"]);
    assert!(said.contains("+ title: \"The web\""), "{said}");
    bench.jvp(0, &["apply", "-y"]);
    bench.jvp(0, &["plan", "--detailed-exitcode"]);
    let web = bench.node.state().domains["web"].inactive.clone();
    for kept in ["<title>The web</title>", "cache='none'", "theirs"] {
        assert!(web.replace('"', "'").contains(kept), "{kept} in {web}");
    }
}

#[test]
fn adopt_does_nothing_but_adopt() {
    let bench = Bench::with(&manifests("").replace("memory: 64Mi", "memory: 64Mi\n  title: T"));
    let said = bench.jvp(0, &["adopt", "-y", "vm/web"]);
    assert!(said.contains("VirtualMachine/web will be adopted") && !said.contains("title"), "{said}");
    assert!(!bench.node.state().domains["web"].inactive.contains("<title>"));
    let said = bench.jvp(6, &["plan"]);
    assert!(!said.contains("refused: VirtualMachine/web"), "{said}");
    let said = bench.jvp(0, &["adopt", "-y", "vm/web"]);
    assert!(said.contains("it is ours already"), "{said}");
    let said = bench.jvp(1, &["adopt", "-y", "vm/nobody"]);
    assert!(said.contains("there is no VirtualMachine/nobody"), "{said}");
}

#[test]
fn another_fleets_object_needs_that_fleets_name() {
    let theirs = Bench::with(&manifests("adopt: true"));
    theirs.jvp(0, &["apply", "-y"]);
    // Another fleet, with a state directory of its own, on the same node.
    let ours = Bench::with(&manifests("adopt: true"));
    fs::copy(theirs.place.path("fake").join("host.json"), ours.place.path("fake").join("host.json")).unwrap();
    let text = fs::read_to_string(ours.place.path("checkout").join("all.yaml")).unwrap();
    let other = "11111111-6f4e-4c4b-9a53-7c1a4c2c8a10";
    fs::write(ours.place.path("checkout").join("all.yaml"), text.replace(FLEET, other)).unwrap();
    let said = ours.jvp(6, &["plan"]);
    assert!(said.contains(&format!("belongs to fleet {FLEET}")) && said.contains("--take-from"), "{said}");
    ours.jvp(0, &["apply", "-y", "--take-from", FLEET]);
    ours.jvp(0, &["plan", "--detailed-exitcode"]);
    assert!(ours.node.state().domains["web"].inactive.contains(other));
}

#[test]
fn what_is_observed_is_never_acted_on() {
    let text = manifests("management: Observe")
        .replace("memory: 64Mi", "memory: 64Mi\n  title: T")
        .replace("bridge: virbr7", "bridge: virbr8");
    let bench = Bench::with(&(text + &vm("new", "runStrategy: Always", "management: Observe")));
    let before = bench.node.state();
    let said = bench.jvp(0, &["plan", "--detailed-exitcode"]);
    assert!(said.contains("note: Network/lan@host: Differs: it is only looked at"), "{said}");
    assert!(said.contains("it differs from its manifest: title: T"), "{said}");
    assert!(said.contains("note: VirtualMachine/new: Missing:"), "{said}");
    bench.jvp(0, &["apply", "-y"]);
    bench.jvp(0, &["delete", "-y"]);
    assert_eq!(format!("{before:?}"), format!("{:?}", bench.node.state()));
}

#[test]
fn what_is_only_created_is_left_alone_afterwards() {
    let bench = Bench::with(&vm("new", "runStrategy: Always", "management: CreateOnly"));
    bench.jvp(0, &["apply", "-y"]);
    let made = bench.node.state();
    assert!(made.domains["new"].power.is_some(), "it is started when it is made");
    bench.node.with(|state| state.guest_shuts_down("new"));
    bench.write(&vm("new", "runStrategy: Always\n  title: T", "management: CreateOnly"));
    let said = bench.jvp(0, &["plan", "--detailed-exitcode"]);
    assert!(said.contains("it is left as it is (lifecycle.management: CreateOnly), but"), "{said}");
    bench.jvp(0, &["apply", "-y"]);
    assert!(bench.node.state().domains["new"].power.is_none());
    bench.jvp(0, &["delete", "-y"]);
    assert!(!bench.node.state().domains.contains_key("new"), "what it made goes with it");
}

/// A VM without disks.
fn vm(name: &str, spec: &str, lifecycle: &str) -> String {
    format!(
        "---\napiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n  memory: 64Mi\n  {spec}\n\
         lifecycle: {{{lifecycle}}}\n"
    )
}

#[test]
fn an_ignored_field_is_used_at_creation_and_never_compared_again() {
    let bench = Bench::with(&vm("new", "runStrategy: Manual\n  title: A\n  description: B", "ignoreChanges: [/title]"));
    bench.jvp(0, &["apply", "-y"]);
    assert!(bench.node.state().domains["new"].inactive.contains("<title>A</title>"));
    // Changed, and taken out: neither is seen.
    bench.write(&vm("new", "runStrategy: Manual\n  title: Z\n  description: B", "ignoreChanges: [/title]"));
    bench.jvp(0, &["plan", "--detailed-exitcode"]);
    bench.write(&vm("new", "runStrategy: Manual", "ignoreChanges: [/title]"));
    bench.jvp(0, &["apply", "-y"]);
    let domain = bench.node.state().domains["new"].inactive.clone();
    assert!(domain.contains("<title>A</title>") && !domain.contains("<description>"), "{domain}");
    // It is compared again once the word is gone.
    bench.write(&vm("new", "runStrategy: Manual\n  title: Z", ""));
    let said = bench.jvp(0, &["plan"]);
    assert!(said.contains("~ title: A → Z"), "{said}");
    bench.write(&vm("new", "runStrategy: Manual", "ignoreChanges: [/runStrategy]"));
    let said = bench.jvp(6, &["plan"]);
    assert!(said.contains("it is jvp's own conduct"), "{said}");
}

#[test]
fn what_was_used_at_creation_is_refused_where_it_changes_and_kept_where_it_is_taken_out() {
    let object = |kind: &str, name: &str, spec: &str| {
        format!("---\napiVersion: jvp.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
    };
    let pools = ["one", "two"].map(|pool| object("StoragePool", pool, &format!("type: Dir, target: {{path: /srv/{pool}}}")));
    let ground = pools.concat() + &object("Volume", "base", "pool: one, capacity: 8Mi");
    let volume = |spec: &str| ground.clone() + &object("Volume", "data", spec);
    let linked = "pool: one, source: {volume: base}, libvirtName: kept.qcow2";
    let claim = |claim: &str| {
        ground.clone()
            + &object(
                "VirtualMachine",
                "mine",
                &format!("memory: 64Mi, runStrategy: Manual, disks: [{{name: root, claim: {{{claim}}}}}]"),
            )
    };
    let machine =
        |name: &str| ground.clone() + &object("VirtualMachine", "mine", &format!("memory: 64Mi, runStrategy: Manual{name}"));
    let network = |name: &str| ground.clone() + &object("Network", "own", &format!("mode: Isolated{name}"));
    // What is made, what its manifest becomes, and what is said of it; nothing where it may become that.
    let cases = [
        (volume(linked), volume(&linked.replace("pool: one", "pool: two")), "pool: one → two"),
        (volume(linked), volume(&linked.replace("kept", "other")), "libvirtName: kept.qcow2 → other.qcow2"),
        (volume(linked), volume(&linked.replace(", libvirtName: kept.qcow2", "")), ""),
        (volume(linked), volume(&(linked.to_owned() + ", clone: Full")), "clone: Linked → Full"),
        (volume(linked), volume(&(linked.to_owned() + ", clone: Linked")), ""),
        (
            volume("pool: one, capacity: 8Mi, libvirtName: a"),
            volume("pool: one, capacity: 8Mi, libvirtName: a, format: raw"),
            "format: qcow2 → raw",
        ),
        (volume(linked), volume("pool: one, capacity: 8Mi, libvirtName: kept.qcow2"), "source: Volume/base → none"),
        (volume("pool: one, capacity: 8Mi"), volume("pool: one, source: {volume: base}"), "source: none → Volume/base"),
        (claim("pool: one, capacity: 8Mi"), claim("pool: two, capacity: 8Mi"), "pool: one → two"),
        (claim("pool: one, capacity: 8Mi"), claim("pool: one, source: {volume: base}"), "source: none → Volume/base"),
        (machine(""), machine(", libvirtName: other"), "libvirtName: mine → other"),
        (machine(", libvirtName: other"), machine(""), ""),
        (network(""), network(", libvirtName: other"), "libvirtName: own → other"),
        (network(", libvirtName: other"), network(""), ""),
    ];
    for (made, changed, says) in cases {
        let bench = Bench::with(&made);
        bench.jvp(0, &["apply", "-y"]);
        let before = bench.node.state();
        bench.write(&changed);
        if says.is_empty() {
            bench.jvp(0, &["plan", "--detailed-exitcode"]);
        } else {
            let said = bench.jvp(6, &["apply", "-y"]);
            assert!(said.contains(says) && said.contains("make a new object under another name"), "{said}");
        }
        assert_eq!(format!("{:?}", before.files), format!("{:?}", bench.node.state().files));
        assert_eq!(unmarked(&before), unmarked(&bench.node.state()));
    }
    // A file that somebody moved by hand is found where it is now.
    let bench = Bench::with(&volume("pool: one, capacity: 8Mi"));
    bench.jvp(0, &["apply", "-y"]);
    bench.node.with(|state| {
        let file = state.files.remove("/srv/one/data.qcow2").unwrap();
        state.files.insert("/srv/one/moved.qcow2".into(), file);
        let pool = state.pools.get_mut("one").unwrap();
        let known = pool.known.remove("data.qcow2").unwrap();
        pool.known.insert("moved.qcow2".into(), known);
    });
    bench.write(&volume("pool: one, capacity: 8Mi, libvirtName: moved.qcow2"));
    bench.jvp(0, &["plan", "--detailed-exitcode"]);
}

/// A pool, a network and a VM with a claim, whose names end so.
fn trio(pool: &str, network: &str, machine: &str, renamed: bool) -> String {
    let was = |name: &str| if renamed { format!("lifecycle: {{renamedFrom: {name}}}\n") } else { String::new() };
    let head = |kind: &str, name: &str| format!("---\napiVersion: jvp.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n");
    format!(
        "{}spec: {{type: Dir, target: {{path: /srv/one}}}}\n{}{}spec: {{mode: NAT, ips: [{{address: 10.9.0.1/24, dhcp: {{ranges: [{{start: 10.9.0.100, end: 10.9.0.200}}]}}}}]}}\n{}{}\
         spec:\n  memory: 64Mi\n  disks: [{{name: root, claim: {{pool: {pool}, capacity: 8Mi}}}}]\n  interfaces: [{{name: eth0, network: {network}, ip: 10.9.0.7}}]\n  \
         cloudInit: {{hostname: h, runCmd: [\"true\"]}}\n{}",
        head("StoragePool", pool),
        was("one"),
        head("Network", network),
        was("net"),
        head("VirtualMachine", machine),
        was("web1"),
    )
}

#[test]
fn a_new_name_moves_what_is_there_and_makes_nothing_anew() {
    let bench = Bench::with(&trio("one", "net", "web1", false));
    bench.jvp(0, &["apply", "-y"]);
    let before = bench.node.state();
    bench.write(&trio("two", "net2", "web2", true));
    let said = bench.jvp(0, &["plan"]);
    assert!(said.contains("~ VirtualMachine/web2 will be renamed on host"), "{said}");
    assert!(said.contains("Plan: 4 to rename."), "{said}");
    bench.jvp(0, &["apply", "-y"]);
    assert_eq!(unmarked(&before), unmarked(&bench.node.state()));
    let said = bench.jvp(0, &["plan", "--detailed-exitcode"]);
    assert!(said.starts_with("Nothing is to be done") && !said.contains("note"), "{said}");
    let listed = bench.jvp(0, &["get", "all", "-o", "name"]);
    assert!(listed.contains("web2") && !listed.contains("web1"), "{listed}");
    // The word may go once it was done.
    bench.write(&trio("two", "net2", "web2", false));
    let said = bench.jvp(0, &["plan", "--detailed-exitcode"]);
    assert!(said.starts_with("Nothing is to be done"), "{said}");
    // A new object of the old name is another one.
    bench.write(&(trio("two", "net2", "web2", false) + &vm("web1", "libvirtName: other", "")));
    bench.jvp(0, &["apply", "-y"]);
    bench.jvp(0, &["plan", "--detailed-exitcode"]);
    assert_ne!(bench.node.state().domains["other"].uuid, before.domains["web1"].uuid);
    // All of it can be taken down.
    bench.write(&trio("two", "net2", "web2", false));
    bench.jvp(0, &["delete", "-y", "--with-data"]);
    assert!(!bench.node.state().domains.contains_key("web1"));
}

#[test]
fn prune_takes_down_what_is_no_longer_declared_and_nothing_else() {
    let some = |names: &[&str]| names.iter().map(|name| vm(name, "runStrategy: Manual", "")).collect::<String>();
    let bench = Bench::with(&some(&["a", "b", "c"]));
    bench.jvp(0, &["apply", "-y"]);
    let foreign = format!("{:?} {:?}", bench.node.state().domains["web"], bench.node.state().networks);
    bench.write(&some(&["a", "b"]));
    let said = bench.jvp(0, &["plan", "--detailed-exitcode"]);
    assert!(said.contains("note: VirtualMachine/c: NotInManifests:"), "without the word it only says so: {said}");
    let said = bench.jvp(0, &["plan", "--prune"]);
    assert!(said.contains("- VirtualMachine/c will be deleted") && said.contains("it is no longer in the manifests"), "{said}");
    bench.jvp(0, &["apply", "-y", "--prune"]);
    let after = bench.node.state();
    assert!(!after.domains.contains_key("c") && after.domains.contains_key("a"));
    assert_eq!(foreign, format!("{:?} {:?}", after.domains["web"], after.networks));
    bench.jvp(0, &["plan", "--prune", "--detailed-exitcode"]);
}

#[test]
fn prune_needs_the_whole_set_and_asks_for_more_than_a_few() {
    let some = |names: &[&str]| names.iter().map(|name| vm(name, "runStrategy: Manual", "")).collect::<String>();
    let bench = Bench::with(&some(&["a", "b", "c"]));
    bench.jvp(0, &["apply", "-y"]);
    bench.write(&some(&["a"]));
    let said = bench.jvp(6, &["plan", "--prune", "-f", "all.yaml"]);
    assert!(said.contains("--prune needs the whole set"), "{said}");
    bench.jvp(64, &["plan", "--prune", "--target", "vm/a"]);
    let said = bench.jvp(6, &["apply", "-y", "--prune"]);
    assert!(said.contains("would delete 2 of 3 objects, and may delete 1 (--max-deletes 10%)"), "{said}");
    assert_eq!(bench.node.state().domains.len(), 5, "nothing was done");
    bench.write("");
    let said = bench.jvp(6, &["apply", "-y", "--prune", "--max-deletes", "100%"]);
    assert!(said.contains("--allow-empty-prune"), "{said}");
    // A set with a mistake in it is never pruned by.
    fs::write(bench.place.path("checkout").join("bad.yaml"), "kind: Nonsense\n").unwrap();
    bench.jvp(3, &["apply", "-y", "--prune", "--max-deletes", "100%", "--allow-empty-prune"]);
    fs::remove_file(bench.place.path("checkout").join("bad.yaml")).unwrap();
    assert_eq!(bench.node.state().domains.len(), 5);
    bench.jvp(0, &["apply", "-y", "--prune", "--max-deletes", "100%", "--allow-empty-prune"]);
    assert_eq!(bench.node.state().domains.len(), 2);
}

#[test]
fn prune_keeps_what_is_to_be_kept() {
    let pool = "---\napiVersion: jvp.dev/v1alpha1\nkind: StoragePool\nmetadata: {name: one}\nspec: {type: Dir, target: {path: /srv/one}}\n";
    let machine = "---\napiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: keep}\nspec:\n  memory: 64Mi\n  runStrategy: Manual\n  \
                   disks: [{name: root, claim: {pool: one, capacity: 8Mi}}]\n";
    let bench = Bench::with(&format!("{pool}{machine}lifecycle: {{preventDestroy: true}}\n"));
    bench.jvp(0, &["apply", "-y"]);
    bench.write(pool);
    let said = bench.jvp(6, &["apply", "-y", "--prune"]);
    assert!(said.contains("said `lifecycle.preventDestroy: true` when it was last applied"), "{said}");
    bench.write(&format!("{pool}{machine}"));
    bench.jvp(0, &["apply", "-y"]);
    bench.write(pool);
    bench.jvp(0, &["apply", "-y", "--prune"]);
    let state = bench.node.state();
    assert!(
        !state.domains.contains_key("keep") && state.files.keys().any(|path| path.ends_with("keep.root.qcow2")),
        "its data is kept"
    );
    // What only a mark tells of may have been protected.
    bench.write(&format!("{pool}{machine}"));
    bench.jvp(0, &["apply", "-y"]);
    bench.lose_ledger();
    bench.write(pool);
    let said = bench.jvp(6, &["apply", "-y", "--prune"]);
    assert!(said.contains("only its mark tells of it"), "{said}");
}

#[test]
fn a_vm_that_is_to_be_kept_stays_with_its_disks_and_is_taken_back() {
    let ground = "---\napiVersion: jvp.dev/v1alpha1\nkind: StoragePool\nmetadata: {name: one}\nspec: {type: Dir, target: {path: /srv/one}}\n";
    let kept = vm(
        "kept",
        "disks: [{name: root, claim: {pool: one, capacity: 8Mi}}]\n  cloudInit: {hostname: kept}",
        "reclaimPolicy: Retain",
    );
    let bench = Bench::with(&(ground.to_owned() + &kept));
    bench.jvp(0, &["apply", "-y"]);
    let before = bench.node.state();
    let said = bench.jvp(0, &["delete", "-y", "--with-data", "VM/kept"]);
    assert!(said.contains("it stays as it is (reclaimPolicy: Retain)"), "{said}");
    assert_eq!(unmarked(&before), unmarked(&bench.node.state()));
    assert_eq!(before.domains["kept"].power, bench.node.state().domains["kept"].power);
    bench.jvp(0, &["apply", "-y"]);
    bench.jvp(0, &["plan", "--detailed-exitcode"]);
    // As well where its manifest is gone.
    bench.write(ground);
    bench.jvp(0, &["apply", "-y", "--prune"]);
    bench.jvp(0, &["plan", "--prune", "--detailed-exitcode"]);
    assert_eq!(unmarked(&before), unmarked(&bench.node.state()));
    bench.write(&(ground.to_owned() + &kept));
    bench.jvp(0, &["apply", "-y"]);
    bench.jvp(0, &["plan", "--detailed-exitcode"]);
    assert_eq!(unmarked(&before), unmarked(&bench.node.state()));
    // Without the word it goes.
    bench.write(&(ground.to_owned() + &kept.replace("reclaimPolicy: Retain", "")));
    bench.jvp(0, &["delete", "-y", "--with-data", "VM/kept"]);
    let state = bench.node.state();
    assert!(!state.domains.contains_key("kept") && !state.files.keys().any(|path| path.contains("kept")), "{:?}", state.files);
}

#[test]
fn a_vm_that_looks_like_one_that_goes_is_asked_about() {
    let machine = |name: &str| {
        format!(
            "---\napiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n  memory: 64Mi\n  runStrategy: Manual\n  \
             disks: [{{name: root, claim: {{pool: one, capacity: 8Mi}}}}]\n"
        )
    };
    let pool = "---\napiVersion: jvp.dev/v1alpha1\nkind: StoragePool\nmetadata: {name: one}\nspec: {type: Dir, target: {path: /srv/one}}\n";
    let bench = Bench::with(&(pool.to_owned() + &machine("first")));
    bench.jvp(0, &["apply", "-y"]);
    bench.write(&(pool.to_owned() + &machine("second")));
    let said = bench.jvp(6, &["apply", "-y", "--prune"]);
    assert!(said.contains("is it VirtualMachine/first under a new name?") && said.contains("renamedFrom: first"), "{said}");
    assert!(bench.node.state().domains.contains_key("first") && !bench.node.state().domains.contains_key("second"));
    // Either word will do.
    bench.write(&(pool.to_owned() + &machine("second") + "lifecycle: {renamedFrom: first}\n"));
    bench.jvp(0, &["apply", "-y", "--prune"]);
    assert!(
        bench.node.state().domains.contains_key("first") && !bench.node.state().domains.contains_key("second"),
        "one VM, and its name in libvirt stays"
    );
    bench.write(&(pool.to_owned() + &machine("third")));
    bench.jvp(6, &["apply", "-y", "--prune"]);
    bench.jvp(0, &["apply", "-y", "--prune", "--replace", "vm/third"]);
    assert!(!bench.node.state().domains.contains_key("first") && bench.node.state().domains.contains_key("third"));
}

#[test]
fn a_network_that_is_not_to_run_is_stopped_and_stays_so() {
    let network = |running: &str| {
        format!("---\napiVersion: jvp.dev/v1alpha1\nkind: Network\nmetadata: {{name: off}}\nspec: {{mode: Isolated{running}}}\n")
    };
    let bench = Bench::with(&network(", running: false"));
    bench.jvp(0, &["apply", "-y"]);
    assert!(bench.node.state().networks["off"].live.is_none());
    bench.jvp(0, &["plan", "--detailed-exitcode"]);
    bench.write(&network(""));
    bench.jvp(0, &["apply", "-y"]);
    assert!(bench.node.state().networks["off"].live.is_some());
    bench.write(&network(", running: false"));
    let said = bench.jvp(0, &["apply", "-y"]);
    assert!(said.contains("Network/off@host will be stopped"), "{said}");
    bench.jvp(0, &["plan", "--detailed-exitcode"]);
    assert!(bench.node.state().networks["off"].live.is_none());
}

#[test]
fn an_export_is_adopted_and_says_no_secret() {
    let bench = Bench::with("");
    bench.node.with(|state| {
        let screen = "<graphics type='vnc' port='-1' autoport='yes' passwd='CANARY'/></devices>";
        let text = state.domains["web"].inactive.replace("</devices>", screen);
        state.domain_define(&text, false).unwrap();
    });
    let before = bench.node.state();
    let said = bench.jvp(0, &["export", "--all", "-o", "there"]);
    assert!(said.starts_with("6 manifests were written"), "{said}");
    let text = fs::read_to_string(bench.place.path("checkout").join("there/virtualmachine-web.yaml")).unwrap();
    assert!(!text.contains("CANARY") && text.contains("its VNC password (sensitive)"), "{text}");
    for part in ["runStrategy: Manual", "volume: web-disk", "network: lan", "cache=\"none\"", "adopt: true"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let said = bench.jvp(0, &["plan"]);
    assert!(said.contains("Plan: 6 to adopt."), "{said}");
    bench.jvp(0, &["apply", "-y"]);
    bench.jvp(0, &["plan", "--detailed-exitcode"]);
    assert_eq!(unmarked(&before), unmarked(&bench.node.state()));
    // By name, and to standard output; what is jvp's already isn't exported.
    let other = Bench::with("");
    let said = other.jvp(0, &["export", "vm/Data Base"]);
    assert_eq!(said.matches("kind: ").count(), 4, "with what it uses: {said}");
    other.jvp(1, &["export", "vm/nobody"]);
    other.jvp(64, &["export"]);
    let said = bench.jvp(1, &["export", "vm/web"]);
    assert!(said.contains("that isn't jvp's already"), "{said}");
}

/// Kills jvp at each fail point in turn; the next run ends as one that nobody killed.
fn killed_everywhere(before: &str, wanted: &str, arguments: &[&str]) {
    let start = || {
        let bench = Bench::new();
        if !before.is_empty() {
            bench.write(before);
            bench.jvp(0, &["apply", "-y"]);
        }
        bench.write(wanted);
        bench
    };
    let clean = start();
    clean.jvp(0, arguments);
    // Which state directory wrote last is no part of it.
    let unsigned = |text: &String| {
        let mut parts = text.split(" writer=");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| all + &part[38..])
    };
    let end = |bench: &Bench| {
        let state = bench.node.state();
        let domains = state.domains.values().map(|domain| unsigned(&domain.inactive));
        let networks = state.networks.values().map(|network| unsigned(&network.inactive));
        (unmarked(&state), domains.chain(networks).collect::<Vec<_>>())
    };
    let wanted = end(&clean);
    let listed = clean.jvp(0, &["get", "all", "-o", "name"]);
    for point in 1.. {
        let bench = start();
        let mut command = bench.place.command(env!("CARGO_BIN_EXE_jvp"));
        let killed = command.args(arguments).env("JVP_FAILPOINT", format!("journal:{point}:kill")).output().unwrap();
        if killed.status.success() {
            assert!(point > 8, "only {point} fail points");
            return;
        }
        let said = bench.jvp(0, arguments);
        assert_eq!(end(&bench), wanted, "killed at point {point}: {said}");
        bench.jvp(0, &["plan", "--detailed-exitcode"]);
        assert_eq!(listed, bench.jvp(0, &["get", "all", "-o", "name"]), "killed at point {point}");
    }
}

#[test]
fn an_adoption_survives_a_kill_anywhere() {
    killed_everywhere("", &manifests("adopt: true"), &["apply", "-y", "--parallelism", "1"]);
}

#[test]
fn a_new_name_survives_a_kill_anywhere() {
    killed_everywhere(
        &trio("one", "net", "web1", false),
        &trio("two", "net2", "web2", true),
        &["apply", "-y", "--parallelism", "1"],
    );
}

#[test]
fn a_prune_survives_a_kill_anywhere() {
    let pool = "---\napiVersion: jvp.dev/v1alpha1\nkind: StoragePool\nmetadata: {name: one}\nspec: {type: Dir, target: {path: /srv/one}}\n";
    let machine = "---\napiVersion: jvp.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {name: goes}\nspec:\n  memory: 64Mi\n  \
                   disks: [{name: root, claim: {pool: one, capacity: 8Mi}}]\n  cloudInit: {hostname: h}\n";
    killed_everywhere(&format!("{pool}{machine}"), pool, &["apply", "-y", "--prune", "--parallelism", "1"]);
}

#[test]
fn labels_choose_what_is_planned_applied_and_deleted() {
    let labelled = |name: &str, label: &str| {
        vm(name, "runStrategy: Manual", "")
            .replace(&format!("{{name: {name}}}"), &format!("{{name: {name}, labels: {{app: {label}}}}}"))
    };
    let bench = Bench::with(&(labelled("a", "web") + &labelled("b", "db") + &vm("c", "runStrategy: Manual", "")));
    let said = bench.jvp(0, &["plan", "-l", "app=web"]);
    assert!(said.contains("VirtualMachine/a will be created") && said.contains("Plan: 1 to create"), "{said}");
    bench.jvp(0, &["apply", "-y", "-l", "app in (web,db)"]);
    let there = |bench: &Bench| bench.node.state().domains.into_keys().filter(|name| name.len() == 1).collect::<String>();
    assert_eq!(there(&bench), "ab");
    bench.jvp(0, &["delete", "-y", "-l", "app=db"]);
    assert_eq!(there(&bench), "a");
    let said = bench.jvp(1, &["plan", "-l", "app=nothing"]);
    assert!(said.contains("nothing has labels such as `app=nothing`"), "{said}");
    bench.jvp(64, &["plan", "-l", "app=(", "-f", "."]);
    bench.jvp(64, &["plan", "-l", "app=web", "--target", "vm/a"]);
}

#[test]
fn a_plan_looks_into_the_pools_again_only_when_asked_to() {
    let bench = Bench::with(
        "---\napiVersion: jvp.dev/v1alpha1\nkind: StoragePool\nmetadata: {name: one}\nspec: {type: Dir, target: {path: /srv/one}}\n\
         ---\napiVersion: jvp.dev/v1alpha1\nkind: Volume\nmetadata: {name: first}\nspec: {pool: one, capacity: 8Mi}\n",
    );
    bench.jvp(0, &["apply", "-y"]);
    let text = fs::read_to_string(bench.place.path("checkout").join("all.yaml")).unwrap();
    let more = "---\napiVersion: jvp.dev/v1alpha1\nkind: Volume\nmetadata: {name: second}\nspec: {pool: one, capacity: 8Mi}\n";
    fs::write(bench.place.path("checkout").join("all.yaml"), text + more).unwrap();
    bench.node.with(|state| {
        let file = state.files["/srv/one/first.qcow2"].clone();
        state.files.insert("/srv/one/second.qcow2".into(), file);
    });
    let said = bench.jvp(0, &["plan"]);
    assert!(said.contains("Volume/second will be created"), "{said}");
    let said = bench.jvp(6, &["plan", "--refresh"]);
    assert!(said.contains("a file `second.qcow2` is in the pool `one` that jvp didn't make"), "{said}");
}
