//! The run directory: `run.json` records the settings of the run, and `episodes.jsonl` has
//! one line per episode and is append-only.
//!
//! A line is on the disk before its episode is counted. A process that is killed at any
//! time loses only the running episodes. An index beside it saves reading the episodes.

mod index;
mod lines;
mod parse;
mod record;
mod recording;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub use record::{Machine, RunRecord, SCHEMA, Wording, without_addresses};
pub use recording::Recording;

use crate::episode::Episode;
use crate::files::{is_partial, write_whole};
use crate::statement::TaskKind;
use crate::summary::EpisodeSummary;
use index::{Appender, INDEX};
use parse::parse;

const RECORD: &str = "run.json";
const EPISODES: &str = "episodes.jsonl";
const LOCK: &str = "run.lock";
/// The unfinished `run.json` of older versions.
const DRAFT: &str = "run.json.new";

/// A run directory that is open for writing. No other process can open it at the same time.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    episodes: File,
    /// Bytes of complete lines.
    length: u64,
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
        let record_file = path.join(RECORD);
        let lock = lock(path)?;
        if record_file.exists() {
            let there = read_run(path)?;
            let differences = there.differences(record);
            if !differences.is_empty() {
                return Err(RunError::Different {
                    path: path.into(),
                    differences: differences.join("; "),
                });
            }
            if let Some(record) = there.with_addresses_of(record) {
                write_record(path, &record)?;
            }
        } else {
            write_record(path, record)?;
        }
        let (episodes, mut recorded) = open_episodes(path)?;
        let index = recorded.appender(&episodes);
        let length = recorded.bytes();
        Ok((RunDirectory { path: path.into(), episodes, length, index, _lock: lock }, recorded))
    }

    /// Refuses a folder that contains something else than a run, before work is done for it.
    ///
    /// # Errors
    /// [`RunError::NotARun`], or that the folder cannot be read.
    pub fn check(path: &Path) -> Result<(), RunError> {
        match path.is_dir() && !path.join(RECORD).exists() && holds_something_else(path)? {
            true => Err(RunError::NotARun(path.into())),
            false => Ok(()),
        }
    }

    /// Appends an episode. It is on the disk when this returns.
    ///
    /// # Errors
    /// [`RunError`] if it cannot be written; the file is then unchanged.
    pub fn append(&mut self, episode: &Episode) -> Result<(), RunError> {
        let file = self.path.join(EPISODES);
        let mut line = serde_json::to_vec(episode).map_err(|e| RunError::Corrupt {
            place: episode.task.id.clone(),
            why: e.to_string(),
        })?;
        line.push(b'\n');
        let written = self.episodes.write_all(&line).and_then(|()| self.episodes.sync_data());
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
        Ok(())
    }

    /// The file of the episodes.
    pub fn episodes_file(&self) -> PathBuf {
        self.path.join(EPISODES)
    }
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
    parse(&text).map_err(|fault| fault.at(file.display().to_string(), "a run record"))
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
    let file = path.join(LOCK);
    let lock = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&file)
        .map_err(|e| RunError::io(&file, "write", e))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(RunError::Busy(path.into())),
        Err(TryLockError::Error(e)) => Err(RunError::io(&file, "lock", e)),
    }
}

fn write_record(path: &Path, record: &RunRecord) -> Result<(), RunError> {
    let file = path.join(RECORD);
    let text = serde_json::to_string_pretty(record)
        .map_err(|e| RunError::Corrupt { place: RECORD.into(), why: e.to_string() })?;
    write_whole(&file, text + "\n").map_err(|e| RunError::io(&file, "write", e))
}

/// Opens the file for appending and moves a partial last line away.
fn open_episodes(path: &Path) -> Result<(File, Recording), RunError> {
    let file = path.join(EPISODES);
    let fault = |e| RunError::io(&file, "write", e);
    let open = OpenOptions::new().create(true).read(true).append(true).open(&file);
    let open = open.map_err(fault)?;
    let recorded = Recording::open(path)?;
    let whole = recorded.bytes();
    let all = open.metadata().map_err(fault)?.len();
    if all > whole {
        let mut torn = vec![0; usize::try_from(all - whole).unwrap_or(usize::MAX)];
        open.read_exact_at(&mut torn, whole).map_err(|e| RunError::io(&file, "read", e))?;
        let aside = set_aside(path, &torn)?;
        open.set_len(whole).and_then(|()| open.sync_all()).map_err(fault)?;
        tracing::warn!(
            "{}: the last line is incomplete; moved it to {}, and its episode runs again",
            file.display(),
            aside.display()
        );
    }
    Ok((open, recorded))
}

fn set_aside(path: &Path, torn: &[u8]) -> Result<PathBuf, RunError> {
    let mut number = 1;
    loop {
        let aside = path.join(format!("episodes.torn-{number}.jsonl"));
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

/// Why a run directory cannot be used: one sentence with the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder contains something else.
    #[error("{} is not a run directory: it is not empty and has no run.json; name an empty or a new folder", .0.display())]
    NotARun(PathBuf),
    /// There is no run.
    #[error("there is no run in {}: it has no run.json; name a folder that `fixfly run -o` wrote", .0.display())]
    NoRun(PathBuf),
    /// The directory contains another run.
    #[error("{} contains a run with other settings ({differences}); use the same flags to resume it, or name another folder", .path.display())]
    Different {
        /// The directory.
        path: PathBuf,
        /// Each difference, with both values.
        differences: String,
    },
    /// Another process is writing to it.
    #[error("{} is in use by another fixfly process; wait until it ends or name another folder", .0.display())]
    Busy(PathBuf),
    /// A newer version wrote it.
    #[error(
        "{place} was written by a newer fixfly (schema {schema}, this one reads up to {}); update fixfly to read it",
        TaskKind::newest_schema()
    )]
    Newer {
        /// The file, and the line if it has many.
        place: String,
        /// The schema version.
        schema: u32,
    },
    /// The contents are invalid.
    #[error("{place} is {why}; fix or remove it")]
    Corrupt {
        /// The file, and the line if it has many.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// The episodes changed since the recording was opened.
    #[error("{place} changed while it was read; run the same command again")]
    Changed {
        /// The file and the line.
        place: String,
    },
    /// The file system failed.
    #[error("cannot {verb} {}: {why}", .file.display())]
    Io {
        /// The operation: `read`, `write`, `make`, `lock`.
        verb: &'static str,
        /// The file.
        file: PathBuf,
        /// The reason, and the remedy.
        why: String,
    },
}

impl RunError {
    fn io(file: &Path, verb: &'static str, error: io::Error) -> Self {
        let remedy = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "; free some disk space and run the same command again to resume"
            }
            ErrorKind::PermissionDenied => "; change its permissions or name another folder",
            ErrorKind::ReadOnlyFilesystem => "; name a folder on a writable disk",
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                "; there is a file of this name, name another folder"
            }
            _ => "",
        };
        RunError::Io { verb, file: file.into(), why: format!("{error}{remedy}") }
    }
}

#[cfg(test)]
mod tests;
