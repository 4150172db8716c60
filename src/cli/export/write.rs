//! Manifests as text. Pure.

use super::find::Found;
use crate::manifest::{Spec, VirtualMachineSpec};
use crate::name::{ByteSize, Kind};

/// The manifest of an object.
pub(super) fn document(found: &Found) -> String {
    let kind = found.object.kind;
    let mut text =
        format!("# yaml-language-server: $schema=https://jvp.dev/schemas/v1alpha1/{}.json\n", kind.name().to_lowercase());
    let mut unsaid: Vec<String> = found.unsaid.iter().map(|words| one_line(words)).collect();
    if found.less > 0 && kind == Kind::VirtualMachine {
        unsaid.push("what of it libvirt's document says besides".into());
    }
    if !unsaid.is_empty() {
        text.push_str(&format!("# Kept as it is and not said here: {}.\n", unsaid.join(", ")));
    }
    let spec = serde_yaml::to_string(&spec(found).to_value()).unwrap_or_default();
    let spec = match spec.trim_end() {
        "{}" => "spec: {}\n".to_owned(),
        spec => format!("spec:\n{}", indented(spec)),
    };
    text.push_str(&format!(
        "apiVersion: {}\nkind: {kind}\nmetadata:\n  name: {}\n{spec}lifecycle:\n  adopt: true\n",
        crate::manifest::API_VERSION,
        quoted(found.object.name.as_str()),
    ));
    text
}

/// A name that YAML could take for something else, in quotes.
fn quoted(name: &str) -> String {
    serde_yaml::to_string(name).map_or_else(|_| name.to_owned(), |text| text.trim_end().to_owned())
}

fn one_line(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}

/// The spec, with as much left out as was found to be needed.
fn spec(found: &Found) -> Spec {
    match (&found.spec, found.less) {
        (spec, 0) => spec.clone(),
        (Spec::VirtualMachine(spec), 1) => {
            let mut less = (**spec).clone();
            less.xml = None;
            Spec::VirtualMachine(Box::new(less))
        }
        (Spec::VirtualMachine(spec), _) => Spec::VirtualMachine(Box::new(VirtualMachineSpec {
            node: spec.node.clone(),
            run_strategy: spec.run_strategy,
            memory: spec.memory.or(Some(ByteSize::from_bytes(1 << 20))),
            libvirt_name: spec.libvirt_name.clone(),
            ..VirtualMachineSpec::default()
        })),
        (Spec::Network(spec), _) => Spec::Network(crate::manifest::NetworkSpec {
            autostart: spec.autostart,
            running: spec.running,
            nodes: spec.nodes.clone(),
            libvirt_name: spec.libvirt_name.clone(),
            ..crate::manifest::NetworkSpec::default()
        }),
        (Spec::StoragePool(spec), _) => Spec::StoragePool(crate::manifest::StoragePoolSpec {
            autostart: spec.autostart,
            running: spec.running,
            nodes: spec.nodes.clone(),
            libvirt_name: spec.libvirt_name.clone(),
            ..crate::manifest::StoragePoolSpec::default()
        }),
        (Spec::Volume(spec), _) => Spec::Volume(crate::manifest::VolumeSpec { capacity: None, ..spec.clone() }),
        (other, _) => other.clone(),
    }
}
