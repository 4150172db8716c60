//! Memory that `xml:` brings as devices: it comes, grows and goes together with `memory`, which libvirt reckons from both.

use crate::checkout::{Checkout, ground};
use crate::scenarios::FLEET;
use crate::support::{Lab, left_out};

#[test]
fn dimms_grow_and_go_with_the_memory_that_is_written() {
    if left_out() {
        eprintln!("left out by JVP_TEST_LEVEL=unit");
        return;
    }
    let lab = Lab::own(1);
    let ground = ground(&lab.uri("a"), FLEET, "main", &lab.images("a").join("main"));
    let text = |memory: u32, dimm: Option<u32>| {
        let dimm = dimm.map_or_else(String::new, |size| {
            format!(
                r#"<memory model="dimm"><target><size unit="MiB">{size}</size><node>0</node></target><alias name="ua-dimm"/></memory>"#
            )
        });
        format!(
            r#"{ground}---
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {{name: dimm}}
spec:
  memory: {memory}Mi
  firmware: {{type: BIOS}}
  xml: |
    <domain>
      <maxMemory slots="4" unit="MiB">1024</maxMemory>
      <cpu><numa><cell id="0" cpus="0" memory="128" unit="MiB"/></numa></cpu>
      <devices>{dimm}</devices>
    </domain>
"#
        )
    };
    let checkout = Checkout::new(&text(256, Some(128)));
    checkout.jvp(&["apply", "-y"]).exits(0);
    checkout.jvp(&["plan", "--detailed-exitcode"]).exits(0);
    let id = lab.virsh("a", &["domid", "dimm"]);
    for (memory, dimm) in [(384, Some(256)), (128, None), (256, Some(128))] {
        checkout.write("all.yaml", &text(memory, dimm));
        checkout.jvp(&["apply", "-y"]).exits(0).says("[next start]");
        checkout.jvp(&["plan", "--detailed-exitcode"]).exits(0);
        let definition = lab.virsh("a", &["dumpxml", "--inactive", "dimm"]);
        assert!(definition.contains(&format!("<memory unit='KiB'>{}</memory>", memory * 1024)), "{definition}");
        assert_eq!(definition.contains("<memory model='dimm'"), dimm.is_some(), "{definition}");
    }
    // Another sum is refused, and says which there is.
    checkout.write("all.yaml", &text(512, Some(128)));
    checkout.jvp(&["apply", "-y"]).exits(5).says("come to 262144 KiB, and not to 524288");
    assert_eq!(lab.virsh("a", &["domid", "dimm"]), id, "it was not restarted");
    checkout.jvp(&["delete", "-y", "--force-stop", "VM/dimm"]).exits(0);
}
