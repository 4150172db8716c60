//! What a running domain's document has beyond its definition: ids, aliases, ports, paths.
//!
//! Nothing of it may find its way back into the definition.

use std::collections::BTreeMap;

use super::super::schema::Schema;
use super::super::state::State;
use super::super::tree::Element;
use super::devices::sort_controllers_of;

/// Turns a definition into what runs.
pub(super) fn run(state: &mut State, document: &mut Element, name: &str, id: u32, nvram: Option<&str>) {
    document.set("id", &id.to_string());
    for name in ["memory", "currentMemory"] {
        document.edit(name, |element| {
            let kib = element.text().parse::<u64>().unwrap_or(0).div_ceil(1024) * 1024;
            element.set_text(&kib.to_string());
        });
    }
    firmware(document, nvram);
    cpu(document);
    let disks = sources(state, document);
    let networks = bridges(state);
    let (graphics, consoles) = counts(state);
    if let Some(devices) = document.child_mut("devices") {
        let mut index = disks;
        for disk in devices.all_mut("disk") {
            let next = disk_sources(state, disk, index);
            index = next;
        }
        aliases(devices);
        for interface in devices.all_mut("interface") {
            put_port(state, &networks, interface);
            put_tap(state, interface);
        }
        characters(devices, name, id, consoles);
        for (offset, element) in devices.all_mut("graphics").enumerate() {
            if element.attr("type") == Some("vnc") && element.attr("socket").is_none() {
                if element.attr("autoport") == Some("yes") {
                    element.set("port", &(5900 + graphics + offset).to_string());
                }
                element.default_attr("listen", "127.0.0.1");
                let address = element.attr("listen").unwrap_or_default().to_owned();
                element.edit("listen", |listen| listen.default_attr("address", &address));
            }
        }
    }
    let label = Element::new("seclabel").with("type", "dynamic").with("model", "dac").with("relabel", "yes");
    let label = label.with_child(Element::new("label").with_text("+0:+0"));
    document.push(label.with_child(Element::new("imagelabel").with_text("+0:+0")));
    Schema::Domain.settle(document);
}

/// What a running domain's document leaves in a managed save image: what runs, without what only a process has.
pub(super) fn put_to_sleep(live: &str) -> Option<String> {
    let mut document = Element::parse(live).ok()?;
    document.unset("id");
    document.retain(|child| child.name != "seclabel" || child.attr("type") != Some("dynamic"));
    // The model as it was written, without what came with it.
    if let Some(cpu) = document.child_mut("cpu").filter(|cpu| cpu.attr("mode") == Some("custom")) {
        cpu.set("check", "none");
        cpu.remove("feature");
    }
    if let Some(devices) = document.child_mut("devices") {
        devices.children_mut().for_each(fall_asleep);
    }
    sort_controllers_of(&mut document);
    Some(document.print())
}

fn fall_asleep(device: &mut Element) {
    device.retain(|child| child.name != "alias" || child.attr("name").is_some_and(|name| name.starts_with("ua-")));
    let pty = device.attr("type") == Some("pty");
    match device.name.as_str() {
        "disk" => {
            match device.child_mut("source") {
                Some(source) => source.unset("index"),
                None => device.edit("driver", |driver| driver.set("type", "raw")),
            }
            // What libvirt found beneath it is looked for anew; that there is nothing is kept.
            device.retain(|child| child.name != "backingStore" || child.children().next().is_none());
        }
        "interface" => {
            device.edit("source", |source| {
                source.unset("portid");
                source.unset("bridge");
            });
            device.retain(|child| child.name != "target" || !child.attr("dev").is_some_and(|dev| dev.starts_with("vnet")));
        }
        "serial" | "console" if pty => {
            device.unset("tty");
            device.retain(|child| child.name != "source");
        }
        "channel" => {
            device.edit("target", |target| target.unset("state"));
            let own = |child: &Element| {
                child.name == "source" && child.attr("path").is_some_and(|path| path.contains("/channel/target/domain-"))
            };
            device.retain(|child| !own(child));
        }
        "graphics" if device.attr("autoport") == Some("yes") => device.set("port", "-1"),
        _ => {}
    }
}

