//! The pages of reference that are made of what the program has anyway: kinds and fields of the schemas, commands of the command line.

use std::fmt::Write as _;

use clap::CommandFactory;

use super::args::Cli;
use super::explain::type_of;
use crate::name::Kind;
use crate::plan::explain::{Explained, explain as look_up};

const MADE: &str = "JVP_UPDATE=1 cargo test --test schemas";

/// The whole command line.
pub fn command() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// Each kind, with every field: its type, whether it is needed, what holds where it is unset.
pub(super) fn kinds() -> String {
    let mut page = format!(
        "# Kinds and fields\n\nAn object is `apiVersion: jvp.dev/v1alpha1`, `kind`, `metadata`, `spec` and `lifecycle`. A field that is unset is \
         not jvp's. What a change of a field does stands in [What a change does](what-a-change-does.md); `jvp explain vm.spec.disks` \
         tells the same on a terminal, `jvp schema vm` gives a schema for editors.\n\n<!-- Made from the schemas: {MADE} -->\n"
    );
    for row in Kind::TABLE {
        let Ok(kind) = look_up(row.name) else { continue };
        let aliases: Vec<String> = row.aliases.iter().map(|alias| format!("`{alias}`")).collect();
        let _ = write!(page, "\n## {}\n\n{}\n\n", row.name, kind.docs);
        if !aliases.is_empty() {
            let _ = write!(page, "Short: {}.\n\n", aliases.join(", "));
        }
        page.push_str("| Field | Type | What it is |\n|---|---|---|\n");
        for field in kind.below.iter().filter(|field| !["apiVersion", "kind"].contains(&field.name.as_str())) {
            fields(field, "", &mut page);
        }
    }
    page
}

fn fields(field: &Explained, above: &str, page: &mut String) {
    let path = format!("{above}{}", field.name);
    let needed = if field.required { " Needed." } else { "" };
    let default = field.default.as_ref().map(|default| format!(" Default: {default}.")).unwrap_or_default();
    let what = format!("{}{needed}{default}", field.docs);
    let _ = writeln!(page, "| `{}` | {} | {} |", cell(&path), cell(&type_of(field)), cell(what.trim()));
    for below in &field.below {
        fields(below, &format!("{path}."), page);
    }
}

/// Each command with its options.
pub(super) fn commands() -> String {
    let mut page = format!(
        "# Commands\n\nWhat `jvp COMMAND --help` says. `REF` is an object such as `vm/web-1`, or `network/lan@kvm1` where it stands on \
         several nodes.\n\n<!-- Made from the command line: {MADE} -->\n"
    );
    let root = command();
    let _ = write!(page, "\n## For every command\n\n");
    options(&root, &mut page, true);
    for sub in root.get_subcommands() {
        one(sub, "jvp", &mut page);
    }
    page
}

fn one(command: &clap::Command, above: &str, page: &mut String) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{above} {}", command.get_name());
    let about = command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string).unwrap_or_default();
    let _ = write!(page, "\n## {name}\n\n{}\n", about.trim());
    if command.has_subcommands() {
        for sub in command.get_subcommands() {
            one(sub, &name, page);
        }
        return;
    }
    let usage = command.clone().render_usage().to_string();
    let usage: Vec<&str> = usage.trim_start_matches("Usage: ").lines().map(str::trim).collect();
    let _ = write!(page, "\n```text\n{}\n```\n\n", usage.join("\n"));
    options(command, page, false);
}

fn options(command: &clap::Command, page: &mut String, global: bool) {
    let shown: Vec<&clap::Arg> = command
        .get_arguments()
        .filter(|arg| {
            !arg.is_hide_set() && arg.is_global_set() == global && !["help", "version"].contains(&arg.get_id().as_str())
        })
        .collect();
    if shown.is_empty() {
        return;
    }
    page.push_str("| Option | What it does |\n|---|---|\n");
    for arg in shown {
        let names: Vec<String> =
            arg.get_short().map(|c| format!("-{c}")).into_iter().chain(arg.get_long().map(|long| format!("--{long}"))).collect();
        let value: Vec<String> = arg
            .get_value_names()
            .unwrap_or_default()
            .iter()
            .map(|name| if names.is_empty() { format!("{name}") } else { format!(" {name}") })
            .collect();
        let takes = arg.get_action().takes_values();
        let option = format!("{}{}", names.join(", "), if takes { value.concat() } else { String::new() });
        let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let values: Vec<String> =
            if takes { arg.get_possible_values().iter().map(|v| format!("`{}`", v.get_name())).collect() } else { Vec::new() };
        let values = if values.is_empty() { String::new() } else { format!(": {}", values.join(", ")) };
        let defaults: Vec<String> = arg.get_default_values().iter().map(|v| format!("`{}`", v.to_string_lossy())).collect();
        let default = if defaults.is_empty() || !takes { String::new() } else { format!(" (default {})", defaults.join(", ")) };
        let _ = writeln!(page, "| `{}` | {}{} |", cell(&option), cell(help.trim()), cell(&format!("{values}{default}")));
    }
}

fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|").replace('<', "&lt;")
}
