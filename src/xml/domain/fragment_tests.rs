//! The rules of the escape hatch, one by one.

use std::collections::BTreeSet;

use super::*;

const FOREIGN: &str = include_str!("../../../tests/golden/xml/foreign-inactive.xml");

fn fragment(text: &str) -> Fragment {
    parse_fragment(text).expect("a fragment")
}

fn refused(text: &str, words: &str, at: (u32, u32)) {
    let error = parse_fragment(text).expect_err("refused");
    assert!(error.message.contains(words), "{error}");
    assert_eq!(error.at, Some(at), "{error}");
}

#[test]
fn what_a_fragment_may_not_say_is_refused_with_its_place() {
    refused("<domain>\n  <uuid>x</uuid>\n</domain>", "identity", (2, 3));
    refused("<domain>\n  <name>x</name>\n</domain>", "identity", (2, 3));
    refused("<network/>", "not <domain>", (1, 1));
    refused("<domain>\n<cpu :mode='x'/></domain>", "begin with a colon", (2, 1));
    refused("<domain>\n<:cpu/></domain>", "begin with a colon", (2, 1));
    refused("<domain>\n<cpu></domain>", "", (2, 6));
    refused("<!DOCTYPE d [<!ENTITY e 'x'>]><domain>&e;</domain>", "DTD", (1, 1));
    refused("<domain><title>&e;</title></domain>", "entities", (1, 16));
    refused("<domain><devices>\n<disk><driver cache='none'/></disk></devices></domain>", "target's `dev`", (2, 1));
    refused("<domain><devices>\n <rng model='virtio'/></devices></domain>", "alias", (2, 2));
    refused("<domain><devices><rng>\n<alias name='mine'/></rng></devices></domain>", "`ua-`", (2, 1));
    refused("<domain><devices><rng>\n<alias name='ua-seed'/></rng></devices></domain>", "jvp's own", (2, 1));
    refused("<domain><metadata>\n<x/></metadata></domain>", "namespace", (2, 1));
    refused(
        "<domain><metadata>\n<j:object xmlns:j='https://jvp.dev/xml/object/1'/></metadata></domain>",
        "ownership mark",
        (2, 1),
    );
    let twice = |what: &str| format!("<domain xmlns:jvp='https://jvp.dev/xml/1'><devices>{what}</devices></domain>");
    refused(&twice("<controller type='pci' model='a'/>\n<controller type='pci' index='0'/>"), "0 where none", (2, 1));
    refused(&twice("<disk jvp:remove='true'><target dev='vda'/></disk>\n<disk><target dev='vda'/></disk>"), "disk[vda]", (2, 1));
    refused(&twice("<memballoon model='none'/>\n<memballoon/>"), "/xml/devices/memballoon", (2, 1));
    refused(
        &twice("<controller type='usb' index='0'/>\n<controller type='usb' index='0' model='ich9-uhci1'/>"),
        "by hand",
        (2, 1),
    );
    for key in ["<target dev='vda' jvp:remove='true'/>", "<alias name='ua-x' jvp:remove='true'/>"] {
        refused(&twice(&format!("<disk><driver/>\n{key}</disk>")), "known by its <", (2, 1));
    }
    for name in ["devices", "os", "cpu", "memory"] {
        refused(&format!("<domain><{name}/>\n<{name}/></domain>"), "a domain has one", (2, 1));
    }
    refused("<domain><clock><timer name='rtc'/>\n<timer name='rtc' track='guest'/></clock></domain>", "timer[rtc]", (2, 1));
    refused("<domain>\n<clock>text<timer name='x'/></clock></domain>", "text beside", (2, 1));
    refused("<domain>\n<on_crash jvp:remove='true'/></domain>", "declare xmlns:jvp", (2, 11));
    refused("<domain xmlns:jvp='https://jvp.dev/xml/1'>\n<on_crash jvp:remove='yes'/></domain>", "only be 'true'", (2, 1));
    refused("<domain xmlns:jvp='https://jvp.dev/xml/1'>\n<on_crash jvp:removed='true'/></domain>", "no jvp:removed", (2, 1));
    refused("<domain xmlns:jvp='https://jvp.dev/xml/1'>\n<jvp:remove/></domain>", "no <jvp:remove>", (2, 1));
    refused("<domain xmlns:jvp='https://jvp.dev/xml/0'>\n<on_crash jvp:remove='true'/></domain>", "xmlns:jvp='https", (1, 1));
    refused("<domain xmlns:j='https://jvp.dev/xml/1'>\n<on_crash j:remove='true'/></domain>", "xmlns:jvp='https", (1, 1));
}

