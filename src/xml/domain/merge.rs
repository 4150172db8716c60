//! A fragment of the user's in a domain's document: merging it, taking leaves out of it again, and reading what the document says
//! of its leaves.
//!
//! Nothing is removed because it is not mentioned. What no key matches is appended.

use std::collections::{BTreeMap, BTreeSet};

use super::fragment::{Fragment, Key, Leaf, canonical, is_key_attr, is_removal, key, segment};
use crate::xml::XmlError;
use crate::xml::tree::{Element, Node};

/// What stands at the end of the path of an element that the fragment brought into the document.
pub const BROUGHT: &str = "/+";

/// What stands at the end of the path of an element that the fragment has removed: nothing of it is the fragment's.
pub const REMOVED: &str = "/-";

/// What a document says of a fragment's leaf.
#[derive(Clone, PartialEq, Eq)]
pub struct FragmentValue {
    /// What the fragment wants; `None` is its absence.
    pub wanted: Option<String>,
    /// What the document has.
    pub found: Option<String>,
    /// Whether it is a secret.
    pub sensitive: bool,
}

impl std::fmt::Debug for FragmentValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.sensitive {
            return f.write_str("(sensitive)");
        }
        write!(f, "{:?} wanted, {:?} found", self.wanted, self.found)
    }
}

/// The document with the fragment in it.
pub fn merge(document: &str, fragment: &Fragment) -> Result<String, XmlError> {
    merge_dropping(document, fragment, &BTreeSet::new())
}

/// The document with the fragment in it and, before that, without the leaves of `drop`: what an earlier fragment had and this
/// one has no more. The path of an element, also with `/+` behind it, takes the element with all that is in it.
pub fn merge_dropping(document: &str, fragment: &Fragment, drop: &BTreeSet<String>) -> Result<String, XmlError> {
    let mut root = Element::parse_root(document, "domain")?;
    let drop: BTreeSet<&str> = drop.iter().map(|path| path.strip_suffix(BROUGHT).unwrap_or(path)).collect();
    // What lies in an element that goes is gone with it.
    let is_within = |path: &str| path.match_indices('/').any(|(at, _)| path.get(..at).is_some_and(|above| drop.contains(above)));
    for path in drop.iter().filter(|path| !is_within(path)).filter_map(|path| path.strip_prefix("/xml/")) {
        drop_path(&mut root, path);
    }
    merge_into(&mut root, &fragment.root)?;
    Ok(root.to_xml())
}

/// The paths of a fragment's leaves, as they are remembered.
pub fn paths(fragment: &Fragment) -> BTreeSet<String> {
    let path = |(path, leaf): (&String, &Leaf)| if leaf.value.is_some() { path.clone() } else { format!("{path}{REMOVED}") };
    fragment.leaves().iter().map(path).collect()
}

impl Fragment {
    /// What is to be remembered of a merge into `document`: the paths of the leaves, and of the elements that the document did
    /// not have, as `…/+`. Those that `last` remembers stay remembered while the fragment names them.
    pub fn remembered(&self, document: &str, last: &BTreeSet<String>) -> Result<BTreeSet<String>, XmlError> {
        let root = Element::parse_root(document, "domain")?;
        let mut all = paths(self);
        appended(&root, &self.root, "/xml", &mut all)?;
        for path in last {
            if let Some(element) = path.strip_suffix(BROUGHT) {
                let below = format!("{element}/");
                let says = |(path, leaf): (&String, &Leaf)| leaf.value.is_some() && (path == element || path.starts_with(&below));
                if self.leaves().iter().any(says) {
                    all.insert(path.clone());
                }
            }
        }
        Ok(all)
    }
}

/// What the document says of each leaf of the fragment.
pub fn read(document: &str, fragment: &Fragment) -> Result<BTreeMap<String, FragmentValue>, XmlError> {
    let root = Element::parse_root(document, "domain")?;
    let mut found = BTreeMap::new();
    look(Some(&root), &fragment.root, "/xml", &mut found)?;
    let value = |(path, leaf): (&String, &Leaf)| {
        let found = found.get(path).cloned().flatten();
        (path.clone(), FragmentValue { wanted: leaf.value.clone(), found, sensitive: leaf.sensitive })
    };
    Ok(fragment.leaves().iter().map(value).collect())
}