fn firmware(document: &mut Element, nvram: Option<&str>) {
    let secure = document.child("os").and_then(|os| os.child("firmware")).is_some_and(|firmware| {
        firmware
            .all("feature")
            .any(|feature| feature.attr("name") == Some("secure-boot") && feature.attr("enabled") == Some("yes"))
    });
    document.edit("os", |os| {
        if os.attr("firmware") != Some("efi") {
            return;
        }
        os.unset("firmware");
        let (code, vars) = if secure { ("CODE_4M.ms", "VARS_4M.ms") } else { ("CODE_4M", "VARS_4M") };
        let mut loader = Element::new("loader").with("readonly", "yes");
        if secure {
            loader.set("secure", "yes");
        }
        loader.set("type", "pflash");
        os.remove("loader");
        os.push(loader.with_text(&format!("/usr/share/OVMF/OVMF_{code}.fd")));
        os.remove("nvram");
        os.push(
            Element::new("nvram")
                .with("template", &format!("/usr/share/OVMF/OVMF_{vars}.fd"))
                .with_text(nvram.unwrap_or_default()),
        );
    });
}

fn cpu(document: &mut Element) {
    let require = |cpu: &mut Element, name: &str| cpu.push(Element::new("feature").with("policy", "require").with("name", name));
    document.edit("cpu", |cpu| match cpu.attr("mode") {
        Some("host-passthrough" | "maximum") => {}
        Some("host-model") => {
            cpu.set("mode", "custom");
            cpu.set("match", "exact");
            cpu.set("check", "full");
            cpu.push(Element::new("model").with("fallback", "forbid").with_text("EPYC-Rome"));
            cpu.push(Element::new("vendor").with_text("AMD"));
            for feature in ["x2apic", "tsc-deadline", "hypervisor"] {
                require(cpu, feature);
            }
        }
        _ => {
            cpu.set("check", "full");
            cpu.edit("model", |model| model.set("fallback", "forbid"));
            for feature in ["hypervisor", "lahf_lm"] {
                require(cpu, feature);
            }
        }
    });
}

/// The bridges of running networks.
fn bridges(state: &State) -> BTreeMap<String, String> {
    let live = state.networks.iter().filter_map(|(name, network)| Some((name, network.live.as_deref()?)));
    live.filter_map(|(name, text)| {
        let bridge = Element::parse(text).ok()?.child_attr("bridge", "name")?.to_owned();
        Some((name.clone(), bridge))
    })
    .collect()
}

/// Gives a device that is plugged into a running domain what only a running one has.
pub(super) fn plug(state: &mut State, document: &Element, device: &mut Element, name: &str) {
    match device.name.as_str() {
        "disk" => plug_disk(state, document, device),
        "interface" => {
            plug_nic(state, device);
            put_tap(state, device);
        }
        _ => {}
    }
    let id = document.attr("id").and_then(|id| id.parse().ok()).unwrap_or(0);
    let mut list = Element::new("devices").with_child(device.clone());
    aliases(&mut list);
    characters(&mut list, name, id, 0);
    if let Some(plugged) = list.children().next() {
        *device = plugged.clone();
    }
}

/// Numbers a disk's sources past all that the domain has.
pub(super) fn plug_disk(state: &State, document: &Element, disk: &mut Element) {
    let devices = document.child("devices");
    let numbers = devices.iter().flat_map(|devices| devices.all("disk")).map(highest);
    let path = disk.child("source").and_then(|source| source.attr("file")).map(str::to_owned);
    let end = numbers.max().unwrap_or(0) + 1 + path.map_or(0, |path| depth(state, &path));
    disk_sources(state, disk, end);
}

