//! The run directory: `run.json` records the settings of the run, and `episodes.jsonl` has
//! one line per episode, each appended when its episode ends. If the run is compressed, lines
//! move from there to `episodes.jsonl.zst`.
//!
//! A line is on the disk before its episode is counted. A process that is killed at any
//! time loses only the running episodes. Each line ends with its checksum. An index beside
//! the file saves reading the episodes.

mod compress;
mod error;
mod frames;
mod index;
mod joined;
mod lines;
mod merge;
mod parse;
mod record;
mod recording;
mod seal;
mod store;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub use compress::{Packing, compress_run, decompress_run, set_damaged_aside};
pub use error::RunError;
pub use joined::{JoinedRecording, JoinedRun, join_shards};
pub use merge::{MergeSummary, merge_runs};
pub(crate) use record::SHARD;
pub use record::{Machine, MergedRun, RunRecord, SCHEMA, TaskCounts, Wording, without_addresses};
pub use recording::Recording;

use crate::checksum::sealed_line;
use crate::episode::Episode;
use crate::files::{is_partial, write_whole};
use crate::lock::{self, LockError};
use crate::statement::TaskKind;
use crate::summary::EpisodeSummary;
use index::{Appender, INDEX};
use parse::parse;
use record::COMPRESSED_SCHEMA;

const RECORD: &str = "run.json";
const EPISODES: &str = "episodes.jsonl";
const COMPRESSED: &str = "episodes.jsonl.zst";
const LOCK: &str = "run.lock";
/// The unfinished `run.json` of older versions.
const DRAFT: &str = "run.json.new";

/// A run directory that is open for writing. No other process can open it at the same time.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    /// The plain file.
    episodes: File,
    /// Bytes of complete lines in the plain file.
    length: u64,
    /// The number of these lines.
    lines: usize,
    /// Bytes of the compressed file.
    packed: u64,
    /// Whether lines move to the compressed file.
    compressed: bool,
    /// `None` if the index cannot be written.
    index: Option<Appender>,
    /// Held, but never read.
    _lock: File,
}

impl RunDirectory {
    /// Creates the directory, or resumes the run in it if the record matches. Also returns
    /// what it already contains.
    ///
    /// # Errors
    /// [`RunError`], in one sentence that names the file and the remedy.
    pub fn open(path: &Path, record: &RunRecord) -> Result<(Self, Recording), RunError> {
        fs::create_dir_all(path).map_err(|e| RunError::io(path, "make", e))?;
        RunDirectory::check(path)?;
        let lock = lock(path)?;
        let mut compressed = false;
        if path.join(RECORD).exists() {
            let there = read_run(path)?;
            there.must_match(record, path)?;
            compressed = there.schema == COMPRESSED_SCHEMA;
            if let Some(record) = there.with_addresses_of(record) {
                write_record(&path.join(RECORD), &record)?;
            }
        } else {
            // It may come from another run, which is compressed.
            write_record(&path.join(RECORD), &RunRecord { schema: SCHEMA, ..record.clone() })?;
        }
        RunDirectory::locked(path, lock, compressed)
    }

    /// Opens the episodes of a directory whose lock is held.
    fn locked(path: &Path, lock: File, compressed: bool) -> Result<(Self, Recording), RunError> {
        let (episodes, mut recorded) = open_episodes(path)?;
        let (bytes, lines) = recorded.covered();
        let (packed, text, packed_lines) = recorded.files().map_or((0, 0, 0), |files| {
            (files.packed_end(), files.packed_text(), files.packed_lines())
        });
        let packed_file = path.join(COMPRESSED);
        let plain_facts = store::facts(Some(&episodes), &path.join(EPISODES))?;
        let packed_facts = store::facts(store::opened(&packed_file)?.as_ref(), &packed_file)?;
        let index = recorded.appender(plain_facts, packed_facts);
        let run = RunDirectory {
            path: path.into(),
            episodes,
            length: bytes - text,
            lines: lines - packed_lines,
            packed,
            compressed,
            index,
            _lock: lock,
        };
        Ok((run, recorded))
    }

    /// Refuses to resume a run with other settings, before work is done for it.
    ///
    /// # Errors
    /// [`RunError::Different`] with each setting that differs, or that `run.json` cannot be read.
    pub fn matches(path: &Path, record: &RunRecord) -> Result<(), RunError> {
        match path.join(RECORD).exists() {
            true => read_run(path)?.must_match(record, path),
            false => Ok(()),
        }
    }

