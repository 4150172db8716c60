//! The pages of `docs/`: each is in the table of contents, its links lead somewhere, each command line in it is one of jvp's, each
//! command has a task, each manifest is valid, and its `console` blocks are followed from above on a fake node. `JVP_UPDATE=1 cargo test --test docs` writes anew
//! what they print.

#![cfg(debug_assertions)]
#![expect(clippy::unwrap_used, reason = "a test that can't read its cases has failed")]

mod checkout;
#[path = "page/follow.rs"]
mod follow;
mod page;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use checkout::{Place, root};
use follow::follow;
use page::blocks;

/// The pages, by name.
fn pages() -> Vec<(String, PathBuf)> {
    let mut pages: Vec<(String, PathBuf)> = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    pages.sort();
    pages
}

fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|link| !link.contains("://")).collect()
}

#[test]
fn every_page_is_in_the_table_of_contents_and_its_links_lead_somewhere() {
    let contents = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed: BTreeSet<&str> = links(&contents).into_iter().collect();
    for (name, path) in pages() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(name == "SUMMARY.md" || listed.contains(name.as_str()), "{name} is not in SUMMARY.md");
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            assert!(target.exists(), "{name}: {link} leads nowhere");
            if !anchor.is_empty() {
                let text = fs::read_to_string(target).unwrap();
                let mut heads = text.lines().filter(|line| line.starts_with('#')).map(anchor_of);
                assert!(heads.any(|head| head == anchor), "{name}: {link} leads nowhere");
            }
        }
    }
    for link in listed {
        assert!(root().join("docs").join(link).exists(), "SUMMARY.md: {link} leads nowhere");
    }
}

fn anchor_of(head: &str) -> String {
    let text = head.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The words of a line of a shell, command by command; what a `#` begins and where output goes is left out.
fn shell(line: &str) -> Vec<Vec<String>> {
    let (mut all, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut quote = None;
    let end = |word: &mut Option<String>, words: &mut Vec<String>| words.extend(word.take());
    let mut redirected = Vec::new();
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ') => end(&mut word, &mut words),
            (None, ';' | '|' | '&') => {
                end(&mut word, &mut words);
                all.push(std::mem::take(&mut words));
            }
            (None, '<' | '>') => {
                end(&mut word, &mut words);
                redirected.push((all.len(), words.len()));
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    end(&mut word, &mut words);
    all.push(words);
    for (command, at) in redirected.into_iter().rev() {
        if at < all[command].len() {
            all[command].remove(at);
        }
    }
    all
}

/// What is run as jvp, in the words of a command.
fn arguments(words: &[String]) -> Option<&[String]> {
    let first = words.iter().position(|word| !word.contains('=') && word != "sudo" && word != "$")?;
    (words[first] == "jvp").then(|| &words[first..])
}

#[test]
fn each_command_line_of_the_pages_is_one_of_jvp_s() {
    let (mut tried, mut wrong) = (0, Vec::new());
    let readme = ("README.md".to_owned(), root().join("README.md"));
    for (name, path) in pages().into_iter().chain([readme]) {
        let text = fs::read_to_string(&path).unwrap();
        for block in blocks(&text).iter().filter(|block| ["console", "sh"].contains(&block.language)) {
            for (number, line) in block.lines.iter().enumerate() {
                let line = match (block.language, line.strip_prefix("$ ")) {
                    ("sh", _) => line,
                    (_, Some(command)) => command,
                    _ => continue,
                };
                for words in shell(line) {
                    let Some(arguments) = arguments(&words) else { continue };
                    tried += 1;
                    if let Err(error) = jvp::cli::command().try_get_matches_from(arguments)
                        && !matches!(error.kind(), clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion)
                    {
                        wrong.push(format!("{name}:{}: {line}\n{error}", block.line + number + 1));
                    }
                }
            }
        }
        // What stands in a sentence may be cut short, and names a command that there is.
        for code in text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("jvp ") && !code.contains('\n')) {
            let mut command = jvp::cli::command();
            for word in code.split(' ').skip(1).take_while(|word| word.chars().all(|c| c.is_ascii_lowercase())) {
                match command.find_subcommand(word) {
                    Some(sub) => command = sub.clone(),
                    None if command.has_subcommands() => wrong.push(format!("{name}: `{code}`: there is no {word}")),
                    None => break,
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried >= 100, "only {tried} command lines");
}

/// The commands that have no commands below them, such as `jvp pool start`, by their manual pages.
fn leaves() -> BTreeSet<String> {
    let pages = fs::read_dir(root().join("docs/man")).unwrap();
    let names: BTreeSet<String> =
        pages.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let has_more = |name: &String| names.iter().any(|other| other.starts_with(&format!("{name}-")));
    names.iter().filter(|name| !has_more(name)).map(|name| name.replace('-', " ")).collect()
}

/// Those of the commands that no text names, whatever line a text breaks in.
fn unnamed<'a>(commands: impl IntoIterator<Item = &'a str>, texts: &[String]) -> Vec<&'a str> {
    let texts: Vec<String> = texts.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let names = |text: &str, command: &str| {
        let mut found = text.match_indices(command).map(|(at, _)| text[at + command.len()..].chars().next());
        found.any(|next| next.is_none_or(|next| !next.is_alphanumeric() && next != '-'))
    };
    commands.into_iter().filter(|command| !texts.iter().any(|text| names(text, command))).collect()
}

#[test]
fn each_command_is_named_on_the_page_of_a_task() {
    let contents = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let (_, tasks) = contents.split_once("# Tasks\n").unwrap();
    let (tasks, _) = tasks.split_once("# Reference\n").unwrap();
    let texts: Vec<String> =
        links(tasks).iter().map(|page| fs::read_to_string(root().join("docs").join(page)).unwrap()).collect();
    let leaves = leaves();
    assert!(texts.len() > 15 && leaves.len() > 30, "{} pages of tasks, {leaves:?}", texts.len());
    let missing = unnamed(leaves.iter().map(String::as_str), &texts);
    assert!(missing.is_empty(), "no page of a task in SUMMARY.md names {}", missing.join(", "));
    // One that is missing is found, also where another one begins alike.
    assert_eq!(unnamed(["jvp pool stop", "jvp pool drain", "jvp vm st", "jvp get"], &texts), ["jvp pool drain", "jvp vm st"]);
}

#[test]
fn each_manifest_of_the_pages_is_valid() {
    let mut tried = 0;
    for (name, path) in pages() {
        // Its examples of the wrong are tried by another test.
        if name == "diagnostics.md" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for block in
            blocks(&text).iter().filter(|block| block.language == "yaml" && block.lines.iter().any(|l| l.starts_with("kind:")))
        {
            let place = Place::with(&[]);
            fs::write(place.path("checkout").join("block.yaml"), block.lines.join("\n") + "\n").unwrap();
            checkout::images(&place.path("checkout"));
            let output = place.jvp(&["validate"]);
            assert!(
                output.status.success(),
                "{name}:{}: {}{}",
                block.line,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            tried += 1;
        }
    }
    assert!(tried > 15, "only {tried} manifests");
}

#[test]
fn the_pages_are_followed_and_print_what_they_say() {
    let (mut followed, mut wrong) = (0, Vec::new());
    for (name, path) in pages() {
        let text = fs::read_to_string(&path).unwrap();
        if blocks(&text).iter().any(|block| block.language == "console") {
            if std::panic::catch_unwind(|| follow(&path, &Place::with(&[]))).is_err() {
                wrong.push(name);
            }
            followed += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join(", "));
    assert!(followed > 6, "only {followed} pages");
}
