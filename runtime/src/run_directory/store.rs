//! All lines of a run's episodes: those of the compressed frames, then those of the plain file.
//!
//! A line has its first byte among all lines as its place, which stays the same when it moves
//! from the plain file into a frame. A frame is on the disk before its lines are removed from
//! the plain file. A frame whose lines are still there does not count, so that no line is read
//! twice, whenever the writer was killed.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use sha2::{Digest, Sha256};

use super::frames::{Frame, FrameError, Frames, Rest, frames, next_header, unpack};
use super::index::{FileFacts, Place};
use super::lines::{Line, LineError, each, lines, lines_of};
use super::{COMPRESSED, EPISODES, RunError};
use crate::hash::sha256;

/// Frames that are read at the same time: this limits memory.
const AT_ONCE: usize = 4;
/// Frames whose lines are kept: readers in several threads may be in two that follow each other.
const KEPT: usize = 2;

/// The lines of the frames that were read last.
#[derive(Debug, Default)]
pub(super) struct FrameTexts(Mutex<VecDeque<FrameText>>);

/// The hash of a frame, and its lines.
type FrameText = ([u8; 32], Arc<Vec<u8>>);

/// All lines of a run's episodes, as they were when it was opened.
#[derive(Debug)]
pub(super) struct Store {
    run: PathBuf,
    /// The plain file's facts; all zero if there is none.
    pub(super) plain: FileFacts,
    /// The compressed file's facts; all zero if there is none.
    pub(super) packed: FileFacts,
    plain_file: Option<File>,
    packed_file: Option<File>,
    /// The frames that count.
    frames: Vec<Frame>,
    /// What follows all complete frames.
    rest: Rest,
    texts: Arc<FrameTexts>,
    /// A copy of the lines of all frames, if they are read in any order.
    copy: OnceLock<File>,
}

impl Store {
    /// Opens a run's episodes; `None` if there are none.
    ///
    /// # Errors
    /// [`RunError`] if the header of a frame is damaged, or a file cannot be read.
    pub(super) fn open(run: &Path, texts: &Arc<FrameTexts>) -> Result<Option<Store>, RunError> {
        let (plain_path, packed_path) = (run.join(EPISODES), run.join(COMPRESSED));
        loop {
            let plain_file = opened(&plain_path)?;
            let packed_file = opened(&packed_path)?;
            let packed = facts(packed_file.as_ref(), &packed_path)?;
            // Lines that moved after the first file was opened and before the second was
            // measured would be in neither.
            if !is_still(&plain_path, plain_file.as_ref())? {
                continue;
            }
            if plain_file.is_none() && packed_file.is_none() {
                return Ok(None);
            }
            let mut store = Store {
                run: run.into(),
                plain: facts(plain_file.as_ref(), &plain_path)?,
                packed,
                plain_file,
                packed_file,
                frames: Vec::new(),
                rest: Rest::Nothing,
                texts: texts.clone(),
                copy: OnceLock::new(),
            };
            store.find_frames()?;
            return Ok(Some(store));
        }
    }

    fn find_frames(&mut self) -> Result<(), RunError> {
        let Some(file) = &self.packed_file else { return Ok(()) };
        let fault = |e| RunError::io(&self.run.join(COMPRESSED), "read", e);
        let Frames { all, rest } = frames(file, self.packed.bytes).map_err(fault)?;
        if rest == Rest::Damaged {
            let next = next_header(file, 0, self.packed.bytes).map_err(fault)?;
            if all.is_empty() && next.is_none() {
                return Err(RunError::NotFrames(self.run.join(COMPRESSED)));
            }
            let before = all.last().map_or(0, |last| last.before + last.lines);
            let what = format!("frame {} (from line {} on)", all.len() + 1, before + 1);
            return Err(self.damaged(what, "its header has other bytes than were written".into()));
        }
        let count = self.counted(&all).map_err(fault)?;
        self.frames = all;
        self.frames.truncate(count);
        self.rest = rest;
        Ok(())
    }

    /// The number of frames that count. The lines of the last ones can still be in the plain
    /// file: of those that were written together, or of all if the run is being decompressed.
    fn counted(&self, frames: &[Frame]) -> io::Result<usize> {
        let together = frames.iter().rposition(|frame| frame.from == 0).unwrap_or_default();
        for (first, is_all) in [(together, false), (0, true)] {
            let mut are_there = true;
            for frame in frames[first..].iter().rev() {
                let at = if is_all { frame.start } else { frame.from };
                are_there = are_there && self.has_plain(frame, at)?;
            }
            if are_there {
                return Ok(first);
            }
        }
        Ok(frames.len())
    }