    /// Refuses a folder that contains something else than a run, before work is done for it.
    ///
    /// # Errors
    /// [`RunError::NotARun`], or that the folder cannot be read.
    pub fn check(path: &Path) -> Result<(), RunError> {
        match path.is_dir() && !path.join(RECORD).exists() && holds_something_else(path)? {
            true if merge::is_unfinished(path) => Err(RunError::UnfinishedMerge(path.into())),
            true => Err(RunError::NotARun(path.into())),
            false => Ok(()),
        }
    }

    /// Appends an episode. It is on the disk when this returns.
    ///
    /// # Errors
    /// [`RunError`] if it cannot be written, and the file is unchanged then; or if recorded
    /// episodes cannot be compressed, and no episode is lost.
    pub fn append(&mut self, episode: &Episode) -> Result<(), RunError> {
        self.write(episode, true)
    }

    /// Appends an episode, and waits for the disk if it must be there when this returns.
    fn write(&mut self, episode: &Episode, synced: bool) -> Result<(), RunError> {
        let file = self.path.join(EPISODES);
        let line = sealed_line(episode).map_err(|e| RunError::Corrupt {
            place: episode.task.id.clone(),
            why: e.to_string(),
        })?;
        let written = self.episodes.write_all(&line).and_then(|()| match synced {
            true => self.episodes.sync_data(),
            false => Ok(()),
        });
        if let Err(error) = written {
            // A partial line would corrupt the next one. If this fails too, the next start
            // moves the partial line away.
            let _ = self.episodes.set_len(self.length);
            return Err(RunError::io(&file, "write", error));
        }
        self.length += line.len() as u64;
        if let Some(index) = &mut self.index {
            let summary = EpisodeSummary::of(episode);
            if let Err(error) = index.append(&self.episodes, &line, &summary) {
                tracing::debug!("cannot extend the index of {}: {error}", file.display());
                self.index = None;
            }
        }
        self.lines += 1;
        self.move_full_frames()
    }

    /// Waits until everything that was written is on the disk.
    fn sync(&self) -> Result<(), RunError> {
        self.episodes.sync_all().map_err(|e| RunError::io(&self.path.join(EPISODES), "write", e))
    }
}

/// The file with a run's episodes: the compressed one, if all are there, or the plain one.
pub fn episodes_file(run: &Path) -> PathBuf {
    let is_empty = |file: &Path| fs::metadata(file).map_or(0, |facts| facts.len()) == 0;
    let (plain, packed) = (run.join(EPISODES), run.join(COMPRESSED));
    if is_empty(&plain) && !is_empty(&packed) { packed } else { plain }
}

/// Reads the record of a run.
///
/// # Errors
/// [`RunError`] if there is no run, or this version cannot read it.
pub fn read_run(path: &Path) -> Result<RunRecord, RunError> {
    let file = path.join(RECORD);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(RunError::NoRun(path.into()));
        }
        Err(e) => return Err(RunError::io(&file, "read", e)),
    };
    let newest = COMPRESSED_SCHEMA.max(TaskKind::newest_schema());
    parse(&text, newest).map_err(|fault| {
        match fault.at(file.display().to_string(), "a run record") {
            RunError::Corrupt { place, why } => RunError::CorruptRecord { place, why },
            error => error,
        }
    })
}

/// The latest episode of each task and sample, in the order of first appearance. Works
/// while the run continues. [`Recording`] reads them one at a time.
///
/// # Errors
/// [`RunError`] if there is no run, or a line is not an episode.
pub fn read_episodes(path: &Path) -> Result<Vec<Episode>, RunError> {
    let recording = Recording::open(path)?;
    (0..recording.len()).map(|at| recording.episode(at)).collect()
}

