//! What to do about a step that failed: by the kind of its failure, and by the system's own words where there are any.
//!
//! What failed and why is said elsewhere; nothing here decides anything.

use crate::apply::{Failure, FailureKind};
use crate::plan::{Action, Op};

/// Words of the system's, and what to do about them on the node.
const WORDS: &[(&str, &str)] = &[
    ("no space left on device", "make room in that file system on {node}, then run it again: what isn't whole is made anew"),
    ("disk quota exceeded", "give it a larger quota on {node}, then run it again: what isn't whole is made anew"),
    ("read-only file system", "have that file system writable on {node}, then run it again"),
    ("permission denied", "give libvirt on {node} the right to it, then run it again"),
    ("operation not permitted", "give libvirt on {node} the right to it, then run it again"),
    (
        "not a directory",
        "something that is no folder lies on that path on {node}: move it away, or choose another path; then run it again",
    ),
];

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
        FailureKind::Failed => failed(action, &failure.message.to_lowercase()),
    }
}

fn failed(action: &Action, message: &str) -> Vec<String> {
    let node = action.node.as_ref().map_or_else(|| "this machine".to_owned(), |node| format!("Node/{node}"));
    if let Some((_, advice)) = WORDS.iter().find(|(words, _)| message.contains(words)) {
        return vec![advice.replace("{node}", &node)];
    }
    match &action.op {
        Op::PoolBuild { .. } | Op::PoolStart { .. } if message.contains("no such file or directory") => {
            vec![format!("its path isn't there on {node}: is its file system mounted? Once it is there, run it again")]
        }
        Op::DomainStart { name, .. } => vec![
            format!("all that QEMU said is in /var/log/libvirt/qemu/{name}.log on {node}"),
            "mend the cause, then run it again: it is defined, and only the start is left to do".into(),
        ],
        _ => vec!["mend the cause, then run it again".into()],
    }
}
