//! The daemon's file of flags: the same names, read as if they stood on the command line before those that do.

use std::ffi::OsString;
use std::path::Path;

use serde_yaml::Value;

use crate::cli::error::CommandError;
use crate::cli::exit::Exit;

/// The words of a command line with those of its file of flags among them; none where it names no such file.
///
/// The file's stand right behind the command's name, so those of the command line come later and win.
pub(in crate::cli) fn words(given: &[OsString]) -> Result<Option<Vec<OsString>>, CommandError> {
    let Some(at) = given.iter().position(|word| word == "daemon") else { return Ok(None) };
    let mut rest = given.iter().skip(at + 1);
    let mut file = None;
    while let Some(word) = rest.next() {
        let Some(text) = word.to_str() else { continue };
        if text == "--config" {
            file = rest.next().cloned();
        } else if let Some(path) = text.strip_prefix("--config=") {
            file = Some(path.into());
        }
    }
    let Some(file) = file else { return Ok(None) };
    let path = Path::new(&file);
    let wrong = |why: String| {
        CommandError::new(Exit::Usage, format!("{}: {why}", path.display()))
            .help("it holds flags of `jvp daemon` by their names, such as `source: /srv/checkout` and `resync: 60s`")
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let flags = flags(&text).map_err(wrong)?;
    let mut all: Vec<OsString> = given.iter().take(at + 1).cloned().collect();
    all.extend(flags.into_iter().map(OsString::from));
    all.extend(given.iter().skip(at + 1).cloned());
    Ok(Some(all))
}

/// The flags that a file's text says.
fn flags(text: &str) -> Result<Vec<String>, String> {
    let value: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let mapping = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Mapping(mapping) => mapping,
        _ => return Err("it is no mapping of flags to their values".into()),
    };
    let mut words = Vec::new();
    for (key, value) in mapping {
        let Value::String(key) = key else { return Err("a flag's name is a word".into()) };
        if key == "config" {
            return Err("`config` can't stand in it".into());
        }
        let values = match value {
            Value::Sequence(values) => values,
            one => vec![one],
        };
        for value in values {
            // Flags that are on or off are so on the command line by being there.
            match value {
                Value::Bool(on) if SWITCHES.contains(&key.as_str()) => {
                    if on {
                        words.push(format!("--{key}"));
                    }
                }
                Value::Bool(on) => words.push(format!("--{key}={on}")),
                Value::Number(number) => words.push(format!("--{key}={number}")),
                Value::String(text) => words.push(format!("--{key}={text}")),
                _ => return Err(format!("`{key}` has no value that a flag could have")),
            }
        }
    }
    Ok(words)
}

/// Flags that take no value.
const SWITCHES: &[&str] = &["prune-running", "dry-run", "once", "verbose"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_the_command_line_would() {
        let text = "source: /srv/checkout\nresync: 30s\nheal: false\nprune-running: true\nonce: false\nparallelism: 2\nallow-uri: [a*, b*]\n";
        let words = flags(text).unwrap();
        assert_eq!(
            words,
            [
                "--source=/srv/checkout",
                "--resync=30s",
                "--heal=false",
                "--prune-running",
                "--parallelism=2",
                "--allow-uri=a*",
                "--allow-uri=b*"
            ]
        );
        assert_eq!(flags("").unwrap(), Vec::<String>::new());
        assert!(flags("- a\n").is_err());
        assert!(flags("source: {a: b}\n").is_err());
        assert!(flags("config: other.yaml\n").is_err());
    }
}
