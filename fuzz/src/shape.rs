//! What a document says, by a reader of its own: each element with its namespace, attributes in order, texts and comments, without the
//! white space that is only layout. Parts that somebody wanted changed can be left out.

use roxmltree::{Document, Node, NodeType};

/// What is left out of a comparison.
pub struct Except<'a> {
    /// Elements with all that is in them, by the name of their parent.
    pub element: &'a dyn Fn(Node<'_, '_>, &str) -> bool,
    /// Attributes, by the names of their element's parent, of their element, and their own.
    pub attribute: &'a dyn Fn(&str, &str, &str) -> bool,
    /// Elements that say nothing where they are empty, below the root.
    pub hollow: &'a [&'a str],
}

impl Except<'_> {
    /// Nothing is.
    pub const NOTHING: Except<'static> = Except { element: &|_, _| false, attribute: &|_, _, _| false, hollow: &[] };
}

/// What a document says; none where it is no document.
fn of(text: &str, except: &Except<'_>) -> Option<String> {
    let document = Document::parse(text).ok()?;
    Some(element(document.root_element(), "", except))
}

/// Whether two documents say the same, and the second no more and no less.
pub fn same(one: &str, other: &str, except: &Except<'_>) {
    let (Some(a), Some(b)) = (of(one, except), of(other, except)) else { unreachable!("no document:\n{one}\n{other}") };
    let lines = |text: &str, but: &str| -> String {
        let there: std::collections::BTreeSet<&str> = but.lines().collect();
        text.lines().filter(|line| !there.contains(line)).collect::<Vec<_>>().join("\n")
    };
    assert!(a == b, "only before: {}\nonly after: {}\nin\n{one}\n{other}", lines(&a, &b), lines(&b, &a));
}

/// The name of an element of libvirt's own; empty for one of a namespace.
fn own<'a>(node: Node<'a, '_>) -> &'a str {
    if node.tag_name().namespace().is_none() { node.tag_name().name() } else { "" }
}

fn element(node: Node<'_, '_>, parent: &str, except: &Except<'_>) -> String {
    let name = own(node);
    let mut attributes: Vec<String> = node
        .attributes()
        .filter(|attribute| attribute.namespace().is_some() || !(except.attribute)(parent, name, attribute.name()))
        .map(|attribute| format!(" {}|{}={:?}", attribute.namespace().unwrap_or_default(), attribute.name(), attribute.value()))
        .collect();
    attributes.sort();
    // Also in a root that has lost its last one to what was wanted: no root has a text.
    let has_elements = node.parent().is_some_and(|above| above.is_root()) || node.children().any(|child| child.is_element());
    let (mut inside, mut run) = (String::new(), String::new());
    // Beside elements a text's white space is layout, and what is left out between two texts makes them one.
    let told = |run: &mut String| {
        let text = std::mem::take(run);
        let words = if has_elements { text.split_ascii_whitespace().collect::<Vec<_>>().join(" ") } else { text };
        let blank = words.chars().all(|c| c.is_ascii_whitespace());
        if blank && (has_elements || words.contains('\n') || words.is_empty()) { String::new() } else { format!("{words:?}") }
    };
    for child in node.children() {
        match child.node_type() {
            NodeType::Element if own(child).is_empty() || !(except.element)(child, name) => {
                let below = element(child, name, except);
                if !below.is_empty() {
                    inside += &(told(&mut run) + &below);
                }
            }
            NodeType::Text => run += child.text().unwrap_or_default(),
            NodeType::Comment => inside += &format!("{}<!--{}-->", told(&mut run), child.text().unwrap_or_default()),
            _ => {}
        }
    }
    inside += &told(&mut run);
    if inside.is_empty() && attributes.is_empty() && except.hollow.contains(&name) {
        return String::new();
    }
    format!(
        "\n<{}|{}{}>{inside}</>",
        node.tag_name().namespace().unwrap_or_default(),
        node.tag_name().name(),
        attributes.concat()
    )
}
