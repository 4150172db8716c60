//! Conditions as a daemon keeps them, for whoever waits for one. With a daemon they are asked for again and again; without one they are
//! what the last one found, and nothing changes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::client::{get, held_by};
use crate::cli::args::Global;
use crate::cli::error::CommandError;
use crate::cli::session::{command_line, now, state_path};
use crate::daemon::CONDITIONS;
use crate::name::ObjectRef;
use crate::store::{ConditionStatus, ObjectStatus, Snapshot};

/// A condition that is to be so, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Kept {
    /// Its name.
    pub name: &'static str,
    /// How it is to be.
    pub status: ConditionStatus,
}

impl Kept {
    /// Reads `Synced` and `Drifted=False`, as kubectl has it, whatever the letters' case; none where there is no such condition.
    pub(in crate::cli) fn read(text: &str) -> Option<Self> {
        let (name, status) = text.split_once('=').unwrap_or((text, "True"));
        let all = [ConditionStatus::True, ConditionStatus::False, ConditionStatus::Unknown];
        let status = all.into_iter().find(|known| known.word().eq_ignore_ascii_case(status))?;
        let name = CONDITIONS.iter().find(|known| known.eq_ignore_ascii_case(name))?;
        Some(Self { name, status })
    }

    /// As it is written.
    pub(in crate::cli) fn words(self) -> String {
        match self.status {
            ConditionStatus::True => self.name.to_owned(),
            status => format!("{}={}", self.name, status.word()),
        }
    }

    /// How the condition stands instead, for people; none where it is as it is to be.
    pub(in crate::cli) fn lacks(self, status: Option<&ObjectStatus>) -> Option<String> {
        let Some(status) = status else { return Some(format!("{} (no daemon has looked at it yet)", self.name)) };
        let is =
            |found: ConditionStatus, why: String| (found != self.status).then(|| format!("{}={}{why}", self.name, found.word()));
        let told = |condition: &crate::store::Condition| match condition.message.as_str() {
            "" => format!(" ({})", condition.reason),
            message => format!(" ({}: {message})", condition.reason),
        };
        if let Some(condition) = status.condition(self.name) {
            return is(condition.status, told(condition));
        }
        match status.condition("Synced") {
            // Most conditions stand only where they are so; of what can't be looked at that says nothing.
            Some(synced) if synced.status == ConditionStatus::Unknown => is(ConditionStatus::Unknown, told(synced)),
            _ => is(ConditionStatus::False, String::new()),
        }
    }
}

/// How objects stand.
pub(in crate::cli) struct Standing {
    /// Whether a daemon holds the state directory and told it.
    pub by_daemon: bool,
    /// The objects.
    pub objects: BTreeMap<ObjectRef, Arc<ObjectStatus>>,
}

/// How the objects of a fleet stand now.
pub(in crate::cli) async fn standing(global: &Global, fleet: Uuid) -> Result<Standing, CommandError> {
    let Some(socket) = held_by(global) else {
        let snapshot = Snapshot::read(&state_path(global), &command_line(), now())?;
        return Ok(Standing { by_daemon: false, objects: snapshot.statuses(fleet) });
    };
    let mut view: Value = get(&socket, "/status").await?;
    let objects = view.get_mut("objects").map(Value::take).unwrap_or_default();
    Ok(Standing { by_daemon: true, objects: serde_json::from_value(objects).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Condition;

    fn status(conditions: &[(&str, ConditionStatus)]) -> ObjectStatus {
        let condition = |(name, status): &(&str, ConditionStatus)| Condition {
            name: (*name).to_owned(),
            status: *status,
            reason: "AsSaid".to_owned(),
            message: "words".to_owned(),
            since: String::new(),
            revision: None,
        };
        let conditions = conditions.iter().map(condition).collect();
        ObjectStatus { object: "vm/web".parse().unwrap(), conditions, synced: None }
    }

    #[test]
    fn a_condition_is_written_as_kubectl_has_it() {
        let read = |text: &str| Kept::read(text).map(|kept| (kept.name, kept.status));
        assert_eq!(read("Synced"), Some(("Synced", ConditionStatus::True)));
        assert_eq!(read("drifted=false"), Some(("Drifted", ConditionStatus::False)));
        assert_eq!(read("Ready=Unknown"), Some(("Ready", ConditionStatus::Unknown)));
        assert!(["Redy", "Synced=maybe", "Running", "Synced="].iter().all(|text| read(text).is_none()));
    }

    #[test]
    fn a_condition_that_does_not_stand_is_false_where_it_could_be_looked_at() {
        use ConditionStatus::{False, True, Unknown};
        let lacks = |name, wanted, found: &[(&str, ConditionStatus)]| Kept { name, status: wanted }.lacks(Some(&status(found)));
        assert_eq!(lacks("Drifted", False, &[("Synced", True)]), None);
        assert_eq!(lacks("Drifted", True, &[("Synced", True)]), Some("Drifted=False".into()));
        assert_eq!(lacks("Drifted", False, &[("Synced", Unknown)]), Some("Drifted=Unknown (AsSaid: words)".into()));
        assert_eq!(lacks("Drifted", False, &[("Synced", False), ("Drifted", True)]), Some("Drifted=True (AsSaid: words)".into()));
        assert_eq!(lacks("Synced", Unknown, &[("Synced", Unknown)]), None);
        assert!(Kept { name: "Synced", status: False }.lacks(None).is_some());
    }
}
