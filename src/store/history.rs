//! The journal for people: what was done to which object, when, by which run, and how it ended. Bounded, and read by nobody who
//! decides anything.
//!
//! It lies beside the database, in files that are only added to: a line that something was begun, one that it ended. So what a kill
//! left is there, and says that nobody knows its end. The oldest file goes when a new one is begun, and no line of it is ever in
//! memory. Nothing waits for the disk: a power cut may take the last lines.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoreError;
use super::sealed::short_sum;
use crate::name::{Name, ObjectRef};
use crate::plan::Intent;

/// So many events of one object are told of.
pub(super) const PER_OBJECT: usize = 1000;
/// A file is as long as this, and a line.
const FILE_LENGTH: u64 = 1 << 20;
/// So many are kept, for all objects and fleets together.
pub(super) const FILES: usize = 16;

/// The folder beside the database.
pub(super) const FOLDER: &str = "history";

/// One thing that was done, or was to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// That of its intent; later ones are greater.
    pub id: String,
    /// The run that did it.
    pub run: String,
    /// The command of that run.
    pub command: String,
    /// The object.
    pub object: ObjectRef,
    /// The action, a short word such as `volume-create`.
    pub op: String,
    /// Where.
    pub node: Option<Name>,
    /// When it began, RFC 3339.
    pub at: String,
    /// When its end was known.
    #[serde(default)]
    pub ended: Option<String>,
    /// How it ended.
    pub outcome: EventOutcome,
    /// Why it ended so, or what it was for.
    #[serde(default)]
    pub why: Option<String>,
    /// What made somebody look, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The revision of the manifests that it was done by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// What something was done for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// What made somebody look, in one word.
    pub cause: Option<String>,
    /// The revision of the manifests.
    pub revision: Option<String>,
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventOutcome {
    /// It was done, and reading back showed it.
    Done,
    /// It was not done.
    Failed,
    /// It was intended and never begun.
    NotBegun,
    /// Nobody knows: the answer or the run was lost. The next run decided it by looking.
    Unknown,
}

impl EventOutcome {
    /// The words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::NotBegun => "not begun",
            Self::Unknown => "unknown",
        }
    }
}

impl Event {
    /// Puts events into the order in which they began.
    pub fn sort(events: &mut [Self]) {
        events.sort_by(|a, b| (&a.at, &a.id).cmp(&(&b.at, &b.id)));
    }

    /// The event of an intent whose end isn't known yet.
    pub fn of(intent: &Intent, command: &str, context: &Context) -> Self {
        Self {
            id: intent.id.clone(),
            run: intent.run.clone(),
            command: command.to_owned(),
            object: intent.object.clone(),
            op: intent.op.clone(),
            node: intent.node.clone(),
            at: intent.at.clone(),
            ended: None,
            outcome: EventOutcome::Unknown,
            why: None,
            cause: context.cause.clone(),
            revision: context.revision.clone(),
        }
    }
}

/// How something ended that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) id: String,
    pub(super) ended: Option<String>,
    pub(super) outcome: EventOutcome,
    pub(super) why: Option<String>,
}

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum News {
    /// Something was begun, or said.
    Event(Box<Event>),
    /// It ended.
    End(End),
}

#[derive(Serialize, Deserialize)]
struct Line<T> {
    fleet: Uuid,
    news: T,
}

/// What a history tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// The oldest first.
    pub events: Vec<Event>,
    /// So many lines can't be read, and are left out.
    pub unreadable: usize,
}

/// The history as its one writer has it.
pub(super) enum History {
    InMemory(Vec<u8>),
    Files {
        folder: PathBuf,
        /// None before anything is written, and after something could not be.
        newest: Option<Newest>,
    },
}

pub(super) struct Newest {
    file: File,
    length: u64,
}

impl History {
    /// The history in a folder, which need not exist. Nothing is written before something is told.
    pub(super) fn at(folder: PathBuf) -> Self {
        Self::Files { folder, newest: None }
    }

    /// Tells something of a fleet's objects.
    pub(super) fn tell(&mut self, fleet: Uuid, news: &[News]) -> Result<(), StoreError> {
        let mut lines = Vec::new();
        for news in news {
            let text = serde_json::to_string(&Line { fleet, news })
                .map_err(|error| StoreError::Record { key: FOLDER.to_owned(), reason: error.to_string() })?;
            lines.extend(format!("{} {text}\n", short_sum(&text)).into_bytes());
        }
        match self {
            Self::InMemory(all) => all.extend(lines),
            Self::Files { .. } if lines.is_empty() => {}
            Self::Files { folder, newest } => {
                // One that somebody removed is written by nobody.
                let goes_on =
                    |newest: &Newest| newest.length < FILE_LENGTH && newest.file.metadata().is_ok_and(|file| file.nlink() > 0);
                let old = newest.take().filter(goes_on);
                let told = old.map_or_else(|| Newest::open(folder), Ok).and_then(|mut old| {
                    old.file.write_all(&lines)?;
                    old.length += lines.len() as u64;
                    Ok(old)
                });
                *newest = Some(told.map_err(StoreError::io("failed to write", folder))?);
            }
        }
        Ok(())
    }

