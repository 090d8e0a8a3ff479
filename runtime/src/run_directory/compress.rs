//! Compresses, decompresses and repairs the episodes of a run that no process writes to.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::frames::{FrameError, frame_at, next_header, unpack};
use super::index::INDEX;
use super::lines::Cursor;
use super::seal::step;
use super::{
    COMPRESSED, EPISODES, Recording, RunDirectory, RunError, SCHEMA, lock, read_run, set_aside,
    set_schema,
};
use crate::files::WholeFile;

/// The sizes of a run's episodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// Lines of episodes, with those that a later line replaces.
    pub lines: usize,
    /// Bytes of all lines.
    pub text: u64,
    /// Bytes of the files.
    pub stored: u64,
}

/// Compresses all episodes of a run. A run that is compressed is left as it is.
///
/// # Errors
/// [`RunError`] if another process writes to the run, or a file cannot be written. No episode is
/// lost, whenever this is stopped.
pub fn compress_run(path: &Path) -> Result<Packing, RunError> {
    let (mut run, recorded) = RunDirectory::open(path, &read_run(path)?)?;
    let (text, lines) = recorded.covered();
    // The summaries are not needed.
    drop(recorded);
    run.compress();
    run.compress_rest()?;
    Ok(Packing { lines, text, stored: run.packed + run.length })
}

/// Puts all episodes of a run into `episodes.jsonl` again. A run that is not compressed is left
/// as it is.
///
/// # Errors
/// As for [`compress_run`].
pub fn decompress_run(path: &Path) -> Result<Packing, RunError> {
    let (run, recorded) = RunDirectory::open(path, &read_run(path)?)?;
    let (text, lines) = recorded.covered();
    let recorded = recorded.without_summaries();
    let (plain, packed) = (path.join(EPISODES), path.join(COMPRESSED));
    if let Some(files) = recorded.files().filter(|files| !files.frames().is_empty()) {
        let fault = |e| RunError::io(&plain, "write", e);
        let mut whole = WholeFile::create(&plain).map_err(fault)?;
        for nth in 0..files.frames().len() {
            whole.write_all(&files.unpacked(nth)?).map_err(fault)?;
        }
        let mut rest = Cursor { file: &run.episodes, at: 0, end: run.length };
        io::copy(&mut rest, &mut whole).map_err(fault)?;
        step();
        // From here on the frames do not count: their lines are in the plain file.
        whole.finish().map_err(fault)?;
        step();
    }
    match fs::remove_file(&packed).and_then(|()| File::open(path)?.sync_all()) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            return Err(RunError::io(&packed, "remove", e));
        }
        _ => step(),
    }
    set_schema(path, SCHEMA)?;
    // Notes in the index where the episodes are now.
    Recording::open(path)?;
    Ok(Packing { lines, text, stored: text })
}

/// Moves the frames that cannot be read to a file of their own, so that the run can be read and
/// resumed. Returns the number of these parts of the file, and the new file; `None` if all can
/// be read.
///
/// # Errors
/// As for [`compress_run`].
pub fn set_damaged_aside(path: &Path) -> Result<Option<(usize, PathBuf)>, RunError> {
    read_run(path)?;
    let _lock = lock(path)?;
    let file = path.join(COMPRESSED);
    let reading = |e| RunError::io(&file, "read", e);
    let open = match File::open(&file) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        open => open.map_err(reading)?,
    };
    let length = open.metadata().map_err(reading)?.len();
    let mut sound = WholeFile::create(&file).map_err(|e| RunError::io(&file, "write", e))?;
    let (mut damaged, mut parts, mut is_any_sound, mut at) = (Vec::new(), 0, false, 0);
    while at < length {
        let frame = frame_at(&open, at, length).map_err(reading)?;
        let end = match &frame {
            Some(frame) => frame.end(),
            None => match next_header(&open, at + 1, length).map_err(reading)? {
                None if at == 0 => return Err(RunError::NotFrames(file)),
                next => next.unwrap_or(length),
            },
        };
        let is_sound = match frame.as_ref().map(|frame| unpack(&open, frame)) {
            Some(Err(FrameError::Io(error))) => return Err(reading(error)),
            read => matches!(read, Some(Ok(_))),
        };
        let mut bytes = Cursor { file: &open, at, end };
        let copied = match is_sound {
            true => io::copy(&mut bytes, &mut sound),
            false => io::copy(&mut bytes, &mut damaged),
        };
        copied.map_err(|e| RunError::io(&file, "write", e))?;
        parts += usize::from(!is_sound);
        is_any_sound |= is_sound;
        at = end;
    }
    if damaged.is_empty() {
        return Ok(None);
    }
    let aside = set_aside(path, &damaged, ".zst")?;
    let replaced = match is_any_sound {
        true => sound.finish(),
        false => fs::remove_file(&file),
    };
    replaced.map_err(|e| RunError::io(&file, "write", e))?;
    let _ = fs::remove_file(path.join(INDEX));
    Ok(Some((parts, aside)))
}

#[cfg(test)]
mod tests;
