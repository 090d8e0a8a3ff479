//! Why a run directory cannot be used.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why a run directory cannot be used: one sentence with the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder contains something else.
    #[error("{} is not a run directory: it is not empty and has no run.json; name an empty or a new folder", .0.display())]
    NotARun(PathBuf),
    /// A merge into the folder was killed.
    #[error("{} contains a merge that did not end; run `fixfly merge-runs` again to end it, or name another folder", .0.display())]
    UnfinishedMerge(PathBuf),
    /// A merge needs a folder without a run.
    #[error("{} contains a run already; name an empty or a new folder", .0.display())]
    Occupied(PathBuf),
    /// These are not parts of one run.
    #[error("{} and {} cannot be one run: their settings differ ({differences}); name runs that differ in the shard only", .one.display(), .other.display())]
    Mixed {
        /// A directory.
        one: PathBuf,
        /// The one that differs.
        other: PathBuf,
        /// Each difference, with both values.
        differences: String,
    },
    /// An episode is there twice, and the two differ.
    #[error("the episode of {task}, sample {sample}, is in {} and in {}, and the two differ ({parts}); leave one of these runs out", .one.display(), .other.display())]
    Conflict {
        /// Id of the task.
        task: String,
        /// The sample.
        sample: u32,
        /// The directory of one.
        one: PathBuf,
        /// The directory of the other.
        other: PathBuf,
        /// What differs.
        parts: String,
    },
    /// Journals cannot be joined.
    #[error("{0}")]
    Journal(String),
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
    #[error("{} is in use by another fixfly process{holder}; wait until it ends or name another folder", .path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
        /// Its process id and its host in parentheses, if it left them.
        holder: String,
    },
    /// A newer version wrote it.
    #[error(
        "{place} was written by a newer fixfly (schema {schema}, this one reads up to {newest}); update fixfly to read it"
    )]
    Newer {
        /// The file, and the line if it has many.
        place: String,
        /// The schema version.
        schema: u32,
        /// The newest schema version that this fixfly reads.
        newest: u32,
    },
    /// The record of the run is invalid. Without it, its folder is no run directory.
    #[error(
        "{place} is {why}; fix it, or replace it by the run.json that the same command with a new folder writes there"
    )]
    CorruptRecord {
        /// The file.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// The contents are invalid.
    #[error("{place} is {why}; fix or remove it")]
    Corrupt {
        /// The file, and the line if it has many.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// A part of the compressed episodes cannot be read.
    #[error(
        "{}: {what} is damaged ({why}); restore the file from a copy, or run `fixfly compress {} --set-aside` and then the run's own command again, which runs these episodes again",
        .file.display(), .run.display()
    )]
    Damaged {
        /// The run directory.
        run: PathBuf,
        /// The file.
        file: PathBuf,
        /// The frame, and the lines in it.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// The file of compressed episodes has a form that fixfly does not write.
    #[error("{} was not written by fixfly; decompress it by `zstd -d` and remove it, or move it to another folder", .0.display())]
    NotFrames(PathBuf),
    /// The episodes changed since the recording was opened.
    #[error("{place} changed while it was read; run the same command again")]
    Changed {
        /// The file and the line.
        place: String,
    },
    /// The file system failed.
    #[error("cannot {verb} {}: {why}", .file.display())]
    Io {
        /// The operation: `read`, `write`, `make`, `lock`, `remove`.
        verb: &'static str,
        /// The file.
        file: PathBuf,
        /// The reason, and the remedy.
        why: String,
    },
}

impl RunError {
    pub(super) fn io(file: &Path, verb: &'static str, error: io::Error) -> Self {
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