    /// Whether the lines of a frame are in the plain file, from this byte on.
    fn has_plain(&self, frame: &Frame, at: u64) -> io::Result<bool> {
        let Some(file) = &self.plain_file else { return Ok(false) };
        if at.checked_add(frame.length).is_none_or(|end| end > self.plain.bytes) {
            return Ok(false);
        }
        let mut text = vec![0; usize::try_from(frame.length).map_err(io::Error::other)?];
        file.read_exact_at(&mut text, at)?;
        Ok(Sha256::digest(text)[..] == frame.hash)
    }

    /// The frames that count.
    pub(super) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Bytes of all lines, the last of which may be partial.
    pub(super) fn bytes(&self) -> u64 {
        self.packed_text() + self.plain.bytes
    }

    /// Bytes of the lines of all frames.
    pub(super) fn packed_text(&self) -> u64 {
        self.frames.last().map_or(0, Frame::text_end)
    }

    /// The number of lines of all frames.
    pub(super) fn packed_lines(&self) -> usize {
        self.frames.last().map_or(0, |last| last.before + last.lines)
    }

    /// The byte after the frames that count, in the compressed file.
    pub(super) fn packed_end(&self) -> u64 {
        self.frames.last().map_or(0, Frame::end)
    }

    /// Whether nothing is lost if what follows the frames that count is removed: it holds no
    /// line, or only lines that are in the plain file.
    pub(super) fn is_rest_needless(&self) -> io::Result<bool> {
        match &self.rest {
            Rest::Torn(Some(frame)) => self.has_plain(frame, frame.from),
            Rest::Nothing | Rest::Torn(None) => Ok(true),
            Rest::Damaged => Ok(false),
        }
    }

    /// The bytes of a line.
    ///
    /// # Errors
    /// [`RunError`] if its frame is damaged, or its file changed.
    pub(super) fn line(&self, place: &Place) -> Result<Vec<u8>, RunError> {
        let changed = || RunError::Changed { place: self.named(place.line) };
        let length = usize::try_from(place.length).map_err(|_| changed())?;
        let read = |file: &File, at: u64, name: &str| {
            let mut line = vec![0; length];
            file.read_exact_at(&mut line, at).map_err(|e| match e.kind() {
                ErrorKind::UnexpectedEof => changed(),
                _ => RunError::io(&self.run.join(name), "read", e),
            })?;
            Ok(line)
        };
        let nth = self.frames.partition_point(|frame| frame.text_end() <= place.offset);
        match (self.frames.get(nth), self.copy.get()) {
            (None, _) => match &self.plain_file {
                Some(file) => read(file, place.offset - self.packed_text(), EPISODES),
                None => Err(changed()),
            },
            (Some(_), Some(copy)) => read(copy, place.offset, COMPRESSED),
            (Some(frame), None) => {
                let text = self.text(nth)?;
                let start = usize::try_from(place.offset - frame.start).map_err(|_| changed())?;
                let line = text.get(start..).and_then(|rest| rest.get(..length));
                line.map(<[u8]>::to_vec).ok_or_else(changed)
            }
        }
    }

    /// SHA-256 of the bytes of a line; `None` if they cannot be read.
    pub(super) fn hash_of(&self, start: u64, end: u64) -> Option<String> {
        let length = end.checked_sub(start)?;
        match length {
            0 => Some(sha256("")),
            _ => self.line(&Place { offset: start, length, line: 0 }).ok().map(sha256),
        }
    }

    /// The lines of a frame. They are kept for readers of other lines of it.
    fn text(&self, nth: usize) -> Result<Arc<Vec<u8>>, RunError> {
        let frame = &self.frames[nth];
        let mut kept = self.texts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = kept.iter().find(|(hash, _)| *hash == frame.hash) {
            return Ok(text.clone());
        }
        if kept.len() == KEPT {
            kept.pop_front();
        }
        // Other threads wait meanwhile: most often they need the same frame.
        let text = Arc::new(self.unpacked(nth)?);
        kept.push_back((frame.hash, text.clone()));
        Ok(text)
    }

    /// The lines of a frame.
    pub(super) fn unpacked(&self, nth: usize) -> Result<Vec<u8>, RunError> {
        let Some(file) = &self.packed_file else { return Ok(Vec::new()) };
        unpack(file, &self.frames[nth]).map_err(|error| match error {
            FrameError::Io(error) => RunError::io(&self.run.join(COMPRESSED), "read", error),
            FrameError::Damaged(why) => self.damaged_frame(nth, why),
        })
    }