#[test]
fn a_fragment_is_merged_by_keys_and_removes_only_what_it_says() {
    let text = "<domain xmlns:jvp='https://jvp.dev/xml/1' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
      <!-- faster -->
      <memoryBacking><hugepages/></memoryBacking>
      <features><apic jvp:remove='true'/><pae/></features>
      <clock><timer name='rtc' track='guest'/><timer name='hpet' present='no'/></clock>
      <devices>
        <disk><target dev='vda'/><driver cache='writeback' io='threads'/></disk>
        <interface><mac address='52:54:00:0A:0B:04'/><driver name='vhost'/></interface>
        <controller type='pci' index='1'><model name='ioh3420'/></controller>
        <channel><target name='org.other.agent'/><address type='virtio-serial' port='2'/></channel>
        <rng model='virtio'><backend model='random'>/dev/random</backend><alias name='ua-rng2'/></rng>
        <memballoon model='none'/>
      </devices>
      <qemu:commandline><qemu:arg value='-set'/><qemu:arg value='x'/></qemu:commandline>
    </domain>";
    let f = fragment(text);
    let merged = merge(FOREIGN, &f).expect("merges");
    for part in [
        "<hugepages/>",
        "<timer name=\"rtc\" tickpolicy=\"catchup\" track=\"guest\"/>",
        "<timer name=\"hpet\" present=\"no\"/>",
        "<driver name=\"qemu\" type=\"qcow2\" cache=\"writeback\" io=\"threads\"/>",
        "<model name=\"ioh3420\"/>",
        "<memballoon model=\"none\">",
        "<alias name=\"ua-rng2\"/>",
        "<qemu:arg value=\"-set\"/>",
        "urn:other",
        "<smm state=\"on\"/>",
    ] {
        assert!(merged.contains(part), "{part} in {merged}");
    }
    for part in ["<apic", "-fw_cfg", "jvp:remove", "faster", "xmlns:jvp"] {
        assert!(!merged.contains(part), "{part} in {merged}");
    }
    assert_eq!(merged.matches("<interface ").count(), 2);
    assert_eq!(merge(&merged, &f).expect("merges"), merged, "a second time changes nothing");
    let (before, after) = (project(FOREIGN).expect("reads"), project(&merged).expect("reads"));
    assert_eq!(before.spec, after.spec);
    let values = read(&merged, &f).expect("reads");
    let told = |path: &String| path.trim_end_matches(REMOVED).to_owned();
    assert_eq!(values.keys().cloned().collect::<BTreeSet<_>>(), paths(&f).iter().map(told).collect());
    for (path, value) in &values {
        assert_eq!(value.wanted, value.found, "{path}");
    }
    assert_eq!(read(FOREIGN, &f).expect("reads")["/xml/memoryBacking/hugepages"].found, None);
    assert_eq!(read(FOREIGN, &f).expect("reads")["/xml/features/apic"].found.as_deref(), Some(""));
}

