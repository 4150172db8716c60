//! `jvp explain`: what a field is and what a change of it does, and what a code of a diagnostic means. It asks no node and opens no
//! ledger.

use std::fmt::Write as _;

use clap::Args;

use super::error::CommandError;
use super::exit::{self, Exit};
use super::output::Out;
use super::reference;
use crate::diag::{self, Code};
use crate::name::Kind;
use crate::plan::explain::{Explained, class_words, effect, effect_words, explain as look_up, removal_words, what_a_change_does};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  jvp explain vm                       the fields of a VirtualMachine
  jvp explain vm.spec.disks[].bus      one field, and what a change of it does
  jvp explain volume --recursive       every field, with what a change does
  jvp explain JVP0204                  a code of a diagnostic
  jvp explain exit-codes               what jvp ends with")]
pub(super) struct ExplainArgs {
    /// A kind, a field such as `vm.spec.disks[].bus`, a code such as `JVP0204`, or `exit-codes`; none lists the kinds
    #[arg(value_name = "PATH|CODE")]
    pub what: Option<String>,
    /// All fields below, one a line
    #[arg(long)]
    pub recursive: bool,
}

pub(super) fn explain(args: &ExplainArgs, out: &Out) -> Result<Exit, CommandError> {
    let Some(what) = args.what.as_deref() else {
        out.print(&kinds());
        return Ok(Exit::Ok);
    };
    if what == "exit-codes" {
        out.print(&exit::table());
        return Ok(Exit::Ok);
    }
    if let Some(code) = Code::parse(what) {
        out.print(&code.explain());
        return Ok(Exit::Ok);
    }
    if is_code(what) {
        let near =
            Code::ALL.iter().map(|code| code.row().code).min_by_key(|code| strsim::levenshtein(code, &what.to_uppercase()));
        let error = CommandError::new(Exit::Error, format!("there is no code {what}"));
        return Err(near.into_iter().fold(error, |error, near| error.help(format!("did you mean {near}?"))));
    }
    let found = look_up(what).map_err(|wrong| {
        let error = CommandError::new(Exit::Error, wrong.message);
        match wrong.near {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help("`jvp explain` lists the kinds"),
        }
    })?;
    out.print(&if args.recursive { tree(&found) } else { page(&found) });
    Ok(Exit::Ok)
}

/// The documents that are made of tables in the program, by their names below `docs/`.
pub fn documents() -> Vec<(&'static str, String)> {
    vec![
        ("commands.md", reference::commands()),
        ("diagnostics.md", diag::page()),
        ("exit-codes.md", exit::page()),
        ("kinds.md", reference::kinds()),
        ("what-a-change-does.md", what_a_change_does()),
    ]
}

/// Whether a word is of the form of a code.
fn is_code(text: &str) -> bool {
    let digits = text.get(..3).filter(|head| head.eq_ignore_ascii_case("JVP")).and_then(|_| text.get(3..));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn kinds() -> String {
    let mut text = String::from("Kinds:\n");
    let rows: Vec<Vec<String>> = Kind::TABLE
        .iter()
        .map(|row| {
            let docs = look_up(row.name).map(|found| found.docs).unwrap_or_default();
            vec![format!("  {}", row.name), row.aliases.last().copied().unwrap_or_default().to_owned(), docs]
        })
        .collect();
    text.push_str(&super::read::columns(&rows));
    text.push_str("\njvp explain KIND.FIELD tells of a field, jvp explain CODE of a diagnostic.\n");
    text
}

fn page(found: &Explained) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |key: &str, value: String| {
        if !value.is_empty() {
            rows.push(vec![format!("  {key}"), value]);
        }
    };
    row("What it is", found.docs.clone());
    row("Type", type_of(found));
    if found.path.contains('.') {
        row("Needed", if found.required { "yes".into() } else { String::new() });
    }
    row("Default", found.default.clone().unwrap_or_default());
    if let Some(field) = found.row {
        let (word, says) = class_words(field.class);
        row("Compared", format!("{word}: {says}"));
        row("A change", effect_words(field));
        row("Taken out", removal_words(field));
        row("Shown", if field.sensitive { "never: (sensitive)".into() } else { String::new() });
    }
    row("A change", found.beside.map(str::to_owned).unwrap_or_default());
    let mut text = format!("{}\n\n{}", found.path, super::read::columns(&rows));
    if !found.values.is_empty() {
        let values: Vec<Vec<String>> =
            found.values.iter().map(|(value, says)| vec![format!("  {value}"), says.replace('\n', " ")]).collect();
        let _ = write!(text, "\nValues:\n{}", super::read::columns(&values));
    }
    if !found.below.is_empty() {
        let _ = write!(
            text,
            "\nFields (* is needed):\n{}",
            super::read::columns(&found.below.iter().map(|below| line(below, "  ")).collect::<Vec<_>>())
        );
    }
    text
}

/// A field in a line: name, type, what a change does, and what it is.
fn line(found: &Explained, indent: &str) -> Vec<String> {
    let name = format!("{indent}{}{}", found.name, if found.required { " *" } else { "" });
    let change = found.row.map_or("", effect);
    let change = if change.is_empty() { String::new() } else { format!("[{change}]") };
    vec![name, type_of(found), change, first_sentence(&found.docs)]
}

fn tree(found: &Explained) -> String {
    fn below(found: &Explained, depth: usize, rows: &mut Vec<Vec<String>>) {
        for field in &found.below {
            rows.push(line(field, &"  ".repeat(depth)));
            below(field, depth + 1, rows);
        }
    }
    let mut rows = Vec::new();
    below(found, 1, &mut rows);
    format!("{}\n{}", found.path, super::read::columns(&rows))
}

pub(super) fn type_of(found: &Explained) -> String {
    if found.values.is_empty() { found.type_words.clone() } else { choice(found) }
}

/// A choice that is short enough is written out.
fn choice(found: &Explained) -> String {
    let all: Vec<&str> = found.values.iter().map(|(value, _)| value.as_str()).collect();
    let text = all.join(" | ");
    if found.type_words.starts_with("list") { format!("list of {text}") } else { text }
}

fn first_sentence(docs: &str) -> String {
    let line = docs.lines().next().unwrap_or_default();
    line.split_once(". ").map_or(line, |(first, _)| first).trim_end_matches('.').to_owned()
}
