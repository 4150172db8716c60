//! The capabilities document of a fake node: the parts of libvirt's that tell one host from another.

use super::state::State;
use super::tree::Element;

/// The document.
pub(super) fn document(state: &State) -> String {
    let text = |name: &str, text: &str| Element::new(name).with_text(text);
    let mut cpu = Element::new("cpu").with_child(text("arch", "x86_64")).with_child(text("model", "kvm64"));
    cpu.push(Element::new("topology").with("sockets", "1").with("dies", "1").with("cores", "8").with("threads", "1"));
    if state.kvm {
        cpu.push(Element::new("feature").with("name", "vmx"));
    }
    cpu.push(Element::new("feature").with("name", "hypervisor"));
    let host = Element::new("host").with_child(text("uuid", &state.uuid.to_string())).with_child(cpu);
    let mut arch = Element::new("arch")
        .with("name", "x86_64")
        .with_child(text("wordsize", "64"))
        .with_child(text("emulator", "/usr/bin/qemu-system-x86_64"));
    for (name, canonical) in [("pc-i440fx-7.2", ""), ("pc", "pc-i440fx-7.2"), ("pc-q35-7.2", ""), ("q35", "pc-q35-7.2")] {
        let machine =
            if canonical.is_empty() { Element::new("machine") } else { Element::new("machine").with("canonical", canonical) };
        arch.push(machine.with("maxCpus", if name.contains("q35") { "288" } else { "255" }).with_text(name));
    }
    arch.push(Element::new("domain").with("type", "qemu"));
    if state.kvm {
        arch.push(Element::new("domain").with("type", "kvm"));
    }
    let guest = Element::new("guest").with_child(text("os_type", "hvm")).with_child(arch);
    Element::new("capabilities").with_child(host).with_child(guest).print()
}
