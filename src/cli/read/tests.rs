//! A small world, and what is told of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::manifest::{Metadata, Spec, VirtualMachineSpec};
use crate::observe::{NodeState, RawDomain, RawLease, RawNetwork, RawNode, RawPool, RawVolume};
use crate::plan::{Entry, Note, Owned, VolumeRecord};
use crate::resolve::{Desired, DesiredNode, Wanted};
use uuid::Uuid;

const DOMAIN: &str = "<domain type='kvm'><name>web-1</name><uuid>UUID</uuid><memory unit='KiB'>2097152</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/p/web-1.root.qcow2'/>
<target dev='vda' bus='virtio'/><alias name='ua-disk-root'/></disk>
<interface type='network'><mac address='52:54:00:00:00:01'/><source network='lan'/><model type='virtio'/>
<alias name='ua-nic-lan'/></interface>
<graphics type='vnc' passwd='canary' listen='127.0.0.1'/></devices></domain>";
const NETWORK: &str = "<network><name>lan</name><uuid>UUID</uuid><forward mode='nat'/><bridge name='jvlan'/>
<ip address='10.10.0.1' netmask='255.255.255.0'/></network>";
const POOL: &str = "<pool type='dir'><name>default</name><uuid>UUID</uuid><capacity unit='bytes'>107374182400</capacity>
<allocation unit='bytes'>36507222016</allocation><available unit='bytes'>70866960384</available>
<target><path>/p</path></target></pool>";
const VOLUME: &str = "<volume type='file'><name>web-1.root.qcow2</name><capacity unit='bytes'>21474836480</capacity>
<allocation unit='bytes'>343932928</allocation><target><path>/p/web-1.root.qcow2</path><format type='qcow2'/></target></volume>";

fn fleet() -> Uuid {
    Uuid::from_u128(7)
}

fn object(text: &str) -> ObjectRef {
    text.parse().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn entry(text: &str, libvirt_name: &str) -> Entry {
    let object = object(text);
    Entry {
        uid: object.uid(fleet()),
        object,
        node: Some(name("a")),
        libvirt_uuid: None,
        libvirt_name: libvirt_name.into(),
        last: ["/memory".to_owned()].into(),
        labels: BTreeMap::new(),
        reclaim: None,
        prevent_destroy: false,
        values: BTreeMap::new(),
        released: false,
        rebuilt: false,
        unfinished: false,
        created_at: "2024-05-08T11:00:00Z".into(),
        volume: None,
        template: None,
        secrets: BTreeMap::new(),
        seed_digest: None,
        fragment_digest: None,
        fragment: std::collections::BTreeMap::new(),
        tried_vcpus: None,
        reservations: BTreeMap::new(),
        last_off_reason: None,
        restarting: false,
        mark_due: false,
    }
}

fn vm(text: &str, node: &str, memory: &str) -> Wanted {
    let object = object(text);
    let spec = VirtualMachineSpec { memory: memory.parse().ok(), ..VirtualMachineSpec::default() };
    Wanted {
        uid: object.uid(fleet()),
        libvirt_name: object.name.to_string(),
        node: Some(name(node)),
        object,
        spec: Arc::new(Spec::VirtualMachine(Box::new(spec))),
        now: Arc::default(),
        metadata: Arc::new(Metadata { labels: [("app".to_owned(), "web".to_owned())].into(), ..Metadata::of(name("web")) }),
        reclaim: crate::manifest::ReclaimPolicy::Delete,
        prevent_destroy: false,
        lifecycle: crate::manifest::Lifecycle::default(),
        references: Vec::new(),
        origin: "vm.yaml:3:9".into(),
        folder: ".".into(),
        implied_by: None,
    }
}

struct World {
    desired: Desired,
    observed: Observed,
    owned: Owned,
    plan: Plan,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            desired: Desired { fleet: fleet(), ..Desired::default() },
            observed: Observed::default(),
            owned: Owned::default(),
            plan: Plan::default(),
        };
        for (node, uri) in [("a", "qemu:///system"), ("b", "qemu+ssh://root:canary@b/system")] {
            let node_wanted = DesiredNode { uri: uri.into(), unschedulable: false, accelerator: None, implied: false };
            world.desired.nodes.insert(name(node), node_wanted);
        }
        for wanted in [vm("vm/web-1", "a", "4Gi"), vm("vm/web-2", "a", "1Gi"), vm("vm/web-3", "b", "1Gi")] {
            world.desired.objects.insert(wanted.object.clone(), wanted.into());
        }
        let mut root = entry("volume/web-1.root", "web-1.root.qcow2");
        root.volume = Some(VolumeRecord {
            pool: "default".into(),
            file: "web-1.root.qcow2".into(),
            path: "/p/web-1.root.qcow2".into(),
            format: "qcow2".into(),
            capacity: 20 << 30,
            backing: None,
            source: Some("Template/debian-12".into()),
            owner: Some(object("vm/web-1")),
        });
        root.released = true;
        for entry in [
            entry("vm/web-1", "web-1"),
            entry("vm/old", "old"),
            root,
            entry("net/lan@a", "lan"),
            entry("pool/default@a", "default"),
        ] {
            world.owned.entries.insert(entry.object.clone(), entry.into());
        }
        world.observed.nodes.insert(name("a"), NodeView::Reached(Box::new(node())));
        let denied = NodeView::Unreachable { message: "no route to host".into(), denied: false };
        world.observed.nodes.insert(name("b"), denied);
        let message = "its next start changes memory".into();
        world.plan.notes.push(Note { object: object("vm/web-1"), condition: "RestartRequired".into(), message });
        world
    }

    fn view(&self) -> View<'_> {
        View {
            documents: &[],
            desired: &self.desired,
            observed: &self.observed,
            owned: &self.owned,
            plan: &self.plan,
            now: "2024-05-10T12:00:00Z".parse().unwrap(),
            bare: false,
        }
    }

    fn get(&self, words: &[&str], format: ReadFormat) -> String {
        let view = self.view();
        let all = item::items(&view);
        let what = select::parse(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()).unwrap();
        let items = chosen(&all, &what).unwrap();
        list(&view, &items, format, matches!(what.as_slice(), [What::Object(_)])).unwrap()
    }

    fn describe(&self, text: &str) -> String {
        self.described(text, &item::Kept::default())
    }

    fn described(&self, text: &str, kept: &item::Kept) -> String {
        let view = self.view();
        let all = item::items(&view);
        let item = all.iter().find(|item| item.object == object(text)).unwrap();
        describe::render(&view, &Index::new(&view), item, kept)
    }
}

