//! The plan as text, for people. Pure: colour and width are parameters.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::model::{Change, Data, Deferred, Effect, FieldChange, Plan, Shown, Verb};
use crate::name::ObjectRef;

struct Paint {
    on: bool,
}

impl Paint {
    fn put(&self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
    fn glyph(&self, verb: Verb) -> String {
        let code = match verb.glyph() {
            "+" => "32",
            "-" => "31",
            _ => "33",
        };
        self.put(code, verb.glyph())
    }
}

fn value(shown: &Shown) -> String {
    match shown {
        Shown::Value(text) => text.clone(),
        Shown::After(what) => format!("(known after {what})"),
        Shown::Libvirt => "(chosen by libvirt)".into(),
        Shown::Sensitive => "(sensitive)".into(),
    }
}

/// One field in a line: `path: old → new`.
pub(super) fn field_line(field: &FieldChange) -> String {
    let path = field.path.trim_start_matches('/').replace('/', ".").replace("~1", "/");
    match (&field.old, &field.new) {
        (None, Some(new)) => format!("{path}: {}", value(new)),
        (Some(old), Some(new)) => format!("{path}: {} → {}", value(old), value(new)),
        (Some(old), None) => format!("{path}: {} → (removed)", value(old)),
        (None, None) => path,
    }
}

fn change(out: &mut String, change: &Change, paint: &Paint) {
    let mut tail = Vec::new();
    if change.effect != Effect::None {
        tail.push(change.effect.words());
    }
    let mut line = format!("{} {} will be {}", paint.glyph(change.verb), change.object, change.verb.participle());
    if let Some(node) = change.node.as_ref().filter(|_| change.object.node.is_none()) {
        let _ = write!(line, " on {node}");
    }
    if !tail.is_empty() {
        let _ = write!(line, " [{}]", tail.join(", "));
    }
    if let Some(by) = &change.implied_by {
        let _ = write!(line, " (implied by {by})");
    }
    let _ = writeln!(out, "{line}");
    let _ = writeln!(out, "    # {}", change.reason);
    fields(out, &change.fields, &change.effects, &change.effect);
    if change.data == Data::Lost {
        let _ = writeln!(out, "    {}", paint.put("1;31", "! its data will be lost"));
    }
}

/// The fields; where they disturb differently, each says how.
fn fields(out: &mut String, fields: &[FieldChange], effects: &BTreeMap<String, Effect>, all: &Effect) {
    for field in fields {
        let own = effects.get(&field.path).filter(|effect| *effect != all).map(|effect| format!(" ({})", effect.words()));
        let own = own.unwrap_or_default();
        let sign = match (&field.old, &field.new) {
            (None, _) => "+",
            (_, None) => "-",
            _ => "~",
        };
        let _ = writeln!(out, "      {sign} {}{own}", field_line(field));
    }
}

fn deferred(out: &mut String, deferred: &Deferred, paint: &Paint) {
    let glyph = paint.glyph(deferred.expected);
    let _ = writeln!(out, "{glyph} {} will be {} {} (deferred)", deferred.object, deferred.expected.participle(), deferred.until);
    fields(out, &deferred.fields, &BTreeMap::new(), &Effect::None);
}

/// The whole plan.
pub fn render(plan: &Plan, colour: bool) -> String {
    let paint = Paint { on: colour };
    let mut out = String::new();
    for row in &plan.changes {
        change(&mut out, row, &paint);
    }
    for row in &plan.deferred {
        deferred(&mut out, row, &paint);
    }
    if !plan.is_empty() {
        out.push('\n');
    }
    for refusal in &plan.refusals {
        let _ = writeln!(out, "{} {}: {}", paint.put("1;31", "refused:"), refusal.object, refusal.message);
        if let Some(origin) = &refusal.origin {
            let _ = writeln!(out, "    --> {origin}");
        }
        for help in &refusal.help {
            let _ = writeln!(out, "    help: {help}");
        }
    }
    for node in &plan.unreachable {
        let _ = writeln!(out, "{} Node/{}: {}", paint.put("1;31", "out of reach:"), node.node, node.message);
        if !node.objects.is_empty() {
            let _ = writeln!(out, "    nothing is known of, and nothing done for: {}", some(&node.objects));
        }
    }
    for note in &plan.notes {
        let _ = writeln!(out, "{} {}: {}: {}", paint.put("36", "note:"), note.object, note.condition, note.message);
    }
    let _ = writeln!(out, "{}", summary(plan));
    out
}

/// So many objects are told of by name.
const NAMED: usize = 12;

/// Objects by name; of a great many the first, and how many more, since whoever reads this has only one screen.
fn some(objects: &[ObjectRef]) -> String {
    // One more takes no less room than that there is one more.
    let shown = if objects.len() <= NAMED + 1 { objects.len() } else { NAMED };
    let names: Vec<_> = objects.iter().take(shown).map(ToString::to_string).collect();
    let names = names.join(", ");
    match objects.len() - shown {
        0 => names,
        more => format!("{names} and {more} more (jvp plan -o json tells all of them)"),
    }
}

/// The counts in one line.
pub fn summary(plan: &Plan) -> String {
    let count = |verbs: &[Verb]| {
        plan.changes.iter().filter(|change| verbs.contains(&change.verb)).count()
            + plan.deferred.iter().filter(|deferred| verbs.contains(&deferred.expected)).count()
    };
    let mut tail = String::new();
    if !plan.deferred.is_empty() {
        let _ = write!(tail, " ({} of them once something else is done)", plan.deferred.len());
    }
    if !plan.refusals.is_empty() {
        let _ = write!(tail, " {} refused.", plan.refusals.len());
    }
    if !plan.notes.is_empty() {
        let _ = write!(tail, " {} noted.", plan.notes.len());
    }
    if plan.is_empty() {
        let words = if plan.refusals.is_empty() && plan.unreachable.is_empty() {
            "Nothing is to be done: libvirt has what the manifests say."
        } else {
            "Nothing can be done."
        };
        return format!("{words}{tail}");
    }
    let mut parts = Vec::new();
    for (words, verbs) in [
        ("to create", &[Verb::Create, Verb::Generate][..]),
        ("to fetch", &[Verb::Fetch]),
        ("to adopt", &[Verb::Adopt]),
        ("to rename", &[Verb::Rename]),
        ("to change", &[Verb::Update]),
        ("to start", &[Verb::Start]),
        ("to stop", &[Verb::Stop]),
        ("to restart", &[Verb::Restart]),
        ("to release", &[Verb::Release]),
        ("to look at", &[Verb::Refresh]),
        ("to delete", &[Verb::Delete]),
    ] {
        let number = count(verbs);
        if number > 0 {
            parts.push(format!("{number} {words}"));
        }
    }
    let lost = plan.changes.iter().filter(|change| change.data == Data::Lost).count();
    if lost > 0 {
        parts.push(format!("{lost} with data lost"));
    }
    format!("Plan: {}.{tail}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Unreachable;

    fn beside(objects: usize) -> String {
        let objects = (0..objects).map(|i| format!("Volume/disk-{i:02}").parse().unwrap()).collect();
        let node = Unreachable { node: "a".parse().unwrap(), message: "it hangs".to_owned(), objects };
        render(&Plan { unreachable: vec![node], ..Plan::default() }, false)
    }

    #[test]
    fn what_comes_what_goes_and_what_changes_have_colours_of_their_own() {
        let paint = Paint { on: true };
        let glyphs = [Verb::Create, Verb::Delete, Verb::Update].map(|verb| paint.glyph(verb));
        assert_eq!(glyphs, ["\u{1b}[32m+\u{1b}[0m", "\u{1b}[31m-\u{1b}[0m", "\u{1b}[33m~\u{1b}[0m"]);
    }

    #[test]
    fn of_a_great_many_objects_out_of_reach_the_first_are_named() {
        let few = beside(13);
        assert!(few.contains("done for: Volume/disk-00, ") && few.contains(", Volume/disk-12\n"), "{few}");
        let many = beside(2_000);
        assert!(many.contains(", Volume/disk-11 and 1988 more (jvp plan -o json tells all of them)\n"), "{many}");
        assert!(many.len() < 500, "{many}");
    }
}
