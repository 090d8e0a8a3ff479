//! Errors of the viewer.

use std::io;
use std::path::PathBuf;

use fixfly_runtime::RunError;

use crate::error::ReportError;

/// Why something cannot be shown: one sentence with the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A page's template failed.
    #[error("cannot write the page")]
    Template(#[from] minijinja::Error),
    /// A file that cannot be read.
    #[error("cannot read {}: {why}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The reason.
        why: io::Error,
    },
    /// A file of an export that cannot be written.
    #[error("cannot write {}: {why}; name another folder with --export", .file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// The reason.
        why: io::Error,
    },
    /// A path that contains nothing to show.
    #[error(
        "{} contains no run, dataset, sweep or training; name a folder that fixfly wrote, or one above it",
        .0.display()
    )]
    Foreign(PathBuf),
    /// A path that does not exist.
    #[error("there is no folder {}; name a run, a dataset, a sweep or a folder of them", .0.display())]
    Missing(PathBuf),
    /// A run that cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A run, dataset or training that the site does not have.
    #[error("there is no {what} {name:?} here; the home page lists what there is")]
    Unknown {
        /// `run`, `dataset`, `training`.
        what: &'static str,
        /// The name in the address.
        name: String,
    },
    /// An episode that the run does not have.
    #[error(
        "the run {run} has no episode of {task:?}, sample {sample}; the run's page lists its episodes"
    )]
    NoEpisode {
        /// The run.
        run: String,
        /// The task in the address.
        task: String,
        /// The sample in the address.
        sample: String,
    },
    /// An address that is no page.
    #[error("there is no page {0:?} here; the home page links to every page")]
    NoPage(String),
    /// A comparison of fewer than two runs.
    #[error("a comparison needs two runs; choose two or more on the home page")]
    NotTwo,
    /// A dataset that cannot be shown.
    #[error("{0}")]
    Dataset(String),
    /// A report of a sweep's runs that cannot be made.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The address is in use.
    #[error(
        "port {0} is in use by another program; name another one with --port, or 0 for any free one"
    )]
    PortInUse(u16),
    /// The address cannot be opened.
    #[error("cannot listen on {address}: {why}; name another one with --host and --port")]
    Listen {
        /// The host and the port.
        address: String,
        /// The reason.
        why: io::Error,
    },
    /// The folder of an export has files in it.
    #[error("{} is not empty; name a new or an empty folder with --export", .0.display())]
    NotEmpty(PathBuf),
    /// The operating system gives no random numbers.
    #[error("cannot make a random token: {0}")]
    Random(io::Error),
    /// The server stopped.
    #[error("the viewer stopped: {0}")]
    Serve(io::Error),
}

impl ViewError {
    /// True if the arguments are the cause, and not the machine.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            ViewError::Foreign(_)
                | ViewError::Missing(_)
                | ViewError::PortInUse(_)
                | ViewError::NotEmpty(_)
        )
    }

    /// True if an address names something that does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(
            self,
            ViewError::Unknown { .. } | ViewError::NoEpisode { .. } | ViewError::NoPage(_)
        )
    }
}
