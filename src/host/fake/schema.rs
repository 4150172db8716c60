//! Which elements and attributes libvirt knows, and the order in which it prints them.
//!
//! The tables are texts beside this file: an element a line, its attributes behind it, what it may hold below it. `+` before a
//! name: there may be several; `*` behind it: whatever is in it is kept as it is.

use std::sync::OnceLock;

use super::tree::{Element, Node};

/// What an element may have.
#[derive(Debug, Default)]
struct Rule {
    name: String,
    many: bool,
    open: bool,
    attrs: Vec<String>,
    children: Vec<Rule>,
}

/// A kind of document.
#[derive(Debug, Clone, Copy)]
pub(super) enum Schema {
    /// A domain.
    Domain,
    /// A network.
    Network,
    /// A pool.
    Pool,
    /// A volume.
    Volume,
}

impl Schema {
    /// Drops what libvirt doesn't know, the second of what there may be one of, and brings the rest into libvirt's order.
    pub(super) fn settle(self, element: &mut Element) {
        settle(element, self.rule());
    }

    /// The first element or attribute that libvirt doesn't know, as its path.
    pub(super) fn unknown(self, element: &Element) -> Option<String> {
        unknown(element, self.rule())
    }

    fn rule(self) -> &'static Rule {
        static DOMAIN: OnceLock<Rule> = OnceLock::new();
        static NETWORK: OnceLock<Rule> = OnceLock::new();
        static POOL: OnceLock<Rule> = OnceLock::new();
        static VOLUME: OnceLock<Rule> = OnceLock::new();
        match self {
            Self::Domain => DOMAIN.get_or_init(|| rules(include_str!("schema/domain.txt"))),
            Self::Network => NETWORK.get_or_init(|| rules(include_str!("schema/network.txt"))),
            Self::Pool => POOL.get_or_init(|| rules(include_str!("schema/pool.txt"))),
            Self::Volume => VOLUME.get_or_init(|| rules(include_str!("schema/volume.txt"))),
        }
    }
}

fn rules(text: &str) -> Rule {
    let mut stack = vec![Rule::default()];
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let depth = (line.len() - line.trim_start().len()) / 2 + 1;
        fold(&mut stack, depth);
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let attrs: Vec<String> = words.map(str::to_owned).collect();
        stack.push(Rule {
            many: name.starts_with('+'),
            name: name.trim_start_matches('+').to_owned(),
            open: attrs.iter().any(|attr| attr == "*"),
            attrs,
            children: Vec::new(),
        });
    }
    fold(&mut stack, 1);
    stack.pop().and_then(|mut top| top.children.pop()).unwrap_or_default()
}

fn fold(stack: &mut Vec<Rule>, depth: usize) {
    while stack.len() > depth {
        if let Some(rule) = stack.pop()
            && let Some(parent) = stack.last_mut()
        {
            parent.children.push(rule);
        }
    }
}

fn settle(element: &mut Element, rule: &Rule) {
    if rule.open {
        return;
    }
    let place = |name: &str| rule.attrs.iter().position(|attr| attr == name);
    element.attrs.retain(|(name, _)| place(name).is_some());
    element.attrs.sort_by_key(|(name, _)| place(name));
    let mut texts = Vec::new();
    let mut slots: Vec<Vec<Element>> = rule.children.iter().map(|_| Vec::new()).collect();
    for node in std::mem::take(&mut element.nodes) {
        match node {
            Node::Element(mut child) => {
                let Some(index) = rule.children.iter().position(|r| r.name == child.name) else { continue };
                if rule.children[index].many || slots[index].is_empty() {
                    settle(&mut child, &rule.children[index]);
                    slots[index].push(child);
                }
            }
            text @ Node::Text(_) => texts.push(text),
            Node::Comment(_) => {}
        }
    }
    if rule.children.is_empty() {
        element.nodes = texts;
    }
    element.nodes.extend(slots.into_iter().flatten().map(Node::Element));
}

fn unknown(element: &Element, rule: &Rule) -> Option<String> {
    if rule.open {
        return None;
    }
    if let Some((name, _)) = element.attrs.iter().find(|(name, _)| !rule.attrs.contains(name)) {
        return Some(format!("{}@{name}", element.name));
    }
    for child in element.children() {
        let Some(rule) = rule.children.iter().find(|r| r.name == child.name) else { return Some(child.name.clone()) };
        if let Some(path) = unknown(child, rule) {
            return Some(format!("{}/{path}", element.name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_elements_go_and_the_rest_is_in_order() {
        let mut element =
            Element::parse("<domain foo='1'><memory unit='KiB'>1</memory><bar/><name>a</name><name>b</name></domain>").unwrap();
        assert_eq!(Schema::Domain.unknown(&element), Some("domain@foo".to_owned()));
        Schema::Domain.settle(&mut element);
        assert_eq!(element.print(), "<domain>\n  <name>a</name>\n  <memory unit='KiB'>1</memory>\n</domain>\n");
    }
}
