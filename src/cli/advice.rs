//! What to do about a step that failed, by the kind of its failure.
//!
//! What failed and why is said elsewhere; nothing here decides anything.

use crate::apply::{Failure, FailureKind};
use crate::plan::Action;

/// What to do about a failure.
pub(super) fn advice(action: &Action, failure: &Failure) -> Vec<String> {
    match failure.kind {
        FailureKind::Conflict => vec!["something changed it since the plan was made: plan again".into()],
        FailureKind::Unreachable | FailureKind::Unknown => {
            vec!["once the node is back, run it again: it looks at what was done and goes on from there".into()]
        }
        FailureKind::StopTimeout => vec![
            format!("the guest runs on; to cut its power: --force-stop {}", action.object),
            "or give it longer: spec.shutdown.timeout".into(),
        ],
        FailureKind::Mismatch => vec!["look at it with `jvp diff`, then run it again".into()],
        FailureKind::Journal => vec!["make room or mend the state directory, then run it again".into()],
        FailureKind::Failed => vec!["mend the cause, then run it again".into()],
    }
}
