//! A document as an owned tree that can be changed and written again.
//!
//! Everything is kept that a document says: namespaces with their prefixes, comments, order, unknown elements. White space
//! between elements is not: it is written anew.

use std::borrow::Cow;

use quick_xml::escape::partial_escape;
use quick_xml::events::attributes::Attribute;

use super::XmlError;
use super::read;

/// Deeper than any document of libvirt's; a hostile one must not exhaust the stack.
const MAX_DEPTH: usize = 64;

/// The name of an element or attribute; most are written in the program.
pub(super) type Name = Cow<'static, str>;

/// An element. Its name is as written, with its prefix; attributes include the declarations of namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Element {
    pub(super) name: Name,
    /// The namespace that the name stands in; set by reading only.
    pub(super) namespace: Option<String>,
    pub(super) attrs: Vec<(Name, String)>,
    pub(super) nodes: Vec<Node>,
    /// Line and column of its start tag; set by reading only.
    pub(super) pos: Option<(u32, u32)>,
}

/// What an element holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Element(Element),
    Text(String),
    Comment(String),
}

#[expect(clippy::needless_pass_by_value, reason = "builders are handed numbers, names and texts alike")]
impl Element {
    /// An empty element.
    pub(super) fn new(name: impl Into<Name>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// With an attribute.
    pub(super) fn attr(mut self, name: impl Into<Name>, value: impl ToString) -> Self {
        self.set(name, value);
        self
    }

    /// With an attribute where there is a value.
    pub(super) fn attr_opt(self, name: impl Into<Name>, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    /// With a text.
    pub(super) fn text(mut self, text: impl ToString) -> Self {
        self.nodes.push(Node::Text(text.to_string()));
        self
    }

    /// With a child.
    pub(super) fn with(mut self, child: Self) -> Self {
        self.push(child);
        self
    }

    /// With a child where there is one.
    pub(super) fn with_opt(self, child: Option<Self>) -> Self {
        match child {
            Some(child) => self.with(child),
            None => self,
        }
    }

    /// With children.
    pub(super) fn with_all(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.nodes.extend(children.into_iter().map(Node::Element));
        self
    }

    /// Sets an attribute.
    pub(super) fn set(&mut self, name: impl Into<Name>, value: impl ToString) {
        let name = name.into();
        match self.attrs.iter_mut().find(|(have, _)| *have == name) {
            Some((_, have)) => *have = value.to_string(),
            None => self.attrs.push((name, value.to_string())),
        }
    }

    /// Drops an attribute.
    pub(super) fn unset(&mut self, name: &str) {
        self.attrs.retain(|(have, _)| have != name);
    }

    /// An attribute.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// Appends a child.
    pub(super) fn push(&mut self, child: Self) {
        self.nodes.push(Node::Element(child));
    }

    /// The child elements.
    pub(super) fn elements(&self) -> impl Iterator<Item = &Self> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) | Node::Comment(_) => None,
        })
    }

    /// The child elements, to be changed.
    pub(super) fn elements_mut(&mut self) -> impl Iterator<Item = &mut Self> {
        self.nodes.iter_mut().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) | Node::Comment(_) => None,
        })
    }

    /// The first child of that name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.elements().find(|child| child.name == name)
    }

    /// The first child of that name, to be changed.
    pub(super) fn child_mut(&mut self, name: &str) -> Option<&mut Self> {
        self.elements_mut().find(|child| child.name == name)
    }

    /// The first child of that name; appended where there is none.
    pub(super) fn ensure(&mut self, name: &str) -> &mut Self {
        if self.child(name).is_none() {
            self.push(Self::new(name.to_owned()));
        }
        match self.nodes.iter_mut().find(|node| matches!(node, Node::Element(child) if child.name == name)) {
            Some(Node::Element(child)) => child,
            _ => unreachable!("a child of that name was just appended"),
        }
    }

    /// Drops the children that `gone` says, and tells whether there were any.
    pub(super) fn remove(&mut self, gone: impl Fn(&Self) -> bool) -> bool {
        let before = self.nodes.len();
        self.nodes.retain(|node| !matches!(node, Node::Element(child) if gone(child)));
        self.nodes.len() != before
    }

    /// Drops the children of that name.
    pub(super) fn remove_named(&mut self, name: &str) -> bool {
        self.remove(|child| child.name == name)
    }

    /// Its text, without that of its children.
    pub(super) fn text_content(&self) -> String {
        self.nodes
            .iter()
            .filter_map(|node| match node {
                Node::Text(text) => Some(text.as_str()),
                Node::Element(_) | Node::Comment(_) => None,
            })
            .collect()
    }

    /// Replaces its text; children stay.
    pub(super) fn set_text(&mut self, text: impl ToString) {
        self.nodes.retain(|node| !matches!(node, Node::Text(_)));
        self.nodes.insert(0, Node::Text(text.to_string()));
    }

    /// Its name without a prefix.
    pub(super) fn local(&self) -> &str {
        self.name.rsplit_once(':').map_or(&self.name, |(_, local)| local)
    }

    /// Reads a document whose root has that name.
    pub(super) fn parse_root(text: &str, root: &str) -> Result<Self, XmlError> {
        let document = read::parse_root(text, root)?;
        build(document.root_element(), 0)
    }

    /// Reads any document.
    pub(super) fn parse(text: &str) -> Result<Self, XmlError> {
        build(read::parse(text)?.root_element(), 0)
    }

    /// The document as text, indented by two, as libvirt prints it.
    pub(super) fn to_xml(&self) -> String {
        let mut out = String::with_capacity(16 << 10);
        write(&mut out, self, 0, true);
        out.push('\n');
        // Plans keep the documents of all that they make: each with no more room than it takes.
        out.as_str().into()
    }
}