    /// What it tells of these objects of a fleet: all, or at least so many of the newest.
    pub(super) fn of(&self, fleet: Uuid, least: usize, meant: &dyn Fn(&ObjectRef) -> bool) -> Past {
        match self {
            Self::InMemory(lines) => past([read_lines(fleet, lines.as_slice(), meant)]),
            Self::Files { folder, .. } => read_folder(folder, fleet, least, meant),
        }
    }
}

impl Newest {
    /// The newest file, or the next where that is full; the oldest go then.
    fn open(folder: &Path) -> io::Result<Self> {
        let files = files(folder)?;
        if let Some(path) = files.values().next_back() {
            let mut file = OpenOptions::new().read(true).append(true).open(path)?;
            let mut length = file.metadata()?.len();
            if length < FILE_LENGTH {
                if !ends_with_a_line(&mut file, length)? {
                    file.write_all(b"\n")?;
                    length += 1;
                }
                return Ok(Self { file, length });
            }
        } else {
            fs::create_dir_all(folder)?;
        }
        let number = files.last_key_value().map_or(0, |(number, _)| *number) + 1;
        let path = folder.join(format!("{number:08}"));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        for path in files.values().take((files.len() + 1).saturating_sub(FILES)) {
            fs::remove_file(path)?;
        }
        Ok(Self { file, length: 0 })
    }
}

fn ends_with_a_line(file: &mut File, length: u64) -> io::Result<bool> {
    let mut last = [b'\n'];
    if length > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    Ok(last == *b"\n")
}

/// The files, by their numbers.
fn files(folder: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries?,
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            files.insert(number, entry.path());
        }
    }
    Ok(files)
}

/// What one file tells, line by line.
#[derive(Default)]
struct Told {
    news: Vec<News>,
    events: usize,
    unreadable: usize,
}

/// Read from its end. A folder that is gone or can't be read tells nothing: it holds nothing that anything depends on.
fn read_folder(folder: &Path, fleet: Uuid, least: usize, meant: &dyn Fn(&ObjectRef) -> bool) -> Past {
    let (mut told, mut events) = (Vec::new(), 0);
    for path in files(folder).unwrap_or_default().values().rev() {
        if events >= least {
            break;
        }
        // One that is no longer there was the oldest.
        if let Ok(file) = File::open(path) {
            let read = read_lines(fleet, BufReader::new(file), meant);
            events += read.events;
            told.push(read);
        }
    }
    past(told.into_iter().rev())
}

fn read_lines(fleet: Uuid, mut lines: impl BufRead, meant: &dyn Fn(&ObjectRef) -> bool) -> Told {
    let (mut told, mut line) = (Told::default(), Vec::new());
    while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        match line.strip_suffix(b"\n").and_then(parse) {
            Some(Line { news: News::Event(event), .. }) if !meant(&event.object) => {}
            Some(line) if line.fleet == fleet => {
                told.events += usize::from(matches!(line.news, News::Event(_)));
                told.news.push(line.news);
            }
            Some(_) => {}
            None => told.unreadable += 1,
        }
        line.clear();
    }
    told
}

/// Files, the oldest first, make a past: in the order in which things were told, whatever their ids and the clock were.
fn past(files: impl IntoIterator<Item = Told>) -> Past {
    let (mut past, mut places) = (Past::default(), BTreeMap::new());
    for told in files {
        past.unreadable += told.unreadable;
        for news in told.news {
            learn(&mut past.events, &mut places, news);
        }
    }
    let mut of_object: BTreeMap<ObjectRef, usize> = BTreeMap::new();
    for event in &past.events {
        *of_object.entry(event.object.clone()).or_default() += 1;
    }
    past.events.retain(|event| match of_object.get_mut(&event.object) {
        Some(left) if *left > PER_OBJECT => {
            *left -= 1;
            false
        }
        _ => true,
    });
    past
}

fn learn(events: &mut Vec<Event>, places: &mut BTreeMap<String, usize>, news: News) {
    match news {
        News::Event(event) => {
            places.insert(event.id.clone(), events.len());
            events.push(*event);
        }
        News::End(end) => {
            // What was begun may be too long ago, or not meant.
            if let Some(event) = places.get(&end.id).and_then(|place| events.get_mut(*place)) {
                (event.ended, event.outcome, event.why) = (end.ended, end.outcome, end.why);
            }
        }
    }
}

