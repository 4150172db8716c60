//! Small steps that every reader takes: children by name, attributes, sizes with units.
//!
//! Names are matched without their namespace, for libvirt's own elements have none; what has one is looked for explicitly.

use roxmltree::{Document, Node};

use super::XmlError;

/// Parses a document. A DTD is refused.
pub(super) fn parse(text: &str) -> Result<Document<'_>, XmlError> {
    Ok(Document::parse(text)?)
}

/// Parses a document and checks the name of its root.
pub(super) fn parse_root<'a>(text: &'a str, root: &str) -> Result<Document<'a>, XmlError> {
    let document = parse(text)?;
    let found = document.root_element();
    if is(found, root) {
        return Ok(document);
    }
    let message = format!("expected a <{root}> document, found <{}>", found.tag_name().name());
    let pos = document.text_pos_at(found.range().start);
    Err(XmlError::at(message, Some((pos.row, pos.col))))
}

fn is(node: Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name && node.tag_name().namespace().is_none()
}

/// The children of that name.
pub(super) fn children<'a, 'i: 'a>(node: Node<'a, 'i>, name: &'a str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| is(*child, name))
}

/// The first child of that name.
pub(super) fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| is(*child, name))
}

/// The element at the end of a path of names.
pub(super) fn at<'a, 'i>(node: Node<'a, 'i>, path: &[&str]) -> Option<Node<'a, 'i>> {
    path.iter().try_fold(node, |node, name| child(node, name))
}

/// The text of an element, all of it, as it stands.
pub(super) fn text(node: Node<'_, '_>) -> String {
    let mut texts = node.children().filter(Node::is_text).filter_map(|text| text.text());
    let first = texts.next().unwrap_or_default().to_owned();
    texts.fold(first, |all, text| all + text)
}

/// The trimmed text of the element at the end of a path; `None` where it is missing or empty.
pub(super) fn text_at(node: Node<'_, '_>, path: &[&str]) -> Option<String> {
    let text = text(at(node, path)?);
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// An attribute that is not empty.
pub(super) fn attr<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attribute(name).filter(|value| !value.is_empty())
}

/// An attribute of the element at the end of a path.
pub(super) fn attr_at<'a>(node: Node<'a, '_>, path: &[&str], name: &str) -> Option<&'a str> {
    attr(at(node, path)?, name)
}

/// An attribute, parsed.
pub(super) fn parsed<T: std::str::FromStr>(node: Node<'_, '_>, name: &str) -> Option<T> {
    attr(node, name)?.trim().parse().ok()
}

/// The size that an element holds, in bytes; `unit` where it names none.
pub(super) fn size(node: Node<'_, '_>, unit: &str) -> Option<u64> {
    scaled(text(node).trim(), attr(node, "unit").unwrap_or(unit))
}

/// A number of libvirt's units in bytes. Its units are case-insensitive; `KB`, `MB`, … are decimal, all others binary.
pub(super) fn scaled(number: &str, unit: &str) -> Option<u64> {
    let number: u64 = number.parse().ok()?;
    let unit = unit.to_ascii_lowercase();
    if matches!(unit.as_str(), "b" | "byte" | "bytes") {
        return Some(number);
    }
    let mut letters = unit.chars();
    let exponent = match letters.next()? {
        'k' => 1,
        'm' => 2,
        'g' => 3,
        't' => 4,
        'p' => 5,
        'e' => 6,
        _ => return None,
    };
    let base: u64 = match letters.as_str() {
        "" | "ib" => 1024,
        "b" => 1000,
        _ => return None,
    };
    number.checked_mul(base.checked_pow(exponent)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_as_libvirt_reads_them() {
        for (number, unit, bytes) in [
            ("1048577", "KiB", 1_048_577 * 1024),
            ("1", "GB", 1_000_000_000),
            ("100", "MB", 100_000_000),
            ("104857601", "b", 104_857_601),
            ("64", "mib", 64 << 20),
            ("64", "M", 64 << 20),
            ("2", "G", 2 << 30),
            ("2", "TiB", 2 << 40),
            ("2", "TB", 2_000_000_000_000),
            ("2", "PiB", 2 << 50),
            ("2", "E", 2 << 60),
        ] {
            assert_eq!(scaled(number, unit), Some(bytes), "{number} {unit}");
        }
        assert_eq!(scaled("64.5", "KiB"), None);
        assert_eq!(scaled("18446744073709551615", "KiB"), None);
    }
}
