//! Documents that tests follow: their blocks, and the commands in them.

#![allow(dead_code, reason = "each test uses its part")]

/// A fenced block of a document.
pub(crate) struct Block<'a> {
    /// The number of its first line, below the fence; the first line of the document is 0.
    pub(crate) line: usize,
    pub(crate) language: &'a str,
    pub(crate) lines: Vec<&'a str>,
}

/// The blocks of a document.
pub(crate) fn blocks(text: &str) -> Vec<Block<'_>> {
    let (mut found, mut open): (Vec<Block<'_>>, Option<Block<'_>>) = (Vec::new(), None);
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some(Block { line: number + 1, language, lines: Vec::new() }),
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => block.lines.push(line),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    found
}

/// The commands of a document's `console` blocks, each with its line and what it prints.
pub(crate) fn commands(text: &str) -> Vec<(usize, String, Vec<String>)> {
    blocks(text).iter().filter(|block| block.language == "console").flat_map(of_console).collect()
}

pub(crate) fn of_console(block: &Block<'_>) -> Vec<(usize, String, Vec<String>)> {
    let mut found: Vec<(usize, String, Vec<String>)> = Vec::new();
    for (number, line) in block.lines.iter().enumerate() {
        match line.strip_prefix("$ ") {
            Some(command) => found.push((block.line + number + 1, command.to_owned(), Vec::new())),
            None => found.last_mut().unwrap().2.push((*line).to_owned()),
        }
    }
    found
}
