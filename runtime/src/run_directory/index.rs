//! The index beside `episodes.jsonl`: the place and the summary of each episode. It saves
//! reading the episodes. It is never needed: what does not match the episodes is made anew.
//!
//! An index is a sequence of parts. A part is a line that states which bytes of the episodes
//! the index covers up to here, followed by one line per episode. The first part covers what
//! was there when the index was made. Each later part covers one more episode, or none after
//! episodes were compressed; only the process that holds the run's lock appends those.
//!
//! A place is a line's first byte among all lines, compressed or not. It stays the same when
//! the line is compressed; the headers of the frames state which of them has it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::store::Store;
use crate::checksum::{is_altered, sealed_line};
use crate::files::WholeFile;
use crate::hash::sha256;
use crate::summary::EpisodeSummary;

/// The file's name in a run directory.
pub(super) const INDEX: &str = "episodes.index.jsonl";

/// Version of the index. Raise it when [`EpisodeSummary`] changes: an index of another
/// version is made anew.
const VERSION: u32 = 1;

/// Where an episode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// First byte of the line, among all lines.
    pub(super) offset: u64,
    /// Bytes of the line.
    pub(super) length: u64,
    /// Number of the line, from 1.
    pub(super) line: usize,
}

/// The size and the time of change of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileFacts {
    pub(super) bytes: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
}

impl FileFacts {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let facts = file.metadata()?;
        Ok(FileFacts { bytes: facts.len(), modified: (facts.mtime(), facts.mtime_nsec()) })
    }

    fn is_default(&self) -> bool {
        *self == FileFacts::default()
    }
}

/// How a run's episodes compare with those that an index covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// They are the same.
    Same,
    /// They seem to begin with the same lines.
    Continued,
    /// They are others.
    Other,
}

/// The episodes that an index covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Covered {
    /// Bytes of complete lines.
    pub(super) bytes: u64,
    /// The number of these lines.
    pub(super) lines: usize,
    /// First byte of the last one.
    pub(super) last: u64,
    /// SHA-256 of the last one.
    pub(super) hash: String,
    /// When the plain file was last changed: seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    /// The compressed file; all zero if there is none.
    #[serde(default, skip_serializing_if = "FileFacts::is_default")]
    pub(super) packed: FileFacts,
}

impl Default for Covered {
    fn default() -> Self {
        Covered {
            bytes: 0,
            lines: 0,
            last: 0,
            hash: sha256(""),
            modified: (0, 0),
            packed: FileFacts::default(),
        }
    }
}

impl Covered {
    /// Compares files of the same size by their time of change, and others by the last covered
    /// line: lines move from the plain file to the compressed one, which only becomes longer.
    pub(super) fn compare(&self, store: &Store) -> Likeness {
        let same_packed = store.packed == self.packed;
        if same_packed && store.bytes() == self.bytes {
            return match store.plain.modified == self.modified {
                true => Likeness::Same,
                false => Likeness::Other,
            };
        }
        let is_edited = !same_packed && store.packed.bytes == self.packed.bytes;
        match !is_edited && store.hash_of(self.last, self.bytes).as_ref() == Some(&self.hash) {
            true => Likeness::Continued,
            false => Likeness::Other,
        }
    }
}

/// The first line of a part.
#[derive(Serialize, Deserialize)]
struct Head<C> {
    /// [`VERSION`] of the writer.
    index: u32,
    /// Bytes that the part before covers.
    after: u64,
    /// Lines of this part.
    entries: usize,
    covers: C,
}

#[derive(Serialize, Deserialize)]
struct Entry<S> {
    place: Place,
    episode: S,
}

/// An index that was read.
pub(super) struct Loaded {
    pub(super) covered: Covered,
    /// False if something after that is damaged: the process that wrote it was killed.
    pub(super) complete: bool,
}