/// Namespaces that an element of the fragment declares are declared on the document's; on its root libvirt looks for them.
fn declare(target: &mut Element, wanted: &Element) -> Result<(), XmlError> {
    for (name, uri) in &wanted.attrs {
        let Some(prefix) = name.strip_prefix("xmlns:").filter(|prefix| *prefix != "jvp") else { continue };
        let have = target.get(name).map(str::to_owned);
        if have.as_ref() == Some(uri) {
            continue;
        }
        if let Some(other) = have.or_else(|| meant_otherwise(target, prefix, uri)) {
            let message = format!("the prefix `{prefix}` stands for {uri} here, and for {other} in the domain's document");
            return Err(XmlError::at(message, wanted.pos));
        }
        // Where a reader finds them again: before the other attributes.
        let place = target.attrs.iter().take_while(|(name, _)| name.starts_with("xmlns")).count();
        target.attrs.insert(place, (name.clone(), uri.clone()));
    }
    Ok(())
}

/// What a prefix means in an element of the document, where that isn't `uri`.
fn meant_otherwise(element: &Element, prefix: &str, uri: &str) -> Option<String> {
    let own = element.name.split_once(':').filter(|(own, _)| *own == prefix).and(element.namespace.as_deref());
    own.filter(|own| *own != uri)
        .map(str::to_owned)
        .or_else(|| element.elements().find_map(|child| meant_otherwise(child, prefix, uri)))
}

fn same_name(a: &Element, b: &Element) -> bool {
    a.local() == b.local() && a.namespace == b.namespace
}

/// Whether an element of `parent` is a member of the list that `member` is one of: of its name, and without a key.
fn in_list(parent: &Element, element: &Element, member: &Element) -> bool {
    same_name(element, member) && !matches!(key(parent, element), Ok(Key::By(_)))
}

/// The place of the element of `parent` that `wanted` means.
fn find(parent: &Element, wanted: &Element, wanted_key: &Key) -> Option<usize> {
    parent.nodes.iter().position(|node| match node {
        Node::Element(element) => is_it(parent, element, wanted, wanted_key),
        Node::Text(_) | Node::Comment(_) => false,
    })
}

fn is_it(parent: &Element, element: &Element, wanted: &Element, wanted_key: &Key) -> bool {
    if !same_name(element, wanted) {
        return false;
    }
    match wanted_key {
        Key::Single => true,
        Key::List => false,
        Key::By(value) => {
            let alias = element.child("alias").and_then(|alias| alias.get("name"));
            key(parent, element).is_ok_and(|key| key == *wanted_key) || alias == Some(value.as_str())
        }
    }
}

fn merge_into(target: &mut Element, wanted: &Element) -> Result<(), XmlError> {
    declare(target, wanted)?;
    for (name, value) in &wanted.attrs {
        if target.get(name).is_some_and(|have| have != value) {
            unset_what_goes_with(target, name);
        }
    }
    for (name, value) in &wanted.attrs {
        if name != "xmlns" && !name.starts_with("xmlns:") && !name.starts_with("jvp:") {
            // A MAC stays as libvirt writes it.
            let same = target.get(name).is_some_and(|have| name == "address" && have.eq_ignore_ascii_case(value));
            if !same {
                target.set(name.clone(), value);
            }
        }
    }
    let text = wanted.text_content();
    if !text.trim().is_empty() {
        target.set_text(text.trim());
    }
    let mut lists: Vec<&str> = Vec::new();
    for child in wanted.elements() {
        let child_key = key(wanted, child)?;
        if child_key == Key::List {
            // A list is replaced as a whole, once, where it stands.
            if !lists.contains(&&*child.name) {
                lists.push(&child.name);
                let is_member =
                    |parent: &Element, node: &Node| matches!(node, Node::Element(element) if in_list(parent, element, child));
                let place = target.nodes.iter().position(|node| is_member(target, node)).unwrap_or(target.nodes.len());
                let old = std::mem::take(target);
                let mut nodes: Vec<Node> = old.nodes.iter().filter(|node| !is_member(&old, node)).cloned().collect();
                let members = wanted.elements().filter(|element| in_list(wanted, element, child));
                let place = place.min(nodes.len());
                nodes.splice(place..place, members.map(|element| Node::Element(placed(element, &old))));
                *target = Element { nodes, ..old };
            }
            continue;
        }
        let place = find(target, child, &child_key);
        if is_removal(child) {
            if let Some(place) = place {
                target.nodes.remove(place);
            }
            continue;
        }
        match place.and_then(|place| target.nodes.get_mut(place)) {
            Some(Node::Element(found)) => merge_into(found, child)?,
            _ => {
                let new = placed(child, target);
                target.push(new);
            }
        }
    }
    Ok(())
}

