//! The words of `jvp explain CODE`, and the page of all codes as Markdown.

use std::fmt::Write as _;

use super::{Code, Example};

impl Code {
    /// The code of that number (`JVP0102`, in any case, also without its zeros) or name (`yaml-tabs`).
    pub fn parse(text: &str) -> Option<Self> {
        let upper = text.to_ascii_uppercase();
        let number: Option<u32> = upper.strip_prefix("JVP").and_then(|number| number.parse().ok());
        Self::ALL.iter().copied().find(|code| {
            let row = code.row();
            let same = number.is_some_and(|number| row.code.strip_prefix("JVP").and_then(|own| own.parse().ok()) == Some(number));
            same || row.name.eq_ignore_ascii_case(text)
        })
    }

    /// What the code means, why, and an example of the wrong and the right.
    pub fn explain(self) -> String {
        let (row, example) = (self.row(), self.example());
        let mut text = format!("{} ({}), {}\n\n", row.code, row.name, row.severity.word());
        for line in wrapped(row.docs, 100) {
            let _ = writeln!(text, "{line}");
        }
        let _ = write!(text, "\nWrong:\n\n{}\nRight:\n\n{}", indented(example.wrong()), indented(example.right()));
        text
    }
}

/// The page of all codes.
pub fn page() -> String {
    let mut page = String::from(
        "# Diagnostics\n\n\
         What jvp says of manifests, by code: what the rule is, why, and an example of the wrong and the right. `jvp explain JVP0102` \
         prints one of them.\n\n<!-- Made from the table of codes: JVP_UPDATE=1 cargo test --test schemas -->\n",
    );
    for code in Code::ALL {
        let (row, example) = (code.row(), code.example());
        let language = match example {
            Example::Manifest { .. } => "yaml",
            Example::Command { .. } => "sh",
        };
        let _ = write!(
            page,
            "\n## {} {}\n\n{}: {}\n\nWrong:\n\n```{language}\n{}```\n\nRight:\n\n```{language}\n{}```\n",
            row.code,
            row.name,
            row.severity.word(),
            row.docs,
            example.wrong(),
            example.right(),
        );
    }
    page
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |all, line| all + "    " + line + "\n")
}

/// Lines of at most `width` characters, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_its_number_and_its_name() {
        for text in ["JVP0102", "jvp0102", "JVP102", "yaml-tabs", "YAML-Tabs"] {
            assert_eq!(Code::parse(text), Some(Code::Tabs), "{text}");
        }
        assert_eq!(Code::parse("JVP9999"), None);
        assert_eq!(Code::parse("tabs"), None);
    }

    #[test]
    fn every_code_is_explained_with_an_example() {
        for code in Code::ALL {
            let (row, text) = (code.row(), code.explain());
            assert!(text.starts_with(row.code) && text.contains("Wrong:") && text.contains("Right:"), "{code}");
            assert!(row.docs.len() > 20 && row.docs.ends_with('.'), "{code}");
            assert_ne!(code.example().wrong(), code.example().right(), "{code}");
        }
    }
}
