//! Why something was looked at.

use serde::Serialize;

/// What made the daemon look. It tells nothing of what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// Something that it waited for was done.
    Awaited,
    /// Something of it failed before.
    Retry,
    /// A window opened in which something that waits may be restarted.
    Window,
    /// The full look that comes by the clock.
    Resync,
    /// libvirt told something.
    Event,
    /// The daemon began.
    Start,
    /// Somebody asked for it.
    Request,
    /// Its manifest changed.
    File,
}

impl Cause {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Awaited, Self::Retry, Self::Window, Self::Resync, Self::Event, Self::Start, Self::Request, Self::File];

    /// As events, logs and metrics have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Awaited => "awaited",
            Self::Retry => "retry",
            Self::Window => "window",
            Self::Resync => "resync",
            Self::Event => "event",
            Self::Start => "start",
            Self::Request => "request",
            Self::File => "file",
        }
    }

    /// Whether it is somebody's word about what is wanted, and no news of what is there.
    pub(super) fn is_ours(self) -> bool {
        matches!(self, Self::Request | Self::File)
    }

    /// Whether what it finds amiss was changed by somebody else.
    pub(super) fn finds_drift(self) -> bool {
        matches!(self, Self::Event | Self::Resync)
    }
}