fn parse(line: &[u8]) -> Option<Line<News>> {
    let (sum, text) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    (sum == short_sum(text)).then(|| serde_json::from_str(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: Uuid = Uuid::from_u128(1);

    fn event(id: usize, why: &str) -> News {
        News::Event(Box::new(Event {
            id: format!("1-{id}"),
            run: "1".into(),
            command: "jvp apply".into(),
            object: "Network/a".parse().unwrap(),
            op: "network-start".into(),
            node: None,
            at: "2026-01-01T00:00:00Z".into(),
            ended: None,
            outcome: EventOutcome::Unknown,
            why: Some(why.into()),
            cause: None,
            revision: None,
        }))
    }

    fn read(ledger: &Path, fleet: Uuid) -> Past {
        History::at(ledger.join(FOLDER)).of(fleet, usize::MAX, &|_| true)
    }

    fn ids(past: &Past) -> Vec<&str> {
        past.events.iter().map(|event| event.id.as_str()).collect()
    }

    #[test]
    fn the_oldest_goes_when_there_is_too_much() {
        let place = tempfile::tempdir().unwrap();
        let long = "x".repeat(200_000);
        let mut history = History::at(place.path().join(FOLDER));
        let mut lengths = Vec::new();
        for id in 0..200 {
            history.tell(FLEET, &[event(id, &long)]).unwrap();
            let files = files(&place.path().join(FOLDER)).unwrap();
            lengths.push((files.len(), files.values().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>()));
        }
        assert!(lengths.iter().all(|(files, length)| *files <= FILES && *length < FILES as u64 * (FILE_LENGTH + 300_000)));
        let past = read(place.path(), FLEET);
        let kept = past.events.len();
        assert!((80..=100).contains(&kept) && past.unreadable == 0, "{kept}");
        assert_eq!(ids(&past), (200 - kept..200).map(|id| format!("1-{id}")).collect::<Vec<_>>(), "the newest, without a gap");
        let newest = history.of(FLEET, 7, &|_| true).events;
        assert!(
            (7..kept / 2).contains(&newest.len()) && past.events.ends_with(&newest),
            "no more than is asked for, but for whole files"
        );
        assert_eq!(history.of(FLEET, 7, &|_| false).events, []);
    }

    #[test]
    fn the_last_that_were_told_are_kept_of_an_object_whatever_their_ids_are() {
        let mut history = History::InMemory(Vec::new());
        for id in 0..PER_OBJECT + 50 {
            history.tell(FLEET, &[event(id, "")]).unwrap();
        }
        let past = history.of(FLEET, usize::MAX, &|_| true);
        assert_eq!(ids(&past), (50..PER_OBJECT + 50).map(|id| format!("1-{id}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_folder_that_somebody_removed_is_made_again() {
        let place = tempfile::tempdir().unwrap();
        let mut history = History::at(place.path().join(FOLDER));
        history.tell(FLEET, &[event(0, "")]).unwrap();
        fs::remove_dir_all(place.path().join(FOLDER)).unwrap();
        history.tell(FLEET, &[event(1, "")]).unwrap();
        assert_eq!(ids(&read(place.path(), FLEET)), ["1-1"]);
    }

    #[test]
    fn a_line_that_was_half_written_costs_no_other() {
        let place = tempfile::tempdir().unwrap();
        let told = |from: usize| {
            let mut history = History::at(place.path().join(FOLDER));
            history.tell(FLEET, &[event(from, ""), event(from + 1, "")]).unwrap();
        };
        told(0);
        let path = place.path().join(FOLDER).join("00000001");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 20]).unwrap();
        let past = read(place.path(), FLEET);
        assert_eq!((ids(&past), past.unreadable), (vec!["1-0"], 1));
        told(2);
        let past = read(place.path(), FLEET);
        assert_eq!((ids(&past), past.unreadable), (vec!["1-0", "1-2", "1-3"], 1));
        assert_eq!(read(place.path(), Uuid::nil()).events, [], "another fleet's");
    }

    #[test]
    fn an_end_belongs_to_what_was_begun() {
        let mut history = History::InMemory(Vec::new());
        let end =
            |id: &str| News::End(End { id: id.into(), ended: None, outcome: EventOutcome::Failed, why: Some("no space".into()) });
        history.tell(FLEET, &[event(1, ""), end("1-1"), end("1-0")]).unwrap();
        let past = history.of(FLEET, usize::MAX, &|_| true);
        assert_eq!(ids(&past), ["1-1"]);
        assert_eq!((past.events[0].outcome, past.events[0].why.as_deref()), (EventOutcome::Failed, Some("no space")));
    }
}