    /// Copies the lines of all frames into a file in this folder that has no name. Lines are
    /// read from there then, which is quick in any order.
    pub(super) fn copy_frames(&self, folder: &Path) -> Result<(), RunError> {
        let fault = |e| RunError::io(folder, "write", e);
        let mut copy = tempfile::tempfile_in(folder).map_err(fault)?;
        for nth in 0..self.frames.len() {
            copy.write_all(&self.unpacked(nth)?).map_err(fault)?;
        }
        let _ = self.copy.set(copy);
        Ok(())
    }

    /// All lines from this byte on, in order and in parts, up to the first error in a file.
    pub(super) fn lines(&self, from: u64) -> Vec<Result<Vec<Line>, LineError>> {
        let packed = self.packed_text();
        let mut parts = self.lines_of_frames(from);
        if let Some(file) = &self.plain_file {
            let of_file = lines(file, from.max(packed) - packed..self.plain.bytes);
            parts.extend(of_file.into_iter().map(|part| {
                let moved = |line: Line| Line { start: line.start + packed, ..line };
                part.map(|lines| lines.into_iter().map(moved).collect())
            }));
        }
        parts
    }

    fn lines_of_frames(&self, from: u64) -> Vec<Result<Vec<Line>, LineError>> {
        let first = self.frames.partition_point(|frame| frame.text_end() <= from);
        let Some(file) = &self.packed_file else { return Vec::new() };
        let numbered: Vec<(usize, &Frame)> = self.frames.iter().enumerate().skip(first).collect();
        let threads = thread::available_parallelism().map_or(1, usize::from).min(AT_ONCE);
        let part = numbered.len().div_ceil(threads).max(1);
        each(numbered.chunks(part), |part| lines_of_part(file, part, from))
    }

    /// The place of a line, by its number among all lines, from 1.
    pub(super) fn named(&self, line: usize) -> String {
        let packed = self.packed_lines();
        match line.checked_sub(packed).filter(|line| *line > 0) {
            Some(line) => format!("{}:{line}", self.run.join(EPISODES).display()),
            None => format!("{}:{line}", self.run.join(COMPRESSED).display()),
        }
    }

    /// The error about a frame whose lines cannot be read.
    pub(super) fn damaged_frame(&self, nth: usize, why: String) -> RunError {
        let Frame { before, lines, .. } = &self.frames[nth];
        let what = format!(
            "frame {} ({lines} episodes, lines {} to {})",
            nth + 1,
            before + 1,
            before + lines
        );
        self.damaged(what, why)
    }

    fn damaged(&self, what: String, why: String) -> RunError {
        let (run, file) = (self.run.clone(), self.run.join(COMPRESSED));
        RunError::Damaged { run, file, what, why }
    }
}

/// The lines of some frames, from this byte of all lines on.
fn lines_of_part(
    file: &File,
    frames: &[(usize, &Frame)],
    from: u64,
) -> Result<Vec<Line>, LineError> {
    let mut all = Vec::new();
    for (nth, frame) in frames {
        let text = unpack(file, frame).map_err(|error| match error {
            FrameError::Io(error) => LineError::Io(error),
            FrameError::Damaged(why) => LineError::Frame { nth: *nth, why },
        })?;
        let start = from.max(frame.start);
        let skipped = usize::try_from(start - frame.start).unwrap_or(usize::MAX);
        let lines = lines_of(text.get(skipped..).unwrap_or_default(), start);
        all.extend(lines.map_err(|error| match error {
            LineError::Fault { nth, fault } => LineError::Fault { nth: all.len() + nth, fault },
            error => error,
        })?);
    }
    Ok(all)
}

pub(super) fn opened(path: &Path) -> Result<Option<File>, RunError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(RunError::io(path, "read", e)),
    }
}

pub(super) fn facts(file: Option<&File>, path: &Path) -> Result<FileFacts, RunError> {
    let facts = file.map_or(Ok(FileFacts::default()), FileFacts::of);
    facts.map_err(|e| RunError::io(path, "read", e))
}

/// Whether this is still the file at this path.
fn is_still(path: &Path, file: Option<&File>) -> Result<bool, RunError> {
    let fault = |e| RunError::io(path, "read", e);
    let now = match fs::metadata(path) {
        Ok(facts) => Some((facts.dev(), facts.ino())),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(fault(e)),
    };
    let then = file.map(File::metadata).transpose().map_err(fault)?;
    Ok(then.map(|facts| (facts.dev(), facts.ino())) == now)
}
