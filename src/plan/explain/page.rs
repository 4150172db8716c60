//! The page of all fields and what a change of each does, as Markdown.

use std::fmt::Write as _;

use super::tree::fields_of;
use super::{class_words, effect, effect_words, removal_words};
use crate::name::Kind;
use crate::plan::fields::{Change, Class, Field};

/// The page, made of the schemas and the field table.
pub fn what_a_change_does() -> String {
    let mut page = String::from(
        "# What a change does\n\n\
         Each field of each kind: how it is compared, what a change of it does to what runs, and what taking it out of the manifest \
         does. A plan says the same for what it would change; `jvp explain vm.spec.cpu.count` tells all of one field.\n\n\
         <!-- Made from the schemas and the field table: JVP_UPDATE=1 cargo test --test schemas -->\n\n## Words\n\n",
    );
    for class in [Class::Managed, Class::Seed, Class::CreateOnly, Class::Behaviour, Class::Inventory] {
        let (word, says) = class_words(class);
        let _ = writeln!(page, "- **{word}**: {says}.");
    }
    page.push_str(
        "- **live**: what runs has it at once, and so has the definition.\n\
         - **next start**: the definition has it at once, what runs with its next start. A reboot inside of the guest is none.\n\
         - **disconnects**: the network is restarted, which cuts off its guests; it asks for `--allow-disconnect`.\n\
         - **none**: nothing that runs is disturbed.\n\
         - **refused**, **refused for now**: the plan names the field and the way; nothing is done.\n",
    );
    for kind in Kind::TABLE.iter().map(|row| row.kind) {
        let _ = writeln!(page, "\n## {kind}\n\n| Field | What it is | Compared | A change | Taken out |\n|---|---|---|---|---|");
        for leaf in fields_of(kind) {
            let Some(row) = leaf.row else { continue };
            let within = leaf.path.split('.').skip(2).collect::<Vec<_>>().join(".");
            let default = leaf.default.map(|default| format!(" Default: {default}.")).unwrap_or_default();
            let (docs, class) = (cell(&(leaf.docs + &default)), class_words(row.class).0);
            let _ = writeln!(page, "| `{within}` | {docs} | {class} | {} | {} |", change(row), removal_words(row));
        }
    }
    page
}

fn change(row: &Field) -> String {
    match row.change {
        Change::Never(_) => effect_words(row),
        Change::Done => effect(row).to_owned(),
    }
}

fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}