fn node() -> NodeState {
    let uid = |text: &str| object(text).uid(fleet());
    let with = |xml: &str, uuid: Uuid| xml.replace("UUID", &uuid.to_string());
    let domain = with(DOMAIN, uid("vm/web-1"));
    NodeState::read(RawNode {
        pools: vec![RawPool {
            name: "default".into(),
            uuid: uid("pool/default@a"),
            active: true,
            autostart: true,
            persistent: true,
            xml: with(POOL, uid("pool/default@a")),
            volumes: Some(vec![RawVolume { name: "web-1.root.qcow2".into(), xml: VOLUME.into() }]),
        }],
        networks: vec![RawNetwork {
            name: "lan".into(),
            uuid: uid("net/lan@a"),
            active: true,
            autostart: true,
            persistent: true,
            inactive: with(NETWORK, uid("net/lan@a")),
            live: None,
            ports: None,
            leases: vec![RawLease { mac: "52:54:00:00:00:01".into(), ip: "10.10.0.21".into(), hostname: Some("web-1".into()) }],
        }],
        domains: vec![RawDomain {
            autostart: true,
            ..RawDomain::of_test("web-1", uid("vm/web-1"), &domain, Some(&domain.replace("2097152", "1048576")))
        }],
        ..RawNode::default()
    })
}

#[test]
fn vms_show_where_they_are_and_how() {
    let world = World::new();
    assert_eq!(
        world.get(&["vms"], ReadFormat::Table),
        "\
NAME    NODE   STATE     ADDRESS      AGE
old     a      Missing   -            2d
web-1   a      Running   10.10.0.21   2d
web-2   a      Missing   -            -
web-3   b      Unknown   -            -
"
    );
    assert_eq!(
        world.get(&["vm", "web-1"], ReadFormat::Wide),
        "\
NAME    NODE   STATE     ADDRESS      AGE   CPU   MEMORY   TEMPLATE    STRATEGY   CONDITIONS
web-1   a      Running   10.10.0.21   2d    2     1Gi      debian-12   Always     RestartRequired
"
    );
    assert_eq!(
        world.get(&["vm/old"], ReadFormat::Wide).lines().nth(1),
        Some("old    a      Missing   -         2d    -     -        -          -          NotDeclared")
    );
}

