//! Errors of the viewer.

use std::io;
use std::path::PathBuf;

/// Why a page cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A template failed.
    #[error("cannot write the page")]
    Template(#[from] minijinja::Error),
    /// A file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The reason.
        source: io::Error,
    },
}