fn highest(element: &Element) -> u32 {
    let own = element.attr("index").filter(|_| matches!(element.name.as_str(), "source" | "backingStore"));
    element.children().map(highest).chain(own.and_then(|index| index.parse().ok())).max().unwrap_or(0)
}

/// Plugs a running interface into its network's bridge, by a port of its own.
pub(super) fn plug_nic(state: &mut State, interface: &mut Element) {
    let networks = bridges(state);
    put_port(state, &networks, interface);
}

/// Gives an interface a port of its network's, where that runs.
fn put_port(state: &mut State, networks: &BTreeMap<String, String>, interface: &mut Element) {
    let mac = interface.child_attr("mac", "address").unwrap_or_default().to_owned();
    let port = state.make_uuid(&format!("port {mac}"));
    let Some(source) = interface.child_mut("source") else { return };
    let name = source.attr("network").map(str::to_owned).unwrap_or_default();
    let Some(bridge) = networks.get(&name) else { return };
    source.set("portid", &port.to_string());
    source.set("bridge", bridge);
    if let Some(network) = state.networks.get_mut(&name) {
        network.ports.insert(port);
    }
}

/// Gives an interface its device on the host.
fn put_tap(state: &mut State, interface: &mut Element) {
    let tap = format!("vnet{}", state.taps);
    state.taps += 1;
    interface.edit("target", |target| target.default_attr("dev", &tap));
}

/// Gives back the port of an interface that is plugged out.
pub(super) fn unplug_nic(state: &mut State, interface: &Element) {
    let port = interface.child_attr("source", "portid").and_then(|text| text.parse::<uuid::Uuid>().ok());
    state.networks.values_mut().for_each(|network| network.ports.retain(|other| Some(*other) != port));
}

/// How many graphics and consoles run already.
fn counts(state: &State) -> (usize, usize) {
    let of = |what: &str| {
        state.domains.values().filter_map(|domain| domain.live.as_deref()).map(|text| text.matches(what).count()).sum()
    };
    (of("<graphics "), of("<serial "))
}

/// How many sources the disks have; they are numbered from the last disk up.
fn sources(state: &State, document: &Element) -> u32 {
    let of = |disk: &Element| {
        let path = disk.child("source").and_then(|source| source.attr("file"));
        1 + path.map_or(0, |path| depth(state, path))
    };
    document.child("devices").map_or(0, |devices| devices.all("disk").map(of).sum())
}

fn depth(state: &State, path: &str) -> u32 {
    let (mut at, mut count) = (path.to_owned(), 0);
    while let Some((backing, _)) = state.files.get(&at).and_then(|file| file.backing.clone()) {
        at = backing;
        count += 1;
        if count > 64 {
            break;
        }
    }
    count
}

/// Numbers a disk's sources and shows its chain. `end` is the number of its last one; returns the end of the next disk's.
fn disk_sources(state: &State, disk: &mut Element, end: u32) -> u32 {
    let path = disk.child("source").and_then(|source| source.attr("file")).map(str::to_owned);
    if disk.child("source").is_none() {
        disk.edit("driver", |driver| driver.unset("type"));
        return end.saturating_sub(1);
    }
    let deep = path.as_deref().map_or(0, |path| depth(state, path));
    let first = end.saturating_sub(deep);
    disk.edit("source", |source| source.set("index", &first.to_string()));
    disk.remove("backingStore");
    let mut chain = Element::new("backingStore");
    if let Some(path) = path {
        let mut files = Vec::new();
        let mut at = path;
        for _ in 0..deep {
            let Some((backing, format)) = state.files.get(&at).and_then(|file| file.backing.clone()) else { break };
            at.clone_from(&backing);
            files.push((backing, format));
        }
        for (offset, (backing, format)) in files.iter().enumerate().rev() {
            let index = first + 1 + u32::try_from(offset).unwrap_or(0);
            chain = Element::new("backingStore")
                .with("type", "file")
                .with("index", &index.to_string())
                .with_child(Element::new("format").with("type", format))
                .with_child(Element::new("source").with("file", backing))
                .with_child(chain);
        }
    }
    disk.push(chain);
    first.saturating_sub(1)
}

