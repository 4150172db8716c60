//! Transcripts: what differs from one run or node to the next is given a name.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};
use similar::TextDiff;

/// The names of what libvirt made up, in the order in which it came up.
pub(crate) struct Names {
    images: String,
    uuids: BTreeMap<String, String>,
    macs: BTreeMap<String, String>,
}

impl Names {
    pub(crate) fn new(images: &str) -> Self {
        Self { images: images.to_owned(), uuids: BTreeMap::new(), macs: BTreeMap::new() }
    }

    /// The text with names for paths, times, and the UUIDs and MACs that the case doesn't give.
    pub(crate) fn normalise(&mut self, text: &str, given: &str) -> String {
        let mut lines = Vec::new();
        let (mut measured, pool) = (text.contains("<pool"), text.contains("<pool"));
        measured |= text.contains("<volume");
        for line in text.lines() {
            let element = line.trim_start().trim_start_matches('<').split(['>', ' ', '/']).next().unwrap_or_default();
            let line = match element {
                "atime" | "mtime" | "ctime" | "btime" => continue,
                // What a file system makes of it; and a pool shows all of it.
                "allocation" if measured => within(line, "SOME"),
                "capacity" | "available" if pool => within(line, "SOME"),
                "error" => said(&line.replace(&self.images, "@images@")),
                _ => line.replace(&self.images, "@images@"),
            };
            lines.push(self.made_up(&line, given));
        }
        lines.join("\n")
    }

    fn made_up(&mut self, line: &str, given: &str) -> String {
        let mut out = String::new();
        let mut word = String::new();
        for character in line.chars().chain(std::iter::once('\n')) {
            if character.is_ascii_hexdigit() || character == '-' || character == ':' {
                word.push(character);
                continue;
            }
            out.push_str(&self.named(&word, given));
            word.clear();
            if character != '\n' {
                out.push(character);
            }
        }
        ptys(&out)
    }

    fn named(&mut self, word: &str, given: &str) -> String {
        if given.contains(word) {
            return word.to_owned();
        }
        if word.len() == 36 && word.matches('-').count() == 4 {
            let next = self.uuids.len() + 1;
            return self.uuids.entry(word.to_owned()).or_insert_with(|| format!("UUID-{next}")).clone();
        }
        if word.len() == 17 && word.matches(':').count() == 5 {
            let next = self.macs.len() + 1;
            return self.macs.entry(word.to_owned()).or_insert_with(|| format!("MAC-{next}")).clone();
        }
        word.to_owned()
    }
}

/// An error without what QEMU, its tools and the schema's checker say beyond the point.
fn said(line: &str) -> String {
    if let Some(at) = line.find("against schema") {
        return line[..at + 14].to_owned();
    }
    let (Some(from), Some(to)) = (line.find("failed to get "), line.find("\"write\" lock")) else { return line.to_owned() };
    let head = line.split(": ").next().unwrap_or_default();
    format!("{head}: … {}", &line[from..to + 12])
}

/// Numbers that count what runs on the whole machine.
fn ptys(line: &str) -> String {
    let mut out = line.to_owned();
    for (before, name) in [("/dev/pts/", "N"), ("vnet", "N"), ("id='", "ID"), ("/domain-", "ID"), ("'59", "NN"), ("virbr", "N")] {
        let Some(at) = out.find(before) else { continue };
        if before == "id='" && !out.trim_start().starts_with("<domain") && !out.contains("> ") {
            continue;
        }
        let from = at + before.len();
        let digits = out[from..].bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || (before == "'59" && digits != 2) {
            continue;
        }
        let mut rest = out[from + digits..].to_owned();
        // The same number may stand in a line twice.
        if before == "/dev/pts/" {
            rest = ptys(&rest);
        }
        out = format!("{}{name}{rest}", &out[..from]);
    }
    out
}

fn within(line: &str, text: &str) -> String {
    match (line.find('>'), line.rfind('<')) {
        (Some(from), Some(to)) if from < to => format!("{}{text}{}", &line[..=from], &line[to..]),
        _ => line.to_owned(),
    }
}

/// The elements at these paths below the root, as they were written; a path may end in `@attribute`.
pub(crate) fn parts(xml: &str, paths: &[String]) -> String {
    let Ok(document) = Document::parse(xml) else { return xml.to_owned() };
    let mut out = String::new();
    for path in paths {
        let (elements, attribute) = path.split_once('@').map_or((path.as_str(), None), |(path, name)| (path, Some(name)));
        let mut found: Vec<Node<'_, '_>> = vec![document.root_element()];
        for name in elements.split('/').filter(|name| !name.is_empty()) {
            found = found
                .iter()
                .flat_map(Node::children)
                .filter(|child| child.has_tag_name(name) || child.tag_name().name() == name)
                .collect();
        }
        if found.is_empty() {
            out.push_str(&format!("{path}: none\n"));
        }
        for node in found {
            match attribute {
                Some(name) => out.push_str(&format!("{path}: {}\n", node.attribute(name).unwrap_or("none"))),
                None => out.push_str(&format!("{}\n", &xml[node.range()])),
            }
        }
    }
    out
}

/// The outcomes alone: the calls, and which kind of error they came to.
pub(crate) fn outcomes(transcript: &str) -> String {
    let mut out = Vec::new();
    let mut call = "";
    for line in transcript.lines() {
        if let Some(title) = line.strip_prefix("> ") {
            call = title;
        } else if line == "ok" {
            out.push(format!("{call}: ok"));
        } else if let Some(error) = line.strip_prefix("error ") {
            out.push(format!("{call}: {}", error.split(' ').next().unwrap_or_default()));
        }
    }
    out.join("\n")
}

/// What differs, with a little around it.
pub(crate) fn difference(expected: &str, got: &str) -> String {
    TextDiff::from_lines(expected, got).unified_diff().context_radius(3).to_string()
}
