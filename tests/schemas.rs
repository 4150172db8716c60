//! What is made of tables and types in the program: the schemas in `schemas/`, and the pages of `docs/`.
//! `JVP_UPDATE=1 cargo test --test schemas` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[test]
fn the_schemas_in_the_checkout_are_those_of_the_language() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut expected = jvp::manifest::schema::generated();
    expected.push(("plan.json".to_owned(), jvp::plan::schema::schema()));
    expected.sort();
    if std::env::var_os("JVP_UPDATE").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in &expected {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    let mut found: Vec<(String, String)> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|ext| ext == "json"))
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    found.sort();
    for (name, text) in &expected {
        let now = found.iter().find(|(n, _)| n == name).map(|(_, text)| text);
        assert!(now == Some(text), "schemas/{name} is stale: run `JVP_UPDATE=1 cargo test --test schemas`");
    }
    assert_eq!(found.len(), expected.len(), "schemas/ holds files that belong to no kind");
}

#[test]
fn the_pages_in_the_checkout_are_those_of_the_tables() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (name, text) in jvp::cli::documents() {
        if std::env::var_os("JVP_UPDATE").is_some() {
            fs::write(folder.join(name), &text).unwrap();
        }
        let found = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(found == text, "docs/{name} is stale: run `JVP_UPDATE=1 cargo test --test schemas`");
    }
}

#[test]
fn the_manual_pages_in_the_checkout_are_those_of_the_command_line() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man");
    let mut expected = BTreeMap::new();
    manual(&jvp::cli::command(), "", &mut expected);
    if std::env::var_os("JVP_UPDATE").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in &expected {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    let found: BTreeMap<String, Vec<u8>> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    for (name, text) in &expected {
        assert!(found.get(name) == Some(text), "docs/man/{name} is stale: run `JVP_UPDATE=1 cargo test --test schemas`");
    }
    assert_eq!(found.len(), expected.len(), "docs/man holds pages of no command");
    assert!(expected.len() > 30);
}

/// The pages of a command and of those below it.
#[expect(clippy::unwrap_used, reason = "a test that can't read its cases has failed")]
fn manual(command: &clap::Command, above: &str, pages: &mut BTreeMap<String, Vec<u8>>) {
    let name = if above.is_empty() { command.get_name().to_owned() } else { format!("{above}-{}", command.get_name()) };
    let subcommands = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    for sub in subcommands {
        manual(sub, &name, pages);
    }
    let (mut page, file) = (Vec::new(), format!("{name}.1"));
    // The day of the build has no place in a page that is compared.
    clap_mangen::Man::new(command.clone()).date("").render(&mut page).unwrap();
    pages.insert(file, page);
}

#[test]
fn the_readme_has_the_exit_codes_of_the_program() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, page) = jvp::cli::documents().into_iter().find(|(name, _)| *name == "exit-codes.md").unwrap();
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        assert!(readme.contains(row), "README.md lacks `{row}`");
    }
}