/// Every device gets a name of libvirt's, unless it has one of the user's.
fn aliases(devices: &mut Element) {
    let pcie = devices.all("controller").any(|controller| controller.attr("model") == Some("pcie-root"));
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for device in devices.children_mut() {
        let mut next = |kind: &'static str| {
            let count = counts.entry(kind).or_default();
            *count += 1;
            format!("{kind}{}", *count - 1)
        };
        let alias = match device.name.as_str() {
            "controller" => controller_alias(device, pcie),
            "disk" => disk_alias(device),
            "interface" => next("net"),
            "serial" => next("serial"),
            // The first console is the serial port.
            "console" if device.child_attr("target", "type") == Some("serial") => "serial0".to_owned(),
            "console" => next("console"),
            "channel" => next("channel"),
            "input" => next("input"),
            "sound" => next("sound"),
            "video" => next("video"),
            "watchdog" => next("watchdog"),
            "memballoon" => next("balloon"),
            "rng" => next("rng"),
            "filesystem" => next("fs"),
            "tpm" => next("tpm"),
            _ => continue,
        };
        device.edit("alias", |element| element.default_attr("name", &alias));
    }
}

fn controller_alias(controller: &Element, pcie: bool) -> String {
    let index = controller.attr("index").unwrap_or("0");
    match (controller.attr("type"), index) {
        (Some("usb" | "fdc"), "0") => controller.attr("type").unwrap_or_default().to_owned(),
        (Some("pci"), "0") => if pcie { "pcie.0" } else { "pci.0" }.to_owned(),
        (Some("pci"), index) => format!("pci.{index}"),
        (Some("sata"), "0") if pcie => "ide".to_owned(),
        (Some("ide"), "0") => "ide".to_owned(),
        (kind, index) => format!("{}{index}", kind.unwrap_or("controller")),
    }
}

fn disk_alias(disk: &Element) -> String {
    let bus = disk.child_attr("target", "bus").unwrap_or("virtio");
    let part = |name: &str| disk.child_attr("address", name).unwrap_or("0").to_owned();
    match bus {
        "virtio" => {
            let letter = disk.child_attr("target", "dev").and_then(|dev| dev.bytes().last()).unwrap_or(b'a');
            format!("virtio-disk{}", letter.saturating_sub(b'a'))
        }
        "scsi" => format!("scsi{}-{}-{}-{}", part("controller"), part("bus"), part("target"), part("unit")),
        other => format!("{other}{}-{}-{}", part("controller"), part("bus"), part("unit")),
    }
}

fn characters(devices: &mut Element, name: &str, id: u32, consoles: usize) {
    let mut path = None;
    for (offset, serial) in devices.all_mut("serial").filter(|serial| serial.attr("type") == Some("pty")).enumerate() {
        let pty = format!("/dev/pts/{}", consoles + offset);
        serial.edit("source", |source| source.set("path", &pty));
        path.get_or_insert(pty);
    }
    if let (Some(path), Some(console)) = (path, devices.all_mut("console").find(|console| console.attr("type") == Some("pty"))) {
        console.set("tty", &path);
        console.edit("source", |source| source.set("path", &path));
    }
    for channel in devices.all_mut("channel").filter(|channel| channel.attr("type") == Some("unix")) {
        let target = channel.child_attr("target", "name").unwrap_or_default().to_owned();
        let path = format!("/var/lib/libvirt/qemu/channel/target/domain-{id}-{name}/{target}");
        channel.edit("source", |source| {
            source.default_attr("mode", "bind");
            source.default_attr("path", &path);
        });
        channel.edit("target", |target| target.set("state", "disconnected"));
    }
}