/// An element of a fragment as it goes into an element of the document, which may name its own namespace in another way.
fn placed(element: &Element, parent: &Element) -> Element {
    let mut copy = clean(element);
    let plain = |element: &Element| !element.name.contains(':');
    if let Some(namespace) = &copy.namespace
        && plain(&copy)
        && copy.get("xmlns").is_none()
        && !(plain(parent) && parent.namespace == copy.namespace)
    {
        copy.attrs.insert(0, ("xmlns".into(), namespace.clone()));
    }
    copy
}

/// An element of a fragment without what only speaks to whoever merges it.
fn clean(element: &Element) -> Element {
    let mut copy = Element { nodes: grouped(element), ..element.clone() };
    copy.attrs.retain(|(name, _)| !name.starts_with("jvp:") && name != "xmlns:jvp");
    copy.nodes.retain(|node| !matches!(node, Node::Element(child) if is_removal(child)));
    for child in copy.elements_mut() {
        *child = clean(child);
    }
    copy
}

/// What lies in an element, the members of each list together where the first of them stands: a merge replaces them so, and the first merge
/// is to leave nothing for a second one to do.
fn grouped(element: &Element) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut rest: Vec<&Node> = element.nodes.iter().collect();
    while !rest.is_empty() {
        let first = rest.remove(0);
        nodes.push(first.clone());
        if let Node::Element(child) = first
            && key(element, child) == Ok(Key::List)
        {
            let is_member = |node: &&Node| matches!(node, Node::Element(other) if in_list(element, other, child));
            let (members, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_member);
            nodes.extend(members.into_iter().cloned());
            rest = others;
        }
    }
    nodes
}

fn appended(target: &Element, wanted: &Element, path: &str, all: &mut BTreeSet<String>) -> Result<(), XmlError> {
    for child in wanted.elements() {
        let child_key = key(wanted, child)?;
        if child_key == Key::List || is_removal(child) {
            continue;
        }
        let path = format!("{path}/{}", segment(child, &child_key));
        match find(target, child, &child_key).and_then(|place| target.nodes.get(place)) {
            Some(Node::Element(found)) => appended(found, child, &path, all)?,
            _ => {
                all.insert(path + BROUGHT);
            }
        }
    }
    Ok(())
}

fn look(
    target: Option<&Element>,
    wanted: &Element,
    path: &str,
    found: &mut BTreeMap<String, Option<String>>,
) -> Result<(), XmlError> {
    if let Some(target) = target {
        found.insert(path.to_owned(), Some(String::new()));
        for (name, value) in &target.attrs {
            found.insert(format!("{path}/@{name}"), Some(value.clone()));
        }
        let text = target.text_content();
        if !text.trim().is_empty() {
            found.insert(format!("{path}/#text"), Some(text.trim().to_owned()));
        }
    }
    for child in wanted.elements() {
        let child_key = key(wanted, child)?;
        let path = format!("{path}/{}", segment(child, &child_key));
        if child_key == Key::List {
            let members =
                |target: &Element| target.elements().filter(|element| in_list(target, element, child)).map(canonical).collect();
            let list: String = target.map(members).unwrap_or_default();
            found.insert(path, (!list.is_empty()).then_some(list));
            continue;
        }
        let place = target.and_then(|target| target.nodes.get(find(target, child, &child_key)?));
        match place {
            Some(Node::Element(element)) => look(Some(element), child, &path, found)?,
            _ => look(None, child, &path, found)?,
        }
    }
    Ok(())
}

