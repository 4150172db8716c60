//! Planning a KeyPair: made once on the controller.

use crate::manifest::Spec;
use crate::plan::model::Verb;
use crate::plan::planner::{Draft, Planner, Row};
use crate::plan::record::entry_of;
use crate::plan::{Lane, Op, Record};
use crate::resolve::Wanted;

pub(in crate::plan) fn plan(p: &mut Planner<'_>, wanted: &Wanted) {
    let Spec::KeyPair(spec) = &*wanted.spec else { return };
    let generated = spec.generate == Some(true);
    if generated && !p.sources.keys.contains_key(&wanted.object.name) {
        if let Some(why) = p.sources.failed.get(&wanted.object.name) {
            let why = why.clone();
            p.refuse(wanted, crate::plan::model::RefusalKind::Guard, why, &[]);
            return;
        }
        let mut row = Row::new(wanted, Verb::Generate, "there is no such key yet");
        row.drafts.push(
            Draft::new(Op::KeyPairGenerate { name: wanted.object.name.clone() }, Lane::Local(wanted.object.to_string()))
                .record(Record::Settle(Box::new(entry_of(p, wanted, None).into_owned()))),
        );
        p.commit(row);
        // What uses it waits for the public half.
        p.standing.insert(wanted.object.clone(), crate::plan::planner::Standing::Deferred);
        return;
    }
    p.inventory(wanted, None);
}
