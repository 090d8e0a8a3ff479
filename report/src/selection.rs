//! Selects the parts of a report.

use std::str::FromStr;

use fixfly_runtime::JoinedRun;

use crate::error::ReportError;
use crate::groups::Checkpoint;
use crate::labels::Labels;
use crate::tables::{ALL as TABLES, Entry};

/// Name of the tables of each run.
pub const RUNS: &str = "runs";
/// Name of the tested claims.
pub const CLAIMS: &str = "claims";
/// Name of all parts.
pub const ALL: &str = "all";
/// The table that compares with the benchmark's reference methods.
const CODE: &str = "code-scores";

/// The name of a part of a report: a table, [`RUNS`], [`CLAIMS`], or all of these.
/// The number of a table in the paper is parsed as its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part(&'static str);

impl FromStr for Part {
    type Err = ReportError;

    fn from_str(name: &str) -> Result<Self, ReportError> {
        if let Some(entry) = TABLES.iter().find(|entry| entry.number == Some(name)) {
            return Ok(Part(entry.name));
        }
        let names = TABLES.iter().map(|entry| entry.name).chain([RUNS, CLAIMS, ALL]);
        let names: Vec<&'static str> = names.collect();
        match names.iter().find(|known| **known == name) {
            Some(known) => Ok(Part(known)),
            None => Err(ReportError::UnknownTable(names.join(", "))),
        }
    }
}

/// The name and the title of each table, in the order of the paper.
pub fn tables() -> impl Iterator<Item = (&'static str, String)> {
    TABLES.iter().map(|entry| (entry.name, entry.full_title()))
}

/// The table that compares the texts of several runs.
const SIMILARITY: &str = "similarity";

/// What a report contains.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The selected parts; if empty, all parts that are not empty.
    pub parts: Vec<Part>,
    /// Whether to compare two configurations task by task, instead of anything else.
    pub compare: bool,
    /// The checkpoint that represents a training run in the tables.
    pub checkpoint: Checkpoint,
    /// Whether the runs are described by a TOML file. It can describe many: if no part
    /// is selected, the tables of each run are omitted.
    pub from_file: bool,
}

impl Selection {
    /// Whether the report compares methods with the benchmark's references.
    pub fn needs_references(&self) -> bool {
        self.shows(CODE) && !self.compare
    }

    /// Whether the report compares the texts of these runs with each other. `page`: whether
    /// it is also a page, which has all tables.
    pub fn needs_texts(&self, runs: &[(Labels, JoinedRun)], page: bool) -> bool {
        let mut tables = TABLES.iter().filter(|entry| entry.name == SIMILARITY);
        let shown = page || tables.any(|entry| self.shows_table(entry));
        let is_base =
            |(labels, run): &(Labels, JoinedRun)| labels.clone().or_recorded(&run.record).is_base();
        shown && !self.compare && runs.len() > 1 && runs.iter().any(is_base)
    }

    /// Whether parts were selected.
    pub(crate) fn asked(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Whether a part is selected. Without selected parts, all are.
    pub(crate) fn shows(&self, name: &str) -> bool {
        !self.asked() || self.parts.iter().any(|part| part.0 == name || part.0 == ALL)
    }

    pub(crate) fn shows_runs(&self) -> bool {
        if self.asked() { self.shows(RUNS) } else { !self.from_file }
    }

    pub(crate) fn shows_claims(&self) -> bool {
        (self.asked() || self.from_file) && self.shows(CLAIMS)
    }

    /// Whether a table is selected. Without selected parts: all tables of a TOML file, or
    /// the tables of the paper for run directories, whose own tables contain the rest.
    pub(crate) fn shows_table(&self, entry: &Entry) -> bool {
        match self.asked() {
            true => self.shows(entry.name),
            false => self.from_file || entry.number.is_some(),
        }
    }
}