#[test]
fn what_is_taken_out_of_a_fragment_goes_with_the_elements_that_it_brought() {
    let f = fragment(
        "<domain><memoryBacking><hugepages/><nosharepages/></memoryBacking><devices><disk><target dev='vda'/><driver io='threads'/></disk>\
         <rng model='virtio'><backend model='random'>/dev/random</backend><alias name='ua-rng2'/></rng></devices></domain>",
    );
    let none = BTreeSet::new();
    let last = f.remembered(FOREIGN, &none).expect("reads");
    assert!(last.contains("/xml/devices/rng[ua-rng2]/+") && last.contains("/xml/memoryBacking/+"), "{last:?}");
    assert!(!last.iter().any(|path| path.ends_with("disk[vda]/+")));
    let merged = merge(FOREIGN, &f).expect("merges");
    assert_eq!(f.remembered(&merged, &last).expect("reads"), last, "what it brought stays known");
    // libvirt adds to what it is given.
    let merged = merged.replace("<alias name=\"ua-rng2\"/>", "<alias name=\"ua-rng2\"/><address type='pci' bus='0x09'/>");
    let less = fragment("<domain><memoryBacking><hugepages/></memoryBacking></domain>");
    let now = less.remembered(&merged, &last).expect("reads");
    let drop: BTreeSet<String> = last.difference(&now).cloned().collect();
    let text = merge_dropping(&merged, &less, &drop).expect("merges");
    assert!(text.contains("<hugepages/>") && !text.contains("nosharepages") && !text.contains("rng") && !text.contains("io="));
    let empty = fragment("<domain/>");
    let text = merge_dropping(&text, &empty, &now).expect("merges");
    assert_eq!(project(&text), project(FOREIGN));
    assert!(!text.contains("memoryBacking"));
}

#[test]
fn what_stands_where_a_leaf_was_is_told() {
    let stands = |inside: &str, path: &str| {
        let path = format!("/xml/{path}");
        !standing(&format!("<domain>{inside}</domain>"), [&path]).expect("reads").is_empty()
    };
    let features = "<features><acpi/><kvm><hidden state='on'/></kvm></features>";
    for (path, there) in [
        ("features/acpi", true),
        ("features/kvm", true),
        ("features/apic", false),
        ("features/kvm/hidden/@state", true),
        ("features/kvm/hidden/@other", false),
        ("os/kernel/#text", false),
    ] {
        assert_eq!(stands(features, path), there, "{path}");
    }
    let disk = "<devices><disk type='file'><target dev='vda'/><serial>by hand</serial><alias name='ua-root'/></disk></devices>";
    for (path, there) in [
        ("devices/disk[vda]", true),
        ("devices/disk[ua-root]", true),
        ("devices/disk[vdb]", false),
        ("devices/interface[vda]", false),
        ("devices/disk[vda]/serial/#text", true),
        ("devices/disk[vda]/target/#text", false),
    ] {
        assert_eq!(stands(disk, path), there, "{path}");
    }
    // In whatever words the document names its spaces.
    let command = "<q:commandline xmlns:q='urn:q'><q:env name='a'/></q:commandline><metadata><o:x xmlns:o='urn:o'/></metadata>";
    for (path, there) in [
        ("qemu:commandline", true),
        ("qemu:commandline/qemu:env[a]", true),
        ("qemu:commandline/qemu:env[]", false),
        ("metadata/x[urn:o]", true),
        ("metadata/o:x[urn:p]", false),
    ] {
        assert_eq!(stands(command, path), there, "{path}");
    }
    assert!(stands("<os><initarg>a</initarg></os>", "os/initarg[]"));
}

#[test]
fn a_mode_of_the_cpu_goes_with_what_libvirt_adds_for_it() {
    let document = "<domain><cpu mode='host-passthrough' check='none' migratable='on'><topology sockets='1'/></cpu></domain>";
    let drop = ["/xml/cpu/@mode".to_owned()].into();
    let text = merge_dropping(document, &fragment("<domain/>"), &drop).expect("merges");
    assert!(text.contains("<cpu>") && text.contains("topology"), "{text}");
    let text = merge(document, &fragment("<domain><cpu check='full' mode='custom'/></domain>")).expect("merges");
    assert!(text.contains("check=\"full\"") && text.contains("mode=\"custom\"") && !text.contains("migratable"), "{text}");
    let text = merge(document, &fragment("<domain><cpu mode='host-passthrough'/></domain>")).expect("merges");
    assert!(text.contains("migratable") && text.contains("check=\"none\""), "what is said again changes nothing: {text}");
}

#[test]
fn what_the_fragment_removes_is_remembered_as_none_of_its_own() {
    let f = fragment("<domain xmlns:jvp='https://jvp.dev/xml/1'><features><acpi jvp:remove='true'/></features></domain>");
    let last = ["/xml/features/acpi", "/xml/features/acpi/+"].map(str::to_owned).into();
    let now = f.remembered(FOREIGN, &last).expect("reads");
    assert_eq!(now, ["/xml/features/acpi/-".to_owned()].into());
}

