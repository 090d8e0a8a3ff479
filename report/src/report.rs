//! Assembles a report from the values of runs.

use fixfly_runtime::{JoinedRecording, JoinedRun, RunError};
use serde::Serialize;

use crate::claims::{self, ClaimTest};
use crate::compare::Comparison;
use crate::error::ReportError;
use crate::groups::{Group, RunSet};
use crate::html::Page;
use crate::inputs::Inputs;
use crate::labels::Labels;
use crate::run_metrics::RunMetrics;
use crate::run_report::RunReport;
use crate::run_tables::Table;
use crate::selection::Selection;
use crate::tables;

/// The values of runs, in the order in which they were added.
#[derive(Default)]
pub struct Runs {
    reports: Vec<RunReport>,
    metrics: Vec<RunMetrics>,
}

impl Runs {
    /// Adds the values of a run, which is in one directory or in those of its shards. Episodes
    /// are read, one at a time, only if the inputs ask for values of their texts.
    ///
    /// # Errors
    /// [`RunError`] if an episode cannot be read.
    pub fn add(
        &mut self,
        labels: &Labels,
        run: &JoinedRun,
        episodes: &JoinedRecording,
        inputs: &Inputs<'_>,
    ) -> Result<(), RunError> {
        let (name, record) = (run.name(), &run.record);
        let report = RunReport::of(name.clone(), record, episodes.summaries(), inputs.retained);
        let name = match &report.shards {
            Some(shards) if !shards.missing.is_empty() => format!("{name} ({shards})"),
            _ => name,
        };
        self.reports.push(report);
        self.metrics.push(RunMetrics::of(name, labels.clone(), record, episodes, inputs)?);
        Ok(())
    }
}

/// All parts of a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    pub(crate) runs: Vec<RunReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tables: Vec<Table>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) claims: Vec<ClaimTest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) comparison: Option<Comparison>,
    /// Names of empty tables.
    #[serde(skip)]
    pub(crate) left_out: Vec<&'static str>,
}

impl Report {
    /// The selected parts of a report on these runs.
    ///
    /// # Errors
    /// [`ReportError`] if a comparison is selected and the runs are not two configurations
    /// on one benchmark.
    pub fn of(runs: &Runs, selection: &Selection) -> Result<Self, ReportError> {
        let set = RunSet::of(&runs.metrics, selection.checkpoint);
        if selection.compare {
            let comparison = Some(Comparison::of(&set)?);
            return Ok(Report { comparison, ..Report::default() });
        }
        let (tables, left_out) = selected_tables(selection, &set);
        Ok(Report {
            runs: if selection.shows_runs() { runs.reports.clone() } else { Vec::new() },
            tables,
            claims: if selection.shows_claims() { claims::test_all(&set) } else { Vec::new() },
            comparison: None,
            left_out,
        })
    }
}

/// The selected tables, and the names of those that are empty. Empty tables are left out
/// only without selected parts.
fn selected_tables(selection: &Selection, set: &RunSet<'_>) -> (Vec<Table>, Vec<&'static str>) {
    let (mut tables, mut left_out) = (Vec::new(), Vec::new());
    for entry in tables::ALL.iter().filter(|entry| selection.shows_table(entry)) {
        let table = entry.table(set);
        match table.rows.is_empty() && !selection.asked() {
            true => left_out.push(entry.name),
            false => tables.push(table),
        }
    }
    (tables, left_out)
}

/// All tables, claims and plots of these runs as a self-contained HTML page. A comparison
/// replaces the tables.
///
/// # Errors
/// [`ReportError`] if a comparison is selected and the runs are not two configurations on
/// one benchmark.
pub fn page(runs: &Runs, selection: &Selection) -> Result<String, ReportError> {
    let set = RunSet::of(&runs.metrics, selection.checkpoint);
    let tables: Vec<Table> = match selection.compare {
        true => Comparison::of(&set)?.tables(),
        false => tables::ALL.iter().map(|entry| entry.table(&set)).collect(),
    };
    let page = Page {
        made: format!("fixfly {}, {} runs", env!("CARGO_PKG_VERSION"), runs.metrics.len()),
        runs: set.groups.iter().flat_map(described_runs).collect(),
        claims: &claims::test_all(&set),
        tables: &tables,
    };
    page.html(&set)
}

/// The plots of these runs.
#[cfg(feature = "view")]
pub(crate) fn charts(runs: &Runs, selection: &Selection) -> Vec<crate::html::Chart> {
    crate::html::charts(&RunSet::of(&runs.metrics, selection.checkpoint))
}

/// A line for each run of a group.
fn described_runs(group: &Group<'_>) -> Vec<String> {
    let line = |run: &&str| {
        format!("{run}: {}, {} ({})", group.labels.shown(), group.benchmark, group.split)
    };
    group.runs.iter().map(line).collect()
}
