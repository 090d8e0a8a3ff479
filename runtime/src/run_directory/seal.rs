//! Moves lines from the plain file to the compressed one, a frame at a time.
//!
//! The order of writes: `run.json` states that there are compressed episodes; the frames are
//! appended and synced; a plain file without their lines replaces the old one; the index notes
//! it. A reader counts a frame only if its lines are no longer in the plain file, so that each
//! line is there once at any time. Readers that are open keep the old plain file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::mem;

use super::frames::{MAX_LINES, MAX_TEXT, pack};
use super::index::FileFacts;
use super::lines::Cursor;
use super::record::COMPRESSED_SCHEMA;
use super::{COMPRESSED, EPISODES, RunDirectory, RunError, open_plain, set_schema};
use crate::files::WholeFile;

/// Called after each write, so that a test can look at what a killed process leaves there.
#[cfg(not(test))]
pub(super) fn step() {}

impl RunDirectory {
    /// Compresses the episodes from now on: whenever there are 256, or 8 MiB of them, they
    /// become one zstd frame. A run with compressed episodes goes on so by itself.
    pub fn compress(&mut self) {
        self.compressed = true;
    }

    /// Compresses the episodes that are left at the end of a run, unless it is not compressed.
    ///
    /// # Errors
    /// [`RunError`] if a file cannot be written; no episode is lost.
    pub fn compress_rest(&mut self) -> Result<(), RunError> {
        match self.compressed && self.lines > 0 {
            true => self.move_lines(true),
            false => Ok(()),
        }
    }

    /// Compresses the episodes of which there are enough.
    pub(super) fn move_full_frames(&mut self) -> Result<(), RunError> {
        let is_enough = self.lines >= MAX_LINES || self.length >= MAX_TEXT as u64;
        match self.compressed && is_enough {
            true => self.move_lines(false),
            false => Ok(()),
        }
    }

    fn move_lines(&mut self, all: bool) -> Result<(), RunError> {
        if self.packed == 0 {
            set_schema(&self.path, COMPRESSED_SCHEMA)?;
            step();
        }
        let file = self.path.join(COMPRESSED);
        let open = OpenOptions::new().create(true).append(true).open(&file);
        let open = open.map_err(|e| RunError::io(&file, "write", e))?;
        let written = self.write_frames(&open, all).map_err(|error| {
            // The lines are still in the plain file.
            let _ = open.set_len(self.packed);
            RunError::io(&file, "write", error)
        })?;
        step();
        self.packed += written.packed;
        self.remove_lines(&written)?;
        self.note_move(&open);
        step();
        Ok(())
    }

    /// Appends frames of the lines at the beginning of the plain file, and syncs them.
    fn write_frames(&self, mut to: &File, all: bool) -> io::Result<Written> {
        let mut chunks = Chunks::of(&self.episodes, self.length);
        let mut written = Written::default();
        while let Some(chunk) = chunks.next()? {
            if !all && !chunk.is_full {
                break;
            }
            let frame = pack(&chunk.text, chunk.lines, written.bytes)?;
            to.write_all(&frame)?;
            written.packed += frame.len() as u64;
            written.bytes += chunk.text.len() as u64;
            written.lines += chunk.lines;
            step();
        }
        to.sync_all()?;
        // The file may be new.
        File::open(&self.path)?.sync_all()?;
        Ok(written)
    }

    /// Replaces the plain file by one without these lines. After an error this directory must
    /// not be written to, because its file may have been replaced.
    fn remove_lines(&mut self, written: &Written) -> Result<(), RunError> {
        let file = self.path.join(EPISODES);
        let mut left = Cursor { file: &self.episodes, at: written.bytes, end: self.length };
        let replaced = WholeFile::create(&file).and_then(|mut new| {
            io::copy(&mut left, &mut new)?;
            step();
            new.finish()
        });
        replaced.map_err(|e| RunError::io(&file, "write", e))?;
        step();
        self.episodes = open_plain(&self.path)?;
        self.length -= written.bytes;
        self.lines -= written.lines;
        Ok(())
    }

    fn note_move(&mut self, packed: &File) {
        let Some(index) = &mut self.index else { return };
        let facts = (FileFacts::of(&self.episodes), FileFacts::of(packed));
        let noted = match facts {
            (Ok(plain), Ok(packed)) => index.moved(plain, packed),
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        if let Err(error) = noted {
            tracing::debug!("cannot extend the index of {}: {error}", self.path.display());
            self.index = None;
        }
    }
}

/// What was written as frames.
#[derive(Default)]
struct Written {
    /// Bytes of the frames.
    packed: u64,
    /// Bytes of their lines.
    bytes: u64,
    lines: usize,
}

/// The lines of one frame.
struct Chunk {
    text: Vec<u8>,
    lines: usize,
    /// Whether no other line may be in this frame.
    is_full: bool,
}

/// Divides lines into frames.
struct Chunks<'a> {
    reader: BufReader<Cursor<'a>>,
    /// The first line of the next frame, if it was read.
    next_line: Vec<u8>,
}

impl<'a> Chunks<'a> {
    fn of(file: &'a File, end: u64) -> Self {
        let reader = BufReader::with_capacity(1 << 18, Cursor { file, at: 0, end });
        Chunks { reader, next_line: Vec::new() }
    }

    fn next(&mut self) -> io::Result<Option<Chunk>> {
        let text = mem::take(&mut self.next_line);
        let mut chunk = Chunk { lines: usize::from(!text.is_empty()), text, is_full: false };
        loop {
            chunk.is_full = chunk.lines == MAX_LINES || chunk.text.len() >= MAX_TEXT;
            if chunk.is_full || self.reader.read_until(b'\n', &mut self.next_line)? == 0 {
                break;
            }
            if chunk.lines > 0 && chunk.text.len() + self.next_line.len() > MAX_TEXT {
                chunk.is_full = true;
                break;
            }
            chunk.text.append(&mut self.next_line);
            chunk.lines += 1;
        }
        Ok((chunk.lines > 0).then_some(chunk))
    }
}

#[cfg(test)]
pub(super) use tests::step;

#[cfg(test)]
pub(super) mod tests;
