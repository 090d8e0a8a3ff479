//! Why a dataset cannot be made or read.

use std::io;
use std::path::{Path, PathBuf};

use fixfly_runtime::{RunError, TemplateError};

/// Why a dataset cannot be written or read: one sentence with the place and the
/// remedy.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// No recipe, or a faulty one.
    #[error("{0}")]
    Recipe(String),
    /// Runs that the recipe has no use for, or that do not go together.
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
    /// The benchmark cannot give an original method.
    #[error("{0}")]
    Benchmark(String),
    /// A tokenizer, or a file of traces, that cannot be used.
    #[error("{0}")]
    Input(String),
    /// A request about a row panicked.
    #[error("a row hit a bug in fixfly; please report it: {0}")]
    Bug(String),
    /// Too little would be left.
    #[error("{0}")]
    Dropped(String),
    /// A folder that holds something else.
    #[error("{} is not empty; name an empty or a new folder", .0.display())]
    NotEmpty(PathBuf),
    /// Nothing to read.
    #[error("there is no dataset in {}: it has no dataset.json; name a folder that `fixfly dataset build -o` wrote", .0.display())]
    NoDataset(PathBuf),
    /// Not what it should be.
    #[error("{place} is not {what}: {why}; build the dataset again")]
    Corrupt {
        /// File, and line where there are many.
        place: String,
        /// What it should be.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The file system refused.
    #[error("cannot {verb} {}: {why}", .file.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        why: io::Error,
    },
}

impl DatasetError {
    pub(crate) fn io(verb: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |why| DatasetError::Io { verb, file: file.into(), why }
    }
}
