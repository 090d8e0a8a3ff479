//! Errors of reports.

use std::io;

/// Why a report cannot be made: one sentence with the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// An argument that is not a run.
    #[error("{argument}: {why}")]
    Argument {
        /// The argument.
        argument: String,
        /// The fault.
        why: String,
    },
    /// No argument is a run.
    #[error("no runs to report: the TOML file contains no [[run]]")]
    NoRuns,
    /// A part of a report that does not exist.
    #[error("unknown table; available tables: {0}")]
    UnknownTable(String),
    /// A comparison of more or fewer than two configurations.
    #[error(
        "--compare requires two configurations, found {}: {}; runs with the same labels are \
         repeats of one configuration; add labels to distinguish them, such as RUN,dataset=NAME",
        .0.len(), .0.join("; ")
    )]
    NotTwo(Vec<String>),
    /// A comparison of runs of different benchmarks.
    #[error("--compare requires runs of the same benchmark, found {0} and {1}")]
    TwoBenchmarks(String, String),
    /// A file that cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// The file.
        file: String,
        /// The reason.
        source: io::Error,
    },
    /// The page's template failed.
    #[error("cannot write the page")]
    Page(#[from] minijinja::Error),
    /// The values cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The values cannot be written as CSV.
    #[error(transparent)]
    Csv(#[from] csv::Error),
}

impl ReportError {
    /// True if the arguments are the cause, and not the machine.
    pub fn is_usage(&self) -> bool {
        match self {
            ReportError::Argument { .. }
            | ReportError::NoRuns
            | ReportError::UnknownTable(_)
            | ReportError::NotTwo(_)
            | ReportError::TwoBenchmarks(..) => true,
            ReportError::Read { .. }
            | ReportError::Page(_)
            | ReportError::Json(_)
            | ReportError::Csv(_) => false,
        }
    }
}
