//! A document is followed: its commands are run one after the other, and print what it says.

use std::fs;
use std::path::Path;

use crate::checkout::{Place, images};
use crate::page::{blocks, of_console};

/// Follows a document: a `yaml` block that begins with `# NAME.yaml` becomes that file of the checkout, and the commands of `console`
/// blocks print what it says. A line `…` stands for any lines; times are not compared. With `JVP_UPDATE=1` what is printed is written
/// into the document, except where it leaves out lines.
pub(crate) fn follow(document: &Path, place: &Place) {
    let text = fs::read_to_string(document).unwrap();
    let bin = place.path("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_jvp"), bin.join("jvp")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let update = std::env::var_os("JVP_UPDATE").is_some();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let (mut moved, mut wrong) = (0_isize, Vec::new());
    for block in blocks(&text) {
        let name = block.lines.first().and_then(|line| line.strip_prefix("# ")).filter(|name| name.ends_with(".yaml"));
        if let ("yaml", Some(name)) = (block.language, name) {
            fs::write(place.path("checkout").join(name), block.lines.join("\n") + "\n").unwrap();
            images(&place.path("checkout"));
        }
        if block.language != "console" {
            continue;
        }
        for (line, command, expected) in of_console(&block) {
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
            if !agrees(&expected, &found) {
                let says = expected.join("\n");
                wrong.push(format!("{}:{line}: $ {command}\nprinted\n{said}\nand the page says\n{says}\n", document.display()));
            }
        }
    }
    if update {
        fs::write(document, lines.join("\n") + "\n").unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

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
