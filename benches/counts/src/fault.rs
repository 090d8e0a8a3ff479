//! Why there are no counts.

use std::path::Path;

/// Why there are no counts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The command line cannot be used.
    #[error("{0}")]
    Usage(String),
    /// A file cannot be used.
    #[error("{file}: {why}")]
    File { file: String, why: String },
    /// Valgrind cannot be run.
    #[error("valgrind cannot be run: {0}; install it (Debian: `apt-get install valgrind`)")]
    NoValgrind(std::io::Error),
    /// A measurement failed.
    #[error("`counts {command}` under valgrind: {why}")]
    Failed { command: String, why: String },
}

impl Fault {
    pub(crate) fn file(file: &Path, why: &dyn std::fmt::Display) -> Fault {
        Fault::File { file: file.display().to_string(), why: why.to_string() }
    }
}
