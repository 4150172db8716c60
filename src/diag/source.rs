//! The source map: files with their text, and where in them a byte lies. It holds what it is given and reads nothing.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

/// A file of a [`SourceMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

impl FileId {
    fn of(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

/// Bytes from `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// From `start` to `end`; offsets over 4 GiB are cut, for no file is so large.
    pub fn new(start: usize, end: usize) -> Self {
        let cut = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { start: cut(start), end: cut(end.max(start)) }
    }

    /// As a range of `usize`.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A place as people count it: lines and columns from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

#[derive(Debug)]
struct File {
    name: String,
    text: Arc<str>,
    /// Where lines begin. Only a file that something is said of is asked for it.
    lines: OnceLock<Vec<u32>>,
}

impl File {
    fn lines(&self) -> &[u32] {
        self.lines.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
            std::iter::once(0).chain(ends.map(|(i, _)| Span::new(i + 1, i + 1).start)).collect()
        })
    }
}

/// Files by the name that users know them by, each with its text. One that could not be read has an empty text.
#[derive(Debug, Clone, Default)]
pub struct SourceMap {
    /// By id; there are holes where a file of an earlier map is not in this one.
    files: Vec<Option<Arc<File>>>,
    order: Vec<FileId>,
    /// Ids that neither this map nor the one before it has given.
    free: Vec<FileId>,
}

impl SourceMap {
    /// An empty map that takes over files of `earlier` with their ids, by [`keep`](Self::keep), and gives none of these anew.
    pub fn after(earlier: &Self) -> Self {
        let hole = |(index, file): (usize, &Option<Arc<File>>)| file.is_none().then(|| FileId::of(index));
        let free = earlier.files.iter().enumerate().filter_map(hole).collect();
        Self { files: vec![None; earlier.files.len()], order: Vec::new(), free }
    }

    /// Takes over the file `file` of `earlier`, which this map was made after.
    pub fn keep(&mut self, earlier: &Self, file: FileId) {
        if let (Some(slot), Some(Some(found))) = (self.files.get_mut(file.0 as usize), earlier.files.get(file.0 as usize)) {
            *slot = Some(Arc::clone(found));
            self.order.push(file);
        }
    }

    /// Takes a file in and gives its id. `name` is what is shown: the path as the user wrote it, `<stdin>` or a URL.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        let file = Some(Arc::new(File { name: name.into(), text: text.into(), lines: OnceLock::new() }));
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(slot) = self.files.get_mut(id.0 as usize) {
                    *slot = file;
                }
                id
            }
            None => {
                self.files.push(file);
                FileId::of(self.files.len() - 1)
            }
        };
        self.order.push(id);
        id
    }

    /// All files, in the order in which they came.
    pub fn ids(&self) -> impl Iterator<Item = FileId> + '_ {
        self.order.iter().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The file's name; empty for an id of another map.
    pub fn name(&self, file: FileId) -> &str {
        self.file(file).map_or("", |f| &f.name)
    }

    /// The file's text; empty for an id of another map.
    pub fn text(&self, file: FileId) -> &str {
        self.file(file).map_or("", |f| &f.text)
    }

    /// The text of a span; empty where the span isn't one of the file's.
    pub fn slice(&self, file: FileId, span: Span) -> &str {
        self.text(file).get(span.range()).unwrap_or("")
    }

    /// Where the byte at `offset` lies; past the end, where the file ends.
    pub fn position(&self, file: FileId, offset: u32) -> Position {
        let Some(f) = self.file(file) else { return Position { line: 1, column: 1 } };
        let line = f.lines().partition_point(|start| *start <= offset).max(1);
        let start = f.lines().get(line - 1).copied().unwrap_or(0) as usize;
        let end = (offset as usize).min(f.text.len());
        // An offset within a character counts as its beginning.
        let column = f.text.get(start..).map_or(0, |rest| rest.char_indices().take_while(|(i, _)| start + i < end).count());
        Position { line, column: column + 1 }
    }

    fn file(&self, id: FileId) -> Option<&File> {
        self.files.get(id.0 as usize)?.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn columns_are_counted_in_characters_and_lines_from_one() {
        let mut map = SourceMap::default();
        let file = map.add("a.yaml", "ä: ö\nb: c\n");
        assert_eq!(map.position(file, 4), Position { line: 1, column: 4 });
        assert_eq!(map.position(file, 7), Position { line: 2, column: 1 });
        assert_eq!(map.position(file, 99), Position { line: 3, column: 1 });
        assert_eq!(map.slice(file, Span::new(0, 2)), "ä");
    }

    #[test]
    fn a_file_that_is_kept_keeps_its_id_and_no_other_gets_it() {
        let mut first = SourceMap::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| first.add(name, name));
        let mut second = SourceMap::after(&first);
        let d = second.add("d", "d");
        second.keep(&first, c);
        assert!(![a, b, c].contains(&d), "c comes later still");
        assert_eq!(second.ids().collect::<Vec<_>>(), [d, c]);
        assert_eq!([second.name(c), second.text(c), second.name(a)], ["c", "c", ""]);
        let mut third = SourceMap::after(&second);
        third.keep(&second, d);
        let [e, f] = ["e", "f"].map(|name| third.add(name, name));
        assert_eq!(BTreeSet::from([e, f]), BTreeSet::from([a, b]), "ids of files that are gone are given again");
    }
}
