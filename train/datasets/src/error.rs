//! Errors of building and reading datasets.

use std::io;
use std::path::{Path, PathBuf};

use fixfly_runtime::{RunError, TemplateError};

/// Why a dataset cannot be written or read: one sentence with the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The recipe does not exist or is invalid.
    #[error("{0}")]
    Recipe(String),
    /// Runs that the recipe does not use, or that do not match each other.
    #[error("{0}")]
    Runs(String),
    /// Runs that were named wrongly: nothing was built.
    #[error("{0}")]
    Usage(String),
    /// A run that cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A wording that cannot be used.
    #[error(transparent)]
    Wording(#[from] TemplateError),
    /// The benchmark has no original method for a task.
    #[error("{0}")]
    Benchmark(String),
    /// A tokenizer, or a file of traces, that cannot be used.
    #[error("{0}")]
    Input(String),
    /// A request about a row panicked.
    #[error("a row hit a bug in fixfly; please report it: {0}")]
    Bug(String),
    /// Too few rows would remain.
    #[error("{0}")]
    Dropped(String),
    /// The folder contains something else.
    #[error("{} is not empty; name an empty or a new folder", .0.display())]
    NotEmpty(PathBuf),
    /// There is no dataset.
    #[error("there is no dataset in {}: it has no dataset.json; name a folder that `fixfly dataset build -o` wrote", .0.display())]
    NoDataset(PathBuf),
    /// The contents are invalid.
    #[error("{place} is not {what}: {why}; build the dataset again")]
    Corrupt {
        /// The file, and the line if it has many.
        place: String,
        /// What the contents should be.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The file system failed.
    #[error("cannot {verb} {}: {why}", .file.display())]
    Io {
        /// The operation.
        verb: &'static str,
        /// The file.
        file: PathBuf,
        /// The reason.
        why: io::Error,
    },
}

impl DatasetError {
    pub(crate) fn io(verb: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |why| DatasetError::Io { verb, file: file.into(), why }
    }
}