#[test]
fn what_goes_takes_what_is_empty_then_along_but_no_device_and_no_other_of_its_name() {
    let drop = |inside: &str, paths: &[&str]| {
        let drop = paths.iter().map(|path| format!("/xml/{path}")).collect();
        merge_dropping(&format!("<domain>{inside}</domain>"), &fragment("<domain/>"), &drop).expect("merges")
    };
    let text = drop("<memtune><hard_limit>1</hard_limit></memtune><title>t</title>", &["memtune/hard_limit/#text"]);
    assert!(!text.contains("memtune") && text.contains("title"), "{text}");
    let controller = "<devices><controller type='usb' index='0' ports='8'/></devices>";
    let text = drop(controller, &["devices/controller[usb:0]/@ports"]);
    assert!(text.contains("<controller type=\"usb\" index=\"0\"/>"), "{text}");
    // A leaf of the first is gone with it, and is not sought in the second one.
    let two = "<cputune><cachetune vcpus='0'/><cachetune vcpus='1'/></cputune>";
    let text = drop(two, &["cputune/cachetune/+", "cputune/cachetune/@vcpus", "cputune/cachetune"]);
    assert!(text.contains("<cachetune vcpus=\"1\"/>") && !text.contains("vcpus=\"0\""), "{text}");
}

#[test]
fn fields_that_say_something_in_an_element_are_known() {
    let typed = |path: &str, field: &str| typed_within(path, &[field.to_owned()].into());
    assert!(typed("/xml/cpu", "/cpu/topology/cores") && typed("/xml/cpu", "/cpu/model"));
    assert!(!typed("/xml/cpu", "/cpu/count") && !typed("/xml/cpu/feature[vmx]", "/cpu/model"));
    assert!(typed("/xml/devices/disk[vda]/iotune", "/disks/root/limits/iops"));
    assert!(typed("/xml/devices/disk[vda]", "/disks/vda/bus") && !typed("/xml/devices/disk[vda]", "/disks/vdb/bus"));
    assert!(typed("/xml/devices", "/disks/root/name") && !typed("/xml/devices", "/memory"));
    assert!(is_identity("/xml/devices") && is_identity("/xml/devices/vsock") && is_identity("/xml/devices/rng[ua-x]/@model"));
    assert!(!is_identity("/xml/devices/redirdev[]") && !is_identity("/xml/cpu") && !is_identity("/xml/devices/vsock/cid"));
}

#[test]
fn an_element_with_nothing_but_its_key_goes_from_what_the_fragment_brought() {
    let f = fragment("<domain><iothreadids><iothread id='3'/><iothread id='5'/></iothreadids></domain>");
    let last = f.remembered(FOREIGN, &BTreeSet::new()).expect("reads");
    let merged = merge(FOREIGN, &f).expect("merges");
    let less = fragment("<domain><iothreadids><iothread id='3'/></iothreadids></domain>");
    let drop = last.difference(&less.remembered(&merged, &last).expect("reads")).cloned().collect();
    let text = merge_dropping(&merged, &less, &drop).expect("merges");
    assert!(text.contains("<iothread id=\"3\"/>") && !text.contains("<iothread id=\"5\"/>"), "{text}");
}

#[test]
fn a_leaf_that_a_typed_field_manages_is_a_conflict() {
    let f = fragment(
        "<domain><memory>1</memory>\n<cpu><topology sockets='1'/><feature name='vmx' policy='require'/></cpu>\
         <devices><disk><target dev='vda' bus='sata'/><driver cache='none'/></disk></devices></domain>",
    );
    let typed: BTreeSet<String> = ["/memory", "/cpu/count", "/disks/root/bus"].map(str::to_owned).into();
    let found: Vec<(String, String)> = f.conflicts(&typed).into_iter().map(|c| (c.path, c.typed)).collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        found,
        [pair("/xml/devices/disk[vda]/target/@bus", "/disks/root/bus"), pair("/xml/memory/#text", "/memory")],
        "the count of CPUs is not their topology"
    );
}

