//! Documents whose `console` blocks tests follow.

/// The commands of a document's `console` blocks, each with its line and what it prints.
pub(crate) fn commands(text: &str) -> Vec<(usize, String, Vec<String>)> {
    let mut found: Vec<(usize, String, Vec<String>)> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, line) => match line.strip_prefix("$ ") {
                Some(command) => found.push((number + 1, command.to_owned(), Vec::new())),
                None => found.last_mut().unwrap().2.push(line.to_owned()),
            },
            (false, _) => {}
        }
    }
    found
}
