//! Reports on recorded runs.
//!
//! [`Runs`] collects the values of labelled runs. A [`Report`] contains the tables of each
//! run, the tables and the tested claims of the paper, or a comparison of two
//! configurations, as text, JSON, CSV or Markdown. [`page()`] renders them as one HTML
//! page. Metrics that exist in a reference package agree with it.
//!
//! Reports open no run directory, benchmark or tokenizer: the caller opens the runs and
//! passes the rest as [`Inputs`]. They need the summaries of episodes, and read an episode
//! only for values of its texts. With the feature `view`, a `Site` reads runs and makes
//! their pages, and a `Server` answers browsers with them. With the feature `otlp`, spans of
//! episodes go to a collector while a run records them. Nothing here runs anything or prints
//! anything.
//!
//! ```
//! use fixfly_report::{Format, Report, Runs, Selection};
//!
//! let selection = Selection { parts: vec!["5.1".parse().unwrap()], ..Selection::default() };
//! let report = Report::of(&Runs::default(), &selection).unwrap();
//! let text = report.text(Format::Markdown, None).unwrap();
//! assert!(text.starts_with("## Base models: newly solved at each turn, % (paper: table 5.1)"));
//! assert!(text.contains("This table is empty. It requires runs of base models"));
//! ```

mod answers;
mod cells;
mod claims;
mod compare;
mod costs;
mod diff;
mod error;
#[cfg(test)]
mod fixture;
mod groups;
mod html;
mod inputs;
mod labels;
mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod print;
mod recorded;
mod report;
mod run_metrics;
mod run_report;
mod run_tables;
mod selection;
mod show;
mod tables;
mod truth;
#[cfg(feature = "view")]
mod view;

pub use error::ReportError;
pub use groups::Checkpoint;
pub use inputs::{Inputs, Reference, Retained, TokenCounter};
pub use labels::{Labelled, Labels, Mode, labelled_runs, set_text};
#[cfg(feature = "otlp")]
pub use otlp::{Otlp, OtlpError};
pub use print::{Format, brief};
pub use report::{Report, Runs, page};
pub use selection::{ALL, CLAIMS, Part, RUNS, Selection, tables};
pub use show::{Shown, find_episode, run_text};
#[cfg(feature = "view")]
pub use view::{
    DatasetRow, DatasetRows, Prompt, RowOrigin, Segment, Server, Site, Sources, ViewError,
    export_pages,
};

#[cfg(test)]
mod tests;