fn holds_something_else(path: &Path) -> Result<bool, RunError> {
    for entry in fs::read_dir(path).map_err(|e| RunError::io(path, "read", e))? {
        let entry = entry.map_err(|e| RunError::io(path, "read", e))?;
        let name = entry.file_name();
        // A killed start leaves these files, and a removed run its index.
        if name != LOCK && name != DRAFT && name != INDEX && !is_partial(&name) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lock(path: &Path) -> Result<File, RunError> {
    lock::lock(&path.join(LOCK)).map_err(|error| not_locked(path, error))
}

/// The error about the lock of the run in `path`.
fn not_locked(path: &Path, error: LockError) -> RunError {
    match error {
        LockError::Busy(holder) => RunError::Busy { path: path.into(), holder },
        LockError::Io(error) => RunError::io(&path.join(LOCK), "lock", error),
    }
}

fn write_record(file: &Path, record: &RunRecord) -> Result<(), RunError> {
    let text = serde_json::to_string_pretty(record)
        .map_err(|e| RunError::Corrupt { place: RECORD.into(), why: e.to_string() })?;
    write_whole(file, text + "\n").map_err(|e| RunError::io(file, "write", e))
}

/// Writes the record again with this schema version, if it has another one.
fn set_schema(path: &Path, schema: u32) -> Result<(), RunError> {
    let record = read_run(path)?;
    match record.schema == schema {
        true => Ok(()),
        false => write_record(&path.join(RECORD), &RunRecord { schema, ..record }),
    }
}

/// Opens the file for appending, and removes or moves away what a killed process left at the
/// ends of both files.
fn open_episodes(path: &Path) -> Result<(File, Recording), RunError> {
    let file = path.join(EPISODES);
    let fault = |e| RunError::io(&file, "write", e);
    let open = open_plain(path)?;
    let recorded = Recording::open_unrecorded(path)?;
    let mut whole = recorded.covered().0;
    if let Some(files) = recorded.files() {
        whole -= files.packed_text();
        // A file without a frame is left if its first frame was not written.
        let is_empty = files.packed_end() == 0 && path.join(COMPRESSED).exists();
        if is_empty || files.packed.bytes > files.packed_end() {
            cut_packed(path, files)?;
        }
    }
    let all = open.metadata().map_err(fault)?.len();
    if all > whole {
        let torn = bytes_from(&open, whole, all).map_err(|e| RunError::io(&file, "read", e))?;
        let aside = set_aside(path, &torn, "")?;
        open.set_len(whole).and_then(|()| open.sync_all()).map_err(fault)?;
        tracing::warn!(
            "{}: the last line is incomplete; moved it to {}, and its episode runs again",
            file.display(),
            aside.display()
        );
    }
    Ok((open, recorded))
}

fn open_plain(path: &Path) -> Result<File, RunError> {
    let file = path.join(EPISODES);
    let open = OpenOptions::new().create(true).read(true).append(true).open(&file);
    open.map_err(|e| RunError::io(&file, "write", e))
}

/// Cuts the compressed file after the frames that count. What is no copy of lines in the plain
/// file is moved away.
fn cut_packed(path: &Path, files: &store::Store) -> Result<(), RunError> {
    let file = path.join(COMPRESSED);
    let fault = |e| RunError::io(&file, "write", e);
    let open = OpenOptions::new().read(true).write(true).open(&file).map_err(fault)?;
    let end = files.packed_end();
    if !files.is_rest_needless().map_err(fault)? {
        let torn = bytes_from(&open, end, files.packed.bytes);
        let aside = set_aside(path, &torn.map_err(|e| RunError::io(&file, "read", e))?, ".zst")?;
        tracing::warn!(
            "{}: the last frame is incomplete; moved it to {}, and its episodes run again",
            file.display(),
            aside.display()
        );
    }
    // `zstdcat` refuses a file without a frame.
    let cut = match end {
        0 => fs::remove_file(&file).and_then(|()| File::open(path)?.sync_all()),
        _ => open.set_len(end).and_then(|()| open.sync_all()),
    };
    cut.map_err(fault)
}

fn bytes_from(file: &File, from: u64, to: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

/// Writes bytes that cannot be read to a file of their own.
fn set_aside(path: &Path, torn: &[u8], end: &str) -> Result<PathBuf, RunError> {
    let mut number = 1;
    loop {
        let aside = path.join(format!("episodes.torn-{number}.jsonl{end}"));
        match File::create_new(&aside) {
            Ok(mut open) => {
                open.write_all(torn)
                    .and_then(|()| open.sync_all())
                    .map_err(|e| RunError::io(&aside, "write", e))?;
                return Ok(aside);
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(e) => return Err(RunError::io(&aside, "write", e)),
        }
    }
}

#[cfg(test)]
mod tests;