#[test]
fn other_kinds_have_their_columns() {
    let world = World::new();
    assert_eq!(
        world.get(&["pools"], ReadFormat::Table),
        "\
NAME      NODE   STATE     CAPACITY   USED   PATH
default   a      Running   100Gi      34%    /p
"
    );
    assert_eq!(
        world.get(&["networks"], ReadFormat::Table),
        "\
NAME   NODE   STATE     MODE   SUBNET         BRIDGE   GUESTS
lan    a      Running   NAT    10.10.0.0/24   jvlan    1
"
    );
    assert_eq!(
        world.get(&["volumes"], ReadFormat::Wide),
        "\
NAME         NODE   POOL      FORMAT   CAPACITY   ALLOCATION   SOURCE               USED-BY   STATE      FILE               AGE   CONDITIONS
web-1.root   a      default   qcow2    20Gi       328Mi        Template/debian-12   web-1     Released   web-1.root.qcow2   2d    -
"
    );
    assert_eq!(
        world.get(&["nodes"], ReadFormat::Table),
        "\
NAME   STATE     URI                                    LIBVIRT   ARCH   KVM   VMS
a      Ready     qemu:///system                         -         -      no    0
b      Unknown   qemu+ssh://root:(sensitive)@b/system   -         -      -     -
"
    );
}

#[test]
fn several_kinds_stand_in_tables_of_their_own() {
    let text = World::new().get(&["vm/web-2", "pools"], ReadFormat::Table);
    assert_eq!(
        text,
        "\
NAME                  NODE   STATE     CAPACITY   USED   PATH
StoragePool/default   a      Running   100Gi      34%    /p

NAME                   NODE   STATE     ADDRESS   AGE
VirtualMachine/web-2   a      Missing   -         -
"
    );
}

#[test]
fn one_object_stands_by_itself_and_several_in_a_list() {
    let world = World::new();
    let one: serde_json::Value = serde_json::from_str(&world.get(&["vm/web-1"], ReadFormat::Json)).unwrap();
    assert_eq!(one["kind"], "VirtualMachine");
    assert_eq!(one["spec"]["memory"], "4Gi");
    assert_eq!(one["status"]["state"], "Running");
    assert_eq!(one["status"]["addresses"][0], "10.10.0.21");
    assert_eq!(one["status"]["conditions"][0]["type"], "RestartRequired");
    let all: serde_json::Value = serde_yaml::from_str(&world.get(&["vms"], ReadFormat::Yaml)).unwrap();
    assert_eq!((&all["kind"], all["items"].as_array().unwrap().len()), (&"List".into(), 4));
    assert_eq!(world.get(&["pools", "networks"], ReadFormat::Name), "StoragePool/default@a\nNetwork/lan@a\n");
    for format in [ReadFormat::Json, ReadFormat::Yaml, ReadFormat::Wide] {
        assert!(!world.get(&["all"], format).contains("canary"));
    }
}

#[test]
fn a_node_out_of_reach_is_said_where_it_matters() {
    let world = World::new();
    let view = world.view();
    let all = item::items(&view);
    let said = |text: &str| {
        let what = select::parse(&[text.to_owned()]).unwrap();
        unreached(view.observed, &chosen(&all, &what).unwrap())
    };
    assert_eq!(said("vms"), "error: Node/b: no route to host\n");
    assert_eq!(said("pools"), "");
    let what = [What::Object(object("vm/web-11"))];
    assert_eq!(chosen(&all, &what).err().unwrap().help, ["did you mean VirtualMachine/web-1?"]);
}

#[test]
fn a_reservation_stands_in_parentheses_until_there_is_an_address() {
    let mut world = World::new();
    let reservations = [("Network/lan@a".to_owned(), "52:54:00:00:00:01 10.10.0.50".to_owned())];
    world.owned.entry_mut(&object("vm/old")).unwrap().reservations = reservations.into();
    assert!(world.get(&["vm/old"], ReadFormat::Table).contains("(10.10.0.50)"));
}

#[test]
fn a_description_tells_fields_that_differ() {
    let world = World::new();
    let text = world.describe("vm/web-1");
    assert_eq!(
        text.replace(&object("vm/web-1").uid(fleet()).to_string(), "UID"),
        "\
VirtualMachine/web-1

Identity
  uid               UID
  name in libvirt   web-1
  UUID in libvirt   UID
  labels            app=web
  declared at       vm.yaml:3:9
Where
  node    a
  state   Running
Spec
  memory   4Gi   defined: 2Gi   running: 1Gi
Power
  strategy    Always
  autostart   yes
  machine     pc-q35-7.2
  runs by     kvm
  template    debian-12
  VNC         127.0.0.1:auto
  addresses   10.10.0.21
Disks
  root   vda   virtio   qcow2   /p/web-1.root.qcow2   Volume/web-1.root
Interfaces
  lan   52:54:00:00:00:01   lan   virtio      10.10.0.21
Pending until its next start
  memory
Conditions
  RestartRequired   its next start changes memory
Inventory
  since            2024-05-08T11:00:00Z (2d ago)
  managed fields   memory
"
    );
    for object in ["volume/web-1.root", "pool/default@a", "net/lan@a", "node/a", "node/b", "vm/old"] {
        let text = world.describe(object);
        assert!(text.contains("Where\n") && !text.contains("canary"), "{text}");
    }
}
