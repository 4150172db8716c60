//! Plugging a running guest's interface in again: libvirt leaves it behind without a bridge when its network stops, and does not
//! take it up again when that starts.
//!
//! An update to what an interface is already changes nothing. One that names the network's bridge itself moves the tap there, and
//! one back to the network gives it a port of the network's again; the guest sees no change of its link from either.

use super::InterfaceDoc;
use crate::name::MacAddr;
use crate::xml::tree::Element;
use crate::xml::{XmlError, read};

/// The two documents that plug an interface in: first the one, then the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlugTexts {
    /// Where it is moved first.
    pub there: String,
    /// What it was and is to be again.
    pub back: String,
}

/// The documents that plug the interface with this MAC of a live domain into a network again. One that hangs on the network's bridge
/// by its own definition, `direct`, takes the way by the network and ends where it was.
pub fn plug_texts(
    live: &str,
    nic: &InterfaceDoc,
    network: &str,
    bridge: &str,
    direct: bool,
) -> Result<Option<PlugTexts>, XmlError> {
    let root = Element::parse_root(live, "domain")?;
    let has_mac = |element: &&Element| {
        let mac = element.child("mac").and_then(|mac| mac.get("address")).and_then(|text| text.parse::<MacAddr>().ok());
        element.name == "interface" && mac.is_some() && mac == nic.mac
    };
    let Some(found) = root.child("devices").and_then(|devices| devices.elements().find(has_mac)) else { return Ok(None) };
    let on_bridge = || with_source(found, "bridge", Element::new("source").attr("bridge", bridge));
    let on_network = || {
        let group = found.child("source").and_then(|source| source.get("portgroup"));
        with_source(found, "network", Element::new("source").attr("network", network).attr_opt("portgroup", group))
    };
    let (there, back) = if direct { (on_network(), on_bridge()) } else { (on_bridge(), on_network()) };
    Ok(Some(PlugTexts { there: there.to_xml(), back: back.to_xml() }))
}

/// The interface with another source; all else of it is what it has.
fn with_source(found: &Element, kind: &str, source: Element) -> Element {
    let mut element = found.clone();
    element.set("type", kind);
    element.remove_named("source");
    element.push(source);
    element
}

/// The port that an interface of a live document has on its network.
pub(super) fn port(node: roxmltree::Node<'_, '_>) -> Option<uuid::Uuid> {
    read::attr_at(node, &["source"], "portid").and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: &str = "<domain type='qemu' id='1'><devices><interface type='network'><mac address='52:54:00:31:00:01'/>\
        <source network='n1' portgroup='g' portid='a5294cef-53dc-48a9-ba76-380b261d371c' bridge='jvn1'/><target dev='vnet0'/>\
        <model type='virtio'/><boot order='2'/><alias name='ua-nic-eth0'/></interface></devices></domain>";

    fn nic(mac: &str) -> InterfaceDoc {
        InterfaceDoc { mac: mac.parse().ok(), ..InterfaceDoc::default() }
    }

    #[test]
    fn an_interface_goes_by_way_of_the_bridge_and_keeps_all_else() {
        let texts = plug_texts(LIVE, &nic("52:54:00:31:00:01"), "n1", "jvnew", false).unwrap().unwrap();
        assert!(texts.there.contains("type=\"bridge\"") && texts.there.contains("<source bridge=\"jvnew\"/>"), "{}", texts.there);
        assert!(texts.back.contains("<source network=\"n1\" portgroup=\"g\"/>"), "{}", texts.back);
        for text in [&texts.there, &texts.back] {
            assert!(text.contains("<boot order=\"2\"/>") && text.contains("ua-nic-eth0") && !text.contains("portid"), "{text}");
        }
        let texts = plug_texts(LIVE, &nic("52:54:00:31:00:01"), "n1", "jvn1", true).unwrap().unwrap();
        assert!(texts.there.contains("network=\"n1\"") && texts.back.contains("<source bridge=\"jvn1\"/>"));
        // It is found among others.
        let other = "<devices><interface type='network'><mac address='52:54:00:31:00:09'/><source network='n1'/></interface>";
        let two = LIVE.replace("<devices>", other);
        let texts = plug_texts(&two, &nic("52:54:00:31:00:01"), "n1", "jvnew", false).unwrap().unwrap();
        assert!(texts.there.contains("52:54:00:31:00:01"), "{}", texts.there);
        assert_eq!(plug_texts(LIVE, &nic("52:54:00:31:00:02"), "n1", "jvn1", false).unwrap(), None);
    }
}
