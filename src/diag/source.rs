//! The source map: files with their text, and where in them a byte lies. It holds what it is given and reads nothing.

use std::sync::Arc;

/// A file of a [`SourceMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

/// Bytes from `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
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

#[derive(Debug, Clone)]
struct File {
    name: String,
    text: Arc<str>,
    lines: Vec<u32>,
}

/// Files by the name that users know them by, each with its text. One that could not be read has an empty text.
#[derive(Debug, Clone, Default)]
pub struct SourceMap {
    files: Vec<File>,
}

impl SourceMap {
    /// Takes a file in and gives its id. `name` is what is shown: the path as the user wrote it, `<stdin>` or a URL.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        let text = text.into();
        let mut lines = vec![0];
        lines.extend(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| Span::new(i + 1, i + 1).start));
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(File { name: name.into(), text, lines });
        id
    }

    /// All files, in the order in which they came.
    pub fn ids(&self) -> impl Iterator<Item = FileId> + use<> {
        (0..self.files.len()).map(|i| FileId(u32::try_from(i).unwrap_or(u32::MAX)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
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
        let line = f.lines.partition_point(|start| *start <= offset).max(1);
        let start = f.lines.get(line - 1).copied().unwrap_or(0) as usize;
        let end = (offset as usize).min(f.text.len());
        // An offset within a character counts as its beginning.
        let column = f.text.get(start..).map_or(0, |rest| rest.char_indices().take_while(|(i, _)| start + i < end).count());
        Position { line, column: column + 1 }
    }

    fn file(&self, id: FileId) -> Option<&File> {
        self.files.get(id.0 as usize)
    }
}

#[cfg(test)]
mod tests {
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
}
