//! Why a model by name cannot be had, in one sentence each.

use std::io;
use std::path::{Path, PathBuf};

/// Why a model cannot be found, fetched or described.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No model has this name.
    #[error("no model is named `{name}`; the names are {names}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names.
        names: String,
    },
    /// The model's file is not on this machine.
    #[error("{0} is not fetched; run `fixfly model fetch {0}`")]
    NotFetched(String),
    /// The table of models cannot be read.
    #[error("{}: {why}", .file.display())]
    Catalogue {
        /// The table.
        file: PathBuf,
        /// What is wrong, with the line.
        why: String,
    },
    /// The model is not offered there.
    #[error("{name} is not on {source_name}; use {other}")]
    NoSource {
        /// The model.
        name: String,
        /// The source that was asked for.
        source_name: &'static str,
        /// What works.
        other: String,
    },
    /// A file or a folder cannot be used.
    #[error("{} cannot be {doing}: {why}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// `read` or `written`.
        doing: &'static str,
        /// The system's reason.
        why: io::Error,
    },
    /// The file has other contents than the table states.
    #[error("{what} has the SHA-256 {found}, but {name} has {expected}; it is not used")]
    OtherHash {
        /// The file, or where it comes from.
        what: String,
        /// The model.
        name: String,
        /// The hash of what is there.
        found: String,
        /// The hash that the table states.
        expected: String,
    },
    /// The file has another size than the table states.
    #[error("{what} has {found} bytes, but {name} has {expected}; it is not used")]
    OtherSize {
        /// The file, or where it comes from.
        what: String,
        /// The model.
        name: String,
        /// Bytes that are there.
        found: u64,
        /// Bytes that the table states.
        expected: u64,
    },
    /// The hub cannot be reached or used.
    #[error("{0}")]
    Hub(String),
    /// Python or pip failed.
    #[error("{0}")]
    Pypi(String),
    /// The file is not a model in GGUF's format.
    #[error("{0}")]
    Gguf(String),
}

impl ModelError {
    pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> ModelError + '_ {
        |why| ModelError::Io { path: path.into(), doing: "read", why }
    }

    pub(super) fn writing(path: &Path) -> impl FnOnce(io::Error) -> ModelError + '_ {
        |why| ModelError::Io { path: path.into(), doing: "written", why }
    }
}