#[test]
fn secrets_in_a_fragment_do_not_show() {
    let f =
        fragment("<domain><devices><graphics type='spice' passwd='canary'><alias name='ua-s'/></graphics></devices></domain>");
    let told = format!("{f:?}");
    assert!(told.contains("graphics[ua-s]/@type") && told.contains("(sensitive)") && !told.contains("canary"), "{told}");
    assert!(!format!("{:?}", f.leaves()).contains("canary"));
    let values = read("<domain/>", &f).expect("reads");
    assert!(values["/xml/devices/graphics[ua-s]/@passwd"].sensitive && !format!("{values:?}").contains("canary"));
    assert!(format!("{values:?}").contains("Some(\"spice\") wanted, None found"), "{values:?}");
}

#[test]
fn an_element_with_layout_alone_is_an_empty_one() {
    let f = fragment("<domain><metadata><o:x xmlns:o='urn:o' a='1'> \n </o:x></metadata></domain>");
    let merged = merge("<domain/>", &f).expect("merges");
    assert_eq!(merge(&merged, &f).as_deref(), Ok(merged.as_str()));
}

#[test]
fn a_key_may_hold_a_slash() {
    let f = fragment("<domain><devices><channel><target name='a/b[c]'/><address port='1'/></channel></devices></domain>");
    let document = "<domain><devices><channel type='unix'><target type='virtio' name='a/b[c]'/></channel></devices></domain>";
    let merged = merge(document, &f).expect("merges");
    assert_eq!(merged.matches("<channel").count(), 1);
    let drop = paths(&f).into_iter().filter(|path| path.contains("address")).collect();
    let text = merge_dropping(&merged, &fragment("<domain/>"), &drop).expect("merges");
    assert!(!text.contains("address") && text.contains("a/b[c]"));
}

#[test]
fn a_secret_is_known_by_its_key_too() {
    let text = "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:commandline><qemu:env name='DB_PASSWORD' value='hunter2'/><qemu:env name='LANG' value='C'/></qemu:commandline></domain>";
    let fragment = parse_fragment(text).expect("reads");
    let sensitive: Vec<_> = fragment.leaves().iter().filter(|(_, leaf)| leaf.sensitive).map(|(path, _)| path.as_str()).collect();
    assert!(sensitive.len() == 1 && sensitive[0].contains("DB_PASSWORD"), "{sensitive:?}");
    assert!(!format!("{fragment:?}").contains("hunter2"));
}

#[test]
fn limits_of_a_disk_are_said_in_one_place_and_their_group_in_the_fragment() {
    let text = "<domain><devices><disk><target dev='vda'/><iotune><total_iops_sec>5</total_iops_sec><group_name>g</group_name>\
        </iotune></disk></devices></domain>";
    let fragment = parse_fragment(text).unwrap();
    let conflicts = |typed: &str| {
        let typed = [typed.to_owned()].into();
        fragment.conflicts(&typed).into_iter().map(|conflict| conflict.path).collect::<Vec<_>>()
    };
    assert_eq!(conflicts("/disks/root/limits/iops"), ["/xml/devices/disk[vda]/iotune/total_iops_sec/#text"]);
    assert_eq!(conflicts("/disks/vda/limits/iops"), ["/xml/devices/disk[vda]/iotune/total_iops_sec/#text"]);
    // Those of another disk, and what else a manifest says of this one.
    assert_eq!(conflicts("/disks/vdb/limits/iops"), [""; 0]);
    assert_eq!(conflicts("/disks/root/bus"), [""; 0]);
}

