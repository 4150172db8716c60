//! Objects as programs read them: the shape of Kubernetes' objects, with how they are under `status`.
//!
//! Fields are added to it, never changed. No secret stands in it: what may hold one is replaced by `(sensitive)`.

use serde_json::{Map, Value, json};

use super::facts::{self, Index};
use super::item::{Found, Item, State, View};
use crate::manifest::{API_VERSION, Spec};
use crate::name::SENSITIVE;

/// Several objects as one.
pub(super) fn list(items: &[Value]) -> Value {
    json!({"apiVersion": API_VERSION, "kind": "List", "items": items})
}

/// One object.
pub(super) fn object(view: &View<'_>, index: &Index<'_>, item: &Item<'_>) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".into(), item.object.name.as_str().into());
    if let Some(node) = &item.object.node {
        metadata.insert("node".into(), node.as_str().into());
    }
    metadata.insert("uid".into(), item.uid.to_string().into());
    metadata.insert("labels".into(), json!(item.labels));
    if let Some(wanted) = item.wanted.filter(|wanted| !wanted.metadata.annotations.is_empty()) {
        metadata.insert("annotations".into(), json!(wanted.metadata.annotations));
    }
    if !item.created_at().is_empty() {
        metadata.insert("creationTimestamp".into(), item.created_at().into());
    }
    let mut object = Map::new();
    object.insert("apiVersion".into(), API_VERSION.into());
    object.insert("kind".into(), item.object.kind.name().into());
    object.insert("metadata".into(), metadata.into());
    if let Some(spec) = item.spec {
        object.insert("spec".into(), public_spec(spec));
    }
    object.insert("status".into(), status(view, index, item));
    object.into()
}

fn status(view: &View<'_>, index: &Index<'_>, item: &Item<'_>) -> Value {
    let mut status = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            status.insert(key.to_owned(), value);
        }
    };
    let state = if item.state == State::Unschedulable { State::Ready } else { item.state };
    put("state", state.word().into());
    put("node", json!(item.node));
    put("declared", (item.spec.is_some() || item.desired_node.is_some()).into());
    put("owned", item.entry.is_some().into());
    put("released", item.entry.is_some_and(|entry| entry.released).into());
    let conditions = item.conditions.iter().map(|c| json!({"type": c.name, "message": c.message}));
    put("conditions", conditions.collect::<Vec<_>>().into());
    if item.entry.is_some() || item.wanted.is_some() {
        put("libvirtName", item.libvirt_name.as_str().into());
    }
    match item.found {
        Found::Domain(domain) => {
            let spec = &domain.live.as_ref().unwrap_or(&domain.doc).spec;
            let addresses = facts::addresses(index, item);
            put("libvirtUUID", domain.uuid.to_string().into());
            put("addresses", json!(addresses.known));
            put("reservedAddresses", json!(addresses.reserved));
            put("cpus", json!(spec.cpu.as_ref().and_then(|cpu| cpu.count)));
            put("memoryBytes", json!(spec.memory.map(crate::name::ByteSize::bytes)));
            put("template", json!(facts::template(view, index, item)));
            put("autostart", domain.autostart.into());
            put("managedSave", domain.managed_save.into());
            put("pendingRestart", json!(domain.pending));
            let disks = domain.doc.disks.iter().map(|disk| {
                json!({"name": disk.name, "target": disk.target, "path": disk.source, "format": disk.format, "seed": disk.seed})
            });
            put("disks", disks.collect::<Vec<_>>().into());
            let cards = domain.doc.interfaces.iter().map(|nic| {
                let leases = nic.mac.zip(item.node.as_ref()).map(|(mac, node)| index.leases(node, mac)).unwrap_or_default();
                json!({"name": nic.name, "mac": nic.mac, "network": nic.network, "leases": leases})
            });
            put("interfaces", cards.collect::<Vec<_>>().into());
        }
        Found::Network(network) => {
            put("libvirtUUID", network.uuid.to_string().into());
            put("bridge", json!(network.doc.bridge));
            put("autostart", network.autostart.into());
            put("pendingRestart", json!(network.pending));
            if let Some(node) = &item.node {
                put("guests", json!(index.guests(node, &network.name)));
            }
        }
        Found::Pool(pool) => {
            put("libvirtUUID", pool.uuid.to_string().into());
            put("path", json!(pool.doc.path));
            put("autostart", pool.autostart.into());
            if pool.active {
                put("capacityBytes", pool.doc.capacity.into());
                put("allocationBytes", pool.doc.allocation.into());
                put("availableBytes", pool.doc.available.into());
            }
        }
        Found::Volume(volume) => {
            put("capacityBytes", volume.capacity.into());
            put("allocationBytes", volume.allocation.into());
        }
        Found::Node(node) => {
            put("hostname", node.host.hostname.as_str().into());
            put("hostUUID", json!(node.host.uuid));
            put("libvirtVersion", super::units::version(node.host.libvirt_version).into());
            put("arch", node.host.arch.as_str().into());
            put("kvm", node.host.kvm.into());
            put("vms", index.vms(&item.object.name).into());
        }
        Found::Nothing => {}
    }
    if let Some(record) = item.entry.and_then(|entry| entry.volume.as_ref()) {
        put("path", record.path.as_str().into());
        put("format", record.format.as_str().into());
        put("backing", json!(record.backing));
        put("source", json!(record.source));
        put("owner", json!(record.owner));
        put("usedBy", json!(facts::users(index, item)));
    }
    if let Some(record) = item.entry.and_then(|entry| entry.template.as_ref()) {
        put("ready", (record.ready && state != State::Missing).into());
        put("path", record.path.as_str().into());
        put("format", record.format.as_str().into());
        put("sizeBytes", record.size.into());
        put("virtualSizeBytes", record.virtual_size.into());
        put("sha256", record.digest_sha256.as_str().into());
        put("pinned", record.pinned.into());
        put("usedBy", json!(facts::users(index, item)));
    }
    status.into()
}

