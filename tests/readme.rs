//! The README's tour: the commands of its `console` blocks are run one after the other, in one copy of the checkout and on one fake
//! node, and print what the README says. A line `…` stands for any lines; times are not compared. `JVP_UPDATE=1 cargo test --test readme`
//! writes anew what is printed, except where the README leaves out lines.

#![cfg(debug_assertions)]
#![expect(clippy::unwrap_used, reason = "a test that can't read its cases has failed")]

mod checkout;
mod page;

use std::fs;

use checkout::{Place, root};
use page::commands;

/// A line without what differs from run to run: how long a step took, when something was and how long ago, and the digest of a seed,
/// which holds a key that was made just then. How far the columns of a table are apart follows from these.
fn timeless(line: &str) -> String {
    let line = match line.rsplit_once(" done (") {
        Some((head, _)) => head,
        None => line,
    };
    let plain = |word: &str| {
        let time = word.starts_with("20") && word.trim_end_matches(',').ends_with('Z') && word.contains('T');
        let age = word.strip_suffix('s').is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()));
        match word.split_once(".seed-") {
            Some((head, _)) => format!("{head}.seed"),
            None if time || age => "TIME".to_owned(),
            None => word.to_owned(),
        }
    };
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    indent + &line.split_whitespace().map(plain).collect::<Vec<_>>().join(" ")
}

/// Whether the lines are those expected, where `…` stands for any.
fn agrees(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((any, rest)) if any == "…" => (0..=found.len()).any(|skip| agrees(rest, &found[skip..])),
        Some((line, rest)) => found.split_first().is_some_and(|(first, left)| first == line && agrees(rest, left)),
    }
}

#[test]
fn the_tour_of_the_readme_prints_what_it_says() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let place = Place::with(&["manifests"]);
    let bin = place.path("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_jvp"), bin.join("jvp")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let update = std::env::var_os("JVP_UPDATE").is_some();
    let mut lines: Vec<String> = readme.lines().map(str::to_owned).collect();
    let mut moved = 0_isize;
    let all = commands(&readme);
    assert!(all.len() > 10, "the README has no tour");
    for (line, command, expected) in all {
        let output = place.command("sh").arg("-c").arg(format!("exec 2>&1; {command}")).env("PATH", &path).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        if update && !expected.iter().any(|line| line == "…") {
            let from = line.saturating_add_signed(moved);
            moved += said.lines().count().cast_signed() - expected.len().cast_signed();
            lines.splice(from..from + expected.len(), said.lines().map(str::to_owned));
            continue;
        }
        let expected: Vec<String> = expected.iter().map(|line| timeless(line)).collect();
        let found: Vec<String> = said.lines().map(timeless).collect();
        assert!(
            agrees(&expected, &found),
            "README.md:{line}: $ {command}\nprinted\n{said}\nand the README says\n{}",
            expected.join("\n")
        );
    }
    if update {
        fs::write(root().join("README.md"), lines.join("\n") + "\n").unwrap();
    }
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests/promises.md"] {
        let path = root().join(name);
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            assert!(path.parent().unwrap().join(link).exists(), "{name}: {link}");
        }
    }
}