fn build(node: roxmltree::Node<'_, '_>, depth: usize) -> Result<Element, XmlError> {
    let document = node.document();
    let input = document.input_text();
    let start = node.range().start;
    let pos = document.text_pos_at(start);
    let at = Some((pos.row, pos.col));
    if depth > MAX_DEPTH {
        return Err(XmlError::at("elements are nested too deep", at));
    }
    // The prefix stands in the text only.
    let rest = input.get(start + 1..).unwrap_or_default();
    let end = rest.find(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/').unwrap_or(rest.len());
    let mut element = Element {
        name: rest.get(..end).unwrap_or_default().to_owned().into(),
        namespace: node.tag_name().namespace().map(str::to_owned),
        pos: at,
        ..Element::default()
    };
    for namespace in node.namespaces() {
        let name = namespace.name();
        let inherited = node.parent_element().and_then(|parent| parent.lookup_namespace_uri(name));
        if inherited != Some(namespace.uri()) {
            let name = name.map_or(Cow::Borrowed("xmlns"), |prefix| format!("xmlns:{prefix}").into());
            element.attrs.push((name, namespace.uri().to_owned()));
        }
    }
    for attribute in node.attributes() {
        let name = input.get(attribute.range_qname()).unwrap_or_else(|| attribute.name());
        element.attrs.push((name.to_owned().into(), attribute.value().to_owned()));
    }
    // The parser bears `:name`, which is no name of XML's with namespaces, and takes it for `name`.
    if element.name.starts_with(':') || element.attrs.iter().any(|(name, _)| name.starts_with(':')) {
        return Err(XmlError::at("a name can't begin with a colon", at));
    }
    let has_elements = node.children().any(|child| child.is_element());
    for child in node.children() {
        match child.node_type() {
            roxmltree::NodeType::Element => element.nodes.push(Node::Element(build(child, depth + 1)?)),
            roxmltree::NodeType::Comment => element.nodes.push(Node::Comment(child.text().unwrap_or_default().to_owned())),
            roxmltree::NodeType::Text => {
                let text = child.text().unwrap_or_default();
                let layout = text.chars().all(|c| c.is_ascii_whitespace()) && (has_elements || text.contains('\n'));
                if !layout {
                    element.nodes.push(Node::Text(text.to_owned()));
                }
            }
            roxmltree::NodeType::Root | roxmltree::NodeType::PI => {}
        }
    }
    Ok(element)
}

fn write(out: &mut String, element: &Element, depth: usize, indent: bool) {
    out.push('<');
    out.push_str(&element.name);
    for (name, value) in &element.attrs {
        out.push(' ');
        out.push_str(name);
        out.push_str("=\"");
        out.push_str(&Attribute::from((&**name, allowed(value))).value);
        out.push('"');
    }
    if element.nodes.is_empty() {
        out.push_str("/>");
        return;
    }
    out.push('>');
    // An element with text in it is written as it is: white space would become part of the text.
    let inner = indent && !element.nodes.iter().any(|node| matches!(node, Node::Text(_)));
    for node in &element.nodes {
        if inner {
            line(out, depth + 1);
        }
        match node {
            Node::Element(child) => write(out, child, depth + 1, inner),
            Node::Text(text) => out.push_str(&partial_escape(allowed(text))),
            Node::Comment(text) => out.extend(["<!--", text, "-->"]),
        }
    }
    if inner {
        line(out, depth);
    }
    out.extend(["</", &element.name, ">"]);
}

/// The text without what XML can't hold at all. Manifests with such characters are refused long before.
fn allowed(text: &str) -> Cow<'_, str> {
    let fits = |c: char| matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'));
    // Nearly all of it is ASCII, which is known from its bytes.
    let plain = text.bytes().all(|byte| (b' '..0x80).contains(&byte));
    if plain || text.chars().all(fits) { Cow::Borrowed(text) } else { text.chars().filter(|c| fits(*c)).collect() }
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_keeps_namespaces_comments_and_text() {
        let text = "<domain type=\"qemu\" xmlns:qemu=\"http://q\">\n  <!-- a word -->\n  <title> a &amp; b </title>\n  \
            <metadata>\n    <x:y xmlns:x=\"urn:x\" a=\"1&#10;2\">t<x:z/>u</x:y>\n  </metadata>\n  <qemu:commandline>\n    \
            <qemu:arg value=\"-x\"/>\n  </qemu:commandline>\n</domain>\n";
        let tree = Element::parse(text).expect("reads");
        let again = Element::parse(&tree.to_xml()).expect("reads again");
        assert_eq!(tree.to_xml(), again.to_xml());
        let xml = tree.to_xml();
        for part in ["<title> a &amp; b </title>", "xmlns:x=\"urn:x\"", "t<x:z/>u", "<!-- a word -->", "<qemu:arg value=\"-x\"/>"]
        {
            assert!(xml.contains(part), "{part} in {xml}");
        }
    }

    #[test]
    fn a_document_type_and_unknown_entities_are_refused() {
        assert!(Element::parse("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>").is_err());
        assert!(Element::parse("<a>&b;</a>").is_err());
    }

    #[test]
    fn a_deep_document_is_an_error_and_no_crash() {
        let nested = |elements: usize| Element::parse(&("<a>".repeat(elements) + &"</a>".repeat(elements)));
        assert!(nested(500).is_err() && nested(MAX_DEPTH + 2).is_err());
        assert!(nested(MAX_DEPTH + 1).is_ok());
    }

    #[test]
    fn white_space_is_text_only_where_it_is_no_layout() {
        let read = |text: &str| Element::parse(text).expect("reads");
        assert_eq!(read("<a>  </a>").text_content(), "  ", "a text of spaces is a text");
        assert_eq!(read("<a>\n  </a>").text_content(), "");
        assert_eq!(read("<a> <b/> </a>").text_content(), "");
        assert_eq!(read("<a>\n x\n</a>").text_content(), "\n x\n");
        let line = read("<a>x&#13;y</a>");
        assert!(line.to_xml().contains("x&#13;y"), "a parser takes a bare one for the end of a line");
    }

    #[test]
    fn what_xml_cannot_hold_is_left_out() {
        let text = Element::new("a").text("\u{1}a\tb\n\u{b}c\u{fffe}\u{ffff}\u{7f}ä").to_xml();
        assert_eq!(text, "<a>a\tb\nc\u{7f}ä</a>\n");
    }
}
