//! Which objects a person means: kinds, references and labels. Pure; what is wrong with the words is told, not printed.

use std::collections::BTreeMap;

use crate::name::{Kind, Name, ObjectRef};

/// One thing that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// All objects of all kinds but the Fleet.
    All,
    /// All objects of a kind.
    Kind(Kind),
    /// One object, on all its nodes where none was named.
    Object(ObjectRef),
}

impl What {
    /// Whether an object was asked for.
    pub(super) fn takes(&self, object: &ObjectRef) -> bool {
        match self {
            Self::All => object.kind != Kind::Fleet,
            Self::Kind(kind) => object.kind == *kind,
            Self::Object(wanted) => {
                object.kind == wanted.kind && object.name == wanted.name && (wanted.node.is_none() || wanted.node == object.node)
            }
        }
    }
}

/// Reads `vms`, `vms,pools`, `all`, `vm/web-1`, and, as kubectl has it, `vm web-1 web-2`.
pub(super) fn parse(words: &[String]) -> Result<Vec<What>, String> {
    let mut all = Vec::new();
    // The kind that names after it belong to, and whether it has had one.
    let mut names_of: Option<(Kind, bool)> = None;
    for word in words.iter().flat_map(|words| words.split(',')).map(str::trim).filter(|word| !word.is_empty()) {
        if word.contains('/') {
            all.push(What::Object(word.parse::<ObjectRef>().map_err(|error| error.to_string())?));
            names_of = None;
        } else if word.eq_ignore_ascii_case("all") {
            all.push(What::All);
            names_of = None;
        } else if let Some(kind) = Kind::parse(word) {
            all.push(What::Kind(kind));
            names_of = Some((kind, false));
        } else if let Some((kind, had_one)) = names_of {
            if !had_one {
                all.pop();
            }
            all.push(What::Object(
                format!("{kind}/{word}").parse().map_err(|error: crate::name::InvalidValue| error.to_string())?,
            ));
            names_of = Some((kind, true));
        } else {
            return Err(format!("`{word}` is neither a kind nor a reference such as `vm/web-1`"));
        }
    }
    Ok(all)
}

/// The kinds by the words that the command line takes, for a help line.
pub(super) fn kinds() -> String {
    let words: Vec<&str> = Kind::TABLE.iter().filter_map(|row| row.aliases.get(1).copied()).collect();
    format!("{}, all", words.join(", "))
}

/// What is asked of labels; all of it must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct Selector(Vec<Need>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    Has(String),
    Lacks(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

impl Selector {
    /// Reads `a=b`, `a==b`, `a!=b`, `a`, `!a`, `a in (x,y)`, `a notin (x,y)`, with commas between.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, String> {
        let needs = split(text)?.into_iter().map(str::trim).filter(|part| !part.is_empty());
        needs.map(|part| need(part).ok_or_else(|| bad(part))).collect::<Result<_, _>>().map(Self)
    }

    /// Whether labels are as asked. What an object lacks is unequal to everything.
    pub(in crate::cli) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|need| match need {
            Need::Has(key) => labels.contains_key(key),
            Need::Lacks(key) => !labels.contains_key(key),
            Need::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Need::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
        })
    }
}

fn bad(part: &str) -> String {
    format!("`{part}` is not a selector such as `app=web`, `app!=web`, `app`, `!app` or `app in (web,db)`")
}

/// The parts between commas that stand in no parentheses.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let (mut start, mut open) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '(' if open => return Err(bad(text)),
            '(' => open = true,
            ')' if !open => return Err(bad(text)),
            ')' => open = false,
            ',' if !open => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    if open {
        return Err(bad(text));
    }
    parts.push(text.get(start..).unwrap_or_default());
    Ok(parts)
}

fn need(part: &str) -> Option<Need> {
    if let Some((head, list)) = part.split_once('(') {
        let mut words = head.split_whitespace();
        let (key, word) = (key(words.next()?)?, words.next()?);
        let list = list.strip_suffix(')')?;
        let values: Vec<String> = list.split(',').map(|value| value.trim().to_owned()).collect();
        return match (word, words.next()) {
            ("in", None) => Some(Need::In(key, values)),
            ("notin", None) => Some(Need::NotIn(key, values)),
            _ => None,
        };
    }
    if let Some((name, value)) = part.split_once("!=") {
        return Some(Need::NotIn(key(name)?, vec![value_of(value)?]));
    }
    if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Need::In(key(name)?, vec![value_of(value)?]));
    }
    match part.strip_prefix('!') {
        Some(name) => Some(Need::Lacks(key(name)?)),
        None => Some(Need::Has(key(part)?)),
    }
}

fn key(text: &str) -> Option<String> {
    let text = text.trim();
    let ok = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "=!(),".contains(c));
    ok.then(|| text.to_owned())
}

fn value_of(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.contains(|c: char| c.is_whitespace() || "=!(),".contains(c))).then(|| text.to_owned())
}

/// The name that was probably meant, of those that there are.
pub(super) fn near<'a>(wanted: &ObjectRef, all: impl Iterator<Item = &'a ObjectRef>) -> Option<&'a ObjectRef> {
    let far = |name: &Name| strsim::levenshtein(name.as_str(), wanted.name.as_str());
    let nearest = all.filter(|object| object.kind == wanted.kind).min_by_key(|object| far(&object.name))?;
    (far(&nearest.name) <= wanted.name.as_str().len().max(3) / 2).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        text.split_whitespace().filter_map(|pair| pair.split_once('=')).map(|(a, b)| (a.into(), b.into())).collect()
    }

    #[test]
    fn selectors_select() {
        let web = labels("app=web tier=front");
        for (selector, wanted) in [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app=db", false),
            ("app!=db,tier", true),
            ("zone!=a", true),
            ("!zone", true),
            ("!app", false),
            ("zone", false),
            ("app in (db, web),tier=front", true),
            ("app notin (db,web)", false),
            ("zone notin (a)", true),
        ] {
            assert_eq!(Selector::parse(selector).unwrap().matches(&web), wanted, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_said() {
        for bad in ["a b", "app in web", "app in (web", "(a)", "=web", "app=a=b", "app of (x)", "!", "a)("] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn kinds_references_and_names_are_read() {
        let read = |words: &[&str]| parse(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        let object = |text: &str| What::Object(text.parse().unwrap());
        assert_eq!(read(&["vms,pools"]).unwrap(), [What::Kind(Kind::VirtualMachine), What::Kind(Kind::StoragePool)]);
        assert_eq!(read(&["vm", "web-1", "web-2"]).unwrap(), [object("vm/web-1"), object("vm/web-2")]);
        assert_eq!(read(&["vm/web-1", "net/lan@a", "all"]).unwrap(), [object("vm/web-1"), object("net/lan@a"), What::All]);
        assert!(read(&["web-1"]).unwrap_err().contains("neither a kind"));
        assert!(What::Object("net/lan".parse().unwrap()).takes(&"net/lan@a".parse().unwrap()));
        assert!(!What::Object("net/lan@b".parse().unwrap()).takes(&"net/lan@a".parse().unwrap()));
    }
}