/// A spec as written, without what may be a secret: what cloud-init is told, and fragments of XML that name one.
pub(super) fn public_spec(spec: &Spec) -> Value {
    let mut value = spec.to_value();
    let mut hide = |pointer: &str| {
        if let Some(found) = value.pointer_mut(pointer) {
            hide_value(found);
        }
    };
    match spec {
        Spec::VirtualMachine(vm) => {
            for pointer in ["/cloudInit/userData", "/cloudInit/networkConfig", "/cloudInit/runCmd"] {
                hide(pointer);
            }
            let cloud_init = vm.cloud_init.as_ref();
            for at in 0..cloud_init.map_or(0, |told| told.users.len()) {
                hide(&format!("/cloudInit/users/{at}/passwordHash"));
            }
            for at in 0..cloud_init.map_or(0, |told| told.write_files.len()) {
                hide(&format!("/cloudInit/writeFiles/{at}/content"));
            }
            if vm.xml.as_deref().is_some_and(names_a_secret) {
                hide("/xml");
            }
        }
        Spec::Template(_) => without_password_at(&mut value, "/source/url"),
        Spec::Node(_) => without_password_at(&mut value, "/uri"),
        Spec::Fleet(_) | Spec::KeyPair(_) | Spec::StoragePool(_) | Spec::Network(_) | Spec::Volume(_) => {}
    }
    value
}

fn names_a_secret(xml: &str) -> bool {
    let lower = xml.to_lowercase();
    ["passwd", "secret", "password", "passphrase"].iter().any(|word| lower.contains(word))
}

fn hide_value(value: &mut Value) {
    let lines = match value {
        Value::String(text) => text.lines().count(),
        Value::Array(items) => items.len(),
        _ => 1,
    };
    *value = if lines > 1 { format!("{SENSITIVE}, {lines} lines").into() } else { SENSITIVE.into() };
}

fn without_password_at(value: &mut Value, pointer: &str) {
    if let Some(Value::String(text)) = value.pointer_mut(pointer) {
        *text = without_password(text);
    }
}

/// A URL without the password that it may hold.
pub(super) fn without_password(url: &str) -> String {
    let hidden = || {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, host) = authority.rsplit_once('@')?;
        let (user, _) = user.split_once(':')?;
        Some(format!("{scheme}://{user}:{SENSITIVE}@{host}{path}"))
    };
    hidden().unwrap_or_else(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{CloudFile, CloudInit, CloudUser, VirtualMachineSpec};

    #[test]
    fn no_secret_stands_in_a_spec() {
        let told = CloudInit {
            hostname: Some("web".into()),
            user_data: Some("a: canary\nb: canary\n".into()),
            network_config: Some("canary".into()),
            run_cmd: vec!["echo canary".into(), "true".into()],
            users: vec![CloudUser {
                name: "ops".into(),
                groups: Vec::new(),
                ssh_authorized_keys: Vec::new(),
                sudo: None,
                shell: None,
                password_hash: Some("canary".into()),
            }],
            write_files: vec![CloudFile { path: "/etc/x".into(), content: "canary".into(), permissions: None, owner: None }],
            ..CloudInit::default()
        };
        let xml = Some("<domain><x password='canary'/></domain>".into());
        let spec = Spec::VirtualMachine(Box::new(VirtualMachineSpec { cloud_init: Some(told), xml, ..Default::default() }));
        let text = public_spec(&spec).to_string();
        assert!(!text.contains("canary"), "{text}");
        assert!(
            text.contains("(sensitive), 2 lines") && text.contains("\"hostname\":\"web\"") && text.contains("/etc/x"),
            "{text}"
        );
    }

    #[test]
    fn passwords_in_urls_do_not_show() {
        assert_eq!(without_password("https://me:canary@h/x@y"), "https://me:(sensitive)@h/x@y");
        for plain in ["qemu+ssh://root@kvm1/system", "qemu:///system", "images/a.qcow2", "https://h/a:b@c"] {
            assert_eq!(without_password(plain), plain);
        }
    }
}