/// Reads an index and passes on its entries. `None`: there is none, or it cannot be used,
/// and neither can the entries so far. An empty file covers nothing: its run has begun.
pub(super) fn load(file: &Path, mut add: impl FnMut(Place, EpisodeSummary)) -> Option<Loaded> {
    let mut lines = Lines { reader: BufReader::new(File::open(file).ok()?), text: Vec::new() };
    let mut loaded: Option<Loaded> = None;
    loop {
        let head = match lines.next::<Head<Covered>>() {
            Read::End if loaded.is_none() => {
                return Some(Loaded { covered: Covered::default(), complete: true });
            }
            Read::End => return loaded,
            Read::Value(head) if head.index == VERSION => head,
            Read::Value(_) | Read::Damaged => return cut(loaded),
        };
        let first = loaded.is_none();
        let before = loaded.as_ref().map_or(0, |loaded| loaded.covered.bytes);
        if head.after != before || !(first || head.entries <= 1) {
            return cut(loaded);
        }
        for _ in 0..head.entries {
            match lines.next::<Entry<EpisodeSummary>>() {
                Read::Value(Entry { place, episode })
                    if place.offset.checked_add(place.length)? <= head.covers.bytes =>
                {
                    add(place, episode);
                }
                _ => return cut(loaded),
            }
        }
        loaded = Some(Loaded { covered: head.covers, complete: true });
    }
}

fn cut(loaded: Option<Loaded>) -> Option<Loaded> {
    loaded.map(|loaded| Loaded { complete: false, ..loaded })
}

struct Lines {
    reader: BufReader<File>,
    text: Vec<u8>,
}

enum Read<T> {
    Value(T),
    End,
    Damaged,
}

impl Lines {
    fn next<T: for<'a> Deserialize<'a>>(&mut self) -> Read<T> {
        self.text.clear();
        match self.reader.read_until(b'\n', &mut self.text) {
            Ok(0) => Read::End,
            Ok(_) if self.text.ends_with(b"\n") && !is_altered(&self.text) => {
                serde_json::from_slice(&self.text).map_or(Read::Damaged, Read::Value)
            }
            _ => Read::Damaged,
        }
    }
}

/// Replaces an index.
pub(super) fn write<'a>(
    file: &Path,
    covers: &Covered,
    entries: impl ExactSizeIterator<Item = (Place, &'a EpisodeSummary)>,
) -> io::Result<()> {
    let mut out = WholeFile::create(file)?;
    let head = Head { index: VERSION, after: 0, entries: entries.len(), covers };
    put(&mut out, &head)?;
    for (place, episode) in entries {
        put(&mut out, &Entry { place, episode })?;
    }
    out.finish()
}

fn put(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    out.write_all(&sealed_line(value)?)
}

/// Extends an index, one episode at a time.
#[derive(Debug)]
pub(super) struct Appender {
    file: File,
    covered: Covered,
}

impl Appender {
    /// Makes an index that covers nothing.
    pub(super) fn create(file: &Path) -> io::Result<Self> {
        File::create(file)?;
        Self::open(file, Covered::default())
    }

    /// Opens an index that covers exactly this.
    pub(super) fn open(file: &Path, covered: Covered) -> io::Result<Self> {
        Ok(Appender { file: OpenOptions::new().append(true).open(file)?, covered })
    }

    /// Adds the episode whose line was just written to the end of `episodes`. It is not
    /// synced to the disk: what is missing or damaged later is read from the episodes.
    pub(super) fn append(
        &mut self,
        episodes: &File,
        line: &[u8],
        episode: &EpisodeSummary,
    ) -> io::Result<()> {
        let (after, length) = (self.covered.bytes, line.len() as u64);
        let lines = self.covered.lines + 1;
        self.covered = Covered {
            bytes: after + length,
            lines,
            last: after,
            hash: sha256(line),
            modified: FileFacts::of(episodes)?.modified,
            packed: self.covered.packed,
        };
        let mut part = Vec::new();
        put(&mut part, &Head { index: VERSION, after, entries: 1, covers: &self.covered })?;
        let place = Place { offset: after, length, line: lines };
        put(&mut part, &Entry { place, episode })?;
        self.file.write_all(&part)
    }

    /// Notes that episodes moved from the plain file to the compressed one.
    pub(super) fn moved(&mut self, plain: FileFacts, packed: FileFacts) -> io::Result<()> {
        (self.covered.modified, self.covered.packed) = (plain.modified, packed);
        let mut part = Vec::new();
        let after = self.covered.bytes;
        put(&mut part, &Head { index: VERSION, after, entries: 0, covers: &self.covered })?;
        self.file.write_all(&part)
    }
}