#[test]
fn a_list_stays_where_it_stands_and_takes_none_that_has_a_key() {
    let of =
        |inside: &str| format!("<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' type='kvm'>{inside}</domain>");
    let f = fragment(&of(
        "<qemu:commandline><qemu:arg value='-y'/><qemu:env name='a' value='1'/><qemu:env value='2'/></qemu:commandline>",
    ));
    let once = merge(&of("<qemu:commandline><qemu:arg value='-x'/><qemu:env name='b' value='3'/></qemu:commandline>"), &f)
        .expect("merges");
    assert_eq!(merge(&once, &f).expect("merges"), once);
    let place = |text: &str| once.find(text).unwrap_or_else(|| panic!("{text} in {once}"));
    assert!(place("value=\"-y\"") < place("name=\"b\"") && place("name=\"a\"") > 0 && !once.contains("-x"), "{once}");
    let without =
        merge_dropping(&once, &fragment("<domain/>"), &["/xml/qemu:commandline/qemu:env[]".to_owned()].into()).expect("merges");
    assert!(without.contains("name=\"b\"") && !without.contains("value=\"2\""), "{without}");
}

#[test]
fn what_is_merged_stands_in_the_namespace_that_it_was_written_in() {
    // Declared on an inner element, which the document has.
    let f = fragment("<domain><metadata xmlns:o='urn:o'><o:x><o:y/></o:x></metadata></domain>");
    let merged = merge("<domain><metadata><p:z xmlns:p='urn:p'/></metadata></domain>", &f).expect("merges");
    assert!(holds(&merged, &f) && merged.contains("urn:p"), "{merged}");
    // The document has it by a prefix, the fragment without.
    let f = fragment("<domain><metadata><x xmlns='urn:o'><y/></x></metadata></domain>");
    let merged = merge("<domain><metadata><o:x xmlns:o='urn:o'/></metadata></domain>", &f).expect("merges");
    assert!(holds(&merged, &f), "{merged}");
    assert_eq!(merge(&merged, &f).expect("merges"), merged);
    // White space around a text is nobody's.
    let f = fragment("<domain><metadata><x xmlns='urn:o'> a </x></metadata></domain>");
    let merged = merge("<domain/>", &f).expect("merges");
    assert!(merged.contains(">a</x>") && merge(&merged, &f).expect("merges") == merged, "{merged}");
    // A prefix that means something else there.
    let f = fragment("<domain xmlns:q='urn:1'>\n<q:commandline/></domain>");
    for document in ["<domain xmlns:q='urn:2'/>", "<domain><q:a xmlns:q='urn:2'/></domain>"] {
        let error = merge(document, &f).expect_err("refused");
        assert!(error.message.contains("`q` stands for urn:1") && error.at == Some((1, 1)), "{error}");
    }
}

#[test]
fn a_secret_in_any_member_of_a_list_hides_the_list() {
    for args in [["-password", "x"], ["x", "-password"]] {
        let args = args.map(|arg| format!("<qemu:arg value='{arg}'/>")).concat();
        let f = fragment(&format!(
            "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:commandline>{args}</qemu:commandline></domain>"
        ));
        assert!(f.leaves().values().all(|leaf| leaf.sensitive), "{args}");
        assert!(!format!("{:?}", f.leaves()).contains("-password"), "{f:?}");
    }
}

#[test]
fn a_member_of_a_list_is_the_same_however_its_attributes_are_ordered() {
    let f = fragment(
        "<domain><devices><filesystem><idmap><uid start='0' target='9' count='1'/></idmap><alias name='ua-f'/></filesystem></devices></domain>",
    );
    let document = |uid: &str| {
        format!("<domain><devices><filesystem><idmap>{uid}</idmap><alias name='ua-f'/></filesystem></devices></domain>")
    };
    assert!(holds(&document("<uid count='1' target='9' start='0'/>"), &f));
    assert!(holds(&document("<!-- ours --><uid start='0' target='9' count='1'><!-- mapped --></uid>"), &f));
    assert!(!holds(&document("<uid count='2' target='9' start='0'/>"), &f));
    assert!(!holds(&document(""), &f));
}

