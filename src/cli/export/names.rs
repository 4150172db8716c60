//! Names of objects out of names of libvirt's. Pure.

use std::collections::BTreeSet;

use crate::name::Name;

/// A name that an object can have, near to `text` and none of `taken`.
pub(super) fn legal(text: &str, taken: &BTreeSet<Name>) -> Name {
    let mut plain = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        let c = if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' { c } else { '-' };
        let doubled = !c.is_ascii_alphanumeric() && plain.chars().last().is_none_or(|last| !last.is_ascii_alphanumeric());
        if !doubled {
            plain.push(c);
        }
    }
    let cut: String = plain.chars().take(56).collect();
    let cut = cut.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let base = if cut.is_empty() { "unnamed" } else { cut };
    let mut count = 1;
    loop {
        let name = if count == 1 { base.to_owned() } else { format!("{base}-{count}") };
        if let Ok(name) = name.parse::<Name>()
            && !taken.contains(&name)
        {
            return name;
        }
        count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_becomes_a_name_and_no_name_comes_twice() {
        let mut taken = BTreeSet::new();
        for text in ["web", "Web", "web ", "a..b", "-x-", "Größe 12", "…", "", &"long".repeat(60), "über/x_y"] {
            let name = legal(text, &taken);
            assert!(taken.insert(name.clone()), "{text}: {name}");
        }
        assert_eq!(legal("Data Base", &BTreeSet::new()).as_str(), "data-base");
        assert_eq!(legal("web", &["web".parse().unwrap()].into()).as_str(), "web-2");
    }
}
