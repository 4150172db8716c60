//! The words for what stands in a row of the field table.

use crate::plan::fields::{Change, Class, Field, OnRemoval, When};

/// What a change does, in one word or two, as a plan has it.
pub fn effect(row: &Field) -> &'static str {
    match (row.class, row.change) {
        (_, Change::Never(_)) => "refused",
        (_, Change::Done) => match row.when {
            When::Live => "live",
            When::Restart => "next start",
            When::Disconnect => "disconnects",
            When::Nothing => "none",
        },
    }
}

/// What a change does, in a sentence without a full stop.
pub fn effect_words(row: &Field) -> String {
    match row.change {
        Change::Never(way) => format!("refused: {way}"),
        Change::Done => when_words(row.when).to_owned(),
    }
}

fn when_words(when: When) -> &'static str {
    match when {
        When::Live => "live: what runs has it at once, and so has the definition",
        When::Restart => {
            "next start: the definition has it at once, what runs has it with its next start; a reboot inside of the guest is none"
        }
        When::Disconnect => "restarts the network, which cuts off its guests: it asks for --allow-disconnect",
        When::Nothing => "it disturbs nothing",
    }
}

/// How a field is compared, in a word and a sentence.
pub fn class_words(class: Class) -> (&'static str, &'static str) {
    match class {
        Class::Managed => ("managed", "what is written is kept true; unset is not jvp's"),
        Class::Seed => ("seed", "jvp chooses at creation where it is unset, and never again; what is written is kept true"),
        Class::Behaviour => ("behaviour", "how jvp acts; it stands in no document of libvirt's"),
        Class::CreateOnly => ("create-only", "used when the object is made"),
        Class::Inventory => ("inventory", "kept in jvp's inventory alone"),
    }
}

/// What taking the field out of the manifest does, a sentence without a full stop.
pub fn removal_words(row: &Field) -> String {
    match (row.class, row.on_removal) {
        (Class::CreateOnly, _) => "nothing: it was used at creation".to_owned(),
        // What stands in a document all the same.
        (Class::Behaviour, OnRemoval::Drop) if row.when == When::Restart => "it goes from the definition".to_owned(),
        (Class::Behaviour | Class::Inventory, OnRemoval::Drop) => "the default holds again".to_owned(),
        (Class::Behaviour | Class::Inventory, OnRemoval::Keep) => "nothing is done".to_owned(),
        (_, OnRemoval::Drop) => "it goes from the definition".to_owned(),
        (_, OnRemoval::Set(value)) => format!("it goes back to {}", value.trim_matches('"')),
        (_, OnRemoval::Keep) => "it stays as it is and is no longer jvp's; the plan says so in a note".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fields::FIELDS;

    #[test]
    fn no_field_is_said_to_disturb_nothing_that_waits_or_disconnects() {
        for row in FIELDS.iter().filter(|row| matches!(row.when, When::Restart | When::Disconnect)) {
            assert_ne!(effect(row), "none", "{} {}", row.kind, row.path);
        }
        let xml = FIELDS.iter().find(|row| row.path == "/xml").unwrap();
        assert_eq!((effect(xml), removal_words(xml).as_str()), ("next start", "it goes from the definition"));
    }
}