#[test]
fn what_tells_a_device_from_others_is_no_leaf_and_each_is_known_by_its_own_key() {
    let leaves = |device: &str| {
        let f = fragment(&format!("<domain><devices>{device}</devices></domain>"));
        f.leaves().keys().cloned().collect::<Vec<_>>()
    };
    for (device, expected) in [
        ("<controller type='pci' index='1' model='m'/>", "/xml/devices/controller[pci:1]/@model"),
        ("<controller type='usb' model='m'/>", "/xml/devices/controller[usb:0]/@model"),
        ("<channel type='unix'><target name='a'/></channel>", "/xml/devices/channel[a]/@type"),
        (
            "<interface><mac address='52:54:00:0A:0B:0C'/><mtu size='9'/></interface>",
            "/xml/devices/interface[52:54:00:0a:0b:0c]/mtu/@size",
        ),
        ("<disk><target dev='vda'/><driver io='x'/></disk>", "/xml/devices/disk[vda]/driver/@io"),
        ("<rng model='m'><alias name='ua-r'/></rng>", "/xml/devices/rng[ua-r]/@model"),
        ("<memballoon model='none'/>", "/xml/devices/memballoon/@model"),
        ("<vsock><cid auto='yes'/></vsock>", "/xml/devices/vsock/cid/@auto"),
        // By an alias where the better key isn't said.
        ("<channel type='unix'><alias name='ua-c'/></channel>", "/xml/devices/channel[ua-c]/@type"),
    ] {
        assert_eq!(leaves(device), [expected], "{device}");
    }
    // The same attributes elsewhere are no key.
    let f = fragment("<domain><sysinfo type='x' index='2'/></domain>");
    assert_eq!(f.leaves().keys().collect::<Vec<_>>(), ["/xml/sysinfo/@index", "/xml/sysinfo/@type"]);
    for (device, by) in [
        ("channel", "its target's `name`"),
        ("controller", "its `type` and `index`"),
        ("interface", "its MAC address"),
        ("rng", "an alias"),
    ] {
        let error = parse_fragment(&format!("<domain><devices><{device}/></devices></domain>")).expect_err("refused");
        assert!(error.message.contains(by), "{error}");
    }
}

#[test]
fn an_alias_in_a_fragment_is_of_the_letters_that_libvirt_keeps_and_none_of_jvps() {
    let alias = |name: &str| parse_fragment(&format!("<domain><devices><rng><alias name='{name}'/></rng></devices></domain>"));
    for good in ["ua-a", "ua-A_9", "ua--", "ua-_"] {
        assert!(alias(good).is_ok(), "{good}");
    }
    for bad in ["a", "ua-", "ua-a.b", "ua-ä", "ua-seed", "ua-disk-root", "ua-nic-lan"] {
        assert!(alias(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_typed_field_of_one_interface_says_nothing_of_another() {
    let text =
        "<domain><devices><interface><mac address='52:54:00:00:00:01'/><model type='e1000'/></interface></devices></domain>";
    let f = fragment(text);
    let conflicts = |typed: &str| !f.conflicts(&[typed.to_owned()].into()).is_empty();
    assert!(conflicts("/interfaces/52-54-00-00-00-01/model"));
    assert!(conflicts("/interfaces/lan/model"), "whose MAC a name doesn't tell");
    assert!(!conflicts("/interfaces/52-54-00-00-00-02/model"));
    assert!(!conflicts("/disks/vda/bus"));
    let f = fragment("<domain><devices><disk><target dev='vda' bus='sata'/></disk></devices></domain>");
    let conflicts = |typed: &str| !f.conflicts(&[typed.to_owned()].into()).is_empty();
    assert!(
        conflicts("/disks/vda/bus") && conflicts("/disks/root/bus") && conflicts("/disks/vd/bus") && conflicts("/disks/vd0/bus")
    );
    assert!(!conflicts("/disks/sda/bus") && !conflicts("/disks/xvdb/bus"));
}

#[test]
fn a_namespace_that_the_place_has_already_is_not_declared_again() {
    let f = fragment("<domain><metadata><x xmlns='urn:o'><y/></x></metadata></domain>");
    let merged = merge("<domain><metadata><x xmlns='urn:o'/></metadata></domain>", &f).expect("merges");
    assert!(merged.matches("urn:o").count() == 1 && merged.contains("<y/>"), "{merged}");
}

#[test]
fn only_jvps_own_prefix_is_to_be_declared_as_jvps() {
    let error = parse_fragment("<domain><q:x/></domain>").expect_err("refused");
    assert!(error.message.contains("'q'") && !error.message.contains("declare"), "{error}");
}
