//! A small XML tree of the fake's own: read, changed in place, and printed the way libvirt prints.
//!
//! It must not share code with `xml/`: what jvp's readers and writers get wrong would be blessed here too.

use roxmltree::{Document, NodeType};

/// An element, with names as they were written, prefix and all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Its attributes in their order.
    pub attrs: Vec<(String, String)>,
    /// What is in it.
    pub nodes: Vec<Node>,
}

/// What is in an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// An element.
    Element(Element),
    /// Text.
    Text(String),
    /// A comment, kept in metadata only.
    Comment(String),
}

impl Element {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// With an attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// With a child.
    #[must_use]
    pub fn with_child(mut self, child: Element) -> Self {
        self.push(child);
        self
    }

    /// With a text.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.set_text(text);
        self
    }

    /// Reads a document; the error is what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document = Document::parse(text).map_err(|error| error.to_string())?;
        let root = document.root_element();
        let mut element = convert(root, false);
        for namespace in root.namespaces() {
            let used = |name: &str| element.children().any(|child| child.name.starts_with(&format!("{name}:")));
            if let Some(prefix) = namespace.name().filter(|prefix| *prefix == "qemu" && used(prefix)) {
                element.attrs.push((format!("xmlns:{prefix}"), namespace.uri().to_owned()));
            }
        }
        Ok(element)
    }

    /// An attribute's value.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Sets an attribute.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.attrs.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.attrs.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Sets an attribute unless there is one.
    pub fn default_attr(&mut self, name: &str, value: &str) {
        if self.attr(name).is_none() {
            self.set(name, value);
        }
    }

    /// Takes an attribute out.
    pub fn unset(&mut self, name: &str) {
        self.attrs.retain(|(key, _)| key != name);
    }

    /// The elements in it.
    pub fn children(&self) -> impl Iterator<Item = &Element> {
        self.nodes.iter().filter_map(|node| if let Node::Element(element) = node { Some(element) } else { None })
    }

    /// The elements in it, to be changed.
    pub fn children_mut(&mut self) -> impl Iterator<Item = &mut Element> {
        self.nodes.iter_mut().filter_map(|node| if let Node::Element(element) = node { Some(element) } else { None })
    }

    /// The elements of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children().filter(move |child| child.name == name)
    }

    /// The elements of a name, to be changed.
    pub fn all_mut<'a>(&'a mut self, name: &'a str) -> impl Iterator<Item = &'a mut Element> {
        self.children_mut().filter(move |child| child.name == name)
    }

    /// The first element of a name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children().find(|child| child.name == name)
    }

    /// The first element of a name, to be changed.
    pub fn child_mut(&mut self, name: &str) -> Option<&mut Element> {
        self.children_mut().find(|child| child.name == name)
    }

    /// The element at a path of names.
    pub fn at(&self, path: &[&str]) -> Option<&Element> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    /// An attribute of the first element of a name.
    pub fn child_attr(&self, child: &str, attr: &str) -> Option<&str> {
        self.child(child)?.attr(attr)
    }

    /// Changes the first element of a name, which is made where there is none.
    pub fn edit(&mut self, name: &str, change: impl FnOnce(&mut Element)) {
        if self.child(name).is_none() {
            self.push(Element::new(name));
        }
        if let Some(child) = self.child_mut(name) {
            change(child);
        }
    }

    /// Appends an element.
    pub fn push(&mut self, child: Element) {
        self.nodes.push(Node::Element(child));
    }

    /// Takes out the elements of a name.
    pub fn remove(&mut self, name: &str) {
        self.retain(|child| child.name != name);
    }

    /// Keeps only the elements that `keep` wants.
    pub fn retain(&mut self, keep: impl Fn(&Element) -> bool) {
        self.nodes.retain(|node| if let Node::Element(element) = node { keep(element) } else { true });
    }

    /// Its text.
    pub fn text(&self) -> String {
        self.nodes.iter().filter_map(|node| if let Node::Text(text) = node { Some(text.as_str()) } else { None }).collect()
    }

    /// The text of the first element of a name.
    pub fn child_text(&self, name: &str) -> Option<String> {
        self.child(name).map(Element::text)
    }

    /// Puts a text in the place of all that is in it.
    pub fn set_text(&mut self, text: &str) {
        self.nodes = vec![Node::Text(text.to_owned())];
    }

    /// As libvirt prints it: two spaces a level, single quotes, and double ones in metadata.
    pub fn print(&self) -> String {
        let mut out = String::new();
        print(self, 0, &mut out);
        out
    }
}

