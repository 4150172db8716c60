//! A document as people read it: indented, without secrets.

use super::XmlError;
use super::tree::{Element, Node};

/// What stands in a secret's place.
const SENSITIVE: &str = "(sensitive)";

/// The document indented anew, with every attribute and text that holds a secret replaced by `(sensitive)`.
pub fn pretty(text: &str) -> Result<String, XmlError> {
    let mut tree = Element::parse(text)?;
    hide(&mut tree);
    Ok(tree.to_xml())
}

/// Whether a name says that its value is a secret.
pub(super) fn is_sensitive(name: &str) -> bool {
    let name = name.rsplit_once(':').map_or(name, |(_, local)| local).to_ascii_lowercase();
    name == "passwd" || name == "password" || name == "passphrase"
}

fn hide(element: &mut Element) {
    let sensitive = is_sensitive(&element.name);
    for (name, value) in &mut element.attrs {
        if is_sensitive(name) {
            SENSITIVE.clone_into(value);
        }
    }
    for node in &mut element.nodes {
        match node {
            Node::Element(child) => hide(child),
            Node::Text(text) if sensitive => SENSITIVE.clone_into(text),
            Node::Text(_) | Node::Comment(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let shown =
            pretty("<domain><graphics type='vnc' passwd='canary'/><x><password>canary</password></x></domain>").expect("reads");
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(shown.matches("(sensitive)").count(), 2);
    }
}
