//! Whether a VM that runs may be restarted for what waits for a start: by its policy, its windows, and a word on the command line.

use crate::manifest::{Opens, RestartPolicy, VirtualMachineSpec};
use crate::plan::planner::Planner;
use crate::plan::policy::given;
use crate::resolve::Wanted;

/// Whether a VM may be restarted now.
pub(super) enum Restart {
    /// It may.
    May,
    /// It may not; with when it will be, as a sentence about it. None where that is nobody's wish.
    Later(Option<String>),
}

impl Restart {
    /// Whether it may be restarted.
    pub(super) fn may(&self) -> bool {
        matches!(self, Self::May)
    }

    /// What there is to say of one that has to wait, to stand behind another sentence.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Later(Some(words)) => format!("; {words}"),
            Self::May | Self::Later(None) => String::new(),
        }
    }
}

/// Whether a VM may be restarted now for what waits for a start.
pub(super) fn restart(p: &Planner<'_>, wanted: &Wanted, spec: &VirtualMachineSpec) -> Restart {
    if given(&p.policy.consents.allow_restart, &wanted.object) {
        return Restart::May;
    }
    let Some(policy) = &spec.update_policy else { return Restart::Later(None) };
    let opens = match p.policy.now {
        Some(now) => Opens::first(&policy.windows, now),
        None if policy.windows.is_empty() => Some(Opens::IsOpen),
        None => None,
    };
    let (is_open, next) = match &opens {
        Some(Opens::IsOpen) => (true, String::new()),
        Some(at) => (false, at.words().map(|words| format!(", which opens {words}")).unwrap_or_default()),
        None => (false, String::new()),
    };
    let word = format!("at once: --allow-restart {}", wanted.object);
    match policy.restart.unwrap_or(RestartPolicy::Never) {
        RestartPolicy::Never => Restart::Later(None),
        RestartPolicy::Now if is_open => Restart::May,
        RestartPolicy::Now => Restart::Later(Some(format!("it is restarted in its next window{next} ({word})"))),
        RestartPolicy::OnReboot if is_open && p.policy.rebooted.contains(&wanted.object) => Restart::May,
        RestartPolicy::OnReboot if is_open => {
            Restart::Later(Some(format!("it is restarted when its guest reboots, by the daemon ({word})")))
        }
        RestartPolicy::OnReboot => {
            Restart::Later(Some(format!("it is restarted when its guest reboots in its next window{next} ({word})")))
        }
    }
}