/// Those of some paths of leaves at which the document has something.
pub fn standing<'p>(document: &str, paths: impl IntoIterator<Item = &'p String>) -> Result<BTreeSet<&'p String>, XmlError> {
    let root = Element::parse_root(document, "domain")?;
    let there = |path: &&String| path.strip_prefix("/xml/").is_some_and(|path| stands(&root, path));
    Ok(paths.into_iter().filter(there).collect())
}

fn stands(element: &Element, path: &str) -> bool {
    let (step, rest) = split_step(path);
    if let Some(attr) = step.strip_prefix('@') {
        return element.get(attr).is_some();
    }
    if step == "#text" {
        return !element.text_content().trim().is_empty();
    }
    let found = meant(element, step).first().and_then(|place| element.nodes.get(*place));
    matches!((found, rest), (Some(_), None))
        || matches!((found, rest), (Some(Node::Element(child)), Some(rest)) if stands(child, rest))
}

/// Takes the leaf or element at a path out, and the elements above it that are empty then, but for devices.
fn drop_path(element: &mut Element, path: &str) {
    let (step, rest) = split_step(path);
    if let Some(attr) = step.strip_prefix('@') {
        element.unset(attr);
        unset_what_goes_with(element, attr);
        return;
    }
    if step == "#text" {
        element.nodes.retain(|node| !matches!(node, Node::Text(_)));
        return;
    }
    let is_device = element.local() == "devices";
    for place in meant(element, step).into_iter().rev() {
        if let (Some(rest), Some(Node::Element(child))) = (rest, element.nodes.get_mut(place)) {
            drop_path(child, rest);
        }
        let emptied = matches!(element.nodes.get(place), Some(Node::Element(child))
            if !is_device && child.nodes.is_empty() && only_key(element, child));
        if rest.is_none() || emptied {
            element.nodes.remove(place);
        }
    }
}

/// The places of what a step of a path means in an element: of one element, or of a whole list. Where none has the step's prefix, the document
/// may have another one for it.
fn meant(element: &Element, step: &str) -> Vec<usize> {
    let (name, key_of) = step.split_once('[').map_or((step, None), |(name, key)| (name, Some(key)));
    let is_list = key_of == Some("]");
    let is_it = |child: &Element| match key_of {
        None => true,
        Some("]") => !matches!(key(element, child), Ok(Key::By(_))),
        Some(wanted) => {
            let named = |key: &Key| segment(child, key).split_once('[').is_some_and(|(_, key)| key == wanted);
            let alias = child.child("alias").and_then(|alias| alias.get("name"));
            key(element, child).is_ok_and(|key| named(&key)) || alias.is_some_and(|alias| named(&Key::By(alias.to_owned())))
        }
    };
    let places = |has_name: &dyn Fn(&Element) -> bool| -> Vec<usize> {
        let nodes = (0..).zip(&element.nodes);
        let found = nodes.filter(|(_, node)| matches!(node, Node::Element(child) if has_name(child) && is_it(child)));
        found.map(|(place, _)| place).take(if is_list { usize::MAX } else { 1 }).collect()
    };
    let exactly = places(&|child| *child.name == *name);
    if exactly.is_empty() { places(&|child| child.local() == local(name)) } else { exactly }
}

/// Takes out what libvirt adds for one value of an attribute and refuses with another.
fn unset_what_goes_with(element: &mut Element, attr: &str) {
    if element.local() == "cpu" && attr == "mode" {
        for other in ["match", "check", "migratable"] {
            element.unset(other);
        }
    }
}

/// Whether an element has no attributes but those of its key.
fn only_key(parent: &Element, child: &Element) -> bool {
    child.attrs.iter().all(|(attr, _)| is_key_attr(parent.local(), child.local(), attr))
}

/// The first step of a path, and the rest. A key can hold anything but `]`, and `/` stands in it as `~1`.
fn split_step(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        Some((step, rest)) => (step, Some(rest)),
        None => (path, None),
    }
}

/// A name without its prefix, which a document may write in another way.
fn local(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, local)| local)
}