fn convert(node: roxmltree::Node<'_, '_>, metadata: bool) -> Element {
    let mut element = Element::new(&written_name(node));
    if metadata {
        element.attrs = declarations(node);
    }
    for attribute in node.attributes() {
        let prefix = attribute.namespace().and_then(|uri| node.lookup_prefix(uri)).map(|p| format!("{p}:")).unwrap_or_default();
        element.attrs.push((format!("{prefix}{}", attribute.name()), attribute.value().to_owned()));
    }
    let inside =
        metadata || (node.has_tag_name("metadata") && node.parent().is_some_and(|p| p.parent().is_some_and(|r| r.is_root())));
    let elements = node.children().any(|child| child.is_element());
    for child in node.children() {
        match child.node_type() {
            NodeType::Element => element.nodes.push(Node::Element(convert(child, inside))),
            NodeType::Text => {
                let text = child.text().unwrap_or_default();
                if !(elements && text.trim().is_empty()) {
                    element.nodes.push(Node::Text(text.to_owned()));
                }
            }
            NodeType::Comment if metadata => element.nodes.push(Node::Comment(child.text().unwrap_or_default().to_owned())),
            _ => {}
        }
    }
    if !elements && !metadata && element.text().trim().is_empty() && element.text().contains('\n') {
        element.nodes.clear();
    }
    element
}

fn written_name(node: roxmltree::Node<'_, '_>) -> String {
    let name = node.tag_name();
    match name.namespace().and_then(|uri| node.lookup_prefix(uri)).filter(|prefix| !prefix.is_empty()) {
        Some(prefix) => format!("{prefix}:{}", name.name()),
        None => name.name().to_owned(),
    }
}

/// The namespaces that an element in metadata must declare: its own, and for the outermost those that it uses from outside.
fn declarations(node: roxmltree::Node<'_, '_>) -> Vec<(String, String)> {
    let parent = node.parent();
    let outermost = parent.is_some_and(|p| p.has_tag_name("metadata"));
    let outside =
        |uri: &str, prefix: Option<&str>| parent.is_some_and(|p| p.namespaces().any(|ns| ns.uri() == uri && ns.name() == prefix));
    let used = |uri: &str| {
        let of = |n: roxmltree::Node<'_, '_>| {
            n.tag_name().namespace() == Some(uri) || n.attributes().any(|a| a.namespace() == Some(uri))
        };
        node.descendants().any(of)
    };
    node.namespaces()
        .filter(|ns| ns.name() != Some("xml"))
        .filter(|ns| !outside(ns.uri(), ns.name()) || (outermost && used(ns.uri())))
        .map(|ns| (ns.name().map_or_else(|| "xmlns".to_owned(), |prefix| format!("xmlns:{prefix}")), ns.uri().to_owned()))
        .collect()
}

fn print(element: &Element, level: usize, out: &mut String) {
    indent(level, out);
    open(element, '\'', out);
    if element.nodes.is_empty() {
        out.push_str("/>\n");
        return;
    }
    out.push('>');
    if element.children().next().is_none() {
        escape(&element.text(), out);
    } else {
        out.push('\n');
        for child in element.children() {
            if element.name == "metadata" && level == 1 {
                indent(level + 1, out);
                print_metadata(child, level + 1, out);
                out.push('\n');
            } else {
                print(child, level + 1, out);
            }
        }
        indent(level, out);
    }
    close(element, out);
    out.push('\n');
}

/// Metadata is printed by libxml2: double quotes, and no indentation where there is text among the elements.
fn print_metadata(element: &Element, level: usize, out: &mut String) {
    open(element, '"', out);
    if element.nodes.is_empty() {
        out.push_str("/>");
        return;
    }
    out.push('>');
    let pretty = !element.nodes.iter().any(|node| matches!(node, Node::Text(_)));
    for node in &element.nodes {
        if pretty {
            out.push('\n');
            indent(level + 1, out);
        }
        match node {
            Node::Element(child) => print_metadata(child, level + 1, out),
            Node::Comment(text) => out.push_str(&format!("<!--{text}-->")),
            Node::Text(text) => out.push_str(&text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")),
        }
    }
    if pretty {
        out.push('\n');
        indent(level, out);
    }
    close(element, out);
}

fn open(element: &Element, quote: char, out: &mut String) {
    out.push('<');
    out.push_str(&element.name);
    for (name, value) in &element.attrs {
        out.push(' ');
        out.push_str(name);
        out.push('=');
        out.push(quote);
        if quote == '"' {
            let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
            out.push_str(&value.replace('\n', "&#10;").replace('\t', "&#9;"));
        } else {
            escape(value, out);
        }
        out.push(quote);
    }
}

fn close(element: &Element, out: &mut String) {
    out.push_str("</");
    out.push_str(&element.name);
    out.push('>');
}

fn indent(level: usize, out: &mut String) {
    for _ in 0..level {
        out.push_str("  ");
    }
}

fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libvirt_printed_comes_out_as_it_was() {
        let text = "<domain type='qemu'>\n  <name>a &lt;b&gt;</name>\n  <metadata>\n    <k:a xmlns:k=\"http://x/1\" b=\"1\">\n      \
            <k:c/>\n      <k:d>it's text</k:d>\n    </k:a>\n  </metadata>\n  <devices>\n    <disk type='file'/>\n  </devices>\n</domain>\n";
        assert_eq!(Element::parse(text).unwrap().print(), text);
    }

    #[test]
    fn a_prefix_declared_outside_is_declared_where_it_is_used() {
        let text = "<domain xmlns:k='http://x/1'><metadata><k:a/></metadata></domain>";
        let printed = Element::parse(text).unwrap().print();
        assert!(printed.contains("<k:a xmlns:k=\"http://x/1\"/>"), "{printed}");
    }
}
