//! A folder is read once it is at rest: nothing in it changed a moment ago, nobody writes to a file of it, and no git is at work.
//! What was read between two walks that saw the same is whole.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::Failure;
use super::local::Local;
use crate::source::{ManifestCache, ManifestSet, Walk};

/// Between two looks at something that is awaited.
const STEP: Duration = Duration::from_millis(10);

/// How long a folder has to be quiet, and how long that is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    /// Without a change for so long.
    pub(super) quiet: Duration,
    /// What is changed for longer is no save and no checkout.
    pub(super) longest: Duration,
}

/// How many files of the folder somebody is known to be writing to.
#[derive(Debug, Clone, Default)]
pub(super) struct Writers(Arc<AtomicUsize>);

impl Writers {
    pub(super) fn set(&self, count: usize) {
        self.0.store(count, Ordering::Relaxed);
    }

    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// A set that was read whole.
pub(super) struct Whole {
    pub(super) set: ManifestSet,
    pub(super) walk: Walk,
    pub(super) digest: String,
}

/// Reads the folder at `path` once it is at rest.
pub(super) fn read_whole(path: &Path, cache: &mut ManifestCache, rest: Rest, writers: &Writers) -> Result<Whole, Failure> {
    let began = Instant::now();
    let mut absent = false;
    loop {
        let late = began.elapsed() >= rest.longest;
        let before = match look(path, path) {
            Ok(walk) => walk,
            // A folder that is being replaced isn't there for a moment.
            Err(failure) if absent || late => return Err(failure),
            Err(_) => {
                absent = true;
                std::thread::sleep(rest.quiet);
                continue;
            }
        };
        if let Some(wait) = recent(&before, rest) {
            // Nobody can tell half of such a change from the whole.
            if late {
                return Err(Failure::Unsettled { path: path.to_owned(), waited: rest.longest });
            }
            std::thread::sleep(wait);
            continue;
        }
        // A lock may be one that a killed git left, and a file may be open for ever.
        if at_work(&before, writers) && !late {
            std::thread::sleep(STEP);
            continue;
        }
        let set = cache.read_folder(&before, path);
        if let Ok(after) = look(path, path)
            && before.same_entries(&after)
        {
            return Ok(Whole { set, digest: cache.digest(&after), walk: after });
        }
        if late {
            return Err(Failure::Unsettled { path: path.to_owned(), waited: rest.longest });
        }
    }
}

/// How long to wait until nothing of the folder changed a moment ago.
pub(super) fn recent(walk: &Walk, rest: Rest) -> Option<Duration> {
    let age = walk.age(SystemTime::now())?;
    rest.quiet.checked_sub(age).filter(|wait| !wait.is_zero())
}

/// Whether somebody is known to be changing the folder.
pub(super) fn at_work(walk: &Walk, writers: &Writers) -> bool {
    writers.any() || Local::of(walk.root()).is_some_and(|local| local.busy())
}

/// A walk through a folder in which there is something.
pub(super) fn look(path: &Path, shown: &Path) -> Result<Walk, Failure> {
    let walk = Walk::of(path, shown).map_err(|error| Failure::looking(path, error))?;
    if walk.has_manifest() { Ok(walk) } else { Err(Failure::Empty { place: path.display().to_string() }) }
}
